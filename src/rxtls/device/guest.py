"""The protocol of a NIC of somebody else's: what rxtls tells it, what it may tell, and what it must not do.

rxtls keeps what is around a device: flow rules, latencies, limits, LRO, the clock. The device sees, in order, the
packets with payload of the flows that have a receive tag, if they come by the receive tag's interface.

    install(flow, ...)          the receive tag of a flow: keys, and the first record's place and number
    post(flow, command)         Query, Confirm, SetPosition, once their latency is over
    receive(flow, packet)       one packet's payload in; the same out, decrypted in whole, or None: as on the wire
    release(flow, epoch)        the receive tag goes; nothing more of it may be told

What a device tells (Said) it gives back with the call in which it comes to know it. The rules:

    1. A packet is decrypted in whole or not at all. Decrypted is: record headers, explicit nonces and AEAD tags as on
       the wire, ciphertext replaced by plaintext (in TLS 1.3 with the inner type and padding). The length stays.
    2. Decrypted may be called only a packet all of whose AEAD tags that end in it have verified, and whose records
       were seen from their headers on.
    3. Commands and answers bear the epoch of the receive tag; what is for another epoch has no effect.
    4. A Confirm holds only for the place at which the device tracks, and the number counts from there.

This protocol is stable: members are added with a default, and never changed. `rxtls conform` holds a device to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from rxtls.offload.commands import Command, Guess, Happening, Install, Progress


class Packet(NamedTuple):
    """One packet of a flow. `payload` is what stands behind the TCP header, `seq` its first byte's sequence number."""

    seq: int
    payload: bytes
    frame: int  # the global index of its frame, from 0
    time_ns: int  # capture time


class Event(NamedTuple):
    """Something happened on the device: `tcp_sn` is the header or byte that it is about."""

    happening: Happening
    tcp_sn: int


Said = Progress | Guess | Event


class Device(Protocol):
    """A NIC of somebody else's. `flow` is a number from 0 for each direction of each connection."""

    def install(self, flow: int, install: Install) -> Sequence[Said]:
        """A receive tag for this flow. `install` has epoch, leaf, keys, and the number and place of the first record.
        Another one that the flow may have had was released before."""

    def post(self, flow: int, command: Command) -> Sequence[Said]:
        """A command acts. A Query wants a Progress; a Confirm an Event CONFIRMED or STALE_CONFIRM."""

    def receive(self, flow: int, packet: Packet) -> tuple[bytes | None, Sequence[Said]]:
        """A packet passes: its payload decrypted, or None."""

    def release(self, flow: int, epoch: int) -> None:
        """The receive tag is no more."""
