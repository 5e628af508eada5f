"""A run opened again, and what goes wrong with folders that are none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import rxtls
from rxtls.cli.app import app
from rxtls.errors import UsageError
from rxtls.study.report import write_report
from rxtls.study.run import Run
from rxtls.study.store import RunWriter
from rxtls.study.tables import TABLES, VERSION_KEY

EXAMPLE = Path(__file__).parents[2] / "examples" / "loss-reorder-tls13-aes256gcm"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("run")
    run = rxtls.replay(f"{EXAMPLE}.pcap", f"{EXAMPLE}.keys", watch="events")
    writer = RunWriter(directory, run)
    for records in run.batches():
        writer.take(records)
    writer.close(run.summary())
    return directory


def test_a_run_says_what_came_of_it(folder: Path) -> None:
    run = rxtls.open(folder)
    assert isinstance(run, rxtls.Run)
    assert "29 % of 4.0 MB in TLS records were decrypted by the NIC" in repr(run)
    shown = run._repr_html_()
    assert "1 direction lost sync 6 times" in shown
    assert ">decrypted</td><td style='text-align:right'>70<" in shown
    assert "tables: records, flows, resync" in shown
    assert run.records is run.records  # read once


def test_what_a_notebook_shows_is_escaped(folder: Path, tmp_path: Path) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    summary["captures"] = ["<script>alert(1)</script>.pcap"]
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    shown = Run(tmp_path)._repr_html_()
    assert "<script" not in shown
    assert "script&gt;.pcap" in shown


def test_folders_that_hold_no_run(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"summary\.json: No such file or directory; a run is a folder written by"):
        rxtls.open(tmp_path / "nowhere")
    (tmp_path / "summary.json").write_text("{")
    with pytest.raises(UsageError, match=r"summary\.json: is not JSON"):
        rxtls.open(tmp_path)
    run = rxtls.open(folder)
    with pytest.raises(UsageError, match="no table 'packets'; there are records, flows, resync, frames"):
        run.scan("packets")
    with pytest.raises(UsageError, match="written without --frames"):
        _ = run.frames


def test_tables_of_another_version_or_none(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_bytes((folder / "summary.json").read_bytes())
    run = rxtls.open(tmp_path)
    (tmp_path / "records.parquet").write_text("no table")
    with pytest.raises(UsageError, match=r"records\.parquet: is not a Parquet file"):
        run.scan("records")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "flows.parquet")
    with pytest.raises(UsageError, match=r"flows\.parquet: tables of version 0; this rxtls reads version 1"):
        run.scan("flows")
    pq.write_table(pa.table({"a": [1]}).replace_schema_metadata({VERSION_KEY: b"2"}), tmp_path / "resync.parquet")
    with pytest.raises(UsageError, match="tables of version 2"):
        run.scan("resync")


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    """The package, its help and its light commands."""
    code = (
        "import sys, rxtls, rxtls.cli.app\n"
        "heavy = {'numba', 'polars', 'pyarrow', 'numpy', 'rxtls.study.run'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "sys.argv = ['rxtls', 'counters']\n"
        "try: rxtls.cli.app.main()\n"
        "except SystemExit as done: assert done.code == 0\n"
        "heavy = {'numba', 'polars', 'pyarrow'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "record.mixed" in done.stdout


def test_a_run_of_schema_1_is_read_with_what_it_has(tmp_path: Path) -> None:
    """Written by rxtls 0.1.0 of `rxtls simulate --records 12 --loss 4 --seed 2`."""
    run = rxtls.open(Path(__file__).parents[1] / "data" / "run-schema-1")
    assert run.summary["schema"] == 1
    assert "in TLS records were decrypted by the NIC" in repr(run)
    for name, columns in TABLES.items():
        frame = run.scan(name).collect()
        assert frame.columns == list(columns)
        assert frame.height
        assert all(frame[each].null_count() == frame.height for each, column in columns.items() if column.since > 1)
    write_report(run, tmp_path / "r.html")
    assert "Totals are of 1 direction seen at the receiver" in (tmp_path / "r.html").read_text()
    result = CliRunner().invoke(app, ["explain", str(run.directory), "0"])
    assert (result.exit_code, "In all: " in result.output) == (0, True)
