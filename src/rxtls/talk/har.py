"""HAR 1.2 (http://www.softwareishard.com/blog/har-12-spec/): exchanges as a browser's developer tools open them.

A file is written as exchanges come; a body is in it where it decodes to no more than MOST bytes, else the comment says
why it is not. What HTTP Archive has no place for is in keys that begin with an underscore, as the format allows.
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from rxtls.system.files import Output
from rxtls.talk.body import BodyError
from rxtls.talk.exchange import Exchange, Fields, Message, Request, Response
from rxtls.version import __version__

MOST = 16 << 20  # decoded bytes of a body in the file
_QUERIES = 1000


class Har:
    """Writes `output`; `take` each exchange, then `close`."""

    def __init__(self, output: Output) -> None:
        self._output = output
        creator = json.dumps({"name": "rxtls", "version": __version__})
        self._before = f'{{"log": {{"version": "1.2", "creator": {creator}, "pages": [], "entries": ['

    def take(self, exchange: Exchange) -> None:
        """One more."""
        self._output.write(f"{self._before}\n{json.dumps(entry(exchange))}".encode())
        self._before = ","

    def close(self) -> None:
        """That was all."""
        end = "\n]}}\n"
        self._output.write((self._before + end if self._before != "," else end).encode())
        self._output.keep()


def entry(exchange: Exchange) -> dict[str, Any]:
    """One of log.entries."""
    request, response = exchange.request, exchange.response
    send = _ms(request.first_ns, request.last_ns) if request else 0
    receive = _ms(response.first_ns, response.last_ns) if response else 0
    wait = max(0.0, _ms(request.last_ns, response.first_ns)) if request and response else 0
    at = datetime.fromtimestamp(exchange.first_ns // 10**9, UTC)
    ip, _, port = exchange.server.rpartition(":")
    told: dict[str, Any] = {
        "startedDateTime": f"{at:%Y-%m-%dT%H:%M:%S}.{exchange.first_ns % 10**9 // 10**6:03}Z",
        "time": send + wait + receive,
        "request": _request(request, exchange),
        "response": _response(response),
        "cache": {},
        "timings": {"blocked": -1, "dns": -1, "connect": -1, "ssl": -1, "send": send, "wait": wait, "receive": receive},
        "serverIPAddress": ip.strip("[]"),
        "connection": str(exchange.flow),
        "_port": int(port),
        "_complete": exchange.complete,
    }
    if exchange.faults:
        told["comment"] = "; ".join(exchange.faults)
    if exchange.upgraded:
        told["_upgraded"] = exchange.upgraded
    return told


def _ms(first_ns: int, last_ns: int) -> float:
    return round((last_ns - first_ns) / 1e6, 3)


def _request(request: Request | None, exchange: Exchange) -> dict[str, Any]:
    if request is None:
        return {
            "method": "?", "url": f"https://{exchange.server}/", "httpVersion": exchange.protocol, "cookies": [],
            "headers": [], "queryString": [], "headersSize": -1, "bodySize": -1,
        }  # fmt: skip
    scheme, host = request.scheme or "https", request.host or exchange.server
    path = request.path if request.method != "CONNECT" else "/"
    query = parse_qsl(path.partition("?")[2][: 1 << 16].partition("#")[0], keep_blank_values=True)
    told: dict[str, Any] = {
        "method": request.method,
        "url": f"{scheme}://{host}{path if path.startswith('/') else '/' + path}",
        "httpVersion": request.version or exchange.protocol,
        "cookies": _cookies(request.fields, "cookie"),
        "headers": _headers(request.fields),
        "queryString": [{"name": name, "value": value} for name, value in query[:_QUERIES]],
        "headersSize": -1,
        "bodySize": request.body.size,
    }
    if request.body.size:
        text, encoding, comment, _ = _content(request)
        told["postData"] = {"mimeType": request.named("content-type"), "params": [], "text": text}
        told["postData"] |= {"_encoding": encoding} if encoding else {}
        told["postData"] |= {"comment": comment} if comment else {}
    return told


def _response(response: Response | None) -> dict[str, Any]:
    if response is None:
        return {
            "status": 0, "statusText": "", "httpVersion": "", "cookies": [], "headers": [],
            "content": {"size": 0, "mimeType": "x-unknown"}, "redirectURL": "", "headersSize": -1, "bodySize": -1,
        }  # fmt: skip
    text, encoding, comment, size = _content(response)
    content: dict[str, Any] = {"size": size, "mimeType": response.named("content-type") or "x-unknown"}
    if size and not (comment and not text):
        content["text"] = text
    content |= {"encoding": encoding} if encoding else {}
    content |= {"comment": comment} if comment else {}
    return {
        "status": response.status,
        "statusText": response.reason,
        "httpVersion": response.version,
        "cookies": _cookies(response.fields, "set-cookie"),
        "headers": _headers(response.fields),
        "content": content,
        "redirectURL": response.named("location"),
        "headersSize": -1,
        "bodySize": response.body.size,
    }


def _headers(fields: Fields) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in fields]


def _cookies(fields: Fields, name: str) -> list[dict[str, str]]:
    found = []
    for each, value in fields:
        if each.lower() == name:
            pairs = value.split(";") if name == "cookie" else [value.partition(";")[0]]
            found += [pair.strip().partition("=") for pair in pairs]
    return [{"name": key, "value": value} for key, _, value in found]


def _content(message: Message) -> tuple[str, str, str, int]:
    """Text, its encoding if it is base64, what is lacking, and how many bytes it is."""
    data, comment = bytearray(), ""
    try:
        for part in message.body.decoded(message.named("content-encoding"), MOST):
            data += part
    except BodyError as error:
        comment = str(error)
        if len(data) >= MOST:
            return "", "", comment, message.body.size
    if message.body.lacking:
        comment = "; ".join(filter(None, [comment, f"{message.body.lacking} bytes are in holes, and zeros here"]))
    try:
        return data.decode(), "", comment, len(data)
    except UnicodeDecodeError:
        return base64.b64encode(data).decode(), "base64", comment, len(data)
