"""What HTTP is made of, as values: a request with its response, and the messages of a WebSocket.

A message that is not whole says why in `faults`: "hole" (the capture lacks some of it), "cut" (the connection, or the
capture, ended), "reset", "malformed: ...", "too large: ...". Names and values of fields are text in latin-1, in which
every byte has a character; a fault never holds what a peer wrote.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from rxtls.talk.body import Body

Fields = list[tuple[str, str]]

HOLE, CUT, RESET = "hole", "cut", "reset"


@dataclass(slots=True)
class Message:
    """One direction of an exchange. Times are of the frames that completed its first and last byte so far; `frame` is
    the global index of the first."""

    fields: Fields
    body: Body
    version: str
    first_ns: int
    last_ns: int
    frame: int
    trailers: Fields = field(default_factory=list)
    complete: bool = False
    faults: list[str] = field(default_factory=list)
    grpc: int = 0  # length-prefixed messages begun, where it is gRPC

    def named(self, name: str) -> str:
        """The first field of this name (lower case), or nothing."""
        return next((value for each, value in self.fields if each.lower() == name), "")

    def fault(self, cause: str) -> None:
        """It is not whole."""
        if cause not in self.faults:
            self.faults.append(cause)

    @property
    def over(self) -> bool:
        """No more of it will come."""
        return self.complete or bool(self.faults)

    @property
    def type(self) -> str:
        """The media type without parameters."""
        return self.named("content-type").partition(";")[0].strip().lower()


@dataclass(slots=True)
class Request(Message):
    """What was asked for. `target` is as it was sent; `host` from the target or the field."""

    method: str = ""
    scheme: str = "https"
    host: str = ""
    target: str = ""

    @property
    def path(self) -> str:
        """The target without scheme and host."""
        for scheme in ("http://", "https://"):
            if self.target.lower().startswith(scheme):
                rest = self.target[len(scheme) :]
                return "/" + rest.partition("/")[2]
        return self.target


@dataclass(slots=True)
class Response(Message):
    """What was answered. `informational` are the statuses (1xx) that came before."""

    status: int = 0
    reason: str = ""
    informational: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Exchange:
    """A request and its response; one of them may be None: what the capture lacks, or what never came.

    `stream` is HTTP/2's, None before. `upgraded` is what the connection, or stream, became: "websocket", "connect", or
    the protocol's name. `pushed`: the server promised it. `server` and `client` are ip:port.
    """

    flow: int
    client: str
    server: str
    protocol: str
    request: Request | None = None
    response: Response | None = None
    stream: int | None = None
    upgraded: str | None = None
    pushed: bool = False

    @property
    def messages(self) -> list[Message]:
        """Those that there are."""
        return [each for each in (self.request, self.response) if each is not None]

    @property
    def complete(self) -> bool:
        """Both are there, and whole."""
        return len(self.messages) == 2 and all(each.complete and not each.faults for each in self.messages)

    @property
    def faults(self) -> list[str]:
        """What is wrong, each with the message that it is about."""
        told = [f"{kind}: {cause}" for kind, each in (("request", self.request), ("response", self.response))
                if each is not None for cause in each.faults]  # fmt: skip
        told += ["no request"] if self.request is None else []
        return told + (["no response"] if self.response is None else [])

    @property
    def first_ns(self) -> int:
        """When it began."""
        return min(each.first_ns for each in self.messages)

    @property
    def milliseconds(self) -> float | None:
        """From the request's first byte to the response's last; None where one of them is lacking."""
        if self.request is None or self.response is None:
            return None
        return (self.response.last_ns - self.request.first_ns) / 1e6


@dataclass(slots=True)
class SocketMessage:
    """One message of a WebSocket. `kind`: text, binary, ping, pong, close; `code` is close's. `asked` is the request
    that the WebSocket began with."""

    flow: int
    client: str
    server: str
    sender: str
    kind: str
    body: Body
    first_ns: int
    last_ns: int
    frame: int
    asked: Request | None
    stream: int | None = None
    code: int | None = None
    complete: bool = False
    faults: list[str] = field(default_factory=list)


Talk = Exchange | SocketMessage
