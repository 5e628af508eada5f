from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rxtls.crypto.compiled import evp
from rxtls.crypto.compiled.key_table import KeyTable
from rxtls.crypto.keys import Keys
from rxtls.crypto.records import Opener, Sealer, inner_type_offset
from rxtls.crypto.recrypt import keystream
from rxtls.crypto.stream import StreamOpener
from rxtls.crypto.suites import SUITES, Version
from rxtls.errors import RecordError
from rxtls.native import Table, kernel
from sample_keys import NUMBERS, STREAMED, made_up, payloads, sample_keys, shape_name

Bytes = npt.NDArray[np.uint8]

BEGIN, UPDATE, VERIFY, RECRYPT = 0, 1, 2, 3  # operations in `run`'s list; columns: operation, slot, four arguments
MARGIN = 32  # bytes on both sides of a buffer, which nothing may write to


@kernel
def run(keys: Table, steps: Table) -> None:
    for n in range(len(steps)):
        slot, a, b, c, d = steps[n, 1], steps[n, 2], steps[n, 3], steps[n, 4], steps[n, 5]
        if steps[n, 0] == BEGIN:
            evp.begin(keys, slot, a, b)
        elif steps[n, 0] == UPDATE:
            evp.update(keys, slot, a, b, c)
        elif steps[n, 0] == VERIFY:
            steps[n, 5] = evp.verify(keys, slot, a)
        else:
            evp.recrypt(keys, slot, a, b, c, d, steps[n, 6])


@kernel
def open_one(keys: Table, slot: int, number: int, record: int, total: int, to: int) -> int:
    return evp.open_record(keys, slot, number, record, total, to)


@kernel
def inner_end(address: int, length: int) -> int:
    return evp.inner_end(address, length)


class Memory:
    """Bytes at an address, between margins."""

    def __init__(self, data: bytes) -> None:
        self._array: Bytes = np.frombuffer(b"\xa5" * MARGIN + data + b"\x5a" * MARGIN, np.uint8).copy()
        self.address = self._array.ctypes.data + MARGIN

    def __bytes__(self) -> bytes:
        assert bytes(self._array[:MARGIN]) == b"\xa5" * MARGIN
        assert bytes(self._array[-MARGIN:]) == b"\x5a" * MARGIN
        return bytes(self._array[MARGIN:-MARGIN])


class Steps:
    """A list of operations for `run`, and the slots they are about."""

    def __init__(self, table: KeyTable) -> None:
        self._table = table
        self.rows: list[list[int]] = []

    def add(self, operation: int, slot: int, *arguments: int) -> int:
        """The place of the step, by which to find a verdict."""
        self.rows.append([operation, slot, *arguments, *[0] * (5 - len(arguments))])
        return len(self.rows) - 1

    def run(self) -> list[int]:
        steps = np.array(self.rows or np.zeros((0, 7)), np.int64).reshape(-1, 7)
        run(self._table.rows, steps)
        return [int(step) for step in steps[:, 5]]


def signed(number: int) -> int:
    """A record number as int64 has it."""
    return number - 2**64 if number >= 2**63 else number


@pytest.fixture(scope="module")
def table() -> Iterator[KeyTable]:
    table = KeyTable()
    yield table
    table.close()


@pytest.fixture(scope="module")
def slots(table: KeyTable) -> dict[Keys, int]:
    return {keys: table.add(keys) for keys in STREAMED}


def sealed(draw: st.DrawFn, keys: Keys, biggest: int = 16384) -> tuple[int, bytes]:
    """A record number and a record of any size, with any padding and explicit nonce that the version allows."""
    number, payload = draw(NUMBERS), draw(payloads(biggest))
    padding = draw(st.integers(0, min(100, 16384 - len(payload)))) if keys.version is Version.TLS13 else 0
    explicit = draw(st.binary(min_size=keys.explicit_length, max_size=keys.explicit_length))
    kind = 23 if keys.version is Version.TLS13 else draw(st.integers(20, 24))
    return number, Sealer(keys).seal(number, kind, payload, padding, explicit)


@pytest.mark.parametrize("keys", STREAMED, ids=shape_name)
@settings(max_examples=30)
@given(data=st.data())
def test_any_pieces_equal_the_plain_stream(
    table: KeyTable, slots: dict[Keys, int], keys: Keys, data: st.DataObject
) -> None:
    number, record = data.draw(st.composite(sealed)(keys))
    in_place = data.draw(st.booleans())
    start, end = keys.header_length, len(record) - 16
    if data.draw(st.booleans()):
        flaw = data.draw(st.integers(0, len(record) - 1).filter(lambda at: at not in (3, 4)))
        record = record[:flaw] + bytes([record[flaw] ^ 1 << data.draw(st.integers(0, 7))]) + record[flaw + 1 :]
    cuts = [start, *sorted(data.draw(st.lists(st.integers(start, end), max_size=8))), end]
    source = Memory(record)
    to = source if in_place else Memory(bytes(len(record)))
    steps = Steps(table)
    slot = slots[keys]
    steps.add(BEGIN, slot, signed(number), source.address)
    for a, b in pairwise(cuts):  # empty pieces too
        steps.add(UPDATE, slot, to.address + a, source.address + a, b - a)
    verdict = steps.add(VERIFY, slot, source.address + end)
    good = steps.run()[verdict]
    stream = StreamOpener(keys, number, record[:start])
    assert bytes(to)[start:end] == stream.update(record[start:end])
    assert good == stream.verify(record[end:])
    untouched = record if in_place else bytes(len(record))
    assert bytes(to)[:start] + bytes(to)[end:] == untouched[:start] + untouched[end:]
    if not in_place:
        assert bytes(source) == record


@pytest.mark.parametrize("keys", STREAMED, ids=shape_name)
def test_every_piece_boundary(table: KeyTable, slots: dict[Keys, int], keys: Keys) -> None:
    record = Sealer(keys).seal(2**64 - 1, 23, made_up(150, "p"))
    plain = Opener(keys).open(2**64 - 1, record).payload
    start, end = keys.header_length, len(record) - 16
    for cut in range(start, end + 1):
        source, to, steps = Memory(record), Memory(bytes(end - start)), Steps(table)
        steps.add(BEGIN, slots[keys], -1, source.address)
        steps.add(UPDATE, slots[keys], to.address, source.address + start, cut - start)
        steps.add(UPDATE, slots[keys], to.address + cut - start, source.address + cut, end - cut)
        verdict = steps.add(VERIFY, slots[keys], source.address + end)
        assert steps.run()[verdict] == 1
        assert bytes(to)[: len(plain)] == plain


@pytest.mark.parametrize("keys", STREAMED, ids=shape_name)
@settings(max_examples=30)
@given(data=st.data())
def test_whole_records_equal_the_plain_opener(
    table: KeyTable, slots: dict[Keys, int], keys: Keys, data: st.DataObject
) -> None:
    number, record = data.draw(st.composite(sealed)(keys))
    flaw = data.draw(st.none() | st.integers(0, len(record) - 1))
    if flaw is not None:
        record = record[:flaw] + bytes([record[flaw] ^ 1 << data.draw(st.integers(0, 7))]) + record[flaw + 1 :]
    start, end = keys.header_length, len(record) - 16
    source = Memory(record)
    in_place = data.draw(st.booleans())
    to = source if in_place else Memory(bytes(end - start))
    at = source.address + start if in_place else to.address
    good = open_one(table.rows, slots[keys], signed(number), source.address, len(record), at)
    plaintext = bytes(to)[start:end] if in_place else bytes(to)
    try:
        opened = Opener(keys).open(number, record)
    except RecordError as error:
        assert good == 0
        if error.errno_name == "EMSGSIZE":
            assert plaintext == (record[start:end] if in_place else bytes(end - start))
    else:
        assert good == 1
        stop = inner_end(at, end - start) if keys.version is Version.TLS13 else end - start
        assert plaintext[:stop] == opened.payload
        if keys.version is Version.TLS13:
            assert plaintext[stop] == opened.type
    if in_place:
        assert bytes(source)[:start] + bytes(source)[end:] == record[:start] + record[end:]
    else:
        assert bytes(source) == record


@pytest.mark.parametrize("keys", STREAMED, ids=shape_name)
def test_sizes_that_no_record_has(table: KeyTable, slots: dict[Keys, int], keys: Keys) -> None:
    for total in (0, 5, keys.min_total - 1, keys.max_total + 1, 65540):
        header = b"\x17\x03\x03" + (max(total, 5) - 5).to_bytes(2)
        record = Memory(header + bytes(70000))
        before = bytes(record)
        assert open_one(table.rows, slots[keys], 0, record.address, total, record.address + 5) == 0
        assert bytes(record) == before
    whole = Sealer(keys).seal(0, 23, b"something")
    for wrong in (-1, 1):
        record = Memory(whole + b"\0")
        assert open_one(table.rows, slots[keys], 0, record.address, len(whole) + wrong, record.address) == 0
        assert bytes(record) == whole + b"\0"


@pytest.mark.parametrize("keys", STREAMED, ids=shape_name)
def test_the_shortest_and_the_longest(table: KeyTable, slots: dict[Keys, int], keys: Keys) -> None:
    for payload in (b"", made_up(16384, "p")):
        record = Memory(Sealer(keys).seal(3, 23, payload))
        total = len(bytes(record))
        at = record.address + keys.header_length
        assert total in (keys.min_total, keys.max_total)
        assert open_one(table.rows, slots[keys], 3, record.address, total, at) == 1
        assert bytes(record)[keys.header_length :].startswith(payload)


@pytest.mark.parametrize("keys", STREAMED, ids=shape_name)
@settings(max_examples=30)
@given(data=st.data())
def test_recrypt_equals_the_plain_keystream(
    table: KeyTable, slots: dict[Keys, int], keys: Keys, data: st.DataObject
) -> None:
    number, record = data.draw(st.composite(sealed)(keys))
    start, end = keys.header_length, len(record) - 16
    offset = data.draw(st.integers(0, end - start))
    length = data.draw(st.integers(0, end - start - offset))
    header, at = Memory(record[:start]), Memory(record[start + offset : start + offset + length])
    steps = Steps(table)
    steps.add(RECRYPT, slots[keys], signed(number), header.address, offset, at.address, length)
    steps.run()
    stream = keystream(keys, number, record[:start], offset, length)
    assert bytes(at) == bytes(a ^ b for a, b in zip(record[start + offset :], stream, strict=False))
    assert bytes(header) == record[:start]


@pytest.mark.parametrize("keys", STREAMED, ids=shape_name)
def test_recrypt_from_every_byte(table: KeyTable, slots: dict[Keys, int], keys: Keys) -> None:
    header = Memory(Sealer(keys).seal(9, 23, bytes(200))[: keys.header_length])
    stream = keystream(keys, 9, bytes(header), 0, 200)
    for offset in range(140):
        for length in (1, 15, 17, 60):
            at, steps = Memory(bytes(length)), Steps(table)
            steps.add(RECRYPT, slots[keys], 9, header.address, offset, at.address, length)
            steps.run()
            assert bytes(at) == stream[offset : offset + length]


@pytest.mark.parametrize("keys", STREAMED, ids=shape_name)
@settings(max_examples=25)
@given(data=st.data())
def test_two_slots_and_recrypt_interleaved(table: KeyTable, keys: Keys, data: st.DataObject) -> None:
    # Two directions under keys of their own, pieces in any order, records given up half-way, recrypt in between.
    lanes = []
    steps = Steps(table)
    for name in "ab":
        own = sample_keys(keys.suite, keys.version, label=name)
        drawn = data.draw(st.lists(st.composite(sealed)(own, 300), min_size=1, max_size=3))
        lanes.append((own, table.add(own), [(n, r, Memory(r), data.draw(st.booleans())) for n, r in drawn]))
    verdicts: list[tuple[int, int]] = []

    def work(lane: int) -> Iterator[None]:
        own, slot, records = lanes[lane]
        for number, record, memory, given_up in records:
            start, end = own.header_length, len(record) - 16
            steps.add(BEGIN, slot, signed(number), memory.address)
            cuts = sorted(data.draw(st.lists(st.integers(start, end), max_size=3)))
            for a, b in pairwise([start, *cuts] if given_up else [start, *cuts, end]):
                yield
                steps.add(UPDATE, slot, memory.address + a, memory.address + a, b - a)
                if data.draw(st.booleans()):  # there and back again
                    for _ in range(2):
                        steps.add(RECRYPT, slot, signed(number), memory.address, a - start, memory.address + a, b - a)
            yield
            if given_up:
                length = (cuts[-1] if cuts else start) - start
                steps.add(RECRYPT, slot, signed(number), memory.address, 0, memory.address + start, length)
            else:
                verdicts.append((steps.add(VERIFY, slot, memory.address + end), 1))

    workers = [work(0), work(1)]
    while workers:
        worker = workers[data.draw(st.integers(0, len(workers) - 1))]
        if next(worker, "done") == "done":
            workers.remove(worker)
    done = steps.run()
    assert all(done[place] == good for place, good in verdicts)
    for own, slot, records in lanes:
        for number, record, memory, given_up in records:
            if given_up:
                assert bytes(memory) == record
            else:
                assert Opener(own).trim(bytes(memory)) == Opener(own).open(number, record)
        table.release(slot)


@given(
    content=st.binary(max_size=40),
    zeros=st.sampled_from([0, 1, 7, 8, 9, 15, 16, 17, 100, 16384]),
    shift=st.integers(0, 8),
)
def test_the_inner_type(content: bytes, zeros: int, shift: int) -> None:
    data = content + bytes(zeros)
    memory = Memory(b"\x17" * shift + data)
    assert inner_end(memory.address + shift, len(data)) == inner_type_offset(data, 0, len(data))


def test_many_records_in_one_call(table: KeyTable, slots: dict[Keys, int]) -> None:
    records = [(keys, n, Memory(Sealer(keys).seal(n, 23, made_up(n, "p")))) for n in range(40) for keys in STREAMED]
    totals = np.array([len(bytes(memory)) for _, _, memory in records])
    addresses = np.array([memory.address for _, _, memory in records])
    numbers = np.array([n for _, n, _ in records])
    rows = np.array([slots[keys] for keys, _, _ in records])
    out = Memory(bytes(100))
    to = np.full(len(records), out.address)
    assert evp.open_all(table.rows, rows, numbers, addresses, totals, to) == len(records)
    assert bytes(out).startswith(made_up(39, "p"))
    numbers[7] += 1
    assert evp.open_all(table.rows, rows, numbers, addresses, totals, to) == len(records) - 1


def test_a_published_vector(table: KeyTable) -> None:
    # McGrew and Viega, test case 3, by its keystream: number 0 leaves the IV as the nonce.
    key, nonce = bytes.fromhex("feffe9928665731c6d6a8f9467308308"), bytes.fromhex("cafebabefacedbaddecaf888")
    slot = table.add(Keys(SUITES[0x1301], Version.TLS13, key, nonce))
    at = Memory(bytes.fromhex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"))
    steps = Steps(table)
    steps.add(RECRYPT, slot, 0, at.address, 0, at.address, 32)
    steps.run()
    assert bytes(at).hex() == "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e"
    table.release(slot)
