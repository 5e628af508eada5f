"""Records opened and re-encrypted by compiled code: libcrypto's EVP functions over addresses.

The kernel's twin of stream.py, records.py and recrypt.py. A row of the key table (key_table.KeyTable.rows) stands for a
`Keys`; `slot` is its index. A record goes

    begin(keys, slot, number, header)             when its header, explicit nonce included, is there
    update(keys, slot, to, source, length)        for each piece of ciphertext, of any length
    verify(keys, slot, aead_tag)                  once

or through `open_record` in one call. A row has one record in work: a record begun and left is forgotten by the next
`begin`, and whoever opens whole records while a device is inside one needs a row of his own. `recrypt` is apart: it has
another context, and may come in between.

What libcrypto answers in between is not looked at: a nonce that was not set, or a piece that was not decrypted, makes
`verify` fail, and nothing counts as authenticated before that. Lengths fit libcrypto's int32: records have no more than
64 KiB. Record numbers are 64 bits as int64 has them.

To import this module is to use libcrypto: where `libcrypto.available` says there is none, it raises RxtlsError.
"""

from __future__ import annotations

from typing import Any

from rxtls.crypto import libcrypto
from rxtls.native import Columns, Row, Table, foreign, inner, kernel, load8, load16, load32, load64, store64


class Key(Columns):
    """A row of the key table."""

    AEAD = 0  # EVP_CIPHER_CTX: decrypts, key set; 0 in a row that is free
    COUNTER = 1  # EVP_CIPHER_CTX of the bare counter mode, key set
    FAMILY = 2
    TLS13 = 3  # 1 or 0
    HEADER_LENGTH = 4  # 5 and the explicit nonce
    EXPLICIT_LENGTH = 5
    AEAD_TAG_LENGTH = 6
    MIN_TOTAL = 7  # bytes of the shortest record and of the longest, header included
    MAX_TOTAL = 8
    FIRST_TYPE = 9  # outer content types that a record under these keys can have: from, to and including
    LAST_TYPE = 10
    IV_HIGH = 11  # first 4 bytes of the IV, or the salt
    IV_LOW = 12  # last 8 bytes of the IV; 0 with an explicit nonce
    SCRATCH = 13  # address of SCRATCH_LENGTH bytes of the row's own
    COLUMNS = 14


# Values of FAMILY.
AES_GCM = 0
CHACHA20_POLY1305 = 1

# What is where in a row's scratch.
NONCE = 0  # 12 bytes
ADDITIONAL = 16  # 13 bytes in TLS 1.2
BLOCK = 32  # the counter mode's first block, 16 bytes
WRITTEN = 48  # where libcrypto says how many bytes it wrote
SKIPPED = 64  # what the keystream's bytes before an offset are spent on, up to 63
SCRATCH_LENGTH = 128

libcrypto.register()


def _function(name: str, *arguments: str) -> Any:
    return foreign(libcrypto.symbol(name), *arguments)


_decrypt_init = _function("EVP_DecryptInit_ex", "address", "address", "address", "address", "address")
_decrypt_update = _function("EVP_DecryptUpdate", "address", "address", "address", "address", "int")
_decrypt_final = _function("EVP_DecryptFinal_ex", "address", "address", "address")
_encrypt_init = _function("EVP_EncryptInit_ex", "address", "address", "address", "address", "address")
_encrypt_update = _function("EVP_EncryptUpdate", "address", "address", "address", "address", "int")
_control = _function("EVP_CIPHER_CTX_ctrl", "address", "int", "int", "address")
_SET_AEAD_TAG = 0x11  # EVP_CTRL_AEAD_SET_TAG


@inner
def _nonce_low(keys: Table, slot: int, number: int, header: int) -> int:
    """The nonce's last 8 bytes; the first 4 are IV_HIGH. Keys.nonce has the sources."""
    return load64(header + 5) if keys[slot, Key.EXPLICIT_LENGTH] else keys[slot, Key.IV_LOW] ^ number


@inner
def begin(keys: Table, slot: int, number: int, header: int) -> None:
    """Begin record `number`. `header` is the address of its first HEADER_LENGTH bytes, whose length is plausible."""
    scratch = keys[slot, Key.SCRATCH]
    context = keys[slot, Key.AEAD]
    store64(scratch + NONCE, keys[slot, Key.IV_HIGH] << 32)
    store64(scratch + NONCE + 4, _nonce_low(keys, slot, number, header))
    _decrypt_init(context, 0, 0, 0, scratch + NONCE)
    if keys[slot, Key.TLS13]:
        _decrypt_update(context, 0, scratch + WRITTEN, header, 5)
        return
    # number, type, version, plaintext length: RFC 5246 section 6.2.3.3
    length = (load16(header + 3) - keys[slot, Key.EXPLICIT_LENGTH] - keys[slot, Key.AEAD_TAG_LENGTH]) & 0xFFFF
    store64(scratch + ADDITIONAL, number)
    store64(scratch + ADDITIONAL + 8, (load32(header) >> 8) << 40 | length << 24)
    _decrypt_update(context, 0, scratch + WRITTEN, scratch + ADDITIONAL, 13)


@inner
def update(keys: Table, slot: int, to: int, source: int, length: int) -> None:
    """Decrypt `length` bytes at `source`; `to` is the same address, or bytes that do not touch them."""
    if length > 0:
        _decrypt_update(keys[slot, Key.AEAD], to, keys[slot, Key.SCRATCH] + WRITTEN, source, length)


@inner
def verify(keys: Table, slot: int, aead_tag: int) -> int:
    """1 when the AEAD tag at an address verifies what was begun, 0 when it does not."""
    scratch = keys[slot, Key.SCRATCH]
    context = keys[slot, Key.AEAD]
    _control(context, _SET_AEAD_TAG, keys[slot, Key.AEAD_TAG_LENGTH], aead_tag)
    return 1 if _decrypt_final(context, scratch + SKIPPED, scratch + WRITTEN) == 1 else 0


@inner
def open_record(keys: Table, slot: int, number: int, record: int, total: int, to: int) -> int:
    """Open the whole record at an address: total - HEADER_LENGTH - AEAD_TAG_LENGTH bytes are written to `to`, which may
    be the ciphertext's own place. 1 when it verifies. 0 when it does not (what was written is worth nothing then), and
    when its size is one that these keys' records do not have, or not what its header says (nothing is written)."""
    if total < keys[slot, Key.MIN_TOTAL] or total > keys[slot, Key.MAX_TOTAL] or load16(record + 3) + 5 != total:
        return 0
    start = keys[slot, Key.HEADER_LENGTH]
    end = total - keys[slot, Key.AEAD_TAG_LENGTH]
    begin(keys, slot, number, record)
    update(keys, slot, to, record + start, end - start)
    return verify(keys, slot, record + end)


@inner
def recrypt(keys: Table, slot: int, number: int, header: int, offset: int, at: int, length: int) -> None:
    """XOR record `number`'s keystream over `length` bytes at the address `at`, which stand `offset` bytes into its
    ciphertext: plaintext becomes what was on the wire, and the other way round. `header` as in `begin`."""
    if length <= 0:
        return
    scratch = keys[slot, Key.SCRATCH]
    context = keys[slot, Key.COUNTER]
    high, low = keys[slot, Key.IV_HIGH], _nonce_low(keys, slot, number, header)
    if keys[slot, Key.FAMILY] == AES_GCM:
        # nonce, block number; number 1 encrypts the AEAD tag: NIST SP 800-38D section 7.1
        within, block = offset & 15, 2 + (offset >> 4)
        store64(scratch + BLOCK, high << 32 | (low >> 32 & 0xFFFF_FFFF))
        store64(scratch + BLOCK + 8, low << 32 | block)
    else:
        # block number (little-endian, 16 bits are enough), nonce; number 0 makes the Poly1305 key: RFC 8439 section 2.8
        within, block = offset & 63, 1 + (offset >> 6)
        store64(scratch + BLOCK, (block & 0xFF) << 56 | (block >> 8 & 0xFF) << 48 | high)
        store64(scratch + BLOCK + 8, low)
    _encrypt_init(context, 0, 0, 0, scratch + BLOCK)
    if within:
        _encrypt_update(context, scratch + SKIPPED, scratch + WRITTEN, scratch + SKIPPED, within)
    _encrypt_update(context, at, scratch + WRITTEN, at, length)


@inner
def inner_end(address: int, length: int) -> int:
    """Where the content type of a TLS 1.3 inner plaintext stands: the offset of its last byte that is not zero, or -1
    (records.inner_type_offset)."""
    end = length
    while end >= 8 and load64(address + end - 8) == 0:
        end -= 8
    while end > 0 and load8(address + end - 1) == 0:
        end -= 1
    return end - 1


@kernel
def open_all(keys: Table, slots: Row, numbers: Row, addresses: Row, totals: Row, to: Row) -> int:
    """Open records that lie whole at `addresses`, one after the other, and say how many verified: what a run costs that
    has nothing to do but AES. Arrays of equal length, `to` the addresses of the plaintexts."""
    good = 0
    for n in range(len(slots)):
        good += open_record(keys, slots[n], numbers[n], addresses[n], totals[n], to[n])
    return good
