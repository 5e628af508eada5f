"""Behind a hole: how a connection goes on where its capture lacks bytes.

    reassembly.due ──► all before the hole is read ──► pass it ──► search (recovery.py) ──► a Gap, and the worker again
                                                        ^                │ nothing, and another hole
                                                        └────────────────┘

What is searched for, and how a record is told, recovery.py knows; here is what it means for the connection: what was
lost is counted, losses of the NIC at the hole are taken back, and keys may have changed in it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from rxtls.crypto.keys import RECORD_HEADER, Keys
from rxtls.events import Gap, RecordClass
from rxtls.host.direction import Direction, Sides
from rxtls.host.reassembly import Hole, Stop
from rxtls.host.recovery import Found, Recovery, Waiting
from rxtls.host.worker import Session
from rxtls.seq import MASK, distance


class Stream(Protocol):
    """A direction's bytes on both sides of its hole: those of the Direction itself, or of who has them meanwhile."""

    @property
    def sockbuf(self) -> Waiting: ...
    @property
    def due(self) -> bool: ...
    @property
    def ending(self) -> bool: ...
    def pass_hole(self) -> Hole: ...


def skip(flow: Sides, side: int) -> bool:
    """Pass a hole where no worker has to look at it: nobody reads the bytes any more, or not yet."""
    direction = flow.directions[side]
    if not direction.reassembly.due or (direction.session is not None and not direction.fate()):
        return False
    if direction.session is None and not direction.refused:
        _blocked(flow, side)
        return True
    hole = direction.pass_hole()
    if direction.refused:
        direction.enter_gap([hole], None, None)
    return True


def _blocked(flow: Sides, side: int) -> None:
    """A hole in the handshake."""
    direction = flow.directions[side]
    reassembly, sockbuf = direction.reassembly, direction.sockbuf
    if not flow.library.cut(side):
        direction.gap = direction.gap or reassembly.acknowledged
        reassembly.stop(Stop.GAP if reassembly.acknowledged else Stop.OVERFLOW)
        return
    if sockbuf.waiting and flow.take(side, flow.library.read(side, sockbuf.peek(sockbuf.waiting))):
        return
    flow.ledger.fate("byte.left_over", sockbuf.flush())
    direction.enter_gap([direction.pass_hole()], None, None)


def stall(direction: Direction) -> None:
    """A hole where somebody reads a socket: TCP never delivers past one (RFC 9293 section 3.8.1), and nor does this."""
    reassembly = direction.reassembly
    assert direction.session is not None
    acknowledged = reassembly.acknowledged
    hole = Hole(reassembly.next, reassembly.rcv_nxt, reassembly.hole, acknowledged)
    direction.enter_gap([hole], direction.session.number, None)
    reassembly.stop(Stop.GAP if acknowledged else Stop.OVERFLOW)


def meet(flow: Sides, side: int, session: Session, stream: Stream) -> None:
    """All that can be read before the hole has been: go on behind it."""
    direction = flow.directions[side]
    sockbuf, keys = stream.sockbuf, session.keys
    recovery = direction.recovery
    if recovery is None:
        recovery = direction.recovery = begun(session, sockbuf.peek(keys.header_length))
    start = sockbuf.start_seq
    dropped = sockbuf.flush()
    hole = stream.pass_hole()
    recovery.enter(dropped, hole)
    _forget_losses(direction, start, dropped + hole.length)


def recover(flow: Sides, side: int, session: Session, stream: Stream) -> bool:
    """Look for the next record that authenticates; whether the worker may go on. Where not, and no budget is left, the
    search is to be given up."""
    direction = flow.directions[side]
    recovery, work = direction.recovery, direction.work
    assert recovery is not None
    while True:
        ended = stream.due or stream.ending
        found = recovery.search(stream.sockbuf, session, _following(flow, side), work, ended)
        if found is not None:
            _resume(flow, side, session, recovery, found, stream.sockbuf)
            direction.recovery = None
            return True
        if work.left <= 0 or not stream.due:
            return False
        meet(flow, side, session, stream)


def resume(flow: Sides, side: int, session: Session, stream: Stream, offset: int, length: int) -> None:
    """The same where somebody has tried already what `recover` would try first: the record that the cut one's header
    leads to, `offset` bytes behind the hole and `length` bytes long, which is the next one by its number."""
    direction = flow.directions[side]
    meet(flow, side, session, stream)
    recovery, direction.recovery = direction.recovery, None
    assert recovery is not None
    direction.work.trial(session.keys, length)
    _resume(flow, side, session, recovery, Found(offset, session.number + 1), stream.sockbuf)


def _following(flow: Sides, side: int) -> Callable[[int], Keys | None]:
    return lambda updates: flow.library.following(side, updates)


def _resume(flow: Sides, side: int, session: Session, recovery: Recovery, found: Found, behind: Waiting) -> None:
    direction = flow.directions[side]
    if found.offset:
        behind.detach(found.offset)
        behind.hand_on(0)
        recovery.drop(found.offset)
    records = found.number - recovery.number
    if found.generation:
        records = found.number + 1  # the KeyUpdate at least
        for _ in range(found.generation):
            rekey = flow.library.updated(side)
        session.rekey(rekey.keys, found.number)
        direction.new_keys = True
    else:
        flow.library.interrupted(side)
        session.resume(found.number, unjudged=direction.receive_tag is not None)
    flow.ledger.enter("record", records)
    flow.ledger.fate("record.unknown", records)
    flow.ledger.fate("byte.record", recovery.cut)
    direction.tally.records[RecordClass.UNKNOWN] += records
    direction.tally.bytes[RecordClass.UNKNOWN] += recovery.cut
    direction.enter_gap(recovery.holes, recovery.number, records, recovery.more)
    length = recovery.distance
    frame, time_ns = behind.first_arrival()
    flow.records.append(
        Gap(
            flow.connection.id,
            flow.receiver(side),
            0,
            b"",
            recovery.number,
            RecordClass.UNKNOWN,
            (behind.start_seq - length) & MASK,
            length,
            frame,
            time_ns,
            "?",
            records=records,
            missing=sum(hole.length for hole in recovery.holes) + recovery.more,
            payload=max(0, length - records * session.keys.min_total),
        )
    )


def begun(session: Session, head: bytes) -> Recovery:
    """The recovery at a hole behind which the next record is not whole; of its header `head` came."""
    keys = session.keys
    total = RECORD_HEADER + int.from_bytes(head[3:5]) if len(head) >= RECORD_HEADER else None
    usual = session.length or (total if total is not None else keys.max_total)
    explicit = (session.number - 1, session.explicit) if session.length else None
    if len(head) == keys.header_length == RECORD_HEADER + 8:
        explicit = session.number, int.from_bytes(head[RECORD_HEADER:])
    return Recovery(session.number, total, usual, explicit)


def _forget_losses(direction: Direction, start: int, length: int) -> None:
    """The device's losses at a hole of the capture, in a record that begins at `start` or up to `length` bytes on, are
    none of the receiver's NIC."""
    at_hole = [place for place in direction.losses if 0 <= distance(start, place) <= length]
    direction.tally.lost -= len(at_hole)
    direction.tally.lost_in_gaps += len(at_hole)
    for place in at_hole:
        direction.losses.remove(place)
    if direction.lost_since is not None and direction.lost_since[1] in at_hole:
        direction.lost_since = None
