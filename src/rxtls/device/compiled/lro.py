"""Large receive offload for kernels: packets' bytes in a lane's chunk, and extents over them (device/lro.py).

A lane has one open run, whose bytes are the last in its chunk; what continues it makes its extent longer.

`make_room` says where a packet is to lie before the engine writes it. A record is best one stretch of one chunk, so a
chunk is left at a record header when one more record might not fit, and in the middle of the packet if need be.
"""

from __future__ import annotations

from rxtls.crypto.keys import MAX_PLAINTEXT, RECORD_HEADER
from rxtls.device.compiled.columns import (
    CHUNK,
    CLOSED_HEAD,
    CLOSED_TAIL,
    HEAD,
    HEADER_HAVE,
    LRO_LIMIT,
    NEXT_HEADER,
    OPEN,
    OUTGROWN,
    RUN,
    SPARE,
    TAIL,
    Context,
    Lane,
)
from rxtls.device.compiled.tracker import total_of
from rxtls.intake.batch import FIN, RST, SYN
from rxtls.native import Grid, Row, Table, copy, inlined, inner, signed32
from rxtls.offload.compiled.arena import (
    ADDRESS,
    ARRIVALS,
    EXTENT_ACKED,
    EXTENT_AT,
    EXTENT_CHUNK,
    EXTENT_EDGE,
    EXTENT_FLAGS,
    EXTENT_FRAME,
    EXTENT_LEAF,
    EXTENT_LENGTH,
    EXTENT_MARK,
    EXTENT_NEXT,
    EXTENT_POINT,
    EXTENT_SEQ,
    EXTENT_TIME,
    LARGE,
    MOST_ARRIVALS,
    REFS,
    SIZE,
    SMALL,
    USED,
    free_extent_inner,
    hold_chunk,
    release_chunk,
    take_chunk_inner,
    take_extent_inner,
)
from rxtls.offload.compiled.arena import END as ARRIVAL_END
from rxtls.offload.compiled.arena import FRAME as ARRIVAL_FRAME
from rxtls.offload.compiled.arena import TIME as ARRIVAL_TIME
from rxtls.seq import MASK

_RECORD = MAX_PLAINTEXT + 64  # bytes of the longest record, and a little
_PACKETS = 16  # that may bring it


@inlined
def roomy(chunks: Table, chunk: int, length: int) -> bool:
    """Whether a lane's chunk can take a packet and a record behind it. What nobody else holds is written over."""
    if chunk < 0:
        return False
    if chunks[chunk, REFS] == 1:
        chunks[chunk, USED] = 0
        chunks[chunk, ARRIVALS] = 0
    return (
        chunks[chunk, SIZE] - chunks[chunk, USED] >= length + _RECORD
        and chunks[chunk, ARRIVALS] < MOST_ARRIVALS - _PACKETS
    )


@inner
def make_room(
    arena_control: Row,
    chunks: Table,
    lanes: Table,
    lane: Lane,
    contexts: Table,
    c: Context,
    seq: int,
    source: int,
    length: int,
    divisible: int,
) -> int:
    """See to it that a packet of no more than LARGE bytes fits. The offset from which on its bytes are to go to the
    lane's SPARE chunk; 0: all go to its CHUNK. `c` is its context, or -1."""
    chunk = lanes[lane, CHUNK]
    if chunk < 0:
        lanes[lane, CHUNK] = _take(arena_control, chunks, lanes, lane, length)
        return 0
    room = chunks[chunk, SIZE] - chunks[chunk, USED]
    unfilled = chunks[chunk, ARRIVALS] < MOST_ARRIVALS
    header = -1  # offset of a record header, as far as the engine knows
    if c >= 0 and (contexts[c, OPEN] == 1 or contexts[c, HEADER_HAVE] == 0):
        header = signed32(contexts[c, NEXT_HEADER] - seq)
    fits = room >= length and unfilled
    if 0 <= header < length:
        if fits and chunks[chunk, SIZE] == SMALL and header + RECORD_HEADER <= length:
            total = total_of(contexts, c, source + header)
            if 0 < total <= room - header:
                return 0  # a flow of short records: no need for more
        if header == 0:
            fits = False
        elif divisible and header <= room and unfilled:
            lanes[lane, SPARE] = _take(arena_control, chunks, lanes, lane, LARGE)
            return header
    if not fits:
        release_chunk(arena_control, chunks, chunk)
        lanes[lane, CHUNK] = _take(arena_control, chunks, lanes, lane, LARGE)
        lanes[lane, RUN] = -1
    return 0


@inner
def _take(arena_control: Row, chunks: Table, lanes: Table, lane: Lane, length: int) -> int:
    """A chunk for the lane, its first a SMALL one if that will do."""
    size = LARGE if length > SMALL or lanes[lane, OUTGROWN] == 1 else SMALL
    if size == LARGE:
        lanes[lane, OUTGROWN] = 1
    chunk = take_chunk_inner(arena_control, chunks, size)
    hold_chunk(chunks, chunk)
    return chunk


@inner
def go_over(arena_control: Row, chunks: Table, lanes: Table, lane: Lane) -> None:
    """The SPARE chunk becomes the lane's."""
    release_chunk(arena_control, chunks, lanes[lane, CHUNK])
    lanes[lane, CHUNK] = lanes[lane, SPARE]
    lanes[lane, SPARE] = -1
    lanes[lane, RUN] = -1


@inlined
def put(
    control: Row,
    lanes: Table,
    lane: Lane,
    arena_control: Row,
    chunks: Table,
    arrivals: Grid,
    extents: Table,
    seq: int,
    length: int,
    mark: int,
    leaf: int,
    flags: int,
    acked: int,
    edge: int,
    frame: int,
    time: int,
    joinable: int,
) -> None:
    """Take in a segment whose bytes stand in the lane's chunk behind what is used of it (Lro.add)."""
    chunk = -1
    at = 0
    if length > 0:
        chunk = lanes[lane, CHUNK]
        at = chunks[chunk, USED]
        n = chunks[chunk, ARRIVALS]
        arrivals[chunk, n, ARRIVAL_END] = at + length
        arrivals[chunk, n, ARRIVAL_FRAME] = frame
        arrivals[chunk, n, ARRIVAL_TIME] = time
        chunks[chunk, USED] = at + length
        chunks[chunk, ARRIVALS] = n + 1
    run = lanes[lane, RUN]
    if (
        run >= 0
        and joinable
        and extents[run, EXTENT_MARK] == mark
        and extents[run, EXTENT_LEAF] == leaf
        and extents[run, EXTENT_LENGTH] + length <= control[LRO_LIMIT]
        and (extents[run, EXTENT_SEQ] + extents[run, EXTENT_LENGTH]) & MASK == seq
    ):
        extents[run, EXTENT_LENGTH] += length
        extents[run, EXTENT_FLAGS] |= flags
    else:
        run = take_extent_inner(arena_control, extents)
        extents[run, EXTENT_SEQ] = seq
        extents[run, EXTENT_CHUNK] = chunk
        extents[run, EXTENT_AT] = at
        extents[run, EXTENT_LENGTH] = length
        extents[run, EXTENT_MARK] = mark
        extents[run, EXTENT_LEAF] = leaf
        extents[run, EXTENT_FLAGS] = flags
        extents[run, EXTENT_POINT] = -1
        if chunk >= 0:
            hold_chunk(chunks, chunk)
        tail = lanes[lane, TAIL]
        if tail < 0:
            lanes[lane, HEAD] = run
        else:
            extents[tail, EXTENT_NEXT] = run
        lanes[lane, TAIL] = run
        lanes[lane, RUN] = run if joinable else -1
    extents[run, EXTENT_ACKED] = acked
    extents[run, EXTENT_EDGE] = edge
    extents[run, EXTENT_FRAME] = frame
    extents[run, EXTENT_TIME] = time


@inner
def put_in_pieces(
    control: Row,
    lanes: Table,
    lane: Lane,
    arena_control: Row,
    chunks: Table,
    arrivals: Grid,
    extents: Table,
    block: int,
    split: int,
    seq: int,
    length: int,
    mark: int,
    leaf: int,
    flags: int,
    acked: int,
    edge: int,
    frame: int,
    time: int,
    joinable: int,
) -> None:
    """The same for a packet that does not lie in one chunk: it is cut at `split`, with the rest in the SPARE chunk, or,
    at split 0, lies at the address `block` and goes to as many chunks as it fills.

    What stands at a segment's start (SYN, RST) is said of the first piece, what stands at its end (FIN) of the last.
    """
    start = (seq + 1) & MASK if flags & SYN else seq
    at = 0
    while at < length:
        if split > 0:
            piece = length - at if at else split
            if at:
                go_over(arena_control, chunks, lanes, lane)
        else:
            piece = min(length - at, LARGE)
            if lanes[lane, CHUNK] >= 0:
                release_chunk(arena_control, chunks, lanes[lane, CHUNK])
            lanes[lane, CHUNK] = _take(arena_control, chunks, lanes, lane, LARGE)
            lanes[lane, RUN] = -1
            copy(chunks[lanes[lane, CHUNK], ADDRESS], block + at, piece)
        said = flags
        if at:
            said &= ~(SYN | RST)
        if at + piece < length:
            said &= ~FIN
        put(
            control, lanes, lane, arena_control, chunks, arrivals, extents,
            (start + at) & MASK if at else seq, piece, mark, leaf, said, acked, edge, frame, time, joinable,
        )  # fmt: skip
        at += piece


@inner
def close(lanes: Table, lane: Lane, extents: Table, position: int) -> None:
    """A host point, at a row of the batch: what has come since the one before is flushed."""
    lanes[lane, RUN] = -1
    head = lanes[lane, HEAD]
    if head < 0:
        return
    node = head
    while node >= 0:
        extents[node, EXTENT_POINT] = position
        node = extents[node, EXTENT_NEXT]
    if lanes[lane, CLOSED_TAIL] < 0:
        lanes[lane, CLOSED_HEAD] = head
    else:
        extents[lanes[lane, CLOSED_TAIL], EXTENT_NEXT] = head
    lanes[lane, CLOSED_TAIL] = lanes[lane, TAIL]
    lanes[lane, HEAD] = lanes[lane, TAIL] = -1


@inner
def drop(arena_control: Row, chunks: Table, lanes: Table, lane: Lane, extents: Table) -> None:
    """Give back all that the lane holds of the arena."""
    for head in (lanes[lane, CLOSED_HEAD], lanes[lane, HEAD]):
        node = head
        while node >= 0:
            following = extents[node, EXTENT_NEXT]
            free_extent_inner(arena_control, chunks, extents, node)
            node = following
    if lanes[lane, CHUNK] >= 0:
        release_chunk(arena_control, chunks, lanes[lane, CHUNK])
