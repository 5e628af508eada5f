"""pcap as frames, and what every capture reader owes: all that came before damage, then one error that says where."""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Callable
from pathlib import Path

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture_blocks import (
    KUZNETZOV,
    MICROSECONDS,
    NANOSECONDS,
    TLS_KEYS,
    enhanced,
    interface,
    old_packet,
    option,
    pcap_frame,
    pcap_header,
    secrets,
    section,
    simple,
)
from rxtls.errors import CaptureError
from rxtls.wire.capture import Captured, Frame, Interface, Secrets, read_capture
from rxtls.wire.captured import MAX_BLOCK, MAX_FRAME

EXAMPLES = Path(__file__).parents[2] / "examples"

Item = Captured


def read(data: bytes) -> list[Item]:
    return list(read_capture(io.BytesIO(data).read, "made.pcap"))


def frames(data: bytes) -> list[Frame]:
    return [item for item in read(data) if isinstance(item, Frame)]


def read_until_damage(read: Callable[[int], bytes]) -> tuple[list[Item], CaptureError | None]:
    items: list[Item] = []
    try:
        for item in read_capture(read, "made.pcap"):
            items.append(item)
    except CaptureError as error:
        return items, error
    return items, None


def small_reads(data: bytes, sizes: random.Random) -> Callable[[int], bytes]:
    """A source that gives a few bytes at a time, as a pipe may."""
    stream = io.BytesIO(data)
    return lambda n: stream.read(min(n, sizes.choice((1, 2, 3, 7, 40))))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "nanoseconds"), [(MICROSECONDS, 7000), (NANOSECONDS, 7)])
def test_pcap_in_both_byte_orders_and_units(order: str, magic: int, nanoseconds: int) -> None:
    data = pcap_header(order, magic, link_type=113, snap_length=96)
    data += pcap_frame(b"abc", 1_700_000_000, 7, order=order) + pcap_frame(b"", 4_294_967_295, 0, 1500, order)
    assert read(data) == [
        Interface(None, 113, 96, 0, 0),
        Frame(1_700_000_000_000_000_000 + nanoseconds, 0, 113, 3, b"abc"),
        Frame(4_294_967_295_000_000_000, 0, 113, 1500, b""),
    ]


@pytest.mark.parametrize("order", ["<", ">"])
def test_kuznetzov_pcap_has_eight_more_bytes_per_frame(order: str) -> None:
    data = pcap_header(order, KUZNETZOV)
    data += pcap_frame(b"one", 1, 2, order=order, extra=b"\xee" * 8) + pcap_frame(b"two", order=order, extra=bytes(8))
    assert [(frame.time_ns, frame.data) for frame in frames(data)] == [(1_000_002_000, b"one"), (0, b"two")]


def test_a_pcap_of_no_frames_is_sound() -> None:
    assert read(pcap_header()) == [Interface(None, 1, 65535, 0, 0)]


def test_the_frame_check_sequence_bits_are_not_link_type() -> None:
    assert frames(pcap_header(link_type=0x5400_0001) + pcap_frame(b"x"))[0].link_type == 1


def test_a_wire_length_below_the_captured_is_lifted_to_it() -> None:
    assert frames(pcap_header() + pcap_frame(b"four", wire=0))[0].wire_length == 4


def test_frames_are_not_sorted() -> None:
    data = pcap_header() + b"".join(pcap_frame(b"", seconds) for seconds in (5, 3, 4, 3))
    assert [frame.time_ns // 10**9 for frame in frames(data)] == [5, 3, 4, 3]


def test_a_frame_at_the_bound_is_read_and_one_above_is_not() -> None:
    data = pcap_header(magic=MICROSECONDS) + pcap_frame(bytes(MAX_FRAME))
    assert len(frames(data)[0].data) == MAX_FRAME
    items, error = read_until_damage(io.BytesIO(data + pcap_frame(bytes(MAX_FRAME + 1))).read)
    assert len(items) == 2
    assert error is not None
    assert error.offset == len(data)
    assert "bound" in error.cause


@pytest.mark.parametrize(
    ("data", "offset", "words"),
    [
        (b"", 0, "empty"),
        (b"\xd4\xc3\xb2", 0, "not a capture"),
        (b"CLIENT_RANDOM 00", 0, "not a capture"),
        (bytes(100), 0, "not a capture"),
        (pcap_header()[:23], 0, "file header is truncated"),
        (pcap_header(major=3), 4, "version 3.4"),
        (pcap_header() + pcap_frame(b"abc")[:15], 24, "truncated in a frame header: 15 of 16"),
        (pcap_header() + pcap_frame(b"abc") + pcap_frame(b"abcdef")[:-2], 43, "truncated in a frame: 4 of 6"),
    ],
)
def test_damage_says_where_and_why_in_one_line(data: bytes, offset: int, words: str) -> None:
    _, error = read_until_damage(io.BytesIO(data).read)
    assert error is not None
    assert (error.file, error.offset) == ("made.pcap", offset)
    assert words in error.cause
    assert "\n" not in str(error)


def test_an_example_capture_reads_as_dpkt_reads_it() -> None:
    data = (EXAMPLES / "reorder-tls12-aes128cbc-sha256.pcap").read_bytes()
    expected = [(time, bytes(frame)) for time, frame in dpkt.pcap.Reader(io.BytesIO(data))]
    assert len(expected) > 1000
    assert [frame.data for frame in frames(data)] == [frame for _, frame in expected]
    assert [frame.time_ns / 1e9 for frame in frames(data)] == pytest.approx([float(t) for t, _ in expected], abs=1e-6)


@given(
    st.lists(st.tuples(st.binary(max_size=300), st.integers(0, 2**32 - 1), st.integers(0, 999_999_999))),
    st.sampled_from("<>"),
)
def test_what_was_packed_is_read_back(packets: list[tuple[bytes, int, int]], order: str) -> None:
    data = pcap_header(order, NANOSECONDS)
    data += b"".join(pcap_frame(frame, seconds, fraction, order=order) for frame, seconds, fraction in packets)
    assert [(f.data, *divmod(f.time_ns, 10**9)) for f in frames(data)] == packets


MIXED = (
    section()
    + interface(1, options=option(2, b"eth0") + option(0, b""))
    + enhanced(b"first frame", 1_700_000_000_000_000, options=option(1, b"a comment"))
    + secrets(b"CLIENT_RANDOM 00 11\n")
    + simple(b"second")
    + section(">")
    + interface(101, 64, option(9, b"\x09", ">"), ">")
    + old_packet(b"third frame", 1_700_000_000_000_000_001, order=">")
    + enhanced(b"fourth", 1_700_000_000_000_000_002, order=">")
)
PLAIN = pcap_header() + b"".join(pcap_frame(bytes([n]) * n, n, n) for n in range(1, 9))


def boundaries(data: bytes) -> dict[int, int]:
    """Where each frame header or block of a sound capture begins (and the end), and how many items come before."""
    places = {len(data): len(read(data))}
    if data == PLAIN:
        at, count = 24, 1
        places[at] = count
        while at < len(data):
            at += 16 + struct.unpack_from("<I", data, at + 8)[0]
            count += 1
            places[at] = count
        return places
    at = count = 0
    order = "<"
    while at < len(data):
        kind = data[at : at + 4]
        if kind == b"\x0a\x0d\x0d\x0a":
            order = "<" if data[at + 8] == 0x4D else ">"
        places[at] = count
        count += kind != b"\x0a\x0d\x0d\x0a"
        at += struct.unpack_from(order + "I", data, at + 4)[0]
    return places


@pytest.mark.parametrize("data", [PLAIN, MIXED], ids=["pcap", "pcapng"])
def test_cut_anywhere_everything_before_the_cut_comes_out(data: bytes) -> None:
    whole, places = read(data), boundaries(data)
    assert len(places) > 8
    for cut in range(len(data)):
        items, error = read_until_damage(io.BytesIO(data[:cut]).read)
        below = max((place for place in places if place <= cut), default=0)
        assert items == whole[: places.get(below, 0)]
        assert (error is None) == (cut in places and cut > 0)
        if error is not None:
            assert error.offset == below


@pytest.mark.parametrize("data", [PLAIN, MIXED], ids=["pcap", "pcapng"])
def test_how_the_bytes_arrive_does_not_matter(data: bytes) -> None:
    sizes = random.Random(7)
    for _ in range(20):
        assert read_until_damage(small_reads(data, sizes)) == (read(data), None)
    assert read_until_damage(small_reads(data[:-1], sizes))[0] == read(data)[:-1]


@pytest.mark.parametrize("data", [PLAIN, MIXED], ids=["pcap", "pcapng"])
def test_frames_longer_than_a_read_are_put_together(data: bytes) -> None:
    long = pcap_frame(bytes(200_000)) if data == PLAIN else enhanced(bytes(200_000), order=">")
    assert len(read(data + long * 5)) == len(read(data)) + 5


@pytest.mark.parametrize("data", [PLAIN, MIXED], ids=["pcap", "pcapng"])
def test_mutated_captures_raise_nothing_but_capture_error(data: bytes) -> None:
    """What lies before the first changed byte is delivered unchanged."""
    chance = random.Random(20)
    whole, places = read(data), boundaries(data)
    damaged = 0
    for _ in range(3000):
        mutated = bytearray(data)
        changed = [chance.randrange(len(data)) for _ in range(chance.choice((1, 1, 2, 5)))]
        for place in changed:
            mutated[place] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        if chance.random() < 0.2:
            place = chance.randrange(len(data))
            changed.append(place)
            mutated[place : place + chance.randrange(1, 9)] = chance.randbytes(chance.randrange(9))
        items, error = read_until_damage(io.BytesIO(bytes(mutated)).read)
        damaged += error is not None
        untouched = max((n for place, n in places.items() if place <= min(changed)), default=0)
        assert items[:untouched] == whole[:untouched]
        for item in items:
            if isinstance(item, Frame):
                assert len(item.data) <= min(MAX_FRAME, item.wire_length)
                assert -(2**63) <= item.time_ns < 2**63
    assert damaged > 300


@given(st.binary(max_size=400))
def test_noise_behind_a_magic_number_raises_nothing_but_capture_error(noise: bytes) -> None:
    for begin in (b"", pcap_header(), pcap_header(">", NANOSECONDS), section(), section() + interface()):
        items, error = read_until_damage(io.BytesIO(begin + noise).read)
        assert error is not None or items or not noise


def test_no_more_is_asked_for_than_one_block_and_what_it_takes() -> None:
    """Memory is bounded: a block that claims to be huge is refused before it is fetched."""
    asked: list[int] = []

    def endless(n: int) -> bytes:
        asked.append(n)
        return (section() if len(asked) == 1 else b"") + struct.pack("<II", 9, MAX_BLOCK + 4) * 64

    items, error = read_until_damage(endless)
    assert items == []
    assert error is not None
    assert "bound" in error.cause
    assert sum(asked) < 1 << 20


def test_what_the_source_raises_comes_through_after_the_frames() -> None:
    parts = iter([PLAIN])

    def breaking(n: int) -> bytes:
        for part in parts:
            return part
        raise CaptureError("made.pcap", 99, "the disk is gone")

    items, error = read_until_damage(breaking)
    assert items == read(PLAIN)
    assert error is not None
    assert error.cause == "the disk is gone"


def test_secrets_stay_out_of_repr() -> None:
    assert "hidden" not in repr(Secrets(TLS_KEYS, b"hidden"))
