"""Headers of frames walked over by compiled code: the fast twin of capture/headers.py's `walk`."""

from __future__ import annotations

from rxtls.capture.headers import (
    DAMAGE,
    ENHANCED,
    FULL,
    HEADER,
    INTERFACE,
    LENGTH,
    LITTLE,
    MORE,
    NEW_SECTION,
    OBSOLETE,
    OTHER,
    PCAPNG,
    PLACE,
    REASON,
    ROWS,
    SHORTEST_PACKET,
    SIMPLE,
    TICKS,
    TIMELESS,
    UNIT,
    WORDS,
    Column,
)
from rxtls.capture.window import Window
from rxtls.native import Row, Table, inlined, kernel, little32, load32
from rxtls.wire.captured import MAX_BLOCK, MAX_FRAME
from rxtls.wire.compiled.walk import is_magic
from rxtls.wire.pcapng import SECTION, SHORTEST_BLOCK

_SECOND = 1_000_000_000


@inlined
def _word(address: int, little: int) -> int:
    return little32(address) if little else load32(address)


@kernel
def _walk(base: int, at: int, end: int, control: Row, rows: Table) -> int:
    """Rows from base + at on; the place behind them."""
    little = control[LITTLE] != 0
    pcapng = control[PCAPNG] != 0
    header = WORDS if pcapng else control[HEADER]
    n = 0
    reason = FULL
    while n < len(rows):
        if end - at < header:
            reason = MORE
            break
        if not pcapng:
            length = _word(base + at + 8, little)
            if length > MAX_FRAME or (not length and is_magic(_word(base + at, little))):
                reason = DAMAGE
                break
            rows[n, PLACE] = at
            rows[n, LENGTH] = header + length
            rows[n, TICKS] = _word(base + at, little) * _SECOND + _word(base + at + 4, little) * control[UNIT]
            rows[n, INTERFACE] = 0
        else:
            kind = _word(base + at, little)
            length = _word(base + at + 4, little)
            if kind == SECTION:
                reason = NEW_SECTION
                break
            if length < SHORTEST_BLOCK or length & 3 or length > MAX_BLOCK:
                reason = DAMAGE
                break
            rows[n, PLACE] = at
            rows[n, LENGTH] = length
            rows[n, TICKS] = 0
            rows[n, INTERFACE] = TIMELESS if kind in (SIMPLE, OBSOLETE) else OTHER
            if kind == ENHANCED:
                high = _word(base + at + 12, little)
                if length < SHORTEST_PACKET or _word(base + at + 20, little) > length - SHORTEST_PACKET or high >> 31:
                    reason = DAMAGE
                    break
                rows[n, TICKS] = high << 32 | _word(base + at + 16, little)
                rows[n, INTERFACE] = _word(base + at + 8, little)
        at += rows[n, LENGTH]
        n += 1
    control[ROWS] = n
    control[REASON] = reason
    return at


def walk(window: Window, control: Column, rows: Column) -> int:
    """As capture/headers.py."""
    return int(_walk(window.data.ctypes.data, window.at, window.end, control, rows))
