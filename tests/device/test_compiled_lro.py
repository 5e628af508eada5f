"""Compiled LRO against the plain one, without any receive tag: what can be joined, and how long packets are cut."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rxtls.device.lro import MAX_RUN
from rxtls.device.profiles import PROFILES
from rxtls.intake.batch import ACK, END, FIN, PSH, RST, SYN, Row
from rxtls.offload.compiled.arena import LARGE, MOST_ARRIVALS, SMALL
from rxtls.seq import add
from sample_keys import made_up
from twin_nics import Twins

DATA = made_up(3 * LARGE, "payload")

_FLAGS = st.sampled_from([ACK] * 6 + [ACK | PSH, 0, ACK | FIN, ACK | RST, SYN, SYN | ACK | FIN, END])
_LENGTHS = st.sampled_from(
    [0, 1, 2, 9, 9, 9, 1448, 1448, SMALL - 1, SMALL, SMALL + 1, LARGE - 1, LARGE, LARGE + 1, 3 * LARGE]
)
_STEP = st.tuples(
    st.sampled_from([0] * 6 + [1]),  # leaf
    _FLAGS,
    _LENGTHS,
    st.sampled_from([0] * 8 + [1, -1, 40, -9]),  # hole or overlap
    st.sampled_from([None, None, 0, -1, 500]),  # how far the edge lies past the segment's end
)


@st.composite
def segments(draw: st.DrawFn) -> list[Row]:
    """Mostly consecutive rows of one flow, with changes of everything that keeps segments apart."""
    seq = draw(st.sampled_from([0, 5_000, 2**32 - 20, 2**31 - 20]))
    rows: list[Row] = []
    for clock, (leaf, flags, length, gap, past) in enumerate(draw(st.lists(_STEP, max_size=25)), 1):
        seq = add(seq, gap)
        edge = -1 if past is None else add(seq, length + past)
        offset = draw(st.integers(0, len(DATA) - length))
        rows.append([clock, clock * 10, leaf, 0, clock, seq, flags, offset, length, clock, edge])
        seq = add(seq, length)
    return rows


@settings(max_examples=150, deadline=None)
@given(made=segments(), limit=st.sampled_from([1, 12, 5_000, MAX_RUN]), budget=st.sampled_from([1, 3, 64]))
def test_what_comes_out_is_what_the_plain_one_gives(made: list[Row], limit: int, budget: int) -> None:
    twins = Twins(PROFILES["ideal"], limit)
    twins.set_budget(0, budget)
    due = twins.receive(made, DATA)
    while due:
        twins.flush(0)
        due = twins.resume()
    twins.flush(0)
    twins.close()


def consecutive(lengths: list[int]) -> list[Row]:
    rows, at = [], 0
    for clock, length in enumerate(lengths, 1):
        rows.append([clock, clock * 10, 0, 0, clock, at, ACK, at % LARGE, length, -1, -1])
        at += length
    return rows


@pytest.mark.parametrize(
    ("lengths", "runs"),
    [
        ([1448] * 2, 1),
        ([1448] * 3, 2),  # the first chunk is small
        ([SMALL + 1] + [1448] * 30, 1),
        ([10] * (MOST_ARRIVALS + 1), 2),  # arrivals are full
        ([LARGE], 1),
        ([LARGE + 1], 2),
        ([2 * LARGE], 2),
        ([SMALL + 1] + [1448] * 60, 2),
    ],
)
def test_consecutive_segments_are_one_run_as_far_as_a_chunk_goes(lengths: list[int], runs: int) -> None:
    twins = Twins(PROFILES["ideal"], 1 << 20)
    twins.set_budget(0, 1 << 30)
    assert twins.receive(consecutive(lengths), DATA) == []
    assert len(twins.flush(0)) == runs


def test_runs_are_no_longer_than_the_limit() -> None:
    twins = Twins(PROFILES["ideal"], 5_000)
    twins.set_budget(0, 1 << 30)
    twins.receive(consecutive([SMALL + 1] + [1_000] * 20), DATA)
    # The first is alone (5,097 bytes would be too many); four chunks' worth of five follow it.
    assert [len(mbuf.data) for mbuf in twins.flush(0)] == [SMALL + 1, 5_000, 5_000, 5_000, 5_000]
