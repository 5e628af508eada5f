"""The compiled sum is the plain one, at every length and place, and reads no byte that is not its own."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxtls.native import kernel
from rxtls.wire import checksum as plain
from rxtls.wire.compiled import checksum


@kernel
def _remainder(address: int, length: int) -> int:
    return checksum.remainder(address, length)


@kernel
def _fold(total: int) -> int:
    return checksum.fold(total)


def remainder(data: bytes, start: int, end: int) -> int:
    return int(_remainder(np.frombuffer(data, np.uint8).ctypes.data + start, end - start))


@pytest.mark.parametrize("start", range(8))
def test_every_length_at_every_place(start: int) -> None:
    data = Random(start).randbytes(1600)
    for length in [*range(200), 1447, 1448, 1449, 1460, 1592 - start]:
        assert remainder(data, start, start + length) == plain.remainder(data, start, start + length)


@pytest.mark.parametrize("length", [0, 1, 7, 8, 65_535, 1 << 20])
@pytest.mark.parametrize("byte", [0x00, 0x01, 0xFF])
def test_extremes(length: int, byte: int) -> None:
    data = b"\xa5" * 3 + bytes([byte]) * length + b"\x5a" * 3
    assert remainder(data, 3, 3 + length) == plain.remainder(data, 3, 3 + length)


@given(st.integers(0, 1 << 47))
def test_folding_is_the_remainder(total: int) -> None:
    assert _fold(total) == total % plain.MODULUS


@pytest.mark.parametrize("total", [0, 0xFFFE, 0xFFFF, 0x1_0000, 0x1_FFFE, 0xFFFF_FFFF, 0xFFFF_FFFF_FFFF, 0x2_FFFF_FFFD])
def test_folding_at_the_carries(total: int) -> None:
    assert _fold(total) == total % plain.MODULUS
