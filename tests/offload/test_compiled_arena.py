"""The arena: what goes in comes out, with its arrivals, and nothing is lost or held twice."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rxtls.native import Grid, Row, Table, kernel
from rxtls.offload.compiled import arena as cols
from rxtls.offload.compiled.arena import (
    Arena,
    Arrived,
    Chunk,
    Extent,
    Stock,
    arrival_at,
    free_extent,
    room,
    take_chunk,
    take_extent,
)
from rxtls.offload.mbuf import Arrival, Mbuf


def packets(sizes: list[int], first_frame: int = 3) -> tuple[bytes, list[Arrival]]:
    """Bytes that packets of these sizes brought, one frame after the other."""
    data, arrivals = bytearray(), []
    for n, size in enumerate(sizes):
        data += bytes((n + k) & 0xFF for k in range(size))
        arrivals.append((len(data), first_frame + n, 1000 * n))
    return bytes(data), arrivals


def joined(mbufs: list[Mbuf]) -> tuple[bytes, list[tuple[int, int]]]:
    """All bytes, and for each the frame that brought it, as (frame, how many) runs."""
    runs: list[tuple[int, int]] = []
    for mbuf in mbufs:
        at = 0
        for end, frame, _ in mbuf.arrivals:
            if runs and runs[-1][0] == frame:
                runs[-1] = frame, runs[-1][1] + end - at
            else:
                runs.append((frame, end - at))
            at = end
    return b"".join(bytes(mbuf.data) for mbuf in mbufs), [run for run in runs if run[1]]


def free(arena: Arena) -> list[int]:
    return [int(arena.control[column]) for column in (Stock.SMALL_LEFT, Stock.LARGE_LEFT, Stock.EXTENTS_LEFT)]


def all_of(arena: Arena) -> list[int]:
    sizes = arena.chunks[:, Chunk.SIZE]
    return [int((sizes == cols.SMALL).sum()), int((sizes == cols.LARGE).sum()), len(arena.extents)]


@given(st.lists(st.one_of(st.integers(1, 3000), st.sampled_from([1, 70_000, 140_000])), min_size=1, max_size=6))
def test_an_mbuf_comes_out_as_it_went_in(sizes: list[int]) -> None:
    arena = Arena()
    data, arrivals = packets(sizes)
    ends = np.array([-1, -1])
    seq = 2**32 - 100
    arena.push(ends, Mbuf(seq, data, 2, 5, 0x18, arrivals, 7, 9), point=11)
    out = arena.mbufs(int(ends[0]))
    wanted = [
        (frame, end - before) for (end, frame, _), before in zip(arrivals, [0, *(a[0] for a in arrivals)], strict=False)
    ]
    assert joined(out) == (data, wanted)
    for mbuf in out:
        assert (mbuf.mark, mbuf.leaf, mbuf.flags, mbuf.acked, mbuf.edge) == (2, 5, 0x18, 7, 9)
        assert mbuf.seq == seq
        seq = (seq + len(mbuf.data)) & 0xFFFF_FFFF
    assert free(arena) == all_of(arena)


def test_an_mbuf_without_bytes_keeps_its_frame() -> None:
    arena = Arena()
    ends = np.array([-1, -1])
    arena.push(ends, Mbuf(8, b"", 0, 1, 0x02, [(0, 4, 44)], -1, -1))
    (mbuf,) = arena.mbufs(int(ends[0]))
    assert (mbuf.seq, mbuf.data, mbuf.flags, mbuf.arrivals) == (8, b"", 0x02, [(0, 4, 44)])


def test_more_packets_than_a_chunk_has_arrivals_take_another_chunk() -> None:
    arena = Arena()
    data, arrivals = packets([1] * (2 * cols.MOST_ARRIVALS + 1))
    ends = np.array([-1, -1])
    arena.push(ends, Mbuf(0, data, 0, 0, 0x10, arrivals, -1, -1))
    out = arena.mbufs(int(ends[0]))
    assert [len(mbuf.arrivals) for mbuf in out] == [cols.MOST_ARRIVALS, cols.MOST_ARRIVALS, 1]
    assert b"".join(mbuf.data for mbuf in out) == data


def test_growing_changes_no_id_and_no_byte() -> None:
    arena = Arena()
    ends = np.array([-1, -1])
    data, arrivals = packets([5000, 6000])
    arena.push(ends, Mbuf(0, data, 0, 0, 0x10, arrivals, -1, -1))
    before = free(arena)
    arena.grow(extents=100_000, large=500, small=5_000)
    assert all(now > then for now, then in zip(free(arena), before, strict=True))
    assert joined(arena.mbufs(int(ends[0]))) == (data, [(3, 5000), (4, 6000)])
    assert free(arena) == all_of(arena)


def taken(arena: Arena) -> tuple[list[int], list[int], list[int]]:
    """All that is free, taken: small chunks, large ones, extents."""
    small, large, extents = free(arena)
    control, chunks = arena.control, arena.chunks
    return (
        [int(take_chunk(control, chunks, 1)) for _ in range(small)],
        [int(take_chunk(control, chunks, cols.LARGE)) for _ in range(large)],
        [int(take_extent(control, arena.extents)) for _ in range(extents)],
    )


def test_what_is_said_to_be_free_is_there_once_whatever_was_taken_given_back_and_grown() -> None:
    arena = Arena()
    ends = np.array([-1, -1])
    for size in (5000, 1, 70_000):
        data, arrivals = packets([size])
        arena.push(ends, Mbuf(0, data, 0, 0, 0x10, arrivals, -1, -1))
    arena.grow(extents=5_000, large=100, small=300)  # while some are free, and some are held
    arena.mbufs(int(ends[0]))
    small, large, extents = taken(arena)
    assert sorted(small + large) == list(range(len(arena.chunks)))
    assert sorted(extents) == list(range(len(arena.extents)))
    assert {int(arena.chunks[chunk, Chunk.SIZE]) for chunk in small} == {cols.SMALL}
    assert set(arena.extents[extents, Extent.NEXT].tolist()) == {-1}
    for extent in extents:
        arena.extents[extent, Extent.CHUNK] = -1
        free_extent(arena.tables, extent)
    assert sorted(taken(arena)[2]) == list(range(len(arena.extents)))


def test_it_grows_by_a_quarter_and_not_by_more() -> None:
    arena = Arena()
    while len(arena.chunks) < 20 * cols.SLAB // cols.LARGE:
        had = len(arena.chunks)
        arena.grow(large=int(arena.control[Stock.LARGE_LEFT]) + 1)
        assert len(arena.chunks) - had == max(cols.SLAB // cols.LARGE, had // 4)


@kernel
def _room(control: Row, chunks_needed: int, extents_needed: int) -> bool:
    return room(control, chunks_needed, extents_needed)


def test_there_is_room_for_exactly_what_is_left() -> None:
    control = np.zeros(Stock.COLUMNS, np.int64)
    control[[Stock.SMALL_LEFT, Stock.LARGE_LEFT, Stock.EXTENTS_LEFT]] = 3
    assert _room(control, 3, 3)
    assert not _room(control, 3, 4)
    for column in (Stock.SMALL_LEFT, Stock.LARGE_LEFT):
        less = control.copy()
        less[column] = 2
        assert _room(less, 2, 3)
        assert not _room(less, 3, 3)


@kernel
def _arrival_at(chunks: Table, arrivals: Grid, chunk: int, offset: int) -> int:
    return arrival_at(chunks, arrivals, chunk, offset)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=50))
def test_the_arrival_of_every_byte_is_found(sizes: list[int]) -> None:
    arena = Arena()
    data, arrivals = packets(sizes)
    ends = np.array([-1, -1])
    arena.push(ends, Mbuf(0, data, 0, 0, 0x10, arrivals, -1, -1))
    chunk = int(arena.extents[ends[0], Extent.CHUNK])
    for offset in range(len(data)):
        which = int(_arrival_at(arena.chunks, arena.arrivals, chunk, offset))
        assert int(arena.arrivals[chunk, which, Arrived.FRAME]) == next(
            frame for end, frame, _ in arrivals if end > offset
        )
