"""The run as a folder: what the tables say is what the run says, whoever reads them, whichever engine wrote them."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import replays
import rxtls
from rxtls.counters import FATES
from rxtls.driver.trace import VERDICTS
from rxtls.errors import UsageError
from rxtls.events import Record
from rxtls.path.engines import why_not_compiled
from rxtls.seq import MASK
from rxtls.simulation.link import Impairment
from rxtls.study import store
from rxtls.study.run import Run
from rxtls.study.store import RunWriter, flow_columns
from rxtls.study.tables import TABLES, VERSION, VERSION_KEY

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
LOSSY = EXAMPLES / "loss-reorder-tls13-aes256gcm"
ENGINES = ["plain"] + (["compiled"] if why_not_compiled() is None else [])


def write(directory: Path, *captures: str | Path, keys: Any = (), **options: Any) -> tuple[rxtls.Replay, Run]:
    """A run written to a folder, and what is read from there."""
    options.setdefault("watch", "frames")
    run = rxtls.replay([str(capture) for capture in captures], keys, **options)
    writer = RunWriter(directory, run)
    for records in run.batches():
        writer.take(records)
    writer.close(run.summary())
    return run, rxtls.open(directory)


def records_of(*captures: str | Path, keys: Any = (), **options: Any) -> tuple[rxtls.Replay, list[Record]]:
    run = rxtls.replay([str(capture) for capture in captures], keys, **options)
    return run, list(run)


def expected(run: rxtls.Replay, record: Record) -> tuple[object, ...]:
    """A record as the table has it, but for `offset`."""
    place = run.place(record.frame)
    return (
        record.flow, record.receiver, record.number, record.type, record.record_class, record.by, record.composition,
        record.tcp_seq, record.wire_length, len(record.data), record.recrypted, record.early_data,
        run.source.names.index(place["file"]), place["frame"], record.time_ns,
    )  # fmt: skip


def rows(frame: pl.DataFrame) -> list[tuple[object, ...]]:
    return frame.with_columns(pl.col("time").dt.timestamp("ns")).rows()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("capture", sorted(EXAMPLES.glob("*.pcap")), ids=lambda path: path.stem)
def test_records_are_those_of_the_run(capture: Path, engine: str, tmp_path: Path) -> None:
    keys = capture.with_suffix(".keys")
    run, records = records_of(capture, keys=keys, engine=engine)
    written = write(tmp_path, capture, keys=keys, engine=engine, call_size=777, watch="events")[1]
    assert rows(written.records.drop("offset")) == [expected(run, record) for record in records]
    for (_, _), one in written.records.group_by("flow", "receiver", maintain_order=True):
        ends = (one["offset"] + one["wire_length"]).to_list()
        assert one["offset"].to_list() == [0, *ends[:-1]]  # records lie end to end


@pytest.mark.parametrize("engine", ENGINES)
def test_tables_add_up_to_the_summary(engine: str, tmp_path: Path) -> None:
    run, written = write(tmp_path, f"{LOSSY}.pcap", keys=f"{LOSSY}.keys", engine=engine, digest=True)
    summary = run.summary()
    told = json.loads((tmp_path / "summary.json").read_text())
    assert told == summary == written.summary
    received = summary["flows"][0]["receive"]["server"]
    mine = pl.col("receiver") == "server"
    records = written.records.filter(mine)
    assert dict(records.group_by("class").len().rows()).items() <= received["records"].items()
    assert records["recrypted"].sum() == received["bytes"]["recrypted"]
    assert records.filter(pl.col("type") == 23)["length"].sum() == received["app_bytes"]
    events = Counter(written.resync.filter(mine)["event"].to_list())
    for event, count in (("lost", "lost"), ("query", "polls"), ("confirmed", "confirmed")):
        assert events[event] == received["resync"][count] > 0
    fates = dict(written.frames.group_by("fate").len().rows())
    assert fates == {name: n for name, n in summary["fates"].items() if name.startswith("frame.")}
    flows = written.flows.filter(mine).row(0, named=True)
    assert flows["sha256"] == received["sha256"]
    assert flows["lost"] == received["resync"]["lost"]
    assert flows["records_mixed"] == received["records"]["mixed"]
    assert (flows["frame"], flows["sni"], flows["why"]) == (5, "example.test", "offloaded")
    assert written.frames["frame"].to_list() == list(range(1, run.frames + 1))
    carried = written.frames.filter(mine, pl.col("length") > 0)
    assert carried.filter(pl.col("verdict") == "decrypted")["decrypted"].sum() == carried["decrypted"].sum() > 0
    assert set(carried["epoch"].to_list()) == {0, 1}


def test_several_captures_are_told_apart(tmp_path: Path) -> None:
    """One connection over two files that were written by turns."""
    talked = replays.download(7, (9000,) * 20)
    frames = replays.one_after_another(talked.frames)
    names = [replays.pcap(tmp_path, frames[half::2], f"{half}.pcap") for half in (0, 1)]
    keys = replays.keys(tmp_path, talked)
    run, records = records_of(*names, keys=keys)
    written = write(tmp_path / "out", *names, keys=keys)[1]
    assert rows(written.records.drop("offset")) == [expected(run, record) for record in records]
    places = [run.place(n) for n in range(run.frames)]
    assert written.frames.select("capture", "frame").rows() == [
        (names.index(place["file"]), place["frame"]) for place in places
    ]
    assert set(written.frames["capture"].to_list()) == {0, 1}


def test_aggregated_frames_have_one_row(tmp_path: Path) -> None:
    """GRO: several segments in a frame, some decrypted and some not."""
    real = ROOT / "tests" / "data" / "real"
    found = 0
    for capture in json.loads((real / "manifest.json").read_text()):
        keys = real / capture["keys"] if capture.get("keys") else ()
        run, written = write(tmp_path, real / capture["file"], keys=keys, settings={"budget": "2"})
        several = written.frames.filter(pl.col("segments") > 1)
        found += several.height
        assert several.height == sum(flow["resegmented"] for flow in run.summary()["flows"])
        assert written.frames.height == run.frames
        mixed = several.filter(pl.col("verdict") == store.SEVERAL)
        assert (mixed["decrypted"] < mixed["length"]).all()
    assert found > 0


@given(
    st.integers(0, MASK),
    st.lists(st.tuples(st.integers(0, 3), st.integers(-(1 << 20), 1 << 24)), min_size=1, max_size=60),
    st.integers(1, 20),
)
def test_offsets_do_not_wrap(start: int, steps: list[tuple[int, int]], size: int) -> None:
    at = dict.fromkeys(range(4), start)
    first: dict[int, int] = {}
    directions, seqs, wanted = [], [], []
    for direction, step in steps:
        at[direction] += step
        first.setdefault(direction, at[direction])
        directions.append(direction)
        seqs.append(at[direction] & MASK)
        wanted.append(at[direction] - first[direction])
    offsets = store._Offsets()
    found: list[int] = []
    for n in range(0, len(seqs), size):
        found += offsets.of(np.array(directions[n : n + size]), np.array(seqs[n : n + size])).tolist()
    assert found == wanted


def test_call_sizes_change_nothing(tmp_path: Path) -> None:
    one, other = (
        write(tmp_path / str(size), f"{LOSSY}.pcap", keys=f"{LOSSY}.keys", call_size=size)[1] for size in (64, 4096)
    )
    for table in TABLES:
        assert one.scan(table).collect().equals(other.scan(table).collect())


def test_only_the_receiver_that_was_asked_for(tmp_path: Path) -> None:
    written = write(tmp_path, f"{LOSSY}.pcap", keys=f"{LOSSY}.keys", receiver="server")[1]
    for table in ("records", "flows", "resync"):
        assert set(written.scan(table).collect()["receiver"].to_list()) == {"server"}
    assert set(written.frames["receiver"].to_list()) == {"server", None}


def test_nothing_secret_is_in_the_folder(tmp_path: Path) -> None:
    talked = replays.download(3, (500,) * 4, down=Impairment(loss=0.05))
    keys = Path(replays.keys(tmp_path, talked))
    write(tmp_path / "out", replays.pcap(tmp_path, talked.frames), keys=keys)
    secrets = [bytes.fromhex(field) for line in keys.read_text().splitlines() for field in line.split()[2:]]
    plaintext = talked.wanted("client")
    assert len(secrets) > 3
    for path in (tmp_path / "out").iterdir():
        content = path.read_bytes() + b"".join(
            str(pq.read_table(path).to_pylist()).encode() for _ in [0] if path.suffix == ".parquet"
        )
        for secret in (*secrets, plaintext[:16], plaintext[-16:]):
            assert secret not in content
            assert secret.hex().encode() not in content


def test_a_capture_without_anything(tmp_path: Path) -> None:
    name = replays.pcap(tmp_path, [])
    written = write(tmp_path / "out", name)[1]
    for table in TABLES:
        frame = written.scan(table).collect()
        assert frame.height == 0
        assert frame.columns == list(TABLES[table])


def test_the_types_are_those_of_the_contract(tmp_path: Path) -> None:
    write(tmp_path, f"{LOSSY}.pcap", keys=f"{LOSSY}.keys")
    for table, columns in TABLES.items():
        schema = pq.read_schema(tmp_path / f"{table}.parquet")
        assert schema.names == list(columns)
        assert schema.metadata[VERSION_KEY] == str(VERSION).encode()
        for field, column in zip(schema, columns.values(), strict=True):
            assert field.nullable == column.null
            assert field.metadata[b"meaning"].decode() == column.meaning
        described = duckdb.execute(f"DESCRIBE SELECT * FROM '{tmp_path}/{table}.parquet'").fetchall()
        duck = {"int64": "BIGINT", "uint64": "UBIGINT", "uint8": "UTINYINT", "bool": "BOOLEAN", "float64": "DOUBLE"}
        duck |= {"string": "VARCHAR", "text": "VARCHAR", "timestamp": "TIMESTAMP_NS"}
        assert [(row[0], row[1]) for row in described] == [(name, duck[each.type]) for name, each in columns.items()]
        polar = pl.read_parquet(tmp_path / f"{table}.parquet")
        for name, column in columns.items():
            assert polar[name].null_count() == 0 or column.null


def test_record_numbers_have_64_bits() -> None:
    array = store._numbers(np.array([-1, 5, 0]), np.array([False, False, True]))
    assert array.to_pylist() == [(1 << 64) - 1, 5, None]


def test_groups_are_written_as_the_run_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "GROUP", 50)
    written = write(tmp_path, f"{LOSSY}.pcap", keys=f"{LOSSY}.keys", call_size=500)[1]
    assert pq.ParquetFile(tmp_path / "records.parquet").num_row_groups > 3
    assert pq.ParquetFile(tmp_path / "frames.parquet").num_row_groups > 3
    assert written.records.height == 259
    assert set(written.frames["verdict"].drop_nulls().to_list()) <= {*VERDICTS}
    assert {name.removeprefix("frame.") for name in written.frames["fate"].to_list()} <= {
        name.removeprefix("frame.") for name in FATES
    }


def test_an_earlier_run_is_replaced(tmp_path: Path) -> None:
    write(tmp_path, f"{LOSSY}.pcap", keys=f"{LOSSY}.keys")
    assert "frames" in rxtls.open(tmp_path).tables
    clean = EXAMPLES / "clean-tls13-aes128gcm"
    written = write(tmp_path, f"{clean}.pcap", keys=f"{clean}.keys", watch="events")[1]
    assert written.tables == ["records", "flows", "resync"]
    assert written.records.height == 198


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    run = rxtls.replay(f"{LOSSY}.pcap")
    with pytest.raises(UsageError, match="file: File exists"):
        RunWriter(tmp_path / "file", run)
    (tmp_path / "taken" / "records.parquet").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"records\.parquet: Is a directory"):
        RunWriter(tmp_path / "taken", run)
    with pytest.raises(UsageError, match="embedded null"):
        RunWriter("a\0b", run)


def test_flows_without_any_direction_are_left_out() -> None:
    summary = {"captures": [], "flows": [{"receive": {"server": None, "client": None}}]}
    assert all(column == [] for column in flow_columns(summary).values())


def test_many_flows(tmp_path: Path) -> None:
    many = EXAMPLES / "many-tls13-aes128gcm"
    run, written = write(tmp_path, f"{many}.pcap", keys=f"{many}.keys")
    flows = run.summary()["flows"]
    assert written.flows.height == 2 * len(flows) > 20
    sums = written.records.group_by("flow", "receiver").agg(pl.sum("wire_length").alias("bytes"))
    joined = written.flows.join(sums, on=["flow", "receiver"])
    classes = pl.sum_horizontal(f"bytes_{name}" for name in ("decrypted", "mixed", "encrypted", "failed", "library"))
    assert joined.height > 20
    assert joined.select((classes == pl.col("bytes")).all()).item()


@settings(max_examples=20)
@given(st.randoms(use_true_random=False))
def test_a_record_is_found_in_its_frame(dice: Random) -> None:
    """The frame that completed a record carried bytes of it: tables join."""
    with tempfile.TemporaryDirectory() as folder:
        talked = replays.download(dice.randrange(100), (dice.randrange(1, 9000),) * 9, down=Impairment(loss=0.03))
        written = write(
            Path(folder), replays.pcap(Path(folder), talked.frames), keys=replays.keys(Path(folder), talked)
        )[1]
        joined = written.records.join(written.frames, on=["capture", "frame", "flow", "receiver"])
        assert joined.height == written.records.height > 9
        ahead = (pl.col("tcp_seq_right") - pl.col("tcp_seq")) % (1 << 32)
        behind = (pl.col("tcp_seq") - pl.col("tcp_seq_right")) % (1 << 32)
        touches = (ahead < pl.col("wire_length")) | (behind < pl.col("length_right"))
        assert joined.select(touches.all()).item()
