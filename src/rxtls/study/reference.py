"""Measured values from a publication, held against a study's results, row by row: hits and misses alike.

    [reference]
    file = "paper-receiver.csv"          beside the study file
    only = { impairment = "loss" }       the rows meant
    x = "percent"                        this column of the file is the plot's x
    shares = ["entirely", "not"]         within `points` of every row, and `rms` over all of them together
    points = 6
    rms = 3
    small = ["partially"]                within the larger of 1.5 points and a factor of two

Rows of the study whose x the reference has not are predictions, and only shown.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from typing import Any

from rxtls.errors import UsageError
from rxtls.study.sweep import Swept

LEAST_BOUND = 1.5  # points, of small shares
FACTOR = 2.0


@dataclass(frozen=True, slots=True)
class Compared:
    """One value: what the study says and what was measured."""

    x: float
    name: str
    ours: float
    theirs: float
    bound: float

    @property
    def off(self) -> float:
        """Ours less theirs, in points."""
        return self.ours - self.theirs

    @property
    def held(self) -> bool:
        """Within its bound."""
        return abs(self.off) <= self.bound + 1e-9


@dataclass(frozen=True, slots=True)
class Verdict:
    """All values compared, and the root mean square of the large shares' distances."""

    values: list[Compared]
    rms: float
    rms_bound: float

    @property
    def misses(self) -> list[Compared]:
        """The values beyond their bounds."""
        return [each for each in self.values if not each.held]

    @property
    def held(self) -> bool:
        """Every bound was."""
        return not self.misses and self.rms <= self.rms_bound


def judge(swept: Swept) -> Verdict | None:
    """Hold the results against the study's reference; None if it has none."""
    reference = swept.study.reference
    if not reference:
        return None
    try:
        return _judge(swept, reference)
    except (OSError, KeyError, ValueError, TypeError) as failure:
        raise UsageError(f"{swept.study.path}: reference: {type(failure).__name__}: {failure}") from None


def _judge(swept: Swept, reference: dict[str, Any]) -> Verdict:
    only = reference.get("only", {})
    with open(swept.study.path.parent / reference["file"], newline="") as file:
        rows = csv.DictReader(line for line in file if not line.startswith("#"))
        measured = {float(row[reference["x"]]): row for row in rows if all(row[k] == v for k, v in only.items())}
    x = swept.study.plot["x"]
    values, squares = [], []
    for point, row in zip(swept.study.points, swept.rows, strict=True):
        at = float(point.varied[x])
        if at not in measured:
            continue
        for name in reference["shares"]:
            theirs = float(measured[at][name])
            values.append(Compared(at, name, float(row[name]), theirs, float(reference["points"])))
            squares.append(values[-1].off ** 2)
        for name in reference["small"]:
            ours, theirs = float(row[name]), float(measured[at][name])
            factor = theirs * (FACTOR - 1) if ours > theirs else theirs * (1 - 1 / FACTOR)
            values.append(Compared(at, name, ours, theirs, max(LEAST_BOUND, factor)))
    if not values:
        raise ValueError("no row of it is a point of the study")
    return Verdict(values, math.sqrt(sum(squares) / len(squares)), float(reference["rms"]))
