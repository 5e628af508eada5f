"""`--filter` for packets in columns: the fast twin of the predicate in wire/filter.py, made of the same tree.

A program is rows of OPCODE and operands, gone through once for each packet with one value in hand. A primitive sets the
value, NOT turns it over, and SKIP_IF goes to a later row if the value is what it says: `true or x` and `false and x`
are true and false, whatever x is. That is how the plain fold has it, and with nothing to be kept while a term in
parentheses is looked at, there is no stack, and no expression is too deep or too long.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network

import numpy as np
import numpy.typing as npt

from rxtls.native import Array, Row, Table, inlined, kernel
from rxtls.wire.compiled.columns import MOST_VLANS, PACKET, Frames, PacketRow
from rxtls.wire.compiled.parse import packet_of
from rxtls.wire.filter import Filter, Joined, Not, Ports, Tree, Version, Vlan, Within
from rxtls.wire.frame import Packet

# Columns of a program's row.
OPCODE = 0
VERSION = 1  # 4, 6, or 0 for either
DIRECTION = 2
FIRST = 3  # operands, by opcode
SECOND = 4
THIRD = 5
FOURTH = 6
PROGRAM_COLUMNS = 7

# Opcodes, with FIRST, SECOND, ...
IS_VERSION = 0  # of VERSION
IN_VLAN = 1  # the id, -1 for any
PORT_IN = 2  # lowest and highest
ADDRESS_IN = 3  # the network's address, high and low word; the mask likewise
NEGATE = 4
SKIP_IF = 5  # the value, 0 or 1; the row to go on with

_DIRECTIONS = {"src": 0, "dst": 1, "or": 2, "and": 3}
_SRC, _DST, _EITHER, _BOTH = range(4)


@inlined
def _directed(direction: int, src: bool, dst: bool) -> bool:
    if direction == _SRC:
        return src
    if direction == _DST:
        return dst
    return src or dst if direction == _EITHER else src and dst


@inlined
def _in_vlan(packets: Table, i: int, vlan: int) -> bool:
    ids = packets[i, PacketRow.VLAN_IDS]
    for _ in range(min(packets[i, PacketRow.VLAN_DEPTH], MOST_VLANS)):
        if ids & 0x0FFF == vlan:
            return True
        ids >>= 12
    return False


@inlined
def _matches(program: Table, packets: Table, i: int) -> bool:
    value = True
    at = 0
    while at < len(program):
        opcode = program[at, OPCODE]
        version = program[at, VERSION]
        direction = program[at, DIRECTION]
        first = program[at, FIRST]
        second = program[at, SECOND]
        at += 1
        if opcode == SKIP_IF:
            if value == (first != 0):
                at = second
        elif opcode == NEGATE:
            value = not value
        elif version and version != packets[i, PacketRow.FAMILY]:
            value = False
        elif opcode == IS_VERSION:
            value = True
        elif opcode == IN_VLAN:
            value = packets[i, PacketRow.VLAN_DEPTH] > 0 if first < 0 else _in_vlan(packets, i, first)
        elif opcode == PORT_IN:
            sport, dport = packets[i, PacketRow.PORTS] >> 16, packets[i, PacketRow.PORTS] & 0xFFFF
            value = _directed(direction, first <= sport <= second, first <= dport <= second)
        else:
            third = program[at - 1, THIRD]
            fourth = program[at - 1, FOURTH]
            src = packets[i, PacketRow.SRC_HIGH] & third == first and packets[i, PacketRow.SRC_LOW] & fourth == second
            dst = packets[i, PacketRow.DST_HIGH] & third == first and packets[i, PacketRow.DST_LOW] & fourth == second
            value = _directed(direction, src, dst)
    return value


@kernel
def filter_packets(program: Table, packets: Table, passed: Row) -> None:
    """Set passed[i] to 1 where row i is a packet that the program lets pass, else to 0.

    Of VLAN ids only those in the column are looked at: rows in Frames.vlans are the caller's.
    """
    for i in range(len(packets)):
        passed[i] = packets[i, PacketRow.FATE] == PACKET and _matches(program, packets, i)


class CompiledFilter:
    """A predicate over Packet as a filter of rows. One that is no `Filter` is asked packet by packet."""

    def __init__(self, predicate: Callable[[Packet], bool]) -> None:
        self._predicate = predicate
        self._program = program_of(predicate.tree) if isinstance(predicate, Filter) else None

    def passed(self, frames: Frames) -> npt.NDArray[np.int64]:
        """By row: 1 for a packet that matches, 0 for any other, and for what is no packet."""
        passed = np.zeros(len(frames.packets), np.int64)
        if self._program is None:
            rows = np.flatnonzero(frames.packets[:, PacketRow.FATE] == PACKET).tolist()
        else:
            filter_packets(self._program, frames.packets, passed)
            rows = list(frames.vlans)
        for row in rows:
            packet = packet_of(frames, row)
            passed[row] = isinstance(packet, Packet) and self._predicate(packet)
        return passed


def program_of(tree: Tree) -> Array:
    """The program of an expression, (n, PROGRAM_COLUMNS)."""
    rows: list[list[int]] = []
    _compile(tree, rows)
    return np.array(rows, np.int64)


def _compile(tree: Tree, rows: list[list[int]]) -> None:
    match tree:
        case Joined(first, rest):
            _compile(first, rows)
            for joined_by_and, term in rest:
                skip = _row(SKIP_IF, 0, "or", not joined_by_and)
                rows.append(skip)
                _compile(term, rows)
                skip[SECOND] = len(rows)
        case Not(term):
            _compile(term, rows)
            rows.append(_row(NEGATE))
        case Vlan(vlan):
            rows.append(_row(IN_VLAN, 0, "or", -1 if vlan is None else vlan))
        case Version(version):
            rows.append(_row(IS_VERSION, version))
        case Ports(direction, low, high, version):
            rows.append(_row(PORT_IN, version, direction, low, high))
        case Within(direction, network):
            rows.append(_row(ADDRESS_IN, network.version, direction, *_words(network)))


def _row(opcode: int, version: int = 0, direction: str = "or", *operands: int) -> list[int]:
    return [opcode, version, _DIRECTIONS[direction], *operands, *[0] * (4 - len(operands))]


def _words(network: IPv4Network | IPv6Network) -> tuple[int, int, int, int]:
    """Address and mask as the columns have them: IPv4's high word is 0."""
    address = int(network.network_address).to_bytes(16, "big")
    mask = int(network.netmask).to_bytes(16, "big")
    high, low, mask_high, mask_low = (
        int.from_bytes(word, "big", signed=True) for word in (address[:8], address[8:], mask[:8], mask[8:])
    )
    return high, low, mask_high, mask_low
