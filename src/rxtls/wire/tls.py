"""TLS on the wire: the record header, and handshake messages laid end to end over records.

A header, a message, a hello (hello.py) is parsed into a value that can only be legal, or `MalformedError` is raised;
nothing behind this file looks at a length field again. No state but what `Messages` must keep of an unfinished message,
and that is bounded.

    record   | type 1 | version 2 | length 2 | fragment ...      RFC 8446, RFC 9846 section 5.1; RFC 5246 section 6.2.1
    message  | type 1 | length 3 | body ...                      RFC 8446, RFC 9846 section 4;   RFC 5246 section 7.4

Records and messages do not align: a record may hold several messages, a message may span records. Keys change only
where both end (RFC 8446, RFC 9846 section 5.1), which is for the caller to demand.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from rxtls.errors import RxtlsError

Buffer = bytes | bytearray | memoryview

# Record types (RFC 8446, RFC 9846 section 5.1; heartbeat RFC 6520).
CHANGE_CIPHER_SPEC = 20
ALERT = 21
HANDSHAKE = 22
APPLICATION_DATA = 23
HEARTBEAT = 24

# Handshake message types (RFC 8446, RFC 9846 section 4; RFC 5246 section 7.4; the registry for the rest).
HELLO_REQUEST = 0
CLIENT_HELLO = 1
SERVER_HELLO = 2
NEW_SESSION_TICKET = 4
END_OF_EARLY_DATA = 5
ENCRYPTED_EXTENSIONS = 8
CERTIFICATE = 11
SERVER_KEY_EXCHANGE = 12
CERTIFICATE_REQUEST = 13
SERVER_HELLO_DONE = 14
CERTIFICATE_VERIFY = 15
CLIENT_KEY_EXCHANGE = 16
FINISHED = 20
CERTIFICATE_STATUS = 22
SUPPLEMENTAL_DATA = 23
KEY_UPDATE = 24
COMPRESSED_CERTIFICATE = 25
NEXT_PROTOCOL = 67  # draft-agl-tls-nextprotoneg: sent encrypted, before Finished
CHANNEL_ID = 203  # draft-balfanz-tls-channelid: likewise

RECORD_HEADER = 5
MESSAGE_HEADER = 4
# The most that any version lets a record's fragment have: TLS 1.2's allowance for expansion (RFC 5246 section 6.2.3).
MAX_FRAGMENT = 16384 + 2048

_HEADER = Struct(">BHH")
_TYPES = frozenset((CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA, HEARTBEAT))
# RFC 8446, RFC 9846 section 5.1: 0x0301 in an initial ClientHello, else 0x0303; older versions say their own.
_VERSIONS = frozenset((0x0300, 0x0301, 0x0302, 0x0303, 0x0304))

_NAMES = {
    HELLO_REQUEST: "HelloRequest",
    CLIENT_HELLO: "ClientHello",
    SERVER_HELLO: "ServerHello",
    NEW_SESSION_TICKET: "NewSessionTicket",
    6: "HelloRetryRequest (of a TLS 1.3 draft before 22)",
    END_OF_EARLY_DATA: "EndOfEarlyData",
    ENCRYPTED_EXTENSIONS: "EncryptedExtensions",
    CERTIFICATE: "Certificate",
    SERVER_KEY_EXCHANGE: "ServerKeyExchange",
    CERTIFICATE_REQUEST: "CertificateRequest",
    SERVER_HELLO_DONE: "ServerHelloDone",
    CERTIFICATE_VERIFY: "CertificateVerify",
    CLIENT_KEY_EXCHANGE: "ClientKeyExchange",
    FINISHED: "Finished",
    CERTIFICATE_STATUS: "CertificateStatus",
    SUPPLEMENTAL_DATA: "SupplementalData",
    KEY_UPDATE: "KeyUpdate",
    COMPRESSED_CERTIFICATE: "CompressedCertificate",
}

# RFC 8446, RFC 9846 section 6; RFC 5246 section 7.2 for those that only older versions have.
_ALERTS = {
    0: "close_notify",
    10: "unexpected_message",
    20: "bad_record_mac",
    22: "record_overflow",
    40: "handshake_failure",
    42: "bad_certificate",
    43: "unsupported_certificate",
    44: "certificate_revoked",
    45: "certificate_expired",
    46: "certificate_unknown",
    47: "illegal_parameter",
    48: "unknown_ca",
    49: "access_denied",
    50: "decode_error",
    51: "decrypt_error",
    70: "protocol_version",
    71: "insufficient_security",
    80: "internal_error",
    86: "inappropriate_fallback",
    90: "user_canceled",
    100: "no_renegotiation",
    109: "missing_extension",
    110: "unsupported_extension",
    112: "unrecognized_name",
    113: "bad_certificate_status_response",
    115: "unknown_psk_identity",
    116: "certificate_required",
    120: "no_application_protocol",
}


class MalformedError(RxtlsError):
    """Bytes that no TLS implementation may send where they stand. The text has lengths and codes, never content."""


class TooLargeError(MalformedError):
    """A handshake message that says it is longer than the bound given."""


class Alert(NamedTuple):
    """An alert's two bytes (RFC 8446, RFC 9846 section 6)."""

    level: int
    description: int

    @property
    def name(self) -> str:
        """The registry's name, or the number when it has none."""
        return _ALERTS.get(self.description, f"alert {self.description}")

    @property
    def ends(self) -> bool:
        """True when it ends its direction: close_notify, or fatal."""
        return self.level == 2 or self.description == 0


class Message(NamedTuple):
    """One whole handshake message."""

    type: int
    body: bytes

    @property
    def wire(self) -> bytes:
        """Header and body, as a transcript hash takes them."""
        return bytes([self.type]) + len(self.body).to_bytes(3) + self.body

    def __repr__(self) -> str:
        return f"Message({message_name(self.type)}, <{len(self.body)} bytes>)"


def record_header(data: Buffer, offset: int = 0) -> tuple[int, int, int] | None:
    """The record header at `offset`: type, version, bytes that follow it. None when fewer than five bytes are there.

    Raises MalformedError for a type or version that does not exist or a length beyond MAX_FRAGMENT. A type that has no
    business at its place is not judged here.
    """
    if len(data) - offset < RECORD_HEADER:
        return None
    kind, version, length = _HEADER.unpack_from(data, offset)
    if kind not in _TYPES:
        raise MalformedError(f"a record of type {kind}")
    if version not in _VERSIONS:
        raise MalformedError(f"a record of version {version >> 8}.{version & 0xFF}")
    if length > MAX_FRAGMENT:
        raise MalformedError(f"a record of {length} bytes")
    return kind, version, length


def alert(payload: bytes) -> Alert:
    """The alert in a record's plaintext.

    Raises MalformedError unless it is two bytes (RFC 8446 section 5.1: never split).
    """
    if len(payload) != 2:
        raise MalformedError(f"an alert of {len(payload)} bytes")
    return Alert(payload[0], payload[1])


def key_update(body: bytes) -> bool:
    """Whether a KeyUpdate asks for one in return (RFC 8446, RFC 9846 section 4.6.3). Raises MalformedError."""
    if body not in (b"\0", b"\1"):
        raise MalformedError(f"a KeyUpdate of {len(body)} bytes")
    return body == b"\1"


def message_name(kind: int) -> str:
    """A handshake message type in words."""
    return _NAMES.get(kind, f"handshake message {kind}")


class Messages:
    """Joins the handshake fragments of one direction into messages. Holds at most one unfinished one, up to `limit`."""

    __slots__ = ("_held", "_limit")

    def __init__(self, limit: int) -> None:
        self._held = bytearray()
        self._limit = limit

    @property
    def unfinished(self) -> bool:
        """True while part of a message has come."""
        return bool(self._held)

    def forget(self) -> None:
        """What has come of a message is all that will."""
        self._held.clear()

    def feed(self, fragment: bytes) -> list[Message]:
        """The messages that `fragment`, a handshake record's plaintext, completes.

        Raises MalformedError for an empty fragment, which is never sent (RFC 5246 section 6.2.1; RFC 8446, RFC 9846
        section 5.1), and TooLargeError for a message that says it is longer than `limit` bytes.
        """
        if not fragment:
            raise MalformedError("an empty handshake record")
        body = fragment[MESSAGE_HEADER:]
        if not self._held and int.from_bytes(fragment[1:MESSAGE_HEADER]) == len(body) <= self._limit and body:
            return [Message(fragment[0], body)]  # as a rule a record holds one message, and all of it
        data = self._held
        data += fragment  # amortised: fragments of one byte must not cost their square
        found: list[Message] = []
        at = 0
        while len(data) - at >= MESSAGE_HEADER:
            length = int.from_bytes(data[at + 1 : at + MESSAGE_HEADER])
            if length > self._limit:
                raise TooLargeError(f"{message_name(data[at])} of {length} bytes")
            end = at + MESSAGE_HEADER + length
            if end > len(data):
                break
            found.append(Message(data[at], bytes(data[at + MESSAGE_HEADER : end])))
            at = end
        del data[:at]
        return found
