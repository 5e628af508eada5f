"""Blocks against Source, their slow twin: the same frames, interfaces, secrets, errors and places in the same order."""

from __future__ import annotations

import gc
import gzip
import io
import lzma
import os
import random
import struct
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import lz4.frame
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from capture_blocks import (
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
from rxtls.capture.blocks import Blocks
from rxtls.capture.captures import TickFound
from rxtls.capture.source import SecretsFound, Source, SourceFrame
from rxtls.capture.window import Window
from rxtls.errors import UsageError
from rxtls.wire.captured import MAX_FRAME
from rxtls.wire.compiled.columns import PACKET, FrameRow, PacketRow, frames_of
from rxtls.wire.compiled.parse import parse_frames

HERE = Path(__file__).parent
CAPTURES = sorted(HERE.glob("../../examples/*.pcap")) + sorted(HERE.glob("../data/real/*.pcap*"))
TINY = 4096  # a window of one page

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "zstd": lambda data: zstandard.ZstdCompressor(write_checksum=True).compress(data),
    "lz4": lambda data: bytes(lz4.frame.compress(data, content_checksum=True)),
    "xz": lzma.compress,
}


class Read(NamedTuple):
    """All that comes out of captures."""

    items: list[SourceFrame | SecretsFound | TickFound]
    interfaces: list[Any]
    errors: list[str]
    secrets: list[bytes]
    total_bytes: int | None
    devices: list[int]


def plain(captures: Sequence[str], stdin: Any = None, **options: Any) -> Read:
    return read(source := Source(captures, stdin=stdin, **options), list(source))


def blocks(captures: Sequence[str], stdin: Any = None, call_size: int = 1024, **options: Any) -> Read:
    """As frames, after looking at what is promised of each block."""
    source = Blocks(captures, stdin=stdin, call_size=call_size, **options)
    items: list[SourceFrame | SecretsFound | TickFound] = []
    count = 0
    for item in source:
        if isinstance(item, SecretsFound | TickFound):
            items.append(item)
            continue
        rows = item.table.tolist()
        assert 1 <= len(rows) <= call_size
        assert item.table[:, FrameRow.INDEX].tolist() == list(range(count, count + len(rows)))
        count += len(rows)
        assert len(source.places) == count
        found = []
        for index, time_ns, ours, link_type, wire, offset, length, flags in rows:
            assert offset + length <= len(item.data)
            data = item.data[offset : offset + length].tobytes()
            found.append(SourceFrame(time_ns, ours, link_type, wire, data, *source.places.find(index), flags))
        again = frames_of(enumerate(found))
        parse_frames(again, True)
        assert again.packets[:, PacketRow.FATE].tolist() == item.packets[:, PacketRow.FATE].tolist()
        packets = again.packets[:, PacketRow.FATE] == PACKET  # of others no column means anything
        assert (again.packets[packets] == item.packets[packets]).all()
        assert again.vlans == item.vlans
        items += found
    return read(source, items)


def read(source: Source | Blocks, items: list[SourceFrame | SecretsFound | TickFound]) -> Read:
    devices = [source.device(n) for n in range(len(source.interfaces))]
    errors = [str(error) for error in source.errors]
    return Read(items, source.interfaces, errors, source.secrets, source.total_bytes, devices)


def put(folder: Path, name: str, data: bytes) -> str:
    path = folder / name
    path.unlink(missing_ok=True)  # some file systems wait for the disk where a file is written once more
    path.write_bytes(data)
    return str(path)


class Chunks:
    """Standard input that gives odd numbers of bytes."""

    def __init__(self, data: bytes, seed: int) -> None:
        self._data = io.BytesIO(data)
        self._dice = random.Random(seed)

    def read1(self, n: int) -> bytes:
        return self._data.read(min(n, self._dice.choice((1, 2, 3, 15, 16, 27, 28, 64, 1000))))

    read = read1


def segment(dice: random.Random, vlans: int = 0, sizes: Sequence[int] = (0, 1, 40, 700)) -> bytes:
    """A TCP segment over Ethernet, sound but for its checksum."""
    payload = dice.randbytes(dice.choice(sizes))
    tcp = struct.pack(">HHIIHHHH", 443, dice.randrange(65536), dice.getrandbits(32), 7, 5 << 12 | 0x18, 512, 0, 0)
    ip = struct.pack(">BBHHHBBHII", 0x45, 0, 40 + len(payload), 0, 0, 64, 6, 0, 0x0A000001, dice.getrandbits(32))
    return bytes(12) + b"\x81\x00\0\7" * vlans + b"\x08\0" + ip + tcp + payload


def small_pcap(dice: random.Random, order: str = "<", frames: int = 12) -> bytes:
    data = pcap_header(order)
    for n in range(frames):
        data += pcap_frame(segment(dice, dice.choice((0, 0, 1, 6))), n // 3, dice.randrange(1000), order=order)
    return data


def small_pcapng(dice: random.Random, sections: int = 2) -> bytes:
    """Every kind of block, several interfaces with different clocks, either byte order."""
    data = b""
    for _ in range(sections):
        order = dice.choice("<>")
        data += section(order)
        known = 0
        for _ in range(dice.randrange(4, 14)):
            match dice.randrange(4 if known else 1):
                case 0:
                    clock = option(9, bytes([dice.choice((0, 3, 6, 9, 9, 12, 127, 0x94, 0xFF))]), order)
                    clock += option(14, struct.pack(order + "q", dice.choice((0, -5, 1 << 40))), order)
                    name = option(2, dice.choice((b"eth0", b"eth1")), order)
                    options = dice.choice((b"", name, clock, name + clock))
                    data += interface(dice.choice((1, 1, 101)), dice.choice((0, 60)), options, order)
                    known += 1
                case 1:
                    bits = dice.choice((8, 20, 50, 64))
                    data += enhanced(segment(dice), dice.getrandbits(bits), dice.randrange(known), order=order)
                case 2:
                    frame = segment(dice, dice.choice((0, 5)))
                    data += simple(frame, order=order) if dice.random() < 0.5 else old_packet(frame, 9, order=order)
                case _:
                    unknown = block(dice.choice((4, 5, 0x0BAD)), dice.randbytes(dice.randrange(50)), order)
                    data += dice.choice((unknown, secrets(dice.randbytes(9), order=order)))
    return data


# One capture


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.name)
def test_recorded_captures_in_windows_of_one_page(path: Path) -> None:
    expected = plain([str(path)])
    assert blocks([str(path)], window=TINY) == expected
    assert blocks([str(path)], call_size=1000) == expected


def whole_pcap() -> bytes:
    dice = random.Random(0)
    return pcap_header(">") + b"".join(pcap_frame(segment(dice, 0, (3,)), n, order=">") for n in range(3))


def whole_pcapng() -> bytes:
    dice = random.Random(0)
    data = b""
    for order in "<>":
        data += section(order) + interface(options=option(2, b"eth0", order), order=order)
        data += enhanced(segment(dice, 0, (3,)), 5, order=order) + secrets(b"KEYS", order=order)
        data += simple(b"abcd", order=order) + old_packet(b"efgh", 7, order=order) + block(5, b"", order)
    return data


@pytest.mark.parametrize("whole", [whole_pcap(), whole_pcapng()], ids=["pcap", "pcapng"])
def test_cut_anywhere(whole: bytes, tmp_path: Path) -> None:
    for cut in range(len(whole) + 1):
        name = put(tmp_path, "cut", whole[:cut])
        assert blocks([name], window=TINY) == plain([name])
        assert blocks(["-"], Chunks(whole[:cut], cut), window=1) == plain(["-"], io.BytesIO(whole[:cut]))


@pytest.mark.parametrize("make", [small_pcap, small_pcapng])
def test_damaged_anywhere(make: Callable[[random.Random], bytes], tmp_path: Path) -> None:
    dice = random.Random(4)
    broken = 0
    for seed in range(120):
        data = damage(make(random.Random(seed % 10)), make(random.Random(seed % 7)), dice)
        name = put(tmp_path, "damaged", data)
        expected = plain([name])
        broken += len(expected.errors)
        assert blocks([name], window=TINY) == expected
        assert blocks(["-"], Chunks(data, seed), window=64) == plain(["-"], io.BytesIO(data))
    assert broken > 30


@settings(max_examples=50)
@given(st.integers(0, 1 << 20), st.sampled_from("<>"), st.sampled_from([1, 2, 7, 64, 1024]))
def test_sound_captures_however_they_are_divided(seed: int, order: str, call_size: int) -> None:
    dice = random.Random(seed)
    data = small_pcap(dice, order, 40) if seed % 2 else small_pcapng(dice, 4)
    expected = plain(["-"], io.BytesIO(data))
    assert blocks(["-"], Chunks(data, seed), call_size, window=dice.choice((1, 100, TINY))) == expected
    assert blocks(["-"], io.BytesIO(data), call_size) == expected


@pytest.mark.parametrize("kind", sorted(COMPRESS))
def test_compressed_by_each_codec(kind: str, tmp_path: Path) -> None:
    dice = random.Random(1)
    for data in (small_pcap(dice, frames=100), small_pcapng(dice, 9), b"", small_pcap(dice)[:-5]):
        packed = COMPRESS[kind](data)
        damaged = bytearray(packed)
        damaged[-6] ^= 0x10
        for stored in (packed, packed[:-9], bytes(damaged), packed + b"junk", packed + packed):
            name = put(tmp_path, "packed", stored)
            for limit in (1 << 30, 1000):
                assert blocks([name], max_decompressed=limit) == plain([name], max_decompressed=limit)
                one, other = (Chunks(stored, 3), io.BytesIO(stored))
                assert blocks(["-"], one, max_decompressed=limit) == plain(["-"], other, max_decompressed=limit)


def test_a_frame_longer_than_any_window(tmp_path: Path) -> None:
    data = pcap_header() + b"".join(pcap_frame(bytes(size), n) for n, size in enumerate((60, MAX_FRAME, 9000, 60)))
    name = put(tmp_path, "long", data)
    expected = plain([name])
    assert len(expected.items) == 4
    assert blocks([name], window=TINY) == expected
    assert blocks([name]) == expected
    assert blocks(["-"], Chunks(data, 1), window=1).items == expected.items


def test_what_is_no_capture(tmp_path: Path) -> None:
    good = put(tmp_path, "good", small_pcap(random.Random(1)))
    for name in [
        str(tmp_path / "missing"),
        str(tmp_path),
        "a\0b",
        put(tmp_path, "empty", b""),
        put(tmp_path, "text", b"CLIENT_RANDOM 00 11\n"),
        put(tmp_path, "packed text", gzip.compress(b"text")),
    ]:
        for captures in ([name], [name, good], [good, name]):
            assert blocks(captures) == plain(captures)
    with pytest.raises(UsageError):
        Blocks([])


def test_bytes_read_are_the_files(tmp_path: Path) -> None:
    for data in (small_pcap(random.Random(1)), gzip.compress(small_pcapng(random.Random(2)))):
        source = Blocks([put(tmp_path, "any", data)], window=TINY)
        assert source.bytes_read == 0
        assert len(list(source)) > 0
        assert source.bytes_read == source.total_bytes == len(data)
        assert list(source) == []


# Pipes


def test_frames_of_a_live_pipe_come_out_before_it_ends() -> None:
    reader, writer = os.pipe()
    with open(reader, "rb") as stdin, open(writer, "wb", buffering=0) as live:
        source = iter(Blocks(["-"], stdin=stdin))
        for n in range(3):
            live.write((b"" if n else section() + interface()) + enhanced(bytes([n]), n) + secrets(b"KEYS"))
            item = next(source)
            assert not isinstance(item, SecretsFound | TickFound)
            assert item.data[item.table[0, 5]] == n
            assert next(source) == SecretsFound(b"KEYS")


def test_a_named_pipe_beside_a_file(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    data = small_pcapng(random.Random(8), 3)
    other = put(tmp_path, "other", small_pcap(random.Random(9)))
    for captures in ([str(path)], [str(path), other], [other, str(path)]):
        got = []
        for read_all in (plain, blocks):
            os.mkfifo(path)
            writer = threading.Thread(target=path.write_bytes, args=(data,), daemon=True)
            writer.start()
            got.append(read_all(captures))
            writer.join()
            path.unlink()
        assert got[0] == got[1]


def test_a_read_that_fails_is_damage_at_its_place() -> None:
    class Failing(io.BytesIO):
        def read1(self, size: int | None = -1, /) -> bytes:
            if self.tell():
                raise OSError(5, "Input/output error")
            return super().read1(size)

    for cut in (3, 27, 30, -1):
        data = (pcap_header() + pcap_frame(b"a") * 2)[:cut]
        assert blocks(["-"], Failing(data)) == plain(["-"], Failing(data))


# Several captures


def timed(dice: random.Random, frames: int, spread: int) -> bytes:
    """Equal times, times that go back, and now and then a block that the walker leaves to the plain reader."""
    if dice.random() < 0.5:
        return pcap_header() + b"".join(pcap_frame(segment(dice), dice.randrange(spread)) for _ in range(frames))
    data = section() + interface(options=option(9, b"\0"))
    for _ in range(frames):
        if dice.random() < 0.1:
            data += dice.choice((interface(options=option(9, b"\0")), block(5, b""), secrets(b"KEYS"), simple(b"abcd")))
        data += enhanced(segment(dice, dice.choice((0, 0, 5))), dice.randrange(spread))
    return data


@pytest.mark.parametrize("seed", range(30))
def test_merged_as_source_merges(seed: int, tmp_path: Path) -> None:
    dice = random.Random(seed)
    parts = [timed(dice, dice.randrange(40), dice.choice((2, 50, 1000))) for _ in range(dice.randrange(2, 5))]
    if seed % 3 == 0:
        parts[0] = parts[0][: -dice.randrange(1, 50)]
    names = [put(tmp_path, str(n), data) for n, data in enumerate(parts)]
    call_size = dice.choice((1, 7, 64, 1024))
    assert blocks(names, call_size=call_size, window=TINY) == plain(names)
    piped = dice.randrange(len(names))
    names[piped] = "-"
    expected = plain(names, io.BytesIO(parts[piped]))
    assert blocks(names, Chunks(parts[piped], seed), call_size, window=TINY) == expected


def test_long_runs_and_short_runs_of_large_captures(tmp_path: Path) -> None:
    dice = random.Random(3)
    parts = [pcap_header(), pcap_header(">"), pcap_header()]
    for second in range(300):
        which = dice.randrange(3) if second < 150 else second // 50 % 3
        order = ">" if which == 1 else "<"
        for _ in range(dice.choice((1, 3, 90))):
            parts[which] += pcap_frame(segment(dice, 0, (0, 40)), second, order=order)
    names = [put(tmp_path, str(n), data) for n, data in enumerate(parts)]
    expected = plain(names)
    assert blocks(names) == expected
    assert blocks(names, call_size=200, window=32 << 10) == expected


def test_a_block_copied_together_has_room_for_the_longest_frames(tmp_path: Path) -> None:
    times = {0: (1, 3, 5), 1: (2, 4, 6)}
    names = []
    for n, seconds in times.items():
        data = pcap_header() + b"".join(pcap_frame(bytes([second]) * (MAX_FRAME - n), second) for second in seconds)
        names.append(put(tmp_path, str(n), data))
    assert blocks(names) == plain(names)


def test_a_ring_of_captures_is_open_one_at_a_time(tmp_path: Path) -> None:
    names = [put(tmp_path, str(n), pcap_header() + pcap_frame(b"a", 2 * n) * 99) for n in range(60)]
    before = len(os.listdir("/dev/fd"))
    most = 0
    rows = 0
    for item in Blocks(names):
        assert not isinstance(item, SecretsFound | TickFound)
        rows += len(item.table)
        most = max(most, len(os.listdir("/dev/fd")) - before)
    assert rows == 60 * 99
    assert most <= 3  # the listing itself, a file, and its mapping


def test_who_stops_in_between_leaves_nothing_open(tmp_path: Path) -> None:
    names = [put(tmp_path, str(n), pcap_header() + pcap_frame(b"a", n) * 99) for n in range(2)]
    gc.collect()  # what other tests left
    before = len(os.listdir("/dev/fd"))
    items = iter(Blocks(names, call_size=7))
    next(items)
    assert len(os.listdir("/dev/fd")) > before
    del items
    gc.collect()  # the blocks know their iterator, and it them
    assert len(os.listdir("/dev/fd")) == before


# Memory


@pytest.mark.parametrize("frames", [2000, 8000])
def test_one_buffer_however_large_the_capture_is(frames: int, tmp_path: Path) -> None:
    data = pcap_header() + pcap_frame(bytes(1500)) * frames
    for captures, stdin in (([put(tmp_path, "large", data)], None), (["-"], io.BytesIO(data))):
        places = set()
        rows = 0
        for item in Blocks(captures, stdin=stdin, window=256 << 10):
            assert not isinstance(item, SecretsFound | TickFound)
            places.add((item.data.ctypes.data, len(item.data)))
            rows += len(item.table)
        assert rows == frames
        # That of the capture, and what the last frames, too few for a block of their own, are copied to.
        assert len(places) <= 2
        assert sum(length for _, length in places) <= (256 << 10) + (2 << 20)


def frames_in(blocks: Blocks) -> int:
    return sum(0 if isinstance(each, SecretsFound | TickFound) else len(each.table) for each in blocks)


def test_trial_c1_a_block_longer_than_the_window_is_copied_a_few_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not once for each of its bytes beyond the window: an hour for 7 MB of secrets."""
    path = tmp_path / "long.pcapng"
    log = b"#".ljust(40 * TINY)
    path.write_bytes(section() + interface() + enhanced(b"first") + secrets(log) + enhanced(b"second"))
    asked = 0
    more = Window.more

    def counted(window: Window, need: int) -> bool:
        nonlocal asked
        asked += 1
        return more(window, need)

    monkeypatch.setattr(Window, "more", counted)
    assert frames_in(Blocks([str(path)], window=TINY)) == 2
    assert asked < 200


def test_trial_c1_short_sections_do_not_move_what_follows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "sections.pcapng"
    part = section() + interface() + enhanced(b"frame")
    path.write_bytes(part * 400)
    moved = 0
    more = Window.more

    def counted(window: Window, need: int) -> bool:
        nonlocal moved
        base, rest = window.base, window.end - window.at
        found = more(window, need)
        moved += rest if window.base != base else 0
        return found

    monkeypatch.setattr(Window, "more", counted)
    assert frames_in(Blocks([str(path)], by_time=True)) == 400
    assert moved < 10 * len(part) * 400
