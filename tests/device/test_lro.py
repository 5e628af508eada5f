from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxtls.device.lro import MAX_RUN, Lro
from rxtls.intake.batch import ACK, END, FIN, PSH, RST, SYN
from rxtls.offload.mbuf import Mbuf
from rxtls.seq import add, distance


class Segment(NamedTuple):
    seq: int
    data: bytes
    mark: int = 0
    leaf: int = 0
    flags: int = ACK
    acked: int = -1
    edge: int = -1

    @property
    def beyond(self) -> bool:
        return self.edge >= 0 and distance(self.edge, add(self.seq, len(self.data))) > 0

    @property
    def joinable(self) -> bool:
        return bool(self.data) and not self.flags & ~(ACK | PSH) and not self.beyond


def take(lro: Lro, frame: int, segment: Segment) -> None:
    seq, data, mark, leaf, flags, acked, edge = segment
    lro.add(seq, data, mark, leaf, flags, (frame, frame * 10), acked, edge)


def runs_of(segments: list[Segment], limit: int = MAX_RUN, flush_before: frozenset[int] = frozenset()) -> list[Mbuf]:
    lro = Lro(limit)
    runs: list[Mbuf] = []
    for frame, segment in enumerate(segments):
        if frame in flush_before:
            runs += lro.flush()
        take(lro, frame, segment)
    runs += lro.flush()
    assert lro.flush() == []
    return runs


def pieces(run: Mbuf) -> list[tuple[int, bytes, int, int, int, int]]:
    """A run taken apart again: (seq, data, mark, leaf, frame, time) of every segment in it."""
    parts = []
    start = 0
    for end, frame, time_ns in run.arrivals:
        parts.append((add(run.seq, start), run.data[start:end], run.mark, run.leaf, frame, time_ns))
        start = end
    assert start == len(run.data)
    return parts


def taken_in(segments: list[Segment]) -> list[tuple[int, bytes, int, int, int, int]]:
    return [(s.seq, s.data, s.mark, s.leaf, frame, frame * 10) for frame, s in enumerate(segments)]


_FLAGS = st.sampled_from([ACK] * 6 + [ACK | PSH, 0, ACK | FIN, ACK | RST, SYN, 0x20 | ACK, END])
_STEP = st.tuples(
    st.sampled_from([None] * 6 + [(0, 0), (1, 0), (2, 0), (0, 1)]),  # another mark, another leaf
    _FLAGS,
    st.sampled_from([0, 1, 2, 9, 9, 9, 30]),  # length
    st.sampled_from([0] * 8 + [1, -1, 40, -9]),  # hole or overlap
    st.sampled_from([None, None, 0, -1, 500]),  # how far the edge lies past the segment's end
)


@st.composite
def segments(draw: st.DrawFn) -> list[Segment]:
    """Mostly consecutive, with changes of everything that keeps segments apart."""
    seq = draw(st.sampled_from([0, 5_000, 2**32 - 20, 2**31 - 20]))
    made: list[Segment] = []
    mark = leaf = 0
    for index, (other, flags, length, gap, past) in enumerate(draw(st.lists(_STEP, max_size=25))):
        mark, leaf = other or (mark, leaf)
        seq = add(seq, gap)
        edge = -1 if past is None else add(seq, length + past)
        made.append(Segment(seq, bytes([index]) * length, mark, leaf, flags, index, edge))
        seq = add(seq, length)
    return made


@given(made=segments(), limit=st.sampled_from([1, 12, 20, MAX_RUN]), cuts=st.frozensets(st.integers(0, 25)))
def test_order_bytes_marks_leaves_and_arrivals_survive_any_cut(
    made: list[Segment], limit: int, cuts: frozenset[int]
) -> None:
    uncut = [piece for run in runs_of(made) for piece in pieces(run)]
    cut = [piece for run in runs_of(made, limit, cuts) for piece in pieces(run)]
    assert uncut == taken_in(made)
    assert cut == uncut


@given(made=segments(), limit=st.sampled_from([12, 30, MAX_RUN]))
def test_what_can_be_joined_is_and_nothing_else(made: list[Segment], limit: int) -> None:
    """The slow rule: a segment continues the one before it if both may join and nothing that matters changed."""
    expected: list[list[int]] = []
    for index, segment in enumerate(made):
        last = made[index - 1] if index else None
        size = sum(len(made[i].data) for i in expected[-1]) if expected else 0
        if (
            last is not None
            and last.joinable
            and segment.joinable
            and (last.mark, last.leaf) == (segment.mark, segment.leaf)
            and add(last.seq, len(last.data)) == segment.seq
            and size + len(segment.data) <= limit
        ):
            expected[-1].append(index)
        else:
            expected.append([index])
    runs = runs_of(made, limit)
    assert [[frame for _, frame, _ in run.arrivals] for run in runs] == expected
    for run, indices in zip(runs, expected, strict=True):
        last = made[indices[-1]]
        assert (run.acked, run.edge) == (last.acked, last.edge)
        flags = 0
        for index in indices:
            flags |= made[index].flags
        assert run.flags == flags


@pytest.mark.parametrize(
    "other",
    [
        Segment(1_010, b"b" * 10, mark=1),
        Segment(1_010, b"b" * 10, leaf=1),
        Segment(1_011, b"b" * 10),
        Segment(1_009, b"b" * 10),
        Segment(1_010, b"b" * 10, flags=ACK | FIN),
        Segment(1_010, b"b" * 10, flags=ACK | RST),
        Segment(1_010, b"b" * 10, flags=ACK | 0x20),
        Segment(1_010, b""),
        Segment(1_010, b"b" * 10, edge=1_019),
    ],
    ids=["mark", "leaf", "hole", "overlap", "fin", "rst", "urg", "empty", "beyond-edge"],
)
def test_kept_apart(other: Segment) -> None:
    first, third = Segment(1_000, b"a" * 10), Segment(1_020, b"c" * 10)
    assert [run.data for run in runs_of([first, other, third])] == [first.data, other.data, third.data]


def test_epochs_are_marks_and_never_merge() -> None:
    made = [Segment(0, b"a", 1), Segment(1, b"b", 2), Segment(2, b"c", 2), Segment(3, b"d", 0)]
    assert [(run.data, run.mark) for run in runs_of(made)] == [(b"a", 1), (b"bc", 2), (b"d", 0)]


def test_marks_in_turn_leave_in_the_order_in_which_they_came() -> None:
    made = [Segment(10 * index, b"x" * 10, index // 2 % 2) for index in range(8)]
    assert [(run.seq, run.mark) for run in runs_of(made)] == [(0, 0), (20, 1), (40, 0), (60, 1)]


def test_edge_reached_exactly_is_not_beyond() -> None:
    made = [Segment(2**32 - 5, b"a" * 5, edge=5), Segment(0, b"b" * 5, edge=5), Segment(5, b"c", edge=5)]
    assert [run.data for run in runs_of(made)] == [b"a" * 5 + b"b" * 5, b"c"]


def test_a_run_ends_at_64_kib() -> None:
    made = [Segment(index * 1448, b"x" * 1448) for index in range(100)]
    sizes = [len(run.data) for run in runs_of(made)]
    assert sizes == [45 * 1448, 45 * 1448, 10 * 1448]
    assert max(sizes) <= MAX_RUN < max(sizes) + 1448


def test_a_run_of_just_the_limit() -> None:
    made = [Segment(0, b"a" * 4), Segment(4, b"b" * 6), Segment(10, b"c")]
    assert [run.data for run in runs_of(made, 10)] == [b"a" * 4 + b"b" * 6, b"c"]


def test_a_segment_longer_than_the_limit_is_alone() -> None:
    made = [Segment(0, b"a" * 50), Segment(50, b"b"), Segment(51, b"c")]
    assert [run.data for run in runs_of(made, 10)] == [b"a" * 50, b"bc"]


def test_a_flushed_run_is_not_touched_again() -> None:
    lro = Lro()
    take(lro, 0, Segment(0, b"a"))
    (run,) = lro.flush()
    take(lro, 1, Segment(1, b"b"))
    assert (run.data, run.arrivals) == (b"a", [(1, 0, 0)])
    assert [later.data for later in lro.flush()] == [b"b"]
