"""TCP segments as Ethernet frames, for one direction of one connection. Checksums are right unless asked otherwise.

    Ethernet | 802.1Q ... | IPv4 or IPv6 | TCP, options | payload

What does not change within a direction is laid out once. The Internet checksum (RFC 1071) is a sum modulo 2^16 - 1, and
2^16 = 1 modulo that, so the big-endian integer of all the bytes *is* the sum of their words: one conversion and one
remainder take the place of a loop over words.
"""

from __future__ import annotations

import ipaddress
import struct
from typing import NamedTuple

from rxtls.seq import MASK

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10

_TCP = struct.Struct("!HHIIBBHHH")
_IPV4 = struct.Struct("!BBHHHBBH")
_IPV6 = struct.Struct("!IHBB")
_HOP_LIMIT = 64


class Address(NamedTuple):
    """One end of a connection: `ip` in text, IPv4 or IPv6; `mac` of 6 bytes."""

    ip: str
    port: int
    mac: bytes = b"\x02\x00\x00\x00\x00\x01"


class Headers:
    """Builds the frames of the direction from `source` to `target`.

    `vlans` are VLAN ids, outer first; the outer of several has the type of 802.1ad. Raises ValueError for an address
    that is none, or two of different families.
    """

    __slots__ = ("_addresses", "_ident", "_link", "_ports", "_pseudo", "_v6")

    def __init__(self, source: Address, target: Address, vlans: tuple[int, ...] = ()) -> None:
        a, b = ipaddress.ip_address(source.ip), ipaddress.ip_address(target.ip)
        if a.version != b.version:
            raise ValueError(f"{source.ip} and {target.ip} are of different families")
        self._v6 = a.version == 6
        types = [0x88A8 if i == 0 and len(vlans) > 1 else 0x8100 for i in range(len(vlans))]
        stack = b"".join(struct.pack("!HH", kind, vlan) for kind, vlan in zip(types, vlans, strict=True))
        self._link = target.mac + source.mac + stack + (b"\x86\xdd" if self._v6 else b"\x08\x00")
        self._addresses = a.packed + b.packed
        self._ports = (source.port, target.port)
        self._pseudo = int.from_bytes(self._addresses) % 0xFFFF + 6  # RFC 9293 section 3.1; RFC 8200 section 8.1
        self._ident = 0

    def frame(
        self, sequence: int, acknowledgement: int, flags: int, window: int, payload: bytes, options: bytes = b""
    ) -> bytes:
        """One segment; `window` is the header's field (already scaled), `options` a multiple of 4 bytes."""
        offset = (20 + len(options)) << 2  # data offset in 32-bit words, in the upper half of its byte
        fields = (*self._ports, sequence & MASK, acknowledgement & MASK, offset, flags, window)
        rest = options + payload
        length = 20 + len(rest)
        number = int.from_bytes(rest)
        if length & 1:  # an odd last byte is the upper half of its word
            number <<= 8
        head = _TCP.pack(*fields, 0, 0)
        checksum = -(self._pseudo + length + int.from_bytes(head) + number) % 0xFFFF
        return self._network(length) + _TCP.pack(*fields, checksum, 0) + rest

    def _network(self, length: int) -> bytes:
        if self._v6:
            return self._link + _IPV6.pack(0x6000_0000, length, 6, _HOP_LIMIT) + self._addresses
        self._ident = self._ident + 1 & 0xFFFF
        words = (0x45, 0, 20 + length, self._ident, 0x4000, _HOP_LIMIT, 6)
        checksum = -(int.from_bytes(_IPV4.pack(*words, 0)) + int.from_bytes(self._addresses)) % 0xFFFF
        return self._link + _IPV4.pack(*words, checksum) + self._addresses


def syn_options(mss: int, window_scale: int | None, timestamp: bytes = b"") -> bytes:
    """Options of a SYN: MSS, window scale (None leaves it out), and the timestamp option as `timestamps` made it."""
    scale = b"" if window_scale is None else struct.pack("!BBBB", 1, 3, 3, window_scale)
    return struct.pack("!BBH", 2, 4, mss) + scale + timestamp


def timestamps(value: int, echo: int) -> bytes:
    """The timestamp option, padded to 12 bytes as every system sends it (RFC 7323 appendix A)."""
    return struct.pack("!BBBBII", 1, 1, 8, 10, value & MASK, echo & MASK)
