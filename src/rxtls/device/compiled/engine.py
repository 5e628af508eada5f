"""The in-line engine for kernels: device/engine.py, function by function, over a context's row and addresses.

One difference: what is decrypted is written straight to where the packet will lie. `place` says where in a packet
absorbing begins and whether the packet may be marked; `absorb` then writes all bytes from there on. Whoever calls them
writes the frame's own bytes over a packet that is not marked, which undoes whatever was decrypted of it.
A packet may lie in two chunks, cut at a record header (Landing).
"""

from __future__ import annotations

from typing import NamedTuple

from rxtls.crypto.compiled.evp import begin, inner_end, update, verify
from rxtls.crypto.keys import RECORD_HEADER
from rxtls.device.compiled.columns import Context, NicTables, Payload, Walk
from rxtls.device.compiled.events import (
    HAS_ANCHORED,
    HAS_AUTH_FAILED,
    HAS_CONFIRMED,
    HAS_FALSE_ANCHOR,
    HAS_LOST,
    HAS_RESUMED,
    HAS_STALE_CONFIRM,
    HAS_STOPPED,
    guess,
    note,
)
from rxtls.device.compiled.tracker import (
    ANCHOR_FOUND,
    BIND,
    CONFIRMED,
    LOSE,
    MISMATCH,
    SEARCHING,
    STOP,
    TRACKING,
    VERIFY,
    bound,
    find,
    fire,
    total_of,
)
from rxtls.device.engine import FAR
from rxtls.native import Table, copy, inner, load8, plus, signed32
from rxtls.seq import MASK
from rxtls.wire.tls import APPLICATION_DATA

_PASS = -1  # of `place`


class Landing(NamedTuple):
    """Where a packet is written: its byte n at first + n before the offset `split`, at second + n from there on."""

    first: int
    second: int
    split: int


@inner
def forget_record(contexts: Table, c: Context) -> None:
    """Drop what was absorbed of the current record."""
    contexts[c, Context.OPEN] = 0
    contexts[c, Context.LEFT] = 0
    contexts[c, Context.HEADER_HAVE] = 0
    contexts[c, Context.AEAD_TAG_HAVE] = 0


@inner
def bind(contexts: Table, c: Context, tcp_sn: int, number: int) -> None:
    """The record whose header stands at `tcp_sn` has this number; it has not come by yet."""
    fire(contexts, c, BIND)
    forget_record(contexts, c)
    contexts[c, Context.IN_ORDER] = 0
    contexts[c, Context.NEXT_HEADER] = tcp_sn
    contexts[c, Context.NUMBER] = number


@inner
def set_position(contexts: Table, c: Context, tcp_sn: int, number: int) -> None:
    """A next-record hint: taken while out of sync."""
    if contexts[c, Context.STATE] == SEARCHING or contexts[c, Context.STATE] == TRACKING:
        bind(contexts, c, tcp_sn, number)


@inner
def confirm(nic: NicTables, c: Context, tcp_sn: int, number: int, frame: int, time: int) -> None:
    """The host's answer: the record at `tcp_sn` has this number. Ignored when the anchor has moved meanwhile."""
    if nic.contexts[c, Context.STATE] != TRACKING or nic.contexts[c, Context.ANCHOR] != tcp_sn:
        note(nic, c, HAS_STALE_CONFIRM, frame, time, tcp_sn)
        return
    fire(nic.contexts, c, CONFIRMED)
    nic.contexts[c, Context.NUMBER] = plus(nic.contexts[c, Context.NUMBER], number)
    nic.contexts[c, Context.IN_ORDER] = 0
    note(nic, c, HAS_CONFIRMED, frame, time, tcp_sn)
    if number < 0 <= nic.contexts[c, Context.NUMBER]:  # 64 bits as int64 has them: beyond 2^64
        _stop(nic, c, frame, time, nic.contexts[c, Context.NEXT_HEADER])


@inner
def place(nic: NicTables, c: Context, payload: Payload) -> int:
    """Take a packet up to where absorbing begins: twice that offset, plus 1 if it may be marked; -1: pass it."""
    state = nic.contexts[c, Context.STATE]
    if state == SEARCHING:
        _search(nic, c, payload, 0)
        return _PASS
    if state == TRACKING:
        _follow(nic, c, payload)
        return _PASS
    if not bound(nic.contexts, c):
        return _PASS
    if nic.contexts[c, Context.IN_ORDER] == 0:
        at = _follow(nic, c, payload)
        return _PASS if at < 0 else 2 * at + (1 if at == 0 else 0)

    ahead = signed32(payload.seq - nic.contexts[c, Context.EXPECTED])
    if ahead < 0:
        return _PASS
    if ahead == 0:
        return 1
    to_header = signed32(nic.contexts[c, Context.NEXT_HEADER] - payload.seq)
    if to_header >= payload.length:
        return _PASS
    if to_header >= 0:
        forget_record(nic.contexts, c)
        return 2 * to_header if _count(nic, c, payload.frame, payload.time) else _PASS
    if -to_header > nic.control[Walk.SEARCH_AFTER]:
        _lose(nic, c, LOSE, payload.frame, payload.time)
        _search(nic, c, payload, 0)
    return _PASS


@inner
def absorb(nic: NicTables, c: Context, keys: Table, payload: Payload, start: int, landing: Landing) -> int:
    """Take in the packet's bytes from `start` on, which continue at EXPECTED or begin at a header, and write them. 0:
    not fit to be marked."""
    key = nic.contexts[c, Context.KEY]
    header_length = nic.contexts[c, Context.HEADER_LENGTH]
    aead_tag_length = nic.contexts[c, Context.AEAD_TAG_LENGTH]
    row = nic.control[Walk.CONTEXTS] + 8 * Context.COLUMNS * c
    good = 1
    at = start
    nic.contexts[c, Context.IN_ORDER] = 1
    while at < payload.length:
        to = (landing.first if at < landing.split else landing.second) + at
        end = landing.split if at < landing.split else payload.length
        if nic.contexts[c, Context.OPEN] == 0:
            have = nic.contexts[c, Context.HEADER_HAVE]
            if have == 0:
                nic.contexts[c, Context.RECORD_START] = nic.contexts[c, Context.NEXT_HEADER] = (payload.seq + at) & MASK
            piece = min(header_length - have, end - at)
            copy(to, payload.source + at, piece)
            header = payload.source + at
            if piece < header_length:
                copy(row + 8 * Context.HEADER + have, header, piece)
                header = row + 8 * Context.HEADER
                nic.contexts[c, Context.HEADER_HAVE] = have + piece
            at += piece
            have += piece
            if have < RECORD_HEADER:
                continue
            total = total_of(nic.contexts, c, header)
            if total == 0:
                _lose(nic, c, MISMATCH, payload.frame, payload.time)
                after = max(0, signed32(nic.contexts[c, Context.NEXT_HEADER] - payload.seq) + 1)
                _search(nic, c, payload, after)
                return 0
            nic.contexts[c, Context.NEXT_HEADER] = (nic.contexts[c, Context.RECORD_START] + total) & MASK
            if have < header_length:
                continue
            begin(keys, key, nic.contexts[c, Context.NUMBER], header)
            nic.contexts[c, Context.OPEN] = 1
            nic.contexts[c, Context.LEFT] = total - header_length - aead_tag_length
            nic.contexts[c, Context.CONTENT_TYPE] = load8(header)
            if nic.contexts[c, Context.LOST] == 1:
                nic.contexts[c, Context.LOST] = 0
                note(nic, c, HAS_RESUMED, payload.frame, payload.time, nic.contexts[c, Context.RECORD_START])
        elif nic.contexts[c, Context.LEFT] > 0:
            left = nic.contexts[c, Context.LEFT]
            piece = min(left, end - at)
            update(keys, key, to, payload.source + at, piece)
            nic.contexts[c, Context.LEFT] = left - piece
            at += piece
            if piece == left and nic.contexts[c, Context.TLS13] == 1:
                # A stretch of padding alone leaves the type unknown, which is as good as another one.
                place_of_type = inner_end(to, piece)
                nic.contexts[c, Context.CONTENT_TYPE] = load8(to + place_of_type) if place_of_type >= 0 else 0
        if nic.contexts[c, Context.OPEN] == 1 and nic.contexts[c, Context.LEFT] == 0 and at < payload.length:
            to = (landing.first if at < landing.split else landing.second) + at
            end = landing.split if at < landing.split else payload.length
            have = nic.contexts[c, Context.AEAD_TAG_HAVE]
            piece = min(aead_tag_length - have, end - at)
            copy(to, payload.source + at, piece)
            aead_tag = payload.source + at
            if piece < aead_tag_length:
                copy(row + 8 * Context.AEAD_TAG + have, aead_tag, piece)
                aead_tag = row + 8 * Context.AEAD_TAG
                nic.contexts[c, Context.AEAD_TAG_HAVE] = have + piece
            at += piece
            if have + piece == aead_tag_length:
                good &= _finish_record(nic, c, keys, aead_tag, payload.frame, payload.time)
                if not bound(nic.contexts, c):
                    if at < payload.length:
                        good = 0  # it stopped: what follows stays as on the wire, and so the packet
                    break
    nic.contexts[c, Context.EXPECTED] = (payload.seq + payload.length) & MASK
    return good


@inner
def _finish_record(nic: NicTables, c: Context, keys: Table, aead_tag: int, frame: int, time: int) -> int:
    """The last byte of a record's AEAD tag is there: verify, and stand before the next header either way."""
    verified = verify(keys, nic.contexts[c, Context.KEY], aead_tag)
    forget_record(nic.contexts, c)
    number = plus(nic.contexts[c, Context.NUMBER], 1)
    nic.contexts[c, Context.NUMBER] = number
    if nic.contexts[c, Context.CONTENT_TYPE] != APPLICATION_DATA:
        nic.contexts[c, Context.ODD] = 1
    if verified == 1:
        fire(nic.contexts, c, VERIFY)
        nic.contexts[c, Context.FAILURES] = 0
    else:
        nic.contexts[c, Context.FAILURES] += 1
        note(nic, c, HAS_AUTH_FAILED, frame, time, nic.contexts[c, Context.RECORD_START])
    # Record numbers have 64 bits, and must not wrap (RFC 8446, RFC 9846 section 5.3).
    if nic.contexts[c, Context.FAILURES] >= nic.control[Walk.AUTH_FAILURES] or number == 0:
        _stop(nic, c, frame, time, nic.contexts[c, Context.RECORD_START])
    return verified


@inner
def _count(nic: NicTables, c: Context, frame: int, time: int) -> bool:
    """A record was passed by its length: the next one's number, if there is one."""
    nic.contexts[c, Context.NUMBER] = plus(nic.contexts[c, Context.NUMBER], 1)
    if nic.contexts[c, Context.NUMBER] != 0:
        return True
    _stop(nic, c, frame, time, nic.contexts[c, Context.NEXT_HEADER])
    return False


@inner
def _stop(nic: NicTables, c: Context, frame: int, time: int, place: int) -> None:
    """The end of offloading: nothing more can be decrypted with this receive tag."""
    fire(nic.contexts, c, STOP)
    nic.contexts[c, Context.IN_ORDER] = 0
    note(nic, c, HAS_STOPPED, frame, time, place)


@inner
def _follow(nic: NicTables, c: Context, payload: Payload) -> int:
    """Walk the headers by their lengths. The offset at which a bound context may begin to absorb, or -1."""
    at = signed32(nic.contexts[c, Context.NEXT_HEADER] - payload.seq) + nic.contexts[c, Context.HEADER_HAVE]
    if at < 0:
        if -at > nic.control[Walk.SEARCH_AFTER]:
            _lose(nic, c, LOSE, payload.frame, payload.time)
            _search(nic, c, payload, 0)
        return -1
    if at >= payload.length:
        return -1
    mismatch = _walk(nic, c, payload)
    if mismatch < 0:
        at = signed32(nic.contexts[c, Context.NEXT_HEADER] - payload.seq)
        return (
            at
            if bound(nic.contexts, c) and nic.contexts[c, Context.HEADER_HAVE] == 0 and 0 <= at < payload.length
            else -1
        )
    if bound(nic.contexts, c):
        _lose(nic, c, MISMATCH, payload.frame, payload.time)
    else:
        note(nic, c, HAS_FALSE_ANCHOR, payload.frame, payload.time, nic.contexts[c, Context.ANCHOR])
        fire(nic.contexts, c, MISMATCH)
    _search(nic, c, payload, mismatch)
    return -1


@inner
def _walk(nic: NicTables, c: Context, payload: Payload) -> int:
    """Step from header to header as far as the packet goes, or, when bound, to where absorbing may begin.

    Returns -1, or the offset from which to search on when what stands at the predicted place is no header.
    """
    is_bound = bound(nic.contexts, c)
    kept = nic.control[Walk.CONTEXTS] + 8 * (Context.COLUMNS * c + Context.HEADER)
    while True:
        have = nic.contexts[c, Context.HEADER_HAVE]
        start = signed32(nic.contexts[c, Context.NEXT_HEADER] - payload.seq)
        at = start + have
        if at >= payload.length:
            return -1
        if is_bound and have == 0 and _unmarked_from(nic.contexts, c, nic.contexts[c, Context.NEXT_HEADER]):
            return -1
        piece = min(RECORD_HEADER - have, payload.length - at)
        header = payload.source + at
        if piece < RECORD_HEADER:
            copy(kept + have, header, piece)
            header = kept
        if have + piece < RECORD_HEADER:
            nic.contexts[c, Context.HEADER_HAVE] = have + piece
            return -1
        nic.contexts[c, Context.HEADER_HAVE] = 0
        total = total_of(nic.contexts, c, header)
        if total == 0:
            return max(0, start + 1)
        nic.contexts[c, Context.NEXT_HEADER] = (nic.contexts[c, Context.NEXT_HEADER] + total) & MASK
        if not _count(nic, c, payload.frame, payload.time):
            return -1


@inner
def _unmarked_from(contexts: Table, c: Context, header: int) -> bool:
    """Nothing at or after `header` has been marked yet."""
    return contexts[c, Context.MARKED_TO] < 0 or signed32(header - contexts[c, Context.MARKED_TO]) >= 0


@inner
def _lose(nic: NicTables, c: Context, event: int, frame: int, time: int) -> None:
    if bound(nic.contexts, c):
        nic.contexts[c, Context.LOST] = 1
        # Records that begin before this place were decrypted before the loss.
        begun = nic.contexts[c, Context.IN_ORDER] == 1 and (
            nic.contexts[c, Context.OPEN] == 1 or nic.contexts[c, Context.HEADER_HAVE] > 0
        )
        lost_at = nic.contexts[c, Context.RECORD_START] if begun else nic.contexts[c, Context.NEXT_HEADER]
        note(nic, c, HAS_LOST, frame, time, lost_at)
    fire(nic.contexts, c, event)
    forget_record(nic.contexts, c)
    nic.contexts[c, Context.IN_ORDER] = 0


@inner
def _search(nic: NicTables, c: Context, payload: Payload, start: int) -> None:
    """Look for a plausible header from offset `start` on, and follow what it announces to the end of the packet."""
    while True:
        at = find(nic.contexts, c, payload.source, payload.length, start)
        if at < 0:
            return
        fire(nic.contexts, c, ANCHOR_FOUND)
        forget_record(nic.contexts, c)
        anchor = (payload.seq + at) & MASK
        nic.contexts[c, Context.ANCHOR] = nic.contexts[c, Context.NEXT_HEADER] = anchor
        nic.contexts[c, Context.NUMBER] = 0
        if nic.contexts[c, Context.MARKED_TO] >= 0 and abs(signed32(anchor - nic.contexts[c, Context.MARKED_TO])) > FAR:
            nic.contexts[c, Context.MARKED_TO] = -1
        mismatch = _walk(nic, c, payload)
        if mismatch < 0:
            note(nic, c, HAS_ANCHORED, payload.frame, payload.time, anchor)
            if nic.control[Walk.GUESSES] == 1:
                guess(nic, c, anchor, payload.seq, payload.length)
            return
        fire(nic.contexts, c, MISMATCH)
        start = mismatch
