"""The kTLS socket: what recvmsg says, in which order, and what is ours where upstream has a defect or nothing."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

import replays
from rxtls.counters import UPSTREAM
from rxtls.crypto.keys import Keys
from rxtls.crypto.records import Sealer
from rxtls.crypto.suites import SUITES, Version
from rxtls.errors import SocketError, UsageError
from rxtls.events import By
from rxtls.host.reassembly import GAP_NS
from rxtls.host.socket.enable import TlsEnable
from rxtls.host.socket.socket import (
    IPPROTO_TCP,
    SO_ERROR,
    SO_RCVBUF,
    SO_RCVLOWAT,
    SOL_SOCKET,
    TCP_RXTLS_ENABLE,
    TCP_RXTLS_MODE,
    GetRecord,
    Mode,
    Msg,
    Received,
)
from rxtls.host.sysctl import Sysctl, sysctl
from rxtls.path.receive import PathOptions, ReceivePath
from rxtls.wire.keylog import KeyLog
from rxtls.wire.packets import ACK
from sample_keys import made_up, sample_keys
from socket_bed import EOF, EOR, WINDOW, Bed, sealed

GCM13 = sample_keys(SUITES[0x1301], Version.TLS13)
NEXT13 = sample_keys(SUITES[0x1301], Version.TLS13, label="next")
GCM12 = sample_keys(SUITES[0xC02F], Version.TLS12)
CBC12 = sample_keys(SUITES[0xC013], Version.TLS12)
KEY_UPDATE = b"\x18\x00\x00\x01\x00"
ALERT, HANDSHAKE, DATA = 21, 22, 23
A, B, C = made_up(100, "a"), made_up(3000, "b"), made_up(50, "c")


@pytest.fixture(params=["none-plain", "connectx-6dx-plain", "connectx-6dx-compiled"])
def bed(request: pytest.FixtureRequest) -> Bed:
    profile_name, _, engine = request.param.rpartition("-")
    return Bed(profile_name, engine)


# recvmsg


def test_one_call_returns_data_of_one_record(bed: Bed) -> None:
    bed.enable(GCM13)
    bed.send(sealed(GCM13, [A, B]))
    first, second = bed.read(), bed.read()
    assert (first.data, first.control, first.flags) == (A, GetRecord(DATA, 3, 3, 100), EOR)
    assert (second.data, second.control, second.flags) == (B, GetRecord(DATA, 3, 3, 3000), EOR)
    bed.refused(errno.EAGAIN)


@pytest.mark.parametrize("slowly", [False, True])
def test_nothing_is_delivered_past_a_hole(bed: Bed, slowly: bool) -> None:
    """As by any TCP: not when the hole lasts, nor at the end of the capture, and no end of file either."""
    bed.enable(GCM13)
    stream = sealed(GCM13, [A, B, C, A])
    start = len(sealed(GCM13, [A])) + 200
    bed.send(stream[:start])
    bed.seq += 100
    bed.send(stream[start + 100 :], 500)
    assert bed.read().data == A
    bed.refused(errno.EAGAIN)
    if slowly:
        bed._time += GAP_NS
        bed.frame(bed._back.frame(1000, bed.seq, ACK, WINDOW, b""))
        bed.send(sealed(GCM13, [C], 4))
        bed.refused(errno.EAGAIN)
    bed.fin()
    bed.close()
    bed.refused(errno.EAGAIN)
    bed.finish()
    assert [record.number for record in bed.records] == [0]
    assert bed.path.ledger.fates["byte.after_gap" if slowly else "byte.after_hole"] > 2000
    assert len(bed.path.flows[0].directions[0].gaps) == slowly


def test_a_short_buffer_leaves_the_rest_without_another_control_message(bed: Bed) -> None:
    bed.enable(GCM13)
    bed.send(sealed(GCM13, [A]))
    pieces = [bed.read(40), bed.read(40), bed.read(40)]
    assert [len(each.data) for each in pieces] == [40, 40, 20]
    assert [each.control is not None for each in pieces] == [True, False, False]
    assert [each.flags for each in pieces] == [Msg(0), Msg(0), EOR]


def test_an_empty_record_is_a_control_message_and_no_end_of_record(bed: Bed) -> None:
    bed.enable(GCM13)
    bed.send(sealed(GCM13, [b"", A]))
    got = bed.read()
    assert (got.data, got.control, got.flags) == (b"", GetRecord(DATA, 3, 3, 0), Msg(0))
    assert bed.read().data == A


def test_peek_consumes_nothing_and_tells_the_type_again(bed: Bed) -> None:
    bed.enable(GCM13)
    bed.send(sealed(GCM13, [A, C]))
    seen = [bed.read(flags=Msg.PEEK) for _ in range(3)]
    space = bed.socket.space
    assert [(each.data, each.control) for each in seen] == [(A, GetRecord(DATA, 3, 3, 100))] * 3
    assert bed.read().data == A
    assert bed.socket.space == space + len(A)
    assert bed.read().data == C


def test_without_a_control_buffer_the_type_is_silently_lost(bed: Bed) -> None:
    bed.enable(GCM13)
    bed.send(sealed(GCM13, [b"\x02\x28"], type=ALERT))
    got = bed.socket.recvmsg(100, control=False)
    assert (got.data, got.control) == (b"\x02\x28", None)  # an alert, read as if it were data


def test_tlsappdata_refuses_an_alert_and_leaves_it_but_not_a_handshake_record(bed: Bed) -> None:
    bed.enable(GCM13)
    sealer = Sealer(GCM13)
    bed.send(sealer.seal(0, HANDSHAKE, b"\x04ticket") + sealer.seal(1, ALERT, b"\x01\x00"))
    assert bed.read(flags=Msg.TLSAPPDATA).control == GetRecord(HANDSHAKE, 3, 3, 7)
    bed.refused(errno.ENXIO, flags=Msg.TLSAPPDATA)
    bed.refused(errno.ENXIO, flags=Msg.TLSAPPDATA)
    assert bed.read().control == GetRecord(ALERT, 3, 3, 2)


def test_data_behind_a_close_notify_is_the_application_s_to_refuse(bed: Bed) -> None:
    bed.enable(GCM13)
    sealer = Sealer(GCM13)
    bed.send(sealer.seal(0, ALERT, b"\x01\x00") + sealer.seal(1, DATA, A))
    assert bed.everything() == [(ALERT, b"\x01\x00"), (DATA, A)]
    bed.finish()


def test_end_of_file_comes_after_the_last_record(bed: Bed) -> None:
    bed.enable(GCM13)
    bed.send(sealed(GCM13, [A]))
    bed.fin()
    assert bed.read().data == A
    assert bed.read() == EOF
    assert bed.read() == EOF
    bed.finish()


def test_a_part_of_a_record_is_nothing_to_read_yet(bed: Bed) -> None:
    bed.enable(GCM13)
    wire = sealed(GCM13, [B])
    bed.send(wire[:2000])
    bed.refused(errno.EAGAIN)
    assert not bed.socket.poll()
    bed.refused(errno.EAGAIN, flags=Msg.DONTWAIT)
    bed.send(wire[2000:])
    assert bed.read().data == B


@pytest.mark.parametrize("size", [1, 5, 12])
def test_trap_6_and_8_headers_over_packet_edges_and_records_shorter_than_hlen(bed: Bed, size: int) -> None:
    bed.enable(GCM12)
    wire = sealed(GCM12, [A, C])
    bed.send(wire, mss=size)
    assert bed.everything() == [(DATA, A), (DATA, C)]
    bed.send(b"\x17\x03\x03\x00\x03abc", mss=size)  # 8 bytes, and hlen is 13: it can only wait
    bed.refused(errno.EAGAIN)
    bed.fin()
    bed.refused(errno.EMSGSIZE)
    assert bed.read() == EOF


# Errors and their order


def test_trap_14_records_before_and_behind_a_bad_one_are_delivered_before_its_error(bed: Bed) -> None:
    bed.enable(GCM13)
    wire = bytearray(sealed(GCM13, [A, B, C]))
    wire[122 + 5] ^= 1
    bed.send(bytes(wire))
    assert [bed.read().data, bed.read().data] == [A, C]
    bed.refused(errno.EBADMSG)
    bed.refused(errno.EAGAIN)  # reading the error has cleared it
    bed.finish()


def test_trap_12_a_bad_record_does_not_shift_the_numbers_of_later_ones(bed: Bed) -> None:
    bed.enable(GCM13, 5)
    wire = bytearray(sealed(GCM13, [A, C, C], 5))
    wire[60] ^= 1
    bed.send(bytes(wire))
    assert [bed.read().data, bed.read().data] == [C, C]
    bed.refused(errno.EBADMSG)
    bed.finish()
    assert [(record.number, record.by is By.NOBODY) for record in bed.records] == [(5, True), (6, False), (7, False)]


def test_trap_13_there_are_two_kinds_of_emsgsize(bed: Bed) -> None:
    bed.enable(GCM12)
    good = sealed(GCM12, [A], 1)
    bed.send(b"\x17\x03\x03\x00\x10" + bytes(16) + good)  # at the cipher: this record alone
    assert bed.read().data == A
    bed.refused(errno.EMSGSIZE)
    bed.refused(errno.EAGAIN)
    bed.send(b"\x17\x03\x03\xff\xff" + bytes(20))  # at the header: the connection
    bed.refused(errno.EMSGSIZE)
    bed.refused(errno.ENOTCONN)
    bed.finish()


def test_trap_15_a_fatal_header_ends_the_parsing_for_good(bed: Bed) -> None:
    bed.enable(GCM13)
    bed.send(sealed(GCM13, [A]))
    bed.send(b"\x17\x02\x03\x00\x20" + bytes(40))
    bed.send(sealed(GCM13, [C], 1))
    assert bed.read().data == A
    bed.refused(errno.EINVAL)
    bed.refused(errno.ENOTCONN)
    assert not bed.socket.poll()
    bed.finish()
    assert bed.path.ledger.fates["byte.after_error"] > 40


def test_so_error_is_read_and_cleared_by_getsockopt_too(bed: Bed) -> None:
    bed.enable(GCM13)
    wire = bytearray(sealed(GCM13, [A]))
    wire[-1] ^= 1
    bed.send(bytes(wire))
    bed.refused(errno.EBADMSG)
    bed.send(bytes(wire))
    with pytest.raises(SocketError, match="discarded"):
        bed.read()
    assert bed.socket.getsockopt(SOL_SOCKET, SO_ERROR) == 0


def test_so_error_that_stands_is_told_once(bed: Bed) -> None:
    bed.enable(GCM13)
    wire = bytearray(sealed(GCM13, [A, C]))
    wire[10] ^= 1
    bed.send(bytes(wire))
    assert bed.read().data == C
    assert bed.socket.poll()
    assert bed.socket.getsockopt(SOL_SOCKET, SO_ERROR) == errno.EBADMSG
    assert bed.socket.getsockopt(SOL_SOCKET, SO_ERROR) == 0
    bed.refused(errno.EAGAIN)


@pytest.mark.parametrize(
    ("wire", "words"),
    [
        (b"\x17\x02\x03\x00\x20", "EINVAL: the record header has another version"),
        (b"\x16\x03\x03\x00\x20", "EINVAL: a TLS 1.3 record whose outer type is not application_data"),
        (b"\x17\x03\x03\xff\xff", "EMSGSIZE: a record of 65540 bytes"),
    ],
)
def test_a_dropped_connection_says_why(bed: Bed, wire: bytes, words: str) -> None:
    bed.enable(GCM13)
    bed.send(wire + bytes(64))
    with pytest.raises(SocketError) as caught:
        bed.read()
    assert str(caught.value) == words
    with pytest.raises(SocketError, match="ENOTCONN: the connection was dropped"):
        bed.read()


def enabled(keys: Keys = GCM13, wire: bytes = b"", **options: object) -> Bed:
    """A plain bed whose socket has its keys and has been sent this."""
    bed = Bed("none", "plain", **options)  # type: ignore[arg-type]
    bed.enable(keys)
    if wire:
        bed.send(wire)
    return bed


def flipped(wire: bytes, at: int) -> bytes:
    return wire[:at] + bytes([wire[at] ^ 1]) + wire[at + 1 :]


def after_reset() -> Bed:
    bed = enabled()
    bed.reset()
    return bed


def after_the_end() -> Bed:
    bed = Bed("none", "plain")
    bed.fin()
    bed.close()
    return bed


def truncated() -> Bed:
    bed = enabled(wire=sealed(GCM13, [A])[:60])
    bed.fin()
    return bed


def dropped() -> Bed:
    bed = enabled(wire=b"\x17\x02\x03\x00\x20")
    bed.refused(errno.EINVAL)
    return bed


def behind_key_update() -> Bed:
    bed = enabled(wire=Sealer(GCM13).seal(0, HANDSHAKE, KEY_UPDATE) + sealed(NEXT13, [A]))
    assert bed.read().data == KEY_UPDATE
    return bed


def listening() -> Bed:
    bed = Bed(connect=False)
    bed.socket.listen()
    return bed


TCP, OPTIONS = IPPROTO_TCP, SOL_SOCKET


def unborn() -> Bed:
    """Keys are set, and the connection is still to come."""
    bed = Bed("none", "plain", connect=False)
    bed.enable(GCM13)
    return bed


@pytest.mark.parametrize(
    ("sentence", "call"),
    [
        ("EAGAIN: no record is whole", lambda: enabled().read()),
        ("EKEYEXPIRED: the peer has sent a KeyUpdate", lambda: behind_key_update().read()),
        ("EINVAL: another version or cipher than before", lambda: behind_key_update().enable(GCM12)),
        ("EBADMSG: record 0 was discarded", lambda: enabled(wire=flipped(sealed(GCM13, [A]), 9)).read()),
        ("EMSGSIZE: the stream ends 60 bytes into a record", lambda: truncated().read()),
        ("EINVAL: the record header has another version", lambda: enabled(wire=b"\x17\x02\x03\x00\x20").read()),
        ("ENOTCONN: the connection was dropped", lambda: dropped().read()),
        ("ECONNRESET: the peer reset the connection", lambda: after_reset().read()),
        ("ENXIO: the next record is an alert", lambda: enabled(wire=sealed(GCM13, [b"\2\x28"], type=ALERT)).read(
            flags=Msg.TLSAPPDATA)),
        ("EINVAL: a buffer of -1 bytes", lambda: enabled().read(-1)),
        ("EALREADY: receive has its keys", lambda: enabled().enable(GCM13)),
        ("EALREADY: receive has its keys", lambda: unborn().enable(GCM13)),
        ("EBUSY: receive has its keys", lambda: enabled(GCM12).enable(GCM12)),
        ("EINVAL: kTLS is enabled", lambda: unborn().socket.listen()),
        ("EINVAL: it is connected", lambda: Bed().socket.listen()),
        ("EINVAL: a listening socket", lambda: listening().enable(GCM13)),
        ("ECONNRESET: the connection is over", lambda: after_the_end().enable(GCM13)),
        ("ENOTSUP: kern.ipc.tls.enable is 0", lambda: enabled(sysctl=Sysctl(enable=False))),
        ("ENOTSUP: kern.ipc.tls.cbc_enable is 0", lambda: enabled(CBC12, sysctl=Sysctl(cbc_enable=False))),
        ("ENOPROTOOPT: level 6, option 39", lambda: Bed().socket.getsockopt(TCP, 39)),
        ("ENOPROTOOPT: keys cannot be read", lambda: enabled().socket.getsockopt(TCP, TCP_RXTLS_ENABLE)),
        ("ENOPROTOOPT: this option can only be read", lambda: Bed().socket.setsockopt(TCP, TCP_RXTLS_MODE, 1)),
        ("ENOPROTOOPT: this option can only be read", lambda: Bed().socket.setsockopt(OPTIONS, SO_ERROR, 1)),
        ("EINVAL: not what this option takes", lambda: Bed().socket.setsockopt(OPTIONS, SO_RCVBUF, 0)),
        ("EINVAL: not what this option takes", lambda: Bed().socket.setsockopt(TCP, TCP_RXTLS_ENABLE, 1)),
        ("ENOTCONN: receive is not enabled on a connection", lambda: Bed().socket.toe_input(DATA, A)),
        ("ENOTCONN: receive is not enabled on a connection", lambda: unborn().socket.toe_input(DATA, A)),
        ("EPROTONOSUPPORT: no device decrypts TLS_RSA_WITH_AES_128_CBC_SHA", lambda: enabled(CBC12).socket.toe_input(
            DATA, A)),
    ],
)  # fmt: skip
def test_refusals_say_why(sentence: str, call: Callable[[], object]) -> None:
    with pytest.raises(SocketError) as caught:
        call()
    assert str(caught.value) == sentence


@pytest.mark.parametrize("own", [False, True])
def test_trial_a10_a_connection_that_was_reset_refuses_every_option_of_tcp(own: bool) -> None:
    """tcp_ctloutput looks at INP_DROPPED before it looks at the option; SOL_SOCKET is not TCP's."""
    for bed in (enabled(), Bed("none", "plain"), enabled(sysctl=Sysctl(cbc_enable=False))):
        if own:
            bed.answer_reset()
        else:
            bed.reset()
        calls: list[Callable[[], object]] = [
            partial(bed.enable, GCM13),
            partial(bed.enable, CBC12),
            *(partial(bed.socket.setsockopt, TCP, option, 1) for option in (TCP_RXTLS_ENABLE, TCP_RXTLS_MODE, 39)),
            partial(bed.socket.getsockopt, TCP, TCP_RXTLS_MODE),
        ]
        for call in calls:
            with pytest.raises(SocketError, match="ECONNRESET"):
                call()
        bed.socket.setsockopt(OPTIONS, SO_RCVBUF, 1000)
    with pytest.raises(SocketError, match="ECONNRESET"):
        assert dropped().mode
    with pytest.raises(SocketError, match="ECONNRESET"):
        dropped().enable(GCM13)


def test_trial_a10_a_listening_socket_has_no_mode_and_nothing_to_receive() -> None:
    with pytest.raises(SocketError, match="EINVAL"):
        assert listening().mode
    with pytest.raises(SocketError, match="ENOTCONN"):
        listening().read()


def test_trial_a10_no_buffer_and_no_mark_is_below_one_byte() -> None:
    bed = Bed("none", "plain")
    for option in (SO_RCVBUF, SO_RCVLOWAT):
        for value in (0, -1):
            with pytest.raises(SocketError, match="EINVAL"):
                bed.socket.setsockopt(OPTIONS, option, value)
    bed.socket.setsockopt(OPTIONS, SO_RCVLOWAT, 1 << 20)  # sbsetopt: no more than the buffer
    assert bed.socket.getsockopt(OPTIONS, SO_RCVLOWAT) == bed.socket.getsockopt(OPTIONS, SO_RCVBUF)
    bed.socket.setsockopt(OPTIONS, SO_RCVBUF, 1000)
    assert bed.socket.getsockopt(OPTIONS, SO_RCVLOWAT) == 1000


def test_trial_a10_a_peek_leaves_the_error_and_asking_for_nothing_does_not_wait(bed: Bed) -> None:
    bed.enable(GCM13)
    assert bed.read(0).data == b""
    bed.send(flipped(sealed(GCM13, [A]), 9))
    bed.refused(errno.EBADMSG, flags=Msg.PEEK)
    bed.refused(errno.EBADMSG)
    bed.refused(errno.EAGAIN)


def test_a_reset_is_told_after_the_records(bed: Bed) -> None:
    bed.enable(GCM13)
    bed.send(sealed(GCM13, [A]))
    bed.reset()
    assert bed.read().data == A
    bed.refused(errno.ECONNRESET)
    bed.finish()


@pytest.mark.parametrize("cut", [1, 4, 5, 60])
def test_a_truncated_end_is_told_once_and_then_it_is_the_end(bed: Bed, cut: int) -> None:
    bed.enable(GCM13)
    bed.send(sealed(GCM13, [A]) + sealed(GCM13, [A], 1)[:cut])
    bed.fin()
    assert bed.read().data == A
    bed.refused(errno.EMSGSIZE)
    assert bed.read() == EOF
    bed.close()
    assert bed.read() == EOF
    bed.finish()


def test_trap_10_inner_plaintext_of_zeros_is_a_bad_message(bed: Bed) -> None:
    sealer = Sealer(GCM13)
    bed.enable(GCM13)
    bed.send(sealer.seal(0, 0, b"", 40) + sealer.seal(1, DATA, A, 3000))
    assert bed.read().data == A  # padding may fill whole packets
    bed.refused(errno.EBADMSG)


# Options


def test_mode_is_a_value_and_says_what_the_host_chose() -> None:
    for profile_name, keys, mode in (("none", GCM13, Mode.SW), ("ideal", GCM13, Mode.IFNET), ("ideal", CBC12, Mode.SW)):
        bed = Bed(profile_name)
        assert bed.mode == Mode.NONE
        bed.enable(keys)
        assert bed.mode == mode


def test_receive_takes_its_keys_once() -> None:
    bed = Bed()
    bed.enable(GCM13)
    with pytest.raises(SocketError, match="EALREADY"):
        bed.enable(GCM13)
    tls12 = Bed()
    tls12.enable(GCM12)
    with pytest.raises(SocketError, match="EBUSY"):  # Linux: no rekeying before TLS 1.3
        tls12.enable(GCM12)
    early = Bed(connect=False)
    early.enable(GCM13)
    with pytest.raises(SocketError, match="EALREADY"):
        early.enable(GCM13)


def test_trap_34_the_sysctls_are_on_here_and_off_means_off() -> None:
    off = Bed(sysctl=Sysctl(enable=False))
    with pytest.raises(SocketError, match="ENOTSUP"):
        off.enable(GCM13)
    assert off.path.kernel.stats["enable_calls"] == 0  # refused before it is counted, as upstream
    no_cbc = Bed(sysctl=Sysctl(cbc_enable=False))
    with pytest.raises(SocketError, match="ENOTSUP"):
        no_cbc.enable(CBC12)
    no_cbc.enable(GCM13)
    assert no_cbc.path.kernel.stats["enable_calls"] == 2
    assert no_cbc.path.kernel.stats["offload_total"] == 1


def test_options_that_are_none_or_cannot_be_set() -> None:
    socket = Bed().socket
    for level, option in ((IPPROTO_TCP, 39), (1, 1), (IPPROTO_TCP, TCP_RXTLS_ENABLE)):
        with pytest.raises(SocketError, match="ENOPROTOOPT"):
            socket.getsockopt(level, option)
    with pytest.raises(SocketError, match="ENOPROTOOPT"):
        socket.setsockopt(IPPROTO_TCP, TCP_RXTLS_MODE, 1)
    with pytest.raises(SocketError, match="EINVAL"):
        socket.setsockopt(IPPROTO_TCP, TCP_RXTLS_ENABLE, 1)
    with pytest.raises(SocketError, match="EINVAL"):
        socket.setsockopt(SOL_SOCKET, SO_RCVBUF, 0)
    with pytest.raises(UsageError, match="'server' or 'client'"):
        Bed().path.socket(0, "peer")


@pytest.mark.parametrize("engine", ["plain", "compiled"])
def test_keys_before_the_connection_are_used_from_its_first_byte_on(engine: str) -> None:
    bed = Bed("connectx-6dx", engine, connect=False)
    bed.enable(GCM13)
    assert bed.mode == Mode.NONE
    bed.connect()
    bed.send(sealed(GCM13, [A, C]))
    assert bed.everything() == [(DATA, A), (DATA, C)]
    assert bed.mode == Mode.IFNET
    bed.finish()
    assert {record.by for record in bed.records} == {By.DEVICE}


@pytest.mark.parametrize("queued", [0, 1, 2])
@pytest.mark.parametrize("part", [0, 3, 50])
def test_trap_23_data_queued_before_enable_is_ciphertext(bed: Bed, queued: int, part: int) -> None:
    wire = sealed(GCM13, [A] * 6)
    at = queued * 122 + part
    bed.send(b"HELO\r\n")
    assert bed.read(100).data == b"HELO\r\n"
    bed.send(wire[:at])
    bed.enable(GCM13)
    bed.send(wire[at : (queued + 1) * 122])
    bed.send(wire[(queued + 1) * 122 :], mss=200)
    assert bed.everything() == [(DATA, A)] * 6
    bed.finish()
    by = [record.by for record in bed.records]
    assert by[:queued] == [By.HOST] * queued
    if bed.mode == Mode.IFNET:
        # A part of a record that no NIC can see the beginning of; then those that it sees whole. When the part ends
        # inside a header nobody can say yet where the next one stands, and the NIC has to search.
        assert by[queued:] == [By.DEVICE if part == 0 else By.HOST] + [By.HOST if part == 3 else By.DEVICE] * (
            5 - queued
        )
    assert bed.path.ledger.fates["byte.preamble"] == 6


def test_raw_bytes_are_read_in_pieces_and_peeked_at(bed: Bed) -> None:
    bed.send(b"220 ready")
    assert bed.read(3, Msg.PEEK) == Received(b"220", None, Msg(0))  # no record: no end of one either
    assert bed.read(4) == Received(b"220 ", None, Msg(0))
    assert bed.read(100) == Received(b"ready", None, Msg(0))
    bed.refused(errno.EAGAIN)
    bed.send(b"bye")
    bed.fin()
    bed.close()  # the connection is over before they were read
    assert bed.read(2, Msg.PEEK).data == b"by"
    assert [bed.read(2), bed.read(2), bed.read()] == [
        Received(b"by", None, Msg(0)),
        Received(b"e", None, Msg(0)),
        EOF,
    ]
    bed.finish()
    with pytest.raises(SocketError, match="ECONNRESET"):
        bed.enable(GCM13)


def test_low_water_moves_poll_and_not_recvmsg(bed: Bed) -> None:
    bed.enable(GCM13)
    bed.socket.setsockopt(SOL_SOCKET, SO_RCVLOWAT, 120)
    assert bed.socket.getsockopt(SOL_SOCKET, SO_RCVLOWAT) == 120
    bed.send(sealed(GCM13, [A]))
    assert not bed.socket.poll()
    assert bed.read(10).data == A[:10]
    bed.send(sealed(GCM13, [C], 1))
    assert bed.socket.poll()
    assert bed.read(50).data == A[10:60]
    assert not bed.socket.poll()


# Flush and shutdown


def test_trap_16_a_flush_while_a_record_is_being_decrypted_drops_it(bed: Bed) -> None:
    bed.enable(GCM13)
    direction = bed.path.flows[0].directions[0]
    assert direction.session is not None
    direction.session.unlocked = bed.socket.shutdown
    bed.send(sealed(GCM13, [A, B]))
    assert bed.read() == EOF
    sockbuf = direction.sockbuf
    assert (sockbuf.acc, sockbuf.tlscc, sockbuf.tlsdcc, sockbuf.ccc) == (0, 0, 0, 0)
    bed.send(sealed(GCM13, [C], 2))
    assert bed.read() == EOF
    bed.finish()
    assert [record.data for record in bed.records] == []
    assert bed.path.ledger.fates["byte.flushed"] == len(sealed(GCM13, [A, B])) + len(sealed(GCM13, [C]))


def test_shutdown_drops_what_was_finished_and_what_was_not(bed: Bed) -> None:
    bed.enable(GCM13)
    bed.send(sealed(GCM13, [A]) + sealed(GCM13, [B], 1)[:500])
    assert bed.read(1).data == A[:1]
    bed.socket.shutdown()
    assert bed.read() == EOF
    assert bed.path.flows[0].directions[0].sockbuf.ccc == 0
    bed.finish()


def test_shutdown_before_there_are_keys_drops_the_raw_bytes() -> None:
    bed = Bed("none", "plain")
    bed.send(b"220 ready")
    bed.socket.shutdown()
    assert bed.read() == EOF
    bed.send(b"more")
    assert bed.read() == EOF
    sockbuf = bed.path.flows[0].directions[0].sockbuf
    assert (sockbuf.acc, sockbuf.ccc) == (0, 0)
    bed.finish()
    assert bed.path.ledger.fates["byte.flushed"] == len(b"220 readymore")
    unborn = Bed(connect=False)
    unborn.socket.shutdown()
    assert unborn.socket.poll()


# The window


def test_everything_in_the_buffer_takes_of_the_window(bed: Bed) -> None:
    bed.socket.setsockopt(SOL_SOCKET, SO_RCVBUF, 10_000)
    bed.enable(GCM13)
    bed.send(sealed(GCM13, [A, A]) + sealed(GCM13, [B], 2)[:1000])
    assert bed.read(1).data == A[:1]
    waiting = 2 * len(A) - 1 + 1000  # framing of finished records has gone, that of the third has not
    assert bed.socket.space == 10_000 - waiting
    assert bed.socket.edge == len(sealed(GCM13, [A, A])) + 1000 + bed.socket.space
    assert (bed.read().data, bed.read().data) == (A[1:], A)


def test_trap_33_a_record_larger_than_the_buffer_does_not_stall(bed: Bed) -> None:
    bed.socket.setsockopt(SOL_SOCKET, SO_RCVBUF, 4096)
    assert bed.socket.getsockopt(SOL_SOCKET, SO_RCVBUF) == 4096
    bed.enable(GCM13)
    wire = sealed(GCM13, [made_up(16384, "large"), A])
    at = 0
    while room := min(bed.socket.space, 1448):
        assert not bed.socket.poll()
        bed.send(wire[at : at + room])
        at += room
        bed.socket.poll()
    assert at == 16384 + 22  # just to its end, and the window is closed until it is read
    assert len(bed.read().data) == 16384
    bed.send(wire[at:])
    assert bed.read().data == A


# KeyUpdate


def test_behind_a_keyupdate_nothing_is_opened_before_the_next_key(bed: Bed) -> None:
    bed.enable(GCM13)
    wire = sealed(GCM13, [A]) + Sealer(GCM13).seal(1, HANDSHAKE, KEY_UPDATE) + sealed(NEXT13, [B, C])
    bed.send(wire)
    assert (bed.read().data, bed.read().control) == (A, GetRecord(HANDSHAKE, 3, 3, 5))
    assert not bed.socket.poll()
    bed.refused(errno.EKEYEXPIRED)
    for wrong in (GCM12, sample_keys(SUITES[0x1302], Version.TLS13), sample_keys(SUITES[0x1303], Version.TLS13)):
        with pytest.raises(SocketError, match="EINVAL"):
            bed.enable(wrong)
    bed.enable(NEXT13)
    assert bed.everything() == [(DATA, B), (DATA, C)]
    bed.send(sealed(NEXT13, [A], 2))
    assert bed.read().data == A
    with pytest.raises(SocketError, match="EALREADY"):
        bed.enable(NEXT13)
    bed.finish()


def test_the_end_behind_a_keyupdate_waits_for_the_key_as_well(bed: Bed) -> None:
    bed.enable(GCM13)
    bed.send(Sealer(GCM13).seal(0, HANDSHAKE, KEY_UPDATE) + sealed(NEXT13, [A]))
    bed.fin()
    assert bed.read().data == KEY_UPDATE
    bed.refused(errno.EKEYEXPIRED)
    bed.enable(NEXT13)
    assert bed.read().data == A
    assert bed.read() == EOF


def test_in_tls_1_2_no_handshake_record_is_a_keyupdate(bed: Bed) -> None:
    bed.enable(GCM12)
    bed.send(Sealer(GCM12).seal(0, HANDSHAKE, KEY_UPDATE) + sealed(GCM12, [A], 1))
    assert bed.everything() == [(HANDSHAKE, KEY_UPDATE), (DATA, A)]


# The rest of the kernel's machinery


def test_a_toe_hands_up_whole_records_behind_what_is_queued(bed: Bed) -> None:
    with pytest.raises(SocketError, match="ENOTCONN"):
        bed.socket.toe_input(DATA, A)
    bed.enable(GCM13)
    wire = sealed(GCM13, [A])
    bed.send(wire[:50])
    bed.refused(errno.EAGAIN)
    bed.send(wire[50:])
    assert bed.read().data == A
    for kind, payload in ((DATA, B), (ALERT, b"\x01\x00"), (DATA, b"")):
        bed.socket.toe_input(kind, payload)
    assert bed.mode == Mode.TOE
    assert bed.everything() == [(DATA, B), (ALERT, b"\x01\x00"), (DATA, b"")]
    direction = bed.path.flows[0].directions[0]
    assert direction.session is not None
    assert direction.session.number == 4
    assert direction.epoch == (2 if bed.path.options.profile.ciphers else 1)  # the TOE's marks are one epoch's
    assert direction.sockbuf.ccc == 0
    bed.finish()
    assert [record.by for record in bed.records][1:] == [By.DEVICE] * 3


def test_a_toe_may_bring_the_very_first_record_and_numbers_go_round() -> None:
    bed = Bed("none", "plain", isn=0xFFFF_FFF0)
    bed.enable(GCM13)
    bed.socket.toe_input(DATA, A)
    bed.socket.toe_input(HANDSHAKE, B)
    assert bed.everything() == [(DATA, A), (HANDSHAKE, B)]
    bed.finish()
    sizes = [len(sealed(GCM13, [A])), len(sealed(GCM13, [B]))]
    assert [(record.tcp_seq, record.wire_length) for record in bed.records] == [
        (0xFFFF_FFF0, sizes[0]),
        ((0xFFFF_FFF0 + sizes[0]) & 0xFFFF_FFFF, sizes[1]),
    ]
    assert [record.number for record in bed.records] == [0, 1]


def test_a_toe_s_record_behind_a_part_of_one_waits_for_it() -> None:
    bed = Bed("none", "plain")
    bed.enable(GCM12)
    wire = sealed(GCM12, [A, C])
    bed.send(wire[: len(wire) - 10])  # all but the end of the second record: then the stack on the NIC takes over
    assert bed.read().data == A
    waiting = bed.path.flows[0].directions[0].sockbuf.tlscc
    assert waiting > 0
    bed.socket.toe_input(DATA, B)
    assert bed.path.flows[0].directions[0].sockbuf.tlscc > waiting + len(B)


def test_trial_a20_a_toe_s_record_comes_behind_the_segments_that_the_nic_still_holds(bed: Bed) -> None:
    bed.enable(GCM13)
    wire = sealed(GCM13, [A, B])
    bed.send(wire[:-4])  # no host point: all of it is in the NIC
    bed.send(wire[-4:])
    bed.socket.toe_input(DATA, C)
    assert bed.everything() == [(DATA, A), (DATA, B), (DATA, C)]
    bed.finish()


def test_trial_a20_receive_has_a_sysctl_of_its_own() -> None:
    assert sysctl({"kern.ipc.tls.rx_enable": "1"}) == Sysctl()
    bed = Bed("none", "plain", sysctl=sysctl({"kern.ipc.tls.rx_enable": "0"}))
    with pytest.raises(SocketError, match=r"ENOTSUP: kern.ipc.tls.rx_enable is 0"):
        bed.enable(GCM13)
    assert bed.path.stats["enable_calls"] == 0


def test_a_busy_crypto_driver_is_asked_again_and_counted() -> None:
    bed = Bed("none", "plain")
    ocf = bed.path.kernel.ocf
    tries = iter([True, True, False, True, False, False])
    ocf.busy = lambda: next(tries)
    bed.enable(GCM13)
    bed.send(sealed(GCM13, [A, B, C]))
    assert [bed.read().data, bed.read().data, bed.read().data] == [A, B, C]
    assert ocf.stats == {"retries": 3, "tls13_gcm_decrypts": 3}
    assert bed.path.stats["ocf.retries"] == 3


@pytest.mark.parametrize("early", [True, False])
def test_trial_a9_a_socket_that_a_key_log_feeds_counts_as_one_that_is_given_keys(early: bool) -> None:
    talked = replays.download(1, (3000,) * 30, session=replays.CHACHA13)
    keys = KeyLog()
    keys.add(talked.keylog.encode(), "simulated")
    path = ReceivePath(keys, PathOptions(engine="plain"))
    half = 0 if early else len(talked.frames) // 2
    path.receive(enumerate(talked.frames[:half]))
    path.socket(0, "client")
    records = path.receive([(half + n, frame) for n, frame in enumerate(talked.frames[half:])]) + path.finish()
    opened = sum(record.by is By.HOST and record.receiver == "client" for record in records)
    assert (path.stats["enable_calls"], path.stats["offload_total"]) == (1, 1)
    assert path.stats["ocf.tls13_chacha20_decrypts"] == opened > 0


def test_trial_a9_receiving_moves_neither_inplace_nor_separate_output(bed: Bed) -> None:
    """ktls_ocf.c counts them where it encrypts."""
    bed.enable(GCM13)
    bed.send(sealed(GCM13, [A, B]))
    assert bed.everything() == [(DATA, A), (DATA, B)]
    assert (bed.path.stats["ocf.inplace"], bed.path.stats["ocf.separate_output"]) == (0, 0)


def test_trap_36_a_mixed_record_counts_a_recrypt_and_a_decrypt() -> None:
    bed = Bed("connectx-6dx", "plain")
    bed.enable(GCM13)
    wire = sealed(GCM13, [A, B, C])
    bed.send(wire[:1448])
    bed.segment(1448, wire[2896:])  # one segment overtakes another, which comes when the NIC is ahead of it
    bed.segment(0, wire[1448:2896])
    assert [bed.read().data, bed.read().data, bed.read().data] == [A, B, C]
    stats = bed.path.kernel.ocf.stats
    bed.finish()
    mixed = sum(record.by is By.RECRYPT for record in bed.records)
    host = sum(record.by is By.HOST for record in bed.records)
    assert mixed > 0
    assert (stats["tls13_gcm_recrypts"], stats["tls13_gcm_decrypts"]) == (mixed, mixed + host)


@pytest.mark.parametrize("keys", [GCM13, GCM12, CBC12])
def test_operations_have_upstream_s_names(keys: Keys) -> None:
    bed = Bed("none", "plain")
    bed.enable(keys)
    bed.send(sealed(keys, [A]))
    assert bed.read().data == A
    name = {GCM13: "tls13_gcm", GCM12: "tls12_gcm", CBC12: "tls11_cbc"}[keys]
    assert bed.path.kernel.ocf.stats[f"{name}_decrypts"] == 1
    assert f"kern.ipc.tls.stats.ocf.{name}_decrypts" in UPSTREAM


# With a key log


@pytest.mark.parametrize("engine", ["plain", "compiled"])
def test_a_socket_on_a_connection_that_the_tls_library_has_set_up(engine: str) -> None:
    talked = replays.download(1, (3000,) * 30)
    keys = KeyLog()
    keys.add(talked.keylog.encode(), "simulated")
    path = ReceivePath(keys, PathOptions(engine=engine))
    half = len(talked.frames) // 2
    early = path.receive(enumerate(talked.frames[:half]))
    socket = path.socket(0, "client")
    assert socket.getsockopt(IPPROTO_TCP, TCP_RXTLS_MODE) == Mode.IFNET
    with pytest.raises(SocketError, match="EALREADY"):
        socket.setsockopt(IPPROTO_TCP, TCP_RXTLS_ENABLE, TlsEnable.of(GCM13))
    late = path.receive([(half + n, frame) for n, frame in enumerate(talked.frames[half:])]) + path.finish()
    assert (path.stats["enable_calls"], path.stats["offload_total"]) == (2, 1)
    read = []
    while (got := socket.recvmsg(1 << 15)).control:
        read.append((got.control.type, got.data))
    assert read == [(record.type, record.data) for record in late if record.receiver == "client"]
    assert len(read) > 10
    assert early
    assert path.ledger.balance() == 0


def test_an_enable_with_a_wrong_number_of_key_bytes_leaves_the_socket_as_it_was(bed: Bed) -> None:
    enable = TlsEnable.of(GCM13)
    with pytest.raises(SocketError, match="EINVAL"):
        bed.set(replace(enable, cipher_key=bytes(24)))
    bed.set(enable)
    bed.send(sealed(GCM13, [A]))
    assert bed.read().data == A


def test_no_payload_stands_in_a_repr(bed: Bed) -> None:
    bed.enable(GCM13)
    bed.send(sealed(GCM13, [b"tell nobody"]))
    assert "nobody" not in repr(bed.read(flags=Msg.PEEK)) + repr(bed.socket)
