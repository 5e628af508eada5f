"""Streams of packets made to meet the steer stage where it is thin: few tuples, so that they are used again; few
sequence numbers, so that they collide; every flag, odd times, several interfaces, VLANs, mirrored copies, damage.

    frames = stream(Random(7), 300, Habits(mirror=0.5))
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from dialog import ETHERNET, MILLISECOND, SECOND, SLL, SLL2, START, Dialog, Sent, captured
from rxtls.intake.batch import ACK, FIN, PSH, RST, SYN
from rxtls.seq import MASK
from rxtls.wire.captured import Frame
from wrapping import vxlan

Ends = tuple[tuple[str, int], tuple[str, int]]

TUPLES: tuple[Ends, ...] = (
    (("10.0.0.1", 1000), ("10.0.0.2", 443)),
    (("10.0.0.1", 443), ("10.0.0.2", 1000)),
    (("10.0.0.1", 1000), ("10.0.0.2", 444)),
    (("2001:db8::1", 1000), ("2001:db8::2", 443)),
    (("::10.0.0.1", 1000), ("::10.0.0.2", 443)),  # the words of the first one, but for the family
    (("10.0.0.3", 77), ("10.0.0.3", 77)),  # to itself
    (("10.0.0.4", 77), ("10.0.0.5", 77)),
    (("fe80::ffff:ffff:ffff:ffff", 65535), ("ff00::", 0)),
)
STEPS = (0, 1000, 50_000, MILLISECOND, 9 * MILLISECOND, 11 * MILLISECOND, SECOND, 301 * SECOND, -2 * SECOND)
SIZES = (0, 0, 0, 1, 99, 536, 537, 1448, 1460, 1500, 3000, 9217, 20_000)
FLAGS = (ACK, ACK, ACK, ACK, ACK | PSH, ACK | PSH, SYN, SYN | ACK, FIN | ACK, FIN | ACK, RST, RST | ACK, 0)
ODD_FLAGS = (SYN | FIN, SYN | RST, FIN, SYN | FIN | ACK | PSH, 0x1FF, 0x1C0 | ACK, FIN | RST)


@dataclass(frozen=True)
class Habits:
    """How often what happens, as shares of the packets."""

    tuples: int = len(TUPLES)
    flow: float = 0.7  # the next packet is of the same tuple
    mirror: float = 0.1  # a copy of one of the last packets, most often by another place
    network: float = 0.0  # a packet comes in one of so few overlay networks ...
    networks: int = 3  # ... most often in that of its direction
    place: float = 0.1  # a packet comes by another interface, VLAN depth or link type
    damage: float = 0.1  # a wrong or unfinished checksum
    off: float = 0.15  # a sequence or acknowledgement number that is not the next
    odd: float = 0.1  # flags and windows that nobody sends
    snap: float = 0.05
    jump: float = 0.2  # time moves by one of STEPS, not by a microsecond
    wild: float = 0.0  # a time stamp from anywhere
    noise: float = 0.03  # no TCP at all
    orderly: bool = False  # in order, with handshakes: what a bulk transfer is like


class _Talker:
    """One tuple: what each side would send next."""

    def __init__(self, ends: Ends, dice: Random) -> None:
        self.ends = ends
        self.next = [dice.choice((100, MASK - 40, dice.getrandbits(32))) for _ in range(2)]
        self.said = 0

    def say(self, dice: Random, habits: Habits) -> Sent:
        side = dice.getrandbits(1)
        flags = dice.choice(ODD_FLAGS if dice.random() < habits.odd else FLAGS)
        if habits.orderly:
            flags = (SYN, SYN | ACK, ACK)[self.said] if self.said < 3 else ACK | dice.choice((0, PSH))
            side = (0, 1, 0)[self.said] if self.said < 3 else side
        sent = Sent(
            self.ends[side],
            self.ends[1 - side],
            self._number(side, dice, habits),
            self._number(1 - side, dice, habits),
            flags,
            dice.randbytes(4) * (dice.choice(SIZES) // 4) if not habits.orderly or self.said > 2 else b"",
            dice.choice((1000, 1000, 0, 65535)) if dice.random() < habits.odd else 1000,
            mss=dice.choice((None, 1460, 500, 1, 0)) if flags & SYN else None,
            scale=dice.choice((None, 0, 7, 255)) if flags & SYN else None,
            checksum=dice.choice(("wrong", "wrong", "partial")) if dice.random() < habits.damage else "right",
            ident=dice.choice((0, self.said & 0xFFFF)),
        )
        self.said += 1
        if not flags & RST:
            self.next[side] = (sent.seq + len(sent.payload) + bool(flags & SYN) + bool(flags & FIN)) & MASK
        return sent

    def _number(self, side: int, dice: Random, habits: Habits) -> int:
        number = self.next[side]
        if dice.random() < habits.off:
            number += dice.choice((-1, 1, -1448, 1448, 1 << 20, (1 << 30) + 1, 1 << 31, dice.getrandbits(32)))
        return number & MASK


def _frame(sent: Sent, dice: Random, habits: Habits, time_ns: int) -> Frame:
    """A packet as it is seen, mostly at the first place."""
    interface, depth, link_type = 0, 0, ETHERNET
    if dice.random() < habits.place:
        interface, depth = dice.choice(((0, 1), (0, 2), (0, 5), (1, 0), (2, 1), (1, 0), (9, 0)))
        link_type = dice.choice((ETHERNET, ETHERNET, ETHERNET, SLL, SLL2))
    if link_type == SLL and ":" not in sent.source[0]:
        data = sent.cooked(dice.choice((0, 0, 3, 4, 4, 7)))
    elif link_type == SLL2 and ":" not in sent.source[0]:
        data = sent.cooked2(dice.choice((0, 3, 4)), dice.choice((0, 1, 2, 3, 4, 5, 6, 1 << 31)))
    else:
        link_type = ETHERNET
        data = sent.ethernet(tuple(range(1, depth + 1)))
        if habits.network and dice.random() < habits.network:
            own = sent.source > sent.target
            data = vxlan(data, 1 + (own if dice.random() < 0.8 else dice.randrange(habits.networks)))
    snap = dice.choice((60, 66, 96, 600)) if dice.random() < habits.snap else None
    return captured(data, time_ns, interface, link_type, snap)


def stream(dice: Random, count: int, habits: Habits | None = None) -> list[Frame]:
    """So many frames."""
    habits = habits or Habits()
    talkers = [_Talker(ends, dice) for ends in TUPLES[: habits.tuples]]
    talker = talkers[0]
    recent: list[Sent] = []
    frames: list[Frame] = []
    time_ns = START
    for _ in range(count):
        time_ns += dice.choice(STEPS) if dice.random() < habits.jump else 1000
        if dice.random() < habits.noise:
            frames.append(captured(dice.choice((b"", bytes(60), dice.randbytes(60))), time_ns, dice.choice((0, 0, 1))))
            continue
        if recent and dice.random() < habits.mirror:
            sent = dice.choice(recent[-4:])
            sent = replace(sent, ttl=63) if dice.getrandbits(1) else sent
            sent = replace(sent, ident=sent.ident + 1) if dice.random() < 0.1 else sent
            sent = replace(sent, checksum="wrong") if dice.random() < 0.1 else sent
        else:
            if dice.random() >= habits.flow:
                talker = dice.choice(talkers)
            sent = talker.say(dice, habits)
            recent.append(sent)
        frame = _frame(sent, dice, habits, time_ns)
        if dice.random() < habits.wild:
            edge = dice.choice(((1 << 63) - 1, -(1 << 63), 0, -1, 1, dice.getrandbits(63)))
            frame = frame._replace(time_ns=edge)
        frames.append(frame)
    return frames


def transfer(dice: Random, count: int, loss: float, late: float, before: bool) -> list[Frame]:
    """A bulk transfer with losses and reordering, seen `before` what loses it or behind."""
    talk = Dialog(step=20_000).handshake()
    received, held = 1001, set[int]()
    waiting: list[tuple[int, int]] = []  # (when, sequence number): sent again, or late
    sent = 1001
    for n in range(count):
        due = [each for each in waiting if each[0] <= n]
        seq = due[0][1] if due else sent
        if due:
            waiting.remove(due[0])
        else:
            sent += 100
        lost = not due and dice.random() < loss
        slow = not due and not lost and dice.random() < late
        if before or not (lost or slow):
            talk.a(b"z" * 100, seq=seq)
        if lost or slow:
            waiting.append((n + (12 if lost else 2), seq))
        else:
            held.add(seq)
        while received in held:
            received += 100
        talk.b(ack=received, seq=5001)
    return talk.frames
