"""Windows over files and streams: what is there, when it moves, and what becomes of failures."""

from __future__ import annotations

import errno
import io
import mmap
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rxtls.edge import window as windows
from rxtls.edge.window import FileWindow, StreamWindow, Window
from rxtls.errors import CaptureError

PAGE = mmap.PAGESIZE
DATA = random.Random(2).randbytes(5 * PAGE + 100)


class OpenFile:
    """A file, a window over it, and how many bytes it says were read."""

    def __init__(self, path: Path, data: bytes, mapped: bool | None = True) -> None:
        path.unlink(missing_ok=True)
        path.write_bytes(data)
        self.path = path
        self.file = io.FileIO(path)
        self.read = 0
        self.window = FileWindow(self.file, "a file", self._count, mapped=mapped, size=PAGE)

    def _count(self, n: int) -> None:
        self.read += n


@pytest.fixture(params=[True, False], ids=["mapped", "read"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[bytes], OpenFile]]:
    """Opens files with windows of one page."""
    files: list[OpenFile] = []

    def make(data: bytes) -> OpenFile:
        files.append(OpenFile(tmp_path / "file", data, mapped=request.param))
        return files[-1]

    yield make
    for each in files:
        each.file.close()


def all_of(window: Window, dice: random.Random, most: int) -> bytes:
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


@pytest.mark.parametrize("most", [10, PAGE + 3, 3 * PAGE])
def test_a_file_comes_out_as_it_is_however_it_is_taken(opened: Callable[[bytes], OpenFile], most: int) -> None:
    for data in (DATA, DATA[: 3 * PAGE], DATA[:1], b""):
        made = opened(data)
        assert all_of(made.window, random.Random(most), most) == data
        assert made.read == len(data)
        assert not made.window.more(1)


def test_a_file_that_grows_is_read_on(opened: Callable[[bytes], OpenFile]) -> None:
    made = opened(DATA[:100])
    assert made.window.more(100)
    made.window.at += 90
    assert not made.window.more(11)
    with open(made.path, "ab") as writer:
        writer.write(DATA[100:])
    assert made.window.more(11)
    rest = made.window.data[made.window.at : made.window.end].tobytes()
    assert DATA[90:].startswith(rest)
    assert made.window.base + made.window.at == 90


def test_a_file_that_shrinks_ends_where_it_ends(opened: Callable[[bytes], OpenFile]) -> None:
    made = opened(DATA)
    assert made.window.more(1)
    made.window.at = made.window.end - 10
    place = made.window.base + made.window.at
    os.truncate(made.path, place + 4)
    assert not made.window.more(11)
    assert made.window.end - made.window.at == 4
    os.truncate(made.path, 0)
    assert not made.window.more(1)
    assert made.window.end == made.window.at


def test_skipping_beyond_the_end_is_no_read(opened: Callable[[bytes], OpenFile]) -> None:
    made = opened(DATA)
    assert made.window.more(1)
    made.window.at = 3 * PAGE + 7
    assert made.window.more(1)
    assert made.window.data[made.window.at] == DATA[3 * PAGE + 7]
    made.window.at = made.window.at + len(DATA)
    assert not made.window.more(1)


def test_what_cannot_be_mapped_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> mmap.mmap:
        raise OSError(errno.ENODEV, "No such device")

    monkeypatch.setattr("rxtls.edge.window.mmap.mmap", refuse)
    made = OpenFile(tmp_path / "file", DATA)
    assert all_of(made.window, random.Random(1), 900) == DATA


def test_pages_that_cannot_be_had_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a file cut short between the look at its size and the mapping would do, and a disk that fails."""
    asked = 0

    class Refusing(mmap.mmap):
        def madvise(self, *arguments: int) -> None:
            nonlocal asked
            asked += 1
            raise OSError(errno.EFAULT, "Bad address")

    monkeypatch.setattr("rxtls.edge.window.mmap.mmap", Refusing)
    made = OpenFile(tmp_path / "file", DATA)
    assert all_of(made.window, random.Random(1), 900) == DATA
    assert asked > 3


def test_where_pages_cannot_be_asked_for_files_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0

    class Unknowing(mmap.mmap):
        def madvise(self, *arguments: int) -> None:
            nonlocal asked
            asked += 1
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr("rxtls.edge.window.mmap.mmap", Unknowing)
    made = OpenFile(tmp_path / "file", DATA)
    assert all_of(made.window, random.Random(1), 900) == DATA
    assert asked == 1


@pytest.mark.parametrize(("mapping", "reading"), [(1.0, 5.0), (5.0, 1.0)])
def test_the_cheaper_way_is_kept(
    mapping: float, reading: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    ways: list[str] = []

    def spend(way: str, seconds: float, function: Callable[..., object]) -> Callable[..., object]:
        def timed(*arguments: object) -> object:
            nonlocal now
            now += seconds
            ways.append(way)
            return function(*arguments)

        return timed

    monkeypatch.setattr(windows, "_WORTH_TRYING", 0)
    monkeypatch.setattr(windows, "thread_time", lambda: now)
    monkeypatch.setattr(FileWindow, "_map", spend("map", mapping, FileWindow._map))
    monkeypatch.setattr(FileWindow, "_read", spend("read", reading, FileWindow._read))
    made = OpenFile(tmp_path / "file", DATA * 3, mapped=None)
    assert all_of(made.window, random.Random(1), 900) == DATA * 3
    assert ways[:6] == ["map"] * 2 + ["read"] * 4
    assert set(ways[6:]) == {"map" if mapping < reading else "read"}


def test_a_small_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(FileWindow, "_map")
    made = OpenFile(tmp_path / "file", DATA, mapped=None)
    assert all_of(made.window, random.Random(1), 900) == DATA


def test_a_read_that_fails_says_where(tmp_path: Path) -> None:
    class Failing(io.FileIO):
        def readinto(self, view: object, /) -> int:
            raise OSError(errno.EIO, "Input/output error")

    (tmp_path / "file").write_bytes(DATA)
    with Failing(tmp_path / "file") as file:
        window = FileWindow(file, "a file", lambda _: None, mapped=False)
        with pytest.raises(CaptureError) as caught:
            window.more(1)
    assert (caught.value.file, caught.value.offset, caught.value.cause) == ("a file", 0, "Input/output error")


def into(parts: Iterator[bytes]) -> Callable[[memoryview], int]:
    def put(view: memoryview) -> int:
        part = next(parts, b"")
        assert len(part) <= len(view)
        view[: len(part)] = part
        return len(part)

    return put


@pytest.mark.parametrize("live", [True, False])
def test_a_stream_comes_out_as_it_went_in(live: bool) -> None:
    dice = random.Random(3)
    parts = [DATA[n : n + 50] for n in range(0, len(DATA), 50)]
    window = StreamWindow(into(iter(parts)), live, 200)
    assert all_of(window, dice, 100) == DATA
    assert not window.more(1)


def test_a_live_stream_is_not_waited_for_longer_than_needed() -> None:
    parts = iter([b"abc", b"def", b"ghi"])
    window = StreamWindow(into(parts), True, 1 << 20)
    assert window.more(4)
    assert (window.at, window.end) == (0, 6)
    assert next(parts) == b"ghi"


def test_any_other_stream_fills_the_buffer() -> None:
    parts = iter([bytes(1 << 16)] * 5)
    window = StreamWindow(into(parts), False, 4 << 16)
    assert window.more(1)
    assert window.end == 4 << 16
    assert len(next(parts)) == 1 << 16


def test_a_failure_is_told_when_what_came_before_is_used_up() -> None:
    def failing(parts: Iterator[bytes]) -> Callable[[memoryview], int]:
        put = into(parts)

        def fill(view: memoryview) -> int:
            n = put(view)
            if not n:
                raise CaptureError("a stream", 6, "gone")
            return n

        return fill

    window = StreamWindow(failing(iter([b"abc", b"def"])), False, 1 << 20)
    assert window.more(2)
    assert window.end == 6
    window.at = 2
    assert window.more(4)
    with pytest.raises(CaptureError, match="gone"):
        window.more(5)
    with pytest.raises(CaptureError, match="gone"):
        window.more(5)
    assert window.more(4)
