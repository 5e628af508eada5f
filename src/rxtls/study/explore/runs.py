"""Explorations, over the cores: every policy through every scenario, or every seeded fault with its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rxtls.device.profiles import profile
from rxtls.errors import UsageError
from rxtls.offload.policies import POLICIES, policy
from rxtls.study.explore.scenario import scenarios
from rxtls.study.explore.search import Explored, explore
from rxtls.system.workers import WorkerLostError, spread

Progress = Callable[[int, int], None] | None


@dataclass(slots=True)
class Results:
    """What explorations came to, each with its seconds; with `faults`, the name of the one that was in."""

    explored: list[tuple[Explored, float]]
    faults: list[str] | None = None

    @property
    def good(self) -> bool:
        """Nothing was found; or, with faults, every one was."""
        return all(bool(each.found) is (self.faults is not None) for each, _ in self.explored)


def all_policies(
    policies: Sequence[str],
    states: int,
    scaled: bool,
    seed: int,
    jobs: int,
    progress: Progress = None,
    profile_name: str = "ideal",
) -> Results:
    """Each policy through all scenarios whose keys the profile's NIC takes, which share its `states`. By default all
    policies that the NIC has the commands for. Raises UsageError, also where no scenario is left."""
    nic = profile(profile_name)
    for name in policies:
        if missing := policy(name)().needs - nic.commands:
            raise UsageError(f"policy {name} needs {', '.join(sorted(missing))} of the NIC, which {nic.name} has not")
    chosen = policies or [name for name in POLICIES if policy(name)().needs <= nic.commands]
    played = [n for n, each in enumerate(scenarios()) if nic.takes(each.keys[0])]
    if not played:
        raise UsageError(f"profile {nic.name} takes no AES-GCM, which is all that is explored")
    share = -(-states // len(played))
    work = [(name, n, share, scaled, seed, None, profile_name) for name in chosen for n in played]
    return Results(_run(work, jobs, progress))


def all_faults(states: int, seed: int, jobs: int, progress: Progress = None) -> Results:
    """Each seeded fault, under its policy and in its scenario, in at most `states`."""
    from rxtls.study.explore.faults import FAULTS

    names = [scenario.name for scenario in scenarios()]
    work = [
        (fault.policy, names.index(fault.scenario), states, False, seed, n, "ideal") for n, fault in enumerate(FAULTS)
    ]
    return Results(_run(work, jobs, progress), [fault.name for fault in FAULTS])


def _one(
    policy: str, scenario: int, states: int, scaled: bool, seed: int, fault: int | None, nic: str
) -> tuple[Explored, float]:
    from rxtls.study.explore.faults import FAULTS

    started = time.perf_counter()
    places = FAULTS[fault].places if fault is not None else ()
    return explore(
        scenarios()[scenario], policy, states, seed, scaled, places, profile=nic
    ), time.perf_counter() - started


def _run(work: list[tuple[Any, ...]], jobs: int, progress: Progress) -> list[tuple[Explored, float]]:
    """Results in the order of the work."""
    results: dict[int, tuple[Explored, float]] = {}
    try:
        for place, result in spread(_one, work, jobs):
            results[place] = result
            if progress:
                progress(len(results), len(work))
    except WorkerLostError:
        raise UsageError("a process of the exploration ended before its work did") from None
    return [results[n] for n in range(len(work))]
