"""A key log that grows: whole lines as they are written, whoever writes them, and whatever becomes of the file.

It need not be there yet. A line that is not whole waits for its end. Where the file is another one than before
(renamed, made anew) or shorter than what was read, reading begins at its beginning; lines that are read twice say
nothing new.
"""

from __future__ import annotations

import os
from contextlib import suppress

MOST_LINE = 1 << 16  # bytes of a line that is not whole; longer ones are no key log's, and given as they are
_AT_ONCE = 4 << 20  # bytes that one call reads


class KeyTail:
    """The key log `path`. `lines` gives what is new; OSError of a file that cannot be read means that nothing is."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path
        self._identity: tuple[int, int] | None = None
        self._at = 0
        self._part = b""

    def lines(self) -> bytes:
        """Whole lines that came since the last call, at most some MiB; b"" if there are none."""
        with suppress(OSError), open(self.path, "rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            identity = status.st_dev, status.st_ino
            if identity != self._identity or status.st_size < self._at:
                self._identity, self._at, self._part = identity, 0, b""
            if status.st_size > self._at:
                file.seek(self._at)
                data = file.read(_AT_ONCE) or b""
                self._at += len(data)
                whole, end, part = (self._part + data).rpartition(b"\n")
                if not end and len(part) > MOST_LINE:
                    whole, part = part, b""
                self._part = part
                return whole + end
        return b""

    @property
    def behind(self) -> bool:
        """Whether a line was begun and is not whole yet."""
        return bool(self._part)
