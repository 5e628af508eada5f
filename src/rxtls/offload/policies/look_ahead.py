"""look-ahead: our own policy. Confirm the device's guess as soon as its record number can be known at all.

Both kernels wait until the guessed header is in order on the socket buffer, or its record opened. But record lengths
are in clear, so the numbers of later headers are certain before that: a hole in the stream hides what it hides, and a
header that it does not hide can be reached over it.

    |hdr|======|  hole within a record  |====|hdr|=====|hdr|==...
     known        its length leads over it    ^           ^ and so do those behind it

So at each host point the host walks the lengths over what it has, in order and out of order (`Standing`), before any of
those records can be opened, and confirms the guess if the walk comes by it: one command for each loss, no queries.

If the walk passes over the guess, no record begins there: it was made of payload that looks like headers. Or the device
came upon it in a retransmission, and its record is long done with. Neither kernel can tell the device so. Here the
device is given the first header that has not come yet instead (SetPosition),
provided that nothing behind it has come either. The same is done when records have come up encrypted for PATIENCE bytes
after the last command, as when a guess or a command was lost; each time twice as far, up to MOST_PATIENCE.
"""

from __future__ import annotations

from rxtls.offload.commands import Command, Confirm, Guess, Progress, Report, SetPosition, Standing
from rxtls.seq import add, before, distance

PATIENCE = 256 << 10  # bytes: several times what is under way between a confirm and the first record decrypted by it
MOST_PATIENCE = 16 << 20


class LookAhead:
    """Walk headers ahead of the stream, confirm the guess there; take it back when it proves false."""

    __slots__ = ("_guess", "_lost", "_patience", "_until")

    needs = frozenset({"guess", "confirm", "set_position"})
    in_softirq = True
    answers_first = True

    def __init__(self) -> None:
        self._guess: int | None = None
        self._lost = False  # the device has to be given a new position
        self._until: int | None = None  # up to here it is no wonder that records come up encrypted
        self._patience = PATIENCE

    @property
    def listening(self) -> bool:
        """There is a guess to find, or a position to give."""
        return self._guess is not None or self._lost

    def report(self, epoch: int, report: Report) -> list[Command]:
        """A record that was whole before the host point was over: the walk begins behind it."""
        if report.length == 0:
            self._until, self._patience = None, PATIENCE
            return []
        if self._until is None:
            self._until = add(report.tcp_sn, self._patience)
        elif before(self._until, report.tcp_sn):
            self._lost = True
        if self._guess is None:
            return []
        if report.tcp_sn == self._guess:
            return self._confirm(epoch, report.tcp_sn, report.number)
        if _within(report.tcp_sn, self._guess, report.length):
            self._refuted()
        return []

    def answer(self, answer: Progress | Guess) -> list[Command]:
        """The newest guess is the only one that the device still holds."""
        if isinstance(answer, Guess):
            self._guess = answer.tcp_sn
        return []

    def stand(self, epoch: int, standing: Standing) -> list[Command]:
        """Find the guess among the headers that the walk has come by, or see that it is none of them."""
        places = standing.places
        if self._guess is not None:
            for tcp_sn, number in places:
                if tcp_sn == self._guess:
                    return self._confirm(epoch, tcp_sn, number)
            if before(self._guess, places[-1][0]):
                self._refuted()
        tcp_sn, number = places[-1]
        if not self._lost or before(tcp_sn, standing.top):
            return []
        self._lost = False
        self._guess = None
        self._wait(tcp_sn)
        return [SetPosition(epoch, tcp_sn, number)]

    def _confirm(self, epoch: int, tcp_sn: int, number: int) -> list[Command]:
        self._guess = None
        self._lost = False
        self._wait(tcp_sn)
        return [Confirm(epoch, tcp_sn, number)]

    def _wait(self, tcp_sn: int) -> None:
        """A command goes: give it time, and the one after it more."""
        self._until = add(tcp_sn, self._patience)
        self._patience = min(2 * self._patience, MOST_PATIENCE)

    def _refuted(self) -> None:
        self._guess = None
        self._lost = True


def _within(start: int, place: int, length: int) -> bool:
    return 0 < distance(start, place) < length
