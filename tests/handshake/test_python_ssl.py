"""The observer against OpenSSL: real handshakes of every kind that Python's ssl can make, and all their data read."""

from __future__ import annotations

import ssl
from dataclasses import replace
from functools import cache

import pytest

from players import Player, play
from rxtls.handshake.observer import Observer
from rxtls.wire.keylog import KeyLog
from ssl_pairs import (
    OP_NO_ENCRYPT_THEN_MAC,
    OP_NO_EXTENDED_MASTER_SECRET,
    V11,
    V12,
    V13,
    Conversation,
    contexts,
    converse,
)

# OpenSSL's name, version, certificate, IANA's name
SUITES12 = [
    ("ECDHE-ECDSA-AES128-GCM-SHA256", "ec", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    ("ECDHE-RSA-AES256-GCM-SHA384", "rsa", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
    ("ECDHE-ECDSA-CHACHA20-POLY1305", "ec", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
    ("ECDHE-ECDSA-AES128-CCM", "ec", "TLS_ECDHE_ECDSA_WITH_AES_128_CCM"),
    ("ECDHE-ECDSA-AES256-CCM8", "ec", "TLS_ECDHE_ECDSA_WITH_AES_256_CCM_8"),
    ("ECDHE-ECDSA-AES128-SHA256", "ec", "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256"),
    ("ECDHE-ECDSA-AES256-SHA384", "ec", "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384"),
    ("AES128-SHA", "rsa", "TLS_RSA_WITH_AES_128_CBC_SHA"),
    ("AES256-GCM-SHA384", "rsa", "TLS_RSA_WITH_AES_256_GCM_SHA384"),
]


def log_of(text: bytes) -> KeyLog:
    log = KeyLog()
    log.add(text, "ssl")
    assert not log.errors
    return log


def observe(talk: Conversation, keys: bytes | None = None, cut: int = 0) -> Player:
    """Play a conversation, `keys` being a part of its key log; the handshake, its first 12 kB, in pieces of `cut`."""
    observer = Observer(log_of("".join(talk.keylog).encode() if keys is None else keys))
    if not cut:
        return play(observer, talk.flights)
    pieces, left = [], 12_000
    for side, data in talk.flights:
        split = min(left, len(data))
        pieces += [(side, data[at : min(at + cut, split)]) for at in range(0, split, cut)]
        pieces.append((side, data[split:]))
        left -= split
    return play(observer, pieces)


def check(talk: Conversation, player: Player) -> None:
    """Everything that was sent was read, nothing failed, and both sides are enabled."""
    assert talk.error is None
    assert player.refused == [None, None]
    assert player.failed == [0, 0]
    assert [player.application(0), player.application(1)] == talk.sent
    assert player.observer.client_side == 0
    assert player.observer.sni == "example.test"
    assert player.observer.resumed is talk.resumed
    assert not player.observer.handshaking
    assert player.preamble == [0, 0]
    assert all(sum(record.failed for record in side) == 0 for side in player.library)


@cache
def talk13() -> Conversation:
    return converse(contexts(V13, alpn=("h2", "http/1.1")))


@cache
def talk12() -> Conversation:
    return converse(contexts(V12, "ECDHE-ECDSA-AES128-GCM-SHA256", alpn=("http/1.1",)))


@pytest.mark.parametrize("cut", [0, 1, 5, 1000])
def test_tls13(cut: int) -> None:
    player = observe(talk13(), cut=cut)
    check(talk13(), player)
    assert (player.observer.tls, player.observer.alpn) == ("1.3", "h2")
    assert player.observer.suite is not None
    assert player.observer.suite.name == talk13().openssl_suite
    assert [enabled.number for enabled in player.enabled if enabled] == [0, 0]


@pytest.mark.parametrize("cut", [0, 1, 5, 1000])
def test_tls12(cut: int) -> None:
    player = observe(talk12(), cut=cut)
    check(talk12(), player)
    assert (player.observer.tls, player.observer.alpn) == ("1.2", "http/1.1")
    assert [enabled.number for enabled in player.enabled if enabled] == [1, 1]
    assert [side[-1].number for side in player.library] == [0, 0]  # Finished


@pytest.mark.parametrize(("cipher", "key", "iana"), SUITES12, ids=[suite[0] for suite in SUITES12])
def test_suites_of_tls12(cipher: str, key: str, iana: str) -> None:
    talk = converse(contexts(V12, cipher + ":@SECLEVEL=0", key))
    player = observe(talk)
    check(talk, player)
    assert player.observer.suite is not None
    assert player.observer.suite.name == iana


@pytest.mark.parametrize("options", [0, OP_NO_ENCRYPT_THEN_MAC], ids=["encrypt-then-MAC", "MAC-then-encrypt"])
@pytest.mark.parametrize("version", [V11, V12], ids=["1.1", "1.2"])
def test_both_mac_orders(version: ssl.TLSVersion, options: int) -> None:
    talk = converse(contexts(version, "ECDHE-ECDSA-AES256-SHA:@SECLEVEL=0", options=options))
    player = observe(talk)
    check(talk, player)
    assert player.observer.tls == ("1.1" if version is V11 else "1.2")
    assert all(enabled and enabled.keys.encrypt_then_mac is (options == 0) for enabled in player.enabled)


def test_tls13_hello_retry_request() -> None:
    talk = converse(contexts(V13, curve="secp384r1"))
    player = observe(talk, cut=1)
    check(talk, player)
    assert sum(record.type == 22 and record.number is None for record in player.library[0]) == 2  # two ClientHellos


def test_tls13_resumption() -> None:
    pair = contexts(V13)
    first = converse(pair)
    talk = converse(pair, session=first.session)
    assert talk.resumed
    check(talk, observe(talk))


@pytest.mark.parametrize("options", [0, ssl.OP_NO_TICKET], ids=["ticket", "id"])
def test_tls12_resumption(options: int) -> None:
    pair = contexts(V12, options=options)
    first = converse(pair)
    check(first, observe(first))
    talk = converse(pair, session=first.session)
    assert talk.resumed
    check(talk, observe(talk, cut=1))


# -- key logs that have only a part ------------------------------------------------------------------------------------


def test_tls13_without_handshake_secrets() -> None:
    """The application data all the same: where they begin is found by trying."""
    talk = talk13()
    player = observe(talk, talk.labels("CLIENT_TRAFFIC", "SERVER_TRAFFIC"), cut=1)
    check(talk, player)
    assert player.observer.alpn is None  # it is in EncryptedExtensions
    assert all(record.number is None for side in player.library for record in side)


@pytest.mark.parametrize(
    ("labels", "up", "down"),
    [
        (("CLIENT_TRAFFIC",), None, "no_keys"),
        (("SERVER_TRAFFIC",), "no_keys", None),
        (("CLIENT_HANDSHAKE", "SERVER_HANDSHAKE"), "no_keys", "no_keys"),
        (("EXPORTER",), "no_keys", "no_keys"),
        ((), "no_keys", "no_keys"),
    ],
)
def test_tls13_sides_stand_for_themselves(labels: tuple[str, ...], up: str | None, down: str | None) -> None:
    talk = talk13()
    player = observe(talk, talk.labels(*labels) if labels else b"")
    assert (player.code(0), player.code(1)) == (up, down)
    assert (player.observer.tls, player.observer.sni) == ("1.3", "example.test")


@pytest.mark.parametrize("options", [0, OP_NO_EXTENDED_MASTER_SECRET], ids=["extended", "plain"])
@pytest.mark.parametrize("version", [V11, V12], ids=["1.1", "1.2"])
def test_rsa_premaster_lines(version: ssl.TLSVersion, options: int) -> None:
    """The master secret from the premaster secret; with RFC 7627 over the handshake as it was read."""
    talk = converse(contexts(version, "AES256-SHA:@SECLEVEL=0", "rsa", options=options))
    assert talk.labels("RSA")
    player = observe(talk, talk.labels("RSA"), cut=1)
    check(talk, player)


@pytest.mark.parametrize("options", [0, OP_NO_EXTENDED_MASTER_SECRET], ids=["extended", "plain"])
def test_premaster_secret_by_client_random(options: int) -> None:
    """The same secret under Wireshark's other label, which any key exchange can have."""
    talk = converse(contexts(V12, "AES128-GCM-SHA256", "rsa", options=options))
    premaster, client_random = talk.labels("RSA").split()[2], talk.labels("CLIENT_RANDOM").split()[1]
    check(talk, observe(talk, b"PMS_CLIENT_RANDOM " + client_random + b" " + premaster))


def test_rsa_premaster_of_another_session() -> None:
    pair = contexts(V12, "AES128-GCM-SHA256", "rsa")
    talk = converse(pair)
    player = observe(talk, converse(pair).labels("RSA"))
    assert (player.code(0), player.code(1)) == ("no_keys", "no_keys")


def test_resumption_has_no_premaster_secret() -> None:
    pair = contexts(V12, "AES128-GCM-SHA256", "rsa")
    first = converse(pair)
    talk = converse(pair, session=first.session)
    player = observe(talk, first.labels("RSA"))
    assert talk.resumed
    assert (player.code(0), player.code(1)) == ("no_keys", "no_keys")


def test_master_secret_by_session_id() -> None:
    pair = contexts(V12, options=ssl.OP_NO_TICKET)
    talk = converse(pair)
    assert talk.session is not None
    master = talk.labels("CLIENT_RANDOM").split()[2]
    line = b"RSA Session-ID:" + talk.session.id.hex().encode() + b" Master-Key:" + master
    check(talk, observe(talk, line))


@pytest.mark.parametrize("version", [V12, V13], ids=["1.2", "1.3"])
def test_secrets_of_another_session(version: ssl.TLSVersion) -> None:
    pair = contexts(version)
    talk, other = converse(pair), converse(pair)
    mine, theirs = talk.keylog[-1].split()[1], other.keylog[-1].split()[1]
    player = observe(talk, "".join(other.keylog).replace(theirs, mine).encode())
    assert (player.code(0), player.code(1)) == ("wrong_keys", "wrong_keys")
    assert player.application(0) == player.application(1) == b""


# -- one direction only ------------------------------------------------------------------------------------------------


def alone(talk: Conversation, side: int, extra: bytes = b"") -> Player:
    one_way = [flight for flight in talk.flights if flight[0] == side]
    return observe(replace(talk, flights=one_way), extra + "".join(talk.keylog).encode())


@pytest.mark.parametrize(
    "labels", [("",), ("CLIENT_TRAFFIC", "SERVER_TRAFFIC")], ids=["whole log", "no handshake secrets"]
)
@pytest.mark.parametrize("side", [0, 1], ids=["client", "server"])
def test_tls13_one_direction(side: int, labels: tuple[str, ...]) -> None:
    """The client's by trying suites, the server's by trying the key log's sessions."""
    talk = replace(talk13(), keylog=talk13().labels(*labels).decode().splitlines(keepends=True))
    player = alone(talk, side, extra="".join(other().keylog).encode())
    assert player.application(side) == talk.sent[side]
    assert player.refused[side] is None
    assert player.code(1 - side) == "no_data"
    assert player.observer.suite is not None
    assert player.observer.suite.name == talk.openssl_suite
    assert (player.observer.client_side, player.observer.tls) == (0, "1.3")
    assert not player.observer.handshaking


@cache
def other() -> Conversation:
    return converse(contexts(V13))


def test_tls12_server_only() -> None:
    player = alone(talk12(), 1, extra="".join(converse(contexts(V12)).keylog).encode())
    assert player.application(1) == talk12().sent[1]
    assert player.observer.client_side == 0


def test_tls12_client_only() -> None:
    player = alone(talk12(), 0)
    assert player.code(0) == "needs_server_hello"
    assert player.application(0) == b""


@pytest.mark.parametrize("make", [talk12, talk13], ids=["1.2", "1.3"])
@pytest.mark.parametrize("side", [0, 1], ids=["client", "server"])
def test_one_direction_without_keys(side: int, make: object) -> None:
    assert callable(make)
    player = alone(replace(make(), keylog=other().keylog), side)
    assert player.code(side) == "no_keys"


# -- alerts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [V12, V13], ids=["1.2", "1.3"])
def test_a_client_that_rejects_the_certificate(version: ssl.TLSVersion) -> None:
    client, server = contexts(version)
    client.verify_mode = ssl.CERT_REQUIRED
    talk = converse((client, server))
    assert talk.error is not None
    player = observe(talk)
    refused = player.refused[0]
    assert refused is not None
    assert (refused.code, refused.fate) == ("alert_before_application", "byte.handshake")
    assert refused.text.endswith("unknown_ca")
    assert not any(player.unread)


def test_a_server_that_refuses_the_hello() -> None:
    client, _ = contexts(V12, "ECDHE-ECDSA-AES128-GCM-SHA256")
    _, server = contexts(V12, "ECDHE-ECDSA-AES256-GCM-SHA384")
    player = observe(converse((client, server)))
    assert [player.code(side) for side in (0, 1)] == ["alert_before_application"] * 2
    assert [record.type for record in player.library[1]] == [21]
