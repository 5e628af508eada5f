"""TLS in other protocols' frames, and behind their plaintext: what is read, and what no NIC can have decrypted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from odd_talks import SENT, Talk13, Wrap, application, files, talk12, wrapped
from replays import Done, replay
from rxtls.simulation.synth import Conversation

ENGINES = ("compiled", "plain")
PRELOGIN = b"\x12\1\0\x2f\0\0\1\0" + bytes(39)
RESPONSE = b"\4\1\0\x2b\0\0\1\0" + bytes(35)
GET = b"GET /tunnel HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nConnection: Upgrade\r\n\r\n"


def tds(size: int, first: bytes) -> Wrap:
    """Handshake flights in packets of `size` bytes; whatever comes behind stands bare."""
    dice = Random(3)

    def wrap(n: int, piece: bytes) -> bytes:
        if piece[:1] in (b"\x17", b"\x15"):
            return piece
        parts = [piece[at : at + size] for at in range(0, len(piece), size)]
        packets = []
        for part in parts:
            number = dice.randbytes(1)
            header = bytes([0x12, part is parts[-1]]) + (len(part) + 8).to_bytes(2) + bytes(2) + number + b"\0"
            packets.append(header + part)
        return (first if n == 0 else b"") + b"".join(packets)

    return wrap


def websocket(first: bytes, masked: bool, size: int = 1000, opcode: int = 2) -> Wrap:
    dice = Random(4)

    def frame(code: int, body: bytes, last: bool = True) -> bytes:
        mask = dice.randbytes(4) if masked else b""
        body = bytes(c ^ mask[n % 4] for n, c in enumerate(body)) if masked else body
        short = len(body) < 126
        length = bytes([(len(body) if short else 126) | masked << 7]) + (b"" if short else len(body).to_bytes(2))
        return bytes([last << 7 | code]) + length + mask + body

    def wrap(n: int, piece: bytes) -> bytes:
        parts = [piece[at : at + size] for at in range(0, len(piece), size)]
        frames = [frame(opcode if n % 2 else 0 if part is not parts[0] else opcode, part) for part in parts]
        return (first if n == 0 else b"") + frame(9, b"are you there").join(frames) + (frame(10, b"") if n else b"")

    return wrap


def both(make: Callable[[bytes, bool], Wrap], talk: Conversation, firsts: tuple[bytes, bytes]) -> Conversation:
    return wrapped(talk, make(firsts[0], True), make(firsts[1], False))


def whole(done: Done, talk: Conversation) -> None:
    assert (done.data("server"), done.data("client")) == application(talk)
    assert done.status() == 0
    for receiver in ("server", "client"):
        assert done.received(receiver)["records"]["failed"] == 0
        assert done.received(receiver)["complete"] is True


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("size", [4088, 100, 7])
def test_trial_b8_tds_around_the_handshake(tmp_path: Path, size: int, engine: str) -> None:
    talk = talk12()
    made = both(lambda first, _masked: tds(size, first), talk, (PRELOGIN, RESPONSE))
    done = replay(*files(tmp_path, made), engine=engine, call_size=3)
    whole(done, talk)
    assert done.received("client")["why"]["code"] == "offloaded"  # records behind it stand bare
    assert done.received("client")["records"]["decrypted"] > 0


def test_tds_without_its_prelogin_is_no_tls(tmp_path: Path) -> None:
    made = both(lambda first, _masked: lambda _n, _piece: first * 30, talk12(), (PRELOGIN, RESPONSE))
    assert replay(*files(tmp_path, made)).received("server")["why"]["code"] == "not_tls"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("size", [60, 1000, 30000])
@pytest.mark.parametrize("talk", [talk12(), Talk13().talk()], ids=["1.2", "1.3"])
def test_trial_b8_websocket_messages(tmp_path: Path, talk: Conversation, size: int, engine: str) -> None:
    """RFC 6455: nothing in frames can be offloaded, and the NIC is never said to have decrypted any of it."""
    made = both(lambda first, masked: websocket(first, masked, size), talk, (GET, SWITCHING))
    done = replay(*files(tmp_path, made), engine=engine, call_size=2)
    whole(done, talk)
    for n, receiver in enumerate(("server", "client")):
        received = done.received(receiver)
        assert received["app_bytes"] == SENT[n]
        assert received["offload"] is None
        assert received["why"]["code"] == "wrapped"
        assert received["records"]["decrypted"] == received["records"]["mixed"] == 0


def test_websocket_with_something_else_is_no_tls(tmp_path: Path) -> None:
    made = both(
        lambda first, masked: lambda n, piece: websocket(first, masked)(n, b'{"a": 1}' * (len(piece) // 8 + 1)),
        talk12(),
        (GET, SWITCHING),
    )
    why = replay(*files(tmp_path, made)).received("server")["why"]
    assert why["code"] == "not_tls"


def test_a_websocket_record_that_does_not_authenticate(tmp_path: Path) -> None:
    talk = Talk13().talk()
    last = talk.server.records[-2]
    assert last.type == 23
    talk.server.data[last.start + 40] ^= 1
    made = both(lambda first, masked: websocket(first, masked), talk, (GET, SWITCHING))
    done = replay(*files(tmp_path, made))
    assert done.received("client")["records"]["failed"] == 1
    assert done.received("server")["app_bytes"] == SENT[0]
    assert done.status() == 1


PREAMBLES = {
    "PostgreSQL": (b"\0\0\0\x08\x04\xd2\x16\x2f", b"S"),
    "MySQL": (bytes(32) + b"\x01\0\0\1", b"\x4a\0\0\0\x0a8.0.36\0" + bytes(60)),
    "RDP": (b"\3\0\0\x13\x0e\xe0\0\0\0\0\0\1\0\x08\0\3\0\0\0", b"\3\0\0\x13\x0e\xd0\0\0\x124\0\2\x1f\x08\0\2\0\0\0"),
    "LDAP": (b"0\x1d\2\1\1w\x18\x80\x161.3.6.1.4.1.1466.20037", b"0\x0c\2\1\1x\7\n\1\0\4\0\4\0"),
    "SMTP": (b"EHLO a\r\nSTARTTLS\r\n", b"220 a ESMTP\r\n250-a\r\n250 STARTTLS\r\n220 go\r\n"),
    "IMAP": (b"a STARTTLS\r\n", b"* OK ready\r\na OK begin\r\n"),
    "FTP": (b"AUTH TLS\r\n", b"220 ready\r\n234 go\r\n"),
    "XMPP": (b"<starttls xmlns='urn:x:xmpp-tls'/>", b"<proceed xmlns='urn:x:xmpp-tls'/>"),
    "CONNECT": (b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 200 Connection established\r\n\r\n"),
    "PROXY 1": (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 443\r\n", b""),
    "PROXY 2": (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12), b""),
    "SOCKS 4": (b"\4\1\1\xbb\1\2\3\4\0", b"\0\x5a" + bytes(6)),
    "SOCKS 5": (b"\5\1\0\5\1\0\3\1a\1\xbb", b"\5\0\5\0\0\1" + bytes(6)),
}


@pytest.mark.parametrize("name", PREAMBLES)
def test_plaintext_before_tls(tmp_path: Path, name: str) -> None:
    talk, (up, down) = Talk13().talk(), PREAMBLES[name]
    made = wrapped(
        talk, lambda n, piece: (up if n == 0 else b"") + piece, lambda n, piece: (down if n == 0 else b"") + piece
    )
    done = replay(*files(tmp_path, made))
    whole(done, talk)
    assert done.received("client")["why"]["code"] == "offloaded"
