"""The specification's receive traps that concern the NIC, LRO, the policy, the receive tag and the whole path, by name.

Those of reassembly, socket buffer, worker and socket are in tests/host (a table stands at the end of test_worker.py),
that of the interface tree in tests/offload. tests/support/seeds.py has each as a change to our code.
"""

from __future__ import annotations

import pytest

import runs
import traffic
from rxtls.crypto.keys import Keys
from rxtls.crypto.records import Opener, Sealer
from rxtls.crypto.recrypt import recrypt
from rxtls.crypto.suites import SUITES, Version
from rxtls.device.lro import Lro
from rxtls.device.tracker import OFFLOADING, TRACKING
from rxtls.events import RecordClass
from rxtls.intake.batch import ACK
from rxtls.offload.commands import Auth, Confirm, Happening, Progress, Query, Report, Tracker
from rxtls.offload.policies.freebsd_table import COUNT_MAX, SLOTS, FreebsdTable, RecordTable
from rxtls.simulation.link import Impairment
from sample_keys import sample_keys
from tls_stream import Bench, false_headers, stream_of
from tls_stream import TlsStream as Stream

GCM13 = sample_keys(SUITES[0x1301], Version.TLS13)
GCM12 = sample_keys(SUITES[0xC02F], Version.TLS12)


def snapshot(anchor: int, tracker: Tracker = Tracker.TRACKING, auth: Auth = Auth.NO_OFFLOAD) -> Progress:
    return Progress(1, 0, anchor, tracker, auth, 0)


@pytest.mark.parametrize("keys", [GCM13, GCM12])
def test_trap_4_recrypt_leaves_header_nonce_and_aead_tag_alone(keys: Keys) -> None:
    wire = Sealer(keys).seal(7, 23, b"payload" * 30)
    start, end = keys.header_length, len(wire) - keys.aead_tag_length
    opened = Opener(keys).open(7, wire)
    inner = opened.payload + (b"\x17" if keys.version is Version.TLS13 else b"")  # the type byte is in the range
    assert recrypt(keys, 7, wire[:start], [(inner, True)]) == wire[start:end]


@pytest.mark.parametrize("at", [1, 15, 16, 17, 100])
def test_trap_5_keystream_offset_is_the_record_s_and_not_the_buffer_s(at: int) -> None:
    wire = Sealer(GCM13).seal(3, 23, bytes(200))
    cipher, plain = wire[5:-16], bytes(200) + b"\x17"
    assert recrypt(GCM13, 3, wire[:5], [(cipher[:at], False), (plain[at:], True)]) == cipher


def test_trap_7_a_record_whose_aead_tag_fails_is_not_marked_to_its_end() -> None:
    stream = stream_of(GCM13, [3000, 100])
    bench = Bench(stream)
    assert bench.packet(0, 1448)  # the verdict is not known yet
    spoilt = stream.wire[1448 : stream.end(0) - 1] + bytes([stream.wire[stream.end(0) - 1] ^ 1])
    assert bench.receive(1448, spoilt) is None
    assert Happening.AUTH_FAILED in bench.happenings()


def test_trap_20_an_old_segment_is_no_loss_to_the_device() -> None:
    stream = stream_of(GCM13, [500] * 4)
    bench = Bench(stream)
    assert bench.packet(0, 800)
    assert not bench.packet(0, 800)  # the host dropped it; the retransmission passes as on the wire
    assert all(bench.rest(800))
    assert bench.context.state == OFFLOADING


def test_trap_22_lro_keeps_the_order_of_runs_with_different_marks() -> None:
    lro = Lro()
    for n, mark in enumerate((1, 1, 0, 0, 1)):
        lro.add(100 * n, bytes(100), mark, 0, ACK, (n, n), -1, -1)
    assert [(mbuf.seq, len(mbuf.data), mbuf.mark) for mbuf in lro.flush()] == [
        (0, 200, 1),
        (200, 200, 0),
        (400, 100, 1),
    ]


def test_trap_24_a_gap_in_the_reports_restarts_the_table() -> None:
    table = RecordTable()
    table.add(Report(1000, 100, 5))
    table.add(Report(1200, 100, 7))  # record 6 was never reported
    assert (table.find(1000), table.find(1100), table.find(1200)) == (None, None, 7)


def test_trap_25_one_query_is_outstanding_and_never_more() -> None:
    policy = FreebsdTable()
    posted = [policy.report(1, Report(1000 + 100 * n, 100, n)) for n in range(5)]
    assert posted == [[Query(1)], [], [], [], []]
    policy.answer(snapshot(99))
    assert policy.report(1, Report(1500, 100, 5)) == [Query(1)]


def test_trap_26_an_anchor_ahead_of_the_host_is_a_miss_and_no_error() -> None:
    policy = FreebsdTable()
    policy.report(1, Report(1000, 100, 0))
    assert policy.answer(snapshot(1200)) == []
    policy.report(1, Report(1100, 100, 1))
    policy.report(1, Report(1200, 100, 2))  # the host has come to where the device anchored
    assert policy.answer(snapshot(1200)) == [Confirm(1, 1200, 2)]
    policy.answer(snapshot(1300))  # ahead again: what was reported before the miss is as good as ever
    assert policy.answer(snapshot(1000)) == [Confirm(1, 1000, 0)]


def test_trap_27_a_chain_of_false_headers_is_walked_and_never_confirmed() -> None:
    stream = Stream(GCM13)
    stream.append_crafted(b"\xff" * 40 + false_headers(GCM13, 20) + b"\xff" * 60).append(bytes(900)).append(bytes(900))
    bench = Bench(stream, start=None)
    assert not bench.packet(20, 700)
    assert bench.context.state == TRACKING
    assert bench.anchored_at not in stream.starts
    policy = FreebsdTable()
    for number, (start, end) in enumerate(stream.spans()):
        policy.report(1, Report(stream.seq(start), end - start, number))
    assert policy.answer(bench.context.progress()) == []


def test_trap_28_a_confirm_applies_from_the_next_header_on() -> None:
    stream = stream_of(GCM13, [1000] * 6)
    bench = Bench(stream, start=None)
    second, third = stream.starts[1], stream.starts[2]
    assert not bench.packet(second - 10, second + 300)  # anchors at the second record
    bench.confirm(1)
    assert not bench.packet(second + 300, third + 50)  # the joint packet stays whole, as on the wire
    assert bench.packet(third + 50, third + 500)


def test_trap_29_eviction_is_by_slot() -> None:
    table, at = RecordTable(), 0
    for number in range(2 * SLOTS):  # alternating lengths take a slot each
        length = 100 + number % 2
        table.add(Report(at, length, number))
        at += length
    assert table.find(0) is None
    assert table.find(at - 101) == 2 * SLOTS - 1
    for number in range(2 * SLOTS, 5 * SLOTS):  # runs of three in a slot
        length = 200 + number // 3 % 2
        table.add(Report(at, length, number))
        at += length
    assert table.find(at - length) == 5 * SLOTS - 1
    for number in range(5 * SLOTS, 8 * SLOTS):
        table.add(Report(at, 300 + number, number))
        at += 300 + number
    assert table.find(at - 300 - number) == 8 * SLOTS - 1
    equal = RecordTable()
    for number in range(COUNT_MAX * 3):
        equal.add(Report(number * 50, 50, number))
    assert equal.find(0) == 0


def test_trap_31_new_keys_take_the_receive_tag_away_first_and_the_new_one_begins_at_the_live_number() -> None:
    flow = traffic.Flow(records=((4000, 0),) * 40, updates=frozenset({10, 20}), seed=3)
    played = traffic.play(traffic.Scenario((flow,)))
    ran = runs.run(played.frames, played.keylog, settings={"budget": "8"})
    direction = ran.path.flows[0].directions[1]
    assert direction.epoch == 3
    assert ran.path.receive_tags == 0
    assert direction.tally.records[RecordClass.DECRYPTED] > 10
    assert ran.read() == runs.run(played.frames, played.keylog, "none").read()


def test_trap_32_received_bytes_are_never_written_to() -> None:
    stream = stream_of(GCM13, [1000] * 3)
    before = bytes(stream.wire)
    bench = Bench(stream)
    assert all(bench.rest(0))
    assert bytes(stream.wire) == before


def test_trap_36_what_is_counted_comes_back_to_zero_and_polls_are_not_resyncs() -> None:
    flow = traffic.Flow(records=((16384, 0),) * 60, impairment=Impairment(loss=0.02), seed=1)
    played = traffic.play(traffic.Scenario((flow,)))
    ran = runs.run(played.frames, played.keylog)
    tally = ran.path.flows[0].directions[1].tally
    assert ran.path.receive_tags == 0
    assert tally.polls > tally.confirmed >= tally.regained > 0
    assert tally.recrypted < tally.bytes[RecordClass.MIXED]
