"""One small TLS 1.3 connection as people capture it: in tunnels, with rarer link types, with wrong checksums.

Whatever was put around it, the same comes out of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import rxtls
from wrapping import KEYS, LINKS, TUNNELS, Captured, frames, pcap

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
