"""What `rxtls http` leaves behind: the list, as text or JSON, a HAR file, bodies. All in one walk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Self

from rxtls.run.replay import Replay
from rxtls.system.files import Name, Output, apart, utf8
from rxtls.talk.dialogs import Seen, talks
from rxtls.talk.exchange import Exchange, Talk
from rxtls.talk.har import Har
from rxtls.talk.listing import lines, listed
from rxtls.talk.objects import Objects
from rxtls.talk.options import HttpOptions


class HttpOutputs:
    """A context: what is not whole when it is left is gone. `inputs` are files that must not be replaced.

    `walk` walks the run and gives what goes to standard output; it has to be taken to its end before `close`.
    """

    def __init__(self, wanted: HttpOptions, run: Replay, inputs: Sequence[Name] = ()) -> None:
        self._wanted, self._run = wanted, run
        self._inputs = inputs
        self.seen = Seen()
        self._json: Output | None = None
        self._har: Har | None = None
        self._har_output: Output | None = None
        self._objects: Objects | None = None

    def __enter__(self) -> Self:
        of = self._wanted
        apart([each for each in (of.har, of.json) if each not in (None, "-")], self._inputs)
        try:
            if of.json not in (None, "-"):
                self._json = Output(of.json, secret=True)
            if of.har is not None:
                self._har_output = Output(of.har, secret=True)
                self._har = Har(self._har_output)
            if of.objects is not None:
                self._objects = Objects(of.objects, self._run, self._inputs)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self._json, self._har_output, self._objects):
            if each is not None:
                each.drop()

    def walk(self, flow: str | None = None) -> Iterator[str]:
        """What goes to standard output."""
        keep = self._har is not None or self._objects is not None
        found = self._taken(talks(self._run, flow, keep, self.seen))
        if self._wanted.json is None:
            yield from lines(found)
        elif self._json is None:
            yield from listed(self._run, found)
        else:
            output = self._json
            for part in listed(self._run, found):
                output.write(utf8(part))

    def _taken(self, found: Iterator[Talk]) -> Iterator[Talk]:
        for talk in found:
            if isinstance(talk, Exchange):
                if self._har is not None:
                    self._har.take(talk)
                if self._objects is not None:
                    self._objects.take(talk)
            yield talk

    def close(self) -> None:
        """All has been walked: files take their places."""
        if self._json is not None:
            self._json.keep()
        if self._har is not None:
            self._har.close()
        if self._objects is not None:
            self._objects.close()
