"""What a report shows, out of a run's folder: one value that JSON can hold, and that fits on a page whatever the run.

Everything that a page needs to draw is decided here; the page (assets/report.js) only draws. The bounds: PIECES for the
time-sequence views of all connections that get one, ROWS for the table of flows; the rest does not grow with the run.
Thinning says so: `count` of a piece, `shown` and `of` of lists.

Columns that count up go as differences (`_steps`), which makes a page half as large.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from rxtls.counters import FATES
from rxtls.driver.trace import VERDICTS
from rxtls.events import RecordClass
from rxtls.study.coverage import covered, left_out, twice
from rxtls.study.ranking import ordered
from rxtls.study.run import Run, offsets
from rxtls.study.table import notes
from rxtls.study.thin import Pieces, Vector, pieces, shares, thinned
from rxtls.study.verdict import answer, base, cost, many, size

PIECES = 60_000  # segments, and as many records, of all views together: some 4 MB
VIEWS = 40  # directions that get a time-sequence view
EVENTS = 2_000  # of one view
HOLES = 1_000
ROWS = 20_000  # directions in the table
BINS = 240  # of the shares over time

CLASSES = [each.value for each in RecordClass]
# Where an outage ends: decrypting again, given up, or nobody there any more.
_ENDS = ("resumed", "stopped", "release")
_EDGES_US = [each * 10**power for power in range(7) for each in (1, 2, 5)]


def report_data(
    run: Run, comparison: dict[str, Any] | None = None, sort: str | None = None, top: int = VIEWS
) -> dict[str, Any]:
    """All of it. `comparison` is what `rxtls compare --json` wrote, if there is one. With `sort` (ranking.py) the flows
    stand in that order, and the first `top` of them get a view; without, those that lost sync most or carried most."""
    summary = run.summary
    rests = base(summary)
    sums, costs = rests.sums, cost(rests.sums)
    flows = run.flows
    order = [] if sort is None else [(row.flow["id"], row.receiver) for row in ordered(summary, sort)]
    chosen = _chosen(flows, order, min(top, VIEWS))
    begin = _begin(run)
    return {
        "answer": answer(summary),
        "captures": [Path(name).name for name in summary["captures"]],
        "facts": _facts(summary),
        "notes": [*notes(summary), *twice(summary), *left_out(summary), *covered(summary), *_cut(flows)],
        "errors": [f"{Path(each['file']).name}: {each['cause']}" for each in summary["errors"]],
        "classes": CLASSES,
        "verdicts": list(VERDICTS),
        "base": rests.as_json(),
        "totals": {
            "directions": sums["directions"],
            "app_bytes": sums["app_bytes"],
            "records": {name: sums[f"records.{name}"] for name in CLASSES},
            "bytes": {name: sums[f"bytes.{name}"] for name in (*CLASSES, "recrypted")},
            "resync": {name.partition(".")[2]: n for name, n in sums.items() if name.startswith("resync.")},
        },
        "cost": {"software": costs.total, "nic": costs.by_nic, "host": costs.host},
        "shares": _shares(run, begin, rests.seen == "receiver"),
        "outages": _outages(run, rests.seen == "receiver"),
        "flows": _table(flows, order) | {"sort": sort},
        "views": _views(run, chosen, begin),
        "comparison": comparison,
        "profile": summary["profile"],
        "fates": [[name, n, FATES.get(name, "")] for name, n in summary["fates"].items()],
        "settings": summary["settings"],
    }


def _facts(summary: dict[str, Any]) -> list[list[str]]:
    """What was replayed through what."""
    return [
        ["NIC", summary["profile"]],
        ["policy", summary["policy"]],
        ["frames", f"{summary['frames']:,}"],
        ["captured", size(summary["captured_bytes"])],
        ["capture time", f"{summary['capture_seconds']:.3f} s"],
        ["connections", f"{len(summary['flows']):,}"],
        ["rxtls", summary["rxtls"]],
    ]


def _cut(flows: pl.DataFrame) -> list[str]:
    """Directions that are not whole, gaps apart, of which the other notes tell."""
    cut = flows.filter(~pl.col("gap"), ~pl.col("complete").fill_null(True)).height
    return [f"{many(cut, 'direction')} cut short: the capture ends before them, or something failed"] if cut else []


def _begin(run: Run) -> int:
    """The time from which the report counts, in ns: the first thing there is."""
    times = [
        run.scan(table).select(pl.col("time").min().dt.timestamp("ns")) for table in run.tables if table != "flows"
    ]
    found = [each.collect().item() for each in times]
    return min((each for each in found if each is not None), default=0)


def _chosen(flows: pl.DataFrame, order: Sequence[tuple[int, str]], top: int) -> list[tuple[int, str]]:
    """The directions worth a view: the first in an order; without one those that lost sync most or carried most."""
    carried = flows.with_columns(pl.sum_horizontal(f"bytes_{name}" for name in CLASSES).alias("carried"))
    carried = carried.filter(pl.col("carried") > 0)
    if order:
        there = set(carried.select("flow", "receiver").rows())
        return [each for each in order if each in there][:top]
    lossy = carried.filter(pl.col("lost") > 0).sort("lost", "carried", descending=True).head(VIEWS * 2 // 3)
    large = carried.sort("carried", descending=True)
    rows = [*lossy.select("flow", "receiver").rows(), *large.select("flow", "receiver").rows()]
    return list(dict.fromkeys(rows))[:top]


def _of_base(run: Run, at_receiver: bool) -> pl.DataFrame:
    return run.flows.filter((pl.col("vantage") == "receiver") == at_receiver).select("flow", "receiver")


def _shares(run: Run, begin: int, at_receiver: bool) -> dict[str, Any]:
    """Bytes of records of each class, by the time at which they were complete."""
    wanted = _of_base(run, at_receiver)
    records = run.scan("records").join(wanted.lazy(), on=["flow", "receiver"], how="semi")
    times = records.select(pl.col("time").dt.timestamp("ns").alias("time"), "class", "wire_length")
    first, last = times.select(pl.col("time").min().alias("first"), pl.col("time").max().alias("last")).collect().row(0)
    if first is None:
        return {"seconds": [], "bytes": {}}
    step = max(1, (last - first) // BINS + 1)
    binned = times.group_by(((pl.col("time") - first) // step).alias("bin"), pl.col("class").cast(pl.String)).agg(
        pl.sum("wire_length")
    )
    count = (last - first) // step + 1
    octets = {name: [0] * count for name in CLASSES}
    for place, record_class, n in binned.collect().iter_rows():
        octets[record_class][place] = n
    return {
        "seconds": [round((first - begin + n * step) / 1e9, 9) for n in range(count)],
        "bytes": {name: each for name, each in octets.items() if any(each)},
    }


def outages(run: Run) -> pl.DataFrame:
    """From each loss of sync to its end: flow, receiver, since and until in ns. What had no end is left out."""
    events = run.scan("resync").filter(pl.col("event").cast(pl.String).is_in(["lost", *_ENDS])).select(
        "flow", "receiver", pl.col("event").cast(pl.String), pl.col("time").dt.timestamp("ns").alias("since")
    )  # fmt: skip
    by = ["flow", "receiver"]
    # A loss while it is out of sync already is no other outage.
    first = events.filter(
        (pl.col("event") != "lost") | (pl.col("event").shift(1).over(by, order_by=None).fill_null("") != "lost")
    )
    ended = first.with_columns(pl.col("since").shift(-1).over(by).alias("until"))
    return ended.filter(pl.col("event") == "lost", pl.col("until").is_not_null()).drop("event").collect()


def _outages(run: Run, at_receiver: bool) -> dict[str, Any]:
    """Of the directions that the page's totals are of."""
    found = outages(run).join(_of_base(run, at_receiver), on=["flow", "receiver"], how="semi")
    lengths = ((found["until"] - found["since"]) / 1000).to_numpy()
    counts, _ = np.histogram(lengths, [0, *_EDGES_US, np.inf])
    quantiles = np.quantile(lengths, [0.5, 0.9, 1]).tolist() if len(lengths) else []
    return {"edges": _EDGES_US, "counts": counts.tolist(), "n": len(lengths), "quantiles": quantiles}


_TABLE = (
    "flow", "receiver", "client", "server", "sni", "tls", "suite", "vantage", "offload", "why", "app_bytes",
    "records_decrypted", "records_mixed", "records_encrypted", "records_failed", "records_unknown", "lost", "regained",
    "polls", "confirmed", "gap", "complete", "end", "frame",
)  # fmt: skip


def _table(flows: pl.DataFrame, order: Sequence[tuple[int, str]]) -> dict[str, Any]:
    """The table of flows, by columns: those that carried something, in an order or by id; where there are too many the
    first in the order, or the largest."""
    rows = flows.filter((pl.col("app_bytes") > 0) | (pl.col("why").cast(pl.String) != "no_data"))
    if order:
        places = pl.DataFrame(order, schema={"flow": pl.Int64, "receiver": pl.String}, orient="row").with_row_index(
            "at"
        )
        keyed = rows.with_columns(pl.col("flow").cast(pl.Int64), pl.col("receiver").cast(pl.String))
        shown = keyed.join(places, on=["flow", "receiver"], how="left").sort("at", nulls_last=True).head(ROWS)
    else:
        shown = rows.sort("app_bytes", descending=True).head(ROWS).sort("flow", "receiver", descending=[False, True])
    columns = shown.select(
        pl.col(name).cast(pl.String) if flows[name].dtype == pl.Categorical else name for name in _TABLE
    )
    return {"columns": list(_TABLE), "rows": columns.rows(), "of": rows.height}


def _views(run: Run, chosen: Sequence[tuple[int, str]], begin: int) -> list[dict[str, Any]]:
    """The time-sequence views, the most interesting first."""
    if not chosen:
        return []
    keys = pl.LazyFrame(chosen, schema={"flow": pl.Int64, "receiver": pl.String}, orient="row")

    def of(table: str, *columns: str) -> dict[tuple[int, str], pl.DataFrame]:
        rows = run.scan(table).with_columns(pl.col("receiver").cast(pl.String)).join(
            keys, on=["flow", "receiver"], how="semi"
        )  # fmt: skip
        time = (pl.col("time").dt.timestamp("ns") - begin).alias("time")
        taken = rows.select("flow", "receiver", time, *columns).collect()
        return {
            (flow, receiver): each
            for (flow, receiver), each in taken.partition_by("flow", "receiver", as_dict=True).items()
        }

    records = of("records", "number", "tcp_seq", "offset", "wire_length", "class", "composition", "frame")
    named = [name for name in ("from", "to", "result") if name in run.scan("resync").collect_schema()]
    events = of("resync", "event", "tcp_seq", "number", "frame", *named)
    segments = of("frames", "tcp_seq", "length", "verdict", "frame") if "frames" in run.tables else {}
    needs = [len(segments.get(key, ())) for key in chosen]
    seen = shares(needs, PIECES)
    told = shares([len(records.get(key, ())) for key in chosen], PIECES)
    flows = {flow["id"]: flow for flow in run.summary["flows"]}
    views = []
    for n, key in enumerate(chosen):
        flow = flows[key[0]]
        own = records.get(key)
        base = int(own["tcp_seq"][0]) if own is not None else None
        view: dict[str, Any] = {
            "flow": key[0],
            "receiver": key[1],
            "client": flow["client"],
            "server": flow["server"],
            "sni": flow["sni"],
            "direction": flow["receive"][key[1]],
            "records": _record_pieces(own, told[n]) if own is not None else None,
            "segments": None,
            "holes": None,
            "events": _event_rows(events.get(key), base),
        }
        if key in segments:
            view |= _segment_pieces(segments[key], base, seen[n])
        views.append(view)
    return views


def _record_pieces(records: pl.DataFrame, most: int) -> dict[str, Any]:
    low = records["offset"].to_numpy()
    high = low + records["wire_length"].to_numpy()
    time = records["time"].to_numpy()
    colour = _codes(records["class"], CLASSES)
    by_frame = thinned(pieces(time, low, high, colour, records["frame"].to_numpy()), most)
    numbers = records["number"].cast(pl.Int64, strict=False).fill_null(-1).to_numpy()
    by_number = thinned(pieces(time, low, high, colour, numbers), most)
    return {**_columns(by_frame), "number": by_number.first.tolist(), "to": by_number.last.tolist(), "of": len(records)}


def _segment_pieces(frames: pl.DataFrame, base: int | None, most: int) -> dict[str, Any]:
    """Segments with payload as pieces whose colour is 2 * verdict + 1 if it was not the highest so far; and holes."""
    frames = frames.filter(pl.col("length") > 0)
    if not frames.height:
        return {}
    seq = frames["tcp_seq"].to_numpy()
    low = offsets(seq, int(seq[0]) if base is None else base)
    high = low + frames["length"].to_numpy()
    time = frames["time"].to_numpy()
    before = np.concatenate(([low[0]], np.maximum.accumulate(high)[:-1]))
    late = low < before
    colour = 2 * _codes(frames["verdict"], [*VERDICTS, "several"]) + late
    kept = thinned(pieces(time, low, high, colour, frames["frame"].to_numpy()), most)
    return {
        "segments": {**_columns(kept), "of": frames.height},
        "holes": _holes(time, low, high, before, late),
        "late": int(late.sum()),
    }


def _holes(time: Vector, low: Vector, high: Vector, before: Vector, late: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Where something was missing when a segment came: from when to when, which bytes. -1: it never came."""
    found = np.flatnonzero(low > before)
    shown = found[:: len(found) // HOLES + 1]
    fillers = np.flatnonzero(late)
    until = []
    for at in shown.tolist():
        after = fillers[np.searchsorted(fillers, at) :]
        filled = after[(low[after] <= before[at]) & (high[after] > before[at])]
        until.append(int(time[filled[0]]) if len(filled) else -1)
    return {
        "start": _steps(time[shown]), "until": until, "low": _steps(before[shown]),
        "length": (low[shown] - before[shown]).tolist(), "of": len(found),
    }  # fmt: skip


def _event_rows(events: pl.DataFrame | None, base: int | None) -> dict[str, Any]:
    if events is None:
        return {"rows": [], "of": 0}
    shown = events.gather_every(events.height // EVENTS + 1)
    offset = (pl.col("tcp_seq") - (base or 0) + (1 << 31)) % (1 << 32) - (1 << 31)
    rows = shown.select(
        "time", pl.col("event").cast(pl.String), offset.alias("offset"), "number", "frame", _note(shown)
    ).rows()
    return {"rows": rows, "of": events.height}


def _note(events: pl.DataFrame) -> pl.Expr:
    """What a change of the path says; runs of 0.1.0 do not say it."""
    if "from" not in events.columns:
        return pl.lit("").alias("note")
    names = [pl.col(name).cast(pl.String) for name in ("from", "to", "result")]
    return pl.format("{} to {}, {}", *names).fill_null("").alias("note")


def _columns(kept: Pieces) -> dict[str, Any]:
    """Pieces as the page takes them: what counts up as differences, ends as lengths."""
    return {
        "start": _steps(kept.start),
        "time": (kept.end - kept.start).tolist(),
        "low": _steps(kept.low),
        "length": (kept.high - kept.low).tolist(),
        "colour": kept.colour.tolist(),
        "frame": _steps(kept.first),
        "frames": (kept.last - kept.first).tolist(),
        "count": kept.count.tolist() if len(kept) and int(kept.count.max()) > 1 else None,
    }


def _steps(values: Vector) -> list[int]:
    steps: list[int] = np.diff(values, prepend=0).tolist()
    return steps


def _codes(texts: pl.Series, names: Sequence[str]) -> Vector:
    places = {name: n for n, name in enumerate(names)}
    codes: Vector = texts.cast(pl.String).replace_strict(places, return_dtype=pl.Int64).to_numpy()
    return codes
