"""How far apart the clocks of captures are: by packets that both have seen.

Two taps of one link see the same packets, each by its own clock. Merged by time as it stands, what one tap has missed
comes from the other as much too late as the clocks are apart: long after the window has moved on, or the connection has
ended. So the first frames of each capture are compared with those of the captures before it. If many packets are the
same, and nearly all of them by the same time apart, that is how far its clock is ahead. (Captures at both ends of a
path differ by other times in each direction, and are left alone.)
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from statistics import median

from rxtls.wire.capture import Frame
from rxtls.wire.frame import parse

MOST = 8  # captures that are compared: a ring's pieces follow each other
FRAMES = 1024  # of each that are looked at
ENOUGH = 16  # packets that must be the same,
AGREE = 0.9  # this share of them by the same time apart,
WITHIN_NS = 1_000_000  # give or take so much

Key = tuple[bytes, bytes, int, int, int, int, int, int, int, int, int]
Sample = dict[Key, int]  # packets that were seen once, and when


def sample(frames: Iterable[Frame]) -> Sample:
    """The first packets of a capture."""
    seen: Sample = {}
    again: set[Key] = set()
    for frame in islice(frames, FRAMES):
        packet = parse(frame.link_type, frame.data, frame.wire_length, False)
        if isinstance(packet, str):
            continue
        key = (
            packet.src, packet.dst, packet.sport, packet.dport, packet.seq, packet.ack, packet.flags, packet.window,
            packet.payload_length, packet.field, packet.ip_id,
        )  # fmt: skip
        if seen.setdefault(key, frame.time_ns) != frame.time_ns:
            again.add(key)
    for key in again:
        del seen[key]
    return seen


def ahead(one: Sample, other: Sample) -> int | None:
    """By how many ns the clock of `other` is ahead of that of `one`; None if they have too little in common to tell."""
    apart = [other[key] - one[key] for key in one.keys() & other.keys()]
    if len(apart) < ENOUGH:
        return None
    by = int(median(apart))
    close = sum(abs(each - by) <= WITHIN_NS for each in apart)
    return by if close >= AGREE * len(apart) else None
