"""One connection at its two hosts: the TLS library, the workers, and the records they bring out.

    raw      library.read ──► library records, Enable, Refuse
    kTLS     session.step ──► records; what is not application data goes to the library, which may change the keys
    hole     holes.py ──► a Gap, and kTLS again at the next record that authenticates
    ahead    session.step between two host points ──► records, and nothing else that anybody could see

`advance` lets library and workers run until neither gets any further; each may unblock the other (a client's second
flight means nothing before the ServerHello). What the NIC has to do about it (a receive tag for new keys) is left as a
flag on the direction for path/receive.py to carry: this file knows no device.
"""

from __future__ import annotations

from typing import NamedTuple

from rxtls.counters import Ledger
from rxtls.events import By, Record, RecordClass
from rxtls.handshake.library import Facts, Library, Preset, facts
from rxtls.handshake.steps import Enable, Hold, LibraryRecord, Refuse, Rekey, Step, Wait, Within, refuse
from rxtls.host import holes, rejoin
from rxtls.host.direction import Direction
from rxtls.host.rejoin import Left
from rxtls.host.worker import APPLICATION_DATA, CryptoState, Outcome, Session
from rxtls.intake.flows import Connection
from rxtls.offload.mbuf import latest
from rxtls.seq import distance

ALERT = 21
CLOSE_NOTIFY = 0

# Unread bytes after which a direction that is captured alone stops hoping for the other one: twice the largest flight a
# client sends before the server has spoken.
ONE_SIDED = 64 << 10

_CLASS = {
    CryptoState.DECRYPTED: RecordClass.DECRYPTED,
    CryptoState.MIXED: RecordClass.MIXED,
    CryptoState.ENCRYPTED: RecordClass.ENCRYPTED,
}
_FATE = {record_class: f"record.{record_class}" for record_class in RecordClass}


class Close(NamedTuple):
    """The peer has said close_notify."""


class Flow:
    """A connection and its two directions: `directions[s]` holds what side s sent (0 = endpoint a of `connection`).

    `keys_wait` and `handshake` bound in bytes what may lie unread while keys, or more of the handshake, are hoped for.
    `records` collects what came out since somebody took it.
    """

    __slots__ = (
        "_facts",
        "_handshake",
        "_keys_wait",
        "connection",
        "coupled",
        "directions",
        "ended",
        "keys_wait_met",
        "ledger",
        "left",
        "library",
        "records",
    )

    def __init__(
        self,
        connection: Connection,
        library: Library,
        directions: tuple[Direction, Direction],
        ledger: Ledger,
        keys_wait: int,
        handshake: int,
    ) -> None:
        self.connection = connection
        self.library = library
        library.works = directions[0].work, directions[1].work
        self.directions = directions
        self.coupled = True  # both directions run at budget 1 in frame order
        self.ended = False
        self.keys_wait_met = False
        self.records: list[Record] = []
        self.ledger = ledger
        self._keys_wait = keys_wait
        self._handshake = handshake
        self._facts: Facts | None = None
        self.left: Left | None = None  # of the connection that this one may go on from

    def goes_on(self, left: Left) -> None:
        """Before its first segment: it may go on from there."""
        self.left = left
        for direction, stood in zip(self.directions, left.sides, strict=True):
            direction.reassembly.expected = stood.end if stood else -1

    @property
    def facts(self) -> Facts:
        """What the TLS library has learned of the connection."""
        return self._facts or facts(self.library)

    @property
    def over(self) -> bool:
        """Both directions have met the end of the connection."""
        return all(direction.end_seen for direction in self.directions)

    @property
    def waiting(self) -> bool:
        """A direction waits for keys that may still come."""
        return not self.ended and any(direction.waiting for direction in self.directions)

    @property
    def client_side(self) -> int:
        """The side that is the client: the ClientHello's sender if one was seen, else intake's guess."""
        side = (self._facts or self.library).client_side
        return self.connection.client_side if side is None else side

    def receiver(self, side: int) -> str:
        """The host at which what `side` sent arrives: "server" or "client"."""
        return "server" if side == self.client_side else "client"

    def advance(self) -> None:
        """TLS library and workers, until neither gets any further."""
        side, again = 0, [True, True]
        while any(again):
            if again[side]:
                # A side that got on may have unblocked the other one. It has itself gone as far as it can, unless it
                # stands behind a gap now.
                read, worked = self._read(side), self._work(side)
                again[side] = holes.skip(self, side)
                again[1 - side] |= read or worked or again[side]
            side = 1 - side
        for direction in self.directions:
            if direction.socket:
                direction.socket.settle()

    # Between two host points: who wants both directions in one order of time cannot wait for them.

    def reads_ahead(self, side: int) -> bool:
        """Whether `ahead` brings out records of this side. It is so from one host point to the next."""
        direction = self.directions[side]
        stuck = direction.session is None or direction.recovery is not None or direction.held or direction.fate()
        return not (self.coupled or self.ended or stuck or direction.paused or direction.socket)

    def ahead(self, side: int) -> None:
        """Open what is whole by now of a side that `reads_ahead`. Bounds and gaps are judged, and the policy is served,
        at the host point, as if this had not been.

        So is what the library makes of a record before TLS 1.3, and with it all that is behind: it may begin a
        renegotiation, from which on the two directions are served together.
        """
        direction = self.directions[side]
        session = direction.session
        assert session is not None
        direction.ahead = True
        while (outcome := session.step(direction.sockbuf)) is not None and self._opened(side, outcome):
            pass
        direction.ahead = False
        self._meet_fatal(direction, session)

    def defer(self, side: int, type: int, payload: bytes) -> bool:  # noqa: A002
        """Whether a record that came out ahead of its host point is to be heard only there; then it is."""
        if not waits(self, side, type) or self._closes(side, type, payload):
            return False
        direction = self.directions[side]
        direction.deferred, direction.paused = (type, payload), True
        return True

    def conclude(self) -> None:
        """Nothing more will come: what the library hoped for, it has to do without, and what is held comes out."""
        if self.ended:
            return
        for side, direction in enumerate(self.directions):
            self.library.settle(side)
            direction.reassembly.last()
        self.advance()
        for direction in self.directions:
            if direction.recovery is not None:
                direction.give_up()
            hole = direction.reassembly.gap_at_end()
            if hole is not None and direction.reassembly.stopped is None and not direction.closed:
                direction.enter_gap([hole], direction.session.number if direction.session else None, None)

    def end(self) -> None:
        """The connection is over: what is left gets its fate; what was learned is kept, and how is forgotten."""
        for side, direction in enumerate(self.directions):
            refusal = self.library.end(side)
            if refusal and not direction.enabled:
                direction.refused = refusal
                direction.drop_waiting()
            direction.finish()
        self._facts = facts(self.library)
        self.library = Preset({})
        self.ended = True

    def conclude_as(self, facts: Facts) -> None:
        """It had ended before this was made."""
        self._facts = facts
        self.ended = True

    # Before receive is enabled: the TLS library reads the raw socket.

    def _read(self, side: int) -> bool:
        direction = self.directions[side]
        if self.left is not None and direction.reassembly.begun and self._rejoin(side, self.left):
            return True
        waiting = direction.sockbuf.waiting
        if direction.enabled or direction.refused or not waiting:
            return False
        self.library.syn_seen[side] = direction.reassembly.syn_seen
        self.library.behind[side] = bool(direction.reassembly.held)
        if self.take(side, self.library.read(side, direction.sockbuf.peek(waiting))):
            return True
        if waiting <= self._bound(side):
            return False
        if self.directions[1 - side].reassembly.hurry():
            return True
        if direction.waiting or self.directions[1 - side].reassembly.begun:
            self.keys_wait_met |= direction.waiting
            self.library.settle(side, bound=True)
        else:
            self.library.one_sided(side)
        return self.take(side, self.library.read(side, direction.sockbuf.peek(waiting)))

    def _rejoin(self, side: int, left: Left) -> bool:
        """Once for each side: go on from where the connection before this one stood, if it is the same one. The side
        that speaks first decides."""
        if left.met[side]:
            return False
        left.met[side] = True
        joined = rejoin.join(self, side, left)
        if self.library is left.library:
            if not joined and left.enabled[side]:
                self.directions[side].refused = refuse("mid_connection", "it does not go on from what was read before")
                self.directions[side].drop_waiting()
                return True
        elif joined:
            left.library.works = self.library.works
            self.library = left.library
        else:
            left.drop(self.ledger)
            self.left = None
        return joined

    def _bound(self, side: int) -> int:
        """How many raw bytes may lie unread before the library has to decide with what it has."""
        if self.directions[side].waiting:
            return self._keys_wait
        return self._handshake if self.directions[1 - side].reassembly.begun else min(ONE_SIDED, self._handshake)

    def take(self, side: int, step: Step) -> bool:
        """Do what the library says; whether that was anything."""
        direction = self.directions[side]
        if step.preamble:
            direction.sockbuf.read(step.preamble)
            self.ledger.fate("byte.preamble", step.preamble)
        if step.skipped:
            direction.sockbuf.read(step.skipped)
            self.ledger.fate("byte.before_start", step.skipped)
            direction.skipped += step.skipped
        self.ledger.enter("record", len(step.records))
        for record in step.records:
            self._library_record(side, record)
        direction.waiting = isinstance(step.action, Wait)
        match step.action:
            case Enable(keys, number, late):
                direction.late_start = number if late else None
                direction.sockbuf.enable()
                socket = direction.socket
                direction.session = Session(keys, number) if socket is None else socket.called(keys, number)
                direction.new_keys = True
            case Refuse():
                direction.refused = step.action
                direction.drop_waiting()
            case Within(protocol):
                direction.within = protocol
            case None | Wait():
                return step.consumed > 0
        return True

    def _library_record(self, side: int, record: LibraryRecord) -> None:
        direction = self.directions[side]
        tcp_seq = direction.sockbuf.start_seq
        chain = direction.sockbuf.read(record.wire_length)
        frame, time_ns = latest(chain)
        event = Record(
            self.connection.id,
            self.receiver(side),
            record.type,
            record.payload,
            record.number,
            RecordClass.FAILED if record.failed else RecordClass.LIBRARY,
            tcp_seq,
            record.wire_length,
            frame,
            time_ns,
            early_data=record.early_data,
        )
        self._emit(direction, event)

    # After it: the kTLS worker.

    def _work(self, side: int) -> bool:
        direction = self.directions[side]
        session = direction.session
        if session is None or direction.paused or direction.fate():
            return False
        if direction.held and not self._resume(side):
            if direction.reassembly.due and direction.reassembly.over:
                holes.stall(direction)
            return False
        progress = False
        if direction.deferred is not None:
            told, direction.deferred = direction.deferred, None
            progress = True
            if not self.obey(side, self.hear(side, *told)):
                return True
        while direction.recovery is None or holes.recover(self, side, session, direction):
            while (outcome := session.step(direction.sockbuf)) is not None:
                progress = True
                if not self._opened(side, outcome):
                    return True
            self._meet_fatal(direction, session)
            if direction.fatal or not direction.reassembly.due:
                break
            if direction.socket:
                if not direction.reassembly.ending:
                    holes.stall(direction)
                break
            progress = True
            holes.meet(self, side, session, direction)
        if direction.recovery is not None and direction.work.left <= 0:
            direction.give_up()
        return progress

    def _opened(self, side: int, outcome: Outcome) -> bool:
        """One record more; whether the worker may open the next one."""
        self.ledger.enter("record")
        self._worker_record(side, outcome)
        opened = outcome.opened
        if opened is None or opened.type == APPLICATION_DATA:
            return True
        if self.directions[side].ahead and self.defer(side, opened.type, opened.payload):
            return False
        return self.obey(side, self.hear(side, opened.type, opened.payload))

    def _meet_fatal(self, direction: Direction, session: Session) -> None:
        if session.fatal and not direction.fatal:
            direction.fatal = session.fatal
            direction.drop_waiting()

    def hear(self, side: int, type: int, payload: bytes) -> Rekey | Hold | Refuse | Close | None:  # noqa: A002
        """What a record that is not application data, opened by the worker, means for its direction."""
        return Close() if self._closes(side, type, payload) else self.library.record(side, type, payload)

    def _closes(self, side: int, type: int, payload: bytes) -> bool:  # noqa: A002
        # A socket hands alerts to its application, who knows what they mean.
        return type == ALERT and len(payload) == 2 and payload[1] == CLOSE_NOTIFY and not self.directions[side].socket

    def obey(self, side: int, reply: Rekey | Hold | Refuse | Close | None) -> bool:
        """Do what `hear` said; whether the worker may open the next record."""
        if isinstance(reply, Close):
            self.directions[side].closed = True
            self.directions[side].drop_waiting()
            return False
        return reply is None or self._changed_keys(side, reply)

    def _resume(self, side: int) -> bool:
        """Between renegotiated keys: whether the worker may go on, or has to be given up."""
        direction = self.directions[side]
        if self._changed_keys(side, self.library.resume(side)):
            return True
        if direction.held and not direction.socket and direction.sockbuf.waiting > self._keys_wait:
            self.library.settle(side, bound=True)
            reply = self.library.resume(side)
            return self._changed_keys(side, reply if isinstance(reply, Rekey | Refuse) else refuse("keys_wait"))
        return False

    def _worker_record(self, side: int, outcome: Outcome) -> None:
        direction = self.directions[side]
        opened = outcome.opened
        record_class = _CLASS[outcome.state] if opened else RecordClass.FAILED
        composition, recrypted = outcome.composition, outcome.recrypted
        if opened and not outcome.judged:
            if direction.assume_received and outcome.in_order:
                record_class, composition, recrypted = RecordClass.DECRYPTED, "D", 0
            elif not direction.assume_received:
                record_class, composition, recrypted = RecordClass.UNJUDGED, "?", 0
        direction.tally.recrypted += recrypted
        direction.tally.discarded += opened is None
        # Upstream looks at the size before it counts, and re-encrypts a mixed record whatever of it was decrypted.
        if record_class is not RecordClass.DECRYPTED and outcome.error != "EMSGSIZE":
            direction.tally.decrypts += outcome.state is not CryptoState.DECRYPTED
            direction.tally.recrypts += outcome.state is CryptoState.MIXED
        if direction.socket:
            assert direction.session is not None
            direction.socket.deliver(outcome, (3, direction.session.keys.version.wire & 0xFF))
        if outcome.report:
            direction.reports.append(outcome.report)
        if outcome.state is CryptoState.DECRYPTED and opened:
            count_regained(direction, outcome.tcp_seq)
        event = Record(
            self.connection.id,
            self.receiver(side),
            opened.type if opened else 0,
            opened.payload if opened else b"",
            outcome.number,
            record_class,
            outcome.tcp_seq,
            outcome.total,
            outcome.frame,
            outcome.time_ns,
            composition,
            recrypted=recrypted,
        )
        self._emit(direction, event)

    def _changed_keys(self, side: int, reply: Rekey | Hold | Refuse | None) -> bool:
        """KeyUpdate or renegotiation: whether the worker may open the next record."""
        direction = self.directions[side]
        match reply:
            case Rekey(keys, number):
                assert direction.session is not None
                direction.held = False
                direction.session.rekey(keys, number)
                direction.new_keys = True
                return True
            case Refuse():
                direction.refused = reply
                direction.drop_waiting()
            case Hold():
                direction.held = True
            case None:
                pass
        return False

    def _emit(self, direction: Direction, record: Record) -> None:
        self.ledger.fate(_FATE[record.record_class])
        self.ledger.fate("byte.record", record.wire_length)
        direction.tally.count(record)
        if direction.gaps and record.by is not By.NOBODY:
            direction.tally.recovered_records += 1
            direction.tally.recovered_bytes += len(record.data) if record.type == APPLICATION_DATA else 0
        self.records.append(record)


def waits(flow: Flow, side: int, type: int) -> bool:  # noqa: A002
    """Whether what follows a record of this type, 0 if it failed, depends on what the library makes of it."""
    if type in (0, APPLICATION_DATA):
        return False
    session = flow.directions[side].session
    return flow.facts.tls != "1.3" if session is None else not session.keys.tls13


def count_regained(direction: Direction, tcp_seq: int) -> None:
    """Sync is regained by the first fully decrypted record that begins at or after the loss."""
    if direction.ahead:
        direction.unheard.append(tcp_seq)
        return
    passed = 0
    while passed < len(direction.losses) and distance(direction.losses[passed], tcp_seq) >= 0:
        passed += 1
    if passed:
        direction.tally.regained += 1
        del direction.losses[:passed]
