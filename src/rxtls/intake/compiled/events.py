"""What a Connection object must know of its flow: events for Python, each when there is something new to tell."""

from __future__ import annotations

from rxtls.intake.batch import RST
from rxtls.intake.compiled.columns import (
    CONNECTIONS,
    ENDED,
    EVENT,
    EVENT_COLUMNS,
    EVENT_CONNECTION,
    EVENT_KIND,
    FLOW_CONNECTION,
    FLOW_END_FRAME,
    FLOW_LEAF,
    FLOW_LEAVES,
    FLOW_RESEGMENTED,
    FLOW_STATE,
    FLOW_WRONG,
    GONE,
    GUESSED,
    LEAF_SEEN,
    OPENED,
    RST_NOTED,
    RST_SEEN,
    SYN_NOTED,
    SYN_SEEN,
    WORD,
)
from rxtls.native import get, inner, put


@inner
def _tell(control: int, kind: int, connection: int, first: int, second: int, third: int, fourth: int) -> None:
    event = get(control, EVENT)
    put(control, EVENT, event + EVENT_COLUMNS * WORD)
    put(event, EVENT_KIND, kind)
    put(event, EVENT_CONNECTION, connection)
    put(event, EVENT_CONNECTION + 1, first)
    put(event, EVENT_CONNECTION + 2, second)
    put(event, EVENT_CONNECTION + 3, third)
    put(event, EVENT_CONNECTION + 4, fourth)


@inner
def name(control: int, flow: int, i: int, side: int, where: int) -> int:
    """The connection of a flow that was pending until now."""
    connection = get(control, CONNECTIONS)
    put(control, CONNECTIONS, connection + 1)
    put(flow, FLOW_CONNECTION, connection)
    put(flow, FLOW_LEAF, where)
    _tell(control, OPENED, connection, i, side, get(flow, FLOW_STATE) & GUESSED, where)
    return connection


@inner
def seen_at(control: int, flow: int, where: int) -> None:
    """A leaf other than that of the row before: to the front, and the others move up."""
    moving = get(flow, FLOW_LEAF)
    put(flow, FLOW_LEAF, where)
    for n in range(FLOW_LEAF + 1, FLOW_LEAF + FLOW_LEAVES):
        if moving == where:
            return
        after = get(flow, n)
        put(flow, n, moving)
        moving = after
    if moving != where:
        _tell(control, LEAF_SEEN, get(flow, FLOW_CONNECTION), where, 0, 0, 0)


@inner
def note(control: int, flow: int, side: int, flags: int) -> None:
    """A SYN or RST passed."""
    bit = RST_NOTED if flags & RST else SYN_NOTED << side
    state = get(flow, FLOW_STATE)
    if not state & bit:
        put(flow, FLOW_STATE, state | bit)
        _tell(control, RST_SEEN if flags & RST else SYN_SEEN, get(flow, FLOW_CONNECTION), side, flags, 0, 0)


@inner
def _told(flow: int) -> int:
    return get(flow, FLOW_WRONG) << 32 | get(flow, FLOW_RESEGMENTED)


@inner
def ended(control: int, flow: int, connection: int, why: int, verdict: int) -> None:
    """A generation has ended; `verdict` is its last word on the vantage."""
    _tell(control, ENDED, connection, why, verdict, get(flow, FLOW_END_FRAME), _told(flow))


@inner
def gone(control: int, flow: int, connection: int) -> None:
    """Its flow leaves the table."""
    _tell(control, GONE, connection, get(flow, FLOW_END_FRAME), _told(flow), 0, 0)
