"""Frames out to a capture file: nanosecond pcap, or pcapng when interfaces or secrets must go along."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import BinaryIO, Protocol

from rxtls.wire.captured import ByteOrder
from rxtls.wire.pcapng import TICK

_NANOSECOND_MAGIC = 0xA1B23C4D
_SNAP_LENGTH = 0x4_0000
TLS_KEY_LOG = 0x544C534B  # secrets type of a TLS key log (draft-ietf-opsawg-pcapng section 4.7)
_JOINED = 1 << 20  # bytes gathered before a write: a write call per frame would cost more than the frame


class CapturedFrame(Protocol):
    """What is written: arrival in ns since the epoch, the interface's index, and the frame."""

    @property
    def time_ns(self) -> int: ...
    @property
    def interface(self) -> int: ...
    @property
    def data(self) -> bytes: ...


def write_pcap(frames: Iterable[CapturedFrame], out: BinaryIO, link_type: int = 1, header: bool = True) -> int:
    """Write `frames`, in the order given, as a little-endian nanosecond pcap; returns the bytes written.

    With `header` False the file header is left out, to go on with a file begun by an earlier call.
    """
    pack = struct.Struct("<IIII").pack
    head = struct.pack("<IHHiIII", _NANOSECOND_MAGIC, 2, 4, 0, 0, _SNAP_LENGTH, link_type) if header else b""

    def parts() -> Iterable[bytes]:
        yield head
        for frame in frames:
            data = frame.data
            seconds, nanoseconds = divmod(frame.time_ns, 1_000_000_000)
            yield pack(seconds, nanoseconds, len(data), len(data))
            yield data

    return _write(parts(), out)


def write_pcapng(
    frames: Iterable[CapturedFrame],
    out: BinaryIO,
    interfaces: Sequence[str] = ("link0",),
    keylog: str = "",
    comment: str = "",
) -> int:
    """Write `frames` as pcapng with one named Ethernet interface per name; returns the bytes written.

    A `keylog` goes in front as a Decryption Secrets Block, so that the file explains itself; `comment` is said of each
    interface.
    """
    about = option(1, comment.encode()) if comment else b""

    def parts() -> Iterable[bytes]:
        yield block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
        for name in interfaces:
            resolution = option(9, b"\x09")  # if_tsresol: 10^-9 s
            options = option(2, name.encode()) + about + resolution + bytes(4)
            yield block(1, struct.pack("<HHI", 1, 0, _SNAP_LENGTH) + options)
        if keylog:
            text = keylog.encode()
            yield block(0x0A, struct.pack("<II", TLS_KEY_LOG, len(text)) + padded(text))
        for frame in frames:
            data = frame.data
            high, low = divmod(frame.time_ns, 1 << 32)
            yield block(6, struct.pack("<IIIII", frame.interface, high, low, len(data), len(data)) + padded(data))

    return _write(parts(), out)


def tick(interface: int, time_ns: int, order: ByteOrder = "<", counted: bytes = b"") -> bytes:
    """A pcapng block: it is `time_ns`. Interface Statistics, which no dissector counts as a packet, with a comment; of
    an interface whose times are nanoseconds, as here. `counted`: more options."""
    return statistics(interface, time_ns, option(1, TICK, order) + counted, order)


def statistics(interface: int, time_ns: int, options: bytes, order: ByteOrder = "<") -> bytes:
    """Interface Statistics, which are no tick unless the options say so."""
    return block(5, struct.pack(order + "III", interface, *divmod(time_ns, 1 << 32)) + options + bytes(4), order)


def block(kind: int, body: bytes, order: ByteOrder = "<") -> bytes:
    """A pcapng block; `body` is padded already."""
    length = len(body) + 12
    return struct.pack(order + "II", kind, length) + body + struct.pack(order + "I", length)


def option(code: int, value: bytes, order: ByteOrder = "<") -> bytes:
    """An option of a pcapng block."""
    return struct.pack(order + "HH", code, len(value)) + padded(value)


def padded(data: bytes) -> bytes:
    """To a multiple of 4 bytes."""
    return data + bytes(-len(data) % 4)


def _write(parts: Iterable[bytes], out: BinaryIO) -> int:
    total, waiting, held = 0, [], 0
    for part in parts:
        waiting.append(part)
        held += len(part)
        if held >= _JOINED:
            out.write(b"".join(waiting))
            total, waiting, held = total + held, [], 0
    out.write(b"".join(waiting))
    return total + held
