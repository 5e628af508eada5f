"""A run as the plaintext of its connections: records and holes, both directions in order of completion.

    Replay.batches ──► pieces ──► Piece, Piece, Hole, Piece, ...

A record that came, but that nobody could open, is a hole as well: its bytes are lacking here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rxtls.events import Gap, Record
from rxtls.host.flow import Flow
from rxtls.run.replay import Replay
from rxtls.run.summary import endpoint
from rxtls.run.which import Wanted, may_be

APPLICATION_DATA = 23


@dataclass(slots=True)
class Piece:
    """One record's plaintext. `sender` is "client" or "server"; `frame` the global index of the frame that completed
    it. `data` is good until the next piece."""

    flow: int
    sender: str
    data: bytes | memoryview
    time_ns: int
    frame: int
    number: int | None


@dataclass(slots=True)
class Hole(Piece):
    """What is lacking: `records` that are not whole or did not open, for which `missing` bytes of the stream are not
    in the capture. `payload` bytes of plaintext they hold, if none was padded and all were application data; None
    where nobody can tell."""

    records: int = 0
    missing: int = 0
    payload: int | None = None


def pieces(run: Replay, wanted: Callable[[Flow], bool] = lambda _: True) -> Iterator[Piece]:
    """Of the connections that are wanted. Walks the run."""
    for batch in run.batches():
        for record in batch.views():
            if _says(record) and wanted(run.path.flows[record.flow]):
                yield _piece(record)


def _says(record: Record) -> bool:
    if record.type == APPLICATION_DATA:
        return len(record.data) > 0
    return isinstance(record, Gap) or record.type == 0


def _piece(record: Record) -> Piece:
    sender = "client" if record.receiver == "server" else "server"
    if isinstance(record, Gap):
        return Hole(
            record.flow, sender, b"", record.time_ns, record.frame, record.number,
            record.records, record.missing, record.payload,
        )  # fmt: skip
    if record.type == 0:
        return Hole(record.flow, sender, b"", record.time_ns, record.frame, record.number, 1, 0, None)
    return Piece(record.flow, sender, record.data, record.time_ns, record.frame, record.number)


class Chosen:
    """The connections that FLOW may mean, asked for each record; what is known of one does not change once it talks."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._known: dict[int, bool] = {}

    def __call__(self, flow: Flow) -> bool:
        number = flow.connection.id
        known = self._known.get(number)
        if known is None:
            known = self._known[number] = may_be(self._wanted, number, ends(flow), flow.facts.sni)
        return known


def ends(flow: Flow) -> tuple[str, str]:
    """Client and server, as ip:port."""
    a, b = endpoint(flow.connection.a), endpoint(flow.connection.b)
    return (a, b) if flow.client_side == 0 else (b, a)
