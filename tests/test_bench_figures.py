"""The arithmetic of the benchmark, its tables, and what it says of a run that skips records. No clock but fake ones."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))

from bench_cases import CASES, Case, Goal, Made, Traffic  # noqa: E402
from bench_contenders import speed_told  # noqa: E402
from bench_figures import (  # noqa: E402
    Answer,
    Contender,
    Measured,
    Row,
    as_json,
    case_sheet,
    connection_rows,
    figures,
    markdown,
    rich_table,
    row_sheet,
    stage_sheet,
    wrong,
)
from bench_stages import REST, STAGE_NAMES, STAGES, EntryPoint, Stopwatch  # noqa: E402

SMALL = Made("small.pcap", "small.keys", 300, 200, 200_000, 8, 20, 150_000, 160_000)
LARGE = Made("large.pcap", "large.keys", 3_300, 2_200, 2_200_000, 8, 220, 1_650_000, 1_760_000)
CASE = Case("bulk", "bulk", goals=(Goal("ratio", ">=", 0.6), Goal("cost", "<=", 150), Goal("tshark", ">=", 25)))


def measured() -> Measured:
    """Replay takes 1 ms marginally, of which AES is 0.8; tshark 30 ms."""
    return Measured(
        CASE,
        SMALL,
        LARGE,
        replay=Contender([(0.0125, 0.0115), (0.012, 0.011)], [(0.013, 0.0118), (0.014, 0.0119)]),
        tshark=Contender([(0.2, 0.1)], [(0.23, 0.11)]),
        one_shot=[0.0009, 0.0008],
        one_shot_bytes=1_600_000,
        openssl_speed=3.4e9,
        decrypted=0.995,
        stages=({"device": 0.001, REST: 0.0001}, {"device": 0.0018, REST: 0.0003}),
    )


def test_figures_are_marginal_and_of_the_best() -> None:
    made = figures(measured())
    assert made.wall == pytest.approx(0.001)
    assert made.user == pytest.approx(0.0008)
    assert made.bytes_per_second == pytest.approx(2e9)
    assert made.frames_per_second == pytest.approx(3e6)
    assert made.one_shot_rate == pytest.approx(2e9)
    assert made.ratio == pytest.approx(0.8)
    assert made.cost == pytest.approx(100)  # 0.2 ms over 2,000 payload frames
    assert made.tshark == pytest.approx(30)
    assert made.connection is None
    assert made.stages == pytest.approx({"device": 400.0, REST: 100.0})


def test_one_shot_is_scaled_to_the_records_that_the_captures_differ_in() -> None:
    assert measured().one_shot_seconds() == pytest.approx(0.0008)
    half = replace(measured(), one_shot_bytes=800_000)
    assert half.one_shot_seconds() == pytest.approx(0.0016)


def test_a_connection_is_told_where_the_captures_differ_in_them() -> None:
    many = replace(measured(), large=replace(LARGE, connections=12))
    assert figures(many).connection == pytest.approx(50)
    assert [row.figure for row in connection_rows([measured(), many])] == [pytest.approx(50)]


def test_what_noise_has_swallowed_is_no_figure_and_meets_no_goal() -> None:
    slow_start = replace(measured(), replay=Contender([(0.02, 0.02)], [(0.01, 0.01)]))
    made = figures(slow_start)
    assert (made.wall, made.user, made.ratio, made.cost, made.tshark) == (None,) * 5
    line = case_sheet([slow_start]).lines[0]
    assert line.cells[1] == "-"
    assert line.met[-3:] == [False, False, False]


def test_without_one_shot_or_tshark_their_columns_are_empty() -> None:
    bare = replace(measured(), one_shot=[], tshark=Contender(), openssl_speed=None, stages=None)
    made = figures(bare)
    assert made.bytes_per_second == pytest.approx(2e9)
    assert (made.one_shot_rate, made.ratio, made.cost, made.tshark) == (None,) * 4
    assert stage_sheet([bare]).lines == []


def test_goals_stand_beside_the_figures() -> None:
    sheet = case_sheet([measured()])
    cells = dict(zip(sheet.head, sheet.lines[0].cells, strict=True))
    assert cells["ratio to one-shot"] == "0.80 (>= 0.60)"
    assert cells["N ns"] == "100 (<= 150)"
    assert cells["x tshark"] == "30.0 (>= 25)"
    assert cells["by NIC"] == "100%"
    missed = replace(measured(), one_shot=[0.0004])
    cells = dict(zip(sheet.head, case_sheet([missed]).lines[0].cells, strict=True))
    assert cells["ratio to one-shot"] == "0.40 (missed: >= 0.60)"
    assert cells["N ns"] == "300 (missed: <= 150)"


def test_a_goal_that_does_not_count_is_not_judged() -> None:
    sheet = row_sheet([Row("jobs", 1.2, "x"), Row("peak", 310.4, "MB", Goal("peak", "<=", 300), "+2 MB")])
    assert [(line.cells[1], line.met[1]) for line in sheet.lines] == [
        ("1.20 x", None),
        ("310 MB (missed: <= 300)", False),
    ]


def test_stages_are_in_the_order_of_the_hallway_and_add_up_to_n() -> None:
    sheet = stage_sheet([measured()])
    cells = dict(zip(sheet.head, sheet.lines[0].cells, strict=True))
    assert list(cells)[1:3] == ["device", REST]
    assert (cells["sum"], cells["of it AES"], cells["sum - AES"]) == ("500", "400", "100")


def test_markdown_and_terminal_show_the_same_cells() -> None:
    sheet = case_sheet([measured()])
    text = markdown(sheet)
    assert "| " + " | ".join(sheet.head) + " |\n| --- |" in text
    assert "| " + " | ".join(sheet.lines[0].cells) + " |\n" in text
    console = Console(width=300, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(rich_table(sheet))
    shown = re.sub(r"\s+", " ", console.export_text())
    assert all(cell in shown for cell in (*sheet.head, *sheet.lines[0].cells))


def test_json_has_figures_goals_and_what_they_were_made_of() -> None:
    told = json.loads(json.dumps(as_json([measured()], [Row("peak", 200.0, "MB", Goal("peak", "<=", 300))])))
    case, row = told["cases"][0], told["rows"][0]
    assert case["figures"]["cost"] == pytest.approx(100)
    assert [(goal["column"], goal["met"]) for goal in case["goals"]] == [
        ("ratio", True),
        ("cost", True),
        ("tshark", True),
    ]
    assert case["replay"]["small_wall_median"] == pytest.approx(0.01225)
    assert case["replay"]["large"] == [[0.013, 0.0118], [0.014, 0.0119]]
    assert case["large"]["records"] == 220
    assert case["traffic"]["record"] == 16384
    assert row["goal"]["met"] is True


def answer(**changed: int) -> Answer:
    """What a run says that has done all of LARGE."""
    right = {
        **{name: getattr(LARGE, name) for name in ("frames", "captured_bytes", "connections", "records", "app_bytes")},
        "failed": 0,
        "balance": 0,
        "errors": 0,
        "of_libraries": 72,
        "delivered": 292,
    }
    return {**right, **changed}


def test_a_run_that_did_everything_is_accepted() -> None:
    assert wrong(answer(), LARGE) == []


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"records": 110, "delivered": 182}, ["records 110, not 220"]),
        ({"app_bytes": 1}, ["app_bytes 1, not 1,650,000"]),
        ({"failed": 3}, ["3 failed"]),
        ({"balance": 1, "errors": 2}, ["1 balance", "2 errors"]),
        ({"delivered": 291}, ["291 records delivered, 292 counted"]),
    ],
)
def test_a_run_that_skips_something_is_refused(changed: dict[str, int], told: list[str]) -> None:
    assert wrong(answer(**changed), LARGE) == told


def test_the_goals_are_those_of_the_project() -> None:
    goals = {case.name: {goal.column: goal.limit for goal in case.goals} for case in CASES if case.goals}
    assert goals == {
        "bulk": {"ratio": 0.60, "cost": 150, "tshark": 25},
        "software": {"ratio": 0.50},
        "loss": {"cost": 350, "tshark": 20},
        "reorder": {"cost": 450, "tshark": 18},
        "interleaved": {"cost": 250},
        "short": {"connection": 200, "tshark": 4},
    }


def test_flows_come_in_whole_rounds() -> None:
    with pytest.raises(ValueError, match="whole rounds"):
        Traffic(flows=3, abreast=2)


# Stages


def clock(*moments: float) -> Iterator[float]:
    yield from moments


def test_a_stage_within_a_stage_counts_for_its_own() -> None:
    ticks = clock(0, 1, 4, 4, 6, 10)  # outer 0 to 10; within it 1 to 4 and 4 to 6
    watch = Stopwatch(lambda: next(ticks))
    inner = watch.timed("device", lambda n: n + 1)
    outer = watch.timed("host", lambda: inner(inner(1)))
    assert outer() == 3
    assert dict(watch.seconds) == {"device": 5, "host": 5}
    assert dict(watch.calls) == {"device": 2, "host": 1}


def test_the_stopwatch_stops_for_exceptions_too() -> None:
    ticks = clock(0, 1, 2, 5)

    def fails() -> None:
        raise KeyError

    watch = Stopwatch(lambda: next(ticks))
    failing = watch.timed("device", fails)

    def outer() -> None:
        with pytest.raises(KeyError):
            failing()

    watch.timed("host", outer)()
    assert dict(watch.seconds) == {"device": 1, "host": 4}


def test_a_generator_is_measured_step_by_step() -> None:
    ticks = clock(0, 1, 10, 12, 20, 23)

    def two() -> Iterator[str]:
        yield "a"
        yield "b"

    watch = Stopwatch(lambda: next(ticks))
    assert list(watch.timed("read", two)()) == ["a", "b"]
    assert watch.seconds["read"] == 6
    assert watch.calls["read"] == 3  # the last one finds the end


@pytest.mark.parametrize("point", [each for points in STAGES.values() for each in points], ids=lambda each: each.place)
def test_every_entry_point_is_where_the_table_says(point: EntryPoint) -> None:
    owner, name = point.found()
    assert callable(getattr(owner, name))
    assert name in vars(owner), "inherited: the stopwatch would measure other classes too"


# The document


def names_of(title: str) -> list[str]:
    """Names in backticks in the first cells of the table under a heading."""
    text = (ROOT / "docs" / "performance.md").read_text().split(f"\n## {title}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `([^`]+)`", text, re.MULTILINE)


def test_every_column_is_documented_in_order() -> None:
    assert names_of("How to read the table") == case_sheet([]).head


def test_every_stage_is_documented() -> None:
    assert set(names_of("The stages")) == set(STAGE_NAMES)


# Others' output


def test_openssl_speed_is_read_from_its_last_line() -> None:
    output = "version: 3.0.22\nbuilt on: today\ntype          16384 bytes\nAES-128-GCM    3434168.32k\n"
    assert speed_told(output) == pytest.approx(3.43416832e9)
    assert speed_told("") is None
    assert speed_told("Usage: speed [options]\n") is None
