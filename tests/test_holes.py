"""Captures that lack frames: what comes behind a hole comes back, nothing that was not sent ever does, and both engines
agree on all of it.

Scenarios are those of the equivalence property, with frames taken away; some of those are put back with forged content:
chains of record headers of every plausible kind, which is what a search behind a hole looks for. Time may pass slowly,
so that holes are met in the middle of a run and not only at its end.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import replays
import runs
import traffic
from rxtls.events import Gap, RecordClass
from rxtls.host.compiled.state import Own
from rxtls.host.flow import Flow
from rxtls.host.reassembly import GAP_NS
from rxtls.path.engines import why_not_compiled
from rxtls.simulation.link import LinkFrame

property_test = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
long_property_test = settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@dataclass(frozen=True)
class Holed:
    """A scenario, and what happens to its capture. `lost` are shares of the way through it, in 1/10000."""

    scenario: traffic.Scenario
    lost: tuple[tuple[int, int], ...]  # where, how many frames in a row
    forged: int  # seed of forgeries, 0 for none
    pace: int  # frames in the time after which a hole is passed; 0: time hardly passes
    spare: int  # frames at the beginning that are never lost
    late: int = 0  # frames at the beginning that are


@st.composite
def holed(draw: st.DrawFn, kinds: tuple[traffic.Kind, ...] = traffic.ALL_KINDS, clean: bool = False) -> Holed:
    """Holes in the capture of a scenario; with `clean` in one of nothing but intact connections in order."""
    scenario = draw(traffic.scenarios(kinds, most_flows=1 if clean else 2))
    if clean:
        flows = tuple(
            replace(flow, impairment=traffic.CLEAN, back=traffic.CLEAN, connection=replace(flow.connection, end="fin"))
            for flow in scenario.flows
        )
        scenario = replace(scenario, flows=flows)
    lost = draw(st.lists(st.tuples(st.integers(0, 9999), st.sampled_from((1, 1, 2, 5, 20))), min_size=1, max_size=6))
    forged = 0 if clean else draw(st.sampled_from((0, 1, 2, 3)))
    late = 0 if clean else draw(st.sampled_from((0, 0, 3, 6, 9, 20, 40)))
    return Holed(
        scenario,
        tuple(lost),
        forged,
        draw(st.sampled_from((0, 4))),
        25 if clean else draw(st.sampled_from((0, 25))),
        late,
    )


def damaged(case: Holed, frames: list[LinkFrame]) -> list[LinkFrame]:
    """What is left of the frames."""
    lost = set(range(case.late))
    for at, count in case.lost:
        start = len(frames) * at // 10_000
        lost |= set(range(max(start, case.spare), start + count))
    dice = Random(case.forged)
    out = []
    for n, frame in enumerate(frames):
        if n not in lost:
            out.append(frame)
        elif case.forged and len(body := replays.payload(frame)) > 8 and dice.random() < 0.5:
            out.append(replays.remade(frame, body=headers(len(body), dice)))
    if case.pace:
        start_ns = frames[0].time_ns
        out = [frame._replace(time_ns=start_ns + n * (GAP_NS // case.pace)) for n, frame in enumerate(out)]
    return out


def headers(length: int, dice: Random) -> bytes:
    """So many bytes that look like records, all of them."""
    out = bytearray()
    while len(out) < length:
        size = dice.choice((17, 24, 25, 32, 48, 64, 200, 1400, 16401))
        out += bytes([dice.choice((20, 21, 22, 23, 23, 23)), 3, 3]) + size.to_bytes(2)
        out += dice.randbytes(size) if dice.random() < 0.3 else b""
    return bytes(out[:length])


def ran(case: Holed, frames: list[LinkFrame], keylog: str, engine: str, call_size: int | None = None) -> runs.Ran:
    chosen = {**case.scenario.settings, "search": "20000"}
    return runs.run(frames, keylog, case.scenario.profile, chosen, call_size, engine=engine)


def assert_holds(case: Holed, call_size: int | None = None) -> runs.Ran:
    """Only what was sent, under its own number; and the engines agree."""
    played = traffic.play(case.scenario)
    frames = damaged(case, played.frames)
    plain = ran(case, frames, played.keylog, "plain")
    for n, (flow, sent) in enumerate(traffic.payloads(played)):
        client = case.scenario.flows[n].connection.client
        read = [
            (record.type, record.data)
            for record in plain.records.get((client.ip, client.port + n, flow.receiver), [])
            if record.by not in ("library", "nobody")
        ]
        assert not Counter(read) - Counter(sent), "something was read that was not sent"
        left = iter(sent)
        assert all(each in left for each in read), "not in order"
    if why_not_compiled() is None:
        assert ran(case, frames, played.keylog, "compiled", call_size).everything() == plain.everything()
    return plain


@pytest.mark.parametrize("call_size", [1, 63, None])
@given(case=holed())
@property_test
def test_only_what_was_sent_and_the_same_from_both_engines(call_size: int | None, case: Holed) -> None:
    assert_holds(case, call_size)


@pytest.mark.long
@given(holed(), st.sampled_from((1, 63, None)))
@long_property_test
def test_the_same_at_length(case: Holed, call_size: int | None) -> None:
    assert_holds(case, call_size)


@given(holed(clean=True))
@property_test
def test_every_record_that_is_whole_comes_back(case: Holed) -> None:
    """What is whole is told by the frames left, byte by byte. The handshake is there."""
    ours = assert_holds(case)
    played = traffic.play(case.scenario)
    (whole,) = played.flows
    client = case.scenario.flows[0].connection.client
    frames = damaged(case, played.frames)
    there: set[int] = set()
    for frame in frames:
        if replays.from_server(frame) is (whole.receiver == "client"):
            start = replays.sequence(frame)
            there |= {(start + n) % 2**32 for n in range(len(replays.payload(frame)))}
    everything = runs.run(played.frames, played.keylog, case.scenario.profile, case.scenario.settings)
    key = client.ip, client.port, whole.receiver
    opened = {(record.tcp_seq, record.data) for record in ours.records.get(key, []) if record.by != "nobody"}
    for record in everything.records[key]:
        if record.record_class == RecordClass.LIBRARY:
            continue
        if all((record.tcp_seq + n) % 2**32 in there for n in range(record.wire_length)):
            assert (record.tcp_seq, record.data) in opened


def test_numbers_of_lost_records_add_up() -> None:
    """Each Gap stands for the records between its neighbours."""
    flow = traffic.Flow(records=tuple((n * 37 % 3000, 0) for n in range(300)), seed=5)
    case = Holed(traffic.Scenario((flow,)), ((2000, 3), (4000, 2), (6000, 20)), 0, 0, 25)
    records = next(each for key, each in assert_holds(case).records.items() if key[2] == "client")
    expected = 0
    for record in records:
        if record.record_class == RecordClass.LIBRARY:
            continue
        assert record.number == expected
        expected += record.records if isinstance(record, Gap) else 1
    assert sum(isinstance(record, Gap) for record in records) == 3


def test_a_key_update_in_a_hole_is_found() -> None:
    """Any two frames in a row may be missing: of 60 records and three KeyUpdates at most a few are lost."""
    flow = traffic.Flow(records=((1000, 0),) * 60, updates=frozenset({20, 21, 40}), seed=6)
    case = Holed(traffic.Scenario((flow,)), (), 0, 0, 0)
    played = traffic.play(case.scenario)
    places = [n for n, frame in enumerate(played.frames) if n > 25 and len(replays.payload(frame)) > 1000]
    behind_updates = 0
    for at in places[:-1]:
        left = [frame for n, frame in enumerate(played.frames) if not at <= n <= at + 1]
        tally = ran(case, left, played.keylog, "plain").path.flows[0].directions[1].tally
        opened = (RecordClass.ENCRYPTED, RecordClass.DECRYPTED, RecordClass.MIXED, RecordClass.UNJUDGED)
        assert sum(tally.records[each] for each in opened) >= 56
        behind_updates += tally.records[RecordClass.UNKNOWN] > 0
    assert behind_updates > 20


@st.composite
def bulk(draw: st.DrawFn) -> Holed:
    """Transfers of up to some hundred packets, in which the compiled host is at work when a hole is passed."""
    size = draw(st.sampled_from((200, 1400, 4096, 16384)))
    count = max(8, min(60, 300_000 // size))
    flow = traffic.Flow(
        kind=draw(st.sampled_from(traffic.STREAM_KINDS)),
        records=((size, 0),) * count,
        updates=frozenset(draw(st.sets(st.integers(0, count - 1), max_size=1))),
        upload=draw(st.booleans()),
        seed=draw(traffic.seeds),
        sequence=draw(traffic.sequences),
    )
    chosen = {"budget": draw(st.sampled_from(("1", "7", "16")))}
    profile = draw(st.sampled_from(("connectx-6dx", "ideal", "none")))
    lost = draw(st.lists(st.tuples(st.integers(1500, 9999), st.sampled_from((1, 1, 2, 12))), min_size=1, max_size=4))
    forged, pace = draw(st.sampled_from((0, 1))), draw(st.sampled_from((4, 60)))
    return Holed(traffic.Scenario((flow,), profile, chosen), tuple(lost), forged, pace, 25)


@given(bulk(), st.sampled_from((1, 63, None)))
@property_test
def test_the_compiled_host_goes_on_behind_holes_as_the_plain_one(case: Holed, call_size: int | None) -> None:
    assert_holds(case, call_size)


needs_kernels = pytest.mark.skipif(why_not_compiled() is not None, reason=f"no compiled engine: {why_not_compiled()}")


class Watched:
    """Holes that the compiled host met: (a kernel had found the next record, it went on by itself)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, blind: bool = False) -> None:
        from rxtls.host.compiled.serve import FastDirection

        self.met: list[tuple[bool, bool]] = []
        go_on = FastDirection.go_on

        def noted(fast: FastDirection, flow: Flow, side: int) -> bool:
            if blind:
                fast._own[Own.FOUND] = -1
            found = bool(fast.due and fast._own[Own.FOUND] >= 0)
            self.met.append((found, go_on(fast, flow, side)))
            return self.met[-1][1]

        monkeypatch.setattr(FastDirection, "go_on", noted)


@needs_kernels
@pytest.mark.parametrize("profile", ["connectx-6dx", "none"])
def test_the_compiled_host_does_go_on_by_itself(profile: str, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch)
    flow = traffic.Flow(records=((16384, 0),) * 30, seed=8)
    scenario = traffic.Scenario((flow,), profile, {"budget": "7"})
    assert_holds(Holed(scenario, tuple((at, 1) for at in range(2500, 8000, 800)), 0, 30, 25))
    assert watched.met.count((True, True)) >= 2
    assert all(on for _, on in watched.met)


@needs_kernels
def test_it_goes_on_where_there_is_no_whole_record_between_two_holes(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch)
    flow = traffic.Flow(records=((16384, 0),) * 20, seed=8)
    scenario = traffic.Scenario((flow,), settings={"budget": "7"})
    for lost in (((4000, 1), (4080, 1)), ((4000, 1), (4080, 1), (4160, 1), (4240, 2)), ((4000, 1), (4200, 30))):
        watched.met.clear()
        assert_holds(Holed(scenario, lost, 0, 4, 25))
        assert (False, True) in watched.met
        assert all(on for _, on in watched.met)


@needs_kernels
@given(bulk())
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_a_kernel_tries_is_what_the_search_would_find(case: Holed) -> None:
    """The same, the budget spent included, where what the kernel found is not looked at."""
    with pytest.MonkeyPatch.context() as patched:
        Watched(patched, blind=True)
        assert_holds(case)


def test_a_hole_that_is_passed_long_after_it_began() -> None:
    """Host points between the hole and the time at which it is passed cannot be merged into later ones, though all that
    comes in between is in order and decrypted: what the host then finds is reported, and the NIC is asked."""
    for size in (1400, 4096, 16384):
        flow = traffic.Flow(records=((size, 0),) * (400_000 // size), seed=9)
        for at in range(2000, 8000, 450):
            scenario = traffic.Scenario((flow,), settings={"budget": "7"})
            assert_holds(Holed(scenario, ((at, 1), (at + 1000, 1)), 0, 60, 25))
