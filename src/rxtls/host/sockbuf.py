"""The socket buffer of one direction, before and after receive is enabled on the socket.

    ccc  = acc + tlscc + tlsdcc            all bytes the buffer claims; the advertised window is cut from it
    acc    readable: plain stream bytes before kTLS, finished records after
    tlscc  on the TLS chain: NOTREADY, waiting to be a whole record
    tlsdcc detached: the worker has them

    TLS chain   | header | payload  ..   | AEAD tag | header | payl |
                | mark 1 | mark 1 | mark 0 | ...                    ^ end_seq = place of the next byte of data

Bytes keep their mark through every cut. The place of a record is counted back from the end of the *data* (end_seq -
tlscc): counting from rcv_nxt, as upstream does, is off by one once the FIN has been counted.

The buffer also watches the leaf interface: the last packet header visited in stream order decides (upstream reads the
first one each time, and misses changes inside a chain).
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from rxtls.offload.mbuf import Mbuf
from rxtls.seq import MASK


class LeafChanged(NamedTuple):
    """Packets of this direction now arrive on another physical interface than before, or begin to."""

    leaf: int


class SockBuf:
    """Bytes in order, with their marks, between reassembly and the worker."""

    __slots__ = ("_chain", "_raw", "acc", "ccc", "end_seq", "kept", "leaf", "tls", "tlscc", "tlsdcc")

    def __init__(self) -> None:
        self._chain: deque[Mbuf] = deque()
        # Before kTLS, the chain's bytes in one: the TLS library looks at all that waits after each packet, and joining
        # a chain of one-byte segments anew each time would cost the square of the handshake.
        self._raw = bytearray()
        self.tls = False
        self.acc = 0
        self.tlscc = 0
        self.tlsdcc = 0
        self.ccc = 0
        self.end_seq = 0
        self.leaf = -1
        self.kept = False  # finished records stay until a socket's reader takes them; else they are read at once

    @property
    def start_seq(self) -> int:
        """TCP sequence number of the first byte that waits."""
        return (self.end_seq - (self.tlscc if self.tls else self.acc)) & MASK

    @property
    def waiting(self) -> int:
        """Bytes on the chain."""
        return self.tlscc if self.tls else self.acc

    def append(self, mbuf: Mbuf) -> LeafChanged | None:
        """Take the next bytes of the stream in."""
        length = len(mbuf.data)
        self._chain.append(mbuf)
        self.end_seq = (mbuf.seq + length) & MASK
        self.ccc += length
        if self.tls:
            self.tlscc += length
        else:
            self.acc += length
            self._raw += mbuf.data
        if mbuf.leaf in (self.leaf, -1):  # -1: a packet whose leaf is gone says nothing of where the next one comes
            return None
        self.leaf = mbuf.leaf
        return LeafChanged(mbuf.leaf)

    def enable(self) -> None:
        """TCP_RXTLS_ENABLE: what is queued moves to the TLS chain, as ciphertext that no NIC has touched."""
        self.tls = True
        self.tlscc, self.acc = self.acc, 0
        self._raw.clear()

    def peek(self, length: int) -> bytes:
        """The first `length` bytes that wait, or fewer if there are not as many."""
        if not self.tls:
            return bytes(self._raw if length >= len(self._raw) else memoryview(self._raw)[:length])
        first = self._chain[0].data if self._chain else b""
        if len(first) >= length:
            return first[:length]
        pieces: list[bytes] = []
        for mbuf in self._chain:
            pieces.append(mbuf.data[:length])
            length -= len(pieces[-1])
            if not length:
                break
        return b"".join(pieces)

    def slice(self, start: int, end: int) -> list[Mbuf]:
        """Bytes [start, end) of what waits, which stays where it is."""
        found: list[Mbuf] = []
        at = 0
        for mbuf in self._chain:
            a, b = max(at, start), min(at + len(mbuf.data), end)
            if a < b:
                found.append(mbuf if b - a == len(mbuf.data) else mbuf.cut(a - at, b - at))
            at += len(mbuf.data)
            if at >= end:
                break
        return found

    def first_arrival(self) -> tuple[int, int]:
        """(frame, capture time) of the packet that brought the first byte that waits, of which there must be one."""
        return self._chain[0].arrivals[0][1:]

    def headers(self) -> list[int]:
        """Offsets of the record headers on the chain, by their lengths; the last may be cut, or lie past the end."""
        offsets = [0]
        chain = iter(self._chain)
        head = b""
        start = end = 0  # `head` holds the chain's bytes [start, end)
        while offsets[-1] + 5 <= self.waiting:
            at = offsets[-1]
            while end < at + 5:
                data = next(chain).data
                head = head[max(0, at - start) :] + data if at < end else data
                start = at if at < end else end
                end += len(data)
            offsets.append(at + 5 + int.from_bytes(head[at - start + 3 : at - start + 5]))
        return offsets

    def pieces(self) -> list[tuple[int, bytes]]:
        """(TCP sequence number, bytes) of each Mbuf that waits."""
        return [(mbuf.seq, mbuf.data) for mbuf in self._chain]

    def read(self, length: int) -> list[Mbuf]:
        """Before kTLS: the application (its TLS library) reads `length` bytes of the stream."""
        taken = self._take(length)
        self.acc -= length
        self.ccc -= length
        del self._raw[:length]
        return taken

    def detach(self, length: int) -> list[Mbuf]:
        """The worker takes a whole record off the TLS chain."""
        taken = self._take(length)
        self.tlscc -= length
        self.tlsdcc = length
        return taken

    def hand_on(self, payload: int) -> None:
        """The detached record became `payload` readable bytes (0: it was dropped), and unless `kept` they are read."""
        self.acc += payload
        self.ccc -= self.tlsdcc - payload
        self.tlsdcc = 0
        self.check()
        if not self.kept:
            self.consume(payload)

    def consume(self, length: int) -> None:
        """The reader takes `length` bytes of finished records."""
        self.acc -= length
        self.ccc -= length

    def missing(self) -> int:
        """Bytes that the first record on the TLS chain still lacks, or its header does; 0 if the record is whole."""
        if self.tlscc < 5:
            return 5 - self.tlscc
        return max(0, 5 + int.from_bytes(self.peek(5)[3:5]) - self.tlscc)

    def flush(self) -> int:
        """Drop all that waits; how many bytes that was."""
        dropped = self.waiting + self.tlsdcc
        self._chain.clear()
        self._raw.clear()
        self.ccc -= dropped
        self.tlsdcc = 0  # the worker notices when it comes back with the record that it had detached
        if self.tls:
            self.tlscc = 0
        else:
            self.acc = 0
        return dropped

    def marks(self) -> set[int]:
        """The marks that waiting bytes carry."""
        return {mbuf.mark for mbuf in self._chain}

    def check(self) -> None:
        """Upstream's sblastrecordchk and sbcheck in one: bytes in = bytes waiting + bytes handed on."""
        assert self.ccc == self.acc + self.tlscc + self.tlsdcc, "sockbuf: ccc is not acc + tlscc + tlsdcc"
        assert (self.acc | self.tlscc | self.tlsdcc) >= 0, "sockbuf: a count is negative"

    def check_chain(self) -> None:
        """The slow check, for tests: the chain holds just the bytes that are counted."""
        self.check()
        held = sum(len(mbuf.data) for mbuf in self._chain)
        assert held == self.waiting, f"sockbuf: {held} bytes on the chain, {self.waiting} counted"

    def _take(self, length: int) -> list[Mbuf]:
        taken: list[Mbuf] = []
        chain = self._chain
        while length:
            mbuf = chain[0]
            size = len(mbuf.data)
            if size > length:
                # The remainder is shared with the next record: it keeps mark, leaf and arrivals.
                chain[0] = mbuf.cut(length, size)
                mbuf = mbuf.cut(0, length)
                size = length
            else:
                chain.popleft()
            taken.append(mbuf)
            length -= size
        return taken
