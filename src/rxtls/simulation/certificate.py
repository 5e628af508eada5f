"""A certificate with the right form (DER, RFC 5280 section 4.1) and nothing behind it: key and signature are random.

Dissectors take certificates apart and stop at one that is no certificate, so the form has to be right.
"""

from __future__ import annotations

from random import Random

INTEGER, BIT_STRING, NULL, OBJECT, UTF8, SEQUENCE, SET, UTC_TIME, EXPLICIT_0 = 2, 3, 5, 6, 12, 0x30, 0x31, 23, 0xA0

COMMON_NAME = bytes.fromhex("550403")
RSA_ENCRYPTION = bytes.fromhex("2a864886f70d010101")
SHA256_WITH_RSA = bytes.fromhex("2a864886f70d01010b")


def certificate(subject: str, issuer: str, dice: Random) -> bytes:
    """An X.509 certificate of `subject`, with a 2048-bit RSA key that nobody knows."""
    modulus = bytes(1) + bytes([dice.randrange(128, 256)]) + dice.randbytes(255)
    key = der(SEQUENCE, der(INTEGER, modulus), der(INTEGER, b"\x01\x00\x01"))
    signed_with = der(SEQUENCE, der(OBJECT, SHA256_WITH_RSA), der(NULL))
    body = der(
        SEQUENCE,
        der(EXPLICIT_0, der(INTEGER, b"\x02")),  # version 3
        der(INTEGER, b"\x01" + dice.randbytes(15)),
        signed_with,
        _name(issuer),
        der(SEQUENCE, der(UTC_TIME, b"250101000000Z"), der(UTC_TIME, b"350101000000Z")),
        _name(subject),
        der(SEQUENCE, der(SEQUENCE, der(OBJECT, RSA_ENCRYPTION), der(NULL)), der(BIT_STRING, b"\0", key)),
    )
    return der(SEQUENCE, body, signed_with, der(BIT_STRING, b"\0", dice.randbytes(256)))


def der(kind: int, *parts: bytes) -> bytes:
    """One DER element of identifier octet `kind` (X.690 section 8.1)."""
    content = b"".join(parts)
    length = len(content)
    if length < 0x80:
        return bytes([kind, length]) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes([kind, 0x80 | len(octets)]) + octets + content


def _name(common_name: str) -> bytes:
    return der(SEQUENCE, der(SET, der(SEQUENCE, der(OBJECT, COMMON_NAME), der(UTF8, common_name.encode()))))
