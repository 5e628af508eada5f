"""A row of the packets table and the Packet, or the fate, that it stands for: one made of the other."""

from __future__ import annotations

from collections.abc import Sequence

from rxtls.counters import FATES
from rxtls.wire.compiled.columns import (
    ACK,
    CAPTURED_LENGTH,
    CHECKSUM,
    COOKED_IFINDEX,
    COOKED_TYPE,
    DST_HIGH,
    DST_LOW,
    FAMILY,
    FATE,
    FIELD,
    FLAGS,
    IP_ID,
    LENGTH,
    MOST_VLANS,
    MSS,
    NETWORK,
    OPTION_LENGTH,
    PACKET,
    PACKET_COLUMNS,
    PATH,
    PAYLOAD_LENGTH,
    PAYLOAD_OFFSET,
    PORTS,
    SACK_PERMITTED,
    SEQ,
    SRC_HIGH,
    SRC_LOW,
    SUM,
    TCP_OFFSET,
    TIMESTAMPS,
    TUNNELS,
    VLAN_DEPTH,
    VLAN_IDS,
    WINDOW,
    WINDOW_SCALE,
    Frames,
)
from rxtls.wire.frame import Checksum, Packet, parse
from rxtls.wire.tunnels import Tunnel, network, path

FATE_NAMES = tuple(name for name in FATES if name.startswith("frame."))
FATE_CODES = {name: code for code, name in enumerate(FATE_NAMES)}

CHECKSUMS = tuple(Checksum)  # by what the CHECKSUM column says


def packet_of(frames: Frames, i: int) -> Packet | str:
    """What wire.frame.parse says of frame i, from its row."""
    row: list[int] = frames.packets[i].tolist()
    if row[FATE] != PACKET:
        return FATE_NAMES[row[FATE]]
    depth = row[VLAN_DEPTH]
    vlan = tuple(row[VLAN_IDS] >> 12 * (depth - 1 - n) & 0x0FFF for n in range(min(depth, MOST_VLANS)))
    return Packet(
        src=_address(row, SRC_HIGH),
        dst=_address(row, DST_HIGH),
        sport=row[PORTS] >> 16,
        dport=row[PORTS] & 0xFFFF,
        seq=row[SEQ],
        ack=row[ACK],
        flags=row[FLAGS],
        window=row[WINDOW],
        tcp_offset=row[TCP_OFFSET],
        payload_offset=row[PAYLOAD_OFFSET],
        payload_length=row[PAYLOAD_LENGTH],
        captured_length=row[CAPTURED_LENGTH],
        option_length=row[OPTION_LENGTH],
        checksum=CHECKSUMS[row[CHECKSUM]],
        ip_id=row[IP_ID],
        vlan=frames.vlans.get(i, vlan),
        timestamps=bool(row[TIMESTAMPS]),
        mss=_optional(row[MSS]),
        window_scale=_optional(row[WINDOW_SCALE]),
        sack_permitted=bool(row[SACK_PERMITTED]),
        cooked_type=_optional(row[COOKED_TYPE]),
        cooked_ifindex=_optional(row[COOKED_IFINDEX]),
        sum=row[SUM],
        field=row[FIELD],
        tunnels=_tunnels(frames, i) if row[TUNNELS] else (),
    )


def row_of(packet: Packet) -> Sequence[int]:
    """The row of a packet. VLAN ids beyond what the column holds are left out: Frames.vlans has them."""
    row = [0] * PACKET_COLUMNS
    row[FATE] = PACKET
    row[SRC_HIGH], row[SRC_LOW] = _words(packet.src)
    row[DST_HIGH], row[DST_LOW] = _words(packet.dst)
    row[PORTS] = packet.sport << 16 | packet.dport
    row[FAMILY] = 4 if len(packet.src) == 4 else 6
    row[SEQ] = packet.seq
    row[ACK] = packet.ack
    row[FLAGS] = packet.flags
    row[WINDOW] = packet.window
    row[TCP_OFFSET] = packet.tcp_offset
    row[PAYLOAD_OFFSET] = packet.payload_offset
    row[PAYLOAD_LENGTH] = packet.payload_length
    row[CAPTURED_LENGTH] = packet.captured_length
    row[OPTION_LENGTH] = packet.option_length
    row[CHECKSUM] = CHECKSUMS.index(packet.checksum)
    row[SUM] = packet.sum
    row[IP_ID] = packet.ip_id
    row[VLAN_DEPTH] = len(packet.vlan)
    for vlan in packet.vlan[:MOST_VLANS]:
        row[VLAN_IDS] = row[VLAN_IDS] << 12 | vlan
    row[MSS] = -1 if packet.mss is None else packet.mss
    row[WINDOW_SCALE] = -1 if packet.window_scale is None else packet.window_scale
    row[SACK_PERMITTED] = packet.sack_permitted
    row[TIMESTAMPS] = packet.timestamps
    row[COOKED_TYPE] = -1 if packet.cooked_type is None else packet.cooked_type
    row[COOKED_IFINDEX] = -1 if packet.cooked_ifindex is None else packet.cooked_ifindex
    row[FIELD] = packet.field
    if packet.tunnels:
        row[TUNNELS], row[NETWORK], row[PATH] = len(packet.tunnels), network(packet.tunnels), path(packet.tunnels)
    return row


def _tunnels(frames: Frames, i: int) -> tuple[Tunnel, ...]:
    """The tunnels of a frame. A row has only what kernels compare; the rest is asked for once for each connection."""
    *_, link, wire, offset, length = frames.table[i, : LENGTH + 1].tolist()
    packet = parse(link, frames.data[offset : offset + length].tobytes(), wire, False)
    return () if isinstance(packet, str) else packet.tunnels


def _words(address: bytes) -> tuple[int, int]:
    """An address as its columns have it: two words in network order, as int64 has them."""
    if len(address) == 4:
        return 0, int.from_bytes(address, "big")
    return int.from_bytes(address[:8], "big", signed=True), int.from_bytes(address[8:], "big", signed=True)


def _address(row: Sequence[int], high: int) -> bytes:
    if row[FAMILY] == 4:
        return row[high + 1].to_bytes(4, "big")
    return row[high].to_bytes(8, "big", signed=True) + row[high + 1].to_bytes(8, "big", signed=True)


def _optional(value: int) -> int | None:
    return None if value < 0 else value
