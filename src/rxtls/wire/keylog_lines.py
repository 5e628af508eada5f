"""A key log's bytes to its lines, piece by piece, in whatever encoding each part of the file is.

A line ends in LF, CRLF or CR. All that a key log has to say is ASCII, so NULs are passed over: what is left of UTF-16
is the text, also where a file changes its encoding midway. Windows PowerShell's `>>` appends UTF-16 to whatever is
there, and programs append 8 bits a character to what PowerShell began; a machine that lost power leaves NULs in a file,
too. Byte order marks stand at the beginning of lines where files were put together.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_LINE = 4096  # bytes; the longest legal line (PMS_CLIENT_RANDOM with 8192-bit DH) has half of that

_LINE_END = re.compile(rb"\r\n|\n|\r")
_MARKS = re.compile(rb"(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)+")


class Lines:
    """Feed it pieces, then `end` it. Both give (1-based number, line without its end); of a line that is longer than
    MAX_LINE the first MAX_LINE + 1 bytes. No more than a line and the piece in hand is kept."""

    __slots__ = ("_number", "_tail")

    def __init__(self) -> None:
        self._tail = b""
        self._number = 1

    def feed(self, piece: bytes) -> Iterator[tuple[int, bytes]]:
        """The lines that this piece completes."""
        text = self._tail + (piece.translate(None, b"\0") if b"\0" in piece else piece)
        start, stop = 0, len(text) - text.endswith(b"\r")  # whose LF may be in the next piece
        ends = _LINE_END.finditer(text, 0, stop) if b"\n" in text or b"\r" in text else ()  # a search is slow
        for end in ends:
            yield self._number, _line(text, start, end.start())
            start, self._number = end.end(), self._number + 1
        self._tail = text[start:]
        if stop - start > MAX_LINE:
            self._tail = text[start : start + MAX_LINE + 1] + text[stop:]

    def end(self) -> Iterator[tuple[int, bytes]]:
        """The last line, if it lacks its end."""
        if self._tail:
            yield self._number, _line(self._tail, 0, len(self._tail) - self._tail.endswith(b"\r"))


def _line(text: bytes, start: int, end: int) -> bytes:
    if start < end and text[start] >= 0xEF and (marks := _MARKS.match(text, start, end)) is not None:
        start = marks.end()
    return text[start : min(end, start + MAX_LINE + 1)]
