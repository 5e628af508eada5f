"""Bounds of what is held out of order: of one direction and of all, in memory and in steps, whatever a peer does."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from replays import (
    CHACHA13,
    GCM12,
    GCM13,
    client_at,
    done,
    download,
    from_server,
    keys,
    one_after_another,
    payload,
    pcap,
)
from rxtls.device.profiles import profile
from rxtls.path.engines import why_not_compiled
from rxtls.path.receive import PathOptions, ReceivePath
from rxtls.run import jobs as jobs_module
from rxtls.run.options import ReplayOptions
from rxtls.run.replay import Replay
from rxtls.simulation.link import Address, LinkFrame
from rxtls.wire.packets import ACK, SYN, Headers, syn_options

ENGINES = ["plain"] if why_not_compiled() else ["compiled", "plain"]
PIECE = 60_000
START = 1_750_000_000_000_000_000


def flood(connections: int, pieces: list[tuple[int, bytes]], window: int = 0xFFFF) -> Iterator[tuple[int, LinkFrame]]:
    """Connections with window scale 14 that take turns; each sends these pieces of its stream: (place, bytes)."""
    made = []
    number = 0

    def numbered(frame: bytes) -> tuple[int, LinkFrame]:
        nonlocal number
        number += 1
        return number - 1, LinkFrame(START + number * 1000, frame)

    for n in range(connections):
        client, server = Address("10.0.0.1", 1024 + n), Address("10.0.0.2", 443)
        out, back = Headers(client, server), Headers(server, client)
        yield numbered(out.frame(0, 0, SYN, window, b"", syn_options(PIECE, 14)))
        yield numbered(back.frame(0, 1, SYN | ACK, window, b"", syn_options(PIECE, 14)))
        yield numbered(back.frame(1, 1, ACK, window, b""))
        made.append(out)
    for place, data in pieces:
        for out in made:
            yield numbered(out.frame(1 + place, 1, ACK, window, data))


def bulk(size: int, first: int = 1) -> list[tuple[int, bytes]]:
    """`size` bytes behind a hole."""
    return [(first + at, bytes(PIECE)) for at in range(0, size, PIECE)]


def walked(frames: Iterator[tuple[int, LinkFrame]], engine: str, **settings: str) -> ReceivePath:
    """A path that these frames have gone through, a hundred at a time."""
    path = ReceivePath(options=PathOptions(profile=profile("connectx-6dx", {"search": "1", **settings}), engine=engine))
    batch = []
    for each in frames:
        batch.append(each)
        if len(batch) == 100:
            path.receive(batch)
            batch = []
    path.receive(batch)
    return path


def ended(path: ReceivePath) -> int:
    """Bytes that are not held any more."""
    return sum(n for name, n in path.ledger.fates.items() if name.startswith("byte."))


@pytest.mark.parametrize("engine", ENGINES)
def test_trial_c3_the_bound_of_a_direction_can_be_lowered_whatever_its_peer_advertises(engine: str) -> None:
    path = walked(flood(1, bulk(6_000_000)), engine, hold="1000000")
    assert ended(path) >= 3_000_000
    path.finish()
    assert path.ledger.balance() == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_trial_c3_one_direction_holds_64_mib_at_most(engine: str) -> None:
    path = walked(flood(1, bulk(70 << 20)), engine)
    assert ended(path) >= 64 << 20
    path.finish()
    assert path.ledger.balance() == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_trial_c3_all_together_hold_128_mib_and_an_eighth_at_most(engine: str) -> None:
    path = walked(flood(3, bulk(52 << 20)), engine)
    assert ended(path) >= (3 * 52 - 128 - 16) << 20
    path.finish()
    assert path.ledger.balance() == 0


def holed(folder: Path) -> tuple[str, str]:
    """Connections each of which lacks a packet, which nobody acknowledged, so that all behind it is held."""
    frames: list[LinkFrame] = []
    talks = []
    for n, session in enumerate([GCM13, GCM12, GCM13, CHACHA13, GCM12]):
        talk = download(40 + n, (3000, 9000) * 8, session, client=client_at(40_000 + n))
        data = [at for at, f in enumerate(talk.frames) if from_server(f) and payload(f)]
        lost = data[10 + n]
        kept = [f for at, f in enumerate(talk.frames) if at != lost and (at < lost or from_server(f))]
        frames += kept
        talks.append(talk)
    frames.sort(key=lambda frame: frame.time_ns)
    return pcap(folder, one_after_another(frames)), keys(folder, *talks)


def timeless(summary: dict[str, Any]) -> dict[str, Any]:
    without = ("wall_seconds", "jobs", "engine", "libcrypto")
    return {key: value for key, value in summary.items() if key not in without}


@pytest.mark.parametrize("limit", [40_000, 200_000])
def test_the_bound_of_all_means_the_same_in_both_engines_and_any_calls_and_jobs(
    limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    capture, log = holed(tmp_path)
    runs = []
    for engine in ENGINES:
        for call_size in (1, 7, 1024):
            options: dict[str, Any] = {"engine": engine, "call_size": call_size, "settings": {"hold_run": str(limit)}}
            runs.append(done(Replay([capture], [log], ReplayOptions(**options))))
    assert runs[0].summary["limits_met"]["hold_run"] > 0
    for other in runs[1:]:
        assert timeless(other.summary) == timeless(runs[0].summary)
        assert other.verdicts() == runs[0].verdicts()
    monkeypatch.setattr(jobs_module, "_against", lambda: None)
    settings = {"hold_run": str(limit)}
    shared = jobs_module.replay(lambda: Replay([capture], [log], ReplayOptions(settings=settings)), 2)
    assert shared.note is not None
    assert "hold out of order" in shared.note
    assert timeless(shared.summary) == timeless(runs[0].summary)


def test_the_bound_of_all_that_is_not_met_takes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    capture, log = holed(tmp_path)
    monkeypatch.setattr(jobs_module, "_against", lambda: None)
    shared = jobs_module.replay(lambda: Replay([capture], [log], ReplayOptions()), 2)
    assert (shared.note, shared.summary["jobs"], shared.summary["limits_met"]["hold_run"]) == (None, 2, 0)


# Tiny pieces. Steps are lines of Python that are run in the package.


def steps(path: ReceivePath, frames: list[tuple[int, LinkFrame]]) -> int:
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        if "/rxtls/" not in frame.f_code.co_filename:
            return None
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        path.receive(frames)
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("engine", ENGINES)
def test_trial_c4_a_segment_over_many_held_bytes_costs_what_any_segment_costs(engine: str) -> None:
    """Every other byte came by itself, and then all of it came again and again."""
    islands = [(2 + 2 * n, b"x") for n in range(3000)]
    cover = (2, bytes(6000))
    again = 20
    frames = list(flood(1, [*islands, cover, *[cover] * again]))
    path = walked(iter(frames[: -again - 1]), engine)
    path.receive(frames[-again - 1 : -again])  # closes all holes, each of which cost a packet
    usual = steps(walked(flood(1, []), engine), [(n, frame) for n, (_, frame) in enumerate(flood(1, [cover] * again))])
    assert steps(path, frames[-again:]) < 20 * usual
    path.finish()
    assert path.ledger.balance() == 0


@pytest.mark.parametrize("order", ["up", "down", "inward"])
def test_each_of_many_tiny_pieces_costs_the_same(order: str) -> None:
    """However many are held already: one by one upwards, downwards, and from both ends."""

    def pieces(count: int) -> list[tuple[int, bytes]]:
        places = [2 + 2 * n for n in range(count)]
        if order == "down":
            places.reverse()
        if order == "inward":
            places = [place for pair in zip(places, reversed(places), strict=True) for place in pair][:count]
        return [(place, b"x") for place in places]

    few, many = (steps(walked(flood(1, []), "plain"), list(flood(1, pieces(count)))) for count in (300, 3000))
    assert many < 12 * few


@pytest.mark.parametrize("engine", ENGINES)
def test_trial_c4_tiny_pieces_are_counted_as_the_memory_that_they_take(engine: str) -> None:
    """20,000 bytes, each of them an object or a row in a table."""
    path = walked(flood(1, [(2 + 2 * n, b"x") for n in range(20_000)]), engine, hold="1000000")
    assert ended(path) >= 18_000
    path.finish()
    assert path.ledger.balance() == 0
