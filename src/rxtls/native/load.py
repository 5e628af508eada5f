"""A kernel as Python calls it: machine code made a builtin function, and how arguments reach it.

    called(self, args, count)       in C: a METH_FASTCALL function; args are the objects, self is (numpy.ndarray, None)
        entry(self, args, count)    in numba: arguments looked at, the GIL let go
            function(...)           the kernel

The code reads an array's place and shape out of the numpy object itself (PyArrayObject, whose layout is part of numpy's
binary interface), so that an argument costs Python nothing. What does not fit the signature ends in a TypeError before
anything else happens. Kernels may run in several threads.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rxtls.native import store

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
_METH_FASTCALL = 0x80
_KEPT: list[Any] = []  # code is good as long as its engine is there, and what it is described by


class Argument(NamedTuple):
    """One argument of a kernel: an integer, or, with `dimensions`, an array of `item` (int64 or uint8)."""

    item: str
    dimensions: int


class _MethodDef(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("method", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


def arguments_of(signature: str) -> tuple[Argument, ...]:
    """Of a signature as in "int64(int64, int64[:, ::1], uint8[::1])"."""
    inside = signature.partition("(")[2].rstrip(") ")
    kinds = inside.replace("[:, :, ::1]", "[3]").replace("[:, ::1]", "[2]").replace("[::1]", "[1]").split(",")
    found = []
    for kind in kinds:
        item, _, dimensions = kind.strip().rstrip("]").partition("[")
        found.append(Argument(item, int(dimensions or 0)))
    return tuple(found)


def load(function: Callable[..., Any], signature: str) -> Callable[..., Any]:
    """`function` as a builtin one: its code out of the store, or compiled now."""
    path, name = Path(function.__code__.co_filename), function.__name__
    objects = store.load(path, name)
    if objects is None:
        from rxtls.native.build import build

        _announce()
        objects = build(function, arguments_of(signature), signature.startswith("int64("))
        store.save(path, name, objects)
    described = _MethodDef(name.encode(), _placed(objects), _METH_FASTCALL, (function.__doc__ or "").encode())
    _KEPT.append(described)
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.restype, make.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.py_object, ctypes.py_object)
    made: Callable[..., Any] = make(ctypes.addressof(described), (np.ndarray, None), function.__module__)
    return made


@cache
def _announce() -> None:
    """Once: whoever waits may want to know what for."""
    logging.getLogger("rxtls").info("compiling the engine, once per machine, in about half a minute")


def _placed(objects: tuple[bytes, ...]) -> int:
    """Where CALLED is, once these object files are machine code in this process."""
    import llvmlite.binding as llvm

    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target())
    for each in objects:
        engine.add_object_file(llvm.ObjectFileRef.from_data(each))
    engine.finalize_object()
    _KEPT.append(engine)
    return int(engine.get_function_address(CALLED))


@cache
def target() -> Any:
    """This machine, as a code generator sees it."""
    import llvmlite.binding as llvm

    for name in PYTHON:
        llvm.add_symbol(name, ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value)
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple().create_target_machine(codemodel="jitdefault", jit=True)
