"""The NIC by itself: a walk that stops wherever the host has to be served."""

from __future__ import annotations

from rxtls.device.compiled import walk as device
from rxtls.native import Bytes, Grid, Row, Table, kernel


@kernel
def walk(
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
) -> int:
    return device.walk(
        rows, data, control, connections, buckets, lanes, contexts, commands, events, keys, turns, arena_control,
        chunks, arrivals, extents,
    )  # fmt: skip
