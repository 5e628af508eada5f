"""A chain of extents, held against the socket buffer that has the same bytes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from host_pair import promoted
from rxtls.host.compiled.chain import Chain, extents, where
from rxtls.host.compiled.serve import DONE
from rxtls.host.compiled.state import Own
from rxtls.host.sockbuf import SockBuf
from rxtls.offload.mbuf import Mbuf
from sample_keys import STREAMED, made_up
from sample_mbufs import mbuf

KEYS = STREAMED[0]
# A header that promises the longest record: nothing is ever whole, and all bytes stay on the chain.
STREAM = b"\x17\x03\x03" + (KEYS.max_total - 5).to_bytes(2) + made_up(295, "stream")


def spelled(mbufs: list[Mbuf]) -> list[tuple[int, int]]:
    return [(byte, each.mark) for each in mbufs for byte in each.data]


@settings(max_examples=80, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=12),
    marks=st.lists(st.integers(0, 1), min_size=12, max_size=12),
    steps=st.lists(st.tuples(st.integers(0, 120), st.integers(0, 120), st.integers(0, 40)), max_size=6),
)
def test_it_is_the_socket_buffer_s_twin(
    lengths: list[int], marks: list[int], steps: list[tuple[int, int, int]]
) -> None:
    bench = promoted(KEYS)
    sockbuf = SockBuf()
    sockbuf.enable()
    at = 0
    for frame, (length, mark) in enumerate(zip(lengths, marks, strict=False)):
        piece = mbuf(bench.isn + at, STREAM[at : at + length], mark, frame=frame, time_ns=10 * frame)
        if not piece.data:
            break
        assert bench.give(piece, point=frame) == DONE
        sockbuf.append(piece)
        at += length
    chain = bench.fast.sockbuf
    assert isinstance(chain, Chain)
    for start, length, dropped in steps:
        assert (chain.waiting, chain.start_seq) == (sockbuf.waiting, sockbuf.start_seq)
        assert chain.peek(length) == sockbuf.peek(length)
        assert spelled(chain.slice(start, start + length)) == spelled(sockbuf.slice(start, start + length))
        if sockbuf.waiting:
            assert chain.first_arrival() == sockbuf.first_arrival()
        dropped = min(dropped, sockbuf.waiting)
        for each in (chain, sockbuf):
            each.detach(dropped)
            each.hand_on(0)
    left = sockbuf.flush()
    assert chain.flush() == left
    assert (chain.waiting, extents(bench.arena, bench.fast._own, Own.CHAIN_HEAD)) == (0, [])
    assert bench.end() == []


def test_extents_are_told_in_order() -> None:
    bench = promoted(KEYS)
    bench.give(mbuf(bench.isn, STREAM[:10]), mbuf(bench.isn + 10, STREAM[10:30], 1), point=1)
    rows = extents(bench.arena, bench.fast._own, Own.CHAIN_HEAD)
    assert [bytes(bench.arena.bytes(*where(row))) for row in rows] == [STREAM[:10], STREAM[10:30]]
