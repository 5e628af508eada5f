"""What host and NIC tell each other, as values. A stage never calls backwards: it returns one of these.

    host -> NIC   Install, Query, Confirm, SetPosition     (each acts after its latency; release is at once)
    NIC -> host   Progress (the answer to a Query), Guess (with a packet, on NICs that volunteer), DeviceEvent (a log)
    worker -> policy   Report (one per record not fully decrypted; length 0 = sync is back), Standing (at a host point)

All TCP sequence numbers are 32 bits; record numbers are 64 bits. Names follow FreeBSD's mlx5 receive tag and D32356.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import NamedTuple

from rxtls.crypto.keys import Keys


class Tracker(IntEnum):
    """Record tracker of the device (mlx5: record_tracker_state). The numbers are the hardware's."""

    START = 0
    TRACKING = 1
    SEARCHING = 2


class Auth(IntEnum):
    """Authentication state of the device (mlx5: auth_state). The numbers are the hardware's."""

    NO_OFFLOAD = 0  # packets pass as on the wire
    OFFLOAD = 1  # decrypting, and at least one AEAD tag has verified since it (re)started
    AUTHENTICATION = 2  # bound to a record number, no AEAD tag verified yet


class Install(NamedTuple):
    """Put a receive tag for this flow on the device: static and progress parameters, then the flow rule."""

    epoch: int
    leaf: int
    keys: Keys
    number: int  # record number of the record whose header starts at tcp_sn
    tcp_sn: int


class Query(NamedTuple):
    """Ask for a progress snapshot (mlx5: GET_PSV)."""

    epoch: int


class Confirm(NamedTuple):
    """Static parameters: the record at `tcp_sn` has this number. Holds only if the device's anchor still is tcp_sn."""

    epoch: int
    tcp_sn: int
    number: int


class SetPosition(NamedTuple):
    """A record header with this number will stand at `tcp_sn`, which lies ahead (Linux: next-record hint)."""

    epoch: int
    tcp_sn: int
    number: int


Command = Query | Confirm | SetPosition


class Progress(NamedTuple):
    """The device's answer to a Query, taken when the query was due."""

    epoch: int
    next_record_tcp_sn: int
    hw_resync_tcp_sn: int
    tracker: Tracker
    auth: Auth
    hw_offset_record_number: int  # records walked since hw_resync_tcp_sn, 24 bits


class Guess(NamedTuple):
    """The device began tracking at this header while out of sync, and says so with the packet (mlx5 completion 2)."""

    epoch: int
    tcp_sn: int
    packet_sn: int
    packet_length: int


class Report(NamedTuple):
    """The worker's report of one record (FreeBSD ktls_resync_ifnet): where its header stood, its size, its number.

    `length` 0 says that records arrive fully decrypted again. `mixed`: a part of it was decrypted.
    """

    tcp_sn: int
    length: int
    number: int
    mixed: bool = False


class Standing(NamedTuple):
    """Which record headers the host knows when a host point is over, by the lengths in those that are here.

        socket buffer, in order      hole     held out of order
        |hdr|=========......|        ....     |====|hdr|====|hdr|==........        |hdr|
         places[0]                                  places[1] places[2]             places[3]: not here yet
        <-- waiting -------->                                            top

    `places` are (TCP sequence number, record number), first that of the first record that is not whole; the first
    `in_order` of them are on the socket buffer (one at most, as the worker has been), the last one has not come.
    `top` is the end of all that was received.
    """

    places: tuple[tuple[int, int], ...]
    in_order: int
    waiting: int
    top: int

    @property
    def next(self) -> tuple[int, int]:
        """The first header that is not on the socket buffer."""
        return self.places[self.in_order]


class Happening(StrEnum):
    """What the device logs about a flow."""

    INSTALLED = "installed"
    LOST = "lost"  # left in-sync: the next header cannot be found any more
    ANCHORED = "anchored"  # took a plausible header as the place to track from
    FALSE_ANCHOR = "false_anchor"  # no plausible header stood where the anchor's chain predicted one
    CONFIRMED = "confirmed"
    STALE_CONFIRM = "stale_confirm"  # a confirm for an anchor that the device no longer holds
    RESUMED = "resumed"  # absorbed a header again
    AUTH_FAILED = "auth_failed"
    STOPPED = "stopped"  # too many authentication failures in a row, or no record numbers left


class DeviceEvent(NamedTuple):
    """One line of the device's log: `tcp_sn` is the header or byte it is about."""

    happening: Happening
    frame: int
    time_ns: int
    tcp_sn: int
