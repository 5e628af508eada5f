"""The kTLS worker over extents: the kernel's twin of Session.step in host/worker.py, one row per record.

What cannot be judged by the marks of the present epochs is left, untouched, to the plain worker.
"""

from __future__ import annotations

from rxtls.crypto.compiled.evp import (
    AEAD_TAG_LENGTH,
    HEADER_LENGTH,
    MAX_TOTAL,
    MIN_TOTAL,
    TLS13,
    inner_end,
)
from rxtls.host.compiled import columns as record
from rxtls.host.compiled.opening import address, gather, open_chain, room_to_join
from rxtls.host.compiled.state import (
    APP_BYTES,
    BYTES,
    CHAIN_HEAD,
    CHAIN_TAIL,
    COMPOSITIONS,
    DECRYPTS,
    DELIVERED,
    DONE,
    END_SEQ,
    EXPLICIT,
    FILLED,
    FIRST_EPOCH,
    FLOW,
    GROW,
    HEADER_AT,
    JOINS,
    KEYS,
    LAST_EPOCH,
    LAST_LENGTH,
    LEAVE,
    LONG,
    MOST_COMPOSITIONS,
    MOST_NUMBER,
    NUMBER,
    POINT,
    RECORD,
    RECORDS,
    RECRYPTED,
    RECRYPTS,
    REPORTS,
    RESYNC,
    SAID,
    SCRATCH,
    SLIPS,
    TLSCC,
    UNJUDGED,
)
from rxtls.host.worker import APPLICATION_DATA
from rxtls.native import Grid, Row, Table, inlined, load8, load16, load64
from rxtls.offload.compiled.arena import (
    ADDRESS,
    EXTENT_AT,
    EXTENT_CHUNK,
    EXTENT_LENGTH,
    EXTENT_MARK,
    EXTENT_NEXT,
    EXTENT_SEQ,
    FRAME,
    TIME,
    USED,
    arrival_at,
    free_extent_inner,
    hold_chunk,
)
from rxtls.seq import MASK

_VERSION = 0x0303  # in the headers of TLS 1.2 and 1.3: suites of earlier versions do not stream
_TAKEN = -1  # one record more


@inlined
def work(
    control: Row, chunks: Table, arrivals: Grid, extents: Table, keys: Table, records: Table, own: Row, desk: Row
) -> int:
    """Take records off the chain: DONE when there is no whole one, or RECORD, LEAVE, GROW."""
    while True:
        status = _step(control, chunks, arrivals, extents, keys, records, own, desk)
        if status != _TAKEN:
            return status


@inlined
def _step(
    control: Row, chunks: Table, arrivals: Grid, extents: Table, keys: Table, records: Table, own: Row, desk: Row
) -> int:
    """Session.step: the next record's row."""
    slot = own[KEYS]
    start = keys[slot, HEADER_LENGTH]
    if own[TLSCC] < start:
        return DONE
    head = own[CHAIN_HEAD]
    header = address(chunks, extents, head)
    if extents[head, EXTENT_LENGTH] < start:
        header = desk[SCRATCH] + HEADER_AT
        gather(chunks, extents, head, 0, start, header)
    total = 5 + load16(header + 3)
    if _refused(keys, slot, header, total):
        return LEAVE
    if own[TLSCC] < total:
        return DONE
    if own[NUMBER] >= MOST_NUMBER:
        return LEAVE
    here = desk[FILLED]
    if here == len(records):
        return GROW
    state, in_one = _survey(chunks, arrivals, extents, keys, records, own, here, total)
    if state < 0:
        return LEAVE
    good = total >= keys[slot, MIN_TOTAL]
    counted = good and state != record.DECRYPTED
    mixed = good and state == record.MIXED
    if good and not in_one and not room_to_join(control, chunks, desk, total):
        return GROW

    # From here on the record is taken.
    size = total - keys[slot, AEAD_TAG_LENGTH] - start
    chunk, at, record_type = -1, 0, 0
    if good:
        chunk, at = extents[head, EXTENT_CHUNK], extents[head, EXTENT_AT] + start
        if not in_one:
            chunk = desk[JOINS]
            at = chunks[chunk, USED]
        to = chunks[chunk, ADDRESS] + at
        good = open_chain(chunks, extents, keys, own, desk, state, in_one, header, total, to)
        record_type = load8(header)
        if good and keys[slot, TLS13]:
            size = inner_end(to, size)
            good = size >= 0  # all zeros: there is no content type
            record_type = load8(to + size) if good else 0
    if good:
        hold_chunk(chunks, chunk)
        if not in_one:
            chunks[chunk, USED] += size
        _report(records, own, desk, here, state)
        if own[UNJUDGED] != 0:
            if state == record.DECRYPTED:
                own[UNJUDGED] = 0
            else:
                state = record.UNJUDGED
                records[here, record.COMPOSITION] = records[here, record.RECRYPTED] = 0
    else:
        state, chunk, at, size, record_type = record.FAILED, -1, 0, 0, 0
        records[here, record.REPORT] = record.NOTHING

    records[here, record.FLOW] = own[FLOW]
    records[here, record.TYPE] = record_type
    records[here, record.NUMBER] = own[NUMBER]
    records[here, record.CLASS] = state
    records[here, record.TCP_SEQ] = (own[END_SEQ] - own[TLSCC]) & MASK
    records[here, record.WIRE_LENGTH] = total
    records[here, record.CHUNK] = chunk
    records[here, record.AT] = at
    records[here, record.LENGTH] = size
    records[here, record.POINT] = own[POINT]
    desk[FILLED] = here + 1
    desk[SAID] |= DELIVERED
    own[DECRYPTS] += counted
    own[RECRYPTS] += mixed
    own[NUMBER] += 1
    own[LAST_LENGTH] = total
    own[EXPLICIT] = load64(header + 5) if start == 13 else 0
    own[TLSCC] -= total
    detach(control, chunks, extents, own, total)
    _count(records, own, desk, here)
    return RECORD if good and record_type != APPLICATION_DATA else _TAKEN


@inlined
def _refused(keys: Table, slot: int, header: int, total: int) -> bool:
    """Session._refuse: a header that cannot be right, which is fatal."""
    return (
        load16(header + 1) != _VERSION
        or (keys[slot, TLS13] != 0 and load8(header) != APPLICATION_DATA)
        or total < keys[slot, HEADER_LENGTH]
        or total > keys[slot, MAX_TOTAL]
    )


@inlined
def _survey(
    chunks: Table, arrivals: Grid, extents: Table, keys: Table, records: Table, own: Row, here: int, total: int
) -> tuple[int, bool]:
    """What the record's bytes are: (class, whether they are one stretch of one chunk). Class -1: not for us."""
    start = keys[own[KEYS], HEADER_LENGTH]
    end = total - keys[own[KEYS], AEAD_TAG_LENGTH]
    node = own[CHAIN_HEAD]
    chunk, place = extents[node, EXTENT_CHUNK], extents[node, EXTENT_AT]
    first = extents[node, EXTENT_MARK]
    in_one, alike = True, True
    stretches, decrypted, marked = 0, -1, 0
    frame, time = -1, -1
    at = 0
    while at < total:
        length = min(extents[node, EXTENT_LENGTH], total - at)
        mark = extents[node, EXTENT_MARK]
        if mark != 0:
            if mark < own[FIRST_EPOCH] or mark > own[LAST_EPOCH]:
                return -1, False
            marked += max(0, min(at + length, end) - max(at, start))
        alike = alike and mark == first
        in_one = in_one and extents[node, EXTENT_CHUNK] == chunk and extents[node, EXTENT_AT] == place
        letter = 1 if mark != 0 else 0
        if letter != decrypted:
            stretches += 1
            decrypted = letter
        came = arrival_at(chunks, arrivals, extents[node, EXTENT_CHUNK], extents[node, EXTENT_AT] + length - 1)
        came_frame = arrivals[extents[node, EXTENT_CHUNK], came, FRAME]
        came_time = arrivals[extents[node, EXTENT_CHUNK], came, TIME]
        if came_frame > frame or (came_frame == frame and came_time > time):
            frame, time = came_frame, came_time
        at += length
        place += length
        node = extents[node, EXTENT_NEXT]
    state = record.MIXED
    if alike:
        state = record.DECRYPTED if first != 0 else record.ENCRYPTED
    elif own[SLIPS] != 0:
        return -1, False
    records[here, record.COMPOSITION] = stretches << 1 | (1 if first != 0 else 0)
    records[here, record.RECRYPTED] = 0 if alike else marked
    records[here, record.FRAME] = frame
    records[here, record.TIME] = time
    return state, in_one


@inlined
def detach(control: Row, chunks: Table, extents: Table, own: Row, total: int) -> None:
    """Take `total` bytes off the chain."""
    node, left = own[CHAIN_HEAD], total
    while left > 0 and extents[node, EXTENT_LENGTH] <= left:
        left -= extents[node, EXTENT_LENGTH]
        following = extents[node, EXTENT_NEXT]
        free_extent_inner(control, chunks, extents, node)
        node = following
    if left > 0:
        extents[node, EXTENT_SEQ] = (extents[node, EXTENT_SEQ] + left) & MASK
        extents[node, EXTENT_AT] += left
        extents[node, EXTENT_LENGTH] -= left
    own[CHAIN_HEAD] = node
    if node < 0:
        own[CHAIN_TAIL] = -1


@inlined
def _report(records: Table, own: Row, desk: Row, here: int, state: int) -> None:
    """Session._report, of a record that opened."""
    report = record.NOTHING
    if state != record.DECRYPTED:
        own[RESYNC] = 1
        report = record.REPORTED
    elif own[RESYNC] != 0:
        own[RESYNC] = 0
        report = record.SYNC_BACK
    records[here, record.REPORT] = report
    if report != record.NOTHING:
        desk[SAID] |= REPORTS


@inlined
def _count(records: Table, own: Row, desk: Row, here: int) -> None:
    """Tally.count and the ledger's entries."""
    own[RECORDS + records[here, record.CLASS]] += 1
    own[BYTES + records[here, record.CLASS]] += records[here, record.WIRE_LENGTH]
    own[RECRYPTED] += records[here, record.RECRYPTED]
    if records[here, record.TYPE] == APPLICATION_DATA:
        own[APP_BYTES] += records[here, record.LENGTH]
    composition = records[here, record.COMPOSITION]
    if composition == 0:
        return
    if composition < MOST_COMPOSITIONS:
        own[COMPOSITIONS + composition] += 1
    else:
        desk[SAID] |= LONG
