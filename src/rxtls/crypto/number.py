"""Which record number a TLS 1.3 record has, read out of the record itself. For AES-GCM, where the number is all of the
nonce that is not known, no search is needed: GCM's last step can be run backwards.

    AEAD tag = GHASH(header, ciphertext) XOR AES(nonce | 1)          NIST SP 800-38D section 7.1
    nonce | 1 = AES^-1(AEAD tag XOR GHASH(header, ciphertext))

GHASH does not depend on the nonce, so a library gives it: encrypt to the same ciphertext under any nonce, and take the
AEAD tag of that. Of the block that comes out 32 bits are the counter's 1 and 32 the IV's, or key and record do not
belong together; the rest is the number (RFC 8446, RFC 9846 section 5.3). It is a guess, and no more: who believes it
opens the record as that number, within a range in which it makes sense.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR, ECB

from rxtls.crypto.keys import RECORD_HEADER, Buffer, Keys
from rxtls.crypto.suites import Family

Numbers = npt.NDArray[np.uint64]
Words = npt.NDArray[np.uint32]
Bytes = npt.NDArray[np.uint8]

_ANY_NONCE = bytes(12)
_FIRST = _ANY_NONCE + b"\0\0\0\1"  # GCM's block of the AEAD tag
_SECOND = _ANY_NONCE + b"\0\0\0\2"  # and that of the first 16 bytes
_ONE = b"\0\0\0\1"


def tells_number(keys: Keys) -> bool:
    """Whether records under these keys tell their number."""
    return keys.tls13 and keys.suite.family is Family.AES_GCM


def told_number(keys: Keys, record: Buffer) -> int | None:
    """The number that a whole record must have if it is of these keys; None if no number fits. The keys must tell."""
    header, ciphertext, tag = record[:RECORD_HEADER], bytes(record[RECORD_HEADER:-16]), record[-16:]
    aes = AES(keys.key)
    plaintext = Cipher(aes, CTR(_SECOND)).encryptor().update(ciphertext)
    other = AESGCM(keys.key).encrypt(_ANY_NONCE, plaintext, bytes(header))[-16:]
    blocks = Cipher(aes, ECB())
    mask = int.from_bytes(tag) ^ int.from_bytes(other) ^ int.from_bytes(blocks.encryptor().update(_FIRST))
    block = blocks.decryptor().update(mask.to_bytes(16))
    if block[12:] != _ONE or block[:4] != keys.iv[:4]:
        return None
    return int.from_bytes(block[4:12]) ^ int.from_bytes(keys.iv[4:])


# Where the number does not come out of the record, many are looked at in one go: what the last byte of the plaintext is
# under each. In TLS 1.3 that is the content type, or padding (RFC 8446, RFC 9846 section 5.2).

_LAST = np.zeros(256, bool)
_LAST[[0, 20, 21, 22, 23]] = True


def likely_numbers(keys: Sequence[Keys], record: Buffer, start: int, stop: int) -> list[tuple[int, int]]:
    """(Place in `keys`, number) for all of the numbers [start, stop), below 2^63, under which a TLS 1.3 record of
    ChaCha20-Poly1305 or AES-CCM may end as it should: one in fifty by chance. All keys are of one suite."""
    if not keys:
        return []
    ciphertext = record[RECORD_HEADER : len(record) - keys[0].aead_tag_length]
    last = len(ciphertext) - 1
    numbers = np.arange(start, stop, dtype=np.uint64)
    look = _chacha20_byte if keys[0].suite.family is Family.CHACHA20_POLY1305 else _ctr_byte
    fits = _LAST[look(keys, numbers, last) ^ ciphertext[last]]
    return [(int(key), start + int(n)) for key, n in np.argwhere(fits)]


def _ctr_byte(keys: Sequence[Keys], numbers: Numbers, at: int) -> Bytes:
    """Byte `at` of CCM's keystream (RFC 3610 section 2.3) of each record, a row for each key."""
    blocks = np.zeros((len(numbers), 16), np.uint8)
    blocks[:, 0] = 2  # a length of three bytes
    blocks[:, 13:] = np.frombuffer((1 + at // 16).to_bytes(3), np.uint8)
    low = numbers.astype(">u8").view(np.uint8).reshape(-1, 8)
    rows = []
    for each in keys:
        blocks[:, 1:13] = np.frombuffer(each.iv, np.uint8)
        blocks[:, 5:13] ^= low
        stream = Cipher(AES(each.key), ECB()).encryptor().update(blocks.tobytes())
        rows.append(np.frombuffer(stream, np.uint8).reshape(-1, 16)[:, at % 16])
    return np.array(rows)


def _chacha20_byte(keys: Sequence[Keys], numbers: Numbers, at: int) -> Bytes:
    """Byte `at` of ChaCha20's keystream (RFC 8439 sections 2.3 and 2.8) of each record, a row for each key: the block
    function, over a column of states."""
    count = len(numbers)
    words = np.array([np.frombuffer(each.key + each.iv, "<u4") for each in keys], np.uint32).T.repeat(count, axis=1)
    low = np.tile(np.ascontiguousarray(numbers.astype(">u8")).view("<u4").reshape(-1, 2).T, len(keys))
    state: list[Words] = [np.full(len(keys) * count, word, np.uint32) for word in _SIGMA]
    state += [*words[:8], np.full(len(keys) * count, 1 + at // 64, np.uint32)]
    state += [words[8].copy(), words[9] ^ low[0], words[10] ^ low[1]]
    begun = state[at % 64 // 4].copy()
    for _ in range(10):
        for a, b, c, d in _ROUNDS:
            for x, y, z, bits in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
                state[x] += state[y]
                state[z] ^= state[x]
                state[z] = state[z] << np.uint32(bits) | state[z] >> np.uint32(32 - bits)
    word = state[at % 64 // 4] + begun
    return (word >> np.uint32(8 * (at % 4))).astype(np.uint8).reshape(len(keys), count)


_SIGMA = np.frombuffer(b"expand 32-byte k", "<u4")
_ROUNDS = (
    (0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
    (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14),
)  # fmt: skip
