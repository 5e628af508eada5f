"""HTTP/2 of one connection, both directions: frames by hyperframe, fields by hpack (RFC 9113, RFC 7541).

    bytes ──► frames ──► header blocks ──► hpack, a table a direction ──► Exchange, by stream
                     └─► DATA ──► body

Behind a hole that is more than the rest of a DATA frame, a direction is searched for a record that begins with frames;
what its HPACK table held by then is not known, as header blocks may be lacking: fields which refer to it are "?".
"""

from __future__ import annotations

from collections.abc import Callable

from hpack import Decoder
from hpack.exceptions import HPACKError, InvalidTableIndex
from hpack.table import HeaderTable
from hyperframe import frame as h2
from hyperframe.exceptions import HyperframeError

from rxtls.talk.body import Body, Store
from rxtls.talk.exchange import CUT, HOLE, RESET, Exchange, Fields, Message, Request, Response, SocketMessage
from rxtls.talk.grpc import Prefixed
from rxtls.talk.websocket import WebSocket

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MOST_FRAME = 4 << 20  # bytes of a frame; peers agree on 16 KiB unless they say otherwise
MOST_BLOCK = 1 << 20  # bytes of a header block in frames
MOST_FIELDS = 256 << 10  # bytes of it, decoded
MOST_TABLE = 1 << 20  # bytes of an HPACK table
MOST_STREAMS = 1024  # open at once; the oldest gives way
MOST_INFORMATIONAL = 16
_HEAD = 9
_ODDLY = 0x10  # the largest type of frame that is registered
_ON_STREAM = frozenset({0, 1, 2, 3, 5, 9})
_ON_CONNECTION = frozenset({4, 6, 7})


class _Unknown(HeaderTable):  # type: ignore[misc, unused-ignore]
    """A table of which only the newest entries are known."""

    def get_by_index(self, index: int) -> tuple[bytes, bytes]:
        try:
            return super().get_by_index(index)
        except InvalidTableIndex:
            if index == 0:
                raise
            return b"?", b"?"


class Http2:
    """`give` gets exchanges, and the messages of WebSockets, as they are over. `like` makes an exchange."""

    def __init__(
        self,
        like: Callable[[], Exchange],
        store: Store | None,
        give: Callable[[Exchange], None],
        give_message: Callable[[SocketMessage], None],
        late: bool = False,
    ) -> None:
        self._like, self.store, self._give, self._give_message = like, store, give, give_message
        self._streams: dict[int, _Stream] = {}
        self._halves = {sender: _Half(self, sender, late) for sender in ("client", "server")}

    def take(self, sender: str, data: bytes, time_ns: int, frame: int) -> None:
        """Some more of what a side sent."""
        self._halves[sender].take(data, time_ns, frame)

    def hole(self, sender: str, payload: int | None) -> None:
        """So many bytes are lacking, if that can be known."""
        self._halves[sender].hole(payload)

    def end(self, closed: bool) -> None:  # noqa: ARG002 - every stream says itself where it ends
        """Nothing more will come."""
        for number in list(self._streams):
            self.over(number)

    # Told by the halves.

    def stream(self, number: int) -> _Stream:
        """The stream, which begins here if there is none."""
        found = self._streams.get(number)
        if found is None:
            if len(self._streams) >= MOST_STREAMS:
                self.over(next(iter(self._streams)))
            exchange = self._like()
            exchange.stream = number
            found = self._streams[number] = _Stream(exchange)
        return found

    def known(self, number: int) -> _Stream | None:
        """The stream, if it is open."""
        return self._streams.get(number)

    def streams(self) -> list[_Stream]:
        """All that are open."""
        return list(self._streams.values())

    def over(self, number: int) -> None:
        """The stream is."""
        stream = self._streams.pop(number, None)
        if stream is None or not stream.exchange.messages:
            return
        if stream.socket is not None:
            stream.socket.end()
        for message in stream.exchange.messages:
            message.body.settle()
            if not message.over:
                message.fault(CUT)
        if not stream.given:
            self._give(stream.exchange)

    def upgraded(self, stream: _Stream) -> None:
        """A WebSocket begins (RFC 8441)."""
        exchange, response = stream.exchange, stream.exchange.response
        assert response is not None
        exchange.upgraded = "websocket"
        like = SocketMessage(
            exchange.flow, exchange.client, exchange.server, "", "", response.body, 0, 0, 0, exchange.request,
            exchange.stream,
        )  # fmt: skip
        stream.socket = WebSocket(like, response.named("sec-websocket-extensions"), self.store, self._give_message)
        stream.given = True
        for message in exchange.messages:
            message.complete = True
        self._give(exchange)


class _Stream:
    """An exchange that goes on, and which sides have ended it."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.socket: WebSocket | None = None
        self.given = False
        self.prefixed: dict[str, Prefixed] = {}
        self.ended: set[str] = set()
        self.informational: list[int] = []

    def message(self, sender: str) -> Message | None:
        """What that side says."""
        return self.exchange.request if sender == "client" else self.exchange.response


class _Half:
    """What one side sent."""

    def __init__(self, talk: Http2, sender: str, late: bool) -> None:
        self._talk, self._sender = talk, sender
        self._buffer = bytearray()
        self._searching = late
        self._decoder = self._table(late)
        self._block: bytearray | None = None
        self._block_of: tuple[int, bool, int | None] = (0, False, None)  # stream, ends it, promised
        self._begun = late or sender == "server"
        self._time_ns, self._frame = 0, 0

    @staticmethod
    def _table(lost: bool) -> Decoder:
        decoder = Decoder(MOST_FIELDS)
        decoder.max_allowed_table_size = MOST_TABLE
        if lost:
            size = decoder.header_table.maxsize
            decoder.header_table = _Unknown()
            decoder.header_table.maxsize = size
        return decoder

    def take(self, data: bytes, time_ns: int, frame: int) -> None:
        self._time_ns, self._frame = time_ns, frame
        if self._searching:
            if data.startswith(PREFACE[:16]):
                self._begun = False
            elif not plausible(data):
                return
            self._searching = False
        self._buffer += data
        if not self._begun:
            if len(self._buffer) < len(PREFACE):
                return
            self._begun = True
            if self._buffer.startswith(PREFACE):
                del self._buffer[: len(PREFACE)]
        at = 0
        while len(self._buffer) - at >= _HEAD:
            length = int.from_bytes(self._buffer[at : at + 3])
            if length > MOST_FRAME:
                self._lose("too large: a frame")
                return
            if len(self._buffer) - at < _HEAD + length:
                break
            if not self._take_frame(at, length):
                self._lose("malformed: no HTTP/2 frame")
                return
            at += _HEAD + length
        del self._buffer[:at]

    def _take_frame(self, at: int, length: int) -> bool:
        whole = memoryview(bytes(self._buffer[at : at + _HEAD + length]))
        try:
            frame, _ = h2.Frame.parse_frame_header(whole[:_HEAD])
            frame.parse_body(whole[_HEAD:])
        except (HyperframeError, ValueError):
            return False
        if self._block is not None and not isinstance(frame, h2.ContinuationFrame):
            return False  # RFC 9113, 6.2: nothing comes between the parts of a block
        match frame:
            case h2.DataFrame():
                self._data(frame.stream_id, frame.data, "END_STREAM" in frame.flags)
            case h2.HeadersFrame():
                self._headers(frame.data, (frame.stream_id, "END_STREAM" in frame.flags, None), frame)
            case h2.PushPromiseFrame():
                self._headers(frame.data, (frame.stream_id, False, frame.promised_stream_id), frame)
            case h2.ContinuationFrame():
                if self._block is None or frame.stream_id != self._block_of[0]:
                    return False
                self._headers(frame.data, self._block_of, frame)
            case h2.RstStreamFrame():
                self._reset(frame.stream_id)
        return True

    def _headers(self, data: bytes, of: tuple[int, bool, int | None], frame: h2.Frame) -> None:
        self._block_of = of
        self._block = bytearray() if self._block is None else self._block
        self._block += data
        if len(self._block) > MOST_BLOCK:
            self._refuse("too large: a header block")
        elif "END_HEADERS" in frame.flags:
            block, self._block = bytes(self._block), None
            try:
                fields = [(str(n, "latin-1"), str(v, "latin-1")) for n, v in self._decoder.decode(block, raw=True)]
            except HPACKError as error:
                large = "Oversized" in type(error).__name__
                self._refuse("too large: a header list" if large else "malformed: a header block")
                return
            self._fields(fields)

    def _refuse(self, cause: str) -> None:
        """A block that was not read: what the table would be by now is not known."""
        number, ends, promised = self._block_of
        self._block = None
        self._decoder = self._table(lost=True)
        self._open(number if promised is None else promised, [], promised is not None).fault(cause)
        if ends:
            self._ended(number)

    def _fields(self, fields: Fields) -> None:
        number, ends, promised = self._block_of
        if promised is not None:
            message = self._open(promised, fields, promised=True)
            message.complete = True
            stream = self._talk.known(promised)
            if stream is not None:
                stream.ended.add("client")
            return
        stream = self._talk.known(number)
        message_before = stream.message(self._sender) if stream is not None else None
        if message_before is not None:
            message_before.trailers += fields
            message_before.last_ns = self._time_ns
        else:
            status = dict(fields).get(":status", "")
            if self._sender == "server" and status.startswith("1") and len(status) == 3:
                self._informational(number, status)
                return
            self._open(number, fields)
            self._maybe_socket(number)
        if ends:
            self._ended(number)

    def _informational(self, number: int, status: str) -> None:
        stream = self._talk.stream(number)
        if status.isdigit() and len(stream.informational) < MOST_INFORMATIONAL:
            stream.informational.append(int(status))

    def _open(self, number: int, fields: Fields, promised: bool = False) -> Message:
        """A request or a response begins; the one that there is, if it has."""
        stream = self._talk.stream(number)
        sender = "client" if promised else self._sender
        there = stream.message(sender)
        if there is not None:
            return there
        pseudo = dict(each for each in fields if each[0].startswith(":"))
        plain = [each for each in fields if not each[0].startswith(":")]
        body, times = Body(self._talk.store), (self._time_ns, self._time_ns, self._frame)
        message: Message
        if sender == "client":
            host = pseudo.get(":authority") or next((value for name, value in plain if name == "host"), "")
            message = stream.exchange.request = Request(
                plain, body, "HTTP/2", *times, method=pseudo.get(":method", "?"), scheme=pseudo.get(":scheme", ""),
                host=host, target=pseudo.get(":path", "" if ":method" in pseudo else "?"),
            )  # fmt: skip
            stream.exchange.pushed = promised
            if ":protocol" in pseudo:
                message.fields = [(":protocol", pseudo[":protocol"]), *plain]
        else:
            status = pseudo.get(":status", "")
            message = stream.exchange.response = Response(
                plain,
                body,
                "HTTP/2",
                *times,
                status=int(status) if status.isdigit() and len(status) == 3 else 0,
                informational=stream.informational,
            )
        if ("?", "?") in fields:
            message.fault("hole before: some fields are not known")
        if message.type.startswith("application/grpc"):
            stream.prefixed[sender] = Prefixed()
        return message

    def _maybe_socket(self, number: int) -> None:
        stream = self._talk.known(number)
        if stream is None or self._sender != "server":
            return
        request, response = stream.exchange.request, stream.exchange.response
        if request is None or response is None or request.method != "CONNECT" or response.status // 100 != 2:
            return
        if request.named(":protocol") == "websocket":
            self._talk.upgraded(stream)
        else:
            stream.exchange.upgraded = "connect"

    def _data(self, number: int, data: bytes, ends: bool) -> None:
        stream = self._talk.known(number)
        if stream is not None and stream.socket is not None:
            stream.socket.take(self._sender, data, self._time_ns, self._frame)
        else:
            message = stream.message(self._sender) if stream is not None else None
            if message is None:  # its fields are lacking
                message = self._open(number, [])
                message.fault(HOLE)
            message.body.take(data)
            message.last_ns = self._time_ns
            counter = stream.prefixed.get(self._sender) if stream is not None else None
            if counter is not None:
                counter.take(data)
                message.grpc = counter.messages
        if ends:
            self._ended(number)

    def _ended(self, number: int) -> None:
        stream = self._talk.known(number)
        if stream is None:
            return
        stream.ended.add(self._sender)
        message = stream.message(self._sender)
        if message is not None:
            message.last_ns = self._time_ns
            message.complete = not message.faults
        if len(stream.ended) == 2:
            self._talk.over(number)

    def _reset(self, number: int) -> None:
        stream = self._talk.known(number)
        if stream is None:
            return
        for message in stream.exchange.messages:
            if not message.over:
                message.fault(RESET)
        self._talk.over(number)

    def hole(self, payload: int | None) -> None:
        """Bytes are lacking here."""
        buffer = self._buffer
        if payload is not None and len(buffer) >= _HEAD and buffer[3] == 0 and not self._searching:
            left = _HEAD + int.from_bytes(buffer[:3]) - len(buffer)
            if payload <= left <= MOST_FRAME:
                stream = self._talk.known(int.from_bytes(buffer[5:9]) & 0x7FFF_FFFF)
                message = stream.message(self._sender) if stream is not None else None
                if message is not None:
                    message.fault(HOLE)
                    message.body.lacking += payload
                    self.take(bytes(payload), self._time_ns, self._frame)
                    return
        self._lose(HOLE)

    def _lose(self, cause: str) -> None:
        """Where frames begin is not known any more, nor what the table holds."""
        self._buffer.clear()
        self._block = None
        self._searching = self._begun = True
        size = self._decoder.header_table.maxsize
        self._decoder = self._table(lost=True)
        self._decoder.header_table.maxsize = size
        for stream in self._talk.streams():
            message = stream.message(self._sender)
            if stream.socket is not None:
                stream.socket.hole(self._sender)
            elif message is not None and not message.complete:
                message.fault(cause)


def plausible(data: bytes, whole: bool = False) -> bool:
    """Whether a record looks as if it began with HTTP/2 frames; with `whole`, as if it were some."""
    at, seen = 0, 0
    while len(data) - at >= _HEAD and seen < 4:
        length, kind = int.from_bytes(data[at : at + 3]), data[at + 3]
        number = int.from_bytes(data[at + 5 : at + 9])
        if length > MOST_FRAME or kind > _ODDLY or number >> 31:
            return False
        if (kind in _ON_STREAM and not number) or (kind in _ON_CONNECTION and number):
            return False
        fixed = {2: 5, 3: 4, 6: 8, 8: 4}.get(kind)
        if (fixed is not None and length != fixed) or (kind == 4 and length % 6):
            return False
        at, seen = at + _HEAD + length, seen + 1
    return seen > 0 and (not whole or seen == 4 or at == len(data))
