"""TLS inside another protocol's frames: which bytes of a stream are frames, and which are TLS.

    TDS        | 12 01 len len .. | ClientHello |    | 12 01 .. | ClientKeyExchange, Finished |   | 17 03 03 ..
               Microsoft SQL Server ([MS-TDS] 2.2.6.5): the handshake is in PRELOGIN packets. Records behind it stand
               bare, so that from there on it is a stream of TLS like any other

    WebSocket  | GET .. Upgrade: websocket .. | 82 fe len len mask | masked bytes |   | 82 ..
               RFC 6455: all of it is in binary messages, to the end, and what the client sends is masked

A NIC reads the TCP stream: it cannot know of frames, and what is masked are not even the record's bytes. So a stream
that is wrapped to its end is never offloaded; its TLS library decrypts (inside.py). The observer reads the inner bytes,
and `outward` says it in outer ones: frames count with the records that they carry.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from rxtls.handshake.steps import Step
from rxtls.wire import tls
from rxtls.wire.tls import MalformedError

MOST_HEAD = 16 << 10  # bytes of an HTTP head: servers refuse longer ones
_MOST_PACKET = 32767  # bytes of a TDS packet ([MS-TDS] 2.2.3.1.3)
_TDS_HEADER = 8
_PRELOGIN, _RESPONSE = 0x12, 0x04
_BINARY, _CONTINUATION = 2, 0
_OPCODES = frozenset((_CONTINUATION, 1, _BINARY, 8, 9, 10))
_FIRST = 4  # frames in which TLS has to begin

_HEAD = re.compile(rb"(?:GET |HTTP/1\.1 101)[^\0]*?\r\n\r\n")
_UPGRADE = re.compile(rb"\r\nupgrade:[ \t]*websocket[ \t]*\r\n", re.IGNORECASE)
_TLS_BEGINS = re.compile(rb"[\x15\x16]\x03[\x00-\x04]?\Z")


class Frame(NamedTuple):
    """What is left of a frame: `left` bytes, whether they are TLS, the mask from here on. `bare`: no frames follow."""

    left: int
    inner: bool = True
    mask: bytes = b""
    bare: bool = False


class Span(NamedTuple):
    """The next `length` outer bytes are TLS, or are none of it."""

    length: int
    inner: bool


# (data, offset of a frame's header) to (the frame, its header's length); None while too little is there.
Header = Callable[[bytes, int], tuple[Frame, int] | None]


class Wrapping:
    """One side's frames. `lasting`: they go on to the end of the stream."""

    __slots__ = ("_at", "_header", "lasting", "name")

    def __init__(self, name: str, header: Header, *, lasting: bool, plain: int = 0) -> None:
        self.name = name
        self.lasting = lasting
        self._header = header
        self._at = Frame(plain)  # what stands before the first frame is given out as it is

    def unwrap(self, data: bytes) -> tuple[bytes, list[Span]]:
        """The inner bytes of what is unread, and how they stand in it. Raises MalformedError."""
        inner, spans, _ = self._walk(data)
        return inner, spans

    def skip(self, data: bytes) -> None:
        """These bytes are done with."""
        self._at = self._walk(data)[2]

    def _walk(self, data: bytes) -> tuple[bytes, list[Span], Frame]:
        frame, at = self._at, 0
        pieces: list[bytes] = []
        spans: list[Span] = []
        while at < len(data):
            if not (frame.left or frame.bare):
                begun = self._header(data, at)
                if begun is None:
                    break
                frame, length = begun
                if length:
                    spans.append(Span(length, False))
                at += length
                continue
            piece = data[at:] if frame.bare else data[at : at + frame.left]
            if frame.inner:
                pieces.append(_unmasked(piece, frame.mask) if frame.mask else piece)
            spans.append(Span(len(piece), frame.inner))
            at += len(piece)
            turn = len(piece) % 4
            frame = frame._replace(left=max(0, frame.left - len(piece)), mask=frame.mask[turn:] + frame.mask[:turn])
        return b"".join(pieces), spans, frame


def begin(data: bytes) -> Wrapping | None:
    """What a side's stream is wrapped in, if its first bytes tell, and TLS begins in the first frames."""
    if data[:1] in (b"\x12", b"\x04"):
        found = Wrapping("TDS", _tds, lasting=False)
    elif (head := _HEAD.match(data, 0, MOST_HEAD)) is not None and _UPGRADE.search(head[0]):
        found = Wrapping("WebSocket", _websocket, lasting=True, plain=head.end())
    else:
        return None
    plain = found._at.left
    try:
        inner, spans = found.unwrap(data)
    except MalformedError:
        return None
    at = plain
    for span in [each for each in spans if each.inner][bool(plain) :][:_FIRST]:
        if _TLS_BEGINS.match(inner[at : at + 3]) and span.length > 1:
            return found
        at += span.length
    return None


def outward(step: Step, inner: int, spans: list[Span]) -> Step:
    """A step in inner bytes, of which there were `inner`, in outer ones."""
    if not step.consumed:
        return step
    ends = _Ends(spans)
    at, preamble = step.preamble, ends.of(step.preamble)
    place, records = preamble, []
    for record in step.records:
        at += record.wire_length
        end = ends.of(at)
        records.append(record._replace(wire_length=end - place))
        place = end
    if step.consumed == inner:  # then frames without TLS that follow are done with, too
        trailing = sum(span.length for span in spans) - place
        if records:
            records[-1] = records[-1]._replace(wire_length=records[-1].wire_length + trailing)
        else:
            preamble += trailing
        place += trailing
    return step._replace(consumed=place, preamble=preamble, records=tuple(records))


class _Ends:
    """Where inner bytes end in outer ones; asked in order."""

    def __init__(self, spans: list[Span]) -> None:
        self._spans = iter(spans)
        self._span = Span(0, False)
        self._inner = self._outer = 0  # before the span

    def of(self, inner: int) -> int:
        """How many outer bytes there are up to the end of the first so many inner ones."""
        if not inner:
            return 0
        while self._inner + (self._span.length if self._span.inner else 0) < inner:
            self._inner += self._span.length if self._span.inner else 0
            self._outer += self._span.length
            self._span = next(self._spans)
        return self._outer + inner - self._inner


def _tds(data: bytes, at: int) -> tuple[Frame, int] | None:
    """A packet's header: type, status, length of all, SPID, number, window ([MS-TDS] 2.2.3.1)."""
    if tls.CHANGE_CIPHER_SPEC <= data[at] <= tls.HEARTBEAT:
        return Frame(0, bare=True), 0
    if len(data) - at < _TDS_HEADER:
        return None
    length = data[at + 2] << 8 | data[at + 3]
    if data[at] not in (_PRELOGIN, _RESPONSE) or not _TDS_HEADER <= length <= _MOST_PACKET:
        raise MalformedError(f"a TDS packet of type {data[at]} and {length} bytes amid the handshake")
    return Frame(length - _TDS_HEADER), _TDS_HEADER


def _websocket(data: bytes, at: int) -> tuple[Frame, int] | None:
    """A frame's header (RFC 6455 section 5.2): opcode, length in 7, 16 or 64 bits, mask."""
    if len(data) - at < 2:
        return None
    first, second = data[at], data[at + 1]
    if first & 0x70 or first & 0x0F not in _OPCODES:
        raise MalformedError("a WebSocket frame that is compressed, or of a kind that is not known")
    width = {126: 2, 127: 8}.get(second & 0x7F, 0)
    masked = 4 if second & 0x80 else 0
    size = 2 + width + masked
    if len(data) - at < size:
        return None
    length = int.from_bytes(data[at + 2 : at + 2 + width]) if width else second & 0x7F
    inner = first & 0x0F in (_BINARY, _CONTINUATION)
    return Frame(length, inner, data[at + 2 + width : at + size]), size


def _unmasked(piece: bytes, mask: bytes) -> bytes:
    length = len(piece)
    key = (mask * (length // 4 + 1))[:length]
    return (int.from_bytes(piece) ^ int.from_bytes(key)).to_bytes(length)
