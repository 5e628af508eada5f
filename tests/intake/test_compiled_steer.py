"""CompiledSteer against Steer: rows, fates, connections and all that is kept, for anything that can be captured."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import traffic
from dialog import MILLISECOND, SECOND, START, Dialog, captured
from hostile_frames import frames_of as hostile_frames_of
from hostile_frames import take_apart
from hostile_packets import MUTATORS
from rxtls.counters import Ledger
from rxtls.intake.batch import FRAME, LENGTH, OFFSET, SYN, TICK
from rxtls.intake.compiled import steer as module
from rxtls.intake.compiled.kernel import EVENTS_NEEDED, ROWS_NEEDED
from rxtls.intake.compiled.steer import CompiledSteer
from rxtls.intake.steer import Steer, SteerOptions
from rxtls.wire.compiled.columns import FOREIGN, PACKET, Frames, PacketRow, frames_of
from rxtls.wire.compiled.parse import parse_frames
from rxtls.wire.filter import compile_filter
from rxtls.wire.frame import Packet
from steer_pair import Pair, compare, rows_of
from steer_streams import Habits, stream

TESTS = Path(__file__).parent.parent
CAPTURES = [*sorted((TESTS / "data" / "real").glob("*.pcap*")), *sorted((TESTS.parent / "examples").glob("*.pcap"))]
DIVISIONS: tuple[list[int], ...] = ([1] * 2000, [7] * 400, [63] * 40, [])


def ours(packet: Packet) -> bool:
    return packet.sport != 444 and packet.dport != 444


shares = st.sampled_from((0.0, 0.05, 0.2, 0.5))
habits = st.builds(
    Habits,
    tuples=st.sampled_from((1, 2, 8)),
    flow=st.sampled_from((0.0, 0.6, 0.97)),
    mirror=shares,
    place=shares,
    damage=shares,
    off=shares,
    odd=shares,
    snap=shares,
    jump=shares,
    wild=st.sampled_from((0.0, 0.0, 0.02, 0.2)),
    orderly=st.booleans(),
)
options = st.builds(
    SteerOptions,
    checksum=st.sampled_from(("auto", "auto", "verify", "ignore")),
    resegment=st.sampled_from(("auto", "auto", "off", 48, 700)),
    vantage=st.sampled_from(("auto", "auto", "auto", "sender", "receiver", "middle")),
    idle_ns=st.sampled_from((300 * SECOND, 300 * SECOND, SECOND, MILLISECOND, 0, 1 << 62, 1 << 63, 1 << 65)),
    max_flows=st.sampled_from((1, 2, 5, 1 << 20)),
    filter=st.sampled_from((None, None, ours, compile_filter("not port 444"))),
)


@given(st.integers(0, 2**32), habits, options, st.sampled_from(DIVISIONS), st.booleans())
@settings(max_examples=60, deadline=None)
def test_any_stream(seed: int, habits: Habits, options: SteerOptions, sizes: list[int], often: bool) -> None:
    compare(stream(Random(seed), 150, habits), options, sizes, often)


def test_streams_meet_everything() -> None:
    """Or the property above would say little."""
    fates: set[str] = set()
    ends: set[str] = set()
    vantages: set[str] = set()
    for seed in range(12):
        pair = compare(stream(Random(seed), 300, Habits(orderly=seed % 3 == 0)), SteerOptions(max_flows=3))
        fates |= set(pair.fates)
        ends |= {connection.end for connection in pair.plain.connections}
        vantages |= {connection.vantage(0) for connection in pair.plain.connections}
    assert fates >= {"segment", "segment_cut", "ack", "bad_checksum", "mirrored", "stray_reset"}
    assert ends == {"fin", "reused", "idle", "evicted", "open"}
    assert vantages == {"sender", "receiver", "middle", "unknown"}


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: path.name)
def test_captures(capture: Path) -> None:
    frames = hostile_frames_of(capture.read_bytes())
    pair = compare(frames)
    compare(frames[:200], SteerOptions(checksum="verify", resegment=500), [63] * 4)
    assert pair.ledgers[0].entered["frame"] == len(frames)


@given(traffic.scenarios(most_flows=2))
@settings(max_examples=10, deadline=None)
def test_the_simulated_link(scenario: traffic.Scenario) -> None:
    compare(traffic.play(scenario).frames, sizes=[7] * 20)


def test_hostile_packets() -> None:
    dice = Random(3)
    corpus = [hostile_frames_of(path.read_bytes())[:150] for path in dice.sample(CAPTURES, 8)]
    for _ in range(25):
        pieces = [take_apart(frame) for frame in dice.choice(corpus)]
        for mutator in dice.sample(MUTATORS, 4):
            if pieces:
                mutator(pieces, dice)
        compare([piece.assemble() for piece in pieces], sizes=[dice.randrange(1, 40)] * 20)


# Tables that grow, and the frame at which they do.


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables with room for one frame."""
    monkeypatch.setattr(module, "_EVENTS", EVENTS_NEEDED)
    monkeypatch.setattr(module, "_FLOWS", 1)
    monkeypatch.setattr(CompiledSteer, "_room", lambda _self, _count: np.empty((ROWS_NEEDED, 11), np.int64))


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("seed", range(6))
def test_growing_loses_no_frame(seed: int) -> None:
    compare(stream(Random(seed), 250, Habits(flow=0.3)), SteerOptions(idle_ns=2 * SECOND))


def test_aggregates_of_a_megabyte() -> None:
    talk = Dialog(ends=(("2001:db8::1", 1), ("2001:db8::2", 2))).handshake(mss=1)
    sent = talk.a(bytes(range(250)) * 240)
    frame = talk.frames[-1]
    # A jumbogram, RFC 2675, as an aggregate is captured: no length in the IP header.
    jumbo = frame.data[:18] + bytes(2) + frame.data[20:] + bytes(1 << 20)
    talk.frames[-1] = frame._replace(data=jumbo, wire_length=len(jumbo))
    talk.a(b"after", seq=sent.seq)
    pair = compare(talk.frames, SteerOptions(checksum="ignore"))
    assert len(pair.rows) > 20_000


# What comes out


def test_offsets_are_places_in_the_frames_data() -> None:
    talk = Dialog().handshake()
    talk.a(b"hello")
    frames = frames_of(list(enumerate(talk.frames)))
    batch = CompiledSteer(Ledger()).batch(frames)
    row = next(row for row in batch.rows.tolist() if row[LENGTH])
    assert row[OFFSET] == sum(len(frame.data) for frame in talk.frames[:-1]) + 54
    assert frames.data[row[OFFSET] : row[OFFSET] + 5].tobytes() == b"hello"
    assert np.shares_memory(np.asarray(batch.data), frames.data)


def test_frames_that_were_parsed_are_not_parsed_again() -> None:
    talk = Dialog().handshake()
    frames = frames_of(list(enumerate(talk.frames)))
    parse_frames(frames, True)
    frames.packets[:, 5] = 7 << 16 | 9  # PORTS
    stage = CompiledSteer(Ledger())
    stage.batch(frames)
    assert (stage.connections[0].a[1], stage.connections[0].b[1]) == (7, 9)


def test_a_batch_that_is_kept_stays_as_it_is() -> None:
    talk = Dialog().handshake()
    for n in range(8):
        talk.a(bytes([n]) * 10)
    numbered = list(enumerate(talk.frames))
    stage = CompiledSteer(Ledger())
    kept = [stage.batch(frames_of(numbered[at : at + 2])) for at in range(0, len(numbered), 2)]
    assert [row[FRAME] for batch in kept for row in batch.rows.tolist()] == [0, 1, *range(3, 11)]


def test_memory_of_a_batch_that_is_not_kept_is_used_again() -> None:
    talk = Dialog().handshake()
    stage = CompiledSteer(Ledger())
    frames = frames_of(list(enumerate(talk.frames)))
    places = {stage.batch(frames).rows.ctypes.data for _ in range(20)}
    assert len(places) == 1


def test_no_frames() -> None:
    ledger = Ledger()
    stage = CompiledSteer(ledger)
    batch = stage.batch(frames_of([]))
    assert batch.rows.shape == (0, 11)
    assert stage.finish().rows.shape == (0, 11)
    assert (ledger.entered.total(), ledger.fates.total()) == (0, 0)
    assert stage.connections == []


def test_interfaces_are_counted_from_0() -> None:
    talk = Dialog(interface=-1)
    talk.a()
    with pytest.raises(ValueError, match="counted from 0"):
        CompiledSteer(Ledger()).batch(frames_of(list(enumerate(talk.frames))))


# Connections


def test_refresh_and_the_vantage_of_what_is_open() -> None:
    talk = Dialog(step=MILLISECOND).handshake()
    talk.frames = [frame._replace(time_ns=START + n * 100_000) for n, frame in enumerate(talk.frames)]
    talk.a(bytes(2000))
    talk.b()
    numbered = list(enumerate(talk.frames))
    stage = CompiledSteer(Ledger())
    stage.batch(frames_of(numbered))
    connection = stage.connections[0]
    stage.refresh()
    assert (connection.end_frame, connection.resegmented, connection.end) == (4, 1, "open")
    assert connection.vantage(0) == "receiver"  # joined packets of a host that finishes its own checksums


def test_vlans_deeper_than_the_column() -> None:
    talk = Dialog(vlan=tuple(range(1, 8)))
    talk.a(flags=SYN)
    pair = compare(talk.frames)
    assert pair.compiled.connections[0].vlan == (1, 2, 3, 4, 5, 6, 7)


@given(st.lists(st.binary(max_size=90), max_size=20), st.sampled_from([1, 101, 113, 276, 0]))
@settings(max_examples=30, deadline=None)
def test_hostile_bytes(blobs: list[bytes], link_type: int) -> None:
    compare([captured(blob, START + n, 0, link_type) for n, blob in enumerate(blobs)])


@pytest.mark.parametrize("seed", range(4))
def test_frames_of_other_jobs_move_clocks_and_nothing_else(seed: int) -> None:
    """As if a filter stopped them, but for the fate: that is told elsewhere."""
    dice = Random(seed)
    numbered = list(enumerate(stream(dice, 300, Habits(jump=0.3))))
    frames = frames_of(numbered)
    parse_frames(frames, True)
    foreign = (frames.packets[:, PacketRow.FATE] == PACKET) & np.array([dice.random() < 0.4 for _ in numbered])
    stopped = iter(foreign[frames.packets[:, PacketRow.FATE] == PACKET].tolist())
    frames.packets[foreign, PacketRow.FATE] = FOREIGN
    ledgers = Ledger(), Ledger()
    plain = Steer(ledgers[0], SteerOptions(filter=lambda _packet: not next(stopped)))
    compiled = CompiledSteer(ledgers[1])
    assert rows_of(compiled.batch(frames)) == rows_of(plain.batch(numbered))
    assert rows_of(compiled.finish()) == rows_of(plain.finish())
    assert ledgers[0].fates.pop("frame.filtered") == foreign.sum()
    ledgers[0].entered["byte"] -= ledgers[0].fates.pop("byte.filtered")
    assert ledgers[1].fates == ledgers[0].fates
    assert ledgers[1].entered["frame"] == len(numbered) - foreign.sum()


def test_a_window_of_a_capture() -> None:
    """Frames need not lie one behind the other, nor begin the buffer."""
    talk = Dialog().handshake()
    talk.a(b"hello")
    data = b"?" * 37 + b"#" * 5 + b"".join(frame.data + b"!" * 9 for frame in talk.frames) + bytes(8)
    table, at = [], 42
    for index, frame in enumerate(talk.frames):
        table.append((index, frame.time_ns, 0, 1, len(frame.data), at, len(frame.data), 0))
        at += len(frame.data) + 9
    frames = Frames(
        np.frombuffer(data, np.uint8), np.array(table, np.int64), np.zeros((0, PacketRow.COLUMNS), np.int64)
    )
    found = rows_of(CompiledSteer(Ledger()).batch(frames))
    pair = Pair()
    pair.batch(list(enumerate(talk.frames)))
    assert found == pair.rows


@pytest.mark.parametrize("seed", range(6))
def test_ticks_between_any_frames(seed: int) -> None:
    """At the time of the last frame, a little later, and where something is idle; also where time goes back."""
    dice = Random(seed)
    frames = stream(dice, 400, Habits(jump=0.05, mirror=0.05))
    pair = Pair(SteerOptions(max_flows=dice.choice((3, 100))))
    numbered = list(enumerate(frames))
    while numbered:
        size = dice.randrange(1, 30)
        call, numbered = numbered[:size], numbered[size:]
        pair.batch(call)
        later = dice.choice((0, 20_000_000, 2 * SECOND, 13 * SECOND, 400 * SECOND, -SECOND))
        pair.tick(call[-1][1].time_ns + later, dice.choice((None, None, (0,), (1, 2), (9, 100))))
        pair.check()
    pair.finish()
    assert sum(row[0][6] == TICK for row in pair.rows) > 20


def test_a_tick_serves_what_came_since_the_last_one_and_once_a_second_what_came_lately() -> None:
    talk = Dialog().handshake()
    talk.a(b"question")
    pair = Pair()
    pair.batch(list(enumerate(talk.frames)))
    now = talk.frames[-1].time_ns // SECOND * SECOND
    for later, expected in ((SECOND, 2), (SECOND + 1, 0), (2 * SECOND, 2), (12 * SECOND, 2), (13 * SECOND, 0)):
        before = len(pair.rows)
        pair.tick(now + later)
        assert len(pair.rows) - before == expected, later
