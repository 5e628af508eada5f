"""From secrets to keys: the PRF of TLS 1.1 and 1.2, HKDF-Expand-Label of TLS 1.3, and what is made with them.

Functions of their arguments, no state. A secret's length is not checked against its hash: HMAC takes any key, so a
wrong one gives keys that open nothing, which is the answer a wrong secret deserves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache
from typing import Literal

from rxtls.crypto.keys import TLS13_IV, Keys, shape
from rxtls.crypto.suites import Family, Suite, Version

PrfHash = Literal["sha256", "sha384"]

HASH_LENGTH: dict[PrfHash, int] = {"sha256": 32, "sha384": 48}

# Each hash and the bytes of its block.
_HASHES: dict[str, tuple[Callable[[bytes], hashlib._Hash], int]] = {
    "md5": (hashlib.md5, 64),
    "sha1": (hashlib.sha1, 64),
    "sha256": (hashlib.sha256, 64),
    "sha384": (hashlib.sha384, 128),
}
_INNER, _OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))  # RFC 2104: ipad, opad


def tls13_keys(suite: Suite, secret: bytes) -> Keys:
    """Record keys of one direction from its traffic secret (RFC 8446, RFC 9846 section 7.3)."""
    hmac = _hmac(suite.prf_hash, secret)  # whose hash is as long as any key, so that one block expands to all of it
    key = hmac(_info(b"key", b"", suite.key_length) + b"\1")[: suite.key_length]
    return Keys(suite, Version.TLS13, key, hmac(_info(b"iv", b"", TLS13_IV) + b"\1")[:TLS13_IV])


def tls13_next_secret(suite: Suite, secret: bytes) -> bytes:
    """The traffic secret after a KeyUpdate, application_traffic_secret_N+1 (RFC 8446, RFC 9846 section 7.2)."""
    return expand_label(suite.prf_hash, secret, b"traffic upd", b"", HASH_LENGTH[suite.prf_hash])


def tls12_keys(
    suite: Suite,
    version: Version,
    master: bytes,
    client_random: bytes,
    server_random: bytes,
    encrypt_then_mac: bool = False,
) -> tuple[Keys, Keys]:
    """Record keys (client write, server write) of TLS 1.1 or 1.2 from the 48-byte master secret (RFC 5246 section 6.3).

    `encrypt_then_mac` says that the extension of RFC 7366 was agreed on; with an AEAD suite it has no meaning and is
    dropped, as RFC 7366 section 3 forbids it there. Raises ValueError when the suite does not exist in that version.
    """
    etm = encrypt_then_mac and suite.family is Family.AES_CBC
    key, iv, mac, *_ = shape(suite, version, etm)
    block = prf(suite, version, master, b"key expansion", server_random + client_random, 2 * (mac + key + iv))

    def take(side: int) -> Keys:
        # client MAC, server MAC, client key, server key, client IV, server IV
        at_key, at_iv = 2 * mac + side * key, 2 * (mac + key) + side * iv
        return Keys(
            suite,
            version,
            block[at_key : at_key + key],
            block[at_iv : at_iv + iv],
            block[side * mac : side * mac + mac],
            etm,
        )

    return take(0), take(1)


def master_from_premaster(
    suite: Suite,
    version: Version,
    premaster: bytes,
    client_random: bytes,
    server_random: bytes,
    session_hash: bytes | None = None,
) -> bytes:
    """The 48-byte master secret of TLS 1.1 or 1.2.

    With `session_hash` (the hash of the handshake up to ClientKeyExchange) it is the extended master secret of RFC 7627
    section 4, else that of RFC 5246 section 8.1.
    """
    if session_hash is not None:
        return prf(suite, version, premaster, b"extended master secret", session_hash, 48)
    return prf(suite, version, premaster, b"master secret", client_random + server_random, 48)


def prf(suite: Suite, version: Version, secret: bytes, label: bytes, seed: bytes, length: int) -> bytes:
    """`length` bytes of the version's pseudorandom function."""
    if version is Version.TLS11:
        return prf_tls11(secret, label, seed, length)
    return prf_tls12(suite.prf_hash, secret, label, seed, length)


def prf_tls12(prf_hash: PrfHash, secret: bytes, label: bytes, seed: bytes, length: int) -> bytes:
    """PRF of TLS 1.2: P_hash(secret, label + seed) (RFC 5246 section 5)."""
    return _p_hash(prf_hash, secret, label + seed, length)


def prf_tls11(secret: bytes, label: bytes, seed: bytes, length: int) -> bytes:
    """PRF of TLS 1.0 and 1.1: P_MD5 XOR P_SHA1, each over one half of the secret (RFC 4346 section 5)."""
    half = (len(secret) + 1) // 2  # an odd secret's middle byte belongs to both halves
    md5 = _p_hash("md5", secret[:half], label + seed, length)
    sha1 = _p_hash("sha1", secret[len(secret) - half :], label + seed, length)
    return bytes(a ^ b for a, b in zip(md5, sha1, strict=True))


def expand_label(prf_hash: PrfHash, secret: bytes, label: bytes, context: bytes, length: int) -> bytes:
    """HKDF-Expand-Label (RFC 8446, RFC 9846 section 7.1). `label` comes without its "tls13 " prefix."""
    info, hmac = _info(label, context, length), _hmac(prf_hash, secret)
    out, block = b"", b""
    while len(out) < length:  # HKDF-Expand, RFC 5869 section 2.3
        block = hmac(block + info + bytes([len(out) // HASH_LENGTH[prf_hash] + 1]))
        out += block
    return out[:length]


@lru_cache(maxsize=64)
def _info(label: bytes, context: bytes, length: int) -> bytes:
    """HkdfLabel (ibid.). A handful of them are asked for, each for every key there is."""
    full = b"tls13 " + label
    return length.to_bytes(2) + bytes([len(full)]) + full + bytes([len(context)]) + context


def _p_hash(digest: str, secret: bytes, seed: bytes, length: int) -> bytes:
    hmac = _hmac(digest, secret)
    out, a = b"", seed
    while len(out) < length:
        a = hmac(a)
        out += hmac(a + seed)
    return out[:length]


def _hmac(digest: str, key: bytes) -> Callable[[bytes], bytes]:
    """HMAC with this key (RFC 2104), for several short messages.

    The standard library's one-shot looks the hash up in OpenSSL each time, which takes longer than to hash.
    """
    make, block = _HASHES[digest]
    padded = (key if len(key) <= block else make(key).digest()).ljust(block, b"\0")
    inner, outer = padded.translate(_INNER), padded.translate(_OUTER)

    def hmac(message: bytes) -> bytes:
        return make(outer + make(inner + message).digest()).digest()

    return hmac
