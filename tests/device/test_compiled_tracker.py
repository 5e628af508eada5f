from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxtls.crypto.compiled.key_table import KeyTable
from rxtls.crypto.keys import RECORD_HEADER, Keys
from rxtls.device.compiled import tracker
from rxtls.device.compiled.columns import Context, Waiting, as_context
from rxtls.device.compiled.nic import CompiledNic
from rxtls.device.profiles import PROFILES
from rxtls.device.tracker import TRANSITIONS, HeaderPattern, TrackerEvent
from rxtls.native import Array, Table, kernel, pairs32
from rxtls.offload.commands import Auth, Install
from rxtls.offload.compiled.arena import Arena
from sample_keys import shape_name
from tls_stream import ENGINE_KEYS


@kernel
def _find(contexts: Table, source: int, length: int, start: int) -> int:
    return tracker.find(contexts, as_context(0), source, length, start)


@kernel
def _total(contexts: Table, header: int) -> int:
    return tracker.total_of(contexts, as_context(0), header)


@kernel
def _fire(contexts: Table, event: int) -> int:
    tracker.fire(contexts, as_context(0), event)
    return tracker.bound(contexts, as_context(0))


@kernel
def _pairs32(address: int, value: int) -> int:
    return pairs32(address, value)


def contexts_for(keys: Keys) -> Array:
    """A context's row, as an install makes it."""
    nic = CompiledNic(PROFILES["ideal"], Arena(), KeyTable())
    nic.post(0, Install(1, 0, keys, 0, 0))
    context = int(nic._commands[nic._commands[:, Waiting.CONTEXT] >= 0][0, Waiting.CONTEXT])
    return nic._contexts[context : context + 1].copy()


_CONTEXTS = {keys: contexts_for(keys) for keys in ENGINE_KEYS}

# Bytes in which headers are likely, whole and in part.
_parts = st.one_of(
    st.sampled_from((b"\x17\x03\x03", b"\x16\x03\x03\x00\x40", b"\x03", b"\x03\x03\x03\x03", b"\x17\x03\x03\x01\x00")),
    st.binary(max_size=6),
    st.integers(0, 40).map(bytes),
)
_haystacks = st.lists(_parts, max_size=20).map(b"".join)


@given(st.sampled_from(ENGINE_KEYS), _haystacks, st.integers(0, 80))
def test_the_first_plausible_header_is_found_where_the_plain_one_finds_it(keys: Keys, data: bytes, start: int) -> None:
    beyond = data + b"\x17\x03\x03\x00\x40" * 9  # not to be looked at
    buffer = np.frombuffer(beyond, np.uint8)
    expected = HeaderPattern(keys).find(data, start)
    assert _find(_CONTEXTS[keys], buffer.ctypes.data, len(data), start) == expected


@pytest.mark.parametrize("keys", ENGINE_KEYS, ids=shape_name)
def test_a_header_is_found_at_every_offset(keys: Keys) -> None:
    header = b"\x17\x03\x03\x00\x40"
    for length in range(RECORD_HEADER, 120):
        for at in range(length - RECORD_HEADER + 1):
            data = b"\xff" * at + header + b"\xff" * (length - at - RECORD_HEADER)
            buffer = np.frombuffer(data, np.uint8)
            assert _find(_CONTEXTS[keys], buffer.ctypes.data, length, 0) == at
            assert _find(_CONTEXTS[keys], buffer.ctypes.data, length, at + 1) == -1


@given(
    st.sampled_from(ENGINE_KEYS), st.integers(19, 26), st.integers(0, 65_535), st.sampled_from((0x0303, 0x0304, 0x0403))
)
def test_totals_are_the_plain_ones(keys: Keys, kind: int, length: int, version: int) -> None:
    header = bytes([kind]) + version.to_bytes(2) + length.to_bytes(2)
    buffer = np.frombuffer(header, np.uint8)
    assert _total(_CONTEXTS[keys], buffer.ctypes.data) == HeaderPattern(keys).total(header)


@pytest.mark.parametrize("keys", ENGINE_KEYS, ids=shape_name)
def test_totals_at_the_bounds(keys: Keys) -> None:
    for total in (keys.min_total - 1, keys.min_total, keys.max_total, keys.max_total + 1):
        header = b"\x17\x03\x03" + (total - RECORD_HEADER).to_bytes(2)
        buffer = np.frombuffer(header, np.uint8)
        expected = total if keys.min_total <= total <= keys.max_total else 0
        assert _total(_CONTEXTS[keys], buffer.ctypes.data) == expected


def test_every_transition_of_the_table_and_no_other() -> None:
    contexts = contexts_for(ENGINE_KEYS[0])
    taken = 0
    for state, row in TRANSITIONS.items():
        for number, event in enumerate(TrackerEvent):
            contexts[0, Context.STATE] = tracker.STATES.index(state)
            if event in row:
                assert _fire(contexts, number) == (row[event][1] is not Auth.NO_OFFLOAD)
                assert tracker.STATES[contexts[0, Context.STATE]] == row[event]
                taken += 1
            else:
                assert tracker._NEXT[tracker.STATES.index(state), number] == -1
    assert taken == sum(len(row) for row in TRANSITIONS.values())


@given(st.lists(st.sampled_from((2, 3, 3, 3, 7)), min_size=33, max_size=33))
def test_pairs_are_where_two_bytes_follow_each_other(values: list[int]) -> None:
    buffer = np.array(values, np.uint8)
    expected = sum(1 << n for n in range(32) if values[n] == values[n + 1] == 3)
    assert _pairs32(buffer.ctypes.data, 3) == expected
