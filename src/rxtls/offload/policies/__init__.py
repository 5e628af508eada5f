"""Resynchronisation policies: how host and NIC find back to each other after a loss.

A policy is a small class over one device interface. It hears of every record that was not fully decrypted (`report`),
of what the device tells (`answer`) and, while it is `listening`, of the headers that the host stands before at the end
of a host point (`stand`), and gives back the commands to post. It knows no packets, no keys, no sockets. One object
serves one receive tag. Adding a policy is one class and one entry in POLICIES; docs/policies.md compares them.
Policies of other people's (guest.py) are named as system/plug.py says.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

from rxtls.errors import UsageError
from rxtls.offload.commands import Command, Guess, Progress, Report, Standing
from rxtls.offload.policies.freebsd_table import FreebsdTable
from rxtls.offload.policies.guest import GuestPolicy
from rxtls.offload.policies.linux_async import LinuxAsync
from rxtls.offload.policies.linux_sync import LinuxSync
from rxtls.offload.policies.look_ahead import LookAhead
from rxtls.offload.policies.next_hint import NextHint
from rxtls.offload.policies.none import NoPolicy
from rxtls.system.plug import brought, is_plug, plugged

GROUP = "rxtls.policies"  # of entry points by which packages bring policies


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


def policy(name: str) -> Callable[[], Policy]:
    """What makes a policy, by its name: of POLICIES, a package's, or MODULE:CLASS or FILE.py:CLASS. Raises UsageError,
    and GuestError for a class that cannot be made or is no policy."""
    if name in POLICIES:
        return POLICIES[name]
    if not is_plug(name, GROUP):
        raise UsageError(f"no policy {name!r}; there are {', '.join((*POLICIES, *brought(GROUP)))}")
    made = partial(GuestPolicy, name, plugged(name, GROUP, "policy"))
    made()  # what is wrong with it from the beginning is told then
    return made
