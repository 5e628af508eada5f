"""Preset keys: receive is enabled before any byte, and KeyUpdate is followed."""

from __future__ import annotations

import pytest

from rxtls.crypto.keys import Keys
from rxtls.crypto.records import Opener, Sealer
from rxtls.crypto.schedule import tls13_keys, tls13_next_secret
from rxtls.crypto.suites import SUITES, Version
from rxtls.handshake.library import Library, Preset
from rxtls.handshake.steps import Enable, Refuse, Rekey
from rxtls.host.sockbuf import SockBuf
from rxtls.host.worker import Session
from sample_keys import STREAMED, made_up, sample_keys
from sample_mbufs import mbuf

SUITE = SUITES[0x1302]
SECRET = made_up(48, "traffic secret")
KEYS = tls13_keys(SUITE, SECRET)
UPDATE = b"\x18\0\0\x01\0"


def test_it_enables_at_once_with_the_number_given() -> None:
    preset: Library = Preset({0: (KEYS, 7), 1: (KEYS, 0)})
    step = preset.read(0, b"\x17\x03\x03")
    assert (step.consumed, step.records, step.preamble) == (0, (), 0)
    assert step.action == Enable(KEYS, 7)
    assert preset.read(1, b"").action == Enable(KEYS, 0)


def test_there_is_nothing_to_settle_and_a_side_with_keys_always_was_enabled() -> None:
    preset: Library = Preset({1: (KEYS, 0)})
    preset.settle(1, bound=True)
    assert preset.read(1, b"").action == Enable(KEYS, 0)
    assert preset.end(1) is None
    why = preset.end(0)
    assert why is not None
    assert why.code == "no_keys"


def test_a_side_without_keys_is_refused() -> None:
    action = Preset({1: (KEYS, 0)}).read(0, b"data").action
    assert isinstance(action, Refuse)
    assert (action.code, action.fate) == ("no_keys", "byte.no_keys")


@pytest.mark.parametrize("keys", STREAMED)
def test_it_says_what_it_was_given(keys: Keys) -> None:
    preset = Preset({1: (keys, 0)})
    assert preset.suite is keys.suite
    assert preset.tls == {Version.TLS12: "1.2", Version.TLS13: "1.3"}[keys.version]
    assert (preset.handshaking, preset.resumed, preset.client_side) == (False, False, 0)
    assert (preset.sni, preset.alpn) == (None, None)


def test_no_keys_at_all() -> None:
    preset = Preset({})
    assert (preset.tls, preset.suite) == (None, None)
    assert isinstance(preset.read(0, b"").action, Refuse)


def test_key_update_gives_the_next_generation_of_its_own_side() -> None:
    preset = Preset({0: (KEYS, 0), 1: (KEYS, 0)}, {0: SECRET, 1: SECRET})
    once = tls13_next_secret(SUITE, SECRET)
    twice = tls13_next_secret(SUITE, once)
    assert preset.record(0, 22, UPDATE) == Rekey(tls13_keys(SUITE, once), 0)
    assert preset.record(0, 22, UPDATE) == Rekey(tls13_keys(SUITE, twice), 0)
    assert preset.record(1, 22, UPDATE) == Rekey(tls13_keys(SUITE, once), 0)
    assert preset.resume(0) is None


@pytest.mark.parametrize(
    ("record_type", "payload"),
    [(23, UPDATE), (21, b"\x01\x00"), (22, b""), (22, b"\x04\0\0\x01\0"), (20, b"\x01")],
)
def test_other_records_change_nothing(record_type: int, payload: bytes) -> None:
    preset = Preset({0: (KEYS, 0)}, {0: SECRET})
    assert preset.record(0, record_type, payload) is None
    assert preset.record(0, 22, UPDATE) == Rekey(tls13_keys(SUITE, tls13_next_secret(SUITE, SECRET)), 0)


def test_without_a_secret_there_is_no_next_generation() -> None:
    assert Preset({0: (KEYS, 0)}).record(0, 22, UPDATE) is None
    assert Preset({0: (KEYS, 0)}, {1: SECRET}).record(0, 22, UPDATE) is None


def test_a_stream_over_two_key_updates() -> None:
    """Sealed generation after generation, read with what the preset answers."""
    preset = Preset({0: (KEYS, 3)}, {0: SECRET})
    secret, wire, number = SECRET, b"", 3
    for generation in range(3):
        sealer = Sealer(tls13_keys(SUITE, secret))
        wire += sealer.seal(number, 23, f"generation {generation}".encode())
        wire += sealer.seal(number + 1, 22, UPDATE)
        secret, number = tls13_next_secret(SUITE, secret), 0
    action = preset.read(0, wire).action
    assert isinstance(action, Enable)
    session, sockbuf = Session(action.keys, action.number), SockBuf()
    sockbuf.enable()
    sockbuf.append(mbuf(0, wire))
    seen: list[tuple[int, bytes]] = []
    while (outcome := session.step(sockbuf)) is not None:
        assert outcome.opened is not None
        if outcome.opened.type == 23:
            seen.append((outcome.number, outcome.opened.payload))
        else:
            rekey = preset.record(0, outcome.opened.type, outcome.opened.payload)
            assert isinstance(rekey, Rekey)
            session.rekey(rekey.keys, rekey.number)
    assert seen == [(3, b"generation 0"), (0, b"generation 1"), (0, b"generation 2")]
    assert sockbuf.ccc == 0


def test_it_searches_for_nothing_behind_a_hole() -> None:
    assert not Preset(None).cut(0)


def test_nothing_secret_in_repr() -> None:
    preset = Preset({0: (KEYS, 0)}, {0: SECRET})
    shown = repr(preset) + repr(preset.read(0, b"")) + repr(preset.record(0, 22, UPDATE))
    for secret in (SECRET, KEYS.key, KEYS.iv):
        assert repr(secret)[2:-1] not in shown
        assert secret.hex() not in shown


def test_tls_11_has_a_name() -> None:
    keys = sample_keys(SUITES[0x002F], Version.TLS11)
    assert Preset({0: (keys, 0)}).tls == "1.1"
    assert Opener(keys).open(0, Sealer(keys).seal(0, 23, b"x")).payload == b"x"
