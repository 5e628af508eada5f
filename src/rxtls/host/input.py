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

    @property
    def changed(self) -> bool:
        """Interfaces have come or gone: packets have to be looked at one by one."""
        return bool(self._changes)

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

    def receive(self, mbuf: Mbuf, vlans: tuple[int, ...]) -> Mbuf | None:
        """The packet as TCP gets it, or None: its interface is gone."""
        port = self._interfaces.at(mbuf.leaf)
        if port is None:  # a capture interface that the tree does not know: no receive tag can be there
            return replace(mbuf, leaf=LEAF_NONE)
        stamp = self._stamp(port, mbuf.arrivals[-1][1])
        leaf = self._interfaces.restore(stamp)
        over = bool(self._interfaces.above(port))
        rcvif = self._interfaces.received_on(port, vlans) if over else leaf
        if rcvif is None or stamp == NOWHERE:
            self._ledger.fate("byte.interface_gone", len(mbuf.data))
            return None
        return mbuf if leaf else replace(mbuf, leaf=LEAF_NONE)

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
