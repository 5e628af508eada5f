"""The simulated link, judged from its frames: parsed by dpkt, put together by an obvious reassembler, opened again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import dpkt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import traffic
from rxtls.crypto.suites import SUITES
from rxtls.simulation.link import Address, Connection, Impairment, Link, LinkFrame, LinkRun, TlsSender, interleave
from rxtls.simulation.sender import APPLICATION_DATA

HALF = 1 << 31


class Seen(NamedTuple):
    """One TCP segment of a capture."""

    time_ns: int
    from_server: bool
    seq: int
    ack: int
    flags: int
    window: int
    payload: bytes
    intact: bool
    scale: int | None


def segments(run: LinkRun) -> Iterator[Seen]:
    for frame in run.frames:
        ip = dpkt.ethernet.Ethernet(frame.data).data
        tcp = ip.data
        options = dict(dpkt.tcp.parse_opts(tcp.opts))
        scale = options.get(dpkt.tcp.TCP_OPT_WSCALE)
        received = tcp.sum
        tcp.sum = 0
        ip.sum, ip.len = 0, ip.len  # makes dpkt compute both checksums again
        bytes(ip)
        yield Seen(
            frame.time_ns,
            tcp.sport == 443,
            tcp.seq,
            tcp.ack,
            tcp.flags,
            tcp.win,
            bytes(tcp.data),
            received == tcp.sum,
            None if scale is None else scale[0],
        )


def reassembled(run: LinkRun, from_server: bool, first: int) -> bytes:
    """The stream of one direction, byte by byte: the first copy of each within the window advertised by then."""
    stream, have, advertised, scale = bytearray(), bytearray(), 0, 0
    for segment in segments(run):
        if segment.from_server != from_server:
            scale = segment.scale if segment.scale is not None else scale
            if not segment.flags & 0x04 and segment.flags & 0x10:
                shift = 0 if segment.flags & 0x02 else scale
                acked = (segment.ack - first + HALF) % (1 << 32) - HALF
                advertised = max(advertised, acked + (segment.window << shift))
            elif segment.flags & 0x02:
                # a client's SYN: no number to count from yet, but a window
                advertised = max(advertised, segment.window)
            continue
        if not segment.intact or segment.flags & 0x02:
            continue
        at = (segment.seq - first + HALF) % (1 << 32) - HALF
        end = at + len(segment.payload)
        if len(stream) < end:
            stream.extend(bytes(end - len(stream)))
            have.extend(bytes(end - len(have)))
        for i in range(max(at, 0), min(end, advertised)):
            if not have[i]:
                have[i], stream[i] = 1, segment.payload[i - at]
    missing = have.find(0)
    return bytes(stream if missing < 0 else stream[:missing])


SMALL = ((3000, 0), (0, 0), (16384, 0), (1, 5), (1448, 0))


@pytest.mark.parametrize("kind", traffic.ALL_KINDS, ids=lambda kind: SUITES[kind[0]].name + f"-{kind[1]:x}")
def test_a_clean_link_delivers_the_records_in_order(kind: traffic.Kind) -> None:
    flow = traffic.Flow(kind=kind, records=SMALL, updates=frozenset({2}), sequence=2**32 - 5_000)
    bare = traffic.bare(flow, number=7)
    data = [segment for segment in segments(bare.run) if segment.payload]
    assert b"".join(segment.payload for segment in data) == bare.sent.stream
    assert data[0].seq == 2**32 - 5_000
    assert data[-1].seq < 2**32 - 5_000  # it crossed 2^32
    assert traffic.open_stream(bare, bare.sent.stream) == bare.sent.truth
    assert bare.sent.complete
    assert bare.run.counts == {}


def test_a_key_update_changes_the_keys_and_starts_at_zero() -> None:
    flow = traffic.Flow(records=((10, 0), (10, 0), (10, 0)), updates=frozenset({1, 2}))
    records = traffic.bare(flow, number=5).sent.records
    assert [(record.number, record.generation) for record in records] == [(5, 0), (6, 0), (0, 1), (1, 1), (0, 2)]


@settings(deadline=None, max_examples=40)
@given(flow=traffic.flows(kinds=traffic.STREAM_KINDS, unseen=True))
def test_everything_arrives_whatever_the_link_does(flow: traffic.Flow) -> None:
    bare = traffic.bare(flow)
    assert bare.sent.complete
    if not bare.run.counts["corrupted_unseen"]:
        assert bare.sent.delivered == bare.sent.stream
    for index, record in enumerate(bare.sent.records):
        span = slice(record.start, record.start + record.length)
        assert (bare.sent.delivered[span] != bare.sent.stream[span]) == (index in bare.sent.damaged)


@settings(deadline=None, max_examples=15)
@given(flow=traffic.flows(unseen=True))
def test_the_frames_say_what_the_receiver_accepted(flow: traffic.Flow) -> None:
    played = traffic.whole(replace(flow, impairment=replace(flow.impairment, resegment=0.1)))
    assert reassembled(played.run, not flow.upload, flow.sequence) == played.sent.delivered


@settings(deadline=None, max_examples=15)
@given(flow=traffic.flows(), window=st.sampled_from((3_000, 20_000, 65_536, 300_000)))
def test_the_window_is_honoured(flow: traffic.Flow, window: int) -> None:
    connection = replace(flow.connection, windows=(window, window))
    run = traffic.whole(replace(flow, connection=connection, upload=False)).run
    edge, scale, beyond = 0, 0, 0
    for segment in segments(run):
        position = (segment.ack - flow.sequence + HALF) % (1 << 32) - HALF
        if not segment.from_server and segment.flags & 0x02:
            scale, edge = segment.scale or 0, segment.window
        elif not segment.from_server and not segment.flags & 0x04:
            edge = max(edge, position + (segment.window << scale))
        elif segment.from_server and not segment.flags & 0x02:
            start = (segment.seq - flow.sequence + HALF) % (1 << 32) - HALF
            beyond += start + len(segment.payload) > edge
    assert beyond <= 2 * run.counts["probes"]  # one may be duplicated


@settings(deadline=None, max_examples=10)
@given(scenario=traffic.scenarios())
def test_the_same_seed_gives_the_same_frames(scenario: traffic.Scenario) -> None:
    assert traffic.play(scenario).frames == traffic.play(scenario).frames


def test_another_seed_gives_other_fates() -> None:
    flow = traffic.Flow(impairment=Impairment(loss=0.2))
    assert traffic.bare(flow).run.frames != traffic.bare(replace(flow, seed=1)).run.frames


LOSSY = traffic.Flow(records=((16384, 0),) * 20, impairment=Impairment(loss=0.03))


def test_loss_is_repaired_from_acknowledgements_not_by_waiting() -> None:
    run = traffic.bare(LOSSY).run
    assert run.counts["lost"] > 3
    assert run.counts["timeouts"] == 0
    assert run.frames[-1].time_ns - run.frames[0].time_ns < 100_000_000


def test_a_lost_tail_is_repaired_by_timeout() -> None:
    found = 0
    for seed in range(30):
        run = traffic.bare(traffic.Flow(records=((100, 0),), impairment=Impairment(loss=0.5), seed=seed)).run
        assert run.server.complete
        found += run.counts["timeouts"] > 0
    assert found > 5


def test_a_dead_link_ends_the_attempt() -> None:
    run = traffic.bare(traffic.Flow(impairment=Impairment(loss=1.0))).run
    assert not run.server.complete
    assert run.server.delivered == b""


def test_a_unit_is_lost_as_a_whole() -> None:
    impairment = Impairment(loss=0.15, unit=8)
    lost = [traffic.bare(replace(LOSSY, impairment=impairment, seed=seed)).run.counts["lost"] for seed in range(5)]
    assert sum(lost) >= 80
    assert sum(n % 8 == 0 for n in lost) >= 4  # only the very last unit may be short of segments


@pytest.mark.parametrize("jump", [5, -5])
def test_reordering_moves_a_unit_by_its_jump(jump: int) -> None:
    flow = replace(LOSSY, impairment=Impairment(reorder=0.05, jump=jump), connection=Connection(reordering=100))
    run = traffic.bare(flow).run
    starts = [(segment.seq - 1_000) % 2**32 for segment in segments(run) if segment.payload]
    assert sorted(starts) == sorted(set(starts))  # nothing needed repair
    behind = sum(b < a for a, b in pairwise(starts))
    assert run.counts["reordered"] > 5
    assert 0 < behind <= run.counts["reordered"]


def test_duplicates_are_the_same_frame_twice() -> None:
    run = traffic.bare(replace(LOSSY, impairment=Impairment(duplicate=0.1))).run
    frames = [frame.data for frame in run.frames]
    assert len(frames) - len(set(frames)) == run.counts["duplicated"] > 5


def test_a_bad_checksum_is_seen_and_not_acknowledged() -> None:
    run = traffic.bare(replace(LOSSY, impairment=Impairment(corrupt=0.05))).run
    bad = sum(not segment.intact for segment in segments(run))
    assert bad == run.counts["corrupted"] > 3
    assert run.server.delivered == run.server.stream


def test_a_repaired_checksum_is_accepted_and_damages_a_record() -> None:
    impairment = Impairment(corrupt_unseen=0.02, spare_control=True)
    run = traffic.bare(replace(LOSSY, impairment=impairment)).run
    assert all(segment.intact for segment in segments(run))
    assert run.server.complete
    assert run.counts["corrupted_unseen"] >= len(run.server.damaged) > 0
    for record in run.server.records:
        assert (
            run.server.delivered[record.start : record.start + 5] == run.server.stream[record.start : record.start + 5]
        )


def test_resegmented_repairs_overlap_what_is_there() -> None:
    run = traffic.bare(replace(LOSSY, impairment=Impairment(loss=0.1, resegment=0.5))).run
    lengths = {len(segment.payload) for segment in segments(run)}
    assert len(lengths) > 50
    assert sum(len(segment.payload) for segment in segments(run)) > len(run.server.stream)
    assert run.server.delivered == run.server.stream


def test_a_stalled_reader_closes_the_window_and_is_probed() -> None:
    connection = Connection(stall=0.1, windows=(20_000, 20_000))
    run = traffic.whole(replace(LOSSY, impairment=Impairment(), connection=connection)).run
    assert run.counts["probes"] > 0
    assert any(segment.window == 0 and not segment.flags & 0x04 for segment in segments(run) if not segment.from_server)
    assert run.server.complete


def test_keep_alives_repeat_a_byte_that_was_acknowledged() -> None:
    run = traffic.bare(replace(LOSSY, impairment=Impairment(), connection=Connection(keepalive=0.2))).run
    assert run.counts["keepalives"] > 3
    assert run.server.delivered == run.server.stream


def test_handshake_and_fins_frame_the_connection() -> None:
    seen = list(segments(traffic.whole(traffic.Flow()).run))
    assert [segment.flags & 0x13 for segment in seen[:3]] == [0x02, 0x12, 0x10]
    assert seen[0].seq == (Connection().sequences[0] - 1)
    fins = [segment for segment in seen if segment.flags & 0x01]
    assert {segment.from_server for segment in fins} == {True, False}
    assert not seen[-1].payload


def test_a_reset_stands_at_the_number_the_server_expects() -> None:
    flow = traffic.Flow(connection=Connection(end="rst"))
    seen = list(segments(traffic.whole(flow).run))
    assert seen[-1].flags & 0x04
    assert seen[-1].seq == max(segment.ack for segment in seen[1:] if segment.from_server)


@pytest.mark.parametrize(("tap", "lost_seen"), [("client", False), ("server", True), ("middle", False)])
def test_only_a_tap_at_the_sender_sees_what_the_link_lost(tap: str, lost_seen: bool) -> None:
    sender = TlsSender(plan=[])
    sender.raw(bytes(200_000))
    connection = replace(Connection(), tap=tap)  # type: ignore[arg-type]
    run = Link(5, to_client=Impairment(loss=0.05)).run(connection, None, sender)
    sent = sum(len(segment.payload) for segment in segments(run))
    assert run.counts["lost"] > 0
    assert (sent > len(run.server.stream)) == lost_seen
    assert [frame.time_ns for frame in run.frames] == sorted(frame.time_ns for frame in run.frames)


def test_a_tap_at_the_receiver_sees_an_acknowledgement_at_once_and_one_at_the_sender_a_round_trip_later() -> None:
    waits = {}
    for tap in ("client", "server"):
        flow = traffic.Flow(records=((4000, 0),), connection=replace(Connection(), handshake=False))
        sender = TlsSender.tls13(flow.suite, bytes(32))
        sender.record(APPLICATION_DATA, bytes(4000))
        run = Link(0).run(replace(flow.connection, tap=tap), None, sender)
        seen = list(segments(run))
        data = next(segment for segment in seen if segment.payload)
        ack = next(segment for segment in seen if not segment.from_server)
        waits[tap] = ack.time_ns - data.time_ns
    assert waits["client"] < 10_000 < 200_000 <= waits["server"]


def test_gates_make_a_conversation() -> None:
    client, server = TlsSender(), TlsSender()
    client.record(22, b"hello")
    server.wait(client)
    server.record(22, b"hello yourself")
    client.wait(server, pause_ns=5_000_000)
    client.record(23, b"thanks")
    run = Link(0).run(Connection(), client, server)
    data = [segment for segment in segments(run) if segment.payload]
    assert [segment.from_server for segment in data] == [False, True, False]
    assert data[2].time_ns - data[1].time_ns >= 5_000_000


def test_moving_to_another_interface_is_on_the_frames() -> None:
    flow = replace(LOSSY, impairment=Impairment(move=0.05), connection=Connection(interfaces=(3, 4)))
    run = traffic.bare(flow).run
    assert {frame.interface for frame in run.frames} == {3, 4}
    assert run.counts["moved"] > 1


def test_ipv6_vlans_and_timestamps_go_into_every_frame() -> None:
    connection = Connection(
        client=Address("2001:db8::1", 4000), server=Address("2001:db8::2", 443), vlans=(5, 6), timestamps=True
    )
    run = traffic.whole(traffic.Flow(connection=connection)).run
    for frame in run.frames:
        assert frame.data[12:22] == b"\x88\xa8\x00\x05\x81\x00\x00\x06\x86\xdd"
    assert all(b"\x08\x0a" in frame.data for frame in run.frames)


def test_received_frames_have_ethernet_padding_and_own_ones_have_not() -> None:
    run = traffic.whole(
        replace(LOSSY, upload=True, connection=Connection(timestamps=False))
    ).run  # tapped at the server
    sizes: dict[bool, set[int]] = {True: set(), False: set()}
    for frame, segment in zip(run.frames, segments(run), strict=True):
        if not segment.payload and not segment.flags & 0x02:
            sizes[segment.from_server].add(len(frame.data))
    assert sizes == {True: {54}, False: {60}}


def test_interleave_merges_by_time_and_keeps_each_order() -> None:
    flows = [[LinkFrame(t, bytes([flow, t])) for t in (1, 1, 2, 5)] for flow in range(4)]
    merged = interleave(flows, seed=1)
    assert [frame.time_ns for frame in merged] == sorted(frame.time_ns for frame in merged)
    for flow in range(4):
        assert [frame for frame in merged if frame.data[0] == flow] == flows[flow]
    assert merged == interleave(flows, seed=1)
    assert any(merged != interleave(flows, seed=seed) for seed in range(2, 6))


SENSELESS: list[tuple[Callable[[], object], str]] = [
    (lambda: Impairment(loss=1.5), "loss is a probability"),
    (lambda: Impairment(move=-0.1), "move is a probability"),
    (lambda: Impairment(unit=0), "unit is at least 1"),
    (lambda: Connection(mss=0), "mss is 1 to"),
    (lambda: Connection(windows=(0, 5)), "a window is 1 to"),
    (lambda: Connection(windows=(1 << 31, 5)), "a window is 1 to"),
    (lambda: Connection(interfaces=()), "there is an interface"),
]


@pytest.mark.parametrize(("build", "cause"), SENSELESS)
def test_what_makes_no_sense_is_refused(build: Callable[[], object], cause: str) -> None:
    with pytest.raises(ValueError, match=cause):
        build()


def test_neither_keys_nor_plaintext_stand_in_repr() -> None:
    bare = traffic.bare(traffic.Flow(records=((20, 0),)))
    payload = bare.sent.truth[0][1]
    shown = repr(bare.run) + repr(bare.sent.records) + repr(bare.keys)
    assert repr(payload)[2:-1] not in shown
