"""What explorations came to, as a table and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from rxtls.study.explore.runs import Results
from rxtls.study.table import WIDTH
from rxtls.version import __version__


def rendered(results: Results) -> str:
    """One line an exploration, and below it the way to whatever was found (with faults: what gave it away)."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    table = Table(box=None, pad_edge=False)
    heads = ["fault"] if results.faults is not None else []
    for name in (*heads, "policy", "scenario", "constants"):
        table.add_column(name)
    for name in ("distinct states", "with network", "transitions", "ends", "depth", "truncated", "seconds"):
        table.add_column(name, justify="right")
    table.add_column("found")
    ways = []
    for n, (each, seconds) in enumerate(results.explored):
        fault = [results.faults[n]] if results.faults is not None else []
        counts = (each.distinct, each.states, each.transitions, each.ends, each.depth, each.truncated)
        found = each.found[0].what if each.found else "NOT FOUND" if fault else "nothing"
        constants = "scaled" if each.scaled else "as shipped"
        table.add_row(
            *fault, each.policy, each.scenario, constants, *(f"{c:,}" for c in counts), f"{seconds:.1f}", found
        )
        if each.found and not fault:
            steps = " ".join(f"{kind}:{at}" for kind, at in each.found[0].way)
            ways.append(f"{each.policy}, {each.scenario}: {each.found[0].what}\n  {steps}")
    with console.capture() as captured:
        console.print(table)
        for way in ways:
            console.print(way)
        if results.faults is not None:
            hits = sum(bool(each.found) for each, _ in results.explored)
            console.print(f"{hits} of {len(results.faults)} seeded faults were found")
        else:
            distinct = sum(each.distinct for each, _ in results.explored)
            console.print(
                f"{distinct:,} distinct states of device, policy and host, each within its policy and scenario"
            )
    return captured.get()


def as_json(results: Results) -> dict[str, Any]:
    """The same for programs."""
    return {
        "rxtls": __version__,
        "schema": 1,
        "good": results.good,
        "explored": [
            {
                **({"fault": results.faults[n]} if results.faults is not None else {}),
                **asdict(each),
                "complete": each.complete,
                "seconds": round(seconds, 3),
            }
            for n, (each, seconds) in enumerate(results.explored)
        ],
    }
