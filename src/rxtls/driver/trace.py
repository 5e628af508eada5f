"""What a run shows of its inside while it goes: values for those who look on. Off unless asked for, and free when off.

    Watch.EVENTS    what NIC and host did about each other: losses, anchors, queries, confirms, receive tags
    Watch.FRAMES    the same; also each segment with the NIC's verdict, and each frame with its fate

`Records.trace` is the Trace of one call to the path. It does not depend on the engine, nor, taken together, on how many
frames come in a call: only segments of one call may stand in it before events of an earlier frame are heard.

A verdict says what the NIC made of one segment. It is what was known when the packet had passed:

    decrypted       the payload went up decrypted                        the one that carries the mark
    passed          as on the wire, the context kept its place: the segment was old, came after a hole whose record
                    length is known, held no header to resume at, or an AEAD tag in it failed
    searching       as on the wire: out of sync, no header to track from
    tracking        as on the wire: out of sync, walking headers from an anchor, its number not confirmed
    stopped         as on the wire: the device has given up on this flow
    other_leaf      as on the wire: it came by another interface than the receive tag's
    no_receive_tag  as on the wire: there was no receive tag (handshake, software, not yet installed)
    empty           no payload: SYN, FIN, RST
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import NamedTuple

import numpy as np

from rxtls.counters import FATES
from rxtls.device.tracker import BOUND, ELSEWHERE, IDLE, NO_CONTEXT, OFFLOADING, SEARCHING, TRACKING, TRANSITIONS
from rxtls.events import PathChange
from rxtls.intake import batch as col
from rxtls.native.shapes import Array
from rxtls.offload.commands import Command, Confirm, Guess, Happening, Install, Progress, Query, SetPosition
from rxtls.offload.mbuf import WIRE


class Watch(IntEnum):
    """How much of its inside a run shows."""

    NOTHING = 0
    EVENTS = 1
    FRAMES = 2


class HostAction(StrEnum):
    """What the host's driver did; with device's Happening, all that an Event can be."""

    INSTALL = "install"  # a receive tag was asked for; acts after the install latency as `installed`
    QUERY = "query"
    ANSWER = "answer"  # a snapshot came to the policy; `tcp_sn` is the anchor
    CONFIRM = "confirm"  # acts after the confirm latency as `confirmed` or `stale_confirm`
    SET_POSITION = "set_position"
    GUESS = "guess"  # the device volunteered an anchor
    RELEASE = "release"
    RESET = "reset"  # packets came by another interface: the receive tag was made anew there,
    RESET_FAILED = "reset_failed"  # or could not be


_POSTED = {
    Install: HostAction.INSTALL,
    Confirm: HostAction.CONFIRM,
    SetPosition: HostAction.SET_POSITION,
}

VERDICTS = ("decrypted", "passed", "searching", "tracking", "stopped", "other_leaf", "no_receive_tag", "empty")
DECRYPTED, PASSED, SEARCHES, TRACKS, STOPPED, OTHER_LEAF, NO_RECEIVE_TAG, EMPTY = range(len(VERDICTS))


_OF_STATE = {IDLE: STOPPED, SEARCHING: SEARCHES, TRACKING: TRACKS, BOUND: PASSED, OFFLOADING: PASSED}
# By a state's place in the table; ELSEWHERE and NO_CONTEXT count from the end.
_VERDICT_OF = np.array([_OF_STATE[state] for state in TRANSITIONS] + [0, 0], np.int64)
_VERDICT_OF[[ELSEWHERE, NO_CONTEXT]] = OTHER_LEAF, NO_RECEIVE_TAG

# Columns of Trace.segments.
FRAME = 0  # global frame index
TIME = 1  # capture time, ns since the epoch
LEAF = 2
FLOW = 3  # receive flow: 2 * connection + sender's side
SEQ = 4
FLAGS = 5
LENGTH = 6  # payload bytes
VERDICT = 7  # place in VERDICTS
EPOCH = 8  # the mark: 0 unless decrypted
SEGMENT_COLUMNS = 9

_TAKEN = [col.FRAME, col.TIME, col.LEAF, col.FLOW, col.SEQ, col.FLAGS, col.LENGTH]

FATE_CODES = {name: n for n, name in enumerate(FATES)}


class Event(NamedTuple):
    """One thing that NIC or host did about a receive flow. `tcp_sn` and `number` are None where there is none."""

    flow: int  # receive flow: 2 * connection + sender's side
    what: Happening | HostAction
    frame: int  # global frame index; of the host's actions, the frame whose host point it was
    time_ns: int
    tcp_sn: int | None
    number: int | None
    epoch: int
    change: PathChange | None = None  # of RESET and RESET_FAILED


@dataclass(slots=True)
class Trace:
    """Of one call to the path.

    `segments` int64 (n, SEGMENT_COLUMNS), in capture order; `frames` int64 (m, 3): global index, time in ns, place of
    the fate in counters.FATES. Both are empty below Watch.FRAMES.
    """

    events: list[Event]
    segments: Array
    frames: Array

    def only(self, wanted: Callable[[int], bool]) -> Trace:
        """What concerns the wanted receive flows; and all frames."""
        flows = self.segments[:, FLOW]
        kept = {flow: wanted(flow) for flow in {*np.unique(flows).tolist(), *(event.flow for event in self.events)}}
        mask = np.isin(flows, [flow for flow, keep in kept.items() if keep])
        return Trace([event for event in self.events if kept[event.flow]], self.segments[mask], self.frames)


def nothing() -> tuple[Array, Array]:
    """No segments, and no frames."""
    return np.zeros((0, SEGMENT_COLUMNS), np.int64), np.zeros((0, 3), np.int64)


def joined(traces: Iterable[Trace]) -> Trace:
    """Several of one call, one after the other."""
    each = [Trace([], *nothing()), *traces]
    return Trace(
        [event for trace in each for event in trace.events],
        np.concatenate([trace.segments for trace in each]),
        np.concatenate([trace.frames for trace in each]),
    )


def segments(rows: Array, marks: Array, states: Array) -> Array:
    """A batch's rows as Trace.segments. `states` are places in the tracker's table, or NO_CONTEXT, or ELSEWHERE."""
    packets = np.flatnonzero(rows[:, col.FLAGS] & (col.END | col.TICK) == 0)
    table = np.empty((len(packets), SEGMENT_COLUMNS), np.int64)
    table[:, :VERDICT] = rows[packets][:, _TAKEN]
    marks = marks[packets]
    verdicts = np.where(marks != WIRE, DECRYPTED, _VERDICT_OF[states[packets]])
    table[:, VERDICT] = np.where(table[:, LENGTH] == 0, EMPTY, verdicts)
    table[:, EPOCH] = marks
    return table


# Log.position where no host point is being served: after all rows of a call, or before them, when a socket is read.
OUTSIDE = 1 << 62
BETWEEN = -1


class Log:
    """Events of the call that goes on. `position` is the place of the host point being served, or one of these."""

    __slots__ = ("_events", "_latest", "on", "position")

    def __init__(self, on: bool) -> None:
        self.on = on
        self.position = 0
        self._events: list[tuple[int, Event]] = []  # with the position
        self._latest = (0, 0)  # (frame, time) of the last row so far

    def happened(self, flow: int, what: Happening, frame: int, time_ns: int, tcp_sn: int, epoch: int) -> None:
        """The device's log tells."""
        if self.on:
            self._events.append((OUTSIDE, Event(flow, what, frame, time_ns, tcp_sn, None, epoch)))

    def answered(self, flow: int, answer: Progress | Guess) -> None:
        """The device's snapshot, or what it volunteered, comes to the policy."""
        if isinstance(answer, Guess):
            self.did(flow, HostAction.GUESS, answer.epoch, answer.tcp_sn)
        else:
            self.did(flow, HostAction.ANSWER, answer.epoch, answer.hw_resync_tcp_sn)

    def commanded(self, flow: int, command: Install | Command) -> None:
        """The driver posts a command."""
        if isinstance(command, Query):
            self.did(flow, HostAction.QUERY, command.epoch)
        else:
            self.did(flow, _POSTED[type(command)], command.epoch, command.tcp_sn, command.number)

    def did(
        self, flow: int, what: HostAction, epoch: int, tcp_sn: int | None = None, number: int | None = None
    ) -> None:
        """The host does something, at the host point that is being served."""
        if self.on:
            self._events.append((self.position, Event(flow, what, -1, -1, tcp_sn, number, epoch)))

    def changed(self, flow: int, what: HostAction, epoch: int, change: PathChange) -> None:
        """The path changed. That is told whether somebody looks on or not."""
        self._events.append((self.position, Event(flow, what, -1, -1, None, None, epoch, change)))

    def take(self, rows: Array | None = None) -> list[Event]:
        """What was logged during a walk over `rows`, each with its frame: outside of host points, the last one's."""
        if rows is None:
            rows = np.zeros((0, col.COLUMNS), np.int64)
        before = self._latest
        if len(rows):
            self._latest = (int(rows[-1, col.FRAME]), int(rows[-1, col.TIME]))
        events: list[Event] = []
        for position, event in self._events:
            if event.frame < 0:
                frame, time_ns = before if position == BETWEEN else self._latest
                if 0 <= position < len(rows):
                    frame, time_ns = rows[position, [col.FRAME, col.TIME]].tolist()
                event = event._replace(frame=frame, time_ns=time_ns)
                if event.change:
                    event = event._replace(change=event.change._replace(frame=frame, time_ns=time_ns))
            events.append(event)
        self._events = []
        return events
