"""FLOW: how a person names a connection, for every command that takes one.

4                    its id, as in the table of `rxtls replay`
10.0.0.1:50000       an address and port: the client's, or if no client has it, the server's; [::1]:443 in IPv6
shop.example         the server name that the client asked for
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any, NamedTuple

from rxtls.errors import UsageError

SHOWN = 5  # flows that an error lists

_END = re.compile(r"\[([0-9a-fA-F:.]+)\]:([0-9]{1,5})|([0-9.]+):([0-9]{1,5})")


class Wanted(NamedTuple):
    """What FLOW says: one of these, or nothing where it was left out."""

    text: str | None = None
    id: int | None = None
    end: str | None = None
    name: str | None = None


def read(text: str | None) -> Wanted:
    """FLOW as a value; nothing is refused, since a server may be called anything."""
    if text is None:
        return Wanted()
    if re.fullmatch(r"[0-9]{1,18}", text):
        return Wanted(text, id=int(text))
    if found := _END.fullmatch(text):
        try:
            ip = ip_address(found[1] or found[3])
        except ValueError:
            return Wanted(text, name=text.lower())
        port = int(found[2] or found[4])
        return Wanted(text, end=f"[{ip}]:{port}" if ip.version == 6 else f"{ip}:{port}")
    return Wanted(text, name=text.lower().rstrip("."))


def may_be(wanted: Wanted, id: int, ends: tuple[str, str], name: str | None) -> bool:  # noqa: A002
    """Whether a connection could be the one, before all others are known."""
    if wanted.id is not None:
        return id == wanted.id
    if wanted.end is not None:
        return wanted.end in ends
    return wanted.name is None or (name is not None and name.lower() == wanted.name)


def find(flows: Sequence[dict[str, Any]], text: str | None) -> list[dict[str, Any]]:
    """Those of the JSON's `flows` that FLOW names, in order; all where it was left out. UsageError if there is none."""
    wanted = read(text)
    found = [flow for flow in flows if may_be(wanted, flow["id"], (flow["client"], flow["server"]), flow["sni"])]
    if wanted.end is not None:
        found = [flow for flow in found if flow["client"] == wanted.end] or found
    if not found:
        raise UsageError(f"no flow {text!r}: give an id, ip:port or server name; there are {_some(flows)}")
    return found


def one(flows: Sequence[dict[str, Any]], text: str | None) -> dict[str, Any]:
    """The only one that FLOW names; where it was left out, the only one that carried application data, or the only
    one. UsageError if there are several."""
    if text is None and not flows:
        raise UsageError("there is no flow: no TCP connection was found")
    found = find(flows, text)
    if text is None and len(found) > 1:
        found = [flow for flow in found if _carried(flow)] or found
    if len(found) > 1:
        named = "which flow" if text is None else f"{len(found)} flows are called {text!r}"
        raise UsageError(f"{named}: give an id; there are {_some(found)}")
    return found[0]


def _carried(flow: dict[str, Any]) -> bool:
    return any(each and (each["app_bytes"] or each["gaps"]["count"]) for each in flow["receive"].values())


def _some(flows: Sequence[dict[str, Any]]) -> str:
    some = ", ".join(f"{flow['id']} ({flow['client']})" for flow in flows[:SHOWN]) or "none"
    return some + (", ..." if len(flows) > SHOWN else "")
