"""Captures opened, decompressed and merged: what a person may hand to us, sound or not."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import random
import threading
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lz4.frame
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from capture_blocks import (
    enhanced,
    interface,
    option,
    pcap_frame,
    pcap_header,
    secrets,
    section,
)
from rxtls.capture import compressed
from rxtls.capture.captures import expanded
from rxtls.capture.compressed import Decompressor
from rxtls.capture.source import SecretsFound, Source, SourceFrame, SourceInterface
from rxtls.errors import CaptureError, UsageError

SKIPPABLE = b"\x5e\x2a\x4d\x18" + (9).to_bytes(4, "little") + b"not yours"

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "zstd": lambda data: zstandard.ZstdCompressor(write_checksum=True).compress(data),
    "lz4": lambda data: bytes(lz4.frame.compress(data, content_checksum=True)),
    "xz": lzma.compress,
}
FORMATS = sorted(COMPRESS)


def pcap(times: Sequence[int], mark: bytes = b"") -> bytes:
    """A capture whose frames say their own place."""
    return pcap_header() + b"".join(pcap_frame(mark + bytes([n]), time) for n, time in enumerate(times))


def incompressible(frames: int, size: int = 1000) -> bytes:
    chance = random.Random(5)
    return pcap_header() + b"".join(pcap_frame(chance.randbytes(size), n) for n in range(frames))


def put(folder: Path, name: str, data: bytes) -> str:
    path = folder / name
    path.write_bytes(data)
    return str(path)


def frames(source: Source) -> list[SourceFrame]:
    return [item for item in source if isinstance(item, SourceFrame)]


def piped(data: bytes, **options: Any) -> tuple[list[SourceFrame], list[CaptureError]]:
    source = Source(["-"], stdin=io.BytesIO(data), **options)
    return frames(source), source.errors


def decompressed(data: bytes, size: int = 1 << 16, limit: int = 1 << 30) -> tuple[bytes, CaptureError | None]:
    """All that comes out, and how it ends."""
    out = bytearray()
    read = Decompressor(io.BytesIO(data).read, "made", limit).read
    try:
        while part := read(size):
            assert len(part) <= size
            out += part
    except CaptureError as error:
        with pytest.raises(CaptureError):
            read(size)
        return bytes(out), error
    return bytes(out), None


# One capture


def test_a_file_with_its_frames_numbered_as_wireshark_does(tmp_path: Path) -> None:
    data = section() + interface(1, options=option(2, b"eth0")) + interface(113)
    data += enhanced(b"a", 5) + enhanced(b"b", 4, interface=1, wire=60) + section(">") + interface(101, order=">")
    data += enhanced(b"c", 6, order=">")
    name = put(tmp_path, "two-sections", data)
    source = Source([Path(name)])
    assert (source.names, source.total_bytes, source.bytes_read) == ([name], len(data), 0)
    assert list(source) == [
        SourceFrame(5000, 0, 1, 1, b"a", 0, 1),
        SourceFrame(4000, 1, 113, 60, b"b", 0, 2),
        SourceFrame(6000, 2, 101, 1, b"c", 0, 3),
    ]
    assert source.interfaces == [
        SourceInterface(0, 0, 0, "eth0", 1),
        SourceInterface(0, 0, 1, None, 113),
        SourceInterface(0, 1, 0, None, 101),
    ]
    assert (source.errors, source.bytes_read) == ([], len(data))
    assert list(source) == []


def test_standard_input_is_a_capture_of_unknown_size() -> None:
    source = Source(["-"], stdin=io.BytesIO(pcap([1, 2])))
    assert source.total_bytes is None
    assert [(frame.number, frame.data) for frame in frames(source)] == [(1, b"\0"), (2, b"\1")]
    assert source.bytes_read == len(pcap([1, 2]))


def test_a_named_pipe_is_read_once_and_in_place(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    data = section() + interface() + enhanced(b"a") + secrets(b"KEYS") + enhanced(b"b")
    writer = threading.Thread(target=path.write_bytes, args=(data,), daemon=True)
    writer.start()
    source = Source([str(path)])
    items = list(source)
    writer.join()
    assert (source.total_bytes, source.secrets, source.errors) == (None, [], [])
    assert [type(item) for item in items] == [SourceFrame, SecretsFound, SourceFrame]


def test_frames_of_a_live_pipe_come_out_before_it_ends() -> None:
    reader, writer = os.pipe()
    with open(reader, "rb") as stdin, open(writer, "wb", buffering=0) as live:
        source = iter(Source(["-"], stdin=stdin))
        for n in range(3):
            live.write(pcap_frame(bytes([n]), n) if n else pcap_header() + pcap_frame(b"\0"))
            item = next(source)
            assert isinstance(item, SourceFrame)
            assert (item.data, item.number) == (bytes([n]), n + 1)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.exists(), "No such file"),
        (lambda path: path.mkdir(), "is a directory"),
        (lambda path: path.write_bytes(b""), "empty"),
        (lambda path: path.write_bytes(b"CLIENT_RANDOM 0011 2233\n"), "not a capture"),
        (lambda path: path.write_bytes(gzip.compress(b"")), "empty"),
        (lambda path: path.write_bytes(gzip.compress(b"plain text")), "not a capture"),
        (lambda path: path.symlink_to(path), "symbolic links"),
    ],
    ids=["missing", "directory", "empty", "keylog", "empty.gz", "text.gz", "loop"],
)
def test_what_is_no_capture_is_an_entry_and_the_others_go_on(
    tmp_path: Path, make: Callable[[Path], object], words: str
) -> None:
    bad, good = tmp_path / "bad", put(tmp_path, "good", pcap([1, 2, 3]))
    make(bad)
    for captures in ([str(bad)], [str(bad), good], [good, str(bad)]):
        source = Source(captures)
        assert len(frames(source)) == (3 if good in captures else 0)
        assert [error.file for error in source.errors] == [str(bad)]
        assert words in source.errors[0].cause
        assert "\n" not in str(source.errors[0])


def test_a_name_no_file_can_have() -> None:
    source = Source(["a\0b"])
    assert list(source) == []
    assert "null" in source.errors[0].cause


def test_a_file_that_goes_away_after_the_survey(tmp_path: Path) -> None:
    names = [put(tmp_path, name, pcap([1])) for name in "ab"]
    source = Source(names)
    os.remove(names[0])
    assert [frame.file for frame in frames(source)] == [1]
    assert [error.file for error in source.errors] == [names[0]]


def test_a_read_that_fails_is_damage_at_its_place() -> None:
    class Failing(io.BytesIO):
        def read1(self, size: int | None = -1, /) -> bytes:
            if self.tell():
                raise OSError(5, "Input/output error")
            return super().read1(size)

    source = Source(["-"], stdin=Failing(pcap([1, 2])[:-3]))
    assert len(frames(source)) == 1
    assert [(error.offset, error.cause) for error in source.errors] == [(55, "Input/output error")]


@pytest.mark.parametrize("captures", [[], ["-", "-"]])
def test_captures_that_do_not_go_together(captures: list[str]) -> None:
    with pytest.raises(UsageError):
        Source(captures, stdin=io.BytesIO())


def test_no_standard_input_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    source = Source(["-"])
    assert list(source) == []
    assert source.errors[0].cause == "there is no standard input"


# Several captures


def merged(times: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    """The slow, obvious twin: look at the next frame of each capture, take the earliest, the first of equals."""
    places = [0] * len(times)
    order: list[tuple[int, int]] = []
    while True:
        waiting = [(t[places[n]], n) for n, t in enumerate(times) if places[n] < len(t)]
        if not waiting:
            return order
        _, n = min(waiting)
        places[n] += 1
        order.append((n, places[n]))


@pytest.mark.parametrize("seed", range(25))
def test_merged_by_time_argument_and_place_but_never_sorted_within(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    times = [[chance.randrange(12) for _ in range(chance.randrange(9))] for _ in range(chance.randrange(2, 7))]
    names = [put(tmp_path, str(n), pcap(t)) for n, t in enumerate(times)]
    piped_one = chance.randrange(len(names))
    stdin = io.BytesIO(pcap(times[piped_one]))
    expected = merged(times)
    assert [(frame.file, frame.number) for frame in frames(Source(names))] == expected
    names[piped_one] = "-"
    assert [(frame.file, frame.number) for frame in frames(Source(names, stdin=stdin))] == expected


def test_interfaces_are_counted_over_the_whole_run(tmp_path: Path) -> None:
    one = section() + interface(1) + enhanced(b"a", 1) + interface(101) + enhanced(b"d", 4, interface=1)
    names = [put(tmp_path, "one", one), put(tmp_path, "two", pcap_header(link_type=276) + pcap_frame(b"b", 0, 2))]
    source = Source(names)
    seen = [(frame.data, frame.interface, frame.link_type, frame.number) for frame in frames(source)]
    assert [(data, link_type, number) for data, _, link_type, number in seen] == [
        (b"a", 1, 1),
        (b"b", 276, 1),
        (b"d", 101, 2),
    ]
    assert len({index for _, index, _, _ in seen}) == len(source.interfaces) == 3
    for _, index, link_type, _ in seen:
        assert source.interfaces[index].link_type == link_type
    assert source.bytes_read == source.total_bytes


def test_a_damaged_capture_ends_there_and_the_others_go_on(tmp_path: Path) -> None:
    names = [put(tmp_path, "cut", pcap([1, 3, 5])[:-1]), put(tmp_path, "sound", pcap([2, 4, 6]))]
    source = Source(names)
    assert [(frame.file, frame.number) for frame in frames(source)] == [(0, 1), (1, 1), (0, 2), (1, 2), (1, 3)]
    assert [(error.file, error.offset) for error in source.errors] == [(names[0], 24 + 2 * 17)]


def test_a_ring_of_captures_is_open_one_at_a_time(tmp_path: Path) -> None:
    names = [put(tmp_path, str(n), pcap([10 * n, 10 * n + 9])) for n in range(300)]
    if not os.path.isdir("/dev/fd"):
        pytest.skip("no /dev/fd to count open files in")
    before = len(os.listdir("/dev/fd"))
    most = 0
    count = 0
    for _ in Source(names):
        count += 1
        most = max(most, len(os.listdir("/dev/fd")) - before)
    assert count == 600
    assert most <= 2


# Secrets


def test_secrets_in_files_are_known_before_the_first_frame(tmp_path: Path) -> None:
    data = section() + interface() + enhanced(b"a") + secrets(b"late") + enhanced(b"b") + secrets(b"ssh", 0x5353484B)
    names = [put(tmp_path, "late", data), put(tmp_path, "packed", gzip.compress(secretive := data + secrets(b"last")))]
    source = Source(names)
    assert source.secrets == [b"late", b"late", b"last"]
    assert [type(item) for item in source] == [SourceFrame] * 4
    assert source.errors == []
    in_place = Source(["-"], stdin=io.BytesIO(secretive))
    assert in_place.secrets == []
    assert [item.data for item in in_place if isinstance(item, SourceFrame | SecretsFound)] == [
        b"a",
        b"late",
        b"b",
        b"last",
    ]


def test_secrets_before_damage_are_known_and_the_damage_is_told_once(tmp_path: Path) -> None:
    data = section() + interface() + secrets(b"early") + enhanced(b"a")
    for name, damaged in [("cut", data[:-3]), ("packed", gzip.compress(data)[:-12]), ("bad", data + b"\1" * 40)]:
        source = Source([put(tmp_path, name, damaged)])
        assert source.secrets == [b"early"]
        assert source.errors == []
        assert len(list(source)) <= 1
        assert len(source.errors) == 1


def test_secrets_found_stay_out_of_repr() -> None:
    assert "hidden" not in repr(SecretsFound(b"hidden"))


# Compression


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("data", [pcap(range(40)), incompressible(400)], ids=["small", "large"])
def test_compressed_captures_read_as_the_plain_ones(kind: str, data: bytes, tmp_path: Path) -> None:
    plain = piped(data)
    assert plain[1] == []
    assert piped(COMPRESS[kind](data)) == plain
    packed = COMPRESS[kind](data)
    source = Source([put(tmp_path, "any-name.pcap", packed)])
    assert frames(source) == plain[0]
    assert source.bytes_read == source.total_bytes == len(packed)


@pytest.mark.parametrize("kind", FORMATS)
def test_members_one_after_the_other(kind: str) -> None:
    data, pack = incompressible(30), COMPRESS[kind]
    pieces = [data[n : n + 4096] for n in range(0, len(data), 4096)]
    assert decompressed(b"".join(map(pack, pieces))) == (data, None)
    assert decompressed(pack(data) + pack(b"") + pack(data) + bytes(512)) == (data + data, None)


def test_members_of_all_kinds_and_skippable_frames_between() -> None:
    packed = SKIPPABLE + b"".join(SKIPPABLE * 2 + COMPRESS[kind](kind.encode()) for kind in FORMATS) + SKIPPABLE
    assert decompressed(packed) == ("".join(FORMATS).encode(), None)
    assert decompressed(packed, size=1)[0] == "".join(FORMATS).encode()


@pytest.mark.parametrize("kind", FORMATS)
def test_cut_anywhere_a_compressed_stream_is_said_to_be_truncated(kind: str) -> None:
    data = pcap(range(30), b"some words that repeat, ")
    packed = COMPRESS[kind](data)
    best = 0
    for cut in range(6, len(packed)):
        out, error = decompressed(packed[:cut])
        assert data.startswith(out)
        assert error is not None
        assert "truncated" in error.cause
        assert error.offset == len(out)
        best = max(best, len(out))
    assert best == len(data)


@pytest.mark.parametrize("kind", FORMATS)
def test_damage_keeps_all_that_could_be_decoded(kind: str) -> None:
    """The checksum at the end is wrong: every byte is there, and then the error."""
    data = incompressible(20)
    packed = bytearray(COMPRESS[kind](data))
    packed[-28 if kind == "xz" else -6 if kind == "gzip" else -2] ^= 0x10
    out, error = decompressed(bytes(packed))
    assert error is not None
    assert f"damaged {kind}" in error.cause
    assert out == data
    found, errors = piped(bytes(packed))
    assert (len(found), len(errors)) == (20, 1)


def test_damage_in_a_member_too_long_to_decode_again_loses_one_call_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compressed, "REPLAY", 1000)
    data = incompressible(400)
    for kind in FORMATS:
        packed = bytearray(COMPRESS[kind](data))
        packed[-28 if kind == "xz" else -6 if kind == "gzip" else -2] ^= 0x10
        out, error = decompressed(bytes(packed))
        assert data.startswith(out)
        assert len(out) >= len(data) - (128 << 10)
        assert error is not None


@pytest.mark.parametrize("kind", FORMATS)
def test_what_follows_a_compressed_stream_must_be_one(kind: str) -> None:
    out, error = decompressed(COMPRESS[kind](b"data") + b"junk")
    assert out == b"data"
    assert error is not None
    assert "not compressed data" in error.cause


@pytest.mark.parametrize("kind", FORMATS)
def test_decompressed_bytes_are_bounded_and_what_lies_below_is_given(kind: str) -> None:
    packed = COMPRESS[kind](b"12345678" * 50_000)
    assert decompressed(packed, limit=400_000)[1] is None
    out, error = decompressed(packed, limit=399_999)
    assert len(out) == 399_999
    assert error is not None
    assert error.offset == 399_999
    assert "bound" in error.cause
    found, errors = piped(COMPRESS[kind](pcap(range(10))), max_decompressed=24 + 3 * 17)
    assert (len(found), len(errors)) == (3, 1)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_bomb_is_decoded_in_pieces(kind: str) -> None:
    """Nothing near its whole size is ever held: zstd's worst case is 32 MiB, the others' one grain."""
    bomb = COMPRESS[kind](bytes(80 << 20 if kind == "zstd" else 8 << 20))
    decoder = Decompressor(io.BytesIO(bomb).read, "bomb")
    length = 0
    while part := decoder.read(1 << 16):
        length += len(part)
        assert len(decoder._out) <= (33 << 20 if kind == "zstd" else compressed.GRAIN)
    assert length == (80 << 20 if kind == "zstd" else 8 << 20)


def test_windows_and_dictionaries_beyond_the_bounds_are_refused() -> None:
    huge = zstandard.ZstdCompressionParameters(window_log=28, enable_ldm=True, write_content_size=False)
    packer = zstandard.ZstdCompressor(compression_params=huge).compressobj()
    out, error = decompressed(packer.compress(b"x" * 1000) + packer.flush())
    assert out == b""
    assert error is not None
    assert "memory" in error.cause
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20}]
    packed = bytearray(lzma.compress(b"x" * 1000, filters=filters))
    # The block header, after 12 bytes of stream header: size, flags, filter id, property size, dictionary size,
    # padding, CRC32. 38 stands for 2 GiB.
    packed[16] = 38
    packed[20:24] = zlib.crc32(packed[12:20]).to_bytes(4, "little")
    out, error = decompressed(bytes(packed))
    assert out == b""
    assert error is not None
    assert "emory" in error.cause


@pytest.mark.parametrize("kind", FORMATS)
def test_mutated_streams_raise_nothing_but_capture_error(kind: str) -> None:
    chance = random.Random(11)
    data = pcap(range(60), b"words and ") + section() + interface()
    packed = COMPRESS[kind](data[:300]) + SKIPPABLE + COMPRESS[kind](data[300:])
    failed = 0
    for _ in range(400):
        mutated = bytearray(packed)
        for _ in range(chance.choice((1, 1, 3))):
            mutated[chance.randrange(len(mutated))] = chance.choice((0, 0xFF, chance.randrange(256)))
        cut = chance.choice((len(mutated), chance.randrange(len(mutated))))
        out, error = decompressed(bytes(mutated[:cut]), limit=1 << 20)
        failed += error is not None
        assert len(out) <= 1 << 20
        piped(bytes(mutated), max_decompressed=1 << 20)
    assert failed > 100


@given(st.binary(max_size=60), st.sampled_from(FORMATS))
def test_noise_behind_a_magic_number(noise: bytes, kind: str) -> None:
    magic = COMPRESS[kind](b"")[:6]
    out, error = decompressed(magic + noise, limit=1 << 20)
    assert error is not None or len(out) <= 1 << 20


def test_a_pattern_stands_for_the_files_that_match(tmp_path: Path) -> None:
    for name in ("b.pcap", "a.pcap", "[c].pcap", "d.txt"):
        (tmp_path / name).touch()
    at = str(tmp_path)
    assert expanded(f"{at}/*.pcap") == [f"{at}/{name}" for name in ("[c].pcap", "a.pcap", "b.pcap")]
    assert expanded(f"{at}/[ab].pcap") == [f"{at}/a.pcap", f"{at}/b.pcap"]
    # What exists by that name is meant, and what nothing matches is named in the error.
    assert expanded(f"{at}/[c].pcap") == [f"{at}/[c].pcap"]
    assert expanded(f"{at}/*.cap") == [f"{at}/*.cap"]
    assert expanded("-") == ["-"]
    assert Source([f"{at}/?.pcap"]).names == [f"{at}/a.pcap", f"{at}/b.pcap"]
