"""A toy cipher in the place of AES: a XOR with a keystream that every key and record number has for itself, and an AEAD
tag that covers header and ciphertext. What the tested code does around the cipher stays the shipped code.

`toy_cipher()` puts it in place for as long as the context lasts, in this process.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from hashlib import blake2b
from types import ModuleType
from typing import Any

from rxtls.crypto import records
from rxtls.crypto import recrypt as recrypting
from rxtls.crypto.keys import Buffer, Keys
from rxtls.crypto.records import Opened, Opener, check_size
from rxtls.device import engine
from rxtls.errors import RecordError
from rxtls.host import worker

AEAD_TAG = 16


@cache
def keystream(key: bytes, number: int) -> bytes:
    """1,024 bytes; longer records are not explored."""
    return b"".join(blake2b(b"%s/%d/%d" % (key, number, n)).digest() for n in range(16))


def crypt(key: bytes, number: int, offset: int, data: Buffer) -> bytes:
    """`data`, which stands `offset` bytes into the ciphertext, XOR the keystream there."""
    size = len(data)
    stream = keystream(key, number)[offset : offset + size]
    return (int.from_bytes(data) ^ int.from_bytes(stream)).to_bytes(size)


@cache
def aead_tag(key: bytes, number: int, header: bytes, ciphertext: bytes) -> bytes:
    """16 bytes over all of it."""
    return blake2b(b"%s/%d/%s/%s" % (key, number, header, ciphertext), digest_size=AEAD_TAG).digest()


def seal(keys: Keys, number: int, header: bytes, ciphertext: bytes) -> bytes:
    """The record with this ciphertext: who explores chooses what is on the wire."""
    return header + ciphertext + aead_tag(keys.key, number, header, ciphertext)


class ToyStream:
    """StreamOpener's stand-in; its state is in the open, so that it can be copied."""

    __slots__ = ("header", "key", "number", "seen")

    def __init__(self, keys: Keys, number: int, header: Buffer) -> None:
        self.key, self.number, self.header = keys.key, number, bytes(header)
        self.seen = b""

    def update(self, ciphertext: Buffer) -> bytes:
        """The next piece's plaintext."""
        plain = crypt(self.key, self.number, len(self.seen), ciphertext)
        self.seen += bytes(ciphertext)
        return plain

    def verify(self, tag: Buffer) -> bool:
        """Whether it is the AEAD tag of the header and the pieces so far."""
        return bytes(tag) == aead_tag(self.key, self.number, self.header, self.seen)


class ToyOpener(Opener):
    """Opener with another cipher: sizes, trimming and inner types are the shipped code's."""

    __slots__ = ()

    def open(self, number: int, record: Buffer) -> Opened:
        """Decrypt and authenticate one record."""
        keys = self._keys
        check_size(keys, record)
        start, end = keys.header_length, len(record) - keys.aead_tag_length
        header, ciphertext = bytes(record[:start]), bytes(record[start:end])
        if bytes(record[end:]) != aead_tag(keys.key, number, header, ciphertext):
            raise RecordError("EBADMSG", "the AEAD tag does not verify")
        plain = crypt(keys.key, number, 0, ciphertext)
        return records._inner(plain, 0, len(plain)) if keys.tls13 else Opened(header[0], plain)


def _recrypted(keys: Keys, number: int, _header: Buffer, offset: int, data: bytes) -> bytes:
    return crypt(keys.key, number, offset, data)


@contextmanager
def replaced(*places: tuple[ModuleType | type, str, Any]) -> Iterator[None]:
    """(module or class, name, what stands there meanwhile). What a class has inherited is put before it."""
    before = [(owner, name, name in owner.__dict__, owner.__dict__.get(name)) for owner, name, _ in places]
    for owner, name, value in places:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, own, value in before:
            if own:
                setattr(owner, name, value)
            else:
                delattr(owner, name)


def toy_cipher() -> AbstractContextManager[None]:
    """Puts the toy cipher in place."""
    return replaced(
        (engine, "StreamOpener", ToyStream), (worker, "Opener", ToyOpener), (recrypting, "_crypt", _recrypted)
    )
