"""The Batch: frames as rows of int64 columns over one byte buffer.

Rows are what intake hands to the device: one row per *segment* that enters a receive flow (an aggregated frame makes
several), in capture order. A row holds numbers only, so that a compiled device can walk it; the bytes are in `data`.

    data    |....eth|ip|tcp| payload ......|....eth|ip|tcp| payload ....|
                            ^ OFFSET         LENGTH bytes

The plain engine takes `rows.tolist()` once per call: a numpy scalar costs more than everything done with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Columns of a row.
FRAME = 0  # global frame index (capture/ maps it to file and number)
TIME = 1  # capture time, ns since the epoch
LEAF = 2  # interface index: the physical interface the packet arrived on
FLOW = 3  # receive flow: 2 * connection + side of the *sender* (0 = endpoint a, 1 = endpoint b)
CLOCK = 4  # the flow's own clock n at this row (first row is 1)
SEQ = 5  # TCP sequence number of the row's first byte (of the SYN itself for a SYN row)
FLAGS = 6  # TCP flag bits below, plus END and TICK
OFFSET = 7  # where the payload starts in Batch.data
LENGTH = 8  # payload bytes present in Batch.data
ACKED = 9  # highest sequence number the *receiver* of this flow has acknowledged so far, -1 unknown
EDGE = 10  # right edge (ack + scaled window) the receiver advertised, the furthest so far, -1 unknown
COLUMNS = 11

FIN = 0x01
SYN = 0x02
RST = 0x04
PSH = 0x08
ACK = 0x10
END = 0x1000  # no packet: the generation of this flow's connection ends here (why: Connection.end)
TICK = 0x2000  # no packet: time has passed, and it is a host point (Steer.tick)

HOST_POINT_FLAGS = SYN | FIN | RST | END | TICK

Row = list[int]


@dataclass(slots=True)
class Batch:
    """`rows` is int64 of shape (n, COLUMNS); `data` holds the frames' bytes and is never written to."""

    rows: npt.NDArray[np.int64]
    data: bytes


def batch_of(rows: list[Row], data: bytes) -> Batch:
    """A Batch from plain rows (each of COLUMNS ints)."""
    return Batch(np.array(rows, dtype=np.int64).reshape(len(rows), COLUMNS), data)
