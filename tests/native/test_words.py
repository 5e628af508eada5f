"""The words that kernels have for memory and sequence numbers, each against what plain Python says."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rxtls.native import (
    Row,
    address,
    copy,
    get,
    kernel,
    load8,
    load16,
    load32,
    load64,
    minus,
    plus,
    put,
    signed32,
    store8,
    store64,
    times,
)
from rxtls.seq import distance


@kernel
def _load(at: int, which: int) -> int:
    if which == 8:
        return load8(at)
    if which == 16:
        return load16(at)
    if which == 32:
        return load32(at)
    return load64(at)


@kernel
def _store(at: int, which: int, value: int) -> None:
    if which == 8:
        store8(at, value)
    else:
        store64(at, value)


@kernel
def _copy(to: int, source: int, length: int) -> None:
    copy(to, source, length)


@kernel
def _signed32(value: int) -> int:
    return signed32(value)


@kernel
def _swap(row: Row, column: int, value: int) -> int:
    at = address(row)
    before = get(at, column)
    put(at, column, value)
    return before


@kernel
def _modulo(a: int, b: int, which: int) -> int:
    if which == 0:
        return plus(a, b)
    return minus(a, b) if which == 1 else times(a, b)


@given(st.binary(min_size=8, max_size=24), st.data())
def test_loads_read_network_order_at_any_address(data: bytes, draw: st.DataObject) -> None:
    at = draw.draw(st.integers(0, len(data) - 8))
    buffer = np.frombuffer(data, np.uint8)
    for bits in (8, 16, 32, 64):
        wanted = int.from_bytes(data[at : at + bits // 8], signed=bits == 64)
        assert _load(buffer.ctypes.data + at, bits) == wanted


@given(st.integers(-(1 << 63), (1 << 63) - 1), st.integers(0, 8))
def test_stores_write_network_order_and_nothing_beside_it(value: int, at: int) -> None:
    for bits in (8, 64):
        buffer = np.full(24, 0xEE, np.uint8)
        _store(buffer.ctypes.data + at, bits, value)
        wanted = bytearray(b"\xee" * 24)
        wanted[at : at + bits // 8] = (value & (1 << bits) - 1).to_bytes(bits // 8)
        assert buffer.tobytes() == wanted


@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 20))
def test_copies_may_overlap(to: int, source: int, length: int) -> None:
    buffer = np.arange(40, dtype=np.uint8)
    wanted = bytearray(buffer.tobytes())
    wanted[to : to + length] = bytes(wanted[source : source + length])
    _copy(buffer.ctypes.data + to, buffer.ctypes.data + source, length)
    assert buffer.tobytes() == wanted


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_signed32_is_the_distance(a: int, b: int) -> None:
    assert _signed32(b - a) == distance(a, b)


words = st.integers(-(1 << 63), (1 << 63) - 1)


@given(st.integers(0, 3), words)
def test_get_and_put_are_a_rows_columns(column: int, value: int) -> None:
    row = np.array([5, 6, 7, 8])
    assert _swap(row, column, value) == 5 + column
    assert row.tolist() == [value if n == column else 5 + n for n in range(4)]


@given(words, words)
def test_arithmetic_modulo_two_to_the_64(a: int, b: int) -> None:
    for which, wanted in enumerate((a + b, a - b, a * b)):
        assert (_modulo(a, b, which) - wanted) % (1 << 64) == 0
