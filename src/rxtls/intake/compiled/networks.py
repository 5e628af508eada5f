"""Flows of one tuple in several networks: Steer._kin for kernels, and flows.answers."""

from __future__ import annotations

from rxtls.intake.batch import ACK
from rxtls.intake.compiled.columns import FlowRow, LinkRow, SideRow
from rxtls.intake.compiled.direction import side_row
from rxtls.intake.compiled.mirror import mirrored
from rxtls.intake.compiled.table import first_of, flow_row, hashed, link_row, side_of
from rxtls.intake.flows import MOST_IDS, MOST_NETWORKS, NEAR
from rxtls.native import get, inner, put, signed32
from rxtls.wire.compiled.columns import PacketRow


@inner
def _near(a: int, b: int) -> bool:
    return -NEAR <= signed32(b - a) <= NEAR


@inner
def _answers(flow: int, side: int, packet: int) -> bool:
    forth = side_row(flow, side)
    reached = get(side_row(flow, 1 - side), SideRow.NEXT)
    if get(forth, SideRow.CLOCK) or not get(packet, PacketRow.FLAGS) & ACK or reached < 0:
        return False
    if not _near(reached, get(packet, PacketRow.ACK)):
        return False
    acked = get(forth, SideRow.ACKED)
    return acked < 0 or _near(acked, get(packet, PacketRow.SEQ))


@inner
def kin(control: int, packet: int, time_ns: int, leaf: int, place: int, ports: int) -> int:
    """2 * flow + side of the flow that a packet belongs to whose network no flow of its tuple is known to come by."""
    src_high, src_low = get(packet, PacketRow.SRC_HIGH), get(packet, PacketRow.SRC_LOW)
    dst_high, dst_low = get(packet, PacketRow.DST_HIGH), get(packet, PacketRow.DST_LOW)
    f = first_of(control, hashed(control, src_high, src_low, dst_high, dst_low, ports))
    count = 0
    oldest = found = -1
    oldest_home = home = 0
    while f >= 0:
        flow = flow_row(control, f)
        side = side_of(flow, src_high, src_low, dst_high, dst_low, ports)
        if side >= 0:
            count += 1
            its = get(flow, FlowRow.HOME)
            if oldest < 0 or its < oldest_home:
                oldest, oldest_home = 2 * f + side, its
            if found < 0 or its < home:
                answers = _answers(flow, side, packet)
                if not answers:
                    answers = mirrored(control, flow, packet, time_ns, leaf, place)
                if answers:
                    found, home = 2 * f + side, its
        f = get(link_row(control, f), LinkRow.CHAIN)
    if found < 0:
        return oldest if count >= MOST_NETWORKS else -1
    flow = flow_row(control, found >> 1)
    for n in range(MOST_IDS - 1, 0, -1):
        put(flow, FlowRow.NETWORKS + n, get(flow, FlowRow.NETWORKS + n - 1))
    put(flow, FlowRow.NETWORKS, get(packet, PacketRow.NETWORK))
    return found
