"""Host points of a direction, one after the other, as a part of kernels: input, settle, worker.

`own` is the direction's row and `desk` what all share (state.py); the other tables are the arena's, the key table's and
that of the records (columns.py).
"""

from __future__ import annotations

from rxtls.host.compiled.behind import try_next
from rxtls.host.compiled.reassembly import receive, settle, unusual
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
    Own,
)
from rxtls.host.compiled.worker import work
from rxtls.native import Grid, Row, Table, inlined, inner
from rxtls.offload.compiled.arena import AHEAD, Extent, Stock

LOOKED_AT = 64  # extents of a record that is not whole; one that has more counts as not decrypted


@inner
def serve(
    head: int,
    control: Row,
    chunks: Table,
    arrivals: Grid,
    extents: Table,
    keys: Table,
    records: Table,
    own: Row,
    desk: Row,
) -> int:
    """Take the extents from `head` on (-1: go on with what is pending), group by group: input, settle, worker.

    A group that is AHEAD of its host point is not settled: only its records come out.
    Returns one of DONE, RECORD, LEAVE, GROW, HOLE, the bits that go with it, and FILLED << SHIFT. However it ends,
    calling it again with -1 goes on at just that place.
    """
    desk[Desk.SAID] = SERVED
    if head >= 0:
        own[Own.PENDING] = head
    status = DONE
    while status == DONE and (own[Own.PHASE] != IDLE or own[Own.PENDING] >= 0):
        if own[Own.PHASE] == IDLE:
            own[Own.POINT] = extents[own[Own.PENDING], Extent.POINT]
            own[Own.PHASE] = INPUT
        if own[Own.PHASE] == INPUT:
            status = _input(control, chunks, arrivals, extents, own, desk)
            if status == DONE:
                own[Own.PHASE] = WORK
        if own[Own.PHASE] == WORK:
            if own[Own.RECOVERING] == 0:
                status = work(control, chunks, arrivals, extents, keys, records, own, desk)
            if status == DONE:
                if own[Own.DUE] != 0:
                    status = HOLE
                    own[Own.FOUND] = try_next(chunks, extents, keys, own, desk) if own[Own.RECOVERING] == 0 else -1
                elif own[Own.RECOVERING] != 0 and own[Own.TLSCC] != own[Own.SEARCHED]:
                    status = HOLE
                else:
                    own[Own.PHASE] = IDLE
    if own[Own.NEW_LEAF] >= 0:
        desk[Desk.SAID] |= LEAF_CHANGED
    return desk[Desk.FILLED] << SHIFT | desk[Desk.SAID] | status


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
def _input(control: Row, chunks: Table, arrivals: Grid, extents: Table, own: Row, desk: Row) -> int:
    """The rest of the group at POINT into reassembly, which then is settled, if POINT is a host point."""
    while own[Own.PENDING] >= 0 and extents[own[Own.PENDING], Extent.POINT] == own[Own.POINT]:
        node = own[Own.PENDING]
        if unusual(extents, own, node):
            return LEAVE
        if control[Stock.EXTENTS_LEFT] <= own[Own.HELD_COUNT]:
            return GROW
        own[Own.PENDING] = extents[node, Extent.NEXT]
        receive(control, chunks, arrivals, extents, own, node)
    if own[Own.POINT] != AHEAD:
        settle(own, desk)
    return DONE
