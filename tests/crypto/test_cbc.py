from __future__ import annotations

import hmac

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from rxtls.crypto.keys import Keys
from rxtls.crypto.records import Opened, Opener, Sealer
from rxtls.crypto.suites import SUITES, Version
from rxtls.errors import RecordError
from sample_keys import ALL_SHAPES, made_up, sample_keys, shape_name

CBC_SHAPES = [keys for keys in ALL_SHAPES if keys.suite.mac]
MTE = [keys for keys in CBC_SHAPES if not keys.encrypt_then_mac]
ETM = [keys for keys in CBC_SHAPES if keys.encrypt_then_mac]
IV = made_up(16, "iv")


def encrypted(keys: Keys, plaintext: bytes) -> bytes:
    return Cipher(AES(keys.key), CBC(IV)).encryptor().update(plaintext)


def mac(keys: Keys, number: int, type_: int, data: bytes) -> bytes:
    start = number.to_bytes(8) + bytes([type_]) + keys.version.wire.to_bytes(2) + len(data).to_bytes(2)
    return hmac.digest(keys.mac_key, start + data, keys.suite.mac or "")


def record(keys: Keys, body: bytes) -> bytes:
    return b"\x17" + keys.version.wire.to_bytes(2) + len(body).to_bytes(2) + body


def refused(keys: Keys, body: bytes) -> RecordError:
    with pytest.raises(RecordError) as caught:
        Opener(keys).open(9, record(keys, body))
    return caught.value


@pytest.mark.parametrize("keys", MTE, ids=shape_name)
@pytest.mark.parametrize("length", [0, 1, 11, 12, 100])
def test_every_legal_padding_with_mac_then_encrypt(keys: Keys, length: int) -> None:
    payload = made_up(length, "payload")
    content = payload + mac(keys, 9, 23, payload)
    for pad in range((15 - len(content)) % 16, 256, 16):
        body = IV + encrypted(keys, content + bytes([pad]) * (pad + 1))
        assert Opener(keys).open(9, record(keys, body)) == Opened(23, payload)
        assert Sealer(keys).seal(9, 23, payload, pad - pad % 16, IV) == record(keys, body)


@pytest.mark.parametrize("keys", ETM, ids=shape_name)
@pytest.mark.parametrize("length", [0, 1, 15, 16, 100])
def test_every_legal_padding_with_encrypt_then_mac(keys: Keys, length: int) -> None:
    # RFC 7366 section 3: MAC(number, type, version, length, IV, ENC(content, padding, padding length)), where length
    # counts IV and ENC(...) only.
    payload = made_up(length, "payload")
    for pad in range((15 - length) % 16, 256, 16):
        body = IV + encrypted(keys, payload + bytes([pad]) * (pad + 1))
        body += mac(keys, 9, 23, body)
        assert Opener(keys).open(9, record(keys, body)) == Opened(23, payload)
        assert Sealer(keys).seal(9, 23, payload, pad - pad % 16, IV) == record(keys, body)


@pytest.mark.parametrize("keys", MTE, ids=shape_name)
def test_bad_padding_with_mac_then_encrypt(keys: Keys) -> None:
    payload = b"p" * (128 - keys.suite.mac_length - 32)
    content = payload + mac(keys, 9, 23, payload)
    good = content + bytes([31]) * 32
    assert Opener(keys).open(9, record(keys, IV + encrypted(keys, good))) == Opened(23, payload)
    for at in range(len(content), len(good) - 1):
        bad = bytearray(good)
        bad[at] ^= 1
        assert refused(keys, IV + encrypted(keys, bytes(bad))).errno_name == "EBADMSG"
    # longer than the whole record; then so long that no room for the MAC is left
    assert refused(keys, IV + encrypted(keys, content + bytes([255]) * 32)).errno_name == "EBADMSG"
    mac_gone = 128 - keys.suite.mac_length
    assert (
        refused(keys, IV + encrypted(keys, bytes([mac_gone]) * 128)).cause
        == "the CBC padding leaves no room for the MAC"
    )


@pytest.mark.parametrize("keys", ETM, ids=shape_name)
def test_bad_padding_with_encrypt_then_mac(keys: Keys) -> None:
    # Only who holds the MAC key can get here at all.
    for plaintext in (bytes([16]) * 16, b"x" * 14 + b"\0\1", bytes([255]) * 32):
        body = IV + encrypted(keys, plaintext)
        assert refused(keys, body + mac(keys, 9, 23, body)).cause == "the CBC padding is wrong"


@pytest.mark.parametrize("keys", ETM, ids=shape_name)
def test_mac_is_judged_before_padding(keys: Keys) -> None:
    # RFC 7366 section 3: "the MAC SHALL be evaluated before any further processing such as decryption is performed".
    body = IV + encrypted(keys, bytes([16]) * 16)
    assert refused(keys, body + bytes(keys.suite.mac_length)).cause == "the MAC does not verify"


@pytest.mark.parametrize("keys", ETM, ids=shape_name)
def test_blocks_are_counted_without_the_mac(keys: Keys) -> None:
    body = IV + encrypted(keys, bytes([15]) * 16)
    good = body + mac(keys, 9, 23, body)
    assert Opener(keys).open(9, record(keys, good)) == Opened(23, b"")
    for extra in (1, 12, 15):
        assert refused(keys, good + bytes(extra)).errno_name == "EMSGSIZE"
    assert refused(keys, IV + mac(keys, 9, 23, IV)).errno_name == "EMSGSIZE"  # not one block


@pytest.mark.parametrize("keys", CBC_SHAPES, ids=shape_name)
def test_the_other_order_of_macs_does_not_open(keys: Keys) -> None:
    other = sample_keys(keys.suite, keys.version, not keys.encrypt_then_mac)
    with pytest.raises(RecordError):
        Opener(other).open(0, Sealer(keys).seal(0, 23, b"one order"))


def test_ivs_are_made_without_chance_and_differ() -> None:
    keys = sample_keys(SUITES[0x002F], Version.TLS12)
    ivs = {Sealer(keys).seal(number, 23, b"")[5:21] for number in (0, 1, 2**64 - 1)}
    assert len(ivs) == 3
    assert Sealer(keys).seal(1, 23, b"again") == Sealer(keys).seal(1, 23, b"again")
