"""A policy of somebody else's, held to what a policy may do (the Policy of this package).

It is made and asked here alone. Whatever it raises, and whatever it gives back that is no command of those it says it
needs, becomes a GuestError that says what it had last been told; driver and path add flow and frame.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import getattr_static
from typing import Any

from rxtls.errors import GuestError
from rxtls.offload.commands import Command, Confirm, Guess, Progress, Query, Report, SetPosition, Standing
from rxtls.system.plug import caused

COMMANDS = {Query: "query", Confirm: "confirm", SetPosition: "set_position"}
NEEDS = frozenset({*COMMANDS.values(), "guess"})
_METHODS = ("report", "answer", "stand")


class GuestPolicy:
    """The policy that `make` makes, called `name`. Raises GuestError for one that lacks something."""

    def __init__(self, name: str, make: Callable[[], Any]) -> None:
        self._who = f"policy {name}"
        self._told = "nothing yet"
        self._policy = self._of(make)
        lacking = [each for each in _METHODS if not callable(getattr(self._policy, each, None))]
        lacking += [each for each in ("needs", "listening") if getattr_static(self._policy, each, None) is None]
        if lacking:
            raise GuestError(self._who, f"it has no {', no '.join(lacking)}", self._told)
        needs = self._of(lambda: frozenset(self._policy.needs))
        if not needs <= NEEDS:
            raise GuestError(self._who, f"needs is a set of {', '.join(sorted(NEEDS))}", self._told)
        self.needs: frozenset[str] = needs
        self.answers_first = bool(getattr(self._policy, "answers_first", False))
        self.in_softirq = bool(getattr(self._policy, "in_softirq", False))

    @property
    def listening(self) -> bool:
        """As Policy."""
        return bool(self._of(lambda: self._policy.listening))

    def report(self, epoch: int, report: Report) -> list[Command]:
        """As Policy."""
        self._told = str(report)
        return self._commands(lambda: self._policy.report(epoch, report))

    def answer(self, answer: Progress | Guess) -> list[Command]:
        """As Policy."""
        self._told = str(answer)
        return self._commands(lambda: self._policy.answer(answer))

    def stand(self, epoch: int, standing: Standing) -> list[Command]:
        """As Policy."""
        self._told = str(standing)
        return self._commands(lambda: self._policy.stand(epoch, standing))

    def _commands(self, ask: Callable[[], Any]) -> list[Command]:
        given = self._of(ask)
        if not isinstance(given, list | tuple):
            raise GuestError(self._who, f"it gave back {type(given).__name__}, not a list of commands", self._told)
        for each in given:
            if type(each) not in COMMANDS or not _fits(each):
                raise GuestError(self._who, f"it gave back {str(each)[:80]!r}, which is no command", self._told)
            if COMMANDS[type(each)] not in self.needs:
                raise GuestError(
                    self._who, f"it posted a {COMMANDS[type(each)]}, which is not in its needs", self._told
                )
        return list(given)

    def _of(self, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except Exception as error:
            raise GuestError(self._who, caused(error), self._told) from None


def _fits(command: Command) -> bool:
    """Whether all of a command's fields are numbers of their sizes."""
    bits = (31, 32, 64)
    return all(type(each) is int and 0 <= each < 1 << size for each, size in zip(command, bits, strict=False))
