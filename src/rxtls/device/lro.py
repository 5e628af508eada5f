"""Large receive offload: consecutive segments of one flow that share mark and leaf become one longer Mbuf.

The mark is part of the flow key, as FreeBSD's LRO_FLAG_DECRYPTED is: decrypted and encrypted bytes are never joined. A
flow has one open run. When a segment does not continue it, the run is closed first and the segment opens the next, so
runs leave in the order in which they came (upstream keeps two entries per flow and lets them overtake each other).
"""

from __future__ import annotations

from rxtls.intake.batch import ACK, PSH
from rxtls.offload.mbuf import Arrival, Mbuf
from rxtls.seq import add, distance

MAX_RUN = 65535  # an IP packet's length field, which is what upstream's LRO rebuilds

_JOINABLE = ACK | PSH


class Lro:
    """The runs of one flow since its last host point."""

    __slots__ = ("_closed", "_limit", "_open", "_pieces", "_size")

    def __init__(self, limit: int = MAX_RUN) -> None:
        self._limit = limit
        self._closed: list[Mbuf] = []
        self._open: Mbuf | None = None
        self._pieces: list[bytes] = []
        self._size = 0

    def add(
        self,
        seq: int,
        data: bytes,
        mark: int,
        leaf: int,
        flags: int,
        arrival: tuple[int, int],
        acked: int,
        edge: int,
    ) -> None:
        """Take one segment in; `arrival` is (global frame index, capture time in ns)."""
        length = len(data)
        # What the receiver's window did not cover is judged by the window of its own moment, so it stays alone.
        beyond = edge >= 0 and distance(edge, add(seq, length)) > 0
        joinable = not beyond and length > 0 and not flags & ~_JOINABLE
        run = self._open
        if (
            run is not None
            and joinable
            and run.mark == mark
            and run.leaf == leaf
            and self._size + length <= self._limit
            and add(run.seq, self._size) == seq
        ):
            self._pieces.append(data)
            self._size += length
            run.arrivals.append((self._size, *arrival))
            run.flags |= flags
            run.acked = acked
            run.edge = edge
            return
        self._close()
        arrivals: list[Arrival] = [(length, *arrival)]
        mbuf = Mbuf(seq, data, mark, leaf, flags, arrivals, acked, edge)
        if joinable:
            self._open = mbuf
            self._pieces = [data]
            self._size = length
        else:
            self._closed.append(mbuf)

    @property
    def any(self) -> bool:
        """Whether there is anything to flush."""
        return self._open is not None or bool(self._closed)

    def flush(self) -> list[Mbuf]:
        """Everything taken in since the last flush, in order."""
        self._close()
        runs, self._closed = self._closed, []
        return runs

    def _close(self) -> None:
        if self._open is not None:
            if len(self._pieces) > 1:
                self._open.data = b"".join(self._pieces)
            self._closed.append(self._open)
            self._open = None
