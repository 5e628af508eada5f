"""Generations: where one begins, every way in which one ends, and what the table keeps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialog import MILLISECOND, SECOND, START, Dialog, Sent, Steered, steer
from rxtls.intake.batch import ACK, ACKED, CLOCK, END, FIN, FLAGS, FLOW, FRAME, LENGTH, RST, SEQ, SYN, TIME
from rxtls.intake.flows import ENDS, Flow, FlowTable, reverse, tuple_key
from rxtls.intake.mirror import Home
from rxtls.intake.steer import IDLE_NS, SteerOptions
from rxtls.wire.frame import Packet, parse

# What a test is about: (frame, flow, flags, length) of its rows.
Short = tuple[int, int, int, int]


def short(out: Steered) -> list[Short]:
    return [(row[FRAME], row[FLOW], row[FLAGS], row[LENGTH]) for row in out.rows]


def end_rows(out: Steered) -> list[tuple[int, int, int]]:
    return [(row[FRAME], row[TIME], row[FLOW]) for row in out.rows if row[FLAGS] == END]


def packet_of(sent: Sent) -> tuple[Packet, bytes]:
    data = sent.ethernet()
    packet = parse(1, data, len(data))
    assert isinstance(packet, Packet)
    return packet, data


class TestFin:
    def test_when_both_are_acknowledged(self) -> None:
        talk = Dialog().handshake().goodbye()
        out = steer(talk.frames, finish=False)
        assert out.ends == ["fin"]
        assert end_rows(out) == [(5, START + 5 * MILLISECOND, flow) for flow in (0, 1)]

    def test_not_when_one_is(self) -> None:
        talk = Dialog().handshake()
        talk.a(flags=FIN | ACK)
        talk.b()
        talk.b(b"still here")
        talk.b(flags=FIN | ACK)
        assert end_rows(steer(talk.frames, finish=False)) == []

    @pytest.mark.parametrize("length", [0, 10])
    def test_not_by_a_fin_that_the_window_does_not_let_in(self, length: int) -> None:
        talk = Dialog().handshake()  # to a.next + 1000
        talk.a(b"z" * length, flags=FIN | ACK, seq=1001 + 1001 - length)
        talk.next[0] = 1001
        talk.a(b"x" * 1000)
        talk.b()
        talk.goodbye()
        assert steer(talk.frames).ends == ["fin"]

    def test_the_first_one_holds(self) -> None:
        talk = Dialog().handshake()
        talk.a(flags=FIN | ACK)
        talk.a(flags=FIN | ACK, seq=1501)
        talk.next[0] = 1002
        talk.b(flags=FIN | ACK)
        talk.a()
        assert steer(talk.frames).ends == ["fin"]

    def test_the_awaited_one_needs_no_window(self) -> None:
        talk = Dialog()
        talk.a(flags=SYN, scale=0)
        talk.b(flags=SYN | ACK, scale=0, window=0)
        talk.a(b"early", flags=FIN | ACK)
        talk.b(flags=FIN | ACK)
        talk.a()
        assert steer(talk.frames).ends == ["fin"]

    def test_not_by_an_ack_of_the_data_before_it(self) -> None:
        talk = Dialog().handshake()
        talk.a(b"data", flags=FIN | ACK)
        talk.b(flags=FIN | ACK, ack=1005)
        talk.a()
        assert end_rows(steer(talk.frames, finish=False)) == []
        talk.b()
        assert len(end_rows(steer(talk.frames, finish=False))) == 2

    def test_a_fin_behind_what_was_acknowledged_ends_nothing(self) -> None:
        talk = Dialog().handshake()
        talk.a(b"0123456789")
        talk.b()
        talk.a(flags=FIN | ACK, seq=1003)
        talk.b(flags=FIN | ACK)
        talk.a()
        assert end_rows(steer(talk.frames, finish=False)) == []

    def test_latecomers_belong_to_the_generation_that_ended(self) -> None:
        talk = Dialog().handshake().goodbye()
        talk.b(flags=FIN | ACK, seq=5001)
        talk.a()
        talk.a(b"late", seq=1002)
        out = steer(talk.frames)
        assert len(out.stage.connections) == 1
        assert short(out)[-4:] == [(5, 0, END, 0), (5, 1, END, 0), (6, 1, FIN | ACK, 0), (8, 0, ACK, 4)]
        assert out.stage.connections[0].end_frame == 8

    def test_the_row_of_the_last_packet_comes_before_the_end(self) -> None:
        talk = Dialog().handshake()
        talk.a(flags=FIN | ACK)
        talk.b(flags=FIN | ACK)
        talk.a(b"x", seq=1001)
        assert [row[FLAGS] for row in steer(talk.frames, finish=False).rows[-3:]] == [ACK, END, END]

    def test_across_the_wrap(self) -> None:
        talk = Dialog(isn=(2**32 - 2, 2**32 - 1)).handshake().goodbye()
        assert steer(talk.frames, finish=False).ends == ["fin"]


class TestReused:
    def test_by_a_syn_with_another_number(self) -> None:
        talk = Dialog().handshake()
        talk.a(b"old")
        again = Dialog(isn=(77777, 88888), time=talk.time).handshake()
        again.a(b"new")
        out = steer(talk.frames + again.frames)
        assert out.ends == ["reused", "open"]
        # The END rows of the first generation stand before the first row of the second, at the SYN's frame and time.
        assert [(row[FRAME], row[FLOW], row[FLAGS]) for row in out.rows[3:6]] == [(4, 0, END), (4, 1, END), (4, 2, SYN)]
        assert {row[TIME] for row in out.rows[3:6]} == {START + 4 * MILLISECOND}
        assert out.rows[3][ACKED] == 1001
        assert [connection.end_frame for connection in out.stage.connections] == [3, 7]

    def test_after_fin_there_is_no_second_end(self) -> None:
        talk = Dialog().handshake().goodbye()
        again = Dialog(isn=(77777, 88888), time=talk.time).handshake()
        out = steer(talk.frames + again.frames)
        assert out.ends == ["fin", "open"]
        assert [flow for _, _, flow in end_rows(out)] == [0, 1, 2, 3]

    def test_after_a_reset_the_host_has_the_word(self) -> None:
        talk = Dialog().handshake()
        talk.b(flags=RST)
        stage = steer(talk.frames, finish=False).stage
        stage.connections[0].end = "rst"
        again = Dialog(isn=(77777, 88888), time=talk.time).handshake()
        stage.batch(list(enumerate(again.frames, 4)))
        assert [connection.end for connection in stage.connections] == ["rst", "open"]

    def test_the_roles_may_change(self) -> None:
        talk = Dialog().handshake()
        talk.b(flags=SYN, seq=99)
        out = steer(talk.frames)
        assert [connection.a[1] for connection in out.stage.connections] == [40000, 443]

    def test_not_by_a_retransmitted_syn(self) -> None:
        talk = Dialog()
        for _ in range(3):
            talk.a(flags=SYN, seq=1000)
        talk.b(flags=SYN | ACK)
        talk.b(flags=SYN | ACK, seq=5000)
        talk.a()
        out = steer(talk.frames)
        assert out.ends == ["open"]
        assert [row[SEQ] for row in out.rows] == [1000, 1000, 1000, 5000, 5000, 0, 0]

    def test_by_a_syn_ack_with_another_number(self) -> None:
        talk = Dialog().handshake()
        talk.b(flags=SYN | ACK, seq=9000)
        assert steer(talk.frames).ends == ["reused", "open"]

    def test_not_by_a_syn_with_a_reset_flag(self) -> None:
        talk = Dialog().handshake()
        talk.a(flags=SYN | RST, seq=4711)
        out = steer(talk.frames)
        assert out.ends == ["open"]
        assert out.rows[2][FLAGS] == RST

    def test_not_by_a_damaged_syn(self) -> None:
        talk = Dialog().handshake()
        talk.a(flags=SYN, seq=4711, checksum="wrong")
        assert steer(talk.frames).ends == ["open"]

    @given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
    def test_only_by_another_number(self, first: int, second: int) -> None:
        talk = Dialog(isn=(first, 0))
        talk.a(flags=SYN)
        talk.a(flags=SYN, seq=second)
        assert len(steer(talk.frames).stage.connections) == (1 if first == second else 2)


class TestMidConnection:
    def test_a_segment_opens_a_generation(self) -> None:
        talk = Dialog()
        talk.a(b"x")
        connection = steer(talk.frames).stage.connections[0]
        assert connection.syn_seen == (False, False)
        assert connection.client_guessed

    def test_a_syn_that_fits_the_first_byte_seen_belongs_to_it(self) -> None:
        for isn in (1000, 2**32 - 1):
            talk = Dialog(isn=(isn, 5000))
            talk.a(b"x", seq=isn + 1)
            talk.a(flags=SYN, seq=isn)
            out = steer(talk.frames)
            assert out.ends == ["open"]
            assert out.stage.connections[0].syn_seen == (True, False)
            assert not out.stage.connections[0].client_guessed

    def test_another_does_not(self) -> None:
        talk = Dialog()
        talk.a(b"x", seq=1002)
        talk.a(flags=SYN, seq=1000)
        assert steer(talk.frames).ends == ["reused", "open"]

    def test_a_syn_after_its_own_answer(self) -> None:
        """Two captures merged with clocks a little apart."""
        talk = Dialog().handshake()
        talk.frames[0], talk.frames[1] = talk.frames[1], talk.frames[0]
        connection = steer(talk.frames).stage.connections[0]
        assert connection.syn_seen == (True, True)
        assert connection.a[1] == 40000

    def test_pure_acks_are_remembered(self) -> None:
        talk = Dialog()
        talk.b(ack=1001)
        talk.a(seq=1001)
        talk.a(flags=SYN, seq=1000)
        out = steer(talk.frames)
        assert out.ends == ["open"]
        assert out.rows[0][ACKED] == 1001

    def test_a_pending_flow_gives_way_without_a_row(self) -> None:
        talk = Dialog()
        talk.a(seq=4711)
        talk.a(flags=SYN, seq=1000)
        out = steer(talk.frames)
        assert out.ends == ["open"]
        assert [row[FLAGS] for row in out.rows] == [SYN, END, END]


class TestClient:
    """The SYN's sender, else the SYN-ACK's receiver, else the higher port."""

    @pytest.mark.parametrize(
        ("frames", "client", "guessed"),
        [
            (slice(0, 4), 443, False),
            (slice(1, 4), 443, False),
            (slice(2, 4), 40000, True),
        ],
    )
    def test_by_what_was_seen(self, frames: slice, client: int, guessed: bool) -> None:
        talk = Dialog(ends=(("10.0.0.2", 443), ("10.0.0.1", 40000))).handshake()
        talk.a(b"x")
        connection = steer(talk.frames[frames]).stage.connections[0]
        assert connection.a[1] == client
        assert connection.client_guessed is guessed

    def test_a_guess_that_a_late_syn_corrects(self) -> None:
        talk = Dialog(ends=(("10.0.0.2", 443), ("10.0.0.1", 40000)))
        talk.a(b"x", seq=1001)
        talk.a(flags=SYN, seq=1000)
        connection = steer(talk.frames).stage.connections[0]
        assert connection.a[1] == 40000
        assert (connection.client_guessed, connection.client_side) == (False, 1)


class TestIdle:
    def test_when_the_tuple_speaks_again(self) -> None:
        talk = Dialog().handshake()
        talk.a(b"x")
        talk.time += IDLE_NS
        talk.a(b"y")
        out = steer(talk.frames)
        assert out.ends == ["idle", "open"]
        # Nothing happened: the last frame, and the moment when the time was over.
        assert end_rows(out)[:2] == [(3, START + 3 * MILLISECOND + IDLE_NS, flow) for flow in (0, 1)]
        assert out.rows[-3][FLOW] == 2
        assert out.stage.connections[1].syn_seen == (False, False)

    def test_not_at_the_very_moment(self) -> None:
        talk = Dialog().handshake()
        talk.time = talk.frames[-1].time_ns + IDLE_NS
        talk.a(b"y")
        assert steer(talk.frames).ends == ["open"]

    def test_pure_acks_keep_it_alive(self) -> None:
        talk = Dialog(step=200 * SECOND).handshake()
        for _ in range(5):
            talk.b()
        talk.a(b"x")
        assert steer(talk.frames).ends == ["open"]

    def test_at_the_end_of_the_capture(self) -> None:
        talk = Dialog().handshake()
        other = Dialog(ends=(("10.0.0.3", 40000), ("10.0.0.2", 443)), time=talk.time + IDLE_NS).handshake()
        out = steer(talk.frames + other.frames[:1])
        assert out.ends == ["idle", "open"]
        assert end_rows(out) == [
            *((2, START + 2 * MILLISECOND + IDLE_NS, flow) for flow in (0, 1)),
            *((3, other.frames[0].time_ns, flow) for flow in (2, 3)),
        ]

    def test_rows_are_the_same_whether_a_sweep_or_the_next_packet_finds_it(self) -> None:
        talk = Dialog().handshake()
        talk.time += 2 * IDLE_NS
        talk.a(b"y")
        other = Dialog(ends=(("10.0.0.3", 40000), ("10.0.0.2", 443)), time=START + 3 * IDLE_NS // 2).handshake()
        alone = steer(talk.frames)
        swept = steer(talk.frames[:3] + other.frames + talk.frames[3:])
        assert [row[FLAGS] for row in swept.rows[2:5]] == [SYN, END, END]  # found by the other connection's frames
        mine = {c.id: n for n, c in enumerate(c for c in swept.stage.connections if c.a[0] == "10.0.0.1")}
        assert [
            [2 * mine[row[FLOW] >> 1] + (row[FLOW] & 1), row[TIME], *row[CLOCK:]]
            for row in swept.rows
            if row[FLOW] >> 1 in mine
        ] == [[row[FLOW], row[TIME], *row[CLOCK:]] for row in alone.rows]

    def test_after_fin_the_place_is_free_again(self) -> None:
        talk = Dialog().handshake().goodbye()
        talk.time += IDLE_NS
        talk.a(b"y")
        out = steer(talk.frames)
        assert out.ends == ["fin", "open"]

    def test_one_damaged_time_stamp_ends_nobody_else(self) -> None:
        talk = Dialog().handshake()
        other = Dialog(ends=(("10.0.0.3", 40000), ("10.0.0.2", 443)), time=START + 10**6 * SECOND)
        other.a(b"x")
        talk.a(b"x")
        out = steer(talk.frames[:3] + other.frames + talk.frames[3:])
        assert out.ends == ["open", "open"]

    @pytest.mark.parametrize("ahead", [600, -600, 10**6])
    def test_the_clock_of_another_interface_ends_nobody(self, ahead: int) -> None:
        talk = Dialog().handshake()
        talk.a(b"x")
        talk.time += 200 * SECOND
        talk.b(b"y")
        talk.goodbye()
        other = Dialog(ends=(("10.0.0.3", 40000), ("10.0.0.2", 443)), interface=1, time=START + ahead * SECOND)
        mixed = []
        for frame in talk.frames:
            mixed += [frame]
            for _ in range(2):
                other.a(b"z")
                mixed += other.frames[-1:]
        alone, among = steer(talk.frames), steer(mixed)
        assert (alone.ends, among.ends) == (["fin"], ["fin", "open"])
        assert [row[TIME:] for row in among.rows if row[FLOW] < 2] == [row[TIME:] for row in alone.rows]

    def test_what_moves_to_another_interface_has_its_clock(self) -> None:
        talk = Dialog().handshake()
        talk.interface, talk.time = 1, START + 600 * SECOND
        talk.a(b"x")  # another clock, which says nothing about the time since
        talk.b(b"y")
        talk.time += IDLE_NS
        talk.a(b"z")
        out = steer(talk.frames)
        assert out.ends == ["idle", "open"]
        assert end_rows(out)[0] == (4, START + 600 * SECOND + MILLISECOND + IDLE_NS, 0)

    def test_idle_by_its_own_clock_while_it_speaks_elsewhere(self) -> None:
        talk = Dialog().handshake()
        other = Dialog(ends=(("10.0.0.3", 40000), ("10.0.0.2", 443)), time=talk.time + IDLE_NS)
        other.a(b"1")
        other.a(b"2")
        talk.interface = 1
        talk.a(b"x")
        assert steer(talk.frames[:3] + other.frames + talk.frames[3:]).ends == ["idle", "open", "open"]

    def test_at_the_end_each_by_its_own_interface(self) -> None:
        talk = Dialog().handshake()
        other = Dialog(ends=(("10.0.0.3", 40000), ("10.0.0.2", 443)), interface=1, time=START + 2 * IDLE_NS)
        other.a(b"1")
        assert steer(talk.frames + other.frames).ends == ["open", "open"]

    def test_a_silent_interface_does_not_keep_those_of_another(self) -> None:
        talk = Dialog(step=SECOND, interface=7)
        for port in range(600):
            talk.ends = (("10.0.0.1", 1024 + port), ("10.0.0.2", 443))
            talk.a(flags=SYN, seq=1000)
            talk.interface = 0
        out = steer(talk.frames, finish=False)
        assert len(out.stage._table) == 302 + 1

    def test_memory_of_idle_connections_is_freed(self) -> None:
        talk = Dialog(step=SECOND)
        for port in range(2000):
            talk.ends = (("10.0.0.1", 1024 + port), ("10.0.0.2", 443))
            talk.a(flags=SYN, seq=1000)
        out = steer(talk.frames, finish=False)
        assert len(out.stage._table) == 302
        assert out.ends.count("idle") == 2000 - 302


class TestEviction:
    def test_the_least_recently_used_goes(self) -> None:
        talks = [Dialog(ends=((f"10.0.0.{n}", 40000), ("10.0.0.99", 443))) for n in range(3)]
        frames = []
        for n, talk in enumerate((talks[0], talks[1], talks[0], talks[2], talks[1])):
            talk.time = START + n * MILLISECOND
            talk.a(b"x")
            frames.append(talk.frames[-1])
        out = steer(frames, SteerOptions(max_flows=2))
        assert [(c.a[0], c.end) for c in out.stage.connections] == [
            ("10.0.0.0", "evicted"),
            ("10.0.0.1", "evicted"),
            ("10.0.0.2", "open"),
            ("10.0.0.1", "open"),
        ]
        assert end_rows(out)[:4] == [
            *((3, START + 3 * MILLISECOND, flow) for flow in (2, 3)),
            *((4, START + 4 * MILLISECOND, flow) for flow in (0, 1)),
        ]

    def test_pending_flows_count_and_go_silently(self) -> None:
        talk = Dialog(ends=(("10.0.0.1", 40000), ("10.0.0.99", 443)))
        for port in range(50):
            talk.ends = (("10.0.0.1", 1024 + port), ("10.0.0.99", 443))
            talk.a()
        out = steer(talk.frames, SteerOptions(max_flows=8), finish=False)
        assert len(out.stage._table) == 8
        assert out.rows == []


def test_vlans_do_not_divide_a_connection() -> None:
    """An asymmetric tap: one direction tagged, the other not."""
    talk = Dialog(vlan=(7, 42))
    talk.a(flags=SYN)
    talk.vlan = ()
    talk.b(flags=SYN | ACK)
    connections = steer(talk.frames).stage.connections
    assert [connection.vlan for connection in connections] == [(7, 42)]


def test_finish_ends_what_is_open_once_in_order_of_connection() -> None:
    first = Dialog().handshake()
    second = Dialog(ends=(("10.0.0.3", 40000), ("10.0.0.2", 443)), time=first.time).handshake()
    first.time = second.time
    first.a(b"x")
    out = steer(first.frames[:3] + second.frames + first.frames[3:])
    assert end_rows(out) == [
        *((6, first.frames[3].time_ns, flow) for flow in (0, 1)),
        *((5, second.frames[2].time_ns, flow) for flow in (2, 3)),
    ]
    assert out.stage.finish().rows.shape[0] == 0


def test_every_end_has_its_sentence() -> None:
    assert set(ENDS) == {"fin", "rst", "reused", "idle", "evicted", "open"}
    assert all(sentence.endswith((".", ".)")) for sentence in ENDS.values())


def test_keys_are_whole_tuples() -> None:
    packet, data = packet_of(Sent(("10.0.0.1", 1), ("10.0.0.2", 2), 0, 0, SYN))
    key = tuple_key(packet, data)
    assert key == bytes([10, 0, 0, 1, 10, 0, 0, 2, 0, 1, 0, 2])
    assert reverse(key) == bytes([10, 0, 0, 2, 10, 0, 0, 1, 0, 2, 0, 1])
    assert reverse(reverse(key)) == key


def test_the_table_finds_a_flow_from_both_sides_until_it_is_dropped() -> None:
    packet, data = packet_of(Sent(("10.0.0.1", 1), ("10.0.0.2", 2), 0, 0, SYN))
    flow = Flow(tuple_key(packet, data), packet, 0, 5, Home((5, 0, 1, 0)))
    table = FlowTable()
    table.put(flow)
    assert table.find(flow.key) is table.find(flow.reverse_key) is table.oldest() is table.oldest_of(5) is flow
    table.use(flow, 6)
    assert (table.oldest_of(5), table.oldest_of(6), flow.interface) == (None, flow, 6)
    table.drop(flow)
    assert table.find(flow.key) is table.find(flow.reverse_key) is table.oldest() is table.oldest_of(6) is None
    assert len(table) == 0
