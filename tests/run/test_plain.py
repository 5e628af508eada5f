"""Plaintext as a capture: what tshark and this project read of it is what the peers said."""

from __future__ import annotations

import shutil
import subprocess
from collections import defaultdict
from pathlib import Path
from random import Random

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.utils import RawPcapNgReader

import replays
import rxtls
from rxtls.capture.source import Source, SourceFrame
from rxtls.crypto.suites import SUITES, Version
from rxtls.errors import UsageError
from rxtls.run.plain import PLAIN_PORTS, PlainCapture, plain_port
from rxtls.simulation.demo import make_demo
from rxtls.simulation.link import Address, Connection, Impairment, Link
from rxtls.simulation.synth import Conversation, Session, converse
from wrapping import vxlan

TSHARK = shutil.which("tshark")


def write(path: Path, captures: str | Path, keys: str | Path) -> None:
    run = rxtls.replay(captures, keys)
    plain = PlainCapture(path, run)
    for records in run.batches():
        plain.take(records)
    plain.close()


def segments(path: Path) -> list[tuple[str, int, str, int, int, int, bytes, bool]]:
    """(source, port, target, port, sequence number, flags, payload, checksums are right) of each packet, by scapy."""
    found = []
    for data, _ in RawPcapNgReader(str(path)):
        packet = Ether(data)
        ip = packet[IP] if IP in packet else packet[IPv6]
        tcp = ip[TCP]
        whole = bytes(tcp.payload)
        again = Ether(data)
        del again[TCP].chksum
        if IP in again:
            del again[IP].chksum
        right = bytes(Ether(bytes(again))) == data
        found.append((ip.src, tcp.sport, ip.dst, tcp.dport, tcp.seq, int(tcp.flags), whole, right))
    return found


@pytest.mark.parametrize("ip", ["192.0.2.1", "2001:db8::1"])
def test_every_byte_is_there_once_and_in_order(ip: str, tmp_path: Path) -> None:
    talked = replays.download(
        3, (16384, 1, 900) * 9, down=Impairment(loss=0.02, reorder=0.02),
        client=Address(ip, 5000), server=Address("2001:db8::2" if ":" in ip else "192.0.2.9", 4444),
    )  # fmt: skip
    write(tmp_path / "plain.pcapng", replays.pcap(tmp_path, talked.frames), replays.keys(tmp_path, talked))
    streams: dict[str, bytes] = defaultdict(bytes)
    expected: dict[str, int] = {}
    found = segments(tmp_path / "plain.pcapng")
    assert [flags for *_, flags, _, _ in found[:3]] == [2, 18, 16]  # SYN, SYN-ACK, ACK
    assert [flags for *_, flags, _, _ in found[-2:]] == [17, 17]
    for source, sport, _, dport, seq, flags, payload, right in found:
        assert right
        assert {sport, dport} == {5000, 80}  # ALPN says HTTP
        assert seq == expected.get(source, seq)
        expected[source] = seq + len(payload) + (flags & 3 != 0)
        streams[source] += payload
    assert streams[ip] == talked.wanted("server")
    assert streams["2001:db8::2" if ":" in ip else "192.0.2.9"] == talked.wanted("client")


@pytest.mark.skipif(TSHARK is None, reason="tshark is not installed")
def test_tshark_dissects_it(tmp_path: Path) -> None:
    capture, keys = make_demo(tmp_path)
    write(tmp_path / "plain.pcapng", capture, keys)
    done = subprocess.run(
        [str(TSHARK), "-r", str(tmp_path / "plain.pcapng"), "-Y", "http || frame.number == 1", "-T", "fields", "-E",
         "separator=|", "-e", "http.host", "-e", "http.response.code", "-e", "http.content_length", "-e",
         "frame.comment"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert [line for line in done.stderr.splitlines() if line and "Running as user" not in line] == []
    rows = [line.split("|") for line in done.stdout.splitlines()]
    assert rows[0][3] == "rxtls: plaintext of flow 0; port 443 is shown as 80, its protocol without TLS"
    assert sorted(row[0] for row in rows if row[0]) == sorted(["clean.example", "lossy.example", "rough.example"] * 3)
    assert [row[1:3] for row in rows if row[1]] == [["200", str(40 * 16384)]] * 9
    assert all(row[3].startswith("rxtls: flow ") for row in rows[1:])


@pytest.mark.parametrize(
    ("port", "alpn", "shown"),
    [(443, None, 80), (993, None, 143), (8443, "h2", 8080), (9999, "http/1.1", 80), (9999, None, 9999), (25, None, 25),
     (853, "dot", 53)],
)  # fmt: skip
def test_ports(port: int, alpn: str | None, shown: int) -> None:
    assert plain_port(port, alpn) == shown


def test_no_port_is_shown_as_one_over_tls() -> None:
    assert not set(PLAIN_PORTS) & set(PLAIN_PORTS.values())


def test_what_nobody_authenticated_is_not_shown(tmp_path: Path) -> None:
    """Handshakes, alerts and records that failed are no application data."""
    talk = converse(Session(SUITES[0xC02F], Version.TLS12), Random(1))
    talk.request([b"question"], [b"answer"])
    talk.close()
    run = Link(1).run(Connection(), talk.client, talk.server)
    (tmp_path / "made.keys").write_text(talk.keylog)
    write(tmp_path / "plain.pcapng", replays.pcap(tmp_path, run.frames), tmp_path / "made.keys")
    assert [payload for *_, payload, _ in segments(tmp_path / "plain.pcapng") if payload] == [b"question", b"answer"]


def test_nothing_to_show_is_an_empty_capture(tmp_path: Path) -> None:
    write(tmp_path / "plain.pcapng", replays.pcap(tmp_path, replays.download(1).frames), ())  # type: ignore[arg-type]
    assert segments(tmp_path / "plain.pcapng") == []
    with pytest.raises(UsageError, match="No such file"):
        write(tmp_path / "no" / "where.pcapng", replays.pcap(tmp_path, []), ())  # type: ignore[arg-type]


def fields(path: Path, wanted: str, *names: str) -> list[tuple[str, ...]]:
    """Of each packet that passes tshark's display filter these fields."""
    done = subprocess.run(
        [str(TSHARK), "-r", str(path), "-Y", wanted, "-T", "fields", "-E", "separator=|",
         *(word for name in names for word in ("-e", name))],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [tuple(line.split("|")) for line in done.stdout.splitlines()]


def order(path: Path) -> list[tuple[str, bytes]]:
    """Who said what, in the capture's order."""
    return [(source, payload) for source, *_, payload, _ in segments(path) if payload]


@pytest.mark.parametrize("name", ["curl-nginx-tls12", "curl-nginx-tls13"])
def test_trial_a17_requests_and_responses_take_turns(name: str, tmp_path: Path) -> None:
    """curl and nginx, four requests over one connection kept alive."""
    real = Path(__file__).parents[1] / "data" / "real"
    write(tmp_path / "plain.pcapng", real / f"{name}.pcap", real / f"{name}.keys")
    turns = []
    for data, _ in RawPcapNgReader(str(tmp_path / "plain.pcapng")):
        said = bytes(Ether(data)[TCP].payload)[:5]
        turns += [said[:4].decode()] if said in (b"GET /", b"POST ", b"HTTP/") else []
    assert turns == ["GET ", "HTTP", "GET ", "HTTP", "GET ", "HTTP", "POST", "HTTP", "GET ", "HTTP"]
    if TSHARK is not None:
        pairs = fields(tmp_path / "plain.pcapng", "http.request || http.response", "frame.number", "http.request_in")
        assert [asked for _, asked in pairs[1::2]] == [number for number, _ in pairs[::2]]
        assert fields(tmp_path / "plain.pcapng", "tcp.analysis.flags", "frame.number") == []


def upgraded() -> Conversation:
    """An HTTP connection that goes over to WebSocket (RFC 6455): its frames from here and there in turn."""
    talk = replays.begin(5)
    talk.request(
        [b"GET /chat HTTP/1.1\r\nHost: example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
         b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"],
        [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
         b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"],
    )  # fmt: skip
    for n in range(6):
        text = b"question %d" % n
        talk.request([b"\x81" + bytes([0x80 | len(text), 0, 0, 0, 0]) + text], [b"\x81" + bytes([len(text)]) + text])
    talk.close()
    return talk


def test_trial_a17_websocket_messages_are_dissected(tmp_path: Path) -> None:
    talked = replays.carry(upgraded())
    write(tmp_path / "plain.pcapng", replays.pcap(tmp_path, talked.frames), replays.keys(tmp_path, talked))
    sources = [source for source, _ in order(tmp_path / "plain.pcapng")]
    assert sources == [sources[0], sources[1]] * 7
    if TSHARK is not None:
        found = fields(tmp_path / "plain.pcapng", "websocket", "websocket.payload.text")
        texts = [text.replace("\\n", "") for (text,) in found]
        assert texts == [f"question {n // 2}" for n in range(12)]


def test_trial_a17_a_connection_ends_before_its_ports_are_taken_again(tmp_path: Path) -> None:
    """Also a port that is shown as another one: the end of a connection stands where it was, not behind all others."""
    real = Path(__file__).parents[1] / "data" / "real"
    write(tmp_path / "plain.pcapng", real / "reused-4-tuple.pcap", real / "reused-4-tuple.keys")
    flags = [flags & 3 for *_, flags, _, _ in segments(tmp_path / "plain.pcapng") if flags & 3]
    assert flags == [2, 2, 1, 1] * (len(flags) // 4)
    assert len(flags) > 4
    if TSHARK is not None:
        wrong = "tcp.analysis.out_of_order || tcp.analysis.retransmission"
        assert fields(tmp_path / "plain.pcapng", wrong, "frame.number") == []
        streams = fields(tmp_path / "plain.pcapng", "tcp.flags.fin == 1", "tcp.stream")
        assert streams == [(str(n // 2),) for n in range(len(flags) // 2)]


def test_ports_that_are_shown_as_one_do_not_end_each_others_connections(tmp_path: Path) -> None:
    """From one port of a client to 443 and to 4433 of one server at the same time: both would be at 80."""
    talks = [
        replays.download(n, (900,) * 20, client=Address("192.0.2.1", 5000), server=Address("192.0.2.9", port))
        for n, port in ((3, 443), (4, 4433))
    ]
    frames = sorted((frame for talk in talks for frame in talk.frames), key=lambda frame: frame.time_ns)
    (tmp_path / "made.keys").write_text("".join(talk.keylog for talk in talks))
    write(tmp_path / "plain.pcapng", replays.pcap(tmp_path, frames), tmp_path / "made.keys")
    found = segments(tmp_path / "plain.pcapng")
    assert sum(flags == 2 for *_, flags, _, _ in found) == 2
    said = {
        port: b"".join(payload for _, sport, *_, payload, _ in found if sport == port)
        for port in {sport for _, sport, *_ in found} - {5000}
    }
    assert sorted(said.values()) == sorted(talk.wanted("client") for talk in talks)


def test_connections_of_two_virtual_networks_with_the_same_addresses_are_shown_apart(tmp_path: Path) -> None:
    """At the same time; the client's port tells them apart, so that the server's still names the protocol."""
    talks = [
        replays.download(n, (900,) * 20, server=Address("192.0.2.9", 443), sequences=(n << 28, 1 << 20)) for n in (3, 4)
    ]
    frames = sorted(
        (frame._replace(data=vxlan(frame.data, vni)) for vni, talk in enumerate(talks) for frame in talk.frames),
        key=lambda frame: frame.time_ns,
    )
    capture, keys = replays.pcap(tmp_path, frames), replays.keys(tmp_path, *talks)
    write(tmp_path / "plain.pcapng", capture, keys)
    found = segments(tmp_path / "plain.pcapng")
    assert sum(flags == 2 for *_, flags, _, _ in found) == 2
    client = found[0][1]
    assert {(sport, dport) for _, sport, _, dport, _, flags, *_ in found if flags == 2} == {
        (client, 80),
        (client + 1, 80),
    }
    said = [b"".join(payload for *_, dport, _, _, payload, _ in found if dport == client + n) for n in (0, 1)]
    assert said == [talk.wanted("client") for talk in talks]


def test_a_record_has_the_time_at_which_it_was_complete(tmp_path: Path) -> None:
    """Behind a hole that is the time at which the hole was filled."""
    talked = replays.download(4, (9000,) * 20, down=Impairment(loss=0.1))
    write(tmp_path / "plain.pcapng", replays.pcap(tmp_path, talked.frames), replays.keys(tmp_path, talked))
    times = [frame.time_ns for frame in Source([tmp_path / "plain.pcapng"]) if isinstance(frame, SourceFrame)]
    assert times == sorted(times)
    waited = [record.time_ns for record in rxtls.replay(tmp_path / "made.pcap", tmp_path / "made.keys")]
    assert waited != sorted(waited)
