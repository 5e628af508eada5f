"""The two halves of a minimal TCP endpoint: enough of RFC 9293 that a capture of it looks like one of the real thing.

Positions are offsets into the stream, not sequence numbers: they do not wrap, and link.py adds the initial
sequence number when it builds the frame. A FIN is one more byte at the end of the stream, as in sequence space.

        una            nxt             edge                         read        nxt            edge
    ----|==============|---------------|----                    ----|===========|---------------|----
        in flight       may be sent                                  not read    may be accepted
             the sending half                                             the receiving half

Repair is that of RFC 6675 and RFC 8985 in spirit: transmissions are numbered, the receiver reports what it holds and
the newest number it has seen, and what was sent `reordering` or more transmissions before that and is not held counts
as lost. The report travels beside the simulated segment; the SACK option that would carry it is not put into the
frame, as nothing that reads captures needs it. A timeout is the last resort, and after TRIES of them in a row the
sender gives up.
"""

from __future__ import annotations

from collections import deque
from random import Random
from typing import NamedTuple

TRIES = 15  # timeouts in a row without progress; Linux's tcp_retries2


class Received(NamedTuple):
    """What a receiving half says: all before `ack` is here, bytes to `edge` are welcome, `blocks` are held besides."""

    ack: int
    edge: int
    blocks: tuple[tuple[int, int], ...]
    newest: int


class Ranges:
    """A set of positions as disjoint, sorted, half-open ranges that do not touch."""

    __slots__ = ("spans",)

    def __init__(self) -> None:
        self.spans: list[tuple[int, int]] = []

    def __bool__(self) -> bool:
        return bool(self.spans)

    def add(self, low: int, high: int) -> None:
        """Add [low, high), joining what it touches."""
        keep = []
        for start, end in self.spans:
            if end < low or start > high:
                keep.append((start, end))
            else:
                low, high = min(low, start), max(high, end)
        keep.append((low, high))
        keep.sort()
        self.spans = keep

    def cut(self, low: int, high: int) -> None:
        """Take [low, high) out."""
        left = [(start, min(end, low)) for start, end in self.spans if start < low]
        right = [(max(start, high), end) for start, end in self.spans if end > high]
        self.spans = left + right


def missing(low: int, high: int, blocks: tuple[tuple[int, int], ...] | list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The pieces of [low, high) that the sorted `blocks` do not cover."""
    pieces = []
    for start, end in blocks:
        if end <= low:
            continue
        if start >= high:
            break
        if start > low:
            pieces.append((low, start))
        low = end
    if low < high:
        pieces.append((low, high))
    return pieces


class ReceivingHalf:
    """Takes segments in any order and offers a window of `capacity` bytes; the first accepted copy of a byte wins.

    `scale` is the window scale that its advertisements use, `edge` what has been advertised at first. `reading` False
    means that the application has stopped taking bytes: the window's right edge then stays where it is. `limit` is the
    position up to which a real socket has room, if one stands behind this half.
    """

    def __init__(self, capacity: int, scale: int, edge: int) -> None:
        self.stream = bytearray()
        self.nxt = 0
        self.read = 0
        self.edge = edge
        self.newest = -1
        self.reading = True
        self.limit: int | None = None
        self._capacity = capacity
        self._scale = scale
        self._held = Ranges()

    def accept(self, start: int, data: bytes, number: int) -> bool:
        """Take what lies in the window; True when the sender should hear of it at once (RFC 5681 section 4.2)."""
        self.newest = max(self.newest, number)
        low, high = max(start, self.nxt), min(start + len(data), self.edge)
        if low >= high:
            return True
        in_order = low == self.nxt and not self._held
        if in_order:
            self.stream += data[low - start : high - start]
            self.nxt = high
        else:
            self.stream.extend(bytes(max(0, high - len(self.stream))))
            for a, b in missing(low, high, self._held.spans):
                self.stream[a:b] = data[a - start : b - start]
            self._held.add(low, high)
            if self._held.spans[0][0] == self.nxt:
                self.nxt = self._held.spans.pop(0)[1]
        if self.reading:
            self.read = self.nxt
        return not in_order

    def resume(self) -> None:
        """The application takes bytes again, and all that wait."""
        self.reading = True
        self.read = self.nxt

    def report(self) -> tuple[int, Received]:
        """The window field to send now, and what it tells. The right edge never moves left (RFC 9293 section 3.8.6)."""
        room = self.read + self._capacity if self.limit is None else self.limit
        field = min(0xFFFF, max(self.edge, room) - self.nxt >> self._scale)
        self.edge = max(self.edge, self.nxt + (field << self._scale))
        return field, Received(self.nxt, self.nxt + (field << self._scale), tuple(self._held.spans), self.newest)


class SendingHalf:
    """Decides what to send next of a stream of `total` bytes (its FIN included).

    `available` is how much the application has written. `edge` is the right edge of the peer's window, `flight` the
    congestion window in bytes, which is fixed. `reordering` is how many later transmissions must have arrived before
    one counts as lost.
    """

    def __init__(self, total: int, mss: int, edge: int, flight: int, reordering: int) -> None:
        self.total = total
        self.available = 0
        self.una = 0
        self.nxt = 0
        self.edge = edge
        self.number = 0
        self.tries = 0
        self._mss = mss
        self._limit = max(flight, mss)
        self._reordering = reordering
        self._flight: deque[tuple[int, int, int]] = deque()  # (transmission, start, end), oldest first
        self._in_flight = 0
        self._newest = -1
        self._blocks: tuple[tuple[int, int], ...] = ()
        self._lost = Ranges()

    @property
    def done(self) -> bool:
        """All of the stream is acknowledged."""
        return self.una >= self.total

    @property
    def gave_up(self) -> bool:
        """Too many timeouts in a row."""
        return self.tries >= TRIES

    @property
    def waiting(self) -> bool:
        """Something is unacknowledged, or written and unsent: a timer must run."""
        return self.una < self.nxt or self.nxt < self.available

    def acknowledged(self, news: Received) -> bool:
        """Take a report in; True when it brought progress."""
        progress = news.ack > self.una or news.newest > self._newest
        self.edge = max(self.edge, news.edge)
        if news.ack < self.una:
            return False  # overtaken by a later report
        self.una = news.ack
        self.nxt = max(self.nxt, news.ack)  # a window probe's byte was accepted
        self._blocks = news.blocks
        self._newest = max(self._newest, news.newest)
        flight = self._flight
        while flight and (flight[0][2] <= self.una or flight[0][0] <= self._newest - self._reordering):
            _, start, end = flight.popleft()
            self._in_flight -= end - start
            for piece in missing(max(start, self.una), end, news.blocks):
                self._lost.add(*piece)
        if self._lost:
            self._lost.cut(0, self.una)
            for start, end in news.blocks:
                self._lost.cut(start, end)
        if progress:
            self.tries = 0
        return progress

    def next(self, dice: Random, resegment: float) -> tuple[int, int] | None:
        """The next segment as (start, end), losses first; None when nothing may be sent now.

        With probability `resegment` the segment is cut at another place than the MSS; a repaired one may then also
        reach into bytes that were not lost.
        """
        if self._in_flight >= self._limit or self.gave_up:
            return None
        if self._lost:
            start, end = self._lost.spans[0]
            end = min(end, start + self._mss)
            if resegment and dice.random() < resegment:
                start = max(self.una, start - dice.randint(0, self._mss // 2))
                end = min(self.nxt, start + dice.randint(1, self._mss))
            self._lost.cut(start, end)
            return self._sent(start, end)
        start, end = self.nxt, min(self.nxt + self._mss, self.available, self.edge)
        if start >= end:
            return None
        if end == self.edge < self.available and end - start < self._mss and self._flight:
            return None  # silly window: wait until more room is advertised (RFC 9293 section 3.8.6.2.1)
        if resegment and dice.random() < resegment:
            end = dice.randint(start + 1, end)
        self.nxt = end
        return self._sent(start, end)

    def timeout(self) -> tuple[int, int] | None:
        """Nothing came for a while: all that is unacknowledged counts as lost, a closed window is probed."""
        self.tries += 1
        if self.una < self.nxt:
            self._flight.clear()
            self._in_flight = 0
            for piece in missing(self.una, self.nxt, self._blocks):
                self._lost.add(*piece)
            return None
        if self.nxt < self.available and self.edge <= self.nxt:
            self.number += 1
            # RFC 9293 section 3.8.6.1. Not counted as sent: the window has no room for it.
            return self.nxt, self.nxt + 1
        return None

    def _sent(self, start: int, end: int) -> tuple[int, int]:
        self.number += 1
        self._flight.append((self.number, start, end))
        self._in_flight += end - start
        return start, end
