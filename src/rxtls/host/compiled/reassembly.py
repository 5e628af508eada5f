"""TCP reassembly over extents: the kernel's twin of host/reassembly.py, and of SockBuf.append behind it.

No FIN and no stop are known here: a direction that meets one is the plain host's. Positions are distances from `next`,
which is exact as long as everything lies less than 2^31 ahead of it; FAR sees to that.
"""

from __future__ import annotations

from rxtls.host.compiled.state import (
    ACCOUNT,
    ACKED,
    ADVANCED,
    ADVERTISED,
    CHAIN_HEAD,
    CHAIN_TAIL,
    DUE,
    DUPLICATE,
    END_SEQ,
    FAR,
    HELD_BYTES,
    HELD_COUNT,
    HELD_HEAD,
    HELD_PACKETS,
    HELD_TAIL,
    HOLD,
    LEAF,
    MOST_HELD,
    NEW_LEAF,
    NEXT,
    NEXT_SEQ,
    OUT_OF_WINDOW,
    TIME,
    TLSCC,
    TOLD,
    WAITING_SINCE,
    WINDOW,
)
from rxtls.host.reassembly import GAP_BYTES, GAP_NS, LEAST_HOLD, PACKET, SLACK
from rxtls.intake.batch import HOST_POINT_FLAGS
from rxtls.native import Grid, Row, Table, inlined, inner, signed32
from rxtls.offload.compiled.arena import (
    EXTENT_ACKED,
    EXTENT_AT,
    EXTENT_CHUNK,
    EXTENT_COLUMNS,
    EXTENT_EDGE,
    EXTENT_FLAGS,
    EXTENT_LEAF,
    EXTENT_LENGTH,
    EXTENT_MARK,
    EXTENT_NEXT,
    EXTENT_SEQ,
    EXTENT_TIME,
    FRAME,
    arrival_at,
    free_extent_inner,
    hold_chunk,
    take_extent_inner,
)
from rxtls.seq import MASK


@inlined
def unusual(extents: Table, own: Row, node: int) -> bool:
    """Whether this extent is the plain host's to take."""
    ahead = signed32(extents[node, EXTENT_SEQ] - own[NEXT_SEQ])
    return (
        extents[node, EXTENT_FLAGS] & HOST_POINT_FLAGS != 0
        or ahead + extents[node, EXTENT_LENGTH] > FAR
        or own[HELD_COUNT] >= MOST_HELD
    )


@inlined
def receive(control: Row, chunks: Table, arrivals: Grid, extents: Table, own: Row, node: int) -> None:
    """Reassembly.input: take one extent; what is in order then goes on to the chain. Needs HELD_COUNT + 1 extents."""
    start = signed32(extents[node, EXTENT_SEQ] - own[NEXT_SEQ])
    end = start + extents[node, EXTENT_LENGTH]
    own[TIME] = extents[node, EXTENT_TIME]
    acked, edge = extents[node, EXTENT_ACKED], extents[node, EXTENT_EDGE]
    if acked >= 0:
        own[ACKED] = max(own[ACKED], own[NEXT] + signed32(acked - own[NEXT_SEQ]))
        if edge >= 0:
            own[ADVERTISED] = signed32(edge - acked)
    if edge >= 0 and start > 0:
        kept = min(end, max(start, signed32(edge - own[NEXT_SEQ]) + SLACK * own[WINDOW]))
        own[OUT_OF_WINDOW] += end - kept
        end = kept
    at = max(start, 0)
    own[DUPLICATE] += max(0, min(at, end) - start)
    if at >= end:
        free_extent_inner(control, chunks, extents, node)
        return
    _trim(extents, node, at - start, end - at)
    if own[HELD_HEAD] < 0 and at == 0:
        _deliver(control, chunks, extents, own, node)
        return
    _keep(control, chunks, arrivals, extents, own, node, at, end)
    _advance(control, chunks, arrivals, extents, own)


@inlined
def settle(own: Row, desk: Row) -> None:
    """Reassembly.settle."""
    window = max(own[WINDOW], own[ADVERTISED])
    since = own[TIME] if own[ADVANCED] else own[WAITING_SINCE]
    own[WINDOW] = window
    _tell(own, desk)
    own[DUE] = 0
    if own[HELD_HEAD] >= 0:
        gone = own[ACKED] > own[NEXT] and (own[HELD_BYTES] >= GAP_BYTES or own[TIME] - since >= GAP_NS)
        own[DUE] = 1 if gone or _over(own) else 0
    own[ADVANCED] = 0
    own[WAITING_SINCE] = since


@inlined
def pass_hole(control: Row, chunks: Table, arrivals: Grid, extents: Table, own: Row, desk: Row) -> None:
    """Reassembly.pass_hole: what is held goes on to the chain, which is empty."""
    seq = extents[own[HELD_HEAD], EXTENT_SEQ]
    own[NEXT] += signed32(seq - own[NEXT_SEQ])
    own[NEXT_SEQ] = seq
    _advance(control, chunks, arrivals, extents, own)
    _tell(own, desk)
    own[DUE] = 1 if own[HELD_HEAD] >= 0 and _over(own) else 0


@inner
def _over(own: Row) -> bool:
    """Reassembly.over."""
    memory = own[HELD_BYTES] + PACKET * own[HELD_PACKETS]
    return own[HELD_BYTES] > max(LEAST_HOLD, 2 * own[WINDOW]) or memory > own[HOLD]


@inner
def _tell(own: Row, desk: Row) -> None:
    """Bring the account up to date."""
    memory = own[HELD_BYTES] + PACKET * own[HELD_PACKETS]
    desk[ACCOUNT] += memory - own[TOLD]
    own[TOLD] = memory


@inner
def _packets(chunks: Table, arrivals: Grid, extents: Table, node: int) -> int:
    """How many packets brought an extent's bytes."""
    chunk, at = extents[node, EXTENT_CHUNK], extents[node, EXTENT_AT]
    last = arrival_at(chunks, arrivals, chunk, at + extents[node, EXTENT_LENGTH] - 1)
    return last - arrival_at(chunks, arrivals, chunk, at) + 1


@inner
def _shared(chunks: Table, arrivals: Grid, extents: Table, node: int, following: int) -> int:
    """1 where an extent leads to the next one, and one packet brought last and first byte of them; else 0."""
    if node < 0 or following < 0:
        return 0
    if (extents[node, EXTENT_SEQ] + extents[node, EXTENT_LENGTH]) & MASK != extents[following, EXTENT_SEQ]:
        return 0
    chunk, end = extents[node, EXTENT_CHUNK], extents[node, EXTENT_AT] + extents[node, EXTENT_LENGTH]
    frame = arrivals[chunk, arrival_at(chunks, arrivals, chunk, end - 1), FRAME]
    chunk = extents[following, EXTENT_CHUNK]
    first = arrivals[chunk, arrival_at(chunks, arrivals, chunk, extents[following, EXTENT_AT]), FRAME]
    return 1 if frame == first else 0


@inner
def _trim(extents: Table, node: int, skip: int, length: int) -> None:
    """Cut an extent to `length` bytes from `skip` on."""
    extents[node, EXTENT_SEQ] = (extents[node, EXTENT_SEQ] + skip) & MASK
    extents[node, EXTENT_AT] += skip
    extents[node, EXTENT_LENGTH] = length


@inner
def _continues(extents: Table, last: int, node: int) -> bool:
    """Whether `node` goes on, in stream and chunk, where `last` ends: then one extent can say both. In a chunk bytes
    stand in the order of arrival, so the last byte's frame is still the latest."""
    length = extents[last, EXTENT_LENGTH]
    return (
        extents[last, EXTENT_CHUNK] == extents[node, EXTENT_CHUNK]
        and extents[last, EXTENT_AT] + length == extents[node, EXTENT_AT]
        and (extents[last, EXTENT_SEQ] + length) & MASK == extents[node, EXTENT_SEQ]
        and extents[last, EXTENT_MARK] == extents[node, EXTENT_MARK]
        and extents[last, EXTENT_LEAF] == extents[node, EXTENT_LEAF]
    )


@inner
def _deliver(control: Row, chunks: Table, extents: Table, own: Row, node: int) -> None:
    """The extent begins at `next`: SockBuf.append."""
    length = extents[node, EXTENT_LENGTH]
    own[NEXT] += length
    own[NEXT_SEQ] = (own[NEXT_SEQ] + length) & MASK
    own[ADVANCED] = 1
    own[END_SEQ] = own[NEXT_SEQ]
    own[TLSCC] += length
    leaf = extents[node, EXTENT_LEAF]
    if own[LEAF] != leaf:
        if own[LEAF] >= 0:
            own[NEW_LEAF] = leaf
        own[LEAF] = leaf
    tail = own[CHAIN_TAIL]
    if tail >= 0 and _continues(extents, tail, node):
        extents[tail, EXTENT_LENGTH] += length
        free_extent_inner(control, chunks, extents, node)
        return
    extents[node, EXTENT_NEXT] = -1
    if tail >= 0:
        extents[tail, EXTENT_NEXT] = node
    else:
        own[CHAIN_HEAD] = node
    own[CHAIN_TAIL] = node


@inlined
def _advance(control: Row, chunks: Table, arrivals: Grid, extents: Table, own: Row) -> None:
    """Deliver what is held at `next`, as far as it goes."""
    node = own[HELD_HEAD]
    while node >= 0 and extents[node, EXTENT_SEQ] == own[NEXT_SEQ]:
        own[HELD_HEAD] = extents[node, EXTENT_NEXT]
        own[HELD_COUNT] -= 1
        own[HELD_BYTES] -= extents[node, EXTENT_LENGTH]
        own[HELD_PACKETS] -= _packets(chunks, arrivals, extents, node)
        own[HELD_PACKETS] += _shared(chunks, arrivals, extents, node, own[HELD_HEAD])
        _deliver(control, chunks, extents, own, node)
        node = own[HELD_HEAD]
    if node < 0:
        own[HELD_TAIL] = -1


@inlined
def _keep(control: Row, chunks: Table, arrivals: Grid, extents: Table, own: Row, node: int, at: int, end: int) -> None:
    """Hold the parts of the extent, which is [at, end), that nobody brought before."""
    before, after = -1, own[HELD_HEAD]
    tail = own[HELD_TAIL]
    if tail >= 0 and signed32(extents[tail, EXTENT_SEQ] - own[NEXT_SEQ]) + extents[tail, EXTENT_LENGTH] <= at:
        before, after = tail, -1
    while after >= 0:
        held_start = signed32(extents[after, EXTENT_SEQ] - own[NEXT_SEQ])
        held_end = held_start + extents[after, EXTENT_LENGTH]
        if end <= held_start:
            break
        if at < held_start:
            piece = take_extent_inner(control, extents)
            for column in range(EXTENT_COLUMNS):
                extents[piece, column] = extents[node, column]
            hold_chunk(chunks, extents[piece, EXTENT_CHUNK])
            extents[piece, EXTENT_LENGTH] = held_start - at
            _trim(extents, node, held_start - at, end - held_start)
            _insert(control, chunks, arrivals, extents, own, before, piece, after)
            at = held_start
        if at < held_end:
            duplicate = min(end, held_end) - at
            own[DUPLICATE] += duplicate
            at += duplicate
            if at == end:
                free_extent_inner(control, chunks, extents, node)
                return
            _trim(extents, node, duplicate, end - at)
        before, after = after, extents[after, EXTENT_NEXT]
    _insert(control, chunks, arrivals, extents, own, before, node, after)


@inner
def _insert(
    control: Row, chunks: Table, arrivals: Grid, extents: Table, own: Row, before: int, node: int, after: int
) -> None:
    """Put an extent between two that are held, either of which may be -1."""
    own[HELD_BYTES] += extents[node, EXTENT_LENGTH]
    own[HELD_PACKETS] += _packets(chunks, arrivals, extents, node)
    own[HELD_PACKETS] -= _shared(chunks, arrivals, extents, before, node)
    own[HELD_PACKETS] -= _shared(chunks, arrivals, extents, node, after)
    if before >= 0 and _continues(extents, before, node):
        extents[before, EXTENT_LENGTH] += extents[node, EXTENT_LENGTH]
        free_extent_inner(control, chunks, extents, node)
        return
    own[HELD_COUNT] += 1
    extents[node, EXTENT_NEXT] = after
    if before >= 0:
        extents[before, EXTENT_NEXT] = node
    else:
        own[HELD_HEAD] = node
    if after < 0:
        own[HELD_TAIL] = node
