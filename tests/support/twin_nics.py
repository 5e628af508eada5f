"""Both NICs side by side: they are given the same, and have to give the same.

`Twins` has the interface of device/nic.py's Nic. What it compares: host points and their order, logs, answers, and of
what is flushed every byte with its place, mark, leaf, frame and time. Where LRO cut is compared with nothing; instead
each Mbuf is checked against the rows it is made of.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from rxtls.crypto.compiled.key_table import KeyTable
from rxtls.device.compiled.nic import CompiledNic
from rxtls.device.lro import MAX_RUN
from rxtls.device.nic import HostPoint, Nic
from rxtls.device.profiles import Profile
from rxtls.intake import batch as col
from rxtls.intake.batch import Row
from rxtls.native import Array
from rxtls.offload.commands import Command, DeviceEvent, Guess, Install, Progress
from rxtls.offload.compiled.arena import Arena, Chunk, Stock
from rxtls.offload.mbuf import Mbuf
from rxtls.seq import add, distance

Piece = tuple[int, bytes, int, int, int, int]  # seq, bytes, mark, leaf, frame, time
_ORDINARY = col.ACK | col.PSH


def pieces(mbufs: list[Mbuf]) -> list[Piece]:
    """The Mbufs' bytes, one piece for each stretch that came with one frame and has one mark, however they are cut."""
    found: list[Piece] = []
    for mbuf in mbufs:
        start = 0
        first = mbuf.seq + bool(mbuf.data and mbuf.flags & col.SYN)
        for end, frame, time_ns in mbuf.arrivals:
            piece = (add(first, start), mbuf.data[start:end], mbuf.mark, mbuf.leaf, frame, time_ns)
            last = found[-1] if found else None
            if last and last[1] and piece[1] and last[2:] == piece[2:] and add(last[0], len(last[1])) == piece[0]:
                piece = (last[0], last[1] + piece[1], *last[2:])
                found.pop()
            found.append(piece)
            start = end
        assert start == len(mbuf.data)
    return found


class Taken:
    """The rows of one flow that are not flushed yet."""

    def __init__(self) -> None:
        self.rows: deque[Row] = deque()
        self.begun = 0  # bytes of the first row that an Mbuf before had

    def check(self, mbufs: list[Mbuf]) -> None:
        """Each Mbuf is made of the next rows, and says what they say."""
        for mbuf in mbufs:
            at, flags, count = 0, 0, 0
            while not count or at < len(mbuf.data):
                row = self.rows[0]
                length = min(row[col.LENGTH] - self.begun, len(mbuf.data) - at)
                skipped = 1 if self.begun and row[col.FLAGS] & col.SYN else 0
                assert add(mbuf.seq, at) == add(row[col.SEQ], self.begun + skipped)
                assert mbuf.leaf == row[col.LEAF]
                last = self.begun + length == row[col.LENGTH]
                flags |= row[col.FLAGS] & ~(col.SYN | col.RST if self.begun else 0) & ~(0 if last else col.FIN)
                count += 1
                at += length
                if not length or at == len(mbuf.data):
                    assert (mbuf.acked, mbuf.edge) == (row[col.ACKED], row[col.EDGE])
                if count > 1:
                    assert _joinable(row), "a segment that has to stay alone was joined"
                if at < len(mbuf.data):
                    assert _joinable(row), "a segment that has to stay alone was joined"
                self.begun = 0 if last else self.begun + length
                if last:
                    self.rows.popleft()
            assert mbuf.flags == flags


def _joinable(row: Row) -> bool:
    edge = row[col.EDGE]
    beyond = edge >= 0 and distance(edge, add(row[col.SEQ], row[col.LENGTH])) > 0
    return not beyond and not row[col.FLAGS] & ~_ORDINARY and row[col.LENGTH] > 0


class Twins:
    """A Nic and a CompiledNic."""

    def __init__(self, profile: Profile, lro_limit: int = MAX_RUN) -> None:
        self.plain = Nic(profile, lro_limit)
        self.arena = Arena()
        self.keys = KeyTable()
        self.compiled = CompiledNic(profile, self.arena, self.keys, lro_limit)
        self._limit = lro_limit
        self._rows: list[Row] = []
        self._taken: dict[int, Taken] = {}
        self._connections: set[int] = set()
        self._data = b""

    def receive(self, rows: list[Row], data: bytes, stops: Sequence[int] = ()) -> list[HostPoint]:
        """As Nic; rows need no place at their end."""
        self._data = data
        for row in rows:
            self._connections.add(row[col.FLOW] >> 1)
            self._taken.setdefault(row[col.FLOW], Taken()).rows.append(row[: col.COLUMNS])
        placed = [[*row[: col.COLUMNS], position] for position, row in enumerate(rows)]
        due = self.plain.receive(placed, data, stops)
        assert self.compiled.receive(*as_arrays(rows, data), stops) == due
        return due

    def resume(self) -> list[HostPoint]:
        due = self.plain.resume(self._data)
        assert self.compiled.resume() == due
        return due

    def flush(self, flow: int) -> list[Mbuf]:
        """What the compiled one gives."""
        expected, found = self.plain.flush(flow), self.compiled.flush(flow)
        assert pieces(found) == pieces(expected)
        if found:
            self._taken[flow].check(found)
        return found

    def answers(self, flow: int) -> list[Progress | Guess]:
        found = self.compiled.answers(flow)
        assert found == self.plain.answers(flow)
        return found

    def clock(self, flow: int) -> int:
        found = self.compiled.clock(flow)
        assert found == self.plain.clock(flow)
        return found

    def log(self, flow: int) -> list[DeviceEvent]:
        found = self.compiled.log(flow)
        assert found == self.plain.log(flow)
        return found

    def set_budget(self, connection: int, budget: int) -> None:
        self._connections.add(connection)
        self.plain.set_budget(connection, budget)
        self.compiled.set_budget(connection, budget)

    def post(self, flow: int, command: Install | Command) -> None:
        self._connections.add(flow >> 1)
        self.plain.post(flow, command)
        self.compiled.post(flow, command)

    def release(self, flow: int) -> None:
        self.plain.release(flow)
        self.compiled.release(flow)

    def forget(self, connection: int) -> None:
        """Also drops what was not flushed."""
        self.plain.forget(connection)
        self.compiled.forget(connection)
        for flow in (2 * connection, 2 * connection + 1):
            taken = self._taken.get(flow)
            if taken:
                parked = sum(row[col.FLOW] == flow for row in self.parked(connection))
                while len(taken.rows) > parked:
                    taken.rows.popleft()
                taken.begun = 0

    def parked(self, connection: int) -> list[Row]:
        """The plain one's parked rows of a connection."""
        return list(self.plain._parked.get(connection, ()))

    def close(self) -> None:
        """Forget everything; then nothing of the arena and of the keys may be in use."""
        for connection in self._connections:
            self.compiled.forget(connection)
        assert_unused(self.arena)
        assert len(self.keys) == 0


def as_arrays(rows: list[Row], data: bytes) -> tuple[Array, np.ndarray[tuple[int], np.dtype[np.uint8]]]:
    """Rows and data as a compiled NIC takes them."""
    table = np.array([row[: col.COLUMNS] for row in rows], np.int64).reshape(-1, col.COLUMNS)
    return table, np.frombuffer(data, np.uint8)


def assert_unused(arena: Arena) -> None:
    """Nobody holds any chunk or extent."""
    assert arena.control[Stock.EXTENTS_LEFT] == len(arena.extents)
    left = arena.control[Stock.SMALL_LEFT] + arena.control[Stock.LARGE_LEFT]
    assert left == len(arena.chunks)
    assert not arena.chunks[:, Chunk.REFS].any()
