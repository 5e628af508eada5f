"""Bodies: bytes kept as they come, in one file that has no name, and decoded with bounds when somebody asks.

    Body.take ──► Store (64 KiB in memory, then the file) ──► Body.parts ──► gzip, br, zstd ──► Body.decoded

A few bytes can decode to any number of them, so a decoder is asked for pieces and stopped at a limit: BodyError.
"""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Iterator
from typing import IO, Any

PIECE = 64 << 10  # bytes that are decoded, or kept in memory, at a time
LIMIT = 256 << 20  # bytes that a body may decode to
MOST_CODINGS = 3  # one inside the other
_WINDOW = 27  # log2 of the memory that a zstd stream may ask for: what RFC 9659 and browsers allow is 8 MiB


class BodyError(Exception):
    """Why a body could not be decoded to its end."""


class Store:
    """Where bodies are kept: a file that nobody else can open, gone with the process."""

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._end = 0

    def put(self, data: bytes | bytearray) -> tuple[int, int]:
        """Keep them; where, and how many."""
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the store
        self._file.seek(self._end)
        self._file.write(data)
        at, self._end = self._end, self._end + len(data)
        return at, len(data)

    def parts(self, at: int, length: int) -> Iterator[bytes]:
        """What was kept there, a piece at a time."""
        assert self._file is not None
        while length > 0:
            self._file.seek(at)
            part = self._file.read(min(length, PIECE))
            yield part
            at, length = at + len(part), length - len(part)


class Body:
    """A message's content. `size` counts its bytes as they were sent, chunks taken apart; they can be read again only
    where there is a `store`. `lacking` of them were in holes: they are zeros here."""

    __slots__ = ("_extents", "_held", "_store", "lacking", "size")

    def __init__(self, store: Store | None = None) -> None:
        self.size = 0
        self.lacking = 0
        self._store = store
        self._held = bytearray()
        self._extents: list[tuple[int, int]] = []

    def take(self, data: bytes | bytearray | memoryview) -> None:
        """Some more."""
        self.size += len(data)
        if self._store is None:
            return
        self._held += data
        if len(self._held) >= PIECE:
            self._spill(self._store)

    def settle(self) -> None:
        """No more will come: nothing of it stays in memory."""
        if self._store is not None and self._held:
            self._spill(self._store)

    def parts(self) -> Iterator[bytes]:
        """As it was sent."""
        for at, length in self._extents:
            assert self._store is not None
            yield from self._store.parts(at, length)
        if self._held:
            yield bytes(self._held)

    def decoded(self, coding: str = "", limit: int = LIMIT) -> Iterator[bytes]:
        """Without its content codings, as Content-Encoding names them. BodyError where it decodes to more than `limit`
        bytes, or not at all; what came before is right."""
        parts = self.parts()
        names = [name for each in coding.lower().split(",") if (name := each.strip()) not in ("", "identity")]
        if len(names) > MOST_CODINGS:
            raise BodyError(f"{len(names)} content codings")
        for name in reversed(names):
            if name not in _CODINGS:
                raise BodyError("unknown content coding")
            parts = _CODINGS[name](parts)
        size = 0
        for part in parts:
            size += len(part)
            if size > limit:
                yield part[: len(part) - (size - limit)]
                raise BodyError(f"more than {limit} bytes decoded")
            yield part

    def _spill(self, store: Store) -> None:
        at, length = store.put(self._held)
        self._held.clear()
        if self._extents and sum(self._extents[-1]) == at:
            self._extents[-1] = self._extents[-1][0], self._extents[-1][1] + length
        else:
            self._extents.append((at, length))


def _inflated(parts: Iterator[bytes], bits: int) -> Iterator[bytes]:
    """zlib's formats. Members of gzip may follow each other."""
    unpack, begun = zlib.decompressobj(bits), False
    try:
        for part in parts:
            left = part
            while left:
                if unpack.eof:
                    if bits < 32:
                        return
                    unpack, begun = zlib.decompressobj(bits), False
                if not begun and bits == 15 and left[0] & 0x0F != 8:  # "deflate" without zlib's header, as some send it
                    unpack = zlib.decompressobj(-15)
                begun = True
                yield unpack.decompress(left, PIECE)
                left = unpack.unconsumed_tail or unpack.unused_data
        while not unpack.eof and (more := unpack.decompress(unpack.unconsumed_tail, PIECE)):
            yield more
    except zlib.error:
        raise BodyError("not what its content coding says") from None
    if begun and not unpack.eof:
        raise BodyError("its content coding ends too early")


def _brotli(parts: Iterator[bytes]) -> Iterator[bytes]:
    try:
        import brotli
    except ImportError:
        raise BodyError("br needs the package brotli: pip install 'rxtls[http]'") from None
    unpack = brotli.Decompressor()
    try:
        for part in parts:
            yield from _cut(unpack.process(part, output_buffer_limit=PIECE))
            while not unpack.can_accept_more_data():
                yield from _cut(unpack.process(b"", output_buffer_limit=PIECE))
        while not unpack.is_finished() and (more := unpack.process(b"", output_buffer_limit=PIECE)):
            yield from _cut(more)
    except brotli.error:
        raise BodyError("not what its content coding says") from None
    if not unpack.is_finished():
        raise BodyError("its content coding ends too early")


def _cut(data: bytes) -> Iterator[bytes]:
    """The limit is one that brotli goes somewhat over."""
    for at in range(0, len(data), PIECE):
        yield data[at : at + PIECE]


class _Source:
    """Parts as a file to read from."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self._left = b""

    def read(self, size: int) -> bytes:
        """At most so many bytes; none at the end."""
        while not self._left:
            part = next(self._parts, None)
            if part is None:
                return b""
            self._left = part
        given, self._left = self._left[:size], self._left[size:]
        return given


def _zstd(parts: Iterator[bytes]) -> Iterator[bytes]:
    import zstandard

    source: Any = _Source(parts)
    unpack = zstandard.ZstdDecompressor(max_window_size=1 << _WINDOW)
    try:
        with unpack.stream_reader(source, read_across_frames=True) as reader:
            while part := reader.read(PIECE):
                yield part
    except zstandard.ZstdError:
        raise BodyError("not what its content coding says") from None


_CODINGS = {
    "gzip": lambda parts: _inflated(parts, 47),
    "x-gzip": lambda parts: _inflated(parts, 47),
    "deflate": lambda parts: _inflated(parts, 15),
    "br": _brotli,
    "zstd": _zstd,
}
