"""pcapng (draft-ietf-opsawg-pcapng): blocks, each with its length before and after, in sections of either byte order.

    type | length | body ...... | length      every block; the length counts all four parts and is a multiple of 4

Read are Section Header, Interface Description, Enhanced Packet, Simple Packet, the obsolete Packet Block and Decryption
Secrets; every other block is stepped over. Of the options only an interface's name, time resolution and time offset are
looked at. Rules that the draft leaves to the reader:

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
    Frame,
    Interface,
    Secrets,
    Window,
)

MAGIC = b"\x0a\x0d\x0d\x0a"  # a Section Header Block's type reads the same in both byte orders

_SECTION = 0x0A0D0D0A
_INTERFACE = 1
_PACKET = 2
_SIMPLE = 3
_ENHANCED = 6
_SECRETS = 10

_BYTE_ORDER = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}

# The shortest legal block of each type, in bytes.
_SHORTEST = {_SECTION: 28, _INTERFACE: 20, _PACKET: 32, _SIMPLE: 16, _ENHANCED: 32, _SECRETS: 20}
_SHORTEST_BLOCK = 12
_SCAN = 64 << 10  # bytes of headers looked at in one go; longer blocks are stepped over
_WORDS = 28  # an Enhanced Packet Block up to its data

_OPTION_END = 0
_OPTION_NAME = 2
_OPTION_RESOLUTION = 9
_OPTION_OFFSET = 14

_TIME_MIN, _TIME_MAX = -(1 << 63), (1 << 63) - 1


class _Layout:
    """The unpackers of one byte order."""

    __slots__ = ("block", "interface", "option", "packet", "secrets", "section", "time_offset", "word", "words")

    def __init__(self, order: str) -> None:
        self.block = struct.Struct(order + "II").unpack_from
        self.section = struct.Struct(order + "HH").unpack_from
        self.interface = struct.Struct(order + "H2xI").unpack_from
        self.words = struct.Struct(order + "IIIIIII").unpack_from
        self.word = struct.Struct(order + "I").unpack_from
        self.packet = struct.Struct(order + "H2xIIII").unpack_from
        self.secrets = struct.Struct(order + "II").unpack_from
        self.option = struct.Struct(order + "HH").unpack_from
        self.time_offset = struct.Struct(order + "q").unpack_from


_LAYOUTS = {order: _Layout(order) for order in "<>"}


class _Clock(NamedTuple):
    """How an interface's packets are placed: nanoseconds = ticks * multiply // divide + offset."""

    number: int
    link_type: int
    snap_length: int
    multiply: int
    divide: int
    offset: int


def read_pcapng(window: Window) -> Iterator[Frame | Interface | Secrets]:
    """Interfaces, frames and secrets in file order. `window` stands at MAGIC.

    Raises CaptureError at the first damage, after everything before it.
    """
    layout = _LAYOUTS["<"]  # until the first Section Header Block, which is the first block
    words, word = layout.words, layout.word
    clocks: list[_Clock] = []
    section = -1
    described = 0
    secret_bytes = 0
    last = 0
    current = -1  # the interface that the next line is about: packets of one interface come in runs
    index = link_type = multiply = divide = offset = 0
    interface = high = low = captured = wire = 0
    new = tuple.__new__  # a NamedTuple's own constructor costs twice as much
    data = window.data
    at, end = 0, len(data)
    while True:
        if end - at >= _WORDS:
            # Right for an Enhanced Packet Block, by far the most frequent; of others, the first two are.
            kind, length, interface, high, low, captured, wire = words(data, at)
        else:
            data = window.slide(at, _WORDS)
            at, end = 0, len(data)
            if end >= _WORDS:
                continue
            if end == 0:
                return
            if end < _SHORTEST_BLOCK:
                raise window.damage(0, f"truncated in a block header: {end} of {_SHORTEST_BLOCK} bytes")
            kind, length = layout.block(data)
        if kind == _SECTION:
            order = _BYTE_ORDER.get(data[at + 8 : at + 12])
            if order is None:
                raise window.damage(at + 8, "a section header without the byte-order magic")
            layout = _LAYOUTS[order]
            words, word = layout.words, layout.word
            length = layout.block(data, at)[1]
        if length < _SHORTEST_BLOCK or length & 3 or length > MAX_BLOCK:
            raise window.damage(at, _bad_length(kind, length))
        stop = at + length
        if stop > end:
            data = window.slide(at, length)
            at, stop, end = 0, length, len(data)
            if end < length:
                raise window.damage(0, f"truncated in a block of type {kind:#x}: {end} of {length} bytes")
        if word(data, stop - 4)[0] != length:
            raise window.damage(at, f"a block of type {kind:#x} whose two lengths differ")

        if kind == _ENHANCED and length >= 32:
            if interface != current:
                if interface >= len(clocks):
                    raise window.damage(at, _no_interface(interface, clocks))
                index, link_type, _, multiply, divide, offset = clocks[interface]
                current = interface
            if captured > length - 32 or captured > MAX_FRAME:
                raise window.damage(at, _bad_capture(captured, length - 32))
            time_ns = (high << 32 | low) * multiply
            if divide != 1:
                time_ns //= divide
            time_ns += offset
            if _TIME_MIN <= time_ns <= _TIME_MAX:
                last = time_ns
            start = at + 28
            if wire < captured:
                wire = captured
            yield new(Frame, (last, index, link_type, wire, data[start : start + captured]))
            at = stop
            continue

        if length < _SHORTEST.get(kind, 0):
            raise window.damage(at, _bad_length(kind, length))
        if kind in (_SIMPLE, _PACKET):
            frame = _older_packet(window, at, length, layout, clocks, last)
            last = frame.time_ns
            yield frame
        elif kind == _INTERFACE:
            if described == MAX_INTERFACES:
                raise window.damage(at, f"more than {MAX_INTERFACES} interfaces, which is the bound")
            name, clock = _interface(window, at, length, layout, described)
            yield Interface(name, clock.link_type, clock.snap_length, section, len(clocks))
            clocks.append(clock)
            described += 1
        elif kind == _SECTION:
            major, minor = layout.section(data, at + 12)
            if major != 1:
                raise window.damage(at, f"pcapng version {major}.{minor} is not read here")
            section += 1
            clocks, current = [], -1
        elif kind == _SECRETS:
            secrets_kind, size = layout.secrets(data, at + 8)
            if size > length - 20:
                raise window.damage(at, f"secrets of {size} bytes in a block that has room for {length - 20}")
            secret_bytes += size
            if secret_bytes > MAX_SECRETS:
                raise window.damage(at, f"more than {MAX_SECRETS} bytes of secrets, which is the bound")
            yield Secrets(secrets_kind, data[at + 16 : at + 16 + size])
        at = stop


def scan_secrets(read: Callable[[int], bytes], skip: Callable[[int], object]) -> Iterator[Secrets]:
    """Only the secrets, in file order, seeing nothing of other blocks but their headers.

    `read(n)` gives n bytes, fewer only at the end; `skip(n)` moves on by n. Anything that is not pcapng has no secrets,
    and damage is where this ends without a word: read_pcapng is the one that reports it.
    """
    layout: _Layout | None = None
    secret_bytes = 0
    data = b""
    at = end = 0
    while True:
        if end - at < _SHORTEST_BLOCK:
            if at > end:
                skip(at - end)
            data = data[at:] + read(_SCAN)
            at, end = 0, len(data)
            if end < _SHORTEST_BLOCK:
                return
        if data.startswith(MAGIC, at):
            layout = _LAYOUTS.get(_BYTE_ORDER.get(data[at + 8 : at + 12], ""))
        if layout is None:
            return
        kind, length = layout.block(data, at)
        if length < _SHORTEST_BLOCK or length & 3 or length > MAX_BLOCK:
            return
        if kind == _SECRETS:
            if end - at < length:
                data = data[at:] + read(length)
                at, end = 0, len(data)
            if end < length or length < _SHORTEST[_SECRETS]:
                return
            secrets_kind, size = layout.secrets(data, at + 8)
            secret_bytes += size
            if size > length - 20 or secret_bytes > MAX_SECRETS:
                return
            yield Secrets(secrets_kind, data[at + 16 : at + 16 + size])
        at += length


def _older_packet(window: Window, at: int, length: int, layout: _Layout, clocks: list[_Clock], last: int) -> Frame:
    """A Simple Packet Block, or the obsolete Packet Block, which lies at data[at]."""
    data = window.data
    if layout.block(data, at)[0] == _PACKET:
        interface, high, low, captured, wire = layout.packet(data, at + 8)
        start, room = at + 28, length - 32
    else:
        interface, (wire,) = 0, layout.word(data, at + 8)
        start, room = at + 12, length - 16
        captured = wire
    if interface >= len(clocks):
        raise window.damage(at, _no_interface(interface, clocks))
    clock = clocks[interface]
    if start == at + 12:
        # "The smaller of the Original Packet Length and the SnapLen": the block itself does not say how much it holds.
        # A file whose snap length is a lie still shows how much there can be, up to three bytes of padding.
        captured = min(captured, clock.snap_length or captured, room)
    elif _TIME_MIN <= (time_ns := (high << 32 | low) * clock.multiply // clock.divide + clock.offset) <= _TIME_MAX:
        last = time_ns
    if captured > room or captured > MAX_FRAME:
        raise window.damage(at, _bad_capture(captured, room))
    return Frame(last, clock.number, clock.link_type, max(wire, captured), data[start : start + captured])


def _interface(window: Window, at: int, length: int, layout: _Layout, index: int) -> tuple[str | None, _Clock]:
    """The name and the clock of the Interface Description Block at data[at]."""
    link_type, snap_length = layout.interface(window.data, at + 8)
    name = None
    multiply, divide, offset = 1000, 1, 0  # "if this option is not present, a resolution of 10^-6 is assumed"
    for place, code, value in _options(window, at + 16, at + length - 4, layout):
        if code == _OPTION_NAME:
            name = _printable(value)
        elif code == _OPTION_RESOLUTION:
            if len(value) != 1:
                raise window.damage(place, f"an if_tsresol of {len(value)} bytes instead of 1")
            multiply, divide = _resolution(value[0])
        elif code == _OPTION_OFFSET:
            if len(value) != 8:
                raise window.damage(place, f"an if_tsoffset of {len(value)} bytes instead of 8")
            offset = layout.time_offset(value)[0] * 1_000_000_000
    return name, _Clock(index, link_type, snap_length, multiply, divide, offset)


def _options(window: Window, at: int, stop: int, layout: _Layout) -> Iterator[tuple[int, int, bytes]]:
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


def _resolution(value: int) -> tuple[int, int]:
    """if_tsresol as (multiply, divide): the high bit says whether the rest is a negative power of 2 or of 10."""
    if value & 0x80:
        return 1_000_000_000, 1 << (value & 0x7F)
    return (10 ** (9 - value), 1) if value <= 9 else (1, 10 ** (value - 9))


def _printable(value: bytes) -> str:
    """A name fit for a table and a terminal, whatever is in it: UTF-8 up to a NUL, the unprintable replaced."""
    text = value[: 4 * MAX_NAME].split(b"\0", 1)[0].decode(errors="replace")[:MAX_NAME]
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def _no_interface(interface: int, clocks: list[_Clock]) -> str:
    return f"a packet on interface {interface} of a section that has described {len(clocks)}"


def _bad_length(kind: int, length: int) -> str:
    if length > MAX_BLOCK:
        return f"a block of type {kind:#x} of {length} bytes; the bound is {MAX_BLOCK}"
    if length & 3:
        return f"a block of type {kind:#x} of {length} bytes, which is not a multiple of 4"
    return f"a block of type {kind:#x} of {length} bytes; at least {_SHORTEST.get(kind, _SHORTEST_BLOCK)} are needed"


def _bad_capture(captured: int, room: int) -> str:
    if captured > room:
        return f"a packet of {captured} captured bytes in a block that has room for {room}"
    return f"a packet of {captured} captured bytes; the bound is {MAX_FRAME}"
