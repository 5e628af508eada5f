"""A download and its stream: sealed records that fill so many segments exactly, made as they are asked for."""

from __future__ import annotations

from dataclasses import dataclass

from rxtls.crypto.keys import Keys
from rxtls.crypto.records import Sealer
from rxtls.simulation.link import Connection
from rxtls.simulation.sender import APPLICATION_DATA
from rxtls.simulation.synth import Conversation

MSS = 1448  # what Ethernet's 1500 bytes leave beside IPv4, TCP and timestamps


@dataclass
class Flow:
    """One download of `segments` whole segments, which lies between what the simulated link carries: its handshake and
    request, in which client and server wrote `begun` bytes, and its close."""

    talk: Conversation
    connection: Connection
    keys: Keys
    number: int  # of the first record
    segments: int
    record: int  # bytes of plaintext in a record
    noise: bytes  # what payloads are slices of
    begun: tuple[int, int]

    @property
    def size(self) -> int:
        """Bytes of the stream."""
        return self.segments * MSS

    def stream(self) -> RecordStream:
        """The stream, from its beginning."""
        return RecordStream(self.keys, self.number, self.size, self.record, self.noise)


class RecordStream:
    """`size` bytes of whole records of `record` bytes of plaintext, from record number `number` on. The last one or two
    are shorter, so that they end where the bytes do."""

    def __init__(self, keys: Keys, number: int, size: int, record: int, noise: bytes) -> None:
        self.overhead = keys.header_length + keys.max_trailer
        self.payloads = record_lengths(size, record, self.overhead)
        self._sealer = Sealer(keys)
        self._number = number
        self._noise = noise
        self._made = 0
        self._rest = b""

    def fill(self, out: memoryview) -> None:
        """The next len(out) bytes of the stream."""
        at = 0
        while at < len(out):
            if not self._rest:
                self._rest = self._record()
            part = self._rest[: len(out) - at]
            out[at : at + len(part)] = part
            self._rest = self._rest[len(part) :]
            at += len(part)

    def whole_records(self, size: int) -> list[int]:
        """Sizes on the wire of the records that lie in the first `size` bytes."""
        lengths, end = [], 0
        for payload in self.payloads:
            end += payload + self.overhead
            if end > size:
                break
            lengths.append(payload + self.overhead)
        return lengths

    def _record(self) -> bytes:
        length = self.payloads[self._made]
        begin = self._made * 7919 % (len(self._noise) - length)  # a prime: neighbours differ
        payload = self._noise[begin : begin + length]
        whole = self._sealer.seal(self._number + self._made, APPLICATION_DATA, payload)
        self._made += 1
        return whole


def record_lengths(size: int, record: int, overhead: int) -> list[int]:
    """Plaintext lengths of records that fill `size` bytes exactly, all but the last one or two of them `record`."""
    whole = record + overhead
    count, rest = divmod(size, whole)
    if rest > overhead:
        return [record] * count + [rest - overhead]
    if not rest:
        return [record] * count
    if not count:
        raise ValueError(f"{size} bytes hold no record")
    half = (whole + rest) // 2
    return [record] * (count - 1) + [half - overhead, whole + rest - half - overhead]
