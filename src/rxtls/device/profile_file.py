"""A NIC profile as a small TOML file: read strictly, and written so that a file can be begun from.

name = "my-nic"                              by default the file's name
ciphers = ["AES_GCM"]                        of CIPHERS
versions = ["TLS12", "TLS13"]                of VERSIONS
commands = ["query", "confirm"]              of COMMANDS
budget = 64                                  any other field of Profile, as it is printed; it has a default
poll = "8,50us"

What is read back from what is written is the same profile.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rxtls.crypto.suites import TRAITS, Family, Version
from rxtls.errors import UsageError

CIPHERS = {family.name: family for family in Family if TRAITS[family].stream}  # what can be decrypted as a stream
VERSIONS = {version.name: version for version in (Version.TLS12, Version.TLS13)}
COMMANDS = ("query", "confirm", "guess", "set_position")

_LISTS: dict[str, tuple[str, ...]] = {"ciphers": tuple(CIPHERS), "versions": tuple(VERSIONS), "commands": COMMANDS}
_LONGEST_NAME = 64

_ABOUT = {
    "name": "as tables and JSON show it",
    "ciphers": f"of {', '.join(CIPHERS)}",
    "versions": f"of {', '.join(VERSIONS)}",
    "commands": f"of {', '.join(COMMANDS)}",
}


def is_file(name: str) -> bool:
    """Whether this is a file's name, and not that of a profile."""
    return name.endswith(".toml") or "/" in name


def read(name: str, value: Callable[[str, str], Any], settable: frozenset[str]) -> dict[str, Any]:
    """The fields of a profile in the file `name`. `value` reads a setting (field, text), and `settable` names them.

    UsageError names the file, the key and the cause.
    """
    try:
        content = tomllib.loads(Path(name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as failure:  # ValueError: TOML, UTF-8, or a NUL in the name
        raise UsageError(f"{name}: {getattr(failure, 'strerror', None) or failure}") from None
    for key in _LISTS:
        if key not in content:
            raise UsageError(f"{name}: {key} is missing")
    found: dict[str, Any] = {"name": Path(name).stem}
    for key, given in content.items():
        try:
            found[key] = _field(key, given, value, settable)
        except UsageError as error:
            raise UsageError(f"{name}: {error}") from None
    return found


def _field(key: str, given: Any, value: Callable[[str, str], Any], settable: frozenset[str]) -> Any:
    if key == "name":
        if not isinstance(given, str) or not given.isprintable() or not 0 < len(given) <= _LONGEST_NAME:
            raise UsageError(f"name is a text of 1 to {_LONGEST_NAME} characters, not {given!r}")
        return given
    if key in _LISTS:
        known = _LISTS[key]
        if not isinstance(given, list):
            raise UsageError(f"{key} is a list of names ({', '.join(known)}), not {given!r}")
        for each in given:
            if each not in known:
                raise UsageError(f"{key} has no {each!r}; there are {', '.join(known)}")
        names: dict[str, Any] = {**CIPHERS, **VERSIONS}
        return frozenset(names.get(each, each) for each in given)
    if key not in settable:
        raise UsageError(f"no {key!r} in a profile; there are name, {', '.join((*_LISTS, *sorted(settable)))}")
    if isinstance(given, bool) or not isinstance(given, int | str):
        raise UsageError(f"{key} is a whole number or a text, not {given!r}")
    if isinstance(value(key, str(given)), int) and not isinstance(given, int):
        raise UsageError(f"{key} is a whole number, not the text {given!r}")
    return value(key, str(given))


def written(printed: dict[str, object], origin: str) -> str:
    """The file of a profile, from what Profile.printed gives; `origin` says what it is."""
    lines = [f"# {origin}. What each setting means: docs/replay.md, Settings."]
    for key, value in printed.items():
        about = f"  # {_ABOUT[key]}" if key in _ABOUT else ""
        lines.append(f"{key} = {json.dumps(value, ensure_ascii=False)}{about}")
    return "\n".join(lines) + "\n"
