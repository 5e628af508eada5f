"""An interface of this host (Linux): what the kernel puts into a ring that is shared with it (packet(7), TPACKET_V3).

    ring    | block | block | block | ...      the kernel fills a block, we walk it and give it back
    block   | status, packets, first | packet | packet | ...
    packet  | header: next, time, lengths, status, mac | sockaddr_ll | bytes from the MAC header on

A packet that finds no block free is dropped, and counted by the kernel: `drops` asks for that number, since what the
tap has not seen is no loss of the network. Outgoing packets of a loopback interface are not asked for: each comes in
again, and would count twice.
"""

from __future__ import annotations

import mmap
import os
import socket
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rxtls.errors import UsageError

_SOL_PACKET = 263
_RX_RING, _STATISTICS, _VERSION, _IGNORE_OUTGOING = 5, 6, 10, 23
_TPACKET_V3 = 2
_ALL = 3  # ETH_P_ALL

BLOCK = 1 << 20  # bytes
_FRAME = 2048  # what the kernel asks for to check sizes; packets take what they take
_RETIRE_MS = 8  # a block that is not full is handed over after so long

STATUS_AT, PACKETS_AT, FIRST_AT = 8, 12, 16  # in a block
USER = 1  # status of a block that is ours

# ARPHRD of an interface: its LINKTYPE.
_LINK_TYPES = {1: 1, 772: 1, 65534: 101, 519: 101, 778: 101}
_LOOPBACK = 772


class Drops(NamedTuple):
    """What the kernel says of a ring since it was last asked: packets for it, and those of them without room."""

    packets: int
    dropped: int


class Ring:
    """A ring of `megabytes` on the interface `name`. UsageError, in one line, for what is not there or not allowed."""

    def __init__(self, name: str, megabytes: int = 64) -> None:
        if not hasattr(socket, "AF_PACKET"):
            raise UsageError("listening on interfaces needs Linux")
        self.name = name
        self.link_type, loopback = _kind(name)
        try:
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # nothing comes before it is bound
        except PermissionError:
            python = os.path.realpath("/proc/self/exe")
            raise UsageError(
                f"{name}: listening needs the capability CAP_NET_RAW: as root, or after setcap cap_net_raw+ep {python}"
            ) from None
        try:
            self._map(megabytes, loopback)
        except OSError as failure:
            self.socket.close()
            raise UsageError(f"{name}: {failure.strerror}") from None
        self._next = 0

    def _map(self, megabytes: int, loopback: bool) -> None:
        self.socket.setsockopt(_SOL_PACKET, _VERSION, _TPACKET_V3)
        if loopback:
            self.socket.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
        self._blocks = max(2, megabytes)
        wanted = BLOCK, self._blocks, _FRAME, BLOCK * self._blocks // _FRAME, _RETIRE_MS, 0, 0
        self.socket.setsockopt(_SOL_PACKET, _RX_RING, struct.pack("=7I", *wanted))
        self._memory = mmap.mmap(self.socket.fileno(), BLOCK * self._blocks)
        self.bytes: npt.NDArray[np.uint8] = np.frombuffer(self._memory, np.uint8)
        self.socket.bind((self.name, _ALL))

    def ready(self) -> int | None:
        """Where in `bytes` the next block begins that the kernel has handed over; None if there is none yet."""
        at = BLOCK * self._next
        status = int(self.bytes[at + STATUS_AT : at + STATUS_AT + 4].view(np.uint32)[0])
        return at if status & USER else None

    def give_back(self) -> None:
        """The block that `ready` told was walked."""
        at = BLOCK * self._next
        self.bytes[at + STATUS_AT : at + STATUS_AT + 4] = 0
        self._next = (self._next + 1) % self._blocks

    def drops(self) -> Drops:
        """Since the last call."""
        packets, dropped, _ = struct.unpack("=3I", self.socket.getsockopt(_SOL_PACKET, _STATISTICS, 12))
        return Drops(packets, dropped)

    def fault(self) -> OSError | None:
        """What has happened to the interface since the last call."""
        number = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return OSError(number, os.strerror(number)) if number else None

    def fileno(self) -> int:
        """To be polled."""
        return self.socket.fileno()

    def close(self) -> None:
        """No more packets."""
        self.socket.close()


def _kind(name: str) -> tuple[int, bool]:
    """LINKTYPE of an interface, and whether it is a loopback one."""
    try:
        kind = int((Path("/sys/class/net") / name / "type").read_text())
    except (OSError, ValueError):
        there = ", ".join(sorted(each for _, each in socket.if_nameindex()))
        raise UsageError(f"no interface {name}; there are {there}") from None
    if kind not in _LINK_TYPES:
        raise UsageError(f"{name}: interfaces of ARPHRD type {kind} are not listened on")
    return _LINK_TYPES[kind], kind == _LOOPBACK
