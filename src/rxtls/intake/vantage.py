"""Where the capture was taken, judged for one connection from nothing but its own packets (taps.py: from all).

A capture at the sender shows no loss and would fake a perfect offload; one at the receiver shows what the receiver's
NIC saw. So each direction has a vantage:

    sender ──► [tap] ─────── path ────────────► receiver      "sender"
    sender ────────── [tap] ── path ──────────► receiver      "middle"
    sender ────────── path ────────────► [tap] ─► receiver    "receiver"

Both directions follow from one `Place`: at endpoint a's host, at b's, or in the middle. Five kinds of evidence are
asked in the order of KINDS, from what can hardly be wrong to what can; the first that speaks decides, and one that
contradicts itself is silent (a router sees both hosts' packets come in; on loopback both hosts are here):

    cooked    the kernel wrote down whether the packet was ours (Linux cooked packet types)
    checksum  a checksum that its NIC had still to finish, or that was left as garbage, in all that one host sends
    loss      bytes that first came after their receiver had asked again, or late: lost or reordered before the tap.
              Bytes that the receiver asked for again although they had passed the tap: lost behind it
    size      packets joined by the receiver's NIC or GRO
    timing    how soon each host answers, as seen from here, against the round trip of the handshake

What it cannot tell: two hosts microseconds apart, without loss or offloads, look the same from either end. That is
"unknown", and the caller's --vantage says it. What is asked of a connection's packets is kept in evidence.py.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

from rxtls.intake.evidence import (
    BAD_IN_A_ROW,
    BARE_GOOD,
    BARE_PARTIAL,
    COOKED,
    FROM_US,
    GOOD,
    JOINED,
    LOADED_PARTIAL,
    TO_OTHERS,
    TO_US,
    Evidence,
    Host,
)
from rxtls.wire.frame import Packet


class Place(IntEnum):
    """Where the tap stands."""

    UNKNOWN = 0
    AT_A = 1
    AT_B = 2
    MIDDLE = 3


class Judged(NamedTuple):
    """What one connection says: where, by which of KINDS (None: it says nothing), and, where that is losses, how many
    speak for the host of a and of b."""

    place: Place = Place.UNKNOWN
    kind: str | None = None
    at_a: int = 0
    at_b: int = 0


# The vantage of a direction, by its sender's side.
VANTAGE: dict[Place, tuple[str, str]] = {
    Place.UNKNOWN: ("unknown", "unknown"),
    Place.AT_A: ("sender", "receiver"),
    Place.AT_B: ("receiver", "sender"),
    Place.MIDDLE: ("middle", "middle"),
}
# What a caller may say instead: the vantage of every direction, or whose host the tap stands at, where the client is
# endpoint a. By the sender's side.
SAID: dict[str, tuple[str, str]] = {
    **{vantage: (vantage, vantage) for vantage in ("receiver", "sender", "middle")},
    "client": VANTAGE[Place.AT_A],
    "server": VANTAGE[Place.AT_B],
}
# A pcapng file may say the same of an interface, in a comment that begins so.
SAYS = "rxtls --vantage "

# A host sends one connection's packets in order, so what is out of order was so on the way. But once or twice it may
# have been the capture, between two queues.
REORDERED = 3

# One side's losses must outnumber the other's eightfold: a spurious retransmission must not turn the verdict.
LOSS_MAJORITY = 8

MOST_LOSSES = (1 << 24) - 1  # counted for either side by `judge`

# A host answers at once, but "at once" is 10 to 100 us, and more on a busy one. A round trip below the floor measures
# hosts and not distance. At a host's own tap its answer takes an eighth of the round trip or less, and the other one,
# which has the way to go, never less than half of it: else the handshake was slow for another reason.
ROUND_TRIP_FLOOR_NS = 500_000
NEAR_SHARE = 8
FAR_SHARE = 2
# Both this far away: in the middle. A host that thinks for so long over every single packet is not one.
FAR_NS = 2_000_000


def judge(evidence: Evidence) -> Judged:
    """Where the tap stands, as far as it can be told by now, and what says so."""
    for name, kind in KINDS.items():
        place = kind(evidence, evidence.hosts)
        if place is not Place.UNKNOWN:
            losses = _losses(evidence.hosts) if name == "loss" else (0, 0)
            return Judged(place, name, *(min(each, MOST_LOSSES) for each in losses))
    return Judged()


def excuses(evidence: Evidence, side: int, packet: Packet) -> bool:
    """True when the wrong checksum of `packet`, from `side`, was left so by the sender's NIC, recorded before it.

    The place alone excuses nothing: it is an inference that may turn, and what it would let through is a packet
    that the wire damaged, whose bytes then win against the intact ones. Either the kernel wrote down that it sent
    this very packet, and received none of this host's (a router does both), or the host has not shown one checksum
    that was right or left as Linux leaves it.
    """
    if VANTAGE[judge(evidence).place][side] != "sender":
        return False
    marks = evidence.hosts[side].marks
    ours = packet.cooked_type is not None and COOKED.get(packet.cooked_type) == FROM_US
    return not marks & GOOD or (ours and not marks & TO_US)


def _cooked(_: Evidence, hosts: tuple[Host, Host]) -> Place:
    a, b = hosts[0].marks, hosts[1].marks
    at_a, at_b = a & FROM_US or b & TO_US, b & FROM_US or a & TO_US
    if at_a or at_b:
        return _one(at_a, at_b)
    return Place.MIDDLE if (a | b) & TO_OTHERS else Place.UNKNOWN


def _checksum(_: Evidence, hosts: tuple[Host, Host]) -> Place:
    a, b = hosts
    if (a.marks | b.marks) & BARE_PARTIAL:
        return _one(a.marks & BARE_PARTIAL, b.marks & BARE_PARTIAL)
    garbage_a = a.bad >= BAD_IN_A_ROW and not a.marks & GOOD and not b.bad
    garbage_b = b.bad >= BAD_IN_A_ROW and not b.marks & GOOD and not a.bad
    if garbage_a or garbage_b:
        return _one(garbage_a, garbage_b)
    # With payload the same mark may be GRO's. It is the sender's where nothing that the host sent has a finished sum.
    left_a, left_b = (host.marks & (LOADED_PARTIAL | BARE_GOOD) == LOADED_PARTIAL for host in hosts)
    return _one(left_a, left_b)


def _losses(hosts: tuple[Host, Host]) -> tuple[int, int]:
    """How many losses say that the capture was taken at a's host, and at b's."""
    a, b = hosts
    at_a = b.lost_before + a.late_loss + (b.late if b.late >= REORDERED else 0)
    return at_a, a.lost_before + b.late_loss + (a.late if a.late >= REORDERED else 0)


def _loss(_: Evidence, hosts: tuple[Host, Host]) -> Place:
    at_a, at_b = _losses(hosts)
    if at_a and at_a >= LOSS_MAJORITY * at_b:
        return Place.AT_A
    if at_b and at_b >= LOSS_MAJORITY * at_a:
        return Place.AT_B
    return Place.MIDDLE if at_a and at_b else Place.UNKNOWN


def _size(_: Evidence, hosts: tuple[Host, Host]) -> Place:
    """Joined packets of a host that finishes its own checksums: they were joined here, at its peer.

    Linux' GRO leaves in a joined packet the very checksum that TSO leaves in one to be cut (tcp_gro_complete), so the
    mark alone means nothing. A host that segments in its NIC leaves its SYNs and pure ACKs to the NIC as well (though
    not every RST: the kernel finishes those that no socket sends).
    """
    joined_a, joined_b = (
        host.marks & (BARE_GOOD | BARE_PARTIAL) == BARE_GOOD and host.marks & (JOINED | LOADED_PARTIAL)
        for host in hosts
    )
    return _one(joined_b, joined_a)


def _timing(evidence: Evidence, hosts: tuple[Host, Host]) -> Place:
    round_trip = evidence.round_trip
    if round_trip < ROUND_TRIP_FLOOR_NS or hosts[0].marks & hosts[1].marks & BARE_PARTIAL:
        return Place.UNKNOWN  # the latter: one machine, however slow it was
    a, b = (host.reaction for host in hosts)
    if min(a, b) * NEAR_SHARE <= round_trip <= max(a, b) * FAR_SHARE:
        return Place.AT_A if a < b else Place.AT_B
    return Place.MIDDLE if min(a, b) >= FAR_NS else Place.UNKNOWN


def _one(at_a: int | bool, at_b: int | bool) -> Place:
    """The place that one of the two names; UNKNOWN when they contradict each other or neither speaks."""
    if bool(at_a) == bool(at_b):
        return Place.UNKNOWN
    return Place.AT_A if at_a else Place.AT_B


KINDS: dict[str, Callable[[Evidence, tuple[Host, Host]], Place]] = {
    "cooked": _cooked,
    "checksum": _checksum,
    "loss": _loss,
    "size": _size,
    "timing": _timing,
}
