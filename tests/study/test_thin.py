"""Thinning: nothing invented, nothing lost of what counts, and never more than asked for."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxtls.study.thin import Pieces, pieces, shares, thinned

COLOURS = 4


@st.composite
def things(draw: st.DrawFn) -> Pieces:
    """Segments in order of time: mostly one behind the other, some late, some after a hole."""
    rows = draw(
        st.lists(
            st.tuples(st.integers(0, 50), st.integers(1, 1448), st.sampled_from((0, 0, 0, -3000, 5000)),
                      st.integers(0, COLOURS - 1)),
            max_size=120,
        )
    )  # fmt: skip
    time = at = 0
    columns: list[tuple[int, int, int, int]] = []
    for wait, length, jump, colour in rows:
        time += wait
        at += jump
        columns.append((time, at, at + length, colour))
        at += length
    table = np.array(columns, np.int64).reshape(-1, 4)
    return pieces(table[:, 0], table[:, 1], table[:, 2], table[:, 3], np.arange(len(table)))


@given(things(), st.integers(1, 150))
def test_what_is_kept(given_: Pieces, most: int) -> None:
    kept = thinned(given_, most)
    assert len(kept) <= max(most, COLOURS)
    assert kept.count.sum() == len(given_)
    assert (np.diff(kept.start) >= 0).all()
    for colour in range(COLOURS):
        mine, his = kept.colour == colour, given_.colour == colour
        assert kept.count[mine].sum() == his.sum()
        if his.any():  # the outline is the same
            assert kept.start[mine].min() == given_.start[his].min()
            assert kept.end[mine].max() == given_.end[his].max()
            assert kept.low[mine].min() == given_.low[his].min()
            assert kept.high[mine].max() == given_.high[his].max()
    for n in range(len(given_)):  # and each thing lies in a piece of its colour
        inside = (
            (kept.colour == given_.colour[n]) & (kept.start <= given_.start[n]) & (kept.end >= given_.end[n])
            & (kept.low <= given_.low[n]) & (kept.high >= given_.high[n])
            & (kept.first <= given_.first[n]) & (kept.last >= given_.last[n])
        )  # fmt: skip
        assert inside.any()


@given(things())
def test_what_fits_is_left_as_it_is(given_: Pieces) -> None:
    kept = thinned(given_, len(given_))
    assert all((getattr(kept, each.name) == getattr(given_, each.name)).all() for each in fields(Pieces))


def test_a_clean_transfer_is_one_piece_however_long() -> None:
    n = np.arange(100_000, dtype=np.int64)
    kept = thinned(pieces(n, n * 1448, n * 1448 + 1448, np.zeros_like(n), n), 10)
    assert len(kept) == 1
    assert (kept.low[0], kept.high[0], kept.last[0], kept.count[0]) == (0, 100_000 * 1448, 99_999, 100_000)


def test_a_restless_one_uses_its_budget() -> None:
    n = np.arange(100_000, dtype=np.int64)
    kept = thinned(pieces(n, n * 1448, n * 1448 + 1448, n % 3, n), 1000)
    assert 900 < len(kept) <= 1000


@pytest.mark.parametrize(
    ("needs", "budget", "given_"),
    [
        ([], 10, []), ([3, 4], 10, [3, 4]), ([100, 2, 100], 12, [5, 2, 5]), ([7, 7, 7], 0, [0, 0, 0]),
        ([10, 1], 100, [10, 1]),
    ],
)  # fmt: skip
def test_shares(needs: list[int], budget: int, given_: list[int]) -> None:
    assert shares(needs, budget) == given_


@given(st.lists(st.integers(0, 1000), max_size=30), st.integers(0, 5000))
def test_shares_are_fair(needs: list[int], budget: int) -> None:
    given_ = shares(needs, budget)
    assert sum(given_) <= budget
    assert all(got <= need for got, need in zip(given_, needs, strict=True))
    short = [got for got, need in zip(given_, needs, strict=True) if got < need]
    assert not short or (max(short) - min(short) <= 1 and max(given_) <= max(short))
