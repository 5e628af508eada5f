"""Random runs of path changes against a reference that is written from upstream's rules alone (path_reference.py).

Ports, VLANs, LAGGs of each protocol; links, capabilities, routes, detaching; limits; several connections, both of
whose ends receive. After each packet and each change the two agree on where each receive tag is, on the mode, on
why, on resets, and on every counter of both hosts; at the end on the plaintext.
"""

from __future__ import annotations

from random import Random

import pytest

from path_reference import Reference, Session
from rxtls.crypto.suites import SUITES, Version
from rxtls.device.profiles import profile
from rxtls.events import Record
from rxtls.handshake.library import Preset
from rxtls.host.socket.enable import TlsEnable
from rxtls.host.socket.socket import IPPROTO_TCP, TCP_RXTLS_ENABLE
from rxtls.host.sysctl import Sysctl
from rxtls.offload.interface import Interfaces
from rxtls.path.receive import PathOptions, ReceivePath
from rxtls.seq import add
from rxtls.simulation.link import LinkFrame
from rxtls.wire.packets import ACK, PSH, RST, SYN, Address, Headers, syn_options
from sample_keys import made_up, sample_keys
from socket_bed import sealed

RUNS = 2_000
FAST = 40
PROTOCOLS = ("failover", "loadbalance", "lacp", "roundrobin", "broadcast")


class Side:
    """What one end sends, and the other's socket receives."""

    def __init__(self, dice: Random, label: str, source: Address, target: Address, vlans: tuple[int, ...]) -> None:
        suite = SUITES[0x1303 if dice.random() < 0.05 else 0x1301]  # no NIC takes ChaCha20-Poly1305
        self.keys = sample_keys(suite, Version.TLS13, label=label)
        self.takes = suite is SUITES[0x1301]
        self.payloads = [made_up(dice.choice((1, 300, 1500, 4000)), f"{label} {n}") for n in range(12)]
        self.wire = sealed(self.keys, self.payloads)
        self.headers = Headers(source, target, vlans)
        self.source, self.target = source, target
        self.at = 0
        self.session: Session | None = None
        self.enable_at = dice.randrange(0, 8)


class Run:
    """One run in both: `reference` and `path`."""

    def __init__(self, seed: int, engine: str) -> None:
        self.dice = dice = Random(seed)
        self.vlans = dice.choice(((), (5,), (6,)))
        limits = [dice.choice((1, 2, 1 << 20)) for _ in range(2)]
        permitted = dice.random() < 0.95
        self.reference = Reference(limits[0], limits[1], permitted)
        self.tree = Interfaces()
        self._build()
        settings = {"budget": "1", "max_receive_tags": str(limits[0]), "max_flow_rules": str(limits[1])}
        options = PathOptions(
            profile=profile("connectx-6dx", settings), engine=engine, sysctl=Sysctl(ifnet_permitted=permitted),
            interfaces=self.tree, policy=dice.choice(("freebsd-table", "none")),
        )  # fmt: skip
        self.path = ReceivePath(options=options, library=lambda _: Preset(None))
        self.frames = 0
        self.records: dict[tuple[int, str], list[bytes]] = {}
        v6 = dice.random() < 0.3
        client, server = ("2001:db8::1", "2001:db8:1::1") if v6 else ("192.0.2.1", "198.51.100.1")
        self.connections = [
            [
                Side(dice, f"{seed} {n} up", Address(client, 40000 + n), Address(server, 443), self.vlans),
                Side(dice, f"{seed} {n} down", Address(server, 443), Address(client, 40000 + n), self.vlans),
            ]
            for n in range(3)
        ]
        self.over: set[int] = set()

    def _build(self) -> None:
        dice, tree, reference = self.dice, self.tree, self.reference
        for n, name in enumerate(("mlx0", "mlx1", "mlx2", "em0")):
            captures = (n, n + 10) if dice.random() < 0.3 else (n,)
            tree.port(name, set(captures))
            reference.add(name, captures=captures)
        ports = tuple(dice.sample(("mlx0", "mlx1", "mlx2"), dice.randint(1, 3)))
        protocol, use_flowid, shift = dice.choice(PROTOCOLS), dice.random() < 0.7, dice.choice((0, 16, 31))
        tree.lagg("lagg0", protocol, ports, use_flowid, shift)
        reference.add("lagg0", lagg=protocol, ports=ports, use_flowid=use_flowid, shift=shift)
        for name, parent, vlan in (("vlan5", "lagg0", 5), ("vlan6", "em0", 6), ("vlan7", "vlan5", 7)):
            if dice.random() < 0.7 and parent in reference.ifs:
                tree.vlan(name, parent, vlan)
                reference.add(name, parent=parent, vlan=vlan)
        self.names = list(reference.ifs)
        for net in ("0.0.0.0/0", "::/0", "192.0.2.0/24"):
            if dice.random() < 0.9:
                self._route(net)

    def _route(self, net: str) -> None:
        name = self.dice.choice(self.names)
        self.tree.route(net, name)
        self.reference.routes[net] = name

    # What happens

    def change(self) -> None:
        """An interface, a link, a capability or a route changes."""
        dice, name = self.dice, self.dice.choice(self.names)
        match dice.randrange(5):
            case 0 if self.reference.ifs[name].there:
                self.path.detach(name, self.frames)
                self.reference.detach(name)
            case 1:
                self.path.attach(name, self.frames)
                self.reference.attach(name)
            case 2:
                up = dice.random() < 0.6
                self.tree.set_link(name, up)
                self.reference.ifs[name].up = up
            case 3:
                index, on = dice.randrange(2), dice.random() < 0.6
                self.tree.set_capability(name, index, on)
                caps = self.reference.ifs[name].caps
                (caps.add if on else caps.discard)((4, 6)[index])
            case _:
                self._route(dice.choice(("0.0.0.0/0", "::/0", "192.0.2.0/24")))

    def packet(self, number: int, which: int) -> None:
        """The next bytes of a side, by some interface: by that of the packet before, mostly."""
        side, dice = self.connections[number][which], self.dice
        if dice.random() < 0.15:
            self.interface = dice.choice((0, 1, 2, 3, 10, 11, 12, 13, 99))
        if side.session is None and side.enable_at <= 0 and (self.begun or side.at):  # without a SYN no socket
            self.enable(number, which)
        side.enable_at -= 1
        data = side.wire[side.at : side.at + dice.choice((40, 700, 1400))]
        if not data:
            return
        self.send(side, side.at + 1000, ACK | PSH, data)
        reaches, leaf = self.reference.received(self.interface, self.vlans)
        if not reaches:
            return  # it is sent again
        side.at += len(data)
        if side.session is not None:
            self.reference.append(side.session, leaf)

    def enable(self, number: int, which: int) -> None:
        side = self.connections[number][which]
        socket = self.path.socket(number, ("server", "client")[which])
        side.session = Session(side.target.ip, (side.source.ip, side.source.port), (side.target.ip, side.target.port))
        socket.setsockopt(IPPROTO_TCP, TCP_RXTLS_ENABLE, TlsEnable.of(side.keys))
        self.reference.enable(side.session, side.takes)

    def end(self, number: int) -> None:
        """A connection is reset by its client: its receive tags are free again."""
        side = self.connections[number][0]
        reaches, _ = self.reference.received(self.interface, self.vlans)
        self.over.add(number)
        if not reaches:
            return  # nobody hears of it, and of the connection no more
        self.send(side, side.at + 1000, RST | ACK, b"")
        for each in self.connections[number]:
            if each.session is not None:
                self.reference.free(each.session)

    def send(self, side: Side, seq: int, flags: int, data: bytes, options: bytes = b"") -> None:
        frame = side.headers.frame(add(seq, 0), 1000, flags, 0xFFFF, data, options)
        time_ns = 1_750_000_000_000_000_000 + 20_000_000 * self.frames  # no second sights
        self.keep(self.path.receive([(self.frames, LinkFrame(time_ns, frame, self.interface))]))
        self.frames += 1

    def keep(self, records: list[Record]) -> None:
        for record in records:
            self.records.setdefault((record.flow, record.receiver), []).append(record.data)

    def play(self) -> None:
        dice = self.dice
        self.interface = 0
        self.begun, _ = self.reference.received(self.interface, self.vlans)
        for number, (up, down) in enumerate(self.connections):
            for each in ("server", "client"):
                self.path.socket(number, each)
            self.send(up, 999, SYN, b"", syn_options(1460, 8))
            self.send(down, 999, SYN | ACK, b"", syn_options(1460, 8))
        for _ in range(120):
            going = [n for n in range(len(self.connections)) if n not in self.over]
            if not going:
                break
            if dice.random() < 0.12:
                self.change()
            number = dice.choice(going)
            if dice.random() < 0.01:
                self.end(number)
            else:
                self.packet(number, dice.randrange(2))
            self.agree()
        self.keep(self.path.finish())
        assert self.path.receive_tags == 0
        assert self.path.ledger.balance() == 0
        for number, sides in enumerate(self.connections):
            for which, side in enumerate(sides):
                got = self.records.get((number, ("server", "client")[which]), [])
                assert got == side.payloads[: len(got)]
                if side.session is not None and side.at == len(side.wire):
                    assert len(got) == len(side.payloads)

    def agree(self) -> None:
        for number, sides in enumerate(self.connections):
            flow = self.path.flows.get(number)
            if flow is None or number in self.over:
                continue
            for which, side in enumerate(sides):
                if side.session is None:
                    continue
                direction = flow.directions[0 if flow.receiver(0) == ("server", "client")[which] else 1]
                tag = direction.receive_tag
                ours = None if tag is None else self.path.port(tag.leaf)
                session = side.session
                assert (ours, direction.mode, direction.why_software) == (session.tag, session.mode, session.reason)
                tally = direction.tally
                assert (tally.receive_tag_resets, tally.receive_tag_resets_failed) == (session.resets, session.failed)
                assert len(direction.path_changes) == session.resets + session.failed
        counted = {
            host: {name: n for name, n in nic.stats.items() if n and name.startswith(("ifnet.", "refused."))}
            for host, nic in self.path.hosts.items()
        }
        assert counted == {host: dict(+nic.counted) for host, nic in self.reference.nics.items()}
        assert {host: nic.receive_tags for host, nic in self.path.hosts.items()} == {
            host: nic.tags for host, nic in self.reference.nics.items()
        }


@pytest.mark.parametrize("engine", ["plain", "compiled"])
def test_random_path_changes_agree_with_upstreams_rules(engine: str) -> None:
    resets: int = 0
    failed = 0
    for seed in range(FAST):
        run = Run(seed, engine)
        run.play()
        resets += run.path.stats["ifnet.reset"]
        failed += run.path.stats["ifnet.reset_failed"]
    assert resets > FAST
    assert failed > FAST / 4


@pytest.mark.long
@pytest.mark.parametrize("engine", ["plain", "compiled"])
@pytest.mark.parametrize("share", range(4))
def test_many_random_path_changes_agree_with_upstreams_rules(share: int, engine: str) -> None:
    for seed in range(share, RUNS, 4):
        Run(seed, engine).play()
