"""A kernel as Python has it: machine code out of the store, or compiled now, in place and made a builtin function."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from rxtls.native import store
from rxtls.native.interface import CALLED, target
from rxtls.native.shapes import arguments_of, gives

_METH_FASTCALL = 0x80
PASSING = "rxtls_passing"  # on what is logged of work that goes on: on a terminal a line that does not stay
_KEPT: list[Any] = []  # code is good as long as its engine is there, and what it is described by


class _MethodDef(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("method", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


def define(symbol: str, place: int) -> None:
    """Say where the C function is that kernels call by this name: before a kernel that does is loaded."""
    import llvmlite.binding as llvm

    llvm.add_symbol(symbol, place)


def load(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` as a builtin one: its code out of the store, or compiled now."""
    path, name = Path(function.__code__.co_filename), function.__name__
    objects = store.load(path, name)
    if objects is None:
        from rxtls.native.build import build

        with _announced(path, name):
            objects = build(function, arguments_of(function), gives(function))
        store.save(path, name, objects)
    described = _MethodDef(name.encode(), _placed(objects), _METH_FASTCALL, (function.__doc__ or "").encode())
    _KEPT.append(described)
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.restype, make.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.py_object, ctypes.py_object)
    made: Callable[..., Any] = make(ctypes.addressof(described), (np.ndarray, None, tuple), function.__module__)
    return made


_ASKED: list[tuple[Path, str]] = []  # kernels that this process had compiled


@contextmanager
def _announced(path: Path, name: str) -> Iterator[None]:
    """Whoever waits may want to know what for, and how long: each kernel, and how many there are to compile."""
    _ASKED.append((path, name))
    logger, passing = logging.getLogger("rxtls"), {PASSING: True}
    told = "compiling the engine, once per machine: kernel %d of at most %d, %s"
    logger.info(told, len(_ASKED), max(len(_ASKED), _known()), name, extra=passing)
    try:
        yield
    finally:
        logger.debug("compiled %s", name, extra=passing)


@cache
def _known() -> int:
    """Kernels of the package that are not stored yet: most of them every run needs, the others when it does."""
    return len(_ASKED) + sum(store.load(*each) is None for each in store.kernels() if each not in _ASKED)


def _placed(objects: tuple[bytes, ...]) -> int:
    """Where CALLED is, once these object files are machine code in this process."""
    import llvmlite.binding as llvm

    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target())
    for each in objects:
        engine.add_object_file(llvm.ObjectFileRef.from_data(each))
    engine.finalize_object()
    _KEPT.append(engine)
    return int(engine.get_function_address(CALLED))
