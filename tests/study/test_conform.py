"""Conformance: our own NICs hold the contract in both engines, and each case is breached by a NIC with a fault."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
import typer.testing

from faulty_nics import CAUGHT, Good
from rxtls.cli.app import app
from rxtls.device.context import Context
from rxtls.device.nic import Nic
from rxtls.device.profiles import PROFILES, profile
from rxtls.errors import UsageError
from rxtls.offload.commands import Install
from rxtls.study.conform.cases import CASES
from rxtls.study.conform.suite import as_json, conform, rendered

IDEAL = PROFILES["ideal"]
ROOT = Path(__file__).parents[2]
SERVE = f"exec:{sys.executable} -m rxtls nic serve --profile ideal"


@pytest.mark.parametrize("engine", ["plain", "compiled"])
def test_our_own_nic_holds_the_contract(engine: str) -> None:
    found = conform(lambda: engine, engine, IDEAL, suites=2)
    assert [(each.case.name, each.breaches) for each in found.results if each.breaches] == []
    assert [each.verdict for each in found.results] == ["holds"] * len(CASES)
    assert found.good


@pytest.mark.long
@pytest.mark.parametrize("engine", ["plain", "compiled"])
def test_so_it_does_with_all_suites(engine: str) -> None:
    found = conform(lambda: engine, engine, IDEAL)
    assert len(found.suites) == 6
    assert found.good, rendered(found)


def test_the_built_in_device_as_a_guest_is_good() -> None:
    assert conform(Good, "good", IDEAL, suites=1).good


@pytest.mark.parametrize("faulty", CAUGHT, ids=lambda kind: kind.__name__)
def test_each_faulty_nic_is_caught(faulty: type[Good]) -> None:
    for name in CAUGHT[faulty]:
        found = conform(faulty, faulty.__name__, IDEAL, [name], suites=1)
        assert [each.case.name for each in found.results if each.breaches] == [name]
        assert conform(Good, "good", IDEAL, [name], suites=1).good


def test_every_case_is_breached_by_some_faulty_nic() -> None:
    assert {name for names in CAUGHT.values() for name in names} == {case.name for case in CASES}
    assert len({case.name for case in CASES}) == len(CASES)
    assert len(CAUGHT) >= 15


def test_cases_that_need_commands_are_left_out_where_there_are_none() -> None:
    found = conform(lambda: "plain", "plain", profile("connectx-6dx"), suites=1)
    left = [each.case.name for each in found.results if each.verdict == "left out"]
    assert left == ["position", "position in sync"]
    assert "position is left out: profile connectx-6dx has no set_position" in rendered(found)


def test_a_profile_that_takes_nothing_is_one_line() -> None:
    with pytest.raises(UsageError, match="profile none takes no keys: there is nothing to hold a NIC to"):
        conform(lambda: "plain", "plain", PROFILES["none"])


def invoke(*arguments: str) -> tuple[int, str]:
    done = typer.testing.CliRunner().invoke(app, arguments, env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def test_the_documents_nic_and_the_status(tmp_path: Path) -> None:
    """It is asked no more than it can, and still: it skips no record, and believes every header."""
    _, in_order, _ = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "your-nic.md").read_text(), re.DOTALL)
    (tmp_path / "in_order.py").write_text(in_order)
    mute = 'ciphers = ["AES_GCM"]\nversions = ["TLS13"]\ncommands = []\nauth_failures = 1\n'
    (tmp_path / "mute.toml").write_text(mute)
    status, out = invoke(
        "conform", f"{tmp_path}/in_order.py:InOrder", "--profile", f"{tmp_path}/mute.toml", "--json", "-"
    )
    told = json.loads(out)
    breached = [each["name"] for each in told["cases"] if each["result"] == "BREACH"]
    assert (status, breached, told["good"]) == (1, ["hole in a record", "hostile headers"], False)


def test_a_nic_over_a_pipe_is_held_to_it() -> None:
    from rxtls.run.nics import nic

    found = conform(lambda: nic(SERVE), SERVE, IDEAL, ["in order", "confirmed", "released with commands out"], suites=1)
    assert found.good, rendered(found)


def test_a_nic_that_raises_is_made_anew() -> None:
    made: list[Good] = []

    class Burns(Good):
        def post(self, flow: int, command: object) -> list[object]:  # type: ignore[override]
            raise RuntimeError("burnt")

    def make() -> Good:
        made.append(Burns())
        return made[-1]

    found = conform(make, "burns", IDEAL, ["confirmed", "stale confirm", "in order"], suites=1)
    assert [each.verdict for each in found.results] == ["holds", "BREACH", "BREACH"]
    assert "RuntimeError: burnt (test_conform.py line" in str(found.results[1].breaches)
    assert len(made) == 3
    assert as_json(found)["cases"][1]["result"] == "BREACH"


def test_what_is_the_nics_own_is_held_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Release and interface are not the device's, but what is around it."""

    class Anything(int):
        __hash__ = int.__hash__

        def __eq__(self, _other: object) -> bool:
            return True

    def run(name: str) -> str:
        return str(conform(lambda: "plain", "plain", IDEAL, [name], suites=1).results[0].breaches)

    with monkeypatch.context() as patch:
        patch.setattr(Nic, "release", lambda *_: None)
        assert "decrypted, though there is no receive tag any more" in run("released")
        assert "answer" in run("released with commands out")
    made = Nic._context

    def everywhere(nic: Nic, install: Install) -> Context:
        context = made(nic, install)
        context.leaf = Anything(0)
        return context

    monkeypatch.setattr(Nic, "_context", everywhere)
    assert "decrypted on another interface" in run("another leaf")
