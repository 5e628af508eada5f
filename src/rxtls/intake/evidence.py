"""What a connection's own packets show of where they were captured; vantage.py judges by it.

Every frame of a connection is looked at once (`look`), also those whose checksum is bad, since a NIC's garbage is
evidence; only frames that were accepted are followed (`follow`).
"""

from __future__ import annotations

from rxtls.intake.batch import ACK, FIN, RST, SYN
from rxtls.seq import add, before, distance
from rxtls.wire.frame import Checksum, Packet

# A network that damages three packets of one host and none of the other's, nor one in between, is none.
BAD_IN_A_ROW = 3

# Where nothing of a connection was right so far, the second wrong one is not believed to be the network's doing.
NONE_RIGHT = 2
WRONG = (Checksum.BAD, Checksum.BAD_HEADER)

# RFC 5681 section 3.2: three duplicate ACKs are a receiver that misses something.
DUPLICATE_ACKS = 3

LEAST_MSS = 536  # what any host takes (RFC 9293 section 3.7.1); a packet below is not worth a look
JUMBO_PAYLOAD = 9216  # no link carries more in one packet; used where no MSS was seen

# Handshake timing. A retransmitted SYN or SYN-ACK spoils it: which one was answered is not known (Karn's rule,
# RFC 6298 section 3).
NOTHING, SYN_SENT, SYN_ACK, DONE, SPOILED = range(5)

# What a host's packets were like.
GOOD = 0x01  # checksum right, or left to the NIC
BARE_GOOD = 0x02  # right, without payload: nothing can have joined or finished it on the way here
BARE_PARTIAL = 0x04  # left to the NIC, without payload
LOADED_PARTIAL = 0x08  # left to the NIC, with payload: sent so, or joined by GRO, which leaves the same
JOINED = 0x10  # larger than a packet may be on the way
TO_US, TO_OTHERS, FROM_US = 0x20, 0x40, 0x80

# Linux cooked packet types (packet(7)): what the kernel knew about the packet. 1 and 2 are broadcast and multicast.
COOKED = {0: TO_US, 3: TO_OTHERS, 4: FROM_US}


class Host:
    """What was seen of one endpoint: first what it sent, then the direction in which it sends."""

    __slots__ = (
        "bad",
        "blind",
        "dup_acks",
        "hole",
        "hole_end",
        "hole_time",
        "late",
        "late_loss",
        "lost_before",
        "marks",
        "mss",
        "next",
        "reaction",
        "sample",
        "sample_time",
        "unbelieved",
        "window",
    )

    def __init__(self) -> None:
        self.marks = 0  # what any of its packets was like
        self.bad = 0  # wrong checksums in a row
        self.unbelieved = False  # so many before any right one that its checksums say nothing
        self.mss = -1  # announced by this host
        self.window = -1  # last one advertised by this host, unscaled
        self.reaction = -1  # shortest time in which this host answered, as seen here
        self.next = -1  # sequence number after the furthest byte it sent
        self.hole = self.hole_end = self.hole_time = -1  # the one hole that is watched, and when it opened
        self.blind = -1  # up to here other holes were, or the watched one was: no verdict on what is sent again
        self.dup_acks = 0  # how often its peer has asked for the same byte
        self.late = 0  # holes filled before the receiver asked: reordered
        self.lost_before = self.late_loss = 0  # losses before the tap, behind the tap
        self.sample = self.sample_time = -1  # the end of the segment whose ACK is timed


class Evidence:
    """What one connection shows of where it was captured: `judge` (vantage.py) may be asked at any frame."""

    __slots__ = ("_first", "_mark", "_seq", "_stage", "_starter", "hosts", "round_trip")

    def __init__(self) -> None:
        self.hosts = (Host(), Host())
        self._stage = NOTHING
        self._starter = 0  # side of the SYN's sender
        self._seq = 0  # of the SYN or SYN-ACK that waits for an answer
        self._mark = 0  # its time
        self._first = 0  # delay between the two
        self.round_trip = -1

    def reached(self, side: int) -> int:
        """The sequence number behind the furthest byte that `side` sent, -1 unknown."""
        return self.hosts[side].next

    def unbelieved(self, side: int, packet: Packet) -> bool:
        """True when the wrong checksum of `packet`, from `side`, says nothing, since none of this host is right.

        Captures are rewritten, and some hosts' NICs fill in whatever goes out while their stack, or a peer, is recorded
        likewise: then all are wrong, for good. Once BAD_IN_A_ROW were wrong before any was right, a right one later is
        chance. Until then what is left out of a handshake cannot come again. So while nothing in the connection was
        right, the second wrong one passes, and before it a SYN, which has no bytes that could win over others, and a
        field of 0, which no damage makes. One damaged packet that opens a connection is no reason to believe it.
        """
        host, peer = self.hosts[side], self.hosts[1 - side]
        if host.unbelieved:
            return True
        if (host.marks | peer.marks) & GOOD:
            return False
        return host.bad + peer.bad >= NONE_RIGHT or not packet.field or packet.flags & (SYN | RST) == SYN

    def look(self, side: int, time_ns: int, packet: Packet) -> None:
        """Note what a frame from `side` is like, whether its checksum is right or not."""
        host = self.hosts[side]
        checksum = packet.checksum
        length = packet.payload_length
        if checksum is Checksum.OK:
            host.bad = 0
            host.marks |= GOOD if length else GOOD | BARE_GOOD
        elif checksum is Checksum.PARTIAL:
            host.bad = 0
            host.marks |= GOOD | (LOADED_PARTIAL if length else BARE_PARTIAL)
        elif checksum in WRONG:
            host.bad += 1
            if host.bad >= BAD_IN_A_ROW and not host.marks & GOOD:
                host.unbelieved = True
        if length > LEAST_MSS:
            mss = self.hosts[1 - side].mss
            if length > (mss if mss > 0 else JUMBO_PAYLOAD):
                host.marks |= JOINED
        if packet.cooked_type is not None:
            host.marks |= COOKED.get(packet.cooked_type, 0)
        if self._stage < DONE:
            self._time_handshake(side, time_ns, packet)

    def follow(self, side: int, time_ns: int, packet: Packet, acked: int, other_acked: int) -> None:
        """Follow an accepted frame from `side`.

        `acked` is what `side`'s peer has acknowledged, `other_acked` what `side` itself had, both before this frame; -1
        unknown.
        """
        flags = packet.flags
        if flags & (SYN | RST):
            if flags & SYN:
                host = self.hosts[side]
                host.mss = packet.mss or -1
                host.next = add(packet.seq, 1 + packet.payload_length)
            return
        if flags & ACK:
            self._follow_ack(side, time_ns, packet, other_acked)
        if packet.payload_length:
            self._follow_data(side, time_ns, packet, acked)

    def _time_handshake(self, side: int, time_ns: int, packet: Packet) -> None:
        flags = packet.flags & (SYN | ACK | RST)
        if flags == SYN:
            if self._stage == NOTHING:
                self._stage, self._starter, self._seq, self._mark = SYN_SENT, side, packet.seq, time_ns
            else:
                self._stage = SPOILED
        elif flags == SYN | ACK:
            if self._stage == SYN_SENT and side != self._starter and before(self._seq, packet.ack):
                self._first = time_ns - self._mark
                self._stage, self._seq, self._mark = SYN_ACK, packet.seq, time_ns
            else:
                self._stage = SPOILED
        elif flags == ACK and self._stage == SYN_ACK and side == self._starter and before(self._seq, packet.ack):
            second = time_ns - self._mark
            if self._first < 0 or second < 0:
                self._stage = SPOILED
                return
            self._stage = DONE
            self.round_trip = self._first + second
            self.hosts[1 - side].reaction = self._first
            self.hosts[side].reaction = second

    def _follow_ack(self, side: int, time_ns: int, packet: Packet, other_acked: int) -> None:
        """An ACK: `side` answers, and says what it has of the other direction."""
        answerer, sender = self.hosts[side], self.hosts[1 - side]
        ack, window = packet.ack, packet.window
        if ack == other_acked:
            if window == answerer.window and window and not packet.payload_length and not packet.flags & FIN:
                sender.dup_acks += 1  # a duplicate as RFC 5681 section 2 defines it
        elif other_acked < 0 or before(other_acked, ack):
            sender.dup_acks = 0
            if sender.sample >= 0 and distance(sender.sample, ack) >= 0:
                delay = time_ns - sender.sample_time
                if delay >= 0 and (answerer.reaction < 0 or delay < answerer.reaction):
                    answerer.reaction = delay
                sender.sample = -1
            if sender.hole >= 0 and before(sender.hole, ack):
                sender.hole = -1  # acknowledged, never seen: the capture lost it, not the network
        answerer.window = window

    def _follow_data(self, side: int, time_ns: int, packet: Packet, acked: int) -> None:
        """Payload: in order, ahead of a hole, or sent again."""
        host = self.hosts[side]
        seq = packet.seq
        end = add(seq, packet.payload_length)
        ahead = 0 if host.next < 0 else distance(host.next, seq)
        if ahead == 0:
            host.next = end
            if host.sample < 0:
                host.sample, host.sample_time = end, time_ns
            return
        host.sample = -1  # Karn's rule again
        if ahead > 0:
            if host.hole < 0:
                host.hole, host.hole_end, host.hole_time, host.dup_acks = host.next, seq, time_ns, 0
            else:
                host.blind = seq
            host.next = end
            return
        if host.hole >= 0 and distance(host.hole, seq) >= 0 and before(seq, host.hole_end):
            # A duplicate ACK came first. So this is no quarrel between two CPUs over the order in which they captured:
            # the receiver, too, lacked the bytes.
            if host.dup_acks:
                host.lost_before += 1
            elif time_ns > host.hole_time:
                host.late += 1
            host.blind = host.hole_end if host.blind < 0 or before(host.blind, host.hole_end) else host.blind
            host.hole = -1
        elif (
            seq == acked
            and host.hole < 0
            and host.dup_acks >= DUPLICATE_ACKS
            and (host.blind < 0 or distance(host.blind, seq) >= 0)
        ):
            host.late_loss += 1
            host.dup_acks = 0
        if before(host.next, end):
            host.next = end
