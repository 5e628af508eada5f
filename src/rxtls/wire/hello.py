"""ClientHello, ServerHello and EncryptedExtensions: what of them decides how records will be opened.

Each is read to its last byte and every length in it is checked, but only the extensions named here are looked into.
What is kept is what the observer needs, not the message. Names from the wire are made printable, since they end up on
terminals.
"""

from __future__ import annotations

import re
import sys
from struct import Struct, unpack
from typing import Any, NamedTuple

from rxtls.wire.tls import MalformedError

# Extensions (https://www.iana.org/assignments/tls-extensiontype-values).
SERVER_NAME = 0
ALPN = 16
ENCRYPT_THEN_MAC = 22
EXTENDED_MASTER_SECRET = 23
PRE_SHARED_KEY = 41
EARLY_DATA = 42
SUPPORTED_VERSIONS = 43
# RFC 9849; its drafts 8 to 12 had numbers of their own, ESNI before them another one.
ENCRYPTED_CLIENT_HELLO = frozenset((0xFE0D, 0xFE08, 0xFE09, 0xFE0A, 0xFE0B, 0xFE0C, 0xFFCE))

# TLS 1.3's drafts by their high byte. From draft 25 on (draft-ietf-tls-tls13-25: the record header is additional data)
# nothing has changed that matters to who has the secrets, so those are read as TLS 1.3. Up to 21 a ServerHello had
# neither session id nor compression, and supported_versions did not name the version.
DRAFTS = 0x7F
_AS_TLS13 = range(DRAFTS << 8 | 25, DRAFTS << 8 | 29)
_OF_OLD = range(DRAFTS << 8, DRAFTS << 8 | 22)

# RFC 8446, RFC 9846 section 4.1.3: SHA-256 of "HelloRetryRequest", in the place of the server random.
RETRY_RANDOM = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
# RFC 9001 and RFC 1035 leave names at 255; longer ones are cut for display, the message stays legal.
MAX_NAME = 255

_START = Struct(">H32s")  # legacy_version, random
_CHOICE = Struct(">HB")  # cipher suite, compression
_NUMBER = Struct(">H")
_BYTE = Struct("B")
_EXTENSION = Struct(">HH")  # type, length
_PLAIN = re.compile(rb"[!-\[\]-~]*\Z")  # printable ASCII but for the backslash


class ClientHello(NamedTuple):
    """`versions` are those of supported_versions, or just the legacy one. `suites` are IANA codes, preferred first.

    `early_data` and `encrypted` (Encrypted ClientHello, RFC 9849, GREASE included) tell that the extension was there.
    """

    random: bytes
    session_id: bytes
    versions: tuple[int, ...]
    suites: tuple[int, ...]
    server_name: str | None
    early_data: bool
    encrypted: bool


class ServerHello(NamedTuple):
    """`version` is the one agreed on, whichever field said it. `retry`: this is a HelloRetryRequest.

    `alpn` is known here only before TLS 1.3; `psk` (a pre-shared key was accepted) only in TLS 1.3.
    """

    random: bytes
    session_id: bytes
    version: int
    suite: int
    compression: int
    retry: bool
    psk: bool
    alpn: str | None
    extended_master_secret: bool
    encrypt_then_mac: bool


class EncryptedExtensions(NamedTuple):
    """What the TLS 1.3 server tells under handshake keys (RFC 8446, RFC 9846 section 4.3.1)."""

    alpn: str | None
    early_data: bool


def client_hello(body: bytes) -> ClientHello:
    """Parse a ClientHello's body (RFC 8446, RFC 9846 section 4.1.2; RFC 5246 section 7.4.1.2).

    Raises MalformedError.
    """
    reader = _Reader(body, "ClientHello")
    legacy, random = reader.fields(_START)
    session_id = _session_id(reader)
    suites = reader.vector(2, 2)
    if len(suites) % 2:
        raise MalformedError("ClientHello: half a cipher suite")
    reader.vector(1, 1)  # compression methods
    extensions = _extensions(reader)
    versions: tuple[int, ...] = (legacy,)
    if SUPPORTED_VERSIONS in extensions:
        inner = _Reader(extensions[SUPPORTED_VERSIONS], "supported_versions")
        listed = inner.vector(1, 2)
        inner.end()
        versions = tuple(map(_final, _pairs(listed)))
    return ClientHello(
        random,
        session_id,
        versions,
        _pairs(suites),
        _server_name(extensions.get(SERVER_NAME)),
        EARLY_DATA in extensions,
        not ENCRYPTED_CLIENT_HELLO.isdisjoint(extensions),
    )


def server_hello(body: bytes) -> ServerHello:
    """Parse a ServerHello's or HelloRetryRequest's body (RFC 8446, RFC 9846 section 4.1.3). Raises MalformedError."""
    reader = _Reader(body, "ServerHello")
    version, random = reader.fields(_START)
    if version in _OF_OLD:
        (chosen,) = reader.fields(_NUMBER)
        return ServerHello(random, b"", version, chosen, 0, False, False, None, False, False)
    session_id = _session_id(reader)
    chosen, compression = reader.fields(_CHOICE)
    extensions = _extensions(reader)
    if SUPPORTED_VERSIONS in extensions:
        inner = _Reader(extensions[SUPPORTED_VERSIONS], "supported_versions")
        (version,) = map(_final, inner.fields(_NUMBER))
        inner.end()
    return ServerHello(
        random,
        session_id,
        version,
        chosen,
        compression,
        random == RETRY_RANDOM,
        PRE_SHARED_KEY in extensions,
        _protocol(extensions.get(ALPN)),
        EXTENDED_MASTER_SECRET in extensions,
        ENCRYPT_THEN_MAC in extensions,
    )


def cut_server_hello(body: bytes) -> ServerHello | None:
    """What is known of a ServerHello of whose body only the beginning is there; None if that ends before the suite.

    Its extensions count as not sent, but TLS 1.3 shows in the suite (RFC 8446, RFC 9846 section B.4).
    """
    reader = _Reader(body, "ServerHello")
    try:
        version, random = reader.fields(_START)
        session_id = _session_id(reader)
        (chosen,) = reader.fields(_NUMBER)
    except MalformedError:
        return None
    version = 0x0304 if chosen >> 8 == 0x13 else version
    return ServerHello(random, session_id, version, chosen, 0, random == RETRY_RANDOM, False, None, False, False)


def encrypted_extensions(body: bytes) -> EncryptedExtensions:
    """Parse an EncryptedExtensions body. Raises MalformedError."""
    reader = _Reader(body, "EncryptedExtensions")
    extensions = _extensions(reader)
    return EncryptedExtensions(_protocol(extensions.get(ALPN)), EARLY_DATA in extensions)


class _Reader:
    """Takes a body apart from the front. Every step raises MalformedError when the body does not have it."""

    __slots__ = ("_at", "_data", "_end", "_what")

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._at = 0
        self._end = len(data)
        self._what = what

    @property
    def left(self) -> int:
        return self._end - self._at

    def fields(self, shape: Struct) -> tuple[Any, ...]:
        """What stands at fixed places."""
        at = self._at
        if shape.size > self._end - at:
            raise self._short(shape.size, self.left)
        self._at = at + shape.size
        return shape.unpack_from(self._data, at)

    def vector(self, prefix: int, least: int = 0) -> bytes:
        """A vector with a length field of `prefix` bytes and at least `least` bytes in it."""
        start = self._at + prefix
        length = int.from_bytes(self._data[self._at : start])
        end = start + length
        if end > self._end or length < least:  # so too where the length field itself is cut
            if prefix > self.left:
                raise self._short(prefix, self.left)
            if length < least:
                raise MalformedError(f"{self._what}: a vector of {length} bytes, at least {least} wanted")
            raise self._short(length, self.left - prefix)
        self._at = end
        return self._data[start:end]

    def end(self) -> None:
        if self._at < self._end:
            raise MalformedError(f"{self._what}: {self.left} bytes too many")

    def _short(self, wanted: int, left: int) -> MalformedError:
        return MalformedError(f"{self._what}: {wanted} bytes wanted, {left} left")


def _final(version: int) -> int:
    """A version, TLS 1.3 for the drafts that are read like it."""
    return 0x0304 if version in _AS_TLS13 else version


def _session_id(reader: _Reader) -> bytes:
    session_id = reader.vector(1)
    if len(session_id) > 32:
        raise MalformedError(f"a session id of {len(session_id)} bytes")
    return session_id


def _extensions(reader: _Reader) -> dict[int, bytes]:
    """The extensions at the message's end, which may be missing altogether before TLS 1.3."""
    if not reader.left:
        return {}
    block = reader.vector(2)
    reader.end()
    found: dict[int, bytes] = {}
    at, end = 0, len(block)
    while at < end:
        start = at + _EXTENSION.size
        if start > end:
            raise MalformedError(f"extensions: {_EXTENSION.size} bytes wanted, {end - at} left")
        kind, length = _EXTENSION.unpack_from(block, at)
        if kind in found:  # RFC 8446, RFC 9846 section 4.2: not more than one of the same type
            raise MalformedError(f"extension {kind} twice")
        at = start + length
        if at > end:
            raise MalformedError(f"extensions: {length} bytes wanted, {end - start} left")
        found[kind] = block[start:at]
    return found


def _server_name(extension: bytes | None) -> str | None:
    """The host_name of a server_name extension (RFC 6066 section 3)."""
    if not extension:
        return None
    outer = _Reader(extension, "server_name")
    names = _Reader(outer.vector(2, 1), "server_name")
    outer.end()
    while names.left:
        (kind,) = names.fields(_BYTE)
        name = names.vector(2)
        if kind == 0:
            return _printable(name)
    return None


def _protocol(extension: bytes | None) -> str | None:
    """The one protocol that a server's ALPN extension names (RFC 7301 section 3.1)."""
    if extension is None:
        return None
    outer = _Reader(extension, "ALPN")
    names = _Reader(outer.vector(2, 2), "ALPN")
    outer.end()
    name = names.vector(1, 1)
    names.end()
    return _printable(name)


def _pairs(data: bytes) -> tuple[int, ...]:
    """16-bit numbers; an odd byte at the end is left out."""
    pairs = len(data) // 2
    return unpack(f">{pairs}H", data[: 2 * pairs])


def _printable(name: bytes) -> str:
    """ASCII for display; anything that is not printable ASCII is escaped."""
    name = name[:MAX_NAME]
    if _PLAIN.match(name):
        return sys.intern(name.decode("ascii"))  # many connections, few names
    return "".join(chr(c) if 32 < c < 127 and c != 92 else f"\\x{c:02x}" for c in name)
