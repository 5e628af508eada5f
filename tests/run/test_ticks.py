"""A capture with ticks, replayed: as the path was told of them, in both engines and with several jobs."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

import replays
import rxtls
from replays import Talked, download
from rxtls.capture.write import tick, write_pcapng
from rxtls.events import Record
from rxtls.path.engines import why_not_compiled
from rxtls.path.receive import PathOptions, ReceivePath
from rxtls.run.jobs import follow
from rxtls.run.merge import merged
from rxtls.run.options import OutputOptions, ReplayOptions
from rxtls.run.replay import Replay
from rxtls.simulation.link import Address, Connection, Impairment
from rxtls.study.outputs import Outputs
from rxtls.wire.keylog import KeyLog

ENGINES = ["plain"] + ([] if why_not_compiled() else ["compiled"])
SECOND = 1_000_000_000
START = Connection().start_ns


@pytest.fixture(scope="module")
def talked() -> Talked:
    return download(4, (1400,) * 60, down=Impairment(loss=0.05, reorder=0.05))


def with_ticks(talked: Talked, folder: Path, every: int = 2) -> tuple[Path, str]:
    """The same frames, with a tick behind each of `every`, just before the next frame."""
    out = io.BytesIO()
    write_pcapng([], out)
    header = out.getvalue()
    parts = [header]
    for n, frame in enumerate(talked.frames):
        out = io.BytesIO()
        write_pcapng([frame], out)
        parts.append(out.getvalue()[len(header) :])
        if n % every == 0:
            parts.append(tick(0, frame.time_ns + 1))
    path = folder / "ticks.pcapng"
    path.write_bytes(b"".join(parts))
    return path, replays.keys(folder, talked)


def verdicts(records: list[Record]) -> list[tuple[object, ...]]:
    return [(r.flow, r.receiver, r.number, r.record_class, r.composition, r.time_ns, r.data) for r in records]


def told(summary: dict[str, Any]) -> dict[str, Any]:
    """All but which file it was, and how long it took."""
    left = {"captures", "wall_seconds", "engine", "libcrypto", "keys"}
    return {key: value for key, value in summary.items() if key not in left}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_capture_with_ticks_is_the_path_with_ticks(tmp_path: Path, talked: Talked, engine: str) -> None:
    path, keys = with_ticks(talked, tmp_path)
    run = rxtls.replay(path, keys, engine=engine)
    replayed = verdicts([record for record in run if isinstance(record, Record)])
    log = KeyLog()
    log.add(talked.keylog.encode(), "made")
    direct = ReceivePath(log, PathOptions(engine=engine, by_completion=True))
    out: list[Record] = []
    for n, frame in enumerate(talked.frames):
        out += direct.receive([(n, frame)])
        out += direct.tick(frame.time_ns + 1) if n % 2 == 0 else []
    out += direct.finish()
    assert replayed == verdicts(out)
    assert run.path.ledger.balance() == 0


def test_ticks_change_what_the_host_knows_and_when(tmp_path: Path, talked: Talked) -> None:
    """More host points: more of them have something to tell. Plaintext is the same."""
    path, keys = with_ticks(talked, tmp_path)
    calm = replays.pcap(tmp_path, talked.frames)
    runs = [rxtls.replay(each, keys, digest=True) for each in (path, calm)]
    data = [b"".join(r.data for r in run if r.type == 23 and r.receiver == "client") for run in runs]
    assert data[0] == data[1] == talked.wanted("client")
    told = [run.summary()["flows"][0]["receive"]["client"]["resync"] for run in runs]
    assert told[0] != told[1]


@pytest.mark.skipif(len(ENGINES) == 1, reason=f"no compiled engine: {why_not_compiled()}")
def test_both_engines_and_several_jobs_say_the_same(tmp_path: Path, talked: Talked) -> None:
    path, keys = with_ticks(talked, tmp_path, every=3)
    summaries = []
    for engine in ENGINES:
        run = rxtls.replay(path, keys, engine=engine, digest=True)
        list(run)
        summaries.append(told(run.summary()))
    assert summaries[0] == summaries[1]
    jobs = [follow(Replay([str(path)], [keys], ReplayOptions(digest=True)), job, 2) for job in range(2)]
    assert told({**merged(jobs), "jobs": None}) == told({**summaries[0], "jobs": None})


@pytest.mark.parametrize("engine", ENGINES)
def test_a_capture_with_ticks_beside_one_whose_clock_is_elsewhere(tmp_path: Path, talked: Talked, engine: str) -> None:
    """A connection of another capture that was going on when that ended, hours before, is not idle for it."""
    path, keys = with_ticks(talked, tmp_path)
    other = replays.carry(
        replays.begin(9), Connection(client=Address("10.9.9.9", 999), start_ns=START - 7 * 3600 * SECOND)
    )
    beside = replays.pcap(tmp_path, other.frames[:-1], name="before.pcap")
    run = rxtls.replay([beside, str(path)], [keys, replays.keys(tmp_path, other, name="other.keys")], engine=engine)
    list(run)
    assert [flow["end"] for flow in run.summary()["flows"]] == ["open", "fin"]


def test_an_annotated_copy_has_the_ticks(tmp_path: Path, talked: Talked) -> None:
    path, keys = with_ticks(talked, tmp_path, every=3)
    out = tmp_path / "copy.pcapng"
    with Outputs(OutputOptions(annotate=str(out))) as outputs:
        first = outputs.walk(rxtls.replay(path, keys, watch=outputs.watch))
    again = rxtls.replay(out, keys)
    list(again)
    second = again.summary()
    assert second["totals"] == first["totals"]
    assert second["flows"][0]["receive"] == first["flows"][0]["receive"]
