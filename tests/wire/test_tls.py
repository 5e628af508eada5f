"""Record headers and the joining of handshake messages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxtls.wire import tls
from rxtls.wire.tls import Alert, MalformedError, Message, Messages, TooLargeError


def wire(messages: list[Message]) -> bytes:
    return b"".join(message.wire for message in messages)


MESSAGES = st.lists(st.builds(Message, st.integers(0, 255), st.binary(max_size=40)), max_size=8)


def test_header() -> None:
    assert tls.record_header(bytes.fromhex("1603010200ff")) == (22, 0x0301, 512)
    assert tls.record_header(bytes.fromhex("ffff1703030010"), 2) == (23, 0x0303, 16)


@pytest.mark.parametrize("length", range(5))
def test_header_not_there_yet(length: int) -> None:
    assert tls.record_header(bytes.fromhex("1603010200")[:length]) is None


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        ("1303030001", "type 19"),
        ("1903030001", "type 25"),
        ("1602030001", "version 2.3"),
        ("1603050001", "version 3.5"),
        ("1703034801", "18433 bytes"),
    ],
)
def test_header_that_cannot_be(data: str, cause: str) -> None:
    with pytest.raises(MalformedError, match=cause):
        tls.record_header(bytes.fromhex(data))


def test_header_at_the_bound() -> None:
    assert tls.record_header(bytes.fromhex("1703034800")) == (23, 0x0303, tls.MAX_FRAGMENT)


@given(MESSAGES, st.data())
def test_messages_join_whatever_the_fragments(messages: list[Message], data: st.DataObject) -> None:
    joiner = Messages(limit=64)
    stream, got = wire(messages), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        got += joiner.feed(stream[:size])
        stream = stream[size:]
    assert got == messages
    assert not joiner.unfinished


def test_unfinished() -> None:
    joiner = Messages(limit=64)
    assert joiner.feed(bytes.fromhex("0e0000000b0000")) == [Message(14, b"")]
    assert joiner.unfinished


def test_the_bound_on_one_message() -> None:
    assert Messages(limit=300).feed(b"\x0b\x00\x01\x2c" + bytes(300)) == [Message(11, bytes(300))]
    with pytest.raises(TooLargeError, match="Certificate of 301 bytes"):
        Messages(limit=300).feed(b"\x0b\x00\x01\x2d")


def test_empty_handshake_records_are_never_sent() -> None:
    """RFC 8446, RFC 9846 section 5.1: "Implementations MUST NOT send zero-length fragments of Handshake types"."""
    with pytest.raises(MalformedError, match="empty"):
        Messages(limit=64).feed(b"")


def test_a_message_does_not_show_its_body() -> None:
    assert repr(Message(20, b"secret")) == "Message(Finished, <6 bytes>)"
    assert repr(Message(99, b"")) == "Message(handshake message 99, <0 bytes>)"


@pytest.mark.parametrize(
    ("payload", "name", "ends"),
    [
        (b"\1\0", "close_notify", True),
        (b"\2\x28", "handshake_failure", True),
        (b"\1\x70", "unrecognized_name", False),
        (b"\2\xfe", "alert 254", True),
    ],
)
def test_alert(payload: bytes, name: str, ends: bool) -> None:
    parsed = tls.alert(payload)
    assert parsed == Alert(payload[0], payload[1])
    assert (parsed.name, parsed.ends) == (name, ends)


@pytest.mark.parametrize("payload", [b"", b"\1", b"\1\0\0"])
def test_alerts_are_two_bytes(payload: bytes) -> None:
    with pytest.raises(MalformedError, match=f"an alert of {len(payload)} bytes"):
        tls.alert(payload)


def test_key_update() -> None:
    assert tls.key_update(b"\1") is True
    assert tls.key_update(b"\0") is False
    for body in (b"", b"\2", b"\0\0"):
        with pytest.raises(MalformedError):
            tls.key_update(body)
