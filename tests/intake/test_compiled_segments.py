"""Rows of one packet, compiled: as intake/parse.py cuts it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialog import Dialog
from rxtls.intake.batch import ACK, FIN, PSH, RST, SYN
from rxtls.intake.parse import Resegment
from rxtls.intake.steer import SteerOptions
from steer_pair import compare

lengths = st.one_of(
    st.sampled_from((0, 1, 47, 48, 49, 95, 96, 97, 1440, 1460, 1461, 2920, 60_000)), st.integers(0, 5000)
)
sizes = st.sampled_from((None, 0, 1, 20, 48, 60, 100, 536, 1460, 65_535))
resegments: st.SearchStrategy[Resegment] = st.sampled_from(("auto", "auto", "off", 48, 49, 100, 1460, 10**6))
flags = st.sampled_from((0, ACK, ACK | PSH, ACK | FIN, ACK | PSH | FIN, SYN, SYN | FIN | PSH, 0x1FF & ~RST, RST, 0x1FF))
addresses = st.sampled_from(("10.0.0", "2001:db8:"))


@given(lengths, sizes, sizes, resegments, flags, st.sampled_from((None, 54, 60, 100, 1000, 3000)), addresses)
@settings(max_examples=150, deadline=None)
def test_any_packet(
    length: int, ours: int | None, theirs: int | None, resegment: Resegment, flags: int, snap: int | None, net: str
) -> None:
    dot = ":" if ":" in net else "."
    talk = Dialog(ends=((f"{net}{dot}1", 1000), (f"{net}{dot}2", 443)))
    talk.a(flags=SYN, mss=ours)
    talk.b(flags=SYN | ACK, mss=theirs)
    talk.a(
        bytes(range(250)) * (length // 250) + bytes(length % 250), flags, mss=ours if flags & SYN else None, snap=snap
    )
    talk.a(b"x" * 700, seq=1)
    talk.b(b"y" * 3000)
    compare(talk.frames, SteerOptions(resegment=resegment))


@pytest.mark.parametrize(("mss", "pieces"), [(1460, 5), (700, 10), (None, 5), (1, 145)])
def test_each_piece_is_a_row(mss: int | None, pieces: int) -> None:
    talk = Dialog().handshake(mss=mss)
    talk.a(bytes(6960))
    pair = compare(talk.frames)
    assert sum(bool(payload) for _, payload in pair.rows) == pieces
    assert pair.compiled.connections[0].resegmented == 1


def test_an_mss_said_again_holds_from_then_on() -> None:
    """A SYN sent twice, with another option each time."""
    talk = Dialog()
    for mss in (500, 200, None):
        talk.a(flags=SYN, seq=1000, mss=mss)
        talk.a(bytes(1000), seq=1001)
    pair = compare(talk.frames)
    assert [len(payload) for _, payload in pair.rows if payload] == [500, 500, 200, 200, 200, 200, 200, 1000]
