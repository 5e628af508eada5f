"""The messages of a WebSocket, both directions, by wsproto (RFC 6455, RFC 7692).

Behind a hole it goes on with the next record; where messages are compressed with what came before, what follows cannot
be read, and is not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from wsproto.extensions import Extension, PerMessageDeflate
from wsproto.frame_protocol import Frame, FrameProtocol, Opcode, ParseFailed

from rxtls.talk.body import Body, Store
from rxtls.talk.exchange import CUT, HOLE, SocketMessage

STEP = 4096  # bytes handed over at a time: each may inflate to a thousand

_KINDS = {
    Opcode.TEXT: "text", Opcode.BINARY: "binary", Opcode.PING: "ping", Opcode.PONG: "pong", Opcode.CLOSE: "close",
}  # fmt: skip


class WebSocket:
    """`like` has what its messages have in common; `extensions` is the response's field."""

    def __init__(
        self, like: SocketMessage, extensions: str, store: Store | None, give: Callable[[SocketMessage], None]
    ) -> None:
        self._halves = {
            sender: _Half(replace(like, sender=sender), extensions, store, give) for sender in ("client", "server")
        }

    def take(self, sender: str, data: bytes, time_ns: int, frame: int) -> None:
        """Some more of what a side sent."""
        self._halves[sender].take(data, time_ns, frame)

    def hole(self, sender: str) -> None:
        """Some of it is lacking."""
        self._halves[sender].hole()

    def end(self) -> None:
        """Nothing more will come."""
        for half in self._halves.values():
            half.cut(CUT)


class _Half:
    def __init__(
        self, like: SocketMessage, extensions: str, store: Store | None, give: Callable[[SocketMessage], None]
    ) -> None:
        self._like = like
        self._extensions = extensions
        self._store = store
        self._give = give
        self._open: SocketMessage | None = None
        self._dead = False
        self._begin()

    def _begin(self) -> None:
        extensions: list[Extension] = []
        offers = [each.strip() for each in self._extensions.split(",")]
        for offer in offers:
            if offer.partition(";")[0].strip() == "permessage-deflate":
                deflate = PerMessageDeflate()
                try:
                    deflate.finalize(offer)
                except (ValueError, IndexError):
                    self._dead = True
                extensions.append(deflate)
        self._protocol = FrameProtocol(client=self._like.sender == "server", extensions=extensions)

    def take(self, data: bytes, time_ns: int, frame: int) -> None:
        for at in range(0, len(data), STEP):
            if self._dead:
                return
            self._protocol.receive_bytes(data[at : at + STEP])
            try:
                for each in self._protocol.received_frames():
                    self._frame(each, time_ns, frame)
            except (ParseFailed, ValueError, AssertionError, OverflowError):  # ValueError: zlib's, for its window
                self._dead = True
                self.cut("malformed: no WebSocket frame", time_ns, frame)

    def _frame(self, frame: Frame, time_ns: int, at: int) -> None:
        payload = frame.payload
        if frame.opcode in (Opcode.PING, Opcode.PONG, Opcode.CLOSE):
            message = self._made(time_ns, at, _KINDS[frame.opcode])
            if isinstance(payload, tuple):
                message.code = int(payload[0])
                payload = str(payload[1])
            self._finish(message, payload)
            return
        if self._open is None:
            self._open = self._made(time_ns, at, _KINDS.get(frame.opcode, "binary"))
        message = self._open
        message.last_ns = time_ns
        if frame.frame_finished and frame.message_finished:
            self._open = None
            self._finish(message, payload)
        else:
            message.body.take(_bytes(payload))

    def _finish(self, message: SocketMessage, payload: object) -> None:
        message.body.take(_bytes(payload))
        message.body.settle()
        message.complete = True
        self._give(message)

    def _made(self, time_ns: int, frame: int, kind: str) -> SocketMessage:
        like = replace(self._like, body=Body(self._store), first_ns=time_ns, last_ns=time_ns, frame=frame, kind=kind)
        like.faults = []
        return like

    def hole(self) -> None:
        self.cut(HOLE)
        if not self._dead:
            self._begin()

    def cut(self, cause: str, time_ns: int | None = None, frame: int = 0) -> None:
        """The message that is open, or at `time_ns` one of which nothing could be read, is not whole."""
        message, self._open = self._open, None
        if message is None and time_ns is not None:
            message = self._made(time_ns, frame, "binary")
        if message is not None:
            message.faults.append(cause)
            message.body.settle()
            self._give(message)


def _bytes(payload: object) -> bytes:
    if isinstance(payload, str):
        return payload.encode("utf-8", "surrogatepass")
    assert isinstance(payload, bytes | bytearray)
    return bytes(payload)
