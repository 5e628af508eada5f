"""The stream that is made of rings: what stands in it and in which order, with rings and a clock made by hand."""

from __future__ import annotations

import io
import os
import shutil
import struct

import numpy as np
import pytest

from ring_packets import Packet
from rxtls.capture.live import TICK_NS, Live
from rxtls.capture.ring import Drops
from rxtls.wire.capture import Captured, Frame, Interface, Secrets, Tick, read_capture

SECOND = 1_000_000_000
NOW = 1_700_000_000 * SECOND


class FakeRing:
    """Blocks that the kernel has handed over."""

    def __init__(self, name: str, blocks: list[list[Packet]], dropped: int = 0) -> None:
        self.name, self.link_type = name, 1
        self._blocks = [self._made(each) for each in blocks]
        self.bytes = np.concatenate([*self._blocks, np.zeros(64, np.uint8)])
        self._at = 0
        self._left = [len(each) for each in self._blocks]
        self._drops = Drops(sum(map(len, blocks)), dropped)
        self._readable, self._other = os.pipe()

    @staticmethod
    def _made(packets: list[Packet]) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
        body = b"".join(each.entry(n == len(packets) - 1) for n, each in enumerate(packets))
        head = struct.pack("=IIIII", 1, 0, 1, len(packets), 64).ljust(64, b"\0")
        return np.frombuffer(head + body, np.uint8)

    def ready(self) -> int | None:
        return self._at if self._left else None

    def give_back(self) -> None:
        self._at += self._left.pop(0)

    def drops(self) -> Drops:
        told, self._drops = self._drops, Drops(0, 0)
        return told

    def fileno(self) -> int:
        return self._readable

    def fault(self) -> OSError | None:
        return OSError(100, "Network is down")


class Clock:
    """It goes on by a tick each time it is asked, and ends the stream after so many."""

    def __init__(self, asked: int) -> None:
        self.time, self.left = NOW, asked
        self.stream: Live | None = None

    def __call__(self) -> int:
        self.time += TICK_NS
        self.left -= 1
        if self.left < 0 and self.stream is not None:
            self.stream.stop()
        return self.time


def items(
    rings: list[FakeRing], keys: list[bytes], asked: int = 4, keep_secrets: bool = False
) -> tuple[list[Captured], bytes]:
    clock, kept = Clock(asked), io.BytesIO()
    stream = Live(rings, lambda: keys.pop(0) if keys else b"", kept.write, keep_secrets, clock)
    clock.stream = stream
    given = io.BufferedReader(stream).read()
    assert (kept.getvalue() == given) is (keep_secrets or b"CLIENT" not in given)
    return list(read_capture(io.BytesIO(given).read, "live")), kept.getvalue()


def test_interfaces_secrets_packets_ticks() -> None:
    first, second = Packet(NOW + 1, b"first frame ....."), Packet(NOW + 2, b"second frame ....")
    rings = [FakeRing("eth0", [[first]], dropped=7), FakeRing("eth1", [[second], [first]])]
    found, _ = items(rings, [b"", b"CLIENT_RANDOM a b\n"])
    assert [item.name for item in found[:2] if isinstance(item, Interface)] == ["eth0", "eth1"]
    rest = found[2:]
    assert isinstance(rest[0], Frame)
    assert isinstance(rest[1], Secrets)
    assert [item.interface for item in rest if isinstance(item, Frame)] == [0, 1, 1]
    ticks = [item.time_ns for item in rest if isinstance(item, Tick)]
    assert ticks[0] == NOW + TICK_NS
    assert ticks == sorted(ticks)
    assert len(ticks) == 2  # one behind the packets, one at the end: nothing came between them


def test_secrets_are_kept_where_that_is_asked_for() -> None:
    _, kept = items([FakeRing("eth0", [])], [b"CLIENT_RANDOM a b\n"], keep_secrets=True)
    assert b"CLIENT_RANDOM" in kept
    _, kept = items([FakeRing("eth0", [])], [b"CLIENT_RANDOM a b\n"])
    assert b"CLIENT_RANDOM" not in kept


def test_what_was_dropped_is_told() -> None:
    stream = Live([FakeRing("eth0", [[Packet(NOW, b"x" * 60)]], dropped=7)], now=Clock(1))
    stream.stop()
    assert len(io.BufferedReader(stream).read()) > 200
    assert str(stream) == "eth0: 1 packets, 7 dropped"


def test_an_interface_that_goes_away_is_no_silence() -> None:
    """What came before is read; then it is an error, which names it."""
    ring = FakeRing("eth0", [[Packet(NOW, b"x" * 60)]])
    os.close(ring._other)  # the poll says that something has happened
    stream = io.BufferedReader(Live([ring], now=Clock(100)))
    read = io.BytesIO()
    with pytest.raises(OSError, match="eth0: Network is down"):
        shutil.copyfileobj(stream, read, 64)
    assert b"x" * 60 in read.getvalue()
