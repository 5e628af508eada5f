"""What holds for all tests.

Properties are tried on the same examples each time, so that a red run can be repeated; RXTLS_EXPLORE=1 tries new ones.
RXTLS_EXAMPLES=first looks for no smaller example of a failure, which tools/mutate.py has no use for.
In CI nothing may skip: what a test needs and lacks is then an error of the machine, not a reason to be silent.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import Phase, settings

import dialog
from dialog import Steered
from rxtls.intake.steer import SteerOptions
from rxtls.wire.captured import Frame

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None)
settings.register_profile("first", derandomize=True, deadline=None, phases=[Phase.explicit, Phase.generate])
settings.load_profile("explore" if os.environ.get("RXTLS_EXPLORE") else os.environ.get("RXTLS_EXAMPLES", "repeatable"))


@pytest.fixture(scope="module", autouse=True)
def both_steers(request: pytest.FixtureRequest) -> Iterator[None]:
    """What tests of the plain stage say holds for the compiled one: where they steer, both do, and are compared."""
    if getattr(request.module, "steer", None) is not dialog.steer:
        yield
        return
    from steer_pair import compare

    def steer(
        frames: Iterable[Frame], options: SteerOptions | None = None, sizes: Iterable[int] = (), finish: bool = True
    ) -> Steered:
        frames, sizes = list(frames), list(sizes)
        compare(frames, options, sizes)
        return dialog.steer(frames, options, sizes, finish)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(request.module, "steer", steer)
        yield


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """With RXTLS_NO_SKIP set, name what skipped as failures of the run."""
    skipped = terminalreporter.stats.get("skipped", [])
    if os.environ.get("RXTLS_NO_SKIP") and skipped:
        terminalreporter.write_line(f"{len(skipped)} tests skipped, and RXTLS_NO_SKIP is set", red=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With RXTLS_NO_SKIP set, a run in which a test skipped has failed."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("RXTLS_NO_SKIP") and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
