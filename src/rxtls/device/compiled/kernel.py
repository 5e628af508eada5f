"""The NIC by itself: a walk that stops wherever the host has to be served."""

from __future__ import annotations

from rxtls.device.compiled import walk as device
from rxtls.device.compiled.columns import NicTables
from rxtls.native import Bytes, Table, kernel
from rxtls.offload.compiled.arena import ArenaTables


@kernel
def walk(rows: Table, data: Bytes, nic: NicTables, keys: Table, arena: ArenaTables) -> int:
    return device.walk(rows, data, nic, keys, arena)
