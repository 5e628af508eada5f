"""The doors into the compiled host: serve a direction, and let go of the records that were handed up. Tables are those
of host_points.py."""

from __future__ import annotations

from rxtls.host.compiled import host_points, reassembly
from rxtls.host.compiled.columns import Delivered
from rxtls.host.compiled.state import Desk, HostTables, Own
from rxtls.host.compiled.worker import detach
from rxtls.native import Row, Table, kernel
from rxtls.offload.compiled.arena import ArenaTables, release_chunk


@kernel
def serve(head: int, arena: ArenaTables, keys: Table, host: HostTables, own: Row) -> int:
    """host_points.serve: the host points that are due."""
    return host_points.serve(head, arena, keys, host, own)


@kernel
def waits(extents: Table, own: Row) -> int:
    """host_points.waits: whether something waits on which a later host point may act."""
    return host_points.waits(extents, own)


@kernel
def pass_hole(arena: ArenaTables, own: Row, desk: Row) -> None:
    """reassembly.pass_hole: the chain is empty, and goes on behind the hole."""
    reassembly.pass_hole(arena, own, desk)


@kernel
def drop(length: int, arena: ArenaTables, own: Row) -> None:
    """Take bytes off the chain that belong to no whole record."""
    own[Own.TLSCC] -= length
    detach(arena, own, length)


@kernel
def release(arena: ArenaTables, host: HostTables) -> None:
    """Let go of all records' chunks, and of the one that plaintext is joined in; the records table is empty then."""
    for n in range(host.desk[Desk.FILLED]):
        if host.records[n, Delivered.CHUNK] >= 0:
            release_chunk(arena.control, arena.chunks, host.records[n, Delivered.CHUNK])
    host.desk[Desk.FILLED] = 0
    if host.desk[Desk.JOINS] >= 0:
        release_chunk(arena.control, arena.chunks, host.desk[Desk.JOINS])
        host.desk[Desk.JOINS] = -1
