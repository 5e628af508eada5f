"""The summary of a run as JSON, schema 2: a contract. Keys may be added, never changed or removed (docs/json.md)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from ipaddress import ip_address
from typing import Any, Protocol, TypedDict

from cryptography.hazmat.backends.openssl import backend

from rxtls.capture.captures import Captures
from rxtls.capture.frames import Feed
from rxtls.crypto.libcrypto import required
from rxtls.device.profiles import Profile
from rxtls.errors import InputError
from rxtls.events import RecordClass
from rxtls.handshake.steps import refuse
from rxtls.host.direction import Direction
from rxtls.host.flow import Flow
from rxtls.host.silent import Remains
from rxtls.intake.taps import Sight, settle
from rxtls.intake.vantage import SAID, SAYS
from rxtls.offload.refusals import REFUSALS
from rxtls.path.receive import ReceivePath
from rxtls.run.coverage import coverage
from rxtls.run.options import ReplayOptions
from rxtls.version import __version__
from rxtls.wire.keylog import KeyLog
from rxtls.wire.tunnels import Tunnel

SCHEMA = 2

# why.code where receive was enabled; where it was not, the TLS library gives the code (handshake/steps.py WHY).
WHY: dict[str, str] = {
    "offloaded": "A receive tag is installed",
    "auth_failures": "Records kept failing to authenticate on the device, so it stopped; the host decrypts",
    **{code: refusal.text for code, refusal in REFUSALS.items()},
    "wrapped": "TLS is in another protocol's frames, into which no NIC looks; the TLS library decrypts",
    "header_error": "A record header that cannot be right ended the record stream",
}

SEEN = ("receiver", "elsewhere")  # the halves of `totals`
_CLASSES = tuple(each.value for each in RecordClass)
_GROUPS: dict[str, tuple[str, ...]] = {
    "records": _CLASSES,
    "bytes": (*_CLASSES, "recrypted"),
    "resync": (
        "lost", "polls", "confirmed", "regained", "confirms", "positions", "stale", "out_of_sync_bytes",
        "out_of_sync_seconds", "false_anchors", "polls_refused", "errors", "receive_tag_resets",
        "receive_tag_resets_failed", "lost_in_gaps",
    ),
}  # fmt: skip


# `receive` of flows that carried nothing, by what is left of them, the client's side, and which sides are modelled.
Alike = dict[tuple[Remains | None, int, tuple[bool, bool]], dict[str, Any]]


class Place(TypedDict):
    """A frame as a person finds it again: the capture as named, and Wireshark's number in it."""

    file: str
    frame: int


class Ran(Protocol):
    """What a summary is made of: a Replay that has walked its captures."""

    path: ReceivePath
    feed: Feed
    keys: KeyLog
    keys_given: bool
    options: ReplayOptions
    profile: Profile
    engine: str
    wall_seconds: float

    @property
    def source(self) -> Captures: ...
    @property
    def frames(self) -> int: ...
    @property
    def captured_bytes(self) -> int: ...
    @property
    def errors(self) -> list[InputError]: ...
    def models(self, flow: Flow, side: int) -> bool: ...
    def place(self, frame: int) -> Place: ...


def summarise(run: Ran) -> dict[str, Any]:
    """The whole JSON of a run."""
    ledger = run.path.ledger
    printed = run.profile.printed()
    alike: Alike = {}
    flows, sights = [], []
    for flow in in_order(run):
        flows.append(flow_summary(run, flow, alike))
        sights.append(sight(run, flow))
    taps = settle(flows, sights)
    return {
        "rxtls": __version__,
        "schema": SCHEMA,
        "captures": run.source.names,
        "frames": run.frames,
        "captured_bytes": run.captured_bytes,
        "wall_seconds": round(run.wall_seconds, 6),
        "capture_seconds": ((run.feed.last_ns or 0) - run.feed.first_ns) / 1e9
        if run.feed.first_ns is not None
        else 0.0,
        "order": order_summary(run),
        "engine": run.engine,
        "libcrypto": _libcrypto(run.engine),
        "profile": run.profile.name,
        "nic": run.options.nic,
        "policy": run.options.policy,
        "latencies": {name: printed[name] for name in ("install", "poll", "confirm")},
        "settings": {name: value for name, value in printed.items() if name != "name"},
        "jobs": 1,
        "limits_met": {
            "keys_wait": run.path.keys_wait_met,
            "receive_tags": run.path.receive_tags_refused,
            "hold_run": run.path.hold_run_met,
        },
        "interfaces": [
            {
                "file": run.source.names[each.file],
                "section": each.section,
                "id": each.id,
                "name": each.name,
                "link_type": each.link_type,
                "same_as": run.source.device(n),
                "port": run.path.port(n),
            }
            for n, each in enumerate(run.source.interfaces)
        ],
        "keys": {
            "given": run.keys_given,
            "sessions": len(run.keys),
            "unknown_labels": sum(run.keys.unknown.values()),
            "skipped_labels": run.keys.skipped(),
        },
        "errors": [{"file": each.file, "offset": each.offset, "cause": each.cause} for each in run.errors],
        "taps": taps,
        "totals": totalled(flows),
        "coverage": coverage(ledger.entered["byte"], ledger.fates, run.path.flows.all_made(), run.models),
        "flows": flows,
        "driver": dict(sorted(run.path.stats.items())),
        "unknown_interfaces": run.path.unknown_leaves,
        "hosts": [
            {"address": address, "driver": dict(sorted(host.stats.items()))}
            for address, host in run.path.hosts.items()
            if host.stats
        ],
        "fates": dict(sorted(ledger.fates.items())),
        "balance": ledger.balance(),
    }


def order_summary(run: Ran) -> dict[str, Any]:
    """How frames stood in time: what was put in order before it was read, and what was not in order as it was read."""
    return {
        "by": run.options.order,
        "sorted": [
            {"file": run.source.names[capture], "late_frames": order.late, "latest_seconds": order.late_ns / 1e9}
            for capture, order in sorted(run.source.orders.items())
        ],
        "shifted": [
            {"file": run.source.names[capture], "ahead_seconds": by / 1e9}
            for capture, by in sorted(run.source.ahead.items())
        ],
        "steps_back": run.feed.steps_back,
        "largest_step_seconds": run.feed.step_back_ns / 1e9,
    }


def _libcrypto(engine: str) -> str:
    """The version of the libcrypto that did most of the work."""
    return required().version if engine == "compiled" else backend.openssl_version_text()


def in_order(run: Ran) -> Iterator[Flow]:
    """Flows by their first frame."""
    return map(run.path.flows.__getitem__, run.path.flows.by_first_frame())


def sight(run: Ran, flow: Flow) -> Sight:
    """What a connection says about where it was captured."""
    connection, client = flow.connection, flow.client_side
    met = sorted({leaf & 0xFFFF_FFFF for leaf in connection.interfaces})
    said, by = None, None
    if connection.forced_vantage is not None:
        said, by = (connection.vantage(0), connection.vantage(1)), "option"
    elif (noted := _noted(run, met)) is not None:
        said, by = (noted[client], noted[1 - client]), "file"
    interfaces = tuple(sorted({run.source.device(n) for n in met}))
    return Sight(interfaces, connection.a[0], connection.b[0], client, connection.judged(), said, by)


def _noted(run: Ran, interfaces: list[int]) -> tuple[str, str] | None:
    """What the captures say of all these interfaces."""
    comments = {run.source.interfaces[n].comment or "" for n in interfaces}
    comment = comments.pop()
    return SAID.get(comment.removeprefix(SAYS)) if not comments and comment.startswith(SAYS) else None


def flow_summary(run: Ran, flow: Flow, alike: Alike | None = None) -> dict[str, Any]:
    """One flow of the JSON. Those that carried nothing share what arrived, as far as it is `alike`."""
    connection, library = flow.connection, flow.facts
    client, server = (connection.a, connection.b) if flow.client_side == 0 else (connection.b, connection.a)
    modelled = run.models(flow, 0), run.models(flow, 1)
    remains = None if alike is None else run.path.flows.remains(connection.id)
    alike = {} if alike is None else alike
    receive = alike.get(key := (remains, flow.client_side, modelled))
    if receive is None:
        by_sender = {
            flow.receiver(side): direction_summary(run, flow, side) if modelled[side] else None for side in (0, 1)
        }
        receive = {"server": by_sender["server"], "client": by_sender["client"]}
        if remains is not None:
            alike[key] = receive
    start = run.place(connection.start_frame)
    same = connection.start_frame == connection.end_frame
    return {
        "id": connection.id,
        "client": endpoint(client),
        "server": endpoint(server),
        "client_guessed": library.client_side is None and connection.client_guessed,
        "start_frame": start,
        "end_frame": start if same else run.place(connection.end_frame),
        "vlan": list(connection.vlan),
        "tunnels": [tunnel_summary(each) for each in connection.tunnels],
        "interfaces": sorted(connection.interfaces),
        "tls": library.tls,
        "suite": library.suite.name if library.suite else None,
        "sni": library.sni,
        "alpn": library.alpn,
        "resumed": library.resumed,
        "session": None if library.client_random is None else sha256(library.client_random).hexdigest()[:16],
        "end": flow_end(flow),
        "resegmented": connection.resegmented,
        "wrong_checksums": connection.wrong_checksums,
        "receive": receive,
    }


def tunnel_summary(tunnel: Tunnel) -> dict[str, Any]:
    """A tunnel that the first frame of a connection came by."""
    ends = [str(ip_address(each)) if each else None for each in (tunnel.src, tunnel.dst)]
    return {"kind": tunnel.kind, "id": tunnel.id, "from": ends[0], "to": ends[1], "vlan": list(tunnel.vlan)}


def direction_summary(run: Ran, flow: Flow, side: int) -> dict[str, Any]:
    """What arrived at one host."""
    direction = flow.directions[side]
    tally = direction.tally
    return {
        "vantage": "unknown",  # until `settle` has heard all connections
        "vantage_by": None,
        "offload": direction.mode,
        "why": why(direction),
        "app_bytes": tally.app_bytes,
        "sha256": tally.digest.hexdigest() if tally.digest is not None else None,
        "records": {each.value: tally.records[each] for each in RecordClass},
        "bytes": {**{each.value: tally.bytes[each] for each in RecordClass}, "recrypted": tally.recrypted},
        "compositions": dict(sorted(tally.compositions.items())),
        "crypto": {"decrypts": tally.decrypts, "recrypts": tally.recrypts, "discarded": tally.discarded},
        "resync": {
            "lost": tally.lost,
            "polls": tally.polls,
            "confirmed": tally.confirmed,
            "regained": tally.regained,
            "confirms": tally.confirms,
            "positions": tally.positions,
            "stale": tally.stale,
            "out_of_sync_bytes": tally.out_of_sync_bytes,
            "out_of_sync_seconds": round(tally.out_of_sync_ns / 1e9, 9),
            "false_anchors": tally.false_anchors,
            "polls_refused": tally.polls_refused,
            "errors": tally.errors,
            "receive_tag_resets": tally.receive_tag_resets,
            "receive_tag_resets_failed": tally.receive_tag_resets_failed,
            "lost_in_gaps": tally.lost_in_gaps,
        },
        "path_changes": {
            "count": len(direction.path_changes) + direction.path_changes_more,
            "list": [
                {
                    **run.place(each.frame),
                    "time_ns": each.time_ns,
                    "from": each.was,
                    "to": each.now,
                    "cause": each.cause,
                    "result": each.result,
                }
                for each in direction.path_changes
            ],
        },
        "gap": direction.gap,
        "gaps": gaps_summary(direction),
        "late_start": _late_start(direction),
        "search": {"spent": direction.work.spent, "budget": direction.work.budget},
        "complete": direction.complete(),
        "abandoned": direction.abandoned,
    }


def _late_start(direction: Direction) -> dict[str, int] | None:
    """Where a stream was read from whose beginning was not captured."""
    if direction.late_start is None:
        return None
    return {"first_record": direction.late_start, "skipped_bytes": direction.skipped}


def gaps_summary(direction: Direction) -> dict[str, Any]:
    """What the capture lacks of a direction, and what could be read behind it."""
    tally = direction.tally
    return {
        "count": len(direction.gaps) + direction.gaps_more,
        "missing_bytes": direction.missing,
        "lost_records": tally.records[RecordClass.UNKNOWN],
        "recovered_records": tally.recovered_records,
        "recovered_bytes": tally.recovered_bytes,
        "list": [
            {
                "holes": [
                    {"at": hole.at, "tcp_seq": hole.tcp_seq, "length": hole.length, "acknowledged": hole.acknowledged}
                    for hole in gap.holes
                ],
                "first_record": gap.number,
                "records": gap.records,
            }
            for gap in direction.gaps
        ],
    }


def why(direction: Direction) -> dict[str, str]:
    """How the direction came to its final mode."""
    if direction.refused:
        return {"code": direction.refused.code, "text": direction.refused.text}
    if direction.within:
        return {"code": "wrapped", "text": f"{WHY['wrapped']} ({direction.within})"}
    if not direction.enabled or direction.mode is None:
        refusal = refuse("no_data")
        return {"code": refusal.code, "text": refusal.text}
    if direction.fatal:
        return {"code": "header_error", "text": f"{WHY['header_error']} ({direction.fatal})"}
    code = direction.why_software or "offloaded"
    return {"code": code, "text": WHY[code]}


def flow_end(flow: Flow) -> str:
    """How TCP ended; close_notify only if the capture ends after it without one of the others."""
    end = flow.connection.end
    return "close_notify" if end == "open" and any(each.closed for each in flow.directions) else end


def endpoint(address: tuple[str, int]) -> str:
    """ip:port, IPv6 in brackets."""
    ip, port = address
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def totalled(flows: list[dict[str, Any]]) -> dict[str, Any]:
    """`totals` of the JSON: over the directions seen at their receiver, and over all others."""
    return {where: _sums([each for each in _received(flows) if _seen(each) == where]) for where in SEEN}


def _received(flows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for flow in flows for each in flow["receive"].values() if each is not None]


def _seen(received: dict[str, Any]) -> str:
    return "receiver" if received["vantage"] == "receiver" else "elsewhere"


def _sums(directions: list[dict[str, Any]]) -> dict[str, Any]:
    values = {id(each): each for each in directions}
    times = Counter(map(id, directions))  # a flood of SYNs has one value for all
    app_bytes = sum(each["app_bytes"] for each in directions)
    sums: dict[str, Any] = {"directions": len(directions), "app_bytes": app_bytes}
    for group, names in _GROUPS.items():
        counts: Counter[str] = Counter(dict.fromkeys(names, 0))
        for key, each in values.items():
            counts.update({name: n * times[key] for name, n in each[group].items()})
        sums[group] = dict(counts)
    sums["resync"]["out_of_sync_seconds"] = round(sums["resync"]["out_of_sync_seconds"], 9)
    return sums


def totals(summary: dict[str, Any], receiver_vantage: bool) -> Counter[str]:
    """One half of `totals`, flat: "directions", "records.decrypted", ... A run of schema 1 is added up here."""
    halves = summary.get("totals") or totalled(summary["flows"])
    flat: Counter[str] = Counter()
    for name, value in halves["receiver" if receiver_vantage else "elsewhere"].items():
        flat.update({f"{name}.{each}": n for each, n in value.items()} if isinstance(value, dict) else {name: value})
    return flat


def exit_status(run: Ran, summary: dict[str, Any], strict: bool) -> int:
    """2: a capture could not be read to its end. 1: keys were known and something failed. 0: all good."""
    if run.source.errors:
        return 2
    received = _received(summary["flows"])
    opened = sum(each["records"][name] for each in received for name in ("decrypted", "mixed", "encrypted"))
    failed = any(each["records"]["failed"] or each["why"]["code"] == "header_error" for each in received)
    gap = any(each["gap"] and (each["offload"] or each["why"]["code"] == "wrapped") for each in received)
    nothing = run.keys_given and not opened and not any(each["app_bytes"] for each in received)
    unkeyed = strict and any(each["why"]["code"] in ("no_keys", "wrong_keys", "keys_wait") for each in received)
    abandoned = any(each["abandoned"] for each in received)
    return int(failed or gap or abandoned or nothing or unkeyed)


def to_json(summary: dict[str, Any]) -> str:
    """The summary as text."""
    return json.dumps(summary, indent=2, ensure_ascii=True) + "\n"
