"""Errors say whose fault it was, and where.

Nothing here leaves the library for what a *packet* or a *record* does: a bad packet ends in a fate (counters.py) and a
bad record in a class (events.py). These errors are for the things a person hands to us: a capture, a key log, an
option. Each one reads as a single line and names the file, the place in it and the cause. Anything else that escapes
the library is our own bug. Neither keys nor plaintext may stand in a message.
"""

from __future__ import annotations

import errno
import os


class RxtlsError(Exception):
    """Base of every error the library raises on purpose."""


class UsageError(RxtlsError):
    """The caller asked for something that does not exist or does not go together (exit status 2)."""


class GuestError(RxtlsError):
    """A policy or NIC of somebody else's raised, or gave back what it must not (exit status 2).

    Attributes: `who` it is, `cause` in plain words, `told` what it had last been told; `flow` and `frame` (global
    index), each None where it is not known; `place`, the frame as a person finds it.
    """

    def __init__(self, who: str, cause: str, told: str, flow: int | None = None, frame: int | None = None) -> None:
        self.who = who
        self.cause = cause
        self.told = told
        self.flow = flow
        self.frame = frame
        self.place: str | None = None
        super().__init__(who, cause, told)

    def __str__(self) -> str:
        where = [] if self.flow is None else [f"flow {self.flow >> 1} side {self.flow & 1}"]
        if self.place is not None or self.frame is not None:
            where.append(self.place or f"frame {self.frame}")
        return f"{self.who}: {', '.join(where)}{': ' if where else ''}{self.cause}; last told: {self.told}"


class InputError(RxtlsError):
    """A file that cannot be read as what it was said to be.

    Attributes: `file` as the user named it, `offset` in bytes from the start of the (decompressed) content or None when
    the place has no meaning (a missing file), `cause` in plain words.
    """

    def __init__(self, file: str, offset: int | None, cause: str) -> None:
        self.file = file
        self.offset = offset
        self.cause = cause
        super().__init__(f"{file}: {cause}" if offset is None else f"{file}: offset {offset}: {cause}")


class CaptureError(InputError):
    """A capture that is unreadable, truncated or damaged. What came before it has been delivered."""


class KeyLogError(InputError):
    """A key log that cannot be opened. A malformed line is reported, not raised: `offset` then is the line's number."""

    def __str__(self) -> str:
        return f"{self.file}: {self.cause}"


class RecordError(RxtlsError):
    """One record that cannot be opened; the stream goes on with the next (ktls(4): EBADMSG or EMSGSIZE).

    `errno_name` is the name a kTLS socket would report.
    """

    def __init__(self, errno_name: str, cause: str) -> None:
        self.errno_name = errno_name
        self.cause = cause
        super().__init__(f"{errno_name}: {cause}")


class SocketError(RxtlsError, OSError):
    """What a kTLS socket says no with: `errno` is the number, `cause` the words, as ktls(4) has them."""

    def __init__(self, number: int, cause: str = "") -> None:
        OSError.__init__(self, number, os.strerror(number))
        self.cause = cause

    @property
    def name(self) -> str:
        """EBADMSG, EAGAIN, ..."""
        return errno.errorcode[self.errno or 0]

    def __str__(self) -> str:
        return f"{self.name}: {self.cause or self.strerror}"
