"""Lists of extents as Python reads them: what waits in order, as recovery.py looks at a socket buffer.

The bytes stay where they are: to make objects of all that was held behind a hole took longer than to receive it.
"""

from __future__ import annotations

import numpy as np

from rxtls.host.compiled import kernel
from rxtls.host.compiled.state import Own
from rxtls.native.shapes import Array
from rxtls.offload.compiled.arena import Arena, Chunk, Extent
from rxtls.offload.mbuf import Mbuf
from rxtls.seq import MASK

Where = tuple[int, int, int]  # chunk, at, length


def extents(arena: Arena, own: Array, head: int) -> list[list[int]]:
    """The rows of the list that begins at the node in column `head` of a direction's row."""
    found = []
    node = int(own[head])
    while node >= 0:
        row = arena.extents[node].tolist()
        found.append(row)
        node = row[Extent.NEXT]
    return found


def where(row: list[int]) -> Where:
    """The bytes of an extent."""
    return row[Extent.CHUNK], row[Extent.AT], row[Extent.LENGTH]


class Chain:
    """SockBuf's twin over the chain of the direction with the row `own`, as far as recovery.py has to do with it."""

    __slots__ = ("_arena", "_own")

    def __init__(self, arena: Arena, own: Array) -> None:
        self._arena = arena
        self._own = own

    @property
    def waiting(self) -> int:
        """As SockBuf.waiting."""
        return int(self._own[Own.TLSCC])

    @property
    def start_seq(self) -> int:
        """As SockBuf.start_seq."""
        return int(self._own[Own.END_SEQ] - self._own[Own.TLSCC]) & MASK

    def peek(self, length: int) -> bytes:
        """As SockBuf.peek."""
        return b"".join(bytes(self._arena.bytes(*place)) for _, place in self._within(0, length))

    def slice(self, start: int, end: int) -> list[Mbuf]:
        """As SockBuf.slice; of the Mbufs only bytes and marks are wanted."""
        return [
            Mbuf(0, bytes(self._arena.bytes(*place)), row[Extent.MARK], 0, 0, [], -1, -1)
            for row, place in self._within(start, end)
        ]

    def flush(self) -> int:
        """As SockBuf.flush."""
        dropped = self.waiting
        self.detach(dropped)
        return dropped

    def detach(self, length: int) -> None:
        """As SockBuf.detach."""
        kernel.drop(length, self._arena.tables, self._own)

    def hand_on(self, payload: int) -> None:
        """As SockBuf.hand_on."""

    def first_arrival(self) -> tuple[int, int]:
        """As SockBuf.first_arrival."""
        chunk, at, _ = where(self._arena.extents[self._own[Own.CHAIN_HEAD]].tolist())
        arrivals = self._arena.arrivals[chunk, : self._arena.chunks[chunk, Chunk.ARRIVALS]]
        n = int(np.searchsorted(arrivals[:, 0], at, side="right"))
        return int(arrivals[n, 1]), int(arrivals[n, 2])

    def _within(self, start: int, end: int) -> list[tuple[list[int], Where]]:
        """The extents that hold bytes [start, end), each with where in it those are."""
        found = []
        at = 0
        node = int(self._own[Own.CHAIN_HEAD])
        while node >= 0 and at < end:
            row = self._arena.extents[node].tolist()
            a, b = max(at, start), min(at + row[Extent.LENGTH], end)
            if a < b:
                found.append((row, (row[Extent.CHUNK], row[Extent.AT] + a - at, b - a)))
            at += row[Extent.LENGTH]
            node = row[Extent.NEXT]
        return found
