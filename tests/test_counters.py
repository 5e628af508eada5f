"""The ledger can be wrong: its balance is a check that fails when something disappears or is counted twice."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rxtls.counters import FATES, KINDS, Ledger
from rxtls.events import RecordClass

COUNTS = st.lists(st.tuples(st.sampled_from(sorted(FATES)), st.integers(0, 1000)), max_size=30)


@settings(max_examples=40, deadline=None)
@given(COUNTS)
def test_balanced_when_each_thing_ends_once(counts: list[tuple[str, int]]) -> None:
    ledger = Ledger()
    for name, n in counts:
        ledger.enter(name.partition(".")[0], n)
        ledger.fate(name, n)
    assert ledger.balance() == 0
    assert sum(ledger.fates.values()) == sum(n for _, n in counts)


@settings(max_examples=40, deadline=None)
@given(COUNTS, st.sampled_from(sorted(FATES)), st.integers(1, 99))
def test_a_loss_in_one_kind_is_not_made_up_by_another(counts: list[tuple[str, int]], name: str, n: int) -> None:
    ledger = Ledger()
    for each, m in counts:
        ledger.enter(each.partition(".")[0], m)
        ledger.fate(each, m)
    kind = name.partition(".")[0]
    ledger.enter(kind, n)
    assert ledger.balance() == n
    wrong = next(fate for fate in FATES if not fate.startswith(kind))
    ledger.fate(wrong, n)
    assert ledger.balance() == 2 * n


@settings(max_examples=40, deadline=None)
@given(COUNTS, COUNTS)
def test_ledgers_add_up(first: list[tuple[str, int]], second: list[tuple[str, int]]) -> None:
    def kept(counts: list[tuple[str, int]]) -> Ledger:
        ledger = Ledger()
        for name, n in counts:
            ledger.enter(name.partition(".")[0], n + 1)
            ledger.fate(name, n)
        return ledger

    merged, whole = kept(first), kept(first + second)
    other = kept(second)
    merged.merge(other)
    assert (merged.fates, merged.entered) == (whole.fates, whole.entered)
    assert merged.balance() == len(first) + len(second)
    assert other.fates == kept(second).fates


@pytest.mark.parametrize("name", ["byte.lost", "record", "", "frames.segment"])
def test_unknown_fates_are_refused(name: str) -> None:
    ledger = Ledger()
    with pytest.raises(KeyError, match="no such fate"):
        ledger.fate(name)
    assert not ledger.fates


def test_nothing_is_no_entry() -> None:
    ledger = Ledger()
    ledger.fate("byte.record", 0)
    assert dict(ledger.fates) == {}


@pytest.mark.parametrize("name", FATES)
def test_each_fate_is_of_a_kind_and_has_a_sentence(name: str) -> None:
    kind, _, what = name.partition(".")
    assert kind in KINDS
    assert what.replace("_", "").isalnum()
    assert what == what.lower()
    sentence = FATES[name]
    assert sentence[0].isupper()
    assert sentence.endswith((".", ")."))


def test_sentences_tell_fates_apart() -> None:
    assert len(set(FATES.values())) == len(FATES)


def test_each_class_of_records_is_a_fate() -> None:
    assert {f"record.{each}" for each in RecordClass} == {name for name in FATES if name.startswith("record.")}
