"""Connections that pause for longer than the idle time, and captures in pieces: they go on where they stood.

The examples, with time put in between, in both engines and in calls of all sizes; what comes out is compared with the
whole capture.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import pytest

from rxtls.handshake.observer import Observer
from rxtls.path.engines import why_not_compiled
from rxtls.wire.keylog import KeyLog
from timed import EXAMPLES, SECOND, Read, Timed, frames, put, read, replayed, share

ENGINES = ["plain"] + ([] if why_not_compiled() else ["compiled"])
NAMES = [
    "loss-reorder-dup-tls12-aes128gcm",
    "reorder-tls12-aes128cbc-sha256",
    "loss-tls13-chacha20",
    "clean-tls13-aes128gcm",
]


def paused(kept: Sequence[Timed], at: int, seconds: int = 400) -> list[Timed]:
    return [(ns + seconds * SECOND * (n >= at), data) for n, (ns, data) in enumerate(kept)]


@pytest.fixture(scope="module")
def whole() -> dict[str, Read]:
    return {name: read(replayed(EXAMPLES / f"{name}.pcap", name)[1]) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("where", [0.3, 0.5, 0.77])
def test_a_connection_that_paused_goes_on(tmp_path: Path, whole: dict[str, Read], name: str, where: float) -> None:
    """At most the record is lost that the receiver had not got when it paused: retransmissions come too late for it."""
    kept = frames(name)
    path = put(tmp_path / "paused.pcap", paused(kept, int(where * len(kept))))
    seen = []
    for engine in ENGINES:
        for call_size in (1, 7, 4096):
            run, records = replayed(path, name, engine=engine, call_size=call_size)
            summary = run.summary()
            assert summary["balance"] == 0
            assert [flow["end"] for flow in summary["flows"]] == ["idle", "fin"]
            assert share(read(records), whole[name]) > (0.98 if name.startswith("loss") else 0.999999)
            for received in summary["flows"][1]["receive"].values():
                assert received["why"]["code"] in ("offloaded", "profile")
                assert received["late_start"]["first_record"] > 0
                assert received["late_start"]["skipped_bytes"] == 0
                assert received["complete"] is False
            assert summary["flows"][1]["suite"] == summary["flows"][0]["suite"] is not None
            seen.append(
                (records, {k: v for k, v in summary.items() if k not in ("wall_seconds", "engine", "libcrypto")})
            )
    assert all(each == seen[0] for each in seen)


@pytest.mark.parametrize("name", NAMES)
def test_bytes_that_are_missing_at_the_pause_are_a_gap(tmp_path: Path, whole: dict[str, Read], name: str) -> None:
    kept = frames(name)
    half = int(len(kept) * 0.62)
    path = put(tmp_path / "paused.pcap", paused(kept[:half] + kept[half + 40 :], half))
    for engine in ENGINES:
        run, records = replayed(path, name, engine=engine)
        summary = run.summary()
        assert summary["balance"] == 0
        received = summary["flows"][1]["receive"]["server"]
        assert received["gaps"]["count"] >= 1
        assert received["gaps"]["lost_records"] >= 1
        assert 0.9 < share(read(records), whole[name]) < 1


def test_sides_that_are_told_the_other_way_round(tmp_path: Path, whole: dict[str, Read]) -> None:
    """Without a SYN the client is guessed by its port, which here is the lower one."""
    name = NAMES[0]
    kept = []
    for ns, data in frames(name):
        source, target = struct.unpack_from(">HH", data, 34)
        changed = tuple(60000 if port == 4433 else 1000 for port in (source, target))
        kept.append((ns, data[:34] + struct.pack(">HH", *changed) + data[38:]))
    path = put(tmp_path / "paused.pcap", paused(kept, len(kept) // 2))
    for engine in ENGINES:
        run, records = replayed(path, name, engine=engine, checksum="ignore")
        assert share(read(records), whole[name]) > 0.98
        first, second = run.summary()["flows"]
        assert (first["client"], first["server"]) == (second["client"], second["server"])


def test_evicted_connections_go_on_as_well(tmp_path: Path, whole: dict[str, Read]) -> None:
    """The table has room for one; another connection comes in between."""
    one, other = NAMES[0], NAMES[1]
    kept = frames(one)
    half = len(kept) // 2
    start = kept[half][0]
    between = [(start, data) for _, data in frames(other) if data[23] == 6][:4]
    path = put(tmp_path / "crowded.pcap", [*kept[:half], *between, *kept[half:]])
    for engine in ENGINES:
        run, records = replayed(path, one, engine=engine, settings={"max_flows": "1"})
        summary = run.summary()
        assert summary["balance"] == 0
        assert [flow["end"] for flow in summary["flows"]] == ["evicted", "evicted", "fin"]
        assert share(read(records), whole[one]) > 0.98


def test_another_connection_on_the_same_ports_does_not(tmp_path: Path) -> None:
    """Its sequence numbers are others, and nobody has its handshake."""
    name = NAMES[0]
    kept = frames(name)
    half = len(kept) // 2
    later = []
    for ns, data in kept[half:]:
        numbers = (n + (1 << 31) & 0xFFFF_FFFF for n in struct.unpack_from(">II", data, 38))
        later.append((ns, data[:38] + struct.pack(">II", *numbers) + data[46:]))
    path = put(tmp_path / "other.pcap", paused([*kept[:half], *later], half))
    run, records = replayed(path, name, checksum="ignore")
    summary = run.summary()
    assert summary["balance"] == 0
    assert [each["why"]["code"] for each in summary["flows"][1]["receive"].values()] == ["mid_connection_tls12"] * 2
    assert {each.flow for each in records if each.by not in ("library", "nobody")} == {0}


def test_what_is_kept_of_connections_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what was kept in vain has its fate."""
    monkeypatch.setattr("rxtls.host.rejoin.MOST", 0)
    name = NAMES[0]
    kept = frames(name)
    path = put(tmp_path / "paused.pcap", paused(kept, len(kept) // 2))
    run, _ = replayed(path, name)
    summary = run.summary()
    assert summary["balance"] == 0
    assert summary["flows"][1]["receive"]["server"]["why"]["code"] == "mid_connection_tls12"


# Pieces, as tcpdump -C and -G make them


def pieces(folder: Path, kept: Sequence[Timed], count: int) -> list[Path]:
    size = len(kept) // count + 1
    return [put(folder / f"ring{n:02}.pcap", kept[n * size : (n + 1) * size]) for n in range(count)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("engine", ENGINES)
def test_pieces_are_one_capture_in_whatever_order(tmp_path: Path, name: str, engine: str) -> None:
    names = pieces(tmp_path, frames(name), 5)
    _, expected = replayed(EXAMPLES / f"{name}.pcap", name)
    for given in ([tmp_path / "ring*.pcap"], names[::-1], [names[2], names[4], names[0], names[3], names[1]]):
        run, records = replayed(given, name, engine=engine)
        assert records == expected
        assert len(run.summary()["flows"]) == 1


def test_a_piece_alone_says_why(tmp_path: Path) -> None:
    """Before TLS 1.3 the handshake is needed; in TLS 1.3 the secrets are enough."""
    for name, why in ((NAMES[0], "mid_connection_tls12"), (NAMES[1], "mid_connection_tls12"), (NAMES[3], "offloaded")):
        names = pieces(tmp_path, frames(name), 5)
        run, records = replayed(names[2], name)
        assert run.summary()["flows"][0]["receive"]["server"]["why"]["code"] == why
        assert any(each.by not in ("library", "nobody") for each in records) is (why == "offloaded")


@pytest.mark.parametrize("name", NAMES)
def test_pieces_that_are_missing_are_a_hole(tmp_path: Path, whole: dict[str, Read], name: str) -> None:
    """A connection goes on behind them, also after a pause."""
    for seconds in (0, 400):
        names = pieces(tmp_path, paused(frames(name), len(frames(name)) // 2, seconds), 5)
        run, records = replayed([names[0], names[3], names[4]], name)
        assert run.summary()["balance"] == 0
        got = read(records)
        assert 0.4 < share(got, whole[name]) < 0.75
        numbers = [
            [n or 0 for (receiver, _), (n, _, _) in each.items() if receiver == "server"] for each in (got, whole[name])
        ]
        assert max(numbers[0]) == max(numbers[1])


@pytest.mark.parametrize("call_size", [1, 4096])
@pytest.mark.parametrize("engine", ENGINES)
def test_a_syn_begins_another_connection_and_the_latest_one_goes_on(
    tmp_path: Path, whole: dict[str, Read], engine: str, call_size: int
) -> None:
    """The first one may be served to its end only when the second has begun, and has the same ports."""
    name = NAMES[1]
    kept = frames(name)
    half = len(kept) // 2
    first = paused(kept[: half - 100], 0, -400)
    path = put(tmp_path / "again.pcap", [*first, *paused(kept, half)])
    run, records = replayed(path, name, engine=engine, call_size=call_size)
    summary = run.summary()
    assert summary["balance"] == 0
    assert [flow["end"] for flow in summary["flows"]] == ["idle", "idle", "fin"]
    assert summary["flows"][1]["receive"]["server"]["late_start"] is None
    late = summary["flows"][2]["receive"]["server"]["late_start"]
    assert late["first_record"] > 1
    assert share(read([each for each in records if each.flow > 0]), whole[name]) > 0.98


def test_both_sides_are_waited_for_again() -> None:
    """What was settled when the connection seemed to be over: a renegotiation needs both sides."""
    observer = Observer(KeyLog())
    for side in (0, 1):
        observer.settle(side, bound=True)
    observer.reopen()
    assert [(each.one_sided, each.settled, each.cut_short) for each in observer._sides] == [(False,) * 3] * 2
