"""What a person may set: a dataclass field that says what it does, and what it may be.

Said here once, the command line has it as an option (cli/options.py), the library as a field, and the documents' tables
are held against it (tests/test_docs.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
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


def check_bounds(values: Any) -> None:
    """UsageError for a number that is not within its option's bounds."""
    for name, each in options_of(values).items():
        number = getattr(values, name)
        if each.least < each.most and not each.least <= number <= each.most:
            raise UsageError(f"{name} is a whole number from {each.least} to {each.most}, not {number}")
