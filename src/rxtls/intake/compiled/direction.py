"""What one side sent, and what its peer has said about that: flows.Direction for kernels, over the rows of sides."""

from __future__ import annotations

from rxtls.intake.batch import SYN
from rxtls.intake.compiled.columns import WORD, FlowRow, SideRow
from rxtls.intake.flows import _ABSENT, _UNSEEN, MAX_WINDOW
from rxtls.native import get, inlined, inner, put, signed32
from rxtls.seq import MASK


@inlined
def side_row(flow: int, side: int) -> int:
    """The row of a side of a flow."""
    return flow + (FlowRow.SIDES + side * SideRow.COLUMNS) * WORD


@inner
def syn_sent(forth: int, back: int, seq: int, mss: int, scale: int) -> None:
    """Learn from a SYN. `mss` and `scale` are -1 where it has no such option."""
    put(forth, SideRow.ISN, seq)
    put(forth, SideRow.SCALE, scale if scale >= 0 else _ABSENT)
    put(forth, SideRow.MSS, max(mss, 0))
    put(forth, SideRow.HEARD, -1)  # the same numbers mean another window from now on
    put(back, SideRow.HEARD, -1)
    if get(forth, SideRow.FIRST) < 0:
        put(forth, SideRow.FIRST, (seq + 1) & MASK)


@inlined
def answered(mine: int, reverse: int, flags: int, ack: int, window: int) -> None:
    """Learn from an ACK for the direction `mine`, which says something new."""
    put(mine, SideRow.HEARD, -1 if flags & SYN else ack << 16 | window)
    acked = get(mine, SideRow.ACKED)
    known = acked if acked >= 0 else get(mine, SideRow.FIRST)
    if known >= 0 and abs(signed32(ack - known)) > MAX_WINDOW:
        return
    if acked < 0 or signed32(ack - acked) > 0:
        put(mine, SideRow.ACKED, ack)
        if get(mine, SideRow.FIRST) < 0:
            put(mine, SideRow.FIRST, ack)
    scale, other = get(mine, SideRow.SCALE), get(reverse, SideRow.SCALE)
    if flags & SYN or scale == _ABSENT or other == _ABSENT:
        edge = (ack + window) & MASK
    elif scale == _UNSEEN or other == _UNSEEN:
        put(mine, SideRow.EDGE, -1)
        return
    else:
        edge = (ack + (window << other)) & MASK
    known = get(mine, SideRow.EDGE)
    if known < 0 or signed32(edge - known) > 0:
        put(mine, SideRow.EDGE, edge)


@inner
def finished(forth: int, flags: int, seq: int, length: int) -> None:
    """Learn the place of a FIN."""
    start = (seq + 1) & MASK if flags & SYN else seq
    place = (start + length) & MASK
    end = (place + 1) & MASK
    acked, edge = get(forth, SideRow.ACKED), get(forth, SideRow.EDGE)
    if get(forth, SideRow.FIN_END) >= 0 or (acked >= 0 and signed32(acked - end) > 0):
        return
    awaited = acked >= 0 and signed32(acked - start) >= 0
    if edge < 0 or awaited or signed32(edge - place) >= 0:
        put(forth, SideRow.FIN_END, end)


@inlined
def fin_acked(side: int) -> bool:
    """Whether the FIN of this side was acknowledged."""
    end, acked = get(side, SideRow.FIN_END), get(side, SideRow.ACKED)
    return end >= 0 and acked >= 0 and signed32(acked - end) >= 0


@inner
def another(side: int, seq: int) -> bool:
    """True when a SYN of this side belongs to another incarnation than what was seen before."""
    isn, first = get(side, SideRow.ISN), get(side, SideRow.FIRST)
    if isn >= 0:
        return seq != isn
    return first >= 0 and first != (seq + 1) & MASK
