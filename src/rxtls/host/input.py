"""Input: from the leaf on which a packet arrived to the interface that it is received on, and over queues.

    port ──► if_input of LAGG, VLAN: rcvif is theirs now, the leaf stays ──► queue: (index, generation) ──► TCP

Between the NIC and the host a packet may wait (LRO, netisr) while its interface goes away. What it refers to is then
restored or not: a *leaf* that is gone is leaf none, and the data is as good as ever; an rcvif that is gone is a drop,
as ip_input does with packets of a dying interface. A leaf that came back meanwhile is another one: also none.

Which generation an interface had when a packet arrived is told by the packet's frame, so nothing need be carried along.
What a packet passes on its way up has to be there when it arrives (a VLAN over a LAGG that is gone receives nothing);
what waits is only what it was received on.
"""

from __future__ import annotations

from dataclasses import replace

from rxtls.counters import Ledger
from rxtls.offload.interface import NOWHERE, Interface, Interfaces, Stamp
from rxtls.offload.mbuf import Mbuf

LEAF_NONE = -1
BEFORE_ALL = -1


class Input:
    """The input side of one host's interfaces. A LAGG's standby port receives, as with lagg.failover_rx_all=1."""

    def __init__(self, interfaces: Interfaces, ledger: Ledger) -> None:
        self.interfaces = interfaces
        self._ledger = ledger
        self._changes: dict[str, list[tuple[int, int | None]]] = {}  # (from frame, generation or None: detached)

    def detach(self, name: str, frame: int) -> Interface:
        """From `frame` on there is no such interface."""
        self._begin(name)
        interface = self.interfaces.detach(name)
        self._changes[name].append((frame, None))
        return interface

    def attach(self, name: str, frame: int) -> Interface:
        """From `frame` on it is there again, as another one."""
        self._begin(name)
        interface = self.interfaces.attach(name)
        self._changes[name].append((frame, interface.generation))
        return interface

    def receive(self, mbuf: Mbuf, vlans: tuple[int, ...]) -> list[Mbuf]:
        """The packets of an LRO run as TCP gets them; those whose interface is gone are not among them."""
        port = self.interfaces.at(mbuf.leaf)
        if port is None:  # a capture interface that the tree does not know: no receive tag can be there
            return [replace(mbuf, leaf=LEAF_NONE)]
        way = self.interfaces.received_on(port, vlans)
        passed = []
        for stamps, piece in self._pieces(way, mbuf):
            if not stamps or NOWHERE in stamps or self.interfaces.restore(stamps[-1]) is None:
                self._ledger.fate("byte.interface_gone", len(piece.data))
            else:
                passed.append(piece if self.interfaces.restore(stamps[0]) else replace(piece, leaf=LEAF_NONE))
        return passed

    def _pieces(self, way: list[Interface], mbuf: Mbuf) -> list[tuple[list[Stamp], Mbuf]]:
        """An LRO run, cut where an interface on the way went or came: where LRO cut must not matter."""
        if len(mbuf.arrivals) == 1 or not any(each.name in self._changes for each in way):
            return [(self._stamps(way, mbuf.arrivals[-1][1]), mbuf)]
        found: list[tuple[list[Stamp], int, int]] = []
        start = 0
        for end, frame, _ in mbuf.arrivals:
            stamps = self._stamps(way, frame)
            if found and found[-1][0] == stamps:
                found[-1] = stamps, found[-1][1], end
            else:
                found.append((stamps, start, end))
            start = end
        return [(stamps, mbuf.cut(start, end)) for stamps, start, end in found]

    def _stamps(self, way: list[Interface], frame: int) -> list[Stamp]:
        """What a packet was stamped with that arrived in this frame, by each interface on its way up."""
        return [self._stamp(each, frame) for each in way]

    def _stamp(self, interface: Interface, frame: int) -> Stamp:
        changes = self._changes.get(interface.name)
        if changes is None:
            return interface.stamp if interface.attached else NOWHERE
        generation = next((then for since, then in reversed(changes) if since <= frame), None)
        return NOWHERE if generation is None else Stamp(interface.index, generation)

    def _begin(self, name: str) -> None:
        """Before its first change in this run: how it was."""
        interface = self.interfaces[name]
        was = interface.generation if interface.attached else None
        self._changes.setdefault(name, [(BEFORE_ALL, was)])
