"""Each bug of tests/support/seeds.py, made in a copy of our source: the test that is named after it has to notice."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from seeds import CANNOT, SEEDS, Seed

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
IDS = [seed.name for seed in SEEDS]


@pytest.mark.parametrize("seed", SEEDS, ids=IDS)
def test_a_seed_is_a_change_of_code_that_is_there(seed: Seed) -> None:
    assert (SOURCE / "rxtls" / seed.file).read_text().count(seed.old) == 1
    assert seed.old != seed.new


def test_every_class_of_linux_is_seeded_or_cannot_be() -> None:
    named = {seed.name for seed in SEEDS} | set(CANNOT)
    assert {f"class {n}" for n in range(1, 36)} <= named
    assert len({seed.name for seed in SEEDS}) == len(SEEDS)
    tests = (ROOT / "tests" / "test_bug_classes.py").read_text()
    for n in range(1, 36):
        assert (f"def test_class_{n}_" in tests) or f"class {n}" in CANNOT


def test_every_trap_has_a_test_named_after_it() -> None:
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for n in range(1, 37):
        assert re.search(rf"def test_trap_{n}_|_and_{n}_", tests), n


def test_every_trap_is_seeded_or_cannot_be() -> None:
    named = {seed.name for seed in SEEDS} | set(CANNOT)
    assert {f"trap {n}" for n in range(1, 37)} <= named


@pytest.fixture(scope="session")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Source and tests, to be changed at will."""
    folder = tmp_path_factory.mktemp("seeded")
    for name in ("src", "tests", "docs", "examples"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "real"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def outcome(folder: Path, test: str) -> subprocess.CompletedProcess[str]:
    """The named test in the copy, on the plain engine."""
    nodes, _, expression = test.partition(" -k ")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", nodes,
         "-k", f"({expression}) and not compiled", "--override-ini", "addopts=--import-mode=importlib"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder / "src"), "NUMBA_DISABLE_JIT": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("seed", SEEDS, ids=IDS)
def test_a_seeded_bug_is_noticed(copy: Path, seed: Seed) -> None:
    changed = copy / "src" / "rxtls" / seed.file
    before = changed.read_text()
    changed.write_text(before.replace(seed.old, seed.new))
    try:
        done = outcome(copy, seed.test)
    finally:
        changed.write_text(before)
    assert done.returncode == 1, f"{seed.test} did not notice:\n{done.stdout[-2000:]}\n{done.stderr[-500:]}"


@pytest.mark.long
def test_without_a_seed_the_same_tests_pass(copy: Path) -> None:
    for test in sorted(
        {seed.test for seed in SEEDS if "class" not in seed.name} | {"tests/test_bug_classes.py -k class"}
    ):
        done = outcome(copy, test)
        assert done.returncode == 0, f"{test}:\n{done.stdout[-2000:]}"
