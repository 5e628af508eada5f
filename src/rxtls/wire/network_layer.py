"""From an IP header to the TCP segment inside: IPv4 (RFC 791) and IPv6 (RFC 8200), with whatever stands between.

Rules, in this order. The header must agree with itself and with the frame's length on the wire: "frame.bad_ip". What
the snap length cut away is "frame.cut_header". An IPv4 header checksum that is wrong is "frame.bad_ip_checksum", unless
TCP follows: then it is for the connection to judge.
Fragments are counted, never reassembled: a NIC cannot look into them either. Then what is not TCP is a tunnel, or gets
the name of what it is (tunnels.py).

Where the packet ends is said by IP and not by the frame: Ethernet pads to 60 bytes and some captures keep the frame
check sequence, and neither is payload. An aggregate too long for IP's own 16 bits says 0 (Linux's BIG TCP, and LSO on
other systems): then, and only then, the frame's length on the wire decides, unless IPv6 carries a jumbo payload option.

The addresses handed on are the connection's own, which are also those of TCP's pseudo-header. A source route that has
stops left names the final destination elsewhere than in the destination field (RFC 791 3.1 for IPv4; RFC 8200 8.1 for
IPv6 routing headers: types 0, 2 and 4 are read), and a mobile node away from home names itself in a home address option
(RFC 6275 11.3.1).
"""

from __future__ import annotations

from struct import Struct

from .checksum import MODULUS
from .tunnels import Inside, carried

# Source and destination address, where the TCP header starts, the segment's length on the wire, IPv4 identification,
# whether the IPv4 header's checksum is right. A plain tuple: this is made for every frame.
Segment = tuple[bytes, bytes, int, int, int, bool]

_IPV4 = Struct("!BxHHHxBH4s4s")
_IPV6 = Struct("!IHBx16s16s")

_TCP = 6
_AUTHENTICATION = 51

_MORE_FRAGMENTS_OR_OFFSET = 0x3FFF
_SOURCE_ROUTES = (131, 137)  # loose and strict

_HOP_BY_HOP = 0
_ROUTING = 43
_FRAGMENT = 44
_DESTINATION = 60
# Headers that only need to be stepped over share one shape (RFC 6564): the next header, a length in units of 8 bytes
# without the first. 135 mobility, 139 HIP, 140 Shim6.
_EXTENSIONS = frozenset({_HOP_BY_HOP, _ROUTING, _DESTINATION, 135, 139, 140})
_JUMBO_PAYLOAD = 0xC2
_HOME_ADDRESS = 0xC9


def ipv4(data: bytes, at: int, wire_length: int, check_header: bool) -> Segment | Inside | str:
    """The TCP segment of the IPv4 packet at data[at:], what another packet carries, or a fate."""
    if len(data) < at + 20:
        return _short(wire_length, at + 20)
    version_length, total, identification, fragment, protocol, checksum, src, dst = _IPV4.unpack_from(data, at)
    header = (version_length & 0x0F) << 2
    if total == 0:
        total = wire_length - at
    if version_length >> 4 != 4 or header < 20 or total < header or at + total > wire_length:
        return "frame.bad_ip"
    if len(data) < at + header:
        return "frame.cut_header"
    # Zero is what a header shows when it was recorded on the host that sends it and the NIC is still to fill it in.
    # From a wire it is hardly ever wrong: routers and NICs drop what does not verify. So it passes, unverified.
    sound = not check_header or not checksum or not int.from_bytes(data[at : at + header], "big") % MODULUS
    if fragment & _MORE_FRAGMENTS_OR_OFFSET:
        return "frame.fragment" if sound else "frame.bad_ip_checksum"
    if header > 20:
        final = _final_destination(data, at + 20, at + header)
        if final is None:
            return "frame.bad_ip"
        dst = final or dst
    start = at + header
    end = at + total
    while protocol == _AUTHENTICATION:
        step = _authentication_length(data, start, end)
        if isinstance(step, str):
            return step
        protocol = data[start]
        start += step
    if protocol != _TCP:
        return carried(protocol, data, start, end, src, dst) if sound else "frame.bad_ip_checksum"
    return src, dst, start, end - start, identification, sound


def ipv6(data: bytes, at: int, wire_length: int) -> Segment | Inside | str:
    """The TCP segment of the IPv6 packet at data[at:], what another packet carries, or a fate."""
    start = at + 40
    if len(data) < start:
        return _short(wire_length, start)
    version, length, header, src, dst = _IPV6.unpack_from(data, at)
    end = start + length if length else wire_length
    if version >> 28 != 6 or end > wire_length:
        return "frame.bad_ip"
    if header == _TCP:
        return src, dst, start, end - start, 0, True
    first = True
    while header != _TCP:
        if header in _EXTENSIONS or header == _FRAGMENT:
            if start + 8 > end:
                return "frame.bad_ip"
            if start + 8 > len(data):
                return "frame.cut_header"
            step = 8 if header == _FRAGMENT else (data[start + 1] + 1) << 3
            if start + step > end:
                return "frame.bad_ip"
            if start + step > len(data):
                return "frame.cut_header"
        elif header == _AUTHENTICATION:
            sized = _authentication_length(data, start, end)
            if isinstance(sized, str):
                return sized
            step = sized
        else:
            return carried(header, data, start, end, src, dst)
        if header == _FRAGMENT:
            # Offset 0 and no more to come is an atomic fragment: a whole packet (RFC 6946).
            if int.from_bytes(data[start + 2 : start + 4], "big") & 0xFFF9:
                return "frame.fragment"
        elif header == _ROUTING:
            final_v6 = _final_segment(data, start, step)
            if final_v6 is None:
                return "frame.bad_ip"
            dst = final_v6 or dst
        elif header in (_HOP_BY_HOP, _DESTINATION):
            options = _options(data, start + 2, start + step)
            # "restricted to appear immediately after an IPv6 header only" (RFC 8200 section 4.1)
            if options is None or (header == _HOP_BY_HOP and not first):
                return "frame.bad_ip"
            if header == _DESTINATION:
                src = options.get(_HOME_ADDRESS) or src
            elif _JUMBO_PAYLOAD in options:
                jumbo = int.from_bytes(options[_JUMBO_PAYLOAD], "big")
                # RFC 2675 section 3: the length field must be 0, and the option must say more than it could have.
                if length or jumbo <= 0xFFFF or at + 40 + jumbo > wire_length:
                    return "frame.bad_ip"
                end = at + 40 + jumbo
        first = False
        header = data[start]
        start += step
    return src, dst, start, end - start, 0, True


def _authentication_length(data: bytes, start: int, end: int) -> int | str:
    """The length of the authentication header at `start`: in units of 4 bytes, minus 2 (RFC 4302 section 2.2)."""
    if start + 12 > end:
        return "frame.bad_ip"
    if start + 12 > len(data):
        return "frame.cut_header"
    length = (data[start + 1] + 2) << 2
    if length < 12 or start + length > end:
        return "frame.bad_ip"
    return length if start + length <= len(data) else "frame.cut_header"


def _final_destination(data: bytes, at: int, end: int) -> bytes | None:
    """Where an IPv4 source route leads in the end; b"" where there is none with stops left, None when malformed."""
    while at < end and data[at]:  # 0 is end of options
        if data[at] == 1:  # no operation
            at += 1
            continue
        if at + 2 > end:
            return None
        length = data[at + 1]
        if length < 2 or at + length > end:
            return None
        # RFC 791 3.1: the pointer is relative to the option; "if greater than the length, the source route is empty".
        if data[at] in _SOURCE_ROUTES and length >= 7 and data[at + 2] <= length:
            return data[at + length - 4 : at + length]
        at += length
    return b""


def _final_segment(data: bytes, start: int, length: int) -> bytes | None:
    """Where an IPv6 routing header leads in the end; b"" where no stops are left, None when malformed."""
    kind, left = data[start + 2], data[start + 3]
    if not left:
        return b""
    if kind not in (0, 2, 4):
        return b""
    if length < 24:
        return None
    if kind == 4:  # segment routing keeps its list in reverse (RFC 8754 section 2)
        return data[start + 8 : start + 24]
    return data[start + length - 16 : start + length]  # RFC 2460 section 4.4, RFC 6275 section 6.4


def _options(data: bytes, at: int, end: int) -> dict[int, bytes] | None:
    """The options of a hop-by-hop or destination header by type (RFC 8200 4.2); None when malformed."""
    found: dict[int, bytes] = {}
    while at < end:
        kind = data[at]
        if kind == 0:  # Pad1 has no length
            at += 1
            continue
        if at + 2 > end or at + 2 + data[at + 1] > end:
            return None
        found[kind] = data[at + 2 : at + 2 + data[at + 1]]
        at += 2 + data[at + 1]
    if len(found.get(_JUMBO_PAYLOAD, b"....")) != 4 or len(found.get(_HOME_ADDRESS, bytes(16))) != 16:
        return None
    return found


def _short(wire_length: int, need: int) -> str:
    return "frame.cut_header" if wire_length >= need else "frame.bad_ip"
