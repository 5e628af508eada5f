"""One direction of a connection at its receiving host: reassembly, socket buffer, kTLS session, and what came of it.

    raw        the TLS library reads the stream: preamble, handshake, early data
    kTLS       receive is enabled: the worker reads records
    refused    nobody reads: every byte gets the fate that the refusal names

This is the state that path/receive.py walks; it knows neither the device nor the other direction.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from rxtls.counters import Ledger
from rxtls.crypto.keys import Keys
from rxtls.events import PathChange, Record, RecordClass
from rxtls.handshake.library import Library
from rxtls.handshake.search_budget import SEARCH, Work
from rxtls.handshake.steps import Refuse, Step
from rxtls.host.reassembly import Account, Hole, Reassembly, Stop
from rxtls.host.recovery import Recovery
from rxtls.host.sockbuf import SockBuf
from rxtls.host.standing import walk
from rxtls.host.tally import Tally
from rxtls.host.worker import Outcome, Session
from rxtls.intake.batch import SYN
from rxtls.intake.flows import Connection
from rxtls.offload.commands import Report, Standing
from rxtls.offload.mbuf import Mbuf
from rxtls.offload.receive_tag import ReceiveTag
from rxtls.seq import distance

MOST_GAPS = 1000  # that are kept one by one,
MOST_CHANGES = 1000  # and of the changes of the path


@dataclass(slots=True)
class GapSeen:
    """Holes with no record that authenticates between them: what they cost.

    `number` is the first record that is not whole, None before receive was enabled; `records` are so many, None where
    nothing behind them could be authenticated.
    """

    holes: list[Hole] = field(default_factory=list)
    number: int | None = None
    records: int | None = None


class Reader(Protocol):
    """Who reads records one by one: a kTLS socket (host/socket/)."""

    def called(self, keys: Keys, number: int) -> Session:
        """Receive is to be enabled: as these keys say, or as the application did."""

    def deliver(self, outcome: Outcome, version: tuple[int, int]) -> None:
        """The worker has opened or discarded a record; `version` is that of TLS on the wire."""

    def settle(self) -> None:
        """After the worker."""

    def end(self) -> None:
        """The connection is over."""


class Direction:
    """Bytes sent by one side, as the other side's host receives them.

    `hold` and `account` are reassembly.py's. `search` is the budget of work for finding records behind holes, or in a
    stream whose beginning was not captured. `assume_received`: the receiver's NIC is taken to have seen what the
    capture lacks.
    """

    __slots__ = (
        "_was_enabled",
        "ahead",
        "asked",
        "assume_received",
        "closed",
        "deferred",
        "elsewhere",
        "end_seen",
        "epoch",
        "fatal",
        "gap",
        "gaps",
        "gaps_more",
        "held",
        "late_start",
        "leaf",
        "ledger",
        "left_over",
        "losses",
        "lost_since",
        "missing",
        "mode",
        "new_keys",
        "path_changes",
        "path_changes_more",
        "paused",
        "prompt",
        "reassembly",
        "receive_tag",
        "recovery",
        "refused",
        "reports",
        "session",
        "shut",
        "skipped",
        "sockbuf",
        "socket",
        "syn_leaf",
        "tally",
        "tried",
        "unheard",
        "waiting",
        "why_software",
        "within",
        "work",
    )

    def __init__(
        self,
        ledger: Ledger,
        hold: int,
        digest: bool,
        search: int = SEARCH,
        assume_received: bool = False,
        account: Account | None = None,
    ) -> None:
        self.ledger = ledger
        self.reassembly = Reassembly(ledger, hold, account)
        self.sockbuf = SockBuf()
        self.tally = Tally(digest)
        self.session: Session | None = None
        self.refused: Refuse | None = None
        self.closed = False  # close_notify came
        self.fatal: str | None = None  # why the record header that ended the stream could not be right
        self._was_enabled = False
        self.new_keys = False  # since the last host point: the receive tag has to be made anew
        self.held = False  # between renegotiated keys: the worker may not open the next record yet
        self.waiting = False  # the library waits for keys
        self.end_seen = False
        self.left_over = 0
        self.socket: Reader | None = None  # who reads the records one by one; without one they are read at once
        self.shut = False  # the application shut down receiving
        self.syn_leaf = -1
        self.leaf: int | None = None  # the new leaf, when it changed since the last host point
        self.receive_tag: ReceiveTag | None = None
        self.asked: str | None = None  # the interface that was asked for a receive tag last,
        self.tried = -1  # and its leaf: what packets' leaves are compared with (tls->rx_ifp); -1 none
        self.elsewhere = False  # and packets had not come by it
        self.path_changes: list[PathChange] = []  # the first MOST_CHANGES
        self.path_changes_more = 0
        self.epoch = 0
        self.mode: str | None = None  # "ifnet" or "sw" once receive is enabled; at the end, the final one
        self.why_software: str | None = None  # why there is no receive tag, as a code of run/summary.py WHY
        self.within: str | None = None  # the protocol in whose frames records are, so that no kTLS can read them
        self.reports: list[Report] = []
        self.lost_since: tuple[int, int] | None = (
            None  # (time in ns, place) of a loss that the device has not resumed from
        )
        self.assume_received = assume_received
        self.work = Work(search)
        self.recovery: Recovery | None = None  # behind a hole, no record has authenticated yet
        self.gap = False  # the receiver acknowledged bytes that the capture lacks
        self.gaps: list[GapSeen] = []  # the first MOST_GAPS
        self.gaps_more = 0
        self.missing = 0  # bytes
        self.skipped = 0  # bytes before the first record that was found, where the beginning was not captured
        self.late_start: int | None = None  # the number of that record
        self.ahead = False  # it is served between two host points (Flow.ahead)
        self.deferred: tuple[int, bytes] | None = None  # type and payload of a record that is still to be heard
        self.paused = False  # and so no more is to be opened before the host point
        self.prompt = False  # since its last host point records come out so
        self.unheard: list[int] = []  # decrypted records; what was lost before them is still to be heard
        self.losses: list[int] = []  # places of the device's losses that no decrypted record has followed yet

    def input(self, mbuf: Mbuf) -> None:
        """One Mbuf from the device."""
        if mbuf.flags & SYN:
            self.syn_leaf = mbuf.leaf
        self.append(self.reassembly.input(mbuf))

    def pass_hole(self) -> Hole:
        """Go on behind the hole that is due. What waits before it is the caller's to have dropped."""
        hole, pieces = self.reassembly.pass_hole()
        self.append(pieces)
        return hole

    @property
    def due(self) -> bool:
        """The hole behind what came in order is to be passed."""
        return self.reassembly.due

    @property
    def ending(self) -> bool:
        """Nothing more will come."""
        return self.reassembly.ending

    def append(self, pieces: list[Mbuf]) -> None:
        """The next bytes in order."""
        for piece in pieces:
            fate = self.fate()
            if fate:
                self.ledger.fate(fate, len(piece.data))
                continue
            changed = self.sockbuf.append(piece)
            if changed:
                self.leaf = changed.leaf

    def start(self) -> tuple[int, int, int] | None:
        """Where a new receive tag can begin: (TCP sequence number, record number, leaf), None before the SYN."""
        assert self.session is not None
        if self.reassembly.next:
            leaf = self.sockbuf.leaf if self.sockbuf.leaf >= 0 else self.syn_leaf
            return *self.session.next_place(self.sockbuf), leaf
        if self.reassembly.begun:  # keys before the first byte: the SYN told place and leaf
            return self.reassembly.rcv_nxt, self.session.number, self.syn_leaf
        return None

    def standing(self) -> Standing:
        """The record headers that are known at a host point, once the worker has been."""
        assert self.session is not None
        sockbuf = self.sockbuf
        chain = sockbuf.pieces()
        held = ((mbuf.seq, mbuf.data) for mbuf in self.reassembly.held)
        return walk(self.session.keys, self.session.number, sockbuf.start_seq, chain, held)

    @property
    def enabled(self) -> bool:
        """Receive is enabled on the socket, or was when the connection ended."""
        return self.session is not None or self._was_enabled

    def found(self, time_ns: int, place: int) -> None:
        """The device absorbs headers again from `place` on (or will never more): what it was out of sync is counted."""
        if self.lost_since is not None:
            since, lost = self.lost_since
            self.lost_since = None
            self.tally.out_of_sync_ns += max(0, time_ns - since)
            self.tally.out_of_sync_bytes += max(0, distance(lost, place))

    def fate(self) -> str | None:
        """What becomes of the next byte in order, if nobody is going to read it."""
        if self.refused:
            return self.refused.fate
        if self.closed:
            return "byte.after_close"
        if self.fatal:
            return "byte.after_error"
        if self.shut:
            return "byte.flushed"
        return None

    def enter_gap(self, holes: list[Hole], number: int | None, records: int | None, more: int = 0) -> None:
        """Remember what the capture lacks: `holes`, and `more` bytes in holes that are too many to be kept."""
        self.gap = self.gap or any(hole.acknowledged for hole in holes)
        self.missing += sum(hole.length for hole in holes) + more
        if len(self.gaps) < MOST_GAPS:
            self.gaps.append(GapSeen(holes, number, records))
        else:
            self.gaps_more += 1

    def change_path(self, change: PathChange) -> None:
        """Remember that packets came by another interface."""
        if len(self.path_changes) < MOST_CHANGES:
            self.path_changes.append(change)
        else:
            self.path_changes_more += 1

    def give_up(self) -> None:
        """Behind a hole nothing authenticates, and no more is going to be tried."""
        recovery, self.recovery = self.recovery, None
        assert recovery is not None
        self.enter_gap(recovery.holes, recovery.number, None, recovery.more)
        self.reassembly.stop(Stop.GAP if recovery.holes[-1].acknowledged else Stop.OVERFLOW)
        self.ledger.fate("byte.left_over", recovery.before)
        self.ledger.fate("byte.after_gap", recovery.cut - recovery.before + self.sockbuf.flush())

    def drop_waiting(self) -> None:
        """Give what waits the fate that now applies."""
        fate = self.fate()
        if fate:
            self.ledger.fate(fate, self.sockbuf.flush())

    def finish(self) -> None:
        """Nothing more will come: settle what is left, and forget the keys."""
        self.found(self.reassembly.time_ns, self.sockbuf.end_seq)
        if self.socket:
            self.socket.end()
        self.reassembly.finish()
        self.left_over = self.sockbuf.flush()
        self.ledger.fate("byte.left_over", self.left_over)
        self._was_enabled = self.enabled
        self.session = None

    @property
    def abandoned(self) -> bool:
        """Its keys were known, and yet it was given up: by the library, or for want of room to hold what came ahead."""
        refused = self.refused is not None and self.refused.lost
        return refused or (self.enabled and self.reassembly.stopped is Stop.OVERFLOW)

    def complete(self) -> bool | None:
        """All records from number 0 to the end seen, opened and delivered; None without keys."""
        if not self.enabled and not self.within:
            return None
        whole = (self.closed or (self.reassembly.finished and not self.left_over)) and not self.gaps
        whole = whole and not self.late_start
        return whole and not self.fatal and not self.refused and not self.tally.records[RecordClass.FAILED]


class Sides(Protocol):
    """A connection, as far as it has to do with a hole in one of its directions: flow.py's Flow."""

    library: Library
    ledger: Ledger
    records: list[Record]

    @property
    def connection(self) -> Connection: ...
    @property
    def directions(self) -> tuple[Direction, Direction]: ...
    def receiver(self, side: int) -> str: ...
    def take(self, side: int, step: Step) -> bool: ...
