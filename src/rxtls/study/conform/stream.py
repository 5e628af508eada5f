"""Streams for conformance: consecutive records on the wire, good and hostile, with the truth about each byte.

    wire   hdr|nonce|ciphertext     |AEAD tag|hdr|...       seq(0) is the first byte's sequence number
    plain  hdr|nonce|inner plaintext|AEAD tag|hdr|...       as a device gives it up that decrypts

A hostile record authenticates wherever that is possible at all: what forbids its decryption is then its form alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from rxtls.crypto.keys import RECORD_HEADER, Keys
from rxtls.crypto.records import Sealer, make_aead
from rxtls.crypto.stream import StreamOpener
from rxtls.crypto.suites import SUITES, Family, Version
from rxtls.seq import add

AEAD_TAG = 16
NUMBERS = 1 << 64


@dataclass(frozen=True, slots=True)
class Sent:
    """One record: its bytes [start, end) of the stream, and whether a device may call it authentic."""

    start: int
    end: int
    number: int
    good: bool


@dataclass(slots=True)
class Stream:
    """Records under keys, which may change; `number` is the next one's."""

    keys: Keys
    base: int = 1_000
    number: int = 0
    wire: bytes = b""
    plain: bytes = b""
    records: list[Sent] = field(default_factory=list)

    def seq(self, offset: int) -> int:
        """The sequence number of the byte at `offset`."""
        return add(self.base, offset)

    def add(self, length: int, kind: int = 23, padding: int = 0) -> Stream:
        """A good record of so many bytes of payload."""
        keys = self.keys
        payload = Random(f"{len(self.wire)}/{length}").randbytes(length)
        record = Sealer(keys).seal(self.number % NUMBERS, kind, payload, padding)
        inner = payload + bytes([kind]) + bytes(padding) if keys.tls13 else payload
        plain = record[: keys.header_length] + inner + record[-AEAD_TAG:]
        return self._put(record, plain, self.number < NUMBERS)

    def many(self, count: int, length: int) -> Stream:
        """Good records."""
        for _ in range(count):
            self.add(length)
        return self

    def forged(self, length: int, at: int = -1) -> Stream:
        """A record of which the byte at `at` was changed on its way: the AEAD tag's last one, or one of ciphertext."""
        good = Stream(self.keys, number=self.number).add(length)
        record, plain = bytearray(good.wire), bytearray(good.plain)
        for changed in (record, plain):
            changed[at] ^= 0x80
        return self._put(bytes(record), bytes(plain), False)

    def hostile(self, kind: int, version: int, said: int | None, length: int = 64) -> Stream:
        """A record whose header says this; its AEAD tag verifies over that header. `said` is what the length field
        says, None: the truth."""
        keys = self.keys
        explicit = self.number.to_bytes(8)[: keys.explicit_length]
        content = bytes(length - keys.tls13) + b"\x17" * keys.tls13
        size = len(explicit) + length + AEAD_TAG if said is None else said
        header = bytes([kind]) + version.to_bytes(2) + size.to_bytes(2) + explicit
        additional = header[:RECORD_HEADER] if keys.tls13 else keys.additional_data(self.number, header, length)
        sealed = make_aead(keys).encrypt(keys.nonce(self.number, header), content, additional)
        return self._put(header + sealed, header + content + sealed[-AEAD_TAG:], False)

    def crafted(self, ciphertext: bytes) -> Stream:
        """A good record whose ciphertext begins with just these bytes: a sender can choose what the wire shows."""
        keys = self.keys
        header = Sealer(keys).seal(self.number, 23, bytes(len(ciphertext)))[: keys.header_length]
        payload = StreamOpener(keys, self.number, header).update(ciphertext)
        record = Sealer(keys).seal(self.number, 23, payload)
        inner = payload + b"\x17" if keys.tls13 else payload
        return self._put(record, record[: keys.header_length] + inner + record[-AEAD_TAG:], True)

    def rekey(self, keys: Keys, number: int = 0) -> Stream:
        """Records under other keys from here on."""
        self.keys, self.number = keys, number
        return self

    def _put(self, record: bytes, plain: bytes, good: bool) -> Stream:
        start = len(self.wire)
        self.wire += record
        self.plain += plain
        self.records.append(Sent(start, len(self.wire), self.number, good))
        self.number += 1
        return self


def kinds(taken: list[tuple[Family, Version]], generation: int = 1) -> dict[str, Keys]:
    """Keys of each kind that may be offloaded, by name."""
    found: dict[str, Keys] = {}
    for code in (0x1301, 0x1302, 0xC02F, 0xC030, 0x1303, 0xCCA8):
        suite = SUITES[code]
        version = Version.TLS13 if Version.TLS13 in suite.versions else Version.TLS12
        if (suite.family, version) in taken:
            salt = 12 if version is Version.TLS13 or suite.family is Family.CHACHA20_POLY1305 else 4
            dice = Random(f"{code}/{generation}")
            found[suite.name] = Keys(suite, version, dice.randbytes(suite.key_length), dice.randbytes(salt))
    return found
