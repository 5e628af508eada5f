"""One small TLS 1.3 connection as people capture it: in tunnels, with rarer link types, with wrong checksums.

Whatever was put around it, the same comes out of it."""

from __future__ import annotations

import bz2
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rxtls
from wrapping import (
    KEYS,
    LINKS,
    TUNNELS,
    Captured,
    erspan,
    frames,
    from_client,
    geneve,
    pcap,
    pcapng,
    vxlan,
    with_sum,
)

ENGINES = ["plain", "compiled"]


def replayed(tmp_path: Path, data: bytes, engine: str, **options: Any) -> dict[str, Any]:
    """The summary of a run over a capture of these bytes."""
    capture = tmp_path / "capture.pcap"
    capture.write_bytes(data)
    run = rxtls.replay(capture, keys=KEYS, engine=engine, **options)
    for _ in run:
        pass
    return run.summary()


def opened(summary: dict[str, Any]) -> list[tuple[int, int]]:
    return [tuple(flow["receive"][each]["app_bytes"] for each in ("server", "client")) for flow in summary["flows"]]


@pytest.mark.parametrize("engine", ENGINES)
def test_trial_b3_what_is_in_tunnels_is_read(tmp_path: Path, engine: str) -> None:
    found = {}
    for name, wrap in TUNNELS.items():
        summary = replayed(tmp_path, pcap(Captured(each.time, wrap(each.data)) for each in frames()), engine)
        found[name] = opened(summary), summary["balance"]
    assert found == dict.fromkeys(TUNNELS, ([(7515, 7515)], 0))


@pytest.mark.parametrize("engine", ENGINES)
def test_trial_b3_and_b9_rarer_link_types_are_read(tmp_path: Path, engine: str) -> None:
    found = {}
    for name, (link_type, wrap) in LINKS.items():
        seen = (Captured(each.time, wrap(each.data)) for each in frames())
        summary = replayed(tmp_path, pcap(seen, link_type), engine)
        found[name] = opened(summary), summary["balance"]
    assert found == dict.fromkeys(LINKS, ([(7515, 7515)], 0))


WRONG: dict[str, Callable[[Captured], Captured]] = {
    "garbage in both directions": lambda each: with_sum(each, lambda field: field ^ 0x1234 + len(each.data)),
    "the same everywhere": lambda each: with_sum(each, lambda _: 0x1234),
    "zero": lambda each: with_sum(each, lambda _: 0),
    "addresses rewritten": lambda each: with_sum(with_sum(each, lambda field: field + 77), lambda f: f + 77, True),
    "garbage of the client": lambda each: with_sum(each, lambda field: field + 3) if from_client(each) else each,
    "garbage of the server": lambda each: each if from_client(each) else with_sum(each, lambda field: field + 3),
}


@pytest.mark.parametrize("engine", ENGINES)
def test_trial_b2_checksums_of_which_none_is_right_are_not_believed(tmp_path: Path, engine: str) -> None:
    found = {}
    for name, change in WRONG.items():
        summary = replayed(tmp_path, pcap(change(each) for each in frames()), engine)
        found[name] = opened(summary), summary["balance"]
    assert found == dict.fromkeys(WRONG, ([(7515, 7515)], 0))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("flags", [1 << 9, 1 << 10], ids=["not ready", "valid"])
def test_trial_b2_flags_of_pcapng_are_honoured(tmp_path: Path, engine: str, flags: int) -> None:
    """Only every other packet is wrong, so that nothing but the flags speaks for them."""
    seen = [with_sum(each, lambda _: 0x1234) if n % 2 else each for n, each in enumerate(frames())]
    assert opened(replayed(tmp_path, pcapng(seen, flags), engine)) == [(7515, 7515)]
    assert opened(replayed(tmp_path, pcapng(seen, 0), engine)) != [(7515, 7515)]


@pytest.mark.parametrize("engine", ENGINES)
def test_what_was_taken_in_spite_of_its_checksum_is_counted(tmp_path: Path, engine: str) -> None:
    summary = replayed(tmp_path, pcap(with_sum(each, lambda field: field + 9) for each in frames()), engine)
    assert [flow["wrong_checksums"] for flow in summary["flows"]] == [36]
    summary = replayed(
        tmp_path, pcap(with_sum(each, lambda field: field + 9) for each in frames()), engine, checksum="verify"
    )
    assert summary["fates"] == {"frame.bad_checksum": 36, "byte.bad_checksum": 16_799}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_checksum_that_is_right_by_chance_changes_nothing(tmp_path: Path, engine: str) -> None:
    seen = [each if n == 20 else with_sum(each, lambda field: field + 9) for n, each in enumerate(frames())]
    assert opened(replayed(tmp_path, pcap(seen), engine)) == [(7515, 7515)]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_damaged_packet_of_a_host_with_right_ones_is_refused(tmp_path: Path, engine: str) -> None:
    seen = frames()
    damaged = [n for n, each in enumerate(seen) if len(each.data) > 54][5:]
    for n in damaged[::3]:
        seen[n] = with_sum(seen[n], lambda field: field + 9)
    summary = replayed(tmp_path, pcap(seen), engine)
    assert summary["fates"]["frame.bad_checksum"] == len(damaged[::3])
    assert summary["flows"][0]["wrong_checksums"] == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_a_frame_that_the_link_damaged_is_refused(tmp_path: Path, engine: str) -> None:
    assert replayed(tmp_path, pcapng(frames(), 1 << 24), engine)["fates"] == {"frame.link_error": 36}
    assert opened(replayed(tmp_path, pcapng(frames(), 1 << 27), engine)) == [(7515, 7515)]


def moved(seen: list[Captured], by: int) -> list[Captured]:
    """The same connection with other sequence numbers and no right checksum: another host's, of the same addresses."""
    found = []
    for each in seen:
        data = bytearray(each.data)
        for at in (38, 42) if data[47] & 0x10 else (38,):
            data[at : at + 4] = (int.from_bytes(data[at : at + 4], "big") + by & 0xFFFFFFFF).to_bytes(4, "big")
        found.append(Captured(each.time + 700, bytes(data)))
    return found


@pytest.mark.parametrize("engine", ENGINES)
def test_trial_b3_networks_with_the_same_addresses_are_kept_apart(tmp_path: Path, engine: str) -> None:
    for wrap in (vxlan, geneve):
        seen = [Captured(each.time, wrap(each.data, 1)) for each in frames()]
        seen += [Captured(each.time, wrap(each.data, 2)) for each in moved(frames(), 77_000_000)]
        assert opened(replayed(tmp_path, pcap(seen), engine)) == [(7515, 7515)] * 2


TWICE: dict[str, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]] = {
    "two mirror sessions": (lambda frame: vxlan(frame, 1), lambda frame: vxlan(frame, 2)),
    "two sources of one session": (
        lambda frame: vxlan(frame, src="0a000001"),
        lambda frame: vxlan(frame, src="0a000002"),
    ),
    "two ERSPAN sessions": (lambda frame: erspan(frame, 1), lambda frame: erspan(frame, 2)),
    "inside and outside": (vxlan, lambda frame: frame),
    "outside and inside": (lambda frame: frame, vxlan),
    "two kinds": (geneve, TUNNELS["pppoe"]),
}


@pytest.mark.parametrize("engine", ENGINES)
def test_trial_b3_the_same_packet_in_two_tunnels_counts_once(tmp_path: Path, engine: str) -> None:
    found = {}
    for name, (first, second) in TWICE.items():
        seen = [Captured(each.time, first(each.data)) for each in frames()]
        seen += [Captured(each.time + 300, second(each.data)) for each in frames()]
        summary = replayed(tmp_path, pcap(seen), engine)
        found[name] = opened(summary), summary["fates"].get("frame.mirrored"), summary["fates"].get("byte.duplicate")
    assert found == dict.fromkeys(TWICE, ([(7515, 7515)], 36, None))


@pytest.mark.parametrize("engine", ENGINES)
def test_trial_b3_each_direction_may_have_an_id_of_its_own(tmp_path: Path, engine: str) -> None:
    for skip in (0, 3):
        seen = [Captured(each.time, vxlan(each.data, 1 + from_client(each))) for each in frames()[skip:]]
        assert opened(replayed(tmp_path, pcap(seen), engine)) == [(7515, 7515)]


def test_a_flow_tells_its_tunnels(tmp_path: Path) -> None:
    found = []
    for engine in ENGINES:
        seen = (Captured(each.time, erspan(vxlan(each.data))) for each in frames())
        found.append(replayed(tmp_path, pcap(seen), engine)["flows"][0]["tunnels"])
    outer = {"from": "192.168.0.1", "to": "192.168.0.2", "vlan": []}
    assert found == [[{"kind": "erspan", "id": 9, **outer}, {"kind": "vxlan", "id": 42, **outer}]] * 2


@pytest.mark.parametrize("engine", ENGINES)
def test_very_many_networks_with_one_tuple_are_bounded(tmp_path: Path, engine: str) -> None:
    seen = [
        Captured(each.time, vxlan(each.data, n))
        for n in range(200)
        for each in moved(frames()[:1], 50_000_000 + n * 40_000_000)
    ]
    summary = replayed(tmp_path, pcap(seen), engine)
    assert summary["balance"] == 0
    assert len(summary["flows"]) == 200  # a generation for each SYN, sixteen at a time


@pytest.mark.parametrize("engine", ENGINES)
def test_trial_b9_captures_that_were_run_together_are_read(tmp_path: Path, engine: str) -> None:
    seen = frames()
    for cut in (1, 11, 35):
        assert opened(replayed(tmp_path, pcap(seen[:cut]) + pcap(seen[cut:]), engine)) == [(7515, 7515)]
        late = pcap(seen[cut:]) + pcap(seen[:cut])
        assert replayed(tmp_path, late, engine)["errors"] == []
    for more, said in (
        (pcap(seen[11:], 113), "of another link type"),
        (bytes.fromhex("a1b2c3d4000200040000000000000000000400000000000001"[:48]), "of another kind"),
    ):
        summary = replayed(tmp_path, pcap(seen[:11]) + more, engine)
        assert [said in each["cause"] for each in summary["errors"]] == [True]
        assert summary["frames"] == 11
    summary = replayed(tmp_path, pcapng(seen, 0) + pcap(seen), engine)
    assert ["another capture begins here" in each["cause"] for each in summary["errors"]] == [True]
    assert opened(summary) == [(7515, 7515)]


@pytest.mark.parametrize("engine", ENGINES)
def test_trial_b9_bzip2_is_read_and_others_are_named(tmp_path: Path, engine: str) -> None:
    assert opened(replayed(tmp_path, bz2.compress(pcap(frames())), engine)) == [(7515, 7515)]
    damaged = bytearray(bz2.compress(pcap(frames())))
    damaged[len(damaged) // 2] ^= 0xFF
    assert ["bzip2" in each["cause"] for each in replayed(tmp_path, bytes(damaged), engine)["errors"]] == [True]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("capture.pcap", pcap(frames()))
    for data, said in (
        (packed.getvalue(), "zip"),
        (b'{"log": {"version": "1.2"}}', "HAR"),
        (KEYS.read_bytes(), "key log"),
    ):
        assert [said in each["cause"] for each in replayed(tmp_path, data, engine)["errors"]] == [True]
