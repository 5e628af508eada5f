"""Plaintext to files: one per direction, application data only, early data first.

A name is made of the flow's id, addresses and ports alone, never of anything a peer chose, so nothing is written
outside the directory. Few files are open at a time, however many flows there are.

They are written in a directory within that one, which only their owner may enter, and take their places when all are
whole.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from rxtls.errors import UsageError
from rxtls.events import Gap, Record
from rxtls.host.flow import Flow
from rxtls.system.files import Name, apart, discard, make_directory, scratch, unwritable, writing

GAPS = ("skip", "zero", "stop")  # what a file does where records are missing
MAX_OPEN = 128  # well below the usual limit of 1024 open files a process

APPLICATION_DATA = 23


class Streams:
    """Writes into `directory`, which is made if it does not exist. UsageError when it cannot be written to.

    `number` is what a flow is called by in the name, its id if nothing else is said. `gaps` is one of GAPS: go on right
    behind what was read before, leave as many zero bytes as the missing records hold (exact if none of them is padded,
    and all are application data), or end the file. UsageError for anything else. `inputs` are files that must not be
    replaced. `shared` is a folder from which somebody else is going to `gather` what several write.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        number: Callable[[Flow], int] = lambda flow: flow.connection.id,
        gaps: str = "skip",
        inputs: Sequence[Name] = (),
        shared: Path | None = None,
    ) -> None:
        if gaps not in GAPS:
            raise UsageError(f"gaps is {', '.join(map(repr, GAPS))}, not {gaps!r}")
        self._gaps = gaps
        self._stopped: set[str] = set()
        self._inputs = inputs
        self._target = make_directory(directory)
        self._shared = shared is not None
        self._directory = shared or scratch(directory)
        self._number = number
        self._open: OrderedDict[str, BinaryIO] = OrderedDict()
        self._begun: set[str] = set()

    def write(self, flow: Flow, record: Record) -> None:
        """Add one record's payload to its direction's file."""
        if isinstance(record, Gap) and self._gaps != "skip":
            self._gap(flow, record)
        if record.type != APPLICATION_DATA or not record.data:
            return
        name = stream_name(self._number(flow), flow, record.receiver)
        if name in self._stopped:
            return
        try:
            self._file(name).write(record.data)
        except OSError as failure:
            raise unwritable(self._said(name), failure) from None

    def _gap(self, flow: Flow, gap: Gap) -> None:
        name = stream_name(self._number(flow), flow, gap.receiver)
        if self._gaps == "stop":
            self._stopped.add(name)
            return
        try:
            file = self._file(name)
            file.flush()
            file.truncate(os.fstat(file.fileno()).st_size + gap.payload)  # a hole in the file: nothing is written
            file.seek(0, os.SEEK_END)
        except OSError as failure:
            raise unwritable(self._said(name), failure) from None

    def close(self) -> None:
        """All is written: every file takes its place."""
        try:
            with writing(self._target):  # what was buffered may not fit on the disk
                while self._open:
                    self._open.popitem()[1].close()
            if not self._shared:
                gather(self._directory, self._target, inputs=self._inputs)
        finally:
            self.drop()

    def drop(self) -> None:
        """Nothing of what has not taken its place stays. After `close` this does nothing."""
        while self._open:
            with suppress(OSError):
                self._open.popitem()[1].close()
        if not self._shared:
            discard(self._directory)

    def _said(self, name: str) -> Path:
        """What somebody who reads of a file would look for: while others number it, its folder."""
        return self._target if self._shared else self._target / name

    def _file(self, name: str) -> BinaryIO:
        file = self._open.get(name)
        if file is not None:
            self._open.move_to_end(name)
            return file
        if len(self._open) >= MAX_OPEN:
            self._open.popitem(last=False)[1].close()
        # A link planted under the name of a stream is not followed, and a pipe not waited for.
        flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        flags |= os.O_APPEND if name in self._begun else os.O_TRUNC
        self._begun.add(name)
        file = os.fdopen(os.open(self._directory / name, flags, 0o600), "wb")
        self._open[name] = file
        return file


def stream_name(number: int, flow: Flow, receiver: str) -> str:
    """flow-NUMBER-CLIENT-SERVER-to-RECEIVER.bin, with IPv6's colons as dots."""
    a, b = flow.connection.a, flow.connection.b
    client, server = (a, b) if flow.client_side == 0 else (b, a)
    ends = "-".join(f"{ip.replace(':', '.')}.{port}" for ip, port in (client, server))
    return f"flow-{number}-{ends}-to-{receiver}.bin"


def gather(
    written: Path, directory: Path, numbers: Mapping[int, int] | None = None, inputs: Sequence[Name] = ()
) -> None:
    """Move what Streams have written in `written` to `directory`, under other `numbers` if there are any.

    UsageError where there is something that is no regular file, a link for one, or one of `inputs`.
    """
    places = []
    for path in written.iterdir():
        flow, number, rest = path.name.split("-", 2)
        target = directory / (path.name if numbers is None else f"{flow}-{numbers[int(number)]}-{rest}")
        if os.path.lexists(target) and (target.is_symlink() or not target.is_file()):
            raise UsageError(f"{target}: Is no regular file")
        places.append((path, target))
    if inputs:
        apart([target for _, target in places], inputs)
    for path, target in places:
        with writing(target):
            path.replace(target)
