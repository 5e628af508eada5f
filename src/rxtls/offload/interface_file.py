"""The interface tree as a small TOML file.

[interfaces.mlx0]               a port; `capture` are its ids in the capture, `rxtls4`, `rxtls6` default to true
capture = [0]
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
from typing import Any

from rxtls.errors import UsageError
from rxtls.offload.interface import IFCAP2_RXTLS4, IFCAP2_RXTLS6, Interfaces, bit

_PORT = {"capture", "rxtls4", "rxtls6"}
_KINDS = {"vlan": {"vlan", "parent"}, "lagg": {"lagg", "ports", "use_flowid"}}
_TYPES: dict[str, type] = {
    "capture": list, "rxtls4": bool, "rxtls6": bool, "vlan": int, "parent": str, "lagg": str, "ports": list,
    "use_flowid": bool, "to": str, "interface": str,
}  # fmt: skip


def interfaces(text: str, name: str) -> Interfaces:
    """The tree that `text` describes. UsageError names the file, the entry and the cause."""
    try:
        return _built(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, UsageError) as error:
        raise UsageError(f"{name}: {error}") from None


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
                found.lagg(name, entry["lagg"], ports, entry.get("use_flowid", True))
            case _:
                capture = entry.get("capture", [])
                if not all(isinstance(each, int) and each >= 0 for each in capture):
                    raise UsageError(f"{name}: capture is a list of interface ids")
                mask = entry.get("rxtls4", True) * bit(IFCAP2_RXTLS4) | entry.get("rxtls6", True) * bit(IFCAP2_RXTLS6)
                found.port(name, set(capture), mask)
    routes = parsed.get("routes", [])
    if not isinstance(routes, list):
        raise UsageError("routes is a list of tables: [[routes]]")
    for entry in routes:
        _only(_table(entry, "a route"), {"to", "interface"}, "a route")
        found.route(_needed(entry, "to", "a route"), _needed(entry, "interface", "a route"))
    return found


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
