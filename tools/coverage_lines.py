"""Which lines of src the tests run, kernels included, as a table by folder and file.

    python tools/coverage_lines.py                 every folder
    python tools/coverage_lines.py --files         every file, too
    python tools/coverage_lines.py --missing host  the lines that no test ran, of files whose path has this in it
    python tools/coverage_lines.py --tests tests/wire         only what these tests run

Two runs under coverage.py are added up: the fast tests as always, and those of kernels with the kernels run by Python
(RXTLS_KERNELS=interpreted); compiled code has no lines. Processes that tests start are not measured: the command
line's share of lines is higher than the table says. Exit status: that of the tests, where they fail.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
KERNELS = "compiled/"
WAYS = ("-p", "no:cacheprovider", "-m", "not long", "-W", "ignore::coverage.exceptions.CoverageWarning")


class File(NamedTuple):
    """A file of src, from src/rxtls: its lines of code, and those that no test ran."""

    path: str
    lines: int
    missing: list[int]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", action="store_true", help="the files of each folder")
    parser.add_argument("--missing", metavar="PART", help="lines that no test ran")
    parser.add_argument("--tests", nargs="+", default=["tests"], help="files or folders of tests")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        status = _measure(Path(folder), _tests(options.tests))
        files = _files(Path(folder))
    print(table(files, options.files))
    for file in files:
        if options.missing and options.missing in file.path and file.missing:
            print(f"{file.path}: {spans(file.missing)}")
    return status


def _tests(given: Iterable[str]) -> list[Path]:
    paths = (ROOT / each for each in given)
    return sorted(test for path in paths for test in ([path] if path.is_file() else path.rglob("test_*.py")))


def _measure(folder: Path, tests: list[Path]) -> int:
    """Run the tests both ways, each into a data file of its own, and put these together."""
    kernels = [test for test in tests if test.name.startswith("test_compiled_")]
    others = [test for test in tests if test not in kernels]
    worst = 0
    for name, chosen, kind in (("others", others, {}), ("kernels", kernels, {"RXTLS_KERNELS": "interpreted"})):
        if chosen:
            measured = ["run", "--source", "src/rxtls", "--data-file", str(folder / f"part.{name}")]
            worst = max(worst, _coverage([*measured, "-m", "pytest", *WAYS, *map(str, chosen)], kind))
    _coverage(["combine", "-q", "--data-file", str(folder / "all"), *map(str, folder.glob("part.*"))])
    _coverage(["json", "-q", "--data-file", str(folder / "all"), "-o", str(folder / "all.json")])
    return worst


def _coverage(arguments: list[str], environment: dict[str, str] | None = None) -> int:
    """coverage.py, with no settings but these."""
    command = [sys.executable, "-m", "coverage", arguments[0], "--rcfile=", *arguments[1:]]
    return subprocess.run(command, cwd=ROOT, env=os.environ | (environment or {}), check=False).returncode


def _files(folder: Path) -> list[File]:
    read = json.loads((folder / "all.json").read_text())["files"]
    return [
        File(path.removeprefix("src/rxtls/"), found["summary"]["num_statements"], found["missing_lines"])
        for path, found in sorted(read.items())
    ]


def table(files: Iterable[File], each: bool = False) -> str:
    """Lines, how many ran, and their share: by folder, kernels, the others and all; with `each`, by file too."""
    lines: dict[str, int] = defaultdict(int)
    missing: dict[str, int] = defaultdict(int)
    for file in files:
        folder = file.path.rpartition("/")[0] + "/"
        wing = "kernels' folders" if KERNELS in folder else "all others"
        for part in (*([file.path] if each else ()), "./" if folder == "/" else folder, wing, "all"):
            lines[part] += file.lines
            missing[part] += len(file.missing)
    last = ["kernels' folders", "all others", "all"]
    rows = [f"{'':36}  lines    run"]
    for part in sorted(set(lines) - set(last), key=lambda part: (part.rpartition("/")[0], part)) + last:
        if lines[part]:
            share = 100 * (lines[part] - missing[part]) / lines[part]
            rows.append(f"{part:36}{lines[part]:7}{share:6.1f} %")
    return "\n".join(rows)


def spans(numbers: list[int]) -> str:
    """Line numbers in order, those in a row as one span."""
    found: list[list[int]] = []
    for number in numbers:
        if found and found[-1][1] == number - 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in found)


if __name__ == "__main__":
    sys.exit(main())
