"""ReceivePath: the hallway, built, walked, and what comes back carried. Read this first.

    frames -> Steer -> Batch -> Nic -> Mbufs -> reassembly -> sockbuf -> worker -> records
                                 ^ ^                             |          |
                                 | +---- commands <--- policy <-- Report ---+
                                 +------ install/release <- LeafChanged, keys

A connection's packets pass in capture order. At each host point of a flow (device/nic.py) the host is served, in this
order: LRO flush, input and reassembly, socket buffer, TLS library or worker, policy. What a stage has to say to another
it returns as a value, and only this file carries it. Results depend on the packets, the profile and the policy: not on
how many frames come in one call, nor on other flows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from rxtls.counters import Ledger
from rxtls.device.nic import Nic
from rxtls.device.profiles import Profile, profile
from rxtls.errors import UsageError
from rxtls.events import By, Record, RecordClass
from rxtls.host.direction import Direction
from rxtls.host.handshake import Observer
from rxtls.host.library import Facts, Library, Preset, facts
from rxtls.host.steps import Enable, Hold, LibraryRecord, Refuse, Rekey, Step, Wait
from rxtls.host.worker import CryptoState, Outcome, Session
from rxtls.intake import batch as col
from rxtls.intake.batch import Batch
from rxtls.intake.flows import Connection
from rxtls.intake.steer import CapturedFrame, Steer, SteerOptions
from rxtls.offload.commands import Happening, Install
from rxtls.offload.mbuf import Mbuf
from rxtls.offload.policies import POLICIES
from rxtls.offload.receive_tag import LifeEvent, ReceiveTag
from rxtls.seq import distance
from rxtls.wire.keylog import KeyLog

ALERT = 21
APPLICATION_DATA = 23
CLOSE_NOTIFY = 0

# Unread bytes after which a direction that is captured alone stops hoping for the other one: twice the largest flight a
# client sends before the server has spoken.
ONE_SIDED = 64 << 10

_CLASS: dict[CryptoState, tuple[RecordClass, By]] = {
    CryptoState.DECRYPTED: (RecordClass.DECRYPTED, By.DEVICE),
    CryptoState.MIXED: (RecordClass.MIXED, By.RECRYPT),
    CryptoState.ENCRYPTED: (RecordClass.ENCRYPTED, By.HOST),
}


@dataclass(slots=True)
class PathOptions:
    """What a run depends on besides its packets."""

    profile: Profile = field(default_factory=lambda: profile("connectx-6dx"))
    policy: str = "freebsd-table"
    steer: SteerOptions = field(default_factory=SteerOptions)
    digest: bool = False
    wait_for_keys: bool = False  # keys may still come (a pipe): let flows wait for them
    lro_limit: int = 65535  # longest LRO run in bytes; nothing but speed depends on it


class Flow:
    """One connection as the path knows it: what intake saw of it, the TLS library, and its two directions.

    `directions[s]` holds what side s sent (0 = endpoint a of `connection`, 1 = endpoint b).
    """

    __slots__ = ("_facts", "connection", "coupled", "directions", "ended", "library")

    def __init__(self, connection: Connection, library: Library, directions: tuple[Direction, Direction]) -> None:
        self.connection = connection
        self.library = library
        self.directions = directions
        self.coupled = True  # both directions run at budget 1 in frame order
        self.ended = False
        self._facts: Facts | None = None

    @property
    def facts(self) -> Facts:
        """What the TLS library has learned of the connection."""
        return self._facts or facts(self.library)

    def retire(self) -> None:
        """The connection is over: keep what was learned, and forget how."""
        self._facts = facts(self.library)
        self.library = Preset({})
        self.ended = True

    @property
    def client_side(self) -> int:
        """The side that is the client: the ClientHello's sender if one was seen, else intake's guess."""
        side = self.facts.client_side
        return self.connection.client_side if side is None else side

    def receiver(self, side: int) -> str:
        """The host at which what `side` sent arrives."""
        return "server" if side == self.client_side else "client"


class ReceivePath:
    """The whole path. `receive` takes frames and gives the records they completed; `finish` ends the input.

    `library` makes the TLS library of a connection; the default observes its handshake with `keys`.
    """

    def __init__(
        self,
        keys: KeyLog | None = None,
        options: PathOptions | None = None,
        library: Callable[[Connection], Library] | None = None,
    ) -> None:
        self.options = options or PathOptions()
        if self.options.policy not in POLICIES:
            raise UsageError(f"no policy {self.options.policy!r}; there are {', '.join(POLICIES)}")
        missing = POLICIES[self.options.policy]().needs - self.options.profile.commands
        if missing and self.options.profile.ciphers:
            commands = ", ".join(sorted(missing))
            raise UsageError(
                f"policy {self.options.policy} needs of the NIC: {commands}; {self.options.profile.name} has not"
            )
        self.keys = keys if keys is not None else KeyLog()
        self.ledger = Ledger()
        self.nic = Nic(self.options.profile, self.options.lro_limit)
        self.flows: dict[int, Flow] = {}
        self.keys_wait_met = False
        self.receive_tags = 0
        self.receive_tags_refused = 0
        self._policy = POLICIES[self.options.policy]
        self._library = library or self._observer
        self._steer = Steer(self.ledger, self.options.steer)
        self._records: list[Record] = []

    def receive(self, frames: Iterable[tuple[int, CapturedFrame]]) -> list[Record]:
        """Take (global frame index, frame) pairs in capture order; the records they completed, in order per flow."""
        return self._walk(self._steer.batch(frames))

    def finish(self) -> list[Record]:
        """The input ends: every connection does."""
        return self._walk(self._steer.finish())

    def keys_added(self) -> list[Record]:
        """Keys came in while frames did: serve the flows that wait for them."""
        for flow in self.flows.values():
            if any(direction.waiting for direction in flow.directions):
                self._host(flow)
        return self._taken()

    def _walk(self, batch: Batch) -> list[Record]:
        rows = batch.rows.tolist()
        while rows:
            rows = self.nic.receive(rows, batch.data)
            due, self.nic.due = self.nic.due, []
            for flow_id in due:
                self._serve(flow_id)
        return self._taken()

    def _taken(self) -> list[Record]:
        records, self._records = self._records, []
        return records

    # One host point.

    def _serve(self, flow_id: int) -> None:
        flow = self._flow(flow_id >> 1)
        direction = flow.directions[flow_id & 1]
        for mbuf in self.nic.flush(flow_id):
            self._input(direction, mbuf)
        direction.reassembly.settle()
        self._host(flow)
        if all(d.end_seen for d in flow.directions):
            self._end(flow)
            self.nic.forget(flow.connection.id)
        elif direction.reassembly.reset and not flow.ended:
            flow.connection.end = "rst"
            for side, other in enumerate(flow.directions):
                if other is not direction:
                    for mbuf in self.nic.flush(2 * flow.connection.id + side):
                        self._input(other, mbuf)
            self._host(flow)
            self._end(flow)

    def _input(self, direction: Direction, mbuf: Mbuf) -> None:
        if mbuf.flags & col.END:
            direction.end_seen = True
        else:
            direction.input(mbuf)

    def _host(self, flow: Flow) -> None:
        """TLS library and worker until neither gets any further, then the policy."""
        if flow.ended:
            return
        for side in (0, 1):
            self._hear_device(flow, side)
        progress = True
        while progress:
            progress = False
            for side in (0, 1):
                progress |= self._read(flow, side)
                progress |= self._work(flow, side)
        for side in (0, 1):
            self._offload(flow, side)
        if flow.coupled != flow.library.handshaking:
            flow.coupled = flow.library.handshaking
            self.nic.set_budget(flow.connection.id, 1 if flow.coupled else self.options.profile.budget)

    def _flow(self, connection_id: int) -> Flow:
        flow = self.flows.get(connection_id)
        if flow is None:
            connection = self._steer.connections[connection_id]
            hold, digest = self.options.profile.hold, self.options.digest
            directions = Direction(self.ledger, hold, digest), Direction(self.ledger, hold, digest)
            flow = self.flows[connection_id] = Flow(connection, self._library(connection), directions)
        return flow

    def _observer(self, _connection: Connection) -> Library:
        return Observer(self.keys, self.options.wait_for_keys, [False, False])

    # Before receive is enabled: the TLS library reads the raw socket.

    def _read(self, flow: Flow, side: int) -> bool:
        direction = flow.directions[side]
        if direction.session or direction.refused:
            return False
        waiting = direction.sockbuf.waiting
        if not waiting:
            return False
        flow.library.syn_seen[side] = direction.reassembly.syn_seen
        if self._take_step(flow, side, flow.library.read(side, direction.sockbuf.peek(waiting))):
            return True
        if waiting <= self._bound(flow, side):
            return False
        self.keys_wait_met |= direction.waiting
        flow.library.settle(side, bound=True)
        return self._take_step(flow, side, flow.library.read(side, direction.sockbuf.peek(waiting)))

    def _bound(self, flow: Flow, side: int) -> int:
        """How many raw bytes may lie unread before the library has to decide with what it has."""
        if flow.directions[side].waiting:
            return self.options.profile.keys_wait
        if flow.directions[1 - side].reassembly.begun:
            return self.options.profile.handshake
        return ONE_SIDED

    def _take_step(self, flow: Flow, side: int, step: Step) -> bool:
        direction = flow.directions[side]
        if step.preamble:
            direction.sockbuf.read(step.preamble)
            self.ledger.fate("byte.preamble", step.preamble)
        for record in step.records:
            self._library_record(flow, side, record)
        direction.waiting = isinstance(step.action, Wait)
        match step.action:
            case Enable(keys, number):
                direction.sockbuf.enable()
                direction.session = Session(keys, number)
                direction.offloadable = self.options.profile.takes(keys)
                self._install(flow, side)
            case Refuse():
                direction.refused = step.action
                direction.drop_waiting()
            case None | Wait():
                return step.consumed > 0
        return True

    def _library_record(self, flow: Flow, side: int, record: LibraryRecord) -> None:
        direction = flow.directions[side]
        tcp_seq = direction.sockbuf.start_seq
        chain = direction.sockbuf.read(record.wire_length)
        frame, time_ns = max(arrival[1:] for mbuf in chain for arrival in mbuf.arrivals)
        event = Record(
            flow.connection.id,
            flow.receiver(side),
            record.type,
            record.payload,
            record.number,
            RecordClass.FAILED if record.failed else RecordClass.LIBRARY,
            By.NOBODY if record.failed else By.LIBRARY,
            tcp_seq,
            record.wire_length,
            frame,
            time_ns,
            early_data=record.early_data,
        )
        self._emit(direction, event)

    # After it: the kTLS worker.

    def _work(self, flow: Flow, side: int) -> bool:
        direction = flow.directions[side]
        session = direction.session
        if session is None or direction.fate():
            return False
        if direction.held and not self._changed_keys(flow, side, flow.library.resume(side)):
            return False
        progress = False
        while (outcome := session.step(direction.sockbuf)) is not None:
            progress = True
            self._worker_record(flow, side, outcome)
            opened = outcome.opened
            if opened is None or opened.type == APPLICATION_DATA:
                continue
            if opened.type == ALERT and len(opened.payload) == 2 and opened.payload[1] == CLOSE_NOTIFY:
                direction.closed = True
                direction.drop_waiting()
                break
            reply = flow.library.record(side, opened.type, opened.payload)
            if reply is not None and not self._changed_keys(flow, side, reply):
                break
        if session.fatal and not direction.fatal:
            direction.fatal = session.fatal
            direction.drop_waiting()
            self._uninstall(flow, side)
        return progress

    def _worker_record(self, flow: Flow, side: int, outcome: Outcome) -> None:
        direction = flow.directions[side]
        opened = outcome.opened
        record_class, by = _CLASS[outcome.state] if opened else (RecordClass.FAILED, By.NOBODY)
        direction.tally.recrypted += outcome.recrypted
        if outcome.report:
            direction.reports.append(outcome.report)
        if record_class is RecordClass.DECRYPTED:
            self._count_regained(direction, outcome.tcp_seq)
        event = Record(
            flow.connection.id,
            flow.receiver(side),
            opened.type if opened else 0,
            opened.payload if opened else b"",
            outcome.number,
            record_class,
            by,
            outcome.tcp_seq,
            outcome.total,
            outcome.frame,
            outcome.time_ns,
            outcome.composition,
        )
        self._emit(direction, event)

    def _emit(self, direction: Direction, record: Record) -> None:
        self.ledger.enter("record")
        self.ledger.fate(f"record.{record.record_class}")
        self.ledger.fate("byte.record", record.wire_length)
        direction.tally.count(record)
        self._records.append(record)

    def _count_regained(self, direction: Direction, tcp_seq: int) -> None:
        """Sync is regained by the first fully decrypted record that begins at or after the loss."""
        passed = 0
        while passed < len(direction.losses) and distance(direction.losses[passed], tcp_seq) >= 0:
            passed += 1
        if passed:
            direction.tally.regained += 1
            del direction.losses[:passed]

    def _changed_keys(self, flow: Flow, side: int, reply: Rekey | Hold | Refuse | None) -> bool:
        """KeyUpdate or renegotiation: whether the worker may open the next record."""
        direction = flow.directions[side]
        match reply:
            case Rekey(keys, number):
                assert direction.session is not None
                direction.held = False
                direction.session.rekey(keys, number)
                direction.offloadable = self.options.profile.takes(keys)
                # Records under the new keys that the device tried with the old one failed, which is no fault of its.
                direction.why_software = None
                self._uninstall(flow, side)
                self._install(flow, side)
                return True
            case Refuse():
                direction.refused = reply
                direction.drop_waiting()
                self._uninstall(flow, side)
            case Hold():
                direction.held = True
            case None:
                pass
        return False

    # The way back: what the device says, what the policy answers, and the receive tag's life.

    def _hear_device(self, flow: Flow, side: int) -> None:
        direction = flow.directions[side]
        for event in self.nic.log(2 * flow.connection.id + side):
            match event.happening:
                case Happening.INSTALLED if direction.tag:
                    direction.tag.fire(LifeEvent.INSTALLED)
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
        direction = flow.directions[side]
        flow_id = 2 * flow.connection.id + side
        session = direction.session
        reports, direction.reports = direction.reports, []
        if session is None:
            return
        tag = direction.tag
        if tag is not None:
            commands = [command for report in reports for command in tag.report(report)]
            for answer in self.nic.answers(flow_id):
                commands += tag.answer(answer)
            for command in commands:
                self.nic.post(flow_id, command)
            if tag.slips:
                session.epochs[tag.epoch].slips |= tag.slips
            if direction.why_software:
                direction.mode = "sw"
                self._uninstall(flow, side)
            elif direction.leaf not in (None, tag.leaf):
                self._uninstall(flow, side)
                self._install(flow, side)
                direction.tally.tag_resets += 1
        direction.leaf = None
        if len(session.epochs) > 1:
            session.prune_epochs(direction.sockbuf.marks() | direction.reassembly.marks() | {direction.epoch})

    def _install(self, flow: Flow, side: int) -> None:
        """Allocate a receive tag on the leaf that packets come from, if this NIC takes these keys."""
        direction = flow.directions[side]
        session = direction.session
        assert session is not None
        if direction.closed:
            return
        direction.mode = "sw"
        if not direction.offloadable:
            direction.why_software = "profile"
        if direction.why_software:
            return
        if self.receive_tags >= self.options.profile.max_receive_tags:
            direction.why_software = "no_receive_tag"
            self.receive_tags_refused += 1
            return
        direction.mode = "ifnet"
        self.receive_tags += 1
        direction.epoch += 1
        session.begin_epoch(direction.epoch)
        direction.tag = ReceiveTag(direction.epoch, direction.sockbuf.leaf, self._policy())
        direction.tag.fire(LifeEvent.ALLOC)
        tcp_sn, number = session.next_place(direction.sockbuf)
        install = Install(direction.epoch, direction.tag.leaf, session.keys, number, tcp_sn)
        self.nic.post(2 * flow.connection.id + side, install)

    def _uninstall(self, flow: Flow, side: int) -> None:
        direction = flow.directions[side]
        tag, direction.tag = direction.tag, None
        if tag is None:
            return
        tag.fire(LifeEvent.FREE)
        direction.tally.polls += tag.polls
        self.nic.release(2 * flow.connection.id + side)
        tag.fire(LifeEvent.RELEASED)
        self.receive_tags -= 1

    # The end of a connection.

    def _end(self, flow: Flow) -> None:
        if flow.ended:
            return
        for side in (0, 1):
            flow.library.settle(side)
        self._host(flow)
        for side, direction in enumerate(flow.directions):
            refusal = flow.library.end(side)
            if refusal and not direction.enabled:
                direction.refused = refusal
                direction.drop_waiting()
            direction.finish()
            self._uninstall(flow, side)
        flow.retire()
