"""The same packet seen twice, because the capture looked twice: mirror ports, bond and slave, a router.

A second sight is no second packet: the receiver's NIC saw one. But the wire duplicates packets too, and those count.
The rule: a packet is a mirrored copy only if it was seen on another place (interface, VLAN depth or link type) within
10 ms, and is the same packet:

    compared                                         not compared
    the TCP segment, header and payload, to its end  Ethernet addresses, TTL: a router between the places changes them
    the IP identification                            VLAN ids: the copy on the trunk has one, the copy behind it not

The identification tells a retransmission that came by another leaf of a LAG a millisecond later from a copy; IPv6 has
none. A place is judged against the accepted first sight, so a third copy falls as the second did. On one place only,
whatever is seen again is a duplicate of the wire.

What was seen is kept per connection, so that no other traffic can push it out, and as a 64-bit keyed hash: frames are
too large to keep. Only what is younger than 10 ms can matter, so old sights are dropped as new ones come, and all of
them when the connection is quiet (steer.QUIET_NS): 10^6 quiet connections remember nothing.
"""

from __future__ import annotations

from rxtls.wire.frame import Packet

WITHIN_NS = 10_000_000
# 10 ms of one connection at 1 Gbit/s are 833 full segments. Beyond, a copy counts as a duplicate of the wire: harmless,
# its bytes have been received.
BOUND = 1024
_FEW = 16  # not worth looking through

Place = tuple[int, int, int]  # leaf, VLAN depth, link type


def identity(packet: Packet, data: bytes) -> int:
    """What two copies of one packet share; `data` is the frame that holds it."""
    return hash((packet.ip_id, data[packet.tcp_offset : packet.payload_offset + packet.captured_length]))


class Sightings:
    """The latest accepted packets of one connection, by identity.

    `home` is where the first of them was seen; `single` says that none was seen elsewhere, and nothing is mirrored.
    """

    __slots__ = ("_full", "_seen", "home", "single")

    def __init__(self, home: Place) -> None:
        self.home = home
        self.single = True
        self._seen: dict[int, tuple[int, Place]] = {}
        self._full = _FEW

    def __len__(self) -> int:
        return len(self._seen)

    def mirrored(self, identity: int, time_ns: int, place: Place) -> bool:
        """True when the packet was accepted on another place within 10 ms."""
        if place != self.home:
            self.single = False
        seen = self._seen.get(identity)
        return seen is not None and seen[1] != place and abs(time_ns - seen[0]) <= WITHIN_NS

    def accept(self, identity: int, time_ns: int, place: Place) -> None:
        """Remember a packet that entered the flow."""
        self._seen[identity] = (time_ns, self.home if place == self.home else place)
        if len(self._seen) >= self._full:
            young = [item for item in self._seen.items() if time_ns - item[1][0] <= WITHIN_NS]
            self._seen = dict(young[-BOUND:])
            self._full = max(_FEW, 2 * len(self._seen))
