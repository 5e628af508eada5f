"""One captured frame to one row of the packets table: the fast twin of frame.py, link_layer.py and network_layer.py.

Compiled are the shapes that captures consist of: the usual link types, up to MOST_VLANS VLAN tags, IPv4 without
options, IPv6 without extension headers, VXLAN, Geneve, plain GRE, ERSPAN and IP in IP around them, any TCP header. All
else is ODD: the kernel says so, `resolve_odd` asks the plain parser and writes what it says into the row. So a row is
always what the plain parser says, whoever said it. The rules and their sources stand in the plain files; here they come
in the same order.
"""

from __future__ import annotations

import numpy as np

from rxtls.native import inlined, inner, kernel, load8, load16, load32, load64, times
from rxtls.wire import frame as plain
from rxtls.wire.checksum import MODULUS
from rxtls.wire.compiled.checksum import fold, remainder
from rxtls.wire.compiled.columns import (
    ACK,
    CAPTURED_LENGTH,
    CHECKSUM,
    COOKED_IFINDEX,
    COOKED_TYPE,
    DST_HIGH,
    DST_LOW,
    EPB_FLAGS,
    FAMILY,
    FATE,
    FIELD,
    FLAGS,
    FOREIGN,
    INSIDE,
    IP_ID,
    LENGTH,
    LINK,
    MOST_VLANS,
    MSS,
    NETWORK,
    ODD,
    OFFSET,
    OPTION_LENGTH,
    PACKET,
    PACKET_COLUMNS,
    PATH,
    PAYLOAD_LENGTH,
    PAYLOAD_OFFSET,
    PORTS,
    SACK_PERMITTED,
    SEQ,
    SRC_HIGH,
    SRC_LOW,
    SUM,
    TCP_OFFSET,
    TIMESTAMPS,
    TUNNELS,
    VLAN_DEPTH,
    VLAN_IDS,
    WINDOW,
    WINDOW_SCALE,
    WIRE,
    Frames,
)
from rxtls.wire.compiled.rows import CHECKSUMS, FATE_CODES, FATE_NAMES, packet_of, row_of
from rxtls.wire.compiled.share import Share, first_job, foreign
from rxtls.wire.link_layer import (
    ETHERNET,
    IPV4,
    IPV6,
    LINUX_SLL,
    LINUX_SLL2,
    LOOP,
    NULL,
    RAW,
    RAW_LINKTYPE,
    READ,
)
from rxtls.wire.tunnels import (
    _PATH_FACTOR,
    ERSPAN_1_2,
    ERSPAN_KIND,
    ESP,
    ETHERNET_INSIDE,
    GENEVE_KIND,
    GENEVE_PORT,
    GRE,
    GRE_KIND,
    HTTPS,
    IP_KIND,
    IPV4_INSIDE,
    IPV6_INSIDE,
    MPLS_INSIDE,
    PPPOE_DISCOVERY,
    PPPOE_SESSION,
    UDP,
    VXLAN_KIND,
    VXLAN_PORTS,
)

__all__ = ["FATE_CODES", "FATE_NAMES", "packet_of", "parse_frame", "parse_frames", "resolve_odd"]

_NOT_IP = FATE_CODES["frame.not_ip"]
_NOT_TCP = FATE_CODES["frame.not_tcp"]
_FRAGMENT = FATE_CODES["frame.fragment"]
_LINK_TYPE = FATE_CODES["frame.link_type"]
_BAD_LINK = FATE_CODES["frame.bad_link"]
_BAD_IP = FATE_CODES["frame.bad_ip"]
_BAD_IP_CHECKSUM = FATE_CODES["frame.bad_ip_checksum"]
_BAD_TCP = FATE_CODES["frame.bad_tcp"]
_CUT_HEADER = FATE_CODES["frame.cut_header"]
_VXLAN = FATE_CODES["frame.vxlan"]
_GENEVE = FATE_CODES["frame.geneve"]
_GRE = FATE_CODES["frame.gre"]
_ESP = FATE_CODES["frame.esp"]
_PPPOE = FATE_CODES["frame.pppoe"]
_QUIC = FATE_CODES["frame.quic"]
_DTLS = FATE_CODES["frame.dtls"]
_LINK_ERROR = FATE_CODES["frame.link_error"]
_TUNNEL_DEPTH = FATE_CODES["frame.tunnel_depth"]

_VXLAN_PORT, _VXLAN_LINUX_PORT = VXLAN_PORTS
_MPLS_UNICAST, _MPLS_MULTICAST = MPLS_INSIDE
_RARE_LINKS = READ - {ETHERNET, LINUX_SLL, LINUX_SLL2, RAW, RAW_LINKTYPE, IPV4, IPV6, NULL, LOOP}
_RARE = np.zeros(max(READ) + 1, np.int64)
_RARE[list(_RARE_LINKS)] = 1
_LINKS = len(_RARE)

_OK, _BAD, _PARTIAL, _UNVERIFIABLE, _BAD_HEADER = range(len(CHECKSUMS))
_SYN = plain.SYN


@inlined
def _short(wire, need, never):  # type: ignore[no-untyped-def]
    """Too short: cut by the snap length, or `never` there."""
    return _CUT_HEADER if wire >= need else never


@inlined
def _path(packets, i, word):  # type: ignore[no-untyped-def]
    packets[i, PATH] = times(packets[i, PATH] ^ word, _PATH_FACTOR)


@inlined
def _inside(kind, number, inside, at, end, packets, i):  # type: ignore[no-untyped-def]
    """A tunnel of a kind, with an id or -1: where what it carries begins and ends, in columns that are free by now."""
    if number >= 0 and kind <= GRE_KIND:
        packets[i, NETWORK] = (kind + 1) << 32 | number
    _path(packets, i, (kind + 1) << 33 | (number + 1))
    packets[i, TCP_OFFSET] = at
    packets[i, PAYLOAD_OFFSET] = inside
    packets[i, PAYLOAD_LENGTH] = end
    return INSIDE


@inlined
def _readable(inside):  # type: ignore[no-untyped-def]
    return inside in (ETHERNET_INSIDE, IPV4_INSIDE, IPV6_INSIDE)


@inner
def _gre(frame, length, at, end, packets, i):  # type: ignore[no-untyped-def]
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
def _udp(frame, length, at, end, packets, i):  # type: ignore[no-untyped-def]
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
    if port == 4790 or port == 6635:
        return ODD
    size = min(length, end) - at
    if (source == 4500 or port == 4500) and size >= 8 and load32(frame + at):
        return _ESP
    if size < 5:
        return _NOT_TCP
    first = load8(frame + at)
    if size >= 13 and 20 <= first <= 26:
        version = load16(frame + at + 1)
        if version == 0xFEFF or version == 0xFEFD or version == 0xFEFC or version == 0x0100:
            return _DTLS if at + 13 + load16(frame + at + 11) <= end else _NOT_TCP
    if first & 0xC0 == 0xC0:
        version = load32(frame + at + 1)
        high = version >> 16
        if (
            version == 1
            or version == 0x6B3343CF
            or version >> 8 == 0xFF0000
            or high == 0x5130
            or high == 0x5430
            or version & 0x0F0F0F0F == 0x0A0A0A0A
        ):
            return _QUIC
    elif first & 0xC0 == 0x40 and (source == HTTPS or port == HTTPS):
        return _QUIC
    return _NOT_TCP


@inner
def _carried(protocol, frame, length, at, end, packets, i):  # type: ignore[no-untyped-def]
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
    return ODD if protocol == 97 or protocol == 137 else _NOT_TCP


@inlined
def _is_extension(header):  # type: ignore[no-untyped-def]
    """IPv6 headers, authentication among them, behind which there may still be TCP."""
    return (
        header == 0
        or header == 43
        or header == 44
        or header == 51
        or header == 60
        or header == 135
        or header == 139
        or header == 140
    )


@inlined
def _options(frame, at, end, packets, i):  # type: ignore[no-untyped-def]
    """As frame._options, into the row."""
    while at < end:
        kind = load8(frame + at)
        if kind == 1:
            at += 1
            continue
        if kind == 0 or at + 2 > end:
            break
        length = load8(frame + at + 1)
        if length < 2 or at + length > end:
            break
        if kind == 2 and length == 4:
            mss = load16(frame + at + 2)
            packets[i, MSS] = mss if mss else -1
        elif kind == 3 and length == 3:
            packets[i, WINDOW_SCALE] = min(load8(frame + at + 2), 14)
        elif kind == 4 and length == 2:
            packets[i, SACK_PERMITTED] = 1
        elif kind == 8 and length == 10:
            packets[i, TIMESTAMPS] = 1
        at += length


@inlined
def _segment(frame, length, at, size, pseudo, packets, i, share):  # type: ignore[no-untyped-def]
    """The TCP segment of `size` bytes on the wire at frame + at. `pseudo`: its addresses' sum. The fate."""
    if size < 20:
        return _BAD_TCP
    if length < at + 20:
        return _CUT_HEADER
    offset_flags = load16(frame + at + 12)
    header = offset_flags >> 12 << 2
    if header < 20 or header > size:
        return _BAD_TCP
    payload = at + header
    if length < payload:
        return _CUT_HEADER
    packets[i, PORTS] = load32(frame + at)
    if share and foreign(share, packets, i, length):
        return FOREIGN
    packets[i, SEQ] = load32(frame + at + 4)
    packets[i, ACK] = load32(frame + at + 8)
    packets[i, FLAGS] = offset_flags & 0x1FF
    packets[i, WINDOW] = load16(frame + at + 14)
    packets[i, TCP_OFFSET] = at
    packets[i, PAYLOAD_OFFSET] = payload
    if packets[i, TUNNELS]:
        packets[i, PATH] = packets[i, PATH] >> 37 & 0x7FF_FFFF
    packets[i, PAYLOAD_LENGTH] = size - header
    packets[i, CAPTURED_LENGTH] = min(size, length - at) - header
    packets[i, OPTION_LENGTH] = header - 20
    packets[i, MSS] = -1
    packets[i, WINDOW_SCALE] = -1
    packets[i, SACK_PERMITTED] = 0
    packets[i, TIMESTAMPS] = 0
    if header > 20:
        if header == 32 and not offset_flags & _SYN and load32(frame + at + 20) == 0x0101080A:
            packets[i, TIMESTAMPS] = 1
        else:
            _options(frame, at + 20, payload, packets, i)
            if not offset_flags & _SYN:
                packets[i, MSS] = -1
                packets[i, WINDOW_SCALE] = -1
                packets[i, SACK_PERMITTED] = 0

    total = remainder(frame + at, min(size, length - at))
    field = load16(frame + at + 16)
    packets[i, SUM] = total
    packets[i, FIELD] = field
    pseudo = fold(pseudo + 6 + size)
    whole = at + size <= length
    if whole and (pseudo + total == 0 or pseudo + total == MODULUS):
        packets[i, CHECKSUM] = _OK
    elif field == (pseudo if pseudo else MODULUS):
        packets[i, CHECKSUM] = _PARTIAL
    else:
        packets[i, CHECKSUM] = _BAD if whole else _UNVERIFIABLE
    return PACKET


@inlined
def _ipv4(frame, length, wire, at, check_ip, packets, i, share):  # type: ignore[no-untyped-def]
    if length < at + 20:
        return _short(wire, at + 20, _BAD_IP)
    version_header = load8(frame + at)
    header = (version_header & 0x0F) << 2
    total = load16(frame + at + 2)
    if total == 0:
        total = wire - at
    if version_header >> 4 != 4 or header < 20 or total < header or at + total > wire:
        return _BAD_IP
    if header > 20:
        return ODD
    first = load32(frame + at + 4)
    second = load32(frame + at + 8)
    src = load32(frame + at + 12)
    dst = load32(frame + at + 16)
    sound = not (check_ip and second & 0xFFFF and fold(load32(frame + at) + first + second + src + dst))
    if first & 0x3FFF:
        return _FRAGMENT if sound else _BAD_IP_CHECKSUM
    protocol = (second >> 16) & 0xFF
    if protocol != 6:
        if protocol == 51:
            return ODD
        if not sound:
            return _BAD_IP_CHECKSUM
        fate = _carried(protocol, frame, length, at + 20, at + total, packets, i)
        if fate == INSIDE:
            _path(packets, i, 0)
            _path(packets, i, src)
            _path(packets, i, 0)
            _path(packets, i, dst)
        return fate
    packets[i, FAMILY] = 4
    packets[i, SRC_HIGH] = 0
    packets[i, SRC_LOW] = src
    packets[i, DST_HIGH] = 0
    packets[i, DST_LOW] = dst
    packets[i, IP_ID] = first >> 16
    fate = _segment(frame, length, at + 20, total - 20, src + dst, packets, i, share)
    if not sound:
        packets[i, CHECKSUM] = _BAD_HEADER
    return fate


@inlined
def _halves(word):  # type: ignore[no-untyped-def]
    return (word & 0xFFFF_FFFF) + ((word >> 32) & 0xFFFF_FFFF)


@inlined
def _ipv6(frame, length, wire, at, packets, i, share):  # type: ignore[no-untyped-def]
    start = at + 40
    if length < start:
        return _short(wire, start, _BAD_IP)
    size = load16(frame + at + 4)
    end = start + size if size else wire
    if load8(frame + at) >> 4 != 6 or end > wire:
        return _BAD_IP
    header = load8(frame + at + 6)
    if header != 6:
        if _is_extension(header):
            return ODD
        fate = _carried(header, frame, length, start, end, packets, i)
        if fate == INSIDE:
            for n in range(4):
                _path(packets, i, load64(frame + at + 8 + 8 * n))
        return fate
    src_high, src_low = load64(frame + at + 8), load64(frame + at + 16)
    dst_high, dst_low = load64(frame + at + 24), load64(frame + at + 32)
    packets[i, FAMILY] = 6
    packets[i, SRC_HIGH] = src_high
    packets[i, SRC_LOW] = src_low
    packets[i, DST_HIGH] = dst_high
    packets[i, DST_LOW] = dst_low
    packets[i, IP_ID] = 0
    pseudo = _halves(src_high) + _halves(src_low) + _halves(dst_high) + _halves(dst_low)
    return _segment(frame, length, start, end - start, pseudo, packets, i, share)


@inlined
def _fate(frame, length, wire, link, check_ip, packets, i, share):  # type: ignore[no-untyped-def]
    """The fate of the frame at the address `frame`, PACKET with the rest of the row filled in."""
    version = 0  # until it is known
    ethertype = 0
    cooked_type = -1
    cooked_ifindex = -1
    packets[i, TUNNELS] = 0
    packets[i, NETWORK] = 0
    packets[i, PATH] = 0
    if link == ETHERNET:
        at = 14
        if length < at:
            return _short(wire, at, _BAD_LINK)
        ethertype = load16(frame + 12)
    elif link == LINUX_SLL:
        at = 16
        if length < at:
            return _short(wire, at, _BAD_LINK)
        if load16(frame + 2) == 824:  # netlink
            return _NOT_IP
        ethertype = load16(frame + 14)
        cooked_type = load16(frame)
    elif link == LINUX_SLL2:
        at = 20
        if length < at:
            return _short(wire, at, _BAD_LINK)
        if load16(frame + 8) == 824:
            return _NOT_IP
        ethertype = load16(frame)
        cooked_type = load8(frame + 10)
        cooked_ifindex = load32(frame + 4)
    elif link in (RAW, RAW_LINKTYPE):
        at = 0
        if length < 1:
            return _short(wire, 1, _BAD_LINK)
        version = load8(frame) >> 4
        if version != 4 and version != 6:
            return _NOT_IP
    elif link == IPV4:
        at, version = 0, 4
    elif link == IPV6:
        at, version = 0, 6
    elif link in (NULL, LOOP):
        at = 4
        if length < at:
            return _short(wire, at, _BAD_LINK)
        family = load32(frame)
        if family & 0xFFFF == 0:  # no family reaches 2^16: the order in which the number is small is the right one
            family = load8(frame) | load8(frame + 1) << 8
        if family == 2:
            version = 4
        elif family == 10 or family == 24 or family == 28 or family == 30:
            version = 6
        elif load32(frame) == 0x0800 or load32(frame) == 0x0008_0000:  # an ethertype, in either order
            version = 4
        elif load32(frame) == 0x86DD or load32(frame) == 0xDD86_0000:
            version = 6
        else:
            return _NOT_IP
    elif link < _LINKS and _RARE[link]:
        return ODD
    else:
        return _LINK_TYPE

    while True:
        depth = 0
        vlan_ids = 0
        if version == 0:
            while ethertype == 0x8100 or ethertype == 0x88A8 or ethertype == 0x9100:
                if length < at + 4:
                    return _short(wire, at + 4, _BAD_LINK)
                if depth == MOST_VLANS:
                    return ODD
                control = load32(frame + at)
                ethertype = control & 0xFFFF
                vlan_ids = vlan_ids << 12 | ((control >> 16) & 0x0FFF)
                depth += 1
                at += 4
            if ethertype == 0x0800:
                version = 4
            elif ethertype == 0x86DD:
                version = 6
            elif ethertype <= 0x05DC and (cooked_type < 0 or ethertype == 4):
                return ODD  # LLC
            elif ethertype in (_MPLS_UNICAST, _MPLS_MULTICAST, PPPOE_SESSION):
                return ODD
            elif ethertype == PPPOE_DISCOVERY:
                return _PPPOE
            else:
                return _NOT_IP
        packets[i, VLAN_DEPTH] = depth
        packets[i, VLAN_IDS] = vlan_ids
        packets[i, COOKED_TYPE] = cooked_type
        packets[i, COOKED_IFINDEX] = cooked_ifindex
        if version == 4:
            fate = _ipv4(frame, length, wire, at, check_ip, packets, i, share)
        else:
            fate = _ipv6(frame, length, wire, at, packets, i, share)
        if fate != INSIDE:
            return fate
        if packets[i, TUNNELS] == plain.MOST_TUNNELS:
            return _TUNNEL_DEPTH
        packets[i, TUNNELS] += 1
        _path(packets, i, depth)
        at, ethertype, end = packets[i, TCP_OFFSET], packets[i, PAYLOAD_OFFSET], packets[i, PAYLOAD_LENGTH]
        length, wire = min(length, end), min(wire, end)
        cooked_type = -1
        version = 0
        if ethertype == ETHERNET_INSIDE:
            at += 14
            if length < at:
                return _short(wire, at, _BAD_LINK)
            ethertype = load16(frame + at - 2)


@inner
def _flagged(flags, fate, packets, i):  # type: ignore[no-untyped-def]
    """What pcapng's flags change in a row, and its fate."""
    if flags & plain.LINK_ERRORS:
        return _LINK_ERROR
    if fate == PACKET:
        if packets[i, COOKED_TYPE] < 0 and not packets[i, TUNNELS]:
            direction = flags & (plain.INBOUND | plain.OUTBOUND)
            if direction == plain.INBOUND:
                packets[i, COOKED_TYPE] = 0
            elif direction == plain.OUTBOUND:
                packets[i, COOKED_TYPE] = 4
        if packets[i, CHECKSUM] == _BAD and flags & (plain.NOT_READY | plain.VALID):
            packets[i, CHECKSUM] = _OK if flags & plain.VALID else _PARTIAL
    return fate


@inlined
def parse_frame(base, frames, i, packets, check_ip, share):  # type: ignore[no-untyped-def]
    """Row i of `packets` from row i of `frames`; `base` is the address of the first byte of the frames' data.

    `share` is the address of a Share, or 0: then every packet is followed.
    """
    length = frames[i, LENGTH]
    wire = max(frames[i, WIRE], length)
    fate = _fate(base + frames[i, OFFSET], length, wire, frames[i, LINK], check_ip, packets, i, share)
    flags = frames[i, EPB_FLAGS]
    if flags:
        fate = _flagged(flags, fate, packets, i)
    if share and fate >= 0 and not first_job(share):
        fate = FOREIGN
    packets[i, FATE] = fate


@kernel("int64(int64, int64[:, ::1], int64[:, ::1], boolean, int64)")
def _parse(base, frames, packets, check_ip, share):  # type: ignore[no-untyped-def]
    """All rows; how many are ODD."""
    odd = 0
    for i in range(frames.shape[0]):
        parse_frame(base, frames, i, packets, check_ip, share)
        odd += packets[i, FATE] == ODD
    return odd


def parse_frames(frames: Frames, check_ip: bool, share: Share | None = None) -> None:
    """Fill `frames.packets` and `frames.vlans`: one row for each frame, as wire.frame.parse has it."""
    frames.packets = np.zeros((len(frames.table), PACKET_COLUMNS), np.int64)
    frames.vlans.clear()
    if _parse(frames.data.ctypes.data, frames.table, frames.packets, check_ip, share.address if share else 0):
        resolve_odd(frames, check_ip, share)


def resolve_odd(frames: Frames, check_ip: bool, share: Share | None = None) -> None:
    """What is ODD, by the plain parser."""
    for row in np.flatnonzero(frames.packets[:, FATE] == ODD).tolist():
        *_, link, wire, offset, length, flags = frames.table[row].tolist()
        packet = plain.parse(link, frames.data[offset : offset + length].tobytes(), wire, check_ip, flags)
        if isinstance(packet, str):
            frames.packets[row, FATE] = FATE_CODES[packet]
        else:
            frames.packets[row] = row_of(packet)
            if len(packet.vlan) > MOST_VLANS:
                frames.vlans[row] = packet.vlan
        if share:
            share.judge(frames.packets, row, length)
