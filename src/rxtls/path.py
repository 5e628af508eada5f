"""ReceivePath: the hallway, built, walked, and what comes back carried. Read this first.

    frames -> Steer -> Batch -> Nic -> Mbufs -> reassembly -> sockbuf -> library, worker -> records
                                 ^ ^                             |              |
                                 | +---- commands <--- policy <--|--- Report ---+
                                 +------ install, release <- LeafChanged, new keys

A connection's packets pass in capture order. At each host point of a flow (device/nic.py) the host is served, in this
order: LRO flush, input and reassembly, socket buffer, TLS library or worker, policy. What a stage has to say to another
it returns as a value, and only this file carries it. Results depend on the packets, the profile and the policy: not on
how many frames come in one call, nor on other flows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from operator import itemgetter

from rxtls.counters import Ledger
from rxtls.device.nic import Nic
from rxtls.device.profiles import Profile, profile
from rxtls.events import Record
from rxtls.host.direction import Direction
from rxtls.host.flow import Flow
from rxtls.host.handshake import Observer
from rxtls.host.library import Library
from rxtls.intake import batch as col
from rxtls.intake.batch import Batch
from rxtls.intake.flows import Connection
from rxtls.intake.steer import CapturedFrame, Steer, SteerOptions
from rxtls.way_back import WayBack
from rxtls.wire.keylog import KeyLog


@dataclass(slots=True)
class PathOptions:
    """What a run depends on besides its packets. The bounds in `steer` are the profile's, whatever it says."""

    profile: Profile = field(default_factory=lambda: profile("connectx-6dx"))
    policy: str = "freebsd-table"
    steer: SteerOptions = field(default_factory=SteerOptions)
    digest: bool = False
    wait_for_keys: bool = False  # keys may still come (a pipe): let flows wait for them
    lro_limit: int = 65535  # longest LRO run in bytes; nothing but speed depends on it


class ReceivePath:
    """The whole path. `receive` takes frames and gives the records they completed; `finish` ends the input.

    `library` makes the TLS library of a connection; the default observes its handshake with `keys`. Raises UsageError
    for a policy that does not exist, or that needs commands which the profile's NIC has not.
    """

    def __init__(
        self,
        keys: KeyLog | None = None,
        options: PathOptions | None = None,
        library: Callable[[Connection], Library] | None = None,
    ) -> None:
        self.options = options or PathOptions()
        self.keys = keys if keys is not None else KeyLog()
        self.ledger = Ledger()
        self.nic = Nic(self.options.profile, self.options.lro_limit)
        self._way_back = WayBack(self.nic, self.options.profile, self.options.policy)
        self.flows: dict[int, Flow] = {}
        self.keys_wait_met = False
        self._library = library or self._observer
        numbers = self.options.profile
        bounds = replace(self.options.steer, idle_ns=numbers.idle * 1_000_000_000, max_flows=numbers.max_flows)
        self._steer = Steer(self.ledger, bounds)
        self._records: list[tuple[int, Record]] = []  # each with the place of its host point in the batch
        self._position = 0

    @property
    def receive_tags(self) -> int:
        """How many are installed now."""
        return self._way_back.receive_tags

    @property
    def receive_tags_refused(self) -> int:
        """How often the bound on them was met."""
        return self._way_back.refused

    def receive(self, frames: Iterable[tuple[int, CapturedFrame]]) -> list[Record]:
        """Take (global frame index, frame) pairs in capture order; the records they completed, by host point."""
        if not self.options.profile.shares:
            return self._walk(self._steer.batch(frames))
        # What is shared is granted in order of (frame, flow): within a batch, flows do not keep to each other's order.
        return [record for frame in frames for record in self._walk(self._steer.batch((frame,)))]

    def finish(self) -> list[Record]:
        """The input ends: every connection does."""
        records = self._walk(self._steer.finish())
        for flow in self.flows.values():
            self._end(flow)  # those that still waited for keys
        return records + self._taken()

    def keys_added(self) -> list[Record]:
        """Keys came in while frames did: serve the flows that wait for them."""
        for flow in self.flows.values():
            if flow.waiting:
                self._host(flow, (0, 1))
                self._end_unless_waiting(flow)
        return self._taken()

    def _walk(self, batch: Batch) -> list[Record]:
        """Rows to the NIC, flows at their host points to the host, parked rows to the NIC again."""
        rows = batch.rows.tolist()
        for position, row in enumerate(rows):
            row.append(position)
        due = self.nic.receive(rows, batch.data)
        while due:
            for flow_id, self._position in due:
                self._serve(flow_id)
            due = self.nic.resume(batch.data)
        return self._taken()

    def _taken(self) -> list[Record]:
        """Records in order of the host points that brought them out, whichever connection was served first."""
        taken, self._records = self._records, []
        taken.sort(key=itemgetter(0))
        return [record for _, record in taken]

    def _serve(self, flow_id: int) -> None:
        """One host point of one direction."""
        flow, side = self._flow(flow_id >> 1), flow_id & 1
        self._input(flow, side)
        # While a handshake goes on, both directions are served together, in frame order.
        self._host(flow, (0, 1) if flow.coupled else (side,))
        if flow.over:
            self.nic.forget(flow.connection.id)
            self._end_unless_waiting(flow)
        elif flow.directions[side].reassembly.reset and not flow.ended:
            flow.connection.end = "rst"
            self._input(flow, 1 - side)
            self._host(flow, (1 - side,))
            self._end(flow)

    def _input(self, flow: Flow, side: int) -> None:
        """LRO flush, input, reassembly, socket buffer."""
        direction = flow.directions[side]
        for mbuf in self.nic.flush(2 * flow.connection.id + side):
            if mbuf.flags & col.END:
                direction.end_seen = True
            else:
                direction.input(mbuf)
        direction.reassembly.settle()

    def _host(self, flow: Flow, sides: tuple[int, ...]) -> None:
        """TLS library and workers, then the policy of those directions whose host point it is."""
        if flow.ended:
            return
        for side in sides:
            self._way_back.hear(flow, side)
        flow.advance()
        self._collect(flow)
        for side in sides:
            self._way_back.offload(flow, side)
        if flow.coupled != flow.library.handshaking:
            flow.coupled = flow.library.handshaking
            self.nic.set_budget(flow.connection.id, 1 if flow.coupled else self.options.profile.budget)

    def _collect(self, flow: Flow) -> None:
        self._records += [(self._position, record) for record in flow.records]
        flow.records.clear()
        self.keys_wait_met |= flow.keys_wait_met

    def _flow(self, connection_id: int) -> Flow:
        flow = self.flows.get(connection_id)
        if flow is None:
            connection = self._steer.connections[connection_id]
            numbers, digest = self.options.profile, self.options.digest
            directions = Direction(self.ledger, numbers.hold, digest), Direction(self.ledger, numbers.hold, digest)
            library = self._library(connection)
            flow = Flow(connection, library, directions, self.ledger, numbers.keys_wait, numbers.handshake)
            self.flows[connection_id] = flow
        return flow

    def _observer(self, _connection: Connection) -> Library:
        return Observer(self.keys, self.options.wait_for_keys, (False, False), self.options.profile.handshake)

    def _end_unless_waiting(self, flow: Flow) -> None:
        if flow.over and not flow.waiting:
            self._end(flow)

    def _end(self, flow: Flow) -> None:
        if flow.ended:
            return
        flow.settle()
        flow.advance()
        self._collect(flow)
        for side, direction in enumerate(flow.directions):
            if direction.new_keys:
                self._way_back.offload(flow, side)
        flow.end()
        for side in (0, 1):
            self._way_back.uninstall(flow, side)
