"""Mutators of TLS: records and handshake messages changed inside segments that stay good TCP.

The stream of a direction is put together from its segments, changed, and laid back into them. A change of length moves
the sequence numbers behind it and the acknowledgements of the other side, so that TCP has nothing to complain about.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from hostile_frames import ACK, MASK, SYN, Piece

Pieces = list[Piece]
Stream = bytearray


class Direction:
    """One direction's stream as far as it is without a hole, and where records and handshake messages begin in it."""

    def __init__(self, pieces: Pieces, key: bytes) -> None:
        self.pieces = pieces
        self.places = [i for i, p in enumerate(pieces) if not p.opaque and p.direction == key]
        size = (len(key) - 4) // 2
        self.reverse = key[size:-4] + key[:size] + key[-2:] + key[-4:-2]
        first = pieces[self.places[0]]
        syn = next((pieces[i] for i in self.places if pieces[i].flags & SYN), None)
        self.base = (syn or first).start
        self.stream = Stream()
        waiting = sorted((self.at(pieces[i]), i) for i in self.places if pieces[i].payload)
        for at, i in waiting:
            if 0 <= at <= len(self.stream):
                self.stream += pieces[i].payload[len(self.stream) - at :]
        self.records = self._records()

    def at(self, piece: Piece) -> int:
        """The stream position of a piece's first byte, negative before the stream."""
        at = (piece.start - self.base) & MASK
        return at if at < 1 << 31 else at - (1 << 32)

    def _records(self) -> list[int]:
        at = max(self.stream.find(b"\x16\x03"), 0)
        found: list[int] = []
        while at + 5 <= len(self.stream) and len(found) < 1000:
            found.append(at)
            at += 5 + int.from_bytes(self.stream[at + 3 : at + 5])
        return found

    def end(self, record: int) -> int:
        """Where the record at `record` ends."""
        return record + 5 + int.from_bytes(self.stream[record + 3 : record + 5])

    def overwrite(self, at: int, value: bytes) -> None:
        """Other bytes of the same length, in every segment that has them."""
        for i in self.places:
            piece = self.pieces[i]
            start = self.at(piece)
            a, b = max(at, start), min(at + len(value), start + len(piece.payload))
            if a < b:
                payload = piece.payload
                changed = payload[: a - start] + value[a - at : b - at] + payload[b - start :]
                self.pieces[i] = piece._replace(payload=changed)

    def replace(self, at: int, length: int, value: bytes) -> None:
        """`value` in place of `length` bytes at `at`; what lies behind moves."""
        old = bytes(self.stream)
        new = old[:at] + value + old[at + length :]
        grown = len(value) - length

        def moved(x: int) -> int:
            return x if x <= at else max(at, x + grown)

        for i, piece in enumerate(self.pieces):
            if piece.opaque:
                continue
            if piece.direction == self.reverse and piece.flags & ACK:
                x = (piece.ack - self.base) & MASK
                if x <= len(old) + 1:
                    self.pieces[i] = piece.moved(ack=self.base + moved(x))
        for i in self.places:
            piece = self.pieces[i]
            x = self.at(piece)
            if x < 0 or x > len(old):
                continue
            start, end = moved(x), moved(x + len(piece.payload))
            payload = new[start:end] if piece.payload else b""
            shift = start - x
            self.pieces[i] = piece.moved(seq=piece.seq + shift)._replace(payload=payload)


def _record(direction: Direction, dice: Random) -> int | None:
    """A record, the early ones of the handshake more often."""
    if not direction.records:
        return None
    some = direction.records[:6] if dice.getrandbits(1) else direction.records
    return dice.choice(some)


def record_type(direction: Direction, dice: Random, at: int) -> None:
    direction.overwrite(at, bytes([dice.choice((20, 21, 22, 23, 24, 0, 255, dice.getrandbits(8)))]))


def record_version(direction: Direction, dice: Random, at: int) -> None:
    direction.overwrite(at + 1, dice.choice((b"\3\0", b"\3\1", b"\3\2", b"\3\3", b"\3\4", b"\2\0", dice.randbytes(2))))


def record_length(direction: Direction, dice: Random, at: int) -> None:
    old = int.from_bytes(direction.stream[at + 3 : at + 5])
    new = dice.choice((0, 1, 15, 16, 17, 24, old - 1, old + 1, 16384, 16385, 16640, 16641, 18432, 18433, 0xFFFF))
    direction.overwrite(at + 3, (new & 0xFFFF).to_bytes(2))


def record_body(direction: Direction, dice: Random, at: int) -> None:
    """Bytes of a record: of a handshake message in the clear most of all."""
    end = min(direction.end(at), len(direction.stream))
    for _ in range(dice.choice((1, 1, 2, 8))):
        if at + 5 < end:
            place = dice.choice((dice.randrange(at + 5, end), min(at + 5 + dice.randrange(90), end - 1)))
            direction.overwrite(place, bytes([dice.choice((0, 1, 0xFF, 0x7F, dice.getrandbits(8)))]))


def message_header(direction: Direction, dice: Random, at: int) -> None:
    """Type and length of the handshake message that begins the record."""
    if dice.getrandbits(1):
        direction.overwrite(at + 5, bytes([dice.choice((0, 1, 2, 4, 5, 8, 11, 13, 20, 24, 254, dice.getrandbits(8)))]))
    else:
        old = int.from_bytes(direction.stream[at + 6 : at + 9])
        new = dice.choice((0, 1, old - 1, old + 1, 0xFFFFFF, 0x40000, 0x40001, dice.getrandbits(24)))
        direction.overwrite(at + 6, (new & 0xFFFFFF).to_bytes(3))


def message_body(direction: Direction, dice: Random, at: int) -> None:
    """Bytes taken out of, put into, or doubled in a handshake message whose lengths are made to agree."""
    end = direction.end(at)
    if direction.stream[at] != 22 or end > len(direction.stream) or end - at < 12:
        record_body(direction, dice, at)
        return
    body = bytearray(direction.stream[at + 9 : end])
    place = dice.randrange(len(body) + 1)
    match dice.randrange(4):
        case 0:
            del body[place : place + dice.choice((1, 2, 30))]
        case 1:
            body[place:place] = dice.randbytes(dice.choice((1, 2, 30, 300)))
        case 2:
            body[place:place] = body[place : place + 40]
        case _:
            del body[place:]
    message = bytes([direction.stream[at + 5]]) + len(body).to_bytes(3) + body
    direction.replace(at, end - at, bytes(direction.stream[at : at + 3]) + len(message).to_bytes(2) + message)


def large_message(direction: Direction, dice: Random, at: int) -> None:
    """A handshake message of many records that never ends, or ends beyond the bound."""
    count, size = dice.choice(((3, 16384), (18, 16384), (60, 1), (40, 100)))
    length = dice.choice((0xFFFFFF, 300_000, count * size - 4))
    body = bytes([dice.choice((1, 2, 11, 22))]) + length.to_bytes(3) + dice.randbytes(count * size - 4)
    records = [b"\x16\x03\x03" + size.to_bytes(2) + body[n * size : (n + 1) * size] for n in range(count)]
    direction.replace(at, 0, b"".join(records))


def put_in(direction: Direction, dice: Random, at: int) -> None:
    """A record more."""
    made = dice.choice(
        (
            b"\x14\x03\x03\x00\x01\x01",
            b"\x14\x03\x03\x00\x00",
            b"\x15\x03\x03\x00\x02\x01\x00",
            b"\x15\x03\x03\x00\x02\x02\x28",
            b"\x16\x03\x03\x00\x00",
            b"\x16\x03\x03\x00\x04\x00\x00\x00\x00",
            b"\x17\x03\x03\x00\x00",
            b"\x17\x03\x03\x00\x20" + dice.randbytes(32),
            b"\x18\x03\x03\x00\x03\x01\x40\x00",
            b"GET / HTTP/1.1\r\n\r\n",
            dice.randbytes(dice.choice((1, 3, 5, 60))),
        )
    )
    direction.replace(at, 0, made * dice.choice((1, 1, 1, 40)))


def take_out(direction: Direction, dice: Random, at: int) -> None:
    direction.replace(at, min(direction.end(at), len(direction.stream)) - at, b"")


def again(direction: Direction, dice: Random, at: int) -> None:
    """A record of this stream once more, in another place."""
    other = dice.choice(direction.records)
    direction.replace(at, 0, bytes(direction.stream[other : direction.end(other)]))


def exchange(direction: Direction, dice: Random, at: int) -> None:
    """Two neighbours change places."""
    end = direction.end(at)
    stop = direction.end(end) if end in direction.records else 0
    if stop:
        direction.overwrite(at, bytes(direction.stream[end:stop] + direction.stream[at:end]))


MUTATORS: tuple[Callable[[Direction, Random, int], None], ...] = (
    record_type,
    record_version,
    record_length,
    record_body,
    record_body,
    message_header,
    message_body,
    message_body,
    large_message,
    put_in,
    put_in,
    take_out,
    again,
    exchange,
)


def mutate(pieces: Pieces, dice: Random) -> str:
    """One change in one direction; its name, "" when there is no TLS to change."""
    keys = sorted({p.direction for p in pieces if not p.opaque and p.payload})
    if not keys:
        return ""
    direction = Direction(pieces, dice.choice(keys))
    at = _record(direction, dice)
    if at is None or len(direction.stream) > 1 << 20:
        return ""
    mutator = dice.choice(MUTATORS)
    mutator(direction, dice, at)
    return mutator.__name__
