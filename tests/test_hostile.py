"""Hostile input: captures, packets, TLS and key logs that somebody damaged on purpose, and a command used in anger.

The cases are those of tools/fuzz.py, of which a short share runs here. Beside them stand the inputs that cost more than
they weigh: steps are counted there, not time, because the square of an input shows in any count.
"""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

import hostile_case
from hostile_case import STAGES, WrongError
from hostile_frames import ACK, SYN, Piece, Seen, frames_of, pcap, pcapng, take_apart
from hostile_packets import MUTATORS
from hostile_samples import REAL, samples
from rxtls.capture.frames import CALL_BYTES
from rxtls.capture.source import Source
from rxtls.cli import app as cli
from rxtls.errors import UsageError
from rxtls.run.options import ReplayOptions
from rxtls.run.replay import Replay
from rxtls.wire.packets import Address, Headers

SEED = 20
CASES = 300
CAPTURE = str(REAL / "hello-retry-request.pcap")
KEYS = str(REAL / "hello-retry-request.keys")


# The cases


@pytest.mark.parametrize("start", range(0, CASES, 50))
def test_hostile_cases(start: int) -> None:
    assert _run(start, 50)["capture"] > 25


def test_cases_reach_every_stage() -> None:
    """At least half of the cases arrive at engine and worker, or all this would test little more than parsers."""
    cases = [hostile_case.make(SEED + 1, number) for number in range(60)]
    assert sum(case.repaired for case in cases) > 40
    reached: Counter[str] = Counter()
    for case in cases:
        reached.update(hostile_case.run(case).stages)
    assert all(reached[stage] for stage in STAGES), reached
    assert reached["worker"] >= 30
    assert reached["engine"] >= 20


@pytest.mark.long
@pytest.mark.parametrize("start", range(1000, 6000, 500))
def test_many_hostile_cases(start: int) -> None:
    assert _run(start, 500)["engine"] > 150


def _run(start: int, count: int) -> Counter[str]:
    """Run cases of SEED; what a failing one did, and which one it is, is in what it raises."""
    reached: Counter[str] = Counter()
    for number in range(start, start + count):
        case = hostile_case.make(SEED, number)
        try:
            reached.update(hostile_case.run(case).stages)
        except BaseException as error:
            error.add_note(hostile_case.describe(case))
            raise
    return reached


# The harness itself


def test_a_case_depends_on_its_number_alone() -> None:
    assert hostile_case.make(1, 5) == hostile_case.make(1, 5)
    assert hostile_case.make(1, 5).captures != hostile_case.make(1, 6).captures


def test_taking_apart_and_assembling_changes_nothing() -> None:
    simulated = [sample for sample in samples() if ".pcap" not in sample.name]  # all of whose checksums are right
    for sample in simulated:
        for piece, frame in zip(sample.pieces, frames_of(sample.raw), strict=True):
            assert frame.data.startswith(piece.assemble().data)  # but for Ethernet's padding
            assert take_apart(piece.assemble()) == piece


@pytest.mark.parametrize("mutator", MUTATORS, ids=lambda mutator: mutator.__name__)
def test_every_mutator_changes_something(mutator: Callable[[list[Piece], Random], None]) -> None:
    for seed in range(20):
        pieces = list(samples()[0].pieces)
        mutator(pieces, Random(seed))
        if pieces != list(samples()[0].pieces):
            return
    pytest.fail("never")


def test_checks_can_fail() -> None:
    case = next(c for c in (hostile_case.make(SEED, n) for n in range(500)) if c.level == "untouched" and c.truth)
    case = replace(case, options={"settings": {}}, stdin=False, differential="")
    assert "worker" in hostile_case.run(case).stages
    with pytest.raises(WrongError, match="not authentic"):
        hostile_case.run(replace(case, truth=([(23, b"never sent")],)))


def test_the_smallest_failing_case_is_found() -> None:
    case = next(c for c in (hostile_case.make(SEED, n) for n in range(500)) if c.level == "packets")
    wanted = frames_of(case.captures[0])[7].data
    least = hostile_case.smaller(case, lambda c: any(f.data == wanted for d in c.captures for f in frames_of(d)))
    assert {frame.data for frame in frames_of(least.captures[0])} == {wanted}
    assert least.options == {"settings": {}}


# Inputs that cost more than they weigh


def steps(capture: bytes) -> tuple[int, Replay]:
    """Function calls that a run over `capture` takes, C functions included."""
    counted = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal counted
        counted += event in ("call", "c_call")

    run = Replay(["-"], [], ReplayOptions(), stdin=BytesIO(capture))
    before = sys.getprofile()
    sys.setprofile(count)
    try:
        for _record in run:
            pass
        summary = run.summary()
    finally:
        sys.setprofile(before)
    assert summary["balance"] == 0
    return counted, run


def frame(headers: Headers, n: int, seq: int, flags: int = ACK, payload: bytes = b"") -> Seen:
    return Seen(10**18 + 1000 * n, 0, 1, 0, headers.frame(seq, 0, flags, 65535, payload))


def one_flow(segments: Iterator[tuple[int, bytes]]) -> bytes:
    headers = Headers(Address("192.0.2.1", 40000), Address("198.51.100.1", 443))
    frames = [frame(headers, 0, 0, SYN)]
    frames += [frame(headers, 1 + n, 1 + at, payload=data) for n, (at, data) in enumerate(segments)]
    return pcap(frames)


def trickle(stream: bytes) -> Iterator[tuple[int, bytes]]:
    return ((at, stream[at : at + 1]) for at in range(len(stream)))


def holes(count: int) -> Iterator[tuple[int, bytes]]:
    places = list(range(2, 2 * count, 2))
    Random(0).shuffle(places)
    return ((at, b"x") for at in places)


def aggregates(count: int) -> bytes:
    """An MSS of 1 cuts each frame into hundreds of segments, all of one connection at budget 1, in one call."""
    headers = Headers(Address("192.0.2.1", 40000), Address("198.51.100.1", 443))
    size = 12_000
    frames = [frame(headers, 0, 0, SYN)]
    frames += [frame(headers, 1 + n, 1 + n * size, payload=b"x" * size) for n in range(count // 100)]
    return pcap(frames)


def syns(count: int) -> bytes:
    servers = Address("198.51.100.1", 443)
    return pcap(
        [
            frame(Headers(Address(f"10.0.{n >> 8}.{n & 255}", 40000), servers), n, n * 1_000_003, SYN)
            for n in range(count)
        ]
    )


def reused(count: int) -> bytes:
    headers = Headers(Address("192.0.2.1", 40000), Address("198.51.100.1", 443))
    return pcap([frame(headers, n, n * 1_000_003, SYN) for n in range(count)])


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(syns, id="a SYN each of many connections"),
        pytest.param(reused, id="one 4-tuple reused by every packet"),
        pytest.param(lambda n: one_flow(trickle(b"\x16" * n)), id="no TLS, byte by byte"),
        pytest.param(
            lambda n: one_flow(trickle(b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc" + bytes(n))), id="a hello byte by byte"
        ),
        pytest.param(lambda n: one_flow(holes(n)), id="every other byte"),
        pytest.param(aggregates, id="aggregates cut into the smallest segments"),
    ],
)
def test_cost_grows_with_the_input_and_not_with_its_square(make: Callable[[int], bytes]) -> None:
    small, large = steps(make(500))[0], steps(make(2000))[0]
    # Four times the input: a square would be near 16. Frames of one call are a square of at most a call's 1024.
    assert large < 8 * small


def test_a_bomb_of_zeros_stops_at_its_bound() -> None:
    packed = gzip.compress(pcap([]) + bytes(4 << 20), mtime=0)
    source = Source(["-"], stdin=BytesIO(packed), max_decompressed=1 << 20)
    frames = sum(1 for _ in source)
    assert frames < 1 << 20
    assert "decompresses to more than" in str(source.errors[0])


@pytest.mark.parametrize("length", [1 << 20 | 1, 1 << 31, 0xFFFFFFFF])
def test_absurd_lengths_end_a_capture_and_cost_no_memory(length: int) -> None:
    good = pcap([Seen(1, 0, 1, 0, bytes(60))])
    before = hostile_case.peak_memory()
    for capture in (
        good + b"\1\0\0\0\0\0\0\0" + length.to_bytes(4, "little") * 2 + bytes(50),
        pcapng([Seen(1, 0, 1, 0, bytes(60))]) + b"\6\0\0\0" + (length & ~3).to_bytes(4, "little") + bytes(50),
    ):
        source = Source(["-"], stdin=BytesIO(capture))
        assert len(list(source)) == 1
        assert len(source.errors) == 1
    assert hostile_case.peak_memory() - before < 64 << 20


def test_the_largest_frames_are_not_held_all_at_once() -> None:
    """Frames of 1 MiB compress to a thousandth: 1024 of them in one call would be a gigabyte."""
    frames = (b"\1\0\0\0\0\0\0\0" + (1 << 20).to_bytes(4, "little") * 2 + bytes(1 << 20)) * 100
    packed = gzip.compress(pcap([]) + frames, compresslevel=1, mtime=0)
    run = Replay(["-"], [], ReplayOptions(), stdin=BytesIO(packed))
    calls: list[int] = [0]  # bytes taken until then
    assert list(run.walk(lambda now: calls.append(now.captured_bytes))) == []
    assert run.frames == 100
    assert max(after - before for before, after in pairwise(calls)) < CALL_BYTES + (1 << 20)


@pytest.mark.parametrize("size", [0, -1])
def test_a_call_takes_at_least_one_frame(size: int) -> None:
    with pytest.raises(UsageError, match="call_size"):
        Replay([CAPTURE], [], ReplayOptions(call_size=size))


# The command


def command(*arguments: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit status of `rxtls` with these arguments."""
    monkeypatch.setattr(sys, "argv", ["rxtls", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return end.value.code if isinstance(end.value.code, int) else 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.pcap"], "missing.pcap: No such file"),
        (["directory"], "directory: is a directory"),
        (["empty"], "empty: not even a capture's file header"),
        (["junk"], "not a capture"),
        (["absurd"], "a frame of 4294967295 captured bytes"),
        (["cut.gz"], "truncated"),
        (["-", "-"], "only once"),
        ([CAPTURE, "--keys", "missing.keys"], "missing.keys: No such file"),
        ([CAPTURE, "--keys", "directory"], "directory: Is a directory"),
        ([CAPTURE, "--set", "nonsense"], "NAME=VALUE"),
        ([CAPTURE, "--set", "nonsense=1"], "no setting 'nonsense'"),
        ([CAPTURE, "--set", "budget=0"], "budget is a whole number"),
        ([CAPTURE, "--set", "budget=\u00b2"], "budget is a whole number"),
        ([CAPTURE, "--set", "install=soon"], "install is PACKETS"),
        ([CAPTURE, "--filter", "nonsense(("], "filter: column 1"),
        ([CAPTURE, "--filter", "(" * 9000], "inside each other"),
        ([CAPTURE, "--filter", "not " * 9000 + "ip"], "inside each other"),
        ([CAPTURE, "--profile", "nonsense"], "no profile"),
        ([CAPTURE, "--policy", "nonsense"], "no policy"),
        ([CAPTURE, "--receiver", "nonsense"], "receiver is"),
        ([CAPTURE, "--vantage", "nonsense"], "vantage is"),
        ([CAPTURE, "--checksum", "nonsense"], "checksum is"),
        ([CAPTURE, "--resegment", "1"], "resegment"),
        ([CAPTURE, "--engine", "nonsense"], "engine is"),
        ([CAPTURE, "--json", "missing/x.json"], "missing/x.json: No such file"),
        ([CAPTURE, "--json", "directory"], "directory: Is a directory"),
        ([CAPTURE, "--keys", KEYS, "--streams", "empty"], "empty: File exists"),
    ],
)
def test_one_clear_line_and_status_2(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "directory").mkdir()
    (tmp_path / "empty").touch()
    (tmp_path / "junk").write_bytes(Random(0).randbytes(2000))
    (tmp_path / "absurd").write_bytes(pcap([]) + b"\xff" * 16)
    (tmp_path / "cut.gz").write_bytes(gzip.compress(Path(CAPTURE).read_bytes(), mtime=0)[:3000])
    assert command("replay", *arguments, "--quiet", monkeypatch=monkeypatch) == 2
    told = capsys.readouterr().err
    assert message in told
    assert re.fullmatch(r"rxtls: [^\n]+\n", told)


def test_junk_for_a_key_log_is_told_line_by_line_and_nothing_is_decrypted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "junk").write_bytes(Random(0).randbytes(20_000))
    status = command("replay", CAPTURE, "--keys", str(tmp_path / "junk"), "--quiet", monkeypatch=monkeypatch)
    told = capsys.readouterr().err.splitlines()
    assert status == 1
    assert 0 < len(told) <= 30
    assert all(line.isprintable() for line in told)


@pytest.mark.parametrize("arguments", [["counters"], ["replay", CAPTURE, "--keys", KEYS, "--json", "-"]])
def test_a_reader_that_goes_away_gets_no_traceback(arguments: list[str]) -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", "from rxtls.cli.app import main; main()", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert program.stdout is not None
    assert program.stderr is not None
    program.stdout.close()
    assert program.stderr.read() == b""
    program.wait()


def test_records_of_one_receiver_keep_their_order_where_some_came_in_bulk() -> None:
    """An object's place counted the rows of both directions, and stood behind a later row of its own."""
    shown = hostile_case.run(hostile_case.make(20, 2557))
    assert shown is not None
