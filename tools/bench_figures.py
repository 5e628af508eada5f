"""From seconds to figures: the arithmetic of `make bench`, and its tables. No clock here.

Replay time is marginal: the best time over a large capture minus the best over a small one of the same kind and with as
many connections, divided by the difference of bytes or frames. What a run costs once stands in a row of its own.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, NamedTuple

from bench_cases import Case, Goal, Made
from bench_stages import STAGE_NAMES
from rich.table import Table

Answer = dict[str, Any]

COMPARED = ("frames", "captured_bytes", "connections", "records", "app_bytes")


class Row(NamedTuple):
    """A figure that stands alone. `goal` None: none, or it does not count at this size, which `note` then says."""

    name: str
    figure: float | None
    unit: str
    goal: Goal | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal is met, None without one."""
        return None if self.goal is None else self.figure is not None and self.goal.met(self.figure)


@dataclass
class Contender:
    """Runs of one contender over the small capture and the large one: seconds."""

    small: list[tuple[float, float]] = field(default_factory=list)  # (wall, user)
    large: list[tuple[float, float]] = field(default_factory=list)

    def marginal(self, which: Literal["wall", "user"]) -> float | None:
        """The best of the large ones minus the best of the small ones. None where noise makes it nothing at all."""
        at = 0 if which == "wall" else 1
        if not self.small or not self.large:
            return None
        seconds = min(each[at] for each in self.large) - min(each[at] for each in self.small)
        return seconds if seconds > 0 else None

    def medians(self) -> dict[str, float]:
        """For the JSON."""
        named = ((n, w, [each[at] for each in runs]) for n, runs in (("small", self.small), ("large", self.large))
                 for at, w in enumerate(("wall", "user")))  # fmt: skip
        return {f"{size}_{which}_median": statistics.median(values) for size, which, values in named if values}


@dataclass
class Measured:
    """All that was measured of one case. `one_shot` are seconds for `one_shot_bytes` of records. `stages` has the
    seconds of each stage over the small and the large capture."""

    case: Case
    small: Made
    large: Made
    replay: Contender = field(default_factory=Contender)
    tshark: Contender = field(default_factory=Contender)
    one_shot: list[float] = field(default_factory=list)
    one_shot_bytes: int = 0
    openssl_speed: float | None = None  # bytes a second
    decrypted: float = 0.0  # share of the records that the NIC decrypted in full
    stages: tuple[dict[str, float], dict[str, float]] | None = None

    def beyond(self, name: str) -> int:
        """How much more of something the large capture has."""
        more: int = getattr(self.large, name) - getattr(self.small, name)
        return more

    def one_shot_seconds(self) -> float | None:
        """What the records cost by which the captures differ, at the rate of the best pass."""
        if not self.one_shot:
            return None
        return min(self.one_shot) / self.one_shot_bytes * self.beyond("sealed_bytes")


@dataclass(frozen=True, slots=True)
class Figures:
    """A line of the table. None: not measured, or too short to measure.

    Seconds, bytes a second, frames a second; `ratio` to one-shot; `cost` in ns a payload frame; `tshark` times as fast;
    `connection` in us beyond the bytes, where the captures differ in connections; `stages` in ns a payload frame.
    """

    wall: float | None
    user: float | None
    bytes_per_second: float | None
    frames_per_second: float | None
    one_shot_rate: float | None
    ratio: float | None
    cost: float | None
    tshark: float | None
    connection: float | None
    stages: dict[str, float] | None


def figures(measured: Measured) -> Figures:
    """The arithmetic."""
    wall, one_shot, tshark = (
        measured.replay.marginal("wall"),
        measured.one_shot_seconds(),
        measured.tshark.marginal("wall"),
    )
    rate = measured.one_shot_bytes / min(measured.one_shot) if measured.one_shot else None
    stages = None
    if measured.stages:
        small, large = measured.stages
        payload_frames = measured.beyond("payload_frames")
        stages = {name: (large[name] - small.get(name, 0.0)) / payload_frames * 1e9 for name in large}
    made = Figures(wall, measured.replay.marginal("user"), None, None, rate, None, None, None, None, stages)
    if wall is None:
        return made
    made = replace(
        made,
        bytes_per_second=measured.beyond("captured_bytes") / wall,
        frames_per_second=measured.beyond("frames") / wall,
        tshark=tshark / wall if tshark else None,
    )
    if one_shot is None:
        return made
    connections = measured.beyond("connections")
    return replace(
        made,
        ratio=one_shot / wall,
        cost=(wall - one_shot) / measured.beyond("payload_frames") * 1e9,
        connection=(wall - one_shot) / connections * 1e6 if connections else None,
    )


def wrong(answer: Answer, made: Made) -> list[str]:
    """What a run says that is not what was put in: a benchmark that skips half the records is the fastest of all."""
    told = [
        f"{name} {answer[name]:,}, not {getattr(made, name):,}"
        for name in COMPARED
        if answer[name] != getattr(made, name)
    ]
    told += [f"{answer[name]} {name}" for name in ("failed", "balance", "errors") if answer[name]]
    # Several jobs do not hand their records over: there, nothing but what they say of them can be compared.
    if "delivered" in answer and answer["delivered"] != (counted := answer["records"] + answer["of_libraries"]):
        told.append(f"{answer['delivered']:,} records delivered, {counted:,} counted")
    return told


# Tables


class Line(NamedTuple):
    """A line of a table: its cells, and for each whether its goal is met (None: no goal)."""

    cells: Sequence[str]
    met: Sequence[bool | None]


class Sheet(NamedTuple):
    """A table before it has a form."""

    title: str
    head: list[str]
    lines: list[Line]


def case_sheet(measured: Sequence[Measured]) -> Sheet:
    """The cases, goals beside the figures."""
    head = ["case", "wall s", "user s", "GB/s", "Mframes/s", "by NIC", "one-shot GB/s", "openssl speed"]
    head += ["ratio to one-shot", "N ns", "x tshark"]
    lines = []
    for each in measured:
        made = figures(each)
        goals = {goal.column: goal for goal in each.case.goals}
        plain = [
            each.case.title,
            _shown(made.wall, 3),
            _shown(made.user, 3),
            _shown(made.bytes_per_second, 3, 1e9),
            _shown(made.frames_per_second, 2, 1e6),
            f"{each.decrypted:.0%}",
            _shown(made.one_shot_rate, 2, 1e9),
            _shown(each.openssl_speed, 2, 1e9),
        ]
        judged = [
            _judged(made.ratio, 2, goals.get("ratio")),
            _judged(made.cost, 0, goals.get("cost")),
            _judged(made.tshark, 1, goals.get("tshark")),
        ]
        lines.append(Line([*plain, *(text for text, _ in judged)], [*[None] * len(plain), *(met for _, met in judged)]))
    return Sheet("replay, best of each contender, marginal: a large capture minus a small one", head, lines)


def row_sheet(rows: Iterable[Row]) -> Sheet:
    """The figures that stand alone."""
    lines = []
    for row in rows:
        text, met = _judged(row.figure, 0 if row.unit in ("MB", "us", "ns") else 2, row.goal, f" {row.unit}")
        lines.append(Line([row.name, text, row.note], [None, met, None]))
    return Sheet("beside it", ["what", "figure", "note"], lines)


def connection_rows(measured: Sequence[Measured]) -> list[Row]:
    """What a connection costs beyond its bytes, of the cases with many."""
    rows = []
    for each in measured:
        goals = {goal.column: goal for goal in each.case.goals}
        if each.beyond("connections"):
            name = f"{each.case.title}: one connection"
            rows.append(Row(name, figures(each).connection, "us", goals.get("connection"), "beyond its bytes"))
    return rows


def stage_sheet(measured: Sequence[Measured]) -> Sheet:
    """ns a payload frame by stage. AES is one-shot's; what is left of the stages' sum is N, stopwatch included."""
    shown = [(each, figures(each)) for each in measured if each.stages]
    there = {name for _, made in shown for name in made.stages or {}}
    names = [name for name in STAGE_NAMES if name in there]
    lines = []
    for each, made in shown:
        stages = made.stages or {}
        total = sum(stages.values())
        seconds = each.one_shot_seconds()
        aes = seconds / each.beyond("payload_frames") * 1e9 if seconds is not None else None
        cells = [each.case.title, *(_shown(stages.get(name), 0) for name in names), _shown(total, 0), _shown(aes, 0)]
        cells.append(_shown(total - aes, 0) if aes is not None else "-")
        lines.append(Line(cells, [None] * len(cells)))
    return Sheet("ns a payload frame, by stage", ["case", *names, "sum", "of it AES", "sum - AES"], lines)


def rich_table(sheet: Sheet) -> Table:
    """For a terminal."""
    table = Table(title=sheet.title, title_justify="left", box=None)
    for n, name in enumerate(sheet.head):
        table.add_column(name, justify="right" if n and name != "note" else "left")
    for cells, met in sheet.lines:
        table.add_row(
            *(f"[{'green' if m else 'red'}]{c}[/]" if m is not None else c for c, m in zip(cells, met, strict=True))
        )
    return table


def markdown(sheet: Sheet) -> str:
    """For docs/performance.md."""
    lines = [f"**{sheet.title[0].upper()}{sheet.title[1:]}**", ""]
    lines.append("| " + " | ".join(sheet.head) + " |")
    lines.append("| --- |" + " ---: |" * (len(sheet.head) - 1))
    lines += ["| " + " | ".join(cells) + " |" for cells, _ in sheet.lines]
    return "\n".join(lines) + "\n"


def as_json(measured: Sequence[Measured], rows: Sequence[Row]) -> Answer:
    """Figures, goals, and all that they were made of."""
    cases = []
    for each in measured:
        goals = [_goal_json(goal, getattr(figures(each), goal.column)) for goal in each.case.goals]
        raw = {key: value for key, value in asdict(each).items() if key != "case"}
        raw["replay"] |= each.replay.medians()
        raw["tshark"] |= each.tshark.medians()
        case = {"name": each.case.name, "title": each.case.title, "traffic": asdict(each.case.traffic)}
        cases.append({**case, "profile": each.case.profile, "figures": asdict(figures(each)), "goals": goals, **raw})
    single = [
        {"name": row.name, "figure": row.figure, "unit": row.unit, "note": row.note}
        | ({"goal": _goal_json(row.goal, row.figure)} if row.goal else {})
        for row in rows
    ]
    return {"cases": cases, "rows": single}


def _goal_json(goal: Goal, figure: float | None) -> Answer:
    return {**goal._asdict(), "met": figure is not None and goal.met(figure)}


def _shown(figure: float | None, digits: int, unit: float = 1.0) -> str:
    return "-" if figure is None else f"{figure / unit:,.{digits}f}"


def _judged(figure: float | None, digits: int, goal: Goal | None, unit: str = "") -> tuple[str, bool | None]:
    text = _shown(figure, digits) + (unit if figure is not None else "")
    if goal is None:
        return text, None
    met = figure is not None and goal.met(figure)
    limit = f"{goal.limit:.2f}" if goal.limit < 1 else f"{goal.limit:g}"
    return f"{text} ({'' if met else 'missed: '}{goal.relation} {limit})", met
