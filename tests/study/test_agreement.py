"""Every capture there is: replay, report, compare and cost add up the same bytes of it, to the digit."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rxtls.cli.app import app

ROOT = Path(__file__).parents[2]
CAPTURES = sorted(
    path
    for folder in ("tests/data/real", "tests/data/trials", "examples")
    for path in (ROOT / folder).iterdir()
    if path.suffix in (".pcap", ".pcapng")
)
GROUPS = ("records", "bytes", "resync")
KEYED = ("decrypted", "mixed", "encrypted", "failed")
SIMULATED = (
    ("--flows", "3", "--records", "20"),
    ("--flows", "2", "--records", "30", "--loss", "2", "--reorder", "2", "--duplicate", "3", "--corrupt", "1"),
    ("--flows", "2", "--records", "20", "--loss", "1", "--suite", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    ("--flows", "2", "--records", "20", "--unit", "8", "--loss", "1", "--policy", "linux-async"),
    ("--flows", "2", "--records", "40", "--payload", "headers", "--loss", "1", "--policy", "none"),
    ("--flows", "2", "--records", "30", "--reorder", "2", "--jump", "-3", "--profile", "connectx-6dx"),
)  # fmt: skip
pytestmark = pytest.mark.long


def ran(*arguments: object) -> str:
    """What it writes. Status 1: it opened nothing, or lacked something; 2: the capture is cut short."""
    result = CliRunner().invoke(app, [*map(str, arguments)])
    assert result.exit_code in (0, 1, 2 if any("cut-file" in str(each) for each in arguments) else 0), result.output
    return result.stdout


def read(*arguments: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ran(*arguments, "--json", "-"))
    return found


def page(text: str) -> dict[str, Any]:
    """What the report draws from."""
    found: dict[str, Any] = json.loads(re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', text)[0])
    return found


@cache
def keys(capture: Path) -> tuple[str, ...]:
    beside = capture.with_suffix(".keys")
    return ("--keys", str(beside)) if beside.exists() else ()


@pytest.mark.parametrize("receiver", ["both", "client"])
@pytest.mark.parametrize("profile", ["ideal", "connectx-6dx"])
@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: path.name)
def test_all_commands_agree_on_a_capture(capture: Path, profile: str, receiver: str, tmp_path: Path) -> None:
    given = [capture, *keys(capture), "--profile", profile, "--receiver", receiver]
    run = read("replay", *given, "--out", tmp_path / "run", "--frames", "--report", tmp_path / "own.html")
    ran("report", tmp_path / "run", tmp_path / "later.html")
    own, later = (page((tmp_path / name).read_text()) for name in ("own.html", "later.html"))
    assert own == later
    totals = run["totals"][own["base"]["seen"]]
    assert own["totals"] == totals
    assert own["base"]["bytes"] == sum(totals["bytes"][name] for name in KEYED)
    assert own["base"]["of_bytes"] == sum(half["bytes"][name] for half in run["totals"].values() for name in KEYED)

    compared = read("compare", *given, "--policy", "freebsd-table")
    assert compared["base"] == own["base"]
    (policy,) = compared["policies"]
    assert {group: policy[group] for group in GROUPS} == {group: totals[group] for group in GROUPS}
    assert policy["host_bytes"] == own["cost"]["host"]

    cost = read("cost", *given)["predicted"]
    assert cost["base"] == own["base"]
    assert round(cost["saved"], 6) == policy["cpu_saved"]

    # The JSON's directions, added up here, are its totals; what it opened and what it did not is all there is.
    received = [each for flow in run["flows"] for each in flow["receive"].values() if each is not None]
    for seen, half in run["totals"].items():
        mine = [each for each in received if (each["vantage"] == "receiver") is (seen == "receiver")]
        assert half["app_bytes"] == sum(each["app_bytes"] for each in mine)
        for group in GROUPS:
            for name, n in half[group].items():
                assert n == pytest.approx(sum(each[group][name] for each in mine), abs=1e-6), (seen, group, name)
    coverage = run["coverage"]
    assert coverage["tcp_bytes"] == coverage["opened"] + coverage["modelled"] + sum(coverage["rest"].values())


@pytest.mark.parametrize("arguments", SIMULATED, ids=" ".join)
def test_a_simulation_and_the_replay_of_its_capture_agree(arguments: tuple[str, ...], tmp_path: Path) -> None:
    capture = tmp_path / "made.pcapng"
    simulated = read("simulate", *arguments, "--out", capture)
    same = [
        part
        for name, default in (("--profile", "ideal"), ("--policy", "freebsd-table"))
        for part in (name, arguments[arguments.index(name) + 1] if name in arguments else default)
    ]
    run = read("replay", capture, *same)
    assert simulated["totals"] == run["totals"]
    assert simulated["coverage"] == run["coverage"]
    assert sum(simulated["totals"]["receiver"]["bytes"].values()) > 0
