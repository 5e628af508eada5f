"""A host point: what the host of a connection does when it is served, and what becomes of connections that end.

At each host point of a receive flow (device/nic.py), in this order:

    LRO flush -> input and reassembly -> socket buffer -> TLS library or worker -> policy -> records

A direction that the compiled host serves has its own way through the first four (compiled_host.py). A connection that
has carried nothing has no Flow, and keeps rows (host/silent.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rxtls.driver.driver import WayBack
from rxtls.driver.trace import Log
from rxtls.events import Record
from rxtls.host.direction import Direction
from rxtls.host.flow import Flow
from rxtls.host.hold import HoldRun
from rxtls.host.holes import stall
from rxtls.host.input import Input
from rxtls.host.rejoin import Lefts
from rxtls.host.silent import Flows
from rxtls.host.socket.socket import Socket
from rxtls.intake import batch as col
from rxtls.offload.mbuf import Mbuf
from rxtls.path.completion import Completion
from rxtls.path.engines import Front
from rxtls.path.records import Place

if TYPE_CHECKING:
    from rxtls.path.compiled_host import Steady


@dataclass(slots=True)
class HostPoints:
    """The hosts of a run, served one host point at a time.

    `some_silent`: connections that carry nothing need no Flow. `sockets` are those that somebody reads, by connection
    and receiver. `records` has what came out, each with its place in the order of host points, until it is taken.
    """

    budget: int  # host points of a direction whose handshake is over
    front: Front
    way_back: WayBack
    compiled: Steady | None
    flows: Flows
    input_side: Input | None
    hold: HoldRun
    lefts: Lefts
    log: Log
    completion: Completion
    by_completion: bool
    some_silent: bool
    sockets: dict[tuple[int, str], Socket] = field(default_factory=dict)
    records: list[tuple[Place, Record]] = field(default_factory=list)
    keys_wait_met: bool = False

    def serve(self, flow_id: int) -> None:
        """One host point of one direction; of a quiet one, all that were passed over."""
        flow, side = self.flows.made.get(flow_id >> 1), flow_id & 1
        if flow is None:
            self._serve_silent(flow_id >> 1, side, self.front.nic.flush(flow_id))
        elif self.compiled is None:
            self.host_point(flow, side, self.front.nic.flush(flow_id))
        elif self.compiled.done(flow_id):
            return
        elif flow_id in self.compiled:
            last = self.log.position
            for point, mbufs in self.compiled.serve(flow, side, last):
                self.log.position = point
                self.host_point(flow, side, mbufs)
            self.log.position = last
        else:
            coupled = flow.coupled
            self.host_point(flow, side, self.front.nic.flush(flow_id))
            if not coupled and not flow.coupled and self._may_be_steady(flow.directions[side]):
                self.compiled.consider(flow, side)

    def _serve_silent(self, number: int, side: int, mbufs: list[Mbuf]) -> None:
        """One host point of a connection that has no Flow: there is nothing to do for it yet, or nothing any more. The
        NIC need not know it either: nothing of it waits there, as every row is a host point."""
        mbufs = [mbuf for mbuf in mbufs if not mbuf.flags & col.TICK]
        if self.flows.remains(number):
            self.flows.late(mbufs)
        elif mbufs and (not self._may_be_silent(number) or not self.flows.keep(number, side, mbufs)):
            self.host_point(self.flow(number), side, mbufs)
            return
        self.front.nic.forget(number)

    def _may_be_silent(self, number: int) -> bool:
        """Who reads from it, and what it may go on from, have to be told of it at its first row."""
        if not self.some_silent or any((number, receiver) in self.sockets for receiver in ("server", "client")):
            return False
        return self.flows.kept(number) or not self.lefts.has(self.front.connections[number])

    def host_point(self, flow: Flow, side: int, mbufs: list[Mbuf]) -> None:
        """Input, then the host; and how connections end."""
        self._input(flow.directions[side], mbufs, flow.connection.vlan)
        # While a handshake goes on, both directions are served together, in frame order.
        self.host(flow, (0, 1) if flow.coupled else (side,))
        if flow.over:
            self.front.nic.forget(flow.connection.id)
            self.end_unless_waiting(flow)
            self._let_go(flow)
        elif flow.directions[side].reassembly.reset and not flow.ended:
            flow.connection.end = "rst"
            self.plain(flow, 1 - side)
            self._input(
                flow.directions[1 - side],
                self.front.nic.flush(2 * flow.connection.id + 1 - side),
                flow.connection.vlan,
            )
            self.host(flow, (1 - side,))
            self.end(flow)
            self._let_go(flow)

    def _input(self, direction: Direction, mbufs: list[Mbuf], vlan: tuple[int, ...]) -> None:
        """LRO's runs to reassembly and socket buffer, at a host point."""
        self.take_in(direction, mbufs, vlan)
        direction.reassembly.settle()
        direction.paused = False

    def take_in(self, direction: Direction, mbufs: list[Mbuf], vlan: tuple[int, ...]) -> None:
        for mbuf in mbufs:
            if mbuf.flags & col.END:
                direction.end_seen = True
            elif mbuf.flags & col.TICK:
                direction.reassembly.tick(mbuf)
            elif self.input_side is None:
                direction.input(mbuf)
            else:
                for passed in self.input_side.receive(mbuf, vlan):
                    direction.input(passed)

    def host(self, flow: Flow, sides: tuple[int, ...]) -> None:
        """TLS library and workers, then the policy of those directions whose host point it is."""
        if flow.ended:
            return
        prompt = self.completion.prompt(flow)
        for side in sides:
            self.way_back.hear(flow, side)
        flow.advance()
        self.collect(flow, prompt)
        for side in sides:
            self.way_back.offload(flow, side)
        if flow.coupled != flow.library.handshaking:
            flow.coupled = flow.library.handshaking
            self.front.nic.set_budget(flow.connection.id, 1 if flow.coupled else self.budget)
            for side in (0, 1):
                self.plain(flow, side)
        if self.by_completion:
            for side in sides:
                flow.directions[side].prompt = flow.reads_ahead(side)

    def plain(self, flow: Flow, side: int) -> None:
        """Take a direction from the compiled host, with the host points that it has passed over."""
        flow_id = 2 * flow.connection.id + side
        if self.compiled is None or flow_id not in self.compiled:
            return
        if self.compiled.waits(flow_id):
            self.serve(flow_id)
        if flow_id in self.compiled:
            self.compiled.leave(flow_id)

    def collect(self, flow: Flow, prompt: list[bool]) -> None:
        """The records that came out. `prompt`: the sides of which they would have come out ahead of this host point."""
        delivered = self.compiled.delivered if self.compiled else 0
        self.records += [((self.log.position, delivered), record) for record in flow.records]
        if self.by_completion:
            self.completion.note(flow, prompt, self.log.position)
        flow.records.clear()
        self.keys_wait_met |= flow.keys_wait_met

    def ahead(self) -> None:
        """Directions that are between two host points: bring out the records that are whole (Flow.ahead), for those of
        other directions that were complete later are about to be given to the caller."""
        for flow_id, told in self.front.nic.ahead():
            flow, side = self.flows.made.get(flow_id >> 1), flow_id & 1
            mbufs = None
            if told is not None and self.compiled is not None:
                mbufs = self.compiled.ahead(self.flows[flow_id >> 1], side, told)
            elif flow is not None and flow.reads_ahead(side):
                mbufs = self.front.nic.flush_ahead(flow_id)
            if flow is not None and mbufs is not None:
                self.take_in(flow.directions[side], mbufs, flow.connection.vlan)
                if flow.reads_ahead(side):
                    flow.ahead(side)
                self.collect(flow, [True, True])

    def make_way(self) -> None:
        """All directions together hold too much: those that hold most let go of it, until there is room again."""
        holding = [(self._held(flow, side), flow, side) for flow in self.flows.all_made() for side in (0, 1)]
        for memory, flow, side in sorted(holding, key=lambda each: (-each[0], each[1].connection.id, each[2])):
            if not memory or self.hold.relieved(self.front.account[0]):
                break
            self.plain(flow, side)
            self.take_in(
                flow.directions[side], self.front.nic.flush_ahead(2 * flow.connection.id + side), flow.connection.vlan
            )
            flow.directions[side].reassembly.give_way()
            self.host(flow, (0, 1) if flow.coupled else (side,))
            if flow.directions[side].reassembly.held:
                stall(flow.directions[side])  # nobody can go on behind the hole now
            self.hold.met += 1

    def _held(self, flow: Flow, side: int) -> int:
        """Memory of what a direction held out of order at its last host point."""
        steady = self.compiled.memory(2 * flow.connection.id + side) if self.compiled else 0
        return steady or flow.directions[side].reassembly.told

    def flow(self, number: int) -> Flow:
        """The Flow of a connection that has none yet."""
        begun = number in self.flows
        flow = self.flows.begin(number)
        left = None if begun else self.lefts.take(flow.connection)
        if left is not None:
            flow.goes_on(left)
        if self.sockets:
            self.attach(flow)
        return flow

    def attach(self, flow: Flow) -> None:
        """Tie the sockets that are there to a connection that is there."""
        for side in (0, 1):
            socket = self.sockets.get((flow.connection.id, flow.receiver(side)))
            if socket and not flow.directions[side].socket:
                self.plain(flow, side)
                socket.attach(flow, side)

    def end_unless_waiting(self, flow: Flow) -> None:
        if flow.over and not flow.waiting:
            self.end(flow)

    def end(self, flow: Flow) -> None:
        if flow.ended:
            return
        for side in (0, 1):
            self.plain(flow, side)
        prompt = self.completion.prompt(flow)
        flow.conclude()
        self.collect(flow, prompt)
        for side, direction in enumerate(flow.directions):
            if direction.new_keys:
                self.way_back.offload(flow, side)
        self.lefts.keep(flow)
        flow.end()
        for side in (0, 1):
            self.way_back.uninstall(flow, side)

    def _let_go(self, flow: Flow) -> None:
        if self.some_silent:
            self.flows.let_go(flow)

    def _may_be_steady(self, direction: Direction) -> bool:
        """Sockets, and packets that are received on interfaces of a tree, are the plain host's."""
        return direction.socket is None and self.input_side is None
