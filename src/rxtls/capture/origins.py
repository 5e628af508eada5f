"""Which capture each frame of a run came from, kept small: a run of frames of one capture costs a few bytes.

A frame's number in its capture is one more than the frames that came from there before, so a row of (capture, how many)
says everything. To find a frame without reading the whole row, what each capture had given is noted now and then. A
capture that is not read in the order of its file has a table of its numbers besides (order.py).
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from rxtls.capture.order import Numbers

_MOST = (1 << 32) - 1
_STRIDE = 512  # runs between two notes; more with more captures, so that the notes do not outgrow the runs


class Places:
    """Filled in the order of global frame indices, from 0."""

    __slots__ = ("_captures", "_counts", "_files", "_given", "_marks", "_noted", "_numbers", "_stride", "_total")

    def __init__(self, captures: int, numbers: Mapping[int, Numbers] | None = None) -> None:
        self._captures = captures
        self._numbers = numbers or {}
        self._stride = max(_STRIDE, captures)
        self._files = array("I")
        self._counts = array("I")
        self._given = [0] * captures  # frames so far, by capture
        self._total = 0
        self._marks = array("q")  # the first frame index of each stride of runs
        self._noted = array("q")  # and what each capture had given before it

    def __len__(self) -> int:
        """Frames so far."""
        return self._total

    def add(self, capture: int, frames: int) -> None:
        """The next `frames` frames came from `capture`."""
        if frames < 1:
            return
        if self._files and self._files[-1] == capture and self._counts[-1] + frames <= _MOST:
            self._counts[-1] += frames
        else:
            self._mark()
            self._files.append(capture)
            self._counts.append(frames)
        self._given[capture] += frames
        self._total += frames

    def add_runs(self, runs: npt.NDArray[np.int64]) -> None:
        """The next runs, each (capture, frames), as a table."""
        if not len(runs):
            return
        self.add(int(runs[0, 0]), int(runs[0, 1]))  # perhaps more of the run before
        at = 1
        while at < len(runs):
            self._mark()
            to = at + self._stride - len(self._files) % self._stride
            files, counts = runs[at:to, 0], runs[at:to, 1]
            self._files.frombytes(files.astype(np.uintc).tobytes())
            self._counts.frombytes(counts.astype(np.uintc).tobytes())
            for capture, frames in enumerate(np.bincount(files, counts).tolist()):
                self._given[capture] += int(frames)
                self._total += int(frames)
            at = to

    def _mark(self) -> None:
        """A run is to be added: note what came before, if it is time."""
        if len(self._files) % self._stride == 0:
            self._marks.append(self._total)
            self._noted.extend(self._given)

    def find(self, index: int) -> tuple[int, int]:
        """The capture of a global frame index, and the frame's number in it, from 1."""
        if not 0 <= index < self._total:
            raise IndexError(f"frame {index} of {self._total}")
        if self._captures == 1:
            return 0, self._numbers[0].one(index) if 0 in self._numbers else index + 1
        mark = bisect_right(self._marks, index) - 1
        runs = slice(mark * self._stride, (mark + 1) * self._stride)
        files = np.asarray(self._files[runs])
        counts = np.asarray(self._counts[runs], np.int64)
        ends = counts.cumsum() + self._marks[mark]
        run = int(ends.searchsorted(index, side="right"))
        capture = int(files[run])
        before = self._noted[mark * self._captures + capture] + int(counts[:run][files[:run] == capture].sum())
        place = before + index - int(ends[run] - counts[run])
        return capture, self._numbers[capture].one(place) if capture in self._numbers else place + 1

    def find_all(self, indices: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """`find` for many global frame indices at once: their captures, and their numbers there."""
        if self._captures == 1:
            return self._numbered(np.zeros(len(indices), np.int64), indices)
        if not len(indices):
            return indices, indices
        # Only the runs between the notes that enclose all of them.
        first = bisect_right(self._marks, int(indices.min())) - 1
        last = bisect_right(self._marks, int(indices.max()))
        files = np.asarray(self._files[first * self._stride : last * self._stride], np.int64)
        counts = np.asarray(self._counts[first * self._stride : last * self._stride], np.int64)
        ends: npt.NDArray[np.int64] = counts.cumsum() + self._marks[first]
        # What its capture had given before each run.
        before = np.empty(len(files), np.int64)
        noted = self._noted[first * self._captures : (first + 1) * self._captures]
        for capture in range(self._captures):
            own = files == capture
            before[own] = counts[own].cumsum() - counts[own] + noted[capture]
        runs = ends.searchsorted(indices, side="right")
        return self._numbered(files[runs], before[runs] + indices - (ends[runs] - counts[runs]))

    def _numbered(
        self, files: npt.NDArray[np.int64], places: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Captures and numbers, of captures and places in them from 0."""
        found = places + 1
        for capture, numbers in self._numbers.items():
            own = files == capture
            found[own] = numbers.of(places[own])
        return files, found
