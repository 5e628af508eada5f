"""A kernel as Python calls it: machine code by its address, and how arguments reach it.

    block   | result | refused | argument 0 | argument 1 | ...       int64 words, made for each call
                                      |
                                      +-- a number, or the address of a numpy array *object*

The code finds an array's bytes and shape in the object itself (numpy's PyArrayObject, whose layout is part of its
binary interface), so that an argument costs Python no more than `id`. An array that is not what the signature says
makes the code stop before anything else, with the argument's position in `refused`.

ctypes lets go of the GIL during the call. The block is the call's own, so kernels may run in several threads.
"""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from rxtls.native import store

RESULT, REFUSED, FIRST = range(3)  # words of a block

_CODE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
_MADE: list[Any] = []  # engines: code is good as long as its engine is there


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


class Kernel:
    """Compiled code of `function`, loaded from the store or compiled now."""

    def __init__(self, function: Callable[..., Any], signature: str) -> None:
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__
        self.function = function
        self.signature = signature
        self.arguments = arguments_of(signature)
        self._pack = _packer(self.arguments)
        self._gives = signature.startswith("int64(")
        self._code = _loaded(*self._object())

    def __call__(self, *arguments: Any) -> Any:
        """Run it. TypeError for arrays of another shape than the signature's, or numbers of arguments."""
        block = self._pack(*arguments)
        at = block.buffer_info()[0]
        failed = self._code(at, at, at)
        if failed or block[REFUSED]:
            raise TypeError(f"{self.__name__}: argument {block[REFUSED] - 1} is not {self.signature}'s")
        return block[RESULT] if self._gives else None

    def _object(self) -> tuple[str, bytes]:
        path = Path(self.function.__code__.co_filename)
        found = store.load(path, self.__name__)
        if found is None:
            from rxtls.native.build import build

            found = build(self.function, self.arguments, self._gives)
            store.save(path, self.__name__, *found)
        return found


def _packer(arguments: tuple[Argument, ...]) -> Callable[..., array[int]]:
    """What makes a call's block of its arguments."""
    names = [f"a{n}" for n in range(len(arguments))]
    words = [f"id({name})" if each.dimensions else name for name, each in zip(names, arguments, strict=True)]
    source = f"lambda {', '.join(names)}: array('q', (0, 0, {', '.join(words)}))"
    made: Callable[..., array[int]] = eval(source, {"array": array, "id": id})
    return made


def _loaded(symbol: str, code: bytes) -> Callable[[int, int, int], int]:
    """The function `symbol` of an object file, as machine code in this process."""
    import llvmlite.binding as llvm

    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _MADE.append(engine)
    return _CODE(engine.get_function_address(symbol))


@cache
def _target() -> Any:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple().create_target_machine(codemodel="jitdefault", jit=True)
