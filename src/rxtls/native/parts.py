"""What kernels are made of, before anybody has given it a meaning: build.py does for numba, interpret.py for Python."""

from __future__ import annotations

from collections.abc import Callable
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
