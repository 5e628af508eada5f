"""The kTLS worker: whatever mix of decrypted and encrypted bytes a record comes as, the plaintext is software's.

Tests are named after the trap they show; the table of traps, and where each is shown, stands at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rxtls.crypto.keys import Keys
from rxtls.crypto.records import Opener, Sealer
from rxtls.crypto.stream import StreamOpener
from rxtls.crypto.suites import Family, Version
from rxtls.errors import RecordError
from rxtls.host.sockbuf import SockBuf
from rxtls.host.worker import CryptoState, Outcome, Session
from rxtls.offload.commands import Report
from rxtls.offload.mbuf import WIRE
from rxtls.seq import MASK, add
from sample_keys import ALL_SHAPES, NUMBERS, STREAMED, made_up, sample_keys, shape_name
from sample_mbufs import mbuf

DECRYPTED, MIXED, ENCRYPTED = CryptoState.DECRYPTED, CryptoState.MIXED, CryptoState.ENCRYPTED

TLS12 = [keys for keys in STREAMED if keys.version is Version.TLS12]
TLS13 = [keys for keys in STREAMED if keys.version is Version.TLS13]
GCM12 = next(keys for keys in TLS12 if keys.suite.family is Family.AES_GCM)
CHACHA12 = next(keys for keys in TLS12 if keys.suite.family is Family.CHACHA20_POLY1305)
GCM13 = next(keys for keys in TLS13 if keys.suite.family is Family.AES_GCM)
SOFTWARE = [keys for keys in ALL_SHAPES if not keys.stream]

Piece = tuple[bytes, int]  # bytes as they arrive, and their mark


def other(keys: Keys, label: str = "other") -> Keys:
    """Other secrets of the same shape."""
    return sample_keys(keys.suite, keys.version, keys.encrypt_then_mac, label)


def on_device(keys: Keys, number: int, wire: bytes) -> bytes:
    """Record `number` after a NIC has run its cipher over it: header, explicit nonce and AEAD tag as on the wire."""
    start, end = keys.header_length, len(wire) - keys.aead_tag_length
    return wire[:start] + StreamOpener(keys, number, wire[:start]).update(wire[start:end]) + wire[end:]


def cut(copies: dict[int, bytes], edges: Iterable[int], marks: Sequence[int]) -> list[Piece]:
    """Pieces between the edges; a piece with mark m is taken from copies[m]."""
    length = len(copies[WIRE])
    bounds = sorted({0, length, *(edge for edge in edges if 0 < edge < length)})
    out = []
    for i, (a, b) in enumerate(pairwise(bounds)):
        mark = marks[i % len(marks)]
        out.append((copies[mark][a:b], mark))
    return out


class Host:
    """A session over a socket buffer. The TCP sequence number begins shortly before the wrap."""

    def __init__(self, keys: Keys, number: int = 0, epoch: int | None = 1, start: int = MASK - 700) -> None:
        self.sockbuf = SockBuf()
        self.sockbuf.enable()
        self.session = Session(keys, number)
        self.start = self.end = start
        self.frame = 0
        if epoch is not None:
            self.session.begin_epoch(epoch)

    def take(self, *pieces: Piece) -> None:
        for data, mark in pieces:
            if data:
                self.sockbuf.append(mbuf(self.end, data, mark, frame=self.frame, time_ns=1000 * self.frame))
                self.end = add(self.end, len(data))
                self.frame += 1

    def run(self, *pieces: Piece) -> list[Outcome]:
        self.take(*pieces)
        out: list[Outcome] = []
        while (outcome := self.session.step(self.sockbuf)) is not None:
            self.sockbuf.check_chain()
            assert (self.sockbuf.acc, self.sockbuf.tlsdcc) == (0, 0)
            out.append(outcome)
        return out

    def one(self, *pieces: Piece) -> Outcome:
        (outcome,) = self.run(*pieces)
        return outcome


def payload_of(outcome: Outcome) -> bytes:
    assert outcome.opened is not None
    return outcome.opened.payload


# Every composition.


@pytest.mark.parametrize("composition", ["D", "E", "DE", "ED", "EDE", "DED"])
@pytest.mark.parametrize("keys", STREAMED, ids=shape_name)
def test_trap_2_every_composition_at_every_split_point(keys: Keys, composition: str) -> None:
    # Lengths around the cipher's blocks; the splits go through header, explicit nonce, payload, inner type, AEAD tag.
    number, payload = 3, made_up(35, "payload")
    wire = Sealer(keys).seal(number, 23, payload)
    copies = {WIRE: wire, 1: on_device(keys, number, wire)}
    marks = [1 if letter == "D" else WIRE for letter in composition]
    inside = range(1, len(wire))
    middle = [(a, a + n) for a in inside for n in (1, 4, 16, 17) if a + n < len(wire)]
    splits: dict[int, list[tuple[int, ...]]] = {1: [()], 2: [(a,) for a in inside], 3: list(middle)}
    for edges in splits[len(composition)]:
        outcome = Host(keys, number).one(*cut(copies, edges, marks))
        assert payload_of(outcome) == payload
        assert outcome.opened == Opener(keys).open(number, wire)
        assert outcome.composition == composition
        assert outcome.state is {"D": DECRYPTED, "E": ENCRYPTED}.get(composition, MIXED)
        assert (outcome.number, outcome.total) == (number, len(wire))


class Sent(NamedTuple):
    type: int
    payload: bytes
    wire: bytes


@st.composite
def streams(draw: st.DrawFn, keys: Keys, number: int) -> list[Sent]:
    """A few records in a row, empty ones and padded ones among them."""
    out = []
    for i in range(draw(st.integers(1, 5))):
        payload = made_up(draw(st.sampled_from([0, 1, 15, 16, 17, 100]) | st.integers(0, 400)), f"payload {i}")
        record_type = draw(st.sampled_from([23, 23, 22, 21]))
        padding = draw(st.sampled_from([0, 0, 1, 40])) if keys.version is Version.TLS13 else 0
        out.append(Sent(record_type, payload, Sealer(keys).seal(number + i, record_type, payload, padding)))
    return out


@pytest.mark.parametrize("keys", STREAMED, ids=shape_name)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_trap_1_marks_per_packet_records_per_bytes(keys: Keys, data: st.DataObject) -> None:
    """Packets cut without regard to records, each marked or not: plaintext, class, place and reports of each record."""
    number = data.draw(st.sampled_from([0, 7, 2**32 - 1, 2**63]))
    sent = data.draw(streams(keys, number))
    copies = {
        WIRE: b"".join(record.wire for record in sent),
        1: b"".join(on_device(keys, number + i, record.wire) for i, record in enumerate(sent)),
    }
    edges = data.draw(st.lists(st.integers(1, len(copies[WIRE])), max_size=14))
    marks = data.draw(st.lists(st.integers(0, 1), min_size=15, max_size=15))
    pieces = cut(copies, edges, marks)
    host = Host(keys, number)
    outcomes: list[Outcome] = []
    for piece in pieces:  # the worker is served after each packet
        outcomes += host.run(piece)
    assert [outcome.opened for outcome in outcomes] == [(record.type, record.payload) for record in sent]

    by_byte = [mark for content, mark in pieces for _ in content]
    by_frame = [frame for frame, (content, _) in enumerate(pieces) for _ in content]
    at, resync = 0, False
    for i, (record, outcome) in enumerate(zip(sent, outcomes, strict=True)):
        own = by_byte[at : at + len(record.wire)]
        place, length = add(host.start, at), len(record.wire)
        state = DECRYPTED if all(own) else MIXED if any(own) else ENCRYPTED
        assert (outcome.state, outcome.number, outcome.tcp_seq, outcome.total) == (state, number + i, place, length)
        assert outcome.composition == "".join("ED"[m] for j, m in enumerate(own) if j == 0 or own[j - 1] != m)
        assert outcome.frame == by_frame[at + length - 1]
        assert outcome.time_ns == 1000 * outcome.frame
        encrypted = own[keys.header_length : length - keys.aead_tag_length]
        assert outcome.recrypted == (sum(encrypted) if state is MIXED else 0)
        at += length
        if state is not DECRYPTED:
            assert outcome.report == Report(place, length, number + i, state is MIXED)
        elif resync:
            assert outcome.report == Report(add(host.start, at), 0, number + i)
        else:
            assert outcome.report is None
        resync = state is not DECRYPTED
    assert host.sockbuf.ccc == 0


@pytest.mark.parametrize("keys", STREAMED, ids=shape_name)
def test_trap_21_where_mbufs_are_cut_does_not_matter(keys: Keys) -> None:
    payload = made_up(90, "payload")
    wire = Sealer(keys).seal(0, 23, payload)
    copies = {WIRE: wire, 1: on_device(keys, 0, wire)}
    coarse = cut(copies, [20, 60], [1, 0, 1])
    fine = [(data[i : i + 1], mark) for data, mark in coarse for i in range(len(data))]
    a, b = Host(keys).one(*coarse), Host(keys).one(*fine)
    assert a._replace(frame=0, time_ns=0) == b._replace(frame=0, time_ns=0)


# What marks must never lead to.


@pytest.mark.parametrize("keys", STREAMED, ids=shape_name)
def test_trap_3_anything_less_than_all_bytes_is_verified(keys: Keys) -> None:
    """All marked but one single byte, be it of header, nonce or AEAD tag: the AEAD tag is looked at."""
    wire = bytearray(Sealer(keys).seal(0, 23, made_up(40, "payload")))
    copies = {WIRE: bytes(wire), 1: on_device(keys, 0, bytes(wire))}
    forged = bytearray(copies[1])
    forged[keys.header_length + 3] ^= 1  # plaintext that nobody sent
    for at in range(len(wire)):
        sole = [(copies[1][:at], 1), (copies[WIRE][at : at + 1], WIRE), (copies[1][at + 1 :], 1)]
        outcome = Host(keys).one(*sole)
        assert (outcome.state, payload_of(outcome)) == (MIXED, made_up(40, "payload"))
        if at != keys.header_length + 3:
            sole = [(bytes(forged[:at]), 1), (bytes(forged[at : at + 1]), WIRE), (bytes(forged[at + 1 :]), 1)]
            outcome = Host(keys).one(*sole)
            assert (outcome.state, outcome.opened, outcome.report) == (MIXED, None, None)


@pytest.mark.parametrize("keys", STREAMED, ids=shape_name)
def test_trap_7_marked_before_the_verdict_and_not_after(keys: Keys) -> None:
    """The NIC marks packets before the AEAD tag is there. It fails: that packet is as on the wire. EBADMSG, once."""
    wire = bytearray(Sealer(keys).seal(0, 23, made_up(200, "payload")))
    wire[60] ^= 4
    copies = {WIRE: bytes(wire), 1: on_device(keys, 0, bytes(wire))}
    good = Sealer(keys).seal(1, 23, b"next")
    for last in (100, len(wire) - 16, len(wire) - 5, len(wire) - 1):
        host = Host(keys)
        bad, fine = host.run(*cut(copies, [50, last], [1, 1, 0]), (on_device(keys, 1, good), 1))
        assert (bad.state, bad.opened, bad.number, bad.report) == (MIXED, None, 0, None)
        assert (fine.state, payload_of(fine), fine.number, fine.report) == (DECRYPTED, b"next", 1, None)


@pytest.mark.parametrize("keys", STREAMED, ids=shape_name)
def test_decrypted_is_the_one_case_without_cryptography(keys: Keys) -> None:
    """All bytes marked by the right epoch: the AEAD tag is not looked at again, as the device has done so."""
    wire = Sealer(keys).seal(0, 23, b"payload")
    outcome = Host(keys).one((on_device(keys, 0, wire)[:-16] + bytes(16), 1))
    assert (outcome.state, payload_of(outcome)) == (DECRYPTED, b"payload")


@pytest.mark.parametrize("keys", STREAMED, ids=shape_name)
def test_all_marked_by_another_epoch_is_not_trusted(keys: Keys) -> None:
    """The device had other keys, or another idea of the record number: undo what it did, then verify."""
    old = other(keys)
    wire = Sealer(keys).seal(5, 23, made_up(50, "payload"))

    stale = Host(old, 9)
    stale.session.rekey(keys, 5)
    stale.session.begin_epoch(2)
    outcome = stale.one((on_device(old, 9, wire), 1))
    assert (outcome.state, payload_of(outcome)) == (MIXED, made_up(50, "payload"))
    assert outcome.report == Report(stale.start, len(wire), 5, mixed=True)

    shifted = Host(keys, 8)  # the same keys, but the number was set back
    shifted.session.rekey(keys, 5)
    outcome = shifted.one((on_device(keys, 8, wire), 1))
    assert (outcome.state, payload_of(outcome)) == (MIXED, made_up(50, "payload"))

    for number in (9, 5):  # with the same number, too, other keys are other keys
        forged = Host(old, number)
        forged.session.rekey(keys, 5)
        outcome = forged.one((wire[:20] + b"forged" + wire[26:], 1))
        assert (outcome.state, outcome.opened) == (MIXED, None)


@pytest.mark.parametrize("keys", STREAMED, ids=shape_name)
@pytest.mark.parametrize("unknown", ["whole", "part", "header", "AEAD tag"])
def test_an_unknown_epoch_fails_only_its_record(keys: Keys, unknown: str) -> None:
    wire = Sealer(keys).seal(0, 23, made_up(50, "payload"))
    edges = {"whole": (0, 99), "part": (20, 40), "header": (0, 5), "AEAD tag": (len(wire) - 16, len(wire))}[unknown]
    copies = {WIRE: wire, 9: on_device(keys, 0, wire)}
    pieces = [(wire[: edges[0]], WIRE), (copies[9][edges[0] : edges[1]], 9), (wire[edges[1] :], WIRE)]
    following = Sealer(keys).seal(1, 23, b"following")
    first, second = Host(keys).run(*pieces, (following, WIRE))
    assert (first.state, first.opened, first.report) == (MIXED, None, None)
    assert (second.opened, second.number) == ((23, b"following"), 1)


# Old epochs.


@pytest.mark.parametrize("keys", TLS13, ids=shape_name)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_old_marks_are_undone_with_the_old_key_and_number(keys: Keys, data: st.DataObject) -> None:
    """KeyUpdate: the device goes on with the old key, packets it decrypted so meet the new one; and others in between.

    Epoch 1 began `before` records ago and epoch 2 with the new keys; each byte has any of three marks.
    """
    new, before, number = other(keys), data.draw(st.integers(1, 4)), data.draw(st.sampled_from([0, 5, 2**40]))
    host = Host(keys, number)
    sealer = Sealer(keys)
    opened = host.run(*[(sealer.seal(number + i, 23, b"old"), WIRE) for i in range(before)])
    assert len(opened) == before
    host.session.rekey(new, 0)
    host.session.begin_epoch(2)
    sent = data.draw(streams(new, 0))
    copies = {
        WIRE: b"".join(record.wire for record in sent),
        1: b"".join(on_device(keys, number + before + i, record.wire) for i, record in enumerate(sent)),
        2: b"".join(on_device(new, i, record.wire) for i, record in enumerate(sent)),
    }
    edges = data.draw(st.lists(st.integers(1, len(copies[WIRE])), max_size=14))
    marks = data.draw(st.lists(st.integers(0, 2), min_size=15, max_size=15))
    outcomes = host.run(*cut(copies, edges, marks))
    assert [outcome.opened for outcome in outcomes] == [(record.type, record.payload) for record in sent]
    assert [outcome.number for outcome in outcomes] == list(range(len(sent)))


@pytest.mark.parametrize("new", [keys for keys in ALL_SHAPES if keys.version is Version.TLS12], ids=shape_name)
@pytest.mark.parametrize("old", TLS12, ids=shape_name)
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_old_marks_across_suites(old: Keys, new: Keys, data: st.DataObject) -> None:
    """TLS 1.2 renegotiation to another suite: headers, AEAD tags and minimal sizes need not be those of the old one.

    Where the new suite can be offloaded too, a record may carry marks of both epochs: its bytes before the new receive
    tag was there and, retransmitted, after.
    """
    new = other(new)
    host = Host(old, 2)
    assert host.one((Sealer(old).seal(2, 23, b"old"), WIRE)).number == 2
    host.session.rekey(new, 0)
    payload = made_up(data.draw(st.sampled_from([24, 40]) | st.integers(24, 90)), "payload")
    wire = Sealer(new).seal(0, 23, payload)
    copies = {WIRE: wire, 1: on_device(old, 3, wire)}
    if new.stream:
        host.session.begin_epoch(2)
        copies[2] = on_device(new, 0, wire)
    edges = data.draw(st.lists(st.integers(1, len(wire)) | st.sampled_from([5, 13]), max_size=8))
    marks = data.draw(st.lists(st.sampled_from(sorted(copies)), min_size=9, max_size=9))
    outcome = host.one(*cut(copies, edges, marks))
    assert outcome.opened == (23, payload)


def test_old_marks_on_the_nonce_are_undone_before_it_is_used() -> None:
    """GCM, then ChaCha20, both marked: in the old epoch's eyes bytes 5 to 13 are its explicit nonce, in the new one's
    they are payload, which must be ciphertext again before the old epoch's keystream can be made from it."""
    new = other(CHACHA12)
    wire = Sealer(new).seal(0, 23, made_up(60, "payload"))
    old_copy, new_copy = on_device(GCM12, 0, wire), on_device(new, 0, wire)
    for first, second in ((1, 2), (2, 1)):  # whichever way the epochs are numbered
        host = Host(GCM12, 0, epoch=first)
        host.session.rekey(new, 0)
        host.session.begin_epoch(second)
        outcome = host.one((new_copy[:20], second), (old_copy[20:], first))
        assert outcome.opened == (23, made_up(60, "payload"))


@pytest.mark.parametrize("marked", [1, 3, 4])
def test_a_header_piece_marked_before_its_length_was_known(marked: int) -> None:
    """A packet may end in the first bytes of a header and be marked; only then the device sees a length that its suite
    does not have. There is nothing to undo in such a record, and the old suite's sizes say nothing about it."""
    alert = Sealer(CHACHA12).seal(0, 21, b"\x01\x00")
    assert len(alert) < GCM12.min_total
    host = Host(GCM12)
    host.session.rekey(CHACHA12, 0)
    outcome = host.one((alert[:marked], 1), (alert[marked:], WIRE))
    assert (outcome.state, outcome.opened, outcome.recrypted) == (MIXED, (21, b"\x01\x00"), 0)

    large = Sealer(SOFTWARE_CBC).seal(0, 23, bytes(16384))
    assert len(large) > GCM12.max_total
    host = Host(GCM12)
    host.session.rekey(SOFTWARE_CBC, 0)
    assert host.one((large[:marked], 1), (large[marked:], WIRE)).opened == (23, bytes(16384))


@pytest.mark.parametrize("marked", [1, 4, 5, 8])
def test_a_tiny_record_under_the_mark_of_a_suite_with_longer_headers(marked: int) -> None:
    """Shorter than the old suite's header: dropped alone, as a record of that size is, and nothing else happens."""
    tiny = b"\x17\x03\x03\x00\x03abc"
    assert CHACHA12.header_length < len(tiny) < GCM12.header_length
    host = Host(GCM12)
    host.session.rekey(CHACHA12, 0)
    bad, good = host.run((tiny[:marked], 1), (tiny[marked:], WIRE), (Sealer(CHACHA12).seal(1, 23, b"good"), WIRE))
    assert (bad.opened, good.opened) == (None, (23, b"good"))


SOFTWARE_CBC = max((keys for keys in SOFTWARE if keys.version is Version.TLS12), key=lambda keys: keys.max_total)


def test_what_an_unknown_epoch_marked_opens_as_nothing() -> None:
    session = Session(GCM13, 0)
    wire = Sealer(GCM13).seal(0, 23, b"payload")
    assert session.opens([mbuf(0, wire)], wire, 0)
    assert not session.opens([mbuf(0, wire)], wire, 1)
    assert not session.opens([mbuf(0, wire, 9)], wire, 0)
    assert (session.number, session.ordinal) == (0, 0)  # nothing was taken


def test_epochs_are_forgotten_when_no_byte_carries_them() -> None:
    host = Host(GCM13)
    host.session.rekey(other(GCM13), 0)
    host.session.begin_epoch(2)
    host.session.prune_epochs({0, 2})
    assert set(host.session.epochs) == {2}
    wire = Sealer(other(GCM13)).seal(0, 23, b"payload")
    assert host.one((on_device(GCM13, 0, wire), 1)).opened is None


# Wrong confirms: the device was told a number that is off by a known slip.


@pytest.mark.parametrize("keys", STREAMED, ids=shape_name)
@pytest.mark.parametrize("slip", [1, -2, 300])
def test_a_known_slip_is_undone(keys: Keys, slip: int) -> None:
    wire = Sealer(keys).seal(10, 23, made_up(60, "payload"))
    copies = {WIRE: wire, 1: on_device(keys, 10 + slip, wire)}
    host = Host(keys, 10)
    host.session.epochs[1].slips |= {7, slip}
    outcome = host.one(*cut(copies, [30], [1, 0]))
    assert (outcome.state, payload_of(outcome), outcome.number) == (MIXED, made_up(60, "payload"), 10)


@pytest.mark.parametrize("keys", STREAMED, ids=shape_name)
def test_slips_never_accept_what_does_not_verify(keys: Keys) -> None:
    wire = bytearray(Sealer(keys).seal(0, 23, made_up(60, "payload")))
    wire[-1] ^= 1
    host = Host(keys, 0)
    # One of them would make the record number negative: it cannot have been that one.
    host.session.epochs[1].slips |= {-1, 1, 2}
    outcome = host.one((on_device(keys, 0, bytes(wire))[:30], 1), (bytes(wire[30:]), WIRE))
    assert (outcome.state, outcome.opened) == (MIXED, None)
    assert host.one((Sealer(keys).seal(1, 23, b"next"), WIRE)).opened == (23, b"next")


# The header stage is fatal.


def header_of(keys: Keys, total: int, major: int = 3, minor: int | None = None, outer: int = 23) -> bytes:
    minor = keys.version.wire & 0xFF if minor is None else minor
    return bytes([outer, major, minor]) + (total - 5).to_bytes(2)


@pytest.mark.parametrize("keys", ALL_SHAPES, ids=shape_name)
def test_trap_13_header_errors_end_the_stream(keys: Keys) -> None:
    ok = keys.header_length + 100
    right = keys.version.wire & 0xFF
    bad = {
        header_of(keys, ok, major=2): "EINVAL",
        header_of(keys, ok, major=4): "EINVAL",
        header_of(keys, ok, minor=right - 1): "EINVAL",
        header_of(keys, ok, minor=right + 1): "EINVAL",
        header_of(keys, 5, minor=9): "EINVAL",  # the version is looked at before the size
        header_of(keys, keys.max_total + 1): "EMSGSIZE",
        header_of(keys, 5 + 0xFFFF): "EMSGSIZE",
    }
    if keys.version is Version.TLS13:
        for outer in (0, 20, 21, 22, 24, 255):
            bad[header_of(keys, ok, outer=outer)] = "EINVAL"
        bad[header_of(keys, keys.max_total + 1, outer=22)] = "EINVAL"
    if keys.header_length > 5:
        bad[header_of(keys, keys.header_length - 1)] = "EMSGSIZE"
        bad[header_of(keys, 5)] = "EMSGSIZE"
    for header, errno in bad.items():
        host = Host(keys, 4)
        good = Sealer(keys).seal(4, 23, b"good")
        (outcome,) = host.run((good, WIRE), (header + bytes(300), WIRE))
        assert outcome.opened == (23, b"good")
        fatal = host.session.fatal
        assert fatal is not None
        assert fatal.startswith(errno + ":")
        # Trap 15: nothing is ever parsed again, the number stays, and all bytes still wait to be accounted for.
        assert host.run((Sealer(keys).seal(5, 23, b"late"), WIRE)) == []
        assert host.session.fatal == fatal
        assert (host.session.number, host.sockbuf.tlsdcc) == (5, 0)
        assert host.sockbuf.flush() == host.sockbuf.ccc + 305 + len(Sealer(keys).seal(5, 23, b"late"))


@pytest.mark.parametrize("keys", [k for k in ALL_SHAPES if k.version is not Version.TLS13], ids=shape_name)
@pytest.mark.parametrize("record_type", [0, 20, 24, 255])
def test_types_are_not_checked_before_tls_13(keys: Keys, record_type: int) -> None:
    assert Host(keys).one((Sealer(keys).seal(0, record_type, b"x"), WIRE)).opened == (record_type, b"x")


@pytest.mark.parametrize("keys", ALL_SHAPES, ids=shape_name)
def test_the_largest_record_is_no_error(keys: Keys) -> None:
    host = Host(keys)
    (outcome,) = host.run((header_of(keys, keys.max_total) + bytes(keys.max_total - 5), WIRE))
    assert (outcome.opened, outcome.total, host.session.fatal) == (None, keys.max_total, None)
    largest = Sealer(keys).seal(1, 23, bytes(16384))
    assert host.one((largest, WIRE)).opened == (23, bytes(16384))


# The decrypt stage drops one record.


@pytest.mark.parametrize("mark", [WIRE, 1])
@pytest.mark.parametrize("keys", STREAMED, ids=shape_name)
def test_trap_9_too_short_for_its_trailer_is_dropped_alone(keys: Keys, mark: int) -> None:
    # Sizes that the header stage lets pass and that no record has, also when every byte is marked.
    for total in range(keys.header_length, keys.min_total):
        host = Host(keys, 6)
        short = header_of(keys, total) + bytes(range(1, 200))[: total - 5]
        good = Sealer(keys).seal(7, 23, b"good")
        bad, fine = host.run((short, mark), (good, WIRE))
        assert (bad.opened, bad.number, bad.total, bad.report) == (None, 6, total, None)
        assert (fine.opened, fine.number) == ((23, b"good"), 7)
        mixed = Host(keys, 6).one((short[: total - 1], 1), (short[total - 1 :], WIRE))
        assert (mixed.state, mixed.opened) == (MIXED, None)


@pytest.mark.parametrize("keys", ALL_SHAPES, ids=shape_name)
def test_trap_12_the_number_advances_on_failure(keys: Keys) -> None:
    host = Host(keys, 2**40)
    sealer = Sealer(keys)
    for i in range(6):
        wire = bytearray(sealer.seal(2**40 + i, 23, made_up(50, f"{i}")))
        if i % 2:
            wire[-1 - i] ^= 0x80
        outcome = host.one((bytes(wire), WIRE))
        assert outcome.number == 2**40 + i
        assert (outcome.opened is None) == bool(i % 2)
        assert (outcome.report is None) == bool(i % 2)
    assert host.session.number == 2**40 + 6
    assert host.session.fatal is None


@pytest.mark.parametrize("keys", ALL_SHAPES, ids=shape_name)
@settings(max_examples=5, deadline=None)
@given(number=NUMBERS)
def test_any_first_number(keys: Keys, number: int) -> None:
    # Trap 17: record numbers have 64 bits, and have nothing to do with TCP's 32. The start is rec_seq, not 0.
    outcome = Host(keys, number).one((Sealer(keys).seal(number, 23, b"first"), WIRE))
    assert (outcome.opened, outcome.number) == ((23, b"first"), number)
    assert Host(keys, number ^ 1).one((Sealer(keys).seal(number, 23, b"first"), WIRE)).opened is None


# Waiting.


@pytest.mark.parametrize("keys", ALL_SHAPES, ids=shape_name)
def test_byte_by_byte(keys: Keys) -> None:
    # Traps 6 and 7: header, explicit nonce and AEAD tag over as many packets as they have bytes.
    host, number = Host(keys, 1), 1
    for payload in (b"", b"x", made_up(40, "payload")):
        wire = Sealer(keys).seal(number, 23, payload)
        for i in range(len(wire) - 1):
            assert host.run((wire[i : i + 1], WIRE)) == []
        assert host.one((wire[-1:], WIRE)).opened == (23, payload)
        number += 1


@pytest.mark.parametrize("keys", [k for k in ALL_SHAPES if k.header_length > 5], ids=shape_name)
def test_trap_8_a_record_shorter_than_its_header_stalls_until_more_comes(keys: Keys) -> None:
    # The record is whole by its length, but the worker needs hlen bytes: it waits, and does not read past the data.
    host = Host(keys)
    short = header_of(keys, 8) + b"abc"
    assert host.run((short, WIRE)) == []
    for i in range(keys.header_length - len(short) - 1):
        assert host.run((bytes([i]), WIRE)) == []
        assert host.session.fatal is None
    assert host.run((b"!", WIRE)) == []
    assert host.session.fatal == "EMSGSIZE: a record of 8 bytes"


def test_trap_33_a_record_larger_than_any_window_waits() -> None:
    wire = Sealer(GCM13).seal(0, 23, bytes(16384))
    host = Host(GCM13)
    assert host.run((wire[:-1], WIRE)) == []
    assert (host.sockbuf.ccc, host.sockbuf.tlscc) == (len(wire) - 1, len(wire) - 1)
    assert payload_of(host.one((wire[-1:], WIRE))) == bytes(16384)


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(ALL_SHAPES),
    st.lists(st.tuples(st.binary(max_size=40), st.integers(0, 2), st.booleans()), max_size=12),
)
def test_anything_may_come(keys: Keys, pieces: list[tuple[bytes, int, bool]]) -> None:
    """Hostile bytes under any marks: records, failures or a fatal header, and nothing is raised."""
    host = Host(keys, 3)
    host.session.rekey(other(keys), 0)
    if keys.stream:
        host.session.begin_epoch(2)
    total = 0
    for data, mark, framed in pieces:
        content = header_of(keys, 5 + len(data)) + data if framed else data
        total += len(content)
        outcomes = host.run((content, mark if keys.stream else WIRE))
        total -= sum(outcome.total for outcome in outcomes)
        assert all(outcome.opened is None or outcome.state is DECRYPTED for outcome in outcomes)
        assert host.sockbuf.ccc == total
        host.session.next_place(host.sockbuf)


# Payloads, padding, inner types.


@pytest.mark.parametrize("composition", [[0], [1], [1, 0], [0, 1]])
@pytest.mark.parametrize("keys", STREAMED, ids=shape_name)
def test_empty_payloads(keys: Keys, composition: list[int]) -> None:
    host = Host(keys)
    for number, record_type in enumerate((23, 22, 23)):
        wire = Sealer(keys).seal(number, record_type, b"")
        outcome = host.one(*cut({WIRE: wire, 1: on_device(keys, number, wire)}, [6], composition))
        assert outcome.opened == (record_type, b"")
        assert outcome.total == len(wire)


@pytest.mark.parametrize("padding", [0, 1, 15, 300])
@pytest.mark.parametrize("payload", [b"", b"\0\0", b"text\0"])
@pytest.mark.parametrize("keys", TLS13, ids=shape_name)
def test_trap_10_padding_across_mbufs(keys: Keys, payload: bytes, padding: int) -> None:
    # Zeros that belong to the payload stay; those after the type go, though whole Mbufs hold nothing else.
    wire = Sealer(keys).seal(0, 22, payload, padding)
    copies = {WIRE: wire, 1: on_device(keys, 0, wire)}
    for marks in ([1], [0], [1, 0], [0, 1, 1]):
        outcome = Host(keys).one(*cut(copies, range(5, len(wire), 7), marks))
        assert outcome.opened == (22, payload)


@pytest.mark.parametrize("marks", [[1], [0], [1, 0]])
@pytest.mark.parametrize("length", [0, 1, 18, 0x17 - 17, 200])
@pytest.mark.parametrize("keys", TLS13, ids=shape_name)
def test_trap_10_nothing_but_zeros_has_no_type(keys: Keys, length: int, marks: list[int]) -> None:
    # Upstream's scan would reach into the header and take a length byte for the type.
    wire = Sealer(keys).seal(0, 0, bytes(length))
    host = Host(keys)
    bad = host.one(*cut({WIRE: wire, 1: on_device(keys, 0, wire)}, [20], marks))
    assert (bad.opened, bad.report) == (None, None)
    assert host.one((Sealer(keys).seal(1, 23, b"good"), WIRE)).opened == (23, b"good")


@pytest.mark.parametrize("mark", [WIRE, 1])
@pytest.mark.parametrize("keys", STREAMED, ids=shape_name)
def test_trap_11_the_type_is_the_inner_one(keys: Keys, mark: int) -> None:
    for record_type in (21, 22, 23, 255):
        wire = Sealer(keys).seal(0, record_type, b"payload")
        assert wire[0] == (23 if keys.version is Version.TLS13 else record_type)
        copies = {WIRE: wire, 1: on_device(keys, 0, wire)}
        assert Host(keys).one((copies[mark], mark)).opened == (record_type, b"payload")


# Reports.


def told(host: Host, keys: Keys, states: str) -> list[Report | None]:
    """Reports of one record for each letter: D, E, M (mixed), F (failed), X (failed though all marked)."""
    out: list[Report | None] = []
    for state in states:
        number = host.session.number
        wire = Sealer(keys).seal(number, 0 if state == "X" else 23, b"payload" if state != "X" else b"")
        if state == "F":
            wire = wire[:-1] + bytes([wire[-1] ^ 1])
        plain = on_device(keys, number, wire)
        pieces = {"D": [(plain, 1)], "X": [(plain, 1)], "M": [(plain[:9], 1), (wire[9:], 0)]}
        out.append(host.one(*pieces.get(state, [(wire, WIRE)])).report)
    return out


def test_reports_once_per_record_and_once_when_sync_is_back() -> None:
    host = Host(GCM13)
    reports = told(host, GCM13, "DDEMEDDDMD")
    size = len(Sealer(GCM13).seal(0, 23, b"payload"))
    places = [add(host.start, size * i) for i in range(11)]
    assert reports == [
        None,
        None,
        Report(places[2], size, 2),
        Report(places[3], size, 3, mixed=True),
        Report(places[4], size, 4),
        Report(places[6], 0, 5),  # the place of the next record, the number of the one just done
        None,
        None,
        Report(places[8], size, 8, mixed=True),
        Report(places[10], 0, 9),
    ]


def test_trap_24_reports_are_consecutive_unless_a_record_fails() -> None:
    host = Host(GCM13)
    reports = [report for report in told(host, GCM13, "EEEFEE") if report]
    follows = [add(a.tcp_sn, a.length) == b.tcp_sn and a.number + 1 == b.number for a, b in pairwise(reports)]
    assert follows == [True, True, False, True]


def test_failed_records_are_not_reported_and_do_not_say_that_sync_is_back() -> None:
    host = Host(GCM13)
    reports = told(host, GCM13, "FXEXFD")
    assert [bool(report) for report in reports] == [False, False, True, False, False, True]
    assert reports[5] is not None
    assert reports[5].length == 0


def test_trap_35_classes_come_from_marks_only() -> None:
    # No receive tag was ever installed: everything is opened in software, and a mark is nobody's.
    host = Host(GCM13, epoch=None)
    wires = [Sealer(GCM13).seal(i, 23, b"payload") for i in range(2)]
    assert host.one((wires[0], WIRE)).state is ENCRYPTED
    assert host.one((on_device(GCM13, 1, wires[1]), 1)).opened is None
    # There is one: what the NIC did not mark is as encrypted as ever.
    assert Host(GCM13).one((wires[0], WIRE)).state is ENCRYPTED


# Where a receive tag can begin.


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(STREAMED), st.data())
def test_trap_23_the_next_place_is_that_of_the_first_header_not_here_yet(keys: Keys, data: st.DataObject) -> None:
    sent = data.draw(streams(keys, 40))
    stream = b"".join(record.wire for record in sent)
    here = data.draw(st.integers(1, len(stream)))  # receive is enabled when there is something to read
    served = data.draw(st.booleans())
    host = Host(keys, 40)
    host.take((stream[: here // 2], WIRE), (stream[here // 2 : here], WIRE))
    if served:
        host.run()
    starts = [0]
    for record in sent:
        starts.append(starts[-1] + len(record.wire))
    # The first record of which fewer than five header bytes are here.
    index = next(i for i, start in enumerate(starts) if start + 5 > here)
    assert host.session.next_place(host.sockbuf) == (add(host.start, starts[index]), 40 + index)


def test_next_place_after_rekey_has_the_new_numbers() -> None:
    host = Host(GCM13, 9)
    update = Sealer(GCM13).seal(9, 22, b"\x18\0\0\x01\0")
    new = other(GCM13)
    queued = Sealer(new).seal(0, 23, b"queued")
    host.take((update + queued[:7], WIRE))
    assert host.session.step(host.sockbuf) is not None
    host.session.rekey(new, 0)
    assert host.session.next_place(host.sockbuf) == (add(host.start, len(update) + len(queued)), 1)


def test_nothing_secret_in_repr() -> None:
    host = Host(GCM13)
    outcome = host.one((Sealer(GCM13).seal(0, 23, b"attack at dawn"), WIRE))
    told_all = repr(outcome) + repr(host.session.epochs)
    assert "dawn" not in told_all
    assert repr(GCM13.key) not in told_all
    assert repr(GCM13.iv) not in told_all


def test_software_agrees_with_itself() -> None:
    # The judge of all the above: what `Opener` refuses, no session may deliver.
    wire = Sealer(GCM13).seal(0, 23, b"payload")
    with pytest.raises(RecordError):
        Opener(GCM13).open(1, wire)
    assert Host(GCM13, 1).one((wire, WIRE)).opened is None


# Which trap (the specification's list of receive traps; Linux's bug classes as L) is shown where. Those of NIC, LRO,
# policy and receive tag are shown in tests/device, tests/offload and tests/path/test_receive.py, and are not listed.
#
#   1  marks per packet, records per bytes     here; test_sockbuf: the split copies mark and arrivals
#   2  any pattern, header or AEAD tag alone   here: every_composition_at_every_split_point
#   3  never skip verification                 here: anything_less_than_all_bytes, all_marked_by_another_epoch
#   4  recrypt's range                         crypto/test_recrypt; here through trap 2 at every split point
#   5  keystream offset is the record's        crypto/test_recrypt; here: where_mbufs_are_cut (L5, L7, L8)
#   6  header across packets                   here: byte_by_byte; test_sockbuf: peek_across_mbufs
#   7  AEAD tag across packets                 here: marked_before_the_verdict_and_not_after, byte_by_byte (L6, L29)
#   8  hlen versus 5                           here
#   9  DECRYPTED has a size guard              here
#   10 padding, all-zero inner plaintext       here
#   11 inner type, outer header                here
#   12 the number advances on failure          here; any_first_number
#   13 two kinds of EMSGSIZE                   here: header_errors_end_the_stream, too_short_for_its_trailer
#   15 nothing is parsed after a fatal header  here: header_errors_end_the_stream (L20)
#   16 flush while a record is detached        test_sockbuf: Books.flush
#   17 arithmetic across the wrap              test_reassembly, test_sockbuf, tests/test_seq; here streams cross it
#   18 FIN has a sequence number               test_reassembly: reset behind a FIN; test_direction: places after FIN
#   19 retransmits keep marks                  test_reassembly; test_direction: mixed by retransmission (L17)
#   20 host drops after the NIC decrypted      test_reassembly: what the window dropped; test_direction
#   21 merges compare marks                    test_reassembly: where_lro_cut; test_sockbuf; here (L1 to L3)
#   23 data queued before enable               here: next_place; test_sockbuf (L25)
#   24 reports are consecutive                 here
#   32 received buffers are not written to     test_sockbuf: the split; test_direction
#   33 records larger than the buffer          here
#   35 classes come from marks only            here
#   L21 zero-length records                    here: empty_payloads
#   L28 rekey with old marks                   here: old_marks_..., also across suites
