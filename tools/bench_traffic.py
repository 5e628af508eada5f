"""Captures for the benchmark: real handshakes, real sealed records, gigabytes of them in seconds.

Handshake, request and close of a connection go through simulation/synth.py and the simulated link; what lies between
them, the download, is laid out by bench_packets.py. Short connections are simulation/synth.py's altogether. All is
captured at the client, which is the receiver of the downloads.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, BinaryIO, NamedTuple

from bench_cases import Made, Traffic
from bench_packets import ACK_ONLY, DATA, GAP_NS, Downloads
from bench_stream import MSS, Flow

from rxtls.capture.write import write_pcap
from rxtls.crypto.keys import Keys
from rxtls.crypto.schedule import tls12_keys, tls13_keys
from rxtls.crypto.suites import Version, suite
from rxtls.simulation.link import Connection, Impairment, Link, LinkFrame, interleave
from rxtls.simulation.sender import APPLICATION_DATA, TlsSender
from rxtls.simulation.synth import Bulk, Conversation, Session, converse, write_capture

DELAY_NS = 300_000  # one way; so a round trip is 200 packets
WINDOW = 3 << 20  # of the client: half of Linux's largest default buffer (tcp_rmem)
REQUEST = b"?" * 100
PORT = 4433  # of no application that tshark would dissect further, as it does what follows ALPN's http/1.1


class Sealed(NamedTuple):
    """Records under one set of keys, one after the other in `data`; `number` is the first's, `lengths` count all."""

    keys: Keys
    number: int
    data: bytes | bytearray
    lengths: list[int]


def write(traffic: Traffic, amount: int, capture: Path, keys: Path, seed: int = 1) -> Made:
    """Write the capture and its key log. `amount` is about how many bytes, or how many short connections."""
    with capture.open("wb") as out:
        made = _write_short(traffic, amount, out, seed) if traffic.answer else _write_bulk(traffic, amount, out, seed)
    keys.write_text(made.keys)
    return replace(made, capture=str(capture), keys=str(keys))


def sealed(traffic: Traffic, amount: int, limit: int, seed: int = 1) -> Iterator[Sealed]:
    """The records of the same capture under application keys, without the few small ones of bulk traffic; about the
    first `limit` bytes of them."""
    if traffic.answer:
        talks: list[Conversation] = []
        _short_connections(traffic, amount, io.BytesIO(), seed, talks)
        for talk in talks:
            yield from _spoken(talk)
        return
    for flows in _rounds(traffic, amount, seed):
        for flow in flows:
            if limit <= 0:
                return
            stream = flow.stream()
            data = bytearray(min(flow.size, limit // MSS * MSS + MSS))
            stream.fill(memoryview(data))
            limit -= len(data)
            yield Sealed(flow.keys, flow.number, data, stream.whole_records(len(data)))


# Short connections


def _write_short(traffic: Traffic, connections: int, out: BinaryIO, seed: int) -> Made:
    talks: list[Conversation] = []
    frames = io.BytesIO()
    written, keylog = _short_connections(traffic, connections, frames, seed, talks)
    data = frames.getvalue()
    out.write(data)
    payloads = list(_payload_lengths(data))
    records = [record for talk in talks for each in _senders(talk) for record in each]
    return Made(
        capture="",
        keys=keylog,
        frames=len(payloads),
        payload_frames=sum(length > 0 for length in payloads),
        captured_bytes=written - 24 - 16 * len(payloads),
        connections=len(talks),
        records=len(records),
        app_bytes=sum(len(record.payload) for record in records if record.type == APPLICATION_DATA),
        sealed_bytes=sum(record.length for record in records),
    )


def _short_connections(
    traffic: Traffic, connections: int, out: BinaryIO, seed: int, talks: list[Conversation]
) -> tuple[int, str]:
    bulk = Bulk(
        suites=(traffic.suite,),
        flow_bytes=traffic.answer,
        abreast=traffic.abreast,
        record=traffic.record,
        request=REQUEST,
        alpn=None,
        port=PORT,
    )
    return write_capture(out, bulk, 0, connections, seed, talks.append)


def _senders(talk: Conversation) -> list[list[Any]]:
    """What each side wrote under application keys."""
    return [sender.records[n:] for sender, n in zip((talk.client, talk.server), talk.library, strict=True)]


def _spoken(talk: Conversation) -> Iterator[Sealed]:
    for sender, records, keys in zip((talk.client, talk.server), _senders(talk), _application_keys(talk), strict=True):
        first, last = records[0], records[-1]
        data = bytes(sender.data[first.start : last.start + last.length])
        assert first.number is not None
        yield Sealed(keys, first.number, data, [record.length for record in records])


def _payload_lengths(capture: bytes) -> Iterator[int]:
    """TCP payload bytes of each frame of a pcap that write_pcap made: Ethernet, IPv4 without options."""
    at = 24
    while at < len(capture):
        length = int.from_bytes(capture[at + 8 : at + 12], "little")
        yield payload_length(capture[at + 16 : at + 16 + length])
        at += 16 + length


def payload_length(frame: bytes) -> int:
    """TCP payload bytes of an Ethernet frame with IPv4 without options."""
    return int.from_bytes(frame[16:18]) - 20 - 4 * (frame[46] >> 4)


# Downloads


def _write_bulk(traffic: Traffic, size: int, out: BinaryIO, seed: int) -> Made:
    frames = payload_frames = captured = records = app_bytes = sealed_bytes = 0
    logs: list[str] = []
    now = Connection().start_ns
    for n, flows in enumerate(_rounds(traffic, size, seed)):
        edges = _round_frames(flows, now, seed + n)
        written = write_pcap(edges[0], out, header=n == 0) - 24 * (n == 0)
        bulk = Downloads(flows, traffic, seed + n, edges[0][-1].time_ns + GAP_NS)
        written += bulk.write(out)
        edges.append(_closing(flows, bulk.now, seed + n))
        written += write_pcap(edges[1], out, header=False)
        now = edges[1][-1].time_ns + 1_000_000
        frames += bulk.frames + sum(map(len, edges))
        payload_frames += bulk.data_frames + sum(payload_length(each.data) > 0 for edge in edges for each in edge)
        captured += written - 16 * (bulk.frames + sum(map(len, edges)))
        for flow in flows:
            payloads = flow.stream().payloads
            few = [record for each in _senders(flow.talk) for record in each]
            records += len(payloads) + len(few)
            app_bytes += sum(payloads) + sum(len(each.payload) for each in few if each.type == APPLICATION_DATA)
            sealed_bytes += flow.size + sum(each.length for each in few)
            logs.append(flow.talk.keylog)
    return Made("", "".join(logs), frames, payload_frames, captured, traffic.flows, records, app_bytes, sealed_bytes)


def _rounds(traffic: Traffic, size: int, seed: int) -> Iterator[list[Flow]]:
    """The flows that go abreast, handshake and request written, the bulk still to come."""
    dice = Random(seed)
    chosen = suite(traffic.suite)
    if chosen is None:
        raise ValueError(f"no such suite: {traffic.suite:#06x}")
    noise = dice.randbytes(1 << 20)
    group = 2 * DATA.itemsize + ACK_ONLY.itemsize
    segments = 2 * max(1, round(size / traffic.flows / group))
    for first in range(0, traffic.flows, traffic.abreast):
        flows = []
        for n in range(first, first + traffic.abreast):
            talk = converse(Session(chosen, max(chosen.versions), alpn=None), dice)
            talk.request([REQUEST], [])
            base = Connection()
            connection = replace(
                base,
                client=base.client._replace(port=40_000 + n),
                server=base.server._replace(port=PORT),
                sequences=(dice.getrandbits(32), dice.getrandbits(32)),
                windows=(WINDOW, base.windows[1]),
                mss=MSS,
                timestamps=True,
                end="open",
            )
            begun = len(talk.client.data), len(talk.server.data)
            keys = _application_keys(talk)[1]
            flows.append(Flow(talk, connection, keys, talk.server.number, segments, traffic.record, noise, begun))
        yield flows


def _application_keys(talk: Conversation) -> tuple[Keys, Keys]:
    """(client's, server's) record keys, from the key log as any reader of the capture makes them."""
    log = {line.split()[0]: bytes.fromhex(line.split()[2]) for line in talk.keylog.splitlines()}
    chosen = talk.session.suite
    if talk.session.version is Version.TLS13:
        return tls13_keys(chosen, log["CLIENT_TRAFFIC_SECRET_0"]), tls13_keys(chosen, log["SERVER_TRAFFIC_SECRET_0"])
    client_random, server_random = (each.records[0].payload[6:38] for each in (talk.client, talk.server))
    return tls12_keys(chosen, talk.session.version, log["CLIENT_RANDOM"], client_random, server_random)


def _link(seed: int) -> Link:
    how = Impairment(delay_ns=DELAY_NS, gap_ns=GAP_NS)
    return Link(seed, how, how)


def _round_frames(flows: list[Flow], now: int, seed: int) -> list[list[LinkFrame]]:
    """Handshakes and requests."""
    runs = []
    for n, flow in enumerate(flows):
        connection = replace(flow.connection, start_ns=now + 40_000 * n)
        runs.append(_link(seed).run(connection, flow.talk.client, flow.talk.server).frames)
    return [interleave(runs, seed)]


def _closing(flows: list[Flow], now: int, seed: int) -> list[LinkFrame]:
    """The close_notify alerts and FINs, after the bulk."""
    runs = []
    for flow in flows:
        client, server = flow.talk.client, flow.talk.server
        server.number += len(flow.stream().payloads)
        server.close_notify()
        client.close_notify()
        last = TlsSender(), TlsSender()
        last[1].raw(bytes(server.data[flow.begun[1] :]))
        last[0].wait(last[1])
        last[0].raw(bytes(client.data[flow.begun[0] :]))
        sequences = (
            flow.connection.sequences[0] + flow.begun[0] & 0xFFFF_FFFF,
            flow.connection.sequences[1] + flow.begun[1] + flow.size & 0xFFFF_FFFF,
        )
        connection = replace(flow.connection, sequences=sequences, handshake=False, end="fin", start_ns=now)
        runs.append(_link(seed).run(connection, *last).frames)
    return interleave(runs, seed)
