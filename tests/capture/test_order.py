"""Captures that are not in order of time: read as if they were, each frame under its own number."""

from __future__ import annotations

import gzip
import io
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rxtls
from capture_blocks import NANOSECONDS, enhanced, interface, option, pcap_frame, pcap_header, secrets, section
from rxtls.capture import order
from rxtls.capture.blocks import Blocks
from rxtls.capture.captures import SecretsFound, TickFound
from rxtls.capture.source import Source, SourceFrame
from rxtls.path.engines import why_not_compiled

ROOT = Path(__file__).parents[2]
SECOND = 1_000_000_000
ENGINES = ["plain"] + ([] if why_not_compiled() else ["compiled"])

Timed = tuple[int, bytes]  # a frame: ns, its bytes
Seen = list[tuple[int, bytes, int]]  # ns, bytes, number


def pcap(frames: Sequence[Timed]) -> bytes:
    return pcap_header(magic=NANOSECONDS) + b"".join(pcap_frame(data, *divmod(ns, SECOND)) for ns, data in frames)


def pcapng(frames: Sequence[Timed]) -> bytes:
    return section() + interface(options=option(9, b"\x09")) + b"".join(enhanced(data, ns) for ns, data in frames)


def seen(path: Path, engine: str, **options: Any) -> Seen:
    """What is read of a file, by time, with numbers."""
    if engine == "plain":
        items = Source([path], by_time=True, **options)
        return [
            (each.time_ns, each.data, each.number) for each in items if not isinstance(each, SecretsFound | TickFound)
        ]
    found: Seen = []
    source = Blocks([path], by_time=True, **options)
    for block in source:
        assert not isinstance(block, SecretsFound | TickFound)
        for index, ns, _, _, _, at, length, _ in block.table.tolist():
            found.append((ns, block.data[at : at + length].tobytes(), source.places.find(index)[1]))
    return found


def frames_of(path: Path) -> list[Timed]:
    """The frames of one of the examples."""
    return [(each.time_ns, each.data) for each in Source([path]) if not isinstance(each, SecretsFound | TickFound)]


@pytest.mark.parametrize("engine", ENGINES)
@given(st.lists(st.integers(0, 50_000_000), max_size=40), st.booleans(), st.integers(0, 9))
def test_small_files_come_in_order_each_frame_under_its_number(
    engine: str, tmp_path_factory: pytest.TempPathFactory, times: list[int], ng: bool, cut: int
) -> None:
    """Against Python's own stable sort. What is cut off at the end is said as it would be anyway."""
    frames = [(ns, n.to_bytes(2) * (n % 7 + 1)) for n, ns in enumerate(times)]
    data = (pcapng if ng else pcap)(frames)
    path = tmp_path_factory.getbasetemp() / f"any-{engine}"
    path.write_bytes(data[: len(data) - cut] if len(frames) > 1 else data)
    last = [] if cut and frames[1:] else frames[-1:]
    expected = sorted(
        ((ns, data, n + 1) for n, (ns, data) in enumerate([*frames[:-1], *last])), key=lambda each: each[0]
    )
    assert seen(path, engine) == expected
    source = Source([path], by_time=True)
    assert len(list(source)) == len(expected)
    assert source.bytes_read == source.total_bytes


@pytest.mark.parametrize("engine", ENGINES)
def test_sections_appended_in_the_wrong_order(tmp_path: Path, engine: str) -> None:
    """Blocks of one section stay among themselves, its secrets and interfaces before its frames."""
    late = section(">") + interface(101, order=">") + enhanced(b"d", 9, order=">") + enhanced(b"c", 8, order=">")
    early = section() + interface(options=option(2, b"eth0")) + enhanced(b"b", 3) + secrets(b"KEYS") + enhanced(b"a", 2)
    path = tmp_path / "sections"
    path.write_bytes(late + section() + early)
    assert seen(path, engine) == [(2000, b"a", 4), (3000, b"b", 3), (8000, b"c", 2), (9000, b"d", 1)]
    assert Source([path], by_time=True).secrets == [b"KEYS"]


def test_several_files_of_which_some_are_out_of_order(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(pcap([(ns, b"1") for ns in (50, 60, 10, 20)]))
    two.write_bytes(pcap([(ns, b"2") for ns in (15, 55)]))
    source = Source([two, one], by_time=True)
    assert [(each.time_ns, each.file, each.number) for each in source if isinstance(each, SourceFrame)] == [
        (10, 1, 3), (15, 0, 1), (20, 1, 4), (50, 1, 1), (55, 0, 2), (60, 1, 2),
    ]  # fmt: skip


def ordered(frames: list[Timed], _dice: random.Random) -> list[Timed]:
    return frames


def halves(frames: list[Timed], _dice: random.Random) -> list[Timed]:
    return frames[len(frames) // 2 :] + frames[: len(frames) // 2]


def thirds(frames: list[Timed], _dice: random.Random) -> list[Timed]:
    third = len(frames) // 3
    return frames[third : 2 * third] + frames[:third] + frames[2 * third :]


def queues(frames: list[Timed], dice: random.Random) -> list[Timed]:
    return sorted(frames, key=lambda each: each[0] + dice.randrange(5_000_000))


def set_back(frames: list[Timed], _dice: random.Random) -> list[Timed]:
    return [(ns - 2 * SECOND * (n > len(frames) // 2), data) for n, (ns, data) in enumerate(frames)]


def same(summary: dict[str, Any]) -> dict[str, Any]:
    """A summary without what is the file's."""
    left = {
        key: value for key, value in summary.items() if key not in ("captures", "wall_seconds", "order", "interfaces")
    }
    left["flows"] = [
        {key: value for key, value in flow.items() if key not in ("start_frame", "end_frame")} for flow in left["flows"]
    ]
    return left


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("wrong", [halves, thirds, queues])
@pytest.mark.parametrize("example", ["loss-tls13-chacha20", "reorder-tls12-aes128cbc-sha256"])
def test_results_are_those_of_the_ordered_file(
    tmp_path: Path, example: str, wrong: Callable[..., list[Timed]], engine: str
) -> None:
    whole = ROOT / "examples" / f"{example}.pcap"
    keys = whole.with_suffix(".keys")
    path = tmp_path / "wrong.pcap"
    path.write_bytes(pcap(wrong(frames_of(whole), random.Random(3))))
    runs = [rxtls.replay(each, keys, engine=engine, digest=True) for each in (whole, path)]
    records = [[(e.flow, e.receiver, e.number, e.data, e.record_class, e.time_ns) for e in run] for run in runs]
    assert records[0] == records[1]
    summaries = [run.summary() for run in runs]
    assert same(summaries[0]) == same(summaries[1])
    (said,) = summaries[1]["order"]["sorted"]
    assert said["file"] == str(path)
    assert said["late_frames"] > 100
    assert (summaries[0]["order"]["sorted"], summaries[1]["order"]["steps_back"]) == ([], 0)
    place = summaries[1]["flows"][0]["start_frame"]
    assert frames_of(path)[place["frame"] - 1] == frames_of(whole)[summaries[0]["flows"][0]["start_frame"]["frame"] - 1]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_clock_that_was_set_back_leaves_the_order_alone(tmp_path: Path, engine: str) -> None:
    """Where connections go on over the step."""
    whole = ROOT / "examples" / "loss-tls13-chacha20.pcap"
    path = tmp_path / "step.pcap"
    path.write_bytes(pcap(set_back(frames_of(whole), random.Random())))
    runs = [rxtls.replay(each, whole.with_suffix(".keys"), engine=engine) for each in (whole, path)]
    assert [[(e.flow, e.number, e.data) for e in run] for run in runs[:1]] == [
        [(e.flow, e.number, e.data) for e in run] for run in runs[1:]
    ]
    said = runs[1].summary()["order"]
    assert said["sorted"] == []
    assert said["steps_back"] == 1
    assert 1.9 < said["largest_step_seconds"] < 2


@pytest.mark.parametrize("ns", [1, 1 << 61])
def test_one_damaged_time_stamp_moves_nothing(tmp_path: Path, ns: int) -> None:
    whole = frames_of(ROOT / "examples" / "loss-tls13-chacha20.pcap")
    whole[600] = ns % (1 << 32) * SECOND if ns > 1 else ns, whole[600][1]
    path = tmp_path / "one.pcap"
    path.write_bytes(pcap(whole))
    assert [number for _, _, number in seen(path, "plain")] == list(range(1, len(whole) + 1))


def test_what_cannot_be_read_elsewhere_is_counted(tmp_path: Path) -> None:
    whole = ROOT / "examples" / "loss-tls13-chacha20.pcap"
    path = tmp_path / "packed.pcap.gz"
    data = pcap(halves(frames_of(whole), random.Random()))
    path.write_bytes(gzip.compress(data))
    for captures, stdin in (([path], None), (["-"], io.BytesIO(data))):
        run = rxtls.Replay(captures, [whole.with_suffix(".keys")], stdin=stdin)
        assert list(run)
        said = run.summary()["order"]
        assert (said["sorted"], said["steps_back"]) == ([], 1)
        assert 0.4 < said["largest_step_seconds"] < 0.5


def test_the_order_of_the_file_if_asked_for(tmp_path: Path) -> None:
    whole = ROOT / "examples" / "loss-tls13-chacha20.pcap"
    path = tmp_path / "halves.pcap"
    path.write_bytes(pcap(halves(frames_of(whole), random.Random())))
    run = rxtls.replay(path, whole.with_suffix(".keys"), order="file")
    assert list(run)
    said = run.summary()["order"]
    assert (said["by"], said["sorted"], said["shifted"], said["steps_back"]) == ("file", [], [], 1)
    assert said["largest_step_seconds"] == pytest.approx(0.43, abs=0.01)
    with pytest.raises(rxtls.errors.UsageError):
        rxtls.replay(path, order="name")


# Long files


@pytest.mark.parametrize("make", [pcap, pcapng])
@pytest.mark.parametrize("size", [60, 1500, 60_000])
def test_a_long_file_is_doubted_only_if_it_is_out_of_order(
    tmp_path: Path, make: Callable[[Sequence[Timed]], bytes], size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames of any bytes, over a day."""
    monkeypatch.setattr(order, "STRETCH", 1 << 18)
    count = (8 << 20) // size
    body = random.Random(size).randbytes(count * size)
    start = 1_700_000_000 * SECOND
    frames = [(start + n * 86_400 * SECOND // count, body[n * size : (n + 1) * size]) for n in range(count)]

    def doubted(wrong: Callable[..., list[Timed]]) -> bool:
        path = tmp_path / "long"
        path.write_bytes(make(wrong(frames, random.Random(1))))
        with open(path, "rb", buffering=0) as file:
            return order.doubtful(file, path.stat().st_size)

    assert not doubted(ordered)
    assert doubted(halves)
    assert doubted(thirds)
    assert doubted(
        lambda all_, dice: sorted(all_, key=lambda each: each[0] + dice.randrange(86_400 * SECOND * 3 // count))
    )


def test_a_long_file_in_order_is_not_walked_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "WHOLE", 1000)
    monkeypatch.setattr(order, "STRETCH", 500)
    path = tmp_path / "long"
    frames = [((1_700_000_000 + n) * SECOND, random.Random(n).randbytes(20)) for n in range(500)]
    walked: list[int] = []

    def walk(*_: Any) -> int:
        walked.append(1)
        raise OSError

    for each in (frames, halves(frames, random.Random())):
        path.write_bytes(pcap(each))
        with open(path, "rb", buffering=0) as file:
            assert order.order_of(file, path.stat().st_size, walk) is None
    assert walked == [1]
