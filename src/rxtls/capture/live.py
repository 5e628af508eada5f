"""Interfaces of this host as one endless capture: a pcapng that is made as packets come, and read like any other.

    ring ─┐
    ring ─┤►  section, interfaces, packets, ticks, secrets, drops  ─┬─►  the path
    keys ─┘                                                         └─►  a file, the same bytes

What the path is given and what a file keeps are the same bytes, so replaying the file comes to what came of it here.
A tick (Interface Statistics, wire/pcapng.py) stands wherever nothing came for a while: TICK_NS after packets, and every
second. It also says what the kernel dropped so far.
"""

from __future__ import annotations

import io
import select
import struct
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from rxtls.capture.ring import BLOCK, PACKETS_AT, Drops
from rxtls.capture.write import TLS_KEY_LOG, block, option, padded, statistics, tick

if TYPE_CHECKING:
    from typing_extensions import Buffer

TICK_NS = 20_000_000
_SECOND = 1_000_000_000
_WAIT_MS = 10
_SNAP_LENGTH = 1 << 18
_SECTION = 0x0A0D0D0A
_INTERFACE, _SECRETS = 1, 10
_RECEIVED, _DROPPED = 4, 5  # options of Interface Statistics


class Ringlike(Protocol):
    """What is asked of a ring (ring.py)."""

    name: str
    link_type: int
    bytes: np.ndarray[tuple[int], np.dtype[np.uint8]]

    def ready(self) -> int | None: ...
    def give_back(self) -> None: ...
    def drops(self) -> Drops: ...
    def fileno(self) -> int: ...
    def fault(self) -> OSError | None: ...


class Live(io.RawIOBase):
    """Rings, and a key log that grows, as a stream of pcapng. `keep` is given each part of it before it is read, those
    with secrets if `keep_secrets`.

    `stop` ends it: what the kernel has handed over is still read. `now` is the clock.
    """

    def __init__(
        self,
        rings: Sequence[Ringlike],
        keys: Callable[[], bytes] = bytes,
        keep: Callable[[bytes], object] = len,
        keep_secrets: bool = False,
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        self._rings = rings
        self._keys = keys
        self._keep = keep
        self._keep_secrets = keep_secrets
        self._now = now
        self._out = np.zeros(BLOCK + 64, np.uint8)
        self._pending = memoryview(self._header())
        self._keep(bytes(self._pending))
        self._stopping = False
        self._ended = False
        self._ticked = 0
        self._quiet = True  # nothing came since the last tick
        self.drops = [Drops(0, 0) for _ in rings]  # in all, by ring
        self._poll = select.poll()
        for ring in rings:
            self._poll.register(ring.fileno(), select.POLLIN | select.POLLERR)

    def __str__(self) -> str:
        told = zip(self._rings, self.drops, strict=True)
        return "; ".join(f"{ring.name}: {packets:,} packets, {dropped:,} dropped" for ring, (packets, dropped) in told)

    def readable(self) -> bool:
        """It is."""
        return True

    def stop(self) -> None:
        """End it. May be called from another thread."""
        self._stopping = True

    def readinto(self, buffer: Buffer) -> int:
        """Wait for some bytes; 0 at the end."""
        view = memoryview(buffer).cast("B")
        while not self._pending:
            if self._ended:
                return 0
            part = self._next()
            if part:
                self._pending = memoryview(part)
        count = min(len(view), len(self._pending))
        view[:count] = self._pending[:count]
        self._pending = self._pending[count:]
        return count

    def _next(self) -> bytes:
        """What comes next: secrets before packets that they may be needed for, packets, a tick; b"" for nothing yet."""
        lines = self._keys()
        if lines:
            part = block(_SECRETS, struct.pack(">II", TLS_KEY_LOG, len(lines)) + padded(lines), ">")
            return self._kept(part) if self._keep_secrets else part
        for number, ring in enumerate(self._rings):
            at = ring.ready()
            if at is not None:
                part = self._packed(number, ring, at)
                ring.give_back()
                self._quiet = self._quiet and not part
                if part:
                    return self._kept(part)
        now = self._now()
        if self._stopping:
            self._ended = True
            return self._kept(self._tick(now))
        if now - self._ticked >= (_SECOND if self._quiet else TICK_NS):
            return self._kept(self._tick(now))
        if any(event & ~select.POLLIN for _, event in self._poll.poll(_WAIT_MS)):
            self._raise()
        return b""

    def _raise(self) -> None:
        """An interface has gone away, or down: nothing more comes by it, and that must not look like silence."""
        for ring in self._rings:
            failure = ring.fault()
            if failure is not None:
                raise OSError(failure.errno, f"{ring.name}: {failure.strerror}")

    def _kept(self, part: bytes) -> bytes:
        self._keep(part)
        return part

    def _packed(self, number: int, ring: Ringlike, at: int) -> bytes:
        from rxtls.capture.compiled.ring import pack

        count, first = ring.bytes[at + PACKETS_AT : at + PACKETS_AT + 8].view(np.uint32).tolist()
        begun = ring.bytes.ctypes.data + at + first
        return self._out[: pack(begun, count, self._out.ctypes.data, number)].tobytes()

    def _tick(self, now: int) -> bytes:
        """What the kernel has counted by each interface, that of the first one with a tick for all of them."""
        self._ticked, self._quiet = now, True
        parts = []
        for number, ring in enumerate(self._rings):
            more, so_far = ring.drops(), self.drops[number]
            drops = self.drops[number] = Drops(so_far.packets + more.packets, so_far.dropped + more.dropped)
            counted = option(_RECEIVED, struct.pack(">Q", drops.packets), ">")
            counted += option(_DROPPED, struct.pack(">Q", drops.dropped), ">")
            parts.append(tick(number, now, ">", counted) if number == 0 else statistics(number, now, counted, ">"))
        return b"".join(reversed(parts))

    def _header(self) -> bytes:
        parts = [block(_SECTION, struct.pack(">IHHq", 0x1A2B3C4D, 1, 0, -1), ">")]
        for ring in self._rings:
            options = option(2, ring.name.encode(), ">") + option(9, b"\x09", ">") + bytes(4)
            parts.append(block(_INTERFACE, struct.pack(">HHI", ring.link_type, 0, _SNAP_LENGTH) + options, ">"))
        return b"".join(parts)
