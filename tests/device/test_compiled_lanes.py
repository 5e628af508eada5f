"""Lanes are found by receive flow, whatever the ids of connections, and however many came and went."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rxtls.device.compiled.columns import Slot
from rxtls.device.compiled.lanes import chained, rehash
from rxtls.device.profiles import PROFILES
from rxtls.intake.batch import ACK
from twin_nics import Twins

_ids = st.sampled_from([0, 1, 2, 63, 64, 128, 129, 1 << 20, (1 << 20) + 64, 1 << 40])
_steps = st.lists(
    st.one_of(
        st.tuples(st.just("receive"), _ids, st.integers(1, 5)),
        st.tuples(st.just("forget"), _ids, st.just(0)),
        st.tuples(st.just("budget"), _ids, st.integers(1, 4)),
    ),
    max_size=60,
)


@settings(max_examples=100, deadline=None)
@given(_steps, st.sets(st.integers(1, 4)))
def test_connections_come_and_go(steps: list[tuple[str, int, int]], stops: set[int]) -> None:
    twins = Twins(PROFILES["ideal"])
    clocks: dict[int, int] = {}
    for what, connection, number in steps:
        if what == "forget":
            twins.forget(connection)
        elif what == "budget":
            twins.set_budget(connection, number)
        else:
            rows = []
            for n in range(number):
                flow = 2 * connection + n % 2
                clocks[flow] = clocks.get(flow, 0) + 1
                rows.append([clocks[flow], 7, 0, flow, clocks[flow], 3 * clocks[flow], ACK, n, 3, -1, -1])
            due = twins.receive(rows, b"abcdefgh", sorted(each for each in stops if each < number))
            while due:
                for flow, _ in due:
                    twins.flush(flow)
                due = twins.resume()
    for flow in sorted(clocks):
        twins.flush(flow)
    twins.close()


def test_more_connections_than_there_were_rows_for() -> None:
    twins = Twins(PROFILES["ideal"])
    rows = [[n, 7, 0, n, 1, n, ACK, 0, 1, -1, -1] for n in range(0, 4_000, 2)]
    assert len(twins.receive(rows, b"x")) == 2_000
    for n in range(0, 4_000, 2):
        assert [mbuf.seq for mbuf in twins.flush(n)] == [n]
    assert twins.resume() == []
    twins.close()


def test_chained_rows_lead_to_the_old_head() -> None:
    table = chained(np.full((2, 3), 9, np.int64), 3, 1, 2)
    assert table[:2].tolist() == [[9, 9, 9]] * 2
    assert table[2:, 2].tolist() == [3, 4, 1]


def test_rehash_keeps_every_connection_and_no_free_row() -> None:
    connections = np.zeros((6, Slot.COLUMNS), np.int64)
    connections[:, Slot.ID] = (5, 9, -1, 13, 2, -1)
    buckets = np.zeros(4, np.int64)
    rehash(connections, buckets)
    found = []
    for bucket, slot in enumerate(buckets.tolist()):
        while slot >= 0:
            assert connections[slot, Slot.ID] % 4 == bucket
            found.append(int(connections[slot, Slot.ID]))
            slot = int(connections[slot, Slot.NEXT_CONNECTION])
    assert sorted(found) == [2, 5, 9, 13]
