"""Connections and their lanes: found by receive flow, made when first heard of, given back by `forget`.

Ids of connections only ever grow, so their low bits spread them over the buckets as well as any hash.
"""

from __future__ import annotations

import numpy as np

from rxtls.device.compiled.columns import Context, Lane, NicTables, Slot, Walk, as_lane
from rxtls.native import Array, Row, Table, inner, kernel

_NEW_LANE = np.zeros(Lane.COLUMNS, np.int64)
_NEW_LANE[
    [
        Lane.CONTEXT,
        Lane.FIRST_COMMAND,
        Lane.LAST_COMMAND,
        Lane.CHUNK,
        Lane.SPARE,
        Lane.RUN,
        Lane.HEAD,
        Lane.TAIL,
        Lane.CLOSED_HEAD,
        Lane.CLOSED_TAIL,
    ]
] = -1
_NEW_LANE[Lane.SKIPPED_AT] = -1
_NEW_LANE[Lane.BUDGET] = 1  # a connection's handshake must be seen in frame order by both sides


def chained(table: Array, more: int, head: int, following: int) -> Array:
    """`table` with `more` rows, the new ones chained by the column `following` before the row `head`."""
    had = len(table)
    grown = np.vstack((table, np.zeros((more, table.shape[1]), np.int64)))
    grown[had:, following] = np.arange(had + 1, had + more + 1)
    grown[-1, following] = head
    return grown


@inner
def lane_of(slot: int, flow: int) -> Lane:
    """The lane of a receive flow whose connection has this slot; below 0 where that is."""
    return as_lane(2 * slot + (flow & 1))


@inner
def find(connections: Table, buckets: Row, connection: int) -> int:
    """The slot of a connection, or -1."""
    slot = buckets[connection & (len(buckets) - 1)]
    while slot >= 0 and connections[slot, Slot.ID] != connection:
        slot = connections[slot, Slot.NEXT_CONNECTION]
    return slot


@inner
def find_or_make(nic: NicTables, connection: int) -> int:
    """The slot of a connection, a new one if need be; -1 when all are taken."""
    slot = find(nic.connections, nic.buckets, connection)
    if slot < 0:
        slot = nic.control[Walk.FREE_CONNECTION]
        if slot < 0:
            return slot
        nic.control[Walk.FREE_CONNECTION] = nic.connections[slot, Slot.NEXT_CONNECTION]
        bucket = connection & (len(nic.buckets) - 1)
        nic.connections[slot, Slot.ID] = connection
        nic.connections[slot, Slot.NEXT_CONNECTION] = nic.buckets[bucket]
        nic.connections[slot, Slot.STOPPED_AT] = -1
        nic.connections[slot, Slot.FIRST_PARKED] = -1
        nic.connections[slot, Slot.LAST_PARKED] = -1
        nic.buckets[bucket] = slot
        renew(nic.lanes, lane_of(slot, 0))
        renew(nic.lanes, lane_of(slot, 1))
    nic.connections[slot, Slot.FORGOTTEN] = 0
    return slot


@inner
def renew(lanes: Table, lane: Lane) -> None:
    """Make the lane as new."""
    for column in range(Lane.COLUMNS):
        lanes[lane, column] = _NEW_LANE[column]


@inner
def give_back(nic: NicTables, slot: int) -> None:
    """Free a slot."""
    bucket = nic.connections[slot, Slot.ID] & (len(nic.buckets) - 1)
    before = nic.buckets[bucket]
    if before == slot:
        nic.buckets[bucket] = nic.connections[slot, Slot.NEXT_CONNECTION]
    else:
        while nic.connections[before, Slot.NEXT_CONNECTION] != slot:
            before = nic.connections[before, Slot.NEXT_CONNECTION]
        nic.connections[before, Slot.NEXT_CONNECTION] = nic.connections[slot, Slot.NEXT_CONNECTION]
    nic.connections[slot, Slot.ID] = -1
    nic.connections[slot, Slot.NEXT_CONNECTION] = nic.control[Walk.FREE_CONNECTION]
    nic.control[Walk.FREE_CONNECTION] = slot


@inner
def bury(control: Row, contexts: Table, c: Context) -> None:
    """A context ends; its keys are released when the kernel has returned."""
    contexts[c, Context.NEXT_CONTEXT] = control[Walk.DEAD_CONTEXT]
    control[Walk.DEAD_CONTEXT] = c


@kernel
def rehash(connections: Table, buckets: Row) -> None:
    """Chain all connections anew, into buckets that are a power of two."""
    for bucket in range(len(buckets)):
        buckets[bucket] = -1
    for slot in range(len(connections)):
        if connections[slot, Slot.ID] >= 0:
            bucket = connections[slot, Slot.ID] & (len(buckets) - 1)
            connections[slot, Slot.NEXT_CONNECTION] = buckets[bucket]
            buckets[bucket] = slot
