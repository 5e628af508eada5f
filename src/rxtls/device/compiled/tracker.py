"""The record tracker for kernels: the plain twin's table as an array, and the look of a record header.

States and events are numbered in the order in which device/tracker.py has them.
"""

from __future__ import annotations

import numpy as np

from rxtls.crypto.keys import RECORD_HEADER
from rxtls.device import tracker
from rxtls.device.compiled.columns import Context
from rxtls.device.tracker import TRANSITIONS, State, TrackerEvent
from rxtls.native import Row, Table, inner, load8, load16, pairs32
from rxtls.offload.commands import Auth

STATES: list[State] = list(TRANSITIONS)
_EVENTS = list(TrackerEvent)

IDLE, SEARCHING, TRACKING = (STATES.index(s) for s in (tracker.IDLE, tracker.SEARCHING, tracker.TRACKING))
BIND, SCAN, ANCHOR_FOUND, MISMATCH, LOSE, CONFIRMED, VERIFY, STOP = (
    _EVENTS.index(event)
    for event in (
        TrackerEvent.BIND,
        TrackerEvent.SCAN,
        TrackerEvent.ANCHOR,
        TrackerEvent.MISMATCH,
        TrackerEvent.LOSE,
        TrackerEvent.CONFIRM,
        TrackerEvent.VERIFY,
        TrackerEvent.STOP,
    )
)

_NEXT = np.array(
    [[STATES.index(row[event]) if event in row else -1 for event in _EVENTS] for row in TRANSITIONS.values()], np.int64
)
_BOUND: Row = np.array([auth is not Auth.NO_OFFLOAD for _, auth in STATES], np.int64)

_READ = 33  # bytes that pairs32 reads


@inner
def fire(contexts: Table, c: Context, event: int) -> None:
    """Take the transition that the table has for this event."""
    contexts[c, Context.STATE] = _NEXT[contexts[c, Context.STATE], event]


@inner
def bound(contexts: Table, c: Context) -> bool:
    """Whether the context knows record numbers (Context.bound)."""
    return _BOUND[contexts[c, Context.STATE]] == 1


@inner
def total_of(contexts: Table, c: Context, header: int) -> int:
    """Bytes of the whole record that the five bytes at an address announce; 0 if they are no plausible header."""
    kind = load8(header)
    if kind < contexts[c, Context.FIRST_TYPE] or kind > contexts[c, Context.LAST_TYPE] or load16(header + 1) != 0x0303:
        return 0
    total = RECORD_HEADER + load16(header + 3)
    return total if contexts[c, Context.MIN_TOTAL] <= total <= contexts[c, Context.MAX_TOTAL] else 0


@inner
def find(contexts: Table, c: Context, source: int, length: int, start: int) -> int:
    """Offset of the first plausible header that lies whole in `length` bytes at or after `start`, or -1."""
    at = start + 1  # where 03 03 stands
    last = length - RECORD_HEADER + 1
    while at <= last:
        block = min(at, length - _READ)
        if block >= 0:
            pairs = pairs32(source + block, 3) >> (at - block)
            following = block + _READ - 1
        else:
            pairs = 1 if load16(source + at) == 0x0303 else 0
            following = at + 1
        while pairs != 0 and at <= last:
            if pairs & 1 and total_of(contexts, c, source + at - 1) > 0:
                return at - 1
            pairs >>= 1
            at += 1
        at = following
    return -1
