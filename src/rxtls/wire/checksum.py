"""The Internet checksum (RFC 1071) as arithmetic modulo 65535.

A ones'-complement sum of 16-bit words is a sum modulo 0xffff in which 0 is written either 0 or 0xffff. Read a whole
buffer as one big-endian number and the weights of its words are powers of 2^16, which are all 1 modulo 0xffff: so the
sum of the words *is* the number's remainder. Three things follow, and all of this file rests on them.

- Words may be of any size that is a multiple of 16 bits: the sum of 32-bit words has the same remainder.
- Swapping the bytes of every word multiplies the remainder by 256 (2^8 * 2^8 = 2^16 = 1), so a sum taken over
  little-endian words is put right afterwards (RFC 1071 section 2(B)), and a zero remainder needs no putting right.
- Data that contain their own checksum have remainder 0 exactly when it is right (RFC 1071 section 1, step 3).

Measured for 1456 bytes in CPython 3.11: int.from_bytes and % 3.6 us, numpy over 32-bit words 2.0 us, struct or array
and sum() 8 to 18 us; for 65,000 bytes 160 us against 7 us. Below about 700 bytes numpy's fixed cost is the greater.
"""

from __future__ import annotations

import numpy as np

MODULUS = 0xFFFF

_NUMPY_FROM = 700  # bytes: where numpy begins to win, see above
_WORDS = np.dtype("<u4")  # 2^32 of these fit in the 64-bit sum: no frame comes near
_SUM = np.uint64
_add = np.add.reduce
_view = np.frombuffer


def remainder(data: bytes, start: int, end: int) -> int:
    """The ones'-complement sum of data[start:end] as big-endian 16-bit words, in [0, 0xffff).

    An odd last byte is padded with a zero byte on its right (RFC 9293 section 3.1). `end` must not lie beyond `data`.
    """
    length = end - start
    if length < _NUMPY_FROM:
        number = int.from_bytes(data[start:end], "big")
        return (number << 8 if length & 1 else number) % MODULUS
    words = length >> 2
    total = int(_add(_view(data, _WORDS, words, start), 0, _SUM))
    if length & 3:
        # Read as little-endian, the padding on the right is in the high bits and costs nothing.
        total += int.from_bytes(data[start + 4 * words : end], "little")
    return (total << 8) % MODULUS


def pseudo_header(src: bytes, dst: bytes, length: int) -> int:
    """The sum of TCP's pseudo-header for a segment of `length` bytes, in [1, 0xffff]: as folded, not complemented.

    The same for IPv4 (RFC 9293 section 3.1) and IPv6 (RFC 8200 section 8.1): both add the addresses, the protocol
    number and the length, and where the zero bytes stand does not matter. `length` may exceed 16 bits (RFC 2675
    section 4).
    """
    # The protocol number 6 keeps the sum from being zero, so its ones'-complement zero is always written 0xffff.
    return (int.from_bytes(src + dst, "big") + 6 + length) % MODULUS or MODULUS
