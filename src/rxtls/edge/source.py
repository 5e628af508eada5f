"""Where frames come from: captures as a person names them, opened, decompressed, merged into one stream.

Several captures merge by (time, argument order, place): of the frames that come next in each capture the earliest goes
first. Within a capture nothing is ever sorted, because the order there is the order in which packets were seen, clocks
step, and a frame that was written late is late. A capture is opened when its first frame is due, so that a thousand
files of a capture ring, one after the other in time, take one file and one buffer.

Keys apply from frame 0 on, wherever in a file the secrets stand, so `Source` looks through every regular pcapng file
for them before anything else: block headers only where the file can be sought, all of it where it is compressed.
Standard input and pipes cannot be looked through; their secrets come in place, as `SecretsFound`.

A capture that cannot be read, or only in part, ends where it breaks with an entry in `errors`; the others go on.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from heapq import heapify, heappop, heapreplace
from typing import IO, NamedTuple

from rxtls.edge.compressed import MAX_DECOMPRESSED, Decompressor, is_compressed
from rxtls.errors import CaptureError, UsageError
from rxtls.wire.capture import TLS_KEY_LOG, Frame, Interface, Secrets, read_capture
from rxtls.wire.pcapng import scan_secrets

STANDARD_INPUT = "-"
_BEFORE_ALL = -(1 << 63)


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


class SecretsFound(NamedTuple):
    """A TLS key log that stood at this place in a capture that cannot be sought. Never shown in a repr."""

    data: bytes

    def __repr__(self) -> str:
        return f"SecretsFound({len(self.data)} bytes)"


@dataclass(frozen=True, slots=True)
class SourceInterface:
    """An interface of one of the captures: number `id` in section `section` of capture `file`."""

    file: int
    section: int
    id: int
    name: str | None
    link_type: int


class Source:
    """Several captures as one stream: iterate, once, over `SourceFrame` and `SecretsFound`.

    `captures` are paths, "-" for standard input; `stdin` stands in for it; `max_decompressed` bounds the decompressed
    bytes of each capture. Raises UsageError for no captures at all, and for "-" given twice. Reading never raises.

    Known at once: `names`; `secrets`, the TLS key logs in all regular files; `total_bytes`, None if one is not regular.
    Growing with the iteration: `interfaces`, `errors` (CaptureError: file, offset, cause) and `bytes_read`, as stored.
    """

    def __init__(
        self,
        captures: Sequence[str | os.PathLike[str]],
        *,
        stdin: IO[bytes] | None = None,
        max_decompressed: int = MAX_DECOMPRESSED,
    ) -> None:
        self.names = [os.fspath(capture) for capture in captures]
        if not self.names:
            raise UsageError("no capture was given")
        if self.names.count(STANDARD_INPUT) > 1:
            raise UsageError("standard input (-) can be read only once")
        self.interfaces: list[SourceInterface] = []
        self.errors: list[CaptureError] = []
        self.secrets: list[bytes] = []
        self.total_bytes: int | None = 0
        self.bytes_read = 0
        self._devices: list[int] = []
        self._first: dict[str | int, int] = {}
        self._stdin = stdin
        self._limit = max_decompressed
        self._seekable = [False] * len(self.names)
        # (when the first frame is due, capture); a capture that has no first frame yet to tell comes before all.
        self._due = [due for index in range(len(self.names)) if (due := self._survey(index)) is not None]
        self._items = self._merged() if len(self._due) > 1 else self._only()

    def device(self, interface: int) -> int:
        """The first of `interfaces` that is the same device as this one, going by the name, or by the id without one.

        A connection goes on over the files of a capture ring and the sections of a file: its NIC stays the same.
        """
        known = len(self._devices)
        for each in self.interfaces[known:]:
            first = self._first.setdefault(each.name if each.name is not None else each.id, len(self._devices))
            self._devices.append(first)
        return self._devices[interface]

    def __iter__(self) -> Iterator[SourceFrame | SecretsFound]:
        return self._items

    def _survey(self, index: int) -> tuple[int, int] | None:
        """What can be known before reading: size, secrets, time of the first frame. None: nothing to be read."""
        name = self.names[index]
        if name == STANDARD_INPUT:
            self.total_bytes = None
            return _BEFORE_ALL, index
        try:
            status = os.stat(name)
            if stat.S_ISDIR(status.st_mode):
                raise IsADirectoryError(0, "is a directory")
            if not stat.S_ISREG(status.st_mode):
                self.total_bytes = None
                return _BEFORE_ALL, index
            self._seekable[index] = True
            if self.total_bytes is not None:
                self.total_bytes += status.st_size
            self.secrets.extend(_secrets(name, self._limit))
            return (_first_time(name, self._limit) if len(self.names) > 1 else _BEFORE_ALL), index
        except (OSError, ValueError) as failure:  # ValueError: a NUL in the name
            self.errors.append(CaptureError(name, None, _cause(failure)))
            return None

    def _only(self) -> Iterator[SourceFrame | SecretsFound]:
        return self._capture(self._due[0][1]) if self._due else iter(())

    def _merged(self) -> Iterator[SourceFrame | SecretsFound]:
        """(time, capture) of the frame that is next in each capture, least first; `None` where it is not open yet."""
        heap = self._due
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

    def _capture(self, index: int) -> Iterator[SourceFrame | SecretsFound]:
        """One capture from beginning to end or to its damage, which is entered in `errors`."""
        name = self.names[index]
        ours: list[int] = []  # the file's interface number to ours; other captures' come in between
        number = 0
        new = tuple.__new__
        with ExitStack() as stack:
            try:
                raw = self._open(name, stack)
                for item in read_capture(Decompressor(raw, name, self._limit).read, name):
                    if type(item) is Frame:  # half the price of isinstance, a million times
                        number += 1
                        time_ns, interface, link_type, wire_length, data = item
                        yield new(
                            SourceFrame,
                            (time_ns, ours[interface], link_type, wire_length, data, index, number),
                        )
                    elif isinstance(item, Interface):
                        ours.append(len(self.interfaces))
                        self.interfaces.append(SourceInterface(index, item.section, item.id, item.name, item.link_type))
                    elif isinstance(item, Secrets) and item.kind == TLS_KEY_LOG and not self._seekable[index]:
                        yield SecretsFound(item.data)
            except CaptureError as failure:
                self.errors.append(failure)

    def _open(self, name: str, stack: ExitStack) -> Callable[[int], bytes]:
        """A function that reads the bytes as stored and counts them. Raises CaptureError, also out of that function."""
        place = 0
        if name == STANDARD_INPUT:
            file = self._stdin or getattr(sys.stdin, "buffer", None)
            if file is None:
                raise CaptureError(name, None, "there is no standard input")
        else:
            try:
                file = stack.enter_context(open(name, "rb", buffering=0))  # noqa: SIM115, the stack closes it
            except (OSError, ValueError) as failure:
                raise CaptureError(name, None, _cause(failure)) from None
        # A pipe's frames are wanted when they are there, not when the buffer is full.
        give = getattr(file, "read1", file.read)

        def read(n: int) -> bytes:
            nonlocal place
            try:
                data: bytes = give(n) or b""
            except (OSError, ValueError) as failure:
                raise CaptureError(name, place, _cause(failure)) from None
            place += len(data)
            self.bytes_read += len(data)
            return data

        return read


def _secrets(name: str, limit: int) -> list[bytes]:
    """The TLS key logs in a regular file, as far as it is sound. Raises OSError if it cannot be opened."""
    found: list[bytes] = []
    with open(name, "rb") as file:
        try:
            if is_compressed(file.peek(6)):
                read = _until_damage(Decompressor(file.read1, name, limit).read)
                walk = scan_secrets(read, read)
            else:
                walk = scan_secrets(file.read, lambda n: file.seek(n, os.SEEK_CUR))
            for secrets in walk:
                if secrets.kind == TLS_KEY_LOG:
                    found.append(secrets.data)
        except OSError:
            pass  # told when the capture is read, at its place
    return found


def _until_damage(read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """`read` made to give all of n bytes, and to take damage for the end."""

    def full(n: int) -> bytes:
        parts: list[bytes] = []
        try:
            while n and (part := read(n)):
                parts.append(part)
                n -= len(part)
        except CaptureError:
            pass
        return b"".join(parts)

    return full


def _first_time(name: str, limit: int) -> int:
    """When the first frame was captured. A file that has none is due at once: its error is the first thing to say."""
    with open(name, "rb", buffering=0) as file:
        try:
            for item in read_capture(Decompressor(file.read, name, limit).read, name):
                if isinstance(item, Frame):
                    return item.time_ns
        except (CaptureError, OSError):
            pass
    return _BEFORE_ALL


def _cause(failure: OSError | ValueError) -> str:
    text = failure.strerror if isinstance(failure, OSError) else None
    return " ".join((text or str(failure) or type(failure).__name__).split())
