"""The order in which records were complete, both directions of a connection together.

    frames of a direction     1 2 . 4 5 3      its records 1, 2, 3, 4, 5 are complete at 1, 2, 3', 3', 3' (the last)

A record is complete at the frame with which all bytes of its stream up to its end had come, so a frame that fills a
hole completes all that waited behind. Within a direction that is the latest frame so far in order of the stream.

The host is served at host points only, which for a direction of few packets may be at its end. So who wants this order
has the records that are whole brought out at the end of each call (Flow.ahead); those of one call are then sorted, and
nothing need be kept for the next one.

Some records can come out only later, as nobody could know sooner what they are: behind a gap of the capture or the
other side's handshake, in a renegotiation, or where keys had to be found. These stand where they came out, `held` being
the frame of that host point, and among themselves in order of completion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from rxtls.events import Gap, Record
from rxtls.host.compiled.columns import Delivered
from rxtls.host.flow import Flow, waits
from rxtls.host.worker import APPLICATION_DATA
from rxtls.intake import batch as col
from rxtls.native.shapes import Array

Column = npt.NDArray[np.int64]
Held = tuple[Column, list[int]]  # of the bulk rows of a call, and of the objects

PROMPT = -1  # `held` of a record that came out as soon as it was complete

_GROUP = 40  # bits for a frame's index


class Completion:
    """What came out late in the call that goes on. `flows` are the path's."""

    __slots__ = ("_flows", "_latest", "_objects", "_rows")

    def __init__(self, flows: Mapping[int, Flow]) -> None:
        self._flows = flows
        self._rows: Array = np.zeros((0, col.COLUMNS), np.int64)
        self._latest = 0
        self._objects: list[int] = []

    def walk(self, rows: Array) -> None:
        """Host points of these rows are about to be served."""
        self._rows = rows
        if len(rows):
            self._latest = max(self._latest, int(rows[:, col.FRAME].max()))

    def prompt(self, flow: Flow) -> list[bool]:
        """At a host point: the sides whose records have come out before it, if they were whole."""
        late = flow.library.handshaking and not flow.coupled  # the compiled host has just met a renegotiation
        return [side.prompt and side.deferred is None and not late for side in flow.directions]

    def note(self, flow: Flow, prompt: list[bool], point: int) -> None:
        """What is in the flow's records came out at this host point."""
        for record in flow.records:
            side = flow.client_side if record.receiver == "server" else 1 - flow.client_side
            prompt[side] = prompt[side] and not isinstance(record, Gap)
            self._objects.append(PROMPT if prompt[side] else self._frame(point))
            prompt[side] = prompt[side] and not waits(flow, side, record.type)

    def take(self, rows: Array | None, events: Sequence[tuple[tuple[int, int], Record]]) -> Held:
        """Of the bulk records of the call and of its objects: `events` of the compiled host, then what was noted."""
        objects, self._objects = self._objects, []
        rows = np.zeros((0, Delivered.COLUMNS), np.int64) if rows is None else rows
        held = np.full(len(rows), PROMPT, np.int64)
        for n in np.flatnonzero(rows[:, Delivered.TYPE] != APPLICATION_DATA).tolist():
            flow_id, type_, point = rows[n, [Delivered.FLOW, Delivered.TYPE, Delivered.POINT]].tolist()
            if waits(self._flows[flow_id >> 1], flow_id & 1, type_):
                held[np.flatnonzero(rows[n + 1 :, Delivered.FLOW] == flow_id)[:1] + n + 1] = self._frame(point)
        return held, [self._frame(place[0]) for place, _ in events] + objects

    def _frame(self, point: int) -> int:
        """The frame of a host point."""
        return int(self._rows[point, col.FRAME]) if 0 <= point < len(self._rows) else self._latest


def by_completion(directions: Column, delivered: Column, frames: Column, held: Column) -> Column:
    """The order of records: of each its direction, place in order of delivery, last frame and `held`."""
    if (held == PROMPT).all() and (np.diff(frames) >= 0).all() and (np.diff(delivered) >= 0).all():
        return np.arange(len(frames))
    stream = np.lexsort((delivered, directions))
    complete = np.empty_like(frames)
    out = np.empty_like(frames)
    complete[stream] = latest = _latest(directions[stream], frames[stream])
    out[stream] = _latest(directions[stream], np.maximum(held[stream], latest))
    return np.lexsort((delivered, complete, out))


def _latest(directions: Column, frames: Column) -> Column:
    """The largest frame so far within each direction, whose records stand together."""
    groups = np.cumsum(np.diff(directions, prepend=directions[:1]) != 0) << _GROUP
    latest: Column = np.maximum.accumulate(groups + frames) - groups
    return latest
