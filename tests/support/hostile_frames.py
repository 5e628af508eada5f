"""Captured TCP packets as pieces that can be changed and put together again with every checksum and length repaired.

    Seen    a frame as it stands in a capture
    Piece   the same, split: | link | IP header | TCP header | payload |, or `opaque` where it is no whole TCP packet

A piece is immutable; what changes one gives another. `assemble` repairs what a NIC would check (IP length, IPv4 header
checksum, TCP data offset and checksum), so that whatever else is wrong reaches the stages behind.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from io import BytesIO
from typing import NamedTuple

from rxtls.errors import CaptureError
from rxtls.wire.capture import Frame, read_capture
from rxtls.wire.frame import parse
from rxtls.wire.link_layer import strip

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10
MASK = 0xFFFF_FFFF
ETHERNET = 1


class Seen(NamedTuple):
    """A frame of a capture. `wire_length` may be more than what is here."""

    time_ns: int
    interface: int
    link_type: int
    wire_length: int
    data: bytes
    flags: int = 0


class Piece(NamedTuple):
    """A frame taken apart. With `opaque` nothing else but the first four fields counts."""

    time_ns: int
    interface: int
    link_type: int
    wire_length: int
    opaque: bytes = b""
    link: bytes = b""
    ip: bytes = b""
    tcp: bytes = b""
    payload: bytes = b""

    @property
    def seq(self) -> int:
        return int.from_bytes(self.tcp[4:8])

    @property
    def ack(self) -> int:
        return int.from_bytes(self.tcp[8:12])

    @property
    def flags(self) -> int:
        return self.tcp[13]

    @property
    def direction(self) -> bytes:
        """Addresses and ports as this packet has them."""
        return self.ip[12:20] + self.tcp[:4] if self.ip[:1] < b"\x60" else self.ip[8:40] + self.tcp[:4]

    @property
    def start(self) -> int:
        """The sequence number of the first payload byte."""
        return (self.seq + (self.flags & SYN == SYN)) & MASK

    def header(self, at: int, value: bytes) -> Piece:
        """With other bytes at `at` of the TCP header."""
        return self._replace(tcp=self.tcp[:at] + value + self.tcp[at + len(value) :])

    def moved(self, seq: int | None = None, ack: int | None = None, flags: int | None = None) -> Piece:
        """With other numbers."""
        piece = self
        if seq is not None:
            piece = piece.header(4, (seq & MASK).to_bytes(4))
        if ack is not None:
            piece = piece.header(8, (ack & MASK).to_bytes(4))
        return piece if flags is None else piece.header(13, bytes([flags & 0xFF]))

    def assemble(self) -> Seen:
        """The frame, repaired. `wire_length` 0 means all of it was captured."""
        if self.opaque:
            return Seen(self.time_ns, self.interface, self.link_type, self.wire_length, self.opaque)
        tcp, payload = bytearray(self.tcp), self.payload
        length = len(tcp) + len(payload)
        tcp[12] = len(tcp) << 2 & 0xF0 | tcp[12] & 0x0F
        tcp[16:18] = bytes(2)
        ip = bytearray(self.ip)
        if self.ip[0] >> 4 == 6:
            ip[4:6] = _short(len(ip) - 40 + length)
            addresses = ip[8:40]
        else:
            ip[0] = 0x40 | len(ip) >> 2
            ip[2:4] = _short(len(ip) + length)
            ip[10:12] = bytes(2)
            ip[10:12] = _checksum(bytes(ip))
            addresses = ip[12:20]
        pseudo = bytes(addresses) + struct.pack("!II", length, 6)
        tcp[16:18] = _checksum(pseudo + bytes(tcp) + payload)
        data = self.link + bytes(ip) + bytes(tcp) + payload
        return Seen(self.time_ns, self.interface, self.link_type, self.wire_length or len(data), data)


def take_apart(frame: Seen) -> Piece:
    """The piece of a frame."""
    opaque = Piece(frame.time_ns, frame.interface, frame.link_type, frame.wire_length, frame.data or b"\0")
    packet = parse(frame.link_type, frame.data, frame.wire_length)
    link = strip(frame.link_type, frame.data, frame.wire_length)
    if isinstance(packet, str) or isinstance(link, str) or packet.captured_length < packet.payload_length:
        return opaque
    at, tcp, end = link[1], packet.tcp_offset, packet.payload_offset
    payload = frame.data[end : end + packet.payload_length]
    data = frame.data
    return opaque._replace(
        opaque=b"", wire_length=0, link=data[:at], ip=data[at:tcp], tcp=data[tcp:end], payload=payload
    )


def frames_of(capture: bytes) -> list[Seen]:
    """The frames in a capture, up to its damage."""
    found: list[Seen] = []
    try:
        for item in read_capture(BytesIO(capture).read, "capture"):
            if isinstance(item, Frame):
                found.append(Seen(*item))
    except CaptureError:
        pass
    return found


def pcap(frames: Iterable[Seen]) -> bytes:
    """Frames as a nanosecond pcap with the link type of the first. Times wrap at what pcap can say."""
    parts = [b""]
    link_type = None
    for frame in frames:
        link_type = frame.link_type if link_type is None else link_type
        seconds, rest = divmod(max(0, frame.time_ns), 1_000_000_000)
        parts.append(struct.pack("<IIII", seconds & MASK, rest, len(frame.data), frame.wire_length & MASK))
        parts.append(frame.data)
    parts[0] = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 0x40000, ETHERNET if link_type is None else link_type)
    return b"".join(parts)


def pcapng(frames: Sequence[Seen], keylog: bytes = b"") -> bytes:
    """Frames as pcapng, one interface for each link type and interface; a key log goes in front."""
    order = sorted({(frame.interface, frame.link_type) for frame in frames})
    parts = [_block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))]
    parts += [_block(1, struct.pack("<HHIHHBxxx", link, 0, 0x40000, 9, 1, 9) + bytes(4)) for _, link in order]
    if keylog:
        parts.append(_block(10, struct.pack("<II", 0x544C534B, len(keylog)) + keylog))
    for frame in frames:
        ticks = frame.time_ns & (1 << 64) - 1
        place = order.index((frame.interface, frame.link_type))
        head = struct.pack(
            "<IIIII", place, ticks >> 32, ticks & MASK, len(frame.data), max(frame.wire_length, len(frame.data)) & MASK
        )
        parts.append(_block(6, head + frame.data))
    return b"".join(parts)


def _block(kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    return struct.pack("<II", kind, len(body) + 12) + body + struct.pack("<I", len(body) + 12)


def _short(length: int) -> bytes:
    """An aggregate too long for 16 bits says 0."""
    return (length if length <= 0xFFFF else 0).to_bytes(2)


def _checksum(data: bytes) -> bytes:
    """RFC 1071, by 2^16 = 1 modulo 2^16 - 1."""
    number = int.from_bytes(data) << (8 if len(data) & 1 else 0)
    return (-number % 0xFFFF).to_bytes(2)
