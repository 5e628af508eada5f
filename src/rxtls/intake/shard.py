"""Whose packets are followed where several jobs divide the connections of a run among them.

Every job sees all frames: those of others move clocks (what is idle is told by all frames of a capture interface) and
frame indices, and are counted elsewhere. wire/compiled/shard.py is this for columns.
"""

from __future__ import annotations

from collections.abc import Callable
from zlib import crc32

from rxtls.wire.frame import Packet


def mine(job: int, jobs: int) -> Callable[[Packet | None], bool]:
    """Whether `job` (from 0) of `jobs` follows a packet: both directions alike. No TCP packet (None) is job 0's."""

    def follows(packet: Packet | None) -> bool:
        if packet is None:
            return job == 0
        ends = sorted((packet.src + packet.sport.to_bytes(2, "big"), packet.dst + packet.dport.to_bytes(2, "big")))
        return crc32(b"".join(ends)) % jobs == job

    return follows
