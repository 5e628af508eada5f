"""The doors into the compiled host: serve a direction, and let go of the records that were handed up. Tables are those
of points.py."""

from __future__ import annotations

from rxtls.host.compiled import points, reassembly
from rxtls.host.compiled.columns import Delivered
from rxtls.host.compiled.state import Desk, Own
from rxtls.host.compiled.worker import detach
from rxtls.native import Grid, Row, Table, kernel
from rxtls.offload.compiled.arena import release_chunk


@kernel
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
    """points.serve: the host points that are due."""
    return points.serve(head, control, chunks, arrivals, extents, keys, records, own, desk)


@kernel
def waits(extents: Table, own: Row) -> int:
    """points.waits: whether something waits on which a later host point may act."""
    return points.waits(extents, own)


@kernel
def pass_hole(control: Row, chunks: Table, arrivals: Grid, extents: Table, own: Row, desk: Row) -> None:
    """reassembly.pass_hole: the chain is empty, and goes on behind the hole."""
    reassembly.pass_hole(control, chunks, arrivals, extents, own, desk)


@kernel
def drop(length: int, control: Row, chunks: Table, extents: Table, own: Row) -> None:
    """Take bytes off the chain that belong to no whole record."""
    own[Own.TLSCC] -= length
    detach(control, chunks, extents, own, length)


@kernel
def release(control: Row, chunks: Table, records: Table, desk: Row) -> None:
    """Let go of all records' chunks, and of the one that plaintext is joined in; the records table is empty then."""
    for n in range(desk[Desk.FILLED]):
        if records[n, Delivered.CHUNK] >= 0:
            release_chunk(control, chunks, records[n, Delivered.CHUNK])
    desk[Desk.FILLED] = 0
    if desk[Desk.JOINS] >= 0:
        release_chunk(control, chunks, desk[Desk.JOINS])
        desk[Desk.JOINS] = -1
