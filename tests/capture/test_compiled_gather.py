"""Gathering, against Python's own sort: which frames are taken, in which order, from where, and why it stops."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from rxtls.capture.compiled import gather as col
from rxtls.wire.compiled.columns import FrameRow, PacketRow

FOREVER = (1 << 63) - 1

Table = npt.NDArray[np.int64]


class Head(NamedTuple):
    """A capture that has walked ahead: its place as given, its frames, packets and data."""

    capture: int
    table: Table
    packets: Table
    data: npt.NDArray[np.uint8]

    def row(self, following: int) -> tuple[int, ...]:
        addresses = (each.ctypes.data for each in (self.table, self.packets, self.data))
        return *addresses, following, len(self.table), self.capture


class Gathered(NamedTuple):
    table: list[list[int]]
    packets: list[list[int]]
    data: bytes
    runs: list[list[int]]
    reason: int
    nexts: list[int]


def made(capture: int, frames: list[tuple[int, int]]) -> Head:
    """A capture with frames of (time, length), in which every value is another."""
    table = np.zeros((len(frames), FrameRow.COLUMNS), np.int64)
    packets = np.arange(len(frames) * PacketRow.COLUMNS, dtype=np.int64).reshape(-1, PacketRow.COLUMNS)
    data = np.frombuffer(
        bytes((7 * capture + n) & 0xFF for n in range(3 + sum(length for _, length in frames))), np.uint8
    )
    at = 3
    for n, (time_ns, length) in enumerate(frames):
        table[n] = (9_000 + n, time_ns, 10 * capture + n, 100 + capture, 2 * length, at, length, 1000 * capture + n)
        at += length
    return Head(capture, table, packets + 100_000 * capture, data)


def gathered(heads: list[Head], begun: list[int], rows: int, room: int, limit: int, before: int) -> Gathered:
    control = np.zeros(col.CONTROL_COLUMNS, np.int64)
    control[[col.ROOM, col.FIRST, col.LIMIT, col.BEFORE, col.REASON]] = (room, 500, limit, before, 77)
    table = np.zeros((rows, FrameRow.COLUMNS), np.int64)
    packets = np.zeros((rows, PacketRow.COLUMNS), np.int64)
    data = np.zeros(room + 1, np.uint8)
    runs = np.zeros((rows, 2), np.int64)
    places = np.array([head.row(following) for head, following in zip(heads, begun, strict=True)], np.int64)
    col.gather(control, places, table, packets.ctypes.data, data.ctypes.data, runs)
    count = int(control[col.FRAMES])
    assert data[room] == 0
    return Gathered(
        table[:count].tolist(), packets[:count].tolist(), data[: int(control[col.USED])].tobytes(),
        runs[: int(control[col.RUNS])].tolist(), int(control[col.REASON]), places[:, col.NEXT].tolist(),
    )  # fmt: skip


def expected(heads: list[Head], begun: list[int], rows: int, room: int, limit: int, before: int) -> Gathered:
    """The same, frame by frame."""
    nexts = list(begun)
    table: list[list[int]] = []
    packets: list[list[int]] = []
    runs: list[list[int]] = []
    data = b""
    while True:
        time_ns, capture, i = min(
            (int(head.table[nexts[i], FrameRow.TIME]), head.capture, i) for i, head in enumerate(heads)
        )
        if (time_ns, capture) >= (limit, before):
            return Gathered(table, packets, data, runs, col.LATER, nexts)
        head = heads[i]
        row = head.table[nexts[i]].tolist()
        at, length = row[FrameRow.OFFSET], row[FrameRow.LENGTH]
        if len(table) == rows or len(data) + length > room:
            return Gathered(table, packets, data, runs, col.FULL, nexts)
        row[FrameRow.INDEX], row[FrameRow.OFFSET] = 500 + len(table), len(data)
        table.append(row)
        packets.append(head.packets[nexts[i]].tolist())
        data += head.data[at : at + length].tobytes()
        if runs and runs[-1][0] == capture:
            runs[-1][1] += 1
        else:
            runs.append([capture, 1])
        nexts[i] += 1
        if nexts[i] == len(head.table):
            return Gathered(table, packets, data, runs, col.EMPTY, nexts)


frames = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9)), min_size=1, max_size=8).map(
    lambda each: sorted(each, key=lambda frame: frame[0])
)


@given(
    st.dictionaries(st.integers(0, 9), frames, min_size=1, max_size=4),
    st.integers(0, 12),
    st.integers(0, 60),
    st.one_of(st.just(FOREVER), st.integers(0, 7)),
    st.integers(0, 9),
    st.randoms(use_true_random=False),
)
def test_any_captures(
    captures: dict[int, list[tuple[int, int]]], rows: int, room: int, limit: int, before: int, dice: Random
) -> None:
    heads = [made(capture, captures[capture]) for capture in sorted(captures)]
    begun = [dice.randrange(len(head.table)) for head in heads]
    assert gathered(heads, begun, rows, room, limit, before) == expected(heads, begun, rows, room, limit, before)


def test_of_frames_of_one_time_that_of_the_capture_given_first_goes_first() -> None:
    heads = [made(3, [(5, 1), (5, 2), (9, 1)]), made(4, [(5, 3), (8, 1)])]
    came = gathered(heads, [0, 0], 9, 99, FOREVER, 0)
    assert [row[FrameRow.LINK] for row in came.table] == [103, 103, 104, 104]
    assert (came.runs, came.reason) == ([[3, 2], [4, 2]], col.EMPTY)


def test_at_the_limit_only_captures_before_that_of_the_limit_go_on() -> None:
    heads = [made(3, [(5, 1), (6, 1)]), made(4, [(5, 3), (8, 1)])]
    came = gathered(heads, [0, 0], 9, 99, 5, 4)
    assert (came.runs, came.reason, came.nexts) == ([[3, 1]], col.LATER, [1, 0])
