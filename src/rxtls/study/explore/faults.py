"""Seeded faults: the shipped code with one thing wrong, each from a class of bugs that such code has had.

A fault is a few replaced functions. The explorer has to find every one of them, with the policy that it stands beside:
what cannot be found would be a hole in the explorer. Sources: the kernels' fixes, as specification and house know them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from rxtls.crypto import recrypt as recrypting
from rxtls.device import engine, nic
from rxtls.device.context import Context
from rxtls.device.lro import Lro
from rxtls.device.tracker import TRACKING, TrackerEvent
from rxtls.driver.driver import WayBack
from rxtls.host import direction
from rxtls.host.standing import walk
from rxtls.host.worker import DECRYPTED, ENCRYPTED, MIXED, Session
from rxtls.offload.commands import Confirm, Guess, SetPosition, Standing
from rxtls.offload.mbuf import WIRE, Mbuf
from rxtls.offload.policies.freebsd_table import FreebsdTable, RecordTable
from rxtls.offload.policies.linux_async import LinuxAsync
from rxtls.offload.policies.linux_sync import LinuxSync
from rxtls.offload.policies.next_hint import NextHint
from rxtls.seq import add, distance
from rxtls.study.explore.cipher import crypt

Replaced = tuple[Any, str, Any]


class Fault(NamedTuple):
    """One fault: what is wrong, under which policy and in which scenario it is looked for, and what it replaces; `rare`
    ones show only in thousands of states."""

    name: str
    policy: str
    scenario: str
    places: tuple[Replaced, ...]
    rare: bool = False


def _confirm_any_anchor(context: Context, tcp_sn: int, number: int, moment: Any) -> None:
    if context.state != TRACKING:
        return
    context.fire(TrackerEvent.CONFIRM)
    context.number += number
    context.in_order = False


def _confirm_off_by(slip: int) -> Callable[..., None]:
    shipped = engine.confirm
    return lambda context, tcp_sn, number, moment: shipped(context, tcp_sn, number + slip, moment)


def _confirm_forgets_count(context: Context, tcp_sn: int, number: int, moment: Any) -> None:
    if context.state == TRACKING and context.anchor == tcp_sn:
        context.fire(TrackerEvent.CONFIRM)
        context.number = number
        context.in_order = False


def _receive_passes_number(context: Context, seq: int, data: bytes, moment: Any) -> bytes | None:
    """Jumps to the next header and does not count the record that it jumped over."""
    number, jumped = context.number, context.in_order and distance(context.expected, seq) > 0
    before = context.next_header
    out = _RECEIVE(context, seq, data, moment)
    if jumped and context.in_order and context.number == number + 1 and context.record_start == before:
        context.number = number
        context.opener = None if context.opener is None else type(context.opener)(context.keys, number, b"")
    return out


def _receive_marks_jump(context: Context, seq: int, data: bytes, moment: Any) -> bytes | None:
    """Marks the packet in which it found the next header, though its beginning was never absorbed."""
    ahead = distance(context.expected, seq) if context.bound and context.in_order else 0
    out = _RECEIVE(context, seq, data, moment)
    return data if out is None and ahead > 0 and context.in_order else out


def _receive_marks_old(context: Context, seq: int, data: bytes, moment: Any) -> bytes | None:
    """Marks retransmissions that it passes."""
    old = context.bound and context.in_order and distance(context.expected, seq) < 0
    out = _RECEIVE(context, seq, data, moment)
    return data if old and out is None else out


def _receive_goes_blind(context: Context, seq: int, data: bytes, moment: Any) -> bytes | None:
    """Does not notice that a header went by."""
    if context.bound and context.in_order and distance(context.next_header, seq) > 0:
        return None
    return _RECEIVE(context, seq, data, moment)


def _lro_merges(self: Lro, seq: int, data: bytes, mark: int, *rest: Any) -> None:
    """Joins what has different marks, and keeps the first one's."""
    run = self._open
    joined = run is not None and add(run.seq, self._size) == seq
    _LRO_ADD(self, seq, data, run.mark if joined and run is not None else mark, *rest)


def _classify_by_first(self: Session, chain: Any) -> Any:
    mark = chain[0].mark
    if mark == WIRE:
        return ENCRYPTED
    return DECRYPTED if mark in self.epochs else MIXED


def _classify_by_last(self: Session, chain: Any) -> Any:
    return DECRYPTED if chain[-1].mark in self.epochs else _CLASSIFY(self, chain)


def _undo_everything(self: Session, chain: Any, record: bytes, ordinal: int, slip: int) -> bytes:
    """Re-encrypts the whole record, and not what was marked of it."""
    return _UNDO(self, [Mbuf(m.seq, m.data, _any(chain), m.leaf, m.flags, m.arrivals, -1, -1) for m in chain], record,
                 ordinal, slip)  # fmt: skip


def _undo_nothing(self: Session, chain: Any, record: bytes, ordinal: int, slip: int) -> bytes:
    """A mixed record is opened as it is."""
    return record


def _cut_loses_mark(self: Mbuf, start: int, end: int) -> Mbuf:
    """What is left of an Mbuf after a cut counts as wire bytes."""
    cut = _CUT(self, start, end)
    if start:
        cut.mark = WIRE
    return cut


def _walk_counts_nothing(context: Context, seq: int, data: bytes, moment: Any) -> int | None:
    """Records that are walked over are not counted."""
    number = context.number
    mismatch = _ENGINE_WALK(context, seq, data, moment)
    context.number = number
    return mismatch


def _position_in_sync(context: Context, tcp_sn: int, number: int) -> None:
    """A position is taken at any time."""
    engine.bind(context, tcp_sn, number)


def _walk_off_by_one(keys: Any, number: int, start: int, chain: Any, held: Any) -> Standing:
    """The host's walk counts from one."""
    return _WALK(keys, number + 1, start, chain, held)


def _any(chain: Any) -> int:
    return max(int(mbuf.mark) for mbuf in chain)


def _keystream_from_mark(keys: Any, number: int, header: Any, offset: int, data: bytes) -> bytes:
    """The keystream begins where the marked part does."""
    return crypt(keys.key, number, 0, data)


def _find_between(self: RecordTable, tcp_sn: int) -> int | None:
    """Finds records by the place of any of their bytes."""
    ahead, number = distance(self._start_sn, tcp_sn), self._start_number
    for length, count in self._runs:
        if 0 <= ahead < length * count:
            return number + ahead // length
        ahead, number = ahead - length * count, number + count
    return None


def _never_asks_again(self: FreebsdTable, answer: Any) -> Any:
    said = _TABLE_ANSWER(self, answer)
    self._pending = True
    return said


def _answers_at_once(self: LinuxSync, epoch: int, report: Any) -> Any:
    """Answers with the number of the record at hand, whatever was asked for (libxlio)."""
    if self._slot is None or not report.length:
        return []
    slot, self._slot = self._slot, None
    return [Confirm(epoch, slot, report.number)]


def _slot_stays_first(self: LinuxSync, answer: Any) -> Any:
    """The first guess stays in the slot until it is found."""
    if isinstance(answer, Guess) and self._slot is None:
        self._slot = answer.tcp_sn
    return []


def _forgets_records_since(self: LinuxAsync, epoch: int, tcp_sn: int, number: int) -> Any:
    """The record number at the match is not taken back by the records parsed since (Linux 138559b9f99d)."""
    return [
        each._replace(number=number) if isinstance(each, Confirm) else each
        for each in _ASYNC_HEADER(self, epoch, tcp_sn, number)
    ]


def _index_off_by_one(self: LinuxAsync, epoch: int, tcp_sn: int, number: int) -> Any:
    logged = bool(self._log)
    said = _ASYNC_HEADER(self, epoch, tcp_sn, number)
    return [
        each._replace(number=each.number + 1)
        if isinstance(each, Confirm) and logged and each.tcp_sn != tcp_sn
        else each
        for each in said
    ]


def _never_matches_log(self: LinuxAsync, request: tuple[int, int], tcp_sn: int, number: int) -> None:
    """Headers are counted and not logged."""


def _hint_number_after(self: NextHint, epoch: int, standing: Standing) -> Any:
    """The place of the next header with the number of the one after it."""
    said = _HINT_STAND(self, epoch, standing)
    return [SetPosition(epoch, each.tcp_sn, each.number + 1) for each in said if isinstance(each, SetPosition)]


def _hint_never(self: NextHint, epoch: int, report: Any) -> Any:
    """The back-off never resets, and begins where it ends."""
    self._target = max(self._target, 1 << 20)
    return _HINT_REPORT(self, epoch, report)


def _tag_keeps_old_keys(self: Any, flow: Any, side: int, *rest: Any) -> Any:
    """New keys make no new receive tag."""
    flow.directions[side].new_keys = flow.directions[side].new_keys and flow.directions[side].receive_tag is None
    return _OFFLOAD(self, flow, side, *rest)


def _start_at_received(self: Any) -> Any:
    """A receive tag begins at the next byte to come, whether or not a record does."""
    place = _START(self)
    return (self.sockbuf.end_seq, *place[1:]) if place and self.sockbuf.waiting else place


def _release_leaves_context(self: Any, flow: int) -> None:
    """The receive tag is released, and the device goes on with it."""
    self._lane(flow).answers.clear()


def _split_header_lost(context: Context, seq: int, data: bytes, moment: Any) -> bytes | None:
    """What has come of a header is forgotten between packets."""
    if context.bound and context.in_order and context.opener is None and context.header:
        context.header.clear()
    return _RECEIVE(context, seq, data, moment)


def _numbers_from_zero(self: Session, keys: Any, number: int) -> None:
    """After a KeyUpdate record numbers go on."""
    _REKEY(self, keys, self.number)


_RECEIVE, _LRO_ADD = engine.receive, Lro.add
_CLASSIFY, _UNDO, _REKEY = Session._classify, Session._undo, Session.rekey
_CUT, _ENGINE_WALK = Mbuf.cut, engine._walk
_TABLE_ANSWER = FreebsdTable.answer
_ASYNC_HEADER = LinuxAsync._header
_HINT_STAND, _HINT_REPORT = NextHint.stand, NextHint.report
_WALK, _START = walk, direction.Direction.start
_OFFLOAD = WayBack.offload


def _faults() -> list[Fault]:
    table, sync, later, hint, ours = "freebsd-table", "linux-sync", "linux-async", "next-hint", "look-ahead"
    rows: list[tuple[str, str, str, Any, str, Any]] = [
        ("a stale confirm is accepted", sync, "tls13", engine, "confirm", _confirm_any_anchor),
        ("a confirmed number is off by one", table, "tls13", engine, "confirm", _confirm_off_by(1)),
        ("records walked since the anchor are forgotten", table, "tls13", engine, "confirm", _confirm_forgets_count),
        ("a record that was jumped over is not counted", sync, "tls12", engine, "receive", _receive_passes_number),
        ("the packet jumped into is marked", sync, "tls13", engine, "receive", _receive_marks_jump),
        ("a retransmission is marked", sync, "tls13", engine, "receive", _receive_marks_old),
        ("a lost header is not noticed", sync, "tls13", engine, "receive", _receive_goes_blind),
        ("a split header is forgotten", sync, "tls12", engine, "receive", _split_header_lost),
        ("LRO joins marks", sync, "tls13", Lro, "add", _lro_merges),
        ("a record is what its first bytes are", sync, "tls13", Session, "_classify", _classify_by_first),
        ("a record is what its last bytes are", sync, "key update", Session, "_classify", _classify_by_last),
        ("everything is re-encrypted", sync, "tls13", Session, "_undo", _undo_everything),
        ("nothing is re-encrypted", sync, "tls13", Session, "_undo", _undo_nothing),
        ("a cut loses the mark", sync, "tls13", Mbuf, "cut", _cut_loses_mark),
        ("records walked are not counted", sync, "tls13", engine, "_walk", _walk_counts_nothing),
        ("a position is taken in sync", hint, "tls13", engine, "set_position", _position_in_sync),
        ("the walk's numbers are off by one", ours, "tls13", direction, "walk", _walk_off_by_one),
        ("the keystream begins at the mark", sync, "key update", recrypting, "_crypt", _keystream_from_mark),
        ("record numbers go on over a KeyUpdate", sync, "key update", Session, "rekey", _numbers_from_zero),
        ("a receive tag outlives its key", sync, "key update", WayBack, "offload", _tag_keeps_old_keys),
        ("a receive tag begins within a record", sync, "new leaf", direction.Direction, "start", _start_at_received),
        ("a release leaves the context", sync, "key update", nic.Nic, "release", _release_leaves_context),
        ("records are found by any of their bytes", table, "tls12", RecordTable, "find", _find_between),
        ("the driver asks once", table, "tls13", FreebsdTable, "answer", _never_asks_again),
        ("the number at hand is the answer", sync, "tls13", LinuxSync, "report", _answers_at_once),
        ("an old guess stays in the slot", sync, "tls13", LinuxSync, "answer", _slot_stays_first),
        ("records parsed since are forgotten", later, "tls13", LinuxAsync, "_header", _forgets_records_since),
        ("the log is off by one", later, "tls13", LinuxAsync, "_header", _index_off_by_one),
        ("nothing is logged", later, "tls13", LinuxAsync, "_count", _never_matches_log),
        ("the hint has another record's number", hint, "tls13", NextHint, "stand", _hint_number_after),
        ("the back-off never resets", hint, "tls13", NextHint, "report", _hint_never),
    ]
    rare = {
        "a split header is forgotten",
        "a record is what its last bytes are",
        "a record that was jumped over is not counted",
        "the keystream begins at the mark",
    }
    return [
        Fault(name, policy, where, ((owner, what, by),), rare=name in rare)
        for name, policy, where, owner, what, by in rows
    ]


FAULTS = _faults()
