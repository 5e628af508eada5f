"""Sequence arithmetic: right everywhere around the wrap, within 2 GiB, for ints and for columns alike."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxtls.seq import MASK, add, before, distance

HALF = 1 << 31
SEQS = st.sampled_from([0, 1, HALF - 1, HALF, HALF + 1, MASK - 1, MASK]) | st.integers(0, MASK)
STEPS = st.sampled_from([-HALF, -1, 0, 1, HALF - 1]) | st.integers(-HALF, HALF - 1)


@given(SEQS, STEPS)
def test_distance_undoes_add(start: int, n: int) -> None:
    there = add(start, n)
    assert 0 <= there <= MASK
    assert distance(start, there) == n
    assert add(there, -n) == start
    assert before(start, there) is (n > 0)


@given(SEQS, st.integers(-(1 << 40), 1 << 40))
def test_add_wraps_as_often_as_it_takes(start: int, n: int) -> None:
    assert add(start, n) == (start + n) % (1 << 32)


@given(SEQS, STEPS, STEPS)
def test_the_origin_does_not_matter(origin: int, a: int, b: int) -> None:
    """Two places less than 2 GiB apart compare as their offsets do, wherever 2^32 falls between them."""
    if -HALF <= b - a < HALF:
        assert distance(add(origin, a), add(origin, b)) == b - a


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0, 0, 0),
        (MASK, 0, 1),
        (0, MASK, -1),
        (MASK - 1448, 100, 1549),
        (0, HALF - 1, HALF - 1),
        (0, HALF, -HALF),  # as far as can be: counted as behind
        (HALF, 0, -HALF),
    ],
)
def test_by_hand(start: int, end: int, expected: int) -> None:
    assert distance(start, end) == expected


@given(SEQS)
def test_nothing_is_before_itself(seq: int) -> None:
    assert not before(seq, seq)


@given(st.lists(st.tuples(SEQS, SEQS), min_size=1, max_size=20))
def test_the_same_on_columns(pairs: list[tuple[int, int]]) -> None:
    columns = np.array(pairs, dtype=np.int64)
    apart = ((columns[:, 1] - columns[:, 0] + HALF) & MASK) - HALF
    assert apart.tolist() == [distance(a, b) for a, b in pairs]
