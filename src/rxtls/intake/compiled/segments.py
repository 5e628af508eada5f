"""The rows of one packet: intake/parse.py's `segments` for kernels, straight into the rows of a batch."""

from __future__ import annotations

import numpy as np

from rxtls.intake import batch
from rxtls.intake.batch import FIN, SYN
from rxtls.intake.compiled.columns import (
    AUTO,
    FLOW_RESEGMENTED,
    OFF,
    RESEGMENT,
    ROWS,
    SIDE_ACKED,
    SIDE_CLOCK,
    SIDE_EDGE,
    SIDE_MSS,
)
from rxtls.intake.parse import _DEFAULT_MSS, _FIRST_ONLY, _LAST_ONLY, MIN_SEGMENT
from rxtls.intake.steer import _ROW_FLAGS
from rxtls.native import inlined, inner
from rxtls.seq import MASK

_MSS_OF = np.zeros(7, np.int64)  # by family
_MSS_OF[4], _MSS_OF[6] = _DEFAULT_MSS[4], _DEFAULT_MSS[16]


@inlined
def put_row(control, rows, frame, time_ns, leaf, flow, clock, seq, flags, offset, length, acked, edge):  # type: ignore[no-untyped-def]
    """One row; that there is room has been seen to."""
    at = control[ROWS]
    control[ROWS] = at + 1
    rows[at, batch.FRAME] = frame
    rows[at, batch.TIME] = time_ns
    rows[at, batch.LEAF] = leaf
    rows[at, batch.FLOW] = flow
    rows[at, batch.CLOCK] = clock
    rows[at, batch.SEQ] = seq
    rows[at, batch.FLAGS] = flags
    rows[at, batch.OFFSET] = offset
    rows[at, batch.LENGTH] = length
    rows[at, batch.ACKED] = acked
    rows[at, batch.EDGE] = edge


@inlined
def segment_size(control, sides, forth, back, family, length, option_length):  # type: ignore[no-untyped-def]
    """How long a segment of `forth` can be."""
    size = control[RESEGMENT]
    if size == OFF:
        size = length
    elif size == AUTO:
        size = sides[forth, SIDE_MSS]
        other = sides[back, SIDE_MSS]
        if size == 0 or 0 < other < size:
            size = other
        if size == 0:
            size = _MSS_OF[family]
        size -= option_length
    return max(size, MIN_SEGMENT)


@inner
def cut(control, flows, f, sides, forth, rows, frame, time_ns, leaf, flow, seq, flags, offset, present, length, size):  # type: ignore[no-untyped-def]
    """The rows of a packet that is longer than `size`, or cut by the snap length with a FIN behind what is missing."""
    acked, edge = sides[forth, SIDE_ACKED], sides[forth, SIDE_EDGE]
    clock = sides[forth, SIDE_CLOCK]
    before = clock
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
        put_row(control, rows, frame, time_ns, leaf, flow, clock, (seq + at) & MASK, kind, place, take, acked, edge)
        if at == 0 and flags & SYN:
            seq += 1  # SYN takes the place before the first byte (RFC 9293 section 3.4)
        kind = between
        at += size
        if at >= present:
            break
    if not whole and flags & FIN:
        clock += 1
        seq = (seq + length) & MASK
        put_row(control, rows, frame, time_ns, leaf, flow, clock, seq, between | last, 0, 0, acked, edge)
    sides[forth, SIDE_CLOCK] = clock
    if clock > before + 1:
        flows[f, FLOW_RESEGMENTED] += 1
