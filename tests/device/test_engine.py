"""The engine on hand-built streams: each rule of device/engine.py by itself. What holds together: test_engine_holds."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rxtls.crypto.keys import Keys
from rxtls.device import engine
from rxtls.device.tracker import BOUND, IDLE, OFFLOADING, SEARCHING, TRACKING
from rxtls.offload.commands import Guess, Happening
from sample_keys import made_up, shape_name
from tls_stream import AEAD_TAG, ENGINE_KEYS, GCM12, GCM13, MOMENT, Bench, TlsStream, false_headers, stream_of

BASES = (1_000, 2**32 - 150, 2**31 - 150)  # of sequence space, with the ends of both halves among the first records

every_suite = pytest.mark.parametrize("keys", ENGINE_KEYS, ids=shape_name)
every_base = pytest.mark.parametrize("base", BASES)


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1 :]


# In order.


@every_suite
@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.one_of(st.integers(0, 60), st.just(700)), min_size=1, max_size=8),
    cuts=st.lists(st.integers(0, 3_000), max_size=40),
    base=st.sampled_from(BASES),
    number=st.sampled_from([0, 2**32 - 2, 2**63]),
)
def test_in_order_every_packet_is_decrypted_however_cut(
    keys: Keys, lengths: list[int], cuts: list[int], base: int, number: int
) -> None:
    stream = stream_of(keys, lengths, base, number)
    bench = Bench(stream)
    places = sorted({cut % len(stream.wire) for cut in cuts} | {0, len(stream.wire)})
    assert all(bench.packets(*places))
    assert bench.context.state == OFFLOADING
    assert bench.happenings() == []


@every_suite
@every_base
def test_in_order_one_byte_at_a_time(keys: Keys, base: int) -> None:
    stream = stream_of(keys, [0, 1, 40, 0, 16], base)
    assert all(Bench(stream).rest(0, 1))


@every_suite
def test_the_longest_record_there_is(keys: Keys) -> None:
    stream = stream_of(keys, [16384, 16384])
    assert all(Bench(stream).rest(0, 1460))


@every_suite
def test_padding_is_content_to_the_device(keys: Keys) -> None:
    stream = TlsStream(keys)
    stream.append(b"x", 900 if keys is GCM13 else 0).append(b"", 0)
    assert all(Bench(stream).rest(0, 64))


@every_suite
def test_a_header_in_two_packets_and_in_many(keys: Keys) -> None:
    for first in range(1, keys.header_length):
        stream = stream_of(keys, [50, 50])
        at = stream.starts[1]
        assert Bench(stream).packets(0, at + first, len(stream.wire)) == [True, True]
        every_byte = range(at + first, at + keys.header_length + 1)
        bench = Bench(stream)
        assert all(bench.packets(0, *every_byte, len(stream.wire)))


@every_suite
def test_an_aead_tag_in_two_packets(keys: Keys) -> None:
    stream = stream_of(keys, [50, 50])
    for have in range(AEAD_TAG + 1):
        bench = Bench(stream)
        cut = stream.end(0) - AEAD_TAG + have
        assert bench.packets(0, cut, len(stream.wire)) == [True, True]


@every_suite
def test_a_packet_of_header_or_aead_tag_only_is_marked(keys: Keys) -> None:
    stream = stream_of(keys, [50, 50])
    end = stream.end(0)
    bench = Bench(stream)
    hlen = keys.header_length
    assert bench.packets(0, hlen, end - AEAD_TAG, end, end + hlen) == [True] * 4


@every_suite
def test_the_rest_after_a_cut_aead_tag_that_fails_decrypts_on(keys: Keys) -> None:
    stream = stream_of(keys, [50, 50])
    end = stream.end(0)
    bench = Bench(stream)
    assert bench.packet(0, end - 5)
    assert bench.receive(end - 5, flipped(stream.wire[end - 5 : end], 2)) is None
    assert bench.packet(end, len(stream.wire))


# Below and above what is expected. M is the place of the next header.


@every_suite
@every_base
def test_below_expected_passes_and_changes_nothing(keys: Keys, base: int) -> None:
    stream = stream_of(keys, [100, 100, 100], base)
    bench = Bench(stream)
    assert bench.packet(0, 200)
    before = bench.context.progress()
    assert bench.packets(0, 10, 100, 200) == [False] * 3
    assert not bench.packet(150, 250)  # overlaps: the device takes whole packets or none
    assert bench.receive(199, b"?") is None  # a keep-alive's byte of garbage
    assert bench.context.progress() == before
    assert bench.packet(200, 250)
    assert bench.happenings() == []


@every_suite
@every_base
@pytest.mark.parametrize("overlap", [1, 2, 60])
def test_below_expected_is_passed_even_if_it_contains_m(keys: Keys, base: int, overlap: int) -> None:
    stream = stream_of(keys, [200, 100, 100], base)
    m = stream.starts[1]
    bench = Bench(stream)
    assert bench.packet(0, 100)
    assert not bench.packet(100 - overlap, m + 20)
    assert bench.packet(100, m + 20)  # nothing of it was absorbed
    assert all(bench.rest(m + 20))


@every_suite
@every_base
def test_above_and_ends_before_m_keeps_the_context_and_the_late_original_fills_the_hole(keys: Keys, base: int) -> None:
    stream = stream_of(keys, [400, 100], base)
    bench = Bench(stream)
    assert bench.packet(0, 100)
    assert bench.packets(150, 200, 250) == [False, False]
    assert bench.packet(100, 150)  # late
    assert not bench.packet(250, 300)  # what passed meanwhile is still missing to the engine
    assert bench.packet(150, 250)  # until it is sent again
    assert bench.packet(250, 300)
    assert bench.packet(300, len(stream.wire))
    assert bench.happenings() == []


@every_suite
def test_ends_right_before_m_is_still_before_m(keys: Keys) -> None:
    stream = stream_of(keys, [400, 100])
    bench = Bench(stream)
    assert bench.packet(0, 100)
    m = stream.starts[1]
    assert not bench.packet(150, m)
    assert bench.packet(100, 150)
    assert bench.context.state == BOUND
    assert not bench.packet(m, m + 50)  # starts at M: absorbed from M on, although the rest before M is missing
    assert bench.packet(m + 50, len(stream.wire))


@every_suite
@every_base
@pytest.mark.parametrize("past", [1, 4, 5, 12, 13, 40])
def test_above_and_contains_m_jumps_to_m(keys: Keys, base: int, past: int) -> None:
    stream = stream_of(keys, [400, 100, 100], base)
    m = stream.starts[1]
    bench = Bench(stream)
    assert bench.packet(0, 100)
    assert not bench.packet(150, m + past)
    assert all(bench.rest(m + past))
    assert bench.happenings() == []
    assert bench.context.failures == 0


@every_suite
@every_base
def test_above_and_starts_at_m_exactly(keys: Keys, base: int) -> None:
    stream = stream_of(keys, [400, 100, 100], base)
    m = stream.starts[1]
    bench = Bench(stream)
    assert bench.packet(0, 100)
    assert not bench.packet(m, m + 60)
    assert not bench.packet(100, m)  # the original is late: the engine is past it
    assert bench.packet(m + 60, len(stream.wire))


@every_suite
@every_base
def test_a_jump_over_a_whole_record_inside_the_packet(keys: Keys, base: int) -> None:
    stream = stream_of(keys, [400, 0, 7, 100, 100], base)
    bench = Bench(stream)
    assert bench.packet(0, 100)
    assert not bench.packet(150, stream.starts[3] + 30)
    assert bench.packet(stream.starts[3] + 30, len(stream.wire))


@every_suite
@every_base
@pytest.mark.parametrize("late_by", [1, 3, 40])
def test_above_and_starts_after_m_is_a_loss(keys: Keys, base: int, late_by: int) -> None:
    stream = stream_of(keys, [200, 100, 100], base)
    m = stream.starts[1]
    bench = Bench(stream)
    assert bench.packet(0, 100)
    assert not bench.packet(m + late_by, m + late_by + 20)
    assert bench.context.state == SEARCHING
    lost = bench.context.log[0]
    assert (lost.happening, lost.tcp_sn) == (Happening.LOST, stream.seq(0))  # record 0 is the first that suffers
    assert (lost.frame, lost.time_ns) == MOMENT
    assert not bench.packet(100, m)  # too late: it is not absorbed any more
    assert bench.context.state == SEARCHING


@every_suite
def test_a_loss_between_records_names_the_header_that_was_lost(keys: Keys) -> None:
    stream = stream_of(keys, [100, 100, 100])
    bench = Bench(stream)
    assert bench.packet(0, stream.starts[1])
    assert not bench.packet(stream.starts[1] + 20, stream.starts[1] + 40)
    assert [(event.happening, event.tcp_sn) for event in bench.context.log] == [
        (Happening.LOST, stream.seq(stream.starts[1]))
    ]


@every_suite
@pytest.mark.parametrize("have", [1, 2, 3, 4])
def test_a_hole_in_a_header_is_a_loss(keys: Keys, have: int) -> None:
    stream = stream_of(keys, [100, 100, 100])
    at = stream.starts[1]
    bench = Bench(stream)
    assert bench.packet(0, at + have)
    assert not bench.packet(at + have + 1, at + have + 30)
    assert bench.context.state == SEARCHING


@pytest.mark.parametrize("have", [5, 6, 12])
def test_a_hole_in_an_explicit_nonce_is_no_loss(have: int) -> None:
    stream = stream_of(GCM12, [100, 100, 100])
    at = stream.starts[1]
    bench = Bench(stream)
    assert bench.packet(0, at + have)  # the length is known, and with it the place of the next header
    assert not bench.packet(at + have + 1, stream.starts[2] + 5)
    assert bench.packet(stream.starts[2] + 5, len(stream.wire))
    assert bench.happenings() == []


@pytest.mark.parametrize("have", [5, 6, 12])
def test_a_loss_from_an_explicit_nonce_on_names_its_record(have: int) -> None:
    stream = stream_of(GCM12, [100, 100, 100])
    bench = Bench(stream)
    assert bench.packet(0, stream.starts[1] + have)
    assert not bench.packet(stream.starts[2] + 1, stream.starts[2] + 60)
    assert [(event.happening, event.tcp_sn) for event in bench.context.log] == [
        (Happening.LOST, stream.seq(stream.starts[1]))
    ]


@pytest.mark.parametrize("search_after", [1, 50, 16384])
@every_base
def test_search_after(search_after: int, base: int) -> None:
    stream = stream_of(GCM13, [200, 17000 - 617, 2000], base)
    m = stream.starts[1]
    bench = Bench(stream, search_after=search_after)
    assert bench.packet(0, 100)
    assert not bench.packet(m + search_after, m + search_after + 10)  # within: the hole may still be filled
    assert bench.context.state == BOUND
    assert bench.packet(100, m)
    assert bench.packet(m, m + 30)
    assert bench.happenings() == []

    bench = Bench(stream, search_after=search_after)
    assert bench.packet(0, 100)
    assert not bench.packet(m + search_after + 1, m + search_after + 11)
    assert bench.context.state == SEARCHING
    assert not bench.packet(100, m)
    assert bench.happenings() == [Happening.LOST]


# AEAD failures.


@every_suite
@every_base
def test_after_an_aead_failure_the_next_record_has_the_next_number(keys: Keys, base: int) -> None:
    stream = stream_of(keys, [100, 100, 100], base)
    bench = Bench(stream)
    end = stream.end(0)
    at = keys.header_length + 10
    received = flipped(stream.wire[: end + 20], at)
    assert bench.receive(0, received) is None
    assert all(bench.rest(end + 20))
    failed = bench.context.log
    assert [(event.happening, event.tcp_sn) for event in failed] == [(Happening.AUTH_FAILED, stream.seq(0))]
    assert bench.context.failures == 0


@every_suite
@pytest.mark.parametrize("bad", [0, 1, 2])
def test_one_bad_record_in_a_packet_of_three(keys: Keys, bad: int) -> None:
    stream = stream_of(keys, [30] * 5)
    bench = Bench(stream)
    at = stream.starts[bad] + keys.header_length + 3
    assert bench.receive(0, flipped(stream.wire[: stream.starts[3]], at)) is None
    assert bench.happenings() == [Happening.AUTH_FAILED]
    assert all(bench.rest(stream.starts[3], 40))


@every_suite
def test_packets_before_the_failing_aead_tag_have_gone_up_marked(keys: Keys) -> None:
    stream = stream_of(keys, [100, 100])
    end = stream.end(0)
    bench = Bench(stream)
    assert bench.packet(0, 60)
    assert bench.receive(60, flipped(stream.wire[60 : end + 10], end - 61)) is None
    assert bench.packet(end + 10, len(stream.wire))


@every_suite
@pytest.mark.parametrize("bound", [1, 2, 3])
def test_failures_in_a_row_stop_the_engine(keys: Keys, bound: int) -> None:
    stream = stream_of(keys, [50] * 5)
    bench = Bench(stream, auth_failures=bound)
    for index, (start, end) in enumerate(stream.spans()[:bound]):
        assert bench.context.state == BOUND, index
        assert bench.receive(start, flipped(stream.wire[start:end], -1 % (end - start))) is None
    assert bench.happenings() == [Happening.AUTH_FAILED] * bound + [Happening.STOPPED]
    assert bench.context.state == IDLE
    assert not any(bench.rest(stream.starts[bound]))
    assert bench.context.state == IDLE
    assert bench.happenings() == []


@every_suite
def test_a_stopped_engine_is_deaf(keys: Keys) -> None:
    stream = stream_of(keys, [50] * 3)
    bench = Bench(stream, auth_failures=1)
    assert bench.receive(0, flipped(stream.wire[: stream.end(0)], 30)) is None
    bench.happenings()
    engine.set_position(bench.context, stream.seq(stream.starts[1]), 1)
    bench.confirm(1)
    assert bench.context.state == IDLE
    assert bench.happenings() == [Happening.STALE_CONFIRM]
    assert not any(bench.rest(stream.starts[1]))


@every_suite
def test_a_good_record_ends_the_row_of_failures(keys: Keys) -> None:
    stream = stream_of(keys, [50] * 9)
    bench = Bench(stream, auth_failures=2)
    for index, (start, end) in enumerate(stream.spans()):
        if index % 2:
            assert bench.packet(start, end)
        else:
            assert bench.receive(start, flipped(stream.wire[start:end], 30)) is None
    assert bench.context.state == OFFLOADING
    assert bench.happenings() == [Happening.AUTH_FAILED] * 5


@every_suite
def test_the_stop_is_within_a_packet_too(keys: Keys) -> None:
    stream = stream_of(keys, [20] * 6)
    bench = Bench(stream, auth_failures=2)
    bad = bytearray(stream.wire)
    for index in (1, 2):
        bad[stream.starts[index] + keys.header_length] ^= 1
    assert bench.receive(0, bytes(bad)) is None
    assert bench.context.state == IDLE
    assert bench.happenings() == [Happening.AUTH_FAILED] * 2 + [Happening.STOPPED]


# Out of sync.


@every_suite
@every_base
@pytest.mark.parametrize("cut", [0, 1, 3, 5])
def test_an_implausible_header_while_in_sync_starts_the_search_right_there(keys: Keys, base: int, cut: int) -> None:
    stream = stream_of(keys, [100, 100, 100], base)
    at = stream.starts[1]
    bench = Bench(stream)
    assert bench.packet(0, at)
    bad = stream.wire[at : at + 1] + b"\x07" + stream.wire[at + 2 :]
    if cut:
        first = bench.receive(at, bad[:cut])
        assert (first is None) == (cut == 5)
        if first is not None:
            assert first == bad[:cut]
    assert bench.receive(at + cut, bad[cut:]) is None
    assert bench.context.state == TRACKING
    assert bench.anchored_at == stream.starts[2]
    assert bench.happenings() == [Happening.LOST, Happening.ANCHORED]


@every_suite
def test_the_search_does_not_go_back_to_what_was_absorbed(keys: Keys) -> None:
    stream = stream_of(keys, [100] * 4)
    bad = bytearray(stream.wire)
    bad[stream.starts[1]] = 0
    bench = Bench(stream)
    assert bench.receive(0, bytes(bad[: stream.starts[3] - 1])) is None
    assert bench.anchored_at == stream.starts[2]
    assert [(event.happening, event.tcp_sn) for event in bench.context.log] == [
        (Happening.LOST, stream.seq(stream.starts[1])),
        (Happening.ANCHORED, stream.seq(stream.starts[2])),
    ]
    assert bench.context.false_anchors == 0


@every_suite
@every_base
def test_search_takes_the_first_whole_header(keys: Keys, base: int) -> None:
    stream = stream_of(keys, [300, 100, 100], base, number=40)
    bench = Bench(stream, start=None)
    assert not bench.packet(100, 200)
    assert bench.context.state == SEARCHING
    assert not bench.packet(200, stream.starts[1] + 4)  # four bytes are not enough
    assert bench.context.state == SEARCHING
    assert not bench.packet(stream.starts[1] + 4, stream.starts[2] + 5)
    assert bench.anchored_at == stream.starts[2]
    assert bench.happenings() == [Happening.ANCHORED]
    assert bench.context.guesses == [
        Guess(
            1, stream.seq(stream.starts[2]), stream.seq(stream.starts[1] + 4), stream.starts[2] + 1 - stream.starts[1]
        )
    ]


@every_suite
@pytest.mark.parametrize(
    "noise",
    [
        b"\x03\x03" * 30,
        b"\x17\x03\x03\xff" * 20,
        b"\x17\x03\x03\x00\x00" * 12,  # too short
        b"\x17\x03\x03\xff\xff" * 12,  # too long
        b"\x16\x03\x01\x00\x40" * 12,
        b"\x00\x03\x03\x00\x40" * 12,
        b"\x17\x03",
    ],
    ids=["version", "type-version", "too-short", "too-long", "other-version", "other-type", "cut"],
)
def test_search_goes_past_what_only_resembles_a_header(keys: Keys, noise: bytes) -> None:
    stream = TlsStream(keys)
    stream.append_crafted(b"\xff" * 30 + noise + b"\xff" * 30).append(bytes(50)).append(bytes(50))
    bench = Bench(stream, start=None)
    assert not bench.packet(20, stream.starts[2] + 10)
    assert bench.anchored_at == stream.starts[1]
    bench.confirm(1)
    assert bench.packet(stream.starts[2] + 10, len(stream.wire)) is False  # no header in it
    stream.append(bytes(10))
    assert bench.packet(stream.starts[3], len(stream.wire))


@every_suite
@every_base
def test_a_false_anchor_is_dropped_where_its_chain_breaks(keys: Keys, base: int) -> None:
    stream = TlsStream(keys, base)
    stream.append_crafted(b"\xff" * 20 + false_headers(keys, 5) + b"\xff" * 300).append(bytes(500))
    stream.append(bytes(500)).append(bytes(200))
    bench = Bench(stream, start=None)
    false = keys.header_length + 20
    assert not bench.packet(15, false + 100)
    assert bench.anchored_at == false
    assert bench.context.number == 2  # records walked
    assert not bench.packet(false + 100, false + 300)
    assert bench.context.state == TRACKING
    assert not bench.packet(false + 300, stream.starts[1] + 10)
    assert bench.context.false_anchors == 1
    assert bench.anchored_at == stream.starts[1]
    assert bench.happenings() == [Happening.ANCHORED, Happening.FALSE_ANCHOR, Happening.ANCHORED]
    assert [guess.tcp_sn for guess in bench.context.guesses] == [stream.seq(false), stream.seq(stream.starts[1])]


@every_suite
@pytest.mark.parametrize("short_by", [1, 2, 5, 40])
def test_the_search_goes_on_one_byte_after_the_place_that_was_no_header(keys: Keys, short_by: int) -> None:
    stream = TlsStream(keys)
    at = 30  # the false header is in the ciphertext, and points to a few bytes before the next true one
    total = 200 + AEAD_TAG + (keys.max_trailer - AEAD_TAG) - at - short_by
    stream.append_crafted((b"\xff" * at + b"\x17\x03\x03" + (total - 5).to_bytes(2)).ljust(200, b"\xff"))
    stream.append(bytes(100)).append(bytes(100))
    place = stream.starts[1] - short_by
    cut_at = [(), (place,), (place + 1, place + 4), (place + 4,)]  # where the search has to go back to is still there
    for cuts in cut_at[: 4 if short_by >= 5 else 2]:
        bench = Bench(stream, start=None)
        assert not any(bench.packets(20, *cuts, stream.starts[2]))
        assert bench.anchored_at == stream.starts[1]
        assert bench.context.false_anchors == 1


@every_suite
def test_a_false_anchor_that_breaks_in_its_own_packet_is_never_announced(keys: Keys) -> None:
    stream = TlsStream(keys)
    stream.append_crafted(b"\xff" * 20 + false_headers(keys, 2) + b"\xff" * 100).append(bytes(500))
    bench = Bench(stream, start=None)
    assert not bench.packet(15, stream.starts[1] - 1)
    assert bench.context.state == SEARCHING
    assert (bench.context.false_anchors, bench.context.guesses, bench.happenings()) == (1, [], [])


@every_suite
def test_a_false_anchor_may_hide_the_true_header_until_its_chain_breaks(keys: Keys) -> None:
    stream = TlsStream(keys)
    stream.append_crafted(b"\xff" * 50 + b"\x17\x03\x03\x01\x00" + b"\xff" * 20)
    for _ in range(20):
        stream.append(bytes(100))
    bench = Bench(stream, start=None)
    marks = bench.rest(20, 50)
    assert not any(marks)
    assert bench.context.state == TRACKING
    assert bench.anchored_at in stream.starts
    assert bench.context.false_anchors >= 1


@every_suite
@every_base
@pytest.mark.parametrize("split", [1, 2, 3, 4])
def test_a_header_in_two_packets_while_tracking(keys: Keys, base: int, split: int) -> None:
    stream = stream_of(keys, [100] * 6, base)
    bench = Bench(stream, start=None)
    starts = stream.starts
    assert not bench.packet(starts[1], starts[3] + split)
    assert not bench.packet(starts[3] + split, starts[4] + split)
    assert bench.anchored_at == starts[1]
    assert bench.context.number == 3  # records walked; the header of record 4 is not whole yet
    bench.confirm(1)
    # The header of record 4 was only half seen when the confirm came: the next one is the first that counts.
    assert not bench.packet(starts[4] + split, starts[5])
    assert bench.packet(starts[5], len(stream.wire))


@every_suite
def test_while_tracking_old_packets_do_not_count(keys: Keys) -> None:
    stream = stream_of(keys, [100] * 6)
    bench = Bench(stream, start=None)
    starts = stream.starts
    assert not bench.packet(starts[1], starts[3] + 3)
    before = bench.context.progress()
    assert bench.packets(starts[0], starts[2], starts[3] + 3) == [False, False]
    assert bench.context.progress() == before
    assert not bench.packet(starts[2] + 50, starts[5] + 20)  # overlaps what it has seen of a header
    assert bench.context.number == 5


@every_suite
@every_base
def test_while_tracking_a_lost_header_restarts_the_search(keys: Keys, base: int) -> None:
    stream = stream_of(keys, [100] * 6, base)
    starts = stream.starts
    bench = Bench(stream, start=None)
    assert not bench.packet(starts[1], starts[2])
    assert not bench.packet(starts[2] + 1, starts[3] + 30)
    assert bench.anchored_at == starts[3]
    bench.confirm(1)  # stale: for an anchor that the device no longer holds
    assert bench.context.state == TRACKING
    assert bench.happenings() == [Happening.ANCHORED, Happening.ANCHORED, Happening.STALE_CONFIRM]


# The host's answer.


@every_suite
@every_base
@pytest.mark.parametrize("number", [0, 2**32 - 3, 2**63])
def test_confirm_takes_effect_at_the_next_header_and_the_joint_packet_is_not_marked(
    keys: Keys, base: int, number: int
) -> None:
    stream = stream_of(keys, [200] * 8, base, number)
    starts = stream.starts
    bench = Bench(stream, start=None)
    assert not any(bench.packets(starts[1] - 40, starts[3] + 30, starts[4] + 50))
    assert bench.anchored_at == starts[1]
    bench.confirm(1)
    assert bench.context.state == BOUND
    assert not bench.packet(starts[4] + 50, starts[5])  # the rest of a record whose header came before
    assert bench.packet(starts[5], starts[6] + 10)
    assert all(bench.rest(starts[6] + 10))
    assert bench.context.state == OFFLOADING


@every_suite
def test_the_joint_packet_is_not_marked_but_the_record_s_rest_is(keys: Keys) -> None:
    stream = stream_of(keys, [200] * 8)
    starts = stream.starts
    bench = Bench(stream, start=None)
    assert not bench.packet(starts[1], starts[1] + 50)
    bench.confirm(1)
    assert not bench.packet(starts[1] + 50, starts[2] + 70)
    assert bench.packet(starts[2] + 70, starts[3])
    assert bench.happenings() == [Happening.ANCHORED, Happening.CONFIRMED]


@every_suite
def test_a_loss_is_followed_by_one_resume(keys: Keys) -> None:
    stream = stream_of(keys, [200] * 8)
    starts = stream.starts
    bench = Bench(stream)
    assert bench.packet(0, 100)
    assert not bench.packet(starts[2], starts[2] + 50)
    bench.confirm(2)
    assert bench.happenings() == [Happening.LOST, Happening.ANCHORED, Happening.CONFIRMED]
    assert not bench.packet(starts[2] + 50, starts[3])
    assert bench.happenings() == []
    assert all(bench.rest(starts[3]))
    resumed = bench.context.log
    assert [(event.happening, event.tcp_sn) for event in resumed] == [(Happening.RESUMED, stream.seq(starts[3]))]


@every_suite
def test_confirm_elsewhere_than_while_tracking_is_stale(keys: Keys) -> None:
    stream = stream_of(keys, [200] * 3)
    bench = Bench(stream, start=None)
    bench.confirm(0)  # searching
    assert bench.context.state == SEARCHING
    assert bench.happenings() == [Happening.STALE_CONFIRM]
    bench = Bench(stream)
    bench.confirm(0)  # in sync
    assert bench.packet(0, 100)
    bench.confirm(0)
    assert bench.happenings() == [Happening.STALE_CONFIRM] * 2
    assert all(bench.rest(100))


@every_suite
def test_confirm_twice_is_once(keys: Keys) -> None:
    stream = stream_of(keys, [200] * 6)
    bench = Bench(stream, start=None)
    assert not bench.packet(stream.starts[1], stream.starts[2])
    bench.confirm(1)
    bench.confirm(1)
    assert all(bench.rest(stream.starts[2]))
    assert bench.happenings() == [Happening.ANCHORED, Happening.CONFIRMED, Happening.STALE_CONFIRM]


@every_suite
def test_a_wrong_number_fails_until_the_engine_stops(keys: Keys) -> None:
    stream = stream_of(keys, [200] * 8, number=20)
    starts = stream.starts
    bench = Bench(stream, start=None)
    assert not bench.packet(starts[1], starts[1] + 50)
    bench.confirm(1, wrong_by=-3)
    for index in range(2, 6):
        start, end = starts[index], stream.end(index)
        early = bench.receive(start, stream.wire[start : end - 3])
        late = bench.receive(end - 3, stream.wire[end - 3 : end])
        assert late is None  # no packet in which an AEAD tag ends that did not verify
        assert (early is not None) == (index < 5)
    assert bench.context.state == IDLE
    assert bench.happenings()[2:] == [Happening.AUTH_FAILED] * 3 + [Happening.STOPPED]


def test_a_wrong_number_leaves_headers_and_aead_tags_alone() -> None:
    stream = stream_of(GCM13, [200] * 4, number=20)
    starts = stream.starts
    bench = Bench(stream, start=None)
    assert not bench.packet(starts[1], starts[1] + 50)
    bench.confirm(1, wrong_by=1)
    out = bench.receive(starts[2], stream.wire[starts[2] : starts[3] - 3])
    assert out is not None
    assert out[:5] == stream.wire[starts[2] : starts[2] + 5]
    assert out[-13:] == stream.wire[starts[3] - 16 : starts[3] - 3]


# A byte is marked at most once.


@every_suite
@every_base
def test_old_headers_that_come_again_do_not_start_a_second_run(keys: Keys, base: int) -> None:
    stream = stream_of(keys, [100] * 8, base)
    starts = stream.starts
    bench = Bench(stream)
    assert bench.packet(0, starts[3] + 50)  # marked up to the middle of record 3
    assert not bench.packet(starts[4] + 50, starts[5] - 20)  # record 4's header is lost
    assert not bench.packet(starts[2], starts[2] + 50)  # and everything is sent again, from record 2 on
    assert bench.anchored_at == starts[2]
    bench.confirm(2)
    # Record 3's header was marked, its end was not: in no run may its other half be marked too.
    assert bench.packets(starts[2] + 50, starts[3], starts[3] + 50, starts[4]) == [False] * 3
    assert all(bench.rest(starts[4], 70))


@every_suite
@pytest.mark.parametrize("split", [1, 4])
def test_an_old_header_in_two_packets_does_not_start_a_second_run_either(keys: Keys, split: int) -> None:
    stream = stream_of(keys, [100] * 8)
    starts = stream.starts
    bench = Bench(stream)
    assert bench.packet(0, starts[3] + 50)
    assert not bench.packet(starts[4] + 50, starts[5] - 20)
    assert not bench.packet(starts[2], starts[2] + 50)
    bench.confirm(2)
    assert bench.packets(starts[2] + 50, starts[3] + split, starts[4]) == [False] * 2
    assert all(bench.rest(starts[4], 70))
    assert bench.happenings()[-2:] == [Happening.CONFIRMED, Happening.RESUMED]


@every_suite
def test_resume_at_a_header_right_at_the_end_of_the_marked(keys: Keys) -> None:
    stream = stream_of(keys, [100] * 8)
    starts = stream.starts
    bench = Bench(stream)
    assert bench.packet(0, starts[3])
    assert not bench.packet(starts[4] + 50, starts[5] - 20)
    assert not bench.packet(starts[2], starts[2] + 50)
    bench.confirm(2)
    assert not bench.packet(starts[2] + 50, starts[3])
    assert bench.packet(starts[3], starts[4])


@every_suite
def test_set_position_at_an_old_header_waits_for_a_new_one(keys: Keys) -> None:
    stream = stream_of(keys, [100] * 8)
    starts = stream.starts
    bench = Bench(stream)
    assert bench.packet(0, starts[3] + 50)
    assert not bench.packet(starts[4] + 50, starts[5] - 20)
    engine.set_position(bench.context, stream.seq(starts[1]), 1)
    assert bench.packets(starts[1], starts[2] + 10, starts[3] + 60, starts[4]) == [False] * 3
    assert bench.packet(starts[4], starts[5])


# Where it starts.


@every_suite
@every_base
def test_programmed_start_waits_for_its_header(keys: Keys, base: int) -> None:
    stream = stream_of(keys, [100] * 4, base)
    starts = stream.starts
    bench = Bench(stream, start=2)
    assert bench.packets(0, 60, starts[1]) == [False, False]
    assert not bench.packet(starts[1], starts[2] + 10)  # the joint
    assert bench.packet(starts[2] + 10, starts[3])
    assert bench.packet(starts[3], len(stream.wire))
    assert bench.happenings() == []


@every_suite
def test_programmed_start_with_the_header_in_two_packets(keys: Keys) -> None:
    stream = stream_of(keys, [100] * 4)
    for have in range(1, keys.header_length):
        bench = Bench(stream, start=2)
        assert bench.packets(stream.starts[2], stream.starts[2] + have, stream.starts[3]) == [True, True]


@every_suite
@every_base
@pytest.mark.parametrize("missed", [1, 5, 60])
def test_late_install_has_to_search(keys: Keys, base: int, missed: int) -> None:
    stream = stream_of(keys, [100] * 6, base)
    starts = stream.starts
    bench = Bench(stream, start=1)
    assert not bench.packet(starts[1] + missed, starts[2] + 10)
    assert bench.anchored_at == starts[2]
    bench.confirm(2)
    assert not bench.packet(starts[2] + 10, starts[3])
    assert all(bench.rest(starts[3]))


@every_suite
def test_late_install_within_search_after_waits(keys: Keys) -> None:
    stream = stream_of(keys, [100] * 4)
    bench = Bench(stream, start=1, search_after=30)
    at = stream.starts[1]
    assert not bench.packet(at + 30, at + 50)
    assert bench.packet(at, at + 50)
    assert bench.packet(at + 50, stream.starts[2])


@every_suite
def test_set_position_while_out_of_sync(keys: Keys) -> None:
    stream = stream_of(keys, [100] * 6)
    starts = stream.starts
    for first in ((120, 140), (starts[1], starts[2])):  # searching, tracking
        bench = Bench(stream, start=None)
        assert not bench.packet(*first)
        engine.set_position(bench.context, stream.seq(starts[3]), 3)
        assert not bench.packet(starts[2], starts[3])
        assert all(bench.rest(starts[3]))


@every_suite
def test_set_position_while_in_sync_is_of_no_use(keys: Keys) -> None:
    stream = stream_of(keys, [100] * 6)
    bench = Bench(stream)
    engine.set_position(bench.context, stream.seq(stream.starts[3]), 9)
    assert bench.packet(0, 50)
    engine.set_position(bench.context, stream.seq(stream.starts[3]), 9)
    assert all(bench.rest(50))


@every_suite
def test_sequence_numbers_may_go_round_while_offloading(keys: Keys) -> None:
    stream = stream_of(keys, [40] * 30, 2**32 - 700)
    cuts = [*range(0, len(stream.wire), 37), len(stream.wire)]
    bench = Bench(stream)
    seqs = [stream.seq(start) for start, _ in pairwise(cuts)]
    assert seqs != sorted(seqs)
    assert all(bench.packets(*cuts))
    assert bench.context.expected == bench.context.next_header == stream.seq(len(stream.wire)) < stream.base


def test_every_type_a_tls_1_2_record_may_show() -> None:
    for shown in (20, 21, 22, 23, 24):
        stream = TlsStream(GCM12)
        stream.append(made_up(50, "x"))
        header = bytes([shown]) + stream.wire[1:60]
        bench = Bench(stream)
        assert bench.receive(0, header) is not None
        assert bench.context.state == BOUND


def test_a_long_time_without_marks_does_not_make_new_headers_old() -> None:
    bench = Bench(stream_of(GCM13, [100] * 6))
    assert bench.packet(0, 244)
    assert bench.receive(600, b"x" * 20) is None
    assert bench.context.state == SEARCHING
    later = Bench(stream_of(GCM13, [100] * 6, bench.stream.seq(2**31 + 5_000), number=500))
    later.context = bench.context
    assert not later.packet(0, 122)
    later.confirm(0)
    assert all(later.rest(122, 122))


@every_suite
def test_after_the_last_record_number_there_is_is_nothing_to_decrypt(keys: Keys) -> None:
    stream = stream_of(keys, [100], number=2**64 - 1)
    bench = Bench(stream)
    assert bench.packet(0, len(stream.wire))
    assert bench.receive(len(stream.wire), stream.wire) is None


@every_suite
@pytest.mark.parametrize("confirmed", [False, True])
def test_nor_is_there_when_the_last_one_was_only_passed_by(keys: Keys, confirmed: bool) -> None:
    """RFC 8446, RFC 9846 section 5.3: record numbers must not wrap, however the engine comes to the end of them."""
    stream = stream_of(keys, [100, 100, 100], number=2**64 - 3)
    beyond = stream.wire + stream.wire  # as if there were more
    last = stream.starts[2]
    bench = Bench(stream, start=None if confirmed else 0)
    assert bench.packet(0, last + 20) is not confirmed
    if confirmed:
        bench.confirm(0)  # by then its length has told of the last record, too
    assert bench.receive(last + 30, beyond[last + 30 :]) is None
    assert bench.context.state == IDLE
    assert bench.happenings()[-1] is Happening.STOPPED
    assert bench.receive(len(beyond), beyond) is None


# What is logged, and when.


@every_suite
def test_every_event_has_the_moment_of_the_packet_that_showed_it(keys: Keys) -> None:
    stream = stream_of(keys, [100] * 12)
    starts = stream.starts
    bench = Bench(stream)
    logged: list[tuple[Happening, int, int]] = []  # with the record that each is about

    def at(frame: int) -> None:
        bench.moment = (frame, frame * 1000)

    def log() -> None:
        for event in bench.context.log:
            assert event.time_ns == 1000 * event.frame
            logged.append((event.happening, event.frame, starts.index((event.tcp_sn - stream.base) & 0xFFFF_FFFF)))
        bench.context.log.clear()

    at(1)
    assert bench.packet(0, starts[1] + 20)
    at(2)
    assert not bench.packet(starts[2] + 10, starts[3] + 20)  # a header is lost, the next one found
    log()
    at(3)
    bench.confirm(3)
    at(4)
    assert not bench.packet(starts[3] + 20, starts[4] + 20)  # it resumes within this packet
    log()
    at(5)
    bench.confirm(3)  # twice
    at(6)
    bad = flipped(stream.wire, starts[5] - 1)
    assert bench.receive(starts[4] + 20, bad[starts[4] + 20 : starts[5]]) is None
    log()
    at(7)
    assert not bench.packet(starts[6] + 10, starts[7] + 20)
    at(8)
    bench.confirm(7)
    at(9)
    assert not bench.packet(starts[8] + 5, starts[9] + 20)  # lost again, while it still waited for a header
    log()
    assert logged == [
        (Happening.LOST, 2, 1),  # the record that was being absorbed
        (Happening.ANCHORED, 2, 3),
        (Happening.CONFIRMED, 3, 3),
        (Happening.RESUMED, 4, 4),
        (Happening.STALE_CONFIRM, 5, 3),
        (Happening.AUTH_FAILED, 6, 4),
        (Happening.LOST, 7, 5),  # none had begun: the header that was lost
        (Happening.ANCHORED, 7, 7),
        (Happening.CONFIRMED, 8, 7),
        (Happening.LOST, 9, 8),
        (Happening.ANCHORED, 9, 9),
    ]


@every_suite
@pytest.mark.parametrize("bound", [False, True], ids=["tracking", "waiting for a header"])
def test_what_is_no_header_while_it_walks_has_the_moment_of_its_packet(keys: Keys, bound: bool) -> None:
    stream = stream_of(keys, [100] * 6)
    starts = stream.starts
    broken = flipped(stream.wire, starts[2] + 1)
    bench = Bench(stream, start=None)
    assert not bench.packet(starts[1], starts[1] + 50)
    if bound:
        bench.confirm(1)
    bench.happenings()
    bench.moment = (7, 70)
    place = starts[2] if bound else starts[1]
    assert bench.receive(starts[1] + 50, broken[starts[1] + 50 : starts[3] + 50]) is None
    assert [tuple(event) for event in bench.context.log] == [
        (Happening.LOST if bound else Happening.FALSE_ANCHOR, 7, 70, stream.seq(place)),
        (Happening.ANCHORED, 7, 70, stream.seq(starts[3])),
    ]


@every_suite
def test_the_end_of_offloading_has_the_moment_of_what_brought_it(keys: Keys) -> None:
    stream = stream_of(keys, [100] * 3)
    bench = Bench(stream, auth_failures=1)
    assert bench.packet(0, stream.starts[1])
    bench.moment = (4, 40)
    bad = flipped(stream.wire, stream.starts[2] - 1)
    assert bench.receive(stream.starts[1], bad[stream.starts[1] : stream.starts[2]]) is None
    place = stream.seq(stream.starts[1])
    assert [tuple(event) for event in bench.context.log] == [
        (Happening.AUTH_FAILED, 4, 40, place),
        (Happening.STOPPED, 4, 40, place),
    ]
    last = stream_of(keys, [100] * 3, number=2**64 - 3)
    late = Bench(last, start=None)
    assert not late.packet(0, last.starts[2] + 20)
    late.happenings()
    late.moment = (5, 50)
    late.confirm(0)  # by then all numbers there are have been counted
    assert [(event.happening, event.frame, event.time_ns) for event in late.context.log] == [
        (Happening.CONFIRMED, 5, 50),
        (Happening.STOPPED, 5, 50),
    ]
