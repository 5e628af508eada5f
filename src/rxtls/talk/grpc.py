"""gRPC's messages in a body: a byte (compressed or not), a length of four, and so many bytes; counted, not read."""

from __future__ import annotations


class Prefixed:
    """Counts the messages that begin in a body, however it is cut."""

    def __init__(self) -> None:
        self.messages = 0
        self._head = b""
        self._left = 0

    def take(self, data: bytes) -> None:
        """Some more of the body."""
        at = 0
        while at < len(data):
            if self._left:
                step = min(self._left, len(data) - at)
                self._left -= step
                at += step
                continue
            step = 5 - len(self._head)
            self._head += data[at : at + step]
            at += step
            if len(self._head) == 5:
                self._left = int.from_bytes(self._head[1:])
                self._head = b""
                self.messages += 1
