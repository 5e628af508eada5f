from __future__ import annotations

import pytest

from rxtls.crypto.keys import Keys, ciphertext_length
from rxtls.crypto.suites import SUITES, Version
from rxtls.errors import RecordError
from sample_keys import ALL_SHAPES, sample_keys, shape_name

# FreeBSD's framing (specification, section 1): suite, version -> IV given, hlen, tlen, shortest record, longest record.
FRAMING = [
    (0xC02F, Version.TLS12, 4, 13, 16, 29, 13 + 16384 + 16),
    (0x1301, Version.TLS13, 12, 5, 17, 22, 5 + 16384 + 17),
    (0xCCA8, Version.TLS12, 12, 5, 16, 21, 5 + 16384 + 16),
    (0x1303, Version.TLS13, 12, 5, 17, 22, 5 + 16384 + 17),
    (0xC09C, Version.TLS12, 4, 13, 16, 29, 13 + 16384 + 16),
    (0xC0A0, Version.TLS12, 4, 13, 8, 21, 13 + 16384 + 8),
    (0x1305, Version.TLS13, 12, 5, 9, 14, 5 + 16384 + 9),
    (0x002F, Version.TLS11, 0, 21, 36, 21 + 32, 21 + 16384 + 36),
    (0x003C, Version.TLS12, 0, 21, 48, 21 + 48, 21 + 16384 + 48),
    (0xC024, Version.TLS12, 0, 21, 64, 21 + 64, 21 + 16384 + 64),
]


@pytest.mark.parametrize(("code", "version", "iv", "hlen", "tlen", "shortest", "longest"), FRAMING)
def test_framing(code: int, version: Version, iv: int, hlen: int, tlen: int, shortest: int, longest: int) -> None:
    keys = sample_keys(SUITES[code], version)
    got = (len(keys.iv), keys.header_length, keys.max_trailer, keys.min_total, keys.max_total)
    assert got == (iv, hlen, tlen, shortest, longest)


def test_shortest_record_with_encrypt_then_mac() -> None:
    assert sample_keys(SUITES[0x002F], Version.TLS12, encrypt_then_mac=True).min_total == 21 + 16 + 20


@pytest.mark.parametrize("keys", ALL_SHAPES, ids=shape_name)
def test_repr_shows_no_secret(keys: Keys) -> None:
    shown = repr(keys) + str(keys)
    assert keys.suite.name in shown
    for secret in (keys.key, keys.iv, keys.mac_key):
        assert not secret or (repr(secret) not in shown and secret.hex() not in shown)


GCM12, GCM13, CBC = SUITES[0xC02F], SUITES[0x1301], SUITES[0x002F]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Keys(GCM13, Version.TLS12, bytes(16), bytes(12)), "does not exist in TLS12"),
        (lambda: Keys(GCM12, Version.TLS13, bytes(16), bytes(12)), "does not exist in TLS13"),
        (lambda: Keys(GCM12, Version.TLS11, bytes(16), bytes(4)), "does not exist in TLS11"),
        (lambda: Keys(GCM13, Version.TLS13, bytes(32), bytes(12)), "a key of 16 bytes, not 32"),
        (lambda: Keys(GCM13, Version.TLS13, bytes(16), bytes(4)), "an IV of 12 bytes, not 4"),
        (lambda: Keys(GCM13, Version.TLS13, bytes(16), bytes(12), bytes(20)), "a MAC key of 0 bytes, not 20"),
        (lambda: Keys(CBC, Version.TLS12, bytes(16), b"", bytes(32)), "a MAC key of 20 bytes, not 32"),
        (lambda: Keys(GCM12, Version.TLS12, bytes(16), bytes(4), b"", True), "encrypt-then-MAC"),
    ],
)
def test_illegal_keys_cannot_exist(make: object, said: str) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=said):
        make()


def test_nonces_and_additional_data() -> None:
    number = 0x0102030405060708
    gcm12 = sample_keys(GCM12, Version.TLS12)
    header = bytes.fromhex("17 0303 0020 a0a1a2a3a4a5a6a7")
    # RFC 5288 section 3: salt and explicit nonce as received; the number is in the additional data only.
    assert gcm12.nonce(number, header) == gcm12.iv + header[5:]
    assert gcm12.additional_data(number, header, 8) == bytes.fromhex("0102030405060708 17 0303 0008")
    # RFC 8446, RFC 9846 section 5.3: all 64 bits of the number XOR the last 8 bytes of the IV.
    for keys in (sample_keys(GCM13, Version.TLS13), sample_keys(SUITES[0xCCA8], Version.TLS12)):
        nonce = keys.nonce(number, header[:5])
        assert nonce[:4] == keys.iv[:4]
        assert int.from_bytes(nonce[4:]) ^ int.from_bytes(keys.iv[4:]) == number
    assert sample_keys(GCM13, Version.TLS13).additional_data(number, header, 16) == header[:5]


def test_ciphertext_length() -> None:
    gcm12 = sample_keys(GCM12, Version.TLS12)
    assert ciphertext_length(gcm12, bytes.fromhex("17 0303 0020") + bytes(8)) == 0x20 - 8 - 16
    for length in (23, 8 + 16384 + 16 + 1):
        with pytest.raises(RecordError) as caught:
            ciphertext_length(gcm12, b"\x17\x03\x03" + length.to_bytes(2) + bytes(8))
        assert caught.value.errno_name == "EMSGSIZE"
    with pytest.raises(ValueError, match="a header of 5 bytes, not 13"):
        ciphertext_length(gcm12, bytes.fromhex("17 0303 0020"))
