"""Compiled programs pass the packets that the plain predicate passes."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rxtls.wire.captured import Frame
from rxtls.wire.compiled.columns import Frames, frames_of
from rxtls.wire.compiled.filter import CompiledFilter, program_of
from rxtls.wire.compiled.parse import packet_of, parse_frames
from rxtls.wire.filter import MAX_DEPTH, compile_filter
from rxtls.wire.frame import Packet

HOSTS_4 = [
    bytes([10, 0, 0, 1]),
    bytes([10, 0, 0, 2]),
    bytes([10, 1, 0, 1]),
    bytes([192, 0, 2, 9]),
    bytes(4),
    b"\xff" * 4,
]
HOSTS_6 = [
    bytes.fromhex(text)
    for text in (
        "20010db8000000000000000000000001",
        "20010db8000100000000000000000002",
        "ffffffffffffffffffffffffffffffff",
        "00000000000000000000000000000001",
        "00000000000000000000ffff0a000001",  # IPv4-mapped: not the IPv4 address
        "0000000000000000000000000a000001",
    )
]
PORTS = [(1, 2), (443, 40_000), (40_000, 443), (0, 65_535), (80, 80)]
VLANS: list[tuple[int, ...]] = [(), (100,), (0,), (4095, 0), (1, 2, 3, 100), (1, 2, 3, 4, 100), (7,) * 9]


def frame(src: bytes, dst: bytes, sport: int, dport: int, vlan: tuple[int, ...]) -> bytes:
    tcp = struct.pack("!HHIIHHHH", sport, dport, 1, 2, 5 << 12 | 0x10, 100, 0, 0)
    if len(src) == 4:
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 40, 1, 0, 64, 6, 0) + src + dst
    else:
        ip = struct.pack("!IHBB", 6 << 28, 20, 6, 64) + src + dst
    vlan_tags = b"".join(b"\x81\x00" + number.to_bytes(2, "big") for number in vlan)
    return bytes(12) + vlan_tags + (b"\x08\x00" if len(src) == 4 else b"\x86\xdd") + ip + tcp


def made() -> Iterator[bytes]:
    yield b"no packet"
    for hosts in (HOSTS_4, HOSTS_6):
        for n, src in enumerate(hosts):
            for m, dst in enumerate(hosts):
                yield frame(src, dst, *PORTS[(n + 3 * m) % len(PORTS)], VLANS[(2 * n + m) % len(VLANS)])
    yield b""


@cache
def packets() -> tuple[Frames, list[Packet | None]]:
    frames = frames_of((n, Frame(0, 0, 1, len(data), data)) for n, data in enumerate(made()))
    parse_frames(frames, True)
    found = [packet_of(frames, n) for n in range(len(frames.table))]
    assert sum(isinstance(one, Packet) for one in found) == len(found) - 2
    assert frames.vlans
    return frames, [one if isinstance(one, Packet) else None for one in found]


def agree(text: str) -> int:
    """How many packets match."""
    predicate = compile_filter(text)
    frames, objects = packets()
    passed = CompiledFilter(predicate).passed(frames).tolist()
    assert passed == [packet is not None and predicate(packet) for packet in objects], text
    return sum(passed)


@pytest.mark.parametrize(
    "text",
    [
        *("tcp", "ip", "ip6", "vlan", "not vlan", "vlan 100", "vlan 0", "vlan 4095", "vlan 7", "vlan 3"),
        *("port 443", "src port 443", "dst port 443", "src and dst port 80", "ip6 port 443", "ip portrange 0-1"),
        *("portrange 440-500", "port 0", "port 65535", "tcp src or dst portrange 65535-1"),
        *("host 10.0.0.1", "src 10.0.0.1", "dst 255.255.255.255", "src and dst host 0.0.0.0", "net 10.0.0.0/8"),
        *("net 0.0.0.0/0", "net ::/0", "net 10.0.0.0/31", "src net 128.0.0.0/1", "net 2001:db8::/33", "host ::1"),
        *("net 2001:db8::/63", "net 2001:db8::/64", "net 2001:db8::/65", "net ffff::/16", "host ::ffff:10.0.0.1"),
        *("src 10.0.0.1 or dst 10.0.0.2 and vlan", "not (port 80 or not (ip6 and not vlan 100)) or host ::1"),
        *("port 443 and ip or ip6", "ip6 or port 443 and ip", "tcp or ip and ip6", "not tcp and tcp or vlan"),
    ],
)
def test_each_word(text: str) -> None:
    assert agree(text) > 0


def test_what_never_matches() -> None:
    for text in ("not tcp", "ip and ip6", "host 9.9.9.9", "net ::ff00:0:0/96", "vlan 99", "src and dst port 443"):
        assert agree(text) == 0


def test_the_deepest_and_the_longest() -> None:
    assert agree("(ip6 or " * MAX_DEPTH + "port 443" + ")" * MAX_DEPTH) > 0
    assert agree("not " * MAX_DEPTH + "vlan") > 0
    assert agree("(not " * (MAX_DEPTH // 2) + "port 443" + " and ip6)" * (MAX_DEPTH // 2)) > 0
    assert agree(" or ".join(["port 9"] * 4000 + ["port 443"])) > 0


def test_the_program_skips_what_does_not_matter() -> None:
    rows = program_of(compile_filter("port 1 or (port 2 and not vlan) and ip").tree).tolist()
    assert [(row[0], row[4]) for row in rows if row[0] == 5] == [(5, 6), (5, 6), (5, 8)]


def test_a_predicate_of_another_kind_is_asked() -> None:
    frames, objects = packets()
    odd = CompiledFilter(lambda packet: packet.sport % 2 == 1)
    assert odd.passed(frames).tolist() == [packet is not None and packet.sport % 2 == 1 for packet in objects]


ADDRESSES = ["10.0.0.1", "10.0.0.2", "192.0.2.9", "::1", "2001:db8::1", "::ffff:10.0.0.1", "0.0.0.0"]
NETWORKS = ["10.0.0.0/8", "10.0.0.0/30", "0.0.0.0/0", "::/0", "2001:db8::/32", "2001:db8::/64", "::/80", "::1/128"]
PRIMITIVES = st.one_of(
    st.sampled_from(["tcp", "ip", "ip6", "vlan", "vlan 100", "vlan 0", "vlan 7", "vlan 4"]),
    st.tuples(
        st.sampled_from(["", "ip ", "ip6 ", "tcp "]),
        st.sampled_from(["", "src ", "dst ", "src or dst ", "src and dst "]),
        st.sampled_from(["port 443", "port 80", "port 1 or 2", "portrange 2-443", "portrange 65535-0"]),
    ).map("".join),
    st.tuples(
        st.sampled_from(["", "src ", "dst ", "src or dst ", "src and dst "]),
        st.sampled_from([f"host {a}" for a in ADDRESSES] + [f"net {n}" for n in NETWORKS]),
    ).map("".join),
)
EXPRESSIONS = st.recursive(
    PRIMITIVES,
    lambda inner: (
        inner.map("not ({})".format)
        | inner.map("({})".format)
        | st.tuples(inner, st.sampled_from(["and", "or", "&&", "||"]), inner).map(" ".join)
    ),
    max_leaves=10,
)


@settings(max_examples=300)
@given(EXPRESSIONS)
def test_any_expression(text: str) -> None:
    agree(text)
