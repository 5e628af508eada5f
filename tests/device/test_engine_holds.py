"""What the engine holds to, whatever arrives: loss, reorder, duplicates, overlaps, damage, confirms at any time.

1. A packet comes back as it is on the wire (None), or with the keystream taken off just where ciphertext stands.
2. No byte of the sequence space is marked twice.
3. However a host picks among the copies it is offered: a record all of whose bytes are marked is authentic.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from random import Random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rxtls.crypto.keys import RECORD_HEADER, Keys
from rxtls.device import engine
from rxtls.device.tracker import TRACKING, TRANSITIONS, TrackerEvent
from rxtls.offload.commands import Happening
from sample_keys import made_up, shape_name
from tls_stream import AEAD_TAG, ENGINE_KEYS, MOMENT, Bench, TlsStream, context_for, false_headers, stream_of

BASES = (0, 1_000, 2**32 - 400, 2**31 - 400)


@dataclass(frozen=True)
class Sent:
    """One packet: which bytes, which of them arrives flipped, whether the host takes it."""

    start: int
    end: int
    flip: int | None
    accepted: bool


@dataclass(frozen=True)
class Traffic:
    stream: TlsStream
    packets: list[Sent]
    programmed: int | None
    search_after: int


def _ciphertext_at(stream: TlsStream, offset: int) -> bool:
    """Whether ciphertext or AEAD tag stands there: what may be damaged without changing the framing."""
    return any(start + stream.keys.header_length <= offset < end for start, end in stream.spans())


@st.composite
def traffic(draw: st.DrawFn, keys: Keys) -> Traffic:
    """A stream of small records, and its packets as a bad network delivers them."""
    stream = TlsStream(keys, draw(st.sampled_from(BASES)), draw(st.sampled_from([0, 2**32 - 3])))
    kinds = st.one_of(st.integers(0, 120), st.sampled_from(["false headers", "false header"]))
    for index, kind in enumerate(draw(st.lists(kinds, min_size=3, max_size=16))):
        if kind == "false headers":
            stream.append_crafted(b"\xff" * 9 + false_headers(keys, 6, 40) + b"\xff" * 30)
        elif kind == "false header":
            stream.append_crafted(b"\x17\x03\x03\x00\x60" + b"\xff" * 50)
        else:
            stream.append(made_up(int(kind), f"{index}"))
    # One random seed for what makes no difference to how a failure reads; its shape is in the packets.
    random = Random(draw(st.integers(0, 2**32)))
    trouble = draw(st.sampled_from([0.0, 0.1, 0.3]))
    damage = draw(st.sampled_from([0.0, 0.2]))
    total = len(stream.wire)
    order: list[tuple[float, int, int]] = []
    at = 0
    while at < total:
        end = min(total, at + random.choice([1, 3, 7, 40, 90, 200]))
        for _ in range(1 + (random.random() < trouble)):
            if random.random() >= trouble:
                late = random.choice([0, 0, 0, 30, 150]) if random.random() < trouble else 0
                order.append((at + late, at, end))
        if random.random() < trouble:  # a retransmission with other borders
            start = max(0, at - random.randrange(300))
            order.append((at + random.randrange(100), start, min(total, start + 1 + random.randrange(150))))
        at = end
    packets = []
    for _, start, end in sorted(order):
        places = [place for place in range(start, end) if _ciphertext_at(stream, place)]
        flip = random.choice(places) if places and random.random() < damage else None
        packets.append(Sent(start, end, flip, random.random() >= damage))
    return Traffic(stream, packets, draw(st.sampled_from([0, 0, 1, None])), draw(st.sampled_from([0, 0, 60])))


def _play(given_traffic: Traffic, data: st.DataObject) -> None:
    stream = given_traffic.stream
    bench = Bench(stream, given_traffic.programmed, given_traffic.search_after)
    context = bench.context
    numbers = {stream.seq(start): stream.number + index for index, start in enumerate(stream.starts)}
    mask = bytes(a ^ b for a, b in zip(stream.wire, stream.plain, strict=True))
    marked: set[int] = set()
    host: dict[int, tuple[int, bool]] = {}  # offset -> (byte, marked): the first copy that it took
    helpful = Random(data.draw(st.integers(0, 2**32), label="host"))
    for sent in given_traffic.packets:
        received = bytearray(stream.wire[sent.start : sent.end])
        if sent.flip is not None:
            received[sent.flip - sent.start] ^= 1 << sent.flip % 8
        before = bytes(received)
        out = engine.receive(context, stream.seq(sent.start), before, MOMENT)
        assert before == received
        assert context.state in TRANSITIONS
        if out is not None:
            assert out == bytes(a ^ b for a, b in zip(before, mask[sent.start : sent.end], strict=True))
            places = set(range(sent.start, sent.end))
            assert not marked & places
            marked |= places
        if sent.accepted:
            for offset, byte in enumerate(before if out is None else out, sent.start):
                host.setdefault(offset, (byte, out is not None))
        if context.state == TRACKING and context.anchor in numbers and helpful.random() < 0.4:
            engine.confirm(context, context.anchor, numbers[context.anchor], MOMENT)
        elif helpful.random() < 0.1:
            seq = helpful.choice(list(numbers))
            if helpful.random() < 0.5:
                engine.confirm(context, seq, numbers[seq], MOMENT)
            else:
                engine.set_position(context, seq, numbers[seq])
    for start, end in stream.spans():
        copies = [host.get(offset) for offset in range(start, end)]
        if all(copy is not None and copy[1] for copy in copies):
            assert bytes(copy[0] for copy in copies if copy) == stream.plain[start:end]


@pytest.mark.parametrize("keys", ENGINE_KEYS, ids=shape_name)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_whatever_arrives_what_is_marked_is_true(keys: Keys, data: st.DataObject) -> None:
    _play(data.draw(traffic(keys)), data)


@pytest.mark.long
@pytest.mark.parametrize("keys", ENGINE_KEYS, ids=shape_name)
@settings(max_examples=1_500, deadline=None)
@given(data=st.data())
def test_whatever_arrives_what_is_marked_is_true_at_length(keys: Keys, data: st.DataObject) -> None:
    _play(data.draw(traffic(keys)), data)


@pytest.mark.parametrize("keys", ENGINE_KEYS, ids=shape_name)
@settings(max_examples=30, deadline=None)
@given(
    packets=st.lists(
        st.tuples(
            st.one_of(st.integers(-50, 400), st.integers(-(2**31), 2**31 - 1)),
            st.one_of(
                st.binary(min_size=1, max_size=60),
                st.lists(
                    st.sampled_from([b"\x17\x03\x03\x00\x20", b"\x17\x03\x03", b"\x00\x40", b"\xff" * 31, b"\x17"]),
                    min_size=1,
                    max_size=9,
                ).map(b"".join),
            ),
            st.sampled_from(["", "confirm", "stale", "position"]),
        ),
        max_size=30,
    ),
    base=st.sampled_from(BASES),
    programmed=st.booleans(),
    search_after=st.sampled_from([0, 100, 2**20]),
)
def test_any_bytes_at_any_place_are_survived(
    keys: Keys, packets: list[tuple[int, bytes, str]], base: int, programmed: bool, search_after: int
) -> None:
    context = context_for(keys, search_after)
    if programmed:
        engine.bind(context, base, 5)
    else:
        context.fire(TrackerEvent.SCAN)
    for ahead, payload, command in packets:
        seq = (base + ahead) & 0xFFFF_FFFF
        before = bytes(payload)
        out = engine.receive(context, seq, payload, MOMENT)
        assert payload == before
        assert out is None or len(out) == len(payload)
        assert context.state in TRANSITIONS
        assert 0 <= context.next_header < 2**32
        assert 0 <= context.expected < 2**32
        assert len(context.header) < keys.header_length or context.opener is not None
        assert len(context.aead_tag) < AEAD_TAG
        if command == "confirm":
            engine.confirm(context, context.anchor, 3, MOMENT)
        elif command == "stale":
            engine.confirm(context, seq, 3, MOMENT)
        elif command == "position":
            engine.set_position(context, seq, 3)


@pytest.mark.parametrize("keys", ENGINE_KEYS, ids=shape_name)
@settings(max_examples=30, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 120), min_size=15, max_size=25),
    base=st.sampled_from(BASES),
    step=st.integers(1, 250),
    lost=st.integers(0, 1_200),
    gap=st.integers(1, 300),
)
def test_one_loss_and_a_prompt_host(keys: Keys, lengths: list[int], base: int, step: int, lost: int, gap: int) -> None:
    """Which packets are decrypted after a loss follows from where the headers stand, to the packet."""
    stream = stream_of(keys, [*lengths, 300, 300], base)
    total = len(stream.wire)
    lost %= total - 700
    bench = Bench(stream)
    assert all(bench.packets(*range(0, lost, step), lost))
    cuts = [*range(lost + gap, total, step), total]
    marks = []
    for start, end in pairwise(cuts):
        marks.append(bench.packet(start, end))
        if bench.context.state == TRACKING:
            assume(bench.anchored_at in stream.starts)  # chance does make false headers, one in 2^24 bytes
            bench.confirm(stream.starts.index(bench.anchored_at))
    headers = stream.starts
    current = max(start for start in headers if start <= lost)
    m = min(start for start in headers if start > lost)
    if lost - current < RECORD_HEADER or cuts[0] > m:
        whole = [end for start, end in pairwise(cuts) if any(start <= header <= end - 5 for header in headers)]
        resume = min((header for header in headers if whole and header >= whole[0]), default=total)
        assert marks == [start >= resume for start in cuts[:-1]]
        assert Happening.LOST in bench.happenings()
    else:
        assert marks == [start > m for start in cuts[:-1]]
        assert bench.happenings() == []
