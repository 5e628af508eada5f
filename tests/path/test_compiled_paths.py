"""Many small runs of many kinds through both engines: whatever a kernel does otherwise than it should, somebody sees.

The generators of the equivalence property make the traffic. Tests of one part say what is wrong where; these notice
that something is: all that a run came to, what it shows of its inside, in order of completion, with ticks and watched.
"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

import traffic
from runs import told
from rxtls.device.profiles import profile
from rxtls.driver.trace import Watch
from rxtls.offload.policies import POLICIES
from rxtls.path.engines import why_not_compiled
from rxtls.path.receive import PathOptions, ReceivePath
from rxtls.path.records import Records
from rxtls.wire.keylog import KeyLog

pytestmark = pytest.mark.skipif(why_not_compiled() is not None, reason=f"no compiled engine: {why_not_compiled()}")


class Came:
    """One run: records as they came out, and all that it showed."""

    def __init__(self, played: traffic.Played, options: PathOptions, sizes: list[int], ticks: list[int]) -> None:
        keys = KeyLog()
        keys.add(played.keylog.encode(), "simulated")
        self.path = ReceivePath(keys, options)
        self.seen: list[object] = []
        frames, at = list(enumerate(played.frames)), 0
        for size, later in zip(sizes, ticks, strict=True):
            self._take(self.path.take(frames[at : at + size]))
            at += size
            if later >= 0 and at <= len(frames):
                self._take(self.path.take_tick(frames[at - 1][1].time_ns + later))
        self._take(self.path.take(frames[at:]))
        self._take(self.path.take_last())

    def _take(self, records: Records) -> None:
        trace = records.trace
        self.seen += list(records)
        if trace is not None:
            events = sorted((event.flow, str(event)) for event in trace.events)
            self.seen += [events, trace.segments.tolist(), trace.frames.tolist()]

    def everything(self) -> list[object]:
        path = self.path
        ledger = path.ledger
        assert ledger.balance() == 0
        return [self.seen, ledger.entered, ledger.fates, path.stats, path.most_held, *map(told, path.flows.values())]


@pytest.mark.parametrize("number", range(40))
def test_a_few_of_everything(number: int) -> None:
    dice = Random(number)
    policy = dice.choice(sorted(POLICIES))
    options: dict[str, Any] = {
        "policy": policy,
        "by_completion": dice.random() < 0.5,
        "watch": Watch.FRAMES if dice.random() < 0.3 else Watch.NOTHING,
        "digest": dice.random() < 0.3,
        "assume_received": dice.random() < 0.1,
        "lro_limit": dice.choice((65535, 65535, 3000, 1)),
    }

    @seed(number)
    @given(traffic.scenarios(traffic.ALL_KINDS, most_flows=2, unseen=True))
    @settings(
        max_examples=20, database=None, deadline=None, phases=(Phase.generate,), suppress_health_check=list(HealthCheck)
    )
    def same(scenario: traffic.Scenario) -> None:
        played = traffic.play(scenario)
        name = scenario.profile if policy == "freebsd-table" else "ideal"
        nic = profile(name, dict(scenario.settings))
        calls = dice.randrange(1, 6)
        sizes = [dice.choice((1, 5, 30, 200)) for _ in range(calls)]
        ticks = [dice.choice((-1, -1, 0, 20_000_000, 11_000_000_000)) for _ in range(calls)]
        plain, compiled = (
            Came(
                played,
                PathOptions(profile=nic, engine=engine, **options),
                sizes,
                ticks,
            )
            for engine in ("plain", "compiled")
        )
        assert compiled.everything() == plain.everything()

    same()
