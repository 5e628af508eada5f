"""Files that a run writes besides its plaintext: opened in one place, so that what goes wrong is said in one way."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from rxtls.errors import UsageError


def unwritable(path: str | os.PathLike[str], failure: OSError | ValueError) -> UsageError:
    """The error to raise for a file that cannot be written to."""
    cause = (failure.strerror if isinstance(failure, OSError) else None) or str(failure)
    return UsageError(f"{os.fspath(path)}: {cause}")


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """What goes wrong with `path` in this block is a UsageError. ValueError is what a NUL in a name raises."""
    try:
        yield
    except OSError as failure:
        raise unwritable(path, failure) from None


def create(path: str | os.PathLike[str]) -> BinaryIO:
    """A new, empty file. UsageError if that cannot be."""
    try:
        return open(path, "wb")
    except (OSError, ValueError) as failure:
        raise unwritable(path, failure) from None


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """A whole file at once."""
    with create(path) as file, writing(path):
        file.write(text.encode())


def make_directory(path: str | os.PathLike[str]) -> Path:
    """The directory, made if there is none. UsageError if that cannot be."""
    directory = Path(path)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as failure:
        raise unwritable(path, failure) from None
    return directory
