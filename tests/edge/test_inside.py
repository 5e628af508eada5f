"""One small TLS 1.3 connection as people capture it: in tunnels, with rarer link types, with wrong checksums.

Whatever was put around it, the same comes out of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rxtls
from wrapping import KEYS, LINKS, TUNNELS, Captured, frames, from_client, pcap, pcapng, with_sum

ENGINES = ["plain", "compiled"]


def replayed(tmp_path: Path, data: bytes, engine: str, **options: Any) -> dict[str, Any]:
    """The summary of a run over a capture of these bytes."""
    capture = tmp_path / "capture.pcap"
    capture.write_bytes(data)
    run = rxtls.replay(capture, keys=KEYS, engine=engine, **options)
    for _ in run:
        pass
    return run.summary()


def opened(summary: dict[str, Any]) -> list[tuple[int, int]]:
    return [tuple(flow["receive"][each]["app_bytes"] for each in ("server", "client")) for flow in summary["flows"]]


@pytest.mark.parametrize("engine", ENGINES)
def test_trial_b3_what_is_in_tunnels_is_read(tmp_path: Path, engine: str) -> None:
    found = {}
    for name, wrap in TUNNELS.items():
        summary = replayed(tmp_path, pcap(Captured(each.time, wrap(each.data)) for each in frames()), engine)
        found[name] = opened(summary), summary["balance"]
    assert found == dict.fromkeys(TUNNELS, ([(7515, 7515)], 0))


@pytest.mark.parametrize("engine", ENGINES)
def test_trial_b3_and_b9_rarer_link_types_are_read(tmp_path: Path, engine: str) -> None:
    found = {}
    for name, (link_type, wrap) in LINKS.items():
        seen = (Captured(each.time, wrap(each.data)) for each in frames())
        summary = replayed(tmp_path, pcap(seen, link_type), engine)
        found[name] = opened(summary), summary["balance"]
    assert found == dict.fromkeys(LINKS, ([(7515, 7515)], 0))


WRONG: dict[str, Callable[[Captured], Captured]] = {
    "garbage in both directions": lambda each: with_sum(each, lambda field: field ^ 0x1234 + len(each.data)),
    "the same everywhere": lambda each: with_sum(each, lambda _: 0x1234),
    "zero": lambda each: with_sum(each, lambda _: 0),
    "addresses rewritten": lambda each: with_sum(with_sum(each, lambda field: field + 77), lambda f: f + 77, True),
    "garbage of the client": lambda each: with_sum(each, lambda field: field + 3) if from_client(each) else each,
    "garbage of the server": lambda each: each if from_client(each) else with_sum(each, lambda field: field + 3),
}


@pytest.mark.parametrize("engine", ENGINES)
def test_trial_b2_checksums_of_which_none_is_right_are_not_believed(tmp_path: Path, engine: str) -> None:
    found = {}
    for name, change in WRONG.items():
        summary = replayed(tmp_path, pcap(change(each) for each in frames()), engine)
        found[name] = opened(summary), summary["balance"]
    assert found == dict.fromkeys(WRONG, ([(7515, 7515)], 0))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("flags", [1 << 9, 1 << 10], ids=["not ready", "valid"])
def test_trial_b2_flags_of_pcapng_are_honoured(tmp_path: Path, engine: str, flags: int) -> None:
    """Only every other packet is wrong, so that nothing but the flags speaks for them."""
    seen = [with_sum(each, lambda _: 0x1234) if n % 2 else each for n, each in enumerate(frames())]
    assert opened(replayed(tmp_path, pcapng(seen, flags), engine)) == [(7515, 7515)]
    assert opened(replayed(tmp_path, pcapng(seen, 0), engine)) != [(7515, 7515)]


@pytest.mark.parametrize("engine", ENGINES)
def test_what_was_taken_in_spite_of_its_checksum_is_counted(tmp_path: Path, engine: str) -> None:
    summary = replayed(tmp_path, pcap(with_sum(each, lambda field: field + 9) for each in frames()), engine)
    assert [flow["wrong_checksums"] for flow in summary["flows"]] == [36]
    summary = replayed(
        tmp_path, pcap(with_sum(each, lambda field: field + 9) for each in frames()), engine, checksum="verify"
    )
    assert summary["fates"] == {"frame.bad_checksum": 36}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_checksum_that_is_right_by_chance_changes_nothing(tmp_path: Path, engine: str) -> None:
    seen = [each if n == 20 else with_sum(each, lambda field: field + 9) for n, each in enumerate(frames())]
    assert opened(replayed(tmp_path, pcap(seen), engine)) == [(7515, 7515)]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_damaged_packet_of_a_host_with_right_ones_is_refused(tmp_path: Path, engine: str) -> None:
    seen = frames()
    damaged = [n for n, each in enumerate(seen) if len(each.data) > 54][5:]
    for n in damaged[::3]:
        seen[n] = with_sum(seen[n], lambda field: field + 9)
    summary = replayed(tmp_path, pcap(seen), engine)
    assert summary["fates"]["frame.bad_checksum"] == len(damaged[::3])
    assert summary["flows"][0]["wrong_checksums"] == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_a_frame_that_the_link_damaged_is_refused(tmp_path: Path, engine: str) -> None:
    assert replayed(tmp_path, pcapng(frames(), 1 << 24), engine)["fates"] == {"frame.link_error": 36}
    assert opened(replayed(tmp_path, pcapng(frames(), 1 << 27), engine)) == [(7515, 7515)]
