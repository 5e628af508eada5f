"""Where the capture was taken: the judges of intake/vantage.py for kernels, and what follows for a wrong checksum."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from rxtls.intake.batch import RST, SYN
from rxtls.intake.compiled.columns import FLOW_COLUMNS, UNBELIEVED, WORD, FlowRow, SideRow, Steering
from rxtls.intake.compiled.direction import side_row
from rxtls.intake.compiled.evidence import BAD, BAD_SHIFT, ONE_BAD, below, cooked_mark
from rxtls.intake.evidence import (
    BAD_IN_A_ROW,
    BARE_GOOD,
    BARE_PARTIAL,
    DONE,
    FROM_US,
    GOOD,
    JOINED,
    LOADED_PARTIAL,
    NONE_RIGHT,
    TO_OTHERS,
    TO_US,
)
from rxtls.intake.parse import _BAD, ChecksumPolicy
from rxtls.intake.vantage import (
    FAR_NS,
    FAR_SHARE,
    KINDS,
    LOSS_MAJORITY,
    MOST_LOSSES,
    NEAR_SHARE,
    REORDERED,
    ROUND_TRIP_FLOOR_NS,
    VANTAGE,
    Judged,
    Place,
)
from rxtls.native import Row, Table, address, get, inner, kernel, times
from rxtls.wire.frame import Checksum

assert tuple(KINDS) == ("cooked", "checksum", "loss", "size", "timing")  # the order of `judged` below

_UNKNOWN, _AT_A, _AT_B, _MIDDLE = (int(place) for place in (Place.UNKNOWN, Place.AT_A, Place.AT_B, Place.MIDDLE))
_SENDS_HERE = np.array([[vantage == "sender" for vantage in VANTAGE[place]] for place in Place], np.int64)
_REFUSED = np.array([[checksum in _BAD[policy] for checksum in Checksum] for policy in ChecksumPolicy], np.int64)
_AUTO = tuple(ChecksumPolicy).index(ChecksumPolicy.AUTO)
# The number that `judged` gives: place, kind from 1, losses that speak for a and for b.
_PLACE, _KIND, _LOSSES_A, _LOSSES_B = 3, 2, 8, 32
_BY_COOKED, _BY_CHECKSUM, _BY_LOSS, _BY_SIZE, _BY_TIMING = (n << _KIND for n in range(1, 6))
_UNSIGNED = (1 << 64) - 1
_NEAREST = _UNSIGNED // NEAR_SHARE  # beyond these, products do not fit
_FARTHEST = _UNSIGNED // FAR_SHARE


@inner
def _one(at_a: int, at_b: int) -> int:
    if (at_a != 0) == (at_b != 0):
        return _UNKNOWN
    return _AT_A if at_a else _AT_B


@inner
def _cooked(a: int, b: int) -> int:
    at_a = (a & FROM_US) | (b & TO_US)
    at_b = (b & FROM_US) | (a & TO_US)
    if at_a or at_b:
        return _one(at_a, at_b)
    return _MIDDLE if (a | b) & TO_OTHERS else _UNKNOWN


@inner
def _garbage(host: int, other: int) -> bool:
    return host >= BAD_IN_A_ROW * ONE_BAD and not host & GOOD and other < ONE_BAD


@inner
def _checksum(a: int, b: int) -> int:
    if (a | b) & BARE_PARTIAL:
        return _one(a & BARE_PARTIAL, b & BARE_PARTIAL)
    garbage_a, garbage_b = _garbage(a, b), _garbage(b, a)
    if garbage_a or garbage_b:
        return _one(garbage_a, garbage_b)
    left = LOADED_PARTIAL | BARE_GOOD
    return _one(a & left == LOADED_PARTIAL, b & left == LOADED_PARTIAL)


@inner
def _lost(host: int, peer: int) -> int:
    """What says that the capture was taken at `host`."""
    late = get(peer, SideRow.LATE)
    return get(peer, SideRow.LOST_BEFORE) + get(host, SideRow.LATE_LOSS) + (late if late >= REORDERED else 0)


@inner
def _loss(a: int, b: int) -> int:
    at_a, at_b = _lost(a, b), _lost(b, a)
    if at_a and at_a >= LOSS_MAJORITY * at_b:
        return _AT_A
    if at_b and at_b >= LOSS_MAJORITY * at_a:
        return _AT_B
    return _MIDDLE if at_a and at_b else _UNKNOWN


@inner
def _joined(marks: int) -> bool:
    return marks & (BARE_GOOD | BARE_PARTIAL) == BARE_GOOD and marks & (JOINED | LOADED_PARTIAL) != 0


@inner
def _timing(flow: int) -> int:
    round_trip = get(flow, FlowRow.ROUND_TRIP)
    at_a, at_b = side_row(flow, 0), side_row(flow, 1)
    bare = get(at_a, SideRow.MARKS) & get(at_b, SideRow.MARKS) & BARE_PARTIAL
    if get(flow, FlowRow.STAGE) != DONE or below(round_trip, ROUND_TRIP_FLOOR_NS) or bare:
        return _UNKNOWN
    a, b = get(at_a, SideRow.REACTION), get(at_b, SideRow.REACTION)
    least, most = (a, b) if below(a, b) else (b, a)
    near = 0 <= least <= _NEAREST and not below(round_trip, times(least, NEAR_SHARE))
    far = not 0 <= most <= _FARTHEST or not below(times(most, FAR_SHARE), round_trip)
    if near and far:
        return _AT_A if below(a, b) else _AT_B
    return _UNKNOWN if below(least, FAR_NS) else _MIDDLE


@inner
def judged(flow: int) -> int:
    """vantage.judge as one number, which `read_judged` reads."""
    at_a, at_b = side_row(flow, 0), side_row(flow, 1)
    a, b = get(at_a, SideRow.MARKS) & ~UNBELIEVED, get(at_b, SideRow.MARKS) & ~UNBELIEVED
    found = _cooked(a, b)
    if found != _UNKNOWN:
        return found + _BY_COOKED
    found = _checksum(a, b)
    if found != _UNKNOWN:
        return found + _BY_CHECKSUM
    found = _loss(at_a, at_b)
    if found != _UNKNOWN:
        here, there = min(_lost(at_a, at_b), MOST_LOSSES), min(_lost(at_b, at_a), MOST_LOSSES)
        return found + _BY_LOSS + (here << _LOSSES_A) + (there << _LOSSES_B)
    found = _one(_joined(b), _joined(a))
    if found != _UNKNOWN:
        return found + _BY_SIZE
    found = _timing(flow)
    return found + _BY_TIMING if found != _UNKNOWN else _UNKNOWN


@inner
def place(flow: int) -> int:
    """Where the tap stands, as far as it can be told by now."""
    return judged(flow) & _PLACE


@lru_cache(256)
def read_judged(number: int) -> Judged:
    """vantage.Judged of what `judged` says."""
    if not number:
        return Judged()
    kind = tuple(KINDS)[(number >> _KIND & 7) - 1]
    return Judged(Place(number & _PLACE), kind, number >> _LOSSES_A & MOST_LOSSES, number >> _LOSSES_B)


@inner
def _unbelieved(flow: int, side: int, flags: int, field: int) -> bool:
    """Evidence.unbelieved."""
    host, peer = get(side_row(flow, side), SideRow.MARKS), get(side_row(flow, 1 - side), SideRow.MARKS)
    if host & UNBELIEVED:
        return True
    if (host | peer) & GOOD:
        return False
    wrong = (host >> BAD_SHIFT) + ((peer & ~UNBELIEVED) >> BAD_SHIFT)
    return wrong >= NONE_RIGHT or not field or flags & (SYN | RST) == SYN


@inner
def refused(control: int, flow: int, side: int, checksum: int, cooked_type: int, flags: int, field: int) -> bool:
    """Whether the policy stops a packet whose checksum is not right: parse.checksum_fate and Steer._excused."""
    policy = get(control, Steering.POLICY)
    if not _REFUSED[policy, checksum]:
        return False
    if policy != _AUTO:
        return True
    if _unbelieved(flow, side, flags, field):
        return False
    if checksum != BAD:
        return True
    forced = get(control, Steering.FORCED)
    if forced:
        return not (forced >> side) & 1
    if not _SENDS_HERE[place(flow), side]:
        return True
    marks = get(side_row(flow, side), SideRow.MARKS)
    ours = cooked_mark(cooked_type) == FROM_US
    return marks & GOOD != 0 and (not ours or marks & TO_US != 0)


@kernel
def verdicts(flows: Table, which: Row, found: Row) -> None:
    """`judged` of each of the flows `which`."""
    for n in range(len(which)):
        found[n] = judged(address(flows) + which[n] * (FLOW_COLUMNS * WORD))
