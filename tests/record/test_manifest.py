"""The recordings in tests/data/real are what their manifest says, and small enough to live in the repository."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from rxtls.counters import FATES

REAL = Path(__file__).resolve().parent.parent / "data" / "real"
ENTRIES: list[dict[str, Any]] = json.loads((REAL / "manifest.json").read_text())


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry["name"] for entry in ENTRIES])
def test_file_is_the_one_described(entry: dict[str, Any]) -> None:
    data = (REAL / entry["file"]).read_bytes()
    assert (len(data), hashlib.sha256(data).hexdigest()) == (entry["size"], entry["file_sha256"])
    assert entry["keys"] is None or (REAL / entry["keys"]).exists()


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry["name"] for entry in ENTRIES])
def test_flows_say_what_was_carried_or_why_not(entry: dict[str, Any]) -> None:
    assert entry["flows"]
    for flow in entry["flows"]:
        for side in ("up", "down"):
            assert (flow[side] is None) == (flow[f"{side}_sha256"] is None)
        assert flow["up"] is not None or flow["down"] is not None or entry["tshark"].startswith("not asked")


def test_expected_fates_exist() -> None:
    expected = {entry.get("expect") for entry in ENTRIES}
    expected |= {flow.get("expect") for entry in ENTRIES for flow in entry["flows"]}
    assert expected - {None} <= set(FATES)


def test_nothing_is_kept_that_no_entry_names() -> None:
    named = {"manifest.json"} | {entry["file"] for entry in ENTRIES} | {entry["keys"] for entry in ENTRIES}
    assert {path.name for path in REAL.iterdir()} <= named


def test_the_whole_stays_small() -> None:
    assert sum(path.stat().st_size for path in REAL.iterdir()) < 4_500_000
