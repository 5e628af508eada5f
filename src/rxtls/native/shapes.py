"""What kernels take and give, as annotations: of these `kernel` makes a signature, and mypy checks calls.

    Row         int64, C-contiguous: columns of one thing           own[Own.TLSCC]
    Table       int64, of two dimensions: rows and columns          lanes[lane, Lane.CHUNK]
    Grid        int64, of three dimensions                          arrivals[chunk, n, Arrived.TIME]
    Bytes       uint8, of one dimension
    bool, int   and the numbers of rows (Columns)
    a NamedTuple of these, by which tables that belong together travel

A numpy array is each of the first four to mypy. Whether it has the right dimensions and items is asked where a kernel
is called.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar, cast

import numpy as np
import numpy.typing as npt

from rxtls.native.parts import Word

Array = npt.NDArray[np.int64]  # of any dimensions: what Python has of a table


class Row(Protocol):
    """int64[::1]"""

    def __len__(self) -> int: ...
    def __getitem__(self, column: int, /) -> int: ...
    def __setitem__(self, column: int, value: int, /) -> None: ...


class Table(Protocol):
    """int64[:, ::1]"""

    @property
    def shape(self) -> tuple[int, int]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, at: tuple[int, int], /) -> int: ...
    def __setitem__(self, at: tuple[int, int], value: int, /) -> None: ...


class Grid(Protocol):
    """int64[:, :, ::1]"""

    @property
    def shape(self) -> tuple[int, int, int]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, at: tuple[int, int, int], /) -> int: ...
    def __setitem__(self, at: tuple[int, int, int], value: int, /) -> None: ...


class Columns(int):
    """The number of a row in some table, as a type of its own, and the names of the table's columns.

        class Lane(Columns):
            CHUNK = 5

        lanes[lane, Lane.CHUNK]        where `lane` is a Lane

    A Lane where another row's number belongs is an error to mypy. For numba both are int64.
    """


Number = TypeVar("Number", bound=Columns)


def number_of(kind: type[Number]) -> Callable[[int], Number]:  # noqa: ARG001 - for mypy alone
    """A word of kernels: an int as the number of such a row."""
    return cast(Callable[[int], Number], Word("number"))


class CTypes(Protocol):
    """numpy's ndarray.ctypes."""

    @property
    def data(self) -> int: ...


class Bytes(Protocol):
    """uint8[::1]"""

    @property
    def ctypes(self) -> CTypes: ...

    def __len__(self) -> int: ...
    def __getitem__(self, at: int, /) -> int: ...
    def __setitem__(self, at: int, value: int, /) -> None: ...


class Argument(NamedTuple):
    """One argument of a kernel: an integer, or, with `dimensions`, an array of `item` (int64 or uint8)."""

    item: str
    dimensions: int


class Group(NamedTuple):
    """Several of them in a NamedTuple."""

    made: Callable[..., Any]  # the class
    fields: tuple[Argument, ...]


_ARRAYS = {
    "Row": Argument("int64", 1),
    "Table": Argument("int64", 2),
    "Grid": Argument("int64", 3),
    "Bytes": Argument("uint8", 1),
}
_NUMBERS = {"int": Argument("int64", 0), "bool": Argument("boolean", 0)}


def arguments_of(function: Callable[..., Any]) -> tuple[Argument | Group, ...]:
    """What a kernel takes, by its annotations, which are text. TypeError for one that kernels do not know."""
    names: dict[str, Any] = function.__globals__
    kinds = {name: kind for name, kind in function.__annotations__.items() if name != "return"}
    return tuple(
        _group(names[kind]) if _together(names.get(kind)) else _argument(kind, names) for kind in kinds.values()
    )


def gives(function: Callable[..., Any]) -> bool:
    """Whether a kernel gives a number. TypeError if it gives anything else than that or nothing."""
    kind = function.__annotations__["return"]
    if kind != "None" and _argument(kind, function.__globals__).dimensions:
        raise TypeError(f"a kernel gives a number or nothing, not {kind}")
    return bool(kind != "None")


def _together(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, tuple) and hasattr(value, "_fields")


def _group(made: Any) -> Group:
    names = vars(sys.modules[made.__module__])
    kinds = [made.__annotations__[name] for name in made._fields]
    return Group(made, tuple(_argument(getattr(kind, "__forward_arg__", kind), names) for kind in kinds))


def _argument(kind: str, names: dict[str, Any]) -> Argument:
    known = _ARRAYS.get(kind) or _NUMBERS.get(kind)
    if known is None and isinstance(made := names.get(kind), type) and issubclass(made, Columns):
        known = _NUMBERS["int"]
    if known is None:
        raise TypeError(f"kernels know no {kind}")
    return known
