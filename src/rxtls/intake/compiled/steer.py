"""CompiledSteer: frames in, batches out, as intake/steer.py's Steer, with all per-packet work in one kernel.

What is Python here happens per call, or per connection: tables grow, events become Connection objects.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt

from rxtls.counters import Ledger
from rxtls.intake.batch import ACK, COLUMNS, Batch
from rxtls.intake.compiled import columns as c
from rxtls.intake.compiled.evidence import places
from rxtls.intake.compiled.kernel import ROWS_NEEDED, SEGMENT_BITS, finish, steer
from rxtls.intake.compiled.table import rehash
from rxtls.intake.flows import ENDS, Connection
from rxtls.intake.mirror import BOUND
from rxtls.intake.parse import ChecksumPolicy
from rxtls.intake.steer import SteerOptions
from rxtls.intake.vantage import Place
from rxtls.wire.compiled import columns as wire
from rxtls.wire.compiled.columns import Frames, Table
from rxtls.wire.compiled.filter import CompiledFilter
from rxtls.wire.compiled.parse import FATE_NAMES, packet_of, parse_frames

Vector = npt.NDArray[np.int64]

_ENDS = tuple(ENDS)
_PLACES = tuple(Place)
_FLOWS = 256  # rows to begin with
_EVENTS = 4096
_UNSIGNED = (1 << 64) - 1


class CompiledSteer:
    """As Steer, over Frames. `connections[id]` are all generations so far, in order of their first row.

    A Connection that has not ended is brought up to date (`end_frame`, `resegmented`, the vantage) by `refresh` and
    `finish` only. Capture interfaces are counted from 0: there is a table of them.
    """

    def __init__(self, ledger: Ledger, options: SteerOptions | None = None) -> None:
        options = options or SteerOptions()
        self.connections: list[Connection] = []
        self._ledger = ledger
        self._check_ip = ChecksumPolicy(options.checksum) is not ChecksumPolicy.IGNORE
        self._filter = None if options.filter is None else CompiledFilter(options.filter)
        self._device = options.device
        self._forced = None if options.vantage == "auto" else options.vantage
        self._leaves: dict[int, frozenset[int]] = {}  # one-leaf sets, shared by the connections
        self._control = np.zeros(c.CONTROL_COLUMNS, np.int64)
        self._configure(options)
        self._events: Table = np.zeros((_EVENTS, c.EVENT_COLUMNS), np.int64)
        self._fates: Vector = np.zeros(len(FATE_NAMES), np.int64)
        self._rows_per_frame = 1.0
        self._clear()

    def batch(self, frames: Frames) -> Batch:
        """The rows of some more frames, in order; OFFSET is a place in `frames.data`. Each frame gets its one fate.

        Frames are parsed here unless they have been. How they are divided over calls changes nothing but the division
        of the rows. Raises ValueError for a negative capture interface.
        """
        count = len(frames.table)
        if len(frames.packets) != count:
            parse_frames(frames, self._check_ip)
        passed = self._passed(frames)
        control = self._control
        control[c.NEXT] = control[c.ROWS] = control[c.BYTES] = 0
        rows: Table = np.empty((int(count * self._rows_per_frame) + 64, COLUMNS), np.int64)
        base = frames.data.ctypes.data
        while True:
            stopped = steer(
                control, self._flows, self._sides, self._buckets, self._clocks, self._sights, self._chains, rows,
                self._events, self._fates, frames.table, frames.packets, passed, base,
            )  # fmt: skip
            self._hear(frames)
            if stopped == c.ALL_TAKEN:
                break
            if stopped == c.NEED_FLOWS:
                self._grow_flows()
            elif stopped == c.NEED_INTERFACE:
                self._meet(int(frames.table[control[c.NEXT], wire.INTERFACE]))
            else:
                rows = self._grown(rows, frames)
        used = int(control[c.ROWS])
        self._rows_per_frame = max(self._rows_per_frame, 1.1 * used / max(1, count))
        self._account(count)
        # What reads a Batch takes its bytes by slices and addresses, which arrays have as well.
        return Batch(rows[:used], cast(bytes, frames.data))

    def finish(self) -> Batch:
        """The capture has ended: END rows for all generations that have not, in order of connection."""
        connection = self._flows[:, c.FLOW_CONNECTION]
        which = np.flatnonzero((connection >= 0) & (self._flows[:, c.FLOW_STATE] & c.OVER == 0))
        which = which[np.argsort(connection[which])]
        rows: Table = np.empty((2 * len(which), COLUMNS), np.int64)
        self.refresh()
        control = self._control
        control[c.ROWS] = control[c.BYTES] = 0
        for start in range(0, len(which), _EVENTS):
            finish(control, self._flows, self._sides, self._clocks, rows, self._events, which[start : start + _EVENTS])
            self._hear(None)
        self._clear()
        self._account(0)
        return Batch(rows, b"")

    def refresh(self) -> None:
        """Bring the Connections that are still in the table up to date."""
        which = np.flatnonzero(self._flows[:, c.FLOW_CONNECTION] >= 0)
        found = np.zeros(len(which), np.int64)
        places(self._flows, self._sides, which, found)
        flows = self._flows[which]
        columns = (c.FLOW_CONNECTION, c.FLOW_STATE, c.FLOW_END_FRAME, c.FLOW_RESEGMENTED)
        for (connection, state, end_frame, resegmented), place in zip(
            flows[:, columns].tolist(), found.tolist(), strict=True
        ):
            self._update(connection, end_frame, resegmented)
            if not state & c.OVER:
                self.connections[connection].tap = _PLACES[place]

    def _configure(self, options: SteerOptions) -> None:
        control = self._control
        control[c.IDLE] = np.uint64(max(0, min(options.idle_ns, _UNSIGNED))).astype(np.int64)
        control[c.MAX_FLOWS] = max(1, options.max_flows)
        control[c.POLICY] = tuple(ChecksumPolicy).index(ChecksumPolicy(options.checksum))
        if options.vantage != "auto":
            control[c.FORCED] = c.SENDER if options.vantage == "sender" else c.ELSEWHERE
        sizes = {"auto": c.AUTO, "off": c.OFF}
        control[c.RESEGMENT] = sizes[options.resegment] if isinstance(options.resegment, str) else options.resegment
        for n in range(4):
            control[c.SECRETS + n] = hash(f"flow table {n}") | 1  # as random as the process's hashes are

    def _clear(self) -> None:
        """Tables without flows, and clocks that have seen nothing."""
        self._flows: Table = np.zeros((0, c.FLOW_COLUMNS), np.int64)
        self._sides: Table = np.zeros((0, c.SIDE_COLUMNS), np.int64)
        self._clocks: Table = np.zeros((0, c.CLOCK_COLUMNS), np.int64)
        self._sights: Table = np.zeros((BOUND + 1, c.SIGHT_COLUMNS), np.int64)
        self._chains: Vector = np.full(BOUND, -1, np.int64)
        control = self._control
        control[[c.FREE, c.OLDEST, c.NEWEST]] = -1
        control[[c.LIVE, c.SIGHTS, c.INDEXED]] = 0
        self._grow_flows()

    def _grow_flows(self) -> None:
        """Twice as many rows, and buckets for them."""
        had = len(self._flows)
        more = max(had, _FLOWS)
        self._flows = np.vstack((self._flows, np.zeros((more, c.FLOW_COLUMNS), np.int64)))
        self._sides = np.vstack((self._sides, np.zeros((2 * more, c.SIDE_COLUMNS), np.int64)))
        self._flows[had:, c.FLOW_CONNECTION] = -1
        self._flows[had:, c.FLOW_CHAIN] = np.arange(had + 1, had + more + 1)
        self._flows[-1, c.FLOW_CHAIN] = self._control[c.FREE]
        self._control[c.FREE] = had
        self._buckets: Vector = np.full(2 * len(self._flows), -1, np.int64)
        rehash(self._control, self._flows, self._buckets)

    def _meet(self, interface: int) -> None:
        """A capture interface that no frame came by until now."""
        if interface < 0:
            raise ValueError(f"capture interfaces are counted from 0; here is a frame of {interface}")
        had = len(self._clocks)
        if interface >= had:
            more = np.zeros((max(8, had, interface + 1 - had), c.CLOCK_COLUMNS), np.int64)
            more[:, c.CLOCK_LAST] = c.LATEST
            more[:, c.CLOCK_SWEEP_AT] = c.EARLIEST
            more[:, [c.CLOCK_DEVICE, c.CLOCK_OLDEST, c.CLOCK_NEWEST]] = -1
            self._clocks = np.vstack((self._clocks, more))
        self._clocks[interface, c.CLOCK_DEVICE] = interface if self._device is None else self._device(interface)

    def _grown(self, rows: Table, frames: Frames) -> Table:
        """`rows` with room for what the next frame can make. (Events have been heard, so there is room for more.)"""
        row = frames.packets[self._control[c.NEXT]]
        need = ROWS_NEEDED
        if row[wire.FATE] == wire.PACKET:
            need += int(row[wire.CAPTURED_LENGTH]) >> SEGMENT_BITS
        if int(self._control[c.ROWS]) + need <= len(rows):
            return rows
        return np.concatenate((rows, np.empty((max(len(rows), need), COLUMNS), np.int64)))

    def _passed(self, frames: Frames) -> Vector:
        """What the filter says of each frame; empty where there is none."""
        return np.zeros(0, np.int64) if self._filter is None else self._filter.passed(frames)

    def _account(self, frames: int) -> None:
        if frames:
            self._ledger.enter("frame", frames)
        for code in np.flatnonzero(self._fates).tolist():
            self._ledger.fate(FATE_NAMES[code], int(self._fates[code]))
        self._fates[:] = 0
        self._ledger.enter("byte", int(self._control[c.BYTES]))

    def _hear(self, frames: Frames | None) -> None:
        """Make Connections of what the kernel has told, and keep those that there are."""
        count = int(self._control[c.EVENTS])
        if not count:
            return
        self._control[c.EVENTS] = 0
        for kind, number, first, second, third, fourth in self._events[:count].tolist():
            if kind == c.OPENED:
                assert frames is not None
                self._connect(frames, number, first, second, bool(third), fourth)
                continue
            connection = self.connections[number]
            if kind == c.ENDED:
                if connection.end == "open":  # else the host said "rst" before
                    connection.end = _ENDS[first]
                connection.tap = _PLACES[second]
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
        packet = packet_of(frames, row)
        assert not isinstance(packet, str)
        ports = packet.sport << 16 | packet.dport, packet.dport << 16 | packet.sport
        addresses = packet.dst + packet.src if from_b else packet.src + packet.dst
        frame = int(frames.table[row, wire.INDEX])
        self.connections.append(
            Connection(
                id=number,
                key=addresses + ports[from_b].to_bytes(4, "big"),
                client_guessed=guessed,
                vlan=packet.vlan,
                interfaces=self._leaves.setdefault(leaf, frozenset({leaf})),
                start_frame=frame,
                end_frame=frame,
                evidence=None,
                forced_vantage=self._forced,
            )
        )

    def _update(self, number: int, end_frame: int, resegmented: int) -> None:
        connection = self.connections[number]
        connection.end_frame = end_frame
        connection.resegmented = resegmented


def _syn_seen(connection: Connection, side: int, flags: int) -> None:
    """As steer._note."""
    seen = connection.syn_seen
    connection.syn_seen = (True, seen[1]) if side == 0 else (seen[0], True)
    if connection.client_guessed:
        connection.client_guessed = False
        connection.client_side = 1 - side if flags & ACK else side
