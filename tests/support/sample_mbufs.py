"""Mbufs for tests of the host: made by hand, cut at will, and taken apart into single bytes again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from rxtls.intake.batch import ACK
from rxtls.offload.mbuf import WIRE, Mbuf
from rxtls.seq import MASK


def mbuf(
    seq: int,
    data: bytes = b"",
    mark: int = WIRE,
    *,
    leaf: int = 0,
    flags: int = ACK,
    frame: int = 0,
    time_ns: int = 0,
    acked: int = -1,
    edge: int = -1,
) -> Mbuf:
    """What one packet brings."""
    return Mbuf(seq & MASK, data, mark, leaf, flags, [(len(data), frame, time_ns)], acked, edge)


class Byte(NamedTuple):
    """One byte of a stream, with all that has to stay with it."""

    seq: int
    value: int
    mark: int
    leaf: int
    frame: int
    time_ns: int


def spread(mbufs: Iterable[Mbuf]) -> list[Byte]:
    """The bytes of some Mbufs one by one. Where one Mbuf ends and the next begins is forgotten."""
    out: list[Byte] = []
    for piece in mbufs:
        assert piece.arrivals[-1][0] == len(piece.data), "the arrivals end where the data does"
        at = 0
        for end, frame, time_ns in piece.arrivals:
            assert end >= at, "arrivals stand in order"
            for i in range(at, end):
                out.append(Byte((piece.seq + i) & MASK, piece.data[i], piece.mark, piece.leaf, frame, time_ns))
            at = end
    return out
