"""TCP reassembly of one direction: Mbufs in any order in, the stream's bytes in order out, each with its own mark.

    |<- delivered ->|next          |held ....|    |held ..|            |edge (advertised)
    0 --------------+--------------+---------+----+-------+------------+-------> position in the stream

The first accepted copy of a byte wins, whatever comes later and however it is cut, so a duplicate can never change the
mark of a byte (RFC 9293 section 3.10.7.4 leaves the choice; BSD and Linux keep what they have). The next expected byte
is always accepted. In-window is judged by what the real receiver advertised, never by our own hold, and by some more
(SLACK); a FIN has to be in the window itself (RFC 9293 section 3.10.7.4, first step). The first FIN accepted is the
end, and no byte behind it is any of the stream's. What cannot be delivered ends in a byte fate.

We only watch: when the real receiver acknowledged bytes which the capture does not hold, they are gone. Such a *gap* is
`due` when much has piled up behind it, when it has lasted, or when the connection ends; so is a hole that nobody
acknowledged when the hold meets its bound, or at the end. The host then passes it (`pass_hole`): the stream goes on
with what was held. Positions are plain ints counted from the first byte after the SYN; TCP's 32 bits are only met at
the door.

Bounds and gaps are judged at host points (`settle`), not per Mbuf, because where LRO cut must not matter. What is held
is counted as memory (`memory`): its bytes, and PACKET for each packet that brought some of them. Where a hole is to be
passed because of a bound, so are the ones behind it, until what is held is within the bound.

Held Mbufs lie in one list, and where they go on from each other `_edges` has only the two ends. So a segment costs what
it brings and how many holes it closes, however many pieces lie in between, and each hole is closed once.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import replace
from enum import Enum
from typing import NamedTuple, Protocol

from rxtls.counters import Ledger
from rxtls.intake.batch import FIN, RST, SYN
from rxtls.offload.mbuf import Mbuf
from rxtls.seq import MASK, distance

# Held bytes behind an acknowledged hole, or time, after which the missing bytes will not come any more. A capture may
# show packets out of order by a few milliseconds (several receive queues); both limits are far beyond that.
GAP_BYTES = 1 << 19
GAP_NS = 10_000_000_000

# Bytes held that are within bounds whatever window was advertised: a capture may lack the SYN, and with it the scale.
LEAST_HOLD = 4 << 20

# Memory for each packet of which anything is held, besides its bytes: an Mbuf and what belongs to it.
PACKET = 512

# Bytes that the first segment of a connection that was seen before may be away from where it stood then.
NEAR = 4 << 20

# Windows beyond the advertised edge in which data is still taken: a capture that lacks data lacks acknowledgements,
# too, and what they had allowed would be refused. A FIN is not: nothing comes back from behind a wrong one.
SLACK = 2

_UNUSUAL = SYN | FIN | RST
_UNKNOWN = -(1 << 62)  # no position: 2^31 before `next` is as far as a sequence number can mean


_HELD: list[Mbuf] = []
_STARTS: list[int] = []


class Stop(Enum):
    """Why a direction takes no more bytes; the value is the fate of what still comes."""

    GAP = "byte.after_gap"
    OVERFLOW = "byte.hold_overflow"
    ENDED = "byte.after_end"


class Account(Protocol):
    """The memory of what all directions of a run hold, as its only item: in a list, or in a table of the kernels."""

    def __getitem__(self, index: int, /) -> int: ...
    def __setitem__(self, index: int, value: int, /) -> None: ...


class Hole(NamedTuple):
    """`length` bytes from `tcp_seq` on that the capture lacks, `at` bytes from the beginning of the stream.
    `acknowledged`: their receiver has told that it had the first of them."""

    at: int
    tcp_seq: int
    length: int
    acknowledged: bool


class Reassembly:
    """One direction. `hold` bounds the memory of what is kept out of order; `account` is that of the run."""

    __slots__ = (
        "_account",
        "_acked",
        "_advanced",
        "_advertised",
        "_edges",
        "_hold",
        "_ledger",
        "_next_seq",
        "_starts",
        "_time",
        "_told",
        "_waiting_since",
        "_window",
        "due",
        "ending",
        "expected",
        "fin_at",
        "giving_way",
        "held",
        "held_bytes",
        "held_packets",
        "next",
        "reset",
        "stopped",
        "syn_seen",
    )

    def __init__(self, ledger: Ledger, hold: int, account: Account | None = None) -> None:
        self._ledger = ledger
        self._hold = hold
        self._account: Account = [0] if account is None else account
        self._told = 0  # this direction's part of the account
        self._next_seq = -1  # TCP sequence number of position `next`; -1 before the first segment
        self.next = 0
        self.held: list[Mbuf] = []  # disjoint, in stream order
        self._starts: list[int] = []  # their positions
        self._edges: list[int] = []  # where stretches of them begin and end, in turns
        self.held_bytes = 0
        self.held_packets = 0  # stretches of one packet's bytes in them
        self._acked = _UNKNOWN  # furthest position the receiver acknowledged, before 0 if that was before the capture
        self._advertised = 0  # the window it advertised last
        self._window = 0  # the largest
        self._time = 0
        self._advanced = True
        self._waiting_since = 0
        self.due = False  # the hole at `next` is to be passed
        self.ending = False  # nothing more will come
        self.giving_way = False  # what is held is to be let go of: all directions together hold too much
        self.expected = -1  # the first byte, going by what was seen of the connection before; -1: nothing was
        self.fin_at: int | None = None
        self.reset = False
        self.syn_seen = False
        self.stopped: Stop | None = None

    @property
    def time_ns(self) -> int:
        """When the last segment came."""
        return self._time

    @property
    def finished(self) -> bool:
        """Every byte up to the FIN has been delivered."""
        return self.fin_at is not None and self.next >= self.fin_at

    @property
    def begun(self) -> bool:
        """Any segment of this direction was seen."""
        return self._next_seq >= 0

    @property
    def rcv_nxt(self) -> int:
        """TCP sequence number of the next byte expected; -1 before the first segment."""
        return self._next_seq

    @property
    def acknowledged(self) -> bool:
        """The receiver has told that it had the next byte."""
        return self._acked > self.next

    @property
    def memory(self) -> int:
        """Of what is held."""
        return self.held_bytes + PACKET * self.held_packets

    @property
    def told(self) -> int:
        """The same at the last host point: this direction's part of the account."""
        return self._told

    @property
    def over(self) -> bool:
        """More is held than may be."""
        window = max(LEAST_HOLD, 2 * self._window)
        return self.giving_way or self.held_bytes > window or self.memory > self._hold

    def skip(self, length: int) -> list[Mbuf]:
        """The next bytes came by another way than these segments (a TCP stack on the NIC); what is in order then."""
        held = list(zip(self._starts, self.held, strict=True))
        self._drop_held()
        self.next += length
        self._next_seq = (self._next_seq + length) & MASK
        return [piece for start, mbuf in held for piece in self._take(mbuf, start, start + len(mbuf.data))]

    @property
    def hole(self) -> int:
        """Bytes between the next one and the first that is held."""
        return self._starts[0] - self.next if self._starts else 0

    def input(self, mbuf: Mbuf) -> list[Mbuf]:
        """Take one Mbuf; gives back what is in order now."""
        seq, length, flags = mbuf.seq, len(mbuf.data), mbuf.flags
        self._time = mbuf.arrivals[-1][2]
        if seq == self._next_seq and not (flags & _UNUSUAL or self.held or self.stopped or self.fin_at is not None):
            # The next bytes, as nearly always: nothing to trim, to compare with or to deliver behind them.
            self._learn(mbuf)
            if not length:
                return []
            self.next += length
            self._next_seq = (seq + length) & MASK
            self._advanced = True
            return [mbuf]
        if flags & SYN:
            self.syn_seen = True
            seq = (seq + 1) & MASK
            # What goes on has left its SYN behind: `seq` is the place of its data from here on.
            mbuf = replace(mbuf, seq=seq, flags=flags & ~SYN) if length else mbuf
        if self._next_seq < 0:
            self._begin(seq, mbuf)
        start = self.next + distance(self._next_seq, seq)
        end = start + length
        self._learn(mbuf)
        # rcv_nxt is one beyond the data once the FIN has come.
        if flags & RST and start in (self.next + self.finished, self._acked):
            self.reset = True
        if length and self.stopped:
            self._ledger.fate(self.stopped.value, length)
            return []
        if flags & FIN:
            self._fin(mbuf, start, end)
        end = self._within(mbuf, start, self._before_fin(start, end))
        return self._take(mbuf, start, end)

    def tick(self, mbuf: Mbuf) -> None:
        """Time has passed, and no segment came."""
        self._time = mbuf.arrivals[-1][2]
        if self._next_seq >= 0:
            self._learn(mbuf)

    def settle(self) -> None:
        """At a host point: judge the bounds and the gaps, which may make the hole `due`."""
        self.due = False
        if self._advertised > self._window:
            self._window = self._advertised
        if self._advanced:
            self._advanced = False
            self._waiting_since = self._time
        self._tell()
        if not self.held or self.stopped:
            return
        waited = self._time - self._waiting_since
        gone = self.acknowledged and (self.held_bytes >= GAP_BYTES or waited >= GAP_NS)
        self.due = gone or self.over

    def _tell(self) -> None:
        """Bring the account up to date."""
        memory = self.memory
        if memory != self._told:
            self._account[0] += memory - self._told
            self._told = memory

    def give_way(self) -> None:
        """Between host points: all holes are due, because all directions together hold too much."""
        self.giving_way = self.due = bool(self.held) and not self.stopped

    def hurry(self) -> bool:
        """Somebody waits for what is behind the hole: if its bytes were acknowledged, it is to be passed now. Whether
        that is news."""
        news = bool(self.held) and self.acknowledged and not self.stopped and not self.due
        self.due = self.due or news
        return news

    def last(self) -> None:
        """Nothing more will come: whatever hole there is, is to be passed."""
        self.ending = True
        self.due = bool(self.held) and not self.stopped

    def pass_hole(self) -> tuple[Hole, list[Mbuf]]:
        """Go on behind the hole that is due; gives what is in order there."""
        length = self.hole
        hole = Hole(self.next, self._next_seq, length, self.acknowledged)
        self.next += length
        self._next_seq = (self._next_seq + length) & MASK
        delivered: list[Mbuf] = []
        self._deliver_held(delivered)
        self._advanced = True
        self._tell()
        self.giving_way = self.giving_way and bool(self.held)
        self.due = bool(self.held) and (self.ending or self.over)
        return hole, delivered

    def finish(self) -> None:
        """The connection or the capture ended: what is held will never be delivered."""
        if self.stopped is None:
            self._ledger.fate("byte.after_hole", self._drop_held())
            self.stopped = Stop.ENDED
        # There may be very many of these, long after their connections. So what only bounds and gaps were judged by is
        # let go of, and the lists are everybody's: who has stopped keeps nothing.
        self._time = self._waiting_since = self._advertised = self._window = 0
        self.held, self._starts, self._edges, self.due = _HELD, _STARTS, _STARTS, False

    def gap_at_end(self) -> Hole | None:
        """The bytes at the end of the stream that the receiver acknowledged and the capture does not hold."""
        length = self._last_acknowledged() - self.next
        return Hole(self.next, self._next_seq, length, acknowledged=True) if length > 0 else None

    def _last_acknowledged(self) -> int:
        # One more than what came may be a FIN that the capture missed.
        slack = 1 if self.fin_at is None and not self.held else 0
        last = self.fin_at if self.fin_at is not None else self._acked - slack
        return min(self._acked, last)

    def stop(self, why: Stop) -> None:
        """Take no more bytes."""
        self._ledger.fate(why.value, self._drop_held())
        self.stopped = why
        self.due = False

    def marks(self) -> set[int]:
        """The marks that held bytes carry."""
        return {mbuf.mark for mbuf in self.held}

    def _begin(self, seq: int, mbuf: Mbuf) -> None:
        """The first segment seen. Without a SYN, the acknowledgements tell better where the stream stands."""
        self._next_seq = seq
        if self.syn_seen:
            return
        if self.expected >= 0 and abs(distance(self.expected, seq)) < NEAR:
            self._next_seq = self.expected
        elif mbuf.acked >= 0 and 0 < distance(mbuf.acked, seq) < GAP_BYTES:
            self._next_seq = mbuf.acked

    def _learn(self, mbuf: Mbuf) -> None:
        acked, edge = mbuf.acked, mbuf.edge
        if acked >= 0:
            position = self.next + distance(self._next_seq, acked)
            if position > self._acked:
                self._acked = position
            if edge >= 0:
                self._advertised = distance(acked, edge)

    def _fin(self, mbuf: Mbuf, start: int, at: int) -> None:
        """A FIN at `at`, behind data from `start` on. If the receiver could take it, drop what is held behind it."""
        beyond = start > self.next and mbuf.edge >= 0 and at > self._edge(mbuf)
        if self.fin_at is not None or at < self.next or beyond:
            return
        self.fin_at = at
        dropped = self.held_bytes
        kept = bisect_left(self._starts, at)
        del self.held[kept:], self._starts[kept:]
        if kept and self._starts[-1] + len(self.held[-1].data) > at:
            self.held[-1] = self.held[-1].cut(0, at - self._starts[-1])
        open_edge = bisect_left(self._edges, at)
        self._edges[open_edge:] = [at] if open_edge % 2 else []
        self.held_bytes = sum(len(mbuf.data) for mbuf in self.held)
        self.held_packets = _packets(self.held)
        dropped -= self.held_bytes
        if dropped:
            self._ledger.fate(Stop.ENDED.value, dropped)

    def _before_fin(self, start: int, end: int) -> int:
        """Trim what lies behind the FIN."""
        if self.fin_at is None or end <= self.fin_at:
            return end
        kept = max(start, self.fin_at)
        if kept < end:
            self._ledger.fate(Stop.ENDED.value, end - kept)
        return kept

    def _within(self, mbuf: Mbuf, start: int, end: int) -> int:
        """Trim what lies beyond the advertised window; the next expected byte is always accepted."""
        if mbuf.edge < 0 or start <= self.next:
            return end
        kept = min(end, max(start, self._edge(mbuf) + SLACK * self._window))
        if kept < end:
            self._ledger.fate("byte.out_of_window", end - kept)
        return kept

    def _edge(self, mbuf: Mbuf) -> int:
        return self.next + distance(self._next_seq, mbuf.edge)

    def _take(self, mbuf: Mbuf, start: int, end: int) -> list[Mbuf]:
        """Keep what of [start, end), the bytes of `mbuf` from its beginning, nobody brought before; then what is in
        order."""
        at = max(start, self.next)
        delivered: list[Mbuf] = []
        if at == self.next and at < end and not self.held:
            self._deliver(
                mbuf if start == at and end - at == len(mbuf.data) else mbuf.cut(at - start, end - start), delivered
            )
            self._advanced = True
            missing = end - at
        else:
            pieces = [(a, mbuf.cut(a - start, b - start)) for a, b in self._cover(at, end)] if at < end else []
            missing = sum(len(piece.data) for _, piece in pieces)
            if pieces:
                self._keep(pieces)
                self._deliver_held(delivered)
        if end - start > missing:
            self._ledger.fate("byte.duplicate", end - start - missing)
        return delivered

    def _cover(self, start: int, end: int) -> list[tuple[int, int]]:
        """The parts of [start, end) that are not held. From now on they are, as `_edges` has it."""
        edges = self._edges
        first, last = bisect_left(edges, start), bisect_right(edges, end)
        begins, ends = [start][first % 2 :], [end][last % 2 :]  # those that are inside of no stretch
        bounds = [*begins, *edges[first:last], *ends]
        edges[first:last] = begins + ends
        return [(a, b) for a, b in zip(bounds[::2], bounds[1::2], strict=True) if a < b]

    def _keep(self, pieces: Sequence[tuple[int, Mbuf]]) -> None:
        """Put pieces, which are in stream order, between those that are held."""
        first = at = bisect_left(self._starts, pieces[0][0])
        starts: list[int] = []
        held: list[Mbuf] = []
        for start, piece in pieces:
            index = bisect_left(self._starts, start, at)
            starts += self._starts[at:index]
            held += self.held[at:index]
            at = index
            before = self.held[index - 1 : index] if index else []
            self.held_packets += _packets([*before, piece, *self.held[index : index + 1]])
            self.held_packets -= _packets(before) + _packets(self.held[index : index + 1])
            self.held_bytes += len(piece.data)
            starts.append(start)
            held.append(piece)
        self._starts[first:at] = starts
        self.held[first:at] = held

    def _deliver_held(self, delivered: list[Mbuf]) -> None:
        """Deliver what is held at `next`."""
        if not self._edges or self._edges[0] != self.next:
            return
        taken = bisect_left(self._starts, self._edges[1])
        self.held_packets -= _packets(self.held[:taken])
        for mbuf in self.held[:taken]:
            self.held_bytes -= len(mbuf.data)
            self._deliver(mbuf, delivered)
        del self.held[:taken], self._starts[:taken], self._edges[:2]
        self._advanced = True

    def _deliver(self, piece: Mbuf, delivered: list[Mbuf]) -> None:
        delivered.append(piece)
        self.next += len(piece.data)
        self._next_seq = (self._next_seq + len(piece.data)) & MASK

    def _drop_held(self) -> int:
        dropped = self.held_bytes
        self.held_bytes = self.held_packets = 0
        self.giving_way = False
        self.held.clear()
        self._starts.clear()
        self._edges.clear()
        self._tell()
        return dropped


def _packets(mbufs: Sequence[Mbuf]) -> int:
    """Stretches of one packet's bytes. Two Mbufs may be of one: where a chunk of the arena was full."""
    count = 0
    end, frame = -1, -1
    for mbuf in mbufs:
        count += len(mbuf.arrivals) - (mbuf.seq == end and mbuf.arrivals[0][1] == frame)
        end, frame = (mbuf.seq + len(mbuf.data)) & MASK, mbuf.arrivals[-1][1]
    return count
