"""Places: which capture a frame came from, against a list that says it for every frame."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxtls.capture import origins as places
from rxtls.capture.origins import Places


def numbered(origin: list[int], captures: int) -> list[tuple[int, int]]:
    """The obvious twin."""
    given = [0] * captures
    found = []
    for capture in origin:
        given[capture] += 1
        found.append((capture, given[capture]))
    return found


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.booleans()), max_size=60), st.integers(1, 70))
def test_every_frame_is_found_however_it_was_added(runs: list[tuple[int, int, bool]], stride: int) -> None:
    kept = Places(4)
    kept._stride = stride
    origin: list[int] = []
    for capture, frames, one_by_one in runs:
        if one_by_one:
            made = [(capture + n) % 4 for n in range(frames)]
            kept.add_runs(np.array([(each, 1) for each in made], np.int64).reshape(-1, 2))
        else:
            made = [capture] * frames
            kept.add(capture, frames)
        origin += made
    assert len(kept) == len(origin)
    assert [kept.find(index) for index in range(len(origin))] == numbered(origin, 4)
    wanted = numbered(origin, 4)
    for step in (1, 3):  # many at once, in any order, and with repetitions
        asked = [*range(0, len(origin), step), *range(len(origin) - 1, -1, -step), *range(0, len(origin), 2)]
        captures, numbers = kept.find_all(np.array(asked, np.int64))
        assert list(zip(captures.tolist(), numbers.tolist(), strict=True)) == [wanted[index] for index in asked]
    for outside in (-1, len(origin)):
        with pytest.raises(IndexError):
            kept.find(outside)


def test_rotated_captures_cost_nothing_by_the_frame() -> None:
    kept = Places(1000)
    for capture in range(1000):
        for _ in range(100):
            kept.add(capture, 1_000_000)
    assert len(kept) == 10**11
    assert kept.find(10**8 * 7 + 5) == (7, 6)
    assert kept.find(10**11 - 1) == (999, 10**8)
    assert len(kept._files) == 1000


def test_interleaved_captures_cost_a_few_bytes_by_the_run() -> None:
    kept = Places(2)
    kept.add_runs(np.tile(np.array([(0, 1), (1, 1)], np.int64), (50_000, 1)))
    assert kept.find(99_999) == (1, 50_000)
    size = sum(each.itemsize * len(each) for each in (kept._files, kept._counts, kept._marks, kept._noted))
    assert size / len(kept) < 9


def test_more_frames_of_one_capture_than_a_run_can_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "_MOST", 10)
    kept = Places(1)
    for _ in range(9):
        kept.add(0, 4)
    assert [kept.find(index) for index in range(36)] == [(0, index + 1) for index in range(36)]


def test_many_places_of_one_capture() -> None:
    kept = Places(1)
    kept.add(0, 10)
    captures, numbers = kept.find_all(np.array([0, 9, 3]))
    assert (captures.tolist(), numbers.tolist()) == ([0, 0, 0], [1, 10, 4])
