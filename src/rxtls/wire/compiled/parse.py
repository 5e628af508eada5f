"""One captured frame to one row of the packets table: the fast twin of frame.py and link_layer.py.

Compiled are the shapes that captures consist of: the usual link types, up to MOST_VLANS VLAN tags, IPv4 without
options, IPv6 without extension headers, VXLAN, Geneve, plain GRE, ERSPAN and IP in IP around them, any TCP header. All
else is ODD: the kernel says so, `resolve_odd` asks the plain parser and writes what it says into the row. So a row is
always what the plain parser says, whoever said it. The rules and their sources stand in the plain files; here they come
in the same order. From the IP header on they are in network_layer.py and tunnels.py of this folder.
"""

from __future__ import annotations

import numpy as np

from rxtls.native import Table, inlined, inner, kernel, load8, load16, load32
from rxtls.wire import frame as plain
from rxtls.wire.compiled.columns import FOREIGN, INSIDE, MOST_VLANS, ODD, PACKET, FrameRow, Frames, PacketRow
from rxtls.wire.compiled.network_layer import BAD, OK, PARTIAL, ipv4, ipv6, short
from rxtls.wire.compiled.rows import FATE_CODES, FATE_NAMES, packet_of, row_of
from rxtls.wire.compiled.shard import Share, first_job
from rxtls.wire.compiled.tunnels import mix_path, unread
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
from rxtls.wire.tunnels import ETHERNET_INSIDE, MPLS_INSIDE, PPPOE_DISCOVERY, PPPOE_SESSION, UNREAD_ETHERTYPES, VLANS

__all__ = ["FATE_CODES", "FATE_NAMES", "packet_of", "parse_frame", "parse_frames", "resolve_odd"]

_NOT_IP = FATE_CODES["frame.not_ip"]
_LINK_TYPE = FATE_CODES["frame.link_type"]
_BAD_LINK = FATE_CODES["frame.bad_link"]
_PPPOE = FATE_CODES["frame.pppoe"]
_LINK_ERROR = FATE_CODES["frame.link_error"]
_TUNNEL_DEPTH = FATE_CODES["frame.tunnel_depth"]

_ETHERTYPES = np.array([(number, FATE_CODES[fate]) for number, fate in UNREAD_ETHERTYPES.items()], np.int64)
_MPLS_UNICAST, _MPLS_MULTICAST = MPLS_INSIDE
_RARE_LINKS = READ - {ETHERNET, LINUX_SLL, LINUX_SLL2, RAW, RAW_LINKTYPE, IPV4, IPV6, NULL, LOOP}
_RARE = np.zeros(max(READ) + 1, np.int64)
_RARE[list(_RARE_LINKS)] = 1
_LINKS = len(_RARE)


@inlined
def _fate(frame: int, length: int, wire: int, link: int, check_ip: int, packets: Table, i: int, share: int) -> int:
    """The fate of the frame at the address `frame`, PACKET with the rest of the row filled in."""
    version = 0  # until it is known
    ethertype = 0
    cooked_type = -1
    cooked_ifindex = -1
    packets[i, PacketRow.TUNNELS] = 0
    packets[i, PacketRow.NETWORK] = 0
    packets[i, PacketRow.PATH] = 0
    if link == ETHERNET:
        at = 14
        if length < at:
            return short(wire, at, _BAD_LINK)
        ethertype = load16(frame + 12)
    elif link == LINUX_SLL:
        at = 16
        if length < at:
            return short(wire, at, _BAD_LINK)
        if load16(frame + 2) == 824:  # netlink
            return _NOT_IP
        ethertype = load16(frame + 14)
        cooked_type = load16(frame)
    elif link == LINUX_SLL2:
        at = 20
        if length < at:
            return short(wire, at, _BAD_LINK)
        if load16(frame + 8) == 824:
            return _NOT_IP
        ethertype = load16(frame)
        cooked_type = load8(frame + 10)
        cooked_ifindex = load32(frame + 4)
    elif link in (RAW, RAW_LINKTYPE):
        at = 0
        if length < 1:
            return short(wire, 1, _BAD_LINK)
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
            return short(wire, at, _BAD_LINK)
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
            while ethertype in VLANS:
                if length < at + 4:
                    return short(wire, at + 4, _BAD_LINK)
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
                return unread(_ETHERTYPES, ethertype, _NOT_IP)
        packets[i, PacketRow.VLAN_DEPTH] = depth
        packets[i, PacketRow.VLAN_IDS] = vlan_ids
        packets[i, PacketRow.COOKED_TYPE] = cooked_type
        packets[i, PacketRow.COOKED_IFINDEX] = cooked_ifindex
        if version == 4:
            fate = ipv4(frame, length, wire, at, check_ip, packets, i, share)
        else:
            fate = ipv6(frame, length, wire, at, packets, i, share)
        if fate != INSIDE:
            return fate
        if packets[i, PacketRow.TUNNELS] == plain.MOST_TUNNELS:
            return _TUNNEL_DEPTH
        packets[i, PacketRow.TUNNELS] += 1
        mix_path(packets, i, depth)
        at, ethertype, end = (
            packets[i, PacketRow.TCP_OFFSET],
            packets[i, PacketRow.PAYLOAD_OFFSET],
            packets[i, PacketRow.PAYLOAD_LENGTH],
        )
        length, wire = min(length, end), min(wire, end)
        cooked_type = -1
        version = 0
        if ethertype == ETHERNET_INSIDE:
            at += 14
            if length < at:
                return short(wire, at, _BAD_LINK)
            ethertype = load16(frame + at - 2)


@inner
def _flagged(flags: int, fate: int, packets: Table, i: int) -> int:
    """What pcapng's flags change in a row, and its fate."""
    if flags & plain.LINK_ERRORS:
        return _LINK_ERROR
    if fate == PACKET:
        if packets[i, PacketRow.COOKED_TYPE] < 0 and not packets[i, PacketRow.TUNNELS]:
            direction = flags & (plain.INBOUND | plain.OUTBOUND)
            if direction == plain.INBOUND:
                packets[i, PacketRow.COOKED_TYPE] = 0
            elif direction == plain.OUTBOUND:
                packets[i, PacketRow.COOKED_TYPE] = 4
        if packets[i, PacketRow.CHECKSUM] == BAD and flags & (plain.NOT_READY | plain.VALID):
            packets[i, PacketRow.CHECKSUM] = OK if flags & plain.VALID else PARTIAL
    return fate


@inlined
def parse_frame(base: int, frames: Table, i: int, packets: Table, check_ip: int, share: int) -> None:
    """Row i of `packets` from row i of `frames`; `base` is the address of the first byte of the frames' data.

    `share` is the address of a Share, or 0: then every packet is followed.
    """
    length = frames[i, FrameRow.LENGTH]
    wire = max(frames[i, FrameRow.WIRE], length)
    fate = _fate(base + frames[i, FrameRow.OFFSET], length, wire, frames[i, FrameRow.LINK], check_ip, packets, i, share)
    flags = frames[i, FrameRow.EPB_FLAGS]
    if flags:
        fate = _flagged(flags, fate, packets, i)
    if share and fate >= 0 and not first_job(share):
        fate = FOREIGN
    packets[i, PacketRow.FATE] = fate


@kernel
def _parse(base: int, frames: Table, packets: Table, check_ip: bool, share: int) -> int:
    """All rows; how many are ODD."""
    odd = 0
    for i in range(len(frames)):
        parse_frame(base, frames, i, packets, check_ip, share)
        odd += packets[i, PacketRow.FATE] == ODD
    return odd


def parse_frames(frames: Frames, check_ip: bool, share: Share | None = None) -> None:
    """Fill `frames.packets` and `frames.vlans`: one row for each frame, as wire.frame.parse has it."""
    frames.packets = np.zeros((len(frames.table), PacketRow.COLUMNS), np.int64)
    frames.vlans.clear()
    if _parse(frames.data.ctypes.data, frames.table, frames.packets, check_ip, share.address if share else 0):
        resolve_odd(frames, check_ip, share)


def resolve_odd(frames: Frames, check_ip: bool, share: Share | None = None) -> None:
    """What is ODD, by the plain parser."""
    for row in np.flatnonzero(frames.packets[:, PacketRow.FATE] == ODD).tolist():
        *_, link, wire, offset, length, flags = frames.table[row].tolist()
        packet = plain.parse(link, frames.data[offset : offset + length].tobytes(), wire, check_ip, flags)
        if isinstance(packet, str):
            frames.packets[row, PacketRow.FATE] = FATE_CODES[packet]
        else:
            frames.packets[row] = row_of(packet)
            if len(packet.vlan) > MOST_VLANS:
                frames.vlans[row] = packet.vlan
        if share:
            share.judge(frames.packets, row, length)
