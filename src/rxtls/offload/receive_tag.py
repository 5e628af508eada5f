"""The receive tag: the life of one flow's offload on one leaf, from allocation to release, as a literal table.

    alloc    ktls_alloc_rcv_tag and the driver: Interfaces.choose, then the driver's limits (driver/driver.py)
    modify   `report`: one record that was not fully decrypted, or (length 0) sync is back
    query    the policy's; its answer comes to `answer`, or never, and then the policy is told so
    free     FREE takes it away from the flow at once and never blocks; it is FREED when no command refers to it

Upstream calls it a send tag of type TLS_RX. It belongs to one key on one leaf: at KeyUpdate, renegotiation or path
change it is released and another one is made, with the next epoch. It carries the policy's state, so that a new tag
starts with an empty table, and it keeps what numbers the device was given, so that the host can undo what the device
did even where a policy was wrong.
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum, auto

from rxtls.offload.commands import (
    Auth,
    Command,
    Confirm,
    Guess,
    Progress,
    Query,
    Report,
    SetPosition,
    Standing,
    Tracker,
)
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

# Reports after which an answer will not come any more. It takes the NIC some packets, and a record is seldom less than
# one; should the answer come after all, it is as good as the second one.
PATIENCE = 256

NUMBERS_KEPT = 4096  # to check a confirm against: what lies further back was confirmed long ago or never will be


class ReceiveTag:
    """One receive tag. Its methods take what happened and give back the commands to post."""

    __slots__ = (
        "_asked",
        "_numbers",
        "_policy",
        "backlog",
        "confirms",
        "epoch",
        "errors",
        "ipv6",
        "leaf",
        "life",
        "outstanding",
        "polls",
        "polls_refused",
        "positions",
        "slips",
    )

    def __init__(self, epoch: int, leaf: int, policy: Policy, ipv6: bool = False) -> None:
        self.epoch = epoch
        self.leaf = leaf
        self.ipv6 = ipv6  # which of the two tables of flow rules it has a rule in
        self.outstanding = 0  # commands that refer to it, each of which holds a reference
        self._asked = 0  # reports since the query that is out, 0 if none is
        self.life = Life.INIT
        self.polls = 0
        self.polls_refused = 0
        self.errors = 0
        self.confirms = 0
        self.positions = 0
        self.backlog: deque[tuple[int, list[Report], Standing | None]] = deque()  # (when it is told, what)
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
        if self._asked:
            self._asked += 1
            if self._asked > PATIENCE:
                self._unanswered()
        return self._posted(self._policy.report(self.epoch, report))

    def answer(self, answer: Progress | Guess) -> list[Command]:
        """What the device told. Answers may come after a tag was released: they are for another epoch then."""
        if self.life is not READY or answer.epoch != self.epoch:
            return []
        if isinstance(answer, Progress):
            self._asked = 0
        return self._posted(self._policy.answer(answer))

    def refused(self, command: Command) -> None:
        """The command queue was full. Of a query the policy must know, or it would never ask again."""
        if isinstance(command, Query):
            self.polls -= 1
            self.polls_refused += 1
            self._unanswered()
        else:
            self.confirms -= 1
            self.errors += 1

    def _unanswered(self) -> None:
        """Nothing will come back: to the policy, a snapshot of a device that has nothing to say."""
        self._asked = 0
        self._policy.answer(Progress(self.epoch, 0, 0, Tracker.START, Auth.NO_OFFLOAD, 0))

    @property
    def answers_first(self) -> bool:
        """Whether what the device told is to be heard before the reports of the same host point."""
        return self._policy.answers_first

    @property
    def in_softirq(self) -> bool:
        """Whether headers are looked at as segments come, whatever waits for the worker."""
        return self._policy.in_softirq

    @property
    def listening(self) -> bool:
        """Whether the policy wants to hear where the host stands."""
        return self.life is READY and self._policy.listening

    @property
    def quiet(self) -> bool:
        """Nothing is to be told that is not told yet."""
        return self.life is READY and not (self.listening or self.backlog)

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
                self._asked = 1
                continue
            self.confirms += isinstance(command, Confirm)
            self.positions += isinstance(command, SetPosition)
            number = self._numbers.get(command.tcp_sn)
            if number is not None and command.number != number:
                self.slips.add(distance(number & 0xFFFF_FFFF, command.number & 0xFFFF_FFFF))
        return commands
