"""What is explored: a short stream in segments, and how often what may go wrong with it.

    record 0    record 1         record 2 (payload shows a chain of false headers)   record 3   record 4 | clean suffix
    |--s0--|--s1--|--s2--| ...                                            |--s7--|

The sequence numbers straddle 2^32. The clean suffix is what is sent when the explored part is over and everything has
arrived: policies that promise to regain sync have to do so there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from rxtls.crypto.keys import Keys
from rxtls.crypto.suites import SUITES, Version
from rxtls.seq import add
from rxtls.study.explore.cipher import AEAD_TAG, crypt, seal

KEY_UPDATE = b"\x18\x00\x00\x01\x00"
SUFFIX = 24  # records: more than any back-off that a short stream can have built up
HANDSHAKE, APPLICATION_DATA = 22, 23


@dataclass(frozen=True, slots=True)
class Bounds:
    """How often each may happen in one interleaving."""

    lost: int = 2  # a segment comes again later
    reordered: int = 2  # a segment comes later
    duplicated: int = 1  # a segment, or two joined in one, comes once more
    lost_answers: int = 1  # a snapshot or a guess that the driver never hears
    reanchored: int = 1  # a device that is out of sync gives its anchor up
    moved: int = 0  # the packets' leaf interface changes


@dataclass(frozen=True, slots=True)
class Sent:
    """One record: the plaintext, and the place and number under its keys."""

    type: int
    payload: bytes
    start: int
    end: int
    number: int
    generation: int


@dataclass(slots=True)
class Scenario:
    """A stream, cut into segments, with its truth."""

    name: str
    keys: list[Keys]
    bounds: Bounds
    base: int = 0
    wire: bytes = b""
    records: list[Sent] = field(default_factory=list)
    segments: list[tuple[int, int]] = field(default_factory=list)  # explored, as offsets
    suffix: list[tuple[int, int]] = field(default_factory=list)
    marked: bytes = b""  # the stream as a perfect device would give it up

    def seq(self, offset: int) -> int:
        """The sequence number of the byte at `offset`."""
        return add(self.base, offset)


def _keys(version: Version, generation: int) -> Keys:
    suite = SUITES[0x1301 if version is Version.TLS13 else 0xC02F]
    return Keys(suite, version, bytes([generation]) * 16, bytes(12 if version is Version.TLS13 else 4))


def scenario(
    name: str, version: Version, sizes: list[int | str], cuts: list[int], bounds: Bounds, first: int = 3
) -> Scenario:
    """`sizes` are ciphertext lengths of the explored records; "false NN" is one of NN bytes that shows a false chain,
    "update" a KeyUpdate. `cuts` are where the segments end; the last one is given by the stream."""
    generations = 1 + sizes.count("update")
    made = Scenario(name, [_keys(version, n + 1) for n in range(generations)], bounds)
    tls13 = version is Version.TLS13
    number, generation = first, 0
    for n, size in enumerate([*sizes, *([40] * SUFFIX)]):
        keys = made.keys[generation]
        kind, content = APPLICATION_DATA, bytes([97 + n % 26]) * 200
        if size == "update":
            kind, content, length = HANDSHAKE, KEY_UPDATE, len(KEY_UPDATE)
        else:
            length = int(str(size).removeprefix("false ")) - tls13
        plain = content[:length] + (bytes([kind]) if tls13 else b"")
        header = bytes([23 if tls13 else kind, 3, 3]) + (keys.header_length - 5 + len(plain) + AEAD_TAG).to_bytes(2)
        header += number.to_bytes(keys.header_length - 5) if keys.header_length > 5 else b""
        ciphertext = crypt(keys.key, number, 0, plain)
        if str(size).startswith("false"):
            # Three plausible headers, each where the one before says; the third leads into the next record.
            step = keys.min_total
            link = b"\x17\x03\x03" + (step - 5).to_bytes(2)
            chain = (b"\xdd" * 4 + (link + b"\xee" * (step - 5)) * 3).ljust(len(plain), b"\xee")
            ciphertext = chain[: len(plain) - 1] + ciphertext[-1:]
            plain = crypt(keys.key, number, 0, ciphertext)
            if tls13:
                ciphertext = ciphertext[:-1] + crypt(keys.key, number, len(plain) - 1, bytes([kind]))
                plain = plain[:-1] + bytes([kind])
        record = seal(keys, number, header, ciphertext)
        start = len(made.wire)
        made.records.append(Sent(kind, plain[:-1] if tls13 else plain, start, start + len(record), number, generation))
        made.wire += record
        made.marked += header + plain + record[-AEAD_TAG:]
        number += 1
        if size == "update":
            number, generation = 0, generation + 1
    end = made.records[len(sizes) - 1].end
    made.segments = list(pairwise([0, *cuts, end]))
    assert all(a < b for a, b in made.segments), "a cut lies beyond the records"
    for sent in made.records[len(sizes) :]:
        middle = sent.start + 21
        made.suffix += [(sent.start, middle), (middle, sent.end)]
    made.base = (1 << 32) - end // 2
    return made


FULL = Bounds()


def scenarios() -> list[Scenario]:
    """All that are explored: 5 records in 8 segments each, cut within headers and AEAD tags, and at records' ends."""
    mixed: list[int | str] = [12, 30, "false 70", 9, 24]
    return [
        scenario("tls13", Version.TLS13, mixed, [19, 33, 52, 84, 120, 175, 205], FULL),
        scenario("tls12", Version.TLS12, [12, 30, "false 110", 9, 24], [29, 50, 66, 104, 150, 190, 240], FULL),
        scenario(
            "key update", Version.TLS13, [12, 30, "update", "false 70", 24], [19, 50, 84, 100, 111, 150, 196], FULL
        ),
        scenario("new leaf", Version.TLS13, mixed, [33, 40, 84, 86, 120, 160, 205], Bounds(1, 1, 1, 1, 0, 1)),
    ]
