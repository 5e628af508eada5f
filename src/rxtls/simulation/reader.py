"""The application behind a kTLS socket at the end of a simulated link: it makes the window that the sender honours.

Link.run ──► frames ──► ReceivePath ──► Socket ──► recvmsg ──► SocketReader.received
   ▲                                      │
   └────────── right edge of the window ──┘
"""

from __future__ import annotations

import errno

from rxtls.errors import SocketError
from rxtls.host.socket.socket import Received, Socket
from rxtls.path.receive import ReceivePath
from rxtls.simulation.link_model import LinkFrame


class SocketReader:
    """Reads `size` bytes at most in a call: all there is after each frame, or, with a `pause_ns`, one call a pause.

    `received` are the answers that brought something, `errors` the names of the errnos that did not.
    """

    def __init__(self, path: ReceivePath, socket: Socket, size: int = 1 << 16, pause_ns: int = 0) -> None:
        self.pause_ns = pause_ns
        self.received: list[Received] = []
        self.errors: list[str] = []
        self.ended = False
        self._path = path
        self._socket = socket
        self._size = size
        self._frames = 0

    @property
    def waits(self) -> bool:
        """Something can be read, and it is not its time yet."""
        return self.pause_ns > 0 and not self.ended and self._socket.poll()

    def take(self, frames: list[LinkFrame]) -> int:
        """Frames to the path; up to where there is room."""
        self._path.receive(enumerate(frames, self._frames))
        self._frames += len(frames)
        while not self.pause_ns and self._read():
            pass
        return self._socket.edge

    def wake(self) -> int:
        """One call of recvmsg."""
        self._read()
        return self._socket.edge

    def _read(self) -> bool:
        if self.ended:
            return False
        try:
            got = self._socket.recvmsg(self._size)
        except SocketError as error:
            if error.errno == errno.EAGAIN:
                return False
            self.errors.append(error.name)
            return True
        self.ended = not got.data and got.control is None
        if not self.ended:
            self.received.append(got)
        return not self.ended
