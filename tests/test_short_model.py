"""The real path against tests/support/short_model.py: each record has the same class and composition, and
resynchronisation the same counts.

Rows come from the captures by way of dpkt, so that nothing of rxtls but the path itself is between them and the result.
"""

from __future__ import annotations

import io
import struct
from collections import defaultdict
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import dpkt
import pytest
from hypothesis import given, settings

import rxtls
import traffic
from rxtls.events import Record, RecordClass
from rxtls.simulation.link import Impairment, LinkFrame
from short_model import Knobs, Row, Setup, predict

EXAMPLES = Path(__file__).parent.parent / "examples"
CLASSES = {"D": RecordClass.DECRYPTED, "E": RecordClass.ENCRYPTED}
ALERT = 21
COUNTS = "lost", "polls", "confirmed", "regained"

Endpoint = tuple[bytes, int]
Ends = tuple[Endpoint, Endpoint]  # sender, receiver
Rows = dict[Ends, list[Row]]


class Compared(NamedTuple):
    """What was compared, so that a test can ask for something to have happened."""

    compositions: list[str]
    lost: int
    confirmed: int
    regained: int


def frames(capture: bytes) -> list[tuple[int, bytes]]:
    """Times in nanoseconds and frames."""
    return [(round(time * 10**9), data) for time, data in dpkt.pcap.Reader(io.BytesIO(capture))]


def packets(capture: bytes) -> tuple[Rows, dict[Ends, int]]:
    """The rows of each direction in an Ethernet capture, and the frames at which each way's FIN was acknowledged."""
    rows, fins, acked = defaultdict(list), dict[Ends, int](), dict[Ends, int]()
    for frame, (time_ns, data) in enumerate(frames(capture)):
        ip = dpkt.ethernet.Ethernet(data).data
        tcp = getattr(ip, "data", None)
        if not isinstance(tcp, dpkt.tcp.TCP) or not checksum_good(ip, tcp):
            continue
        ends = (ip.src, tcp.sport), (ip.dst, tcp.dport)
        control = bool(tcp.flags & (dpkt.tcp.TH_SYN | dpkt.tcp.TH_FIN | dpkt.tcp.TH_RST))
        if tcp.data or control:
            rows[ends].append(Row(frame, time_ns, tcp.seq, bytes(tcp.data), control))
        if tcp.flags & dpkt.tcp.TH_FIN:
            fins.setdefault(ends, tcp.seq + len(tcp.data) + 1)
        if (back := ends[::-1]) in fins and (tcp.ack - fins[back]) % 2**32 < 2**31:
            acked.setdefault(back, frame)
    return rows, acked


def checksum_good(ip: Any, tcp: Any) -> bool:
    """Whether the TCP checksum verifies, or was left to hardware: the folded sum of the pseudo-header."""
    segment = bytes(tcp)
    pseudo = ip.src + ip.dst + struct.pack("!HH", 6, len(segment))
    return bool(dpkt.in_cksum(pseudo + segment) == 0 or tcp.sum == 0xFFFF ^ dpkt.in_cksum(pseudo))


def endpoint(text: str) -> Endpoint:
    ip, port = text.rsplit(":", 1)
    return ip_address(ip.strip("[]")).packed, int(port)


def shape(tls: str, suite: str) -> tuple[bytes, tuple[int, int]]:
    """Types and total lengths of a plausible header (RFC 8446 section 5.2 less its padding; RFC 5288 section 3)."""
    if tls == "1.3":
        return b"\x17", (5 + 17, 5 + 16384 + 17)
    explicit = 8 if "GCM" in suite else 0
    return bytes(range(20, 25)), (5 + explicit + 16, 5 + explicit + 16384 + 16)


def compare(path: Path, profile: str, knobs: Knobs) -> list[Compared]:
    """Run both over a capture; every direction that has records of kTLS must agree."""
    names = {
        "budget": str(knobs.budget),
        "poll": "{},{}us".format(*knobs.poll),
        "confirm": "{},{}us".format(*knobs.confirm),
    }
    run = rxtls.replay(path, path.with_suffix(".keys"), profile=profile, settings=names, resegment="off")
    records: dict[tuple[int, str], list[Record]] = defaultdict(list)
    for record in run:
        records[record.flow, record.receiver].append(record)
    times = [time_ns for time_ns, _ in frames(path.read_bytes())]
    (rows, acked), out = packets(path.read_bytes()), []
    for flow in run.summary()["flows"]:
        ends = {"server": endpoint(flow["server"]), "client": endpoint(flow["client"])}
        enabled = {who: max(r.frame for r in records[flow["id"], who] if library(r)) for who in ends}
        for who, other in (("server", "client"), ("client", "server")):
            real = [record for record in records[flow["id"], who] if not library(record)]
            if not real:
                continue
            types, totals = shape(flow["tls"], flow["suite"])
            ways = (ends[other], ends[who]), (ends[who], ends[other])
            end = max(acked[way] for way in ways) if flow["end"] == "fin" else flow["end_frame"]["frame"] - 1
            closed = next(((r.tcp_seq - real[0].tcp_seq) % 2**32 for r in real if r.type == ALERT), -1)
            setup = Setup(
                real[0].tcp_seq, enabled[who], max(enabled.values()), times[end], closed, types, totals, knobs
            )
            model = predict([row for row in rows[ways[0]] if row.frame <= end], setup)
            where = f"{path.name}, flow {flow['id']}, to {who}"
            assert [(r.tcp_seq - setup.start) % 2**32 for r in real] == [place for place, _ in model.records], where
            for n, (record, (_, composition)) in enumerate(zip(real, model.records, strict=True)):
                assert (n, record.composition) == (n, composition), where
                assert record.record_class is CLASSES.get(composition, RecordClass.MIXED), where
            counts = flow["receive"][who]["resync"]
            assert {name: counts[name] for name in COUNTS} == {name: getattr(model, name) for name in COUNTS}, where
            out.append(Compared([c for _, c in model.records], model.lost, model.confirmed, model.regained))
    return out


def library(record: Record) -> bool:
    return record.record_class is RecordClass.LIBRARY


def compare_played(flow: traffic.Flow, knobs: Knobs) -> list[Compared]:
    """The same over simulated traffic."""
    with TemporaryDirectory() as folder:
        played = traffic.play(traffic.Scenario((flow,)))
        path = Path(folder, "link.pcap")
        path.write_bytes(
            struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 2**18, 1) + b"".join(map(captured, played.frames))
        )
        path.with_suffix(".keys").write_text(played.keylog)
        return compare(path, "ideal", knobs)


def captured(frame: LinkFrame) -> bytes:
    size = len(frame.data)
    return struct.pack("<IIII", *divmod(frame.time_ns, 10**9), size, size) + frame.data


@pytest.mark.parametrize("budget", [64, 5])
@pytest.mark.parametrize(
    ("name", "profile"),
    [
        ("loss-reorder-tls13-aes256gcm", "connectx-6dx"),
        ("loss-reorder-dup-tls12-aes128gcm", "connectx-6dx"),
        ("loss-tls13-chacha20", "ideal"),
        ("many-tls13-aes128gcm", "connectx-6dx"),
    ],
)
def test_real_captures(name: str, profile: str, budget: int) -> None:
    compared = compare(EXAMPLES / f"{name}.pcap", profile, Knobs(budget))
    assert sum(each.lost for each in compared) > 0
    assert sum(each.confirmed for each in compared) > 0 or name.startswith("many")  # short flows: over too soon
    assert {"D", "E", "DE", "ED"} <= {composition for each in compared for composition in each.compositions}


IMPAIRMENTS = {
    "loss": Impairment(loss=0.01),
    "late": Impairment(reorder=0.02, jump=-4),
    "early": Impairment(reorder=0.02, jump=3),
    "bursts": Impairment(loss=0.02, unit=6, duplicate=0.01),
    "resegmented": Impairment(loss=0.02, resegment=0.2, corrupt=0.01),
}


@pytest.mark.parametrize("kind", [traffic.AES128_GCM_13, traffic.AES128_GCM_12, traffic.CHACHA20_13])
@pytest.mark.parametrize("name", IMPAIRMENTS)
def test_simulated(kind: traffic.Kind, name: str) -> None:
    """Long enough to lose sync and regain it."""
    records = ((16384, 0), (16384, 0), (300, 0), (9000, 0)) * 12
    flow = traffic.Flow(kind, records, seed=len(name), impairment=IMPAIRMENTS[name], sequence=2**32 - 100_000)
    compared = compare_played(flow, Knobs())
    assert sum(len(each.compositions) for each in compared) >= len(records)


@given(traffic.flows())
@settings(max_examples=50, deadline=None)
def test_any_traffic(flow: traffic.Flow) -> None:
    """Whatever the link does, as long as nobody rekeys or stops reading."""
    connection = replace(flow.connection, stall=0.0, windows=(262_144, 262_144))
    assert compare_played(replace(flow, updates=frozenset(), connection=connection), Knobs())
