"""The same packets once more, as pcapng with comments: Wireshark shows what rxtls found beside its own dissection.

The captures are read a second time, in the order in which the run saw them (capture/source.py), and each frame goes out
as it was captured, with its comments as packet options. Interfaces keep their names. Secrets that stood in the captures
are *not* copied; those that open them are embedded only where that was asked for.

    Section Header
    Decryption Secrets          the key log's lines for these sessions alone, if wanted
    Interface Description ...   each before its first frame
    Enhanced Packet, opt_comment ...
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from rxtls.capture.captures import TickFound
from rxtls.capture.source import Source, SourceFrame
from rxtls.capture.write import block, option, padded, tick
from rxtls.errors import UsageError
from rxtls.system.files import utf8

Comments = Sequence[str]

_SECTION, _INTERFACE, _ENHANCED, _SECRETS = 0x0A0D0D0A, 1, 6, 10
_TLS_KEY_LOG = 0x544C534B
_COMMENT, _NAME, _APPLICATION = 1, 2, 4  # opt_comment, if_name, shb_userappl
_FLAGS = 2  # epb_flags: the copy is read as the capture was
_END = bytes(4)  # opt_endofopt
_JOINED = 1 << 20  # bytes gathered before a write
_LONGEST = 0xFFFF - 3  # an option's length has 16 bits


def write_annotated(
    captures: Sequence[str],
    comments: Iterable[Comments],
    out: BinaryIO,
    application: str,
    keylog: str = "",
    order: str = "file",
) -> int:
    """Write the frames of `captures` with `comments`, one list for each frame in the run's order; how many frames.

    UsageError for captures that cannot be read twice. What is damaged ends there, as it did in the run.
    """
    source = Source(captures, by_time=order == "time")
    if source.total_bytes is None:
        raise UsageError("an annotated capture needs its captures twice, and a pipe can be read only once")
    waiting, held, frames = [], 0, 0
    for part in _parts(source, iter(comments), application, keylog):
        waiting.append(part)
        held += len(part)
        frames += part[:4] == _PACKET
        if held >= _JOINED:
            out.write(b"".join(waiting))
            waiting, held = [], 0
    out.write(b"".join(waiting))
    return frames


_PACKET = struct.pack("<I", _ENHANCED)


def _parts(source: Source, comments: Iterator[Comments], application: str, keylog: str) -> Iterator[bytes]:
    head = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)
    yield block(_SECTION, head + option(_APPLICATION, application.encode()) + _END)
    if keylog:
        text = keylog.encode()
        yield block(_SECRETS, struct.pack("<II", _TLS_KEY_LOG, len(text)) + padded(text))
    described = 0
    for item in source:
        if isinstance(item, TickFound) and item.interfaces and item.interfaces[0] < described:
            yield tick(item.interfaces[0], item.time_ns)
        if not isinstance(item, SourceFrame):
            continue
        while described < len(source.interfaces):
            yield _interface(source, described)
            described += 1
        yield _frame(item, next(comments, ()))


def _interface(source: Source, index: int) -> bytes:
    each = source.interfaces[index]
    name = each.name or Path(source.names[each.file]).name
    said = option(_COMMENT, utf8(each.comment)) if each.comment else b""  # it may tell where the tap stood
    options = said + option(_NAME, utf8(name)) + option(9, b"\x09") + _END  # if_tsresol: 10^-9 s
    return block(_INTERFACE, struct.pack("<HHI", each.link_type, 0, 0) + options)


def _frame(frame: SourceFrame, comments: Comments) -> bytes:
    high, low = divmod(frame.time_ns & (1 << 64) - 1, 1 << 32)
    head = struct.pack("<IIIII", frame.interface, high, low, len(frame.data), frame.wire_length)
    options = b"".join(option(_COMMENT, utf8(comment)[:_LONGEST]) for comment in comments)
    if frame.flags:
        options += option(_FLAGS, struct.pack("<I", frame.flags))
    return block(_ENHANCED, head + padded(frame.data) + options + (_END if options else b""))
