"""The filter against its own grammar, against tcpdump's meaning of the same words, and against bad text."""

from __future__ import annotations

import shutil
import struct
import subprocess
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.compat import raw
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6

from rxtls.errors import UsageError
from rxtls.wire.filter import GRAMMAR, MAX_DEPTH, MAX_TEXT, compile_filter
from rxtls.wire.frame import Packet, parse


def packet(src: str, sport: int, dst: str, dport: int, vlan: tuple[int, ...] = ()) -> Packet:
    ip = IPv6(src=src, dst=dst) if ":" in src else IP(src=src, dst=dst)
    data = raw(ip / TCP(sport=sport, dport=dport))
    made = parse(101, data, len(data))
    assert isinstance(made, Packet)
    return made._replace(vlan=vlan)


UP = packet("10.0.0.1", 40000, "192.0.2.9", 443)
DOWN = packet("192.0.2.9", 443, "10.0.0.1", 40000)
SIX = packet("2001:db8::1", 8443, "2001:db8:1::2", 80)
IN_VLAN = packet("10.1.0.1", 1, "10.1.0.2", 2, (100,))
IN_TWO = packet("10.1.0.1", 1, "10.1.0.2", 2, (4095, 0))
ALL = {"up": UP, "down": DOWN, "six": SIX, "vlan": IN_VLAN, "two": IN_TWO}


@pytest.mark.parametrize(
    ("text", "matched"),
    [
        ("tcp", "up down six vlan two"),
        ("ip", "up down vlan two"),
        ("ip6", "six"),
        ("port 443", "up down"),
        ("src port 443", "down"),
        ("dst port 443", "up"),
        ("src or dst port 443", "up down"),
        ("dst or src port 443", "up down"),
        ("src and dst port 443", ""),
        ("tcp port 443", "up down"),
        ("ip6 port 443", ""),
        ("ip6 portrange 0-65535", "six"),
        ("ip src port 443", "down"),
        ("portrange 440-500", "up down"),
        ("portrange 500-440", "up down"),
        ("src portrange 40000-40000", "up"),
        ("host 10.0.0.1", "up down"),
        ("10.0.0.1", "up down"),
        ("src 10.0.0.1", "up"),
        ("ip host 10.0.0.1", "up down"),
        ("dst host 10.0.0.1", "down"),
        ("host 2001:db8::1", "six"),
        ("ip6 host 2001:db8:0::1", "six"),
        ("host 2001:db8::2", ""),
        ("net 10.0.0.0/8", "up down vlan two"),
        ("10.0.0.0/16", "up down"),
        ("src net 10.0.0.0/8", "up vlan two"),
        ("src and dst net 10.1.0.0/30", "vlan two"),
        ("net 0.0.0.0/0", "up down vlan two"),
        ("net ::/0", "six"),
        ("net 2001:db8:1::/48", "six"),
        ("src net 2001:db8:1::/48", ""),
        ("net 192.0.2.9/32", "up down"),
        ("vlan", "vlan two"),
        ("vlan 100", "vlan"),
        ("vlan 0", "two"),
        ("vlan 4095", "two"),
        ("vlan and net 10.0.0.0/8", "vlan two"),
        ("not vlan", "up down six"),
        ("!vlan", "up down six"),
        ("not not vlan", "vlan two"),
        ("! ip && !vlan", "six"),
        ("(port 443)", "up down"),
        ("((port 443) and (src port 443))", "down"),
        ("src port 443||dst port 80", "down six"),
        ("port 443 or 80", "up down six"),
        ("port 443 or 80 and src port 443 or 8443", "down six"),
        ("src 10.0.0.1 or 10.1.0.1", "up vlan two"),
        ("src 10.0.0.1 or 10.1.0.0/24", "up vlan two"),
        ("tcp dst port 443 or 80 or (40000)", "up down six"),
        # the same precedence, from the left: (port 443 or vlan) and src 10.1.0.1
        ("port 443 or vlan and src 10.1.0.1", "vlan two"),
        ("port 443 or (vlan and src 10.1.0.1)", "up down vlan two"),
        ("not port 443 and not vlan", "six"),
        ("\tport\n443 ", "up down"),
    ],
)
def test_what_matches(text: str, matched: str) -> None:
    predicate = compile_filter(text)
    assert [name for name, one in ALL.items() if predicate(one)] == matched.split()


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("", 1, "nothing to match"),
        ("  ", 1, "nothing to match"),
        ("port", 5, "port number"),
        ("port http", 6, "not looked up"),
        ("port 65536", 6, "port number"),
        ("port -1", 6, "port number"),
        ("port ²", 6, "port number"),
        ("portrange 80", 11, "portrange 8000-8010"),
        ("portrange 1-65536", 11, "range of ports"),
        ("443", 1, "write: port 443"),
        ("host example.org", 6, "not looked up"),
        ("host 10.0.0.0/8", 6, "net in place of host"),
        ("host fe80::1%eth0", 6, "zone"),
        ("net 10.0.0.0", 5, "10.0.0.0/24"),
        ("net 10", 5, "expected an address"),
        ("net 10.0.0.1/8", 5, "write: 10.0.0.0/8"),
        ("net 10.0.0.0/33", 5, "more bits"),
        ("net 10.0.0.0/255.0.0.0", 5, "number of bits"),
        ("ip host ::1", 9, "not an IPv4 address"),
        ("ip6 net 10.0.0.0/8", 9, "not an IPv6 address"),
        ("port 80 port 90", 9, "join terms with and"),
        ("port 80 and", 12, "at the end"),
        ("and port 80", 1, "at 'and'"),
        ("port 80 or or port 90", 12, "at 'or'"),
        ("(port 80", 9, "expected )"),
        ("port 80)", 8, "no parenthesis is open"),
        ("()", 2, "at ')'"),
        ("not", 4, "at the end"),
        ("vlan 4096", 6, "VLAN id (0..4095)"),
        ("vlan x", 6, "VLAN id"),
        ("src src port 1", 5, "expected an address"),
        ("src or port 1", 5, "expected an address"),
        ("udp port 53", 1, "only TCP"),
        ("ether host 02:00:00:00:00:01", 1, "link-layer"),
        ("tcp[13] & 2 != 0", 1, "bytes of headers"),
        ("port 80 & port 90", 9, "&&"),
        ("PORT 80", 1, "lower case"),
        ("port = 80", 6, "no comparisons"),
        ("host 10.0.0.1\x1b[31m", 6, "'10.0.0.1\\x1b[31m'"),
    ],
)
def test_bad_text_is_told_with_its_place(text: str, column: int, words: str) -> None:
    with pytest.raises(UsageError) as raised:
        compile_filter(text)
    message = str(raised.value)
    assert message.startswith(f"filter: column {column}: ")
    assert words in message
    assert message.isprintable()


def test_bounds() -> None:
    deep = "(" * MAX_DEPTH + "port 443" + ")" * MAX_DEPTH
    assert compile_filter(deep)(UP)
    assert compile_filter("not " * MAX_DEPTH + "port 443")(UP)
    for text in ("(" + deep + ")", "not " * (MAX_DEPTH + 1) + "port 443", "(" * 50_000):
        with pytest.raises(UsageError, match=f"more than {MAX_DEPTH} parentheses"):
            compile_filter(text)
    many = " or ".join(["port 1"] * 4000 + ["port 443"])
    assert compile_filter(many)(UP)
    with pytest.raises(UsageError, match=f"more than {MAX_TEXT}"):
        compile_filter("x" * (MAX_TEXT + 1))


def test_the_grammars_own_examples_compile() -> None:
    examples = GRAMMAR.partition("Examples:")[2].strip().splitlines()
    assert len(examples) == 3
    for example in examples:
        assert isinstance(compile_filter(example)(UP), bool)


WORDS = [
    *("tcp", "ip", "ip6", "vlan", "src", "dst", "host", "net", "port", "portrange"),
    *("and", "or", "not", "&&", "||", "!", "(", ")"),
    *("10.0.0.1", "10.0.0.0/8", "::1", "80", "1-2", "100"),
]


@settings(deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join) | st.text(max_size=60))
def test_any_text_compiles_or_is_a_usage_error(text: str) -> None:
    try:
        predicate = compile_filter(text)
    except UsageError as error:
        assert str(error).startswith("filter: column ")  # noqa: PT017 - either outcome is right
        assert str(error).isprintable()  # noqa: PT017
    else:
        assert all(predicate(one) in (True, False) for one in ALL.values())


PRIMITIVES = st.sampled_from(
    [
        *("port 1", "src port 2", "dst port 1 or 3", "portrange 2-3", "tcp port 3", "ip", "ip6", "tcp"),
        *("host 10.0.0.1", "src 10.0.0.2", "dst host 10.0.0.3", "src or dst host 10.0.0.4", "src 10.0.0.1 or 10.0.0.3"),
        *("src net 10.0.0.0/30", "src and dst net 10.0.0.0/30", "net ::/64"),
    ]
)
EXPRESSIONS = st.recursive(
    PRIMITIVES,
    lambda inner: (
        inner.map("not ({})".format)
        | inner.map("({})".format)
        | st.tuples(inner, st.sampled_from(["and", "or", "&&", "||"]), inner).map(" ".join)
    ),
    max_leaves=8,
)


@pytest.mark.skipif(shutil.which("tcpdump") is None, reason="tcpdump is not installed")
def test_tcpdump_selects_the_same_packets(tmp_path: Path) -> None:
    frames = [
        raw(IP(src=f"10.0.0.{a}", dst=f"10.0.0.{b}") / TCP(sport=sport, dport=dport))
        for a in (1, 2, 3, 4)
        for b in (1, 3, 5)
        for sport, dport in ((1, 2), (2, 3), (3, 9), (9, 1))
    ]
    frames.append(raw(IPv6(src="::1", dst="::2") / TCP(sport=1, dport=2)))
    capture = tmp_path / "all.pcap"
    records = [struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame for frame in frames]
    header = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)
    capture.write_bytes(header + b"".join(records))

    @settings(max_examples=60, deadline=None, database=None, derandomize=True)
    @given(EXPRESSIONS)
    def agree(text: str) -> None:
        chosen = subprocess.run(["tcpdump", "-nr", capture, "-w", "-", text], capture_output=True, check=False)
        never = b"expression rejects all packets" in chosen.stderr
        assert never or chosen.returncode == 0, (text, chosen.stderr)
        predicate = compile_filter(text)
        ours = b""
        for frame, record in zip(frames, records, strict=True):
            packet = parse(101, frame, len(frame))
            assert isinstance(packet, Packet)
            ours += record if predicate(packet) else b""
        assert ours == chosen.stdout[24:], text

    agree()


def test_addresses_are_compared_as_addresses() -> None:
    mapped = packet("::ffff:10.0.0.1", 1, "::1", 2)
    assert not compile_filter("host 10.0.0.1")(mapped)
    assert compile_filter("host ::ffff:10.0.0.1")(mapped)
    assert compile_filter(f"host {ip_address('2001:db8::1').exploded}")(SIX)
