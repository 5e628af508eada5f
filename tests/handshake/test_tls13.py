"""TLS 1.3 that Python's ssl cannot make: 0-RTT of every fate, KeyUpdate, key logs with holes, broken protocol."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from players import Player, flights, play
from rxtls.crypto.records import Sealer
from rxtls.crypto.schedule import tls13_keys
from rxtls.crypto.suites import SUITES, TLS13_SUITES, Suite
from rxtls.handshake import tls13
from rxtls.handshake.observer import Observer
from rxtls.handshake.steps import refuse
from rxtls.simulation.synth import Conversation, Session, converse
from rxtls.wire import tls
from rxtls.wire.keylog import CLIENT_EARLY, SERVER_HANDSHAKE, KeyLog

GCM = SUITES[0x1301]
EARLY = (b"early one", b"early two" * 100)
UP, DOWN = [b"request", b"r" * 3000], [b"answer"]
KEY_UPDATE, KEY_UPDATE_ASKED = b"\x18\0\0\1\0", b"\x18\0\0\1\1"


def talk_of(session: Session, seed: int = 1) -> Conversation:
    talk = converse(session, Random(seed))
    talk.request(UP, DOWN)
    talk.close()
    return talk


def log_of(keylog: str, *, without: str = "!") -> KeyLog:
    log = KeyLog()
    log.add("".join(line for line in keylog.splitlines(keepends=True) if without not in line).encode(), "made")
    return log


def watch(talk: Conversation, cut: int = 0, log: KeyLog | None = None) -> Player:
    return play(Observer(log or log_of(talk.keylog)), flights(talk.client, talk.server), cut)


def check(player: Player, early: tuple[bytes, ...] = ()) -> None:
    assert player.refused == [None, None]
    assert player.failed == [0, 0]
    assert player.application(0) == b"".join(early) + b"".join(UP)
    assert player.application(1) == b"".join(DOWN)
    assert not player.observer.handshaking


SESSIONS = st.builds(
    Session,
    suite=st.sampled_from(TLS13_SUITES),
    alpn=st.sampled_from([None, "h2"]),
    resumed=st.booleans(),
    fragment=st.sampled_from([60, 1000, 16384]),
    coalesce=st.booleans(),
    hello_retry=st.booleans(),
    early_data=st.sampled_from([(), EARLY]),
    early=st.sampled_from(["accepted", "rejected"]),
    middlebox=st.booleans(),
    tickets=st.integers(0, 2),
)


@settings(deadline=None, max_examples=40)
@given(SESSIONS, st.sampled_from([0, 5, 100]), st.integers(0, 99))
def test_every_kind_of_session(session: Session, cut: int, seed: int) -> None:
    talk = talk_of(session, seed)
    player = watch(talk, cut)
    accepted = session.early == "accepted" and not session.hello_retry
    check(player, session.early_data if accepted else ())
    observer = player.observer
    assert (observer.tls, observer.suite, observer.alpn) == ("1.3", session.suite, session.alpn)
    assert observer.resumed is (session.resumed or bool(session.early_data))
    assert tuple(len(side) for side in player.library) == talk.library
    for side, sender in enumerate((talk.client, talk.server)):
        read = [record for record in player.library[side] if record.payload]
        sent = sender.records[: talk.library[side]]
        assert all((record.type, record.payload) in [each[:2] for each in sent] for record in read)
        assert [record.wire_length for record in player.library[side]] == [each.length for each in sent]
    early = [record for record in player.library[0] if record.early_data]
    assert len(early) == len(session.early_data)
    assert not any(record.failed for record in early)
    assert [record.payload for record in early] == (list(session.early_data) if accepted else [b""] * len(early))


@settings(deadline=None, max_examples=20)
@given(SESSIONS, st.sampled_from([0, 7]))
def test_without_handshake_secrets(session: Session, cut: int) -> None:
    """Application data all the same. Whether early data was accepted nobody can read; its key opens it, so it was."""
    talk = talk_of(session)
    player = watch(talk, cut, log_of(talk.keylog, without="HANDSHAKE"))
    taken = session.early_data and not session.hello_retry
    check(player, session.early_data if taken else ())


@settings(deadline=None, max_examples=20)
@given(SESSIONS, st.sampled_from([0, 1]))
def test_each_side_alone(session: Session, side: int) -> None:
    talk = talk_of(session)
    one_way = [flight for flight in flights(talk.client, talk.server) if flight[0] == side]
    player = play(Observer(log_of(talk.keylog + talk_of(session, 2).keylog)), one_way)
    assert player.refused[side] is None
    assert player.application(side).endswith(b"".join((UP, DOWN)[side]))
    assert player.observer.suite == session.suite
    assert player.observer.client_side == 0


@pytest.mark.parametrize("cut", [0, 1])
@pytest.mark.parametrize("fragment", [1, 3])
def test_messages_in_the_smallest_records(fragment: int, cut: int) -> None:
    check(watch(talk_of(Session(GCM, fragment=fragment, resumed=True)), cut))


def test_accepted_early_data_without_its_secret() -> None:
    """It was the application's and nobody can read it: failed, so that the stream does not pass for complete."""
    talk = talk_of(Session(GCM, early_data=EARLY))
    player = watch(talk, log=log_of(talk.keylog, without="EARLY"))
    check(player)
    # EndOfEarlyData is sealed like early data, and nobody can tell it from them.
    assert [r.failed for r in player.library[0] if r.type == 0] == [True, True, True]


def test_rejected_early_data_under_the_suite_of_another_session() -> None:
    talk = converse(Session(GCM, early_data=EARLY, early="rejected"), Random(5))
    other = converse(Session(SUITES[0x1303], early_data=EARLY), Random(6))
    hello, begin = talk.client.records[0].length, talk.client.records[1].start
    early = [record for record in talk.client.records if record.payload in EARLY]
    end = early[-1].start + early[-1].length
    foreign = [record for record in other.client.records if record.payload in EARLY]
    data = bytes(other.client.data[foreign[0].start : foreign[-1].start + foreign[-1].length])
    client = bytes(talk.client.data)
    assert begin == hello
    first, rest = client[:begin] + data, client[end:]
    player = play(Observer(log_of(talk.keylog)), [(0, first), (1, bytes(talk.server.data)), (0, rest)])
    assert player.refused == [None, None]
    assert [record.payload for record in player.library[0] if record.early_data] == [b"", b""]


def test_early_data_that_never_ends_is_bounded() -> None:
    talk = converse(Session(GCM, early_data=EARLY), Random(5))
    start = talk.client.records[0].length
    junk = b"\x17\3\3\x40\0" + bytes(16384)
    observer = Observer(log_of(talk.keylog))
    player = play(observer, [(0, bytes(talk.client.data[:start])), (1, bytes(talk.server.data))], finish=False)
    count = tls13.EARLY_LIMIT // len(junk)
    for _ in range(count + 2):
        player.feed(0, junk)
    assert player.code(0) == "wrong_keys"
    assert len(player.library[0]) == count + 2  # hello, and early data up to the bound and one record beyond


# -- after the handshake -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suite", TLS13_SUITES, ids=[suite.name for suite in TLS13_SUITES])
def test_key_update_in_both_directions(suite: Suite) -> None:
    talk = converse(Session(suite, tickets=1), Random(3))
    for generation in range(4):
        talk.client.record(tls.HANDSHAKE, KEY_UPDATE_ASKED)
        talk.client.record(tls.APPLICATION_DATA, bytes([generation]) * 10)
        if generation % 2:
            talk.server.record(tls.HANDSHAKE, KEY_UPDATE)
        talk.server.record(tls.APPLICATION_DATA, bytes([generation]) * 20)
    player = watch(talk)
    assert player.rekeys == [4, 2]
    assert player.failed == [0, 0]
    assert player.application(0) == b"".join(bytes([g]) * 10 for g in range(4))
    assert player.application(1) == b"".join(bytes([g]) * 20 for g in range(4))


def enabled() -> Observer:
    """An observer behind a handshake. Side 0 is the client."""
    talk = converse(Session(GCM), Random(3))
    player = watch(talk)
    assert player.refused == [None, None]
    return player.observer


TICKET = b"\4\0\0\6\0\0\0\0\0\0"


@pytest.mark.parametrize(
    "fragments",
    [
        [KEY_UPDATE],
        [KEY_UPDATE[:1], KEY_UPDATE[1:]],
        [bytes([c]) for c in KEY_UPDATE],
        [TICKET + KEY_UPDATE],
        [TICKET + TICKET[:3], TICKET[3:] + KEY_UPDATE[:4], KEY_UPDATE[4:]],
    ],
)
def test_key_update_in_any_fragments(fragments: list[bytes]) -> None:
    observer = enabled()
    answers = [observer.record(1, tls.HANDSHAKE, fragment) for fragment in fragments]
    assert answers[:-1] == [None] * (len(fragments) - 1)
    assert type(answers[-1]).__name__ == "Rekey"


NOT_LAST = "a KeyUpdate that does not end its record"


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (KEY_UPDATE + TICKET, NOT_LAST),
        (KEY_UPDATE + b"\4", NOT_LAST),
        (KEY_UPDATE * 2, NOT_LAST),
        (b"\x18\0\0\1\2", "a KeyUpdate of 1 bytes"),
        (b"\x18\0\0\0", "a KeyUpdate of 0 bytes"),
        (b"", "an empty handshake record"),
        (b"\4\4\0\1", "NewSessionTicket of 262145 bytes"),
    ],
    ids=["and a ticket", "and a beginning", "twice", "no such request", "no body", "empty record", "too large"],
)
def test_key_updates_that_no_peer_takes(payload: bytes, text: str) -> None:
    """RFC 8446, RFC 9846 section 5.1: handshake messages must not span key changes."""
    observer = enabled()
    answer = observer.record(0, tls.HANDSHAKE, payload)
    assert answer in (refuse("handshake_malformed", text), refuse("handshake_too_large", text))
    assert observer.record(0, tls.HANDSHAKE, KEY_UPDATE) is answer
    assert type(observer.record(1, tls.HANDSHAKE, KEY_UPDATE)).__name__ == "Rekey"  # the other side goes on


def test_other_records_change_nothing() -> None:
    observer = enabled()
    assert observer.record(0, tls.ALERT, b"\1\0") is None
    assert observer.record(0, tls.HANDSHAKE, TICKET) is None
    assert observer.resume(0) is None


# -- broken and odd ----------------------------------------------------------------------------------------------------


def test_encrypted_client_hello() -> None:
    """RFC 9850: the log goes by the inner hello's random, and has ECH_SECRET for the outer one's."""
    talk = talk_of(Session(GCM))
    outer, inner = talk.keylog.split()[1], "17" * 32
    keylog = talk_of(Session(GCM), 2).keylog + talk.keylog.replace(outer, inner) + f"ECH_SECRET {outer} {'00' * 32}\n"
    check(watch(talk, log=log_of(keylog)))
    player = watch(talk, log=log_of(keylog, without="ECH_SECRET"))
    assert (player.code(0), player.code(1)) == ("no_keys", "no_keys")


def broken(session: Session, client: bytes | None = None, server: bytes | None = None) -> Player:
    """A conversation in which one side's second record is another."""
    talk = talk_of(replace(session, middlebox=False))
    streams = [bytes(talk.client.data), bytes(talk.server.data)]
    for side, (sender, record) in enumerate(((talk.client, client), (talk.server, server))):
        if record is not None:
            second = sender.records[1]
            streams[side] = streams[side][: second.start] + record + streams[side][second.start + second.length :]
    start = talk.client.records[1].start
    return play(Observer(log_of(talk.keylog)), [(0, streams[0][:start]), (1, streams[1]), (0, streams[0][start:])])


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (b"\x16\3\3\0\4\x08\0\0\0", "a plaintext handshake record after the hellos"),  # EncryptedExtensions
        (b"\x14\3\3\0\1\2", "a ChangeCipherSpec that is not one byte of 1"),
        (b"\x14\3\3\0\2\1\1", "a ChangeCipherSpec that is not one byte of 1"),
        (b"\x18\3\3\0\1\1", "a record of type 24 in a TLS 1.3 handshake"),
        (b"\x15\3\3\0\3\2\x28\0", "an alert of 3 bytes"),
        (b"HTTP/1.1 400", "a record of type 72"),
    ],
)
def test_broken_server(record: bytes, text: str) -> None:
    player = broken(Session(GCM), server=record)
    assert player.refused[1] == refuse("handshake_malformed", text)
    assert player.refused[0] is None  # the client's side can do without


def sealed_server(kind: int, payload: bytes) -> bytes:
    """A server's first encrypted record, whatever is in it."""
    talk = talk_of(Session(GCM, middlebox=False))
    secret = next(line.split()[2] for line in talk.keylog.splitlines() if line.startswith(SERVER_HANDSHAKE))
    return Sealer(tls13_keys(GCM, bytes.fromhex(secret))).seal(0, kind, payload)


EXTENSIONS, FINISHED = b"\x08\0\0\2\0\0", b"\x14\0\0\x20" + bytes(32)


@pytest.mark.parametrize(
    ("kind", "payload", "code", "text"),
    [
        (tls.APPLICATION_DATA, b"too early", "handshake_malformed", "a record of type 23 before Finished"),
        (tls.CHANGE_CIPHER_SPEC, b"\1", "handshake_malformed", "a record of type 20 before Finished"),
        (tls.HANDSHAKE, FINISHED, "handshake_malformed", "Finished from the server at hello"),
        (tls.HANDSHAKE, EXTENSIONS + FINISHED + b"\4", "handshake_malformed", "Finished does not end its record"),
        (tls.HANDSHAKE, EXTENSIONS + FINISHED * 2, "handshake_malformed", "Finished does not end its record"),
        (tls.HANDSHAKE, b"", "handshake_malformed", "an empty handshake record"),
        (tls.ALERT, b"\2\x28", "alert_before_application", "handshake_failure"),
    ],
)
def test_what_may_not_stand_before_a_server_s_finished(kind: int, payload: bytes, code: str, text: str) -> None:
    """Sealed under the right keys, as a peer could do that breaks the protocol."""
    talk = talk_of(Session(GCM, middlebox=False))
    hello = bytes(talk.server.data[: talk.server.records[1].start])
    good = sealed_server(tls.HANDSHAKE, EXTENSIONS + FINISHED)
    client = bytes(talk.client.data)
    assert play(Observer(log_of(talk.keylog)), [(0, client), (1, hello + good)]).enabled[1]
    player = play(Observer(log_of(talk.keylog)), [(0, client), (1, hello + sealed_server(kind, payload))])
    assert player.refused[1] == refuse(code, text)


END_OF_EARLY_DATA = b"\5\0\0\0"


def test_an_alert_among_early_data_ends_the_handshake() -> None:
    talk = talk_of(Session(GCM, early_data=EARLY, middlebox=False))
    secret = next(line.split()[2] for line in talk.keylog.splitlines() if line.startswith(CLIENT_EARLY))
    record = Sealer(tls13_keys(GCM, bytes.fromhex(secret))).seal(0, tls.ALERT, b"\2\x50")
    hello = bytes(talk.client.data[: talk.client.records[1].start])
    player = play(Observer(log_of(talk.keylog)), [(0, hello), (1, bytes(talk.server.data)), (0, record)])
    assert player.refused[0] == refuse("alert_before_application", "internal_error")
    assert player.library[0][-1].type == tls.ALERT


@pytest.mark.parametrize(
    ("kind", "payload", "text"),
    [
        (tls.HANDSHAKE, END_OF_EARLY_DATA + b"\x14", "EndOfEarlyData does not end its record"),
        (tls.CHANGE_CIPHER_SPEC, b"\1", "a record of type 20 among early data"),
        (tls.HANDSHAKE, b"\x0f\0\0\0", "CertificateVerify from the client at hello"),
    ],
)
def test_what_may_not_stand_among_early_data(kind: int, payload: bytes, text: str) -> None:
    talk = talk_of(Session(GCM, early_data=EARLY, middlebox=False))
    secret = next(line.split()[2] for line in talk.keylog.splitlines() if line.startswith(CLIENT_EARLY))
    record = Sealer(tls13_keys(GCM, bytes.fromhex(secret))).seal(0, kind, payload)
    hello = bytes(talk.client.data[: talk.client.records[1].start])
    player = play(Observer(log_of(talk.keylog)), [(0, hello), (1, bytes(talk.server.data)), (0, record)])
    assert player.refused[0] == refuse("handshake_malformed", text)
    assert player.refused[1] is None


def test_a_server_hello_shares_its_record_with_nothing() -> None:
    """RFC 8446, RFC 9846 section 5.1: the keys change behind it."""
    talk = talk_of(Session(GCM))
    hello = talk.server.records[0].payload + b"\x08\0\0\2\0\0"
    stream = b"\x16\3\3" + len(hello).to_bytes(2) + hello
    player = play(Observer(log_of(talk.keylog)), [(0, bytes(talk.client.data)), (1, stream)])
    assert player.refused[1] == refuse("handshake_malformed", "ServerHello does not end its record")


def test_an_endless_handshake_that_the_secret_does_not_open_is_the_secret_s_fault() -> None:
    """Only an application secret is there, and no record opens with it: it is another connection's."""
    talk = talk_of(Session(GCM, middlebox=False))
    lines = [line.split() for line in talk.keylog.splitlines() if "TRAFFIC_SECRET_0" in line]
    wrong = "".join(f"{label} {random} {'5a' * 32}\n" for label, random, _ in lines)
    hello = bytes(talk.server.data[: talk.server.records[1].start])
    flood = hello + (b"\x17\3\3\x40\0" + bytes(16384)) * 17
    player = play(Observer(log_of(wrong)), [(0, bytes(talk.client.data)), (1, flood)], finish=False)
    assert player.refused[1] == refuse("wrong_keys")


def test_change_cipher_spec_in_a_flood() -> None:
    talk = talk_of(Session(GCM))
    start = talk.server.records[1].start
    stream = bytes(talk.server.data[:start]) + b"\x14\3\3\0\1\1" * 100_000
    player = play(Observer(log_of(talk.keylog)), [(0, bytes(talk.client.data[:300])), (1, stream)])
    assert player.refused[1] == refuse("handshake_too_large", "262144 bytes")
    assert player.consumed[1] < 300_000
