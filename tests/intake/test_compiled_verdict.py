"""Where the capture was taken, compiled: the verdicts of intake/vantage.py, and what is refused and excused."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialog import MILLISECOND, SLL, START, Dialog, captured
from rxtls.intake.batch import ACK, SYN
from rxtls.intake.steer import SteerOptions
from steer_pair import Pair, compare
from steer_streams import transfer

EDGE = 1 << 63


@pytest.mark.parametrize(("before", "verdict"), [(True, "sender"), (False, "receiver")])
def test_losses_tell_where(before: bool, verdict: str) -> None:
    pair = compare(transfer(Random(2), 300, 0.05, 0.0, before))
    assert pair.compiled.connections[0].vantage(0) == verdict


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        (MILLISECOND, 10_000, "sender"),  # b is a round trip away, a answers at once
        (10_000, MILLISECOND, "receiver"),
        (3 * MILLISECOND, 3 * MILLISECOND, "middle"),
        (10_000, 10_000, "unknown"),
        (EDGE, EDGE - 1, "middle"),
    ],
)
def test_timing_tells_where(first: int, second: int, verdict: str) -> None:
    talk = Dialog().handshake()
    start = START if first < EDGE else -EDGE
    times = (start, start + first, start + first + second)
    frames = [frame._replace(time_ns=time_ns) for frame, time_ns in zip(talk.frames, times, strict=True)]
    pair = compare(frames, SteerOptions(idle_ns=1 << 64))
    assert pair.compiled.connections[0].vantage(0) == verdict


@given(
    st.lists(
        st.tuples(
            st.integers(0, 1),
            st.sampled_from((-1, 0, 1, 2, 3, 4, 5, 65_535)),
            st.sampled_from(("right", "right", "wrong", "partial")),
            st.sampled_from((0, 0, 1, 537, 1461, 9300)),
        ),
        max_size=25,
    ),
    st.sampled_from(("auto", "verify", "ignore")),
    st.sampled_from(("auto", "auto", "sender", "middle")),
)
@settings(max_examples=100, deadline=None)
def test_what_packets_are_like(steps: list[tuple[int, int, str, int]], policy: str, vantage: str) -> None:
    """Cooked types, checksums and sizes, in any order: what is refused, and what is excused."""
    talk = Dialog()
    for side, kind, checksum, length in steps:
        sent = talk.say(side, bytes(length), ACK, checksum=checksum)
        if kind >= 0:
            talk.frames[-1] = captured(sent.cooked(kind), talk.frames[-1].time_ns, 0, SLL)
    options = SteerOptions(checksum=policy, vantage=vantage)  # type: ignore[arg-type]
    compare(talk.frames, options, [1] * 30, often=True)


def test_a_sender_whose_nic_fills_in_all_checksums_is_known() -> None:
    talk = Dialog()
    talk.a(flags=SYN, checksum="wrong")
    talk.b(flags=SYN | ACK)
    talk.a(checksum="wrong")
    talk.a(checksum="wrong")
    for _ in range(3):
        talk.a(b"data", checksum="wrong")
        talk.b()
    pair = Pair()
    pair.batch(list(enumerate(talk.frames)))
    pair.check()
    assert pair.fates["bad_checksum"] == 1
    assert pair.fates["segment"] == 5
