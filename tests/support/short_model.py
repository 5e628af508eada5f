"""An independent short model of one receive direction: who decrypts what, without any cryptography.

It is written from the design's rules alone and shares no code with device/, host/ or offload/: it takes the packets of
an undamaged stream, assumes that every AEAD tag verifies, and predicts each record's composition and how often sync was
lost, asked for, confirmed and regained. Positions are offsets into the stream from its first record under these keys.

    rows ─► Nic.packet ─► Host.put ─► at host points: Host.work ─► Table ─► query, confirm ─► Nic, 8 packets or 50 us on
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

RUNS, RUN_LENGTH = 32, 2048
ENCRYPTED, DECRYPTED = 1, 2  # what a byte's packet was; 0: not received yet
HEADER = 5
UNANSWERED, NOTHING = -1, -2  # in place of a query's anchor: no answer yet; an answer on which nobody acts


class Row(NamedTuple):
    """A packet of the direction that moves its clock; `control` is SYN, FIN or RST."""

    frame: int
    time_ns: int
    seq: int = 0
    payload: bytes = b""
    control: bool = True


class Knobs(NamedTuple):
    """What a profile may set; latencies are in packets and microseconds of capture time, whichever comes first."""

    budget: int = 64
    poll: tuple[int, int] = (8, 50)
    confirm: tuple[int, int] = (8, 50)


@dataclass(frozen=True)
class Setup:
    """`start` is the first record's TCP sequence number. Receive was enabled at frame `enabled`; to frame `settled` the
    handshake lasts, and each packet has a host point. The connection ends at
    `end_ns`; at `closed` begins the record with close_notify, or -1. `types` and
    `totals` (least, most) are those of a plausible header."""

    start: int
    enabled: int
    settled: int
    end_ns: int
    closed: int
    types: bytes
    totals: tuple[int, int]
    knobs: Knobs

    def total(self, header: bytes) -> int:
        """The record's length if the header is plausible, or 0."""
        total = HEADER + int.from_bytes(header[3:HEADER])
        plausible = header[0] in self.types and header[1:3] == b"\3\3" and self.totals[0] <= total <= self.totals[1]
        return total if plausible else 0


@dataclass
class Nic:
    """The engine. `header` is where the next record header begins, `part` what it has of it, `next` the next byte in
    order. `absorbing`: the record around `next` was taken in from its header on."""

    setup: Setup
    header: int
    next: int
    bound: bool = True
    tracking: bool = True
    absorbing: bool = False
    anchor: int = -1
    resume: int = 0
    part: bytes = b""
    marked: int = 0
    confirmed: int = 0
    losses: list[int] = field(default_factory=list)

    def packet(self, s: int, data: bytes) -> bool:
        """Take a packet; whether it is marked decrypted."""
        if not data or (self.tracking and s < self.next):  # while searching, no place is expected
            return False
        wanted = self.header + len(self.part)
        if not self.tracking or s > max(self.next, wanted):
            self.losses += [s] if self.bound else []
            self.search(s, data, 0)
            return False
        if self.next < s and s + len(data) <= wanted:
            return False
        # What is waited for after a confirm may begin with a packet, whatever is missing before it.
        fresh = wanted == s and self.header >= self.resume
        mark = self.bound and (self.absorbing or fresh) and (s == self.next or not self.absorbing)
        self.walk(s, data)
        self.marked = self.next if mark else self.marked
        return mark

    def walk(self, s: int, data: bytes) -> None:
        """Follow the lengths through a packet that holds `header`, or ends before it."""
        while (at := self.header + len(self.part) - s) < len(data):
            self.part += data[at : at + HEADER - len(self.part)]
            if len(self.part) < HEADER:
                break
            if not (total := self.setup.total(self.part)):
                self.search(s, data, max(at, 0))
                return
            self.absorbing = self.header >= self.resume
            self.header, self.part = self.header + total, b""
        self.next = s + len(data)

    def search(self, s: int, data: bytes, at: int) -> None:
        """Look for a plausible header that lies whole in this packet."""
        self.bound, self.tracking, self.part, self.next = False, False, b"", s + len(data)
        for hit in re.finditer(b"[%s]\3\3" % self.setup.types, data[at:]):
            place = at + hit.start()
            if place + HEADER <= len(data) and self.setup.total(data[place : place + HEADER]):
                self.tracking, self.anchor, self.header = True, s + place, s + place
                self.walk(s, data)
                return

    def confirm(self, anchor: int) -> None:
        """The host knows the record at `anchor`: go on at the first header from here on."""
        if self.tracking and not self.bound and anchor == self.anchor:
            self.bound, self.absorbing, self.resume = True, False, max(self.next, self.marked)
            self.confirmed += 1


@dataclass
class Table:
    """The driver's table of records that were not fully decrypted: runs of [length, count]."""

    start: int = 0
    next: int = -1
    runs: list[list[int]] = field(default_factory=list)

    def add(self, place: int, total: int) -> None:
        if not self.runs or place != self.next or not total:
            self.start, self.runs = place, [[total, 1]] if total else []
        elif self.runs[-1][0] == total and self.runs[-1][1] < RUN_LENGTH:
            self.runs[-1][1] += 1
        else:
            if len(self.runs) == RUNS:
                length, count = self.runs.pop(0)
                self.start += length * count
            self.runs.append([total, 1])
        self.next = place + total

    def has(self, place: int) -> bool:
        at = self.start
        for length, count in self.runs:
            if at <= place < at + length * count:
                return (place - at) % length == 0
            at += length * count
        return False


@dataclass
class Host:
    """Reassembly and the worker. `marks` has each byte's mark, `stream` the bytes; at `done` the next record begins."""

    stream: bytearray
    marks: bytearray
    received: int = 0
    done: int = 0
    resyncing: bool = False
    records: list[tuple[int, str]] = field(default_factory=list)

    def put(self, s: int, data: bytes, mark: int) -> None:
        """The first accepted copy of a byte wins."""
        s, data = max(s, 0), data[max(-s, 0) :]
        for hole in list(re.finditer(b"\0+", self.marks[s : s + len(data)])):
            a, b = hole.span()
            self.stream[s + a : s + b], self.marks[s + a : s + b] = data[a:b], bytes([mark]) * (b - a)

    def work(self) -> list[tuple[int, int]]:
        """A host point: the reports (place, length) of the records that became complete; length 0: sync is back."""
        self.received = self.marks.find(0, self.received)
        reports = []
        while self.done + HEADER <= self.received and self.received >= self.after(self.done):
            place, self.done = self.done, self.after(self.done)
            runs = re.findall(b"\1+|\2+", self.marks[place : self.done])
            self.records.append((place, "".join("?ED"[run[0]] for run in runs)))
            if self.records[-1][1] != "D":
                self.resyncing = True
                reports.append((place, self.done - place))
            elif self.resyncing:
                self.resyncing = False
                reports.append((self.done, 0))
        return reports

    def after(self, place: int) -> int:
        return place + HEADER + int.from_bytes(self.stream[place + 3 : place + HEADER])

    def first_header_to_come(self) -> int:
        place = self.done
        while place + HEADER <= self.received:
            place = self.after(place)
        return place


class Prediction(NamedTuple):
    """`records` are (place, composition) in order."""

    records: list[tuple[int, str]]
    lost: int
    polls: int
    confirmed: int
    regained: int


def predict(rows: Sequence[Row], setup: Setup) -> Prediction:
    """What becomes of a direction whose packets are `rows`, the handshake's included."""
    places = [(row.seq - setup.start + 2**31) % 2**32 - 2**31 for row in rows]
    size = max([0, *(place + len(row.payload) for place, row in zip(places, rows, strict=True))]) + 1
    host, table, nic = Host(bytearray(size), bytearray(size)), Table(), Nic(setup, 0, 0, bound=False)
    commands: list[tuple[float, int, int | None]] = []  # due clock and time, a confirm's anchor
    answer, pending, polls = UNANSWERED, False, 0
    end = Row(sys.maxsize, setup.end_ns)  # a last host point, and no packet
    for n, (row, place) in enumerate([*zip(rows, places, strict=True), (end, 0)], 1):
        for command in [each for each in commands if row.time_ns >= each[1] or (n >= each[0] and row is not end)]:
            commands.remove(command)
            if command[2] is not None:
                nic.confirm(command[2])
            else:
                answer = nic.anchor if nic.tracking and not nic.bound else NOTHING
        marked = row.frame > setup.enabled and nic.packet(place, row.payload)
        host.put(place, row.payload, DECRYPTED if marked else ENCRYPTED)
        served = row.control or row.frame <= setup.settled or n % setup.knobs.budget == 0
        if row.frame < setup.enabled or not served:
            continue
        reports = host.work()
        if row.frame == setup.enabled:  # what was queued is opened before there is a receive tag to report to
            nic = Nic(setup, host.first_header_to_come(), host.received)
            continue
        for begin, total in reports:
            table.add(begin, total)
            if total and not pending:
                pending, polls = True, polls + 1
                commands.append((n + setup.knobs.poll[0], row.time_ns + setup.knobs.poll[1] * 1000, None))
        if 0 <= setup.closed < host.done:  # the peer has said all: nothing more is asked of the device
            break
        if answer != UNANSWERED:
            if answer != NOTHING and table.has(answer):
                commands.append((n + setup.knobs.confirm[0], row.time_ns + setup.knobs.confirm[1] * 1000, answer))
            answer, pending = UNANSWERED, False
    whole = [begin for begin, composition in host.records if composition == "D"]
    spans = zip(nic.losses, [*nic.losses, size][1:], strict=True)
    regained = sum(any(a <= begin < b for begin in whole) for a, b in spans)
    return Prediction(host.records, len(nic.losses), polls, nic.confirmed, regained)
