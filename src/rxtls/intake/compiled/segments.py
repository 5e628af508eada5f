"""The rows of one packet: intake/parse.py's `segments` for kernels, straight into the rows of a batch."""

from __future__ import annotations

from typing import NamedTuple

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


class Origin(NamedTuple):
    """What all rows of a packet have in common: its frame, when and by which interface it came, its receive flow."""

    frame: int
    time_ns: int
    leaf: int
    flow: int


class Carried(NamedTuple):
    """A packet's payload: its place in the frames' data, how much of it was captured, and how long it is."""

    offset: int
    present: int
    length: int


@inlined
def put_row(
    control: int, forth: int, origin: Origin, clock: int, seq: int, flags: int, offset: int, length: int
) -> None:
    """One row of the direction `forth`; that there is room has been seen to."""
    row = get(control, Steering.ROW)
    put(control, Steering.ROW, row + COLUMNS * WORD)
    put(row, FRAME, origin.frame)
    put(row, TIME, origin.time_ns)
    put(row, LEAF, origin.leaf)
    put(row, FLOW, origin.flow)
    put(row, CLOCK, clock)
    put(row, SEQ, seq)
    put(row, FLAGS, flags)
    put(row, OFFSET, offset)
    put(row, LENGTH, length)
    put(row, ACKED, get(forth, SideRow.ACKED))
    put(row, EDGE, get(forth, SideRow.EDGE))


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
def cut(control: int, flow: int, forth: int, origin: Origin, seq: int, flags: int, carried: Carried, size: int) -> None:
    """The rows of a packet that is longer than `size`, or cut by the snap length with a FIN behind what is missing."""
    before = get(forth, SideRow.CLOCK)
    clock = before
    present = carried.present
    whole = present == carried.length
    last = flags & _LAST_ONLY & _ROW_FLAGS
    between = flags & ~(_FIRST_ONLY | _LAST_ONLY) & _ROW_FLAGS
    kind = flags & ~_LAST_ONLY & _ROW_FLAGS
    at = 0
    while True:
        take = min(size, present - at)
        if whole and at + take == present:
            kind |= last
        clock += 1
        place = carried.offset + at if take else 0
        put_row(control, forth, origin, clock, (seq + at) & MASK, kind, place, take)
        if at == 0 and flags & SYN:
            seq += 1  # SYN takes the place before the first byte (RFC 9293 section 3.4)
        kind = between
        at += size
        if at >= present:
            break
    if not whole and flags & FIN:
        clock += 1
        seq = (seq + carried.length) & MASK
        put_row(control, forth, origin, clock, seq, between | last, 0, 0)
    put(forth, SideRow.CLOCK, clock)
    if clock > before + 1:
        put(flow, FlowRow.RESEGMENTED, get(flow, FlowRow.RESEGMENTED) + 1)


@inner
def put_reset(control: int, forth: int, origin: Origin, seq: int, flags: int) -> None:
    """The row of a RST: its text is no payload, and it is never joined with anything."""
    clock = get(forth, SideRow.CLOCK) + 1
    put(forth, SideRow.CLOCK, clock)
    put_row(control, forth, origin, clock, seq, flags & (_ROW_FLAGS & ~SYN), 0, 0)
