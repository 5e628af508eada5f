"""Where a receive tag is made, and why it is not: ktls_alloc_rcv_tag and the driver's limits, in upstream's order.

    suite, knob ──► route ──► Interfaces.choose: VLAN, LAGG, port ──► driver: receive tags, flow rules, command queue

Each receiving host, which is an address, has one NIC: its limits, its view of the tree of interfaces, its counters.
Causes are keys of offload/refusals.py. driver.py has the receive tags themselves.
"""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address
from typing import NamedTuple

from rxtls.crypto.keys import Keys
from rxtls.device.profiles import Profile
from rxtls.driver.toeplitz import toeplitz
from rxtls.host.flow import Flow
from rxtls.host.sysctl import Sysctl
from rxtls.offload.interface import Interfaces

V4_KEY = 12  # bytes of a connection's key: two IPv4 addresses, two ports


class Asked(NamedTuple):
    """What became of a request. `leaf` and `interface` are the port of the receive tag, or else what was asked: with
    that, packets' leaves are compared from now on (tls->rx_ifp)."""

    leaf: int
    interface: str | None
    refusal: str | None = None


class Allocation:
    """One host's NIC, and the tree of interfaces through which it is asked (None: all captures' interfaces are ports).

    `stats` counts what upstream's sysctls do, see WayBack.
    """

    __slots__ = (
        "_flow_rules", "_interfaces", "_profile", "_sysctl", "most_receive_tags", "outstanding", "receive_tags",
        "stats",
    )  # fmt: skip

    def __init__(self, profile: Profile, interfaces: Interfaces | None, sysctl: Sysctl) -> None:
        self._profile = profile
        self._interfaces = interfaces
        self._sysctl = sysctl
        self.stats: Counter[str] = Counter()
        self.receive_tags = 0
        self.most_receive_tags = 0  # at once, so far
        self.outstanding = 0  # commands under way, of all receive tags
        self._flow_rules = [0, 0]  # of IPv4, of IPv6

    @property
    def queue_full(self) -> bool:
        """No command can be posted now."""
        return 0 < self._profile.command_queue <= self.outstanding

    def ask(self, flow: Flow, side: int, keys: Keys, leaf: int, interface: str | None) -> Asked:
        """Ask for a receive tag of a direction whose packets come from `leaf`. It goes down the tree from `interface`,
        or where that is None from the route's."""
        if not self._profile.takes(keys):
            return Asked(leaf, interface, "profile")
        if not self._sysctl.ifnet_permitted:
            return Asked(leaf, interface, "not_permitted")
        tree = self._interfaces
        if tree is None:
            return Asked(leaf, None, self._driver(is_ipv6(flow)))
        connection = flow.connection
        peer, own = (connection.a, connection.b)[:: 1 - 2 * side]
        asked = tree.outbound(peer[0]) if interface is None else tree[interface]
        if asked is None:
            return Asked(leaf, None, "no_route")
        hashed = toeplitz(ip_address(peer[0]).packed, ip_address(own[0]).packed, peer[1], own[1])
        port, _, refusal = tree.choose(asked, hashed, is_ipv6(flow))
        refusal = refusal or self._driver(is_ipv6(flow))
        at = asked if refusal or port is None else port
        return Asked(at.leaf, at.name, refusal)

    def port(self, leaf: int) -> str | None:
        """The port that packets with this leaf came by; None without a tree."""
        port = self._interfaces.at(leaf) if self._interfaces else None
        return None if port is None else port.name

    def take(self, ipv6: bool) -> None:
        """A receive tag is made."""
        self.receive_tags += 1
        self.most_receive_tags = max(self.most_receive_tags, self.receive_tags)
        self._flow_rules[ipv6] += 1

    def give(self, ipv6: bool) -> None:
        """It is freed."""
        self.receive_tags -= 1
        self._flow_rules[ipv6] -= 1

    def _driver(self, ipv6: bool) -> str | None:
        if self.receive_tags >= self._profile.max_receive_tags:
            return "no_receive_tag"
        if self._flow_rules[ipv6] >= self._profile.max_flow_rules:
            return "no_flow_rule"
        return "command_queue" if self.queue_full else None


def is_ipv6(flow: Flow) -> bool:
    """By the connection's addresses."""
    return len(flow.connection.key) > V4_KEY


def receiving(flow: Flow, side: int) -> bytes:
    """The address of the host that receives what `side` sends, in network order."""
    key = flow.connection.key
    length = len(key) // 2 - 2
    return key[length : 2 * length] if side == 0 else key[:length]
