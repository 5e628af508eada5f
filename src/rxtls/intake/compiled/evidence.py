"""Where the capture was taken: intake/vantage.py for kernels, and what follows for a wrong checksum.

The five kinds of evidence are asked in the order of vantage.KINDS. Capture times may lie anywhere in 64 signed bits, so
a difference of two is 64 bits unsigned (`elapsed`, compared by `below`).
"""

from __future__ import annotations

import numpy as np

from rxtls.intake.batch import ACK, RST, SYN
from rxtls.intake.compiled.columns import (
    EARLIEST,
    FLOW_AWAITED,
    FLOW_ROUND_TRIP,
    FLOW_STAGE,
    FLOW_STARTER,
    FLOW_SYN_ACK_TIME,
    FLOW_SYN_TIME,
    FORCED,
    POLICY,
    SENDER,
    SIDE_BLIND,
    SIDE_DUP_ACKS,
    SIDE_HOLE,
    SIDE_HOLE_END,
    SIDE_HOLE_TIME,
    SIDE_HOST_MSS,
    SIDE_LATE,
    SIDE_LATE_LOSS,
    SIDE_LOST_BEFORE,
    SIDE_MARKS,
    SIDE_NEXT,
    SIDE_REACTION,
    SIDE_SAMPLE,
    SIDE_SAMPLE_TIME,
)
from rxtls.intake.parse import _BAD, ChecksumPolicy
from rxtls.intake.vantage import (
    _BARE_GOOD,
    _BARE_PARTIAL,
    _COOKED,
    _DONE,
    _FROM_US,
    _GOOD,
    _JOINED,
    _JUMBO_PAYLOAD,
    _LEAST_MSS,
    _LOADED_PARTIAL,
    _NOTHING,
    _SPOILED,
    _SYN,
    _SYN_ACK,
    _TO_OTHERS,
    _TO_US,
    BAD_IN_A_ROW,
    DUPLICATE_ACKS,
    FAR_NS,
    FAR_SHARE,
    KINDS,
    LOSS_MAJORITY,
    NEAR_SHARE,
    REORDERED,
    ROUND_TRIP_FLOOR_NS,
    VANTAGE,
    Place,
)
from rxtls.native import inlined, inner, kernel, signed32
from rxtls.seq import MASK
from rxtls.wire.frame import Checksum

assert tuple(KINDS) == ("cooked", "checksum", "loss", "size", "timing")  # the order of `place` below

OK, BAD, PARTIAL, UNVERIFIABLE = range(len(Checksum))  # as in a packet's row
MARKS = 0xFF  # the low byte of SIDE_MARKS
ONE_BAD = 0x100  # one wrong checksum in SIDE_MARKS

_UNKNOWN, _AT_A, _AT_B, _MIDDLE = (int(place) for place in (Place.UNKNOWN, Place.AT_A, Place.AT_B, Place.MIDDLE))
_COOKED_MARKS = np.array([_COOKED.get(kind, 0) for kind in range(max(_COOKED) + 1)], np.int64)
_COOKED_KINDS = len(_COOKED_MARKS)
_SENDS_HERE = np.array([[vantage == "sender" for vantage in VANTAGE[place]] for place in Place], np.int64)
_REFUSED = np.array([[checksum in _BAD[policy] for checksum in Checksum] for policy in ChecksumPolicy], np.int64)
_AUTO = tuple(ChecksumPolicy).index(ChecksumPolicy.AUTO)
_UNSIGNED = (1 << 64) - 1
_NEAREST = _UNSIGNED // NEAR_SHARE  # beyond these, products do not fit
_FARTHEST = _UNSIGNED // FAR_SHARE


@inlined
def below(a, b):  # type: ignore[no-untyped-def]
    """Whether a < b, both unsigned."""
    return (a ^ EARLIEST) < (b ^ EARLIEST)


@inlined
def elapsed(since, until):  # type: ignore[no-untyped-def]
    """From one time to a later one, unsigned; never -1, which means none (2^64 - 1 counts as one less)."""
    time_ns = until - since
    return -2 if time_ns == -1 else time_ns


@inlined
def cooked_mark(kind):  # type: ignore[no-untyped-def]
    """What a Linux cooked packet type says; -1 is none."""
    return _COOKED_MARKS[kind] if 0 <= kind < _COOKED_KINDS else 0


@inlined
def look(sides, forth, back, checksum, length, cooked_type):  # type: ignore[no-untyped-def]
    """Note what a frame is like, whether its checksum is right or not. (The handshake is timed by `time_handshake`.)"""
    marks = sides[forth, SIDE_MARKS]
    if checksum == OK:
        marks = marks & MARKS | (_GOOD if length else _GOOD | _BARE_GOOD)
    elif checksum == PARTIAL:
        marks = marks & MARKS | _GOOD | (_LOADED_PARTIAL if length else _BARE_PARTIAL)
    elif checksum == BAD:
        marks += ONE_BAD
    if length > _LEAST_MSS:
        mss = sides[back, SIDE_HOST_MSS]
        if length > (mss if mss > 0 else _JUMBO_PAYLOAD):
            marks |= _JOINED
    if cooked_type >= 0:
        marks |= cooked_mark(cooked_type)
    sides[forth, SIDE_MARKS] = marks


@inner
def time_handshake(flows, f, sides, side, time_ns, flags, seq, ack):  # type: ignore[no-untyped-def]
    """A SYN, or a packet after the SYN-ACK, while the handshake is being timed."""
    stage = flows[f, FLOW_STAGE]
    kind = flags & (SYN | ACK | RST)
    starter = flows[f, FLOW_STARTER]
    answers = signed32(ack - flows[f, FLOW_AWAITED]) > 0
    if kind == SYN:
        if stage == _NOTHING:
            flows[f, FLOW_STAGE] = _SYN
            flows[f, FLOW_STARTER] = side
            flows[f, FLOW_AWAITED] = seq
            flows[f, FLOW_SYN_TIME] = time_ns
        else:
            flows[f, FLOW_STAGE] = _SPOILED
    elif kind == SYN | ACK:
        if stage == _SYN and side != starter and answers:
            flows[f, FLOW_STAGE] = _SYN_ACK
            flows[f, FLOW_AWAITED] = seq
            flows[f, FLOW_SYN_ACK_TIME] = time_ns
        else:
            flows[f, FLOW_STAGE] = _SPOILED
    elif kind == ACK and stage == _SYN_ACK and side == starter and answers:
        first, second = flows[f, FLOW_SYN_TIME], flows[f, FLOW_SYN_ACK_TIME]
        if second < first or time_ns < second:
            flows[f, FLOW_STAGE] = _SPOILED
            return
        flows[f, FLOW_STAGE] = _DONE
        flows[f, FLOW_ROUND_TRIP] = time_ns - first
        sides[2 * f + 1 - side, SIDE_REACTION] = elapsed(first, second)
        sides[2 * f + side, SIDE_REACTION] = elapsed(second, time_ns)


@inlined
def ack_moved(sides, forth, back, time_ns, ack):  # type: ignore[no-untyped-def]
    """`forth` acknowledges more of `back` than before."""
    sides[back, SIDE_DUP_ACKS] = 0
    sample = sides[back, SIDE_SAMPLE]
    if sample >= 0 and signed32(ack - sample) >= 0:
        sent = sides[back, SIDE_SAMPLE_TIME]
        if time_ns >= sent:
            delay = elapsed(sent, time_ns)
            reaction = sides[forth, SIDE_REACTION]
            if reaction == -1 or below(delay, reaction):
                sides[forth, SIDE_REACTION] = delay
        sides[back, SIDE_SAMPLE] = -1
    hole = sides[back, SIDE_HOLE]
    if hole >= 0 and signed32(ack - hole) > 0:
        sides[back, SIDE_HOLE] = -1  # acknowledged, never seen: the capture lost it, not the network


@inner
def out_of_order(sides, host, time_ns, seq, length, acked):  # type: ignore[no-untyped-def]
    """Payload ahead of a hole, or sent again."""
    end = (seq + length) & MASK
    following = sides[host, SIDE_NEXT]
    hole, blind = sides[host, SIDE_HOLE], sides[host, SIDE_BLIND]
    sides[host, SIDE_SAMPLE] = -1
    if signed32(seq - following) > 0:
        if hole < 0:
            sides[host, SIDE_HOLE] = following
            sides[host, SIDE_HOLE_END] = seq
            sides[host, SIDE_HOLE_TIME] = time_ns
            sides[host, SIDE_DUP_ACKS] = 0
        else:
            sides[host, SIDE_BLIND] = seq
        sides[host, SIDE_NEXT] = end
        return
    hole_end = sides[host, SIDE_HOLE_END]
    if hole >= 0 and signed32(seq - hole) >= 0 and signed32(hole_end - seq) > 0:
        if sides[host, SIDE_DUP_ACKS]:
            sides[host, SIDE_LOST_BEFORE] += 1
        elif time_ns > sides[host, SIDE_HOLE_TIME]:
            sides[host, SIDE_LATE] += 1
        if blind < 0 or signed32(hole_end - blind) > 0:
            sides[host, SIDE_BLIND] = hole_end
        sides[host, SIDE_HOLE] = -1
    elif (
        seq == acked
        and hole < 0
        and sides[host, SIDE_DUP_ACKS] >= DUPLICATE_ACKS
        and (blind < 0 or signed32(seq - blind) >= 0)
    ):
        sides[host, SIDE_LATE_LOSS] += 1
        sides[host, SIDE_DUP_ACKS] = 0
    if signed32(end - following) > 0:
        sides[host, SIDE_NEXT] = end


@inner
def _one(at_a, at_b):  # type: ignore[no-untyped-def]
    if (at_a != 0) == (at_b != 0):
        return _UNKNOWN
    return _AT_A if at_a else _AT_B


@inner
def _cooked(a, b):  # type: ignore[no-untyped-def]
    at_a = (a & _FROM_US) | (b & _TO_US)
    at_b = (b & _FROM_US) | (a & _TO_US)
    if at_a or at_b:
        return _one(at_a, at_b)
    return _MIDDLE if (a | b) & _TO_OTHERS else _UNKNOWN


@inner
def _garbage(host, other):  # type: ignore[no-untyped-def]
    return host >= BAD_IN_A_ROW * ONE_BAD and not host & _GOOD and other < ONE_BAD


@inner
def _checksum(a, b):  # type: ignore[no-untyped-def]
    if (a | b) & _BARE_PARTIAL:
        return _one(a & _BARE_PARTIAL, b & _BARE_PARTIAL)
    garbage_a, garbage_b = _garbage(a, b), _garbage(b, a)
    if garbage_a or garbage_b:
        return _one(garbage_a, garbage_b)
    left = _LOADED_PARTIAL | _BARE_GOOD
    return _one(a & left == _LOADED_PARTIAL, b & left == _LOADED_PARTIAL)


@inner
def _lost(sides, host, peer):  # type: ignore[no-untyped-def]
    """What says that the capture was taken at `host`."""
    late = sides[peer, SIDE_LATE]
    return sides[peer, SIDE_LOST_BEFORE] + sides[host, SIDE_LATE_LOSS] + (late if late >= REORDERED else 0)


@inner
def _loss(sides, a, b):  # type: ignore[no-untyped-def]
    at_a, at_b = _lost(sides, a, b), _lost(sides, b, a)
    if at_a and at_a >= LOSS_MAJORITY * at_b:
        return _AT_A
    if at_b and at_b >= LOSS_MAJORITY * at_a:
        return _AT_B
    return _MIDDLE if at_a and at_b else _UNKNOWN


@inner
def _joined(marks):  # type: ignore[no-untyped-def]
    return marks & (_BARE_GOOD | _BARE_PARTIAL) == _BARE_GOOD and marks & (_JOINED | _LOADED_PARTIAL) != 0


@inner
def _timing(flows, f, sides):  # type: ignore[no-untyped-def]
    round_trip = flows[f, FLOW_ROUND_TRIP]
    bare = sides[2 * f, SIDE_MARKS] & sides[2 * f + 1, SIDE_MARKS] & _BARE_PARTIAL
    if flows[f, FLOW_STAGE] != _DONE or below(round_trip, ROUND_TRIP_FLOOR_NS) or bare:
        return _UNKNOWN
    a, b = sides[2 * f, SIDE_REACTION], sides[2 * f + 1, SIDE_REACTION]
    least, most = (a, b) if below(a, b) else (b, a)
    near = 0 <= least <= _NEAREST and not below(round_trip, least * NEAR_SHARE)
    far = not 0 <= most <= _FARTHEST or not below(most * FAR_SHARE, round_trip)
    if near and far:
        return _AT_A if below(a, b) else _AT_B
    return _UNKNOWN if below(least, FAR_NS) else _MIDDLE


@inner
def place(flows, f, sides):  # type: ignore[no-untyped-def]
    """Where the tap stands, as far as it can be told by now."""
    a, b = sides[2 * f, SIDE_MARKS], sides[2 * f + 1, SIDE_MARKS]
    found = _cooked(a, b)
    if found == _UNKNOWN:
        found = _checksum(a, b)
    if found == _UNKNOWN:
        found = _loss(sides, 2 * f, 2 * f + 1)
    if found == _UNKNOWN:
        found = _one(_joined(b), _joined(a))
    if found == _UNKNOWN:
        found = _timing(flows, f, sides)
    return found


@inner
def refused(control, flows, f, sides, side, checksum, cooked_type):  # type: ignore[no-untyped-def]
    """Whether the policy stops a packet whose checksum is not right: parse.checksum_fate and Evidence.excuses."""
    policy = control[POLICY]
    if not _REFUSED[policy, checksum]:
        return False
    if policy != _AUTO or checksum != BAD:
        return True
    if control[FORCED]:
        return control[FORCED] != SENDER
    if not _SENDS_HERE[place(flows, f, sides), side]:
        return True
    marks = sides[2 * f + side, SIDE_MARKS]
    ours = cooked_mark(cooked_type) == _FROM_US
    return marks & _GOOD != 0 and (not ours or marks & _TO_US != 0)


@kernel("void(int64[:, ::1], int64[:, ::1], int64[::1], int64[::1])")
def places(flows, sides, which, found):  # type: ignore[no-untyped-def]
    """The place of each of the flows `which`."""
    for n in range(which.shape[0]):
        found[n] = place(flows, which[n], sides)
