"""The worker over extents: what a record's row says, where its plaintext lies, and what is left to the plain worker."""

from __future__ import annotations

from itertools import pairwise

import pytest

from host_pair import FLOW_ID, Bench, on_device, promoted
from rxtls.crypto.keys import Keys
from rxtls.crypto.records import Sealer
from rxtls.crypto.suites import Version
from rxtls.events import RecordClass
from rxtls.host.compiled import columns as col
from rxtls.host.compiled import state
from rxtls.host.compiled.columns import Delivered
from rxtls.host.compiled.serve import DONE, LEAVE, RECORD
from rxtls.host.worker import Session
from rxtls.offload.commands import Report
from rxtls.offload.compiled.arena import LARGE
from rxtls.offload.mbuf import WIRE, Mbuf
from sample_keys import STREAMED, made_up, shape_name
from sample_mbufs import mbuf

GCM13 = next(keys for keys in STREAMED if keys.version is Version.TLS13)
PAYLOAD = made_up(35, "payload")


def pieces(
    bench: Bench, copies: dict[int, bytes], edges: list[int], marks: list[int], at: int = 0, first: int = 0
) -> list[Mbuf]:
    """Packets between the edges; one with mark m is cut from copies[m]."""
    found = []
    for frame, ((a, b), mark) in enumerate(zip(pairwise([0, *edges, len(copies[WIRE])]), marks, strict=True), first):
        found.append(mbuf(bench.isn + at + a, copies[mark][a:b], mark, frame=frame, time_ns=100 * frame))
    return found


@pytest.mark.parametrize("scattered", [False, True])
@pytest.mark.parametrize("composition", ["D", "E", "DE", "ED", "EDE", "DED"])
@pytest.mark.parametrize("keys", STREAMED, ids=shape_name)
def test_every_composition_at_many_split_points(keys: Keys, composition: str, scattered: bool) -> None:
    """Splits through header, explicit nonce, payload, inner type and AEAD tag; in one stretch of a chunk, and not."""
    number = 3
    bench = promoted(keys, number)
    at, frame, expected = 0, 0, []
    marks = [1 if letter == "D" else WIRE for letter in composition]
    for first in range(1, keys.header_length + len(PAYLOAD) + 14, 3):
        edges = [first, first + 1][: len(marks) - 1]
        wire = Sealer(keys).seal(number, 23, PAYLOAD)
        copies = {WIRE: wire, 1: on_device(keys, number, wire)}
        for each in pieces(bench, copies, edges, marks, at, frame):
            bench.lane.add(each)
            if scattered:
                bench.lane.close()
        at += len(wire)
        number += 1
        frame += len(marks)
        assert bench.serve(number) == DONE
        row = bench.records[-1]
        inside = sum(
            sum(1 for n in range(a, b) if keys.header_length <= n < len(wire) - 16)
            for (a, b), mark in zip(pairwise([0, *edges, len(wire)]), marks, strict=True)
            if mark
        )
        assert bench.payload(row) == PAYLOAD
        assert row[: Delivered.CHUNK] == [
            FLOW_ID, 23, number - 1, {"D": col.DECRYPTED, "E": col.ENCRYPTED}.get(composition, col.MIXED),
            bench.isn + at - len(wire), len(wire), frame - 1, 100 * (frame - 1),
            len(marks) << 1 | (composition[0] == "D"),
        ]  # fmt: skip
        assert row[Delivered.POINT] == number
        assert row[Delivered.RECRYPTED] == (inside if len(marks) > 1 else 0)
        expected.append(Report(row[Delivered.TCP_SEQ], len(wire), number - 1, len(marks) > 1))
    assert bench.direction.reports == (expected if composition != "D" else [])
    assert bench.end() == []
    assert bench.direction.tally.compositions == {composition: number - 3}


def test_a_record_in_one_stretch_stays_where_it_is() -> None:
    """Whatever host points it came in with: no byte is copied. Across chunks, the plaintext is joined in a third."""
    bench = promoted(GCM13)
    wires = [Sealer(GCM13).seal(n, 23, PAYLOAD) for n in range(3)]
    wire = b"".join(wires)
    for a in range(0, len(wire), 10):
        if a // 10 == 13:
            bench.lane.close()
        assert bench.give(mbuf(bench.isn + a, wire[a : a + 10]), point=a) == DONE
    chunks = [row[Delivered.CHUNK] for row in bench.records]
    assert [row[Delivered.AT] for row in bench.records] == [5, len(wires[0]) + 5, 0]
    assert chunks[0] == chunks[1]
    assert chunks[2] not in (chunks[0], bench.lane.chunk)
    assert [bench.payload(row) for row in bench.records] == [PAYLOAD] * 3
    assert bench.end() == []


def test_records_stay_readable_until_they_are_released() -> None:
    """Demotion, new chunks and new records do not touch them."""
    bench = promoted(GCM13)
    sent = [made_up(16000, f"record {n}") for n in range(12)]
    at = 0
    for n, payload in enumerate(sent):
        wire = Sealer(GCM13).seal(n, 23, payload)
        cut = 7000 if n % 2 else len(wire)
        bench.lane.add(mbuf(bench.isn + at, wire[:cut]))
        if n % 2:
            bench.lane.close()
            bench.lane.add(mbuf(bench.isn + at + cut, wire[cut:]))
        at += len(wire)
        assert bench.serve(n) == DONE
        assert bench.fast.demote() == []
        bench.promote()
    assert len({row[Delivered.CHUNK] for row in bench.records}) >= 12 * 16000 // LARGE
    assert [bench.payload(row) for row in bench.records] == sent
    assert bench.end() == []


@pytest.mark.parametrize("keys", STREAMED, ids=shape_name)
@pytest.mark.parametrize("scattered", [False, True])
@pytest.mark.parametrize("marks", [[WIRE, WIRE], [1, WIRE], [WIRE, 1]])
def test_a_record_that_fails_is_dropped_alone(keys: Keys, marks: list[int], scattered: bool) -> None:
    bench = promoted(keys)
    wire = bytearray(Sealer(keys).seal(0, 23, PAYLOAD))
    wire[-1] ^= 1
    copies = {WIRE: bytes(wire), 1: on_device(keys, 0, bytes(wire))}
    for each in pieces(bench, copies, [20], marks):
        bench.lane.add(each)
        if scattered:
            bench.lane.close()
    assert bench.give(mbuf(bench.isn + len(wire), Sealer(keys).seal(1, 23, b"next"))) == DONE
    bad, good = bench.records
    assert (
        bad[Delivered.CLASS],
        bad[Delivered.TYPE],
        bad[Delivered.CHUNK],
        bad[Delivered.LENGTH],
        bad[Delivered.REPORT],
    ) == (
        col.FAILED,
        0,
        -1,
        0,
        0,
    )
    assert (good[Delivered.CLASS], good[Delivered.NUMBER], bench.payload(good)) == (col.ENCRYPTED, 1, b"next")
    assert bench.end() == []
    assert bench.direction.tally.records == {RecordClass.FAILED: 1, RecordClass.ENCRYPTED: 1}


def test_a_composition_too_long_for_a_counter_is_counted() -> None:
    bench = promoted(GCM13)
    wire = Sealer(GCM13).seal(0, 23, PAYLOAD)
    copies = {WIRE: wire, 1: on_device(GCM13, 0, wire)}
    assert bench.give(*pieces(bench, copies, list(range(1, len(wire))), [n & 1 for n in range(len(wire))])) == DONE
    assert bench.end() == []
    letters = ("ED" * len(wire))[: len(wire)]
    assert bench.direction.tally.compositions == {letters: 1}


def left_alone(keys: Keys, wire: bytes, mark: int = WIRE, number: int = 0, slip: int = 0) -> Session:
    """Give a record that is not for the compiled worker: the chain still has it, and nothing is counted."""
    bench = promoted(keys, number)
    if slip:
        bench.session.epochs[1].slips.add(slip)
    half = len(wire) // 2
    bench.lane.add(mbuf(bench.isn, wire[:half], mark))
    assert bench.give(mbuf(bench.isn + half, wire[half:])) == LEAVE
    assert bench.records == []
    ((_, mbufs, settle),) = bench.end()
    assert (mbufs, settle) == ([], False)
    assert bench.direction.sockbuf.peek(len(wire)) == wire
    return bench.session


@pytest.mark.parametrize("keys", STREAMED, ids=shape_name)
def test_what_the_worker_leaves(keys: Keys) -> None:
    good = Sealer(keys).seal(0, 23, PAYLOAD)
    assert left_alone(keys, good[:1] + b"\x04" + good[2:]).number == 0  # another version
    assert left_alone(keys, good[:3] + b"\xff\xff" + good[5:]).number == 0  # EMSGSIZE, and fatal
    assert left_alone(keys, good[:3] + b"\x00\x00" + bytes(8) if keys.explicit_length else good[:3] + b"\xff" * 10)
    assert left_alone(keys, good, mark=9).number == 0  # an epoch that never was
    assert left_alone(keys, good, mark=1, slip=1).number == 0  # more than one trial
    if keys.version is Version.TLS13:
        assert left_alone(keys, b"\x16" + good[1:]).number == 0


def test_record_numbers_are_bounded() -> None:
    """2^62 - 1 is the last one; the next record is the plain worker's."""
    number = state.MOST_NUMBER - 1
    bench = promoted(GCM13, number)
    wires = [Sealer(GCM13).seal(number + n, 23, PAYLOAD) for n in range(2)]
    assert bench.give(mbuf(bench.isn, b"".join(wires))) == LEAVE
    assert [row[Delivered.NUMBER] for row in bench.records] == [number]
    assert len(bench.end()) == 1
    outcome = bench.session.step(bench.direction.sockbuf)
    assert outcome is not None
    assert (outcome.number, outcome.opened) == (number + 1, (23, PAYLOAD))


def test_control_records_stop_the_worker() -> None:
    """In the middle of a group: it goes on behind it, or hands over what comes behind."""
    bench = promoted(GCM13)
    wires = [Sealer(GCM13).seal(n, 22 if n == 1 else 23, PAYLOAD) for n in range(3)]
    assert bench.give(mbuf(bench.isn, b"".join(wires)), point=7) == RECORD
    assert [row[Delivered.TYPE] for row in bench.records] == [23, 22]
    assert bench.fast.serve() == DONE
    assert [row[Delivered.TYPE] for row in bench.records] == [23, 22, 23]

    again = promoted(GCM13)
    assert again.give(mbuf(again.isn, b"".join(wires)), point=7) == RECORD
    assert again.end() == [(7, [], False)]
    assert again.session.step(again.direction.sockbuf) is not None
    assert bench.end() == []
