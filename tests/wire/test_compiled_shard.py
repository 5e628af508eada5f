"""How jobs divide connections: both directions alike, all jobs alike, every frame to one of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache, reduce
from operator import truediv
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether

from rxtls.wire.captured import Frame
from rxtls.wire.compiled.columns import FOREIGN, PACKET, Frames, PacketRow, frames_of
from rxtls.wire.compiled.parse import parse_frames
from rxtls.wire.compiled.shard import MOST_JOBS, Share

ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")


@cache
def packet(n: int, forth: bool, payload: int = 0, version: int = 4, odd: bool = False) -> bytes:
    """A segment of connection `n`; an `odd` one is the plain parser's."""
    client, server = (f"10.0.{n >> 8}.{n & 255}", "10.9.9.9") if version == 4 else (f"fd00::{n:x}", "fd00::9:9:9")
    ends, ports = ((client, server), (40_000 + n, 443)) if forth else ((server, client), (443, 40_000 + n))
    ip = IP(src=ends[0], dst=ends[1]) if version == 4 else IPv6(src=ends[0], dst=ends[1])
    if odd and version == 4:
        ip.options = b"\1\1\1\1"
    tags = [Dot1Q(vlan=7)] * 5 if odd and version == 6 else []
    link = reduce(truediv, tags, ETHER)
    return bytes(link / ip / TCP(sport=ports[0], dport=ports[1], flags="PA") / bytes(payload))


def frames(packets: Sequence[bytes]) -> Frames:
    return frames_of((n, Frame(n, 0, 1, len(data), data)) for n, data in enumerate(packets))


def fates(packets: Sequence[bytes], job: int, jobs: int) -> tuple[list[int], bytes]:
    """FATE of each packet as one job sees it, and how it divided."""
    made, share = frames(packets), Share(job, jobs)
    parse_frames(made, True, share)
    return made.packets[:, PacketRow.FATE].tolist(), share.partition()


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.sampled_from([0, 900])), max_size=40), st.integers(1, 5))
def test_every_frame_is_one_jobs_and_a_connection_the_same_jobs(
    connections: list[tuple[int, bool, int]], jobs: int
) -> None:
    packets = [packet(n, forth, payload, 4 if n % 3 else 6, n % 4 == 1) for n, forth, payload in connections]
    packets += [bytes(ETHER / ARP()), bytes(ETHER / IP() / UDP()), b"short"]
    whole = frames(packets)
    parse_frames(whole, True)
    each = [fates(packets, job, jobs) for job in range(jobs)]
    assert len({partition for _, partition in each}) == 1
    owners: dict[int, set[int]] = {}
    for row, fate in enumerate(whole.packets[:, PacketRow.FATE].tolist()):
        mine = [job for job in range(jobs) if each[job][0][row] != FOREIGN]
        assert [each[job][0][row] for job in mine] == [fate]
        if fate != PACKET:
            assert mine == [0]
        else:
            owners.setdefault(connections[row][0], set()).update(mine)
    assert all(len(jobs_of_one) == 1 for jobs_of_one in owners.values())


def test_what_is_mine_is_parsed_as_ever() -> None:
    packets = [packet(n % 7, n % 2 == 0, n, odd=n % 5 == 0) for n in range(60)]
    whole = frames(packets)
    parse_frames(whole, True)
    for job in range(3):
        made = frames(packets)
        parse_frames(made, True, Share(job, 3))
        mine = made.packets[:, PacketRow.FATE] != FOREIGN
        assert 0 < mine.sum() < 60
        assert (made.packets[mine] == whole.packets[mine]).all()


@pytest.mark.parametrize("jobs", [2, 3])
def test_a_few_large_connections_are_spread_evenly(jobs: int) -> None:
    packets = [packet(n, True, 10) for n in range(6 * jobs)] + [packet(n % (6 * jobs), True, 1400) for n in range(600)]
    mine = [Counter(fates(packets, job, jobs)[0])[PACKET] for job in range(jobs)]
    assert sum(mine) == len(packets)
    assert max(mine) <= len(packets) / jobs * 1.25


def test_many_small_connections_are_spread_evenly() -> None:
    dice = Random(1)
    packets = [packet(dice.randrange(300), dice.random() < 0.5, dice.choice((0, 300))) for _ in range(3000)]
    mine = [Counter(fates(packets, job, 4)[0])[PACKET] for job in range(4)]
    assert sum(mine) == len(packets)
    assert max(mine) < len(packets) / 4 * 1.1


def test_jobs_that_saw_other_frames_divided_otherwise() -> None:
    packets = [packet(n, True) for n in range(9)]
    assert fates(packets, 0, 2)[1] == fates(packets, 1, 2)[1]
    assert fates(packets, 0, 2)[1] != fates(packets[1:], 1, 2)[1]


def test_jobs_are_counted_from_0() -> None:
    assert Share(MOST_JOBS - 1, MOST_JOBS).address % np.dtype(np.int64).itemsize == 0
    for job, jobs in ((1, 1), (-1, 2), (0, 0), (0, MOST_JOBS + 1)):
        with pytest.raises(ValueError, match="job"):
            Share(job, jobs)
