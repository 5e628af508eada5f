"""The NIC's walk over a batch, a part of kernels. device/nic.py says what it means; host_calls.py has what the host
does in between.

`walk` takes rows in order, or, when the host has been, those that were parked. Before each row it looks whether there
is room for all that the row may bring; if not, it returns what is short, and goes on at the same row when called again.
"""

from __future__ import annotations

from rxtls.crypto.compiled.evp import update
from rxtls.device.compiled.columns import Context, Lane, NicTables, Payload, Slot, Turn, Walk, as_context, as_lane
from rxtls.device.compiled.commands import act
from rxtls.device.compiled.engine import Landing, absorb, place
from rxtls.device.compiled.lanes import find_or_make, give_back, lane_of
from rxtls.device.compiled.lro import Segment, close, make_room, put, put_in_pieces, roomy
from rxtls.device.tracker import ELSEWHERE, NO_CONTEXT
from rxtls.intake.batch import (
    ACK,
    ACKED,
    EDGE,
    FLAGS,
    FLOW,
    FRAME,
    HOST_POINT_FLAGS,
    LEAF,
    LENGTH,
    OFFSET,
    PSH,
    SEQ,
    TIME,
)
from rxtls.intake.batch import CLOCK as ROW_CLOCK
from rxtls.native import Bytes, Table, copy, inlined, inner, signed32
from rxtls.offload.compiled.arena import LARGE, ArenaTables, Chunk, room
from rxtls.offload.mbuf import WIRE
from rxtls.seq import MASK

# What `walk` returns.
DONE, NO_ROOM, NO_CONNECTION = range(3)

# What a row is.
_ON, _POINT, _SKIPPED = range(3)

_ORDINARY = ACK | PSH  # flags that say nothing


@inlined
def _take_row(
    nic: NicTables, lane: Lane, keys: Table, arena: ArenaTables, rows: Table, i: int, source: int, length: int
) -> int:
    """Take one row; whether it is a host point."""
    frame, time, clock = rows[i, FRAME], rows[i, TIME], rows[i, ROW_CLOCK]
    seq, flags, leaf, edge = rows[i, SEQ], rows[i, FLAGS], rows[i, LEAF], rows[i, EDGE]
    nic.lanes[lane, Lane.CLOCK] = clock
    nic.lanes[lane, Lane.CLOCK_TIME] = time
    payload = Payload(seq, source, length, frame, time)
    told = nic.control[Walk.EVENTS]
    if nic.lanes[lane, Lane.FIRST_COMMAND] >= 0:
        act(nic, lane, clock, frame, time)
    mark = WIRE
    joinable = False
    split = 0
    if length > 0:
        # The flow rule stands on the leaf the receive tag was made for: packets on another one never meet it.
        c = as_context(nic.lanes[lane, Lane.CONTEXT])
        if c >= 0 and nic.contexts[c, Context.LEAF] != leaf:
            c = as_context(-1)
        joinable = flags & ~_ORDINARY == 0 and (edge < 0 or signed32(seq + length - edge) <= 0)
        if length > LARGE:
            first = second = nic.control[Walk.BLOCK]
        else:
            if not roomy(arena.chunks, nic.lanes[lane, Lane.CHUNK], length):
                ordinary = flags & ~_ORDINARY == 0
                split = make_room(arena, nic, lane, c, payload, ordinary)
            chunk = nic.lanes[lane, Lane.CHUNK]
            first = second = arena.chunks[chunk, Chunk.ADDRESS] + arena.chunks[chunk, Chunk.USED]
            if split > 0:
                second = arena.chunks[nic.lanes[lane, Lane.SPARE], Chunk.ADDRESS] - split
        plain = False
        if c >= 0:
            if nic.contexts[c, Context.LEFT] > length and nic.contexts[c, Context.EXPECTED] == seq:
                update(keys, nic.contexts[c, Context.KEY], first, source, length)
                nic.contexts[c, Context.LEFT] -= length
                nic.contexts[c, Context.EXPECTED] = (seq + length) & MASK
                plain = True
            else:
                was_in_order = nic.contexts[c, Context.IN_ORDER]
                begins = place(nic, c, payload)
                if begins >= 0:
                    good = absorb(nic, c, keys, payload, begins >> 1, Landing(first, second, split))
                    plain = good == 1 and begins & 1 == 1
                    if was_in_order == 0:
                        nic.lanes[lane, Lane.DIRTY] = 1  # bytes may be missing before it
        if plain:
            nic.contexts[c, Context.MARKED_TO] = (seq + length) & MASK
            mark = nic.contexts[c, Context.EPOCH]  # the one place where a mark is set
        else:
            nic.lanes[lane, Lane.DIRTY] = 1
            copy(first, source, split if split > 0 else length)
            if split > 0:
                copy(second + split, source + split, length - split)
    segment = Segment(seq, length, mark, leaf, flags, rows[i, ACKED], edge, frame, time)
    if split > 0 or length > LARGE:
        put_in_pieces(nic, lane, arena, nic.control[Walk.BLOCK], split, segment, joinable)
    else:
        put(nic, lane, arena, segment, joinable)
    if nic.control[Walk.WATCHED] == 1:
        nic.turns[i, Turn.MARK] = mark
        nic.turns[i, Turn.STATE] = _seen_state(nic.lanes, lane, nic.contexts, leaf)
    if nic.control[Walk.EVENTS] != told:
        nic.lanes[lane, Lane.NEWS] = nic.lanes[lane, Lane.DIRTY] = 1
    if flags & ~_ORDINARY != 0:
        nic.lanes[lane, Lane.DIRTY] = 1
    if flags & HOST_POINT_FLAGS != 0:
        return _POINT
    if clock % nic.lanes[lane, Lane.BUDGET] != 0:
        return _ON
    return _SKIPPED if _quiet(nic.lanes, lane, nic.contexts) else _POINT


@inner
def _seen_state(lanes: Table, lane: Lane, contexts: Table, leaf: int) -> int:
    """What driver/trace.py wants to know of the context behind a packet."""
    c = as_context(lanes[lane, Lane.CONTEXT])
    if c < 0:
        return NO_CONTEXT
    return contexts[c, Context.STATE] if contexts[c, Context.LEAF] == leaf else ELSEWHERE


@inner
def _quiet(lanes: Table, lane: Lane, contexts: Table) -> bool:
    """Whether serving the host now could do nothing to the device."""
    quiet = lanes[lane, Lane.QUIET]
    if quiet != 1:
        return quiet == 2
    c = as_context(lanes[lane, Lane.CONTEXT])
    return (
        c >= 0
        and lanes[lane, Lane.DIRTY] == 0
        and lanes[lane, Lane.FIRST_COMMAND] < 0
        and contexts[c, Context.IN_ORDER] == 1
        and contexts[c, Context.ODD] == 0
    )


@inner
def _list_skipped(nic: NicTables) -> None:
    """Lanes that skipped host points, and met none since at which they are served anyhow."""
    nic.control[Walk.SERVED_AT_ONCE] = nic.control[Walk.DUE]
    for n in range(nic.control[Walk.SKIPPED]):
        lane = nic.turns[n, Turn.SKIPPED_LANE]
        nic.lanes[lane, Lane.LISTED] = 0
        if nic.lanes[lane, Lane.SKIPPED_AT] >= 0:
            nic.turns[nic.control[Walk.DUE], Turn.DUE_FLOW] = 2 * nic.connections[lane >> 1, Slot.ID] + (lane & 1)
            nic.turns[nic.control[Walk.DUE], Turn.DUE_AT] = nic.lanes[lane, Lane.SKIPPED_AT]
            nic.turns[nic.control[Walk.DUE], Turn.DUE_SAID] = -1
            nic.control[Walk.DUE] += 1
    nic.control[Walk.SKIPPED] = 0


@inner
def walk(rows: Table, data: Bytes, nic: NicTables, keys: Table, arena: ArenaTables) -> int:
    """Take rows, whose payload lies in `data`, until each connection meets a host point.

    Where RESUMING, those parked of the connections in the turns' STOPPED_SLOT. Starts at the control row's AT and ends
    at COUNT: DONE, and then DUE host points are in the turns; or NO_ROOM, NO_CONNECTION.
    """
    address, size = data.ctypes.data, len(data)
    at, count = nic.control[Walk.AT], nic.control[Walk.COUNT]
    resuming = nic.control[Walk.RESUMING] == 1
    flow = -1
    slot, lane = 0, as_lane(0)
    while at < count:
        if resuming:
            slot = nic.turns[at, Turn.STOPPED_SLOT]
            i = nic.connections[slot, Slot.FIRST_PARKED]
            if i < 0:
                nic.connections[slot, Slot.STOPPED_AT] = -1
                if nic.connections[slot, Slot.FORGOTTEN] == 1:
                    give_back(nic, slot)
                at += 1
                continue
            flow = rows[i, FLOW]
            lane = lane_of(slot, flow)
        else:
            i = at
            if rows[i, FLOW] != flow:
                flow = rows[i, FLOW]
                slot = find_or_make(nic, flow >> 1)
                if slot < 0:
                    nic.control[Walk.AT] = at
                    return NO_CONNECTION
                lane = lane_of(slot, flow)
            if nic.connections[slot, Slot.STOPPED_AT] >= 0:
                nic.turns[i, Turn.NEXT_PARKED] = -1
                if nic.connections[slot, Slot.FIRST_PARKED] < 0:
                    nic.connections[slot, Slot.FIRST_PARKED] = i
                else:
                    nic.turns[nic.connections[slot, Slot.LAST_PARKED], Turn.NEXT_PARKED] = i
                nic.connections[slot, Slot.LAST_PARKED] = i
                at += 1
                continue
        offset, length = rows[i, OFFSET], rows[i, LENGTH]
        if offset < 0 or length < 0 or length > size - offset:
            length = max(0, size - offset) if offset >= 0 and length > 0 else 0
        needed = 3 + length // LARGE
        if (
            not room(arena.control, needed, needed)
            or len(nic.events) - nic.control[Walk.EVENTS] < 8 + nic.lanes[lane, Lane.PENDING] + (length >> 4)
            or (length > LARGE and length > nic.control[Walk.BLOCK_SIZE])
        ):
            nic.control[Walk.AT] = at
            nic.control[Walk.NEEDED] = length
            return NO_ROOM
        if resuming:
            nic.connections[slot, Slot.FIRST_PARKED] = nic.turns[i, Turn.NEXT_PARKED]
            nic.connections[slot, Slot.FORGOTTEN] = 0
        else:
            at += 1
        point = _take_row(nic, lane, keys, arena, rows, i, address + offset, length)
        if point == _ON:
            continue
        close(nic.lanes, lane, arena.extents, i)
        if point == _SKIPPED:
            nic.lanes[lane, Lane.SKIPPED_AT] = i
            if nic.lanes[lane, Lane.LISTED] == 0:
                nic.lanes[lane, Lane.LISTED] = 1
                nic.turns[nic.control[Walk.SKIPPED], Turn.SKIPPED_LANE] = lane
                nic.control[Walk.SKIPPED] += 1
            continue
        nic.lanes[lane, Lane.SKIPPED_AT] = -1
        nic.connections[slot, Slot.STOPPED_AT] = i
        nic.turns[nic.control[Walk.STOPPED], Turn.STOPPED_SLOT] = slot
        nic.control[Walk.STOPPED] += 1
        nic.turns[nic.control[Walk.DUE], Turn.DUE_FLOW] = flow
        nic.turns[nic.control[Walk.DUE], Turn.DUE_AT] = i
        nic.turns[nic.control[Walk.DUE], Turn.DUE_SAID] = -1
        nic.control[Walk.DUE] += 1
        if resuming:
            at += 1
    nic.control[Walk.AT] = at
    _list_skipped(nic)
    return DONE
