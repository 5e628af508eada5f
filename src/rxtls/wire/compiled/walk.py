"""Captures walked, frames parsed and checksums taken in one pass: the fast twin of pcap.py and pcapng.py.

A walker is driven over a buffer (a window of a capture) by one who knows the file's headers:

    walker = PcapWalker(...) or PcapngWalker(...)
    frames, at, reason = walker.walk(data, at, end, index, limit)

    FULL   as many frames as the tables hold; call again at `at`
    MORE   what lies at `at` is not whole before `end`: `need` bytes from `at` on would be the least to go on with
    OTHER  what lies at `at` is not walked here: no Enhanced Packet Block, or anything odd or damaged in one
    LATER  the frame at `at` is later than `limit`; `next_time` is its time

All frames before `at` are in `frames`; nothing is taken back, whatever the reason. The frame or block at `at` is looked
at anew by the next call. For OTHER the plain reader's code takes the one block at `at`, of which perhaps only the first
four bytes lie before `end`, or raises its CaptureError; in pcap, OTHER is a frame beyond MAX_FRAME. MORE with no byte
left at the end of the input is its end; with some, the plain reader can name what is truncated.

The payload that the checksum has read brings the processor's prefetcher to the next header: that is why walking and
parsing are one pass. A walk alone (`parse` False) costs a cache miss for every frame.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rxtls.native import Array, Row, Table, inlined, inner, kernel, little32, load32, prefetch
from rxtls.wire.captured import MAX_BLOCK, MAX_FRAME, ByteOrder
from rxtls.wire.compiled.columns import ODD, FrameRow, Frames, PacketRow
from rxtls.wire.compiled.parse import parse_frame, resolve_odd
from rxtls.wire.compiled.shard import Share
from rxtls.wire.pcap import AGAIN, PcapReader

FULL, MORE, OTHER, LATER = range(4)

MOST_FRAMES = 4096  # in one call, unless told otherwise

# The control row: what a walk is told and what it tells. The first ones are the answer.
_FRAMES = 0
_POSITION = 1
_REASON = 2
_NEED = 3
_NEXT_TIME = 4
_ODD_FRAMES = 5
_LAST_TIME = 6  # of the latest packet that had one; kept from call to call
_LIMIT = 7
_INCLUSIVE = 8
_PCAPNG = 9
_LITTLE = 10  # byte order of the file or section
_HEADER = 11  # pcap: bytes of a frame header
_UNIT = 12  # pcap: nanoseconds per unit of the fraction
_CHECK_IP = 13
_SHARE = 14  # address of a Share, or 0
_CONTROL_COLUMNS = 15

# An interface: ns = ticks * multiply // divide + offset, for ticks of up to MOST whole divides.
_OURS = 0  # as capture/source.py counts interfaces over all captures
_LINK_TYPE = 1
_MULTIPLY = 2
_DIVIDE = 3
_OFFSET_NS = 4
_MOST = 5  # -1: int64 cannot tell this clock's times at all
_CLOCK_COLUMNS = 6

_AGAIN = np.array(sorted(AGAIN), np.int64)

_LONG = 512  # bytes
_AHEAD = 4  # frames
_LINE = 64

_ENHANCED = 6
_WORDS = 28  # an Enhanced Packet Block up to its data
_SHORTEST = 32
_SECOND = 1_000_000_000
_INT64_MIN, _INT64_MAX = -(1 << 63), (1 << 63) - 1

Bytes = npt.NDArray[np.uint8]


@inlined
def _word(address: int, little: int) -> int:
    return little32(address) if little else load32(address)


@inlined
def _stop(control: Row, reason: int, need: int) -> None:
    control[_REASON] = reason
    control[_NEED] = need


@inlined
def _placed(control: Row, clocks: Table, row: int, ticks: int) -> bool:
    """Whether the time of `ticks` fits; then it is _NEXT_TIME. Never overflows: see `_clock`."""
    if ticks < 0:
        return False  # 2^63 and more, as it came unsigned
    if clocks[row, _DIVIDE] == 1:
        if ticks > clocks[row, _MOST]:
            return False
        time_ns = ticks * clocks[row, _MULTIPLY]
    else:
        whole = ticks // clocks[row, _DIVIDE]
        if whole > clocks[row, _MOST]:
            return False
        part = ticks - whole * clocks[row, _DIVIDE]
        time_ns = whole * clocks[row, _MULTIPLY] + part * clocks[row, _MULTIPLY] // clocks[row, _DIVIDE]
    if clocks[row, _OFFSET_NS] > 0 and time_ns > _INT64_MAX - clocks[row, _OFFSET_NS]:
        return False
    control[_NEXT_TIME] = time_ns + clocks[row, _OFFSET_NS]
    return True


@inner
def is_magic(word: int) -> int:
    """pcap.AGAIN."""
    found = False
    for n in range(len(_AGAIN)):
        found |= word == _AGAIN[n]
    return found


@inner
def _flags(at: int, stop: int, little: int) -> int:
    """pcapng._flags."""
    while at + 8 <= stop:
        head = _word(at, little)
        code = head & 0xFFFF if little else head >> 16
        length = head >> 16 if little else head & 0xFFFF
        if code == 2 and length == 4:
            return _word(at + 4, little)
        if code == 0:
            break
        at += 4 + ((length + 3) & ~3)
    return 0


@kernel
def _walk(base: int, at: int, end: int, index: int, control: Row, clocks: Table, frames: Table, packets: Table) -> None:
    """Frames from base + at on, until there is a reason to stop."""
    little = control[_LITTLE] != 0
    pcapng = control[_PCAPNG] != 0
    header = control[_HEADER]
    unit = control[_UNIT]
    check_ip = control[_CHECK_IP] != 0
    share = control[_SHARE]
    parsing = len(packets) > 0
    most = len(frames)
    limit = control[_LIMIT]
    inclusive = control[_INCLUSIVE] != 0
    n = 0
    odd = 0
    flags = 0
    stride = 0  # of the latest long frame
    while True:
        if n == most:
            _stop(control, FULL, 0)
            break
        if pcapng:
            if end - at < _WORDS:
                foreign = end - at >= 4 and _word(base + at, little) != _ENHANCED
                _stop(control, OTHER if foreign else MORE, 0 if foreign else _WORDS)
                break
            length = _word(base + at + 4, little)
            if _word(base + at, little) != _ENHANCED or length < _SHORTEST or length & 3 or length > MAX_BLOCK:
                _stop(control, OTHER, 0)
                break
            following = at + length
            if following > end:
                _stop(control, MORE, length)
                break
            interface = _word(base + at + 8, little)
            captured = _word(base + at + 20, little)
            wire = _word(base + at + 24, little)
            if (
                _word(base + following - 4, little) != length
                or interface >= len(clocks)
                or captured > length - _SHORTEST
                or captured > MAX_FRAME
            ):
                _stop(control, OTHER, 0)
                break
            ticks = _word(base + at + 12, little) << 32 | _word(base + at + 16, little)
            if not _placed(control, clocks, interface, ticks):
                _stop(control, OTHER, 0)
                break
            start = at + _WORDS
            options = start + ((captured + 3) & ~3)
            flags = _flags(base + options, base + following - 4, little) if following - options >= 12 else 0
        else:
            if end - at < header:
                _stop(control, MORE, header)
                break
            interface = 0
            captured = _word(base + at + 8, little)
            wire = _word(base + at + 12, little)
            if captured > MAX_FRAME or (not captured and not wire and is_magic(_word(base + at, little))):
                _stop(control, OTHER, 0)
                break
            start = at + header
            following = start + captured
            if following > end:
                _stop(control, MORE, header + captured)
                break
            control[_NEXT_TIME] = _word(base + at, little) * _SECOND + _word(base + at + 4, little) * unit
        time_ns = control[_NEXT_TIME]
        if time_ns > limit or (time_ns == limit and not inclusive):
            _stop(control, LATER, 0)
            break
        frames[n, FrameRow.INDEX] = index + n
        frames[n, FrameRow.TIME] = time_ns
        frames[n, FrameRow.INTERFACE] = clocks[interface, _OURS]
        frames[n, FrameRow.LINK] = clocks[interface, _LINK_TYPE]
        frames[n, FrameRow.WIRE] = max(wire, captured)
        frames[n, FrameRow.OFFSET] = start
        frames[n, FrameRow.LENGTH] = captured
        frames[n, FrameRow.EPB_FLAGS] = flags
        if parsing:
            parse_frame(base, frames, n, packets, check_ip, share)
            odd += packets[n, PacketRow.FATE] == ODD
            if share:
                # Nothing reads the payload of foreign frames, and so nothing but this brings the headers behind them:
                # where they are if the next frames are as long as the last long one.
                if following - at > _LONG:
                    stride = following - at
                for ahead in range(1, _AHEAD):
                    prefetch(base + following + ahead * stride)
                    prefetch(base + following + ahead * stride + _LINE)
        control[_LAST_TIME] = time_ns
        at = following
        n += 1
    control[_FRAMES] = n
    control[_POSITION] = at
    control[_ODD_FRAMES] = odd


class Walker:
    """What both walkers have in common: `walk`, and the tables that it fills over and over.

    `parse` False leaves the packets out: `Frames.packets` is then empty. `check_ip` as in wire.frame.parse. `most` is
    how many frames a call can give. With a `share`, packets of other jobs are FOREIGN.
    """

    def __init__(self, parse: bool, check_ip: bool, most: int, share: Share | None) -> None:
        self.need = 0  # after MORE
        self.next_time = 0  # after LATER
        self._table: Array = np.zeros((most, FrameRow.COLUMNS), np.int64)
        self._packets: Array = np.zeros((most if parse else 0, PacketRow.COLUMNS), np.int64)
        self._clocks: Array = np.zeros((0, _CLOCK_COLUMNS), np.int64)
        self._control: npt.NDArray[np.int64] = np.zeros(_CONTROL_COLUMNS, np.int64)
        self._control[_CHECK_IP] = self._check_ip = check_ip
        self._control[_SHARE] = share.address if share else 0
        self._share = share

    def walk(
        self, data: Bytes, at: int, end: int, index: int, limit: int = _INT64_MAX, inclusive: bool = True
    ) -> tuple[Frames, int, int]:
        """Frames from data[at] on, no byte at or beyond data[end]; the place where this stopped; and why.

        The frames are numbered `index`, `index` + 1, ...; their OFFSET is into `data`. One whose time is beyond `limit`
        stops the walk, and so does one at `limit` unless `inclusive`. **The tables are valid until the next call.**
        `data` is contiguous, and 0 <= at <= end <= len(data); else ValueError.
        """
        if not 0 <= at <= end <= len(data) or not data.flags.c_contiguous:
            raise ValueError(f"cannot walk {at}..{end} of {len(data)} bytes")
        control = self._control
        control[_LIMIT] = limit
        control[_INCLUSIVE] = inclusive
        _walk(data.ctypes.data, at, end, index, control, self._clocks, self._table, self._packets)
        n, at, reason, self.need, self.next_time, odd, *_ = control.tolist()
        frames = Frames(data, self._table[:n], self._packets[:n])
        if odd:
            resolve_odd(frames, self._check_ip, self._share)
        return frames, at, reason


class PcapWalker(Walker):
    """Walks frames of a pcap from the end of its file header on.

    `said` is the reader that took the file header; `interface` is the INTERFACE of all its frames.
    """

    def __init__(
        self, said: PcapReader, interface: int,
        *, parse: bool = True, check_ip: bool = True, most: int = MOST_FRAMES, share: Share | None = None,
    ) -> None:  # fmt: skip
        super().__init__(parse, check_ip, most, share)
        self._control[_LITTLE] = said.order == "<"
        self._control[_HEADER] = said.header_length
        self._control[_UNIT] = said.unit
        self._clocks = np.array([(interface, said.link_type, 0, 1, 0, 0)], np.int64)


class PcapngWalker(Walker):
    """Walks runs of Enhanced Packet Blocks. Whoever reads the other blocks says what they mean: `section`, `interface`.

    `last` is the time of the packet before (0 for the first), which a block without a time takes; one who reads a
    packet block sets it.
    """

    def __init__(
        self, *, parse: bool = True, check_ip: bool = True, most: int = MOST_FRAMES, share: Share | None = None
    ) -> None:
        super().__init__(parse, check_ip, most, share)
        self._control[_PCAPNG] = 1
        self._control[_LITTLE] = 1
        self._room = self._clocks  # the section's, and space for more

    @property
    def last(self) -> int:
        return int(self._control[_LAST_TIME])

    @last.setter
    def last(self, time_ns: int) -> None:
        self._control[_LAST_TIME] = time_ns

    def section(self, order: ByteOrder) -> None:
        """A Section Header Block: its byte order. It has no interfaces yet."""
        self._control[_LITTLE] = order == "<"
        self._clocks = self._room[:0]

    def interface(self, ours: int, link_type: int, multiply: int, divide: int, offset: int) -> None:
        """The section's next interface: INTERFACE and LINK of its frames, and its clock (pcapng._Clock)."""
        n = len(self._clocks)
        if n == len(self._room):
            self._room = np.vstack((self._room, np.zeros((max(n, 8), _CLOCK_COLUMNS), np.int64)))
        self._room[n] = (ours, link_type, *_clock(multiply, divide, offset))
        self._clocks = self._room[: n + 1]


def _clock(multiply: int, divide: int, offset: int) -> tuple[int, int, int, int]:
    """_MULTIPLY to _MOST. floor((q * d + r) * m / d) is q * m + floor(r * m / d): bounds on d * m and q suffice."""
    if multiply * divide > _INT64_MAX or not _INT64_MIN <= offset <= _INT64_MAX:
        return 1, 1, 0, -1
    most = _INT64_MAX // multiply if divide == 1 else _INT64_MAX // multiply - 1
    return multiply, divide, offset, most
