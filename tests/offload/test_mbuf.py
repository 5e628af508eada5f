from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from rxtls.offload.mbuf import WIRE, Arrival, Mbuf, latest


@st.composite
def mbufs(draw: st.DrawFn) -> Mbuf:
    sizes = draw(st.lists(st.integers(1, 9), min_size=1, max_size=6))
    arrivals: list[Arrival] = []
    end = 0
    for index, size in enumerate(sizes):
        end += size
        arrivals.append((end, 10 + index, 1_000 + index))
    data = bytes(range(end))
    return Mbuf(draw(st.sampled_from([0, 500, 2**32 - 7])), data, draw(st.integers(0, 3)), 4, 0x18, arrivals, 5, 6)


def by_byte(mbuf: Mbuf) -> list[tuple[int, int, int, int, int]]:
    """(sequence number, byte, mark, frame, time) of every byte, the slow way."""
    out = []
    for offset, byte in enumerate(mbuf.data):
        _, frame, time_ns = next(arrival for arrival in mbuf.arrivals if arrival[0] > offset)
        out.append(((mbuf.seq + offset) % 2**32, byte, mbuf.mark, frame, time_ns))
    return out


def test_unmarked_is_zero_and_no_epoch() -> None:
    assert WIRE == 0


@given(mbuf=mbufs(), data=st.data())
def test_a_cut_keeps_of_every_byte_its_place_its_mark_and_its_arrival(mbuf: Mbuf, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(mbuf.data) - 1))
    end = data.draw(st.integers(start + 1, len(mbuf.data)))
    part = mbuf.cut(start, end)
    assert by_byte(part) == by_byte(mbuf)[start:end]
    assert part.arrivals[-1][0] == len(part.data)
    assert (part.leaf, part.flags, part.acked, part.edge) == (4, 0x18, 5, 6)


@given(mbuf=mbufs(), data=st.data())
def test_all_parts_together_are_the_whole(mbuf: Mbuf, data: st.DataObject) -> None:
    before = (mbuf.seq, mbuf.data, list(mbuf.arrivals))
    places = sorted(data.draw(st.sets(st.integers(1, len(mbuf.data)))) | {0, len(mbuf.data)})
    parts = [mbuf.cut(start, end) for start, end in pairwise(places)]
    assert [byte for part in parts for byte in by_byte(part)] == by_byte(mbuf)
    assert (mbuf.seq, mbuf.data, mbuf.arrivals) == before


@given(mbuf=mbufs(), data=st.data())
def test_a_cut_of_a_cut_is_a_cut(mbuf: Mbuf, data: st.DataObject) -> None:
    a, b, c, d = sorted(data.draw(st.integers(0, len(mbuf.data))) for _ in range(4))
    if b == c:
        assert mbuf.cut(a, d).cut(b - a, c - a).data == b""
    else:
        assert mbuf.cut(a, d).cut(b - a, c - a) == mbuf.cut(b, c)


def test_nothing_cut_is_nothing() -> None:
    mbuf = Mbuf(2**32 - 1, b"ab", 1, 0, 0x10, [(2, 7, 7)], -1, -1)
    assert (mbuf.cut(1, 1).data, mbuf.cut(1, 1).seq) == (b"", 0)
    assert mbuf.cut(2, 2).arrivals == []


@given(chain=st.lists(mbufs(), min_size=1, max_size=4))
def test_the_latest_packet_of_a_chain(chain: list[Mbuf]) -> None:
    for late, each in enumerate(chain):
        each.arrivals = [(end, frame + 7 * late % 30, time_ns) for end, frame, time_ns in each.arrivals]
    assert latest(chain) == max(arrival[1:] for each in chain for arrival in each.arrivals)
