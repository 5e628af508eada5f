from __future__ import annotations

from unittest.mock import patch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rxtls.device import engine
from rxtls.offload.commands import Auth, Confirm, Guess, Progress, Query, Report, Tracker
from rxtls.offload.policies import freebsd_table
from rxtls.offload.policies.freebsd_table import COUNT_MAX, SLOTS, FreebsdTable, RecordTable
from rxtls.seq import add
from tls_stream import GCM13, MOMENT, Bench, TlsStream, false_headers, stream_of


class ListOfRecords:
    """The obvious model: all records one by one, each with the number of the slot that it would be in."""

    def __init__(self, slots: int, count_max: int) -> None:
        self.slots = slots
        self.count_max = count_max
        self.records: list[tuple[Report, int]] = []

    def add(self, report: Report) -> None:
        last = self.records[-1] if self.records else None
        if report.length == 0:
            self.records = []
        elif last is None or (last[0].tcp_sn + last[0].length) % 2**32 != report.tcp_sn:
            self.records = [(report, 0)]
        else:
            slot = last[1]
            if last[0].length != report.length or [s for _, s in self.records].count(slot) == self.count_max:
                slot += 1
            self.records.append((report, slot))
            self.records = [(r, s) for r, s in self.records if s > slot - self.slots]

    def find(self, tcp_sn: int) -> int | None:
        for report, _ in self.records:
            if report.tcp_sn == tcp_sn:
                return report.number
        return None


def compare(table: RecordTable, model: ListOfRecords, beside: list[int]) -> None:
    assert table.active is bool(model.records)
    places = {report.tcp_sn for report, _ in model.records} | set(beside)
    if model.records:
        last = model.records[-1][0]
        places.add((last.tcp_sn + last.length) % 2**32)
    for place in places:
        for off in (-1, 0, 1, 100, -100):
            assert table.find((place + off) % 2**32) == model.find((place + off) % 2**32)


STEPS = st.tuples(
    st.sampled_from([100, 100, 100, 100, 16406, 22, 0]),  # length
    st.sampled_from([0] * 12 + [1, -100, 100, 2**31, 12345]),  # gap
)


@given(
    steps=st.lists(STEPS, max_size=60),
    base=st.sampled_from([0, 5_000, 2**32 - 1_000, 2**31 - 1_000]),
    number=st.sampled_from([0, 2**32 - 5, 2**63]),
    slots=st.sampled_from([1, 2, 4]),
    count_max=st.sampled_from([1, 2, 3, 50]),
    beside=st.lists(st.integers(0, 2**32 - 1), max_size=5),
)
@example([(100, 0)] * 60, 2**32 - 1_000, 0, 4, 3, [])
@example([(100, 0), (22, 0)] * 30, 2**32 - 1_000, 0, 4, 50, [])
def test_against_a_list_of_all_records(
    steps: list[tuple[int, int]], base: int, number: int, slots: int, count_max: int, beside: list[int]
) -> None:
    table, model = RecordTable(), ListOfRecords(slots, count_max)
    seq, given_places = base, list(beside)
    with patch.object(freebsd_table, "SLOTS", slots), patch.object(freebsd_table, "COUNT_MAX", count_max):
        for length, gap in steps:
            seq = (seq + gap) % 2**32
            report = Report(seq, length, number)
            table.add(report)
            model.add(report)
            given_places.append(seq)
            seq = (seq + length) % 2**32
            number += 1
        compare(table, model, given_places)


def test_its_size_is_the_driver_s() -> None:
    assert (SLOTS, COUNT_MAX) == (32, 2048)
    assert SLOTS * COUNT_MAX * 16384 == 1 << 30


@pytest.mark.parametrize("base", [0, 2**32 - 100_000])
def test_alternating_lengths_keep_32_records(base: int) -> None:
    table = RecordTable()
    places = []
    seq = base
    for number in range(100):
        places.append(seq)
        table.add(Report(seq, 100 + number % 2, number))
        seq = add(seq, 100 + number % 2)
    assert [table.find(place) for place in places] == [None] * 68 + list(range(68, 100))


@pytest.mark.parametrize("base", [0, 2**32 - 1_000_000])
def test_equal_lengths_keep_65536_records_by_slots_of_2048(base: int) -> None:
    table = RecordTable()
    for number in range(65536):
        table.add(Report(add(base, number * 16384), 16384, number))
    assert table.find(base) == 0
    assert table.find(add(base, 65535 * 16384)) == 65535
    table.add(Report(add(base, 65536 * 16384), 16384, 65536))
    assert [table.find(add(base, n * 16384)) for n in (0, 2047, 2048, 65536)] == [None, None, 2048, 65536]


def test_a_gap_restarts_it_and_the_end_of_a_loss_empties_it() -> None:
    table = RecordTable()
    table.add(Report(1_000, 100, 1))
    table.add(Report(1_100, 100, 2))
    assert (table.find(1_000), table.find(1_100), table.find(1_200)) == (1, 2, None)
    table.add(Report(1_300, 100, 4))  # record 3 was decrypted, or failed
    assert (table.find(1_100), table.find(1_300)) == (None, 4)
    table.add(Report(1_400, 0, 4))
    assert not table.active
    assert table.find(1_300) is None
    table.add(Report(1_400, 100, 9))  # what would continue the old run starts a new one
    assert (table.active, table.find(1_300), table.find(1_400)) == (True, None, 9)


def test_an_empty_table_finds_nothing() -> None:
    table = RecordTable()
    assert not table.active
    assert table.find(0) is None


def test_only_starts_are_found() -> None:
    table = RecordTable()
    for number in range(10):
        table.add(Report(2**32 - 500 + 100 * number & 0xFFFF_FFFF, 100, number))
    found = [off for off in range(-300, 1_300) if table.find((2**32 - 500 + off) % 2**32) is not None]
    assert found == list(range(0, 1_000, 100))
    assert table.find((2**32 - 500 + 2**31) % 2**32) is None


# The policy: when it polls, and what it makes of the answers.

TRACKING = Progress(1, 0, 1_100, Tracker.TRACKING, Auth.NO_OFFLOAD, 0)


def policy_with(*reports: Report) -> FreebsdTable:
    policy = FreebsdTable()
    assert policy.report(1, reports[0]) == [Query(1)]
    for report in reports[1:]:
        assert policy.report(1, report) == []
    return policy


TWO = (Report(1_000, 100, 7), Report(1_100, 100, 8))


def test_one_query_outstanding_and_a_miss_polls_again_with_the_next_report() -> None:
    policy = policy_with(*TWO)
    assert policy.answer(TRACKING._replace(hw_resync_tcp_sn=5_000)) == []  # ahead of what the host has opened
    assert policy.report(1, Report(1_200, 100, 9)) == [Query(1)]
    assert policy.report(1, Report(1_300, 100, 10)) == []
    assert policy.answer(TRACKING._replace(hw_resync_tcp_sn=1_300)) == [Confirm(1, 1_300, 10)]
    assert policy.report(1, Report(1_400, 100, 11)) == [Query(1)]


@pytest.mark.parametrize("tracker", Tracker)
@pytest.mark.parametrize("auth", Auth)
def test_only_a_device_that_tracks_and_does_not_offload_is_answered(tracker: Tracker, auth: Auth) -> None:
    said = policy_with(*TWO).answer(TRACKING._replace(tracker=tracker, auth=auth))
    waits = (tracker, auth) == (Tracker.TRACKING, Auth.NO_OFFLOAD)
    assert said == ([Confirm(1, 1_100, 8)] if waits else [])


def test_the_answer_s_epoch_is_confirmed() -> None:
    assert policy_with(*TWO).answer(TRACKING._replace(epoch=6)) == [Confirm(6, 1_100, 8)]


def test_sync_regained_polls_no_more() -> None:
    policy = FreebsdTable()
    assert policy.report(1, Report(1_000, 0, 7)) == []
    policy = policy_with(*TWO)
    assert policy.report(1, Report(1_200, 0, 8)) == []
    assert policy.answer(TRACKING) == []  # the table is empty
    assert policy.report(1, Report(1_200, 0, 9)) == []
    assert policy.report(1, Report(1_300, 100, 10)) == [Query(1)]


def test_guesses_are_ignored_and_do_not_count_as_the_answer() -> None:
    policy = policy_with(*TWO)
    assert policy.answer(Guess(1, 1_100, 1_050, 500)) == []
    assert policy.report(1, Report(1_200, 100, 9)) == []  # the query is still out


# With a device: the normal sequence (loss, anchor, miss, hit, sync), and anchors that are none.


@pytest.mark.parametrize("base", [1_000, 2**32 - 1_200])
def test_the_normal_sequence(base: int) -> None:
    stream = stream_of(GCM13, [100 + 10 * (index % 3) for index in range(16)], base, number=50)
    bench = Bench(stream)
    policy = FreebsdTable()
    decrypted: list[int] = []
    confirmed = None
    for index, (start, end) in enumerate(stream.spans()):
        if index == 4:
            continue  # lost
        if bench.packet(start, end):
            decrypted.append(index)
            continue
        # The host is two records behind: what it reports is what the device passed two packets ago.
        behind = index - 2
        if behind < 4:
            continue
        report = Report(stream.seq(stream.starts[behind]), stream.end(behind) - stream.starts[behind], 50 + behind)
        for command in policy.report(1, report):
            assert isinstance(command, Query)
            for answer in policy.answer(bench.context.progress()):
                assert isinstance(answer, Confirm)
                confirmed = answer
                engine.confirm(bench.context, answer.tcp_sn, answer.number, MOMENT)
    assert confirmed == Confirm(1, stream.seq(stream.starts[5]), 55)
    assert decrypted == [0, 1, 2, 3, *range(8, 16)]


@given(total=st.integers(30, 120), chain=st.integers(1, 20), before=st.integers(0, 60), length=st.integers(200, 2_000))
def test_a_false_anchor_is_never_confirmed(total: int, chain: int, before: int, length: int) -> None:
    stream = TlsStream(GCM13)
    crafted = (b"\xff" * before + false_headers(GCM13, chain, total) + bytes(length))[:length]
    for _ in range(6):
        stream.append_crafted(crafted)
    bench = Bench(stream, start=None)
    policy = FreebsdTable()
    for start, end in stream.spans():
        bench.packet(start + 5, end)
        policy.answer(bench.context.progress())
        for _ in policy.report(1, Report(stream.seq(start), end - start, stream.starts.index(start))):
            answers = policy.answer(bench.context.progress())
            assert all(isinstance(said, Confirm) and said.tcp_sn in map(stream.seq, stream.starts) for said in answers)
            assert bench.anchored_at in stream.starts or answers == []
