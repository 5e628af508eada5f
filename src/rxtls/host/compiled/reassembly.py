"""TCP reassembly over extents: the kernel's twin of host/reassembly.py, and of SockBuf.append behind it.

No FIN and no stop are known here: a direction that meets one is the plain host's. Positions are distances from `next`,
which is exact as long as everything lies less than 2^31 ahead of it; FAR sees to that.
"""

from __future__ import annotations

from rxtls.host.compiled.state import FAR, MOST_HELD, Desk, Own
from rxtls.host.reassembly import GAP_BYTES, GAP_NS, LEAST_HOLD, PACKET, SLACK
from rxtls.intake.batch import HOST_POINT_FLAGS, TICK
from rxtls.native import Row, Table, inlined, inner, signed32
from rxtls.offload.compiled.arena import (
    ArenaTables,
    Arrived,
    Extent,
    arrival_at,
    free_extent_inner,
    hold_chunk,
    take_extent_inner,
)
from rxtls.seq import MASK


@inlined
def unusual(extents: Table, own: Row, node: int) -> bool:
    """Whether this extent is the plain host's to take."""
    if extents[node, Extent.FLAGS] & TICK:
        return False
    ahead = signed32(extents[node, Extent.SEQ] - own[Own.NEXT_SEQ])
    return (
        extents[node, Extent.FLAGS] & HOST_POINT_FLAGS != 0
        or ahead + extents[node, Extent.LENGTH] > FAR
        or own[Own.HELD_COUNT] >= MOST_HELD
    )


@inlined
def receive(arena: ArenaTables, own: Row, node: int) -> None:
    """Reassembly.input: take one extent; what is in order then goes on to the chain. Needs HELD_COUNT + 1 extents."""
    start = signed32(arena.extents[node, Extent.SEQ] - own[Own.NEXT_SEQ])
    end = start + arena.extents[node, Extent.LENGTH]
    own[Own.TIME] = arena.extents[node, Extent.TIME]
    acked, edge = arena.extents[node, Extent.ACKED], arena.extents[node, Extent.EDGE]
    if acked >= 0:
        own[Own.ACKED] = max(own[Own.ACKED], own[Own.NEXT] + signed32(acked - own[Own.NEXT_SEQ]))
        if edge >= 0:
            own[Own.ADVERTISED] = signed32(edge - acked)
    if arena.extents[node, Extent.FLAGS] & TICK:
        free_extent_inner(arena, node)
        return
    if edge >= 0 and start > 0:
        kept = min(end, max(start, signed32(edge - own[Own.NEXT_SEQ]) + SLACK * own[Own.WINDOW]))
        own[Own.OUT_OF_WINDOW] += end - kept
        end = kept
    at = max(start, 0)
    own[Own.DUPLICATE] += max(0, min(at, end) - start)
    if at >= end:
        free_extent_inner(arena, node)
        return
    _trim(arena.extents, node, at - start, end - at)
    if own[Own.HELD_HEAD] < 0 and at == 0:
        _deliver(arena, own, node)
        return
    _keep(arena, own, node, at, end)
    _advance(arena, own)


@inlined
def settle(own: Row, desk: Row) -> None:
    """Reassembly.settle."""
    window = max(own[Own.WINDOW], own[Own.ADVERTISED])
    since = own[Own.TIME] if own[Own.ADVANCED] else own[Own.WAITING_SINCE]
    own[Own.WINDOW] = window
    _tell(own, desk)
    own[Own.DUE] = 0
    if own[Own.HELD_HEAD] >= 0:
        gone = own[Own.ACKED] > own[Own.NEXT] and (own[Own.HELD_BYTES] >= GAP_BYTES or own[Own.TIME] - since >= GAP_NS)
        own[Own.DUE] = 1 if gone or _over(own) else 0
    own[Own.ADVANCED] = 0
    own[Own.WAITING_SINCE] = since


@inlined
def pass_hole(arena: ArenaTables, own: Row, desk: Row) -> None:
    """Reassembly.pass_hole: what is held goes on to the chain, which is empty."""
    seq = arena.extents[own[Own.HELD_HEAD], Extent.SEQ]
    own[Own.NEXT] += signed32(seq - own[Own.NEXT_SEQ])
    own[Own.NEXT_SEQ] = seq
    _advance(arena, own)
    _tell(own, desk)
    own[Own.DUE] = 1 if own[Own.HELD_HEAD] >= 0 and _over(own) else 0


@inner
def _over(own: Row) -> bool:
    """Reassembly.over."""
    memory = own[Own.HELD_BYTES] + PACKET * own[Own.HELD_PACKETS]
    return own[Own.HELD_BYTES] > max(LEAST_HOLD, 2 * own[Own.WINDOW]) or memory > own[Own.HOLD]


@inner
def _tell(own: Row, desk: Row) -> None:
    """Bring the account up to date."""
    memory = own[Own.HELD_BYTES] + PACKET * own[Own.HELD_PACKETS]
    desk[Desk.ACCOUNT] += memory - own[Own.TOLD]
    own[Own.TOLD] = memory


@inner
def _packets(arena: ArenaTables, node: int) -> int:
    """How many packets brought an extent's bytes."""
    chunk, at = arena.extents[node, Extent.CHUNK], arena.extents[node, Extent.AT]
    last = arrival_at(arena.chunks, arena.arrivals, chunk, at + arena.extents[node, Extent.LENGTH] - 1)
    return last - arrival_at(arena.chunks, arena.arrivals, chunk, at) + 1


@inner
def _shared(arena: ArenaTables, node: int, following: int) -> int:
    """1 where an extent leads to the next one, and one packet brought last and first byte of them; else 0."""
    if node < 0 or following < 0:
        return 0
    if (arena.extents[node, Extent.SEQ] + arena.extents[node, Extent.LENGTH]) & MASK != arena.extents[
        following, Extent.SEQ
    ]:
        return 0
    chunk, end = arena.extents[node, Extent.CHUNK], arena.extents[node, Extent.AT] + arena.extents[node, Extent.LENGTH]
    frame = arena.arrivals[chunk, arrival_at(arena.chunks, arena.arrivals, chunk, end - 1), Arrived.FRAME]
    chunk = arena.extents[following, Extent.CHUNK]
    first = arena.arrivals[
        chunk, arrival_at(arena.chunks, arena.arrivals, chunk, arena.extents[following, Extent.AT]), Arrived.FRAME
    ]
    return 1 if frame == first else 0


@inner
def _trim(extents: Table, node: int, skip: int, length: int) -> None:
    """Cut an extent to `length` bytes from `skip` on."""
    extents[node, Extent.SEQ] = (extents[node, Extent.SEQ] + skip) & MASK
    extents[node, Extent.AT] += skip
    extents[node, Extent.LENGTH] = length


@inner
def _continues(extents: Table, last: int, node: int) -> bool:
    """Whether `node` goes on, in stream and chunk, where `last` ends: then one extent can say both. In a chunk bytes
    stand in the order of arrival, so the last byte's frame is still the latest."""
    length = extents[last, Extent.LENGTH]
    return (
        extents[last, Extent.CHUNK] == extents[node, Extent.CHUNK]
        and extents[last, Extent.AT] + length == extents[node, Extent.AT]
        and (extents[last, Extent.SEQ] + length) & MASK == extents[node, Extent.SEQ]
        and extents[last, Extent.MARK] == extents[node, Extent.MARK]
        and extents[last, Extent.LEAF] == extents[node, Extent.LEAF]
    )


@inner
def _deliver(arena: ArenaTables, own: Row, node: int) -> None:
    """The extent begins at `next`: SockBuf.append."""
    length = arena.extents[node, Extent.LENGTH]
    own[Own.NEXT] += length
    own[Own.NEXT_SEQ] = (own[Own.NEXT_SEQ] + length) & MASK
    own[Own.ADVANCED] = 1
    own[Own.END_SEQ] = own[Own.NEXT_SEQ]
    own[Own.TLSCC] += length
    leaf = arena.extents[node, Extent.LEAF]
    if own[Own.LEAF] != leaf:
        if own[Own.LEAF] >= 0:
            own[Own.NEW_LEAF] = leaf
        own[Own.LEAF] = leaf
    tail = own[Own.CHAIN_TAIL]
    if tail >= 0 and _continues(arena.extents, tail, node):
        arena.extents[tail, Extent.LENGTH] += length
        free_extent_inner(arena, node)
        return
    arena.extents[node, Extent.NEXT] = -1
    if tail >= 0:
        arena.extents[tail, Extent.NEXT] = node
    else:
        own[Own.CHAIN_HEAD] = node
    own[Own.CHAIN_TAIL] = node


@inlined
def _advance(arena: ArenaTables, own: Row) -> None:
    """Deliver what is held at `next`, as far as it goes."""
    node = own[Own.HELD_HEAD]
    while node >= 0 and arena.extents[node, Extent.SEQ] == own[Own.NEXT_SEQ]:
        own[Own.HELD_HEAD] = arena.extents[node, Extent.NEXT]
        own[Own.HELD_COUNT] -= 1
        own[Own.HELD_BYTES] -= arena.extents[node, Extent.LENGTH]
        own[Own.HELD_PACKETS] -= _packets(arena, node)
        own[Own.HELD_PACKETS] += _shared(arena, node, own[Own.HELD_HEAD])
        _deliver(arena, own, node)
        node = own[Own.HELD_HEAD]
    if node < 0:
        own[Own.HELD_TAIL] = -1


@inlined
def _keep(arena: ArenaTables, own: Row, node: int, at: int, end: int) -> None:
    """Hold the parts of the extent, which is [at, end), that nobody brought before."""
    before, after = -1, own[Own.HELD_HEAD]
    tail = own[Own.HELD_TAIL]
    if (
        tail >= 0
        and signed32(arena.extents[tail, Extent.SEQ] - own[Own.NEXT_SEQ]) + arena.extents[tail, Extent.LENGTH] <= at
    ):
        before, after = tail, -1
    while after >= 0:
        held_start = signed32(arena.extents[after, Extent.SEQ] - own[Own.NEXT_SEQ])
        held_end = held_start + arena.extents[after, Extent.LENGTH]
        if end <= held_start:
            break
        if at < held_start:
            piece = take_extent_inner(arena.control, arena.extents)
            for column in range(Extent.COLUMNS):
                arena.extents[piece, column] = arena.extents[node, column]
            hold_chunk(arena.chunks, arena.extents[piece, Extent.CHUNK])
            arena.extents[piece, Extent.LENGTH] = held_start - at
            _trim(arena.extents, node, held_start - at, end - held_start)
            _insert(arena, own, before, piece, after)
            at = held_start
        if at < held_end:
            duplicate = min(end, held_end) - at
            own[Own.DUPLICATE] += duplicate
            at += duplicate
            if at == end:
                free_extent_inner(arena, node)
                return
            _trim(arena.extents, node, duplicate, end - at)
        before, after = after, arena.extents[after, Extent.NEXT]
    _insert(arena, own, before, node, after)


@inner
def _insert(arena: ArenaTables, own: Row, before: int, node: int, after: int) -> None:
    """Put an extent between two that are held, either of which may be -1."""
    own[Own.HELD_BYTES] += arena.extents[node, Extent.LENGTH]
    own[Own.HELD_PACKETS] += _packets(arena, node)
    own[Own.HELD_PACKETS] -= _shared(arena, before, node)
    own[Own.HELD_PACKETS] -= _shared(arena, node, after)
    if before >= 0 and _continues(arena.extents, before, node):
        arena.extents[before, Extent.LENGTH] += arena.extents[node, Extent.LENGTH]
        free_extent_inner(arena, node)
        return
    own[Own.HELD_COUNT] += 1
    arena.extents[node, Extent.NEXT] = after
    if before >= 0:
        arena.extents[before, Extent.NEXT] = node
    else:
        own[Own.HELD_HEAD] = node
    if after < 0:
        own[Own.HELD_TAIL] = node
