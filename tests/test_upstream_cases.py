"""FreeBSD's ktls_test.c, its receive side, restated: 328 cases and one that is not bound to a suite.

Every case goes from bytes over TCP segments and the NIC to recvmsg, in software and, where a NIC takes the suite, again
with offload; and with the record number beginning anywhere. The table of section 6 of our specification, in the order
of its lines:

    short, long                         28     padding_1..16, padding_16_extra, padding_32_extra     144
    bad_data, bad_mac                   28     bad_padding, non_block_size                            16
    truncated_record                    14     bad_iv, short_header                                   20
    bad_major, bad_minor                28     short_padded, long_padded, bad_type                     9
    small_record, oversized_record      28     receive_invalid_*, receive_unsupported_*               13
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import NamedTuple

import pytest

from rxtls.crypto.keys import CBC_BLOCK, MAX_PLAINTEXT, Keys
from rxtls.crypto.records import Sealer
from rxtls.crypto.suites import SUITES, Family, Suite, Version
from rxtls.errors import SocketError
from rxtls.events import By
from rxtls.host.socket.enable import Auth, Cipher, TlsEnable, checked
from rxtls.host.socket.socket import GetRecord, Mode
from rxtls.host.sysctl import Sysctl
from sample_keys import made_up, sample_keys
from socket_bed import EOR, Bed

NUMBER = 0x0123_4567_FFFF_FFF0  # crosses 32 bits


def cbc(key: int, auth: Auth, minor: int) -> Keys:
    """AES-CBC keys, as the application would hand them over."""
    length = {Auth.SHA1_HMAC: 20, Auth.SHA2_256_HMAC: 32, Auth.SHA2_384_HMAC: 48}[auth]
    enable = TlsEnable(Cipher.AES_CBC, made_up(key, "key"), b"", minor, auth, made_up(length, "mac"))
    return checked(enable, Sysctl())[0]


CBC = {
    f"aes{bits}_cbc_1_{minor - 1}_{name}": cbc(bits // 8, auth, minor)
    for bits in (128, 256)
    for minor, auth, name in (
        (2, Auth.SHA1_HMAC, "sha1"),
        (3, Auth.SHA1_HMAC, "sha1"),
        (3, Auth.SHA2_256_HMAC, "sha256"),
        (3, Auth.SHA2_384_HMAC, "sha384"),
    )
}
GCM12 = {
    f"aes{bits}_gcm_1_2": sample_keys(SUITES[code], Version.TLS12) for bits, code in ((128, 0xC02F), (256, 0xC030))
}
GCM13 = {
    f"aes{bits}_gcm_1_3": sample_keys(SUITES[code], Version.TLS13) for bits, code in ((128, 0x1301), (256, 0x1302))
}
CHACHA12 = {"chacha20_poly1305_1_2": sample_keys(SUITES[0xCCA8], Version.TLS12)}
CHACHA13 = {"chacha20_poly1305_1_3": sample_keys(SUITES[0x1303], Version.TLS13)}

TLS13 = GCM13 | CHACHA13
ALL = CBC | GCM12 | CHACHA12 | TLS13


class Reads(NamedTuple):
    """The records come out whole: `payload` in records of at most 16384 bytes."""

    payload: bytes


class Case(NamedTuple):
    """What goes onto the wire, and what recvmsg says: records, or an errno. `fin`: the sender closes behind it."""

    keys: Keys
    wire: bytes
    result: Reads | int
    fin: bool = False


def records(keys: Keys, payload: bytes, padding: int = 0) -> bytes:
    sealer = Sealer(keys)
    room = MAX_PLAINTEXT - (padding if keys.tls13 else 0)
    pieces = [payload[at : at + room] for at in range(0, len(payload), room)]
    return b"".join(sealer.seal(NUMBER + n, 23, piece, padding) for n, piece in enumerate(pieces))


def flipped(record: bytes, at: int) -> bytes:
    return record[:at] + bytes([record[at] ^ 1]) + record[at + 1 :]


def with_length(record: bytes, length: int) -> bytes:
    """A record that says `length` in its header and is as long."""
    return (record[:3] + length.to_bytes(2) + record[5:]).ljust(5 + length, b"\0")[: 5 + length]


def shortest(keys: Keys) -> int:
    return keys.min_total - 5


SHORT, LONG = made_up(64, "short"), made_up(64 << 10, "long")


def short(keys: Keys) -> Case:
    return Case(keys, records(keys, SHORT), Reads(SHORT))


def long(keys: Keys) -> Case:
    return Case(keys, records(keys, LONG), Reads(LONG))


def bad_data(keys: Keys) -> Case:
    return Case(keys, flipped(records(keys, SHORT), keys.header_length), errno.EBADMSG)


def bad_mac(keys: Keys) -> Case:
    at = keys.header_length + len(SHORT) + keys.tls13
    return Case(keys, flipped(records(keys, SHORT), at), errno.EBADMSG)


def truncated_record(keys: Keys) -> Case:
    record = records(keys, SHORT)
    return Case(keys, record[: len(record) // 2], errno.EMSGSIZE, fin=True)


def bad_major(keys: Keys) -> Case:
    record = records(keys, SHORT)
    return Case(keys, record[:1] + bytes([record[1] + 1]) + record[2:], errno.EINVAL)


def bad_minor(keys: Keys) -> Case:
    record = records(keys, SHORT)
    return Case(keys, record[:2] + bytes([record[2] + 1]) + record[3:], errno.EINVAL)


def small_record(keys: Keys) -> Case:
    return Case(keys, with_length(records(keys, SHORT), shortest(keys) - 1), errno.EMSGSIZE)


def oversized_record(keys: Keys) -> Case:
    return Case(keys, with_length(records(keys, SHORT), 32768), errno.EMSGSIZE)


def padding(n: int, extra: int) -> Callable[[Keys], Case]:
    """`n` bytes of padding, its length byte among them, and `extra` more."""

    def build(keys: Keys) -> Case:
        payload = made_up(64 + (-keys.suite.mac_length - n) % CBC_BLOCK, "padded")
        record = records(keys, payload, extra)
        assert len(record) == keys.header_length + len(payload) + keys.suite.mac_length + n + extra
        return Case(keys, record, Reads(payload))

    return build


def bad_padding(keys: Keys) -> Case:
    return Case(keys, flipped(records(keys, SHORT, 16), -17), errno.EBADMSG)


def non_block_size(keys: Keys) -> Case:
    return Case(keys, with_length(records(keys, SHORT), shortest(keys) + 1), errno.EMSGSIZE)


def bad_iv(keys: Keys) -> Case:
    return Case(keys, flipped(records(keys, SHORT), 5), errno.EBADMSG)


def short_header(keys: Keys) -> Case:
    return Case(keys, with_length(records(keys, SHORT), 6), errno.EMSGSIZE, fin=True)


def short_padded(keys: Keys) -> Case:
    return Case(keys, records(keys, SHORT, 16), Reads(SHORT))


def long_padded(keys: Keys) -> Case:
    return Case(keys, records(keys, LONG, 15), Reads(LONG))


def bad_type(keys: Keys) -> Case:
    return Case(keys, b"\x18" + records(keys, SHORT)[1:], errno.EINVAL)


CASES: dict[str, tuple[dict[str, Keys], Callable[[Keys], Case]]] = {
    **{
        build.__name__: (ALL, build)
        for build in (
            short,
            long,
            bad_data,
            bad_mac,
            truncated_record,
            bad_major,
            bad_minor,
            small_record,
            oversized_record,
        )
    },
    **{f"padding_{n}": (CBC, padding(n, 0)) for n in range(1, 17)},
    "padding_16_extra": (CBC, padding(16, 16)),
    "padding_32_extra": (CBC, padding(16, 32)),
    "bad_padding": (CBC, bad_padding),
    "non_block_size": (CBC, non_block_size),
    "bad_iv": (CBC | GCM12, bad_iv),
    "short_header": (CBC | GCM12, short_header),
    "short_padded": (TLS13, short_padded),
    "long_padded": (TLS13, long_padded),
    "bad_type": (TLS13, bad_type),
}
RECEIVE = {
    f"{suite}_{name}": (keys, build) for name, (suites, build) in CASES.items() for suite, keys in suites.items()
}
OFFLOADED = {name: each for name, each in RECEIVE.items() if each[0].stream}

_GCM, _CHACHA, _CBC = Cipher.AES_NIST_GCM_16, Cipher.CHACHA20_POLY1305, Cipher.AES_CBC
_SHA1, _SHA256, _SHA384 = Auth.SHA1_HMAC, Auth.SHA2_256_HMAC, Auth.SHA2_384_HMAC
REFUSED = [
    pytest.param(
        cipher, key, auth, minor, number, id=f"{cipher.name.lower()}_{8 * key}_{auth.name.lower()}_1_{minor - 1}"
    )
    for cipher, key, auth, minor, number in (
        (_CBC, 16, _SHA256, 1, errno.EINVAL),
        (_CBC, 16, _SHA384, 1, errno.EINVAL),
        (_GCM, 16, Auth.NONE, 1, errno.EINVAL),
        (_CHACHA, 32, Auth.NONE, 1, errno.EINVAL),
        (_CBC, 16, _SHA256, 2, errno.EINVAL),
        (_CBC, 16, _SHA384, 2, errno.EINVAL),
        (_GCM, 16, Auth.NONE, 2, errno.EINVAL),
        (_CHACHA, 32, Auth.NONE, 2, errno.EINVAL),
        (_CBC, 16, _SHA1, 4, errno.EINVAL),
        (_CBC, 16, _SHA256, 4, errno.EINVAL),
        (_CBC, 16, _SHA384, 4, errno.EINVAL),
        (_CBC, 16, _SHA1, 1, errno.EPROTONOSUPPORT),
        (_CBC, 32, _SHA1, 1, errno.EPROTONOSUPPORT),
    )
]


def test_these_are_all_of_them() -> None:
    assert len(ALL) == 14
    assert len(RECEIVE) + len(REFUSED) == 328


@pytest.mark.parametrize(("keys", "build"), RECEIVE.values(), ids=RECEIVE)
def test_in_software(keys: Keys, build: Callable[[Keys], Case]) -> None:
    case = build(keys)
    bed = Bed("none", engine="plain")
    bed.enable(keys, NUMBER)
    assert bed.mode == Mode.SW
    check(bed, case)


@pytest.mark.parametrize("engine", ["plain", "compiled"])
@pytest.mark.parametrize(("keys", "build"), OFFLOADED.values(), ids=OFFLOADED)
def test_with_offload(keys: Keys, build: Callable[[Keys], Case], engine: str) -> None:
    case = build(keys)
    bed = Bed("connectx-6dx" if keys.suite.family is Family.AES_GCM else "ideal", engine=engine)
    bed.enable(keys, NUMBER)
    assert bed.mode == Mode.IFNET
    check(bed, case)
    if isinstance(case.result, Reads):
        assert {record.by for record in bed.records} == {By.DEVICE}


def check(bed: Bed, case: Case) -> None:
    bed.send(case.wire)
    if case.fin:
        bed.fin()
    if isinstance(case.result, int):
        bed.refused(case.result)
    else:
        payload, minor = case.result.payload, case.keys.version.wire & 0xFF
        while payload:
            got = bed.read(len(LONG))
            assert got.control == GetRecord(23, 3, minor, len(got.data))
            assert got.flags == EOR
            assert got.data
            assert payload.startswith(got.data)
            payload = payload[len(got.data) :]
        bed.refused(errno.EAGAIN)
    bed.finish()


@pytest.mark.parametrize(("cipher", "key", "auth", "minor", "number"), REFUSED)
def test_refused_at_enable(cipher: Cipher, key: int, auth: Auth, minor: int, number: int) -> None:
    mac = bytes({Auth.NONE: 0, _SHA1: 20, _SHA256: 32, _SHA384: 48}[auth])
    iv = bytes(16 if cipher is _CBC else 4 if cipher is _GCM and minor == 3 else 12)
    bed = Bed()
    with pytest.raises(SocketError) as caught:
        bed.set(TlsEnable(cipher, bytes(key), iv, minor, auth, mac))
    assert caught.value.errno == number
    assert bed.mode == Mode.NONE


def test_listening_socket() -> None:
    enable = TlsEnable.of(sample_keys(SUITES[0x1301], Version.TLS13))
    bed = Bed(connect=False)
    bed.set(enable)  # not connected yet: accepted
    with pytest.raises(SocketError, match="EINVAL"):
        bed.socket.listen()
    other = Bed(connect=False)
    other.socket.listen()
    with pytest.raises(SocketError, match="EINVAL"):
        other.set(enable)


def test_the_one_suite_that_iana_has_not_is_of_the_private_range() -> None:
    unregistered = {keys.suite for keys in ALL.values()} - set(SUITES.values())
    assert [each.code for each in unregistered if isinstance(each, Suite)] == [0xFF01]
