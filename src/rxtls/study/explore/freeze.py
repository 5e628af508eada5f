"""A state as a value: objects and containers as nested tuples that can be compared and kept, and back.

Whatever fields a class has are taken, by its slots: a field that is added later is part of the state by itself. Values
that never change stay what they are; what is SHARED is one for all states, and LEFT_OUT are fields that decide nothing.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from enum import Enum
from operator import attrgetter
from types import NoneType
from typing import Any

from rxtls.counters import Ledger
from rxtls.crypto.keys import Keys
from rxtls.device.context import Context
from rxtls.device.tracker import HeaderPattern
from rxtls.host.reassembly import Reassembly
from rxtls.host.tally import Tally
from rxtls.offload.mbuf import Mbuf
from rxtls.offload.policies.guest import GuestPolicy
from rxtls.offload.receive_tag import ReceiveTag

Frozen = Any

SHARED: tuple[type, ...] = (Ledger, Tally, Keys, HeaderPattern, type)
LEFT_OUT: dict[type, dict[str, Any]] = {
    Context: {"false_anchors": 0},
    Reassembly: {"_time": 0, "_waiting_since": 0},
    # Which number each place has is the same in all states: it is one book, and no part of any.
    GuestPolicy: {"_told": ""},
    ReceiveTag: {"polls": 0, "confirms": 0, "positions": 0, "_numbers": {}},
}

_VALUES: set[type] = {int, bool, str, bytes, float, NoneType, frozenset}
_CONTAINERS: dict[type, Callable[[Iterable[Any]], Any]] = {
    list: list,
    deque: deque,
    set: set,
    bytearray: lambda held: bytearray(*held),
}


class Packed(tuple[Any, ...]):
    """(type, its content as values): tells a container or object from a tuple that is a value."""

    __slots__ = ()


def freeze(thing: Any) -> Frozen:
    """`thing` as a value."""
    kind = type(thing)
    if kind in _VALUES:
        return thing
    # Most of what is met is values: they are told without a call each.
    fields = _FIELDS.get(kind)
    if fields is not None:
        return Packed((kind, tuple([each if type(each) in _VALUES else freeze(each) for each in fields[0](thing)])))
    if kind is Mbuf:
        content = thing.seq, thing.data, thing.mark, thing.leaf, thing.flags
        _MBUFS.setdefault(content, thing)
        return Packed((kind, content))
    if kind in (list, deque):
        return Packed((kind, tuple([each if type(each) in _VALUES else freeze(each) for each in thing])))
    if kind is bytearray:
        return Packed((kind, (bytes(thing),)))
    if kind is set:
        return Packed((kind, tuple(sorted(thing))))
    if kind in (dict, Counter):
        return Packed((kind, tuple([(key, freeze(value)) for key, value in thing.items()])))
    _learn(kind)
    return freeze(thing)


def thaw(frozen: Frozen) -> Any:
    """A new object from a value."""
    if type(frozen) is not Packed:
        return frozen
    kind, content = frozen
    if kind is Mbuf:
        return _MBUFS[content]
    fields = _FIELDS.get(kind)
    if fields is None:
        if kind in (dict, Counter):
            return kind({key: thaw(value) for key, value in content})
        return _CONTAINERS[kind]([thaw(each) if type(each) is Packed else each for each in content])
    thing = object.__new__(kind)
    for name, value in zip(fields[1], content, strict=True):
        setattr(thing, name, thaw(value) if type(value) is Packed else value)
    for name, value in fields[2]:
        setattr(thing, name, value)
    return thing


# Nobody changes an Mbuf that LRO has given up: equal ones are one. Who brought their bytes, and when, decides nothing.
_MBUFS: dict[tuple[Any, ...], Mbuf] = {}

_FIELDS: dict[type, tuple[Callable[[Any], tuple[Any, ...]], tuple[str, ...], list[tuple[str, Any]]]] = {}


def _learn(kind: type) -> None:
    """What a class that is new here is: a value, or an object with slots."""
    if issubclass(kind, SHARED) or issubclass(kind, tuple | Enum):
        _VALUES.add(kind)
        return
    left = LEFT_OUT.get(kind, {})
    slots = [name for base in kind.__mro__ for name in getattr(base, "__slots__", ())]
    if kind.__dictoffset__:
        slots.append("__dict__")  # a policy of somebody else's
    elif not slots and kind.__init__ is not object.__init__:
        raise TypeError(f"{kind.__name__} has no slots: what is its state?")
    names = tuple(name for name in slots if name not in left)
    read: Callable[[Any], tuple[Any, ...]]
    match len(names):
        case 0:
            read = _nothing
        case 1:
            read = _only(names[0])
        case _:
            read = attrgetter(*names)
    _FIELDS[kind] = read, names, list(left.items())


def _nothing(_thing: Any) -> tuple[()]:
    return ()


def _only(name: str) -> Callable[[Any], tuple[Any]]:
    read = attrgetter(name)
    return lambda thing: (read(thing),)
