"""Where a receive tag is made, and why it is not: ktls_alloc_rcv_tag and the driver's limits, in upstream's order.

    suite, knob ──► route ──► Interfaces.choose: VLAN, LAGG, port ──► driver: receive tags, flow rules, command queue

Causes are keys of offload/refusals.py. What is in use is counted here; way_back.py has the receive tags themselves.
"""

from __future__ import annotations

from ipaddress import ip_address

from rxtls.crypto.keys import Keys
from rxtls.device.profiles import Profile
from rxtls.host.flow import Flow
from rxtls.host.sysctl import Sysctl
from rxtls.offload.interface import IFCAP2_RXTLS4, IFCAP2_RXTLS6, Interfaces, bit
from rxtls.offload.toeplitz import toeplitz

V4_KEY = 12  # bytes of a connection's key: two IPv4 addresses, two ports


class Allocation:
    """One NIC's resources, and the tree of interfaces through which they are asked for (None: all are its ports)."""

    def __init__(self, profile: Profile, interfaces: Interfaces | None, sysctl: Sysctl) -> None:
        self._profile = profile
        self._interfaces = interfaces
        self._sysctl = sysctl
        self.receive_tags = 0
        self.most_receive_tags = 0  # at once, so far
        self.outstanding = 0  # commands under way, of all receive tags
        self._flow_rules = [0, 0]  # of IPv4, of IPv6

    @property
    def queue_full(self) -> bool:
        """No command can be posted now."""
        return 0 < self._profile.command_queue <= self.outstanding

    def ask(self, flow: Flow, side: int, keys: Keys, leaf: int) -> tuple[int, str | None]:
        """The leaf for a receive tag of a direction whose packets come from `leaf`, and why there can be none."""
        if not self._profile.takes(keys):
            return leaf, "profile"
        if not self._sysctl.ifnet_permitted:
            return leaf, "not_permitted"
        chosen, refusal = self._choose(flow, side, leaf)
        return chosen, refusal or self._driver(is_ipv6(flow))

    def take(self, ipv6: bool) -> None:
        """A receive tag is made."""
        self.receive_tags += 1
        self.most_receive_tags = max(self.most_receive_tags, self.receive_tags)
        self._flow_rules[ipv6] += 1

    def give(self, ipv6: bool) -> None:
        """It is freed."""
        self.receive_tags -= 1
        self._flow_rules[ipv6] -= 1

    def _choose(self, flow: Flow, side: int, leaf: int) -> tuple[int, str | None]:
        """The first receive tag goes down the tree from the route's interface, the others where packets come from."""
        tree, connection, ipv6 = self._interfaces, flow.connection, is_ipv6(flow)
        if tree is None:
            return leaf, None
        if flow.directions[side].epoch == 0:
            peer, own = (connection.a, connection.b)[:: 1 - 2 * side]
            out = tree.outbound(peer[0])
            if out is None:
                return leaf, "no_route"
            hashed = toeplitz(ip_address(peer[0]).packed, ip_address(own[0]).packed, peer[1], own[1])
            port, _, refusal = tree.choose(out, hashed, ipv6)
        else:
            port, refusal = tree.at(leaf), None
            if port is None or not port.attached:
                refusal = "device_gone"
            elif not tree.enabled(port) & bit(IFCAP2_RXTLS6 if ipv6 else IFCAP2_RXTLS4):
                refusal = "no_capability"
        if refusal or port is None:
            return leaf, refusal
        return (leaf if leaf in port.capture else min(port.capture, default=leaf)), None

    def _driver(self, ipv6: bool) -> str | None:
        if self.receive_tags >= self._profile.max_receive_tags:
            return "no_receive_tag"
        if self._flow_rules[ipv6] >= self._profile.max_flow_rules:
            return "no_flow_rule"
        return "command_queue" if self.queue_full else None


def is_ipv6(flow: Flow) -> bool:
    """By the connection's addresses."""
    return len(flow.connection.key) > V4_KEY
