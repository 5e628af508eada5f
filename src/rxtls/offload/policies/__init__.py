"""Resynchronisation policies: how host and NIC find back to each other after a loss.

A policy is a small class over one device interface. It hears of every record that was not fully decrypted (`report`)
and of what the device tells (`answer`), and gives back the commands to post. It knows no packets, no keys, no sockets.
One object serves one receive tag. Adding a policy is one class and one entry in POLICIES.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from rxtls.offload.commands import Command, Guess, Progress, Report
from rxtls.offload.policies.freebsd_table import FreebsdTable
from rxtls.offload.policies.none import NoPolicy


class Policy(Protocol):
    """What every policy answers to. `needs` are the commands it posts, which the profile must have."""

    needs: frozenset[str]

    def report(self, epoch: int, report: Report) -> list[Command]:
        """A record came up not fully decrypted; or, with length 0, fully decrypted again."""

    def answer(self, answer: Progress | Guess) -> list[Command]:
        """A progress snapshot came back, or the device volunteered a guess."""


POLICIES: dict[str, Callable[[], Policy]] = {
    "freebsd-table": FreebsdTable,
    "none": NoPolicy,
}
