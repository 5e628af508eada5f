"""CompiledSteer: frames in, batches out, as intake/steer.py's Steer, with all per-packet work in one kernel.

What is Python here happens per call, or per connection: tables grow, events become Connection objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from sys import getrefcount
from typing import cast

import numpy as np
import numpy.typing as npt

from rxtls.counters import Ledger
from rxtls.intake.batch import ACK, COLUMNS, Batch
from rxtls.intake.compiled import columns as c
from rxtls.intake.compiled.columns import ClockRow, EventRow, FlowRow, LinkRow, SightRow, Steering
from rxtls.intake.compiled.kernel import ROWS_NEEDED, SEGMENT_BITS, Kept, finish, idle, recent, steer, tick
from rxtls.intake.compiled.mirror import BUCKETS
from rxtls.intake.compiled.table import rehash
from rxtls.intake.compiled.verdict import read_judged, verdicts
from rxtls.intake.flows import ENDS, Connection
from rxtls.intake.mirror import BOUND
from rxtls.intake.parse import ChecksumPolicy
from rxtls.intake.steer import REFUSED, WAIT_NS, SteerOptions, Ticked
from rxtls.intake.vantage import SAID
from rxtls.native.shapes import Array
from rxtls.wire.compiled import columns as wire
from rxtls.wire.compiled.columns import FrameRow, Frames, PacketRow
from rxtls.wire.compiled.filter import CompiledFilter
from rxtls.wire.compiled.parse import FATE_CODES, FATE_NAMES, packet_of, parse_frames
from rxtls.wire.frame import Packet

Vector = npt.NDArray[np.int64]

_ENDS = tuple(ENDS)
_FLOWS = 256  # rows to begin with
_EVENTS = 4096
_LINE = 8  # words
_UNSIGNED = (1 << 64) - 1
_KEY_4 = Struct("!IIHH")  # Connection.key: addresses and ports of a and b
_KEY_6 = Struct("!qqqqHH")


def _held(tables: list[Array], n: int) -> int:
    """How many references there are to one of them, that of asking included."""
    return getrefcount(tables[n])


_ALONE = _held([np.zeros((0, 0), np.int64)], 0)  # to what nobody else has


class CompiledSteer:
    """As Steer, over Frames. `connections[id]` are all generations so far, in order of their first row.

    A Connection that has not ended is brought up to date (`end_frame`, `resegmented`, the vantage) by `refresh` and
    `finish` only. Capture interfaces are counted from 0: there is a table of them.
    """

    def __init__(self, ledger: Ledger, options: SteerOptions | None = None) -> None:
        options = options or SteerOptions()
        self.connections: list[Connection] = []
        self.noted: Vector | None = None  # if watched: of each frame of this call the place of its fate in FATE_NAMES
        self._ledger = ledger
        self._check_ip = ChecksumPolicy(options.checksum) is not ChecksumPolicy.IGNORE
        self._filter = None if options.filter is None else CompiledFilter(options.filter)
        self._forced = SAID.get(options.vantage)
        self._leaves: dict[int, frozenset[int]] = {}  # one-leaf sets, shared by the connections
        self._control = np.zeros(Steering.COLUMNS, np.int64)
        self._configure(options)
        self._events: Array = np.zeros((_EVENTS, EventRow.COLUMNS), np.int64)
        self._all: Vector = np.zeros(0, np.int64)  # of no frames: what a filter that is not there says
        self._latest = -1  # index of the last frame
        self._ticked = Ticked()
        self._used: list[Array] = []  # what rows were put into
        self._most_rows = 0  # that a call has needed
        self._clear()

    @property
    def most_flows(self) -> int:
        """In the table at once, so far."""
        return int(self._control[Steering.MOST_LIVE])

    def batch(self, frames: Frames) -> Batch:
        """The rows of some more frames, in order; OFFSET is a place in `frames.data`. Each frame gets its one fate.

        Frames are parsed here unless they have been. How they are divided over calls changes nothing but the division
        of the rows. Raises ValueError for a negative capture interface.
        """
        count = len(frames.table)
        if len(frames.packets) != count:
            parse_frames(frames, self._check_ip)
        passed = self._all if self._filter is None else self._filter.passed(frames)
        control = self._control
        control[Steering.NEXT :] = 0
        noted = None if self.noted is None else np.full(count, wire.FOREIGN, np.int64)
        self.noted = noted
        rows = self._room(count)
        while True:
            stopped = steer(
                Kept(control, self._clocks, self._sights, self._chains), rows, self._events, frames.table,
                frames.packets, passed, self._all if noted is None else noted,
            )  # fmt: skip
            at, used, events, octets, others, *fates = control[Steering.NEXT : Steering.REFUSED_BYTES].tolist()
            if events:
                self._hear(frames, events)
            if stopped == c.ALL_TAKEN:
                break
            if stopped == c.NEED_FLOWS:
                self._grow_flows()
            elif stopped == c.NEED_INTERFACE:
                self._meet(int(frames.table[at, FrameRow.INTERFACE]))
            else:
                rows = self._grown(rows, used, frames.packets[at])
        ledger = self._ledger
        if count:
            self._latest = int(frames.table[-1, FrameRow.INDEX])
        if count > others:
            ledger.enter("frame", count - others)
        for code, n in enumerate(fates):
            if n:
                ledger.fate(FATE_NAMES[code], n)
        ledger.enter("byte", octets)
        for name, fate in REFUSED.items():
            refused = int(control[Steering.REFUSED_BYTES + FATE_CODES[name]])
            if refused:
                ledger.enter("byte", refused)
                ledger.fate(fate, refused)
        # What reads a Batch takes its bytes by slices and addresses, which arrays have as well.
        return Batch(rows[:used], cast(bytes, frames.data))

    def tick(self, time_ns: int, interfaces: Sequence[int] | None = None) -> Batch:
        """As Steer.tick."""
        control = self._control
        count = len(self._clocks)
        whose = np.isin(np.arange(count), range(count) if interfaces is None else interfaces).astype(np.int64)
        control[Steering.NEXT :] = 0
        rows = self._room(0)
        while True:
            stopped = idle(Kept(control, self._clocks, self._sights, self._chains), rows, self._events, time_ns, whose)
            self._hear(None, int(control[Steering.EVENTS]))
            if stopped == c.ALL_TAKEN:
                break
            rows = self._longer(rows, 2 * len(rows))
        after, slow = self._ticked.at(time_ns, self._latest, interfaces)
        which = np.empty(int(control[Steering.LIVE]), np.int64)
        since = max(time_ns - WAIT_NS, c.EARLIEST)
        which = which[: recent(control, self._flows, self._links, whose, after, slow, since, which)]
        which = which[np.argsort(self._flows[which, FlowRow.CONNECTION])]
        rows = self._longer(rows, int(control[Steering.ROWS]) + 2 * len(which))
        tick(control, self._flows, rows, which, self._latest, time_ns)
        self._ledger.enter("byte", 0)
        return Batch(rows[: control[Steering.ROWS]], b"")

    def watch(self) -> None:
        """From now on note the fate of each frame."""
        self.noted = self._all

    def finish(self) -> Batch:
        """The capture has ended: END rows for all generations that have not, in order of connection."""
        connection = self._flows[:, FlowRow.CONNECTION]
        which = np.flatnonzero((connection >= 0) & (self._flows[:, FlowRow.STATE] & c.OVER == 0))
        which = which[np.argsort(connection[which])]
        rows: Array = np.empty((2 * len(which), COLUMNS), np.int64)
        self.refresh()
        control = self._control
        control[Steering.ROWS] = 0
        for start in range(0, len(which), _EVENTS):
            part = which[start : start + _EVENTS]
            finish(control, self._flows, self._clocks, rows, self._events, part)
            self._hear(None, int(control[Steering.EVENTS]))
        self._clear()
        self._ledger.enter("byte", 0)
        return Batch(rows, b"")

    def refresh(self) -> None:
        """Bring the Connections that are still in the table up to date."""
        which = np.flatnonzero(self._flows[:, FlowRow.CONNECTION] >= 0)
        columns = (FlowRow.CONNECTION, FlowRow.STATE, FlowRow.END_FRAME, FlowRow.RESEGMENTED, FlowRow.WRONG)
        flows = self._flows[which][:, columns].tolist()
        for (number, state, end_frame, resegmented, wrong), judged in zip(flows, self._verdicts(which), strict=True):
            self._update(number, end_frame, wrong << 32 | resegmented)
            if not state & c.OVER:
                self.connections[number].last_word = read_judged(judged)

    def _verdicts(self, which: npt.ArrayLike) -> list[int]:
        """verdict.judged of each of the flows `which`."""
        numbers = np.asarray(which, np.int64)
        found = np.zeros(len(numbers), np.int64)
        verdicts(self._flows, numbers, found)
        return found.tolist()

    def _configure(self, options: SteerOptions) -> None:
        control = self._control
        control[Steering.IDLE] = np.uint64(max(0, min(options.idle_ns, _UNSIGNED))).astype(np.int64)
        control[Steering.MAX_FLOWS] = max(1, options.max_flows)
        control[Steering.POLICY] = tuple(ChecksumPolicy).index(ChecksumPolicy(options.checksum))
        if self._forced is not None:
            control[Steering.FORCED] = c.SAID | sum(1 << side for side in (0, 1) if self._forced[side] == "sender")
        sizes = {"auto": c.AUTO, "off": c.OFF}
        control[Steering.RESEGMENT] = (
            sizes[options.resegment] if isinstance(options.resegment, str) else options.resegment
        )
        for n in range(4):
            control[Steering.SECRETS + n] = hash(f"flow table {n}") | 1  # as random as the process's hashes are

    def _clear(self) -> None:
        """Tables without flows, and clocks that have seen nothing."""
        self._flows = _aligned(0, c.FLOW_COLUMNS)
        self._links = _aligned(0, LinkRow.COLUMNS)
        self._clocks: Array = np.zeros((0, ClockRow.COLUMNS), np.int64)
        self._sights = _aligned(BOUND + 1, SightRow.COLUMNS)
        self._chains: Vector = np.full(BUCKETS, -1, np.int64)
        control = self._control
        control[[Steering.FREE, Steering.OLDEST, Steering.NEWEST]] = -1
        control[[Steering.LIVE, Steering.SIGHTS, Steering.INDEXED, Steering.TUNNELLED]] = 0
        self._grow_flows()

    def _grow_flows(self) -> None:
        """Twice as many rows, and buckets for them."""
        had = len(self._flows)
        count = max(2 * had, _FLOWS)
        flows, self._flows = self._flows, _aligned(count, c.FLOW_COLUMNS)
        links, self._links = self._links, _aligned(count, LinkRow.COLUMNS)
        self._flows[:had] = flows
        self._links[:had] = links
        self._flows[had:, FlowRow.CONNECTION] = -1
        self._links[had:, LinkRow.CHAIN] = np.arange(had + 1, count + 1)
        self._links[-1, LinkRow.CHAIN] = self._control[Steering.FREE]
        self._control[Steering.FREE] = had
        self._buckets: Vector = np.full(2 * count, -1, np.int64)
        rehash(self._control, self._flows, self._links, self._buckets)

    def _meet(self, interface: int) -> None:
        """A capture interface that no frame came by until now."""
        if interface < 0:
            raise ValueError(f"capture interfaces are counted from 0; here is a frame of {interface}")
        had = len(self._clocks)
        if interface >= had:
            more = np.zeros((max(8, had, interface + 1 - had), ClockRow.COLUMNS), np.int64)
            more[:, ClockRow.LAST] = c.LATEST
            more[:, ClockRow.SWEEP_AT] = c.EARLIEST
            more[:, [ClockRow.DEVICE, ClockRow.OLDEST, ClockRow.NEWEST]] = -1
            self._clocks = np.vstack((self._clocks, more))
        self._clocks[interface, ClockRow.DEVICE] = interface

    def _grown(self, rows: Array, used: int, packet: Vector) -> Array:
        """`rows` with room for what the next frame can make. (Events have been heard, so there is room for more.)"""
        need = used + ROWS_NEEDED
        if packet[PacketRow.FATE] == wire.PACKET:
            need += int(packet[PacketRow.CAPTURED_LENGTH]) >> SEGMENT_BITS
        return self._longer(rows, need)

    def _longer(self, rows: Array, need: int) -> Array:
        """`rows`, with those that there are, in a table of at least `need`."""
        if need <= len(rows):
            return rows
        used = int(self._control[Steering.ROWS])
        larger = np.empty((max(2 * len(rows), need), COLUMNS), np.int64)
        larger[:used] = rows[:used]
        self._most_rows = len(larger)
        return larger

    def _room(self, count: int) -> Array:
        """A table for the rows of so many frames: a used one, unless somebody still has the Batch of it.

        Fresh memory would cost more than all that is written to it: each page of it comes from the kernel.
        """
        need = max(count + ROWS_NEEDED, self._most_rows)
        for n in range(len(self._used)):
            if _held(self._used, n) == _ALONE and len(self._used[n]) >= need:
                return self._used[n]
        # Two are enough: the NIC holds the latest until it is given the next.
        self._used = [*self._used[-1:], np.empty((need, COLUMNS), np.int64)]
        return self._used[-1]

    def _hear(self, frames: Frames | None, count: int) -> None:
        """Make Connections of what the kernel has told, and keep those that there are."""
        self._control[Steering.EVENTS] = 0
        for kind, number, first, second, third, fourth in self._events[:count].tolist():
            if kind == c.OPENED:
                assert frames is not None
                self._connect(frames, number, first, second, bool(third), fourth)
                continue
            connection = self.connections[number]
            if kind == c.ENDED:
                if connection.end == "open":  # else the host said "rst" before
                    connection.end = _ENDS[first]
                connection.last_word = read_judged(second)
                self._update(number, third, fourth)
            elif kind == c.GONE:
                self._update(number, first, second)
            elif kind == c.LEAF_SEEN:
                connection.interfaces |= {first}
            elif kind == c.RST_SEEN:
                connection.rst_seen = True
            elif kind == c.SYN_SEEN:
                _syn_seen(connection, first, second)

    def _connect(self, frames: Frames, number: int, row: int, from_b: int, guessed: bool, leaf: int) -> None:
        packet = frames.packets[row].tolist()
        ends = packet[PacketRow.SRC_HIGH : PacketRow.DST_HIGH], packet[PacketRow.DST_HIGH : PacketRow.PORTS]
        ports = divmod(packet[PacketRow.PORTS], 1 << 16)
        (a_high, a_low), (b_high, b_low) = ends[from_b], ends[1 - from_b]
        a_port, b_port = ports[from_b], ports[1 - from_b]
        if packet[PacketRow.FAMILY] == 4:
            key = _KEY_4.pack(a_low, b_low, a_port, b_port)
        else:
            key = _KEY_6.pack(a_high, a_low, b_high, b_low, a_port, b_port)
        frame = int(frames.table[row, FrameRow.INDEX])
        whole = _packet(frames, row) if packet[PacketRow.VLAN_DEPTH] or packet[PacketRow.TUNNELS] else None
        self.connections.append(
            Connection(
                id=number,
                key=key,
                client_guessed=guessed,
                vlan=whole.vlan if whole is not None else (),
                tunnels=whole.tunnels if whole is not None else (),
                interfaces=self._leaves.setdefault(leaf, frozenset({leaf})),
                start_frame=frame,
                end_frame=frame,
                evidence=None,
                forced_vantage=self._forced,
            )
        )

    def _update(self, number: int, end_frame: int, told: int) -> None:
        connection = self.connections[number]
        connection.end_frame = end_frame
        connection.wrong_checksums, connection.resegmented = divmod(told, 1 << 32)


def _packet(frames: Frames, row: int) -> Packet:
    packet = packet_of(frames, row)
    assert not isinstance(packet, str)
    return packet


def _aligned(count: int, columns: int) -> Array:
    """A table of zeros that begins with a cache line."""
    words = np.zeros(count * columns + _LINE, np.int64)
    start = -words.ctypes.data % (_LINE * c.WORD) // c.WORD
    return words[start : start + count * columns].reshape(count, columns)


def _syn_seen(connection: Connection, side: int, flags: int) -> None:
    """As steer._note."""
    seen = connection.syn_seen
    connection.syn_seen = (True, seen[1]) if side == 0 else (seen[0], True)
    if connection.client_guessed:
        connection.client_guessed = False
        connection.client_side = 1 - side if flags & ACK else side
