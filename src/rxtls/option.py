"""What a person may set: a dataclass field that says what it does, and what it may be.

Said here once, the command line has it as an option (cli/options.py), the library as a field, and the documents' tables
are held against it (tests/test_docs.py).
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from os import PathLike, fspath
from typing import Any

from rxtls.errors import UsageError


@dataclass(frozen=True, slots=True)
class Option:
    """One of them. `offers` names the values that a shell offers for it (cli/complete.py); `flag` is what the command
    calls it, where that is not the field's name; whole numbers are from `least` to `most`,
    any where both are 0."""

    help: str
    offers: str | None
    flag: str | None
    least: int
    most: int


def option(
    default: Any,
    what: str,
    offers: str | None = None,
    *,
    flag: str | None = None,
    within: tuple[int, int] = (0, 0),
) -> Any:
    """A field of a dataclass that is an option; a dictionary is filled by NAME=VALUE."""
    metadata = {"option": Option(what, offers, flag, *within)}
    if isinstance(default, dict):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


def options_of(kind: Any) -> dict[str, Option]:
    """The options among a dataclass's fields, by name and in order."""
    return {each.name: each.metadata["option"] for each in fields(kind) if "option" in each.metadata}


_KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {  # by a field's annotation: what it may be
    "str": ("text", lambda value: isinstance(value, str)),
    "str | None": ("text or None", lambda value: value is None or isinstance(value, str)),
    "bool": ("True or False", lambda value: isinstance(value, bool)),
    "int": ("a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool)),
    "float": ("a number", lambda value: isinstance(value, int | float) and not isinstance(value, bool)),
    "dict[str, str]": (
        'a dictionary of text by name, such as {"name": "8"}',
        lambda value: (
            isinstance(value, Mapping) and all(isinstance(each, str) for pair in value.items() for each in pair)
        ),
    ),
}


def check(values: Any) -> None:
    """UsageError for a value of another type than its field's, and for a number not within its option's bounds."""
    for each in fields(values):
        what, right = _KINDS.get(str(each.type), ("", lambda _: True))
        if not right(value := getattr(values, each.name)):
            raise UsageError(f"{each.name} is {what}, not {shown(value)}")
    for name, option in options_of(values).items():
        number = getattr(values, name)
        if option.least < option.most and not option.least <= number <= option.most:
            raise UsageError(f"{name} is a whole number from {option.least} to {option.most}, not {number}")


_SECRET = re.compile(r"[0-9a-fA-F]{32} [0-9a-fA-F]{32}")


def names(given: Any, what: str) -> list[str | PathLike[str]]:
    """Several file names, or a list of one. UsageError for what is none; `what` they are, for its words.

    What a key log holds may be given in place of its name: it is not shown, nor told to anybody as a name.
    """
    found: list[Any] = [None]
    if isinstance(given, str | PathLike):
        found = [given]
    elif isinstance(given, Iterable):
        found = list(given)
    for each in found:
        if not isinstance(each, str | PathLike) or not isinstance(fspath(each), str):
            wrong = given if each is None else each
            raise UsageError(f"{what}: a file name, or several, and not {type(wrong).__name__}")
        if _SECRET.search(fspath(each)):
            raise UsageError(f"{what}: a file name, or several, and not what is in the file")
    return found


def shown(value: Any) -> str:
    """A value of some type, in a sentence of one line."""
    return f"{reprlib.repr(value)} ({type(value).__name__})"
