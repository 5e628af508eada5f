"""The Mbuf: what the device hands up and the host hands on, with its mark.

A mark is one int: 0 for bytes as on the wire, else the epoch under which the NIC decrypted them. The epoch counts the
keys this flow has had on the device, so that bytes decrypted under a key that is no longer right can be undone with the
key that did it. The mark is set in one place (device/nic.py) and read in three: LRO, the socket buffer, the worker.

Where one Mbuf ends and the next begins means nothing: LRO may cut a run anywhere, and no verdict, counter or event may
depend on it. Hence `arrivals`, which keeps for each stretch of bytes the frame that brought it.

    seq            seq + len(data)
     |----------------|            arrivals = [(1448, frame 7, t7), (2896, frame 9, t9), ...]
     0      1448    2896           each entry: bytes up to this offset came with this frame; frames ascend
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

WIRE = 0  # the mark of bytes as they were on the wire

Arrival = tuple[int, int, int]  # (end offset in data, global frame index, capture time in ns)


@dataclass(slots=True)
class Mbuf:
    """A stretch of one direction's bytes that share a mark and a leaf interface.

    `seq` is the TCP sequence number of the first byte of `data` (for a SYN, of the SYN itself); `flags` are TCP flags
    as in intake/batch.py; `acked` and `edge` are what the receiver had acknowledged and advertised (-1 unknown) when
    the last of these bytes arrived.
    """

    seq: int
    data: bytes = field(repr=False)  # plaintext, where it is marked
    mark: int
    leaf: int
    flags: int
    arrivals: list[Arrival]
    acked: int
    edge: int

    def cut(self, start: int, end: int) -> Mbuf:
        """Bytes [start, end) of this Mbuf as a new one; the mark and the arrivals go with them."""
        arrivals = self.arrivals
        if len(arrivals) > 1:  # those that brought any of these bytes
            first = bisect_left(arrivals, (start + 1,))
            arrivals = arrivals[first : bisect_left(arrivals, (end,), first) + 1]
        cut = [(stop - start, frame, time_ns) for stop, frame, time_ns in arrivals if stop > start]
        if cut:
            cut[-1] = (end - start, *cut[-1][1:])
        return Mbuf(
            (self.seq + start) & 0xFFFF_FFFF,
            self.data[start:end],
            self.mark,
            self.leaf,
            self.flags,
            cut,
            self.acked,
            self.edge,
        )


def latest(chain: Sequence[Mbuf]) -> tuple[int, int]:
    """(frame, capture time in ns) of the last packet that brought any of these bytes; none of the Mbufs is empty."""
    if len(chain) == 1:
        return chain[0].arrivals[-1][1:]
    return max(mbuf.arrivals[-1][1:] for mbuf in chain)
