"""A compiled row is what the plain parser says, field by field, whatever the frame; and no byte beyond it is read."""

from __future__ import annotations

import ctypes
import mmap
import struct
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.compat import raw
from scapy.contrib.geneve import GENEVE
from scapy.contrib.mpls import MPLS
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_LSRR, IPOption_NOP
from scapy.layers.inet6 import (
    HAO,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    Jumbo,
)
from scapy.layers.ipsec import AH, ESP
from scapy.layers.l2 import ARP, GRE, LLC, SNAP, CookedLinux, CookedLinuxV2, Dot1AD, Dot1Q, Dot3, Ether
from scapy.layers.ppp import PPPoE
from scapy.layers.vxlan import VXLAN
from scapy.packet import Raw

from hostile_frames import Seen, frames_of, take_apart
from hostile_packets import MUTATORS
from rxtls.counters import FATES
from rxtls.wire.captured import MAX_FRAME, Frame
from rxtls.wire.compiled import columns
from rxtls.wire.compiled.columns import ODD, FrameRow, Frames, PacketRow
from rxtls.wire.compiled.parse import FATE_CODES, FATE_NAMES, _parse, packet_of, parse_frames
from rxtls.wire.frame import Packet, parse
from rxtls.wire.tunnels import UNREAD_ETHERTYPES, UNREAD_PORTS, network
from rxtls.wire.tunnels import path as way
from wrapping import LINKS as RARE_LINKS
from wrapping import TUNNELS, ethernet, ip4, udp

TESTS = Path(__file__).parent.parent
CAPTURES = [*sorted((TESTS / "data" / "real").glob("*.pcap*")), *sorted((TESTS.parent / "examples").glob("*.pcap"))]
LINK_TYPES = (0, 1, 9, 12, 50, 101, 104, 108, 113, 117, 149, 226, 228, 229, 239, 258, 276, 147)

Given = tuple[int, bytes, int]  # link type, captured bytes, length on the wire

ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
TYPED = {
    kind: Ether(src=ETHER.src, dst=ETHER.dst, type=kind)
    for kind in (0x9100, 0x9200, 0x0800, 0x86DD, 0x8848, 0x8863, 0x5DD)
}
V4, V6 = IP(src="192.0.2.1", dst="255.100.2.3", id=0xF007), IPv6(src="fe80::1", dst="ff02:8000::ffff:ffff")
LINKS: list[tuple[int, Any]] = [
    (1, ETHER),
    (1, TYPED[0x9200] / Dot1Q(vlan=100)),
    (1, ETHER / Dot1AD(vlan=4095) / Dot1Q(vlan=0) / Dot1Q(vlan=7) / Dot1Q(vlan=2048)),
    (1, TYPED[0x9100] / Dot1Q(vlan=3) / Dot1Q(vlan=2) / Dot1Q(vlan=1) / Dot1Q(vlan=5) / Dot1Q(vlan=6)),
    (1, Dot3(src=ETHER.src, dst=ETHER.dst, len=100) / LLC() / SNAP()),
    (113, CookedLinux(pkttype=4, lladdrlen=6)),
    (113, CookedLinux(pkttype=0) / Dot1Q(vlan=7)),
    (276, CookedLinuxV2(ifindex=0xFFFF_FFFE, pkttype=1)),
    (276, CookedLinuxV2(ifindex=70_000, pkttype=0) / Dot1Q(vlan=8) / Dot1Q(vlan=9)),
    (101, None),
    (0, Raw(b"\x02\0\0\0")),
    (108, Raw(b"\0\0\0\x1e")),
]
OPTIONS = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 0)), ("NOP", None), ("WScale", 15)]
STAMPS = [("NOP", None), ("NOP", None), ("Timestamp", (1, 2))]
SEGMENTS = [
    TCP(sport=40000, dport=443, seq=0xFFFFFFF0, ack=77, flags="PA", window=501) / Raw(b"seventeen bytes !"),
    TCP(flags="S", options=OPTIONS) / Raw(b"data in SYN"),
    TCP(flags="A", options=OPTIONS),
    TCP(flags=0x1FF, reserved=7, options=STAMPS) / Raw(bytes(range(256))),
    TCP(flags="A", options=STAMPS) / Raw(b"\xc3" * 1448),
    TCP(sport=1, dport=2, chksum=1) / Raw(b"\xff" * 701),
    TCP(dataofs=4),
    TCP(dataofs=7) / Raw(b"four"),
]
INSIDE_4: list[Any] = [
    *(V4 / segment for segment in SEGMENTS),
    V4 / ICMP(),
    IP(src="1.2.3.4", dst="5.6.7.8", chksum=1) / ICMP(),
    *(V4 / UDP(sport=4789, dport=port) / Raw(bytes(9)) for port in (53, 4789, 8472, 6081)),
    V4 / UDP(dport=4789) / VXLAN(),
    V4 / UDP(dport=6081) / GENEVE(),
    *(V4 / inner for inner in (GRE(), V4, V6, ESP(spi=1, seq=1, data=bytes(8)), AH(nh=6, spi=1, seq=1, icv=bytes(12)))),
    IP(src="1.2.3.4", dst="5.6.7.8", flags="MF") / SEGMENTS[0],
    IP(src="1.2.3.4", dst="5.6.7.8", frag=185, proto=6) / Raw(bytes(8)),
    IP(src="1.2.3.4", dst="5.6.7.8", flags="DF") / SEGMENTS[0],
    IP(src="1.2.3.4", dst="5.6.7.8", flags=4) / SEGMENTS[0],  # the reserved bit is no fragment
    *(IP(src="1.2.3.4", dst="5.6.7.8", chksum=value) / SEGMENTS[0] for value in (0, 1, 0xFFFF)),
    *(IP(src="1.2.3.4", dst="5.6.7.8", len=length) / SEGMENTS[0] for length in (0, 19, 20, 39, 40, 57, 58, 0xFFFF)),
    *(IP(src="1.2.3.4", dst="5.6.7.8", ihl=words) / SEGMENTS[1] for words in (0, 4, 6, 15)),
    IP(src="1.2.3.4", dst="5.6.7.8", version=6) / SEGMENTS[0],
    IP(src="1.2.3.4", dst="5.6.7.8", options=[IPOption_NOP(), IPOption_LSRR(routers=["9.9.9.9"])]) / SEGMENTS[0],
]
INSIDE_6: list[Any] = [
    *(V6 / segment for segment in SEGMENTS),
    *(IPv6(src="::1", dst="::2", nh=number) / Raw(bytes(60)) for number in (0, 4, 17, 41, 43, 44, 47, 50, 51, 59, 60)),
    *(IPv6(src="::1", dst="::2", nh=number) / Raw(bytes(60)) for number in (135, 139, 140, 255)),
    *(V6 / UDP(sport=4789, dport=port) / Raw(bytes(9)) for port in (53, 4789, 8472, 6081)),
    V6 / IPv6ExtHdrDestOpt(options=[HAO(hoa="2001:db8::77")]) / SEGMENTS[0],
    V6 / IPv6ExtHdrHopByHop() / IPv6ExtHdrRouting(addresses=["::9"], segleft=1) / IPv6ExtHdrFragment(m=0) / SEGMENTS[0],
    V6 / IPv6ExtHdrFragment(m=1) / SEGMENTS[0],
    IPv6(src="::1", dst="::2", plen=0)
    / IPv6ExtHdrHopByHop(options=[Jumbo(jumboplen=70_028)])
    / TCP()
    / Raw(bytes(70_000)),
    *(IPv6(src="::1", dst="::2", plen=length) / SEGMENTS[0] for length in (0, 1, 19, 20, 36, 37, 38, 0xFFFF)),
    IPv6(src="::1", dst="::2", version=4) / SEGMENTS[0],
]
OTHERS: list[Given] = [
    (link_type, data, len(data))
    for link_type, layers in [
        (1, ETHER / ARP()),
        (1, ETHER / MPLS(label=3, s=1) / V4 / SEGMENTS[0]),
        (1, TYPED[0x8848] / Raw(bytes(60))),
        (1, ETHER / PPPoE() / Raw(bytes(60))),
        (1, TYPED[0x8863] / Raw(bytes(60))),
        (1, TYPED[0x5DD] / Raw(bytes(60))),
        (1, Dot3(src=ETHER.src, dst=ETHER.dst) / LLC(dsap=0x42, ssap=0x42, ctrl=3) / Raw(bytes(35))),
        (1, Raw(raw(ETHER)[:12] + bytes.fromhex("81000005") * 3000 + b"\x08\x00" + raw(V4 / SEGMENTS[0]))),
        (113, CookedLinux(proto=4) / LLC() / SNAP() / V4 / SEGMENTS[0]),
        (113, CookedLinux(proto=3) / Raw(bytes(60))),
        (113, CookedLinux(lladdrtype=824, proto=0x0800) / V4 / SEGMENTS[0]),
        (276, CookedLinuxV2(lladdrtype=824, proto=0x0800) / V4 / SEGMENTS[0]),
        *((0, Raw(family.to_bytes(4, order)) / V6 / SEGMENTS[0]) for family in (0, 2, 10, 24, 28, 30, 31, 1 << 17)
          for order in ("little", "big")),
        *((link_type, V4 / SEGMENTS[0]) for link_type in (12, 101, 228, 229, 147)),
        *((link_type, V6 / SEGMENTS[0]) for link_type in (12, 101, 228, 229, -1, 1 << 40)),
        (101, Raw(b"\x00" * 40)),
    ]
    for data in (raw(layers),)
]  # fmt: skip


def _seeds() -> list[Given]:
    """Every link type with every network, and what is neither."""
    found = list(OTHERS)
    for link_type, link in LINKS:
        for inside in (*INSIDE_4, *INSIDE_6):
            if link_type == 0:
                link = Raw((2 if inside in INSIDE_4 else 30).to_bytes(4, "little"))
            data = raw(inside) if link is None else raw(link / inside)
            found.append((link_type, data, len(data)))
    return found


INSIDE = [raw(ETHER / (V4 if n % 2 else V6) / segment) for n, segment in enumerate(SEGMENTS)] + [
    raw(ETHER / V4 / SEGMENTS[0])
]
OVER_UDP = [
    b"\xc3\0\0\0\1" + bytes(20), b"\xc3\x6b\x33\x43\xcf", b"\xc3\xff\0\0\x1d", b"\xc3Q046", b"\xc3\x1a\x2a\x3a\x4a",
    b"\xc3\0\0\0\2", b"\x43" + bytes(20),
    b"\x16\xfe\xfd" + bytes(8) + b"\0\3abc", b"\x16\xfe\xfd" + bytes(8) + b"\0\4abc",
    b"\x17\1\0" + bytes(10), b"\0\0\0\1" + bytes(8), bytes(12), b"",
]  # fmt: skip
SEEDS = _seeds()
SEEDS += [(1, wrap(each), 0) for wrap in TUNNELS.values() for each in INSIDE]
SEEDS += [(link_type, wrap(INSIDE[-1]), 0) for link_type, wrap in RARE_LINKS.values()]
SEEDS += [
    (1, ethernet(0x0800, ip4(17, udp(port, each, source))), 0)
    for each in OVER_UDP
    for port, source in ((443, 50000), (50000, 443), (50000, 50001), (4500, 4500))
]
UNREAD = [(1, ethernet(number, bytes(60)), 0) for number in UNREAD_ETHERTYPES]
UNREAD += [(1, ethernet(0x0800, ip4(17, udp(port, each))), 0) for port in UNREAD_PORTS for each in OVER_UDP]
UNREAD += [(1, ethernet(0x0800, ip4(17, udp(9, b"x", port))), 0) for port in UNREAD_PORTS]
SEEDS += [*UNREAD, (1, ethernet(0x0800, ip4(115, bytes(60))), 0)]
DEEP = ip4(6, raw(SEGMENTS[0]))
for _ in range(12):
    DEEP = ip4(4, DEEP)
    SEEDS.append((101, DEEP, 0))


def agree(given: Sequence[Given], check_ip: bool = True) -> Frames:
    """Rows of the frames, after each was held against the plain parser."""
    frames = columns.frames_of((n, Frame(0, 0, link, wire, data)) for n, (link, data, wire) in enumerate(given))
    parse_frames(frames, check_ip)
    assert len(frames.packets) == len(given)
    for n, (link, data, wire) in enumerate(given):
        packet = parse(link, data, wire, check_ip)
        assert packet_of(frames, n) == packet, (link, data.hex(), wire)
        if isinstance(packet, Packet):
            said = frames.packets[n, [PacketRow.TUNNELS, PacketRow.NETWORK, PacketRow.PATH]].tolist()
            tunnels = packet.tunnels
            assert said == [len(tunnels), network(tunnels), way(tunnels)], (link, data.hex(), wire)
    return frames


def outcomes(given: Iterable[Given]) -> Counter[str]:
    found: Counter[str] = Counter()
    for one in given:
        outcome = parse(*one)
        found[outcome if isinstance(outcome, str) else outcome.checksum.value] += 1
    return found


def test_fate_names_are_the_frame_fates_of_the_ledger() -> None:
    assert list(FATE_NAMES) == [name for name in FATES if name.startswith("frame.")]
    assert all(FATE_NAMES[code] == name for name, code in FATE_CODES.items())


@pytest.mark.parametrize("check_ip", [True, False])
def test_every_shape(check_ip: bool) -> None:
    agree(SEEDS, check_ip)
    reached = outcomes(SEEDS).keys()
    assert reached >= {"ok", "bad", "frame.bad_ip", "frame.bad_tcp", "frame.bad_ip_checksum", "frame.fragment"}
    assert reached >= {f"frame.{name}" for name in ("vxlan", "geneve", "gre", "esp", "mpls", "pppoe")}
    assert reached >= {"frame.quic", "frame.dtls", "frame.tunnel_depth"}
    assert reached >= {*UNREAD_PORTS.values(), *UNREAD_ETHERTYPES.values()}
    assert reached >= {"frame.not_ip", "frame.not_tcp", "frame.link_type"}


def test_nothing_of_no_frames() -> None:
    assert agree([]).packets.shape == (0, PacketRow.COLUMNS)


def test_frequent_shapes_are_compiled() -> None:
    frequent = [
        (link_type, raw(segment if link is None else link / segment), 0)
        for link_type, link in LINKS[:3] + LINKS[5:10]
        for segment in INSIDE_4[:4] + INSIDE_6[:4]
    ]
    frames = columns.frames_of((n, Frame(0, 0, link, wire, data)) for n, (link, data, wire) in enumerate(frequent))
    rows = np.zeros((len(frequent), PacketRow.COLUMNS), np.int64)
    assert _parse(frames.data.ctypes.data, frames.table, rows, True, 0) == 0
    odd = columns.frames_of((n, Frame(0, 0, link, wire, data)) for n, (link, data, wire) in enumerate(SEEDS))
    rows = np.zeros((len(SEEDS), PacketRow.COLUMNS), np.int64)
    assert _parse(odd.data.ctypes.data, odd.table, rows, True, 0) == (rows[:, PacketRow.FATE] == ODD).sum() > 0


def test_deep_vlans_stand_beside_the_table() -> None:
    frames = agree(SEEDS)
    depths = frames.packets[:, PacketRow.VLAN_DEPTH]
    packets = frames.packets[:, PacketRow.FATE] == columns.PACKET
    assert set(frames.vlans) == set(np.flatnonzero(packets & (depths > columns.MOST_VLANS)).tolist())
    assert {len(vlan) for vlan in frames.vlans.values()} == {5, 3000}


def test_cut_anywhere() -> None:
    cut = [
        (link, data[:length], wire)
        for link, data, _ in SEEDS[::3]
        for length in [*range(min(len(data), 120)), *range(len(data) - 5, len(data))]
        for wire in (0, len(data))
        if len(data) < 2000
    ]
    agree(cut)
    reached = outcomes(cut).keys()
    assert reached >= {"unverifiable", "frame.cut_header", "frame.bad_link", "frame.bad_ip", "frame.bad_tcp"}


@pytest.mark.parametrize("zero", [b"\0\0", b"\xff\xff"])
@pytest.mark.parametrize("network", [V4, V6], ids=["ipv4", "ipv6"])
def test_however_a_zero_checksum_is_written(network: Any, zero: bytes) -> None:
    data = bytearray(raw(network / TCP(sport=5, dport=6, flags="A") / Raw(bytes(2) + b"payload")))
    at = len(raw(network))
    data[at + 20 : at + 22] = data[at + 16 : at + 18]  # payload += checksum, so that the checksum becomes a zero
    data[at + 16 : at + 18] = zero
    assert outcomes([(101, bytes(data), 0)]) == {"ok": 1}
    agree([(101, bytes(data), 0)])


@pytest.mark.parametrize("network", [IP(src="1.2.3.4", dst="5.6.7.8", len=0), IPv6(src="::1", dst="::2", plen=0)])
def test_aggregates_up_to_the_bound(network: Any) -> None:
    head = raw(ETHER / network / TCP(flags="A"))
    given = []
    for length in (0, 1, 3000, 65_535, 70_000, MAX_FRAME - len(head)):
        data = head + Random(length).randbytes(length)
        at = len(head) - 20
        for end in (b"", b"\x01", bytes(13)):
            given.append((1, data + end, 0))
        packet = parse(1, data, len(data))
        assert isinstance(packet, Packet)
        # What Linux leaves to the NIC, and the right sum.
        field = int.from_bytes(packet.src + packet.dst, "big") + 6 + len(data) - at
        for value in (field % 0xFFFF or 0xFFFF, -field - packet.sum + int.from_bytes(data[at + 16 : at + 18], "big")):
            filled = data[: at + 16] + (value % 0xFFFF).to_bytes(2, "big") + data[at + 18 :]
            given += [(1, filled, 0), (1, filled[: len(filled) * 2 // 3], len(filled)), (1, filled, 1 << 32)]
    agree(given)
    assert outcomes(given).keys() >= {"ok", "partial", "unverifiable"}


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.name)
def test_captures_and_what_a_hostile_network_makes_of_them(path: Path) -> None:
    dice = Random(path.name)
    seen = frames_of(path.read_bytes())[:150]
    assert seen
    agree([(frame.link_type, frame.data, frame.wire_length) for frame in seen])
    pieces = [take_apart(frame) for frame in seen]
    for mutate in dice.choices(MUTATORS, k=12):
        if pieces:
            mutate(pieces, dice)
    agree([_damaged(piece.assemble(), dice) for piece in pieces[:400]], dice.random() < 0.8)


def _damaged(frame: Seen, dice: Random) -> Given:
    data = bytearray(frame.data)
    for _ in range(dice.choice((0, 0, 1, 2))):
        if data:
            data[dice.randrange(min(len(data), 90))] = dice.choice((0, 0xFF, dice.getrandbits(8)))
    if dice.random() < 0.1:
        del data[dice.randrange(len(data) + 1) :]
    return frame.link_type, bytes(data), dice.choice((frame.wire_length, frame.wire_length, 0, 70_000))


def test_random_changes_of_every_shape() -> None:
    dice = Random(3)
    given = []
    for link_type, data, _ in SEEDS * 8:
        made = bytearray(data[:3000])
        for _ in range(dice.choice((1, 1, 2, 5))):
            made[dice.randrange(min(len(made), 110))] = dice.choice((0, 6, 0x45, 0xFF, dice.getrandbits(8)))
        if dice.random() < 0.2:
            del made[dice.randrange(len(made)) :]
        link_type = dice.choice((link_type,) * 9 + LINK_TYPES)
        given.append((link_type, bytes(made), dice.choice((0, len(data), dice.randrange(70_000), 1 << 32))))
    agree(given)
    agree(given, check_ip=False)


@settings(max_examples=100)
@given(
    st.sampled_from(SEEDS),
    st.sampled_from(LINK_TYPES) | st.none(),
    st.lists(st.tuples(st.integers(0, 150), st.integers(0, 255)), max_size=6),
    st.integers(0, 200) | st.none(),
    st.integers(0, 70_000) | st.none(),
    st.booleans(),
)
def test_any_change_of_any_shape(
    seed: Given,
    link_type: int | None,
    changes: list[tuple[int, int]],
    cut: int | None,
    wire: int | None,
    check_ip: bool,
) -> None:
    data = bytearray(seed[1])
    for at, value in changes:
        data[at % len(data)] = value
    made = bytes(data[:cut])
    agree([(seed[0] if link_type is None else link_type, made, len(made) if wire is None else wire)], check_ip)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from(LINK_TYPES), st.binary(max_size=200), st.integers(0, 70_000)), max_size=30))
def test_noise(given: list[Given]) -> None:
    agree(given)


OPTION = st.one_of(
    st.sampled_from(
        [b"\0", b"\1", b"\2\4\5\xb4", b"\2\4\0\0", b"\3\3\7", b"\3\3\xff", b"\4\2", b"\x08\x0a" + bytes(8)]
    ),
    st.tuples(st.integers(0, 255), st.integers(0, 12), st.binary(max_size=8)).map(lambda o: bytes(o[:2]) + o[2]),
)


@given(st.lists(OPTION, max_size=12).map(b"".join), st.integers(0, 0x1FF), st.binary(max_size=20))
def test_any_tcp_options(options: bytes, flags: int, payload: bytes) -> None:
    options = (options + bytes(-len(options) % 4))[:40]
    offset_flags = (20 + len(options)) >> 2 << 12 | flags
    segment = struct.pack("!HHIIHHHH", 1, 2, 3, 4, offset_flags, 5, 6, 7) + options + payload
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(segment), 1, 0, 64, 6, 0) + bytes(8)
    agree([(101, head + segment, 0), (229, struct.pack("!IHBB", 6 << 28, len(segment), 6, 1) + bytes(32) + segment, 0)])


def test_no_byte_beyond_the_frame_is_read() -> None:
    """Frames that end where the memory does: one byte more would end the process."""
    page = mmap.PAGESIZE
    region = mmap.mmap(-1, 3 * page)
    memory = np.frombuffer(region, np.uint8)
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    assert protect(ctypes.c_void_p(memory.ctypes.data + 2 * page), ctypes.c_size_t(page), 0) == 0
    end = 2 * page
    given = [one for one in SEEDS if len(one[1]) <= 2000]
    given += [(link, data[:n], len(data)) for link, data, _ in given[::7] for n in range(min(100, len(data)))]
    table = np.zeros((1, FrameRow.COLUMNS), np.int64)
    for link, data, wire in given:
        memory[end - len(data) : end] = np.frombuffer(data, np.uint8)
        table[0, FrameRow.LINK], table[0, FrameRow.WIRE], table[0, FrameRow.OFFSET], table[0, FrameRow.LENGTH] = (
            link,
            wire,
            end - len(data),
            len(data),
        )
        frames = Frames(memory[:end], table, table)
        parse_frames(frames, True)
        assert packet_of(frames, 0) == parse(link, data, wire)
