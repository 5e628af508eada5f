"""Key log files, read a piece at a time, and what to say of one that is none.

A file may be anything that somebody took for a key log: a private key, a capture, /dev/zero. Of each a piece and a line
are in memory at once. Where not one line of it was a key log's, one sentence says what it seems to be, in place of an
error for each of its lines.
"""

from __future__ import annotations

from collections import Counter

from rxtls.errors import KeyLogError
from rxtls.wire import keylog_kind
from rxtls.wire.keylog import NO_LABEL, TOO_LONG, KeyLog
from rxtls.wire.keylog_lines import Lines

PIECE = 1 << 20  # bytes read at once
MAX_KEY_LOG = 1 << 30  # bytes of one file: millions of sessions
_SHOWN = 8  # labels named


def read_key_log(keys: KeyLog, name: str) -> None:
    """Take in the file of this name. Raises KeyLogError if it cannot be opened or read."""
    errors, malformed, kept = len(keys.errors), keys.malformed, keys.kept
    before = Counter(keys.skipped()), keys.unused.copy()
    head = b""
    try:
        with open(name, "rb") as file:
            lines, size = Lines(), 0
            while piece := file.read(min(PIECE, MAX_KEY_LOG - size)):
                size += len(piece)
                if len(head) < keylog_kind.HEAD:
                    head += piece[: keylog_kind.HEAD - len(head)]
                keys.take(lines.feed(piece), name)
                if keys.kept == kept and size >= PIECE and keylog_kind.kind(head) is not None:
                    break  # it is something else: what is left of it, nobody need look at
            more = size == MAX_KEY_LOG and bool(file.read(1))
            keys.take(lines.end(), name)
    except (OSError, ValueError) as failure:
        cause = failure.strerror if isinstance(failure, OSError) and failure.strerror else str(failure)
        raise KeyLogError(name, None, f"{cause}; standard input is /dev/stdin" if name == "-" else cause) from None
    causes = (cause for _, _, cause in keys.errors[errors:])
    if keys.kept == kept and all(cause.endswith((NO_LABEL, TOO_LONG)) for cause in causes):
        del keys.errors[errors:]
        keys.malformed = malformed
        unknown, unused = (
            [label for label, _ in (now - then).most_common(_SHOWN)]
            for now, then in zip((Counter(keys.skipped()), keys.unused), before, strict=True)
        )
        keys.errors.append((name, None, keylog_kind.without_secrets(head, unknown, unused)))
    if more:
        keys.errors.append((name, None, f"only the first {MAX_KEY_LOG} bytes are read"))
