"""Plays streams to a handshake observer as the path does: unread bytes are kept and offered again, and once receive is
enabled records are opened in order, by an Opener of our own."""

from __future__ import annotations

from collections.abc import Iterable

from rxtls.crypto.records import Opened, Opener
from rxtls.errors import RecordError
from rxtls.handshake.observer import Observer
from rxtls.handshake.steps import Enable, Hold, LibraryRecord, Refuse, Rekey, Wait
from rxtls.simulation.sender import TlsSender

APPLICATION_DATA = 23


class Player:
    """What came of each side: bytes of `preamble`, `library` records, records that kTLS `opened` or `failed` to."""

    def __init__(self, observer: Observer) -> None:
        self.observer = observer
        self.unread = [bytearray(), bytearray()]
        self.enabled: list[Enable | None] = [None, None]
        self.library: list[list[LibraryRecord]] = [[], []]
        self.opened: list[list[Opened]] = [[], []]
        self.refused: list[Refuse | None] = [None, None]
        self.preamble = [0, 0]
        self.rekeys = [0, 0]
        self.failed = [0, 0]
        self.waits = [False, False]
        self.held = [False, False]
        self.consumed = [0, 0]
        self._openers: list[Opener | None] = [None, None]
        self._numbers = [0, 0]

    def feed(self, side: int, data: bytes) -> None:
        """More bytes of a side."""
        self.unread[side] += data
        self.run()

    def run(self) -> None:
        """Both sides, until neither gets any further."""
        while any([self._advance(0), self._advance(1)]):
            pass

    def finish(self) -> None:
        """The connection is over."""
        for side in (0, 1):
            self.observer.settle(side)
        self.run()
        for side in (0, 1):
            self.refused[side] = self.refused[side] or self.observer.end(side)

    def application(self, side: int) -> bytes:
        """All application data of a side, early data first."""
        early = b"".join(r.payload for r in self.library[side] if r.early_data)
        return early + b"".join(o.payload for o in self.opened[side] if o.type == APPLICATION_DATA)

    def code(self, side: int) -> str | None:
        """Why the side is not read."""
        refused = self.refused[side]
        return refused.code if refused else None

    def _advance(self, side: int) -> bool:
        if self.refused[side]:
            return False
        if self._openers[side] is None:
            return self._read(side)
        return self._work(side)

    def _read(self, side: int) -> bool:
        data = bytes(self.unread[side])
        step = self.observer.read(side, data)
        assert step.consumed == step.preamble + step.skipped + sum(record.wire_length for record in step.records)
        assert 0 <= step.consumed <= len(data)
        del self.unread[side][: step.consumed]
        self.consumed[side] += step.consumed
        self.preamble[side] += step.preamble
        self.library[side] += step.records
        self.waits[side] = isinstance(step.action, Wait)
        if isinstance(step.action, Refuse):
            self.refused[side] = step.action
        elif isinstance(step.action, Enable):
            self.enabled[side] = step.action
            self._openers[side], self._numbers[side] = Opener(step.action.keys), step.action.number
        return step.consumed > 0 or isinstance(step.action, (Enable, Refuse))

    def _work(self, side: int) -> bool:
        if self.held[side]:
            return self._answer(side, self.observer.resume(side))
        unread, opener = self.unread[side], self._openers[side]
        total = 5 + int.from_bytes(unread[3:5])
        if len(unread) < 5 or len(unread) < total:
            return False
        assert opener is not None
        record = bytes(unread[:total])
        del unread[:total]
        number = self._numbers[side]
        self._numbers[side] += 1
        try:
            opened = opener.open(number, record)
        except RecordError:
            self.failed[side] += 1
            return True
        self.opened[side].append(opened)
        if opened.type != APPLICATION_DATA:
            self._answer(side, self.observer.record(side, opened.type, opened.payload))
        return True

    def _answer(self, side: int, answer: Rekey | Hold | Refuse | None) -> bool:
        if isinstance(answer, Rekey):
            self.rekeys[side] += 1
            self.held[side] = False
            self._openers[side], self._numbers[side] = Opener(answer.keys), answer.number
        elif isinstance(answer, Hold):
            self.held[side] = True
        elif isinstance(answer, Refuse):
            self.refused[side] = answer
        return isinstance(answer, (Rekey, Refuse))


def play(observer: Observer, flights: Iterable[tuple[int, bytes]], cut: int = 0, finish: bool = True) -> Player:
    """Play (side, bytes) in order, in pieces of `cut` bytes (0: as they are)."""
    player = Player(observer)
    for side, data in flights:
        for at in range(0, len(data), cut or max(len(data), 1)):
            player.feed(side, data[at : at + cut] if cut else data)
    if finish:
        player.finish()
    return player


def flights(client: TlsSender, server: TlsSender) -> list[tuple[int, bytes]]:
    """Two senders' streams as (side, bytes), side 0 the client: each goes as far as its gates let it, in turn."""
    senders, at, made = (client, server), [0, 0], list[tuple[int, bytes]]()
    moved = True
    while moved:
        moved = False
        for side, sender in enumerate(senders):
            stops = [gate.at for gate in sender.gates if gate.at >= at[side] and gate.peer > at[1 - side]]
            end = min(stops, default=len(sender.data))
            if end > at[side]:
                made.append((side, bytes(sender.data[at[side] : end])))
                at[side], moved = end, True
    assert at == [len(client.data), len(server.data)]
    return made
