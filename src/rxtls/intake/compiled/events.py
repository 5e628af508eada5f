"""What a Connection object must know of its flow: events for Python, each when there is something new to tell."""

from __future__ import annotations

from rxtls.intake.batch import RST
from rxtls.intake.compiled.columns import (
    ENDED,
    GONE,
    GUESSED,
    LEAF_SEEN,
    OPENED,
    RST_NOTED,
    RST_SEEN,
    SYN_NOTED,
    SYN_SEEN,
    WORD,
    EventRow,
    FlowRow,
    Steering,
)
from rxtls.native import get, inner, put


@inner
def _tell(control: int, kind: int, connection: int, first: int, second: int, third: int, fourth: int) -> None:
    event = get(control, Steering.EVENT)
    put(control, Steering.EVENT, event + EventRow.COLUMNS * WORD)
    put(event, EventRow.KIND, kind)
    put(event, EventRow.CONNECTION, connection)
    put(event, EventRow.CONNECTION + 1, first)
    put(event, EventRow.CONNECTION + 2, second)
    put(event, EventRow.CONNECTION + 3, third)
    put(event, EventRow.CONNECTION + 4, fourth)


@inner
def name(control: int, flow: int, i: int, side: int, where: int) -> int:
    """The connection of a flow that was pending until now."""
    connection = get(control, Steering.CONNECTIONS)
    put(control, Steering.CONNECTIONS, connection + 1)
    put(flow, FlowRow.CONNECTION, connection)
    put(flow, FlowRow.LEAF, where)
    _tell(control, OPENED, connection, i, side, get(flow, FlowRow.STATE) & GUESSED, where)
    return connection


@inner
def seen_at(control: int, flow: int, where: int) -> None:
    """A leaf other than that of the row before: to the front, and the others move up."""
    moving = get(flow, FlowRow.LEAF)
    put(flow, FlowRow.LEAF, where)
    for n in range(FlowRow.LEAF + 1, FlowRow.LEAF + FlowRow.LEAVES):
        if moving == where:
            return
        after = get(flow, n)
        put(flow, n, moving)
        moving = after
    if moving != where:
        _tell(control, LEAF_SEEN, get(flow, FlowRow.CONNECTION), where, 0, 0, 0)


@inner
def note(control: int, flow: int, side: int, flags: int) -> None:
    """A SYN or RST passed."""
    bit = RST_NOTED if flags & RST else SYN_NOTED << side
    state = get(flow, FlowRow.STATE)
    if not state & bit:
        put(flow, FlowRow.STATE, state | bit)
        _tell(control, RST_SEEN if flags & RST else SYN_SEEN, get(flow, FlowRow.CONNECTION), side, flags, 0, 0)


@inner
def _told(flow: int) -> int:
    return get(flow, FlowRow.WRONG) << 32 | get(flow, FlowRow.RESEGMENTED)


@inner
def ended(control: int, flow: int, connection: int, why: int, verdict: int) -> None:
    """A generation has ended; `verdict` is its last word on the vantage."""
    _tell(control, ENDED, connection, why, verdict, get(flow, FlowRow.END_FRAME), _told(flow))


@inner
def gone(control: int, flow: int, connection: int) -> None:
    """Its flow leaves the table."""
    _tell(control, GONE, connection, get(flow, FlowRow.END_FRAME), _told(flow), 0, 0)
