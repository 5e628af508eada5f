"""What the host does to a lane between two walks, as kernels: the calls of device/nic.py's Nic."""

from __future__ import annotations

from typing import NamedTuple

from rxtls.device.compiled.columns import Context, Lane, NicTables, Slot, Waiting, Walk
from rxtls.device.compiled.commands import cancel, enqueue
from rxtls.device.compiled.lanes import find, find_or_make, give_back, lane_of, renew
from rxtls.device.compiled.lro import close, drop
from rxtls.native import Row, Table, inner, kernel
from rxtls.offload.compiled.arena import AHEAD, ArenaTables, Chunk, release_chunk

_NEVER = (1 << 63) - 1


@inner
def unlink(nic: NicTables, lane: Lane, extents: Table) -> int:
    """Unlink what a lane's host is served with now, and give its first extent.

    After skipped host points that is what came up to the last of them, else all.
    """
    if nic.lanes[lane, Lane.SKIPPED_AT] >= 0:
        nic.lanes[lane, Lane.SKIPPED_AT] = -1
    else:
        close(nic.lanes, lane, extents, nic.connections[lane >> 1, Slot.STOPPED_AT])
        nic.lanes[lane, Lane.NEWS] = nic.lanes[lane, Lane.DIRTY] = 0
        if nic.lanes[lane, Lane.CONTEXT] >= 0:
            nic.contexts[nic.lanes[lane, Lane.CONTEXT], Context.ODD] = 0
    head = nic.lanes[lane, Lane.CLOSED_HEAD]
    nic.lanes[lane, Lane.CLOSED_HEAD] = nic.lanes[lane, Lane.CLOSED_TAIL] = -1
    return head


@inner
def unlink_ahead(lanes: Table, lane: Lane, extents: Table) -> int:
    """The same between host points: all that there is. The lane is not served by that: what it has to tell stays."""
    close(lanes, lane, extents, AHEAD)
    head = lanes[lane, Lane.CLOSED_HEAD]
    lanes[lane, Lane.CLOSED_HEAD] = lanes[lane, Lane.CLOSED_TAIL] = -1
    return head


@kernel
def detach_ahead(nic: NicTables, extents: Table, flow: int) -> int:
    """The same for a flow; -1 also when there is none."""
    slot = find(nic.connections, nic.buckets, flow >> 1)
    return unlink_ahead(nic.lanes, lane_of(slot, flow), extents) if slot >= 0 else slot


@kernel
def detach(nic: NicTables, extents: Table, flow: int) -> int:
    """The same for a flow; -1 also when there is none."""
    slot = find(nic.connections, nic.buckets, flow >> 1)
    return unlink(nic, lane_of(slot, flow), extents) if slot >= 0 else slot


@kernel
def set_column(nic: NicTables, flow: int, column: int, value: int, make: bool) -> int:
    """Set one column of a flow's lane, which without `make` has to be there; -1 when none is, or can be made."""
    slot = find_or_make(nic, flow >> 1) if make else find(nic.connections, nic.buckets, flow >> 1)
    if slot >= 0:
        nic.lanes[lane_of(slot, flow), column] = value
    return slot


@kernel
def clock(nic: NicTables, flow: int) -> int:
    """The flow's own clock at its last row; 0 of one that is not there."""
    slot = find_or_make(nic, flow >> 1)
    return nic.lanes[lane_of(slot, flow), Lane.CLOCK] if slot >= 0 else 0


class Posted(NamedTuple):
    """A command, as it waits: Waiting.KIND to Waiting.CONTEXT."""

    kind: int
    epoch: int
    tcp_sn: int
    number: int
    context: int


@kernel
def post(nic: NicTables, flow: int, posted: Posted, packets: int, nanoseconds: int) -> int:
    """Let a command wait in its lane: it acts `packets` or `nanoseconds` from now on. -1 when there is no connection
    left to make, or no command."""
    slot = find_or_make(nic, flow >> 1)
    node = nic.control[Walk.FREE_COMMAND]
    if slot < 0 or node < 0:
        return -1
    nic.control[Walk.FREE_COMMAND] = nic.commands[node, Waiting.NEXT_COMMAND]
    lane = lane_of(slot, flow)
    nic.commands[node, Waiting.KIND] = posted.kind
    nic.commands[node, Waiting.DUE_CLOCK] = nic.lanes[lane, Lane.CLOCK] + packets
    nic.commands[node, Waiting.DUE_TIME] = nic.lanes[lane, Lane.CLOCK_TIME] + nanoseconds
    if nic.commands[node, Waiting.DUE_TIME] < nic.lanes[lane, Lane.CLOCK_TIME]:
        nic.commands[node, Waiting.DUE_TIME] = _NEVER
    nic.commands[node, Waiting.EPOCH] = posted.epoch
    nic.commands[node, Waiting.SN] = posted.tcp_sn
    nic.commands[node, Waiting.NUMBER] = posted.number
    nic.commands[node, Waiting.CONTEXT] = posted.context
    enqueue(nic.lanes, lane, nic.commands, node)
    return slot


@kernel
def release(nic: NicTables, flow: int) -> None:
    """Take a flow's receive tag away."""
    slot = find(nic.connections, nic.buckets, flow >> 1)
    if slot >= 0:
        cancel(nic, lane_of(slot, flow))


@kernel
def forget(nic: NicTables, arena: ArenaTables, connection: int) -> None:
    """The connection is over. What is parked of it will be as of a new one."""
    slot = find(nic.connections, nic.buckets, connection)
    if slot < 0:
        return
    for lane in (lane_of(slot, 0), lane_of(slot, 1)):
        drop(arena, nic.lanes, lane)
        cancel(nic, lane)
        renew(nic.lanes, lane)
    if nic.connections[slot, Slot.STOPPED_AT] >= 0:
        nic.connections[slot, Slot.FORGOTTEN] = 1
    else:
        give_back(nic, slot)


@kernel
def reclaim(connections: Table, lanes: Table, arena_control: Row, chunks: Table) -> int:
    """Give back the chunks of lanes that have nothing in them; how many."""
    given = 0
    for lane in range(len(lanes)):
        chunk = lanes[lane, Lane.CHUNK]
        if connections[lane >> 1, Slot.ID] >= 0 and chunk >= 0 and chunks[chunk, Chunk.REFS] == 1:
            release_chunk(arena_control, chunks, chunk)
            lanes[lane, Lane.CHUNK] = -1
            given += 1
    return given
