"""ReceivePath: the hallway, built, walked, and what comes back carried. Read this first.

    frames -> Steer -> Batch -> Nic -> Mbufs -> reassembly -> sockbuf -> library, worker -> records
                                 ^ ^                             |              |
                                 | +---- commands <--- policy <--|--- Report ---+
                                 +------ install, release <- LeafChanged, new keys

A connection's packets pass in capture order. At each host point of a flow (device/nic.py) the host is served, in this
order: LRO flush, input and reassembly, socket buffer, TLS library or worker, policy. What a stage has to say to another
it returns as a value, and only this file and driver/driver.py carry it. Results depend on the packets, the profile and
the policy: not on how many frames come in one call, nor on other flows, nor on the engine: engines.py has intake and
NIC in their two makings, and where they are compiled, compiled_host.py takes over the host of directions that need no
attention.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from rxtls.counters import Ledger
from rxtls.device.profiles import Profile, profile
from rxtls.driver.driver import WayBack
from rxtls.driver.resources import Allocation
from rxtls.driver.trace import BETWEEN, OUTSIDE, Event, Log, Trace, Watch, joined, nothing
from rxtls.errors import UsageError
from rxtls.events import Record
from rxtls.handshake.library import Library
from rxtls.handshake.observer import Observer
from rxtls.host.direction import Direction
from rxtls.host.flow import Flow
from rxtls.host.hold import HoldRun
from rxtls.host.holes import stall
from rxtls.host.input import Input
from rxtls.host.rejoin import Lefts
from rxtls.host.silent import Flows
from rxtls.host.socket.socket import Socket
from rxtls.host.sysctl import Kernel, Sysctl
from rxtls.intake import batch as col
from rxtls.intake.flows import Connection
from rxtls.intake.steer import SteerOptions
from rxtls.offload.interface import Interfaces
from rxtls.offload.mbuf import Mbuf
from rxtls.path.completion import Completion
from rxtls.path.engines import CompiledFront, Front, PlainFront, chosen
from rxtls.path.leaves import Leaves
from rxtls.path.records import Place, Records
from rxtls.wire.keylog import KeyLog

if TYPE_CHECKING:
    from rxtls.device.nic import HostPoint
    from rxtls.path.compiled_host import Steady
    from rxtls.path.engines import FramesIn


@dataclass(slots=True)
class PathOptions:
    """What a run depends on besides its packets. The bounds in `steer` are the profile's, whatever it says."""

    profile: Profile = field(default_factory=lambda: profile("connectx-6dx"))
    policy: str = "freebsd-table"
    steer: SteerOptions = field(default_factory=SteerOptions)
    digest: bool = False
    assume_received: bool = False  # the receivers' NICs have seen what the capture lacks
    wait_for_keys: bool = False  # keys may still come (a pipe): let flows wait for them
    lro_limit: int = 65535  # longest LRO run in bytes; nothing but speed depends on it
    engine: str = "auto"  # "compiled" where that is possible, or "plain": nothing but speed depends on it
    workers: int = 1  # kTLS worker threads, as many as CPUs upstream: nothing depends on it
    sysctl: Sysctl = field(default_factory=Sysctl)
    interfaces: Interfaces | None = None  # None: each capture interface is a port, and routes lead back to it
    same: Callable[[int], int] | None = None  # the first capture interface that is the same as this one
    names: Callable[[int], str] = str  # of a capture interface, for a person
    watch: Watch = Watch.NOTHING  # what Records.trace shows
    by_completion: bool = False  # records come in order of completion (completion.py), not of host points


class ReceivePath:
    """The whole path. `receive` takes frames and gives the records they completed; `finish` ends the input.

    `library` makes the TLS library of a connection; the default observes its handshake with `keys`. Raises UsageError
    for a policy that does not exist, or that needs commands which the profile's NIC has not, and for an engine that
    cannot run here.
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
        self.kernel = Kernel(self.options.sysctl)
        self.keys_wait_met = False
        self._lefts = Lefts(self.ledger)
        self._sockets: dict[tuple[int, str], Socket] = {}
        self._library = library or self._observer
        numbers = self.options.profile
        bounds = replace(self.options.steer, idle_ns=numbers.idle * 1_000_000_000, max_flows=numbers.max_flows)
        self._log = Log(self.options.watch >= Watch.EVENTS)
        self._tree = self.options.interfaces.view() if self.options.interfaces else None  # as it is at the beginning
        self._input_side = Input(self._tree, self.ledger) if self._tree else None
        self._leaves = Leaves(self._tree, self.options.same)
        # Packets that are received on interfaces, and a library of somebody else's, have to do with all rows.
        self._some_silent = library is None and self._input_side is None
        driver = numbers, self.options.policy, self._tree, self.options.sysctl, self._log, self._name
        self.front: Front
        self._steady: Steady | None = None
        if chosen(self.options.engine) == "compiled":
            front = CompiledFront(self.ledger, bounds, numbers, self.options.lro_limit, self._leaves)
            self.front = front
            self._way_back = WayBack(front.nic, *driver)
            self._steady = front.steady(self._way_back)
        else:
            self.front = PlainFront(self.ledger, bounds, numbers, self.options.lro_limit, self._leaves)
            self._way_back = WayBack(self.front.nic, *driver)
        self._nic = self.front.nic
        self.flows = Flows(self.front.connections, self._made, self.ledger)
        if self.options.watch >= Watch.FRAMES:
            self.front.watch()
        self._records: list[tuple[Place, Record]] = []
        self._completion = Completion(self.flows)
        self._hold = HoldRun(numbers.hold_run)

    @property
    def most_held(self) -> int:
        """The most memory that all directions together held out of order, where that was looked at (HoldRun)."""
        return self._hold.most

    @property
    def hold_run_met(self) -> int:
        """How many directions had to let go of what they held because all together held too much."""
        return self._hold.met

    @property
    def receive_tags(self) -> int:
        """How many are installed now."""
        return self._way_back.receive_tags

    @property
    def stats(self) -> Counter[str]:
        """What the kernel and the driver counted: WayBack.stats and Kernel.stats."""
        ocf = Counter({f"ocf.{name}": n for name, n in self.kernel.ocf.stats.items()})
        return self._way_back.stats + self.kernel.stats + ocf

    @property
    def hosts(self) -> dict[str, Allocation]:
        """The NICs of the receiving hosts by address, of those that asked theirs: limits, and `stats` as of it."""
        return {str(ip_address(address)): host for address, host in sorted(self._way_back.hosts.items())}

    def port(self, leaf: int) -> str | None:
        """The port of the tree that packets with this leaf come by."""
        return self._leaves.port(leaf)

    def capture(self, leaf: int) -> int:
        """The first leaf as captures have it that became `leaf` in the rows of the path."""
        return self._leaves.capture(leaf)

    @property
    def unknown_leaves(self) -> list[int]:
        """Leaves by which packets came, and which no port of the tree is."""
        return sorted(self._leaves.unknown)

    @property
    def receive_tags_refused(self) -> int:
        """How often the bound on them was met."""
        return self._way_back.refused

    @property
    def most_receive_tags(self) -> int:
        """How many were installed at once on one host, so far."""
        return self._way_back.most_receive_tags

    def share(self, job: int, jobs: int) -> None:
        """Before the first frame: follow only the connections of `job` (from 0) of `jobs`.

        Frames in columns say themselves which are other jobs' (wire/compiled/shard.py).
        """
        if isinstance(self.front, PlainFront):
            self.front.share(job, jobs)

    def receive(self, frames: FramesIn) -> list[Record]:
        """Take (global frame index, frame) pairs in capture order; the records they completed, by host point."""
        return list(self.take(frames))

    def finish(self) -> list[Record]:
        """The input ends: every connection does."""
        return list(self.take_last())

    def keys_added(self) -> list[Record]:
        """Keys came in while frames did: serve the flows that wait for them."""
        return list(self.take_unlocked())

    def socket(self, flow: int, receiver: str) -> Socket:
        """The socket at `receiver` ("server" or "client") of the connection with this id, which may be still to come.

        The direction's records come out of `receive` as ever, and wait on the socket until they are read. To set keys
        by hand rather than from a key log, make the path with `library=lambda _: Preset(None)`. Directions that have a
        socket are served by the plain host.
        """
        if receiver not in ("server", "client"):
            raise UsageError(f"the receiver is 'server' or 'client', not {receiver!r}")
        key = flow, receiver
        if key not in self._sockets:
            self._sockets[key] = Socket(self.kernel, partial(self._serve_socket, *key))
            if flow in self.flows:
                self._attach(self.flows.made.get(flow) or self._flow(flow))
        return self._sockets[key]

    def detach(self, name: str, frame: int) -> None:
        """An interface of the tree goes away before `frame`, the next one; packets of it may still be in flight."""
        if self._input_side is None:
            raise UsageError("there is no tree of interfaces")
        gone = self._input_side.detach(name, frame)
        self._log.position = BETWEEN
        for flow in self.flows.all_made():
            for side in (0, 1):
                self._way_back.detached(flow, side, gone)

    def attach(self, name: str, frame: int) -> None:
        """It comes back before `frame`, as another one."""
        if self._input_side is None:
            raise UsageError("there is no tree of interfaces")
        self._input_side.attach(name, frame)

    def _name(self, leaf: int) -> str:
        """The interface that packets with this leaf came by, for a person."""
        port = self._tree.at(leaf) if self._tree else None
        return self.options.names(leaf) if port is None else port.name

    # The same, in bulk: a record is made when somebody asks for it, and its bytes are good until the next call.

    def take(self, frames: FramesIn) -> Records:
        """As `receive`."""
        # What is shared is granted in order of (frame, flow): within a batch, flows do not keep to each other's order.
        calls = one_by_one(frames) if self.options.profile.shares else iter([frames])
        parts = [part for call in calls for part in self._hold.parts(call)]
        if len(parts) == 1 and not parts[0][1]:
            return self._walk(partial(self.front.receive, parts[0][0]))
        taken: list[Record] = []
        traces: list[Trace] = []
        for part, judged in parts:
            records = self._walk(partial(self.front.receive, part), judged=judged)
            taken += records
            traces += [records.trace] if records.trace else []
        places = [((n, 0), record) for n, record in enumerate(taken)]
        return Records(self.flows, places, trace=joined(traces) if self._log.on else None)

    def take_last(self) -> Records:
        """As `finish`."""
        found = self._walk(self.front.finish, last=True)
        self.front.refresh()
        return found

    def take_unlocked(self) -> Records:
        """As `keys_added`."""
        self._begin()
        self._log.position = OUTSIDE
        for flow in self.flows.all_made():
            if flow.waiting:
                self._host(flow, (0, 1))
                self._end_unless_waiting(flow)
        return self._taken(Trace(self._told(self._log.take()), *nothing()))

    def _walk(self, receive: Callable[[], list[HostPoint]], last: bool = False, judged: bool = False) -> Records:
        """Rows to the NIC, flows at their host points to the host, parked rows to the NIC again. `judged`: then look at
        what all directions hold."""
        self._begin()
        due = receive()
        self._completion.walk(self.front.rows)
        while due:
            for flow_id, position in self._by_worker(due):
                self._log.position = position
                self._serve(flow_id)
            due = self.front.resume()
        self._log.position = OUTSIDE
        if judged and self._hold.over(self.front.account[0]):
            self._make_way()
        if self.options.by_completion and not last:
            self._ahead()
        if last:
            for flow in self.flows.all_made():
                self._end(flow)  # those that still waited for keys
            self._lefts.drop()
        return self._taken(self._walked())

    def _ahead(self) -> None:
        """Directions that are between two host points: bring out the records that are whole (Flow.ahead), for those of
        other directions that were complete later are about to be given to the caller."""
        for flow_id, told in self._nic.ahead():
            flow, side = self.flows.made.get(flow_id >> 1), flow_id & 1
            mbufs = None
            if told is not None and self._steady is not None:
                mbufs = self._steady.ahead(self.flows[flow_id >> 1], side, told)
            elif flow is not None and flow.reads_ahead(side):
                mbufs = self._nic.flush_ahead(flow_id)
            if flow is not None and mbufs is not None:
                self._take_in(flow.directions[side], mbufs, flow.connection.vlan)
                if flow.reads_ahead(side):
                    flow.ahead(side)
                self._collect(flow, [True, True])

    def _by_worker(self, due: list[HostPoint]) -> list[HostPoint]:
        """Host points as several worker threads may serve them: each connection has one, which serves it in order."""
        workers = self.options.workers
        return due if workers == 1 else sorted(due, key=lambda point: (point[0] >> 1) % workers)

    def _attach(self, flow: Flow) -> None:
        """Tie the sockets that are there to a connection that is there."""
        for side in (0, 1):
            socket = self._sockets.get((flow.connection.id, flow.receiver(side)))
            if socket and not flow.directions[side].socket:
                self._plain(flow, side)
                socket.attach(flow, side)

    def _serve_socket(self, flow_id: int, receiver: str) -> None:
        """Somebody would sleep on a socket: let its host be served, between two calls with frames."""
        flow = self.flows.made.get(flow_id)
        if flow is None or flow.ended:
            return
        side = 0 if flow.receiver(0) == receiver else 1
        self._log.position = BETWEEN
        self._host_point(flow, side, self._nic.flush(2 * flow_id + side))

    def _make_way(self) -> None:
        """All directions together hold too much: those that hold most let go of it, until there is room again."""
        holding = [(self._held(flow, side), flow, side) for flow in self.flows.all_made() for side in (0, 1)]
        for memory, flow, side in sorted(holding, key=lambda each: (-each[0], each[1].connection.id, each[2])):
            if not memory or self._hold.relieved(self.front.account[0]):
                break
            self._plain(flow, side)
            self._take_in(
                flow.directions[side], self._nic.flush_ahead(2 * flow.connection.id + side), flow.connection.vlan
            )
            flow.directions[side].reassembly.give_way()
            self._host(flow, (0, 1) if flow.coupled else (side,))
            if flow.directions[side].reassembly.held:
                stall(flow.directions[side])  # nobody can go on behind the hole now
            self._hold.met += 1

    def _held(self, flow: Flow, side: int) -> int:
        """Memory of what a direction held out of order at its last host point."""
        steady = self._steady.memory(2 * flow.connection.id + side) if self._steady else 0
        return steady or flow.directions[side].reassembly.told

    def _begin(self) -> None:
        if self._steady:
            self._steady.begin()

    def _walked(self) -> Trace:
        """What there is to see of the walk that has ended."""
        events = self._told(self._log.take(self.front.rows))
        if self.options.watch < Watch.FRAMES:
            return Trace(events, *nothing())
        return Trace(events, self.front.segments(), self.front.fates())

    def _told(self, events: list[Event]) -> list[Event]:
        """Events of a call, of which directions keep the changes of their paths."""
        for event in events:
            if event.change:
                self.flows[event.flow >> 1].directions[event.flow & 1].change_path(event.change)
        return events

    def _taken(self, trace: Trace) -> Records:
        taken, self._records = self._records, []
        seen = trace if self._log.on else None
        host = self._steady
        rows, events, arena = (host.rows, host.events, host.arena) if host else (None, [], None)
        held = self._completion.take(rows, events) if self.options.by_completion else None
        return Records(self.flows, events + taken, rows, arena, seen, held)

    def _serve(self, flow_id: int) -> None:
        """One host point of one direction; of a quiet one, all that were passed over."""
        flow, side = self.flows.made.get(flow_id >> 1), flow_id & 1
        if flow is None:
            self._serve_silent(flow_id >> 1, side, self._nic.flush(flow_id))
        elif self._steady is None:
            self._host_point(flow, side, self._nic.flush(flow_id))
        elif self._steady.done(flow_id):
            return
        elif flow_id in self._steady:
            last = self._log.position
            for point, mbufs in self._steady.serve(flow, side, last):
                self._log.position = point
                self._host_point(flow, side, mbufs)
            self._log.position = last
        else:
            coupled = flow.coupled
            self._host_point(flow, side, self._nic.flush(flow_id))
            if not coupled and not flow.coupled and self._may_be_steady(flow.directions[side]):
                self._steady.consider(flow, side)

    def _serve_silent(self, number: int, side: int, mbufs: list[Mbuf]) -> None:
        """One host point of a connection that has no Flow: there is nothing to do for it yet, or nothing any more. The
        NIC need not know it either: nothing of it waits there, as every row is a host point."""
        if self.flows.remains(number):
            self.flows.late(mbufs)
        elif not self._may_be_silent(number) or not self.flows.keep(number, side, mbufs):
            self._host_point(self._flow(number), side, mbufs)
            return
        self._nic.forget(number)

    def _may_be_silent(self, number: int) -> bool:
        """Who reads from it, and what it may go on from, have to be told of it at its first row."""
        if not self._some_silent or any((number, receiver) in self._sockets for receiver in ("server", "client")):
            return False
        return self.flows.kept(number) or not self._lefts.has(self.front.connections[number])

    def _let_go(self, flow: Flow) -> None:
        if self._some_silent:
            self.flows.let_go(flow)

    def _may_be_steady(self, direction: Direction) -> bool:
        """Sockets, and packets that are received on interfaces of a tree, are the plain host's."""
        return direction.socket is None and self._input_side is None

    def _host_point(self, flow: Flow, side: int, mbufs: list[Mbuf]) -> None:
        """Input, then the host; and how connections end."""
        self._input(flow.directions[side], mbufs, flow.connection.vlan)
        # While a handshake goes on, both directions are served together, in frame order.
        self._host(flow, (0, 1) if flow.coupled else (side,))
        if flow.over:
            self._nic.forget(flow.connection.id)
            self._end_unless_waiting(flow)
            self._let_go(flow)
        elif flow.directions[side].reassembly.reset and not flow.ended:
            flow.connection.end = "rst"
            self._plain(flow, 1 - side)
            self._input(
                flow.directions[1 - side],
                self._nic.flush(2 * flow.connection.id + 1 - side),
                flow.connection.vlan,
            )
            self._host(flow, (1 - side,))
            self._end(flow)
            self._let_go(flow)

    def _input(self, direction: Direction, mbufs: list[Mbuf], vlan: tuple[int, ...]) -> None:
        """LRO's runs to reassembly and socket buffer, at a host point."""
        self._take_in(direction, mbufs, vlan)
        direction.reassembly.settle()
        direction.paused = False

    def _take_in(self, direction: Direction, mbufs: list[Mbuf], vlan: tuple[int, ...]) -> None:
        for mbuf in mbufs:
            if mbuf.flags & col.END:
                direction.end_seen = True
            elif self._input_side is None:
                direction.input(mbuf)
            else:
                for passed in self._input_side.receive(mbuf, vlan):
                    direction.input(passed)

    def _host(self, flow: Flow, sides: tuple[int, ...]) -> None:
        """TLS library and workers, then the policy of those directions whose host point it is."""
        if flow.ended:
            return
        prompt = self._completion.prompt(flow)
        for side in sides:
            self._way_back.hear(flow, side)
        flow.advance()
        self._collect(flow, prompt)
        for side in sides:
            self._way_back.offload(flow, side)
        if flow.coupled != flow.library.handshaking:
            flow.coupled = flow.library.handshaking
            self._nic.set_budget(flow.connection.id, 1 if flow.coupled else self.options.profile.budget)
            for side in (0, 1):
                self._plain(flow, side)
        if self.options.by_completion:
            for side in sides:
                flow.directions[side].prompt = flow.reads_ahead(side)

    def _plain(self, flow: Flow, side: int) -> None:
        """Take a direction from the compiled host, with the host points that it has passed over."""
        flow_id = 2 * flow.connection.id + side
        if self._steady is None or flow_id not in self._steady:
            return
        if self._steady.waits(flow_id):
            self._serve(flow_id)
        if flow_id in self._steady:
            self._steady.leave(flow_id)

    def _collect(self, flow: Flow, prompt: list[bool]) -> None:
        """The records that came out. `prompt`: the sides of which they would have come out ahead of this host point."""
        delivered = self._steady.delivered if self._steady else 0
        self._records += [((self._log.position, delivered), record) for record in flow.records]
        if self.options.by_completion:
            self._completion.note(flow, prompt, self._log.position)
        flow.records.clear()
        self.keys_wait_met |= flow.keys_wait_met

    def _flow(self, number: int) -> Flow:
        """The Flow of a connection that has none yet."""
        begun = number in self.flows
        flow = self.flows.begin(number)
        left = None if begun else self._lefts.take(flow.connection)
        if left is not None:
            flow.goes_on(left)
        if self._sockets:
            self._attach(flow)
        return flow

    def _made(self, connection: Connection, ledger: Ledger) -> Flow:
        numbers, digest = self.options.profile, self.options.digest
        more = numbers.search, self.options.assume_received, self.front.account
        directions = (
            Direction(ledger, numbers.hold, digest, *more),
            Direction(ledger, numbers.hold, digest, *more),
        )
        return Flow(connection, self._library(connection), directions, ledger, numbers.keys_wait, numbers.handshake)

    def _observer(self, _connection: Connection) -> Library:
        return Observer(self.keys, self.options.wait_for_keys, (False, False), self.options.profile.handshake)

    def _end_unless_waiting(self, flow: Flow) -> None:
        if flow.over and not flow.waiting:
            self._end(flow)

    def _end(self, flow: Flow) -> None:
        if flow.ended:
            return
        for side in (0, 1):
            self._plain(flow, side)
        prompt = self._completion.prompt(flow)
        flow.conclude()
        self._collect(flow, prompt)
        for side, direction in enumerate(flow.directions):
            if direction.new_keys:
                self._way_back.offload(flow, side)
        self._lefts.keep(flow)
        flow.end()
        for side in (0, 1):
            self._way_back.uninstall(flow, side)


def one_by_one(frames: Any) -> Iterator[Any]:
    """Frames, each by itself."""
    if isinstance(frames, Iterable):
        return ((frame,) for frame in frames)
    from rxtls.wire.compiled.columns import part

    return (part(frames, n, n + 1) for n in range(len(frames.table)))
