"""Frame headers walked over: against the plain reader, by both walks, and in windows of all sizes."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture_blocks import block, enhanced, interface, option, pcap_frame, pcap_header, section, simple
from rxtls.capture import headers
from rxtls.capture.headers import Headers, walk
from rxtls.capture.window import Window
from rxtls.path.engines import why_not_compiled
from rxtls.wire.capture import Frame, read_capture

WALKS = ["plain"] + ([] if why_not_compiled() else ["compiled"])


def look(path: Path, data: bytes, by: str = "plain") -> Headers | None:
    """What is known of a file with these bytes."""
    path.write_bytes(data)
    used = walk
    if by == "compiled":
        from rxtls.capture.compiled.headers import walk as used
    with open(path, "rb", buffering=0) as file:
        return headers.read(file, len(data), used)


def pcapng(dice: random.Random, frames: int) -> bytes:
    """Sections of both byte orders, clocks of several kinds, blocks of no interest in between."""
    data = b""
    for order in dice.sample("<><>", 2):
        data += section(order) + interface(order=order) + interface(101, options=option(9, b"\x09", order), order=order)
        for _ in range(frames):
            if dice.random() < 0.2:
                data += block(5, bytes(8), order)
            if dice.random() < 0.1:
                data += interface(113, options=option(9, b"\x8a", order), order=order)
            data += enhanced(
                dice.randbytes(dice.randrange(90)), dice.randrange(1 << 40), dice.randrange(2), order=order
            )
    return data


def pcap(dice: random.Random, frames: int, order: str) -> bytes:
    return pcap_header(order) + b"".join(
        pcap_frame(dice.randbytes(dice.randrange(90)), dice.randrange(1 << 32), dice.randrange(10**6), order=order)
        for _ in range(frames)
    )


@pytest.mark.parametrize("by", WALKS)
@pytest.mark.parametrize("seed", range(12))
def test_every_frame_as_the_reader_has_it(tmp_path: Path, seed: int, by: str) -> None:
    dice = random.Random(seed)
    data = pcapng(dice, 40) if seed % 2 else pcap(dice, 60, "<>"[seed // 2 % 2])
    found = look(tmp_path / "any", data, by)
    assert found is not None
    assert found.tail == (len(data), 0)
    seen = []
    for part in found.sections:
        for place, length, time_ns, ours in zip(part.places, part.lengths, part.times, part.interfaces, strict=True):
            whole = data[place : place + length]
            seen.append((time_ns, part.link_types[ours], whole[part.data_at : len(whole) - part.data_end]))
    expected = [each for each in read_capture(io.BytesIO(data).read, "any") if isinstance(each, Frame)]
    assert [(time_ns, link_type) for time_ns, link_type, _ in seen] == [(e.time_ns, e.link_type) for e in expected]
    assert all(got.startswith(frame.data) for (_, _, got), frame in zip(seen, expected, strict=True))
    covered = sorted(
        [each for part in found.sections for each in part.front]
        + [(int(p), int(n)) for part in found.sections for p, n in zip(part.places, part.lengths, strict=True)]
    )
    assert covered[0][0] == 0
    assert all(a + n == b for (a, n), (b, _) in zip(covered, [*covered[1:], (len(data), 0)], strict=True))


@pytest.mark.skipif(why_not_compiled() is not None, reason=f"no compiled engine: {why_not_compiled()}")
@given(st.integers(0, 1 << 30), st.booleans())
def test_both_walks_see_the_same_in_damaged_files(
    tmp_path_factory: pytest.TempPathFactory, seed: int, cut: bool
) -> None:
    dice = random.Random(seed)
    data = bytearray(pcapng(dice, 12) if seed % 2 else pcap(dice, 20, dice.choice("<>")))
    if cut:
        del data[dice.randrange(len(data)) :]
    for _ in range(dice.randrange(4)):
        if data:
            data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    path = tmp_path_factory.getbasetemp() / "damaged"
    plain, compiled = look(path, bytes(data)), look(path, bytes(data), "compiled")
    assert (plain is None) == (compiled is None)
    if plain is None or compiled is None:
        return
    assert plain.tail == compiled.tail
    for one, other in zip(plain.sections, compiled.sections, strict=True):
        assert one.front == other.front
        assert np.array_equal(np.vstack((one.places, one.times)), np.vstack((other.places, other.times)))


@pytest.mark.parametrize("by", WALKS)
def test_a_frame_that_is_cut_off_is_the_tail(tmp_path: Path, by: str) -> None:
    whole = pcap_header() + pcap_frame(b"abcd") * 3
    found = look(tmp_path / "cut", whole[:-1], by)
    assert found is not None
    assert len(found.sections[0].times) == 2
    assert found.tail == (len(whole) - 20, 19)


def test_what_is_left_alone(tmp_path: Path) -> None:
    for data in (b"", b"text", pcap_header()[:20], section()[:20], section() + interface() + simple(b"no time") * 2):
        assert look(tmp_path / "any", data) is None
    unknown = section() + interface() + enhanced(b"a", interface=1)
    assert look(tmp_path / "any", unknown) is None


class Counted(np.ndarray):
    """Rows that count what is looked at by whole columns."""

    seen = 0

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **named: Any) -> Any:
        Counted.seen += max(np.size(each) for each in inputs)
        plain = [each.view(np.ndarray) if isinstance(each, Counted) else each for each in inputs]
        out = getattr(ufunc, method)(*plain, **{name: value for name, value in named.items() if name != "out"})
        return out.view(Counted) if isinstance(out, np.ndarray) else out


@pytest.mark.parametrize("clocks", [1, 700])
def test_trial_c5_frames_of_many_interfaces_are_looked_at_once(tmp_path: Path, clocks: int) -> None:
    """The times of frames, whose interfaces may all have a clock of their own."""
    count = 700
    front = section()
    for n in range(count):
        front += interface(options=option(14, (n % clocks).to_bytes(8, "little")))
    data = front + b"".join(enhanced(b"x", n, n % count) for n in range(2 * count))
    path = tmp_path / "many.pcapng"
    found = look(path, data)
    assert found is not None
    (whole,) = found.sections
    assert whole.times.tolist() == [1000 * n + 10**9 * (n % count % clocks) for n in range(2 * count)]
    with open(path, "rb", buffering=0) as file:
        window = Window(lambda view: file.readinto(view) or 0)
        window.more(28)
        window.at = 28
        control, rows = np.zeros(6, np.int64), np.zeros((1 << 14, headers.COLUMNS), np.int64)
        control[headers.LITTLE] = control[headers.PCAPNG] = 1
        taken, _ = headers._rows(window, control, rows, walk, len(data))
        assert taken is not None
        Counted.seen = 0
        headers._section(file, (0, 28), taken.view(Counted))
    assert Counted.seen < 60 * 3 * count
