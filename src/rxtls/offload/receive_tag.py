"""The receive tag: the life of one flow's offload on one leaf, from allocation to release, as a literal table.

Upstream calls it a send tag of type TLS_RX. It belongs to one key on one leaf: at KeyUpdate, renegotiation or path
change it is released and another one is made, with the next epoch. It carries the policy's state, so that a new tag
starts with an empty table, and it keeps what numbers the device was given, so that the host can undo what the device
did even where a policy was wrong.
"""

from __future__ import annotations

from enum import IntEnum, auto

from rxtls.offload.commands import Command, Confirm, Guess, Progress, Query, Report, SetPosition
from rxtls.offload.policies import Policy
from rxtls.seq import distance


class Life(IntEnum):
    """States of a receive tag (mlx5_tls_rx_tag)."""

    INIT = 0
    SETUP = 1  # context and key made, flow rule not in yet
    READY = 2
    RELEASE = 3
    FREED = 4


class LifeEvent(IntEnum):
    """What happens to a receive tag."""

    ALLOC = auto()
    INSTALLED = auto()
    FREE = auto()
    RELEASED = auto()


LIFE: dict[Life, dict[LifeEvent, Life]] = {
    Life.INIT: {LifeEvent.ALLOC: Life.SETUP},
    Life.SETUP: {LifeEvent.INSTALLED: Life.READY, LifeEvent.FREE: Life.RELEASE},
    Life.READY: {LifeEvent.FREE: Life.RELEASE},
    Life.RELEASE: {LifeEvent.RELEASED: Life.FREED},
    Life.FREED: {},
}

READY = Life.READY

REPORTS_KEPT = 4096  # to check a confirm against: what lies further back was confirmed long ago or never will be


class ReceiveTag:
    """One receive tag. Its methods take what happened and give back the commands to post."""

    __slots__ = ("_policy", "_reports", "epoch", "leaf", "life", "polls", "slips")

    def __init__(self, epoch: int, leaf: int, policy: Policy) -> None:
        self.epoch = epoch
        self.leaf = leaf
        self.life = Life.INIT
        self.polls = 0
        self.slips: set[int] = set()  # given record number - true one, of confirms that were wrong
        self._policy = policy
        self._reports: dict[int, Report] = {}

    def fire(self, event: LifeEvent) -> None:
        """Take the transition that the table has for this event."""
        self.life = LIFE[self.life][event]

    def report(self, report: Report) -> list[Command]:
        """A record that was not fully decrypted (or, with length 0, that sync is back)."""
        if self.life is not READY:
            return []  # upstream: refused with EINVAL, and ignored
        if report.length:
            self._reports[report.tcp_sn] = report
            if len(self._reports) > REPORTS_KEPT:
                del self._reports[next(iter(self._reports))]
        return self._posted(self._policy.report(self.epoch, report))

    def answer(self, answer: Progress | Guess) -> list[Command]:
        """What the device told. Answers may come after a tag was released: they are for another epoch then."""
        if self.life is not READY or answer.epoch != self.epoch:
            return []
        return self._posted(self._policy.answer(answer))

    def _posted(self, commands: list[Command]) -> list[Command]:
        for command in commands:
            if isinstance(command, Query):
                self.polls += 1
            elif isinstance(command, Confirm | SetPosition):
                report = self._reports.get(command.tcp_sn)
                if report is not None and command.number != report.number:
                    self.slips.add(distance(report.number & 0xFFFF_FFFF, command.number & 0xFFFF_FFFF))
        return commands
