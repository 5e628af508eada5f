"""What a kTLS socket is asked with, and answers: options, modes, flags and control messages, by FreeBSD's numbers."""

from __future__ import annotations

import errno
from enum import Enum, IntEnum, IntFlag
from typing import NamedTuple

from rxtls.errors import SocketError

IPPROTO_TCP, TCP_RXTLS_ENABLE, TCP_RXTLS_MODE = 6, 41, 42
SOL_SOCKET, SO_RCVBUF, SO_RCVLOWAT, SO_ERROR = 0xFFFF, 0x1002, 0x1004, 0x1007
TLS_GET_RECORD = 2  # type of the control message, level IPPROTO_TCP


class Option(Enum):
    """What there is, as (level, option)."""

    KEYS = IPPROTO_TCP, TCP_RXTLS_ENABLE
    MODE = IPPROTO_TCP, TCP_RXTLS_MODE
    RECEIVE_BUFFER = SOL_SOCKET, SO_RCVBUF
    LOW_WATER = SOL_SOCKET, SO_RCVLOWAT
    ERROR = SOL_SOCKET, SO_ERROR


class Mode(IntEnum):
    """TCP_RXTLS_MODE (TCP_TLS_MODE_*)."""

    NONE = 0
    SW = 1
    IFNET = 2
    TOE = 3


class Msg(IntFlag):
    """Flags of recvmsg, by FreeBSD's numbers."""

    PEEK = 0x2
    EOR = 0x8
    TRUNC = 0x10
    DONTWAIT = 0x80
    TLSAPPDATA = 0x0010_0000


class GetRecord(NamedTuple):
    """struct tls_get_record: inner type, the header's version (3, 3 for TLS 1.3), bytes of payload."""

    type: int
    vmajor: int
    vminor: int
    length: int


class Received(NamedTuple):
    """What recvmsg brought. `control` is None in the middle of a record, before kTLS, and at end of file."""

    data: bytes
    control: GetRecord | None
    flags: Msg

    def __repr__(self) -> str:
        return f"Received({len(self.data)} bytes, {self.control}, {self.flags!r})"


def option_of(level: int, option: int) -> Option:
    """Which option that is. Raises SocketError ENOPROTOOPT if none."""
    try:
        return Option((level, option))
    except ValueError:
        raise SocketError(errno.ENOPROTOOPT, f"level {level}, option {option}") from None
