"""Captures as blocks of frames for the compiled engine: what source.py gives, in the same order, in columns.

Every capture is walked ahead, to the end of what its window holds (pieces.py). Of the frames that come next in
each capture the earliest goes first, of equals that of the capture named first. A long run of frames of one capture is
given as it is, in place; short runs, as from two taps of one link, are copied together into a block. So a capture ring
runs at the speed of one file, and interleaved captures cost a copy.

Interfaces, secrets and errors come up in exactly the order in which Source comes upon them: what stands behind a
capture's last frame at hand is looked at as soon as that frame was given.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from heapq import heapify, heappop
from io import BufferedReader
from typing import IO

import numpy as np

from rxtls.capture.captures import Captures, SecretsFound, TickFound
from rxtls.capture.compiled import gather as col
from rxtls.capture.compiled.headers import walk
from rxtls.capture.compressed import LONGEST_MAGIC, MAX_DECOMPRESSED, is_compressed
from rxtls.capture.headers import Column
from rxtls.capture.origins import Places
from rxtls.capture.pieces import CaptureWalk
from rxtls.capture.window import BUFFER, Window
from rxtls.wire.captured import MAX_FRAME, Secrets
from rxtls.wire.compiled.columns import FrameRow, Frames, PacketRow
from rxtls.wire.compiled.scan import scan_secrets
from rxtls.wire.compiled.shard import Share

CALL_SIZE = 1024  # frames of a block
LONG = 64  # frames of a run that is not copied: about where a block of its own costs as much as the copy
_ROOM = 2 * MAX_FRAME  # bytes of a block that is copied together
_LEAST_WINDOW = 256 << 10
_FAR = (1 << 63) - 1


class _Head:
    """A capture that was walked ahead, and which of the frames at hand is next."""

    __slots__ = ("frames", "index", "next", "walk")

    def __init__(self, walk: CaptureWalk) -> None:
        self.walk = walk
        self.index = walk.index
        self.next = 0
        self.frames: Frames

    def key(self) -> tuple[int, int]:
        """When it is due: least first."""
        return int(self.frames.table[self.next, FrameRow.TIME]), self.index

    def row(self) -> tuple[int, ...]:
        """As compiled/gather.py has it."""
        frames = self.frames
        addresses = frames.table.ctypes.data, frames.packets.ctypes.data, frames.data.ctypes.data
        return *addresses, self.next, len(frames.table), self.index

    def run(self, limit: tuple[int, int] | None) -> int:
        """How many of its frames come before `limit`."""
        times = self.frames.table[self.next :, FrameRow.TIME]
        if limit is None:
            return len(times)
        before = times <= limit[0] if self.index < limit[1] else times < limit[0]
        stop = int(before.argmin())
        return stop if not before[stop] else len(times)

    def vlans(self, stop: int) -> dict[int, tuple[int, ...]]:
        """Frames.vlans of the frames from the next one to `stop`, counted from there."""
        vlans = self.frames.vlans
        return {row - self.next: ids for row, ids in vlans.items() if self.next <= row < stop} if vlans else {}


class Blocks(Captures):
    """Several captures as one stream: iterate, once, over `Frames` with their packets parsed, and what stands between.

    A block has 1 to `call_size` frames, and is valid until the next one is asked for. `places` tells where each of the
    frames so far came from. `check_ip` is wire.frame.parse's. An open capture has a buffer of `window` bytes
    (window.py); a longer frame or block makes it longer. The rest is as for Source.
    """

    def __init__(
        self,
        captures: Sequence[str | os.PathLike[str]],
        *,
        stdin: IO[bytes] | None = None,
        max_decompressed: int = MAX_DECOMPRESSED,
        call_size: int = CALL_SIZE,
        check_ip: bool = True,
        window: int = BUFFER,
        by_time: bool = False,
    ) -> None:
        super().__init__(captures, stdin=stdin, max_decompressed=max_decompressed, by_time=by_time)
        self.places = Places(len(self.names), self.numbers)
        self.share: Share | None = None  # set before iterating: packets of other jobs are FOREIGN
        self._call_size = call_size
        self._check_ip = check_ip
        self._window = window
        self._long = min(LONG, call_size)
        self._heads: list[_Head] = []  # in order of capture; each has frames
        # What is copied together.
        self._table = np.zeros((call_size, FrameRow.COLUMNS), np.int64)
        self._packets = np.zeros((call_size, PacketRow.COLUMNS), np.int64)
        self._runs = np.zeros((call_size, 2), np.int64)
        self._data = np.empty(_ROOM, np.uint8)
        self._vlans: dict[int, tuple[int, ...]] = {}
        self._control = np.zeros(col.CONTROL_COLUMNS, np.int64)
        self._control[col.ROOM] = _ROOM
        heapify(self.due)
        self._items = self._closing()

    def __iter__(self) -> Iterator[Frames | SecretsFound | TickFound]:
        return self._items

    def walk_headers(self, window: Window, control: Column, rows: Column) -> int:
        """As Captures.walk_headers, by compiled code."""
        return walk(window, control, rows)

    def scan(self, file: BufferedReader, name: str) -> Iterator[Secrets]:
        """As Captures.scan, by compiled code where the file is not compressed."""
        if is_compressed(file.peek(LONGEST_MAGIC)):
            return super().scan(file, name)
        return scan_secrets(Window(file.readinto))

    def _closing(self) -> Iterator[Frames | SecretsFound | TickFound]:
        """All, and nothing left open even where somebody stops in between."""
        try:
            yield from self._merged()
        finally:
            for head in self._heads:
                head.walk.close()

    def _merged(self) -> Iterator[Frames | SecretsFound | TickFound]:
        heads, due = self._heads, self.due
        while heads or due:
            keys = [head.key() for head in heads]
            first, *later = sorted([*keys, *due[:1]])
            if first not in keys:
                yield from self._refill(self._open(heappop(due)[1]))
                continue
            head = heads[keys.index(first)]
            run = head.run(later[0] if later else None)
            if run >= self._long:
                yield from self._flush()
                yield self._direct(head, run)
            elif self._gather():
                yield from self._flush()
            for each in [each for each in heads if each.next == len(each.frames.table)]:  # at most one
                yield from self._refill(each)
        yield from self._flush()

    def _open(self, index: int) -> _Head:
        """A new head, which has no frames yet."""
        parts = 1 + len(self._heads) // 8  # with many captures open at once, each gets less to hold
        walk = CaptureWalk(
            self,
            index,
            most=max(self._call_size // parts, 1),
            check_ip=self._check_ip,
            size=max(self._window // parts, min(self._window, _LEAST_WINDOW)),
            share=self.share,
        )
        head = _Head(walk)
        self._heads.append(head)
        self._heads.sort(key=lambda each: each.index)
        return head

    def _refill(self, head: _Head) -> Iterator[Frames | SecretsFound | TickFound]:
        """The next frames of a capture, and what stands before them; without any, it is over."""
        if head.walk.live:
            yield from self._flush()
        ahead = self.ahead.get(head.index, 0)
        while isinstance(item := head.walk.step(len(self.places)), SecretsFound | TickFound):
            yield from self._flush()
            yield item._replace(time_ns=item.time_ns - ahead) if isinstance(item, TickFound) else item
        if item is None:
            self._heads.remove(head)
        else:
            head.frames, head.next = item, 0
            if ahead:
                item.table[:, FrameRow.TIME] -= ahead

    def _direct(self, head: _Head, run: int) -> Frames:
        """A run of frames where it lies."""
        frames, start, stop = head.frames, head.next, head.next + run
        vlans = head.vlans(stop)
        head.next = stop
        table = frames.table[start:stop]
        index = len(self.places)
        if table[0, FrameRow.INDEX] != index:  # other captures' frames went before
            table[:, FrameRow.INDEX] = np.arange(index, index + run)
        self.places.add(head.index, run)
        return Frames(frames.data, table, frames.packets[start:stop], vlans)

    def _gather(self) -> bool:
        """Copy frames of all captures together, until one has no more at hand, or is to be opened; True: it is full."""
        heads, control = self._heads, self._control
        before = int(control[col.FRAMES])
        control[col.FIRST] = len(self.places) - before
        control[col.LIMIT], control[col.BEFORE] = self.due[0] if self.due else (_FAR, len(self.names))
        rows = np.array([each.row() for each in heads], np.int64)
        data, packets = self._data.ctypes.data, self._packets.ctypes.data
        col.gather(control, rows, self._table, packets, data, self._runs)
        runs = self._runs[: control[col.RUNS]]
        self.places.add_runs(runs)
        for each, stop in zip(heads, rows[:, col.NEXT].tolist(), strict=True):
            if vlans := each.vlans(stop):
                origin = np.repeat(runs[:, 0], runs[:, 1])
                places = np.flatnonzero(origin == each.index).tolist()
                self._vlans.update({before + places[row]: ids for row, ids in vlans.items()})
            each.next = stop
        return bool(control[col.REASON] == col.FULL)

    def _flush(self) -> Iterator[Frames]:
        """The block that was copied together so far."""
        n = int(self._control[col.FRAMES])
        if n:
            yield Frames(self._data, self._table[:n], self._packets[:n], self._vlans)
            self._control[col.FRAMES] = self._control[col.USED] = 0
            self._vlans = {}
