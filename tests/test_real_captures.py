"""Captures recorded from other people's programs (tests/record): curl, nginx, OpenSSL, Python's ssl, over real links.

manifest.json says of each flow what its endpoints sent, which tshark or the endpoints themselves confirmed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import rxtls
from rxtls.run.summary import exit_status

REAL = Path(__file__).parent / "data" / "real"
MANIFEST: list[dict[str, Any]] = json.loads((REAL / "manifest.json").read_text())

# What cannot be opened, by capture: (why.code, fate). In all others every flow must give just what was sent.
REFUSED = {
    "suites-unsupported": ("suite_unsupported", "byte.suite"),
    "tls10": ("version_unsupported", "byte.version"),
    "only-up-tls12": ("needs_server_hello", "byte.server_hello"),
    "plain-http-443": ("not_tls", "byte.not_tls"),
    "mid-connection-tls12-from-frame-16": ("mid_connection_tls12", "byte.mid_connection_tls12"),
}
LATE = "mid-connection-tls13-from-frame-16"


def run_of(
    capture: dict[str, Any], profile: str = "connectx-6dx", **options: Any
) -> tuple[rxtls.Replay, dict[str, Any]]:
    keys = [REAL / capture["keys"]] if capture.get("keys") else []
    run = rxtls.replay(REAL / capture["file"], keys, profile=profile, digest=True, **options)
    for _ in run:
        pass
    return run, run.summary()


def named(name: str) -> dict[str, Any]:
    return next(capture for capture in MANIFEST if capture["name"] == name)


@pytest.mark.parametrize("profile", ["connectx-6dx", "ideal", "none"])
@pytest.mark.parametrize("capture", MANIFEST, ids=lambda capture: capture["name"])
def test_every_flow_gives_what_its_endpoints_sent(capture: dict[str, Any], profile: str) -> None:
    _, summary = run_of(capture, profile)
    assert summary["balance"] == 0
    refused = REFUSED.get(capture["name"])
    flows = list(summary["flows"])
    compared = 0
    for sent in capture["flows"]:
        flow = next(flow for flow in flows if flow["client"].endswith(f":{sent['port']}"))
        flows.remove(flow)
        for receiver, way in (("server", "up"), ("client", "down")):
            if sent.get(way) is None:
                continue
            received = flow["receive"][receiver]
            compared += 1
            if capture["name"] == LATE:
                assert received["late_start"] is not None
                assert 0 < received["app_bytes"] <= sent[way]
            elif refused:
                assert received["why"]["code"] == refused[0]
                assert received["app_bytes"] == 0
            else:
                assert (received["app_bytes"], received["sha256"]) == (sent[way], sent[f"{way}_sha256"]), received
    if refused:
        assert summary["fates"][refused[1]] > 0
    if not refused and any(flow.get("up") is not None for flow in capture["flows"]):
        assert compared


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("curl-nginx-tls13", "sni"),
        ("curl-nginx-tls12", "alpn"),
        ("resumed-tls12-id", "resumed"),
        ("ipv6-tls13", "suite"),
    ],
)
def test_what_the_handshake_said_is_reported(name: str, field: str) -> None:
    capture = named(name)
    _, summary = run_of(capture)
    reported = sorted(str(flow[field]) for flow in summary["flows"])
    assert reported == sorted(str(sent.get(field, False)) for sent in capture["flows"])


def test_ipv6_addresses_stand_in_brackets() -> None:
    _, summary = run_of(named("ipv6-tls13"))
    assert summary["flows"][0]["client"].startswith("[2001:db8:")


def test_vlans_are_listed_outer_first() -> None:
    _, summary = run_of(named("vlan-qinq"))
    assert {tuple(flow["vlan"]) for flow in summary["flows"]} == {(100, 7)}


def test_key_updates_are_followed_on_the_device() -> None:
    run, summary = run_of(named("key-update"), settings={"budget": "1"})
    decrypted = sum(
        flow["receive"][host]["records"]["decrypted"] for flow in summary["flows"] for host in ("server", "client")
    )
    assert decrypted > 0
    assert any(flow.directions[side].epoch > 3 for flow in run.path.flows.values() for side in (0, 1))


def test_a_four_tuple_used_again_is_another_flow() -> None:
    capture = named("reused-4-tuple")
    _, summary = run_of(capture)
    assert len(summary["flows"]) == len(capture["flows"])
    assert len({flow["client"] for flow in summary["flows"]}) < len(summary["flows"])


def test_a_file_cut_short_gives_what_came_before_and_exit_status_2() -> None:
    run, summary = run_of(named("cut-file"))
    assert exit_status(run, summary, strict=False) == 2
    assert "truncated" in summary["errors"][0]["cause"]
    assert summary["flows"][0]["receive"]["server"]["app_bytes"] > 0


def test_packets_seen_on_a_bridge_and_its_port_count_once() -> None:
    _, summary = run_of(named("any-bridge"))
    assert summary["fates"]["frame.mirrored"] > 0
    assert summary["fates"].get("byte.duplicate", 0) == 0


def test_secrets_inside_a_pcapng_are_used() -> None:
    capture = named("pcapng-secrets")
    assert not capture.get("keys")
    _, summary = run_of(capture)
    assert all(flow["receive"]["server"]["offload"] == "ifnet" for flow in summary["flows"])


def test_missing_keys_are_told() -> None:
    run = rxtls.replay(REAL / "curl-nginx-tls13.pcap", REAL / "curl-nginx-tls12.keys")
    for _ in run:
        pass
    summary = run.summary()
    assert {flow["receive"]["server"]["why"]["code"] for flow in summary["flows"]} == {"no_keys"}
    assert exit_status(run, summary, strict=False) == 1
