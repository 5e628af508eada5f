"""All cases over all kinds of keys that a profile's NIC takes, and the table of what came of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Console
from rich.table import Table

from rxtls.crypto.suites import Family, Version
from rxtls.device.guest import Device
from rxtls.device.profiles import AT_ONCE, Profile
from rxtls.errors import GuestError, UsageError
from rxtls.study.conform.bed import Bed, Breach
from rxtls.study.conform.cases import CASES, Begin, Case
from rxtls.study.conform.stream import kinds
from rxtls.study.table import WIDTH
from rxtls.version import __version__

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one case: `breaches` by the suite under which each was found; `left_out`, the commands that it needs
    and the profile has not."""

    case: Case
    breaches: dict[str, str]
    left_out: str = ""

    @property
    def verdict(self) -> str:
        """In a word."""
        return "BREACH" if self.breaches else "left out" if self.left_out else "holds"


@dataclass(frozen=True, slots=True)
class Conformance:
    """All results for one NIC."""

    nic: str
    profile: str
    suites: list[str]
    results: list[Result]

    @property
    def good(self) -> bool:
        """No breach."""
        return not any(each.breaches for each in self.results)


def conform(
    make: Callable[[], str | Device], name: str, profile: Profile, only: Sequence[str] = (), suites: int = 6
) -> Conformance:
    """Every case, or those named `only`, over at most so many suites, with the NIC that `make` makes: one of ENGINES,
    or a Device. One that raises is made anew.

    Commands act at once, and the first record's place is told at install, whatever the profile says. Raises UsageError
    for a profile that takes no keys, and what `make` raises.
    """
    chosen = replace(profile, install=AT_ONCE, poll=AT_ONCE, confirm=AT_ONCE, start="programmed")
    taken = [(family, version) for family in Family for version in Version if family in profile.ciphers]
    taken = [each for each in taken if each[1] in profile.versions]
    keys, others = dict(list(kinds(taken).items())[:suites]), kinds(taken, 2)
    if not keys:
        raise UsageError(f"profile {profile.name} takes no keys: there is nothing to hold a NIC to")
    bed = Bed(make(), chosen)
    results: list[Result] = []
    for case in [each for each in CASES if not only or each.name in only]:
        breaches: dict[str, str] = {}
        missing = ", ".join(sorted(case.needs - profile.commands))
        for suite in [] if missing else keys:
            try:
                case.run(Begin(bed, keys[suite], others[suite]))
            except Breach as breach:
                breaches[suite] = str(breach)
            except GuestError as error:
                breaches[suite] = f"{error.cause}; last told: {error.told}"
                bed = Bed(make(), chosen)
        results.append(Result(case, breaches, missing))
    return Conformance(name, profile.name, list(keys), results)


def rendered(found: Conformance) -> str:
    """The table, as text for standard output."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("case", "result", "what has to hold"):
        table.add_column(head, no_wrap=head != "what has to hold")
    for each in found.results:
        table.add_row(each.case.name, each.verdict, each.case.about)
    with console.capture() as captured:
        console.print(table)
        for each in found.results:
            for suite, breach in each.breaches.items():
                console.print(f"{each.case.name}, {suite}: {breach}", markup=False, soft_wrap=True)
            if each.left_out:
                console.print(
                    f"{each.case.name} is left out: profile {found.profile} has no {each.left_out}", markup=False
                )
        breaches = sum(bool(each.breaches) for each in found.results)
        held = sum(each.verdict == "holds" for each in found.results)
        console.print(f"{found.nic}: {held} of {len(found.results)} cases hold, {breaches} are breached.", markup=False)
    return captured.get()


def as_json(found: Conformance) -> dict[str, Any]:
    """The same for programs."""
    return {
        "rxtls": __version__,
        "schema": SCHEMA,
        "nic": found.nic,
        "profile": found.profile,
        "suites": found.suites,
        "good": found.good,
        "cases": [
            {"name": each.case.name, "about": each.case.about, "result": each.verdict, "breaches": each.breaches}
            for each in found.results
        ],
    }
