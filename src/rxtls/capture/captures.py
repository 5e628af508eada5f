"""Captures as a person names them: what is known of them before a frame is read, and their bytes as stored.

Keys apply from frame 0 on, wherever in a file the secrets stand, so `Captures` looks through every regular pcapng file
for them before anything else: block headers only where the file can be sought, all of it where it is compressed.
Standard input and pipes cannot be looked through; their secrets come in place, as `SecretsFound`.

A capture that cannot be read, or only in part, ends where it breaks with an entry in `errors`; the others go on.

Captures merge by the times of their frames. Within one, frames come in the order of the file, or, with `by_time`, in
order of time too, where it is a regular file that can be read so (order.py).
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from glob import glob, has_magic
from io import BufferedReader
from typing import IO, Any, NamedTuple

from rxtls.capture.clocks import MOST, Sample, ahead, sample
from rxtls.capture.compressed import LONGEST_MAGIC, MAX_DECOMPRESSED, Decompressor, is_compressed
from rxtls.capture.devices import Devices, Span, spans
from rxtls.capture.headers import Column, walk
from rxtls.capture.order import Arranged, Numbers, Order, order_of
from rxtls.capture.window import Window
from rxtls.errors import CaptureError, UsageError
from rxtls.wire.capture import TLS_KEY_LOG, Frame, Interface, Secrets, read_capture
from rxtls.wire.pcapng import scan_secrets

STANDARD_INPUT = "-"
BEFORE_ALL = -(1 << 63)


class SecretsFound(NamedTuple):
    """A TLS key log that stood at this place in a capture that cannot be sought. Never shown in a repr."""

    data: bytes

    def __repr__(self) -> str:
        return f"SecretsFound({len(self.data)} bytes)"


class TickFound(NamedTuple):
    """A tick that stood at this place: it is `time_ns` by the clock of these interfaces, which are its capture's."""

    time_ns: int
    interfaces: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SourceInterface:
    """An interface of one of the captures: number `id` in section `section` of capture `file`."""

    file: int
    section: int
    id: int
    name: str | None
    link_type: int
    comment: str | None = None


class Captures:
    """Several captures, not yet read. `Source` reads them frame by frame, `Blocks` in blocks of frames.

    `captures` are paths or patterns of paths, "-" for standard input; `stdin` stands in for it; `max_decompressed`
    bounds the decompressed bytes of each capture; `by_time` as above. Raises UsageError for no captures at all, and for
    "-" given twice. Reading never raises.

    Known at once: `names`; `secrets`, the TLS key logs in all regular files; `total_bytes`, None if one is not regular;
    `orders`, by capture, of those that are not read as they stand; `ahead`, by capture, the ns that are taken off its
    times, since its clock is ahead of another one's (clocks.py).
    Growing as they are read: `interfaces`, `errors` (CaptureError: file, offset, cause) and `bytes_read`, as stored.
    """

    def __init__(
        self,
        captures: Sequence[str | os.PathLike[str]],
        *,
        stdin: IO[bytes] | None = None,
        max_decompressed: int = MAX_DECOMPRESSED,
        by_time: bool = False,
    ) -> None:
        self.names = [name for capture in captures for name in expanded(os.fspath(capture))]
        if not self.names:
            raise UsageError("no capture was given")
        if self.names.count(STANDARD_INPUT) > 1:
            raise UsageError("standard input (-) can be read only once")
        self.interfaces: list[SourceInterface] = []
        self.errors: list[CaptureError] = []
        self.secrets: list[bytes] = []
        self.total_bytes: int | None = 0
        self.bytes_read = 0
        self._spans: dict[int, list[Span | None]] = {}  # by capture, from when to when it goes, by section
        self._devices = Devices(self.names, self._span)
        self._stdin = stdin
        self.limit = max_decompressed
        self.orders: dict[int, Order] = {}
        self._by_time = by_time
        self.seekable = [False] * len(self.names)
        # (when the first frame is due, capture); a capture that has no first frame yet to tell comes before all.
        due = [each for index in range(len(self.names)) if (each := self._survey(index)) is not None]
        self.ahead = self._compare() if by_time else {}
        self.due = [(time_ns if time_ns == BEFORE_ALL else time_ns - self.ahead.get(n, 0), n) for time_ns, n in due]

    @property
    def numbers(self) -> dict[int, Numbers]:
        """By capture, frame numbers of those that are not read as they stand."""
        return {index: order.numbers for index, order in self.orders.items()}

    def device(self, interface: int) -> int:
        """The first of `interfaces` that is the same device as this one (devices.py)."""
        return self._devices.first(interface, self.interfaces)

    def tick(self, time_ns: int, ours: Sequence[int]) -> TickFound:
        """A tick behind the latest of a capture's interfaces, `ours`: it is of those of its section."""
        section = self.interfaces[ours[-1]].section if ours else 0
        return TickFound(time_ns, tuple(n for n in ours if self.interfaces[n].section == section))

    def _span(self, file: int, section: int) -> Span | None:
        """From when to when a section of a capture goes, by the common clock."""
        if not self.seekable[file]:
            return None
        if file not in self._spans:
            self._spans[file] = spans(self.names[file], self.walk_headers, self.limit)
        found, ahead = self._spans[file], self.ahead.get(file, 0)
        span = found[min(section, len(found) - 1)] if found else None
        return None if span is None else (span[0] - ahead, span[1] - ahead)

    def described(self, leaf: int) -> tuple[str, SourceInterface, int]:
        """Of a leaf the file, the interface there, and Linux's ifindex, 0 if the capture does not tell."""
        each = self.interfaces[leaf & 0xFFFF_FFFF]
        return self.names[each.file], each, leaf >> 32

    def name_of(self, leaf: int) -> str:
        """Where packets with this leaf came by, for a person: its name, or where it is described; Linux's ifindex."""
        file, each, ifindex = self.described(leaf)
        name = each.name or (file if each.id == 0 else f"{file}:{each.id}")
        return f"{name}, ifindex {ifindex}" if ifindex else name

    def describe(self, file: int, interface: Interface) -> int:
        """An interface of capture `file` was met: its place in `interfaces`."""
        described = SourceInterface(
            file, interface.section, interface.id, interface.name, interface.link_type, interface.comment
        )
        self.interfaces.append(described)
        return len(self.interfaces) - 1

    def open(self, index: int, stack: ExitStack) -> Stored:
        """The bytes of capture `index` as stored; `stack` closes what there is to close. Raises CaptureError."""
        name = self.names[index]
        if name != STANDARD_INPUT:
            try:
                file = open(name, "rb", buffering=0)  # noqa: SIM115 - the stack closes it
                stack.callback(file.close)
                order = self.orders.get(index)
                return Stored(self, name, file if order is None else Arranged(file, order.extents))
            except (OSError, ValueError) as failure:
                raise CaptureError(name, None, cause(failure)) from None
        piped = self._stdin or getattr(sys.stdin, "buffer", None)
        if piped is None:
            raise CaptureError(name, None, "there is no standard input")
        return Stored(self, name, piped)

    def _survey(self, index: int) -> tuple[int, int] | None:
        """What can be known before reading: size, secrets, time of the first frame. None: nothing to be read."""
        name = self.names[index]
        if name == STANDARD_INPUT:
            self.total_bytes = None
            return BEFORE_ALL, index
        try:
            status = os.stat(name)
            if stat.S_ISDIR(status.st_mode):
                raise IsADirectoryError(0, "is a directory")
            if not stat.S_ISREG(status.st_mode):
                self.total_bytes = None
                return BEFORE_ALL, index
            self.seekable[index] = True
            if self.total_bytes is not None:
                self.total_bytes += status.st_size
            # What is wrong inside is told when the capture is read, at its place.
            with open(name, "rb") as file, suppress(OSError, CaptureError):
                self.secrets.extend(each.data for each in self.scan(file, name) if each.kind == TLS_KEY_LOG)
            if self._by_time:
                self._arrange(index, name, status.st_size)
            if len(self.names) == 1:
                return BEFORE_ALL, index
            return (self.orders[index].first_ns if index in self.orders else _first_time(name, self.limit)), index
        except (OSError, ValueError) as failure:  # ValueError: a NUL in the name
            self.errors.append(CaptureError(name, None, cause(failure)))
            return None

    def _arrange(self, index: int, name: str, size: int) -> None:
        """Look whether the frames of a regular file are in order of time, and have it read so."""
        with suppress(OSError), open(name, "rb", buffering=0) as file:
            order = order_of(file, size, self.walk_headers)
            if order is not None:
                self.orders[index] = order

    def _compare(self) -> dict[int, int]:
        """Which captures' clocks are ahead of those of captures that were named before them."""
        if not 1 < len(self.names) <= MOST or not all(self.seekable):
            return {}
        found: dict[int, int] = {}
        samples: list[Sample] = []
        for index, name in enumerate(self.names):
            with ExitStack() as stack, suppress(CaptureError, OSError):
                read = Decompressor(self.open(index, stack).read, name, self.limit).read
                frames = (each for each in read_capture(_until_damage(read), name) if isinstance(each, Frame))
                samples.append(sample(frames))
            for earlier, each in enumerate(samples[:index]):
                by = ahead(each, samples[index]) if len(samples) > index else None
                if by is not None:
                    found[index] = by + found.get(earlier, 0)
                    break
            samples += [{}] * (index + 1 - len(samples))
        self.bytes_read = 0
        return {index: by for index, by in found.items() if by}

    def walk_headers(self, window: Window, control: Column, rows: Column) -> int:
        """headers.py's `walk`."""
        return walk(window, control, rows)

    def scan(self, file: BufferedReader, name: str) -> Iterator[Secrets]:
        """The secrets in a regular file, as far as it is sound."""
        if is_compressed(file.peek(LONGEST_MAGIC)):
            read = _until_damage(Decompressor(file.read1, name, self.limit).read)
            return scan_secrets(read, read)
        return scan_secrets(file.read, lambda n: file.seek(n, os.SEEK_CUR))


def expanded(name: str) -> list[str]:
    """The names that a pattern stands for, sorted, as of a shell that was told not to (`*`, `?`, `[...]`). A name that
    exists, or that stands for nothing, is itself."""
    if name == STANDARD_INPUT or not has_magic(name) or os.path.lexists(name):
        return [name]
    return sorted(glob(name)) or [name]


class Stored:
    """An open capture's bytes, as they are stored. What is read is counted in `bytes_read` of the captures."""

    def __init__(self, captures: Captures, name: str, file: Any) -> None:
        self.file = file
        self._captures = captures
        self.name = name
        self._place = 0
        # A pipe's frames are wanted when they are there, not when the buffer is full.
        self._give = getattr(file, "read1", file.read)
        self._put = getattr(file, "readinto1", None) or getattr(file, "readinto", None)

    def head(self, n: int) -> bytes:
        """The first n bytes, or what there is, of a file that can be sought, not taken and not counted."""
        try:
            head: bytes = self.file.read(n)
            self.file.seek(0)
        except (OSError, ValueError) as failure:
            raise CaptureError(self.name, self._place, cause(failure)) from None
        return head

    def read(self, n: int) -> bytes:
        """1 to n bytes, b"" at the end. Raises CaptureError."""
        try:
            data: bytes = self._give(n) or b""
        except (OSError, ValueError) as failure:
            raise CaptureError(self.name, self._place, cause(failure)) from None
        self.count(len(data))
        return data

    def into(self, view: memoryview) -> int:
        """Put 1 to len(view) bytes there; how many, 0 at the end. Raises CaptureError."""
        if self._put is None:
            data = self.read(len(view))
            view[: len(data)] = data
            return len(data)
        try:
            n: int = self._put(view) or 0
        except (OSError, ValueError) as failure:
            raise CaptureError(self.name, self._place, cause(failure)) from None
        self.count(n)
        return n

    def widen(self, size: int) -> None:
        """Let a pipe hold `size` bytes: a read then brings more of what a writer, if it is ahead, has to give."""
        try:
            import fcntl

            fcntl.fcntl(self.file.fileno(), fcntl.F_SETPIPE_SZ, size)
        except (ImportError, AttributeError, OSError, ValueError):
            pass  # no pipe, or no Linux

    def count(self, n: int) -> None:
        """`n` more bytes were read, here or past this object."""
        self._place += n
        self._captures.bytes_read += n


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
    return BEFORE_ALL


def cause(failure: OSError | ValueError) -> str:
    """What an error of the system says, on one line."""
    text = failure.strerror if isinstance(failure, OSError) else None
    return " ".join((text or str(failure) or type(failure).__name__).split())
