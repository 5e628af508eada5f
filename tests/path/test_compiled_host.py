"""Which directions go to the compiled host, when they come back, and when their host points may be passed over."""

from __future__ import annotations

from itertools import pairwise

import pytest

from replays import Talked, download, payload
from rxtls.crypto.suites import SUITES, Version
from rxtls.device.profiles import profile
from rxtls.host.flow import Flow
from rxtls.offload.mbuf import Mbuf
from rxtls.path.compiled_host import ALWAYS, NEVER, WHILE_CLEAN
from rxtls.path.engines import why_not_compiled
from rxtls.path.receive import PathOptions, ReceivePath
from rxtls.simulation.link import Impairment
from rxtls.simulation.synth import Session
from rxtls.wire.keylog import KeyLog

pytestmark = pytest.mark.skipif(why_not_compiled() is not None, reason=f"no compiled engine: {why_not_compiled()}")

DOWN = 1  # the receive flow of what the server sends in the only connection


class Watched:
    """A path that notes the modes in which its NIC may pass over host points."""

    def __init__(self, talked: Talked, profile_name: str = "connectx-6dx", **settings: str) -> None:
        keys = KeyLog()
        keys.add(talked.keylog.encode(), "simulated")
        self.path = ReceivePath(keys, PathOptions(profile=profile(profile_name, settings), engine="compiled"))
        self.frames = list(enumerate(talked.frames))
        self.modes: list[tuple[int, int]] = []
        nic = self.path.front.nic
        quiet = nic.quiet  # type: ignore[attr-defined]

        def noted(flow: int, mode: int) -> None:
            self.modes.append((flow, mode))
            quiet(flow, mode)

        nic.quiet = noted  # type: ignore[attr-defined]

    def run(self) -> ReceivePath:
        self.path.receive(self.frames)
        self.path.finish()
        assert self.path.ledger.balance() == 0
        return self.path

    def steady(self) -> bool:
        assert self.path._steady is not None
        return DOWN in self.path._steady


def test_a_clean_download_is_passed_over_until_its_end() -> None:
    watched = Watched(download(1, (16384,) * 40))
    watched.run()
    assert [mode for flow, mode in watched.modes if flow == DOWN] == [WHILE_CLEAN, NEVER]
    assert not watched.steady()


def test_software_for_good_is_always_passed_over() -> None:
    watched = Watched(download(1, (16384,) * 40), "none")
    watched.run()
    assert [mode for flow, mode in watched.modes if flow == DOWN] == [ALWAYS, NEVER]


def test_nothing_is_passed_over_between_a_loss_and_the_report_that_sync_is_back() -> None:
    watched = Watched(download(0, (16384,) * 60, down=Impairment(loss=0.01)))
    path = watched.run()
    modes = [mode for flow, mode in watched.modes if flow == DOWN]
    assert path.flows[0].directions[DOWN].tally.lost
    assert modes.count(WHILE_CLEAN) > 1
    assert all(one != other for one, other in pairwise(modes)), "told only when it changes"


def test_a_host_point_is_told_only_if_something_came_of_it() -> None:
    """While a hole is open bytes are held, and nothing comes out: of most host points nobody hears."""
    watched = Watched(download(1, (16384,) * 60, down=Impairment(loss=0.01)), budget="8")
    steady = watched.path._steady
    assert steady is not None
    told: list[int] = []
    serve = steady.serve

    def noted(flow: Flow, side: int, point: int) -> list[tuple[int, list[Mbuf]]]:
        before = len(steady.rows)
        left = serve(flow, side, point)
        told.append(len(steady.rows) - before)
        return left

    steady.serve = noted  # type: ignore[method-assign]
    path = watched.run()
    assert path.flows[0].directions[DOWN].tally.lost
    packets = sum(1 for frame in watched.frames if len(payload(frame[1])) > 1000)
    assert 0 < len(told) < packets // 8 // 2


def test_the_plain_host_has_the_direction_before_and_after() -> None:
    watched = Watched(download(1, (16384,) * 40))
    states = []
    for frame in watched.frames:
        watched.path.receive([frame])
        states.append(watched.steady())
    first = states.index(True)
    last = len(states) - states[::-1].index(True)
    assert 0 < first < last < len(states)
    assert all(states[first:last]), "nothing but the FIN brings it back"


def test_keys_that_do_not_stream_stay_with_the_plain_host() -> None:
    watched = Watched(download(1, (4000,) * 60, session=Session(SUITES[0xC027], Version.TLS12)))
    path = watched.run()
    assert watched.modes == []
    assert path.flows[0].directions[DOWN].mode == "sw"
