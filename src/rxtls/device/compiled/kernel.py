"""The NIC by itself: a walk that stops wherever the host has to be served."""

from __future__ import annotations

from rxtls.device.compiled import walk as device
from rxtls.device.compiled.walk import TABLES
from rxtls.native import kernel


@kernel(f"int64({TABLES})")
def walk(  # type: ignore[no-untyped-def]
    rows, data, control, connections, buckets,
    lanes, contexts, commands, events, keys, turns, arena_control,
    chunks, arrivals, extents,
):  # fmt: skip
    return device.walk(
        rows, data, control, connections, buckets, lanes, contexts, commands, events, keys, turns, arena_control,
        chunks, arrivals, extents,
    )  # fmt: skip
