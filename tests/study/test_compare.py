"""The comparison: every policy on the same packets, sums that are replay's, and what is said where it cannot be."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rxtls.cli.app import app
from rxtls.offload.policies import POLICIES
from rxtls.run.options import ReplayOptions
from rxtls.run.replay import Replay
from rxtls.run.summary import totals
from rxtls.study.compare import Comparison, as_json, compare, rendered

EXAMPLE = Path(__file__).parents[2] / "examples" / "loss-reorder-dup-tls12-aes128gcm"
CAPTURE, KEYS = [f"{EXAMPLE}.pcap"], [f"{EXAMPLE}.keys"]


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return compare(CAPTURE, KEYS, ReplayOptions(profile="ideal"))


def test_each_policy_s_sums_are_those_of_its_replay(comparison: Comparison) -> None:
    assert [each.policy for each in comparison.outcomes] == list(POLICIES)
    for outcome in comparison.outcomes:
        run = Replay(CAPTURE, KEYS, ReplayOptions(profile="ideal", policy=outcome.policy))
        list(run)
        summary = run.summary()
        assert outcome.sums == totals(summary, True)


def test_policies_cost_time_and_never_a_byte(comparison: Comparison) -> None:
    assert comparison.same_plaintext
    assert comparison.status == 0
    assert len({each.host_bytes for each in comparison.outcomes}) > 3
    spoilt = replace(comparison.outcomes[0], plaintext=((0, "client", "00"),))
    differing = replace(comparison, outcomes=[spoilt, *comparison.outcomes[1:]])
    assert differing.status == 1
    assert "DIFFER" in rendered(differing)


def test_look_ahead_is_out_of_sync_for_the_shortest_time(comparison: Comparison) -> None:
    """What it was made for: sooner back than both kernels' policies, with fewer commands than FreeBSD's and async."""
    by = {each.policy: each for each in comparison.outcomes}
    ours = by.pop("look-ahead")
    for other in by.values():
        assert ours.sums["resync.out_of_sync_bytes"] < other.sums["resync.out_of_sync_bytes"]
        assert ours.sums["records.decrypted"] > other.sums["records.decrypted"]
    assert ours.commands < min(by[name].commands for name in ("freebsd-table", "linux-async"))


def test_policies_that_the_nic_has_no_commands_for_are_left_out() -> None:
    found = compare(CAPTURE, KEYS, ReplayOptions(profile="connectx-6dx"))
    assert found.left_out == {"next-hint": "set_position", "look-ahead": "set_position"}
    assert "next-hint is left out" in rendered(found)


def test_every_number_can_be_read_in_80_columns(comparison: Comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("FORCE_COLOR", "1"), ("NO_COLOR", "1"), ("COLUMNS", "80"), ("TERM", "dumb")):
        monkeypatch.setenv(name, value)
    lines = rendered(comparison).splitlines()
    assert max(map(len, lines)) <= 80
    assert "\u2026" not in "".join(lines)
    for outcome in comparison.outcomes:
        shown = [line for line in lines if line.startswith(outcome.policy)]
        assert len(shown) == 3, "one in each group of columns"
        assert f" {outcome.sums['records.mixed']} " in shown[0]
        assert f" {outcome.sums['resync.regained']} " in shown[1]


def test_the_command() -> None:
    arguments = ["compare", *CAPTURE, "--keys", *KEYS, "--policy", "none", "--policy", "linux-sync"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0
    words = [line.split()[0] for line in result.output.splitlines()]
    assert (words[:4], words[-1]) == (["policy", "none", "linux-sync", "decr.:"], "Every")
    result = CliRunner().invoke(app, [*arguments, "--json", "-"])
    assert json.loads(result.output) == as_json(
        compare(CAPTURE, KEYS, ReplayOptions(profile="ideal"), ["none", "linux-sync"])
    )
