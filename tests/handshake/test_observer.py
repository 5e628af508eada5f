"""The observer as a whole: who is who, plaintext before TLS, waiting, one direction, refusals and ends."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from players import Player, flights, play
from rxtls.counters import FATES
from rxtls.crypto.suites import SUITES, Version
from rxtls.handshake import preamble
from rxtls.handshake.observer import Observer
from rxtls.handshake.session import HANDSHAKE
from rxtls.handshake.steps import WHY, Step, refuse
from rxtls.simulation.synth import Conversation, Session, converse
from rxtls.wire.keylog import KeyLog

GCM12, GCM13 = SUITES[0xC02F], SUITES[0x1301]
SESSIONS = [Session(GCM12, Version.TLS12), Session(GCM13)]
BY_VERSION = pytest.mark.parametrize("session", SESSIONS, ids=["1.2", "1.3"])


def log_of(keylog: str) -> KeyLog:
    log = KeyLog()
    log.add(keylog.encode(), "made")
    return log


def talk_of(session: Session, seed: int = 1) -> Conversation:
    talk = converse(session, Random(seed))
    talk.request([b"up"], [b"down"])
    return talk


def swapped(talk: Conversation) -> list[tuple[int, bytes]]:
    """The same with the client as side 1."""
    return [(1 - side, data) for side, data in flights(talk.client, talk.server)]


def test_every_code_has_a_fate_and_a_sentence() -> None:
    for code, sentence in WHY.items():
        refused = refuse(code, "the detail")
        assert refused.fate in FATES
        assert refused.fate.startswith("byte.")
        assert refused.text == f"{sentence}: the detail"
        assert refuse(code).text == sentence


@BY_VERSION
def test_the_client_is_found_on_either_side(session: Session) -> None:
    talk = talk_of(session)
    player = play(Observer(log_of(talk.keylog)), swapped(talk))
    assert player.observer.client_side == 1
    assert [player.application(0), player.application(1)] == [b"down", b"up"]


PREAMBLES = {
    "smtp": (b"EHLO me\r\nSTARTTLS\r\n", b"220 hello\r\n250 STARTTLS\r\n220 go ahead\r\n"),
    "connect": (b"CONNECT example.test:443 HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"),
    "postgres": (bytes.fromhex("0000000804d2162f"), b"S"),
    "proxy": (b"PROXY TCP4 192.0.2.1 192.0.2.2 49152 443\r\n", b""),
}


@pytest.mark.parametrize("cut", [0, 1])
@pytest.mark.parametrize("name", PREAMBLES)
@BY_VERSION
def test_plaintext_before_tls(session: Session, name: str, cut: int) -> None:
    before = PREAMBLES[name]
    made = Session(session.suite, session.version, preamble=before)
    talk = talk_of(made)
    player = play(Observer(log_of(talk.keylog)), flights(talk.client, talk.server), cut)
    assert player.refused == [None, None]
    assert player.preamble == [len(before[0]), len(before[1])]
    assert [player.application(0), player.application(1)] == [b"up", b"down"]


def states(player: Player) -> tuple[bool, int | None]:
    """(handshaking, client's side)."""
    return player.observer.handshaking, player.observer.client_side


def test_the_bound_on_plaintext_before_tls() -> None:
    talk = talk_of(SESSIONS[1])
    for extra, code in ((0, None), (1, "not_tls")):
        stream = b"x" * (preamble.LIMIT + extra) + bytes(talk.client.data)
        player = Player(Observer(log_of(talk.keylog)))
        player.feed(0, stream)
        assert player.code(0) == code


def test_plaintext_that_never_becomes_tls() -> None:
    player = Player(Observer(KeyLog()))
    player.feed(0, b"GET / HTTP/1.1\r\n\r\n")
    player.feed(1, b"HTTP/1.1 200 OK\r\n\r\n")
    assert states(player) == (True, None)
    player.feed(1, b"x" * 70_000)
    assert (player.code(0), player.code(1)) == ("not_tls", "not_tls")
    assert player.preamble == [0, 0]  # none of it was before TLS
    assert states(player) == (False, None)


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\3\1", b"\x17\3\3\0\5hello"])
@pytest.mark.parametrize(("syn", "code"), [(True, "not_tls"), (False, "mid_connection")])
def test_where_the_stream_begins_decides_what_it_is(data: bytes, syn: bool, code: str) -> None:
    player = play(Observer(KeyLog(), syn_seen=(syn, syn)), [(0, data)])
    assert player.code(0) == code


def test_a_server_alone_that_refuses_the_hello() -> None:
    player = play(Observer(KeyLog()), [(0, b"\x15\3\3\0\2\2\x28")])
    assert player.refused[0] == refuse("alert_before_application", "handshake_failure")
    assert player.observer.client_side == 1


def test_the_middle_of_tls_is_known_at_once() -> None:
    observer = Observer(KeyLog(), syn_seen=(False, False))
    assert observer.read(0, b"\x17\3\3\0\5hel").action == refuse("mid_connection")
    assert observer.read(1, b"\x16\3\3").action is None  # may become a hello
    assert observer.end(1) == refuse("mid_connection")


@BY_VERSION
def test_a_capture_that_begins_after_the_syn(session: Session) -> None:
    talk = talk_of(session)
    player = play(Observer(log_of(talk.keylog), syn_seen=(False, False)), flights(talk.client, talk.server))
    assert [player.application(0), player.application(1)] == [b"up", b"down"]


def test_the_syn_may_come_to_light_later() -> None:
    observer = Observer(KeyLog(), syn_seen=(True, False))
    player = Player(observer)
    player.feed(0, b"GET /")
    observer.syn_seen[1] = True
    player.feed(1, b"HTTP/1.1 200 OK")
    player.finish()
    assert (player.code(0), player.code(1)) == ("not_tls", "not_tls")


def test_sslv2_hello() -> None:
    """RFC 5246 appendix E.2; what such a hello negotiates is old, whatever it offers."""
    hello = bytes.fromhex("802e0103030015000000100100800200800300800400800500800600c007000000") + bytes(15)
    player = play(Observer(KeyLog()), [(0, hello)])
    assert player.code(0) == "version_unsupported"
    assert player.observer.tls is None


def test_nothing_at_all() -> None:
    observer = Observer(KeyLog())
    assert observer.read(0, b"") == Step()
    assert observer.handshaking
    assert (observer.tls, observer.suite, observer.sni, observer.alpn, observer.resumed) == (
        None,
        None,
        None,
        None,
        False,
    )
    player = play(observer, [])
    assert (player.code(0), player.code(1)) == ("no_data", "no_data")


# -- waiting -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [0, 3])
@BY_VERSION
def test_keys_that_come_later(session: Session, cut: int) -> None:
    """From a pipe: the bytes wait where they need keys, and all is read once these are there."""
    talk = talk_of(session)
    log = KeyLog()
    player = play(Observer(log, wait_for_keys=True), flights(talk.client, talk.server), cut, finish=False)
    assert player.refused == [None, None]
    assert player.waits[1]
    assert player.observer.handshaking
    assert player.observer.sni == "example.test"
    log.add(talk.keylog.encode(), "secrets block")
    player.run()
    assert [player.application(0), player.application(1)] == [b"up", b"down"]
    assert not player.observer.handshaking


def test_keys_that_come_one_by_one() -> None:
    talk = talk_of(SESSIONS[1])
    log = KeyLog()
    player = play(Observer(log, wait_for_keys=True), flights(talk.client, talk.server), finish=False)
    for line in sorted(talk.keylog.splitlines(), key=lambda line: "HANDSHAKE" not in line):
        log.add(line.encode(), "one")
        player.run()
    assert [player.application(0), player.application(1)] == [b"up", b"down"]
    assert [record.number for record in player.library[1]][-1] is not None


@BY_VERSION
def test_keys_that_never_come(session: Session) -> None:
    talk = talk_of(session)
    for bound, code in ((False, "no_keys"), (True, "keys_wait")):
        player = play(Observer(KeyLog(), wait_for_keys=True), flights(talk.client, talk.server), finish=False)
        for side in (0, 1):
            player.observer.settle(side, bound=bound)
        player.run()
        assert (player.code(0), player.code(1)) == (code, code)


@BY_VERSION
def test_without_waiting_there_is_no_waiting(session: Session) -> None:
    talk = talk_of(session)
    player = play(Observer(KeyLog()), flights(talk.client, talk.server), finish=False)
    assert (player.code(0), player.code(1)) == ("no_keys", "no_keys")
    assert not player.observer.handshaking


# -- the other direction -----------------------------------------------------------------------------------------------


def test_the_client_waits_for_the_server_hello() -> None:
    talk = talk_of(SESSIONS[1])
    player = Player(Observer(log_of(talk.keylog)))
    player.feed(0, bytes(talk.client.data))
    hello = talk.client.records[0].length
    assert player.consumed[0] == hello
    assert player.observer.read(0, bytes(player.unread[0])) == Step()
    assert states(player) == (True, 0)
    player.observer.one_sided(0)
    player.run()
    assert player.application(0) == b"up"
    assert states(player) == (False, 0)
    assert player.observer.suite == GCM13


def test_the_server_waits_for_the_client_hello() -> None:
    talk = talk_of(SESSIONS[1])
    player = Player(Observer(log_of(talk.keylog)))
    player.feed(1, bytes(talk.server.data))
    assert player.consumed[1] == 0
    player.feed(0, bytes(talk.client.data))
    assert [player.application(0), player.application(1)] == [b"up", b"down"]


def test_one_direction_that_waits_for_keys() -> None:
    """That the other direction is missing does not mean that no more keys will come."""
    talk = talk_of(SESSIONS[1])
    log = KeyLog()
    player = Player(Observer(log, wait_for_keys=True))
    player.feed(0, bytes(talk.client.data))
    player.observer.one_sided(0)
    player.run()
    assert player.waits[0]
    log.add(talk.keylog.encode(), "late")
    player.run()
    assert player.application(0) == b"up"


def test_a_direction_that_breaks_does_not_keep_the_other_waiting() -> None:
    talk = talk_of(SESSIONS[1])
    player = Player(Observer(log_of(talk.keylog)))
    player.feed(0, bytes(talk.client.data))
    player.feed(1, b"\x16\3\3\0\4\2\0\0\0")
    assert player.code(1) == "handshake_malformed"
    assert player.application(0) == b"up"


def test_a_server_hello_that_contradicts_what_was_assumed() -> None:
    talk, other = talk_of(SESSIONS[1]), talk_of(SESSIONS[0])
    player = Player(Observer(log_of(talk.keylog)))
    player.feed(0, bytes(talk.client.data))
    player.observer.one_sided(0)
    player.run()
    player.feed(1, bytes(other.server.data))
    assert player.code(1) == "handshake_malformed"
    assert player.application(0) == b"up"


# -- the end -----------------------------------------------------------------------------------------------------------


@BY_VERSION
def test_cut_off_anywhere(session: Session) -> None:
    """Whatever is there of a connection, both sides come to a verdict, and what is enabled is right."""
    talk = talk_of(session)
    whole = flights(talk.client, talk.server)
    total = sum(len(data) for _, data in whole)
    for end in range(0, total, 7):
        left, some = end, []
        for side, data in whole:
            some.append((side, data[:left]))
            left = max(0, left - len(data))
        player = play(Observer(log_of(talk.keylog)), some)
        for side in (0, 1):
            assert (player.enabled[side] is None) is (player.code(side) is not None)
            assert talk_data(side).startswith(player.application(side))
            if player.enabled[side] is None:
                assert player.code(side) in (
                    {"handshake_unfinished", "no_data", "needs_server_hello", "not_tls", "handshake_malformed"}
                )
    assert end > 300


def talk_data(side: int) -> bytes:
    return (b"up", b"down")[side]


def test_handshakes_are_bounded() -> None:
    """256 KiB a connection: an endless one is refused at the bound, a large one just below it is not."""
    talk = talk_of(SESSIONS[0])
    hello, server_hello = (bytes(sender.data[: sender.records[0].length]) for sender in (talk.client, talk.server))
    player = Player(Observer(log_of(talk.keylog)))
    player.feed(0, hello)
    player.feed(1, server_hello)
    spent = len(hello) + len(server_hello)
    size = HANDSHAKE - spent - 4
    body = b"\x0b" + size.to_bytes(3) + bytes(size)
    for at in range(0, len(body), 16384):
        piece = body[at : at + 16384]
        player.feed(1, b"\x16\3\3" + len(piece).to_bytes(2) + piece)
        spent += 5 + len(piece)
        assert player.code(1) == (None if spent <= HANDSHAKE else "handshake_too_large")
    assert spent > HANDSHAKE
    assert player.consumed[1] == spent - len(hello)


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(SESSIONS), st.lists(st.integers(1, 3000), min_size=1, max_size=30))
def test_pieces_do_not_matter(session: Session, sizes: list[int]) -> None:
    talk = talk_of(session)
    whole = play(Observer(log_of(talk.keylog)), flights(talk.client, talk.server))
    player = Player(Observer(log_of(talk.keylog)))
    for side, data in flights(talk.client, talk.server):
        at = turn = 0
        while at < len(data):
            size = sizes[turn % len(sizes)]
            player.feed(side, data[at : at + size])
            at, turn = at + size, turn + 1
    player.finish()
    assert player.library == whole.library
    assert player.enabled == whole.enabled
    assert player.opened == whole.opened
    assert player.consumed == whole.consumed


@BY_VERSION
def test_nothing_secret_in_repr(session: Session) -> None:
    talk = talk_of(session)
    player = Player(Observer(log_of(talk.keylog)))
    secrets = [line.split()[2] for line in talk.keylog.splitlines()]
    said = []
    for side, data in flights(talk.client, talk.server):
        said.append(repr(player.observer.read(side, data)))
        player.feed(side, data)
    said += [repr(player.enabled), repr(player.library), repr(player.observer), repr(player.opened)]
    assert not any(secret in text or repr(bytes.fromhex(secret)) in text for secret in secrets for text in said)
