"""The compiled engine is the plain one, sooner: the same records in the same order, fates, counts and facts.

The plain engine is the oracle, and every other test of what a run says holds for both, since it runs with `auto`. Here
the two are held against each other over the generators of the equivalence property, and over every capture there is.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import runs
import rxtls
import traffic
from rxtls.crypto.suites import SUITES, Version
from rxtls.errors import UsageError
from rxtls.offload.commands import Command, Confirm, Guess, Progress
from rxtls.offload.policies import POLICIES
from rxtls.offload.policies.freebsd_table import FreebsdTable
from rxtls.path.engines import chosen, described, why_not_compiled
from rxtls.simulation.link import Connection, Impairment, Link
from rxtls.simulation.synth import Session, converse, renegotiate

ROOT = Path(__file__).parents[1]
CALL_SIZES = (1, 63, 1000, None)

pytestmark = pytest.mark.skipif(why_not_compiled() is not None, reason=f"no compiled engine: {why_not_compiled()}")
property_test = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
long_property_test = settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def assert_same(
    scenario: traffic.Scenario, call_size: int | None, budget: int | None = None, policy: str = "freebsd-table"
) -> runs.Ran:
    """Both engines, the compiled one in calls of `call_size` frames, come to the same in every respect; to what."""
    played = traffic.play(scenario)
    profile = dict(scenario.settings)
    if budget is not None:
        profile["budget"] = str(budget)
    plain = runs.run(played.frames, played.keylog, scenario.profile, profile, call_size, policy=policy, engine="plain")
    compiled = runs.run(
        played.frames, played.keylog, scenario.profile, profile, call_size, policy=policy, engine="compiled"
    )
    assert compiled.everything() == plain.everything()
    return compiled


@pytest.mark.parametrize("budget", [1, 7, 64])
@pytest.mark.parametrize("call_size", CALL_SIZES)
@given(scenario=traffic.scenarios(traffic.ALL_KINDS, unseen=True))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_both_engines_come_to_the_same(budget: int, call_size: int | None, scenario: traffic.Scenario) -> None:
    assert_same(scenario, call_size, budget)


@pytest.mark.long
@given(traffic.scenarios(traffic.ALL_KINDS, most_flows=4, unseen=True), st.sampled_from(CALL_SIZES))
@long_property_test
def test_both_engines_come_to_the_same_at_length(scenario: traffic.Scenario, call_size: int | None) -> None:
    assert_same(scenario, call_size)


@pytest.mark.parametrize("call_size", CALL_SIZES)
def test_a_record_that_begins_behind_a_damaged_one_is_reported_where_it_is_whole(call_size: int | None) -> None:
    # The device passes the packet in which an AEAD tag is wrong, and with it the head of the next record, but stays in
    # sync: everything that comes after is decrypted. Only the host knows that this record is to be reported.
    flow = traffic.Flow(
        kind=(0x1301, Version.TLS13),
        records=((0, 0), (16383, 0), (0, 0), (1400, 0), (0, 0)),
        seed=1,
        impairment=Impairment(
            duplicate=0.01, reorder=0.01, jump=0, corrupt_unseen=0.03, spare_control=True, resegment=0.01
        ),
        connection=replace(traffic.PLAIN, mss=536),
    )
    scenario = traffic.Scenario((flow,), "connectx-6dx", {"budget": "1", "install": "0,0us", "poll": "0,0us"}, 0)
    ran = assert_same(scenario, call_size)
    assert [record.record_class for record in ran.out if record.type == 23][1:3] == ["mixed", "decrypted"]
    assert next(iter(ran.path.flows.values())).directions[1].tally.polls == 2


@st.composite
def long_flows(draw: st.DrawFn) -> traffic.Scenario:
    """Bulk transfers of up to some hundred packets, mostly in order: quiet for long, then not."""
    flows = []
    for _ in range(draw(st.integers(1, 3))):
        size = draw(st.sampled_from((200, 1400, 4096, 16384)))
        count = max(4, min(60, 400_000 // size))
        rate = draw(st.sampled_from((0.0, 0.0, 0.002, 0.01)))
        flows.append(
            traffic.Flow(
                kind=draw(st.sampled_from(traffic.STREAM_KINDS)),
                records=((size, 0),) * count,
                updates=frozenset(draw(st.sets(st.integers(0, count - 1), max_size=2))),
                upload=draw(st.booleans()),
                seed=draw(traffic.seeds),
                impairment=Impairment(
                    loss=rate,
                    reorder=draw(st.sampled_from((0.0, rate))),
                    duplicate=rate,
                    corrupt_unseen=draw(st.sampled_from((0.0, 0.0, rate))),
                ),
                sequence=draw(traffic.sequences),
            )
        )
    budget = draw(st.sampled_from(("1", "7", "64")))
    return traffic.Scenario(
        tuple(flows), draw(st.sampled_from(("connectx-6dx", "ideal", "none"))), {"budget": budget}, draw(traffic.seeds)
    )


@pytest.mark.parametrize("policy", sorted(POLICIES.keys() - {"freebsd-table"}))
@given(scenario=traffic.scenarios(unseen=True), call_size=st.sampled_from(CALL_SIZES), budget=st.sampled_from([1, 7]))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_same_under_every_policy(
    policy: str, scenario: traffic.Scenario, call_size: int | None, budget: int
) -> None:
    assert_same(replace(scenario, profile="ideal"), call_size, budget, policy)


@pytest.mark.parametrize("policy", sorted(POLICIES))
@given(long_flows(), st.sampled_from(CALL_SIZES), st.sampled_from(["1", "20", "300"]))
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_same_where_the_worker_is_behind(
    policy: str, scenario: traffic.Scenario, call_size: int | None, backlog: str
) -> None:
    behind = replace(scenario, profile="ideal", settings={**scenario.settings, "backlog": backlog})
    assert_same(behind, call_size, policy=policy)


@pytest.mark.long
@pytest.mark.parametrize("policy", sorted(POLICIES))
@given(scenario=traffic.scenarios(unseen=True), call_size=st.sampled_from(CALL_SIZES))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_same_under_every_policy_at_length(policy: str, scenario: traffic.Scenario, call_size: int | None) -> None:
    assert_same(replace(scenario, profile="ideal"), call_size, policy=policy)


@given(traffic.scenarios(), st.sampled_from([1, -1, 5]), st.sampled_from(CALL_SIZES))
@property_test
def test_the_same_where_a_policy_confirms_wrong_numbers(
    scenario: traffic.Scenario, slip: int, call_size: int | None
) -> None:
    class Wrong(FreebsdTable):
        def answer(self, answer: Progress | Guess) -> list[Command]:
            return [
                command._replace(number=max(0, command.number + slip)) if isinstance(command, Confirm) else command
                for command in super().answer(answer)
            ]

    POLICIES["wrong"] = Wrong
    try:
        assert_same(scenario, call_size, policy="wrong")
    finally:
        del POLICIES["wrong"]


@given(long_flows(), st.sampled_from(CALL_SIZES))
@property_test
def test_the_same_where_flows_are_quiet_for_long(scenario: traffic.Scenario, call_size: int | None) -> None:
    assert_same(scenario, call_size)


@pytest.mark.parametrize("budget", ["1", "7", "64"])
@pytest.mark.parametrize("call_size", [1, None])
@pytest.mark.parametrize("profile", ["connectx-6dx", "ideal", "none"])
@pytest.mark.parametrize("code", [0xC02F, 0xCCA8])
def test_the_same_over_renegotiations(code: int, profile: str, call_size: int | None, budget: str) -> None:
    """Handshakes within bulk data: directions go to the compiled host and back, both at once."""
    dice = Random(code)
    talk = converse(Session(SUITES[code], Version.TLS12), dice)
    for _ in range(2):
        talk.request([b"up" * 3000], [b"down" * 4000] * 12)
        renegotiate(talk, dice)
    talk.request([b"last"], [b"word" * 4000])
    talk.close()
    run = Link(3, Impairment(loss=0.02), Impairment(loss=0.02)).run(Connection(), talk.client, talk.server)
    plain, compiled = (
        runs.run(run.frames, talk.keylog, profile, {"budget": budget}, call_size, engine=engine)
        for engine in ("plain", "compiled")
    )
    assert compiled.everything() == plain.everything()


def captures() -> list[Any]:
    found: list[tuple[Path, Path | None, str]] = [
        (path, path.with_suffix(".keys"), profile)
        for path in sorted((ROOT / "examples").glob("*.pcap"))
        for profile in ("connectx-6dx", "ideal", "none")
    ]
    real = ROOT / "tests" / "data" / "real"
    for capture in json.loads((real / "manifest.json").read_text()):
        keys = real / capture["keys"] if capture.get("keys") else None
        found.append((real / capture["file"], keys, "ideal"))
    return [pytest.param(*each, id=f"{each[0].name}-{each[2]}") for each in found]


@pytest.mark.parametrize(("capture", "keys", "profile"), captures())
def test_every_capture_comes_to_the_same(capture: Path, keys: Path | None, profile: str) -> None:
    told = []
    for engine in ("plain", "compiled"):
        run = rxtls.replay(capture, keys or (), profile=profile, engine=engine, digest=True, call_size=301)
        records = list(run)
        summary = run.summary()
        assert summary.pop("engine") == engine
        for key in ("wall_seconds", "libcrypto"):
            del summary[key]
        told.append((records, summary))
    assert told[0] == told[1]


def test_the_engine_is_chosen_and_described(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (chosen("auto"), chosen("compiled"), chosen("plain")) == ("compiled", "compiled", "plain")
    assert "engine: compiled" in described()
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    assert chosen("auto") == "plain"
    assert "engine: plain (NUMBA_DISABLE_JIT is set)" in described()
    with pytest.raises(UsageError, match="the compiled engine cannot run here"):
        chosen("compiled")
    with pytest.raises(UsageError, match="engine is 'auto', 'compiled' or 'plain', not 'fast'"):
        chosen("fast")


def test_a_run_says_why_it_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    capture = ROOT / "examples" / "clean-tls13-aes128gcm.pcap"
    assert rxtls.replay(capture).note is None
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    run = rxtls.replay(capture)
    assert run.engine == "plain"
    assert run.note == "the plain engine runs, which is slow: NUMBA_DISABLE_JIT is set"
    assert rxtls.replay(capture, engine="plain").note is None
