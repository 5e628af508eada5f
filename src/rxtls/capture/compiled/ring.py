"""A block of a ring as pcapng: its packets as Enhanced Packet Blocks, with what the kernel knows of each.

The kernel has taken the VLAN tag off; it is put back in, where it was on the wire. Direction and the state of the
checksum become the flags of the packet (epb_flags), which are believed as they are in any capture.
"""

from __future__ import annotations

from rxtls.native import copy, inlined, kernel, little32, load8, store8, store64
from rxtls.wire.frame import INBOUND, NOT_READY, OUTBOUND, VALID

# A packet's header (tpacket3_hdr), and behind it a sockaddr_ll.
_NEXT, _SECONDS, _NANOSECONDS, _CAPTURED, _WIRE, _STATUS, _MAC, _TCI, _TPID = 0, 4, 8, 12, 16, 20, 24, 32, 36
_PACKET_TYPE = 58
_OUTGOING = 4
_CSUM_NOT_READY, _VLAN_VALID, _TPID_VALID, _CSUM_VALID = 8, 0x10, 0x40, 0x80

_VLAN = 4
_DOT1Q = 0x8100
_ENHANCED = 6
_AROUND = 44  # bytes of an Enhanced Packet Block besides its data: header, flags, end of options, length
_ADDRESSES = 12  # bytes of a frame before its VLAN tag
_SECOND = 1_000_000_000
_LOW = 0xFFFF_FFFF


@inlined
def _half(at: int) -> int:
    return load8(at) | load8(at + 1) << 8


@kernel
def pack(first: int, count: int, to: int, interface: int) -> int:
    """`count` packets of a block, the first at the address `first`, as Enhanced Packet Blocks at the address `to`, of a
    big-endian section with times in nanoseconds. How many bytes: no more than they took in the ring."""
    begun = to
    at = first
    for _ in range(count):
        captured, status = little32(at + _CAPTURED), little32(at + _STATUS)
        time_ns = little32(at + _SECONDS) * _SECOND + little32(at + _NANOSECONDS)
        source = at + _half(at + _MAC)
        tagged = status & _VLAN_VALID != 0 and captured >= _ADDRESSES
        more = _VLAN if tagged else 0
        size = captured + more
        total = _AROUND + ((size + 3) & ~3)
        flags = OUTBOUND if load8(at + _PACKET_TYPE) == _OUTGOING else INBOUND
        if status & _CSUM_NOT_READY:
            flags |= NOT_READY
        elif status & _CSUM_VALID:
            flags |= VALID
        store64(to, _ENHANCED << 32 | total)
        store64(to + 8, interface << 32 | time_ns >> 32)
        store64(to + 16, (time_ns & _LOW) << 32 | size)
        store64(to + 24, (little32(at + _WIRE) + more) << 32)
        data = to + 28
        if tagged:
            tpid = _half(at + _TPID) if status & _TPID_VALID else _DOT1Q
            copy(data, source, _ADDRESSES)
            store64(data + _ADDRESSES, (tpid << 16 | (little32(at + _TCI) & 0xFFFF)) << 32)
            copy(data + _ADDRESSES + _VLAN, source + _ADDRESSES, captured - _ADDRESSES)
        else:
            copy(data, source, captured)
        for n in range(size, total - _AROUND):
            store8(data + n, 0)
        store64(to + total - 16, 0x0002_0004 << 32 | flags)
        store64(to + total - 8, total)
        to += total
        at += little32(at + _NEXT)
    return to - begun
