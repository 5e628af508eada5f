"""The next record behind a hole, where its place is known: the kernel's twin of what recovery.py tries first.

    chain, TLSCC bytes                            held
    |header|----------|   hole   |-----------|header|------------------|header..
    <------------ by the cut record's header ><---- opened as the next number -->

A record may be lost with a few of its bytes, as nearly all are, and the header of the next one is there. It is opened
here in a copy, since nothing is taken before it authenticates. Whatever looks otherwise is left to recovery.py, which
tries the same again and then goes on to search.
"""

from __future__ import annotations

from rxtls.crypto.compiled.evp import Key, inner_end, open_record, recrypt
from rxtls.crypto.keys import RECORD_HEADER
from rxtls.host.compiled.opening import gather
from rxtls.host.compiled.state import HEADER_AT, MOST_NUMBER, RECORD_AT, Desk, Own
from rxtls.native import Row, Table, inlined, inner, load8, load16, signed32
from rxtls.offload.compiled.arena import Extent
from rxtls.seq import MASK

_VERSION = 0x0303  # as in worker.py


@inner
def try_next(chunks: Table, extents: Table, keys: Table, own: Row, desk: Row) -> int:
    """The record that the cut one's header leads to, if it authenticates as the next number: its offset behind the hole
    that is due, and FOUND_LENGTH. Else -1."""
    slot = own[Own.KEYS]
    if own[Own.TLSCC] < RECORD_HEADER or own[Own.SLIPS] != 0 or own[Own.NUMBER] >= MOST_NUMBER:
        return -1
    header = desk[Desk.SCRATCH] + HEADER_AT
    gather(chunks, extents, own[Own.CHAIN_HEAD], 0, RECORD_HEADER, header)
    first = own[Own.HELD_HEAD]
    hole = signed32(extents[first, Extent.SEQ] - own[Own.NEXT_SEQ])
    at = RECORD_HEADER + load16(header + 3) - own[Own.TLSCC] - hole
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
    if not _opens(chunks, extents, keys, own, first, at, total, desk[Desk.SCRATCH] + RECORD_AT):
        return -1
    own[Own.FOUND_LENGTH] = total
    return at


@inlined
def _reach(extents: Table, node: int, wanted: int) -> int:
    """How many bytes, `wanted` or more if there are, go on from each other in the stream from `node` on."""
    reach = extents[node, Extent.LENGTH]
    following = extents[node, Extent.NEXT]
    while reach < wanted and following >= 0:
        if (extents[node, Extent.SEQ] + extents[node, Extent.LENGTH]) & MASK != extents[following, Extent.SEQ]:
            break
        reach += extents[following, Extent.LENGTH]
        node, following = following, extents[following, Extent.NEXT]
    return reach


@inlined
def _total_of(keys: Table, slot: int, header: int) -> int:
    """The length of the record with this header; 0 if these keys know none like it."""
    total = RECORD_HEADER + load16(header + 3)
    if (
        load16(header + 1) != _VERSION
        or load8(header) < keys[slot, Key.FIRST_TYPE]
        or load8(header) > keys[slot, Key.LAST_TYPE]
        or total < keys[slot, Key.MIN_TOTAL]
        or total > keys[slot, Key.MAX_TOTAL]
    ):
        return 0
    return total


@inlined
def _opens(
    chunks: Table, extents: Table, keys: Table, own: Row, node: int, offset: int, total: int, copied: int
) -> bool:
    """Session.opens: whether the bytes at `offset` of what begins at `node` are the record that follows the cut one.
    They are copied to an address."""
    slot, number = own[Own.KEYS], own[Own.NUMBER] + 1
    start = keys[slot, Key.HEADER_LENGTH]
    end = total - keys[slot, Key.AEAD_TAG_LENGTH]
    gather(chunks, extents, node, offset, offset + total, copied)
    at = -offset
    while at < total:
        stop = at + extents[node, Extent.LENGTH]
        mark = extents[node, Extent.MARK]
        if stop > 0 and mark != 0:
            if mark < own[Own.FIRST_EPOCH] or mark > own[Own.LAST_EPOCH]:
                return False
            a, b = max(at, start), min(stop, end)
            recrypt(keys, slot, number, copied, a - start, copied + a, b - a)
        at = stop
        node = extents[node, Extent.NEXT]
    if open_record(keys, slot, number, copied, total, copied + start) != 1:
        return False
    return keys[slot, Key.TLS13] == 0 or inner_end(copied + start, end - start) >= 0
