"""Ways to open a mixed record, side by side, with what each costs. The worker uses `one_span`; the others are for show.

    marks       E E E D D D D E E D D D E E        n bytes of ciphertext, m of them decrypted, s from the first to the
                      |<----- span ----->|         last of those

    name        AES over   GHASH   copied   where it is from
    landed      2 n        n       n + m    ktls_ocf.c: CTR over the whole chain into a buffer, then copied back
    zero_block  m + n      n       m        the review of D32356: CTR over a block of zeros, XOR where it was decrypted
    one_span    s + n      n       s        ours: CTR over one span
    split       n          n       m        the review: CTR once over every byte, the AEAD tag over the wire's bytes

All verify the AEAD tag over the whole record as it was on the wire; `split` computes it without decrypting, by GHASH
alone. A GMAC of (additional data, ciphertext) differs from the record's AEAD tag in the last block of GHASH only, which
holds the lengths: one multiplication in GF(2^128) makes up for it. For AES-GCM; ChaCha20-Poly1305 has no such counter.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR, ECB

from rxtls.crypto.keys import Keys
from rxtls.crypto.suites import Family
from rxtls.errors import RecordError

_BLOCK = 16
_FIRST_COUNTER = 2
_REDUCTION = 0xE1 << 120  # x^128 + x^7 + x^2 + x + 1, bits reversed (NIST SP 800-38D section 6.3)

Spans = Sequence[tuple[bytes, bool]]  # pieces of the ciphertext, True where the device has decrypted it


class Cost(NamedTuple):
    """Bytes that went through AES, through GHASH, and that were written once more than needed."""

    aes: int
    ghash: int
    copied: int


class Result(NamedTuple):
    """The inner plaintext, and what it cost."""

    plaintext: bytes
    cost: Cost

    def __repr__(self) -> str:
        return f"Result({len(self.plaintext)} bytes, {self.cost})"


def landed(keys: Keys, number: int, header: bytes, spans: Spans, aead_tag: bytes) -> Result:
    """Two passes over everything: as in the FreeBSD tree."""
    mixed = b"".join(piece for piece, _ in spans)
    turned = _ctr(keys, number, header, 0, mixed)
    wire, marked = bytearray(mixed), 0
    for start, end in _marked(spans):
        wire[start:end] = turned[start:end]
        marked += end - start
    plaintext = _open(keys, number, header, bytes(wire), aead_tag)
    return Result(plaintext, Cost(2 * len(mixed), len(mixed), len(mixed) + marked))


def zero_block(keys: Keys, number: int, header: bytes, spans: Spans, aead_tag: bytes) -> Result:
    """Keystream for the decrypted parts alone, exclusive-ored into them."""
    wire, marked = bytearray(b"".join(piece for piece, _ in spans)), 0
    for start, end in _marked(spans):
        keystream = _ctr(keys, number, header, start, bytes(end - start))
        wire[start:end] = (int.from_bytes(wire[start:end]) ^ int.from_bytes(keystream)).to_bytes(end - start)
        marked += end - start
    plaintext = _open(keys, number, header, bytes(wire), aead_tag)
    return Result(plaintext, Cost(marked + len(wire), len(wire), marked))


def one_span(keys: Keys, number: int, header: bytes, spans: Spans, aead_tag: bytes) -> Result:
    """One pass from the first decrypted byte to the last, however many parts there are."""
    wire = bytearray(b"".join(piece for piece, _ in spans))
    marked = _marked(spans)
    width = 0
    if marked:
        first, last = marked[0][0], marked[-1][1]
        width = last - first
        turned = _ctr(keys, number, header, first, bytes(wire[first:last]))
        for start, end in marked:
            wire[start:end] = turned[start - first : end - first]
    plaintext = _open(keys, number, header, bytes(wire), aead_tag)
    return Result(plaintext, Cost(width + len(wire), len(wire), width))


def split(keys: Keys, number: int, header: bytes, spans: Spans, aead_tag: bytes) -> Result:
    """One pass of AES: it turns plaintext back and ciphertext forth. The AEAD tag is checked by itself."""
    mixed = b"".join(piece for piece, _ in spans)
    turned = _ctr(keys, number, header, 0, mixed)
    wire, plaintext, marked = bytearray(mixed), bytearray(turned), 0
    for start, end in _marked(spans):
        wire[start:end], plaintext[start:end] = turned[start:end], mixed[start:end]
        marked += end - start
    expected = _aead_tag(keys, number, header, bytes(wire))
    if not hmac.compare_digest(expected, aead_tag):
        raise RecordError("EBADMSG", "the AEAD tag does not verify")
    return Result(bytes(plaintext), Cost(len(mixed), len(mixed), marked))


Strategy = Callable[[Keys, int, bytes, Spans, bytes], Result]

STRATEGIES: dict[str, Strategy] = {
    "landed": landed,
    "zero_block": zero_block,
    "one_span": one_span,
    "split": split,
}


def _marked(spans: Spans) -> list[tuple[int, int]]:
    """(start, end) of the decrypted parts, neighbours joined."""
    found: list[tuple[int, int]] = []
    at = 0
    for piece, decrypted in spans:
        if decrypted and piece:
            if found and found[-1][1] == at:
                found[-1] = found[-1][0], at + len(piece)
            else:
                found.append((at, at + len(piece)))
        at += len(piece)
    return found


def _ctr(keys: Keys, number: int, header: bytes, offset: int, data: bytes) -> bytes:
    if keys.suite.family is not Family.AES_GCM:
        raise ValueError(f"{keys.suite.name} is not AES-GCM")
    block, within = divmod(offset, _BLOCK)
    counter = keys.nonce(number, header) + (_FIRST_COUNTER + block).to_bytes(4)
    return Cipher(AES(keys.key), CTR(counter)).encryptor().update(bytes(within) + data)[within:]


def _open(keys: Keys, number: int, header: bytes, wire: bytes, aead_tag: bytes) -> bytes:
    additional = keys.additional_data(number, header, len(wire))
    try:
        return AESGCM(keys.key).decrypt(keys.nonce(number, header), wire + aead_tag, additional)
    except InvalidTag:
        raise RecordError("EBADMSG", "the AEAD tag does not verify") from None


def _aead_tag(keys: Keys, number: int, header: bytes, wire: bytes) -> bytes:
    """The AEAD tag that this ciphertext should have, without running AES over it."""
    additional = keys.additional_data(number, header, len(wire))
    everything = additional.ljust(-(-len(additional) // _BLOCK) * _BLOCK, b"\0") + wire
    gmac = AESGCM(keys.key).encrypt(keys.nonce(number, header), b"", everything)
    key = int.from_bytes(Cipher(AES(keys.key), ECB()).encryptor().update(bytes(_BLOCK)))  # GHASH's key
    there = (8 * len(everything)) << 64
    wanted = (8 * len(additional)) << 64 | 8 * len(wire)
    return (int.from_bytes(gmac) ^ _multiply(there ^ wanted, key)).to_bytes(_BLOCK)


def _multiply(x: int, y: int) -> int:
    """In GF(2^128) as GCM has it: the leftmost bit is the coefficient of 1."""
    product = 0
    for at in range(127, -1, -1):
        if x >> at & 1:
            product ^= y
        y = y >> 1 ^ (_REDUCTION if y & 1 else 0)
    return product
