"""What is known of one connection in a run, whether the run was just made or opened from its folder: a `Story`.

Replay ──► of_capture ──┐
                        ├─► Story: the flow's JSON, events and records with frames as Wireshark numbers them
saved run ──► of_run ───┘
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rxtls.run.replay import Replay
from rxtls.run.which import find
from rxtls.study.run import Run


class Told(NamedTuple):
    """One event between NIC and host. `frame` is a place in the run, `capture` and frame as a person finds it."""

    receiver: str
    what: str
    place: tuple[int, int]  # (capture, frame)
    time_ns: int
    tcp_seq: int | None
    number: int | None
    change: tuple[str, str, str, str] | None = None  # of the path: from, to, cause, result


class Seen(NamedTuple):
    """One record."""

    receiver: str
    type: int
    record_class: str
    composition: str
    number: int | None
    tcp_seq: int
    wire_length: int
    place: tuple[int, int]
    time_ns: int


@dataclass(slots=True)
class Story:
    """One connection: `flow` is its JSON, `captures` the files that places count."""

    flow: dict[str, Any]
    captures: list[str]
    policy: str
    profile: str
    events: list[Told] = field(default_factory=list)
    records: list[Seen] = field(default_factory=list)


def of_capture(run: Replay, wanted: str) -> list[Story]:
    """Walk a run that watches events; the stories of the connections that `wanted` names."""
    events, records = [], []
    for batch in run.batches():
        records += [
            (r.flow, Seen(r.receiver, r.type, str(r.record_class), r.composition, r.number, r.tcp_seq, r.wire_length,
                          (-1, r.frame), r.time_ns))
            for r in batch.views()
        ]  # fmt: skip
        if batch.trace:
            events += batch.trace.events
    summary = run.summary()
    places = run.feed.places
    stories = _begun(summary, wanted)
    for flow, record in records:
        if flow in stories:
            stories[flow].records.append(record._replace(place=places.find(record.place[1])))
    for event in events:
        if event.flow >> 1 in stories:
            receiver = run.path.flows[event.flow >> 1].receiver(event.flow & 1)
            told = Told(
                receiver, str(event.what), places.find(event.frame), event.time_ns, event.tcp_sn, event.number,
                event.change and event.change[2:],
            )  # fmt: skip
            stories[event.flow >> 1].events.append(told)
    return _sorted(stories.values())


def of_run(run: Run, wanted: str) -> list[Story]:
    """The same of a run that was written to a folder."""
    import polars as pl

    stories = _begun(run.summary, wanted)
    kept, time = pl.col("flow").is_in(list(stories)), pl.col("time").dt.epoch("ns")
    for row in run.scan("records").filter(kept).with_columns(time).collect().iter_rows(named=True):
        stories[row["flow"]].records.append(
            Seen(row["receiver"], row["type"], row["class"], row["composition"], row["number"], row["tcp_seq"],
                 row["wire_length"], (row["capture"], row["frame"]), row["time"])
        )  # fmt: skip
    for row in run.scan("resync").filter(kept).with_columns(time).collect().iter_rows(named=True):
        place = row["capture"], row["frame"]
        change = (row["from"], row["to"], row["cause"], row["result"]) if row.get("from") is not None else None
        stories[row["flow"]].events.append(
            Told(row["receiver"], row["event"], place, row["time"], row["tcp_seq"], row["number"], change)
        )
    return _sorted(stories.values())


def _begun(summary: dict[str, Any], wanted: str) -> dict[int, Story]:
    flows = find(summary["flows"], wanted)
    return {flow["id"]: Story(flow, summary["captures"], summary["policy"], summary["profile"]) for flow in flows}


def _sorted(stories: Iterable[Story]) -> list[Story]:
    found = list(stories)
    for story in found:
        # Events are heard later than they happen: by place, and what was heard first before what was heard later.
        story.events.sort(key=lambda told: told.place)
        story.records.sort(key=lambda seen: seen.place)
    return found
