"""docs/states.md is drawn from the tables; and the driver's resynchronisation keeps to its table, state by state."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rxtls.offload.commands import Auth, Confirm, Progress, Query, Report, Tracker
from rxtls.offload.policies.freebsd_table import RESYNC, FreebsdTable, Resync, ResyncEvent

ROOT = Path(__file__).parents[1]


def test_the_document_is_what_the_tables_draw() -> None:
    assert subprocess.run([sys.executable, str(ROOT / "tools" / "states.py"), "--check"], check=False).returncode == 0


class Driver:
    """The policy, and the events of its table made of what it really hears."""

    def __init__(self) -> None:
        self.policy = FreebsdTable()
        self.place = 1000
        self.number = 0

    def fire(self, event: ResyncEvent) -> list[object]:
        match event:
            case ResyncEvent.RECORD:
                self.place, self.number = self.place + 100, self.number + 1
                return list(self.policy.report(1, Report(self.place, 100, self.number)))
            case ResyncEvent.BACK:
                return list(self.policy.report(1, Report(self.place + 100, 0, self.number)))
            case ResyncEvent.HIT:
                return list(self.policy.answer(self.snapshot(self.place)))
            case ResyncEvent.MISS:
                return list(self.policy.answer(self.snapshot(self.place + 5)))

    def snapshot(self, anchor: int) -> Progress:
        return Progress(1, 0, anchor, Tracker.TRACKING, Auth.NO_OFFLOAD, 0)


WAYS: dict[Resync, tuple[ResyncEvent, ...]] = {
    Resync.IDLE: (),
    Resync.OPEN: (ResyncEvent.RECORD, ResyncEvent.MISS),
    Resync.ASKED: (ResyncEvent.RECORD,),
    Resync.LATE: (ResyncEvent.RECORD, ResyncEvent.BACK),
}


@pytest.mark.parametrize("event", ResyncEvent)
@pytest.mark.parametrize("state", Resync)
def test_every_state_with_every_event(state: Resync, event: ResyncEvent) -> None:
    driver = Driver()
    for step in WAYS[state]:
        driver.fire(step)
    assert driver.policy.state is state
    posted = driver.fire(event)
    if event in RESYNC[state]:
        assert driver.policy.state is RESYNC[state][event]
    else:
        # There is no query out that could be answered; or nothing in the table that could be hit. An answer all the
        # same changes no record of it, and ends the query at most.
        assert driver.policy.state in (state, Resync.IDLE)
        assert not posted or state is Resync.OPEN
    asks = event is ResyncEvent.RECORD and state in (Resync.IDLE, Resync.OPEN)
    assert [type(each) for each in posted if isinstance(each, Query)] == [Query] * asks
    assert any(isinstance(each, Confirm) for each in posted) <= (event is ResyncEvent.HIT)


def test_the_table_is_closed_and_every_state_is_reached() -> None:
    assert set(RESYNC) == set(Resync)
    for state, way in WAYS.items():
        here = Resync.IDLE
        for step in way:
            here = RESYNC[here][step]
        assert here is state
