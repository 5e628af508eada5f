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
from rxtls.errors import UsageError
from rxtls.events import Record
from rxtls.host.direction import Direction
from rxtls.host.flow import Flow
from rxtls.host.handshake import Observer
from rxtls.host.library import Library
from rxtls.intake import batch as col
from rxtls.intake.batch import Batch
from rxtls.intake.flows import Connection
from rxtls.intake.steer import CapturedFrame, Steer, SteerOptions
from rxtls.offload.commands import Happening, Install
from rxtls.offload.policies import POLICIES, Policy
from rxtls.offload.receive_tag import LifeEvent, ReceiveTag
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
        self._policy = _policy(self.options.policy, self.options.profile)
        self.keys = keys if keys is not None else KeyLog()
        self.ledger = Ledger()
        self.nic = Nic(self.options.profile, self.options.lro_limit)
        self.flows: dict[int, Flow] = {}
        self.keys_wait_met = False
        self.receive_tags = 0
        self.receive_tags_refused = 0
        self._library = library or self._observer
        numbers = self.options.profile
        bounds = replace(self.options.steer, idle_ns=numbers.idle * 1_000_000_000, max_flows=numbers.max_flows)
        self._steer = Steer(self.ledger, bounds)
        self._records: list[tuple[int, Record]] = []  # each with the place of its host point in the batch
        self._position = 0

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
            self._hear_device(flow, side)
        flow.advance()
        self._collect(flow)
        for side in sides:
            self._offload(flow, side)
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
                self._offload(flow, side)
        flow.end()
        for side in (0, 1):
            self._uninstall(flow, side)

    # The way back: what the device says, what the policy answers, and the receive tag's life.

    def _hear_device(self, flow: Flow, side: int) -> None:
        direction = flow.directions[side]
        for event in self.nic.log(2 * flow.connection.id + side):
            match event.happening:
                case Happening.INSTALLED if direction.receive_tag:
                    direction.receive_tag.fire(LifeEvent.INSTALLED)
                case Happening.LOST:
                    direction.tally.lost += 1
                    direction.losses.append(event.tcp_sn)
                case Happening.CONFIRMED:
                    direction.tally.confirmed += 1
                case Happening.FALSE_ANCHOR:
                    direction.tally.false_anchors += 1
                case Happening.STOPPED:
                    direction.why_software = "auth_failures"

    def _offload(self, flow: Flow, side: int) -> None:
        """The policy hears what there is to hear; then, where keys or leaf changed, the receive tag is made anew."""
        direction = flow.directions[side]
        reports, direction.reports = direction.reports, []
        session = direction.session
        if session is None:
            return
        tag = direction.receive_tag
        if tag is not None:
            flow_id = 2 * flow.connection.id + side
            commands = [command for report in reports for command in tag.report(report)]
            for answer in self.nic.answers(flow_id):
                commands += tag.answer(answer)
            for command in commands:
                self.nic.post(flow_id, command)
            session.epochs[tag.epoch].slips |= tag.slips
        if direction.new_keys:
            # Records under the new keys that the device tried with the old one failed, which is no fault of its.
            direction.why_software = None
            self._uninstall(flow, side)
            self._install(flow, side)
        elif tag is not None and (direction.why_software or direction.fate()):
            direction.mode = "sw" if direction.why_software or direction.fatal else direction.mode
            self._uninstall(flow, side)
        elif tag is not None and direction.leaf not in (None, tag.leaf):
            self._uninstall(flow, side)
            self._install(flow, side)
            direction.tally.receive_tag_resets += 1
        direction.new_keys = False
        direction.leaf = None
        if len(session.epochs) > 1:
            session.prune_epochs(direction.sockbuf.marks() | direction.reassembly.marks() | {direction.epoch})

    def _install(self, flow: Flow, side: int) -> None:
        """Allocate a receive tag on the leaf that packets come from, if this NIC takes these keys."""
        direction = flow.directions[side]
        session = direction.session
        if session is None or (direction.mode and direction.fate()):
            return
        direction.mode = "sw"
        if not self.options.profile.takes(session.keys):
            direction.why_software = "profile"
        elif self.receive_tags >= self.options.profile.max_receive_tags:
            direction.why_software = "no_receive_tag"
            self.receive_tags_refused += 1
        if direction.why_software:
            return
        direction.mode = "ifnet"
        self.receive_tags += 1
        direction.epoch += 1
        session.begin_epoch(direction.epoch)
        direction.receive_tag = ReceiveTag(direction.epoch, direction.sockbuf.leaf, self._policy())
        direction.receive_tag.fire(LifeEvent.ALLOC)
        tcp_sn, number = session.next_place(direction.sockbuf)
        install = Install(direction.epoch, direction.receive_tag.leaf, session.keys, number, tcp_sn)
        self.nic.post(2 * flow.connection.id + side, install)

    def _uninstall(self, flow: Flow, side: int) -> None:
        direction = flow.directions[side]
        tag, direction.receive_tag = direction.receive_tag, None
        if tag is None:
            return
        tag.fire(LifeEvent.FREE)
        direction.tally.polls += tag.polls
        self.nic.release(2 * flow.connection.id + side)
        tag.fire(LifeEvent.RELEASED)
        self.receive_tags -= 1


def _policy(name: str, nic: Profile) -> Callable[[], Policy]:
    if name not in POLICIES:
        raise UsageError(f"no policy {name!r}; there are {', '.join(POLICIES)}")
    missing = POLICIES[name]().needs - nic.commands
    if missing and nic.ciphers:
        raise UsageError(f"policy {name} needs {', '.join(sorted(missing))} of the NIC, which {nic.name} has not")
    return POLICIES[name]
