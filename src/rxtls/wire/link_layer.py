"""From the first captured byte to the IP header: one reader per link type, and what may lie between.

A reader answers with a Link, or with the name of a fate. Between the link-layer header and IP stand any number of VLAN
tags (802.1Q, 802.1ad and its predecessors 0x9100 and 0x9200) and perhaps LLC/SNAP; Linux cooked headers carry an
ethertype too, so they lead into the same walk. Under MPLS labels and in PPPoE there is a packet inside: tunnels.py says
where.

Link type numbers are those of tcpdump.org/linktypes.html. A frame may be shorter than it was on the wire (snap length):
headers missing for that reason are "frame.cut_header", headers that were never there "frame.bad_link".
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct

from .tunnels import (
    ETHERNET_INSIDE,
    MPLS_INSIDE,
    PPPOE_DISCOVERY,
    PPPOE_SESSION,
    UNREAD_ETHERTYPES,
    VLANS,
    Inside,
    mpls,
    ppp,
    pppoe,
)

# IP version (4 or 6), where the IP header starts, VLAN ids (outer first), Linux cooked packet type and interface index.
# A plain tuple: this is made for every frame.
Link = tuple[int, int, tuple[int, ...], int | None, int | None]

NULL = 0
ETHERNET = 1
PPP = 9
RAW = 12
RAW_OPENBSD = 14
PPP_HDLC = 50
PPP_ETHER = 51
RAW_LINKTYPE = 101
C_HDLC = 104
LOOP = 108
ENC = 109
LINUX_SLL = 113
PFLOG = 117
USER_2 = 149  # what macOS writes for PKTAP, whose own number is 258
PPP_PPPD = 166
PPP_WITH_DIRECTION = 204
IPNET = 226
IPV4 = 228
IPV6 = 229
NFLOG = 239
PKTAP = 258
LINUX_SLL2 = 276

# Names of those that are not read, as tcpdump and Wireshark have them: for a person who wonders why.
UNREAD: dict[int, str] = {
    6: "IEEE 802.5 Token Ring",
    10: "FDDI",
    100: "ATM",
    105: "IEEE 802.11",
    107: "Frame Relay",
    119: "IEEE 802.11 with Prism headers",
    127: "IEEE 802.11 with radiotap headers",
    147: "USER0",
    163: "IEEE 802.11 with AVS headers",
    187: "Bluetooth HCI",
    189: "USB (Linux)",
    192: "PPI, often around IEEE 802.11",
    195: "IEEE 802.15.4",
    201: "Bluetooth HCI with direction",
    220: "USB (Linux, padded)",
    227: "CAN bus",
    230: "IEEE 802.15.4 without FCS",
    249: "USB (Windows)",
    251: "Bluetooth LE",
    252: "Wireshark's exported PDUs",
    253: "Linux netlink",
}

_IP = {0x0800: 4, 0x86DD: 6}

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
_IPNET_FAMILIES = {2: 4, 26: 6}  # Solaris has its own
_PKTAP_IN, _PKTAP_OUT = 1, 2
_PKTAP_LEAST = 108
_TO_US, _FROM_US = 0, 4  # as Linux cooked captures number it
_NFLOG_PAYLOAD = 9
_MOST_WRAPPED = 4  # a PKTAP header that says PKTAP follows is hostile, and would go on for ever

_SHORT = Struct("!H")
_VLAN_HEADER = Struct("!HH")
_SLL = Struct("!HH10xH")
_SLL2 = Struct("!H2xIHB9x")


def strip(link_type: int, data: bytes, wire_length: int) -> Link | Inside | str:
    """Walk from the start of a frame to its IP header, or to a tunnel's. `wire_length` >= len(data)."""
    reader = _READERS.get(link_type)
    return "frame.link_type" if reader is None else reader(data, wire_length)


def inside(ethertype: int, at: int, data: bytes, wire_length: int) -> Link | Inside | str:
    """Walk on from data[at], where what a tunnel carries begins: an Ethernet frame, or what `ethertype` says."""
    if ethertype != ETHERNET_INSIDE:
        return _ethertype(ethertype, at, data, wire_length, None, None)
    if len(data) < at + 14:
        return _short(wire_length, at + 14)
    return _ethertype(data[at + 12] << 8 | data[at + 13], at + 14, data, wire_length, None, None)


def _ethernet(data: bytes, wire_length: int) -> Link | Inside | str:
    if len(data) < 14:
        return _short(wire_length, 14)
    (ethertype,) = _SHORT.unpack_from(data, 12)
    if ethertype == 0x0800:
        return 4, 14, (), None, None
    return _ethertype(ethertype, 14, data, wire_length, None, None)


def _linux_sll(data: bytes, wire_length: int) -> Link | Inside | str:
    if len(data) < 16:
        return _short(wire_length, 16)
    packet_type, hardware, protocol = _SLL.unpack_from(data)
    if hardware == _ARPHRD_NETLINK:
        return "frame.not_ip"
    return _ethertype(protocol, 16, data, wire_length, packet_type, None)


def _linux_sll2(data: bytes, wire_length: int) -> Link | Inside | str:
    if len(data) < 20:
        return _short(wire_length, 20)
    protocol, ifindex, hardware, packet_type = _SLL2.unpack_from(data)
    if hardware == _ARPHRD_NETLINK:
        return "frame.not_ip"
    return _ethertype(protocol, 20, data, wire_length, packet_type, ifindex)


def _ethertype(
    ethertype: int, at: int, data: bytes, wire_length: int, cooked_type: int | None, cooked_ifindex: int | None
) -> Link | Inside | str:
    """Go on at `at`, the byte after `ethertype`."""
    vlan: list[int] = []
    while ethertype in VLANS:
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
    if version is not None:
        return version, at, tuple(vlan), cooked_type, cooked_ifindex
    if ethertype in MPLS_INSIDE:
        found = mpls(data, at, wire_length)
    elif ethertype == PPPOE_SESSION:
        found = pppoe(data, at, wire_length)
    else:
        return "frame.pppoe" if ethertype == PPPOE_DISCOVERY else UNREAD_ETHERTYPES.get(ethertype, "frame.not_ip")
    return found if isinstance(found, str) else found._replace(tunnel=found.tunnel._replace(vlan=tuple(vlan)))


def _null(data: bytes, wire_length: int) -> Link | str:
    """BSD loopback: the address family in the capturing host's byte order (network order in LINKTYPE_LOOP).

    Some writers put an ethertype there. No family is that large, and Wireshark takes it so as well.
    """
    if len(data) < 4:
        return _short(wire_length, 4)
    # No family reaches 2^16, so the order in which the number is small is the right one.
    family = min(int.from_bytes(data[:4], "little"), int.from_bytes(data[:4], "big"))
    version = _FAMILIES.get(family) or _IP.get(family)
    return "frame.not_ip" if version is None else (version, 4, (), None, None)


def _enc(data: bytes, wire_length: int) -> Link | str:
    """OpenBSD's enc(4), what IPsec has decrypted: the family in the host's order, SPI, flags."""
    if len(data) < 12:
        return _short(wire_length, 12)
    version = _FAMILIES.get(min(int.from_bytes(data[:4], "little"), int.from_bytes(data[:4], "big")))
    return "frame.not_ip" if version is None else (version, 12, (), None, None)


def _pflog(data: bytes, wire_length: int) -> Link | str:
    """The BSDs' pflog(4): its own length, then the family; the header is padded to a multiple of 4."""
    if len(data) < 2:
        return _short(wire_length, 2)
    at = data[0] + 3 & ~3
    if len(data) < at:
        return _short(wire_length, at)
    version = _FAMILIES.get(data[1])
    return "frame.not_ip" if version is None else (version, at, (), None, None)


def _ipnet(data: bytes, wire_length: int) -> Link | str:
    """Solaris' ipnet: version, family, hook type, length, two interfaces, two zones."""
    if len(data) < 24:
        return _short(wire_length, 24)
    version = _IPNET_FAMILIES.get(data[1])
    return "frame.not_ip" if version is None else (version, 24, (), None, None)


def _nflog(data: bytes, wire_length: int) -> Link | str:
    """Linux' NFLOG: family, version, group; then values, each with its length and type in the host's byte order."""
    if len(data) < 4:
        return _short(wire_length, 4)
    version = _FAMILIES.get(data[0])
    if version is None:
        return "frame.not_ip"
    at = 4
    while len(data) >= at + 4:
        length, kind = int.from_bytes(data[at : at + 2], "little"), int.from_bytes(data[at + 2 : at + 4], "little")
        if kind > 0xFF:  # there are two dozen types
            length, kind = length >> 8 | (length & 0xFF) << 8, kind >> 8
        if kind & 0x7F == _NFLOG_PAYLOAD:
            return version, at + 4, (), None, None
        if length < 4:
            return "frame.bad_link"
        at += length + 3 & ~3
    return _short(wire_length, at + 4)


def _ppp(data: bytes, wire_length: int) -> Link | str:
    return _ppp_at(0, data, wire_length)


def _ppp_with_direction(data: bytes, wire_length: int) -> Link | str:
    return _ppp_at(1, data, wire_length)


def _ppp_at(at: int, data: bytes, wire_length: int) -> Link | str:
    found = ppp(data, at, wire_length)
    return found if isinstance(found, str) else _ip_only(found.ethertype, found.at)


def _ppp_ether(data: bytes, wire_length: int) -> Link | Inside | str:
    return pppoe(data, 0, wire_length)


def _hdlc(data: bytes, wire_length: int) -> Link | Inside | str:
    """PPP in HDLC's frames, or Cisco's HDLC, which has an ethertype: the address byte tells (RFC 1547 4.3.1)."""
    if len(data) < 4:
        return _short(wire_length, 4)
    if data[0] not in (0x0F, 0x8F):
        return _ppp(data, wire_length)
    ethertype = data[2] << 8 | data[3]
    return "frame.not_ip" if ethertype <= _LENGTH_UP_TO else inside(ethertype, 4, data, wire_length)


def _ip_only(ethertype: int, at: int) -> Link | str:
    version = _IP.get(ethertype)
    return "frame.not_ip" if version is None else (version, at, (), None, None)


def _pktap(data: bytes, wire_length: int) -> Link | Inside | str:
    """Apple's PKTAP: length of the header, what follows, its link type, the interface's name, flags; little endian.

    The flags say whether the packet came in or went out, as Linux cooked packet types do.
    """
    at = out = 0
    for _ in range(_MOST_WRAPPED):
        if len(data) < at + _PKTAP_LEAST:
            return _short(wire_length, at + _PKTAP_LEAST)
        length = int.from_bytes(data[at : at + 4], "little")
        kind, link_type = (
            int.from_bytes(data[at + 4 : at + 8], "little"),
            int.from_bytes(data[at + 8 : at + 12], "little"),
        )
        if kind != 1 or not _PKTAP_LEAST <= length <= 0xFFFF:  # 1: a packet follows
            return "frame.link_type"
        out = data[at + 36]
        at += length
        if link_type not in (USER_2, PKTAP):
            break
    else:
        return "frame.bad_link"
    if len(data) < at:
        return _short(wire_length, at)
    found = strip(link_type, data[at:], wire_length - at)
    if isinstance(found, str):
        return found
    if isinstance(found, Inside):
        return found._replace(at=found.at + at, end=found.end + at)
    version, start, vlan, cooked_type, cooked_ifindex = found
    if cooked_type is None:
        cooked_type = {_PKTAP_IN: _TO_US, _PKTAP_OUT: _FROM_US}.get(out & 3)
    return version, start + at, vlan, cooked_type, cooked_ifindex


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


_READERS: dict[int, Callable[[bytes, int], Link | Inside | str]] = {
    NULL: _null,
    ETHERNET: _ethernet,
    PPP: _ppp,
    RAW: _raw,
    RAW_OPENBSD: _raw,
    PPP_HDLC: _hdlc,
    PPP_ETHER: _ppp_ether,
    RAW_LINKTYPE: _raw,
    C_HDLC: _hdlc,
    LOOP: _null,
    ENC: _enc,
    LINUX_SLL: _linux_sll,
    PFLOG: _pflog,
    USER_2: _pktap,
    PPP_PPPD: _ppp_with_direction,
    PPP_WITH_DIRECTION: _ppp_with_direction,
    IPNET: _ipnet,
    IPV4: _ipv4,
    IPV6: _ipv6,
    NFLOG: _nflog,
    PKTAP: _pktap,
    LINUX_SLL2: _linux_sll2,
}
READ = frozenset(_READERS)
