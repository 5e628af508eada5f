"""What the host does to a lane between two walks, as kernels: the calls of device/nic.py's Nic."""

from __future__ import annotations

from rxtls.device.compiled.columns import Context, Lane, Slot, Waiting, Walk
from rxtls.device.compiled.commands import cancel, enqueue
from rxtls.device.compiled.lanes import find, find_or_make, give_back, lane_of, renew
from rxtls.device.compiled.lro import close, drop
from rxtls.native import Row, Table, inner, kernel
from rxtls.offload.compiled.arena import AHEAD, Chunk, release_chunk

_NEVER = (1 << 63) - 1


@inner
def unlink(connections: Table, lanes: Table, lane: Lane, contexts: Table, extents: Table) -> int:
    """Unlink what a lane's host is served with now, and give its first extent.

    After skipped host points that is what came up to the last of them, else all.
    """
    if lanes[lane, Lane.SKIPPED_AT] >= 0:
        lanes[lane, Lane.SKIPPED_AT] = -1
    else:
        close(lanes, lane, extents, connections[lane >> 1, Slot.STOPPED_AT])
        lanes[lane, Lane.NEWS] = lanes[lane, Lane.DIRTY] = 0
        if lanes[lane, Lane.CONTEXT] >= 0:
            contexts[lanes[lane, Lane.CONTEXT], Context.ODD] = 0
    head = lanes[lane, Lane.CLOSED_HEAD]
    lanes[lane, Lane.CLOSED_HEAD] = lanes[lane, Lane.CLOSED_TAIL] = -1
    return head


@inner
def unlink_ahead(lanes: Table, lane: Lane, extents: Table) -> int:
    """The same between host points: all that there is. The lane is not served by that: what it has to tell stays."""
    close(lanes, lane, extents, AHEAD)
    head = lanes[lane, Lane.CLOSED_HEAD]
    lanes[lane, Lane.CLOSED_HEAD] = lanes[lane, Lane.CLOSED_TAIL] = -1
    return head


@kernel
def detach_ahead(connections: Table, buckets: Row, lanes: Table, extents: Table, flow: int) -> int:
    """The same for a flow; -1 also when there is none."""
    slot = find(connections, buckets, flow >> 1)
    return unlink_ahead(lanes, lane_of(slot, flow), extents) if slot >= 0 else slot


@kernel
def detach(connections: Table, buckets: Row, lanes: Table, contexts: Table, extents: Table, flow: int) -> int:
    """The same for a flow; -1 also when there is none."""
    slot = find(connections, buckets, flow >> 1)
    return unlink(connections, lanes, lane_of(slot, flow), contexts, extents) if slot >= 0 else slot


@kernel
def set_column(
    control: Row, connections: Table, buckets: Row, lanes: Table, flow: int, column: int, value: int, make: int
) -> int:
    """Set one column of a flow's lane, which without `make` has to be there; -1 when none is, or can be made."""
    if make:
        slot = find_or_make(control, connections, buckets, lanes, flow >> 1)
    else:
        slot = find(connections, buckets, flow >> 1)
    if slot >= 0:
        lanes[lane_of(slot, flow), column] = value
    return slot


@kernel
def clock(control: Row, connections: Table, buckets: Row, lanes: Table, flow: int) -> int:
    """The flow's own clock at its last row; 0 of one that is not there."""
    slot = find_or_make(control, connections, buckets, lanes, flow >> 1)
    return lanes[lane_of(slot, flow), Lane.CLOCK] if slot >= 0 else 0


@kernel
def post(
    control: Row,
    connections: Table,
    buckets: Row,
    lanes: Table,
    commands: Table,
    flow: int,
    kind: int,
    packets: int,
    nanoseconds: int,
    epoch: int,
    tcp_sn: int,
    number: int,
    context: int,
) -> int:
    """Let a command wait in its lane: it acts `packets` or `nanoseconds` from now on. -1 when there is no connection
    left to make, or no command."""
    slot = find_or_make(control, connections, buckets, lanes, flow >> 1)
    node = control[Walk.FREE_COMMAND]
    if slot < 0 or node < 0:
        return -1
    control[Walk.FREE_COMMAND] = commands[node, Waiting.NEXT_COMMAND]
    lane = lane_of(slot, flow)
    commands[node, Waiting.KIND] = kind
    commands[node, Waiting.DUE_CLOCK] = lanes[lane, Lane.CLOCK] + packets
    commands[node, Waiting.DUE_TIME] = lanes[lane, Lane.CLOCK_TIME] + nanoseconds
    if commands[node, Waiting.DUE_TIME] < lanes[lane, Lane.CLOCK_TIME]:
        commands[node, Waiting.DUE_TIME] = _NEVER
    commands[node, Waiting.EPOCH] = epoch
    commands[node, Waiting.SN] = tcp_sn
    commands[node, Waiting.NUMBER] = number
    commands[node, Waiting.CONTEXT] = context
    enqueue(lanes, lane, commands, node)
    return slot


@kernel
def release(
    control: Row, connections: Table, buckets: Row, lanes: Table, contexts: Table, commands: Table, flow: int
) -> None:
    """Take a flow's receive tag away."""
    slot = find(connections, buckets, flow >> 1)
    if slot >= 0:
        cancel(control, lanes, lane_of(slot, flow), contexts, commands)


@kernel
def forget(
    control: Row,
    connections: Table,
    buckets: Row,
    lanes: Table,
    contexts: Table,
    commands: Table,
    arena_control: Row,
    chunks: Table,
    extents: Table,
    connection: int,
) -> None:
    """The connection is over. What is parked of it will be as of a new one."""
    slot = find(connections, buckets, connection)
    if slot < 0:
        return
    for lane in (lane_of(slot, 0), lane_of(slot, 1)):
        drop(arena_control, chunks, lanes, lane, extents)
        cancel(control, lanes, lane, contexts, commands)
        renew(lanes, lane)
    if connections[slot, Slot.STOPPED_AT] >= 0:
        connections[slot, Slot.FORGOTTEN] = 1
    else:
        give_back(control, connections, buckets, slot)


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
