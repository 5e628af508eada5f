"""Clocks of captures that are apart: told by packets that both have seen, and by nothing else."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import rxtls
from rxtls.capture.blocks import Blocks
from rxtls.capture.captures import SecretsFound, TickFound
from rxtls.capture.clocks import ENOUGH, ahead, sample
from rxtls.capture.source import Source
from rxtls.path.engines import why_not_compiled
from rxtls.wire.capture import Frame
from timed import EXAMPLES, Timed, frames, put, read, replayed, share

ENGINES = ["plain"] + ([] if why_not_compiled() else ["compiled"])
MS = 1_000_000
NAME = "reorder-tls12-aes128cbc-sha256"


def tapped(kept: list[Timed], dice: random.Random, by_ns: int, lost: float = 0.02) -> list[Timed]:
    """What a tap has seen, by its own clock."""
    return [(ns + by_ns, data) for ns, data in kept if dice.random() > lost]


def as_frames(kept: list[Timed]) -> list[Frame]:
    return [Frame(ns, 0, 1, len(data), data) for ns, data in kept]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("by_ms", [3, -3, 40, -2500])
def test_two_taps_are_one_capture(tmp_path: Path, by_ms: int, engine: str) -> None:
    """Each has what the other lacks; without their clocks, most of that came too late."""
    kept = frames(NAME)
    whole = read(replayed(EXAMPLES / f"{NAME}.pcap", NAME)[1])
    one = put(tmp_path / "one.pcap", tapped(kept, random.Random(1), 0))
    other = put(tmp_path / "other.pcap", tapped(kept, random.Random(2), by_ms * MS))
    run, records = replayed([one, other], NAME, engine=engine)
    summary = run.summary()
    assert share(read(records), whole) > 0.999
    assert summary["balance"] == 0
    assert summary["order"]["shifted"] == [{"file": str(other), "ahead_seconds": by_ms / 1000}]
    assert summary["order"]["steps_back"] == 0
    assert summary["fates"]["frame.mirrored"] > len(kept) * 0.9
    for given in ([other, one], [one, one]):
        again, records = replayed(given, NAME, engine=engine)
        assert share(read(records), whole) > (0.999 if other in given else 0.5)
        assert len(again.summary()["order"]["shifted"]) == (other in given)
    run, records = replayed([one, other], NAME, engine=engine, order="file")
    assert run.summary()["order"]["shifted"] == []


def test_both_readers_take_it_off(tmp_path: Path) -> None:
    kept = frames(NAME)
    names = [put(tmp_path / f"{n}.pcap", tapped(kept, random.Random(n), n * 7 * MS)) for n in range(3)]
    plain, compiled = Source(names, by_time=True), Blocks(names, by_time=True) if len(ENGINES) > 1 else None
    assert plain.ahead == {1: 7 * MS, 2: 14 * MS}
    times = [each.time_ns for each in plain if not isinstance(each, SecretsFound | TickFound)]
    assert times == sorted(times)
    assert {ns for ns, _ in kept} >= set(times)
    if compiled is not None:
        assert [
            ns for block in compiled if not isinstance(block, SecretsFound | TickFound) for ns in block.table[:, 1]
        ] == times
    assert Source(names).ahead == {}


def test_what_says_nothing() -> None:
    """Too few packets, packets of others, the two ends of a path."""
    kept = as_frames(frames(NAME))
    whole = sample(kept)
    assert ahead(whole, whole) == 0
    assert ahead(whole, {key: whole[key] for key in list(whole)[: ENOUGH - 1]}) is None
    assert ahead(whole, sample(as_frames(frames("loss-tls13-chacha20")))) is None
    ends = {key: ns + (30 if key[2] == 4433 else -30) * MS for key, ns in whole.items()}
    assert ahead(whole, ends) is None
    few_wrong = {key: ns + 5 * MS + (n % 20 == 0) * 70 * MS for n, (key, ns) in enumerate(whole.items())}
    assert ahead(whole, few_wrong) == 5 * MS


def test_pieces_of_a_ring_are_not_shifted(tmp_path: Path) -> None:
    kept = frames(NAME)
    third = len(kept) // 3
    names = [put(tmp_path / f"{n}.pcap", kept[n * third : (n + 1) * third]) for n in range(3)]
    run = rxtls.replay(names, EXAMPLES / f"{NAME}.keys")
    assert list(run)
    assert run.summary()["order"]["shifted"] == []
