"""The contenders of `make bench`, each in a process of its own, so that user time and peak memory are its own.

    python tools/bench_run.py JOB ARGUMENTS     ARGUMENTS and the answer on standard output are JSON, a line each

`make` writes a capture. `replay` walks one through the public API. `first` does, up to the first record. `look` only
reads it and checks its packets. `stages` is `replay` with a stopwatch at the entry points of the stages. `one-shot`
opens the same records and does nothing else: it stays, and answers each line on standard input with the seconds of one
pass.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench_stages import REST, STAGES, Stopwatch

from rxtls.errors import RxtlsError

if TYPE_CHECKING:
    from bench_traffic import Sealed

    from rxtls.run.replay import Replay

Answer = dict[str, Any]

ONE_SHOT_LIMIT = 256_000_000  # bytes of records that the one-shot run holds: more would only take longer
REPLAYED = ("decrypted", "mixed", "encrypted", "failed", "unknown")  # records under application keys


def main() -> None:
    """Run one job."""
    import bench_see
    import bench_syns

    job, arguments = sys.argv[1], json.loads(sys.argv[2])
    jobs: dict[str, Callable[..., Answer]] = {
        "make": make,
        "replay": replay,
        "damaged": damaged,
        "first": first,
        "look": look,
        "stages": stages,
        "written": bench_see.written,
        "page": bench_see.page,
        "opened": bench_see.opened,
        "syns": bench_syns.syns,
    }
    if job == "one-shot":
        one_shot(**arguments)
    else:
        tell(jobs[job](**arguments))


def tell(answer: Answer) -> None:
    """Answer the process that asked."""
    print(json.dumps(answer), flush=True)


def make(traffic: Answer, amount: int, capture: str, keys: str) -> Answer:
    """Write a capture; the answer is a `Made`."""
    from bench_cases import Traffic
    from bench_traffic import write

    return asdict(write(Traffic.loaded(traffic), amount, Path(capture), Path(keys)))


def begin(capture: str, keys: str, options: Answer) -> Replay:
    """A run, not yet walked; `options` are fields of ReplayOptions."""
    from rxtls.run.options import ReplayOptions
    from rxtls.run.replay import Replay

    return Replay([capture], [keys], ReplayOptions(**options))


def drain(run: Replay, each: bool = False) -> int:
    """Take all records, by the batch or one by one; how many came."""
    if each:
        return sum(1 for _ in run)
    return sum(len(batch) for batch in run.batches())


def replay(capture: str, keys: str, options: Answer, each: bool = False, warm: tuple[str, str] | None = None) -> Answer:
    """Walk a capture. Seconds are those from the making of the run to its last record; `each` takes records one by one.

    With `warm`, a small capture and its keys, that one is walked before, and the large one is read into the page cache:
    so that nothing is loaded while the clock runs.
    """
    jobs = options.pop("jobs", 1)
    if warm:
        warm_up(warm, capture, options)
    make_run = partial(begin, capture, keys, options)
    return clocked(make_run, each) if jobs == 1 else shared(make_run, jobs)


def warm_up(warm: tuple[str, str], capture: str, options: Answer) -> None:
    """Have modules and kernels loaded, and the capture in the page cache."""
    drain(begin(*warm, options))
    buffer = bytearray(1 << 20)
    with open(capture, "rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def clocked(make_run: Callable[[], Replay], each: bool = False) -> Answer:
    """One run by the clock, and what it says."""
    before, started = times(), time.perf_counter()
    run = make_run()
    delivered = drain(run, each)
    wall, after = time.perf_counter() - started, times()
    peak = peak_bytes()
    seconds = {"wall": wall, "user": after[0] - before[0], "system": after[1] - before[1]}
    return {**seconds, "peak": peak, "delivered": delivered, **told(run.summary())}


def shared(make_run: Callable[[], Replay], jobs: int) -> Answer:
    """One run by several jobs, by the clock; their records go no further than each job's tally."""
    from rxtls.run import jobs as several

    before, started = times(), time.perf_counter()
    done = several.replay(make_run, jobs)
    wall, after = time.perf_counter() - started, times()
    assert done.note is None, done.note
    seconds = {"wall": wall, "user": after[0] - before[0], "system": after[1] - before[1]}
    return {**seconds, "peak": peak_bytes(), **told(done.summary)}


def told(summary: Answer) -> Answer:
    """What the run says it has done: for `bench_figures.wrong`, which compares it with what was put in."""
    received = [each for flow in summary["flows"] for each in flow["receive"].values() if each is not None]
    records: Counter[str] = Counter()
    for each in received:
        records.update(each["records"])
    return {
        "engine": summary["engine"],
        "libcrypto": summary["libcrypto"],
        "frames": summary["frames"],
        "captured_bytes": summary["captured_bytes"],
        "connections": len(summary["flows"]),
        "records": sum(records[name] for name in REPLAYED),
        "of_libraries": records["library"],
        "failed": records["failed"] + records["unknown"],
        "decrypted": records["decrypted"],
        "app_bytes": sum(each["app_bytes"] for each in received),
        "balance": summary["balance"],
        "errors": len(summary["errors"]),
    }


def damaged(
    capture: str, keys: str, options: Answer, holes: int, late: bool, sessions: int, warm: tuple[str, str]
) -> Answer:
    """Replay a capture with something taken out of it (bench_damage.py): by the clock, and what came of it."""
    from bench_damage import crowd, damage

    left, log = Path(f"{capture}.left"), Path(f"{keys}.left")
    try:
        damage(Path(warm[0]), left, 3, False)
        drain(begin(str(left), warm[1], options))
        damage(Path(capture), left, holes, late)
        crowd(Path(keys), log, sessions)
        warm_up(warm, str(left), options)
        before, started = times(), time.perf_counter()
        run = begin(str(left), str(log), options)
        drain(run)
        wall, after = time.perf_counter() - started, times()
        received = [each for flow in run.summary()["flows"] for each in flow["receive"].values() if each is not None]
    finally:
        left.unlink(missing_ok=True)
        log.unlink(missing_ok=True)
    return {
        "wall": wall,
        "user": after[0] - before[0],
        "app_bytes": sum(each["app_bytes"] for each in received),
        "gaps": sum(each["gaps"]["count"] for each in received),
        "lost_records": sum(each["gaps"]["lost_records"] for each in received),
        "spent": max(each["search"]["spent"] for each in received),
        "budget": max(each["search"]["budget"] for each in received),
    }


def first(capture: str, keys: str, options: Answer) -> Answer:
    """The moment of the first record, by the clock that all processes share (CLOCK_MONOTONIC)."""
    for _ in begin(capture, keys, options):
        return {"moment": time.monotonic()}
    raise AssertionError("there is no record")


def look(capture: str, keys: str, options: Answer, warm: tuple[str, str]) -> Answer:
    """Read a capture, parse its frames and check its sums, and nothing else: what there is to do before anything that
    has to do with TLS."""
    warm_up(warm, capture, options)
    started = time.perf_counter()
    run = begin(capture, keys, options)
    for _ in run.feed:
        pass
    return {"wall": time.perf_counter() - started, "frames": run.frames}


# One-shot


def one_shot(traffic: Answer, amount: int) -> None:
    """Hold the capture's records, contiguous; with every line that comes, open them all and tell how long it took.

    By compiled code and the libcrypto that replay uses, or by the `cryptography` package where that cannot be.
    """
    from bench_cases import Traffic
    from bench_traffic import sealed

    runs = list(sealed(Traffic.loaded(traffic), amount, ONE_SHOT_LIMIT))
    opened: Compiled | Plain
    try:
        opened = Compiled(runs)
    except (ImportError, RxtlsError) as reason:
        print(f"one-shot: {reason}; by cryptography", file=sys.stderr)
        opened = Plain(runs)
    records = sum(len(run.lengths) for run in runs)
    size = sum(sum(run.lengths) for run in runs)
    assert opened() == records, "a record did not open"
    tell({"records": records, "sealed_bytes": size, "libcrypto": opened.version})
    for _ in sys.stdin:
        started = time.perf_counter()
        good = opened()
        seconds = time.perf_counter() - started
        assert good == records, "a record did not open"
        tell({"seconds": seconds})


class Compiled:
    """All records opened in one loop of compiled code: how many verified. Raises ImportError or RxtlsError."""

    def __init__(self, runs: list[Sealed]) -> None:
        import numpy as np

        from rxtls.crypto import libcrypto
        from rxtls.crypto.compiled.evp import open_all
        from rxtls.crypto.compiled.key_table import KeyTable

        self.version = libcrypto.required().version
        self._open_all = open_all
        self._table = KeyTable()
        self._ciphertext = np.frombuffer(b"".join(run.data for run in runs), np.uint8)
        self._plaintext = np.zeros(1 << 16, np.uint8)  # taken up again for each record, as a receiver would
        columns: tuple[list[int], list[int], list[int], list[int]] = ([], [], [], [])
        at = self._ciphertext.ctypes.data
        for run in runs:
            count = len(run.lengths)
            columns[0].extend([self._table.add(run.keys)] * count)
            columns[1].extend(range(run.number, run.number + count))
            columns[2].extend(
                at + end - length for end, length in zip(accumulate(run.lengths), run.lengths, strict=True)
            )
            columns[3].extend(run.lengths)
            at += len(run.data)
        self._columns = [np.array(column, np.int64) for column in columns]
        self._columns.append(np.full(len(columns[0]), self._plaintext.ctypes.data, np.int64))

    def __call__(self) -> int:
        return int(self._open_all(self._table.rows, *self._columns))


class Plain:
    """The same by the `cryptography` package."""

    def __init__(self, runs: list[Sealed]) -> None:
        from cryptography.hazmat.backends.openssl import backend

        from rxtls.crypto.records import Opener

        self.version = f"cryptography, {backend.openssl_version_text()}"
        self._records: list[tuple[Opener, int, memoryview]] = []
        for run in runs:
            opener, data, at = Opener(run.keys), memoryview(run.data), 0
            for n, length in enumerate(run.lengths):
                self._records.append((opener, run.number + n, data[at : at + length]))
                at += length

    def __call__(self) -> int:
        for opener, number, record in self._records:
            opener.open(number, record)
        return len(self._records)


def stages(capture: str, keys: str, options: Answer, measured: str, warm: tuple[str, str]) -> Answer:
    """`replay` with a stopwatch at the entry points of engine `measured`."""
    warm_up(warm, capture, options)
    watch = Stopwatch()
    for each in STAGES[measured]:
        owner, name = each.found()
        setattr(owner, name, watch.timed(each.stage, getattr(owner, name)))
    answer = clocked(partial(begin, capture, keys, options))
    answer["stages"] = {**watch.seconds, REST: answer["wall"] - sum(watch.seconds.values())}
    answer["calls"] = dict(watch.calls)
    return answer


# What the machine says


def times() -> tuple[float, float]:
    """User and system seconds so far, those of ended children (jobs) included."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime for each in used), sum(each.ru_stime for each in used)


def peak_bytes() -> int:
    """The most memory that this process had at a time.

    Linux's ru_maxrss goes on from what the parent had before the program was started; /proc tells our own.
    """
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    except (OSError, IndexError):
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    main()
