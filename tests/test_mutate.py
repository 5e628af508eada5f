"""tools/mutate.py counts: what tests did not fail on is never taken for noticed. mutants.py changes what it says."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

from mutants import mutants_of
from mutate import AREAS, BROKEN, CRASHED, FATES, KILLED, ROOT, SURVIVED, TIMED_OUT, UNREACHED, Reached, _files, report

SOURCE = '''"""A file."""

LIMIT = 3


def first(data: "Row", at: int = 0) -> int:
    """What is here stays."""
    if at < 4 and not data[at]:
        data[1] = at + 1  # 1 + 1
        at -= 2
    while True:
        break
    put(at)
    return at if "x" in "xy" else at
'''

CHANGES = [  # the statement's line, the mutant's, what was there, what is there then
    (8, 8, "and", "or"),
    (8, 8, "<", "<="),
    (8, 8, "not data[at]", "data[at]"),
    (8, 8, "4", "5"),
    (9, 9, "data[1] = at + 1", "pass"),
    (9, 9, "1", "2"),
    (9, 9, "+", "-"),
    (9, 9, "1", "2"),
    (10, 10, "-", "+"),
    (10, 10, "2", "3"),
    (11, 11, "True", "False"),
    (12, 12, "break", "continue"),
    (13, 13, "put(at)", "pass"),
    (14, 14, "in", "not in"),
    (14, 14, '"x"', "'XXx'"),
    (14, 14, '"xy"', "'XXxy'"),
]


def test_each_change_is_made_inside_functions_and_at_its_place(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(SOURCE)
    found = mutants_of(tmp_path, "a.py")
    assert sorted((*each.lines, each.was, each.text) for each in found) == sorted(CHANGES)
    for each in found:
        changed = each.applied(SOURCE.encode()).decode()
        start, end = each.place
        assert SOURCE[start:end] == each.was
        assert changed == SOURCE[:start] + each.text + SOURCE[end:]
        assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(SOURCE))


def test_only_failures_crashes_and_tests_without_end_are_noticed() -> None:
    # pytest's statuses; signals as negative numbers; 4 is looked at more closely, 7 is nobody's.
    ended = [(1, KILLED), (2, KILLED), (0, SURVIVED), (5, UNREACHED), (-24, TIMED_OUT), (-11, CRASHED)]
    assert [FATES[status] for status, _ in ended] == [fate for _, fate in ended]
    assert not {4, 7, -2, -15, BROKEN} & set(FATES)
    table, share = report(
        [
            ("src/rxtls/host/flow.py", KILLED),
            ("src/rxtls/host/flow.py", SURVIVED),
            ("src/rxtls/host/recovery.py", UNREACHED),
            ("src/rxtls/host/compiled/worker.py", CRASHED),
            ("src/rxtls/host/compiled/worker.py", TIMED_OUT),
        ]
    )
    assert share == 60
    rows = {line.split()[0]: line.split()[1:] for line in table.splitlines()[1:]}
    assert rows["host/"] == ["1", "0", "0", "1", "1", "0", "33.3", "%"]
    assert rows["host/flow.py"] == ["1", "0", "0", "1", "0", "0", "50.0", "%"]
    assert rows["host/compiled/"] == ["0", "1", "1", "0", "0", "0", "100.0", "%"]
    assert list(rows)[-1] == "all"


def test_the_tests_that_reach_a_statement_come_quickest_first_and_slow_ones_not(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(SOURCE)
    (mutant,) = (each for each in mutants_of(tmp_path, "a.py") if each.lines == (8, 8) and each.was == "and")
    reached = Reached(
        {"late": 3.0, "slow": 11.0, "quick": 1.0, "elsewhere": 1.0},
        {"a.py": {"8": ["late", "slow", "quick"], "9": ["elsewhere"]}},
    )
    assert reached.by(mutant, 10) == ["quick", "late"]
    assert reached.by(mutant._replace(file="b.py"), 10) == []


@pytest.mark.parametrize("name", AREAS)
def test_areas_have_files_tests_and_mutants_that_parse(name: str) -> None:
    area = AREAS[name]
    files = _files(area.files)
    assert all(("/compiled/" in file or "\n@kernel" in (ROOT / file).read_text()) is area.interpreted for file in files)
    tests = set(_files(area.tests))
    assert tests
    assert not area.interpreted or tests >= set(_files(["tests/*/test_compiled_*.py"]))
    for file in files[::8]:
        source = (ROOT / file).read_bytes()
        for mutant in mutants_of(ROOT, file)[::25]:
            ast.parse(mutant.applied(source))
