"""The compiled scan for secrets against the plain one."""

from __future__ import annotations

import io
import random
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture_blocks import block, enhanced, interface, pcap_header, secrets, section
from rxtls.capture.window import Window
from rxtls.wire import pcapng
from rxtls.wire.captured import MAX_BLOCK, Secrets
from rxtls.wire.compiled import scan


def plain(data: bytes) -> list[Secrets]:
    file = io.BytesIO(data)
    return list(pcapng.scan_secrets(file.read, lambda n: file.seek(n, io.SEEK_CUR)))


class Revealed:
    """Bytes of which some more come into view each time."""

    def __init__(self, data: bytes, size: int) -> None:
        self.data = np.frombuffer(data + bytes(1), np.uint8)
        self.at = self.end = 0
        self._size = size
        self._length = len(data)

    def more(self, need: int) -> bool:
        self.end = min(self._length, max(self.at + need, self.end + self._size))
        return self.end - self.at >= need


def compiled(data: bytes, size: int) -> list[Secrets]:
    return list(scan.scan_secrets(Revealed(data, size)))


def some(dice: random.Random) -> bytes:
    """Blocks of all kinds, in either byte order, some with bytes changed."""
    data = bytearray()
    for _ in range(dice.randrange(1, 5)):
        order = dice.choice("<>")
        data += section(order)
        for _ in range(dice.randrange(8)):
            data += dice.choice(
                (
                    interface(order=order),
                    enhanced(bytes(dice.randrange(300)), order=order),
                    secrets(dice.randbytes(dice.randrange(90)), dice.choice((0x544C534B, 7)), order),
                    block(5, bytes(dice.randrange(40)), order),
                )
            )
    for _ in range(dice.choice((0, 0, 1, 3))):
        data[dice.randrange(len(data))] = dice.choice((0, 1, 10, 0xFF))
    return bytes(data[: dice.choice((len(data), dice.randrange(len(data))))])


@given(st.integers(0, 1 << 30), st.sampled_from([12, 64, 1 << 20]))
def test_finds_what_the_plain_one_finds(seed: int, size: int) -> None:
    data = some(random.Random(seed))
    assert compiled(data, size) == plain(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        section()[:11],
        pcap_header() + bytes(400),
        struct.pack("<II", 10, 24) + bytes(16),
        section() + secrets(b"KEYS", size=5) + secrets(b"more"),
        section() + block(9, b"", length=MAX_BLOCK + 4) + secrets(b"KEYS"),
        section() + block(0x0A0D0D0A, bytes(16)) + secrets(b"KEYS"),
        section() + secrets(b"KEYS") + secrets(b"KEYS")[:-1],
        section() + block(10, b"\1\0\0\0") + secrets(b"KEYS"),
    ],
)
def test_ends_where_the_plain_one_ends(data: bytes) -> None:
    assert compiled(data, 1 << 16) == plain(data)


def test_the_bytes_of_secrets_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "MAX_SECRETS", 100)
    assert [len(found.data) for found in compiled(section() + secrets(bytes(60)) * 2, 1 << 16)] == [60]


def test_blocks_longer_than_the_window_are_passed_over() -> None:
    long = block(9, bytes(100_000))
    data = section() + (long + secrets(b"KEYS")) * 3 + long[:-1]
    found = list(scan.scan_secrets(Window(io.BytesIO(data).readinto, False, 4096)))
    assert found == plain(data)
    assert len(found) == 3
