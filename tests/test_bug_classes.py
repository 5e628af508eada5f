"""The bugs that TLS receive offload has had elsewhere, each with a test named after it.

Classes 1 to 35 are those of Linux (tls_device.c, tls_strp.c, tls_sw.c, mlx5), `upstream` ones are FreeBSD's; the traps
of D32356 have tests named test_trap_N wherever their part is tested. tests/support/seeds.py has each bug as a change to
our code, and tests/test_seeded_bugs.py sees that the test named there notices it.
"""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest

import path_changes
import runs
import traffic
from rxtls.crypto.keys import Keys
from rxtls.crypto.records import Sealer
from rxtls.crypto.stream import StreamOpener
from rxtls.crypto.suites import SUITES, Version
from rxtls.device.lro import Lro
from rxtls.errors import SocketError
from rxtls.events import By, RecordClass
from rxtls.host.sockbuf import SockBuf
from rxtls.host.socket.socket import SO_RCVBUF, SOL_SOCKET, Msg
from rxtls.host.worker import CryptoState, Outcome, Session
from rxtls.intake.batch import ACK
from rxtls.offload.commands import Auth, Command, Confirm, Guess, Install, Progress, Query, Report, Standing, Tracker
from rxtls.offload.mbuf import WIRE
from rxtls.offload.policies.freebsd_table import FreebsdTable
from rxtls.offload.policies.linux_async import LinuxAsync
from rxtls.offload.policies.next_hint import NextHint
from rxtls.offload.receive_tag import PATIENCE, LifeEvent, ReceiveTag
from rxtls.path.receive import ReceivePath
from rxtls.simulation.link import Address, Connection, Impairment
from rxtls.simulation.link_model import LinkFrame
from sample_keys import made_up, sample_keys
from sample_mbufs import mbuf
from socket_bed import EOF, Bed, sealed
from tls_stream import Bench, false_headers, stream_of
from tls_stream import TlsStream as Stream

GCM13 = sample_keys(SUITES[0x1301], Version.TLS13)
GCM12 = sample_keys(SUITES[0xC02F], Version.TLS12)
NEXT13 = sample_keys(SUITES[0x1301], Version.TLS13, label="next")
HANDSHAKE, DATA = 22, 23
A, B, C = made_up(3000, "a"), made_up(2000, "b"), made_up(500, "c")


def on_device(keys: Keys, number: int, wire: bytes) -> bytes:
    """The record after a NIC has run its cipher over it."""
    start, end = keys.header_length, len(wire) - keys.aead_tag_length
    return wire[:start] + StreamOpener(keys, number, wire[:start]).update(wire[start:end]) + wire[end:]


def opened(keys: Keys, pieces: list[tuple[bytes, int]], number: int = 0) -> list[Outcome]:
    """What the worker makes of these pieces of the stream, each with its mark."""
    sockbuf, session = SockBuf(), Session(keys, number)
    sockbuf.enable()
    session.begin_epoch(1)
    at = 5000
    for data, mark in pieces:
        sockbuf.append(mbuf(at, data, mark))
        at += len(data)
    found = []
    while outcome := session.step(sockbuf):
        found.append(outcome)
    return found


def payloads(outcomes: list[Outcome]) -> list[bytes | None]:
    return [outcome.opened and outcome.opened.payload for outcome in outcomes]


def lossy(seed: int = 1, loss: float = 0.03, records: int = 60, **more: object) -> traffic.Played:
    flow = traffic.Flow(records=((8000, 0),) * records, seed=seed, impairment=Impairment(loss=loss), **more)  # type: ignore[arg-type]
    return traffic.play(traffic.Scenario((flow,)))


def test_class_1_lro_never_joins_decrypted_and_encrypted_segments() -> None:
    lro = Lro()
    for n, mark in enumerate((1, 0, 1, 0)):
        lro.add(100 * n, bytes(100), mark, 0, ACK, (n, n), -1, -1)
    assert [(each.mark, len(each.data)) for each in lro.flush()] == [(1, 100), (0, 100), (1, 100), (0, 100)]


@pytest.mark.parametrize("marks", [(1, 0, 1), (0, 1, 0), (1, 1, 0), (0, 0, 1)])
def test_class_2_out_of_order_segments_keep_their_marks_when_they_meet(marks: tuple[int, int, int]) -> None:
    bed = Bed("none", "plain")
    direction = bed.path.flows[0].directions[0]
    at = direction.reassembly.rcv_nxt
    for n in (2, 1, 0):
        direction.input(mbuf(at + 10 * n, bytes([n]) * 10, marks[n]))
    assert [each.mark for each in direction.sockbuf._chain for _ in each.data] == [m for m in marks for _ in range(10)]


@pytest.mark.parametrize("at", [1, 4, 5, 6, 1000, 3021, 3022])
def test_class_3_a_mixed_record_keeps_its_status_at_every_split(at: int) -> None:
    wire = Sealer(GCM13).seal(0, DATA, A)
    plain = on_device(GCM13, 0, wire)
    for pieces in ([(plain[:at], 1), (wire[at:], WIRE)], [(wire[:at], WIRE), (plain[at:], 1)]):
        kept = [piece for piece in pieces if piece[0]]
        assert payloads(opened(GCM13, kept)) == [A]


def test_class_4_headers_in_pieces_of_one_byte() -> None:
    bed = Bed("none", "plain")
    bed.enable(GCM12)
    bed.send(sealed(GCM12, [C, C]), mss=1)
    assert bed.everything() == [(DATA, C), (DATA, C)]
    # And where LRO has joined nothing.
    assert payloads(opened(GCM12, [(bytes([each]), WIRE) for each in sealed(GCM12, [C, C])])) == [C, C]


@pytest.mark.parametrize("start", [7, 500])
def test_class_5_recrypt_goes_by_the_record_s_offsets_not_the_buffer_s(start: int) -> None:
    first, second = (Sealer(GCM13).seal(n, DATA, payload) for n, payload in ((0, C), (1, A)))
    marked = on_device(GCM13, 1, second)
    # Marked buffers begin and end in the middle of the second record; the first lies before it in the same chain.
    pieces = [(first + second[:start], WIRE), (marked[start : start + 400], 1)]
    pieces += [(second[start + 400 : start + 500], WIRE), (marked[start + 500 : start + 1000], 1)]
    pieces += [(second[start + 1000 :], WIRE)]
    outcomes = opened(GCM13, pieces)
    assert payloads(outcomes) == [C, A]
    assert [outcome.recrypted for outcome in outcomes] == [0, 900]


@pytest.mark.parametrize("cut", range(1, 16))
def test_class_6_an_aead_tag_in_two_pieces(cut: int) -> None:
    wire = Sealer(GCM13).seal(0, DATA, C)
    plain = on_device(GCM13, 0, wire)
    for first, second in ((1, WIRE), (WIRE, 1)):
        ends = {1: plain, WIRE: wire}
        outcome = opened(GCM13, [(ends[first][:-cut], first), (ends[second][-cut:], second)])[0]
        assert outcome.opened is not None
        assert (outcome.state, outcome.opened.payload) == (CryptoState.MIXED, C)


def test_class_7_the_walk_over_buffers_ends_with_the_record() -> None:
    wires = [Sealer(GCM13).seal(n, DATA, payload) for n, payload in enumerate((C, B, C))]
    half = on_device(GCM13, 1, wires[1])
    pieces = [(wires[0] + wires[1][:700], WIRE), (half[700:], 1), (wires[2], WIRE)]
    outcomes = opened(GCM13, pieces)
    assert payloads(outcomes) == [C, B, C]
    assert [outcome.composition for outcome in outcomes] == ["E", "ED", "E"]


def test_class_8_a_decrypted_record_that_does_not_begin_its_buffer() -> None:
    wires = [Sealer(GCM13).seal(n, DATA, payload) for n, payload in enumerate((C, B, C))]
    everything = b"".join(on_device(GCM13, n, wire) for n, wire in enumerate(wires))
    outcomes = opened(GCM13, [(everything, 1)])
    assert payloads(outcomes) == [C, B, C]
    assert {outcome.state for outcome in outcomes} == {CryptoState.DECRYPTED}


def test_class_9_re_encryption_is_no_failure_to_decrypt() -> None:
    played = lossy()
    ran = runs.run(played.frames, played.keylog, engine="plain")
    tally = ran.path.flows[0].directions[1].tally
    assert tally.records[RecordClass.MIXED] > 0
    assert tally.records[RecordClass.FAILED] == 0


@pytest.mark.parametrize("meanwhile", range(15))
def test_class_10_the_number_after_k_records_between_request_and_answer(meanwhile: int) -> None:
    policy = LinuxAsync()
    assert policy.answer(Guess(1, 1000, 1000, 1448)) == [Query(1)]
    place = 1000
    for number in range(5, 5 + meanwhile + 1):
        policy.report(1, Report(place, 100, number))
        place += 100
    behind = min(meanwhile, 3)  # the device stands at one of the packet's headers, not only at its first
    policy.answer(Progress(1, 0, 1000 + 100 * behind, Tracker.TRACKING, Auth.NO_OFFLOAD, 0))
    wanted = [Confirm(1, 1000 + 100 * behind, 5 + behind)]
    assert policy.report(1, Report(place, 100, 5 + meanwhile + 1)) == wanted


def test_class_11_an_answer_that_never_comes_is_asked_for_again() -> None:
    tag = ReceiveTag(1, 0, FreebsdTable())
    tag.fire(LifeEvent.ALLOC)
    tag.fire(LifeEvent.INSTALLED)
    posted = [tag.report(Report(1000 + 100 * n, 100, n)) for n in range(2 * PATIENCE + 3)]
    asked = [n for n, commands in enumerate(posted) if commands == [Query(1)]]
    assert asked == [0, PATIENCE, 2 * PATIENCE]
    # The one answer that comes ends the waiting.
    tag.answer(Progress(1, 0, 77, Tracker.TRACKING, Auth.NO_OFFLOAD, 0))
    assert tag.report(Report(1000 + 100 * len(posted), 100, len(posted))) == [Query(1)]


def test_class_12_states_have_the_hardware_s_numbers() -> None:
    assert [(state.name, state.value) for state in Tracker] == [("START", 0), ("TRACKING", 1), ("SEARCHING", 2)]
    assert [(state.name, state.value) for state in Auth] == [("NO_OFFLOAD", 0), ("OFFLOAD", 1), ("AUTHENTICATION", 2)]


def test_class_13_two_confirms_that_race_are_one() -> None:
    stream = stream_of(GCM13, [1000] * 6)
    bench = Bench(stream, start=None)
    bench.packet(stream.starts[1] - 10, stream.starts[1] + 300)
    bench.confirm(1)
    before = (bench.context.state, bench.context.number)
    bench.confirm(1)
    assert (bench.context.state, bench.context.number) == before
    assert all(bench.rest(stream.starts[2]))


def test_class_14_what_a_full_command_queue_refused_is_asked_again() -> None:
    tag = ReceiveTag(1, 0, FreebsdTable())
    tag.fire(LifeEvent.ALLOC)
    tag.fire(LifeEvent.INSTALLED)
    assert tag.report(Report(1000, 100, 0)) == [Query(1)]
    tag.refused(Query(1))
    assert tag.polls == 0
    assert tag.report(Report(1100, 100, 1)) == [Query(1)]


@pytest.mark.parametrize("at", range(12, 40, 3))
def test_class_15_nothing_is_asked_of_a_device_that_is_gone(at: int) -> None:
    played = path_changes.download(loss=0.1)
    while_gone: list[bool] = []

    def detach(path: ReceivePath, n: int) -> None:
        if n != at:
            return
        path.detach("mlx0", n)
        nic = path._nic
        post = nic.post

        def watched(flow: int, command: Install | Command) -> None:
            tag = path.flows[flow >> 1].directions[flow & 1].receive_tag
            while_gone.append(tag is None or (tag.leaf == 0 and not isinstance(command, Install)))
            post(flow, command)

        nic.post = watched  # type: ignore[method-assign]

    frames = [path_changes.replace_interface(frame, int(n >= at)) for n, frame in enumerate(played.frames)]
    ran = path_changes.run(played, frames, path_changes.host(), "plain", detach)
    assert ran.data() == path_changes.run(played, played.frames, None, "plain", nic="none").data()
    assert while_gone
    assert not any(while_gone)


@pytest.mark.parametrize("at", [50, 51, 52, 53, 54, 55])
def test_class_16_a_device_that_goes_in_the_middle_of_a_record(at: int) -> None:
    played = path_changes.download()

    def detach(path: ReceivePath, n: int) -> None:
        if n == at:
            path.detach("mlx0", n)

    frames = [path_changes.replace_interface(frame, int(n >= at)) for n, frame in enumerate(played.frames)]
    ran = path_changes.run(played, frames, path_changes.host(), "plain", detach)
    assert ran.data() == path_changes.run(played, played.frames, None, "plain", nic="none").data()
    assert By.RECRYPT in ran.by() or By.HOST in ran.by()
    assert By.NOBODY not in ran.by()


@pytest.mark.parametrize("overlap", [1, 100, 700])
def test_class_17_an_overlapping_retransmission_is_not_taken_twice(overlap: int) -> None:
    bed = Bed("connectx-6dx", "plain")
    bed.enable(GCM13)
    wire = sealed(GCM13, [A, B])
    bed.segment(1000, wire[1000:2000])
    bed.segment(1000 - overlap, wire[1000 - overlap : 1500])
    bed.send(wire[:1448])
    bed.socket.poll()
    bed.send(wire[1448:])
    assert bed.everything() == [(DATA, A), (DATA, B)]
    bed.finish()
    assert bed.path.ledger.fates["byte.duplicate"] > 0


def test_class_20_a_bogus_header_is_not_parsed_for_ever() -> None:
    for bogus in (b"\x17\x03\x03\x00\x00", b"\x17\x03\x03\xff\xff", b"\x17\x02\x02\x00\x20", bytes(40)):
        bed = Bed("none", "plain")
        bed.enable(GCM13)
        bed.send(bogus + bytes(64))
        with pytest.raises(SocketError):
            bed.read()
        bed.send(sealed(GCM13, [A]))
        bed.refused(errno.ENOTCONN)
        assert {record.by for record in bed.records} <= {By.NOBODY}
        assert len(bed.records) <= 1  # a record of no length is discarded alone; then comes one that cannot be


def test_class_21_empty_records_between_others() -> None:
    bed = Bed("connectx-6dx", "plain")
    bed.enable(GCM13)
    bed.send(sealed(GCM13, [b"", C, b"", b"", B, b""]))
    assert bed.everything() == [(DATA, b""), (DATA, C), (DATA, b""), (DATA, b""), (DATA, B), (DATA, b"")]


def test_class_22_types_are_never_mixed_and_peeking_skips_nothing() -> None:
    bed = Bed("none", "plain")
    bed.enable(GCM13)
    sealer = Sealer(GCM13)
    bed.send(b"".join(sealer.seal(n, kind, bytes([kind]) * 5) for n, kind in enumerate((DATA, HANDSHAKE, DATA, 21))))
    for kind in (DATA, HANDSHAKE, DATA, 21):
        peeked = bed.read(flags=Msg.PEEK)
        got = bed.read()
        assert got.control is not None
        assert got.control.type == kind
        assert peeked.data == got.data == bytes([kind]) * 5


def test_class_23_what_was_flushed_while_it_was_decrypted_does_not_come_back() -> None:
    bed = Bed("none", "plain")
    bed.enable(GCM13)
    session = bed.path.flows[0].directions[0].session
    assert session is not None
    session.unlocked = bed.socket.shutdown
    bed.send(sealed(GCM13, [A]))
    assert bed.read() == EOF
    assert bed.path.flows[0].directions[0].sockbuf.ccc == 0


@pytest.mark.parametrize("queued", range(4))
def test_class_25_the_receive_tag_begins_behind_what_is_queued(queued: int) -> None:
    bed = Bed("connectx-6dx", "plain")
    wire = sealed(GCM13, [C] * 8)
    size = len(wire) // 8
    bed.send(wire[: queued * size + 7])
    bed.enable(GCM13)
    bed.send(wire[queued * size + 7 : (queued + 1) * size])
    bed.send(wire[(queued + 1) * size :])
    assert bed.everything() == [(DATA, C)] * 8
    bed.finish()
    assert [record.by for record in bed.records] == [By.HOST] * (queued + 1) + [By.DEVICE] * (7 - queued)


@pytest.mark.parametrize("vlans", [(), (5,), (7, 5)])
@pytest.mark.parametrize("ipv6", [False, True])
def test_class_26_vlans_and_ipv6_are_offloaded_like_all_others(vlans: tuple[int, ...], ipv6: bool) -> None:
    client, server = Address("2001:db8::1", 40000), Address("2001:db8::2", 443)
    connection = Connection(vlans=vlans)
    if ipv6:
        connection = replace(connection, client=client, server=server)
    played = lossy(loss=0.0, records=10, connection=connection)
    ran = runs.run(played.frames, played.keylog, engine="plain")
    assert set(ran.path.flows[0].directions[1].tally.records) <= {RecordClass.DECRYPTED, RecordClass.LIBRARY}


def test_class_27_false_headers_in_a_payload_are_latched_and_let_go() -> None:
    stream = Stream(GCM13)
    stream.append_crafted(b"\xff" * 40 + false_headers(GCM13, 20) + b"\xff" * 60)
    for _ in range(4):
        stream.append(bytes(900))
    bench = Bench(stream, start=None)
    policy = FreebsdTable()
    bench.packet(20, 700)
    for number, (start, end) in enumerate(stream.spans()[:1]):
        policy.report(1, Report(stream.seq(start), end - start, number))
    assert policy.answer(bench.context.progress()) == []
    bench.packets(700, *range(800, stream.starts[3] + 50, 100))
    for number, (start, end) in enumerate(stream.spans()[1:3], 1):
        policy.report(1, Report(stream.seq(start), end - start, number))
    assert any(isinstance(each, Confirm) for each in policy.answer(bench.context.progress()))


@pytest.mark.parametrize("cut", [0, 3, 400, 1500, 2990])
def test_class_28_marks_of_the_old_key_on_records_of_the_new_one(cut: int) -> None:
    # The NIC has run the old key over the beginning of a record of the new one.
    sockbuf, session = SockBuf(), Session(GCM13, 4)
    sockbuf.enable()
    session.begin_epoch(1)
    update = Sealer(GCM13).seal(4, HANDSHAKE, b"\x18\x00\x00\x01\x00")
    record = Sealer(NEXT13).seal(0, DATA, A)
    wrong = on_device(GCM13, 5, record)
    sockbuf.append(mbuf(9000, on_device(GCM13, 4, update), 1))
    at = 9000 + len(update)
    if cut:
        sockbuf.append(mbuf(at, wrong[:cut], 1))
    sockbuf.append(mbuf(at + cut, record[cut:], WIRE))
    first = session.step(sockbuf)
    assert first is not None
    session.rekey(NEXT13, 0)
    second = session.step(sockbuf)
    assert second is not None
    assert second.opened is not None
    assert second.opened.payload == A


def test_class_29_a_tampered_record_is_never_plaintext_and_is_told_once() -> None:
    for at in (5, 1000, 2999, 3010):
        bed = Bed("connectx-6dx", "plain")
        bed.enable(GCM13)
        wire = bytearray(sealed(GCM13, [A, B, C]))
        wire[at] ^= 1
        bed.send(bytes(wire))
        assert [bed.read().data, bed.read().data] == [B, C]
        bed.refused(errno.EBADMSG)
        bed.refused(errno.EAGAIN)


def test_class_30_frames_are_as_they_were_whoever_else_looks_at_them() -> None:
    played = lossy(records=20)
    before = [bytes(frame.data) for frame in played.frames]
    runs.run(played.frames, played.keylog, engine="plain")
    assert [frame.data for frame in played.frames] == before
    assert all(isinstance(frame, LinkFrame) for frame in played.frames)


def test_class_31_a_socket_that_was_shut_down_is_not_another_one() -> None:
    bed = Bed("none", "plain")
    bed.enable(GCM13)
    bed.socket.shutdown()
    with pytest.raises(SocketError, match="EINVAL"):
        bed.socket.listen()
    with pytest.raises(SocketError, match="EALREADY"):
        bed.enable(GCM13)


def test_class_33_a_window_smaller_than_a_record() -> None:
    bed = Bed("connectx-6dx", "plain")
    bed.socket.setsockopt(SOL_SOCKET, SO_RCVBUF, 4096)
    bed.enable(GCM13)
    payload = made_up(16384, "window")
    wire, at = sealed(GCM13, [payload]), 0
    while at < len(wire):
        room = min(1448, bed.socket.space)
        assert room, "the window is closed, and nothing can be read"
        bed.send(wire[at : at + room])
        bed.socket.poll()
        at += room
    assert bed.read().data == payload


def test_class_34_the_back_off_begins_anew_after_a_success() -> None:
    policy = NextHint()

    def until_due(place: int) -> int:
        n = 0
        while not policy.listening:
            policy.report(1, Report(place + 100 * n, 100, n))
            n += 1
        policy.stand(1, standing())
        return n

    first = until_due(0)
    assert until_due(10_000) > 0
    policy.report(1, Report(50_000, 0, 9))  # sync is back
    assert until_due(60_000) == first


def standing() -> Standing:
    return Standing(places=((5000, 7),), in_order=0, waiting=0, top=5000)


def test_class_35_every_connection_comes_back_to_offload() -> None:
    flows = tuple(
        traffic.Flow(records=((4000, 0),) * 300, seed=seed, impairment=Impairment(loss=0.01)) for seed in range(6)
    )
    played = traffic.play(traffic.Scenario(flows))
    ran = runs.run(played.frames, played.keylog, engine="plain")
    for flow in ran.path.flows.values():
        tally = flow.directions[1].tally
        if tally.lost:
            assert tally.regained > 0, tally.lost
    assert sum(flow.directions[1].tally.lost > 0 for flow in ran.path.flows.values()) >= 4


def test_upstream_bug_the_leaf_of_the_first_header_is_not_that_of_the_chain() -> None:
    bed = Bed("none", "plain")
    direction = bed.path.flows[0].directions[0]
    at = direction.reassembly.rcv_nxt
    direction.input(mbuf(at + 10, bytes(10), leaf=4))
    direction.input(mbuf(at, bytes(10), leaf=3))  # brings both in, as one chain with two headers
    assert direction.leaf == 4


def test_upstream_bug_a_length_byte_is_not_the_type_of_zeros() -> None:
    for padding in (0, 20, 300):
        wire = Sealer(GCM13).seal(0, 0, b"", padding)
        for pieces in ([(wire, WIRE)], [(on_device(GCM13, 0, wire), 1)]):
            assert [outcome.error for outcome in opened(GCM13, pieces)] == ["EBADMSG"]
