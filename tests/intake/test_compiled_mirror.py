"""The ring of sights, compiled: as intake/mirror.py has it, at its bound and beyond, and never slow."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialog import SLL2, START, Dialog, captured
from rxtls.counters import Ledger
from rxtls.intake.batch import SYN
from rxtls.intake.compiled.columns import SightRow, Steering
from rxtls.intake.compiled.steer import CompiledSteer
from rxtls.intake.mirror import BOUND, WITHIN_NS
from rxtls.wire.compiled.columns import FrameRow, Frames, PacketRow, frames_of
from rxtls.wire.compiled.parse import parse_frames
from steer_pair import compare
from steer_streams import Habits, stream

Numbers = npt.NDArray[np.int64]


def one_frame() -> Frames:
    talk = Dialog()
    talk.a(b"payload")
    frames = frames_of(list(enumerate(talk.frames)))
    parse_frames(frames, True)
    return frames


def repeated(column: int, values: Numbers, interface: int = 0, time_ns: int = START) -> Frames:
    """One packet many times, with other values in a column of its row."""
    once = one_frame()
    table = np.repeat(once.table, len(values), axis=0)
    packets = np.repeat(once.packets, len(values), axis=0)
    table[:, FrameRow.INTERFACE] = interface
    table[:, FrameRow.TIME] = time_ns
    packets[:, column] = values
    return Frames(once.data, table, packets)


def mirrored(stage: CompiledSteer, ledger: Ledger, frames: Frames) -> int:
    before = ledger.fates["frame.mirrored"]
    stage.batch(frames)
    return ledger.fates["frame.mirrored"] - before


@given(st.integers(0, 2**32), st.sampled_from((0.05, 0.3)), st.sampled_from((0.3, 1.0)))
@settings(max_examples=30, deadline=None)
def test_streams_of_copies(seed: int, other: float, place: float) -> None:
    """Mostly copies, a few microseconds to some milliseconds apart, on few places."""
    habits = Habits(tuples=3, mirror=1 - other, place=place, off=0.02, odd=0.02, damage=0.05, jump=0.1, snap=0.0)
    compare(stream(Random(seed), 200, habits), sizes=[50, 1, 1])


def test_the_ring_holds_as_many_as_it_should() -> None:
    ledger = Ledger()
    stage = CompiledSteer(ledger)
    count = BOUND + 100
    stage.batch(repeated(PacketRow.SEQ, np.arange(count)))
    assert stage._control[Steering.SIGHTS] == count
    assert stage._control[Steering.INDEXED] == 0  # nothing was asked for until now
    probe = np.array([0, 98, 99, 100, 101, count // 2, count - 1])
    # Asking changes nothing but by what it accepts: what has left the ring is a packet, and pushes out another.
    for value, gone in zip(probe.tolist(), [1, 1, 1, 0, 0, 0, 0], strict=True):
        stage = CompiledSteer(ledger)
        stage.batch(repeated(PacketRow.SEQ, np.arange(count)))
        assert mirrored(stage, ledger, repeated(PacketRow.SEQ, np.array([value]), interface=1)) == 1 - gone


def test_the_ring_goes_on_once_it_is_in_buckets() -> None:
    ledger = Ledger()
    stage = CompiledSteer(ledger)
    stage.batch(repeated(PacketRow.SEQ, np.arange(10)))
    assert mirrored(stage, ledger, repeated(PacketRow.SEQ, np.arange(5), interface=1)) == 5
    assert stage._control[Steering.INDEXED] == 1
    stage.batch(repeated(PacketRow.SEQ, np.arange(10, BOUND + 50)))
    copies = repeated(PacketRow.SEQ, np.arange(50, BOUND + 50), interface=2)
    assert mirrored(stage, ledger, copies) == BOUND
    assert mirrored(stage, ledger, repeated(PacketRow.SEQ, np.array([49]), interface=2)) == 0


@pytest.mark.parametrize("apart", [-WITHIN_NS - 1, -WITHIN_NS, WITHIN_NS, WITHIN_NS + 1, 1 << 62])
def test_times(apart: int) -> None:
    ledger = Ledger()
    stage = CompiledSteer(ledger)
    stage.batch(repeated(PacketRow.SEQ, np.array([1])))
    copy = repeated(PacketRow.SEQ, np.array([1]), interface=1, time_ns=START + apart)
    assert mirrored(stage, ledger, copy) == (abs(apart) <= WITHIN_NS)


# But for the ports: other ones are another flow's.
COMPARED = (
    PacketRow.SEQ, PacketRow.ACK, PacketRow.FLAGS, PacketRow.WINDOW, PacketRow.OPTION_LENGTH, PacketRow.IP_ID,
    PacketRow.CAPTURED_LENGTH, PacketRow.FIELD, PacketRow.SUM,
)  # fmt: skip


@pytest.mark.parametrize("column", COMPARED)
def test_every_number_is_compared(column: int) -> None:
    """Each apart from the others, and none of their bits lost."""
    once = int(one_frame().packets[0, column])
    for bit in {PacketRow.FLAGS: (3, 8), PacketRow.OPTION_LENGTH: (2, 5)}.get(column, (0, 4, 15)):
        ledger = Ledger()
        stage = CompiledSteer(ledger)
        stage.batch(repeated(column, np.array([once])))
        other = repeated(column, np.array([once ^ 1 << bit]), interface=1)
        if column == PacketRow.PORTS:  # another flow, of which nothing was seen
            other.packets[0, column] = (once & 0xFFFF) << 16 | once >> 16
            other.packets[0, PacketRow.SRC_LOW], other.packets[0, PacketRow.DST_LOW] = other.packets[
                0, [PacketRow.DST_LOW, PacketRow.SRC_LOW]
            ]
        assert mirrored(stage, ledger, other) == 0
        assert mirrored(stage, ledger, repeated(column, np.array([once]), interface=2)) == 1


@pytest.mark.parametrize("column", [PacketRow.SUM, PacketRow.FIELD, PacketRow.IP_ID, PacketRow.ACK])
def test_chains_stay_short_whatever_packets_have_in_common(column: int) -> None:
    ledger = Ledger()
    stage = CompiledSteer(ledger)
    stage.batch(repeated(column, np.arange(20_000)))
    stage.batch(repeated(column, np.array([1]), interface=1))
    longest = 0
    for latest in stage._chains[stage._chains >= 0].tolist():
        length, n = 0, latest
        while n >= 0:
            length, n = length + 1, int(stage._sights[n, SightRow.BEFORE])
        longest = max(longest, length)
    assert 0 < longest < 30


def test_a_generation_inherits_what_its_tuple_was_seen_at() -> None:
    """A SYN that reuses the tuple, seen on another place than all before: its copy at home falls."""
    talk = Dialog().handshake()
    talk.interface = 1
    sent = talk.a(flags=SYN, seq=4711)
    talk.frames.append(captured(sent.ethernet(), talk.time, 0))
    talk.frames.append(captured(sent.cooked2(0, 5), talk.time, 0, SLL2))
    talk.frames.append(captured(replace(sent, ttl=3).ethernet(), talk.time, 1))
    pair = compare(talk.frames, sizes=[4])
    assert pair.fates == {"segment": 4, "ack": 1, "mirrored": 2}
