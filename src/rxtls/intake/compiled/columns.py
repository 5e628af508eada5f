"""The tables of the compiled steer stage: flows, their links, capture clocks, sights, events, and one control row.

All are C-contiguous int64. Kernels know a row by the address of its first column (native.get and put). What a
Connection object must know leaves the kernel as rows of `events`, which Python reads after the call.

    flow    | its tuple, time, home, connection | handshake, links | side a's | side b's |
              every packet reads the first 128 bytes ...             ... and of each side the first 128

A side is flows.Direction and evidence.Host together, of what endpoint a or b sends.
"""

from __future__ import annotations

from rxtls.wire.compiled.rows import FATE_NAMES

WORD = 8  # bytes

# Columns of a flow.
FLOW_A_HIGH = 0  # addresses as two words, as in a packet's row
FLOW_A_LOW = 1
FLOW_B_HIGH = 2
FLOW_B_LOW = 3
FLOW_PORTS = 4  # family << 32 | a's port << 16 | b's port
FLOW_TIME = 5  # of the latest accepted packet
FLOW_INTERFACE = 6  # that packet's capture interface, by whose clock the time is
FLOW_CONNECTION = 7  # -1: pending, or the row is free
FLOW_HOME_LEAF = 8  # mirror.Home: leaf, and the rest of the place as in SIGHT_PLACE
FLOW_HOME_REST = 9
FLOW_SINGLE = 10
FLOW_HOME = 11  # the home's number
FLOW_END_FRAME = 12
FLOW_STAGE = 13  # how far the timing of the handshake has come
FLOW_MSS = 14  # the MSS that binds both sides, or what it is taken to be
FLOW_LEAF = 15  # leaves that the Connection knows of, the latest ones; -1 none
FLOW_LEAVES = 4  # so many columns
FLOW_STATE = 19  # the bits below
FLOW_RESEGMENTED = 20
FLOW_STARTER = 21  # side of the SYN's sender
FLOW_AWAITED = 22  # sequence number of the SYN or SYN-ACK that waits for an answer
FLOW_SYN_TIME = 23
FLOW_SYN_ACK_TIME = 24
FLOW_ROUND_TRIP = 25  # unsigned, once the stage is DONE
FLOW_WRONG = 26  # frames that were taken in spite of a wrong checksum
FLOW_NETWORKS = 27  # that it is known to come by, the latest ones; -1 none
FLOW_NETWORK_IDS = 4  # so many columns
FLOW_SIDES = 32  # where the sides begin

# Columns of a side. Sequence numbers are -1 while unknown.
SIDE_CLOCK = 0
SIDE_ACKED = 1
SIDE_EDGE = 2
SIDE_FIN_END = 3
SIDE_FIRST = 4
SIDE_HEARD = 5
SIDE_MARKS = 6  # evidence.Host.marks in the low byte, above it how many checksums in a row were wrong; UNBELIEVED
SIDE_NEXT = 7
SIDE_SAMPLE = 8
SIDE_SAMPLE_TIME = 9
SIDE_WINDOW = 10
SIDE_HOLE = 11
SIDE_DUP_ACKS = 12
SIDE_HOST_MSS = 13  # evidence.Host.mss: -1 none
SIDE_SCALE = 14
SIDE_ISN = 15
SIDE_MSS = 16  # flows.Direction.mss: 0 none
SIDE_HOLE_END = 17
SIDE_HOLE_TIME = 18
SIDE_BLIND = 19
SIDE_LATE = 20
SIDE_LOST_BEFORE = 21
SIDE_LATE_LOSS = 22
SIDE_REACTION = 23  # unsigned; -1 none
SIDE_COLUMNS = 24

FLOW_COLUMNS = FLOW_SIDES + 2 * SIDE_COLUMNS

# Columns of a flow's links, a table of its own: who goes through a list need not load what flows are.
LINK_CHAIN = 0  # next flow in the bucket; next free row
LINK_HASH = 1
LINK_OLDER = 2  # neighbours in order of use, of all flows
LINK_NEWER = 3
LINK_OLDER_HERE = 4  # ... and of those of one interface
LINK_NEWER_HERE = 5
LINK_COLUMNS = 8

# Bits of FLOW_STATE.
OVER = 1  # its END rows have been made
GUESSED = 2  # which endpoint is a was guessed
RST_NOTED = 4  # the Connection knows of a RST
SYN_NOTED = 8  # ... of a SYN of side 0, and shifted by one: of side 1

UNBELIEVED = 1 << 62  # in SIDE_MARKS: evidence.Host.unbelieved

# Columns of a clock: one row for each capture interface.
CLOCK_LAST = 0  # time of its last frame; LATEST before the first
CLOCK_NOW = 1  # the earlier of its last two
CLOCK_SWEEP_AT = 2
CLOCK_DEVICE = 3  # the device that the interface is, -1 not asked yet
CLOCK_OLDEST = 4  # ends of the order of use of its flows, -1 none
CLOCK_NEWEST = 5
CLOCK_COLUMNS = 6

# Columns of a sight: one row for each of the latest mirror.BOUND accepted packets, and one to compare with.
SIGHT_NUMBERS = 0  # seq << 32 | ack
SIGHT_PORTS = 1  # sport << 48 | dport << 32 | window << 16 | checksum as sent
SIGHT_LENGTH = 2  # captured length << 32 | IP identification << 16 | sum
SIGHT_HOME = 3  # home << 16 | length of the options << 9 | flags
SIGHT_TIME = 4
SIGHT_LEAF = 5
SIGHT_PLACE = 6  # tunnels.path << 36 | VLAN depth << 16 | link type
SIGHT_BEFORE = 7  # the sight before in its bucket, by number; -1 none
SIGHT_COLUMNS = 8

# Columns of an event.
EVENT_KIND = 0
EVENT_CONNECTION = 1
EVENT_COLUMNS = 6
OPENED = 0  # row of its frame, side that sent it, GUESSED or 0, leaf
LEAF_SEEN = 1  # leaf
SYN_SEEN = 2  # side, TCP flags
RST_SEEN = 3
ENDED = 4  # place of its end in flows.ENDS, verdict.judged, last frame, `told`
GONE = 5  # nobody will hear of it again: last frame, `told`
# told: frames that were taken with a wrong checksum << 32 | frames that were cut into segments

# The control row: what is set once ...
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
# ... while a call runs, addresses: of the next row and the next event, and the first of which there may be too few; of
# the tables ...
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
CONTROL_COLUMNS = REFUSED_BYTES + len(FATE_NAMES)

SAID = 4
AUTO, OFF = -1, 0

# Why the kernel stopped.
ALL_TAKEN, NEED_ROOM, NEED_FLOWS, NEED_INTERFACE = range(4)

EARLIEST = -(1 << 63)
LATEST = (1 << 63) - 1
