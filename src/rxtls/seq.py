"""TCP sequence numbers: 32 bits, modulo 2^32, compared as signed distances (RFC 9293 section 3.4).

`distance(a, b)` is how far b lies ahead of a, in [-2^31, 2^31): the only comparison that is right across the wrap, and
only within 2 GiB. Everything else here follows from it. Values are plain ints in [0, 2^32), so that the same arithmetic
works on int64 columns.
"""

from __future__ import annotations

MASK = 0xFFFF_FFFF
_HALF = 0x8000_0000


def add(seq: int, n: int) -> int:
    """The sequence number `n` bytes after `seq` (`n` may be negative)."""
    return (seq + n) & MASK


def distance(start: int, end: int) -> int:
    """Bytes from `start` to `end`; negative when `end` lies behind. Right within 2 GiB."""
    return ((end - start + _HALF) & MASK) - _HALF


def before(a: int, b: int) -> bool:
    """True when `a` comes before `b` in the stream."""
    return distance(a, b) > 0
