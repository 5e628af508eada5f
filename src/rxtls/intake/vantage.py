"""Where the capture was taken, judged for one connection from nothing but its own packets (taps.py: from all).

A capture at the sender shows no loss and would fake a perfect offload; one at the receiver shows what the receiver's
NIC saw. So each direction has a vantage:

    sender ──► [tap] ─────── path ────────────► receiver      "sender"
    sender ────────── [tap] ── path ──────────► receiver      "middle"
    sender ────────── path ────────────► [tap] ─► receiver    "receiver"

Both directions follow from one `Place`: at endpoint a's host, at b's, or in the middle. Five kinds of evidence are
asked in the order of KINDS, from what can hardly be wrong to what can; the first that speaks decides, and one that
contradicts itself is silent (a router sees both hosts' packets come in; on loopback both hosts are here):

    cooked    the kernel wrote down whether the packet was ours (Linux cooked packet types)
    checksum  a checksum that its NIC had still to finish, or that was left as garbage, in all that one host sends
    loss      bytes that first came after their receiver had asked again, or late: lost or reordered before the tap.
              Bytes that the receiver asked for again although they had passed the tap: lost behind it
    size      packets joined by the receiver's NIC or GRO
    timing    how soon each host answers, as seen from here, against the round trip of the handshake

What it cannot tell: two hosts microseconds apart, without loss or offloads, look the same from either end. That is
"unknown", and the caller's --vantage says it. Every frame of a connection is looked at once (`look`), also those whose
checksum is bad, since a NIC's garbage is evidence; only frames that were accepted are followed (`follow`).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

from rxtls.intake.batch import ACK, FIN, RST, SYN
from rxtls.seq import add, before, distance
from rxtls.wire.frame import Checksum, Packet


class Place(IntEnum):
    """Where the tap stands."""

    UNKNOWN = 0
    AT_A = 1
    AT_B = 2
    MIDDLE = 3


class Judged(NamedTuple):
    """What one connection says: where, by which of KINDS (None: it says nothing), and, where that is losses, how many
    speak for the host of a and of b."""

    place: Place = Place.UNKNOWN
    kind: str | None = None
    at_a: int = 0
    at_b: int = 0


# The vantage of a direction, by its sender's side.
VANTAGE: dict[Place, tuple[str, str]] = {
    Place.UNKNOWN: ("unknown", "unknown"),
    Place.AT_A: ("sender", "receiver"),
    Place.AT_B: ("receiver", "sender"),
    Place.MIDDLE: ("middle", "middle"),
}
# What a caller may say instead: the vantage of every direction, or whose host the tap stands at, where the client is
# endpoint a. By the sender's side.
SAID: dict[str, tuple[str, str]] = {
    **{vantage: (vantage, vantage) for vantage in ("receiver", "sender", "middle")},
    "client": VANTAGE[Place.AT_A],
    "server": VANTAGE[Place.AT_B],
}
# A pcapng file may say the same of an interface, in a comment that begins so.
SAYS = "rxtls --vantage "
_AT = (Place.AT_A, Place.AT_B)  # by side

# A network that damages three packets of one host and none of the other's, nor one in between, is none.
BAD_IN_A_ROW = 3

# Where nothing of a connection was right so far, the second wrong one is not believed to be the network's doing.
NONE_RIGHT = 2
WRONG = (Checksum.BAD, Checksum.BAD_HEADER)

# RFC 5681 section 3.2: three duplicate ACKs are a receiver that misses something.
DUPLICATE_ACKS = 3

# A host sends one connection's packets in order, so what is out of order was so on the way. But once or twice it may
# have been the capture, between two queues.
REORDERED = 3

# One side's losses must outnumber the other's eightfold: a spurious retransmission must not turn the verdict.
LOSS_MAJORITY = 8

MOST_LOSSES = (1 << 24) - 1  # counted for either side by `Evidence.judged`

# A host answers at once, but "at once" is 10 to 100 us, and more on a busy one. A round trip below the floor measures
# hosts and not distance. At a host's own tap its answer takes an eighth of the round trip or less, and the other one,
# which has the way to go, never less than half of it: else the handshake was slow for another reason.
ROUND_TRIP_FLOOR_NS = 500_000
NEAR_SHARE = 8
FAR_SHARE = 2
# Both this far away: in the middle. A host that thinks for so long over every single packet is not one.
FAR_NS = 2_000_000

_LEAST_MSS = 536  # what any host takes (RFC 9293 section 3.7.1); a packet below is not worth a look
_JUMBO_PAYLOAD = 9216  # no link carries more in one packet; used where no MSS was seen

# Handshake timing. A retransmitted SYN or SYN-ACK spoils it: which one was answered is not known (Karn's rule,
# RFC 6298 section 3).
_NOTHING, _SYN, _SYN_ACK, _DONE, _SPOILED = range(5)


# What a host's packets were like.
_GOOD = 0x01  # checksum right, or left to the NIC
_BARE_GOOD = 0x02  # right, without payload: nothing can have joined or finished it on the way here
_BARE_PARTIAL = 0x04  # left to the NIC, without payload
_LOADED_PARTIAL = 0x08  # left to the NIC, with payload: sent so, or joined by GRO, which leaves the same
_JOINED = 0x10  # larger than a packet may be on the way
_TO_US, _TO_OTHERS, _FROM_US = 0x20, 0x40, 0x80

# Linux cooked packet types (packet(7)): what the kernel knew about the packet. 1 and 2 are broadcast and multicast.
_COOKED = {0: _TO_US, 3: _TO_OTHERS, 4: _FROM_US}


class Host:
    """What was seen of one endpoint: first what it sent, then the direction in which it sends."""

    __slots__ = (
        "bad",
        "blind",
        "dup_acks",
        "hole",
        "hole_end",
        "hole_time",
        "late",
        "late_loss",
        "lost_before",
        "marks",
        "mss",
        "next",
        "reaction",
        "sample",
        "sample_time",
        "unbelieved",
        "window",
    )

    def __init__(self) -> None:
        self.marks = 0  # what any of its packets was like
        self.bad = 0  # wrong checksums in a row
        self.unbelieved = False  # so many before any right one that its checksums say nothing
        self.mss = -1  # announced by this host
        self.window = -1  # last one advertised by this host, unscaled
        self.reaction = -1  # shortest time in which this host answered, as seen here
        self.next = -1  # sequence number after the furthest byte it sent
        self.hole = self.hole_end = self.hole_time = -1  # the one hole that is watched, and when it opened
        self.blind = -1  # up to here other holes were, or the watched one was: no verdict on what is sent again
        self.dup_acks = 0  # how often its peer has asked for the same byte
        self.late = 0  # holes filled before the receiver asked: reordered
        self.lost_before = self.late_loss = 0  # losses before the tap, behind the tap
        self.sample = self.sample_time = -1  # the end of the segment whose ACK is timed


class Evidence:
    """What one connection says about where it was captured. The verdict may be asked for at any frame."""

    __slots__ = ("_first", "_hosts", "_mark", "_seq", "_stage", "_starter", "round_trip")

    def __init__(self) -> None:
        self._hosts = (Host(), Host())
        self._stage = _NOTHING
        self._starter = 0  # side of the SYN's sender
        self._seq = 0  # of the SYN or SYN-ACK that waits for an answer
        self._mark = 0  # its time
        self._first = 0  # delay between the two
        self.round_trip = -1

    def place(self) -> Place:
        """Where the tap stands, as far as it can be told by now."""
        return self.judged().place

    def judged(self) -> Judged:
        """The same, and what says so."""
        for name, kind in KINDS.items():
            place = kind(self, self._hosts)
            if place is not Place.UNKNOWN:
                losses = _losses(self._hosts) if name == "loss" else (0, 0)
                return Judged(place, name, *(min(each, MOST_LOSSES) for each in losses))
        return Judged()

    def reached(self, side: int) -> int:
        """The sequence number behind the furthest byte that `side` sent, -1 unknown."""
        return self._hosts[side].next

    def unbelieved(self, side: int, packet: Packet) -> bool:
        """True when the wrong checksum of `packet`, from `side`, says nothing, since none of this host is right.

        Captures are rewritten, and some hosts' NICs fill in whatever goes out while their stack, or a peer, is recorded
        likewise: then all are wrong, for good. Once BAD_IN_A_ROW were wrong before any was right, a right one later is
        chance. Until then what is left out of a handshake cannot come again. So while nothing in the connection was
        right, the second wrong one passes, and before it a SYN, which has no bytes that could win over others, and a
        field of 0, which no damage makes. One damaged packet that opens a connection is no reason to believe it.
        """
        host, peer = self._hosts[side], self._hosts[1 - side]
        if host.unbelieved:
            return True
        if (host.marks | peer.marks) & _GOOD:
            return False
        return host.bad + peer.bad >= NONE_RIGHT or not packet.field or packet.flags & (SYN | RST) == SYN

    def excuses(self, side: int, packet: Packet) -> bool:
        """True when the wrong checksum of `packet`, from `side`, was left so by the sender's NIC, recorded before it.

        The place alone excuses nothing: it is an inference that may turn, and what it would let through is a packet
        that the wire damaged, whose bytes then win against the intact ones. Either the kernel wrote down that it sent
        this very packet, and received none of this host's (a router does both), or the host has not shown one checksum
        that was right or left as Linux leaves it.
        """
        if VANTAGE[self.place()][side] != "sender":
            return False
        marks = self._hosts[side].marks
        ours = packet.cooked_type is not None and _COOKED.get(packet.cooked_type) == _FROM_US
        return not marks & _GOOD or (ours and not marks & _TO_US)

    def look(self, side: int, time_ns: int, packet: Packet) -> None:
        """Note what a frame from `side` is like, whether its checksum is right or not."""
        host = self._hosts[side]
        checksum = packet.checksum
        length = packet.payload_length
        if checksum is Checksum.OK:
            host.bad = 0
            host.marks |= _GOOD if length else _GOOD | _BARE_GOOD
        elif checksum is Checksum.PARTIAL:
            host.bad = 0
            host.marks |= _GOOD | (_LOADED_PARTIAL if length else _BARE_PARTIAL)
        elif checksum in WRONG:
            host.bad += 1
            if host.bad >= BAD_IN_A_ROW and not host.marks & _GOOD:
                host.unbelieved = True
        if length > _LEAST_MSS:
            mss = self._hosts[1 - side].mss
            if length > (mss if mss > 0 else _JUMBO_PAYLOAD):
                host.marks |= _JOINED
        if packet.cooked_type is not None:
            host.marks |= _COOKED.get(packet.cooked_type, 0)
        if self._stage < _DONE:
            self._time_handshake(side, time_ns, packet)

    def follow(self, side: int, time_ns: int, packet: Packet, acked: int, other_acked: int) -> None:
        """Follow an accepted frame from `side`.

        `acked` is what `side`'s peer has acknowledged, `other_acked` what `side` itself had, both before this frame; -1
        unknown.
        """
        flags = packet.flags
        if flags & (SYN | RST):
            if flags & SYN:
                host = self._hosts[side]
                host.mss = packet.mss or -1
                host.next = add(packet.seq, 1 + packet.payload_length)
            return
        if flags & ACK:
            self._follow_ack(side, time_ns, packet, other_acked)
        if packet.payload_length:
            self._follow_data(side, time_ns, packet, acked)

    def _time_handshake(self, side: int, time_ns: int, packet: Packet) -> None:
        flags = packet.flags & (SYN | ACK | RST)
        if flags == SYN:
            if self._stage == _NOTHING:
                self._stage, self._starter, self._seq, self._mark = _SYN, side, packet.seq, time_ns
            else:
                self._stage = _SPOILED
        elif flags == SYN | ACK:
            if self._stage == _SYN and side != self._starter and before(self._seq, packet.ack):
                self._first = time_ns - self._mark
                self._stage, self._seq, self._mark = _SYN_ACK, packet.seq, time_ns
            else:
                self._stage = _SPOILED
        elif flags == ACK and self._stage == _SYN_ACK and side == self._starter and before(self._seq, packet.ack):
            second = time_ns - self._mark
            if self._first < 0 or second < 0:
                self._stage = _SPOILED
                return
            self._stage = _DONE
            self.round_trip = self._first + second
            self._hosts[1 - side].reaction = self._first
            self._hosts[side].reaction = second

    def _follow_ack(self, side: int, time_ns: int, packet: Packet, other_acked: int) -> None:
        """An ACK: `side` answers, and says what it has of the other direction."""
        answerer, sender = self._hosts[side], self._hosts[1 - side]
        ack, window = packet.ack, packet.window
        if ack == other_acked:
            if window == answerer.window and window and not packet.payload_length and not packet.flags & FIN:
                sender.dup_acks += 1  # a duplicate as RFC 5681 section 2 defines it
        elif other_acked < 0 or before(other_acked, ack):
            sender.dup_acks = 0
            if sender.sample >= 0 and distance(sender.sample, ack) >= 0:
                delay = time_ns - sender.sample_time
                if delay >= 0 and (answerer.reaction < 0 or delay < answerer.reaction):
                    answerer.reaction = delay
                sender.sample = -1
            if sender.hole >= 0 and before(sender.hole, ack):
                sender.hole = -1  # acknowledged, never seen: the capture lost it, not the network
        answerer.window = window

    def _follow_data(self, side: int, time_ns: int, packet: Packet, acked: int) -> None:
        """Payload: in order, ahead of a hole, or sent again."""
        host = self._hosts[side]
        seq = packet.seq
        end = add(seq, packet.payload_length)
        ahead = 0 if host.next < 0 else distance(host.next, seq)
        if ahead == 0:
            host.next = end
            if host.sample < 0:
                host.sample, host.sample_time = end, time_ns
            return
        host.sample = -1  # Karn's rule again
        if ahead > 0:
            if host.hole < 0:
                host.hole, host.hole_end, host.hole_time, host.dup_acks = host.next, seq, time_ns, 0
            else:
                host.blind = seq
            host.next = end
            return
        if host.hole >= 0 and distance(host.hole, seq) >= 0 and before(seq, host.hole_end):
            # A duplicate ACK came first. So this is no quarrel between two CPUs over the order in which they captured:
            # the receiver, too, lacked the bytes.
            if host.dup_acks:
                host.lost_before += 1
            elif time_ns > host.hole_time:
                host.late += 1
            host.blind = host.hole_end if host.blind < 0 or before(host.blind, host.hole_end) else host.blind
            host.hole = -1
        elif (
            seq == acked
            and host.hole < 0
            and host.dup_acks >= DUPLICATE_ACKS
            and (host.blind < 0 or distance(host.blind, seq) >= 0)
        ):
            host.late_loss += 1
            host.dup_acks = 0
        if before(host.next, end):
            host.next = end


def _cooked(_: Evidence, hosts: tuple[Host, Host]) -> Place:
    a, b = hosts[0].marks, hosts[1].marks
    at_a, at_b = a & _FROM_US or b & _TO_US, b & _FROM_US or a & _TO_US
    if at_a or at_b:
        return _one(at_a, at_b)
    return Place.MIDDLE if (a | b) & _TO_OTHERS else Place.UNKNOWN


def _checksum(_: Evidence, hosts: tuple[Host, Host]) -> Place:
    a, b = hosts
    if (a.marks | b.marks) & _BARE_PARTIAL:
        return _one(a.marks & _BARE_PARTIAL, b.marks & _BARE_PARTIAL)
    garbage_a = a.bad >= BAD_IN_A_ROW and not a.marks & _GOOD and not b.bad
    garbage_b = b.bad >= BAD_IN_A_ROW and not b.marks & _GOOD and not a.bad
    if garbage_a or garbage_b:
        return _one(garbage_a, garbage_b)
    # With payload the same mark may be GRO's. It is the sender's where nothing that the host sent has a finished sum.
    left_a, left_b = (host.marks & (_LOADED_PARTIAL | _BARE_GOOD) == _LOADED_PARTIAL for host in hosts)
    return _one(left_a, left_b)


def _losses(hosts: tuple[Host, Host]) -> tuple[int, int]:
    """How many losses say that the capture was taken at a's host, and at b's."""
    a, b = hosts
    at_a = b.lost_before + a.late_loss + (b.late if b.late >= REORDERED else 0)
    return at_a, a.lost_before + b.late_loss + (a.late if a.late >= REORDERED else 0)


def _loss(_: Evidence, hosts: tuple[Host, Host]) -> Place:
    at_a, at_b = _losses(hosts)
    if at_a and at_a >= LOSS_MAJORITY * at_b:
        return Place.AT_A
    if at_b and at_b >= LOSS_MAJORITY * at_a:
        return Place.AT_B
    return Place.MIDDLE if at_a and at_b else Place.UNKNOWN


def _size(_: Evidence, hosts: tuple[Host, Host]) -> Place:
    """Joined packets of a host that finishes its own checksums: they were joined here, at its peer.

    Linux' GRO leaves in a joined packet the very checksum that TSO leaves in one to be cut (tcp_gro_complete), so the
    mark alone means nothing. A host that segments in its NIC leaves its SYNs and pure ACKs to the NIC as well (though
    not every RST: the kernel finishes those that no socket sends).
    """
    joined_a, joined_b = (
        host.marks & (_BARE_GOOD | _BARE_PARTIAL) == _BARE_GOOD and host.marks & (_JOINED | _LOADED_PARTIAL)
        for host in hosts
    )
    return _one(joined_b, joined_a)


def _timing(evidence: Evidence, hosts: tuple[Host, Host]) -> Place:
    round_trip = evidence.round_trip
    if round_trip < ROUND_TRIP_FLOOR_NS or hosts[0].marks & hosts[1].marks & _BARE_PARTIAL:
        return Place.UNKNOWN  # the latter: one machine, however slow it was
    a, b = (host.reaction for host in hosts)
    if min(a, b) * NEAR_SHARE <= round_trip <= max(a, b) * FAR_SHARE:
        return Place.AT_A if a < b else Place.AT_B
    return Place.MIDDLE if min(a, b) >= FAR_NS else Place.UNKNOWN


def _one(at_a: int | bool, at_b: int | bool) -> Place:
    """The place that one of the two names; UNKNOWN when they contradict each other or neither speaks."""
    if bool(at_a) == bool(at_b):
        return Place.UNKNOWN
    return Place.AT_A if at_a else Place.AT_B


KINDS: dict[str, Callable[[Evidence, tuple[Host, Host]], Place]] = {
    "cooked": _cooked,
    "checksum": _checksum,
    "loss": _loss,
    "size": _size,
    "timing": _timing,
}
