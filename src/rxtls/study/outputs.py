"""What a replay leaves behind besides its table: a folder, a report, captures. Which of them share what is here.

A report is made from a run's folder, so that the two never differ; where nobody wants the folder it is a temporary one.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from rxtls.edge.annotate import write_annotated
from rxtls.edge.files import create, write_text, writing
from rxtls.edge.jobs import Taker
from rxtls.edge.plain import PlainCapture
from rxtls.edge.replay import Replay
from rxtls.errors import UsageError
from rxtls.version import __version__

if TYPE_CHECKING:
    from rxtls.study.metrics import Counts
    from rxtls.study.store import RunWriter


@dataclass
class Outputs:
    """Files that are wanted, None where not: `out` a folder, with a row per frame if `frames`; `report` an HTML file;
    `annotate` a capture with comments, and with keys if `embed_keys`; `plain` a capture of the plaintext;
    `metrics` counters in Prometheus' text format.

    A context: what was only needed meanwhile is gone when it is left.
    """

    out: str | None = None
    frames: bool = False
    report: str | None = None
    annotate: str | None = None
    embed_keys: bool = False
    plain: str | None = None
    metrics: str | None = None
    _folder: Path | None = None
    _writer: RunWriter | None = field(default=None, repr=False)
    _plain: PlainCapture | None = field(default=None, repr=False)
    _counts: Counts | None = field(default=None, repr=False)

    @property
    def any(self) -> bool:
        """Whether anything is wanted."""
        return any(name is not None for name in (self.out, *self.files))

    @property
    def files(self) -> tuple[str | None, ...]:
        """All but the folder."""
        return self.report, self.annotate, self.plain, self.metrics

    @property
    def watch(self) -> str:
        """What of its inside the run has to show."""
        if self.frames or any(name is not None for name in (self.report, self.annotate, self.metrics)):
            return "frames"
        return "events" if self.out is not None else "nothing"

    def __enter__(self) -> Self:
        """What cannot be written is better said before the run: UsageError."""
        for name in self.files:
            if name is not None:
                create(name).close()
        return self

    def __exit__(self, *_: object) -> None:
        if self.out is None and self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def takers(self, run: Replay) -> Sequence[Taker]:
        """Who has to be given each batch of the run. UsageError if what is wanted cannot be had of these captures."""
        from rxtls.study.store import RunWriter

        if self.annotate is not None and run.source.total_bytes is None:
            raise UsageError("--annotate reads the captures twice, and a pipe can be read only once")
        takers: list[Taker] = []
        if any(name is not None for name in (self.out, self.report, self.annotate)):
            self._folder = Path(self.out if self.out is not None else tempfile.mkdtemp(prefix="rxtls-"))
            self._writer = RunWriter(self._folder, run)
            takers.append(self._writer)
        if self.plain is not None:
            self._plain = PlainCapture(self.plain, run)
            takers.append(self._plain)
        if self.metrics is not None:
            from rxtls.study.metrics import Counts

            self._counts = Counts(run)
            takers.append(self._counts)
        return takers

    def walk(self, run: Replay) -> dict[str, Any]:
        """Take a whole run, and write all; its summary."""
        takers = self.takers(run)
        for records in run.batches():
            for taker in takers:
                taker.take(records)
        summary = run.summary()
        self.close(run, summary)
        return summary

    def close(self, run: Replay, summary: dict[str, Any]) -> None:
        """The run is over: write what is still to be written."""
        if self._plain is not None:
            self._plain.close()
        if self._counts is not None and self.metrics is not None:
            from rxtls.study.metrics import exposed

            self._counts.finish()
            write_text(self.metrics, exposed(summary, self._counts))
        if self._writer is None or self._folder is None:
            return
        self._writer.close(summary)
        if self.report is not None:
            from rxtls.study.report import write_report
            from rxtls.study.run import Run

            write_report(Run(self._folder), self.report)
        if self.annotate is not None:
            self._annotate(self._folder, run, self.annotate)
        if self.out is not None and not self.frames:
            (self._folder / "frames.parquet").unlink(missing_ok=True)

    def _annotate(self, folder: Path, run: Replay, name: str) -> None:
        from rxtls.study.comments import comments
        from rxtls.study.run import Run

        keylog = run.keys.used() if self.embed_keys else ""
        with create(name) as file, writing(name):
            write_annotated(
                run.source.names, comments(Run(folder)), file, f"rxtls {__version__}", keylog, run.options.order
            )
