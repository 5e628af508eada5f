"""The checksum arithmetic against RFC 1071's own words, and against scapy."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, in4_chksum
from scapy.layers.inet6 import IPv6, in6_chksum

from rxtls.wire.checksum import MODULUS, pseudo_header, remainder


def words_added_up(data: bytes) -> int:
    """RFC 1071 section 1, step by step: add 16-bit words, carry around."""
    if len(data) % 2:
        data += b"\0"
    total = 0
    for (word,) in struct.iter_unpack("!H", data):
        total += word
        total = (total & 0xFFFF) + (total >> 16)
    return total


def test_the_example_of_rfc_1071() -> None:
    # Section 3: the words 0001 f203 f4f5 f6f7 add up to ddf2.
    assert remainder(bytes.fromhex("0001f203f4f5f6f7"), 0, 8) == 0xDDF2


@given(
    st.binary(max_size=40),
    st.binary(min_size=1, max_size=11).map(lambda piece: piece * 150),
    st.integers(0, 3),
    st.integers(0, 9),
)
def test_the_remainder_is_the_sum_of_words(head: bytes, long: bytes, start: int, short_by: int) -> None:
    for data in (head, head + long):
        begin = min(start, len(data))
        end = max(begin, len(data) - short_by)
        assert remainder(data, begin, end) == words_added_up(data[begin:end]) % MODULUS


@pytest.mark.parametrize("length", [0, 1, 2, 3, 698, 699, 700, 701, 702, 703, 704, 65535, 524_280])
@pytest.mark.parametrize("byte", [0x00, 0x01, 0xFF])
def test_the_edges_of_both_ways_to_add(length: int, byte: int) -> None:
    data = b"\xa5" * 3 + bytes([byte]) * length + b"\x5a" * 3
    assert remainder(data, 3, 3 + length) == words_added_up(data[3 : 3 + length]) % MODULUS


@given(st.binary(min_size=4, max_size=4), st.binary(min_size=4, max_size=4), st.binary(min_size=20, max_size=2000))
def test_ipv4_checksums_are_those_of_scapy(src: bytes, dst: bytes, segment: bytes) -> None:
    packet = IP(src=".".join(map(str, src)), dst=".".join(map(str, dst)), proto=6)
    theirs = in4_chksum(6, packet, segment)
    ours = MODULUS - (pseudo_header(src, dst, len(segment)) + remainder(segment, 0, len(segment))) % MODULUS
    assert theirs % MODULUS == ours % MODULUS


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16), st.binary(min_size=20, max_size=2000))
def test_ipv6_checksums_are_those_of_scapy(src: bytes, dst: bytes, segment: bytes) -> None:
    packet = IPv6(src=src.hex(":", 2), dst=dst.hex(":", 2), nh=6)
    theirs = in6_chksum(6, packet, segment)  # type: ignore[no-untyped-call]
    ours = MODULUS - (pseudo_header(src, dst, len(segment)) + remainder(segment, 0, len(segment))) % MODULUS
    assert theirs % MODULUS == ours % MODULUS


def test_a_pseudo_header_sum_is_never_zero() -> None:
    # 0xfff9 + 6 + 0 is the ones'-complement zero that Linux would write as 0xffff.
    assert pseudo_header(bytes(4), b"\0\0\xff\xf9", 0) == 0xFFFF
    assert pseudo_header(bytes(4), bytes(4), 20) == 26
    assert pseudo_header(bytes(16), bytes(16), 0x2_0000) == 8  # lengths beyond 16 bits fold (RFC 2675 section 4)
