"""pcapng (draft-ietf-opsawg-pcapng): blocks, each with its length before and after, in sections of either byte order.

    type | length | body ...... | length      every block; the length counts all four parts and is a multiple of 4

Read are Section Header, Interface Description, Enhanced Packet, Simple Packet, the obsolete Packet Block, Decryption
Secrets, and Interface Statistics whose comment says that they are a tick; every other block is stepped over. Of the
options only an interface's name, first comment, time resolution and time offset and a packet's flags are looked at.
Rules that the draft leaves to the reader:

- A Simple Packet Block has no time: it takes that of the packet block before it in the file (0 for the first). So does
  a packet whose time does not fit 64 signed bits of nanoseconds (the years 1677 to 2262), which no one can place.
- A section's own length is not used: concatenated and unfinished files have it wrong, and the blocks tell the truth.
- A block that contradicts itself ends the file, as in libpcap and Wireshark: what follows cannot be trusted to be where
  it seems to be. Damaged options end it for an interface (its times would be wrong), and are not looked at elsewhere.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from rxtls.wire.captured import (
    MAX_BLOCK,
    MAX_FRAME,
    MAX_INTERFACES,
    MAX_NAME,
    MAX_SECRETS,
    ByteOrder,
    Captured,
    Frame,
    Interface,
    Secrets,
    Taken,
    Tick,
    Window,
)
from rxtls.wire.pcap import MAGICS

MAGIC = b"\x0a\x0d\x0d\x0a"  # a Section Header Block's type reads the same in both byte orders

SECTION = 0x0A0D0D0A
_INTERFACE = 1
_PACKET = 2
_SIMPLE = 3
_STATISTICS = 5
_ENHANCED = 6
SECRETS = 10

BYTE_ORDER: dict[bytes, ByteOrder] = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}

# The shortest legal block of each type, in bytes.
SHORTEST = {SECTION: 28, _INTERFACE: 20, _PACKET: 32, _SIMPLE: 16, _ENHANCED: 32, SECRETS: 20}
SHORTEST_BLOCK = 12
_SCAN = 64 << 10  # bytes of headers looked at in one go; longer blocks are stepped over
_WORDS = 28  # an Enhanced Packet Block up to its data

_SHORTEST_TICK = 40  # Interface Statistics with a comment that is long enough
TICK = b"rxtls tick"  # how the comment of Interface Statistics begins that are a tick

_OPTION_END = 0
_OPTION_COMMENT = 1
_OPTION_FLAGS = 2
_FLAGS_OPTION = 8  # bytes: the least that options take in which there are flags
_OPTION_NAME = 2
_OPTION_RESOLUTION = 9
_OPTION_OFFSET = 14

_TIME_MIN, _TIME_MAX = -(1 << 63), (1 << 63) - 1


class Layout:
    """The unpackers of one byte order."""

    __slots__ = (
        "block",
        "interface",
        "option",
        "packet",
        "secrets",
        "section",
        "statistics",
        "time_offset",
        "word",
        "words",
    )

    def __init__(self, order: str) -> None:
        self.block = struct.Struct(order + "II").unpack_from
        self.section = struct.Struct(order + "HH").unpack_from
        self.interface = struct.Struct(order + "H2xI").unpack_from
        self.statistics = struct.Struct(order + "III").unpack_from
        self.words = struct.Struct(order + "IIIIIII").unpack_from
        self.word = struct.Struct(order + "I").unpack_from
        self.packet = struct.Struct(order + "H2xIIII").unpack_from
        self.secrets = struct.Struct(order + "II").unpack_from
        self.option = struct.Struct(order + "HH").unpack_from
        self.time_offset = struct.Struct(order + "q").unpack_from


LAYOUTS: dict[ByteOrder, Layout] = {"<": Layout("<"), ">": Layout(">")}


class Clock(NamedTuple):
    """How an interface's packets are placed: nanoseconds = ticks * multiply // divide + offset."""

    number: int
    link_type: int
    snap_length: int
    multiply: int
    divide: int
    offset: int


class PcapngReader:
    """What a reader of pcapng knows between two blocks.

    `section` counts sections from 0; `order` and `clocks`, its interfaces so far, are those of the section at hand.
    `last` is the time of the packet before, which one without a time takes: who reads packets past `take` sets it.
    """

    __slots__ = ("_described", "_layout", "_secret_bytes", "clocks", "last", "order", "section")

    def __init__(self) -> None:
        self.section = -1
        self.order: ByteOrder = "<"  # until the first Section Header Block, which is the first block
        self.clocks: list[Clock] = []
        self.last = 0
        self._layout = LAYOUTS[self.order]
        self._described = 0
        self._secret_bytes = 0

    def take(self, window: Window, at: int) -> Taken | None:
        """The block at data[at], whatever it is and takes; None at the end of the input.

        `Taken.stop` is a place in the window's data as it is afterwards. Raises CaptureError at damage.
        """
        data = window.data
        if len(data) - at < SHORTEST_BLOCK:
            data, at = window.slide(at, SHORTEST_BLOCK), 0
            if not data:
                return None
            if len(data) < SHORTEST_BLOCK:
                raise window.damage(0, f"truncated in a block header: {len(data)} of {SHORTEST_BLOCK} bytes")
        layout = self._layout
        kind, length = layout.block(data, at)
        if kind == SECTION:
            order = BYTE_ORDER.get(data[at + 8 : at + 12])
            if order is None:
                raise window.damage(at + 8, "a section header without the byte-order magic")
            layout = LAYOUTS[order]
            length = layout.block(data, at)[1]
        if length < SHORTEST_BLOCK or length & 3 or length > MAX_BLOCK:
            if data[at : at + 4] in MAGICS:
                raise window.damage(at, "another capture begins here, a pcap: give the two by themselves")
            raise window.damage(at, _bad_length(kind, length))
        if len(data) - at < length:
            data, at = window.slide(at, length), 0
            if len(data) < length:
                raise window.damage(0, f"truncated in a block of type {kind:#x}: {len(data)} of {length} bytes")
        if layout.word(data, at + length - 4)[0] != length:
            raise window.damage(at, f"a block of type {kind:#x} whose two lengths differ")
        if length < SHORTEST.get(kind, 0):
            raise window.damage(at, _bad_length(kind, length))
        item: Captured | None = None
        if kind in (_ENHANCED, _PACKET, _SIMPLE):
            item = self._packet(window, at, kind, length)
            self.last = item.time_ns
        elif kind == _INTERFACE:
            if self._described == MAX_INTERFACES:
                raise window.damage(at, f"more than {MAX_INTERFACES} interfaces, which is the bound")
            name, comment, clock = _interface(window, at, length, layout, self._described)
            item = Interface(name, clock.link_type, clock.snap_length, self.section, len(self.clocks), comment)
            self.clocks.append(clock)
            self._described += 1
        elif kind == SECTION:
            major, minor = layout.section(data, at + 12)
            if major != 1:
                raise window.damage(at, f"pcapng version {major}.{minor} is not read here")
            self.section += 1
            self.order, self._layout, self.clocks = BYTE_ORDER[data[at + 8 : at + 12]], layout, []
        elif kind == SECRETS:
            secrets_kind, size = layout.secrets(data, at + 8)
            if size > length - 20:
                raise window.damage(at, f"secrets of {size} bytes in a block that has room for {length - 20}")
            self._secret_bytes += size
            if self._secret_bytes > MAX_SECRETS:
                raise window.damage(at, f"more than {MAX_SECRETS} bytes of secrets, which is the bound")
            item = Secrets(secrets_kind, data[at + 16 : at + 16 + size])
        elif kind == _STATISTICS and length >= _SHORTEST_TICK:
            item = self._tick(data, at, length)
        return Taken(item, at + length)

    def _tick(self, data: bytes, at: int, length: int) -> Tick | None:
        """The Interface Statistics Block at data[at], if it is a tick. Damage in any other one is nobody's concern."""
        interface, high, low = self._layout.statistics(data, at + 8)
        code, size = self._layout.option(data, at + 20)
        if code != _OPTION_COMMENT or not data.startswith(TICK, at + 24, at + 24 + min(size, length - 28)):
            return None
        if interface >= len(self.clocks):
            return None
        clock = self.clocks[interface]
        stamp = (high << 32 | low) * clock.multiply // clock.divide + clock.offset
        return Tick(stamp) if _TIME_MIN <= stamp <= _TIME_MAX else None

    def _packet(self, window: Window, at: int, kind: int, length: int) -> Frame:
        """An Enhanced, a Simple or an obsolete Packet Block, which lies at data[at]."""
        data, layout = window.data, self._layout
        interface = high = low = 0
        if kind == _ENHANCED:
            _, _, interface, high, low, captured, wire = layout.words(data, at)
            start, room = at + 28, length - 32
        elif kind == _PACKET:
            interface, high, low, captured, wire = layout.packet(data, at + 8)
            start, room = at + 28, length - 32
        else:
            captured = wire = layout.word(data, at + 8)[0]
            start, room = at + 12, length - 16
        if interface >= len(self.clocks):
            raise window.damage(at, _no_interface(interface, self.clocks))
        clock = self.clocks[interface]
        time_ns = self.last
        if kind == _SIMPLE:
            # "The smaller of the Original Packet Length and the SnapLen": the block does not say how much it holds.
            # A file whose snap length is a lie still shows how much there can be, up to three bytes of padding.
            captured = min(captured, clock.snap_length or captured, room)
        else:
            stamp = (high << 32 | low) * clock.multiply // clock.divide + clock.offset
            if _TIME_MIN <= stamp <= _TIME_MAX:
                time_ns = stamp
        if captured > room or captured > MAX_FRAME:
            raise window.damage(at, _bad_capture(captured, room))
        flags = 0
        if kind == _ENHANCED:
            flags = _flags(data, start + (captured + 3 & ~3), at + length - 4, layout)
        return Frame(time_ns, clock.number, clock.link_type, max(wire, captured), data[start : start + captured], flags)


def read_pcapng(window: Window) -> Iterator[Captured]:
    """Interfaces, frames, secrets and ticks in file order. `window` stands at MAGIC.

    Raises CaptureError at the first damage, after everything before it.
    """
    reader = PcapngReader()
    new = tuple.__new__  # a NamedTuple's own constructor costs twice as much
    at = 0
    while (taken := reader.take(window, at)) is not None:
        item, at = taken
        if item is not None:
            yield item
        # Sound Enhanced Packet Blocks that lie in the window whole, by far the most frequent. What ends this is looked
        # at again by `take`.
        clocks, last = reader.clocks, reader.last
        layout = LAYOUTS[reader.order]
        words, word = layout.words, layout.word
        current = -1  # the interface that the next line is about: packets of one interface come in runs
        index = link_type = multiply = divide = offset = 0
        data = window.data
        end = len(data)
        while end - at >= _WORDS:
            kind, length, interface, high, low, captured, wire = words(data, at)
            stop = at + length
            if kind != _ENHANCED or length & 3 or stop > end or length > MAX_BLOCK or captured > length - 32:
                break
            if interface != current:
                if interface >= len(clocks):
                    break
                index, link_type, _, multiply, divide, offset = clocks[interface]
                current = interface
            if captured > MAX_FRAME or word(data, stop - 4)[0] != length:
                break
            time_ns = (high << 32 | low) * multiply
            if divide != 1:
                time_ns //= divide
            time_ns += offset
            if _TIME_MIN <= time_ns <= _TIME_MAX:
                last = time_ns
            start = at + 28
            if wire < captured:
                wire = captured
            options = start + (captured + 3 & ~3)
            flags = _flags(data, options, stop - 4, layout) if stop - options >= _FLAGS_OPTION + 4 else 0
            yield new(Frame, (last, index, link_type, wire, data[start : start + captured], flags))
            at = stop
        reader.last = last


def scan_secrets(read: Callable[[int], bytes], skip: Callable[[int], object]) -> Iterator[Secrets]:
    """Only the secrets, in file order, seeing nothing of other blocks but their headers.

    `read(n)` gives n bytes, fewer only at the end; `skip(n)` moves on by n. Anything that is not pcapng has no secrets,
    and damage is where this ends without a word: read_pcapng is the one that reports it.
    """
    layout: Layout | None = None
    secret_bytes = 0
    data = b""
    at = end = 0
    while True:
        if end - at < SHORTEST_BLOCK:
            if at > end:
                skip(at - end)
            data = data[at:] + read(_SCAN)
            at, end = 0, len(data)
            if end < SHORTEST_BLOCK:
                return
        if data.startswith(MAGIC, at):
            order = BYTE_ORDER.get(data[at + 8 : at + 12])
            layout = LAYOUTS[order] if order else None
        if layout is None:
            return
        kind, length = layout.block(data, at)
        if length < SHORTEST_BLOCK or length & 3 or length > MAX_BLOCK:
            return
        if kind == SECRETS:
            if end - at < length:
                data = data[at:] + read(length)
                at, end = 0, len(data)
            if end < length or length < SHORTEST[SECRETS]:
                return
            secrets_kind, size = layout.secrets(data, at + 8)
            secret_bytes += size
            if size > length - 20 or secret_bytes > MAX_SECRETS:
                return
            yield Secrets(secrets_kind, data[at + 16 : at + 16 + size])
        at += length


def _interface(
    window: Window, at: int, length: int, layout: Layout, index: int
) -> tuple[str | None, str | None, Clock]:
    """The name, the first comment and the clock of the Interface Description Block at data[at]."""
    link_type, snap_length = layout.interface(window.data, at + 8)
    name = comment = None
    multiply, divide, offset = 1000, 1, 0  # "if this option is not present, a resolution of 10^-6 is assumed"
    for place, code, value in _options(window, at + 16, at + length - 4, layout):
        if code == _OPTION_NAME:
            name = _printable(value)
        elif code == _OPTION_COMMENT:
            comment = comment or _printable(value)
        elif code == _OPTION_RESOLUTION:
            if len(value) != 1:
                raise window.damage(place, f"an if_tsresol of {len(value)} bytes instead of 1")
            multiply, divide = _resolution(value[0])
        elif code == _OPTION_OFFSET:
            if len(value) != 8:
                raise window.damage(place, f"an if_tsoffset of {len(value)} bytes instead of 8")
            offset = layout.time_offset(value)[0] * 1_000_000_000
    return name, comment, Clock(index, link_type, snap_length, multiply, divide, offset)


def _options(window: Window, at: int, stop: int, layout: Layout) -> Iterator[tuple[int, int, bytes]]:
    """(place, code, value) of the options in data[at:stop]."""
    data = window.data
    while at + 4 <= stop:
        code, length = layout.option(data, at)
        if code == _OPTION_END:
            return
        if at + 4 + length > stop:
            raise window.damage(at, f"option {code} of {length} bytes runs over the end of its block")
        yield at, code, data[at + 4 : at + 4 + length]
        at += 4 + length + (-length & 3)


def _flags(data: bytes, at: int, stop: int, layout: Layout) -> int:
    """epb_flags among the options in data[at:stop], 0 if they are not there. Damage ends no more than the search."""
    while at + _FLAGS_OPTION <= stop:
        code, length = layout.option(data, at)
        if code == _OPTION_FLAGS and length == 4:
            flags: int = layout.word(data, at + 4)[0]
            return flags
        if code == _OPTION_END:
            break
        at += 4 + (length + 3 & ~3)
    return 0


def _resolution(value: int) -> tuple[int, int]:
    """if_tsresol as (multiply, divide): the high bit says whether the rest is a negative power of 2 or of 10."""
    if value & 0x80:
        return 1_000_000_000, 1 << (value & 0x7F)
    return (10 ** (9 - value), 1) if value <= 9 else (1, 10 ** (value - 9))


def _printable(value: bytes) -> str:
    """A name fit for a table and a terminal, whatever is in it: UTF-8 up to a NUL, the unprintable replaced."""
    text = value[: 4 * MAX_NAME].split(b"\0", 1)[0].decode(errors="replace")[:MAX_NAME]
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def _no_interface(interface: int, clocks: list[Clock]) -> str:
    return f"a packet on interface {interface} of a section that has described {len(clocks)}"


def _bad_length(kind: int, length: int) -> str:
    if length > MAX_BLOCK:
        return f"a block of type {kind:#x} of {length} bytes; the bound is {MAX_BLOCK}"
    if length & 3:
        return f"a block of type {kind:#x} of {length} bytes, which is not a multiple of 4"
    return f"a block of type {kind:#x} of {length} bytes; at least {SHORTEST.get(kind, SHORTEST_BLOCK)} are needed"


def _bad_capture(captured: int, room: int) -> str:
    if captured > room:
        return f"a packet of {captured} captured bytes in a block that has room for {room}"
    return f"a packet of {captured} captured bytes; the bound is {MAX_FRAME}"
