"""Which packets came by the same interface, whatever number their capture has for it.

A capture numbers its interfaces, and another file, or the next section, numbers them anew. To the NIC and the host an
interface is one number: of a port of the tree `Interface.leaf`, else the first number under which the captures have it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from rxtls.intake.batch import LEAF
from rxtls.offload.interface import Interface, Interfaces

CAPTURE = 0xFFFF_FFFF  # of a leaf, the capture interface; above it Linux's ifindex (intake/steer.py)


class Leaves:
    """`tree` has the ports, if there is one; `same` gives the first capture interface that is the same as this one.

    `unknown` are leaves by which packets came that no port of the tree is.
    """

    def __init__(self, tree: Interfaces | None = None, same: Callable[[int], int] | None = None) -> None:
        self.unknown: set[int] = set()
        self._tree = tree
        self._same = same
        self._known: dict[int, int] = {-1: -1}  # of END no packet
        self._captures: dict[int, int] = {-1: -1}

    def settle(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Rows of a batch, whose leaves are replaced in place."""
        leaves = rows[:, LEAF]
        if not len(leaves):
            return rows
        if (leaves == leaves[0]).all():
            rows[:, LEAF] = self._of(int(leaves[0]))
            return rows
        met, which = np.unique(leaves, return_inverse=True)
        settled = np.array([self._of(leaf) for leaf in met.tolist()], np.int64)
        if (settled != met).any():
            rows[:, LEAF] = settled[which]
        return rows

    def _of(self, leaf: int) -> int:
        here = self._known.get(leaf)
        if here is None:
            here = self._known[leaf] = self._settled(leaf)
            self._captures.setdefault(here, leaf)
        return here

    def _settled(self, leaf: int) -> int:
        if self._tree is None:
            return self._first(leaf)
        port = self._port(leaf)
        if port is None:
            self.unknown.add(leaf)
            return leaf
        return port.leaf

    def port(self, leaf: int) -> str | None:
        """The name of the port that it is, if there are any."""
        port = self._port(leaf)
        return None if port is None else port.name

    def capture(self, here: int) -> int:
        """The first leaf that was met of those that are this one."""
        return self._captures[here]

    def _port(self, leaf: int) -> Interface | None:
        return None if self._tree is None else self._tree.at(leaf) or self._tree.at(self._first(leaf))

    def _first(self, leaf: int) -> int:
        return leaf if self._same is None else self._same(leaf & CAPTURE) | leaf & ~CAPTURE
