"""Policies side by side on the same packets: what each left to the host, what it posted, how long it was out of sync.

Every run replays the same captures through the same NIC; only the policy differs. The digests of all plaintexts are
held against each other: a policy may cost time, never a byte.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Console
from rich.table import Table

from rxtls.device.profiles import profile
from rxtls.errors import InputError
from rxtls.offload.policies import POLICIES, policy
from rxtls.run.options import ReplayOptions
from rxtls.run.replay import Replay
from rxtls.run.summary import exit_status
from rxtls.study.cost import Predicted, predict
from rxtls.study.table import WIDTH
from rxtls.study.verdict import Base, base, rests_on
from rxtls.version import __version__

SCHEMA = 2


@dataclass(frozen=True, slots=True)
class Outcome:
    """One policy's run: the sums that are compared, of all runs over the same directions, and what they read."""

    policy: str
    base: Base
    plaintext: tuple[tuple[int, str, str | None], ...]  # (flow, receiver, SHA-256)
    status: int

    @property
    def sums(self) -> Counter[str]:
        """Over the directions of the base."""
        return self.base.sums

    @property
    def host_bytes(self) -> int:
        """Bytes that the host's AES has to pass over: records opened, and what it re-encrypted of the mixed ones."""
        return sum(self.sums[f"bytes.{name}"] for name in ("encrypted", "mixed", "recrypted"))

    @property
    def predicted(self) -> Predicted:
        """What the paper's host would have needed for these records (study/cost.py)."""
        return predict(self.sums)

    @property
    def commands(self) -> int:
        """What was posted to the NIC."""
        return sum(self.sums[f"resync.{name}"] for name in ("polls", "confirms", "positions"))


@dataclass(frozen=True, slots=True)
class Comparison:
    """All runs of one comparison, and the policies that this NIC has no commands for."""

    captures: Sequence[str]
    profile: str
    outcomes: list[Outcome]
    left_out: dict[str, str]
    errors: list[InputError]

    @property
    def compared(self) -> bool:
        """Whether there was anything to compare: records under known keys."""
        return any(any(each.base.octets) for each in self.outcomes)

    @property
    def same_plaintext(self) -> bool:
        """Every policy brought out the same bytes of every direction."""
        return len({each.plaintext for each in self.outcomes}) <= 1

    @property
    def status(self) -> int:
        """The worst exit status; 1 if nothing was compared, or if plaintexts differ, which is a bug in rxtls."""
        return max([each.status for each in self.outcomes] + [int(not self.compared or not self.same_plaintext)])


def compare(
    captures: Sequence[str],
    keys: Sequence[str],
    options: ReplayOptions,
    policies: Sequence[str] = (),
    progress: Callable[[str], None] | None = None,
) -> Comparison:
    """Replay `captures` once for each policy (none given: all). Raises what Replay raises."""
    nic = profile(options.profile, options.settings)
    left_out: dict[str, str] = {}
    outcomes: list[Outcome] = []
    errors: list[InputError] = []
    for name in policies or POLICIES:
        missing = policy(name)().needs - nic.commands
        if missing and nic.ciphers and not policies:
            left_out[name] = ", ".join(sorted(missing))
            continue
        if progress:
            progress(name)
        run = Replay(captures, keys, replace(options, policy=name, digest=True))
        for _ in run.batches():
            pass
        summary = run.summary()
        outcomes.append(
            Outcome(
                name,
                base(summary),
                _plaintext(summary),
                exit_status(run, summary, False),
            )
        )
        errors = run.errors
    return Comparison(captures, nic.name, _alike(outcomes), left_out, errors)


def _alike(outcomes: list[Outcome]) -> list[Outcome]:
    """All over one base: behind a gap a policy may have read nothing that can be judged where others did."""
    some = {each.base.seen for each in outcomes if each.base.octets[0]}
    seen = "elsewhere" if some == {"elsewhere"} else "receiver"
    return [each if each.base.seen == seen else replace(each, base=each.base.other()) for each in outcomes]


def _plaintext(summary: dict[str, Any]) -> tuple[tuple[int, str, str | None], ...]:
    return tuple(
        (flow["id"], receiver, received["sha256"])
        for flow in summary["flows"]
        for receiver, received in flow["receive"].items()
        if received is not None
    )


# Heads of columns in the groups that a narrow terminal shows one below the other, with what the short ones mean.
_GROUPS: dict[str, dict[str, str]] = {
    "records, and what they cost the host": {
        "decr.": "records decrypted in full by the NIC",
        "mixed": "in part by the NIC",
        "encr.": "by the host",
        "share": "decr. of these three",
        "host AES": "bytes that the host's AES passes over",
        "CPU saved": "of software's time for crypto and copying, as rxtls cost predicts",
    },
    "out of sync": {"lost": "", "regained": "", "out of sync": "", "time": ""},
    "commands to the NIC": {"queries": "", "confirms": "", "hints": "places told to the NIC unasked",
                            "stale": "answers that came too late"},
}  # fmt: skip


def rendered(comparison: Comparison) -> str:
    """The table, as text for standard output; on a narrow terminal one for each group of columns."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    if not comparison.compared:
        return "Nothing was compared: no record came under keys that are known (see --keys).\n"
    with console.capture() as captured:
        rows = {outcome.policy: _cells(outcome) for outcome in comparison.outcomes}
        whole = _table(rows, [head for group in _GROUPS.values() for head in group])
        if console.measure(whole, options=console.options.update_width(1000)).maximum <= console.width:
            console.print(whole)
        else:
            for title, group in _GROUPS.items():
                console.print(_table(rows, group, title))
        legend = "; ".join(f"{head}: {text}" for group in _GROUPS.values() for head, text in group.items() if text)
        console.print(legend, style="dim")
        console.print(f"Compared: {rests_on(**comparison.outcomes[0].base.as_json())}.")
        for name, missing in comparison.left_out.items():
            console.print(f"{name} is left out: it needs {missing} of the NIC, which {comparison.profile} has not")
        if comparison.same_plaintext:
            console.print("Every policy brought out the same plaintext.")
        else:
            console.print("Plaintexts DIFFER between policies: this is a bug in rxtls.")
    return captured.get()


def _table(rows: dict[str, dict[str, str]], heads: Iterable[str], title: str | None = None) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    table.add_column("policy", no_wrap=True)
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for name, cells in rows.items():
        table.add_row(name, *(cells[head] for head in heads))
    return table


def _cells(outcome: Outcome) -> dict[str, str]:
    sums = outcome.sums
    kinds = [sums[f"records.{name}"] for name in ("decrypted", "mixed", "encrypted")]
    told = [sums[f"resync.{name}"] for name in ("lost", "regained", "polls", "confirms", "positions", "stale")]
    heads = ("decr.", "mixed", "encr.", "lost", "regained", "queries", "confirms", "hints", "stale")
    return {
        **{head: f"{n:,}" for head, n in zip(heads, (*kinds, *told), strict=True)},
        "share": f"{100 * kinds[0] / max(1, sum(kinds)):.1f}%",
        "out of sync": f"{sums['resync.out_of_sync_bytes'] / 1e6:.3f} MB",
        "time": f"{sums['resync.out_of_sync_seconds'] * 1e3:.2f} ms",
        "host AES": f"{outcome.host_bytes / 1e6:.3f} MB",
        "CPU saved": f"{100 * outcome.predicted.saved:.1f}%",
    }


def as_json(comparison: Comparison) -> dict[str, Any]:
    """The same for programs."""
    return {
        "rxtls": __version__,
        "schema": SCHEMA,
        "captures": list(comparison.captures),
        "profile": comparison.profile,
        "base": comparison.outcomes[0].base.as_json() if comparison.outcomes else None,
        "same_plaintext": comparison.same_plaintext if comparison.compared else None,
        "left_out": comparison.left_out,
        "policies": [_outcome_json(each) for each in comparison.outcomes],
    }


def _outcome_json(outcome: Outcome) -> dict[str, Any]:
    groups: dict[str, dict[str, float]] = {"records": {}, "bytes": {}, "resync": {}}
    for key, n in outcome.sums.items():
        group, _, name = key.partition(".")
        if group in groups:
            groups[group][name] = n
    return {
        "policy": outcome.policy,
        **groups,
        "commands": outcome.commands,
        "host_bytes": outcome.host_bytes,
        "cpu_saved": round(outcome.predicted.saved, 6),
    }
