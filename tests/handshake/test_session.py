"""What both sides of a connection share: which of the key log's sessions it is, what was agreed on, and why not."""

from __future__ import annotations

from random import Random

import pytest

from rxtls.crypto.suites import SUITES, Version
from rxtls.handshake.exchange import Role
from rxtls.handshake.session import APPLICATION_LABEL, EARLY, HANDSHAKE_LABEL, TRIALS, Session, Side
from rxtls.handshake.steps import WHY, Wait, refuse
from rxtls.simulation.synth import Conversation, converse
from rxtls.simulation.synth import Session as Agreed
from rxtls.wire import hello
from rxtls.wire.keylog import CLIENT_RANDOM, KeyLog
from rxtls.wire.tls import Alert, Messages

GCM12, GCM13, GCM13_384 = SUITES[0xC02F], SUITES[0x1301], SUITES[0x1302]
SERVER_SECRET = APPLICATION_LABEL[Role.SERVER]


def log_of(*lines: str) -> KeyLog:
    log = KeyLog()
    log.add("\n".join(lines).encode(), "made")
    return log


def talk_of(suite: int = 0xC02F, version: Version = Version.TLS12) -> Conversation:
    talk = converse(Agreed(SUITES[suite], version), Random(2))
    talk.request([b"up"], [b"down"])
    return talk


def session_of(talk: Conversation, log: KeyLog, client: bool = True, wait: bool = False) -> Session:
    """As it is once the ServerHello was read, and perhaps the ClientHello."""
    session = Session(log, wait)
    sent = [sender.records[0].payload[4:] for sender in (talk.client, talk.server)]
    session.exchange.server = hello.server_hello(sent[1])
    session.exchange.version = session.exchange.server.version
    if client:
        session.exchange.client = hello.client_hello(sent[0])
    return session


def with_server(**fields: int) -> Session:
    session = session_of(talk_of(), KeyLog())
    assert session.exchange.server is not None
    session.exchange.server = session.exchange.server._replace(**fields)  # type: ignore[arg-type]
    return session


# What the ServerHello agreed on.


@pytest.mark.parametrize(
    ("fields", "code", "detail"),
    [
        ({"version": 0x0002}, "version_unsupported", "SSL 2.0"),
        ({"version": 0x0300}, "version_unsupported", "SSL 3.0"),
        ({"version": 0x0301}, "version_unsupported", "TLS 1.0"),
        ({"version": 0x7F12}, "version_unsupported", "TLS 1.3 draft 18"),
        ({"version": 0x7A7A}, "version_unsupported", "0x7a7a"),
        ({"suite": 0x0005}, "suite_unsupported", "TLS_RSA_WITH_RC4_128_SHA (0x0005)"),
        ({"suite": 0x7A7A}, "suite_unsupported", "0x7a7a"),
        ({"version": 0x0302}, "handshake_malformed", f"{GCM12.name} does not exist in TLS 1.1"),
        ({"suite": 0x1301}, "handshake_malformed", f"{GCM13.name} does not exist in TLS 1.2"),
        ({"version": 0x0304}, "handshake_malformed", f"{GCM12.name} does not exist in TLS 1.3"),
        ({"compression": 1}, "compression", "DEFLATE (RFC 3749)"),
        ({"compression": 7}, "compression", "method 7"),
    ],
)
def test_what_was_agreed_on_and_is_not_opened_here(fields: dict[str, int], code: str, detail: str) -> None:
    session = with_server(**fields)
    assert session.judge() == refuse(code, detail)
    assert session.suite is None


def test_what_is_opened_here_and_what_is_not_known_yet() -> None:
    session = with_server()
    assert session.judge() is None
    assert session.suite == GCM12
    assert Session(KeyLog(), False).judge() is None


# Want of keys, in words.


@pytest.mark.parametrize("settled", [False, True])
@pytest.mark.parametrize("cut_short", [False, True])
@pytest.mark.parametrize("wait", [False, True])
def test_for_want_of_keys(wait: bool, settled: bool, cut_short: bool) -> None:
    side = Side(Messages(1000))
    side.settled, side.cut_short = settled, cut_short
    answer = session_of(talk_of(), KeyLog(), wait=wait).missing(side)
    if wait and not settled:
        assert answer == Wait()
    else:
        assert answer == refuse("keys_wait" if wait and cut_short else "no_keys")


def test_a_session_that_is_not_known_by_its_hello_is_told_so() -> None:
    stranger = log_of(f"CLIENT_RANDOM {'01' * 32} {'02' * 48}")
    text = f"{WHY['no_keys']}: none of its sessions fits"
    unknown = session_of(talk_of(), stranger, client=False)
    assert not unknown.known
    assert unknown.missing(Side(Messages(1))) == refuse("no_keys", "none of its sessions fits")
    assert unknown.wrong().text == text
    assert session_of(talk_of(), KeyLog(), client=False).missing(Side(Messages(1))) == refuse(
        "no_keys"
    )  # there are none to fit
    known = session_of(talk_of(), stranger)
    assert known.known
    assert known.missing(Side(Messages(1))) == refuse("no_keys")
    assert known.wrong() == refuse("wrong_keys")


def test_the_first_alert_that_ends_it_is_remembered() -> None:
    session = Session(KeyLog(), False)
    session.note(Alert(1, 100))
    assert session.alert is None
    session.note(Alert(2, 40))
    session.note(Alert(1, 0))
    assert session.alert == "handshake_failure"


# Trials: which session it is, when no hello tells.


@pytest.mark.parametrize("others", [0, 3])
def test_a_record_tells_which_session_it_is_before_tls_1_3(others: int) -> None:
    talk = talk_of()
    strangers = [f"CLIENT_RANDOM {n:064x} {n:096x}" for n in range(1, 1 + others)]
    log = log_of(*strangers, talk.keylog.strip())
    session = session_of(talk, log, client=False)
    assert session.judge() is None
    finished = talk.client.records[talk.library[0] - 1]
    at = sum(record.length for record in talk.client.records[: talk.library[0] - 1])
    wire = bytes(talk.client.data[at : at + finished.length])
    assert session.unlock12(Version.TLS12, Role.SERVER, wire) is None  # not as what the server sends
    assert log.used() == ""
    unlocked = session.unlock12(Version.TLS12, Role.CLIENT, wire)
    assert unlocked is not None
    assert unlocked.opened.payload == finished.payload
    assert session.known
    assert log.used() == talk.keylog  # and of the strangers none
    random = bytes.fromhex(talk.keylog.split()[1])
    assert [each for each, _ in session.candidates(CLIENT_RANDOM)] == [random]
    assert session.secret(CLIENT_RANDOM) == bytes.fromhex(talk.keylog.split()[2])


def first_under_application_keys(talk: Conversation, side: int) -> bytes:
    sender = (talk.client, talk.server)[side]
    at = sum(record.length for record in sender.records[: talk.library[side]])
    return bytes(sender.data[at : at + sender.records[talk.library[side]].length])


@pytest.mark.parametrize("code", [0x1301, 0x1302, 0x1303])
def test_a_record_tells_session_and_suite_in_tls_1_3(code: int) -> None:
    talk = talk_of(code, Version.TLS13)
    strangers = [f"{SERVER_SECRET} {n:064x} {n:064x}" for n in range(1, 4)]
    strangers += [f"{SERVER_SECRET} {n:064x} {n:096x}" for n in range(4, 7)]
    log = log_of(*strangers, talk.keylog.strip())
    session = Session(log, False)
    unlocked = session.unlock13(SERVER_SECRET, first_under_application_keys(talk, 1))
    assert unlocked is not None
    assert unlocked.opened.payload == b"down"
    assert session.suite == SUITES[code]
    assert session.known
    kept = {line for line in talk.keylog.splitlines() if not line.startswith("EXPORTER")}
    assert set(log.used().splitlines()) == kept
    # Once it is known, no other session's secret is tried, and no other suite.
    assert session.unlock13(HANDSHAKE_LABEL[Role.CLIENT], first_under_application_keys(talk, 1)) is None


def test_early_data_s_suite_is_not_the_session_s() -> None:
    """RFC 8446, RFC 9846 section 4.2.10: it is that of the pre-shared key."""
    talk = talk_of(0x1301, Version.TLS13)
    secret = next(line.split()[1:] for line in talk.keylog.splitlines() if line.startswith(SERVER_SECRET))
    session = Session(log_of(f"{EARLY} {secret[0]} {secret[1]}"), False)
    assert session.unlock13(EARLY, first_under_application_keys(talk, 1)) is not None
    assert session.suite is None
    assert session.known


def test_only_suites_that_were_offered_are_tried() -> None:
    talk = talk_of(0x1301, Version.TLS13)
    session = session_of(talk, log_of(talk.keylog.strip()))
    assert session.exchange.client is not None
    session.exchange.client = session.exchange.client._replace(suites=(0x1302, 0x1303))
    record = first_under_application_keys(talk, 1)
    assert session.unlock13(SERVER_SECRET, record) is None
    session.exchange.client = session.exchange.client._replace(suites=(0x1303, 0x1301))
    assert session.unlock13(SERVER_SECRET, record) is not None


def test_a_secret_of_another_hash_s_length_is_none_of_this_suite() -> None:
    talk = talk_of(0x1301, Version.TLS13)
    random = next(line.split()[1] for line in talk.keylog.splitlines())
    session = session_of(talk, log_of(f"{SERVER_SECRET} {random} {'07' * 48}"))
    session.suite = GCM13
    assert session.unlock13(SERVER_SECRET, first_under_application_keys(talk, 1)) is None


def test_trials_are_bounded() -> None:
    talk = talk_of(0x1301, Version.TLS13)
    lines = [f"{SERVER_SECRET} {n:064x} {n:064x}" for n in range(1, 20)]
    session = Session(log_of(*lines, talk.keylog.strip()), False)
    record = first_under_application_keys(talk, 1)
    assert session._trials == TRIALS
    session._trials = 19
    assert session.unlock13(SERVER_SECRET, record) is None
    assert session._trials == 0
    session._trials = 20
    assert session.unlock13(SERVER_SECRET, record) is not None


def test_an_encrypted_hello_s_random_is_not_the_session_s() -> None:
    """RFC 9849: the log goes by the inner hello's random. An entry ECH_SECRET under the outer one says so."""
    talk = talk_of(0x1301, Version.TLS13)
    inner = "77" * 32
    outer = next(line.split()[1] for line in talk.keylog.splitlines())
    moved = talk.keylog.replace(outer, inner)
    record = first_under_application_keys(talk, 1)
    assert session_of(talk, log_of(moved.strip())).unlock13(SERVER_SECRET, record) is None
    session = session_of(talk, log_of(f"ECH_SECRET {outer} 00", moved.strip()))
    assert [each.hex() for each, _ in session.candidates(SERVER_SECRET)] == [inner]
    assert session.secret(SERVER_SECRET) is not None
    assert session.unlock13(SERVER_SECRET, record) is not None
    assert [each.hex() for each, _ in session.candidates(SERVER_SECRET)] == [inner]


def test_candidates_are_all_sessions_with_such_a_secret_while_none_is_known() -> None:
    log = log_of(
        f"{SERVER_SECRET} {'01' * 32} {'0a' * 32}",
        f"CLIENT_RANDOM {'02' * 32} {'0b' * 48}",
        f"{SERVER_SECRET} {'03' * 32} {'0c' * 48}",
    )
    session = Session(log, False)
    found = [(bytes([1]) * 32, bytes([10]) * 32), (bytes([3]) * 32, bytes([12]) * 48)]
    assert list(session.candidates(SERVER_SECRET)) == found
    session.learn(bytes([3]) * 32, GCM13_384)
    assert list(session.candidates(SERVER_SECRET)) == found[1:]
    assert session.suite == GCM13_384
    assert session.known
