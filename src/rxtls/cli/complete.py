"""What a shell offers for a value at <TAB>. Each list is that of the module which judges the value, imported only then.

A capture is read for its connections only where that takes no time that anybody would notice: up to LARGEST bytes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

import typer

LARGEST = 8 << 20  # bytes of a capture whose connections are offered

Completer = Callable[[str], list[str]]


def _of(values: Callable[[], Iterable[str]]) -> Completer:
    return lambda incomplete: [value for value in values() if value.startswith(incomplete)]


def profiles(incomplete: str) -> list[str]:
    """Names, and files of profiles."""
    from rxtls.device.profiles import PROFILES

    return [name for name in PROFILES if name.startswith(incomplete)] + _files(incomplete, ".toml")


def nics(incomplete: str) -> list[str]:
    """Those that packages brought, and Python files."""
    from rxtls.system.plug import brought

    return [name for name in (*brought("rxtls.nics"), "exec:") if name.startswith(incomplete)] + _files(
        incomplete, ".py"
    )


def conforming(incomplete: str) -> list[str]:
    """What can be held to the contract."""
    return [name for name in ("plain", "compiled") if name.startswith(incomplete)] + nics(incomplete)


def _files(incomplete: str, ending: str) -> list[str]:
    """The files with this ending that a name which was begun may become, and the folders."""
    from glob import escape, glob

    found = sorted(glob(f"{escape(incomplete)}*")) if incomplete else []
    return [
        f"{name}/" if os.path.isdir(name) else name for name in found if os.path.isdir(name) or name.endswith(ending)
    ]


def policies(incomplete: str) -> list[str]:
    """Names, those of packages that are installed too, and Python files."""
    from rxtls.offload.policies import GROUP, POLICIES
    from rxtls.system.plug import brought

    return [name for name in (*POLICIES, *brought(GROUP)) if name.startswith(incomplete)] + _files(incomplete, ".py")


def _vantages() -> Iterable[str]:
    from rxtls.intake.vantage import SAID

    return ("auto", *SAID)


def _suites() -> Iterable[str]:
    from rxtls.crypto.suites import SUITES

    return sorted(suite.name for suite in SUITES.values())


def _settings() -> Iterable[str]:
    from rxtls.device.profiles import settable

    return (f"{name}=" for name in sorted(settable()))


def _sysctls() -> Iterable[str]:
    from rxtls.host.sysctl import NAMES

    return (f"{name}={value}" for name in NAMES for value in "01")


def _sorts() -> Iterable[str]:
    from rxtls.study.ranking import SORTS

    return SORTS


def _shipped(ending: str) -> Callable[[], Iterable[str]]:
    def names() -> Iterable[str]:
        from rxtls.study.plan import shipped

        return shipped(ending)

    return names


vantages = _of(_vantages)
suites = _of(_suites)
settings = _of(_settings)
sorts = _of(_sorts)
sysctls = _of(_sysctls)
studies = _of(_shipped(".toml"))
papers = _of(_shipped(".csv"))
engines = _of(lambda: ("auto", "compiled", "plain"))
receivers = _of(lambda: ("both", "client", "server"))
checksums = _of(lambda: ("auto", "ignore", "verify"))
resegments = _of(lambda: ("auto", "off"))
gaps = _of(lambda: ("skip", "stop", "zero"))
orders = _of(lambda: ("file", "time"))
forms = _of(lambda: ("text", "hex", "raw", "json"))
sides = _of(lambda: ("both", "client", "server"))
payloads = _of(lambda: ("headers", "random"))


def flows(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """The connections of the run or capture that the command line names before this word, with who talks to whom."""
    found = []
    with suppress(Exception):  # whatever is wrong with it, the command itself says so
        for flow in _flows(str(ctx.params["capture"])):
            if str(flow["id"]).startswith(incomplete):
                found.append((str(flow["id"]), f"{flow['client']} > {flow['server']}"))
    return found


def _flows(capture: str) -> Iterator[dict[str, Any]]:
    if os.path.isdir(capture):
        from rxtls.study.run import Run

        yield from Run(capture).summary["flows"]
    elif os.path.getsize(capture) <= LARGEST:
        from rxtls.run.options import ReplayOptions
        from rxtls.run.replay import Replay

        run = Replay([capture], [], ReplayOptions(profile="none"))
        for _ in run.batches():
            pass
        yield from run.summary()["flows"]
