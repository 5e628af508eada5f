"""A class of somebody else's, by the name that a person gives: MODULE:CLASS, FILE.py:CLASS, or what a package brought.

A package brings classes by entry points of a group (rxtls.policies, rxtls.nics). What does not work while a class is
found is one line: the name as it was given, and the cause.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType
from typing import Any

from rxtls.errors import UsageError


def brought(group: str) -> list[str]:
    """The names that packages which are installed bring for a group of entry points."""
    return sorted({each.name for each in entry_points(group=group)})


def is_plug(name: str, group: str) -> bool:
    """Whether `name` may be somebody else's class."""
    return ":" in name or name in brought(group)


def plugged(name: str, group: str, what: str) -> Callable[[], Any]:
    """The class by its name; `what` it is, for errors. Raises UsageError."""
    if ":" in name:
        where, _, attribute = name.rpartition(":")
        module = _told(name, what, lambda: _file(where) if where.endswith(".py") else _module(where))
        found: Any = module
        for part in attribute.split("."):
            found = getattr(found, part, None)
    else:
        entry = next(each for each in entry_points(group=group) if each.name == name)
        found = _told(name, what, entry.load)
    if not callable(found):
        raise UsageError(f"{what} {name}: there is no such class")
    made: Callable[[], Any] = found
    return made


def caused(error: BaseException) -> str:
    """An exception of somebody else's code in one line: kind, words, and the line of its own file that raised it."""
    at, trace = "", error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if f"{os.sep}rxtls{os.sep}" not in file and "importlib" not in file and not file.startswith("<"):
            at = f" ({os.path.basename(file)} line {trace.tb_lineno})"
        trace = trace.tb_next
    words = " ".join(str(error).split())
    return f"{type(error).__name__}{': ' if words else ''}{words}{at}"


def _told(name: str, what: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except UsageError as error:
        raise UsageError(f"{what} {name}: {error}") from None
    except (Exception, SystemExit) as error:
        raise UsageError(f"{what} {name}: {caused(error)}") from None


def _module(name: str) -> ModuleType:
    """An importable one; the folder that a command is run in counts, as with `python -m`."""
    here = os.getcwd()
    added = here not in sys.path and "" not in sys.path
    if added:
        sys.path.append(here)
    try:
        return importlib.import_module(name)
    finally:
        if added:
            sys.path.remove(here)


def _file(name: str) -> ModuleType:
    if not os.path.isfile(name):
        raise UsageError("there is no such file")
    called = f"rxtls plugged {os.path.abspath(name)}"
    spec = spec_from_file_location(called, name)
    if spec is None or spec.loader is None:
        raise UsageError("this is no Python file")
    module = module_from_spec(spec)
    sys.modules[called] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module
