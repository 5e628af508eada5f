"""A direction in its steady state, served by compiled code: the fast twin of host/direction.py.

    fits(direction)             receive is enabled, keys stream, nothing has ended or gone wrong
    FastDirection(...)          promotion: state moves into a row and extents
    serve(head)                 per group of extents: input, settle, worker; the records are rows of FastHost.records
    demote()                    the way back, with what has not been taken in yet

`serve` does in one call what Direction.input, Reassembly.settle and Session.step do per Mbuf and record, and stops
where something comes that is not of the steady state. Who served a direction when cannot be observed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rxtls.crypto.suites import Version
from rxtls.host.compiled import kernel, promotion, results, state
from rxtls.host.compiled.chain import Chain, extents, where
from rxtls.host.compiled.state import Own
from rxtls.host.compiled.tables import FastHost
from rxtls.host.direction import Direction
from rxtls.host.flow import Flow
from rxtls.host.holes import meet, recover, resume
from rxtls.host.reassembly import Hole
from rxtls.host.standing import Piece, walk
from rxtls.native.shapes import Array
from rxtls.offload.commands import Standing
from rxtls.offload.compiled.arena import Extent
from rxtls.offload.mbuf import Mbuf
from rxtls.seq import MASK

fits = promotion.fits
DONE, RECORD, LEAVE, HOLE = state.DONE, state.RECORD, state.LEAVE, state.HOLE

_NOTED = state.REPORTS | state.LONG | state.LEAF_CHANGED


class Group(NamedTuple):
    """What of a host point is not done yet: input of `mbufs`, and to settle, if `settle`; and the worker."""

    point: int
    mbufs: list[Mbuf]
    settle: bool


class FastDirection:
    """`direction`, promoted; it must fit (`fits`). `flow` is its receive flow: 2 * connection + sender's side.

    Until `demote`, its reassembly and socket buffer are empty, and its session's number stands still: ask here.
    Leaf changes, regained sync, the digest and, under a receive tag, reports reach it with each `serve`; other counts
    with `fold`.
    """

    __slots__ = ("_epoch", "_host", "_own", "_shift", "direction", "last")

    def __init__(self, host: FastHost, direction: Direction, flow: int) -> None:
        session = direction.session
        assert session is not None
        slot = host.keys.add(session.keys)
        self.direction = direction
        self.last = host.filled  # behind the records of the last `serve`
        self._host = host
        self._shift = session.number - session.ordinal
        self._own: Array = np.zeros(Own.COLUMNS, np.int64)
        self._own[Own.FLOW] = flow
        self._own[Own.KEYS] = slot
        promotion.take(direction, host.arena, self._own)
        self._learn_epochs()

    def serve(self, head: int = -1) -> int:
        """Take the list of extents that begins at `head`, one group per host point; they are not the caller's any more.

        DONE: all was taken. RECORD: the last row of the records is not application data; go on with `serve()`, or
        demote. LEAVE: what comes next is not for this engine, and nothing of it is done: demote. HOLE: all before the
        hole that is due has been read, or there is more behind one: `go_on`, or demote.
        """
        host = self._host

        if self._epoch is not None and self._epoch.slips:
            self._own[Own.SLIPS] = 1
        first = host.filled
        said: int = kernel.serve(head, host.arena.tables, host.keys.rows, host.tables, self._own)
        return self.take(said, first)

    def take(self, said: int, first: int) -> int:
        """The same, where a kernel has done it already: what it said, and how many records there were before."""
        host, direction = self._host, self.direction
        self.last = said >> state.SHIFT
        if said & _NOTED or direction.losses or direction.ahead or direction.tally.digest is not None:
            results.note(direction, self._own, said, host.records[first : self.last], host.arena)
        if said & state.STATUS == state.GROW:
            host.grow()
            return self.serve()
        return said & state.STATUS

    @property
    def row(self) -> int:
        """The address of the row by which kernels serve this direction, until it is demoted."""
        return int(self._own.ctypes.data)

    def listen(self, always: bool) -> None:
        """Say of what kernels have to tell, to `take`; `always`: of every host point. Between host points."""
        direction, own = self.direction, self._own
        bits = state.LONG | state.LEAF_CHANGED
        if direction.receive_tag is not None:
            bits |= state.REPORTS
        if direction.losses or direction.tally.digest is not None:
            bits |= state.DELIVERED
        if always:
            bits |= state.SERVED
        own[Own.LISTENING] = bits
        if self._epoch is not None and self._epoch.slips:
            own[Own.SLIPS] = 1

    def listen_once(self) -> None:
        """Say that the next host point is to be told, as there is something that waits for it."""
        self._own[Own.LISTENING] |= state.SERVED

    @property
    def waits(self) -> bool:
        """Whether a later host point may have something to report though all that comes is clean (points.waits)."""
        return bool(kernel.waits(self._host.arena.extents, self._own))

    @property
    def memory(self) -> int:
        """Reassembly.memory, as it stands in the account."""
        return int(self._own[Own.TOLD])

    @property
    def place_of_events(self) -> tuple[int, int]:
        """The host point that is being served, and how many records have been delivered."""
        return int(self._own[Own.POINT]), self._host.filled

    def go_on(self, flow: Flow, side: int) -> bool:
        """At a HOLE, go on behind it, or look at what has come there: then `serve` again. False: that is for the plain
        host, which finds in place what has been done."""
        own, direction, session = self._own, self.direction, self.direction.session
        assert session is not None
        if direction.assume_received:
            return False
        if not direction.gaps:
            self.fold()  # what came before the first gap was not recovered
        session.number = int(own[Own.NUMBER])
        session.ordinal = session.number - self._shift
        session.length, session.explicit = int(own[Own.LAST_LENGTH]), int(own[Own.EXPLICIT]) & (1 << 64) - 1
        if direction.recovery is None and own[Own.FOUND] >= 0 and direction.work.left > 0:
            resume(flow, side, session, self, int(own[Own.FOUND]), int(own[Own.FOUND_LENGTH]))
            found = True
        else:
            if direction.recovery is None:
                meet(flow, side, session, self)
            found = recover(flow, side, session, self)
        own[Own.RECOVERING], own[Own.SEARCHED] = not found, own[Own.TLSCC]
        own[Own.NUMBER], own[Own.UNJUDGED] = session.number, session.unjudged
        self._shift = session.number - session.ordinal
        return not direction.new_keys and (found or direction.work.left > 0)

    # The bytes on both sides of a hole (holes.Stream).

    @property
    def sockbuf(self) -> Chain:
        """What waits in order."""
        return Chain(self._host.arena, self._own)

    @property
    def due(self) -> bool:
        """Reassembly.due."""
        return bool(self._own[Own.DUE])

    @property
    def ending(self) -> bool:
        """The end is the plain host's."""
        return False

    def pass_hole(self) -> Hole:
        """Direction.pass_hole."""
        own, arena = self._own, self._host.arena
        at, tcp_seq, acknowledged = (
            int(own[Own.NEXT]),
            int(own[Own.NEXT_SEQ]),
            own[Own.ACKED] > own[Own.NEXT],
        )
        kernel.pass_hole(arena.tables, own, self._host.desk)
        return Hole(at, tcp_seq, self.sockbuf.start_seq - tcp_seq & MASK, bool(acknowledged))

    @property
    def leaf(self) -> int:
        """SockBuf.leaf: where the last bytes in order came from."""
        return int(self._own[Own.LEAF])

    @property
    def version(self) -> Version:
        """Of the keys that it has."""
        assert self.direction.session is not None
        return self.direction.session.keys.version

    @property
    def resync(self) -> bool:
        """Session._resync: the next record that the device has decrypted will be reported."""
        return bool(self._own[Own.RESYNC])

    def place(self) -> tuple[int, int]:
        """Session.next_place: (TCP sequence number, record number) of the next header that is not on the chain yet."""
        own, arena = self._own, self._host.arena
        chain = b"".join(arena.bytes(*where(row)) for row in extents(arena, own, Own.CHAIN_HEAD))
        number, at = int(own[Own.NUMBER]), 0
        while at + 5 <= len(chain):
            at += 5 + int.from_bytes(chain[at + 3 : at + 5], "big")
            number += 1
        return (int(own[Own.END_SEQ]) - len(chain) + at) & MASK, number

    def standing(self) -> Standing:
        """Direction.standing: the record headers that are known at a host point."""
        session, own = self.direction.session, self._own
        assert session is not None
        start = (int(own[Own.END_SEQ]) - int(own[Own.TLSCC])) & MASK
        pieces = (self._pieces(Own.CHAIN_HEAD), self._pieces(Own.HELD_HEAD))
        return walk(session.keys, int(own[Own.NUMBER]), start, *pieces)

    def marks(self) -> set[int]:
        """The marks that held and waiting bytes carry."""
        arena, own = self._host.arena, self._own
        rows = extents(arena, own, Own.HELD_HEAD) + extents(arena, own, Own.CHAIN_HEAD)
        return {row[Extent.MARK] for row in rows}

    def epoch(self, epoch: int | None = None) -> None:
        """Session.begin_epoch: a receive tag is installed, whose marks will carry `epoch`. Without one: take note that
        the session's epochs were changed (prune_epochs)."""
        session = self.direction.session
        assert session is not None
        if epoch is not None:
            session.number = int(self._own[Own.NUMBER])
            session.ordinal = session.number - self._shift
            session.begin_epoch(epoch)
        self._learn_epochs()

    def fold(self) -> None:
        """Enter the counts since the last time into the direction's tally and ledger."""
        results.fold(self.direction, self._own)

    def demote(self) -> list[Group]:
        """Give everything back to the direction. Returned are the groups that are not done, the begun one first: for
        each, Direction.input of its Mbufs and Reassembly.settle, if they are still to come, then the worker."""
        self.fold()
        own, arena = self._own, self._host.arena
        groups: list[Group] = []
        if own[Own.PHASE] != state.IDLE:
            groups.append(Group(int(own[Own.POINT]), [], bool(own[Own.PHASE] == state.INPUT)))
        points = [row[Extent.POINT] for row in extents(arena, own, Own.PENDING)]
        for point, mbuf in zip(points, arena.mbufs(int(own[Own.PENDING])), strict=True):
            if not groups or groups[-1].point != point:
                groups.append(Group(point, [], True))
            groups[-1].mbufs.append(mbuf)
        promotion.give_back(self.direction, arena, own, self._shift)
        self._host.keys.release(int(own[Own.KEYS]))
        return groups

    def _pieces(self, head: int) -> list[Piece]:
        """The same as (TCP sequence number, bytes)."""
        arena = self._host.arena
        return [(row[Extent.SEQ], arena.bytes(*where(row))) for row in extents(arena, self._own, head)]

    def _learn_epochs(self) -> None:
        """Which marks are of the present keys and numbers: a run of epochs, as a new leaf only counts them up."""
        session, own = self.direction.session, self._own
        assert session is not None
        epochs = session.epochs
        good = {n for n, each in epochs.items() if each.keys == session.keys and each.shift == self._shift}
        first = last = max(good, default=0)
        while first - 1 in good:
            first -= 1
        own[Own.FIRST_EPOCH], own[Own.LAST_EPOCH] = (first, last) if good else (1, 0)
        own[Own.SLIPS] = any(each.slips for each in epochs.values())
        self._epoch = epochs.get(last)  # the one that may learn of slips
