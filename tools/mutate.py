"""Mutation testing of device/ (the plain twin), offload/ and host/: how many small faults the tests notice.

    python tools/mutate.py --sample 400 --seed 0           a sample, drawn evenly over all mutants
    python tools/mutate.py --only '*.host.socket.*'        all mutants of a file, or any others by their names
    python tools/mutate.py                                 all of them: about eight thousand, several hours

mutmut makes the mutants and runs the fast tests of these parts on each, in a copy of the tree; its settings are in
pyproject.toml. Only the plain engine runs: kernels are not mutated. Of a function it runs the tests that reach it; a
mutant in one that no test reaches has survived. So has one on which the tests ended in no way that is known here. One
on which they went on for ever was noticed, and is counted apart.

The table says, by file and by folder, how many were killed; survivors are listed, with their change, for somebody to
judge (docs/mutation.md has the last run and the judgement). Exit status: 1 where fewer than --bound % were killed, 2
where nothing could be measured.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from fnmatch import fnmatchcase
from pathlib import Path

ROOT = Path(__file__).parents[1]
COPIED = ("src", "tests", "tools", "examples", "docs", "pyproject.toml", "README.md", "ARCHITECTURE.md",
          "CONTRIBUTING.md", "GLOSSARY.md", "CHANGELOG.md", "LICENSE", "Makefile")  # fmt: skip

KILLED, TIMED_OUT, SURVIVED, UNREACHED, UNKNOWN = "killed", "timed out", "survived", "reached by no test", "unknown"

# By the exit status that mutmut keeps. pytest: 0 passed, 1 failed, 3 failed inside, 5 has no test; mutmut: 33 knows of
# no test, 36 too slow; the kernel: SIGXCPU and SIGKILL behind the limit on a test's processor time.
FATES = {0: SURVIVED, 1: KILLED, 3: KILLED, 5: UNREACHED, 33: UNREACHED, 36: TIMED_OUT} | dict.fromkeys(
    (-24, 24, 152, -9), TIMED_OUT
)
NOTICED = (KILLED, TIMED_OUT)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", metavar="PATTERN", help="mutants whose name fits; may be repeated")
    parser.add_argument("--sample", type=int, help="how many of them; by default all")
    parser.add_argument("--seed", type=int, default=0, help="which sample")
    parser.add_argument("--bound", type=float, default=0, metavar="%", help="what has to be killed")
    parser.add_argument("--jobs", type=int, default=1, help="mutants tested at once")
    parser.add_argument("--folder", type=Path, default=ROOT / "out" / "mutate", help="where the copy is made")
    options = parser.parse_args()
    prepare(options.folder)
    # A name that fits no mutant: they are made, and the tests run once to learn which of them reach what.
    run(options.folder, ["nothing.at.all"], options.jobs)
    names = sorted(statuses(options.folder))
    if options.only:
        names = [name for name in names if any(fnmatchcase(name, pattern) for pattern in options.only)]
    if not names:
        print("no such mutants were made: see mutmut's output above", file=sys.stderr)
        return 2
    chosen = names
    if options.sample is not None and options.sample < len(names):
        chosen = sorted(random.Random(options.seed).sample(names, options.sample))
    run(options.folder, chosen, options.jobs)
    fates = fates_of(chosen, statuses(options.folder))
    if set(fates.values()) == {UNKNOWN}:
        print("no mutant was tested: the tests do not pass without one, see mutmut's output above", file=sys.stderr)
        return 2
    table, share = report(fates)
    print(table)
    print(f"of {len(names)} that there are; {share:.1f} % killed\n")
    for name, fate in fates.items():
        if fate not in NOTICED:
            print(f"{name}: {fate}")
            print("".join(f"    {line}\n" for line in change(options.folder, name)), end="")
    return 1 if share < options.bound else 0


def prepare(folder: Path) -> None:
    """A copy of the tree, without what an earlier run left."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(source, folder / name)


def run(folder: Path, names: list[str], jobs: int) -> None:
    """mutmut over these mutants. Kernels would be compiled anew for every change: the plain engine runs."""
    mutmut = Path(sys.executable).parent / "mutmut"
    subprocess.run(
        [str(mutmut), "run", "--max-children", str(jobs), *names],
        cwd=folder,
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        check=False,
    )


def statuses(folder: Path) -> dict[str, int | None]:
    """How the tests ended, by mutant; None where they did not run."""
    found: dict[str, int | None] = {}
    for meta in sorted((folder / "mutants").rglob("*.meta")):
        found |= json.loads(meta.read_text())["exit_code_by_key"]
    return found


def fates_of(chosen: list[str], ended: dict[str, int | None]) -> dict[str, str]:
    """What became of each mutant, in words."""
    found = {}
    for name in chosen:
        status = ended.get(name)
        found[name] = UNKNOWN if status is None else FATES.get(status, UNKNOWN)
    return found


def report(fates: dict[str, str]) -> tuple[str, float]:
    """The table by file and folder, and the share of all mutants in it that were noticed, in %."""
    by_part: dict[str, Counter[str]] = defaultdict(Counter)
    for name, fate in fates.items():
        file = name.split(".x", 1)[0].removeprefix("rxtls.")
        for part in (file, file.split(".")[0] + "/", "all"):
            by_part[part][fate] += 1
    by_part["all"] = by_part.pop("all")  # last
    heads = (KILLED, TIMED_OUT, SURVIVED, UNREACHED, UNKNOWN)
    lines = [f"{'':32}" + "".join(f"{head:>{len(head) + 2}}" for head in heads) + "    noticed"]
    parts = sorted(set(by_part) - {"all"}, key=lambda part: (part.endswith("/"), part))
    for part in [*parts, "all"]:
        counted = by_part[part]
        cells = "".join(f"{counted[head]:{len(head) + 2}}" for head in heads)
        lines.append(f"{part:32}{cells}  {_share(counted):7.1f} %")
    return "\n".join(lines), _share(by_part["all"])


def _share(counted: Counter[str]) -> float:
    return 100 * sum(counted[fate] for fate in NOTICED) / counted.total()


def change(folder: Path, name: str) -> list[str]:
    """The lines that a mutant takes away and adds."""
    shown = subprocess.run(
        [str(Path(sys.executable).parent / "mutmut"), "show", name],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return [line for line in shown.stdout.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]


if __name__ == "__main__":
    sys.exit(main())
