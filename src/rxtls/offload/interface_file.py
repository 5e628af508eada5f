"""The interface tree as a small TOML file.

[interfaces.mlx0]               a port; `rxtls4`, `rxtls6` default to true. `capture` says what it is in the captures:
capture = [0, "mlx0.pcap", { file = "trunk.pcapng", id = 1 }, { name = "eth0" }]
[interfaces.lagg0]              ports before what stands over them, as in an rc.conf
lagg = "failover"
ports = ["mlx0", "mlx1"]
[interfaces.vlan5]
parent = "lagg0"
vlan = 5
[[routes]]
to = "0.0.0.0/0"
interface = "vlan5"
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, Protocol

from rxtls.errors import UsageError
from rxtls.offload.interface import IFCAP2_RXTLS4, IFCAP2_RXTLS6, Interfaces, bit

_PORT = {"capture", "rxtls4", "rxtls6"}
_KINDS = {"vlan": {"vlan", "parent"}, "lagg": {"lagg", "ports", "use_flowid", "flowid_shift"}}
_TYPES: dict[str, type] = {
    "capture": list, "rxtls4": bool, "rxtls6": bool, "vlan": int, "parent": str, "lagg": str, "ports": list,
    "use_flowid": bool, "flowid_shift": int, "to": str, "interface": str,
    "file": str, "section": int, "id": int, "name": str, "ifindex": int,
}  # fmt: skip


class Described(Protocol):
    """An interface of a capture, as capture/captures.py has it."""

    @property
    def section(self) -> int: ...
    @property
    def id(self) -> int: ...
    @property
    def name(self) -> str | None: ...


class Named(NamedTuple):
    """What a port is in the captures, otherwise than by number. `file` is the name or a pattern of it, with or without
    its directories; None: any."""

    file: str | None = None
    section: int | None = None
    id: int | None = None
    name: str | None = None
    ifindex: int | None = None  # of Linux cooked v2

    def fits(self, file: str, each: Described, ifindex: int) -> bool:
        """Whether it is this interface of `file`."""
        wanted = self.file
        named = wanted is None or wanted == file or fnmatchcase(file, wanted) or fnmatchcase(file, f"*/{wanted}")
        told = (self.section, each.section), (self.id, each.id), (self.name, each.name), (self.ifindex, ifindex)
        return named and all(asked is None or asked == is_so for asked, is_so in told)


def interfaces(text: str, name: str) -> Interfaces:
    """The tree that `text` describes. UsageError names the file, the entry and the cause."""
    try:
        return _built(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, UsageError) as error:
        raise UsageError(f"{name}: {error}") from None


def whose(
    named: list[tuple[str, Named]], capture: Callable[[int], tuple[str, Described, int]]
) -> Callable[[int], str | None]:
    """Which port a leaf is by `named`; `capture` gives file, interface and ifindex of it."""

    def port(leaf: int) -> str | None:
        at = capture(leaf)
        ports = sorted({port for port, each in named if each.fits(*at)})
        if len(ports) > 1:
            raise UsageError(f"interface {at[1].id} of {at[0]} is both {ports[0]} and {ports[1]}")
        return ports[0] if ports else None

    return port


def _built(parsed: dict[str, Any]) -> Interfaces:
    _only(parsed, {"interfaces", "routes"}, "the file")
    found = Interfaces()
    for name, entry in _table(parsed.get("interfaces", {}), "interfaces").items():
        kind = next((kind for kind in _KINDS if kind in _table(entry, name)), None)
        _only(entry, _PORT if kind is None else _KINDS[kind], name)
        match kind:
            case "vlan":
                found.vlan(name, _needed(entry, "parent", name), entry["vlan"])
            case "lagg":
                ports = tuple(_needed(entry, "ports", name))
                options = {key: entry[key] for key in ("use_flowid", "flowid_shift") if key in entry}
                found.lagg(name, entry["lagg"], ports, **options)
            case _:
                numbers, named = _capture(entry.get("capture", []), name)
                mask = entry.get("rxtls4", True) * bit(IFCAP2_RXTLS4) | entry.get("rxtls6", True) * bit(IFCAP2_RXTLS6)
                found.port(name, numbers, mask)
                found.named += [(name, each) for each in named]
    routes = parsed.get("routes", [])
    if not isinstance(routes, list):
        raise UsageError("routes is a list of tables: [[routes]]")
    for entry in routes:
        _only(_table(entry, "a route"), {"to", "interface"}, "a route")
        found.route(_needed(entry, "to", "a route"), _needed(entry, "interface", "a route"))
    if len(found.routes) < len(routes):
        raise UsageError("two routes to one network")
    return found


def _capture(entries: list[Any], port: str) -> tuple[set[int], list[Named]]:
    """What a port is in the captures: by number, and by name."""
    numbers: set[int] = set()
    named: list[Named] = []
    for each in entries:
        match each:
            case bool():
                raise UsageError(f"{port}: {_CAPTURE}")
            case int() if each >= 0:
                numbers.add(each)
            case str() if each:
                named.append(Named(each))
            case dict() if each:
                _only(each, set(Named._fields), f"{port}: capture")
                named.append(Named(**each))
            case _:
                raise UsageError(f"{port}: {_CAPTURE}")
    return numbers, named


_CAPTURE = 'capture is a list of interface numbers, files, or tables such as { file = "a.pcapng", id = 1 }'


def _table(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{name} is a table")
    return value


def _only(entry: dict[str, Any], known: set[str], name: str) -> None:
    for key, value in entry.items():
        if key not in known:
            raise UsageError(f"{name}: no {key!r} here; there are {', '.join(sorted(known))}")
        wanted = _TYPES.get(key)
        if wanted and (not isinstance(value, wanted) or (wanted is int and isinstance(value, bool))):
            raise UsageError(f"{name}: {key} is a {wanted.__name__}, not {value!r}")


def _needed(entry: dict[str, Any], key: str, name: str) -> Any:
    if key not in entry:
        raise UsageError(f"{name}: {key} is missing")
    return entry[key]
