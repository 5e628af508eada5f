"""HTTP as a list: a line for people, or an object of JSON, for each request and each message of a WebSocket.

time             flow  method  status      bytes         ms  type        address and what is wrong
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from rxtls.run.replay import Replay
from rxtls.talk.exchange import Exchange, Message, SocketMessage, Talk
from rxtls.talk.safe import line

HEAD = f"{'time':15}  {'flow':>5}  {'method':7}  {'status':>6}  {'bytes':>11}  {'ms':>10}  {'type':24}  what\n"
LONGEST = 2048  # characters of what a peer wrote, on a line


def lines(talks: Iterable[Talk]) -> Iterator[str]:
    """For people."""
    yield HEAD
    for talk in talks:
        yield _line(talk)


def _line(talk: Talk) -> str:
    row = columns(talk)
    at = datetime.fromtimestamp(row["time_ns"] // 10**9, UTC)
    clock = f"{at:%H:%M:%S}.{row['time_ns'] % 10**9 // 1000:06}"
    ms = "" if row["ms"] is None else f"{row['ms']:,.1f}"
    what = f"{row['host']}{row['path']}" if row["method"] != "CONNECT" or row["path"] else row["host"]
    note = "; ".join(row["faults"])
    told = [f"is {line(row['upgraded'][:40])} now"] if row.get("upgraded") else []
    told += ["pushed"] if row.get("pushed") else []
    told += [f"{row['grpc']['requests']} > {row['grpc']['responses']} gRPC messages"] if row.get("grpc") else []
    shown = line(what[:LONGEST]) + (f"  ({', '.join(told)})" if told else "") + (f"  [{note}]" if note else "")
    status = "" if row["status"] is None else row["status"]
    return (
        f"{clock:15}  {row['flow']:>5}  {line(row['method'][:40]):7}  {status:>6}  {row['bytes']:>11,}  {ms:>10}"
        f"  {line(row['type'][:80]) or '-':24}  {shown}\n"
    )


def columns(talk: Talk) -> dict[str, Any]:
    """One of them as JSON has it, without frames."""
    if isinstance(talk, SocketMessage):
        asked = talk.asked
        return {
            "time_ns": talk.first_ns, "flow": talk.flow, "method": "WS<" if talk.sender == "server" else "WS>",
            "host": asked.host if asked else "", "path": asked.path if asked else "?", "status": talk.code,
            "type": talk.kind, "bytes": talk.body.size, "ms": (talk.last_ns - talk.first_ns) / 1e6,
            "complete": talk.complete and not talk.faults, "faults": talk.faults, "protocol": "websocket",
            "stream": talk.stream, "client": talk.client, "server": talk.server,
        }  # fmt: skip
    request, response = talk.request, talk.response
    row: dict[str, Any] = {
        "time_ns": talk.first_ns, "flow": talk.flow, "method": request.method if request else "?",
        "host": request.host if request else "", "path": _path(talk), "status": response.status if response else None,
        "type": response.type if response else "", "bytes": response.body.size if response else 0,
        "ms": talk.milliseconds, "complete": talk.complete, "faults": talk.faults, "protocol": talk.protocol,
        "stream": talk.stream, "client": talk.client, "server": talk.server,
        "request_bytes": request.body.size if request else 0, "upgraded": talk.upgraded, "pushed": talk.pushed,
        "informational": response.informational if response else [], "grpc": _grpc(talk),
    }  # fmt: skip
    return row


def _path(exchange: Exchange) -> str:
    if exchange.request is None:
        return "?"
    return "" if exchange.request.method == "CONNECT" and exchange.protocol != "HTTP/2" else exchange.request.path


def _grpc(exchange: Exchange) -> dict[str, Any] | None:
    """What is called, and how many messages went each way."""
    if not any(each.type.startswith("application/grpc") for each in exchange.messages):
        return None
    service, _, method = (exchange.request.path if exchange.request else "").lstrip("/").partition("/")
    response = exchange.response
    status = dict([*(response.fields if response else []), *(response.trailers if response else [])]).get("grpc-status")
    return {
        "service": service, "method": method, "requests": exchange.request.grpc if exchange.request else 0,
        "responses": response.grpc if response else 0, "status": status,
    }  # fmt: skip


def listed(run: Replay, talks: Iterable[Talk]) -> Iterator[str]:
    """JSON: a list, written as it is made."""
    before = "["
    for talk in talks:
        row = columns(talk)
        if isinstance(talk, SocketMessage):
            row["frame"] = run.place(talk.frame)
        else:
            row["request"] = _message(run, talk.request)
            row["response"] = _message(run, talk.response)
        yield f"{before}\n{json.dumps(row)}"
        before = ","
    yield "[]\n" if before == "[" else "\n]\n"


def _message(run: Replay, message: Message | None) -> dict[str, Any] | None:
    if message is None:
        return None
    return {
        "version": message.version, "fields": message.fields, "trailers": message.trailers, "bytes": message.body.size,
        "lacking": message.body.lacking, "first_ns": message.first_ns, "last_ns": message.last_ns,
        **run.place(message.frame), "complete": message.complete and not message.faults, "faults": message.faults,
    }  # fmt: skip
