"""AES-CBC with HMAC: the records of TLS 1.1 and 1.2 before AEAD, in both MAC orders.

MAC-then-encrypt (RFC 4346 and RFC 5246, section 6.2.3.2), the default:

    header  IV  E( payload  MAC  padding  padding length )          MAC over number, type, version, length, payload

encrypt-then-MAC (RFC 7366), when both sides agreed on the extension:

    header  IV  E( payload  padding  padding length )  MAC          MAC over number, type, version, length, IV, E(...)
                                                                    where length leaves out the MAC itself

We read recordings: nobody can measure us to learn a padding, so only the comparison of MACs is done in constant time.
FreeBSD's receive path knows the first order only; the second is ours.
"""

from __future__ import annotations

import hmac

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from rxtls.crypto.keys import CBC_BLOCK, RECORD_HEADER, Buffer, Keys
from rxtls.errors import RecordError

MAX_PADDING = 255  # besides the length byte, which repeats this value (RFC 5246 section 6.2.3.2)


class Cbc:
    """Both directions of one set of CBC keys. Sizes have been checked by the caller (records.check_size)."""

    __slots__ = ("_aes", "_hmac", "_keys")

    def __init__(self, keys: Keys) -> None:
        assert keys.suite.mac is not None
        self._keys = keys
        self._aes = AES(keys.key)
        self._hmac = hmac.new(keys.mac_key, digestmod=keys.suite.mac)  # copied for each record: the key is hashed once

    def open(self, number: int, record: Buffer) -> bytes:
        """The plaintext of a record whose size is legal. Raises RecordError EBADMSG for a wrong MAC or padding."""
        view = memoryview(record)
        return self._open_etm(number, view) if self._keys.encrypt_then_mac else self._open_mte(number, view)

    def seal(self, number: int, type: int, payload: bytes, padding: int, explicit: bytes | None) -> bytes:  # noqa: A002
        """The whole record. Arguments and ValueError as `records.Sealer.seal`."""
        keys = self._keys
        iv = (
            hmac.digest(keys.mac_key, b"IV" + number.to_bytes(8), "sha256")[:CBC_BLOCK]
            if explicit is None
            else explicit
        )
        if len(iv) != CBC_BLOCK:
            raise ValueError(f"the explicit IV has {CBC_BLOCK} bytes")
        start = bytes([type]) + keys.version.wire.to_bytes(2)
        content = payload
        if not keys.encrypt_then_mac:
            content += self._mac(number, start, len(payload), payload)
        pad = (CBC_BLOCK - 1 - len(content)) % CBC_BLOCK + padding
        if padding % CBC_BLOCK or not 0 <= padding <= pad <= MAX_PADDING:
            raise ValueError("padding comes in whole blocks, 255 bytes at most")
        blocks = Cipher(self._aes, CBC(iv)).encryptor().update(content + bytes([pad]) * (pad + 1))
        body = iv + blocks
        if keys.encrypt_then_mac:
            body += self._mac(number, start, len(body), body)
        return start + len(body).to_bytes(2) + body

    def _open_mte(self, number: int, record: memoryview) -> bytes:
        mac_length = self._keys.suite.mac_length
        plaintext = self._decrypt(record[RECORD_HEADER:])
        end = _padding_start(plaintext) - mac_length
        if end < 0:
            raise RecordError("EBADMSG", "the CBC padding leaves no room for the MAC")
        payload = plaintext[:end]
        mac = self._mac(number, bytes(record[:3]), end, payload)
        if not hmac.compare_digest(mac, plaintext[end : end + mac_length]):
            raise RecordError("EBADMSG", "the MAC does not verify")
        return payload

    def _open_etm(self, number: int, record: memoryview) -> bytes:
        # RFC 7366 section 3: the MAC SHALL be verified before decryption.
        body = record[RECORD_HEADER : len(record) - self._keys.suite.mac_length]
        mac = self._mac(number, bytes(record[:3]), len(body), body)
        if not hmac.compare_digest(mac, record[RECORD_HEADER + len(body) :]):
            raise RecordError("EBADMSG", "the MAC does not verify")
        plaintext = self._decrypt(body)
        return plaintext[: _padding_start(plaintext)]

    def _decrypt(self, body: memoryview) -> bytes:
        return Cipher(self._aes, CBC(bytes(body[:CBC_BLOCK]))).decryptor().update(body[CBC_BLOCK:])

    def _mac(self, number: int, type_and_version: bytes, length: int, data: Buffer) -> bytes:
        mac = self._hmac.copy()
        mac.update(number.to_bytes(8) + type_and_version + length.to_bytes(2))
        mac.update(data)
        return mac.digest()


def _padding_start(plaintext: bytes) -> int:
    """Where the padding begins. Raises RecordError EBADMSG unless every padding byte holds the padding's length."""
    pad = plaintext[-1]
    start = len(plaintext) - pad - 1
    if start < 0 or not plaintext.endswith(_PADDING[pad]):
        raise RecordError("EBADMSG", "the CBC padding is wrong")
    return start


_PADDING = tuple(bytes([pad]) * (pad + 1) for pad in range(MAX_PADDING + 1))
