"""Promotion and demotion by hand: which directions fit, and that nothing is lost on either way."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from host_pair import on_device, promoted
from rxtls.crypto.records import Sealer
from rxtls.handshake.steps import refuse
from rxtls.host.compiled import columns as col
from rxtls.host.compiled import promotion as moves
from rxtls.host.compiled import state
from rxtls.host.compiled.columns import Delivered
from rxtls.host.compiled.serve import DONE, LEAVE, fits
from rxtls.host.direction import Direction
from rxtls.host.reassembly import Stop
from rxtls.host.worker import Epoch, Session
from rxtls.intake.batch import ACK, FIN, RST
from rxtls.offload.compiled import arena as at
from rxtls.offload.compiled.arena import Arena, Chunk, Extent, Stock
from rxtls.offload.mbuf import Mbuf
from sample_extents import leaks
from sample_keys import ALL_SHAPES, STREAMED, made_up, sample_keys
from sample_mbufs import mbuf, spread

KEYS = STREAMED[0]
SOFTWARE = next(keys for keys in ALL_SHAPES if not keys.stream)


def with_session(direction: Direction, session: Session | None) -> None:
    direction.session = session


def epoch_of(direction: Direction, **changed: object) -> None:
    assert direction.session is not None
    was = direction.session.epochs[1]
    fields = {"keys": was.keys, "shift": was.shift, "slips": set(was.slips)} | changed
    direction.session.epochs[1] = Epoch(**fields)  # type: ignore[arg-type]


def much_held(direction: Direction) -> None:
    for n in range(257):
        direction.input(mbuf(1002 + 2 * n, b"x"))


def second_epoch(direction: Direction) -> None:
    assert direction.session is not None
    direction.session.begin_epoch(2)


UNFIT: dict[str, Callable[[Direction], object]] = {
    "no session": lambda d: with_session(d, None),
    "keys that do not stream": lambda d: with_session(d, Session(SOFTWARE, 0)),
    "a high record number": lambda d: with_session(d, Session(KEYS, state.MOST_NUMBER)),
    "refused": lambda d: setattr(d, "refused", refuse("no_keys")),
    "closed": lambda d: setattr(d, "closed", True),
    "fatal": lambda d: setattr(d, "fatal", "EINVAL"),
    "fatal in the session": lambda d: setattr(d.session, "fatal", "EINVAL"),
    "between keys": lambda d: setattr(d, "held", True),
    "waiting for keys": lambda d: setattr(d, "waiting", True),
    "ended": lambda d: setattr(d, "end_seen", True),
    "stopped": lambda d: d.reassembly.stop(Stop.GAP),
    "FIN": lambda d: d.input(mbuf(1000, flags=ACK | FIN)),
    "RST": lambda d: d.input(mbuf(1000, flags=RST)),
    "far ahead": lambda d: d.input(mbuf(1000 + state.FAR, b"x")),
    "much held": lambda d: much_held(d),
    "other keys": lambda d: epoch_of(d, keys=sample_keys(KEYS.suite, KEYS.version, label="other")),
    "another number": lambda d: epoch_of(d, shift=7),
    "slips": lambda d: epoch_of(d, slips={1}),
    "two epochs": lambda d: second_epoch(d),
}


@pytest.mark.parametrize("why", UNFIT)
def test_what_does_not_fit(why: str) -> None:
    bench = promoted(KEYS)
    assert bench.end() == []
    assert fits(bench.direction)
    UNFIT[why](bench.direction)
    assert not fits(bench.direction)


def test_software_only_fits() -> None:
    bench = promoted(KEYS)
    assert bench.end() == []
    bench.session.epochs.clear()
    assert fits(bench.direction)


def test_before_any_segment_nothing_fits() -> None:
    bench = promoted(KEYS)
    assert bench.end() == []
    bench.direction.reassembly._next_seq = -1
    assert not fits(bench.direction)


@pytest.mark.parametrize("flags", [FIN, RST])
def test_the_rest_comes_back_by_host_points(flags: int) -> None:
    """The group that was begun first, without what was taken of it; then those behind it, whole."""
    bench = promoted(KEYS)
    taken = mbuf(bench.isn, b"\x17\x03\x03\x10\x00abc")
    left = [mbuf(bench.isn + 8, b"def", flags=ACK | flags, leaf=1), mbuf(bench.isn + 11, b"g")]
    behind = [mbuf(bench.isn + 12, b"h"), mbuf(bench.isn + 13, b"i", mark=1)]
    lists = []
    for point, group in ((3, [taken, *left]), (5, behind)):
        for each in group:
            bench.lane.add(each)
        lists.append(bench.lane.flush(point))
    tail = lists[0]
    while bench.arena.extents[tail, Extent.NEXT] >= 0:
        tail = int(bench.arena.extents[tail, Extent.NEXT])
    bench.arena.extents[tail, Extent.NEXT] = lists[1]
    assert bench.fast.serve(lists[0]) == LEAVE
    assert bench.end() == [(3, left, True), (5, behind, True)]
    assert spread(bench.direction.sockbuf._chain) == spread([taken])


def test_chunks_are_shared_and_their_bounds_kept() -> None:
    """Mbufs go in as they are, however long, however many packets brought them, and come out the same."""
    arena = Arena()
    data = made_up(3 * at.LARGE, "data")
    many = Mbuf(7, data[:600], 1, 2, ACK, [(n + 1, n, 10 * n) for n in range(600)], 5, 6)
    long = Mbuf(607, data, 0, 0, ACK, [(n, n // 1000, n) for n in range(1000, len(data), 1000)], 7, 8)
    long.arrivals.append((len(data), 999, 999_999))
    small = [mbuf(9000 + n, bytes([n]), frame=1000 + n) for n in range(20)]
    for mbufs in ([many, long, *small], small):
        ends = np.full(2, -1, np.int64)
        count = moves._pour(arena, ends, mbufs)
        used = {int(arena.extents[node, Extent.CHUNK]) for node in nodes(arena, ends)}
        assert count == len(nodes(arena, ends))
        assert len(used) == (1 if mbufs is small else 6)
        assert all(arena.chunks[chunk, Chunk.USED] <= arena.chunks[chunk, Chunk.SIZE] for chunk in used)
        assert all(arena.chunks[chunk, Chunk.ARRIVALS] <= at.MOST_ARRIVALS for chunk in used)
        assert spread(arena.mbufs(int(ends[0]))) == spread(mbufs)
    assert leaks(arena) == []


def nodes(arena: Arena, ends: np.ndarray[tuple[int], np.dtype[np.int64]]) -> list[int]:
    found, node = [], int(ends[0])
    while node >= 0:
        found.append(node)
        node = int(arena.extents[node, Extent.NEXT])
    return found


def test_the_latest_frame_is_known_after_a_promotion() -> None:
    """Held bytes that came in the wrong order lie in one chunk after promotion: the record's frame is still the last
    one of all, not that of its last byte."""
    bench = promoted(KEYS)
    assert bench.end() == []
    wires = [Sealer(KEYS).seal(n, 23, bytes(40)) for n in range(2)]
    wire, first = b"".join(wires), len(wires[0])
    for a, b, frame in ((first + 20, len(wire), 5), (first, first + 20, 9)):
        bench.direction.input(mbuf(bench.isn + a, wire[a:b], frame=frame, time_ns=frame))
    bench.promote()
    assert bench.give(mbuf(bench.isn, wire[:first], frame=10, time_ns=10)) == DONE
    assert [row[Delivered.FRAME : Delivered.TIME + 1] for row in bench.records] == [[10, 10], [9, 9]]
    assert bench.end() == []


def test_epochs_of_one_key_are_a_run() -> None:
    """A new leaf begins an epoch: bytes of both are right, and a record that has bytes of both is mixed."""
    bench = promoted(KEYS)
    wires = [Sealer(KEYS).seal(n, 23, made_up(50, "payload")) for n in range(4)]
    plain = [on_device(KEYS, n, wire) for n, wire in enumerate(wires)]
    size = len(wires[0])
    assert bench.give(mbuf(bench.isn, plain[0], 1), mbuf(bench.isn + size, plain[1][:30], 1)) == DONE
    bench.fast.epoch(2)
    assert bench.session.epochs[2] == bench.session.epochs[1]
    assert bench.fast.marks() == {1}
    assert bench.fast.place() == (bench.isn + 2 * size, 2)
    assert bench.give(mbuf(bench.isn + size + 30, plain[1][30:] + plain[2], 2, leaf=4), point=2) == DONE
    assert [row[Delivered.CLASS] for row in bench.records] == [col.DECRYPTED, col.MIXED, col.DECRYPTED]
    assert (bench.fast.leaf, bench.direction.leaf, bench.fast.resync) == (4, 4, False)
    bench.session.prune_epochs({2})
    bench.fast.epoch()
    assert bench.give(mbuf(bench.isn + 3 * size, plain[3], 1), point=3) == LEAVE
    assert len(bench.end()) == 1


def test_counts_are_folded_once() -> None:
    bench = promoted(KEYS)
    wire = Sealer(KEYS).seal(0, 23, b"payload")
    assert bench.give(mbuf(bench.isn, wire), mbuf(bench.isn, wire)) == DONE
    bench.fast.fold()
    bench.fast.fold()
    assert bench.end() == []
    assert bench.direction.tally.app_bytes == 7
    assert bench.direction.ledger.fates == {
        "byte.duplicate": len(wire), "byte.record": len(wire), "record.encrypted": 1,
    }  # fmt: skip


@pytest.mark.parametrize("short", ["extents", "chunks", "records"])
def test_short_tables_grow(short: str) -> None:
    """A table that runs out in mid-record: the kernel stops before it takes anything, and goes on afterwards."""
    bench = promoted(KEYS, rows=1 if short == "records" else 64)
    sent = [made_up(30, f"{n}") for n in range(40)]
    wire = b"".join(Sealer(KEYS).seal(n, 23, payload) for n, payload in enumerate(sent))
    for n in range(0, len(wire), 7):
        if n % 14 == 0:
            bench.lane.close()
        bench.lane.add(mbuf(bench.isn + n, wire[n : n + 7]))
    heads = []
    control = bench.arena.control
    left = int(control[Stock.EXTENTS_LEFT])
    if short == "extents":
        control[Stock.EXTENTS_LEFT] = 0
    elif short == "chunks":
        while control[Stock.LARGE_LEFT]:
            heads.append(int(at.take_chunk(control, bench.arena.chunks, at.LARGE)))
    assert bench.serve(1) == DONE
    if short == "extents":
        control[Stock.EXTENTS_LEFT] += left
    assert [bench.payload(row) for row in bench.records] == sent
    for chunk in heads:
        bench.lane.close()
        bench.lane.chunk = chunk
    assert bench.end() == []
