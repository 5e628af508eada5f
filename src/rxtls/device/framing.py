"""The small language in which a NIC in another process is spoken to, on its standard input and output.

Every message is a frame, all numbers are unsigned and big-endian:

    4 bytes   length of what follows
    1 byte    kind, an ASCII letter
    ...       body

rxtls to the NIC                                     body
    H   hello, once, first                           version 2 (now 1)
    I   install     flow 4, epoch 4, number 8, tcp_sn 4, suite 2 (IANA), version 2 (0x0303, 0x0304),
                    length of the key 1, key, length of the IV 1, IV (4 bytes of salt for AES-GCM in TLS 1.2, else 12)
    P   packet      flow 4, seq 4, frame 8, time in ns 8, payload
    Q   query       flow 4, epoch 4
    C   confirm     flow 4, epoch 4, tcp_sn 4, number 8
    S   position    flow 4, epoch 4, tcp_sn 4, number 8
    R   release     flow 4, epoch 4

The NIC to rxtls: to each message any number of A, G, E, and then one of W, D
    A   progress    epoch 4, next_record_tcp_sn 4, hw_resync_tcp_sn 4, tracker 1, auth 1, hw_offset_record_number 4
    G   guess       epoch 4, tcp_sn 4, packet_sn 4, packet_length 4
    E   event       code 1 (EVENTS, from 0), tcp_sn 4
    W   nothing more; of a packet: it stays as on the wire; of the hello: version 2
    D   of a packet: its payload, decrypted
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from rxtls.crypto.keys import Keys
from rxtls.crypto.suites import SUITES, Version
from rxtls.device.guest import Event, Packet, Said
from rxtls.offload.commands import (
    Auth,
    Command,
    Confirm,
    Guess,
    Happening,
    Install,
    Progress,
    Query,
    SetPosition,
    Tracker,
)

VERSION = 1
LONGEST = 1 << 20  # bytes of a frame: a packet has at most 64 KiB

EVENTS = (
    Happening.LOST, Happening.ANCHORED, Happening.FALSE_ANCHOR, Happening.CONFIRMED, Happening.STALE_CONFIRM,
    Happening.RESUMED, Happening.AUTH_FAILED, Happening.STOPPED,
)  # fmt: skip

_INSTALL = struct.Struct(">IIQIHH")
_PACKET = struct.Struct(">IIQQ")
_COMMAND = struct.Struct(">IIIQ")
_TWO = struct.Struct(">II")
_PROGRESS = struct.Struct(">IIIBBI")
_GUESS = struct.Struct(">IIII")
_EVENT = struct.Struct(">BI")


class FramingError(ValueError):
    """What came is none of this language."""


class Released(NamedTuple):
    """The body of R."""

    epoch: int


Asked = Install | Command | Packet | Released


def frame(kind: str, body: bytes = b"") -> bytes:
    """One message."""
    return (1 + len(body)).to_bytes(4) + kind.encode() + body


def hello() -> bytes:
    """The body of H, and of the W that answers it."""
    return VERSION.to_bytes(2)


def asked(flow: int, what: Asked) -> bytes:
    """A message of rxtls to the NIC."""
    match what:
        case Install(epoch, _, keys, number, tcp_sn):
            head = _INSTALL.pack(flow, epoch, number, tcp_sn, keys.suite.code, keys.version)
            return frame("I", head + bytes([len(keys.key)]) + keys.key + bytes([len(keys.iv)]) + keys.iv)
        case Packet(seq, payload, index, time_ns):
            return frame("P", _PACKET.pack(flow, seq, index, time_ns) + payload)
        case Query(epoch):
            return frame("Q", _TWO.pack(flow, epoch))
        case Confirm(epoch, tcp_sn, number):
            return frame("C", _COMMAND.pack(flow, epoch, tcp_sn, number))
        case SetPosition(epoch, tcp_sn, number):
            return frame("S", _COMMAND.pack(flow, epoch, tcp_sn, number))
        case Released(epoch):
            return frame("R", _TWO.pack(flow, epoch))


def read_asked(kind: str, body: bytes) -> tuple[int, Asked]:
    """Flow and message, as the NIC reads it. Raises FramingError. An Install's leaf is not told: 0."""
    try:
        match kind:
            case "I":
                flow, epoch, number, tcp_sn, suite, version = _INSTALL.unpack_from(body)
                at = _INSTALL.size + 1
                key = body[at : at + body[at - 1]]
                iv = body[at + len(key) + 1 :]
                return flow, Install(epoch, 0, Keys(SUITES[suite], Version(version), key, iv), number, tcp_sn)
            case "P":
                flow, *head = _PACKET.unpack_from(body)
                return flow, Packet(head[0], body[_PACKET.size :], *head[1:])
            case "Q" | "R":
                flow, epoch = _TWO.unpack(body)
                return flow, Query(epoch) if kind == "Q" else Released(epoch)
            case "C" | "S":
                flow, *rest = _COMMAND.unpack(body)
                return flow, Confirm(*rest) if kind == "C" else SetPosition(*rest)
    except (struct.error, LookupError, ValueError) as error:
        raise FramingError(f"a damaged message {kind!r}: {error}") from None
    raise FramingError(f"a message of kind {kind!r}")


def said(what: Said) -> bytes:
    """A message of the NIC to rxtls."""
    match what:
        case Progress():
            return frame("A", _PROGRESS.pack(*what))
        case Guess():
            return frame("G", _GUESS.pack(*what))
        case Event(happening, tcp_sn):
            return frame("E", _EVENT.pack(EVENTS.index(happening), tcp_sn))


def read_said(kind: str, body: bytes) -> Said:
    """The same, as rxtls reads it. Raises FramingError."""
    try:
        match kind:
            case "A":
                epoch, place, anchor, tracker, auth, offset = _PROGRESS.unpack(body)
                return Progress(epoch, place, anchor, Tracker(tracker), Auth(auth), offset)
            case "G":
                return Guess(*_GUESS.unpack(body))
            case "E":
                code, tcp_sn = _EVENT.unpack(body)
                return Event(EVENTS[code], tcp_sn)
    except (struct.error, LookupError, ValueError):
        raise FramingError(f"a damaged message {kind!r} of {len(body)} bytes") from None
    raise FramingError(f"a message of kind {kind!r}, which is none of A, G, E, W, D")
