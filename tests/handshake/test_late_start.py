"""Streams without beginning, by themselves: which records are tried, in which order, and when nobody is believed."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rxtls.crypto.records import Sealer
from rxtls.crypto.schedule import HASH_LENGTH, tls13_keys
from rxtls.crypto.suites import SUITES, TLS13_SUITES, Suite, Version
from rxtls.handshake.exchange import Role
from rxtls.handshake.late_start import Kept, Secret, before_tls13, chain, find12, find13
from rxtls.handshake.library import generation
from rxtls.handshake.search_budget import Work
from sample_keys import sample_keys


def secrets(suite: Suite, count: int, seed: int = 0) -> list[Secret]:
    dice = Random(seed)
    size = HASH_LENGTH[suite.prf_hash]
    return [Secret(dice.randbytes(32), Role(n % 2), dice.randbytes(size)) for n in range(count)]


def stream(suite: Suite, secret: Secret, number: int, lengths: list[int], seed: int = 0) -> bytes:
    dice, sealer = Random(seed), Sealer(tls13_keys(suite, secret.secret))
    return b"".join(sealer.seal(number + n, 23, dice.randbytes(length)) for n, length in enumerate(lengths))


LENGTHS = st.lists(st.integers(0, 2000), min_size=1, max_size=12)


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(TLS13_SUITES), st.integers(0, 9), st.integers(0, 900), LENGTHS, st.binary(max_size=300),
    st.integers(0, 30), st.booleans(),
)  # fmt: skip
def test_the_session_is_found(
    suite: Suite, which: int, number: int, lengths: list[int], before: bytes, cut: int, known: bool
) -> None:
    """Whatever stands before the first whole record, and however the last one is cut."""
    candidates = secrets(suite, 10)
    sealed = stream(suite, candidates[which], number, lengths)
    data = before + sealed[: max(len(sealed) - cut, 1)]
    work = Work()
    start = find13(data, candidates, suite if known else None, work)
    places = chain(data, Work())
    if not places:
        assert start is None
        return
    if suite.name.endswith("CCM_8_SHA256") and len(places) < 2:
        assert start is None, "8 bytes alone say too little"
        return
    assert start is not None
    assert start.whose == candidates[which]
    assert start.keys.suite is suite
    at = len(before)
    numbers = {}
    for n, length in enumerate(lengths):
        numbers[at] = number + n
        at += length + 5 + 1 + start.keys.aead_tag_length
    assert start.number == numbers[start.offset]
    assert 0 < work.spent <= work.budget


@pytest.mark.parametrize("other", TLS13_SUITES, ids=lambda suite: suite.name)
def test_only_the_suite_that_is_known_is_tried(other: Suite) -> None:
    suite = SUITES[0x1301]
    candidates = secrets(suite, 3)
    found = find13(stream(suite, candidates[1], 5, [100] * 5), candidates, other, Work())
    assert (found is not None) is (other == suite)


@pytest.mark.parametrize("suite", TLS13_SUITES, ids=lambda suite: suite.name)
def test_nothing_is_found_with_the_secrets_of_others(suite: Suite) -> None:
    stranger = secrets(suite, 1, seed=9)[0]
    work = Work(20_000)
    assert find13(stream(suite, stranger, 3, [100] * 5), secrets(suite, 10), None, work) is None
    assert work.spent > 10 * 30


def test_a_number_that_no_connection_reaches_is_not_believed() -> None:
    suite = SUITES[0x1301]
    candidates = secrets(suite, 1)
    for number, believed in ((1 << 47, True), (1 << 50, False)):
        data = stream(suite, candidates[0], number, [50, 60])
        assert (find13(data, candidates, suite, Work(5000)) is not None) is believed


def test_forged_headers_cost_work_and_yield_nothing() -> None:
    dice = Random(1)
    junk = b"".join(b"\x17\x03\x03" + n.to_bytes(2) + dice.randbytes(n) for n in range(17, 300))
    work = Work(50_000)
    assert find13(junk, secrets(SUITES[0x1301], 50), None, work) is None
    assert work.left <= 0


def test_older_versions_show() -> None:
    body = bytes(30)
    new = b"".join(b"\x17\x03\x03\x00\x1e" + bytes([n * 37]) * 8 + body[8:] for n in range(4))
    counted = b"".join(b"\x17\x03\x03\x00\x1e" + (7 + n).to_bytes(8) + body[8:] for n in range(4))
    alert = new + b"\x15\x03\x03\x00\x1e" + body
    tls11 = new.replace(b"\x17\x03\x03", b"\x17\x03\x02")
    assert [before_tls13(data, Work()) for data in (new, counted, alert, tls11)] == [False, True, True, True]


@pytest.mark.parametrize("suite", TLS13_SUITES[:3])
@pytest.mark.parametrize("before", [0, 1])
def test_a_stream_is_read_from_before_a_key_update_in_it(suite: Suite, before: int) -> None:
    """Also where the records that are tried first are all behind it."""
    whose = secrets(suite, 3)[1]
    older = stream(suite, whose._replace(secret=generation(suite, whose.secret, before)), 700, [900] * 5)
    newer = stream(suite, whose._replace(secret=generation(suite, whose.secret, before + 1)), 0, [20] * 5 + [30] * 20)
    start = find13(b"\x17\x03\x03\x00\x40" + bytes(64) + older + newer, secrets(suite, 3), None, Work(10_000_000))
    assert start is not None
    assert (start.offset, start.number, start.whose) == (69, 700, whose)
    assert start.secret == generation(suite, whose.secret, before)


def test_keys_are_kept_for_the_next_stream_and_spare_no_work() -> None:
    suite = SUITES[0x1301]
    candidates = secrets(suite, 50)
    kept: Kept = {}
    spent = []
    for n in (3, 40):
        work = Work()
        start = find13(stream(suite, candidates[n], 9, [50] * 4), candidates, None, work, kept)
        assert start is not None
        assert start.whose == candidates[n]
        assert kept[suite.code, candidates[0].secret] == tls13_keys(suite, candidates[0].secret)
        alone = Work()
        find13(stream(suite, candidates[n], 9, [50] * 4), candidates, None, alone)
        assert work.spent == alone.spent
        spent.append(len(kept))
    assert spent[0] < spent[1] <= 150


def test_a_renegotiation_in_the_stream_does_not_hide_the_keys_before_it() -> None:
    """Its ChangeCipherSpec is under the keys that it ends, so that it is longer than one byte."""
    old, new = (sample_keys(SUITES[0xC02F], Version.TLS12, label=label) for label in ("old", "new"))
    first, second = Sealer(old), Sealer(new)
    before = b"\x14\x03\x03\x00\x01\x01" + first.seal(0, 22, b"\x14\x00\x00\x0c" + bytes(12))
    data = b"".join(first.seal(n, 23, bytes(300)) for n in range(1, 6)) + first.seal(6, 20, b"\1")
    data += second.seal(0, 22, bytes(16)) + b"".join(second.seal(n, 23, bytes(9)) for n in range(1, 40))
    start = find12(before + data, [old], Work())
    assert start is not None
    assert (start.number, start.offset) == (1, len(before))
    behind = find12(data, [old], Work())
    assert behind is not None
    assert (behind.number, behind.offset) == (1, 0)


def test_before_tls13_early_records_are_tried_as_numbers_are_few() -> None:
    keys = sample_keys(SUITES[0xC02F], Version.TLS12)
    sealer = Sealer(keys)
    data = b"".join(sealer.seal(n, 23, bytes(60 - (n == 600))) for n in range(5, 900))
    start = find12(data, [keys], Work())
    assert start is not None
    assert (start.number, start.offset) == (5, 0)
