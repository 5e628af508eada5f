"""Whose frames are followed where several jobs divide the connections of a run among them.

Each job walks all captures in the same stretches and comes to the same division without asking the others: endpoints
are mixed to a bucket, the same for both directions, and a bucket that comes up for the first time falls to the job that
has had the fewest bytes. So a few large connections are spread as well as many small ones. Two connections in one
bucket only have the same job. Whether all did divide alike is asked in the end (`partition`).

Frames of others are FOREIGN: their payload is not read. Frames that hold no TCP packet are the first job's.
"""

from __future__ import annotations

import hashlib

import numpy as np

from rxtls.native import Array, Row, Table, address, get, inner, kernel, load8, put, store8, times
from rxtls.wire.compiled.columns import FOREIGN, PACKET, PacketRow

MOST_JOBS = 64

# The control row.
_OWN = 0
_JOBS = 1
_OWNERS_AT = 2  # address of the owners: a byte for each bucket, its job, or NOBODY yet
_LOADS = 3  # bytes by job

_BUCKETS = 1 << 16
_NOBODY = 0xFF

# Any odd numbers with bits all over.
_FIRST, _SECOND, _THIRD = 0x1E37_79B9_7F4A_7C15, 0x3F58_476D_1CE4_E5B9, 0x14D0_49BB_1331_11EB


@inner
def foreign(share: int, packets: Table, i: int, length: int) -> bool:
    """Whether the packet of row i, in a frame of `length` bytes, is another job's. `share`: address of the control."""
    ports = packets[i, PacketRow.PORTS]
    mixed = times(packets[i, PacketRow.SRC_HIGH] ^ packets[i, PacketRow.DST_HIGH], _FIRST)
    mixed ^= times(packets[i, PacketRow.SRC_LOW] ^ packets[i, PacketRow.DST_LOW], _SECOND)
    mixed ^= times((ports >> 16) ^ (ports & 0xFFFF), _THIRD)
    mixed = times(mixed ^ mixed >> 31, _SECOND)
    bucket = get(share, _OWNERS_AT) + (mixed >> 40 & _BUCKETS - 1)
    owner = load8(bucket)
    if owner == _NOBODY:
        owner = 0
        for job in range(1, get(share, _JOBS)):
            if get(share, _LOADS + job) < get(share, _LOADS + owner):
                owner = job
        store8(bucket, owner)
    put(share, _LOADS + owner, get(share, _LOADS + owner) + length)
    return owner != get(share, _OWN)


@inner
def first_job(share: int) -> bool:
    """Whether what no connection has is counted here."""
    return get(share, _OWN) == 0


@kernel
def _judge(control: Row, packets: Table, i: int, length: int) -> None:
    share = address(control)
    if packets[i, PacketRow.FATE] == PACKET:
        if foreign(share, packets, i, length):
            packets[i, PacketRow.FATE] = FOREIGN
    elif not first_job(share):
        packets[i, PacketRow.FATE] = FOREIGN


class Share:
    """Share `job`, from 0, of `jobs`: at most MOST_JOBS of them."""

    def __init__(self, job: int, jobs: int) -> None:
        if not 0 <= job < jobs <= MOST_JOBS:
            raise ValueError(f"job {job} of {jobs}")
        self._owners = np.full(_BUCKETS, _NOBODY, np.uint8)
        self._control = np.zeros(_LOADS + jobs, np.int64)
        self._control[_OWN] = job
        self._control[_JOBS] = jobs
        self._control[_OWNERS_AT] = self._owners.ctypes.data

    @property
    def address(self) -> int:
        """For kernels, as long as this object is there."""
        return int(self._control.ctypes.data)

    def judge(self, packets: Array, row: int, length: int) -> None:
        """Make a row foreign if it is: for frames of `length` bytes that the plain parser took."""
        _judge(self._control, packets, row, length)

    def partition(self) -> bytes:
        """How connections were divided: the same for two jobs that have divided alike from first to last."""
        return hashlib.sha256(self._owners.tobytes()).digest()
