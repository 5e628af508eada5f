"""Which directions come first, in the table and where `explain` has no flow; and the legend of what is shown."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rxtls.cli.app import app
from rxtls.errors import UsageError
from rxtls.run.options import ReplayOptions
from rxtls.run.replay import Replay
from rxtls.simulation.demo import make_demo
from rxtls.study.ranking import SORTS, ordered, rendered, rows, worst
from rxtls.study.table import rendered as table

EXAMPLE = Path(__file__).parents[2] / "examples" / "many-tls13-aes128gcm"


@pytest.fixture(scope="module")
def summary() -> dict[str, Any]:
    run = Replay([f"{EXAMPLE}.pcap"], [f"{EXAMPLE}.keys"], ReplayOptions())
    for _ in run.batches():
        pass
    return run.summary()


def shown(text: str) -> list[int]:
    """The flows of a table, in its order."""
    return [int(found[1]) for line in text.splitlines() if (found := re.match(r" *(\d+)  \S+:\d+ > ", line))]


def test_the_table_shows_as_many_as_are_wanted_the_largest_first(summary: dict[str, Any]) -> None:
    lost = {flow["id"] for flow in summary["flows"] if any(r["resync"]["lost"] for r in flow["receive"].values())}
    assert 1 < len(lost) < 20
    text = table(summary, top=len(lost), sort="lost")
    assert {*shown(text)} == lost
    assert f"... and {120 - len(lost)} more directions; --json has all of them" in text
    assert shown(table(summary, top=6)) == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("name", sorted(SORTS))
def test_every_order_goes_down(name: str, summary: dict[str, Any]) -> None:
    values = [SORTS[name](row) for row in ordered(summary, name)]
    assert values == sorted(values, reverse=True)
    assert len(values) == len(rows(summary)) == 120


def test_an_order_that_there_is_not_is_one_line(summary: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="no order 'size'; there are id, bytes, "):
        ordered(summary, "size")


def test_the_worst_left_the_host_most(summary: dict[str, Any]) -> None:
    found = worst(summary)
    octets = [sum(row.received["bytes"][name] for name in ("mixed", "encrypted")) for row, _ in found]
    assert len(found) == 10
    assert octets == sorted(octets, reverse=True)
    for row, reason in found:
        assert ("lost sync" in reason) == bool(row.received["resync"]["lost"])
    assert "1 time," in rendered(summary, 200)


def test_what_cannot_be_read_is_among_the_worst(summary: dict[str, Any]) -> None:
    run = Replay([f"{EXAMPLE}.pcap"], [], ReplayOptions())
    for _ in run.batches():
        pass
    assert {row.received["why"]["code"] for row, _ in worst(run.summary())} == {"no_keys"}


def test_explain_without_a_flow(tmp_path: Path) -> None:
    capture, keys = make_demo(tmp_path)
    told = CliRunner().invoke(app, ["explain", str(capture), "--keys", str(keys)])
    assert told.exit_code == 0
    assert "lost sync" in told.output
    kept = CliRunner().invoke(
        app, ["replay", str(capture), "--keys", str(keys), "--out", str(tmp_path / "run"), "--quiet"]
    )
    assert kept.exit_code == 0
    assert CliRunner().invoke(app, ["explain", str(tmp_path / "run")]).output == told.output


def test_the_legend_says_what_is_shown_and_nothing_else(summary: dict[str, Any]) -> None:
    legend = table(summary).partition("ifnet: ")[2]
    for name in ("decr.", "encr.", "unjd.", "unkn.", "libr.", "conf.", "reg."):
        assert f"{name}: " in legend
    assert "sw: " not in legend
