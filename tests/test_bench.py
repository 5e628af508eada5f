"""`make bench` from end to end, over captures so small that its figures mean nothing: they only have to come."""

from __future__ import annotations

import json
import shutil
import sys
from collections import namedtuple
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import bench  # noqa: E402
import bench_syns  # noqa: E402
from bench_cases import BULK, Made, Traffic  # noqa: E402
from bench_contenders import BenchError, Contenders, chromium  # noqa: E402

NO_SUITE = Traffic(suite=0x1234)
TINY = ["--engine", "plain", "--rounds", "1", "--no-tshark", "--size", "0.6", "--small", "0.1", "--sizes", "0.1,0.3"]


@pytest.fixture(autouse=True)
def no_openssl_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes a second, whatever is asked."""
    monkeypatch.setattr(bench, "openssl_speed", lambda _: None)


def test_the_tables_come_as_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = [*TINY, "--rows", "loss,floor,start-up,memory", "--folder", str(tmp_path), "--json"]
    assert bench.main(arguments) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["machine"]["engine"] == "plain"
    assert [case["name"] for case in told["cases"]] == ["loss"]
    case = told["cases"][0]
    assert case["large"]["captured_bytes"] > 3 * case["small"]["captured_bytes"]
    assert (len(case["replay"]["large"]), len(case["one_shot"])) == (1, bench.PASSES)
    assert 0 < case["decrypted"] < 1
    assert {"device", "host, plain"} <= case["stages"][1].keys()
    assert [row["name"] for row in told["rows"]] == [
        "reading the capture, checking packets",
        "start-up to the first record",
        "peak memory, one job, capture of 0.1 MB",
        "peak memory, one job, capture of 0.3 MB",
    ]
    assert all(row["figure"] > 0 for row in told["rows"][1:]), "the first is a difference, of very little here"
    assert list(tmp_path.iterdir()) == [], "captures are deleted"


def test_cases_of_one_traffic_share_their_captures(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main([*TINY, "--rows", "bulk,records,software", "--no-stages", "--markdown"]) == 0
    out = capsys.readouterr()
    assert out.err.count(": captures") == 1
    lines = [line for line in out.out.splitlines() if line.startswith("| ")]
    assert [line.split(" | ")[0] for line in lines[2:]] == [
        "| bulk, TLS 1.3 AES-128-GCM, in order",
        "| the same, record by record",
        "| the same, software only",
    ]
    assert " 0% " in lines[-1]


def test_what_looking_at_a_run_costs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main([*TINY, "--rows", "see", "--folder", str(tmp_path), "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert [*rows] == [
        "tables of the run, beside its replay", "the same with a row per frame", "a report", "the same, opened"
    ]  # fmt: skip
    assert rows["a report"]["figure"] > 0
    assert (rows["the same, opened"]["figure"] is None) is (chromium() is None)
    assert "records" in rows["a report"]["note"]


def test_a_syn_costs_what_many_take_beyond_few(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = {100: {"seconds": 0.5, "peak": 90_000_000}, 3_000: {"seconds": 1.08, "peak": 98_700_000}}
    asked = []

    def syns(_: Contenders, count: int, engine: str) -> dict[str, float]:
        asked.append((count, engine))
        return answers[count]

    monkeypatch.setattr(Contenders, "syns", syns)
    monkeypatch.setattr(bench, "SYNS", (100, 3_000))
    assert bench.main([*TINY, "--rows", "syns", "--json"]) == 0
    memory, time = json.loads(capsys.readouterr().out)["rows"]
    assert asked == [(100, "plain"), (3_000, "plain")]
    assert (memory["name"], memory["figure"], memory["unit"]) == (
        "memory of a SYN that nothing follows, plain", pytest.approx(3.0), "kB",
    )  # fmt: skip
    assert (time["name"], time["figure"]) == ("time of the same, plain", pytest.approx(0.2))
    assert "for 3,000" in memory["note"]


def test_each_syn_is_a_connection_of_its_own() -> None:
    answer = bench_syns.syns(300, {"engine": "plain"})
    assert answer["connections"] == 300
    assert answer["seconds"] > 0
    assert answer["peak"] > 0


def test_what_lacks_something_has_rows_of_its_own(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "HOLES_COUNT", 5)
    monkeypatch.setattr(bench, "LATE_SESSIONS", 20)
    monkeypatch.setattr(bench, "LATE_SIZE", 1)
    assert bench.main([*TINY, "--rows", "holes,late", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["name"].split(",")[0] for row in rows] == ["5 holes in 0.6 MB", "late start", "late start"]
    assert all(row["figure"] > 0 for row in rows)
    assert all("% of the data read" in row["note"] for row in rows)
    assert all(row["figure"] < 1 for row in rows[1:])


def test_what_was_measured_before_a_failure_is_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "Contenders", Pretended)
    assert bench.main(["--rows", "start-up,jobs", "--rounds", "1"]) == 1
    out = capsys.readouterr()
    assert "start-up to the first record" in out.out
    assert out.err.endswith("bench: no such option\n")


class Pretended:
    """Contenders that have measured already."""

    def __init__(self, *_: object) -> None:
        pass

    @contextmanager
    def warmed(self) -> Iterator[dict[str, str]]:
        yield {"engine": "compiled", "libcrypto": "none"}

    @contextmanager
    def capture(self, _traffic: Traffic, size: int) -> Iterator[Made]:
        yield Made("a", "b", 3, 2, size, 1, 1, 1, 1)

    def first(self, _: Made) -> float:
        return 0.5

    def replay(self, _: Made, **options: Any) -> dict[str, float]:
        if options["jobs"] == 2:
            raise BenchError("no such option")
        return {"wall": 1.0}


@pytest.mark.parametrize("jobs_size", [100, 2001])
def test_the_goal_of_two_jobs_counts_from_two_gigabytes(jobs_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pretended, "replay", lambda _self, _made, jobs: {"wall": 2.0 / jobs})
    options = bench._options(["--rows", "jobs", "--jobs-size", str(jobs_size)])
    run = bench.Bench(Pretended(), options)  # type: ignore[arg-type]
    run.run()
    row = run.rows[0]
    assert row.figure == 2
    assert (row.met, "the goal counts from" in row.note) == ((True, False) if jobs_size > 2000 else (None, True))


def test_a_run_that_gives_other_than_was_put_in_ends_the_benchmark(tmp_path: Path) -> None:
    contenders = Contenders(tmp_path, {"engine": "plain"})
    with contenders.capture(BULK, 100_000) as made:
        lied = Made(**{**{name: getattr(made, name) for name in Made.__slots__}, "records": made.records + 1})
        with pytest.raises(BenchError, match=rf"records {made.records}, not {made.records + 1}"):
            contenders.replay(lied)


def test_a_full_disk_is_told_before_it_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", ["total", "used", "free"])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**12, 10**12, 10**9))
    with (
        pytest.raises(BenchError, match=r"1\.0 GB free; 1\.1 GB are needed"),
        Contenders(tmp_path, {}).capture(BULK, 100_000_000),
    ):
        pass


def test_a_child_that_fails_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BenchError, match="make ended with 1"), Contenders(tmp_path, {}).capture(NO_SUITE, 1):
        pass
    assert "Traceback" in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_rows_and_sizes_that_cannot_be_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, told in ((["--rows", "bulk,fast"], "no row fast"), (["--rounds", "0"], "--rounds is at least 1")):
        with pytest.raises(SystemExit):
            bench.main(arguments)
        assert told in capsys.readouterr().err
    with pytest.raises(BenchError, match="--small must be less"):
        bench.Bench(Pretended(), bench._options(["--size", "1", "--small", "2"])).run()  # type: ignore[arg-type]
