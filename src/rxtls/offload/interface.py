"""The tree of network interfaces: ports, VLANs and LAGGs, and the way of a receive-tag request down to a port.

            route ──► vlan5 (id 5) ──► lagg0 (failover, loadbalance, lacp) ──► mlx0  capture interface 0
                                                                          └──► mlx1  capture interface 1

    down   a request for a receive tag: VLAN writes its id, LAGG picks a port, the port's driver makes the receive tag
    up     a packet: it arrives on a *leaf*, its port; what it is received on (rcvif) is the LAGG or VLAN above

The first receive tag goes where packets to the peer go *out*, which may be another port than they come in by. The
socket buffer notices, and the receive tag is made anew on the leaf that it names, without going down the tree.

An interface that is detached and attached again is another one, though its index be the same: so what a waiting packet
refers to is the pair (index, generation). Capabilities are **bit indices** (upstream's IFCAP2_RXTLS4 is 0, not 1 << 0),
and a mask is made of them in one place, `bit`.

A tree describes; each host that uses it has a `view` of its own, in which interfaces come and go. Links, capabilities
and routes are the description's: what is changed there is so on all hosts.

Follows if_vlan.c, if_lagg.c, ieee8023ad_lacp.c and if.h. Unlike them, VLANs inherit RXTLS of their parent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, NamedTuple

from rxtls.errors import UsageError

IFCAP2_RXTLS4, IFCAP2_RXTLS6 = 0, 1  # bit indices in the second capability word


def bit(index: int) -> int:
    """The mask of a capability (upstream's IFCAP2_BIT)."""
    return 1 << index


BOTH = bit(IFCAP2_RXTLS4) | bit(IFCAP2_RXTLS6)

FLOWID_SHIFT = 16  # net.link.lagg.default_flowid_shift: a hash's lower half has chosen the queue of a port already

NOT_CAPTURED = 1 << 62  # leaves of interfaces of which no capture has packets: more than any that a packet comes by


class Lagg(Enum):
    """LAGG protocols. Only the first three name one port for a flow."""

    FAILOVER = "failover"
    LOADBALANCE = "loadbalance"
    LACP = "lacp"
    ROUNDROBIN = "roundrobin"
    BROADCAST = "broadcast"


class Stamp(NamedTuple):
    """An interface as a packet in a queue refers to it."""

    ifindex: int
    generation: int


NOWHERE = Stamp(0xFFFF, 0)  # of a packet without a leaf


@dataclass(slots=True)
class Interface:
    """One interface. Of `ports`, `parent`, `capture` a port has the last, a VLAN the second, a LAGG the first."""

    name: str
    index: int
    generation: int = 0
    capenable2: int = BOTH
    up: bool = True
    attached: bool = True
    parent: str | None = None
    vlan_id: int = 0
    protocol: Lagg | None = None
    ports: tuple[str, ...] = ()
    use_flowid: bool = False
    flowid_shift: int = FLOWID_SHIFT
    capture: frozenset[int] = frozenset()
    origin: Interface | None = None  # in a view: what it is a view of

    @property
    def stamp(self) -> Stamp:
        """How a packet that arrives now refers to it."""
        return Stamp(self.index, self.generation)

    @property
    def leaf(self) -> int:
        """The one number that its packets are known by, whichever of its captures they come from."""
        return min(self.capture, default=NOT_CAPTURED + self.index)


class Choice(NamedTuple):
    """What became of a request: the port and the VLAN id for the flow rule, or a key of REFUSALS."""

    port: Interface | None
    vlan_id: int = 0
    refusal: str | None = None


@dataclass(slots=True)
class Interfaces:
    """The interfaces of one host. UsageError for what cannot be; after that it only changes by the methods below.

    `whose` says which port a capture's interface is that no port has by its number: of files that a port names.
    """

    _by_name: dict[str, Interface] = field(default_factory=dict)
    _by_capture: dict[int, str] = field(default_factory=dict)
    routes: list[tuple[IPv4Network | IPv6Network, str]] = field(default_factory=list)
    named: list[tuple[str, Any]] = field(default_factory=list)  # ports, by what captures say (interface_file.Named)
    whose: Callable[[int], str | None] | None = None

    def __getitem__(self, name: str) -> Interface:
        if name not in self._by_name:
            raise UsageError(f"no interface {name!r}; there are {', '.join(self._by_name) or 'none'}")
        return self._by_name[name]

    def port(self, name: str, capture: frozenset[int] | set[int] = frozenset(), capenable2: int = BOTH) -> Interface:
        """A physical interface; `capture` are the ids under which captures know it."""
        for each in capture:
            if each in self._by_capture:
                raise UsageError(f"capture interface {each} is both {self._by_capture[each]} and {name}")
        new = self._add(Interface(name, len(self._by_name) + 1, capenable2=capenable2, capture=frozenset(capture)))
        self._by_capture |= dict.fromkeys((*capture, new.leaf), name)
        return new

    def vlan(self, name: str, parent: str, vlan_id: int) -> Interface:
        """A VLAN over a port, a LAGG, or another VLAN."""
        if not 1 <= vlan_id <= 4094:
            raise UsageError(f"{name}: a VLAN id is 1 to 4094, not {vlan_id}")
        return self._add(Interface(name, len(self._by_name) + 1, parent=self[parent].name, vlan_id=vlan_id))

    def lagg(
        self,
        name: str,
        protocol: str,
        ports: tuple[str, ...],
        use_flowid: bool = False,
        flowid_shift: int = FLOWID_SHIFT,
    ) -> Interface:
        """A LAGG over ports, the first of them the primary one. Options as ifconfig(8) has them, off by default."""
        if not 0 <= flowid_shift <= 31:
            raise UsageError(f"{name}: flowid_shift is 0 to 31, not {flowid_shift}")
        if protocol not in {each.value for each in Lagg}:
            raise UsageError(f"{name}: no LAGG protocol {protocol!r}; there are {', '.join(p.value for p in Lagg)}")
        for port in ports:
            if self[port].parent or self[port].protocol or self.above(self[port]):
                raise UsageError(f"{name}: {port} is not a free port")
        if not ports:
            raise UsageError(f"{name}: a LAGG has ports")
        new = Interface(name, len(self._by_name) + 1, protocol=Lagg(protocol), ports=ports)
        new.use_flowid, new.flowid_shift = use_flowid, flowid_shift
        return self._add(new)

    def route(self, to: str, interface: str) -> None:
        """Packets to this network go out by this interface; the longest match wins. One to the same network goes."""
        try:
            network = ip_network(to)
        except ValueError as error:
            raise UsageError(f"route: {error}") from None
        name = self[interface].name
        self.routes[:] = [route for route in self.routes if route[0] != network]
        self.routes.append((network, name))
        self.routes.sort(key=lambda route: -route[0].prefixlen)

    def view(self) -> Interfaces:
        """One host's: its interfaces come and go by themselves, from how they are now on."""
        own = {name: replace(each, origin=each.origin or each) for name, each in self._by_name.items()}
        return Interfaces(own, self._by_capture, self.routes, self.named, self.whose)

    # What is

    def enabled(self, interface: Interface) -> int:
        """Capabilities: its own, and for a VLAN those of its parent, for a LAGG those that all ports share."""
        mask = (interface.origin or interface).capenable2
        if interface.parent:
            mask &= self.enabled(self[interface.parent])
        for port in self._members(interface):
            mask &= self.enabled(port)
        return mask

    def outbound(self, address: str) -> Interface | None:
        """Where packets to `address` go out."""
        ip = ip_address(address)
        for network, name in self.routes:
            if ip.version == network.version and ip in network:
                return self[name]
        return None

    def at(self, capture: int) -> Interface | None:
        """The port that a capture's interface stands for, attached or not."""
        name = self._by_capture.get(capture)
        if name is None and self.whose is not None:
            name = self.whose(capture)
        return None if name is None else self._by_name[name]

    def above(self, interface: Interface) -> list[Interface]:
        """The LAGG or the VLANs directly over an interface."""
        return [
            each for each in self._by_name.values() if interface.name == each.parent or interface.name in each.ports
        ]

    def received_on(self, leaf: Interface, vlans: tuple[int, ...]) -> list[Interface]:
        """What a packet with these VLAN ids, outer first, comes through from its leaf to what it is received on, the
        last (rcvif); none if no interface takes it."""
        way = [leaf, *(each for each in self.above(leaf) if each.protocol)]
        for vlan_id in vlans:
            over = next((each for each in self.above(way[-1]) if each.vlan_id == vlan_id), None)
            if over is None:
                # A tap often sees a VLAN tag that the host's port takes off unseen: without such VLANs it is no error.
                return way if not any(each.vlan_id for each in self.above(way[-1])) else []
            way.append(over)
        return way

    def restore(self, stamp: Stamp) -> Interface | None:
        """The interface that a queued packet refers to, None if that one is gone."""
        for each in self._by_name.values():
            if each.stamp == stamp:
                return each if each.attached else None
        return None

    # A request for a receive tag

    def choose(self, interface: Interface, flowid: int | None, ipv6: bool, vlan_id: int = 0) -> Choice:
        """Down from `interface` to the port whose driver makes the receive tag. `flowid` None: no real hash type."""
        if not interface.attached:
            return Choice(None, vlan_id, "device_gone")
        if not self.enabled(interface) & bit(IFCAP2_RXTLS6 if ipv6 else IFCAP2_RXTLS4):
            return Choice(None, vlan_id, "no_capability")
        if interface.parent:
            if vlan_id:
                return Choice(None, vlan_id, "vlan_stacked")
            return self.choose(self[interface.parent], flowid, ipv6, interface.vlan_id)
        if interface.protocol is None:
            return Choice(interface, vlan_id)
        hashed = interface.protocol in (Lagg.LOADBALANCE, Lagg.LACP)
        if interface.protocol is not Lagg.FAILOVER and not (hashed and interface.use_flowid and flowid is not None):
            return Choice(None, vlan_id, "lagg_protocol")
        port = self._port(interface, (flowid or 0) >> interface.flowid_shift)
        return Choice(None, vlan_id, "lagg_no_port") if port is None else self.choose(port, flowid, ipv6, vlan_id)

    def _members(self, lagg: Interface) -> list[Interface]:
        """The ports of a LAGG as if_lagg.c lists them: those that are attached, by index."""
        ports = [self[port] for port in lagg.ports if self[port].attached]
        return sorted(ports, key=lambda port: port.index)

    def _port(self, lagg: Interface, hashed: int) -> Interface | None:
        """The port for a flow: lookup_snd_tag_port of if_lagg.c, and lacp_select_tx_port_by_hash."""
        ports = self._members(lagg)
        up = [port for port in ports if (port.origin or port).up]
        if not up:
            return None
        if lagg.protocol is Lagg.LACP:  # only ports that distribute are in its map
            return up[hashed % len(up)]
        if lagg.protocol is Lagg.FAILOVER:
            primary = self[lagg.ports[0]]
            wanted = primary if primary.attached else ports[0]
        else:
            wanted = ports[hashed % len(ports)]
        if wanted in up:
            return wanted
        # lagg_link_active: the next one, should that be up, else the first that is.
        after = ports[ports.index(wanted) + 1 :][:1]
        return next((port for port in after if port in up), up[0])

    # What changes

    def set_link(self, name: str, up: bool) -> None:
        """A port loses its link, or gets it back: LAGGs choose among those that have it."""
        (self[name].origin or self[name]).up = up

    def set_capability(self, name: str, index: int, on: bool) -> None:
        """ifconfig rxtls4, -rxtls4: for receive tags that are asked for from now on."""
        mask, interface = bit(index), self[name].origin or self[name]
        interface.capenable2 = interface.capenable2 | mask if on else interface.capenable2 & ~mask

    def detach(self, name: str) -> Interface:
        """The interface goes away."""
        self[name].attached = False
        return self[name]

    def attach(self, name: str) -> Interface:
        """It comes back, as another one under the same index."""
        interface = self[name]
        if not interface.attached:
            interface.attached = True
            interface.generation += 1
        return interface

    def _add(self, interface: Interface) -> Interface:
        if interface.name in self._by_name:
            raise UsageError(f"two interfaces {interface.name!r}")
        self._by_name[interface.name] = interface
        return interface
