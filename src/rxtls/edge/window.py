"""The bytes of one capture as a buffer that moves on, for code that walks over bytes and makes no objects of them.

        |......... gone .........|.. data[at:end] ...|.. not here yet ...
        0                        base + at           base + end

`FileWindow` is for regular files: stretches of them, mapped or read. `StreamWindow` is for all else: one buffer, filled
again and again. Memory stays flat with both.

Which is faster depends on how the file lies in the page cache. In large folios, as readahead and large writes make
them, mapping costs a tenth of what copying costs, and the data comes to the processor when it is looked at; in single
pages mapping costs more than the copy, which leaves the data in the processor's cache. So both are tried on the first
stretches of a large file, by the thread's own time, and small files are read.

Mapped memory has a weakness: where the file got shorter, or the disk fails, a look at it is a SIGBUS, which ends the
process. So a file's size is asked for before each stretch, and its pages are brought in by a call that can fail
(MADV_POPULATE_READ, Linux 5.14; without it nothing is mapped), after which the stretch is read instead, and the failure
has its place and cause. What is left is a file that somebody truncates while the few megabytes at hand are looked at,
for some milliseconds; a capture that is still being written only grows. Who must be safe from that has `mapped` False.
"""

from __future__ import annotations

import errno
import mmap
import os
import sys
from collections.abc import Callable
from time import thread_time
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rxtls.edge.captures import cause
from rxtls.errors import CaptureError

Bytes = npt.NDArray[np.uint8]

MAPPED = 8 << 20  # bytes of a file mapped at a time
BUFFER = 1 << 20  # of a buffer that is filled again and again: what fits a second-level cache
_CHUNK = 64 << 10

_POPULATE_READ = 22  # MADV_POPULATE_READ

_WORTH_TRYING = 64 << 20  # bytes: below, either is soon done
_TRIALS = 2  # stretches mapped, and twice as many read: the buffer's own first pages are no measure
_COLD = 0.03e-9  # seconds a byte that the walk takes longer over mapped data, which it is the first to look at


class Window(Protocol):
    """data[at:end] is what is there; whoever takes bytes moves `at`. `base` is the place of data[0] in the capture.

    `live` says that `more` may wait for somebody who writes.
    """

    data: Bytes
    at: int
    end: int
    base: int

    @property
    def live(self) -> bool: ...

    def more(self, need: int) -> bool:
        """Have at least `need` bytes from `at` on, and then some. False: it is less, and nothing comes any more.

        Moves all four. What was given out of a buffer is overwritten. Raises CaptureError, when all before was there.
        """


class FileWindow:
    """A regular file that is not compressed. A mapped stretch lasts as long as anybody refers to it.

    `mapped` says whether stretches are mapped or read; None: whichever is found to be faster, and until it is.
    """

    live = False

    def __init__(
        self, file: Any, name: str, count: Callable[[int], None], *, mapped: bool | None = None, size: int = MAPPED
    ) -> None:
        self.data: Bytes = np.zeros(0, np.uint8)
        self.at = self.end = self.base = 0
        self._file = file
        self._name = name
        self._count = count  # told how many more bytes were read
        self.mapped = mapped if sys.platform == "linux" else False
        self._costs: dict[bool, list[float]] = {True: [], False: []}  # seconds a byte, of mapping and of reading
        self._size = size
        self._buffer: Bytes = self.data

    def more(self, need: int) -> bool:
        """As Window says."""
        known = self.base + self.end
        try:
            size = os.fstat(self._file.fileno()).st_size
            if size > known and size > self.base + self.at:
                self._move(size, need)
                self._count(self.base + self.end - known)
            else:
                self.end = max(self.at, size - self.base)  # less than before: truncated
        except (OSError, ValueError) as failure:
            raise CaptureError(self._name, self.base + self.end, cause(failure)) from None
        return self.end - self.at >= need

    def _move(self, size: int, need: int) -> None:
        start = self.base + self.at
        if self.mapped is None and size - start < _WORTH_TRYING and not self._costs[True]:
            self.mapped = False
        mapping = self.mapped if self.mapped is not None else len(self._costs[True]) < _TRIALS
        started = thread_time() if self.mapped is None else 0.0
        low = start - start % mmap.ALLOCATIONGRANULARITY
        high = min(size, max(low + self._size, start + need))
        stretch = self._map(low, high) if mapping else None
        if stretch is not None:
            self.data, self.base, self.at, self.end = stretch, low, start - low, high - low
        else:
            mapping = False
            self.at = self.end = 0
            self.base = start
            self._read(min(size - start, max(need, min(self._size, BUFFER))))
        if self.mapped is None:
            self._costs[mapping].append((thread_time() - started) / (self.end or 1))
            if len(self._costs[False]) == 2 * _TRIALS:
                self.mapped = min(self._costs[True], default=1.0) + _COLD < min(self._costs[False])

    def _map(self, low: int, high: int) -> Bytes | None:
        """A stretch of the file, whose pages are there; None where it must be read."""
        try:
            stretch = mmap.mmap(self._file.fileno(), high - low, access=mmap.ACCESS_READ, offset=low)
        except (OSError, ValueError):
            self.mapped = False
            return None
        try:
            stretch.madvise(_POPULATE_READ)
        except OSError as failure:
            if failure.errno == errno.EINVAL:  # an older system, which does not know the call
                self.mapped = False
            return None
        return np.frombuffer(stretch, np.uint8)

    def _read(self, length: int) -> None:
        """`length` bytes of the file, or what there is, to the beginning of the buffer."""
        if len(self._buffer) < length:
            self._buffer = np.empty(length, np.uint8)
        self.data = self._buffer
        view = self._buffer.data[:length]
        self._file.seek(self.base)
        while self.end < length and (got := self._file.readinto(view[self.end :])):
            self.end += got


class StreamWindow:
    """What comes out of a function: `into(view)` puts 1 to len(view) bytes there and says how many; 0 is the end.

    A stream that is `live` is not waited for longer than `need` bytes take; any other fills the buffer.
    """

    def __init__(self, into: Callable[[memoryview], int], live: bool, size: int = BUFFER) -> None:
        self.data: Bytes = np.empty(size, np.uint8)
        self.at = self.end = self.base = 0
        self.live = live
        self._into = into
        self._ended = False
        self._failure: CaptureError | None = None

    def more(self, need: int) -> bool:
        """As Window says."""
        rest = self.data[self.at : self.end]
        room = len(self.data)
        if self.at or room < need:
            if room < need:
                self.data = np.empty(need, np.uint8)
            self.data[: len(rest)] = rest
            self.base += self.at
            self.at, self.end = 0, len(rest)
        view = self.data.data
        while not self._ended and (self.end < need or (not self.live and len(self.data) - self.end >= _CHUNK)):
            try:
                got = self._into(view[self.end :])
            except CaptureError as failure:  # told when what came before is used up
                self._failure = failure
                got = 0
            self._ended = got == 0
            self.end += got
        if self.end < need and self._failure is not None:
            raise self._failure
        return self.end >= need
