"""From a run to its HTTP: each connection is given to what it speaks.

    pieces ──► Dialog, one a connection ──► Http1 | Http2 ──► Exchange, SocketMessage
                    │                         │
                    └ ALPN, or first bytes    └ 101 ──► WebSocket

A connection that shows neither protocol is looked at again at the beginning of each record, as its beginning may not
have been captured, and otherwise left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from rxtls.errors import UsageError
from rxtls.host.flow import Flow
from rxtls.run.replay import Replay
from rxtls.run.summary import flow_end
from rxtls.run.which import one, read
from rxtls.talk.body import Store
from rxtls.talk.exchange import Exchange, SocketMessage, Talk
from rxtls.talk.pieces import Chosen, Hole, Piece, ends, pieces

try:
    from rxtls.talk.http1 import REQUEST_LINE, STATUS_LINE, Http1
    from rxtls.talk.http2 import PREFACE, Http2, plausible
    from rxtls.talk.websocket import WebSocket
except ModuleNotFoundError as lacking:
    _missing: str | None = lacking.name
else:
    _missing = None

_BEGUN_REQUEST = re.compile(rb"(?!PRI )[A-Z][A-Z-]{2,19} (?:/|\*|https?://|[^\s]{1,255}:[0-9]{1,5} )")
_BEGUN_STATUS = re.compile(rb"HTTP/1\.[01] ")
ENOUGH = 64  # bytes by which a protocol is told
CLOSED = ("fin", "close_notify")


@dataclass(slots=True)
class Seen:
    """How many connections said something, and how many of them were HTTP."""

    spoke: int = 0
    http: int = 0


def talks(run: Replay, flow: str | None = None, keep: bool = False, seen: Seen | None = None) -> Iterator[Talk]:
    """Walk the run; exchanges and WebSocket messages in the order in which they are over. With `keep` bodies can be
    read again. `flow` is FLOW (run/which.py), None for all; UsageError if it names none, or several.
    """
    if _missing is not None:
        raise UsageError(f"HTTP is read by packages that are not here ({_missing}): pip install 'rxtls[http]'")
    store = Store() if keep else None
    dialogs: dict[int, Dialog] = {}
    count = seen or Seen()
    out: list[Talk] = []
    chosen = Chosen(read(flow))
    shown: set[int] = set()
    walked = 0
    for piece in pieces(run, chosen):
        dialog = dialogs.get(piece.flow)
        if dialog is None:
            dialog = dialogs[piece.flow] = Dialog(run.path.flows[piece.flow], store, out)
            count.spoke += 1
            shown.add(piece.flow)
        dialog.take(piece)
        if out:
            yield from out
            out.clear()
        if run.frames != walked:  # a call to the path later
            walked = run.frames
            for number in [each for each in dialogs if run.path.flows[each].ended and each != piece.flow]:
                dialogs.pop(number).end(count)
            yield from out
            out.clear()
    for dialog in dialogs.values():
        dialog.end(count)
        yield from out
        out.clear()
    if flow is not None and (found := one(run.summary()["flows"], flow)) and shown - {found["id"]}:
        raise UsageError(f"{flow!r} is an address of several connections: give the id, {found['id']}")


class Dialog:
    """One connection. What is over goes to `out`."""

    def __init__(self, flow: Flow, store: Store | None, out: list[Talk]) -> None:
        self._flow, self._store, self._out = flow, store, out
        self._client, self._server = ends(flow)
        self._speaks: Http1 | Http2 | None = None
        self._socket: WebSocket | None = None
        self._first: dict[str, bytes] = {"client": b"", "server": b""}
        self._waiting: list[Piece] = []
        self._undecided = True
        self._quiet = False
        self._late = False

    def take(self, piece: Piece) -> None:
        """One more piece of it."""
        if self._quiet:
            return
        if self._speaks is None:
            self._look(piece)
            return
        self._give(piece)

    def _give(self, piece: Piece) -> None:
        if self._socket is not None:
            if isinstance(piece, Hole):
                self._socket.hole(piece.sender)
            else:
                self._socket.take(piece.sender, bytes(piece.data), piece.time_ns, piece.frame)
            return
        speaks = self._speaks
        assert speaks is not None
        if isinstance(piece, Hole):
            speaks.hole(piece.sender, piece.payload)
            return
        left = speaks.take(piece.sender, bytes(piece.data), piece.time_ns, piece.frame)
        socket = self._switched()
        if left and socket is not None:
            socket.take(piece.sender, left, piece.time_ns, piece.frame)

    def _switched(self) -> WebSocket | None:
        return self._socket

    def _look(self, piece: Piece) -> None:
        """Whether this tells what is spoken. What came before waits until then, but for what nobody could read."""
        if isinstance(piece, Hole):
            self._late = True
            if self._undecided:
                self._waiting.append(piece)
            return
        data = bytes(piece.data)
        if self._undecided:
            self._waiting.append(Piece(piece.flow, piece.sender, data, piece.time_ns, piece.frame, piece.number))
            first = self._first[piece.sender] = self._first[piece.sender] + data[:ENOUGH]
            told = self._told(first, piece.sender, data)
            if told is None and len(first) < ENOUGH and len(self._waiting) < ENOUGH:
                return
            self._undecided = False
        else:
            self._waiting = [piece]
            self._late = True
            told = self._told(data, piece.sender, data)
        self._speaks = told
        waiting, self._waiting = self._waiting, []
        for each in waiting if told is not None else ():
            self._give(each)

    def _told(self, first: bytes, sender: str, record: bytes) -> Http1 | Http2 | None:
        alpn = self._flow.facts.alpn
        if alpn == "h2" or first.startswith(PREFACE[:16]):
            return Http2(self._like("HTTP/2"), self._store, self._out.append, self._out.append, self._late)
        late = self._late or self._waiting[0].sender == "server"  # who answers before it was asked
        line = REQUEST_LINE if sender == "client" else STATUS_LINE
        begun = _BEGUN_REQUEST if sender == "client" else _BEGUN_STATUS
        if alpn in ("http/1.0", "http/1.1") or line.match(first) or begun.match(first):
            return Http1(self._like("HTTP/1"), self._store, self._out.append, self._switch, late)
        if alpn is None and plausible(record, whole=True):
            return Http2(self._like("HTTP/2"), self._store, self._out.append, self._out.append, late=True)
        return None

    def _like(self, protocol: str) -> _Maker:
        return _Maker(self._flow.connection.id, self._client, self._server, protocol)

    def _switch(self, exchange: Exchange) -> None:
        """It is HTTP/1 no longer."""
        if exchange.upgraded != "websocket" or exchange.response is None:
            self._quiet = True
            return
        response = exchange.response
        like = SocketMessage(
            exchange.flow, exchange.client, exchange.server, "", "", response.body, 0, 0, 0, exchange.request
        )
        extensions = response.named("sec-websocket-extensions")
        self._socket = WebSocket(like, extensions, self._store, self._out.append)

    def end(self, count: Seen) -> None:
        """The connection is over, or the capture."""
        if self._speaks is not None:
            count.http += 1
            if self._socket is not None:
                self._socket.end()
            self._speaks.end(flow_end(self._flow) in CLOSED)


@dataclass(slots=True)
class _Maker:
    """Makes exchanges of a connection."""

    flow: int
    client: str
    server: str
    protocol: str

    def __call__(self) -> Exchange:
        return Exchange(self.flow, self.client, self.server, self.protocol)
