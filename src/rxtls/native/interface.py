"""How Python's arguments reach a kernel: what build.py makes code for, and load.py calls.

    called(self, args, count)       in C: a METH_FASTCALL function; args are the objects, self is (numpy.ndarray, None)
        entry(self, args, count)    in numba: arguments looked at, the GIL let go
            function(...)           the kernel

The code reads an array's place and shape out of the numpy object itself (PyArrayObject, whose layout is part of numpy's
binary interface), so that an argument costs Python nothing. What does not fit the signature ends in a TypeError before
anything else happens. Kernels may run in several threads.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any, NamedTuple

CALLED = "rxtls_called"  # the C function, in every kernel's code
ARRAY_TYPE, NONE = range(2)  # of self

# What entries call of Python: all of its stable interface.
PYTHON = (
    "PyErr_BadArgument",
    "PyErr_Occurred",
    "PyEval_RestoreThread",
    "PyEval_SaveThread",
    "PyLong_AsLongLong",
    "PyLong_FromLongLong",
    "PyTuple_GetItem",
    "Py_IncRef",
)


class Argument(NamedTuple):
    """One argument of a kernel: an integer, or, with `dimensions`, an array of `item` (int64 or uint8)."""

    item: str
    dimensions: int


def arguments_of(signature: str) -> tuple[Argument, ...]:
    """Of a signature as in "int64(int64, int64[:, ::1], uint8[::1])"."""
    inside = signature.partition("(")[2].rstrip(") ")
    kinds = inside.replace("[:, :, ::1]", "[3]").replace("[:, ::1]", "[2]").replace("[::1]", "[1]").split(",")
    found = []
    for kind in kinds:
        item, _, dimensions = kind.strip().rstrip("]").partition("[")
        found.append(Argument(item, int(dimensions or 0)))
    return tuple(found)


@cache
def target() -> Any:
    """This machine, as a code generator sees it."""
    import llvmlite.binding as llvm

    for name in PYTHON:
        llvm.add_symbol(name, ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value)
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple().create_target_machine(codemodel="jitdefault", jit=True)
