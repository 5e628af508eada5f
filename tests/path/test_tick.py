"""Time as an input: a tick is a host point of connections that wait for none by count, and moves all clocks."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import runs
import traffic
from rxtls.offload.policies import POLICIES
from rxtls.path.engines import why_not_compiled
from rxtls.path.receive import PathOptions, ReceivePath
from rxtls.wire.keylog import KeyLog

SECOND = 1_000_000_000
ENGINES = ["plain"] + ([] if why_not_compiled() else ["compiled"])
property_test = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])

# Where among the frames, and how long behind the frame before.
places = st.lists(
    st.tuples(st.floats(0, 1), st.sampled_from((0, 1000, SECOND // 50, 2 * SECOND, 11 * SECOND))), max_size=12
)


def ticks_of(played: traffic.Played, drawn: list[tuple[float, int]]) -> list[tuple[int, int]]:
    """As runs.run takes them."""
    found = []
    for share, later in sorted(drawn):
        place = round(share * len(played.frames))
        found.append((place, played.frames[max(0, place - 1)].time_ns + later if played.frames else later))
    return found


@pytest.mark.skipif(len(ENGINES) == 1, reason=f"no compiled engine: {why_not_compiled()}")
@pytest.mark.parametrize("policy", sorted(POLICIES))
@given(
    scenario=traffic.scenarios(traffic.ALL_KINDS, unseen=True),
    drawn=places,
    sizes=st.tuples(*[st.sampled_from((1, 7, 63, None))] * 2),
)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_both_engines_come_to_the_same_however_frames_are_divided(
    policy: str, scenario: traffic.Scenario, drawn: list[tuple[float, int]], sizes: tuple[int | None, int | None]
) -> None:
    played = traffic.play(scenario)
    ticks = ticks_of(played, drawn)
    plain, compiled = (
        runs.run(
            played.frames, played.keylog, "ideal", dict(scenario.settings), size,
            policy=policy, engine=engine, ticks=ticks,
        )
        for engine, size in zip(ENGINES, sizes, strict=True)
    )  # fmt: skip
    assert compiled.everything() == plain.everything()


@pytest.mark.parametrize("engine", ENGINES)
@given(scenario=traffic.scenarios(), drawn=places)
@property_test
def test_what_is_read_is_the_same_with_ticks_and_without(
    engine: str, scenario: traffic.Scenario, drawn: list[tuple[float, int]]
) -> None:
    played = traffic.play(scenario)
    calm = [(place, later) for place, later in drawn if later < SECOND]  # later ones may end what waits for a hole
    ran = runs.run(played.frames, played.keylog, engine=engine, ticks=ticks_of(played, calm))
    assert ran.read() == runs.run(played.frames, played.keylog, engine=engine).read()


def begun(engine: str, cut: int) -> tuple[ReceivePath, traffic.Played, int]:
    """A download of one flow, up to `cut` frames before its end, which has no host point by count."""
    scenario = traffic.Scenario(
        (traffic.Flow(kind=traffic.STREAM_KINDS[0], records=((900, 0),) * 5, seed=3),), "connectx-6dx", {}, 0
    )
    played = traffic.play(scenario)
    keys = KeyLog()
    keys.add(played.keylog.encode(), "simulated")
    path = ReceivePath(keys, PathOptions(engine=engine))
    stop = len(played.frames) - cut
    path.receive(list(enumerate(played.frames[:stop])))
    return path, played, played.frames[stop - 1].time_ns


@pytest.mark.parametrize("engine", ENGINES)
def test_what_came_is_there_at_the_next_tick(engine: str) -> None:
    path, _, now = begun(engine, 6)
    assert [record.type for record in path.tick(now + SECOND // 50)].count(23) > 0
    assert path.tick(now + SECOND // 25) == []


@pytest.mark.parametrize("engine", ENGINES)
def test_an_interface_that_falls_silent_ends_what_is_idle(engine: str) -> None:
    path, _, now = begun(engine, 6)
    idle = path.options.profile.idle * SECOND
    path.tick(now + idle)
    assert [flow.ended for flow in path.flows.values()] == [False]
    path.tick(now + idle + 1)
    assert [(flow.ended, flow.connection.end) for flow in path.flows.values()] == [(True, "idle")]
    path.finish()
    assert path.ledger.balance() == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_a_tick_is_of_its_own_interfaces(engine: str) -> None:
    """Another capture's clock may be minutes apart: its tick ends nothing here, and serves nobody."""
    path, _, now = begun(engine, 6)
    assert path.tick(now + 10**6 * SECOND, interfaces=(1, 2)) == []
    assert [flow.ended for flow in path.flows.values()] == [False]
    assert [record.type for record in path.tick(now + 1, interfaces=(0,))].count(23) > 0
    path.tick(now + 10**6 * SECOND, interfaces=(0,))
    assert [flow.connection.end for flow in path.flows.values()] == ["idle"]
