from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rxtls.device.nic import Nic
from rxtls.device.profiles import PROFILES, Latency, Profile
from rxtls.intake.batch import ACK, END, FIN, FLOW, OFFSET, RST, SYN, Row
from rxtls.offload.commands import (
    Auth,
    Command,
    Confirm,
    DeviceEvent,
    Guess,
    Happening,
    Install,
    Progress,
    Query,
    SetPosition,
    Tracker,
)
from rxtls.offload.mbuf import Mbuf
from tls_stream import GCM13, TlsStream, stream_of

LONG = 1 << 40  # microseconds: never
AT_ONCE = Latency(0, 0)
SLOW = Latency(5, LONG)

PROMPT = replace(PROFILES["ideal"], poll=AT_ONCE, confirm=AT_ONCE)


def row(
    flow: int = 0,
    clock: int = 1,
    seq: int = 0,
    offset: int = 0,
    length: int = 0,
    flags: int = ACK,
    time: int | None = None,
    leaf: int = 0,
    edge: int = -1,
) -> Row:
    return [
        100 + clock,
        clock * 1_000 if time is None else time,
        leaf,
        flow,
        clock,
        seq,
        flags,
        offset,
        length,
        -1,
        edge,
    ]


def rows_of(stream: TlsStream, cuts: list[int], flow: int = 0, first: int = 1, time_step: int = 1_000) -> list[Row]:
    """The stream's packets from cut to cut, at consecutive clocks from `first` on; Batch.data is the stream itself."""
    spans = pairwise(cuts)
    return [
        row(flow, clock, stream.seq(start), start, end - start, time=clock * time_step)
        for clock, (start, end) in enumerate(spans, first)
    ]


def by_record(stream: TlsStream, flow: int = 0, first: int = 1) -> list[Row]:
    """One packet a record."""
    return rows_of(stream, [*stream.starts, len(stream.wire)], flow, first)


def install(stream: TlsStream, index: int = 0, epoch: int = 1, leaf: int = 0) -> Install:
    return Install(epoch, leaf, stream.keys, stream.number + index, stream.seq(stream.starts[index]))


def walk(nic: Nic, rows: Sequence[Row], data: bytes, serve: Callable[[int], None]) -> None:
    """What the path does with a batch."""
    due = nic.receive(rows, data)
    while due:
        for flow, _ in due:
            serve(flow)
        due = nic.resume(data)


def take(nic: Nic, rows: Sequence[Row], data: bytes) -> None:
    """Rows in, the host asks for nothing."""
    walk(nic, rows, data, lambda _: None)


def flows(due: list[tuple[int, int]]) -> list[int]:
    return [flow for flow, _ in due]


def marks(nic: Nic, rows: list[Row], data: bytes, budget: int = 1) -> list[int]:
    """The mark of each row's bytes, whatever else the host does."""
    nic.set_budget(rows[0][FLOW] >> 1, budget)
    taken: list[Mbuf] = []
    walk(nic, rows, data, lambda flow: taken.extend(nic.flush(flow)))
    taken += nic.flush(rows[0][FLOW])
    return [mbuf.mark for mbuf in taken for _ in mbuf.arrivals]


def happenings(log: list[DeviceEvent]) -> list[Happening]:
    return [event.happening for event in log]


# Host points and parking.


def test_a_connection_starts_at_budget_one() -> None:
    nic = Nic(PROMPT)
    assert flows(nic.receive([row(0, 1), row(1, 1), row(0, 2), row(2, 1)], b"")) == [0, 2]
    assert flows(nic.resume(b"")) == [1]
    assert flows(nic.resume(b"")) == [0]
    assert nic.resume(b"") == []


def test_behind_a_stop_nothing_is_taken_before_all_was_served() -> None:
    nic = Nic(PROMPT)
    rows = [[*row(flow, clock), n] for n, (flow, clock) in enumerate([(0, 1), (2, 1), (0, 2), (4, 1), (2, 2), (6, 1)])]
    assert nic.receive(rows, b"", (3, 5)) == [(0, 0), (2, 1)]
    assert nic.resume(b"") == [(0, 2)]
    assert nic.resume(b"") == [(4, 3), (2, 4)]
    assert nic.resume(b"") == [(6, 5)]
    assert nic.resume(b"") == []
    for connection in range(4):
        nic.set_budget(connection, 64)
    assert nic.receive([[*row(0, 3), 0], [*row(4, 2), 1]], b"", (1,)) == []


def test_parked_rows_come_back_in_order_while_others_go_on() -> None:
    nic = Nic(PROMPT)
    for connection in (0, 1, 2):
        nic.set_budget(connection, 4)
    rows = []
    for clock in range(1, 7):
        rows += [row(0, clock), row(2, clock), row(3, clock)]
    rows.append(row(4, 1))
    assert flows(nic.receive(rows, b"")) == [0, 2]
    assert [mbuf.arrivals[0][1] for mbuf in nic.flush(0)] == [101, 102, 103, 104]
    assert [mbuf.arrivals[0][1] for mbuf in nic.flush(3)] == [101, 102, 103]  # its fourth is behind flow 2's point
    assert len(nic.flush(4)) == 1
    assert flows(nic.resume(b"")) == [3]
    assert [mbuf.arrivals[0][1] for mbuf in nic.flush(0)] == [105, 106]
    assert nic.resume(b"") == []
    assert [mbuf.arrivals[0][1] for mbuf in nic.flush(3)] == [104, 105, 106]


def test_rows_of_a_stopped_connection_wait_over_calls() -> None:
    nic = Nic(PROMPT)
    assert flows(nic.receive([row(0, 1), row(0, 2)], b"")) == [0]
    assert nic.receive([row(0, 3)], b"") == []
    assert [flows(nic.resume(b"")) for _ in range(3)] == [[0], [0], []]
    assert [mbuf.arrivals[0][1] for mbuf in nic.flush(0)] == [101, 102, 103]


@pytest.mark.parametrize("budget", [1, 2, 3, 64])
def test_host_points_are_at_multiples_of_the_budget(budget: int) -> None:
    nic = Nic(PROMPT)
    nic.set_budget(0, budget)
    points = []
    for clock in range(1, 200):
        if nic.receive([row(0, clock)], b""):
            points.append(clock)
            assert nic.resume(b"") == []
    assert points == list(range(budget, 200, budget))


@pytest.mark.parametrize("flag", [SYN, FIN, RST, END, SYN | ACK, FIN | ACK])
def test_host_points_are_at_the_flags_too(flag: int) -> None:
    nic = Nic(PROMPT)
    nic.set_budget(0, 64)
    rows = [row(0, 5), row(1, 3), row(0, 6, flags=flag), row(1, 4), row(0, 7)]
    assert flows(nic.receive(rows, b"")) == [0]
    assert [mbuf.flags for mbuf in nic.flush(0)] == [ACK, flag]
    assert len(nic.flush(1)) == 1


def test_both_directions_have_the_budget_that_is_set() -> None:
    nic = Nic(PROMPT)
    nic.set_budget(3, 10)
    assert flows(nic.receive([row(6, 9), row(7, 9), row(7, 10), row(6, 10)], b"")) == [7]
    nic.set_budget(3, 1)
    assert flows(nic.resume(b"")) == [6]


def test_a_forgotten_connection_starts_anew() -> None:
    nic = Nic(PROMPT)
    stream = stream_of(GCM13, [50] * 4)
    nic.set_budget(0, 64)
    nic.post(0, install(stream))
    assert marks(nic, by_record(stream)[:1], stream.wire, 64) == [1]
    nic.forget(0)
    assert (nic.flush(0), nic.log(0), nic.answers(0)) == ([], [], [])
    rows = by_record(stream)[1:3]
    assert flows(nic.receive(rows, stream.wire)) == [0]  # at budget one again
    assert [mbuf.mark for mbuf in nic.flush(0)] == [0]  # without a receive tag


def test_to_forget_what_never_was_is_allowed() -> None:
    nic = Nic(PROMPT)
    nic.forget(9)
    assert flows(nic.receive([row(18)], b"")) == [18]


# The receive tag, and what passes it by.


def test_without_a_receive_tag_everything_passes() -> None:
    stream = stream_of(GCM13, [50] * 4)
    nic = Nic(PROMPT)
    nic.set_budget(0, 64)
    assert nic.receive(by_record(stream), stream.wire) == []
    (run,) = nic.flush(0)
    assert (run.data, run.mark, len(run.arrivals)) == (stream.wire, 0, 4)
    assert nic.log(0) == []


def test_under_a_receive_tag_bytes_carry_its_epoch_and_the_batch_is_not_written_to() -> None:
    stream = stream_of(GCM13, [50] * 4)
    data = bytes(stream.wire)
    nic = Nic(PROMPT)
    nic.set_budget(0, 64)
    nic.post(0, install(stream, epoch=7))
    assert nic.receive(by_record(stream), data) == []
    (run,) = nic.flush(0)
    assert (run.data, run.mark) == (stream.plain, 7)
    assert data == stream.wire
    assert happenings(nic.log(0)) == [Happening.INSTALLED]
    assert nic.log(0) == []


def test_payloads_are_cut_out_of_their_frames() -> None:
    stream = stream_of(GCM13, [50] * 3)
    data = b"".join(b"headers!" + stream.wire[start:end] + b"fcs" for start, end in stream.spans())
    rows = by_record(stream)
    for index, r in enumerate(rows):
        r[OFFSET] += 8 + 11 * index
    nic = Nic(PROMPT)
    nic.set_budget(0, 64)
    nic.post(0, install(stream))
    take(nic, rows, data)
    (run,) = nic.flush(0)
    assert (run.data, run.mark) == (stream.plain, 1)


def test_another_leaf_passes_untouched() -> None:
    stream = stream_of(GCM13, [50] * 4)
    rows = by_record(stream)
    nic = Nic(PROMPT)
    nic.post(0, install(stream, leaf=3))
    for r, leaf in zip(rows, (3, 4, 3, 3), strict=True):
        r[2] = leaf
    # The device missed record 1: record 2's header is not where it expected one, and so on.
    assert marks(nic, rows, stream.wire) == [1, 0, 0, 0]
    assert happenings(nic.log(0)) == [Happening.INSTALLED, Happening.LOST, Happening.ANCHORED]


def test_flows_have_their_own_receive_tags() -> None:
    stream = stream_of(GCM13, [50] * 4)
    nic = Nic(PROMPT)
    nic.post(3, install(stream, epoch=5))
    assert marks(nic, by_record(stream, flow=2), stream.wire) == [0] * 4
    assert marks(nic, by_record(stream, flow=3), stream.wire) == [5] * 4
    assert (nic.log(2), len(nic.log(3))) == ([], 1)


def test_rows_without_payload_mean_nothing_to_the_engine() -> None:
    stream = stream_of(GCM13, [50] * 2)
    first, second = by_record(stream)
    second[4] = 3
    fin = row(0, 2, stream.seq(stream.starts[1] + 7), flags=ACK)
    nic = Nic(PROMPT)
    nic.post(0, install(stream))
    assert marks(nic, [first, fin, second], stream.wire) == [1, 0, 1]


def test_release_stops_it_at_once_and_drops_what_was_pending() -> None:
    stream = stream_of(GCM13, [50] * 6)
    rows = by_record(stream)
    nic = Nic(replace(PROMPT, install=Latency(2, LONG)))
    nic.post(0, Query(1))
    nic.post(0, install(stream))
    nic.release(0)
    assert marks(nic, rows[:3], stream.wire) == [0] * 3
    assert (nic.answers(0), nic.log(0)) == ([], [])
    nic.post(0, install(stream, 5, epoch=2))
    assert marks(nic, rows[3:], stream.wire) == [0, 0, 2]
    nic.post(0, Query(2))
    nic.release(0)
    assert marks(nic, [row(0, 7)], b"") == [0]
    assert nic.answers(0) == []


def test_after_release_packets_pass_as_on_the_wire() -> None:
    stream = stream_of(GCM13, [50] * 4)
    rows = by_record(stream)
    nic = Nic(PROMPT)
    nic.post(0, install(stream))
    assert marks(nic, rows[:2], stream.wire) == [1, 1]
    nic.release(0)
    assert marks(nic, rows[2:], stream.wire) == [0, 0]


def test_release_drops_answers_that_were_not_fetched() -> None:
    stream = stream_of(GCM13, [50] * 3)
    rows = by_record(stream)
    nic = Nic(PROMPT)
    nic.post(0, install(stream))
    nic.post(0, Query(1))
    assert marks(nic, rows[:2], stream.wire) == [1, 1]
    nic.release(0)
    assert nic.answers(0) == []


def test_a_new_receive_tag_has_a_new_context() -> None:
    stream = stream_of(GCM13, [50] * 6)
    rows = by_record(stream)
    nic = Nic(PROMPT)
    nic.post(0, install(stream))
    assert marks(nic, [rows[0], rows[2]], stream.wire) == [1, 0]
    nic.release(0)
    nic.post(0, install(stream, 3, epoch=2))
    assert marks(nic, rows[3:], stream.wire) == [2] * 3


def test_start_by_search() -> None:
    stream = stream_of(GCM13, [50] * 4)
    nic = Nic(replace(PROMPT, start="search"))
    nic.post(0, install(stream))
    rows = by_record(stream)
    assert marks(nic, rows[:1], stream.wire) == [0]
    assert happenings(nic.log(0)) == [Happening.INSTALLED, Happening.ANCHORED]
    nic.post(0, Confirm(1, stream.seq(0), 0))
    assert marks(nic, rows[1:], stream.wire) == [1] * 3


def test_profile_fields_reach_the_engine() -> None:
    stream = stream_of(GCM13, [50] * 4)
    bad = bytearray(stream.wire)
    bad[10] ^= 1
    nic = Nic(replace(PROMPT, auth_failures=1))
    nic.post(0, install(stream))
    assert marks(nic, by_record(stream), bytes(bad)) == [0] * 4
    assert happenings(nic.log(0)) == [Happening.INSTALLED, Happening.AUTH_FAILED, Happening.STOPPED]
    nic = Nic(replace(PROMPT, search_after=10))
    nic.post(0, install(stream))
    rows = rows_of(stream, [10, 20, 30])
    assert marks(nic, rows, stream.wire) == [0, 0]
    assert [(event.happening, event.frame) for event in nic.log(0)] == [
        (Happening.INSTALLED, 101),
        (Happening.LOST, 102),
    ]


# Latencies.


@pytest.mark.parametrize("packets", [0, 1, 2, 5])
def test_a_command_due_at_n_acts_before_packet_n(packets: int) -> None:
    stream = stream_of(GCM13, [50] * 12)
    rows = by_record(stream)
    nic = Nic(replace(PROMPT, install=Latency(packets, LONG)))
    assert marks(nic, rows[:3], stream.wire) == [0] * 3  # the clock stands at 3
    due = 3 + max(packets, 1)
    nic.post(0, install(stream, due - 1))  # record n - 1 comes in packet n
    assert marks(nic, rows[3:], stream.wire) == [0] * (due - 4) + [1] * (12 - due + 1)
    installed = nic.log(0)[0]
    assert (installed.frame, installed.time_ns) == (100 + due, due * 1_000)
    assert installed.tcp_sn == stream.seq(stream.starts[due - 1])


@pytest.mark.parametrize(("microseconds", "due"), [(0, 4), (1, 4), (2, 5), (3, 6), (6, 9), (7, 9), (100, 9)])
def test_packets_or_microseconds_whichever_comes_first(microseconds: int, due: int) -> None:
    stream = stream_of(GCM13, [50] * 12)
    rows = by_record(stream)  # one a microsecond
    nic = Nic(replace(PROMPT, install=Latency(6, microseconds)))
    assert marks(nic, rows[:3], stream.wire) == [0] * 3
    nic.post(0, install(stream, due - 1))
    assert marks(nic, rows[3:], stream.wire) == [0] * (due - 4) + [1] * (12 - due + 1)


def test_a_microsecond_is_a_thousand_nanoseconds() -> None:
    nic = Nic(replace(PROMPT, install=Latency(9, 50)))
    stream = stream_of(GCM13, [50])
    take(nic, [row(0, 1, time=1_000_000)], b"")
    nic.post(0, install(stream))
    take(nic, [row(0, 2, time=1_049_999)], b"")
    assert nic.log(0) == []
    take(nic, [row(0, 3, time=1_050_000)], b"")
    assert happenings(nic.log(0)) == [Happening.INSTALLED]


def test_the_clock_of_another_flow_does_not_count() -> None:
    stream = stream_of(GCM13, [50] * 4)
    nic = Nic(replace(PROMPT, install=Latency(2, LONG)))
    take(nic, [row(0, 1)], b"")
    nic.post(0, install(stream))
    for clock in range(1, 50):
        take(nic, [row(1, clock), row(2, clock)], b"")
    assert nic.log(0) == []
    take(nic, [row(0, 2)], b"")
    assert nic.log(0) == []
    take(nic, [row(0, 3)], b"")
    assert happenings(nic.log(0)) == [Happening.INSTALLED]


@pytest.mark.parametrize(
    ("command", "field"),
    [(Query(1), "poll"), (Confirm(1, 5, 5), "confirm"), (SetPosition(1, 5, 5), "confirm")],
)
def test_which_latency_is_whose(command: Command, field: str) -> None:
    stream = stream_of(GCM13, [50] * 4)
    slow = replace(PROMPT, start="search")
    slow = replace(slow, poll=SLOW) if field == "poll" else replace(slow, confirm=SLOW)
    nic = Nic(slow)
    nic.post(0, install(stream))
    take(nic, [row(0, 1)], b"")
    nic.log(0)
    nic.post(0, command)
    seen = []
    for clock in range(2, 10):
        if field == "confirm":
            nic.post(0, Query(1))
        take(nic, [row(0, clock)], b"")
        answers = [answer for answer in nic.answers(0) if isinstance(answer, Progress)]
        moved = any(answer.tracker is Tracker.TRACKING for answer in answers)
        if moved or nic.log(0) or (field == "poll" and answers):
            seen.append(clock)
    assert seen[0] == 1 + SLOW.packets


def test_commands_that_are_due_together_act_in_the_order_in_which_they_were_posted() -> None:
    stream = stream_of(GCM13, [50] * 6)
    rows = by_record(stream)
    nic = Nic(replace(PROMPT, start="search", install=AT_ONCE))
    nic.post(0, install(stream))
    assert marks(nic, rows[:1], stream.wire) == [0]
    for command in (Query(1), Confirm(1, stream.seq(0), 0), Query(1)):
        nic.post(0, command)
    assert marks(nic, rows[1:], stream.wire) == [1] * 5
    states = [(answer.tracker, answer.auth) for answer in nic.answers(0) if isinstance(answer, Progress)]
    assert states == [(Tracker.TRACKING, Auth.NO_OFFLOAD), (Tracker.TRACKING, Auth.AUTHENTICATION)]


# Answers.


def test_a_poll_s_snapshot_is_of_the_moment_when_it_is_due() -> None:
    stream = stream_of(GCM13, [50] * 8)
    rows = by_record(stream)
    nic = Nic(replace(PROMPT, poll=Latency(3, LONG)))
    nic.post(0, install(stream))
    assert marks(nic, rows[:2], stream.wire) == [1, 1]
    nic.post(0, Query(1))
    assert marks(nic, rows[2:4], stream.wire) == [1, 1]
    assert nic.answers(0) == []
    assert marks(nic, rows[4:6], stream.wire) == [1, 1]
    taken = Progress(1, stream.seq(stream.starts[4]), 0, Tracker.TRACKING, Auth.OFFLOAD, 0)  # before the fifth packet
    assert nic.answers(0) == [taken]
    assert nic.answers(0) == []


def test_a_confirm_s_anchor_is_compared_when_it_is_due() -> None:
    stream = stream_of(GCM13, [50] * 10)
    rows = by_record(stream)
    nic = Nic(replace(PROMPT, start="search", confirm=Latency(3, LONG)))
    nic.post(0, install(stream))
    assert marks(nic, rows[:2], stream.wire) == [0, 0]
    nic.post(0, Confirm(1, stream.seq(0), 0))
    nic.post(0, Confirm(1, stream.seq(stream.starts[3]), 3))
    gone = [rows[3], rows[4], rows[5]]  # record 2 is lost: the device anchors anew before the answers are due
    for clock, r in enumerate(gone, 3):
        r[4] = clock
    assert marks(nic, gone, stream.wire) == [0, 0, 1]
    assert happenings(nic.log(0)) == [
        Happening.INSTALLED,
        Happening.ANCHORED,
        Happening.ANCHORED,
        Happening.STALE_CONFIRM,
        Happening.CONFIRMED,
    ]


def test_commands_for_another_epoch_are_not_carried_out() -> None:
    stream = stream_of(GCM13, [50] * 6)
    rows = by_record(stream)
    nic = Nic(replace(PROMPT, start="search"))
    nic.post(0, install(stream, epoch=2))
    assert marks(nic, rows[:1], stream.wire) == [0]
    nic.log(0)
    nic.answers(0)
    for epoch in (1, 3):
        for command in (Query(epoch), Confirm(epoch, stream.seq(0), 0), SetPosition(epoch, stream.seq(0), 0)):
            nic.post(0, command)
    assert marks(nic, rows[1:], stream.wire) == [0] * 5
    assert (nic.answers(0), nic.log(0)) == ([], [])


def test_commands_without_a_receive_tag_are_not_carried_out() -> None:
    nic = Nic(PROMPT)
    for command in (Query(1), Confirm(1, 0, 0), SetPosition(1, 0, 0)):
        nic.post(0, command)
    take(nic, [row()], b"")
    assert (nic.answers(0), nic.log(0)) == ([], [])


@pytest.mark.parametrize("name", list(PROFILES))
def test_guesses_only_from_nics_that_volunteer(name: str) -> None:
    stream = stream_of(GCM13, [50] * 6)
    rows = by_record(stream)
    nic = Nic(replace(PROFILES[name], start="search"))
    nic.post(0, install(stream))
    assert marks(nic, rows[1:3], stream.wire) == [0, 0]
    expected = [Guess(1, stream.seq(stream.starts[1]), stream.seq(stream.starts[1]), stream.end(0))]
    assert nic.answers(0) == (expected if "guess" in PROFILES[name].commands else [])
    assert nic.answers(0) == []


# Nothing depends on how many rows come in one call, nor on the other flows, nor on where LRO cuts.


class Host:
    """Serves host points by a script that looks at nothing but the flow's own rows; keeps what it saw."""

    def __init__(self, profile: Profile, streams: list[TlsStream], limit: int) -> None:
        self.nic = Nic(profile, limit)
        self.streams = streams
        self.seen: dict[int, list[object]] = {}
        for flow, stream in enumerate(streams):
            self.nic.set_budget(flow >> 1, profile.budget)
            self.nic.post(flow, install(stream))

    def serve(self, flow: int) -> None:
        stream = self.streams[flow]
        numbers = {stream.seq(start): index for index, start in enumerate(stream.starts)}
        seen = self.seen.setdefault(flow, [])
        for mbuf in self.nic.flush(flow):
            start = 0
            for end, frame, time_ns in mbuf.arrivals:
                seen.append((mbuf.data[start:end], mbuf.mark, frame, time_ns))
                start = end
        seen += self.nic.log(flow)
        for answer in self.nic.answers(flow):
            seen.append(answer)
            if isinstance(answer, Progress) and answer.hw_resync_tcp_sn in numbers:
                self.nic.post(flow, Confirm(1, answer.hw_resync_tcp_sn, numbers[answer.hw_resync_tcp_sn]))
        self.nic.post(flow, Query(1))


@settings(max_examples=20, deadline=None)
@given(
    losses=st.lists(st.frozensets(st.integers(0, 40), max_size=12), min_size=4, max_size=4),
    order=st.integers(0, 2**32).map(Random),
    cuts=st.frozensets(st.integers(1, 160)),
    budget=st.sampled_from([1, 3, 8]),
    limit=st.sampled_from([1, 100, 65535]),
    latency=st.sampled_from([AT_ONCE, Latency(2, LONG), Latency(9, 3)]),
)
def test_results_depend_on_the_flow_s_own_packets_only(
    losses: list[frozenset[int]], order: Random, cuts: frozenset[int], budget: int, limit: int, latency: Latency
) -> None:
    profile = replace(PROFILES["ideal"], budget=budget, poll=latency, confirm=latency)
    streams = [stream_of(GCM13, [50 + flow] * 20, 2**32 - 300 * flow) for flow in range(4)]
    data = b"".join(stream.wire for stream in streams)
    lanes: list[list[Row]] = []
    base = 0
    for flow, stream in enumerate(streams):
        places = [*range(0, len(stream.wire), 40), len(stream.wire)]
        spans = [span for i, span in enumerate(pairwise(places)) if i not in losses[flow]]
        lanes.append(
            [
                row(flow, clock, stream.seq(start), base + start, end - start)
                for clock, (start, end) in enumerate(spans, 1)
            ]
            + [row(flow, len(spans) + 1, flags=END)]
        )
        base += len(stream.wire)

    alone = Host(profile, streams, 65535)
    for lane in lanes:
        for one in lane:
            walk(alone.nic, [one], data, alone.serve)

    mixed = [flow for flow, lane in enumerate(lanes) for _ in lane]
    order.shuffle(mixed)
    waiting = [iter(lane) for lane in lanes]
    rows = [next(waiting[flow]) for flow in mixed]
    together = Host(profile, streams, limit)
    places = sorted({cut for cut in cuts if cut < len(rows)} | {0, len(rows)})
    for start, end in pairwise(places):
        walk(together.nic, rows[start:end], data, together.serve)
    assert together.seen == alone.seen
