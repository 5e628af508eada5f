"""Generations, compiled: how they begin, and every way in which they end."""

from __future__ import annotations

from rxtls.intake.batch import ACK, END, SYN
from rxtls.intake.compiled.columns import (
    FLOW_COLUMNS,
    GUESSED,
    LATEST,
    OVER,
    ClockRow,
    FlowRow,
    LinkRow,
    SideRow,
    Steering,
)
from rxtls.intake.compiled.direction import side_row
from rxtls.intake.compiled.events import ended, gone
from rxtls.intake.compiled.evidence import below
from rxtls.intake.compiled.segments import Origin, put_row, set_mss
from rxtls.intake.compiled.table import enter, flow_row, hashed, link_row, side_of, take_out, turned
from rxtls.intake.compiled.verdict import judged
from rxtls.intake.evidence import NOTHING
from rxtls.intake.flows import _UNSEEN, ENDS
from rxtls.native import get, inlined, inner, minus, plus, put
from rxtls.wire.compiled.columns import PacketRow

_PLACES = {end: n for n, end in enumerate(ENDS)}
FIN_END, REUSED_END, IDLE_END = _PLACES["fin"], _PLACES["reused"], _PLACES["idle"]
EVICTED_END, OPEN_END = _PLACES["evicted"], _PLACES["open"]


@inner
def end(control: int, flow: int, why: int, frame: int, time_ns: int) -> None:
    """End a generation, once: its END rows, its last word on the vantage. A pending flow just goes."""
    connection, state = get(flow, FlowRow.CONNECTION), get(flow, FlowRow.STATE)
    if connection < 0 or state & OVER:
        return
    put(flow, FlowRow.STATE, state | OVER)
    ended(control, flow, connection, why, judged(flow))
    for side in range(2):
        row = side_row(flow, side)
        put_row(control, row, Origin(frame, time_ns, -1, 2 * connection + side), get(row, SideRow.CLOCK), 0, END, 0, 0)


@inner
def end_idle(control: int, flow: int) -> None:
    """A flow found idle: so its time and the idle time together are before some clock's, and fit."""
    end(
        control,
        flow,
        IDLE_END,
        get(flow, FlowRow.END_FRAME),
        plus(get(flow, FlowRow.TIME), get(control, Steering.IDLE)),
    )


@inner
def drop(control: int, flow: int, f: int) -> None:
    connection = get(flow, FlowRow.CONNECTION)
    if connection >= 0:
        gone(control, flow, connection)
    take_out(control, flow, f)


@inlined
def is_idle(control: int, since: int, now: int) -> bool:
    return now > since and below(get(control, Steering.IDLE), minus(now, since))


@inner
def sweep(control: int, clock: int, now: int) -> bool:
    """Free what has been idle. False if there was no room to go on; then it is called again."""
    f = get(clock, ClockRow.OLDEST)
    while f >= 0 and is_idle(control, get(flow_row(control, f), FlowRow.TIME), now):
        if get(control, Steering.ROW) > get(control, Steering.ROWS_FULL) or get(control, Steering.EVENT) > get(
            control, Steering.EVENTS_FULL
        ):
            return False
        end_idle(control, flow_row(control, f))
        drop(control, flow_row(control, f), f)
        f = get(clock, ClockRow.OLDEST)
    since = now if f < 0 else get(flow_row(control, f), FlowRow.TIME)
    beyond = below(minus(LATEST, since), get(control, Steering.IDLE))
    put(clock, ClockRow.SWEEP_AT, LATEST if beyond else plus(since, get(control, Steering.IDLE)))
    return True


@inner
def _open(control: int, packet: int, interface: int, frame: int, time_ns: int, ports: int) -> int:
    """The flow of a first packet, entered in the table; 2 * its number + the side that sent the packet."""
    if get(control, Steering.LIVE) >= get(control, Steering.MAX_FLOWS):
        oldest = get(control, Steering.OLDEST)
        end(control, flow_row(control, oldest), EVICTED_END, frame, time_ns)
        drop(control, flow_row(control, oldest), oldest)
    f = get(control, Steering.FREE)
    flow = flow_row(control, f)
    put(control, Steering.FREE, get(link_row(control, f), LinkRow.CHAIN))
    for column in range(FLOW_COLUMNS):
        put(flow, column, 0)
    put(flow, FlowRow.TIME, time_ns)
    put(flow, FlowRow.CONNECTION, -1)
    put(flow, FlowRow.STAGE, NOTHING)
    for n in range(FlowRow.LEAVES):
        put(flow, FlowRow.LEAF + n, -1)
    put(flow, FlowRow.NETWORKS, get(packet, PacketRow.NETWORK))
    for n in range(1, FlowRow.NETWORK_IDS):
        put(flow, FlowRow.NETWORKS + n, -1)
    for side in range(2):
        row = side_row(flow, side)
        for column in range(SideRow.COLUMNS):
            put(row, column, -1)
        put(row, SideRow.CLOCK, 0)
        put(row, SideRow.MARKS, 0)
        put(row, SideRow.DUP_ACKS, 0)
        put(row, SideRow.MSS, 0)
        put(row, SideRow.SCALE, _UNSEEN)
        put(row, SideRow.LATE, 0)
        put(row, SideRow.LOST_BEFORE, 0)
        put(row, SideRow.LATE_LOSS, 0)
    set_mss(flow, get(packet, PacketRow.FAMILY), 0, 0)

    src_high, src_low = get(packet, PacketRow.SRC_HIGH), get(packet, PacketRow.SRC_LOW)
    dst_high, dst_low = get(packet, PacketRow.DST_HIGH), get(packet, PacketRow.DST_LOW)
    kind = get(packet, PacketRow.FLAGS) & (SYN | ACK)
    if kind & SYN:
        from_a = kind == SYN
    else:
        put(flow, FlowRow.STATE, GUESSED)
        from_a = (ports >> 16 & 0xFFFF) >= (ports & 0xFFFF)
    put(flow, FlowRow.A_HIGH, src_high if from_a else dst_high)
    put(flow, FlowRow.A_LOW, src_low if from_a else dst_low)
    put(flow, FlowRow.B_HIGH, dst_high if from_a else src_high)
    put(flow, FlowRow.B_LOW, dst_low if from_a else src_low)
    put(flow, FlowRow.PORTS, ports if from_a else turned(ports))
    enter(control, flow, f, hashed(control, src_high, src_low, dst_high, dst_low, ports), interface)
    return 2 * f + side_of(flow, src_high, src_low, dst_high, dst_low, ports)


@inner
def open_at(
    control: int, packet: int, interface: int, frame: int, time_ns: int, ports: int, leaf: int, rest: int
) -> int:
    """As `_open`, with a home at the place of the packet."""
    found = _open(control, packet, interface, frame, time_ns, ports)
    flow = flow_row(control, found >> 1)
    home = get(control, Steering.HOMES)
    put(control, Steering.HOMES, home + 1)
    put(flow, FlowRow.HOME, home)
    put(flow, FlowRow.HOME_LEAF, leaf)
    put(flow, FlowRow.HOME_REST, rest)
    put(flow, FlowRow.SINGLE, 1)
    return found


@inner
def reopen(control: int, packet: int, interface: int, frame: int, time_ns: int, ports: int, f: int) -> int:
    """As `_open`, for a SYN that begins a new generation of flow `f`, which has the home of the old one."""
    flow = flow_row(control, f)
    leaf, rest = get(flow, FlowRow.HOME_LEAF), get(flow, FlowRow.HOME_REST)
    home, single = get(flow, FlowRow.HOME), get(flow, FlowRow.SINGLE)
    first, second = get(flow, FlowRow.NETWORKS), get(flow, FlowRow.NETWORKS + 1)
    third, fourth = get(flow, FlowRow.NETWORKS + 2), get(flow, FlowRow.NETWORKS + 3)
    end(control, flow, REUSED_END, frame, time_ns)
    drop(control, flow, f)
    found = _open(control, packet, interface, frame, time_ns, ports)
    flow = flow_row(control, found >> 1)
    put(flow, FlowRow.HOME, home)
    put(flow, FlowRow.HOME_LEAF, leaf)
    put(flow, FlowRow.HOME_REST, rest)
    put(flow, FlowRow.SINGLE, single)
    put(flow, FlowRow.NETWORKS, first)
    put(flow, FlowRow.NETWORKS + 1, second)
    put(flow, FlowRow.NETWORKS + 2, third)
    put(flow, FlowRow.NETWORKS + 3, fourth)
    return found
