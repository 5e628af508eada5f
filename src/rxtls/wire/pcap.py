"""pcap, the older capture format (draft-ietf-opsawg-pcap): one file header, then a header and the bytes of each frame.

    magic version(2.2) zone sigfigs snap_length link_type | seconds fraction captured wire | data | ...

The magic number tells byte order and the unit of `fraction`. Kuznetzov's "modified" pcap has eight more bytes in each
frame header (interface index, protocol, packet type), which are passed over. The snap length in the file header is not
held against the frames: writers put 0 and other things there, and MAX_FRAME bounds them anyway.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from rxtls.wire.captured import MAX_FRAME, ByteOrder, Captured, Frame, Interface, Taken, Window

_HEADER_LENGTH = 24
# magic as it stands in the file: byte order, nanoseconds per unit of the fraction, length of a frame header
_MAGICS: dict[bytes, tuple[ByteOrder, int, int]] = {
    b"\xa1\xb2\xc3\xd4": (">", 1000, 16),
    b"\xd4\xc3\xb2\xa1": ("<", 1000, 16),
    b"\xa1\xb2\x3c\x4d": (">", 1, 16),
    b"\x4d\x3c\xb2\xa1": ("<", 1, 16),
    b"\xa1\xb2\xcd\x34": (">", 1000, 24),
    b"\x34\xcd\xb2\xa1": ("<", 1000, 24),
}
MAGICS = frozenset(_MAGICS)
# A file header among frames: captures were run together (cat a.pcap b.pcap). Taken for a frame's, its first word
# is one certain second, and its third and fourth, time zone and accuracy, which are 0, are a frame without a byte.
AGAIN = frozenset(int.from_bytes(magic, "big") for magic in _MAGICS)


class PcapReader:
    """What a reader of pcap knows between two frames: what the file header said.

    `unit` is the nanoseconds of one unit of the fraction; `header_length`, that of a frame header, is 0 as long as the
    file header was not taken.
    """

    __slots__ = ("_unpack", "header_length", "link_type", "order", "unit")

    def __init__(self) -> None:
        self.order: ByteOrder = "<"
        self.unit = self.header_length = self.link_type = 0
        self._unpack = struct.Struct("<IIII").unpack_from

    def take(self, window: Window, at: int) -> Taken | None:
        """The file header or the frame at data[at], whatever it takes; None at the end of the input.

        `Taken.stop` is a place in the window's data as it is afterwards. Raises CaptureError at damage.
        """
        if not self.header_length:
            return self._header(window, at)
        header_length = self.header_length
        data = window.data
        if len(data) - at < header_length:
            data, at = window.slide(at, header_length), 0
            if not data:
                return None
            if len(data) < header_length:
                raise window.damage(0, f"truncated in a frame header: {len(data)} of {header_length} bytes")
        seconds, fraction, captured, wire = self._unpack(data, at)
        if not captured and not wire and seconds in AGAIN:
            return self._again(window, at)
        if captured > MAX_FRAME:
            raise window.damage(at, f"a frame of {captured} captured bytes; the bound is {MAX_FRAME}")
        if len(data) - at < header_length + captured:
            data, at = window.slide(at, header_length + captured), 0
            if len(data) < header_length + captured:
                raise window.damage(0, f"truncated in a frame: {len(data) - header_length} of {captured} bytes")
        time_ns = seconds * 1_000_000_000 + fraction * self.unit
        start = at + header_length
        stop = start + captured
        return Taken(Frame(time_ns, 0, self.link_type, max(wire, captured), data[start:stop]), stop)

    def _again(self, window: Window, at: int) -> Taken:
        """The file header of a capture that was appended to another, stepped over where it says the same."""
        data = window.slide(at, _HEADER_LENGTH)
        order, unit, header_length = _MAGICS[data[:4]]
        said = order, unit, header_length
        if len(data) < _HEADER_LENGTH or said != (self.order, self.unit, self.header_length):
            raise window.damage(0, "another capture begins here, of another kind: give the two by themselves")
        if struct.unpack_from(order + "I", data, 20)[0] & 0xFFFF != self.link_type:
            raise window.damage(0, "another capture begins here, of another link type: give the two by themselves")
        return Taken(None, _HEADER_LENGTH)

    def _header(self, window: Window, at: int) -> Taken:
        data = window.slide(at, _HEADER_LENGTH)
        if len(data) < _HEADER_LENGTH:
            raise window.damage(0, f"the pcap file header is truncated: {len(data)} of {_HEADER_LENGTH} bytes")
        order, unit, header_length = _MAGICS[data[:4]]
        major, minor, snap_length, network = struct.unpack_from(order + "4xHH8xII", data)
        if major != 2:
            raise window.damage(4, f"pcap version {major}.{minor} is not read here")
        self.order, self.unit, self.header_length = order, unit, header_length
        self._unpack = struct.Struct(order + "IIII").unpack_from
        # Only the low 16 bits are the link type; the highest say how long a frame check sequence each frame ends with.
        self.link_type = network & 0xFFFF
        return Taken(Interface(None, self.link_type, snap_length, 0, 0), _HEADER_LENGTH)


def read_pcap(window: Window) -> Iterator[Captured]:
    """The interface, then the frames. `window` stands at the magic number, which is one of MAGICS.

    Raises CaptureError at the first damage, after everything before it.
    """
    reader = PcapReader()
    taken = reader.take(window, 0)
    unpack = struct.Struct(reader.order + "IIII").unpack_from
    unit, header_length, link_type = reader.unit, reader.header_length, reader.link_type
    new = tuple.__new__  # a NamedTuple's own constructor costs twice as much
    while taken is not None:
        item, at = taken
        if item is not None:
            yield item
        # Frames that lie in the window whole, which are nearly all; what ends this is looked at again.
        data = window.data
        end = len(data)
        while (start := at + header_length) <= end:
            seconds, fraction, captured, wire = unpack(data, at)
            if captured > MAX_FRAME or (stop := start + captured) > end or (not captured and seconds in AGAIN):
                break
            time_ns = seconds * 1_000_000_000 + fraction * unit
            yield new(Frame, (time_ns, 0, link_type, wire if wire > captured else captured, data[start:stop], 0))
            at = stop
        taken = reader.take(window, at)
