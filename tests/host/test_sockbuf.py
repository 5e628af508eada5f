"""The socket buffer: its books under any sequence of operations, record headers on the chain, marks, leaves, places."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rxtls.host.sockbuf import LeafChanged, SockBuf
from rxtls.offload.mbuf import Mbuf
from rxtls.seq import MASK, add
from sample_keys import made_up
from sample_mbufs import Byte, mbuf, spread

SHARES = st.floats(0, 1)


class Books(RuleBasedStateMachine):
    """What waits, byte by byte; the buffer has to agree after each step, whatever the order of steps."""

    def __init__(self) -> None:
        super().__init__()
        self.sockbuf = SockBuf()
        self.waiting: list[Byte] = []
        self.detached = 0
        self.bytes_in = self.bytes_out = self.frame = 0

    @initialize(start=st.sampled_from([0, MASK, MASK - 30]) | st.integers(0, MASK))
    def begin(self, start: int) -> None:
        self.place = start

    @rule(length=st.integers(1, 50), mark=st.integers(0, 2), leaf=st.integers(0, 2), packets=st.integers(1, 3))
    def append(self, length: int, mark: int, leaf: int, packets: int) -> None:
        piece = mbuf(self.place, made_up(length, f"{self.frame}"), mark, leaf=leaf)
        piece.arrivals = [
            (length * (i + 1) // packets, self.frame + i, 7 * (self.frame + i))
            for i in range(packets)
            if length * i // packets < length * (i + 1) // packets
        ]
        self.frame += packets
        before = self.sockbuf.leaf
        changed = self.sockbuf.append(piece)
        assert changed == (LeafChanged(leaf) if before != leaf else None)
        self.waiting += spread([piece])
        self.place = add(self.place, length)
        self.bytes_in += length

    @precondition(lambda self: not self.sockbuf.tls)
    @rule(share=SHARES)
    def read(self, share: float) -> None:
        length = int(share * len(self.waiting))
        assert spread(self.sockbuf.read(length)) == self._taken(length)
        self.bytes_out += length

    @precondition(lambda self: not self.sockbuf.tls)
    @rule()
    def enable(self) -> None:
        self.sockbuf.enable()
        assert (self.sockbuf.acc, self.sockbuf.tlscc) == (0, len(self.waiting))

    @precondition(lambda self: self.sockbuf.tls and not self.detached)
    @rule(share=SHARES)
    def detach(self, share: float) -> None:
        self.detached = int(share * len(self.waiting))
        assert spread(self.sockbuf.detach(self.detached)) == self._taken(self.detached)

    @precondition(lambda self: self.sockbuf.tls)
    @rule(share=SHARES)
    def hand_on(self, share: float) -> None:
        self.sockbuf.hand_on(int(share * self.detached))
        self.bytes_out += self.detached
        self.detached = 0

    @rule()
    def flush(self) -> None:
        # Trap 16: also while a record is detached, which the worker then brings back in vain.
        flushed = len(self.waiting) + self.detached
        assert self.sockbuf.flush() == flushed
        self.bytes_out += flushed
        self.waiting, self.detached = [], 0

    @rule(length=st.integers(0, 80))
    def peek(self, length: int) -> None:
        assert self.sockbuf.peek(length) == bytes(b.value for b in self.waiting[:length])

    @invariant()
    def agree(self) -> None:
        sockbuf = self.sockbuf
        sockbuf.check_chain()
        assert sockbuf.ccc == sockbuf.acc + sockbuf.tlscc + sockbuf.tlsdcc
        assert sockbuf.ccc == self.bytes_in - self.bytes_out
        assert sockbuf.tlsdcc == self.detached
        assert sockbuf.waiting == len(self.waiting)
        assert sockbuf.marks() == {b.mark for b in self.waiting}
        if self.waiting:
            # Trap 18 and trap 17: counted back from the end of the data, across the wrap.
            assert sockbuf.start_seq == self.waiting[0].seq
        elif self.bytes_in:
            assert sockbuf.start_seq == self.place

    def _taken(self, length: int) -> list[Byte]:
        taken, self.waiting = self.waiting[:length], self.waiting[length:]
        return taken


Books.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestBooks = Books.TestCase


def filled(data: bytes, cuts: list[int], marks: list[int] | None = None) -> SockBuf:
    """A TLS socket buffer over `data`, cut at `cuts`."""
    sockbuf = SockBuf()
    sockbuf.enable()
    edges = sorted({0, len(data), *cuts})
    for i, (a, b) in enumerate(pairwise(edges)):
        sockbuf.append(mbuf(1000 + a, data[a:b], marks[i % len(marks)] if marks else 0, frame=i))
    return sockbuf


def naive_headers(data: bytes) -> list[int]:
    offsets = [0]
    while len(data) - offsets[-1] >= 5:
        at = offsets[-1]
        offsets.append(at + 5 + int.from_bytes(data[at + 3 : at + 5], "big"))
    return offsets


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 40) | st.sampled_from([0, 1, 300]), max_size=12),
    st.integers(0, 8),
    st.lists(st.integers(0, 500), max_size=40),
    st.booleans(),
)
def test_headers_as_a_naive_walk(lengths: list[int], beyond: int, cuts: list[int], byte_by_byte: bool) -> None:
    data = b"".join(b"\x17\x03\x03" + n.to_bytes(2) + made_up(n, "payload") for n in lengths)
    data = (data + b"\x17\x03\x03\x00\x20ab")[: len(data) + beyond]
    within = list(range(len(data))) if byte_by_byte else [cut for cut in cuts if cut < len(data)]
    assert filled(data, within).headers() == naive_headers(data)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=120), st.lists(st.integers(0, 119), max_size=20))
def test_headers_of_anything(data: bytes, cuts: list[int]) -> None:
    assert filled(data, [cut for cut in cuts if cut < len(data)]).headers() == naive_headers(data)


def test_trap_1_the_split_copies_mark_and_arrivals_to_the_remainder() -> None:
    sockbuf = SockBuf()
    sockbuf.enable()
    packet = Mbuf(MASK - 4, made_up(20, "p"), 3, 7, 0, [(6, 1, 10), (12, 2, 20), (20, 3, 30)], -1, -1)
    sockbuf.append(packet)
    head, tail = sockbuf.detach(8), sockbuf.peek(20)
    assert [(m.seq, m.mark, m.leaf, m.arrivals) for m in head] == [(MASK - 4, 3, 7, [(6, 1, 10), (8, 2, 20)])]
    sockbuf.hand_on(3)
    rest = sockbuf.detach(12)
    assert [(m.seq, m.mark, m.leaf, m.arrivals) for m in rest] == [(3, 3, 7, [(4, 2, 20), (12, 3, 30)])]
    assert (head[0].data + rest[0].data, tail) == (packet.data, rest[0].data)
    assert packet.data == made_up(20, "p"), "trap 32: what was received is never written to"


def test_trap_21_neighbours_with_different_marks_stay_apart() -> None:
    sockbuf = filled(bytes(40), [10, 20, 30], [0, 1, 2, 1])
    assert [(m.mark, len(m.data)) for m in sockbuf.detach(35)] == [(0, 10), (1, 10), (2, 10), (1, 5)]


def test_trap_6_peek_across_mbufs() -> None:
    data = made_up(13, "header")
    sockbuf = filled(data, list(range(13)))
    assert [sockbuf.peek(n) for n in (0, 1, 5, 13)] == [data[:n] for n in (0, 1, 5, 13)]
    assert sockbuf.peek(99) == data
    assert SockBuf().peek(5) == b""


def test_trap_23_what_is_queued_before_enable_is_ciphertext_and_stays() -> None:
    sockbuf = SockBuf()
    sockbuf.append(mbuf(500, made_up(30, "queued")))
    sockbuf.read(12)
    sockbuf.enable()
    sockbuf.append(mbuf(530, b"more", 1))
    assert (sockbuf.acc, sockbuf.tlscc, sockbuf.ccc, sockbuf.start_seq) == (0, 22, 22, 512)
    assert [(m.seq, m.mark, len(m.data)) for m in sockbuf.detach(22)] == [(512, 0, 18), (530, 1, 4)]


def test_the_last_header_visited_decides_on_the_leaf() -> None:
    sockbuf = SockBuf()
    told = [sockbuf.append(mbuf(i, b"x", leaf=leaf)) for i, leaf in enumerate([4, 4, 5, 5, 4, 6])]
    assert told == [LeafChanged(4), None, LeafChanged(5), None, LeafChanged(4), LeafChanged(6)]
    assert sockbuf.leaf == 6


def test_the_leaf_is_watched_before_and_after_enable() -> None:
    sockbuf = SockBuf()
    assert sockbuf.append(mbuf(0, b"x", leaf=1)) == LeafChanged(1)
    sockbuf.read(1)
    sockbuf.enable()
    assert sockbuf.append(mbuf(1, b"x", leaf=2)) == LeafChanged(2)


def test_books_that_do_not_add_up_are_noticed() -> None:
    sockbuf = filled(bytes(10), [])
    sockbuf.tlscc -= 1
    with pytest.raises(AssertionError, match="ccc is not"):
        sockbuf.check()
    sockbuf.ccc -= 1
    with pytest.raises(AssertionError, match="10 bytes on the chain, 9 counted"):
        sockbuf.check_chain()


def test_what_the_first_record_still_lacks() -> None:
    sockbuf = SockBuf()
    sockbuf.enable()
    record = b"\x17\x03\x03\x01\x02" + bytes(258)
    assert sockbuf.missing() == 5
    for n in range(len(record)):
        sockbuf.append(mbuf(n, record[n : n + 1]))
        assert sockbuf.missing() == (4 - n if n < 4 else len(record) - 1 - n)
    sockbuf.append(mbuf(len(record), record[:100]))
    assert sockbuf.missing() == 0


def test_a_flush_leaves_nothing_and_says_how_much_there_was() -> None:
    for tls in (False, True):
        sockbuf = SockBuf()
        if tls:
            sockbuf.enable()
        sockbuf.append(mbuf(0, bytes(50)))
        assert sockbuf.flush() == 50
        assert (sockbuf.acc, sockbuf.tlscc, sockbuf.ccc, sockbuf.peek(9)) == (0, 0, 0, b"")
        sockbuf.append(mbuf(50, b"more"))
        assert (sockbuf.start_seq, sockbuf.peek(9)) == (50, b"more")
        sockbuf.check_chain()
