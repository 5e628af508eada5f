"""Handshake messages with the right form and arbitrary content, for simulated connections.

Only what a passive observer reads has meaning: versions, randoms, session ids, suites, SNI, ALPN, and the extensions
that change keys or records. Everything else is random bytes of a plausible length.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from rxtls.crypto.suites import Suite, Version
from rxtls.simulation.certificate import certificate

HELLO_REQUEST, CLIENT_HELLO, SERVER_HELLO, NEW_SESSION_TICKET, END_OF_EARLY_DATA = 0, 1, 2, 4, 5
ENCRYPTED_EXTENSIONS, CERTIFICATE, SERVER_KEY_EXCHANGE, SERVER_HELLO_DONE, CERTIFICATE_VERIFY = 8, 11, 12, 14, 15
CLIENT_KEY_EXCHANGE, FINISHED = 16, 20

SNI, GROUPS, POINT_FORMATS, SIGNATURES, ALPN, ENCRYPT_THEN_MAC, EXTENDED_MASTER = 0, 10, 11, 13, 16, 22, 23
SESSION_TICKET, PRE_SHARED_KEY, EARLY_DATA, SUPPORTED_VERSIONS, PSK_MODES, KEY_SHARE = 35, 41, 42, 43, 45, 51
RENEGOTIATION_INFO = 0xFF01

X25519, P256 = b"\x00\x1d", b"\x00\x17"
RSA_PSS, ECDSA_P256 = b"\x08\x04", b"\x04\x03"
RETRY_RANDOM = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")  # RFC 8446 4.1.3


def message(kind: int, body: bytes) -> bytes:
    """A handshake message: type, 24-bit length, body."""
    return bytes([kind]) + len(body).to_bytes(3) + body


HELLO_DONE = message(SERVER_HELLO_DONE, b"")


@dataclass(frozen=True)
class Offer:
    """What a ClientHello offers. `suite` is what the server will take; a few others are offered beside it."""

    random: bytes
    session_id: bytes
    suite: Suite
    version: Version
    sni: str | None = None
    alpn: str | None = None
    psk: bool = False
    early_data: bool = False
    extended_master: bool = False
    encrypt_then_mac: bool = False
    ticket: bytes = b""


def client_hello(offer: Offer, dice: Random) -> bytes:
    """ClientHello (RFC 8446, RFC 9846 section 4.1.2; RFC 5246 section 7.4.1.2)."""
    modern = offer.version is Version.TLS13
    others = (0x1301, 0x1302, 0x1303, 0xC02F, 0xC02B) if modern else (0xC02F, 0xC02B)
    suites = [offer.suite.code, *(code for code in others if code != offer.suite.code), 0x00FF]
    extensions = [
        (GROUPS, vector(2, X25519 + P256)),
        (POINT_FORMATS, vector(1, b"\0")),
        (SIGNATURES, vector(2, RSA_PSS + ECDSA_P256)),
        (SESSION_TICKET, offer.ticket),
    ]
    if offer.sni:
        extensions.insert(0, (SNI, vector(2, b"\0" + vector(2, offer.sni.encode()))))  # RFC 6066 section 3
    if offer.alpn:
        names = [offer.alpn] if offer.alpn == "h2" else ["h2", offer.alpn]
        extensions.append((ALPN, vector(2, b"".join(vector(1, name.encode()) for name in names))))
    if offer.encrypt_then_mac:
        extensions.append((ENCRYPT_THEN_MAC, b""))
    if offer.extended_master or modern:
        extensions.append((EXTENDED_MASTER, b""))
    if modern:
        extensions.append((SUPPORTED_VERSIONS, vector(1, b"\x03\x04\x03\x03")))
        extensions.append((PSK_MODES, vector(1, b"\x01")))
        extensions.append((KEY_SHARE, vector(2, X25519 + vector(2, dice.randbytes(32)))))
        if offer.early_data:
            extensions.append((EARLY_DATA, b""))
        if offer.psk:  # must be the last (RFC 8446, RFC 9846 section 4.2.11)
            identity = vector(2, dice.randbytes(112)) + dice.randbytes(4)
            extensions.append((PRE_SHARED_KEY, vector(2, identity) + vector(2, vector(1, dice.randbytes(32)))))
    version = min(offer.version, 0x0303).to_bytes(2)
    codes = b"".join(code.to_bytes(2) for code in suites)
    body = version + offer.random + vector(1, offer.session_id) + vector(2, codes) + vector(1, b"\0")
    return message(CLIENT_HELLO, body + extension_block(extensions))


def server_hello13(offer: Offer, dice: Random) -> bytes:
    """ServerHello of TLS 1.3 (RFC 8446, RFC 9846 section 4.1.3)."""
    extensions = [
        (SUPPORTED_VERSIONS, b"\x03\x04"),
        (KEY_SHARE, X25519 + vector(2, dice.randbytes(32))),
    ]
    if offer.psk:
        extensions.append((PRE_SHARED_KEY, b"\0\0"))
    return _server_hello(offer, dice.randbytes(32), offer.session_id, extensions)


def hello_retry_request(offer: Offer, dice: Random) -> bytes:
    """HelloRetryRequest: a ServerHello with a known random (RFC 8446, RFC 9846 section 4.1.4)."""
    cookie = vector(2, dice.randbytes(32))
    extensions = [(SUPPORTED_VERSIONS, b"\x03\x04"), (KEY_SHARE, X25519), (44, cookie)]
    return _server_hello(offer, RETRY_RANDOM, offer.session_id, extensions)


def server_hello12(offer: Offer, random: bytes, session_id: bytes) -> bytes:
    """ServerHello of TLS 1.1 and 1.2 (RFC 5246 section 7.4.1.3)."""
    extensions = [(RENEGOTIATION_INFO, vector(1, b"")), (SESSION_TICKET, b"")]
    if offer.alpn:
        extensions.append((ALPN, vector(2, vector(1, offer.alpn.encode()))))
    if offer.encrypt_then_mac:
        extensions.append((ENCRYPT_THEN_MAC, b""))
    if offer.extended_master:
        extensions.append((EXTENDED_MASTER, b""))
    return _server_hello(offer, random, session_id, extensions)


def encrypted_extensions(alpn: str | None, early_data: bool) -> bytes:
    """EncryptedExtensions; `early_data` says that the server takes it (RFC 8446, RFC 9846 section 4.3.1, 4.2.10)."""
    extensions = [(GROUPS, vector(2, X25519 + P256))]
    if alpn:
        extensions.append((ALPN, vector(2, vector(1, alpn.encode()))))
    if early_data:
        extensions.append((EARLY_DATA, b""))
    return message(ENCRYPTED_EXTENSIONS, extension_block(extensions))


def certificate13(name: str, dice: Random) -> bytes:
    """Certificate with a chain of two (RFC 8446, RFC 9846 section 4.4.2)."""
    entries = b"".join(vector(3, link) + vector(2, b"") for link in _chain(name, dice))
    return message(CERTIFICATE, vector(1, b"") + vector(3, entries))


def certificate12(name: str, dice: Random) -> bytes:
    """Certificate with a chain of two (RFC 5246 section 7.4.2)."""
    return message(CERTIFICATE, vector(3, b"".join(vector(3, link) for link in _chain(name, dice))))


def certificate_verify(dice: Random) -> bytes:
    """CertificateVerify (RFC 8446, RFC 9846 section 4.4.3)."""
    return message(CERTIFICATE_VERIFY, RSA_PSS + vector(2, dice.randbytes(256)))


def server_key_exchange(suite: Suite, version: Version, dice: Random) -> bytes:
    """ServerKeyExchange of ECDHE (RFC 8422 section 5.4), whatever else the suite says; nothing with static RSA keys."""
    if _static_rsa(suite):
        return b""
    algorithm = RSA_PSS if version is Version.TLS12 else b""  # RFC 5246 section 7.4.3: before, no word of it
    signature = algorithm + vector(2, dice.randbytes(256))
    return message(SERVER_KEY_EXCHANGE, b"\x03" + X25519 + vector(1, dice.randbytes(32)) + signature)


def client_key_exchange(suite: Suite, dice: Random) -> bytes:
    """ClientKeyExchange of ECDHE (RFC 8422 section 5.7) or of static RSA (RFC 5246 section 7.4.7.1)."""
    secret = vector(2, dice.randbytes(256)) if _static_rsa(suite) else vector(1, dice.randbytes(32))
    return message(CLIENT_KEY_EXCHANGE, secret)


def finished(dice: Random, length: int) -> bytes:
    """Finished with verify_data of `length` bytes: the hash's in TLS 1.3, 12 before."""
    return message(FINISHED, dice.randbytes(length))


def ticket13(dice: Random) -> bytes:
    """NewSessionTicket (RFC 8446, RFC 9846 section 4.6.1)."""
    fixed = (7200).to_bytes(4) + dice.randbytes(4)
    return message(NEW_SESSION_TICKET, fixed + vector(1, dice.randbytes(8)) + vector(2, dice.randbytes(192)) + b"\0\0")


def ticket12(dice: Random) -> bytes:
    """NewSessionTicket (RFC 5077 section 3.3)."""
    return message(NEW_SESSION_TICKET, (7200).to_bytes(4) + vector(2, dice.randbytes(176)))


def vector(width: int, data: bytes) -> bytes:
    """A variable-length vector: `width` bytes of length, then the data (RFC 8446, RFC 9846 section 3.4)."""
    return len(data).to_bytes(width) + data


def extension_block(extensions: list[tuple[int, bytes]]) -> bytes:
    """The extensions of a hello."""
    return vector(2, b"".join(kind.to_bytes(2) + vector(2, data) for kind, data in extensions))


def _static_rsa(suite: Suite) -> bool:
    return suite.name.startswith("TLS_RSA_WITH")


def _chain(name: str, dice: Random) -> tuple[bytes, bytes]:
    return certificate(name, "Nobody CA", dice), certificate("Nobody CA", "Nobody Root", dice)


def _server_hello(offer: Offer, random: bytes, session_id: bytes, extensions: list[tuple[int, bytes]]) -> bytes:
    version = min(offer.version, 0x0303).to_bytes(2)
    body = version + random + vector(1, session_id) + offer.suite.code.to_bytes(2) + b"\0"
    return message(SERVER_HELLO, body + extension_block(extensions))
