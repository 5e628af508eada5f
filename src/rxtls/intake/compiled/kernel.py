"""All steering of frames: Steer._frame and what it calls, for kernels, over the tables of columns.py.

The order is that of intake/steer.py's drawing. Before a frame has any effect it is seen to that there is room for all
its rows and events and for a flow; where there is not, the kernel stops at that frame and is called again.
"""

from __future__ import annotations

from typing import NamedTuple

from rxtls.intake.batch import ACK, COLUMNS, FIN, RST, SYN, TICK
from rxtls.intake.compiled.columns import (
    ALL_TAKEN,
    FLOW_COLUMNS,
    NEED_FLOWS,
    NEED_INTERFACE,
    NEED_ROOM,
    OVER,
    WORD,
    ClockRow,
    EventRow,
    FlowRow,
    LinkRow,
    SideRow,
    Steering,
)
from rxtls.intake.compiled.direction import another, answered, fin_acked, finished, side_row, syn_sent
from rxtls.intake.compiled.events import name, note, seen_at
from rxtls.intake.compiled.evidence import BAD as CHECKSUM_BAD
from rxtls.intake.compiled.evidence import BAD_HEADER, follow, look, time_handshake
from rxtls.intake.compiled.evidence import OK as CHECKSUM_OK
from rxtls.intake.compiled.generations import FIN_END, OPEN_END, drop, end, end_idle, is_idle, open_at, reopen, sweep
from rxtls.intake.compiled.mirror import accept, mirrored
from rxtls.intake.compiled.networks import kin
from rxtls.intake.compiled.segments import Carried, Origin, cut, put_reset, put_row, segment_size, set_mss
from rxtls.intake.compiled.table import clock_row, comes_by, find, side_of, use
from rxtls.intake.compiled.verdict import refused
from rxtls.intake.evidence import DONE, SYN_ACK
from rxtls.intake.steer import _CARRIES, _ROW_FLAGS
from rxtls.native import Row, Table, address, get, inlined, inner, kernel, put
from rxtls.wire.compiled.columns import PACKET, FrameRow, PacketRow
from rxtls.wire.compiled.parse import FATE_CODES

_SEGMENT = FATE_CODES["frame.segment"]
_SEGMENT_CUT = FATE_CODES["frame.segment_cut"]
_ACK = FATE_CODES["frame.ack"]
_FILTERED = FATE_CODES["frame.filtered"]
_BAD_CHECKSUM = FATE_CODES["frame.bad_checksum"]
_BAD_IP_CHECKSUM = FATE_CODES["frame.bad_ip_checksum"]
_MIRRORED = FATE_CODES["frame.mirrored"]
_STRAY_RESET = FATE_CODES["frame.stray_reset"]

# What a frame may make: END rows where it ends an idle flow, evicts or reuses one, and ends its own by FIN (two each);
# a row of its own, one of a cut FIN, and one for each 32 bytes of its payload: no segment but the last is shorter
# (parse.MIN_SEGMENT). There is always room for USUAL bytes. And an event for each end and what it leaves, a connection,
# a leaf, a note.
USUAL = 2048
SEGMENT_BITS = 5
ROWS_NEEDED = 16 + (USUAL >> SEGMENT_BITS)
EVENTS_NEEDED = 16
ROW_BYTES = COLUMNS * WORD
EVENT_BYTES = EventRow.COLUMNS * WORD
_FRAME_BYTES = FrameRow.COLUMNS * WORD
_PACKET_BYTES = PacketRow.COLUMNS * WORD


@inlined
def _count(control: int, noted: int, i: int, fate: int) -> None:
    """One frame more of this fate: frame `i`, for those who look on."""
    put(control, Steering.FATES + fate, get(control, Steering.FATES + fate) + 1)
    if noted:
        put(noted, i, fate)


@inner
def _refuse(control: int, noted: int, i: int, fate: int, packet: int) -> None:
    """Steer._refuse."""
    _count(control, noted, i, fate)
    if not get(packet, PacketRow.FLAGS) & RST:
        put(
            control,
            Steering.REFUSED_BYTES + fate,
            get(control, Steering.REFUSED_BYTES + fate) + get(packet, PacketRow.CAPTURED_LENGTH),
        )


@inner
def _learn_syn(flow: int, side: int, packet: int, seq: int) -> None:
    """What the Directions learn from a SYN."""
    forth, back = side_row(flow, side), side_row(flow, 1 - side)
    syn_sent(forth, back, seq, get(packet, PacketRow.MSS), get(packet, PacketRow.WINDOW_SCALE))
    set_mss(flow, get(packet, PacketRow.FAMILY), get(forth, SideRow.MSS), get(back, SideRow.MSS))


@inner
def _take(control: int, frames: int, packets: int, passed: int, noted: int, count: int) -> int:
    """Take frames from control[NEXT] to `count`; why it stopped. Tables by their addresses; `passed` and `noted`
    may be 0."""
    flows_at = get(control, Steering.FLOWS_AT)
    interface = -1  # of the frame before, as are clock, f and side
    clock = 0
    f = -1
    side = 0
    for i in range(get(control, Steering.NEXT), count):
        captured = frames + i * _FRAME_BYTES
        packet = packets + i * _PACKET_BYTES
        time_ns = get(captured, FrameRow.TIME)
        if interface != get(captured, FrameRow.INTERFACE) or not clock:
            interface = get(captured, FrameRow.INTERFACE)
            clock = clock_row(control, interface)
            if interface < 0 or interface >= get(control, Steering.CLOCKS_COUNT) or get(clock, ClockRow.DEVICE) < 0:
                put(control, Steering.NEXT, i)
                return NEED_INTERFACE
        # The earlier of two frames' times: one damaged time stamp must not end everybody's connection.
        now = min(time_ns, get(clock, ClockRow.LAST))
        if now > get(clock, ClockRow.SWEEP_AT):
            f = -1
            if not sweep(control, clock, now):
                put(control, Steering.NEXT, i)
                return NEED_ROOM
        fate = get(packet, PacketRow.FATE)
        captured_length = get(packet, PacketRow.CAPTURED_LENGTH)
        if fate == PACKET:
            row = get(control, Steering.ROW)
            if captured_length > USUAL:
                row += (captured_length >> SEGMENT_BITS) * ROW_BYTES
            if row > get(control, Steering.ROWS_FULL) or get(control, Steering.EVENT) > get(
                control, Steering.EVENTS_FULL
            ):
                put(control, Steering.NEXT, i)
                return NEED_ROOM
            if get(control, Steering.FREE) < 0:
                put(control, Steering.NEXT, i)
                return NEED_FLOWS
        put(clock, ClockRow.NOW, now)
        put(clock, ClockRow.LAST, time_ns)
        if fate != PACKET:
            if fate >= 0:
                _count(control, noted, i, fate)
            else:
                put(control, Steering.OTHERS, get(control, Steering.OTHERS) + 1)
            continue
        if passed and not get(passed, i):
            _refuse(control, noted, i, _FILTERED, packet)
            continue

        frame = get(captured, FrameRow.INDEX)
        flags = get(packet, PacketRow.FLAGS)
        seq = get(packet, PacketRow.SEQ)
        length = get(packet, PacketRow.PAYLOAD_LENGTH)
        option_length = get(packet, PacketRow.OPTION_LENGTH)
        leaf = interface
        where = get(clock, ClockRow.DEVICE)
        ifindex = get(packet, PacketRow.COOKED_IFINDEX)
        if ifindex >= 0:
            leaf |= (ifindex & 0x7FFF_FFFF) << 32
            where |= (ifindex & 0x7FFF_FFFF) << 32
        depth_link = (
            get(packet, PacketRow.PATH) << 36 | get(packet, PacketRow.VLAN_DEPTH) << 16 | get(captured, FrameRow.LINK)
        )
        network = get(packet, PacketRow.NETWORK)
        if network:
            put(control, Steering.TUNNELLED, 1)

        ports = get(packet, PacketRow.FAMILY) << 32 | get(packet, PacketRow.PORTS)
        src_high, src_low = get(packet, PacketRow.SRC_HIGH), get(packet, PacketRow.SRC_LOW)
        dst_high, dst_low = get(packet, PacketRow.DST_HIGH), get(packet, PacketRow.DST_LOW)
        flow = flows_at + f * (FLOW_COLUMNS * WORD)
        side = side_of(flow, src_high, src_low, dst_high, dst_low, ports) if f >= 0 else -1
        if side < 0 or not comes_by(flow, network):
            found = find(control, src_high, src_low, dst_high, dst_low, ports, network)
            if found < 0 and get(control, Steering.TUNNELLED):
                found = kin(control, packet, time_ns, leaf, depth_link, ports)
            f = found >> 1
            side = found & 1
            flow = flows_at + f * (FLOW_COLUMNS * WORD)
        if f >= 0:
            its = get(flow, FlowRow.INTERFACE)
            its_now = time_ns if its == interface else get(clock_row(control, its), ClockRow.NOW)
            if is_idle(control, get(flow, FlowRow.TIME), its_now):
                end_idle(control, flow)
                drop(control, flow, f)
                f = -1
        if flags & RST and (f < 0 or get(flow, FlowRow.CONNECTION) < 0):
            _count(control, noted, i, _STRAY_RESET)
            continue
        if f < 0:
            found = open_at(control, packet, interface, frame, time_ns, ports, leaf, depth_link)
            f = found >> 1
            side = found & 1
            flow = flows_at + f * (FLOW_COLUMNS * WORD)

        at_home = get(flow, FlowRow.HOME_LEAF) == leaf and get(flow, FlowRow.HOME_REST) == depth_link
        if not at_home or not get(flow, FlowRow.SINGLE):
            if not at_home:
                put(flow, FlowRow.SINGLE, 0)
            if mirrored(control, flow, packet, time_ns, leaf, depth_link):
                _refuse(control, noted, i, _MIRRORED, packet)
                continue

        checksum = get(packet, PacketRow.CHECKSUM)
        cooked_type = get(packet, PacketRow.COOKED_TYPE)
        ack = get(packet, PacketRow.ACK)
        anew = flags & (SYN | RST) == SYN and another(side_row(flow, side), seq)
        if not anew:
            look(side_row(flow, side), side_row(flow, 1 - side), checksum, length, cooked_type)
            stage = get(flow, FlowRow.STAGE)
            if stage < DONE and (flags & SYN or stage == SYN_ACK):
                time_handshake(flow, side, time_ns, flags, seq, ack)
        wrong = checksum in (CHECKSUM_BAD, BAD_HEADER)
        if checksum != CHECKSUM_OK:
            field = get(packet, PacketRow.FIELD)
            if refused(control, flow, side, checksum, cooked_type, flags, field):
                _refuse(control, noted, i, _BAD_IP_CHECKSUM if checksum == BAD_HEADER else _BAD_CHECKSUM, packet)
                continue
        if anew:
            found = reopen(control, packet, interface, frame, time_ns, ports, f)
            f = found >> 1
            side = found & 1
            flow = flows_at + f * (FLOW_COLUMNS * WORD)
            look(side_row(flow, side), side_row(flow, 1 - side), checksum, length, cooked_type)
            time_handshake(flow, side, time_ns, flags, seq, ack)

        put(flow, FlowRow.TIME, time_ns)
        if get(control, Steering.NEWEST) != f or get(flow, FlowRow.INTERFACE) != interface:
            use(control, flow, f, interface)
        accept(control, flow, packet, time_ns, leaf, depth_link)

        # What the vantage learns, and then the two Directions.
        forth, back = side_row(flow, side), side_row(flow, 1 - side)
        window = get(packet, PacketRow.WINDOW)
        follow(forth, back, packet, time_ns, flags, seq, ack, length)
        if not flags & RST:
            if flags & SYN:
                _learn_syn(flow, side, packet, seq)
            elif get(forth, SideRow.FIRST) < 0:
                put(forth, SideRow.FIRST, seq)
            if flags & ACK and get(back, SideRow.HEARD) != ack << 16 | window:
                answered(back, forth, flags, ack, window)
            if flags & FIN:
                finished(forth, flags, seq, length)

        put(flow, FlowRow.END_FRAME, frame)
        if length or flags & _CARRIES:
            connection = get(flow, FlowRow.CONNECTION)
            if connection < 0:
                connection = name(control, flow, i, side, where)
            elif get(flow, FlowRow.LEAF) != where:
                seen_at(control, flow, where)
            if flags & (SYN | RST):
                note(control, flow, side, flags)
            origin = Origin(frame, time_ns, where, 2 * connection + side)
            if flags & RST:
                put_reset(control, forth, origin, seq, flags)
                _count(control, noted, i, _SEGMENT)
            else:
                put(control, Steering.BYTES, get(control, Steering.BYTES) + captured_length)
                offset = get(captured, FrameRow.OFFSET) + get(packet, PacketRow.PAYLOAD_OFFSET)
                size = segment_size(control, flow, length, option_length)
                short = captured_length < length
                if length > size or (short and flags & FIN):
                    cut(control, flow, forth, origin, seq, flags, Carried(offset, captured_length, length), size)
                else:
                    n = get(forth, SideRow.CLOCK) + 1
                    put(forth, SideRow.CLOCK, n)
                    place = offset if captured_length else 0
                    put_row(control, forth, origin, n, seq, flags & _ROW_FLAGS, place, captured_length)
                _count(control, noted, i, _SEGMENT_CUT if short else _SEGMENT)
        else:
            _count(control, noted, i, _ACK)
        if wrong and get(flow, FlowRow.CONNECTION) >= 0:
            put(flow, FlowRow.WRONG, get(flow, FlowRow.WRONG) + 1)
        if (
            get(forth, SideRow.FIN_END) >= 0
            and fin_acked(forth)
            and fin_acked(back)
            and not get(flow, FlowRow.STATE) & OVER
        ):
            end(control, flow, FIN_END, frame, time_ns)
    put(control, Steering.NEXT, count)
    return ALL_TAKEN


class Kept(NamedTuple):
    """What steering keeps from call to call, but for the flows, which the control row knows."""

    control: Row
    clocks: Table
    sights: Table
    chains: Row


@inner
def _begin(kept: Kept, rows: Table, events: Table) -> None:
    """Addresses of all tables into the control row; rows and events are put behind those that there are."""
    at = address(kept.control)
    first_row, first_event = address(rows), address(events)
    put(at, Steering.ROW, first_row + get(at, Steering.ROWS) * ROW_BYTES)
    put(at, Steering.EVENT, first_event + get(at, Steering.EVENTS) * EVENT_BYTES)
    put(at, Steering.ROWS_FULL, first_row + (len(rows) - ROWS_NEEDED) * ROW_BYTES)
    put(at, Steering.EVENTS_FULL, first_event + (len(events) - EVENTS_NEEDED) * EVENT_BYTES)
    put(at, Steering.CLOCKS_AT, address(kept.clocks))
    put(at, Steering.CLOCKS_COUNT, len(kept.clocks))
    put(at, Steering.SIGHTS_AT, address(kept.sights))
    put(at, Steering.CHAINS_AT, address(kept.chains))


@inner
def _end(at: int, rows: Table, events: Table) -> None:
    """How many there are then."""
    put(at, Steering.ROWS, (get(at, Steering.ROW) - address(rows)) // ROW_BYTES)
    put(at, Steering.EVENTS, (get(at, Steering.EVENT) - address(events)) // EVENT_BYTES)


@kernel
def steer(kept: Kept, rows: Table, events: Table, frames: Table, packets: Table, passed: Row, noted: Row) -> int:
    """Take frames from the control row's NEXT on; why it stopped: ALL_TAKEN, or what it needs to go on.

    `passed` has 0 where the filter stops a frame, or is empty. `noted`, where it is not empty, gets the place of each
    frame's fate in FATE_NAMES. Rows and events are put behind those that there are.
    """
    at = address(kept.control)
    _begin(kept, rows, events)
    asked = address(passed) if len(passed) else 0
    told = address(noted) if len(noted) else 0
    stopped = _take(at, address(frames), address(packets), asked, told, len(frames))
    _end(at, rows, events)
    return stopped


@kernel
def idle(kept: Kept, rows: Table, events: Table, time_ns: int, whose: Row) -> int:
    """It is `time_ns` by the clocks in `whose` (1): free what has been idle. ALL_TAKEN, or NEED_ROOM to go on."""
    at = address(kept.control)
    _begin(kept, rows, events)
    stopped = ALL_TAKEN
    for interface in range(len(kept.clocks)):
        clock = clock_row(at, interface)
        if get(clock, ClockRow.DEVICE) >= 0 and whose[interface]:
            put(clock, ClockRow.LAST, time_ns)
            put(clock, ClockRow.NOW, time_ns)
            if time_ns > get(clock, ClockRow.SWEEP_AT) and not sweep(at, clock, time_ns):
                stopped = NEED_ROOM
                break
    _end(at, rows, events)
    return stopped


@kernel
def recent(control: Row, flows: Table, links: Table, whose: Row, after: int, slow: bool, since: int, which: Row) -> int:
    """Flows by the clocks in `whose` (1), with a connection that goes on, of which a packet came behind the frame
    `after`, or, if `slow`, not before `since`: into `which`, in no order. How many."""
    count = 0
    f = control[Steering.NEWEST]
    while f >= 0:
        if flows[f, FlowRow.CONNECTION] >= 0 and whose[flows[f, FlowRow.INTERFACE]]:
            if flows[f, FlowRow.END_FRAME] <= after and not (slow and flows[f, FlowRow.TIME] >= since):
                break
            if flows[f, FlowRow.STATE] & OVER == 0:
                which[count] = f
                count += 1
        f = links[f, LinkRow.OLDER]
    return count


@kernel
def tick(control: Row, flows: Table, rows: Table, which: Row, frame: int, time_ns: int) -> None:
    """TICK rows of both directions of the flows `which`, behind the rows that there are. There is room for them."""
    at = address(control)
    put(at, Steering.ROW, address(rows) + get(at, Steering.ROWS) * ROW_BYTES)
    for n in range(len(which)):
        flow = address(flows) + which[n] * (FLOW_COLUMNS * WORD)
        for side in range(2):
            forth = side_row(flow, side)
            if get(forth, SideRow.CLOCK):
                origin = Origin(frame, time_ns, -1, 2 * get(flow, FlowRow.CONNECTION) + side)
                put_row(at, forth, origin, get(forth, SideRow.CLOCK), 0, TICK, 0, 0)
    put(at, Steering.ROWS, (get(at, Steering.ROW) - address(rows)) // ROW_BYTES)


@kernel
def finish(control: Row, flows: Table, clocks: Table, rows: Table, events: Table, which: Row) -> None:
    """END rows for the flows `which`, for the capture has ended. There is room for them, and for their events."""
    at = address(control)
    put(at, Steering.ROW, address(rows) + get(at, Steering.ROWS) * ROW_BYTES)
    put(at, Steering.EVENT, address(events))
    put(at, Steering.CLOCKS_AT, address(clocks))
    for n in range(len(which)):
        flow = address(flows) + which[n] * (FLOW_COLUMNS * WORD)
        time_ns = get(flow, FlowRow.TIME)
        if is_idle(at, time_ns, get(clock_row(at, get(flow, FlowRow.INTERFACE)), ClockRow.LAST)):
            end_idle(at, flow)
        else:
            end(at, flow, OPEN_END, get(flow, FlowRow.END_FRAME), time_ns)
    put(at, Steering.ROWS, (get(at, Steering.ROW) - address(rows)) // ROW_BYTES)
    put(at, Steering.EVENTS, (get(at, Steering.EVENT) - address(events)) // EVENT_BYTES)
