"""What a replay leaves behind besides its table: a folder, a report, captures. Which of them share what is here.

A report is made from a run's folder, so that the two never differ; where nobody wants the folder it is a temporary one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from rxtls.errors import UsageError
from rxtls.run.annotate import write_annotated
from rxtls.run.jobs import Taker
from rxtls.run.options import OutputOptions
from rxtls.run.plain import PlainCapture
from rxtls.run.replay import Replay
from rxtls.system.files import Name, Output, apart, discard, json_parts, make_directory, scratch, utf8, writing
from rxtls.version import __version__

if TYPE_CHECKING:
    from rxtls.study.metrics import Counts
    from rxtls.study.store import RunWriter


@dataclass
class Outputs:
    """`wanted` says which. `inputs` are files that none of them may replace. `sort` is the order of the report's flows
    (ranking.py), None for its own.

    A context: what was only needed meanwhile is gone when it is left, and so is what is not whole.
    """

    wanted: OutputOptions = field(default_factory=OutputOptions)
    inputs: Sequence[Name] = ()
    sort: str | None = None
    _outputs: dict[str, Output] = field(default_factory=dict, repr=False)
    _folder: Path | None = None
    _writer: RunWriter | None = field(default=None, repr=False)
    _plain: PlainCapture | None = field(default=None, repr=False)
    _counts: Counts | None = field(default=None, repr=False)

    @property
    def any(self) -> bool:
        """Whether anything is wanted that is written as the run goes."""
        of = self.wanted
        return any(name is not None for name in (of.out, of.report, of.annotate, of.plain, of.metrics))

    @property
    def watch(self) -> str:
        """What of its inside the run has to show."""
        of = self.wanted
        if of.frames or any(name is not None for name in (of.report, of.annotate, of.metrics)):
            return "frames"
        return "events" if of.out is not None else "nothing"

    def __enter__(self) -> Self:
        """What cannot be written, or would replace something, is better said before the run: UsageError."""
        from rxtls.study.store import files

        names = {what: getattr(self.wanted, what) for what in ("report", "annotate", "plain", "metrics", "json")}
        wanted = {what: name for what, name in names.items() if name not in (None, "-")}
        folder = [] if self.wanted.out is None else [Path(self.wanted.out) / name for name in files()]
        apart([*wanted.values(), *folder], self.inputs)
        if self.wanted.out is not None:
            self._folder = make_directory(self.wanted.out)
        try:
            for what, name in wanted.items():
                self._outputs[what] = Output(name, what == "plain" or (what == "annotate" and self.wanted.embed_keys))
        except UsageError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for output in self._outputs.values():
            output.drop()
        if self._writer is not None:
            self._writer.drop()
        if self.wanted.out is None and self._folder is not None:
            discard(self._folder)

    def takers(self, run: Replay) -> Sequence[Taker]:
        """Who has to be given each batch of the run. UsageError if what is wanted cannot be had of these captures."""
        from rxtls.study.store import RunWriter

        if self.wanted.annotate is not None and run.source.total_bytes is None:
            raise UsageError("--annotate reads the captures twice, and a pipe can be read only once")
        takers: list[Taker] = []
        if any(name is not None for name in (self.wanted.out, self.wanted.report, self.wanted.annotate)):
            self._folder = self._folder or scratch()
            self._writer = RunWriter(self._folder, run)
            takers.append(self._writer)
        if self.wanted.plain is not None:
            self._plain = PlainCapture(self._outputs["plain"], run)
            takers.append(self._plain)
        if self.wanted.metrics is not None:
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
        if self._counts is not None and self.wanted.metrics is not None:
            from rxtls.study.metrics import exposed

            self._counts.finish()
            with self._outputs["metrics"] as output:
                for line in exposed(summary, self._counts):
                    output.write(utf8(line))
        if self._writer is not None and self._folder is not None:
            self._close(self._writer, self._folder, run, summary)
        if "json" in self._outputs:
            with self._outputs["json"] as output:
                for part in json_parts(summary):
                    output.write(part.encode())

    def _write(self, what: str, data: bytes) -> None:
        with self._outputs[what] as output:
            output.write(data)

    def _close(self, writer: RunWriter, folder: Path, run: Replay, summary: dict[str, Any]) -> None:
        """What is made of the run's folder."""
        writer.close(summary)
        if self.wanted.report is not None:
            from rxtls.study.report import report_page
            from rxtls.study.run import Run

            self._write("report", report_page(Run(folder), sort=self.sort))
        if self.wanted.annotate is not None:
            from rxtls.study.comments import comments
            from rxtls.study.run import Run

            keylog = run.keys.used() if self.wanted.embed_keys else ""
            by = f"rxtls {__version__}"
            with self._outputs["annotate"] as output, writing(self.wanted.annotate):
                write_annotated(run.source.names, comments(Run(folder)), output.file, by, keylog, run.options.order)
        if self.wanted.out is not None and not self.wanted.frames:
            (folder / "frames.parquet").unlink(missing_ok=True)
