"""The next record behind a hole, where its place is known: the kernel's twin of what recovery.py tries first.

    chain, TLSCC bytes                            held
    |header|----------|   hole   |-----------|header|------------------|header..
    <------------ by the cut record's header ><---- opened as the next number -->

A record may be lost with a few of its bytes, as nearly all are, and the header of the next one is there. It is opened
here in a copy, since nothing is taken before it authenticates. Whatever looks otherwise is left to recovery.py, which
tries the same again and then goes on to search.
"""

from __future__ import annotations

from rxtls.crypto.compiled.evp import (
    AEAD_TAG_LENGTH,
    FIRST_TYPE,
    HEADER_LENGTH,
    LAST_TYPE,
    MAX_TOTAL,
    MIN_TOTAL,
    TLS13,
    inner_end,
    open_record,
    recrypt,
)
from rxtls.crypto.keys import RECORD_HEADER
from rxtls.host.compiled.opening import gather
from rxtls.host.compiled.state import (
    CHAIN_HEAD,
    FIRST_EPOCH,
    FOUND_LENGTH,
    HEADER_AT,
    HELD_HEAD,
    KEYS,
    LAST_EPOCH,
    MOST_NUMBER,
    NEXT_SEQ,
    NUMBER,
    RECORD_AT,
    SCRATCH,
    SLIPS,
    TLSCC,
)
from rxtls.native import Row, Table, inlined, inner, load8, load16, signed32
from rxtls.offload.compiled.arena import EXTENT_LENGTH, EXTENT_MARK, EXTENT_NEXT, EXTENT_SEQ
from rxtls.seq import MASK

_VERSION = 0x0303  # as in worker.py


@inner
def try_next(chunks: Table, extents: Table, keys: Table, own: Row, desk: Row) -> int:
    """The record that the cut one's header leads to, if it authenticates as the next number: its offset behind the hole
    that is due, and FOUND_LENGTH. Else -1."""
    slot = own[KEYS]
    if own[TLSCC] < RECORD_HEADER or own[SLIPS] != 0 or own[NUMBER] >= MOST_NUMBER:
        return -1
    header = desk[SCRATCH] + HEADER_AT
    gather(chunks, extents, own[CHAIN_HEAD], 0, RECORD_HEADER, header)
    first = own[HELD_HEAD]
    hole = signed32(extents[first, EXTENT_SEQ] - own[NEXT_SEQ])
    at = RECORD_HEADER + load16(header + 3) - own[TLSCC] - hole
    if at < 0 or _reach(extents, first, at + RECORD_HEADER) < at + RECORD_HEADER:
        return -1
    gather(chunks, extents, first, at, at + RECORD_HEADER, header)
    total = _total_of(keys, slot, header)
    end = at + total
    there = _reach(extents, first, end + RECORD_HEADER)
    if total == 0 or there < end:
        return -1
    # As far as it is there, what stands behind a record must be able to be a header.
    if there >= end + RECORD_HEADER:
        gather(chunks, extents, first, end, end + RECORD_HEADER, header)
        if _total_of(keys, slot, header) == 0:
            return -1
    elif there > end:
        return -1
    if not _opens(chunks, extents, keys, own, first, at, total, desk[SCRATCH] + RECORD_AT):
        return -1
    own[FOUND_LENGTH] = total
    return at


@inlined
def _reach(extents: Table, node: int, wanted: int) -> int:
    """How many bytes, `wanted` or more if there are, go on from each other in the stream from `node` on."""
    reach = extents[node, EXTENT_LENGTH]
    following = extents[node, EXTENT_NEXT]
    while reach < wanted and following >= 0:
        if (extents[node, EXTENT_SEQ] + extents[node, EXTENT_LENGTH]) & MASK != extents[following, EXTENT_SEQ]:
            break
        reach += extents[following, EXTENT_LENGTH]
        node, following = following, extents[following, EXTENT_NEXT]
    return reach


@inlined
def _total_of(keys: Table, slot: int, header: int) -> int:
    """The length of the record with this header; 0 if these keys know none like it."""
    total = RECORD_HEADER + load16(header + 3)
    if (
        load16(header + 1) != _VERSION
        or load8(header) < keys[slot, FIRST_TYPE]
        or load8(header) > keys[slot, LAST_TYPE]
        or total < keys[slot, MIN_TOTAL]
        or total > keys[slot, MAX_TOTAL]
    ):
        return 0
    return total


@inlined
def _opens(
    chunks: Table, extents: Table, keys: Table, own: Row, node: int, offset: int, total: int, copied: int
) -> bool:
    """Session.opens: whether the bytes at `offset` of what begins at `node` are the record that follows the cut one.
    They are copied to an address."""
    slot, number = own[KEYS], own[NUMBER] + 1
    start = keys[slot, HEADER_LENGTH]
    end = total - keys[slot, AEAD_TAG_LENGTH]
    gather(chunks, extents, node, offset, offset + total, copied)
    at = -offset
    while at < total:
        stop = at + extents[node, EXTENT_LENGTH]
        mark = extents[node, EXTENT_MARK]
        if stop > 0 and mark != 0:
            if mark < own[FIRST_EPOCH] or mark > own[LAST_EPOCH]:
                return False
            a, b = max(at, start), min(stop, end)
            recrypt(keys, slot, number, copied, a - start, copied + a, b - a)
        at = stop
        node = extents[node, EXTENT_NEXT]
    if open_record(keys, slot, number, copied, total, copied + start) != 1:
        return False
    return keys[slot, TLS13] == 0 or inner_end(copied + start, end - start) >= 0
