"""linux-sync: Linux's oldest variant (TLS_OFFLOAD_SYNC_TYPE_DRIVER_REQ), as mlx5's Innova FPGA used it.

The device begins to track at a plausible header and says with the packet where: "is this a record?" The driver keeps
that TCP sequence number in one slot; a newer one overwrites it. Each record header that the stream parser meets is
compared with the slot, before the record is even whole; if they are the same, the device is told the record's number
and the slot is free. There is no negative answer: a false header stays in the slot until the device gives up on it by
itself.

    guess ──► [slot] ◄── compared with each header in order ──► Confirm(slot, number)

Linux: net/tls/tls_device.c, tls_device_rx_resync_new_rec. It compares the place of the header's last byte (Innova's
format), which is the same question. Headers of records that were decrypted in full are not compared here: the device
had their bytes before it began to search.
"""

from __future__ import annotations

from rxtls.offload.commands import Command, Confirm, Guess, Progress, Report, Standing


class LinuxSync:
    """One slot for the device's guess, compared with each new header."""

    __slots__ = ("_parsed", "_slot")

    needs = frozenset({"guess", "confirm"})
    in_softirq = False
    answers_first = True

    def __init__(self) -> None:
        self._slot: int | None = None
        self._parsed: int | None = None  # the header that was met before its record was whole

    @property
    def listening(self) -> bool:
        """A guess is in the slot."""
        return self._slot is not None

    def report(self, epoch: int, report: Report) -> list[Command]:
        """A record: its header is new, unless it was met when the record was not whole yet."""
        if report.length == 0 or report.tcp_sn == self._parsed:
            return []
        return self._header(epoch, report.tcp_sn, report.number)

    def answer(self, answer: Progress | Guess) -> list[Command]:
        """A guess goes into the slot, whatever was there."""
        if isinstance(answer, Guess):
            self._slot = answer.tcp_sn
        return []

    def stand(self, epoch: int, standing: Standing) -> list[Command]:
        """The header of a record that is not whole yet."""
        tcp_sn, number = standing.places[0]
        if not standing.in_order or tcp_sn == self._parsed:
            return []
        self._parsed = tcp_sn
        return self._header(epoch, tcp_sn, number)

    def _header(self, epoch: int, tcp_sn: int, number: int) -> list[Command]:
        if tcp_sn != self._slot:
            return []
        self._slot = None
        return [Confirm(epoch, tcp_sn, number)]
