"""Hostile cases by the thousand: `python tools/fuzz.py --count N --seed S [--jobs J]`.

Prints what share of the cases reached which stage, and every distinct failure once, minimised, with the files that make
it happen again under --out. `--case N` runs that one case of the seed and shows its traceback. Exit status 1 when
something failed. The cases are those of tests/support/hostile_case.py, and depend on the seed and their number alone.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "support"))

import hostile_case  # noqa: E402
from hostile_case import STAGES, Case, HangError, WrongError  # noqa: E402
from hostile_frames import frames_of  # noqa: E402
from hostile_samples import samples  # noqa: E402
from rxtls.counters import FATES  # noqa: E402

CHUNK = 100  # cases that a process takes at a time


@dataclass
class Failure:
    """What one case did that it must not. Failures with the same `kind` are one finding."""

    number: int
    kind: str
    detail: str


@dataclass
class Totals:
    """Counts over cases."""

    cases: int = 0
    repaired: int = 0
    repaired_stages: Counter[str] = field(default_factory=Counter)
    stages: Counter[str] = field(default_factory=Counter)
    levels: Counter[str] = field(default_factory=Counter)
    fates: Counter[str] = field(default_factory=Counter)
    compositions: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    compared: Counter[str] = field(default_factory=Counter)
    memory: int = 0
    failures: list[Failure] = field(default_factory=list)

    def add(self, other: Totals) -> None:
        self.cases += other.cases
        self.repaired += other.repaired
        self.repaired_stages.update(other.repaired_stages)
        self.stages.update(other.stages)
        self.levels.update(other.levels)
        self.fates.update(other.fates)
        self.compositions.update(other.compositions)
        self.statuses.update(other.statuses)
        self.compared.update(other.compared)
        self.memory = max(self.memory, other.memory)
        self.failures += other.failures


def attempt(case: Case) -> hostile_case.Shown | Failure:
    """Run one case."""
    try:
        return hostile_case.run(case)
    except WrongError as wrong:
        return Failure(case.number, wrong.check, str(wrong))
    except (Exception, HangError) as error:
        return Failure(case.number, f"{type(error).__name__} at {_place(error)}", str(error)[:200])


def _place(error: BaseException) -> str:
    """The innermost line of ours."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/rxtls/" in f.filename]
    return f"{frames[-1].filename.partition('/rxtls/')[2]}:{frames[-1].lineno}" if frames else "outside"


def run_chunk(job: tuple[int, int, int]) -> Totals:
    """Cases [start, stop) of a seed."""
    seed, start, stop = job
    totals = Totals()
    for number in range(start, stop):
        case = hostile_case.make(seed, number)
        totals.cases += 1
        totals.levels[case.level] += 1
        totals.repaired += case.repaired
        totals.compared[case.differential or "-"] += 1
        outcome = attempt(case)
        if isinstance(outcome, Failure):
            totals.failures.append(outcome)
            continue
        totals.stages.update(outcome.stages)
        if case.repaired:
            totals.repaired_stages.update(outcome.stages)
        totals.fates.update(outcome.fates)
        totals.compositions.update(outcome.compositions)
        totals.statuses[outcome.status] += 1
    totals.memory = hostile_case.peak_memory()
    return totals


def main() -> int:
    """Run the cases, print, and say whether all was well."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=1000, help="cases to run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=int, default=0, help="number of the first case")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--case", type=int, help="run this one only, and show its traceback")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "fuzz", help="where reproducers go")
    given = parser.parse_args()
    if given.case is not None:
        case = hostile_case.make(given.seed, given.case)
        print(hostile_case.describe(case))
        shown = hostile_case.run(case)
        print(sorted(shown.stages), shown.status)
        return 0
    started = time.perf_counter()
    totals = _run_all(given.seed, given.start, given.count, given.jobs)
    _print(totals, time.perf_counter() - started)
    _report(given.seed, totals.failures, given.out)
    return 1 if totals.failures else 0


def _run_all(seed: int, start: int, count: int, jobs: int) -> Totals:
    samples()  # made once, before the processes split
    chunks = [(seed, at, min(at + CHUNK, start + count)) for at in range(start, start + count, CHUNK)]
    totals = Totals()
    if jobs <= 1:
        for chunk in chunks:
            totals.add(run_chunk(chunk))
        return totals
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        for part in pool.imap_unordered(run_chunk, chunks):
            totals.add(part)
    return totals


def _print(totals: Totals, seconds: float) -> None:
    cases = max(1, totals.cases)
    print(f"{totals.cases} cases in {seconds:.0f} s ({1000 * seconds / cases:.1f} ms each)")
    print(f"{totals.repaired / cases:6.1%}  with lengths and checksums repaired")
    print("levels: " + ", ".join(f"{name} {n}" for name, n in totals.levels.most_common()))
    print("reached, of all cases and of the repaired ones:")
    for stage in STAGES:
        repaired = totals.repaired_stages[stage] / max(1, totals.repaired)
        print(f"{totals.stages[stage] / cases:8.1%} {repaired:7.1%}  {stage}")
    records = {name: n for name, n in sorted(totals.fates.items()) if name.startswith("record.")}
    print("records: " + ", ".join(f"{name.partition('.')[2]} {n}" for name, n in records.items()))
    print("compositions: " + ", ".join(f"{name} {n}" for name, n in totals.compositions.most_common(10)))
    fates = sorted(name for name in FATES if not totals.fates[name])
    print(f"fates never met: {', '.join(fates) or 'none'}")
    print("exit statuses: " + ", ".join(f"{status}: {n}" for status, n in sorted(totals.statuses.items())))
    print("compared: " + ", ".join(f"{name} {n}" for name, n in sorted(totals.compared.items())))
    print(f"peak memory of a process: {totals.memory >> 20} MiB")
    print(f"failures: {len(totals.failures)}")


def _report(seed: int, failures: list[Failure], out: Path) -> None:
    kinds: dict[str, list[Failure]] = {}
    for failure in sorted(failures, key=lambda each: each.number):
        kinds.setdefault(failure.kind, []).append(failure)
    for n, (kind, same) in enumerate(kinds.items()):
        print(f"\n{kind}: {len(same)} cases, {', '.join(str(each.number) for each in same[:8])}")
        print(f"  {same[0].detail}")

        def fails(case: Case, kind: str = kind) -> bool:
            outcome = attempt(case)
            return isinstance(outcome, Failure) and outcome.kind == kind

        case = hostile_case.smaller(hostile_case.make(seed, same[0].number), fails)
        folder = out / f"{seed}-{n}"
        folder.mkdir(parents=True, exist_ok=True)
        for index, data in enumerate(case.captures):
            (folder / f"capture-{index}").write_bytes(data)
        for index, data in enumerate(case.keys):
            (folder / f"keys-{index}").write_bytes(data)
        (folder / "case.json").write_text(hostile_case.describe(case) + "\n")
        size = sum(len(frames_of(data)) for data in case.captures)
        print(f"  smallest: {size} frames in {folder}\n  {hostile_case.describe(case)}")


if __name__ == "__main__":
    sys.exit(main())
