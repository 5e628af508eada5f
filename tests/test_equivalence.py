"""The property the project stands on: whatever the link and the device do, the receiver reads the same.

Any mix of loss, duplication, reordering, resegmentation, corruption, interleaved flows, record sizes, KeyUpdate,
sequence numbers across 2^32, a policy that confirms wrong numbers, profiles and latencies: the same records as in
software only, and only what was sent. And what is said of each record depends on packets, profile and policy alone: not
on call sizes, not on where LRO cuts, not on other flows.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import runs
import traffic
from rxtls.crypto.keys import Keys
from rxtls.device import engine
from rxtls.device.context import Context
from rxtls.device.nic import Nic
from rxtls.events import RecordClass
from rxtls.offload.commands import Command, Confirm, Guess, Install, Progress, Report
from rxtls.offload.policies import POLICIES
from rxtls.offload.policies.freebsd_table import FreebsdTable
from rxtls.simulation.link import Impairment, LinkFrame

property_test = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
long_property_test = settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def assert_equivalent(scenario: traffic.Scenario, played: traffic.Played, policy: str = "freebsd-table") -> runs.Ran:
    offloaded = runs.run(played.frames, played.keylog, scenario.profile, scenario.settings, policy=policy)
    software = runs.run(played.frames, played.keylog, "none", scenario.settings)
    assert offloaded.read() == software.read()
    assert offloaded.failed() == software.failed()
    for n, (flow, truth) in enumerate(traffic.payloads(played)):
        client = scenario.flows[n].connection.client
        key = (client.ip, client.port + n, flow.receiver)
        sent = [(kind, payload) for kind, payload in truth]
        read = [
            (record.type, record.data)
            for record in offloaded.records.get(key, [])
            if record.record_class not in ("library", "failed")
        ]
        if not flow.sent.damaged and key in offloaded.records and not offloaded.failed()[key]:
            assert read == sent[: len(read)], "records out of order, or never sent"
        assert not Counter(read) - Counter(sent), "something was read that was not sent"
    return offloaded


@given(traffic.scenarios())
@property_test
def test_offload_reads_what_software_reads_and_only_what_was_sent(scenario: traffic.Scenario) -> None:
    assert_equivalent(scenario, traffic.play(scenario))


@given(traffic.scenarios(unseen=True))
@property_test
def test_the_same_where_damage_passes_the_tcp_checksum(scenario: traffic.Scenario) -> None:
    assert_equivalent(scenario, traffic.play(scenario))


@pytest.mark.long
@given(st.booleans().flatmap(lambda unseen: traffic.scenarios(traffic.ALL_KINDS, unseen=unseen)))
@long_property_test
def test_at_length_with_every_suite(scenario: traffic.Scenario) -> None:
    assert_equivalent(scenario, traffic.play(scenario))


@pytest.mark.parametrize("slip", [1, -1, 5])
@given(scenario=traffic.scenarios())
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_policy_that_confirms_wrong_numbers_loses_nothing(slip: int, scenario: traffic.Scenario) -> None:
    class Wrong(FreebsdTable):
        def answer(self, answer: Progress | Guess) -> list[Command]:
            return [
                command._replace(number=max(0, command.number + slip)) if isinstance(command, Confirm) else command
                for command in super().answer(answer)
            ]

    POLICIES["wrong"] = Wrong
    try:
        assert_equivalent(scenario, traffic.play(scenario), "wrong")
    finally:
        del POLICIES["wrong"]


@given(traffic.scenarios())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_results_do_not_depend_on_call_size_or_on_where_lro_cuts(scenario: traffic.Scenario) -> None:
    played = traffic.play(scenario)
    whole = runs.run(played.frames, played.keylog, scenario.profile, scenario.settings)
    for call_size, lro_limit in ((1, 65535), (63, 1), (1000, 4000), (None, 1448 * 3 + 7)):
        cut = runs.run(played.frames, played.keylog, scenario.profile, scenario.settings, call_size, lro_limit)
        assert cut.verdicts() == whole.verdicts()
        assert cut.resync() == whole.resync()
        assert cut.path.ledger.fates == whole.path.ledger.fates


@given(traffic.scenarios(most_flows=1), traffic.scenarios(most_flows=2))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_results_do_not_depend_on_other_flows(scenario: traffic.Scenario, others: traffic.Scenario) -> None:
    # Another seed, or the others would have the same client randoms and spoil the key log.
    others = replace(others, flows=tuple(replace(flow, seed=flow.seed + 2**32) for flow in others.flows))
    alone = traffic.play(scenario)
    both = traffic.play(replace(scenario, flows=scenario.flows + others.flows))
    mine = runs.run(alone.frames, alone.keylog, scenario.profile, scenario.settings)
    among = runs.run(both.frames, both.keylog, scenario.profile, scenario.settings, 100)
    for key, verdicts in mine.verdicts().items():
        assert among.verdicts()[key] == verdicts
        assert among.resync()[key] == mine.resync()[key]


def lossy(seed: int, **knobs: float) -> traffic.Scenario:
    impairment = Impairment(**knobs)  # type: ignore[arg-type]
    flow = traffic.Flow(records=((16384, 0),) * 60, impairment=impairment, seed=seed, sequence=2**32 - 400_000)
    return traffic.Scenario((flow,), seed=seed)


def test_every_composition_occurs_and_is_counted() -> None:
    seen: Counter[str] = Counter()
    for seed in (0, 4):
        scenario = lossy(seed, reorder=0.03, duplicate=0.3)
        ran = assert_equivalent(scenario, traffic.play(scenario))
        counted = ran.path.flows[0].directions[1].tally.compositions
        seen.update(counted)
        records = ran.records[next(key for key in ran.records if key[2] == "client")]
        assert counted == Counter(r.composition for r in records if r.record_class != "library")
    assert {"D", "E", "DE", "ED", "EDE", "DED"} <= set(seen)


def test_sync_is_lost_confirmed_and_regained() -> None:
    scenario = lossy(0, loss=0.01, reorder=0.01)
    ran = assert_equivalent(scenario, traffic.play(scenario))
    tally = ran.path.flows[0].directions[1].tally
    assert tally.lost >= 2
    assert 0 < tally.regained <= tally.lost
    assert tally.confirmed >= tally.regained
    assert tally.records[RecordClass.DECRYPTED] > 10


def test_a_device_with_a_poisoned_key_delivers_nothing_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it marked is garbage; the host verifies the AEAD tag of every record that is not wholly marked."""
    whole_context = Nic._context

    def poisoned(nic: Nic, install: Install) -> Context:
        keys = install.keys
        wrong = Keys(keys.suite, keys.version, bytes(len(keys.key)), keys.iv)
        return whole_context(nic, install._replace(keys=wrong))

    monkeypatch.setattr(Nic, "_context", poisoned)
    scenario = lossy(2, loss=0.01)
    played = traffic.play(scenario)
    ran = runs.run(played.frames, played.keylog, engine="plain")
    software = runs.run(played.frames, played.keylog, "none")
    for key, read in ran.read().items():
        assert not Counter(read) - Counter(software.read()[key])
    direction = ran.path.flows[0].directions[1]
    assert direction.tally.records[RecordClass.DECRYPTED] == 0
    assert direction.tally.records[RecordClass.ENCRYPTED] > 50  # it stopped after three failures
    assert direction.why_software == "auth_failures"


def test_a_device_that_marks_at_random_cannot_make_the_host_deliver_garbage(monkeypatch: pytest.MonkeyPatch) -> None:
    """A packet marked although left as on the wire: the host undoes what was never done, and the record fails."""
    receive = engine.receive

    def lying(context: Context, seq: int, data: bytes, moment: tuple[int, int]) -> bytes | None:
        plain = receive(context, seq, data, moment)
        return data if moment[0] % 50 == 0 else plain

    monkeypatch.setattr(engine, "receive", lying)
    played = traffic.play(lossy(3))
    ran = runs.run(played.frames, played.keylog, engine="plain")
    software = runs.run(played.frames, played.keylog, "none")
    key = next(key for key in ran.records if key[2] == "client")
    mixed_up = Counter(ran.read()[key]) - Counter(software.read()[key])
    # Only a record that is marked from end to end is beyond the host's reach; this device marks single packets.
    marked_whole = [record for record in ran.records[key] if record.composition == "D"]
    assert sum(mixed_up.values()) <= len(marked_whole)
    assert all(
        record.by != "recrypt" for record in ran.records[key] if (record.type, record.number, record.data) in mixed_up
    )


def test_frames_are_never_written_to() -> None:
    played = traffic.play(lossy(4, loss=0.02, duplicate=0.05))
    before = [LinkFrame(*frame) for frame in played.frames]
    runs.run(played.frames, played.keylog)
    assert played.frames == before


def test_policy_none_never_regains_sync() -> None:
    played = traffic.play(lossy(1, loss=0.01, reorder=0.01))
    ran = runs.run(played.frames, played.keylog, policy="none")
    tally = ran.path.flows[0].directions[1].tally
    assert (tally.lost, tally.polls, tally.regained) == (1, 0, 0)
    assert ran.read() == runs.run(played.frames, played.keylog, "none").read()


def test_report_is_the_only_thing_a_policy_hears() -> None:
    """The interface is small enough to restate: a policy that only counts sees every record not fully decrypted."""
    heard: list[Report] = []

    class Listening(FreebsdTable):
        def report(self, epoch: int, report: Report) -> list[Command]:
            heard.append(report)
            return super().report(epoch, report)

    POLICIES["listening"] = Listening
    try:
        played = traffic.play(lossy(1, loss=0.01))
        ran = runs.run(played.frames, played.keylog, policy="listening")
    finally:
        del POLICIES["listening"]
    records = next(records for key, records in ran.records.items() if key[2] == "client")
    undecrypted = [r.tcp_seq for r in records if r.record_class in ("mixed", "encrypted")]
    places = {record.tcp_seq for record in records}
    assert [report.tcp_sn for report in heard if report.length and report.tcp_sn in places] == undecrypted
