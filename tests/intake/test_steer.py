"""Frames to rows: clocks, what the receiver has said, fates and balance; and what results may not depend on."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialog import ETHERNET, MILLISECOND, SECOND, SLL2, START, Dialog, Steered, captured, steer
from rxtls.counters import Ledger
from rxtls.intake.batch import (
    ACK,
    ACKED,
    CLOCK,
    COLUMNS,
    EDGE,
    END,
    FIN,
    FLAGS,
    FLOW,
    FRAME,
    LEAF,
    LENGTH,
    PSH,
    RST,
    SEQ,
    SYN,
    TIME,
)
from rxtls.intake.steer import Steer, SteerOptions, leaf
from rxtls.wire.captured import Frame
from rxtls.wire.frame import parse


def of_flow(out: Steered, flow: int) -> list[list[int]]:
    return [row for row in out.rows if row[FLOW] == flow]


# What intake says of payload bytes, and not only of frames: those of frames that nobody behind it sees.
INTAKE_BYTES = {"byte.bad_checksum", "byte.filtered", "byte.mirrored"}


def frames_balance(out: Steered) -> bool:
    fates = {name: n for name, n in out.ledger.fates.items() if name.startswith("frame.")}
    payload = set(out.ledger.fates) - set(fates)
    return sum(fates.values()) == out.ledger.entered["frame"] and payload <= INTAKE_BYTES


def test_a_connection_as_rows() -> None:
    talk = Dialog().handshake()
    talk.a(b"hello", flags=ACK | PSH)
    talk.b()
    talk.b(b"world!")
    talk.goodbye()
    out = steer(talk.frames)
    columns = (FRAME, FLOW, CLOCK, SEQ, FLAGS, LENGTH, ACKED, EDGE)
    assert [[row[c] for c in columns] for row in out.rows] == [
        [0, 0, 1, 1000, SYN, 0, -1, -1],
        [1, 1, 1, 5000, SYN | ACK, 0, -1, -1],
        [3, 0, 2, 1001, ACK | PSH, 5, 1001, 2001],
        [5, 1, 2, 5001, ACK, 6, 5001, 6001],
        [6, 0, 3, 1006, FIN | ACK, 0, 1006, 2006],
        [7, 1, 3, 5007, FIN | ACK, 0, 5007, 6007],
        [8, 0, 3, 0, END, 0, 1007, 2007],
        [8, 1, 3, 0, END, 0, 5008, 6008],
    ]
    assert out.payloads[2] == b"hello"
    assert out.payloads[3] == b"world!"
    assert [row[TIME] for row in out.rows] == [START + row[FRAME] * MILLISECOND for row in out.rows]
    assert out.fates == {"segment": 6, "ack": 3}
    assert out.ledger.entered == {"frame": 9, "byte": 11}
    connection = out.stage.connections[0]
    assert (connection.a, connection.b) == (("10.0.0.1", 40000), ("10.0.0.2", 443))
    assert (connection.start_frame, connection.end_frame, connection.end) == (0, 8, "fin")
    assert connection.syn_seen == (True, True)
    assert not connection.client_guessed


def test_addresses_of_ipv6() -> None:
    talk = Dialog(ends=(("2001:db8::1", 40000), ("2001:db8::2", 443))).handshake()
    connection = steer(talk.frames).stage.connections[0]
    assert (connection.a, connection.b) == (("2001:db8::1", 40000), ("2001:db8::2", 443))


def test_a_batch_without_rows_has_the_shape_of_one() -> None:
    batch = Steer(Ledger()).batch([])
    assert batch.rows.shape == (0, COLUMNS)
    assert batch.rows.dtype == np.int64
    assert batch.data == b""


class TestClock:
    def test_pure_acks_and_the_other_direction_do_not_advance_it(self) -> None:
        talk = Dialog().handshake()
        for _ in range(3):
            talk.a(b"x")
            talk.b()
            talk.b()
        talk.b(b"y")
        out = steer(talk.frames)
        assert [row[CLOCK] for row in of_flow(out, 0)] == [1, 2, 3, 4, 4]  # the END row stands still
        assert [row[CLOCK] for row in of_flow(out, 1)] == [1, 2, 2]

    def test_other_connections_do_not_advance_it(self) -> None:
        talk = Dialog().handshake()
        other = Dialog(ends=(("10.0.0.1", 40001), ("10.0.0.2", 443))).handshake()
        talk.a(b"x")
        mixed = sorted(talk.frames + other.frames, key=lambda frame: frame.time_ns)
        assert [row[CLOCK] for row in of_flow(steer(mixed), 0)] == [1, 2, 2]

    def test_wire_duplicates_advance_it(self) -> None:
        talk = Dialog().handshake()
        talk.a(b"x")
        talk.frames.append(talk.frames[-1])
        out = steer(talk.frames)
        assert [row[CLOCK] for row in of_flow(out, 0)] == [1, 2, 3, 3]
        assert out.fates == {"segment": 4, "ack": 1}

    def test_a_bad_checksum_does_not(self) -> None:
        talk = Dialog().handshake()
        talk.a(b"x", checksum="wrong")
        talk.a(b"x", seq=1001)
        out = steer(talk.frames)
        assert [row[CLOCK] for row in of_flow(out, 0)] == [1, 2, 2]
        assert out.fates == {"segment": 3, "ack": 1, "bad_checksum": 1}

    def test_an_aggregate_counts_per_segment(self) -> None:
        talk = Dialog().handshake(mss=100)
        talk.a(bytes(range(250)), flags=ACK | PSH)
        out = steer(talk.frames)
        rows = of_flow(out, 0)[1:-1]
        assert [(row[CLOCK], row[SEQ], row[LENGTH]) for row in rows] == [(2, 1001, 100), (3, 1101, 100), (4, 1201, 50)]
        assert {(row[FRAME], row[ACKED], row[EDGE]) for row in rows} == {(3, 1001, 2001)}
        assert b"".join(out.payloads) == bytes(range(250))
        assert out.stage.connections[0].resegmented == 1
        assert out.ledger.entered["byte"] == 250

    def test_resegmentation_off(self) -> None:
        talk = Dialog().handshake(mss=100)
        talk.a(bytes(250))
        out = steer(talk.frames, SteerOptions(resegment="off"))
        assert [row[LENGTH] for row in of_flow(out, 0)] == [0, 250, 0]
        assert out.stage.connections[0].resegmented == 0


class TestWhatTheReceiverSaid:
    """ACKED and EDGE of a row: as its receiver has said by then."""

    @pytest.mark.parametrize(
        ("scales", "seen", "edge"),
        [
            ((3, 7), "both", 1001 + (1000 << 7)),  # b's windows are scaled by what b offered
            ((3, 30), "both", 1001 + (1000 << 14)),  # RFC 7323 section 2.3
            ((None, 7), "both", 2001),
            ((3, None), "both", 2001),
            ((None, 7), "a", 2001),  # one SYN without the option settles it
            ((3, None), "b", 2001),
            ((3, 7), "a", -1),
            ((3, 7), "b", -1),  # the SYN-ACK's window says nothing of later ones, whose scale is not known
            ((3, 7), "none", -1),
        ],
    )
    def test_window_scale(self, scales: tuple[int | None, int | None], seen: str, edge: int) -> None:
        talk = Dialog().handshake(scales)
        talk.b()
        talk.a(b"x")
        if seen in ("b", "none"):
            del talk.frames[0]
        if seen in ("a", "none"):
            del talk.frames[-4]
        row = next(row for row in steer(talk.frames).rows if row[LENGTH])
        assert row[EDGE] == edge
        assert row[ACKED] == 1001

    def test_windows_in_syns_are_not_scaled(self) -> None:
        talk = Dialog()
        talk.a(flags=SYN, scale=5)
        talk.b(flags=SYN | ACK, scale=5, window=2000)
        talk.a(b"x")
        row = next(row for row in steer(talk.frames).rows if row[LENGTH])
        assert row[EDGE] == 1001 + 2000

    def test_neither_moves_back(self) -> None:
        talk = Dialog().handshake()
        talk.a(b"x" * 100)
        talk.b(window=500)
        talk.b(ack=1051, window=1)
        talk.a(b"y")
        row = steer(talk.frames).rows[3]
        assert (row[ACKED], row[EDGE]) == (1101, 2001)

    def test_a_frame_counts_for_the_other_direction_at_once_and_for_its_own_never(self) -> None:
        talk = Dialog().handshake()
        talk.b(b"z", ack=1001)
        talk.a(b"y", ack=5002)
        rows = [row for row in steer(talk.frames).rows if row[LENGTH]]
        assert [row[ACKED] for row in rows] == [5001, 1001]

    def test_across_the_wrap(self) -> None:
        talk = Dialog(isn=(2**32 - 3, 5000)).handshake()
        talk.a(b"12345")
        talk.b()
        talk.a(b"6")
        rows = of_flow(steer(talk.frames), 0)
        assert [(row[SEQ], row[ACKED], row[EDGE]) for row in rows[:3]] == [
            (2**32 - 3, -1, -1),
            (2**32 - 2, 2**32 - 2, 998),
            (3, 3, 1003),
        ]

    def test_from_pure_acks_before_anything_else(self) -> None:
        talk = Dialog()
        talk.b(ack=1000)
        talk.a(b"x")
        row = steer(talk.frames).rows[0]
        assert (row[FRAME], row[ACKED], row[EDGE]) == (1, 1000, -1)

    def test_an_ack_further_than_any_window_says_nothing(self) -> None:
        talk = Dialog().handshake()
        talk.b(ack=1001 + (1 << 30) + 1)
        talk.b(ack=1001 - (1 << 30) - 1)
        talk.a(b"x")
        row = next(row for row in steer(talk.frames).rows if row[LENGTH])
        assert (row[ACKED], row[EDGE]) == (1001, 2001)

    def test_a_reset_says_nothing(self) -> None:
        talk = Dialog().handshake()
        talk.b(flags=RST | ACK, ack=9000, window=60000)
        talk.a(b"x")
        row = next(row for row in steer(talk.frames).rows if row[LENGTH])
        assert (row[ACKED], row[EDGE]) == (1001, 2001)


class TestRows:
    def test_data_in_a_syn(self) -> None:
        talk = Dialog()
        talk.a(b"early", flags=SYN, mss=1460)
        out = steer(talk.frames)
        assert [out.rows[0][c] for c in (SEQ, FLAGS, LENGTH)] == [1000, SYN, 5]
        assert out.payloads[0] == b"early"

    def test_a_reset_is_marked_and_its_text_is_no_payload(self) -> None:
        talk = Dialog().handshake()
        talk.b(b"go away", flags=RST)
        out = steer(talk.frames)
        assert [out.rows[2][c] for c in (FLOW, CLOCK, SEQ, FLAGS, LENGTH)] == [1, 2, 5001, RST, 0]
        assert out.stage.connections[0].rst_seen
        assert out.ledger.entered["byte"] == 0
        assert out.ends == ["open"]

    def test_a_frame_that_the_snap_length_cut(self) -> None:
        talk = Dialog().handshake()
        talk.a(bytes(100), flags=ACK | FIN, snap=54 + 30)
        out = steer(talk.frames)
        rows = of_flow(out, 0)[1:-1]
        assert [(row[SEQ], row[FLAGS], row[LENGTH]) for row in rows] == [(1001, ACK, 30), (1101, ACK | FIN, 0)]
        assert out.fates == {"segment": 2, "ack": 1, "segment_cut": 1}
        assert out.ledger.entered["byte"] == 30

    def test_keep_alives(self) -> None:
        talk = Dialog().handshake()
        talk.a(b"12")
        talk.b()
        talk.a(seq=1002)
        talk.a(b"2", seq=1002)
        out = steer(talk.frames)
        assert [(row[SEQ], row[LENGTH]) for row in of_flow(out, 0)] == [(1000, 0), (1001, 2), (1002, 1), (0, 0)]
        assert out.fates == {"segment": 4, "ack": 3}

    def test_nine_flags_become_the_five_that_a_row_knows(self) -> None:
        talk = Dialog().handshake()
        talk.a(b"x", flags=0x1FF & ~(SYN | FIN | RST))
        assert of_flow(steer(talk.frames), 0)[1][FLAGS] == ACK | PSH

    def test_a_packet_from_a_tuple_to_itself(self) -> None:
        talk = Dialog(ends=(("10.0.0.1", 443), ("10.0.0.1", 443)))
        talk.handshake()
        talk.a(b"x")
        out = steer(talk.frames)
        assert frames_balance(out)
        assert {row[FLOW] & 1 for row in out.rows if row[FLAGS] != END} == {0}


class TestLeaf:
    def test_is_the_capture_interface(self) -> None:
        talk = Dialog(interface=3).handshake()
        talk.interface = 4
        talk.a(b"x")
        out = steer(talk.frames)
        assert [row[LEAF] for row in out.rows] == [3, 3, 4, -1, -1]
        assert out.stage.connections[0].interfaces == {3, 4}

    def test_and_the_device_where_linux_cooked_v2_names_it(self) -> None:
        talk = Dialog()
        sent = talk.a(flags=SYN)
        talk.frames = [captured(sent.cooked2(0, 7), START, 2, SLL2)]
        row = steer(talk.frames).rows[0]
        assert (row[LEAF] & 0xFFFF_FFFF, row[LEAF] >> 32) == (2, 7)
        packet = parse(SLL2, talk.frames[0].data, len(talk.frames[0].data))
        assert not isinstance(packet, str)
        assert leaf(2, packet) == row[LEAF]


class TestFates:
    def test_what_is_not_tcp_keeps_its_fate(self) -> None:
        out = steer(
            [captured(bytes(12) + b"\x08\x06" + bytes(28), START), captured(b"", START), captured(b"x", 0, 0, 105)]
        )
        assert frames_balance(out)
        assert out.fates == {"not_ip": 1, "bad_link": 1, "link_type": 1}

    def test_the_filter_acts_before_the_flow_table(self) -> None:
        talk = Dialog().handshake()
        talk.a(b"x")
        other = Dialog(ends=(("10.0.0.9", 40000), ("10.0.0.2", 80))).handshake()
        options = SteerOptions(filter=lambda packet: 443 in (packet.sport, packet.dport), max_flows=1)
        out = steer(talk.frames[:3] + other.frames + talk.frames[3:], options)
        assert out.fates == {"segment": 3, "ack": 1, "filtered": 3}
        assert len(out.stage.connections) == 1

    def test_a_reset_of_nothing_is_stray(self) -> None:
        talk = Dialog()
        talk.b()
        talk.b(flags=RST)
        talk.a(b"text", flags=RST | ACK)
        out = steer(talk.frames)
        assert out.fates == {"ack": 1, "stray_reset": 2}
        assert out.rows == []

    @pytest.mark.parametrize(
        ("policy", "kind", "fate"),
        [
            ("auto", "wrong", "bad_checksum"),
            ("auto", "partial", "segment"),
            ("verify", "wrong", "bad_checksum"),
            ("verify", "partial", "bad_checksum"),
            ("ignore", "wrong", "segment"),
            ("ignore", "partial", "segment"),
        ],
    )
    def test_the_checksum_policy(self, policy: str, kind: str, fate: str) -> None:
        talk = Dialog().handshake()
        talk.a(b"x", checksum=kind)
        talk.frames = talk.frames[-1:]
        assert steer(talk.frames, SteerOptions(checksum=policy)).fates == {fate: 1}  # type: ignore[arg-type]

    def test_pure_acks_alone_make_no_connection(self) -> None:
        talk = Dialog()
        for _ in range(5):
            talk.a(seq=999)
            talk.b()
        out = steer(talk.frames)
        assert out.fates == {"ack": 10}
        assert out.rows == []
        assert out.stage.connections == []


# What results may not depend on. Few tuples, few sequence numbers, all flags, odd times: everything collides.

_TUPLES = [
    (("10.0.0.1", 1000), ("10.0.0.2", 443)),
    (("10.0.0.1", 443), ("10.0.0.2", 1000)),
    (("2001:db8::1", 1000), ("2001:db8::2", 443)),
]


@st.composite
def traffic(draw: st.DrawFn, tuples: int = len(_TUPLES)) -> list[Frame]:
    talks = [Dialog(ends=ends, isn=(2**32 - 50, 100)) for ends in _TUPLES[:tuples]]
    frames: list[Frame] = []
    time = START
    for _ in range(draw(st.integers(0, 40))):
        talk = draw(st.sampled_from(talks))
        talk.time = time
        talk.interface = draw(st.sampled_from([0, 0, 0, 1]))
        talk.vlan = draw(st.sampled_from([(), (), (7,)]))
        if talk.frames and draw(st.integers(0, 5)) == 0:
            frames.append(talk.frames[-1]._replace(interface=talk.interface, time_ns=time))
        else:
            fields: dict[str, object] = {"checksum": draw(st.sampled_from(["right", "right", "partial", "wrong"]))}
            if draw(st.integers(0, 3)) == 0:
                fields["seq"] = draw(st.sampled_from([0, 49, 2**32 - 50, 100, 5000]))
            talk.say(
                draw(st.integers(0, 1)),
                draw(st.sampled_from([b"", b"", b"x", b"y" * 99, bytes(1500)])),
                draw(st.sampled_from([ACK, ACK, ACK, SYN, SYN | ACK, FIN | ACK, RST, RST | ACK, SYN | FIN, 0])),
                **fields,
            )
            frames.append(talk.frames[-1])
        time += draw(st.sampled_from([0, 1000, MILLISECOND, 20 * MILLISECOND, SECOND, 301 * SECOND]))
    return frames


def verdicts(out: Steered) -> list[object]:
    return [
        (c.a, c.b, c.end, c.vantage(0), c.start_frame, c.end_frame, c.syn_seen, c.rst_seen, c.vlan, c.interfaces)
        for c in out.stage.connections
    ]


@given(traffic(), st.lists(st.integers(0, 7), max_size=20))
@settings(max_examples=60, deadline=None)
def test_the_size_of_a_call_changes_nothing(frames: list[Frame], sizes: list[int]) -> None:
    whole, parts = steer(frames), steer(frames, sizes=sizes)
    assert parts.rows == whole.rows
    assert parts.payloads == whole.payloads
    assert parts.ledger.fates == whole.ledger.fates
    assert parts.ledger.entered == whole.ledger.entered
    assert verdicts(parts) == verdicts(whole)


@given(traffic(1), st.sampled_from([None, 0, 600 * SECOND, -600 * SECOND]), st.data())
@settings(max_examples=60, deadline=None)
def test_other_connections_change_nothing(frames: list[Frame], ahead: int | None, data: st.DataObject) -> None:
    """Same rows but for frame and connection numbers. Nothing but the last time of all tells idle from open.

    The others come by the only interface, or by one of their own whose clock is `ahead`.
    """
    noise = Dialog(ends=_TUPLES[2], interface=0 if ahead is None else 2)
    if ahead is None:
        frames = [frame._replace(interface=0) for frame in frames]
    mixed = []
    for frame in frames:
        for _ in range(data.draw(st.integers(0, 2))):
            noise.time = frame.time_ns + (ahead or 0)
            noise.say(
                data.draw(st.integers(0, 1)),
                data.draw(st.sampled_from([b"", b"x"])),
                data.draw(st.sampled_from([ACK, SYN, FIN | ACK, RST])),
            )
            mixed.append(noise.frames[-1])
        mixed.append(frame)
    alone, among = steer(frames), steer(mixed)
    ours = {c.id for c in among.stage.connections if c.a[0].startswith("10.")}

    def strip(out: Steered, keep: set[int]) -> list[list[int]]:
        order = {number: at for at, number in enumerate(sorted(keep))}
        return [
            [order[row[FLOW] >> 1], row[FLOW] & 1, *row[TIME:LEAF], *row[CLOCK:]]
            for row in out.rows
            if row[FLOW] >> 1 in keep
        ]

    # Rows of different generations that a sweep ended may change places with each other's, not within one.
    assert sorted(strip(among, ours)) == sorted(strip(alone, {c.id for c in alone.stage.connections}))
    assert [c.end for c in among.stage.connections if c.id in ours] == alone.ends


@given(traffic())
@settings(max_examples=60, deadline=None)
def test_every_frame_has_one_fate_and_every_flow_one_clock(frames: list[Frame]) -> None:
    out = steer(frames)
    assert frames_balance(out)
    assert out.ledger.entered["frame"] == len(frames)
    in_rows = sum(row[LENGTH] for row in out.rows)
    refused = sum(n for name, n in out.ledger.fates.items() if name.startswith("byte."))
    assert out.ledger.entered["byte"] - refused == in_rows == sum(map(len, out.payloads))
    clocks: Counter[int] = Counter()
    ends: Counter[int] = Counter()
    for row in out.rows:
        if row[FLAGS] == END:
            ends[row[FLOW]] += 1
            assert row[CLOCK] == clocks[row[FLOW]]
        else:
            clocks[row[FLOW]] += 1
            assert row[CLOCK] == clocks[row[FLOW]]
    assert ends == dict.fromkeys(range(2 * len(out.stage.connections)), 1)


@given(st.lists(st.binary(max_size=90), max_size=20), st.sampled_from([ETHERNET, 101, 113, 276, 0]))
def test_hostile_bytes_have_fates_too(blobs: list[bytes], link_type: int) -> None:
    out = steer([captured(blob, START, 0, link_type) for blob in blobs])
    assert frames_balance(out)


def test_times_at_the_end_of_the_world() -> None:
    talk = Dialog(time=(1 << 63) - 1, step=0).handshake()
    talk.a(b"x")
    talk.frames.append(talk.frames[-1]._replace(time_ns=-(1 << 63)))
    talk.frames.append(talk.frames[-1]._replace(time_ns=(1 << 63) - 1))
    assert frames_balance(steer(talk.frames))
