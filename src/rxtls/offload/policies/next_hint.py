"""next-hint: Linux's variant in which the host alone decides (TLS_OFFLOAD_SYNC_TYPE_CORE_NEXT_HINT, Netronome's NFP).

The device says nothing. The host counts records that came up wholly encrypted, and now and then tells the device where
the next record header will stand, and its number:

    failed   1   2   3   4   5 ...   9 ...  17 ...        the first one after anything decrypted only arms the count
    target   2   2   2   4   4 ...   8 ...  16 ...        a hint goes whenever failed > target: at 3, 5, 9, .. 129;
                     ^       ^       ^                     then every 128 records

That place must not have been received yet, or the device has passed it. So a hint goes only when the queue is drained:
the next header is not on the socket buffer. While the sender does not pause, the device is usually faster than
the hint, and the next one is due only after a longer time. Nothing tells the host of a hint that came too late.

Linux: net/tls/tls_device.c, tls_device_core_ctrl_rx_resync and the resync_nh fields.
"""

from __future__ import annotations

from rxtls.offload.commands import Command, Guess, Progress, Report, SetPosition, Standing

START_INTERVAL = 2  # TLS_DEVICE_RESYNC_NH_START_IVAL
MAX_INTERVAL = 128  # TLS_DEVICE_RESYNC_NH_MAX_IVAL


class NextHint:
    """Count wholly encrypted records; from time to time announce the next header."""

    __slots__ = ("_due", "_failed", "_reset", "_target")

    needs = frozenset({"set_position"})
    in_softirq = False
    answers_first = True

    def __init__(self) -> None:
        self._reset = True  # something was decrypted since the last wholly encrypted record
        self._failed = 0
        self._target = START_INTERVAL
        self._due = False

    @property
    def listening(self) -> bool:
        """A hint goes as soon as the queue is drained."""
        return self._due

    def report(self, epoch: int, report: Report) -> list[Command]:  # noqa: ARG002 - the interface's arguments
        """Count, and decide whether a hint is due."""
        if report.length == 0 or report.mixed:
            self._reset = True
        elif self._due:
            pass  # the parser will send it
        elif self._reset:
            self._reset = False
            self._failed, self._target = 1, START_INTERVAL
        else:
            self._failed += 1
            if self._failed > self._target:
                self._target += min(self._target, MAX_INTERVAL)
                self._due = True
        return []

    def answer(self, answer: Progress | Guess) -> list[Command]:  # noqa: ARG002
        """The device is not asked."""
        return []

    def stand(self, epoch: int, standing: Standing) -> list[Command]:
        """All that came in order is parsed, unless it ends within a header: the next header's place is known."""
        if standing.waiting and not standing.in_order:
            return []
        self._due = False
        return [SetPosition(epoch, *standing.next)]
