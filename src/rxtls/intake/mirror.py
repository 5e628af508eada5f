"""The same packet seen twice, because the capture looked twice: mirror ports, bond and slave, a router.

A second sight is no second packet: the receiver's NIC saw one. But the wire duplicates packets too, and those count.
The rule: a packet is a mirrored copy only if it was seen on another place (interface, VLAN depth, link type, or way
through tunnels: kinds, ids, outer addresses) within 10 ms, and is the same packet:

    compared                                             not compared
    the numbers of the TCP header: ports, sequence,      Ethernet addresses, TTL: a router between the places
      acknowledgement, flags, window, header length        changes them
    the IP identification                                VLAN ids: the copy on the trunk has one, the copy behind it
    the checksum as it was sent, and the sum as it came    not
    how much of the payload was captured

Sent checksum and sum together stand for all other bytes, options and payload, so that none of them is read again. Two
packets with all this in common, within 10 ms, are two sights of one. What was sent with other bytes has another
checksum, and what was damaged on the way another sum: but for what no checksum finds, once in 65,535 times. The
identification tells a retransmission that came by another leaf of a LAG a millisecond later from a copy; IPv6 has none.
A place is judged against the accepted first sight, so a third copy falls as the second did. On one place only, whatever
is seen again is a duplicate of the wire.

What was seen is kept for the whole run, the latest BOUND packets of it: so its cost does not depend on how many
connections there are.
"""

from __future__ import annotations

from collections import deque

from rxtls.wire.frame import Packet

WITHIN_NS = 10_000_000
# 10 ms at 6.5 million packets a second. Beyond, a copy counts as a duplicate of the wire: harmless, its bytes have been
# received. A power of two, as the compiled twin has it.
BOUND = 65_536

Place = tuple[int, int, int, int]  # leaf, VLAN depth, link type, tunnels.path
Identity = tuple[int, ...]


def identity(packet: Packet) -> Identity:
    """What two copies of one packet share."""
    return (
        packet.sport,
        packet.dport,
        packet.seq,
        packet.ack,
        packet.flags,
        packet.window,
        packet.option_length,
        packet.ip_id,
        packet.captured_length,
        packet.field,
        packet.sum,
    )


class Home:
    """Where the packets of one 4-tuple are seen, over its generations: that of the first one is `place`.

    `single` says that none was seen elsewhere, and so nothing can be mirrored.
    """

    __slots__ = ("number", "place", "single")

    def __init__(self, place: Place, number: int = 0) -> None:
        self.place = place
        self.number = number  # in order of time
        self.single = True


class Sights:
    """The latest BOUND accepted packets of a run, by home and identity."""

    __slots__ = ("_accepted", "_order", "_seen")

    def __init__(self) -> None:
        self._accepted = 0
        self._order: deque[tuple[Home, Identity]] = deque()
        self._seen: dict[tuple[Home, Identity], tuple[int, int, Place]] = {}

    def __len__(self) -> int:
        return len(self._order)

    def mirrored(self, home: Home, identity: Identity, time_ns: int, place: Place) -> bool:
        """True when the packet was accepted on another place within 10 ms."""
        if place != home.place:
            home.single = False
        elif home.single:
            return False
        return self.elsewhere(home, identity, time_ns, place)

    def elsewhere(self, home: Home, identity: Identity, time_ns: int, place: Place) -> bool:
        """The same, of a home whose packet it may not be."""
        seen = self._seen.get((home, identity))
        return seen is not None and seen[2] != place and abs(time_ns - seen[1]) <= WITHIN_NS

    def accept(self, home: Home, identity: Identity, time_ns: int, place: Place) -> None:
        """Remember a packet that entered the flow."""
        key = home, identity
        self._order.append(key)
        self._seen[key] = (self._accepted, time_ns, place)
        self._accepted += 1
        if len(self._order) > BOUND:
            oldest = self._order.popleft()
            if self._seen[oldest][0] == self._accepted - BOUND - 1:  # else it was seen again since
                del self._seen[oldest]
