"""Input: what a packet's leaf is worth when it comes out of a queue, and what its receiving interface is."""

from __future__ import annotations

import pytest

from rxtls.counters import Ledger
from rxtls.host.input import LEAF_NONE, Input
from rxtls.offload.interface import Interfaces
from sample_mbufs import mbuf


def host() -> tuple[Input, Interfaces, Ledger]:
    tree, ledger = Interfaces(), Ledger()
    tree.port("mlx0", {0})
    tree.port("mlx1", {1})
    tree.port("em0", {2})
    tree.lagg("lagg0", "failover", ("mlx0", "mlx1"))
    tree.vlan("vlan5", "lagg0", 5)
    return Input(tree, ledger), tree, ledger


def leaf_of(inputs: Input, capture: int, frame: int = 0, vlans: tuple[int, ...] = ()) -> int | None:
    packet = mbuf(0, b"bytes", leaf=capture)
    packet.arrivals[:] = [(5, frame, 0)]
    passed = inputs.receive(packet, vlans)
    assert all(each.data == b"bytes" for each in passed)
    return passed[0].leaf if passed else None


def test_a_packet_keeps_its_leaf_through_vlan_and_lagg() -> None:
    inputs, _, ledger = host()
    assert [leaf_of(inputs, n, vlans=vlans) for n, vlans in ((0, ()), (1, (5,)), (2, ()))] == [0, 1, 2]
    assert not ledger.fates


def test_a_leaf_that_is_gone_is_leaf_none_and_the_data_is_as_good_as_ever() -> None:
    inputs, _, ledger = host()
    inputs.detach("mlx0", 10)
    assert leaf_of(inputs, 0, frame=9) == LEAF_NONE  # in flight while it went
    assert leaf_of(inputs, 1, frame=9) == 1
    assert not ledger.fates


def test_a_receiving_interface_that_is_gone_is_a_drop() -> None:
    inputs, _, ledger = host()
    inputs.detach("em0", 10)
    assert leaf_of(inputs, 2, frame=9) is None  # the port itself is what it was received on
    inputs.detach("vlan5", 11)
    assert leaf_of(inputs, 0, frame=9, vlans=(5,)) is None
    assert leaf_of(inputs, 0, frame=9) == 0
    assert ledger.fates["byte.interface_gone"] == 10


def test_a_packet_that_came_while_its_port_was_away_never_came() -> None:
    inputs, _, _ = host()
    inputs.detach("mlx0", 10)
    inputs.attach("mlx0", 20)
    assert [leaf_of(inputs, 0, frame) for frame in (9, 10, 19, 20)] == [LEAF_NONE, None, None, 0]


@pytest.mark.parametrize("again", [False, True])
def test_one_generation_is_not_another(again: bool) -> None:
    inputs, _, _ = host()
    inputs.detach("mlx0", 10)
    inputs.attach("mlx0", 10)
    if again:
        inputs.detach("mlx0", 30)
        inputs.attach("mlx0", 40)
    assert leaf_of(inputs, 0, 9) == LEAF_NONE
    assert leaf_of(inputs, 0, 10) == (LEAF_NONE if again else 0)
    assert leaf_of(inputs, 0, 45) == 0


def test_a_capture_interface_that_the_tree_does_not_know_is_no_leaf() -> None:
    inputs, _, _ = host()
    assert leaf_of(inputs, 7) == LEAF_NONE


def test_an_lro_run_is_cut_where_its_interface_went_and_came() -> None:
    inputs, _, ledger = host()
    inputs.detach("mlx0", 10)
    inputs.attach("mlx0", 12)
    run = mbuf(0, b"aabbccdd", leaf=0)
    run.arrivals[:] = [(2, 8, 0), (4, 9, 0), (6, 11, 0), (8, 12, 0)]
    passed = inputs.receive(run, ())
    assert [(each.seq, each.data, each.leaf) for each in passed] == [(0, b"aabb", LEAF_NONE), (6, b"dd", 0)]
    assert ledger.fates["byte.interface_gone"] == 2
