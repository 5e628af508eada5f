"""Simulations: what the knobs say is on the wire, the same bytes from the same seed, and refusals by name."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import runs
from rxtls.cli.app import app
from rxtls.crypto.suites import SUITES
from rxtls.errors import UsageError
from rxtls.events import RecordClass
from rxtls.simulation.knobs import Knobs
from rxtls.simulation.simulate import one_flow, simulate, write_simulation

SMALL = Knobs(records=30, record=4000, seed=5)
LOSSY = replace(SMALL, flows=3, loss=3, reorder=2, duplicate=2, corrupt=1, unit=2, jump=4)


def test_the_same_knobs_give_the_same_bytes() -> None:
    one, other, third = io.BytesIO(), io.BytesIO(), io.BytesIO()
    assert write_simulation(LOSSY, one) == write_simulation(LOSSY, other)
    write_simulation(replace(LOSSY, seed=6), third)
    assert one.getvalue() == other.getvalue() != third.getvalue()


def test_a_flow_does_not_depend_on_how_many_there_are() -> None:
    frames, keylog, _ = simulate(LOSSY)
    alone, its_keylog, _ = one_flow(LOSSY, 1)
    assert [frame for frame in frames if frame in set(alone)] == alone
    assert its_keylog in keylog


@pytest.mark.parametrize("code", sorted(SUITES))
def test_every_suite_opens(code: int) -> None:
    frames, keylog, _ = simulate(replace(SMALL, suite=SUITES[code].name.lower(), records=3, record=300))
    read = runs.run(frames, keylog).read()
    assert [len(data) for kind, _, data in read["10.0.0.0", 49152, "client"] if kind == 23] == [300] * 3


def test_the_link_does_what_the_knobs_say() -> None:
    _, _, counts = simulate(LOSSY)
    assert {"lost", "reordered", "duplicated", "corrupted", "retransmitted"} <= counts.keys()
    assert simulate(SMALL)[2] == {}


def test_segments_are_as_large_as_the_mtu_lets_them() -> None:
    for mtu in (576, 1500, 9000):
        frames, keylog, _ = simulate(replace(SMALL, mtu=mtu))
        assert max(len(frame.data) for frame in frames) == 14 + mtu
        run = runs.run(frames, keylog)
        (flow,) = run.path.flows.values()
        assert flow.connection.resegmented == 0


@pytest.mark.parametrize("suite", ["TLS_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"])
@pytest.mark.parametrize(
    ("policy", "recovers"),
    [
        ("freebsd-table", False),
        ("linux-sync", False),
        ("linux-async", False),
        ("next-hint", True),
        ("look-ahead", True),
    ],
)
def test_false_headers_hold_those_policies_that_have_no_way_to_say_no(policy: str, recovers: bool, suite: str) -> None:
    """Payload that looks like chained record headers on the wire: who latches to it never meets what is no header."""
    frames, keylog, _ = simulate(Knobs(suite=suite, payload="headers", loss=0.3, records=400, seed=3))
    run = runs.run(frames, keylog, "ideal", policy=policy)
    direction = next(iter(run.path.flows.values())).directions[1]
    assert direction.tally.lost > 0
    assert (direction.tally.regained > 0) is recovers
    assert direction.complete()
    late = [record.record_class for record in run.records["10.0.0.0", 49152, "client"][-20:]]
    assert (RecordClass.DECRYPTED in late) is recovers


@pytest.mark.parametrize(
    ("knob", "value", "said"),
    [
        ("suite", "TLS_FOO", "no suite 'TLS_FOO'"),
        ("loss", 101.0, "loss is a percentage"),
        ("reorder", float("nan"), "reorder is a percentage"),
        ("records", 0, "records is a whole number from 1"),
        ("mtu", 52, "mtu is a whole number from 53"),
        ("payload", "zeros", "payload is one of random, headers"),
        ("flows", 100_000, "kept in memory"),
    ],
)
def test_what_cannot_be(knob: str, value: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        replace(Knobs(), **{knob: value})


def test_false_headers_need_a_suite_that_streams() -> None:
    with pytest.raises(UsageError, match="needs a suite that streams"):
        simulate(Knobs(suite="TLS_RSA_WITH_AES_128_CBC_SHA", payload="headers"))


ARGUMENTS = ["simulate", "--records", "40", "--loss", "2", "--seed", "9", "--policy", "linux-async"]


def test_the_command_writes_what_others_read(tmp_path: Path) -> None:
    out = tmp_path / "made.pcapng"
    result = CliRunner().invoke(app, [*ARGUMENTS, "--out", str(out), "--json", "-"])
    assert result.exit_code == 0
    summary = json.loads(result.output)
    assert summary["simulated"]["loss"] == 2
    assert summary["link"]["lost"] > 0
    received = summary["flows"][0]["receive"]["client"]
    assert received["app_bytes"] == 40 * 16384
    keys = out.with_suffix(".keys").read_text()
    assert "SERVER_TRAFFIC_SECRET_0" in keys
    if shutil.which("tshark") is None:
        pytest.skip("tshark is not installed")
    told = subprocess.run(
        ["tshark", "-r", out, "-Y", "http", "-T", "fields", "-e", "http.host"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.split() == ["example.test"]


def test_the_command_s_table_is_replay_s() -> None:
    result = CliRunner().invoke(app, ARGUMENTS)
    assert result.exit_code == 0
    assert "what arrived at each host" in result.output
    assert "the link: " in result.output


def test_a_simulation_knows_where_its_tap_is_even_if_nothing_happens_to_tell() -> None:
    summary = json.loads(CliRunner().invoke(app, ["simulate", "--records", "1", "--json", "-"]).output)
    assert {host: received["vantage"] for host, received in summary["flows"][0]["receive"].items()} == {
        "client": "receiver",
        "server": "sender",
    }


def test_every_knob_is_documented_and_an_option() -> None:
    text = (Path(__file__).parents[2] / "docs" / "simulate.md").read_text()
    documented = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", text, re.MULTILINE))
    shown = {
        field.name: f"{field.default:g}" if isinstance(field.default, float) else str(field.default)
        for field in fields(Knobs)
    }
    assert documented == shown
    told = CliRunner().invoke(app, ["simulate", "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"}).output
    for name in shown:
        assert f"--{name} " in told


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, [*ARGUMENTS, "--out", str(tmp_path / "no" / "such.pcapng")])
    assert isinstance(result.exception, UsageError)
