"""The kTLS worker over extents: the kernel's twin of Session.step in host/worker.py, one row per record.

What cannot be judged by the marks of the present epochs is left, untouched, to the plain worker.
"""

from __future__ import annotations

from rxtls.crypto.compiled.evp import Key, inner_end
from rxtls.host.compiled import columns as record
from rxtls.host.compiled.columns import Delivered
from rxtls.host.compiled.opening import Whole, address, gather, open_chain, room_to_join
from rxtls.host.compiled.state import (
    DELIVERED,
    DONE,
    GROW,
    HEADER_AT,
    LEAVE,
    LONG,
    MOST_NUMBER,
    RECORD,
    REPORTS,
    Desk,
    HostTables,
    Own,
)
from rxtls.host.worker import APPLICATION_DATA
from rxtls.native import Row, Table, inlined, load8, load16, load64
from rxtls.offload.compiled.arena import ArenaTables, Arrived, Chunk, Extent, arrival_at, free_extent_inner, hold_chunk
from rxtls.seq import MASK

_VERSION = 0x0303  # in the headers of TLS 1.2 and 1.3: suites of earlier versions do not stream
_TAKEN = -1  # one record more


@inlined
def work(arena: ArenaTables, keys: Table, host: HostTables, own: Row) -> int:
    """Take records off the chain: DONE when there is no whole one, or RECORD, LEAVE, GROW."""
    while True:
        status = _step(arena, keys, host, own)
        if status != _TAKEN:
            return status


@inlined
def _step(arena: ArenaTables, keys: Table, host: HostTables, own: Row) -> int:
    """Session.step: the next record's row."""
    slot = own[Own.KEYS]
    start = keys[slot, Key.HEADER_LENGTH]
    if own[Own.TLSCC] < start:
        return DONE
    head = own[Own.CHAIN_HEAD]
    header = address(arena.chunks, arena.extents, head)
    if arena.extents[head, Extent.LENGTH] < start:
        header = host.desk[Desk.SCRATCH] + HEADER_AT
        gather(arena.chunks, arena.extents, head, 0, start, header)
    total = 5 + load16(header + 3)
    if _refused(keys, slot, header, total):
        return LEAVE
    if own[Own.TLSCC] < total:
        return DONE
    if own[Own.NUMBER] >= MOST_NUMBER:
        return LEAVE
    here = host.desk[Desk.FILLED]
    if here == len(host.records):
        return GROW
    state, in_one = _survey(arena, keys, host.records, own, here, total)
    if state < 0:
        return LEAVE
    good = total >= keys[slot, Key.MIN_TOTAL]
    counted = good and state != record.DECRYPTED
    mixed = good and state == record.MIXED
    if good and not in_one and not room_to_join(arena.control, arena.chunks, host.desk, total):
        return GROW

    # From here on the record is taken.
    size = total - keys[slot, Key.AEAD_TAG_LENGTH] - start
    chunk, at, record_type = -1, 0, 0
    if good:
        chunk, at = arena.extents[head, Extent.CHUNK], arena.extents[head, Extent.AT] + start
        if not in_one:
            chunk = host.desk[Desk.JOINS]
            at = arena.chunks[chunk, Chunk.USED]
        to = arena.chunks[chunk, Chunk.ADDRESS] + at
        good = open_chain(arena, keys, own, host.desk, state, in_one, Whole(header, total, to))
        record_type = load8(header)
        if good and keys[slot, Key.TLS13]:
            size = inner_end(to, size)
            good = size >= 0  # all zeros: there is no content type
            record_type = load8(to + size) if good else 0
    if good:
        hold_chunk(arena.chunks, chunk)
        if not in_one:
            arena.chunks[chunk, Chunk.USED] += size
        _report(host, own, here, state)
        if own[Own.UNJUDGED] != 0:
            if state == record.DECRYPTED:
                own[Own.UNJUDGED] = 0
            else:
                state = record.UNJUDGED
                host.records[here, Delivered.COMPOSITION] = host.records[here, Delivered.RECRYPTED] = 0
    else:
        state, chunk, at, size, record_type = record.FAILED, -1, 0, 0, 0
        host.records[here, Delivered.REPORT] = record.NOTHING

    host.records[here, Delivered.FLOW] = own[Own.FLOW]
    host.records[here, Delivered.TYPE] = record_type
    host.records[here, Delivered.NUMBER] = own[Own.NUMBER]
    host.records[here, Delivered.CLASS] = state
    host.records[here, Delivered.TCP_SEQ] = (own[Own.END_SEQ] - own[Own.TLSCC]) & MASK
    host.records[here, Delivered.WIRE_LENGTH] = total
    host.records[here, Delivered.CHUNK] = chunk
    host.records[here, Delivered.AT] = at
    host.records[here, Delivered.LENGTH] = size
    host.records[here, Delivered.POINT] = own[Own.POINT]
    host.desk[Desk.FILLED] = here + 1
    host.desk[Desk.SAID] |= DELIVERED
    own[Own.DECRYPTS] += counted
    own[Own.RECRYPTS] += mixed
    own[Own.NUMBER] += 1
    own[Own.LAST_LENGTH] = total
    own[Own.EXPLICIT] = load64(header + 5) if start == 13 else 0
    own[Own.TLSCC] -= total
    detach(arena, own, total)
    _count(host, own, here)
    return RECORD if good and record_type != APPLICATION_DATA else _TAKEN


@inlined
def _refused(keys: Table, slot: int, header: int, total: int) -> bool:
    """Session._refuse: a header that cannot be right, which is fatal."""
    return (
        load16(header + 1) != _VERSION
        or (keys[slot, Key.TLS13] != 0 and load8(header) != APPLICATION_DATA)
        or total < keys[slot, Key.HEADER_LENGTH]
        or total > keys[slot, Key.MAX_TOTAL]
    )


@inlined
def _survey(arena: ArenaTables, keys: Table, records: Table, own: Row, here: int, total: int) -> tuple[int, bool]:
    """What the record's bytes are: (class, whether they are one stretch of one chunk). Class -1: not for us."""
    start = keys[own[Own.KEYS], Key.HEADER_LENGTH]
    end = total - keys[own[Own.KEYS], Key.AEAD_TAG_LENGTH]
    node = own[Own.CHAIN_HEAD]
    chunk, place = arena.extents[node, Extent.CHUNK], arena.extents[node, Extent.AT]
    first = arena.extents[node, Extent.MARK]
    in_one, alike = True, True
    stretches, decrypted, marked = 0, -1, 0
    frame, time = -1, -1
    at = 0
    while at < total:
        length = min(arena.extents[node, Extent.LENGTH], total - at)
        mark = arena.extents[node, Extent.MARK]
        if mark != 0:
            if mark < own[Own.FIRST_EPOCH] or mark > own[Own.LAST_EPOCH]:
                return -1, False
            marked += max(0, min(at + length, end) - max(at, start))
        alike = alike and mark == first
        in_one = in_one and arena.extents[node, Extent.CHUNK] == chunk and arena.extents[node, Extent.AT] == place
        letter = 1 if mark != 0 else 0
        if letter != decrypted:
            stretches += 1
            decrypted = letter
        came = arrival_at(
            arena.chunks, arena.arrivals, arena.extents[node, Extent.CHUNK], arena.extents[node, Extent.AT] + length - 1
        )
        came_frame = arena.arrivals[arena.extents[node, Extent.CHUNK], came, Arrived.FRAME]
        came_time = arena.arrivals[arena.extents[node, Extent.CHUNK], came, Arrived.TIME]
        if came_frame > frame or (came_frame == frame and came_time > time):
            frame, time = came_frame, came_time
        at += length
        place += length
        node = arena.extents[node, Extent.NEXT]
    state = record.MIXED
    if alike:
        state = record.DECRYPTED if first != 0 else record.ENCRYPTED
    elif own[Own.SLIPS] != 0:
        return -1, False
    records[here, Delivered.COMPOSITION] = stretches << 1 | (1 if first != 0 else 0)
    records[here, Delivered.RECRYPTED] = 0 if alike else marked
    records[here, Delivered.FRAME] = frame
    records[here, Delivered.TIME] = time
    return state, in_one


@inlined
def detach(arena: ArenaTables, own: Row, total: int) -> None:
    """Take `total` bytes off the chain."""
    node, left = own[Own.CHAIN_HEAD], total
    while left > 0 and arena.extents[node, Extent.LENGTH] <= left:
        left -= arena.extents[node, Extent.LENGTH]
        following = arena.extents[node, Extent.NEXT]
        free_extent_inner(arena, node)
        node = following
    if left > 0:
        arena.extents[node, Extent.SEQ] = (arena.extents[node, Extent.SEQ] + left) & MASK
        arena.extents[node, Extent.AT] += left
        arena.extents[node, Extent.LENGTH] -= left
    own[Own.CHAIN_HEAD] = node
    if node < 0:
        own[Own.CHAIN_TAIL] = -1


@inlined
def _report(host: HostTables, own: Row, here: int, state: int) -> None:
    """Session._report, of a record that opened."""
    report = record.NOTHING
    if state != record.DECRYPTED:
        own[Own.RESYNC] = 1
        report = record.REPORTED
    elif own[Own.RESYNC] != 0:
        own[Own.RESYNC] = 0
        report = record.SYNC_BACK
    host.records[here, Delivered.REPORT] = report
    if report != record.NOTHING:
        host.desk[Desk.SAID] |= REPORTS


@inlined
def _count(host: HostTables, own: Row, here: int) -> None:
    """Tally.count and the ledger's entries."""
    own[Own.RECORDS + host.records[here, Delivered.CLASS]] += 1
    own[Own.BYTES + host.records[here, Delivered.CLASS]] += host.records[here, Delivered.WIRE_LENGTH]
    own[Own.RECRYPTED] += host.records[here, Delivered.RECRYPTED]
    if host.records[here, Delivered.TYPE] == APPLICATION_DATA:
        own[Own.APP_BYTES] += host.records[here, Delivered.LENGTH]
    composition = host.records[here, Delivered.COMPOSITION]
    if composition == 0:
        return
    if composition < Own.MOST_COMPOSITIONS:
        own[Own.COMPOSITIONS + composition] += 1
    else:
        host.desk[Desk.SAID] |= LONG
