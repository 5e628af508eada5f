from __future__ import annotations

from typing import NamedTuple, get_args

import pytest

from rxtls.crypto.keys import Keys
from rxtls.offload import commands
from rxtls.offload.commands import (
    Auth,
    Command,
    Confirm,
    DeviceEvent,
    Guess,
    Happening,
    Install,
    Progress,
    Query,
    Report,
    SetPosition,
    Tracker,
)
from sample_keys import shape_name
from tls_stream import ENGINE_KEYS

VALUES = (
    Install(1, 0, ENGINE_KEYS[0], 5, 1_000),
    Query(1),
    Confirm(1, 1_000, 5),
    SetPosition(1, 1_000, 5),
    Progress(1, 2, 3, Tracker.TRACKING, Auth.OFFLOAD, 4),
    Guess(1, 1_000, 990, 100),
    Report(1_000, 122, 5),
    DeviceEvent(Happening.LOST, 1, 2, 3),
)


def test_the_states_have_the_hardware_s_numbers() -> None:
    assert {state.name: int(state) for state in Tracker} == {"START": 0, "TRACKING": 1, "SEARCHING": 2}
    assert {state.name: int(state) for state in Auth} == {"NO_OFFLOAD": 0, "OFFLOAD": 1, "AUTHENTICATION": 2}


def test_what_a_policy_may_post() -> None:
    assert set(get_args(Command)) == {Query, Confirm, SetPosition}


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_they_are_values(value: NamedTuple) -> None:
    again = type(value)._make(value)
    assert again == value
    assert hash(again) == hash(value)
    with pytest.raises(AttributeError):
        setattr(value, value._fields[0], 9)


@pytest.mark.parametrize("keys", ENGINE_KEYS, ids=shape_name)
def test_no_key_is_in_an_install_s_repr(keys: Keys) -> None:
    shown = repr(Install(1, 0, keys, 5, 1_000))
    for secret in (keys.key, keys.iv):
        assert secret.hex() not in shown
        assert repr(secret)[2:-1] not in shown


def test_names_of_happenings_are_printable_words() -> None:
    assert all(happening.value.replace("_", "").isalpha() and happening.value.islower() for happening in Happening)
    assert len({happening.value for happening in Happening}) == len(Happening)


def test_the_page_names_every_value() -> None:
    page = commands.__doc__ or ""
    assert [type(value).__name__ for value in VALUES if type(value).__name__ not in page] == []
