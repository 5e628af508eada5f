"""pcap, the older capture format (draft-ietf-opsawg-pcap): one file header, then a header and the bytes of each frame.

    magic version(2.2) zone sigfigs snap_length link_type | seconds fraction captured wire | data | ...

The magic number tells byte order and the unit of `fraction`. Kuznetzov's "modified" pcap has eight more bytes in each
frame header (interface index, protocol, packet type), which are passed over. The snap length in the file header is not
held against the frames: writers put 0 and other things there, and MAX_FRAME bounds them anyway.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from rxtls.wire.captured import MAX_FRAME, Frame, Interface, Window

_HEADER_LENGTH = 24
# magic as it stands in the file: byte order, nanoseconds per unit of the fraction, length of a frame header
_MAGICS: dict[bytes, tuple[str, int, int]] = {
    b"\xa1\xb2\xc3\xd4": (">", 1000, 16),
    b"\xd4\xc3\xb2\xa1": ("<", 1000, 16),
    b"\xa1\xb2\x3c\x4d": (">", 1, 16),
    b"\x4d\x3c\xb2\xa1": ("<", 1, 16),
    b"\xa1\xb2\xcd\x34": (">", 1000, 24),
    b"\x34\xcd\xb2\xa1": ("<", 1000, 24),
}
MAGICS = frozenset(_MAGICS)


def read_pcap(window: Window) -> Iterator[Frame | Interface]:
    """The interface, then the frames. `window` stands at the magic number, which is one of MAGICS.

    Raises CaptureError at the first damage, after everything before it.
    """
    data = window.slide(0, _HEADER_LENGTH)
    if len(data) < _HEADER_LENGTH:
        raise window.damage(0, f"the pcap file header is truncated: {len(data)} of {_HEADER_LENGTH} bytes")
    order, unit, header_length = _MAGICS[data[:4]]
    major, minor, snap_length, network = struct.unpack_from(order + "4xHH8xII", data)
    if major != 2:
        raise window.damage(4, f"pcap version {major}.{minor} is not read here")
    # Only the low 16 bits are the link type; the highest say how long a frame check sequence each frame ends with.
    link_type = network & 0xFFFF
    yield Interface(None, link_type, snap_length, 0, 0)

    unpack = struct.Struct(order + "IIII").unpack_from
    new = tuple.__new__  # a NamedTuple's own constructor costs twice as much
    at, end = _HEADER_LENGTH, len(data)
    while True:
        start = at + header_length
        need = header_length
        if start <= end:
            seconds, fraction, captured, wire = unpack(data, at)
            if captured > MAX_FRAME:
                raise window.damage(at, f"a frame of {captured} captured bytes; the bound is {MAX_FRAME}")
            stop = start + captured
            if stop <= end:
                time_ns = seconds * 1_000_000_000 + fraction * unit
                yield new(Frame, (time_ns, 0, link_type, wire if wire > captured else captured, data[start:stop]))
                at = stop
                continue
            need += captured
        data = window.slide(at, need)
        at, end = 0, len(data)
        if end >= need:
            continue
        if end == 0:
            return
        if end < header_length:
            raise window.damage(0, f"truncated in a frame header: {end} of {header_length} bytes")
        raise window.damage(0, f"truncated in a frame: {end - header_length} of {need - header_length} bytes")
