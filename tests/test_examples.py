"""The captures in examples/: real TLS uploads over a wire that dropped, reordered, duplicated; plaintext known."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import rxtls
from rxtls.crypto.records import Opener
from rxtls.events import By
from rxtls.run.summary import exit_status

EXAMPLES = Path(__file__).parents[1] / "examples"
MANIFEST: list[dict[str, Any]] = json.loads((EXAMPLES / "manifest.json").read_text())
# (capture, profile): long enough for host points between a loss and the end. The flows of `many` have 30 packets each.
LOSSY = (
    ("loss-reorder-tls13-aes256gcm", "connectx-6dx"),
    ("loss-reorder-dup-tls12-aes128gcm", "connectx-6dx"),
    ("loss-tls13-chacha20", "ideal"),
)

# The manifest has OpenSSL's names for TLS 1.2 suites.
IANA = {
    "ECDHE-ECDSA-AES128-GCM-SHA256": "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "ECDHE-ECDSA-AES128-SHA256": "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
}


def replay(name: str, profile: str = "connectx-6dx", **options: Any) -> rxtls.Replay:
    return rxtls.replay(EXAMPLES / f"{name}.pcap", EXAMPLES / f"{name}.keys", profile=profile, **options)


@pytest.mark.parametrize("profile", ["connectx-6dx", "ideal", "none"])
@pytest.mark.parametrize("wanted", MANIFEST, ids=lambda wanted: wanted["name"])
def test_plaintext_is_what_was_sent(wanted: dict[str, Any], profile: str) -> None:
    run = replay(wanted["name"], profile, digest=True)
    for _ in run:
        pass
    summary = run.summary()
    assert summary["balance"] == 0
    assert summary["errors"] == []
    assert exit_status(run, summary, strict=True) == 0
    flows = {int(flow["client"].rpartition(":")[2]): flow for flow in summary["flows"]}
    assert sorted(flows) == sorted(flow["port"] for flow in wanted["flows"])
    for sent in wanted["flows"]:
        flow = flows[sent["port"]]
        assert f"TLSv{flow['tls']}" == sent["tls"]
        assert flow["suite"] == IANA.get(sent["suite"], sent["suite"])
        assert flow["server"].endswith(f":{wanted['server_port']}")
        for receiver, way in (("server", "up"), ("client", "down")):
            received = flow["receive"][receiver]
            assert received["app_bytes"] == sent[way]
            assert received["sha256"] == sent[f"{way}_sha256"]
            assert received["complete"] is True
            assert received["records"]["failed"] == received["records"]["unknown"] == 0
            assert received["resync"]["regained"] <= received["resync"]["lost"]


def test_the_device_decrypts_a_clean_stream_and_the_host_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []
    open_record = Opener.open

    def counted(opener: Opener, number: int, record: bytes) -> Any:
        opened.append(number)
        return open_record(opener, number, record)

    run = replay("clean-tls13-aes128gcm")
    monkeypatch.setattr("rxtls.host.worker.Opener.open", counted)
    by = Counter((record.receiver, record.by) for record in run)
    after_ready = sum(n for (_, who), n in by.items() if who is not By.LIBRARY)
    in_library = sum(n for (_, who), n in by.items() if who is By.LIBRARY)
    # The TLS library's encrypted handshake records are opened by the same class; the worker opened none at all.
    assert len(opened) <= in_library
    assert by["server", By.DEVICE] == 185
    assert sum(n for (_, who), n in by.items() if who is By.DEVICE) == after_ready


@pytest.mark.parametrize(("name", "profile"), LOSSY)
def test_sync_is_regained_and_the_host_opens_no_marked_record(
    name: str, profile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: Counter[int] = Counter()
    open_record = Opener.open

    def counted(opener: Opener, number: int, record: bytes) -> Any:
        opened[len(record)] += 1
        return open_record(opener, number, record)

    run = replay(name, profile)
    monkeypatch.setattr("rxtls.host.worker.Opener.open", counted)
    records = list(run)
    by = Counter(record.by for record in records)
    assert sum(opened.values()) <= len(records) - by[By.DEVICE]
    assert all((record.by is By.DEVICE) == (record.composition == "D") for record in records)
    resync: Counter[str] = Counter()
    for flow in run.summary()["flows"]:
        resync.update(flow["receive"]["server"]["resync"])
    assert resync["lost"] > 0
    assert resync["confirmed"] > 0
    assert resync["regained"] > 0


def test_profiles_differ_only_in_who_did_the_work() -> None:
    read = {
        profile: [(r.flow, r.receiver, r.type, r.number, r.data) for r in replay("loss-tls13-chacha20", profile)]
        for profile in ("connectx-6dx", "ideal", "none")
    }
    assert read["connectx-6dx"] == read["ideal"] == read["none"]
    run = replay("loss-tls13-chacha20", "connectx-6dx")
    assert By.DEVICE not in {record.by for record in run}
    why = run.summary()["flows"][0]["receive"]["server"]["why"]
    assert why["code"] == "profile"


def test_vantage_is_the_receiving_host_s() -> None:
    run = replay("loss-reorder-tls13-aes256gcm")
    for _ in run:
        pass
    receive = run.summary()["flows"][0]["receive"]
    assert (receive["server"]["vantage"], receive["client"]["vantage"]) == ("receiver", "sender")
