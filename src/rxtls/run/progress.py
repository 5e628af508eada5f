"""A progress bar on a terminal: bytes of capture read, rate, time left. Elsewhere nothing is shown."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from rxtls.path.records import Records
from rxtls.run.replay import Replay


def watched(run: Replay, quiet: bool) -> Iterator[Records]:
    """The run's records in bulk, with its progress on standard error when that is a terminal."""
    if quiet or sys.stderr is None or not sys.stderr.isatty():
        yield from run.batches()
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("replay", total=run.source.total_bytes)
        yield from run.batches(lambda now: progress.update(task, completed=now.source.bytes_read))
