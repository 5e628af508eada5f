from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxtls.crypto.keys import Keys
from rxtls.crypto.records import Sealer
from rxtls.device import tracker
from rxtls.device.tracker import (
    BOUND,
    IDLE,
    OFFLOADING,
    SEARCHING,
    TRACKING,
    TRANSITIONS,
    HeaderPattern,
    State,
    TrackerEvent,
)
from rxtls.offload.commands import Auth, Tracker
from tls_stream import CHACHA12, CHACHA13, ENGINE_KEYS, GCM12, GCM13, context_for

E = TrackerEvent

# What the specification says, written down a second time: anything not in here must be refused.
LEGAL: set[tuple[State, TrackerEvent, State]] = {
    (IDLE, E.BIND, BOUND),
    (IDLE, E.SCAN, SEARCHING),
    (SEARCHING, E.ANCHOR, TRACKING),
    (SEARCHING, E.BIND, BOUND),
    (TRACKING, E.MISMATCH, SEARCHING),
    (TRACKING, E.LOSE, SEARCHING),
    (TRACKING, E.CONFIRM, BOUND),
    (TRACKING, E.BIND, BOUND),
    (BOUND, E.VERIFY, OFFLOADING),
    (BOUND, E.MISMATCH, SEARCHING),
    (BOUND, E.LOSE, SEARCHING),
    (BOUND, E.STOP, IDLE),
    (OFFLOADING, E.VERIFY, OFFLOADING),
    (OFFLOADING, E.MISMATCH, SEARCHING),
    (OFFLOADING, E.LOSE, SEARCHING),
    (OFFLOADING, E.STOP, IDLE),
}


@pytest.mark.parametrize("event", TrackerEvent)
@pytest.mark.parametrize("state", list(TRANSITIONS))
def test_every_state_takes_or_refuses_every_event(state: State, event: TrackerEvent) -> None:
    context = context_for(GCM13)
    context.state = state
    after = [to for at, happened, to in LEGAL if (at, happened) == (state, event)]
    if after:
        context.fire(event)
        assert [context.state] == after
        return
    with pytest.raises(KeyError):
        context.fire(event)
    assert context.state == state


def test_the_table_is_closed_and_nothing_in_it_is_out_of_reach() -> None:
    reached = {IDLE}
    for _ in TRANSITIONS:
        reached |= {after for state in reached for after in TRANSITIONS[state].values()}
    assert reached == set(TRANSITIONS)


def test_a_device_that_searches_never_offloads() -> None:
    assert {state for state in TRANSITIONS if state[1] is not Auth.NO_OFFLOAD} == {BOUND, OFFLOADING}
    assert {state[0] for state in TRANSITIONS if state[1] is not Auth.NO_OFFLOAD} == {Tracker.TRACKING}


def test_only_the_host_binds_numbers() -> None:
    into_bound = {event for row in TRANSITIONS.values() for event, after in row.items() if after == BOUND}
    assert into_bound == {E.BIND, E.CONFIRM}


def test_the_diagram_names_every_state_and_event() -> None:
    diagram = tracker.__doc__ or ""
    assert [event.name for event in TrackerEvent if event.name not in diagram] == []
    for state in TRANSITIONS:
        assert state[0].name in diagram
        assert state[1].name in diagram


@pytest.mark.parametrize(
    ("keys", "types", "shortest", "longest"),
    [
        (GCM13, {23}, 22, 16406),
        (CHACHA13, {23}, 22, 16406),
        (GCM12, {20, 21, 22, 23, 24}, 29, 16413),
        (CHACHA12, {20, 21, 22, 23, 24}, 21, 16405),
    ],
)
def test_pattern(keys: Keys, types: set[int], shortest: int, longest: int) -> None:
    pattern = HeaderPattern(keys)
    assert {t for t in range(256) if pattern.total(bytes([t, 3, 3]) + (100).to_bytes(2))} == types
    totals = {5 + n for n in range(65536) if pattern.total(b"\x17\x03\x03" + n.to_bytes(2))}
    assert totals == set(range(shortest, longest + 1))
    assert all(pattern.total(b"\x17\x03\x03" + (total - 5).to_bytes(2)) == total for total in (shortest, longest))


@pytest.mark.parametrize("keys", ENGINE_KEYS)
@pytest.mark.parametrize(("at", "value"), [(1, 2), (1, 4), (2, 1), (2, 2), (2, 4), (0, 0), (0, 25)])
def test_one_wrong_byte_is_no_header(keys: Keys, at: int, value: int) -> None:
    header = bytearray(b"\x17\x03\x03\x01\x00")
    assert HeaderPattern(keys).total(header) == 261
    header[at] = value
    assert HeaderPattern(keys).total(header) == 0


@pytest.mark.parametrize("keys", ENGINE_KEYS)
@pytest.mark.parametrize("length", [0, 1, 16384])
def test_every_record_a_sender_makes_fits_the_pattern(keys: Keys, length: int) -> None:
    record = Sealer(keys).seal(0, 23, bytes(length))
    assert HeaderPattern(keys).total(record[:5]) == len(record)


@pytest.mark.parametrize("keys", [GCM13, GCM12])
@given(
    pieces=st.lists(
        st.one_of(
            st.sampled_from([b"\x03", b"\x03\x03", b"\x17", b"\x17\x03\x03", b"\x17\x03\x03\x01\x00", b"\x00\x40"]),
            st.binary(max_size=4),
        ),
        max_size=12,
    ),
    start=st.integers(0, 40),
)
def test_find_is_a_look_at_every_place(keys: Keys, pieces: list[bytes], start: int) -> None:
    data = b"".join(pieces)
    pattern = HeaderPattern(keys)
    places = [at for at in range(start, len(data) - 4) if pattern.total(data[at : at + 5])]
    assert pattern.find(data, start) == (places[0] if places else -1)
