"""tools/outputs.py: the same lines for the same tree, other lines where something else is written."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
NAME = "reorder-tls12-aes128cbc-sha256"


def lines(folder: Path, *given: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "outputs.py"), str(folder), *given],
        capture_output=True, text=True, check=False, cwd=folder.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_tree_writes_the_same_twice_and_with_either_engine_and_other_things_without_keys(tmp_path: Path) -> None:
    folder = tmp_path / "captures"
    folder.mkdir()
    for ending in (".pcap", ".keys"):
        shutil.copy(ROOT / "examples" / (NAME + ending), folder)
    before = lines(folder)
    assert len(before) == 6
    assert before[0].endswith("exit status 0")
    assert not any(line.endswith(" -") for line in before)  # everything was written
    assert lines(folder, "--engine", "plain") == before
    (folder / f"{NAME}.keys").unlink()
    after = lines(folder)
    assert [line for line in after if line in before] == before[:1]


def test_no_capture_is_an_exit_status(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, str(ROOT / "tools" / "outputs.py"), str(tmp_path)], check=False)
    assert done.returncode == 2
