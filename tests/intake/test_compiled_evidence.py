"""What packets say of the vantage, compiled: the same marks, counts and times as intake/vantage.py, frame by frame."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from dialog import START, Dialog
from rxtls.intake.batch import ACK, SYN
from rxtls.intake.steer import SteerOptions
from rxtls.intake.vantage import FAR_NS, ROUND_TRIP_FLOOR_NS
from steer_pair import compare
from steer_streams import transfer

EDGE = 1 << 63


@given(
    st.integers(0, 2**32), st.sampled_from((0.0, 0.03, 0.1)), st.sampled_from((0.0, 0.1)), st.booleans(), st.booleans()
)
@settings(max_examples=25, deadline=None)
def test_losses(seed: int, loss: float, late: float, before: bool, often: bool) -> None:
    compare(transfer(Random(seed), 80, loss, late, before), sizes=[11] * 20, often=often)


times = st.one_of(
    st.sampled_from((-EDGE, 1 - EDGE, -1, 0, 1, EDGE - 1, EDGE - 2)),
    st.integers(-EDGE, EDGE - 1),
    st.integers(0, 4 * FAR_NS).map(lambda n: START + n),
    st.sampled_from((0, 1, ROUND_TRIP_FLOOR_NS // 8, ROUND_TRIP_FLOOR_NS, FAR_NS, 2 * FAR_NS)).map(lambda n: START + n),
)


@given(st.lists(times, min_size=9, max_size=9), st.booleans(), st.sampled_from(("right", "partial")))
@settings(max_examples=150, deadline=None)
def test_the_timing_of_a_handshake(times: list[int], in_order: bool, checksum: str) -> None:
    """Times from everywhere: differences of two may need 64 bits, and no sign."""
    talk = Dialog()
    talk.a(flags=SYN, scale=0, checksum=checksum)
    talk.b(flags=SYN | ACK, scale=0)
    talk.a()
    for n in range(3):
        talk.a(b"x" * (n + 1))
        talk.b()
    frames = [
        frame._replace(time_ns=time_ns)
        for frame, time_ns in zip(talk.frames, sorted(times) if in_order else times, strict=True)
    ]
    compare(frames, SteerOptions(idle_ns=1 << 64), [1] * 10, often=True)
