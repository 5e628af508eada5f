"""Reassembly over extents, without records: segments in any order, cut, overlapping, and beyond what is usual."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host_pair import Case, compare, promoted
from rxtls.host.compiled import state
from rxtls.host.compiled.serve import DONE, HOLE, LEAVE
from rxtls.host.compiled.state import Own
from rxtls.host.reassembly import PACKET
from rxtls.offload.mbuf import Mbuf
from rxtls.seq import add
from sample_keys import STREAMED, made_up
from sample_mbufs import mbuf

KEYS = STREAMED[0]
# A header that promises the longest record: nothing is ever whole, all bytes stay where reassembly has put them.
STREAM = b"\x17\x03\x03" + (KEYS.max_total - 5).to_bytes(2) + made_up(195, "stream")


@st.composite
def segments(draw: st.DrawFn, isn: int) -> list[list[Mbuf]]:
    """Groups of segments of STREAM, each of its own mark; or of other bytes, so that it shows whose copy won."""
    groups: list[list[Mbuf]] = [[]]
    frame, time_ns, acked, window = 1, 0, 0, draw(st.sampled_from([20, 100, 1000]))
    for _ in range(draw(st.integers(1, 25))):
        a = draw(st.integers(0, 60) | st.integers(0, len(STREAM)))
        b = min(len(STREAM), a + draw(st.integers(0, 8) | st.integers(0, 80)))
        acked = max(acked, draw(st.sampled_from([0, 0, 0, a, b])))
        time_ns += draw(st.sampled_from([1, 1000, 9_999_999_000]))
        data = STREAM[a:b] if draw(st.booleans()) else made_up(b - a, f"other {frame}")
        mark, leaf = draw(st.integers(0, 1)), draw(st.sampled_from([0, 0, 0, 1]))
        known = draw(st.booleans()) if frame == 1 else groups[0][0].acked >= 0
        where = (add(isn, acked), add(isn, max(acked, a) + window)) if known else (-1, -1)
        groups[-1].append(
            mbuf(isn + a, data, mark, leaf=leaf, frame=frame, time_ns=time_ns, acked=where[0], edge=where[1])
        )
        frame += 1
        if draw(st.integers(0, 3)) == 0:
            groups.append([])
    return [group for group in groups if group]


@settings(max_examples=80)
@given(isn=st.sampled_from([1000, (1 << 32) - 30, (1 << 31) - 30]), data=st.data())
def test_every_byte_is_where_the_plain_host_has_it(isn: int, data: st.DataObject) -> None:
    case = Case(KEYS, 0, data.draw(st.sampled_from([10, 1000, 3000, 1 << 20])))
    case.batches = [[[mbuf(isn, STREAM[:1])]], data.draw(segments(isn)), data.draw(segments(isn))]
    compare(case, lambda: False, limit=data.draw(st.sampled_from([1, 20, 65535])))


def test_adjacent_segments_are_one_extent() -> None:
    """What is contiguous in stream and chunk, with one mark and leaf, is one extent, held or in order."""
    bench = promoted(KEYS)
    bench.give(*[mbuf(bench.isn + a, STREAM[a : a + 10]) for a in range(10, 100, 10)], point=1)
    assert bench.row(Own.HELD_COUNT, Own.HELD_BYTES) == [1, 90]
    bench.give(mbuf(bench.isn + 100, STREAM[100:110], mark=1), point=2)
    assert bench.row(Own.HELD_COUNT, Own.HELD_BYTES) == [2, 100]
    bench.give(mbuf(bench.isn, STREAM[:10]), point=3)
    assert bench.row(Own.HELD_COUNT, Own.HELD_BYTES, Own.TLSCC) == [0, 0, 110]
    bench.end()


def test_far_ahead_is_left() -> None:
    """Beyond FAR, distances would become ambiguous; at it, they are not."""
    bench = promoted(KEYS)
    assert bench.give(mbuf(bench.isn + state.FAR - 10, bytes(10)), point=1) == DONE
    assert bench.give(mbuf(bench.isn + state.FAR - 9, bytes(10)), point=2) == LEAVE
    ((point, mbufs, settle),) = bench.end()
    assert (point, [each.seq for each in mbufs], settle) == (2, [add(bench.isn, state.FAR - 9)], True)


def test_many_held_are_left() -> None:
    """The list is walked from its head, so its length is bounded; up to the bound nothing is left."""
    bench = promoted(KEYS, hold=1 << 22)
    for n in range(state.MOST_HELD):
        bench.lane.add(mbuf(bench.isn + 2 + 2 * n, b"x"))
    assert bench.serve(1) == DONE
    assert bench.give(mbuf(bench.isn + 1, b"y"), mbuf(bench.isn + 3, b"z"), point=2) == LEAVE
    assert bench.row(Own.HELD_COUNT) == [state.MOST_HELD]
    (group,) = bench.end()
    assert [each.data for each in group.mbufs] == [b"y", b"z"]
    assert len(bench.direction.reassembly.held) == state.MOST_HELD


@pytest.mark.parametrize("gap", [True, False])
def test_a_hole_that_is_due_is_left(gap: bool) -> None:
    """A gap to declare or a hold that overflows: all before it has been done, and it is left to be passed."""
    bench = promoted(KEYS, hold=100 + 2 * PACKET)
    acked = add(bench.isn, 50) if gap else -1
    late = mbuf(bench.isn + 100, bytes(99), time_ns=10_000_000_000, acked=acked)
    assert bench.give(mbuf(bench.isn + 98, b"x"), point=1) == DONE
    assert bench.give(late, point=2) == (HOLE if gap else DONE)
    if not gap:
        assert bench.give(mbuf(bench.isn + 50, b"y"), point=3) == HOLE
    (group,) = bench.end()
    assert (group.point, group.mbufs, group.settle) == (2 if gap else 3, [], False)
    assert bench.direction.reassembly.due
    bench.direction.reassembly.settle()
    assert bench.direction.reassembly.due
    assert bench.direction.reassembly.acknowledged is gap
