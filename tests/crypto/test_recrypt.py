from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rxtls.crypto.keys import Keys
from rxtls.crypto.records import Opener, Sealer
from rxtls.crypto.recrypt import keystream, recrypt
from rxtls.crypto.stream import StreamOpener
from rxtls.crypto.suites import SUITES, Version
from rxtls.errors import RecordError
from sample_keys import ALL_SHAPES, NUMBERS, STREAMED, made_up, payloads, sample_keys, shape_name


def xor(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b, strict=True))


def sealed(keys: Keys, number: int, payload: bytes, padding: int) -> tuple[bytes, bytes, bytes, bytes]:
    """Header, ciphertext, AEAD tag, and the plaintext that stands behind the ciphertext (inner type and all)."""
    record = Sealer(keys).seal(number, 23, payload, padding, made_up(keys.explicit_length, f"nonce{number}"))
    header, ciphertext = record[: keys.header_length], record[keys.header_length : -16]
    plaintext = StreamOpener(keys, number, header).update(ciphertext)
    return header, ciphertext, record[-16:], plaintext


@pytest.mark.parametrize("keys", STREAMED, ids=shape_name)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_mix_goes_back_to_the_wire(keys: Keys, data: st.DataObject) -> None:
    number, payload = data.draw(NUMBERS), data.draw(payloads())
    padding = data.draw(st.integers(0, min(300, 16384 - len(payload)))) if keys.version is Version.TLS13 else 0
    header, ciphertext, aead_tag, plaintext = sealed(keys, number, payload, padding)
    cuts = sorted([0, len(ciphertext), *data.draw(st.lists(st.integers(0, len(ciphertext)), max_size=8))])
    spans: list[tuple[bytes | bytearray | memoryview, bool]] = []
    for a, b in pairwise(cuts):
        decrypted = data.draw(st.booleans())
        spans.append((memoryview((plaintext if decrypted else ciphertext)[a:b]), decrypted))
    assert recrypt(keys, number, header, spans) == ciphertext
    opened = Opener(keys).open(number, header + recrypt(keys, number, header, spans) + aead_tag)
    assert opened.payload == payload


@pytest.mark.parametrize("keys", STREAMED, ids=shape_name)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_keystream_from_any_byte(keys: Keys, data: st.DataObject) -> None:
    # Trap 5: the offset is that of the byte in the record's ciphertext; blocks straddle whatever the bytes lie in.
    header, ciphertext, _, plaintext = sealed(keys, 11, made_up(1000, "p"), 0)
    offset = data.draw(st.integers(0, len(ciphertext)))
    length = data.draw(st.integers(0, len(ciphertext) - offset))
    stream = keystream(keys, 11, header, offset, length)
    assert stream == xor(ciphertext, plaintext)[offset : offset + length]


@pytest.mark.parametrize("keys", STREAMED, ids=shape_name)
@pytest.mark.parametrize("last", [True, False])
def test_single_bytes(keys: Keys, last: bool) -> None:
    header, ciphertext, _, plaintext = sealed(keys, 2, made_up(300, "p"), 0)
    spans = [((plaintext if i % 2 == last else ciphertext)[i : i + 1], i % 2 == last) for i in range(len(ciphertext))]
    assert recrypt(keys, 2, header, spans) == ciphertext


def test_counter_starts_at_two() -> None:
    # Trap 4, by a published vector (McGrew and Viega, test case 3): number 0 leaves the IV as the nonce.
    key, nonce = bytes.fromhex("feffe9928665731c6d6a8f9467308308"), bytes.fromhex("cafebabefacedbaddecaf888")
    keys = Keys(SUITES[0x1301], Version.TLS13, key, nonce)
    header = b"\x17\x03\x03" + (64 + 16).to_bytes(2)
    plain = bytes.fromhex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72")
    crypt = bytes.fromhex("42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e")
    assert keystream(keys, 0, header, 0, 32) == xor(plain, crypt)
    assert keystream(keys, 0, header, 17, 15) == xor(plain, crypt)[17:]


def test_block_counter_starts_at_one() -> None:
    # RFC 8439 section 2.8.2: "Ladies and Gentlemen of the class of '99"
    nonce = bytes.fromhex("070000004041424344454647")
    keys = Keys(SUITES[0x1303], Version.TLS13, bytes(range(0x80, 0xA0)), nonce)
    header = b"\x17\x03\x03" + (114 + 16).to_bytes(2)
    crypt = bytes.fromhex("d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6")
    assert keystream(keys, 0, header, 0, 32) == xor(b"Ladies and Gentlemen of the class of '99"[:32], crypt)


def test_a_wrong_key_shows_at_the_aead_tag() -> None:
    keys, other = sample_keys(SUITES[0x1301], Version.TLS13), sample_keys(SUITES[0x1301], Version.TLS13, label="other")
    header, ciphertext, aead_tag, plaintext = sealed(keys, 0, b"delivered only when authenticated", 0)
    mixed = recrypt(other, 0, header, [(plaintext[:10], True), (ciphertext[10:], False)])
    assert mixed[10:] == ciphertext[10:]
    with pytest.raises(RecordError):
        Opener(keys).open(0, header + mixed + aead_tag)


@pytest.mark.parametrize("keys", STREAMED, ids=shape_name)
def test_guards(keys: Keys) -> None:
    for total in (keys.min_total - 1, keys.max_total + 1):
        header = b"\x17\x03\x03" + (total - 5).to_bytes(2) + bytes(keys.explicit_length)
        with pytest.raises(RecordError) as caught:
            recrypt(keys, 0, header, [(b"x", True)])
        assert caught.value.errno_name == "EMSGSIZE"
    header, ciphertext, _, _ = sealed(keys, 0, b"twelve bytes", 0)
    with pytest.raises(ValueError, match="spans of 1 bytes"):
        recrypt(keys, 0, header, [(b"x", True)])
    for offset, length in ((-1, 1), (0, len(ciphertext) + 1), (len(ciphertext), 1), (3, -1)):
        with pytest.raises(ValueError, match="of a ciphertext of"):
            keystream(keys, 0, header, offset, length)
    assert recrypt(keys, 0, header, [(ciphertext, False)]) == ciphertext
    assert recrypt(keys, 0, header, [(ciphertext, False), (b"", True)]) == ciphertext


def test_ciphers_without_recrypt() -> None:
    for keys in ALL_SHAPES:
        if not keys.recrypt:
            with pytest.raises(ValueError, match="has no recrypt"):
                recrypt(keys, 0, bytes(keys.header_length), [])
