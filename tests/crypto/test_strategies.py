"""All ways to open a mixed record give the same plaintext, refuse the same records, and cost what they say."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxtls.crypto.keys import Keys
from rxtls.crypto.records import Opener, Sealer
from rxtls.crypto.strategies import STRATEGIES, Cost
from rxtls.crypto.stream import StreamOpener
from rxtls.crypto.suites import SUITES, Family, Version
from rxtls.errors import RecordError
from sample_keys import NUMBERS, STREAMED, made_up, sample_keys

GCM = [keys for keys in STREAMED if keys.suite.family is Family.AES_GCM]


def mixed(
    keys: Keys, number: int, payload: bytes, cuts: list[int], first: bool
) -> tuple[bytes, list[tuple[bytes, bool]], bytes]:
    """Header, spans and AEAD tag of a record that a NIC has decrypted between every other pair of cuts."""
    wire = Sealer(keys).seal(number, 23, payload)
    start, end = keys.header_length, len(wire) - keys.aead_tag_length
    plain = StreamOpener(keys, number, wire[:start]).update(wire[start:end])
    edges = sorted({0, end - start, *(cut % (end - start + 1) for cut in cuts)})
    spans, decrypted = [], first
    for a, b in itertools.pairwise(edges):
        spans.append(((plain if decrypted else wire[start:end])[a:b], decrypted))
        decrypted = not decrypted
    return wire[:start], spans, wire[end:]


@given(
    keys=st.sampled_from(GCM),
    number=NUMBERS,
    size=st.one_of(st.sampled_from([0, 1, 15, 16, 17]), st.integers(0, 3000)),
    cuts=st.lists(st.integers(0, 3000), max_size=6),
    first=st.booleans(),
)
def test_the_plaintext_is_that_of_software(keys: Keys, number: int, size: int, cuts: list[int], first: bool) -> None:
    payload = made_up(size, "strategies")
    header, spans, aead_tag = mixed(keys, number, payload, cuts, first)
    inner = payload + (b"\x17" if keys.tls13 else b"")
    n = len(inner)
    marked = sum(len(piece) for piece, decrypted in spans if decrypted)
    for name, strategy in STRATEGIES.items():
        found = strategy(keys, number, header, spans, aead_tag)
        assert found.plaintext == inner, name
        cost = found.cost
        assert cost.ghash == n
        assert cost.aes == {"landed": 2 * n, "zero_block": n + marked, "split": n}.get(name, cost.aes)
        assert n <= cost.aes <= 2 * n
    assert STRATEGIES["split"](keys, number, header, spans, aead_tag).cost == Cost(n, n, marked)


@pytest.mark.parametrize("keys", GCM)
@pytest.mark.parametrize("name", STRATEGIES)
def test_what_does_not_authenticate_is_refused(keys: Keys, name: str) -> None:
    header, spans, aead_tag = mixed(keys, 7, made_up(500, "x"), [100, 300], True)
    strategy = STRATEGIES[name]
    strategy(keys, 7, header, spans, aead_tag)
    spoilt = [(bytes([spans[1][0][0] ^ 1]) + spans[1][0][1:], spans[1][1])]
    for bad in (
        (keys, 7, header, spans, bytes([aead_tag[0] ^ 1]) + aead_tag[1:]),
        (keys, 7, header, [spans[0], *spoilt, *spans[2:]], aead_tag),
        (keys, 7, header[:1] + b"\x03\x01" + header[3:], spans, aead_tag),
    ):
        with pytest.raises(RecordError, match="EBADMSG"):
            strategy(*bad)


def test_only_aes_gcm_has_a_counter_to_start_anywhere() -> None:
    keys = sample_keys(SUITES[0x1303], Version.TLS13)
    with pytest.raises(ValueError, match="not AES-GCM"):
        STRATEGIES["landed"](keys, 0, b"\x17\x03\x03\x00\x40", [(bytes(20), True)], bytes(16))


def test_the_worker_s_way_is_one_of_them() -> None:
    from rxtls.crypto.recrypt import recrypt

    keys = GCM[0]
    header, spans, aead_tag = mixed(keys, 3, made_up(2000, "w"), [500, 900, 1200], False)
    wire = recrypt(keys, 3, header, spans)
    payload = Opener(keys).open(3, header + wire + aead_tag).payload
    assert STRATEGIES["one_span"](keys, 3, header, spans, aead_tag).plaintext[: len(payload)] == payload


def test_no_plaintext_in_a_repr() -> None:
    header, spans, aead_tag = mixed(GCM[0], 3, b"tell nobody" * 20, [5], False)
    assert "nobody" not in repr(STRATEGIES["split"](GCM[0], 3, header, spans, aead_tag))
