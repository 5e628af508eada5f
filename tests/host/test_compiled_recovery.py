"""What a kernel tries behind a hole, held against recovery.py, which has to find the same at once."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host_pair import Bench, on_device, promoted
from rxtls.crypto.keys import Keys
from rxtls.crypto.records import Sealer
from rxtls.handshake.search_budget import Work
from rxtls.host.compiled.serve import DONE, HOLE
from rxtls.host.compiled.state import Own
from rxtls.host.holes import begun
from rxtls.host.reassembly import GAP_NS, Hole
from rxtls.host.recovery import Found
from rxtls.host.sockbuf import SockBuf
from rxtls.offload.mbuf import Mbuf
from rxtls.seq import add
from sample_keys import STREAMED, made_up, shape_name
from sample_mbufs import mbuf

NUMBER = 3
SIZES = [50, 60, 70, 80]


class Holed:
    """Four records of these sizes, of which the bytes from `start` to `end` are missing. Behind the hole packets end at
    `edges`, and those in `marked` were decrypted; `flipped` is a byte that is not as it was sent."""

    def __init__(
        self, keys: Keys, sizes: list[int], start: int, end: int, edges: list[int], marked: set[int], flipped: int = -1
    ) -> None:
        self.bench = promoted(keys, NUMBER)
        sealer = Sealer(keys)
        wires = [sealer.seal(NUMBER + n, 23, made_up(size, f"record {n}")) for n, size in enumerate(sizes)]
        self.starts = [sum(map(len, wires[:n])) for n in range(5)]
        wire = bytearray(b"".join(wires))
        if flipped >= 0:
            wire[flipped] ^= 1
        device = b"".join(on_device(keys, NUMBER + n, each) for n, each in enumerate(wires))
        self.head = bytes(wire[:start])
        cuts = [end, *sorted({edge for edge in edges if end < edge < len(wire)}), len(wire)]
        self.behind: list[Mbuf] = []
        for n, (a, b) in enumerate(pairwise(cuts)):
            copy = device if n in marked else bytes(wire)
            self.behind.append(
                mbuf(self.bench.isn + a, copy[a:b], int(n in marked), frame=n, time_ns=GAP_NS, acked=self.at(start + 1))
            )
        self.hole = Hole(start, self.at(start), end - start, True)

    def at(self, offset: int) -> int:
        return add(self.bench.isn, offset)

    def tried(self) -> tuple[int, int]:
        """FOUND and FOUND_LENGTH once the hole is due."""
        bench: Bench = self.bench
        assert bench.give(mbuf(bench.isn, self.head), point=1) == DONE
        assert bench.give(*self.behind, point=2) == HOLE
        found, length = bench.row(Own.FOUND, Own.FOUND_LENGTH)
        return found, length

    def searched(self) -> tuple[Found | None, int]:
        """What recovery.py finds, and what it pays for that."""
        session = self.bench.session
        recovery = begun(session, self.head[: session.keys.header_length])
        recovery.enter(len(self.head), self.hole)
        sockbuf, work = SockBuf(), Work()
        sockbuf.enable()
        for each in self.behind:
            sockbuf.append(each)
        found = recovery.search(sockbuf, session, lambda _: None, work, ended=False)
        return found, work.spent


@pytest.mark.parametrize("keys", STREAMED, ids=shape_name)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_what_is_found_is_what_the_search_finds_first(keys: Keys, data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 300), min_size=4, max_size=4))
    total = sum(sizes) + 4 * keys.min_total
    start = data.draw(st.integers(1, sizes[0]))
    end = data.draw(st.integers(start + 1, min(total - 1, start + 400)))
    edges = data.draw(st.lists(st.integers(0, total), max_size=6))
    marked = data.draw(st.sets(st.integers(0, 6)))
    flipped = data.draw(st.sampled_from((-1, -1, total // 2, total // 3)))
    case = Holed(keys, sizes, start, end, edges, marked, flipped)
    offset, length = case.tried()
    if offset >= 0:
        found, spent = case.searched()
        assert found == Found(offset, NUMBER + 1)
        one = Work()
        one.trial(keys, length)
        assert spent == one.spent
    elif start >= keys.header_length and end <= case.starts[1] and flipped < 0:
        pytest.fail("the next record is there, and where its predecessor says")


@pytest.mark.parametrize("keys", STREAMED, ids=shape_name)
def test_the_next_record_is_found_wherever_packets_end(keys: Keys) -> None:
    """Its header cut at each byte, one half of it decrypted, and each half."""
    starts = Holed(keys, SIZES, 20, 40, [], set()).starts
    for cut in range(24):
        for marked in (set[int](), {0}, {1}, {0, 1}):
            case = Holed(keys, SIZES, 20, 40, [starts[1] + cut], marked)
            assert case.tried() == (starts[1] - 40, starts[2] - starts[1])


@pytest.mark.parametrize(
    "what", ["no header", "half a header", "its header missing", "not authentic", "no header behind it"]
)
def test_it_is_for_the_search(what: str) -> None:
    keys = STREAMED[0]
    starts = Holed(keys, SIZES, 20, 40, [], set()).starts
    start, end, flipped = {
        "no header": (1, 40, -1),
        "half a header": (4, 40, -1),
        "its header missing": (20, starts[1] + 1, -1),
        "not authentic": (20, 40, starts[1] + 30),
        "no header behind it": (20, 40, starts[2] + 1),
    }[what]
    case = Holed(keys, SIZES, start, end, [], set(), flipped)
    assert case.tried()[0] == -1


def test_marks_of_other_epochs_are_for_the_search() -> None:
    case = Holed(STREAMED[0], SIZES, 20, 40, [], {0})
    case.behind = [replace(each, mark=2) for each in case.behind]
    assert case.tried()[0] == -1


def test_nothing_is_taken_or_changed() -> None:
    """The trial is made in a copy: what was decrypted still is, and the plain host gets all of it."""
    case = Holed(STREAMED[0], SIZES, 20, 40, [80, 130, 200], {1, 2})
    assert case.tried()[0] >= 0
    (group,) = case.bench.end()
    assert (group.point, group.mbufs, group.settle) == (2, [], False)
    held = case.bench.direction.reassembly.held
    assert b"".join(each.data for each in held) == b"".join(each.data for each in case.behind)
    assert bytes(case.bench.direction.sockbuf.peek(100)) == case.head
