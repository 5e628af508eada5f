"""Frames of several captures into one block: the earliest first, rows and bytes copied.

Each capture has walked ahead; `heads` says where its next frame stands. Of the frames that come next the earliest goes
first, of equals that of the capture that was given first: exactly Source's order. A capture whose frames are used up
stops the gathering, because nobody knows yet what comes next there.
"""

from __future__ import annotations

from rxtls.native import Row, Table, copy, inner, kernel, little64
from rxtls.wire.compiled.columns import FrameRow, PacketRow

# Columns of a head.
TABLE = 0  # addresses of the capture's frames, packets and data
PACKETS = 1
DATA = 2
NEXT = 3  # row of its next frame
COUNT = 4
CAPTURE = 5  # its place among the captures as given
HEAD_COLUMNS = 6

# What the kernel is told and tells.
FRAMES = 0  # rows of the block so far
USED = 1  # bytes of the block so far
ROOM = 2  # and how many there can be
FIRST = 3  # global frame index of the block's first row
LIMIT = 4  # stop at a frame that comes after this time; at this time, one of a capture from BEFORE on
BEFORE = 5
REASON = 6
RUNS = 7  # of this call
CONTROL_COLUMNS = 8

FULL, EMPTY, LATER = range(3)

_WORD = 8
_PACKET_BYTES = _WORD * PacketRow.COLUMNS


@inner
def _field(heads: Table, i: int, column: int) -> int:
    """A column of the next frame of head i."""
    return little64(heads[i, TABLE] + _WORD * (heads[i, NEXT] * FrameRow.COLUMNS + column))


@kernel
def gather(control: Row, heads: Table, table: Table, packets: int, data: int, runs: Table) -> None:
    """Fill a block: its frames, the addresses of its packets and its data, and in `runs` how many came from where.

    Every head has a frame; `heads` are in order of CAPTURE. A run is (capture, frames); there is room for one by each
    row of `table`. Stops with FULL; EMPTY, where a head has no frame left; or LATER, as LIMIT says.
    """
    n = control[FRAMES]
    used = control[USED]
    index = control[FIRST]
    reason = -1
    run = 0
    while reason < 0:
        # The head that is first, and up to where: what is first among the others.
        best = -1
        time_ns = 0
        limit = control[LIMIT]
        before = control[BEFORE]
        for i in range(len(heads)):
            other = _field(heads, i, FrameRow.TIME)
            later = i
            if best < 0 or other < time_ns:
                later, best = best, i
                other, time_ns = time_ns, other
            if later >= 0 and (other < limit or (other == limit and heads[later, CAPTURE] < before)):
                limit, before = other, heads[later, CAPTURE]
        if time_ns > limit or (time_ns == limit and heads[best, CAPTURE] >= before):
            reason = LATER
        begun = n
        while reason < 0 and (time_ns < limit or (time_ns == limit and heads[best, CAPTURE] < before)):
            length = _field(heads, best, FrameRow.LENGTH)
            if n == len(table) or used + length > control[ROOM]:
                reason = FULL
                break
            copy(data + used, heads[best, DATA] + _field(heads, best, FrameRow.OFFSET), length)
            copy(packets + n * _PACKET_BYTES, heads[best, PACKETS] + heads[best, NEXT] * _PACKET_BYTES, _PACKET_BYTES)
            table[n, FrameRow.INDEX] = index + n
            table[n, FrameRow.TIME] = time_ns
            table[n, FrameRow.INTERFACE] = _field(heads, best, FrameRow.INTERFACE)
            table[n, FrameRow.LINK] = _field(heads, best, FrameRow.LINK)
            table[n, FrameRow.WIRE] = _field(heads, best, FrameRow.WIRE)
            table[n, FrameRow.OFFSET] = used
            table[n, FrameRow.LENGTH] = length
            table[n, FrameRow.EPB_FLAGS] = _field(heads, best, FrameRow.EPB_FLAGS)
            n += 1
            used += length
            heads[best, NEXT] += 1
            if heads[best, NEXT] == heads[best, COUNT]:
                reason = EMPTY
                break
            time_ns = _field(heads, best, FrameRow.TIME)
        if n > begun:
            runs[run, 0] = heads[best, CAPTURE]
            runs[run, 1] = n - begun
            run += 1
    control[FRAMES] = n
    control[USED] = used
    control[REASON] = reason
    control[RUNS] = run
