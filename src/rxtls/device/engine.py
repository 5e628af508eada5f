"""The in-line engine: one packet in, its payload out, decrypted whole or exactly as it came.

The rule (house rule and hardware contract alike): a packet is given back decrypted only if every TLS byte in it belongs
to records that were absorbed from their header on, and every AEAD tag that ends in it verified. The engine never drops,
delays, reorders or half-decrypts. It knows TCP sequence numbers and record framing, nothing of sockets.

Against what is expected, with M the place of the next header as the current record's length gives it:

    seq == expected                     absorb
    seq <  expected                     pass: the device is ahead, this is a retransmission
    seq >  expected, ends before M      pass, keep the context: the missing bytes may still come
    seq >  expected, contains M         pass, but absorb from M on: the next packet is decrypted again
    seq >  expected, starts after M     the header is gone: SEARCHING

A byte of the sequence space is marked at most once: after a resync the engine resumes only at headers at or after
`marked_to`. Otherwise a record could be marked half by one run and half by another, over copies of its bytes that were
never authenticated together, and the host would pass it on unverified.
"""

from __future__ import annotations

from rxtls.crypto.keys import RECORD_HEADER
from rxtls.crypto.stream import StreamOpener
from rxtls.device.context import Context
from rxtls.device.tracker import SEARCHING, TRACKING, TrackerEvent
from rxtls.offload.commands import DeviceEvent, Guess, Happening
from rxtls.seq import add, distance

# Bytes after which a sequence number may come round again before it can be told old from new (half of 2 GiB). What was
# marked so long ago has left the host, and cannot meet what is marked now in one record.
FAR = 1 << 30
_NUMBERS = 1 << 64  # record numbers have 64 bits, and must not wrap (RFC 8446, RFC 9846 section 5.3)

Moment = tuple[int, int]  # (global frame index, capture time in ns)


def receive(context: Context, seq: int, data: bytes, moment: Moment) -> bytes | None:
    """The packet's payload with its ciphertext decrypted, or None: deliver it as on the wire."""
    if context.state == SEARCHING:
        _search(context, seq, data, 0, moment)
        return None
    if context.state == TRACKING:
        _follow(context, seq, data, moment)
        return None
    if not context.bound:
        return None
    if not context.in_order:
        return _await_header(context, seq, data, moment)

    ahead = distance(context.expected, seq)
    if ahead < 0:
        return None
    if ahead == 0:
        return _mark(context, seq, data, _absorb(context, seq, data, 0, moment))
    to_header = distance(seq, context.next_header)
    if to_header >= len(data):
        return None
    if to_header >= 0:
        # The rest of the current record is lost to the engine, but its length told where the next header stands.
        context.forget_record()
        if _count(context, moment):
            _absorb(context, seq, data, to_header, moment)
        return None
    if -to_header > context.search_after:
        _lose(context, moment)
        _search(context, seq, data, 0, moment)
    return None


def bind(context: Context, tcp_sn: int, number: int) -> None:
    """The record whose header stands at `tcp_sn` has this number; it has not come by yet."""
    context.fire(TrackerEvent.BIND)
    context.forget_record()
    context.in_order = False
    context.next_header = tcp_sn
    context.number = number


def set_position(context: Context, tcp_sn: int, number: int) -> None:
    """A next-record hint: taken while out of sync, of no use to a context that already knows its record numbers."""
    if context.state in (SEARCHING, TRACKING):
        bind(context, tcp_sn, number)


def confirm(context: Context, tcp_sn: int, number: int, moment: Moment) -> None:
    """The host's answer: the record at `tcp_sn` has this number. Ignored when the anchor has moved meanwhile."""
    if context.state != TRACKING or context.anchor != tcp_sn:
        context.log.append(DeviceEvent(Happening.STALE_CONFIRM, *moment, tcp_sn))
        return
    context.fire(TrackerEvent.CONFIRM)
    context.number += number  # it counted the records since the anchor
    context.in_order = False
    context.log.append(DeviceEvent(Happening.CONFIRMED, *moment, tcp_sn))
    if context.number >= _NUMBERS:
        _stop(context, moment, context.next_header)


def _absorb(context: Context, seq: int, data: bytes, start: int, moment: Moment) -> bytes | None:
    """Take in data[start:], which continues at `expected` or begins at a header. None: not fit to be marked."""
    keys = context.keys
    out: list[bytes] = [data[:start]]
    good = True
    at, end = start, len(data)
    context.in_order = True
    while at < end:
        if context.opener is None:
            if not context.header:
                context.record_start = context.next_header = add(seq, at)
            piece = data[at : at + keys.header_length - len(context.header)]
            context.header += piece
            at += len(piece)
            out.append(piece)
            if len(context.header) < RECORD_HEADER:
                break
            total = context.pattern.total(context.header)
            if not total:
                _lose(context, moment, TrackerEvent.MISMATCH)
                _search(context, seq, data, max(0, distance(seq, context.next_header) + 1), moment)
                return None
            context.next_header = add(context.record_start, total)
            if len(context.header) < keys.header_length:
                break
            context.opener = StreamOpener(keys, context.number, bytes(context.header))
            context.left = total - keys.header_length - keys.aead_tag_length
            if context.lost:
                context.lost = False
                context.log.append(DeviceEvent(Happening.RESUMED, *moment, context.record_start))
        elif context.left:
            piece = data[at : at + context.left]
            out.append(context.opener.update(piece))
            context.left -= len(piece)
            at += len(piece)
        if context.opener is not None and not context.left:
            piece = data[at : at + keys.aead_tag_length - len(context.aead_tag)]
            context.aead_tag += piece
            at += len(piece)
            out.append(piece)
            if len(context.aead_tag) == keys.aead_tag_length:
                good &= _finish_record(context, moment)
                if not context.bound:
                    good &= at == end  # it stopped: what follows stays as on the wire, and so the packet
                    break
    context.expected = add(seq, end)
    return b"".join(out) if good else None


def _finish_record(context: Context, moment: Moment) -> bool:
    """The last byte of a record's AEAD tag is there: verify, and stand before the next header either way."""
    assert context.opener is not None
    verified = context.opener.verify(bytes(context.aead_tag))
    context.forget_record()
    context.number += 1
    if verified:
        context.fire(TrackerEvent.VERIFY)
        context.failures = 0
    else:
        context.failures += 1
        context.log.append(DeviceEvent(Happening.AUTH_FAILED, *moment, context.record_start))
    if context.failures >= context.auth_failures or context.number >= _NUMBERS:
        _stop(context, moment, context.record_start)
    return verified


def _count(context: Context, moment: Moment) -> bool:
    """A record was passed by its length: the next one's number, if there is one. A count that is not bound is small."""
    context.number += 1
    if context.number < _NUMBERS:
        return True
    _stop(context, moment, context.next_header)
    return False


def _stop(context: Context, moment: Moment, place: int) -> None:
    """The end of offloading: nothing more can be decrypted with this receive tag."""
    context.fire(TrackerEvent.STOP)
    context.in_order = False
    context.log.append(DeviceEvent(Happening.STOPPED, *moment, place))


def _mark(context: Context, seq: int, data: bytes, out: bytes | None) -> bytes | None:
    if out is not None:
        context.marked_to = add(seq, len(data))
    return out


def _await_header(context: Context, seq: int, data: bytes, moment: Moment) -> bytes | None:
    """Bound, but not absorbing yet: walk to the first header at which it may begin."""
    at = _follow(context, seq, data, moment)
    if at is None:
        return None
    out = _absorb(context, seq, data, at, moment)
    return _mark(context, seq, data, out) if at == 0 else None


def _follow(context: Context, seq: int, data: bytes, moment: Moment) -> int | None:
    """Walk the headers by their lengths. The offset at which a bound context may begin to absorb, or None."""
    at = distance(seq, context.next_header) + len(context.header)
    if at < 0:
        if -at > context.search_after:
            _lose(context, moment)
            _search(context, seq, data, 0, moment)
        return None
    mismatch = _walk(context, seq, data, moment)
    if mismatch is None:
        at = distance(seq, context.next_header)
        return at if context.bound and not context.header and 0 <= at < len(data) else None
    if context.bound:
        _lose(context, moment, TrackerEvent.MISMATCH)
    else:
        context.false_anchors += 1
        context.log.append(DeviceEvent(Happening.FALSE_ANCHOR, *moment, context.anchor))
        context.fire(TrackerEvent.MISMATCH)
    _search(context, seq, data, mismatch, moment)
    return None


def _walk(context: Context, seq: int, data: bytes, moment: Moment) -> int | None:
    """Step from header to header as far as `data` goes, or, when bound, to where absorbing may begin.

    Returns None, or the offset from which to search on when what stands at the predicted place is no header.
    """
    while True:
        at = distance(seq, context.next_header) + len(context.header)
        if at >= len(data):
            return None
        if context.bound and not context.header and _unmarked_from(context, context.next_header):
            return None
        piece = data[at : at + RECORD_HEADER - len(context.header)]
        context.header += piece
        if len(context.header) < RECORD_HEADER:
            return None
        total = context.pattern.total(context.header)
        context.header.clear()
        if not total:
            return max(0, distance(seq, context.next_header) + 1)
        context.next_header = add(context.next_header, total)
        if not _count(context, moment):
            return None


def _unmarked_from(context: Context, header: int) -> bool:
    """Nothing at or after `header` has been marked yet."""
    return context.marked_to is None or distance(context.marked_to, header) >= 0


def _lose(context: Context, moment: Moment, event: TrackerEvent = TrackerEvent.LOSE) -> None:
    if context.bound:
        context.lost = True
        # Records that begin before this place were decrypted before the loss.
        begun = context.in_order and (context.opener is not None or context.header)
        place = context.record_start if begun else context.next_header
        context.log.append(DeviceEvent(Happening.LOST, *moment, place))
    context.fire(event)
    context.forget_record()
    context.in_order = False


def _search(context: Context, seq: int, data: bytes, start: int, moment: Moment) -> None:
    """Look for a plausible header from data[start] on, and follow what it announces to the end of the packet."""
    while True:
        at = context.pattern.find(data, start)
        if at < 0:
            return
        context.fire(TrackerEvent.ANCHOR)
        context.forget_record()
        context.anchor = context.next_header = add(seq, at)
        context.number = 0
        if context.marked_to is not None and abs(distance(context.marked_to, context.anchor)) > FAR:
            context.marked_to = None
        mismatch = _walk(context, seq, data, moment)
        if mismatch is None:
            context.log.append(DeviceEvent(Happening.ANCHORED, *moment, context.anchor))
            context.guesses.append(Guess(context.epoch, context.anchor, seq, len(data)))
            return
        context.false_anchors += 1
        context.fire(TrackerEvent.MISMATCH)
        start = mismatch
