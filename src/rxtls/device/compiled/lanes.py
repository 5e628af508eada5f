"""Connections and their lanes: found by receive flow, made when first heard of, given back by `forget`.

Ids of connections only ever grow, so their low bits spread them over the buckets as well as any hash.
"""

from __future__ import annotations

import numpy as np

from rxtls.device.compiled.columns import (
    BUDGET,
    CHUNK,
    CLOSED_HEAD,
    CLOSED_TAIL,
    CONTEXT,
    DEAD_CONTEXT,
    FIRST_COMMAND,
    FIRST_PARKED,
    FORGOTTEN,
    FREE_CONNECTION,
    HEAD,
    ID,
    LANE_COLUMNS,
    LAST_COMMAND,
    LAST_PARKED,
    NEXT_CONNECTION,
    NEXT_CONTEXT,
    RUN,
    SKIPPED_AT,
    SPARE,
    STOPPED_AT,
    TAIL,
    Context,
    Lane,
)
from rxtls.native import Array, Row, Table, inner, kernel

_NEW_LANE = np.zeros(LANE_COLUMNS, np.int64)
_NEW_LANE[[CONTEXT, FIRST_COMMAND, LAST_COMMAND, CHUNK, SPARE, RUN, HEAD, TAIL, CLOSED_HEAD, CLOSED_TAIL]] = -1
_NEW_LANE[SKIPPED_AT] = -1
_NEW_LANE[BUDGET] = 1  # a connection's handshake must be seen in frame order by both sides


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
    return Lane(2 * slot + (flow & 1))


@inner
def find(connections: Table, buckets: Row, connection: int) -> int:
    """The slot of a connection, or -1."""
    slot = buckets[connection & (len(buckets) - 1)]
    while slot >= 0 and connections[slot, ID] != connection:
        slot = connections[slot, NEXT_CONNECTION]
    return slot


@inner
def find_or_make(control: Row, connections: Table, buckets: Row, lanes: Table, connection: int) -> int:
    """The slot of a connection, a new one if need be; -1 when all are taken."""
    slot = find(connections, buckets, connection)
    if slot < 0:
        slot = control[FREE_CONNECTION]
        if slot < 0:
            return slot
        control[FREE_CONNECTION] = connections[slot, NEXT_CONNECTION]
        bucket = connection & (len(buckets) - 1)
        connections[slot, ID] = connection
        connections[slot, NEXT_CONNECTION] = buckets[bucket]
        connections[slot, STOPPED_AT] = -1
        connections[slot, FIRST_PARKED] = -1
        connections[slot, LAST_PARKED] = -1
        buckets[bucket] = slot
        renew(lanes, lane_of(slot, 0))
        renew(lanes, lane_of(slot, 1))
    connections[slot, FORGOTTEN] = 0
    return slot


@inner
def renew(lanes: Table, lane: Lane) -> None:
    """Make the lane as new."""
    for column in range(LANE_COLUMNS):
        lanes[lane, column] = _NEW_LANE[column]


@inner
def give_back(control: Row, connections: Table, buckets: Row, slot: int) -> None:
    """Free a slot."""
    bucket = connections[slot, ID] & (len(buckets) - 1)
    before = buckets[bucket]
    if before == slot:
        buckets[bucket] = connections[slot, NEXT_CONNECTION]
    else:
        while connections[before, NEXT_CONNECTION] != slot:
            before = connections[before, NEXT_CONNECTION]
        connections[before, NEXT_CONNECTION] = connections[slot, NEXT_CONNECTION]
    connections[slot, ID] = -1
    connections[slot, NEXT_CONNECTION] = control[FREE_CONNECTION]
    control[FREE_CONNECTION] = slot


@inner
def bury(control: Row, contexts: Table, c: Context) -> None:
    """A context ends; its keys are released when the kernel has returned."""
    contexts[c, NEXT_CONTEXT] = control[DEAD_CONTEXT]
    control[DEAD_CONTEXT] = c


@kernel
def rehash(connections: Table, buckets: Row) -> None:
    """Chain all connections anew, into buckets that are a power of two."""
    for bucket in range(len(buckets)):
        buckets[bucket] = -1
    for slot in range(len(connections)):
        if connections[slot, ID] >= 0:
            bucket = connections[slot, ID] & (len(buckets) - 1)
            connections[slot, NEXT_CONNECTION] = buckets[bucket]
            buckets[bucket] = slot
