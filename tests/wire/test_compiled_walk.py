"""Compiled walks, with the plain readers taking what they leave, read every capture as the plain readers do."""

from __future__ import annotations

import ctypes
import io
import mmap
import struct
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture_blocks import (
    KUZNETZOV,
    MICROSECONDS,
    NANOSECONDS,
    block,
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
from hostile_bytes import damage
from rxtls.errors import CaptureError
from rxtls.wire.capture import Frame, read_capture
from rxtls.wire.captured import MAX_BLOCK, MAX_FRAME, Interface, Window
from rxtls.wire.compiled.columns import FrameRow, Frames, PacketRow
from rxtls.wire.compiled.parse import packet_of
from rxtls.wire.compiled.walk import FULL, LATER, MORE, OTHER, PcapngWalker, PcapWalker
from rxtls.wire.frame import parse
from rxtls.wire.pcap import MAGICS, PcapReader
from rxtls.wire.pcapng import PcapngReader

TESTS = Path(__file__).parent.parent
CAPTURES = [*sorted((TESTS / "data" / "real").glob("*.pcap*")), *sorted((TESTS.parent / "examples").glob("*.pcap"))]
INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1
LATE = 1_700_000_000_000_000_000


def array(data: bytes) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.frombuffer(data, np.uint8)


class Driver:
    """A capture read by the walker as far as it comes. `step`: bytes that are added to what is there at a time."""

    def __init__(self, data: bytes, step: int = 1 << 30, most: int = 4096) -> None:
        self.data = data
        self.step = step
        self.most = most
        self.taken = 0  # frames that the plain reader took
        self.walker: PcapWalker | PcapngWalker | None = None
        self.reader: PcapReader | PcapngReader = PcapReader() if data[:4] in MAGICS else PcapngReader()

    def frames(self) -> Iterator[tuple[int, Frame]]:
        """(index, frame), up to the end or the CaptureError. Each is held against the plain parser."""
        data, at, end, index = self.data, 0, 0, 0
        view = array(data)
        while True:
            reason = OTHER
            if self.walker is not None:
                frames, at, reason = self.walker.walk(view, at, end, index)
                for n, frame in enumerate(objects(frames)):
                    assert packet_of(frames, n) == parse(frame.link_type, frame.data, frame.wire_length)
                    yield int(frames.table[n, FrameRow.INDEX]), frame
                assert frames.table[:, FrameRow.INDEX].tolist() == list(range(index, index + len(frames.table)))
                index += len(frames.table)
                assert (len(frames.table) == self.most) == (reason == FULL)
                if reason == MORE and end < len(data):
                    assert self.walker.need > end - at
                    end = min(len(data), max(end + self.step, at + self.walker.need))
                elif reason == MORE:
                    reason = OTHER
            if reason == OTHER:
                window = Window(io.BytesIO().read, "capture")
                window.data = data
                self._tell(before=True)
                taken = self.reader.take(window, at)
                if taken is None:
                    return
                at = window.base + taken.stop
                end = max(end, at)
                if isinstance(taken.item, Frame):
                    self.taken += 1
                    yield index, taken.item
                    index += 1
                self._tell(item=taken.item)

    def _tell(self, item: object = None, before: bool = False) -> None:
        """Carry between reader and walker what both must know."""
        reader = self.reader
        if isinstance(reader, PcapReader):
            if self.walker is None and not before:
                self.walker = PcapWalker(reader, 0, most=self.most)
            return
        if self.walker is None:
            self.walker = PcapngWalker(most=self.most)
        assert isinstance(self.walker, PcapngWalker)
        if before:
            reader.last = self.walker.last
            return
        self.walker.last = reader.last
        if isinstance(item, Interface):
            _, *clock = reader.clocks[-1]
            self.walker.interface(reader.clocks[-1].number, clock[0], *clock[2:])
        elif not reader.clocks:
            self.walker.section(reader.order)


class Outcome(NamedTuple):
    """What is in a capture, and where and why it ends early."""

    frames: list[Frame]
    damage: tuple[int | None, str] | None


def objects(frames: Frames) -> list[Frame]:
    data = frames.data.tobytes()
    return [
        Frame(time_ns, interface, link_type, wire, data[offset : offset + length], flags)
        for _, time_ns, interface, link_type, wire, offset, length, flags in frames.table.tolist()
    ]


def plain(data: bytes) -> Outcome:
    found: list[Frame] = []
    try:
        for item in read_capture(io.BytesIO(data).read, "capture"):
            if isinstance(item, Frame):
                found.append(item)
    except CaptureError as failure:
        return Outcome(found, (failure.offset, failure.cause))
    return Outcome(found, None)


def compiled(data: bytes, step: int = 1 << 30, most: int = 4096) -> Outcome:
    found: list[Frame] = []
    try:
        for index, frame in Driver(data, step, most).frames():
            assert index == len(found)
            found.append(frame)
    except CaptureError as failure:
        return Outcome(found, (failure.offset, failure.cause))
    return Outcome(found, None)


def agree(data: bytes, step: int = 1 << 30, most: int = 4096) -> Outcome:
    outcome = plain(data)
    assert compiled(data, step, most) == outcome
    return outcome


# --- whole captures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.name)
def test_captures(path: Path) -> None:
    data = path.read_bytes()[:300_000]
    dice = Random(path.name)
    outcome = agree(data, most=64)
    assert outcome.frames
    data = data[: dice.randrange(4, 20_000)]
    agree(data, dice.choice((1, 7, 200, 3000)), dice.choice((1, 2, 50)))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("magic", [MICROSECONDS, NANOSECONDS, KUZNETZOV])
def test_every_pcap_cut_anywhere(order: str, magic: int) -> None:
    extra = bytes(8) if magic == KUZNETZOV else b""
    data = pcap_header(order, magic, link_type=0x1000_0071) + b"".join(
        pcap_frame(bytes(length), 0xFFFF_FFFF - length, 0xFFFF_FFFF, wire, order, extra)
        for length, wire in ((0, 0), (60, 0), (3, 1500), (1, 0xFFFF_FFFF))
    )
    outcome = agree(data)
    assert outcome.damage is None
    assert [frame.link_type for frame in outcome.frames] == [113] * 4
    for end in range(4, len(data)):
        agree(data[:end], step=end % 7 + 1)


@pytest.mark.parametrize("order", ["<", ">"])
def test_every_pcapng_block_cut_anywhere(order: str) -> None:
    data = section(order) + block(0x0BAD, b"", order) + interface(1, order=order)
    data += enhanced(b"first", 7, order=order, options=option(1, b"comment", order)) + simple(b"simple", order=order)
    data += interface(113, 40, option(9, b"\x09", order), order) + secrets(b"KEYS", order=order)
    data += enhanced(b"", 8, 1, wire=1500, order=order) + old_packet(b"old", 9, order=order) + block(7, b"", order)
    data += section("<") + interface(276) + enhanced(bytes(20), 10) + block(8, b"")
    assert [len(frame.data) for frame in agree(data).frames] == [5, 6, 0, 3, 20]
    for end in range(4, len(data)):
        agree(data[:end], step=end % 5 + 1)


@pytest.mark.parametrize(
    "bad",
    [
        block(6, bytes(20), length=11),
        block(6, bytes(20), length=8),
        block(6, bytes(16)),
        block(6, bytes(20), trailer=36),
        block(6, b"", length=MAX_BLOCK + 4),
        block(9, b"", length=0),
        enhanced(b"abcd", interface=1),
        enhanced(b"abcd", interface=0xFFFF_FFFF),
        enhanced(b"abcd", captured=5),
        enhanced(b"abcd", captured=0xFFFF_FFFF),
        enhanced(bytes(MAX_FRAME + 1)),
    ],
)
def test_damaged_blocks_are_the_plain_readers(bad: bytes) -> None:
    outcome = agree(section() + interface() + enhanced(b"x", 1) + bad + enhanced(b"y", 2))
    assert len(outcome.frames) == 1
    assert outcome.damage is not None


def test_the_frame_bound_itself_is_walked() -> None:
    driver = Driver(section() + interface() + enhanced(bytes(MAX_FRAME)))
    assert [len(frame.data) for _, frame in driver.frames()] == [MAX_FRAME]
    assert driver.taken == 0
    assert agree(pcap_header() + pcap_frame(bytes(MAX_FRAME)) + pcap_frame(bytes(MAX_FRAME + 1))).damage is not None


RESOLUTIONS = [
    b"",
    *(bytes([n]) for n in (0, 3, 6, 9, 10, 12, 18, 19, 28, 127, 0x80, 0x8A, 0xA0, 0xA1, 0xA2, 0xBF, 0xFF)),
]
TICKS = [0, 1, 999, 10**9, 1 << 31, 1 << 32, (1 << 62) - 1, INT64_MAX - 1, INT64_MAX, 1 << 63, (1 << 64) - 1]
TICKS += [INT64_MAX // unit + n for unit in (10**3, 10**6, 10**9) for n in (-1, 0, 1)] + [LATE, LATE // 1000]
OFFSETS = [0, 1, -1, 3600, 9_223_372_036, -9_223_372_036, 9_223_372_037, -9_223_372_037, INT64_MAX, INT64_MIN]


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_times_at_the_edges_of_every_clock(resolution: bytes) -> None:
    data = section()
    for number, seconds in enumerate(OFFSETS):
        options = option(14, struct.pack("<q", seconds)) + (option(9, resolution) if resolution else b"")
        data += interface(options=options)
        data += b"".join(enhanced(b"x", ticks, number) for ticks in TICKS) + simple(b"y")
    outcome = agree(data)
    assert outcome.damage is None
    assert len(outcome.frames) == len(OFFSETS) * (len(TICKS) + 1)


@pytest.mark.parametrize("resolution", [b"", b"\x03", b"\x09", b"\x8a", b"\x9e"])
def test_frequent_clocks_are_compiled(resolution: bytes) -> None:
    options = option(9, resolution) if resolution else b""
    multiply = {b"": 10**6, b"\x09": 10**9, b"\x03": 10**3, b"\x8a": 2**10, b"\x9e": 2**30}[resolution]
    ticks = LATE * multiply // 10**9
    driver = Driver(section() + interface(options=options) + enhanced(b"a", ticks) + enhanced(b"b", ticks + 1))
    times = [frame.time_ns for _, frame in driver.frames()]
    assert abs(times[0] - LATE) <= 10**9 // multiply + 1
    assert driver.taken == 0


BLOCKS = st.lists(
    st.tuples(
        st.sampled_from(["enhanced"] * 5 + ["old", "simple", "interface", "section", "secrets", "other"]),
        st.integers(0, 2),
        st.sampled_from(TICKS) | st.integers(0, 1 << 64).map(lambda n: min(n, (1 << 64) - 1)),
        st.binary(max_size=40),
        st.integers(0, 100),
    ),
    max_size=25,
)


def made(blocks: list[tuple[str, int, int, bytes, int]]) -> bytes:
    order = "<"
    parts = [section(order), interface(order=order), interface(113, 30, option(9, b"\x09", order), order)]
    for kind, number, ticks, data, wire in blocks:
        match kind:
            case "enhanced":
                parts.append(enhanced(data, ticks, number % 2, wire, option(1, data, order), order))
            case "old":
                parts.append(old_packet(data, ticks, number % 2, wire, order))
            case "simple":
                parts.append(simple(data, order=order))
            case "interface":
                resolution = RESOLUTIONS[1:][ticks % (len(RESOLUTIONS) - 1)]
                offset = struct.pack(order + "q", OFFSETS[wire % len(OFFSETS)])
                options = option(9, resolution, order) + option(14, offset, order)
                parts.append(interface(number, wire, options, order))
            case "section":
                order = "<>"[number % 2]
                parts += [section(order), interface(101, order=order), interface(1, order=order)]
            case "secrets":
                parts.append(secrets(data, order=order))
            case _:
                parts.append(block(0x0BAD, data, order))
    return b"".join(parts)


@given(BLOCKS, st.integers(1, 300), st.integers(1, 5))
def test_any_blocks(blocks: list[tuple[str, int, int, bytes, int]], step: int, most: int) -> None:
    assert agree(made(blocks), step, most).damage is None


@settings(max_examples=200)
@given(BLOCKS, BLOCKS, st.integers(0, 1 << 30), st.integers(1, 300))
def test_damaged_blocks(
    blocks: list[tuple[str, int, int, bytes, int]], donor: list[tuple[str, int, int, bytes, int]], seed: int, step: int
) -> None:
    data = made(blocks)
    data = data[:12] + damage(data[12:], made(donor), Random(seed))
    agree(data, step, most=3)


@given(
    st.lists(st.tuples(st.binary(max_size=60), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)), max_size=15),
    st.sampled_from("<>"),
    st.sampled_from([MICROSECONDS, NANOSECONDS, KUZNETZOV]),
    st.integers(0, 1 << 30) | st.none(),
    st.integers(1, 300),
)
def test_any_pcap(frames: list[tuple[bytes, int, int]], order: str, magic: int, seed: int | None, step: int) -> None:
    extra = bytes(8) if magic == KUZNETZOV else b""
    data = b"".join(pcap_frame(frame, seconds, part, None, order, extra) for frame, seconds, part in frames)
    if seed is not None:
        data = damage(data, data, Random(seed))
    agree(pcap_header(order, magic) + data, step, most=4)


# --- one walk ---------------------------------------------------------------------------------------------------------

THREE = b"".join(pcap_frame(bytes(n), n) for n in (10, 20, 15))


def pcap_walker(most: int = 8, parse: bool = True) -> PcapWalker:
    said = PcapReader()
    said.unit, said.header_length, said.link_type = 1000, 16, 101
    return PcapWalker(said, 5, most=most, parse=parse)


@pytest.mark.parametrize(
    ("limit", "inclusive", "times", "reason"),
    [
        (INT64_MAX, True, [10, 20, 15], MORE),
        (20, True, [10, 20, 15], MORE),
        (20, False, [10], LATER),
        (19, True, [10], LATER),
        (10, True, [10], LATER),
        (10, False, [], LATER),
        (INT64_MIN, True, [], LATER),
        (INT64_MIN, False, [], LATER),
    ],
)
def test_the_limit(limit: int, inclusive: bool, times: list[int], reason: int) -> None:
    walker = pcap_walker()
    bound = limit if abs(limit) > 1 << 60 else limit * 10**9
    frames, at, why = walker.walk(array(THREE), 0, len(THREE), 7, bound, inclusive)
    assert [time_ns // 10**9 for time_ns in frames.table[:, FrameRow.TIME].tolist()] == times
    assert why == reason
    if why == LATER:
        assert walker.next_time == (20 if times else 10) * 10**9
        frames, at, why = walker.walk(array(THREE), at, len(THREE), 7 + len(times))
        assert frames.table[:, FrameRow.INDEX].tolist() == list(range(7 + len(times), 10))
    assert (at, why) == (len(THREE), MORE)


def test_the_limit_in_pcapng_and_the_last_time() -> None:
    data = b"".join(enhanced(b"", ticks) for ticks in (3, 9, 5))
    walker = PcapngWalker()
    walker.section("<")
    walker.interface(4, 1, 1, 1, -100)
    frames, at, reason = walker.walk(array(data), 0, len(data), 0, -92, False)
    assert (frames.table[:, FrameRow.TIME].tolist(), reason, walker.next_time, walker.last) == ([-97], LATER, -91, -97)
    frames, at, reason = walker.walk(array(data), at, len(data), 1)
    assert (frames.table[:, FrameRow.TIME].tolist(), reason, walker.last) == ([-91, -95], MORE, -95)


def test_full_tables_and_what_a_row_has() -> None:
    walker = pcap_walker(most=2)
    data = bytes(100) + THREE
    frames, at, reason = walker.walk(array(data), 100, len(data), 40)
    assert frames.table.tolist() == [[40, 10 * 10**9, 5, 101, 10, 116, 10, 0], [41, 20 * 10**9, 5, 101, 20, 142, 20, 0]]
    assert (at, reason) == (162, FULL)
    frames, at, reason = walker.walk(array(data), at, len(data), 42)
    assert (len(frames.table), at, reason, walker.need) == (1, len(data), MORE, 16)


def test_what_more_needs() -> None:
    walker = pcap_walker()
    assert walker.walk(array(THREE), 0, 15, 0)[1:] == (0, MORE)
    assert walker.need == 16
    assert walker.walk(array(THREE), 0, 25, 0)[1:] == (0, MORE)
    assert walker.need == 26
    assert walker.walk(array(THREE), 0, 26, 0)[1:] == (26, MORE)
    pcapng = PcapngWalker()
    data = enhanced(bytes(100))
    for end, need in ((3, 28), (27, 28), (28, 132), (131, 132)):
        assert pcapng.walk(array(data), 0, end, 0)[1:] == (0, MORE)
        assert pcapng.need == need
    assert pcapng.walk(array(data), 0, 132, 0)[2] == OTHER  # no interface was described
    assert pcapng.walk(array(section()), 0, 4, 0)[2] == OTHER


def test_a_walk_without_the_parse() -> None:
    frames, at, reason = pcap_walker(parse=False).walk(array(THREE), 0, len(THREE), 0)
    assert (len(frames.table), frames.packets.shape) == (3, (0, PacketRow.COLUMNS))
    assert (at, reason) == (len(THREE), MORE)


def test_many_interfaces() -> None:
    walker = PcapngWalker(parse=False)
    for number in range(3000):
        walker.interface(number * 2, number, 1, 1, 0)
    data = b"".join(enhanced(b"", 1, number) for number in (0, 7, 8, 2999))
    frames, _, _ = walker.walk(array(data), 0, len(data), 0)
    assert frames.table[:, FrameRow.INTERFACE].tolist() == [0, 14, 16, 5998]
    walker.section("<")
    assert walker.walk(array(data), 0, len(data), 0)[2] == OTHER


@pytest.mark.parametrize(("at", "end"), [(-1, 4), (5, 4), (0, len(THREE) + 1)])
def test_places_outside_of_the_data_are_refused(at: int, end: int) -> None:
    with pytest.raises(ValueError, match="cannot walk"):
        pcap_walker().walk(array(THREE), at, end, 0)
    with pytest.raises(ValueError, match="cannot walk"):
        pcap_walker().walk(array(THREE)[::2], 0, 4, 0)


def test_no_byte_beyond_the_end_is_read() -> None:
    """Captures cut where the memory ends: one byte more would end the process."""
    page = mmap.PAGESIZE
    region = mmap.mmap(-1, 3 * page)
    memory = np.frombuffer(region, np.uint8)
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    assert protect(ctypes.c_void_p(memory.ctypes.data + 2 * page), ctypes.c_size_t(page), 0) == 0
    blocks = enhanced(b"a", 1) + enhanced(bytes(40), 2)
    for length in range(len(blocks) + 1):
        memory[2 * page - length : 2 * page] = array(blocks[:length])
        walker = PcapngWalker()
        walker.section("<")
        walker.interface(0, 101, 1, 1, 0)
        frames, _, reason = walker.walk(memory[: 2 * page], 2 * page - length, 2 * page, 0)
        assert (len(frames.table), reason) == ((length >= 36) + (length >= 108), MORE)
    for length in range(len(THREE) + 1):
        memory[2 * page - length : 2 * page] = array(THREE[:length])
        frames, _, reason = pcap_walker().walk(memory[: 2 * page], 2 * page - length, 2 * page, 0)
        assert (len(frames.table), reason) == ((length >= 26) + (length >= 62) + (length >= 93), MORE)
