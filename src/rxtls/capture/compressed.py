"""Compressed captures, undone as a stream: gzip, zstd, lz4, xz and bzip2, recognized by their first bytes.

A compressed file is a row of members, each decoded by itself: gzip members, xz and bzip2 streams, zstd and lz4 frames.
Between them there may be skippable frames (zstd, lz4) and zero padding (xz, tar's habit with gzip); members of
different kinds may follow each other, because nothing speaks against it. What does not begin with a known magic is
passed on as it is.

Everything that could be decoded is delivered before the error. Decoders throw away what they had when they meet damage,
so a damaged member is decoded once more, byte by byte, up to the damage; a member longer than REPLAY is not kept for
that, and loses at most what one call of its decoder gives: GRAIN bytes, for zstd some blocks of 128 KiB.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import NamedTuple, Protocol, cast

import lz4.frame
import zstandard

from rxtls.errors import CaptureError

# A capture that needs more than this was either not made by a person, or its owner knows and says so.
MAX_DECOMPRESSED = 64 << 30
# Decoded bytes that one call may give; bounds memory against a member that is all zeros.
GRAIN = 64 << 10
# Compressed bytes read at a time.
_READ = 16 << 10
# Compressed bytes of a member that are kept for decoding it once more. Half a second's work at the worst.
REPLAY = 1 << 20
# What a decoder may allocate: what zstd(1) allows without --long, and four times what `xz -9` needs.
ZSTD_WINDOW = 1 << 27
XZ_MEMORY = 256 << 20

_SKIPPABLE = frozenset(bytes((n, 0x2A, 0x4D, 0x18)) for n in range(0x50, 0x60))
LONGEST_MAGIC = 6  # bytes of a file that tell whether it is one of these
_FAILURES = (OSError, zlib.error, lzma.LZMAError, zstandard.ZstdError, RuntimeError, EOFError, ValueError, MemoryError)


class _Decoder(Protocol):
    """What lzma and lz4 decoders look like; the other two are made to."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes | None: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _Gzip:
    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(wbits=31)
        self.eof = False
        self.needs_input = True
        self.unused_data: bytes | None = b""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        out = self._inflate.decompress(self._inflate.unconsumed_tail + data, max_length)
        self.eof = self._inflate.eof
        # zlib may hold output back with its input all taken; a full `out` is the sign of it.
        self.needs_input = not self._inflate.unconsumed_tail and len(out) < max_length
        self.unused_data = self._inflate.unused_data
        return out


class _Zstd:
    """zstandard has no max_length. Its input is sliced instead: 4 bytes can make a block of 128 KiB, so 1 KiB at most
    32 MiB, and in real files a good 4 KiB."""

    def __init__(self) -> None:
        self._frame = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW).decompressobj()
        self.eof = False
        self.needs_input = True
        self.unused_data: bytes | None = b""

    def decompress(self, data: bytes, max_length: int) -> bytes:  # noqa: ARG002
        out = self._frame.decompress(data)
        self.eof = self._frame.eof
        self.unused_data = self._frame.unused_data
        return out


class _Format(NamedTuple):
    name: str
    magic: bytes
    decoder: Callable[[], _Decoder]
    slice: int  # compressed bytes given to the decoder at a time


_FORMATS = (
    _Format("gzip", b"\x1f\x8b", _Gzip, _READ),
    _Format("zstd", b"\x28\xb5\x2f\xfd", _Zstd, 1 << 10),
    _Format("lz4", b"\x04\x22\x4d\x18", lambda: cast(_Decoder, lz4.frame.LZ4FrameDecompressor()), _READ),
    _Format("bzip2", b"BZh", lambda: cast(_Decoder, bz2.BZ2Decompressor()), _READ),
    _Format("xz", b"\xfd7zXZ\0", lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY), _READ),
)


def is_compressed(head: bytes) -> bool:
    """True when a file that begins with `head` (six bytes or more) is one of the formats here."""
    return _format(head) is not None or head[:4] in _SKIPPABLE


class Decompressor:
    """The decompressed bytes of `raw`, a function that gives 1 to n bytes, b"" at the end.

    `name` is for errors, `limit` bounds the decompressed bytes (it does not hold for what was never compressed).
    """

    def __init__(self, raw: Callable[[int], bytes], name: str, limit: int = MAX_DECOMPRESSED) -> None:
        self._raw = raw
        self._name = name
        self._limit = limit
        self._plain: bool | None = None
        self._pending = b""  # read from raw, not yet given to a decoder
        self._format: _Format | None = None
        self._decoder: _Decoder | None = None
        self._kept: bytearray | None = None  # the member's input so far, or None when it was too long to keep
        self._member_out = 0
        self._out = b""  # decoded last; asked for up to here:
        self._at = 0
        self._given = 0  # decoded so far
        self._ended = False
        self._failure: CaptureError | None = None

    def read(self, n: int) -> bytes:
        """1 to n bytes, b"" at the end. Raises CaptureError at damage, once everything before it was given."""
        if self._plain is None:
            self._plain = not is_compressed(self._peek(LONGEST_MAGIC))
        if self._plain:
            return self._take(n) if self._pending else self._raw(n)
        while self._at == len(self._out):
            if self._failure is not None:
                raise self._failure
            if self._ended:
                return b""
            self._out, self._at = self._bounded(), 0
        part = self._out[self._at : self._at + n]
        self._at += len(part)
        return part

    def _bounded(self) -> bytes:
        """What is decoded next, perhaps nothing, within the limit. An error becomes `_failure`, due after it."""
        try:
            part = self._decode()
        except CaptureError as failure:
            self._failure = failure
            return b""
        if self._given + len(part) > self._limit:
            part = part[: self._limit - self._given]
            self._failure = self._error(self._limit, f"decompresses to more than {self._limit} bytes, the bound")
        self._given += len(part)
        return part

    def _decode(self) -> bytes:
        """Some decoded bytes of the member at hand, perhaps none; opens the next one where there is none at hand."""
        if self._decoder is None or self._format is None:
            self._open()
            return b""
        decoder, data = self._decoder, b""
        if decoder.needs_input:
            data = self._take(self._format.slice)
            if not data:
                raise self._error(None, f"truncated: the {self._format.name} stream ends in mid-air")
            if self._kept is not None:
                self._kept += data
                if len(self._kept) > REPLAY:
                    self._kept = None
        try:
            out = decoder.decompress(data, GRAIN)
        except _FAILURES as failure:
            out = self._rescue(self._format)
            place = self._given + len(out)
            self._failure = self._error(place, f"damaged {self._format.name} stream: {_one_line(failure)}")
            return out
        self._member_out += len(out)
        if decoder.eof:
            self._pending = (decoder.unused_data or b"") + self._pending
            self._decoder = None
        return out

    def _open(self) -> None:
        """The next member, or the end. Steps over padding and skippable frames."""
        head = self._peek(LONGEST_MAGIC)
        while head[:1] == b"\0":
            self._pending = self._pending.lstrip(b"\0")
            head = self._peek(LONGEST_MAGIC)
        if not head:
            self._ended = True
        elif head[:4] in _SKIPPABLE:
            self._skip()
        elif (form := _format(head)) is not None:
            self._format, self._decoder = form, form.decoder()
            self._kept, self._member_out = bytearray(), 0
        else:
            raise self._error(None, "what follows the compressed data is not compressed data")

    def _skip(self) -> None:
        """A skippable frame (RFC 8878 section 3.1.2): magic, length, and that many bytes for somebody else."""
        head = self._peek(8)[:8]
        self._pending = self._pending[8:]
        left = int.from_bytes(head[4:], "little")
        while left and len(head) == 8:
            data = self._take(min(left, _READ))
            left -= len(data)
            if not data:
                break
        if left or len(head) < 8:
            raise self._error(None, "truncated in a skippable frame")

    def _rescue(self, form: _Format) -> bytes:
        """What the damaged member decodes to beyond what it already gave."""
        if self._kept is None:
            return b""
        decoder = form.decoder()
        known = self._member_out
        found = bytearray()
        try:
            for i in range(len(self._kept)):
                out = decoder.decompress(bytes(self._kept[i : i + 1]), GRAIN)
                while True:
                    found += out[known:]
                    known = max(0, known - len(out))
                    if decoder.needs_input or decoder.eof:
                        break
                    out = decoder.decompress(b"", GRAIN)
        except _FAILURES:
            pass
        return bytes(found)

    def _peek(self, n: int) -> bytes:
        """The pending input, at least n bytes of it unless it ends before."""
        while len(self._pending) < n:
            data = self._raw(_READ)
            if not data:
                break
            self._pending += data
        return self._pending

    def _take(self, n: int) -> bytes:
        """1 to n bytes of input, b"" at the end."""
        if not self._pending:
            self._pending = self._raw(_READ)
        data, self._pending = self._pending[:n], self._pending[n:]
        return data

    def _error(self, offset: int | None, cause: str) -> CaptureError:
        return CaptureError(self._name, self._given if offset is None else offset, cause)


def _format(head: bytes) -> _Format | None:
    return next((form for form in _FORMATS if head.startswith(form.magic)), None)


def _one_line(failure: BaseException) -> str:
    return " ".join(str(failure).split()) or type(failure).__name__
