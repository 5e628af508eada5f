"""What a person may say to the commands about conversations. Values only; the names are the commands'."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from rxtls.errors import UsageError
from rxtls.option import check, option

FORMS = ("text", "hex", "raw", "json")
SIDES = ("both", "client", "server")

_NS = 10**9


@dataclass(slots=True)
class FollowOptions:
    """How a conversation is shown. Raises UsageError for a value of another type, or that does not exist."""

    form: str = option("text", "text, hex, raw (bytes), or json.", "forms", flag="--as")
    side: str = option("both", "Only what this side sent: client, server.", "sides")
    since: str | None = option(None, "Begin there: seconds after the first plaintext, or 2026-01-31T12:00:00 (UTC).")
    max: int = option(0, "Show this many bytes of plaintext; 0: all.", within=(0, 1 << 62))

    def __post_init__(self) -> None:
        check(self)
        for value, values, name in ((self.form, FORMS, "--as"), (self.side, SIDES, "--side")):
            if value not in values:
                raise UsageError(f"{name} is {', '.join(values)}, not {value!r}")
        since_ns(self.since, 0)


def since_ns(text: str | None, first_ns: int) -> int:
    """`--since` as a time, of a conversation that began at `first_ns`. UsageError if it is none."""
    if text is None:
        return first_ns
    with suppress(ValueError, OverflowError):
        return first_ns + round(float(text) * _NS)
    try:
        at = datetime.fromisoformat(text)
        return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 10**6) * 1000
    except (ValueError, OverflowError):
        raise UsageError(
            f"--since is a number of seconds, or a time such as 2026-01-31T12:00:00, not {text!r}"
        ) from None


@dataclass(slots=True)
class HttpOptions:
    """What `rxtls http` writes besides its list, None where nothing. Raises UsageError for a value of another type."""

    json: str | None = option(None, "Write the list as JSON to a file, or '-'.")
    har: str | None = option(None, "Write a HAR file, which a browser's developer tools open.")
    objects: str | None = option(None, "Write bodies into this directory, with index.json.")

    def __post_init__(self) -> None:
        check(self)
