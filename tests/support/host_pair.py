"""Both hosts over the same packets, and everything in which they must agree: the plain one, host/flow.py as it is, and
the compiled one, promoted and demoted at will."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

from rxtls.counters import Ledger
from rxtls.crypto.compiled.key_table import KeyTable
from rxtls.crypto.keys import Keys
from rxtls.crypto.stream import StreamOpener
from rxtls.errors import RecordError
from rxtls.events import Record
from rxtls.handshake.library import Preset
from rxtls.host.compiled import columns as col
from rxtls.host.compiled.columns import Delivered
from rxtls.host.compiled.serve import HOLE, LEAVE, RECORD, FastDirection, Group, fits
from rxtls.host.compiled.tables import FastHost
from rxtls.host.direction import Direction
from rxtls.host.flow import Flow
from rxtls.host.reassembly import Account
from rxtls.host.tally import Tally
from rxtls.host.worker import Session
from rxtls.intake.batch import END, SYN
from rxtls.intake.flows import Connection
from rxtls.offload.commands import Report
from rxtls.offload.compiled.arena import LARGE, Arena
from rxtls.offload.mbuf import Mbuf
from rxtls.offload.policies.none import NoPolicy
from rxtls.offload.receive_tag import ReceiveTag
from sample_extents import Lane, joined, leaks
from sample_mbufs import mbuf, spread

SIDE = 0
FLOW_ID = 6  # of connection 3


def on_device(keys: Keys, number: int, wire: bytes) -> bytes:
    """Record `number` after a NIC has run its cipher over it; one whose size is none of these keys' is left alone."""
    start, end = keys.header_length, len(wire) - keys.aead_tag_length
    try:
        return wire[:start] + StreamOpener(keys, number, wire[:start]).update(wire[start:end]) + wire[end:]
    except (RecordError, ValueError):
        return wire


@dataclass
class Case:
    """What comes: groups of packets, one per host point, in batches; and after each batch, what else happens."""

    keys: Keys
    number: int
    hold: int
    secret: bytes | None = None
    batches: list[list[list[Mbuf]]] = field(default_factory=list)
    software: bool = False  # no receive tag is ever installed
    slips: set[int] = field(default_factory=set)  # after which batches the newest epoch learns of a slip
    losses: dict[int, int] = field(default_factory=dict)  # after which batches the device loses sync, and where


class Plain:
    """A connection one side of which sends, walked as the path does it. New keys and new leaves begin an epoch."""

    def __init__(self, case: Case, account: Account | None = None) -> None:
        connection = Connection(3, bytes(12), False, (), frozenset({0}), 0, 0, None)
        self.ledger = Ledger()
        self.account: Account = [0] if account is None else account
        directions = (
            Direction(self.ledger, case.hold, True, account=self.account),
            Direction(self.ledger, case.hold, True, account=self.account),
        )
        library = Preset({SIDE: (case.keys, case.number)}, {SIDE: case.secret} if case.secret else None)
        self.flow = Flow(connection, library, directions, self.ledger, 1 << 20, 1 << 18)
        self.direction = directions[SIDE]
        self.case = case
        self.reports: list[Report] = []
        self.places: list[tuple[int, int]] = []

    def batch(self, groups: list[list[Mbuf]]) -> None:
        for group in groups:
            self.host_point(Group(0, group, True))

    def host_point(self, group: Group) -> None:
        for each in group.mbufs:
            if each.flags & END:
                self.direction.end_seen = True
            else:
                self.direction.input(each)
        if group.settle:
            self.direction.reassembly.settle()
        self.flow.advance()

    def offload(self, batch: int) -> None:
        """After a batch: reports are taken, epochs begin and are forgotten, as in driver/driver.py."""
        direction = self.direction
        reports, direction.reports = direction.reports, []
        session = direction.session
        if session is None:
            return
        if direction.receive_tag is not None:
            self.reports += reports
        if (direction.new_keys or direction.leaf is not None) and not self.case.software:
            direction.epoch += 1
            self.begin_epoch(direction.epoch)
            direction.receive_tag = ReceiveTag(direction.epoch, self.leaf(), NoPolicy())
            self.places.append(self.place())
        if batch in self.case.slips and direction.receive_tag is not None:
            session.epochs[direction.epoch].slips |= {1, -2}
        if batch in self.case.losses:
            direction.losses.append(self.case.losses[batch])
        direction.new_keys = False
        direction.leaf = None
        if len(session.epochs) > 1:
            session.prune_epochs(self.marks() | {direction.epoch})
            self.pruned()

    def begin_epoch(self, epoch: int) -> None:
        assert self.direction.session is not None
        self.direction.session.begin_epoch(epoch)

    def place(self) -> tuple[int, int]:
        assert self.direction.session is not None
        return self.direction.session.next_place(self.direction.sockbuf)

    def marks(self) -> set[int]:
        return self.direction.sockbuf.marks() | self.direction.reassembly.marks()

    def leaf(self) -> int:
        return self.direction.sockbuf.leaf

    def pruned(self) -> None:
        pass


class Fast(Plain):
    """The same with a compiled host, when it is let. `change` says when to demote, and when not to promote."""

    def __init__(self, case: Case, change: Callable[[], bool], host: FastHost, lane: Lane) -> None:
        super().__init__(case, host.account)
        self.change = change
        self.host = host
        self.lane = lane
        self.fast: FastDirection | None = None
        self.served: set[int] = set()

    def batch(self, groups: list[list[Mbuf]]) -> None:
        heads = []
        for point, group in enumerate(groups):
            for each in group:
                self.lane.add(each)
            heads.append(self.lane.flush(point))
        if self.fast is not None and self.change():
            assert self.demote() == []
        elif self.fast is None and fits(self.direction) and not self.change():
            self.fast = FastDirection(self.host, self.direction, FLOW_ID)
        if self.fast is None:
            for point, head in enumerate(heads):
                self.host_point(Group(point, self.host.arena.mbufs(head), True))
            return
        status = self.serve(joined(self.host.arena, heads))
        while status == RECORD:
            last = self.flow.records[-1]
            reply = self.flow.hear(SIDE, last.type, last.data)
            if reply is None and not self.change():
                status = self.serve()
                continue
            groups_left = self.demote()
            self.flow.obey(SIDE, reply)
            self.rest(groups_left)
            return
        if status in (LEAVE, HOLE):
            self.rest(self.demote())

    def serve(self, head: int = -1) -> int:
        assert self.fast is not None
        before = self.host.filled
        status = self.fast.serve(head)
        self.served.add(status)
        for row in self.host.records[before : self.host.filled].tolist():
            assert row[Delivered.FLOW] == FLOW_ID
            data = (
                bytes(self.host.arena.bytes(row[Delivered.CHUNK], row[Delivered.AT], row[Delivered.LENGTH]))
                if row[Delivered.LENGTH]
                else b""
            )
            self.flow.records.append(
                Record(
                    3, "server", row[Delivered.TYPE], data, row[Delivered.NUMBER],
                    col.CLASSES[row[Delivered.CLASS]],
                    row[Delivered.TCP_SEQ], row[Delivered.WIRE_LENGTH], row[Delivered.FRAME], row[Delivered.TIME],
                    col.spelt(row[Delivered.COMPOSITION]), recrypted=row[Delivered.RECRYPTED],
                )
            )  # fmt: skip
        return status

    def demote(self) -> list[Group]:
        assert self.fast is not None
        left = self.fast.demote()
        self.fast = None
        return left

    def rest(self, groups: list[Group]) -> None:
        assert all(a.point < b.point for a, b in pairwise(groups))
        for group in groups:
            self.host_point(group)

    def offload(self, batch: int) -> None:
        super().offload(batch)
        self.host.release_records()

    def begin_epoch(self, epoch: int) -> None:
        if self.fast is None:
            super().begin_epoch(epoch)
        else:
            self.fast.epoch(epoch)

    def place(self) -> tuple[int, int]:
        return super().place() if self.fast is None else self.fast.place()

    def marks(self) -> set[int]:
        return super().marks() if self.fast is None else self.fast.marks()

    def leaf(self) -> int:
        return super().leaf() if self.fast is None else self.fast.leaf

    def pruned(self) -> None:
        if self.fast is not None:
            self.fast.epoch()


def tally_of(tally: Tally) -> dict[str, object]:
    out = {name: getattr(tally, name) for name in Tally.__slots__}
    out["digest"] = tally.digest.hexdigest() if tally.digest else None
    return out


def state_of(player: Plain) -> dict[str, object]:
    """All that is left in a direction. Where one Mbuf ends and the next begins is no part of it."""
    direction = player.direction
    reassembly, sockbuf, session = direction.reassembly, direction.sockbuf, direction.session
    out: dict[str, object] = {}
    for thing in (reassembly, sockbuf):
        out |= {name: getattr(thing, name) for name in type(thing).__slots__}
    out |= {name: getattr(direction, name) for name in ("closed", "fatal", "held", "leaf", "losses", "end_seen")}
    for gone in ("_ledger", "_starts", "_account"):
        del out[gone]
    at = [
        start + i
        for start, each in zip(reassembly._starts, reassembly.held, strict=True)
        for i in range(len(each.data))
    ]
    out["held"] = (at, spread(reassembly.held))
    out["_chain"] = spread(sockbuf._chain)
    if session is not None:
        out["session"] = (session.number, session.ordinal, session._resync, session.fatal, session.keys, session.epochs)
        out["last"] = (session.length, session.explicit, session.unjudged)
    return out


def compare(case: Case, change: Callable[[], bool], limit: int = 65535, room: int = LARGE, rows: int = 4) -> Fast:
    """Play a case both ways; everything must be the same after each batch."""
    arena, keys = Arena(), KeyTable()
    host = FastHost(arena, keys, rows)
    lane = Lane(arena, limit, room)
    plain, fast = Plain(case), Fast(case, change, host, lane)
    for number, groups in enumerate(case.batches):
        plain.batch(groups)
        fast.batch(groups)
        for player in (plain, fast):
            player.offload(number)
        assert fast.flow.records == plain.flow.records
        assert fast.reports == plain.reports
        assert fast.places == plain.places
        assert fast.account[0] == plain.account[0]
        if fast.fast is None:
            assert state_of(fast) == state_of(plain)
    if fast.fast is not None:
        assert fast.demote() == []
        host.release_records()
    assert state_of(fast) == state_of(plain)
    assert tally_of(fast.direction.tally) == tally_of(plain.direction.tally)
    assert (fast.ledger.entered, fast.ledger.fates) == (plain.ledger.entered, plain.ledger.fates)
    lane.close()
    assert leaks(arena) == []
    assert len(keys) == 0
    return fast


class Bench:
    """A promoted direction, to be given Mbufs by hand. Its first byte is that of record `number`; epoch 1 has begun."""

    def __init__(self, keys: Keys, number: int, hold: int, rows: int) -> None:
        self.isn = 1000
        self.arena = Arena()
        self.host = FastHost(self.arena, KeyTable(), rows)
        self.direction = Direction(Ledger(), hold, digest=True, account=self.host.account)
        self.direction.input(mbuf(self.isn - 1, flags=SYN))
        self.direction.sockbuf.enable()
        self.session = self.direction.session = Session(keys, number)
        self.session.begin_epoch(1)
        self.direction.receive_tag = ReceiveTag(1, 0, NoPolicy())
        self.lane = Lane(self.arena)
        self.promote()

    def promote(self) -> None:
        assert fits(self.direction)
        self.fast = FastDirection(self.host, self.direction, FLOW_ID)

    def give(self, *mbufs: Mbuf, point: int = 1) -> int:
        """Serve one host point."""
        for each in mbufs:
            self.lane.add(each)
        return self.serve(point)

    def serve(self, point: int) -> int:
        return self.fast.serve(self.lane.flush(point))

    def row(self, *columns: int) -> list[int]:
        """What stands in these columns of the direction's row (state.py)."""
        found: list[int] = self.fast._own[list(columns)].tolist()
        return found

    @property
    def records(self) -> list[list[int]]:
        """Rows of all records since the last release."""
        found: list[list[int]] = self.host.records[: self.host.filled].tolist()
        return found

    def payload(self, row: list[int]) -> bytes:
        return bytes(self.arena.bytes(*row[Delivered.CHUNK : Delivered.LENGTH + 1]))

    def end(self) -> list[Group]:
        """Demote; nothing may be held any more."""
        groups = self.fast.demote()
        self.host.release_records()
        self.lane.close()
        assert leaks(self.arena) == []
        assert len(self.host.keys) == 0
        return groups


def promoted(keys: Keys, number: int = 0, hold: int = 1 << 20, rows: int = 16) -> Bench:
    """A direction that is served compiled from its first byte on."""
    return Bench(keys, number, hold, rows)
