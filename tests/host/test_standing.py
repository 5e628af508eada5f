from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxtls.host.standing import walk
from rxtls.seq import add
from tls_stream import GCM12, GCM13, stream_of


@given(
    keys=st.sampled_from([GCM12, GCM13]),
    lengths=st.lists(st.integers(1, 300), min_size=1, max_size=8),
    base=st.sampled_from([1_000, 2**32 - 200]),
    data=st.data(),
)
def test_against_every_byte_one_by_one(keys, lengths, base, data) -> None:  # type: ignore[no-untyped-def]
    """The obvious twin: a header is known while the one before it is, and its five bytes are here."""
    stream = stream_of(keys, lengths, base, number=40)
    size = len(stream.wire)
    cuts = sorted(data.draw(st.sets(st.integers(0, size), max_size=10)) | {0, size})
    spans = list(pairwise(cuts))
    come = [span for span in spans if data.draw(st.booleans())]
    here = {at for a, b in come for at in range(a, b)}
    waiting = next((at for at in range(size + 1) if at not in here), size)
    chain = [(stream.seq(a), stream.wire[a:b]) for a, b in come if b <= waiting]
    held = [(stream.seq(a), memoryview(stream.wire)[a:b]) for a, b in come if a > waiting]
    starts = [*stream.starts, size]
    known = 0
    while known < len(lengths) and all(starts[known] + i in here for i in range(5)):
        known += 1
    found = walk(keys, 40, base, chain, held)
    assert found.places == tuple((stream.seq(starts[n]), 40 + n) for n in range(known + 1))
    assert found.in_order == sum(start + 5 <= waiting for start in starts[:known])
    assert found.waiting == waiting
    assert found.top == add(base, max(here, default=-1) + 1)


@pytest.mark.parametrize("version", [b"\x03\x01", b"\x02\x03", b"\x03\x04", b"\x04\x03"])
def test_another_version_is_no_header(version: bytes) -> None:
    stream = stream_of(GCM13, [100, 100])
    wire = bytearray(stream.wire)
    wire[stream.starts[1] + 1 : stream.starts[1] + 3] = version
    found = walk(GCM13, 0, stream.base, [(stream.base, bytes(wire))], [])
    assert found.places == ((stream.base, 0), (stream.seq(stream.starts[1]), 1))


def test_it_stops_at_what_is_no_header() -> None:
    stream = stream_of(GCM13, [100, 100])
    wire = bytearray(stream.wire)
    wire[stream.starts[1] + 3 : stream.starts[1] + 5] = b"\xff\xff"
    found = walk(GCM13, 0, stream.base, [(stream.base, bytes(wire))], [])
    assert found.places == ((stream.base, 0), (stream.seq(stream.starts[1]), 1))
    assert found.next == (stream.seq(stream.starts[1]), 1)
