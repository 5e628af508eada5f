"""A run into a folder that other tools open: Parquet tables (tables.py), the summary, and nothing secret.

    records.parquet  one row per record        written while the run goes on, a row group at a time
    frames.parquet   one row per frame         likewise; only with Watch.FRAMES
    resync.parquet   one row per event         at the end, sorted: events are heard later than they happen
    flows.parquet    one row per direction     at the end
    summary.json     the JSON of the run       last, so that a folder that has it is whole

All of them take their names together, when the run is over: until then the folder is what it was.

What is held in memory is a row group of each table and, of the events, some 60 bytes each.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from rxtls.counters import FATES
from rxtls.driver import trace
from rxtls.driver.trace import VERDICTS, Event, HostAction, Trace, Watch
from rxtls.events import By
from rxtls.host.compiled.columns import spelt
from rxtls.offload.commands import Happening
from rxtls.path import records as rec
from rxtls.path.records import CLASSES, RECEIVERS, Records
from rxtls.run.replay import Replay
from rxtls.study.tables import FLOWS, FRAMES, RECORDS, RESYNC, TABLES, VERSION, VERSION_KEY, Column
from rxtls.system.files import Output, json_parts, make_directory, writing

Vector = npt.NDArray[np.int64]
Columns = Mapping[str, Any]  # by name: numpy arrays, arrow arrays or lists, all of one length

GROUP = 1 << 16  # rows of a row group
# Columns by which readers pass over row groups; bounds of the others would cost as much as writing them.
_ASKED_FOR = ["flow", "receiver", "class", "event", "fate", "verdict", "time", "capture", "frame"]
SUMMARY = "summary.json"
_BY = [*(each.by for each in CLASSES), By.NOBODY]  # by place of the class; the last is of records that have no type
SEVERAL = "several"  # the verdict of an aggregated frame whose segments had different ones

_EVENTS: list[str] = [*Happening, *HostAction]
_EVENT_CODES = {name: code for code, name in enumerate(_EVENTS)}


def files() -> list[str]:
    """The names that a run has in its folder; the summary's first."""
    return [SUMMARY, *(f"{table}.parquet" for table in TABLES)]


class RunWriter:
    """Takes in the batches of `run` and writes them into `directory`, which is made if it does not exist.

    UsageError when it cannot be written to. Tables of an earlier run in the same folder are replaced, or removed. Who
    makes one calls `close`, or `drop`.
    """

    def __init__(self, directory: str | os.PathLike[str], run: Replay) -> None:
        self._directory = make_directory(directory)
        self._run = run
        self._files: list[_File] = []
        self._records = self._file("records", RECORDS)
        frames = run.path.options.watch >= Watch.FRAMES
        self._frames = self._file("frames", FRAMES) if frames else None
        self._record_rows: list[Vector] = []
        self._waiting = 0
        self._offsets = _Offsets()
        self._events = array("q")
        self._texts: dict[str, int] = {"": 0}  # what path changes say, by place

    def take(self, records: Records) -> None:
        """One more batch."""
        if len(records):
            self._record_rows.append(records.table())
            self._waiting += len(records)
            if self._waiting >= GROUP:
                self._write_records()
        if records.trace is not None:
            self._take_trace(records.trace)

    def close(self, summary: dict[str, Any]) -> None:
        """The run is over: what waits, and what is known only now."""
        self._write_records()
        self._file("resync", RESYNC).write(self._resync())
        self._file("flows", FLOWS).write(flow_columns(summary))
        for file in self._files:
            file.close()
        with Output(self._directory / SUMMARY) as output:
            for part in json_parts(summary):
                output.write(part.encode())
            written = [file.path for file in self._files]
            for name in [self._directory / name for name in files()]:
                if name not in written:  # an earlier run's summary, which goes first, and its tables
                    with writing(name):
                        name.unlink(missing_ok=True)
            for file in self._files:
                file.keep()

    def drop(self) -> None:
        """There will be no run: nothing of it stays. After `close` this does nothing."""
        for file in self._files:
            file.drop()

    def _file(self, table: str, columns: Mapping[str, Column]) -> _File:
        file = _File(self._directory / f"{table}.parquet", columns)
        self._files.append(file)
        return file

    def _write_records(self) -> None:
        if not self._waiting:
            return
        table = np.concatenate(self._record_rows)
        self._record_rows, self._waiting = [], 0
        directions = 2 * table[:, rec.CONNECTION] + table[:, rec.RECEIVER]
        classes = table[:, rec.CLASS]
        spellings, composition = np.unique(table[:, rec.COMPOSITION], return_inverse=True)
        self._records.write(
            {
                "flow": table[:, rec.CONNECTION],
                "receiver": _text(table[:, rec.RECEIVER], RECEIVERS),
                "number": _numbers(table[:, rec.NUMBER], table[:, rec.NUMBERED] == 0),
                "type": table[:, rec.TYPE].astype(np.uint8),
                "class": _text(classes, CLASSES),
                "by": _text(np.where(table[:, rec.TYPE] == 0, len(CLASSES), classes), _BY),
                "composition": _text(composition, [spelt(code) for code in spellings.tolist()]),
                "tcp_seq": table[:, rec.TCP_SEQ],
                "offset": self._offsets.of(directions, table[:, rec.TCP_SEQ]),
                "wire_length": table[:, rec.WIRE_LENGTH],
                "length": table[:, rec.LENGTH],
                "recrypted": table[:, rec.RECRYPTED],
                "early_data": table[:, rec.EARLY_DATA] == 1,
                **self._place(table[:, rec.FRAME], table[:, rec.TIME]),
            }
        )

    def _take_trace(self, seen: Trace) -> None:
        for event in seen.events:
            self._events.extend(_event_row(event))
            change = event.change
            said = ("",) * 4 if change is None else (change.was, change.now, change.cause, change.result)
            self._events.extend(self._texts.setdefault(text, len(self._texts)) for text in said)
        if self._frames is not None and len(seen.frames):
            self._frames.write(self._frame_columns(seen))

    def _frame_columns(self, seen: Trace) -> Columns:
        """Frames, each with what is known of its segments, which lie one behind the other."""
        frames, segments = seen.frames, seen.segments
        index, first = np.unique(segments[:, trace.FRAME], return_index=True)
        at = np.searchsorted(frames[:, 0], index)  # frames of a call are in order, and have all their segments with it
        n = len(frames)
        unknown = np.ones(n, bool)
        unknown[at] = False
        lengths = segments[:, trace.LENGTH]
        verdicts = segments[:, trace.VERDICT]
        marked = np.where(verdicts == trace.DECRYPTED, lengths, 0)

        def known(values: Vector) -> pa.Array:
            column = np.zeros(n, np.int64)
            column[at] = values
            return pa.array(column, mask=unknown)

        def summed(values: Vector) -> Vector:
            return np.add.reduceat(values, first) if len(first) else values

        ends = [*first[1:].tolist(), len(segments)]
        counts = np.diff([*first.tolist(), len(segments)]) if len(first) else first
        verdict = verdicts[first]
        for each in np.flatnonzero(counts > 1).tolist():
            if len(set(verdicts[first[each] : ends[each]].tolist())) > 1:
                verdict[each] = len(VERDICTS)
        flow_ids = segments[first, trace.FLOW]
        fates, codes = np.unique(frames[:, 2], return_inverse=True)
        names = list(FATES)
        return {
            **self._place(frames[:, 0], frames[:, 1]),
            "fate": _text(codes, [names[fate] for fate in fates.tolist()]),
            "flow": known(flow_ids >> 1),
            "receiver": _text(known(self._receivers(flow_ids)), RECEIVERS),
            "interface": known(self._interfaces(segments[first, trace.LEAF])),
            "tcp_seq": known(segments[first, trace.SEQ]),
            "flags": known(np.bitwise_or.reduceat(segments[:, trace.FLAGS], first) if len(first) else first),
            "length": known(summed(lengths)),
            "segments": known(counts),
            "verdict": _text(known(verdict), [*VERDICTS, SEVERAL]),
            "decrypted": known(summed(marked)),
            "epoch": known(np.maximum.reduceat(segments[:, trace.EPOCH], first) if len(first) else first),
        }

    def _resync(self) -> Columns:
        table = np.array(self._events, np.int64).reshape(-1, 13)
        flow_ids, frames = table[:, 0], table[:, 2]
        order = np.lexsort((np.arange(len(table)), flow_ids, frames))
        table, flow_ids = table[order], flow_ids[order]
        return {
            "flow": flow_ids >> 1,
            "receiver": _text(self._receivers(flow_ids), RECEIVERS),
            "event": _text(table[:, 1], _EVENTS),
            **self._place(table[:, 2], table[:, 3]),
            "tcp_seq": pa.array(table[:, 4], mask=table[:, 5] == 0),
            "number": _numbers(table[:, 6], table[:, 7] == 0),
            "epoch": table[:, 8],
            **{
                name: _text(pa.array(table[:, n], mask=table[:, n] == 0), list(self._texts))
                for n, name in enumerate(("from", "to", "cause", "result"), 9)
            },
        }

    def _receivers(self, flow_ids: Vector) -> Vector:
        """Places in RECEIVERS."""
        flows, which = np.unique(flow_ids, return_inverse=True)
        known = self._run.path.flows
        codes = [RECEIVERS.index(known[flow >> 1].receiver(flow & 1)) for flow in flows.tolist()]
        return np.take(np.array(codes, np.int64), which)

    def _interfaces(self, leaves: Vector) -> Vector:
        """Places in the JSON's `interfaces`: of a port of a tree, the first that it has."""
        met, which = np.unique(leaves, return_inverse=True)
        return np.array([self._run.path.capture(leaf) for leaf in met.tolist()], np.int64)[which]

    def _place(self, frames: Vector, times: Vector) -> dict[str, Any]:
        captures, numbers = self._run.feed.places.find_all(frames)
        return {"capture": captures, "frame": numbers, "time": pa.array(times).cast(_TYPES["timestamp"])}


class _File:
    """One Parquet file that grows by row groups."""

    def __init__(self, path: Path, columns: Mapping[str, Column]) -> None:
        self.path = path
        self._schema = schema(columns)
        self._out = Output(path)
        self._waiting: list[pa.RecordBatch] = []
        self._rows = 0
        # Dictionaries for what has few values; what counts up is stored as differences.
        text = [name for name, column in columns.items() if column.type in ("text", "string")]
        numbers = [name for name, column in columns.items() if column.type in ("int64", "uint64", "timestamp")]
        self._writer = pq.ParquetWriter(
            self._out.file, self._schema, compression="zstd", compression_level=1, use_dictionary=text,
            column_encoding=dict.fromkeys(numbers, "DELTA_BINARY_PACKED"), write_statistics=_ASKED_FOR,
        )  # fmt: skip

    def write(self, columns: Columns) -> None:
        """Some more rows."""
        arrays = [_array(columns[field.name], field.type) for field in self._schema]
        batch = pa.RecordBatch.from_arrays(arrays, schema=self._schema)
        self._waiting.append(batch)
        self._rows += len(batch)
        if self._rows >= GROUP:
            self._flush()

    def close(self) -> None:
        """It is whole."""
        self._flush()
        with writing(self.path):
            self._writer.close()
            self._out.file.flush()

    def keep(self) -> None:
        """It takes its name."""
        self._out.keep()

    def drop(self) -> None:
        """It never will be whole. A writer that is still open would try to complete it, and complain."""
        self._writer.is_open = False
        self._out.drop()

    def _flush(self) -> None:
        if not self._rows:
            return
        table = pa.Table.from_batches(self._waiting, self._schema).unify_dictionaries()
        self._waiting, self._rows = [], 0
        with writing(self.path):
            self._writer.write_table(table, row_group_size=2 * GROUP)


class _Offsets:
    """TCP sequence numbers as distances from the first one of a direction, which do not wrap."""

    def __init__(self) -> None:
        self._last: dict[int, tuple[int, int]] = {}  # by direction: sequence number and offset

    def of(self, directions: Vector, seqs: Vector) -> Vector:
        """The offsets of some more, in stream order within each direction."""
        order = np.argsort(directions, kind="stable")
        own, seqs = directions[order], seqs[order]
        steps = _signed(np.diff(seqs, prepend=seqs[:1]))
        begins = np.flatnonzero(np.diff(own, prepend=-1))
        for at in begins.tolist():
            seq, offset = self._last.get(int(own[at]), (int(seqs[at]), 0))
            steps[at] = offset + int(_signed(seqs[at] - seq))
        sums = np.cumsum(steps)
        lengths = np.diff([*begins.tolist(), len(own)])
        offsets = sums - np.repeat(sums[begins] - steps[begins], lengths)
        for at in (begins + lengths - 1).tolist():
            self._last[int(own[at])] = int(seqs[at]), int(offsets[at])
        found = np.empty(len(offsets), np.int64)
        found[order] = offsets
        return found


def flow_columns(summary: dict[str, Any]) -> Columns:
    """flows.parquet from the JSON of a run: a row for each direction that was modelled."""
    places = {name: n for n, name in reversed([*enumerate(summary["captures"])])}
    rows = [_flow_row(flow, receiver, received, places) for flow in summary["flows"]
            for receiver, received in flow["receive"].items() if received is not None]  # fmt: skip
    return {name: [row[name] for row in rows] for name in FLOWS}


def _flow_row(
    flow: dict[str, Any], receiver: str, received: dict[str, Any], places: Mapping[str, int]
) -> dict[str, Any]:
    resync = received["resync"]
    return {
        "flow": flow["id"],
        "receiver": receiver,
        **{name: flow[name] for name in ("client", "server", "sni", "alpn", "tls", "suite", "resumed", "end")},
        **{name: received[name] for name in ("vantage", "offload", "app_bytes", "sha256", "gap", "complete")},
        "why": received["why"]["code"],
        **{f"records_{name}": n for name, n in received["records"].items()},
        **{f"bytes_{name}": n for name, n in received["bytes"].items()},
        **resync,
        "gaps": received["gaps"]["count"],
        **{name: received["gaps"][name] for name in ("missing_bytes", "recovered_bytes")},
        "capture": places[flow["start_frame"]["file"]],
        "frame": flow["start_frame"]["frame"],
        "end_capture": places[flow["end_frame"]["file"]],
        "end_frame": flow["end_frame"]["frame"],
        "resegmented": flow["resegmented"],
    }


def schema(columns: Mapping[str, Column]) -> pa.Schema:
    """The Arrow schema of a table of tables.py. Units and meanings go along as metadata."""
    fields = [
        pa.field(name, _TYPES[column.type], column.null, {"unit": column.unit, "meaning": column.meaning})
        for name, column in columns.items()
    ]
    return pa.schema(fields, {VERSION_KEY: str(VERSION).encode()})


_TYPES = {
    "int64": pa.int64(),
    "uint64": pa.uint64(),
    "uint8": pa.uint8(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "string": pa.string(),
    "text": pa.dictionary(pa.int32(), pa.string()),
    "timestamp": pa.timestamp("ns"),
}


def _array(values: Any, type: pa.DataType) -> pa.Array:  # noqa: A002
    if isinstance(values, pa.Array):
        return values.cast(type)
    if pa.types.is_dictionary(type):
        return pa.array(values, pa.string()).dictionary_encode()
    return pa.array(values, type)


def _text(codes: Any, names: Sequence[str]) -> pa.Array:
    """Places in `names`, as numbers or as an Arrow array of them, as text."""
    indices = codes if isinstance(codes, pa.Array) else pa.array(codes)
    texts = pa.array([str(name) for name in names], pa.string())
    return pa.DictionaryArray.from_arrays(indices.cast(pa.int32()), texts)


def _numbers(numbers: Vector, unknown: npt.NDArray[np.bool_]) -> pa.Array:
    """Record numbers, which have all of 64 bits."""
    return pa.array(np.ascontiguousarray(numbers).view(np.uint64), mask=unknown)


def _signed(difference: Any) -> Any:
    """A difference of sequence numbers, as near as it can be."""
    return (difference + (1 << 31)) % (1 << 32) - (1 << 31)


def _event_row(event: Event) -> tuple[int, ...]:
    number = event.number or 0
    return (
        event.flow, _EVENT_CODES[event.what], event.frame, event.time_ns, event.tcp_sn or 0,
        int(event.tcp_sn is not None), number - (number >> 63 << 64), int(event.number is not None), event.epoch,
    )  # fmt: skip
