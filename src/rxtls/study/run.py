"""A run that was written to a folder, opened again: `rxtls.open(DIR)`.

    run = rxtls.open("out")
    run.records.filter(pl.col("class") == "mixed")       polars data frames, read when first asked for
    run.scan("frames").group_by("verdict").len()         the same, lazily: nothing is read that is not needed
    run.summary["flows"][0]["sni"]                        the JSON

In a notebook the run shows its summary.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow.parquet as pq

from rxtls.errors import UsageError
from rxtls.option import shown
from rxtls.study.store import SUMMARY
from rxtls.study.store import schema as arrow_schema
from rxtls.study.tables import TABLES, VERSION, VERSION_KEY
from rxtls.study.verdict import answer, base


class Run:
    """The folder `directory`. UsageError if it holds no run, or one of tables that this version does not know."""

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        if not isinstance(directory, str | os.PathLike):
            raise UsageError(f"a run is a folder by its name, not {shown(directory)}")
        self.directory = Path(directory)
        try:
            self.summary: dict[str, Any] = json.loads((self.directory / SUMMARY).read_text())
        except (OSError, ValueError) as failure:
            cause = failure.strerror if isinstance(failure, OSError) and failure.strerror else "is not JSON"
            raise UsageError(
                f"{self.directory / SUMMARY}: {cause}; a run is a folder written by rxtls replay --out"
            ) from None
        with as_written(self.directory / SUMMARY):
            self._repr_html_()  # which looks at what everybody looks at

    @cached_property
    def records(self) -> pl.DataFrame:
        """One row per TLS record."""
        return self._table("records")

    @cached_property
    def flows(self) -> pl.DataFrame:
        """One row per direction of a connection."""
        return self._table("flows")

    @cached_property
    def resync(self) -> pl.DataFrame:
        """One row per event between NIC and host."""
        return self._table("resync")

    @cached_property
    def frames(self) -> pl.DataFrame:
        """One row per frame. UsageError if the run was written without them."""
        return self._table("frames")

    @property
    def tables(self) -> list[str]:
        """Those that there are."""
        return [name for name in TABLES if self._path(name).exists()]

    def scan(self, table: str) -> pl.LazyFrame:
        """One of the tables, lazily."""
        path = self._path(table)
        if table not in TABLES:
            raise UsageError(f"no table {table!r}; there are {', '.join(TABLES)}")
        if not path.exists():
            hint = " (the run was written without --frames)" if table == "frames" else ""
            raise UsageError(f"{path}: No such file or directory{hint}")
        try:
            with open(path, "rb") as file:
                schema = pq.read_schema(file)
            version = int((schema.metadata or {}).get(VERSION_KEY, b"0"))
        except (OSError, ValueError):
            raise UsageError(f"{path}: is not a Parquet file") from None
        if version != VERSION:
            raise UsageError(f"{path}: tables of version {version}; this rxtls reads version {VERSION}")
        lacking = [name for name in TABLES[table] if name not in schema.names]
        if refused := [name for name in lacking if TABLES[table][name].since <= self.summary.get("schema", 1)]:
            raise UsageError(f"{path}: lacks the column {refused[0]!r}")
        try:
            os.fspath(path).encode()
            scanned = pl.scan_parquet(path)
        except UnicodeEncodeError:  # a name that is no UTF-8, which polars does not take
            scanned = pl.scan_parquet(path.read_bytes())
        if not lacking:
            return scanned
        types = pl.DataFrame(arrow_schema(TABLES[table]).empty_table()).schema
        return scanned.with_columns(pl.lit(None, types[name]).alias(name) for name in lacking).select(*TABLES[table])

    def _table(self, name: str) -> pl.DataFrame:
        with as_written(self._path(name)):
            return self.scan(name).collect()

    def __repr__(self) -> str:
        return f"<rxtls run {str(self.directory)!r}: {answer(self.summary)}>"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        sums = base(self.summary).sums
        rows = "".join(
            f"<tr><td>{escape(name)}</td><td style='text-align:right'>{sums[f'records.{name}']:,}</td>"
            f"<td style='text-align:right'>{sums[f'bytes.{name}']:,}</td></tr>"
            for name in ("decrypted", "mixed", "encrypted", "failed", "unjudged", "unknown", "library")
        )
        names = ", ".join(escape(Path(name).name) for name in self.summary["captures"])
        return (
            f"<div><b>{names}</b>, {escape(self.summary['profile'])}, {escape(self.summary['policy'])}"
            f"<p>{escape(answer(self.summary))}</p>"
            f"<table><thead><tr><th>class</th><th>records</th><th>bytes</th></tr></thead><tbody>{rows}</tbody></table>"
            f"<p>tables: {', '.join(self.tables)}</p></div>"
        )

    def _path(self, table: str) -> Path:
        return self.directory / f"{table}.parquet"


@contextmanager
def as_written(path: Path) -> Iterator[None]:
    """What fails in this block since the folder of a run is not as it was written is a UsageError."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, pl.exceptions.PolarsError) as failure:
        lines = str(failure).splitlines() or [""]
        raise UsageError(f"{path}: is not as rxtls wrote it ({type(failure).__name__}: {lines[0][:200]})") from None


def offsets(seqs: npt.NDArray[np.int64], base: int) -> npt.NDArray[np.int64]:
    """TCP sequence numbers, none far from the one before, as distances from `base`."""
    steps = np.diff(seqs, prepend=base)
    found: npt.NDArray[np.int64] = np.cumsum((steps + (1 << 31)) % (1 << 32) - (1 << 31))
    return found
