"""What packets say about where the capture was taken: the looking and following of evidence.Evidence, for kernels.

Capture times may lie anywhere in 64 signed bits, so a difference of two is 64 bits unsigned (`elapsed`, compared by
`below`).
"""

from __future__ import annotations

import numpy as np

from rxtls.intake.batch import ACK, FIN, RST, SYN
from rxtls.intake.compiled.columns import EARLIEST, UNBELIEVED, FlowRow, SideRow
from rxtls.intake.compiled.direction import side_row
from rxtls.intake.evidence import (
    BAD_IN_A_ROW,
    BARE_GOOD,
    BARE_PARTIAL,
    COOKED,
    DONE,
    DUPLICATE_ACKS,
    GOOD,
    JOINED,
    JUMBO_PAYLOAD,
    LEAST_MSS,
    LOADED_PARTIAL,
    NOTHING,
    SPOILED,
    SYN_ACK,
    SYN_SENT,
)
from rxtls.native import get, inlined, inner, minus, put, signed32
from rxtls.seq import MASK
from rxtls.wire.compiled.columns import PacketRow
from rxtls.wire.frame import Checksum

OK, BAD, PARTIAL, UNVERIFIABLE, BAD_HEADER = range(len(Checksum))  # as in a packet's row
MARKS = 0xFF  # the low byte of SideRow.MARKS
BAD_SHIFT = 8
ONE_BAD = 1 << BAD_SHIFT  # one wrong checksum in SideRow.MARKS

_COOKED_MARKS = np.array([COOKED.get(kind, 0) for kind in range(max(COOKED) + 1)], np.int64)
_COOKED_KINDS = len(_COOKED_MARKS)


@inlined
def below(a: int, b: int) -> bool:
    """Whether a < b, both unsigned."""
    return (a ^ EARLIEST) < (b ^ EARLIEST)


@inlined
def elapsed(since: int, until: int) -> int:
    """From one time to a later one, unsigned; never -1, which means none (2^64 - 1 counts as one less)."""
    time_ns = minus(until, since)
    return -2 if time_ns == -1 else time_ns


@inlined
def cooked_mark(kind: int) -> int:
    """What a Linux cooked packet type says; -1 is none."""
    return _COOKED_MARKS[kind] if 0 <= kind < _COOKED_KINDS else 0


@inlined
def look(forth: int, back: int, checksum: int, length: int, cooked_type: int) -> None:
    """Note what a frame is like, whether its checksum is right or not. (The handshake is timed by `time_handshake`.)"""
    marks = get(forth, SideRow.MARKS)
    if checksum == OK:
        marks = marks & (MARKS | UNBELIEVED) | (GOOD if length else GOOD | BARE_GOOD)
    elif checksum == PARTIAL:
        marks = marks & (MARKS | UNBELIEVED) | GOOD | (LOADED_PARTIAL if length else BARE_PARTIAL)
    elif checksum in (BAD, BAD_HEADER):
        marks += ONE_BAD
        if marks & ~UNBELIEVED >= BAD_IN_A_ROW * ONE_BAD and not marks & GOOD:
            marks |= UNBELIEVED
    if length > LEAST_MSS:
        mss = get(back, SideRow.HOST_MSS)
        if length > (mss if mss > 0 else JUMBO_PAYLOAD):
            marks |= JOINED
    if cooked_type >= 0:
        marks |= cooked_mark(cooked_type)
    put(forth, SideRow.MARKS, marks)


@inner
def time_handshake(flow: int, side: int, time_ns: int, flags: int, seq: int, ack: int) -> None:
    """A SYN, or a packet after the SYN-ACK, while the handshake is being timed."""
    stage = get(flow, FlowRow.STAGE)
    kind = flags & (SYN | ACK | RST)
    starter = get(flow, FlowRow.STARTER)
    answers = signed32(ack - get(flow, FlowRow.AWAITED)) > 0
    if kind == SYN:
        if stage == NOTHING:
            put(flow, FlowRow.STAGE, SYN_SENT)
            put(flow, FlowRow.STARTER, side)
            put(flow, FlowRow.AWAITED, seq)
            put(flow, FlowRow.SYN_TIME, time_ns)
        else:
            put(flow, FlowRow.STAGE, SPOILED)
    elif kind == SYN | ACK:
        if stage == SYN_SENT and side != starter and answers:
            put(flow, FlowRow.STAGE, SYN_ACK)
            put(flow, FlowRow.AWAITED, seq)
            put(flow, FlowRow.SYN_ACK_TIME, time_ns)
        else:
            put(flow, FlowRow.STAGE, SPOILED)
    elif kind == ACK and stage == SYN_ACK and side == starter and answers:
        first, second = get(flow, FlowRow.SYN_TIME), get(flow, FlowRow.SYN_ACK_TIME)
        if second < first or time_ns < second:
            put(flow, FlowRow.STAGE, SPOILED)
            return
        put(flow, FlowRow.STAGE, DONE)
        put(flow, FlowRow.ROUND_TRIP, minus(time_ns, first))
        put(side_row(flow, 1 - side), SideRow.REACTION, elapsed(first, second))
        put(side_row(flow, side), SideRow.REACTION, elapsed(second, time_ns))


@inlined
def _ack_moved(forth: int, back: int, time_ns: int, ack: int) -> None:
    """`forth` acknowledges more of `back` than before."""
    put(back, SideRow.DUP_ACKS, 0)
    sample = get(back, SideRow.SAMPLE)
    if sample >= 0 and signed32(ack - sample) >= 0:
        sent = get(back, SideRow.SAMPLE_TIME)
        if time_ns >= sent:
            delay = elapsed(sent, time_ns)
            reaction = get(forth, SideRow.REACTION)
            if reaction == -1 or below(delay, reaction):
                put(forth, SideRow.REACTION, delay)
        put(back, SideRow.SAMPLE, -1)
    hole = get(back, SideRow.HOLE)
    if hole >= 0 and signed32(ack - hole) > 0:
        put(back, SideRow.HOLE, -1)  # acknowledged, never seen: the capture lost it, not the network


@inner
def _out_of_order(host: int, time_ns: int, seq: int, length: int, acked: int) -> None:
    """Payload ahead of a hole, or sent again."""
    end = (seq + length) & MASK
    following = get(host, SideRow.NEXT)
    hole, blind = get(host, SideRow.HOLE), get(host, SideRow.BLIND)
    put(host, SideRow.SAMPLE, -1)
    if signed32(seq - following) > 0:
        if hole < 0:
            put(host, SideRow.HOLE, following)
            put(host, SideRow.HOLE_END, seq)
            put(host, SideRow.HOLE_TIME, time_ns)
            put(host, SideRow.DUP_ACKS, 0)
        else:
            put(host, SideRow.BLIND, seq)
        put(host, SideRow.NEXT, end)
        return
    hole_end = get(host, SideRow.HOLE_END)
    if hole >= 0 and signed32(seq - hole) >= 0 and signed32(hole_end - seq) > 0:
        if get(host, SideRow.DUP_ACKS):
            put(host, SideRow.LOST_BEFORE, get(host, SideRow.LOST_BEFORE) + 1)
        elif time_ns > get(host, SideRow.HOLE_TIME):
            put(host, SideRow.LATE, get(host, SideRow.LATE) + 1)
        if blind < 0 or signed32(hole_end - blind) > 0:
            put(host, SideRow.BLIND, hole_end)
        put(host, SideRow.HOLE, -1)
    elif (
        seq == acked
        and hole < 0
        and get(host, SideRow.DUP_ACKS) >= DUPLICATE_ACKS
        and (blind < 0 or signed32(seq - blind) >= 0)
    ):
        put(host, SideRow.LATE_LOSS, get(host, SideRow.LATE_LOSS) + 1)
        put(host, SideRow.DUP_ACKS, 0)
    if signed32(end - following) > 0:
        put(host, SideRow.NEXT, end)


@inlined
def _follow_ack(forth: int, back: int, time_ns: int, flags: int, ack: int, window: int, length: int) -> None:
    """Evidence._follow_ack: `forth` answers, and says what it has of `back`."""
    acked = get(back, SideRow.ACKED)
    if ack == acked:
        if window == get(forth, SideRow.WINDOW) and window and not length and not flags & FIN:
            put(back, SideRow.DUP_ACKS, get(back, SideRow.DUP_ACKS) + 1)
    elif acked < 0 or signed32(ack - acked) > 0:
        _ack_moved(forth, back, time_ns, ack)
    put(forth, SideRow.WINDOW, window)


@inlined
def _follow_data(forth: int, time_ns: int, seq: int, length: int) -> None:
    """Evidence._follow_data, in order here."""
    following = get(forth, SideRow.NEXT)
    if following < 0 or following == seq:
        end = (seq + length) & MASK
        put(forth, SideRow.NEXT, end)
        if get(forth, SideRow.SAMPLE) < 0:
            put(forth, SideRow.SAMPLE, end)
            put(forth, SideRow.SAMPLE_TIME, time_ns)
    else:
        _out_of_order(forth, time_ns, seq, length, get(forth, SideRow.ACKED))


@inlined
def follow(forth: int, back: int, packet: int, time_ns: int, flags: int, seq: int, ack: int, length: int) -> None:
    """Follow an accepted packet of `forth`, before either direction learns from it."""
    if flags & (SYN | RST):
        if flags & SYN:
            put(forth, SideRow.HOST_MSS, get(packet, PacketRow.MSS))
            put(forth, SideRow.NEXT, (seq + 1 + length) & MASK)
        return
    if flags & ACK:
        _follow_ack(forth, back, time_ns, flags, ack, get(packet, PacketRow.WINDOW), length)
    if length:
        _follow_data(forth, time_ns, seq, length)
