"""The Internet checksum for kernels: as wire/checksum.py, whose arithmetic modulo 65535 this is.

Words are added as this machine loads them, 32 bits each into 64-bit sums, which LLVM turns into vector instructions;
the swap of bytes is made good at the end.
"""

from __future__ import annotations

from rxtls.native import inlined, little64, load8, minus, plus
from rxtls.wire.checksum import MODULUS

_LOW = 0xFFFF_FFFF


@inlined
def fold(total: int) -> int:
    """`total` modulo 65535, for 0 <= total < 2^48 or so: three carries round the end instead of a division."""
    total = (total & _LOW) + (total >> 32)
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return total - MODULUS if total >= MODULUS else total


@inlined
def remainder(address: int, length: int) -> int:
    """The ones'-complement sum of `length` bytes as big-endian 16-bit words, in [0, 0xffff), the last byte padded."""
    total = 0  # modulo 2^64
    high = 0
    for i in range(length >> 3):
        word = little64(address + 8 * i)
        total = plus(total, word)
        high += (word >> 32) & _LOW
    # The high halves stand in `total` 32 bits too far up. Without them it is the sum of the low halves, which does fit.
    total = minus(plus(total, high), high << 32)
    end = address + length
    shift = 0
    for i in range(length & 7):
        total += load8(end - (length & 7) + i) << shift
        shift += 8
        shift &= 15
    return fold(fold(total) << 8)
