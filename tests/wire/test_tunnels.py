"""What a packet came by, and what in a tunnel cannot be read."""

from __future__ import annotations

import pytest

from rxtls.wire.frame import MOST_TUNNELS, Packet, parse
from rxtls.wire.tunnels import Tunnel, network, path
from wrapping import TUNNELS, ethernet, frames, gre, ip4, udp, vxlan


def test_what_a_packet_came_by() -> None:
    inside = frames()[0].data
    packet = parse(1, TUNNELS["vxlan in a VLAN"](TUNNELS["gre"](inside)), 0)
    assert isinstance(packet, Packet)
    outer = bytes.fromhex("c0a80001"), bytes.fromhex("c0a80002")
    assert packet.tunnels == (Tunnel("vxlan", 42, *outer, vlan=(100,)), Tunnel("gre", None, *outer))
    assert network(packet.tunnels) == 1 << 32 | 42
    assert packet.vlan == ()
    packet = parse(1, TUNNELS["a VLAN in vxlan"](inside), 0)
    assert isinstance(packet, Packet)
    assert packet.vlan == (5,)


def test_ways_differ_by_kind_id_address_and_vlan() -> None:
    inside = frames()[0].data
    ways = set()
    for name in ("vxlan", "vxlan in a VLAN", "geneve", "gre", "erspan I", "erspan II", "ip in ip", "mpls", "pppoe"):
        packet = parse(1, TUNNELS[name](inside), 0)
        assert isinstance(packet, Packet)
        ways.add(path(packet.tunnels))
    for frame in (vxlan(inside, 43), vxlan(inside, src="c0a80003"), vxlan(inside, src="c0a80002", dst="c0a80001")):
        packet = parse(1, frame, 0)
        assert isinstance(packet, Packet)
        ways.add(path(packet.tunnels))
    assert len(ways) == 12


def test_the_depth_is_bounded() -> None:
    inside = ip4(6, frames()[0].data[34:])
    for depth in range(1, 20):
        inside = ip4(4, inside)
        found = parse(1, ethernet(0x0800, inside), 0)
        assert isinstance(found, Packet) if depth <= MOST_TUNNELS else found == "frame.tunnel_depth"


@pytest.mark.parametrize(
    ("frame", "fate"),
    [
        (ethernet(0x0800, ip4(17, udp(4789, bytes(60)))), "frame.vxlan"),
        (ethernet(0x0800, ip4(17, udp(6081, b"\x40" + bytes(60)))), "frame.geneve"),
        (gre(0x0800, bytes(60), 0x4000), "frame.gre"),
        (gre(0x883E, bytes(60)), "frame.gre"),
        (gre(0x22EB, bytes(60), 0x1000), "frame.gre"),
        (ethernet(0x0800, ip4(97, bytes(60))), "frame.ip_in_ip"),
        (ethernet(0x8847, b"\0\1\1\1" + bytes(60)), "frame.mpls"),
        (ethernet(0x8864, b"\x11\0\0\1\0\x08\xc0\x21" + bytes(60)), "frame.pppoe"),
        (ethernet(0x8863, b"\x11\x09\0\0\0\0" + bytes(60)), "frame.pppoe"),
        (ethernet(0x0800, ip4(17, udp(443, b"\xc3\0\0\0\1" + bytes(60)))), "frame.quic"),
        (ethernet(0x0800, ip4(17, udp(4433, b"\xd3\x6b\x33\x43\xcf" + bytes(60)))), "frame.quic"),
        (ethernet(0x0800, ip4(17, udp(50000, b"\x43" + bytes(60), source=443))), "frame.quic"),
        (ethernet(0x0800, ip4(17, udp(50000, b"\x43" + bytes(60)))), "frame.not_tcp"),
        (ethernet(0x0800, ip4(17, udp(443, b"\x16\xfe\xfd" + bytes(8) + b"\0\x30" + bytes(48)))), "frame.dtls"),
        (ethernet(0x0800, ip4(17, udp(443, b"\x16\xfe\xfd" + bytes(8) + b"\0\x31" + bytes(48)))), "frame.not_tcp"),
        (ethernet(0x0800, ip4(17, udp(4500, b"\0\0\0\1" + bytes(60)))), "frame.esp"),
        (ethernet(0x0800, ip4(17, udp(4500, bytes(60)))), "frame.not_tcp"),
        (ethernet(0x0800, ip4(17, udp(53, bytes(60)))), "frame.not_tcp"),
        (ethernet(0x0800, ip4(17, udp(2152, b"\x30\xff" + bytes(60)))), "frame.gtp"),
        (ethernet(0x0800, ip4(17, udp(50000, b"\4\0\0\0" + bytes(60), source=51820))), "frame.wireguard"),
        (ethernet(0x0800, ip4(115, bytes(60))), "frame.l2tp"),
        (ethernet(0x88E5, bytes(60)), "frame.macsec"),
        (ethernet(0x8100, b"\0\5\x89\x4f" + bytes(60)), "frame.bridged"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_has_a_name(frame: bytes, fate: str) -> None:
    assert parse(1, frame, 0) == fate
