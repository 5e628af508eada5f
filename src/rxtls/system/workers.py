"""Work divided among processes of their own: each takes the next piece when it is done with one.

They are begun anew ("spawn"), not forked: numba and the progress bar have threads by now. The caller's script is not
run again in them, as Python would for functions that stand there: ours stand in modules, and a script without a main
guard would begin everything once more. A worker ends with its parent, whatever becomes of that.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import Any, TypeVar

from rxtls.system import ending

Result = TypeVar("Result")


class WorkerLostError(Exception):
    """A process ended before its piece of work did."""


def spread(function: Callable[..., Result], work: Sequence[tuple[Any, ...]], jobs: int) -> Iterator[tuple[int, Result]]:
    """(place in `work`, `function` of what stands there), as they are done, by at most `jobs` processes; by this one if
    that is 1. Raises what `function` does, and WorkerLostError."""
    if jobs <= 1 or len(work) <= 1:
        for place, each in enumerate(work):
            yield place, function(*each)
        return
    waiting = iter(enumerate(work))
    busy: dict[Connection, int] = {}
    processes: list[BaseProcess] = []
    try:
        for _ in range(min(jobs, len(work))):
            ours = _begin(processes)
            _hand(ours, function, waiting, busy)
        while busy:
            for ready in wait(list(busy)):
                assert isinstance(ready, Connection)
                try:
                    result, failure = ready.recv()
                except (EOFError, OSError):
                    raise WorkerLostError from None
                if failure is not None:
                    raise failure
                yield busy.pop(ready), result
                _hand(ready, function, waiting, busy)
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.join()


def _hand(to: Connection, function: Any, waiting: Iterator[tuple[int, Any]], busy: dict[Connection, int]) -> None:
    """The next piece, if there is one."""
    for place, arguments in waiting:
        try:
            to.send((function, arguments))
        except OSError:
            raise WorkerLostError from None
        busy[to] = place
        return


def _begin(processes: list[BaseProcess]) -> Connection:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    main = sys.modules["__main__"]
    resource_tracker.ensure_running()  # else the first worker's start begins it, and unblocks SIGINT doing so
    with ending.held():
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            process.start()
        finally:
            sys.modules["__main__"] = main
        processes.append(process)
    theirs.close()
    return ours


def _serve(connection: Connection) -> None:
    with suppress(EOFError, OSError):  # the parent has ended
        while True:
            function, arguments = connection.recv()
            result, failure = None, None
            try:
                result = function(*arguments)
            except Exception as raised:
                failure = raised
            connection.send((result, failure))
