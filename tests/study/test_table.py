"""The table: every direction in which something came, sums that agree with the JSON, and notes where they are due."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import replays
from replays import CHACHA13, Talked, download
from rxtls.run.summary import totalled, totals
from rxtls.simulation.link import Impairment
from rxtls.study import table
from rxtls.study.table import notes, rendered


@pytest.fixture(scope="module")
def lossy() -> Talked:
    return download(4, (16384,) * 25, down=Impairment(loss=0.04, reorder=0.02))


@pytest.fixture
def summary(tmp_path: Path, lossy: Talked) -> dict[str, Any]:
    capture, keys = replays.pcap(tmp_path, lossy.frames), replays.keys(tmp_path, lossy)
    return replays.replay(capture, keys, digest=True).summary


def rows(text: str) -> dict[str, list[str]]:
    """Lines with columns, by their first."""
    split = (re.split(r"\s{2,}", line.strip()) for line in text.splitlines())
    return {row[0]: row[1:] for row in split if len(row) > 5}


def test_a_line_for_each_direction(summary: dict[str, Any]) -> None:
    lines = [line for line in rendered(summary).splitlines() if " > " in line and "flow" not in line]
    assert len(lines) == 2
    received = summary["flows"][0]["receive"]["client"]
    (line,) = [line for line in lines if "198.51.100.1:443 > 192.0.2.1:40000" in line]
    columns = re.split(r"\s{2,}", line.strip())
    assert columns[2:5] == [received["vantage"], "1.3", "TLS_AES_128_GCM_SHA256"]
    numbers = [str(received["records"][name]) for name in ("decrypted", "mixed", "encrypted", "failed")]
    numbers += [str(received["resync"][name]) for name in ("lost", "polls", "confirmed", "regained")]
    assert columns[5:] == ["ifnet", f"{received['app_bytes']:,}", *numbers, "fin"]


def test_totals_are_those_of_the_json(summary: dict[str, Any]) -> None:
    line = rows(rendered(summary))["the receiver"]
    sums = totals(summary, True)
    assert line[:2] == [str(sums["directions"]), f"{sums['app_bytes']:,}"]
    opened = sum(sums[f"records.{name}"] for name in ("decrypted", "mixed", "encrypted", "failed", "unknown"))
    share = 100 * sums["records.decrypted"] / opened
    assert line[2] == f"{sums['records.decrypted']} ({share:.1f} %)"
    assert f"{sums['bytes.recrypted']:,}" in line


@pytest.mark.parametrize("columns", [80, 149])
def test_a_narrow_terminal_gets_what_matters_most_unbroken(
    summary: dict[str, Any], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setattr(table, "WIDTH", columns)
    text = rendered(summary)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    received, sums = summary["flows"][0]["receive"]["client"], totals(summary, True)
    lines = [line.split() for line in text.splitlines()]
    figures = [str(received["records"][name]) for name in ("decrypted", "mixed", "encrypted")]
    line = ["0", "198.51.100.1:443", "ifnet", f"{received['app_bytes']:,}", *figures, str(received["resync"]["lost"])]
    assert [*line, "fin"] in lines
    assert ["app", "bytes", f"{sums['app_bytes']:,}", f"{totals(summary, False)['app_bytes']:,}"] in lines


def test_a_direction_that_is_not_modelled_is_left_out(tmp_path: Path, lossy: Talked) -> None:
    capture, keys = replays.pcap(tmp_path, lossy.frames), replays.keys(tmp_path, lossy)
    text = rendered(replays.replay(capture, keys, receiver="client").summary)
    assert "198.51.100.1:443 > 192.0.2.1:40000" in text
    assert "192.0.2.1:40000 > 198.51.100.1:443" not in text


def test_digests_when_asked_for(summary: dict[str, Any]) -> None:
    digests = [received["sha256"] for received in summary["flows"][0]["receive"].values()]
    with_ = rendered(summary, digest=True)
    assert all(f"sha256 {digest}" in with_ for digest in digests)
    assert "sha256" not in rendered(summary)


def test_no_connection_is_said() -> None:
    assert rendered({"flows": []}) == "no TCP connection was found\n"


def test_very_many_flows_are_cut_off(summary: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "MAX_ROWS", 3)
    many = {**summary, "flows": summary["flows"] * 5}
    many["totals"] = totalled(many["flows"])
    text = rendered(many, digest=True)
    assert "... and 7 more directions; --json has all of them" in text
    assert text.count("sha256") == 3
    assert rows(text)["the receiver"][0] == "5"  # totals count them all


def test_an_incomplete_direction_is_marked(tmp_path: Path) -> None:
    talked = download(6, closed=False, end="open")
    text = rendered(replays.replay(replays.pcap(tmp_path, talked.frames), replays.keys(tmp_path, talked)).summary)
    assert text.count("open, incomplete") == 2


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, "no secrets were given"),
        ({"profile": "none", "keys": True}, "[profile]"),
        ({}, "not offloaded (2 directions): No key log given holds this session's secrets [no_keys]"),
    ],
)
def test_reasons_are_noted(tmp_path: Path, options: dict[str, Any], wanted: str) -> None:
    talked = download(7, session=CHACHA13)
    given = dict(options)
    keys = replays.keys(tmp_path, talked) if given.pop("keys", False) else ()
    done = replays.replay(replays.pcap(tmp_path, talked.frames), keys, **given)
    assert any(wanted in note for note in notes(done.summary))
    assert wanted in rendered(done.summary)


def test_what_was_left_out_is_noted(tmp_path: Path) -> None:
    talked = download(8, (16384,) * 10, down=Impairment(corrupt=0.1))
    done = replays.replay(replays.pcap(tmp_path, talked.frames), replays.keys(tmp_path, talked))
    bad = done.summary["fates"]["frame.bad_checksum"]
    assert f"left out: {bad} frames: The TCP checksum is wrong" in rendered(done.summary)
    assert "left out" not in rendered({**done.summary, "fates": {}})


def test_every_note_has_its_occasion(summary: dict[str, Any]) -> None:
    assert notes(summary) == ["captured at 192.0.2.1, by loss (6 losses say so, 0 otherwise)"]
    flow = {**summary["flows"][0], "resegmented": 3}
    occasions: list[tuple[dict[str, Any], str]] = [
        ({"flows": [flow]}, "3 aggregated frames"),
        ({"fates": {"frame.segment_cut": 2}}, "2 frames were cut by the snap length"),
        ({"limits_met": {"keys_wait": True, "receive_tags": 0}}, "the bound on bytes waiting for keys was met"),
        ({"balance": 5}, "balance 5"),
    ]
    for change, wanted in occasions:
        (note,) = notes({**summary, "taps": [], **change})
        assert note.startswith(wanted)


def test_errors_are_not_the_tables_to_say(tmp_path: Path) -> None:
    done = replays.replay(tmp_path / "absent.pcap")
    assert len(done.summary["errors"]) == 1
    assert "absent" not in rendered(done.summary)


def test_what_looks_like_markup_is_text(summary: dict[str, Any]) -> None:
    received = {
        **summary["flows"][0]["receive"]["client"],
        "why": {"code": "x", "text": "[bold red]loud[/] [/nonsense]"},
    }
    flow = {**summary["flows"][0], "suite": "[red]suite[/]", "receive": {"server": None, "client": received}}
    text = rendered({**summary, "flows": [flow]})
    assert "[red]suite[/]" in text
    assert "[bold red]loud[/] [/nonsense]" in text
    assert "\x1b" not in text


def test_ipv6_addresses_are_not_taken_for_markup(tmp_path: Path) -> None:
    talked = download(
        9, (100,), client=replays.client_at(40000, "2001:db8::1"), server=replays.client_at(443, "fe80::2")
    )
    text = rendered(replays.replay(replays.pcap(tmp_path, talked.frames), replays.keys(tmp_path, talked)).summary)
    assert "[2001:db8::1]:40000 > [fe80::2]:443" in text
