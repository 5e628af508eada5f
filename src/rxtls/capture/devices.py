"""Which interfaces of captures are the same one: those of pieces that follow each other, and never of two that overlap.

    ring_00001 |-- eth0 --|                            one interface: a connection goes on over the files of a capture
    ring_00002            |-- eth0 --|                 ring, and over sections that were appended to one file
    a          |------- eth0 -------|
    b              |------- eth0 -------|              two: hosts or taps, whatever they call theirs

So what has to be known is from when to when a capture goes, and that before it is read. Headers of small files are
looked through; of a long one the last stretch is enough. A compressed file has to be read once more. Of a pipe nothing
is known: its interfaces are its own.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import NamedTuple, Protocol

from rxtls.capture.compressed import LONGEST_MAGIC, Decompressor, is_compressed
from rxtls.capture.headers import ENHANCED, Walk, read
from rxtls.capture.order import STRETCH, WHOLE, pcap_times
from rxtls.errors import CaptureError
from rxtls.offload import interface_file
from rxtls.wire import captured
from rxtls.wire.capture import Frame, read_capture
from rxtls.wire.captured import MAX_BLOCK
from rxtls.wire.pcap import MAGICS
from rxtls.wire.pcapng import MAGIC, PcapngReader

# A ring's piece may reach into the next one by so much, since frames of several queues are not in order; but by no more
# than this share of the shorter piece.
LATE_NS = 10_000_000
LATE_SHARE = 0.1

Span = tuple[int, int]  # times of the first and of the last frame


class Described(interface_file.Described, Protocol):
    """The same with where it was captured, and how its frames begin."""

    @property
    def file(self) -> int: ...
    @property
    def link_type(self) -> int: ...


class _Device(NamedTuple):
    """One interface so far: the first of its places, and its latest piece, a capture and a section."""

    first: int
    piece: tuple[int, int]


class Devices:
    """Interfaces in the order in which they are met. `names` are the captures', `span` says when a piece was made."""

    def __init__(self, names: list[str], span: Callable[[int, int], Span | None]) -> None:
        self._names = names
        self._span = span
        self._firsts: list[int] = []
        self._known: dict[tuple[str | int, int], list[_Device]] = {}

    def first(self, n: int, interfaces: Sequence[Described]) -> int:
        """The first place of the interface that is the same as that at place `n`."""
        for each in interfaces[len(self._firsts) :]:
            self._firsts.append(self._meet(each))
        return self._firsts[n]

    def _meet(self, each: Described) -> int:
        place, piece = len(self._firsts), (each.file, each.section)
        key = each.name if each.name is not None else each.id, each.link_type
        known = self._known.setdefault(key, [])
        before = [n for n, device in enumerate(known) if self._goes_on(device.piece, piece)]
        if not before:
            known.append(_Device(place, piece))
            return place
        # Of several, the one whose file is called most like it.
        found = max(before, key=lambda n: self._alike(known[n].piece[0], each.file))
        known[found] = _Device(known[found].first, piece)
        return known[found].first

    def _goes_on(self, before: tuple[int, int], piece: tuple[int, int]) -> bool:
        """Whether a piece may go on from another one."""
        if before == piece:
            return True
        one, other = self._span(*before), self._span(*piece)
        if one is None or other is None or (before[0] == piece[0] and one == other):
            return before[0] == piece[0]
        over = min(one[1], other[1]) - max(one[0], other[0])
        return over <= min(LATE_NS, LATE_SHARE * min(one[1] - one[0], other[1] - other[0]))

    def _alike(self, one: int, other: int) -> int:
        pairs = zip(self._names[one], self._names[other], strict=False)
        return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def spans(name: str, walk: Walk, limit: int) -> list[Span | None]:
    """From when to when a regular file goes, by section; of a long or compressed one as if it had one section. Empty if
    it has no frames, or cannot be read."""
    try:
        size = os.stat(name).st_size
        with open(name, "rb", buffering=0) as file:
            head = file.read(max(LONGEST_MAGIC, 24)) or b""
            if is_compressed(head):
                file.seek(0)
                return _all(Decompressor(file.read, name, limit).read, name)
            if size <= WHOLE:
                headers = read(file, size, walk)
                times = [] if headers is None else [section.times for section in headers.sections]
                return [(int(each.min()), int(each.max())) if len(each) else None for each in times]
            return _ends(file, size, head)
    except (OSError, ValueError, CaptureError):
        return []


def _all(read_on: Callable[[int], bytes], name: str) -> list[Span | None]:
    first = last = None
    try:
        for item in read_capture(read_on, name):
            if isinstance(item, Frame):
                first = item.time_ns if first is None else min(first, item.time_ns)
                last = item.time_ns if last is None else max(last, item.time_ns)
    except CaptureError:
        pass
    return [] if first is None or last is None else [(first, last)]


def _ends(file: io.FileIO, size: int, head: bytes) -> list[Span | None]:
    """Of a long file, by its first stretch and its last."""
    file.seek(0)
    first = file.read(STRETCH) or b""
    file.seek((size - STRETCH) // 4 * 4)
    tail = file.read(STRETCH) or b""
    if head[:4] in MAGICS:
        times = pcap_times(head, first, None, 0)
        times += pcap_times(head, tail, times[-1], 1) if times else []
    elif head[:4] == MAGIC:
        reader, view, at = PcapngReader(), captured.Window(io.BytesIO(first).read, ""), 0
        times = []
        try:
            while (taken := reader.take(view, at)) is not None:
                at = taken.stop
                times += [taken.item.time_ns] if isinstance(taken.item, Frame) else []
        except CaptureError:
            pass  # where the stretch ends
        times += _pcapng_times(reader, tail)
    else:
        times = []
    return [(min(times), max(times))] if times else []


def _pcapng_times(reader: PcapngReader, data: bytes) -> list[int]:
    """Times of the Enhanced Packet Blocks in a stretch, by the clocks that `reader` knows."""
    words = struct.Struct(reader.order + "IIIII").unpack_from
    word = struct.Struct(reader.order + "I").unpack_from
    kind = struct.pack(reader.order + "I", ENHANCED)
    at, times = 0, []
    while at + 28 <= len(data):
        _, length, interface, high, low = words(data, at)
        sound = 12 <= length <= MAX_BLOCK and not length & 3 and at + length <= len(data)
        if not sound or word(data, at + length - 4)[0] != length:
            at = data.find(kind, at + 4)
            if at < 0:
                break
            at += -at % 4
            continue
        if data[at : at + 4] == kind and interface < len(reader.clocks):
            clock = reader.clocks[interface]
            times.append((high << 32 | low) * clock.multiply // clock.divide + clock.offset)
        at += length
    return times
