"""Hand-built TLS streams for the device's tests: what is on the wire, and what a perfect NIC would make of every byte.

    wire   hdr|nonce|ciphertext     |AEAD tag|hdr|...       seq(0) is the first byte's sequence number
    plain  hdr|nonce|inner plaintext|AEAD tag|hdr|...       headers, explicit nonces and AEAD tags stay as they are

Offsets count from the first byte of the stream; `starts` are those of the record headers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from rxtls.crypto.keys import Keys
from rxtls.crypto.records import Sealer
from rxtls.crypto.stream import StreamOpener
from rxtls.crypto.suites import SUITES, Version
from rxtls.device import engine
from rxtls.device.context import Context
from rxtls.device.tracker import HeaderPattern, TrackerEvent
from rxtls.offload.commands import Happening
from rxtls.seq import add
from sample_keys import made_up, sample_keys

GCM13 = sample_keys(SUITES[0x1301], Version.TLS13)
GCM12 = sample_keys(SUITES[0xC02F], Version.TLS12)
CHACHA13 = sample_keys(SUITES[0x1303], Version.TLS13)
CHACHA12 = sample_keys(SUITES[0xCCA8], Version.TLS12)
ENGINE_KEYS = (GCM13, GCM12, CHACHA13, CHACHA12)

MOMENT = (7, 7_000)
AEAD_TAG = 16


@dataclass(slots=True)
class TlsStream:
    """Consecutive records under one set of keys."""

    keys: Keys
    base: int = 1_000
    number: int = 0
    wire: bytes = b""
    plain: bytes = b""
    starts: list[int] = field(default_factory=list)

    def append(self, payload: bytes, padding: int = 0) -> TlsStream:
        """One more record."""
        number = self.number + len(self.starts)
        record = Sealer(self.keys).seal(number, 23, payload, padding)
        inner = payload + b"\x17" + bytes(padding) if self.keys.version is Version.TLS13 else payload
        self.starts.append(len(self.wire))
        self.wire += record
        self.plain += record[: self.keys.header_length] + inner + record[-AEAD_TAG:]
        return self

    def append_crafted(self, ciphertext: bytes) -> TlsStream:
        """One more record, whose ciphertext begins with just these bytes: a sender can choose what the wire shows."""
        number = self.number + len(self.starts)
        header = Sealer(self.keys).seal(number, 23, bytes(len(ciphertext)))[: self.keys.header_length]
        self.append(StreamOpener(self.keys, number, header).update(ciphertext))
        return self

    def seq(self, offset: int) -> int:
        """The sequence number of the byte at `offset`."""
        return add(self.base, offset)

    def end(self, index: int) -> int:
        """Offset of the first byte after record `index`."""
        return self.starts[index + 1] if index + 1 < len(self.starts) else len(self.wire)

    def spans(self) -> list[tuple[int, int]]:
        """(start, end) of every record."""
        return [(start, self.end(index)) for index, start in enumerate(self.starts)]


def stream_of(keys: Keys, lengths: Sequence[int], base: int = 1_000, number: int = 0) -> TlsStream:
    """Records with these payload lengths."""
    stream = TlsStream(keys, base, number)
    for index, length in enumerate(lengths):
        stream.append(made_up(length, f"payload {index}"))
    return stream


def false_headers(keys: Keys, count: int, total: int = 64) -> bytes:
    """A chain of `count` headers that fit the keys' pattern, each where the one before says the next stands."""
    header = b"\x17\x03\x03" + (total - 5).to_bytes(2)
    return (header + b"\xff" * (total - 5)) * count


def context_for(keys: Keys, search_after: int = 0, auth_failures: int = 3) -> Context:
    """A context that has only just been made."""
    return Context(1, 0, keys, search_after, auth_failures, HeaderPattern(keys))


class Bench:
    """One context under one stream. `packet` feeds it and says what came back."""

    def __init__(self, stream: TlsStream, start: int | None = 0, search_after: int = 0, auth_failures: int = 3) -> None:
        """`start` is the index of the record at which the device is programmed to begin; None: it has to search."""
        self.stream = stream
        self.moment = MOMENT  # of what comes next
        self.context = context_for(stream.keys, search_after, auth_failures)
        if start is None:
            self.context.fire(TrackerEvent.SCAN)
        else:
            engine.bind(self.context, stream.seq(stream.starts[start]), stream.number + start)

    def receive(self, start: int, data: bytes) -> bytes | None:
        """`data` as the bytes that stand at offset `start`."""
        return engine.receive(self.context, self.stream.seq(start), data, self.moment)

    def packet(self, start: int, end: int) -> bool:
        """The stream's bytes [start, end). True: marked, and then every byte is what it has to be."""
        out = self.receive(start, self.stream.wire[start:end])
        assert out is None or out == self.stream.plain[start:end]
        return out is not None

    def packets(self, *cuts: int) -> list[bool]:
        """Packets in order, from cut to cut."""
        return [self.packet(start, end) for start, end in pairwise(cuts)]

    def rest(self, start: int, step: int = 100) -> list[bool]:
        """Packets in order from `start` to the end of the stream."""
        return self.packets(*range(start, len(self.stream.wire), step), len(self.stream.wire))

    def confirm(self, index: int, wrong_by: int = 0) -> None:
        """The host says that the record at this index has its number, or a wrong one."""
        seq = self.stream.seq(self.stream.starts[index])
        engine.confirm(self.context, seq, self.stream.number + index + wrong_by, self.moment)

    @property
    def anchored_at(self) -> int:
        """The anchor, as an offset in the stream."""
        return (self.context.anchor - self.stream.base) & 0xFFFF_FFFF

    def happenings(self) -> list[Happening]:
        """What the log holds since the last call."""
        happened = [event.happening for event in self.context.log]
        self.context.log.clear()
        return happened
