"""The way back: what the device says, what the policy answers, and the receive tag's life.

    device log ──► hear        answers, reports ──► policy ──► commands ──► NIC
    new keys, new leaf, no more use ──► release and install

Nobody calls backwards: reports and leaf changes lie on the direction until its host point, and are taken from there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from rxtls.device.profiles import Profile
from rxtls.errors import UsageError
from rxtls.host.direction import Direction
from rxtls.host.flow import Flow
from rxtls.offload.commands import Command, DeviceEvent, Guess, Happening, Install, Progress, Standing
from rxtls.offload.policies import POLICIES, Policy
from rxtls.offload.receive_tag import LifeEvent, ReceiveTag
from rxtls.trace import HostAction, Log

Told = TypeVar("Told")


class Commanded(Protocol):
    """What of a NIC the driver talks to, by receive flow: device/nic.py and its compiled twin have it."""

    def answers(self, flow: int) -> list[Progress | Guess]: ...
    def log(self, flow: int) -> list[DeviceEvent]: ...
    def post(self, flow: int, command: Install | Command) -> None: ...
    def release(self, flow: int) -> None: ...


class WayBack:
    """The driver of one NIC. Raises UsageError for a policy that does not exist, or that needs commands which the
    profile's NIC has not."""

    def __init__(self, nic: Commanded, profile: Profile, policy: str, log: Log | None = None) -> None:
        self.log = log or Log(False)  # for those who look on
        self._nic = nic
        self._profile = profile
        self._policy = _policy(policy, profile)
        self.receive_tags = 0
        self.most_receive_tags = 0  # at once, so far
        self.refused = 0

    def hear(self, flow: Flow, side: int) -> None:
        """What happened to a direction on the device since its last host point."""
        direction = flow.directions[side]
        tally = direction.tally
        flow_id = 2 * flow.connection.id + side
        for event in self._nic.log(flow_id):
            self.log.happened(flow_id, *event, direction.epoch)
            match event.happening:
                case Happening.INSTALLED:
                    direction.found(event.time_ns, event.tcp_sn)
                    if direction.receive_tag:
                        direction.receive_tag.fire(LifeEvent.INSTALLED)
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
                    direction.why_software = "auth_failures"

    def offload(self, flow: Flow, side: int, standing: Callable[[], Standing] | None = None) -> None:
        """The policy hears what there is to hear; then, where keys or leaf changed, the receive tag is made anew.

        `standing` tells which record headers the host knows; by default the direction does.
        """
        direction = flow.directions[side]
        reports, direction.reports = direction.reports, []
        session = direction.session
        if session is None:
            return
        tag = direction.receive_tag
        if tag is not None:
            flow_id = 2 * flow.connection.id + side
            answers = self._nic.answers(flow_id)
            for answer in answers:
                self.log.answered(flow_id, answer)
            commands: list[Command] = []
            if tag.answers_first:
                commands += _each(tag.answer, answers)
            commands += _each(tag.report, reports)
            if not tag.answers_first:
                commands += _each(tag.answer, answers)
            if tag.listening and not (direction.fate() or direction.held or direction.new_keys):
                commands += tag.stand((standing or direction.standing)())
            for command in commands:
                self.log.commanded(flow_id, command)
                self._nic.post(flow_id, command)
            session.epochs[tag.epoch].slips |= tag.slips
        if direction.new_keys:
            # Records under the new keys that the device tried with the old one failed, which is no fault of its.
            direction.why_software = None
            self.uninstall(flow, side)
            direction.new_keys = not self._install(flow, side)
        elif tag is not None and (direction.why_software or direction.fate()):
            direction.mode = "sw" if direction.why_software or direction.fatal else direction.mode
            self.uninstall(flow, side)
        elif moved(direction):
            self.uninstall(flow, side)
            self._install(flow, side)
            direction.tally.receive_tag_resets += 1
            self.log.did(2 * flow.connection.id + side, HostAction.RESET, direction.epoch)
        direction.leaf = None
        if len(session.epochs) > 1:
            session.prune_epochs(direction.sockbuf.marks() | direction.reassembly.marks() | {direction.epoch})

    def _install(self, flow: Flow, side: int) -> bool:
        """Allocate a receive tag on the leaf that packets come from, if this NIC takes these keys. False: ask again
        once the connection is there."""
        direction = flow.directions[side]
        session = direction.session
        if session is None or (direction.mode and direction.fate()):
            return True
        start = direction.start()
        if start is None:
            return False
        tcp_sn, number, leaf = start
        direction.mode = "sw"
        if not self._profile.takes(session.keys):
            direction.why_software = "profile"
        elif self.receive_tags >= self._profile.max_receive_tags:
            direction.why_software = "no_receive_tag"
            self.refused += 1
        if direction.why_software:
            return True
        direction.mode = "ifnet"
        self.receive_tags += 1
        self.most_receive_tags = max(self.most_receive_tags, self.receive_tags)
        direction.epoch += 1
        session.begin_epoch(direction.epoch)
        direction.receive_tag = ReceiveTag(direction.epoch, leaf, self._policy())
        direction.receive_tag.fire(LifeEvent.ALLOC)
        install = Install(direction.epoch, leaf, session.keys, number, tcp_sn)
        self.log.commanded(2 * flow.connection.id + side, install)
        self._nic.post(2 * flow.connection.id + side, install)
        return True

    def uninstall(self, flow: Flow, side: int) -> None:
        """Release a direction's receive tag, if it has one."""
        direction = flow.directions[side]
        tag, direction.receive_tag = direction.receive_tag, None
        if tag is None:
            return
        tag.fire(LifeEvent.FREE)
        direction.tally.polls += tag.polls
        direction.tally.confirms += tag.confirms
        direction.tally.positions += tag.positions
        self.log.did(2 * flow.connection.id + side, HostAction.RELEASE, tag.epoch)
        self._nic.release(2 * flow.connection.id + side)
        tag.fire(LifeEvent.RELEASED)
        self.receive_tags -= 1


def _each(hear: Callable[[Told], list[Command]], told: list[Told]) -> list[Command]:
    return [command for each in told for command in hear(each)]


def moved(direction: Direction) -> bool:
    """Packets come by another leaf than the receive tag's."""
    tag = direction.receive_tag
    return tag is not None and direction.leaf not in (None, tag.leaf)


def _policy(name: str, nic: Profile) -> Callable[[], Policy]:
    if name not in POLICIES:
        raise UsageError(f"no policy {name!r}; there are {', '.join(POLICIES)}")
    missing = POLICIES[name]().needs - nic.commands
    if missing and nic.ciphers:
        raise UsageError(f"policy {name} needs {', '.join(sorted(missing))} of the NIC, which {nic.name} has not")
    return POLICIES[name]
