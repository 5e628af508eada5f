"""Bodies as files, and index.json about them. A name is made of numbers, and of what is harmless in the path's end.

flow-0-3-logo.png            the response to the third request of connection 0
flow-0-4-upload-request.bin  what was sent with a request
"""

from __future__ import annotations

import hashlib
import json
import mimetypes
import os
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rxtls.errors import UsageError
from rxtls.run.replay import Replay
from rxtls.system.files import Name, apart, discard, make_directory, scratch, writing
from rxtls.talk.body import BodyError
from rxtls.talk.exchange import Exchange, Message

MOST = 1 << 30  # bytes that one body decodes to, in a file
INDEX = "index.json"
_NAMED = 60
_HARMLESS = re.compile(r"[^A-Za-z0-9._-]+")
_ENDING = re.compile(r"\.[A-Za-z0-9]{1,8}$")


class Objects:
    """Writes into `directory`, which is made if there is none; what is in it takes its place when all is whole."""

    def __init__(self, directory: Name, run: Replay, inputs: Sequence[Name] = ()) -> None:
        self._target = make_directory(directory)
        self._run, self._inputs = run, inputs
        self._folder = scratch(directory)
        self._numbers: Counter[int] = Counter()
        self._index = (self._folder / INDEX).open("w", encoding="utf-8")
        os.chmod(self._folder / INDEX, 0o600)
        self._before = "["

    def take(self, exchange: Exchange) -> None:
        """One more."""
        self._numbers[exchange.flow] += 1
        for message, kind in ((exchange.request, "request"), (exchange.response, "response")):
            if message is not None and message.body.size:
                self._write(exchange, message, kind)

    def _write(self, exchange: Exchange, message: Message, kind: str) -> None:
        path = exchange.request.path if exchange.request else ""
        name = f"flow-{exchange.flow}-{self._numbers[exchange.flow]}-{safe_name(path, message.type, kind)}"
        digest, size, problem = hashlib.sha256(), 0, None
        with writing(self._target / name), self._new(name) as file:
            try:
                for part in message.body.decoded(message.named("content-encoding"), MOST):
                    file.write(part)
                    digest.update(part)
                    size += len(part)
            except BodyError as error:
                problem = str(error)
                if not size:  # then as it was sent
                    for part in message.body.parts():
                        file.write(part)
                        digest.update(part)
                        size += len(part)
        request = exchange.request
        told: dict[str, Any] = {
            "file": name, "flow": exchange.flow, "stream": exchange.stream, "of": kind,
            "method": request.method if request else None, "host": request.host if request else None,
            "path": request.path if request else None, "type": message.type, "bytes": size,
            "sent_bytes": message.body.size, "sha256": digest.hexdigest(), "lacking": message.body.lacking,
            "complete": message.complete and not message.faults and problem is None,
            "faults": message.faults + ([problem] if problem else []), "time_ns": message.last_ns,
            "place": self._run.place(message.frame),
        }  # fmt: skip
        with writing(self._target / INDEX):
            self._index.write(f"{self._before}\n{json.dumps(told)}")
        self._before = ","

    def _new(self, name: str) -> Any:
        return os.fdopen(os.open(self._folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")

    def close(self) -> None:
        """All is written: every file takes its place. UsageError where something that is no regular file stands, or an
        input."""
        try:
            with writing(self._target):
                self._index.write("[]\n" if self._before == "[" else "\n]\n")
                self._index.close()
            places = [(each, self._target / each.name) for each in self._folder.iterdir()]
            for _, target in places:
                if os.path.lexists(target) and (target.is_symlink() or not target.is_file()):
                    raise UsageError(f"{target}: Is no regular file")
            if self._inputs:
                apart([target for _, target in places], self._inputs)
            for path, target in places:
                with writing(target):
                    path.replace(target)
        finally:
            self.drop()

    def drop(self) -> None:
        """Nothing of what has not taken its place stays."""
        self._index.close()
        discard(self._folder)


def safe_name(path: str, media: str, kind: str) -> str:
    """Of the last part of a path; with the ending of its media type where it has none."""
    last = path.partition("?")[0].partition("#")[0].rstrip("/").rpartition("/")[2]
    name = _HARMLESS.sub("_", last).strip("._-")
    found = _ENDING.search(name)
    ending = found[0] if found else mimetypes.guess_extension(media) or ".bin"
    stem = name[: len(name) - len(found[0])] if found else name
    stem = stem[:_NAMED] or "index"
    if kind == "request":
        return f"{stem}-request{mimetypes.guess_extension(media) or '.bin'}"
    return stem + ending
