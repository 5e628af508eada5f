"""Where captures were taken, in a line for each capture interface: what `taps` of the JSON comes to for people."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from rxtls.study.verdict import many

MOST = 4  # capture interfaces that are told of


def where(summary: dict[str, Any]) -> list[str]:
    """The lines; none where somebody has said it, or nothing had to be known."""
    seen = [
        each
        for flow in summary["flows"]
        for each in flow["receive"].values()
        if each is not None and each["app_bytes"] and "vantage_by" in each
    ]
    unknown = sum(each["vantage"] == "unknown" for each in seen)
    lines = list(_taps(summary)) if any(each["vantage_by"] not in ("option", "file", None) for each in seen) else []
    if unknown:
        whose = f"{many(unknown, 'direction')} of unknown vantage"
        lines.append(f"{whose}: nothing shows where the capture was taken (--vantage says it)")
    return lines


def _taps(summary: dict[str, Any]) -> Iterator[str]:
    groups = [(n, list(rows)) for n, rows in groupby(summary.get("taps", ()), key=lambda row: row["interfaces"])]
    for interfaces, rows in groups[:MOST]:
        names = [summary["interfaces"][n]["name"] or f"capture interface {n}" for n in interfaces]
        whose = f"{' and '.join(names)}: " if len(groups) > 1 else ""
        here = [row for row in rows if row["place"] == "here"]
        torn = [row for row in rows if row["place"] == "middle" and not row["votes"][row["by"]]["middle"]]
        if here:
            more = f" and {many(len(here) - 1, 'more host')}" if len(here) > 1 else ""
            yield f"{whose}captured at {here[0]['host']}{more}, by {_by(here[0])}"
        elif rows[0]["place"] == "peer":
            yield f"{whose}captured at those that {rows[0]['host']} talks to, by {_by(rows[0])}"
        else:
            yield f"{whose}captured in the middle, by {_by(rows[0])}"
        if torn:
            yield f"{whose}what is said of {torn[0]['host']} contradicts itself, so it is taken for the middle"
    if len(groups) > MOST:
        yield f"... and {many(len(groups) - MOST, 'more capture interface')}; --json has all of them"


def _by(row: dict[str, Any]) -> str:
    """The evidence, and how much of it."""
    votes = row["votes"][row["by"]]
    against = sum(votes.values()) - votes[row["place"]]
    one, more = ("loss", "losses") if row["by"] == "loss" else ("connection", "connections")
    said = votes[row["place"]]
    return f"{row['by']} ({many(said, one, more)} {'says' if said == 1 else 'say'} so, {against:,} otherwise)"
