"""Opening and sealing whole records: header, ciphertext and AEAD tag in, content type and plaintext out.

`Opener.open` is the software path of the kTLS worker, `Opener.trim` what is left to do for a record that the device
decrypted and authenticated in full: no cryptography, only cutting. Both take exactly one record, judge its size first
(EMSGSIZE), then its contents (EBADMSG), and raise nothing but RecordError whatever the bytes are. Version and outer
type are the worker's to check, before it has cut the record out (EINVAL, which ends the connection).

Records are never written to. A record's number comes in as an argument: it advances on failure too, so it is the
stream's to keep.
"""

from __future__ import annotations

from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305

from rxtls.crypto.cbc import Cbc
from rxtls.crypto.keys import CBC_BLOCK, MAX_PLAINTEXT, RECORD_HEADER, Buffer, Keys
from rxtls.crypto.suites import Family
from rxtls.errors import RecordError

APPLICATION_DATA = 23

Aead = AESGCM | AESCCM | ChaCha20Poly1305


class Opened(NamedTuple):
    """A record's content: `type` is the inner one in TLS 1.3, `payload` the plaintext without padding."""

    type: int
    payload: bytes

    def __repr__(self) -> str:
        return f"Opened(type={self.type}, payload=<{len(self.payload)} bytes>)"


class Opener:
    """Opens the records of one direction under one set of keys."""

    __slots__ = ("_aead", "_cbc", "_keys")

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        # Made when first needed: of what a device decrypts nothing is opened here.
        self._aead: Aead | None = None
        self._cbc: Cbc | None = None

    def open(self, number: int, record: Buffer) -> Opened:
        """Decrypt and authenticate the record with sequence number `number`.

        Raises RecordError: EMSGSIZE for a size that no record of these keys has, EBADMSG for one that does not
        authenticate, whose CBC padding is wrong, or whose TLS 1.3 content has no type (FreeBSD ktls_ocf.c).
        """
        keys = self._keys
        check_size(keys, record)
        start, aead_tag_length = keys.header_length, keys.aead_tag_length
        if not aead_tag_length:
            if self._cbc is None:
                self._cbc = Cbc(keys)
            return Opened(record[0], self._cbc.open(number, record))
        if self._aead is None:
            self._aead = make_aead(keys)
        header = bytes(record[:start])
        length = len(record) - start - aead_tag_length
        additional = header if keys.tls13 else keys.additional_data(number, header, length)
        try:
            plaintext = self._aead.decrypt(keys.nonce(number, header), memoryview(record)[start:], additional)
        except InvalidTag:
            raise RecordError("EBADMSG", "the AEAD tag does not verify") from None
        if not keys.tls13:
            return Opened(record[0], plaintext)
        return _inner(plaintext, 0, len(plaintext))

    def trim(self, record: Buffer) -> Opened:
        """Cut the content out of a record whose payload the device has decrypted and authenticated.

        Header, explicit nonce and AEAD tag are as they were received; they are passed over. The size guards are those
        of `open`: upstream has none here, and would make a payload of negative length. Raises RecordError likewise, and
        ValueError for a suite that no device takes.
        """
        keys = self._keys
        if not keys.stream:
            raise ValueError(f"no device decrypts {keys.suite.name}")
        check_size(keys, record)
        end = len(record) - keys.aead_tag_length
        if not keys.tls13:
            return Opened(record[0], bytes(record[keys.header_length : end]))
        return _inner(record, RECORD_HEADER, end)


class Sealer:
    """Makes wire records, as a sender of `keys` would. For the simulated link and for tests."""

    __slots__ = ("_aead", "_cbc", "_keys")

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._aead = None if keys.suite.family is Family.AES_CBC else make_aead(keys)
        self._cbc = Cbc(keys) if keys.suite.family is Family.AES_CBC else None

    def seal(self, number: int, type: int, payload: bytes, padding: int = 0, explicit: bytes | None = None) -> bytes:  # noqa: A002
        """The whole record, header included.

        `padding` is the number of zero bytes after the inner type in TLS 1.3, the bytes beyond the least padding in CBC
        (a multiple of 16), and 0 elsewhere. `explicit` is the explicit nonce or IV; left out, it is the number (RFC
        5288 section 3 allows that) or, for CBC, made from the MAC key and the number: nothing here is left to chance.

        Raises ValueError for what no sender may make: more than 16384 bytes of content and padding, padding where there
        is none, an explicit part of another length.
        """
        keys = self._keys
        if not 0 <= number < 2**64:
            raise ValueError("record numbers have 64 bits")
        if len(payload) > MAX_PLAINTEXT:
            raise ValueError(f"a record holds {MAX_PLAINTEXT} bytes")
        if self._cbc is not None:
            return self._cbc.seal(number, type, payload, padding, explicit)
        assert self._aead is not None
        explicit = number.to_bytes(8)[: keys.explicit_length] if explicit is None else explicit
        if len(explicit) != keys.explicit_length:
            raise ValueError(f"the explicit nonce has {keys.explicit_length} bytes")
        outer, content = type, payload
        if keys.tls13:
            if len(payload) + padding > MAX_PLAINTEXT:
                raise ValueError(f"a record holds {MAX_PLAINTEXT} bytes, padding included")
            outer, content = APPLICATION_DATA, payload + bytes([type]) + bytes(padding)
        elif padding:
            raise ValueError(f"{keys.suite.name} has no padding in {keys.version.name}")
        length = len(explicit) + len(content) + keys.aead_tag_length
        header = bytes([outer]) + keys.version.wire.to_bytes(2) + length.to_bytes(2) + explicit
        additional = keys.additional_data(number, header, len(content))
        return header + self._aead.encrypt(keys.nonce(number, header), content, additional)


def check_size(keys: Keys, record: Buffer) -> None:
    """Raise RecordError EMSGSIZE unless `record` has a size that records of these keys can have, and says the same."""
    total = len(record)
    if not keys.min_total <= total <= keys.max_total:
        raise RecordError("EMSGSIZE", f"{total} bytes, not {keys.min_total} to {keys.max_total}")
    if (record[3] << 8 | record[4]) != total - RECORD_HEADER:
        raise RecordError("EMSGSIZE", f"{total} bytes, which is not what the header says")
    if not keys.aead_tag_length:
        # RFC 7366 section 3: with encrypt-then-MAC, the MAC follows the blocks.
        outside = keys.suite.mac_length if keys.encrypt_then_mac else 0
        if (total - keys.header_length - outside) % CBC_BLOCK:
            raise RecordError("EMSGSIZE", "the ciphertext is not a whole number of blocks")


def inner_type_offset(data: Buffer, start: int, end: int) -> int:
    """Where the content type of the TLS 1.3 inner plaintext data[start:end] stands: its last non-zero byte, or -1.

    RFC 8446, RFC 9846 section 5.4: the receiver scans from the end past the zero padding; what comes before the type is
    content. FreeBSD's scan began in the record header, and so took a length byte for the type of an all-zero inner
    plaintext; nothing outside data[start:end] is looked at here.
    """
    if end > start and data[end - 1]:
        return end - 1
    content_and_type = bytes(data[start:end]).rstrip(b"\0")
    return start + len(content_and_type) - 1 if content_and_type else -1


def _inner(data: Buffer, start: int, end: int) -> Opened:
    at = end - 1
    if at < start or not data[at]:  # padding, or nothing at all
        at = inner_type_offset(data, start, end)
    if at < 0:
        raise RecordError("EBADMSG", "no content type: the inner plaintext is all zeros")
    return Opened(data[at], bytes(data[start:at]))


def make_aead(keys: Keys) -> Aead:
    """The cipher of an AEAD suite."""
    match keys.suite.family:
        case Family.AES_GCM:
            return AESGCM(keys.key)
        case Family.CHACHA20_POLY1305:
            return ChaCha20Poly1305(keys.key)
        case _:
            return AESCCM(keys.key, tag_length=keys.aead_tag_length)
