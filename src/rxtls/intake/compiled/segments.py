"""The rows of one packet: intake/parse.py's `segments` for kernels, straight into the rows of a batch."""

from __future__ import annotations

import numpy as np

from rxtls.intake.batch import (
    ACKED,
    CLOCK,
    COLUMNS,
    EDGE,
    FIN,
    FLAGS,
    FLOW,
    FRAME,
    LEAF,
    LENGTH,
    OFFSET,
    SEQ,
    SYN,
    TIME,
)
from rxtls.intake.compiled.columns import AUTO, OFF, WORD, FlowRow, SideRow, Steering
from rxtls.intake.parse import _DEFAULT_MSS, _FIRST_ONLY, _LAST_ONLY, MIN_SEGMENT
from rxtls.intake.steer import _ROW_FLAGS
from rxtls.native import get, inlined, inner, put
from rxtls.seq import MASK

_MSS_OF = np.zeros(7, np.int64)  # by family
_MSS_OF[4], _MSS_OF[6] = _DEFAULT_MSS[4], _DEFAULT_MSS[16]


@inlined
def put_row(
    control: int,
    frame: int,
    time_ns: int,
    leaf: int,
    flow: int,
    clock: int,
    seq: int,
    flags: int,
    offset: int,
    length: int,
    acked: int,
    edge: int,
) -> None:
    """One row; that there is room has been seen to."""
    row = get(control, Steering.ROW)
    put(control, Steering.ROW, row + COLUMNS * WORD)
    put(row, FRAME, frame)
    put(row, TIME, time_ns)
    put(row, LEAF, leaf)
    put(row, FLOW, flow)
    put(row, CLOCK, clock)
    put(row, SEQ, seq)
    put(row, FLAGS, flags)
    put(row, OFFSET, offset)
    put(row, LENGTH, length)
    put(row, ACKED, acked)
    put(row, EDGE, edge)


@inner
def set_mss(flow: int, family: int, mine: int, other: int) -> None:
    """FlowRow.MSS from the options of both sides, 0 where there was none."""
    mss = other if mine == 0 or 0 < other < mine else mine
    put(flow, FlowRow.MSS, mss if mss else _MSS_OF[family])


@inlined
def segment_size(control: int, flow: int, length: int, option_length: int) -> int:
    """How long a segment can be."""
    size = get(control, Steering.RESEGMENT)
    if size == AUTO:
        size = get(flow, FlowRow.MSS) - option_length
    elif size == OFF:
        size = length
    return max(size, MIN_SEGMENT)


@inner
def cut(
    control: int,
    flow: int,
    forth: int,
    frame: int,
    time_ns: int,
    leaf: int,
    number: int,
    seq: int,
    flags: int,
    offset: int,
    present: int,
    length: int,
    size: int,
) -> None:
    """The rows of a packet that is longer than `size`, or cut by the snap length with a FIN behind what is missing.

    `number` is that of the receive flow, `present` what was captured of the `length` bytes of payload.
    """
    acked, edge = get(forth, SideRow.ACKED), get(forth, SideRow.EDGE)
    before = get(forth, SideRow.CLOCK)
    clock = before
    whole = present == length
    last = flags & _LAST_ONLY & _ROW_FLAGS
    between = flags & ~(_FIRST_ONLY | _LAST_ONLY) & _ROW_FLAGS
    kind = flags & ~_LAST_ONLY & _ROW_FLAGS
    at = 0
    while True:
        take = min(size, present - at)
        if whole and at + take == present:
            kind |= last
        clock += 1
        place = offset + at if take else 0
        put_row(control, frame, time_ns, leaf, number, clock, (seq + at) & MASK, kind, place, take, acked, edge)
        if at == 0 and flags & SYN:
            seq += 1  # SYN takes the place before the first byte (RFC 9293 section 3.4)
        kind = between
        at += size
        if at >= present:
            break
    if not whole and flags & FIN:
        clock += 1
        seq = (seq + length) & MASK
        put_row(control, frame, time_ns, leaf, number, clock, seq, between | last, 0, 0, acked, edge)
    put(forth, SideRow.CLOCK, clock)
    if clock > before + 1:
        put(flow, FlowRow.RESEGMENTED, get(flow, FlowRow.RESEGMENTED) + 1)


@inner
def put_reset(
    control: int, forth: int, frame: int, time_ns: int, where: int, number: int, seq: int, flags: int
) -> None:
    """The row of a RST: its text is no payload, and it is never joined with anything."""
    clock = get(forth, SideRow.CLOCK) + 1
    put(forth, SideRow.CLOCK, clock)
    kind = flags & (_ROW_FLAGS & ~SYN)
    acked, edge = get(forth, SideRow.ACKED), get(forth, SideRow.EDGE)
    put_row(control, frame, time_ns, where, number, clock, seq, kind, 0, 0, acked, edge)
