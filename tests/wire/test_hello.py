"""Hellos, byte by byte: what is kept, and that every length is checked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxtls.wire import hello
from rxtls.wire.tls import MalformedError

RANDOM = bytes(range(32))


def vector(width: int, data: bytes) -> bytes:
    return len(data).to_bytes(width) + data


def extensions(*entries: tuple[int, bytes]) -> bytes:
    return vector(2, b"".join(kind.to_bytes(2) + vector(2, data) for kind, data in entries))


def client(*entries: tuple[int, bytes], suites: bytes = b"\x13\x01\xc0\x2f", session_id: bytes = b"id") -> bytes:
    start = b"\3\3" + RANDOM + vector(1, session_id) + vector(2, suites) + vector(1, b"\0")
    return start + (extensions(*entries) if entries else b"")


def server(*entries: tuple[int, bytes], random: bytes = RANDOM, session_id: bytes = b"id") -> bytes:
    start = b"\3\3" + random + vector(1, session_id) + b"\xc0\x2f" + b"\0"
    return start + (extensions(*entries) if entries else b"")


SNI = (0, vector(2, b"\0" + vector(2, b"example.test")))
VERSIONS = (43, vector(1, b"\x1a\x1a\3\4\3\3"))


def test_client_hello() -> None:
    parsed = hello.client_hello(client(SNI, VERSIONS, (42, b""), (0xFE0D, b"..")))
    assert parsed == hello.ClientHello(
        random=RANDOM,
        session_id=b"id",
        versions=(0x1A1A, 0x0304, 0x0303),
        suites=(0x1301, 0xC02F),
        server_name="example.test",
        early_data=True,
        encrypted=True,
    )


def test_client_hello_without_extensions() -> None:
    """Before TLS 1.3 the block may be missing altogether (RFC 5246 section 7.4.1.2)."""
    parsed = hello.client_hello(client())
    assert (parsed.versions, parsed.server_name, parsed.early_data, parsed.encrypted) == ((0x0303,), None, False, False)


def test_server_hello12() -> None:
    parsed = hello.server_hello(server((22, b""), (23, b""), (16, vector(2, vector(1, b"h2")))))
    assert (parsed.version, parsed.suite, parsed.alpn) == (0x0303, 0xC02F, "h2")
    assert parsed.extended_master_secret
    assert parsed.encrypt_then_mac
    assert not parsed.retry
    assert not parsed.psk


def test_server_hello13() -> None:
    parsed = hello.server_hello(server((43, b"\3\4"), (41, b"\0\0")))
    assert (parsed.version, parsed.psk, parsed.retry) == (0x0304, True, False)


def test_hello_retry_request() -> None:
    """RFC 8446, RFC 9846 section 4.1.3: the random is the SHA-256 of "HelloRetryRequest"."""
    import hashlib

    assert hashlib.sha256(b"HelloRetryRequest").digest() == hello.RETRY_RANDOM
    assert hello.server_hello(server((43, b"\3\4"), random=hello.RETRY_RANDOM)).retry


def test_encrypted_extensions() -> None:
    parsed = hello.encrypted_extensions(extensions((16, vector(2, vector(1, b"http/1.1"))), (42, b"")))
    assert parsed == hello.EncryptedExtensions("http/1.1", True)
    assert hello.encrypted_extensions(extensions()) == hello.EncryptedExtensions(None, False)


def test_names_are_made_printable() -> None:
    evil = b"\x1b[31m\n\\\xc3\xa9.test"
    parsed = hello.client_hello(client((0, vector(2, b"\0" + vector(2, evil)))))
    assert parsed.server_name == r"\x1b[31m\x0a\x5c\xc3\xa9.test"
    long = hello.client_hello(client((0, vector(2, b"\0" + vector(2, b"a" * 1000)))))
    assert long.server_name == "a" * hello.MAX_NAME


def test_names_of_another_kind_are_passed_over() -> None:
    names = b"\7" + vector(2, b"what") + b"\0" + vector(2, b"host")
    assert hello.client_hello(client((0, vector(2, names)))).server_name == "host"
    assert hello.client_hello(client((0, vector(2, b"\7" + vector(2, b"what"))))).server_name is None


@pytest.mark.parametrize(
    "body",
    [
        client(SNI, SNI),
        client(session_id=bytes(33)),
        client(suites=b""),
        client(suites=b"\x13"),
        client(SNI) + b"\0",
        client((0, b"\0")),
        client((0, vector(2, b"\0" + vector(2, b"a")) + b"!")),
        client((43, b"\3\3\4")),
    ],
    ids=["twice", "session id", "no suites", "half a suite", "trailing", "short name", "name and more", "versions"],
)
def test_client_hellos_that_cannot_be(body: bytes) -> None:
    with pytest.raises(MalformedError):
        hello.client_hello(body)


@pytest.mark.parametrize(
    "body",
    [
        server((43, b"\3")),
        server((43, b"\3\4\0")),
        server((16, vector(2, vector(1, b"a") + vector(1, b"b")))),
        server((16, vector(2, vector(1, b"")))),
        server(session_id=bytes(33)),
        server()[:-1],
    ],
    ids=["half a version", "two versions", "two protocols", "empty protocol", "session id", "short"],
)
def test_server_hellos_that_cannot_be(body: bytes) -> None:
    with pytest.raises(MalformedError):
        hello.server_hello(body)


@given(st.sampled_from([client(SNI, VERSIONS), server((43, b"\3\4"), (16, vector(2, vector(1, b"h2"))))]), st.data())
def test_cut_and_bent_bodies_parse_or_are_malformed(body: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(body) - 1))
    bent = bytearray(body)
    bent[at] ^= data.draw(st.integers(1, 255))
    short = bytes(body[:at])
    for parse in (hello.client_hello, hello.server_hello, hello.encrypted_extensions):
        for candidate in (bytes(bent), short):
            try:
                value = parse(candidate)
            except MalformedError:
                continue
            assert value is not None


def test_a_server_hello_that_is_cut_off() -> None:
    """From its suite on it tells enough; a TLS 1.3 suite tells the version as well."""
    for chosen, version in ((0xC02F, 0x0303), (0x1301, 0x0304)):
        body = b"\x03\x03" + bytes(range(32)) + b"\x02ab" + chosen.to_bytes(2) + b"\x00\x00\x04\x00\x17\x00\x00"
        for length in range(len(body)):
            found = hello.cut_server_hello(body[:length])
            assert (found is not None) is (length >= 39)
            if found is not None:
                assert (found.random, found.session_id) == (bytes(range(32)), b"ab")
                assert (found.version, found.suite, found.retry) == (version, chosen, False)
