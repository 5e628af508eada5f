"""A promoted direction as one int64 row: reassembly, socket buffer, session, what it is being served, and its counts.

Names are those of the plain attributes (host/reassembly.py, sockbuf.py, worker.py). Bytes are in two lists of extents
(offload/compiled/arena.py), each with head and tail in adjacent columns: `held` out of order, disjoint and sorted by
stream position, and `chain` in order, waiting to be whole records. A third, `pending`, is what the NIC handed up and
the host has not taken in yet; its extents come in groups of one Extent.POINT.
"""

from __future__ import annotations

from typing import NamedTuple

from rxtls.native import Columns, Row, Table


class Own(Columns):
    """A promoted direction."""

    NEXT_SEQ = 0  # TCP sequence number of the position `next`
    NEXT = 1
    ACKED = 2
    ADVERTISED = 3
    WINDOW = 4
    TIME = 5
    ADVANCED = 6  # 0 or 1
    WAITING_SINCE = 7
    HOLD = 8
    HELD_HEAD = 9
    HELD_TAIL = 10
    HELD_COUNT = 11  # extents
    HELD_BYTES = 12

    # Socket buffer: acc and tlsdcc are 0 between records.
    CHAIN_HEAD = 13
    CHAIN_TAIL = 14
    TLSCC = 15
    END_SEQ = 16
    LEAF = 17
    NEW_LEAF = 18  # the LeafChanged of this call, -1 none

    # Session.
    KEYS = 19  # slot in the key table
    NUMBER = 20  # the ordinal is less by a constant
    RESYNC = 21  # 0 or 1
    FIRST_EPOCH = 22  # marks from here on, to LAST_EPOCH and including it, are of the present keys and numbers
    LAST_EPOCH = 23
    SLIPS = 24  # 1: the device was told wrong numbers, so that a mixed record needs more than one trial
    LAST_LENGTH = 25  # of the last record
    EXPLICIT = 26  # its explicit nonce as int64 has it
    UNJUDGED = 27  # 0 or 1
    DUE = 28  # 0 or 1: the hole at `next` is to be passed
    RECOVERING = 29  # 0 or 1: Direction.recovery, which has
    SEARCHED = 30  # the chain when it was so many bytes long
    FOUND = 31  # at a hole that is due: offset behind it of the record that was tried and is the next one, -1 none,
    FOUND_LENGTH = 32  # and its length
    HELD_PACKETS = 33
    TOLD = 34  # of the memory that is held, what stands in the account

    # What is being served.
    FLOW = 35
    PENDING = 36  # head
    PHASE = 37  # of the group at POINT: IDLE, INPUT, WORK below
    POINT = 38
    LISTENING = 39  # which of the bits below somebody has to hear of at once, if nothing else comes up

    # Counts since the last fold.
    DUPLICATE = 40  # bytes
    OUT_OF_WINDOW = 41
    RECRYPTED = 42
    APP_BYTES = 43
    DECRYPTS = 44
    RECRYPTS = 45
    RECORDS = 46  # by the five classes of columns.py
    BYTES = 51  # likewise
    COMPOSITIONS = 56  # by composition code, those below MOST_COMPOSITIONS
    MOST_COMPOSITIONS = 32
    COLUMNS = COMPOSITIONS + MOST_COMPOSITIONS


IDLE, INPUT, WORK = range(3)

# What `serve` ends with.
DONE = 0  # everything handed in was taken
RECORD = 1  # right after a record that is not application data: its reader may have something to say
LEAVE = 2  # what comes next is for the plain host
GROW = 3  # a table is short
HOLE = 4  # all before the hole that is due has been read: it is to be passed
STATUS = 7  # the three bits of these

# And what else it says, in bits above.
SERVED = 8  # always
DELIVERED = 16  # there are records
REPORTS = 32  # some of them are reported
LONG = 64  # of their compositions some are not counted in COMPOSITIONS
LEAF_CHANGED = 128
SHIFT = 8  # above these bits: how many rows of the records table are filled


class HostTables(NamedTuple):
    """What all promoted directions share: the records that they delivered, by Delivered, and the desk, by Desk."""

    records: Table
    desk: Row


class Desk(Columns):
    """What all promoted directions share."""

    FILLED = 0  # rows of the records table
    JOINS = 1  # the chunk that plaintext is joined in, -1 none
    SCRATCH = 2  # address of SCRATCH_LENGTH bytes: a record header, an AEAD tag, a record
    SAID = 3  # the bits above, so far
    ACCOUNT = 4  # memory of all that is held out of order, by the plain host too
    COLUMNS = 5


HEADER_AT = 0
AEAD_TAG_AT = 16
RECORD_AT = 32
SCRATCH_LENGTH = RECORD_AT + 5 + (1 << 16)

# Bounds of what is usual. Beyond, the plain host goes on, slowly.
MOST_HELD = 2048  # extents held before another one is taken in: the list is walked from its head
FAR = 1 << 30  # bytes ahead of `next`: nearer than where sequence numbers become ambiguous
MOST_NUMBER = 1 << 62
