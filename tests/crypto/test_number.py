"""A record under AES-GCM in TLS 1.3 tells its number to whoever has the key, and to nobody else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxtls.crypto.number import tells_number, told_number
from rxtls.crypto.records import Sealer
from rxtls.crypto.schedule import HASH_LENGTH, tls13_keys
from rxtls.crypto.suites import SUITES, TLS13_SUITES, Version
from sample_keys import sample_keys

GCM = [suite for suite in TLS13_SUITES if "GCM" in suite.name]


@given(
    st.sampled_from(GCM), st.binary(min_size=48, max_size=48), st.integers(0, 2**64 - 1), st.binary(max_size=200),
    st.integers(0, 20),
)  # fmt: skip
def test_the_number_is_told(suite: object, secret: bytes, number: int, payload: bytes, padding: int) -> None:
    assert suite in GCM
    chosen = GCM[GCM.index(suite)]
    keys = tls13_keys(chosen, secret[: HASH_LENGTH[chosen.prf_hash]])
    assert tells_number(keys)
    record = Sealer(keys).seal(number, 23, payload, padding)
    assert told_number(keys, record) == number
    assert told_number(keys, memoryview(record)) == number


@given(st.integers(0, 200), st.integers(1, 255))
def test_of_a_damaged_record_or_another_key_nothing_is(at: int, flip: int) -> None:
    keys, other = (tls13_keys(SUITES[0x1301], bytes([n]) * 32) for n in (1, 2))
    record = bytearray(Sealer(keys).seal(7, 23, bytes(300)))
    assert told_number(other, record) is None
    record[at] ^= flip
    assert told_number(keys, record) is None


@pytest.mark.parametrize("suite", TLS13_SUITES, ids=lambda suite: suite.name)
def test_which_suites_tell(suite: object) -> None:
    chosen = TLS13_SUITES[TLS13_SUITES.index(suite)]
    assert tells_number(tls13_keys(chosen, bytes(HASH_LENGTH[chosen.prf_hash]))) is ("GCM" in chosen.name)


def test_before_tls_13_the_nonce_is_not_the_number() -> None:
    assert not tells_number(sample_keys(SUITES[0xC02F], Version.TLS12))
