"""linux-async: what Linux does with ConnectX-6 Dx and later (TLS_OFFLOAD_SYNC_TYPE_DRIVER_REQ_ASYNC).

The completion of a packet says only that the device began to track somewhere in it. So a request has two stages:

    1  open     [packet's first byte, its end]   the driver asks the device where exactly; headers that the stream
                                                 parser meets in that range meanwhile are logged, at most LOG of them,
                                                 and all from there on are counted
    2  exact    one TCP sequence number          at the next header, the log is searched once; from then on each header
                                                 is compared

On a match in the log, the record's number is the present one less what was counted since. The count has 16 bits; when
it is used up, the request is cancelled. So it is when the device answers that it does not track, or is not out of sync.
A newer packet opens a new request in place of the old one.

Linux: net/tls/tls_device.c, tls_device_rx_resync_async; mlx5 en_accel/ktls_rx.c. The cancels are of 2025: before,
requests stayed pending for good. Counts here are differences of record numbers, as records that were decrypted in full
are not told; they are the same numbers.
"""

from __future__ import annotations

from rxtls.offload.commands import Auth, Command, Confirm, Guess, Progress, Query, Tracker
from rxtls.offload.policies.linux_parser import StreamParser
from rxtls.seq import add, before

LOG = 13  # TLS_DEVICE_RESYNC_ASYNC_LOGMAX
COUNT_MAX = 0xFFFF  # rcd_delta is a u16


class LinuxAsync(StreamParser):
    """A two-stage request: a range, then an exact place; a short log of headers in between."""

    __slots__ = ("_exact", "_first", "_log", "_range")

    needs = frozenset({"guess", "query", "confirm"})

    def __init__(self) -> None:
        super().__init__()
        self._range: tuple[int, int] | None = None  # stage 1
        self._exact: int | None = None  # stage 2
        self._log: list[tuple[int, int]] = []  # places in the range, each by how many records after the first counted
        self._first: int | None = None  # number of the first record counted

    @property
    def listening(self) -> bool:
        """A request is pending."""
        return self._range is not None or self._exact is not None

    def answer(self, answer: Progress | Guess) -> list[Command]:
        """A guess opens a request, of which only the packet is known; the snapshot makes it exact, or ends it."""
        if isinstance(answer, Guess):
            self._clear()
            self._range = answer.packet_sn, add(answer.packet_sn, answer.packet_length)
            return [Query(answer.epoch)]
        self._range = None
        if answer.tracker is Tracker.TRACKING and answer.auth is Auth.NO_OFFLOAD:
            self._exact = answer.hw_resync_tcp_sn
        else:
            self._clear()
        return []

    def _header(self, epoch: int, tcp_sn: int, number: int) -> list[Command]:
        if self._range is not None:
            self._count(self._range, tcp_sn, number)
            return []
        if self._exact is None:
            return []
        for place, after in self._log:
            if place == self._exact and self._first is not None:
                counted = number - self._first
                self._clear()
                return [Confirm(epoch, place, number - (counted - after))]
        self._log.clear()
        if tcp_sn != self._exact:
            return []
        self._clear()
        return [Confirm(epoch, tcp_sn, number)]

    def _count(self, request: tuple[int, int], tcp_sn: int, number: int) -> None:
        """Stage 1: count a header from the packet's first byte on, and log it if it lies within."""
        start, end = request
        if before(tcp_sn, start):
            return
        if self._first is None:
            self._first = number
        if number - self._first >= COUNT_MAX:
            self._clear()
        elif not before(end, tcp_sn) and len(self._log) < LOG:
            self._log.append((tcp_sn, number - self._first))

    def _clear(self) -> None:
        self._range = self._exact = self._first = None
        self._log.clear()
