"""Packets inside packets: from the header of a tunnel to what it carries.

    outer IP | UDP | VXLAN, GENEVE     | Ethernet or IP ...
    outer IP | GRE | ERSPAN I, II, III | Ethernet or IP ...
    outer IP |                           IP, EtherIP, MPLS
    Ethernet | MPLS, PPPoE             | IP, or Ethernet in a pseudo-wire

A reader answers with `Inside`, or with the name of a fate: that of the tunnel where its header is none that is known
here. The walk itself is frame.py's, which bounds how deep it goes. What a tunnel says of itself is a `Tunnel`.

Clouds mirror in these: VXLAN (AWS, Azure), GENEVE (AWS gateway load balancers), ERSPAN and GRE (switches, VMware). QUIC
and DTLS, which are TLS over UDP, are told from other UDP here as well: nobody is to wonder where their bytes went.
"""

from __future__ import annotations

from typing import NamedTuple

ETHERNET_INSIDE = 0x6558  # transparent Ethernet bridging: an Ethernet header follows
IPV4_INSIDE, IPV6_INSIDE = 0x0800, 0x86DD
MPLS_INSIDE = (0x8847, 0x8848)
PPPOE_DISCOVERY, PPPOE_SESSION = 0x8863, 0x8864
ERSPAN_1_2, ERSPAN_3 = 0x88BE, 0x22EB
_PPP_INSIDE = 0x880B

# 802.1Q, 802.1ad, and what stood for the outer tag before that and still does in some switches.
VLANS = (0x8100, 0x88A8, 0x9100, 0x9200)

UDP = 17
# By IP protocol: IPv4, IPv6 (RFC 2003, 4213, 2473), MPLS (RFC 4023). GRE is 47, EtherIP 97 (RFC 3378).
_PLAIN_INSIDE = {4: IPV4_INSIDE, 41: IPV6_INSIDE, 137: MPLS_INSIDE[0]}
GRE, ESP, ETHERIP = 47, 50, 97

# 8472 is what Linux used before, and still does unless told otherwise (RFC 7348, RFC 8926).
VXLAN_PORTS, GENEVE_PORT = (4789, 8472), 6081
GPE_PORT, MPLS_PORT, ESP_PORT = 4790, 6635, 4500
# Tunnels that are not read, by UDP port, IP protocol and ethertype: nobody is to wonder what their frames were.
UNREAD_PORTS = {
    2152: "frame.gtp", 1701: "frame.l2tp", 3544: "frame.teredo", 37008: "frame.tzsp", 4341: "frame.lisp",
    5247: "frame.capwap", 51820: "frame.wireguard", 6080: "frame.gue",
}  # fmt: skip
L2TP = 115  # version 3 (RFC 3931)
UNREAD_ETHERTYPES = {
    0x88E5: "frame.macsec", 0x88E7: "frame.bridged", 0x8926: "frame.bridged", 0x892F: "frame.bridged",
    0x88FB: "frame.bridged", 0x22F3: "frame.bridged", 0x894F: "frame.bridged", 0x8903: "frame.bridged",
    0x8909: "frame.bridged", 0xDADA: "frame.bridged", 0x4305: "frame.bridged",
}  # fmt: skip
_GPE_INSIDE = {1: IPV4_INSIDE, 2: IPV6_INSIDE, 3: ETHERNET_INSIDE}
_READ = frozenset({ETHERNET_INSIDE, IPV4_INSIDE, IPV6_INSIDE, *MPLS_INSIDE})

_PPP = {0x0021: IPV4_INSIDE, 0x0057: IPV6_INSIDE, 0x0281: MPLS_INSIDE[0]}

HTTPS = 443  # where a short header may be taken for QUIC's
QUIC_VERSIONS = (0x0000_0001, 0x6B33_43CF)  # RFC 9000, RFC 9369
DTLS_VERSIONS = (0xFEFF, 0xFEFD, 0xFEFC, 0x0100)  # 1.0, 1.2, drafts of 1.3, OpenSSL before 1.0

# Kinds by number, as `network` and `path` have them.
KINDS = ("vxlan", "geneve", "gre", "erspan", "ip", "etherip", "mpls", "pppoe", "ppp")
VXLAN_KIND, GENEVE_KIND, GRE_KIND, ERSPAN_KIND, IP_KIND = range(5)
NETWORK_KINDS = 3  # of these the first: their ids tell networks apart whose addresses may be the same

PATH_FACTOR = 0x1E37_79B9_7F4A_7C15  # any odd number with bits all over
_WORD = (1 << 64) - 1


class Tunnel(NamedTuple):
    """A tunnel that a packet came by. `id`: VNI, GRE key, ERSPAN session, MPLS label or PPPoE session, None: none.

    `src` and `dst` are the outer addresses, empty under MPLS and PPPoE; `vlan` the VLAN ids before the tunnel.
    """

    kind: str
    id: int | None
    src: bytes = b""
    dst: bytes = b""
    vlan: tuple[int, ...] = ()


class Inside(NamedTuple):
    """What a tunnel carries: a packet of `ethertype` that begins at `at` and ends before `end`, on the wire."""

    tunnel: Tunnel
    ethertype: int
    at: int
    end: int


def carried(protocol: int, data: bytes, at: int, end: int, src: bytes, dst: bytes) -> Inside | str:
    """What an IP packet carries that is not TCP, from data[at] to `end`."""
    if protocol == UDP:
        return _udp(data, at, end, src, dst)
    if protocol == GRE:
        return _gre(data, at, end, src, dst)
    if protocol in _PLAIN_INSIDE:
        return Inside(Tunnel("ip", None, src, dst), _PLAIN_INSIDE[protocol], at, end)
    if protocol == ETHERIP:
        if len(data) < at + 2:
            return _short(end, at + 2, "frame.ip_in_ip")
        # RFC 3378 section 3: version 3, and 12 bits that are 0.
        if data[at : at + 2] != b"\x30\x00":
            return "frame.ip_in_ip"
        return Inside(Tunnel("etherip", None, src, dst), ETHERNET_INSIDE, at + 2, end)
    if protocol == L2TP:
        return "frame.l2tp"
    return "frame.esp" if protocol == ESP else "frame.not_tcp"


def _udp(data: bytes, at: int, end: int, src: bytes, dst: bytes) -> Inside | str:
    if len(data) < at + 4:
        return "frame.not_tcp"
    port = _short_at(data, at + 2)
    at += 8
    if port in VXLAN_PORTS or port == GPE_PORT:
        if len(data) < at + 8:
            return _short(end, at + 8, "frame.vxlan")
        # RFC 7348 section 5: the I flag says that there is a VNI. In GPE the P flag says that byte 3 is a protocol.
        inside = ETHERNET_INSIDE
        if port == GPE_PORT and data[at] & 0x04:
            inside = _GPE_INSIDE.get(data[at + 3], 0)
        if not data[at] & 0x08 or not inside:
            return "frame.vxlan"
        return Inside(Tunnel("vxlan", _id(data, at + 4), src, dst), inside, at + 8, end)
    if port == GENEVE_PORT:
        if len(data) < at + 8:
            return _short(end, at + 8, "frame.geneve")
        inside = _short_at(data, at + 2)
        start = at + 8 + ((data[at] & 0x3F) << 2)  # the options' length is in units of 4 bytes
        if data[at] >> 6 or start > end or inside not in _READ:
            return "frame.geneve"
        return Inside(Tunnel("geneve", _id(data, at + 4), src, dst), inside, start, end)
    if port == MPLS_PORT:
        return Inside(Tunnel("ip", None, src, dst), MPLS_INSIDE[0], at, end)
    return _over_udp(data, at, end, _short_at(data, at - 8), port)


def _over_udp(data: bytes, at: int, end: int, source: int, port: int) -> str:
    """Which of the things that are like TLS over TCP, and are not, this UDP payload is."""
    size = min(len(data), end) - at
    if ESP_PORT in (source, port) and size >= 8 and data[at : at + 4] != bytes(4):
        return "frame.esp"  # RFC 3948 section 2.2: 0 there is IKE
    if size >= 13 and 20 <= data[at] <= 26 and _short_at(data, at + 1) in DTLS_VERSIONS:
        if at + 13 + _short_at(data, at + 11) <= end:
            return "frame.dtls"
    elif size >= 5 and data[at] & 0xC0 == 0xC0:  # a long header (RFC 9000 section 17.2)
        version = int.from_bytes(data[at + 1 : at + 5], "big")
        # Drafts, Google's Q0xx and T0xx, and versions reserved to be unknown (RFC 9000 section 15).
        if (
            version in QUIC_VERSIONS
            or version >> 8 == 0xFF0000
            or version >> 16 in (0x5130, 0x5430)
            or version & 0x0F0F_0F0F == 0x0A0A_0A0A
        ):
            return "frame.quic"
    elif size >= 5 and data[at] & 0xC0 == 0x40 and HTTPS in (source, port):
        return "frame.quic"
    return UNREAD_PORTS.get(port) or UNREAD_PORTS.get(source) or "frame.not_tcp"


def _gre(data: bytes, at: int, end: int, src: bytes, dst: bytes) -> Inside | str:
    """GRE (RFC 2784, RFC 2890), NVGRE (RFC 7637), PPTP's (RFC 2637), and ERSPAN in it."""
    if len(data) < at + 4:
        return _short(end, at + 4, "frame.gre")
    flags, inside = _short_at(data, at), _short_at(data, at + 2)
    key, sequence = flags & 0x2000, flags & 0x1000
    start = at + 4 + (4 if flags & 0x8000 else 0) + (4 if key else 0) + (4 if sequence else 0)
    version = flags & 7
    if version == 1 and inside == _PPP_INSIDE:
        start += 4 if flags & 0x0080 else 0
    elif version or flags & 0x4000:  # routing, which nobody used
        return "frame.gre"
    if len(data) < start:
        return _short(end, start, "frame.gre")
    if version == 1:
        found = ppp(data, start, end)
        return found if isinstance(found, str) else found._replace(tunnel=Tunnel("ppp", None, src, dst))
    if inside in (ERSPAN_1_2, ERSPAN_3):
        return _erspan(data, start, end, inside, bool(sequence), src, dst)
    if inside not in _READ:
        return "frame.gre"
    key_at = at + 4 + (4 if flags & 0x8000 else 0)
    number = int.from_bytes(data[key_at : key_at + 4], "big") if key else None
    return Inside(Tunnel("gre", number, src, dst), inside, start, end)


def _erspan(data: bytes, at: int, end: int, kind: int, sequence: bool, src: bytes, dst: bytes) -> Inside | str:
    """ERSPAN (draft-foschiano-erspan). Type I has no header, and no sequence number in GRE's, by which it is told."""
    if kind == ERSPAN_1_2 and not sequence:
        return Inside(Tunnel("erspan", None, src, dst), ETHERNET_INSIDE, at, end)
    if len(data) < at + 12:
        return _short(end, at + 12, "frame.gre")
    version, session = data[at] >> 4, _short_at(data, at + 2) & 0x03FF
    if version == 1:
        return Inside(Tunnel("erspan", session, src, dst), ETHERNET_INSIDE, at + 8, end)
    if version != 2:
        return "frame.gre"
    # The last word of type III has the frame's type, 0 Ethernet and 2 IP, and whether 8 more bytes follow.
    last = _short_at(data, at + 10)
    start = at + (20 if last & 1 else 12)
    kind = last >> 10 & 0x1F
    if start > end or kind not in (0, 2):
        return "frame.gre"
    if kind == 0:
        return Inside(Tunnel("erspan", session, src, dst), ETHERNET_INSIDE, start, end)
    if len(data) <= start:
        return _short(end, start + 1, "frame.gre")
    inside = IPV6_INSIDE if data[start] >> 4 == 6 else IPV4_INSIDE
    return Inside(Tunnel("erspan", session, src, dst), inside, start, end)


def mpls(data: bytes, at: int, end: int) -> Inside | str:
    """Under MPLS labels (RFC 3032). Nothing says what is there, so it is guessed as routers do (RFC 4928 section 3)."""
    while True:
        if len(data) < at + 4:
            return _short(end, at + 4, "frame.mpls")
        entry = int.from_bytes(data[at : at + 4], "big")
        at += 4
        if entry & 0x100:  # the bottom of the stack
            break
    if len(data) <= at:
        return _short(end, at + 1, "frame.mpls")
    tunnel = Tunnel("mpls", entry >> 12)
    nibble = data[at] >> 4
    if nibble == 4 and data[at] & 0x0F >= 5 and len(data) >= at + 4 and at + _short_at(data, at + 2) <= end:
        return Inside(tunnel, IPV4_INSIDE, at, end)
    if nibble == 6 and len(data) >= at + 6 and at + 40 + _short_at(data, at + 4) <= end:
        return Inside(tunnel, IPV6_INSIDE, at, end)
    # A pseudo-wire: Ethernet behind a control word, whose first four bits are 0, or without one (RFC 4448 section 4.6).
    for start in (at + 4, at) if nibble == 0 else (at,):
        if len(data) >= start + 14 and _is_ethertype(_short_at(data, start + 12)):
            return Inside(tunnel, ETHERNET_INSIDE, start, end)
    return "frame.mpls" if len(data) >= at + 18 else _short(end, at + 18, "frame.mpls")


def _is_ethertype(value: int) -> bool:
    return value in _READ or value in (0x0806, *VLANS, PPPOE_DISCOVERY, PPPOE_SESSION)


def pppoe(data: bytes, at: int, end: int) -> Inside | str:
    """A PPPoE session (RFC 2516 section 4)."""
    if len(data) < at + 6:
        return _short(end, at + 6, "frame.pppoe")
    stop = at + 6 + _short_at(data, at + 4)
    if data[at] != 0x11 or data[at + 1] or stop > end:
        return "frame.pppoe"
    found = ppp(data, at + 6, stop, "frame.pppoe")
    return found if isinstance(found, str) else found._replace(tunnel=Tunnel("pppoe", _short_at(data, at + 2)))


def ppp(data: bytes, at: int, end: int, otherwise: str = "frame.not_ip") -> Inside | str:
    """PPP (RFC 1661), with address and control (RFC 1662) or without, its protocol in two bytes or in one."""
    if data[at : at + 2] == b"\xff\x03":
        at += 2
    if len(data) < at + 2:
        return _short(end, at + 2, otherwise)
    size = 1 if data[at] & 1 else 2  # the last byte of a protocol is the odd one
    inside = _PPP.get(int.from_bytes(data[at : at + size], "big"))
    return otherwise if inside is None else Inside(Tunnel("ppp", None), inside, at + size, end)


def network(tunnels: tuple[Tunnel, ...]) -> int:
    """A number for the virtual network that the innermost of the tunnels that have one says; 0 for none."""
    for each in reversed(tunnels):
        if each.id is not None and (kind := KINDS.index(each.kind)) < NETWORK_KINDS:
            return network_of(kind, each.id)
    return 0


def network_of(kind: int, number: int) -> int:
    """The same for one tunnel, whose kind has such ids."""
    return (kind + 1) << 32 | number


def path(tunnels: tuple[Tunnel, ...]) -> int:
    """27 bits that tell ways through tunnels apart: kinds, ids, outer addresses and VLAN depths. 0 for none."""
    mixed = 0
    for each in tunnels:
        kind = (KINDS.index(each.kind) + 1) << 33 | (0 if each.id is None else each.id + 1)
        for word in (kind, *_words(each.src), *_words(each.dst), len(each.vlan)):
            mixed = (mixed ^ word) * PATH_FACTOR & _WORD
    return mixed >> 37


def _words(address: bytes) -> tuple[int, int]:
    return int.from_bytes(address[:-8], "big"), int.from_bytes(address[-8:], "big")


def _id(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 3], "big")


def _short_at(data: bytes, at: int) -> int:
    return data[at] << 8 | data[at + 1]


def _short(end: int, need: int, never: str) -> str:
    """Too short: cut by the snap length, or `never` there."""
    return "frame.cut_header" if end >= need else never
