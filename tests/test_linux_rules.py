"""Linux's receive rules (selftests net/tls.c), each as it is here: the same, different on purpose, or not applicable.

The table is docs/socket.md's, test by test: `same` and `different` rules name their test in this file, `none` the
reason why there is nothing to test. A rule without an entry, or an entry without its test, fails.
"""

from __future__ import annotations

import errno
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from rxtls.crypto.keys import Keys
from rxtls.crypto.records import Sealer
from rxtls.crypto.suites import SUITES, Version
from rxtls.errors import SocketError
from rxtls.host.socket.enable import TlsEnable
from rxtls.host.socket.socket import SO_RCVBUF, SO_RCVLOWAT, SOL_SOCKET, Mode, Msg
from sample_keys import made_up, sample_keys
from socket_bed import EOF, EOR, Bed, sealed

GCM13 = sample_keys(SUITES[0x1301], Version.TLS13)
NEXT13 = sample_keys(SUITES[0x1301], Version.TLS13, label="next")
GCM12 = sample_keys(SUITES[0xC02F], Version.TLS12)
CHACHA = sample_keys(SUITES[0x1303], Version.TLS13)
ALERT, HANDSHAKE, DATA, CUSTOM = 21, 22, 23, 100
KEY_UPDATE = b"\x18\x00\x00\x01\x00"
A, B = made_up(10, "a"), made_up(5, "b")


class Rule(NamedTuple):
    """How a rule stands: `same`, `different` or `none`; and in a few words."""

    how: str
    words: str


RULES: dict[str, Rule] = {
    "base_base": Rule("same", "before keys are set the socket is plain TCP"),
    "bad_cipher": Rule("same", "an unknown version or cipher is EINVAL"),
    "keysizes": Rule("same", "another key length is EINVAL"),
    "getsockopt": Rule("different", "keys cannot be read back (ENOPROTOOPT); the mode can"),
    "recseq_wrap": Rule("same", "record number 2^64 - 1 is the last: EBADMSG behind it"),
    "recv_max": Rule("same", "16 KiB records come whole"),
    "recvmsg_multiple": Rule("none", "one buffer a call: Python has no iovecs to be scattered over"),
    "single_send_multiple_recv": Rule("same", "a record may be read in pieces"),
    "multiple_send_single_recv": Rule("different", "one call never spans records, MSG_WAITALL or not"),
    "msg_more": Rule("none", "MSG_MORE is the sender's; an open record is not on the wire"),
    "msg_eor": Rule("same", "MSG_EOR with the last byte of a record"),
    "recv_nonblock": Rule("same", "EAGAIN when there is nothing"),
    "recv_peek": Rule("same", "peeking repeats and consumes nothing"),
    "recv_peek_multiple_records": Rule("different", "a peek shows the first record only"),
    "recv_lowat": Rule("different", "SO_RCVLOWAT moves poll; recvmsg gives what one record has"),
    "bidir": Rule("same", "each socket has its own receive keys"),
    "pollin": Rule("same", "readable with a whole record or a rest of one"),
    "poll_partial_rec": Rule("same", "a part of a record is not readable"),
    "blocking": Rule("none", "nothing sleeps: EAGAIN takes a wait's place"),
    "mutliproc": Rule("none", "one thread reads; a second one would meet Python's own rules"),
    "control_msg": Rule("different", "without a control buffer the type is lost, not EIO"),
    "control_msg_nomerge": Rule("same", "control records are never joined"),
    "data_control_data": Rule("same", "a read stops where the type changes"),
    "splice": Rule("none", "there is no pipe to splice into"),
    "recv_efault": Rule("none", "no user memory that could fault"),
    "recvmsg_nopad_retry_iov": Rule("none", "no optimistic zero copy"),
    "no_pad": Rule("none", "no optimistic zero copy; padded records are read as any"),
    "zero_len": Rule("different", "an empty data record is told by its control message"),
    "bad_rec": Rule("different", "EINVAL for the version; then ENOTCONN, not EAGAIN"),
    "bad_auth": Rule("different", "EBADMSG once, and the next record goes on"),
    "bad_in_large_read": Rule("different", "good records on both sides of the bad one come before the error"),
    "bad_cmsg": Rule("same", "a control record is delivered before the error of a later record"),
    "timeo": Rule("none", "nothing sleeps"),
    "oob_pressure": Rule("same", "a small buffer and a large record: progress"),
    "rekey": Rule("same", "EKEYEXPIRED behind a KeyUpdate until the next key is set"),
    "rekey_fail": Rule("same", "another version or cipher is EINVAL; TLS 1.2 is EBUSY"),
    "rekey_peek": Rule("same", "a peek shows the KeyUpdate, and nothing behind it"),
    "rekey_poll": Rule("same", "poll wakes only after the next key"),
    "rekey_rx": Rule("different", "a key is replaced only behind a KeyUpdate: EALREADY before"),
    "disconnect": Rule("none", "a socket here is one connection's from the beginning"),
    "shutdown_reuse": Rule("same", "no listening with keys set"),
    "non_established": Rule("different", "keys may be set before the connection is there, as FreeBSD has it"),
    "prequeue": Rule("same", "what came before the key is decrypted by it"),
    "data_steal": Rule("none", "nobody else can read under the socket"),
}


@pytest.fixture(params=["none", "connectx-6dx"])
def bed(request: pytest.FixtureRequest) -> Bed:
    return Bed(request.param)


def test_every_rule_has_its_test_and_stands_in_the_document() -> None:
    here = Path(__file__).read_text()
    tests = set(re.findall(r"^def test_(\w+)\(bed", here, re.MULTILINE))
    wanted = {name for name, rule in RULES.items() if rule.how != "none"}
    assert tests == wanted
    document = (Path(__file__).parents[1] / "docs" / "socket.md").read_text()
    for name, rule in RULES.items():
        assert f"| `{name}` | {rule.how} | {rule.words} |" in document


def test_base_base(bed: Bed) -> None:
    bed.send(b"plain")
    assert (bed.read().data, bed.mode) == (b"plain", Mode.NONE)


def test_bad_cipher(bed: Bed) -> None:
    for enable in (TlsEnable(77, bytes(16), bytes(12)), TlsEnable(25, bytes(16), bytes(12), 7)):
        with pytest.raises(SocketError, match="EINVAL"):
            bed.set(enable)


def test_keysizes(bed: Bed) -> None:
    for size in (15, 17, 24, 33):
        with pytest.raises(SocketError, match="EINVAL"):
            bed.set(TlsEnable(25, bytes(size), bytes(12)))


def test_getsockopt(bed: Bed) -> None:
    bed.enable(GCM13)
    with pytest.raises(SocketError, match="ENOPROTOOPT"):
        bed.socket.getsockopt(6, 41)
    assert bed.mode in (Mode.SW, Mode.IFNET)


def test_recseq_wrap(bed: Bed) -> None:
    last = (1 << 64) - 1
    bed.enable(GCM13, last)
    bed.send(sealed(GCM13, [A], last) + sealed(GCM13, [B]))
    assert bed.read().data == A
    bed.refused(errno.EBADMSG)


def test_recv_max(bed: Bed) -> None:
    bed.enable(GCM12)
    payload = made_up(16384, "max")
    bed.send(sealed(GCM12, [payload]))
    assert bed.read().data == payload


def test_single_send_multiple_recv(bed: Bed) -> None:
    bed.enable(GCM13)
    bed.send(sealed(GCM13, [A + B]))
    assert [bed.read(10).data, bed.read(10).data] == [A, B]


def test_multiple_send_single_recv(bed: Bed) -> None:
    bed.enable(GCM13)
    bed.send(sealed(GCM13, [A, B]))
    assert [bed.read().data, bed.read().data] == [A, B]


def test_msg_eor(bed: Bed) -> None:
    bed.enable(GCM13)
    bed.send(sealed(GCM13, [A]))
    assert [bed.read(4).flags, bed.read().flags] == [Msg(0), EOR]


def test_recv_nonblock(bed: Bed) -> None:
    bed.enable(GCM13)
    bed.refused(errno.EAGAIN, flags=Msg.DONTWAIT)


def test_recv_peek(bed: Bed) -> None:
    bed.enable(GCM13)
    bed.send(sealed(GCM13, [A]))
    for _ in range(100):
        assert bed.read(flags=Msg.PEEK).data == A
    assert bed.read().data == A


def test_recv_peek_multiple_records(bed: Bed) -> None:
    bed.enable(GCM13)
    bed.send(sealed(GCM13, [A, B]))
    assert bed.read(flags=Msg.PEEK).data == A
    assert [bed.read().data, bed.read().data] == [A, B]


def test_recv_lowat(bed: Bed) -> None:
    bed.enable(GCM13)
    bed.socket.setsockopt(SOL_SOCKET, SO_RCVLOWAT, 8)
    bed.send(sealed(GCM13, [A, B]))
    assert [bed.read(1).data, bed.read(6).data] == [A[:1], A[1:7]]
    assert bed.socket.poll()  # 3 + 5 bytes
    assert [bed.read(8).data, bed.read(8).data] == [A[7:], B]


def test_bidir(bed: Bed) -> None:
    bed.enable(GCM13)
    other = bed.path.socket(0, "client")
    assert other is not bed.socket
    other.setsockopt(6, 41, TlsEnable.of(CHACHA))
    bed.send(sealed(GCM13, [A]))
    assert bed.read().data == A
    with pytest.raises(SocketError, match="EAGAIN"):
        other.recvmsg(10)


def test_pollin(bed: Bed) -> None:
    bed.enable(GCM13)
    assert not bed.socket.poll()
    bed.send(sealed(GCM13, [A]))
    assert bed.socket.poll()
    bed.read(4)
    assert bed.socket.poll()
    bed.read()
    assert not bed.socket.poll()


def test_poll_partial_rec(bed: Bed) -> None:
    bed.enable(GCM13)
    wire = sealed(GCM13, [made_up(500, "partial")])
    bed.send(wire[:100])
    assert not bed.socket.poll()
    bed.send(wire[100:])
    assert bed.socket.poll()


def test_control_msg(bed: Bed) -> None:
    bed.enable(GCM13)
    bed.send(sealed(GCM13, [A, A], type=CUSTOM))
    assert bed.socket.recvmsg(100, control=False) == (A, None, EOR)
    got = bed.read(flags=Msg.PEEK)
    assert got.control is not None
    assert got.control.type == CUSTOM


def test_control_msg_nomerge(bed: Bed) -> None:
    bed.enable(GCM13)
    bed.send(sealed(GCM13, [A, B], type=CUSTOM))
    assert [bed.read(flags=Msg.PEEK).data, bed.read().data, bed.read().data] == [A, A, B]


def test_data_control_data(bed: Bed) -> None:
    bed.enable(GCM13)
    sealer = Sealer(GCM13)
    bed.send(sealer.seal(0, DATA, A) + sealer.seal(1, CUSTOM, B) + sealer.seal(2, DATA, A))
    assert bed.read(flags=Msg.PEEK).data == A
    assert bed.everything() == [(DATA, A), (CUSTOM, B), (DATA, A)]


def test_zero_len(bed: Bed) -> None:
    bed.enable(GCM13)
    sealer = Sealer(GCM13)
    bed.send(sealer.seal(0, DATA, b"") + sealer.seal(1, CUSTOM, b"") + sealer.seal(2, DATA, A))
    assert bed.everything() == [(DATA, b""), (CUSTOM, b""), (DATA, A)]


def test_bad_rec(bed: Bed) -> None:
    bed.enable(GCM13)
    bed.send(b"\x55" * 200)
    bed.refused(errno.EINVAL)
    bed.refused(errno.ENOTCONN)
    bed.refused(errno.ENOTCONN)


def spoilt(keys: Keys, number: int) -> bytes:
    record = sealed(keys, [A], number)
    return record[:-1] + bytes([record[-1] ^ 1])


def test_bad_auth(bed: Bed) -> None:
    bed.enable(GCM13)
    bed.send(spoilt(GCM13, 0))
    bed.refused(errno.EBADMSG)
    bed.refused(errno.EAGAIN)
    bed.send(sealed(GCM13, [B], 1))
    assert bed.read().data == B


def test_bad_in_large_read(bed: Bed) -> None:
    bed.enable(GCM13)
    bed.send(sealed(GCM13, [A]) + spoilt(GCM13, 1) + sealed(GCM13, [B], 2))
    assert [bed.read().data, bed.read().data] == [A, B]
    bed.refused(errno.EBADMSG)


def test_bad_cmsg(bed: Bed) -> None:
    bed.enable(GCM13)
    bed.send(sealed(GCM13, [A], type=CUSTOM) + spoilt(GCM13, 1))
    got = bed.read()
    assert got.control is not None
    assert (got.control.type, got.data) == (CUSTOM, A)
    bed.refused(errno.EBADMSG)


def test_oob_pressure(bed: Bed) -> None:
    bed.socket.setsockopt(SOL_SOCKET, SO_RCVBUF, 2048)
    bed.enable(GCM12)
    payload = made_up(16384, "pressure")
    wire, at = sealed(GCM12, [payload]), 0
    while at < len(wire):
        room = min(bed.socket.space, 100)
        assert room
        bed.send(wire[at : at + room])
        at += room
        bed.socket.poll()
    assert bed.read().data == payload


def keyed_anew(bed: Bed) -> None:
    bed.enable(GCM13)
    bed.send(sealed(GCM13, [A]) + Sealer(GCM13).seal(1, HANDSHAKE, KEY_UPDATE) + sealed(NEXT13, [B]))


def test_rekey(bed: Bed) -> None:
    keyed_anew(bed)
    assert [bed.read().data, bed.read().data] == [A, KEY_UPDATE]
    bed.refused(errno.EKEYEXPIRED)
    bed.enable(NEXT13)
    assert bed.read().data == B


def test_rekey_fail(bed: Bed) -> None:
    keyed_anew(bed)
    bed.socket.poll()
    for wrong in (GCM12, CHACHA):
        with pytest.raises(SocketError, match="EINVAL"):
            bed.enable(wrong)
    tls12 = Bed("none")
    tls12.enable(GCM12)
    with pytest.raises(SocketError, match="EBUSY"):
        tls12.enable(GCM12)


def test_rekey_peek(bed: Bed) -> None:
    keyed_anew(bed)
    assert bed.read().data == A
    assert bed.read(flags=Msg.PEEK).data == bed.read().data == KEY_UPDATE
    bed.refused(errno.EKEYEXPIRED, flags=Msg.PEEK)


def test_rekey_poll(bed: Bed) -> None:
    keyed_anew(bed)
    bed.read()
    bed.read()
    assert not bed.socket.poll()
    bed.enable(NEXT13)
    assert bed.socket.poll()


def test_rekey_rx(bed: Bed) -> None:
    bed.enable(GCM13)
    with pytest.raises(SocketError, match="EALREADY"):
        bed.enable(NEXT13)


def test_shutdown_reuse(bed: Bed) -> None:
    bed.enable(GCM13)
    bed.socket.shutdown()
    assert bed.read() == EOF
    with pytest.raises(SocketError, match="EINVAL"):
        bed.socket.listen()


def test_non_established(bed: Bed) -> None:
    early = Bed(connect=False)
    early.enable(GCM13)
    early.connect()
    early.send(sealed(GCM13, [A]))
    assert early.read().data == A
    assert bed.mode == Mode.NONE


def test_prequeue(bed: Bed) -> None:
    bed.send(sealed(GCM13, [A]))
    bed.enable(GCM13)
    assert bed.read().data == A
