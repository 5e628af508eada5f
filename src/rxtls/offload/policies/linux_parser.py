"""Linux's stream parser, as its two policies live by it: each record header is met once, before its record is whole.

    net/tls/tls_strp.c finds a header ──► net/tls/tls_device.c, tls_device_rx_resync_new_rec(seq of the header)

A record that comes up whole at once is met with its report; one that is not whole at the end of a host point is met
by where the host stands, and its report later is no news. Headers of records that were decrypted in full are not met
here: the device had their bytes before it began to search.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from rxtls.offload.commands import Command, Report, Standing


class StreamParser(ABC):
    """A policy that is asked at each new header, in order."""

    __slots__ = ("_parsed",)

    in_softirq = False
    answers_first = True

    def __init__(self) -> None:
        self._parsed: int | None = None  # the header that was met before its record was whole

    def report(self, epoch: int, report: Report) -> list[Command]:
        """A record: its header is new, unless it was met when the record was not whole yet."""
        if report.length == 0 or report.tcp_sn == self._parsed:
            return []
        return self._header(epoch, report.tcp_sn, report.number)

    def stand(self, epoch: int, standing: Standing) -> list[Command]:
        """The header of a record that is not whole yet."""
        tcp_sn, number = standing.places[0]
        if not standing.in_order or tcp_sn == self._parsed:
            return []
        self._parsed = tcp_sn
        return self._header(epoch, tcp_sn, number)

    @abstractmethod
    def _header(self, epoch: int, tcp_sn: int, number: int) -> list[Command]:
        """What a header calls for that was not met before."""
