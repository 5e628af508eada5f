"""CompiledNic: device/nic.py's Nic over int64 tables. What it gives is the same, row for row and call for call.

    rows, data ─► walk (kernel.py) ─► host points, extents in the arena, events
                    ▲                       │              │            │
                    └─ resume ◄── host ◄────┘    detach, flush     log, answers

Beyond the plain twin it can let a flow's host points pass (`quiet`): the host is then served once for all of them, at
the end of the call, and finds in Extent.POINT where each would have been.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter

import numpy as np
import numpy.typing as npt

from rxtls.crypto.compiled.evp import Key
from rxtls.crypto.compiled.key_table import KeyTable
from rxtls.device.compiled import columns as col
from rxtls.device.compiled import host_calls, walk
from rxtls.device.compiled.columns import Context, Entry, Lane, NicTables, Slot, Turn, Waiting, Walk
from rxtls.device.compiled.events import HAS_GUESS, HAS_PROGRESS
from rxtls.device.compiled.lanes import chained, rehash
from rxtls.device.compiled.tracker import STATES
from rxtls.device.context import OFFSET_MASK
from rxtls.device.lro import MAX_RUN
from rxtls.device.nic import HostPoint
from rxtls.device.profiles import Latency, Profile
from rxtls.device.tracker import IDLE, TRANSITIONS, TrackerEvent
from rxtls.intake.batch import COLUMNS
from rxtls.native.shapes import Array
from rxtls.offload.commands import (
    Command,
    Confirm,
    DeviceEvent,
    Guess,
    Happening,
    Install,
    Progress,
    Query,
    SetPosition,
)
from rxtls.offload.compiled.arena import LARGE, Arena, ArenaTables
from rxtls.offload.mbuf import Mbuf

_HAPPENINGS = list(Happening)
# Takes rows and their data, the NIC's tables, the key table's rows and the arena's tables, as walk.walk does.
Kernel = Callable[[Array, npt.NDArray[np.uint8], NicTables, Array, ArenaTables], int]
_U64 = 1 << 64

# Where a context begins, by the profile's `start`.
_BEGINNING = {
    "programmed": STATES.index(TRANSITIONS[IDLE][TrackerEvent.BIND]),
    "search": STATES.index(TRANSITIONS[IDLE][TrackerEvent.SCAN]),
}

# What a context has of its keys: its columns, and the key table's.
_OF_KEYS = (
    (Context.HEADER_LENGTH, Key.HEADER_LENGTH),
    (Context.AEAD_TAG_LENGTH, Key.AEAD_TAG_LENGTH),
    (Context.MIN_TOTAL, Key.MIN_TOTAL),
    (Context.MAX_TOTAL, Key.MAX_TOTAL),
    (Context.FIRST_TYPE, Key.FIRST_TYPE),
    (Context.LAST_TYPE, Key.LAST_TYPE),
    (Context.TLS13, Key.TLS13),
)


class CompiledNic:
    """All flows of one device model. Payload goes to `arena`; `keys` opens records, and gets a row per receive tag.

    A host point's second number is its row's index in the batch. A batch's parked rows are all taken by `resume` before
    the next `receive`. `kernel` walks: kernel.walk unless a host is built in (path/nic_and_host.py).
    """

    def __init__(
        self,
        profile: Profile,
        arena: Arena,
        keys: KeyTable,
        lro_limit: int = MAX_RUN,
        kernel: Kernel | None = None,
    ) -> None:
        self._kernel = kernel or _alone()
        self.profile = profile
        self._arena = arena
        self._keys = keys
        self._rows: Array = np.zeros((0, COLUMNS), np.int64)
        self._data: npt.NDArray[np.uint8] = np.zeros(0, np.uint8)
        self._taken = 0  # rows of the batch
        self._ends: list[int] = []  # where to stop, and the batch's end
        self._turns: Array = np.zeros((0, Turn.COLUMNS), np.int64)
        self._connections: Array = np.zeros((0, Slot.COLUMNS), np.int64)
        self._buckets: npt.NDArray[np.int64] = np.full(1, -1, np.int64)
        self._lanes: Array = np.zeros((0, Lane.COLUMNS), np.int64)
        self._contexts: Array = np.zeros((0, Context.COLUMNS), np.int64)
        self._free_contexts: list[int] = []
        self._commands: Array = np.zeros((0, Waiting.COLUMNS), np.int64)
        self._events: Array = np.zeros((1024, Entry.COLUMNS), np.int64)
        self._block: npt.NDArray[np.uint8] = np.zeros(0, np.uint8)
        self._logs: dict[int, list[DeviceEvent]] = {}
        self._answers: dict[int, list[Progress | Guess]] = {}
        self._passed: dict[int, bool] = {}  # flows listed for host points that they skipped: detached yet?
        self._told: dict[int, tuple[int, int]] = {}  # flows listed that have been served: DUE_SAID and DUE_FIRST
        self._table: npt.NDArray[np.int64] = np.zeros(Walk.COLUMNS, np.int64)
        # The control row again, as what Python reads and writes faster than an array.
        self._control = control = self._table.data
        control[Walk.FREE_CONNECTION] = control[Walk.FREE_COMMAND] = control[Walk.DEAD_CONTEXT] = -1
        control[Walk.LRO_LIMIT] = lro_limit
        control[Walk.SEARCH_AFTER] = profile.search_after
        control[Walk.AUTH_FAILURES] = profile.auth_failures
        control[Walk.GUESSES] = "guess" in profile.commands
        self._more_connections()
        self._more_commands()

    def _hold(self) -> None:
        """Some table is another one now, in which numbers mean the same."""
        self._tables = NicTables(
            self._table, self._connections, self._buckets, self._lanes, self._contexts, self._commands, self._events,
            self._turns,
        )  # fmt: skip

    def receive(self, rows: Array, data: npt.NDArray[np.uint8], stops: Sequence[int] = ()) -> list[HostPoint]:
        """Take rows (int64, n x COLUMNS) until each connection meets a host point, and park the rest; where the host is
        to be served. Flows that only skipped host points come last, by the place of the last one."""
        control = self._control
        assert not control[Walk.STOPPED], "rows of the batch before this one are still parked"
        self._rows, self._data = np.ascontiguousarray(rows), data
        if len(self._turns) < len(rows):
            self._turns = np.zeros((max(len(rows), 2 * len(self._turns)), Turn.COLUMNS), np.int64)
            self._hold()
        self._taken, self._ends = 0, [*stops, len(rows)]
        return self._next()

    def _next(self) -> list[HostPoint]:
        """Go on behind the next stop."""
        control = self._control
        due: list[HostPoint] = []
        while self._ends and not due:
            control[Walk.AT] = self._taken
            control[Walk.COUNT] = self._taken = self._ends.pop(0)
            due = self._walk(0)
        return due

    def resume(self) -> list[HostPoint]:
        """The host has been: take each stopped connection's parked rows on to its next host point."""
        control = self._control
        stopped = control[Walk.STOPPED]
        if stopped:
            control[Walk.COUNT] = stopped
            control[Walk.AT] = control[Walk.STOPPED] = 0
            due = self._walk(1)
            if due:
                return due
        return self._next()

    def watch(self) -> None:
        """From now on note what became of each row."""
        self._control[Walk.WATCHED] = 1

    def seen(self) -> tuple[Array, Array]:
        """Of each row of this batch, once nothing of it is parked any more: its mark, and the state behind it."""
        turns = self._turns[: len(self._rows)]
        return turns[:, Turn.MARK], turns[:, Turn.STATE]

    def host(self, flow: int, row: int) -> None:
        """The kernel serves the flow's host points, as far as nobody has to hear of them, by the row at an address. 0:
        no more."""
        self._set(flow, Lane.HOST, row, make=row != 0)

    def told(self, flow: int) -> tuple[int, int] | None:
        """What the kernel's host said when it served the flow (DUE_SAID, DUE_FIRST), in place of `detach`; None if it
        has not."""
        told = self._told.pop(flow, None)
        if told is not None and flow in self._passed:
            self._passed[flow] = True
        return told

    def detach(self, flow: int) -> int:
        """LRO flush at a host point: the first of the flow's extents since the last one, -1 if there are none. Extents
        are chained by Extent.NEXT; whoever takes them gives them back to the arena.

        Where the flow skipped host points, what came up to the last of them; otherwise, and when called again, all.
        """
        if flow in self._passed:
            if self._passed[flow]:
                del self._passed[flow]
            else:
                self._passed[flow] = True
        head: int = host_calls.detach(self._tables, self._arena.extents, flow)
        return head

    def passed(self, flow: int) -> bool | None:
        """Whether the host points that a flow skipped, for which it was listed, are still to be served; None of others.

        Their serving may have come earlier than their turn in the list.
        """
        detached = self._passed.get(flow)
        return None if detached is None else not detached

    def flush(self, flow: int) -> list[Mbuf]:
        """What `detach` gives, as Mbufs with bytes of their own."""
        return self._arena.mbufs(self.detach(flow))

    def ahead(self) -> list[tuple[int, tuple[int, int] | None]]:
        """The flows of this batch that are between two host points, and of which somebody has to hear: what a host said
        that has brought out their records already (DUE_SAID, DUE_FIRST), None where there is none. For a kernel with a
        host built in."""
        control = self._control
        control[Walk.RESUMING] = 2
        self._kernel(self._rows, self._data, self._tables, self._keys.rows, self._arena.tables)
        found = self._turns[: control[Walk.DUE], Turn.DUE_FLOW : Turn.DUE_FIRST + 1].tolist()
        return [(flow, (said, first) if said >= 0 else None) for flow, _, said, first in found]

    def flush_ahead(self, flow: int) -> list[Mbuf]:
        """LRO flush between host points: what came of the flow since the last one. It has all to tell still."""
        head = host_calls.detach_ahead(self._tables, self._arena.extents, flow)
        return self._arena.mbufs(head)

    def news(self, flow: int) -> bool:
        """Whether there is anything in `log`."""
        return bool(self._logs.get(flow))

    def answers(self, flow: int) -> list[Progress | Guess]:
        """What the device has to tell the driver about this flow. Nothing at host points that were skipped: there was
        nothing then, and what has come since is for the next one. So it is with the log."""
        if flow in self._passed:
            return []
        return self._answers.pop(flow, [])

    def clock(self, flow: int) -> int:
        """The flow's own clock at its last row."""
        self._make_room_for_one()
        clock: int = host_calls.clock(self._tables, flow)
        return clock

    def log(self, flow: int) -> list[DeviceEvent]:
        """What happened to this flow on the device since the last call."""
        if flow in self._passed:
            return []
        return self._logs.pop(flow, [])

    def set_budget(self, connection: int, budget: int) -> None:
        """Host points of this connection's flows every `budget` packets from now on."""
        for flow in (2 * connection, 2 * connection + 1):
            self._set(flow, Lane.BUDGET, budget)

    def quiet(self, flow: int, mode: int) -> None:
        """Which of the flow's host points may be skipped: 0 none; 1 those at which serving the host can do nothing to
        the device, the flow being in order and nothing but application data; 2 all. Never those of SYN, FIN, RST, END.
        """
        self._set(flow, Lane.QUIET, mode, make=mode != 0)

    def attend(self, flow: int) -> None:
        """Do not skip the flow's next host point, whatever it is like."""
        self._set(flow, Lane.DIRTY, 1, make=False)

    def post(self, flow: int, command: Install | Command) -> None:
        """Post a command now, by the flow's own clock; it acts after the latency the profile gives it."""
        context = -1
        kind, latency = self._kind(command)
        tcp_sn = number = 0
        if not isinstance(command, Query):
            tcp_sn = command.tcp_sn
            number = (command.number + _U64 // 2) % _U64 - _U64 // 2
        if isinstance(command, Install):
            context = self._context(flow, command, number)
        if self._control[Walk.FREE_COMMAND] < 0:
            self._more_commands()
        self._make_room_for_one()
        posted = host_calls.Posted(kind, command.epoch, tcp_sn, number, context)
        host_calls.post(self._tables, flow, posted, latency.packets, latency.microseconds * 1000)

    def release(self, flow: int) -> None:
        """Take the receive tag away: from the next packet on, everything passes as on the wire."""
        host_calls.release(self._tables, flow)
        self._answers.pop(flow, None)
        self._release_keys()

    def forget(self, connection: int) -> None:
        """The connection is over."""
        host_calls.forget(self._tables, self._arena.tables, connection)
        for flow in (2 * connection, 2 * connection + 1):
            self._answers.pop(flow, None)
            self._logs.pop(flow, None)
            self._passed.pop(flow, None)
            self._told.pop(flow, None)
        self._release_keys()

    def _walk(self, resuming: int) -> list[HostPoint]:
        control = self._control
        control[Walk.DUE] = 0
        control[Walk.RESUMING] = resuming
        self._passed.clear()
        self._told.clear()
        while True:
            short = self._kernel(self._rows, self._data, self._tables, self._keys.rows, self._arena.tables)
            if control[Walk.EVENTS]:
                self._take_events()
            if short == walk.DONE:
                break
            if short == walk.NO_CONNECTION:
                self._more_connections()
            else:
                self._more_room(control[Walk.NEEDED])
        if control[Walk.DEAD_CONTEXT] >= 0:
            self._release_keys()
        count = control[Walk.DUE]
        if not count:
            return []
        found = self._turns[:count, Turn.DUE_FLOW : Turn.DUE_FIRST + 1].tolist()
        due: list[HostPoint] = [(flow, position) for flow, position, _, _ in found]
        self._told = {flow: (said, first) for flow, _, said, first in found if said >= 0}
        stopped = control[Walk.SERVED_AT_ONCE]
        if stopped < count:
            due[stopped:] = sorted(due[stopped:], key=itemgetter(1))
            self._passed = dict.fromkeys((flow for flow, _ in due[stopped:]), False)
        return due

    def _kind(self, command: Install | Command) -> tuple[int, Latency]:
        match command:
            case Install():
                return col.INSTALL, self.profile.install
            case Query():
                return col.QUERY, self.profile.poll
            case Confirm():
                return col.CONFIRM, self.profile.confirm
            case SetPosition():
                return col.SET_POSITION, self.profile.confirm

    def _context(self, flow: int, install: Install, number: int) -> int:
        """A context for the flow, as it will be when the install is carried out."""
        if not self._free_contexts:
            self._more_contexts()
        slot = self._keys.add(install.keys, device=True)
        keys = self._keys.rows[slot].tolist()
        context = self._free_contexts.pop()
        row = [0] * Context.COLUMNS
        row[Context.KEY] = slot
        row[Context.EPOCH], row[Context.LEAF], row[Context.FLOW] = install.epoch, install.leaf, flow
        for column, of_keys in _OF_KEYS:
            row[column] = keys[of_keys]
        row[Context.MARKED_TO] = row[Context.NEXT_CONTEXT] = -1
        if self.profile.start == "programmed":
            row[Context.NEXT_HEADER], row[Context.NUMBER] = install.tcp_sn, number
        row[Context.STATE] = _BEGINNING[self.profile.start]
        self._contexts[context] = row
        return context

    def _take_events(self) -> None:
        """Events as value objects, by flow."""
        control = self._control
        events = self._events[: control[Walk.EVENTS]].tolist()
        control[Walk.EVENTS] = 0
        for flow, happening, *values in events:
            if happening == HAS_PROGRESS:
                epoch, next_record, anchor, state, walked, _ = values
                tracker, auth = STATES[state]
                answer = Progress(epoch, next_record, anchor, tracker, auth, walked & OFFSET_MASK)
                self._answers.setdefault(flow, []).append(answer)
            elif happening == HAS_GUESS:
                self._answers.setdefault(flow, []).append(Guess(*values[:4]))
            else:
                self._logs.setdefault(flow, []).append(DeviceEvent(_HAPPENINGS[happening], *values[:3]))

    def _release_keys(self) -> None:
        """Contexts that ended: their rows and keys go back."""
        context = self._control[Walk.DEAD_CONTEXT]
        while context >= 0:
            self._keys.release(int(self._contexts[context, Context.KEY]))
            self._free_contexts.append(context)
            context = int(self._contexts[context, Context.NEXT_CONTEXT])
        self._control[Walk.DEAD_CONTEXT] = -1

    def _set(self, flow: int, column: int, value: int, make: bool = True) -> None:
        self._make_room_for_one()
        host_calls.set_column(self._tables, flow, column, value, make)

    def _make_room_for_one(self) -> None:
        if self._control[Walk.FREE_CONNECTION] < 0:
            self._more_connections()

    def _more_room(self, needed: int) -> None:
        """Room for a packet of `needed` bytes, and many more."""
        arena, control = self._arena, self._control
        if needed > len(self._block):
            self._block = np.empty(2 * needed, np.uint8)
            control[Walk.BLOCK], control[Walk.BLOCK_SIZE] = self._block.ctypes.data, 2 * needed
        if len(self._events) < 1024 + needed:
            self._events = np.zeros((2 * (1024 + needed), Entry.COLUMNS), np.int64)
            self._hold()
        pieces = 3 + needed // LARGE
        host_calls.reclaim(self._connections, self._lanes, arena.control, arena.chunks)
        arena.grow(extents=4096 + pieces, large=32 + pieces, small=64 + pieces)

    def _more_connections(self) -> None:
        control = self._control
        had = len(self._connections)
        more = max(had, 64)
        free = control[Walk.FREE_CONNECTION]
        self._connections = chained(self._connections, more, free, Slot.NEXT_CONNECTION)
        self._connections[had:, Slot.ID] = -1
        self._lanes = np.vstack((self._lanes, np.zeros((2 * more, Lane.COLUMNS), np.int64)))
        control[Walk.FREE_CONNECTION] = had
        self._buckets = np.full(1 << (had + more).bit_length(), -1, np.int64)
        rehash(self._connections, self._buckets)
        self._hold()

    def _more_commands(self) -> None:
        had = len(self._commands)
        self._commands = chained(self._commands, max(had, 64), self._control[Walk.FREE_COMMAND], Waiting.NEXT_COMMAND)
        self._control[Walk.FREE_COMMAND] = had
        self._hold()

    def _more_contexts(self) -> None:
        had = len(self._contexts)
        more = max(had, 64)
        self._contexts = np.vstack((self._contexts, np.zeros((more, Context.COLUMNS), np.int64)))
        self._control[Walk.CONTEXTS] = self._contexts.ctypes.data
        self._free_contexts.extend(range(had + more - 1, had - 1, -1))
        self._hold()


def _alone() -> Kernel:
    """The NIC's own kernel, which is loaded, or compiled, only where it is wanted."""
    from rxtls.device.compiled.kernel import walk as alone

    return alone
