"""`make bench`: how fast rxtls is, beside one-shot AES and tshark, with the project's goals beside the figures.

    python tools/bench.py [--size MB] [--rows NAME,...] [--full] [--json | --markdown]

Captures are generated (bench_traffic.py), one kind after the other, and deleted when they have been measured. The
contenders run in turn, round by round, each in a process of its own (bench_contenders.py, bench_run.py).
docs/performance.md says how to read the tables. Nothing here imports numpy or rxtls: see bench_cases.py.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from bench_cases import (
    BULK,
    CASES,
    HOLES,
    HOLES_COUNT,
    HOLES_SIZE,
    INTERLEAVED,
    JOBS,
    JOBS_BYTES,
    LATE,
    LATE_SESSIONS,
    LATE_SIZE,
    MANY_BYTES,
    MANY_RECORDS,
    PAGE_SIZE,
    PAGE_TIME,
    PEAK,
    SHORT_FEW,
    START_UP,
    WRITING,
    Case,
    Made,
    Traffic,
)
from bench_contenders import BenchError, Contenders, chromium, machine, openssl_speed, run_tshark
from bench_figures import (
    Measured,
    Row,
    as_json,
    case_sheet,
    connection_rows,
    markdown,
    rich_table,
    row_sheet,
    stage_sheet,
)
from rich.console import Console

MEGABYTE = 1_000_000
TSHARK_ROUNDS = 2  # it takes dozens of times as long, so noise matters less
PASSES = 2  # of one-shot, in each round
STAGE_RUNS = 2
ROWS = (*(case.name for case in CASES), "floor", "start-up", "memory", "jobs", "see", "holes", "late", "syns")
SYNS = 20_000, 60_000
WIDE = 190  # columns, where the output is no terminal


@dataclass(frozen=True)
class Sizes:
    """MB of captures: the large and the small one of a case, those for peak memory, that for two jobs."""

    large: float
    small: float
    memory: tuple[float, ...]
    jobs: float


# The plain engine would take hours.
DEFAULT = {"compiled": Sizes(400, 50, (200, 1000), 600), "plain": Sizes(20, 3, (20, 60), 20)}
FULL = Sizes(1000, 50, (200, 4000), 2300)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print."""
    options = _options(arguments)
    failure: BenchError | None = None
    with tempfile.TemporaryDirectory(prefix="rxtls-bench-", dir=options.folder) as folder:
        bench = Bench(Contenders(Path(folder), _replay_options(options), options.libcrypto), options)
        try:
            bench.run()
        except BenchError as error:
            failure = error
    if bench.measured or bench.rows:  # what was measured before a failure stands
        _print(bench, options)
    if failure:
        print(f"bench: {failure}", file=sys.stderr)
    return int(failure is not None)


def _print(bench: Bench, options: argparse.Namespace) -> None:
    sheets = [case_sheet(bench.measured), row_sheet(bench.rows), stage_sheet(bench.measured)]
    sheets = [sheet for sheet in sheets if sheet.lines]
    if options.json:
        print(json.dumps({"machine": bench.machine, **as_json(bench.measured, bench.rows)}, indent=2))
    elif options.markdown:
        print("\n".join([f"{bench.described()}\n", *(markdown(sheet) for sheet in sheets)]), end="")
    else:
        console = Console(width=None if sys.stdout.isatty() else WIDE)
        console.print(bench.described(), highlight=False)
        for sheet in sheets:
            console.print()
            console.print(rich_table(sheet), highlight=False)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure rxtls beside one-shot AES and tshark.")
    parser.add_argument("--size", type=float, help="MB of the large captures")
    parser.add_argument("--small", type=float, help="MB of the small ones, which are taken off")
    parser.add_argument("--sizes", type=_numbers, help="MB of the captures whose peak memory is compared: 200,4000")
    parser.add_argument("--jobs-size", type=float, help="MB of the capture for two jobs")
    parser.add_argument("--rows", default=",".join(ROWS), help=f"which of {', '.join(ROWS)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--full", action="store_true", help="sizes at which all goals count; takes long")
    parser.add_argument("--engine", default="auto", help="auto, compiled, plain")
    parser.add_argument("--call-size", type=int, help="frames in one call of the path")
    parser.add_argument("--libcrypto", help="the libcrypto to use, for replay and one-shot alike")
    parser.add_argument("--no-tshark", action="store_true")
    parser.add_argument("--no-stages", action="store_true")
    parser.add_argument("--folder", help="where captures are written")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true")
    form.add_argument("--markdown", action="store_true", help="the tables as docs/performance.md has them")
    options = parser.parse_args(arguments)
    options.rows = options.rows.split(",")
    if unknown := set(options.rows) - set(ROWS):
        parser.error(f"no row {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    if options.rounds < 1:
        parser.error("--rounds is at least 1")
    return options


def _replay_options(options: argparse.Namespace) -> dict[str, Any]:
    """The fields of ReplayOptions that all replays have in common."""
    common: dict[str, Any] = {"engine": options.engine}
    return common | ({"call_size": options.call_size} if options.call_size else {})


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(each) for each in text.split(","))


class Bench:
    """One benchmark. `measured` and `rows` are what it found."""

    def __init__(self, contenders: Contenders, options: argparse.Namespace) -> None:
        self.contenders = contenders
        self.options = options
        self.tshark = None if options.no_tshark else shutil.which("tshark")
        self.chromium = chromium()
        self.machine: dict[str, Any] = machine(self.tshark)
        self.sizes = FULL
        self.measured: list[Measured] = []
        self.rows: list[Row] = []

    def run(self) -> None:
        """All rows that were asked for."""
        wanted = self.options.rows
        with self.contenders.warmed() as answer:
            self.machine |= {"engine": answer["engine"], "libcrypto": answer["libcrypto"]}
            self.sizes = self._sizes(answer["engine"])
            for traffic, cases in groupby((case for case in CASES if case.name in wanted), lambda case: case.traffic):
                self.measured += self._cases(traffic, list(cases))
            self.rows += connection_rows(self.measured)
            if "floor" in wanted:
                self._floor()
            if "start-up" in wanted:
                self._start_up()
            if "memory" in wanted:
                self._memory()
            if "jobs" in wanted:
                self._jobs()
            if "see" in wanted:
                self._see()
            if "holes" in wanted:
                self._holes()
            if "late" in wanted:
                self._late()
            if "syns" in wanted:
                self._syns(answer["engine"])

    def described(self) -> str:
        """What was measured on, in a line."""
        told = self.machine
        with_tshark = f"; {told['tshark']}" if told["tshark"] else ""
        return (
            f"Engine {told['engine']}, {told['libcrypto']}; {told['processor']}, {told['cores']} cores, "
            f"Python {told['python']}{with_tshark}; captures of {self.sizes.large:g} and {self.sizes.small:g} MB."
        )

    def _sizes(self, engine: str) -> Sizes:
        given, default = self.options, FULL if self.options.full else DEFAULT[engine]
        sizes = Sizes(
            given.size or default.large,
            given.small or default.small,
            given.sizes or default.memory,
            given.jobs_size or default.jobs,
        )
        if sizes.small >= sizes.large:
            raise BenchError("--small must be less than --size")
        return sizes

    # Cases

    def _cases(self, traffic: Traffic, cases: list[Case]) -> list[Measured]:
        """The cases of one kind of traffic, whose captures are made once."""
        few, many = self._amounts(traffic)
        _tell(f"{cases[0].title}: captures")
        with self.contenders.capture(traffic, few) as small, self.contenders.capture(traffic, many) as large:
            measured = [Measured(case, small, large) for case in cases]
            self._rounds(measured, traffic, many)
            for each in measured[1:]:  # the same capture, and tshark has no profile
                each.tshark = measured[0].tshark
            if not self.options.no_stages:
                for each in measured:
                    if each.case.each:
                        continue
                    each.stages = self._stages(small, each.case.profile), self._stages(large, each.case.profile)
        return measured

    def _amounts(self, traffic: Traffic) -> tuple[int, int]:
        """How much is in the small capture, and in the large one."""
        if traffic.answer:
            return SHORT_FEW, traffic.flows
        share = 4 if traffic.record < 1000 else 1  # small records take long to seal
        return int(self.sizes.small * MEGABYTE / share), int(self.sizes.large * MEGABYTE / share)

    def _rounds(self, measured: list[Measured], traffic: Traffic, amount: int) -> None:
        with self.contenders.one_shot(traffic, amount) as one_shot:
            for n in range(self.options.rounds):
                _tell(f"{measured[0].case.title}: round {n + 1} of {self.options.rounds}")
                for each in measured:
                    self._replays(each)
                seconds = [one_shot.again() for _ in range(PASSES)]
                for each in measured:
                    each.one_shot += seconds
                if self.tshark and n < TSHARK_ROUNDS:
                    self._tsharks(self.tshark, measured[0])
        speed = openssl_speed(traffic)
        self.machine["one_shot"] = one_shot.libcrypto
        for each in measured:
            each.one_shot_bytes, each.openssl_speed = one_shot.sealed_bytes, speed

    def _replays(self, measured: Measured) -> None:
        for made, times in ((measured.small, measured.replay.small), (measured.large, measured.replay.large)):
            answer = self.contenders.replay(made, measured.case.each, profile=measured.case.profile)
            times.append((answer["wall"], answer["user"]))
            measured.decrypted = answer["decrypted"] / answer["records"]

    def _tsharks(self, tshark: str, measured: Measured) -> None:
        traffic = measured.case.traffic
        for made, times in ((measured.small, measured.tshark.small), (measured.large, measured.tshark.large)):
            times.append(run_tshark(tshark, made, bool(traffic.loss or traffic.reorder)))

    def _stages(self, made: Made, profile: str) -> dict[str, float]:
        """Seconds by stage, of the fastest run."""
        engine = self.machine["engine"]
        answers = [self.contenders.stages(made, engine, profile=profile) for _ in range(STAGE_RUNS)]
        best: dict[str, float] = min(answers, key=lambda answer: float(answer["wall"]))["stages"]
        return best

    # Rows of their own

    def _floor(self) -> None:
        few, many = self._amounts(BULK)
        with self.contenders.capture(BULK, few) as small, self.contenders.capture(BULK, many) as large:
            _tell("reading and checking alone")
            seconds = [min(self.contenders.look(made) for _ in range(self.options.rounds)) for made in (large, small)]
            frames = large.payload_frames - small.payload_frames
        note = "a payload frame: N of a receiver that does nothing else beyond AES"
        self.rows.append(
            Row("reading the capture, checking packets", (seconds[0] - seconds[1]) / frames * 1e9, "ns", None, note)
        )

    def _start_up(self) -> None:
        _tell("start-up")
        with self.contenders.capture(BULK, 10 * MEGABYTE) as made:
            best = min(self.contenders.first(made) for _ in range(self.options.rounds))
        note = "from before the process exists; all caches warm"
        self.rows.append(Row("start-up to the first record", best, "s", START_UP, note))

    def _memory(self) -> None:
        least: float | None = None
        for size in self.sizes.memory:
            _tell(f"peak memory over {size:,g} MB")
            with self.contenders.capture(BULK, int(size * MEGABYTE)) as made:
                peak = self.contenders.replay(made, cold=True)["peak"] / MEGABYTE
            note = f"{round(peak - least):+d} MB" if least is not None else ""
            least = peak if least is None else least
            self.rows.append(Row(f"peak memory, one job, capture of {size:,g} MB", peak, "MB", PEAK, note))

    def _jobs(self) -> None:
        best = {1: float("inf"), 2: float("inf")}
        with self.contenders.capture(INTERLEAVED, int(self.sizes.jobs * MEGABYTE)) as made:
            for n in range(min(3, self.options.rounds)):
                _tell(f"two jobs against one: round {n + 1}")
                for jobs in best:
                    best[jobs] = min(best[jobs], self.contenders.replay(made, jobs=jobs)["wall"])
            counts = made.captured_bytes >= JOBS_BYTES
        note = f"{best[1]:.2f} s and {best[2]:.2f} s for {made.captured_bytes / MEGABYTE:,.0f} MB"
        note += "" if counts else "; the goal counts from 2 GB (--full)"
        self.rows.append(Row("two jobs against one, 16 flows", best[1] / best[2], "x", JOBS if counts else None, note))

    def _see(self) -> None:
        """What tables and the report cost."""
        with self.contenders.capture(BULK, int(self.sizes.large * MEGABYTE)) as made:
            best: dict[str, float] = {}
            for n in range(self.options.rounds):
                _tell(f"writing the run: round {n + 1} of {self.options.rounds}")
                for name, seconds in self.contenders.written(made).items():
                    best[name] = min(best.get(name, seconds), seconds)
        for name, title, goal in (
            ("tables", "tables of the run, beside its replay", WRITING),
            ("frames", "the same with a row per frame", None),
        ):
            share = 100 * (best[name] - best["bare"]) / best["bare"]
            note = f"{best['bare']:.2f} s of processor, {best[name]:.2f} s with them; {best['records']:,.0f} records"
            self.rows.append(Row(title, share, "% more", goal, note))
        _tell("a report of many records")
        with self.contenders.capture(MANY_RECORDS, self._many()) as made:
            page = self.contenders.page(made)
        note = f"{page['records']:,} records, {made.frames:,} frames; made in {page['seconds']:.1f} s"
        self.rows.append(Row("a report", page["bytes"] / MEGABYTE, "MB", PAGE_SIZE, note))
        opened = self.contenders.opened(page["html"]) if self.chromium else None
        note = "until Chromium has drawn it" if self.chromium else "no Chromium is installed"
        self.rows.append(Row("the same, opened", opened, "s", PAGE_TIME if self.chromium else None, note))

    def _many(self) -> int:
        """Bytes of the capture that a report is made of: less where all is small."""
        return MANY_BYTES if self.sizes.large >= DEFAULT["compiled"].large else int(self.sizes.large * MEGABYTE)

    def _holes(self) -> None:
        size = min(HOLES_SIZE, self.sizes.large)
        whole, holed = [], []  # (wall, user)
        with self.contenders.capture(BULK, int(size * MEGABYTE)) as made:
            for n in range(self.options.rounds):
                _tell(f"a capture with holes: round {n + 1} of {self.options.rounds}")
                answer = self.contenders.damaged(made)
                whole.append((answer["wall"], answer["user"]))
                answer = self.contenders.damaged(made, holes=HOLES_COUNT)
                holed.append((answer["wall"], answer["user"]))
        back = 100 * answer["app_bytes"] / made.app_bytes
        (wall, user), (holed_wall, holed_user) = (
            tuple(min(each) for each in zip(*times, strict=True)) for times in (whole, holed)
        )
        note = f"user time; wall {wall:.2f} s and {holed_wall:.2f} s; {answer['lost_records']} records lost, "
        note += f"{back:.2f} % of the data read"
        goal = HOLES if size >= HOLES_SIZE else None
        self.rows.append(Row(f"{HOLES_COUNT} holes in {size:,g} MB, against none", holed_user / user, "x", goal, note))

    def _late(self) -> None:
        for title, traffic in (("AES-128-GCM", BULK), ("ChaCha20-Poly1305", replace(BULK, suite=0x1303))):
            _tell(f"late starts, {title}")
            with self.contenders.capture(replace(traffic, flows=1), LATE_SIZE * MEGABYTE) as made:
                answer = self.contenders.damaged(made, late=True, sessions=LATE_SESSIONS - 1)
            share = answer["spent"] / answer["budget"]
            back = 100 * answer["app_bytes"] / made.app_bytes
            note = f"{answer['spent']:,} units of work; {answer['wall']:.2f} s in all; {back:.2f} % of the data read"
            name = f"late start, {title}, {LATE_SESSIONS:,} sessions in the key log"
            self.rows.append(Row(name, share, "of the budget", LATE, note))

    def _syns(self, engine: str) -> None:
        """What one costs beyond what a run costs at all."""
        few, many = SYNS
        for each in dict.fromkeys((engine, "plain")):
            _tell(f"SYNs that nothing follows, {each}")
            less, more = self.contenders.syns(few, each), self.contenders.syns(many, each)
            note = f"with the summary; {more['peak'] / MEGABYTE:,.0f} MB and {more['seconds']:.1f} s for {many:,}"
            memory = (more["peak"] - less["peak"]) / (many - few) / 1000
            seconds = (more["seconds"] - less["seconds"]) / (many - few) * 1000
            self.rows.append(Row(f"memory of a SYN that nothing follows, {each}", memory, "kB", None, note))
            self.rows.append(Row(f"time of the same, {each}", seconds, "ms of processor", None, ""))


def _tell(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
