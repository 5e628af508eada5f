"""The one way in which files are written: beside their name, which they take when they are whole.

    Output("a.json") ─► .a.json.5f3c9a01.part ─► keep() ─► a.json        drop(), an error or a signal ─► nothing

What is no regular file (/dev/null, /dev/stdout, a named pipe) is written where it is, and opened with the first byte.
What holds keys or plaintext can be read by its owner alone, whatever stood there before. `apart` sees to it that no
output is an input or another output, before anything is written.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Self

from rxtls.errors import UsageError
from rxtls.system import ending

Name = str | os.PathLike[str]

_STREAM = re.compile(r"(?:/dev/fd|/proc/self/fd)/(\d+)")
_STREAMS = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
_KEPT = 60  # characters of a name that its unfinished file shows: with four bytes for each, a name may have no more


def unwritable(path: Name, failure: OSError | ValueError) -> UsageError:
    """The error to raise for a file that cannot be written to."""
    cause = (failure.strerror if isinstance(failure, OSError) else None) or str(failure)
    return UsageError(f"{os.fspath(path)}: {cause}")


@contextmanager
def writing(path: Name) -> Iterator[None]:
    """What goes wrong with `path` in this block is a UsageError. ValueError is what a NUL in a name raises."""
    try:
        yield
    except OSError as failure:
        raise unwritable(path, failure) from None


def utf8(text: str) -> bytes:
    """Text for a file. File names may hold bytes that are no UTF-8: they are shown as \\xff."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace").encode()


class Output:
    """A file that is being written; `secret` if only its owner may read it. UsageError if it cannot be.

    A context: kept where the block comes to its end, else dropped.
    """

    def __init__(self, path: Name, secret: bool = False) -> None:
        self.path = path
        self._file: BinaryIO | None = None
        self._part: str | None = None  # the unfinished file
        self._target = os.fspath(path)
        try:
            there = _status(self._target)
            if there is None or stat.S_ISREG(there.st_mode):
                if descriptor(self._target) is None:
                    self._begin(there, secret)
            elif stat.S_ISDIR(there.st_mode):
                raise IsADirectoryError(21, "Is a directory")
            elif not os.access(self._target, os.W_OK):
                raise PermissionError(13, "Permission denied")
        except (OSError, ValueError) as failure:
            raise unwritable(path, failure) from None

    def _begin(self, there: os.stat_result | None, secret: bool) -> None:
        if there is not None and not os.access(self._target, os.W_OK):
            raise PermissionError(13, "Permission denied")
        self._target = os.path.realpath(self._target)
        folder, name = os.path.split(self._target)
        part = os.path.join(folder, f".{name[:_KEPT]}.{os.urandom(4).hex()}.part")
        with ending.held():
            opened = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if secret else 0o666)
            self._part = part
            ending.LEAVES.add(part)
        self._file = os.fdopen(opened, "wb")
        if there is not None and not secret:
            with suppress(OSError):
                os.fchmod(opened, stat.S_IMODE(there.st_mode))

    @property
    def file(self) -> BinaryIO:
        """To write to. Who does so says what goes wrong (`writing`)."""
        if self._file is None:
            number = descriptor(self._target)
            opened = os.open(self._target, os.O_WRONLY) if number is None else os.dup(number)
            self._file = os.fdopen(opened, "wb")
        return self._file

    def write(self, data: bytes) -> None:
        """Some more bytes."""
        with writing(self.path):
            self.file.write(data)

    def keep(self) -> None:
        """It is whole."""
        try:
            with writing(self.path):
                self.file.close()
                if self._part is not None:
                    os.replace(self._part, self._target)
        except UsageError:
            self.drop()
            raise
        self._forget()

    def drop(self) -> None:
        """It will not be whole: nothing of it stays. After `keep` this does nothing."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
        if self._part is not None:
            with suppress(OSError):
                os.unlink(self._part)
        self._forget()

    def _forget(self) -> None:
        if self._part is not None:
            ending.LEAVES.discard(self._part)
            self._part = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.keep() if kind is None else self.drop()


def write_text(path: Name, text: str, secret: bool = False) -> None:
    """A whole file at once."""
    with Output(path, secret) as output:
        output.write(utf8(text))


def json_parts(value: Any) -> Iterator[str]:
    """JSON with a line end, in parts as it is made: the text of a summary takes 25 KiB a connection."""
    parts = json.JSONEncoder(indent=2).iterencode(value)
    while part := "".join(islice(parts, 4096)):
        yield part
    yield "\n"


def make_directory(path: Name) -> Path:
    """The directory, made if there is none. UsageError if that cannot be."""
    directory = Path(path)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as failure:
        raise unwritable(path, failure) from None
    return directory


def scratch(within: Name | None = None) -> Path:
    """A new directory for what is only needed meanwhile, which only its owner may enter: see `discard`."""
    with writing(within or tempfile.gettempdir()), ending.held():
        made = tempfile.mkdtemp(prefix=".rxtls-" if within else "rxtls-", dir=within)
        ending.LEAVES.add(made)
    return Path(made)


def discard(made: Path) -> None:
    """A `scratch` directory, with all in it."""
    shutil.rmtree(made, ignore_errors=True)
    ending.LEAVES.discard(str(made))


def apart(outputs: Iterable[Name], inputs: Iterable[Name]) -> None:
    """UsageError if an output would replace an input ("-" is standard input), or another output, or is where standard
    output goes; whatever it is called, and wherever links lead."""
    read = {same for each in inputs if (same := _identity(each, 0)) is not None}
    streams = {same: name for name, number in (("error", 2), ("output", 1)) if (same := _opened(number)) is not None}
    written: dict[tuple[object, ...], str] = {}
    for each in outputs:
        name, same = os.fspath(each), _identity(each, 1)
        if same is None:
            continue
        if same in read:
            raise UsageError(f"{name} would overwrite an input")
        if same in written:
            raise UsageError(f"{written[same]} and {name} are one file, for two outputs")
        if same in streams and same[0] == "regular" and descriptor(name) is None:
            raise UsageError(f"{name} is where standard {streams[same]} goes")
        written[same] = name


def descriptor(name: str) -> int | None:
    """Of /dev/stdout and its like: the open file that they mean, which must not be opened anew."""
    found = _STREAM.fullmatch(name)
    return int(found[1]) if found else _STREAMS.get(name)


def _identity(name: Name, dash: int) -> tuple[object, ...] | None:
    """What two names of one file have in common; None for devices, which may be named as often as one likes."""
    text = os.fspath(name)
    number = dash if text == "-" else descriptor(text)
    if number is not None:
        return _opened(number)
    try:
        found = _known(lambda: _status(text))
        return ("path", os.path.realpath(text)) if found is _NEW else found
    except ValueError:  # a NUL in the name: whoever opens it says so
        return None


def _opened(number: int) -> tuple[object, ...] | None:
    return _known(lambda: os.fstat(number))


_NEW: tuple[object, ...] = ("new",)


def _known(look: Callable[[], os.stat_result | None]) -> tuple[object, ...] | None:
    try:
        found = look()
    except OSError:
        return None
    if found is None:
        return _NEW
    if stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode):
        return None
    return "regular" if stat.S_ISREG(found.st_mode) else "other", found.st_dev, found.st_ino


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None
