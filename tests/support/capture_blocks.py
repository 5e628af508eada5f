"""Captures made by hand: the bytes of pcap files and of pcapng blocks, right or deliberately wrong.

`order` is a struct byte order, "<" or ">". Every function returns bytes, and a file is their concatenation.
"""

from __future__ import annotations

import struct

MICROSECONDS, NANOSECONDS, KUZNETZOV = 0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34
TLS_KEYS = 0x544C534B


def pcap_header(
    order: str = "<", magic: int = MICROSECONDS, link_type: int = 1, snap_length: int = 65535, major: int = 2
) -> bytes:
    return struct.pack(order + "IHHiIII", magic, major, 4, 0, 0, snap_length, link_type)


def pcap_frame(
    data: bytes, seconds: int = 0, fraction: int = 0, wire: int | None = None, order: str = "<", extra: bytes = b""
) -> bytes:
    length = len(data) if wire is None else wire
    return struct.pack(order + "IIII", seconds, fraction, len(data), length) + extra + data


def option(code: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(order + "HH", code, len(value)) + padded(value)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def block(kind: int, body: bytes, order: str = "<", length: int | None = None, trailer: int | None = None) -> bytes:
    total = 12 + len(padded(body)) if length is None else length
    return (
        struct.pack(order + "II", kind, total)
        + padded(body)
        + struct.pack(order + "I", total if trailer is None else trailer)
    )


def section(order: str = "<", major: int = 1, length: int = -1, options: bytes = b"") -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, major, 0, length) + options, order)


def interface(link_type: int = 1, snap_length: int = 0, options: bytes = b"", order: str = "<") -> bytes:
    return block(1, struct.pack(order + "HHI", link_type, 0, snap_length) + options, order)


def enhanced(
    data: bytes,
    ticks: int = 0,
    interface: int = 0,
    wire: int | None = None,
    options: bytes = b"",
    order: str = "<",
    captured: int | None = None,
) -> bytes:
    length = len(data) if wire is None else wire
    kept = len(data) if captured is None else captured
    head = struct.pack(order + "IIIII", interface, ticks >> 32, ticks & 0xFFFFFFFF, kept, length)
    return block(6, head + padded(data) + options, order)


def old_packet(data: bytes, ticks: int = 0, interface: int = 0, wire: int | None = None, order: str = "<") -> bytes:
    length = len(data) if wire is None else wire
    head = struct.pack(order + "HHIIII", interface, 0, ticks >> 32, ticks & 0xFFFFFFFF, len(data), length)
    return block(2, head + padded(data), order)


def simple(data: bytes, wire: int | None = None, order: str = "<") -> bytes:
    return block(3, struct.pack(order + "I", len(data) if wire is None else wire) + padded(data), order)


def secrets(data: bytes, kind: int = TLS_KEYS, order: str = "<", size: int | None = None) -> bytes:
    return block(10, struct.pack(order + "II", kind, len(data) if size is None else size) + padded(data), order)
