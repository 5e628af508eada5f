"""The answer in a sentence, against sums made by hand."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxtls.study.verdict import answer, cost, many, percent, size

CLASSES = ("decrypted", "mixed", "encrypted", "failed", "unknown", "library")


def summary(*directions: tuple[str, dict[str, int], int]) -> dict[str, Any]:
    """Directions as (vantage, bytes by class, losses)."""
    return {
        "flows": [
            {
                "receive": {
                    "server": {
                        "vantage": vantage,
                        "app_bytes": 0,
                        "records": dict.fromkeys(CLASSES, 0),
                        "bytes": {**dict.fromkeys((*CLASSES, "recrypted"), 0), **octets},
                        "resync": {"lost": lost},
                    },
                    "client": None,
                }
            }
            for vantage, octets, lost in directions
        ]
    }


def test_what_was_seen_at_the_receiver_is_the_answer() -> None:
    run = summary(
        ("receiver", {"decrypted": 800, "mixed": 100, "recrypted": 40, "encrypted": 100}, 2),
        ("sender", {"decrypted": 10**9}, 0),
        ("receiver", {"library": 77}, 0),
    )
    assert answer(run) == (
        "80 % of 1.0 kB in TLS records were decrypted by the NIC; 1 direction lost sync 2 times; "
        "the host had 240 B of crypto to do, 24 % of what software alone would. "
        "It rests on what was seen at the receiver, < 0.1 % of the bytes; the other 1.0 GB were captured elsewhere, "
        "where loss may not show."
    )


def test_requests_beside_a_download_are_not_spoken_of() -> None:
    run = summary(("receiver", {"decrypted": 10_000}, 0), ("sender", {"encrypted": 50}, 0))
    assert answer(run) == (
        "100 % of 10.0 kB in TLS records were decrypted by the NIC; the host had 0 B of crypto to do, "
        "0 % of what software alone would."
    )


def test_elsewhere_is_said() -> None:
    assert answer(summary(("sender", {"decrypted": 500}, 0))) == (
        "100 % of 500 B in TLS records were decrypted by the NIC; the host had 0 B of crypto to do, "
        "0 % of what software alone would. This was captured elsewhere than at the receiver, where loss may not show."
    )


def test_nothing() -> None:
    assert answer(summary()) == "Nothing was decrypted: no record came under keys that are known."


@given(st.dictionaries(st.sampled_from(CLASSES[:4]), st.integers(0, 1 << 40)), st.integers(0, 1 << 40))
def test_costs(octets: dict[str, int], recrypted: int) -> None:
    costs = cost(Counter({**{f"bytes.{name}": n for name, n in octets.items()}, "bytes.recrypted": recrypted}))
    assert costs.total == sum(octets.values())
    assert costs.host == sum(n for name, n in octets.items() if name != "decrypted") + recrypted
    assert costs.by_nic == octets.get("decrypted", 0)


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (0, 0, "0 %"), (0, 9, "0 %"), (9, 9, "100 %"), (1, 3, "33 %"), (1, 30, "3.3 %"), (95, 100, "95.0 %"),
        (1, 10**6, "< 0.1 %"), (10**6 - 1, 10**6, "> 99.9 %"), (3, 2, "150.0 %"),
    ],
)  # fmt: skip
def test_a_share_is_never_rounded_to_all_or_nothing(part: int, whole: int, text: str) -> None:
    assert percent(part, whole) == text


@pytest.mark.parametrize(
    ("n", "text"),
    [
        (0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (99_940, "99.9 kB"), (99_960, "100 kB"), (999_499, "999 kB"),
        (999_500, "1.0 MB"), (4_005_414, "4.0 MB"), (10**13, "10.0 TB"),
    ],
)  # fmt: skip
def test_sizes(n: int, text: str) -> None:
    assert size(n) == text


def test_numbers_of_things() -> None:
    assert (many(1, "time"), many(0, "time"), many(12_345, "time")) == ("1 time", "0 times", "12,345 times")
