"""Kernels compiled by numba, with their parts and words, to object files. Imported only where something is not stored.

numba looks names up in a function's module. There the parts of kernels are `Part`, `Word` and `Foreign`, which mean
nothing to it; so each function is given a copy of its module's names in which these are what numba can call.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import FunctionType, ModuleType
from typing import Any

from numba.core import types

from rxtls.native import Foreign, Part, Word, words
from rxtls.native.load import FIRST, REFUSED, Argument
from rxtls.native.words import OPTIONS, njit

_unliteral: Any = types.unliteral
_FOREIGN = {"address": types.int64, "int": types.int32}


def build(function: Callable[..., Any], arguments: tuple[Argument, ...], gives: bool) -> tuple[str, bytes]:
    """The symbol and the object file of a function int32(result*, exception*, int64 block) that does `function`."""
    entry = njit("int64(int64)", **OPTIONS)(_entry(njit(**OPTIONS)(_resolved(function)), arguments, gives))
    (made,) = entry.overloads.values()
    return made.fndesc.llvm_func_name, made.library._get_compiled_object()


def _entry(function: Any, arguments: tuple[Argument, ...], gives: bool) -> Any:
    """`function` of a block (load.py)."""
    names: dict[str, Any] = {"function": function, "get": words.get, "put": words.put}
    lines = ["def entry(block):"]
    handed = []
    for n, each in enumerate(arguments):
        word = f"get(block, {FIRST + n})"
        if each.dimensions:
            kind = f"{each.item}_{each.dimensions}"
            names[kind], names[f"is_{kind}"] = words.array_of(each.item, each.dimensions)
            lines += [f"    if not is_{kind}({word}):", f"        put(block, {REFUSED}, {n + 1})", "        return 0"]
            word = f"{kind}({word})"
        elif each.item == "boolean":
            word += " != 0"
        handed.append(word)
    call = f"function({', '.join(handed)})"
    lines += [f"    return {call}"] if gives else [f"    {call}", "    return 0"]
    exec("\n".join(lines), names)
    return names["entry"]


@cache
def _part(part: Part) -> Any:
    options = {"forceinline": True} if part.forceinline else {}
    made = njit(**OPTIONS, **options)(_resolved(part.function))
    template = made.get_call_template
    # Without this, it would be compiled anew for each constant that it is called with.
    made.get_call_template = lambda arguments, named: template([_unliteral(each) for each in arguments], named)
    return made


def _resolved(function: Any) -> Any:
    """`function`, with names that numba knows."""
    return FunctionType(function.__code__, _names(function.__globals__), function.__name__, function.__defaults__)


_NAMES: dict[int, dict[str, Any]] = {}  # by the id of a module's own names


def _names(own: dict[str, Any]) -> dict[str, Any]:
    found = _NAMES.get(id(own))
    if found is None:
        found = _NAMES[id(own)] = {}
        found.update({name: _meant(value) for name, value in own.items()})
    return found


def _meant(value: Any) -> Any:
    if isinstance(value, Part):
        return _part(value)
    if isinstance(value, Word):
        return getattr(words, value.name)
    if isinstance(value, ModuleType) and value.__name__.startswith("rxtls."):
        meant = ModuleType(value.__name__)
        vars(meant).update(_names(vars(value)))
        return meant
    if isinstance(value, Foreign):
        return types.ExternalFunction(value.symbol, types.int32(*(_FOREIGN[each] for each in value.arguments)))
    return value
