"""--jobs: the connections of a run divided among processes, and one result.

Every job reads all captures and follows its share of the connections; the parsing of payload, decryption and the host
are what is divided. This process is job 0, the others are forked from it once the run is made: they begin with modules,
kernels and key logs in place and nothing is handed over. (A spawned process would first spend half a second on imports,
and read all keys again.) Forking where other threads run is not safe; there, and where there is no fork, one job does
it all. So it is with pipes, which cannot be read twice.

What the jobs found is put together by merge.py. Where it has something against that (a bound over all connections may
have bound, the captures changed meanwhile), or where a job did not come to its end, all is done again by one job, and
`Done.note` says why. Results are those of one job in any case, to the last number but `jobs` and `wall_seconds`.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from rxtls.errors import UsageError
from rxtls.host.flow import Flow
from rxtls.path.records import Records
from rxtls.run.merge import Found, merged, numbers, why_not
from rxtls.run.replay import Replay
from rxtls.run.streams import Streams, gather
from rxtls.run.summary import in_order, sight
from rxtls.system import ending
from rxtls.system.files import Name, discard, scratch

MOST = 64  # as wire/compiled/shard.py has it
WORTH = 32 << 20  # bytes of capture for each job: less is not worth a process

Watch = Callable[[Replay], Iterable[Records]]


class Taker(Protocol):
    """Somebody who takes in a run batch by batch, while it goes: a writer of files."""

    def take(self, records: Records) -> None: ...


@dataclass(slots=True)
class Done:
    """A run at its end: `summary` is its JSON; `note` says why fewer jobs ran than were asked for."""

    run: Replay
    summary: dict[str, Any]
    note: str | None = None


def cores() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def replay(
    make: Callable[[], Replay],
    jobs: int | None = None,
    streams: str | os.PathLike[str] | None = None,
    watch: Watch = Replay.batches,
    takers: Callable[[Replay], Sequence[Taker]] | None = None,
    gaps: str = "skip",
    inputs: Sequence[Name] = (),
) -> Done:
    """Walk the run that `make` makes to its end by `jobs` processes, by default one for each core, if it is worth it.

    `streams` is a directory for the plaintext, `gaps` what its files do at gaps, `inputs` what none of them may replace
    (streams.py). `watch` walks a run, and may show how far it is. `takers` makes those who are given each batch; they
    want all of a run in order, so that one job does it then. Raises UsageError for a number of jobs that cannot be, and
    what making and walking a run raise.
    """
    if jobs is not None and not 1 <= jobs <= MOST:
        raise UsageError(f"jobs is a number from 1 to {MOST}, not {jobs}")
    run = make()
    started = time.perf_counter()
    size, against = run.source.total_bytes, _against()
    run.path.options.by_completion = takers is not None  # in files of one direction each it is not to be seen
    note = None
    if size is None:
        note = "a pipe is read by one job" if jobs and jobs > 1 else None
    elif takers is not None:
        note = "one job runs: tables and captures are written as the run goes" if jobs and jobs > 1 else None
    elif run.options.nic is not None:
        note = "one job runs: a NIC of one's own is one" if jobs and jobs > 1 else None
    elif against is not None:
        note = f"one job runs: {against}" if jobs and jobs > 1 else None
    elif (jobs := jobs or min(cores(), size // WORTH, MOST)) > 1:
        shared = _Shared(run, jobs, streams, gaps, inputs)
        reason = shared.walk(watch)
        if reason is None:
            summary = merged(shared.found)
            summary["wall_seconds"] = round(time.perf_counter() - started, 6)
            return Done(run, summary)
        run, note = make(), f"all was done again by one job: {reason}"
    writer = None if streams is None else Streams(streams, gaps=gaps, inputs=inputs)
    _walk(run, watch, writer, () if takers is None else takers(run))
    return Done(run, run.summary(), note)


def _against() -> str | None:
    """Why this process cannot be forked, if it cannot."""
    if not hasattr(os, "fork"):
        return "there is no fork on this system"
    if ending.other_threads():
        return "other threads run in this process"
    return None


def follow(
    run: Replay,
    job: int,
    jobs: int,
    watch: Watch = Replay.batches,
    streams: Callable[[], Streams] | None = None,
) -> Found:
    """Walk a run to its end as job `job` of `jobs`; what it found. `streams` are to be named by first frames."""
    run.share(job, jobs)
    _walk(run, watch, streams and streams())
    return Found(
        run.summary(),
        [_begun(flow) for flow in in_order(run)],
        [sight(run, flow) for flow in in_order(run)],
        run.path.ledger.entered,
        run.feed.partition(),
        run.path.front.most_flows,
        {address: host.most_receive_tags for address, host in run.path.hosts.items()},
        run.path.most_held,
    )


def _walk(run: Replay, watch: Watch, writer: Streams | None, takers: Sequence[Taker] = ()) -> None:
    try:
        for records in watch(run):
            for taker in takers:
                taker.take(records)
            if writer is not None:
                for record in records.views():
                    writer.write(run.path.flows[record.flow], record)
        if writer is not None:
            writer.close()
    finally:
        if writer is not None:
            writer.drop()


class _Shared:
    """A run divided among jobs. `found` is what they found, if `walk` has nothing against it."""

    def __init__(
        self, run: Replay, jobs: int, streams: str | os.PathLike[str] | None, gaps: str, inputs: Sequence[Name]
    ) -> None:
        self.found: list[Found] = []
        self._run = run
        self._jobs = jobs
        self._gaps = gaps
        self._inputs = inputs
        self._streams = None if streams is None else Path(streams)
        self._written: Path | None = None  # where all jobs write streams, until connections have their numbers

    def walk(self, watch: Watch) -> str | None:
        """Walk the run; why there is no result, if there is none."""
        if self._streams is not None:
            Streams(self._streams, gaps=self._gaps, shared=self._streams)  # makes the directory, or says that it cannot
            self._written = scratch(self._streams)
        run, jobs, written = self._run, self._jobs, self._written
        streams: Callable[[], Streams] | None = None
        if written is not None and self._streams is not None:
            streams = partial(Streams, self._streams, _begun, self._gaps, shared=written)
        others: list[_Other] = []
        try:
            for job in range(1, jobs):
                others.append(_Other(partial(follow, run, job, jobs, streams=streams)))
            found = [follow(run, 0, jobs, watch, streams), *(other.found() for other in others)]
            self.found = [each for each in found if each is not None]
            if len(self.found) < self._jobs:
                return "a job did not come to its end"
            reason = why_not(self.found)
            if reason is None and written is not None and self._streams is not None:
                gather(written, self._streams, numbers(self.found), self._inputs)
            return reason
        except BlockingIOError as failure:  # fork's: this user may have no more processes
            return f"another process could not be begun ({failure.strerror})"
        finally:
            for other in others:
                other.end()
            if written is not None:
                discard(written)


class _Other:
    """Another job, in a process of its own."""

    def __init__(self, work: Callable[[], Found]) -> None:
        context = get_context("fork")
        self._results, results = context.Pipe(duplex=False)
        self._process = context.Process(target=_child, args=(work, results), daemon=True)
        with ending.held(), warnings.catch_warnings():
            # Libraries may have threads of their own, which wait for work and hold nothing.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._process.start()
        results.close()  # so that its end shows here

    def found(self) -> Found | None:
        """What it found; None if it did not come to its end."""
        try:
            found: Found = self._results.recv()
            return found
        except EOFError:
            return None

    def end(self) -> None:
        """See it go, one way or the other."""
        self._process.kill()
        self._process.join()
        self._process.close()
        self._results.close()


def _child(work: Callable[[], Found], results: Connection) -> None:
    ending.is_child()
    try:
        results.send(work())
    except Exception:
        # Whatever it is, the one job that does it all again comes upon it, too, and has somebody to tell.
        os._exit(1)


def _begun(flow: Flow) -> int:
    return flow.connection.start_frame
