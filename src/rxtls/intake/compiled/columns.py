"""The tables of the compiled steer stage: flows, their links, capture clocks, sights, events, and one control row.

All are C-contiguous int64. Kernels know a row by the address of its first column (native.get and put). What a
Connection object must know leaves the kernel as rows of `events`, which Python reads after the call.

    flow    | its tuple, time, home, connection | handshake, links | side a's | side b's |
              every packet reads the first 128 bytes ...             ... and of each side the first 128

A side is flows.Direction and evidence.Host together, of what endpoint a or b sends.
"""

from __future__ import annotations

from rxtls.native import Columns
from rxtls.wire.compiled.rows import FATE_NAMES

WORD = 8  # bytes


class FlowRow(Columns):
    """A flow."""

    A_HIGH = 0  # addresses as two words, as in a packet's row
    A_LOW = 1
    B_HIGH = 2
    B_LOW = 3
    PORTS = 4  # family << 32 | a's port << 16 | b's port
    TIME = 5  # of the latest accepted packet
    INTERFACE = 6  # that packet's capture interface, by whose clock the time is
    CONNECTION = 7  # -1: pending, or the row is free
    HOME_LEAF = 8  # mirror.Home: leaf, and the rest of the place as in SightRow.PLACE
    HOME_REST = 9
    SINGLE = 10
    HOME = 11  # the home's number
    END_FRAME = 12
    STAGE = 13  # how far the timing of the handshake has come
    MSS = 14  # the MSS that binds both sides, or what it is taken to be
    LEAF = 15  # leaves that the Connection knows of, the latest ones; -1 none
    LEAVES = 4  # so many columns
    STATE = 19  # the bits below
    RESEGMENTED = 20
    STARTER = 21  # side of the SYN's sender
    AWAITED = 22  # sequence number of the SYN or SYN-ACK that waits for an answer
    SYN_TIME = 23
    SYN_ACK_TIME = 24
    ROUND_TRIP = 25  # unsigned, once the stage is DONE
    WRONG = 26  # frames that were taken in spite of a wrong checksum
    NETWORKS = 27  # that it is known to come by, the latest ones; -1 none
    NETWORK_IDS = 4  # so many columns
    SIDES = 32  # where the sides begin


class SideRow(Columns):
    """A side of a flow. Sequence numbers are -1 while unknown."""

    CLOCK = 0
    ACKED = 1
    EDGE = 2
    FIN_END = 3
    FIRST = 4
    HEARD = 5
    MARKS = 6  # evidence.Host.marks in the low byte, above it how many checksums in a row were wrong; UNBELIEVED
    NEXT = 7
    SAMPLE = 8
    SAMPLE_TIME = 9
    WINDOW = 10
    HOLE = 11
    DUP_ACKS = 12
    HOST_MSS = 13  # evidence.Host.mss: -1 none
    SCALE = 14
    ISN = 15
    MSS = 16  # flows.Direction.mss: 0 none
    HOLE_END = 17
    HOLE_TIME = 18
    BLIND = 19
    LATE = 20
    LOST_BEFORE = 21
    LATE_LOSS = 22
    REACTION = 23  # unsigned; -1 none
    COLUMNS = 24


FLOW_COLUMNS = FlowRow.SIDES + 2 * SideRow.COLUMNS


class LinkRow(Columns):
    """A flow's links, a table of its own: who goes through a list need not load what flows are."""

    CHAIN = 0  # next flow in the bucket; next free row
    HASH = 1
    OLDER = 2  # neighbours in order of use, of all flows
    NEWER = 3
    OLDER_HERE = 4  # ... and of those of one interface
    NEWER_HERE = 5
    COLUMNS = 8


# Bits of FlowRow.STATE.
OVER = 1  # its END rows have been made
GUESSED = 2  # which endpoint is a was guessed
RST_NOTED = 4  # the Connection knows of a RST
SYN_NOTED = 8  # ... of a SYN of side 0, and shifted by one: of side 1

UNBELIEVED = 1 << 62  # in SideRow.MARKS: evidence.Host.unbelieved


class ClockRow(Columns):
    """A clock: one for each capture interface."""

    LAST = 0  # time of its last frame; LATEST before the first
    NOW = 1  # the earlier of its last two
    SWEEP_AT = 2
    DEVICE = 3  # the device that the interface is, -1 not asked yet
    OLDEST = 4  # ends of the order of use of its flows, -1 none
    NEWEST = 5
    COLUMNS = 6


class SightRow(Columns):
    """A sight: one for each of the latest mirror.BOUND accepted packets, and one to compare with."""

    NUMBERS = 0  # seq << 32 | ack
    PORTS = 1  # sport << 48 | dport << 32 | window << 16 | checksum as sent
    LENGTH = 2  # captured length << 32 | IP identification << 16 | sum
    HOME = 3  # home << 16 | length of the options << 9 | flags
    TIME = 4
    LEAF = 5
    PLACE = 6  # tunnels.path << 36 | VLAN depth << 16 | link type
    BEFORE = 7  # the sight before in its bucket, by number; -1 none
    COLUMNS = 8


class EventRow(Columns):
    """An event: its kind, its connection, and what belongs to the kind."""

    KIND = 0
    CONNECTION = 1
    COLUMNS = 6


OPENED = 0  # row of its frame, side that sent it, GUESSED or 0, leaf
LEAF_SEEN = 1  # leaf
SYN_SEEN = 2  # side, TCP flags
RST_SEEN = 3
ENDED = 4  # place of its end in flows.ENDS, verdict.judged, last frame, `told`
GONE = 5  # nobody will hear of it again: last frame, `told`
# told: frames that were taken with a wrong checksum << 32 | frames that were cut into segments


class Steering(Columns):
    """The control row: first what is set once."""

    IDLE = 0  # ns, unsigned
    MAX_FLOWS = 1
    POLICY = 2  # place in ChecksumPolicy
    FORCED = 3  # vantage: 0 auto, or SAID and bit n when the tap is said to be at side n
    RESEGMENT = 4  # bytes; AUTO or OFF
    SECRETS = 5  # four odd numbers: which tuples share a bucket depends on them
    # ... what the kernels keep; flows by number ...
    LIVE = 9  # flows in the table
    FREE = 10  # first free row, -1 none
    OLDEST = 11  # ends of the order of use
    NEWEST = 12
    CONNECTIONS = 13  # how many there were so far
    HOMES = 14
    SIGHTS = 15
    INDEXED = 16  # 1 once sights are in buckets
    MOST_LIVE = 17  # flows in the table at once, so far
    TUNNELLED = 18  # 1 once a packet with a network was seen
    # ... while a call runs, addresses: of the next row and the next event, and the first of which there may be too few;
    # of the tables ...
    ROW = 19
    EVENT = 20
    ROWS_FULL = 21
    EVENTS_FULL = 22
    FLOWS_AT = 23
    LINKS_AT = 24
    BUCKETS_AT = 25
    BUCKETS_MASK = 26
    CLOCKS_AT = 27
    CLOCKS_COUNT = 28
    SIGHTS_AT = 29
    CHAINS_AT = 30
    # ... and where it stands.
    NEXT = 31  # first frame not taken
    ROWS = 32  # of the batch, that have been filled
    EVENTS = 33  # likewise
    BYTES = 34
    OTHERS = 35  # frames that are counted elsewhere: wire.compiled.columns.FOREIGN
    FATES = 36  # so many frames of each of FATE_NAMES
    REFUSED_BYTES = FATES + len(FATE_NAMES)  # so many bytes of payload in frames of each of them that enter no flow
    COLUMNS = REFUSED_BYTES + len(FATE_NAMES)


SAID = 4
AUTO, OFF = -1, 0

# Why the kernel stopped.
ALL_TAKEN, NEED_ROOM, NEED_FLOWS, NEED_INTERFACE = range(4)

EARLIEST = -(1 << 63)
LATEST = (1 << 63) - 1
