"""The benchmark's captures: right to the last checksum, what they say they are, and open by their key log alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Any

import dpkt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rxtls
from rxtls.crypto.records import Opener

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import bench_run  # noqa: E402
from bench_cases import CASES, SHORT, Case, Made, Traffic  # noqa: E402
from bench_figures import wrong  # noqa: E402
from bench_packets import JUMP, arrivals, in_order  # noqa: E402
from bench_stream import MSS, record_lengths  # noqa: E402
from bench_traffic import sealed, write  # noqa: E402

SIZE = 700_000
SHORT_SIZE = 9  # connections; a round is 8

# One case for each kind of traffic.
KINDS = list({case.traffic: case for case in reversed(CASES)}.values())


def amount(traffic: Traffic) -> int:
    return SHORT_SIZE if traffic.answer else SIZE


@pytest.fixture(params=KINDS, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


@pytest.fixture
def made(case: Case, tmp_path: Path) -> Made:
    return write(case.traffic, amount(case.traffic), tmp_path / "a.pcap", tmp_path / "a.keys")


def test_a_replay_comes_to_what_was_put_in(case: Case, made: Made) -> None:
    options = {"profile": case.profile, "engine": "plain"}
    told = bench_run.replay(made.capture, made.keys, options, each=case.each)
    assert wrong(told, made) == []
    summary = rxtls.replay(made.capture, keys=made.keys, **options)
    assert sum(record.number is not None for record in summary) > made.records  # those of handshakes as well
    fates = summary.summary()["fates"]
    assert not [name for name in fates if name.startswith("frame.") and name not in ("frame.ack", "frame.segment")]
    if not case.traffic.answer:
        downloads = [flow["receive"]["client"] for flow in summary.summary()["flows"]]
        assert {each["vantage"] for each in downloads} == {"receiver"}


def segments(made: Made) -> dict[tuple[Any, ...], list[tuple[int, bytes]]]:
    """(sequence number, payload) of each direction, read by dpkt, with checksums verified."""
    found = defaultdict(list)
    times = []
    with open(made.capture, "rb") as file:
        for time, frame in dpkt.pcap.Reader(file):
            times.append(time)
            ip = dpkt.ethernet.Ethernet(frame).data
            assert dpkt.in_cksum(bytes(ip)[:20]) == 0
            tcp = ip.data
            pseudo = ip.src + ip.dst + b"\0\x06" + (ip.len - 20).to_bytes(2)
            assert dpkt.in_cksum(pseudo + bytes(ip)[20 : ip.len]) == 0
            found[ip.src, tcp.sport, ip.dst, tcp.dport].append((tcp.seq, tcp.data))
    assert times == sorted(times)
    assert len(times) == made.frames
    return found


def test_another_reader_finds_whole_streams_and_right_checksums(case: Case, made: Made) -> None:
    flows = segments(made)
    assert len(flows) == 2 * made.connections
    assert sum(bool(data) for packets in flows.values() for _, data in packets) == made.payload_frames
    for packets in flows.values():
        first = packets[0][0] + 1  # the SYN's place
        pieces = sorted(((seq - first) % 2**32, data) for seq, data in packets[1:] if data)
        end = 0
        for start, data in pieces:
            assert start == end, "every byte comes exactly once"
            end = start + len(data)
    if case.traffic.loss or case.traffic.reorder:
        orders = [[seq for seq, data in packets if len(data) == MSS] for packets in flows.values()]
        assert any(order != sorted(order) for order in orders)


def test_one_shot_opens_the_same_records(case: Case, made: Made) -> None:
    runs = list(sealed(case.traffic, amount(case.traffic), 10**9))
    opened = bench_run.Plain(runs)
    assert opened() == sum(len(run.lengths) for run in runs)
    few = 0 if case.traffic.answer else 3 * made.connections  # a request, two alerts
    assert opened() == made.records - few
    streams = [b"".join(data for _, data in sorted(packets)) for packets in segments(made).values()]
    assert all(any(bytes(run.data) in stream for stream in streams) for run in runs if len(run.data) > 5 * MSS)


def test_compiled_one_shot_opens_as_many() -> None:
    runs = list(sealed(Traffic(), SIZE, 10**9))
    assert bench_run.Compiled(runs)() == bench_run.Plain(runs)()
    runs[0].data[100] ^= 1  # type: ignore[index]  # a bytearray
    assert bench_run.Compiled(runs)() == sum(len(run.lengths) for run in runs) - 1


def test_one_shot_holds_whole_records_of_so_many_bytes() -> None:
    runs = list(sealed(Traffic(), 16 * SIZE, SIZE))
    assert [len(run.lengths) > 0 for run in runs] == [True]
    assert sum(runs[0].lengths) <= len(runs[0].data) <= SIZE + MSS
    opener = Opener(runs[0].keys)
    assert opener.open(runs[0].number, runs[0].data[: runs[0].lengths[0]]).type == 23


def test_the_same_seed_makes_the_same_bytes(tmp_path: Path) -> None:
    lossy = Traffic(loss=0.01, reorder=0.01)
    for traffic in (lossy, SHORT):
        written = []
        for name in ("a", "b"):
            made = write(traffic, amount(traffic), tmp_path / f"{name}.pcap", tmp_path / f"{name}.keys")
            written.append((Path(made.capture).read_bytes(), Path(made.keys).read_bytes()))
        assert written[0] == written[1]
    other = write(lossy, SIZE, tmp_path / "c.pcap", tmp_path / "c.keys", seed=2)
    assert Path(other.keys).read_bytes() != written[0][1]


def test_short_connections_come_in_whole_rounds(tmp_path: Path) -> None:
    made = write(SHORT, SHORT_SIZE, tmp_path / "a.pcap", tmp_path / "a.keys")
    assert made.connections == 16
    assert made.records == 16 * 4  # request, answer, two alerts
    assert made.app_bytes == 16 * (100 + SHORT.answer)
    ends = [each for flow in segments(made) for each in ((flow[0], flow[1]), (flow[2], flow[3]))]
    assert {port for _, port in ends} == {4433, *range(49152, 49168)}


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tshark_decrypts_it_with_the_options_of_the_benchmark(case: Case, made: Made, tmp_path: Path) -> None:
    command = ["tshark", "-r", made.capture, "-o", f"tls.keylog_file:{made.keys}", "-q", "-z", "follow,tls,raw,0"]
    command += ["-o", "tcp.reassemble_out_of_order:TRUE"]
    environment = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    plaintext = sum(len(line.strip()) // 2 for line in done.stdout.splitlines() if len(line.strip()) > 60)
    assert plaintext >= 0.95 * made.app_bytes / made.connections


# What the captures are made of


@given(
    size=st.integers(1, 200) | st.integers(1, 10**6),
    record=st.sampled_from([200, 4096, 16384]),
    overhead=st.sampled_from([22, 29]),
)
def test_records_fill_any_number_of_segments(size: int, record: int, overhead: int) -> None:
    lengths = record_lengths(size * MSS, record, overhead)
    assert sum(lengths) + overhead * len(lengths) == size * MSS
    assert all(0 < length <= record for length in lengths)
    assert all(length == record for length in lengths[:-2])


def test_bytes_that_hold_no_record_are_refused() -> None:
    with pytest.raises(ValueError, match="hold no record"):
        record_lengths(20, 200, 22)


@given(segments=st.integers(1, 3000), seed=st.integers(0, 2**32), loss=st.floats(0, 0.3), reorder=st.floats(0, 0.3))
def test_every_segment_comes_once_and_nothing_unseen_is_acknowledged(
    segments: int, seed: int, loss: float, reorder: float
) -> None:
    order = arrivals(segments, loss, reorder, seed)
    assert sorted(order.tolist()) == list(range(segments))
    there, acknowledged, seen = in_order(order).tolist(), 0, set()
    for place, segment in enumerate(order.tolist()):
        seen.add(segment)
        while acknowledged in seen:
            acknowledged += 1
        assert there[place] == acknowledged


def test_without_impairment_all_is_in_order() -> None:
    assert np.array_equal(arrivals(1000, 0, 0, 1), np.arange(1000))


def test_loss_comes_late_and_reordering_early() -> None:
    order = arrivals(100_000, 0.01, 0, 1)
    held = np.maximum.accumulate(order) - order  # how far a segment comes behind one that was sent later
    assert 0.008 < np.count_nonzero(held) / len(order) < 0.012
    assert held[held > 0].min() > 90
    assert held.max() > 300  # repairs are lost as well
    order = arrivals(100_000, 0, 0.01, 1)
    early = order - np.arange(len(order))
    assert early.max() == JUMP
    assert 0.008 < np.count_nonzero(early == JUMP) / len(order) < 0.012


def test_what_a_child_is_told_makes_the_same_traffic() -> None:
    assert all(Traffic.loaded(asdict(case.traffic)) == case.traffic for case in CASES)
