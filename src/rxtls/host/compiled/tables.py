"""What all directions share that the compiled host serves: arena, keys, the records that came out, and a desk."""

from __future__ import annotations

import numpy as np

from rxtls.crypto.compiled.key_table import KeyTable
from rxtls.host.compiled import kernel, state
from rxtls.host.compiled.columns import Delivered
from rxtls.host.compiled.state import Desk, HostTables
from rxtls.native.shapes import Array
from rxtls.offload.compiled.arena import Arena


class FastHost:
    """The first `filled` rows of `records` (columns.py) are what all promoted directions delivered since
    `release_records`, in order of the calls; each holds its chunk until then."""

    def __init__(self, arena: Arena, keys: KeyTable, rows: int = 1024) -> None:
        self.arena = arena
        self.keys = keys
        self.records: Array = np.zeros((rows, Delivered.COLUMNS), np.int64)
        self.desk: Array = np.zeros(Desk.COLUMNS, np.int64)
        self.account = self.desk.data[Desk.ACCOUNT :]  # of all that is held out of order; every host keeps it
        self._scratch = np.zeros(state.SCRATCH_LENGTH, np.uint8)
        self.desk[Desk.JOINS] = -1
        self.desk[Desk.SCRATCH] = self._scratch.ctypes.data
        self.tables = HostTables(self.records, self.desk)

    @property
    def filled(self) -> int:
        """How many records there are."""
        return int(self.desk[Desk.FILLED])

    def release_records(self) -> None:
        """Nobody reads the records any more."""
        if self.filled:
            kernel.release(self.arena.tables, self.tables)

    def grow(self) -> None:
        """What a kernel stopped for: a full records table, or too few extents or chunks."""
        if self.desk[Desk.FILLED] == len(self.records):
            self.records = np.vstack((self.records, np.zeros_like(self.records)))
            self.tables = HostTables(self.records, self.desk)
        self.arena.grow(extents=2 * state.MOST_HELD + 2)
