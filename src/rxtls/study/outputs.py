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

from rxtls.edge.files import create
from rxtls.edge.jobs import Taker
from rxtls.edge.replay import Replay

if TYPE_CHECKING:
    from rxtls.study.store import RunWriter


@dataclass
class Outputs:
    """Files that are wanted, None where not: `out` a folder, with a row per frame if `frames`; `report` an HTML file.

    A context: what was only needed meanwhile is gone when it is left.
    """

    out: str | None = None
    frames: bool = False
    report: str | None = None
    _folder: Path | None = None
    _writer: RunWriter | None = field(default=None, repr=False)

    @property
    def any(self) -> bool:
        """Whether anything is wanted."""
        return self.out is not None or self.report is not None

    @property
    def watch(self) -> str:
        """What of its inside the run has to show."""
        if self.frames or self.report is not None:
            return "frames"
        return "events" if self.any else "nothing"

    def __enter__(self) -> Self:
        """What cannot be written is better said before the run: UsageError."""
        if self.report is not None:
            create(self.report).close()
        return self

    def __exit__(self, *_: object) -> None:
        if self.out is None and self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def takers(self, run: Replay) -> Sequence[Taker]:
        """Who has to be given each batch of the run."""
        from rxtls.study.store import RunWriter

        self._folder = Path(self.out if self.out is not None else tempfile.mkdtemp(prefix="rxtls-"))
        self._writer = RunWriter(self._folder, run)
        return [self._writer]

    def close(self, summary: dict[str, Any]) -> None:
        """The run is over: write what is still to be written."""
        if self._writer is None or self._folder is None:
            return
        self._writer.close(summary)
        if self.report is not None:
            from rxtls.study.report import write_report
            from rxtls.study.run import Run

            write_report(Run(self._folder), self.report)
        if self.out is not None and not self.frames:
            (self._folder / "frames.parquet").unlink(missing_ok=True)
