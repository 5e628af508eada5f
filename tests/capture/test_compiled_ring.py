"""A block of a ring as pcapng, against the same made by hand; it is read back by the readers of captures."""

from __future__ import annotations

import io

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from capture_blocks import interface, option, section
from ring_packets import Packet
from rxtls.capture.compiled.ring import pack
from rxtls.wire.capture import Frame, read_capture

packets = st.builds(
    Packet,
    st.integers(0, (1 << 32) * 1_000_000_000 - 1),
    st.binary(max_size=80),
    st.sampled_from((0, 1, 100_000)),
    st.sampled_from((1, 9, 0x11, 0x51, 0x81, 0xD9)),
    st.sampled_from((0, 1, 2, 3, 4)),
    st.integers(0, 0xFFFF),
    st.sampled_from((0x8100, 0x88A8)),
)


@given(st.lists(packets, min_size=1, max_size=6))
def test_any_block(given: list[Packet]) -> None:
    ring = np.frombuffer(b"".join(each.entry(n == len(given) - 1) for n, each in enumerate(given)), np.uint8)
    out = np.full(len(ring) + 8, 0xAA, np.uint8)
    used = pack(ring.ctypes.data, len(given), out.ctypes.data, 0)
    assert used <= len(ring)
    assert bytes(out[used + 8 :]) == b"\xaa" * (len(out) - used - 8)
    capture = section(">") + interface(options=option(9, b"\x09", ">"), order=">") + out[:used].tobytes()
    frames = [item for item in read_capture(io.BytesIO(capture).read, "ring") if isinstance(item, Frame)]
    assert frames == [each.frame() for each in given]
