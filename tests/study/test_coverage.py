"""Nothing is left out in silence: what a run did not look at is on the terminal and in the JSON, and the sum closes."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

import replays
import rxtls
from replays import download
from rxtls.cli import app as cli
from rxtls.crypto.suites import SUITES
from rxtls.simulation.link import Connection, Impairment
from rxtls.simulation.synth import Session
from wrapping import BASE, KEYS, Captured, ethernet, frames, ip4, pcap, udp, with_sum

TESTS = Path(__file__).parents[1]
ENGINES = ["plain", "compiled"]
CAPTURES = [
    path
    for path in (
        *sorted((TESTS / "data" / "real").glob("*.pcap*")),
        *sorted((TESTS.parent / "examples").glob("*.pcap*")),
    )
    if path.stat().st_size < 300_000
]

# A frame that is left out, and what is to be said of it.
LEFT_OUT = {
    "QUIC": ethernet(0x0800, ip4(17, udp(443, b"\xc3\0\0\0\1" + bytes(60)))),
    "DTLS": ethernet(0x0800, ip4(17, udp(4433, b"\x16\xfe\xfd" + bytes(8) + b"\0\x30" + bytes(48)))),
    "IPsec": ethernet(0x0800, ip4(50, bytes(60))),
    "GRE": ethernet(0x0800, ip4(47, b"\0\0\x88\x3e" + bytes(60))),
    "fragment": ethernet(0x0800, ip4(6, bytes(60))[:6] + b"\x20" + ip4(6, bytes(60))[7:]),
    "not TCP": ethernet(0x0800, ip4(1, bytes(60))),
    "ARP": ethernet(0x0806, bytes(28)),
    "GTP-U": ethernet(0x0800, ip4(17, udp(2152, b"\x30\xff" + bytes(60)))),
    "WireGuard": ethernet(0x0800, ip4(17, udp(51820, b"\4\0\0\0" + bytes(60)))),
    "L2TP": ethernet(0x0800, ip4(115, bytes(60))),
    "MACsec": ethernet(0x88E5, bytes(60)),
    "NSH": ethernet(0x894F, bytes(60)),
    "GUE": ethernet(0x0800, ip4(17, udp(6080, b"\0\4\0\0" + bytes(60)))),
}


def shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """What the command prints."""
    monkeypatch.setattr(sys, "argv", ["rxtls", "replay", *map(str, arguments)])
    with pytest.raises(SystemExit):
        cli.main()
    return capsys.readouterr().out


@pytest.mark.parametrize("engine", ENGINES)
def test_trial_b1_what_is_left_out_has_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], engine: str
) -> None:
    """Beside a good connection as well as alone."""
    for good in ([], frames()):
        capture = tmp_path / "capture.pcap"
        begun = frames()[0].time
        seen = [*good, *(Captured(begun + n, frame) for n, frame in enumerate(LEFT_OUT.values()))]
        capture.write_bytes(pcap(seen))
        lines = shown(monkeypatch, capsys, capture, "--keys", KEYS, "--engine", engine).splitlines()
        assert {word: sum(word in line and "1 frame" in line for line in lines) for word in LEFT_OUT} == dict.fromkeys(
            LEFT_OUT, 1
        )


@pytest.mark.parametrize(("ethertype", "name"), [(0x4305, "batman-adv"), (0xDADA, "DSA"), (0x8909, "CMD")])
def test_headers_of_switches_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ethertype: int, name: str
) -> None:
    capture = tmp_path / "capture.pcap"
    capture.write_bytes(pcap([Captured(0, ethernet(ethertype, bytes(60)))]))
    assert name in next(line for line in shown(monkeypatch, capsys, capture).splitlines() if "1 frame" in line)


@pytest.mark.parametrize(("link_type", "name"), [(127, "IEEE 802.11"), (201, "Bluetooth"), (147, "147")])
def test_trial_b1_link_types_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], link_type: int, name: str
) -> None:
    other = tmp_path / "other.pcap"
    other.write_bytes(pcap(frames()[:3], link_type))
    for captures in ([other], [BASE, other]):
        lines = shown(monkeypatch, capsys, *captures, "--keys", KEYS).splitlines()
        assert [name in line and "3 frames" in line for line in lines].count(True) == 1


def test_trial_b1_and_b2_wrong_checksums_have_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    capture = tmp_path / "capture.pcap"
    capture.write_bytes(pcap(with_sum(each, lambda field: field + 9) for each in frames()))
    text = shown(monkeypatch, capsys, capture, "--keys", KEYS)
    assert "36 frames of 1 connection were read in spite of wrong checksums" in text
    text = shown(monkeypatch, capsys, capture, "--keys", KEYS, "--checksum", "verify")
    assert "no TCP connection was found" in text
    assert "left out: 36 frames: The TCP checksum is wrong" in text


def test_trial_b9_a_capture_that_is_not_there_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(monkeypatch, capsys, tmp_path / "missing.pcap") == ""


def closes(coverage: dict[str, Any]) -> bool:
    whole: int = coverage["opened"] + coverage["modelled"] + sum(coverage["rest"].values())
    return bool(whole == coverage["tcp_bytes"] and coverage["tls_bytes"] <= whole)


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.name)
def test_it_closes_over_captures(path: Path) -> None:
    keys = path.with_suffix(".keys")
    found = []
    for engine in ENGINES:
        for given in ([keys], []) if keys.exists() else ([],):
            run = rxtls.replay(path, keys=given, engine=engine, receiver="both" if given else "server")
            for _ in run:
                pass
            found.append(run.summary()["coverage"])
            assert closes(found[-1])
    assert found[: len(found) // 2] == found[len(found) // 2 :]


@pytest.mark.parametrize("seed", range(6))
def test_it_closes_over_random_traffic(tmp_path: Path, seed: int) -> None:
    dice = Random(seed)
    bad = Impairment(loss=0.02, reorder=0.03, duplicate=0.02, corrupt=0.02 * dice.random())
    talked = download(seed, (16384,) * 8, down=bad)
    seen = [frame for frame in talked.frames if dice.random() > 0.03 * (seed % 2)]
    capture, keys = replays.pcap(tmp_path, seen), replays.keys(tmp_path, talked)
    found = []
    for engine in ENGINES:
        for options in ({}, {"receiver": "server"}, {"filter": "dst port 40000"}, {"checksum": "ignore"}):
            run = rxtls.replay(capture, keys=keys, engine=engine, **options)
            for _ in run:
                pass
            found.append(run.summary()["coverage"])
            assert closes(found[-1])
    assert found[:4] == found[4:]
    assert "filtered" in found[2]["rest"]


EARLY = Session(SUITES[0x1301], early_data=(b"a" * 500, b"b" * 500), resumed=True, early="rejected")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("lacking", ["", "HANDSHAKE_TRAFFIC_SECRET"])
def test_what_the_library_passes_over_was_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], engine: str, lacking: str
) -> None:
    """Early data that the server does not take; a handshake whose secrets a key log lacks."""
    talked = download(1, (500,) * 4, session=EARLY)
    capture, keys = replays.pcap(tmp_path, talked.frames), replays.keys(tmp_path, talked)
    if lacking:
        lines = Path(keys).read_text().splitlines(keepends=True)
        Path(keys).write_text("".join(line for line in lines if lacking not in line))
    run = rxtls.replay(capture, keys=keys, engine=engine)
    passed = [record for record in run if record.record_class == "library" and record.by == "nobody"]
    assert {(record.type, record.data, record.number) for record in passed} == {(0, b"", None)}
    assert [record.receiver for record in passed].count("client") == (2 if lacking else 0)
    assert [record.receiver for record in passed].count("server") == (1 if lacking else 2)
    coverage = run.summary()["coverage"]
    assert closes(coverage)
    assert coverage["rest"] == {"unread": sum(record.wire_length for record in passed)}
    text = shown(monkeypatch, capsys, capture, "--keys", keys, "--engine", engine)
    assert f"not opened: {coverage['rest']['unread']:,} bytes: In records that the TLS library passed over" in text


def test_jobs_find_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = []
    for jobs in ("1", "2"):
        out = tmp_path / f"{jobs}.json"
        shown(
            monkeypatch,
            capsys,
            BASE,
            TESTS / "data" / "real" / "any-sll.pcap",
            "--keys",
            KEYS,
            "--jobs",
            jobs,
            "--json",
            out,
        )
        found.append(json.loads(out.read_text())["coverage"])
    assert found[0] == found[1]
    assert found[0]["rest"]["no_keys"]


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("engine", ENGINES)
def test_both_sides_of_a_nat_are_said_to_count_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], engine: str, jobs: str
) -> None:
    talk = replays.begin(5)
    talk.request([b"please"], [b"of course" * 500] * 4)
    inside = replays.carry(talk, Connection(client=replays.client_at(40_000, "10.0.0.7")), 5)
    outside = replays.carry(talk, Connection(client=replays.client_at(61_000, "203.0.113.9")), 5)
    other = download(6, client=replays.client_at(40_001))
    captures = {
        "both": sorted([*inside.frames, *outside.frames, *other.frames], key=lambda frame: frame.time_ns),
        "one": sorted([*inside.frames, *other.frames], key=lambda frame: frame.time_ns),
    }
    keys = replays.keys(tmp_path, inside, other)
    said = {}
    for name, each in captures.items():
        capture = replays.pcap(tmp_path, each, f"{name}.pcap")
        options = ("--keys", keys, "--engine", engine, "--jobs", jobs, "--json", tmp_path / f"{name}.json")
        said[name] = shown(monkeypatch, capsys, capture, *options)
    assert "1 connection counted again: the same TLS session is here under other addresses" in said["both"]
    assert "counted again" not in said["one"]
    flows = json.loads((tmp_path / "both.json").read_text())["flows"]
    assert sorted(Counter(flow["session"] for flow in flows).values()) == [1, 2]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_port_mirrored_twice_is_not_taken_for_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], engine: str
) -> None:
    talked = download(7, (16_000,) * 20)
    again = [frame._replace(time_ns=frame.time_ns + 900) for frame in talked.frames]
    lossy = download(7, (16_000,) * 20, down=Impairment(loss=0.1, duplicate=0.1))
    said = []
    for n, each in enumerate(([*talked.frames, *again], talked.frames, lossy.frames)):
        capture = replays.pcap(tmp_path, sorted(each, key=lambda frame: frame.time_ns), f"{n}.pcap")
        said.append(shown(monkeypatch, capsys, capture, "--keys", replays.keys(tmp_path, talked), "--engine", engine))
    assert ["nearly every byte came more than once" in each for each in said] == [True, False, False]
