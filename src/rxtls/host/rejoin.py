"""A connection that goes on after it had ended: its generation was over for want of packets, or of room to follow it.

    generation 1   ... | record 17 | rec          idle, or evicted: nothing had ended on the wire
    generation 2                        ord 18 | record 19 | ...      no SYN, on the same addresses and ports

What the TLS library had learned, and where the workers stood, is kept by the tuple (at most MOST of them). The next
connection on it that begins without a SYN, near where the last one stopped, goes on with that: at the next record if
nothing is missing, else as behind a hole (recovery.py), where nothing counts but a record that authenticates. Before
TLS 1.3 there is no other way, since keys are made of what only the handshake has.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from rxtls.counters import Ledger
from rxtls.handshake.observer import Observer
from rxtls.host import holes
from rxtls.host.direction import Direction, Sides
from rxtls.host.reassembly import Hole
from rxtls.host.sockbuf import SockBuf
from rxtls.host.worker import Session
from rxtls.intake.flows import both_ways
from rxtls.offload.mbuf import Mbuf
from rxtls.seq import add, distance

if TYPE_CHECKING:
    from rxtls.intake.flows import Connection

MOST = 1 << 14  # some 10 kB each
PAUSES = frozenset({"idle", "evicted"})  # ends of a generation that are none of its connection
FAR = 1 << 30  # bytes that may be missing: as far as a window reaches


class Stood(NamedTuple):
    """Where a side stood: its worker, the device's epochs so far, and what waits of a record that begins at `place`."""

    session: Session
    epoch: int
    place: int
    pieces: list[Mbuf]
    waiting: int  # bytes

    @property
    def end(self) -> int:
        """Where the stream goes on."""
        return add(self.place, self.waiting)


@dataclass
class Left:
    """What is left of a connection; None for a side that cannot go on, though it may have been `enabled`. Whoever takes
    a side sets it to None. `id` and `key` are Connection's."""

    id: int
    key: bytes
    library: Observer
    sides: list[Stood | None]
    enabled: list[bool]
    met: list[bool] = field(default_factory=lambda: [False, False])  # sides of the next connection that were compared

    def turn(self) -> None:
        """The next connection has the sides the other way round."""
        self.library.turn()
        self.sides.reverse()
        self.enabled.reverse()

    def drop(self, ledger: Ledger) -> None:
        """Nothing goes on from here."""
        for stood in self.sides:
            ledger.fate("byte.left_over", stood.waiting if stood else 0)
        self.sides = [None, None]


class Ending(Sides, Protocol):
    """A connection that ends, and may itself have begun where another had ended: flow.py's Flow."""

    left: Left | None


class Lefts:
    """What is left of the connections that ended last, by tuple."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._left: OrderedDict[bytes, Left] = OrderedDict()

    def keep(self, flow: Ending) -> None:
        """A connection ends: keep what it takes to go on, if it may."""
        if flow.left is not None:
            flow.left.drop(self._ledger)
        library, connection = flow.library, flow.connection
        if connection.end not in PAUSES or not isinstance(library, Observer):
            return
        enabled = [each.enabled for each in flow.directions]
        sides = [_stood(each) for each in flow.directions]
        if not any(sides):
            return
        left, name = Left(connection.id, connection.key, library, sides, enabled), both_ways(connection.key)
        # A SYN may have begun the next one before this one was served to its end.
        older, newer = sorted((self._left.get(name, left), left), key=lambda each: each.id)
        if older is not newer:
            older.drop(self._ledger)
        self._left[name] = newer
        if len(self._left) > MOST:
            self._left.popitem(last=False)[1].drop(self._ledger)

    def has(self, connection: Connection) -> bool:
        """Whether `take` has anything for a connection."""
        return both_ways(connection.key) in self._left if self._left else False

    def take(self, connection: Connection) -> Left | None:
        """What is left for a connection that begins."""
        left = self._left.pop(both_ways(connection.key), None) if self._left else None
        if left is not None and left.key != connection.key:
            left.turn()
        return left

    def drop(self) -> None:
        """No connection will begin any more."""
        for left in self._left.values():
            left.drop(self._ledger)
        self._left.clear()


def _stood(direction: Direction) -> Stood | None:
    session, sockbuf = direction.session, direction.sockbuf
    if session is None or direction.fate() or direction.held or direction.reassembly.stopped:
        return None
    place, waiting = sockbuf.start_seq, sockbuf.waiting
    return Stood(session, direction.epoch, place, _taken(sockbuf), waiting)


def _taken(sockbuf: SockBuf) -> list[Mbuf]:
    """All that waits."""
    pieces = sockbuf.detach(sockbuf.waiting) if sockbuf.waiting else []
    sockbuf.hand_on(0)
    return pieces


def join(flow: Sides, side: int, left: Left) -> bool:
    """At the first segment of a side: go on where it stood. False if that is not from there."""
    direction, stood = flow.directions[side], left.sides[side]
    sockbuf = direction.sockbuf
    if stood is None or direction.reassembly.syn_seen:
        return False
    if not sockbuf.waiting:
        sockbuf.end_seq = direction.reassembly.rcv_nxt
    missing = distance(stood.end, sockbuf.start_seq)
    if not 0 <= missing < FAR:
        return False
    left.sides[side] = None
    left.library.reopen()
    session = direction.session = stood.session
    direction.epoch = stood.epoch
    direction.late_start = session.number
    direction.new_keys = True
    sockbuf.enable()
    if missing:
        head = b"".join(piece.data for piece in stood.pieces)[: session.keys.header_length]
        direction.recovery = holes.begun(session, head)
        direction.recovery.enter(stood.waiting, Hole(0, stood.end, missing, acknowledged=True))
        flow.library.interrupted(side)
        return True
    for piece in [*stood.pieces, *_taken(sockbuf)]:
        sockbuf.append(piece)
    return True
