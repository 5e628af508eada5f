"""One base for all that is added up: replay, report, compare and cost agree on it, and say on what share they rest."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import replays
from replays import download
from rxtls.cli.app import app
from rxtls.simulation.link import Impairment

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "loss-reorder-dup-tls12-aes128gcm"
KEYED = ("decrypted", "mixed", "encrypted", "failed")


def ran(*arguments: object, status: int = 0) -> str:
    result = CliRunner().invoke(app, [*map(str, arguments)])
    assert result.exit_code == status, result.output
    return result.output


def read(*arguments: object, status: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ran(*arguments, "--json", "-", status=status))
    return found


def at_receiver(run: dict[str, Any], group: str, *names: str) -> int:
    """As replay's first line of totals has it, added up here."""
    received = [each for flow in run["flows"] for each in flow["receive"].values() if each is not None]
    return sum(each[group][name] for each in received if each["vantage"] == "receiver" for name in names)


@pytest.fixture(scope="module")
def at_the_sender(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A download with loss, captured at the server: what the client receives was seen at its sender."""
    folder = tmp_path_factory.mktemp("sender")
    talked = download(5, (16_000,) * 60, down=Impairment(loss=0.03, spare_control=True), tap="server")
    return replays.pcap(folder, talked.frames), replays.keys(folder, talked)


def test_trial_a1_cost_counts_what_was_seen_at_the_receiver(at_the_sender: tuple[str, str]) -> None:
    """The client's request and little else: 1 MB that was seen at its sender saves nobody anything."""
    capture, keys = at_the_sender
    run = read("replay", capture, "--keys", keys)
    assert at_receiver(run, "bytes", *KEYED) < 1000
    text = ran("cost", capture, "--keys", keys)
    milliseconds = float(re.findall(r"software ([\d.,]+) ms", text)[0])
    assert milliseconds < 0.1  # 2 us a record and some ns a byte; with all directions it is over 1 ms
    assert "(< 0.1 %); the rest was seen elsewhere, where loss may not show, and is left out" in text
    said = read("cost", capture, "--keys", keys)["predicted"]["base"]
    assert (said["seen"], said["bytes"]) == ("receiver", at_receiver(run, "bytes", *KEYED))


def test_trial_a1_compare_counts_what_was_seen_at_the_receiver(at_the_sender: tuple[str, str]) -> None:
    capture, keys = at_the_sender
    run = read("replay", capture, "--keys", keys, "--profile", "ideal")
    (policy,) = read("compare", capture, "--keys", keys, "--policy", "freebsd-table")["policies"]
    for name in KEYED:
        assert policy["records"].get(name, 0) == at_receiver(run, "records", name)


def test_trial_a1_a_report_says_what_it_leaves_out(at_the_sender: tuple[str, str], tmp_path: Path) -> None:
    capture, keys = at_the_sender
    ran("replay", capture, "--keys", keys, "--report", tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    answer = re.findall(r'<h1 id="answer">(.*?)</h1>', page)[0]
    assert "were captured elsewhere, where loss may not show" in answer
    assert "the rest was seen elsewhere" in page


@pytest.mark.parametrize("made", ["simulated", "recorded"])
def test_all_commands_agree_to_the_digit(made: str, tmp_path: Path) -> None:
    capture, keys = f"{EXAMPLE}.pcap", f"{EXAMPLE}.keys"
    if made == "simulated":
        capture, keys = str(tmp_path / "s.pcapng"), str(tmp_path / "s.keys")
        simulated = read("simulate", "--flows", 3, "--records", 20, "--loss", 1, "--out", capture)
    run = read("replay", capture, "--keys", keys, "--profile", "ideal", "--out", tmp_path / "run")
    totals = run["totals"]["receiver"]
    if made == "simulated":
        assert simulated["totals"] == run["totals"]
    (policy,) = read("compare", capture, "--keys", keys, "--policy", "freebsd-table")["policies"]
    assert {group: policy[group] for group in ("records", "bytes", "resync")} == {
        group: totals[group] for group in ("records", "bytes", "resync")
    }
    cost = read("cost", capture, "--keys", keys, "--profile", "ideal")["predicted"]
    assert round(cost["saved"], 6) == policy["cpu_saved"]
    assert cost["base"]["bytes"] == sum(totals["bytes"][name] for name in KEYED)
    ran("report", tmp_path / "run", tmp_path / "r.html")
    data = json.loads(
        re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', (tmp_path / "r.html").read_text())[0]
    )
    assert data["base"] == cost["base"]
    assert data["totals"] == totals


def test_trial_a16_a_report_takes_what_compare_writes(tmp_path: Path) -> None:
    capture, keys = f"{EXAMPLE}.pcap", f"{EXAMPLE}.keys"
    ran("replay", capture, "--keys", keys, "--profile", "ideal", "--out", tmp_path / "run")
    ran("compare", capture, "--keys", keys, "--json", tmp_path / "compared.json")
    ran("report", tmp_path / "run", tmp_path / "r.html", "--compare", tmp_path / "compared.json")
    page = (tmp_path / "r.html").read_text()
    section = page[page.index('<section id="policies">') :]
    for each in json.loads((tmp_path / "compared.json").read_text())["policies"]:
        assert f"<td>{each['policy']}</td>" in section
    assert "1 direction seen at the receiver" in section
    assert "not what the totals of this page are of" not in section


def test_a_comparison_of_something_else_says_so(tmp_path: Path) -> None:
    capture, keys = f"{EXAMPLE}.pcap", f"{EXAMPLE}.keys"
    ran("replay", capture, "--keys", keys, "--out", tmp_path / "run")
    ran("compare", capture, "--keys", keys, "--vantage", "client", "--policy", "none", "--json", tmp_path / "c.json")
    ran("report", tmp_path / "run", tmp_path / "r.html", "--compare", tmp_path / "c.json")
    page = (tmp_path / "r.html").read_text()
    assert "not what the totals of this page are of: other directions or keys, another NIC (here connectx-6dx)" in page


def test_trial_a19_nothing_compared_is_said_to_be_nothing() -> None:
    text = ran("compare", f"{EXAMPLE}.pcap", status=1)
    assert "same plaintext" not in text
    assert "Nothing was compared" in text
    found = read("compare", f"{EXAMPLE}.pcap", status=1)
    assert found["same_plaintext"] is None


def test_a_prediction_of_nothing_is_none(tmp_path: Path) -> None:
    assert "there is nothing to predict" in ran("cost", f"{EXAMPLE}.pcap", status=1)
    assert "No such file" in ran("cost", tmp_path / "absent.pcap", status=2)


def test_what_was_seen_only_elsewhere_is_said_to_be(tmp_path: Path) -> None:
    capture, keys = f"{EXAMPLE}.pcap", f"{EXAMPLE}.keys"
    text = ran("cost", capture, "--keys", keys, "--vantage", "middle")
    assert "2 directions seen elsewhere than at the receiver, where loss may not show" in text
    assert "seen elsewhere than at the receiver" in ran("compare", capture, "--keys", keys, "--vantage", "middle")
