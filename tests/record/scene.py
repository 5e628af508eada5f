"""What a scene is: a function from a Stage to the recordings it made there, listed in its file's SCENES."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oracle import Digest, Flow, OracleError
from stage import Host, Process, Stage

ENDPOINT = str(Path(__file__).resolve().parent / "endpoint.py")
ENDPOINTS = "both endpoints (what one sent is what the other received)"
TSHARK = "tshark, following the decrypted stream"


@dataclass
class Recorded:
    """A capture, its keys, and what is known of it."""

    name: str
    capture: Path
    keys: Path | None
    flows: list[Flow]
    how: str
    vantage: str = "loopback"
    oracle: str = ENDPOINTS
    server_ports: set[int] = field(default_factory=lambda: {443})
    blind: str | None = None  # why tshark cannot be asked
    same: str | None = None  # the file of another recording that has the very same capture
    ordered: bool = True  # flows are listed in the order the connections began; else they are matched by port
    notes: dict[str, Any] = field(default_factory=dict)


Scene = Callable[[Stage], Iterable[Recorded]]

ALL_SUITES_13 = (
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:"
    "TLS_AES_128_CCM_SHA256:TLS_AES_128_CCM_8_SHA256"
)


def peers(
    stage: Stage, client: Host, server: Host, plans: list[dict[str, Any]], keys: Path, **served: Any
) -> list[Flow]:
    """Run the plans (endpoint.py) one after the other between two hosts; returns the flows, both ends agreeing.

    Keywords are the server's part of the plan. A plan's `suite13` names the one TLS 1.3 suite its client offers.
    """
    shared = {"address": server.address, "port": 443, "keylog": str(keys)}
    plans = [shared | {"name": f"flow-{number}"} | plan for number, plan in enumerate(plans)]
    serving = serve(stage, server, plans, **served)
    connecting: list[Process] = []
    reports: list[dict[str, Any]] = []
    for plan in plans:
        env = openssl_configuration(stage, plan.get("suite13", "TLS_AES_128_GCM_SHA256"))
        connecting.append(client.start([sys.executable, ENDPOINT, "connect", json.dumps(plan)], env))
        if not served.get("together"):
            connecting[-1].finish(check=plan.get("end") != "kill")
    for process, plan in zip(connecting, plans, strict=True):
        reports += map(json.loads, process.finish(check=plan.get("end") != "kill").splitlines())
    answers = [json.loads(line) for line in serving.finish().splitlines()[1:]]
    if served.get("together"):
        reports.sort(key=lambda report: report["port"])
        answers.sort(key=lambda answer: answer["port"])
    return [agreed(report, answer) for report, answer in zip(reports, answers, strict=True)]


def serve(stage: Stage, host: Host, plans: list[dict[str, Any]], **served: Any) -> Process:
    """Start endpoint.py as a server for these plans, ready to accept."""
    certificates = [list(map(str, stage.certificate(kind))) for kind in ("rsa", "ec")]
    offer = {"ciphers": "ALL:COMPLEMENTOFALL:@SECLEVEL=0", "min": "1.0", "certificates": certificates}
    plan = {"address": host.address, "port": 443} | offer | served | {"connections": plans}
    serving = host.start(
        [sys.executable, ENDPOINT, "serve", json.dumps(plan)], openssl_configuration(stage, ALL_SUITES_13)
    )
    serving.await_output(b"ready\n")
    return serving


def agreed(client: dict[str, Any], server: dict[str, Any]) -> Flow:
    """The flow, if each end received exactly what the other sent."""
    if client["port"] != server["port"] or client["sent"] != server["received"] or server["sent"] != client["received"]:
        raise OracleError(f"ends disagree: {client} {server}")
    up: Digest = (client["sent"][0], client["sent"][1])
    down: Digest = (server["sent"][0], server["sent"][1])
    return Flow(up, down, client["port"], {"resumed": client["resumed"]})


def openssl_configuration(stage: Stage, suites13: str) -> dict[str, str]:
    """Environment that limits the TLS 1.3 suites of a program, which Python's ssl cannot."""
    path = stage.directory / f"openssl-{abs(hash(suites13))}.cnf"
    path.write_text(
        "openssl_conf = init\n[init]\nssl_conf = ssl\n[ssl]\nsystem_default = default\n[default]\n"
        f"Ciphersuites = {suites13}\n"
    )
    return {"OPENSSL_CONF": str(path)}


def rewritten(source: Recorded, name: str, how: str, argv: list[str], **changes: Any) -> Recorded:
    """A recording made from another by a program: argv with IN and OUT in it."""
    out = source.capture.with_name(name + changes.pop("suffix", source.capture.suffix))
    done = [str(source.capture) if word == "IN" else str(out) if word == "OUT" else word for word in argv]
    subprocess.run(done, check=True, capture_output=True, timeout=30)
    values: dict[str, Any] = {
        "vantage": source.vantage,
        "oracle": source.oracle,
        "server_ports": source.server_ports,
        "flows": source.flows,
        "notes": source.notes | {"made_from": source.name},
    }
    return Recorded(name, out, source.keys, how=how, **(values | changes))
