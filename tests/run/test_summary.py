"""The JSON of a run: its keys and types are a contract, and its numbers agree with the records and with each other."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import Any

import pytest

import replays
import rxtls
from replays import CHACHA13, GCM12, Done, Talked, download
from rxtls.counters import FATES
from rxtls.events import Gap, RecordClass
from rxtls.handshake.steps import WHY
from rxtls.run import summary
from rxtls.run.summary import endpoint, to_json, totals
from rxtls.simulation.link import Impairment

REAL = Path(__file__).parents[1] / "data" / "real"
MANIFEST: list[dict[str, Any]] = json.loads((REAL / "manifest.json").read_text())

CLASSES = ("decrypted", "mixed", "encrypted", "failed", "unjudged", "unknown", "library")

# Schema 2. A key may be added here, and none removed; no type may change.
PLACE = {"file": str, "frame": int}
DIRECTION: dict[str, Any] = {
    "vantage": str,
    "vantage_by": (str, NoneType),
    "offload": (str, NoneType),
    "why": {"code": str, "text": str},
    "app_bytes": int,
    "sha256": (str, NoneType),
    "records": dict.fromkeys(CLASSES, int),
    "bytes": dict.fromkeys((*CLASSES, "recrypted"), int),
    "compositions": {...: int},
    "crypto": dict.fromkeys(("decrypts", "recrypts", "discarded"), int),
    "resync": dict.fromkeys(
        (
            "lost",
            "polls",
            "confirmed",
            "regained",
            "false_anchors",
            "receive_tag_resets",
            "lost_in_gaps",
            "polls_refused",
            "errors",
        ),
        int,
    ),
    "path_changes": {
        "count": int,
        "list": [
            {**PLACE, "time_ns": int, "from": str, "to": str, "cause": str, "result": str},
        ],
    },
    "gap": bool,
    "gaps": {
        **dict.fromkeys(
            ("count", "missing_bytes", "lost_records", "recovered_records", "recovered_bytes"),
            int,
        ),
        "list": [
            {
                "holes": [{"at": int, "tcp_seq": int, "length": int, "acknowledged": bool}],
                "first_record": (int, NoneType),
                "records": (int, NoneType),
            }
        ],
    },
    "late_start": ({"first_record": int, "skipped_bytes": int}, NoneType),
    "search": {"spent": int, "budget": int},
    "complete": (bool, NoneType),
}
TOTALS: dict[str, Any] = {
    "directions": int,
    "app_bytes": int,
    "records": dict.fromkeys(CLASSES, int),
    "bytes": dict.fromkeys((*CLASSES, "recrypted"), int),
    "resync": {...: (int, float)},
}
FLOW: dict[str, Any] = {
    "id": int,
    "client": str,
    "server": str,
    "client_guessed": bool,
    "start_frame": PLACE,
    "end_frame": PLACE,
    "vlan": [int],
    "interfaces": [int],
    "tls": (str, NoneType),
    "suite": (str, NoneType),
    "sni": (str, NoneType),
    "alpn": (str, NoneType),
    "resumed": bool,
    "session": (str, NoneType),
    "end": str,
    "resegmented": int,
    "wrong_checksums": int,
    "tunnels": [{"kind": str, "id": (int, NoneType), "from": (str, NoneType), "to": (str, NoneType), "vlan": [int]}],
    "receive": {"server": (DIRECTION, NoneType), "client": (DIRECTION, NoneType)},
}
RUN: dict[str, Any] = {
    "rxtls": str,
    "schema": int,
    "captures": [str],
    "frames": int,
    "captured_bytes": int,
    "wall_seconds": float,
    "capture_seconds": float,
    "engine": str,
    "libcrypto": str,
    "profile": str,
    "policy": str,
    "latencies": {"install": str, "poll": str, "confirm": str},
    "settings": {...: (int, str, list)},
    "jobs": int,
    "limits_met": {"keys_wait": bool, "receive_tags": int, "hold_run": int},
    "interfaces": [
        {
            "file": str,
            "section": int,
            "id": int,
            "name": (str, NoneType),
            "link_type": int,
            "same_as": int,
            "port": (str, NoneType),
        }
    ],
    "keys": {"sessions": int, "unknown_labels": int},
    "errors": [{"file": str, "offset": (int, NoneType), "cause": str}],
    "taps": [
        {"interfaces": [int], "host": str, "place": str, "by": str, "connections": int, "votes": {...: {...: int}}},
    ],
    "totals": {"receiver": TOTALS, "elsewhere": TOTALS},
    "coverage": {"tcp_bytes": int, "tls_bytes": int, "opened": int, "modelled": int, "rest": {...: int}},
    "flows": [FLOW],
    "unknown_interfaces": [int],
    "hosts": [{"address": str, "driver": {...: int}}],
    "fates": {...: int},
    "balance": int,
}


def departures(value: Any, schema: Any, at: str = "run") -> Iterator[str]:
    """Where `value` is not as `schema` says."""
    if isinstance(schema, tuple):
        if all(list(departures(value, each, at)) for each in schema):
            yield f"{at}: {value!r} is none of those that it may be"
    elif isinstance(schema, dict):
        if not isinstance(value, dict):
            yield f"{at} is no object"
        elif ... in schema:
            for key, each in value.items():
                yield from departures(each, schema[...], f"{at}.{key}")
        else:
            if missing := schema.keys() - value.keys():
                yield f"{at} lacks {missing}"
            for key in value.keys() & schema.keys():
                yield from departures(value[key], schema[key], f"{at}.{key}")
    elif isinstance(schema, list):
        if not isinstance(value, list):
            yield f"{at} is no list"
        else:
            for n, each in enumerate(value):
                yield from departures(each, schema[0], f"{at}[{n}]")
    elif type(value) is not schema:
        yield f"{at}: {value!r} is no {schema.__name__}"


def directions(run: dict[str, Any]) -> list[dict[str, Any]]:
    return [received for flow in run["flows"] for received in flow["receive"].values() if received is not None]


def assert_sound(done: Done) -> None:
    """All that must hold of every run whatever."""
    run = json.loads(to_json(done.summary))
    assert run == done.summary
    assert not list(departures(run, RUN))
    assert run["schema"] == 2
    assert run["balance"] == 0
    assert set(run["fates"]) <= set(FATES)
    assert list(run["fates"]) == sorted(run["fates"])
    assert all(run["fates"].values())
    ended = {kind: sum(n for name, n in run["fates"].items() if name.startswith(f"{kind}.")) for kind in ("frame",)}
    assert ended["frame"] == run["frames"]

    counted = {each.value: Counter[tuple[int, str]]() for each in RecordClass}
    lengths = {each.value: Counter[tuple[int, str]]() for each in RecordClass}
    data: Counter[tuple[int, str]] = Counter()
    for record in done.records:
        key = record.flow, record.receiver
        counted[record.record_class][key] += record.records if isinstance(record, Gap) else 1
        lengths[record.record_class][key] += record.wire_length - (record.missing if isinstance(record, Gap) else 0)
        if record.type == 23:
            data[key] += len(record.data)
    for flow in run["flows"]:
        for host, received in flow["receive"].items():
            if received is None:
                continue
            key = flow["id"], host
            assert {name: counted[name][key] for name in CLASSES} == received["records"]
            assert {name: lengths[name][key] for name in CLASSES} | {
                "recrypted": received["bytes"]["recrypted"]
            } == received["bytes"]
            assert data[key] == received["app_bytes"]
            assert received["resync"]["regained"] <= received["resync"]["lost"]
            assert received["bytes"]["recrypted"] <= received["bytes"]["mixed"] + received["bytes"]["failed"]
            of_ktls = sum(n for name, n in received["records"].items() if name not in ("library", "unknown"))
            assert sum(received["compositions"].values()) == of_ktls or received["records"]["failed"]
            assert received["why"]["code"] in {**summary.WHY, **WHY}
            assert (received["complete"] is None) == (received["offload"] is None)
            assert received["offload"] in ("ifnet", "sw", None)
            if received["gap"]:
                assert received["complete"] is not True
    if all(received is not None for flow in run["flows"] for received in flow["receive"].values()):
        wire = sum(received["bytes"][name] for received in directions(run) for name in CLASSES)
        assert run["fates"].get("byte.record", 0) == wire
        for name in CLASSES:
            total = sum(received["records"][name] for received in directions(run))
            assert run["fates"].get(f"record.{name}", 0) == total


@pytest.fixture(scope="module")
def lossy() -> Talked:
    return download(
        4, (16384,) * 25, down=Impairment(loss=0.03, reorder=0.02, corrupt_unseen=0.015, spare_control=True)
    )


@pytest.mark.parametrize("capture", MANIFEST, ids=lambda capture: capture["name"])
def test_every_real_capture_keeps_the_contract(capture: dict[str, Any]) -> None:
    keys = [REAL / capture["keys"]] if capture.get("keys") else []
    assert_sound(replays.replay(REAL / capture["file"], keys))


@pytest.mark.parametrize("receiver", ["both", "server", "client", "203.0.113.0/24"])
@pytest.mark.parametrize("profile", ["connectx-6dx", "none"])
def test_lossy_and_damaged_runs_keep_the_contract(tmp_path: Path, lossy: Talked, receiver: str, profile: str) -> None:
    done = replays.replay(
        replays.pcap(tmp_path, lossy.frames), replays.keys(tmp_path, lossy), receiver=receiver, profile=profile
    )
    assert_sound(done)
    if receiver == "both" and profile != "none":
        assert all(done.received()["records"][name] for name in ("decrypted", "mixed", "encrypted", "failed"))


def test_a_capture_without_flows_keeps_the_contract(tmp_path: Path) -> None:
    assert_sound(replays.replay([replays.pcap(tmp_path, []), tmp_path / "absent"]))


def test_digests_only_when_asked_for(tmp_path: Path, lossy: Talked) -> None:
    import hashlib

    capture, keys = replays.pcap(tmp_path, lossy.frames), replays.keys(tmp_path, lossy)
    without, with_ = replays.replay(capture, keys), replays.replay(capture, keys, digest=True)
    assert {received["sha256"] for received in directions(without.summary)} == {None}
    for host in ("server", "client"):
        assert with_.received(host)["sha256"] == hashlib.sha256(with_.data(host)).hexdigest()


def test_equal_runs_have_equal_json_but_for_the_time_they_took(tmp_path: Path, lossy: Talked) -> None:
    capture, keys = replays.pcap(tmp_path, lossy.frames), replays.keys(tmp_path, lossy)
    first, second = (replays.replay(capture, keys, digest=True).summary for _ in range(2))
    assert {**first, "wall_seconds": 0.0} == {**second, "wall_seconds": 0.0}


def test_flows_stand_in_the_order_of_their_first_frames(tmp_path: Path) -> None:
    talked = [download(n, (100,), client=replays.client_at(40000 + n), start_ns=10**9 - n * 1000) for n in range(5)]
    frames = sorted((frame for each in talked for frame in each.frames), key=lambda frame: frame.time_ns)
    run = replays.replay(replays.pcap(tmp_path, frames), replays.keys(tmp_path, *talked)).summary
    assert [flow["client"] for flow in run["flows"]] == [f"192.0.2.1:{40000 + n}" for n in (4, 3, 2, 1, 0)]
    starts = [flow["start_frame"]["frame"] for flow in run["flows"]]
    assert starts == sorted(starts)


@pytest.mark.parametrize(
    ("session", "tls", "suite"),
    [(GCM12, "1.2", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"), (CHACHA13, "1.3", "TLS_CHACHA20_POLY1305_SHA256")],
)
def test_what_the_handshake_agreed_on(tmp_path: Path, session: Any, tls: str, suite: str) -> None:
    talked = download(2, session=session, vlans=(5,))
    flow = replays.replay(replays.pcap(tmp_path, talked.frames), replays.keys(tmp_path, talked)).flow()
    said = (flow["tls"], flow["suite"], flow["sni"], flow["alpn"], flow["resumed"], flow["vlan"], flow["server"])
    assert said == (tls, suite, "example.test", "http/1.1", False, [5], "198.51.100.1:443")


def test_addresses_of_both_families() -> None:
    assert endpoint(("192.0.2.1", 443)) == "192.0.2.1:443"
    assert endpoint(("2001:db8::1", 443)) == "[2001:db8::1]:443"


def test_totals_are_by_vantage_and_pass_over_what_is_not_modelled(tmp_path: Path, lossy: Talked) -> None:
    capture, keys = replays.pcap(tmp_path, lossy.frames), replays.keys(tmp_path, lossy)
    run = replays.replay(capture, keys, receiver="client").summary
    received = run["flows"][0]["receive"]["client"]
    assert received["vantage"] == "receiver"
    here, elsewhere = totals(run, True), totals(run, False)
    assert elsewhere["directions"] == 0
    assert here["directions"] == 1
    assert here["app_bytes"] == received["app_bytes"]
    for group in ("records", "bytes", "resync"):
        assert {name: here[f"{group}.{name}"] for name in received[group]} == received[group]


def test_no_secret_and_no_plaintext_stands_in_the_json(tmp_path: Path) -> None:
    talk = replays.begin(9)
    talk.request([b"password=correct horse"], [b"battery staple"])
    talk.close()
    talked = replays.carry(talk)
    log = tmp_path / "bad.keys"
    secret = talked.keylog.split()[2]
    log.write_text(f"{talked.keylog}CLIENT_TRAFFIC_SECRET_0 {secret}\n{secret}\nCLIENT_RANDOM {secret} {secret[:-1]}\n")
    done = replays.replay(replays.pcap(tmp_path, talked.frames), log, digest=True)
    assert [error["offset"] for error in done.summary["errors"]] == [6, 8]
    text = to_json(done.summary) + "".join(map(str, done.run.errors)) + repr(done.run.errors) + repr(done.run.keys)
    text += "".join(map(repr, done.records))
    for hidden in ("correct horse", "battery staple", *talked.keylog.split()):
        if len(hidden) > 40 or " " in hidden:
            assert hidden not in text
            assert hidden.upper() not in text
    assert b"battery staple" in done.data()


def test_names_that_are_no_utf_8_can_be_printed(tmp_path: Path) -> None:
    name = tmp_path / "caf\udce9.pcap"
    done = replays.replay(name)
    text = to_json(done.summary)
    assert text.isascii()
    assert json.loads(text)["captures"] == [str(name)]


def test_totals_of_the_json_are_the_sums_of_its_directions(tmp_path: Path, lossy: Talked) -> None:
    run = replays.replay(replays.pcap(tmp_path, lossy.frames), replays.keys(tmp_path, lossy)).summary
    for name, half in run["totals"].items():
        mine = [each for each in directions(run) if (each["vantage"] == "receiver") is (name == "receiver")]
        assert (half["directions"], half["app_bytes"]) == (len(mine), sum(each["app_bytes"] for each in mine))
        assert mine
        for group in ("records", "bytes", "resync"):
            assert half[group].keys() == mine[0][group].keys()
            assert half[group] == {key: pytest.approx(sum(each[group][key] for each in mine)) for key in half[group]}
    del run["totals"]
    assert totals(run, True)["app_bytes"] == run["flows"][0]["receive"]["client"]["app_bytes"]  # a run of schema 1


@pytest.mark.parametrize("engine", ["compiled", "plain"])
def test_a_device_that_stopped_is_not_said_to_offload(engine: str) -> None:
    """A renegotiation whose last records fail on the device: it stops at the end of the connection, with no host point
    behind it that would make the direction software's."""
    capture = Path(__file__).parents[1] / "data" / "trials" / "reneg12.pcap"
    replay = rxtls.replay(capture, keys=capture.with_suffix(".keys"), engine=engine)
    assert list(replay)
    run = replay.summary()
    received = [each for flow in run["flows"] for each in flow["receive"].values()]
    assert [(each["offload"], each["why"]["code"]) for each in received] == [("sw", "auth_failures")] * 2
