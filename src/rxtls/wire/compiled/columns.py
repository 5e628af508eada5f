"""What the compiled reader makes of captured bytes: frames and packets as int64 columns over one buffer.

`Frames.data` is the buffer that frames lie in (a window of a capture, or joined bytes); row i of `table` is one
frame, row i of `packets` what wire/frame.py's `parse` says of it: a Packet, or a fate.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from rxtls.native import Columns
from rxtls.native.shapes import Array
from rxtls.wire.captured import CapturedFrame


class FrameRow(Columns):
    """A frame."""

    INDEX = 0  # global frame index
    TIME = 1  # ns since the epoch
    INTERFACE = 2  # capture interface, as capture/source.py counts them over all captures
    LINK = 3  # LINKTYPE_
    WIRE = 4  # length before the snap length cut it, at least LENGTH
    OFFSET = 5  # where the frame begins in the data
    LENGTH = 6  # bytes captured
    EPB_FLAGS = 7  # pcapng's flags of a packet, 0 where there are none
    COLUMNS = 8


class PacketRow(Columns):
    """A packet: the fields of wire.frame.Packet. Where FATE is not PACKET the other columns mean nothing."""

    FATE = 0  # PACKET, ODD, or the place of the fate's name in FATE_NAMES
    SRC_HIGH = 1  # addresses as two words in network order, as int64 has them; IPv4: 0 and the address
    SRC_LOW = 2
    DST_HIGH = 3
    DST_LOW = 4
    PORTS = 5  # sport << 16 | dport
    FAMILY = 6  # 4 or 6
    SEQ = 7
    ACK = 8
    FLAGS = 9
    WINDOW = 10
    TCP_OFFSET = 11  # offsets from the start of the frame
    PAYLOAD_OFFSET = 12
    PAYLOAD_LENGTH = 13
    CAPTURED_LENGTH = 14
    OPTION_LENGTH = 15
    CHECKSUM = 16  # 0 OK, 1 BAD, 2 PARTIAL, 3 UNVERIFIABLE, 4 BAD_HEADER: the order of wire.frame.Checksum
    SUM = 17  # ones'-complement sum of the segment's captured bytes: Packet.sum
    IP_ID = 18
    VLAN_DEPTH = 19
    VLAN_IDS = 20  # 12 bits each, outer first: depth 2 is outer << 12 | inner; at most MOST_VLANS
    MSS = 21  # -1: none; and so on below
    WINDOW_SCALE = 22
    SACK_PERMITTED = 23  # 0 or 1
    TIMESTAMPS = 24  # 0 or 1
    COOKED_TYPE = 25
    COOKED_IFINDEX = 26
    FIELD = 27  # the checksum, as it stands in the header
    TUNNELS = 28  # how many it came by
    NETWORK = 29  # tunnels.network
    PATH = 30  # tunnels.path
    COLUMNS = 31


PACKET = -1  # FATE of a frame that holds a TCP packet
ODD = -2  # FATE of a frame that the compiled parser leaves to wire.frame.parse; nobody downstream sees it
INSIDE = -4  # what a step of the compiled parser says of a tunnel; nobody else sees it
FOREIGN = -3  # FATE of a frame that another job counts (shard.py): here it only moves its interface's clock
MOST_VLANS = 4  # deeper ones are odd


@dataclass(slots=True)
class Frames:
    """Some frames in capture order. `table` (n, FrameRow.COLUMNS); `packets` (n, PacketRow.COLUMNS) or empty.

    `vlans` has the VLAN ids of frames (by row) that have more of them than the column holds.
    """

    data: npt.NDArray[np.uint8]
    table: Array
    packets: Array
    vlans: dict[int, tuple[int, ...]] = field(default_factory=dict)


def frames_of(frames: Iterable[tuple[int, CapturedFrame]]) -> Frames:
    """(global frame index, frame) pairs as columns: how objects get in where no capture is read."""
    rows: list[tuple[int, ...]] = []
    pieces: list[bytes] = []
    at = 0
    for index, frame in frames:
        where = at, len(frame.data), frame.flags
        rows.append((index, frame.time_ns, frame.interface, frame.link_type, frame.wire_length, *where))
        pieces.append(frame.data)
        at += len(frame.data)
    pieces.append(bytes(8))  # so that no read of a word runs over the end
    table = np.array(rows, np.int64).reshape(-1, FrameRow.COLUMNS)
    return Frames(np.frombuffer(b"".join(pieces), np.uint8), table, np.zeros((0, PacketRow.COLUMNS), np.int64))


def part(frames: Frames, start: int, stop: int) -> Frames:
    """The frames from row `start` to `stop`, over the same data."""
    vlans = {row - start: ids for row, ids in frames.vlans.items() if start <= row < stop}
    return Frames(frames.data, frames.table[start:stop], frames.packets[start:stop], vlans)
