"""pcapng block by block, and the cheap walk that looks for secrets only."""

from __future__ import annotations

import io
import random
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any, cast

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.utils import RawPcapNgReader

from capture_blocks import TLS_KEYS, block, enhanced, interface, old_packet, option, secrets, section, simple
from rxtls.errors import CaptureError
from rxtls.wire import pcapng
from rxtls.wire.capture import Captured, Frame, Interface, Secrets, read_capture
from rxtls.wire.captured import MAX_BLOCK, MAX_FRAME, MAX_INTERFACES, MAX_NAME, Tick

RESOLUTION, OFFSET, NAME, END = 9, 14, 2, option(0, b"")


def read(data: bytes) -> list[Captured]:
    return list(read_capture(io.BytesIO(data).read, "made.pcapng"))


def frames(data: bytes) -> list[Frame]:
    return [item for item in read(data) if isinstance(item, Frame)]


def interfaces(data: bytes) -> list[Interface]:
    return [item for item in read(data) if isinstance(item, Interface)]


def damage(data: bytes) -> CaptureError:
    with pytest.raises(CaptureError) as caught:
        read(data)
    return caught.value


def scan(data: bytes) -> list[Secrets]:
    file = io.BytesIO(data)
    return list(pcapng.scan_secrets(file.read, lambda n: file.seek(n, io.SEEK_CUR)))


@pytest.mark.parametrize("order", ["<", ">"])
def test_every_kind_of_packet_block(order: str) -> None:
    data = (
        section(order)
        + interface(113, 0, option(NAME, b"wlan0", order) + END, order)
        + enhanced(b"enhanced", 1_000_001, options=option(1, b"a comment", order), order=order)
        + old_packet(b"old", 2_000_002, wire=60, order=order)
        + simple(b"simple", order=order)
        + enhanced(b"", 3, wire=1500, order=order)
    )
    assert read(data) == [
        Interface("wlan0", 113, 0, 0, 0),
        Frame(1_000_001_000, 0, 113, 8, b"enhanced"),
        Frame(2_000_002_000, 0, 113, 60, b"old"),
        Frame(2_000_002_000, 0, 113, 6, b"simple"),
        Frame(3_000, 0, 113, 1500, b""),
    ]


@pytest.mark.parametrize(
    ("resolution", "ticks", "nanoseconds"),
    [
        (0, 5, 5_000_000_000),
        (3, 5, 5_000_000),
        (6, 5, 5_000),
        (9, 5, 5),
        (12, 5_999, 5),
        (127, 5, 0),
        (0x80 | 0, 5, 5_000_000_000),
        (0x80 | 1, 5, 2_500_000_000),
        (0x80 | 32, 1 << 31, 500_000_000),
        (0x80 | 127, 1 << 63, 0),
    ],
)
def test_time_resolution_in_powers_of_ten_and_two(resolution: int, ticks: int, nanoseconds: int) -> None:
    described = section() + interface(options=option(RESOLUTION, bytes([resolution])))
    assert frames(described + enhanced(b"", ticks))[0].time_ns == nanoseconds
    assert frames(described + old_packet(b"", ticks))[0].time_ns == nanoseconds


@pytest.mark.parametrize("order", ["<", ">"])
def test_time_offset_is_seconds_and_signed(order: str) -> None:
    options = option(OFFSET, struct.pack(order + "q", -3), order) + option(RESOLUTION, b"\x09", order)
    data = section(order) + interface(options=options, order=order) + enhanced(b"", 5_000_000_007, order=order)
    assert frames(data)[0].time_ns == 2_000_000_007


def test_a_time_that_fits_no_64_bits_is_that_of_the_packet_before() -> None:
    data = section() + interface(options=option(RESOLUTION, b"\0"))
    data += enhanced(b"a", 7) + enhanced(b"b", 2**64 - 1) + old_packet(b"c", 2**64 - 1) + enhanced(b"d", 8)
    assert [frame.time_ns // 10**9 for frame in frames(data)] == [7, 7, 7, 8]


def test_a_simple_packet_holds_the_smaller_of_length_and_snap_length() -> None:
    data = section() + interface(snap_length=5)
    assert frames(data + simple(b"12345", wire=1500))[0] == Frame(0, 0, 1, 1500, b"12345")
    assert frames(data + simple(b"123", wire=3))[0] == Frame(0, 0, 1, 3, b"123")
    # without a snap length the block's own room is all that is known
    assert frames(section() + interface() + simple(b"1234", wire=1500))[0] == Frame(0, 0, 1, 1500, b"1234")


def test_sections_have_their_own_byte_order_and_interfaces() -> None:
    data = section("<") + interface(1) + interface(101, options=option(NAME, b"tun0"))
    data += enhanced(b"a", 1, interface=1)
    data += section(">") + interface(113, options=option(RESOLUTION, b"\x09", ">"), order=">")
    data += enhanced(b"b", 2, order=">")
    data += section("<") + interface(276) + enhanced(b"c", 3)
    assert interfaces(data) == [
        Interface(None, 1, 0, 0, 0),
        Interface("tun0", 101, 0, 0, 1),
        Interface(None, 113, 0, 1, 0),
        Interface(None, 276, 0, 2, 0),
    ]
    assert [(f.time_ns, f.interface, f.link_type, f.data) for f in frames(data)] == [
        (1000, 1, 101, b"a"),
        (2, 2, 113, b"b"),
        (3000, 3, 276, b"c"),
    ]


def test_packets_may_alternate_between_interfaces() -> None:
    data = section() + interface(1) + interface(101, options=option(RESOLUTION, b"\x09"))
    data += b"".join(enhanced(b"", n, interface=n % 2) for n in range(6))
    assert [(f.interface, f.time_ns) for f in frames(data)] == [(0, 0), (1, 1), (0, 2000), (1, 3), (0, 4000), (1, 5)]


def test_unknown_blocks_are_stepped_over() -> None:
    unknown = block(0x0BAD, b"custom!!") + block(4, bytes(400)) + block(5, b"statistics..") + block(0x80000001, b"")
    data = section(options=option(3, b"an OS")) + unknown + interface() + unknown + enhanced(b"x") + unknown
    assert [frame.data for frame in frames(data)] == [b"x"]


def test_a_section_length_that_lies_is_not_believed() -> None:
    data = section(length=4) + interface() + enhanced(b"x")
    assert [frame.data for frame in frames(data)] == [b"x"]


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (b"eth0", "eth0"),
        (b"eth0\0junk", "eth0"),
        ("schnittstelle-ä".encode(), "schnittstelle-ä"),
        (b"\xff\x1b[31m", "\ufffd\ufffd[31m"),
        (b"x" * 60_000, "x" * MAX_NAME),
    ],
)
def test_interface_names_are_fit_to_print(value: bytes, name: str) -> None:
    assert interfaces(section() + interface(options=option(NAME, value)))[0].name == name


def test_secrets_come_in_their_place_whatever_their_kind() -> None:
    data = section() + interface() + enhanced(b"a") + secrets(b"KEYS", TLS_KEYS) + secrets(b"ssh", 0x5353484B)
    assert read(data + enhanced(b"b"))[2:4] == [Secrets(TLS_KEYS, b"KEYS"), Secrets(0x5353484B, b"ssh")]


PREFIX = section() + interface()
HERE = len(PREFIX)


@pytest.mark.parametrize(
    ("bad", "offset", "words"),
    [
        (block(6, bytes(20), length=11), 0, "not a multiple of 4"),
        (block(6, bytes(20), length=8), 0, "at least 32"),
        (block(9, b"", length=0), 0, "at least 12"),
        (block(9, b"", length=MAX_BLOCK + 4), 0, f"the bound is {MAX_BLOCK}"),
        (block(9, b"data", trailer=20), 0, "two lengths differ"),
        (block(6, bytes(16)), 0, "at least 32"),
        (block(2, bytes(16)), 0, "at least 32"),
        (block(3, b""), 0, "at least 16"),
        (block(1, b"\1\0\0\0"), 0, "at least 20"),
        (block(10, b"\1\0\0\0"), 0, "at least 20"),
        (block(0x0A0D0D0A, b"\x4d\x3c\x2b\x1a"), 0, "at least 28"),
        (block(0x0A0D0D0A, bytes(16)), 8, "byte-order magic"),
        (section(major=2), 0, "version 2.0"),
        (enhanced(b"abcd", interface=1), 0, "interface 1 of a section that has described 1"),
        (old_packet(b"abcd", interface=7), 0, "interface 7"),
        (section() + simple(b"abcd"), 28, "interface 0 of a section that has described 0"),
        (enhanced(b"abcd", captured=5), 0, "5 captured bytes in a block that has room for 4"),
        (enhanced(bytes(MAX_FRAME + 1)), 0, f"the bound is {MAX_FRAME}"),
        (old_packet(bytes(MAX_FRAME + 1)), 0, f"the bound is {MAX_FRAME}"),
        (simple(bytes(MAX_FRAME + 1)), 0, f"the bound is {MAX_FRAME}"),
        (secrets(b"abcd", size=5), 0, "room for 4"),
        (interface(options=b"\x02\x00\xff\x00name"), 16, "option 2 of 255 bytes runs over"),
        (interface(options=option(RESOLUTION, b"\x06\x06")), 16, "if_tsresol of 2"),
        (interface(options=option(OFFSET, b"\0" * 4)), 16, "if_tsoffset of 4"),
    ],
)
def test_a_block_that_contradicts_itself_ends_the_file(bad: bytes, offset: int, words: str) -> None:
    error = damage(PREFIX + bad + enhanced(b"never read"))
    assert error.offset == HERE + offset
    assert words in error.cause
    assert "\n" not in str(error)


def test_the_frame_bound_itself_is_met() -> None:
    data = PREFIX + enhanced(bytes(MAX_FRAME)) + old_packet(bytes(MAX_FRAME)) + simple(bytes(MAX_FRAME))
    assert [len(frame.data) for frame in frames(data)] == [MAX_FRAME] * 3


def test_a_block_at_the_bound_is_stepped_over() -> None:
    assert len(frames(PREFIX + block(9, bytes(MAX_BLOCK - 12)) + enhanced(b"x"))) == 1


def test_the_number_of_interfaces_is_bounded_over_all_sections() -> None:
    half = section() + interface() * (MAX_INTERFACES // 2)
    assert len(interfaces(half + half)) == MAX_INTERFACES
    assert f"more than {MAX_INTERFACES} interfaces" in damage(half + half + interface()).cause


def test_the_bytes_of_secrets_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pcapng, "MAX_SECRETS", 100)
    data = PREFIX + secrets(bytes(60)) + secrets(bytes(40))
    assert [len(found.data) for found in scan(data)] == [60, 40]
    assert "more than 100 bytes of secrets" in damage(data + secrets(b"1")).cause
    assert len(scan(data + secrets(b"1"))) == 2


packet = st.tuples(st.binary(max_size=80), st.integers(0, 2**63 // 1000 - 1))


@given(st.lists(packet, max_size=20), st.sampled_from("<>"))
def test_agrees_with_scapy_and_dpkt(packets: list[tuple[bytes, int]], order: str) -> None:
    data = section(order) + interface(order=order)
    data += b"".join(enhanced(frame, ticks, wire=len(frame) + 9, order=order) for frame, ticks in packets)
    ours = [(frame.data, frame.time_ns // 1000, frame.wire_length) for frame in frames(data)]
    scapy: Any = RawPcapNgReader(cast(Any, io.BytesIO(data)))
    theirs = [(frame, about.tshigh << 32 | about.tslow, about.wirelen) for frame, about in scapy]
    assert ours == theirs
    assert [frame for frame, _, _ in ours] == [bytes(frame) for _, frame in dpkt.pcapng.Reader(io.BytesIO(data))]


def test_agrees_with_tshark_on_numbers_times_and_lengths(tmp_path: Path) -> None:
    tshark = shutil.which("tshark")
    if tshark is None:
        pytest.skip("tshark is not installed")
    binary = option(RESOLUTION, b"\x94")
    shifted = option(RESOLUTION, b"\x09", ">") + option(OFFSET, struct.pack(">q", -3), ">")
    data = section() + interface(options=binary) + interface()
    data += enhanced(bytes(60), 5 << 20 | 1 << 19) + block(4, bytes(4)) + secrets(b"\n") + simple(bytes(20))
    data += enhanced(bytes(61), 7_000_001, interface=1) + old_packet(bytes(30), 6 << 20, wire=90)
    data += section(">") + interface(101, 64, shifted, ">")
    data += enhanced(bytes(40), 10_000_000_001, order=">") + simple(bytes(64), wire=99, order=">")
    (tmp_path / "made.pcapng").write_bytes(data)
    fields = ["frame.number", "frame.time_epoch", "frame.cap_len", "frame.len"]
    command = [tshark, "-n", "-r", str(tmp_path / "made.pcapng"), "-T", "fields", *(f"-e{field}" for field in fields)]
    printed = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    theirs = [line.split("\t") for line in printed.splitlines()]
    ours = [
        [str(number), f"{frame.time_ns / 1e9:.9f}", str(len(frame.data)), str(frame.wire_length)]
        for number, frame in enumerate(frames(data), 1)
    ]
    assert [row[1] for row in theirs if row[1]] == [ours[n][1] for n in (0, 2, 3, 4)]
    assert [[row[0], *row[2:]] for row in theirs] == [[row[0], *row[2:]] for row in ours]


def test_what_dpkt_writes_is_read() -> None:
    file = io.BytesIO()
    writer = dpkt.pcapng.Writer(file, linktype=101)
    for n in range(20):
        writer.writepkt(bytes([n]) * n, ts=1_700_000_000 + n / 4)
    read_back = frames(file.getvalue())
    assert [frame.data for frame in read_back] == [bytes([n]) * n for n in range(20)]
    assert [frame.time_ns for frame in read_back] == [1_700_000_000_000_000_000 + n * 250_000_000 for n in range(20)]


@given(
    st.lists(
        st.one_of(
            st.builds(enhanced, st.binary(max_size=50)),
            st.builds(secrets, st.binary(max_size=50)),
            st.builds(block, st.sampled_from([4, 5, 9, 0x0BAD]), st.binary(max_size=50)),
            st.just(PREFIX),
        )
    )
)
def test_the_scan_finds_the_secrets_the_reader_finds(blocks: list[bytes]) -> None:
    data = PREFIX + b"".join(blocks)
    assert scan(data) == [item for item in read(data) if isinstance(item, Secrets)]


def test_the_scan_steps_over_what_it_need_not_see() -> None:
    data = PREFIX + enhanced(bytes(1_000_000)) * 8 + secrets(b"KEYS")
    file = io.BytesIO(data)
    fetched = 0

    def counted(n: int) -> bytes:
        nonlocal fetched
        part = file.read(n)
        fetched += len(part)
        return part

    assert list(pcapng.scan_secrets(counted, lambda n: file.seek(n, io.SEEK_CUR))) == [Secrets(TLS_KEYS, b"KEYS")]
    assert fetched < len(data) // 8


def test_the_scan_is_silent_about_damage_and_keeps_what_came_before() -> None:
    data = (
        PREFIX + secrets(b"first") + enhanced(b"x" * 30) + section(">") + secrets(b"second", order=">") + enhanced(b"")
    )
    assert [found.data for found in scan(data)] == [b"first", b"second"]
    assert scan(b"") == scan(b"\xd4\xc3\xb2\xa1" + bytes(40)) == []
    chance = random.Random(3)
    for _ in range(2000):
        mutated = bytearray(data[: chance.randrange(len(data) + 1)])
        for _ in range(chance.randrange(3) if mutated else 0):
            mutated[chance.randrange(len(mutated))] = chance.choice((0, 0xFF, chance.randrange(256)))
        assert sum(len(found.data) for found in scan(bytes(mutated))) <= len(data)


def statistics(ticks: int, comment: bytes, order: str = "<", interface: int = 0) -> bytes:
    head = struct.pack(order + "III", interface, ticks >> 32, ticks & 0xFFFF_FFFF)
    return block(5, head + (option(1, comment, order) if comment else b""), order)


@pytest.mark.parametrize("order", ["<", ">"])
def test_statistics_are_a_tick_where_their_comment_says_so(order: str) -> None:
    nanoseconds = option(RESOLUTION, b"\x09", order) + END
    data = (
        section(order)
        + interface(order=order)
        + interface(options=nanoseconds, order=order)
        + statistics((1 << 40) + 7, b"rxtls tick", order)
        + enhanced(b"frame", order=order)
        + statistics(8, b"rxtls tick of job 2", order, 1)
        + statistics(9, b"another comment", order)
        + statistics(9, b"", order)
        + statistics(9, b"rxtls tick", order, 2)
        + statistics(9, b"rxtls tic", order)
        + block(5, b"", order)
    )
    items = read(data)
    assert items[2] == Tick(((1 << 40) + 7) * 1000)
    assert isinstance(items[3], Frame)
    assert items[4:] == [Tick(8)]
