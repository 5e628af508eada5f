"""A row of the packets table and the Packet, or the fate, that it stands for: one made of the other."""

from __future__ import annotations

from collections.abc import Sequence

from rxtls.counters import FATES
from rxtls.wire.compiled.columns import MOST_VLANS, PACKET, FrameRow, Frames, PacketRow
from rxtls.wire.frame import Checksum, Packet, parse
from rxtls.wire.tunnels import Tunnel, network, path

FATE_NAMES = tuple(name for name in FATES if name.startswith("frame."))
FATE_CODES = {name: code for code, name in enumerate(FATE_NAMES)}

CHECKSUMS = tuple(Checksum)  # by what the CHECKSUM column says


def packet_of(frames: Frames, i: int) -> Packet | str:
    """What wire.frame.parse says of frame i, from its row."""
    row: list[int] = frames.packets[i].tolist()
    if row[PacketRow.FATE] != PACKET:
        return FATE_NAMES[row[PacketRow.FATE]]
    depth = row[PacketRow.VLAN_DEPTH]
    vlan = tuple(row[PacketRow.VLAN_IDS] >> 12 * (depth - 1 - n) & 0x0FFF for n in range(min(depth, MOST_VLANS)))
    return Packet(
        src=_address(row, PacketRow.SRC_HIGH),
        dst=_address(row, PacketRow.DST_HIGH),
        sport=row[PacketRow.PORTS] >> 16,
        dport=row[PacketRow.PORTS] & 0xFFFF,
        seq=row[PacketRow.SEQ],
        ack=row[PacketRow.ACK],
        flags=row[PacketRow.FLAGS],
        window=row[PacketRow.WINDOW],
        tcp_offset=row[PacketRow.TCP_OFFSET],
        payload_offset=row[PacketRow.PAYLOAD_OFFSET],
        payload_length=row[PacketRow.PAYLOAD_LENGTH],
        captured_length=row[PacketRow.CAPTURED_LENGTH],
        option_length=row[PacketRow.OPTION_LENGTH],
        checksum=CHECKSUMS[row[PacketRow.CHECKSUM]],
        ip_id=row[PacketRow.IP_ID],
        vlan=frames.vlans.get(i, vlan),
        timestamps=bool(row[PacketRow.TIMESTAMPS]),
        mss=_optional(row[PacketRow.MSS]),
        window_scale=_optional(row[PacketRow.WINDOW_SCALE]),
        sack_permitted=bool(row[PacketRow.SACK_PERMITTED]),
        cooked_type=_optional(row[PacketRow.COOKED_TYPE]),
        cooked_ifindex=_optional(row[PacketRow.COOKED_IFINDEX]),
        sum=row[PacketRow.SUM],
        field=row[PacketRow.FIELD],
        tunnels=_tunnels(frames, i) if row[PacketRow.TUNNELS] else (),
    )


def row_of(packet: Packet) -> Sequence[int]:
    """The row of a packet. VLAN ids beyond what the column holds are left out: Frames.vlans has them."""
    row = [0] * PacketRow.COLUMNS
    row[PacketRow.FATE] = PACKET
    row[PacketRow.SRC_HIGH], row[PacketRow.SRC_LOW] = _words(packet.src)
    row[PacketRow.DST_HIGH], row[PacketRow.DST_LOW] = _words(packet.dst)
    row[PacketRow.PORTS] = packet.sport << 16 | packet.dport
    row[PacketRow.FAMILY] = 4 if len(packet.src) == 4 else 6
    row[PacketRow.SEQ] = packet.seq
    row[PacketRow.ACK] = packet.ack
    row[PacketRow.FLAGS] = packet.flags
    row[PacketRow.WINDOW] = packet.window
    row[PacketRow.TCP_OFFSET] = packet.tcp_offset
    row[PacketRow.PAYLOAD_OFFSET] = packet.payload_offset
    row[PacketRow.PAYLOAD_LENGTH] = packet.payload_length
    row[PacketRow.CAPTURED_LENGTH] = packet.captured_length
    row[PacketRow.OPTION_LENGTH] = packet.option_length
    row[PacketRow.CHECKSUM] = CHECKSUMS.index(packet.checksum)
    row[PacketRow.SUM] = packet.sum
    row[PacketRow.IP_ID] = packet.ip_id
    row[PacketRow.VLAN_DEPTH] = len(packet.vlan)
    for vlan in packet.vlan[:MOST_VLANS]:
        row[PacketRow.VLAN_IDS] = row[PacketRow.VLAN_IDS] << 12 | vlan
    row[PacketRow.MSS] = -1 if packet.mss is None else packet.mss
    row[PacketRow.WINDOW_SCALE] = -1 if packet.window_scale is None else packet.window_scale
    row[PacketRow.SACK_PERMITTED] = packet.sack_permitted
    row[PacketRow.TIMESTAMPS] = packet.timestamps
    row[PacketRow.COOKED_TYPE] = -1 if packet.cooked_type is None else packet.cooked_type
    row[PacketRow.COOKED_IFINDEX] = -1 if packet.cooked_ifindex is None else packet.cooked_ifindex
    row[PacketRow.FIELD] = packet.field
    if packet.tunnels:
        row[PacketRow.TUNNELS], row[PacketRow.NETWORK], row[PacketRow.PATH] = (
            len(packet.tunnels),
            network(packet.tunnels),
            path(packet.tunnels),
        )
    return row


def _tunnels(frames: Frames, i: int) -> tuple[Tunnel, ...]:
    """The tunnels of a frame. A row has only what kernels compare; the rest is asked for once for each connection."""
    *_, link, wire, offset, length = frames.table[i, : FrameRow.LENGTH + 1].tolist()
    packet = parse(link, frames.data[offset : offset + length].tobytes(), wire, False)
    return () if isinstance(packet, str) else packet.tunnels


def _words(address: bytes) -> tuple[int, int]:
    """An address as its columns have it: two words in network order, as int64 has them."""
    if len(address) == 4:
        return 0, int.from_bytes(address, "big")
    return int.from_bytes(address[:8], "big", signed=True), int.from_bytes(address[8:], "big", signed=True)


def _address(row: Sequence[int], high: int) -> bytes:
    if row[PacketRow.FAMILY] == 4:
        return row[high + 1].to_bytes(4, "big")
    return row[high].to_bytes(8, "big", signed=True) + row[high + 1].to_bytes(8, "big", signed=True)


def _optional(value: int) -> int | None:
    return None if value < 0 else value
