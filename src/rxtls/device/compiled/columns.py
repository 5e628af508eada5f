"""The NIC's tables, as int64 columns: connections, their lanes, contexts, commands, events, and the turns of a batch.

A connection's slot n has the lanes 2n and 2n + 1, one for each of its receive flows. Rows that are free, or that
belong to a list, are chained by a column; -1 ends a chain and stands for none everywhere.
"""

from __future__ import annotations

from typing import NamedTuple

from rxtls.native import Columns, Row, Table, number_of


class Walk(Columns):
    """The control row: where the walk stands, and the heads of chains."""

    AT = 0  # receive: the next row; resume: the next of the stopped connections
    COUNT = 1  # how many of them there are
    DUE = 2  # host points found by this call: filled of the turns' DUE_FLOW and DUE_AT
    SERVED_AT_ONCE = 3  # how many of those stopped their connection; the rest were skipped
    STOPPED = 4  # connections that stay stopped: filled of the turns' STOPPED_SLOT
    SKIPPED = 5  # lanes that skipped host points in this call: filled of the turns' SKIPPED_LANE
    NEEDED = 6  # payload bytes of the row that there was no room for
    EVENTS = 7  # events not yet taken
    FREE_CONNECTION = 8
    FREE_COMMAND = 9
    DEAD_CONTEXT = 10  # contexts that ended in a kernel, and whose keys are still to be released
    CONTEXTS = 11  # address of the contexts table
    BLOCK = 12  # address of a block for packets that no chunk can hold
    BLOCK_SIZE = 13
    LRO_LIMIT = 14
    SEARCH_AFTER = 15  # the profile's numbers
    AUTH_FAILURES = 16
    GUESSES = 17  # 1: this NIC volunteers them
    WATCHED = 18  # 1: each row's mark and state are noted in the turns
    RESUMING = 19  # 1: the walk is over what was parked; 2: no walk, the host is served ahead (path/nic_and_host.py)
    COLUMNS = 20


class NicTables(NamedTuple):
    """What kernels take of a NIC, each by the columns that stand beside it."""

    control: Row  # Walk
    connections: Table  # Slot
    buckets: Row  # of connection ids, a power of two: slots, -1 none
    lanes: Table  # Lane
    contexts: Table  # Context
    commands: Table  # Waiting
    events: Table  # Entry
    turns: Table  # Turn


class Payload(NamedTuple):
    """The payload of a packet that the NIC takes in: its place in TCP, its address, its length, and whose it is."""

    seq: int
    source: int
    length: int
    frame: int
    time: int


class Slot(Columns):
    """A connection. Found by the id: `buckets`, then chained."""

    ID = 0  # -1 free
    NEXT_CONNECTION = 1  # in its bucket, or free
    STOPPED_AT = 2  # the row of the host point at which it is stopped
    FIRST_PARKED = 3
    LAST_PARKED = 4
    FORGOTTEN = 5  # 1: nothing came since `forget`; freed when it is no longer stopped
    COLUMNS = 8


class Lane(Columns):
    """A lane: what the NIC keeps per receive flow; its number is twice its connection's slot, and one more for side 1.

    What every packet needs comes first.
    """

    CLOCK = 0  # of the last row, and below its capture time
    CLOCK_TIME = 1
    BUDGET = 2
    CONTEXT = 3
    FIRST_COMMAND = 4
    CHUNK = 5  # that it writes to, and holds
    RUN = 6  # the open LRO run's extent
    HEAD = 7  # extents since the last host point
    TAIL = 8
    QUIET = 9  # 0 stop at every host point, 1 skip it while clean, 2 skip it
    DIRTY = 10  # 1: something came since the last serving, or waits at the host, that the host may act on
    SKIPPED_AT = 11  # row of the last host point skipped, until the lane is served
    CLOSED_HEAD = 12  # extents up to the last host point
    CLOSED_TAIL = 13
    LISTED = 14  # 1: stands among the turns' SKIPPED_LANE
    OUTGROWN = 15  # 1: its next chunk is a LARGE one
    SPARE = 16  # the chunk that it goes over to within a packet
    LAST_COMMAND = 17
    PENDING = 18  # commands
    NEWS = 19  # 1: since the last serving something happened that was logged or answered
    HOST = 20  # address of the row by which a compiled host serves it, 0 none: read by who puts the two together
    COLUMNS = 24


class Context(Columns):
    """A context: device/context.py's fields, and what the engine needs of the keys. -1: there is none."""

    STATE = 0  # index in tracker.STATES
    EXPECTED = 1
    LEFT = 2  # above 0 only while a record is open
    KEY = 3  # slot in the key table
    EPOCH = 4
    LEAF = 5
    IN_ORDER = 6
    OPEN = 7  # 1: header absorbed, the AEAD has begun
    NEXT_HEADER = 8
    NUMBER = 9  # 64 bits as int64 has them
    RECORD_START = 10
    MARKED_TO = 11  # -1 none
    AEAD_TAG_HAVE = 12  # bytes of the AEAD tag kept
    HEADER_HAVE = 13  # bytes of the header kept; 0 while it came whole
    CONTENT_TYPE = 14  # of the record: TLS 1.2 its header's, TLS 1.3 the inner one once its plaintext is whole
    ODD = 15  # 1: since the last serving a record ended that is not application data
    HEADER_LENGTH = 16  # header_length, and so on: as in Keys
    AEAD_TAG_LENGTH = 17
    MIN_TOTAL = 18
    MAX_TOTAL = 19
    FIRST_TYPE = 20
    LAST_TYPE = 21
    TLS13 = 22
    ANCHOR = 23
    FAILURES = 24
    LOST = 25
    FLOW = 26
    NEXT_CONTEXT = 27  # dead
    HEADER = 28  # 16 bytes: what has come of a header that is split over packets
    AEAD_TAG = 30  # 16 bytes likewise
    COLUMNS = 32


as_lane = number_of(Lane)
as_context = number_of(Context)


class Waiting(Columns):
    """A command that waits in a lane for its time."""

    KIND = 0  # INSTALL and so on
    DUE_CLOCK = 1
    DUE_TIME = 2
    EPOCH = 3
    SN = 4  # tcp_sn
    NUMBER = 5
    CONTEXT = 6  # the context that an INSTALL puts in place
    NEXT_COMMAND = 7
    COLUMNS = 8


INSTALL, QUERY, CONFIRM, SET_POSITION = range(4)


class Entry(Columns):
    """Something for the log or an answer. HAPPENING counts Happening in its order; then PROGRESS and GUESS."""

    FLOW = 0
    HAPPENING = 1
    FIRST_VALUE = 2  # the value object's fields, as many as it has
    COLUMNS = 8


class Turn(Columns):
    """The turns of a batch, as long as the batch: by row, and lists that begin at row 0."""

    NEXT_PARKED = 0  # by row: the row that is parked behind it
    STOPPED_SLOT = 1
    SKIPPED_LANE = 2
    DUE_FLOW = 3
    DUE_AT = 4
    DUE_SAID = 5  # what the host said that has served it already, -1: none has
    DUE_FIRST = 6  # how many records there were before that
    MARK = 7  # by row, where WATCHED: the mark it got, and the context's state after it (driver/trace.py)
    STATE = 8
    COLUMNS = 9
