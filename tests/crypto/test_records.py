from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rxtls.crypto.keys import Keys
from rxtls.crypto.records import Opened, Opener, Sealer, inner_type_offset, make_aead
from rxtls.crypto.suites import SUITES, Family, Version
from rxtls.errors import RecordError
from sample_keys import ALL_SHAPES, NUMBERS, STREAMED, made_up, payloads, sample_keys, shape_name

GCM12 = sample_keys(SUITES[0xC02F], Version.TLS12)
GCM13 = sample_keys(SUITES[0x1301], Version.TLS13)
CCM8_13 = sample_keys(SUITES[0x1305], Version.TLS13)
TLS13 = [keys for keys in ALL_SHAPES if keys.version is Version.TLS13]
AEAD = [keys for keys in ALL_SHAPES if keys.suite.family is not Family.AES_CBC]
TYPES = st.sampled_from([20, 21, 22, 23, 24, 1, 255])


def errno(opener: Opener, record: bytes, number: int = 0) -> str:
    with pytest.raises(RecordError) as caught:
        opener.open(number, record)
    return caught.value.errno_name


# ---- sealing, then opening, is identity


@pytest.mark.parametrize("keys", ALL_SHAPES, ids=shape_name)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_sealed_then_opened(keys: Keys, data: st.DataObject) -> None:
    number, type_, payload = data.draw(NUMBERS), data.draw(TYPES), data.draw(payloads())
    padding = 0
    if keys.version is Version.TLS13:
        padding = data.draw(st.integers(0, 16384 - len(payload)))
    elif keys.suite.family is Family.AES_CBC:
        payload = payload[:16000]  # leaves room: the whole record is bounded, however long the padding
        padding = 16 * data.draw(st.integers(0, 15 - 1))
    explicit = data.draw(st.sampled_from([None, made_up(keys.explicit_length, "explicit")]))
    record = Sealer(keys).seal(number, type_, payload, padding, explicit)
    assert record[1:3] == (b"\3\2" if keys.version is Version.TLS11 else b"\3\3")
    assert record[0] == (23 if keys.version is Version.TLS13 else type_)
    assert int.from_bytes(record[3:5]) == len(record) - 5
    assert keys.min_total <= len(record) <= keys.max_total
    opener = Opener(keys)
    assert opener.open(number, record) == Opened(type_, payload)
    assert opener.open(number, memoryview(bytearray(record))) == Opened(type_, payload)


@pytest.mark.parametrize("keys", ALL_SHAPES, ids=shape_name)
@pytest.mark.parametrize("length", [0, 1, 16384])
def test_shortest_and_longest_payload(keys: Keys, length: int) -> None:
    payload = made_up(length, "p")
    opened = Opener(keys).open(7, Sealer(keys).seal(7, 23, payload))
    assert opened == Opened(23, payload)
    assert type(opened.payload) is bytes


@pytest.mark.parametrize("keys", ALL_SHAPES, ids=shape_name)
def test_any_changed_bit_is_noticed(keys: Keys) -> None:
    record = Sealer(keys).seal(3, 23, b"attack at dawn")
    opener = Opener(keys)
    for at in range(len(record)):
        if keys.version is Version.TLS13 or at not in (3, 4):
            changed = bytearray(record)
            changed[at] ^= 0x40
            expected = "EMSGSIZE" if at in (3, 4) else "EBADMSG"
            assert errno(opener, bytes(changed), 3) == expected, at
    assert errno(opener, record, 4) == "EBADMSG"  # the number is authenticated
    assert opener.open(3, record).payload == b"attack at dawn"


def test_all_64_bits_of_the_number_count() -> None:
    for keys in ALL_SHAPES:
        record = Sealer(keys).seal(2**63 + 5, 23, b"far along")
        assert Opener(keys).open(2**63 + 5, record).payload == b"far along"
        assert errno(Opener(keys), record, 5) == "EBADMSG"


def test_nothing_secret_is_shown() -> None:
    assert repr(Opened(23, b"secret plaintext")) == "Opened(type=23, payload=<16 bytes>)"


# ---- size guards (specification 2.9), all EMSGSIZE


def with_header(body: bytes) -> bytes:
    return b"\x17\x03\x03" + len(body).to_bytes(2) + body


def with_length(keys: Keys, total: int) -> bytes:
    return b"\x17" + keys.version.wire.to_bytes(2) + (total - 5).to_bytes(2) + bytes(total - 5)


@pytest.mark.parametrize("keys", ALL_SHAPES, ids=shape_name)
def test_size_guards(keys: Keys) -> None:
    opener = Opener(keys)
    for total in {5, keys.header_length - 1, keys.header_length, keys.min_total - 1, keys.max_total + 1} - {4}:
        assert errno(opener, with_length(keys, total)) == "EMSGSIZE", total
    assert errno(opener, with_length(keys, keys.min_total)) == "EBADMSG"
    block = 16 if keys.suite.family is Family.AES_CBC else 1
    assert errno(opener, with_length(keys, keys.max_total - (keys.max_total - keys.min_total) % block)) == "EBADMSG"
    for whole in (b"", b"\x17", b"\x17\x03\x03\xff\xff"):
        assert errno(opener, whole) == "EMSGSIZE"
    record = Sealer(keys).seal(0, 23, b"x" * 32)
    assert errno(opener, record[:-1]) == "EMSGSIZE"
    assert errno(opener, record + b"\0") == "EMSGSIZE"


@pytest.mark.parametrize(
    ("code", "version", "length", "expected"),
    [
        (0xC02F, Version.TLS12, 8 + 15, "EMSGSIZE"),
        (0xC02F, Version.TLS12, 8 + 16, "EBADMSG"),
        (0xCCA8, Version.TLS12, 15, "EMSGSIZE"),
        (0xCCA8, Version.TLS12, 16, "EBADMSG"),
        (0x1301, Version.TLS13, 16, "EMSGSIZE"),
        (0x1301, Version.TLS13, 17, "EBADMSG"),
        (0x1305, Version.TLS13, 8, "EMSGSIZE"),
        (0x1305, Version.TLS13, 9, "EBADMSG"),
        (0x002F, Version.TLS12, 16 + 16, "EMSGSIZE"),  # 20 bytes of MAC and one of padding take two blocks
        (0x002F, Version.TLS12, 16 + 32, "EBADMSG"),
        (0x002F, Version.TLS12, 16 + 33, "EMSGSIZE"),
    ],
)
def test_lengths_in_the_header(code: int, version: Version, length: int, expected: str) -> None:
    keys = sample_keys(SUITES[code], version)
    assert errno(Opener(keys), with_length(keys, 5 + length)) == expected


# ---- the inner content type of TLS 1.3


def reference_type_offset(data: bytes, start: int, end: int) -> int:
    return max((i for i in range(start, end) if data[i]), default=-1)


@given(
    st.binary(max_size=40),
    st.lists(st.sampled_from([0, 0, 0, 1, 23]), max_size=40).map(bytes),
    st.binary(max_size=40),
    st.sampled_from([bytes, bytearray, memoryview]),
)
def test_type_is_the_last_byte_that_is_not_zero(before: bytes, inner: bytes, after: bytes, kind: type) -> None:
    data = before + inner + after
    start, end = len(before), len(before) + len(inner)
    at = inner_type_offset(kind(data), start, end)
    assert at == reference_type_offset(data, start, end)
    assert at == -1 or (start <= at < end and data[at] and not any(data[at + 1 : end]))


@pytest.mark.parametrize("keys", TLS13, ids=shape_name)
@pytest.mark.parametrize("zeros", [1, 2, 255, 256, 16384])
def test_all_zero_inner_plaintext(keys: Keys, zeros: int) -> None:
    # Trap 10: upstream takes the header's length byte for the type and delivers a payload of -1 bytes.
    record = Sealer(keys).seal(0, 0, bytes(zeros - 1))
    assert errno(Opener(keys), record) == "EBADMSG"


@pytest.mark.parametrize("keys", TLS13, ids=shape_name)
@pytest.mark.parametrize("padding", [0, 1, 15, 16, 1000, 16384])
def test_empty_payload_with_padding(keys: Keys, padding: int) -> None:
    assert Opener(keys).open(0, Sealer(keys).seal(0, 22, b"", padding)) == Opened(22, b"")


def test_zeros_of_the_payload_are_not_padding() -> None:
    record = Sealer(GCM13).seal(0, 23, bytes(50), 50)
    assert Opener(GCM13).open(0, record) == Opened(23, bytes(50))


# ---- trim: what the device decrypted in full


def as_the_device_leaves_it(keys: Keys, number: int, record: bytes) -> bytes:
    """Plaintext in place of the ciphertext; header, explicit nonce and AEAD tag as received."""
    assert keys.stream
    if keys.version is Version.TLS13:
        plaintext = make_aead(keys).decrypt(keys.nonce(number, record[:5]), record[5:], record[:5])
    else:
        plaintext = Opener(keys).open(number, record).payload
    return record[: keys.header_length] + plaintext + record[-16:]


@pytest.mark.parametrize("keys", STREAMED, ids=shape_name)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_trim_equals_open(keys: Keys, data: st.DataObject) -> None:
    number, type_, payload = data.draw(NUMBERS), data.draw(TYPES), data.draw(payloads())
    padding = data.draw(st.integers(0, 16384 - len(payload))) if keys.version is Version.TLS13 else 0
    record = Sealer(keys).seal(number, type_, payload, padding)
    decrypted = as_the_device_leaves_it(keys, number, record)
    opener = Opener(keys)
    assert opener.trim(decrypted) == opener.open(number, record) == Opened(type_, payload)
    assert opener.trim(memoryview(decrypted)) == Opened(type_, payload)
    # The AEAD tag was the device's to judge; it is not looked at, not even as padding.
    assert opener.trim(decrypted[:-16] + bytes(16)) == Opened(type_, payload)


@pytest.mark.parametrize("keys", STREAMED, ids=shape_name)
def test_trim_has_the_size_guards(keys: Keys) -> None:
    # Trap 9: upstream has none on this path, and a short record's payload would be negative.
    for total in (0, 4, 5, keys.header_length, keys.min_total - 1, keys.max_total + 1):
        record = with_length(keys, total) if total >= 5 else bytes(total)
        with pytest.raises(RecordError) as caught:
            Opener(keys).trim(record)
        assert caught.value.errno_name == "EMSGSIZE"


@pytest.mark.parametrize("zeros", [1, 2, 100])
def test_trim_finds_no_type_in_zeros(zeros: int) -> None:
    # Trap 10, and whatever stands in the header or the AEAD tag is no type either.
    record = b"\x17\x03\x03" + (zeros + 16).to_bytes(2) + bytes(zeros) + b"\xff" * 16
    with pytest.raises(RecordError) as caught:
        Opener(GCM13).trim(record)
    assert caught.value.errno_name == "EBADMSG"


def test_trim_is_for_what_devices_decrypt() -> None:
    for keys in ALL_SHAPES:
        if not keys.stream:
            with pytest.raises(ValueError, match="no device decrypts"):
                Opener(keys).trim(with_length(keys, keys.min_total))


# ---- hostile records


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(ALL_SHAPES),
    NUMBERS,
    st.one_of(
        st.binary(max_size=200),
        st.integers(0, 400).flatmap(lambda n: st.binary(min_size=n, max_size=n).map(with_header)),
    ),
)
def test_garbage_raises_record_errors_only(keys: Keys, number: int, record: bytes) -> None:
    opener = Opener(keys)
    with pytest.raises(RecordError) as caught:
        opener.open(number, record)
    assert caught.value.errno_name in ("EBADMSG", "EMSGSIZE")
    if not keys.stream:
        return
    trimmed: Opened | RecordError
    try:
        trimmed = opener.trim(record)
    except RecordError as error:
        trimmed = error
    if isinstance(trimmed, RecordError):
        assert trimmed.errno_name in ("EBADMSG", "EMSGSIZE")
    else:
        assert len(trimmed.payload) <= len(record) - keys.min_total


# ---- what a sealer refuses


@pytest.mark.parametrize(
    ("code", "version", "arguments"),
    [
        (0x1301, Version.TLS13, (0, 23, bytes(16385))),
        (0x1301, Version.TLS13, (0, 23, bytes(16384), 1)),
        (0x1301, Version.TLS13, (0, 23, b"", 0, bytes(8))),
        (0x1301, Version.TLS13, (2**64, 23, b"")),
        (0xC02F, Version.TLS12, (0, 23, b"", 1)),
        (0xC02F, Version.TLS12, (0, 23, b"", 0, bytes(7))),
        (0x002F, Version.TLS12, (0, 23, b"", 0, bytes(8))),
        (0x002F, Version.TLS12, (0, 23, b"", 1)),
        (0x002F, Version.TLS12, (0, 23, b"", 256)),
    ],
)
def test_sealer_refuses(code: int, version: Version, arguments: tuple[int, int, bytes]) -> None:
    with pytest.raises(ValueError, match=r"record|padding|explicit"):
        Sealer(sample_keys(SUITES[code], version)).seal(*arguments)
