"""How Python's arguments reach a kernel: what build.py makes code for, and load.py calls.

    called(self, args, count)       in C: a METH_FASTCALL function; args are the objects, self is a tuple (ARRAY_TYPE)
        entry(self, args, count)    in numba: arguments looked at, the GIL let go
            function(...)           the kernel

The code reads an array's place and shape out of the numpy object itself (PyArrayObject, whose layout is part of numpy's
binary interface), so that an argument costs Python nothing. What does not fit the signature ends in a TypeError before
anything else happens. Kernels may run in several threads.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

CALLED = "rxtls_called"  # the C function, in every kernel's code
ARRAY_TYPE, NONE, TUPLE_TYPE = range(3)  # of self, which is (numpy.ndarray, None, tuple)

# What entries call of Python: all of its stable interface.
PYTHON = (
    "PyErr_BadArgument",
    "PyErr_Occurred",
    "PyEval_RestoreThread",
    "PyEval_SaveThread",
    "PyLong_AsLongLong",
    "PyLong_FromLongLong",
    "PyObject_IsInstance",
    "PyTuple_GetItem",
    "PyTuple_Size",
    "Py_IncRef",
)


@cache
def target() -> Any:
    """This machine, as a code generator sees it."""
    import llvmlite.binding as llvm

    for name in PYTHON:
        llvm.add_symbol(name, ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value)
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple().create_target_machine(codemodel="jitdefault", jit=True)
