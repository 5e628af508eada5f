"""Flows of one tuple in several overlay networks: which of them a packet of a network belongs to that none is known
by."""

from __future__ import annotations

from random import Random

import pytest

from dialog import MILLISECOND, START, Dialog, captured
from rxtls.intake.flows import MOST_IDS, MOST_NETWORKS, NEAR
from rxtls.intake.steer import SteerOptions
from rxtls.seq import MASK
from steer_pair import Pair, compare
from steer_streams import Habits, stream
from wrapping import vxlan


@pytest.mark.parametrize("networks", [2, 3, 2 * MOST_NETWORKS])
@pytest.mark.parametrize("seed", range(4))
def test_any_stream(seed: int, networks: int) -> None:
    habits = Habits(tuples=3, network=0.8, networks=networks, mirror=0.2, odd=0.02, off=0.1, noise=0.0, damage=0.02)
    pair = compare(stream(Random(seed), 300, habits), SteerOptions(), [1, 7, 50] * 4)
    assert len(pair.plain.connections) > 3


def connections(talk: Dialog, networks: dict[int, int]) -> int:
    frames = [
        captured(vxlan(frame.data, networks.get(n, 1)), START + n * MILLISECOND) for n, frame in enumerate(talk.frames)
    ]
    pair: Pair = compare(frames, SteerOptions())
    return len(pair.plain.connections)


def test_an_answer_by_another_network_is_of_the_same_connection() -> None:
    talk = Dialog().handshake()
    talk.a(b"question")
    talk.b(b"answer")
    assert connections(talk, {1: 2, 4: 2}) == 1


@pytest.mark.parametrize(("off", "expected"), [(0, 1), (NEAR - 100, 1), (NEAR + 100_000, 2), (-NEAR - 100_000, 2)])
def test_an_answer_to_what_was_never_said_is_another_s(off: int, expected: int) -> None:
    """Its acknowledgement is far from what the other side sent."""
    talk = Dialog()
    talk.a(b"question")
    talk.a(b"question")
    talk.b(b"answer", ack=(talk.next[0] + off) & MASK)
    assert connections(talk, {2: 2}) == expected


@pytest.mark.parametrize(("last", "expected"), [(2 + MOST_IDS, 1), (3, 1), (2, 2), (1, 2)])
def test_the_latest_networks_of_a_connection_are_known(last: int, expected: int) -> None:
    """A mirror sends the same packet by one network after the other; then something new comes."""
    talk = Dialog().handshake()
    talk.a(b"seen often")
    *before, often = talk.frames
    times = [*range(len(before)), *range(len(before), len(before) + 2 + MOST_IDS)]
    talk.a(b"new")
    seen = [(frame.data, 1) for frame in before] + [(often.data, 1 + n) for n in range(2 + MOST_IDS)]
    frames = [captured(vxlan(data, vni), START + n * MILLISECOND) for n, (data, vni) in zip(times, seen, strict=True)]
    frames.append(captured(vxlan(talk.frames[-1].data, last), START + 50 * MILLISECOND))
    assert len(compare(frames, SteerOptions()).plain.connections) == expected


def test_a_tuple_has_no_more_connections_than_there_may_be_networks_of_it() -> None:
    frames = []
    for n in range(MOST_NETWORKS + 4):
        talk = Dialog()
        talk.next = [(1000 + n * 4 * NEAR) & MASK, (77 + n * 4 * NEAR) & MASK]
        talk.a(b"data")
        frames += [captured(vxlan(frame.data, 1 + n), START + n * MILLISECOND) for frame in talk.frames]
    pair = compare(frames, SteerOptions())
    assert len(pair.plain.connections) == MOST_NETWORKS
