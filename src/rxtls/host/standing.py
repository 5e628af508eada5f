"""Which record headers a host knows at a host point: a walk by the lengths, over holes that hide no header.

The walk begins at the first record that is not whole and goes over what has been received, in order or not. What it
reads is not authenticated yet; nor is what the device reads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from rxtls.crypto.keys import RECORD_HEADER, Keys
from rxtls.offload.commands import Standing
from rxtls.seq import add, distance

Piece = tuple[int, bytes | memoryview]  # TCP sequence number of the first byte, bytes


def walk(keys: Keys, number: int, start: int, chain: Sequence[Piece], held: Iterable[Piece]) -> Standing:
    """The standing of a direction whose next record has this `number` and begins at `start`.

    `chain` is what waits on the socket buffer from there on, `held` what is out of order behind it; both in stream
    order and disjoint.
    """
    pieces = deque((distance(start, seq), data) for seq, data in (*chain, *held))
    waiting = sum(len(data) for _, data in chain)
    top = max((offset + len(data) for offset, data in pieces), default=0)
    places = [(start, number)]
    at, in_order = 0, 0
    while header := _header(pieces, at):
        total = RECORD_HEADER + (header[3] << 8 | header[4])
        if header[1] != 3 or header[2] != 3 or not keys.min_total <= total <= keys.max_total:
            break
        in_order += at + RECORD_HEADER <= waiting
        at += total
        number += 1
        places.append((add(start, at), number))
    return Standing(tuple(places), in_order, waiting, add(start, top))


def _header(pieces: deque[tuple[int, bytes | memoryview]], at: int) -> bytes:
    """The record header at offset `at`, or nothing if it has not come whole. What lies before it is let go of."""
    while pieces and pieces[0][0] + len(pieces[0][1]) <= at:
        pieces.popleft()
    header = b""
    for offset, data in pieces:
        if offset > at + len(header) or len(header) == RECORD_HEADER:
            break
        header += bytes(data[at + len(header) - offset : at + RECORD_HEADER - offset])
    return header if len(header) == RECORD_HEADER else b""
