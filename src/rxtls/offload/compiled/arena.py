"""The arena: where payload lies between NIC and reader. Chunks of bytes, extents over them, in int64 columns.

The NIC writes each packet's payload once, decrypted or as on the wire, at the end of its flow's current chunk, and says
so with an *extent*: a stretch of bytes with its place in TCP's sequence space, its mark and its leaf (offload/mbuf.py
has the same as an object). LRO makes an extent longer rather than adding one. From then on only extents move.

    chunk 7   |hdr|plaintext ........|tag|hdr|plaintext ...|            |
               ^ AT, LENGTH of an extent                    ^ USED       ^ SIZE
    arrivals  (1448, frame 3, t3) (2896, frame 5, t5) ...      by the offset at which each packet's bytes end

Bytes stand in a chunk in the order of arrival, so the frame that completed any stretch of a chunk is the one that
brought the stretch's last byte: one bisection in the chunk's arrivals.

A chunk is held (REFS) by the lane that writes to it, by each extent over it and by each delivered record in it; free
chunks are chained by NEXT, and taken up again last in, first out, while the cache still has them. Lists of extents are
chained by Extent.NEXT; a list is known by its (head, tail), -1 and -1 when empty.

Kernels may not allocate: before it takes a row, a kernel sees to it that `room` is there, or stops and asks for `grow`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rxtls.native import Array, Columns, Grid, Row, Table, inner, kernel
from rxtls.offload.mbuf import Arrival, Mbuf


class Chunk(Columns):
    """A chunk of bytes."""

    ADDRESS = 0  # of the chunk's first byte
    SIZE = 1
    USED = 2
    ARRIVALS = 3  # how many of the chunk's arrivals are filled
    REFS = 4
    NEXT = 5  # next free chunk of this size, -1 none
    COLUMNS = 6


class Arrived(Columns):
    """One of a chunk's arrivals."""

    END = 0  # offset in the chunk after the bytes that came with FRAME
    FRAME = 1
    TIME = 2
    COLUMNS = 3


class Extent(Columns):
    """An extent, or the end of a list of them (-1)."""

    SEQ = 0  # TCP sequence number of its first byte; of the SYN itself where FLAGS have SYN
    CHUNK = 1  # -1 where there are no bytes
    AT = 2  # offset in the chunk
    LENGTH = 3
    MARK = 4  # as in Mbuf: 0 as on the wire, else the epoch
    LEAF = 5
    FLAGS = 6
    ACKED = 7
    EDGE = 8
    FRAME = 9  # of the last packet in it
    TIME = 10
    POINT = 11  # the place in its batch of the host point that flushes it
    NEXT = 12
    COLUMNS = 13


class Stock(Columns):
    """The control row: what is free."""

    FREE_SMALL = 0  # first free chunk of SMALL bytes, -1 none
    FREE_LARGE = 1
    FREE_EXTENT = 2
    SMALL_LEFT = 3  # how many are free
    LARGE_LEFT = 4
    EXTENTS_LEFT = 5
    COLUMNS = 8


SMALL = 4 << 10  # a flow's first chunk: most flows are short
LARGE = 64 << 10  # three maximal records and more; with many flows, larger ones leave the cache
MOST_ARRIVALS = 256  # a chunk is full, too, when so many packets have brought its bytes
AHEAD = -2  # Extent.POINT of what is served before its host point (path/nic_and_host.py)
SLAB = 1 << 20  # bytes asked for at a time, at first; then more, as there are more


class ArenaTables(NamedTuple):
    """What kernels take of an arena: `control` by Stock, `chunks` by Chunk, `arrivals` by chunk, number and Arrived,
    `extents` by Extent."""

    control: Row
    chunks: Table
    arrivals: Grid
    extents: Table


class Arena:
    """The tables of one run. `chunks` (n, Chunk.COLUMNS), `arrivals` (n, MOST_ARRIVALS, Arrived.COLUMNS), `extents` (m,
    Extent.COLUMNS), `control`; `grow` replaces the first three by larger ones, in which ids mean the same."""

    def __init__(self) -> None:
        self.chunks: Array = np.zeros((0, Chunk.COLUMNS), np.int64)
        self.arrivals: npt.NDArray[np.int64] = np.zeros((0, MOST_ARRIVALS, Arrived.COLUMNS), np.int64)
        self.extents: Array = np.zeros((0, Extent.COLUMNS), np.int64)
        self.control: npt.NDArray[np.int64] = np.zeros(Stock.COLUMNS, np.int64)
        self.control[Stock.FREE_SMALL : Stock.FREE_EXTENT + 1] = -1
        self._slabs: list[npt.NDArray[np.uint8]] = []
        self._slab_of: list[tuple[int, int]] = []  # by chunk: its slab, and where in it the chunk begins
        self.grow()

    def grow(self, extents: int = 4096, large: int = 32, small: int = 64) -> None:
        """See to it that at least so many are free."""
        control = self.control
        while control[Stock.SMALL_LEFT] < small:
            self._add_chunks(SMALL, Stock.FREE_SMALL, Stock.SMALL_LEFT)
        while control[Stock.LARGE_LEFT] < large:
            self._add_chunks(LARGE, Stock.FREE_LARGE, Stock.LARGE_LEFT)
        if control[Stock.EXTENTS_LEFT] < extents:
            had = len(self.extents)
            more = max(had, extents)
            self.extents = np.vstack((self.extents, np.zeros((more, Extent.COLUMNS), np.int64)))
            self.extents[had:, Extent.NEXT] = np.arange(had + 1, had + more + 1)
            self.extents[-1, Extent.NEXT] = control[Stock.FREE_EXTENT]
            control[Stock.FREE_EXTENT] = had
            control[Stock.EXTENTS_LEFT] += more
        self.tables = ArenaTables(control, self.chunks, self.arrivals, self.extents)

    def bytes(self, chunk: int, at: int, length: int) -> memoryview:
        """A view of bytes in a chunk. Whoever keeps it longer than the chunk is held copies it."""
        slab, start = self._slab_of[chunk]
        return self._slabs[slab].data[start + at : start + at + length]

    def push(self, ends: npt.NDArray[np.int64], mbuf: Mbuf, point: int = -1) -> None:
        """Copy an Mbuf in, at the tail of the list `ends` (an int64 row of head and tail)."""
        self.grow(extents=4 + len(mbuf.arrivals), large=2 + len(mbuf.data) // SMALL, small=2)
        at = 0
        seq = mbuf.seq
        pieces = _cut_arrivals(mbuf) or [(0, [])]
        for length, arrivals in pieces:
            chunk = -1
            if length:
                chunk = int(take_chunk(self.control, self.chunks, LARGE))
                self.bytes(chunk, 0, length)[:] = mbuf.data[at : at + length]
                self.chunks[chunk, Chunk.USED] = length
                self.chunks[chunk, Chunk.ARRIVALS] = len(arrivals)
                self.arrivals[chunk, : len(arrivals)] = arrivals
            last = arrivals[-1] if arrivals else mbuf.arrivals[-1] if mbuf.arrivals else (0, 0, 0)
            node = int(take_extent(self.control, self.extents))
            whose = mbuf.mark, mbuf.leaf, mbuf.flags, mbuf.acked, mbuf.edge
            self.extents[node] = (seq, chunk, 0, length, *whose, last[1], last[2], point, -1)
            append(self.extents, ends, node)
            at += length
            seq = (seq + length) & 0xFFFF_FFFF

    def mbufs(self, head: int) -> list[Mbuf]:
        """The list that begins at `head`, as objects with bytes of their own; its extents are given back."""
        found: list[Mbuf] = []
        while head >= 0:
            row = self.extents[head].tolist()
            chunk, at, length = row[Extent.CHUNK], row[Extent.AT], row[Extent.LENGTH]
            frame, time_ns = row[Extent.FRAME], row[Extent.TIME]
            arrivals: list[Arrival] = [(0, frame, time_ns)]
            data = b""
            if length:
                data = bytes(self.bytes(chunk, at, length))
                arrivals = []
                for end, frame, time_ns in self.arrivals[chunk, : self.chunks[chunk, Chunk.ARRIVALS]].tolist():
                    if end > at:
                        arrivals.append((min(end - at, length), frame, time_ns))
                        if end - at >= length:
                            break
            found.append(
                Mbuf(
                    row[Extent.SEQ],
                    data,
                    row[Extent.MARK],
                    row[Extent.LEAF],
                    row[Extent.FLAGS],
                    arrivals,
                    row[Extent.ACKED],
                    row[Extent.EDGE],
                )
            )
            following = row[Extent.NEXT]
            free_extent(self.tables, head)
            head = following
        return found

    def _add_chunks(self, size: int, first: int, left: int) -> None:
        had = len(self.chunks)
        count = max(SLAB // LARGE, had >> 2)
        slab = np.empty(count * size, np.uint8)
        rows = np.zeros((count, Chunk.COLUMNS), np.int64)
        rows[:, Chunk.ADDRESS] = slab.ctypes.data + size * np.arange(count)
        rows[:, Chunk.SIZE] = size
        rows[:, Chunk.NEXT] = np.arange(had + 1, had + count + 1)
        rows[-1, Chunk.NEXT] = self.control[first]
        self.chunks = np.vstack((self.chunks, rows))
        arrivals = self.arrivals
        self.arrivals = np.empty((had + count, *arrivals.shape[1:]), np.int64)  # nobody reads what was not filled
        self.arrivals[:had] = arrivals
        self._slab_of += [(len(self._slabs), size * n) for n in range(count)]
        self._slabs.append(slab)
        self.control[first] = had
        self.control[left] += count


def _cut_arrivals(mbuf: Mbuf) -> list[tuple[int, list[Arrival]]]:
    """The Mbuf's bytes in pieces that a chunk can hold: (length, arrivals by offset in the piece)."""
    pieces: list[tuple[int, list[Arrival]]] = []
    begun = 0
    piece: list[Arrival] = []
    start = 0
    for end, frame, time_ns in mbuf.arrivals:
        while begun < end:
            if len(piece) == MOST_ARRIVALS or begun - start == LARGE:
                pieces.append((begun - start, piece))
                piece, start = [], begun
            stop = min(end, start + LARGE)
            piece.append((stop - start, frame, time_ns))
            begun = stop
    if piece:
        pieces.append((begun - start, piece))
    return pieces


# What kernels do with the tables.


@inner
def room(control: Row, chunks_needed: int, extents_needed: int) -> bool:
    """Whether so many chunks (of either size) and extents are free."""
    return (
        control[Stock.SMALL_LEFT] >= chunks_needed
        and control[Stock.LARGE_LEFT] >= chunks_needed
        and control[Stock.EXTENTS_LEFT] >= extents_needed
    )


@inner
def _take_chunk(control: Row, chunks: Table, size: int) -> int:
    which = Stock.FREE_LARGE if size > SMALL else Stock.FREE_SMALL
    chunk = control[which]
    control[which] = chunks[chunk, Chunk.NEXT]
    control[which + Stock.SMALL_LEFT] -= 1
    chunks[chunk, Chunk.USED] = 0
    chunks[chunk, Chunk.ARRIVALS] = 0
    chunks[chunk, Chunk.REFS] = 0
    return chunk


@inner
def hold_chunk(chunks: Table, chunk: int) -> None:
    """One more holds it."""
    chunks[chunk, Chunk.REFS] += 1


@inner
def release_chunk(control: Row, chunks: Table, chunk: int) -> None:
    """One fewer holds it; the last one gives it back."""
    chunks[chunk, Chunk.REFS] -= 1
    if chunks[chunk, Chunk.REFS] == 0:
        which = Stock.FREE_LARGE if chunks[chunk, Chunk.SIZE] > SMALL else Stock.FREE_SMALL
        chunks[chunk, Chunk.NEXT] = control[which]
        control[which] = chunk
        control[which + Stock.SMALL_LEFT] += 1


@inner
def _take_extent(control: Row, extents: Table) -> int:
    node = control[Stock.FREE_EXTENT]
    control[Stock.FREE_EXTENT] = extents[node, Extent.NEXT]
    control[Stock.EXTENTS_LEFT] -= 1
    extents[node, Extent.NEXT] = -1
    return node


@inner
def _free_extent(arena: ArenaTables, node: int) -> None:
    if arena.extents[node, Extent.CHUNK] >= 0:
        release_chunk(arena.control, arena.chunks, arena.extents[node, Extent.CHUNK])
    arena.extents[node, Extent.NEXT] = arena.control[Stock.FREE_EXTENT]
    arena.control[Stock.FREE_EXTENT] = node
    arena.control[Stock.EXTENTS_LEFT] += 1


@inner
def arrival_at(chunks: Table, arrivals: Grid, chunk: int, offset: int) -> int:
    """Which of a chunk's arrivals brought the byte at `offset`."""
    low, high = 0, chunks[chunk, Chunk.ARRIVALS] - 1
    while low < high:
        middle = (low + high) >> 1
        if arrivals[chunk, middle, Arrived.END] > offset:
            high = middle
        else:
            low = middle + 1
    return low


# In kernels: take_chunk holds nothing yet (REFS 0), so whoever takes it calls hold_chunk; take_extent leaves the row's
# other columns as they were; free_extent gives the extent back and lets go of its chunk.
take_chunk_inner = _take_chunk
take_extent_inner = _take_extent
free_extent_inner = _free_extent


@kernel
def take_chunk(control: Row, chunks: Table, size: int) -> int:
    """A free chunk, held once."""
    chunk = _take_chunk(control, chunks, size)
    hold_chunk(chunks, chunk)
    return chunk


@kernel
def take_extent(control: Row, extents: Table) -> int:
    """A free extent."""
    return _take_extent(control, extents)


@kernel
def free_extent(arena: ArenaTables, node: int) -> None:
    """Give an extent back, and let go of its chunk."""
    _free_extent(arena, node)


def append(extents: Array, ends: npt.NDArray[np.int64], node: int) -> None:
    """Put `node` at the tail of the list whose (head, tail) is `ends`."""
    if ends[0] < 0:
        ends[0] = node
    else:
        extents[ends[1], Extent.NEXT] = node
    ends[1] = node
