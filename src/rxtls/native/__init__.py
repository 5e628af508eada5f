"""How the hot loops are compiled, and the few words they need beyond numba's own.

    @kernel     called from Python: compiled once per machine, then loaded
    @inner      called from kernels only

Both are typed as any function is, with the words of shapes.py; of a kernel's annotations its signature is made.

A kernel is plain Python over int64 columns: no objects, no exceptions, no allocation. What a table does not hold (bytes
in a chunk, libcrypto's contexts) is met by address: `load8` to `load64` read, `store64` and `copy` write. Who passes an
address answers for its bounds, as in any driver; every kernel checks before it writes.

    decorated function ── store.py: stored? ──► load.py: machine code in place, a builtin function   (llvmlite only)
                               │ no
                               └─► build.py: compiled by numba, with its parts and words.py; stored

interface.py is what these two agree on.

With RXTLS_KERNELS=interpreted in the environment the same kernels run under Python instead (interpret.py), slowly and
with every access to a table checked: for debuggers, coverage and mutants.

A process that finds all its kernels in the store never imports numba, which with its own way to load compiled code
would take longer than everything else that happens before the first record. So nothing here needs numba to be imported:
parts and words are names, until something has to be compiled.

Sequence numbers are 32 bits in int64 (mixing in uint64 would make floats); record numbers are all 64 of its bits.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

from rxtls.native.parts import Foreign, Part, Word
from rxtls.native.shapes import Array, Bytes, Columns, Grid, Row, Table, number_of

INTERPRETED = os.environ.get("RXTLS_KERNELS") == "interpreted"
if INTERPRETED:
    from rxtls.native.interpret import define
    from rxtls.native.interpret import load as _runnable
else:
    from rxtls.native.load import define
    from rxtls.native.load import load as _runnable

__all__ = [
    "INTERPRETED",
    "Array",
    "Bytes",
    "Columns",
    "Foreign",
    "Grid",
    "Part",
    "Row",
    "Table",
    "Word",
    "define",
    "foreign",
    "inlined",
    "inner",
    "kernel",
    "number_of",
]

Takes = ParamSpec("Takes")
Gives = TypeVar("Gives")


def kernel(function: Callable[Takes, Gives]) -> Callable[Takes, Gives]:
    """Compile for the function's annotations, once: later processes load the code. Releases the GIL while it runs.

    A kernel gives an int or nothing. It takes ints, bools and C-contiguous arrays (shapes.py). What does not fit is a
    TypeError.
    """
    return cast(Callable[Takes, Gives], _runnable(function))


def inner(function: Callable[Takes, Gives]) -> Callable[Takes, Gives]:
    """A part of kernels, compiled with each. Python cannot call it."""
    return cast(Callable[Takes, Gives], Part(function))


def inlined(function: Callable[Takes, Gives]) -> Callable[Takes, Gives]:
    """A part of one kernel, built into it: many tables cost more to hand over than a short function does."""
    return cast(Callable[Takes, Gives], Part(function, forceinline=True))


def foreign(symbol: str, *arguments: str) -> Callable[..., int]:
    """A C function that gives an int, of arguments that are an "address" or an "int". `define` places `symbol`."""
    return cast(Callable[..., int], Foreign(symbol, *arguments))


def _word(name: str) -> Any:
    return Word(name)


# Bytes by address: one, or several in network order (load64: as int64 has them), or the least significant first.
load8: Callable[[int], int] = _word("load8")
load16: Callable[[int], int] = _word("load16")
load32: Callable[[int], int] = _word("load32")
load64: Callable[[int], int] = _word("load64")
little32: Callable[[int], int] = _word("little32")
little64: Callable[[int], int] = _word("little64")
# store(address, value): the low byte of a value; eight bytes in network order.
store8: Callable[[int, int], None] = _word("store8")
store64: Callable[[int, int], None] = _word("store64")
# copy(to, source, length): the stretches may overlap.
copy: Callable[[int, int, int], None] = _word("copy")
# Have the cache line of an address fetched, which need not be there.
prefetch: Callable[[int], None] = _word("prefetch")
# pairs32(address, value): bit n says that bytes n and n + 1 both are `value`. Reads 33 bytes.
pairs32: Callable[[int, int], int] = _word("pairs32")
# Of the first byte of an array that its owner holds.
address: Callable[[Row | Table | Grid | Bytes], int] = _word("address")

# A row of int64 by the address of its first column: where there are many tables, half of numba's code for `table[i, c]`
# would be multiplications by what it does not know to be a constant, and questions whether i is negative.
# get(row, column); put(row, column, value); row_at(row, columns) is the row as an array.
get: Callable[[int, int], int] = _word("get")
put: Callable[[int, int, int], None] = _word("put")
row_at: Callable[[int, int], Row] = _word("row_at")

# Arithmetic modulo 2^64. For numba (LLVM's nsw) a sum, difference or product of int64 that overflows may be anything.
plus: Callable[[int, int], int] = _word("plus")
minus: Callable[[int, int], int] = _word("minus")
times: Callable[[int, int], int] = _word("times")


@inner
def signed32(value: int) -> int:
    """A difference of sequence numbers as the signed distance it means (seq.distance for kernels)."""
    return ((value + 0x8000_0000) & 0xFFFF_FFFF) - 0x8000_0000
