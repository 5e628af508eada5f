"""A tap stands in one place: what all connections of a capture interface say together about where that is.

Each connection that can tell votes once, by the kind of evidence that decided it (vantage.py), in the row of each of
its two hosts at the capture interface that saw it: the tap stands *here*, at that host; at its *peer*; or in the
*middle*. So a row has one verdict, also for connections whose own packets say nothing. (Connections that several
interfaces saw have rows of their own: which of them it was that saw a loss is not known. They ask the others' too.)

    here    what this host receives is seen at its receiver, what it sends at its sender
    peer    the tap stands at whom this host talks to: one address, or several of one place (clients behind a NAT,
            containers of a machine). A peer that has not said so itself is believed to be there only if two others have
    middle  at neither: said so, or a host whose connections contradict each other

A connection follows the row of its two hosts whose kind comes first in KINDS, of equal ones that with more votes. Where
both stand *here* by the same kind, both hosts are the tap's own, and each receives what the tap sees. So it is on
loopback, which no evidence is needed for. Where neither has a row, and all rows of the interface say *middle*, it is
that; else nothing is known.

What is decided while a run goes on (steer's excuse of a wrong checksum) is decided by the connection's own Evidence:
what becomes of a frame must not depend on other connections, of which another job may know, or which end later.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rxtls.intake.vantage import KINDS, LOSS_MAJORITY, VANTAGE, Judged, Place

PLACES = ("here", "peer", "middle")
_RANK = {kind: n for n, kind in enumerate(KINDS)}
# Kinds in which votes that contradict each other mean the middle at once; with the others a weaker kind is asked first.
_TORN_IS_MIDDLE = frozenset({"loss", "timing"})
_OUTWEIGH = frozenset({"cooked", "checksum", "loss"})  # what is in the packets, against what is said of them
_AT_A_HOST = (VANTAGE[Place.AT_A], VANTAGE[Place.AT_B])


class Sight(NamedTuple):
    """One connection as a voter: the capture interfaces that saw it, the addresses of endpoints a and b, whether b is
    the client, what its own packets say, and, by the sender's side, what `said_by` says instead."""

    interfaces: tuple[int, ...]
    a: str
    b: str
    client_side: int
    judged: Judged
    said: tuple[str, str] | None = None
    said_by: str | None = None


class Verdict(NamedTuple):
    """Of a row: one of PLACES, the kind of evidence that decided, how many votes of it spoke for and against."""

    place: str
    kind: str
    votes: int
    against: int


@dataclass(slots=True)
class Row:
    """The votes about one host at one capture interface, by kind: here, peer, middle. A loss is a vote, of the other
    kinds a connection is. `peer` is who was first said to be at the tap instead, `several` if not the only one."""

    connections: int = 0
    votes: dict[str, list[int]] = field(default_factory=dict)
    peer: str | None = None
    several: bool = False

    def add(self, other: Row) -> None:
        """The votes of another row as well."""
        self.connections += other.connections
        for kind, votes in other.votes.items():
            mine = self.votes.setdefault(kind, [0, 0, 0])
            for n, each in enumerate(votes):
                mine[n] += each
        self.several |= other.several or (None not in (self.peer, other.peer) and self.peer != other.peer)
        self.peer = self.peer or other.peer

    def verdict(self) -> Verdict:
        """What they come to. There is one at least."""
        torn: Verdict | None = None
        for kind in KINDS:
            votes = self.votes.get(kind, [0])
            most, all_of_them = max(votes), sum(votes)
            if most and most >= LOSS_MAJORITY * (all_of_them - most):
                return Verdict(PLACES[votes.index(most)], kind, most, all_of_them - most)
            if most:
                torn = torn or Verdict("middle", kind, all_of_them, all_of_them - most)
                if kind in _TORN_IS_MIDDLE:
                    return torn
        assert torn is not None
        return torn


class Taps:
    """The rows of a run, of which `judge` then takes any of its connections."""

    def __init__(self, sights: Iterable[Sight]) -> None:
        self._rows: dict[tuple[tuple[int, ...], str], Row] = {}
        for sight in sights:
            for host, peer, votes in _votes(sight):
                row = Row(1, {sight.judged.kind or "": votes}, peer if votes[1] else None)
                self._rows.setdefault((sight.interfaces, host), Row()).add(row)
        self._verdicts = {key: row.verdict() for key, row in self._rows.items()}
        places: dict[tuple[int, ...], set[str]] = {}
        for (interfaces, _), verdict in self._verdicts.items():
            places.setdefault(interfaces, set()).add(verdict.place)
        self._in_the_middle = {interfaces for interfaces, found in places.items() if found == {"middle"}}

    def judge(self, sight: Sight) -> tuple[tuple[str, str], str | None]:
        """The vantage of a connection's directions by the sender's side, and who or which kind of evidence says so."""
        if sight.said is not None and sight.said_by != "file":
            return sight.said, sight.said_by
        found = self._shown(sight)
        if sight.said is None:
            return found
        # Tools that join captures keep one comment for all: packets that contradict it outweigh it.
        shown, kind = found
        return found if kind in _OUTWEIGH and shown in _AT_A_HOST and shown != sight.said else (sight.said, "file")

    def _shown(self, sight: Sight) -> tuple[tuple[str, str], str | None]:
        """What packets show."""
        if sight.a == sight.b or sight.a.startswith("127.") or sight.a == "::1":
            return ("receiver", "receiver"), "address"
        found = [self._of(sight, host, peer) for host, peer in ((sight.a, sight.b), (sight.b, sight.a))]
        places = [(Place.AT_A, Place.AT_B), (Place.AT_B, Place.AT_A)]
        a, b = found
        if a is not None and b is not None and a.place == b.place == "here" and a.kind == b.kind:
            return ("receiver", "receiver"), a.kind
        known = [
            (_RANK[each.kind], -each.votes, [*places[side], Place.MIDDLE][PLACES.index(each.place)])
            for side, each in enumerate(found)
            if each is not None
        ]
        if known:
            rank, _, place = min(known)
            return VANTAGE[place], list(KINDS)[rank]
        if sight.interfaces in self._in_the_middle:
            return VANTAGE[Place.MIDDLE], "tap"
        return VANTAGE[Place.UNKNOWN], None

    def _of(self, sight: Sight, host: str, peer: str) -> Verdict | None:
        """The verdict on `host` at the interfaces that saw the connection, as far as it is one on `peer` too."""
        asked = {sight.interfaces, *((interface,) for interface in sight.interfaces)}
        keys = [key for interfaces in asked if (key := (interfaces, host)) in self._rows]
        if not keys:
            return None
        if len(keys) == 1:
            row, verdict = self._rows[keys[0]], self._verdicts[keys[0]]
        else:
            row = Row()
            for key in keys:
                row.add(self._rows[key])
            verdict = row.verdict()
        return verdict if verdict.place != "peer" or row.several or row.peer == peer else None

    def as_json(self) -> list[dict[str, Any]]:
        """`taps` of the JSON, by interface, those that most connections speak of first."""
        rows = sorted(self._rows.items(), key=lambda item: (item[0][0], -item[1].connections, item[0][1]))
        return [
            {
                "interfaces": list(interfaces),
                "host": host,
                "place": (verdict := self._verdicts[interfaces, host]).place,
                "by": verdict.kind,
                "connections": row.connections,
                "votes": {kind: dict(zip(PLACES, row.votes[kind], strict=True)) for kind in KINDS if kind in row.votes},
            }
            for (interfaces, host), row in rows
        ]


def _votes(sight: Sight) -> Iterator[tuple[str, str, list[int]]]:
    """Of each of its hosts: the host, its peer, and the votes for PLACES."""
    place, kind, at_a, at_b = sight.judged
    if kind is None or sight.a == sight.b:
        return
    middle = 0
    if kind != "loss":
        at_a, at_b, middle = (int(place is each) for each in (Place.AT_A, Place.AT_B, Place.MIDDLE))
    yield sight.a, sight.b, [at_a, at_b, middle]
    yield sight.b, sight.a, [at_b, at_a, middle]


def settle(flows: Sequence[dict[str, Any]], sights: Sequence[Sight]) -> list[dict[str, Any]]:
    """Write into the JSON of `flows`, whose sights these are, the vantage of each direction; `taps` of the JSON.

    What arrived may be one value of several flows. Then it is, as well, one of those with the same vantage.
    """
    taps = Taps(sights)
    told: dict[object, tuple[object, dict[str, Any]]] = {}
    for flow, sight in zip(flows, sights, strict=True):
        by_sender, kind = taps.judge(sight)
        vantage = {"server": by_sender[sight.client_side], "client": by_sender[1 - sight.client_side]}
        received = flow["receive"]
        key = id(received), *vantage.values(), kind
        if key not in told:
            settled = {
                receiver: None if each is None else {**each, "vantage": vantage[receiver], "vantage_by": kind}
                for receiver, each in received.items()
            }
            told[key] = received, settled  # with what was, so that nothing else comes to have its id
        flow["receive"] = told[key][1]
    return taps.as_json()
