"""The NIC, plain: flow rules, commands with their latencies, the engine, LRO. The slow, obvious twin.

`receive` takes rows in capture order and stops a connection where the host has to be served (its host point): the rows
of that connection which follow are *parked*. Rows of other connections go on. Once the host has been, `resume` takes
each stopped connection on to its next host point. So results do not depend on how large a batch is, and every row is
handled once, however many host points there are.

    rows  1a 2a 1a 3a 1a* 2a 1a 3a        * = host point of connection 1
          taken: 1a 2a 1a 3a 1a* 2a 3a     parked: 1a     due: [1]

`stops` are rows before which everything has to have been served that came earlier, the host points of all connections
included: there, a connection begins that goes on from another one's end.

A host point is every row whose clock n is divisible by the budget, and every SYN, FIN, RST and END. A connection starts
at budget 1 (its handshake must be seen in frame order by both sides) until the host sets the profile's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import pairwise

from rxtls.device import engine
from rxtls.device.context import Context
from rxtls.device.lro import MAX_RUN, Lro
from rxtls.device.profiles import Latency, Profile
from rxtls.device.tracker import ELSEWHERE, NO_CONTEXT, TRANSITIONS, HeaderPattern, TrackerEvent
from rxtls.intake import batch as col
from rxtls.intake.batch import Row
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
from rxtls.offload.mbuf import WIRE, Mbuf

_STATES = list(TRANSITIONS)

HostPoint = tuple[int, int]  # (flow, the row's last column: its place in the batch)
Due = tuple[int, int, Install | Command]  # (clock n, capture time in ns, command): acts at whichever comes first


class Lane:
    """What the NIC keeps per receive flow: the open runs, and, under a receive tag, the context."""

    __slots__ = ("answers", "budget", "clock", "context", "log", "lro", "pending", "time_ns")

    def __init__(self, lro_limit: int) -> None:
        self.budget = 1
        self.clock = 0
        self.time_ns = 0
        self.lro = Lro(lro_limit)
        self.context: Context | None = None
        self.pending: list[Due] = []
        self.answers: list[Progress | Guess] = []
        self.log: list[DeviceEvent] = []


class Nic:
    """All flows of one device model. `lro_limit` is the longest run in bytes; nothing but speed may depend on it."""

    def __init__(self, profile: Profile, lro_limit: int = MAX_RUN) -> None:
        self.profile = profile
        self._lro_limit = lro_limit
        self._lanes: dict[int, Lane] = {}
        self._flows: dict[int, None] = {}  # of this batch, in order
        self._seen: dict[int, tuple[int, int]] | None = None  # by place in the batch, if watched: mark and state
        self._parked: dict[int, deque[Row]] = {}  # by connection; those that are stopped, in the order they stopped
        self._later: deque[list[Row]] = deque()  # behind the next stop, and so on

    def receive(self, rows: Sequence[Row], data: bytes, stops: Sequence[int] = ()) -> list[HostPoint]:
        """Take rows until each connection meets a host point, and park the rest; where the host is to be served."""
        ends = [*stops, len(rows)]
        self._flows = dict.fromkeys(row[col.FLOW] for row in rows)
        self._later.extend(list(rows[start:end]) for start, end in pairwise((0, *ends)))
        return self._next(data)

    def _next(self, data: bytes) -> list[HostPoint]:
        due: list[HostPoint] = []
        while self._later and not due:
            due = self._take(self._later.popleft(), data)
        return due

    def _take(self, rows: Iterable[Row], data: bytes) -> list[HostPoint]:
        due: list[HostPoint] = []
        parked, lanes = self._parked, self._lanes
        for row in rows:
            flow = row[col.FLOW]
            if (waiting := parked.get(flow >> 1)) is not None:
                waiting.append(row)
                continue
            lane = lanes.get(flow) or self._lane(flow)
            if self._receive_row(lane, row, data):
                parked[flow >> 1] = deque()
                due.append((flow, row[-1]))
        return due

    def resume(self, data: bytes) -> list[HostPoint]:
        """The host has been: take each stopped connection's parked rows on to its next host point."""
        due: list[HostPoint] = []
        for connection in list(self._parked):
            waiting = self._parked[connection]
            while waiting:
                row = waiting.popleft()
                if self._receive_row(self._lane(row[col.FLOW]), row, data):
                    due.append((row[col.FLOW], row[-1]))
                    break
            else:
                del self._parked[connection]
        return due or self._next(data)

    def watch(self) -> None:
        """From now on note what became of each row."""
        self._seen = {}

    def seen(self) -> list[tuple[int, int]]:
        """Of each row of this batch, once nothing of it is parked any more: its mark, and the state behind it."""
        seen, self._seen = self._seen or {}, {}
        return [seen[place] for place in range(len(seen))]

    def flush(self, flow: int) -> list[Mbuf]:
        """LRO flush at a host point: what came of the flow since the last one."""
        return self._lane(flow).lro.flush()

    def ahead(self) -> list[tuple[int, tuple[int, int] | None]]:
        """The flows of this batch of which something came since their last host point. The second value is the compiled
        NIC's."""
        return [(flow, None) for flow in self._flows if flow in self._lanes and self._lanes[flow].lro.any]

    def flush_ahead(self, flow: int) -> list[Mbuf]:
        """LRO flush between host points: what came of the flow since the last one."""
        return self.flush(flow)

    def news(self, flow: int) -> bool:
        """Whether there is anything in `log`."""
        return bool(self._lane(flow).log)

    def answers(self, flow: int) -> list[Progress | Guess]:
        """What the device has to tell the driver about this flow."""
        lane = self._lane(flow)
        answers, lane.answers = lane.answers, []
        return answers

    def clock(self, flow: int) -> int:
        """The flow's own clock at its last row."""
        return self._lane(flow).clock

    def log(self, flow: int) -> list[DeviceEvent]:
        """What happened to this flow on the device since the last call."""
        lane = self._lane(flow)
        log, lane.log = lane.log, []
        return log

    def set_budget(self, connection: int, budget: int) -> None:
        """Host points of this connection's flows every `budget` packets from now on."""
        for flow in (2 * connection, 2 * connection + 1):
            self._lane(flow).budget = budget

    def post(self, flow: int, command: Install | Command) -> None:
        """Post a command now, by the flow's own clock; it acts after the latency the profile gives it."""
        lane = self._lane(flow)
        latency = self._latency(command)
        lane.pending.append((lane.clock + latency.packets, lane.time_ns + latency.microseconds * 1000, command))

    def release(self, flow: int) -> None:
        """Take the receive tag away: from the next packet on, everything passes as on the wire."""
        lane = self._lane(flow)
        lane.context = None
        lane.pending.clear()
        lane.answers.clear()

    def forget(self, connection: int) -> None:
        """The connection is over."""
        for flow in (2 * connection, 2 * connection + 1):
            self._lanes.pop(flow, None)

    def _lane(self, flow: int) -> Lane:
        lane = self._lanes.get(flow)
        if lane is None:
            lane = self._lanes[flow] = Lane(self._lro_limit)
        return lane

    def _receive_row(self, lane: Lane, row: Row, data: bytes) -> bool:
        """Take one row; whether it is a host point."""
        moment = (row[col.FRAME], row[col.TIME])
        lane.clock, lane.time_ns = row[col.CLOCK], row[col.TIME]
        if lane.pending:
            self._act(lane, row[col.CLOCK], moment)
        start = row[col.OFFSET]
        payload = data[start : start + row[col.LENGTH]]
        mark = WIRE
        context = lane.context
        # The flow rule stands on the leaf the tag was made for: packets on another one never meet it.
        if context is not None and payload and row[col.LEAF] == context.leaf:
            plain = self._pass(lane, context, row[col.SEQ], payload, moment)
            if plain is not None:
                payload, mark = plain, context.epoch  # the one place where a mark is set
            if context.log:
                lane.log += context.log
                context.log.clear()
            if context.guesses:
                if "guess" in self.profile.commands:
                    lane.answers += context.guesses
                context.guesses.clear()
        lane.lro.add(row[col.SEQ], payload, mark, row[col.LEAF], row[col.FLAGS], moment, row[col.ACKED], row[col.EDGE])
        if self._seen is not None:
            self._seen[row[-1]] = (mark, _state(lane.context, row[col.LEAF]))
        return bool(row[col.FLAGS] & col.HOST_POINT_FLAGS) or row[col.CLOCK] % lane.budget == 0

    def _pass(self, _lane: Lane, context: Context, seq: int, payload: bytes, moment: tuple[int, int]) -> bytes | None:
        """The in-line engine's part, in which a NIC of somebody else's differs (guest_nic.py)."""
        return engine.receive(context, seq, payload, moment)

    def _latency(self, command: Install | Command) -> Latency:
        match command:
            case Install():
                return self.profile.install
            case Query():
                return self.profile.poll
            case Confirm() | SetPosition():
                return self.profile.confirm

    def _act(self, lane: Lane, clock: int, moment: tuple[int, int]) -> None:
        """Carry out what is due: a command due at n acts before packet n."""
        waiting: list[Due] = []
        for due in lane.pending:
            if due[0] > clock and due[1] > moment[1]:
                waiting.append(due)
            else:
                self._carry_out(lane, due[2], moment)
        lane.pending = waiting

    def _carry_out(self, lane: Lane, command: Install | Command, moment: tuple[int, int]) -> None:
        if isinstance(command, Install):
            lane.context = self._context(command)
            lane.log.append(DeviceEvent(Happening.INSTALLED, *moment, command.tcp_sn))
            return
        context = lane.context
        if context is None or context.epoch != command.epoch:
            return
        match command:
            case Query():
                lane.answers.append(context.progress())
            case Confirm(_, tcp_sn, number):
                engine.confirm(context, tcp_sn, number, moment)
            case SetPosition(_, tcp_sn, number):
                engine.set_position(context, tcp_sn, number)
        lane.log += context.log
        context.log.clear()

    def _context(self, install: Install) -> Context:
        context = Context(
            install.epoch,
            install.leaf,
            install.keys,
            self.profile.search_after,
            self.profile.auth_failures,
            HeaderPattern(install.keys),
        )
        if self.profile.start == "programmed":
            engine.bind(context, install.tcp_sn, install.number)
        else:
            context.fire(TrackerEvent.SCAN)
        return context


def _state(context: Context | None, leaf: int) -> int:
    """What driver/trace.py wants to know of the context behind a packet."""
    if context is None:
        return NO_CONTEXT
    return _STATES.index(context.state) if context.leaf == leaf else ELSEWHERE
