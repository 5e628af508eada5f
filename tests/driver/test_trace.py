"""What a run shows of its inside: the same from both engines and for all call sizes, and in step with the counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rxtls
import traffic
from rxtls.counters import FATES
from rxtls.device.profiles import profile
from rxtls.device.tracker import ELSEWHERE, NO_CONTEXT, TRANSITIONS
from rxtls.driver import trace
from rxtls.driver.trace import Event, HostAction, Log, Trace, Watch, joined
from rxtls.errors import UsageError
from rxtls.intake import batch as col
from rxtls.offload.commands import Happening
from rxtls.path.engines import why_not_compiled
from rxtls.path.receive import PathOptions, ReceivePath
from rxtls.simulation.link import LinkFrame
from rxtls.wire.keylog import KeyLog

EXAMPLES = Path(__file__).parents[2] / "examples"
ENGINES = ["plain"] + (["compiled"] if why_not_compiled() is None else [])
few = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@dataclass
class Seen:
    """All that a run showed, and the path that it went."""

    path: ReceivePath
    trace: Trace

    def by_flow(self) -> dict[int, list[Event]]:
        """Events of each receive flow, in order."""
        flows: dict[int, list[Event]] = {}
        for event in self.trace.events:
            flows.setdefault(event.flow, []).append(event)
        return flows

    def told(self) -> list[object]:
        return [self.by_flow(), self.trace.segments.tolist(), self.trace.frames.tolist()]


def look(
    frames: Sequence[LinkFrame],
    keylog: str,
    options: PathOptions,
    call_size: int | None,
) -> Seen:
    keys = KeyLog()
    keys.add(keylog.encode(), "simulated")
    path = ReceivePath(keys, options)
    numbered = list(enumerate(frames))
    size = call_size or max(1, len(numbered))
    traces = [path.take(numbered[start : start + size]).trace for start in range(0, len(numbered), size)]
    traces.append(path.take_last().trace)
    return Seen(path, joined(each for each in traces if each is not None))


def seen(scenario: traffic.Scenario, engine: str, call_size: int | None, **more: str) -> Seen:
    played = traffic.play(scenario)
    numbers = profile(scenario.profile, {**scenario.settings, **more})
    options = PathOptions(profile=numbers, engine=engine, watch=Watch.FRAMES)
    return look(played.frames, played.keylog, options, call_size)


@given(traffic.scenarios(traffic.ALL_KINDS, unseen=True), st.sampled_from((1, 63, None)), st.sampled_from("17"))
@few
@pytest.mark.skipif(len(ENGINES) == 1, reason=f"no compiled engine: {why_not_compiled()}")
def test_both_engines_show_the_same(scenario: traffic.Scenario, call_size: int | None, budget: str) -> None:
    plain, compiled = (seen(scenario, engine, call_size, budget=budget) for engine in ENGINES)
    assert plain.told() == compiled.told()


@given(traffic.scenarios(traffic.ALL_KINDS, unseen=True), st.sampled_from(ENGINES))
@few
def test_what_is_shown_does_not_depend_on_call_sizes(scenario: traffic.Scenario, engine: str) -> None:
    assert seen(scenario, engine, None).told() == seen(scenario, engine, 5).told()


@given(traffic.scenarios(traffic.ALL_KINDS), st.sampled_from(ENGINES))
@few
def test_what_is_shown_is_what_is_counted(scenario: traffic.Scenario, engine: str) -> None:
    run = seen(scenario, engine, 100)
    names = list(FATES)
    fates = Counter(names[code] for code in run.trace.frames[:, 2].tolist())
    assert fates == {name: n for name, n in run.path.ledger.fates.items() if name.startswith("frame.")}
    for flow in run.path.flows.values():
        for side, direction in enumerate(flow.directions):
            flow_id = 2 * flow.connection.id + side
            counts = Counter(event.what for event in run.by_flow().get(flow_id, []))
            tally = direction.tally
            assert counts[Happening.LOST] == tally.lost
            assert counts[Happening.CONFIRMED] == tally.confirmed
            assert counts[HostAction.QUERY] == tally.polls
            assert counts[HostAction.RESET] == tally.receive_tag_resets
            assert counts[HostAction.INSTALL] == direction.epoch == counts[HostAction.RELEASE]
            segments = run.trace.segments[run.trace.segments[:, trace.FLOW] == flow_id]
            marked = segments[segments[:, trace.VERDICT] == trace.DECRYPTED]
            assert (marked[:, trace.EPOCH] > 0).all()
            assert marked[:, trace.LENGTH].sum() >= tally.bytes["decrypted"]  # type: ignore[index]


@pytest.mark.parametrize("engine", ENGINES)
def test_the_frames_of_a_real_capture(engine: str) -> None:
    """One per frame of the capture, in order, with its time; and a segment wherever the fate says so."""
    name = EXAMPLES / "loss-reorder-tls13-aes256gcm"
    run = rxtls.replay(f"{name}.pcap", f"{name}.keys", engine=engine, watch="frames", call_size=500)
    traces = [records.trace for records in run.batches()]
    shown = joined(each for each in traces if each is not None)
    assert shown.frames[:, 0].tolist() == list(range(run.frames))
    carrying = shown.frames[shown.frames[:, 2] == trace.FATE_CODES["frame.segment"]]
    assert carrying[:, 0].tolist() == np.unique(shown.segments[:, trace.FRAME]).tolist()
    assert carrying[:, 1].tolist() == shown.segments[:, trace.TIME].tolist()
    verdicts = {trace.VERDICTS[code] for code in shown.segments[:, trace.VERDICT].tolist()}
    assert {"decrypted", "passed", "searching", "tracking", "no_receive_tag", "empty"} <= verdicts


@pytest.mark.parametrize("engine", ENGINES)
def test_only_the_receiver_asked_for_is_shown(engine: str) -> None:
    name = EXAMPLES / "loss-reorder-tls13-aes256gcm"
    run = rxtls.replay(f"{name}.pcap", f"{name}.keys", engine=engine, watch="frames", receiver="server")
    shown = joined(records.trace for records in run.batches() if records.trace is not None)
    assert len(shown.events) > 0
    flows = {*shown.segments[:, trace.FLOW].tolist(), *(event.flow for event in shown.events)}
    assert {run.path.flows[flow >> 1].receiver(flow & 1) for flow in flows} == {"server"}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("watch", ["nothing", "events"])
def test_nothing_is_shown_unasked(engine: str, watch: str) -> None:
    name = EXAMPLES / "loss-reorder-tls13-aes256gcm"
    run = rxtls.replay(f"{name}.pcap", f"{name}.keys", engine=engine, watch=watch)
    traces = [records.trace for records in run.batches()]
    if watch == "nothing":
        assert set(traces) == {None}
        return
    shown = joined(each for each in traces if each is not None)
    assert len(shown.events) > 0
    assert len(shown.segments) == len(shown.frames) == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_where_limits_are_shared_too(engine: str) -> None:
    """Frames go through one by one there."""
    name = EXAMPLES / "many-tls13-aes128gcm"
    options = {"max_receive_tags": "3"}
    runs = [
        rxtls.replay(f"{name}.pcap", f"{name}.keys", engine=engine, watch="frames", settings=options, call_size=size)
        for size in (50, 4096)
    ]
    shown = [joined(records.trace for records in run.batches() if records.trace is not None) for run in runs]
    assert shown[0].frames.tolist() == shown[1].frames.tolist()
    assert shown[0].segments.tolist() == shown[1].segments.tolist()
    assert shown[0].events == shown[1].events
    assert len(shown[0].frames) == runs[0].frames


def test_what_else_could_be_asked_for_is_an_error() -> None:
    with pytest.raises(UsageError, match="watch is 'nothing', 'events' or 'frames', not 'all'"):
        rxtls.replay(EXAMPLES / "clean-tls13-aes128gcm.pcap", watch="all")


def test_every_state_has_a_verdict() -> None:
    states = [*range(len(TRANSITIONS)), ELSEWHERE, NO_CONTEXT]
    rows = np.zeros((len(states), col.COLUMNS), np.int64)
    rows[:, col.LENGTH] = 10
    table = trace.segments(rows, np.zeros(len(states), np.int64), np.array(states))
    told = [trace.VERDICTS[code] for code in table[:, trace.VERDICT].tolist()]
    assert told == ["stopped", "searching", "tracking", "passed", "passed", "other_leaf", "no_receive_tag"]
    table = trace.segments(rows, np.full(len(states), 3), np.array(states))
    assert set(table[:, trace.VERDICT].tolist()) == {trace.DECRYPTED}
    assert set(table[:, trace.EPOCH].tolist()) == {3}


def test_end_rows_are_no_segments() -> None:
    rows = np.zeros((2, col.COLUMNS), np.int64)
    rows[1, col.FLAGS] = col.END
    assert len(trace.segments(rows, rows[:, 0], rows[:, 0])) == 1


def test_a_log_knows_the_frame_of_a_host_point() -> None:
    rows = np.arange(2 * col.COLUMNS, dtype=np.int64).reshape(2, -1)
    log = Log(True)
    log.position = 0
    log.did(4, HostAction.QUERY, 1)
    log.position = trace.OUTSIDE
    log.did(4, HostAction.RELEASE, 1)
    log.happened(4, Happening.LOST, 77, 88, 99, 1)
    query, release, lost = log.take(rows)
    assert (query.frame, query.time_ns) == (rows[0, col.FRAME], rows[0, col.TIME])
    assert (release.frame, release.time_ns) == (rows[1, col.FRAME], rows[1, col.TIME])
    assert lost == Event(4, Happening.LOST, 77, 88, 99, None, 1)
    log.did(4, HostAction.QUERY, 1)
    assert log.take()[0].frame == rows[1, col.FRAME]  # the last one there was
    log.position = trace.BETWEEN  # a socket is read, before the next frames come
    log.did(4, HostAction.QUERY, 1)
    assert log.take(rows + 1000)[0].frame == rows[1, col.FRAME]
    silent = Log(False)
    silent.did(4, HostAction.QUERY, 1)
    assert silent.take(rows) == []
