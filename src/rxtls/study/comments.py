"""What there is to say about each frame of a run, a few lines each: for a capture's packet comments.

    rxtls: flow 0 to the server: decrypted by the NIC; records 12 to 13
    rxtls: record 12 is complete: decrypted by the NIC
    rxtls: NIC lost sync: the record at TCP sequence number 1846820672 is not what was expected

The first says the NIC's verdict on the segment and which records its bytes belong to; then the records that the frame
completed; then what NIC and host did about each other. Frames that went nowhere say why. Record numbers are those of
the key in force, as in the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import polars as pl

from rxtls.counters import FATES
from rxtls.events import RecordClass
from rxtls.study.run import Run, offsets
from rxtls.study.store import SEVERAL

_VERDICTS = {
    "decrypted": "decrypted by the NIC",
    "passed": "as on the wire; the NIC kept its place",
    "searching": "as on the wire; the NIC is out of sync and searches for a header",
    "tracking": "as on the wire; the NIC is out of sync and walks from header to header",
    "stopped": "as on the wire; the NIC has given this flow up",
    "other_leaf": "as on the wire; it came by another interface than the receive tag's",
    "no_receive_tag": "as on the wire; there is no receive tag",
    SEVERAL: "aggregated segments of which the NIC decrypted some",
}
_CLASSES = {
    "decrypted": "decrypted by the NIC in full",
    "mixed": "decrypted by the NIC in part ({composition}), {recrypted} bytes re-encrypted by the host",
    "encrypted": "opened by the host",
    "failed": "did not authenticate",
    "unjudged": "opened by the host behind a gap; what the NIC made of it cannot be known",
    "unknown": "",  # has a sentence of its own
    "library": "read by the TLS library",
}
_EVENTS = {
    "install": "host asks for a receive tag, from record {number} at {tcp_seq} on",
    "installed": "NIC has the receive tag",
    "lost": "NIC lost sync: it did not see the header or record at {tcp_seq}",
    "anchored": "NIC takes {tcp_seq} for a header and walks on from there",
    "false_anchor": "NIC walked from {tcp_seq} to what is no header",
    "query": "host asks the NIC where it is",
    "answer": "NIC answers: it walks from {tcp_seq}",
    "guess": "NIC volunteers that it walks from {tcp_seq}",
    "confirm": "host confirms: record {number} is at {tcp_seq}",
    "set_position": "host tells the NIC that record {number} will be at {tcp_seq}",
    "confirmed": "NIC takes the host's confirm for {tcp_seq}",
    "stale_confirm": "NIC ignores a confirm for {tcp_seq}, an anchor that is no more",
    "resumed": "NIC decrypts again, from {tcp_seq} on",
    "auth_failed": "NIC could not authenticate the record at {tcp_seq}",
    "stopped": "NIC gives this flow up",
    "release": "host takes the receive tag away",
    "reset": "host makes the receive tag anew for another interface: {from}, {to} now",
    "reset_failed": "host cannot make the receive tag anew for another interface: {from}, {to} now, {result}",
}
# Fates that say nothing which Wireshark does not show.
_SILENT = frozenset({"frame.segment", "frame.segment_cut", "frame.ack", "frame.not_ip", "frame.not_tcp"})


def comments(run: Run) -> Iterator[list[str]]:
    """One list for each frame of the run, in its order. The run must have been kept with frames."""
    records, frames = run.records, run.frames
    spans = _spans(records, frames)
    said = _by_frame(records, _record_line)
    happened = _by_frame(run.resync, _event_line)
    several = len(run.summary["captures"]) > 1
    for n, frame in enumerate(
        frames.select(
            "capture", "frame", pl.col("fate", "receiver", "verdict").cast(pl.String), "flow", "length", "interface"
        ).iter_rows(named=True)
    ):
        lines = []
        place = (frame["capture"], frame["frame"])
        if frame["verdict"] in _VERDICTS:
            line = f"flow {frame['flow']} to the {frame['receiver']}: {_VERDICTS[frame['verdict']]}"
            lines.append(line + (f"; {spans[n]}" if n in spans else ""))
        elif frame["fate"] not in _SILENT:
            lines.append(FATES[frame["fate"]])
        lines += said.get(place, [])
        lines += happened.get(place, [])
        if several and lines:
            lines.append(f"frame {frame['frame']} of {run.summary['captures'][frame['capture']]}")
        elif frame["frame"] != n + 1:
            lines.append(f"frame {frame['frame']} of the capture, which is not in order of time")
        yield [f"rxtls: {line}" for line in lines]


def _spans(records: pl.DataFrame, frames: pl.DataFrame) -> dict[int, str]:
    """By place of the frame: which records its bytes belong to."""
    spans: dict[int, str] = {}
    carrying = frames.with_row_index("place").filter(pl.col("length") > 0)
    keys = ["flow", "receiver"]
    own = records.with_columns(pl.col("receiver").cast(pl.String)).partition_by(keys, as_dict=True)
    flows = carrying.with_columns(pl.col("receiver").cast(pl.String)).partition_by(keys, as_dict=True)
    for key, segments in flows.items():
        if key not in own:
            continue
        mine = own[key]
        starts = mine["offset"].to_numpy()
        ends = starts + mine["wire_length"].to_numpy()
        low = offsets(segments["tcp_seq"].to_numpy(), int(mine["tcp_seq"][0]))
        high = low + segments["length"].to_numpy()
        first = np.searchsorted(ends, low, side="right")
        last = np.searchsorted(starts, high, side="left") - 1
        numbers = mine["number"].to_list()
        for place, a, b in zip(segments["place"].to_list(), first.tolist(), last.tolist(), strict=True):
            told = [number for number in numbers[a : b + 1] if number is not None] if a <= b else []
            if told:
                spans[place] = _numbered(list(dict.fromkeys(told)))
    return spans


def _numbered(numbers: list[int]) -> str:
    """Records by number; where the keys changed in between, numbers do not follow one another."""
    if len(numbers) == 1:
        return f"record {numbers[0]}"
    if numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"records {numbers[0]} to {numbers[-1]}"
    return f"records {', '.join(map(str, numbers))}"


def _by_frame(table: pl.DataFrame, line: Callable[[dict[str, Any]], str]) -> dict[tuple[int, int], list[str]]:
    lines: dict[tuple[int, int], list[str]] = {}
    texts = table.with_columns(pl.col(pl.Categorical).cast(pl.String))
    for row in texts.iter_rows(named=True):
        lines.setdefault((row["capture"], row["frame"]), []).append(line(row))
    return lines


def _record_line(row: dict[str, Any]) -> str:
    which = "a record" if row["number"] is None else f"record {row['number']}"
    if row["class"] == RecordClass.UNKNOWN:
        return f"a gap ends: {row['wire_length']} bytes of records, from {which} on, are not all in the capture"
    if row["class"] == RecordClass.LIBRARY and row["type"] == 0:
        return f"{which} is complete: passed over by the TLS library, unread"
    return f"{which} is complete: {_CLASSES[row['class']].format(**row)}"


def _event_line(row: dict[str, Any]) -> str:
    return _EVENTS[row["event"]].format_map({"from": "one", "to": "another"} | row)  # runs of 0.1.0 have no names
