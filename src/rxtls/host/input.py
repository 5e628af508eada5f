"""Input: from the leaf on which a packet arrived to the interface that it is received on, and over queues.

    port ──► if_input of LAGG, VLAN: rcvif is theirs now, the leaf stays ──► queue: (index, generation) ──► TCP

Between the NIC and the host a packet may wait (LRO, netisr) while its interface goes away. What it refers to is then
restored or not: a *leaf* that is gone is leaf none, and the data is as good as ever; an rcvif that is gone is a drop,
as ip_input does with packets of a dying interface. A leaf that came back meanwhile is another one: also none.

Which generation an interface had when a packet arrived is told by the packet's frame, so nothing need be carried along.
"""

from __future__ import annotations

from dataclasses import replace

from rxtls.counters import Ledger
from rxtls.offload.interface import NOWHERE, Interface, Interfaces, Stamp
from rxtls.offload.mbuf import Mbuf

LEAF_NONE = -1


class Input:
    """The input side of one host's interfaces."""

    def __init__(self, interfaces: Interfaces, ledger: Ledger) -> None:
        self._interfaces = interfaces
        self._ledger = ledger
        self._changes: dict[str, list[tuple[int, int | None]]] = {}  # (from frame, generation or None: detached)

    def detach(self, name: str, frame: int) -> Interface:
        """From `frame` on there is no such interface."""
        interface = self._interfaces.detach(name)
        self._note(interface, frame)
        return interface

    def attach(self, name: str, frame: int) -> Interface:
        """From `frame` on it is there again, as another one."""
        interface = self._interfaces.attach(name)
        self._note(interface, frame)
        return interface

    def receive(self, mbuf: Mbuf, vlans: tuple[int, ...]) -> list[Mbuf]:
        """The packets of an LRO run as TCP gets them; those whose interface is gone are not among them."""
        port = self._interfaces.at(mbuf.leaf)
        if port is None:  # a capture interface that the tree does not know: no receive tag can be there
            return [replace(mbuf, leaf=LEAF_NONE)]
        alone = not self._interfaces.above(port)  # the port itself is what its packets are received on
        rcvif = None if alone else self._interfaces.received_on(port, vlans)
        passed = []
        for stamp, piece in self._pieces(port, mbuf):
            leaf = self._interfaces.restore(stamp)
            if stamp == NOWHERE or (leaf if alone else rcvif) is None:
                self._ledger.fate("byte.interface_gone", len(piece.data))
            else:
                passed.append(piece if leaf else replace(piece, leaf=LEAF_NONE))
        return passed

    def _pieces(self, port: Interface, mbuf: Mbuf) -> list[tuple[Stamp, Mbuf]]:
        """An LRO run, cut where the interface went or came: where LRO cut must not matter."""
        if port.name not in self._changes or len(mbuf.arrivals) == 1:
            return [(self._stamp(port, mbuf.arrivals[-1][1]), mbuf)]
        found: list[tuple[Stamp, int, int]] = []
        start = 0
        for end, frame, _ in mbuf.arrivals:
            stamp = self._stamp(port, frame)
            if found and found[-1][0] == stamp:
                found[-1] = stamp, found[-1][1], end
            else:
                found.append((stamp, start, end))
            start = end
        return [(stamp, mbuf.cut(start, end)) for stamp, start, end in found]

    def _stamp(self, port: Interface, frame: int) -> Stamp:
        """What a packet was stamped with that arrived on `port` in this frame."""
        generation: int | None = 0
        for since, then in self._changes.get(port.name, ()):
            if since <= frame:
                generation = then
        return NOWHERE if generation is None else Stamp(port.index, generation)

    def _note(self, interface: Interface, frame: int) -> None:
        generation = interface.generation if interface.attached else None
        self._changes.setdefault(interface.name, []).append((frame, generation))
