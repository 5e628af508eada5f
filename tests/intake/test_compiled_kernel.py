"""The kernel stops before a frame that it has no room for, and that frame has had no effect."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from dialog import SECOND, START, Dialog
from rxtls.counters import Ledger
from rxtls.intake.batch import COLUMNS, SYN
from rxtls.intake.compiled import columns as c
from rxtls.intake.compiled.columns import EventRow, Steering
from rxtls.intake.compiled.kernel import EVENTS_NEEDED, ROWS_NEEDED, SEGMENT_BITS, USUAL, Kept, steer
from rxtls.intake.compiled.steer import CompiledSteer
from rxtls.intake.parse import MIN_SEGMENT
from rxtls.intake.steer import SteerOptions
from rxtls.native.shapes import Array
from rxtls.wire.captured import Frame
from rxtls.wire.compiled.columns import Frames, frames_of
from rxtls.wire.compiled.parse import FATE_NAMES, parse_frames
from steer_streams import Habits, stream


def given(frames: list[Frame]) -> Frames:
    parsed = frames_of(list(enumerate(frames)))
    parse_frames(parsed, True)
    return parsed


def call(stage: CompiledSteer, frames: Frames, rows: Array, events: Array) -> int:
    stage._control[Steering.NEXT :] = 0
    nothing = np.zeros(0, np.int64)
    return int(
        steer(
            Kept(stage._control, stage._clocks, stage._sights, stage._chains), rows, events, frames.table,
            frames.packets,
            nothing, nothing,
        )
    )  # fmt: skip


def tables(rows: int = 4096, events: int = 4096) -> tuple[Array, Array]:
    return np.zeros((rows, COLUMNS), np.int64), np.zeros((events, EventRow.COLUMNS), np.int64)


def state(stage: CompiledSteer) -> list[object]:
    """All that a frame can change, but for addresses."""
    control = stage._control.tolist()
    kept = control[: Steering.ROW] + control[Steering.ROWS :]
    return [kept, *(table.tolist() for table in (stage._flows, stage._links, stage._buckets, stage._clocks))]


def some_stage(max_flows: int = 1 << 20) -> CompiledSteer:
    stage = CompiledSteer(Ledger(), SteerOptions(max_flows=max_flows))
    stage.batch(given(stream(Random(1), 100, Habits(jump=0.0))))
    stage._control[Steering.NEXT :] = 0
    return stage


@pytest.mark.parametrize(
    ("rows", "events", "interface", "stopped"),
    [
        (ROWS_NEEDED - 1, 4096, 0, c.NEED_ROOM),
        (4096, EVENTS_NEEDED - 1, 0, c.NEED_ROOM),
        (4096, 4096, 1000, c.NEED_INTERFACE),
        (4096, 4096, -5, c.NEED_INTERFACE),
    ],
)
def test_a_frame_that_was_not_taken_had_no_effect(rows: int, events: int, interface: int, stopped: int) -> None:
    stage = some_stage()
    talk = Dialog(time=START + SECOND, interface=interface)
    talk.a(b"x", flags=SYN)
    before = state(stage)
    assert call(stage, given(talk.frames), *tables(rows, events)) == stopped
    assert state(stage) == before


def test_nor_when_there_is_no_row_for_a_flow() -> None:
    stage = some_stage()
    talk = Dialog(time=START + SECOND)
    talk.a(b"x", flags=SYN)
    free, stage._control[Steering.FREE] = int(stage._control[Steering.FREE]), -1
    before = state(stage)
    assert call(stage, given(talk.frames), *tables()) == c.NEED_FLOWS
    assert state(stage) == before
    stage._control[Steering.FREE] = free
    assert call(stage, given(talk.frames), *tables()) == c.ALL_TAKEN


@pytest.mark.parametrize("spare", [-1, 0])
def test_room_for_a_large_frame_is_room_for_all_its_segments(spare: int) -> None:
    stage = CompiledSteer(Ledger())
    talk = Dialog().handshake(mss=1)
    talk.a(bytes(60_000))
    frames = given(talk.frames)
    stage.batch(frames_of([]))
    stage._meet(0)
    needed = 2 + ROWS_NEEDED + (60_000 >> SEGMENT_BITS)
    stopped = call(stage, frames, *tables(needed + spare))
    assert stopped == (c.ALL_TAKEN if spare == 0 else c.NEED_ROOM)
    assert stage._control[Steering.NEXT] == (4 if spare == 0 else 3)
    assert stage._control[Steering.ROWS] == (2 + 60_000 // MIN_SEGMENT if spare == 0 else 2)


def test_the_bound_of_rows_is_one() -> None:
    assert 1 << SEGMENT_BITS <= MIN_SEGMENT
    assert ROWS_NEEDED >= 10 + (USUAL >> SEGMENT_BITS)


def test_it_goes_on_where_it_stopped() -> None:
    """A table with room for one frame: the wrapper's part played by hand."""
    frames = given(stream(Random(4), 200, Habits(wild=0.05)))
    whole = CompiledSteer(Ledger())
    expected = whole.batch(frames).rows.tolist()
    stage = CompiledSteer(Ledger())
    found: list[list[int]] = []
    rows, events = tables(ROWS_NEEDED + (20_000 >> SEGMENT_BITS), EVENTS_NEEDED + 2)
    stage._control[Steering.NEXT :] = 0
    stops = 0
    while True:
        stopped = steer(
            Kept(stage._control, stage._clocks, stage._sights, stage._chains), rows, events, frames.table,
            frames.packets,
            np.zeros(0, np.int64), np.zeros(0, np.int64),
        )  # fmt: skip
        found += rows[: stage._control[Steering.ROWS]].tolist()
        stage._control[[Steering.ROWS, Steering.EVENTS]] = 0
        stops += 1
        if stopped == c.ALL_TAKEN:
            break
        if stopped == c.NEED_INTERFACE:
            stage._meet(int(frames.table[stage._control[Steering.NEXT], 2]))
        assert stopped in (c.NEED_INTERFACE, c.NEED_ROOM)
    assert found == expected
    assert stops > 20
    fates = stage._control[Steering.FATES : Steering.REFUSED_BYTES].tolist()
    assert {name: n for name, n in zip(FATE_NAMES, fates, strict=True) if n} == {
        name: n for name, n in whole._ledger.fates.items() if name.startswith("frame.")
    }
