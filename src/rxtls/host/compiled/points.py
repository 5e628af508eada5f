"""Host points of a direction, one after the other, as a part of kernels: input, settle, worker.

`own` is the direction's row and `desk` what all share (state.py); the other tables are the arena's, the key table's and
that of the records (columns.py).
"""

from __future__ import annotations

from rxtls.host.compiled.behind import try_next
from rxtls.host.compiled.reassembly import receive, settle, unusual
from rxtls.host.compiled.state import (
    CHAIN_HEAD,
    DONE,
    DUE,
    FILLED,
    FIRST_EPOCH,
    FOUND,
    GROW,
    HELD_COUNT,
    HELD_HEAD,
    HOLE,
    IDLE,
    INPUT,
    LAST_EPOCH,
    LEAF_CHANGED,
    LEAVE,
    NEW_LEAF,
    PENDING,
    PHASE,
    POINT,
    RECOVERING,
    SAID,
    SEARCHED,
    SERVED,
    SHIFT,
    TLSCC,
    WORK,
)
from rxtls.host.compiled.worker import work
from rxtls.native import Grid, Row, Table, inlined, inner
from rxtls.offload.compiled.arena import AHEAD, EXTENT_MARK, EXTENT_NEXT, EXTENT_POINT, EXTENTS_LEFT

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
    desk[SAID] = SERVED
    if head >= 0:
        own[PENDING] = head
    status = DONE
    while status == DONE and (own[PHASE] != IDLE or own[PENDING] >= 0):
        if own[PHASE] == IDLE:
            own[POINT] = extents[own[PENDING], EXTENT_POINT]
            own[PHASE] = INPUT
        if own[PHASE] == INPUT:
            status = _input(control, chunks, arrivals, extents, own, desk)
            if status == DONE:
                own[PHASE] = WORK
        if own[PHASE] == WORK:
            if own[RECOVERING] == 0:
                status = work(control, chunks, arrivals, extents, keys, records, own, desk)
            if status == DONE:
                if own[DUE] != 0:
                    status = HOLE
                    own[FOUND] = try_next(chunks, extents, keys, own, desk) if own[RECOVERING] == 0 else -1
                elif own[RECOVERING] != 0 and own[TLSCC] != own[SEARCHED]:
                    status = HOLE
                else:
                    own[PHASE] = IDLE
    if own[NEW_LEAF] >= 0:
        desk[SAID] |= LEAF_CHANGED
    return desk[FILLED] << SHIFT | desk[SAID] | status


@inner
def waits(extents: Table, own: Row) -> bool:
    """Whether a later host point may have something to report though all that comes is clean.

    It may where bytes are held behind a hole, where no record has been found behind the last one, and where the device
    has not decrypted all that has come of the next record. Of that record only LOOKED_AT extents are looked at.
    """
    if own[HELD_HEAD] >= 0 or own[RECOVERING] == 1:
        return True
    node = own[CHAIN_HEAD]
    for _ in range(LOOKED_AT):
        if node < 0:
            return False
        mark = extents[node, EXTENT_MARK]
        if mark < own[FIRST_EPOCH] or mark > own[LAST_EPOCH]:
            return True
        node = extents[node, EXTENT_NEXT]
    return True


@inlined
def _input(control: Row, chunks: Table, arrivals: Grid, extents: Table, own: Row, desk: Row) -> int:
    """The rest of the group at POINT into reassembly, which then is settled, if POINT is a host point."""
    while own[PENDING] >= 0 and extents[own[PENDING], EXTENT_POINT] == own[POINT]:
        node = own[PENDING]
        if unusual(extents, own, node):
            return LEAVE
        if control[EXTENTS_LEFT] <= own[HELD_COUNT]:
            return GROW
        own[PENDING] = extents[node, EXTENT_NEXT]
        receive(control, chunks, arrivals, extents, own, node)
    if own[POINT] != AHEAD:
        settle(own, desk)
    return DONE
