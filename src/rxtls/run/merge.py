"""What several jobs found, put together to what one job finds. Nothing but values: jobs.py has the processes.

Each job has read all captures and followed its share of the connections (share.py), so that what is said of captures is
said by each, and what is said of connections and counted by one. Connections are numbered by the frame that began them,
in every job and in all together: a frame begins one connection at most.

Bounds over all connections are the one thing that jobs cannot know of each other. A run in which one may have bound, or
in which jobs did not see the same captures, has no result here: `why_not` says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from operator import itemgetter
from typing import Any

from rxtls.counters import Ledger
from rxtls.device.profiles import MANY
from rxtls.intake.taps import Sight, settle
from rxtls.run.coverage import together
from rxtls.run.summary import totalled

# Keys of a summary that belong to a job's share; the rest is the same in all.
_OWN = frozenset(
    {
        "driver",
        "hosts",
        "wall_seconds",
        "jobs",
        "limits_met",
        "taps",
        "totals",
        "coverage",
        "flows",
        "fates",
        "balance",
        "unknown_interfaces",
    }
)


@dataclass(slots=True)
class Found:
    """What one job found. `summary` is the JSON of its run (docs/json.md), with its own numbers of connections.

    `starts` are the global indices of the frames that began the connections of summary["flows"], `sights` what they say
    about where they were captured. `entered` is its ledger's. `partition` says how connections were shared out.
    `most_flows` were followed at once, `most_receive_tags` installed, by host, and `most_held` bytes of
    memory held out of order.
    """

    summary: dict[str, Any]
    starts: list[int]
    sights: list[Sight]
    entered: Counter[str]
    partition: bytes
    most_flows: int
    most_receive_tags: dict[str, int]
    most_held: int


def why_not(found: Sequence[Found]) -> str | None:
    """Why these cannot be put together, in a few words; None if they can."""
    first = found[0]
    if any(_common(each.summary) != _common(first.summary) or each.partition != first.partition for each in found):
        return "the captures changed while they were read"
    settings = first.summary["settings"]
    if sum(each.most_flows for each in found) > settings["max_flows"]:
        return "the bound on connections followed at once may have been met"
    most = sum((Counter(each.most_receive_tags) for each in found), Counter[str]())
    if any(receive_tags > settings["max_receive_tags"] for receive_tags in most.values()):
        return "the bound on receive tags may have been met"
    if sum(each.most_held for each in found) > settings["hold_run"]:
        return "the bound on what all connections hold out of order may have been met"
    if settings["command_queue"] or settings["max_flow_rules"] < MANY:
        return "connections share flow rules and the command queue"
    return None


def merged(found: Sequence[Found]) -> dict[str, Any]:
    """The JSON of the whole run; `wall_seconds` is the longest. Only for what `why_not` has nothing against."""
    ledger = Ledger()
    for each in found:
        ledger.entered.update(each.entered)
        ledger.fates.update(each.summary["fates"])
    begun = [item for each in found for item in zip(each.starts, each.summary["flows"], each.sights, strict=True)]
    begun.sort(key=itemgetter(0))
    limits = [each.summary["limits_met"] for each in found]
    flows = [{**flow, "id": number} for number, (_, flow, _) in enumerate(begun)]
    taps = settle(flows, [sight for _, _, sight in begun])
    own: dict[str, Any] = {
        "wall_seconds": max(each.summary["wall_seconds"] for each in found),
        "jobs": len(found),
        "limits_met": {
            "keys_wait": any(each["keys_wait"] for each in limits),
            "receive_tags": sum(each["receive_tags"] for each in limits),
            "hold_run": sum(each["hold_run"] for each in limits),
        },
        "taps": taps,
        "totals": totalled(flows),
        "coverage": together(each.summary["coverage"] for each in found),
        "flows": flows,
        "driver": dict(sorted(sum((Counter(each.summary["driver"]) for each in found), Counter[str]()).items())),
        "unknown_interfaces": sorted({n for each in found for n in each.summary["unknown_interfaces"]}),
        "hosts": _hosts([host for each in found for host in each.summary["hosts"]]),
        "fates": dict(sorted(ledger.fates.items())),
        "balance": ledger.balance(),
    }
    return {key: own.get(key, value) for key, value in found[0].summary.items()}


def numbers(found: Sequence[Found]) -> dict[int, int]:
    """Of each connection, by the frame that began it, the number it has in the whole run."""
    return {start: number for number, start in enumerate(sorted(start for each in found for start in each.starts))}


def _hosts(each: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What several jobs counted of the same hosts."""
    counted: dict[str, Counter[str]] = {}
    for host in each:
        counted.setdefault(host["address"], Counter()).update(host["driver"])
    order = sorted(counted, key=lambda address: ip_address(address).packed)
    return [{"address": address, "driver": dict(sorted(counted[address].items()))} for address in order]


def _common(summary: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in summary.items() if key not in _OWN}
