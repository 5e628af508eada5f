"""A dialogue of two TCP hosts, written down packet by packet, as frames for the steer stage.

    talk = Dialog()
    talk.handshake()
    talk.a(b"hello")      # the next bytes of a, acknowledging all of b
    talk.b()              # b's pure ACK
    batch = steer(talk.frames)

Sequence numbers in arguments are absolute; what is not given follows from what was said. Every packet takes `step` ns.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from ipaddress import ip_address

from rxtls.counters import Ledger
from rxtls.intake.batch import ACK, FIN, RST, SYN
from rxtls.intake.steer import Steer, SteerOptions
from rxtls.seq import MASK
from rxtls.wire.captured import Frame

ETHERNET, SLL, SLL2 = 1, 113, 276
MILLISECOND = 1_000_000
SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND


def fold(data: bytes) -> int:
    """The Internet checksum's sum of `data`, not complemented (RFC 1071), the slow and obvious way."""
    total: int = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@dataclass(frozen=True)
class Sent:
    """One packet before it is bytes. `checksum`: right, wrong, or partial (left to the NIC)."""

    source: tuple[str, int]
    target: tuple[str, int]
    seq: int
    ack: int
    flags: int
    payload: bytes = b""
    window: int = 1000
    mss: int | None = None
    scale: int | None = None
    checksum: str = "right"
    ident: int = 1
    ttl: int = 64

    def segment(self) -> bytes:
        options = b""
        if self.mss is not None:
            options += struct.pack("!BBH", 2, 4, self.mss)
        if self.scale is not None:
            options += struct.pack("!BBBB", 1, 3, 3, self.scale)
        header = struct.pack(
            "!HHIIHHHH",
            self.source[1],
            self.target[1],
            self.seq & MASK,
            self.ack & MASK,
            (20 + len(options)) // 4 << 12 | self.flags,
            self.window,
            0,
            0,
        )
        rest = options + self.payload
        addresses = ip_address(self.source[0]).packed + ip_address(self.target[0]).packed
        pseudo = addresses + struct.pack("!II", len(header) + len(rest), 6)
        value = fold(pseudo) if self.checksum == "partial" else 0xFFFF ^ fold(pseudo + header + rest)
        if self.checksum == "wrong":
            value ^= 0x5555
        return header[:16] + struct.pack("!H", value) + header[18:] + rest

    def packet(self) -> bytes:
        segment = self.segment()
        source, target = ip_address(self.source[0]), ip_address(self.target[0])
        if source.version == 6:
            return struct.pack("!IHBB", 6 << 28, len(segment), 6, self.ttl) + source.packed + target.packed + segment
        length = 20 + len(segment)
        header = struct.pack("!BBHHHBBH", 0x45, 0, length, self.ident, 0x4000, self.ttl, 6, 0)
        header += source.packed + target.packed
        return header[:10] + struct.pack("!H", 0xFFFF ^ fold(header)) + header[12:] + segment

    def ethernet(self, vlan: tuple[int, ...] = ()) -> bytes:
        packet = self.packet()
        stack = b"".join(struct.pack("!HH", 0x8100, number) for number in vlan)
        kind = 0x86DD if packet[0] >> 4 == 6 else 0x0800
        return bytes(12) + stack + struct.pack("!H", kind) + packet

    def cooked(self, packet_type: int) -> bytes:
        return struct.pack("!HHH8sH", packet_type, 1, 6, bytes(8), 0x0800) + self.packet()

    def cooked2(self, packet_type: int, ifindex: int) -> bytes:
        return struct.pack("!HHIHBB8s", 0x0800, 0, ifindex, 1, packet_type, 6, bytes(8)) + self.packet()


def captured(
    data: bytes, time_ns: int, interface: int = 0, link_type: int = ETHERNET, snap: int | None = None
) -> Frame:
    return Frame(time_ns, interface, link_type, len(data), data if snap is None else data[:snap])


@dataclass
class Dialog:
    """Two endpoints; `next` are their next sequence numbers, `acked` what each acknowledges when it speaks."""

    ends: tuple[tuple[str, int], tuple[str, int]] = (("10.0.0.1", 40000), ("10.0.0.2", 443))
    isn: tuple[int, int] = (1000, 5000)
    time: int = START
    step: int = MILLISECOND
    interface: int = 0
    vlan: tuple[int, ...] = ()
    frames: list[Frame] = field(default_factory=list)
    last: Sent | None = None

    def __post_init__(self) -> None:
        self.next = list(self.isn)
        self.ident = 0

    def say(self, side: int, payload: bytes = b"", flags: int = ACK, **fields: object) -> Sent:
        """`side` sends; unless given, seq and ack follow. Keywords of `Sent`, and `snap` bytes to keep."""
        snap = fields.pop("snap", None)
        assert snap is None or isinstance(snap, int)
        self.ident += 1
        sent = Sent(
            self.ends[side],
            self.ends[1 - side],
            self.next[side],
            self.next[1 - side] if flags & ACK else 0,
            flags,
            payload,
            ident=self.ident & 0xFFFF,
        )
        sent = replace(sent, **fields)  # type: ignore[arg-type]
        if not flags & RST:
            end = sent.seq + len(payload) + bool(flags & SYN) + bool(flags & FIN)
            if "seq" not in fields or (end - self.next[side]) & MASK < 1 << 31:
                self.next[side] = end & MASK
        self.add(sent.ethernet(self.vlan), snap=snap)
        self.last = sent
        return sent

    def a(self, payload: bytes = b"", flags: int = ACK, **fields: object) -> Sent:
        return self.say(0, payload, flags, **fields)

    def b(self, payload: bytes = b"", flags: int = ACK, **fields: object) -> Sent:
        return self.say(1, payload, flags, **fields)

    def add(
        self, data: bytes, link_type: int = ETHERNET, snap: int | None = None, interface: int | None = None
    ) -> None:
        """Any frame, at the next moment."""
        where = self.interface if interface is None else interface
        self.frames.append(captured(data, self.time, where, link_type, snap))
        self.time += self.step

    def handshake(self, scales: tuple[int | None, int | None] = (0, 0), mss: int | None = 1460) -> Dialog:
        self.a(flags=SYN, scale=scales[0], mss=mss)
        self.b(flags=SYN | ACK, scale=scales[1], mss=mss)
        self.a()
        return self

    def goodbye(self) -> Dialog:
        self.a(flags=FIN | ACK)
        self.b(flags=FIN | ACK)
        self.a()
        return self


@dataclass
class Steered:
    """Everything that came out of a run: rows, each with its payload; connections; the ledger."""

    rows: list[list[int]]
    payloads: list[bytes]
    stage: Steer
    ledger: Ledger

    @property
    def fates(self) -> dict[str, int]:
        fates = self.ledger.fates.items()
        return {name.removeprefix("frame."): n for name, n in fates if name.startswith("frame.")}

    @property
    def ends(self) -> list[str]:
        return [connection.end for connection in self.stage.connections]


def steer(
    frames: Iterable[Frame], options: SteerOptions | None = None, sizes: Iterable[int] = (), finish: bool = True
) -> Steered:
    """Run frames through a steer stage in calls of `sizes` frames, the rest in one."""
    ledger = Ledger()
    stage = Steer(ledger, options)
    out = Steered([], [], stage, ledger)
    numbered = list(enumerate(frames))
    batches = []
    for size in sizes:
        batches.append(stage.batch(numbered[:size]))
        numbered = numbered[size:]
    batches.append(stage.batch(numbered))
    if finish:
        batches.append(stage.finish())
    for batch in batches:
        for row in batch.rows.tolist():
            out.payloads.append(batch.data[row[7] : row[7] + row[8]])
            row[7] = 0  # where the bytes lie depends on the call; which bytes they are does not
            out.rows.append(row)
    return out
