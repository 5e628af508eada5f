#!/usr/bin/env python3
"""Record real TLS connections of other people's programs, with keys and known plaintext, as test data.

    record.py list                 every recording and how it is made
    record.py make [NAME...]       make these (default: all) again, into tests/data/real
    record.py verify [NAME...]     ask tshark again whether what is in tests/data/real decrypts as the manifest says

Needs Linux, root (network namespaces), and tcpdump, tshark with editcap and dumpcap, openssl 3, curl, nginx, ethtool.
It uses only namespaces it makes itself and ends only processes it started. Recordings differ from run to run (keys,
ports, timing); what tests may rely on is in manifest.json, written by the same run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import traceback
from pathlib import Path
from typing import Any

import oracle
import scenes_cut
import scenes_openssl
import scenes_python
import scenes_web
from scene import Recorded, Scene
from stage import Stage

HERE = Path(__file__).resolve().parent.parent / "data" / "real"
LARGEST = 320_000  # bytes a recording may have; they live in the repository

SCENES: list[Scene] = [*scenes_web.SCENES, *scenes_python.SCENES, *scenes_openssl.SCENES, *scenes_cut.SCENES]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=Path, default=HERE, help="directory of captures and manifest.json")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list")
    commands.add_parser("make").add_argument("names", nargs="*")
    commands.add_parser("verify").add_argument("names", nargs="*")
    options = parser.parse_args()
    if options.command == "list":
        for scene in SCENES:
            print(f"{scene.__name__.replace('_', '-'):28} {(scene.__doc__ or '').split(chr(10))[0]}")
        return 0
    if options.command == "make":
        return make(options.into, options.names)
    return verify(options.into, options.names)


def make(into: Path, names: list[str]) -> int:
    into.mkdir(parents=True, exist_ok=True)
    failed = []
    for scene in SCENES:
        name = scene.__name__.replace("_", "-")
        if names and name not in names:
            continue
        try:
            with Stage() as stage:
                recordings = list(scene(stage))
                entries = [keep(into, recorded, name) for recorded in recordings]
        except Exception:  # one scene's failure must not cost the others; all are told at the end
            failed.append(name)
            traceback.print_exc()
            continue
        update_manifest(into, name, entries)
        for entry in entries:
            print(f"{entry['name']:34} {entry['size']:7} bytes {entry['frames']:5} frames {len(entry['flows'])} flows")
    if failed:
        print("failed:", *failed, file=sys.stderr)
    return 1 if failed else 0


def keep(into: Path, recorded: Recorded, scene: str) -> dict[str, Any]:
    """Check a recording against tshark, copy it in, and return its manifest entry."""
    capture = recorded.capture.read_bytes()
    if len(capture) > LARGEST:
        raise oracle.OracleError(f"{recorded.name}: {len(capture)} bytes")
    seen = oracle.streams(recorded.capture, recorded.keys, recorded.server_ports)
    if len(seen) != len(recorded.flows):
        raise oracle.OracleError(f"{recorded.name}: {len(seen)} streams, {len(recorded.flows)} flows")
    file = recorded.same or recorded.name + recorded.capture.suffix
    if recorded.same is None:
        (into / file).write_bytes(capture)
    entry: dict[str, Any] = {
        "name": recorded.name,
        "scene": scene,
        "file": file,
        "size": len(capture),
        "file_sha256": hashlib.sha256(capture).hexdigest(),
        "frames": oracle.frame_count(recorded.capture),
        "keys": None,
        "how": recorded.how,
        "vantage": recorded.vantage,
        "oracle": recorded.oracle,
        "tshark": f"not asked: {recorded.blind}" if recorded.blind else "agrees with every flow below",
    }
    if recorded.keys is not None:
        entry["keys"] = f"{recorded.name}.keys"
        lines = recorded.keys.read_text().splitlines()
        (into / entry["keys"]).write_text("".join(line + "\n" for line in lines if not line.startswith("#")))
    entry |= recorded.notes
    entry["flows"] = [
        oracle.entry_flow(flow, stream, recorded.blind, "tshark" in recorded.oracle)
        for flow, stream in pair(recorded.flows, seen, recorded.ordered)
    ]
    return entry


def pair(flows: list[oracle.Flow], seen: list[oracle.Stream], ordered: bool) -> list[tuple[oracle.Flow, oracle.Stream]]:
    """Flows and streams in order; a flow that knows its port must have got its own."""
    if not ordered:
        by_port = {flow.port: flow for flow in flows}
        flows = [by_port[stream.port] for stream in seen]
    for flow, stream in zip(flows, seen, strict=True):
        if flow.port is not None and flow.port != stream.port:
            raise oracle.OracleError(f"flow of port {flow.port} beside stream of port {stream.port}")
    return list(zip(flows, seen, strict=True))


def update_manifest(into: Path, scene: str, entries: list[dict[str, Any]]) -> None:
    path = into / "manifest.json"
    known = json.loads(path.read_text()) if path.exists() else []
    order = [made.__name__.replace("_", "-") for made in SCENES]
    known = [entry for entry in known if entry["scene"] != scene and entry["scene"] in order] + entries
    known.sort(key=lambda entry: order.index(entry["scene"]))
    path.write_text(json.dumps(known, indent=1) + "\n")


def verify(into: Path, names: list[str]) -> int:
    bad = 0
    for entry in json.loads((into / "manifest.json").read_text()):
        if (names and entry["name"] not in names) or entry["tshark"].startswith("not asked"):
            continue
        ports = {int(flow["server"].rsplit(":", 1)[1]) for flow in entry["flows"]}
        keys = into / entry["keys"] if entry["keys"] else None
        seen = oracle.streams(into / entry["file"], keys, ports)
        good = [(stream.up, stream.down) for stream in seen] == [
            ((flow["up"], flow["up_sha256"]), (flow["down"], flow["down_sha256"])) for flow in entry["flows"]
        ]
        bad += not good
        print(f"{entry['name']:34} {'agrees' if good else 'DIFFERS'}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
