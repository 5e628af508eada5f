"""Frames as scapy reads them: every field comes back, and scapy computes the same checksums."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether

from rxtls.wire.packets import Address, Headers, syn_options, timestamps

V4 = Address("192.0.2.1", 40000), Address("198.51.100.7", 443)
V6 = Address("2001:db8::1", 40000), Address("2001:db8::7", 443)


@given(
    family=st.sampled_from((V4, V6)),
    payload=st.binary(max_size=70),
    sequence=st.integers(0, 2**33),
    vlans=st.sampled_from(((), (7,), (100, 200))),
    options=st.sampled_from((b"", timestamps(5, 6), syn_options(1448, 7, timestamps(1, 0)))),
    window=st.integers(0, 65535),
)
def test_scapy_reads_the_same_fields_and_computes_the_same_checksums(
    family: tuple[Address, Address],
    payload: bytes,
    sequence: int,
    vlans: tuple[int, ...],
    options: bytes,
    window: int,
) -> None:
    source, target = family
    frame = Headers(source, target, vlans).frame(sequence, 9, 0x18, window, payload, options)
    parsed = Ether(frame)
    layer = IPv6 if family is V6 else IP
    assert (parsed[layer].src, parsed[layer].dst) == (source.ip, target.ip)
    tcp = parsed[TCP]
    assert (tcp.sport, tcp.dport, tcp.seq, tcp.ack) == (source.port, target.port, sequence & 0xFFFFFFFF, 9)
    assert (int(tcp.flags), tcp.window, bytes(tcp.payload)) == (0x18, window, payload)
    assert [level.vlan for level in (parsed.getlayer(Dot1AD), parsed.getlayer(Dot1Q)) if level] == list(vlans)
    again = parsed.copy()
    del again[TCP].chksum
    if layer is IP:
        del again[IP].chksum
    assert bytes(again) == frame


@given(word=st.integers(0, 0xFFFF))
def test_a_sum_of_zero_is_sent_as_other_systems_send_it(word: int) -> None:
    # Over all values of one word the sum meets 0 and 0xFFFF, the two forms of zero in ones' complement (RFC 1071).
    frame = Headers(*V4).frame(0, 0, 0x10, 0, word.to_bytes(2))
    again = Ether(frame)
    del again[TCP].chksum
    assert bytes(again) == frame


def test_identifications_count_up() -> None:
    headers = Headers(*V4)
    idents = [Ether(headers.frame(0, 0, 0x10, 0, b""))[IP].id for _ in range(3)]
    assert idents == [1, 2, 3]


def test_addresses_of_two_families_are_refused() -> None:
    with pytest.raises(ValueError, match="different families"):
        Headers(V4[0], V6[0])
