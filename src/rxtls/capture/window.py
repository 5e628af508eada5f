"""The bytes of one capture as a buffer that moves on, for code that walks over bytes and makes no objects of them.

        |......... gone .........|.. data[at:end] ...|.. not here yet ...
        0                        base + at           base + end

One buffer, filled again and again, so that memory stays flat and warm. Files are not mapped: that was measured, in
stretches with their pages brought in beforehand, and is hardly faster where the page cache holds a file in large folios
and slower everywhere else (the copy is also what brings the bytes to the processor); and where a file is truncated, or
a disk fails, reading ends in an error with a place and a cause, a look at mapped memory in SIGBUS.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from rxtls.errors import CaptureError

# Bytes of a buffer: what a third-level cache keeps until the last stage has seen it. 1 MB makes blocks too short for
# what each of them costs, 8 MB crowds out what the stages need themselves; both cost 10 to 20 percent.
BUFFER = 4 << 20
_CHUNK = 64 << 10


class Window:
    """data[at:end] is what is there; whoever takes bytes moves `at`, also beyond `end`, to pass over bytes.

    `base` is the place of data[0] in the capture. `into(view)` puts 1 to len(view) bytes there and says how many; 0 is
    the end. A window that is `live` does not wait for more than what is needed; any other fills its buffer.
    """

    def __init__(self, into: Callable[[memoryview], int], live: bool = False, size: int = BUFFER) -> None:
        self.data: npt.NDArray[np.uint8] = np.empty(size, np.uint8)
        self.at = self.end = self.base = 0
        self.live = live
        self._into = into
        self._ended = False
        self._failure: CaptureError | None = None

    def more(self, need: int) -> bool:
        """Have at least `need` bytes from `at` on, and then some. False: it is less, and nothing comes any more.

        Moves `data`, `at`, `end` and `base`: what was given out is overwritten. Raises CaptureError, when all that came
        before it was there.
        """
        if self.end - self.at >= need:
            return True  # else who takes little at a time, as of short sections, has all that follows moved each time
        rest = self.data[self.at : self.end]
        room = len(self.data)
        if self.at or room < need:
            beyond = max(0, self.at - self.end)
            if room < need:
                # Twice, since who does not know how long a block is asks for a byte more each time.
                self.data = np.empty(max(need, 2 * room), np.uint8)
            self.data[: len(rest)] = rest
            self.base += self.at - beyond
            self.at, self.end = 0, len(rest)
            self._pass_over(beyond)
        while self.end < need or (not self.live and len(self.data) - self.end >= _CHUNK):
            got = self._fill()
            if not got:
                break
            self.end += got
        if self.end < need and self._failure is not None:
            raise self._failure
        return self.end >= need

    def _pass_over(self, length: int) -> None:
        """Read and forget so many bytes, with an empty buffer."""
        while length and (got := self._fill(length)):
            self.base += got
            length -= got

    def _fill(self, most: int | None = None) -> int:
        """Some bytes behind those that there are; 0 at the end. A failure is told when what came before is used up."""
        if self._ended:
            return 0
        view = self.data.data[self.end :]
        try:
            got = self._into(view if most is None else view[:most])
        except CaptureError as failure:
            self._failure = failure
            got = 0
        self._ended = got == 0
        return got
