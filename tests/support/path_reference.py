"""A reference for path changes, from upstream's rules alone: it knows nothing of how rxtls does it.

What is asked of it: packets come, one at a time, to hosts whose sockets have receive enabled or not; interfaces, links,
capabilities and routes change between them. It says where each receive tag is, why there is none, what was counted, and
whether a packet reaches TCP at all. It serves the host after each packet, so that a task of upstream's has run when the
next packet comes.

Rules, each from FreeBSD's source as it landed with D32356 and after:

    ktls_alloc_rcv_tag         permitted, route, rx_ifp = the route's interface, its capability, m_snd_tag_alloc
    vlan_snd_tag_alloc         a VLAN id that is there refuses; else its own, and on to the parent
    lookup_snd_tag_port        failover: lagg_link_active of the primary; loadbalance, LACP: by hash >> shift
    sbappendstream_ktls        a leaf that is known and is not rx_ifp: ktls_input_ifp_mismatch
    ktls_reset_receive_tag     the tag goes; capability of the leaf; a tag on the leaf itself

Where ours is otherwise on purpose (docs/interfaces.md), the line says `ours`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

MICROSOFT = "6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa"


def rss(source: str, target: str, source_port: int, target_port: int) -> int:
    """Toeplitz, a bit at a time."""
    data = ip_address(source).packed + ip_address(target).packed + source_port.to_bytes(2) + target_port.to_bytes(2)
    key, out = "".join(f"{int(digit, 16):04b}" for digit in MICROSOFT), 0
    for place, bit in enumerate("".join(f"{byte:08b}" for byte in data)):
        if bit == "1":
            out ^= int(key[place : place + 32], 2)
    return out


@dataclass
class If:
    """One interface; another one after it was detached and came back."""

    name: str
    index: int
    caps: set[int] = field(default_factory=lambda: {4, 6})
    up: bool = True
    there: bool = True
    life: int = 0
    parent: str | None = None
    vlan: int = 0
    lagg: str | None = None
    ports: tuple[str, ...] = ()
    use_flowid: bool = False
    shift: int = 16
    captures: tuple[int, ...] = ()


@dataclass
class Nic:
    tags: int = 0
    rules: Counter[int] = field(default_factory=Counter)
    counted: Counter[str] = field(default_factory=Counter)


@dataclass
class Session:
    """One direction with receive enabled: `rx` is tls->rx_ifp as (name, life), `tag` the port of the receive tag."""

    host: str
    peer: tuple[str, int]
    own: tuple[str, int]
    rx: tuple[str, int] | None = None
    tag: str | None = None
    mode: str = "sw"
    reason: str | None = None
    resets: int = 0
    failed: int = 0

    @property
    def family(self) -> int:
        return ip_address(self.host).version


class Reference:
    def __init__(self, max_tags: int, max_rules: int, permitted: bool) -> None:
        self.ifs: dict[str, If] = {}
        self.routes: dict[str, str] = {}
        self.nics: dict[str, Nic] = {}
        self.sessions: list[Session] = []
        self._max_tags, self._max_rules, self._permitted = max_tags, max_rules, permitted

    def add(self, name: str, **given: object) -> None:
        self.ifs[name] = If(name, len(self.ifs) + 1, **given)  # type: ignore[arg-type]

    # The input side

    def received(self, capture: int, vlans: tuple[int, ...]) -> tuple[bool, If | None]:
        """Whether a packet reaches TCP, and its leaf."""
        leaf = next((each for each in self.ifs.values() if capture in each.captures), None)
        if leaf is None:
            return True, None  # no interface of this host's: nothing is known of it
        if not leaf.there:
            return False, None
        at = leaf
        lagg = next((each for each in self.ifs.values() if leaf.name in each.ports), None)
        if lagg is not None:  # ours: a standby port receives; and without its LAGG, a host has no address there
            if not lagg.there:
                return False, None
            at = lagg
        for vlan in vlans:
            over = [each for each in self.ifs.values() if each.parent == at.name]
            found = next((each for each in over if each.vlan == vlan), None)
            if found is None:
                return not over, leaf  # ours: a tap sees VLAN tags that the port takes off
            if not found.there:
                return False, None
            at = found
        return True, leaf

    # Receive tags

    def enable(self, session: Session, takes: bool) -> None:
        self.sessions.append(session)
        nic = self.nics.setdefault(session.host, Nic())
        if not takes:
            return self._refused(session, nic, "profile")
        if not self._permitted:
            return self._refused(session, nic, "not_permitted")
        fits = [(ip_network(net).prefixlen, name) for net, name in self.routes.items()
                if ip_address(session.peer[0]) in ip_network(net)]  # fmt: skip
        if not fits:
            return self._refused(session, nic, "no_route")
        out = self.ifs[max(fits)[1]]
        session.rx = out.name, out.life
        port, why = self._alloc(session, nic, out, 0, capable=False)
        if port is None:
            return self._refused(session, nic, why)
        self._made(session, nic, port)
        return None

    def append(self, session: Session, leaf: If | None) -> None:
        """Bytes of a packet reach the socket buffer."""
        if leaf is None or session.rx is None or session.rx == (leaf.name, leaf.life):
            return
        session.rx = leaf.name, leaf.life
        nic = self.nics[session.host]
        self.free(session)
        port, why = self._alloc(session, nic, leaf, 0, capable=False)
        if port is None:
            session.failed += 1
            nic.counted["ifnet.reset_failed"] += 1  # ours: also where the leaf has not the capability
            self._refused(session, nic, why)
        else:
            session.resets += 1
            nic.counted["ifnet.reset"] += 1
            self._made(session, nic, port)

    def free(self, session: Session) -> None:
        if session.tag is not None:
            nic = self.nics[session.host]
            nic.tags -= 1
            nic.rules[session.family] -= 1
            session.tag = None

    def detach(self, name: str) -> None:
        self.ifs[name].there = False
        for session in self.sessions:
            if session.tag == name:
                self.free(session)
                session.mode, session.reason = "sw", "device_gone"  # ours: upstream's mode stays ifnet

    def attach(self, name: str) -> None:
        if not self.ifs[name].there:
            self.ifs[name].there = True
            self.ifs[name].life += 1

    def _made(self, session: Session, nic: Nic, port: If) -> None:
        nic.tags += 1
        nic.rules[session.family] += 1
        session.tag, session.mode, session.reason = port.name, "ifnet", None
        session.rx = port.name, port.life  # ours: over VLAN or LAGG the first packet costs no reset

    def _refused(self, session: Session, nic: Nic, why: str) -> None:
        nic.counted[f"refused.{why}"] += 1
        session.mode, session.reason = "sw", why

    def caps(self, each: If) -> set[int]:
        """if_capenable2. Ours: a VLAN has its parent's."""
        found = set(each.caps)
        if each.parent:
            found &= self.caps(self.ifs[each.parent])
        for port in each.ports:
            if self.ifs[port].there:
                found &= self.caps(self.ifs[port])
        return found

    def _alloc(self, session: Session, nic: Nic, at: If, vlan: int, capable: bool) -> tuple[If | None, str]:
        if not at.there:
            return None, "device_gone"
        if not capable and session.family not in self.caps(at):
            return None, "no_capability"
        if at.parent is not None:
            if vlan:
                return None, "vlan_stacked"
            return self._alloc(session, nic, self.ifs[at.parent], at.vlan, capable=True)
        if at.lagg is not None:
            port, why = self._lagg_port(session, at)
            return (None, why) if port is None else self._alloc(session, nic, port, vlan, capable=True)
        if nic.tags >= self._max_tags:
            return None, "no_receive_tag"
        if nic.rules[session.family] >= self._max_rules:
            return None, "no_flow_rule"
        return at, ""

    def _lagg_port(self, session: Session, lagg: If) -> tuple[If | None, str]:
        members = sorted((self.ifs[name] for name in lagg.ports if self.ifs[name].there), key=lambda port: port.index)
        hashed = rss(*_flat(session)) >> lagg.shift
        if lagg.lagg == "failover":
            primary = self.ifs[lagg.ports[0]]
            wanted = primary if primary.there else next(iter(members), None)
        elif lagg.lagg in ("loadbalance", "lacp") and lagg.use_flowid:
            active = [port for port in members if port.up]
            if lagg.lagg == "lacp":
                return (active[hashed % len(active)] if active else None), "lagg_no_port"
            wanted = members[hashed % len(members)] if members else None
        else:
            return None, "lagg_protocol"
        return self._link_active(members, wanted), "lagg_no_port"

    @staticmethod
    def _link_active(members: list[If], wanted: If | None) -> If | None:
        if wanted is not None and wanted.up:
            return wanted
        if wanted is not None:
            behind = members[members.index(wanted) + 1 :]
            if behind and behind[0].up:
                return behind[0]
        return next((port for port in members if port.up), None)


def _flat(session: Session) -> tuple[str, str, int, int]:
    return session.peer[0], session.own[0], session.peer[1], session.own[1]
