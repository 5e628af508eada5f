"""The hallway as one kernel, as far as it is nobody else's: the NIC walks, and host points of which there is nothing to
tell are served and passed.

    walk ──► host points ──► compiled host ──► anything to hear of? ── yes ──► path.py
      ^                                                │
      └────────── parked rows, on ◄── no ──────────────┘

While a hole is open, or a record is not whole, most host points are such: the bytes that came are held or wait, nothing
comes out, and neither policy nor receive tag has anything to do. Each of them would cost as much Python as dozens of
packets cost otherwise. Who has to hear of what, steady.py says (Own.LISTENING), and so all that is unusual stays there.
"""

from __future__ import annotations

from rxtls.device.compiled.calls import unlink, unlink_ahead
from rxtls.device.compiled.columns import Lane, Turn, Walk
from rxtls.device.compiled.lanes import find, lane_of
from rxtls.device.compiled.walk import DONE, walk
from rxtls.host.compiled.points import serve, waits
from rxtls.host.compiled.state import DELIVERED, SERVED, STATUS, Desk, Own
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
    for n in range(control[Walk.DUE]):
        flow = turns[n, Turn.DUE_FLOW]
        lane = lane_of(find(connections, buckets, flow >> 1), flow)
        at_once = n < control[Walk.SERVED_AT_ONCE]
        said = -1
        first = desk[Desk.FILLED]
        # What the device has to say comes before the host is served. Of host points that were skipped there is nothing.
        if lanes[lane, Lane.HOST] != 0 and not (at_once and lanes[lane, Lane.NEWS] == 1):
            own = row_at(lanes[lane, Lane.HOST], Own.COLUMNS)
            head = unlink(connections, lanes, lane, contexts, extents)
            said = serve(head, arena_control, chunks, arrivals, extents, keys, records, own, desk)
            if said & (STATUS | own[Own.LISTENING]) == 0:
                if waits(extents, own):
                    lanes[lane, Lane.DIRTY] = 1  # as steady.py does
                continue
        turns[kept, Turn.DUE_FLOW] = flow
        turns[kept, Turn.DUE_AT] = turns[n, Turn.DUE_AT]
        turns[kept, Turn.DUE_SAID] = said
        turns[kept, Turn.DUE_FIRST] = first
        kept += 1
        kept_at_once += at_once
    control[Walk.DUE] = kept
    control[Walk.SERVED_AT_ONCE] = kept_at_once


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
        if (
            lane < 0
            or (lanes[lane, Lane.HEAD] < 0 and lanes[lane, Lane.CLOSED_HEAD] < 0)
            or lanes[lane, Lane.LISTED] != 0
        ):
            continue
        said = -1
        first = desk[Desk.FILLED]
        if lanes[lane, Lane.HOST] != 0:
            own = row_at(lanes[lane, Lane.HOST], Own.COLUMNS)
            if own[Own.RECOVERING] != 0:
                continue
            head = unlink_ahead(lanes, lane, extents)
            said = serve(head, arena_control, chunks, arrivals, extents, keys, records, own, desk)
            heard = own[Own.LISTENING] & ~SERVED | (DELIVERED if lanes[lane, Lane.NEWS] == 1 else 0)
            if said & (STATUS | heard) == 0:
                continue
        lanes[lane, Lane.LISTED] = 1
        turns[count, Turn.DUE_FLOW] = flow
        turns[count, Turn.DUE_SAID] = said
        turns[count, Turn.DUE_FIRST] = first
        count += 1
    for n in range(count):
        flow = turns[n, Turn.DUE_FLOW]
        lanes[lane_of(find(connections, buckets, flow >> 1), flow), Lane.LISTED] = 0
    control[Walk.DUE] = count


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
    if control[Walk.RESUMING] == 2:
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
        if control[Walk.DUE] > 0 or control[Walk.STOPPED] == 0:
            return DONE
        control[Walk.COUNT] = control[Walk.STOPPED]
        control[Walk.AT] = control[Walk.STOPPED] = 0
        control[Walk.RESUMING] = 1
