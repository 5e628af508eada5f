"""The words of kernels (rxtls/native/__init__.py), as numba is told of them.

Imported only where something is compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from numba.np import arrayobj as untyped

# No reference counts: an array that is an argument outlives the call, and kernels allocate nothing; but with them, each
# call of an inner function costs two locked instructions for each array it is given. Nobody but kernels calls a part,
# and nobody but the C function of build.py an entry: neither needs a wrapper.
OPTIONS = {"error_model": "numpy", "_nrt": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
njit: Any = numba.njit
arrayobj: Any = untyped
pointer_to: Any = types.CPointer


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


load8: Any = _load(8, False)
load16: Any = _load(16, True)
load32: Any = _load(32, True)
load64: Any = _load(64, True)
little32 = _load(32, False)
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


store8: Any = intrinsic(_store8)
store64: Any = intrinsic(_store64)
copy: Any = intrinsic(_copy)


def _prefetch(typingctx: Any, address: Any) -> Any:  # noqa: ARG001
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        shape = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        fetch = builder.module.declare_intrinsic("llvm.prefetch", [byte], shape)
        builder.call(fetch, [builder.inttoptr(arguments[0], byte), word(0), word(3), word(1)])  # to be read, and kept
        return context.get_dummy_value()

    return types.void(types.int64), generate


prefetch: Any = intrinsic(_prefetch)


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


get: Any = intrinsic(_get)
put: Any = intrinsic(_put)


def _row_at(typingctx: Any, at: Any, columns: Any) -> Any:  # noqa: ARG001
    kind = types.Array(types.int64, 1, "C")

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        word = ir.IntType(64)
        made = arrayobj.make_array(kind)(context, builder)
        data = builder.inttoptr(arguments[0], word.as_pointer())
        arrayobj.populate_array(made, data, [arguments[1]], [word(8)], word(8), meminfo=None)
        return made._getvalue()

    return kind(types.int64, types.int64), generate


row_at: Any = intrinsic(_row_at)


def _inlined(function: Callable[..., Any]) -> Any:
    return njit(forceinline=True, **OPTIONS)(function)


@_inlined
def address(array: Any) -> Any:
    return np.int64(array.ctypes.data)


number: Any = types.int64


@_inlined
def plus(a: Any, b: Any) -> Any:
    return np.int64(np.uint64(a) + np.uint64(b))


@_inlined
def minus(a: Any, b: Any) -> Any:
    return np.int64(np.uint64(a) - np.uint64(b))


@_inlined
def times(a: Any, b: Any) -> Any:
    return np.int64(np.uint64(a) * np.uint64(b))


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


pairs32: Any = intrinsic(_pairs32)


# Arguments. A numpy array object, in words from its beginning: numpy's ndarraytypes.h, PyArrayObject_fields.
_HEAD = object.__basicsize__ // 8
_TYPE = _HEAD - 1
_DATA, _DIMENSIONS_COUNT, _DIMENSIONS, _STRIDES = _HEAD, _HEAD + 1, _HEAD + 2, _HEAD + 3
_FLAGS = _HEAD + 6  # an int, like the count of dimensions: half a word
_C_CONTIGUOUS = 1
_HALF = 0xFFFF_FFFF
_SIZES = {"int64": 8, "uint8": 1}


@cache
def array_of(item: str, dimensions: int) -> tuple[Any, Any]:
    """Two functions of an object's address: the array that it is, and (with numpy.ndarray's) whether it is one of
    `item`, C-contiguous, with so many dimensions. (Whether it holds signed numbers is not looked at.)"""
    size, last = _SIZES[item], dimensions - 1

    def fits(at: Any, kind: Any) -> Any:
        if (
            get(at, _TYPE) != kind
            or get(at, _DIMENSIONS_COUNT) & _HALF != dimensions
            or not get(at, _FLAGS) & _C_CONTIGUOUS
        ):
            return False
        # Where there is no second item in a row, numpy may say anything of how far it is.
        shape = get(at, _DIMENSIONS)
        return get(shape, 0) == 0 or get(shape, last) <= 1 or get(get(at, _STRIDES), last) == size

    return intrinsic(_array(types.Array(getattr(types, item), dimensions, "C"), size)), njit(**OPTIONS)(fits)


def _array(kind: Any, size: int) -> Any:
    def array(typingctx: Any, at: Any) -> Any:  # noqa: ARG001
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
            def field(n: int) -> Any:
                return builder.load(_word(builder, arguments[0], word(n)))

            word = ir.IntType(64)
            made = arrayobj.make_array(kind)(context, builder)
            data = builder.inttoptr(field(_DATA), context.get_value_type(pointer_to(kind.dtype)))
            vector = field(_DIMENSIONS)
            shape = [builder.load(_word(builder, vector, word(n))) for n in range(kind.ndim)]
            strides = [ir.Constant(word, size)]
            for each in shape[:0:-1]:
                strides.insert(0, builder.mul(strides[0], each))
            arrayobj.populate_array(made, data, shape, strides, word(size), meminfo=None)
            return made._getvalue()

        return kind(types.int64), generate

    return array
