"""Where a capture was taken, told by all of its connections: simulated captures, by every engine and command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import replays
from replays import Talked, client_at, download
from rxtls.capture import write as pcapout
from rxtls.cli.app import app
from rxtls.simulation.link import Connection, Impairment, LinkFrame

CLIENTS = 6


def command(*arguments: object) -> dict[str, Any]:
    result = CliRunner().invoke(app, [*map(str, arguments), "--json", "-"])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.output)
    return found


def vantages(run: dict[str, Any], receiver: str = "client") -> list[str]:
    return [flow["receive"][receiver]["vantage"] for flow in run["flows"]]


def several(tap: str, ip: str = "192.0.2.1") -> list[Talked]:
    """Connections of one server, of which one lost something on its way to the client."""
    return [
        download(
            n,
            (16_000,) * (40 if n == 2 else 2),
            down=Impairment(loss=0.03, spare_control=True) if n == 2 else None,
            client=client_at(40_000 + n, ip),
            tap=tap,
            start_ns=10**15 + n * 10**9,
        )
        for n in range(CLIENTS)
    ]


def frames_of(talked: list[Talked]) -> list[LinkFrame]:
    return sorted((frame for each in talked for frame in each.frames), key=lambda frame: frame.time_ns)


def test_trial_a2_a_simulation_is_replayed_as_it_was_made(tmp_path: Path) -> None:
    capture = tmp_path / "s.pcapng"
    made = command("simulate", "--flows", 60, "--records", 4, "--loss", 2, "--out", capture)
    for name in (capture, _as_pcap(capture)):
        read = command("replay", name, "--keys", capture.with_suffix(".keys"), "--profile", "ideal")
        assert vantages(read) == ["receiver"] * 60
        for receiver in ("client", "server"):
            assert [flow["receive"][receiver]["records"] for flow in read["flows"]] == [
                flow["receive"][receiver]["records"] for flow in made["flows"]
            ]


def _as_pcap(capture: Path) -> Path:
    """The same packets in a file that says nothing of where they were captured."""
    from rxtls.wire.capture import Frame, read_capture

    with capture.open("rb") as file, capture.with_suffix(".pcap").open("wb") as out:
        frames = [each for each in read_capture(file.read, "s") if isinstance(each, Frame)]
        pcapout.write_pcap([LinkFrame(each.time_ns, each.data) for each in frames], out)
    return capture.with_suffix(".pcap")


@pytest.mark.parametrize("engine", ["plain", "compiled"])
@pytest.mark.parametrize(("tap", "wanted"), [("client", "receiver"), ("server", "sender")])
def test_trial_a2_clean_connections_were_captured_where_the_lossy_one_was(
    tmp_path: Path, tap: str, wanted: str, engine: str
) -> None:
    talked = several(tap)
    name, keys = replays.pcap(tmp_path, frames_of(talked)), replays.keys(tmp_path, *talked)
    for size in (1, 4096):
        run = replays.replay(name, keys, engine=engine, call_size=size).summary
        assert vantages(run) == [wanted] * CLIENTS


def test_trial_a2_one_lossy_connection_says_nothing_of_another_interface(tmp_path: Path) -> None:
    here, there = several("client"), several("server", "192.0.2.2")
    there = [Talked([f._replace(interface=1) for f in each.frames], *each_rest(each)) for each in there]
    frames = frames_of([*here, *there])
    name = replays.pcapng(tmp_path, frames, ("eth0", "eth1"))
    run = replays.replay(name, replays.keys(tmp_path, *here, *there)).summary
    told = {(flow["client"].partition(":")[0], each) for flow, each in zip(run["flows"], vantages(run), strict=True)}
    assert told == {("192.0.2.1", "receiver"), ("192.0.2.2", "sender")}


@pytest.mark.parametrize("jobs", [2, 3])
def test_jobs_give_the_verdicts_of_one(tmp_path: Path, jobs: int) -> None:
    """Most jobs have no connection that lost anything."""
    talked = several("client")
    name, keys = replays.pcap(tmp_path, frames_of(talked)), replays.keys(tmp_path, *talked)
    one, more = (command("replay", name, "--keys", keys, "--jobs", n) for n in (1, jobs))
    assert vantages(more) == ["receiver"] * CLIENTS
    assert [more[key] for key in ("jobs", "taps", "totals", "flows")] == [
        jobs,
        one["taps"],
        one["totals"],
        one["flows"],
    ]


def each_rest(talked: Talked) -> tuple[str, Any, Any]:
    return talked.keylog, talked.client, talked.server


def test_who_is_told_by_a_person_is_not_told_by_packets(tmp_path: Path) -> None:
    talked = several("client")
    name, keys = replays.pcap(tmp_path, frames_of(talked)), replays.keys(tmp_path, *talked)
    assert vantages(replays.replay(name, keys, vantage="server").summary) == ["sender"] * CLIENTS


def test_evidence_and_verdict_stand_in_the_json(tmp_path: Path) -> None:
    talked = several("client")
    run = replays.replay(replays.pcap(tmp_path, frames_of(talked)), replays.keys(tmp_path, *talked)).summary
    server, client = run["taps"] if run["taps"][0]["place"] == "peer" else reversed(run["taps"])
    assert (client["host"], client["place"], client["by"], client["connections"]) == ("192.0.2.1", "here", "loss", 1)
    assert (server["host"], server["place"], server["interfaces"]) == ("198.51.100.1", "peer", [0])
    assert server["votes"]["loss"]["peer"] == client["votes"]["loss"]["here"] > 0
    assert {each["vantage_by"] for flow in run["flows"] for each in flow["receive"].values()} == {"loss"}


def test_a_capture_says_where_it_was_taken(tmp_path: Path) -> None:
    """Nothing was lost, so that nothing else can tell."""
    capture = tmp_path / "s.pcapng"
    command("simulate", "--flows", 2, "--records", 2, "--out", capture)
    run = command("replay", capture)
    assert {(each["vantage"], each["vantage_by"]) for flow in run["flows"] for each in flow["receive"].values()} == {
        ("receiver", "file"),
        ("sender", "file"),
    }
    assert set(vantages(command("replay", _as_pcap(capture), "--keys", capture.with_suffix(".keys")))) == {"unknown"}
    assert set(vantages(command("replay", capture, "--vantage", "middle"))) == {"middle"}


@pytest.mark.parametrize("said", ["client, perhaps", "", "up", "auto", "\x1b[31m"])
def test_a_comment_that_says_nothing_known_is_passed_over(tmp_path: Path, said: str) -> None:
    talked = download(1)
    capture = tmp_path / "noted.pcapng"
    with capture.open("wb") as out:
        pcapout.write_pcapng(talked.frames, out, ("eth0",), talked.keylog, f"rxtls --vantage {said}")
    assert vantages(replays.replay(capture).summary) == ["unknown"]


def test_a_capture_on_loopback_shows_what_both_hosts_received(tmp_path: Path) -> None:
    connection = Connection(client=client_at(40_000, "127.0.0.1"), server=client_at(443, "127.0.0.1"))
    talk = replays.begin(3)
    talk.request([b"GET /"], [b"200"])
    talked = replays.carry(talk, connection)
    run = replays.replay(replays.pcap(tmp_path, talked.frames), replays.keys(tmp_path, talked)).summary
    assert vantages(run) == vantages(run, "server") == ["receiver"]


def test_an_annotated_capture_says_so_too(tmp_path: Path) -> None:
    capture, annotated = tmp_path / "s.pcapng", tmp_path / "a.pcapng"
    command("simulate", "--records", 2, "--out", capture)
    command("replay", capture, "--annotate", annotated)
    keys = capture.with_suffix(".keys")
    assert vantages(command("replay", annotated, "--keys", keys)) == ["receiver"]
