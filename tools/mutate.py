"""Mutation testing: how many small faults in the code the tests notice.

    python tools/mutate.py compiled --sample 400 --seed 0      kernels, run by Python; a sample drawn evenly
    python tools/mutate.py plain --sample 400 --seed 0         what kernels are held against, and all else of the path
    python tools/mutate.py compiled --only '*host/compiled/worker.py*'     all mutants of a file, or any by their names

mutants.py makes the mutants. First the area's tests run once without any, under coverage.py, to learn which of them
reach which line. Then each mutant gets a process of its own, in which its file has the change as it is imported (the
tree stays as it is), and the tests that reach its statement run until one fails, the quickest first. Tests that took
longer than --slow seconds without a mutant are left out.

A mutant that no test reaches has survived. So has one on which the tests ended in no way that is known here. One on
which they went on for ever was noticed, and so was one that ended the process, as an address that is wrong does; both
are counted apart.

The table says, by file and by folder, how many were killed; survivors are listed for somebody to judge
(docs/mutation.md has the last run and the judgement). Exit status: 1 where fewer than --bound % were noticed, 2 where
nothing could be measured.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import resource
import signal
import sys
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any, NamedTuple

from mutants import Mutant, mutants_of

ROOT = Path(__file__).parents[1]
KILLED, CRASHED, TIMED_OUT, SURVIVED, UNREACHED, UNKNOWN = (
    "killed", "crashed", "timed out", "survived", "reached by no test", "unknown",
)  # fmt: skip
NOTICED = (KILLED, CRASHED, TIMED_OUT)

# By the exit status of the tests, or the signal that ended them, as a negative number. pytest: 0 passed, 1 failed, 2
# could not be collected (a module that does not import any more), 3 failed inside, 5 has no test. SIGXCPU and SIGKILL
# stand behind the limits on a test's time.
FATES = {0: SURVIVED, 1: KILLED, 2: KILLED, 3: KILLED, 5: UNREACHED, -24: TIMED_OUT, -9: TIMED_OUT}
FATES |= dict.fromkeys((-4, -6, -7, -8, -11), CRASHED)  # SIGILL, SIGABRT, SIGBUS, SIGFPE, SIGSEGV


WITHOUT_END = 98  # of a process of which one test took many times as long as without the mutant
FATES[WITHOUT_END] = TIMED_OUT
NOT_FOUND = 4  # pytest: what all tests use does not import, or a test is not there. Which of them, _tried finds out
BROKEN = 99  # of a process in which the mutant could not be tried: nobody noticed anything


class Area(NamedTuple):
    """Code that is tested together: patterns of its files and of its tests' files."""

    files: tuple[str, ...]
    tests: tuple[str, ...]
    interpreted: bool  # kernels run under Python


AREAS = {
    "compiled": Area(
        ("src/rxtls/*/compiled/*.py", "src/rxtls/path/nic_and_host.py"),
        (
            "tests/*/test_compiled_*.py",
            "tests/capture/test_blocks.py",
            "tests/capture/test_frames.py",
            "tests/capture/test_headers.py",
            "tests/capture/test_order.py",
        ),
        True,
    ),
    # Tests of kernels as well: they hold them against this code.
    "plain": Area(
        (
            "src/rxtls/device/*.py",
            "src/rxtls/driver/*.py",
            "src/rxtls/handshake/*.py",
            "src/rxtls/host/*.py",
            "src/rxtls/host/socket/*.py",
            "src/rxtls/intake/*.py",
            "src/rxtls/offload/*.py",
            "src/rxtls/offload/policies/*.py",
            "src/rxtls/wire/*.py",
        ),
        (
            "tests/capture/*.py",
            "tests/device/*.py",
            "tests/driver/*.py",
            "tests/handshake/*.py",
            "tests/host/*.py",
            "tests/intake/*.py",
            "tests/offload/*.py",
            "tests/path/*.py",
            "tests/run/test_replay.py",
            "tests/run/test_summary.py",
            "tests/run/test_tapped.py",
            "tests/study/test_coverage.py",
            "tests/wire/*.py",
            "tests/test_api.py",
            "tests/test_bug_classes.py",
            "tests/test_copies.py",
            "tests/test_counters.py",
            "tests/test_cut_handshakes.py",
            "tests/test_equivalence.py",
            "tests/test_hold.py",
            "tests/test_holes.py",
            "tests/test_linux_rules.py",
            "tests/test_odd_handshakes.py",
            "tests/test_odd_keys.py",
            "tests/test_path_change.py",
            "tests/test_real_captures.py",
            "tests/test_rejoin.py",
            "tests/test_short_model.py",
            "tests/test_silent.py",
            "tests/test_states.py",
            "tests/test_traps.py",
            "tests/test_upstream_cases.py",
            "tests/test_workers.py",
        ),
        False,
    ),
}


class Reached(NamedTuple):
    """What the tests did without a mutant: seconds by test, and which tests ran a line."""

    seconds: dict[str, float]
    tests: dict[str, dict[str, list[str]]]  # by file and by line

    def by(self, mutant: Mutant, slow: float) -> list[str]:
        """The tests that run a mutant's statement, the quickest first."""
        lines = self.tests.get(mutant.file, {})
        first, last = mutant.lines
        found = {test for line in range(first, last + 1) for test in lines.get(str(line), ())}
        return sorted((test for test in found if self.seconds[test] <= slow), key=lambda test: self.seconds[test])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("area", choices=AREAS)
    parser.add_argument("--only", action="append", metavar="PATTERN", help="mutants whose name fits; may be repeated")
    parser.add_argument("--sample", type=int, help="how many of them; by default all")
    parser.add_argument("--seed", type=int, default=0, help="which sample")
    parser.add_argument("--bound", type=float, default=0, metavar="%", help="what has to be noticed")
    parser.add_argument("--slow", type=float, default=10, metavar="S", help="tests that take longer are left out")
    parser.add_argument("--minutes", type=float, help="stop after so long; what was not tried is not counted")
    parser.add_argument("--folder", type=Path, default=ROOT / "out" / "mutate", help="where it keeps what tests reach")
    options = parser.parse_args()
    area = AREAS[options.area]
    every = [mutant for file in _files(area.files) for mutant in mutants_of(ROOT, file)]
    named = [each for each in every if not options.only or any(fnmatchcase(each.name, one) for one in options.only)]
    if not named:
        print("no such mutants", file=sys.stderr)
        return 2
    chosen = random.Random(options.seed).sample(named, min(options.sample or len(named), len(named)))
    reached = _reached(options.area, options.folder, options.slow)
    if reached is None:
        print("the tests do not pass without a mutant", file=sys.stderr)
        return 2
    fates: dict[Mutant, str] = {}
    until = time.monotonic() + 60 * options.minutes if options.minutes else None
    for n, mutant in enumerate(chosen):
        if until is not None and time.monotonic() > until:
            break
        fates[mutant] = fate = _tried(area, mutant, reached, options.slow)
        print(f"{n + 1} of {len(chosen)}: {fate}: {mutant.name}", file=sys.stderr, flush=True)
    table, share = report((mutant.file, fate) for mutant, fate in fates.items())
    print(table)
    print(f"{len(fates)} of {len(named)} that there are, seed {options.seed}; {share:.1f} % noticed\n")
    for mutant, fate in sorted(fates.items()):
        if fate not in NOTICED:
            print(f"{fate}: {mutant.name}")
    return 1 if share < options.bound else 0


def _files(patterns: Iterable[str]) -> list[str]:
    found = {path.relative_to(ROOT).as_posix() for pattern in patterns for path in ROOT.glob(pattern)}
    return sorted(each for each in found if not each.endswith("__init__.py"))


def _reached(name: str, folder: Path, slow: float) -> Reached | None:
    """What the area's tests reach: as an earlier run kept it, if nothing has changed, or found out now."""
    area = AREAS[name]
    digest = hashlib.sha256()
    for path in sorted([*ROOT.glob("src/**/*.py"), *ROOT.glob("tests/**/*.py"), Path(__file__)]):
        digest.update(path.as_posix().encode() + path.read_bytes())
    kept = folder / f"{name}-{slow:g}-{digest.hexdigest()[:16]}.json"
    if not kept.exists():
        folder.mkdir(parents=True, exist_ok=True)
        if _in_child(lambda: _learn(area, kept, slow), area, quiet=False) != 0:
            return None
    return Reached(*json.loads(kept.read_text()))


def _learn(area: Area, kept: Path, slow: float) -> int:
    """Run the tests under coverage.py, each a context of its own, and none much longer than `slow` seconds."""
    import coverage
    import pytest

    measured = coverage.Coverage(data_file=None, source=[str(ROOT / "src" / "rxtls")], config_file=False)
    seconds: dict[str, float] = {}

    def too_slow(_signal: int, _frame: Any) -> None:
        pytest.skip("too slow for a mutant")

    class Plugin:
        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_protocol(self, item: Any) -> Any:
            measured.switch_context(item.nodeid)
            started = time.process_time()
            result = yield
            seconds[item.nodeid] = time.process_time() - started
            return result

        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_call(self) -> Any:
            signal.setitimer(signal.ITIMER_VIRTUAL, slow)
            try:
                return (yield)
            finally:
                signal.setitimer(signal.ITIMER_VIRTUAL, 0)

    signal.signal(signal.SIGVTALRM, too_slow)

    measured.start()
    status = pytest.main([*_WAYS, *_files(area.tests)], plugins=[Plugin()])
    measured.stop()
    data = measured.get_data()
    tests = {
        Path(file).relative_to(ROOT).as_posix(): {
            str(line): [each for each in contexts if each] for line, contexts in data.contexts_by_lineno(file).items()
        }
        for file in data.measured_files()
    }
    if status == 0:
        kept.write_text(json.dumps([seconds, tests]))
    return int(status)


_WAYS = (
    "-q",
    "-m",
    "not long",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:xdist",
    "-W",
    "ignore::pytest.PytestAssertRewriteWarning",
    "--rootdir",
    str(ROOT),
)


def _tried(area: Area, mutant: Mutant, reached: Reached, slow: float) -> str:
    """What becomes of a mutant."""
    tests = reached.by(mutant, slow)
    if not tests:
        return UNREACHED

    def run() -> int:
        import pytest

        class Plugin:
            @pytest.hookimpl(wrapper=True)
            def pytest_runtest_protocol(self, item: Any) -> Any:
                signal.setitimer(signal.ITIMER_VIRTUAL, 4 * reached.seconds.get(item.nodeid, 0) + 20)
                return (yield)

        os.environ["RXTLS_EXAMPLES"] = "first"
        signal.signal(signal.SIGVTALRM, lambda *_: os._exit(WITHOUT_END))
        _changed(mutant)
        return int(pytest.main([*_WAYS, "-x", *tests], plugins=[Plugin()]))

    status = _in_child(run, area, 4 * sum(reached.seconds[test] for test in tests) + 40)
    if status == NOT_FOUND and _in_child(lambda: _collected(tests), area) == 0:
        return KILLED
    return FATES.get(status, UNKNOWN)


def _collected(tests: list[str]) -> int:
    """Whether the tests are there without a mutant: then it was the mutant that kept them from being found."""
    import pytest

    return int(pytest.main([*_WAYS, "--collect-only", *tests]))


def _changed(mutant: Mutant) -> None:
    """From now on this process imports the mutant instead of its file."""
    place = str(ROOT / mutant.file)
    text = mutant.applied((ROOT / mutant.file).read_bytes())
    whole = SourceFileLoader.get_code

    def get_code(loader: SourceFileLoader, fullname: str) -> Any:
        if loader.path == place:
            return compile(text, place, "exec", dont_inherit=True)
        return whole(loader, fullname)

    SourceFileLoader.get_code = get_code  # type: ignore[method-assign, assignment]


def _in_child(work: Callable[[], int], area: Area, limit: float | None = None, quiet: bool = True) -> int:
    """The status of `work` in a process of its own, negative where a signal ended it. `limit`: of processor seconds."""
    sys.stdout.flush()
    child = os.fork()
    if not child:
        status = BROKEN
        try:
            os.chdir(ROOT)
            if area.interpreted:
                os.environ["RXTLS_KERNELS"] = "interpreted"
            if quiet:
                for number in (1, 2):
                    os.dup2(os.open(os.devnull, os.O_WRONLY), number)
                resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))  # a loop without end may take memory
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_CPU, (int(limit), int(limit) + 5))
            status = work()
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(status)
    began, ended = time.monotonic(), 0
    while not ended:
        ended, status = os.waitpid(child, os.WNOHANG if limit is not None else 0)
        if not ended:
            if limit is not None and time.monotonic() - began > 4 * limit + 60:
                os.kill(child, 9)  # it waits for what does not come
            time.sleep(0.02)
    return os.waitstatus_to_exitcode(status)


def report(fates: Iterable[tuple[str, str]]) -> tuple[str, float]:
    """(file, fate) of each mutant as a table by file and folder, and the share that was noticed, in %."""
    by_part: dict[str, Counter[str]] = defaultdict(Counter)
    for file, fate in fates:
        short = file.removeprefix("src/rxtls/")
        for part in (short, short.rpartition("/")[0] + "/", "all"):
            by_part[part][fate] += 1
    heads = (KILLED, CRASHED, TIMED_OUT, SURVIVED, UNREACHED, UNKNOWN)
    lines = [f"{'':36}" + "".join(f"{head:>{len(head) + 2}}" for head in heads) + "    noticed"]
    parts: Sequence[str] = sorted(set(by_part) - {"all"}, key=lambda part: (part.endswith("/"), part))
    for part in [*parts, "all"]:
        counted = by_part[part]
        cells = "".join(f"{counted[head]:{len(head) + 2}}" for head in heads)
        lines.append(f"{part:36}{cells}  {_share(counted):7.1f} %")
    return "\n".join(lines), _share(by_part["all"])


def _share(counted: Counter[str]) -> float:
    return 100 * sum(counted[fate] for fate in NOTICED) / counted.total() if counted else 0.0


if __name__ == "__main__":
    import hypothesis  # noqa: F401 - what every child needs is imported once, before it is born
    import numpy  # noqa: F401
    import pytest  # noqa: F401

    sys.exit(main())
