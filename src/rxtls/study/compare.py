"""Policies side by side on the same packets: what each left to the host, what it posted, how long it was out of sync.

Every run replays the same captures through the same NIC; only the policy differs. The digests of all plaintexts are
held against each other: a policy may cost time, never a byte.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Console
from rich.table import Table

from rxtls.device.profiles import profile
from rxtls.edge.replay import Replay, ReplayOptions
from rxtls.edge.summary import exit_status, totals
from rxtls.errors import InputError
from rxtls.offload.policies import POLICIES
from rxtls.study.cost import Predicted, predict
from rxtls.study.table import WIDTH
from rxtls.version import __version__

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """One policy's run: `sums` over all modelled directions (edge/summary.py totals), and what they read."""

    policy: str
    sums: Counter[str]
    plaintext: tuple[tuple[int, str, str | None], ...]  # (flow, receiver, SHA-256)
    status: int

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
    def same_plaintext(self) -> bool:
        """Every policy brought out the same bytes of every direction."""
        return len({each.plaintext for each in self.outcomes}) <= 1

    @property
    def status(self) -> int:
        """The worst exit status; 1 if plaintexts differ, which is a bug in rxtls."""
        return max([each.status for each in self.outcomes] + [int(not self.same_plaintext)])


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
        missing = POLICIES[name]().needs - nic.commands if name in POLICIES else frozenset()
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
                totals(summary, True) + totals(summary, False),
                _plaintext(summary),
                exit_status(run, summary, False),
            )
        )
        errors = run.errors
    return Comparison(captures, nic.name, outcomes, left_out, errors)


def _plaintext(summary: dict[str, Any]) -> tuple[tuple[int, str, str | None], ...]:
    return tuple(
        (flow["id"], receiver, received["sha256"])
        for flow in summary["flows"]
        for receiver, received in flow["receive"].items()
        if received is not None
    )


def rendered(comparison: Comparison) -> str:
    """The table, as text for standard output."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("policy")
    heads = ["decr.", "mixed", "encr.", "share", "lost", "regained", "queries", "confirms", "hints", "stale"]
    for head in [*heads, "out of sync", "time", "host AES", "CPU saved"]:
        table.add_column(head, justify="right")
    for outcome in comparison.outcomes:
        sums = outcome.sums
        kinds = [sums[f"records.{name}"] for name in ("decrypted", "mixed", "encrypted")]
        told = [sums[f"resync.{name}"] for name in ("lost", "regained", "polls", "confirms", "positions", "stale")]
        table.add_row(
            outcome.policy,
            *(f"{n:,}" for n in kinds),
            f"{100 * kinds[0] / max(1, sum(kinds)):.1f}%",
            *(f"{n:,}" for n in told),
            f"{sums['resync.out_of_sync_bytes'] / 1e6:.3f} MB",
            f"{sums['resync.out_of_sync_seconds'] * 1e3:.2f} ms",
            f"{outcome.host_bytes / 1e6:.3f} MB",
            f"{100 * outcome.predicted.saved:.1f}%",
        )
    with console.capture() as captured:
        console.print(table)
        for name, missing in comparison.left_out.items():
            console.print(f"{name} is left out: it needs {missing} of the NIC, which {comparison.profile} has not")
        if comparison.same_plaintext:
            console.print("Every policy brought out the same plaintext.")
        else:
            console.print("Plaintexts DIFFER between policies: this is a bug in rxtls.")
    return captured.get()


def as_json(comparison: Comparison) -> dict[str, Any]:
    """The same for programs."""
    return {
        "rxtls": __version__,
        "schema": SCHEMA,
        "captures": list(comparison.captures),
        "profile": comparison.profile,
        "same_plaintext": comparison.same_plaintext,
        "left_out": comparison.left_out,
        "policies": [_outcome_json(each) for each in comparison.outcomes],
    }


def _outcome_json(outcome: Outcome) -> dict[str, Any]:
    groups: dict[str, dict[str, float]] = {"records": {}, "bytes": {}, "resync": {}}
    for key, n in sorted(outcome.sums.items()):
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
