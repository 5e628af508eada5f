"""From the header of a tunnel to what it carries: the fast twin of wire/tunnels.py.

VXLAN, Geneve, GRE, ERSPAN I and II and IP in IP are read; other tunnels, and headers that are not as usual, are ODD.

Where there is something inside, the answer is INSIDE, and three columns of the row that are free until the segment is
read say where: TCP_OFFSET the first byte, PAYLOAD_LENGTH the end, PAYLOAD_OFFSET what is there as an ethertype.
"""

from __future__ import annotations

import numpy as np

from rxtls.native import Table, inlined, inner, load8, load16, load32, times
from rxtls.wire.compiled.columns import INSIDE, ODD, PacketRow
from rxtls.wire.compiled.rows import FATE_CODES
from rxtls.wire.tunnels import (
    DTLS_VERSIONS,
    ERSPAN_1_2,
    ERSPAN_KIND,
    ESP,
    ESP_PORT,
    ETHERIP,
    ETHERNET_INSIDE,
    GENEVE_KIND,
    GENEVE_PORT,
    GPE_PORT,
    GRE,
    GRE_KIND,
    HTTPS,
    IP_KIND,
    IPV4_INSIDE,
    IPV6_INSIDE,
    L2TP,
    MPLS_PORT,
    NETWORK_KINDS,
    PATH_FACTOR,
    QUIC_VERSIONS,
    UDP,
    UNREAD_PORTS,
    VXLAN_KIND,
    VXLAN_PORTS,
)

_NOT_TCP = FATE_CODES["frame.not_tcp"]
_VXLAN = FATE_CODES["frame.vxlan"]
_ESP = FATE_CODES["frame.esp"]
_QUIC = FATE_CODES["frame.quic"]
_DTLS = FATE_CODES["frame.dtls"]

_VXLAN_PORT, _VXLAN_LINUX_PORT = VXLAN_PORTS
_PORTS = np.array([(port, FATE_CODES[fate]) for port, fate in UNREAD_PORTS.items()], np.int64)


@inlined
def unread(table: Table, number: int, never: int) -> int:
    """The fate of a tunnel that is not read, by port or ethertype, or `never`."""
    for j in range(len(table)):
        if table[j, 0] == number:
            return table[j, 1]
    return never


@inlined
def mix_path(packets: Table, i: int, word: int) -> None:
    packets[i, PacketRow.PATH] = times(packets[i, PacketRow.PATH] ^ word, PATH_FACTOR)


@inlined
def _inside(kind: int, number: int, inside: int, at: int, end: int, packets: Table, i: int) -> int:
    """A tunnel of a kind, with an id or -1: where what it carries begins and ends, in columns that are free by now."""
    if number >= 0 and kind < NETWORK_KINDS:
        packets[i, PacketRow.NETWORK] = (kind + 1) << 32 | number
    mix_path(packets, i, (kind + 1) << 33 | (number + 1))
    packets[i, PacketRow.TCP_OFFSET] = at
    packets[i, PacketRow.PAYLOAD_OFFSET] = inside
    packets[i, PacketRow.PAYLOAD_LENGTH] = end
    return INSIDE


@inlined
def _readable(inside: int) -> bool:
    return inside in (ETHERNET_INSIDE, IPV4_INSIDE, IPV6_INSIDE)


@inner
def _gre(frame: int, length: int, at: int, end: int, packets: Table, i: int) -> int:
    """GRE without routing, around Ethernet, IP, or ERSPAN of types I and II."""
    if length < at + 24:
        return ODD
    flags, inside = load16(frame + at), load16(frame + at + 2)
    if flags & 0x4007:
        return ODD
    start = at + 4 + (4 if flags & 0x8000 else 0)
    number = -1
    if flags & 0x2000:
        number = load32(frame + start)
        start += 4
    if flags & 0x1000:
        start += 4
    if _readable(inside):
        return _inside(GRE_KIND, number, inside, start, end, packets, i)
    if inside != ERSPAN_1_2:
        return ODD
    if not flags & 0x1000:
        return _inside(ERSPAN_KIND, -1, ETHERNET_INSIDE, start, end, packets, i)
    word = load32(frame + start)
    if word >> 28 != 1 or length < start + 12:
        return ODD
    return _inside(ERSPAN_KIND, word & 0x3FF, ETHERNET_INSIDE, start + 8, end, packets, i)


@inner
def _udp(frame: int, length: int, at: int, end: int, packets: Table, i: int) -> int:
    """VXLAN and Geneve; else which of the things that are like TLS over TCP."""
    if length < at + 4:
        return _NOT_TCP
    source, port = load16(frame + at), load16(frame + at + 2)
    at += 8
    if port in (_VXLAN_PORT, _VXLAN_LINUX_PORT):
        if length < at + 8:
            return ODD
        if not load8(frame + at) & 0x08:
            return _VXLAN
        number = load32(frame + at + 4) >> 8
        return _inside(VXLAN_KIND, number, ETHERNET_INSIDE, at + 8, end, packets, i)
    if port == GENEVE_PORT:
        if length < at + 8:
            return ODD
        inside = load16(frame + at + 2)
        start = at + 8 + ((load8(frame + at) & 0x3F) << 2)
        if load8(frame + at) >> 6 or start > end or not _readable(inside):
            return ODD
        number = load32(frame + at + 4) >> 8
        return _inside(GENEVE_KIND, number, inside, start, end, packets, i)
    if port in (GPE_PORT, MPLS_PORT):
        return ODD
    size = min(length, end) - at
    if ESP_PORT in (source, port) and size >= 8 and load32(frame + at):
        return _ESP
    other = unread(_PORTS, port, unread(_PORTS, source, _NOT_TCP))
    if size < 5:
        return other
    first = load8(frame + at)
    if size >= 13 and 20 <= first <= 26:
        version = load16(frame + at + 1)
        if version in DTLS_VERSIONS:
            return _DTLS if at + 13 + load16(frame + at + 11) <= end else other
    if first & 0xC0 == 0xC0:
        version = load32(frame + at + 1)
        high = version >> 16
        if (
            version in QUIC_VERSIONS
            or version >> 8 == 0xFF0000
            or high == 0x5130
            or high == 0x5430
            or version & 0x0F0F0F0F == 0x0A0A0A0A
        ):
            return _QUIC
    elif first & 0xC0 == 0x40 and HTTPS in (source, port):
        return _QUIC
    return other


@inner
def carried(protocol: int, frame: int, length: int, at: int, end: int, packets: Table, i: int) -> int:
    """tunnels.carried."""
    if protocol == UDP:
        return _udp(frame, length, at, end, packets, i)
    if protocol == 4:
        return _inside(IP_KIND, -1, IPV4_INSIDE, at, end, packets, i)
    if protocol == 41:
        return _inside(IP_KIND, -1, IPV6_INSIDE, at, end, packets, i)
    if protocol == GRE:
        return _gre(frame, length, at, end, packets, i)
    if protocol == ESP:
        return _ESP
    return ODD if protocol in (ETHERIP, L2TP, 137) else _NOT_TCP
