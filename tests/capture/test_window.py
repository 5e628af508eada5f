"""Windows over streams: what is there, when it moves, and what becomes of failures."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxtls.capture.window import Window
from rxtls.errors import CaptureError

DATA = Random(2).randbytes(20_000)


def into(parts: Iterator[bytes]) -> Callable[[memoryview], int]:
    def put(view: memoryview) -> int:
        part = next(parts, b"")
        assert len(part) <= len(view)
        view[: len(part)] = part
        return len(part)

    return put


def in_pieces(stream: io.BytesIO, dice: Random) -> Callable[[memoryview], int]:
    return lambda view: stream.readinto(view[: dice.randrange(1, 900)])


def all_of(window: Window, dice: Random, most: int) -> bytes:
    """Take what is there in steps of odd sizes, never without asking."""
    taken = b""
    while True:
        need = dice.randrange(1, most)
        if window.end - window.at < need and not window.more(need):
            taken += window.data[window.at : window.end].tobytes()
            window.at = window.end
            return taken
        assert window.base + window.at == len(taken)
        taken += window.data[window.at : window.at + need].tobytes()
        window.at += need


@given(st.booleans(), st.integers(1, 5000), st.sampled_from([2, 10, 5000, 30_000]))
def test_a_stream_comes_out_as_it_went_in(live: bool, size: int, most: int) -> None:
    dice = Random(size)
    for data in (DATA, DATA[:1], b""):
        window = Window(in_pieces(io.BytesIO(data), dice), live, size)
        assert all_of(window, dice, most) == data
        assert not window.more(1)
        assert window.base + window.at == len(data)


def test_a_live_stream_is_not_waited_for_longer_than_needed() -> None:
    parts = iter([b"abc", b"def", b"ghi"])
    window = Window(into(parts), True, 1 << 20)
    assert window.more(4)
    assert (window.at, window.end) == (0, 6)
    assert next(parts) == b"ghi"


def test_any_other_stream_fills_the_buffer() -> None:
    parts = iter([bytes(1 << 16)] * 5)
    window = Window(into(parts), False, 4 << 16)
    assert window.more(1)
    assert window.end == 4 << 16
    assert len(next(parts)) == 1 << 16


@pytest.mark.parametrize("beyond", [1, 9, 5000])
def test_what_is_passed_over_is_read_and_forgotten(beyond: int) -> None:
    window = Window(io.BytesIO(DATA).readinto, False, 1000)
    assert window.more(10)
    window.at = window.end + beyond
    place = window.at
    assert window.more(7)
    assert window.base + window.at == place
    assert window.data[window.at : window.at + 7].tobytes() == DATA[place : place + 7]
    window.at = len(DATA)
    assert not window.more(1)
    assert window.at == window.end


def test_an_end_is_an_end_even_if_more_comes_later(tmp_path: Path) -> None:
    path = tmp_path / "growing"
    path.write_bytes(b"abc")
    with path.open("rb", buffering=0) as file:
        window = Window(file.readinto)
        assert not window.more(4)
        with path.open("ab") as writer:
            writer.write(b"def")
        assert not window.more(4)
        assert window.more(3)


def test_a_failure_is_told_when_what_came_before_is_used_up() -> None:
    put = into(iter([b"abc", b"def"]))

    def failing(view: memoryview) -> int:
        n = put(view)
        if not n:
            raise CaptureError("a stream", 6, "gone")
        return n

    window = Window(failing, False, 1 << 20)
    assert window.more(2)
    assert window.end == 6
    window.at = 2
    assert window.more(4)
    for _ in range(2):
        with pytest.raises(CaptureError, match="gone"):
            window.more(5)
    assert window.more(4)
