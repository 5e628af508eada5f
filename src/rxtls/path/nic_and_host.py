"""The hallway as one kernel, as far as it is nobody else's: the NIC walks, and host points of which there is nothing to
tell are served and passed.

    walk ──► host points ──► compiled host ──► anything to hear of? ── yes ──► receive.py
      ^                                                │
      └────────── parked rows, on ◄── no ──────────────┘

While a hole is open, or a record is not whole, most host points are such: the bytes that came are held or wait, nothing
comes out, and neither policy nor receive tag has anything to do. Each of them would cost as much Python as dozens of
packets cost otherwise. Who has to hear of what, compiled_host.py says (Own.LISTENING), and so all that is unusual stays
there.
"""

from __future__ import annotations

from rxtls.device.compiled.columns import Lane, NicTables, Turn, Walk
from rxtls.device.compiled.host_calls import unlink, unlink_ahead
from rxtls.device.compiled.lanes import find, lane_of
from rxtls.device.compiled.walk import DONE, walk
from rxtls.host.compiled.host_points import serve, waits
from rxtls.host.compiled.state import DELIVERED, SERVED, STATUS, Desk, HostTables, Own
from rxtls.intake.batch import FLOW
from rxtls.native import Bytes, Table, inner, kernel, row_at
from rxtls.offload.compiled.arena import ArenaTables


@inner
def _serve_due(nic: NicTables, keys: Table, arena: ArenaTables, host: HostTables) -> None:
    """Serve what the compiled host has of the host points that were found; those that somebody has to hear of stay."""
    kept = 0
    kept_at_once = 0
    for n in range(nic.control[Walk.DUE]):
        flow = nic.turns[n, Turn.DUE_FLOW]
        lane = lane_of(find(nic.connections, nic.buckets, flow >> 1), flow)
        at_once = n < nic.control[Walk.SERVED_AT_ONCE]
        said = -1
        first = host.desk[Desk.FILLED]
        # What the device has to say comes before the host is served. Of host points that were skipped there is nothing.
        if nic.lanes[lane, Lane.HOST] != 0 and not (at_once and nic.lanes[lane, Lane.NEWS] == 1):
            own = row_at(nic.lanes[lane, Lane.HOST], Own.COLUMNS)
            head = unlink(nic, lane, arena.extents)
            said = serve(head, arena, keys, host, own)
            if said & (STATUS | own[Own.LISTENING]) == 0:
                if waits(arena.extents, own):
                    nic.lanes[lane, Lane.DIRTY] = 1  # as compiled_host.py does
                continue
        nic.turns[kept, Turn.DUE_FLOW] = flow
        nic.turns[kept, Turn.DUE_AT] = nic.turns[n, Turn.DUE_AT]
        nic.turns[kept, Turn.DUE_SAID] = said
        nic.turns[kept, Turn.DUE_FIRST] = first
        kept += 1
        kept_at_once += at_once
    nic.control[Walk.DUE] = kept
    nic.control[Walk.SERVED_AT_ONCE] = kept_at_once


@inner
def _serve_ahead(rows: Table, nic: NicTables, keys: Table, arena: ArenaTables, host: HostTables) -> None:
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
        lane = lane_of(find(nic.connections, nic.buckets, flow >> 1), flow)
        if (
            lane < 0
            or (nic.lanes[lane, Lane.HEAD] < 0 and nic.lanes[lane, Lane.CLOSED_HEAD] < 0)
            or nic.lanes[lane, Lane.LISTED] != 0
        ):
            continue
        said = -1
        first = host.desk[Desk.FILLED]
        if nic.lanes[lane, Lane.HOST] != 0:
            own = row_at(nic.lanes[lane, Lane.HOST], Own.COLUMNS)
            if own[Own.RECOVERING] != 0:
                continue
            head = unlink_ahead(nic.lanes, lane, arena.extents)
            said = serve(head, arena, keys, host, own)
            heard = own[Own.LISTENING] & ~SERVED | (DELIVERED if nic.lanes[lane, Lane.NEWS] == 1 else 0)
            if said & (STATUS | heard) == 0:
                continue
        nic.lanes[lane, Lane.LISTED] = 1
        nic.turns[count, Turn.DUE_FLOW] = flow
        nic.turns[count, Turn.DUE_SAID] = said
        nic.turns[count, Turn.DUE_FIRST] = first
        count += 1
    for n in range(count):
        flow = nic.turns[n, Turn.DUE_FLOW]
        nic.lanes[lane_of(find(nic.connections, nic.buckets, flow >> 1), flow), Lane.LISTED] = 0
    nic.control[Walk.DUE] = count


@kernel
def onward(rows: Table, data: Bytes, nic: NicTables, keys: Table, arena: ArenaTables, host: HostTables) -> int:
    """Take rows as device/compiled/walk.py does, until somebody has to hear of a host point, or all are taken. Where
    RESUMING is 2, serve ahead instead.

    What stands in the turns at the end are those host points. `host` has what the compiled host serves with.
    """
    if nic.control[Walk.RESUMING] == 2:
        _serve_ahead(rows, nic, keys, arena, host)
        return DONE
    while True:
        short = walk(rows, data, nic, keys, arena)
        if short != DONE:
            return short
        _serve_due(nic, keys, arena, host)
        if nic.control[Walk.DUE] > 0 or nic.control[Walk.STOPPED] == 0:
            return DONE
        nic.control[Walk.COUNT] = nic.control[Walk.STOPPED]
        nic.control[Walk.AT] = nic.control[Walk.STOPPED] = 0
        nic.control[Walk.RESUMING] = 1
