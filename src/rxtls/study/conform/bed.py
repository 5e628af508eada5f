"""The bed: one NIC, one flow of a case after the other, packet by packet, with the rules that hold for every packet.

    a packet comes out with its length, its leaf, and every byte as on the wire or as decrypted
    it is decrypted in whole, under the mark of the receive tag that is installed, and on that tag's interface alone
    no AEAD tag that ends in a decrypted packet is bad, and no record in it lacks bytes before it
    a byte of the stream is decrypted once

Commands act at the next tick: a packet without payload.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from rxtls.crypto.keys import Keys
from rxtls.device.guest import Device
from rxtls.device.guest_nic import GuestNic
from rxtls.device.lro import MAX_RUN
from rxtls.device.nic import Nic
from rxtls.device.profiles import Profile
from rxtls.intake.batch import ACK, COLUMNS
from rxtls.offload.commands import Command, DeviceEvent, Guess, Install, Progress
from rxtls.offload.mbuf import Mbuf
from rxtls.path.engines import chosen
from rxtls.study.conform.stream import Stream

Told = list[Progress | Guess]


class Breach(Exception):  # noqa: N818 - it is what was found, and no error of ours
    """What the NIC did that it must not, or did not though it must."""


class Core(Protocol):
    """What is asked of a NIC: device/nic.py and its compiled twin have it."""

    def flush(self, flow: int) -> list[Mbuf]: ...
    def post(self, flow: int, command: Install | Command) -> None: ...
    def release(self, flow: int) -> None: ...
    def answers(self, flow: int) -> Told: ...
    def log(self, flow: int) -> list[DeviceEvent]: ...


class Bed:
    """A NIC: one of ENGINES, or a Device of somebody else's."""

    def __init__(self, nic: str | Device, profile: Profile) -> None:
        self.profile = profile
        self._next = 0
        self._core: Any
        self._plain = True
        if not isinstance(nic, str):
            self._core = GuestNic(profile, MAX_RUN, nic)
        elif chosen(nic) == "plain":
            self._core = Nic(profile, MAX_RUN)
        else:
            from rxtls.crypto.compiled.key_table import KeyTable
            from rxtls.device.compiled.nic import CompiledNic
            from rxtls.offload.compiled.arena import Arena

            self._plain = False
            self._core = CompiledNic(profile, Arena(), KeyTable())

    @property
    def core(self) -> Core:
        """The NIC itself."""
        core: Core = self._core
        return core

    def flow(self) -> int:
        """A flow that nobody has had yet."""
        self._next += 2
        return self._next

    def done(self, flow: int) -> None:
        """Nothing more comes of this flow."""
        self._core.forget(flow >> 1)

    def packet(self, flow: int, clock: int, seq: int, payload: bytes, leaf: int) -> tuple[int, bytes, int]:
        """One packet through: mark, payload, leaf."""
        row = [clock, clock * 1_000, leaf, flow, clock, seq, ACK, 0, len(payload), -1, -1]
        assert len(row) == COLUMNS
        if self._plain:
            due = self._core.receive([[*row, 0]], payload)
        else:
            data = np.frombuffer(payload or b"\0", np.uint8)
            due = self._core.receive(np.array([row], np.int64), data)
        found = self._core.flush(flow)
        said = {(mbuf.mark, mbuf.leaf) for mbuf in found}
        content = b"".join(bytes(mbuf.data) for mbuf in found)
        while due:
            due = self._core.resume(payload) if self._plain else self._core.resume()
        if len(said) != 1:
            raise Breach(f"a packet of {len(payload)} bytes comes up with {len(said)} marks and leaves")
        mark, came_by = said.pop()
        return mark, content, came_by


@dataclass(slots=True)
class Played:
    """One stream of a case under one receive tag."""

    bed: Bed
    stream: Stream
    flow: int
    epoch: int = 0
    leaf: int = 0
    clock: int = 0
    silenced: str = ""  # why nothing may be decrypted now
    answers: Told = field(default_factory=list)
    _came: set[int] = field(default_factory=set)
    _marked: set[int] = field(default_factory=set)

    def install(self, index: int = 0, keys: Keys | None = None, tick: bool = True) -> Played:
        """A receive tag that begins with the record `index`."""
        self.epoch += 1
        sent = self.stream.records[index]
        install = Install(self.epoch, self.leaf, keys or self.stream.keys, sent.number, self.stream.seq(sent.start))
        self.bed.core.post(self.flow, install)
        if tick:
            self.tick()
        return self

    def post(self, command: Command) -> Told:
        """A command, and what comes back of it."""
        self.bed.core.post(self.flow, command)
        return self.tick()

    def release(self) -> None:
        """The receive tag goes."""
        self.bed.core.release(self.flow)
        self.silenced = "there is no receive tag any more"

    def tick(self) -> Told:
        """Commands act; what the device has told since the last tick."""
        self._through(0, b"", self.leaf)
        told = self.bed.core.answers(self.flow)
        self.answers += told
        return told

    def send(self, start: int, end: int, leaf: int | None = None, data: bytes | None = None) -> bool:
        """The stream's bytes [start, end), or other ones in their place: whether they came up decrypted."""
        stream = self.stream
        given = stream.wire[start:end] if data is None else data
        mark, out, came_by = self._through(stream.seq(start), given, self.leaf if leaf is None else leaf)
        where = f"bytes {start} to {start + len(given)}"
        if len(out) != len(given):
            raise Breach(f"{where}: {len(out)} bytes came of {len(given)}")
        if came_by != (self.leaf if leaf is None else leaf):
            raise Breach(f"{where}: another leaf than the packet's")
        if not mark:
            if out != given:
                raise Breach(f"{where}: not marked, and not as on the wire")
            self._came.update(range(start, start + len(given)))
            return False
        self._marked_rightly(mark, start, out, where, genuine=given == stream.wire[start : start + len(given)])
        if leaf not in (None, self.leaf):
            raise Breach(f"{where}: decrypted on another interface than the receive tag's")
        return True

    def _marked_rightly(self, mark: int, start: int, out: bytes, where: str, genuine: bool) -> None:
        stream, end = self.stream, start + len(out)
        if self.silenced:
            raise Breach(f"{where}: decrypted, though {self.silenced}")
        if mark != self.epoch:
            raise Breach(f"{where}: marked with epoch {mark}, not {self.epoch}")
        if not genuine:
            raise Breach(f"{where}: decrypted, though it is not what was sent")
        self._came.update(range(start, end))
        for n, sent in enumerate(stream.records):
            if sent.start >= end or sent.end <= start:
                continue
            if not sent.good and sent.end <= end:
                raise Breach(f"{where}: decrypted, though record {n} in it is not authentic")
            if any(at not in self._came for at in range(sent.start, start)):
                raise Breach(f"{where}: decrypted, though bytes of record {n} before it never came")
        if out != stream.plain[start:end]:
            raise Breach(f"{where}: decrypted to wrong bytes")
        if not self._marked.isdisjoint(range(start, end)):
            raise Breach(f"{where}: decrypted for the second time")
        self._marked.update(range(start, end))

    def cut(self, *cuts: int) -> list[bool]:
        """Packets in order, from cut to cut."""
        return [self.send(start, end) for start, end in pairwise(cuts)]

    def rest(self, start: int = 0, step: int = 1_448) -> list[bool]:
        """Packets in order from `start` to the end."""
        return self.cut(*range(start, len(self.stream.wire), step), len(self.stream.wire))

    def log(self) -> list[DeviceEvent]:
        """What happened on the device since the last call."""
        return self.bed.core.log(self.flow)

    def _through(self, seq: int, data: bytes, leaf: int) -> tuple[int, bytes, int]:
        self.clock += 1
        return self.bed.packet(self.flow, self.clock, seq, data, leaf)


def must(held: bool, what: str) -> None:
    """Something that a device has to do."""
    if not held:
        raise Breach(what)


def must_all(marks: Sequence[bool], what: str) -> None:
    """All of these packets have to come up decrypted."""
    if not all(marks):
        raise Breach(f"{what}: packet {list(marks).index(False)} of {len(marks)} came up as on the wire")
