"""How the hot loops are compiled, and the few words they need beyond numba's own.

    @kernel("int64(int64[:, ::1], uint8[::1])")     called from Python: compiled once per machine, then loaded
    @inner                                          called from kernels only

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
from typing import Any

from rxtls.native.parts import Foreign, Part, Word

INTERPRETED = os.environ.get("RXTLS_KERNELS") == "interpreted"
if INTERPRETED:
    from rxtls.native.interpret import define
    from rxtls.native.interpret import load as _runnable
else:
    from rxtls.native.load import define
    from rxtls.native.load import load as _runnable

__all__ = ["INTERPRETED", "Foreign", "Part", "Word", "define", "foreign", "inlined", "inner", "kernel"]


def kernel(signature: str) -> Callable[[Callable[..., Any]], Any]:
    """Compile for `signature`, once: later processes load the code. Releases the GIL while it runs.

    A signature has the result, int64 or void, and the arguments: int64, boolean, and C-contiguous arrays of int64 or
    uint8, as int64[:, ::1].
    """
    return lambda function: _runnable(function, signature)


def inner(function: Callable[..., Any]) -> Any:
    """A part of kernels, compiled with each. Python cannot call it."""
    return Part(function)


def inlined(function: Callable[..., Any]) -> Any:
    """A part of one kernel, built into it: many tables cost more to hand over than a short function does."""
    return Part(function, forceinline=True)


def foreign(symbol: str, *arguments: str) -> Any:
    """A C function that gives an int, of arguments that are an "address" or an "int". `define` places `symbol`."""
    return Foreign(symbol, *arguments)


load8: Any = Word("load8")  # the byte at an address, 0 to 255
load16: Any = Word("load16")  # two bytes in network order
load32: Any = Word("load32")  # four bytes in network order
load64: Any = Word("load64")  # eight bytes in network order, as int64 has them
little32: Any = Word("little32")  # four bytes, the least significant first
little64: Any = Word("little64")
store8: Any = Word("store8")  # the low byte of a value to an address
store64: Any = Word("store64")  # eight bytes in network order
copy: Any = Word("copy")  # copy(to, source, length): addresses; the stretches may overlap
prefetch: Any = Word("prefetch")  # have the cache line of an address fetched, which need not be there
pairs32: Any = Word("pairs32")  # bit n: bytes n and n + 1 at an address both are `value`; reads 33 bytes
address: Any = Word("address")  # of the first byte of an array that its owner holds

# A row of int64 by the address of its first column: where there are many tables, half of numba's code for `table[i, c]`
# would be multiplications by what it does not know to be a constant, and questions whether i is negative.
get: Any = Word("get")  # get(row, column)
put: Any = Word("put")  # put(row, column, value)
row_at: Any = Word("row_at")  # row_at(row, columns): the same as an array

# Arithmetic modulo 2^64. For numba (LLVM's nsw) a sum, difference or product of int64 that overflows may be anything.
plus: Any = Word("plus")
minus: Any = Word("minus")
times: Any = Word("times")


@inner
def signed32(value):  # type: ignore[no-untyped-def]
    """A difference of sequence numbers as the signed distance it means (seq.distance for kernels)."""
    return ((value + 0x8000_0000) & 0xFFFF_FFFF) - 0x8000_0000
