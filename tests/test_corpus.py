"""tools/corpus.py and tools/fuzz_structures.py: what they find they say, and what is well ends with 0."""

from __future__ import annotations

import gzip
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hostile_child import bounded
from hostile_structures import SHAPES, make

ROOT = Path(__file__).parents[1]
REAL = ROOT / "tests" / "data" / "real"


def tool(name: str, *arguments: str | int | Path) -> tuple[int, str]:
    given = [sys.executable, str(ROOT / "tools" / f"{name}.py"), *map(str, arguments)]
    done = subprocess.run(given, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Captures with keys beside them, compressed, below folders; one without; a file that is none; a damaged one."""
    below = tmp_path / "some" / "where"
    below.mkdir(parents=True)
    for name in ("no-middlebox-mode", "record-padding"):
        shutil.copy(REAL / f"{name}.pcap", below)
    shutil.copy(REAL / "record-padding.keys", below / "record-padding.log")
    (below / "again.pcap.gz").write_bytes(gzip.compress((REAL / "record-padding.pcap").read_bytes()))
    shutil.copy(REAL / "record-padding.keys", below / "again.keys")
    (tmp_path / "cut.dat").write_bytes((REAL / "record-padding.pcap").read_bytes()[:-5])
    (tmp_path / "notes.txt").write_text("no capture")
    return tmp_path


def test_a_corpus_is_read_with_the_keys_beside_it(folder: Path) -> None:
    status, out = tool("corpus", folder, "--all")
    lines = {line.partition(":")[0].rpartition("/")[2]: line for line in out.splitlines() if line.startswith("/")}
    assert status == 0
    assert {*lines} == {"no-middlebox-mode.pcap", "record-padding.pcap", "again.pcap.gz", "cut.dat"}
    assert "8 records opened, exit 0: offloaded 2" in lines["record-padding.pcap"]
    assert "8 records opened, exit 0: offloaded 2" in lines["again.pcap.gz"]
    assert "exit 0: no_keys 2" in lines["no-middlebox-mode.pcap"]
    assert "exit 2" in lines["cut.dat"]
    assert "4 captures, 2 with keys" in out
    assert out.endswith("findings: 0 captures\n")


def test_what_costs_more_than_its_budget_is_found(folder: Path) -> None:
    status, out = tool("corpus", folder / "some", "--engine", "plain", "--memory", 1)
    assert status == 1
    assert out.count("    FOUND plain: ") == 3
    assert tool("corpus", folder / "notes.txt") == (2, "no capture was found\n")


def _breaks(how: str) -> int:
    if how == "raises":
        raise ValueError("of all things")
    if how == "spins":
        begun = time.process_time()
        while time.process_time() - begun < 30:
            pass
    if how == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    return len(bytearray(100 << 20)) if how == "swells" else 7


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # of forks beside threads, which others started
def test_a_child_says_how_it_ended() -> None:
    assert bounded(_breaks, "well", seconds=5)[:2] == (7, None)
    assert bounded(_breaks, "raises", seconds=5).fault == "ValueError at outside: of all things"
    assert bounded(_breaks, "dies", seconds=5).fault == "SIGKILL"
    spun = bounded(_breaks, "spins", seconds=0.1)
    assert spun.fault == "killed: too much processor time"
    assert spun.seconds > 0.5
    least = bounded(_breaks, "well", seconds=5).memory
    assert bounded(_breaks, "swells", seconds=5).memory > least + (
        50 << 20
    )  # of 100: what a child shares with its parent is counted too


def test_cases_of_structure_depend_on_seed_and_number_alone() -> None:
    cases = [make(5, number) for number in range(len(SHAPES))]
    assert [case.shape for case in cases] == list(SHAPES)
    assert cases == [make(5, number) for number in range(len(SHAPES))]
    assert {make(5, number).n for number in range(40)} != {make(6, number).n for number in range(40)}


def test_hostile_structures() -> None:
    """A few of each; `make fuzz` tries thousands."""
    status, out = tool("fuzz_structures", "--count", len(SHAPES), "--seed", 4, "--largest", 150)
    assert (status, out.splitlines()[-1]) == (0, "findings: 0 cases (bounds: 20 s, 1024 MiB)"), out


@pytest.mark.long
def test_hostile_structures_at_length() -> None:
    status, out = tool("fuzz_structures", "--count", 300, "--seed", 5, "--jobs", 2)
    assert (status, out.splitlines()[-1]) == (0, "findings: 0 cases (bounds: 20 s, 1024 MiB)"), out
