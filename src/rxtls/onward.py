"""The hallway as one kernel, as far as it is nobody else's: the NIC walks, and host points of which there is nothing to
tell are served and passed.

    walk ──► host points ──► compiled host ──► anything to hear of? ── yes ──► path.py
      ^                                                │
      └────────── parked rows, on ◄── no ──────────────┘

While a hole is open, or a record is not whole, most host points are such: the bytes that came are held or wait, nothing
comes out, and neither policy nor receive tag has anything to do. Each of them would cost as much Python as dozens of
packets cost otherwise. Who has to hear of what, steady.py says (LISTENING), and so all that is unusual stays there.
"""

from __future__ import annotations

from rxtls.device.compiled.calls import unlink, unlink_ahead
from rxtls.device.compiled.columns import (
    AT,
    CLOSED_HEAD,
    COUNT,
    DIRTY,
    DUE,
    DUE_AT,
    DUE_FIRST,
    DUE_FLOW,
    DUE_SAID,
    HEAD,
    HOST,
    LISTED,
    NEWS,
    RESUMING,
    SERVED_AT_ONCE,
    STOPPED,
)
from rxtls.device.compiled.lanes import find, lane_of
from rxtls.device.compiled.walk import DONE, walk
from rxtls.host.compiled.points import serve, waits
from rxtls.host.compiled.state import COLUMNS, DELIVERED, FILLED, LISTENING, RECOVERING, SERVED, STATUS
from rxtls.intake.batch import FLOW
from rxtls.native import Bytes, Grid, Row, Table, inner, kernel, row_at


@inner
def _serve_due(
    control: Row,
    connections: Table,
    buckets: Row,
    lanes: Table,
    contexts: Table,
    keys: Table,
    turns: Table,
    arena_control: Row,
    chunks: Table,
    arrivals: Grid,
    extents: Table,
    records: Table,
    desk: Row,
) -> None:
    """Serve what the compiled host has of the host points that were found; those that somebody has to hear of stay."""
    kept = 0
    kept_at_once = 0
    for n in range(control[DUE]):
        flow = turns[n, DUE_FLOW]
        lane = lane_of(find(connections, buckets, flow >> 1), flow)
        at_once = n < control[SERVED_AT_ONCE]
        said = -1
        first = desk[FILLED]
        # What the device has to say comes before the host is served. Of host points that were skipped there is nothing.
        if lanes[lane, HOST] != 0 and not (at_once and lanes[lane, NEWS] == 1):
            own = row_at(lanes[lane, HOST], COLUMNS)
            head = unlink(connections, lanes, lane, contexts, extents)
            said = serve(head, arena_control, chunks, arrivals, extents, keys, records, own, desk)
            if said & (STATUS | own[LISTENING]) == 0:
                if waits(extents, own):
                    lanes[lane, DIRTY] = 1  # as steady.py does
                continue
        turns[kept, DUE_FLOW] = flow
        turns[kept, DUE_AT] = turns[n, DUE_AT]
        turns[kept, DUE_SAID] = said
        turns[kept, DUE_FIRST] = first
        kept += 1
        kept_at_once += at_once
    control[DUE] = kept
    control[SERVED_AT_ONCE] = kept_at_once


@inner
def _serve_ahead(
    rows: Table,
    control: Row,
    connections: Table,
    buckets: Row,
    lanes: Table,
    keys: Table,
    turns: Table,
    arena_control: Row,
    chunks: Table,
    arrivals: Grid,
    extents: Table,
    records: Table,
    desk: Row,
) -> None:
    """Bring out the records that are whole, of all flows in the batch that are between two host points.

    Nothing is settled, and the lanes still have all to tell. In the turns are those of which somebody has to hear, and
    those that the compiled host has not.
    """
    count = 0
    flow = -1
    for i in range(len(rows)):
        if rows[i, FLOW] == flow:
            continue
        flow = rows[i, FLOW]
        lane = lane_of(find(connections, buckets, flow >> 1), flow)
        if lane < 0 or (lanes[lane, HEAD] < 0 and lanes[lane, CLOSED_HEAD] < 0) or lanes[lane, LISTED] != 0:
            continue
        said = -1
        first = desk[FILLED]
        if lanes[lane, HOST] != 0:
            own = row_at(lanes[lane, HOST], COLUMNS)
            if own[RECOVERING] != 0:
                continue
            head = unlink_ahead(lanes, lane, extents)
            said = serve(head, arena_control, chunks, arrivals, extents, keys, records, own, desk)
            heard = own[LISTENING] & ~SERVED | (DELIVERED if lanes[lane, NEWS] == 1 else 0)
            if said & (STATUS | heard) == 0:
                continue
        lanes[lane, LISTED] = 1
        turns[count, DUE_FLOW] = flow
        turns[count, DUE_SAID] = said
        turns[count, DUE_FIRST] = first
        count += 1
    for n in range(count):
        flow = turns[n, DUE_FLOW]
        lanes[lane_of(find(connections, buckets, flow >> 1), flow), LISTED] = 0
    control[DUE] = count


@kernel
def onward(
    rows: Table,
    data: Bytes,
    control: Row,
    connections: Table,
    buckets: Row,
    lanes: Table,
    contexts: Table,
    commands: Table,
    events: Table,
    keys: Table,
    turns: Table,
    arena_control: Row,
    chunks: Table,
    arrivals: Grid,
    extents: Table,
    records: Table,
    desk: Row,
) -> int:
    """Take rows as device/compiled/walk.py does, until somebody has to hear of a host point, or all are taken. Where
    RESUMING is 2, serve ahead instead.

    What stands in the turns at the end are those host points. `records` and `desk` are the compiled host's.
    """
    if control[RESUMING] == 2:
        _serve_ahead(
            rows, control, connections, buckets, lanes, keys, turns, arena_control, chunks, arrivals, extents, records,
            desk,
        )  # fmt: skip
        return DONE
    while True:
        short = walk(
            rows, data, control, connections, buckets, lanes, contexts, commands, events, keys, turns, arena_control,
            chunks, arrivals, extents,
        )  # fmt: skip
        if short != DONE:
            return short
        _serve_due(
            control, connections, buckets, lanes, contexts, keys, turns, arena_control, chunks, arrivals, extents,
            records, desk,
        )  # fmt: skip
        if control[DUE] > 0 or control[STOPPED] == 0:
            return DONE
        control[COUNT] = control[STOPPED]
        control[AT] = control[STOPPED] = 0
        control[RESUMING] = 1
