"""What kernels are made of, before anybody has given it a meaning: build.py does for numba, interpret.py for Python."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any


class Part:
    """A function that kernels call: compiled with each of them. Python cannot call it."""

    __slots__ = ("forceinline", "function")

    def __init__(self, function: Callable[..., Any], forceinline: bool = False) -> None:
        self.function = function
        self.forceinline = forceinline


class Word:
    """One of the names below, which words.py has for numba."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class Foreign:
    """A C function that gives an int: the name by which the code generator knows its address, and what it takes."""

    __slots__ = ("arguments", "symbol")

    def __init__(self, symbol: str, *arguments: str) -> None:
        self.symbol = symbol
        self.arguments = arguments


class Names:
    """Functions with names that mean something to a runner: `meant` gives what stands for a value.

    Names are looked up in a function's module. So each function is given a copy of its module's names, and where one of
    these is a module of ours, that is a copy, too.
    """

    def __init__(self, meant: Callable[[Any], Any]) -> None:
        self._meant = meant
        self._functions: dict[Any, Any] = {}
        self._modules: dict[int, dict[str, Any]] = {}  # by the id of a module's own names

    def resolved(self, function: Any) -> Any:
        """`function`, with such names. The same one each time."""
        found = self._functions.get(function)
        if found is None:
            names, defaults = self._names(function.__globals__), function.__defaults__
            found = FunctionType(function.__code__, names, function.__name__, defaults)
            self._functions[function] = found
        return found

    def _names(self, own: dict[str, Any]) -> dict[str, Any]:
        found = self._modules.get(id(own))
        if found is None:
            found = self._modules[id(own)] = {}
            found.update({name: self._stand_in(value) for name, value in own.items()})
        return found

    def _stand_in(self, value: Any) -> Any:
        if isinstance(value, ModuleType) and value.__name__.startswith("rxtls."):
            copied = ModuleType(value.__name__)
            vars(copied).update(self._names(vars(value)))
            return copied
        return self._meant(value)
