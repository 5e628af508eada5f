"""One captured frame to one Packet, or to the name of the fate that it meets.

    |.. link layer, VLAN tags ..|.. IP ..|.. TCP, its options ..|.. payload ......|.. padding, FCS ..|
                                          ^ tcp_offset           ^ payload_offset
                                                                  payload_length on the wire, captured_length here

`parse` knows one frame at a time: no flows, no policy. It never raises, whatever the bytes are. It says what the TCP
checksum *is* and not what follows from it (intake/parse.py decides). Where that of the IPv4 header is wrong, not even
the addresses can be believed; but if all are wrong, the capture was rewritten, and that only the connection tells.

The work is split by layer: link_layer.py walks to the IP header, network_layer.py to the segment, tunnels.py into what
a packet carries, this file reads TCP (RFC 9293 section 3.1). A packet in tunnels is the innermost one: its addresses,
its VLAN ids, and no byte beyond the end of the packet that carries it. A Packet can only be legal: lengths agree and
the whole TCP header is there.
"""

from __future__ import annotations

from enum import Enum
from struct import Struct
from typing import NamedTuple

from .checksum import MODULUS, pseudo_header, remainder
from .link_layer import inside, strip
from .network_layer import Segment, ipv4, ipv6
from .tunnels import Inside, Tunnel

SYN = 0x02
# Tunnels in each other that are walked into. Real ones are three deep at most: a mirror of an overlay in a pseudo-wire.
MOST_TUNNELS = 8

_TCP = Struct("!HHIIHHH")

_END = 0
_NO_OPERATION = 1
_MSS = 2
_WINDOW_SCALE = 3
_SACK_PERMITTED = 4
_TIMESTAMPS = 8
_MAX_WINDOW_SCALE = 14
_TIMESTAMPS_ONLY = b"\x01\x01\x08\x0a"  # how RFC 7323 appendix A lays them out, and nearly every sender does


class Checksum(Enum):
    """What the TCP checksum of a packet says."""

    OK = "ok"
    BAD = "bad"
    PARTIAL = "partial"  # not right, but exactly what is left there for the NIC to finish: see `_judge`
    UNVERIFIABLE = "unverifiable"  # the snap length cut the payload
    BAD_HEADER = "bad_header"  # that of the IPv4 header is wrong already


# epb_flags, draft-ietf-opsawg-pcapng section 4.3.1: the lowest two bits are the direction.
INBOUND, OUTBOUND = 1, 2
NOT_READY, VALID = 1 << 9, 1 << 10  # the checksum: to be filled in by the NIC, or verified by it
# What a NIC drops a frame for: all link-layer errors but a wrong inter-frame gap (bit 27).
LINK_ERRORS = 0xFF00_0000 & ~(1 << 27)
_COOKED = {INBOUND: 0, OUTBOUND: 4}


class Packet(NamedTuple):
    """One TCP packet. Lengths and offsets are bytes, offsets from the start of the captured data.

    Addresses are 4 or 16 bytes and those of the connection: the final destination, where a source route has stops left.
    """

    src: bytes
    dst: bytes
    sport: int
    dport: int
    seq: int
    ack: int
    flags: int  # nine bits, FIN lowest; 0x100 is AE (RFC 9768), formerly NS
    window: int  # as in the header, not scaled
    tcp_offset: int
    payload_offset: int
    payload_length: int  # on the wire, by IP's lengths; by the frame's where an aggregate has none
    captured_length: int  # of the payload, what the snap length left
    option_length: int  # of the TCP header, beyond its 20 bytes
    checksum: Checksum
    ip_id: int = 0  # 0 in IPv6, which has none
    vlan: tuple[int, ...] = ()  # VLAN ids as on the wire, outer first; 0 is a frame with a priority only
    timestamps: bool = False
    # Looked for in SYNs only: elsewhere they must not be sent, or are ignored (RFC 9293 3.2, RFC 7323 2.2, RFC 2018 2).
    mss: int | None = None
    window_scale: int | None = None
    sack_permitted: bool = False
    # Linux cooked: 0 to us, 1 broadcast, 2 multicast, 3 to somebody else, 4 from us. Other captures may say 0 or 4.
    cooked_type: int | None = None
    cooked_ifindex: int | None = None  # Linux cooked v2
    sum: int = 0  # the ones'-complement sum of what is present of the segment (checksum.remainder), header and payload
    field: int = 0  # the checksum, as it stands in the header
    tunnels: tuple[Tunnel, ...] = ()  # that it came by, outer first


def parse(link_type: int, data: bytes, wire_length: int, check_ip: bool = True, flags: int = 0) -> Packet | str:
    """The TCP packet in a captured frame, or its fate: a name in counters.FATES such as "frame.not_tcp".

    `wire_length` is the frame's length before the snap length cut it; less than len(data) counts as len(data), since
    some writers leave it 0. `check_ip` False passes wrong IPv4 header checksums, for captures that were rewritten.
    `flags` are pcapng's epb_flags.
    """
    if flags & LINK_ERRORS:
        return "frame.link_error"
    if wire_length < len(data):
        wire_length = len(data)
    link = strip(link_type, data, wire_length)
    if isinstance(link, str):
        return link
    tunnels: tuple[Tunnel, ...] = ()
    vlan: tuple[int, ...] = ()
    cooked_type: int | None = None
    cooked_ifindex: int | None = None
    while True:
        if isinstance(link, Inside):
            segment: Segment | Inside = link
        else:
            if tunnels:
                version, at, vlan, _, _ = link
            else:
                version, at, vlan, cooked_type, cooked_ifindex = link
            found = ipv4(data, at, wire_length, check_ip) if version == 4 else ipv6(data, at, wire_length)
            if isinstance(found, str):
                return found
            segment = found
        if not isinstance(segment, Inside):
            break
        if len(tunnels) == MOST_TUNNELS:
            return "frame.tunnel_depth"
        tunnel = segment.tunnel
        tunnels += (tunnel if tunnel.vlan else tunnel._replace(vlan=vlan),)
        data = data[: segment.end]
        wire_length = min(wire_length, segment.end)
        vlan = ()
        link = inside(segment.ethertype, segment.at, data, wire_length)
        if isinstance(link, str):
            return link
    src, dst, at, length, ip_id, sound = segment
    if tunnels:
        # Who sent the outer packet says nothing about the hosts inside; an interface it came by it has nevertheless.
        cooked_type = None
    elif cooked_type is None and flags:
        cooked_type = _COOKED.get(flags & (INBOUND | OUTBOUND))

    if length < 20:
        return "frame.bad_tcp"
    if len(data) < at + 20:
        return "frame.cut_header"
    sport, dport, seq, ack, offset_flags, window, field = _TCP.unpack_from(data, at)
    header = offset_flags >> 12 << 2
    if header < 20 or header > length:
        return "frame.bad_tcp"
    payload_offset = at + header
    present = len(data) - payload_offset
    if present < 0:
        return "frame.cut_header"
    payload_length = length - header
    captured_length = payload_length if present >= payload_length else present

    total = remainder(data, at, payload_offset + captured_length)

    checksum = _judge(pseudo_header(src, dst, length), field, total if captured_length == payload_length else None)
    if not sound:
        checksum = Checksum.BAD_HEADER
    elif checksum is Checksum.BAD and flags & (NOT_READY | VALID):
        checksum = Checksum.OK if flags & VALID else Checksum.PARTIAL

    mss = window_scale = None
    timestamps = sack_permitted = False
    if header > 20:
        if offset_flags & SYN:
            mss, window_scale, timestamps, sack_permitted = _options(data, at + 20, payload_offset)
        elif header == 32 and data.startswith(_TIMESTAMPS_ONLY, at + 20):
            timestamps = True
        else:
            timestamps = _options(data, at + 20, payload_offset)[2]

    return Packet(
        src,
        dst,
        sport,
        dport,
        seq,
        ack,
        offset_flags & 0x1FF,
        window,
        at,
        payload_offset,
        payload_length,
        captured_length,
        header - 20,
        checksum,
        ip_id,
        vlan,
        timestamps,
        mss,
        window_scale,
        sack_permitted,
        cooked_type,
        cooked_ifindex,
        total,
        field,
        tunnels,
    )


def _judge(pseudo: int, field: int, total: int | None) -> Checksum:
    """What `field`, the checksum of a segment, says. `total` is the segment's sum, None where the snap length cut it.

    PARTIAL is what Linux leaves for the NIC to finish (CHECKSUM_PARTIAL), both in what a host sends and in what GRO
    joined: the folded sum of the pseudo-header, not complemented. It is looked for in a payload that was cut, too. A
    damaged packet looks like it once in 65,535 times.
    """
    if total is not None and (pseudo + total) % MODULUS == 0:
        return Checksum.OK
    if field == pseudo:
        return Checksum.PARTIAL
    return Checksum.UNVERIFIABLE if total is None else Checksum.BAD


def _options(data: bytes, at: int, end: int) -> tuple[int | None, int | None, bool, bool]:
    """MSS, window scale, timestamps present, SACK permitted (RFC 9293 section 3.2).

    What comes after an option whose length makes no sense is ignored, and the packet stands, as every stack has it.
    """
    mss = window_scale = None
    timestamps = sack_permitted = False
    while at < end:
        kind = data[at]
        if kind == _NO_OPERATION:
            at += 1
            continue
        if kind == _END or at + 2 > end:
            break
        length = data[at + 1]
        if length < 2 or at + length > end:
            break
        if kind == _MSS and length == 4:
            mss = int.from_bytes(data[at + 2 : at + 4], "big") or None  # an MSS of 0 is no MSS
        elif kind == _WINDOW_SCALE and length == 3:
            # "a value larger than 14 ... MUST use 14" (RFC 7323 section 2.3)
            window_scale = min(data[at + 2], _MAX_WINDOW_SCALE)
        elif kind == _SACK_PERMITTED and length == 2:
            sack_permitted = True
        elif kind == _TIMESTAMPS and length == 10:
            timestamps = True
        at += length
    return mss, window_scale, timestamps, sack_permitted
