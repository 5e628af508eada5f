"""Bytes that a peer chose, as text that a terminal only shows.

Control characters, what reorders text (Unicode's bidirectional marks) and bytes that are no UTF-8 appear as escapes
such as \\x1b; line ends and tabs stay. A text can hold such an escape itself: who must tell them apart takes hex.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

_UNUSUAL = re.compile(r"[^\n\t -~]")


def escaped(text: str) -> str:
    """The text with what is not printable as escapes, but for line ends and tabs."""
    return _UNUSUAL.sub(_shown, text)


def line(text: str) -> str:
    """The text on one line."""
    return escaped(text).replace("\n", "\\n").replace("\t", "\\t")


def _shown(found: re.Match[str]) -> str:
    return found[0] if found[0].isprintable() else found[0].encode("unicode_escape").decode()


class Text:
    """Bytes to lines, one direction, however they are cut. CR LF is a line end."""

    def __init__(self) -> None:
        self._decode: Final = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._return = ""  # a CR that may be half of a line end

    def take(self, data: bytes, last: bool = False) -> str:
        """Some more; with `last` nothing is kept back for what follows."""
        text = self._return + self._decode.decode(data, last)
        self._return = ""
        if text.endswith("\r") and not last:
            text, self._return = text[:-1], "\r"
        return escaped(text.replace("\r\n", "\n"))


def dump(data: bytes, at: int) -> str:
    """Sixteen bytes a line, with their place in the direction."""
    lines = []
    for n in range(0, len(data), 16):
        row = data[n : n + 16]
        shown = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
        lines.append(f"  {at + n:08x}  {row[:8].hex(' '):23}  {row[8:].hex(' '):23}  {shown}\n")
    return "".join(lines)
