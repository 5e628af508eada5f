"""No resynchronisation: once the device is out of sync it stays there until the tag is made anew."""

from __future__ import annotations

from rxtls.offload.commands import Command, Guess, Progress, Report, Standing


class NoPolicy:
    """Says nothing, whatever it hears."""

    needs: frozenset[str] = frozenset()
    in_softirq = False
    answers_first = False
    listening = False

    def report(self, epoch: int, report: Report) -> list[Command]:  # noqa: ARG002 - the interface's arguments
        """Nothing to post."""
        return []

    def answer(self, answer: Progress | Guess) -> list[Command]:  # noqa: ARG002
        """Nothing to post."""
        return []

    def stand(self, epoch: int, standing: Standing) -> list[Command]:  # noqa: ARG002
        """Nothing to post."""
        return []
