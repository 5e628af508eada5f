"""Undoing partial decryption: from a record's mixed payload back to the bytes on the wire.

AES-GCM and ChaCha20-Poly1305 encrypt by XOR with a keystream that depends on key, nonce and position alone. So where a
device has put plaintext, the same XOR puts the ciphertext back, and then the whole record is opened in software, which
verifies the AEAD tag: no byte is delivered on a part's good looks.

    wire     | header | explicit nonce | c c c c c c c c c c c c c | AEAD tag |
    arrived  | header | explicit nonce | c c c p p p p p c c c p p | AEAD tag |
    marks                                E     D         E     D
                                         ^ offset 0: counter 2 (AES-GCM), block counter 1 (ChaCha20)

Header, explicit nonce and AEAD tag are no part of it: a device leaves them as received. The inner type and the padding
of TLS 1.3 are part of it: they are encrypted like content. Offsets count from the record's first ciphertext byte,
wherever packets or buffers begin. Upstream does this for AES-GCM only, and runs the cipher over the record twice.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES, ChaCha20
from cryptography.hazmat.primitives.ciphers.modes import CTR

from rxtls.crypto.keys import Buffer, Keys, ciphertext_length
from rxtls.crypto.suites import Family

_GCM_FIRST_COUNTER = 2  # 1 encrypts the AEAD tag: NIST SP 800-38D section 7.1
_CHACHA20_FIRST_COUNTER = 1  # 0 makes the Poly1305 key: RFC 8439 section 2.8


def keystream(keys: Keys, number: int, header: Buffer, offset: int, length: int) -> bytes:
    """`length` bytes of record `number`'s keystream, from `offset` bytes into its ciphertext.

    `header` is the record's first `keys.header_length` bytes. Raises RecordError EMSGSIZE when the header's length is
    one that no record of these keys has, ValueError for a suite without recrypt or a range outside the ciphertext.
    """
    whole = _whole(keys, header)
    if not 0 <= offset <= offset + length <= whole:
        raise ValueError(f"bytes {offset} to {offset + length} of a ciphertext of {whole}")
    return _crypt(keys, number, header, offset, bytes(length))


def recrypt(keys: Keys, number: int, header: Buffer, spans: Sequence[tuple[Buffer, bool]]) -> bytes:
    """The ciphertext of record `number` as it was on the wire, without header, explicit nonce and AEAD tag.

    `spans` are the pieces of the payload in order, each with True where the device has decrypted it. They add up to the
    whole ciphertext. Raises as `keystream` does.
    """
    whole = _whole(keys, header)
    mixed = b"".join(piece for piece, _ in spans)
    if len(mixed) != whole:
        raise ValueError(f"spans of {len(mixed)} bytes for a ciphertext of {whole}")
    marked: list[tuple[int, int]] = []
    at = 0
    for piece, decrypted in spans:
        if decrypted and len(piece):
            marked.append((at, at + len(piece)))
        at += len(piece)
    if not marked:
        return mixed
    # One pass from the first marked byte to the last, however many spans there are: a record cut into single bytes
    # costs no more cryptography than one cut in two.
    first, last = marked[0][0], marked[-1][1]
    undone = _crypt(keys, number, header, first, mixed[first:last])
    out = bytearray(mixed)
    for start, end in marked:
        out[start:end] = undone[start - first : end - first]
    return bytes(out)


def _whole(keys: Keys, header: Buffer) -> int:
    if not keys.recrypt:
        raise ValueError(f"{keys.suite.name} has no recrypt")
    return ciphertext_length(keys, header)


def _crypt(keys: Keys, number: int, header: Buffer, offset: int, data: bytes) -> bytes:
    """`data`, which stands `offset` bytes into the ciphertext, XOR the keystream there."""
    nonce = keys.nonce(number, header)
    if keys.suite.family is Family.AES_GCM:
        block, within = divmod(offset, 16)
        cipher = Cipher(AES(keys.key), CTR(nonce + (_GCM_FIRST_COUNTER + block).to_bytes(4)))
        return cipher.encryptor().update(bytes(within) + data)[within:]
    block, within = divmod(offset, 64)
    counter = (_CHACHA20_FIRST_COUNTER + block).to_bytes(4, "little")
    return Cipher(ChaCha20(keys.key, counter + nonce), mode=None).encryptor().update(bytes(within) + data)[within:]
