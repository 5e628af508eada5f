"""All steering of frames: Steer._frame and what it calls, for kernels, over the tables of columns.py.

The order is that of intake/steer.py's drawing. Before a frame has any effect it is seen to that there is room for all
its rows and events and for a flow; where there is not, the kernel stops at that frame and is called again.
"""

from __future__ import annotations

from rxtls.intake.batch import ACK, END, FIN, RST, SYN
from rxtls.intake.compiled import columns as c
from rxtls.intake.compiled.direction import another, answered, fin_acked, finished, syn_sent
from rxtls.intake.compiled.evidence import OK as CHECKSUM_OK
from rxtls.intake.compiled.evidence import ack_moved, below, look, out_of_order, place, refused, time_handshake
from rxtls.intake.compiled.mirror import accept, mirrored, rest_of
from rxtls.intake.compiled.segments import cut, put_row, segment_size
from rxtls.intake.compiled.table import find, hashed, put, side_of, take_out, turned, use
from rxtls.intake.flows import _UNSEEN, ENDS
from rxtls.intake.steer import _CARRIES, _ROW_FLAGS
from rxtls.intake.vantage import _DONE, _NOTHING, _SYN_ACK
from rxtls.native import inlined, inner, kernel, signed32
from rxtls.seq import MASK
from rxtls.wire.compiled import columns as wire
from rxtls.wire.compiled.parse import FATE_CODES

_SEGMENT = FATE_CODES["frame.segment"]
_SEGMENT_CUT = FATE_CODES["frame.segment_cut"]
_ACK = FATE_CODES["frame.ack"]
_FILTERED = FATE_CODES["frame.filtered"]
_BAD_CHECKSUM = FATE_CODES["frame.bad_checksum"]
_MIRRORED = FATE_CODES["frame.mirrored"]
_STRAY_RESET = FATE_CODES["frame.stray_reset"]

_FIN, _REUSED, _IDLE, _EVICTED, _OPEN = (tuple(ENDS).index(end) for end in ("fin", "reused", "idle", "evicted", "open"))

# What one frame may make: a row of END for each side where it ends an idle flow, and evicts or reuses another, and ends
# its own by FIN; a row of its own and one of a cut FIN; and the same in events, with those of a new connection.
ROWS_NEEDED = 16
EVENTS_NEEDED = 16
SEGMENT_BITS = 5  # a segment is never shorter than 32 bytes (parse.MIN_SEGMENT), but for the last one


@inlined
def _tell(control, events, kind, connection, a, b, d, e):  # type: ignore[no-untyped-def]
    at = control[c.EVENTS]
    control[c.EVENTS] = at + 1
    events[at, c.EVENT_KIND] = kind
    events[at, c.EVENT_CONNECTION] = connection
    events[at, 2] = a
    events[at, 3] = b
    events[at, 4] = d
    events[at, 5] = e


@inner
def _end(control, flows, f, sides, rows, events, why, frame, time_ns):  # type: ignore[no-untyped-def]
    """End a generation, once: its END rows, its last word on the vantage. A pending flow just goes."""
    connection = flows[f, c.FLOW_CONNECTION]
    if connection < 0 or flows[f, c.FLOW_STATE] & c.OVER:
        return
    flows[f, c.FLOW_STATE] |= c.OVER
    last, resegmented = flows[f, c.FLOW_END_FRAME], flows[f, c.FLOW_RESEGMENTED]
    _tell(control, events, c.ENDED, connection, why, place(flows, f, sides), last, resegmented)
    for side in range(2):
        s = 2 * f + side
        put_row(
            control, rows, frame, time_ns, -1, 2 * connection + side, sides[s, c.SIDE_CLOCK], 0, END, 0, 0,
            sides[s, c.SIDE_ACKED], sides[s, c.SIDE_EDGE],
        )  # fmt: skip


@inlined
def _end_idle(control, flows, f, sides, rows, events):  # type: ignore[no-untyped-def]
    """A flow found idle: so its time and the idle time together are before some clock's, and fit."""
    at = flows[f, c.FLOW_TIME] + control[c.IDLE]
    _end(control, flows, f, sides, rows, events, _IDLE, flows[f, c.FLOW_END_FRAME], at)


@inner
def _drop(control, flows, f, buckets, clocks, events):  # type: ignore[no-untyped-def]
    connection = flows[f, c.FLOW_CONNECTION]
    if connection >= 0:
        last, resegmented = flows[f, c.FLOW_END_FRAME], flows[f, c.FLOW_RESEGMENTED]
        _tell(control, events, c.GONE, connection, last, resegmented, 0, 0)
    take_out(control, flows, f, buckets, clocks)


@inlined
def _idle(control, since, now):  # type: ignore[no-untyped-def]
    return now > since and below(control[c.IDLE], now - since)


@inner
def _sweep(control, flows, sides, buckets, clocks, interface, now, rows, events):  # type: ignore[no-untyped-def]
    """Free what has been idle. False if there was no room to go on; then it is called again."""
    f = clocks[interface, c.CLOCK_OLDEST]
    while f >= 0 and _idle(control, flows[f, c.FLOW_TIME], now):
        if control[c.ROWS] + 2 > rows.shape[0] or control[c.EVENTS] + 2 > events.shape[0]:
            return False
        _end_idle(control, flows, f, sides, rows, events)
        _drop(control, flows, f, buckets, clocks, events)
        f = clocks[interface, c.CLOCK_OLDEST]
    since = now if f < 0 else flows[f, c.FLOW_TIME]
    beyond = below(c.LATEST - since, control[c.IDLE])
    clocks[interface, c.CLOCK_SWEEP_AT] = c.LATEST if beyond else since + control[c.IDLE]
    return True


@inner
def _open(control, flows, sides, buckets, clocks, rows, events, frame, time_ns):  # type: ignore[no-untyped-def]
    """A flow with nothing but its place in time; its row, and those of its sides, are blank otherwise."""
    if control[c.LIVE] >= control[c.MAX_FLOWS]:
        oldest = control[c.OLDEST]
        _end(control, flows, oldest, sides, rows, events, _EVICTED, frame, time_ns)
        _drop(control, flows, oldest, buckets, clocks, events)
    f = control[c.FREE]
    control[c.FREE] = flows[f, c.FLOW_CHAIN]
    for column in range(c.FLOW_COLUMNS):
        flows[f, column] = 0
    flows[f, c.FLOW_TIME] = time_ns
    flows[f, c.FLOW_CONNECTION] = -1
    flows[f, c.FLOW_STAGE] = _NOTHING
    for n in range(c.FLOW_LEAVES):
        flows[f, c.FLOW_LEAF + n] = -1
    for side in range(2 * f, 2 * f + 2):
        for column in range(c.SIDE_COLUMNS):
            sides[side, column] = -1
        sides[side, c.SIDE_CLOCK] = 0
        sides[side, c.SIDE_MARKS] = 0
        sides[side, c.SIDE_DUP_ACKS] = 0
        sides[side, c.SIDE_MSS] = 0
        sides[side, c.SIDE_SCALE] = _UNSEEN
        sides[side, c.SIDE_LATE] = 0
        sides[side, c.SIDE_LOST_BEFORE] = 0
        sides[side, c.SIDE_LATE_LOSS] = 0
    return f


@inner
def _begin(control, flows, f, buckets, clocks, interface, packets, i, ports):  # type: ignore[no-untyped-def]
    """Enter the flow of a first packet, that of row i. The side that sent it."""
    src_high, src_low = packets[i, wire.SRC_HIGH], packets[i, wire.SRC_LOW]
    dst_high, dst_low = packets[i, wire.DST_HIGH], packets[i, wire.DST_LOW]
    flows[f, c.FLOW_HASH] = hashed(control, src_high, src_low, dst_high, dst_low, ports)
    kind = packets[i, wire.FLAGS] & (SYN | ACK)
    guessed = not kind & SYN
    if guessed:
        flows[f, c.FLOW_STATE] = c.GUESSED
        from_a = (ports >> 16 & 0xFFFF) >= (ports & 0xFFFF)
    else:
        from_a = kind == SYN
    if from_a:
        flows[f, c.FLOW_A_HIGH], flows[f, c.FLOW_A_LOW] = src_high, src_low
        flows[f, c.FLOW_B_HIGH], flows[f, c.FLOW_B_LOW] = dst_high, dst_low
        flows[f, c.FLOW_PORTS] = ports
    else:
        flows[f, c.FLOW_A_HIGH], flows[f, c.FLOW_A_LOW] = dst_high, dst_low
        flows[f, c.FLOW_B_HIGH], flows[f, c.FLOW_B_LOW] = src_high, src_low
        flows[f, c.FLOW_PORTS] = turned(ports)
    put(control, flows, f, buckets, clocks, interface)
    return side_of(flows, f, src_high, src_low, dst_high, dst_low, ports)


@inner
def _name(control, flows, f, events, i, side, where):  # type: ignore[no-untyped-def]
    """The connection of a flow that was pending until now."""
    connection = control[c.CONNECTIONS]
    control[c.CONNECTIONS] = connection + 1
    flows[f, c.FLOW_CONNECTION] = connection
    flows[f, c.FLOW_LEAF] = where
    _tell(control, events, c.OPENED, connection, i, side, flows[f, c.FLOW_STATE] & c.GUESSED, where)
    return connection


@inner
def _seen_at(control, flows, f, events, where):  # type: ignore[no-untyped-def]
    """A leaf other than that of the row before."""
    known = False
    before = flows[f, c.FLOW_LEAF]
    flows[f, c.FLOW_LEAF] = where
    for n in range(1, c.FLOW_LEAVES):
        before, flows[f, c.FLOW_LEAF + n] = flows[f, c.FLOW_LEAF + n], before
        if before == where:
            known = True
            break
    if not known:
        _tell(control, events, c.LEAF_SEEN, flows[f, c.FLOW_CONNECTION], where, 0, 0, 0)


@inner
def _note(control, flows, f, events, side, flags):  # type: ignore[no-untyped-def]
    """A SYN or RST passed."""
    bit = c.RST_NOTED if flags & RST else c.SYN_NOTED << side
    if not flows[f, c.FLOW_STATE] & bit:
        flows[f, c.FLOW_STATE] |= bit
        kind = c.RST_SEEN if flags & RST else c.SYN_SEEN
        _tell(control, events, kind, flows[f, c.FLOW_CONNECTION], side, flags, 0, 0)


@kernel(
    "int64(int64[::1], int64[:, ::1], int64[:, ::1], int64[::1], int64[:, ::1], int64[:, ::1], int64[::1],"
    "int64[:, ::1], int64[:, ::1], int64[::1], int64[:, ::1], int64[:, ::1], int64[::1], int64)"
)
def steer(  # type: ignore[no-untyped-def]
    control, flows, sides, buckets, clocks, sights, chains, rows, events, fates, frames, packets, passed, base
):
    """Take frames from control[NEXT] on. `passed` has 0 where the filter stops a frame, or is empty; `base` is the
    address of the frames' data. Why it stopped: ALL_TAKEN, or what it needs to go on."""
    filtering = passed.shape[0] > 0
    f = -1  # flow of the frame before
    side = 0
    for i in range(control[c.NEXT], frames.shape[0]):
        control[c.NEXT] = i
        time_ns = frames[i, wire.TIME]
        interface = frames[i, wire.INTERFACE]
        if interface < 0 or interface >= clocks.shape[0] or clocks[interface, c.CLOCK_DEVICE] < 0:
            return c.NEED_INTERFACE
        # The earlier of two frames' times: one damaged time stamp must not end everybody's connection.
        now = min(time_ns, clocks[interface, c.CLOCK_LAST])
        if now > clocks[interface, c.CLOCK_SWEEP_AT]:
            f = -1
            if not _sweep(control, flows, sides, buckets, clocks, interface, now, rows, events):
                return c.NEED_ROOM
        fate = packets[i, wire.FATE]
        captured_length = packets[i, wire.CAPTURED_LENGTH]
        if fate == wire.PACKET:
            if (
                control[c.ROWS] + (captured_length >> SEGMENT_BITS) + ROWS_NEEDED > rows.shape[0]
                or control[c.EVENTS] + EVENTS_NEEDED > events.shape[0]
            ):
                return c.NEED_ROOM
            if control[c.FREE] < 0:
                return c.NEED_FLOWS
        clocks[interface, c.CLOCK_NOW] = now
        clocks[interface, c.CLOCK_LAST] = time_ns
        if fate != wire.PACKET:
            fates[fate] += 1
            continue
        if filtering and not passed[i]:
            fates[_FILTERED] += 1
            continue

        frame = frames[i, wire.INDEX]
        flags = packets[i, wire.FLAGS]
        seq = packets[i, wire.SEQ]
        length = packets[i, wire.PAYLOAD_LENGTH]
        ports = packets[i, wire.FAMILY] << 32 | packets[i, wire.PORTS]
        ifindex = packets[i, wire.COOKED_IFINDEX]
        leaf = interface
        where = clocks[interface, c.CLOCK_DEVICE]
        if ifindex >= 0:
            leaf |= (ifindex & 0x7FFF_FFFF) << 32
            where |= (ifindex & 0x7FFF_FFFF) << 32
        home_rest = packets[i, wire.VLAN_DEPTH] << 32 | frames[i, wire.LINK]

        src_high, src_low = packets[i, wire.SRC_HIGH], packets[i, wire.SRC_LOW]
        dst_high, dst_low = packets[i, wire.DST_HIGH], packets[i, wire.DST_LOW]
        side = side_of(flows, f, src_high, src_low, dst_high, dst_low, ports) if f >= 0 else -1
        if side < 0:
            found = find(control, flows, buckets, src_high, src_low, dst_high, dst_low, ports)
            f, side = (found >> 1, found & 1) if found >= 0 else (-1, 0)
        if f >= 0:
            its = flows[f, c.FLOW_INTERFACE]
            if _idle(control, flows[f, c.FLOW_TIME], time_ns if its == interface else clocks[its, c.CLOCK_NOW]):
                _end_idle(control, flows, f, sides, rows, events)
                _drop(control, flows, f, buckets, clocks, events)
                f = -1
        if flags & RST and (f < 0 or flows[f, c.FLOW_CONNECTION] < 0):
            fates[_STRAY_RESET] += 1
            continue
        if f < 0:
            f = _open(control, flows, sides, buckets, clocks, rows, events, frame, time_ns)
            side = _begin(control, flows, f, buckets, clocks, interface, packets, i, ports)
            flows[f, c.FLOW_HOME_LEAF] = leaf
            flows[f, c.FLOW_HOME_REST] = home_rest
            flows[f, c.FLOW_SINGLE] = 1
            flows[f, c.FLOW_HOME] = control[c.HOMES]
            control[c.HOMES] += 1

        home = flows[f, c.FLOW_HOME]
        rest = rest_of(captured_length, packets[i, wire.IP_ID], packets[i, wire.SUM])
        header = base + frames[i, wire.OFFSET] + packets[i, wire.TCP_OFFSET]
        option_length = packets[i, wire.OPTION_LENGTH]
        at_home = flows[f, c.FLOW_HOME_LEAF] == leaf and flows[f, c.FLOW_HOME_REST] == home_rest
        if not at_home or not flows[f, c.FLOW_SINGLE]:
            if not at_home:
                flows[f, c.FLOW_SINGLE] = 0
            if mirrored(control, sights, chains, home, rest, header, 20 + option_length, time_ns, leaf, home_rest):
                fates[_MIRRORED] += 1
                continue

        forth = 2 * f + side
        back = forth ^ 1
        checksum = packets[i, wire.CHECKSUM]
        cooked_type = packets[i, wire.COOKED_TYPE]
        ack = packets[i, wire.ACK]
        anew = flags & (SYN | RST) == SYN and another(sides, forth, seq)
        if not anew:
            look(sides, forth, back, checksum, length, cooked_type)
            stage = flows[f, c.FLOW_STAGE]
            if stage < _DONE and (flags & SYN or stage == _SYN_ACK):
                time_handshake(flows, f, sides, side, time_ns, flags, seq, ack)
        if checksum != CHECKSUM_OK and refused(control, flows, f, sides, side, checksum, cooked_type):
            fates[_BAD_CHECKSUM] += 1
            continue
        if anew:
            _end(control, flows, f, sides, rows, events, _REUSED, frame, time_ns)
            home_leaf, home_place, single = (
                flows[f, c.FLOW_HOME_LEAF], flows[f, c.FLOW_HOME_REST], flows[f, c.FLOW_SINGLE]
            )  # fmt: skip
            _drop(control, flows, f, buckets, clocks, events)
            f = _open(control, flows, sides, buckets, clocks, rows, events, frame, time_ns)
            side = _begin(control, flows, f, buckets, clocks, interface, packets, i, ports)
            flows[f, c.FLOW_HOME_LEAF] = home_leaf
            flows[f, c.FLOW_HOME_REST] = home_place
            flows[f, c.FLOW_SINGLE] = single
            flows[f, c.FLOW_HOME] = home
            forth = 2 * f + side
            back = forth ^ 1
            look(sides, forth, back, checksum, length, cooked_type)
            time_handshake(flows, f, sides, side, time_ns, flags, seq, ack)

        flows[f, c.FLOW_TIME] = time_ns
        if control[c.NEWEST] != f or flows[f, c.FLOW_INTERFACE] != interface:
            use(control, flows, f, clocks, interface)
        accept(control, sights, chains, home, rest, header, 20 + option_length, time_ns, leaf, home_rest)

        # vantage.Evidence.follow, and what the two Directions learn.
        window = packets[i, wire.WINDOW]
        if flags & (SYN | RST):
            if flags & SYN:
                sides[forth, c.SIDE_HOST_MSS] = packets[i, wire.MSS]
                sides[forth, c.SIDE_NEXT] = (seq + 1 + length) & MASK
        else:
            if flags & ACK:
                acked = sides[back, c.SIDE_ACKED]
                if ack == acked:
                    if window == sides[forth, c.SIDE_WINDOW] and window and not length and not flags & FIN:
                        sides[back, c.SIDE_DUP_ACKS] += 1
                elif acked < 0 or signed32(ack - acked) > 0:
                    ack_moved(sides, forth, back, time_ns, ack)
                sides[forth, c.SIDE_WINDOW] = window
            if length:
                following = sides[forth, c.SIDE_NEXT]
                if following < 0 or following == seq:
                    end = (seq + length) & MASK
                    sides[forth, c.SIDE_NEXT] = end
                    if sides[forth, c.SIDE_SAMPLE] < 0:
                        sides[forth, c.SIDE_SAMPLE] = end
                        sides[forth, c.SIDE_SAMPLE_TIME] = time_ns
                else:
                    out_of_order(sides, forth, time_ns, seq, length, sides[forth, c.SIDE_ACKED])
        if not flags & RST:
            if flags & SYN:
                syn_sent(sides, forth, back, seq, packets[i, wire.MSS], packets[i, wire.WINDOW_SCALE])
            elif sides[forth, c.SIDE_FIRST] < 0:
                sides[forth, c.SIDE_FIRST] = seq
            if flags & ACK and sides[back, c.SIDE_HEARD] != ack << 16 | window:
                answered(sides, back, forth, flags, ack, window)
            if flags & FIN:
                finished(sides, forth, flags, seq, length)

        connection = flows[f, c.FLOW_CONNECTION]
        flows[f, c.FLOW_END_FRAME] = frame
        if length or flags & _CARRIES:
            if connection < 0:
                connection = _name(control, flows, f, events, i, side, where)
            elif flows[f, c.FLOW_LEAF] != where:
                _seen_at(control, flows, f, events, where)
            if flags & (SYN | RST):
                _note(control, flows, f, events, side, flags)
            flow = 2 * connection + side
            if flags & RST:
                clock = sides[forth, c.SIDE_CLOCK] + 1
                sides[forth, c.SIDE_CLOCK] = clock
                put_row(
                    control, rows, frame, time_ns, where, flow, clock, seq, flags & (_ROW_FLAGS & ~SYN), 0, 0,
                    sides[forth, c.SIDE_ACKED], sides[forth, c.SIDE_EDGE],
                )  # fmt: skip
                fates[_SEGMENT] += 1
            else:
                control[c.BYTES] += captured_length
                offset = frames[i, wire.OFFSET] + packets[i, wire.PAYLOAD_OFFSET]
                size = segment_size(control, sides, forth, back, packets[i, wire.FAMILY], length, option_length)
                short = captured_length < length
                if length <= size and not (short and flags & FIN):
                    clock = sides[forth, c.SIDE_CLOCK] + 1
                    sides[forth, c.SIDE_CLOCK] = clock
                    put_row(
                        control, rows, frame, time_ns, where, flow, clock, seq, flags & _ROW_FLAGS,
                        offset if captured_length else 0, captured_length,
                        sides[forth, c.SIDE_ACKED], sides[forth, c.SIDE_EDGE],
                    )  # fmt: skip
                else:
                    cut(
                        control, flows, f, sides, forth, rows, frame, time_ns, where, flow, seq, flags, offset,
                        captured_length, length, size,
                    )  # fmt: skip
                fates[_SEGMENT_CUT if short else _SEGMENT] += 1
        else:
            fates[_ACK] += 1
        if (
            sides[forth, c.SIDE_FIN_END] >= 0
            and fin_acked(sides, forth)
            and fin_acked(sides, back)
            and not flows[f, c.FLOW_STATE] & c.OVER
        ):
            _end(control, flows, f, sides, rows, events, _FIN, frame, time_ns)
    control[c.NEXT] = frames.shape[0]
    return c.ALL_TAKEN


@kernel("void(int64[::1], int64[:, ::1], int64[:, ::1], int64[:, ::1], int64[:, ::1], int64[:, ::1], int64[::1])")
def finish(control, flows, sides, clocks, rows, events, which):  # type: ignore[no-untyped-def]
    """END rows for the flows `which`, for the capture has ended."""
    for n in range(which.shape[0]):
        f = which[n]
        time_ns = flows[f, c.FLOW_TIME]
        if _idle(control, time_ns, clocks[flows[f, c.FLOW_INTERFACE], c.CLOCK_LAST]):
            _end_idle(control, flows, f, sides, rows, events)
        else:
            _end(control, flows, f, sides, rows, events, _OPEN, flows[f, c.FLOW_END_FRAME], time_ns)
