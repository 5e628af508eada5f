"""Runs of the whole path for tests: frames in, what came out of each direction, ready to compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from rxtls.device.profiles import profile
from rxtls.events import Record
from rxtls.host.flow import Flow
from rxtls.host.tally import Tally
from rxtls.intake.flows import Connection
from rxtls.path.receive import PathOptions, ReceivePath
from rxtls.simulation.link import LinkFrame
from rxtls.wire.keylog import KeyLog

Key = tuple[str, int, str]  # client ip, client port, receiver


@dataclass
class Ran:
    """One run: `records[key]` are a direction's records in order, `out` all of them as they came out."""

    path: ReceivePath
    records: dict[Key, list[Record]]
    out: list[Record]

    def read(self) -> dict[Key, list[tuple[int, int | None, bytes]]]:
        """What each receiver read: (type, number, payload) of every record that authenticated."""
        return {
            key: [(record.type, record.number, record.data) for record in records if record.by != "nobody"]
            for key, records in self.records.items()
        }

    def failed(self) -> dict[Key, list[int | None]]:
        """The numbers of the records that did not authenticate."""
        return {
            key: [record.number for record in records if record.by == "nobody"] for key, records in self.records.items()
        }

    def verdicts(self) -> dict[Key, list[tuple[object, ...]]]:
        """All that a run says of each record, except which frame index it had (other traffic moves that)."""
        return {
            key: [
                (r.type, r.number, r.record_class, r.by, r.tcp_seq, r.wire_length, r.time_ns, r.composition, r.data)
                for r in records
            ]
            for key, records in self.records.items()
        }

    def everything(self) -> list[object]:
        """All that a run came to, in the order in which it did."""
        return [self.out, self.path.ledger.entered, self.path.ledger.fates, *map(told, self.path.flows.values())]

    def resync(self) -> dict[Key, tuple[int, ...]]:
        """Resynchronisation counts of each direction."""
        return {
            direction_key(flow.connection, flow.receiver(side)): (
                flow.directions[side].tally.lost,
                flow.directions[side].tally.polls,
                flow.directions[side].tally.confirmed,
                flow.directions[side].tally.regained,
                flow.directions[side].tally.recrypted,
            )
            for flow in self.path.flows.values()
            for side in (0, 1)
        }


def direction_key(connection: Connection, receiver: str) -> Key:
    """A name for a direction that does not depend on what else is in the capture."""
    return (*connection.a, receiver)


def run(
    frames: Sequence[LinkFrame],
    keylog: str,
    profile_name: str = "connectx-6dx",
    settings: dict[str, str] | None = None,
    call_size: int | None = None,
    lro_limit: int = 65535,
    policy: str = "freebsd-table",
    engine: str = "auto",
    ticks: Sequence[tuple[int, int]] = (),
) -> Ran:
    """Take `frames` through a path, `call_size` at a time (None: all at once), and check the ledger. `ticks` are (how
    many frames come before, time in ns), in order."""
    keys = KeyLog()
    keys.add(keylog.encode(), "simulated")
    options = PathOptions(profile=profile(profile_name, settings), policy=policy, lro_limit=lro_limit, engine=engine)
    path = ReceivePath(keys, options)
    numbered = list(enumerate(frames))
    size = call_size or max(1, len(numbered))
    out: list[Record] = []
    start = 0
    for place, time_ns in [*ticks, (len(numbered), None)]:
        for begun in range(start, place, size):
            out += path.receive(numbered[begun : min(begun + size, place)])
        start = max(start, place)
        out += [] if time_ns is None else path.tick(time_ns)
    out += path.finish()
    assert path.ledger.balance() == 0
    records: dict[Key, list[Record]] = {}
    for record in out:
        flow = path.flows[record.flow]
        records.setdefault(direction_key(flow.connection, record.receiver), []).append(record)
    return Ran(path, records, out)


def told(flow: Flow) -> list[object]:
    """All that is told of a flow."""
    connection = {f.name: getattr(flow.connection, f.name) for f in fields(Connection) if f.name != "evidence"}
    told: list[object] = [connection, flow.facts, flow.ended]
    for side, direction in enumerate(flow.directions):
        tally = direction.tally
        told += [flow.connection.vantage(side), direction.mode, direction.why_software, direction.refused]
        told += [direction.fatal, direction.closed, direction.complete(), direction.reassembly.stopped]
        told += [getattr(tally, name) for name in Tally.__slots__ if name != "digest"]
        told += [direction.work.spent, direction.gaps, direction.missing]
    return told
