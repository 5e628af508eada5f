"""What holds for all tests.

Properties are tried on the same examples each time, so that a red run can be repeated; RXTLS_EXPLORE=1 tries new ones.
In CI nothing may skip: what a test needs and lacks is then an error of the machine, not a reason to be silent.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None)
settings.load_profile("explore" if os.environ.get("RXTLS_EXPLORE") else "repeatable")


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
