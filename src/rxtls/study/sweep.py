"""A sweep: all points of a study, over the cores, each one kept as soon as it is done.

    DIR/points.jsonl      one line a point, in the order in which they were done: what a later run goes on from
    DIR/results.parquet   all of them, in the order of the grid: the same bytes whenever and however they were run
    DIR/plot.svg          the curves

A point is found again by the digest of its values and of the code; after a change of either it is run anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import rxtls
from rxtls.errors import UsageError
from rxtls.simulation.knobs import NAMES
from rxtls.study.plan import Point, Study
from rxtls.study.point import Row, run_point
from rxtls.system.files import Output, make_directory, writing
from rxtls.system.workers import WorkerLostError, spread

POINTS, RESULTS, PLOT = "points.jsonl", "results.parquet", "plot.svg"


@dataclass(slots=True)
class Swept:
    """The results of a study: `rows` in the order of its points; how many of them were there before."""

    study: Study
    rows: list[Row]
    resumed: int

    def table(self) -> list[Row]:
        """One row a point: its grid values first, then the counts, then everything else that it depends on."""
        return [
            {**_shown(point), **row, **_all(point)} for point, row in zip(self.study.points, self.rows, strict=True)
        ]


def sweep(study: Study, directory: Path, jobs: int = 1, progress: Callable[[int, int], None] | None = None) -> Swept:
    """Run what is not there yet. A run that is broken off loses at most the points that it was at."""
    make_directory(directory)
    with writing(directory / POINTS):
        known = _read(directory / POINTS)
    keys = [f"{point.key}-{code_digest()}" for point in study.points]
    todo = [(key, point) for key, point in dict(zip(keys, study.points, strict=True)).items() if key not in known]
    resumed = len(study.points) - len(todo)
    try:
        with writing(directory / POINTS), open(directory / POINTS, "a") as log:
            if log.tell() and not _ends_a_line(directory / POINTS):
                log.write("\n")  # a run that was broken off had begun a line
            pieces = [(point,) for _, point in todo]
            for done, (place, row) in enumerate(spread(run_point, pieces, jobs), 1):
                key = todo[place][0]
                known[key] = row
                log.write(json.dumps({"key": key, "row": row}) + "\n")
                log.flush()
                if progress:
                    progress(done, len(todo))
    except WorkerLostError:
        raise UsageError(f"a process of the sweep ended before its point; what was done is in {directory}") from None
    return Swept(study, [known[key] for key in keys], resumed)


def _ends_a_line(path: Path) -> bool:
    with open(path, "rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"


def _read(path: Path) -> dict[str, Row]:
    """The points that are done. A last line that was cut off is no point."""
    known: dict[str, Row] = {}
    if path.exists():
        for line in path.read_text().splitlines():
            try:
                entry = json.loads(line)
                known[entry["key"]] = entry["row"]
            except (ValueError, KeyError, TypeError):
                continue
    return known


@cache
def code_digest() -> str:
    """Of the whole package: results of other code are not gone on with."""
    digest = sha256()
    root = Path(rxtls.__file__).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _shown(point: Point) -> Row:
    return {name: str(value) if isinstance(value, list | dict) else value for name, value in point.varied.items()}


def _all(point: Point) -> Row:
    knobs: dict[str, Any] = {name: getattr(point.knobs, name) for name in NAMES}
    settings = {f"set.{name}": value for name, value in point.settings.items()}
    everything = {**knobs, "profile": point.profile, "policy": point.policy, **settings}
    return {name: value for name, value in everything.items() if name not in point.varied}


def write_results(swept: Swept, directory: Path) -> Path:
    """The Parquet file."""
    import polars

    path = directory / RESULTS
    frame = polars.DataFrame(swept.table(), infer_schema_length=None, strict=False)
    counts = [name for name, kind in frame.schema.items() if kind.is_integer()]
    with Output(path) as output, writing(path):
        whole = frame.with_columns(polars.col(counts).fill_null(0))
        whole.write_parquet(output.file, compression="zstd", statistics=False)
    return path
