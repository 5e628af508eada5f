"""The cost model for people: its lines, what it predicts for captures, and how it stands against measured tables."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence

from rxtls.edge.replay import Replay, ReplayOptions
from rxtls.edge.summary import totals
from rxtls.errors import UsageError
from rxtls.study.cost import ASPLOS21, GHZ, Costs, against_paper, from_json, predict
from rxtls.study.plan import found as found_file

RECORD = 16384


def costs_of(name: str | None) -> Costs:
    """The costs in a file; without one the paper's."""
    if name is None:
        return ASPLOS21
    try:
        with open(name) as file:
            return from_json(json.load(file))
    except (OSError, ValueError, KeyError, TypeError, IndexError) as failure:
        raise UsageError(f"{name}: {getattr(failure, 'strerror', None) or f'no costs: {failure!r}'}") from None


def model_shown(costs: Costs) -> str:
    """Each line, and what it comes to for a large record."""
    lines = [
        f"costs of {costs.name}, in ns a record and a byte (and cycles of {GHZ:g} GHz for a record of {RECORD}):\n"
    ]
    for name in ("crypto", "recrypt", "copy", "rest"):
        line = getattr(costs, name)
        cycles = GHZ * line.over(1, RECORD)
        lines.append(f"  {name:8} {line.record:10,.1f}  {line.byte:8.4f}  {cycles:10,.0f}\n")
    return "".join(lines)


def predicted_for(
    captures: Sequence[str], keys: Sequence[str], profile: str, policy: str, settings: dict[str, str], costs: Costs
) -> str:
    """What offload saves for these captures."""
    run = Replay(captures, keys, ReplayOptions(profile=profile, policy=policy, settings=settings))
    for _ in run.batches():
        pass
    summary = run.summary()
    found = predict(totals(summary, True) + totals(summary, False), costs)
    if not found.software:
        return "no record was opened: there is nothing to predict\n"
    return (
        f"software {found.software / 1e6:,.3f} ms, with offload {found.offload / 1e6:,.3f} ms of the host's processor: "
        f"{100 * found.saved:.1f} % saved, or {found.ratio:.2f} times the throughput where the processor is the bound\n"
    )


def held_against(name: str) -> str:
    """The crypto share is fitted at 0 %; the other rows are predictions."""
    try:
        with open(found_file(name, ".csv"), newline="") as file:
            rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
        shares, found = against_paper(rows)
    except (OSError, KeyError, ValueError, ZeroDivisionError) as failure:
        raise UsageError(f"{name}: {getattr(failure, 'strerror', None) or f'not such a table: {failure!r}'}") from None
    lines = [
        f"{kind}: crypto is {100 * share:.1f} % of software's time, fitted at 0 %\n" for kind, share in shares.items()
    ]
    lines.append("impairment  percent  offload/software measured  predicted     off\n")
    for row in found:
        values = f"{row.measured:25.3f}  {row.predicted:9.3f}  {100 * row.off:+5.1f}%"
        lines.append(f"{row.impairment:10}  {row.percent:7g}  {values}\n")
    lines.append(f"farthest off: {100 * max((abs(row.off) for row in found), default=0):.1f} %\n")
    return "".join(lines)
