"""Steady directions: receive is enabled, records are application data, and the host of a direction runs compiled.

    plain host ── fits ──► steady: FastDirection (host/compiled/serve.py) ── anything unusual ──► plain host

Going over, either way and at any host point, is unobservable. Here the plain and the compiled host meet: what the
compiled one brings out is told to the direction in the words of the plain one, so that driver/driver.py does not know
which it was.

Most host points of a steady direction need not come here at all: nic_and_host.py serves them with the NIC's own kernel,
and only those of which somebody has to hear are told. What was done there arrives as if it had been done here.

A steady direction may also be *quiet*: its host steps are no-ops for the device, so the NIC need not stop for them, and
several host points are served at once (device/compiled/nic.py says when; records come out at the points at which they
would have).
"""

from __future__ import annotations

from typing import Protocol

from rxtls.crypto.suites import Version
from rxtls.driver.driver import WayBack, moved
from rxtls.events import Record
from rxtls.host.compiled.columns import Delivered
from rxtls.host.compiled.serve import DONE, HOLE, RECORD, FastDirection, fits
from rxtls.host.compiled.tables import FastHost
from rxtls.host.direction import Direction
from rxtls.host.flow import Flow
from rxtls.native.shapes import Array
from rxtls.offload.compiled.arena import Arena
from rxtls.offload.mbuf import Mbuf
from rxtls.path.records import Place

# How a NIC may pass over a lane's host points: device/compiled/nic.py.
NEVER, WHILE_CLEAN, ALWAYS = range(3)


class SkippingNic(Protocol):
    """What is asked of the compiled NIC here."""

    def detach(self, flow: int) -> int: ...
    def told(self, flow: int) -> tuple[int, int] | None: ...
    def host(self, flow: int, row: int) -> None: ...
    def passed(self, flow: int) -> bool | None: ...
    def news(self, flow: int) -> bool: ...
    def quiet(self, flow: int, mode: int) -> None: ...
    def attend(self, flow: int) -> None: ...


class Steady:
    """The steady directions of a path, by receive flow."""

    def __init__(self, nic: SkippingNic, host: FastHost, way_back: WayBack) -> None:
        self._nic = nic
        self._host = host
        self._way_back = way_back
        self._fast: dict[int, FastDirection] = {}
        self._modes: dict[int, int] = {}
        self.events: list[tuple[Place, Record]] = []  # of this call, what is no row

    def __contains__(self, flow_id: int) -> bool:
        return flow_id in self._fast

    @property
    def arena(self) -> Arena:
        """Where the records' bytes are."""
        return self._host.arena

    @property
    def rows(self) -> Array:
        """What was delivered since `begin`."""
        return self._host.records[: self._host.filled]

    @property
    def delivered(self) -> int:
        """How many rows those are."""
        return self._host.filled

    def memory(self, flow_id: int) -> int:
        """What it holds out of order."""
        return self._fast[flow_id].memory if flow_id in self._fast else 0

    def waits(self, flow_id: int) -> bool:
        """Whether host points that were passed over are still to be served."""
        return bool(self._nic.passed(flow_id))

    def done(self, flow_id: int) -> bool:
        """Whether those that it is listed for have been served before their turn."""
        return self._nic.passed(flow_id) is False

    def begin(self) -> None:
        """A new call: nobody reads the records of the last one any more."""
        self.events = []
        self._host.release_records()

    def consider(self, flow: Flow, side: int) -> None:
        """Let the compiled host have a direction if it can."""
        direction = flow.directions[side]
        if direction.session is not None and fits(direction):
            flow_id = 2 * flow.connection.id + side
            fast = self._fast[flow_id] = FastDirection(self._host, direction, flow_id)
            self._nic.host(flow_id, fast.row)
            self._go_on(flow_id, fast)

    def serve(self, flow: Flow, side: int, point: int) -> list[tuple[int, list[Mbuf]]]:
        """Serve the host points that are due, `point` the last of them, and the policy. Returns what is left for the
        plain host, if it has to take the direction over: host points, with the Mbufs that are still to be input."""
        flow_id = 2 * flow.connection.id + side
        fast = self._fast[flow_id]
        self._way_back.hear(flow, side)
        told = self._nic.told(flow_id)
        ended = fast.serve(self._nic.detach(flow_id)) if told is None else fast.take(*told)
        ended = self._cross(flow, side, fast, ended)
        while ended == RECORD:
            reply = flow.hear(side, *self._last(fast))
            if reply is not None or flow.library.handshaking:  # the latter: a renegotiation has begun
                left = self.leave(flow_id)
                flow.obey(side, reply)
                return left
            ended = self._cross(flow, side, fast, fast.serve())
        direction = fast.direction
        if ended != DONE or moved(direction):
            return self.leave(flow_id) or [(point, [])]
        self._way_back.offload(flow, side, fast.standing)
        self._go_on(flow_id, fast)
        return []

    def ahead(self, flow: Flow, side: int, told: tuple[int, int]) -> list[Mbuf] | None:
        """Records of it were brought out between two host points (Flow.ahead), by a kernel that `told` so. If the plain
        host has to take the direction over: what is still to be input."""
        flow_id = 2 * flow.connection.id + side
        fast = self._fast[flow_id]
        direction = fast.direction
        direction.ahead = bool(direction.losses) or self._nic.news(flow_id)
        ended, reply = fast.take(*told), None
        while ended == RECORD and not flow.defer(side, *self._last(fast)):
            reply = flow.hear(side, *self._last(fast))
            if reply is not None:
                break
            ended = fast.serve()
        direction.ahead = False
        if ended != DONE:
            left = [mbuf for _, mbufs in self.leave(flow_id) for mbuf in mbufs]
            flow.obey(side, reply)
            return left
        if direction.reports or direction.unheard or direction.leaf is not None:
            fast.listen_once()
        return None

    def _cross(self, flow: Flow, side: int, fast: FastDirection, ended: int) -> int:
        """Go on behind holes, where that is possible."""
        while ended == HOLE:
            on = fast.go_on(flow, side)
            self.events += [(fast.place_of_events, record) for record in flow.records]
            flow.records.clear()
            if not on:
                break
            ended = fast.serve()
        return ended

    def leave(self, flow_id: int) -> list[tuple[int, list[Mbuf]]]:
        """The plain host takes over: what is left of host points that were begun."""
        fast = self._fast.pop(flow_id)
        self._nic.host(flow_id, 0)
        if self._modes.pop(flow_id, NEVER):
            self._nic.quiet(flow_id, NEVER)
        return [(group.point, group.mbufs) for group in fast.demote()]

    def _last(self, fast: FastDirection) -> tuple[int, bytes]:
        """Type and payload of its record that was delivered last."""
        row = self._host.records[fast.last - 1].tolist()
        return row[Delivered.TYPE], bytes(
            self.arena.bytes(row[Delivered.CHUNK], row[Delivered.AT], row[Delivered.LENGTH])
        )

    def _go_on(self, flow_id: int, fast: FastDirection) -> None:
        """The NIC may go on: of which host points it has to tell, and which it may pass over."""
        fast.listen(self._way_back.attentive(fast.direction))
        self._set_mode(flow_id, fast.direction)
        if self._modes.get(flow_id) == WHILE_CLEAN and fast.waits:
            self._nic.attend(flow_id)

    def _set_mode(self, flow_id: int, direction: Direction) -> None:
        """Whether host points may be passed over: only while nothing that the host does can reach the device."""
        tag = direction.receive_tag
        mode = NEVER
        if tag is None:
            # Software since the NIC does not take these keys: it will not take the next ones either. But before TLS 1.3
            # a renegotiation may begin in any record, and the two directions must then be served in frame order.
            for_good = direction.why_software == "profile" and self._fast[flow_id].version is Version.TLS13
            mode = ALWAYS if for_good else NEVER
        elif tag.quiet and not self._fast[flow_id].resync:
            mode = WHILE_CLEAN
        if mode != self._modes.get(flow_id, NEVER):
            self._modes[flow_id] = mode
            self._nic.quiet(flow_id, mode)
