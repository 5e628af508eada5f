"""Leaves: one number for an interface, whatever captures call it."""

from __future__ import annotations

import numpy as np

from rxtls.intake.batch import COLUMNS, LEAF
from rxtls.offload.interface import NOT_CAPTURED
from rxtls.offload.interface_file import interfaces
from rxtls.path.leaves import Leaves


def settled(leaves: Leaves, *given: int) -> list[int]:
    rows = np.zeros((len(given), COLUMNS), np.int64)
    rows[:, LEAF] = given
    found: list[int] = leaves.settle(rows)[:, LEAF].tolist()
    return found


def test_without_a_tree_an_interface_is_the_first_that_is_the_same() -> None:
    assert settled(Leaves(), 3, 3 << 32 | 1, -1) == [3, 3 << 32 | 1, -1]
    leaves = Leaves(None, lambda n: n // 2)
    assert settled(leaves, 0, 1, 3, 7 << 32 | 2, -1) == [0, 0, 1, 7 << 32 | 1, -1]
    assert settled(leaves, 5, 5) == [2, 2]
    assert (leaves.capture(2), leaves.capture(1)) == (5, 3)


def test_ports_with_an_ifindex_of_linux_cooked_captures_are_one_port() -> None:
    leaves = Leaves(interfaces("[interfaces.a]\ncapture = [0, 12884901889]", "x"))
    assert settled(leaves, 0, 3 << 32 | 1, 2) == [0, 0, 2]
    assert leaves.unknown == {2}
    assert (leaves.port(0), leaves.port(2)) == ("a", None)


def test_a_port_that_files_name_has_a_number_that_no_capture_has() -> None:
    tree = interfaces('[interfaces.a]\ncapture = ["x.pcap"]\n[interfaces.b]\n', "x")
    tree.whose = lambda leaf: "a" if leaf in (4, 5) else None
    leaves = Leaves(tree, lambda n: 4 if n == 6 else n)
    assert settled(leaves, 4, 5, 6, 7) == [NOT_CAPTURED + 1] * 3 + [7]
    assert leaves.capture(NOT_CAPTURED + 1) == 4
    assert settled(leaves, 5) == [NOT_CAPTURED + 1]
    assert settled(leaves) == []
