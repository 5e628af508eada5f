"""The explorer: nothing is found in the shipped code, every seeded fault is, and what it does is the same each time.

Small explorations here; `make long` has larger ones, and `rxtls explore` those of a million states.
"""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from rxtls.cli.app import app
from rxtls.crypto.keys import Keys
from rxtls.offload.policies import POLICIES
from rxtls.seq import distance
from rxtls.study.explore.cipher import toy_cipher
from rxtls.study.explore.faults import FAULTS, Fault
from rxtls.study.explore.freeze import freeze, thaw
from rxtls.study.explore.scenario import Scenario, scenarios
from rxtls.study.explore.search import explore
from rxtls.study.explore.world import World

SCENARIOS = {scenario.name: scenario for scenario in scenarios()}
QUICK, LONG = 150, 12_000  # distinct states of one exploration
FAST, SLOW = 12_000, 60_000  # states in which a fault is found, and a rare one in `make long`


def test_the_bounds_are_those_that_were_asked_for() -> None:
    for scenario in scenarios():
        explored = [sent for sent in scenario.records if sent.start < scenario.segments[-1][1]]
        assert (len(explored), len(scenario.segments)) == (5, 8)
        assert distance(scenario.seq(0), scenario.seq(scenario.segments[-1][1])) > 0
        assert scenario.seq(0) > scenario.seq(scenario.segments[-1][1])  # the wrap lies in between
        assert b"\x17\x03\x03" in scenario.wire[explored[2].start + 13 : explored[3].end]
    full = SCENARIOS["tls13"].bounds
    assert (full.lost, full.reordered, full.duplicated, full.lost_answers, full.reanchored) == (2, 2, 1, 1, 1)


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("policy", sorted(POLICIES))
@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_nothing_is_found_in_the_shipped_code(name: str, policy: str, scaled: bool) -> None:
    result = explore(SCENARIOS[name], policy, QUICK, scaled=scaled)
    assert result.found == []
    assert result.distinct >= QUICK


@pytest.mark.long
@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_nothing_is_found_in_the_shipped_code_at_length(policy: str) -> None:
    for scenario in scenarios():
        result = explore(scenario, policy, LONG // 4, seed=1)
        assert result.found == []
        assert result.ends > 0


def test_there_are_faults_of_every_part() -> None:
    assert len(FAULTS) >= 20
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    assert {fault.policy for fault in FAULTS} == POLICIES.keys() - {"none"}


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if not fault.rare], ids=lambda fault: fault.name)
def test_a_seeded_fault_is_found(fault: Fault) -> None:
    result = explore(SCENARIOS[fault.scenario], fault.policy, FAST, fault=fault.places)
    assert result.found, fault.name


@pytest.mark.long
@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.rare], ids=lambda fault: fault.name)
def test_a_seeded_fault_is_found_at_length(fault: Fault) -> None:
    result = explore(SCENARIOS[fault.scenario], fault.policy, SLOW, fault=fault.places)
    assert result.found, fault.name


def test_the_same_seed_gives_the_same_walk() -> None:
    one, two = (explore(SCENARIOS["tls13"], "linux-async", 100, seed=4) for _ in range(2))
    assert one == two


def test_a_state_comes_back_as_it_was() -> None:
    with toy_cipher():
        world = World(SCENARIOS["new leaf"], "look-ahead")
        state = world.begin()
        for n in range(12):
            world.thaw(state)
            actions = world.actions()
            world.act(actions[n % len(actions)])
            following = world.freeze()
            world.thaw(following)
            assert world.freeze() == following
            assert hash(world.freeze()) == hash(following)
            world.thaw(state)
            assert world.freeze() == state  # what happened to the other one did not reach it
            state = following


def test_a_class_whose_state_cannot_be_seen_is_refused() -> None:
    with pytest.raises(TypeError, match="property has no slots: what is its state"):
        freeze(property())
    kept = SCENARIOS["tls13"].keys[0]
    assert isinstance(kept, Keys)
    assert thaw(freeze({"a": [kept, {1, 2}], "b": bytearray(b"xy")})) == {"a": [kept, {1, 2}], "b": bytearray(b"xy")}


def test_a_class_without_slots_has_its_state_in_its_dictionary() -> None:
    """As policies of other people's may."""

    class Loose:
        def __init__(self, state: int) -> None:
            self.state, self.list = state, [state]

    frozen = freeze(Loose(1))
    assert (frozen == freeze(Loose(1)), frozen == freeze(Loose(2))) == (True, False)
    assert thaw(frozen).__dict__ == {"state": 1, "list": [1]}
    assert thaw(frozen).list is not thaw(frozen).list


@pytest.mark.parametrize("scenario", scenarios(), ids=lambda scenario: scenario.name)
def test_in_order_everything_is_decrypted(scenario: Scenario) -> None:
    """The scenario itself is sound: with nothing going wrong, each packet is marked, but for those after a new key."""
    with toy_cipher():
        world = World(scenario, "none")
        state = world.begin()
        world.thaw(state)
        world.act(("command", 0))
        for n in range(8):
            world.act(("next", n))
        marks = [row[2] for row in world.lane.lro.kept]  # type: ignore[attr-defined]
        assert all(marks[:3])
        assert all(marks) is (scenario.name != "key update")


def test_the_command() -> None:
    result = CliRunner().invoke(app, ["explore", "--policy", "linux-sync", "--states", "80", "--jobs", "1"])
    assert result.exit_code == 0, result.output
    assert "distinct states of device, policy and host" in result.output
    result = CliRunner().invoke(
        app, ["explore", "--policy", "none", "--states", "40", "--jobs", "1", "--scaled", "--json", "-"]
    )
    told = json.loads(result.output)
    assert told["good"] is True
    assert [each["scenario"] for each in told["explored"]] == list(SCENARIOS)
