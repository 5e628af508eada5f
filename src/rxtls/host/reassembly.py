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

Bounds and gaps are judged at host points (`settle`), not per Mbuf, because where LRO cut must not matter.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import replace
from enum import Enum
from typing import NamedTuple

from rxtls.counters import Ledger
from rxtls.intake.batch import FIN, RST, SYN
from rxtls.offload.mbuf import Mbuf
from rxtls.seq import MASK, distance

# Held bytes behind an acknowledged hole, or time, after which the missing bytes will not come any more. A capture may
# show packets out of order by a few milliseconds (several receive queues); both limits are far beyond that.
GAP_BYTES = 1 << 19
GAP_NS = 10_000_000_000

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


class Hole(NamedTuple):
    """`length` bytes from `tcp_seq` on that the capture lacks, `at` bytes from the beginning of the stream.
    `acknowledged`: their receiver has told that it had the first of them."""

    at: int
    tcp_seq: int
    length: int
    acknowledged: bool


class Reassembly:
    """One direction. `hold` is the least bound in bytes on what is kept out of order."""

    __slots__ = (
        "_acked",
        "_advanced",
        "_advertised",
        "_hold",
        "_ledger",
        "_next_seq",
        "_starts",
        "_time",
        "_waiting_since",
        "_window",
        "due",
        "ending",
        "expected",
        "fin_at",
        "held",
        "held_bytes",
        "next",
        "reset",
        "stopped",
        "syn_seen",
    )

    def __init__(self, ledger: Ledger, hold: int) -> None:
        self._ledger = ledger
        self._hold = hold
        self._next_seq = -1  # TCP sequence number of position `next`; -1 before the first segment
        self.next = 0
        self.held: list[Mbuf] = []  # disjoint, in stream order
        self._starts: list[int] = []  # their positions
        self.held_bytes = 0
        self._acked = _UNKNOWN  # furthest position the receiver acknowledged, before 0 if that was before the capture
        self._advertised = 0  # the window it advertised last
        self._window = 0  # the largest
        self._time = 0
        self._advanced = True
        self._waiting_since = 0
        self.due = False  # the hole at `next` is to be passed
        self.ending = False  # nothing more will come
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

    def skip(self, length: int) -> None:
        """The next bytes came by another way than these segments (a TCP stack on the NIC)."""
        self.next += length
        self._next_seq = (self._next_seq + length) & MASK

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
        if start == end:
            return []
        delivered: list[Mbuf] = []
        for piece_start, piece in self._missing(mbuf, start, end):
            if piece_start == self.next:
                self._advance(piece, delivered)
            else:
                self._keep(piece_start, piece)
        return delivered

    def settle(self) -> None:
        """At a host point: judge the bounds and the gaps, which may make the hole `due`."""
        self.due = False
        if self._advertised > self._window:
            self._window = self._advertised
        if self._advanced:
            self._advanced = False
            self._waiting_since = self._time
        if not self.held or self.stopped:
            return
        waited = self._time - self._waiting_since
        gone = self.acknowledged and (self.held_bytes >= GAP_BYTES or waited >= GAP_NS)
        self.due = gone or self.held_bytes > max(self._hold, 2 * self._window)

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
        self.due = self.ending and bool(self.held)
        return hole, delivered

    def finish(self) -> None:
        """The connection or the capture ended: what is held will never be delivered."""
        if self.stopped is None:
            self._ledger.fate("byte.after_hole", self._drop_held())
            self.stopped = Stop.ENDED
        # There may be very many of these, long after their connections. So what only bounds and gaps were judged by is
        # let go of, and the lists are everybody's: who has stopped keeps nothing.
        self._time = self._waiting_since = self._advertised = self._window = 0
        self.held, self._starts, self.due = _HELD, _STARTS, False

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
        dropped = 0
        while self.held and self._starts[-1] + len(self.held[-1].data) > at:
            start, last = self._starts[-1], self.held[-1]
            kept = max(0, at - start)
            dropped += len(last.data) - kept
            if kept:
                self.held[-1] = last.cut(0, kept)
                break
            del self.held[-1], self._starts[-1]
        self.held_bytes -= dropped
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

    def _missing(self, mbuf: Mbuf, start: int, end: int) -> Iterator[tuple[int, Mbuf]]:
        """The parts of [start, end) that nobody brought before."""
        at = max(start, self.next)
        duplicate = min(at, end) - start
        if duplicate > 0:
            self._ledger.fate("byte.duplicate", duplicate)
        if at >= end:
            return
        if not self.held:
            yield at, mbuf if at == start and end - start == len(mbuf.data) else mbuf.cut(at - start, end - start)
            return
        index = bisect_right(self._starts, at)
        if index:
            index -= 1
        pieces: list[tuple[int, int]] = []
        while at < end:
            if index >= len(self.held):
                pieces.append((at, end))
                break
            held_start = self._starts[index]
            held_end = held_start + len(self.held[index].data)
            if at < held_start:
                stop = min(end, held_start)
                pieces.append((at, stop))
                at = stop
            elif at < held_end:
                stop = min(end, held_end)
                self._ledger.fate("byte.duplicate", stop - at)
                at = stop
            index += at >= held_end
        for piece_start, piece_end in pieces:
            yield piece_start, mbuf.cut(piece_start - start, piece_end - start)

    def _advance(self, piece: Mbuf, delivered: list[Mbuf]) -> None:
        """Deliver `piece`, which begins at `next`, and what was held right behind it."""
        self._deliver(piece, delivered)
        self._deliver_held(delivered)

    def _deliver_held(self, delivered: list[Mbuf]) -> None:
        """Deliver what is held at `next`."""
        taken = 0
        while taken < len(self.held) and self._starts[taken] == self.next:
            self.held_bytes -= len(self.held[taken].data)
            self._deliver(self.held[taken], delivered)
            taken += 1
        if taken:
            del self.held[:taken], self._starts[:taken]
        self._advanced = True

    def _deliver(self, piece: Mbuf, delivered: list[Mbuf]) -> None:
        delivered.append(piece)
        self.next += len(piece.data)
        self._next_seq = (self._next_seq + len(piece.data)) & MASK

    def _keep(self, start: int, piece: Mbuf) -> None:
        index = bisect_right(self._starts, start)
        self._starts.insert(index, start)
        self.held.insert(index, piece)
        self.held_bytes += len(piece.data)

    def _drop_held(self) -> int:
        dropped, self.held_bytes = self.held_bytes, 0
        self.held.clear()
        self._starts.clear()
        return dropped
