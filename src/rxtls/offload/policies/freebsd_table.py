"""freebsd-table: the policy of D32356, as mlx5_en_hw_tls_rx.c has it.

The driver keeps a run-length table of where records started, of those that came up not fully decrypted. While any are
reported it polls the device, one query at a time: "where did you begin to track?" The answer, a TCP sequence number, is
looked up; if a record did start there, the device is told its number, and walks on from it by itself. Record lengths
are in clear, so one true boundary is enough and the host need not be up to date. Usually the anchor still lies ahead of
what the host has opened: a miss is normal, not an error, and the next report polls again.

    start_sn                                                          next_sn
    |--- length[0] x count[0] ---|--- length[1] x count[1] ---| ... --|
         slot 0 (oldest)              slot 1

Sequence numbers are compared as signed 32-bit distances, which is right within 2 GiB. 32 slots x 2048 records x 16 KiB
is 1 GiB, so the table can never reach that far.
"""

from __future__ import annotations

from enum import Enum, auto

from rxtls.offload.commands import Auth, Command, Confirm, Guess, Progress, Query, Report, Standing, Tracker
from rxtls.seq import add, distance

SLOTS = 32
COUNT_MAX = 2048


class Resync(Enum):
    """Where host and device stand, as the driver sees it: is the table active, is a query out?"""

    IDLE = auto()  # records come up decrypted, or none do
    OPEN = auto()  # records do not, and nobody has asked since the last answer
    ASKED = auto()  # records do not, and a query is out
    LATE = auto()  # sync is back, and a query is still out


class ResyncEvent(Enum):
    """What the driver hears."""

    RECORD = auto()  # a report of a record that was not fully decrypted
    BACK = auto()  # a report of length 0: records are again
    HIT = auto()  # an answer whose anchor is in the table: confirmed
    MISS = auto()  # any other answer, or none (receive_tag.py)


RESYNC: dict[Resync, dict[ResyncEvent, Resync]] = {
    Resync.IDLE: {ResyncEvent.RECORD: Resync.ASKED, ResyncEvent.BACK: Resync.IDLE},
    Resync.OPEN: {ResyncEvent.RECORD: Resync.ASKED, ResyncEvent.BACK: Resync.IDLE},
    Resync.ASKED: {
        ResyncEvent.RECORD: Resync.ASKED,
        ResyncEvent.BACK: Resync.LATE,
        ResyncEvent.HIT: Resync.OPEN,
        ResyncEvent.MISS: Resync.OPEN,
    },
    Resync.LATE: {
        ResyncEvent.RECORD: Resync.ASKED,
        ResyncEvent.BACK: Resync.LATE,
        ResyncEvent.MISS: Resync.IDLE,
    },
}


class RecordTable:
    """Starts of consecutive records, as runs of equal length. Mirrors the driver's add and find."""

    __slots__ = ("_next_sn", "_runs", "_start_number", "_start_sn")

    def __init__(self) -> None:
        self._runs: list[list[int]] = []  # [length, count], oldest first; SLOTS at most
        self._start_sn = 0
        self._start_number = 0
        self._next_sn = 0

    @property
    def active(self) -> bool:
        """Records are being reported: the device is out of sync as far as the host knows."""
        return bool(self._runs)

    def add(self, report: Report) -> None:
        """Take one record in. A gap in the reports restarts the table with it; length 0 empties it."""
        if report.length == 0:
            self._runs.clear()
            return
        if not self._runs or report.tcp_sn != self._next_sn:
            self._runs.clear()
            self._start_sn, self._start_number = report.tcp_sn, report.number
            self._runs.append([report.length, 1])
        elif self._runs[-1][0] == report.length and self._runs[-1][1] < COUNT_MAX:
            self._runs[-1][1] += 1
        else:
            if len(self._runs) == SLOTS:
                length, count = self._runs.pop(0)
                self._start_sn = add(self._start_sn, length * count)
                self._start_number += count
            self._runs.append([report.length, 1])
        self._next_sn = add(report.tcp_sn, report.length)

    def find(self, tcp_sn: int) -> int | None:
        """The number of the record that started at `tcp_sn`, or None."""
        ahead = distance(self._start_sn, tcp_sn)
        number = self._start_number
        for length, count in self._runs:
            if ahead < 0:
                return None
            if ahead < length * count:
                return number + ahead // length if ahead % length == 0 else None
            ahead -= length * count
            number += count
        return None


class FreebsdTable:
    """Report every record not fully decrypted, poll while any are, confirm by anchor."""

    __slots__ = ("_pending", "_table")

    needs = frozenset({"query", "confirm"})
    in_softirq = False
    answers_first = False
    listening = False

    def __init__(self) -> None:
        self._table = RecordTable()
        self._pending = False  # one query outstanding, never more

    @property
    def state(self) -> Resync:
        """Where RESYNC has it."""
        if self._table.active:
            return Resync.ASKED if self._pending else Resync.OPEN
        return Resync.LATE if self._pending else Resync.IDLE

    def report(self, epoch: int, report: Report) -> list[Command]:
        """Remember the record and, unless a query is out, ask the device where it stands."""
        self._table.add(report)
        if not self._table.active or self._pending:
            return []
        self._pending = True
        return [Query(epoch)]

    def answer(self, answer: Progress | Guess) -> list[Command]:
        """Confirm the anchor if a record is known to have started there."""
        if isinstance(answer, Guess):
            return []  # FreeBSD ignores the resync completions and polls
        self._pending = False
        if answer.tracker is not Tracker.TRACKING or answer.auth is not Auth.NO_OFFLOAD:
            return []
        number = self._table.find(answer.hw_resync_tcp_sn)
        return [] if number is None else [Confirm(answer.epoch, answer.hw_resync_tcp_sn, number)]

    def stand(self, epoch: int, standing: Standing) -> list[Command]:  # noqa: ARG002 - the interface's arguments
        """Only records that were opened are in the table."""
        return []
