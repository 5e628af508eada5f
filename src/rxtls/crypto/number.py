"""Which record number a record has, read out of the record itself. For AES-GCM in TLS 1.3, where the number is all of
the nonce that is not known, no search is needed: GCM's last step can be run backwards.

    AEAD tag = GHASH(header, ciphertext) XOR AES(nonce | 1)          NIST SP 800-38D section 7.1
    nonce | 1 = AES^-1(AEAD tag XOR GHASH(header, ciphertext))

GHASH does not depend on the nonce, so a library gives it: encrypt to the same ciphertext under any nonce, and take the
AEAD tag of that. Of the block that comes out 32 bits are the counter's 1 and 32 the IV's, or key and record do not
belong together; the rest is the number (RFC 8446, RFC 9846 section 5.3). It is a guess, and no more: who believes it
opens the record as that number, within a range in which it makes sense.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR, ECB

from rxtls.crypto.keys import RECORD_HEADER, Buffer, Keys
from rxtls.crypto.suites import Family

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
