"""What a capture holds, and the window through which its readers see the bytes.

Three values come out of a capture: the `Interface`s that packets arrived on, the `Frame`s, and `Secrets` that were
stored beside them. They are legal by construction: a frame's time fits 64 signed bits, its wire length is never less
than what was captured of it. pcap.py and pcapng.py make them; capture.py is the door.

The bounds below are what a hostile file meets. Each is far beyond what tools write, and none depends on another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from rxtls.errors import CaptureError

# Linux aggregates up to 8 * 64 KiB (GSO_MAX_SIZE, "BIG TCP") and captures put headers before it; twice that leaves
# room for other systems. (Wireshark stops at 256 KiB, too little for such captures.)
MAX_FRAME = 1 << 20
# What libpcap (MAX_BLOCKSIZE) and Wireshark (MAX_BLOCK_SIZE) allow one pcapng block; a reader holds one at a time.
MAX_BLOCK = 16 << 20
# In one file, all its sections together. The old Packet Block has 16 bits for it; a container host has thousands.
MAX_INTERFACES = 1 << 16
# In one file. A TLS 1.3 session takes about 1 KiB of key log, so this is some 60,000 sessions.
MAX_SECRETS = 64 << 20
# Characters of an interface name. Linux allows 15, Windows' \Device\NPF_{...} needs some 50.
MAX_NAME = 256
# Bytes asked for at a time. Small enough that malloc gives the same memory again rather than new pages each time.
CHUNK = 64 << 10

ByteOrder = Literal["<", ">"]  # as struct has it


class Frame(NamedTuple):
    """One captured frame.

    `time_ns` is nanoseconds since the epoch (signed, 64 bits); `interface` counts the file's `Interface`s in the order
    they were yielded, from 0; `link_type` is a LINKTYPE_ number; `wire_length` is the length before the snap length cut
    it, at least len(data); `data` is what was captured; `flags` is pcapng's epb_flags, 0 where there are none.
    """

    time_ns: int
    interface: int
    link_type: int
    wire_length: int
    data: bytes
    flags: int = 0


class CapturedFrame(Protocol):
    """What of a frame is looked at: Frame and capture.source.SourceFrame both have it."""

    @property
    def time_ns(self) -> int: ...
    @property
    def interface(self) -> int: ...
    @property
    def link_type(self) -> int: ...
    @property
    def wire_length(self) -> int: ...
    @property
    def data(self) -> bytes: ...
    @property
    def flags(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Interface:
    """Where packets arrived: `id` is its number within `section`, both from 0; `snap_length` 0 means no limit."""

    name: str | None
    link_type: int
    snap_length: int
    section: int
    id: int
    comment: str | None = None


class Tick(NamedTuple):
    """Time, told where no frame tells it: it is `time_ns`, and all frames so far came before."""

    time_ns: int


class Secrets(NamedTuple):
    """A Decryption Secrets Block: `kind` as in the pcapng draft, section 4.7. The data never stands in a repr."""

    kind: int
    data: bytes

    def __repr__(self) -> str:
        return f"Secrets(kind={self.kind:#x}, {len(self.data)} bytes)"


Captured = Frame | Interface | Secrets | Tick


class Taken(NamedTuple):
    """What a reader's `take` found: None for what is stepped over. The next frame or block begins at data[stop]."""

    item: Captured | None
    stop: int


class Window:
    """The bytes of one capture as a buffer that moves on.

        |......... gone .........|.. data ............|.. not read yet ...
        0                        base                 base + len(data)

    A reader keeps its own place in `data` and asks for more with `slide`. `read(n)` gives up to n bytes, b"" at the
    end.
    """

    __slots__ = ("_read", "base", "data", "name")

    def __init__(self, read: Callable[[int], bytes], name: str) -> None:
        self._read = read
        self.name = name
        self.base = 0
        self.data = b""

    def slide(self, at: int, need: int) -> bytes:
        """Drop what lies before data[at]; the new data, which is shorter than `need` only at the end of the input."""
        self.base += at
        rest = self.data[at:]
        parts = [rest]
        have = len(rest)
        while have < need:
            part = self._read(max(CHUNK, need - have))
            if not part:
                break
            parts.append(part)
            have += len(part)
        self.data = b"".join(parts)
        return self.data

    def damage(self, at: int, cause: str) -> CaptureError:
        """The error to raise for something wrong at data[at]."""
        return CaptureError(self.name, self.base + at, cause)
