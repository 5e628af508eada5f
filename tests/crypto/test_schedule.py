from __future__ import annotations

import hmac

import pytest
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from hypothesis import given
from hypothesis import strategies as st

from rxtls.crypto.keys import Keys
from rxtls.crypto.schedule import (
    PrfHash,
    expand_label,
    master_from_premaster,
    prf_tls11,
    prf_tls12,
    tls12_keys,
    tls13_keys,
    tls13_next_secret,
)
from rxtls.crypto.suites import SUITES, TLS13_SUITES, Suite, Version

# RFC 8448 section 3 (simple 1-RTT) and section 4 (the early data of the resumed session): secret -> key, IV
RFC8448_TRAFFIC_KEYS = [
    (
        "b3eddb126e067f35a780b3abf45e2d8f3b1a950738f52e9600746a0e27a55a21",
        "dbfaa693d1762c5b666af5d950258d01",
        "5bd3c71b836e0b76bb73265f",
    ),
    (
        "b67b7d690cc16c4e75e54213cb2d37b4e9c912bcded9105d42befd59d391ad38",
        "3fce516009c21727d0f2e4e86ee403bc",
        "5d313eb2671276ee13000b30",
    ),
    (
        "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5",
        "17422dda596ed5d9acd890e3c63f5051",
        "5b78923dee08579033e523d9",
    ),
    (
        "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643",
        "9f02283b6c9c07efc26bb9f2ac92e356",
        "cf782b88dd83549aadf1e984",
    ),
    (
        "3fbbe6a60deb66c30a32795aba0eff7eaa10105586e7be5c09678d63b6caab62",
        "920205a5b7bf2115e6fc5c2942834f54",
        "6d475f0993c8e564610db2b9",
    ),
]


@pytest.mark.parametrize(("secret", "key", "iv"), RFC8448_TRAFFIC_KEYS)
def test_traffic_keys_of_rfc8448(secret: str, key: str, iv: str) -> None:
    keys = tls13_keys(SUITES[0x1301], bytes.fromhex(secret))
    assert (keys.key.hex(), keys.iv.hex(), keys.version) == (key, iv, Version.TLS13)


@given(st.sampled_from(TLS13_SUITES), st.binary(min_size=32, max_size=48))
def test_expand_label_is_hkdf_expand(suite: Suite, secret: bytes) -> None:
    def reference(label: bytes, length: int) -> bytes:
        # RFC 8446, RFC 9846 section 7.1: struct { uint16 length; opaque label<7..255>; opaque context<0..255>; }
        info = length.to_bytes(2) + bytes([6 + len(label)]) + b"tls13 " + label + b"\0"
        return HKDFExpand(SHA384() if suite.prf_hash == "sha384" else SHA256(), length, info).derive(secret)

    keys = tls13_keys(suite, secret)
    assert keys.key == reference(b"key", suite.key_length)
    assert keys.iv == reference(b"iv", 12)
    assert tls13_next_secret(suite, secret) == reference(b"traffic upd", 48 if suite.prf_hash == "sha384" else 32)
    assert expand_label(suite.prf_hash, secret, b"long", b"", 100) == reference(b"long", 100)


# The P_SHA256 and P_SHA384 vectors that implementers of TLS 1.2 have passed around since 2009.
PRF_TLS12 = [
    (
        "sha256",
        "9bbe436ba940f017b17652849a71db35",
        "a0ba9f936cda311827a6f796ffd5198c",
        "e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a6b301791e90d35c9c9a46b4e14baf9af"
        "0fa022f7077def17abfd3797c0564bab4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff70187347b66",
    ),
    (
        "sha384",
        "b80b733d6ceefcdc71566ea48e5567df",
        "cd665cf6a8447dd6ff8b27555edb7465",
        "7b0c18e9ced410ed1804f2cfa34a336a1c14dffb4900bb5fd7942107e81c83cde9ca0faa60be9fe34f82b1233c9146a0"
        "e534cb400fed2700884f9dc236f80edd8bfa961144c9e8d792eca722a7b32fc3d416d473ebc2c5fd4abfdad05d9184259b5bf8cd4d90fa0d31e2dec479e4f1a26066f2eea9a69236a3e52655c9e9aee691c8f3a26854308d5eaa3be85e0990703d73e56f",
    ),
]


@pytest.mark.parametrize(("digest", "secret", "seed", "output"), PRF_TLS12)
def test_prf_of_tls12(digest: str, secret: str, seed: str, output: str) -> None:
    assert digest in ("sha256", "sha384")
    length = len(output) // 2
    made = prf_tls12(
        "sha256" if digest == "sha256" else "sha384", bytes.fromhex(secret), b"test label", bytes.fromhex(seed), length
    )
    assert made.hex() == output


def reference_p_hash(digest: str, secret: bytes, seed: bytes, length: int) -> bytes:
    """RFC 4346 section 5, as written: A(i) by recursion, then HMAC(secret, A(i) + seed) joined."""

    def a(i: int) -> bytes:
        return seed if i == 0 else hmac.digest(secret, a(i - 1), digest)

    return b"".join(hmac.digest(secret, a(i) + seed, digest) for i in range(1, length // 16 + 2))[:length]


@given(st.binary(max_size=49), st.binary(max_size=64), st.integers(0, 150))
def test_prf_of_tls11(secret: bytes, seed: bytes, length: int) -> None:
    # "S1 and S2 are the two halves of the secret, and each is the same length": an odd middle byte is shared.
    half = -(-len(secret) // 2)
    md5 = reference_p_hash("md5", secret[:half], b"label" + seed, length)
    sha1 = reference_p_hash("sha1", secret[-half:] if half else b"", b"label" + seed, length)
    assert prf_tls11(secret, b"label", seed, length) == bytes(x ^ y for x, y in zip(md5, sha1, strict=True))


@given(st.sampled_from(["sha256", "sha384"]), st.binary(max_size=300), st.binary(max_size=64), st.integers(0, 150))
def test_prf_of_tls12_as_written(digest: PrfHash, secret: bytes, seed: bytes, length: int) -> None:
    """Premaster secrets may be longer than the hash's block, where HMAC hashes them first (RFC 2104 section 2)."""
    made = prf_tls12(digest, secret, b"label", seed, length)
    assert made == reference_p_hash(digest, secret, b"label" + seed, length)


def test_key_block_is_cut_in_the_order_of_rfc5246() -> None:
    suite = SUITES[0x002F]
    client_random, server_random = b"c" * 32, b"s" * 32
    client, server = tls12_keys(suite, Version.TLS12, b"m" * 48, client_random, server_random, encrypt_then_mac=True)
    block = prf_tls12("sha256", b"m" * 48, b"key expansion", server_random + client_random, 104)
    assert client.mac_key + server.mac_key + client.key + server.key == block[:72]
    assert client.encrypt_then_mac
    assert server.encrypt_then_mac

    suite = SUITES[0xC030]
    client, server = tls12_keys(suite, Version.TLS12, b"m" * 48, client_random, server_random, encrypt_then_mac=True)
    block = prf_tls12("sha384", b"m" * 48, b"key expansion", server_random + client_random, 72)
    assert client.key + server.key + client.iv + server.iv == block
    # RFC 7366 section 3: with an AEAD suite a server must not agree to it; if one did, it means nothing.
    assert not client.encrypt_then_mac


def test_a_suite_of_another_version_has_no_key_block() -> None:
    with pytest.raises(ValueError, match="does not exist in TLS11"):
        tls12_keys(SUITES[0xC030], Version.TLS11, bytes(48), bytes(32), bytes(32))


def test_master_secrets() -> None:
    suite, premaster = SUITES[0xC02F], b"p" * 48
    plain = master_from_premaster(suite, Version.TLS12, premaster, b"c" * 32, b"s" * 32)
    assert plain == prf_tls12("sha256", premaster, b"master secret", b"c" * 32 + b"s" * 32, 48)
    # RFC 7627 section 4: the session hash takes the place of the randoms.
    extended = master_from_premaster(suite, Version.TLS12, premaster, b"c" * 32, b"s" * 32, session_hash=b"h" * 32)
    assert extended == prf_tls12("sha256", premaster, b"extended master secret", b"h" * 32, 48)
    old = master_from_premaster(SUITES[0x002F], Version.TLS11, premaster, b"c" * 32, b"s" * 32)
    assert old == prf_tls11(premaster, b"master secret", b"c" * 32 + b"s" * 32, 48)


def test_wrong_secrets_are_keys_too() -> None:
    assert isinstance(tls13_keys(SUITES[0x1302], b""), Keys)
