"""The table of flows, compiled: finding, the orders of use, growing, and what a crowd of tuples does to it."""

from __future__ import annotations

from random import Random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dialog import START, Dialog, Sent, captured
from rxtls.counters import Ledger
from rxtls.intake.batch import ACK, SYN
from rxtls.intake.compiled.columns import LinkRow, Steering
from rxtls.intake.compiled.steer import CompiledSteer
from rxtls.intake.steer import SteerOptions
from rxtls.wire.captured import Frame
from rxtls.wire.compiled.columns import Frames, PacketRow, frames_of
from rxtls.wire.compiled.parse import parse_frames
from steer_pair import compare

Steps = list[tuple[int, int, int, int]]

steps: st.SearchStrategy[Steps] = st.lists(
    st.tuples(st.integers(0, 7), st.integers(0, 1), st.integers(0, 2), st.sampled_from((1, 1000, 3 * 10**9))),
    max_size=60,
)


@given(steps, st.sampled_from((1, 2, 3, 5, 100)))
@settings(max_examples=50, deadline=None)
def test_the_orders_of_use(steps: Steps, most: int) -> None:
    """Eight flows on three interfaces: who is evicted, who is swept, and in which order all others are."""
    frames = []
    time_ns = START
    for flow, side, interface, pause in steps:
        ends = (f"10.0.0.{flow}", 1000), ("10.0.1.1", 443)
        sent = Sent(ends[side], ends[1 - side], 5, 5, ACK, b"x" * (flow & 1))
        time_ns += pause
        frames.append(captured(sent.ethernet(), time_ns, interface))
    compare(frames, SteerOptions(max_flows=most, idle_ns=10**9), [1] * 60, often=True)


def test_it_grows_and_finds_them_all() -> None:
    dice = Random(5)
    frames: list[Frame] = []
    talks = [Dialog(ends=((f"10.0.{n >> 8}.{n & 255}", 1000), ("10.9.9.9", 443)), isn=(n, 0)) for n in range(700)]
    for n in range(2100):
        talk = talks[n] if n < 700 else dice.choice(talks)
        talk.time = START + n
        talk.say(dice.getrandbits(1) if n >= 700 else 0, b"x", SYN if n < 700 else ACK)
        frames.append(talk.frames[-1])
    pair = compare(frames, sizes=[100] * 30)
    assert len(pair.plain.connections) == 700


def crowd(count: int, column: int, step: int) -> Frames:
    """SYNs of so many tuples that differ in one column of their rows."""
    talk = Dialog(ends=(("2001:db8::1", 1000), ("2001:db8::2", 443)))
    talk.a(flags=SYN)
    once = frames_of(list(enumerate(talk.frames)))
    parse_frames(once, True)
    packets = np.repeat(once.packets, count, axis=0)
    packets[:, column] += np.arange(count) * step
    return Frames(once.data, np.repeat(once.table, count, axis=0), packets)


def test_buckets_stay_short_whatever_tuples_have_in_common() -> None:
    for column, step in (
        (PacketRow.PORTS, 1 << 16),
        (PacketRow.SRC_LOW, 1),
        (PacketRow.SRC_LOW, 1 << 32),
        (PacketRow.DST_HIGH, 1 << 40),
    ):
        stage = CompiledSteer(Ledger())
        stage.batch(crowd(5000, column, step))
        assert stage._control[Steering.LIVE] == 5000
        longest = 0
        for first in stage._buckets[stage._buckets >= 0].tolist():
            length, f = 0, first
            while f >= 0:
                length, f = length + 1, int(stage._links[f, LinkRow.CHAIN])
            longest = max(longest, length)
        assert 0 < longest < 30


def test_rows_begin_with_a_cache_line() -> None:
    stage = CompiledSteer(Ledger())
    stage.batch(crowd(1000, PacketRow.PORTS, 1 << 16))
    assert stage._flows.ctypes.data % 64 == stage._links.ctypes.data % 64 == 0
    assert stage._flows.flags.c_contiguous
    assert stage._links.shape == (len(stage._flows), LinkRow.COLUMNS)


def test_rows_are_used_again() -> None:
    stage = CompiledSteer(Ledger(), SteerOptions(max_flows=10))
    stage.batch(crowd(5000, PacketRow.PORTS, 1 << 16))
    rows = len(stage._flows)
    assert rows == 256
    free, f = 0, int(stage._control[Steering.FREE])
    while f >= 0:
        free, f = free + 1, int(stage._links[f, LinkRow.CHAIN])
    assert free == rows - 10
