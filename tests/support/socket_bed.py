"""A socket under test: bytes to segments to device to socket, as the kernel gets them. Nobody is called directly.

    bed.send(bytes) ──► TCP segments ──► ReceivePath ──► bed.socket.recvmsg

The client sends, the server has the socket, flow 0. Segments are acknowledged by nobody, which the path does not mind.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence

import pytest

from rxtls.crypto.keys import Keys
from rxtls.crypto.records import Sealer
from rxtls.device.profiles import Profile, profile
from rxtls.errors import SocketError
from rxtls.events import Record
from rxtls.handshake.library import Preset
from rxtls.host.socket.enable import TlsEnable
from rxtls.host.socket.socket import IPPROTO_TCP, TCP_RXTLS_ENABLE, TCP_RXTLS_MODE, Msg, Received, Socket
from rxtls.host.sysctl import Sysctl
from rxtls.offload.interface import Interfaces
from rxtls.path.receive import PathOptions, ReceivePath
from rxtls.seq import add
from rxtls.simulation.link import LinkFrame
from rxtls.simulation.link_model import CLIENT, SERVER
from rxtls.wire.packets import ACK, FIN, PSH, RST, SYN, Headers, syn_options

MSS = 1448
WINDOW = 0xFFFF


class Bed:
    """One connection whose server has a socket. `profile_name` "none" is software kTLS."""

    def __init__(
        self,
        profile_name: str | Profile = "connectx-6dx",
        engine: str = "auto",
        sysctl: Sysctl | None = None,
        isn: int = 0xFFFF_F000,
        settings: dict[str, str] | None = None,
        connect: bool = True,
        interfaces: Interfaces | None = None,
    ) -> None:
        chosen = profile(profile_name, settings) if isinstance(profile_name, str) else profile_name
        options = PathOptions(profile=chosen, engine=engine, sysctl=sysctl or Sysctl(), interfaces=interfaces)
        self.path = ReceivePath(options=options, library=lambda _: Preset(None))
        self.socket: Socket = self.path.socket(0, "server")
        self.records: list[Record] = []
        self.seq = isn
        self.interface = 0
        self._out, self._back = Headers(CLIENT, SERVER), Headers(SERVER, CLIENT)
        self.frames = 0
        self._time = 1_750_000_000_000_000_000
        if connect:
            self.connect()

    def connect(self) -> None:
        """The three-way handshake."""
        self.frame(self._out.frame(add(self.seq, -1), 0, SYN, WINDOW, b"", syn_options(MSS, 8)))
        self.frame(self._back.frame(999, self.seq, SYN | ACK, WINDOW, b"", syn_options(MSS, 8)))
        self.frame(self._out.frame(self.seq, 1000, ACK, WINDOW, b""))

    def enable(self, keys: Keys, number: int = 0) -> None:
        """setsockopt with these keys."""
        self.set(TlsEnable.of(keys, number))

    def set(self, enable: TlsEnable) -> None:
        """setsockopt."""
        self.socket.setsockopt(IPPROTO_TCP, TCP_RXTLS_ENABLE, enable)

    def send(self, data: bytes, mss: int = MSS) -> None:
        """Bytes of the stream, in segments of `mss`."""
        for at in range(0, len(data), mss):
            piece = data[at : at + mss]
            self.segment(0, piece)
            self.seq = add(self.seq, len(piece))

    def segment(self, ahead: int, data: bytes, flags: int = ACK | PSH) -> None:
        """One segment, `ahead` bytes beyond what was sent in order."""
        self.frame(self._out.frame(add(self.seq, ahead), 1000, flags, WINDOW, data))

    def fin(self) -> None:
        """The client closes its side: the server's socket can receive no more."""
        self.segment(0, b"", ACK | FIN)
        self.seq = add(self.seq, 1)

    def reset(self) -> None:
        """The client resets the connection."""
        self.segment(0, b"", RST | ACK)

    def answer_reset(self) -> None:
        """The server resets the connection."""
        self.frame(self._back.frame(1000, self.seq, RST | ACK, WINDOW, b""))

    def close(self) -> None:
        """The server closes too, and all is acknowledged."""
        self.frame(self._back.frame(1000, self.seq, ACK | FIN, WINDOW, b""))
        self.frame(self._out.frame(self.seq, 1001, ACK, WINDOW, b""))

    def frame(self, data: bytes) -> None:
        """One frame through the whole path."""
        self._time += 10_000
        self.records += self.path.receive([(self.frames, LinkFrame(self._time, data, self.interface))])
        self.frames += 1

    def finish(self) -> None:
        """The input ends; the books balance."""
        self.records += self.path.finish()
        assert self.path.ledger.balance() == 0

    @property
    def mode(self) -> int:
        """TCP_RXTLS_MODE."""
        return self.socket.getsockopt(IPPROTO_TCP, TCP_RXTLS_MODE)

    def read(self, size: int = 1 << 16, flags: int = 0) -> Received:
        """recvmsg."""
        return self.socket.recvmsg(size, flags)

    def refused(self, number: int, size: int = 1 << 16, flags: int = 0) -> None:
        """recvmsg, which has to fail with this errno."""
        with pytest.raises(SocketError) as caught:
            self.socket.recvmsg(size, flags)
        assert caught.value.name == errno.errorcode[number]

    def everything(self) -> list[tuple[int, bytes]]:
        """(type, payload) of every record up to the end of file or EAGAIN, put together from pieces."""
        found: list[tuple[int, bytes]] = []
        while True:
            try:
                got = self.read(5000)
            except SocketError as error:
                if error.errno != errno.EAGAIN:
                    raise
                return found
            if got.control is None and not got.data:
                return found
            if got.control:
                found.append((got.control.type, got.data))
            else:
                found[-1] = (found[-1][0], found[-1][1] + got.data)


def sealed(keys: Keys, payloads: Sequence[bytes], number: int = 0, type: int = 23) -> bytes:  # noqa: A002
    """Records, one after the other."""
    sealer = Sealer(keys)
    return b"".join(sealer.seal(number + n, type, payload) for n, payload in enumerate(payloads))


EOR = Msg.EOR
EOF = Received(b"", None, Msg(0))
