"""The cost model for people: its lines, what it predicts for captures, and how it stands against measured tables."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rxtls.errors import InputError, UsageError
from rxtls.run.options import ReplayOptions
from rxtls.run.replay import Replay
from rxtls.run.summary import exit_status
from rxtls.study.cost import ASPLOS21, GHZ, Costs, Predicted, against_paper, from_json, predict
from rxtls.study.plan import found as found_file
from rxtls.study.verdict import Base, base, rests_on

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


@dataclass(frozen=True, slots=True)
class Prediction:
    """What offload saves for captures: `base` is what was added up (verdict.py), `status` the exit status."""

    found: Predicted
    base: Base
    status: int
    errors: list[InputError]

    def shown(self) -> str:
        """For people."""
        found = self.found
        if not found.software:
            return "no record was opened: there is nothing to predict\n"
        return (
            f"software {found.software / 1e6:,.3f} ms, with offload {found.offload / 1e6:,.3f} ms of the host's "
            f"processor: {100 * found.saved:.1f} % saved, or {found.ratio:.2f} times the throughput where the "
            f"processor is the bound\nof {rests_on(**self.base.as_json())}\n"
        )

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        found = self.found
        return {
            "base": self.base.as_json(),
            "software_ns": round(found.software),
            "offload_ns": round(found.offload),
            "saved": round(found.saved, 6),
            "ratio": round(found.ratio, 6),
        }


def predicted_for(captures: Sequence[str], keys: Sequence[str], options: ReplayOptions, costs: Costs) -> Prediction:
    """What offload saves for these captures. The status is replay's; 1 also if no record was opened."""
    run = Replay(captures, keys, options)
    for _ in run.batches():
        pass
    summary = run.summary()
    rests = base(summary)
    found = predict(rests.sums, costs)
    return Prediction(found, rests, max(exit_status(run, summary, False), int(not found.software)), run.errors)


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
