"""Generations, compiled: how they begin, and every way in which they end."""

from __future__ import annotations

from rxtls.intake.batch import ACK, END, SYN
from rxtls.intake.compiled.columns import (
    CLOCK_OLDEST,
    CLOCK_SWEEP_AT,
    EVENT,
    EVENTS_FULL,
    FLOW_A_HIGH,
    FLOW_A_LOW,
    FLOW_B_HIGH,
    FLOW_B_LOW,
    FLOW_COLUMNS,
    FLOW_CONNECTION,
    FLOW_END_FRAME,
    FLOW_HOME,
    FLOW_HOME_LEAF,
    FLOW_HOME_REST,
    FLOW_LEAF,
    FLOW_LEAVES,
    FLOW_NETWORK_IDS,
    FLOW_NETWORKS,
    FLOW_PORTS,
    FLOW_SINGLE,
    FLOW_STAGE,
    FLOW_STATE,
    FLOW_TIME,
    FREE,
    GUESSED,
    HOMES,
    IDLE,
    LATEST,
    LINK_CHAIN,
    LIVE,
    MAX_FLOWS,
    OLDEST,
    OVER,
    ROW,
    ROWS_FULL,
    SIDE_ACKED,
    SIDE_CLOCK,
    SIDE_COLUMNS,
    SIDE_DUP_ACKS,
    SIDE_EDGE,
    SIDE_LATE,
    SIDE_LATE_LOSS,
    SIDE_LOST_BEFORE,
    SIDE_MARKS,
    SIDE_MSS,
    SIDE_SCALE,
)
from rxtls.intake.compiled.direction import side_row
from rxtls.intake.compiled.events import ended, gone
from rxtls.intake.compiled.evidence import below
from rxtls.intake.compiled.segments import put_row, set_mss
from rxtls.intake.compiled.table import enter, flow_row, hashed, link_row, side_of, take_out, turned
from rxtls.intake.compiled.verdict import judged
from rxtls.intake.evidence import NOTHING
from rxtls.intake.flows import _UNSEEN, ENDS
from rxtls.native import get, inlined, inner, minus, plus, put
from rxtls.wire.compiled import columns as wire

_PLACES = {end: n for n, end in enumerate(ENDS)}
FIN_END, REUSED_END, IDLE_END = _PLACES["fin"], _PLACES["reused"], _PLACES["idle"]
EVICTED_END, OPEN_END = _PLACES["evicted"], _PLACES["open"]


@inner
def end(control: int, flow: int, why: int, frame: int, time_ns: int) -> None:
    """End a generation, once: its END rows, its last word on the vantage. A pending flow just goes."""
    connection, state = get(flow, FLOW_CONNECTION), get(flow, FLOW_STATE)
    if connection < 0 or state & OVER:
        return
    put(flow, FLOW_STATE, state | OVER)
    ended(control, flow, connection, why, judged(flow))
    for side in range(2):
        row = side_row(flow, side)
        clock, acked, edge = get(row, SIDE_CLOCK), get(row, SIDE_ACKED), get(row, SIDE_EDGE)
        put_row(control, frame, time_ns, -1, 2 * connection + side, clock, 0, END, 0, 0, acked, edge)


@inner
def end_idle(control: int, flow: int) -> None:
    """A flow found idle: so its time and the idle time together are before some clock's, and fit."""
    end(control, flow, IDLE_END, get(flow, FLOW_END_FRAME), plus(get(flow, FLOW_TIME), get(control, IDLE)))


@inner
def drop(control: int, flow: int, f: int) -> None:
    connection = get(flow, FLOW_CONNECTION)
    if connection >= 0:
        gone(control, flow, connection)
    take_out(control, flow, f)


@inlined
def is_idle(control: int, since: int, now: int) -> bool:
    return now > since and below(get(control, IDLE), minus(now, since))


@inner
def sweep(control: int, clock: int, now: int) -> bool:
    """Free what has been idle. False if there was no room to go on; then it is called again."""
    f = get(clock, CLOCK_OLDEST)
    while f >= 0 and is_idle(control, get(flow_row(control, f), FLOW_TIME), now):
        if get(control, ROW) > get(control, ROWS_FULL) or get(control, EVENT) > get(control, EVENTS_FULL):
            return False
        end_idle(control, flow_row(control, f))
        drop(control, flow_row(control, f), f)
        f = get(clock, CLOCK_OLDEST)
    since = now if f < 0 else get(flow_row(control, f), FLOW_TIME)
    beyond = below(minus(LATEST, since), get(control, IDLE))
    put(clock, CLOCK_SWEEP_AT, LATEST if beyond else plus(since, get(control, IDLE)))
    return True


@inner
def _open(control: int, packet: int, interface: int, frame: int, time_ns: int, ports: int) -> int:
    """The flow of a first packet, entered in the table; 2 * its number + the side that sent the packet."""
    if get(control, LIVE) >= get(control, MAX_FLOWS):
        oldest = get(control, OLDEST)
        end(control, flow_row(control, oldest), EVICTED_END, frame, time_ns)
        drop(control, flow_row(control, oldest), oldest)
    f = get(control, FREE)
    flow = flow_row(control, f)
    put(control, FREE, get(link_row(control, f), LINK_CHAIN))
    for column in range(FLOW_COLUMNS):
        put(flow, column, 0)
    put(flow, FLOW_TIME, time_ns)
    put(flow, FLOW_CONNECTION, -1)
    put(flow, FLOW_STAGE, NOTHING)
    for n in range(FLOW_LEAVES):
        put(flow, FLOW_LEAF + n, -1)
    put(flow, FLOW_NETWORKS, get(packet, wire.NETWORK))
    for n in range(1, FLOW_NETWORK_IDS):
        put(flow, FLOW_NETWORKS + n, -1)
    for side in range(2):
        row = side_row(flow, side)
        for column in range(SIDE_COLUMNS):
            put(row, column, -1)
        put(row, SIDE_CLOCK, 0)
        put(row, SIDE_MARKS, 0)
        put(row, SIDE_DUP_ACKS, 0)
        put(row, SIDE_MSS, 0)
        put(row, SIDE_SCALE, _UNSEEN)
        put(row, SIDE_LATE, 0)
        put(row, SIDE_LOST_BEFORE, 0)
        put(row, SIDE_LATE_LOSS, 0)
    set_mss(flow, get(packet, wire.FAMILY), 0, 0)

    src_high, src_low = get(packet, wire.SRC_HIGH), get(packet, wire.SRC_LOW)
    dst_high, dst_low = get(packet, wire.DST_HIGH), get(packet, wire.DST_LOW)
    kind = get(packet, wire.FLAGS) & (SYN | ACK)
    if kind & SYN:
        from_a = kind == SYN
    else:
        put(flow, FLOW_STATE, GUESSED)
        from_a = (ports >> 16 & 0xFFFF) >= (ports & 0xFFFF)
    put(flow, FLOW_A_HIGH, src_high if from_a else dst_high)
    put(flow, FLOW_A_LOW, src_low if from_a else dst_low)
    put(flow, FLOW_B_HIGH, dst_high if from_a else src_high)
    put(flow, FLOW_B_LOW, dst_low if from_a else src_low)
    put(flow, FLOW_PORTS, ports if from_a else turned(ports))
    enter(control, flow, f, hashed(control, src_high, src_low, dst_high, dst_low, ports), interface)
    return 2 * f + side_of(flow, src_high, src_low, dst_high, dst_low, ports)


@inner
def open_at(
    control: int, packet: int, interface: int, frame: int, time_ns: int, ports: int, leaf: int, rest: int
) -> int:
    """As `_open`, with a home at the place of the packet."""
    found = _open(control, packet, interface, frame, time_ns, ports)
    flow = flow_row(control, found >> 1)
    home = get(control, HOMES)
    put(control, HOMES, home + 1)
    put(flow, FLOW_HOME, home)
    put(flow, FLOW_HOME_LEAF, leaf)
    put(flow, FLOW_HOME_REST, rest)
    put(flow, FLOW_SINGLE, 1)
    return found


@inner
def reopen(control: int, packet: int, interface: int, frame: int, time_ns: int, ports: int, f: int) -> int:
    """As `_open`, for a SYN that begins a new generation of flow `f`, which has the home of the old one."""
    flow = flow_row(control, f)
    leaf, rest = get(flow, FLOW_HOME_LEAF), get(flow, FLOW_HOME_REST)
    home, single = get(flow, FLOW_HOME), get(flow, FLOW_SINGLE)
    first, second = get(flow, FLOW_NETWORKS), get(flow, FLOW_NETWORKS + 1)
    third, fourth = get(flow, FLOW_NETWORKS + 2), get(flow, FLOW_NETWORKS + 3)
    end(control, flow, REUSED_END, frame, time_ns)
    drop(control, flow, f)
    found = _open(control, packet, interface, frame, time_ns, ports)
    flow = flow_row(control, found >> 1)
    put(flow, FLOW_HOME, home)
    put(flow, FLOW_HOME_LEAF, leaf)
    put(flow, FLOW_HOME_REST, rest)
    put(flow, FLOW_SINGLE, single)
    put(flow, FLOW_NETWORKS, first)
    put(flow, FLOW_NETWORKS + 1, second)
    put(flow, FLOW_NETWORKS + 2, third)
    put(flow, FLOW_NETWORKS + 3, fourth)
    return found
