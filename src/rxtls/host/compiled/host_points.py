"""Host points of a direction, one after the other, as a part of kernels: input, settle, worker.

`own` is the direction's row, `host` what all directions share (state.py, columns.py), `keys` the key table's rows.
"""

from __future__ import annotations

from rxtls.host.compiled.reassembly import receive, settle, unusual
from rxtls.host.compiled.recovery import try_next
from rxtls.host.compiled.state import (
    DONE,
    GROW,
    HOLE,
    IDLE,
    INPUT,
    LEAF_CHANGED,
    LEAVE,
    SERVED,
    SHIFT,
    WORK,
    Desk,
    HostTables,
    Own,
)
from rxtls.host.compiled.worker import work
from rxtls.native import Row, Table, inlined, inner
from rxtls.offload.compiled.arena import AHEAD, ArenaTables, Extent, Stock

LOOKED_AT = 64  # extents of a record that is not whole; one that has more counts as not decrypted


@inner
def serve(head: int, arena: ArenaTables, keys: Table, host: HostTables, own: Row) -> int:
    """Take the extents from `head` on (-1: go on with what is pending), group by group: input, settle, worker.

    A group that is AHEAD of its host point is not settled: only its records come out.
    Returns one of DONE, RECORD, LEAVE, GROW, HOLE, the bits that go with it, and FILLED << SHIFT. However it ends,
    calling it again with -1 goes on at just that place.
    """
    host.desk[Desk.SAID] = SERVED
    if head >= 0:
        own[Own.PENDING] = head
    status = DONE
    while status == DONE and (own[Own.PHASE] != IDLE or own[Own.PENDING] >= 0):
        if own[Own.PHASE] == IDLE:
            own[Own.POINT] = arena.extents[own[Own.PENDING], Extent.POINT]
            own[Own.PHASE] = INPUT
        if own[Own.PHASE] == INPUT:
            status = _input(arena, own, host.desk)
            if status == DONE:
                own[Own.PHASE] = WORK
        if own[Own.PHASE] == WORK:
            if own[Own.RECOVERING] == 0:
                status = work(arena, keys, host, own)
            if status == DONE:
                if own[Own.DUE] != 0:
                    status = HOLE
                    own[Own.FOUND] = (
                        try_next(arena.chunks, arena.extents, keys, own, host.desk) if own[Own.RECOVERING] == 0 else -1
                    )
                elif own[Own.RECOVERING] != 0 and own[Own.TLSCC] != own[Own.SEARCHED]:
                    status = HOLE
                else:
                    own[Own.PHASE] = IDLE
    if own[Own.NEW_LEAF] >= 0:
        host.desk[Desk.SAID] |= LEAF_CHANGED
    return host.desk[Desk.FILLED] << SHIFT | host.desk[Desk.SAID] | status


@inner
def waits(extents: Table, own: Row) -> bool:
    """Whether a later host point may have something to report though all that comes is clean.

    It may where bytes are held behind a hole, where no record has been found behind the last one, and where the device
    has not decrypted all that has come of the next record. Of that record only LOOKED_AT extents are looked at.
    """
    if own[Own.HELD_HEAD] >= 0 or own[Own.RECOVERING] == 1:
        return True
    node = own[Own.CHAIN_HEAD]
    for _ in range(LOOKED_AT):
        if node < 0:
            return False
        mark = extents[node, Extent.MARK]
        if mark < own[Own.FIRST_EPOCH] or mark > own[Own.LAST_EPOCH]:
            return True
        node = extents[node, Extent.NEXT]
    return True


@inlined
def _input(arena: ArenaTables, own: Row, desk: Row) -> int:
    """The rest of the group at POINT into reassembly, which then is settled, if POINT is a host point."""
    while own[Own.PENDING] >= 0 and arena.extents[own[Own.PENDING], Extent.POINT] == own[Own.POINT]:
        node = own[Own.PENDING]
        if unusual(arena.extents, own, node):
            return LEAVE
        if arena.control[Stock.EXTENTS_LEFT] <= own[Own.HELD_COUNT]:
            return GROW
        own[Own.PENDING] = arena.extents[node, Extent.NEXT]
        receive(arena, own, node)
    if own[Own.POINT] != AHEAD:
        settle(own, desk)
    return DONE
