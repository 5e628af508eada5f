"""One run of the simulated connection that link.py describes: the heap of events and what each of them does.

Top to bottom: the application (gates and reading), TCP (what arrives, what may be sent, timers), the wire (fates drawn,
the tap), beginning and end.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from random import Random

from rxtls import seq
from rxtls.simulation.link_model import MILLISECOND, Connection, Impairment, LinkFrame, LinkRun, Reader, Side
from rxtls.simulation.peer import End, Segment
from rxtls.simulation.sender import APPLICATION_DATA, Gate, TlsSender
from rxtls.wire.packets import ACK, FIN, PSH, RST, SYN, syn_options, timestamps

CLIENT, SERVER, MIDDLE = 0, 1, 2
TAPS = {"client": CLIENT, "server": SERVER, "middle": MIDDLE}

DELAYED_ACK_NS = MILLISECOND  # RFC 9293 section 3.8.6.3 allows 500 ms; short, so that waiting does not fill the capture
RTO_NS, MAX_RTO_NS = 200 * MILLISECOND, 2_000 * MILLISECOND  # Linux's least; the most keeps simulated time short
UNIT_NS = 10 * MILLISECOND  # what follows so long a silence is no part of the unit before: a repair has its own fate
SHORTEST_FRAME = 60  # what Ethernet pads to (IEEE 802.3, without the FCS): seen on arrival, not on departure
RECORD_HEADER = 5

Act = Callable[[int, End], None]


class Run:
    """One connection, from its first frame to its last."""

    def __init__(
        self,
        dice: Random,
        connection: Connection,
        impairments: tuple[Impairment, Impairment],
        writers: tuple[TlsSender, TlsSender],
        reader: Reader | None = None,
    ) -> None:
        self.dice = dice
        self.reader = reader
        self.waking = False
        self.shown = 0  # frames that the reader has taken
        self.connection = connection
        self.ends = [End(side, connection, impairments[side], writers[side]) for side in (CLIENT, SERVER)]
        for end, peer in (self.ends, self.ends[::-1]):
            if peer.data and not end.data:  # who only listens closes when the other has
                end.gates.append(Gate(0, peer.sending.total, 0))
        self.tap = TAPS[connection.tap]
        self.rto_ns = max(RTO_NS, 4 * sum(impairment.delay_ns for impairment in impairments))
        self.events: list[tuple[int, int, Act | Segment, End]] = []
        self.order = 0
        self.frames: list[LinkFrame] = []
        self.counts: Counter[str] = Counter()

    def run(self) -> LinkRun:
        begin = (self.connection.start_ns,) * 2
        if self.connection.handshake:
            begin = self.handshake()
        for end in self.ends:
            self.at(begin[end.side], self.proceed, end)
        while self.events:
            now, _, event, end = heapq.heappop(self.events)
            if isinstance(event, Segment):
                self.arrive(now, end, event)
            else:
                event(now, end)
        if self.reader:
            self.show()
        self.frames.sort(key=lambda frame: frame.time_ns)
        if self.connection.end == "rst":
            self.reset()
        client, server = self.ends
        return LinkRun(self.frames, self.side(client), self.side(server), self.counts)

    def at(self, time_ns: int, event: Act | Segment, end: End) -> None:
        """Let `event` happen to `end` at that time; at equal times, in the order asked for."""
        self.order += 1
        heapq.heappush(self.events, (time_ns, self.order, event, end))

    def side(self, end: End) -> Side:
        peer = self.ends[1 - end.side].receiving
        return Side(end.records, end.data, bytes(peer.stream[: min(peer.nxt, len(end.data))]), end.first)

    # The application

    def proceed(self, now: int, end: End) -> None:
        """Write up to the first gate that still has to be waited for."""
        gates = end.gates
        while gates and not end.pausing and end.receiving.nxt >= gates[0].peer:
            if gates[0].pause_ns:
                end.pausing = True
                self.at(now + gates[0].pause_ns, self.paused, end)
                break
            gates.popleft()
        end.sending.available = gates[0].at if gates else end.sending.total
        self.pump(now, end)

    def paused(self, now: int, end: End) -> None:
        """The pause at a gate is over."""
        end.pausing = False
        end.gates.popleft()
        self.proceed(now, end)

    def read_on(self, now: int, end: End) -> None:
        """A stalled reader takes all that waits, and the window opens."""
        end.receiving.resume()
        self.acknowledge(now, end)

    def wake(self, now: int, end: End) -> None:
        """The reader behind the tap has its turn."""
        assert self.reader is not None
        self.waking = False
        self.open(now, end, self.reader.wake())

    def open(self, now: int, end: End, limit: int) -> None:
        """The reader has room up to `limit`: worth telling at two segments or half the buffer (RFC 9293 3.8.6.2.2)."""
        assert self.reader is not None
        half = end.receiving
        half.limit = limit
        if limit - half.edge >= min(2 * self.connection.mss, self.connection.windows[end.side] // 2):
            self.acknowledge(now, end)
        if self.reader.waits and not self.waking:
            self.waking = True
            self.at(now + self.reader.pause_ns, self.wake, end)

    def show(self) -> int:
        """Let the reader take what the tap has seen since; up to where there is room then."""
        assert self.reader is not None
        seen, self.shown = self.frames[self.shown :], len(self.frames)
        return self.reader.take(seen)

    # TCP

    def arrive(self, now: int, end: End, segment: Segment) -> None:
        """A segment reached `end`."""
        peer = self.ends[1 - end.side]
        if self.tap == end.side:
            self.see(now, segment.frame.ljust(SHORTEST_FRAME, b"\0"), segment.interface)
        elif self.tap == MIDDLE:
            self.see(now - peer.impairment.delay_ns // 2, segment.frame, segment.interface)
        if not segment.intact:
            return
        if end.sending.acknowledged(segment.news):
            end.deadline = None
        if segment.data:
            self.take(now, end, segment)
        elif self.connection.keepalive and 0 < end.sending.una <= len(end.data):
            self.keep_alive(now, end)
        self.proceed(now, end)

    def take(self, now: int, end: End, segment: Segment) -> None:
        """Data came: what is in order is read at once, unless the reader stalls now."""
        half = end.receiving
        stall = self.connection.stall
        if stall and half.reading and segment.start == half.nxt and self.dice.random() < stall:
            half.reading = False
            self.counts["stalls"] += 1
            self.at(now + self.connection.stall_ns, self.read_on, end)
        end.unacknowledged += 1
        now_heard = half.accept(segment.start, segment.data, segment.number)
        if self.reader and self.tap == end.side:
            self.open(now, end, self.show())
        if now_heard:
            self.acknowledge(now, end)

    def pump(self, now: int, end: End) -> None:
        """Send all that may be sent, then acknowledge what that did not."""
        half = end.sending
        while piece := half.next(self.dice, end.impairment.resegment):
            self.transmit(now, end, *piece)
        if half.waiting and end.deadline is None and not half.gave_up:
            end.deadline = now + min(self.rto_ns << half.tries, MAX_RTO_NS)
            if not end.timing:
                end.timing = True
                self.at(end.deadline, self.timer, end)
        if end.unacknowledged >= 2:  # RFC 5681 section 4.2: at least every second segment
            self.acknowledge(now, end)
        elif end.unacknowledged and not end.acknowledging:
            end.acknowledging = True
            self.at(now + DELAYED_ACK_NS, self.acknowledge_late, end)

    def timer(self, now: int, end: End) -> None:
        """The retransmission timer's event; the deadline may have moved since it was set."""
        end.timing = False
        if end.deadline is None or not end.sending.waiting:
            end.deadline = None
            return
        if now < end.deadline:
            end.timing = True
            self.at(end.deadline, self.timer, end)
            return
        end.deadline = None
        self.counts["timeouts"] += 1
        if probe := end.sending.timeout():
            self.counts["probes"] += 1
            self.transmit(now, end, *probe)
        self.pump(now, end)

    def acknowledge_late(self, now: int, end: End) -> None:
        end.acknowledging = False
        if end.unacknowledged:
            self.acknowledge(now, end)

    def acknowledge(self, now: int, end: End) -> None:
        """A pure acknowledgement."""
        self.depart(now, end, -1, end.sending.nxt, b"", b"", 0)

    def keep_alive(self, now: int, end: End) -> None:
        """The byte before the first unacknowledged one, of any value, or nothing there (RFC 9293 section 3.8.4)."""
        if self.dice.random() >= self.connection.keepalive:
            return
        self.counts["keepalives"] += 1
        garbage = bytes(self.dice.randint(0, 1))
        self.depart(now, end, -1, end.sending.una - 1, garbage, garbage, 0)

    def transmit(self, now: int, end: End, start: int, stop: int) -> None:
        """Bytes [start, stop) of the stream; the one after its data is the FIN."""
        payload = data = end.data[start:stop]
        flags = 0
        if end.fin and stop == end.sending.total:
            flags = FIN
            data = payload + b"\0"
        if stop >= end.sending.available:
            flags |= PSH
        if start < end.sent:
            self.counts["retransmitted"] += 1
        end.sent = max(end.sent, stop)
        self.depart(now, end, end.sending.number, start, payload, data, flags)

    # The wire

    def depart(self, now: int, end: End, number: int, start: int, payload: bytes, data: bytes, flags: int) -> None:
        """A segment leaves: its fate is drawn, the tap may see it, and what is not lost will arrive. `data` is what the
        receiving half gets for `payload`, a FIN's place in sequence space included."""
        how, dice = end.impairment, self.dice
        if now - end.free_ns > UNIT_NS:
            end.departed = 0
        time_ns = max(now, end.free_ns)
        end.free_ns = time_ns + how.gap_ns
        self.draw(end)
        if payload and how.move and dice.random() < how.move:
            end.interface = (end.interface + 1) % len(self.connection.interfaces)
            self.counts["moved"] += 1
        if payload and number >= 0 and how.corrupt_unseen and dice.random() < how.corrupt_unseen:
            payload = self.flip(end, start, payload)
            data = payload + data[len(payload) :]
        field, news = end.receiving.report()
        end.unacknowledged = 0
        peer = self.ends[1 - end.side]
        interface = self.connection.interfaces[end.interface]
        options = self.options(now)
        frame = end.headers.frame(
            seq.add(end.first, start), seq.add(peer.first, news.ack), flags | ACK, field, payload, options
        )
        intact = True
        if payload and how.corrupt and dice.random() < how.corrupt:
            intact = False
            self.counts["corrupted"] += 1
            at = len(frame) - 1 - dice.randrange(len(payload))
            frame = frame[:at] + bytes([frame[at] ^ dice.randint(1, 255)]) + frame[at + 1 :]
        if self.tap == end.side:
            self.see(time_ns, frame, interface)
        if end.lost:
            self.counts["lost"] += 1
            return
        ahead = how.jump * how.unit * how.gap_ns
        arrival = time_ns + how.delay_ns + (max(0, ahead) if how.reorder else 0)  # netem: to be early takes a queue
        if end.jumped:
            self.counts["reordered"] += 1
            arrival -= ahead
        segment = Segment(number, start, data, news, frame, interface, intact)
        self.at(arrival, segment, peer)
        if end.doubled:
            self.counts["duplicated"] += 1
            self.at(arrival + how.gap_ns * dice.randint(1, 8 * how.unit), segment, peer)

    def draw(self, end: End) -> None:
        """The fate of a unit is drawn with its first segment."""
        how, dice = end.impairment, self.dice
        if end.departed % how.unit == 0:
            end.lost = how.loss > 0 and dice.random() < how.loss
            end.doubled = how.duplicate > 0 and dice.random() < how.duplicate
            end.jumped = how.reorder > 0 and dice.random() < how.reorder
        end.departed += 1

    def flip(self, end: End, start: int, payload: bytes) -> bytes:
        """`payload` with one byte changed, where the impairment allows it."""
        at = self.dice.randrange(len(payload))
        if end.impairment.spare_control:
            index = bisect_right(end.records, start + at, key=lambda record: record.start) - 1
            if index < 0:
                return payload
            record = end.records[index]
            if record.type != APPLICATION_DATA or not RECORD_HEADER <= start + at - record.start < record.length:
                return payload
        self.counts["corrupted_unseen"] += 1
        return payload[:at] + bytes([payload[at] ^ self.dice.randint(1, 255)]) + payload[at + 1 :]

    def see(self, time_ns: int, frame: bytes, interface: int) -> None:
        self.frames.append(LinkFrame(time_ns, frame, interface))

    def options(self, now: int) -> bytes:
        if not self.connection.timestamps:
            return b""
        milliseconds = now // MILLISECOND
        return timestamps(milliseconds, milliseconds)

    # Beginning and end

    def handshake(self) -> tuple[int, int]:
        """SYN, SYN-ACK, ACK. Returns when each side may begin to write."""
        client, server = self.ends
        times = [self.connection.start_ns]
        for end in (client, server, client):
            times.append(times[-1] + end.impairment.delay_ns)
        stamps = self.options(times[0])
        for i, (end, flags) in enumerate(((client, SYN), (server, SYN | ACK), (client, ACK))):
            peer = self.ends[1 - end.side]
            begun = not flags & SYN
            field, news = end.receiving.report() if begun else (min(self.connection.windows[end.side], 0xFFFF), None)
            frame = end.headers.frame(
                seq.add(end.first, 0 if begun else -1),
                peer.first if flags & ACK else 0,
                flags,
                field,
                b"",
                stamps if begun else syn_options(self.connection.mss + len(stamps), end.scale, stamps),
            )
            if self.tap == end.side:
                self.see(times[i], frame, self.connection.interfaces[0])
            elif self.tap == MIDDLE:
                self.see((times[i] + times[i + 1]) // 2, frame, self.connection.interfaces[0])
            else:
                self.see(times[i + 1], frame.ljust(SHORTEST_FRAME, b"\0"), self.connection.interfaces[0])
            if news:
                peer.sending.acknowledged(news)
        return times[2], times[3]

    def reset(self) -> None:
        """The client ends the connection with a RST at exactly the number that the server expects."""
        client, server = self.ends
        time_ns = max(client.free_ns, self.frames[-1].time_ns if self.frames else 0) + MILLISECOND
        sequence = seq.add(client.first, server.receiving.nxt)
        frame = client.headers.frame(sequence, seq.add(server.first, client.receiving.nxt), RST | ACK, 0, b"")
        if self.tap != CLIENT:
            frame = frame.ljust(SHORTEST_FRAME, b"\0")
        self.see(time_ns, frame, self.connection.interfaces[0])
