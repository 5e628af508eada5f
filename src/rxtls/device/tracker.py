"""The record tracker: the device's state as a literal table, and what a record header looks like from below.

State is the pair (tracker, auth) as the hardware reports it in a progress snapshot. The table is complete: a pair that
is not a key of TRANSITIONS does not exist, and an event that is not in a state's row cannot happen there.

    START,NO_OFFLOAD ---BIND---> TRACKING,AUTHENTICATION --VERIFY--> TRACKING,OFFLOAD (VERIFY: stays)
       |      ^                  |    |    ^       ^                   |    |
       |      +-------STOP-------+----|----|-------|-------STOP--------+    |
       |SCAN                          |    |       |                        |
       v                         LOSE, MISMATCH    |                 LOSE, MISMATCH
    SEARCHING,NO_OFFLOAD <------------+----|-------|------------------------+
       |     ^     |                       |       |
       |     |     +---------BIND----------+       |
       |     +--LOSE, MISMATCH--+                  |
       |                        |                  |
       +--------ANCHOR---> TRACKING,NO_OFFLOAD --CONFIRM, BIND

Sources: FreeBSD mlx5_en_hw_tls_rx.c (the states), Linux tls-offload.rst (the searching), Pismenny et al. figure 7.
"""

from __future__ import annotations

from enum import Enum, auto

from rxtls.crypto.keys import RECORD_HEADER, Keys
from rxtls.crypto.suites import Version
from rxtls.offload.commands import Auth, Tracker

State = tuple[Tracker, Auth]


class TrackerEvent(Enum):
    """What can happen to the tracker."""

    BIND = auto()  # a record's place and number were given: install with a programmed start, or set-position
    SCAN = auto()  # install without a place: search for it
    ANCHOR = auto()  # a plausible header was found while searching
    MISMATCH = auto()  # no plausible header stood at a predicted place
    LOSE = auto()  # the bytes of the next header went by unseen
    CONFIRM = auto()  # the host gave the number of the record at the anchor
    VERIFY = auto()  # an AEAD tag verified
    STOP = auto()  # too many AEAD failures in a row, or no record numbers left


IDLE: State = (Tracker.START, Auth.NO_OFFLOAD)
SEARCHING: State = (Tracker.SEARCHING, Auth.NO_OFFLOAD)
TRACKING: State = (Tracker.TRACKING, Auth.NO_OFFLOAD)
BOUND: State = (Tracker.TRACKING, Auth.AUTHENTICATION)
OFFLOADING: State = (Tracker.TRACKING, Auth.OFFLOAD)

# For those who look on, instead of a state's place in the table: no receive tag, or one on another leaf.
NO_CONTEXT, ELSEWHERE = -1, -2

TRANSITIONS: dict[State, dict[TrackerEvent, State]] = {
    IDLE: {
        TrackerEvent.BIND: BOUND,
        TrackerEvent.SCAN: SEARCHING,
    },
    SEARCHING: {
        TrackerEvent.ANCHOR: TRACKING,
        TrackerEvent.BIND: BOUND,
    },
    TRACKING: {
        TrackerEvent.MISMATCH: SEARCHING,
        TrackerEvent.LOSE: SEARCHING,
        TrackerEvent.CONFIRM: BOUND,
        TrackerEvent.BIND: BOUND,
    },
    BOUND: {
        TrackerEvent.VERIFY: OFFLOADING,
        TrackerEvent.MISMATCH: SEARCHING,
        TrackerEvent.LOSE: SEARCHING,
        TrackerEvent.STOP: IDLE,
    },
    OFFLOADING: {
        TrackerEvent.VERIFY: OFFLOADING,
        TrackerEvent.MISMATCH: SEARCHING,
        TrackerEvent.LOSE: SEARCHING,
        TrackerEvent.STOP: IDLE,
    },
}

# TLS 1.3 protects everything as application_data; TLS 1.2 shows change_cipher_spec to heartbeat on the wire.
_TYPES = {Version.TLS13: b"\x17", Version.TLS12: b"\x14\x15\x16\x17\x18"}


class HeaderPattern:
    """What the device takes for a record header: type, 03 03, and a length within the suite's bounds."""

    __slots__ = ("_longest", "_shortest", "_types")

    def __init__(self, keys: Keys) -> None:
        self._types = _TYPES[keys.version]
        self._shortest = keys.min_total
        self._longest = keys.max_total

    def total(self, header: bytes | bytearray | memoryview) -> int:
        """Bytes of the whole record that these five bytes announce; 0 if they are no plausible header."""
        if header[0] not in self._types or header[1] != 3 or header[2] != 3:
            return 0
        total = RECORD_HEADER + (header[3] << 8 | header[4])
        return total if self._shortest <= total <= self._longest else 0

    def find(self, data: bytes, start: int) -> int:
        """Offset of the first plausible header that lies whole in `data` at or after `start`, or -1."""
        at = data.find(b"\x03\x03", start + 1)
        while at != -1 and at + 4 <= len(data):
            if self.total(data[at - 1 : at + 4]):
                return at - 1
            at = data.find(b"\x03\x03", at + 1)
        return -1
