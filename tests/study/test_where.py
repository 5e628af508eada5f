"""Where captures were taken, in words."""

from __future__ import annotations

from typing import Any

import pytest

from rxtls.study.where import MOST, where


def row(place: str = "here", host: str = "10.0.0.1", interface: int = 0, **votes: int) -> dict[str, Any]:
    counted = {"here": 0, "peer": 0, "middle": 0, **(votes or {place: 3})}
    return {
        "interfaces": [interface],
        "host": host,
        "place": place,
        "by": "size",
        "connections": 3,
        "votes": {"size": counted},
    }


def summary(*taps: dict[str, Any], by: str | None = "size", vantage: str = "receiver") -> dict[str, Any]:
    received = {"vantage": vantage, "vantage_by": by, "app_bytes": 9}
    names = [{"name": name} for name in ("eth0", None, *("x",) * 9)]
    return {"interfaces": names, "taps": list(taps), "flows": [{"receive": {"server": received, "client": None}}]}


@pytest.mark.parametrize(
    ("taps", "text"),
    [
        ([row()], "captured at 10.0.0.1, by size (3 connections say so, 0 otherwise)"),
        (
            [row(), row("peer"), row()],
            "captured at 10.0.0.1 and 1 more host, by size (3 connections say so, 0 otherwise)",
        ),
        ([row("peer")], "captured at those that 10.0.0.1 talks to, by size (3 connections say so, 0 otherwise)"),
        ([row("middle")], "captured in the middle, by size (3 connections say so, 0 otherwise)"),
    ],
)
def test_a_line_for_a_tap(taps: list[dict[str, Any]], text: str) -> None:
    assert where(summary(*taps)) == [text]


def test_several_interfaces_are_told_apart_and_many_are_cut_off() -> None:
    lines = where(summary(*(row(interface=n) for n in range(MOST + 2))))
    assert [line.partition(":")[0] for line in lines[:2]] == ["eth0", "capture interface 1"]
    assert lines[MOST:] == ["... and 2 more capture interfaces; --json has all of them"]


def test_a_host_that_contradicts_itself_is_named() -> None:
    assert where(summary(row("middle", here=2, peer=3)))[1] == (
        "what is said of 10.0.0.1 contradicts itself, so it is taken for the middle"
    )


def test_what_nobody_had_to_find_out() -> None:
    assert where(summary(row(), by="option")) == []
    assert where(summary(by=None, vantage="unknown")) == [
        "1 direction of unknown vantage: nothing shows where the capture was taken (--vantage says it)"
    ]
    assert where({"flows": [{"receive": {"server": {"app_bytes": 3, "vantage": "unknown"}}}]}) == []  # of schema 1
