"""Which interfaces of several captures are one: pieces of a ring are, files that overlap in time are not."""

from __future__ import annotations

import gzip
import io
from collections.abc import Sequence
from pathlib import Path

import pytest

import replays
from rxtls.capture.blocks import Blocks
from rxtls.capture.captures import Captures, SourceInterface
from rxtls.capture.headers import walk
from rxtls.capture.source import Source
from rxtls.capture.write import write_pcap, write_pcapng
from rxtls.errors import UsageError
from rxtls.simulation.link import LinkFrame

MS = 1_000_000
START = 1_750_000_000_000_000_000


def frames(first_ms: float, last_ms: float, n: int = 20) -> list[LinkFrame]:
    step = (last_ms - first_ms) / (n - 1)
    return [LinkFrame(int((first_ms + k * step) * MS) + START, bytes(64)) for k in range(n)]


def written(path: Path, each: Sequence[LinkFrame], name: str | None = None) -> str:
    with open(path, "wb") as out:
        if name is None:
            write_pcap(each, out)
        else:
            write_pcapng(each, out, (name,))
    return str(path)


def devices(source: Captures) -> dict[str, int]:
    """By file, the file of the interface that its own is."""
    for _ in source:  # type: ignore[attr-defined]
        pass
    names, interfaces = source.names, source.interfaces
    found = {}
    for n, each in enumerate(interfaces):
        found[Path(names[each.file]).stem] = interfaces[source.device(n)].file
    return dict(sorted(found.items()))


CASES: dict[str, tuple[dict[str, tuple[float, float]], dict[str, int]]] = {
    "a ring": ({"a_1": (0, 100), "a_2": (100, 200), "a_3": (201, 300)}, {"a_1": 0, "a_2": 0, "a_3": 0}),
    "queues late at the seam": ({"a_1": (0, 100), "a_2": (95, 200)}, {"a_1": 0, "a_2": 0}),
    "two ports": ({"m0": (0, 100), "m1": (5, 90)}, {"m0": 0, "m1": 1}),
    "two ports of short captures": ({"m0": (0, 4), "m1": (2, 8)}, {"m0": 0, "m1": 1}),
    "two rings": (
        {"a_1": (0, 100), "a_2": (101, 200), "b_1": (10, 100.5), "b_2": (102, 205)},
        {"a_1": 0, "a_2": 0, "b_1": 2, "b_2": 2},
    ),
    "named in any order": ({"z": (101, 200), "a": (0, 100)}, {"a": 1, "z": 1}),
}


@pytest.mark.parametrize("name", [None, "eth0"])
@pytest.mark.parametrize("reader", [Source, Blocks])
@pytest.mark.parametrize("case", CASES)
def test_trial_a3_files_that_overlap_are_two_interfaces_and_pieces_of_a_ring_one(
    tmp_path: Path, case: str, reader: type[Captures], name: str | None
) -> None:
    files, expected = CASES[case]
    paths = [written(tmp_path / f"{stem}.cap", frames(*span), name) for stem, span in files.items()]
    assert devices(reader(paths)) == expected
    for path in paths:  # compressed, too
        Path(path).write_bytes(gzip.compress(Path(path).read_bytes()))
    assert devices(reader(paths)) == expected


def test_pipes_are_interfaces_of_their_own(tmp_path: Path) -> None:
    path = written(tmp_path / "a.pcap", frames(0, 10))
    piped = io.BytesIO(Path(written(tmp_path / "b.pcap", frames(20, 30))).read_bytes())
    assert devices(Source([path, "-"], stdin=piped)) == {"-": 1, "a": 0}


@pytest.mark.parametrize("reader", [Source, Blocks])
def test_sections_of_a_file_follow_each_other_unless_they_overlap(tmp_path: Path, reader: type[Captures]) -> None:
    one, two, beside = (
        Path(written(tmp_path / f"{n}", frames(*span), "eth0")).read_bytes()
        for n, span in enumerate([(0, 100), (100, 200), (5, 90)])
    )
    file = tmp_path / "sections.pcapng"
    for parts, expected in (((one, two), [0, 0]), ((one, beside), [0, 1])):
        file.write_bytes(b"".join(parts))
        source = reader([str(file)])
        for _ in source:  # type: ignore[attr-defined]
            pass
        assert [source.device(n) for n in range(2)] == expected


def test_an_interface_goes_by_its_name_or_by_its_id_and_by_its_link_type() -> None:
    names = [("eth0", 0), (None, 0), ("eth1", 1), ("eth0", 3), (None, 0), (None, 1)]
    source = Source(["-"], stdin=io.BytesIO())
    source.interfaces += [SourceInterface(0, 0, number, name, 1) for name, number in names]
    source.interfaces.append(SourceInterface(0, 0, 0, "eth0", 113))
    assert [source.device(n) for n in range(len(names) + 1)] == [0, 1, 2, 0, 1, 5, 6]


@pytest.mark.parametrize("name", [None, "eth0"])
def test_of_a_long_file_first_and_last_time_are_known_without_reading_it(
    tmp_path: Path, name: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rxtls.capture.devices import spans

    each = frames(0, 3000, 30_000)
    path = written(tmp_path / "long", each, name)
    whole = spans(path, walk, 1 << 30)
    assert whole == [(each[0].time_ns, each[-1].time_ns)]
    monkeypatch.setattr("rxtls.capture.devices.WHOLE", 1 << 20)
    monkeypatch.setattr("rxtls.capture.devices.read", None)
    assert spans(path, walk, 1 << 30) == whole


def test_what_cannot_be_read_has_no_span(tmp_path: Path) -> None:
    from rxtls.capture.devices import spans

    empty, noise = tmp_path / "empty", tmp_path / "noise"
    empty.touch()
    noise.write_bytes(bytes(range(256)) * 10)
    for path in (empty, noise, tmp_path / "none", tmp_path):
        assert spans(str(path), walk, 1 << 30) == []


# A whole run: one failover, captured in three ways.


def failover(tmp_path: Path) -> tuple[dict[str, list[str]], str]:
    """Packets move from mlx0 to mlx1 and back: as one pcapng, as two pcaps, and as two pcapngs that both say eth0."""
    talked = replays.download(5, (4000,) * 60)
    frames = [frame._replace(interface=n // 30 % 2) for n, frame in enumerate(talked.frames)]
    ports = [[frame for frame in frames if frame.interface == n] for n in (0, 1)]
    alone = [[frame._replace(interface=0) for frame in port] for port in ports]
    return {
        "one": [str(replays.pcapng(tmp_path, frames, ["mlx0", "mlx1"]))],
        "two": [written(tmp_path / f"m{n}.pcap", port) for n, port in enumerate(alone)],
        "eth0": [written(tmp_path / f"e{n}.pcapng", port, "eth0") for n, port in enumerate(alone)],
    }, str(replays.keys(tmp_path, talked))


TREE = """
[interfaces.mlx0]
capture = [{0}]
[interfaces.mlx1]
capture = [{1}]
[interfaces.lagg0]
lagg = "failover"
ports = ["mlx0", "mlx1"]
[[routes]]
to = "0.0.0.0/0"
interface = "lagg0"
"""


@pytest.mark.parametrize("engine", ["plain", "compiled"])
def test_trial_a3_a_failover_is_the_same_from_one_file_and_from_one_of_each_port(tmp_path: Path, engine: str) -> None:
    ways, keys = failover(tmp_path)
    told = {}
    for way, captures in ways.items():
        done = replays.replay(captures, keys, engine=engine)
        received = done.received()
        told[way] = received["records"], received["resync"]["receive_tag_resets"]
    assert told["one"][1] > 0
    assert told["two"] == told["eth0"] == told["one"]


@pytest.mark.parametrize("engine", ["plain", "compiled"])
def test_trial_a3_the_interfaces_file_finds_captures_by_number_and_by_name(tmp_path: Path, engine: str) -> None:
    ways, keys = failover(tmp_path)
    file = tmp_path / "host.toml"
    file.write_text(TREE.format(0, 1))
    wanted = replays.replay(ways["one"], keys, engine=engine, interfaces=str(file))
    resets = wanted.received()["resync"]["receive_tag_resets"]
    assert resets > 0
    tried: dict[str, list[tuple[object, object]]] = {
        "two": [(0, 1), ('"m0.pcap"', '"m1.pcap"'), ('{ file = "m0.*" }', '{ file = "m1.pcap", id = 0 }')],
        "eth0": [('"e0.pcapng"', '{ file = "e1.pcapng", name = "eth0" }')],
        "one": [('{ name = "mlx0" }', "{ id = 1 }"), ("{ section = 0, id = 0 }", "1")],
    }
    for way, names in tried.items():
        for each in names:
            file.write_text(TREE.format(*each))
            done = replays.replay(ways[way], keys, engine=engine, interfaces=str(file))
            assert done.received()["records"] == wanted.received()["records"], each
            assert done.received()["resync"]["receive_tag_resets"] == resets
            assert {each["port"] for each in done.summary["interfaces"]} == {"mlx0", "mlx1"}
            changes = done.received()["path_changes"]["list"]
            assert [(change["from"], change["to"]) for change in changes][:2] == [("mlx0", "mlx1"), ("mlx1", "mlx0")]


@pytest.mark.parametrize("engine", ["plain", "compiled"])
def test_pieces_of_a_ring_are_the_port_that_names_the_first(tmp_path: Path, engine: str) -> None:
    talked = replays.download(7)
    half = len(talked.frames) // 2
    parts = talked.frames[:half], talked.frames[half:]
    pieces = [written(tmp_path / f"ring_{n}.pcap", part) for n, part in enumerate(parts)]
    file = tmp_path / "host.toml"
    file.write_text('[interfaces.mlx0]\ncapture = ["ring_0.pcap"]\n[[routes]]\nto = "0.0.0.0/0"\ninterface = "mlx0"\n')
    done = replays.replay(pieces, str(replays.keys(tmp_path, talked)), engine=engine, interfaces=str(file))
    assert [(each["port"], each["same_as"]) for each in done.summary["interfaces"]] == [("mlx0", 0), ("mlx0", 0)]
    assert done.summary["flows"][0]["interfaces"] == [0, 1]
    received = done.received()
    assert (received["resync"]["receive_tag_resets"], received["records"]["encrypted"]) == (0, 0)
    assert received["offload"] == "ifnet"


def test_an_interface_that_two_ports_name_is_an_error(tmp_path: Path) -> None:
    talked = replays.download(7)
    capture = replays.pcap(tmp_path, talked.frames)
    file = tmp_path / "host.toml"
    file.write_text('[interfaces.a]\ncapture = ["*.pcap"]\n[interfaces.b]\ncapture = [{ id = 0 }]\n')
    with pytest.raises(UsageError, match=r"interface 0 of .*pcap is both a and b"):
        replays.replay(capture, interfaces=str(file))
