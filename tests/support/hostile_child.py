"""A replay in a process of its own, held to processor time and memory: what it came to, what it cost, how it ended.

The child is a fork: modules are loaded already, and its high-water mark begins with them. Time is the processor's, of
the child and of whom it started; so a loaded machine changes nothing. Beyond KILLED times the budget it is ended.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import resource
import select
import signal
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from capture_blocks import pcap_frame, pcap_header
from rxtls.errors import RxtlsError
from rxtls.path.engines import why_not_compiled
from rxtls.run.jobs import replay as in_jobs
from rxtls.run.options import ReplayOptions
from rxtls.run.replay import Replay
from rxtls.run.summary import exit_status

KILLED = 3  # times the budget of processor time
IDLE = 900  # seconds of silence after which a child is taken for stuck
CEILING = 6 << 30  # bytes of address space: no fault here is to take the machine along

# What may differ between engines, jobs and machines; everything else of the summary may not.
_OWN = ("rxtls", "wall_seconds", "engine", "libcrypto", "jobs")


class Cost(NamedTuple):
    """How a child ended: `value` or, in words, `fault`; seconds of processor time; the most bytes of any process."""

    value: Any
    fault: str | None
    seconds: float
    memory: int


class Came(NamedTuple):
    """What a run came to. `digest` is over all that engines must agree on, `parts` the same piece by piece."""

    status: int
    balance: int
    frames: int
    errors: tuple[str, ...]
    reasons: dict[str, int]
    fates: dict[str, int]
    records: dict[str, int]
    parts: dict[str, str]
    refused: str | None = None


def warm() -> None:
    """Have everything loaded that children will use, machine code as well: a fork has it for nothing."""
    for engine in ("plain",) if why_not_compiled() else ("plain", "compiled"):
        with tempfile.NamedTemporaryFile(suffix=".pcap") as file:
            file.write(pcap_header() + pcap_frame(bytes(60)))
            file.flush()
            replayed([Path(file.name)], [], {"engine": engine, "filter": "port 443"})


def bounded(function: Callable[..., Any], *arguments: Any, seconds: float) -> Cost:
    """Call it in a child. A fault is an exception with the place of ours that raised it, a signal, or silence."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        _run(function, arguments, seconds, read, write)
    os.close(write)
    parts, deadline = [], time.monotonic() + IDLE
    stuck = False
    while True:
        if not select.select([read], [], [], max(0.0, deadline - time.monotonic()))[0]:
            os.kill(child, signal.SIGKILL)
            stuck = True
            break
        if not (part := os.read(read, 1 << 20)):
            break
        parts.append(part)
    os.close(read)
    _, status, usage = os.wait4(child, 0)
    told = b"".join(parts)
    value, fault = pickle.loads(told) if told and not stuck else (None, None)
    if stuck:
        fault = f"nothing for {IDLE} s"
    elif os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        fault = "killed: too much processor time" if number == signal.SIGXCPU else signal.Signals(number).name
    elif not told:
        fault = f"ended with {os.waitstatus_to_exitcode(status)} and said nothing"
    return Cost(value, fault, usage.ru_utime + usage.ru_stime, usage.ru_maxrss << 10)


def _run(function: Callable[..., Any], arguments: tuple[Any, ...], seconds: float, read: int, write: int) -> None:
    status = 1
    try:
        os.close(read)
        limit = int(KILLED * seconds) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))
        resource.setrlimit(resource.RLIMIT_AS, (CEILING, CEILING))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        told: tuple[Any, str | None]
        try:
            told = function(*arguments), None
        except BaseException as error:
            told = None, f"{type(error).__name__} at {place(error)}: {str(error)[:200]}"
        with os.fdopen(write, "wb") as out:
            out.write(pickle.dumps(told))
        status = 0
    finally:
        os._exit(status)


def place(error: BaseException) -> str:
    """The innermost line of ours in a traceback."""
    frames = [each for each in traceback.extract_tb(error.__traceback__) if "/rxtls/" in each.filename]
    return f"{frames[-1].filename.partition('/rxtls/')[2]}:{frames[-1].lineno}" if frames else "outside"


def replayed(captures: Sequence[Path], keys: Sequence[Path], options: dict[str, Any], jobs: int = 1) -> Came:
    """A whole run. An error of ours, in one line, is what a run may come to as well."""
    try:
        if jobs > 1:
            done = in_jobs(lambda: Replay(list(captures), list(keys), ReplayOptions(**options)), jobs)
            run, summary = done.run, done.summary
        else:
            run = Replay(list(captures), list(keys), ReplayOptions(**options))
            for _ in run.batches():
                pass
            summary = run.summary()
    except RxtlsError as error:
        if "\n" in str(error):
            raise AssertionError(f"an error of several lines: {str(error)!r}") from error
        return Came(2, 0, 0, (), {}, {}, {}, {}, str(error))
    return came(run, summary)


def came(run: Replay, summary: dict[str, Any]) -> Came:
    """What there is to say of a run that is over."""
    reasons: Counter[str] = Counter()
    records: Counter[str] = Counter()
    for flow in summary["flows"]:
        for received in flow["receive"].values():
            if received is not None:
                reasons[(received["why"] or {"code": "offloaded"})["code"]] += 1
                records.update(received["records"])
    told = {name: value for name, value in summary.items() if name not in _OWN}
    parts = {name: digest(value) for name, value in told.items()}
    for error in run.errors:
        if "\n" in str(error) or not str(error).isprintable():
            raise AssertionError(f"an error of several lines: {str(error)!r}")
    return Came(
        exit_status(run, summary, False),
        summary["balance"],
        summary["frames"],
        tuple(str(each["cause"]) for each in summary["errors"]),
        dict(reasons),
        dict(summary["fates"]),
        dict(records),
        parts,
    )


def digest(value: Any) -> str:
    """Of a part of a summary. A list is taken piece by piece: the text of all flows may be larger than the run was."""
    found = hashlib.sha256()
    for each in value if isinstance(value, list) else [value]:
        found.update(json.dumps(each, sort_keys=True).encode() + b"\n")
    return found.hexdigest()


def differing(one: Came, other: Came) -> list[str]:
    """The parts of the summary in which two runs differ."""
    if one.refused != other.refused:
        return [f"refused: {one.refused!r} and {other.refused!r}"]
    return [name for name in {**one.parts, **other.parts} if one.parts.get(name) != other.parts.get(name)]
