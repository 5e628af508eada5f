"""Kernels under the interpreter: the same answers as compiled, and tables whose ends are guarded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rxtls.native import Table, inner, interpret
from rxtls.native.parts import Word
from rxtls.path.engines import why_not_compiled

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
needs_libcrypto = pytest.mark.skipif(why_not_compiled() is not None, reason=f"no compiled engine: {why_not_compiled()}")


def interpreted(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A process whose kernels are interpreted."""
    environment = {**os.environ, "RXTLS_KERNELS": "interpreted"}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True, check=False
    )


@inner
def _column(table: Table, row: int, column: int) -> int:
    return table[row, column]


def _look(table: Table, row: int, column: int) -> int:
    return _column(table, row, column)


LOOK = interpret.load(_look)


def test_a_kernel_sees_the_caller_s_table_and_gives_a_number_of_python() -> None:
    table = np.arange(6).reshape(2, 3)
    assert LOOK(table, 1, 2) == 5
    table[1, 2] = -7
    found = LOOK(table, np.int64(1), 2)
    assert found == -7
    assert type(found) is int


@pytest.mark.parametrize(("row", "column"), [(2, 0), (0, 3), (-3, 0), (0, -4)])
def test_an_index_out_of_range_is_caught(row: int, column: int) -> None:
    with pytest.raises(IndexError):
        LOOK(np.zeros((2, 3), np.int64), row, column)


def test_a_table_without_rows_has_no_row() -> None:
    with pytest.raises(IndexError, match=r"shape \(0, 3\)|out of bounds"):
        LOOK(np.zeros((0, 3), np.int64), 0, 0)


def test_every_word_has_a_meaning_for_both() -> None:
    from rxtls import native

    words = [name for name, value in vars(native).items() if isinstance(value, Word)]
    assert len(words) > 15
    assert [name for name in words if not callable(getattr(interpret, name, None))] == []


REPLAY = """
import json, sys, rxtls
from rxtls import native
run = rxtls.replay(sys.argv[1], keys=sys.argv[2], engine="compiled", digest=True)
records = [(each.flow, each.receiver, each.number, each.by, each.composition, len(each.data)) for each in run]
summary = run.summary()
del summary["wall_seconds"]
print(json.dumps([native.INTERPRETED, records, summary]))
"""


@needs_libcrypto
@pytest.mark.parametrize(
    "name", ["loss-reorder-tls13-aes256gcm", "loss-tls13-chacha20", "reorder-tls12-aes128cbc-sha256"]
)
def test_a_capture_replays_as_it_does_compiled(name: str) -> None:
    arguments = str(EXAMPLES / f"{name}.pcap"), str(EXAMPLES / f"{name}.keys")
    ran = interpreted(REPLAY, *arguments)
    assert ran.returncode == 0, ran.stderr
    compiled = subprocess.run([sys.executable, "-c", REPLAY, *arguments], capture_output=True, text=True, check=True)
    found: Any = json.loads(ran.stdout)
    expected: Any = json.loads(compiled.stdout)
    assert found[0] is True
    assert found[1:] == expected[1:]


@needs_libcrypto
def test_a_column_made_wrong_in_a_kernel_that_ships_is_caught() -> None:
    name = EXAMPLES / "clean-tls13-aes128gcm"
    wrong = "from rxtls.device.compiled.columns import Lane\nLane.CHUNK += 10_000\n"
    ran = interpreted(wrong + REPLAY, f"{name}.pcap", f"{name}.keys")
    assert ran.returncode == 1
    assert "IndexError" in ran.stderr
