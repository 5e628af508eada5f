"""Frames put into tunnels, byte by byte: what tests of tunnels are made of."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

DATA = Path(__file__).parents[1] / "data" / "trials"
BASE, KEYS = DATA / "base13.pcap", DATA / "base13.keys"
HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1)


class Captured(NamedTuple):
    """A frame of a pcap: time in microseconds, bytes."""

    time: int
    data: bytes


def frames(path: Path = BASE) -> list[Captured]:
    """The frames of a little-endian pcap in microseconds."""
    data, at, found = path.read_bytes(), 24, []
    while at < len(data):
        seconds, fraction, length, _ = struct.unpack_from("<IIII", data, at)
        found.append(Captured(seconds * 1_000_000 + fraction, data[at + 16 : at + 16 + length]))
        at += 16 + length
    return found


def pcap(seen: Iterable[Captured], link_type: int = 1) -> bytes:
    """A pcap of frames, put in order of time."""
    parts = [HEADER[:20] + struct.pack("<I", link_type)]
    for time, data in sorted(seen, key=lambda each: each.time):
        parts += [struct.pack("<IIII", time // 1_000_000, time % 1_000_000, len(data), len(data)), data]
    return b"".join(parts)


def ethernet(ethertype: int, inside: bytes, vlan: int | None = None) -> bytes:
    shim = b"" if vlan is None else struct.pack("!HH", 0x8100, vlan)
    return bytes.fromhex("0200000000aa0200000000bb") + shim + struct.pack("!H", ethertype) + inside


def ip4(protocol: int, inside: bytes, src: str = "c0a80001", dst: str = "c0a80002") -> bytes:
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(inside), 7, 0, 64, protocol, 0)
    return head + bytes.fromhex(src + dst) + inside


def ip6(protocol: int, inside: bytes) -> bytes:
    address = bytes.fromhex("fd00") + bytes(13)
    return struct.pack("!IHBB", 6 << 28, len(inside), protocol, 64) + address + b"\1" + address + b"\2" + inside


def udp(port: int, inside: bytes, source: int = 5555) -> bytes:
    return struct.pack("!HHHH", source, port, 8 + len(inside), 0) + inside


def vxlan(frame: bytes, vni: int = 42, src: str = "c0a80001", dst: str = "c0a80002", port: int = 4789) -> bytes:
    return ethernet(0x0800, ip4(17, udp(port, struct.pack("!II", 0x0800_0000, vni << 8) + frame), src, dst))


def geneve(frame: bytes, vni: int = 42, options: bytes = b"") -> bytes:
    head = struct.pack("!BBHI", len(options) // 4, 0, 0x6558, vni << 8) + options
    return ethernet(0x0800, ip4(17, udp(6081, head + frame)))


def gre(kind: int, inside: bytes, flags: int = 0, words: bytes = b"") -> bytes:
    return ethernet(0x0800, ip4(47, struct.pack("!HH", flags, kind) + words + inside))


def erspan(frame: bytes, session: int = 9, src: str = "c0a80001", dst: str = "c0a80002") -> bytes:
    head = struct.pack("!HHI", 0x1000, 0x88BE, 77) + struct.pack("!II", 1 << 28 | session, 0)
    return ethernet(0x0800, ip4(47, head + frame, src, dst))


def _erspan3(kind: int, inside: bytes, more: bytes = b"") -> bytes:
    head = struct.pack("!HHI", 0x1000, 0x22EB, 77) + struct.pack("!IIHH", 2 << 28 | 9, 5, 0, kind << 10 | bool(more))
    return ethernet(0x0800, ip4(47, head + more + inside))


def _pppoe(ip: bytes) -> bytes:
    return ethernet(0x8864, struct.pack("!BBHHH", 0x11, 0, 3, 2 + len(ip), 0x0021) + ip)


def _mpls(*labels: int) -> bytes:
    return b"".join(struct.pack("!I", n << 12 | (i == len(labels) - 1) << 8 | 64) for i, n in enumerate(labels))


# By name: how an Ethernet frame with IP in it, of 14 bytes of link layer, is wrapped.
TUNNELS: dict[str, Callable[[bytes], bytes]] = {
    "vxlan": vxlan,
    "vxlan on Linux' port": lambda frame: vxlan(frame, port=8472),
    "vxlan over IPv6": lambda frame: ethernet(0x86DD, ip6(17, udp(4789, struct.pack("!II", 1 << 27, 42 << 8) + frame))),
    "vxlan in a VLAN": lambda frame: ethernet(0x0800, vxlan(frame)[14:], 100),
    "vxlan-gpe": lambda frame: ethernet(0x0800, ip4(17, udp(4790, bytes.fromhex("0c00000100002a00") + frame[14:]))),
    "geneve": geneve,
    "geneve with options": lambda frame: geneve(frame, options=bytes.fromhex("010880010000000a")),
    "geneve of IP": lambda frame: ethernet(0x0800, ip4(17, udp(6081, bytes.fromhex("0000080000002a00") + frame[14:]))),
    "gre": lambda frame: gre(0x0800, frame[14:]),
    "gre with checksum, key and sequence": lambda frame: gre(0x0800, frame[14:], 0xB000, bytes(12)),
    "gre over IPv6": lambda frame: ethernet(0x86DD, ip6(47, struct.pack("!HH", 0, 0x0800) + frame[14:])),
    "nvgre": lambda frame: gre(0x6558, frame, 0x2000, bytes.fromhex("00002a01")),
    "gre of MPLS": lambda frame: gre(0x8847, _mpls(5) + frame[14:]),
    "pptp": lambda frame: gre(0x880B, b"\xff\x03\x00\x21" + frame[14:], 0x3081, bytes(12)),
    "erspan I": lambda frame: gre(0x88BE, frame),
    "erspan II": erspan,
    "erspan III": lambda frame: _erspan3(0, frame),
    "erspan III with a subheader": lambda frame: _erspan3(0, frame, bytes(8)),
    "erspan III of IP": lambda frame: _erspan3(2, frame[14:]),
    "ip in ip": lambda frame: ethernet(0x0800, ip4(4, frame[14:])),
    "ip4 in ip6": lambda frame: ethernet(0x86DD, ip6(4, frame[14:])),
    "ip4 in ip6 in ip4": lambda frame: ethernet(0x0800, ip4(41, ip6(4, frame[14:]))),
    "ip4 in ip6 in ip6": lambda frame: ethernet(0x86DD, ip6(41, ip6(4, frame[14:]))),
    "etherip": lambda frame: ethernet(0x0800, ip4(97, b"\x30\x00" + frame)),
    "pppoe": lambda frame: _pppoe(frame[14:]),
    "pppoe in a VLAN": lambda frame: ethernet(0x8864, _pppoe(frame[14:])[14:], 7),
    "mpls": lambda frame: ethernet(0x8847, _mpls(16, 17) + frame[14:]),
    "mpls pseudo-wire": lambda frame: ethernet(0x8847, _mpls(16) + frame),
    "mpls pseudo-wire with control word": lambda frame: ethernet(0x8847, _mpls(16) + bytes(4) + frame),
    "mpls in ip": lambda frame: ethernet(0x0800, ip4(137, _mpls(16) + frame[14:])),
    "mpls in udp": lambda frame: ethernet(0x0800, ip4(17, udp(6635, _mpls(16) + frame[14:]))),
    "a VLAN in vxlan": lambda frame: vxlan(frame[:12] + bytes.fromhex("81000005") + frame[12:]),
    "erspan of vxlan": lambda frame: erspan(vxlan(frame)),
    "vxlan in gre in pppoe": lambda frame: _pppoe(gre(0x6558, vxlan(frame))[14:]),
}


def _pktap(frame: bytes) -> bytes:
    return struct.pack("<III24sI", 108, 1, 1, b"en0", 2) + bytes(68) + frame


def _nflog(frame: bytes) -> bytes:
    prefix = struct.pack("<HH", 5, 10) + b"x\0\0\0"
    return b"\2\0\0\1" + prefix + struct.pack("<HH", 4 + len(frame) - 14, 9) + frame[14:]


def _pktap_of_loopback(frame: bytes) -> bytes:
    return struct.pack("<III24sI", 108, 1, 0, b"lo", 1) + bytes(68) + b"\2\0\0\0" + frame[14:]


# By name: link type, and how an Ethernet frame with IP in it becomes one of that type.
LINKS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "pktap": (258, _pktap),
    "pktap as user 2": (149, _pktap),
    "pktap of loopback": (258, _pktap_of_loopback),
    "nflog": (239, _nflog),
    "nflog, big-endian": (239, lambda frame: b"\2\0\0\1" + struct.pack(">HH", 4 + len(frame) - 14, 9) + frame[14:]),
    "null with an ethertype": (0, lambda frame: b"\0\0\x08\0" + frame[14:]),
    "null with an ethertype, swapped": (0, lambda frame: b"\0\x08\0\0" + frame[14:]),
    "loop": (108, lambda frame: b"\0\0\0\2" + frame[14:]),
    "raw": (12, lambda frame: frame[14:]),
    "raw of OpenBSD": (14, lambda frame: frame[14:]),
    "raw of libpcap": (101, lambda frame: frame[14:]),
    "enc": (109, lambda frame: b"\2\0\0\0" + bytes(8) + frame[14:]),
    "pflog": (117, lambda frame: b"\x3d\2" + bytes(62) + frame[14:]),
    "ppp": (9, lambda frame: b"\xff\3\0\x21" + frame[14:]),
    "ppp, compressed": (9, lambda frame: b"\x21" + frame[14:]),
    "ppp in hdlc": (50, lambda frame: b"\xff\3\0\x21" + frame[14:]),
    "cisco hdlc": (104, lambda frame: b"\x0f\0\x08\0" + frame[14:]),
    "ppp with direction": (204, lambda frame: b"\1\xff\3\0\x21" + frame[14:]),
    "pppoe by itself": (51, lambda frame: _pppoe(frame[14:])[14:]),
    "ipnet": (226, lambda frame: b"\1\2\0\0" + bytes(20) + frame[14:]),
}  # fmt: skip


def pcapng(seen: Iterable[Captured], flags: int) -> bytes:
    """A pcapng of frames, each with these epb_flags."""

    def block(kind: int, body: bytes) -> bytes:
        length = struct.pack("<I", 12 + len(body))
        return struct.pack("<I", kind) + length + body + length

    parts = [block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)), block(1, struct.pack("<HHI", 1, 0, 0))]
    for time, data in seen:
        head = struct.pack("<IIIII", 0, time >> 32, time & 0xFFFFFFFF, len(data), len(data))
        options = struct.pack("<HHII", 2, 4, flags, 0)
        parts.append(block(6, head + data + bytes(-len(data) % 4) + options))
    return b"".join(parts)


def with_sum(each: Captured, change: Callable[[int], int], header: bool = False) -> Captured:
    """A frame with another checksum: TCP's, or with `header` that of the IPv4 header, of 14 and 20 bytes before it."""
    at = 24 if header else 50
    field = change(int.from_bytes(each.data[at : at + 2], "big")) & 0xFFFF
    return each._replace(data=each.data[:at] + field.to_bytes(2, "big") + each.data[at + 2 :])


def from_client(each: Captured) -> bool:
    return each.data[26:30] == bytes.fromhex("0a090001")
