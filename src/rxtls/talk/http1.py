"""HTTP/1 of one connection, both directions, by h11: one h11.Connection a message, as each message begins anew.

    what the client sent ──► requests ──┐   waiting for their responses, in order
                                        ├─► Exchange
    what the server sent ──► responses ─┘   read by the method that they answer (HEAD, CONNECT)

Behind a hole, or what is no HTTP, a direction is searched: at the beginning of a record, or behind an empty line, for
what looks like a first line. A hole in a body of known length leaves zeros there, and the rest goes on. The first
response behind a hole is taken for that of the last request before it: who does not pipeline asks after the answer.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import h11

from rxtls.talk.body import Body, Store
from rxtls.talk.exchange import CUT, HOLE, Exchange, Fields, Message, Request, Response
from rxtls.talk.grpc import Prefixed

HEAD = 64 << 10  # bytes that a first line with its fields may have
STEP = 4096  # bytes handed over at a time while no body is read: what is left behind a message is copied
WAITING = 1024  # requests without a response
ZEROS = bytes(64 << 10)

REQUEST_LINE = re.compile(rb"[A-Z][A-Z-]{2,19} [^\s]{1,8192} HTTP/1\.[01]\r?\n")
STATUS_LINE = re.compile(rb"HTTP/1\.[01] [1-5][0-9][0-9](?: [^\r\n]{0,1024})?\r?\n")
_FURTHER = {
    "client": re.compile(rb"\r?\n\r?\n(?=" + REQUEST_LINE.pattern + rb")"),
    "server": re.compile(rb"\r?\n\r?\n(?=" + STATUS_LINE.pattern + rb")"),
}
_FIRST = {"client": REQUEST_LINE, "server": STATUS_LINE}


class Http1:
    """`give` gets exchanges as they are over, `switch` the one after which the connection is HTTP no longer. `like`
    makes an exchange of this connection; `late` if its beginning was not captured."""

    def __init__(
        self,
        like: Callable[[], Exchange],
        store: Store | None,
        give: Callable[[Exchange], None],
        switch: Callable[[Exchange], None],
        late: bool = False,
    ) -> None:
        self.like, self.store, self._give, self._switch = like, store, give, switch
        self.waiting: deque[Exchange] = deque()
        self._owed = 0  # responses of requests that wait no longer
        self._unfinished: Exchange | None = None  # whose request is still read, though its response is not
        self.lost = False  # responses may be lacking
        self._halves = {sender: _Half(self, sender, late) for sender in ("client", "server")}

    def take(self, sender: str, data: bytes, time_ns: int, frame: int) -> bytes:
        """Some more of what a side sent. What comes back is no HTTP any more: it is behind a switch."""
        return self._halves[sender].take(data, time_ns, frame)

    def hole(self, sender: str, payload: int | None) -> None:
        """So many bytes are lacking, if that can be known."""
        self._halves[sender].hole(payload)

    def end(self, closed: bool) -> None:
        """Nothing more will come; `closed` if the connection said so itself."""
        for half in self._halves.values():
            half.end(closed)
        if self._unfinished is not None:
            self._over(self._unfinished)
        while self.waiting:
            self._over(self.waiting.popleft())

    # Told by the halves.

    def asked(self, request: Request) -> Exchange:
        """A request begins."""
        exchange = self.like()
        exchange.request = request
        self.waiting.append(exchange)
        if len(self.waiting) > WAITING:
            self._over(self.waiting.popleft())
            self._owed += 1
        return exchange

    def method(self) -> str:
        """Of the request that the next response answers."""
        self._settle_lost()
        first = self.waiting[0].request if self.waiting and not self._owed else None
        return first.method if first is not None and first.method != "?" else "GET"

    def answered(self, response: Response) -> Exchange:
        """A response begins."""
        self._settle_lost()
        if self._owed or not self.waiting:
            self._owed = max(0, self._owed - 1)
            exchange = self.like()
        else:
            exchange = self.waiting.popleft()
        exchange.response = response
        return exchange

    def _settle_lost(self) -> None:
        while self.lost and len(self.waiting) > 1:
            self._over(self.waiting.popleft())
        if self.lost:
            self.lost, self._owed = False, 0

    def finished(self, exchange: Exchange, sender: str) -> None:
        """A message is over."""
        request, response = exchange.request, exchange.response
        if sender == "server":
            if request is None or request.over:
                self._over(exchange)
            else:
                self._unfinished = exchange
        elif response is not None and exchange is self._unfinished:
            self._over(exchange)

    def _over(self, exchange: Exchange) -> None:
        if exchange is self._unfinished:
            self._unfinished = None
        for message in exchange.messages:
            message.body.settle()
            if not message.over:
                message.fault(CUT)
        self._give(exchange)

    def switched(self, exchange: Exchange, what: str) -> None:
        """The connection is something else from here on."""
        exchange.upgraded = what
        for half in self._halves.values():
            half.switched = True
        request = exchange.request
        if request is not None and not request.over:
            request.complete = True
        self._over(exchange)
        self._switch(exchange)


class _Half:
    """What one side sent."""

    def __init__(self, talk: Http1, sender: str, late: bool) -> None:
        self._talk, self._sender = talk, sender
        self._connection: h11.Connection | None = None
        self._exchange: Exchange | None = None
        self._message: Message | None = None
        self._informational: list[int] = []
        self._prefixed: Prefixed | None = None
        self._searching = late
        self._before = b""  # of the next message: less than its first bytes
        self._length: int | None = None  # of the body, where it is known beforehand
        self.switched = False
        self._time_ns, self._frame = 0, 0

    def take(self, data: bytes, time_ns: int, frame: int) -> bytes:
        """Some more; what is behind a switch comes back."""
        self._time_ns, self._frame = time_ns, frame
        at = 0
        while at < len(data):
            if self.switched:
                return data[at:]
            if self._searching and (at := self._found(data, at)) >= len(data):
                return b""
            step = len(data) if self._message is not None else at + STEP
            rest = self._feed(data[at:step])
            at = min(step, len(data)) - len(rest)
        return b""

    def _found(self, data: bytes, at: int) -> int:
        """Where a message may begin."""
        if at == 0 and _FIRST[self._sender].match(data):
            self._searching = False
            return 0
        found = _FURTHER[self._sender].search(data, at)
        if found is None:
            return len(data)
        self._searching = False
        return found.end()

    def _feed(self, data: bytes) -> bytes:
        """Hand over; what is left behind a message, if that is to be looked at anew."""
        while data:
            if self._connection is None:
                data = data.lstrip(b"\r\n")  # RFC 9112, 2.2: at least one empty line is to be ignored
                if not data:
                    return b""
                self._connection = self._begun()
            connection = self._connection
            connection.receive_data(data)
            try:
                data = self._events(connection)
            except h11.RemoteProtocolError as error:
                left = connection.trailing_data[0]
                self._malformed(error)
                return left[1:] if len(left) <= len(data) else b""
            if self.switched:
                return data
        return b""

    def _begun(self) -> h11.Connection:
        if self._sender == "client":
            return h11.Connection(h11.SERVER, HEAD)
        connection = h11.Connection(h11.CLIENT, HEAD)
        request, end = _asking(self._talk.method())
        connection.send(request)
        connection.send(end)
        return connection

    def _events(self, connection: h11.Connection) -> bytes:
        """All that h11 has by now; what is left behind the end of the message."""
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                return b""
            if event is h11.PAUSED:  # CONNECT was accepted
                return self._switch(connection, "connect")
            if isinstance(event, h11.Data):
                self._data(event.data)
            elif isinstance(event, h11.EndOfMessage):
                self._finish([(n.decode("latin-1"), v.decode("latin-1")) for n, v in event.headers])
                left = connection.trailing_data[0]
                self._connection = None
                method = self._last_method
                if method == "CONNECT" and self._sender == "server" and self._last_status // 100 == 2:
                    return self._switch_now(left)
                return left
            elif isinstance(event, h11.Request):
                self._request(event)
            elif isinstance(event, h11.InformationalResponse):
                self._informational.append(event.status_code)
                if event.status_code == 101:
                    self._respond(event)
                    return self._switch(connection, "")
            elif isinstance(event, h11.Response):
                self._respond(event)

    _last_method = ""
    _last_status = 0
    _last: Exchange | None = None

    def _switch_now(self, left: bytes) -> bytes:
        self.switched = True
        assert self._last is not None
        self._talk.switched(self._last, "connect")
        return left

    def _switch(self, connection: h11.Connection, what: str) -> bytes:
        left: bytes = connection.trailing_data[0]
        exchange = self._exchange
        if exchange is None or exchange.response is None:
            self.switched = True  # the client's side, whose request proposed it
            return left
        exchange.response.complete = True
        self._exchange = self._message = None
        self._talk.switched(exchange, what or exchange.response.named("upgrade").lower() or "unknown")
        return left

    def _request(self, event: h11.Request) -> None:
        fields = _fields(event.headers)
        host = next((value for name, value in fields if name == "host"), "")
        method, target = event.method.decode("latin-1"), event.target.decode("latin-1")
        if method == "CONNECT":
            host = target
        elif "://" in target[:10]:
            host = target.partition("://")[2].partition("/")[0] or host
        request = Request(
            fields, Body(self._talk.store), "HTTP/" + event.http_version.decode("latin-1"), self._time_ns,
            self._time_ns, self._frame, method=method, host=host, target=target,
        )  # fmt: skip
        self._exchange = self._talk.asked(request)
        self._open(request)

    def _respond(self, event: h11.Response | h11.InformationalResponse) -> None:
        response = Response(
            _fields(event.headers), Body(self._talk.store), "HTTP/" + event.http_version.decode("latin-1"),
            self._time_ns, self._time_ns, self._frame, status=event.status_code,
            reason=event.reason.decode("latin-1"), informational=self._informational,
        )  # fmt: skip
        self._informational = []
        self._exchange = self._talk.answered(response)
        self._open(response)

    def _open(self, message: Message) -> None:
        self._message = message
        length = message.named("content-length").partition(",")[0].strip()
        chunked = message.named("transfer-encoding")
        self._length = int(length) if length.isdigit() and len(length) < 20 and not chunked else None
        self._prefixed = Prefixed() if message.type.startswith("application/grpc") else None

    def _data(self, data: bytes) -> None:
        message = self._message
        assert message is not None
        message.last_ns = self._time_ns
        message.body.take(data)
        if self._prefixed is not None:
            self._prefixed.take(data)
            message.grpc = self._prefixed.messages

    def _finish(self, trailers: Fields, cause: str | None = None) -> None:
        """The message is over: whole, or by `cause` not."""
        exchange, message = self._exchange, self._message
        self._exchange = self._message = None
        if exchange is None or message is None:
            return
        message.trailers = trailers
        message.last_ns = max(message.last_ns, self._time_ns)
        if cause is None:
            message.complete = True
        else:
            message.fault(cause)
        message.body.settle()
        self._last, self._last_method = exchange, exchange.request.method if exchange.request else ""
        self._last_status = exchange.response.status if exchange.response else 0
        if not (self._last_method == "CONNECT" and self._sender == "server" and self._last_status // 100 == 2):
            self._talk.finished(exchange, self._sender)

    def _malformed(self, error: Exception) -> None:
        cause = "malformed: " + _said(error)
        if self._message is None:  # nothing was told of it yet
            self._note(cause)
        else:
            self._finish([], cause)
        self._lose()

    def _note(self, cause: str) -> None:
        """A message of which only that is known."""
        body, at, frame = Body(self._talk.store), self._time_ns, self._frame
        if self._sender == "client":
            request = Request([], body, "", at, at, frame, method="?", target="?")
            request.fault(cause)
            self._talk.asked(request)
        else:
            response = Response([], body, "", at, at, frame)
            response.fault(cause)
            self._talk.finished(self._talk.answered(response), "server")

    def _lose(self) -> None:
        self._connection, self._searching = None, True
        self._talk.lost |= self._sender == "server"

    def hole(self, payload: int | None) -> None:
        """Bytes are lacking here."""
        if self.switched:
            return
        message, connection = self._message, self._connection
        if message is not None and connection is not None and payload is not None:
            left = None if self._length is None else self._length - message.body.size
            chunked = message.named("transfer-encoding")
            if not chunked and (left is None or payload < left):
                message.fault(HOLE)
                message.body.lacking += payload
                for at in range(0, payload, len(ZEROS)):
                    self._feed(ZEROS[: payload - at])
                return
        if message is not None:
            self._finish([], HOLE)
        elif connection is not None:
            self._note(HOLE)
        self._lose()

    def end(self, closed: bool) -> None:
        """Nothing more will come."""
        if self._connection is None or self.switched:
            return
        if self._message is None:
            self._note(CUT)
        else:
            to_its_end = self._length is None and not self._message.named("transfer-encoding")
            self._finish([], None if closed and to_its_end and self._sender == "server" else CUT)
        self._connection = None


@lru_cache(64)
def _asking(method: str) -> tuple[h11.Request, h11.EndOfMessage]:
    """A request for h11 to expect the response of. That it might have proposed any upgrade makes 101 legal."""
    headers = [(b"host", b"-"), (b"upgrade", b"-"), (b"connection", b"upgrade")]
    target = b"-:0" if method == "CONNECT" else b"/"
    return h11.Request(method=method.encode("latin-1"), target=target, headers=headers), h11.EndOfMessage()


def _fields(headers: Any) -> Fields:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]


def _said(error: Exception) -> str:
    """What h11 has against it, without what it quotes: that is the peer's."""
    return re.split(r"[:({]|b'", str(error))[0].strip()[:80] or "no HTTP"
