"""What comes back of a capture that lacks something: `make holes`.

    python tools/holes.py [CAPTURE ...] [--seeds N] [--engine E] [--log N,...]

From each capture frames are taken away: k at random, k in a row, the first n (with the handshake), one of the
handshake at a time, one direction. Or it comes otherwise than in one piece and in order: halves in two files or in one,
in the wrong order; each direction in a file; two taps that saw the same with other losses, by clocks that are apart; a
pause in the middle that ends the connection. What is then recoverable is worked out here by other means than the
project's own: dpkt finds the bytes of each stream that the frames left hold, and a record is recoverable when all of
its bytes are among them, and its keys can be derived from what is left: in TLS 1.3 from the key log alone, before that
if the ServerHello is in the frames left. Places, lengths and contents of records come from the whole capture, whose
digests stand in the captures' manifest.

Printed are recovered bytes over recoverable bytes, for each kind of damage, and the work that searching took. A record
whose content is not that of the whole capture would be an error, and ends it.
"""

from __future__ import annotations

import argparse
import io
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import dpkt
from rich.console import Console
from rich.table import Table

import rxtls

ROOT = Path(__file__).parents[1]
HEADER = 24
KINDS = (1, 10, 100)
FIRST = (10, 30, 200)
OFFSETS = (0, 3, -3, 40)  # ms between the clocks of two taps
TAPS_LOSE = 0.02
PAUSE = 400  # s, beyond `idle`
# A pause loses what had not been sent again when it began.
GOALS = {
    "random": 99.9, "in a row": 99.9, "first": 99.0, "handshake": 99.9, "one direction": 99.0, "two files": 99.9,
    "one file": 99.9, "two taps": 99.9, "a pause": 98.0,
}  # fmt: skip
CHANCE = frozenset({"random", "in a row", "two taps"})
SERVER_HELLO = 46  # bytes of a stream up to the suite of a ServerHello without a session id

Key = tuple[bytes, bytes, int, int]  # a direction: source, destination, ports
Raw = tuple[bytes, bytes]  # a frame: pcap's record header, bytes


class Spoken(NamedTuple):
    """A record under application keys, as the whole capture has it."""

    seq: int
    length: int
    number: int
    data: bytes


@dataclass
class Whole:
    """A capture, its frames, and what is in it."""

    name: str
    keys: Path
    head: bytes
    unit: int  # nanoseconds of a unit of the fraction
    frames: list[Raw]
    version: dict[Key, str] = field(default_factory=dict)
    records: dict[Key, list[Spoken]] = field(default_factory=dict)
    hellos: dict[Key, tuple[int, int]] = field(default_factory=dict)  # (place, length) of the hello's first record


class Case(NamedTuple):
    """One way to damage a capture."""

    kind: str
    amount: str
    left: Callable[[Whole, Random], list[list[Raw]]]  # files of frames, in the order in which they are given
    log: int = 0  # sessions of others in the key log


def main() -> int:
    """Measure, print; 1 if a goal was missed or a record was wrong."""
    options = _options()
    captures = options.captures or sorted((ROOT / "examples").glob("*.pcap"))
    console = Console(width=None if sys.stdout.isatty() else 150, highlight=False)
    table = Table(box=None, title="recovered of recoverable bytes of records", title_justify="left")
    for name in ("capture", "removed", "amount", "key log", "recoverable", "recovered", "%", "goal", "work", "seconds"):
        table.add_column(name, justify="left" if name in ("capture", "removed") else "right")
    missed = 0
    for path in captures:
        whole = read(Path(path))
        for _, group in groupby(cases(whole, options.log), key=lambda each: (each.kind, each.amount, each.log)):
            total = Counted()
            for case in group:
                for seed in range(options.seeds if case.kind in CHANCE else 1):
                    total += measure(whole, case, Random(seed), options.engine)
            goal = GOALS[case.kind] if not (case.kind == "first" and total.old) else None
            share = 100 * total.recovered / total.recoverable if total.recoverable else 100.0
            met = goal is None or share >= goal
            missed += not met
            table.add_row(
                whole.name, case.kind, case.amount, f"{case.log + 1:,}", f"{total.recoverable:,}",
                f"{total.recovered:,}", f"{share:.2f}", "" if goal is None else f"{'' if met else 'missed: '}{goal}",
                f"{total.work:,}", f"{total.seconds:.2f}",
            )  # fmt: skip
    console.print(table)
    return int(missed > 0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What comes back of captures that lack something.")
    parser.add_argument("captures", nargs="*", help="with NAME.keys beside NAME.pcap; by default the examples")
    parser.add_argument("--seeds", type=int, default=3, help="how often chance is asked")
    parser.add_argument("--engine", default="auto")
    parser.add_argument(
        "--log", default="1,100,10000", help="entries of the key log in which a late start finds its own"
    )
    options = parser.parse_args()
    options.log = [int(each) for each in options.log.split(",")]
    return options


def cases(whole: Whole, logs: Sequence[int]) -> Iterator[Case]:
    """All kinds of damage to a capture; those with one name are one row."""
    for k in KINDS:
        yield Case("random", str(k), lambda whole, dice, k=k: [_without(whole, _some(whole, dice, k))])  # type: ignore[misc]
    for k in KINDS:
        yield Case("in a row", str(k), lambda whole, dice, k=k: [_without(whole, _row(whole, dice, k))])  # type: ignore[misc]
    for entries in logs:
        for n in FIRST:
            yield Case("first", str(n), lambda whole, _dice, n=n: [whole.frames[n:]], entries - 1)  # type: ignore[misc]
    for up in (True, False):
        yield Case(
            "one direction",
            "up" if up else "down",
            lambda whole, _dice, up=up: [_only(whole, up)],  # type: ignore[misc]
        )
    for n in _handshake(whole):
        yield Case("handshake", "1, each", lambda whole, _dice, n=n: [_without(whole, {n})])  # type: ignore[misc]
    yield Case("two files", "halves, swapped", lambda whole, _dice: _halves(whole))
    yield Case("two files", "a direction each", lambda whole, _dice: [_only(whole, False), _only(whole, True)])
    yield Case(
        "one file", "halves, swapped", lambda whole, _dice: [[frame for half in _halves(whole) for frame in half]]
    )
    yield Case("one file", "ms of disorder", lambda whole, dice: [_stirred(whole, dice)])
    for offset in OFFSETS:
        yield Case("two taps", f"{offset:+} ms", lambda whole, dice, offset=offset: _taps(whole, dice, offset))  # type: ignore[misc]
    yield Case("a pause", f"{PAUSE} s", lambda whole, _dice: [_paused(whole)])


def _some(whole: Whole, dice: Random, k: int) -> set[int]:
    return set(dice.sample(range(len(whole.frames)), min(k, len(whole.frames) // 2)))


def _row(whole: Whole, dice: Random, k: int) -> set[int]:
    start = dice.randrange(max(1, len(whole.frames) - k))
    return set(range(start, start + k))


def _without(whole: Whole, removed: set[int]) -> list[Raw]:
    return [frame for n, frame in enumerate(whole.frames) if n not in removed]


def _only(whole: Whole, up: bool) -> list[Raw]:
    left = []
    for frame in whole.frames:
        segment = segment_of(frame[1])
        if segment is None or (segment.key[3] < segment.key[2]) is up:  # the servers' ports are the lower ones
            left.append(frame)
    return left


def _halves(whole: Whole) -> list[list[Raw]]:
    middle = len(whole.frames) // 2
    return [whole.frames[middle:], whole.frames[:middle]]


def _handshake(whole: Whole) -> list[int]:
    """The frames with payload up to the first application data of each side of the first connection."""
    key, _ = next(iter(whole.hellos.items()))
    found = []
    for n, (_, frame) in enumerate(whole.frames):
        segment = segment_of(frame)
        if segment is None or not segment.data or segment.key not in (key, (key[1], key[0], key[3], key[2])):
            continue
        if any(segment.seq + len(segment.data) > each.seq for each in whole.records[segment.key] if each.number > 1):
            break
        found.append(n)
    return found


def _stirred(whole: Whole, dice: Random) -> list[Raw]:
    """As several queues write frames: each late by up to 3 ms."""
    return sorted(whole.frames, key=lambda frame: _time(whole, frame) + dice.randrange(3_000_000))


def _taps(whole: Whole, dice: Random, offset: int) -> list[list[Raw]]:
    one, other = ([each for each in whole.frames if dice.random() > TAPS_LOSE] for _ in range(2))
    return [one, [_later(whole, each, offset * 1_000_000) for each in other]]


def _paused(whole: Whole) -> list[Raw]:
    middle = len(whole.frames) // 2
    return [_later(whole, each, PAUSE * 10**9 * (n >= middle)) for n, each in enumerate(whole.frames)]


def _time(whole: Whole, frame: Raw) -> int:
    return int.from_bytes(frame[0][:4], "little") * 10**9 + int.from_bytes(frame[0][4:8], "little") * whole.unit


def _later(whole: Whole, frame: Raw, by: int) -> Raw:
    seconds, fraction = divmod(_time(whole, frame) + by, 10**9)
    return struct.pack("<II", seconds, fraction // whole.unit) + frame[0][8:], frame[1]


# Captures, by dpkt


class Segment(NamedTuple):
    """TCP payload in a frame."""

    key: Key
    seq: int
    data: bytes


def segment_of(frame: bytes) -> Segment | None:
    """What an Ethernet frame holds of TCP, by dpkt."""
    packet = dpkt.ethernet.Ethernet(frame).data
    tcp = getattr(packet, "data", None)
    if not isinstance(tcp, dpkt.tcp.TCP):
        return None
    key = packet.src, packet.dst, tcp.sport, tcp.dport
    return Segment(key, (tcp.seq + bool(tcp.flags & dpkt.tcp.TH_SYN)) & 0xFFFF_FFFF, bytes(tcp.data))


def read(path: Path) -> Whole:
    """A capture with what is in it."""
    data = path.read_bytes()
    frames, at = [], HEADER
    while at < len(data):
        length = int.from_bytes(data[at + 8 : at + 12], "little")
        frames.append((data[at : at + 16], data[at + 16 : at + 16 + length]))
        at += 16 + length
    whole = Whole(path.stem, path.with_suffix(".keys"), data[:HEADER], 1 if data[0] == 0x4D else 1000, frames)
    run = rxtls.replay(path, whole.keys)
    for record in run:
        key = key_of(run, record)
        if record.record_class == "library":
            whole.hellos.setdefault(key, (record.tcp_seq, record.wire_length))
        else:
            assert record.number is not None
            spoken = Spoken(record.tcp_seq, record.wire_length, record.number, record.data)
            whole.records.setdefault(key, []).append(spoken)
        whole.version[key] = run.path.flows[record.flow].facts.tls or ""
    return whole


def key_of(run: Any, record: Any) -> Key:
    """The direction of a record, as dpkt names it."""
    flow = run.path.flows[record.flow]
    connection = flow.connection
    size = (len(connection.key) - 4) // 2
    a, b = connection.key[:size], connection.key[size:-4]
    ports = int.from_bytes(connection.key[-4:-2]), int.from_bytes(connection.key[-2:])
    side = flow.client_side if record.receiver == "server" else 1 - flow.client_side
    return (a, b, *ports) if side == 0 else (b, a, ports[1], ports[0])


def covered(frames: Iterable[Raw]) -> dict[Key, list[tuple[int, int]]]:
    """Of each direction the stretches of sequence numbers that the frames hold, joined and in order."""
    found: dict[Key, list[tuple[int, int]]] = {}
    for _, frame in frames:
        segment = segment_of(frame)
        if segment is not None and segment.data:
            found.setdefault(segment.key, []).append((segment.seq, segment.seq + len(segment.data)))
    for key, stretches in found.items():
        joined: list[tuple[int, int]] = []
        for start, end in sorted(stretches):
            if joined and start <= joined[-1][1]:
                joined[-1] = joined[-1][0], max(joined[-1][1], end)
            else:
                joined.append((start, end))
        found[key] = joined
    return found


def holds(stretches: Sequence[tuple[int, int]], seq: int, length: int) -> bool:
    """Whether [seq, seq + length) is all there. (None of the examples crosses 2^32.)"""
    return any(start <= seq and seq + length <= end for start, end in stretches)


# One measurement


@dataclass
class Counted:
    """Bytes of records, and what it took."""

    recoverable: int = 0
    recovered: int = 0
    work: int = 0
    seconds: float = 0.0
    old: bool = False  # TLS 1.2 without the handshake

    def __add__(self, other: Counted) -> Counted:
        return Counted(
            self.recoverable + other.recoverable,
            self.recovered + other.recovered,
            max(self.work, other.work),
            self.seconds + other.seconds,
            self.old or other.old,
        )


def measure(whole: Whole, case: Case, dice: Random, engine: str) -> Counted:
    """Damage a capture, replay what is left, compare."""
    files = case.left(whole, dice)
    counted = Counted()
    with tempfile.TemporaryDirectory(prefix="rxtls-holes-") as folder:
        names = []
        for n, frames in enumerate(files):
            names.append(Path(folder) / f"part{n}.pcap")
            names[-1].write_bytes(whole.head + b"".join(head + data for head, data in frames))
        log = Path(folder) / "all.keys"
        log.write_bytes(crowded(whole.keys.read_bytes(), case.log, dice))
        started = time.perf_counter()
        run = rxtls.replay(names, log, engine=engine)
        records = list(run)
        counted.seconds = time.perf_counter() - started
    present = covered(frame for frames in files for frame in frames)
    truth: dict[Key, dict[int, Spoken]] = {}
    for key, spoken in whole.records.items():
        stretches = present.get(key, [])
        server = key if key[2] < key[3] else (key[1], key[0], key[3], key[2])
        hello = whole.hellos[server][0]
        if whole.version[key] != "1.3" and not holds(present.get(server, []), hello, SERVER_HELLO):
            counted.old = True
            continue
        there = [each for each in spoken if holds(stretches, each.seq, each.length)]
        counted.recoverable += sum(each.length for each in there)
        truth[key] = {each.seq: each for each in there}
    for record in records:
        if record.by in ("nobody", "library"):
            continue
        key = key_of(run, record)
        known = {each.seq: each for each in whole.records[key]}.get(record.tcp_seq)
        if known is None or (known.number, known.data) != (record.number, record.data):
            raise SystemExit(f"{whole.name}: {case}: a record that was never sent, at {record.tcp_seq}")
        if record.tcp_seq in truth.get(key, {}):
            counted.recovered += record.wire_length
    counted.work = max(
        (direction.work.spent for flow in run.path.flows.values() for direction in flow.directions), default=0
    )
    return counted


def crowded(log: bytes, others: int, dice: Random) -> bytes:
    """The key log with the sessions of `others` around its own."""
    lines = [line for line in io.BytesIO(log) if line.strip() and not line.startswith(b"#")]
    made = []
    for n in range(others):
        random = dice.randbytes(32).hex()
        size = 48 if n % 2 else 32
        made += [
            f"{label} {random} {dice.randbytes(size).hex()}\n".encode()
            for label in (
                "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
                "SERVER_HANDSHAKE_TRAFFIC_SECRET",
                "CLIENT_TRAFFIC_SECRET_0",
                "SERVER_TRAFFIC_SECRET_0",
            )
        ]
    half = len(made) // 8 * 4
    return b"".join([*made[:half], *lines, *made[half:]])


if __name__ == "__main__":
    sys.exit(main())
