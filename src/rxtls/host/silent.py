"""Connections that carry nothing: a SYN that nobody answers, a port scan, a handshake and no data.

    SYN, SYN-ACK ──► kept as rows ──► payload, RST, FIN, a socket ──► Flow, of what came before
                              └─────► END of both sides ──► Remains ◄── Flow that ended and carried nothing

A Flow takes 15 kB, and a flood of SYNs makes as many as there are packets. So a connection has one only once there is
something to do for it, and until its end. Who looks at another one gets a view: a Flow that says what one would have
said that had been there all the time, and that nobody keeps. What is left when nothing came is the same for all
connections that ended alike, and is kept once.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

from rxtls.counters import Ledger
from rxtls.handshake.library import Facts, Preset
from rxtls.host.direction import Direction
from rxtls.host.flow import Flow
from rxtls.host.reassembly import Stop
from rxtls.intake.batch import ACK, END, PSH, SYN
from rxtls.intake.flows import Connection
from rxtls.offload.mbuf import WIRE, Mbuf
from rxtls.seq import distance

MOST_ROWS = 16  # that are kept of a connection; a SYN is sent some seven times
_KEPT = SYN | ACK | PSH | END  # flags of rows that are kept: what others mean, the host has to say at once
_ROW = struct.Struct("<8q")  # side, seq, leaf, flags, acked, edge, frame, time


@dataclass(slots=True, frozen=True, eq=False)
class Remains:
    """What is left of connections that carried nothing and ended alike."""

    directions: tuple[Direction, Direction]
    facts: Facts


class Flows(Mapping[int, Flow]):
    """The connections of a path by number, in that order. Those in `made` have a Flow; `make` makes one."""

    def __init__(self, connections: Sequence[Connection], make: Callable[[Connection, Ledger], Flow], ledger: Ledger):
        self.made: dict[int, Flow] = {}
        self._rows: dict[int, bytes] = {}
        self._remains: dict[int, Remains] = {}
        self._alike: dict[object, Remains] = {}
        self._unanswered: dict[object, Remains] = {}  # by the sides that sent a SYN
        self._connections = connections
        self._make = make
        self._ledger = ledger

    def __getitem__(self, number: int) -> Flow:
        flow = self.made.get(number)
        if flow is not None:
            return flow
        remains = self._remains.get(number)
        if remains is not None:
            return self._ended(number, remains.directions, remains.facts)
        return self._of_rows(number, self._rows[number], Ledger())

    def __iter__(self) -> Iterator[int]:
        return iter(sorted([*self.made, *self._rows, *self._remains]))

    def __len__(self) -> int:
        return len(self.made) + len(self._rows) + len(self._remains)

    def __contains__(self, number: object) -> bool:
        return number in self.made or number in self._rows or number in self._remains

    def all_made(self) -> list[Flow]:
        """Those that have a Flow, in order."""
        return [self.made[number] for number in sorted(self.made)]

    def by_first_frame(self) -> list[int]:
        """Their numbers."""
        return sorted(self, key=lambda number: (self._connections[number].start_frame, number))

    def remains(self, number: int) -> Remains | None:
        """What is left of a connection that has ended and carried nothing."""
        return self._remains.get(number)

    def kept(self, number: int) -> bool:
        """Whether rows of it are kept."""
        return number in self._rows

    def begin(self, number: int) -> Flow:
        """From now on a connection has a Flow."""
        remains = self._remains.pop(number, None)
        if remains is not None:
            one, other = map(_own, remains.directions)
            flow = self._ended(number, (one, other), remains.facts)
        else:
            flow = self._of_rows(number, self._rows.pop(number, b""), self._ledger)
        self.made[number] = flow
        return flow

    def keep(self, number: int, side: int, mbufs: list[Mbuf]) -> bool:
        """Keep what a host point brings rather than give it to a Flow; False if there has to be one."""
        rows = self._rows.get(number, b"")
        if len(rows) // _ROW.size + len(mbufs) > MOST_ROWS or not all(map(_silent, mbufs)):
            return False
        ending = False
        for each in mbufs:
            frame, time_ns = each.arrivals[-1][1:]
            rows += _ROW.pack(side, each.seq, each.leaf, each.flags, each.acked, each.edge, frame, time_ns)
            ending |= bool(each.flags & END)
        self._rows[number] = rows
        if ending:
            self._end(number, rows)
        return True

    def late(self, mbufs: list[Mbuf]) -> None:
        """Something came of a connection of which there are `remains`."""
        self._ledger.fate(Stop.ENDED.value, sum(len(mbuf.data) for mbuf in mbufs))

    def let_go(self, flow: Flow) -> Remains | None:
        """If a Flow has ended and carried nothing, what is left of it takes its place."""
        if not flow.ended or not flow.coupled or flow.records or not all(map(_nothing, flow.directions)):
            return None
        said = flow.facts, *map(_said, flow.directions)
        remains = self._alike.setdefault(said, Remains(flow.directions, flow.facts))
        number = flow.connection.id
        self._remains[number] = remains
        del self.made[number]
        return remains

    def _end(self, number: int, rows: bytes) -> None:
        """If both sides of a connection have ended, nothing came of it."""
        sides: set[int] = set()
        ended: set[int] = set()
        for side, _, _, flags, *_ in _ROW.iter_unpack(rows):
            (ended if flags & END else sides).add(side)
        if len(ended) < 2:
            return
        remains = self._unanswered.get(key := frozenset(sides))
        if remains is None:
            flow = self.begin(number)
            flow.conclude()
            flow.end()
            remains = self.let_go(flow)
            assert remains is not None
            self._unanswered[key] = remains
        else:
            del self._rows[number]
            self._remains[number] = remains

    def _ended(self, number: int, directions: tuple[Direction, Direction], facts: Facts) -> Flow:
        flow = Flow(self._connections[number], Preset({}), directions, self._ledger, 0, 0)
        flow.conclude_as(facts)
        return flow

    def _of_rows(self, number: int, rows: bytes, ledger: Ledger) -> Flow:
        flow = self._make(self._connections[number], ledger)
        for side, seq, leaf, flags, acked, edge, frame, time_ns in _ROW.iter_unpack(rows):
            direction = flow.directions[side]
            if flags & END:
                direction.end_seen = True
            else:
                direction.input(Mbuf(seq, b"", WIRE, leaf, flags, [(0, frame, time_ns)], acked, edge))
            direction.reassembly.settle()
        return flow


def _silent(mbuf: Mbuf) -> bool:
    """Whether nothing comes of it at the end: a SYN of which at most itself was acknowledged, or an END."""
    if mbuf.data or mbuf.mark != WIRE or mbuf.flags & ~_KEPT or len(mbuf.arrivals) != 1:
        return False
    return bool(mbuf.flags & END) or mbuf.acked < 0 or distance(mbuf.seq, mbuf.acked) <= 1


def _own(direction: Direction) -> Direction:
    """One that others do not share, as far as a socket changes it."""
    own = copy(direction)
    own.reassembly, own.sockbuf = copy(direction.reassembly), copy(direction.sockbuf)
    return own


def _said(direction: Direction) -> object:
    """In what directions of which nothing is left still differ."""
    reassembly = direction.reassembly
    return direction.refused, reassembly.begun, reassembly.syn_seen, reassembly.reset, reassembly.finished


def _nothing(direction: Direction) -> bool:
    """A direction that has ended, of which there is nothing to say but why."""
    tally, reassembly = direction.tally, direction.reassembly
    something: tuple[Any, ...] = (
        direction.enabled, direction.closed, direction.fatal, direction.within, direction.gap, direction.gaps,
        direction.path_changes, direction.socket, direction.left_over, direction.skipped, direction.missing,
        direction.late_start is not None, direction.mode, direction.why_software, direction.work.spent, reassembly.next,
        tally.records, tally.bytes, tally.app_bytes, tally.decrypts, direction.shut, direction.waiting,
    )  # fmt: skip
    return not any(something) and reassembly.stopped is Stop.ENDED
