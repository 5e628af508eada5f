"""Reassembly against a slow, obvious model that knows single bytes only, and the cases that a model tends to forget."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rxtls.counters import Ledger
from rxtls.device.lro import Lro
from rxtls.host import reassembly as module
from rxtls.host.reassembly import GAP_NS, PACKET, SLACK, Hole, Reassembly, Stop
from rxtls.intake.batch import ACK, FIN, RST, SYN
from rxtls.offload.mbuf import WIRE, Mbuf
from rxtls.seq import MASK
from sample_keys import made_up
from sample_mbufs import Byte, mbuf, spread

SECOND = 1_000_000_000
SMALL_GAP = 24  # instead of GAP_BYTES, so that small examples meet it
SMALL_LEAST = 40  # instead of LEAST_HOLD
SMALL_HOLD = 40 + 2 * PACKET


class Segment(NamedTuple):
    """One segment of an example. Places count from `ISN + 1`; they are made TCP sequence numbers only at the door."""

    at: int
    length: int
    mark: int
    flags: int
    acked: int | None  # what the receiver has acknowledged so far, None unknown
    edge: int | None
    wait: int  # ns since the segment before
    host_point: bool


class Model:
    """Reassembly byte by byte. `origin` is the place of the stream's position 0."""

    def __init__(self, hold: int) -> None:
        self.hold = hold
        self.have: dict[int, Byte] = {}  # place -> the first accepted copy; never forgotten
        self.fates: Counter[str] = Counter()
        self.begun = self.syn = self.reset = False
        self.next = 0
        self.fin: int | None = None
        self.acked: int | None = None
        self.advertised = self.window = 0
        self.now = self.waiting_since = 0
        self.advanced = True
        self.stopped: str | None = None
        self.due = self.ending = False

    def input(self, segment: Segment, copy: list[Byte], now: int) -> list[Byte]:
        at, self.now = segment.at, now
        if segment.flags & SYN:
            self.syn = True
        if not self.begun:
            self.begun = True
            self.next = at
            if not self.syn and segment.acked is not None and 0 < at - segment.acked < SMALL_GAP:
                self.next = segment.acked
        if segment.acked is not None:
            self.acked = segment.acked if self.acked is None else max(self.acked, segment.acked)
            if segment.edge is not None:
                self.advertised = segment.edge - segment.acked
        if segment.flags & RST and at in (self.next + self.finished(), self.acked):
            self.reset = True
        if copy and self.stopped:
            self.fates[self.stopped] += len(copy)
            return []
        first = self.next
        if segment.flags & FIN and self.fin is None:
            self._end(at + len(copy), segment.edge if at > first else None)
        for place, byte in enumerate(copy, at):
            if self.fin is not None and place >= self.fin:
                self.fates["byte.after_end"] += 1
            elif segment.edge is not None and at > first and place >= segment.edge + SLACK * self.window:
                self.fates["byte.out_of_window"] += 1
            elif place < first or place in self.have:
                self.fates["byte.duplicate"] += 1
            else:
                self.have[place] = byte
        return self._deliver()

    def _end(self, fin: int, edge: int | None) -> None:
        if fin < self.next or (edge is not None and fin > edge):
            return
        self.fin = fin
        behind = [place for place in self.have if place >= fin]
        self.fates["byte.after_end"] += len(behind)
        for place in behind:
            del self.have[place]

    def _deliver(self) -> list[Byte]:
        out: list[Byte] = []
        while self.next in self.have:
            out.append(self.have[self.next])
            self.next += 1
            self.advanced = True
        return out

    def finished(self) -> bool:
        return self.fin is not None and self.next >= self.fin

    def held(self) -> int:
        return sum(place >= self.next for place in self.have)

    def settle(self) -> None:
        self.due = False
        self.window = max(self.window, self.advertised)
        if self.advanced:
            self.advanced, self.waiting_since = False, self.now
        if not self.held() or self.stopped:
            return
        acknowledged = self.acked is not None and self.acked > self.next
        gone = acknowledged and (self.held() >= SMALL_GAP or self.now - self.waiting_since >= GAP_NS)
        self.due = gone or self.over()

    def memory(self) -> int:
        """Bytes, and so much more for each stretch of them that one packet brought."""
        at = sorted(place for place in self.have if place >= self.next)
        joins = sum(b == a + 1 and self.have[a].frame == self.have[b].frame for a, b in pairwise(at))
        return len(at) + PACKET * (len(at) - joins)

    def over(self) -> bool:
        return self.held() > max(SMALL_LEAST, 2 * self.window) or self.memory() > self.hold

    def pass_hole(self) -> tuple[tuple[int, bool], list[Byte]]:
        """(Bytes missing, whether they were acknowledged), and what follows them."""
        missing = min(place for place in self.have if place >= self.next) - self.next
        acknowledged = self.acked is not None and self.acked > self.next
        self.next += missing
        self.advanced = True
        out = self._deliver()
        self.due = bool(self.held()) and (self.over() or self.ending)
        return (missing, acknowledged), out

    def gap_at_end(self) -> int:
        acknowledged = -(1 << 40) if self.acked is None else self.acked
        if self.fin is not None:
            acknowledged = min(acknowledged, self.fin)
        elif not self.held():
            acknowledged -= 1  # may have been a FIN that the capture missed
        return max(0, acknowledged - self.next)

    def stop(self, fate: str) -> None:
        self.fates[fate] += self.held()
        self.have = {place: byte for place, byte in self.have.items() if place < self.next}
        self.stopped = fate

    def finish(self) -> None:
        if not self.stopped:
            self.stop("byte.after_hole")
            self.stopped = "byte.after_end"


@st.composite
def examples(draw: st.DrawFn) -> tuple[int, list[Segment]]:
    """An initial sequence number, and segments in an order that a capture may show, with what the receiver answered.

    ACKED and EDGE only grow, as intake makes sure; they need not fit the segments, as nobody makes sure of that.
    """
    isn = draw(st.sampled_from([0, MASK, MASK - 1, MASK - 40, MASK - 90, 0x7FFF_FFF0]) | st.integers(0, MASK))
    segments: list[Segment] = []
    acked: int | None = None
    edge: int | None = None
    with_syn = draw(st.booleans())
    for index in range(draw(st.integers(1, 24))):
        syn = SYN if index == 0 and with_syn else 0
        flags = ACK | syn | draw(st.sampled_from([0] * 12 + [FIN, FIN, RST]))
        if draw(st.integers(0, 3)) == 0:
            acked = max(acked or 0, draw(st.integers(0, 60)))
            edge = max(edge or 0, acked + draw(st.integers(0, 60)))
        at = 0 if syn else draw(st.integers(-4 if with_syn else 0, 100))
        segments.append(
            Segment(
                at,
                0 if flags & RST else draw(st.integers(0, 30)),
                draw(st.integers(0, 2)),
                flags,
                acked,
                edge,
                draw(st.sampled_from([0, 0, 0, SECOND, 4 * SECOND])),
                draw(st.integers(0, 2)) == 0,
            )
        )
    return isn, segments


def made(isn: int, segments: list[Segment]) -> list[tuple[Segment, Mbuf]]:
    """The Mbuf of each segment; every copy of a byte has another value, so that one can tell who won."""
    out: list[tuple[Segment, Mbuf]] = []
    now = 0
    base = isn + 1
    for frame, segment in enumerate(segments):
        now += segment.wait
        piece = mbuf(
            base + segment.at - bool(segment.flags & SYN),
            made_up(segment.length, f"copy {frame}"),
            segment.mark,
            flags=segment.flags,
            frame=frame,
            time_ns=now,
            acked=-1 if segment.acked is None else (base + segment.acked) & MASK,
            edge=-1 if segment.edge is None else (base + segment.edge) & MASK,
        )
        out.append((segment, piece))
    return out


def bytes_of(piece: Mbuf) -> list[Byte]:
    """The bytes that a fresh Mbuf brings, at the places they have in the stream."""
    shift = bool(piece.flags & SYN)
    return [byte._replace(seq=(byte.seq + shift) & MASK) for byte in spread([piece])]


@settings(max_examples=150, deadline=None)
@given(examples(), st.sampled_from([0, SMALL_HOLD, 10_000]), st.sampled_from([0, 1, 100]))
@example((0, [Segment(1, 0, 0, ACK, None, None, 0, True), Segment(0, 0, 0, ACK | RST, 0, 0, 0, True)]), 0, 100)
@example((MASK, [Segment(0, 5, 1, SYN, None, None, 0, False), Segment(5, 3, 0, ACK, None, None, 0, False)]), 0, 100)
def test_as_the_model(case: tuple[int, list[Segment]], hold: int, passes: int) -> None:
    """`passes` holes are passed when they are due; at the next one the host gives up."""
    isn, segments = case
    ledger, entered, delivered = Ledger(), 0, 0
    reassembly, model = Reassembly(ledger, hold), Model(hold)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "GAP_BYTES", SMALL_GAP)
        patch.setattr(module, "LEAST_HOLD", SMALL_LEAST)
        for segment, piece in made(isn, segments):
            entered += len(piece.data)
            expected = model.input(segment, bytes_of(piece), piece.arrivals[-1][2])
            out = spread(reassembly.input(piece))
            assert out == expected
            delivered += len(out)
            assert reassembly.held_bytes == model.held()
            assert reassembly.held_bytes == sum(len(held.data) for held in reassembly.held)
            assert reassembly.memory == model.memory()
            assert reassembly.marks() == {b.mark for place, b in model.have.items() if place >= model.next}
            assert (reassembly.reset, reassembly.finished, reassembly.syn_seen) == (
                model.reset,
                model.finished(),
                model.syn,
            )
            if segment.host_point:
                reassembly.settle()
                model.settle()
                assert reassembly.due is model.due
                while model.due and passes:
                    passes -= 1
                    (_, _, length, acknowledged), pieces = reassembly.pass_hole()
                    hole, expected = model.pass_hole()
                    assert ((length, acknowledged), spread(pieces)) == (hole, expected)
                    delivered += len(expected)
                    assert reassembly.due is model.due
                if model.due:
                    reassembly.stop(Stop.GAP)
                    model.stop("byte.after_gap")
            assert (reassembly.stopped.value if reassembly.stopped else None) == model.stopped
            assert ledger.fates == +model.fates
            assert entered == delivered + reassembly.held_bytes + sum(ledger.fates.values())
        reassembly.last()
        model.ending = True
        while reassembly.due:
            (_, _, length, acknowledged), pieces = reassembly.pass_hole()
            hole, expected = model.pass_hole()
            assert ((length, acknowledged), spread(pieces)) == (hole, expected)
            delivered += len(expected)
        assert model.held() == 0
        trailing = reassembly.gap_at_end()
        assert (trailing.length if trailing else 0) == model.gap_at_end()
        reassembly.finish()
        model.finish()
    assert reassembly.stopped is not None
    assert reassembly.stopped.value == model.stopped
    assert ledger.fates == +model.fates
    assert entered == delivered + sum(ledger.fates.values())
    assert (reassembly.held, reassembly.held_bytes) == ([], 0)


@settings(max_examples=80, deadline=None)
@given(examples(), st.sampled_from([0, SMALL_HOLD, 10_000]), st.integers(1, 65535))
def test_where_lro_cut_does_not_matter(case: tuple[int, list[Segment]], hold: int, limit: int) -> None:
    # Trap 21. The first segment of a connection is a host point of its own: a new flow is served packet by packet.
    isn, segments = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "GAP_BYTES", SMALL_GAP)
        patch.setattr(module, "LEAST_HOLD", SMALL_LEAST)
        apart, joined = (told(isn, segments, hold, lro) for lro in (Lro(0), Lro(limit)))
    assert apart == joined


def told(isn: int, segments: list[Segment], hold: int, lro: Lro) -> list[object]:
    """All that can be observed of a reassembly that is fed through `lro`, at every host point."""
    ledger = Ledger()
    reassembly = Reassembly(ledger, hold)
    story: list[object] = []
    for index, (segment, piece) in enumerate(made(isn, segments)):
        frame, time_ns = piece.arrivals[0][1:]
        lro.add(piece.seq, piece.data, piece.mark, 0, piece.flags, (frame, time_ns), piece.acked, piece.edge)
        if segment.host_point or index == 0 or segment.flags & (SYN | FIN | RST):
            story.append([byte for run in lro.flush() for byte in spread(reassembly.input(run))])
            reassembly.settle()
            story.append((reassembly.next, reassembly.held_bytes, reassembly.stopped, dict(ledger.fates)))
            while reassembly.due:
                hole, pieces = reassembly.pass_hole()
                story.append((hole, spread(pieces)))
            story.append((reassembly.finished, reassembly.reset, reassembly.gap_at_end(), spread(reassembly.held)))
    story.append([byte for run in lro.flush() for byte in spread(reassembly.input(run))])
    reassembly.finish()
    story.append((reassembly.stopped, dict(ledger.fates)))
    return story


def test_lro_does_join_in_these_tests() -> None:
    lro = Lro(65535)
    for i in range(4):
        lro.add(100 + 10 * i, bytes(10), i // 2, 0, ACK, (i, 0), -1, -1)
    assert [(len(run.data), run.mark) for run in lro.flush()] == [(20, 0), (20, 1)]


# The cases one by one. `stream` is the sender's; sequence numbers begin near the wrap.

ISN = MASK - 50


def due(reassembly: Reassembly) -> bool:
    """What mypy must not take for settled once it has been asserted."""
    return reassembly.due


def opened(hold: int = 10_000, isn: int = ISN) -> tuple[Reassembly, Ledger]:
    ledger = Ledger()
    reassembly = Reassembly(ledger, hold)
    assert reassembly.input(mbuf(isn, flags=SYN)) == []
    return reassembly, ledger


def data(at: int, length: int, mark: int = WIRE, **rest: int) -> Mbuf:
    """Bytes [at, at + length) of the stream as sent."""
    return mbuf(ISN + 1 + at, made_up(300, "stream")[at : at + length], mark, **rest)


def why(reassembly: Reassembly) -> Stop | None:
    return reassembly.stopped


def test_trap_19_retransmits_keep_marks_of_accepted_bytes() -> None:
    reassembly, ledger = opened()
    assert reassembly.input(data(20, 10, mark=1, frame=1)) == []
    assert reassembly.input(data(40, 10, mark=2, frame=2)) == []
    # A retransmission of everything, as on the wire, in other pieces.
    out = spread(reassembly.input(data(0, 70, frame=3)))
    assert [b.value for b in out] == list(made_up(300, "stream")[:70])
    marks = [b.mark for b in out]
    assert marks == [0] * 20 + [1] * 10 + [0] * 10 + [2] * 10 + [0] * 20
    assert [b.frame for b in out] == [3] * 20 + [1] * 10 + [3] * 10 + [2] * 10 + [3] * 20
    assert ledger.fates == {"byte.duplicate": 20}


def test_trap_19_a_marked_retransmit_changes_nothing() -> None:
    reassembly, ledger = opened()
    reassembly.input(data(10, 10))
    assert reassembly.input(data(12, 5, mark=3)) == []
    out = spread(reassembly.input(data(0, 10, mark=1)))
    assert [b.mark for b in out] == [1] * 10 + [0] * 10
    assert ledger.fates == {"byte.duplicate": 5}


def test_trap_20_what_the_window_dropped_comes_again_with_its_own_mark() -> None:
    reassembly, ledger = opened()
    edge = (ISN + 1 + 20) & MASK
    assert reassembly.input(data(10, 30, mark=1, acked=(ISN + 1) & MASK, edge=edge)) == []
    assert ledger.fates == {"byte.out_of_window": 20}
    assert [b.mark for b in spread(reassembly.input(data(0, 10, mark=1)))] == [1] * 20
    assert [b.mark for b in spread(reassembly.input(data(20, 20)))] == [0] * 20


def test_trap_17_every_place_around_the_wrap() -> None:
    for isn in range(MASK - 12, MASK + 1):
        reassembly, ledger = opened(isn=isn)
        content = made_up(24, "wrap")
        for at in (16, 8, 0):
            out = reassembly.input(mbuf(isn + 1 + at, content[at : at + 8]))
        assert b"".join(piece.data for piece in out) == content
        assert [b.seq for b in spread(out)] == [(isn + 1 + i) & MASK for i in range(24)]
        assert reassembly.rcv_nxt == (isn + 25) & MASK
        assert not ledger.fates


def test_syn_with_data_stands_behind_the_syn() -> None:
    # TCP Fast Open (RFC 7413): the SYN takes the first sequence number, the data begins at the next.
    reassembly = Reassembly(Ledger(), 0)
    first = reassembly.input(mbuf(ISN, b"hello", flags=SYN))
    assert [b.seq for b in spread(first)] == [(ISN + 1 + i) & MASK for i in range(5)]
    # The server took only two of them, and the client sends from there on again.
    again = reassembly.input(mbuf(ISN, b"hello", flags=SYN))
    assert again == []
    rest = reassembly.input(mbuf(ISN + 3, b"llo, world"))
    assert [(b.seq, b.value) for b in spread(rest)] == [((ISN + 6 + i) & MASK, v) for i, v in enumerate(b", world")]


def test_keep_alive_probes() -> None:
    # RFC 9293 section 3.8.4: SEG.SEQ = SND.NXT - 1, with no data or one byte of garbage.
    reassembly, ledger = opened()
    reassembly.input(data(0, 10))
    assert reassembly.input(mbuf(ISN + 10)) == []
    assert reassembly.input(mbuf(ISN + 10, b"\0")) == []
    assert (reassembly.next, ledger.fates) == (10, {"byte.duplicate": 1})
    assert not reassembly.reset


def test_zero_window_probe_is_the_next_byte() -> None:
    # The window is shut (edge = rcv_nxt), but the next expected byte is always accepted, once.
    reassembly, ledger = opened()
    reassembly.input(data(0, 10))
    shut = (ISN + 1 + 10) & MASK
    assert spread(reassembly.input(data(10, 1, acked=shut, edge=shut)))[0].value == made_up(300, "stream")[10]
    assert reassembly.input(data(10, 1, acked=shut, edge=shut)) == []
    assert reassembly.input(data(30, 5, acked=shut, edge=shut)) == []
    assert ledger.fates == {"byte.duplicate": 1, "byte.out_of_window": 5}


def test_fin_before_the_last_data() -> None:
    reassembly, _ = opened()
    reassembly.input(data(10, 5, flags=ACK | FIN))
    assert (reassembly.next, reassembly.finished) == (0, False)
    reassembly.input(data(0, 10))
    assert (reassembly.next, reassembly.finished) == (15, True)


def test_fin_alone_and_again() -> None:
    reassembly, ledger = opened()
    reassembly.input(data(0, 10))
    reassembly.input(mbuf(ISN + 11, flags=ACK | FIN))
    reassembly.input(mbuf(ISN + 11, flags=ACK | FIN))
    assert reassembly.finished
    reassembly.input(data(5, 5, flags=ACK | FIN))
    assert (reassembly.fin_at, ledger.fates) == (10, {"byte.duplicate": 5})


def test_old_fin_is_none() -> None:
    reassembly, _ = opened()
    reassembly.input(data(0, 20))
    reassembly.input(mbuf(ISN + 11, flags=ACK | FIN))
    assert reassembly.fin_at is None


@pytest.mark.parametrize(("at", "taken"), [(19, True), (20, True), (21, False), (250, False)])
@pytest.mark.parametrize("length", [0, 4])
def test_fin_beyond_the_window_is_none(at: int, length: int, taken: bool) -> None:
    reassembly, _ = opened()
    start = (ISN + 1) & MASK
    reassembly.input(data(at - length, length, flags=ACK | FIN, acked=start, edge=(start + 20) & MASK))
    assert reassembly.fin_at == (at if taken else None)
    # The true end comes as if nothing had been.
    reassembly.input(data(0, 15, flags=ACK | FIN))
    assert reassembly.fin_at == (at if taken else 15)
    assert reassembly.finished or taken


def test_fin_right_behind_the_next_byte_needs_no_window() -> None:
    reassembly, _ = opened()
    reassembly.input(data(0, 10))
    shut = (ISN + 1 + 5) & MASK
    reassembly.input(mbuf(ISN + 11, flags=ACK | FIN, acked=shut, edge=shut))
    assert (reassembly.fin_at, reassembly.finished) == (10, True)


def test_nothing_behind_a_fin_is_delivered() -> None:
    reassembly, ledger = opened()
    reassembly.input(data(12, 3))
    reassembly.input(data(18, 4))
    reassembly.input(data(30, 5))
    reassembly.input(mbuf(ISN + 21, flags=ACK | FIN))  # cuts what is held at 20
    assert (ledger.fates, reassembly.held_bytes) == ({"byte.after_end": 7}, 5)
    out = spread(reassembly.input(data(0, 40)))
    assert [b.value for b in out] == list(made_up(300, "stream")[:20])
    assert reassembly.finished
    assert ledger.fates == {"byte.after_end": 27, "byte.duplicate": 5}
    # A keep-alive probe with a byte of garbage stands at the FIN's own place.
    assert reassembly.input(mbuf(ISN + 21, b"\0")) == []
    assert ledger.fates == {"byte.after_end": 28, "byte.duplicate": 5}
    assert reassembly.next == 20


@pytest.mark.parametrize(("at", "taken"), [(9, False), (10, True), (11, False), (12, False), (0, False), (-1, False)])
def test_reset_only_at_the_next_byte(at: int, taken: bool) -> None:
    # RFC 5961 section 3.2: any other place in the window gets a challenge, not the end of the connection.
    reassembly, _ = opened()
    reassembly.input(data(0, 10))
    reassembly.input(mbuf(ISN + 1 + at, flags=RST))
    assert reassembly.reset is taken


@pytest.mark.parametrize(("at", "taken"), [(10, False), (11, True), (12, False)])
def test_trap_18_reset_behind_a_fin(at: int, taken: bool) -> None:
    # The FIN has a sequence number of its own, so rcv_nxt stands one behind the data: a FIN and then a RST is how many
    # a close with unread data looks.
    reassembly, _ = opened()
    reassembly.input(data(0, 10, flags=ACK | FIN))
    reassembly.input(mbuf(ISN + 1 + at, flags=RST))
    assert reassembly.reset is taken


def test_reset_where_the_receiver_stands_though_the_capture_lacks_bytes() -> None:
    reassembly, _ = opened()
    reassembly.input(data(0, 10))
    reassembly.input(mbuf(ISN + 1 + 30, flags=RST, acked=(ISN + 1 + 30) & MASK))
    assert reassembly.reset


def test_reset_at_the_syn_is_an_old_one() -> None:
    # The place one before the stream is nobody's acknowledgement.
    reassembly, _ = opened()
    reassembly.input(mbuf(ISN, flags=RST))
    assert not reassembly.reset


@pytest.mark.parametrize("acked", [0, 7, 9])
def test_without_a_syn_the_acknowledgements_tell_where_the_stream_stands(acked: int) -> None:
    # The capture begins mid-stream, and its first packets are out of order.
    reassembly = Reassembly(Ledger(), 10_000)
    place = (ISN + 1 + acked) & MASK
    assert reassembly.input(data(10, 10, acked=place)) == []
    out = reassembly.input(data(0, 10, acked=place))
    assert [b.value for b in spread(out)] == list(made_up(300, "stream")[acked:20])


@pytest.mark.parametrize("acked", [-1, 10, 15, 20, -(1 << 20)])
def test_without_a_syn_the_first_packet_begins_otherwise(acked: int) -> None:
    # Acknowledged up to it, beyond it (a retransmission), far before it (nonsense), or nothing known.
    reassembly = Reassembly(Ledger(), 10_000)
    known = -1 if acked == -1 else (ISN + 1 + acked) & MASK
    assert [b.value for b in spread(reassembly.input(data(10, 10, acked=known)))] == list(made_up(300, "stream")[10:20])


def overflow(reassembly: Reassembly) -> None:
    for at in range(1, 62, 10):
        reassembly.input(data(at, 10))
        reassembly.settle()


def test_the_hold_is_bounded() -> None:
    reassembly, ledger = opened(hold=60 + PACKET)
    overflow(reassembly)
    assert due(reassembly)
    reassembly.stop(Stop.OVERFLOW)
    assert why(reassembly) is Stop.OVERFLOW
    assert not due(reassembly)
    assert ledger.fates == {"byte.hold_overflow": 70}
    assert reassembly.input(data(0, 5)) == []
    assert ledger.fates == {"byte.hold_overflow": 75}


def test_the_hold_is_at_most_twice_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAST_HOLD", 10)
    reassembly, ledger = opened(hold=1 << 20)
    start = (ISN + 1) & MASK
    reassembly.input(mbuf(start, acked=start, edge=(start + 30) & MASK))
    reassembly.settle()
    # Later it is smaller; the largest counts.
    reassembly.input(mbuf(start, acked=(start + 25) & MASK, edge=(start + 30) & MASK))
    reassembly.settle()
    for at in range(1, 62, 10):
        assert not reassembly.due
        reassembly.input(data(at, 10))
        reassembly.settle()
    assert due(reassembly)
    assert reassembly.held_bytes == 70
    assert not ledger.fates


def test_bounds_are_judged_at_host_points_only() -> None:
    # Else it would matter whether LRO had joined the last packet, which fills the hole, to one before.
    reassembly, ledger = opened(hold=10)
    assert reassembly.input(data(10, 50)) == []
    assert why(reassembly) is None
    assert len(spread(reassembly.input(data(0, 10)))) == 60
    reassembly.settle()
    assert why(reassembly) is None
    assert not ledger.fates


GAP_CASES: dict[str, Mbuf | None] = {
    "time": data(90, 5, time_ns=11 * SECOND),
    "the end": None,
    "the end, and another hole": data(70, 1),
}


@pytest.mark.parametrize("how", GAP_CASES)
def test_acknowledged_bytes_that_the_capture_lacks_are_a_gap(how: str) -> None:
    reassembly, ledger = opened()
    reassembly.input(data(0, 10))
    reassembly.input(data(20, 40, acked=(ISN + 1 + 60) & MASK))
    reassembly.settle()
    assert not due(reassembly)
    more = GAP_CASES[how]
    if more is not None:
        reassembly.input(more)
    if how == "time":
        reassembly.settle()
    else:
        reassembly.last()
    assert due(reassembly)
    hole, pieces = reassembly.pass_hole()
    assert hole == Hole(10, (ISN + 11) & MASK, 10, acknowledged=True)
    assert len(spread(pieces)) == 40
    assert (reassembly.next, reassembly.due) == (60, how == "the end, and another hole")
    assert not ledger.fates


def test_a_gap_that_is_filled_after_all_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GAP_BYTES", 40)
    reassembly, _ = opened()
    reassembly.input(data(20, 40, acked=(ISN + 1 + 60) & MASK))
    reassembly.settle()
    assert due(reassembly)
    assert len(spread(reassembly.input(data(0, 20)))) == 60
    reassembly.settle()
    assert not due(reassembly)


def test_much_piled_up_behind_a_gap_makes_it_due_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GAP_BYTES", 40)
    reassembly, ledger = opened()
    reassembly.input(data(20, 39, acked=(ISN + 1 + 60) & MASK))
    reassembly.settle()
    assert not due(reassembly)
    reassembly.input(data(59, 1))
    reassembly.settle()
    assert due(reassembly)
    assert len(spread(reassembly.pass_hole()[1])) == 40
    assert not ledger.fates


def test_a_hole_that_nobody_acknowledged_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    # Loss before the receiver: the retransmission may take its time, and the end of the capture may cut it off.
    monkeypatch.setattr(module, "GAP_BYTES", 40)
    reassembly, ledger = opened()
    start = (ISN + 1) & MASK
    reassembly.input(data(20, 50, acked=start))
    reassembly.settle()
    reassembly.input(data(70, 5, acked=start, time_ns=60 * SECOND))
    reassembly.settle()
    assert not due(reassembly)
    reassembly.last()
    assert reassembly.due  # what is there can be read all the same
    reassembly.finish()
    assert why(reassembly) is Stop.ENDED
    assert ledger.fates == {"byte.after_hole": 55}
    assert reassembly.input(data(0, 20)) == []
    assert ledger.fates == {"byte.after_hole": 55, "byte.after_end": 20}


def test_waiting_is_measured_from_the_last_progress() -> None:
    reassembly, _ = opened()
    for i in range(8):
        # A hole each time, filled a little later: no single one lasts ten seconds.
        acked = (ISN + 1 + 20 * i + 20) & MASK
        reassembly.input(data(20 * i + 10, 10, time_ns=6 * i * SECOND, acked=acked))
        reassembly.settle()
        reassembly.input(data(20 * i, 10, time_ns=(6 * i + 5) * SECOND, acked=acked))
        reassembly.settle()
    assert why(reassembly) is None
    assert reassembly.next == 160


@pytest.mark.parametrize(("acked", "fin", "gap"), [(11, True, False), (11, False, False), (12, False, True)])
def test_the_acknowledgement_of_a_fin_is_no_gap(acked: int, fin: bool, gap: bool) -> None:
    reassembly, _ = opened()
    reassembly.input(data(0, 10))
    reassembly.input(mbuf(ISN + 11, flags=ACK | FIN * fin, acked=(ISN + 1 + acked) & MASK))
    assert (reassembly.gap_at_end() is not None) is gap
    reassembly.finish()
    assert why(reassembly) is Stop.ENDED


def test_finish_comes_twice() -> None:
    reassembly, ledger = opened()
    reassembly.input(data(5, 5))
    reassembly.finish()
    reassembly.finish()
    assert ledger.fates == {"byte.after_hole": 5}


def test_nothing_ever_came() -> None:
    reassembly = Reassembly(Ledger(), 0)
    reassembly.settle()
    assert not reassembly.gap_at_end()
    reassembly.finish()
    assert why(reassembly) is Stop.ENDED
    assert not reassembly.finished
