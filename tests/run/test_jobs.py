"""Several jobs come to what one job comes to, to the last number and the last byte of a stream."""

from __future__ import annotations

import gzip
import io
import json
import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import replays
import rxtls
import traffic
from replays import CHACHA13, GCM12, client_at, download
from rxtls.capture.write import write_pcap
from rxtls.errors import UsageError
from rxtls.path.engines import why_not_compiled
from rxtls.path.records import Records
from rxtls.run import jobs as jobs_module
from rxtls.run.jobs import cores, follow, replay
from rxtls.run.merge import merged, why_not
from rxtls.run.options import ReplayOptions
from rxtls.run.replay import Replay

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(ROOT.glob("examples/*.pcap"))
REAL = sorted(ROOT.glob("tests/data/real/*.pcap*"))
ENGINES = ["plain"] if why_not_compiled() else ["compiled", "plain"]

Make = Callable[[], Replay]


@pytest.fixture
def forking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Test runners have threads of their own."""
    monkeypatch.setattr(jobs_module, "_against", lambda: None)


def maker(captures: Iterable[str | Path], keys: Iterable[str | Path] = (), **options: Any) -> Make:
    names, logs = [str(name) for name in captures], [str(name) for name in keys]
    return lambda: Replay(names, logs, ReplayOptions(**options))


def alone(make: Make) -> dict[str, Any]:
    run = make()
    for _ in run.batches():
        pass
    return run.summary()


def apart(make: Make, jobs: int) -> dict[str, Any]:
    """By several jobs, one after the other in this process."""
    found = [follow(make(), job, jobs) for job in range(jobs)]
    assert why_not(found) is None
    assert sum(each.entered["frame"] for each in found) == found[0].summary["frames"]
    return merged(found)


def timeless(summary: dict[str, Any]) -> str:
    return json.dumps({**summary, "wall_seconds": None, "jobs": None}, indent=1)


def keys_of(capture: Path) -> list[Path]:
    keys = capture.with_suffix(".keys")
    return [keys] if keys.exists() else []


def several(folder: Path) -> tuple[list[str], str]:
    """Connections of all sorts at once, in two captures whose frames interleave."""
    talked = [
        download(1),
        download(2, session=GCM12, client=client_at(50_001)),
        download(3, session=CHACHA13, client=client_at(50_002)),
        download(4, sizes=(100,) * 40, client=client_at(50_003)),
        download(5, client=client_at(50_004), closed=False),
    ]
    frames = sorted((frame for each in talked for frame in each.frames), key=lambda frame: frame.time_ns)
    parts = [frames[::2], frames[1::2]]
    names = [replays.pcap(folder, part, f"{n}.pcap") for n, part in enumerate(parts)]
    return names, replays.keys(folder, *talked)


# What is found


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("capture", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples(capture: Path, engine: str) -> None:
    make = maker([capture], keys_of(capture), digest=True, engine=engine)
    assert timeless(apart(make, 3)) == timeless(alone(make))


@pytest.mark.parametrize("capture", REAL, ids=lambda path: path.name)
def test_recorded_captures(capture: Path) -> None:
    make = maker([capture], keys_of(capture), digest=True, call_size=256)
    assert timeless(apart(make, 2)) == timeless(alone(make))


@given(traffic.scenarios(traffic.ALL_KINDS, most_flows=4, unseen=True), st.sampled_from([2, 3, 5]), st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_traffic(scenario: traffic.Scenario, jobs: int, data: st.DataObject) -> None:
    played = traffic.play(scenario)
    folder = Path(os.environ["RXTLS_TEST_FOLDER"])
    with (folder / "any.pcap").open("wb") as out:
        write_pcap(played.frames, out)
    (folder / "any.keys").write_text(played.keylog)
    chosen = {
        "profile": scenario.profile,
        "settings": {**scenario.settings, "budget": data.draw(st.sampled_from(["1", "7", "64"]))},
        "engine": data.draw(st.sampled_from(ENGINES)),
        "call_size": data.draw(st.sampled_from([1, 63, 1000])),
    }
    make = maker([folder / "any.pcap"], [folder / "any.keys"], digest=True, **chosen)
    assert timeless(apart(make, jobs)) == timeless(alone(make))


@pytest.fixture(autouse=True, scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Iterable[None]:
    os.environ["RXTLS_TEST_FOLDER"] = str(tmp_path_factory.mktemp("any"))
    yield
    del os.environ["RXTLS_TEST_FOLDER"]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"filter": "port 50001 or port 50002"},
        {"receiver": "client", "vantage": "receiver"},
        {"profile": "none", "checksum": "ignore"},
    ],
)
def test_captures_that_interleave(engine: str, options: dict[str, Any], tmp_path: Path) -> None:
    names, keys = several(tmp_path)
    make = maker(names, [keys], engine=engine, digest=True, **options)
    assert timeless(apart(make, 3)) == timeless(alone(make))
    assert len(alone(make)["flows"]) == (2 if "filter" in options else 5)


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_idle_is_told_by_other_jobs_frames_too(engine: str, tmp_path: Path) -> None:
    one, other = download(1), download(2, client=client_at(50_001))
    early, late = ([frame for frame in each.frames if not replays.flags(frame) & replays.FIN] for each in (one, other))
    late = [frame._replace(time_ns=frame.time_ns + 400 * 10**9) for frame in late]
    name = replays.pcap(tmp_path, [*early, *late])
    make = maker([name], [replays.keys(tmp_path, one, other)], engine=engine)
    whole = alone(make)
    assert [flow["end"] for flow in whole["flows"]] == ["idle", "open"]
    for jobs in (2, 3, 4):
        assert timeless(apart(make, jobs)) == timeless(whole)


def test_a_damaged_and_a_compressed_capture(tmp_path: Path) -> None:
    names, keys = several(tmp_path)
    data = Path(names[0]).read_bytes()
    Path(names[0]).write_bytes(data[: len(data) * 2 // 3])
    Path(names[1]).write_bytes(gzip.compress(Path(names[1]).read_bytes()))
    make = maker([*names, tmp_path / "missing"], [keys])
    whole = alone(make)
    assert len(whole["errors"]) == 2
    assert timeless(apart(make, 2)) == timeless(whole)


# Processes


@pytest.mark.parametrize("engine", ENGINES)
def test_by_processes(engine: str, forking: None, tmp_path: Path) -> None:
    names, keys = several(tmp_path)
    make = maker(names, [keys], engine=engine, digest=True)
    for jobs in (1, 2, 4):
        done = replay(make, jobs)
        assert (done.note, done.summary["jobs"]) == (None, jobs)
        assert timeless(done.summary) == timeless(alone(make))
        assert done.run.source.bytes_read == done.run.source.total_bytes


def test_streams_have_the_names_and_bytes_that_one_job_gives_them(forking: None, tmp_path: Path) -> None:
    names, keys = several(tmp_path)
    contents = []
    for jobs in (1, 3):
        folder = tmp_path / f"streams {jobs}"
        assert replay(maker(names, [keys]), jobs, folder).note is None
        contents.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert contents[0] == contents[1]
    assert len(contents[0]) > 5


def test_a_stream_that_cannot_be_written(forking: None, tmp_path: Path) -> None:
    names, keys = several(tmp_path)
    replay(maker(names, [keys]), 1, tmp_path / "streams")
    taken = sorted((tmp_path / "streams").iterdir())[0]
    taken.unlink()
    taken.mkdir()
    (taken / "full").touch()
    for jobs in (1, 2):
        with pytest.raises(UsageError, match=taken.name):
            replay(maker(names, [keys]), jobs, tmp_path / "streams")
    assert not [path for path in (tmp_path / "streams").iterdir() if path.name.startswith(".")]
    with pytest.raises(UsageError):
        replay(maker(names, [keys]), 2, names[0])


@pytest.mark.parametrize(
    ("bound", "value", "words"),
    [("max_flows", "2", "connections followed at once"), ("max_receive_tags", "3", "receive tags")],
)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_bound_over_all_connections_takes_one_job(
    bound: str, value: str, words: str, engine: str, forking: None, tmp_path: Path
) -> None:
    names, keys = several(tmp_path)
    make = maker(names, [keys], settings={bound: value}, engine=engine)
    whole = alone(make)
    assert any(flow["end"] == "evicted" for flow in whole["flows"]) or whole["limits_met"]["receive_tags"]
    done = replay(make, 2, tmp_path / "streams")
    assert timeless(done.summary) == timeless(whole)
    assert done.summary["jobs"] == 1
    assert done.note is not None
    assert "done again by one job" in done.note
    assert words in done.note
    assert timeless(done.run.summary()) == timeless(whole)


def test_a_bound_that_is_far_off_takes_none(forking: None, tmp_path: Path) -> None:
    names, keys = several(tmp_path)
    make = maker(names, [keys], settings={"max_flows": "30", "max_receive_tags": "30"})
    done = replay(make, 2)
    assert (done.note, done.summary["jobs"]) == (None, 2)
    assert timeless(done.summary) == timeless(alone(make))


def test_a_job_that_dies_takes_one_job(forking: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names, keys = several(tmp_path)
    parent = os.getpid()

    def dying(self: Replay, *arguments: Any) -> Any:
        if os.getpid() != parent:
            os._exit(9)
        return original(self, *arguments)

    original = Replay.share
    monkeypatch.setattr(Replay, "share", dying)
    done = replay(maker(names, [keys]), 2)
    assert done.note == "all was done again by one job: a job did not come to its end"
    assert timeless(done.summary) == timeless(alone(maker(names, [keys])))


def test_a_job_that_fails_takes_one_job(forking: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names, keys = several(tmp_path)
    parent = os.getpid()

    def failing(self: Replay, *arguments: Any) -> Any:
        if os.getpid() != parent:
            raise RuntimeError("out of luck")
        return original(self, *arguments)

    original = Replay.share
    monkeypatch.setattr(Replay, "share", failing)
    done = replay(maker(names, [keys]), 3)
    assert done.note == "all was done again by one job: a job did not come to its end"
    assert done.summary["jobs"] == 1


def test_captures_that_change_meanwhile_take_one_job(
    forking: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, keys = several(tmp_path)
    parent = os.getpid()

    def growing(self: Replay, *arguments: Any) -> Any:
        if os.getpid() != parent:
            self.source.names[0] = names[1]
        return original(self, *arguments)

    original = Replay.share
    monkeypatch.setattr(Replay, "share", growing)
    done = replay(maker(names, [keys]), 2)
    assert done.note == "all was done again by one job: the captures changed while they were read"
    assert timeless(done.summary) == timeless(alone(maker(names, [keys])))


def test_who_fails_here_ends_the_others(forking: None, tmp_path: Path) -> None:
    names, keys = several(tmp_path)

    def breaking(run: Replay) -> Iterable[Records]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replay(maker(names, [keys]), 2, tmp_path / "streams", breaking)
    assert list((tmp_path / "streams").iterdir()) == []


# How many


def test_a_pipe_is_one_jobs() -> None:
    talked = download(1)
    stream = replays.pipe(talked.frames, talked.keylog, 0)

    def make() -> Replay:
        return Replay(["-"], [], ReplayOptions(), stdin=io.BytesIO(stream.getvalue()))

    done = replay(make, 2)
    assert (done.note, done.summary["jobs"]) == ("a pipe is read by one job", 1)
    assert replay(make).note is None
    assert done.summary["flows"][0]["receive"]["client"]["app_bytes"] == 48_000


def test_where_other_threads_run_there_is_one_job(tmp_path: Path) -> None:
    names, keys = several(tmp_path)
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    try:
        done = replay(maker(names, [keys]), 2)
    finally:
        over.set()
        thread.join()
    assert (done.note, done.summary["jobs"]) == ("one job runs: other threads run in this process", 1)


def test_without_fork_there_is_one_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names, keys = several(tmp_path)
    monkeypatch.delattr(os, "fork")
    done = replay(maker(names, [keys]), 2)
    assert (done.note, done.summary["jobs"]) == ("one job runs: there is no fork on this system", 1)


@pytest.mark.parametrize(("worth", "expected"), [(1 << 40, 1), (1, 3)])
def test_by_default_a_job_for_each_core_if_it_is_worth_it(
    worth: int, expected: int, forking: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, keys = several(tmp_path)
    monkeypatch.setattr(jobs_module, "WORTH", worth)
    monkeypatch.setattr(jobs_module, "cores", lambda: 3)
    assert replay(maker(names, [keys])).summary["jobs"] == expected


def test_there_is_at_least_one_core() -> None:
    assert cores() >= 1


@pytest.mark.parametrize("jobs", [0, -1, 65])
def test_numbers_of_jobs_that_cannot_be(jobs: int) -> None:
    with pytest.raises(UsageError, match="from 1 to 64"):
        replay(lambda: rxtls.Replay([]), jobs)
