"""Large receive offload for kernels: packets' bytes in a lane's chunk, and extents over them (device/lro.py).

A lane has one open run, whose bytes are the last in its chunk; what continues it makes its extent longer.

`make_room` says where a packet is to lie before the engine writes it. A record is best one stretch of one chunk, so a
chunk is left at a record header when one more record might not fit, and in the middle of the packet if need be.
"""

from __future__ import annotations

from typing import NamedTuple

from rxtls.crypto.keys import MAX_PLAINTEXT, RECORD_HEADER
from rxtls.device.compiled.columns import Context, Lane, NicTables, Payload, Walk
from rxtls.device.compiled.tracker import total_of
from rxtls.intake.batch import FIN, RST, SYN
from rxtls.native import Table, copy, inlined, inner, signed32
from rxtls.offload.compiled.arena import (
    LARGE,
    MOST_ARRIVALS,
    SMALL,
    ArenaTables,
    Arrived,
    Chunk,
    Extent,
    free_extent_inner,
    hold_chunk,
    release_chunk,
    take_chunk_inner,
    take_extent_inner,
)
from rxtls.seq import MASK

_RECORD = MAX_PLAINTEXT + 64  # bytes of the longest record, and a little
_PACKETS = 16  # that may bring it


class Segment(NamedTuple):
    """A segment as it goes up: a mark for all of it, as in Mbuf."""

    seq: int
    length: int
    mark: int
    leaf: int
    flags: int
    acked: int
    edge: int
    frame: int  # of its last packet
    time: int


@inlined
def roomy(chunks: Table, chunk: int, length: int) -> bool:
    """Whether a lane's chunk can take a packet and a record behind it. What nobody else holds is written over."""
    if chunk < 0:
        return False
    if chunks[chunk, Chunk.REFS] == 1:
        chunks[chunk, Chunk.USED] = 0
        chunks[chunk, Chunk.ARRIVALS] = 0
    return (
        chunks[chunk, Chunk.SIZE] - chunks[chunk, Chunk.USED] >= length + _RECORD
        and chunks[chunk, Chunk.ARRIVALS] < MOST_ARRIVALS - _PACKETS
    )


@inner
def make_room(arena: ArenaTables, nic: NicTables, lane: Lane, c: Context, payload: Payload, divisible: bool) -> int:
    """See to it that a packet of no more than LARGE bytes fits. The offset from which on its bytes are to go to the
    lane's SPARE chunk; 0: all go to its CHUNK. `c` is its context, or -1."""
    chunk = nic.lanes[lane, Lane.CHUNK]
    if chunk < 0:
        nic.lanes[lane, Lane.CHUNK] = _take(arena, nic, lane, payload.length)
        return 0
    room = arena.chunks[chunk, Chunk.SIZE] - arena.chunks[chunk, Chunk.USED]
    unfilled = arena.chunks[chunk, Chunk.ARRIVALS] < MOST_ARRIVALS
    header = -1  # offset of a record header, as far as the engine knows
    if c >= 0 and (nic.contexts[c, Context.OPEN] == 1 or nic.contexts[c, Context.HEADER_HAVE] == 0):
        header = signed32(nic.contexts[c, Context.NEXT_HEADER] - payload.seq)
    fits = room >= payload.length and unfilled
    if 0 <= header < payload.length:
        if fits and arena.chunks[chunk, Chunk.SIZE] == SMALL and header + RECORD_HEADER <= payload.length:
            total = total_of(nic.contexts, c, payload.source + header)
            if 0 < total <= room - header:
                return 0  # a flow of short records: no need for more
        if header == 0:
            fits = False
        elif divisible and header <= room and unfilled:
            nic.lanes[lane, Lane.SPARE] = _take(arena, nic, lane, LARGE)
            return header
    if not fits:
        release_chunk(arena.control, arena.chunks, chunk)
        nic.lanes[lane, Lane.CHUNK] = _take(arena, nic, lane, LARGE)
        nic.lanes[lane, Lane.RUN] = -1
    return 0


@inner
def _take(arena: ArenaTables, nic: NicTables, lane: Lane, length: int) -> int:
    """A chunk for the lane, its first a SMALL one if that will do."""
    size = LARGE if length > SMALL or nic.lanes[lane, Lane.OUTGROWN] == 1 else SMALL
    if size == LARGE:
        nic.lanes[lane, Lane.OUTGROWN] = 1
    chunk = take_chunk_inner(arena.control, arena.chunks, size)
    hold_chunk(arena.chunks, chunk)
    return chunk


@inner
def go_over(arena: ArenaTables, nic: NicTables, lane: Lane) -> None:
    """The SPARE chunk becomes the lane's."""
    release_chunk(arena.control, arena.chunks, nic.lanes[lane, Lane.CHUNK])
    nic.lanes[lane, Lane.CHUNK] = nic.lanes[lane, Lane.SPARE]
    nic.lanes[lane, Lane.SPARE] = -1
    nic.lanes[lane, Lane.RUN] = -1


@inlined
def put(nic: NicTables, lane: Lane, arena: ArenaTables, segment: Segment, joinable: bool) -> None:
    """Take in a segment whose bytes stand in the lane's chunk behind what is used of it (Lro.add)."""
    chunk = -1
    at = 0
    if segment.length > 0:
        chunk = nic.lanes[lane, Lane.CHUNK]
        at = arena.chunks[chunk, Chunk.USED]
        n = arena.chunks[chunk, Chunk.ARRIVALS]
        arena.arrivals[chunk, n, Arrived.END] = at + segment.length
        arena.arrivals[chunk, n, Arrived.FRAME] = segment.frame
        arena.arrivals[chunk, n, Arrived.TIME] = segment.time
        arena.chunks[chunk, Chunk.USED] = at + segment.length
        arena.chunks[chunk, Chunk.ARRIVALS] = n + 1
    run = nic.lanes[lane, Lane.RUN]
    if (
        run >= 0
        and joinable
        and arena.extents[run, Extent.MARK] == segment.mark
        and arena.extents[run, Extent.LEAF] == segment.leaf
        and arena.extents[run, Extent.LENGTH] + segment.length <= nic.control[Walk.LRO_LIMIT]
        and (arena.extents[run, Extent.SEQ] + arena.extents[run, Extent.LENGTH]) & MASK == segment.seq
    ):
        arena.extents[run, Extent.LENGTH] += segment.length
        arena.extents[run, Extent.FLAGS] |= segment.flags
    else:
        run = take_extent_inner(arena.control, arena.extents)
        arena.extents[run, Extent.SEQ] = segment.seq
        arena.extents[run, Extent.CHUNK] = chunk
        arena.extents[run, Extent.AT] = at
        arena.extents[run, Extent.LENGTH] = segment.length
        arena.extents[run, Extent.MARK] = segment.mark
        arena.extents[run, Extent.LEAF] = segment.leaf
        arena.extents[run, Extent.FLAGS] = segment.flags
        arena.extents[run, Extent.POINT] = -1
        if chunk >= 0:
            hold_chunk(arena.chunks, chunk)
        tail = nic.lanes[lane, Lane.TAIL]
        if tail < 0:
            nic.lanes[lane, Lane.HEAD] = run
        else:
            arena.extents[tail, Extent.NEXT] = run
        nic.lanes[lane, Lane.TAIL] = run
        nic.lanes[lane, Lane.RUN] = run if joinable else -1
    arena.extents[run, Extent.ACKED] = segment.acked
    arena.extents[run, Extent.EDGE] = segment.edge
    arena.extents[run, Extent.FRAME] = segment.frame
    arena.extents[run, Extent.TIME] = segment.time


@inlined
def _piece(whole: Segment, seq: int, length: int, flags: int) -> Segment:
    return Segment(seq, length, whole.mark, whole.leaf, flags, whole.acked, whole.edge, whole.frame, whole.time)


@inner
def put_in_pieces(
    nic: NicTables, lane: Lane, arena: ArenaTables, block: int, split: int, segment: Segment, joinable: bool
) -> None:
    """The same for a packet that does not lie in one chunk: it is cut at `split`, with the rest in the SPARE chunk, or,
    at split 0, lies at the address `block` and goes to as many chunks as it fills.

    What stands at a segment's start (SYN, RST) is said of the first piece, what stands at its end (FIN) of the last.
    """
    start = (segment.seq + 1) & MASK if segment.flags & SYN else segment.seq
    at = 0
    while at < segment.length:
        if split > 0:
            piece = segment.length - at if at else split
            if at:
                go_over(arena, nic, lane)
        else:
            piece = min(segment.length - at, LARGE)
            if nic.lanes[lane, Lane.CHUNK] >= 0:
                release_chunk(arena.control, arena.chunks, nic.lanes[lane, Lane.CHUNK])
            nic.lanes[lane, Lane.CHUNK] = _take(arena, nic, lane, LARGE)
            nic.lanes[lane, Lane.RUN] = -1
            copy(arena.chunks[nic.lanes[lane, Lane.CHUNK], Chunk.ADDRESS], block + at, piece)
        said = segment.flags
        if at:
            said &= ~(SYN | RST)
        if at + piece < segment.length:
            said &= ~FIN
        seq = (start + at) & MASK if at else segment.seq
        put(nic, lane, arena, _piece(segment, seq, piece, said), joinable)
        at += piece


@inner
def close(lanes: Table, lane: Lane, extents: Table, position: int) -> None:
    """A host point, at a row of the batch: what has come since the one before is flushed."""
    lanes[lane, Lane.RUN] = -1
    head = lanes[lane, Lane.HEAD]
    if head < 0:
        return
    node = head
    while node >= 0:
        extents[node, Extent.POINT] = position
        node = extents[node, Extent.NEXT]
    if lanes[lane, Lane.CLOSED_TAIL] < 0:
        lanes[lane, Lane.CLOSED_HEAD] = head
    else:
        extents[lanes[lane, Lane.CLOSED_TAIL], Extent.NEXT] = head
    lanes[lane, Lane.CLOSED_TAIL] = lanes[lane, Lane.TAIL]
    lanes[lane, Lane.HEAD] = lanes[lane, Lane.TAIL] = -1


@inner
def drop(arena: ArenaTables, lanes: Table, lane: Lane) -> None:
    """Give back all that the lane holds of the arena."""
    for head in (lanes[lane, Lane.CLOSED_HEAD], lanes[lane, Lane.HEAD]):
        node = head
        while node >= 0:
            following = arena.extents[node, Extent.NEXT]
            free_extent_inner(arena, node)
            node = following
    if lanes[lane, Lane.CHUNK] >= 0:
        release_chunk(arena.control, arena.chunks, lanes[lane, Lane.CHUNK])
