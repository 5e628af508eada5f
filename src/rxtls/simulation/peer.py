"""One endpoint of a simulated connection, and the segments between the two. State only: link_run.py acts."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from rxtls.simulation.link_model import Connection, Impairment
from rxtls.simulation.sender import TlsSender
from rxtls.simulation.tcp import Received, ReceivingHalf, SendingHalf
from rxtls.wire.packets import Headers


class Segment(NamedTuple):
    """A segment under way. `number` is the transmission, -1 where there is nothing to repair; `intact` False means that
    the receiver's checksum refuses it."""

    number: int
    start: int
    data: bytes
    news: Received
    frame: bytes
    interface: int
    intact: bool


class End:
    """One endpoint: what it writes, the two halves of its TCP, and the state of the wire that leaves it."""

    def __init__(self, side: int, connection: Connection, impairment: Impairment, writer: TlsSender) -> None:
        own, peer = (connection.client, connection.server)[:: 1 - 2 * side]
        self.side = side
        self.headers = Headers(own, peer, connection.vlans)
        self.impairment = impairment
        self.data = bytes(writer.data)
        self.records = list(writer.records)
        self.gates = deque(writer.gates)
        self.pausing = False
        self.first = connection.sequences[side]
        self.fin = connection.end == "fin"
        self.scale = _scale(connection.windows[side])
        total = len(self.data) + self.fin
        edges = [_first_edge(window, connection.handshake) for window in connection.windows]
        flight = connection.flight * connection.mss
        self.sending = SendingHalf(total, connection.mss, edges[1 - side], flight, connection.reordering)
        self.receiving = ReceivingHalf(connection.windows[side], self.scale, edges[side])
        self.unacknowledged = 0  # segments that came since the last acknowledgement went
        self.acknowledging = False  # the delayed acknowledgement's timer runs
        self.deadline: int | None = None  # of the retransmission timer
        self.timing = False  # an event for it is on the heap
        self.free_ns = 0  # when the wire has room for the next segment
        self.sent = 0  # how far the stream has been sent at all
        self.departed = 0  # segments that left; every `unit` of them draw one fate
        self.lost = self.doubled = self.jumped = False
        self.interface = 0


def _scale(window: int) -> int:
    return max(0, window.bit_length() - 16)


def _first_edge(window: int, handshake: bool) -> int:
    if handshake:
        return min(window, 0xFFFF)  # RFC 7323 section 2.2: the window of a SYN is not scaled
    return window >> _scale(window) << _scale(window)
