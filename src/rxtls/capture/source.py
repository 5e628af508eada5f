"""Where frames come from: captures as a person names them, opened, decompressed, merged into one stream.

Several captures merge by (time, argument order, place): of the frames that come next in each capture the earliest goes
first. What comes next in a capture is what stands next in its file, unless it is read in order of time (order.py). A
capture is opened when its first frame is due, so that a thousand
files of a capture ring, one after the other in time, take one file and one buffer.

blocks.py gives the same frames in the same order as blocks, for the compiled engine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from heapq import heapify, heappop, heapreplace
from typing import IO, NamedTuple

from rxtls.capture.captures import Captures, SecretsFound, SourceInterface, TickFound
from rxtls.capture.compressed import MAX_DECOMPRESSED, Decompressor
from rxtls.errors import CaptureError
from rxtls.wire.capture import TLS_KEY_LOG, Frame, Interface, Secrets, Tick, read_capture

__all__ = ["SecretsFound", "Source", "SourceFrame", "SourceInterface"]


class SourceFrame(NamedTuple):
    """A frame and where it came from.

    `interface` indexes Source.interfaces, `file` the captures as given; `number` is Wireshark's in that file, from 1.
    The rest is as in wire.capture.Frame. (Wireshark also numbers pcapng's systemd journal and custom blocks; files that
    have any are numbered lower here.)
    """

    time_ns: int
    interface: int
    link_type: int
    wire_length: int
    data: bytes
    file: int
    number: int
    flags: int = 0


class Source(Captures):
    """Several captures as one stream: iterate, once, over `SourceFrame`, `SecretsFound` and `TickFound`."""

    def __init__(
        self,
        captures: Sequence[str | os.PathLike[str]],
        *,
        stdin: IO[bytes] | None = None,
        max_decompressed: int = MAX_DECOMPRESSED,
        by_time: bool = False,
    ) -> None:
        super().__init__(captures, stdin=stdin, max_decompressed=max_decompressed, by_time=by_time)
        self._items = self._merged() if len(self.due) > 1 else self._only()

    def __iter__(self) -> Iterator[SourceFrame | SecretsFound | TickFound]:
        return self._items

    def _only(self) -> Iterator[SourceFrame | SecretsFound | TickFound]:
        return self._capture(self.due[0][1]) if self.due else iter(())

    def _merged(self) -> Iterator[SourceFrame | SecretsFound | TickFound]:
        """(time, capture) of the frame that is next in each capture, least first; `None` where it is not open yet."""
        heap = self.due
        heapify(heap)
        items = {index: self._capture(index) for _, index in heap}
        heads: dict[int, SourceFrame | None] = {index: None for _, index in heap}
        while heap:
            index = heap[0][1]
            if (head := heads[index]) is not None:
                yield head
            for item in items[index]:
                if isinstance(item, SourceFrame):
                    heads[index] = item
                    heapreplace(heap, (item.time_ns, index))
                    break
                yield item
            else:
                heappop(heap)
                del heads[index], items[index]

    def _capture(self, index: int) -> Iterator[SourceFrame | SecretsFound | TickFound]:
        """One capture from beginning to end or to its damage, which is entered in `errors`."""
        name = self.names[index]
        ours: list[int] = []  # the file's interface number to ours; other captures' come in between
        count = 0
        order, ahead = self.orders.get(index), self.ahead.get(index, 0)
        new = tuple.__new__
        with ExitStack() as stack:
            try:
                raw = self.open(index, stack).read
                for item in read_capture(Decompressor(raw, name, self.limit).read, name):
                    if type(item) is Frame:  # half the price of isinstance, a million times
                        count += 1
                        number = count if order is None else order.numbers.one(count - 1)
                        time_ns, interface, link_type, wire_length, data, flags = item
                        yield new(
                            SourceFrame,
                            (time_ns - ahead, ours[interface], link_type, wire_length, data, index, number, flags),
                        )
                    elif isinstance(item, Interface):
                        ours.append(self.describe(index, item))
                    elif isinstance(item, Tick):
                        yield self.tick(item.time_ns - ahead, ours)
                    elif isinstance(item, Secrets) and item.kind == TLS_KEY_LOG and not self.seekable[index]:
                        yield SecretsFound(item.data)
            except CaptureError as failure:
                self.errors.append(failure)
