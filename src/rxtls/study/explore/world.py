"""One state of the explored system, what can happen in it, and what has to hold.

    network ──► Nic._receive_row ──► rows ──► Lro ──► Direction.input ──► Session.step ──► WayBack.offload
       skip, repeat      ▲                        (a host point)                                │
                         └─────────── commands, each carried out when the explorer says ◄───────┘
       answers come when the explorer says, or never

Nothing here decides what device, policy or host do: it calls them, in an order of its own choosing.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any, NamedTuple

from rxtls.counters import Ledger
from rxtls.crypto.keys import Keys
from rxtls.device.lro import Lro
from rxtls.device.nic import Lane, Nic
from rxtls.device.profiles import Latency, Profile, profile
from rxtls.device.tracker import TRACKING, HeaderPattern, TrackerEvent
from rxtls.driver.driver import WayBack
from rxtls.host.direction import Direction
from rxtls.host.flow import count_regained
from rxtls.host.tally import Tally
from rxtls.host.worker import CryptoState, Session
from rxtls.intake.batch import ACK
from rxtls.intake.flows import Connection
from rxtls.offload.commands import Guess, Progress, Query
from rxtls.study.explore.freeze import Frozen, freeze, thaw
from rxtls.study.explore.scenario import HANDSHAKE, KEY_UPDATE, Scenario

LATE = Latency(1 << 40, 1 << 40)  # no command acts by itself
MOMENT = (0, 0)
FLOW = 0


class Violation(Exception):  # noqa: N818 - what it is called
    """Something that has to hold does not."""


class Budgets(NamedTuple):
    """What may still go wrong."""

    skips: int
    repeats: int
    losses: int  # of answers
    reanchors: int
    moves: int


class Network(NamedTuple):
    """What has been sent: segments below `next`, but for those in `late`. `lost`: an answer or guess was; `overtaken`:
    an answer came when the device had already begun to track elsewhere; `behind`: the device began to track in a
    segment that had come before."""

    next: int
    late: tuple[int, ...]
    leaf: int
    budgets: Budgets
    lost: bool
    overtaken: bool
    behind: bool


Action = tuple[str, int]


_CONNECTION = Connection(0, bytes(12), False, (), frozenset({0}), 0, 0, None)


class Rows:
    """Stands where a lane's LRO does, and keeps what came for the next host point; it goes through LRO then."""

    __slots__ = ("kept",)

    def __init__(self, kept: tuple[Any, ...] = ()) -> None:
        self.kept = list(kept)

    def add(self, *row: Any) -> None:
        """As Lro.add."""
        self.kept.append(row)


@cache
def _pattern(keys: Keys) -> HeaderPattern:
    return HeaderPattern(keys)


def nic_of(name: str = "ideal") -> Profile:
    """The NIC that is explored, by default one that has all commands: it does none before the explorer says. Its limits
    on receive tags and flow rules are not met: other states' are counted, too."""
    return replace(
        profile(name), install=LATE, poll=LATE, confirm=LATE, max_receive_tags=1 << 60, max_flow_rules=1 << 60
    )


class World:
    """The system under one scenario, policy and profile. Use: `begin` or `thaw` a state, `act`, `freeze`."""

    def __init__(self, scenario: Scenario, policy: str, profile_name: str = "ideal") -> None:
        self.scenario = scenario
        self.policy = policy
        self.nic = Nic(nic_of(profile_name))
        self.way_back = WayBack(self.nic, self.nic.profile, policy)
        self.ledger, self.tally = Ledger(), Tally(digest=False)
        self._flow: Any = SimpleNamespace(connection=_CONNECTION, directions=[None])
        self._ordinals = {scenario.seq(sent.start): n for n, sent in enumerate(scenario.records)}
        self._ordinals[scenario.seq(len(scenario.wire))] = len(scenario.records)
        firsts = {sent.generation: n for n, sent in reversed(list(enumerate(scenario.records)))}
        self._shifts = {scenario.keys[g]: scenario.records[n].number - n for g, n in firsts.items()}
        self.lane = Lane(0)
        self.network = Network(0, (), 0, Budgets(0, 0, 0, 0, 0), False, False, False)
        self.flight: list[Progress] = []
        self.direction = Direction(self.ledger, 1 << 20, digest=False)
        self.decrypted = False  # the last record was, in full

    def begin(self) -> Frozen:
        """The first state: receive has just been enabled, and nothing has come."""
        bounds = self.scenario.bounds
        budgets = Budgets(
            bounds.lost + bounds.reordered, bounds.duplicated, bounds.lost_answers, bounds.reanchored, bounds.moved
        )
        self.network = Network(0, (), 0, budgets, False, False, False)
        self._lane()
        direction = self.direction = Direction(self.ledger, 1 << 20, digest=False)
        direction.tally = self.tally
        direction.sockbuf.enable()
        direction.sockbuf.leaf = direction.syn_leaf = 0
        direction.sockbuf.end_seq = direction.reassembly._next_seq = self.scenario.base
        direction.session = Session(self.scenario.keys[0], self.scenario.records[0].number)
        direction.new_keys = True
        self._flow.directions[0] = direction
        self._host_point()
        return self.freeze()

    def _lane(self) -> None:
        lane = self.lane = Lane(0)
        lane.budget = 1 << 60
        lane.lro = Rows()  # type: ignore[assignment]
        self.nic._lanes = {FLOW: lane}
        self.flight = []

    def freeze(self) -> Frozen:
        """The state as a value: (network, everything else)."""
        lane = self.lane
        return self.network, (
            freeze(lane.context),
            tuple(lane.pending),
            tuple(lane.answers),
            tuple(lane.log),
            tuple(lane.lro.kept),  # type: ignore[attr-defined]
            tuple(self.flight),
            freeze(self.direction),
        )

    def thaw(self, frozen: Frozen) -> None:
        """Be in that state."""
        self.network, (context, pending, answers, log, rows, flight, direction) = frozen
        self._lane()
        lane = self.lane
        lane.context = thaw(context)
        lane.pending[:] = pending
        lane.answers[:] = answers
        lane.log[:] = log
        lane.lro.kept[:] = rows  # type: ignore[attr-defined]
        self.flight[:] = flight
        self.direction = self._flow.directions[0] = thaw(direction)

    # What can happen.

    def actions(self) -> list[Action]:
        """Everything that can happen now."""
        network, lane, scenario = self.network, self.lane, self.scenario
        budgets = network.budgets
        found: list[Action] = []
        if network.next < len(scenario.segments):
            found.append(("next", network.next))
            if budgets.skips and network.next + 1 < len(scenario.segments):
                found.append(("skip", network.next))
        found += [("late", n) for n in network.late]
        if budgets.repeats:
            here = [n for n in range(network.next) if n not in network.late]
            found += [("again", n) for n in here]
            found += [("joined", n) for n in here if n + 1 in here]
        if self._waits():
            found.append(("host", 0))
        found += [("command", n) for n in range(len(lane.pending))]
        found += [("answer", n) for n in range(len(self.flight))]
        if budgets.losses:
            found += [("answer lost", n) for n in range(len(self.flight))]
            found += [("guess lost", n) for n, each in enumerate(lane.answers) if isinstance(each, Guess)]
        if budgets.reanchors and lane.context is not None and lane.context.state == TRACKING:
            found.append(("re-anchor", 0))
        if budgets.moves and network.next < len(scenario.segments):
            found.append(("move", 0))
        return found

    def act(self, action: Action) -> None:
        """Let it happen. Raises Violation when something does not hold afterwards."""
        kind, n = action
        network, lane = self.network, self.lane
        budgets = network.budgets
        match kind:
            case "next":
                self.network = network._replace(next=n + 1)
                self._segment(*self.scenario.segments[n])
            case "skip":
                late = (*network.late, n)
                self.network = network._replace(
                    next=n + 1, late=late, budgets=budgets._replace(skips=budgets.skips - 1)
                )
            case "late":
                self.network = network._replace(late=tuple(each for each in network.late if each != n))
                self._segment(*self.scenario.segments[n])
            case "again" | "joined":
                self.network = network._replace(budgets=budgets._replace(repeats=budgets.repeats - 1))
                start, end = self.scenario.segments[n]
                self._segment(start, end if kind == "again" else self.scenario.segments[n + 1][1], repeated=True)
            case "host":
                self._host_point()
            case "command":
                self._carry_out(n)
            case "answer":
                answer = self.flight.pop(n)
                if lane.context is None or answer.hw_resync_tcp_sn != lane.context.anchor:
                    self.network = network._replace(overtaken=True)
                lane.answers.append(answer)
            case "answer lost" | "guess lost":
                del (self.flight if kind == "answer lost" else lane.answers)[n]
                self.network = network._replace(lost=True, budgets=budgets._replace(losses=budgets.losses - 1))
            case "re-anchor":
                self.network = network._replace(budgets=budgets._replace(reanchors=budgets.reanchors - 1))
                assert lane.context is not None
                lane.context.fire(TrackerEvent.MISMATCH)
                lane.context.forget_record()
            case "move":
                self.network = network._replace(leaf=1, budgets=budgets._replace(moves=budgets.moves - 1))
        self._check_binding()

    @property
    def settled(self) -> bool:
        """All explored segments have arrived, and nothing is on its way."""
        network = self.network
        return (
            network.next == len(self.scenario.segments)
            and not network.late
            and not self._waits()
            and not self.lane.pending
            and not self.flight
        )

    def _waits(self) -> bool:
        lane = self.lane
        return bool(lane.lro.kept or lane.answers or lane.log)  # type: ignore[attr-defined]

    def _segment(self, start: int, end: int, repeated: bool = False) -> None:
        scenario = self.scenario
        data = scenario.wire[start:end]
        row = [0, 0, self.network.leaf, FLOW, 0, scenario.seq(start), ACK, 0, end - start, -1, -1]
        rows: Any = self.lane.lro
        had = len(rows.kept)
        answers = len(self.lane.answers)
        self.nic._receive_row(self.lane, row, data)
        if repeated and any(isinstance(each, Guess) for each in self.lane.answers[answers:]):
            self.network = self.network._replace(behind=True)
        (added,) = rows.kept[had:]
        mark = added[2]
        if mark == 0:
            if added[1] != data:
                raise Violation("a packet that is not marked is not as on the wire")
            return
        context = self.lane.context
        touched = [sent for sent in scenario.records if sent.start < end and start < sent.end]
        own_keys = context is not None and all(scenario.keys[sent.generation] == context.keys for sent in touched)
        if own_keys and added[1] != scenario.marked[start:end]:
            raise Violation("a packet is marked, and its bytes are not what they should be")

    def _carry_out(self, n: int) -> None:
        lane = self.lane
        command = lane.pending.pop(n)[2]
        answers = len(lane.answers)
        self.nic._carry_out(lane, command, MOMENT)
        if lane.context is not None:
            lane.context.pattern = _pattern(lane.context.keys)
        if isinstance(command, Query):
            self.flight += [each for each in lane.answers[answers:] if isinstance(each, Progress)]
            del lane.answers[answers:]

    def _host_point(self) -> None:
        """As path/receive.py: LRO flush, input, the driver hears the device, worker, policy."""
        direction = self.direction
        lro = Lro()
        for row in self.lane.lro.kept:  # type: ignore[attr-defined]
            lro.add(*row)
        self.lane.lro.kept.clear()  # type: ignore[attr-defined]
        for mbuf in lro.flush():
            direction.input(mbuf)
        direction.reassembly.settle()
        self.way_back.hear(self._flow, 0)
        session = direction.session
        assert session is not None
        while (outcome := session.step(direction.sockbuf)) is not None:
            sent = self.scenario.records[session.ordinal - 1]
            if outcome.opened is None:
                raise Violation(f"record {session.ordinal - 1} did not open ({outcome.composition})")
            if (outcome.opened.type, outcome.opened.payload) != (sent.type, sent.payload):
                raise Violation(f"record {session.ordinal - 1} is not what was sent ({outcome.composition})")
            if outcome.report:
                direction.reports.append(outcome.report)
            self.decrypted = outcome.state is CryptoState.DECRYPTED
            if self.decrypted:
                count_regained(direction, outcome.tcp_seq)
            if sent.type == HANDSHAKE and sent.payload == KEY_UPDATE:
                session.rekey(self.scenario.keys[sent.generation + 1], 0)
                direction.new_keys = True
        if session.fatal:
            raise Violation(f"the stream ended: {session.fatal}")
        self.way_back.offload(self._flow, 0)

    # What has to hold.

    def _check_binding(self) -> None:
        """A device that knows record numbers knows the right one, of a place where a record begins."""
        context = self.lane.context
        if context is None or not context.bound:
            return
        begun = context.in_order and (context.opener is not None or context.header)
        place = context.record_start if begun else context.next_header
        ordinal = self._ordinals.get(place)
        if ordinal is None:
            raise Violation("the device is bound to a place where no record begins")
        if context.number != self._shifts[context.keys] + ordinal:
            raise Violation("the device is bound to a wrong record number")

    def check_end(self, promised: bool) -> None:
        """In a settled state: all that was sent came out; and if that is `promised`, sync is regained."""
        session = self.direction.session
        assert session is not None
        last = self.scenario.segments[-1][1]
        if self.scenario.records[session.ordinal].start != last:
            raise Violation("everything has come, and not every record was opened")
        if not promised:
            return
        self.decrypted = False
        for start, end in self.scenario.suffix:
            self._segment(start, end)
            self._host_point()
            while self.lane.pending or self.flight or self._waits():
                while self.lane.pending:
                    self._carry_out(0)
                self.lane.answers += self.flight
                self.flight.clear()
                self._check_binding()
                self._host_point()
            if self.decrypted:
                return
        raise Violation("sync was never regained")
