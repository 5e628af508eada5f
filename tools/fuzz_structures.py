"""Captures of hostile structure by the thousand: `python tools/fuzz_structures.py --count N --seed S [--jobs J]`.

Every case goes through both engines, and some through several jobs, each in a child that is held to processor time and
memory. Prints each finding as it comes, and at the end what each shape cost at most. `--case N` tries that one case of
the seed, and leaves its files in --out. Exit status 1 when something was found. The cases are those of
tests/support/hostile_structures.py.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "support"))

from hostile_child import warm  # noqa: E402
from hostile_structures import LARGEST, MEMORY, SECONDS, SHAPES, Shown, attempt, files, make  # noqa: E402


def main() -> int:
    """Try the cases, print, and say whether all was well."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=2000, help="cases to run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=int, default=0, help="number of the first case")
    parser.add_argument("--largest", type=int, default=LARGEST, help="size of a case: frames, blocks, lines")
    parser.add_argument("--jobs", type=int, default=1, help="cases at a time")
    parser.add_argument("--case", type=int, help="try this one only, and keep its files")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "structures", help="where its files go")
    given = parser.parse_args()
    warm()
    cases = [make(given.seed, number, given.largest) for number in range(given.start, given.start + given.count)]
    if given.case is not None:
        cases = [make(given.seed, given.case, given.largest)]
        given.out.mkdir(parents=True, exist_ok=True)
        captures, keys, options = files(cases[0], given.out)
        print(cases[0], *captures, *keys, options)
    with ExitStack() as stack:
        several = (
            stack.enter_context(ProcessPoolExecutor(given.jobs, get_context("fork"))).map if given.jobs > 1 else map
        )
        every = list(_told(several(attempt, cases)))
    _print(every)
    return int(any(each.found for each in every))


def _told(results: Iterable[Shown]) -> Iterable[Shown]:
    for each in results:
        for line in each.found:
            print(f"{each.case}: {line}", flush=True)
        yield each


def _print(every: list[Shown]) -> None:
    print(f"{len(every)} cases; of each shape the most seconds of processor time and MiB, and the size where that was")
    for shape in SHAPES:
        tried = [each for each in every if each.case.shape == shape and each.cost]
        line = f"{shape:20} {len(tried):5} cases"
        for way in ("compiled", "plain"):
            costs = [(each.cost[way], each.case.n) for each in tried if way in each.cost]
            if costs:
                slow, n = max(costs, key=lambda pair: pair[0].seconds)
                most = max(cost.memory for cost, _ in costs) >> 20
                line += f"   {way} {slow.seconds:6.2f} s (n {n:6}) {most:5} MiB"
        print(line)
    failed = sum(bool(each.found) for each in every)
    print(f"findings: {failed} cases (bounds: {SECONDS} s, {MEMORY >> 20} MiB)")


if __name__ == "__main__":
    sys.exit(main())
