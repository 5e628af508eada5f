"""One capture as pieces: runs of frames as far as the compiled walker comes, and what stands between them.

The walker knows frames; all else, also a frame that is damaged, is taken by the plain reader of wire/, one block at a
time. So what a capture means, and what is wrong with it, is written once.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import ExitStack

from rxtls.capture.captures import Captures, SecretsFound, TickFound
from rxtls.capture.compressed import LONGEST_MAGIC, Decompressor, is_compressed
from rxtls.capture.window import Window
from rxtls.errors import CaptureError
from rxtls.wire import captured
from rxtls.wire.capture import TLS_KEY_LOG, Captured, Frame, Interface, Secrets, Tick, reader
from rxtls.wire.captured import Taken
from rxtls.wire.compiled.columns import Frames, frames_of
from rxtls.wire.compiled.parse import parse_frames
from rxtls.wire.compiled.shard import Share
from rxtls.wire.compiled.walk import FULL, MORE, OTHER, PcapngWalker, PcapWalker
from rxtls.wire.pcap import PcapReader
from rxtls.wire.pcapng import PcapngReader

_PEEK = 4 << 10
_PIPE = 1 << 20  # what Linux lets a pipe hold without asking for more
_SHORTEST_BLOCK, _SHORTEST_ENHANCED = 12, 32


class CaptureWalk:
    """Capture `index` of `captures`, opened by the first `step`.

    A piece has at most `most` frames, of at most `size` bytes together, unless one alone is longer. With a `share`,
    packets of other jobs are FOREIGN.
    """

    def __init__(
        self,
        captures: Captures,
        index: int,
        *,
        most: int,
        check_ip: bool,
        size: int,
        share: Share | None = None,
    ) -> None:
        self.index = index
        self._captures = captures
        self._name = captures.names[index]
        self._most = most
        self._check_ip = check_ip
        self._size = size
        self._share = share
        self._stack = ExitStack()
        self._window: Window | None = None
        self._reader: PcapReader | PcapngReader | None = None
        self._walker: PcapWalker | PcapngWalker | None = None
        self._reason = OTHER  # why the walker stopped, and so what is to be done next
        self._ours: list[int] = []  # the file's interface number to ours; other captures' come in between
        self._peeked = 0

    @property
    def live(self) -> bool:
        """Whether the next step may wait for somebody who writes."""
        return not self._captures.seekable[self.index] and (self._walker is None or self._reason != FULL)

    def step(self, index: int) -> Frames | SecretsFound | TickFound | None:
        """Some more frames, numbered from `index` on and valid until the next step. None at the end.

        What is wrong with the capture is entered in `captures.errors`, and ends it.
        """
        try:
            item = self._step(index)
        except CaptureError as failure:
            self._captures.errors.append(failure)
            item = None
        if item is None:
            self.close()
        return item

    def close(self) -> None:
        """Let the file go."""
        self._stack.close()
        self._window = None

    def _step(self, index: int) -> Frames | SecretsFound | TickFound | None:
        window = self._window
        if window is None:
            window = self._window = self._open()
        while True:
            if self._reason == MORE:
                assert self._walker is not None
                need = self._walker.need
                if window.live and need < _SHORTEST_ENHANCED:  # perhaps a shorter block is all that comes for now
                    need = min(need, max(_SHORTEST_BLOCK, window.end - window.at + 1))
                self._reason = FULL if window.more(need) else OTHER
            if self._reason == OTHER:
                taken = self._take(window)
                if taken is None:
                    return None
                self._reason = FULL
                found = self._found(taken.item, index)
                if found is not None:
                    return found
            assert self._walker is not None  # since the first block was taken
            frames, window.at, self._reason = self._walker.walk(window.data, window.at, window.end, index)
            if len(frames.table):
                return frames

    def _take(self, window: Window) -> Taken | None:
        """The one block or frame at hand, by the plain reader: a sound one, the end of the input, or CaptureError."""
        self._peeked = 0
        view = captured.Window(lambda n: self._peek(window, n), self._name)
        view.base = window.base + window.at
        plain = self._reader
        if plain is None:
            plain = self._reader = reader(view)
        walker = self._walker
        if not isinstance(plain, PcapngReader):
            taken = plain.take(view, 0)
        else:
            if not isinstance(walker, PcapngWalker):
                walker = self._walker = PcapngWalker(check_ip=self._check_ip, most=self._most, share=self._share)
            plain.last = walker.last
            section = plain.section
            taken = plain.take(view, 0)
            walker.last = plain.last
            if section != plain.section:
                walker.section(plain.order)
        if taken is not None:
            window.at += taken.stop
        return taken

    def _peek(self, window: Window, n: int) -> bytes:
        """1 to n of the bytes that follow those peeked at, which stay where they are. b"" at the end."""
        if window.end - window.at == self._peeked and not window.more(self._peeked + 1):
            return b""
        at = window.at + self._peeked
        part = window.data[at : min(window.end, at + min(n, max(_PEEK, self._peeked)))].tobytes()
        self._peeked += len(part)
        return part

    def _found(self, item: Captured | None, index: int) -> Frames | SecretsFound | TickFound | None:
        """What the plain reader found: told to the walker, or one frame, a tick, or secrets that nobody could know."""
        match item:
            case Interface():
                ours = self._captures.describe(self.index, item)
                self._ours.append(ours)
                self._describe(ours)
            case Frame():
                frames = frames_of([(index, item._replace(interface=self._ours[item.interface]))])
                parse_frames(frames, self._check_ip, self._share)
                return frames
            case Secrets() if item.kind == TLS_KEY_LOG and not self._captures.seekable[self.index]:
                return SecretsFound(item.data)
            case Tick():
                return self._captures.tick(item.time_ns, self._ours)
        return None

    def _describe(self, ours: int) -> None:
        """Tell the walker of the reader's latest interface."""
        if isinstance(self._reader, PcapngReader) and isinstance(self._walker, PcapngWalker):
            clock = self._reader.clocks[-1]
            self._walker.interface(ours, clock.link_type, clock.multiply, clock.divide, clock.offset)
        elif isinstance(self._reader, PcapReader):
            self._walker = PcapWalker(self._reader, ours, check_ip=self._check_ip, most=self._most, share=self._share)

    def _open(self) -> Window:
        """The capture's bytes, decompressed. Raises CaptureError."""
        stored = self._captures.open(self.index, self._stack)
        if self._captures.seekable[self.index]:
            if is_compressed(stored.head(LONGEST_MAGIC)):
                return self._decompressed(stored.read, False)
            return Window(stored.into, False, self._size)
        stored.widen(_PIPE)
        window = Window(stored.into, True, self._size)
        window.more(LONGEST_MAGIC)
        head = window.data[: window.end].tobytes()
        if not is_compressed(head):
            return window
        begun = io.BytesIO(head)
        return self._decompressed(lambda n: begun.read(n) or stored.read(n), True)

    def _decompressed(self, read: Callable[[int], bytes], live: bool) -> Window:
        give = Decompressor(read, self._name, self._captures.limit).read

        def into(view: memoryview) -> int:
            part = give(len(view))
            view[: len(part)] = part
            return len(part)

        return Window(into, live, self._size)
