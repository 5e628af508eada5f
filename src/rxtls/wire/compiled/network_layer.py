"""From an IP header to the row of its TCP segment: the fast twin of network_layer.py, and of how frame.py reads TCP.

IPv4 without options and IPv6 without extension headers; other headers are ODD.
"""

from __future__ import annotations

from rxtls.native import Table, inlined, load8, load16, load32, load64
from rxtls.wire.checksum import MODULUS
from rxtls.wire.compiled.checksum import fold, remainder
from rxtls.wire.compiled.columns import FOREIGN, INSIDE, ODD, PACKET, PacketRow
from rxtls.wire.compiled.rows import CHECKSUMS, FATE_CODES
from rxtls.wire.compiled.shard import foreign
from rxtls.wire.compiled.tunnels import carried, mix_path
from rxtls.wire.frame import SYN

_FRAGMENT = FATE_CODES["frame.fragment"]
_BAD_IP = FATE_CODES["frame.bad_ip"]
_BAD_IP_CHECKSUM = FATE_CODES["frame.bad_ip_checksum"]
_BAD_TCP = FATE_CODES["frame.bad_tcp"]
_CUT_HEADER = FATE_CODES["frame.cut_header"]

OK, BAD, PARTIAL, _UNVERIFIABLE, _BAD_HEADER = range(len(CHECKSUMS))


@inlined
def short(wire: int, need: int, never: int) -> int:
    """Too short: cut by the snap length, or `never` there."""
    return _CUT_HEADER if wire >= need else never


@inlined
def _is_extension(header: int) -> bool:
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
def _options(frame: int, at: int, end: int, packets: Table, i: int) -> None:
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
            packets[i, PacketRow.MSS] = mss if mss else -1
        elif kind == 3 and length == 3:
            packets[i, PacketRow.WINDOW_SCALE] = min(load8(frame + at + 2), 14)
        elif kind == 4 and length == 2:
            packets[i, PacketRow.SACK_PERMITTED] = 1
        elif kind == 8 and length == 10:
            packets[i, PacketRow.TIMESTAMPS] = 1
        at += length


@inlined
def _segment(frame: int, length: int, at: int, size: int, pseudo: int, packets: Table, i: int, share: int) -> int:
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
    packets[i, PacketRow.PORTS] = load32(frame + at)
    if share and foreign(share, packets, i, length):
        return FOREIGN
    packets[i, PacketRow.SEQ] = load32(frame + at + 4)
    packets[i, PacketRow.ACK] = load32(frame + at + 8)
    packets[i, PacketRow.FLAGS] = offset_flags & 0x1FF
    packets[i, PacketRow.WINDOW] = load16(frame + at + 14)
    packets[i, PacketRow.TCP_OFFSET] = at
    packets[i, PacketRow.PAYLOAD_OFFSET] = payload
    if packets[i, PacketRow.TUNNELS]:
        packets[i, PacketRow.PATH] = packets[i, PacketRow.PATH] >> 37 & 0x7FF_FFFF
    packets[i, PacketRow.PAYLOAD_LENGTH] = size - header
    packets[i, PacketRow.CAPTURED_LENGTH] = min(size, length - at) - header
    packets[i, PacketRow.OPTION_LENGTH] = header - 20
    packets[i, PacketRow.MSS] = -1
    packets[i, PacketRow.WINDOW_SCALE] = -1
    packets[i, PacketRow.SACK_PERMITTED] = 0
    packets[i, PacketRow.TIMESTAMPS] = 0
    if header > 20:
        if header == 32 and not offset_flags & SYN and load32(frame + at + 20) == 0x0101080A:
            packets[i, PacketRow.TIMESTAMPS] = 1
        else:
            _options(frame, at + 20, payload, packets, i)
            if not offset_flags & SYN:
                packets[i, PacketRow.MSS] = -1
                packets[i, PacketRow.WINDOW_SCALE] = -1
                packets[i, PacketRow.SACK_PERMITTED] = 0

    total = remainder(frame + at, min(size, length - at))
    field = load16(frame + at + 16)
    packets[i, PacketRow.SUM] = total
    packets[i, PacketRow.FIELD] = field
    pseudo = fold(pseudo + 6 + size)
    whole = at + size <= length
    if whole and (pseudo + total == 0 or pseudo + total == MODULUS):
        packets[i, PacketRow.CHECKSUM] = OK
    elif field == (pseudo if pseudo else MODULUS):
        packets[i, PacketRow.CHECKSUM] = PARTIAL
    else:
        packets[i, PacketRow.CHECKSUM] = BAD if whole else _UNVERIFIABLE
    return PACKET


@inlined
def ipv4(frame: int, length: int, wire: int, at: int, check_ip: int, packets: Table, i: int, share: int) -> int:
    if length < at + 20:
        return short(wire, at + 20, _BAD_IP)
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
        fate = carried(protocol, frame, length, at + 20, at + total, packets, i)
        if fate == INSIDE:
            mix_path(packets, i, 0)
            mix_path(packets, i, src)
            mix_path(packets, i, 0)
            mix_path(packets, i, dst)
        return fate
    packets[i, PacketRow.FAMILY] = 4
    packets[i, PacketRow.SRC_HIGH] = 0
    packets[i, PacketRow.SRC_LOW] = src
    packets[i, PacketRow.DST_HIGH] = 0
    packets[i, PacketRow.DST_LOW] = dst
    packets[i, PacketRow.IP_ID] = first >> 16
    fate = _segment(frame, length, at + 20, total - 20, src + dst, packets, i, share)
    if not sound:
        packets[i, PacketRow.CHECKSUM] = _BAD_HEADER
    return fate


@inlined
def _halves(word: int) -> int:
    return (word & 0xFFFF_FFFF) + ((word >> 32) & 0xFFFF_FFFF)


@inlined
def ipv6(frame: int, length: int, wire: int, at: int, packets: Table, i: int, share: int) -> int:
    start = at + 40
    if length < start:
        return short(wire, start, _BAD_IP)
    size = load16(frame + at + 4)
    end = start + size if size else wire
    if load8(frame + at) >> 4 != 6 or end > wire:
        return _BAD_IP
    header = load8(frame + at + 6)
    if header != 6:
        if _is_extension(header):
            return ODD
        fate = carried(header, frame, length, start, end, packets, i)
        if fate == INSIDE:
            for n in range(4):
                mix_path(packets, i, load64(frame + at + 8 + 8 * n))
        return fate
    src_high, src_low = load64(frame + at + 8), load64(frame + at + 16)
    dst_high, dst_low = load64(frame + at + 24), load64(frame + at + 32)
    packets[i, PacketRow.FAMILY] = 6
    packets[i, PacketRow.SRC_HIGH] = src_high
    packets[i, PacketRow.SRC_LOW] = src_low
    packets[i, PacketRow.DST_HIGH] = dst_high
    packets[i, PacketRow.DST_LOW] = dst_low
    packets[i, PacketRow.IP_ID] = 0
    pseudo = _halves(src_high) + _halves(src_low) + _halves(dst_high) + _halves(dst_low)
    return _segment(frame, length, start, end - start, pseudo, packets, i, share)
