"""The way back: what the device says, what the policy answers, and the receive tag's life.

    device log ──► hear        answers, reports ──► policy ──► commands ──► NIC
    new keys, new leaf, no more use ──► release and install

Nobody calls backwards: reports and leaf changes lie on the direction until its host point, and are taken from there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar

from rxtls.device.profiles import Profile
from rxtls.driver.resources import Allocation, is_ipv6, receiving
from rxtls.driver.trace import HostAction, Log
from rxtls.errors import UsageError
from rxtls.events import DONE, PathChange
from rxtls.host.direction import Direction
from rxtls.host.flow import Flow, count_regained
from rxtls.host.sysctl import Sysctl
from rxtls.offload.commands import (
    Command,
    Confirm,
    DeviceEvent,
    Guess,
    Happening,
    Install,
    Progress,
    Query,
    Report,
    Standing,
)
from rxtls.offload.interface import Interface, Interfaces
from rxtls.offload.policies import Policy, policy
from rxtls.offload.receive_tag import LifeEvent, ReceiveTag
from rxtls.offload.refusals import TRIED_AGAIN, WITHOUT_INTERFACE

Each = TypeVar("Each")
Told = tuple[list[Report], Callable[[], Standing] | None]  # reports, and where the host stands behind them


class Commanded(Protocol):
    """What of a NIC the driver talks to, by receive flow: device/nic.py and its compiled twin have it."""

    def answers(self, flow: int) -> list[Progress | Guess]: ...
    def clock(self, flow: int) -> int: ...
    def log(self, flow: int) -> list[DeviceEvent]: ...
    def post(self, flow: int, command: Install | Command) -> None: ...
    def release(self, flow: int) -> None: ...


class WayBack:
    """ktls_alloc_rcv_tag and its like, and the driver of each host's NIC, whose ports are those of the host's tree.

    Without a tree every capture interface is a port, and routes lead back to the port that packets come from. Both ends
    of a connection are hosts, each with a NIC of its own. `names` says an interface's name by its leaf. `stats` counts
    what upstream's sysctls do: ifnet.reset, ifnet.reset_failed, rx_resync_ok, rx_resync_err, rx_error; and refused.CODE
    for each of REFUSALS. Raises UsageError for a policy that does not exist, or that needs commands which the profile's
    NIC has not.
    """

    def __init__(
        self,
        nic: Commanded,
        profile: Profile,
        policy_name: str,
        interfaces: Interfaces | None = None,
        sysctl: Sysctl | None = None,
        log: Log | None = None,
        names: Callable[[int], str] = str,
    ) -> None:
        self.log = log or Log(False)  # for those who look on
        self.hosts: dict[bytes, Allocation] = {}  # by address, in network order
        self._nic = nic
        self._profile = profile
        self._policy = _policy(policy_name, profile)
        self._interfaces = interfaces
        self._sysctl = sysctl or Sysctl()
        self._names = names

    @property
    def stats(self) -> Counter[str]:
        """Of all hosts together."""
        return sum((host.stats for host in self.hosts.values()), Counter())

    @property
    def receive_tags(self) -> int:
        """How many there are."""
        return sum(host.receive_tags for host in self.hosts.values())

    @property
    def most_receive_tags(self) -> int:
        """How many there were at once on one host, so far."""
        return max((host.most_receive_tags for host in self.hosts.values()), default=0)

    @property
    def refused(self) -> int:
        """How often the bound on receive tags was met."""
        return self.stats["refused.no_receive_tag"]

    def host(self, flow: Flow, side: int) -> Allocation:
        """The host that receives what `side` sends."""
        address = receiving(flow, side)
        host = self.hosts.get(address)
        if host is None:
            host = self.hosts[address] = Allocation(self._profile, self._interfaces, self._sysctl)
        return host

    def hear(self, flow: Flow, side: int) -> None:
        """What happened to a direction on the device since its last host point."""
        direction = flow.directions[side]
        tally = direction.tally
        tag = direction.receive_tag
        flow_id = 2 * flow.connection.id + side
        for event in self._nic.log(flow_id):
            self.log.happened(flow_id, *event, direction.epoch)
            if tag and event.happening in _COMPLETIONS:
                self._complete(self.host(flow, side), tag)
            match event.happening:
                case Happening.INSTALLED:
                    direction.found(event.time_ns, event.tcp_sn)
                    if tag:
                        tag.fire(LifeEvent.INSTALLED)
                case Happening.LOST:
                    tally.lost += 1
                    direction.losses.append(event.tcp_sn)
                    direction.lost_since = direction.lost_since or (event.time_ns, event.tcp_sn)
                case Happening.RESUMED:
                    direction.found(event.time_ns, event.tcp_sn)
                case Happening.CONFIRMED:
                    tally.confirmed += 1
                case Happening.STALE_CONFIRM:
                    tally.stale += 1
                case Happening.FALSE_ANCHOR:
                    tally.false_anchors += 1
                case Happening.STOPPED:
                    direction.found(event.time_ns, event.tcp_sn)
                    # Here, not at the next host point: the connection may end before there is one.
                    direction.mode, direction.why_software = "sw", "auth_failures"
        unheard, direction.unheard = direction.unheard, []
        for tcp_seq in unheard:
            count_regained(direction, tcp_seq)

    def offload(self, flow: Flow, side: int, standing: Callable[[], Standing] | None = None) -> None:
        """The policy hears what there is to hear; then, where keys or leaf changed, the receive tag is made anew.

        `standing` tells which record headers the host knows; by default the direction does.
        """
        direction = flow.directions[side]
        reports, direction.reports = direction.reports, []
        session = direction.session
        if session is None:
            return
        if direction.mode == "toe":
            self.uninstall(flow, side)  # the NIC's own stack has the connection, from now on and whatever its keys
            direction.new_keys = False
            return
        tag = direction.receive_tag
        if tag is not None:
            flow_id, host = 2 * flow.connection.id + side, self.host(flow, side)
            answers = self._nic.answers(flow_id)
            for answer in answers:
                self.log.answered(flow_id, answer)
                if isinstance(answer, Progress) and answer.epoch == tag.epoch:
                    self._complete(host, tag)
            commands = _each(tag.answer, answers) if tag.answers_first else []
            unknown = direction.fate() or direction.held or direction.new_keys or direction.recovery is not None
            told: list[Told] = [(reports, None if unknown else standing or direction.standing)]
            if self._profile.backlog and not tag.in_softirq:
                told = self._backlog(tag, flow_id, direction.lost_since is not None, *told[0])
            for earlier, stand in told:
                commands += _each(tag.report, earlier)
                if stand and tag.listening:
                    commands += tag.stand(stand())
            if not tag.answers_first:
                commands += _each(tag.answer, answers)
            for command in commands:
                self._post(flow_id, host, tag, command)
            session.epochs[tag.epoch].slips |= tag.slips
        if moved(direction) and not direction.fate():
            if direction.recovery is not None:
                return  # nobody knows the next record's number, at which a receive tag would begin
            self._reset(flow, side)
            direction.new_keys = False
        elif direction.new_keys:
            self.uninstall(flow, side)
            direction.new_keys = not self._install(flow, side)
        elif tag is not None and (direction.why_software or direction.fate()):
            direction.mode = "sw" if direction.why_software or direction.fatal else direction.mode
            self.uninstall(flow, side)
        if direction.receive_tag is not None and direction.tried < 0 and direction.leaf is not None:
            direction.tried = direction.leaf
        direction.leaf = None
        if len(session.epochs) > 1:
            session.prune_epochs(direction.sockbuf.marks() | direction.reassembly.marks() | {direction.epoch})

    def attentive(self, direction: Direction) -> bool:
        """Whether every host point is to be told, even if nothing came of it."""
        tag = direction.receive_tag
        return tag is not None and (tag.listening or self._profile.backlog > 0)

    def detached(self, flow: Flow, side: int, gone: Interface) -> None:
        """An interface of its host is gone, and with it what its hardware knew. The next leaf that packets come by is
        another one."""
        direction = flow.directions[side]
        if direction.tried != gone.leaf:
            return
        direction.tried = direction.sockbuf.leaf = -1
        if direction.receive_tag is not None:
            direction.mode, direction.why_software = "sw", "device_gone"
            self.uninstall(flow, side)

    def uninstall(self, flow: Flow, side: int) -> None:
        """Release a direction's receive tag, if it has one: flow rule, key, context, then the tag itself."""
        direction = flow.directions[side]
        tag, direction.receive_tag = direction.receive_tag, None
        if tag is None:
            return
        tag.fire(LifeEvent.FREE)
        direction.tally.polls += tag.polls
        direction.tally.polls_refused += tag.polls_refused
        direction.tally.errors += tag.errors
        direction.tally.confirms += tag.confirms
        direction.tally.positions += tag.positions
        self.log.did(2 * flow.connection.id + side, HostAction.RELEASE, tag.epoch)
        self._nic.release(2 * flow.connection.id + side)
        host = self.host(flow, side)
        host.outstanding -= tag.outstanding  # the hardware drops what was posted for a receive tag that goes
        tag.outstanding = 0
        host.give(tag.ipv6)
        tag.fire(LifeEvent.RELEASED)

    def _reset(self, flow: Flow, side: int) -> None:
        """The path changed (ktls_reset_receive_tag): the old receive tag goes first, then one is made on the newest
        leaf itself, whatever stands over it. Should that fail, the host decrypts, and the next change tries again."""
        direction = flow.directions[side]
        assert direction.leaf is not None
        leaf, host = direction.leaf, self.host(flow, side)
        was = direction.asked or self._names(direction.tried)
        cause = "detached" if direction.tried < 0 else "route" if direction.elsewhere else "moved"
        direction.asked = host.port(leaf)
        self.uninstall(flow, side)
        self._install(flow, side)
        done = direction.receive_tag is not None
        direction.tally.receive_tag_resets += done
        direction.tally.receive_tag_resets_failed += not done
        host.stats["ifnet.reset" if done else "ifnet.reset_failed"] += 1
        now, result = direction.asked or self._names(leaf), direction.why_software or DONE
        what = HostAction.RESET if done else HostAction.RESET_FAILED
        change = PathChange(-1, -1, was, now, cause, result)
        self.log.changed(2 * flow.connection.id + side, what, direction.epoch, change)

    def _backlog(
        self, tag: ReceiveTag, flow_id: int, lost: bool, reports: list[Report], stand: Callable[[], Standing] | None
    ) -> list[Told]:
        """What the worker comes to only now, being `backlog` packets behind: taken down then, told now."""
        clock = self._nic.clock(flow_id)
        if reports or lost:
            snapshot = stand() if stand else None
            tag.backlog.append((clock + self._profile.backlog, reports, snapshot))
        told: list[Told] = []
        while tag.backlog and tag.backlog[0][0] <= clock:
            _, earlier, then = tag.backlog.popleft()
            told.append((earlier, partial(_same, then) if then else None))
        return told

    def _install(self, flow: Flow, side: int) -> bool:
        """Allocate a receive tag where this NIC takes these keys. False: ask again once the connection is there."""
        direction = flow.directions[side]
        session = direction.session
        if session is None or (direction.mode and direction.fate()):
            return True
        start = direction.start()
        if start is None:
            return False
        tcp_sn, number, leaf = start
        direction.mode = "sw"
        host, before = self.host(flow, side), direction.tried
        asked = host.ask(flow, side, session.keys, leaf, direction.asked)
        # Whatever the device did before, it did by other keys or on another port.
        direction.why_software = asked.refusal
        if asked.refusal not in WITHOUT_INTERFACE:
            direction.asked = asked.interface
            # What is gone comes back as another one, by which packets have not come yet.
            direction.tried = direction.sockbuf.leaf = -1 if asked.refusal == "device_gone" else asked.leaf
            direction.elsewhere = before < 0 and asked.leaf != leaf
        if asked.refusal:
            host.stats[f"refused.{asked.refusal}"] += 1
            if asked.refusal in RX_ERRORS:
                host.stats["rx_error"] += 1
                direction.tally.errors += 1
            return True
        direction.mode = "ifnet"
        ipv6 = is_ipv6(flow)
        host.take(ipv6)
        direction.epoch += 1
        session.begin_epoch(direction.epoch)
        tag = direction.receive_tag = ReceiveTag(direction.epoch, asked.leaf, self._policy(), ipv6)
        tag.fire(LifeEvent.ALLOC)
        install = Install(direction.epoch, asked.leaf, session.keys, number, tcp_sn)
        self._post(2 * flow.connection.id + side, host, tag, install)
        return True

    # Commands

    def _post(self, flow_id: int, host: Allocation, tag: ReceiveTag, command: Install | Command) -> None:
        """Post a command, if there is room for it."""
        asks, confirms = isinstance(command, Query), isinstance(command, Confirm)
        if (asks or confirms) and host.queue_full:
            assert not isinstance(command, Install)
            host.stats["rx_resync_err" if asks else "rx_error"] += 1
            tag.refused(command)
            return
        if asks:
            host.stats["rx_resync_ok"] += 1
        if asks or confirms or isinstance(command, Install):
            tag.outstanding += 1
            host.outstanding += 1
        self.log.commanded(flow_id, command)
        self._nic.post(flow_id, command)

    def _complete(self, host: Allocation, tag: ReceiveTag) -> None:
        if tag.outstanding:
            tag.outstanding -= 1
            host.outstanding -= 1


# Refusals that mlx5 counts in rx_error: of what it finds lacking before, it does not.
RX_ERRORS = frozenset({"command_queue", "no_flow_rule"})

# What tells that an Install or a Confirm is done; a Query is by its answer.
_COMPLETIONS = frozenset({Happening.INSTALLED, Happening.CONFIRMED, Happening.STALE_CONFIRM})


def _same(standing: Standing) -> Standing:
    return standing


def _each(hear: Callable[[Each], list[Command]], told: list[Each]) -> list[Command]:
    return [command for each in told for command in hear(each)]


def moved(direction: Direction) -> bool:
    """Packets come by another leaf than the receive tag's, or than where one was asked for in vain."""
    if direction.leaf in (None, direction.tried):
        return False
    if direction.receive_tag is not None:
        return direction.tried >= 0  # else it was made before any packet told a leaf: this is its leaf
    return direction.why_software in TRIED_AGAIN


def _policy(name: str, nic: Profile) -> Callable[[], Policy]:
    made = policy(name)
    missing = made().needs - nic.commands
    if missing and nic.ciphers:
        raise UsageError(f"policy {name} needs {', '.join(sorted(missing))} of the NIC, which {nic.name} has not")
    return made
