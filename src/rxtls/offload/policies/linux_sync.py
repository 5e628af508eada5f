"""linux-sync: Linux's oldest variant (TLS_OFFLOAD_SYNC_TYPE_DRIVER_REQ), as mlx5's Innova FPGA used it.

The device begins to track at a plausible header and says with the packet where: "is this a record?" The driver keeps
that TCP sequence number in one slot; a newer one overwrites it. Each record header that the stream parser meets is
compared with the slot, before the record is even whole; if they are the same, the device is told the record's number
and the slot is free. There is no negative answer: a false header stays in the slot until the device gives up on it by
itself.

    guess ──► [slot] ◄── compared with each header in order ──► Confirm(slot, number)

Linux: net/tls/tls_device.c, tls_device_rx_resync_new_rec. It compares the place of the header's last byte (Innova's
format), which is the same question.
"""

from __future__ import annotations

from rxtls.offload.commands import Command, Confirm, Guess, Progress
from rxtls.offload.policies.linux_parser import StreamParser


class LinuxSync(StreamParser):
    """One slot for the device's guess, compared with each new header."""

    __slots__ = ("_slot",)

    needs = frozenset({"guess", "confirm"})

    def __init__(self) -> None:
        super().__init__()
        self._slot: int | None = None

    @property
    def listening(self) -> bool:
        """A guess is in the slot."""
        return self._slot is not None

    def answer(self, answer: Progress | Guess) -> list[Command]:
        """A guess goes into the slot, whatever was there."""
        if isinstance(answer, Guess):
            self._slot = answer.tcp_sn
        return []

    def _header(self, epoch: int, tcp_sn: int, number: int) -> list[Command]:
        if tcp_sn != self._slot:
            return []
        self._slot = None
        return [Confirm(epoch, tcp_sn, number)]
