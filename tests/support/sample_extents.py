"""Extents for tests of the compiled host: a lane that writes packets into chunks as a NIC does, and a look at leaks."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from rxtls.intake.batch import ACK, PSH
from rxtls.offload.compiled import arena as at
from rxtls.offload.compiled.arena import Arena, Chunk, Extent, Stock, append, take_chunk, take_extent
from rxtls.offload.mbuf import Mbuf
from rxtls.seq import MASK, distance


class Lane:
    """One flow's extents. `limit` is the longest run in bytes; `room` the bytes of a chunk that are used."""

    def __init__(self, arena: Arena, limit: int = 65535, room: int = at.LARGE) -> None:
        self.arena = arena
        self.limit = limit
        self.room = room
        self.chunk = -1
        self.ends = np.full(2, -1, np.int64)
        self.open = False  # whether the last extent may be made longer

    def add(self, packet: Mbuf) -> None:
        """What one packet brings, at most `room` bytes, as the next extent or at the end of the last one."""
        arena, length = self.arena, len(packet.data)
        arena.grow(extents=1, large=1, small=1)
        _, frame, time_ns = packet.arrivals[-1]
        where = self._write(packet.data, frame, time_ns) if length else (-1, 0)
        last = int(self.ends[1])
        # What the window does not cover is judged by the window of its own moment: it stays alone (device/lro.py).
        beyond = packet.edge >= 0 and distance(packet.edge, packet.seq + length) > 0
        joinable = length > 0 and not beyond and not packet.flags & ~(ACK | PSH)
        if joinable and self.open and self._continues(last, packet, *where):
            row = arena.extents[last]
            row[Extent.LENGTH] += length
            row[Extent.FLAGS] |= packet.flags
            row[[Extent.ACKED, Extent.EDGE, Extent.FRAME, Extent.TIME]] = (
                packet.acked, packet.edge, frame, time_ns,
            )  # fmt: skip
            return
        node = int(take_extent(arena.control, arena.extents))
        whose = packet.mark, packet.leaf, packet.flags, packet.acked, packet.edge
        arena.extents[node] = (packet.seq, *where, length, *whose, frame, time_ns, -1, -1)
        if length:
            arena.chunks[where[0], Chunk.REFS] += 1
        append(arena.extents, self.ends, node)
        self.open = joinable

    def flush(self, point: int) -> int:
        """The list so far, as one group; -1 if there is none."""
        head = int(self.ends[0])
        node = head
        while node >= 0:
            self.arena.extents[node, Extent.POINT] = point
            node = int(self.arena.extents[node, Extent.NEXT])
        self.ends[:] = -1
        self.open = False
        return head

    def close(self) -> None:
        """Let go of the current chunk; the next packet begins another one."""
        if self.chunk >= 0:
            arena = self.arena
            node = int(take_extent(arena.control, arena.extents))
            arena.extents[node, Extent.CHUNK] = self.chunk
            at.free_extent(arena.tables, node)
        self.chunk = -1

    def _write(self, data: bytes, frame: int, time_ns: int) -> tuple[int, int]:
        arena = self.arena
        if self.chunk >= 0:
            used, arrivals = arena.chunks[self.chunk, [Chunk.USED, Chunk.ARRIVALS]].tolist()
            if used + len(data) > self.room or arrivals == at.MOST_ARRIVALS:
                self.close()
        if self.chunk < 0:
            self.chunk = int(take_chunk(arena.control, arena.chunks, at.LARGE))
        row = arena.chunks[self.chunk]
        used = int(row[Chunk.USED])
        arena.bytes(self.chunk, used, len(data))[:] = data
        arena.arrivals[self.chunk, row[Chunk.ARRIVALS]] = (used + len(data), frame, time_ns)
        row[Chunk.USED] += len(data)
        row[Chunk.ARRIVALS] += 1
        return self.chunk, used

    def _continues(self, last: int, packet: Mbuf, chunk: int, place: int) -> bool:
        row = self.arena.extents[last].tolist()
        length = row[Extent.LENGTH]
        return (
            length + len(packet.data) <= self.limit
            and (row[Extent.MARK], row[Extent.LEAF]) == (packet.mark, packet.leaf)
            and (row[Extent.CHUNK], row[Extent.AT] + length) == (chunk, place)
            and (row[Extent.SEQ] + length) & MASK == packet.seq
        )


def joined(arena: Arena, heads: list[int]) -> int:
    """Several lists, none of them empty, as one."""
    for head, following in pairwise(heads):
        node = head
        while arena.extents[node, Extent.NEXT] >= 0:
            node = int(arena.extents[node, Extent.NEXT])
        arena.extents[node, Extent.NEXT] = following
    return heads[0]


def leaks(arena: Arena) -> list[str]:
    """What is not free although nobody should hold anything any more."""
    large = arena.chunks[:, Chunk.SIZE] > at.SMALL
    return [
        f"{name}: {free} of {total} are free"
        for name, free, total in (
            ("extents", int(arena.control[Stock.EXTENTS_LEFT]), len(arena.extents)),
            ("large chunks", int(arena.control[Stock.LARGE_LEFT]), int(large.sum())),
            ("small chunks", int(arena.control[Stock.SMALL_LEFT]), int((~large).sum())),
        )
        if free != total
    ]
