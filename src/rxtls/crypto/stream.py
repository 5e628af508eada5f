"""One record, piece by piece: how a NIC decrypts as packets pass.

    opener = StreamOpener(keys, number, header)     at the last byte of header and explicit nonce
    plaintext = opener.update(ciphertext)           for each piece, of any length
    good = opener.verify(aead_tag)                  once, when the AEAD tag is whole

Plaintext comes out before the AEAD tag has been seen; that is what in-line decryption means. Whoever calls this must
not call anything authenticated before `verify` has said so (specification traps 3 and 7).
"""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES, ChaCha20
from cryptography.hazmat.primitives.ciphers.modes import GCM
from cryptography.hazmat.primitives.poly1305 import Poly1305

from rxtls.crypto.keys import Buffer, Keys, ciphertext_length
from rxtls.crypto.suites import Family


class StreamOpener:
    """Decrypts record `number`, whose first `keys.header_length` bytes are `header`.

    Raises RecordError EMSGSIZE when the header's length is one that no record of these keys has, ValueError for a suite
    that cannot stream.
    """

    __slots__ = ("_aead_tag_length", "_cipher")

    def __init__(self, keys: Keys, number: int, header: Buffer) -> None:
        if not keys.stream:
            raise ValueError(f"{keys.suite.name} cannot be decrypted piece by piece")
        additional = keys.additional_data(number, header, ciphertext_length(keys, header))
        self._aead_tag_length = keys.aead_tag_length
        cipher = GcmStream if keys.suite.family is Family.AES_GCM else ChaCha20Poly1305Stream
        self._cipher = cipher(keys.key, keys.nonce(number, header), additional)

    def update(self, ciphertext: Buffer) -> bytes:
        """The next piece's plaintext, of the same length. All pieces together are the ciphertext without AEAD tag."""
        return self._cipher.update(ciphertext)

    def verify(self, aead_tag: Buffer) -> bool:
        """True when `aead_tag` is that of the header and the pieces so far. To be called once, last."""
        return len(aead_tag) == self._aead_tag_length and self._cipher.verify(bytes(aead_tag))


class GcmStream:
    """AES-GCM with a 12-byte nonce (NIST SP 800-38D)."""

    __slots__ = ("_context",)

    def __init__(self, key: bytes, nonce: bytes, additional: bytes) -> None:
        self._context = Cipher(AES(key), GCM(nonce)).decryptor()
        self._context.authenticate_additional_data(additional)

    def update(self, ciphertext: Buffer) -> bytes:
        return self._context.update(ciphertext)

    def verify(self, aead_tag: bytes) -> bool:
        try:
            self._context.finalize_with_tag(aead_tag)
        except InvalidTag:
            return False
        return True


class ChaCha20Poly1305Stream:
    """RFC 8439 section 2.8 put together by hand, since the one-shot function wants the AEAD tag first."""

    __slots__ = ("_additional_length", "_context", "_length", "_poly1305")

    def __init__(self, key: bytes, nonce: bytes, additional: bytes) -> None:
        # Block 0 holds the Poly1305 key in its first half (section 2.6); the second half is thrown away, and the
        # ciphertext begins with block 1.
        self._context = Cipher(ChaCha20(key, bytes(4) + nonce), mode=None).decryptor()
        self._poly1305 = Poly1305(self._context.update(bytes(64))[:32])
        self._poly1305.update(additional + bytes(-len(additional) % 16))
        self._additional_length = len(additional)
        self._length = 0

    def update(self, ciphertext: Buffer) -> bytes:
        self._poly1305.update(ciphertext)
        self._length += len(ciphertext)
        return self._context.update(ciphertext)

    def verify(self, aead_tag: bytes) -> bool:
        lengths = self._additional_length.to_bytes(8, "little") + self._length.to_bytes(8, "little")
        self._poly1305.update(bytes(-self._length % 16) + lengths)
        try:
            self._poly1305.verify(aead_tag)
        except InvalidSignature:
            return False
        return True
