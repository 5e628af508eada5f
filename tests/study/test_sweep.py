"""Sweeps: points are what the file says, the same however they were run, and gone on with after a break."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars
import pytest
from typer.testing import CliRunner

from rxtls.cli.app import app
from rxtls.errors import UsageError
from rxtls.study import sweep as sweeping
from rxtls.study.curves import draw, rendered
from rxtls.study.plan import Study, read_study
from rxtls.study.point import run_point
from rxtls.study.reference import judge
from rxtls.study.sweep import POINTS, sweep, write_results

STUDIES = sorted((Path(__file__).parents[2] / "src" / "rxtls" / "studies").glob("*.toml"))

SMALL = """
title = "small"
[link]
records = 12
record = 4000
[device]
policy = "linux-sync"
settings = { confirm = 4 }
[grid]
policy = ["linux-sync", "none"]
loss = [0, 4.5, 20]
[plot]
x = "loss"
by = "policy"
"""


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return written(tmp_path, SMALL)


def written(directory: Path, text: str) -> Study:
    path = directory / "small.toml"
    path.write_text(text)
    return read_study(str(path))


def test_points_are_the_grid_s(study: Study) -> None:
    assert [(point.policy, point.knobs.loss) for point in study.points] == [
        (policy, loss) for policy in ("linux-sync", "none") for loss in (0, 4.5, 20)
    ]
    assert all(point.knobs.records == 12 and str(point.nic.confirm) == "4" for point in study.points)
    assert len({point.key for point in study.points}) == 6


def test_the_same_by_one_process_and_by_two(study: Study, tmp_path: Path) -> None:
    one, two = sweep(study, tmp_path / "one", 1), sweep(study, tmp_path / "two", 2)
    assert one.rows == two.rows
    assert write_results(one, tmp_path / "one").read_bytes() == write_results(two, tmp_path / "two").read_bytes()
    for point, row in zip(study.points, one.rows, strict=True):
        assert row == run_point(point)
        assert row["app_bytes"] == 12 * 4000
        assert row["records_decrypted"] + row["records_mixed"] + row["records_encrypted"] > 12  # type: ignore[operator]


def test_it_goes_on_where_it_was(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = sweep(study, tmp_path, 1)
    lines = (tmp_path / POINTS).read_text().splitlines()
    (tmp_path / POINTS).write_text("\n".join(lines[:3]) + "\n" + lines[3][:20])  # broken off within the fourth
    ran = []
    monkeypatch.setattr(sweeping, "run_point", lambda point: ran.append(point) or run_point(point))  # type: ignore[func-returns-value]
    again = sweep(study, tmp_path, 1)
    assert (len(ran), again.resumed, again.rows) == (3, 3, whole.rows)


def test_other_code_does_not_go_on(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep(study, tmp_path, 1)
    monkeypatch.setattr(sweeping, "code_digest", lambda: "other")
    assert sweep(study, tmp_path, 1).resumed == 0


def test_the_table_has_everything_that_a_row_depends_on(study: Study, tmp_path: Path) -> None:
    frame = polars.read_parquet(write_results(sweep(study, tmp_path, 1), tmp_path))
    assert frame.columns[:2] == ["policy", "loss"]
    assert {"records", "seed", "set.confirm", "profile", "lost", "link_lost", "entirely"} <= set(frame.columns)
    assert frame["loss"].to_list() == [0, 4.5, 20] * 2
    assert frame["link_lost"].to_list()[0] == 0


def test_curves_are_the_same_file_each_time(study: Study, tmp_path: Path) -> None:
    swept = sweep(study, tmp_path, 1)
    one, two = (draw(swept, None, tmp_path / name).read_bytes() for name in ("1.svg", "2.svg"))
    assert one == two
    assert b"entirely" in one
    assert "20" in rendered(swept, None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("[link]", "[links]"), "no section 'links'"),
        (("records = 12", "records = 0"), "records is a whole number"),
        (("records = 12", "recordz = 1"), "no knob 'recordz'"),
        (("confirm = 4", "confirm = 'soon'"), "confirm is PACKETS"),
        (("loss = [0, 4.5, 20]", "loss = 3"), "grid.loss is a list"),
        (('["linux-sync", "none"]', '["best"]'), "no policy 'best'"),
        (('x = "loss"', 'x = "gain"'), "plot names 'gain'"),
        (("title =", "title"), "small.toml"),
    ],
)
def test_what_a_study_cannot_say(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        written(tmp_path, SMALL.replace(*change))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_the_studies_that_are_shipped_can_be_read(path: Path) -> None:
    assert len(read_study(str(path)).points) > 3


def test_measured_values_are_held_against_it(tmp_path: Path) -> None:
    (tmp_path / "measured.csv").write_text("# a comment\nkind,rate,entirely,partially,not\na,0,100,0,0\nb,0,1,1,1\n")
    reference = """
[reference]
file = "measured.csv"
only = { kind = "KIND" }
x = "rate"
shares = ["entirely", "not"]
points = 6
rms = 3
small = ["partially"]
"""
    text = SMALL.replace('policy = ["linux-sync", "none"]\n', "").replace('by = "policy"\n', "")
    for kind, held in (("a", True), ("b", False)):
        swept = sweep(written(tmp_path, text + reference.replace("KIND", kind)), tmp_path, 1)
        verdict = judge(swept)
        assert verdict is not None
        assert verdict.held is held
        assert len(verdict.values) == 3
        assert ("MISSED" in rendered(swept, verdict)) is not held
    with pytest.raises(UsageError, match="no row of it is a point"):
        judge(sweep(written(tmp_path, text + reference.replace("KIND", "c")), tmp_path, 1))


def test_small_shares_are_bound_by_points_or_by_a_factor(tmp_path: Path) -> None:
    (tmp_path / "measured.csv").write_text("rate,partially\n20,40\n4.5,80\n")
    text = SMALL.replace('policy = ["linux-sync", "none"]\n', "").replace('by = "policy"\n', "")
    text += '[reference]\nfile = "measured.csv"\nx = "rate"\npoints = 1\nrms = 1\n'
    text += 'shares = ["partially"]\nsmall = ["partially"]\n'
    verdict = judge(sweep(written(tmp_path, text), tmp_path, 1))
    assert verdict is not None
    for each in verdict.values:
        if each.bound != 1:
            assert each.bound == (each.theirs if each.ours > each.theirs else each.theirs / 2)


def test_the_command(tmp_path: Path, study: Study) -> None:
    arguments = ["sweep", str(study.path), "--out", str(tmp_path / "out"), "--jobs", "1"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["plot.svg", "points.jsonl", "results.parquet"]
    result = CliRunner().invoke(app, arguments)
    assert "6 of 6 points were there before" in result.output


@pytest.mark.long
@pytest.mark.parametrize("impairment", ["loss", "reorder"])
def test_the_paper_s_receiver_is_met(tmp_path: Path, impairment: str) -> None:
    """Three rows of each study as it is shipped: what docs/paper.md says holds."""
    study = read_study(str(next(path for path in STUDIES if path.stem == f"asplos21-{impairment}")))
    study = replace(study, points=[point for point in study.points if point.varied[impairment] in (1, 3, 5)])
    verdict = judge(sweep(study, tmp_path, 2))
    assert verdict is not None
    assert len(verdict.values) == 9
    assert verdict.held


def test_one_device_serves_both_tables_of_the_paper() -> None:
    loss, reorder = (
        read_study(str(next(path for path in STUDIES if path.stem == f"asplos21-{impairment}"))).points[0]
        for impairment in ("loss", "reorder")
    )
    assert loss.policy == reorder.policy
    assert replace(loss.nic, backlog=0) == replace(reorder.nic, backlog=0)  # the backlog is the host's
    assert loss.knobs.unit == reorder.knobs.unit
