"""What Connections hear of their flows, compiled: nothing is missed, however much is told in one call."""

from __future__ import annotations

from random import Random

import pytest

from dialog import START, Dialog
from rxtls.counters import Ledger
from rxtls.intake.batch import ACK, RST, SYN
from rxtls.intake.compiled import steer as module
from rxtls.intake.compiled.columns import OPENED, RST_SEEN, SYN_SEEN, EventRow
from rxtls.intake.compiled.steer import CompiledSteer
from rxtls.wire.compiled.columns import frames_of
from steer_pair import Pair, compare


def test_more_leaves_than_a_flow_holds_in_turn() -> None:
    talk = Dialog().handshake()
    for n in range(60):
        talk.interface = n % (2 + n // 10)
        talk.a(b"x")
    compare(talk.frames, sizes=[1] * 100, often=True)


def test_many_interfaces() -> None:
    dice = Random(1)
    talk = Dialog().handshake()
    for _ in range(300):
        talk.interface = dice.randrange(1000)
        talk.a(b"x")
    assert len(compare(talk.frames, sizes=[10] * 10).plain.connections[0].interfaces) > 200


def test_what_ended_keeps_its_verdict_and_hears_of_latecomers() -> None:
    talk = Dialog().handshake().goodbye()
    talk.a(b"late", seq=1002)
    pair = Pair()
    numbered = list(enumerate(talk.frames))
    pair.batch(numbered[:6])
    pair.check()
    pair.batch(numbered[6:])
    pair.check()
    assert pair.compiled.connections[0].end_frame == 6


def test_more_connections_open_at_the_end_than_events_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_EVENTS", 20)
    frames = []
    for port in range(70):
        talk = Dialog(ends=(("10.0.0.1", 1024 + port), ("10.0.0.2", 443)), time=START + port)
        talk.a(flags=SYN)
        frames.append(talk.frames[-1])
    pair = compare(frames)
    assert {connection.end for connection in pair.compiled.connections} == {"open"}


def test_a_flood_of_syns_and_resets_is_told_once() -> None:
    talk = Dialog().handshake()
    for n in range(300):
        talk.a(flags=SYN, seq=1000)
        talk.b(flags=RST, seq=n)
        talk.b(flags=SYN | ACK, seq=5000)
    stage = CompiledSteer(Ledger())
    stage.batch(frames_of(list(enumerate(talk.frames))))
    assert stage._events[:, EventRow.KIND].tolist()[:5] == [OPENED, SYN_SEEN, SYN_SEEN, RST_SEEN, 0]
    compare(talk.frames, sizes=[7] * 20, often=True)
