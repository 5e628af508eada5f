"""Captures as what the path takes in one call: columns for the compiled engine, lists of frames for the plain one.

Results do not depend on how many frames a call has. It has a bound in bytes, too: a small compressed file of the
largest frames would fill gigabytes at once.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rxtls.capture.captures import Captures, SecretsFound, TickFound
from rxtls.capture.origins import Places
from rxtls.capture.source import Source, SourceFrame
from rxtls.wire.compiled.columns import FrameRow

if TYPE_CHECKING:
    from rxtls.capture.blocks import Blocks

CALL_BYTES = 8 << 20

Call = list[tuple[int, SourceFrame]] | Any  # or wire.compiled.columns.Frames


class Feed(ABC):
    """Iterate, once, over calls, and `SecretsFound` and `TickFound` between them.

    Growing meanwhile: frames, captured_bytes, first_ns, last_ns; and `steps_back`, how often a frame was earlier than
    the one before it, by `step_back_ns` at most.
    """

    captures: Captures
    places: Places

    def __init__(self) -> None:
        self.frames = 0
        self.captured_bytes = 0
        self.first_ns: int | None = None
        self.last_ns: int | None = None
        self.steps_back = 0
        self.step_back_ns = 0
        self._latest = -(1 << 63)  # time of the last frame

    @abstractmethod
    def __iter__(self) -> Iterator[Call | SecretsFound | TickFound]: ...

    @abstractmethod
    def share(self, job: int, jobs: int) -> None:
        """Before iterating: say of frames which are other jobs', where that is said of frames."""

    @abstractmethod
    def partition(self) -> bytes:
        """How connections were divided among jobs."""

    def _count(self, times: npt.NDArray[np.int64], size: int) -> None:
        """A call with frames of these times."""
        first_ns, last_ns = int(times.min()), int(times.max())
        self.frames += len(times)
        self.captured_bytes += size
        steps = np.diff(times)
        if self._latest > times[0] or (steps < 0).any():
            back = [self._latest - int(times[0]), *(-steps[steps < 0]).tolist()]
            self.steps_back += sum(each > 0 for each in back)
            self.step_back_ns = max(self.step_back_ns, *back)
        self._latest = int(times[-1])
        self.first_ns = first_ns if self.first_ns is None else min(self.first_ns, first_ns)
        self.last_ns = last_ns if self.last_ns is None else max(self.last_ns, last_ns)


class PlainFeed(Feed):
    """Frames as objects."""

    def __init__(
        self,
        captures: Sequence[str | os.PathLike[str]],
        call_size: int,
        stdin: IO[bytes] | None = None,
        by_time: bool = False,
    ) -> None:
        super().__init__()
        self.captures = self._source = Source(captures, stdin=stdin, by_time=by_time)
        self.places = Places(len(self.captures.names), self.captures.numbers)
        self._call_size = call_size

    def share(self, job: int, jobs: int) -> None:
        """Nothing is said of frames here: the plain intake looks for itself whose a packet is."""

    def partition(self) -> bytes:
        """Always the same division."""
        return b""

    def __iter__(self) -> Iterator[Call | SecretsFound | TickFound]:
        items = iter(self._source)
        more = True
        while more:
            call: list[tuple[int, SourceFrame]] = []
            size, more = 0, False
            found: SecretsFound | TickFound | None = None
            for item in islice(items, self._call_size):
                if isinstance(item, SecretsFound | TickFound):
                    found = item
                    break
                call.append((self.frames + len(call), item))
                self.places.add(item.file, 1)
                size += len(item.data)
                if size >= CALL_BYTES:
                    break
            if call:
                self._count(np.array([frame.time_ns for _, frame in call], np.int64), size)
                yield call
            if found is not None:
                yield found
            more = size >= CALL_BYTES or len(call) == self._call_size or found is not None


class CompiledFeed(Feed):
    """Frames as columns, with their packets."""

    def __init__(
        self,
        captures: Sequence[str | os.PathLike[str]],
        call_size: int,
        stdin: IO[bytes] | None = None,
        check_ip: bool = True,
        by_time: bool = False,
    ) -> None:
        from rxtls.capture.blocks import Blocks

        super().__init__()
        self._blocks: Blocks = Blocks(captures, stdin=stdin, call_size=call_size, check_ip=check_ip, by_time=by_time)
        self.captures, self.places = self._blocks, self._blocks.places

    def share(self, job: int, jobs: int) -> None:
        """As Feed."""
        from rxtls.wire.compiled.shard import Share

        self._blocks.share = Share(job, jobs)

    def partition(self) -> bytes:
        """As Feed."""
        return b"" if self._blocks.share is None else self._blocks.share.partition()

    def __iter__(self) -> Iterator[Call | SecretsFound | TickFound]:

        for block in self._blocks:
            if not isinstance(block, SecretsFound | TickFound):
                self._count(block.table[:, FrameRow.TIME], int(block.table[:, FrameRow.LENGTH].sum()))
            yield block
