"""ReceivePath: the hallway, built, walked, and what comes back carried. Read this first.

    frames -> Steer -> Batch -> Nic -> Mbufs -> reassembly -> sockbuf -> library, worker -> records
                                 ^ ^                             |              |
                                 | +---- commands <--- policy <--|--- Report ---+
                                 +------ install, release <- LeafChanged, new keys

A connection's packets pass in capture order. At each host point of a receive flow (device/nic.py) the host is served
(host_points.py). What a stage has to say to another it returns as a value, and only these two files and
driver/driver.py carry it. Results depend on the packets, the profile and the policy: not on how many frames come in one
call, nor on other flows, nor on the engine. engines.py has intake and NIC in their two makings. Where they are
compiled, compiled_host.py takes over the host of directions that need no attention.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from rxtls.counters import Ledger
from rxtls.device.guest import Device
from rxtls.device.profiles import Profile, profile
from rxtls.driver.driver import WayBack
from rxtls.driver.resources import Allocation
from rxtls.driver.trace import BETWEEN, OUTSIDE, Event, Log, Trace, Watch, joined, nothing
from rxtls.errors import GuestError, UsageError
from rxtls.events import Record
from rxtls.handshake.library import Library
from rxtls.handshake.observer import Observer
from rxtls.host.direction import Direction
from rxtls.host.flow import Flow
from rxtls.host.hold import HoldRun
from rxtls.host.input import Input
from rxtls.host.rejoin import Lefts
from rxtls.host.silent import Flows
from rxtls.host.socket.socket import Socket
from rxtls.host.sysctl import Kernel, Sysctl
from rxtls.intake.batch import FRAME
from rxtls.intake.flows import Connection
from rxtls.intake.steer import SteerOptions
from rxtls.offload.interface import Interfaces
from rxtls.path.completion import Completion
from rxtls.path.engines import CompiledFront, Front, PlainFront, chosen
from rxtls.path.host_points import HostPoints
from rxtls.path.leaves import Leaves
from rxtls.path.records import Records
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
    nic: Device | None = None  # somebody else's (device/guest.py), of which `profile` is what the driver takes it for
    nic_name: str = "nic"  # of that, in errors
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
        self._library = library or self._observer
        numbers = self.options.profile
        bounds = replace(self.options.steer, idle_ns=numbers.idle * 1_000_000_000, max_flows=numbers.max_flows)
        self._log = Log(self.options.watch >= Watch.EVENTS)
        self._tree = self.options.interfaces.view() if self.options.interfaces else None  # as it is at the beginning
        self._input_side = Input(self._tree, self.ledger) if self._tree else None
        self._leaves = Leaves(self._tree, self.options.same)
        # Packets that are received on interfaces, and a library of somebody else's, have to do with all rows.
        some_silent = library is None and self._input_side is None
        driver = numbers, self.options.policy, self._tree, self.options.sysctl, self._log, self._name
        self.front: Front
        self._steady: Steady | None = None
        guest = None if self.options.nic is None else (self.options.nic, self.options.nic_name)
        if chosen(self.options.engine, guest is not None) == "compiled":
            front = CompiledFront(self.ledger, bounds, numbers, self.options.lro_limit, self._leaves)
            self.front = front
            self._way_back = WayBack(front.nic, *driver)
            self._steady = front.steady(self._way_back)
        else:
            self.front = PlainFront(self.ledger, bounds, numbers, self.options.lro_limit, self._leaves, guest)
            self._way_back = WayBack(self.front.nic, *driver)
        self._nic = self.front.nic
        self.flows = Flows(self.front.connections, self._made, self.ledger)
        if self.options.watch >= Watch.FRAMES:
            self.front.watch()
        self._completion = Completion(self.flows)
        self._hold = HoldRun(numbers.hold_run)
        self._hosts = HostPoints(
            numbers.budget, self.front, self._way_back, self._steady, self.flows, self._input_side, self._hold,
            Lefts(self.ledger), self._log, self._completion, self.options.by_completion, some_silent,
        )  # fmt: skip

    @property
    def keys_wait_met(self) -> bool:
        """Whether a flow waited for its keys until its bound was met."""
        return self._hosts.keys_wait_met

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

    def tick(self, time_ns: int, interfaces: Sequence[int] | None = None) -> list[Record]:
        """It is `time_ns`, whether frames come or not: the NIC's interrupt timer (Steer.tick says whom it serves). Of
        some capture interfaces, whose clock it is; None for all.
        """
        return list(self.take_tick(time_ns, interfaces))

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
        if key not in self._hosts.sockets:
            self._hosts.sockets[key] = Socket(self.kernel, partial(self._serve_socket, *key))
            if flow in self.flows:
                self._hosts.attach(self.flows.made.get(flow) or self._hosts.flow(flow))
        return self._hosts.sockets[key]

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

    def take_tick(self, time_ns: int, interfaces: Sequence[int] | None = None) -> Records:
        """As `tick`."""
        return self._walk(partial(self.front.tick, time_ns, interfaces))

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
                self._hosts.host(flow, (0, 1))
                self._hosts.end_unless_waiting(flow)
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
                try:
                    self._hosts.serve(flow_id)
                except GuestError as error:
                    self._placed(error, flow_id, position)
                    raise
            due = self.front.resume()
        self._log.position = OUTSIDE
        if judged and self._hold.over(self.front.account[0]):
            self._hosts.make_way()
        if self.options.by_completion and not last:
            self._hosts.ahead()
        if last:
            for flow in self.flows.all_made():
                self._hosts.end(flow)  # those that still waited for keys
            self._hosts.lefts.drop()
        return self._taken(self._walked())

    def _placed(self, error: GuestError, flow_id: int, position: int) -> None:
        """A policy of somebody else's failed while this host point was served."""
        if error.frame is None:
            error.flow, error.frame = flow_id, int(self.front.rows[position, FRAME])

    def _by_worker(self, due: list[HostPoint]) -> list[HostPoint]:
        """Host points as several worker threads may serve them: each connection has one, which serves it in order."""
        workers = self.options.workers
        return due if workers == 1 else sorted(due, key=lambda point: (point[0] >> 1) % workers)

    def _serve_socket(self, flow_id: int, receiver: str) -> None:
        """Somebody would sleep on a socket: let its host be served, between two calls with frames."""
        flow = self.flows.made.get(flow_id)
        if flow is None or flow.ended:
            return
        side = 0 if flow.receiver(0) == receiver else 1
        self._log.position = BETWEEN
        self._hosts.host_point(flow, side, self._nic.flush(2 * flow_id + side))

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
        taken, self._hosts.records = self._hosts.records, []
        seen = trace if self._log.on else None
        host = self._steady
        rows, events, arena = (host.rows, host.events, host.arena) if host else (None, [], None)
        held = self._completion.take(rows, events) if self.options.by_completion else None
        return Records(self.flows, events + taken, rows, arena, seen, held)

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


def one_by_one(frames: Any) -> Iterator[Any]:
    """Frames, each by itself."""
    if isinstance(frames, Iterable):
        return ((frame,) for frame in frames)
    from rxtls.wire.compiled.columns import part

    return (part(frames, n, n + 1) for n in range(len(frames.table)))
