"""The stage from frames to rows: which frames become rows of which receive flow, at which tick of the flow's clock.

    frame ─► parse ─► filter ─► flow ─► seen elsewhere? ─► checksum ─► new generation? ─► state ─► rows
               │        │        │           │                │
             fates   filtered  stray      mirrored       bad_checksum         pure ACK: ack

A row is one segment with payload, SYN, FIN or RST; it advances the clock of its flow by one. A pure ACK makes no row:
it moves ACKED and EDGE of the opposite flow's later rows. When a generation ends, both of its flows get a row with
FLAGS END and LENGTH 0 at an unchanged clock (LEAF -1, SEQ 0: no packet stands behind it), before any row of the next
one. FRAME and TIME of an END row are those of its cause: the SYN, the last ACK, the frame that needed the place. For
"idle" nothing happened: FRAME is the connection's last frame and TIME the moment at which T had passed. At "open" both
are the last frame's. So no row depends on when the table happened to be swept, nor on how many frames a call gets.
A row with FLAGS TICK is like an END row, but nothing ends: `Steer.tick`.

Idle is judged by one clock only: that of the capture interface by which the connection's latest packet came. Clocks of
different interfaces (other hosts, other cards) may be minutes apart, so what another one shows says nothing, be it a
frame of somebody else or of the connection itself. A clock stands at the earlier of its interface's last two frames, or
where a tick has put it since.

Order matters in three places. The filter comes before the flow table: what it hides has no effect. A mirrored copy is
judged before anything learns from it. A frame is evidence of the vantage before that vantage may excuse its own
checksum: so a capture at a sender whose NIC fills in all checksums is known as such at the third packet of a handshake.
A host that has shown one right checksum has no such NIC, and what is wrong of it is refused (`vantage.excuses`). One
that has shown none is not believed (`Evidence.unbelieved`).

A RST takes no part in ACKED, EDGE and payload: the text in one is no stream data (RFC 9293 section 3.5.2 and RFC 1122
section 4.2.2.12), and blind RSTs are the cheapest forgery there is (RFC 5961).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Literal

import numpy as np

from rxtls.counters import Ledger
from rxtls.intake.batch import ACK, COLUMNS, END, FIN, RST, SYN, TICK, Batch
from rxtls.intake.evidence import WRONG
from rxtls.intake.flows import MOST_IDS, MOST_NETWORKS, Connection, Flow, FlowTable, answers, tuple_key
from rxtls.intake.mirror import Home, Identity, Place, Sights, identity
from rxtls.intake.parse import ChecksumPolicy, Resegment, checksum_fate, segments
from rxtls.intake.vantage import SAID, excuses, judge
from rxtls.wire.captured import CapturedFrame
from rxtls.wire.frame import Checksum, Packet, parse
from rxtls.wire.tunnels import network, path

IDLE_NS = 300 * 1_000_000_000
MAX_FLOWS = 1_048_576

# Rows wait as packed bytes: lists of ints would cost the conversion, and the garbage collector's time besides.
_ROW = Struct(f"={COLUMNS}q")
_LAST_TIME = (1 << 63) - 1

# What the payload of frames of these fates ends as.
REFUSED = {
    "frame.filtered": "byte.filtered",
    "frame.mirrored": "byte.mirrored",
    "frame.bad_checksum": "byte.bad_checksum",
    "frame.bad_ip_checksum": "byte.bad_checksum",
}

_ROW_FLAGS = 0x1F  # of the nine TCP flags those that a Batch knows
_CARRIES = SYN | FIN | RST

Vantage = Literal["auto", "receiver", "sender", "middle", "client", "server"]


@dataclass(frozen=True, slots=True)
class SteerOptions:
    """`vantage` other than auto is taken for every connection. `idle_ns` is capture time. `filter` None passes all."""

    checksum: ChecksumPolicy | Literal["auto", "verify", "ignore"] = ChecksumPolicy.AUTO
    resegment: Resegment = "auto"
    vantage: Vantage = "auto"
    idle_ns: int = IDLE_NS
    max_flows: int = MAX_FLOWS
    filter: Callable[[Packet], bool] | None = None


def leaf(interface: int, packet: Packet) -> int:
    """The LEAF of a packet: its capture interface and, where Linux cooked v2 names the device, that in the high half.

    `leaf & 0xFFFFFFFF` is the capture interface, `leaf >> 32` the ifindex (0: none).
    """
    ifindex = packet.cooked_ifindex
    return interface if ifindex is None else interface | (ifindex & 0x7FFF_FFFF) << 32


WAIT_NS = 12_000_000_000  # a little more than what the host waits for a hole to be filled (reassembly.GAP_NS)


class Ticked:
    """The last tick of each clock: its second, and the frame before it."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: dict[int, tuple[int, int]] = {}  # by the first interface of those that have the clock; -1: all

    def at(self, time_ns: int, frame: int, interfaces: Sequence[int] | None) -> tuple[int, bool]:
        """The next one, behind `frame`: the frame before the last tick, and whether this one begins a second."""
        which, second = interfaces[0] if interfaces else -1, time_ns // 1_000_000_000
        after, before = self._last.get(which, (-1, None))
        self._last[which] = frame, second
        return after, second != before


class _Clock:
    """The clock of one capture interface."""

    __slots__ = ("last", "now", "sweep_at")

    def __init__(self, time_ns: int) -> None:
        self.last = self.now = time_ns  # of its last frame; the earlier of its last two
        self.sweep_at = -(1 << 63)  # when its flows are to be looked through


class Steer:
    """Frames in, batches out. `connections[id]` are all generations so far, in order of their first row."""

    def __init__(self, ledger: Ledger, options: SteerOptions | None = None) -> None:
        options = options or SteerOptions()
        self.connections: list[Connection] = []
        self.most_flows = 0  # in the table at once, so far
        self.noted: list[tuple[int, int, str]] | None = None  # if watched: frame, time in ns and fate of each
        self.mine: Callable[[Packet | None], bool] | None = None  # with several jobs: shard.py
        self._ledger = ledger
        self._policy = ChecksumPolicy(options.checksum)
        self._check_ip = self._policy is not ChecksumPolicy.IGNORE
        self._resegment = options.resegment
        self._forced = SAID.get(options.vantage)
        self._idle = options.idle_ns
        self._max_flows = max(1, options.max_flows)
        self._filter = options.filter
        self._table = FlowTable()
        self._sights = Sights()
        self._leaves: dict[int, frozenset[int]] = {}  # one-leaf sets, shared by the connections
        self._clocks: dict[int, _Clock] = {}  # by capture interface
        self._rows: list[bytes] = []
        self._data: list[bytes] = []
        self._size = 0
        self._bytes = 0
        self._homes = 0
        self._tunnelled = False  # a packet with a network was seen
        self._refused: Counter[str] = Counter()  # bytes of payload in frames that enter no flow
        self._latest = -1  # index of the last frame
        self._ticked = Ticked()

    def batch(self, frames: Iterable[tuple[int, CapturedFrame]]) -> Batch:
        """The rows of some more (global frame index, frame), in order. Each frame gets its one fate in the ledger.

        (With several jobs: in the ledger of one of them.)

        How the frames are divided over calls changes nothing but the division of the rows.
        """
        fates: Counter[str] = Counter()
        for index, frame in frames:
            self._latest = index
            fate = self._frame(index, frame)
            if fate is not None:
                self._ledger.enter("frame")
                fates[fate] += 1
                if self.noted is not None:
                    self.noted.append((index, frame.time_ns, fate))
        for name, n in fates.items():
            self._ledger.fate(name, n)
        for name, n in self._refused.items():
            self._ledger.enter("byte", n)
            self._ledger.fate(name, n)
        self._refused.clear()
        return self._collect()

    def tick(self, time_ns: int, interfaces: Sequence[int] | None = None) -> Batch:
        """It is `time_ns`, whether frames come or not, by the clock of these capture interfaces (None: of all): what is
        idle by it ends, and both directions of their connections have TICK rows of which a packet came since the last
        tick.

        With the first tick of a second also those of which one came in the last WAIT_NS: what the host judges by time
        (gaps) is judged while nothing comes. FRAME is that of the last frame, the clocks of directions stand still.
        """
        for interface, clock in sorted(self._clocks.items()):
            if interfaces is None or interface in interfaces:
                clock.last = clock.now = time_ns
                if time_ns > clock.sweep_at:
                    self._sweep(interface, clock)
        after, slow = self._ticked.at(time_ns, self._latest, interfaces)
        met: dict[int, Flow] = {}
        for flow in self._table.latest_first():
            connection = flow.connection
            if connection is None or not (interfaces is None or flow.interface in interfaces):
                continue
            if connection.end_frame <= after and not (slow and time_ns - flow.time <= WAIT_NS):
                break
            if not flow.over:
                met[connection.id] = flow
        for number in sorted(met):
            for side, forth in enumerate(met[number].directions):
                if forth.clock:
                    said = self._latest, time_ns, -1, 2 * number + side, forth.clock, 0, TICK, 0, 0
                    self._rows.append(_ROW.pack(*said, forth.acked, forth.edge))
        return self._collect()

    def finish(self) -> Batch:
        """The capture has ended: END rows for all generations that have not, in order of connection."""
        flows = [flow for flow in self._table.flows() if flow.connection is not None and not flow.over]
        for flow in sorted(flows, key=_connection_id):
            if self._clocks[flow.interface].last - flow.time > self._idle:
                self._end_idle(flow)
            else:
                self._end(flow, "open", _connection(flow).end_frame, flow.time)
        self._table = FlowTable()
        self._sights = Sights()
        self._clocks.clear()
        return self._collect()

    def _frame(self, index: int, frame: CapturedFrame) -> str | None:
        """Take one frame; its fate, unless another job follows it."""
        time_ns = frame.time_ns
        interface = frame.interface
        clock = self._clocks.get(interface)
        if clock is None:
            clock = self._clocks[interface] = _Clock(time_ns)
        # The earlier of two frames' times: one damaged time stamp must not end everybody's connection.
        clock.now = now = min(time_ns, clock.last)
        clock.last = time_ns
        if now > clock.sweep_at:
            self._sweep(interface, clock)
        data = frame.data
        packet = parse(frame.link_type, data, frame.wire_length, self._check_ip, frame.flags)
        if self.mine is not None and not self.mine(None if isinstance(packet, str) else packet):
            return None
        if isinstance(packet, str):
            return packet
        if self._filter is not None and not self._filter(packet):
            return self._refuse("frame.filtered", packet)

        key = tuple_key(packet, data)
        place = (
            leaf(interface, packet),
            len(packet.vlan),
            frame.link_type,
            path(packet.tunnels) if packet.tunnels else 0,
        )
        same = identity(packet)
        which = network(packet.tunnels) if packet.tunnels else 0
        self._tunnelled = self._tunnelled or which > 0
        flow = self._table.find(key, which)
        if flow is None and self._tunnelled:
            flow = self._kin(key, packet, same, time_ns, place, which)
        if flow is not None and self._is_idle(flow, interface, time_ns):
            self._end_idle(flow)
            self._table.drop(flow)
            flow = None
        if packet.flags & RST and (flow is None or flow.connection is None):
            return "frame.stray_reset"
        if flow is None:
            self._homes += 1
            flow = self._open(Flow(key, packet, time_ns, interface, Home(place, self._homes)), index, time_ns)
        home = flow.home
        if self._sights.mirrored(home, same, time_ns, place):
            return self._refuse("frame.mirrored", packet)

        side = 0 if key == flow.key else 1
        anew = packet.flags & (SYN | RST) == SYN and flow.directions[side].another(packet)
        if not anew:
            flow.evidence.look(side, time_ns, packet)
        if packet.checksum is not Checksum.OK:
            refused = checksum_fate(packet, self._policy, self._excused(flow, side, packet))
            if refused is not None:
                return self._refuse(refused, packet)
        if anew:
            self._end(flow, "reused", index, time_ns)
            self._table.drop(flow)
            networks = flow.networks
            flow = self._open(Flow(key, packet, time_ns, interface, home), index, time_ns)
            flow.networks = networks
            side = 0 if key == flow.key else 1
            flow.evidence.look(side, time_ns, packet)

        flow.time = time_ns
        self._table.use(flow, interface)
        self._sights.accept(home, same, time_ns, place)
        return self._accept(flow, side, index, time_ns, place[0], packet, data)

    def _kin(self, key: bytes, packet: Packet, same: Identity, time_ns: int, place: Place, which: int) -> Flow | None:
        """The flow that a packet of a network belongs to which no flow of its tuple is known to come by (flows.py)."""
        kin = self._table.all_of(key)
        for flow in kin:
            if self._sights.elsewhere(flow.home, same, time_ns, place) or answers(flow, int(key != flow.key), packet):
                flow.networks = (which, *flow.networks)[:MOST_IDS]
                return flow
        return kin[0] if len(kin) >= MOST_NETWORKS else None

    def _accept(self, flow: Flow, side: int, index: int, time_ns: int, where: int, packet: Packet, data: bytes) -> str:
        """A packet that belongs to `flow`, sent by `side`: state, rows, fate."""
        flags = packet.flags
        forth, back = flow.directions[side], flow.directions[1 - side]
        flow.evidence.follow(side, time_ns, packet, forth.acked, back.acked)
        if not flags & RST:
            forth.sent(packet)
            if flags & SYN:
                back.heard = -1
            if flags & ACK:
                back.answered(packet, forth)
            if flags & FIN:
                forth.finished(packet)
        connection = flow.connection
        if packet.payload_length or flags & _CARRIES:
            if connection is None:
                connection = self._name(flow, index, packet, where)
            connection.end_frame = index
            if where not in connection.interfaces:
                connection.interfaces |= {where}
            if flags & (SYN | RST):
                _note(connection, side, flags)
            self._emit(flow, connection, side, index, time_ns, where, packet, data)
            cut = packet.captured_length < packet.payload_length and not flags & RST
            fate = "frame.segment_cut" if cut else "frame.segment"
        else:
            if connection is not None:
                connection.end_frame = index
            fate = "frame.ack"
        if connection is not None and packet.checksum in WRONG:
            connection.wrong_checksums += 1
        if forth.fin_acked and back.fin_acked and not flow.over:
            self._end(flow, "fin", index, time_ns)
        return fate

    def _emit(
        self,
        flow: Flow,
        connection: Connection,
        side: int,
        index: int,
        time_ns: int,
        where: int,
        packet: Packet,
        data: bytes,
    ) -> None:
        """The rows of one packet."""
        forth, back = flow.directions[side], flow.directions[1 - side]
        receive_flow = 2 * connection.id + side
        acked, edge = forth.acked, forth.edge
        if packet.flags & RST:
            forth.clock += 1
            flags = packet.flags & (_ROW_FLAGS & ~SYN)
            self._rows.append(
                _ROW.pack(index, time_ns, where, receive_flow, forth.clock, packet.seq, flags, 0, 0, acked, edge)
            )
            return
        base = self._size
        if packet.captured_length:
            self._data.append(data)
            self._size += len(data)
            self._bytes += packet.captured_length
        mss = min(forth.mss, back.mss) or forth.mss or back.mss or None
        pieces = segments(packet, self._resegment, mss)
        if len(pieces) > 1:
            connection.resegmented += 1
        for seq, offset, length, flags in pieces:
            forth.clock += 1
            at = base + offset if length else 0
            self._rows.append(
                _ROW.pack(
                    index, time_ns, where, receive_flow, forth.clock, seq, flags & _ROW_FLAGS, at, length, acked, edge
                )
            )

    def _excused(self, flow: Flow, side: int, packet: Packet) -> bool:
        """True when a wrong checksum is excused: none is right, or the capture was taken at the packet's sender."""
        if packet.checksum not in WRONG or self._policy is not ChecksumPolicy.AUTO:
            return False
        if flow.evidence.unbelieved(side, packet):
            return True
        if packet.checksum is not Checksum.BAD:
            return False  # no NIC is to fill in an IPv4 header that is wrong; a sender's shows 0
        if self._forced is not None:
            return self._forced[side] == "sender"
        return excuses(flow.evidence, side, packet)

    def _refuse(self, fate: str, packet: Packet) -> str:
        """The fate of a packet that enters no flow, whose bytes are counted here. (Text in a reset is no data.)"""
        if not packet.flags & RST:
            self._refused[REFUSED[fate]] += packet.captured_length
        return fate

    def _open(self, flow: Flow, index: int, time_ns: int) -> Flow:
        if len(self._table) >= self._max_flows:
            oldest = self._table.oldest()
            if oldest is not None:
                self._end(oldest, "evicted", index, time_ns)
                self._table.drop(oldest)
        self._table.put(flow)
        self.most_flows = max(self.most_flows, len(self._table))
        return flow

    def _name(self, flow: Flow, index: int, packet: Packet, where: int) -> Connection:
        """The connection of a flow that was pending until now."""
        connection = Connection(
            id=len(self.connections),
            key=flow.key,
            client_guessed=flow.guessed,
            vlan=packet.vlan,
            tunnels=packet.tunnels,
            interfaces=self._leaves.setdefault(where, frozenset({where})),
            start_frame=index,
            end_frame=index,
            evidence=flow.evidence,
            forced_vantage=self._forced,
        )
        self.connections.append(connection)
        flow.connection = connection
        return connection

    def _end(self, flow: Flow, end: str, index: int, time_ns: int) -> None:
        """End a generation, once: its END rows, its last word on the vantage. A pending flow just goes."""
        connection = flow.connection
        if connection is None or flow.over:
            return
        flow.over = True
        if connection.end == "open":  # else the host said "rst" before
            connection.end = end
        connection.last_word = judge(flow.evidence)
        connection.evidence = None
        for side, direction in enumerate(flow.directions):
            receive_flow = 2 * connection.id + side
            self._rows.append(
                _ROW.pack(
                    index, time_ns, -1, receive_flow, direction.clock, 0, END, 0, 0, direction.acked, direction.edge
                )
            )

    def _end_idle(self, flow: Flow) -> None:
        if flow.connection is not None:
            self._end(flow, "idle", flow.connection.end_frame, min(flow.time + self._idle, _LAST_TIME))

    def _is_idle(self, flow: Flow, interface: int, time_ns: int) -> bool:
        """True when the flow was idle until a packet of its own came by `interface`."""
        now = time_ns if flow.interface == interface else self._clocks[flow.interface].now
        return now - flow.time > self._idle

    def _sweep(self, interface: int, clock: _Clock) -> None:
        """Free what has been idle. Rows are the same as if the flow's own next packet, or the end, had found it so."""
        flow = self._table.oldest_of(interface)
        while flow is not None and clock.now - flow.time > self._idle:
            self._end_idle(flow)
            self._table.drop(flow)
            flow = self._table.oldest_of(interface)
        clock.sweep_at = (clock.now if flow is None else flow.time) + self._idle

    def _collect(self) -> Batch:
        self._ledger.enter("byte", self._bytes)
        rows = np.frombuffer(bytearray().join(self._rows), dtype=np.int64).reshape(-1, COLUMNS)
        batch = Batch(rows, b"".join(self._data))
        self._rows = []
        self._data = []
        self._size = self._bytes = 0
        return batch


def _note(connection: Connection, side: int, flags: int) -> None:
    """A SYN or RST passed: what it says about the connection as a whole."""
    if flags & RST:
        connection.rst_seen = True
        return
    seen = connection.syn_seen
    connection.syn_seen = (True, seen[1]) if side == 0 else (seen[0], True)
    if connection.client_guessed:
        connection.client_guessed = False
        connection.client_side = 1 - side if flags & ACK else side


def _connection(flow: Flow) -> Connection:
    assert flow.connection is not None
    return flow.connection


def _connection_id(flow: Flow) -> int:
    return _connection(flow).id
