"""Mutation testing of device/ (the plain twin), offload/ and host/: how many small faults the tests notice.

    python tools/mutate.py --sample 300 --seed 0        a sample, drawn evenly over all mutants
    python tools/mutate.py                              all of them: about six thousand, several hours

mutmut makes the mutants and runs the fast tests of these parts on each, in a copy of the tree; its settings are in
pyproject.toml. Only the plain engine runs: kernels are not mutated. The table says, by file, how many were killed;
survivors are listed, with their change, for somebody to judge (docs/mutation.md has the last run and the judgement).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
COPIED = ("src", "tests", "tools", "examples", "docs", "pyproject.toml", "README.md", "ARCHITECTURE.md",
          "CONTRIBUTING.md", "GLOSSARY.md", "CHANGELOG.md", "LICENSE", "Makefile")  # fmt: skip
SURVIVED = 0
NOT_RUN = None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, help="how many mutants; by default all")
    parser.add_argument("--seed", type=int, default=0, help="which sample")
    parser.add_argument("--jobs", type=int, default=1, help="mutants tested at once")
    parser.add_argument("--folder", type=Path, default=ROOT / "out" / "mutate", help="where the copy is made")
    options = parser.parse_args()
    prepare(options.folder)
    # A name that fits no mutant: they are made, and the tests run once to learn which of them reach what.
    run(options.folder, ["nothing.at.all"], options.jobs)
    names = sorted(verdicts(options.folder))
    if not names:
        print("mutmut made no mutants: see its output above", file=sys.stderr)
        return 1
    chosen = names
    if options.sample is not None and options.sample < len(names):
        chosen = sorted(random.Random(options.seed).sample(names, options.sample))
    run(options.folder, chosen, options.jobs)
    if all(status is NOT_RUN for status in verdicts(options.folder).values()):
        print("no mutant was tested: the tests do not pass without one, see mutmut's output above", file=sys.stderr)
        return 1
    return report(options.folder, chosen, len(names))


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


def verdicts(folder: Path) -> dict[str, int | None]:
    """Exit status of the tests by mutant: 0 survived, None not run, else killed (or timed out, which is as good)."""
    found: dict[str, int | None] = {}
    for meta in sorted((folder / "mutants").rglob("*.meta")):
        found |= json.loads(meta.read_text())["exit_code_by_key"]
    return found


def report(folder: Path, chosen: list[str], total: int) -> int:
    """The table, and the survivors."""
    statuses = verdicts(folder)
    killed, survived = Counter[str](), Counter[str]()
    survivors, untested = [], []
    for name in chosen:
        part = name.split(".x", 1)[0]
        if statuses[name] is NOT_RUN or statuses[name] in (5, 33):  # mutmut: no test reaches it
            untested.append(name)
            survived[part] += 1
        elif statuses[name] == SURVIVED:
            survivors.append(name)
            survived[part] += 1
        else:
            killed[part] += 1
    for part in sorted(killed | survived):
        n = killed[part] + survived[part]
        print(f"{part:45} {killed[part]:5} of {n:5}  {100 * killed[part] / n:5.1f} %")
    share = 100 * killed.total() / len(chosen)
    print(f"\n{killed.total()} of {len(chosen)} mutants killed ({share:.1f} %), of {total} that there are")
    print(f"{len(untested)} are reached by no test\n")
    for name in survivors + untested:
        shown = subprocess.run(
            [str(Path(sys.executable).parent / "mutmut"), "show", name],
            cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        changed = [line for line in shown.stdout.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
        print(f"{name}\n    " + "\n    ".join(changed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
