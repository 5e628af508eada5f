"""Plaintext as a capture: each connection once more as TCP without TLS, for Wireshark to dissect and follow.

A record's payload is one segment, so that packets of this capture are records of the other; sequence numbers count
plaintext, and handshake and end are made up around it. Addresses are the connection's; so is the client's port. The
server's is that at which Wireshark expects the protocol without TLS, where there is one: at 443 it would look for TLS.
A comment on each packet says where it came from.

This file holds what the peers said to each other. It is written for nobody who has not asked for it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from rxtls.capture.write import block, option, padded
from rxtls.events import Record
from rxtls.path.records import Records
from rxtls.run.replay import Replay
from rxtls.run.streams import APPLICATION_DATA
from rxtls.seq import MASK
from rxtls.system.files import Name, Output, utf8
from rxtls.wire.packets import ACK, FIN, PSH, SYN, Address, Headers
from rxtls.wire.tunnels import network

# IANA's port over TLS, and the one without.
PLAIN_PORTS = {443: 80, 465: 25, 563: 119, 636: 389, 853: 53, 989: 20, 990: 21, 992: 23, 993: 143, 995: 110, 5671: 5672}
PLAIN_PORTS |= {8443: 8080, 8883: 1883, 4433: 80, 5061: 5060, 6697: 6667}
HTTP = frozenset({"http/1.0", "http/1.1", "h2"})  # what a client and a server agree on by ALPN, whatever the port

_WINDOW = 0xFFFF
_APART = 0x9E3779B1  # odd, so that 2**32 connections have initial sequence numbers of their own
_JOINED = 1 << 20
_LARGEST = 32 << 10  # payload bytes of a packet; a record has at most 16 KiB
_CLIENT = Address("0.0.0.0", 0, b"\x02\x00\x00\x00\x00\x01")
_SERVER = Address("0.0.0.0", 0, b"\x02\x00\x00\x00\x00\x02")


@dataclass(slots=True)
class _Flow:
    """A connection as it is written: by receiver, the headers of what goes there, and the next sequence number."""

    to: dict[str, Headers]
    next: dict[str, int]
    time_ns: dict[str, int]  # of the last record
    ends: tuple[Address, Address]


class PlainCapture:
    """Takes in batches of `run`, and writes the application data in them to a pcapng file."""

    def __init__(self, output: Output | Name, run: Replay) -> None:
        self._run = run
        self._output = output if isinstance(output, Output) else Output(output, secret=True)
        self._flows: dict[int, _Flow] = {}  # that have not ended
        self._numbers: dict[tuple[Address, Address], int] = {}  # theirs
        self._begun = 0
        self._waiting: list[bytes] = []
        self._held = 0
        self._put(block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)))
        name = option(2, b"plaintext by rxtls") + option(9, b"\x09") + bytes(4)
        self._put(block(1, struct.pack("<HHI", 1, 0, 0) + name))

    def take(self, records: Records) -> None:
        """One more batch."""
        for record in records.views():
            if record.type == APPLICATION_DATA and len(record.data):
                self._write(record)
        for number in [number for number in self._flows if self._run.path.flows[number].ended]:
            self._end(number)

    def close(self) -> None:
        """The run is over: all connections end."""
        for number in list(self._flows):
            self._end(number)
        self._flush()
        self._output.keep()

    def _write(self, record: Record) -> None:
        flow = self._flows.get(record.flow) or self._begin(record)
        # A record before which bytes were missing was complete when they came, which is when a record before it was.
        time_ns = flow.time_ns[record.receiver] = max(flow.time_ns[record.receiver], record.time_ns)
        place = self._run.place(record.frame)
        comment = f"rxtls: flow {record.flow}, record {record.number}, {record.record_class}, frame {place['frame']}"
        if len(self._run.source.names) > 1:
            comment += f" of {place['file']}"
        data = bytes(record.data)
        for at in range(0, len(data), _LARGEST):
            piece = data[at : at + _LARGEST]
            self._packet(flow, record.receiver, PSH | ACK, piece, time_ns, comment)
            flow.next[record.receiver] += len(piece)

    def _end(self, number: int) -> None:
        flow = self._flows.pop(number)
        del self._numbers[flow.ends]
        for receiver in ("server", "client"):
            self._packet(flow, receiver, FIN | ACK, b"", max(flow.time_ns.values()))
            flow.next[receiver] += 1

    def _begin(self, record: Record) -> _Flow:
        connection = self._run.path.flows[record.flow]
        a, b = connection.connection.a, connection.connection.b
        client, server = (a, b) if connection.client_side == 0 else (b, a)
        port = plain_port(server[1], connection.facts.alpn)
        ends = _CLIENT._replace(ip=client[0], port=client[1]), _SERVER._replace(ip=server[0], port=port)
        while (before := self._numbers.get(ends)) is not None:
            other = self._run.path.flows[before].connection
            if {other.a, other.b} != {a, b} and port != server[1]:  # another port of this server is shown as that one
                port = server[1]
                ends = ends[0], ends[1]._replace(port=port)
            elif {other.a, other.b} == {a, b} and network(other.tunnels) == network(connection.connection.tunnels):
                self._end(before)  # the same addresses and ports, taken again
            else:  # they are those of a connection in another network, which may go on
                ends = ends[0]._replace(port=ends[0].port % 0xFFFF + 1), ends[1]
        self._numbers[ends] = record.flow
        first = self._begun * _APART & MASK  # Wireshark takes a SYN with the last one's number for that one once more
        self._begun += 1
        flow = _Flow(
            {"server": Headers(*ends), "client": Headers(*ends[::-1])},
            {"server": first, "client": first},
            {"server": record.time_ns, "client": record.time_ns},
            ends,
        )
        self._flows[record.flow] = flow
        note = "" if port == server[1] else f"; port {server[1]} is shown as {port}, its protocol without TLS"
        if ends[0].port != client[1]:
            note += f"; port {client[1]} is shown as {ends[0].port}: another network has the same connection"
        self._packet(flow, "server", SYN, b"", record.time_ns, f"rxtls: plaintext of flow {record.flow}{note}")
        flow.next["server"] += 1
        self._packet(flow, "client", SYN | ACK, b"", record.time_ns)
        flow.next["client"] += 1
        self._packet(flow, "server", ACK, b"", record.time_ns)
        return flow

    def _packet(
        self, flow: _Flow, receiver: str, flags: int, data: bytes, time_ns: int, comment: str | None = None
    ) -> None:
        other = "client" if receiver == "server" else "server"
        acknowledgement = flow.next[other] if flags & ACK else 0
        frame = flow.to[receiver].frame(flow.next[receiver], acknowledgement, flags, _WINDOW, data)
        high, low = divmod(time_ns & (1 << 64) - 1, 1 << 32)
        head = struct.pack("<IIIII", 0, high, low, len(frame), len(frame))
        options = b"" if comment is None else option(1, utf8(comment)) + bytes(4)
        self._put(block(6, head + padded(frame) + options))

    def _put(self, part: bytes) -> None:
        self._waiting.append(part)
        self._held += len(part)
        if self._held >= _JOINED:
            self._flush()

    def _flush(self) -> None:
        self._output.write(b"".join(self._waiting))
        self._waiting, self._held = [], 0


def plain_port(port: int, alpn: str | None) -> int:
    """The server's port as it is shown."""
    return PLAIN_PORTS.get(port, 80 if alpn in HTTP else port)
