"""The tables of legal messages: every flow that the RFCs draw, and nothing beside."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from rxtls.handshake.exchange import CCS, FINISHED, PLACES12, PLACES13, START, TLS13, Exchange, Role, Table
from rxtls.wire import hello, tls
from rxtls.wire.tls import MalformedError, Message

# One letter per message, so that a flow is a word. `!` is ChangeCipherSpec.
LETTERS: dict[str, int | str] = {
    "C": tls.CLIENT_HELLO,
    "S": tls.SERVER_HELLO,
    "t": tls.NEW_SESSION_TICKET,
    "o": tls.END_OF_EARLY_DATA,
    "e": tls.ENCRYPTED_EXTENSIONS,
    "c": tls.CERTIFICATE,
    "z": tls.COMPRESSED_CERTIFICATE,
    "k": tls.SERVER_KEY_EXCHANGE,
    "r": tls.CERTIFICATE_REQUEST,
    "d": tls.SERVER_HELLO_DONE,
    "v": tls.CERTIFICATE_VERIFY,
    "x": tls.CLIENT_KEY_EXCHANGE,
    "s": tls.CERTIFICATE_STATUS,
    "p": tls.SUPPLEMENTAL_DATA,
    "n": tls.NEXT_PROTOCOL,
    "i": tls.CHANNEL_ID,
    "F": tls.FINISHED,
    "!": CCS,
}
ANY = dict(LETTERS.items()) | {f"<{n}>": n for n in range(256) if n not in LETTERS.values()}

# Whole handshakes of one side, as RFC 8446 (RFC 9846) section 2 and appendix A and RFC 5246 section 7.3 have them.
# A HelloRetryRequest does not show in the tables: it is a ServerHello by type.
GRAMMAR = [
    (PLACES13[Role.CLIENT], r"C(C|o)?e?((c|z)v?)?F", "CF|CCF|CoF|CcF|CcvF|CzvF|CocvF|CCcvF|CeF|CoeF|CecvF"),
    (PLACES13[Role.SERVER], r"Se(r?(c|z)v)?F", "SeF|SecvF|SercvF|SezvF"),
    (PLACES12[Role.CLIENT], r"Cp*(c?xv?)?!(n|i)*F", "C!F|Cx!F|Ccx!F|Ccxv!F|Cx!nF|C!niF|Cpcx!F"),
    (
        PLACES12[Role.SERVER],
        r"Sp*((cs*)?k?r?dt?|t)?!(n|i)*F",
        "S!F|St!F|Scd!F|Sckd!F|Scskrdt!F|Skd!F|Sd!F|Scrd!F|Spckdt!F",
    ),
]


def words(table: Table, longest: int) -> Iterator[str]:
    """All flows from START to FINISHED of at most `longest` messages."""
    waiting = [("", START)]
    while waiting:
        word, place = waiting.pop()
        if place == FINISHED:
            yield word
        if len(word) < longest:
            waiting += [(word + letter, table[place][event]) for letter, event in ANY.items() if event in table[place]]


@pytest.mark.parametrize(
    ("table", "grammar", "legal"), GRAMMAR, ids=["client 1.3", "server 1.3", "client 1.2", "server 1.2"]
)
def test_flows(table: Table, grammar: str, legal: str) -> None:
    found = set(words(table, 9))
    assert [word for word in found if not re.fullmatch(grammar, word)] == []
    assert set(legal.split("|")) <= found


@pytest.mark.parametrize("tables", [PLACES13, PLACES12], ids=["1.3", "1.2"])
def test_every_place_is_reached_and_ends(tables: dict[Role, Table]) -> None:
    for table in tables.values():
        targets = {place for row in table.values() for place in row.values()}
        assert targets | {START} | ({"retry"} & set(table)) == set(table)  # a HelloRetryRequest leads to retry
        assert [place for place, row in table.items() if not row] == [FINISHED]


# -- what messages mean ------------------------------------------------------------------------------------------------


def vector(width: int, data: bytes) -> bytes:
    return len(data).to_bytes(width) + data


def client_hello(random: bytes = bytes(32)) -> Message:
    return Message(tls.CLIENT_HELLO, b"\3\3" + random + b"\0" + vector(2, b"\x13\1") + b"\1\0")


def server_hello(
    version: int = TLS13, random: bytes = bytes(32), psk: bool = False, extension: tuple[int, bytes] | None = None
) -> Message:
    entries = [(43, version.to_bytes(2))] if version == TLS13 else []
    entries += [(41, b"\0\0")] if psk else []
    entries += [extension] if extension else []
    block = vector(2, b"".join(kind.to_bytes(2) + vector(2, data) for kind, data in entries))
    return Message(tls.SERVER_HELLO, min(version, 0x0303).to_bytes(2) + random + b"\0" + b"\x13\1" + b"\0" + block)


RETRY = server_hello(random=hello.RETRY_RANDOM)


def extensions(early_data: bool) -> Message:
    return Message(tls.ENCRYPTED_EXTENSIONS, vector(2, b"\0\x2a\0\0" if early_data else b""))


def exchange(*messages: Message) -> Exchange:
    """Both hellos' sides are told apart by the messages' types."""
    made = Exchange()
    for message in messages:
        made.message(Role.CLIENT if message.type == tls.CLIENT_HELLO else Role.SERVER, message)
    return made


def test_what_is_agreed_on() -> None:
    made = exchange(client_hello(b"r" * 32), server_hello(psk=True), extensions(early_data=True))
    assert made.client is not None
    assert made.client.random == b"r" * 32
    assert (made.version, made.resumed, made.early_accepted, made.retried) == (TLS13, True, True, False)


def test_early_data_is_refused_without_a_word() -> None:
    """RFC 8446, RFC 9846 section 4.2.10: by no extension, by another key exchange, or by a HelloRetryRequest."""
    assert exchange(client_hello(), server_hello(psk=True)).early_accepted is None
    assert exchange(client_hello(), server_hello(psk=True), extensions(early_data=False)).early_accepted is False
    assert exchange(client_hello(), server_hello()).early_accepted is False
    assert exchange(client_hello(), RETRY).early_accepted is False


def test_hello_retry_request() -> None:
    made = exchange(client_hello(), RETRY)
    assert made.server is None
    assert made.retried
    exchange_message(made, client_hello())
    exchange_message(made, server_hello())
    assert made.places == ["again", "hello"]


@pytest.mark.parametrize(
    ("first", "message", "text"),
    [
        ([client_hello(), RETRY], RETRY, "a second HelloRetryRequest"),
        (
            [client_hello(), server_hello()],
            client_hello(),
            "a second ClientHello that no HelloRetryRequest asked for",
        ),
        ([client_hello(), RETRY], server_hello(version=0x0303), "a ServerHello of version 0x0303 after 0x0304"),
        ([client_hello()], Message(tls.ENCRYPTED_EXTENSIONS, b""), "EncryptedExtensions from the server at start"),
        ([], Message(tls.FINISHED, b""), "Finished from the server at start"),
        (
            [client_hello(), server_hello()],
            Message(tls.CLIENT_KEY_EXCHANGE, b""),
            "ClientKeyExchange from the server at hello",
        ),
    ],
    ids=["two retries", "unasked hello", "version changes", "no hello", "Finished first", "1.2 in 1.3"],
)
def test_breaches(first: list[Message], message: Message, text: str) -> None:
    made = exchange(*first)
    before = list(made.places)
    with pytest.raises(MalformedError) as caught:
        exchange_message(made, message)
    assert str(caught.value) == text
    assert made.places == before


def test_a_change_cipher_spec_out_of_turn_is_named() -> None:
    made = exchange(client_hello())
    with pytest.raises(MalformedError) as caught:
        made.change_cipher_spec(Role.SERVER)
    assert str(caught.value) == "ChangeCipherSpec from the server at start"


def exchange_message(made: Exchange, message: Message) -> None:
    made.message(Role.CLIENT if message.type == tls.CLIENT_HELLO else Role.SERVER, message)


def test_hello_requests_are_not_part_of_the_handshake() -> None:
    made = exchange(client_hello(), Message(tls.HELLO_REQUEST, b""))
    assert made.places == ["hello", START]


@pytest.mark.parametrize(
    ("between", "resumed"),
    [
        ([], True),
        ([tls.NEW_SESSION_TICKET], True),
        ([tls.CERTIFICATE, tls.SERVER_HELLO_DONE], False),
        ([tls.CERTIFICATE, tls.SERVER_HELLO_DONE, tls.NEW_SESSION_TICKET], False),
    ],
)
def test_resumption_shows_in_what_the_server_leaves_out(between: list[int], resumed: bool) -> None:
    """RFC 5246 section 7.3, RFC 5077 section 3.4."""
    made = exchange(client_hello(), server_hello(version=0x0303), *[Message(kind, b"") for kind in between])
    assert not made.resumed
    made.change_cipher_spec(Role.SERVER)
    assert made.resumed is resumed
    made.message(Role.SERVER, Message(tls.FINISHED, b""))
    assert made.finished(Role.SERVER)
    assert not made.finished(Role.CLIENT)


def test_session_hash_covers_the_handshake_up_to_client_key_exchange() -> None:
    """RFC 7627 section 3: in the order of the handshake, whichever side was read first."""
    hellos = client_hello(), server_hello(version=0x0303)
    flight = [Message(kind, b"body") for kind in (tls.CERTIFICATE, tls.SERVER_KEY_EXCHANGE, tls.SERVER_HELLO_DONE)]
    answer = [Message(tls.CERTIFICATE, b"mine"), Message(tls.CLIENT_KEY_EXCHANGE, b"\0\x0aencrypted secret")]
    made = Exchange()
    made.message(Role.CLIENT, hellos[0])
    assert made.session_messages() is None
    for message in (hellos[1], *flight):
        made.message(Role.SERVER, message)
    made.message(Role.SERVER, Message(tls.HELLO_REQUEST, b""))
    for message in (*answer, Message(tls.CERTIFICATE_VERIFY, b"not covered")):
        made.message(Role.CLIENT, message)
    made.message(Role.SERVER, Message(tls.NEW_SESSION_TICKET, b"not covered"))
    assert made.session_messages() == b"".join(message.wire for message in (*hellos, *flight, *answer))
    assert made.encrypted_premaster == b"encrypte"
    made.forget()
    assert made.session_messages() is None
