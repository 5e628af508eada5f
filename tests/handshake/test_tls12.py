"""TLS 1.2 and 1.1 that Python's ssl cannot make: renegotiation in any order of the sides, and broken protocol."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from players import Player, flights, play
from rxtls.crypto.keys import Keys
from rxtls.crypto.records import Sealer
from rxtls.crypto.schedule import master_from_premaster, tls12_keys
from rxtls.crypto.suites import SUITES, Family, Version
from rxtls.handshake.exchange import CLIENT, SERVER, Exchange, Role
from rxtls.handshake.observer import Observer
from rxtls.handshake.renegotiation import Renegotiations
from rxtls.handshake.session import Session as Shared
from rxtls.handshake.steps import refuse
from rxtls.handshake.tls12 import Missing, masters, write_keys
from rxtls.simulation.synth import Conversation, Session, converse, renegotiate
from rxtls.wire import tls
from rxtls.wire.keylog import KeyLog
from rxtls.wire.tls import MalformedError

GCM, CBC, GCM13 = SUITES[0xC02F], SUITES[0xC013], SUITES[0x1301]
V11, V12 = Version.TLS11, Version.TLS12
UP, DOWN = [b"request", b"r" * 3000], [b"answer"]


def log_of(keylog: str) -> KeyLog:
    log = KeyLog()
    log.add(keylog.encode(), "made")
    return log


def talk_of(session: Session, seed: int = 1) -> Conversation:
    talk = converse(session, Random(seed))
    talk.request(UP, DOWN)
    talk.close()
    return talk


KINDS = [(GCM, V12), (SUITES[0xCCA8], V12), (SUITES[0xC09E], V12), (CBC, V12), (CBC, V11)]


def with_mac_order(session: Session, encrypt_then_mac: bool) -> Session:
    return replace(session, encrypt_then_mac=encrypt_then_mac and session.suite.family is Family.AES_CBC)


SESSIONS = st.builds(
    lambda kind, session, encrypt_then_mac: with_mac_order(
        replace(session, suite=kind[0], version=kind[1]), encrypt_then_mac
    ),
    st.sampled_from(KINDS),
    st.builds(
        Session,
        suite=st.just(GCM),
        version=st.just(V12),
        alpn=st.sampled_from([None, "h2"]),
        resumed=st.booleans(),
        fragment=st.sampled_from([60, 1000, 16384]),
        coalesce=st.booleans(),
        extended_master=st.booleans(),
    ),
    st.booleans(),
)


@settings(deadline=None, max_examples=50)
@given(SESSIONS, st.sampled_from([0, 5, 100]), st.integers(0, 99))
def test_every_kind_of_session(session: Session, cut: int, seed: int) -> None:
    talk = talk_of(session, seed)
    player = play(Observer(log_of(talk.keylog)), flights(talk.client, talk.server), cut)
    assert player.refused == [None, None]
    assert player.failed == [0, 0]
    assert [player.application(0), player.application(1)] == [b"".join(UP), b"".join(DOWN)]
    observer = player.observer
    assert (observer.suite, observer.alpn, observer.resumed) == (session.suite, session.alpn, session.resumed)
    assert observer.tls == ("1.1" if session.version is V11 else "1.2")
    assert tuple(len(side) for side in player.library) == talk.library
    for side, sender in enumerate((talk.client, talk.server)):
        read = [record for record in player.library[side] if record.payload]
        sent = sender.records[: talk.library[side]]
        assert all((record.type, record.payload) in [each[:2] for each in sent] for record in read)
        assert [record.wire_length for record in player.library[side]] == [each.length for each in sent]
    assert not observer.handshaking


# -- renegotiation -----------------------------------------------------------------------------------------------------


def renegotiated(session: Session) -> tuple[Conversation, tuple[int, int]]:
    """Data, a second handshake, data; and where in each stream the first data began."""
    dice = Random(7)
    talk = converse(session, dice)
    begin = len(talk.client.data), len(talk.server.data)
    talk.request([b"before"], [b"BEFORE"])
    renegotiate(talk, dice)
    talk.request([b"after"], [b"AFTER"])
    return talk, begin


RENEGOTIATED = [Session(GCM, V12), Session(CBC, V11), Session(GCM, V12, resumed=True), Session(GCM, V12, fragment=5)]


@pytest.mark.parametrize("order", ["turns", "client first", "server first", "bytewise"])
@pytest.mark.parametrize("session", RENEGOTIATED, ids=["1.2", "1.1", "resumed", "fragmented"])
def test_renegotiation(session: Session, order: str) -> None:
    """Whichever side is read first: what cannot be opened yet is held."""
    talk, begin = renegotiated(session)
    streams = bytes(talk.client.data), bytes(talk.server.data)
    first = [(0, streams[0][: begin[0]]), (1, streams[1][: begin[1]])]
    player = Player(Observer(log_of(talk.keylog)))
    turns = flights(talk.client, talk.server)
    rest = {
        "turns": turns,
        "bytewise": [(side, bytes([c])) for side, data in turns for c in data],
        "client first": [(0, streams[0][begin[0] :]), (1, streams[1][begin[1] :])],
        "server first": [(1, streams[1][begin[1] :]), (0, streams[0][begin[0] :])],
    }[order]
    if order.endswith("first"):
        hello = talk.client.records[0].length
        rest = [(0, first[0][1][:hello]), first[1], (0, first[0][1][hello:]), *rest]
    for side, data in rest:
        player.feed(side, data)
    assert player.refused == [None, None]
    assert player.failed == [0, 0]
    assert [player.application(0), player.application(1)] == [b"beforeafter", b"BEFOREAFTER"]
    assert player.rekeys == [1, 1]
    assert not player.observer.handshaking


def test_budget_one_while_renegotiating() -> None:
    talk, _ = renegotiated(Session(GCM, V12))
    player = Player(Observer(log_of(talk.keylog)))
    states = []
    for side, data in flights(talk.client, talk.server):
        player.feed(side, data)
        states.append(player.observer.handshaking)
    changes = [state for i, state in enumerate(states) if i == 0 or state != states[i - 1]]
    assert changes == [True, False, True, False]


def test_renegotiation_without_its_secrets() -> None:
    talk, _ = renegotiated(Session(GCM, V12))
    player = play(Observer(log_of(talk.keylog.splitlines()[0])), flights(talk.client, talk.server))
    assert (player.code(0), player.code(1)) == ("no_keys", "no_keys")
    assert [player.application(0), player.application(1)] == [b"before", b"BEFORE"]


def test_renegotiation_waits_for_its_secrets() -> None:
    talk, _ = renegotiated(Session(GCM, V12))
    first, second = talk.keylog.splitlines()
    log = log_of(first)
    player = play(Observer(log, wait_for_keys=True), flights(talk.client, talk.server), finish=False)
    assert player.held[0]
    log.add(second.encode(), "later")
    player.run()
    assert [player.application(0), player.application(1)] == [b"beforeafter", b"BEFOREAFTER"]


def test_a_client_that_is_not_answered() -> None:
    """RFC 5246 section 7.2.2: no_renegotiation is a warning, and everything goes on under the old keys."""
    talk = converse(Session(GCM, V12), Random(7))
    talk.client.record(tls.HANDSHAKE, talk.client.records[0].payload)
    talk.server.record(tls.ALERT, b"\1\x64")
    talk.request([b"on"], [b"and on"])
    player = play(Observer(log_of(talk.keylog)), flights(talk.client, talk.server))
    assert player.refused == [None, None]
    assert [player.application(0), player.application(1)] == [b"on", b"and on"]
    assert not player.observer.handshaking


# -- broken and odd ----------------------------------------------------------------------------------------------------

CCS = b"\x14\3\3\0\1\1"
CERTIFICATE, CUT_MESSAGE = b"\x16\3\3\0\4\x0b\0\0\0", b"\x16\3\3\0\3\x0b\0\0"


def with_server(stream: bytes) -> Player:
    """A client whose ClientHello is answered by `stream`."""
    talk = converse(Session(GCM, V12), Random(4))
    hello = bytes(talk.client.data[: talk.client.records[0].length])
    return play(Observer(log_of(talk.keylog)), [(0, hello), (1, stream)])


def server_hello(version: int = 0x0303, suite: int = 0xC02F, compression: int = 0) -> bytes:
    body = version.to_bytes(2) + bytes(33) + suite.to_bytes(2) + bytes([compression])
    message = b"\2" + len(body).to_bytes(3) + body
    return b"\x16" + version.to_bytes(2) + len(message).to_bytes(2) + message


@pytest.mark.parametrize(
    ("stream", "code", "text"),
    [
        (server_hello(version=0x0301), "version_unsupported", "TLS 1.0"),
        (server_hello(version=0x0300), "version_unsupported", "SSL 3.0"),
        (server_hello(version=0x0305), "handshake_malformed", "no ServerHello answers the ClientHello"),
        (server_hello(suite=0x0005), "suite_unsupported", "TLS_RSA_WITH_RC4_128_SHA (0x0005)"),
        (server_hello(suite=0x1301), "handshake_malformed", f"{GCM13.name} does not exist in TLS 1.2"),
        (server_hello(version=0x0302), "handshake_malformed", f"{GCM.name} does not exist in TLS 1.1"),
        (server_hello(compression=1), "compression", "DEFLATE (RFC 3749)"),
        (server_hello() + CCS + CCS, "wrong_keys", ""),
        (server_hello() + b"\x14\3\3\0\1\2", "handshake_malformed", "a ChangeCipherSpec that is not one byte of 1"),
        (
            server_hello() + b"\x16\3\3\0\4\x0b\0\0\0" + CCS,
            "handshake_malformed",
            "ChangeCipherSpec from the server at certificate",
        ),
        (
            server_hello() + b"\x16\3\3\0\3\x0b\0\0" + CCS,
            "handshake_malformed",
            "ChangeCipherSpec within a handshake message",
        ),
        (server_hello() + b"\x17\3\3\0\1x", "handshake_malformed", "a record of type 23 before ChangeCipherSpec"),
        (server_hello() + b"\x16\3\3\0\4\x14\0\0\0", "handshake_malformed", "Finished from the server at hello"),
        (server_hello() + b"\x16\3\3\0\0", "handshake_malformed", "an empty handshake record"),
        (server_hello() + b"\x16\3\3\0\4\x0b\4\0\1", "handshake_too_large", "Certificate of 262145 bytes"),
        (CCS, "handshake_malformed", "no ServerHello answers the ClientHello"),
        (server_hello()[:20], "handshake_unfinished", ""),
    ],
)
def test_broken_server(stream: bytes, code: str, text: str) -> None:
    player = with_server(stream)
    refused = player.refused[1]
    assert refused is not None
    assert refused == refuse(code, text)


def finished(body: bytes = bytes(12)) -> bytes:
    return b"\x14" + len(body).to_bytes(3) + body


@pytest.mark.parametrize(
    ("kind", "payload", "code", "text"),
    [
        (tls.APPLICATION_DATA, b"too early", "handshake_malformed", "a record of type 23 before Finished"),
        (tls.CHANGE_CIPHER_SPEC, b"\1", "handshake_malformed", "a record of type 20 before Finished"),
        (tls.HANDSHAKE, finished() + b"\4", "handshake_malformed", "Finished does not end its record"),
        (tls.HANDSHAKE, finished() * 2, "handshake_malformed", "Finished does not end its record"),
        (tls.HANDSHAKE, b"\x0b\0\0\0", "handshake_malformed", "Certificate from the server at ccs"),
        (tls.HANDSHAKE, b"", "handshake_malformed", "an empty handshake record"),
        (tls.ALERT, b"\2\x28", "alert_before_application", "handshake_failure"),
        (tls.ALERT, b"\2", "handshake_malformed", "an alert of 1 bytes"),
    ],
)
def test_what_may_not_stand_between_change_cipher_spec_and_finished(
    kind: int, payload: bytes, code: str, text: str
) -> None:
    """All of it sealed under the right keys, as a peer could do that breaks the protocol."""
    talk = converse(Session(GCM, V12), Random(4))
    last = talk.server.records[talk.library[1] - 1]
    master = bytes.fromhex(talk.keylog.split()[2])
    randoms = [bytes(sender.records[0].payload[6:38]) for sender in (talk.client, talk.server)]
    keys = tls12_keys(GCM, V12, master, randoms[0], randoms[1], False)[SERVER]
    server = bytes(talk.server.data[: last.start])
    record = Sealer(keys).seal(0, kind, payload)
    start = talk.client.records[1].start
    client = bytes(talk.client.data)
    order = [(0, client[:start]), (1, server), (0, client[start:])]
    assert play(Observer(log_of(talk.keylog)), [*order, (1, Sealer(keys).seal(0, tls.HANDSHAKE, finished()))]).enabled[
        1
    ]
    player = play(Observer(log_of(talk.keylog)), [*order, (1, record)])
    assert player.refused[1] == refuse(code, text)
    assert player.refused[0] is None


def test_version_and_suite_end_both_sides_alike() -> None:
    for stream in (server_hello(version=0x0301), server_hello(suite=5)):
        talk = converse(Session(GCM, V12), Random(4))
        player = play(Observer(log_of(talk.keylog)), [(0, bytes(talk.client.data)), (1, stream)])
        assert player.code(0) == player.code(1)
        assert player.observer.suite is None


@pytest.mark.parametrize("payload", [b"\1", b"\2"])
def test_change_cipher_spec_out_of_nowhere(payload: bytes) -> None:
    talk = converse(Session(GCM, V12), Random(4))
    talk.client.record(tls.CHANGE_CIPHER_SPEC, payload)
    player = play(Observer(log_of(talk.keylog)), flights(talk.client, talk.server))
    wrong = "a ChangeCipherSpec that is not one byte of 1"
    text = "ChangeCipherSpec outside a handshake" if payload == b"\1" else wrong
    assert player.refused[0] == refuse("handshake_malformed", text)
    assert player.refused[1] is None


def test_a_renegotiation_keeps_the_version() -> None:
    """RFC 5246 section 7.4.1.3 lets a server choose; one that chooses anew within a connection is none that exists."""
    shared = Shared(KeyLog(), False)
    shared.exchange.version = V12
    talk = converse(Session(GCM, V12), Random(4))
    hello = tls.Message(tls.CLIENT_HELLO, talk.client.records[0].payload[4:])
    answer = talk.server.records[0].payload[4:]
    again = Renegotiations(shared)
    again.messages(CLIENT, [hello])
    assert again.going_on
    with pytest.raises(MalformedError, match="ServerHello of version 0x0302 after 0x0303"):
        again.messages(SERVER, [tls.Message(tls.SERVER_HELLO, b"\3\2" + answer[2:])])


def test_a_renegotiation_of_which_the_other_side_is_missing() -> None:
    """It is held while the other side may still say something, and refused as soon as that will not."""
    talk, begin = renegotiated(Session(GCM, V12))
    client, server = bytes(talk.client.data), bytes(talk.server.data)
    player = Player(Observer(log_of(talk.keylog)))
    hello = talk.client.records[0].length
    for side, data in ((0, client[:hello]), (1, server[: begin[1]]), (0, client[hello:])):
        player.feed(side, data)
    assert player.held[0]
    assert player.refused == [None, None]
    assert player.application(0) == b"before"
    player.observer.one_sided(0)
    player.run()
    assert player.refused[0] == refuse("needs_server_hello", "in a renegotiation")
    assert player.refused[1] is None


# -- keys of an exchange, and what stands between ---------------------------------------------------------------------

PREMASTER = bytes(range(48))


def exchange_of(session: Session, upto: int = 99) -> tuple[Exchange, bytes]:
    """An exchange of which the first `upto` messages were read, in their order; and the messages up to the key
    exchange. The client's ClientKeyExchange is an RSA one, whose secret begins with eight bytes of 7."""
    talk = converse(session, Random(5))
    made, transcript, read = Exchange(), b"", 0
    kept = tls.Messages(1 << 18), tls.Messages(1 << 18)
    records = [(side, record.payload) for side, sender in ((0, talk.client), (1, talk.server))
               for record in sender.records[: talk.library[side] - 2]]  # fmt: skip
    client = [message for side, payload in records if side == 0 for message in kept[0].feed(payload)]
    server = [message for side, payload in records if side == 1 for message in kept[1].feed(payload)]
    order = [(0, client[0]), *((1, message) for message in server), *((0, message) for message in client[1:])]
    for side, message in order:
        if message.type == tls.CLIENT_KEY_EXCHANGE:
            message = tls.Message(message.type, b"\1\0" + b"\7" * 256)
        if read < upto and message.type != tls.NEW_SESSION_TICKET:
            made.message(Role(side), message)
            read += 1
        if message.type not in (tls.CERTIFICATE_VERIFY, tls.NEW_SESSION_TICKET):
            transcript += message.wire
    return made, transcript


def keys_of(exchange: Exchange, session: Session, log: str, role: Role = CLIENT) -> tuple[Keys, Keys] | Missing:
    found = masters(log_of(log), exchange, session.version, session.suite, role)
    return found if isinstance(found, Missing) else write_keys(exchange, session.version, session.suite, found[0])


@pytest.mark.parametrize("session", [Session(GCM, V12), Session(CBC, V11)], ids=["1.2", "1.1"])
@pytest.mark.parametrize("extended", [False, True])
@pytest.mark.parametrize("by", ["client random", "rsa"])
def test_keys_from_a_premaster_secret(session: Session, extended: bool, by: str) -> None:
    """RFC 5246 section 8.1; RFC 7627 section 4: with the extended master secret the handshake goes in, too."""
    session = replace(session, extended_master=extended)
    exchange, transcript = exchange_of(session)
    client, server = exchange.client, exchange.server
    assert client is not None
    assert server is not None
    assert server.extended_master_secret is extended
    lines = {
        "client random": f"PMS_CLIENT_RANDOM {client.random.hex()} {PREMASTER.hex()}",
        "rsa": f"RSA {'07' * 8} {PREMASTER.hex()}",
    }
    hashes = ("sha256",) if session.version is V12 else ("md5", "sha1")
    digest = b"".join(hashlib.new(name, transcript).digest() for name in hashes)
    master = master_from_premaster(
        session.suite, session.version, PREMASTER, client.random, server.random, digest if extended else None
    )
    wanted = tls12_keys(session.suite, session.version, master, client.random, server.random, server.encrypt_then_mac)
    assert keys_of(exchange, session, lines[by]) == wanted


def test_what_stands_between_an_exchange_and_its_keys() -> None:
    """Messages that may still come, where a premaster secret might be among the log's; else a secret."""
    session = Session(GCM, V12, extended_master=False)
    rsa = f"RSA {'09' * 8} {PREMASTER.hex()}"
    whole, _ = exchange_of(session)
    client, server = whole.client, whole.server
    assert client is not None
    assert server is not None
    by_random = f"PMS_CLIENT_RANDOM {client.random.hex()} {PREMASTER.hex()}"
    master = f"CLIENT_RANDOM {client.random.hex()} {'0a' * 48}"
    assert keys_of(exchange_of(session, upto=1)[0], session, master) is Missing.MESSAGES  # no ServerHello
    hellos = exchange_of(session, upto=2)[0]
    assert isinstance(keys_of(hellos, session, master), tuple)
    assert keys_of(hellos, session, "") is Missing.SECRET
    assert keys_of(whole, session, "") is Missing.SECRET
    assert keys_of(whole, session, rsa) is Missing.SECRET  # another connection's
    # After its whole first flight the server waits for the client; a client that has only said hello resumes.
    flight = exchange_of(session, upto=5)[0]
    assert flight.places[SERVER] == "hello_done"
    for log in (rsa, by_random):
        assert keys_of(flight, session, log, SERVER) is Missing.MESSAGES
        assert keys_of(flight, session, log, CLIENT) is Missing.SECRET
        assert keys_of(hellos, session, log, SERVER) is Missing.SECRET  # nothing between hello and ChangeCipherSpec
    assert keys_of(flight, session, "", SERVER) is Missing.SECRET
    flight.resumed = True
    assert keys_of(flight, session, rsa, SERVER) is Missing.SECRET
    hellos.message(SERVER, tls.Message(tls.NEW_SESSION_TICKET, bytes(6)))  # RFC 5077: renewed when it resumes
    assert hellos.places[SERVER] == "resumed_ticket"
    assert keys_of(hellos, session, rsa, SERVER) is Missing.SECRET
    assert isinstance(keys_of(whole, session, by_random), tuple)


def test_the_session_id_leads_to_a_master_secret_as_well() -> None:
    session = Session(GCM, V12)
    exchange, _ = exchange_of(session, upto=2)
    assert exchange.client is not None
    assert exchange.server is not None
    exchange.server = exchange.server._replace(session_id=b"\x11" * 32)
    line = f"RSA Session-ID:{'11' * 32} Master-Key:{'0b' * 48}"
    assert keys_of(exchange, session, line) == tls12_keys(
        GCM, V12, b"\x0b" * 48, exchange.client.random, exchange.server.random, False
    )
