"""From the first captured byte to the IP header: one reader per link type, and what may lie between.

A reader answers with a Link, or with the name of a fate. Between the link-layer header and IP stand any number of VLAN
tags (802.1Q, 802.1ad and its predecessor 0x9100) and perhaps LLC/SNAP; Linux cooked headers carry an ethertype too, so
they lead into the same walk. Tunnels that Ethernet announces by ethertype (MPLS, PPPoE) end here as their own fates:
the NIC's flow rules see outer headers only, so the connection inside one is not offloaded, and is not looked at.

Link type numbers are those of tcpdump.org/linktypes.html. A frame may be shorter than it was on the wire (snap length):
headers missing for that reason are "frame.cut_header", headers that were never there "frame.bad_link".
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct

# IP version (4 or 6), where the IP header starts, VLAN ids (outer first), Linux cooked packet type and interface index.
# A plain tuple: this is made for every frame.
Link = tuple[int, int, tuple[int, ...], int | None, int | None]

NULL = 0
ETHERNET = 1
RAW = 12
RAW_LINKTYPE = 101
LOOP = 108
LINUX_SLL = 113
IPV4 = 228
IPV6 = 229
LINUX_SLL2 = 276

_VLAN = frozenset({0x8100, 0x88A8, 0x9100})
_IP = {0x0800: 4, 0x86DD: 6}
_FATES = {0x8847: "frame.mpls", 0x8848: "frame.mpls", 0x8863: "frame.pppoe", 0x8864: "frame.pppoe"}

_LENGTH_UP_TO = 0x05DC  # an "ethertype" up to 1500 is the length of an 802.3 frame, and LLC follows (IEEE 802.3 3.2.6)
_SNAP = (
    b"\xaa\xaa\x03\x00\x00\x00",  # RFC 1042
    b"\xaa\xaa\x03\x00\x00\xf8",  # IEEE 802.1H bridge tunnel, which carries the same ethertypes
)
_COOKED_LLC = 0x0004  # LINUX_SLL's protocol for frames that begin with an 802.2 LLC header
_ARPHRD_NETLINK = 824  # the "protocol" is then a netlink family

# Address families as the capturing host numbered them: IPv6 is 10 in Linux, 24 in NetBSD and OpenBSD, 28 in FreeBSD,
# 30 in macOS. IPv4 is 2 everywhere.
_FAMILIES = {2: 4, 10: 6, 24: 6, 28: 6, 30: 6}

_SHORT = Struct("!H")
_VLAN_HEADER = Struct("!HH")
_SLL = Struct("!HH10xH")
_SLL2 = Struct("!H2xIHB9x")


def strip(link_type: int, data: bytes, wire_length: int) -> Link | str:
    """Walk from the start of a frame to its IP header. `wire_length` >= len(data)."""
    reader = _READERS.get(link_type)
    return "frame.link_type" if reader is None else reader(data, wire_length)


def _ethernet(data: bytes, wire_length: int) -> Link | str:
    if len(data) < 14:
        return _short(wire_length, 14)
    (ethertype,) = _SHORT.unpack_from(data, 12)
    if ethertype == 0x0800:
        return 4, 14, (), None, None
    return _ethertype(ethertype, 14, data, wire_length, None, None)


def _linux_sll(data: bytes, wire_length: int) -> Link | str:
    if len(data) < 16:
        return _short(wire_length, 16)
    packet_type, hardware, protocol = _SLL.unpack_from(data)
    if hardware == _ARPHRD_NETLINK:
        return "frame.not_ip"
    return _ethertype(protocol, 16, data, wire_length, packet_type, None)


def _linux_sll2(data: bytes, wire_length: int) -> Link | str:
    if len(data) < 20:
        return _short(wire_length, 20)
    protocol, ifindex, hardware, packet_type = _SLL2.unpack_from(data)
    if hardware == _ARPHRD_NETLINK:
        return "frame.not_ip"
    return _ethertype(protocol, 20, data, wire_length, packet_type, ifindex)


def _ethertype(
    ethertype: int, at: int, data: bytes, wire_length: int, cooked_type: int | None, cooked_ifindex: int | None
) -> Link | str:
    """Go on at `at`, the byte after `ethertype`."""
    vlan: list[int] = []
    while ethertype in _VLAN:
        if len(data) < at + 4:
            return _short(wire_length, at + 4)
        control, ethertype = _VLAN_HEADER.unpack_from(data, at)
        vlan.append(control & 0x0FFF)
        at += 4
    if ethertype <= _LENGTH_UP_TO and (cooked_type is None or ethertype == _COOKED_LLC):
        if len(data) < at + 8:
            return "frame.cut_header" if wire_length >= at + 8 else "frame.not_ip"
        if data[at : at + 6] not in _SNAP:
            return "frame.not_ip"
        (ethertype,) = _SHORT.unpack_from(data, at + 6)
        at += 8
    version = _IP.get(ethertype)
    if version is None:
        return _FATES.get(ethertype, "frame.not_ip")
    return version, at, tuple(vlan), cooked_type, cooked_ifindex


def _null(data: bytes, wire_length: int) -> Link | str:
    """BSD loopback: the address family in the capturing host's byte order (network order in LINKTYPE_LOOP)."""
    if len(data) < 4:
        return _short(wire_length, 4)
    # No family reaches 2^16, so the order in which the number is small is the right one.
    family = min(int.from_bytes(data[:4], "little"), int.from_bytes(data[:4], "big"))
    version = _FAMILIES.get(family)
    return "frame.not_ip" if version is None else (version, 4, (), None, None)


def _raw(data: bytes, wire_length: int) -> Link | str:
    if not data:
        return _short(wire_length, 1)
    version = data[0] >> 4
    return (version, 0, (), None, None) if version in (4, 6) else "frame.not_ip"


def _ipv4(_data: bytes, _wire_length: int) -> Link | str:
    return 4, 0, (), None, None


def _ipv6(_data: bytes, _wire_length: int) -> Link | str:
    return 6, 0, (), None, None


def _short(wire_length: int, need: int) -> str:
    return "frame.cut_header" if wire_length >= need else "frame.bad_link"


_READERS: dict[int, Callable[[bytes, int], Link | str]] = {
    NULL: _null,
    ETHERNET: _ethernet,
    RAW: _raw,
    RAW_LINKTYPE: _raw,
    LOOP: _null,
    LINUX_SLL: _linux_sll,
    IPV4: _ipv4,
    IPV6: _ipv6,
    LINUX_SLL2: _linux_sll2,
}
