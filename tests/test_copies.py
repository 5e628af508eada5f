"""Bytes that come twice and differ: the first accepted copy counts, which is otherwise than upstream and said to be."""

from __future__ import annotations

from pathlib import Path

import pytest

import replays
from replays import from_server, payload, remade

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("engine", ["plain", "compiled"])
def test_trial_a13_what_is_held_outlasts_a_segment_that_covers_it(tmp_path: Path, engine: str) -> None:
    """A lost segment comes again together with what came behind it, which has other bytes now. FreeBSD takes these."""
    talked = replays.download(5, (9000,) * 4)
    frames = list(talked.frames)
    data = [n for n, frame in enumerate(frames) if from_server(frame) and payload(frame)]
    lost, held = data[10], data[11]
    other = bytes(byte ^ 1 for byte in payload(frames[held]))
    frames[lost], frames[held] = frames[held], remade(frames[lost], body=payload(frames[lost]) + other)
    capture = replays.pcap(tmp_path, replays.one_after_another(frames))
    done = replays.replay(capture, replays.keys(tmp_path, talked), engine=engine)
    assert done.data() == talked.wanted("client")
    assert done.received()["records"]["failed"] == 0
    for name in ("ARCHITECTURE.md", "docs/path.md"):
        _, _, said = (ROOT / name).read_text().partition("## Otherwise than upstream\n")
        assert "the first accepted copy" in said.lower().replace("**", "").partition("\n## ")[0], name
