"""How the hot loops are compiled, and the few words they need beyond numba's own.

    @kernel("int64(int64[:, ::1], uint8[::1])")     called from Python: compiled once per machine, then loaded
    @inner                                          called from kernels only

A kernel is plain Python over int64 columns: no objects, no exceptions, no allocation. What a table does not hold (bytes
in a chunk, libcrypto's contexts) is met by address: `load8` to `load64` read, `store64` and `copy` write. Who passes an
address answers for its bounds, as in any driver; every kernel checks before it writes.

numba stores compiled code beside the source and asks only whether *that file* has changed. A kernel is made of
functions from several files, so its store is a folder named by the digest of all of them.

Sequence numbers are 32 bits in int64 (mixing in uint64 would make floats); record numbers are all 64 of its bits.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

_HERE = Path(__file__).parent
_IMPORTED = re.compile(rb"^from (rxtls[\w.]*) import (\(|.*)", re.MULTILINE)


@cache
def _made_of(path: Path) -> frozenset[Path]:
    """The files that the kernels of `path` are made of: itself, what it imports of ours, and what kernels there do."""
    found = {path, _HERE / "native.py"}
    for module, names in _IMPORTED.findall(path.read_bytes()):
        place = _HERE.parent.joinpath(*module.decode().split("."))
        modules = [place.with_suffix(".py")]
        if place.is_dir():
            modules = [place / f"{name.split()[0].decode()}.py" for name in names.split(b",") if name.split()]
        for imported in modules:
            if imported.parent.name == "compiled" and imported.exists() and imported not in found:
                found |= _made_of(imported)
            elif imported.exists():
                found.add(imported)
    return frozenset(found)


@cache
def store(path: Path) -> str:
    """The folder of the compiled code of `path`: beside the source, or in the user's cache where that is read-only."""
    digest = hashlib.sha256(f"{numba.__version__} {sys.version}".encode())
    for part in sorted(_made_of(path)):
        digest.update(part.read_bytes())
    beside = path.parent / "__pycache__"
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rxtls"
    base = beside if os.access(beside if beside.exists() else path.parent, os.W_OK) else home
    return str(base / f"{path.stem}-{digest.hexdigest()[:16]}")


# No reference counts: an array that is an argument outlives the call, and kernels allocate nothing; but with them, each
# call of an inner function costs two locked instructions for each array it is given.
_OPTIONS = {"nogil": True, "error_model": "numpy", "_nrt": False, "no_cfunc_wrapper": True}
_njit: Any = numba.njit
_unliteral: Any = types.unliteral


def kernel(signature: str) -> Callable[[Callable[..., Any]], Any]:
    """Compile for `signature`, once: later processes load the code. Releases the GIL while it runs."""

    def compiled(function: Callable[..., Any]) -> Any:
        config: Any = numba.config
        before, config.CACHE_DIR = config.CACHE_DIR, store(Path(function.__code__.co_filename))
        try:
            made = _njit(signature, cache=True, **_OPTIONS)(function)
        finally:
            config.CACHE_DIR = before
        return made

    return compiled


def _part(function: Callable[..., Any], **options: Any) -> Any:
    made = _njit(no_cpython_wrapper=True, **_OPTIONS, **options)(function)
    template = made.get_call_template
    # Without this, it would be compiled anew for each constant that it is called with.
    made.get_call_template = lambda arguments, named: template([_unliteral(each) for each in arguments], named)
    return made


def inner(function: Callable[..., Any]) -> Any:
    """A part of kernels, compiled with each. Python cannot call it."""
    return _part(function)


def inlined(function: Callable[..., Any]) -> Any:
    """A part of one kernel, built into it: many tables cost more to hand over than a short function does."""
    return _part(function, forceinline=True)


def _load(bits: int, swap: bool) -> Any:
    def load(typingctx: Any, address: Any) -> Any:  # noqa: ARG001 - numba's interface
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
            pointer = builder.inttoptr(arguments[0], ir.IntType(bits).as_pointer())
            value = builder.load(pointer, align=1)
            if swap:
                value = builder.bswap(value)
            return builder.zext(value, ir.IntType(64)) if bits < 64 else value

        return types.int64(types.int64), generate

    return intrinsic(load)


load8: Any = _load(8, False)  # the byte at an address, 0 to 255
load16: Any = _load(16, True)  # two bytes in network order
load32: Any = _load(32, True)  # four bytes in network order
load64: Any = _load(64, True)  # eight bytes in network order, as int64 has them
little32 = _load(32, False)  # four bytes, the least significant first
little64 = _load(64, False)


def _store64(typingctx: Any, address: Any, value: Any) -> Any:  # noqa: ARG001
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        pointer = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        builder.store(builder.bswap(arguments[1]), pointer, align=1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


def _store8(typingctx: Any, address: Any, value: Any) -> Any:  # noqa: ARG001
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        pointer = builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())
        builder.store(builder.trunc(arguments[1], ir.IntType(8)), pointer)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


def _copy(typingctx: Any, to: Any, source: Any, length: Any) -> Any:  # noqa: ARG001
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        byte = ir.IntType(8).as_pointer()
        move = builder.module.declare_intrinsic("llvm.memmove", [byte, byte, ir.IntType(64)])
        to, source, length = arguments
        false = ir.Constant(ir.IntType(1), 0)
        builder.call(move, [builder.inttoptr(to, byte), builder.inttoptr(source, byte), length, false])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


store8: Any = intrinsic(_store8)  # the low byte of a value to an address
store64: Any = intrinsic(_store64)  # eight bytes in network order
copy: Any = intrinsic(_copy)  # copy(to, source, length): addresses; the stretches may overlap


def _prefetch(typingctx: Any, address: Any) -> Any:  # noqa: ARG001
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        shape = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        fetch = builder.module.declare_intrinsic("llvm.prefetch", [byte], shape)
        builder.call(fetch, [builder.inttoptr(arguments[0], byte), word(0), word(3), word(1)])  # to be read, and kept
        return context.get_dummy_value()

    return types.void(types.int64), generate


prefetch: Any = intrinsic(_prefetch)  # have the cache line of an address fetched, which need not be there


def _get(typingctx: Any, row: Any, column: Any) -> Any:  # noqa: ARG001
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        return builder.load(_word(builder, *arguments))

    return types.int64(types.int64, types.int64), generate


def _put(typingctx: Any, row: Any, column: Any, value: Any) -> Any:  # noqa: ARG001
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        builder.store(arguments[2], _word(builder, *arguments[:2]))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


def _word(builder: Any, row: Any, column: Any) -> Any:
    return builder.gep(builder.inttoptr(row, ir.IntType(64).as_pointer()), [column])


# A row of int64 by the address of its first column: where there are many tables, half of numba's code for `table[i, c]`
# would be multiplications by what it does not know to be a constant, and questions whether i is negative.
get: Any = intrinsic(_get)  # get(row, column)
put: Any = intrinsic(_put)  # put(row, column, value)


@inner
def address(array):  # type: ignore[no-untyped-def]
    """Of the first byte of an array that its owner holds."""
    return np.int64(array.ctypes.data)


# Arithmetic modulo 2^64. For numba (LLVM's nsw) a sum, difference or product of int64 that overflows may be anything.


@inlined
def plus(a, b):  # type: ignore[no-untyped-def]
    return np.int64(np.uint64(a) + np.uint64(b))


@inlined
def minus(a, b):  # type: ignore[no-untyped-def]
    return np.int64(np.uint64(a) - np.uint64(b))


@inlined
def times(a, b):  # type: ignore[no-untyped-def]
    return np.int64(np.uint64(a) * np.uint64(b))


@inner
def signed32(value):  # type: ignore[no-untyped-def]
    """A difference of sequence numbers as the signed distance it means (seq.distance for kernels)."""
    return ((value + 0x8000_0000) & 0xFFFF_FFFF) - 0x8000_0000


def _pairs32(typingctx: Any, address: Any, value: Any) -> Any:  # noqa: ARG001
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        vector = ir.VectorType(ir.IntType(8), 32)
        byte = builder.trunc(arguments[1], ir.IntType(8))
        one = builder.insert_element(ir.Constant(vector, ir.Undefined), byte, ir.Constant(ir.IntType(32), 0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), 32), [ir.Constant(ir.IntType(32), 0)] * 32)
        wanted = builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), zeros)
        found = []
        for ahead in (0, 1):
            place = builder.add(arguments[0], ir.Constant(ir.IntType(64), ahead))
            loaded = builder.load(builder.inttoptr(place, vector.as_pointer()), align=1)
            found.append(builder.icmp_unsigned("==", loaded, wanted))
        mask = builder.bitcast(builder.and_(*found), ir.IntType(32))
        return builder.zext(mask, ir.IntType(64))

    return types.int64(types.int64, types.int64), generate


pairs32: Any = intrinsic(_pairs32)  # bit n: bytes n and n + 1 at an address both are `value`; reads 33 bytes
