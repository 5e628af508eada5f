"""Frames as scapy builds them, read back; what each malformation is called; and that nothing ever raises."""

from __future__ import annotations

import struct
from typing import Any

import dpkt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.compat import raw
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_LSRR, IPOption_NOP, IPOption_Timestamp
from scapy.layers.inet6 import (
    HAO,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    IPv6ExtHdrSegmentRouting,
    Jumbo,
    PadN,
    RouterAlert,
)
from scapy.layers.ipsec import AH, ESP
from scapy.layers.l2 import ARP, LLC, SNAP, CookedLinux, CookedLinuxV2, Dot1AD, Dot1Q, Dot3, Ether
from scapy.packet import Raw

from rxtls.counters import FATES
from rxtls.wire.checksum import remainder
from rxtls.wire.frame import Checksum, Packet, parse

ETHERNET = 1
RAW = 101
SYN, ACK = 0x02, 0x10

ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
V4 = IP(src="192.0.2.1", dst="198.51.100.2", id=7)
V6 = IPv6(src="2001:db8::1", dst="2001:db8::2")
SEGMENT = TCP(sport=40000, dport=443, seq=0xFFFFFFF0, ack=77, flags="PA", window=501) / Raw(b"sixteen bytes ok")

SRC4, DST4 = bytes([192, 0, 2, 1]), bytes([198, 51, 100, 2])
SRC6, DST6 = bytes.fromhex("20010db8" + "00" * 11 + "01"), bytes.fromhex("20010db8" + "00" * 11 + "02")


def read(link_type: int, layers: Any, wire_length: int = 0, check_ip: bool = True) -> Packet | str:
    data = layers if isinstance(layers, bytes) else raw(layers)
    return parse(link_type, data, wire_length or len(data), check_ip)


def packet_of(link_type: int, layers: Any, wire_length: int = 0) -> Packet:
    packet = read(link_type, layers, wire_length)
    assert isinstance(packet, Packet), packet
    return packet


# --- link types -------------------------------------------------------------------------------------------------------

LINKS: list[tuple[str, int, Any]] = [
    ("ethernet", 1, ETHER),
    ("802.1Q", 1, ETHER / Dot1Q(vlan=100)),
    ("priority only", 1, ETHER / Dot1Q(vlan=0, prio=5)),
    ("802.1ad", 1, ETHER / Dot1AD(vlan=4095) / Dot1Q(vlan=1)),
    ("9200", 1, Ether(src=ETHER.src, dst=ETHER.dst, type=0x9200) / Dot1Q(vlan=2)),
    ("9100", 1, Ether(src=ETHER.src, dst=ETHER.dst, type=0x9100) / Dot1Q(vlan=3) / Dot1Q(vlan=2) / Dot1Q(vlan=1)),
    ("snap", 1, Dot3(src=ETHER.src, dst=ETHER.dst) / LLC() / SNAP()),
    ("cooked", 113, CookedLinux(pkttype=4, lladdrlen=6, src=b"\x02\0\0\0\0\x01")),
    ("cooked vlan", 113, CookedLinux(pkttype=0) / Dot1Q(vlan=7)),
    ("cooked v2", 276, CookedLinuxV2(ifindex=3, pkttype=1)),
    ("cooked v2 vlan", 276, CookedLinuxV2(ifindex=70000, pkttype=0) / Dot1Q(vlan=8) / Dot1Q(vlan=9)),
    ("raw 12", 12, None),
    ("raw 101", 101, None),
]


@pytest.mark.parametrize(("link_type", "link"), [row[1:] for row in LINKS], ids=[row[0] for row in LINKS])
@pytest.mark.parametrize("network", [V4, V6], ids=["ipv4", "ipv6"])
def test_every_link_type_leads_to_the_same_packet(link_type: int, link: Any, network: Any) -> None:
    packet = packet_of(link_type, network / SEGMENT if link is None else link / network / SEGMENT)
    bare = packet_of(RAW, network / SEGMENT)
    before = 0 if link is None else len(raw(link))
    vlan = [] if link is None else [layer.vlan for layer in link.iterpayloads() if isinstance(layer, Dot1Q)]
    assert packet == bare._replace(
        tcp_offset=before + bare.tcp_offset,
        payload_offset=before + bare.payload_offset,
        vlan=tuple(vlan),
        cooked_type=link.pkttype if link_type in (113, 276) else None,
        cooked_ifindex=link.ifindex if link_type == 276 else None,
    )
    assert packet[:8] == (*((SRC4, DST4) if network is V4 else (SRC6, DST6)), 40000, 443, 0xFFFFFFF0, 77, 0x18, 501)
    assert packet.ip_id == (7 if network is V4 else 0)
    assert (packet.payload_length, packet.captured_length, packet.checksum) == (16, 16, Checksum.OK)


@pytest.mark.parametrize(("family", "network"), [(2, V4), (10, V6), (24, V6), (28, V6), (30, V6)])
@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("link_type", [0, 108])
def test_loopback_families_in_either_byte_order(link_type: int, order: Any, family: int, network: Any) -> None:
    packet = packet_of(link_type, family.to_bytes(4, order) + raw(network / SEGMENT))
    assert packet.src in (SRC4, SRC6)
    assert packet.checksum is Checksum.OK


@pytest.mark.parametrize(("link_type", "network"), [(228, V4), (229, V6)])
def test_link_types_that_are_one_version(link_type: int, network: Any) -> None:
    assert packet_of(link_type, network / SEGMENT).checksum is Checksum.OK
    assert read(457 - link_type, network / SEGMENT) == "frame.bad_ip"


def test_deep_nesting_of_vlans() -> None:
    data = raw(ETHER)[:12] + bytes.fromhex("81000005") * 5000 + b"\x08\x00" + raw(V4 / SEGMENT)
    assert packet_of(ETHERNET, data).vlan == (5,) * 5000


@pytest.mark.parametrize(
    ("link_type", "layers", "fate"),
    [
        (147, b"anything", "frame.link_type"),
        (ETHERNET, ETHER / ARP(psrc="192.0.2.1", pdst="192.0.2.2"), "frame.not_ip"),
        (ETHERNET, ETHER / Dot1Q(vlan=1) / ARP(psrc="192.0.2.1", pdst="192.0.2.2"), "frame.not_ip"),
        (
            ETHERNET,
            Dot3(src=ETHER.src, dst=ETHER.dst) / LLC(dsap=0x42, ssap=0x42, ctrl=3) / Raw(bytes(35)),
            "frame.not_ip",
        ),
        (ETHERNET, Dot3(src=ETHER.src, dst=ETHER.dst) / LLC() / SNAP(OUI=12, code=0x2000) / Raw(b"x"), "frame.not_ip"),
        (ETHERNET, Dot3(src=ETHER.src, dst=ETHER.dst) / Raw(b"\xaa"), "frame.not_ip"),
        (113, CookedLinux(proto=4) / Raw(b"\x42\x42\x03" + bytes(35)), "frame.not_ip"),
        (113, CookedLinux(lladdrtype=824, proto=0x0800) / V4 / SEGMENT, "frame.not_ip"),
        (276, CookedLinuxV2(lladdrtype=824, proto=0x0800) / V4 / SEGMENT, "frame.not_ip"),
        (0, bytes(4) + raw(V4 / SEGMENT), "frame.not_ip"),
        (101, b"\x00" * 40, "frame.not_ip"),
        (ETHERNET, Ether(src=ETHER.src, dst=ETHER.dst, type=0x8848) / Raw(bytes(60)), "frame.mpls"),
        (ETHERNET, Ether(src=ETHER.src, dst=ETHER.dst, type=0x8863) / Raw(bytes(60)), "frame.pppoe"),
    ],
)
def test_fates_on_the_way_to_ip(link_type: int, layers: Any, fate: str) -> None:
    assert read(link_type, layers) == fate


def test_snap_in_a_cooked_frame() -> None:
    snap = bytes.fromhex("aaaa030000000800")
    assert packet_of(113, raw(CookedLinux(proto=4)) + snap + raw(V4 / SEGMENT)).checksum is Checksum.OK


# --- where the packet ends --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", [V4, V6], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("trailer", [b"\0" * 6, b"\xde\xad\xbe\xef"], ids=["padding", "frame check sequence"])
def test_what_follows_the_ip_packet_is_not_payload(network: Any, trailer: bytes) -> None:
    packet = packet_of(ETHERNET, raw(ETHER / network / TCP(flags="A")) + trailer)
    assert (packet.payload_length, packet.captured_length, packet.checksum) == (0, 0, Checksum.OK)
    packet = packet_of(ETHERNET, raw(ETHER / network / SEGMENT) + trailer)
    assert (packet.payload_length, packet.captured_length, packet.checksum) == (16, 16, Checksum.OK)


@pytest.mark.parametrize("length", [3000, 65000, 250_000])
@pytest.mark.parametrize(
    "network", [IP(src="192.0.2.1", dst="198.51.100.2", len=0), IPv6(src="::1", dst="::2", plen=0)]
)
def test_an_aggregate_without_a_length_takes_the_frames(network: Any, length: int) -> None:
    data = raw(ETHER / network / TCP(flags="A", chksum=0x1234)) + bytes(length)
    packet = packet_of(ETHERNET, data)
    assert (packet.payload_length, packet.captured_length, packet.checksum) == (length, length, Checksum.BAD)
    cut = packet_of(ETHERNET, data[:500], len(data))
    assert (cut.payload_length, cut.captured_length) == (length, 500 - packet.payload_offset)
    assert cut.checksum is Checksum.UNVERIFIABLE


@pytest.mark.parametrize("length", [65_536, 200_000])
def test_big_tcp_with_a_jumbo_payload_option(length: int) -> None:
    segment = raw(TCP(sport=1, dport=2, flags="A", chksum=0)) + bytes(length - 20)
    hop = IPv6ExtHdrHopByHop(options=[Jumbo(jumboplen=8 + length)], nh=6)
    packet = packet_of(
        ETHERNET, raw(ETHER / IPv6(src="2001:db8::1", dst="2001:db8::2", plen=0) / hop) + segment + b"fcs"
    )
    assert (packet.payload_length, packet.captured_length) == (length - 20, length - 20)


def test_a_checksum_left_to_the_nic_in_big_tcp_counts_the_whole_length() -> None:
    length = 150_000
    # What csum_ipv6_magic leaves: addresses, the 32-bit length and the protocol, folded.
    total = sum(struct.unpack("!16H", SRC6 + DST6)) + (length >> 16) + (length & 0xFFFF) + 6
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    segment = raw(TCP(flags="A", chksum=total)) + b"\x55" * (length - 20)
    for hop, plen in ((raw(IPv6ExtHdrHopByHop(options=[Jumbo(jumboplen=8 + length)], nh=6)), 0), (b"", 0)):
        head = raw(IPv6(src="2001:db8::1", dst="2001:db8::2", plen=plen, nh=0 if hop else 6))
        assert packet_of(RAW, head + hop + segment).checksum is Checksum.PARTIAL


@pytest.mark.parametrize(
    ("plen", "jumbo", "extra"),
    [
        (None, 70_008, 70_000),  # the length field must be 0
        (0, 65_535, 65_527),  # the option must say more than 65,535
        (0, 80_000, 70_000),  # and not more than there is
    ],
)
def test_jumbo_options_that_contradict(plen: int | None, jumbo: int, extra: int) -> None:
    hop = IPv6ExtHdrHopByHop(options=[Jumbo(jumboplen=jumbo)], nh=6)
    head = raw(IPv6(src="::1", dst="::2", plen=100 if plen is None else plen) / hop)
    assert read(RAW, head + raw(TCP()) + bytes(extra - 20)) == "frame.bad_ip"


# --- headers ----------------------------------------------------------------------------------------------------------


def test_ipv4_options() -> None:
    layers = ETHER / IP(src="192.0.2.1", dst="198.51.100.2", options=[IPOption_NOP(), IPOption_Timestamp()]) / SEGMENT
    packet = packet_of(ETHERNET, layers)
    assert packet.tcp_offset > 34
    assert (packet.payload_length, packet.checksum) == (16, Checksum.OK)


@pytest.mark.parametrize("options", ["83", "8301", "8320", "0783", "01010183"])
def test_malformed_ipv4_options(options: str) -> None:
    option_bytes = bytes.fromhex(options).rjust(4, b"\x01")
    header = raw(IP(src="192.0.2.1", dst="198.51.100.2", ihl=6, len=60, proto=6, options=[Raw(option_bytes)]))
    assert len(header) == 24
    assert read(RAW, header + raw(SEGMENT), check_ip=False) == "frame.bad_ip"


def test_a_source_route_names_the_final_destination() -> None:
    # RFC 791 3.1: with stops left the destination field is the next stop; TCP's pseudo-header has the last.
    route = IPOption_LSRR(pointer=4, routers=["203.0.113.1", "203.0.113.9"])
    packet = packet_of(RAW, IP(src="192.0.2.1", dst="198.51.100.2", options=[route]) / SEGMENT)
    assert packet.dst == bytes([203, 0, 113, 9])
    done = IPOption_LSRR(pointer=12, routers=["203.0.113.1", "203.0.113.9"])
    assert packet_of(RAW, IP(src="192.0.2.1", dst="198.51.100.2", options=[done]) / SEGMENT).dst == DST4


EXTENSIONS: list[tuple[str, Any]] = [
    ("hop-by-hop", IPv6ExtHdrHopByHop(options=[RouterAlert()])),
    ("destination", IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 12)])),
    ("routing done", IPv6ExtHdrRouting(addresses=["2001:db8::9"], segleft=0)),
    ("atomic fragment", IPv6ExtHdrFragment(offset=0, m=0, id=1)),
    ("all", IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / IPv6ExtHdrRouting(segleft=0) / IPv6ExtHdrFragment(m=0)),
]


@pytest.mark.parametrize("extension", [row[1] for row in EXTENSIONS], ids=[row[0] for row in EXTENSIONS])
def test_ipv6_extension_headers_are_walked(extension: Any) -> None:
    packet = packet_of(ETHERNET, ETHER / V6 / extension / SEGMENT)
    assert (packet.src, packet.dst, packet.payload_length, packet.checksum) == (SRC6, DST6, 16, Checksum.OK)


@pytest.mark.parametrize(
    ("header", "final"),
    [
        (IPv6ExtHdrRouting(type=0, addresses=["2001:db8::8", "2001:db8::9"], segleft=1), 9),
        (IPv6ExtHdrRouting(type=2, addresses=["2001:db8::7"], segleft=1), 7),
        (IPv6ExtHdrSegmentRouting(addresses=["2001:db8::6", "2001:db8::5"], segleft=1, lastentry=1), 6),
        (IPv6ExtHdrSegmentRouting(addresses=["2001:db8::6", "2001:db8::5"], segleft=0, lastentry=1), 2),
    ],
    ids=["type 0", "type 2", "segment routing", "segment routing done"],
)
def test_the_pseudo_header_has_the_final_destination(header: Any, final: int) -> None:
    # RFC 8200 section 8.1: "If the packet contains a Routing header, the Destination Address ... is that of the final".
    packet = packet_of(RAW, V6 / header / SEGMENT)
    assert (packet.dst, packet.checksum) == (DST6[:15] + bytes([final]), Checksum.OK)


def test_a_mobile_node_is_its_home_address() -> None:
    packet = packet_of(RAW, V6 / IPv6ExtHdrDestOpt(options=[HAO(hoa="2001:db8::77")]) / SEGMENT)
    assert (packet.src, packet.checksum) == (SRC6[:15] + b"\x77", Checksum.OK)


@pytest.mark.parametrize("network", [V4, V6], ids=["ipv4", "ipv6"])
def test_authentication_headers_hide_nothing(network: Any) -> None:
    segment = raw(network / SEGMENT)[-36:]  # with the checksum that stands before AH is put in
    header = AH(nh=6, spi=1, seq=1, icv=bytes(12 if network is V4 else 16))
    header.payloadlen = len(raw(header)) // 4 - 2
    packet = packet_of(RAW, network / header / Raw(segment))
    assert (packet.payload_length, packet.checksum) == (16, Checksum.OK)


@pytest.mark.parametrize(
    ("layers", "fate"),
    [
        (V4 / ICMP(), "frame.not_tcp"),
        (V4 / UDP(sport=443, dport=443), "frame.not_tcp"),
        (V6 / UDP(sport=443, dport=443), "frame.not_tcp"),
        (IPv6(src="::1", dst="::2", nh=59), "frame.not_tcp"),
        (V6 / IPv6ExtHdrDestOpt() / UDP(sport=1, dport=2), "frame.not_tcp"),
        (V4 / UDP(sport=4789, dport=53), "frame.not_tcp"),
        (V4 / ESP(spi=1, seq=1, data=bytes(40)), "frame.esp"),
        (V6 / IPv6ExtHdrDestOpt(nh=50) / ESP(spi=1, seq=1, data=bytes(40)), "frame.esp"),
        (IP(src="192.0.2.1", dst="192.0.2.2", flags="MF") / SEGMENT, "frame.fragment"),
        (IP(src="192.0.2.1", dst="192.0.2.2", frag=185, proto=6) / Raw(bytes(8)), "frame.fragment"),
        (IP(src="192.0.2.1", dst="192.0.2.2", frag=185, proto=17) / Raw(bytes(8)), "frame.fragment"),
        (V6 / IPv6ExtHdrFragment(m=1) / SEGMENT, "frame.fragment"),
        (V6 / IPv6ExtHdrFragment(m=0, offset=100, nh=6) / Raw(bytes(8)), "frame.fragment"),
    ],
)
def test_fates_between_ip_and_tcp(layers: Any, fate: str) -> None:
    assert read(RAW, layers) == fate
    assert read(ETHERNET, ETHER / Dot1Q(vlan=9) / layers) == fate


@pytest.mark.parametrize(
    ("layers", "fate"),
    [
        (IP(src="192.0.2.1", dst="192.0.2.2", ihl=4) / SEGMENT, "frame.bad_ip"),
        (IP(src="192.0.2.1", dst="192.0.2.2", len=19) / SEGMENT, "frame.bad_ip"),
        (IP(src="192.0.2.1", dst="192.0.2.2", len=57) / SEGMENT, "frame.bad_ip"),
        (IP(src="192.0.2.1", dst="192.0.2.2", len=39) / SEGMENT, "frame.bad_tcp"),
        (IP(src="192.0.2.1", dst="192.0.2.2", chksum=1) / ICMP(), "frame.bad_ip_checksum"),
        (IPv6(src="::1", dst="::2", plen=37) / SEGMENT, "frame.bad_ip"),
        (IPv6(src="::1", dst="::2", plen=19) / SEGMENT, "frame.bad_tcp"),
        (V6 / IPv6ExtHdrDestOpt(len=200) / SEGMENT, "frame.bad_ip"),
        (V6 / IPv6ExtHdrDestOpt(nh=0) / IPv6ExtHdrHopByHop() / SEGMENT, "frame.bad_ip"),
        (V6 / IPv6ExtHdrRouting(type=0, segleft=1, nh=6) / SEGMENT, "frame.bad_ip"),
        (V4 / TCP(dataofs=4), "frame.bad_tcp"),
        (V4 / TCP(dataofs=6), "frame.bad_tcp"),
        (V6 / TCP(dataofs=15) / Raw(bytes(39)), "frame.bad_tcp"),
    ],
)
def test_headers_that_contradict(layers: Any, fate: str) -> None:
    assert read(RAW, layers) == fate


def test_a_wrong_header_checksum_before_tcp_is_for_the_connection_to_judge() -> None:
    layers = IP(src="192.0.2.1", dst="192.0.2.2", chksum=1) / SEGMENT
    assert packet_of(RAW, layers).checksum is Checksum.BAD_HEADER
    passed = parse(RAW, raw(layers), 0, check_ip=False)
    assert isinstance(passed, Packet)
    assert passed.checksum is Checksum.OK


def test_what_the_flags_of_a_block_say() -> None:
    wrong = raw(V4 / TCP(sport=1, dport=2, chksum=1) / Raw(b"payload"))
    found = {flags: parse(RAW, wrong, 0, flags=flags) for flags in (0, 1, 2, 3, 1 << 9, 1 << 10, 1 << 27, 1 << 24)}
    assert found.pop(1 << 24) == "frame.link_error"
    packets = {flags: packet for flags, packet in found.items() if isinstance(packet, Packet)}
    assert {flags: each.checksum.value for flags, each in packets.items()} == {
        0: "bad", 1: "bad", 2: "bad", 3: "bad", 1 << 9: "partial", 1 << 10: "ok", 1 << 27: "bad",
    }  # fmt: skip
    assert [packets[flags].cooked_type for flags in (0, 1, 2, 3)] == [None, 0, 4, None]


def test_an_ipv4_header_checksum_of_zero_is_left_to_the_nic() -> None:
    packet = packet_of(RAW, IP(src="192.0.2.1", dst="198.51.100.2", chksum=0) / SEGMENT)
    assert packet.checksum is Checksum.OK


def test_ipv4_header_checksums_can_be_let_pass() -> None:
    packet = read(RAW, IP(src="192.0.2.1", dst="198.51.100.2", chksum=1) / SEGMENT, check_ip=False)
    assert isinstance(packet, Packet)


# --- TCP --------------------------------------------------------------------------------------------------------------


def test_options_of_a_syn() -> None:
    options = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 0)), ("NOP", None), ("WScale", 7)]
    packet = packet_of(RAW, V4 / TCP(flags="S", options=options) / Raw(b"data in SYN"))
    assert (packet.flags, packet.mss, packet.window_scale) == (SYN, 1460, 7)
    assert (packet.sack_permitted, packet.timestamps, packet.option_length) == (True, True, 20)
    assert (packet.payload_length, packet.checksum) == (11, Checksum.OK)


@pytest.mark.parametrize("layout", [[("NOP", None), ("NOP", None), ("Timestamp", (1, 2))], [("Timestamp", (1, 2))]])
def test_timestamps_are_seen_in_any_layout(layout: list[tuple[str, Any]]) -> None:
    packet = packet_of(RAW, V4 / TCP(flags="A", options=layout))
    assert (packet.timestamps, packet.option_length) == (True, 12)
    sack = packet_of(RAW, V4 / TCP(flags="A", options=[("NOP", None), ("NOP", None), ("SAck", (1, 2))]))
    assert (sack.timestamps, sack.option_length) == (False, 12)


def test_only_a_syn_negotiates() -> None:
    packet = packet_of(RAW, V4 / TCP(flags="A", options=[("MSS", 1460), ("SAckOK", b""), ("WScale", 7)]))
    assert (packet.mss, packet.window_scale, packet.sack_permitted) == (None, None, False)


@pytest.mark.parametrize(
    ("options", "seen"),
    [
        ("020405b4", (1460, None, False, False)),
        ("02040000", (None, None, False, False)),  # no MSS at all, rather than one of 0
        ("0303ff00", (None, 14, False, False)),  # RFC 7323 2.3: more than 14 counts as 14
        ("00040205b4" + "00" * 3, (None, None, False, False)),  # nothing after the end of the list
        ("0402" + "0500" + "020405b4", (None, None, False, True)),  # a length of 0: the rest is ignored
        ("0402" + "0501" + "020405b4", (None, None, False, True)),
        ("0402" + "fe09" + "020405b4", (None, None, False, True)),  # longer than what is left
        ("010101" + "02", (None, None, False, False)),  # no room for its length
        ("0203ff" + "020405b4" + "00", (1460, None, False, False)),  # known kind, wrong length: stepped over
        ("fd08" + "e2d4c3d9" + "0102" + "020405b4", (1460, None, False, False)),  # experimental
    ],
)
def test_odd_options(options: str, seen: tuple[int | None, int | None, bool, bool]) -> None:
    data = bytes.fromhex(options)
    segment = struct.pack("!HHIIBBHHH", 1, 2, 3, 0, (20 + len(data)) // 4 << 4, SYN, 100, 0, 0) + data
    packet = packet_of(RAW, raw(IP(src="192.0.2.1", dst="192.0.2.2", proto=6, len=20 + len(segment))) + segment)
    assert (packet.mss, packet.window_scale, packet.timestamps, packet.sack_permitted) == seen


def test_all_nine_flags() -> None:
    assert packet_of(RAW, V4 / TCP(flags=0x1FF, reserved=7)).flags == 0x1FF


# --- checksums --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", [V4, V6], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("length", [0, 1, 2, 3, 699, 700, 701, 702, 703, 1448, 9001, 65000])
def test_checksums(network: Any, length: int) -> None:
    data = raw(network / TCP(sport=5, dport=6, flags="A") / Raw(b"\xc3" * length))
    good = packet_of(RAW, data)
    assert good.checksum is Checksum.OK
    flipped = bytearray(data)
    flipped[-1] ^= 0x40
    assert packet_of(RAW, bytes(flipped)).checksum is Checksum.BAD
    # What Linux leaves (tcp_v4_send_check): the folded sum of the pseudo-header, not complemented.
    pseudo = good.src + good.dst + struct.pack("!II", len(data) - good.tcp_offset, 6)
    total = sum(struct.unpack(f"!{len(pseudo) // 2}H", pseudo))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    partial = bytearray(data)
    partial[good.tcp_offset + 16 : good.tcp_offset + 18] = total.to_bytes(2, "big")
    assert packet_of(RAW, bytes(partial)).checksum is Checksum.PARTIAL
    if length > 1:
        assert packet_of(RAW, data[:-1], len(data)).checksum is Checksum.UNVERIFIABLE
        assert packet_of(RAW, bytes(partial[:-1]), len(data)).checksum is Checksum.PARTIAL


@given(st.binary(min_size=20, max_size=80))
def test_a_right_checksum_is_right_however_zero_is_written(payload: bytes) -> None:
    # Find the two bytes that make the right checksum 0xffff or 0x0000: either must pass.
    data = bytearray(raw(V4 / TCP(sport=5, dport=6, flags="A") / Raw(bytes(2) + payload)))
    data[40:42] = data[36:38]  # payload += checksum, so that the checksum becomes a zero
    for zero in (b"\0\0", b"\xff\xff"):
        data[36:38] = zero
        assert packet_of(RAW, bytes(data)).checksum is Checksum.OK


# --- the snap length --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", [V4, V6 / IPv6ExtHdrDestOpt()], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("link_type", [ETHERNET, 113, 276])
def test_every_cut_is_a_cut_header_or_a_cut_payload(link_type: int, network: Any) -> None:
    link = {ETHERNET: ETHER / Dot1Q(vlan=1), 113: CookedLinux(), 276: CookedLinuxV2()}[link_type]
    data = raw(link / network / TCP(flags="A", options=[("Timestamp", (1, 2))]) / Raw(b"payload"))
    whole = packet_of(link_type, data)
    for length in range(len(data)):
        cut = read(link_type, data[:length], len(data))
        if length < whole.payload_offset:
            assert cut == "frame.cut_header"
            assert read(link_type, data[:length]) in ("frame.bad_link", "frame.bad_ip", "frame.bad_tcp")
        else:
            captured = length - whole.payload_offset
            total = remainder(data, whole.tcp_offset, length)
            assert cut == whole._replace(captured_length=captured, checksum=Checksum.UNVERIFIABLE, sum=total)


def test_a_wire_length_below_what_is_there_is_not_believed() -> None:
    data = raw(ETHER / V4 / SEGMENT)
    assert parse(ETHERNET, data, 0) == parse(ETHERNET, data, len(data))


# --- dpkt as a second opinion, and hostile bytes ----------------------------------------------------------------------


@given(
    st.booleans(),
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFFFFFF),
    st.integers(0, 0xFF),
    st.integers(0, 10),
    st.binary(max_size=300),
)
def test_dpkt_agrees(v6: bool, port: int, seq: int, flags: int, option_words: int, payload: bytes) -> None:
    segment = dpkt.tcp.TCP(sport=port, dport=443, seq=seq, ack=9, flags=flags, win=1000, data=payload)
    segment.opts = b"\x01" * (4 * option_words)
    segment.off = 5 + option_words
    if v6:
        ip = dpkt.ip6.IP6(src=SRC6, dst=DST6, nxt=6, plen=len(segment), data=segment)
    else:
        ip = dpkt.ip.IP(src=SRC4, dst=DST4, p=6, data=segment, len=20 + len(segment))
    packet = packet_of(RAW, bytes(ip))
    assert packet[:8] == (ip.src, ip.dst, port, 443, seq, 9, flags, 1000)
    assert packet.option_length == 4 * option_words
    assert bytes(ip)[packet.payload_offset :] == payload
    assert packet.checksum is Checksum.OK


LINK_TYPES = [0, 1, 12, 101, 108, 113, 228, 229, 276, 147]

SEEDS = [
    (link_type, raw(link / network / segment if link is not None else network / segment))
    for _, link_type, link in LINKS
    for network in (V4, V6, V6 / EXTENSIONS[-1][1], IP(src="192.0.2.1", dst="192.0.2.2", options=[IPOption_LSRR()]))
    for segment in (SEGMENT, TCP(flags="S", options=[("MSS", 1460), ("WScale", 2), ("SAckOK", b"")]))
]


def check(outcome: Packet | str, data: bytes, wire_length: int) -> None:
    """What holds of every outcome."""
    if isinstance(outcome, str):
        assert outcome in FATES
        return
    assert len(outcome.src) == len(outcome.dst)
    assert len(outcome.src) in (4, 16)
    assert 0 <= outcome.tcp_offset <= outcome.tcp_offset + 20 + outcome.option_length == outcome.payload_offset
    assert 0 <= outcome.captured_length <= outcome.payload_length
    assert outcome.payload_offset + outcome.captured_length <= len(data)
    assert outcome.payload_offset + outcome.payload_length <= max(wire_length, len(data))
    if outcome.captured_length < outcome.payload_length:
        assert outcome.payload_offset + outcome.captured_length == len(data)
        assert outcome.checksum in (Checksum.UNVERIFIABLE, Checksum.PARTIAL, Checksum.BAD_HEADER)
    else:
        assert outcome.checksum is not Checksum.UNVERIFIABLE


@given(st.sampled_from(LINK_TYPES), st.binary(max_size=200), st.integers(0, 70_000))
def test_random_bytes_never_raise(link_type: int, data: bytes, wire_length: int) -> None:
    check(parse(link_type, data, wire_length), data, wire_length)


@settings(max_examples=1000, deadline=None)
@given(
    st.sampled_from(SEEDS),
    st.sampled_from(LINK_TYPES) | st.none(),
    st.lists(st.tuples(st.integers(0, 150), st.integers(0, 255)), max_size=6),
    st.integers(0, 200) | st.none(),
    st.integers(0, 70_000) | st.none(),
    st.booleans(),
)
def test_mutated_frames_never_raise(
    seed: tuple[int, bytes],
    link_type: int | None,
    changes: list[tuple[int, int]],
    cut: int | None,
    wire_length: int | None,
    check_ip: bool,
) -> None:
    data = bytearray(seed[1])
    for at, value in changes:
        data[at % len(data)] = value
    frame = bytes(data[:cut])
    length = len(frame) if wire_length is None else wire_length
    check(parse(seed[0] if link_type is None else link_type, frame, length, check_ip), frame, length)
