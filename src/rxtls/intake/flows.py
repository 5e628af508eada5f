"""Connections and their generations: which packets belong together, and each direction's own clock.

A `Connection` is one generation of a 4-tuple and outlives it, as what is reported. A `Flow` is what must be known
while it lives; the table holds at most `max_flows` of them. Tuples are compared whole: the key is the addresses and
ports themselves, so no hash can merge two connections. VLAN ids are not in the key: a tap may see one direction tagged
and the other not (asymmetric VLANs), and a key with VLANs would tear the two apart. The first frame's ids are noted.

**Networks.** Overlays carry networks whose addresses may be the same: the ids of VXLAN, Geneve and GRE keys tell them
apart (`tunnels.network`). But a mirror session has such an id as well, and in some overlays each direction has its own.
So a packet of another network than those that are known of a flow with its tuple is of that flow if it is a copy of one
of its packets, seen elsewhere within 10 ms; or if it answers, where nothing came from its sender. Then the flow knows
its network as well, the latest MOST_IDS of them. Else it is another connection's; of MOST_NETWORKS with one tuple, the
first takes what comes beyond them, so that nobody can make the search long.

A flow without a connection is pending. Pure ACKs, and frames that are refused for their checksum but may show where the
capture was taken, carry nothing and make no connection; but what they say (acknowledged, window, vantage) must be there
when the first segment comes.

**Ends** of a generation are in ENDS. After "fin" the flow stays in the table, so that retransmitted FINs and last ACKs
find the generation they belong to. A RST does not end one here: whether it is in the window is for the host to judge
(RFC 9293 section 3.10.7.4, RFC 5961 section 3.2), who then says "rst".
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address

from rxtls.intake.batch import ACK, SYN
from rxtls.intake.evidence import Evidence
from rxtls.intake.mirror import Home
from rxtls.intake.vantage import VANTAGE, Judged, judge
from rxtls.seq import add, before, distance
from rxtls.wire.frame import Packet
from rxtls.wire.tunnels import Tunnel, network

ENDS: dict[str, str] = {
    "fin": "Both FINs were acknowledged.",
    "rst": "A RST at exactly the next expected sequence number. (Set by path/receive.py: the host judges it.)",
    "reused": "A SYN or SYN-ACK with another initial sequence number, on the same addresses and ports.",
    "idle": "No packet for longer than the idle time of the capture's clock.",
    "evicted": "The least recently used one when the table of flows was full.",
    "open": "It had not ended when the capture did.",
}

# 65,535 scaled by 14, the largest there can be, is less (RFC 7323 section 2.3).
MAX_WINDOW = 1 << 30

MOST_IDS = 4  # networks that a flow is known to come by: both directions' of two mirror sessions
MOST_NETWORKS = 16  # flows with one tuple in networks of their own
NEAR = 1 << 24  # bytes: an acknowledgement this far from what was sent answers it

_NOTHING_SAID = Judged()

_UNSEEN = -2  # no SYN of this side was seen, so its window scale is not known
_ABSENT = -1  # its SYN had no window scale option


@dataclass(slots=True)
class Connection:
    """One generation of a 4-tuple. Side 0 is endpoint `a`, side 1 endpoint `b`; receive flow 2 * id + sender's side.

    `a` is the SYN's sender, else the SYN-ACK's receiver, else, with `client_guessed`, the higher port. Should a SYN of
    the other side come late, `client_side` is 1 and `client_guessed` False: the sides stay as they are.
    `interfaces` are leaves (steer.leaf). `start_frame` made the first row; `end_frame` is the last frame of all, pure
    ACKs and latecomers included. `end` is a key of ENDS. `resegmented` counts frames that were cut into segments.
    """

    id: int
    key: bytes = field(repr=False)
    client_guessed: bool
    vlan: tuple[int, ...]
    interfaces: frozenset[int]
    start_frame: int
    end_frame: int
    evidence: Evidence | None = field(repr=False)
    forced_vantage: tuple[str, str] | None = None  # by the sender's side, the client's being 0
    client_side: int = 0
    syn_seen: tuple[bool, bool] = (False, False)
    rst_seen: bool = False
    end: str = "open"
    resegmented: int = 0
    wrong_checksums: int = 0  # frames of it that were taken in spite of a wrong checksum
    last_word: Judged = _NOTHING_SAID  # once `evidence` was dropped
    tunnels: tuple[Tunnel, ...] = ()  # that its first frame came by, outer first

    @property
    def a(self) -> tuple[str, int]:
        """Address as text, and port."""
        size = (len(self.key) - 4) // 2
        return _text(self.key[:size]), int.from_bytes(self.key[-4:-2], "big")

    @property
    def b(self) -> tuple[str, int]:
        """Address as text, and port."""
        size = (len(self.key) - 4) // 2
        return _text(self.key[size:-4]), int.from_bytes(self.key[-2:], "big")

    def judged(self) -> Judged:
        """What its own packets say about where it was captured.

        As far as *steer* has read, which is further than the batch's consumer has: good for reports at the end of a
        run, not for decisions on a row.
        """
        return self.last_word if self.evidence is None else judge(self.evidence)

    def vantage(self, side: int) -> str:
        """Of the direction in which `side` sends, by itself alone: receiver, sender, middle or unknown. What a run says
        of it follows from all connections (taps.py)."""
        if self.forced_vantage is not None:
            return self.forced_vantage[side ^ self.client_side]
        return VANTAGE[self.judged().place][side]


@lru_cache(1 << 10)
def _text(address: bytes) -> str:
    """Of many connections one end is the same, and whoever tells of one asks several times."""
    return str(ip_address(address))


class Direction:
    """What one side sent, and what its peer has said about that. All sequence numbers -1 while unknown."""

    __slots__ = ("acked", "clock", "edge", "fin_end", "first", "heard", "isn", "mss", "scale")

    def __init__(self) -> None:
        self.clock = 0
        self.isn = -1
        self.first = -1  # the first sequence number seen after the SYN, sent or, before that, acknowledged
        self.acked = -1
        self.edge = -1
        self.fin_end = -1  # the acknowledgement that acknowledges the FIN
        self.heard = -1  # the latest ack and window, as one number
        self.mss = 0  # announced by the sender of this direction
        self.scale = _UNSEEN  # of the windows advertised by the sender of this direction

    def sent(self, packet: Packet) -> None:
        """Learn from a packet of this direction."""
        seq = packet.seq
        if packet.flags & SYN:
            self.isn = seq
            seq = add(seq, 1)
            self.scale = _ABSENT if packet.window_scale is None else packet.window_scale
            self.mss = packet.mss or 0
            self.heard = -1  # the same numbers mean another window from now on
        if self.first < 0:
            self.first = seq

    def finished(self, packet: Packet) -> None:
        """Learn the place of a FIN. The first one that the receiver can take holds, as in host/reassembly.py.

        That is: not behind what was acknowledged, and not beyond the advertised edge unless it is the next expected.
        """
        start = add(packet.seq, 1) if packet.flags & SYN else packet.seq
        place = add(start, packet.payload_length)
        end = add(place, 1)
        if self.fin_end >= 0 or (self.acked >= 0 and before(end, self.acked)):
            return
        awaited = self.acked >= 0 and distance(start, self.acked) >= 0
        if self.edge < 0 or awaited or distance(place, self.edge) >= 0:
            self.fin_end = end

    def answered(self, packet: Packet, reverse: Direction) -> None:
        """Learn from an ACK for this direction, a packet of the `reverse` one. Neither value ever moves back.

        The window is scaled only if both SYNs offered it (RFC 7323 section 2.2), and never in a SYN (ibid.). An ACK of
        bytes that no window could have let out by now is a straggler of an earlier generation, or forged: it says
        nothing (in the spirit of RFC 5961 section 5; what was sent in truth is more than the capture may hold).
        """
        ack, window = packet.ack, packet.window
        heard = ack << 16 | window
        if heard == self.heard:
            return  # nothing new, as in all but a few packets of a bulk transfer
        self.heard = -1 if packet.flags & SYN else heard
        known = self.acked if self.acked >= 0 else self.first
        if known >= 0 and abs(distance(known, ack)) > MAX_WINDOW:
            return
        if self.acked < 0 or before(self.acked, ack):
            self.acked = ack
            if self.first < 0:
                self.first = ack
        if packet.flags & SYN or self.scale == _ABSENT or reverse.scale == _ABSENT:
            edge = add(ack, window)
        elif self.scale == _UNSEEN or reverse.scale == _UNSEEN:
            self.edge = -1  # that of a SYN-ACK alone would stay where it is
            return
        else:
            edge = add(ack, window << reverse.scale)
        if self.edge < 0 or before(self.edge, edge):
            self.edge = edge

    @property
    def fin_acked(self) -> bool:
        return self.fin_end >= 0 and self.acked >= 0 and distance(self.fin_end, self.acked) >= 0

    def another(self, packet: Packet) -> bool:
        """True when a SYN of this direction belongs to another incarnation than what was seen before."""
        if self.isn >= 0:
            return packet.seq != self.isn
        return self.first >= 0 and self.first != add(packet.seq, 1)


class Flow:
    """A generation while it lives: `key` is the tuple as endpoint a sends it, `directions` are by sender's side."""

    __slots__ = (
        "connection",
        "directions",
        "evidence",
        "guessed",
        "home",
        "interface",
        "key",
        "networks",
        "other",
        "over",
        "reverse_key",
        "time",
    )

    def __init__(self, key: bytes, packet: Packet, time_ns: int, interface: int, home: Home) -> None:
        """The flow of a first packet, whose own tuple is `key`; `home` is that of the generation before, if any."""
        other = reverse(key)
        kind = packet.flags & (SYN | ACK)
        self.guessed = not kind & SYN
        from_a = packet.sport >= packet.dport if self.guessed else kind == SYN
        self.key, self.reverse_key = (key, other) if from_a else (other, key)
        self.directions = (Direction(), Direction())
        self.evidence = Evidence()
        self.home = home
        self.networks: tuple[int, ...] = (network(packet.tunnels),)
        self.other: Flow | None = None  # with the same tuple in another network
        self.connection: Connection | None = None
        self.over = False
        self.time = time_ns  # of the latest accepted packet
        self.interface = interface  # that packet's capture interface, by whose clock `time` is


def answers(flow: Flow, side: int, packet: Packet) -> bool:
    """Whether a packet of `side`, from which nothing came yet, answers what the other side sent."""
    forth, reached = flow.directions[side], flow.evidence.reached(1 - side)
    return (
        forth.clock == 0
        and bool(packet.flags & ACK)
        and reached >= 0
        and abs(distance(reached, packet.ack)) <= NEAR
        and (forth.acked < 0 or abs(distance(forth.acked, packet.seq)) <= NEAR)
    )


def tuple_key(packet: Packet, data: bytes) -> bytes:
    """Source address, destination address, source port, destination port."""
    return packet.src + packet.dst + data[packet.tcp_offset : packet.tcp_offset + 4]


def reverse(key: bytes) -> bytes:
    """The tuple of the other direction."""
    size = (len(key) - 4) // 2
    return key[size:-4] + key[:size] + key[-2:] + key[-4:-2]


def both_ways(key: bytes) -> bytes:
    """One name for a tuple and that of the other direction."""
    return min(key, reverse(key))


class FlowTable:
    """Flows by tuple, in the order of their latest use: of all, and of each capture interface."""

    __slots__ = ("_by_interface", "_by_key", "_by_use", "_latest")

    def __init__(self) -> None:
        self._by_key: dict[bytes, Flow] = {}  # the latest, which knows the others
        self._by_use: OrderedDict[Flow, None] = OrderedDict()
        self._by_interface: dict[int, OrderedDict[Flow, None]] = {}  # none that is empty
        self._latest: Flow | None = None

    def __len__(self) -> int:
        return len(self._by_use)

    def find(self, key: bytes, network: int = 0) -> Flow | None:
        flow = self._by_key.get(key)
        while flow is not None and network not in flow.networks:
            flow = flow.other
        return flow

    def all_of(self, key: bytes) -> list[Flow]:
        """Those of all networks, in order of time."""
        found = []
        flow = self._by_key.get(key)
        while flow is not None:
            found.append(flow)
            flow = flow.other
        return sorted(found, key=lambda each: each.home.number)

    def oldest(self) -> Flow | None:
        """The least recently used flow."""
        return next(iter(self._by_use), None)

    def oldest_of(self, interface: int) -> Flow | None:
        """The least recently used of the flows whose latest packet came by `interface`."""
        order = self._by_interface.get(interface)
        return None if order is None else next(iter(order))

    def latest_first(self) -> Iterator[Flow]:
        """In order of use, from the latest one back."""
        return reversed(self._by_use)

    def flows(self) -> list[Flow]:
        return list(self._by_use)

    def put(self, flow: Flow) -> None:
        flow.other = self._by_key.get(flow.key)
        self._by_key[flow.key] = self._by_key[flow.reverse_key] = flow
        self._by_use[flow] = None
        self._latest = flow
        self._enter(flow)

    def use(self, flow: Flow, interface: int) -> None:
        """A packet of `flow` came by `interface`."""
        if flow.interface != interface:
            self._leave(flow)
            flow.interface = interface
            self._enter(flow)
        elif flow is not self._latest:
            self._by_interface[interface].move_to_end(flow)
        if flow is not self._latest:
            self._by_use.move_to_end(flow)
            self._latest = flow

    def drop(self, flow: Flow) -> None:
        del self._by_use[flow]
        before = self._by_key[flow.key]
        if before is not flow:
            while before.other is not flow:
                assert before.other is not None
                before = before.other
            before.other = flow.other
        elif flow.other is not None:
            self._by_key[flow.key] = self._by_key[flow.reverse_key] = flow.other
        else:
            del self._by_key[flow.key]
            self._by_key.pop(flow.reverse_key, None)  # the same key where a packet was sent from a tuple to itself
        self._leave(flow)
        if flow is self._latest:
            self._latest = None

    def _enter(self, flow: Flow) -> None:
        order = self._by_interface.get(flow.interface)
        if order is None:
            order = self._by_interface[flow.interface] = OrderedDict()
        order[flow] = None

    def _leave(self, flow: Flow) -> None:
        order = self._by_interface[flow.interface]
        del order[flow]
        if not order:
            del self._by_interface[flow.interface]
