"""Replays for tests: simulated connections written out as captures, replayed, and what they came to."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import rxtls
from capture_blocks import enhanced, interface, option, secrets, section
from rxtls.capture.write import write_pcap, write_pcapng
from rxtls.crypto.suites import SUITES, Version
from rxtls.events import Record
from rxtls.run.summary import exit_status
from rxtls.simulation.link import Address, Connection, Impairment, Link, LinkFrame, Side
from rxtls.simulation.sender import APPLICATION_DATA
from rxtls.simulation.synth import Conversation, Session, converse

GCM13 = Session(SUITES[0x1301], Version.TLS13)
GCM12 = Session(SUITES[0xC02F], Version.TLS12)
CHACHA13 = Session(SUITES[0x1303], Version.TLS13)

# ((flow, receiver, place in the direction), all that was said of the record, its time).
Verdict = tuple[tuple[int, str, int], tuple[object, ...], int | None]

# The simulated frames: Ethernet without VLAN, IPv4 without options.
IP, TCP = 14, 34
FIN, SYN, RST = 1, 2, 4


@dataclass
class Talked:
    """One simulated connection: its frames, its key log, and what the application at each host should get."""

    frames: list[LinkFrame]
    keylog: str
    client: Side
    server: Side

    def wanted(self, receiver: str) -> bytes:
        """All application data that was sent to `receiver`."""
        sent = self.client if receiver == "server" else self.server
        return b"".join(payload for kind, payload in sent.truth if kind == APPLICATION_DATA)


def begin(seed: int = 0, session: Session = GCM13) -> Conversation:
    """Two senders just after their handshake."""
    return converse(session, Random(seed))


def carry(
    talk: Conversation,
    connection: Connection | None = None,
    seed: int = 0,
    down: Impairment | None = None,
    up: Impairment | None = None,
) -> Talked:
    """The connection as a tap saw it; `down` impairs what goes to the client."""
    run = Link(seed, to_client=down, to_server=up).run(connection or Connection(), talk.client, talk.server)
    return Talked(run.frames, talk.keylog, run.client, run.server)


def download(
    seed: int = 0,
    sizes: Sequence[int] = (4000,) * 12,
    session: Session = GCM13,
    down: Impairment | None = None,
    closed: bool = True,
    **connection: Any,
) -> Talked:
    """A request, then records of `sizes` bytes from the server, seen at the client. Every `seed` is another session."""
    talk = begin(seed, session)
    dice = Random(~seed)
    talk.request([b"GET / " + dice.randbytes(60).hex().encode()], [dice.randbytes(size) for size in sizes])
    if closed:
        talk.close()
    return carry(talk, Connection(**connection), seed, down)


def client_at(port: int, ip: str = "192.0.2.1") -> Address:
    return Address(ip, port, b"\x02\x00\x00\x00\x00\x01")


def one_after_another(frames: Sequence[LinkFrame]) -> list[LinkFrame]:
    """The same order with no two frames at one time, so that their times alone give it."""
    start = frames[0].time_ns
    return [frame._replace(time_ns=start + 1_000 * n) for n, frame in enumerate(frames)]


# Captures


def pcap(folder: Path, frames: Sequence[LinkFrame], name: str = "made.pcap") -> str:
    path = folder / name
    with path.open("wb") as out:
        write_pcap(frames, out)
    return str(path)


def pcapng(folder: Path, frames: Sequence[LinkFrame], interfaces: Sequence[str], name: str = "made.pcapng") -> str:
    path = folder / name
    with path.open("wb") as out:
        write_pcapng(frames, out, interfaces)
    return str(path)


def keys(folder: Path, *talked: Talked, name: str = "made.keys") -> str:
    path = folder / name
    path.write_text("".join(each.keylog for each in talked))
    return str(path)


def pipe(frames: Sequence[LinkFrame], keylog: str, at: int | None) -> io.BytesIO:
    """A pcapng as a pipe gives it, its secrets before frame `at` (None: nowhere)."""
    blocks = [section(), interface(options=option(9, b"\x09"))]
    for n, frame in enumerate(frames):
        if n == at:
            blocks.append(secrets(keylog.encode()))
        blocks.append(enhanced(frame.data, frame.time_ns))
    if at == len(frames):
        blocks.append(secrets(keylog.encode()))
    return io.BytesIO(b"".join(blocks))


# Frames taken apart and put together


def payload(frame: LinkFrame) -> bytes:
    data = frame.data
    end = IP + int.from_bytes(data[IP + 2 : IP + 4])
    return data[TCP + (data[TCP + 12] >> 4) * 4 : end]


def sequence(frame: LinkFrame) -> int:
    return int.from_bytes(frame.data[TCP + 4 : TCP + 8])


def flags(frame: LinkFrame) -> int:
    return frame.data[TCP + 13]


def from_server(frame: LinkFrame) -> bool:
    return frame.data[TCP : TCP + 2] == (443).to_bytes(2)


def remade(
    frame: LinkFrame, seq: int | None = None, body: bytes | None = None, checksum: int | None = None
) -> LinkFrame:
    """`frame` with another sequence number or payload and right lengths and checksums, or with that TCP checksum."""
    headers = bytearray(frame.data[: TCP + (frame.data[TCP + 12] >> 4) * 4])
    data = payload(frame) if body is None else body
    if seq is not None:
        headers[TCP + 4 : TCP + 8] = (seq & 0xFFFF_FFFF).to_bytes(4)
    headers[IP + 2 : IP + 4] = (len(headers) - IP + len(data)).to_bytes(2)
    headers[IP + 10 : IP + 12] = bytes(2)
    headers[IP + 10 : IP + 12] = _checksum(headers[IP:TCP])
    headers[TCP + 16 : TCP + 18] = bytes(2)
    segment = bytes(headers[TCP:]) + data
    pseudo = bytes(headers[IP + 12 : TCP]) + b"\x00\x06" + len(segment).to_bytes(2)
    headers[TCP + 16 : TCP + 18] = _checksum(pseudo + segment) if checksum is None else checksum.to_bytes(2)
    return frame._replace(data=bytes(headers) + data)


def _checksum(data: bytes | bytearray) -> bytes:
    number = int.from_bytes(data) << 8 * (len(data) & 1)
    return (-number % 0xFFFF).to_bytes(2)


# Runs


@dataclass
class Done:
    """A finished run."""

    run: rxtls.Replay
    records: list[Record]
    summary: dict[str, Any]

    def status(self, strict: bool = False) -> int:
        return exit_status(self.run, self.summary, strict)

    def flow(self, port: int | None = None) -> dict[str, Any]:
        """The only flow, or the only one from that client port."""
        flows = self.summary["flows"]
        found = [flow for flow in flows if port is None or flow["client"].endswith(f":{port}")]
        assert len(found) == 1, [flow["client"] for flow in flows]
        return dict(found[0])

    def received(self, receiver: str = "client", port: int | None = None) -> dict[str, Any]:
        return dict(self.flow(port)["receive"][receiver])

    def data(self, receiver: str = "client", flow: int = 0) -> bytes:
        """The application data that came out."""
        return b"".join(r.data for r in self.records if (r.flow, r.receiver, r.type) == (flow, receiver, 23))

    def verdicts(self, times: bool = True) -> list[Verdict]:
        """All that the run says of its records but where the frames stood, per direction."""
        order: Counter[tuple[int, str]] = Counter()
        out: list[Verdict] = []
        for r in self.records:
            order[r.flow, r.receiver] += 1
            at = (r.flow, r.receiver, order[r.flow, r.receiver])
            what = (r.type, r.number, r.record_class, r.by, r.tcp_seq, r.wire_length, r.composition, r.data)
            out.append((at, what, r.time_ns if times else None))
        return sorted(out, key=lambda verdict: verdict[0])


def replay(
    captures: str | Path | Sequence[str | Path], keys: str | Path | Sequence[str | Path] = (), **options: Any
) -> Done:
    """Run to the end. The books balance, whatever came."""
    return done(rxtls.replay(captures, keys, **options))


def replay_pipe(stream: io.BytesIO, keys: Sequence[str] = (), **options: Any) -> Done:
    """The same with standard input."""
    return done(rxtls.Replay(["-"], keys, rxtls.ReplayOptions(**options), stdin=stream))


def done(run: rxtls.Replay) -> Done:
    records = list(run)
    finished = Done(run, records, run.summary())
    assert finished.summary["balance"] == 0
    return finished
