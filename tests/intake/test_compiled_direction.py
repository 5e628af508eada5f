"""What the two directions learn from each other, compiled: as flows.Direction has it, number by number."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from dialog import Dialog
from rxtls.intake.batch import ACK, FIN, RST, SYN
from rxtls.intake.flows import MAX_WINDOW
from rxtls.seq import MASK
from steer_pair import compare

Said = tuple[int, int, int, int, int, int, int | None, int]

NEAR = (0, 0, 0, 1, -1, 100, 1000, 1001, 65_535, -65_536)
FAR = (MAX_WINDOW, MAX_WINDOW + 1, -MAX_WINDOW, -MAX_WINDOW - 1, 2**31 - 1, 2**31, -(2**31))
near = st.sampled_from(NEAR + FAR)
said: st.SearchStrategy[Said] = st.tuples(
    st.integers(0, 1),
    st.sampled_from((ACK, ACK, ACK, SYN, SYN | ACK, FIN | ACK, FIN, SYN | FIN, RST | ACK, 0)),
    near,  # of the sequence number, from the last one
    near,  # of the acknowledgement
    st.sampled_from((0, 1, 1000, 65_535)),  # window
    st.sampled_from((0, 0, 1, 999)),  # payload
    st.sampled_from((None, 0, 1, 14, 200)),  # window scale
    st.sampled_from((0, 0, 0, 1)),  # said twice
)


@given(st.lists(said, max_size=25), st.sampled_from(((0, 0), (MASK, MASK - 500), (2**31, 77))))
@settings(max_examples=150, deadline=None)
def test_any_dialogue(steps: list[Said], isn: tuple[int, int]) -> None:
    talk = Dialog(isn=isn)
    for side, flags, seq, ack, window, length, scale, again in steps:
        fields: dict[str, object] = {"window": window, "scale": scale if flags & SYN else None}
        if seq:
            fields["seq"] = (talk.next[side] + seq) & MASK
        fields["ack"] = (talk.next[1 - side] + ack) & MASK
        talk.say(side, bytes(length), flags, **fields)
        talk.frames += talk.frames[-1:] * again
    compare(talk.frames, sizes=[1] * 30, often=True)


def test_a_connection_from_its_first_to_its_last_word() -> None:
    talk = Dialog(isn=(MASK - 10, MASK - 1)).handshake((7, 3))
    for n in range(40):
        talk.a(bytes(700))
        talk.b(b"y" * (n % 3), window=200 + n)
    talk.goodbye()
    pair = compare(talk.frames, sizes=[1] * 100, often=True)
    assert [connection.end for connection in pair.compiled.connections] == ["fin"]
