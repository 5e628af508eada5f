"""The flow hash: Toeplitz over addresses and ports, as NICs compute it for RSS, and LAGG takes it to choose a port.

For each set bit of the input, from the left, the 32 bits of the key that begin there are exclusive-ored into the hash.
The key is the one that Microsoft published with the test vectors; FreeBSD's rss_config.c uses it by default as well.
"""

from __future__ import annotations

KEY = bytes.fromhex("6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa")
_BITS = int.from_bytes(KEY)
_LENGTH = len(KEY) * 8


def toeplitz(source: bytes, target: bytes, source_port: int, target_port: int) -> int:
    """The 32-bit hash of a packet from `source` to `target`: addresses of 4 or 16 bytes, in network order."""
    data = source + target + source_port.to_bytes(2) + target_port.to_bytes(2)
    number, length, hashed = int.from_bytes(data), 8 * len(data), 0
    for at in range(length):
        if number >> (length - 1 - at) & 1:
            hashed ^= _BITS >> (_LENGTH - 32 - at) & 0xFFFF_FFFF
    return hashed
