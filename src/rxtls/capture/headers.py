"""When each frame of a capture file was captured, and where it stands: frame headers only.

    front, frames, front, frames, ... tail        as the file has them; a section each

    front      what describes the frames: pcap's file header; all blocks of a pcapng section that are no packets
    tail       what could not be walked over: a frame that is cut off, or damage

For what may be put into another order without being read (order.py). What is not plainly so is left alone: `read`
then gives nothing.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from rxtls.capture.window import Window
from rxtls.errors import CaptureError
from rxtls.wire import captured
from rxtls.wire.captured import MAX_BLOCK, MAX_FRAME, ByteOrder
from rxtls.wire.pcap import AGAIN, MAGICS, PcapReader
from rxtls.wire.pcapng import BYTE_ORDER, MAGIC, SECTION, SHORTEST_BLOCK, PcapngReader

MOST_FRAMES = 1 << 24  # of one file: 400 MB of what is kept of each while they are put in order
_ROWS = 4096

Column = npt.NDArray[np.int64]
Extent = tuple[int, int]  # place in the file, bytes

# A row: where a frame or block stands, its length, its time (pcapng: ticks), its interface, or one of
PLACE, LENGTH, TICKS, INTERFACE = range(4)
OTHER, TIMELESS = -1, -2  # a block that is no packet; a packet without time or interface
COLUMNS = 4

# How the walk over headers stops.
MORE, FULL, NEW_SECTION, DAMAGE = range(4)

# What it is told, and tells.
PCAPNG, LITTLE, HEADER, UNIT, ROWS, REASON = range(6)

ENHANCED, SIMPLE, OBSOLETE = 6, 3, 2
WORDS, SHORTEST_PACKET = 28, 32


@dataclass
class Section:
    """Frames that may stand in any order behind `front`, in columns; `link_types` by `interfaces`' numbers."""

    front: list[Extent] = field(default_factory=list)
    places: Column = field(default_factory=lambda: np.zeros(0, np.int64))
    lengths: Column = field(default_factory=lambda: np.zeros(0, np.int64))
    times: Column = field(default_factory=lambda: np.zeros(0, np.int64))
    interfaces: Column = field(default_factory=lambda: np.zeros(0, np.int64))
    link_types: list[int] = field(default_factory=list)
    data_at: int = 0  # bytes of a frame before its data,
    data_end: int = 0  # and behind it, at least


class Headers(NamedTuple):
    """A file's sections, and what is behind the last frame that could be walked over."""

    sections: list[Section]
    tail: Extent


Walk = Callable[[Window, Column, Column], int]
"""walk(window, control, rows): rows of the frames or blocks from window.at on, and the place behind them. The place may
lie beyond window.end."""


def walk(window: Window, control: Column, rows: Column) -> int:
    """The slow, obvious twin of compiled/headers.py."""
    order: ByteOrder = "<" if control[LITTLE] else ">"
    endian: Literal["little", "big"] = "little" if order == "<" else "big"
    pcapng, header, unit = bool(control[PCAPNG]), int(control[HEADER]), int(control[UNIT])
    data, at, end = window.data, window.at, window.end

    def word(place: int) -> int:
        return int.from_bytes(data[place : place + 4].tobytes(), endian)

    n, reason = 0, MORE
    while n < len(rows):
        if end - at < (WORDS if pcapng else header):
            break
        if not pcapng:
            length = word(at + 8)
            if length > MAX_FRAME or (not length and word(at) in AGAIN):
                reason = DAMAGE
                break
            rows[n] = at, header + length, word(at) * 1_000_000_000 + word(at + 4) * unit, 0
        else:
            kind, length = word(at), word(at + 4)
            if kind == SECTION:
                reason = NEW_SECTION
                break
            if length < SHORTEST_BLOCK or length & 3 or length > MAX_BLOCK:
                reason = DAMAGE
                break
            rows[n] = at, length, 0, TIMELESS if kind in (SIMPLE, OBSOLETE) else OTHER
            if kind == ENHANCED:
                if length < SHORTEST_PACKET or word(at + 20) > length - SHORTEST_PACKET or word(at + 12) >> 31:
                    reason = DAMAGE
                    break
                rows[n, TICKS:] = word(at + 12) << 32 | word(at + 16), word(at + 8)
        at += int(rows[n, LENGTH])
        n += 1
    else:
        reason = FULL
    control[ROWS], control[REASON] = n, reason
    return at


def read(file: io.FileIO, size: int, by: Walk = walk) -> Headers | None:
    """The headers of a file that can be sought. None if it is no capture, or one whose frames cannot change places."""
    try:
        return _read(file, size, by)
    except (CaptureError, OSError):
        return None


def _read(file: io.FileIO, size: int, by: Walk) -> Headers | None:
    file.seek(0)
    window = Window(lambda view: file.readinto(view) or 0)
    window.more(28)
    head = window.data[: window.end][:28].tobytes()
    control = np.zeros(6, np.int64)
    rows = np.zeros((_ROWS, COLUMNS), np.int64)
    if head[:4] in MAGICS and len(head) >= 24:
        pcap = PcapReader()
        pcap.take(captured.Window(io.BytesIO(head).read, ""), 0)
        control[LITTLE], control[HEADER], control[UNIT] = pcap.order == "<", pcap.header_length, pcap.unit
        window.at = 24
        found, at = _rows(window, control, rows, by, size)
        if found is None:
            return None
        places, lengths, times, interfaces = found.T
        section = Section([(0, 24)], places, lengths, times, interfaces, [pcap.link_type], pcap.header_length)
        return Headers([section], (at, size - at))
    if head[:4] != MAGIC:
        return None
    control[PCAPNG] = 1
    sections: list[Section] = []
    at = total = 0
    while (order := _section_order(window)) is not None:
        control[LITTLE] = order == "<"
        (length,) = struct.unpack_from(order + "I", window.data[window.at + 4 : window.at + 8].tobytes())
        begin = window.base + window.at
        if length < 28 or length & 3 or length > MAX_BLOCK or begin + length > size:
            break
        window.at += length
        found, at = _rows(window, control, rows, by, size, MOST_FRAMES - total)
        if found is None:
            return None
        ours = _section(file, (begin, length), found)
        if ours is None:
            return None
        total += len(found)
        sections.append(ours)
    return Headers(sections, (at, size - at)) if sections else None


def _section_order(window: Window) -> ByteOrder | None:
    if not window.more(12):
        return None
    head = window.data[window.at : window.at + 12].tobytes()
    return BYTE_ORDER.get(head[8:]) if head[:4] == MAGIC else None


def _rows(
    window: Window, control: Column, rows: Column, by: Walk, size: int, most: int = MOST_FRAMES
) -> tuple[Column | None, int]:
    """All rows up to the next section, the end or damage, and the place where that is. None: too many."""
    parts: list[Column] = []
    count, end = 0, window.base + window.at
    header = int(control[HEADER]) or WORDS
    while window.more(header):  # what is shorter, at the very end, stays there
        base = window.base
        window.at = by(window, control, rows)
        n = int(control[ROWS])
        part = rows[:n].copy()
        part[:, PLACE] += base
        whole = int((part[:, PLACE] + part[:, LENGTH] <= size).sum())
        parts.append(part[:whole])
        count += whole
        if count > most:
            return None, 0
        if whole:
            end = int(part[whole - 1, PLACE] + part[whole - 1, LENGTH])
        if whole < n or control[REASON] in (NEW_SECTION, DAMAGE):
            break
    return np.vstack(parts) if parts else np.zeros((0, COLUMNS), np.int64), end


def _section(file: io.FileIO, first: Extent, rows: Column) -> Section | None:
    """A pcapng section out of its rows; `first` is its header block."""
    if (rows[:, INTERFACE] == TIMELESS).any():
        return None
    packets = rows[:, INTERFACE] >= 0
    front = [first, *((int(place), int(length)) for place, length, _, _ in rows[~packets])]
    described = io.BytesIO(b"".join(_at(file, each) for each in front))
    reader, view, at = PcapngReader(), captured.Window(described.read, ""), 0
    while (taken := reader.take(view, at)) is not None:
        at = taken.stop
    frames = rows[packets]
    if len(frames) and int(frames[:, INTERFACE].max()) >= len(reader.clocks):
        return None
    times = np.zeros(len(frames), np.int64)
    # Frames by the clock that they have in common, of which there is mostly one, however many interfaces.
    clocks = {(clock.multiply, clock.divide, clock.offset): clock for clock in reader.clocks}
    places = {same: n for n, same in enumerate(clocks)}
    of = np.array([places[clock.multiply, clock.divide, clock.offset] for clock in reader.clocks] or [0], np.int64)
    kinds = of[frames[:, INTERFACE]]
    grouped = kinds.argsort(kind="stable")
    bounds = kinds[grouped].searchsorted(np.arange(len(clocks) + 1)).tolist()
    for n, clock in enumerate(clocks.values()):
        own = grouped[bounds[n] : bounds[n + 1]]
        ticks = frames[own, TICKS]
        if abs(clock.offset) >> 62 or (len(ticks) and int(ticks.max()) * clock.multiply // clock.divide >> 62):
            return None
        if clock.multiply * clock.divide >> 62:
            return None
        whole, part = ticks // clock.divide, ticks % clock.divide
        times[own] = whole * clock.multiply + part * clock.multiply // clock.divide + clock.offset
    return Section(
        front, frames[:, PLACE], frames[:, LENGTH], times, frames[:, INTERFACE],
        [clock.link_type for clock in reader.clocks], WORDS, 4,
    )  # fmt: skip


def _at(file: io.FileIO, extent: Extent) -> bytes:
    file.seek(extent[0])
    return file.read(extent[1]) or b""
