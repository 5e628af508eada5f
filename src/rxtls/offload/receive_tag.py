"""The receive tag: the life of one flow's offload on one leaf, from allocation to release, as a literal table.

Upstream calls it a send tag of type TLS_RX. It belongs to one key on one leaf: at KeyUpdate, renegotiation or path
change it is released and another one is made, with the next epoch. It carries the policy's state, so that a new tag
starts with an empty table, and it keeps what numbers the device was given, so that the host can undo what the device
did even where a policy was wrong.
"""

from __future__ import annotations

from enum import IntEnum, auto

from rxtls.offload.commands import Command, Confirm, Guess, Progress, Query, Report, SetPosition, Standing
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

NUMBERS_KEPT = 4096  # to check a confirm against: what lies further back was confirmed long ago or never will be


class ReceiveTag:
    """One receive tag. Its methods take what happened and give back the commands to post."""

    __slots__ = ("_numbers", "_policy", "confirms", "epoch", "leaf", "life", "polls", "positions", "slips")

    def __init__(self, epoch: int, leaf: int, policy: Policy) -> None:
        self.epoch = epoch
        self.leaf = leaf
        self.life = Life.INIT
        self.polls = 0
        self.confirms = 0
        self.positions = 0
        self.slips: set[int] = set()  # given record number - true one, of confirms that were wrong
        self._policy = policy
        self._numbers: dict[int, int] = {}  # of records, by place: what the host has known

    def fire(self, event: LifeEvent) -> None:
        """Take the transition that the table has for this event."""
        self.life = LIFE[self.life][event]

    def report(self, report: Report) -> list[Command]:
        """A record that was not fully decrypted (or, with length 0, that sync is back)."""
        if self.life is not READY:
            return []  # upstream: refused with EINVAL, and ignored
        if report.length:
            self._know(report.tcp_sn, report.number)
        return self._posted(self._policy.report(self.epoch, report))

    def answer(self, answer: Progress | Guess) -> list[Command]:
        """What the device told. Answers may come after a tag was released: they are for another epoch then."""
        if self.life is not READY or answer.epoch != self.epoch:
            return []
        return self._posted(self._policy.answer(answer))

    @property
    def answers_first(self) -> bool:
        """Whether what the device told is to be heard before the reports of the same host point."""
        return self._policy.answers_first

    @property
    def listening(self) -> bool:
        """Whether the policy wants to hear where the host stands."""
        return self.life is READY and self._policy.listening

    def stand(self, standing: Standing) -> list[Command]:
        """A host point is over."""
        for place in standing.places:
            self._know(*place)
        return self._posted(self._policy.stand(self.epoch, standing))

    def _know(self, tcp_sn: int, number: int) -> None:
        self._numbers.pop(tcp_sn, None)
        self._numbers[tcp_sn] = number
        if len(self._numbers) > NUMBERS_KEPT:
            del self._numbers[next(iter(self._numbers))]

    def _posted(self, commands: list[Command]) -> list[Command]:
        for command in commands:
            if isinstance(command, Query):
                self.polls += 1
                continue
            self.confirms += isinstance(command, Confirm)
            self.positions += isinstance(command, SetPosition)
            number = self._numbers.get(command.tcp_sn)
            if number is not None and command.number != number:
                self.slips.add(distance(number & 0xFFFF_FFFF, command.number & 0xFFFF_FFFF))
        return commands
