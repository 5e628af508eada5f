"""One connection as it was said: pieces to text, hex, bytes or JSON, for a terminal, a pager or a program.

    flow 0: 10.0.0.1:50000 > 10.0.0.2:443, sni shop.example, ...
    +0.000000 client > server, frame 9
      GET / HTTP/1.1                           two spaces: no peer can write what looks like a line of ours
    +0.031250 hole in what the server sent: ...

Times are seconds since the first piece of the connection. A line is written where the direction changes, behind a hole,
and where nothing came for a second.
"""

from __future__ import annotations

import base64
import json
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from rxtls.errors import UsageError
from rxtls.run.replay import Replay
from rxtls.run.summary import Place
from rxtls.run.which import one, read
from rxtls.talk.options import FollowOptions, since_ns
from rxtls.talk.pieces import Chosen, Hole, Piece, ends, pieces
from rxtls.talk.safe import Text, dump, line

PAUSE_NS = 1_000_000_000
SPOOLED = 8 << 20  # bytes of what is written that wait in memory until it is known which connection it was

_NS = 10**9


class Conversation:
    """Iterate, which walks the run, for the conversation of the connection that FLOW names, in parts. UsageError if it
    names none, or several: what is written waits until that is known, unless FLOW is an id.

    `found` says afterwards whether there was anything.
    """

    def __init__(self, run: Replay, flow: str | None, options: FollowOptions) -> None:
        self._run, self._flow, self._options = run, flow, options
        self._wanted = read(flow)
        self.found = False

    def __iter__(self) -> Iterator[bytes]:
        parts = self._parts()
        if self._wanted.id is not None:
            yield from parts
            return
        with tempfile.SpooledTemporaryFile(SPOOLED) as spool:
            for part in parts:
                spool.write(part)
            spool.seek(0)
            text = self._options.form != "raw"
            while part := spool.read(1 << 20):
                yield part + spool.readline() if text else part

    def _parts(self) -> Iterator[bytes]:
        """The first connection that FLOW may mean; at the end it is seen whether it was the only one."""
        shown: _Shown | None = None
        for piece in pieces(self._run, Chosen(self._wanted)):
            if shown is None:
                shown = _KINDS[self._options.form](self._run, piece, self._options)
                self.found = True
                yield shown.begin()
            if piece.flow == shown.flow and not shown.full:
                yield from shown.take(piece)
        found = one(self._run.summary()["flows"], self._flow)
        if shown is not None and found["id"] != shown.flow:  # the address of a server before, and then of a client
            raise UsageError(f"{self._flow!r} is an address of several connections: give the id, {found['id']}")
        if shown is None:
            shown = _KINDS[self._options.form](self._run, None, self._options, found)
            yield shown.begin()
        yield shown.end()


class _Shown(ABC):
    """What the forms have in common: which pieces are shown, and how much of them."""

    def __init__(
        self, run: Replay, first: Piece | None, options: FollowOptions, known: dict[str, Any] | None = None
    ) -> None:
        self._run = run
        self._options = options
        self._known = known
        self.flow = known["id"] if known is not None else first.flow if first is not None else -1
        self.first_ns = 0 if first is None else first.time_ns
        self._from_ns = since_ns(options.since, self.first_ns)
        self._left = options.max or 1 << 63
        self.full = False
        self.cut = False

    def begin(self) -> bytes:
        """What comes first."""
        return b""

    def take(self, piece: Piece) -> Iterator[bytes]:
        """One more piece of it."""
        if piece.time_ns < self._from_ns or self._options.side not in ("both", piece.sender):
            return
        if isinstance(piece, Hole):
            yield self.hole(piece)
            return
        data = bytes(piece.data[: self._left])
        self._left -= len(data)
        self.cut = len(data) < len(piece.data)
        self.full = self._left <= 0
        yield self.piece(piece, data)

    @abstractmethod
    def piece(self, piece: Piece, data: bytes, /) -> bytes:
        """Some plaintext."""

    @abstractmethod
    def hole(self, hole: Hole, /) -> bytes:
        """Where some is lacking."""

    def end(self) -> bytes:
        """What comes last."""
        return b""

    def place(self, frame: int) -> Place:
        """File and frame."""
        return self._run.place(frame)

    def about(self) -> dict[str, Any]:
        """Who talks to whom."""
        if self._known is not None:
            return {name: self._known[name] for name in ("id", "client", "server", "sni", "alpn", "tls", "suite")}
        connection = self._run.path.flows[self.flow]
        facts, (client, server) = connection.facts, ends(connection)
        suite = facts.suite.name if facts.suite else None
        return {
            "id": self.flow, "client": client, "server": server, "sni": facts.sni, "alpn": facts.alpn,
            "tls": facts.tls, "suite": suite,
        }  # fmt: skip


class _Lines(_Shown):
    """Text and hex: lines of ours at the margin, what was said behind two spaces."""

    _turn: tuple[str, int] | None = None  # who spoke last, and when
    _open = False  # a line of what was said is not at its end

    def begin(self) -> bytes:
        about = self.about()
        parts = [f"flow {about['id']}: {about['client']} > {about['server']}"]
        parts += [f"{name} {line(about[name])}" for name in ("sni", "alpn") if about[name]]
        parts += [f"TLS {about['tls']}"] if about["tls"] else []
        parts += [about["suite"]] if about["suite"] else []
        if self.first_ns:
            at = datetime.fromtimestamp(self.first_ns // _NS, UTC)
            parts.append(f"from {at:%Y-%m-%d %H:%M:%S}.{self.first_ns % _NS // 1000:06} UTC")
        return (", ".join(parts) + "\n").encode()

    def piece(self, piece: Piece, data: bytes) -> bytes:
        head = ""
        if self._turn is None or self._turn[0] != piece.sender or piece.time_ns - self._turn[1] > PAUSE_NS:
            other = "server" if piece.sender == "client" else "client"
            head = self._closed() + f"{self._head(piece)} {piece.sender} > {other}, {self._frame(piece)}\n"
        self._turn = piece.sender, piece.time_ns
        return (head + self.body(piece, data)).encode()

    def hole(self, hole: Hole) -> bytes:
        records = "1 record" if hole.records == 1 else f"{hole.records:,} records"
        if hole.missing:
            cause = f"{records} not whole, {hole.missing:,} bytes are not in the capture"
        else:
            cause = f"{records} did not open"
        before, self._turn = self._closed(), None
        return (
            before + f"{self._head(hole)} hole in what the {hole.sender} sent: {cause}, {self._frame(hole)}\n"
        ).encode()

    def end(self) -> bytes:
        last = self._closed()
        if self.cut or self.full:
            last += f"--max {self._options.max}: what follows is not shown\n"
        if self._known is not None:
            last += "".join(f"{text}\n" for text in why_nothing(self._known))
        return last.encode()

    @abstractmethod
    def body(self, piece: Piece, data: bytes) -> str:
        """What was said, in lines."""

    def _closed(self) -> str:
        was, self._open = self._open, False
        return "\n" if was else ""

    def _head(self, piece: Piece) -> str:
        return f"{(piece.time_ns - self.first_ns) / _NS:+.6f}"

    def _frame(self, piece: Piece) -> str:
        place = self.place(piece.frame)
        several = len(self._run.source.names) > 1
        return f"frame {place['frame']}" + (f" of {line(str(place['file']))}" if several else "")


class _Text(_Lines):
    _texts: dict[str, Text]

    def body(self, piece: Piece, data: bytes) -> str:
        if not hasattr(self, "_texts"):
            self._texts = {"client": Text(), "server": Text()}
        text = self._texts[piece.sender].take(data)
        if not text:
            return ""
        before = "" if self._open else "  "
        self._open = not text.endswith("\n")
        return before + text[:-1].replace("\n", "\n  ") + text[-1]

    def _closed(self) -> str:
        last = ""
        for each in getattr(self, "_texts", {}).values():  # a character cut off by a turn, or the end
            if left := each.take(b"", last=True):
                last += ("" if self._open else "  ") + left.replace("\n", "\n  ")
                self._open = True
        return last + super()._closed()


class _Hex(_Lines):
    _at: dict[str, int]

    def body(self, piece: Piece, data: bytes) -> str:
        if not hasattr(self, "_at"):
            self._at = {"client": 0, "server": 0}
        at = self._at[piece.sender]
        self._at[piece.sender] += len(data)
        return dump(data, at)


class _Raw(_Shown):
    def piece(self, _: Piece, data: bytes) -> bytes:
        return data

    def hole(self, _: Hole) -> bytes:
        return b""


class _Json(_Shown):
    _begun = False

    def begin(self) -> bytes:
        return b'{\n"flow": ' + json.dumps(self.about()).encode() + b',\n"pieces": ['

    def piece(self, piece: Piece, data: bytes) -> bytes:
        try:
            text = data.decode()
        except UnicodeDecodeError:
            return self._item(piece, {"base64": base64.b64encode(data).decode()})
        return self._item(piece, {"text": text})

    def hole(self, hole: Hole) -> bytes:
        return self._item(hole, {"hole": {name: getattr(hole, name) for name in ("records", "missing", "payload")}})

    def _item(self, piece: Piece, more: dict[str, Any]) -> bytes:
        before, self._begun = b",\n" if self._begun else b"\n", True
        told = {
            "time_ns": piece.time_ns, "sender": piece.sender, **self.place(piece.frame), "record": piece.number, **more,
        }  # fmt: skip
        return before + json.dumps(told).encode()

    def end(self) -> bytes:
        return b'\n],\n"more": ' + json.dumps(self.cut or self.full).encode() + b"\n}\n"


_KINDS: dict[str, type[_Shown]] = {"text": _Text, "hex": _Hex, "raw": _Raw, "json": _Json}


def why_nothing(flow: dict[str, Any]) -> list[str]:
    """A sentence for each direction of which nothing was read."""
    received = flow["receive"].items()
    return [
        f"nothing that reached the {receiver} was read: {each['why']['text']}" for receiver, each in received if each
    ]
