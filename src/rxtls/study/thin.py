"""Thinning: what a person sees of a million segments, in as few pieces as a page can hold, and nothing invented.

A piece is a rectangle in time and sequence space with one colour:

    offset                 merge      pieces that touch and have one colour become one: nothing is lost but
      |        ___|                   the frames between its first and its last
      |   ___||                       (an undisturbed transfer of any length is one piece)
      |  |                 coarsen    what is still too much: within a slot of time, what has one colour becomes the
      +------------ time              rectangle around it, and `count` says how much it stands for

The budget of a page is shared out so that who needs little gets all of it, and the rest is equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Pieces:
    """Columns of one length, in order of `start`. `colour` is a code; `first` and `last` are frames or numbers."""

    start: Vector  # time of the first, ns
    end: Vector  # and of the last
    low: Vector  # offset of the lowest byte
    high: Vector  # behind the highest
    colour: Vector
    first: Vector
    last: Vector
    count: Vector

    def __len__(self) -> int:
        return len(self.start)


def pieces(time: Vector, low: Vector, high: Vector, colour: Vector, names: Vector) -> Pieces:
    """One piece for each thing, in order of time. `names` are the frames, or the record numbers."""
    return Pieces(time, time, low, high, colour, names, names, np.ones(len(time), np.int64))


def thinned(given: Pieces, most: int) -> Pieces:
    """At most about `most` pieces (never fewer than one for each colour of a slot)."""
    if len(given) <= most:
        return given
    merged = _grouped(given, _runs(given))
    if len(merged) <= most:
        return merged
    # The number of pieces grows with that of slots; the largest that fits is found by halving.
    begin, span = int(merged.start[0]), max(1, int(merged.end.max() - merged.start[0]))
    few, many = 1, most
    while many - few > 1:
        slots = (few + many) // 2
        if len(np.unique(_slots(merged, begin, span, slots))) <= most:
            few = slots
        else:
            many = slots
    return _grouped(merged, _slots(merged, begin, span, few))


def shares(needs: Sequence[int], budget: int) -> list[int]:
    """How much of the budget each gets: all it needs, or else an equal part of what the others leave."""
    given = [0] * len(needs)
    left = budget
    order = sorted(range(len(needs)), key=lambda n: needs[n])
    for place, n in enumerate(order):
        given[n] = min(needs[n], left // (len(order) - place))
        left -= given[n]
    return given


def _runs(given: Pieces) -> Vector:
    """The same number for what touches and has one colour."""
    breaks = (given.colour[1:] != given.colour[:-1]) | (given.low[1:] != given.high[:-1])
    runs: Vector = np.concatenate(([0], np.cumsum(breaks)))
    return runs


def _slots(given: Pieces, begin: int, span: int, slots: int) -> Vector:
    """The same number for what is in one slot of time and has one colour."""
    slot: Vector = (given.start - begin) * slots // (span + 1)
    return slot * (int(given.colour.max()) + 1) + given.colour


def _grouped(given: Pieces, groups: Vector) -> Pieces:
    order = np.argsort(groups, kind="stable")
    at = np.flatnonzero(np.diff(groups[order], prepend=groups[order[0]] - 1))
    made = Pieces(
        np.minimum.reduceat(given.start[order], at),
        np.maximum.reduceat(given.end[order], at),
        np.minimum.reduceat(given.low[order], at),
        np.maximum.reduceat(given.high[order], at),
        given.colour[order][at],
        np.minimum.reduceat(given.first[order], at),
        np.maximum.reduceat(given.last[order], at),
        np.add.reduceat(given.count[order], at),
    )
    by_time = np.argsort(made.start, kind="stable")
    return Pieces(*(getattr(made, each.name)[by_time] for each in fields(Pieces)))
