"""The doors into the compiled host: serve a direction, and let go of the records that were handed up.

`own` is the direction's row and `desk` what all share (state.py); the other tables are the arena's, the key table's and
that of the records (columns.py).
"""

from __future__ import annotations

from rxtls.host.compiled import columns as record
from rxtls.host.compiled.reassembly import pass_hole, receive, settle, unusual
from rxtls.host.compiled.state import (
    DONE,
    DUE,
    FILLED,
    GROW,
    HELD_COUNT,
    IDLE,
    INPUT,
    JOINS,
    LEAF_CHANGED,
    LEAVE,
    NEW_LEAF,
    PENDING,
    PHASE,
    POINT,
    SAID,
    SHIFT,
    TLSCC,
    WORK,
)
from rxtls.host.compiled.worker import detach, work
from rxtls.native import inlined, kernel
from rxtls.offload.compiled.arena import EXTENT_NEXT, EXTENT_POINT, EXTENTS_LEFT, release_chunk


@inlined
def _input(control, chunks, extents, own):  # type: ignore[no-untyped-def]
    """The rest of the group at POINT into reassembly, which then is settled."""
    while own[PENDING] >= 0 and extents[own[PENDING], EXTENT_POINT] == own[POINT]:
        node = own[PENDING]
        if unusual(extents, own, node):
            return LEAVE
        if control[EXTENTS_LEFT] <= own[HELD_COUNT]:
            return GROW
        own[PENDING] = extents[node, EXTENT_NEXT]
        receive(control, chunks, extents, own, node)
    settle(own)
    return DONE


@kernel(
    "int64(int64, int64[::1], int64[:, ::1], int64[:, :, ::1], int64[:, ::1], int64[:, ::1], int64[:, ::1],"
    " int64[::1], int64[::1])"
)
def serve(head, control, chunks, arrivals, extents, keys, records, own, desk):  # type: ignore[no-untyped-def]
    """Take the extents from `head` on (-1: go on with what is pending), group by group: input, settle, worker.

    Returns one of DONE, RECORD, LEAVE, GROW, the bits that go with it, and FILLED << SHIFT. However it ends, calling it
    again with -1 goes on at just that place.
    """
    desk[SAID] = 0
    if head >= 0:
        own[PENDING] = head
    status = DONE
    while status == DONE and (own[PHASE] != IDLE or own[PENDING] >= 0):
        if own[PHASE] == IDLE:
            own[POINT] = extents[own[PENDING], EXTENT_POINT]
            own[PHASE] = INPUT
        if own[PHASE] == INPUT:
            status = _input(control, chunks, extents, own)
            if status == DONE:
                own[PHASE] = WORK
        if own[PHASE] == WORK:
            status = work(control, chunks, arrivals, extents, keys, records, own, desk)
            if status == DONE:
                if own[DUE] != 0:
                    status = LEAVE
                else:
                    own[PHASE] = IDLE
    if own[NEW_LEAF] >= 0:
        desk[SAID] |= LEAF_CHANGED
    return desk[FILLED] << SHIFT | desk[SAID] | status


@kernel("void(int64, int64[::1], int64[:, ::1], int64[:, ::1], int64[::1])")
def cross(offset, control, chunks, extents, own):  # type: ignore[no-untyped-def]
    """Go on behind the hole that is due, `offset` bytes from where the stream does; the chain's bytes are dropped."""
    detach(control, chunks, extents, own, own[TLSCC])
    own[TLSCC] = 0
    pass_hole(control, chunks, extents, own)
    detach(control, chunks, extents, own, offset)
    own[TLSCC] -= offset


@kernel("void(int64[::1], int64[:, ::1], int64[:, ::1], int64[::1])")
def release(control, chunks, records, desk):  # type: ignore[no-untyped-def]
    """Let go of all records' chunks, and of the one that plaintext is joined in; the records table is empty then."""
    for n in range(desk[FILLED]):
        if records[n, record.CHUNK] >= 0:
            release_chunk(control, chunks, records[n, record.CHUNK])
    desk[FILLED] = 0
    if desk[JOINS] >= 0:
        release_chunk(control, chunks, desk[JOINS])
        desk[JOINS] = -1
