"""Resynchronisation policies: how host and NIC find back to each other after a loss.

A policy is a small class over one device interface. It hears of every record that was not fully decrypted (`report`),
of what the device tells (`answer`) and, while it is `listening`, of the headers that the host stands before at the end
of a host point (`stand`), and gives back the commands to post. It knows no packets, no keys, no sockets. One object
serves one receive tag. Adding a policy is one class and one entry in POLICIES; docs/policies.md compares them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from rxtls.offload.commands import Command, Guess, Progress, Report, Standing
from rxtls.offload.policies.freebsd_table import FreebsdTable
from rxtls.offload.policies.linux_async import LinuxAsync
from rxtls.offload.policies.linux_sync import LinuxSync
from rxtls.offload.policies.look_ahead import LookAhead
from rxtls.offload.policies.next_hint import NextHint
from rxtls.offload.policies.none import NoPolicy


class Policy(Protocol):
    """What every policy answers to. `needs` are the commands it posts, and the notes it lives by, which the profile
    must have. `answers_first`: the driver hears the device before the worker opens the host point's records.
    `in_softirq`: it looks at headers when segments come, not when a worker that is behind gets to them (`backlog`).
    """

    needs: frozenset[str]
    answers_first: bool
    in_softirq: bool

    @property
    def listening(self) -> bool:
        """Whether it wants to hear `stand`. Never while the device is in sync: nobody asks it then."""

    def report(self, epoch: int, report: Report) -> list[Command]:
        """A record came up not fully decrypted; or, with length 0, fully decrypted again."""

    def answer(self, answer: Progress | Guess) -> list[Command]:
        """A progress snapshot came back, or the device volunteered a guess."""

    def stand(self, epoch: int, standing: Standing) -> list[Command]:
        """A host point is over, all whole records are opened and reported."""


POLICIES: dict[str, Callable[[], Policy]] = {
    "freebsd-table": FreebsdTable,
    "linux-sync": LinuxSync,
    "linux-async": LinuxAsync,
    "next-hint": NextHint,
    "look-ahead": LookAhead,
    "none": NoPolicy,
}
