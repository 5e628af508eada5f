from __future__ import annotations

import contextlib
import json
from dataclasses import fields

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rxtls.crypto.keys import Keys
from rxtls.crypto.suites import SUITES, Family, Version
from rxtls.device.profiles import PROFILES, Latency, Profile, profile
from rxtls.errors import UsageError
from sample_keys import ALL_SHAPES, sample_keys, shape_name
from tls_stream import CHACHA12, CHACHA13, GCM12, GCM13

SETTABLE = {field.name for field in fields(Profile)} - {"name", "ciphers", "versions", "commands"}
LATENCIES = {"install", "poll", "confirm"}
NUMBERS = SETTABLE - LATENCIES - {"start"}
FROM_ZERO = {"backlog", "search_after", "command_queue", "context_cache"}


def test_the_default_s_numbers() -> None:
    chosen = profile("connectx-6dx")
    assert (chosen.budget, chosen.start, chosen.search_after, chosen.auth_failures) == (64, "programmed", 0, 3)
    assert (chosen.install, chosen.poll, chosen.confirm) == (Latency(0, 0), Latency(8, 50), Latency(8, 50))
    assert (chosen.idle, chosen.max_flows, chosen.hold, chosen.hold_run) == (300, 1_048_576, 64 << 20, 128 << 20)
    assert (chosen.keys_wait, chosen.handshake) == (1024 * 1024, 256 * 1024)
    assert (chosen.max_receive_tags, chosen.context_cache) == (1_048_576, 0)
    assert chosen.commands == {"query", "confirm", "guess"}


@pytest.mark.parametrize("keys", ALL_SHAPES, ids=shape_name)
def test_which_keys_a_nic_takes(keys: Keys) -> None:
    gcm = keys.suite.family is Family.AES_GCM
    assert profile("connectx-6dx").takes(keys) is gcm
    assert profile("ideal").takes(keys) is (gcm or keys.suite.family is Family.CHACHA20_POLY1305)
    assert profile("none").takes(keys) is False


def test_what_is_taken_can_be_streamed_and_undone() -> None:
    for chosen in PROFILES.values():
        for keys in ALL_SHAPES:
            assert not chosen.takes(keys) or (keys.stream and keys.recrypt)


def test_a_profile_may_take_one_version_only() -> None:
    only = Profile("x", frozenset({Family.AES_GCM, Family.CHACHA20_POLY1305}), frozenset({Version.TLS13}))
    assert [only.takes(keys) for keys in (GCM13, CHACHA13, GCM12, CHACHA12)] == [True, True, False, False]


def test_a_cipher_that_cannot_stream_is_refused_even_where_a_profile_lists_it() -> None:
    wrong = Profile("x", frozenset(Family), frozenset(Version))
    assert not wrong.takes(sample_keys(SUITES[0xC09C], Version.TLS12))
    assert not wrong.takes(sample_keys(SUITES[0xC013], Version.TLS12))


@pytest.mark.parametrize("name", ["", "connectx", "CONNECTX-6DX", "connectx-6dx "])
def test_no_such_profile(name: str) -> None:
    with pytest.raises(UsageError, match=r"no profile .* there are connectx-6dx, connectx-7, ideal, none, and files"):
        profile(name)


@pytest.mark.parametrize("field", ["", "name", "ciphers", "versions", "commands", "Budget", "budget ", "takes"])
def test_no_such_setting(field: str) -> None:
    with pytest.raises(
        UsageError, match=r"no setting .* there are auth_failures, backlog, budget, command_queue, confirm"
    ) as caught:
        profile("ideal", {field: "1"})
    assert "ciphers," not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", sorted(NUMBERS))
def test_whole_numbers(name: str) -> None:
    for text, value in (("1", 1), ("007", 7), ("123456789012345", 123456789012345)):
        assert getattr(profile("connectx-6dx", {name: text}), name) == value
    least = 0 if name in FROM_ZERO else 1
    assert getattr(profile("connectx-6dx", {name: str(least)}), name) == least
    for text in (
        "",
        "-1",
        "+1",
        "1.0",
        "1e3",
        "0x10",
        " 1",
        "1 ",
        "1_000",
        "x",
        "\u0663",
        "\u00b2",
        "1" * 16,
        "8,50us",
    ):
        with pytest.raises(UsageError, match=f"{name} is a whole number from {least}, not"):
            profile("connectx-6dx", {name: text})
    if least:
        with pytest.raises(UsageError, match=name):
            profile("connectx-6dx", {name: "0"})


@pytest.mark.parametrize("name", sorted(LATENCIES))
def test_latencies(name: str) -> None:
    for text, value in (
        ("0,0us", Latency(0, 0)),
        ("8,200us", Latency(8, 200)),
        ("999999999,999999999999us", Latency(999_999_999, 999_999_999_999)),
    ):
        assert getattr(profile("ideal", {name: text}), name) == value
    alone = getattr(profile("ideal", {name: "12"}), name)
    assert alone.packets == 12
    assert alone.microseconds > 10 * 365 * 86_400 * 1_000_000  # no capture is as long
    bad = ["", ",", "8,", ",50us", "8,50", "8,50ms", "8,50 us", "8, 50us", "-8,50us", "8,-50us", "8.5", " 8", "8\n"]
    bad += ["1" * 10, "8," + "1" * 13 + "us", "\u0668", "8,\u0665us"]
    for text in bad:
        with pytest.raises(UsageError, match=f"^{name} is PACKETS,MICROSECONDSus .* not"):
            profile("ideal", {name: text})


def test_start() -> None:
    assert profile("ideal", {"start": "search"}).start == "search"
    assert profile("ideal", {"start": "programmed"}).start == "programmed"
    for text in ("", "Search", "searching", "0"):
        with pytest.raises(UsageError, match="start is 'programmed' or 'search', not"):
            profile("ideal", {"start": text})


def test_settings_change_what_they_name_and_nothing_else() -> None:
    chosen = profile("connectx-6dx", {"budget": "1", "poll": "3,7us"})
    assert (chosen.budget, chosen.poll) == (1, Latency(3, 7))
    for name in SETTABLE - {"budget", "poll"}:
        assert getattr(chosen, name) == getattr(PROFILES["connectx-6dx"], name)
    assert profile("connectx-6dx") is PROFILES["connectx-6dx"]


def test_one_wrong_setting_among_right_ones_is_found() -> None:
    with pytest.raises(UsageError, match="budget"):
        profile("ideal", {"idle": "5", "budget": "many"})


@pytest.mark.parametrize("name", list(PROFILES))
def test_every_field_is_printed_as_json_has_it(name: str) -> None:
    printed = profile(name).printed()
    assert set(printed) == {field.name for field in fields(Profile)}
    assert json.loads(json.dumps(printed)) == printed
    assert printed["name"] == name
    assert printed["poll"] == "8,50us"
    assert printed["ciphers"] == sorted(family.name for family in PROFILES[name].ciphers)


@pytest.mark.parametrize("name", list(PROFILES))
def test_what_is_printed_can_be_set_again(name: str) -> None:
    settings = {"install": "12", "poll": "4,9us", "budget": "7", "start": "search", "context_cache": "0"}
    chosen = profile(name, settings)
    printed = chosen.printed()
    assert profile(name, {field: str(printed[field]) for field in SETTABLE}) == chosen


@given(name=st.sampled_from(sorted(SETTABLE)), text=st.text(max_size=12))
@example(name="budget", text="\u00b9")
@example(name="poll", text="1,\u0661us")
def test_any_text_is_a_value_or_a_usage_error(name: str, text: str) -> None:
    with contextlib.suppress(UsageError):
        value = getattr(profile("connectx-6dx", {name: text}), name)
        assert text.isascii()
        assert isinstance(value, Latency) or value == text or value == int(text)
