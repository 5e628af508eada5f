"""How arguments reach a kernel: what fits its signature, and nothing else."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from rxtls.native import Bytes, Grid, Row, Table, kernel, store
from rxtls.offload.compiled.arena import take_extent

native_load: Any = import_module("rxtls.native.load")  # the package has a function of that name


@kernel
def _weigh(line: Row, table: Table, cube: Grid, octets: Bytes, doubled: bool, more: int) -> int:
    total = more
    for i in range(len(line)):
        total += line[i]
    for i in range(table.shape[0]):
        for j in range(table.shape[1]):
            total += 10 * table[i, j]
    for i in range(cube.shape[0]):
        for j in range(cube.shape[1]):
            for k in range(cube.shape[2]):
                total += 100 * cube[i, j, k]
    for i in range(len(octets)):
        total += 1000 * octets[i]
    return 2 * total if doubled else total


@kernel
def _fill(line: Row, value: int) -> None:
    for i in range(len(line)):
        line[i] = value


def _twice(number: int) -> int:
    return 2 * number


def _thrice(number: int) -> int:
    return 3 * number


LINE = np.arange(3)
TABLE = np.arange(6).reshape(2, 3)
CUBE = np.arange(8).reshape(2, 2, 2)
OCTETS = np.array([1, 2], np.uint8)
SUM = 3 + 10 * 15 + 100 * 28 + 1000 * 3


def test_arrays_arrive_in_their_shape() -> None:
    assert _weigh(LINE, TABLE, CUBE, OCTETS, False, 0) == SUM
    assert _weigh(LINE, TABLE, CUBE, OCTETS, True, -1) == 2 * (SUM - 1)


def test_so_do_parts_of_arrays_read_only_ones_and_empty_ones() -> None:
    rows = np.arange(12).reshape(4, 3)
    assert _weigh(LINE[1:], rows[1:3], CUBE[:0], OCTETS[:0], False, 0) == 3 + 10 * rows[1:3].sum()
    fixed = LINE.copy()
    fixed.flags.writeable = False
    assert _weigh(fixed, TABLE[:0], CUBE, OCTETS, False, 0) == SUM - 150
    assert _weigh(LINE, np.zeros((0, 3), np.int64), CUBE, OCTETS, False, 0) == SUM - 150
    assert _weigh(LINE, np.arange(2).reshape(2, 1), CUBE, OCTETS, False, 0) == SUM - 150 + 10


def test_a_void_kernel_gives_nothing() -> None:
    line = np.zeros(4, np.int64)
    assert _fill(line, 7) is None
    assert line.tolist() == [7, 7, 7, 7]


@pytest.mark.parametrize(
    ("at", "wrong"),
    [
        (0, TABLE),
        (0, np.arange(6)[::2]),
        (0, np.arange(3, dtype=np.int32)),
        (1, TABLE.T),
        (1, LINE),
        (2, CUBE[:, :, :1]),
        (3, LINE),
        (0, [1, 2, 3]),
        (0, None),
        (0, memoryview(bytes(24))),
        (1, TABLE.view(np.recarray)),
        (4, None),
        (5, 1.5),
        (5, "1"),
    ],
)
def test_anything_else_is_refused(at: int, wrong: Any) -> None:
    given: list[Any] = [LINE, TABLE, CUBE, OCTETS, False, 0]
    given[at] = wrong
    with pytest.raises(TypeError):
        _weigh(*given)
    given[at] = (LINE, TABLE, CUBE, OCTETS, False, 0)[at]
    assert _weigh(*given) == SUM, "and nothing stays behind of it"


class Pair(NamedTuple):
    line: Row
    number: int


@kernel
def _sum(pair: Pair, more: int) -> int:
    return pair.line[0] + pair.number + more


def test_values_that_travel_together_arrive_together() -> None:
    assert _sum(Pair(LINE[2:], 5), 10) == 17


def test_what_is_no_such_tuple_is_refused() -> None:
    wrong: tuple[Any, ...] = ((LINE, 5, 6), (LINE,), [LINE, 5], 5, (5, 5), (LINE, None), (TABLE, 5))
    for given in wrong:
        with pytest.raises(TypeError):
            _sum(given, 0)


def test_so_are_too_few_arguments_and_numbers_that_do_not_fit() -> None:
    for given in ((), (LINE,), (LINE, TABLE, CUBE, OCTETS, False, 0, 0)):
        with pytest.raises(TypeError):
            _weigh(*given)
    with pytest.raises(OverflowError):
        _fill(LINE.copy(), 1 << 63)


def test_numbers_come_and_go_whole_and_nothing_is_kept() -> None:
    numbers: tuple[Any, ...] = (0, -1, 1, -(1 << 63), (1 << 63) - 1, np.int64(-5), True)
    for number in numbers:
        assert _weigh(LINE[:0], TABLE[:0], CUBE[:0], OCTETS[:0], False, number) == number
    line = np.zeros(1, np.int64)
    before = [sys.getrefcount(each) for each in (line, None, np.ndarray, 12345678901)]
    for _ in range(1000):
        _fill(line, 12345678901)
    after = [sys.getrefcount(each) for each in (line, None, np.ndarray, 12345678901)]
    assert all(abs(a - b) < 100 for a, b in zip(before, after, strict=True)), (before, after)


def test_it_is_a_function_with_a_name_and_a_page() -> None:
    assert _fill.__name__ == "_fill"
    assert take_extent.__doc__ == "A free extent."


def test_who_waits_for_the_compiler_is_told_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(native_load.store, "folders", lambda _: (tmp_path / "kernels",))
    monkeypatch.setattr(native_load, "_ASKED", [])
    native_load._known.cache_clear()
    kernels = [name for _, name in store.kernels()]
    with caplog.at_level("INFO", "rxtls"):
        for name in ("_twice", "_thrice", "_twice"):
            assert native_load.load(globals()[name])(21) == {"_twice": 42, "_thrice": 63}[name]
    told = "compiling the engine, once per machine: kernel"
    assert [record.getMessage() for record in caplog.records] == [
        f"{told} 1 of at most {len(kernels) + 1}, _twice",
        f"{told} 2 of at most {len(kernels) + 1}, _thrice",
    ]
    assert {"walk", "onward"} <= {*kernels}
    native_load._known.cache_clear()


def test_one_kernel_may_run_in_several_threads() -> None:
    lines = [np.zeros(20_000, np.int64) for _ in range(64)]

    def fill(n: int) -> None:
        for _ in range(20):
            _fill(lines[n], n)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(fill, range(64)))
    assert all((line == n).all() for n, line in enumerate(lines))
