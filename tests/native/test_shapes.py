"""Annotations of kernels as what they take and give."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from rxtls.native import Bytes, Columns, Grid, Row, Table
from rxtls.native.shapes import Argument, Group, arguments_of, gives


class Lane(Columns):
    CHUNK = 0


class Both(NamedTuple):
    rows: Table
    lane: Lane


def _all(row: Row, table: Table, grid: Grid, data: Bytes, yes: bool, number: int, lane: Lane) -> Lane:
    return lane


def _nothing() -> None: ...


def _together(both: Both) -> None: ...


def _misspelt(rows: Tabel) -> None: ...  # type: ignore[name-defined]  # noqa: F821


def _a_table(rows: Table) -> Table:
    return rows


def _optional(number: int | None) -> int:
    return number or 0


def test_a_signature_in_pieces() -> None:
    integer = Argument("int64", 0)
    arrays = Argument("int64", 1), Argument("int64", 2), Argument("int64", 3), Argument("uint8", 1)
    assert arguments_of(_all) == (*arrays, Argument("boolean", 0), integer, integer)
    assert arguments_of(_nothing) == ()


def test_what_a_kernel_gives() -> None:
    assert gives(_all)
    assert not gives(_nothing)


def test_what_travels_together_is_a_group() -> None:
    assert arguments_of(_together) == (Group(Both, (Argument("int64", 2), Argument("int64", 0))),)


def test_what_kernels_do_not_know_is_refused_and_not_taken_for_a_number() -> None:
    for function in (_misspelt, _optional):
        with pytest.raises(TypeError, match="kernels know no"):
            arguments_of(function)
    with pytest.raises(TypeError, match="gives a number or nothing"):
        gives(_a_table)
