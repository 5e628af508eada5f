"""What a hole means for its connection: the Gap that stands for it, the books, and what the NIC's losses there count
for. The model is the stream as it was sent, byte by byte."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import replays
from rxtls.crypto.schedule import tls13_keys
from rxtls.crypto.suites import SUITES
from rxtls.device.profiles import profile
from rxtls.events import By, Gap, Record, RecordClass
from rxtls.handshake.library import Preset
from rxtls.handshake.search_budget import TRIAL, TRIAL_BYTES
from rxtls.host.direction import MOST_GAPS, Direction, GapSeen
from rxtls.host.flow import Flow
from rxtls.host.holes import meet, recover, resume
from rxtls.host.reassembly import Hole, Stop
from rxtls.host.sockbuf import SockBuf
from rxtls.path.receive import PathOptions, ReceivePath
from rxtls.seq import MASK, add
from rxtls.simulation.link import Connection, Link, TlsSender
from rxtls.simulation.sender import APPLICATION_DATA, HANDSHAKE, key_update
from sample_keys import made_up
from sample_mbufs import mbuf

SUITE = SUITES[0x1301]
SECRET = bytes(range(32))
KEYS = tls13_keys(SUITE, SECRET)
FRAMING = 5 + 1 + 16
FIRST = 41  # the first record's number


class Streamed:
    """Records of these sizes from the server, as a tap at the client saw them; frames of the handshake stay."""

    def __init__(self, sizes: list[int], updates: frozenset[int] = frozenset()) -> None:
        self.sender = TlsSender.tls13(SUITE, SECRET, FIRST)
        for n, size in enumerate(sizes):
            if n in updates:
                self.sender.record(HANDSHAKE, key_update())
            self.sender.record(APPLICATION_DATA, made_up(size, f"record {n}"))
        run = Link(1).run(Connection(), None, self.sender)
        self.frames = run.frames
        self.isn = run.server.sequence  # of its first byte
        self.carrying = [
            n for n, frame in enumerate(self.frames) if replays.from_server(frame) and replays.payload(frame)
        ]

    def span(self, n: int) -> range:
        """Where a frame's payload stands in the stream."""
        start = (replays.sequence(self.frames[n]) - self.isn) & MASK
        return range(start, start + len(replays.payload(self.frames[n])))

    def path(self, name: str = "none", **options: object) -> ReceivePath:
        chosen = PathOptions(profile=profile(name, {"budget": "1"}), engine="plain", **options)  # type: ignore[arg-type]
        return ReceivePath(options=chosen, library=lambda _: Preset({1: (KEYS, FIRST)}, {1: SECRET}))

    def without(self, lost: set[int], name: str = "none", **options: object) -> tuple[ReceivePath, list[Record]]:
        path = self.path(name, **options)
        kept = [(n, frame) for n, frame in enumerate(self.frames) if n not in lost]
        records = path.receive(kept) + path.finish()
        assert path.ledger.balance() == 0
        return path, records


def expected(streamed: Streamed, lost: set[int]) -> list[tuple[object, ...]]:
    """(number) of every whole record, and all that a Gap says, in order; nothing stands for what ends in a hole."""
    have = {at: n for n in streamed.carrying if n not in lost for at in streamed.span(n)}
    found: list[tuple[object, ...]] = []
    broken: list[int] = []
    records = streamed.sender.records
    for index, record in enumerate(records):
        span = range(record.start, record.start + record.length)
        if not all(at in have for at in span):
            broken.append(index)
            continue
        if broken:
            first, begins = broken[0], records[broken[0]].start
            length = record.start - begins
            frame = have[record.start]
            missing = sum(at not in have for at in range(begins, record.start))
            found.append((
                FIRST + first, add(streamed.isn, begins), length, len(broken), missing, length - len(broken) * FRAMING,
                frame, streamed.frames[frame].time_ns,
            ))  # fmt: skip
            broken = []
        found.append((FIRST + index,))
    return found


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    sizes=st.lists(st.sampled_from((0, 10, 300, 1400, 4000, 16384)), min_size=4, max_size=30),
    shares=st.lists(st.tuples(st.floats(0, 0.999), st.sampled_from((1, 2, 5))), min_size=1, max_size=4),
    name=st.sampled_from(("none", "connectx-6dx")),
)
def test_a_gap_says_what_is_missing_and_where(sizes: list[int], shares: list[tuple[float, int]], name: str) -> None:
    streamed = Streamed(sizes)
    inner = streamed.carrying[1:-1]  # with the first and the last it is known how long the stream is
    places = [(int(share * len(inner)), some) for share, some in shares]
    lost = {n for at, some in places for n in inner[at : at + some]}
    path, records = streamed.without(lost, name)
    told = []
    for record in records:
        if isinstance(record, Gap):
            assert (record.record_class, record.by, record.type, record.data) == (
                RecordClass.UNKNOWN, By.NOBODY, 0, b"",
            )  # fmt: skip
            assert (record.flow, record.receiver, record.composition) == (0, "client", "?")
            told.append((record.number, record.tcp_seq, record.wire_length, record.records, record.missing,
                         record.payload, record.frame, record.time_ns))  # fmt: skip
        elif record.record_class is not RecordClass.FAILED:
            assert record.number is not None
            told.append((record.number,))  # type: ignore[arg-type]
            assert record.data == streamed.sender.records[record.number - FIRST].payload
    wanted = expected(streamed, lost)
    assert told == wanted
    direction = path.flows[0].directions[1]
    gaps = [each for each in wanted if len(each) > 1]
    unknown = RecordClass.UNKNOWN
    assert direction.tally.records[unknown] == path.ledger.fates["record.unknown"] == sum(gap[3] for gap in gaps)  # type: ignore[misc]
    came = [gap[2] - gap[4] for gap in gaps]  # type: ignore[operator]
    assert direction.tally.bytes[unknown] == sum(came)
    held = {at for n in streamed.carrying if n not in lost for at in streamed.span(n)}
    assert direction.missing == len(streamed.sender.data) - len(held)
    assert direction.gap is any(hole.acknowledged for gap in direction.gaps for hole in gap.holes)
    seen = [(gap.number, gap.records) for gap in direction.gaps if gap.records is not None]
    assert seen == [(gap[0], gap[3]) for gap in gaps]
    assert sum(hole.length for gap in direction.gaps for hole in gap.holes) == direction.missing
    behind = [record for record in records if isinstance(record.number, int) and gaps and record.by is not By.NOBODY
              and record.number > gaps[0][0]]  # type: ignore[operator]  # fmt: skip
    assert direction.tally.recovered_records == len(behind)
    assert direction.tally.recovered_bytes == sum(len(record.data) for record in behind)


@pytest.mark.parametrize("assume", [False, True])
def test_a_nic_s_loss_at_a_hole_is_none_of_the_receiver_s(assume: bool) -> None:
    """The modelled NIC did not see the frame; the receiver's may have. Neither loss nor verdict is held against it."""
    streamed = Streamed([4000] * 30)
    lost = set(streamed.carrying[30:33])
    path, records = streamed.without(lost, "connectx-6dx", assume_received=assume)
    tally = path.flows[0].directions[1].tally
    assert (tally.lost, tally.lost_in_gaps) == (0, 1)
    assert path.flows[0].directions[1].lost_since is None
    classes = [record.record_class for record in records]
    before, behind = classes[: classes.index(RecordClass.UNKNOWN)], classes[classes.index(RecordClass.UNKNOWN) + 1 :]
    assert before[-1] is RecordClass.DECRYPTED
    assert RecordClass.UNJUDGED not in before
    assert set(behind) == {RecordClass.DECRYPTED if assume else RecordClass.UNJUDGED}


def test_software_is_judged_as_ever_behind_a_hole() -> None:
    streamed = Streamed([4000] * 30)
    _, records = streamed.without(set(streamed.carrying[30:33]))
    assert {record.record_class for record in records} == {RecordClass.ENCRYPTED, RecordClass.UNKNOWN}


def test_a_key_update_in_a_hole_changes_the_keys() -> None:
    streamed = Streamed([4000] * 30, frozenset({12}))
    update = streamed.sender.records[12]
    lost = {n for n in streamed.carrying if set(streamed.span(n)) & set(range(update.start, update.start + 5))}
    path, records = streamed.without(lost, "connectx-6dx")
    gap = next(record for record in records if isinstance(record, Gap))
    behind = [record for record in records if record is not gap][-1]
    assert behind.number == 30 - 12 - 1
    assert gap.number is not None
    # Of the records that are lost nobody can tell how many had the old keys: KeyUpdate, and those with the new ones.
    first_behind = next(record for record in records[records.index(gap) + 1 :])
    assert gap.records == (first_behind.number or 0) + 1
    assert path.flows[0].directions[1].epoch == 2


def test_behind_a_hole_that_ends_the_stream_nothing_is_read() -> None:
    streamed = Streamed([4000] * 10)
    path, records = streamed.without(set(streamed.carrying[-4:-1]))
    direction = path.flows[0].directions[1]
    assert not any(isinstance(record, Gap) for record in records)
    assert direction.gaps[-1].records is None
    assert direction.gaps[-1].number == records[-1].number + 1  # type: ignore[operator]
    assert direction.reassembly.stopped is Stop.GAP
    assert path.ledger.fates["byte.after_gap"] > 0


# By hand.


def direction_at_a_hole(budget: int = 10_000) -> tuple[ReceivePath, Flow, Direction, Streamed, int]:
    """Ten records, of which the fourth has begun; `came` bytes of the stream are there."""
    streamed = Streamed([900] * 10)
    path = streamed.path()
    came = 0
    for n, frame in enumerate(streamed.frames):
        path.receive([(n, frame)])
        if n in streamed.carrying:
            came = streamed.span(n).stop
        if came > streamed.sender.records[3].start + 10:
            break
    flow = path.flows[0]
    direction = flow.directions[1]
    direction.work.left = budget
    return path, flow, direction, streamed, came


def behind_from(streamed: Streamed, start: int) -> SockBuf:
    behind = SockBuf()
    behind.enable()
    behind.append(replace(mbuf(streamed.isn + start, bytes(streamed.sender.data[start:])),
                          arrivals=[(len(streamed.sender.data) - start, 77, 770)]))  # fmt: skip
    return behind


class Elsewhere:
    """Bytes on both sides of a hole that are not the direction's own."""

    def __init__(self, before: SockBuf, hole: Hole, behind: SockBuf) -> None:
        self.sockbuf = before
        self.due = True
        self.ending = False
        self._hole = hole
        self._behind = behind

    def pass_hole(self) -> Hole:
        assert not self.sockbuf.waiting, "what waits before a hole is dropped first"
        self.sockbuf, self.due = self._behind, False
        return self._hole


@pytest.mark.parametrize("tried", [False, True], ids=["searched", "tried by somebody"])
def test_bytes_may_be_kept_elsewhere(tried: bool) -> None:
    _, flow, direction, streamed, came = direction_at_a_hole()
    session = direction.session
    assert session is not None
    number = session.number
    begins = came - direction.sockbuf.waiting
    lost = 1 if tried else 2
    target = streamed.sender.records[number - FIRST + lost]
    hole = Hole(came, add(streamed.isn, came), target.start - 7 - came, True)
    stream = Elsewhere(direction.sockbuf, hole, behind_from(streamed, target.start - 7))
    direction.losses = [add(streamed.isn, begins), add(streamed.isn, target.start)]
    direction.tally.lost = 2
    flow.records.clear()
    if tried:
        resume(flow, 1, session, stream, 7, target.length)
    else:
        meet(flow, 1, session, stream)
        assert recover(flow, 1, session, stream)
    assert direction.recovery is None
    (gap,) = flow.records
    assert isinstance(gap, Gap)
    assert (gap.number, gap.records, gap.missing) == (number, lost, hole.length)
    assert (gap.tcp_seq, gap.wire_length) == (add(streamed.isn, begins), target.start - begins)
    assert (gap.frame, gap.time_ns, gap.receiver) == (77, 770, "client")
    assert stream.sockbuf.start_seq == add(streamed.isn, target.start)
    assert session.number == number + lost
    assert (direction.tally.lost, direction.tally.lost_in_gaps) == (1, 1)
    assert direction.losses == [add(streamed.isn, target.start)]
    assert direction.gaps == [GapSeen([hole], number, lost)]
    trial = TRIAL + target.length // TRIAL_BYTES
    assert direction.work.spent - (direction.work.budget - 10_000) == trial if tried else direction.work.left < 10_000


@pytest.mark.parametrize("what", ["junk", "no budget"])
def test_where_nothing_is_found_behind_the_search_goes_on(what: str) -> None:
    """Whether to give up is for who has the bytes to decide."""
    _, flow, direction, streamed, came = direction_at_a_hole(0 if what == "no budget" else 10_000)
    session = direction.session
    assert session is not None
    number = session.number
    behind = behind_from(streamed, came + 10)
    if what == "junk":
        behind = SockBuf()
        behind.enable()
        behind.append(mbuf(streamed.isn + came + 10, made_up(3000, "junk")))
    stream = Elsewhere(direction.sockbuf, Hole(came, add(streamed.isn, came), 10, True), behind)
    flow.records.clear()
    meet(flow, 1, session, stream)
    assert not recover(flow, 1, session, stream)
    assert direction.recovery is not None
    assert direction.recovery.number == session.number == number
    assert (flow.records, direction.gaps, direction.reassembly.stopped) == ([], [], None)
    assert (direction.work.left <= 0) is (what == "no budget")


def test_gaps_are_kept_one_by_one_up_to_a_bound() -> None:
    _, _, direction, _, _ = direction_at_a_hole()
    for n in range(MOST_GAPS + 3):
        direction.enter_gap([Hole(n, n, 5, n == 7)], n, 1)
    assert (len(direction.gaps), direction.gaps_more) == (MOST_GAPS, 3)
    assert direction.missing == 5 * (MOST_GAPS + 3)
    assert direction.gap
