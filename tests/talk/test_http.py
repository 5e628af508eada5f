"""http: requests and responses of both versions, from the middle, with holes, and from peers who mean harm."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import brotli
import pytest
import typer.testing
import zstandard
from hpack import Encoder
from hyperframe import frame as h2
from wsproto.connection import Connection as Socket
from wsproto.connection import ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage
from wsproto.extensions import PerMessageDeflate

import replays
from replays import GCM13, carry
from rxtls.cli.app import app
from rxtls.errors import UsageError
from rxtls.simulation.synth import converse
from rxtls.talk.body import Body, BodyError, Store
from rxtls.talk.dialogs import Dialog, Seen
from rxtls.talk.exchange import Exchange, SocketMessage, Talk
from rxtls.talk.har import entry
from rxtls.talk.http1 import WAITING
from rxtls.talk.http2 import MOST_STREAMS, PREFACE
from rxtls.talk.listing import columns, lines
from rxtls.talk.objects import safe_name
from rxtls.talk.pieces import Hole, Piece

REAL = Path(__file__).parents[1] / "data" / "real"
GET = b"GET /%d HTTP/1.1\r\nHost: shop.example\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nContent-Type: text/plain\r\n\r\n%s"


def flow(alpn: str | None = None, end: str = "fin") -> Any:
    """As much of a Flow as a dialog asks for."""
    connection = SimpleNamespace(id=0, a=("10.0.0.1", 50000), b=("10.0.0.2", 443), end=end)
    return SimpleNamespace(connection=connection, client_side=0, facts=SimpleNamespace(alpn=alpn), directions=())


def heard(
    turns: Iterable[tuple[str, bytes | int | None]], alpn: str | None = None, keep: bool = False, end: str = "fin"
) -> list[Talk]:
    """What comes of pieces: ("client", bytes), or ("server", 7) for a hole of seven bytes, None for one of any size."""
    out: list[Talk] = []
    dialog = Dialog(flow(alpn, end), Store() if keep else None, out)
    for n, (sender, what) in enumerate(turns):
        if isinstance(what, bytes):
            dialog.take(Piece(0, sender, what, 10**9 + n * 10**6, n, n))
        else:
            dialog.take(Hole(0, sender, b"", 10**9 + n * 10**6, n, n, 1, 10, what))
    dialog.end(Seen())
    return out


def told(talks: list[Talk]) -> list[tuple[Any, ...]]:
    names = ("method", "path", "status", "bytes", "complete")
    return [tuple(columns(talk)[name] for name in names) for talk in talks]


def exchanges(talks: list[Talk]) -> list[Exchange]:
    return [each for each in talks if isinstance(each, Exchange)]


def test_requests_pair_with_responses_pipelined_or_not() -> None:
    turns = [
        ("client", GET % 1 + GET % 2 + GET % 3),
        ("server", OK % (3, b"one") + OK % (3, b"two")),
        ("server", OK % (0, b"")),
    ]
    wanted = [("GET", "/1", 200, 3, True), ("GET", "/2", 200, 3, True), ("GET", "/3", 200, 0, True)]
    assert told(heard(turns)) == wanted
    assert told(heard((side, data[at : at + 1]) for side, data in turns for at in range(len(data)))) == wanted


def test_continue_head_trailers_close_and_early_answers() -> None:
    post = b"POST /up HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"
    talks = heard([
        ("client", post), ("server", b"HTTP/1.1 100 Continue\r\n\r\n"),
        ("client", b"3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"),
        ("server", b"HTTP/1.1 201 Made\r\nContent-Length: 0\r\n\r\n"),
        ("client", b"HEAD /h HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("server", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"),
        ("client", b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab"),
        ("server", b"HTTP/1.1 413 Too much\r\nContent-Length: 0\r\n\r\n"), ("client", b"cd"),
        ("client", b"GET /last HTTP/1.0\r\n\r\n"), ("server", b"HTTP/1.0 200 OK\r\n\r\nto the "), ("server", b"end"),
    ])  # fmt: skip
    assert told(talks) == [
        ("POST", "/up", 201, 0, True), ("HEAD", "/h", 200, 0, True), ("POST", "/early", 413, 0, True),
        ("GET", "/last", 200, 10, True),
    ]  # fmt: skip
    first = exchanges(talks)[0]
    assert first.request is not None
    assert first.response is not None
    assert first.response.informational == [100]
    assert first.request.trailers == [("x-sum", "1")]
    assert first.request.body.size == 3
    assert heard([("client", GET % 1), ("server", b"HTTP/1.0 200 OK\r\n\r\nabc")], end="open")[0].faults == [
        "response: cut"
    ]


def test_a_tunnel_is_a_tunnel() -> None:
    talks = heard([
        ("client", b"CONNECT far:443 HTTP/1.1\r\nHost: far:443\r\n\r\n"),
        ("server", b"HTTP/1.1 200 OK\r\n\r\n"), ("client", b"\x16\x03\x01" + GET % 1), ("server", OK % (1, b"x")),
    ])  # fmt: skip
    assert told(talks) == [("CONNECT", "", 200, 0, True)]
    assert exchanges(talks)[0].upgraded == "connect"
    assert "far:443  (is connect now)" in list(lines(talks))[1]


def upgraded(extensions: str = "") -> list[tuple[str, bytes | int | None]]:
    more = f"Sec-WebSocket-Extensions: {extensions}\r\n".encode() if extensions else b""
    upgrade = b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
    return [
        ("client", b"GET /chat HTTP/1.1\r\nHost: a\r\n" + upgrade + b"Sec-WebSocket-Key: x\r\n\r\n"),
        ("server", b"HTTP/1.1 101 Switching\r\n" + upgrade + more + b"\r\n"),
    ]


@pytest.mark.parametrize("deflate", [False, True])
def test_messages_of_a_websocket(deflate: bool) -> None:
    def peer(kind: ConnectionType) -> Socket:
        extension = PerMessageDeflate()
        extension.finalize("permessage-deflate")
        return Socket(kind, [extension] if deflate else [])

    client, server = peer(ConnectionType.CLIENT), peer(ConnectionType.SERVER)
    said = [
        ("client", client.send(TextMessage(data="hello"))),
        ("server", server.send(BytesMessage(data=b"x" * 70_000))),
        ("server", server.send(Ping(payload=b"p")) + server.send(TextMessage(data="a", message_finished=False))),
        ("server", server.send(TextMessage(data="b"))),
        ("client", client.send(CloseConnection(code=1000, reason="bye"))),
    ]
    turns = upgraded("permessage-deflate" if deflate else "")
    talks = heard([*turns, *said], keep=True)
    assert told(talks) == [
        ("GET", "/chat", 101, 0, True), ("WS>", "/chat", None, 5, True), ("WS<", "/chat", None, 70_000, True),
        ("WS<", "/chat", None, 1, True), ("WS<", "/chat", None, 2, True), ("WS>", "/chat", 1000, 3, True),
    ]  # fmt: skip
    assert [each.kind for each in talks if isinstance(each, SocketMessage)] == [
        "text",
        "binary",
        "ping",
        "text",
        "close",
    ]
    assert b"".join(talks[4].body.parts()) == b"ab"  # type: ignore[union-attr]
    assert told(heard([*upgraded(), ("server", b"\xff\xff" * 50)]))[1:] == [("WS<", "/chat", None, 0, False)]


# Holes


def test_a_hole_in_a_body_leaves_the_rest() -> None:
    body = bytes(range(100))
    talks = heard([
        ("client", GET % 1), ("server", OK % (100, body[:20])), ("server", 50), ("server", body[70:] + b"\r\n"),
        ("client", GET % 2), ("server", OK % (1, b"x")),
    ], keep=True)  # fmt: skip
    assert told(talks) == [("GET", "/1", 200, 100, False), ("GET", "/2", 200, 1, True)]
    assert talks[0].faults == ["response: hole"]
    response = exchanges(talks)[0].response
    assert response is not None
    assert b"".join(response.body.parts()) == body[:20] + bytes(50) + body[70:]
    assert response.body.lacking == 50


@pytest.mark.parametrize("size", [5, 5000, None])
def test_a_hole_in_a_header_or_over_several_messages(size: int | None) -> None:
    talks = heard([
        ("client", GET % 1), ("server", b"HTTP/1.1 200 OK\r\nContent-"), ("server", size), ("server", b"rest of it"),
        ("client", GET % 2), ("server", OK % (1, b"x")), ("client", GET % 3), ("server", OK % (1, b"y")),
    ])  # fmt: skip
    assert told(talks) == [("GET", "/1", 0, 0, False), ("GET", "/2", 200, 1, True), ("GET", "/3", 200, 1, True)]
    lost = heard([("client", GET % 1), ("client", GET % 2), ("server", None), ("server", OK % (1, b"y"))])
    assert told(lost) == [("GET", "/1", None, 0, False), ("GET", "/2", 200, 1, True)]
    no_request = heard([("client", size), ("server", OK % (2, b"xy")), ("client", GET % 2), ("server", OK % (1, b"y"))])
    assert told(no_request) == [("?", "?", 200, 2, False), ("GET", "/2", 200, 1, True)]


def test_a_late_start() -> None:
    talks = heard([("server", b"tail of a body"), ("client", GET % 2), ("server", OK % (1, b"y"))])
    assert told(talks) == [("GET", "/2", 200, 1, True)]
    assert heard([("client", b"\x00\x01binary" * 100), ("server", Random(1).randbytes(5000))]) == []
    assert heard([("server", b"220 hello\r\n"), ("client", b"EHLO me\r\n"), ("server", b"250 ok\r\n")]) == []


# HTTP/2


class Peer:
    """Makes frames of one side."""

    def __init__(self) -> None:
        self.encoder = Encoder()

    def headers(self, number: int, *fields: tuple[str, str], end: bool = False, parts: int = 1) -> bytes:
        block = self.encoder.encode(fields)
        size = max(1, -(-len(block) // parts))
        cut = [block[at : at + size] for at in range(0, len(block), size)]
        frames: list[Any] = [h2.HeadersFrame(number, cut[0], flags=["END_STREAM"] if end else [])]
        frames += [h2.ContinuationFrame(number, each) for each in cut[1:]]
        frames[-1].flags.add("END_HEADERS")
        return b"".join(each.serialize() for each in frames)

    def ask(self, number: int, path: str, method: str = "GET", end: bool = True, *more: tuple[str, str]) -> bytes:
        pseudo = ((":method", method), (":scheme", "https"), (":authority", "shop.example"), (":path", path))
        return self.headers(number, *pseudo, ("user-agent", "a test"), *more, end=end, parts=2)

    def answer(self, number: int, status: str = "200", *more: tuple[str, str], end: bool = False) -> bytes:
        return self.headers(number, (":status", status), ("x-server", "a server"), *more, end=end)


def data(number: int, body: bytes, end: bool = True, pad: int = 0) -> bytes:
    flags = (["END_STREAM"] if end else []) + (["PADDED"] if pad else [])
    return h2.DataFrame(number, body, pad_length=pad, flags=flags).serialize()


SETTINGS = h2.SettingsFrame(0, {1: 4096}).serialize()


def begun() -> tuple[Peer, Peer, list[tuple[str, bytes | int | None]]]:
    return Peer(), Peer(), [("client", PREFACE + SETTINGS), ("server", SETTINGS)]


def test_streams_end_in_any_order_however_they_are_cut() -> None:
    client, server, turns = begun()
    turns += [
        ("client", client.ask(1, "/a") + client.ask(3, "/b", "POST", False) + data(3, b"up", pad=9)),
        ("server", server.answer(3) + server.answer(1, "103") + server.answer(1) + data(3, b"B" * 5)),
        ("server", data(1, b"A", False) + server.headers(1, ("grpc-status", "0"), end=True)),
        ("client", client.ask(5, "/c")), ("server", h2.RstStreamFrame(5, 2).serialize()),
        ("client", client.ask(7, "/d")),
    ]  # fmt: skip
    wanted = [
        ("POST", "/b", 200, 5, True),
        ("GET", "/a", 200, 1, True),
        ("GET", "/c", None, 0, False),
        ("GET", "/d", None, 0, False),
    ]
    assert told(heard(turns, "h2")) == wanted
    assert told(heard(turns)) == wanted
    cut = [(side, all_[at : at + 1]) for side, all_ in turns if isinstance(all_, bytes) for at in range(len(all_))]
    assert told(heard(cut)) == wanted
    second = exchanges(heard(turns))[1]
    assert second.response is not None
    assert second.response.informational == [103]
    assert second.response.trailers == [("grpc-status", "0")]


def test_pushes_and_grpc_are_named() -> None:
    client, server, turns = begun()
    promise = h2.PushPromiseFrame(
        1, 2, server.encoder.encode([(":method", "GET"), (":path", "/p"), (":authority", "a")])
    )
    promise.flags.add("END_HEADERS")
    grpc = ("content-type", "application/grpc+proto")
    turns += [
        ("client", client.ask(1, "/shop.Cart/Add", "POST", False, grpc) + data(1, b"\0\0\0\0\2hi" * 3)),
        ("server", promise.serialize() + server.answer(2, end=True) + server.answer(1, "200", grpc)),
        ("server", data(1, b"\0\0\0\0\5he", False) + data(1, b"llo", False)),
        ("server", server.headers(1, ("grpc-status", "5"), end=True)),
    ]  # fmt: skip
    pushed, called = heard(turns)
    assert columns(pushed)["pushed"]
    assert columns(called)["grpc"] == {
        "service": "shop.Cart", "method": "Add", "requests": 3, "responses": 1, "status": "5"
    }  # fmt: skip
    assert "(3 > 1 gRPC messages)" in list(lines([called]))[1]


def test_holes_in_http2() -> None:
    client, server, turns = begun()
    first = client.ask(1, "/a"), server.answer(1), data(1, b"x" * 100)
    turns += [
        ("client", first[0]), ("server", first[1] + first[2][:40]), ("server", 30), ("server", first[2][70:]),
        ("client", client.ask(3, "/b")), ("server", server.answer(3) + data(3, b"y")),
    ]  # fmt: skip
    assert told(heard(turns)) == [("GET", "/a", 200, 100, False), ("GET", "/b", 200, 1, True)]
    lost = client.ask(5, "/lost", "GET", True, ("x-new", "1"))
    turns += [("client", len(lost)), ("client", client.ask(7, "/after", "GET", True, ("x-new", "1"))),
              ("server", server.answer(7) + data(7, b"z"))]  # fmt: skip
    talks = heard(turns)
    assert told(talks)[2] == ("GET", "/after", 200, 1, False)
    assert talks[2].faults == ["request: hole before: some fields are not known"]


def test_a_late_start_of_http2() -> None:
    client, server, _ = begun()
    client.ask(1, "/before")
    server.answer(1)
    talks = heard([("client", client.ask(3, "/b" * 30)), ("server", server.answer(3) + data(3, b"y" * 50))])
    assert told(talks) == [("GET", "/b" * 30, 200, 50, False)]


# Harm


@pytest.mark.parametrize(
    "first", [b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200_000, b"GET /" + b"a" * 500_000, b"GET / HTTP/1.1\r\nHost"]
)
def test_endless_headers_end(first: bytes) -> None:
    talks = heard(
        [("client", first[at : at + 16000]) for at in range(0, len(first), 16000)]
        + [("client", GET % 2), ("server", OK % (1, b"x"))]
    )
    assert told(talks)[-1][:2] in [("GET", "/2"), ("?", "?")]
    assert not talks[0].complete
    assert len(talks) <= 3


@pytest.mark.parametrize(
    "smuggled",
    [
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x, chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 30 + b"\r\n",
    ],
)
def test_smuggling_is_named_and_the_rest_goes_on(smuggled: bytes) -> None:
    talks = heard([("client", smuggled), ("server", OK % (0, b"")), ("client", GET % 2), ("server", OK % (1, b"x"))])
    assert told(talks)[-1] == ("GET", "/2", 200, 1, True)
    assert any("malformed: " in fault for fault in talks[0].faults)
    assert "abcdef" not in "".join(talks[0].faults)


def test_a_hundred_thousand_requests_wait_for_nothing() -> None:
    talks = heard([("client", (GET % 1) * 1000)] * 100)
    assert len(talks) == 100_000
    assert not any(each.complete for each in talks)
    answered = heard([("client", (GET % 1) * 100), ("server", (OK % (1, b"x")) * 100)] * 50)
    assert sum(each.complete for each in answered) == 5000
    assert WAITING < 100_000


def test_floods_of_http2_are_bounded() -> None:
    client, _, turns = begun()
    many = heard([*turns, *(("client", client.ask(2 * n + 1, f"/{n}")) for n in range(3 * MOST_STREAMS))])
    assert len(many) == 3 * MOST_STREAMS
    bomb = Encoder()
    big = [(f"x{n}", "v" * 3000) for n in range(1)]
    block = bomb.encode(big) + bomb.encode(big) * 200
    frame = h2.HeadersFrame(1, block, flags=["END_HEADERS", "END_STREAM"]).serialize()
    talks = heard([*turns, ("client", frame), ("client", client.ask(3, "/after"))])
    assert talks[0].faults[0] == "request: too large: a header list"
    assert told(talks)[1][1] == "/after"
    endless = b"".join(h2.ContinuationFrame(1, b"\x00" * 16000).serialize() for _ in range(80))
    talks = heard([*turns, ("client", h2.HeadersFrame(1, b"\x82").serialize() + endless)])
    assert talks[0].faults[0] == "request: too large: a header block"
    huge = h2.HeadersFrame(1, b"\x3f\xff\xff\xff\x7f\x82", flags=["END_HEADERS"]).serialize()
    assert heard([*turns, ("client", huge)])[0].faults[0] == "request: malformed: a header block"


@pytest.mark.parametrize("seed", range(30))
def test_garbage_never_raises(seed: int) -> None:
    dice = Random(seed)
    client, server, turns = begun()
    starts: list[list[tuple[str, bytes | int | None]]] = [
        [("client", GET % 1), ("server", OK % (5, b"ab"))],
        [*turns, ("client", client.ask(1, "/a")), ("server", server.answer(1))],
        upgraded("permessage-deflate; client_max_window_bits=99"),
        upgraded("permessage-deflate"),
    ]
    for start in starts:
        rest: list[tuple[str, bytes | int | None]] = []
        for _ in range(40):
            side = dice.choice(["client", "server"])
            rest.append((side, dice.choice([dice.randbytes(dice.randrange(1, 400)), dice.randrange(1, 9999), None])))
            if dice.random() < 0.2:
                rest.append(("client", GET % 2))
        mutated = [
            (
                side,
                bytes(b ^ (dice.random() < 0.02) * dice.randrange(256) for b in what)
                if isinstance(what, bytes)
                else what,
            )
            for side, what in start
        ]
        for turn in (start + rest, mutated + rest):
            talks = heard(turn, keep=True)
            assert all(line.isprintable() for each in lines(talks) for line in each.splitlines())
            assert all(json.dumps(entry(each)) for each in exchanges(talks))


# Bodies


CODINGS = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": lambda data: zstandard.ZstdCompressor().compress(data),
    "": bytes,
}


@pytest.mark.parametrize("coding", CODINGS)
def test_codings(coding: str) -> None:
    text = b"what was said, " * 20_000
    body = Body(Store())
    packed = CODINGS[coding](text)
    for at in range(0, len(packed), 1000):
        body.take(packed[at : at + 1000])
    assert b"".join(body.decoded(coding)) == text
    assert body.size == len(packed)
    if coding:
        with pytest.raises(BodyError, match="more than 100000 bytes"):
            list(body.decoded(coding, 100_000))
        broken = Body(Store())
        broken.take(b"\x01\x02garbage that is none" * 9)
        with pytest.raises(BodyError):
            list(broken.decoded(coding))


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "gzip, gzip"])
def test_bombs_are_stopped(coding: str) -> None:
    bomb = bytes(200 << 20)
    for each in coding.split(", "):
        bomb = CODINGS[each](bomb)
    body = Body(Store())
    body.take(bomb)
    parts = []

    def decode() -> None:
        for part in body.decoded(coding, 1 << 20):
            assert len(part) <= 64 << 10
            parts.append(len(part))

    with pytest.raises(BodyError, match="more than 1048576 bytes decoded"):
        decode()
    assert sum(parts) == 1 << 20


def test_raw_deflate_members_and_too_many_codings() -> None:
    body = Body(Store())
    pack = zlib.compressobj(wbits=-15)
    body.take(pack.compress(b"raw") + pack.flush())
    assert b"".join(body.decoded("deflate")) == b"raw"
    two = Body(Store())
    two.take(gzip.compress(b"one") + gzip.compress(b"two"))
    assert b"".join(two.decoded("x-gzip")) == b"onetwo"
    for coding in ("gzip," * 4 + "gzip", "rot13"):
        with pytest.raises(BodyError):
            list(two.decoded(coding))


@pytest.mark.parametrize(
    ("path", "media", "name"),
    [
        ("/a/logo.png?v=1", "image/png", "logo.png"),
        ("/../../etc/passwd", "text/plain", "passwd.txt"),
        ("/", "text/html", "index.html"),
        ("/..", "", "index.bin"),
        ("/a\x00\x1b[2J.js", "text/javascript", "a_2J.js"),
        ("/" + "x" * 500 + ".css", "", "x" * 60 + ".css"),
        ("?", "", "index.bin"),
    ],
)
def test_names_of_objects_are_harmless(path: str, media: str, name: str) -> None:
    assert safe_name(path, media, "response") == name


# The command


def made(tmp_path: Path, *turns: tuple[bytes, bytes]) -> list[str]:
    said = converse(GCM13, Random(7))
    for question, answer in turns:
        said.request([question], [answer[at : at + 9000] for at in range(0, len(answer), 9000)])
    said.close()
    talked = carry(said, seed=7)
    return [replays.pcap(tmp_path, talked.frames), "--keys", replays.keys(tmp_path, talked)]


def command(*arguments: str) -> tuple[int, str]:
    done = typer.testing.CliRunner().invoke(app, ["http", *arguments])
    return (2, str(done.exception)) if isinstance(done.exception, UsageError) else (done.exit_code, done.output)


def test_list_json_har_and_objects(tmp_path: Path) -> None:
    page = b"<html>\xff</html>" * 3000
    packed = gzip.compress(b"body { }")
    zipped = b"HTTP/1.1 200 OK\r\nContent-Type: text/css\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(
        packed
    )
    upload = b"POST /up?a=b HTTP/1.1\r\nHost: shop.example\r\nCookie: c=d\r\nContent-Length: 3\r\n\r\nabc"
    files = made(
        tmp_path, (GET % 1, OK % (len(page), page)), (b"GET /s.css HTTP/1.1\r\nHost: a\r\n\r\n", zipped + packed),
        (upload, OK % (2, b"ok")),
    )  # fmt: skip
    har, objects, listed = tmp_path / "a.har", tmp_path / "objects", tmp_path / "a.json"
    status, text = command(*files, "--har", str(har), "--objects", str(objects))
    assert status == 0
    assert [each.split()[2:4] for each in text.splitlines()[1:]] == [["GET", "200"], ["GET", "200"], ["POST", "200"]]
    entries = json.loads(har.read_text())["log"]["entries"]
    assert [each["request"]["url"] for each in entries] == [
        "https://shop.example/1", "https://a/s.css", "https://shop.example/up?a=b"
    ]  # fmt: skip
    assert entries[1]["response"]["content"]["text"] == "body { }"
    assert entries[0]["response"]["content"]["encoding"] == "base64"
    assert entries[2]["request"]["postData"]["text"] == "abc"
    assert entries[2]["request"]["cookies"] == [{"name": "c", "value": "d"}]
    index = json.loads((objects / "index.json").read_text())
    assert [each["file"] for each in index] == [
        "flow-0-1-1.txt", "flow-0-2-s.css", "flow-0-3-up-request.bin", "flow-0-3-up.txt"
    ]  # fmt: skip
    assert (objects / "flow-0-1-1.txt").read_bytes() == page
    assert (objects / "flow-0-2-s.css").read_bytes() == b"body { }"
    assert {path.name for path in objects.iterdir()} == {"index.json", *(each["file"] for each in index)}
    assert all((path.stat().st_mode & 0o777) == 0o600 for path in [har, *objects.iterdir()])
    assert command(*files, "--json", str(listed))[0] == 0
    rows = json.loads(listed.read_text())
    assert rows == json.loads(command(*files, "0", "--json", "-")[1])
    assert rows[0]["response"]["fields"][0] == ["content-length", str(len(page))]
    assert command(*files, "--har", files[0])[0] == 2
    assert command(*files, "nowhere.example")[0] == 2


def test_no_http_is_said() -> None:
    status, text = command(str(REAL / "curl-nginx-tls13.pcap"), "--json", "-")
    assert status == 1
    assert json.loads(text[: text.index("]") + 1]) == []


@pytest.mark.parametrize("name", ["curl-nginx-tls13", "curl-nginx-tls12", "curl-nginx-http2"])
def test_real_captures(name: str) -> None:
    status, text = command(str(REAL / f"{name}.pcap"), "--keys", str(REAL / f"{name}.keys"), "--json", "-")
    assert status == 0
    rows = json.loads(text)
    assert [(row["method"], row["path"], row["status"], row["bytes"]) for row in rows] == [
        ("GET", "/big.bin", 200, 40960), ("GET", "/small.txt", 200, 15), ("GET", "/empty.txt", 200, 0),
        ("POST", "/upload", 201, 7), ("GET", "/small.txt", 200, 15),
    ]  # fmt: skip
    assert all(row["complete"] for row in rows)
