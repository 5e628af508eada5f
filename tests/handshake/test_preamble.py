"""Finding the hello: at the start, behind plaintext, fed in any pieces, and where there is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxtls.handshake import preamble
from rxtls.handshake.preamble import Search, search
from rxtls.wire import tls


def hello(kind: int) -> bytes:
    """A least hello in its record."""
    suites = b"\0\2\x13\1\1\0" if kind == tls.CLIENT_HELLO else b"\x13\1\0"
    body = b"\3\3" + bytes(range(32)) + b"\0" + suites
    message = bytes([kind]) + len(body).to_bytes(3) + body
    return b"\x16\3\1" + len(message).to_bytes(2) + message


CLIENT, SERVER = hello(tls.CLIENT_HELLO), hello(tls.SERVER_HELLO)
ALERT = bytes.fromhex("15030300020228")

PREAMBLES = {
    "none": b"",
    "smtp": b"EHLO example.test\r\nSTARTTLS\r\n",
    "connect": b"CONNECT example.test:443 HTTP/1.1\r\nHost: example.test:443\r\n\r\n",
    "postgres": bytes.fromhex("0000000804d2162f"),
    "false starts": b"x" + b"\x16\x03\x01" * 20 + b"\x16\x03\x01\x00\x30\x01\x00\x00\x04\x03\x03",
    "a hello cut short": b"x" + CLIENT[:30],
}


@pytest.mark.parametrize("before", PREAMBLES.values(), ids=PREAMBLES.keys())
@pytest.mark.parametrize(("kind", "start"), [(tls.CLIENT_HELLO, CLIENT), (tls.SERVER_HELLO, SERVER)])
def test_found_behind_any_preamble(before: bytes, kind: int, start: bytes) -> None:
    assert search(before + start + b"more", kind, 0).found == len(before)


@pytest.mark.parametrize("before", PREAMBLES.values(), ids=PREAMBLES.keys())
@given(cuts=st.lists(st.integers(1, 60), max_size=40))
def test_found_in_any_pieces(before: bytes, cuts: list[int]) -> None:
    """A search resumed gives what one over everything gives, and never before the hello can be judged."""
    data = before + CLIENT
    have, resume = 0, 0
    for cut in [*cuts, len(data)]:
        have = min(len(data), have + cut)
        result = search(data[:have], tls.CLIENT_HELLO, resume)
        if result.found is not None:
            break
        assert result.resume >= resume
        resume = result.resume
    assert result.found == len(before)


def test_alerts_are_an_answer_to_a_client_hello() -> None:
    assert search(ALERT, tls.SERVER_HELLO, 0).found == 0
    assert search(b"220 go ahead\r\n" + ALERT, tls.SERVER_HELLO, 0).found == 14
    assert search(ALERT, tls.CLIENT_HELLO, 0).found is None


def test_the_wrong_hello_is_not_the_one() -> None:
    assert search(SERVER, tls.CLIENT_HELLO, 0).found is None
    assert search(CLIENT, tls.SERVER_HELLO, 0).found is None


def test_a_hello_fragmented_over_tiny_records() -> None:
    """At the start even one byte of handshake is believed; further in, a record has to hold the message's header."""
    tiny = b"\x16\3\1\0\1\1"
    assert search(tiny, tls.CLIENT_HELLO, 0).found == 0
    assert search(b"x" + tiny + bytes(50), tls.CLIENT_HELLO, 0).found is None
    halves = b"\x16\3\1\0\x10" + CLIENT[5:21]
    assert search(b"x" + halves, tls.CLIENT_HELLO, 0).found == 1


def test_pending() -> None:
    assert search(b"", tls.CLIENT_HELLO, 0) == Search(None, 0)
    assert search(b"\x16\3", tls.CLIENT_HELLO, 0) == Search(None, 0, pending=True)
    assert search(b"x" + CLIENT[:-1], tls.CLIENT_HELLO, 0) == Search(None, 1, pending=True)


@given(st.binary(max_size=200), st.integers(0, 250))
def test_junk(data: bytes, start: int) -> None:
    for kind in (tls.CLIENT_HELLO, tls.SERVER_HELLO):
        result = search(data, kind, start)
        assert result.found is None or start <= result.found < len(data)


def test_sslv2_hello() -> None:
    made = b"\x80\x2e\x01\x03\x01" + bytes.fromhex("001500000010") + bytes(21 + 16)
    assert preamble.is_sslv2_hello(made)
    assert not preamble.is_sslv2_hello(made[:10])
    assert not preamble.is_sslv2_hello(b"\x80\x2f" + made[2:])
    assert not preamble.is_sslv2_hello(CLIENT)


@pytest.mark.parametrize(
    ("version", "suites", "session_id", "challenge", "good"),
    [
        *((version, 3, 0, 16, True) for version in (0x0002, 0x0300, 0x0301, 0x0302, 0x0303)),
        *((version, 3, 0, 16, False) for version in (0x0200, 0x0304, 0x0003)),
        (0x0301, 0, 0, 16, False),
        (0x0301, 4, 0, 16, False),
        (0x0301, 6, 16, 32, True),
        (0x0301, 3, 0, 15, False),
        (0x0301, 3, 0, 33, False),
    ],
)
def test_what_an_sslv2_hello_may_say(version: int, suites: int, session_id: int, challenge: int, good: bool) -> None:
    """RFC 5246 appendix E.2: suites of three bytes, a challenge of 16 to 32."""
    length = 9 + suites + session_id + challenge
    counts = suites.to_bytes(2) + session_id.to_bytes(2) + challenge.to_bytes(2)
    hello = (0x8000 | length).to_bytes(2) + b"\x01" + version.to_bytes(2) + counts
    assert preamble.is_sslv2_hello(hello) is good  # its first 11 bytes tell
    assert not preamble.is_sslv2_hello(bytes([hello[0] & 0x7F]) + hello[1:])
    assert not preamble.is_sslv2_hello(hello[:2] + b"\x04" + hello[3:])
    assert not preamble.is_sslv2_hello((0x8000 | length + 1).to_bytes(2) + hello[2:])


def test_looks_like_record() -> None:
    assert preamble.looks_like_record(bytes.fromhex("1703030100"))
    assert not preamble.looks_like_record(bytes.fromhex("17030301"))
    assert not preamble.looks_like_record(b"GET / HTTP/1.1")
