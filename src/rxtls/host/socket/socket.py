"""The kTLS socket: setsockopt, getsockopt, recvmsg and shutdown over one direction, as FreeBSD's socket layer has them.

    worker ──► queue of finished records ──► recvmsg: at most one record a call, its type in a control message
                                             so_error: only when the queue is empty, and reading it clears it
    sockbuf    acc: bytes in the queue       tlscc: not yet a record       window = what is free, and see `space`

Nothing sleeps here. Where a thread would, the host is served once, as by the NIC's interrupt timer, and then the call
says EAGAIN. So reading an empty socket is a host point, and a run that reads sockets depends on when it does.

Ours where upstream has a defect or nothing at all; each has a test in tests/host/test_socket.py:

- Receive can be given new keys behind a TLS 1.3 KeyUpdate, by Linux's rules: until then the worker opens nothing more.
- A truncated end and a dropped connection are told once, then comes end of file, or ENOTCONN. (Upstream would wait.)
- A record larger than the receive buffer does not stall: while nothing can be read, the window has room to finish it.

Follows uipc_socket.c soreceive_generic, uipc_ktls.c, ktls(4); Linux tls_sw.c for KeyUpdate.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from rxtls.crypto.keys import MAX_PLAINTEXT, Keys
from rxtls.errors import SocketError
from rxtls.handshake.library import Preset
from rxtls.host.direction import Direction
from rxtls.host.flow import Flow
from rxtls.host.socket import toe
from rxtls.host.socket.enable import TlsEnable, checked
from rxtls.host.socket.options import (
    IPPROTO_TCP,
    SO_ERROR,
    SO_RCVBUF,
    SO_RCVLOWAT,
    SOL_SOCKET,
    TCP_RXTLS_ENABLE,
    TCP_RXTLS_MODE,
    TLS_GET_RECORD,
    GetRecord,
    Mode,
    Msg,
    Option,
    Received,
    option_of,
)
from rxtls.host.sysctl import Kernel
from rxtls.host.worker import Outcome, Session

__all__ = [
    "IPPROTO_TCP",
    "SOL_SOCKET",
    "SO_ERROR",
    "SO_RCVBUF",
    "SO_RCVLOWAT",
    "TCP_RXTLS_ENABLE",
    "TCP_RXTLS_MODE",
    "TLS_GET_RECORD",
    "GetRecord",
    "Mode",
    "Msg",
    "Received",
    "Socket",
]

ALERT = 21

# net.inet.tcp.recvspace: two full records and their framing still fit.
RECEIVE_BUFFER = 65536


@dataclass(slots=True, eq=False, repr=False)
class _Finished:
    """A record in the queue, and how far it has been read."""

    control: GetRecord
    data: bytes
    at: int = 0
    begun: bool = False


class Socket:
    """A socket at the receiving host. `serve` lets the host of this direction run once.

    It may be made before its connection has been seen; `attach` ties it to the flow. Every refusal is a SocketError.
    """

    def __init__(self, kernel: Kernel, serve: Callable[[], None]) -> None:
        self.so_error = 0
        self.cannot_receive_more = False  # SBS_CANTRCVMORE: FIN, reset, or shutdown
        self._kernel = kernel
        self._serve = serve
        self._flow: Flow | None = None
        self._direction: Direction | None = None
        self._early: tuple[Keys, int] | None = None  # set before the connection was there
        self._queue: deque[_Finished] = deque()
        self._raw = b""  # of a connection that ended before kTLS, and has not been read yet
        self._error_text: str  # of so_error, where there is one
        self._listening = False
        self._dropped = False  # tcp_drop: by a fatal header
        self._truncated = False
        self._receive_buffer = RECEIVE_BUFFER
        self._low_water = 1

    def attach(self, flow: Flow, side: int) -> None:
        """The connection is there: `side` sends what this socket receives."""
        self._flow = flow
        self._direction = flow.directions[side]
        self._direction.socket = self
        self._direction.sockbuf.kept = True
        if self._direction.session is not None:  # the TLS library has enabled receive before anybody read
            self._kernel.stats.update(("enable_calls", "offload_total"))
            self._direction.session.use(self._kernel.ocf)
        if self._early:
            self._enable(self._direction, *self._early)

    # Options

    def setsockopt(self, level: int, option: int, value: TlsEnable | int) -> None:
        """TCP_RXTLS_ENABLE with a TlsEnable; SO_RCVBUF and SO_RCVLOWAT with bytes. TCP_RXTLS_MODE cannot be set."""
        if level == IPPROTO_TCP and (self._reset or (self._flow is not None and self._flow.ended)):
            raise SocketError(errno.ECONNRESET, "the connection is over")
        match option_of(level, option), value:
            case Option.KEYS, TlsEnable():
                self._set_keys(value)
            case Option.RECEIVE_BUFFER, int() if value > 0:
                self._receive_buffer = value
                self._low_water = min(self._low_water, value)
            case Option.LOW_WATER, int() if value > 0:
                self._low_water = min(value, self._receive_buffer)
            case ((Option.MODE | Option.ERROR), _):
                raise SocketError(errno.ENOPROTOOPT, "this option can only be read")
            case _:
                raise SocketError(errno.EINVAL, "not what this option takes")

    def getsockopt(self, level: int, option: int) -> int:
        """TCP_RXTLS_MODE, SO_RCVBUF, SO_RCVLOWAT, and SO_ERROR, which is cleared by it."""
        if level == IPPROTO_TCP and self._reset:
            raise SocketError(errno.ECONNRESET, "the connection was reset")
        match option_of(level, option):
            case Option.MODE if self._listening:
                raise SocketError(errno.EINVAL, "a listening socket has no mode")
            case Option.MODE:
                return self.mode
            case Option.RECEIVE_BUFFER:
                return self._receive_buffer
            case Option.LOW_WATER:
                return self._low_water
            case Option.ERROR:
                error, self.so_error = self.so_error, 0
                return error
            case Option.KEYS:
                raise SocketError(errno.ENOPROTOOPT, "keys cannot be read")

    @property
    def mode(self) -> Mode:
        """NONE until receive is enabled and the host has chosen. It says nothing about any one record."""
        direction = self._direction
        if direction is None or not direction.enabled or direction.mode is None:
            return Mode.NONE
        return Mode[direction.mode.upper()]

    def listen(self) -> None:
        """Become a listening socket: never with TLS on it."""
        if self._early or self._direction:
            raise SocketError(errno.EINVAL, "kTLS is enabled" if self._early else "it is connected")
        self._listening = True

    def shutdown(self) -> None:
        """SHUT_RD: what waits is thrown away, also what the worker has just detached; no more is taken."""
        self.cannot_receive_more = True
        self._queue.clear()
        direction = self._direction
        if direction is None:
            return
        sockbuf = direction.sockbuf
        sockbuf.consume(sockbuf.acc if sockbuf.tls else 0)
        direction.ledger.fate("byte.flushed", sockbuf.flush())
        direction.shut = True

    # Reading

    def poll(self) -> bool:
        """poll(2): a whole record, a rest of one, an error, or the end can be read without waiting."""
        if not self._readable():
            self._serve()
        return self._readable()

    def _readable(self) -> bool:
        if self.so_error or self._at_end():
            return True
        if not self._queue:
            return self._raw_waits()
        return not self._queue[0].data or sum(len(each.data) - each.at for each in self._queue) >= self._low_water

    @property
    def space(self) -> int:
        """Bytes that may still come: the window to advertise.

        Everything in the buffer counts: ciphertext, framing, records being opened (sbspace over sb_ccc). But a record
        larger than the buffer would then never be whole. So while nothing can be read, there is room for the rest of
        the first record: the buffer can hold its size, or one record of 16,384 bytes and framing if that is more.
        """
        direction = self._direction
        if direction is None:
            return self._receive_buffer
        sockbuf = direction.sockbuf
        free = max(0, self._receive_buffer - sockbuf.ccc)
        if sockbuf.tls and not sockbuf.acc and not self._rekey_due():
            return max(free, min(sockbuf.missing(), MAX_PLAINTEXT + 512))
        return free

    @property
    def edge(self) -> int:
        """The right edge of that window, as a position in the stream: its first byte is 0."""
        return (self._direction.reassembly.next if self._direction else 0) + self.space

    def recvmsg(self, size: int, flags: int = 0, control: bool = True) -> Received:
        """At most `size` bytes of one record.

        With its first bytes comes the control message, unless `control` is False: then its type is silently lost, as
        upstream. MSG_EOR comes with its last byte. An empty record is a control message and no data. End of file is no
        data and no control message. SocketError: EAGAIN, or EKEYEXPIRED when it is new keys that are waited for; ENXIO
        with MSG_TLSAPPDATA before an alert, which stays; what stands in so_error, once no record is left: EBADMSG for
        each run of records that did not authenticate, EMSGSIZE, EINVAL, ECONNRESET; ENOTCONN, also of a listener. A
        peek leaves so_error as it is.
        """
        if size < 0:
            raise SocketError(errno.EINVAL, f"a buffer of {size} bytes")
        if self._listening:
            raise SocketError(errno.ENOTCONN, "a listening socket")
        if not self._queue and not self._raw_waits():
            self._serve()
        if not self._queue:
            return self._raw_read(size, flags)
        head = self._queue[0]
        if flags & Msg.TLSAPPDATA and head.control.type == ALERT:
            raise SocketError(errno.ENXIO, "the next record is an alert")
        data = head.data[head.at : head.at + size]
        told = head.control if control and not head.begun else None
        last = head.at + len(data) == len(head.data)
        found = Received(data, told, Msg.EOR if last and data else Msg(0))
        if not flags & Msg.PEEK:
            head.begun = True
            head.at += len(data)
            if self._direction:
                self._direction.sockbuf.consume(len(data))
            if last:
                self._queue.popleft()
        return found

    # Who brings records

    def toe_input(self, type: int, payload: bytes) -> None:  # noqa: A002
        """The other producer (toe.py): a whole record, decrypted, behind all segments so far. The mode is TOE then."""
        if self._flow is not None and not self._flow.ended:
            self._serve()  # the segments that the NIC still holds come before it
        direction, flow = self._direction, self._flow
        if direction is None or direction.session is None or flow is None or flow.ended:
            raise SocketError(errno.ENOTCONN, "receive is not enabled on a connection")
        if toe.hand_up(direction, direction.session, type, payload):
            self._serve()

    # What the host brings

    def called(self, keys: Keys, number: int) -> Session:
        """The application's TLS library calls setsockopt."""
        self._kernel.stats["enable_calls"] += 1
        return self.session(keys, number)

    def session(self, keys: Keys, number: int) -> Session:
        """Receive is enabled."""
        self._kernel.stats["offload_total"] += 1
        return Session(keys, number, self._kernel.ocf)

    def deliver(self, outcome: Outcome, version: tuple[int, int]) -> None:
        """The worker has opened or discarded a record."""
        if outcome.opened is None:
            self._fail(outcome.error, f"record {outcome.number} was discarded")
            return
        opened = outcome.opened
        self._queue.append(_Finished(GetRecord(opened.type, *version, len(opened.payload)), opened.payload))

    def settle(self) -> None:
        """After the worker: did the stream end, and is what it ended with a record?"""
        direction = self._direction
        assert direction is not None
        if direction.fatal and not self._dropped:
            self._dropped = self.cannot_receive_more = True
            self._fail(*direction.fatal.split(": ", 1))
        if direction.reassembly.reset and not self.cannot_receive_more:
            self.cannot_receive_more = True
            self._fail("ECONNRESET", "the peer reset the connection")
        if direction.reassembly.finished:
            self.cannot_receive_more = True
            rest = direction.sockbuf.tlscc
            if rest and not self._truncated and not direction.fate() and not direction.held:
                self._truncated = True
                self._fail("EMSGSIZE", f"the stream ends {rest} bytes into a record")

    def end(self) -> None:
        """The connection is over; what came before kTLS may still be read."""
        assert self._direction is not None
        self.settle()
        if not self._direction.sockbuf.tls:
            self._raw = self._direction.sockbuf.peek(self._direction.sockbuf.waiting)

    def _set_keys(self, enable: TlsEnable) -> None:
        for knob in ("enable", "rx_enable"):
            if not getattr(self._kernel.sysctl, knob):
                raise SocketError(errno.ENOTSUP, f"kern.ipc.tls.{knob} is 0")
        self._kernel.stats["enable_calls"] += 1
        direction = self._direction
        if direction and direction.session and self._rekey_due():
            self._rekey(direction.session, *checked(enable, self._kernel.sysctl))
            return
        if self._early or (direction and direction.enabled):
            tls12 = direction and direction.session and not direction.session.keys.tls13
            raise SocketError(errno.EBUSY if tls12 else errno.EALREADY, "receive has its keys")
        keys, number = checked(enable, self._kernel.sysctl)
        if self._listening:
            raise SocketError(errno.EINVAL, "a listening socket")
        if direction is None:
            self._early = keys, number
            return
        self._enable(direction, keys, number)
        self._serve()

    def _enable(self, direction: Direction, keys: Keys, number: int) -> None:
        direction.sockbuf.enable()
        direction.session = self.session(keys, number)
        direction.new_keys = True
        library = self._flow.library if self._flow else None
        if isinstance(library, Preset):
            library.learn(keys)

    def _rekey(self, session: Session, keys: Keys, number: int) -> None:
        """RFC 8446, RFC 9846 section 4.6.3: a KeyUpdate changes the secret, never version or cipher."""
        direction = self._direction
        assert direction is not None
        if (keys.version, keys.suite.family, len(keys.key)) != (
            session.keys.version,
            session.keys.suite.family,
            len(session.keys.key),
        ):
            raise SocketError(errno.EINVAL, "another version or cipher than before")
        direction.held = False
        direction.new_keys = True
        session.rekey(keys, number)
        self._serve()

    @property
    def _reset(self) -> bool:
        """INP_DROPPED: TCP has given the connection up, after which tcp_ctloutput refuses every option of its own."""
        reset = self._flow is not None and self._flow.connection.end == "rst"
        return reset or self._dropped or (self._direction is not None and self._direction.reassembly.reset)

    def _rekey_due(self) -> bool:
        return self._direction is not None and self._direction.held

    def _fail(self, name: str, text: str) -> None:
        self.so_error = getattr(errno, name)
        self._error_text = text

    def _raw_waits(self) -> bool:
        direction = self._direction
        return bool(self._raw) or (direction is not None and not direction.sockbuf.tls and direction.sockbuf.acc > 0)

    def _at_end(self) -> bool:
        """End of file: receive is closed, and no byte is still to become a record."""
        sockbuf = self._direction.sockbuf if self._direction else None
        return self.cannot_receive_more and (
            sockbuf is None or self._truncated or not (sockbuf.tlscc or sockbuf.tlsdcc or self._dropped)
        )

    def _raw_read(self, size: int, flags: int) -> Received:
        """No record is finished: bytes from before kTLS, or the error, or the end, or nothing yet."""
        direction = self._direction
        if self._raw_waits():
            if self._raw:
                data = self._raw[:size]
                self._raw = self._raw if flags & Msg.PEEK else self._raw[size:]
                return Received(data, None, Msg(0))
            assert direction is not None
            data = direction.sockbuf.peek(min(size, direction.sockbuf.waiting))
            if not flags & Msg.PEEK:
                direction.sockbuf.read(len(data))
                direction.ledger.fate("byte.preamble", len(data))
            return Received(data, None, Msg(0))
        if self.so_error:
            error = self.so_error
            if not flags & Msg.PEEK:
                self.so_error = 0
            raise SocketError(error, self._error_text)
        if self._at_end():
            return Received(b"", None, Msg(0))
        if self._dropped:
            raise SocketError(errno.ENOTCONN, "the connection was dropped")
        if not size:
            return Received(b"", None, Msg(0))  # soreceive_generic: whoever asks for nothing does not wait for it
        if self._rekey_due():
            raise SocketError(errno.EKEYEXPIRED, "the peer has sent a KeyUpdate")
        raise SocketError(errno.EAGAIN, "no record is whole")
