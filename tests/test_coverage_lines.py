"""tools/coverage_lines.py: kernels have lines that ran, and the table adds up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

from coverage_lines import ROOT, File, spans, table


def test_the_table_adds_up_by_folder_and_by_kind() -> None:
    files = [File("a.py", 10, []), File("wire/tls.py", 30, [1, 2, 3]), File("wire/compiled/scan.py", 20, [*range(20)])]
    rows = {line[:36].strip(): line[36:].split() for line in table(files).splitlines()[1:]}
    assert rows == {
        "./": ["10", "100.0", "%"],
        "wire/": ["30", "90.0", "%"],
        "wire/compiled/": ["20", "0.0", "%"],
        "kernels' folders": ["20", "0.0", "%"],
        "all others": ["40", "92.5", "%"],
        "all": ["60", "61.7", "%"],
    }
    assert "wire/tls.py" in table(files, each=True)
    assert spans([1, 2, 3, 5, 8, 9]) == "1-3, 5, 8-9"
    assert spans([]) == ""


def test_lines_of_a_kernel_are_counted_where_its_tests_run() -> None:
    command = [sys.executable, "tools/coverage_lines.py", "--files", "--tests", "tests/wire/test_compiled_scan.py"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    rows = {line[:36].strip(): line[36:].split() for line in ran.stdout.splitlines()}
    assert float(rows["wire/compiled/scan.py"][1]) > 90, ran.stdout
    assert float(rows["host/compiled/worker.py"][1]) == 0
