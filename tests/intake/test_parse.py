"""The checksum policies as a table, and aggregates cut back into segments."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxtls.errors import UsageError
from rxtls.intake.batch import ACK, FIN, PSH, RST, SYN
from rxtls.intake.parse import (
    CWR,
    MIN_SEGMENT,
    ChecksumPolicy,
    Resegment,
    Segment,
    checksum_fate,
    read_resegment,
    segments,
)
from rxtls.seq import MASK
from rxtls.wire.frame import Checksum, Packet

BAD = "frame.bad_checksum"


def packet(length: int, flags: int = ACK, *, captured: int | None = None, options: int = 0, seq: int = 1000) -> Packet:
    return Packet(
        src=bytes([192, 0, 2, 1]),
        dst=bytes([192, 0, 2, 2]),
        sport=1,
        dport=2,
        seq=seq,
        ack=0,
        flags=flags,
        window=0,
        tcp_offset=34,
        payload_offset=54 + options,
        payload_length=length,
        captured_length=length if captured is None else captured,
        option_length=options,
        checksum=Checksum.OK,
    )


@pytest.mark.parametrize(
    ("policy", "ok", "partial", "unverifiable", "bad", "bad_at_sender"),
    [
        ("auto", None, None, None, BAD, None),
        ("verify", None, BAD, None, BAD, BAD),
        ("ignore", None, None, None, None, None),
    ],
)
def test_checksum_policies(
    policy: str,
    ok: str | None,
    partial: str | None,
    unverifiable: str | None,
    bad: str | None,
    bad_at_sender: str | None,
) -> None:
    def fate(checksum: Checksum, sender: bool = False) -> str | None:
        return checksum_fate(packet(1)._replace(checksum=checksum), ChecksumPolicy(policy), sender)

    assert (fate(Checksum.OK), fate(Checksum.PARTIAL)) == (ok, partial)
    assert (fate(Checksum.UNVERIFIABLE), fate(Checksum.BAD)) == (unverifiable, bad)
    assert (fate(Checksum.OK, True), fate(Checksum.BAD, True)) == (None, bad_at_sender)


def test_read_resegment() -> None:
    assert [read_resegment(text) for text in ("auto", "off", "48", "1448")] == ["auto", "off", 48, 1448]


@pytest.mark.parametrize("text", ["", "on", "0", "47", "-1", "1e3", "²²²", "1448.0", "9" * 5000, "\x1b[0m"])
def test_read_resegment_refuses(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--resegment .*expected auto, off") as raised:
        read_resegment(text)
    assert len(str(raised.value)) < 200
    assert str(raised.value).isprintable()


def test_a_packet_of_one_segment_is_itself() -> None:
    for flags in (ACK, SYN, FIN | ACK, RST, PSH | ACK):
        assert segments(packet(1448, flags, options=12), "auto", 1460) == [Segment(1000, 66, 1448, flags)]
        assert segments(packet(0, flags), "auto", None) == [Segment(1000, 54, 0, flags)]


def test_an_aggregate_is_cut_at_the_mss_less_its_options() -> None:
    found = segments(packet(3000, PSH | ACK | FIN | CWR, options=12, seq=MASK - 1000), "auto", 1460)
    assert found == [
        Segment(MASK - 1000, 66, 1448, ACK | CWR),
        Segment(447, 66 + 1448, 1448, ACK),
        Segment(447 + 1448, 66 + 2896, 104, ACK | FIN | PSH),
    ]


def test_without_a_syn_the_mss_is_ethernets() -> None:
    assert [one.length for one in segments(packet(3000, options=12), "auto", None)] == [1448, 1448, 104]
    six = packet(3000)._replace(src=bytes(16), dst=bytes(16))
    assert [one.length for one in segments(six, "auto", None)] == [1440, 1440, 120]


def test_off_and_a_number() -> None:
    assert segments(packet(64_000), "off", 536) == [Segment(1000, 54, 64_000, ACK)]
    assert [one.length for one in segments(packet(2500, options=12), 1000, 536)] == [1000, 1000, 500]


def test_data_in_a_syn_begins_after_it() -> None:
    found = segments(packet(2000, SYN | PSH), "auto", 1000)
    assert found == [Segment(1000, 54, 1000, SYN), Segment(2001, 1054, 1000, PSH)]


@pytest.mark.parametrize("mss", [1, 40, 87])
def test_a_hostile_mss_has_a_floor(mss: int) -> None:
    found = segments(packet(65_000, options=40), "auto", mss)
    assert {one.length for one in found[:-1]} == {MIN_SEGMENT}
    assert len(found) == -(-65_000 // MIN_SEGMENT)


def test_a_cut_payload_keeps_its_fin_where_it_was() -> None:
    found = segments(packet(3000, FIN | ACK, captured=1600), "auto", 1460)
    assert found == [
        Segment(1000, 54, 1460, ACK),
        Segment(2460, 1514, 140, ACK),
        Segment(4000, 1654, 0, FIN | ACK),
    ]
    assert segments(packet(100, FIN | SYN, captured=0), "off", None) == [
        Segment(1000, 54, 0, SYN),
        Segment(1101, 54, 0, FIN),
    ]
    assert segments(packet(100, ACK, captured=30), "auto", None) == [Segment(1000, 54, 30, ACK)]


def test_a_reset_is_never_cut() -> None:
    assert segments(packet(5000, RST | FIN), "auto", 1000) == [Segment(1000, 54, 5000, RST | FIN)]


@given(
    st.integers(0, 70_000),
    st.integers(0, 0x1FF),
    st.floats(0, 1) | st.just(1.0),
    st.integers(0, 10).map(lambda words: 4 * words),
    st.integers(0, MASK),
    st.sampled_from(["auto", "off", 48, 1000, 1448]),
    st.none() | st.integers(1, 0xFFFF),
)
def test_segments_cover_the_packet(
    length: int, flags: int, share: float, options: int, seq: int, resegment: Resegment, mss: int | None
) -> None:
    captured = int(length * share)
    found = segments(packet(length, flags, captured=captured, options=options, seq=seq), resegment, mss)
    # The bytes present, once and in order, each at its place in the frame and in sequence space.
    assert sum(one.length for one in found) == captured
    at = 0
    for one in found:
        assert one.offset == 54 + options + at
        syn = 1 if flags & SYN and one is not found[0] else 0
        if one.length or one is found[0]:
            assert one.seq == (seq + syn + at) & MASK
        at += one.length
    # FIN stands right after the last byte on the wire, whatever was cut; SYN stands first; neither twice.
    assert [bool(one.flags & SYN) for one in found] == [bool(flags & SYN)] + [False] * (len(found) - 1)
    ends = [one for one in found if one.flags & FIN]
    assert len(ends) == bool(flags & FIN)
    if ends and not flags & RST:
        syn = 1 if flags & SYN else 0
        after = ends[0].seq + (1 if ends[0].flags & SYN else 0) + ends[0].length
        assert after & MASK == (seq + syn + length) & MASK
    kept = 0
    for one in found:
        kept |= one.flags
    assert kept | PSH == flags | PSH
