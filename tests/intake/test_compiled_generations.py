"""Generations, compiled: the ends that Steer gives them, at the rows and the times at which it does."""

from __future__ import annotations

import pytest

from dialog import SECOND, START, Dialog
from rxtls.counters import Ledger
from rxtls.intake.batch import ACK, FIN, FLOW, RST, SYN
from rxtls.intake.compiled import steer as module
from rxtls.intake.compiled.columns import Steering
from rxtls.intake.compiled.kernel import EVENTS_NEEDED
from rxtls.intake.compiled.steer import CompiledSteer
from rxtls.intake.steer import SteerOptions
from rxtls.wire.captured import CapturedFrame
from rxtls.wire.compiled.columns import frames_of
from steer_pair import Pair, compare, rows_of


def test_a_sweep_that_stops_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them has two events, and there is room for those of a few."""
    monkeypatch.setattr(module, "_EVENTS", EVENTS_NEEDED + 9)
    talk = Dialog(step=0)
    for port in range(200):
        talk.ends = (("10.0.0.1", 1024 + port), ("10.0.0.2", 443))
        talk.a(flags=SYN, seq=port)
    talk.time += 301 * SECOND
    for _ in range(2):
        talk.a(b"x")
    pair = compare(talk.frames)
    assert [connection.end for connection in pair.plain.connections].count("idle") == 200


def test_many_flows() -> None:
    frames = []
    for n in range(3000):
        talk = Dialog(ends=((f"10.{n >> 8}.{n & 255}.1", 40000 + n), ("10.0.0.2", 443)), time=START + 1000 * n)
        talk.a(flags=SYN, seq=n)
        frames.append(talk.frames[-1])
    pair = compare(frames, SteerOptions(max_flows=2500), sizes=[1000])
    assert pair.compiled._control[Steering.LIVE] == 0
    assert [connection.end for connection in pair.plain.connections].count("evicted") == 500


@pytest.mark.parametrize("flags", [FIN | ACK, SYN, RST | ACK, ACK])
def test_times_at_the_end_of_the_world(flags: int) -> None:
    ends = ((1 << 63) - 1, -(1 << 63), 0)
    frames: list[CapturedFrame] = []
    for n, (first, second) in enumerate((a, b) for a in ends for b in ends):
        talk = Dialog(ends=(("10.0.0.1", 1024 + n), ("10.0.0.2", 443)), time=0, step=0).handshake()
        talk.a(b"x", flags=flags)
        talk.b(b"y")
        frames += [frame._replace(time_ns=second if k & 1 else first) for k, frame in enumerate(talk.frames)]
    for idle in (1, 300 * SECOND, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, 1 << 64):
        compare(frames, SteerOptions(idle_ns=idle), [1] * 50, often=True)


def test_after_a_reset_the_host_has_the_word() -> None:
    talk = Dialog().handshake()
    talk.b(flags=RST)
    again = Dialog(isn=(77777, 88888), time=talk.time).handshake()
    stage = CompiledSteer(Ledger())
    stage.batch(frames_of(list(enumerate(talk.frames))))
    stage.connections[0].end = "rst"
    stage.batch(frames_of(list(enumerate(again.frames, 4))))
    assert [connection.end for connection in stage.connections] == ["rst", "open"]


def test_finish_ends_a_run_and_another_may_begin() -> None:
    """Connections are counted on; tuples, clocks and sights are forgotten."""
    talk = Dialog().handshake()
    talk.a(b"x")
    pair = Pair()
    for _ in range(2):
        pair.batch(list(enumerate(talk.frames)))
        pair.finish()
        pair.check()
    assert rows_of(pair.compiled.finish()) == []
    assert {row[FLOW] for row, _ in pair.rows} == {0, 1, 2, 3}
