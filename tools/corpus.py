"""Every capture of a folder through both engines: `python tools/corpus.py DIR... [--keys FILE] [--jobs J]`.

For each capture a line where there is anything to say (--all: always), and at the end what was read, which reasons
were given, and what took longest. A finding is an exception, an imbalance, a difference between the engines, or more
than the budget of processor time or memory; exit status 1 if there is one, 2 where there is no capture.

A capture is a file that begins as pcap or pcapng does, or a compressed one whose name says so. Its key log stands
beside it under its name (a.pcapng: a.keys, a.keylog, a.log, a.txt ...), or is the folder's (*keylog*, *premaster*).
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "support"))

from hostile_child import Came, Cost, bounded, differing, replayed, warm  # noqa: E402
from rxtls.path.engines import why_not_compiled  # noqa: E402

MAGIC = {
    bytes.fromhex(each)
    for each in ("a1b2c3d4", "d4c3b2a1", "a1b23c4d", "4d3cb2a1", "a1b2cd34", "34cdb2a1", "0a0d0d0a")
}  # fmt: skip
PACKED = re.compile(r"\.(pcap|pcapng|cap|dmp|pcapng?\.\w+)\.(gz|zst|lz4|xz)$", re.IGNORECASE)
ENDINGS = re.compile(r"(\.(pcapng|pcap|cap|dmp|gz|zst|lz4|xz))+$", re.IGNORECASE)
BESIDE = (
    ".keys",
    ".keylog",
    ".key",
    ".log",
    ".txt",
    ".sslkeylog",
    "-keys.txt",
    ".secrets",
    "-keylog.txt",
    ".sslkeylog.log",
)
FOLDERS = re.compile(r"keylog|sslkey|premaster|dsb.*\.txt", re.IGNORECASE)
LABEL = re.compile(rb"^(CLIENT_RANDOM|RSA|[A-Z]+_(HANDSHAKE|TRAFFIC)_[A-Z_0-9]+) ", re.MULTILINE)
SLOWEST = 5


@dataclass
class Tried:
    """One capture: what each engine came to, and what was found."""

    path: Path
    keys: list[Path]
    cost: dict[str, Cost] = field(default_factory=dict)
    found: list[str] = field(default_factory=list)

    @property
    def came(self) -> Came | None:
        """What the first engine that came to an end came to."""
        return next((each.value for each in self.cost.values() if each.value is not None), None)


def captures(folders: list[Path]) -> Iterator[Path]:
    """The captures below some folders, each once, in order of their names."""
    for folder in folders:
        for path in [folder] if folder.is_file() else sorted(folder.rglob("*")):
            if path.is_file() and is_capture(path):
                yield path


def is_capture(path: Path) -> bool:
    """By its first bytes, or by its name where it is compressed."""
    if PACKED.search(path.name):
        return True
    try:
        with path.open("rb") as file:
            return file.read(4) in MAGIC
    except OSError:
        return False


def keys_of(capture: Path) -> list[Path]:
    """The key logs that stand beside a capture."""
    stem = ENDINGS.sub("", capture.name)
    names = [capture.with_name(each + ending) for each in (stem, capture.name) for ending in BESIDE]
    found = [name for name in names if name.is_file()]
    return found or [
        each
        for each in sorted(capture.parent.iterdir())
        if FOLDERS.search(each.name) and each.is_file() and LABEL.search(each.open("rb").read(1 << 16))
    ]


def attempt(path: Path, keys: list[Path], engines: list[str], seconds: float, memory: int) -> Tried:
    """One capture through the engines, and what is wrong with that."""
    tried = Tried(path, keys_of(path) or keys)
    for engine in engines:
        options = {"engine": engine, "digest": True}
        cost = tried.cost[engine] = bounded(replayed, [path], tried.keys, options, seconds=seconds)
        if cost.fault:
            tried.found.append(f"{engine}: {cost.fault}")
        elif cost.value.balance:
            tried.found.append(f"{engine}: balance {cost.value.balance}")
        if cost.seconds > seconds:
            tried.found.append(f"{engine}: {cost.seconds:.1f} s of processor time")
        if cost.memory > memory:
            tried.found.append(f"{engine}: {cost.memory >> 20} MiB")
    done = [each.value for each in tried.cost.values() if each.value is not None]
    if len(done) == 2 and (names := differing(*done)):
        tried.found.append(f"the engines differ in {', '.join(names)}")
    return tried


def main() -> int:
    """Try them all, print, and say whether all was well."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="folders, or single captures")
    parser.add_argument("--keys", action="append", type=Path, default=[], help="key log of what has none beside it")
    parser.add_argument("--engine", choices=("both", "compiled", "plain"), default="both")
    parser.add_argument("--seconds", type=float, default=60, help="budget of processor time for a file and engine")
    parser.add_argument("--memory", type=int, default=1024, help="budget of memory, in MiB")
    parser.add_argument("--largest", type=int, default=64, help="leave out captures of more MiB, and say so")
    parser.add_argument("--jobs", type=int, default=1, help="captures at a time")
    parser.add_argument("--all", action="store_true", help="a line for every capture")
    given = parser.parse_args()
    engines = ["compiled", "plain"] if given.engine == "both" else [given.engine]
    if "compiled" in engines and (lack := why_not_compiled()):
        print(f"no compiled engine: {lack}")
        engines.remove("compiled")
    found = list(captures(given.folders))
    large = [path for path in found if path.stat().st_size > given.largest << 20]
    found = [path for path in found if path not in set(large)]
    if not found:
        print("no capture was found")
        return 2
    warm()
    every: list[Tried] = []
    work = partial(attempt, keys=given.keys, engines=engines, seconds=given.seconds, memory=given.memory << 20)
    with ExitStack() as stack:
        several = (
            stack.enter_context(ProcessPoolExecutor(given.jobs, get_context("fork"))).map if given.jobs > 1 else map
        )
        for tried in several(work, found):
            every.append(tried)
            if tried.found or given.all:
                print(_line(tried), flush=True)
    _print(every)
    for path in large:
        print(f"left out, {path.stat().st_size >> 20} MiB: {path}")
    return int(any(tried.found for tried in every))


def _line(tried: Tried) -> str:
    came = tried.came
    said = ""
    if came is not None:
        opened = sum(came.records.get(name, 0) for name in ("decrypted", "mixed", "encrypted"))
        reasons = ", ".join(f"{name} {n}" for name, n in sorted(came.reasons.items()))
        said = (
            came.refused or f"{came.frames} frames, {opened} records opened, exit {came.status}: {reasons or 'no TCP'}"
        )
    times = ", ".join(f"{name} {each.seconds:.2f} s {each.memory >> 20} MiB" for name, each in tried.cost.items())
    return "\n".join([f"{tried.path}: {said} ({times})", *(f"    FOUND {each}" for each in tried.found)])


def _print(every: list[Tried]) -> None:
    done = [each.came for each in every if each.came is not None]
    reasons: Counter[str] = Counter()
    fates: Counter[str] = Counter()
    records: Counter[str] = Counter()
    for came in done:
        reasons.update(came.reasons)
        fates.update(came.fates)
        records.update(came.records)
    keyed, frames = sum(bool(each.keys) for each in every), sum(came.frames for came in done)
    print(f"\n{len(every)} captures, {keyed} with keys, {frames:,} frames")
    for title, counts in (
        ("exit statuses", Counter(came.status for came in done)),
        ("records", +records),
        ("directions, why not offloaded", reasons),
        ("frames", Counter({name: n for name, n in fates.items() if name.startswith("frame.")})),
        (
            "what captures were damaged by",
            Counter(re.sub(r"\d+", "N", cause) for came in done for cause in came.errors),
        ),
    ):
        print(f"{title}: {', '.join(f'{name} {n:,}' for name, n in counts.most_common(30)) or 'none'}")
    for engine in every[0].cost:
        slow = sorted(every, key=lambda each: -each.cost[engine].seconds)[:SLOWEST]
        print(f"{engine}: {sum(each.cost[engine].seconds for each in every):.0f} s of processor time, most of it for")
        for each in slow:
            cost = each.cost[engine]
            print(f"  {cost.seconds:8.2f} s {cost.memory >> 20:5} MiB  {each.path}")
    print(f"most memory: {max(cost.memory for each in every for cost in each.cost.values()) >> 20} MiB")
    print(f"findings: {sum(bool(each.found) for each in every)} captures")


if __name__ == "__main__":
    sys.exit(main())
