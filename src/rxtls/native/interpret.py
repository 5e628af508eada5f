"""Kernels run by the Python interpreter, for developers: RXTLS_KERNELS=interpreted.

A kernel is plain Python (`native/__init__.py`). So it can run as what it is: under a debugger, with line coverage, with
mutants, and with every access to a table checked. An index out of range raises IndexError here; compiled code would
read on. A value of more than 64 bits raises ValueError where it is stored in a table. The source is the same for both:
this file gives `Part`, `Word` and `Foreign` the meaning that build.py and words.py give them for numba.

A table is a memoryview here, whose items are Python's own integers. What is met by address is not checked, as it is
not in compiled code either.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from operator import index
from typing import Any

import numpy as np

from rxtls.native.parts import Foreign, Names, Part, Word
from rxtls.native.shapes import Argument, Group, arguments_of, gives

_FOREIGN = {"address": ctypes.c_void_p, "int": ctypes.c_int}
_ITEMS = {"int64": np.dtype(np.int64), "uint8": np.dtype(np.uint8)}
_SYMBOLS: dict[str, int] = {}
_BITS = 1 << 64
_HIGHEST = (1 << 63) - 1


def define(symbol: str, place: int) -> None:
    """Say where the C function is that kernels call by this name."""
    _SYMBOLS[symbol] = place


def load(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, run by the interpreter. Arguments that do not fit are refused with the errors of compiled code."""
    kinds, number = arguments_of(function), gives(function)

    def run(*given: Any) -> int | None:
        if len(given) != len(kinds):
            raise TypeError(f"{function.__name__} takes {len(kinds)} arguments, not {len(given)}")
        result = _NAMES.resolved(function)(*map(_argument, kinds, given))
        return int(result) if number else None

    run.__name__, run.__doc__, run.__module__ = function.__name__, function.__doc__, function.__module__
    return run


class _Bytes:
    """An array of bytes, or one without items: of these Python makes no memoryview that tells its address."""

    def __init__(self, array: Any) -> None:
        self._array = array
        self.ctypes = array.ctypes
        self.shape = array.shape

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, at: Any) -> int:
        return int(self._array[at])

    def __setitem__(self, at: Any, value: int) -> None:
        self._array[at] = value


def _argument(kind: Argument | Group, given: Any) -> Any:
    """An argument as the kernel's code meets it."""
    if isinstance(kind, Group):
        if not isinstance(given, tuple) or len(given) != len(kind.fields):
            raise TypeError(f"not {len(kind.fields)} values in a tuple: {type(given).__name__}")
        return kind.made(*map(_argument, kind.fields, given))
    if not kind.dimensions:
        return _number(given) != 0 if kind.item == "boolean" else _number(given)
    item: Any = _ITEMS[kind.item]
    if type(given) is not np.ndarray or given.ndim != kind.dimensions or given.dtype.itemsize != item.itemsize:
        raise TypeError(f"not an array of {kind.item} with {kind.dimensions} dimensions: {type(given).__name__}")
    if not given.flags.c_contiguous:
        raise TypeError("not a C-contiguous array")
    return _table(given.view(item))


def _number(given: Any) -> int:
    number = index(given)
    if not -_HIGHEST - 1 <= number <= _HIGHEST:
        raise OverflowError(f"{number} is more than 64 bits")
    return number


def _table(array: Any) -> Any:
    return array.data if array.size and array.itemsize > 1 else _Bytes(array)


def _meant(value: Any) -> Any:
    if isinstance(value, Part):
        return _NAMES.resolved(value.function)
    if isinstance(value, Word):
        return globals()[value.name]
    if isinstance(value, Foreign):
        kind = ctypes.CFUNCTYPE(ctypes.c_int, *(_FOREIGN[each] for each in value.arguments))
        return kind(_SYMBOLS[value.symbol])
    if isinstance(value, np.ndarray):
        return _table(value)
    return value


_NAMES = Names(_meant)

# The words, as words.py has them for numba.


def load8(at: int) -> int:
    return ctypes.string_at(at, 1)[0]


def load16(at: int) -> int:
    return int.from_bytes(ctypes.string_at(at, 2), "big")


def load32(at: int) -> int:
    return int.from_bytes(ctypes.string_at(at, 4), "big")


def load64(at: int) -> int:
    return int.from_bytes(ctypes.string_at(at, 8), "big", signed=True)


def little32(at: int) -> int:
    return int.from_bytes(ctypes.string_at(at, 4), "little")


def little64(at: int) -> int:
    return int.from_bytes(ctypes.string_at(at, 8), "little", signed=True)


def store8(at: int, value: int) -> None:
    ctypes.c_uint8.from_address(at).value = value & 0xFF


def store64(at: int, value: int) -> None:
    ctypes.memmove(at, (value % _BITS).to_bytes(8, "big"), 8)


def copy(to: int, source: int, length: int) -> None:
    ctypes.memmove(to, source, length)


def prefetch(at: int) -> None:
    """There is nothing to be gained here."""


def pairs32(at: int, value: int) -> int:
    found = ctypes.string_at(at, 33)
    return sum(1 << n for n in range(32) if found[n] == found[n + 1] == value & 0xFF)


def address(array: Any) -> int:
    held = array if isinstance(array, _Bytes) else np.asarray(array)
    return int(held.ctypes.data)


def get(row: int, column: int) -> int:
    return ctypes.c_int64.from_address(row + 8 * column).value


def put(row: int, column: int, value: int) -> None:
    # A shift to the left drops what goes out of 64 bits, for numba too.
    ctypes.c_int64.from_address(row + 8 * column).value = value


def row_at(row: int, columns: int) -> Any:
    return memoryview((ctypes.c_int64 * columns).from_address(row)).cast("B").cast("q")


def number(value: int) -> int:
    return value


def plus(a: int, b: int) -> int:
    return (a + b + _HIGHEST + 1) % _BITS - _HIGHEST - 1


def minus(a: int, b: int) -> int:
    return (a - b + _HIGHEST + 1) % _BITS - _HIGHEST - 1


def times(a: int, b: int) -> int:
    return (a * b + _HIGHEST + 1) % _BITS - _HIGHEST - 1
