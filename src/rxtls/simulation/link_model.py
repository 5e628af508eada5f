"""What goes into a simulated connection and what comes out of it: values only. link.py makes the one of the
other.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple, Protocol

from rxtls.simulation.sender import SentRecord
from rxtls.wire.packets import Address

MICROSECOND = 1_000
MILLISECOND = 1_000_000
MAX_WINDOW = 1 << 30  # RFC 7323 section 2.3
MAX_MSS = 65_000  # leaves room for headers in an IPv4 packet; sizes this large look like aggregated captures

CLIENT = Address("192.0.2.1", 40000, b"\x02\x00\x00\x00\x00\x01")  # addresses for documentation, RFC 5737
SERVER = Address("198.51.100.1", 443, b"\x02\x00\x00\x00\x00\x02")

_RATES = ("loss", "duplicate", "reorder", "corrupt", "corrupt_unseen", "resegment", "move")


@dataclass(frozen=True)
class Impairment:
    """What one direction of the link does. Rates are probabilities in [0, 1]; anything else raises ValueError.

    `unit` consecutive segments (without 10 ms of silence between) share one fate of loss, duplicate and reorder (netem
    drops whole GSO buffers; 1 is a link that drops packets). A reordered unit arrives `jump` units early, or late if
    negative; the distance is counted in `gap_ns`, the time that a segment takes on the wire. `corrupt` flips a byte
    and leaves the checksum bad; `corrupt_unseen` flips a byte and repairs the checksum, and with `spare_control` hits
    nothing but what follows the header of a record of application data. `resegment` cuts a segment at another place
    than the MSS. `move` makes the direction arrive on the connection's next interface from then on. `delay_ns` is one
    way.
    """

    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    jump: int = 3
    unit: int = 1
    corrupt: float = 0.0
    corrupt_unseen: float = 0.0
    spare_control: bool = False
    resegment: float = 0.0
    move: float = 0.0
    delay_ns: int = 100 * MICROSECOND
    gap_ns: int = 1 * MICROSECOND

    def __post_init__(self) -> None:
        for name in _RATES:
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is a probability")
        if self.unit < 1 or self.delay_ns < 0 or self.gap_ns < 0:
            raise ValueError("unit is at least 1, times are not negative")


@dataclass(frozen=True)
class Connection:
    """Everything about a connection that is neither the link's nor TLS's. Pairs are (client's, server's).

    `sequences` are those of the first byte each side writes (its SYN's is one less). `windows` are the receive buffers
    in bytes; `flight` is the congestion window in segments, `reordering` how many later segments must have come before
    one counts as lost. With `handshake` SYN, SYN-ACK and ACK come first; without, the frames begin in mid-connection
    and who reads them cannot know the window scale. `end` is how TCP ends: FINs, a RST by the client after all is
    through, or not at all. A side that gets data stops reading with probability `stall`, for `stall_ns`, and its
    window closes; a side that hears an acknowledgement sends a keep-alive with probability `keepalive`. `timestamps`
    puts the option of RFC 7323 into every segment. `interfaces` are the indexes that Impairment.move goes through.
    """

    client: Address = CLIENT
    server: Address = SERVER
    vlans: tuple[int, ...] = ()
    sequences: tuple[int, int] = (1_000_001, 2_000_001)
    windows: tuple[int, int] = (262_144, 262_144)
    mss: int = 1448
    flight: int = 64
    reordering: int = 3
    handshake: bool = True
    end: Literal["fin", "rst", "open"] = "fin"
    tap: Literal["client", "server", "middle"] = "client"
    start_ns: int = 1_750_000_000_000_000_000
    stall: float = 0.0
    stall_ns: int = 300 * MILLISECOND
    keepalive: float = 0.0
    timestamps: bool = False
    interfaces: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        if not (1 <= self.mss <= MAX_MSS and self.flight >= 1 and self.reordering >= 1 and self.interfaces):
            raise ValueError(f"mss is 1 to {MAX_MSS}, flight and reordering at least 1, and there is an interface")
        if not all(1 <= window <= MAX_WINDOW for window in self.windows):
            raise ValueError(f"a window is 1 to {MAX_WINDOW} bytes")


class LinkFrame(NamedTuple):
    """A frame as the tap saw it: Ethernet (link type 1), never cut."""

    time_ns: int
    data: bytes
    interface: int = 0
    link_type: int = 1

    @property
    def wire_length(self) -> int:
        """Bytes on the wire; all of them are here."""
        return len(self.data)

    @property
    def flags(self) -> int:
        """None, as in a pcap."""
        return 0


class Reader(Protocol):
    """A kernel and an application at the tap, which take frames as they are seen and say how much may come.

    Both calls give the position in the stream up to which there is room. While it `waits`, it is woken every
    `pause_ns`.
    """

    pause_ns: int

    @property
    def waits(self) -> bool: ...
    def take(self, frames: list[LinkFrame]) -> int: ...
    def wake(self) -> int: ...


@dataclass
class Side:
    """The truth about what one side sent: `records` as written, `stream` as bytes, `delivered` as accepted by its peer.

    `sequence` is that of the stream's first byte.
    """

    records: list[SentRecord]
    stream: bytes = field(repr=False)
    delivered: bytes = field(repr=False)
    sequence: int

    @property
    def complete(self) -> bool:
        """The peer accepted every byte."""
        return len(self.delivered) == len(self.stream)

    @property
    def truth(self) -> list[tuple[int, bytes]]:
        """(type, payload) of every record sent, in order."""
        return [(record.type, record.payload) for record in self.records]

    @cached_property
    def damaged(self) -> frozenset[int]:
        """Indexes of the records whose accepted bytes are not the bytes sent; bytes never accepted do not count."""
        if self.stream.startswith(self.delivered):
            return frozenset()
        end = len(self.delivered)
        spans = [(record.start, min(record.start + record.length, end)) for record in self.records]
        return frozenset(i for i, (a, b) in enumerate(spans) if self.delivered[a:b] != self.stream[a:b])


@dataclass
class LinkRun:
    """A finished connection: the tap's `frames` in order of time, the truth of each side, and how often what happened.

    `counts` has lost, duplicated, reordered, corrupted, corrupted_unseen and moved (segments), retransmitted, timeouts,
    probes, keepalives, stalls.
    """

    frames: list[LinkFrame] = field(repr=False)
    client: Side
    server: Side
    counts: Counter[str]
