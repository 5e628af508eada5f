"""Plaintext files: what stands in them, what they are called, and that nothing is written anywhere else."""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import replays
import rxtls
from replays import Talked, download
from rxtls.errors import UsageError
from rxtls.run import streams
from rxtls.run.streams import MAX_OPEN, Streams
from rxtls.simulation.link import Address
from rxtls.simulation.synth import Session

REAL = Path(__file__).parents[1] / "data" / "real"
SAFE = re.compile(r"flow-\d+-[0-9a-f.]+-[0-9a-f.]+-to-(server|client)\.bin")


@pytest.fixture(scope="module")
def plain() -> Talked:
    return download(1)


def write(run: rxtls.Replay, folder: Path) -> None:
    writer = Streams(folder)
    for record in run:
        writer.write(run.path.flows[record.flow], record)
    writer.close()


def run_of(folder: Path, *talked: Talked, **options: Any) -> rxtls.Replay:
    frames = sorted((frame for each in talked for frame in each.frames), key=lambda frame: frame.time_ns)
    return rxtls.replay(replays.pcap(folder, frames), replays.keys(folder, *talked), **options)


def test_files_hold_the_application_data_of_each_direction(tmp_path: Path, plain: Talked) -> None:
    write(run_of(tmp_path, plain), tmp_path / "out")
    written = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert written == {
        f"flow-0-192.0.2.1.40000-198.51.100.1.443-to-{host}.bin": plain.wanted(host) for host in ("server", "client")
    }


def test_only_modelled_directions_are_written(tmp_path: Path, plain: Talked) -> None:
    write(run_of(tmp_path, plain, receiver="client"), tmp_path / "out")
    assert [path.name.rpartition("-")[2] for path in (tmp_path / "out").iterdir()] == ["client.bin"]


def test_early_data_stand_first(tmp_path: Path) -> None:
    run = rxtls.replay(REAL / "early-data-accepted.pcap", REAL / "early-data-accepted.keys")
    writer = Streams(tmp_path)
    wanted: dict[tuple[int, str], bytes] = {}
    early = 0
    for record in run:
        writer.write(run.path.flows[record.flow], record)
        if record.type == 23 and record.data:
            key = record.flow, record.receiver
            wanted[key] = wanted.get(key, b"") + record.data
            early += record.early_data
    writer.close()
    assert early
    assert sorted(path.read_bytes() for path in tmp_path.iterdir()) == sorted(wanted.values())


def test_names_are_safe_whatever_the_peers_say(tmp_path: Path) -> None:
    rude = replays.begin(3, Session(replays.GCM13.suite, sni="../../etc/passwd", alpn="/tmp/x"))
    rude.request([b"x"], [b"../../y"])
    six = download(4, (10,), client=Address("2001:db8::1", 1), server=Address("::ffff:192.0.2.1", 443))
    write(run_of(tmp_path, replays.carry(rude), six), tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert len(names) == 4
    assert all(SAFE.fullmatch(name) for name in names), names
    assert len({name.lower() for name in names}) == 4


def test_generations_of_a_tuple_have_files_of_their_own(tmp_path: Path) -> None:
    run = rxtls.replay(REAL / "reused-4-tuple.pcap", REAL / "reused-4-tuple.keys")
    write(run, tmp_path)
    sizes = sorted(path.stat().st_size for path in tmp_path.iterdir())
    summary = run.summary()
    assert sizes == sorted(
        received["app_bytes"]
        for flow in summary["flows"]
        for received in flow["receive"].values()
        if received["app_bytes"]
    )


def test_a_file_of_an_earlier_run_is_overwritten(tmp_path: Path, plain: Talked) -> None:
    for _ in range(2):
        write(run_of(tmp_path, plain), tmp_path / "out")
    for host in ("server", "client"):
        path = tmp_path / "out" / f"flow-0-192.0.2.1.40000-198.51.100.1.443-to-{host}.bin"
        assert path.read_bytes() == plain.wanted(host)
        assert path.stat().st_mode & 0o077 == 0  # plaintext is for its owner


@pytest.fixture
def few_files() -> Iterator[int]:
    """So few file descriptors that one for each direction would not do."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/proc/self/fd"))
    room = max(int(fd) for fd in os.listdir("/proc/self/fd")) + 12
    resource.setrlimit(resource.RLIMIT_NOFILE, (room, limits[1]))
    yield room - used
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_more_directions_than_files_may_be_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few_files: int
) -> None:
    monkeypatch.setattr(streams, "MAX_OPEN", 5)
    talked = [download(50 + n, (700,) * 4, client=replays.client_at(40000 + n)) for n in range(12)]
    assert MAX_OPEN < 1024
    write(run_of(tmp_path, *talked), tmp_path / "out")
    written = sorted(path.read_bytes() for path in (tmp_path / "out").iterdir())
    assert written == sorted(each.wanted(host) for each in talked for host in ("server", "client"))
    assert len(written) == 24


def test_a_directory_is_made_with_its_parents(tmp_path: Path, plain: Talked) -> None:
    write(run_of(tmp_path, plain), tmp_path / "a" / "b" / "c")
    assert len(list((tmp_path / "a" / "b" / "c").iterdir())) == 2


def test_a_directory_that_cannot_be_made_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/nowhere"), tmp_path / "nul\0"):
        with pytest.raises(UsageError) as caught:
            Streams(name)
        assert "\n" not in str(caught.value)


def test_a_link_planted_under_a_streams_name_is_not_followed(tmp_path: Path, plain: Talked) -> None:
    (tmp_path / "out").mkdir()
    precious = tmp_path / "precious"
    precious.write_text("keep me")
    name = "flow-0-192.0.2.1.40000-198.51.100.1.443-to-client.bin"
    (tmp_path / "out" / name).symlink_to(precious)
    with pytest.raises(UsageError) as caught:
        write(run_of(tmp_path, plain), tmp_path / "out")
    assert name in str(caught.value)
    assert precious.read_text() == "keep me"


def test_a_pipe_planted_under_a_streams_name_does_not_stop_the_run(tmp_path: Path, plain: Talked) -> None:
    (tmp_path / "out").mkdir()
    name = "flow-0-192.0.2.1.40000-198.51.100.1.443-to-client.bin"
    os.mkfifo(tmp_path / "out" / name)
    with pytest.raises(UsageError) as caught:
        write(run_of(tmp_path, plain), tmp_path / "out")
    assert name in str(caught.value)


@pytest.mark.parametrize("place", ["write", "close"])
def test_a_full_disk_is_a_usage_error(
    tmp_path: Path, plain: Talked, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    opened = os.open
    full = os.open("/dev/full", os.O_WRONLY)

    def on_a_full_disk(path: str | Path, flags: int, mode: int = 0o777) -> int:
        os.close(opened(path, flags, mode))
        return os.dup(full)

    talked = download(60, (100,)) if place == "close" else plain
    run = run_of(tmp_path, talked, receiver="client")
    monkeypatch.setattr(os, "open", on_a_full_disk)
    with pytest.raises(UsageError, match="No space left"):
        write(run, tmp_path / "out")
    monkeypatch.undo()
    os.close(full)


def write_all(writer: Streams, run: rxtls.Replay, records: list[rxtls.Record]) -> None:
    for record in records:
        writer.write(run.path.flows[record.flow], record)


def test_what_several_write_is_said_by_the_name_of_the_folder_that_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open
    full = os.open("/dev/full", os.O_WRONLY)

    def on_a_full_disk(path: str | Path, flags: int, mode: int = 0o777) -> int:
        os.close(opened(path, flags, mode))
        return os.dup(full)

    (tmp_path / ".hidden").mkdir()
    run = run_of(tmp_path, download(60, (16_384,) * 6), receiver="client")
    records = list(run)
    writer = Streams(tmp_path / "out", shared=tmp_path / ".hidden")
    monkeypatch.setattr(os, "open", on_a_full_disk)
    with pytest.raises(UsageError, match=f"^{tmp_path / 'out'}: No space left"):
        write_all(writer, run, records)
    monkeypatch.undo()
    writer.drop()
    os.close(full)
    assert (tmp_path / ".hidden").is_dir(), "who made it has to gather from it"


@pytest.mark.parametrize("session", [replays.GCM13, replays.CHACHA13, replays.GCM12], ids=["1.3", "chacha", "1.2"])
def test_gaps_are_skipped_filled_or_the_end(tmp_path: Path, session: Session) -> None:
    """Filled with zeros, everything is where it would be in a whole file."""
    whole = download(31, (1000,) * 80, session)
    data = [n for n, frame in enumerate(whole.frames) if len(replays.payload(frame)) > 1000 and n > 20]
    lost = {data[5], data[20], data[21], data[22]}
    left = replace(whole, frames=[frame for n, frame in enumerate(whole.frames) if n not in lost])
    found = {}
    for gaps in ("skip", "zero", "stop"):
        run = run_of(tmp_path, left)
        writer = Streams(tmp_path / gaps, gaps=gaps)
        for record in run:
            writer.write(run.path.flows[record.flow], record)
        writer.close()
        (path,) = (tmp_path / gaps).glob("*-to-client.bin")
        found[gaps] = path.read_bytes()
    wanted = whole.wanted("client")
    assert len(found["zero"]) == len(wanted)
    different = [n for n in range(len(wanted)) if found["zero"][n] != wanted[n]]
    assert all(found["zero"][n] == 0 for n in different)
    assert 0 < len(wanted) - len(found["skip"]) <= 8 * 1000
    assert found["skip"] == b"".join(
        wanted[n : n + 1000] for n in range(0, len(wanted), 1000) if any(found["zero"][n : n + 1000])
    )
    assert wanted.startswith(found["stop"])
    assert 0 < len(found["stop"]) < len(found["skip"])


def test_gaps_are_one_of_three(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="gaps is 'skip', 'zero', 'stop', not 'fill'"):
        Streams(tmp_path, gaps="fill")
