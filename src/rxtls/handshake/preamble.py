"""Where TLS begins in a stream that may open with plaintext: STARTTLS, CONNECT, PostgreSQL's SSLRequest, proxies.

A stream that starts with a hello is taken at its word. Further in, the bytes 22 3 mean nothing by themselves; there a
hello must show a whole plausible beginning, and must parse when its first record holds all of it:

    16 03 0x  len len | 01 00 len len  03 0x ...      record header | handshake header, legacy_version

The search goes on where it ended, so that a stream fed byte by byte is scanned once. It is bounded by LIMIT.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from rxtls.wire import tls
from rxtls.wire.hello import client_hello, server_hello

# Greetings, capability lists and proxy headers are a few hundred bytes; 64 KiB is what proxies allow headers at most.
LIMIT = 65536
_LONGEST_START = 11  # bytes that _STARTS looks at
_SHORTEST_HELLO = 38  # version, random, empty session id, suite, compression of a ServerHello; a ClientHello has more

_STARTS = {
    tls.CLIENT_HELLO: re.compile(rb"\x16\x03[\x00-\x04][\x00-\x48].\x01\x00..\x03[\x00-\x03]", re.DOTALL),
    # The server may refuse a ClientHello by an alert, which is TLS too.
    tls.SERVER_HELLO: re.compile(
        rb"\x16\x03[\x00-\x04][\x00-\x48].\x02\x00..\x03[\x00-\x03]|\x15\x03[\x00-\x04]\x00\x02[\x01\x02].", re.DOTALL
    ),
}

# Offset and value of the bytes that tell a stream's first record: record type, major version; and the hello's type, or
# the length of an alert, two bytes. With _DECIDED bytes it is certain.
_HELLO_BEGINS = {hello: ((0, tls.HANDSHAKE), (1, 3), (5, hello)) for hello in (tls.CLIENT_HELLO, tls.SERVER_HELLO)}
_ALERT_BEGINS = ((0, tls.ALERT), (1, 3), (3, 0), (4, 2))
_DECIDED = 6


class Search(NamedTuple):
    """`found`: the hello's offset, or None. `pending`: a candidate at `resume` needs more bytes to be judged."""

    found: int | None
    resume: int
    pending: bool = False


def search(data: tls.Buffer, hello: int, start: int) -> Search:
    """Look for a CLIENT_HELLO or SERVER_HELLO (or an alert in its place) from `start`, an earlier search's `resume`."""
    if start == 0:
        at_start = begins(data, hello)
        if at_start is None:
            return Search(None, 0, pending=bool(data))
        if at_start:
            return Search(0, 0)
    pattern = _STARTS[hello]
    while (match := pattern.search(data, start)) is not None:
        at = match.start()
        verdict = _hello_at(data, at, hello)
        if verdict is None:
            return Search(None, at, pending=True)
        if verdict:
            return Search(at, at)
        start = at + 1
    return Search(None, max(start, len(data) - _LONGEST_START + 1))


def begins(data: tls.Buffer, hello: int) -> bool | None:
    """Does the stream start with the hello? None while too few bytes are there to tell."""
    alert = hello == tls.SERVER_HELLO and len(data) > 0 and data[0] == tls.ALERT
    for at, want in _ALERT_BEGINS if alert else _HELLO_BEGINS[hello]:
        if at >= len(data):
            return None
        if data[at] != want:
            return False
    if len(data) < _DECIDED:
        return None
    return looks_like_record(data)


def looks_like_record(data: tls.Buffer) -> bool:
    """True when `data` starts with a header that any TLS record may have."""
    try:
        return tls.record_header(data) is not None
    except tls.MalformedError:
        return False


def is_sslv2_hello(data: tls.Buffer) -> bool:
    """True for an SSLv2 CLIENT-HELLO, which may offer SSL 2.0 up to TLS 1.2 (RFC 5246 appendix E.2)."""
    if len(data) < 11 or not data[0] & 0x80 or data[2] != 1:
        return False
    if bytes(data[3:5]) not in (b"\0\2", b"\3\0", b"\3\1", b"\3\2", b"\3\3"):
        return False
    length = (data[0] & 0x7F) << 8 | data[1]
    suites, session_id, challenge = (data[i] << 8 | data[i + 1] for i in (5, 7, 9))
    return suites > 0 and suites % 3 == 0 and 16 <= challenge <= 32 and length == 9 + suites + session_id + challenge


def _hello_at(data: tls.Buffer, at: int, hello: int) -> bool | None:
    """Is the candidate at `at`, which has _STARTS' shape, a hello? None while too few bytes are there to tell."""
    if data[at] == tls.ALERT:
        return True
    record = data[at + 3] << 8 | data[at + 4]
    message = int.from_bytes(data[at + 6 : at + 9])
    if message < _SHORTEST_HELLO:
        return False
    if record < tls.MESSAGE_HEADER + message:
        return True  # goes on in the next record
    body = bytes(data[at + 9 : at + 9 + message])
    if len(body) < message:
        return None
    try:
        (client_hello if hello == tls.CLIENT_HELLO else server_hello)(body)
    except tls.MalformedError:
        return False
    return True
