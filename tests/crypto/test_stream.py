from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rxtls.crypto.keys import Keys
from rxtls.crypto.records import Opener, Sealer
from rxtls.crypto.stream import ChaCha20Poly1305Stream, GcmStream, StreamOpener
from rxtls.crypto.suites import Version
from rxtls.errors import RecordError
from sample_keys import ALL_SHAPES, NUMBERS, STREAMED, made_up, payloads, shape_name

# McGrew and Viega, "The Galois/Counter Mode of Operation", test cases 2, 3, 4, 14 and 16:
# key, nonce, additional data, plaintext, ciphertext, AEAD tag
_KEY = "feffe9928665731c6d6a8f9467308308"
_NONCE = "cafebabefacedbaddecaf888"
_AAD = "feedfacedeadbeeffeedfacedeadbeefabaddad2"
_PLAIN = (
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
    "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255"
)
_CRYPT = (
    "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e"
    "21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091473f5985"
)
_CRYPT_256 = (
    "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
    "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
)
GCM_CASES = [
    ("00" * 16, "00" * 12, "", "00" * 16, "0388dace60b6a392f328c2b971b2fe78", "ab6e47d42cec13bdf53a67b21257bddf"),
    (_KEY, _NONCE, "", _PLAIN, _CRYPT, "4d5c2af327cd64a62cf35abd2ba6fab4"),
    (_KEY, _NONCE, _AAD, _PLAIN[:120], _CRYPT[:120], "5bc94fbc3221a5db94fae95ae7121a47"),
    ("00" * 32, "00" * 12, "", "00" * 16, "cea7403d4d606b6e074ec5d3baf39d18", "d0d1c8a799996bf0265b98b5d48ab919"),
    (_KEY * 2, _NONCE, _AAD, _PLAIN[:120], _CRYPT_256, "76fc6ece0f4e1768cddf8853bb2d551b"),
]

# RFC 8439 section 2.8.2
SUNSCREEN = (
    b"Ladies and Gentlemen of the class of '99: If I could offer you "
    b"only one tip for the future, sunscreen would be it."
)
SUNSCREEN_SEALED = (
    "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6"
    "3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36"
    "92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc"
    "3ff4def08e4b7a9de576d26586cec64b6116"
)
CHACHA_KEY = bytes(range(0x80, 0xA0)).hex()
CHACHA_CASE = (
    CHACHA_KEY,
    "070000004041424344454647",
    "50515253c0c1c2c3c4c5c6c7",
    SUNSCREEN.hex(),
    SUNSCREEN_SEALED,
    "1ae10b594f09e26a7e902ecbd0600691",
)


@pytest.mark.parametrize(
    ("cipher", "case"),
    [(GcmStream, case) for case in GCM_CASES] + [(ChaCha20Poly1305Stream, CHACHA_CASE)],
)
@pytest.mark.parametrize("step", [1, 7, 16, 1000])
def test_vectors(
    cipher: type[GcmStream] | type[ChaCha20Poly1305Stream], case: tuple[str, str, str, str, str, str], step: int
) -> None:
    key, nonce, additional, plaintext, ciphertext, aead_tag = (bytes.fromhex(part) for part in case)
    for given_tag, good in ((aead_tag, True), (bytes(16), False)):
        stream = cipher(key, nonce, additional)
        pieces = [stream.update(ciphertext[at : at + step]) for at in range(0, len(ciphertext), step)]
        assert b"".join(pieces) == plaintext
        assert stream.verify(given_tag) is good


@pytest.mark.parametrize("keys", STREAMED, ids=shape_name)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_any_segmentation_equals_opening_the_whole(keys: Keys, data: st.DataObject) -> None:
    number, payload = data.draw(NUMBERS), data.draw(payloads())
    padding = data.draw(st.integers(0, min(100, 16384 - len(payload)))) if keys.version is Version.TLS13 else 0
    record = Sealer(keys).seal(number, 23, payload, padding)
    start, end = keys.header_length, len(record) - 16
    cuts = sorted({start, end, *data.draw(st.lists(st.integers(start, end), max_size=8))})
    stream = StreamOpener(keys, number, record[:start])
    plaintext = b""
    view = memoryview(record)
    for a, b in pairwise(cuts):
        piece = stream.update(view[a:b])
        assert len(piece) == b - a  # no piece waits for another: a packet can be marked when it has passed
        plaintext += piece
    assert stream.verify(record[end:])
    opener = Opener(keys)
    assert opener.trim(record[:start] + plaintext + record[end:]) == opener.open(number, record)


@pytest.mark.parametrize("keys", STREAMED, ids=shape_name)
def test_wrong_bytes_do_not_verify(keys: Keys) -> None:
    record = Sealer(keys).seal(5, 23, b"some payload")
    start = keys.header_length

    def verdict(number: int, changed: bytes) -> bool:
        stream = StreamOpener(keys, number, changed[:start])
        stream.update(changed[start:-16])
        return stream.verify(changed[-16:])

    assert verdict(5, record)
    assert not verdict(6, record)
    for at in (0, start - 1, start, len(record) - 17, len(record) - 16, len(record) - 1):
        if at not in (3, 4):
            assert not verdict(5, record[:at] + bytes([record[at] ^ 1]) + record[at + 1 :])
    for wrong in (b"", record[-16:-1], record[-16:] + b"\0"):
        stream = StreamOpener(keys, 5, record[:start])
        stream.update(record[start:-16])
        assert not stream.verify(wrong)


@pytest.mark.parametrize("keys", STREAMED, ids=shape_name)
def test_missing_bytes_do_not_verify(keys: Keys) -> None:
    record = Sealer(keys).seal(5, 23, made_up(100, "p"))
    stream = StreamOpener(keys, 5, record[: keys.header_length])
    stream.update(record[keys.header_length : -17])
    assert not stream.verify(record[-16:])


@pytest.mark.parametrize("keys", STREAMED, ids=shape_name)
def test_headers_that_no_record_has(keys: Keys) -> None:
    for total in (keys.min_total - 1, keys.max_total + 1):
        header = b"\x17\x03\x03" + (total - 5).to_bytes(2) + bytes(keys.explicit_length)
        with pytest.raises(RecordError) as caught:
            StreamOpener(keys, 0, header)
        assert caught.value.errno_name == "EMSGSIZE"


def test_only_stream_ciphers_stream() -> None:
    for keys in ALL_SHAPES:
        if not keys.stream:
            with pytest.raises(ValueError, match="piece by piece"):
                StreamOpener(keys, 0, bytes(keys.header_length))
