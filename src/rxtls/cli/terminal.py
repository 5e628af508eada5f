"""What every command does with its terminal: lines to standard output and error, files, and NAME=VALUE options."""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import typer

from rxtls.errors import UsageError
from rxtls.system.files import Name, Output, apart, json_parts


def complain(text: str) -> None:
    """One line on standard error; a name in it may hold line ends and escape sequences, which are shown as such."""
    shown = "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
    with suppress(OSError):  # where nobody can be told, the exit status still tells
        typer.echo(f"rxtls: {shown}", err=True)


class _Notes(logging.Handler):
    """Lines on standard error. How far something is stands there only until it is over, which is told as DEBUG."""

    def emit(self, record: logging.LogRecord) -> None:
        if not getattr(record, "rxtls_passing", False):  # native/load.py PASSING
            complain(record.getMessage())
        elif record.levelno >= logging.INFO:
            typer.echo(f"rxtls: {record.getMessage()}", err=True, nl=False)
        else:
            typer.echo("\r\x1b[K", err=True, nl=False)


def show_notes() -> None:
    """What the library says of work that takes long, for a person who waits; programs that read standard error are
    spared it."""
    if sys.stderr is not None and sys.stderr.isatty():
        logger = logging.getLogger("rxtls")
        logger.addHandler(_Notes())
        logger.setLevel(logging.DEBUG)


def hinted(error: Exception) -> str | None:
    """What typer has against a command line, in a line with where to look; None for any other error.

    Its errors are told by what they can do: the class is click's, which newer typers carry with them.
    """
    told = getattr(error, "format_message", None)
    if told is None:
        return None
    command = getattr(getattr(error, "ctx", None), "command_path", "rxtls")
    return f"{str(told()).rstrip('.')}; see {command} --help"


def show(text: str | Iterable[str], needed: bool = False) -> None:
    """To standard output. A reader that has gone away takes nothing from the exit status; a full disk is an error."""
    if sys.stdout is None:  # closed by the shell: an error where it is what was asked for
        if needed:
            raise UsageError("standard output is closed")
        return
    encoding = sys.stdout.encoding or "utf-8"
    try:
        for part in [text] if isinstance(text, str) else text:
            # What the terminal has no character for, or a file's name no UTF-8, is shown by its number.
            sys.stdout.write(part.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    except OSError as failure:
        abandon_output()
        if failure.errno != errno.EPIPE:
            raise UsageError(f"standard output: {failure.strerror}") from None


def show_bytes(parts: Iterable[bytes], raw: bool) -> None:
    """Bytes as they are (`raw`), or UTF-8 text, to standard output, each part as it is made. A reader that has gone
    away ends it. UsageError where raw bytes would go to a terminal, which would obey them."""
    if not raw:
        show(part.decode() for part in parts)
        return
    if sys.stdout is None:
        raise UsageError("standard output is closed")
    if sys.stdout.isatty():
        raise UsageError("bytes as they are may hold commands to this terminal: send them to a file or a pipe")
    try:
        for part in parts:
            sys.stdout.buffer.write(part)
        sys.stdout.buffer.flush()
    except OSError as failure:
        abandon_output()
        if failure.errno != errno.EPIPE:
            raise UsageError(f"standard output: {failure.strerror}") from None


def abandon_output() -> None:
    """Let what is still buffered go nowhere, or Python would try once more at exit, and complain."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def read_settings(texts: list[str], option: str = "--set") -> dict[str, str]:
    """NAME=VALUE options as a dictionary."""
    settings: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"{option} takes NAME=VALUE, not {text!r}")
        settings[name] = value
    return settings


def inputs(captures: Sequence[Name], *others: Sequence[str] | str | None) -> list[Name]:
    """All files that a command reads, for `apart`: captures may be patterns, the others are names, lists or nothing."""
    from rxtls.capture.captures import expanded  # numpy comes with it

    read: list[Name] = [name for each in captures for name in expanded(os.fspath(each))]
    for other in others:
        read += [other] if isinstance(other, str) else other or ()
    return read


@contextmanager
def results(
    json: str | None, read: Sequence[Name], written: Sequence[Name] = ()
) -> Iterator[Callable[[Any, str], None]]:
    """For a command whose results are JSON, where it was asked for, and a table for people unless that was standard
    output. `read` and `written` are the command's other files.

    What cannot be written, or would replace something, is told before the work begins.
    """
    apart([*written, *([] if json in (None, "-") else [json])], read)
    output = None if json in (None, "-") else Output(json)

    def give(found: Any, table: str) -> None:
        if json == "-":
            show(json_parts(found), needed=True)
            return
        if output is not None:
            for part in json_parts(found):
                output.write(part.encode())
            output.keep()
        show(table)

    try:
        yield give
    finally:
        if output is not None:
            output.drop()
