"""What all directions of a run hold out of order, together, as memory: its bound, and when it is looked at.

    frames   |-- limit / EIGHTH --|-- limit / EIGHTH --|--      captured bytes, from the beginning of the run
                                  ^ the sum is looked at: is it more than the limit, then those that hold most let go

The bound is shared, so what comes of it must not depend on how many frames come in a call, within which connections do
not keep to each other's order. One frame a call, as for other shared limits, would cost a hundred times as much, and
all the time: how much will be held is known only once it is. So calls are cut where the sum is looked at, which cannot
be observed otherwise; between two such places the sum may grow by what is captured there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from rxtls.wire.compiled.columns import FrameRow

EIGHTH = 8  # looks for each limit's worth of captured bytes


class HoldRun:
    """The bound on all directions, `limit` bytes. `most` is the largest sum that was seen."""

    __slots__ = ("_limit", "_to_look", "met", "most")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._to_look = self._stretch
        self.most = 0
        self.met = 0  # directions that had to let go of what they held

    @property
    def _stretch(self) -> int:
        return max(1, self._limit // EIGHTH)

    def over(self, total: int) -> bool:
        """Whether that is too much."""
        self.most = max(self.most, total)
        return total > self._limit

    def relieved(self, total: int) -> bool:
        """Whether enough was let go of: so much that it is worth while."""
        return total <= self._limit - self._stretch

    def parts(self, frames: Any) -> Iterator[tuple[Any, bool]]:
        """Frames (columns, or pairs of an index and a frame) in stretches, and whether to look behind each."""
        if isinstance(frames, Iterable):
            frames = list(frames)
            ends = np.cumsum([len(frame.data) for _, frame in frames], dtype=np.int64)
        else:
            from rxtls.wire.compiled.columns import part

            ends = np.cumsum(frames.table[:, FrameRow.LENGTH])
        captured = int(ends[-1]) if len(ends) else 0
        if captured < self._to_look:
            self._to_look -= captured
            yield frames, False
            return
        begun, passed = 0, 0
        while begun < len(ends):
            looks = captured - passed >= self._to_look
            end = int(np.searchsorted(ends, passed + self._to_look)) + 1 if looks else len(ends)
            yield (frames[begun:end] if isinstance(frames, list) else part(frames, begun, end)), looks
            self._to_look = self._stretch if looks else self._to_look - (captured - passed)
            begun, passed = end, int(ends[end - 1])
