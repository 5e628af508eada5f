"""What one side of a simulated connection writes: real TLS records, one after the other, into one byte stream.

`TlsSender` is the sending application and its TLS library in one. It is told what to write (records, KeyUpdates,
alerts, raw bytes) and builds `data`, the stream that TCP is to carry, beside `records`, the truth about it. It knows
nothing of segments; tcp.py carries what is here, link.py decides when.

The stream may be cut by gates: bytes after a gate are not written before so much of the peer's stream has come and a
pause has passed. Gates are what makes two senders a conversation.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Self

from rxtls.crypto.keys import Keys
from rxtls.crypto.records import Sealer
from rxtls.crypto.schedule import tls13_keys, tls13_next_secret
from rxtls.crypto.stream import StreamOpener
from rxtls.crypto.suites import Suite

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA = 20, 21, 22, 23
CLOSE_NOTIFY = b"\x01\x00"


class PlannedRecord(NamedTuple):
    """One record to write. `padding` (TLS 1.3) is zeros after the inner content type."""

    type: int
    payload: bytes
    padding: int = 0

    def __repr__(self) -> str:
        return f"PlannedRecord(type={self.type}, {len(self.payload)} bytes, padding={self.padding})"


class SentRecord(NamedTuple):
    """One record as written: content, and its place in the stream.

    `start` and `length` are stream bytes including header and trailer; `number` is None for a plaintext record;
    `generation` counts the keys this sender has had.
    """

    type: int
    payload: bytes
    start: int
    length: int
    number: int | None
    generation: int

    def __repr__(self) -> str:
        return f"SentRecord(type={self.type}, {len(self.payload)} bytes, start={self.start}, number={self.number})"


class Gate(NamedTuple):
    """Bytes from `at` on wait for `peer` bytes of the other stream, then `pause_ns` more."""

    at: int
    peer: int
    pause_ns: int


class TlsSender:
    """The writing end of one direction.

    `keys` None writes plaintext records until `rekey`. `number` is the first record's number. `plan` is written at
    once; more may follow. A KeyUpdate needs the traffic secret, so start from `TlsSender.tls13` to send one.
    """

    def __init__(self, keys: Keys | None = None, number: int = 0, plan: Iterable[PlannedRecord] = ()) -> None:
        self.data = bytearray()
        self.records: list[SentRecord] = []
        self.gates: list[Gate] = []
        self.generation = 0
        self.version = 0x0303  # in the header of plaintext records
        self._secret: tuple[Suite, bytes] | None = None
        self._use(keys, number)
        for planned in plan:
            self.record(*planned)

    @classmethod
    def tls13(cls, suite: Suite, secret: bytes, number: int = 0, plan: Iterable[PlannedRecord] = ()) -> Self:
        """A TLS 1.3 sender under traffic secret `secret`; KeyUpdates in the plan change its keys."""
        sender = cls(tls13_keys(suite, secret), number)
        sender._secret = suite, secret
        for planned in plan:
            sender.record(*planned)
        return sender

    def record(self, content_type: int, payload: bytes, padding: int = 0) -> None:
        """Write one record. A TLS 1.3 KeyUpdate message takes effect after it (RFC 8446, RFC 9846 section 4.6.3)."""
        if self._sealer is None:
            self.plain(content_type, payload)
            return
        self._append(content_type, payload, self._sealer.seal(self.number, content_type, payload, padding), self.number)
        self.number += 1
        if self._secret and content_type == HANDSHAKE and payload in (key_update(False), key_update(True)):
            suite, secret = self._secret
            self.rekey13(suite, tls13_next_secret(suite, secret))

    def crafted(self, wire: bytes) -> None:
        """Write one record of application data whose ciphertext begins with these bytes: who has the keys can choose
        what a record shows on the wire. Only under keys that stream."""
        assert self._sealer is not None
        assert self.keys is not None
        header = self._sealer.seal(self.number, APPLICATION_DATA, wire)[: self.keys.header_length]
        self.record(APPLICATION_DATA, StreamOpener(self.keys, self.number, header).update(wire))

    def plain(self, content_type: int, payload: bytes) -> None:
        """Write one record in the clear, whatever the keys (the ChangeCipherSpec of a TLS 1.3 handshake)."""
        header = bytes([content_type]) + self.version.to_bytes(2) + len(payload).to_bytes(2)
        self._append(content_type, payload, header + payload, None)

    def raw(self, data: bytes) -> None:
        """Write bytes that are no record: a preamble before TLS, or the records of someone else."""
        self.data += data

    def close_notify(self) -> None:
        """Write the alert that ends a TLS stream in order."""
        self.record(ALERT, CLOSE_NOTIFY)

    def rekey(self, keys: Keys | None, number: int = 0) -> None:
        """Seal what follows under `keys`, from record `number` on (None: plaintext)."""
        self.generation += 1
        self._secret = None
        self._use(keys, number)

    def rekey13(self, suite: Suite, secret: bytes, number: int = 0) -> None:
        """Seal what follows under the TLS 1.3 traffic secret `secret`."""
        self.rekey(tls13_keys(suite, secret), number)
        self._secret = suite, secret

    def wait(self, peer: TlsSender | None = None, pause_ns: int = 0) -> None:
        """What follows waits for all that `peer` has written so far, then for `pause_ns` of time."""
        self.gates.append(Gate(len(self.data), len(peer.data) if peer else 0, pause_ns))

    def truth(self) -> list[tuple[int, bytes]]:
        """(type, payload) of every record, in order."""
        return [(record.type, record.payload) for record in self.records]

    def _append(self, content_type: int, payload: bytes, wire: bytes, number: int | None) -> None:
        self.records.append(SentRecord(content_type, payload, len(self.data), len(wire), number, self.generation))
        self.data += wire

    def _use(self, keys: Keys | None, number: int) -> None:
        self.number = number
        self.keys = keys
        self._sealer = Sealer(keys) if keys else None


def key_update(request: bool = False) -> bytes:
    """The KeyUpdate message (RFC 8446, RFC 9846 section 4.6.3); `request` asks the peer to update too."""
    return b"\x18\x00\x00\x01" + bytes([request])
