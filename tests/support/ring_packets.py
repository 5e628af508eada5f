"""Packets as the kernel puts them into a ring (TPACKET_V3), made by hand."""

from __future__ import annotations

import struct
from typing import NamedTuple

from rxtls.wire.capture import Frame
from rxtls.wire.frame import INBOUND, NOT_READY, OUTBOUND, VALID

CSUM_NOT_READY, VLAN_VALID, TPID_VALID, CSUM_VALID = 8, 0x10, 0x40, 0x80


class Packet(NamedTuple):
    """What the kernel puts into a ring."""

    time_ns: int
    data: bytes
    more: int = 0  # bytes that were not captured
    status: int = 1
    packet_type: int = 0
    tci: int = 0
    tpid: int = 0

    def entry(self, last: bool) -> bytes:
        mac = 82  # as the kernel aligns it
        size = mac + len(self.data) + 7 & ~7
        seconds, nanoseconds = divmod(self.time_ns, 1_000_000_000)
        wire = len(self.data) + self.more
        head = struct.pack(
            "=IIIIIIHHIIHH8x", 0 if last else size, seconds, nanoseconds, len(self.data), wire, self.status,
            mac, mac + 14, 0, self.tci, self.tpid, 0,
        )  # fmt: skip
        link = struct.pack("=HHiHBB8s", 17, 8, 3, 1, self.packet_type, 6, bytes(8))
        return (head + link + bytes(mac - 68) + self.data).ljust(size, b"\xee")

    def frame(self) -> Frame:
        """As it is read from the capture."""
        data = self.data
        if self.status & VLAN_VALID and len(data) >= 12:
            tpid = self.tpid if self.status & TPID_VALID else 0x8100
            data = data[:12] + struct.pack("!HH", tpid, self.tci) + data[12:]
        flags = OUTBOUND if self.packet_type == 4 else INBOUND
        flags |= NOT_READY if self.status & CSUM_NOT_READY else VALID if self.status & CSUM_VALID else 0
        return Frame(self.time_ns, 0, 1, len(data) + self.more, data, flags)
