"""Connections whose packets change their way: hosts with interfaces, captures by several of them, and their replay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import traffic
from rxtls.device.profiles import profile
from rxtls.events import By, Record
from rxtls.host.direction import Direction
from rxtls.host.sysctl import Sysctl
from rxtls.offload.interface import Interfaces
from rxtls.path.receive import PathOptions, ReceivePath
from rxtls.simulation.link import Connection, Impairment, LinkFrame
from rxtls.wire.keylog import KeyLog

SIZES = ((4000, 0),) * 60


def host(lagg: str = "failover", out: str = "lagg0", use_flowid: bool = True) -> Interfaces:
    """mlx0 and mlx1 (capture interfaces 0 and 1) under lagg0, vlan5 over it, em0 (2) apart; routes go `out`."""
    tree = Interfaces()
    tree.port("mlx0", {0})
    tree.port("mlx1", {1})
    tree.port("em0", {2})
    tree.lagg("lagg0", lagg, ("mlx0", "mlx1"), use_flowid)
    tree.vlan("vlan5", "lagg0", 5)
    tree.route("0.0.0.0/0", out)
    return tree


def download(
    vlans: tuple[int, ...] = (), updates: frozenset[int] = frozenset(), loss: float = 0.0, seed: int = 5
) -> traffic.Played:
    flow = traffic.Flow(
        records=SIZES, updates=updates, seed=seed, impairment=Impairment(loss=loss), connection=Connection(vlans=vlans)
    )
    return traffic.play(traffic.Scenario((flow,)))


def moved(played: traffic.Played, at: dict[int, int]) -> list[LinkFrame]:
    """From the nth frame with payload to the client on, packets to it arrive on another capture interface."""
    frames, n, interface = [], 0, 0
    for frame in played.frames:
        if len(frame.data) > 1000:
            interface = at.get(n, interface)
            n += 1
        frames.append(replace_interface(frame, interface))
    assert n > max(at, default=0)
    return frames


def replace_interface(frame: LinkFrame, interface: int) -> LinkFrame:
    return frame._replace(interface=interface)


@dataclass
class Ran:
    path: ReceivePath
    records: list[Record]

    @property
    def direction(self) -> Direction:
        """What the client receives."""
        return self.path.flows[0].directions[1]

    def data(self) -> list[tuple[int, bytes]]:
        return [(record.type, record.data) for record in self.records if record.receiver == "client"]

    def by(self) -> list[By]:
        return [record.by for record in self.records if record.receiver == "client" and record.type == 23]


def run(
    played: traffic.Played,
    frames: list[LinkFrame],
    tree: Interfaces | None,
    engine: str,
    at: Callable[[ReceivePath, int], None] | None = None,
    nic: str = "connectx-6dx",
    sysctl: Sysctl | None = None,
    settings: dict[str, str] | None = None,
) -> Ran:
    """`at` is called before each frame."""
    keys = KeyLog()
    keys.add(played.keylog.encode(), "simulated")
    options = PathOptions(
        profile=profile(nic, {"budget": "8", **(settings or {})}),
        engine=engine,
        interfaces=tree,
        sysctl=sysctl or Sysctl(),
    )
    path = ReceivePath(keys, options)
    records: list[Record] = []
    for n, frame in enumerate(frames):
        if at:
            at(path, n)
        records += path.receive([(n, frame)])
    records += path.finish()
    assert path.ledger.balance() == 0
    assert path.receive_tags == 0
    return Ran(path, records)


def check(ran: Ran, played: traffic.Played, resets: int) -> None:
    """Same plaintext, resets counted, offload back."""
    wanted = run(played, played.frames, None, "plain", nic="none")
    assert ran.data() == wanted.data()
    assert ran.direction.tally.receive_tag_resets == resets
    both = sum(direction.tally.receive_tag_resets for direction in ran.path.flows[0].directions)
    assert ran.path.stats["ifnet.reset"] == both
    assert ran.path.stats["ifnet.reset_failed"] == 0
    assert ran.direction.mode == "ifnet"
    assert ran.by()[-5:] == [By.DEVICE] * 5
