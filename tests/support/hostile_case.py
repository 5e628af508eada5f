"""One hostile case: made from (seed, number) alone, run to the end, and held against everything that must be true.

    sample ──► mutators of packets, TLS, bytes, wrappers, key logs ──► capture, key log, options ──► rxtls, and checks

What must be true of every case: nothing but rxtls.errors comes out; every frame, byte and record has its fate; what was
authenticated is, in order, what one of the senders sent; errors are single lines without secrets; nothing hangs; memory
is bounded. On a share of the cases also: the records are those of a run without a device, and all that is said of them
is the same whatever the number of frames in a call.
"""

from __future__ import annotations

import json
import resource
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

import hostile_bytes
import hostile_packets
import hostile_tls
import rxtls
from hostile_frames import Piece, Seen, frames_of, pcap, pcapng
from hostile_samples import LONG, Truth, samples
from rxtls.errors import RxtlsError
from rxtls.events import Record, RecordClass
from rxtls.run.options import ReplayOptions
from rxtls.run.replay import Replay
from rxtls.run.summary import exit_status, to_json

# A guard against hangs, far beyond what any case needs (milliseconds) on any machine.
HANG_SECONDS = 120
# What one case may add to the process's memory: twice the largest window of a decompressor (xz, 256 MiB), which is by
# far the largest bound that a small file can reach.
CASE_MEMORY = 512 << 20

STAGES = (
    "capture",  # a frame was read
    "parse",  # a frame was TCP, and passed for it
    "flow",  # it belongs to a connection
    "observer",  # the handshake observer consumed a record
    "engine",  # a receive tag was installed
    "worker",  # the worker or the device opened a record
    "decrypted",  # ... in full by the device
    "mixed",  # ... a mixed one
    "failed",  # a record did not authenticate
    "lost",  # the device lost sync
    "regained",  # ... and found it again
)

LEVELS = ("packets", "tls", "packets+tls", "bytes", "wrapper", "keys", "untouched")
_WEIGHTS = (46, 22, 9, 8, 4, 9, 2)
REPAIRED = frozenset({"packets", "tls", "packets+tls", "keys", "untouched"})


class HangError(BaseException):
    """The guard went off. No Exception, so that nothing in between takes it for its own."""


class WrongError(AssertionError):
    """Something that must be true is not; `check` says what."""

    def __init__(self, check: str, detail: str = "") -> None:
        self.check = check
        super().__init__(f"{check}: {detail}" if detail else check)


@dataclass
class Case:
    """Everything about one case. `captures` are files; with `stdin` the only one comes through standard input."""

    seed: int
    number: int
    level: str
    sample: str
    steps: list[str]
    captures: list[bytes] = field(repr=False)
    keys: list[bytes] = field(repr=False)
    options: dict[str, Any]
    stdin: bool
    truth: tuple[Truth, ...] | None = field(repr=False)
    differential: str = ""  # "profile" or "calls": what the run is compared with

    @property
    def repaired(self) -> bool:
        """Lengths and checksums are good, as far as a stage before the engine would look at them."""
        return self.level in REPAIRED


@dataclass
class Shown:
    """What a run showed of itself."""

    stages: set[str]
    fates: Counter[str]
    compositions: Counter[str]
    status: int


def make(seed: int, number: int) -> Case:
    """Case `number` of `seed`."""
    dice = Random(f"rxtls {seed} {number}")
    corpus = samples()
    sample, donor = dice.choice(corpus), dice.choice(corpus)
    if dice.random() < 0.2:  # where the device has most to do
        sample = dice.choice([each for each in corpus if each.name in LONG])
    level = dice.choices(LEVELS, _WEIGHTS)[0]
    steps: list[str] = []
    keys, truth = [sample.keys], sample.truth
    pieces = list(sample.pieces)
    if level in ("packets", "tls", "packets+tls") and dice.random() < 0.06:
        pieces = _two(pieces, list(donor.pieces), dice)
        keys.append(donor.keys)
        truth = truth + donor.truth if truth is not None and donor.truth is not None else None
        steps.append(f"with {donor.name}")
    captures = [sample.raw]
    if level.startswith("packets"):
        for _ in range(dice.choice((1, 1, 2, 3, 6))):
            mutator = dice.choice(hostile_packets.MUTATORS)
            mutator(pieces, dice)
            steps.append(mutator.__name__)
            if not pieces:
                break
    if level.endswith("tls"):
        for _ in range(dice.choice((1, 1, 2, 4))):
            if pieces:
                steps.append(hostile_tls.mutate(pieces, dice))
    if level.startswith("packets") or level.endswith("tls"):
        captures = _files(pieces, b"".join(keys), dice)
    elif level == "bytes":
        captures = [hostile_bytes.damage(sample.raw, donor.raw, dice)]
    elif level == "wrapper":
        captures = [hostile_bytes.wrap(sample.raw, dice)]
    elif level == "keys":
        keys = [hostile_bytes.key_log(sample.keys, donor.keys, dice)]
    stdin = len(captures) == 1 and dice.random() < 0.25
    differential = dice.choices(("", "profile", "calls"), (65, 20, 15))[0]
    options = _options(dice)
    return Case(seed, number, level, sample.name, steps, captures, keys, options, stdin, truth, differential)


def _two(ours: list[Piece], others: list[Piece], dice: Random) -> list[Piece]:
    """Two captures in one, one after the other or interleaved."""
    if dice.getrandbits(1):
        return ours + others
    mixed: list[Piece] = []
    while ours and others:
        mixed.append((ours if dice.getrandbits(1) else others).pop(0))
    return mixed + ours + others


def _files(pieces: list[Piece], keys: bytes, dice: Random) -> list[bytes]:
    frames = [piece.assemble() for piece in pieces]
    several = len({(frame.interface, frame.link_type) for frame in frames}) > 1
    if several or dice.random() < 0.15:
        return [pcapng(frames, keys if dice.random() < 0.3 else b"")]
    if dice.random() < 0.05:
        other = [frame for i, frame in enumerate(frames) if i % 3 == 0]
        return [pcap([frame for i, frame in enumerate(frames) if i % 3]), pcap(other)]
    return [pcap(frames)]


_SETTINGS: dict[str, tuple[str, ...]] = {
    "budget": ("1", "1", "2", "3", "8", "100"),
    "start": ("programmed", "search"),
    "install": ("0,0us", "1", "5,100us", "30,1000000us"),
    "poll": ("0,0us", "0,0us", "1", "3,20us", "100,1000000us"),
    "confirm": ("0,0us", "0,0us", "1", "3,20us", "100,1000000us"),
    "search_after": ("0", "1", "700", "20000"),
    "auth_failures": ("1", "2", "10"),
    "idle": ("1", "20"),
    "max_flows": ("1", "2", "3"),
    "hold": ("1", "1000", "5000"),
    "keys_wait": ("1", "300", "5000"),
    "handshake": ("600", "5000", "65536", "262144"),
    "max_receive_tags": ("1", "2"),
    "context_cache": ("0", "1"),
}
# Limits are what most cases should not run into, or they would get no further.
_LIMITS = frozenset(
    {
        "idle",
        "max_flows",
        "hold",
        "keys_wait",
        "handshake",
        "max_receive_tags",
        "context_cache",
    }
)


def _options(dice: Random) -> dict[str, Any]:
    settings = {
        name: dice.choice(values)
        for name, values in _SETTINGS.items()
        if dice.random() < (0.03 if name in _LIMITS else 0.5)
    }
    options: dict[str, Any] = {
        "profile": dice.choices(("connectx-6dx", "ideal", "none"), (35, 55, 10))[0],
        "policy": dice.choices(("freebsd-table", "none"), (92, 8))[0],
        "call_size": dice.choice((1, 2, 7, 63, 1024)),
        "settings": settings,
    }
    for name, values in (
        ("vantage", ("receiver", "sender", "middle")),
        ("checksum", ("verify", "ignore")),
        ("resegment", ("off", "48", "536", "9000")),
        ("receiver", ("server", "client", "192.0.2.0/24", "::/0")),
        ("filter", ("tcp", "port 443", "not src port 443", "vlan or ip6 or host 192.0.2.1")),
        ("digest", (True,)),
    ):
        if dice.random() < 0.12:
            options[name] = dice.choice(values)
    for name in ("max_flow_rules", "command_queue"):
        if dice.random() < 0.03:
            settings[name] = dice.choice(("1", "2"))
    return options


@contextmanager
def guard() -> Iterator[None]:
    """HangError after HANG_SECONDS."""

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise HangError(f"more than {HANG_SECONDS} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(HANG_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def run(case: Case) -> Shown:
    """Run the case and check it. Raises what came out that must not, WrongError, or HangError."""
    memory = peak_memory()
    with guard(), tempfile.TemporaryDirectory(prefix="rxtls-hostile-") as folder:
        seen = _checked(case, Path(folder))
    grown = peak_memory() - memory
    if grown > CASE_MEMORY:
        raise WrongError("memory", f"{grown >> 20} MiB")
    return seen


def peak_memory() -> int:
    """The most bytes that this process ever had in memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def _checked(case: Case, folder: Path) -> Shown:
    captures, keys = _written(case, folder)
    made = _replay(case, captures, keys, case.options)
    if made is None:
        return Shown(set(), Counter(), Counter(), 2)
    replayed, records = made
    summary = replayed.summary()
    to_json(summary)
    if summary["balance"]:
        raise WrongError("balance", f"{summary['balance']}: {replayed.path.ledger.entered}")
    status = exit_status(replayed, summary, strict=case.number % 2 == 0)
    if status not in (0, 1, 2):
        raise WrongError("status", str(status))
    _check_errors(case, replayed)
    _check_authentic(case, records)
    _check_counts(replayed)
    if case.differential == "profile":
        settings = dict(case.options["settings"])
        _same(case, captures, keys, {**case.options, "profile": "none", "settings": settings}, records, _content)
    elif case.differential == "calls":
        size = 1 if case.options["call_size"] > 1 else 100
        _same(case, captures, keys, {**case.options, "call_size": size}, records, _everything)
    return _look(replayed, status)


def _written(case: Case, folder: Path) -> tuple[list[Path], list[Path]]:
    captures, keys = [], []
    for n, data in enumerate(case.captures):
        captures.append(folder / f"capture-{n}")
        captures[-1].write_bytes(data)
    for n, data in enumerate(case.keys):
        keys.append(folder / f"keys-{n}")
        keys[-1].write_bytes(data)
    return captures, keys


def _replay(
    case: Case, captures: list[Path], keys: list[Path], options: dict[str, Any]
) -> tuple[Replay, list[Record]] | None:
    """A run to its end; None where it was refused with an error of ours."""
    try:
        if case.stdin:
            made = Replay(["-"], keys, ReplayOptions(**options), stdin=BytesIO(case.captures[0]))
        else:
            made = rxtls.replay(captures, keys, **options)
        return made, list(made)
    except RxtlsError as error:
        if "\n" in str(error):
            raise WrongError("error of several lines", repr(str(error))) from error
        return None


def _check_errors(case: Case, replayed: Replay) -> None:
    secrets = {word.lower() for log in case.keys for word in log.split() if len(word) >= 64}
    for error in replayed.errors:
        text = str(error)
        if "\n" in text or not text.isprintable():
            raise WrongError("error of several lines", repr(text))
        if any(word.decode("latin-1") in text.lower() for word in secrets):
            raise WrongError("a secret in an error")


def _check_authentic(case: Case, records: list[Record]) -> None:
    """What was authenticated in a direction is, in order, part of what one sender sent."""
    if case.truth is None:
        return
    directions: dict[tuple[int, str], Truth] = {}
    for record in records:
        if record.by != "nobody" and record.number is not None:
            directions.setdefault((record.flow, record.receiver), []).append((record.type, record.data))
    for key, delivered in directions.items():
        if not any(_in_order(delivered, truth) for truth in case.truth):
            raise WrongError("not authentic", f"flow {key}: {len(delivered)} records")


def _in_order(delivered: Truth, truth: Truth) -> bool:
    rest = iter(truth)
    return all(record in rest for record in delivered)


def _check_counts(replayed: Replay) -> None:
    for flow in replayed.path.flows.values():
        for side, direction in enumerate(flow.directions):
            tally = direction.tally
            where = f"flow {flow.connection.id} side {side}"
            if tally.regained > tally.lost:
                raise WrongError("regained more than lost", where)
            if direction.complete() and tally.records[RecordClass.FAILED]:
                raise WrongError("complete with failed records", where)
            if direction.receive_tag is not None or not flow.ended:
                raise WrongError("a flow outlives the run", where)
    if replayed.path.receive_tags:
        raise WrongError("receive tags leak", str(replayed.path.receive_tags))


def _content(record: Record) -> tuple[object, ...]:
    return record.type, record.data, record.number, record.by == "nobody", record.tcp_seq, record.wire_length


def _everything(record: Record) -> tuple[object, ...]:
    return (
        *_content(record),
        record.record_class,
        record.by,
        record.frame,
        record.time_ns,
        record.composition,
        record.early_data,
    )


def _same(
    case: Case,
    captures: list[Path],
    keys: list[Path],
    options: dict[str, Any],
    records: list[Record],
    look: Callable[[Record], tuple[object, ...]],
) -> None:
    other = _replay(case, captures, keys, options)
    if other is None:
        raise WrongError(f"differs by {case.differential}", "refused")
    a, b = _by_direction(records, look), _by_direction(other[1], look)
    for key in sorted(a.keys() | b.keys()):
        ours, theirs = a.get(key, []), b.get(key, [])
        if ours != theirs:
            at = next((i for i, (x, y) in enumerate(zip(ours, theirs, strict=False)) if x != y), len(ours))
            raise WrongError(
                f"differs by {case.differential}", f"flow {key}: {len(ours)} and {len(theirs)} records, at {at}"
            )


def _by_direction(
    records: list[Record], look: Callable[[Record], tuple[object, ...]]
) -> dict[tuple[int, str], list[tuple[object, ...]]]:
    found: dict[tuple[int, str], list[tuple[object, ...]]] = {}
    for record in records:
        found.setdefault((record.flow, record.receiver), []).append(look(record))
    return found


def _look(replayed: Replay, status: int) -> Shown:
    ledger, flows = replayed.path.ledger, replayed.path.flows.values()
    directions = [direction for flow in flows for direction in flow.directions]
    fates = ledger.fates
    reached = {
        "capture": replayed.frames > 0,
        "parse": any(fates[name] for name in ("frame.segment", "frame.segment_cut", "frame.ack")),
        "flow": bool(flows),
        "observer": fates["record.library"] > 0,
        "engine": any(direction.epoch for direction in directions),
        "worker": any(fates[f"record.{name}"] for name in ("decrypted", "mixed", "encrypted")),
        "decrypted": fates["record.decrypted"] > 0,
        "mixed": fates["record.mixed"] > 0,
        "failed": fates["record.failed"] > 0,
        "lost": any(direction.tally.lost for direction in directions),
        "regained": any(direction.tally.regained for direction in directions),
    }
    compositions: Counter[str] = Counter()
    for direction in directions:
        compositions.update(direction.tally.compositions)
    return Shown({name for name, there in reached.items() if there}, Counter(fates), compositions, status)


def describe(case: Case) -> str:
    """The case in one line of JSON."""
    return json.dumps(
        {
            "seed": case.seed,
            "case": case.number,
            "level": case.level,
            "sample": case.sample,
            "steps": case.steps,
            "options": case.options,
            "stdin": case.stdin,
            "differential": case.differential,
        }
    )


def smaller(case: Case, fails: Callable[[Case], bool], tries: int = 400) -> Case:
    """The smallest case found that still fails: fewer frames or bytes, fewer options, fewer key log lines."""
    left = tries

    def attempt(candidate: Case) -> bool:
        nonlocal left
        left -= 1
        return left >= 0 and fails(candidate)

    case = _plainer(case, attempt)
    if len(case.captures) == 1:
        frames = frames_of(case.captures[0])
        several = len({(frame.interface, frame.link_type) for frame in frames}) > 1
        form: Callable[[list[Seen]], bytes] = pcapng if several else pcap
        if attempt(again := replace(case, captures=[form(frames)])):
            found = _fewer(frames, lambda some: attempt(replace(again, captures=[form(some)])))
            case = replace(again, captures=[form(found)])
    return case


def _plainer(case: Case, attempt: Callable[[Case], bool]) -> Case:
    for name in [name for name in case.options if name != "settings"]:
        candidate = replace(case, options={key: value for key, value in case.options.items() if key != name})
        if attempt(candidate):
            case = candidate
    for name in list(case.options["settings"]):
        settings = {key: value for key, value in case.options["settings"].items() if key != name}
        candidate = replace(case, options={**case.options, "settings": settings})
        if attempt(candidate):
            case = candidate
    for candidate in (replace(case, stdin=False), replace(case, keys=[]), replace(case, keys=case.keys[:1])):
        if candidate != case and attempt(candidate):
            case = candidate
    return case


def _fewer(frames: list[Seen], fails: Callable[[list[Seen]], bool]) -> list[Seen]:
    """Delta debugging: leave out ever smaller runs of frames."""
    size = max(1, len(frames) // 2)
    while True:
        at = 0
        while at < len(frames):
            some = frames[:at] + frames[at + size :]
            if some and fails(some):
                frames = some
            else:
                at += size
        if size == 1:
            return frames
        size //= 2
