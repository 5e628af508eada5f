"""Put VLAN tags into every frame of a nanosecond pcap: rewrite.py IN OUT ID [ID] (outer first).

One id makes an 802.1Q frame (0x8100); of two, the outer is 802.1ad's (0x88a8). Nothing else is changed: TCP's and IP's
checksums do not cover the link header.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

HEADER = struct.Struct("<IHHiIII")
RECORD = struct.Struct("<IIII")
NANOSECOND_MAGIC = 0xA1B23C4D
ETHERNET = 1


def tagged(data: bytes, ids: list[int]) -> bytes:
    types = [0x88A8] * (len(ids) - 1) + [0x8100]
    labels = b"".join(struct.pack(">HH", kind, number) for kind, number in zip(types, ids, strict=True))
    return data[:12] + labels + data[12:]


def rewrite(capture: bytes, ids: list[int]) -> bytes:
    magic, *_, link_type = HEADER.unpack_from(capture)
    assert (magic, link_type) == (NANOSECOND_MAGIC, ETHERNET)
    out, at = bytearray(capture[: HEADER.size]), HEADER.size
    while at < len(capture):
        seconds, fraction, captured, length = RECORD.unpack_from(capture, at)
        at += RECORD.size
        frame = tagged(capture[at : at + captured], ids)
        at += captured
        out += RECORD.pack(seconds, fraction, len(frame), length + len(frame) - captured) + frame
    return bytes(out)


if __name__ == "__main__":
    Path(sys.argv[2]).write_bytes(rewrite(Path(sys.argv[1]).read_bytes(), [int(word) for word in sys.argv[3:]]))
