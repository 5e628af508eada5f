"""A capture file whose frames are not in order of time, read as if they were: nothing is copied, only read elsewhere.

    file        front | 5 6 7 8 | 1 2 3 4 | tail         as `mergecap -a second first` leaves it
    extents     front | 1 2 3 4 | 5 6 7 8 | tail         as it is read

Files come to be so in three ways, and each asks for something else:

    pieces of a capture, appended in the wrong order         frames go back to where their time says
    several queues or interfaces, written as they came up    likewise, mostly by milliseconds
    a clock that was set back, or one damaged time stamp     the order in the file is right

The last is told from the others by TCP (`_goes_on`): where connections go on over the step, the clock is wrong and not
the order. Whether a file is in order is looked up in its frame headers before it is read: in all of them where it is
small, else in stretches (`doubtful`). Pipes and compressed files cannot be read elsewhere: they stay as they are, and
the feed counts what is out of order in them.
"""

from __future__ import annotations

import io
import re
import struct
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rxtls.capture.headers import Column, Headers, Section, Walk, read
from rxtls.seq import distance
from rxtls.wire.captured import MAX_FRAME
from rxtls.wire.frame import parse
from rxtls.wire.pcap import MAGICS
from rxtls.wire.pcapng import MAGIC

WHOLE = 16 << 20  # bytes of a file that is looked through whole; in a longer one
STRETCHES, STRETCH = 16, 256 << 10  # so many stretches of so many bytes
JUDGED_NS = 100_000_000  # queues are late by less. A step back by as much or more may be the clock's
MOST_JUDGED = 256  # in one file
_BESIDE = 64  # frames that are looked at on each side of a step
_NEAR = 1 << 24  # bytes that a stream may have gone on meanwhile


class Numbers:
    """Frames in another order than in their file: a frame's place among all, from 0, to its number, from 1."""

    def __init__(self, starts: Column, firsts: Column) -> None:
        self._starts = starts  # places at which a run of frames begins that follow each other in the file,
        self._firsts = firsts  # and the numbers of the first ones

    def of(self, places: npt.NDArray[np.int64] | np.int64) -> npt.NDArray[np.int64]:
        """Of each place the frame's number."""
        run = self._starts.searchsorted(places, side="right") - 1
        found: npt.NDArray[np.int64] = self._firsts[run] + places - self._starts[run]
        return found

    def one(self, place: int) -> int:
        """The same of one."""
        return int(self.of(np.int64(place)))


class Order(NamedTuple):
    """How to read a file: `extents` (place, bytes) one after the other. `late` frames stood behind later ones, by
    `late_ns` at most; `first_ns` is the time of the first frame now."""

    extents: Column
    numbers: Numbers
    late: int
    late_ns: int
    first_ns: int


class Arranged(io.RawIOBase):
    """A file's extents as a file, which can be read from the beginning."""

    def __init__(self, file: io.FileIO, extents: Column) -> None:
        self._file = file
        self._extents = extents
        self._next = 0
        self._left = 0

    def readable(self) -> bool:
        """As of files."""
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        """To the beginning."""
        if offset or whence:
            raise io.UnsupportedOperation("only the beginning can be sought")
        self._next = self._left = 0
        return 0

    def readinto(self, view: memoryview) -> int:  # type: ignore[override]
        """As of files; several extents at once, where they are short."""
        done = 0
        while done < len(view):
            if not self._left:
                if self._next == len(self._extents):
                    break
                place, self._left = self._extents[self._next].tolist()
                self._next += 1
                self._file.seek(place)
            got = self._file.readinto(memoryview(view)[done : done + self._left]) or 0
            if not got:  # it was truncated meanwhile
                break
            done += got
            self._left -= got
        return done


def order_of(file: io.FileIO, size: int, walk: Walk) -> Order | None:
    """How to read a capture in order of time. None if that is how it stands, or if it cannot be."""
    if size > WHOLE and not doubtful(file, size):
        return None
    headers = read(file, size, walk)
    if headers is None:
        return None
    keys = [_keys(file, section) for section in headers.sections]
    found = [key.argsort(kind="stable") for key in keys]
    turn = _turn(headers, keys)
    if turn == sorted(turn) and all((np.diff(each) == 1).all() for each in found):
        return None
    return _order(headers, keys, found, turn)


def _turn(headers: Headers, keys: list[Column]) -> list[int]:
    """The sections in order of their first frames; one without frames stays behind the one before it."""
    first, firsts = -(1 << 63), []
    for key in keys:
        first = int(key.min()) if len(key) else first
        firsts.append(first)
    return sorted(range(len(headers.sections)), key=firsts.__getitem__)


def _order(headers: Headers, keys: list[Column], found: list[Column], turn: list[int]) -> Order:
    bases = np.cumsum([0, *(len(key) for key in keys)])
    extents: list[Column] = []
    frames: list[Column] = []
    for n in turn:
        section, order = headers.sections[n], found[n]
        places, lengths = section.places[order], section.lengths[order]
        extents += [np.array(section.front, np.int64), np.column_stack((places, lengths))]
        frames.append(order + bases[n])
    extents.append(np.array([headers.tail], np.int64))
    numbers = np.concatenate(frames)
    starts = np.flatnonzero(np.diff(numbers, prepend=-2) != 1)
    key = np.concatenate(keys)
    behind = np.maximum.accumulate(key) - key
    first = next(int(headers.sections[n].times[found[n][0]]) for n in turn if len(found[n]))
    return Order(
        _joined(np.vstack(extents)),
        Numbers(starts, numbers[starts] + 1),
        int((behind > 0).sum()),
        int(behind.max()),
        first,
    )


def _joined(extents: Column) -> Column:
    """Extents that follow each other in the file, as one."""
    extents = extents[extents[:, 1] > 0]
    ends = extents[:, 0] + extents[:, 1]
    starts = np.flatnonzero(np.append(True, extents[1:, 0] != ends[:-1]))
    stops = np.append(starts[1:], len(extents)) - 1
    return np.column_stack((extents[starts, 0], np.add.reduceat(extents[:, 1], starts))) if len(stops) else extents


def _keys(file: io.FileIO, section: Section) -> Column:
    """What to sort a section's frames by: their times, with the clock's own steps back taken out."""
    key = section.times.copy()
    steps = np.flatnonzero(np.diff(section.times) <= -JUDGED_NS) + 1
    if len(steps) <= MOST_JUDGED:
        for at in steps.tolist():
            if _goes_on(file, section, at):
                key[at:] += section.times[at - 1] - section.times[at]
    return key


def _goes_on(file: io.FileIO, section: Section, at: int) -> bool:
    """Whether connections go on from the frames before `at` to those behind it, so that the order there is right."""
    known: dict[tuple[bytes, bytes, int, int], int] = {}  # by direction, the next sequence number as last heard of

    def hear(key: tuple[bytes, bytes, int, int], seq: int) -> None:
        if key not in known or distance(known[key], seq) > 0:
            known[key] = seq

    on = back = 0
    for n in range(max(0, at - _BESIDE), min(len(section.times), at + _BESIDE)):
        start, stop = section.data_at, int(section.lengths[n]) - section.data_end
        file.seek(int(section.places[n]) + start)
        data = file.read(stop - start) or b""
        packet = parse(section.link_types[int(section.interfaces[n])], data, len(data), False)
        if isinstance(packet, str):
            continue
        key = packet.src, packet.dst, packet.sport, packet.dport
        if n < at:
            hear(key, packet.seq + packet.payload_length & 0xFFFF_FFFF)
            if packet.flags & 0x10:
                hear((packet.dst, packet.src, packet.dport, packet.sport), packet.ack)
        elif key in known:
            ahead = distance(known[key], packet.seq)
            on += 0 <= ahead < _NEAR
            back += ahead < 0
    return on > back


# A long file: whether it may be out of order.


def doubtful(file: io.FileIO, size: int) -> bool:
    """Whether in some stretches of a file, or from one to the next, a time is before the one before it."""
    file.seek(0)
    head = file.read(24) or b""
    if head[:4] in MAGICS:
        times = pcap_times
    elif head[:4] == MAGIC:
        times = _pcapng_times
    else:
        return False
    found: list[int] = []
    for n in range(STRETCHES):
        place = (size - STRETCH) * n // (STRETCHES - 1) // 4 * 4
        file.seek(place)
        found += times(head, file.read(STRETCH) or b"", found[-1] if found else None, place)
    return any(b < a for a, b in pairwise(found))


def pcap_times(head: bytes, data: bytes, last: int | None, place: int) -> list[int]:
    """Times of the frames in a stretch, from the first header on that leads to others. Headers are looked for by their
    seconds, of which the upper half changes every 18 hours."""
    order = "<" if head[0] in (0xD4, 0x4D, 0x34) else ">"
    unit = 1 if head[:4] in (b"\xa1\xb2\x3c\x4d", b"\x4d\x3c\xb2\xa1") else 1000
    header = 24 if head[:4] in (b"\xa1\xb2\xcd\x34", b"\x34\xcd\xb2\xa1") else 16
    unpack = struct.Struct(order + "IIII").unpack_from

    def follow(at: int) -> list[int]:
        times: list[int] = []
        while at + header <= len(data):
            seconds, fraction, captured, wire = unpack(data, at)
            if fraction * unit >= 1_000_000_000 or captured > MAX_FRAME or wire > 2 * MAX_FRAME:
                return []
            times.append(seconds * 1_000_000_000 + fraction * unit)
            at += header + captured
        return times

    if place == 0:
        return follow(24)
    upper = 0 if last is None else last // 1_000_000_000 >> 16
    halves = [struct.pack(order + "H", upper + n & 0xFFFF) for n in (0, 1, -1)]
    for half in halves:
        for match in re.finditer(re.escape(half), data):
            times = follow(match.start() - (2 if order == "<" else 0)) if match.start() >= 2 else []
            if len(times) > 2:
                return times
    return []


def _pcapng_times(head: bytes, data: bytes, last: int | None, place: int) -> list[int]:  # noqa: ARG001
    """The same of Enhanced Packet Blocks, in ticks of whatever their clocks are: a doubt too many costs little."""
    order = "<" if head[8:12] == b"\x4d\x3c\x2b\x1a" else ">"
    unpack = struct.Struct(order + "IIIIII").unpack_from
    word = struct.Struct(order + "I").unpack_from
    kind = struct.pack(order + "I", 6)
    at, times = 0, []
    while at + 28 <= len(data):
        length = word(data, at + 4)[0]
        sound = 12 <= length <= MAX_FRAME and not length & 3 and at + length <= len(data)
        if sound and word(data, at + length - 4)[0] == length:
            if data[at : at + 4] == kind:
                _, _, _, high, low, _ = unpack(data, at)
                times.append(high << 32 | low)
            at += length
        else:
            at = data.find(kind, at + 4)
            if at < 0:
                break
            at += -at % 4
    return times
