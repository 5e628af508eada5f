"""Promotion and demotion: a direction's state from objects into a row and extents, and back.

Neither can be observed: whichever host point they fall on, every later record, count and report is the same.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from rxtls.host.compiled import state
from rxtls.host.direction import Direction
from rxtls.host.reassembly import Reassembly
from rxtls.offload.compiled import arena as at
from rxtls.offload.compiled.arena import Arena, append, take_chunk, take_extent
from rxtls.offload.mbuf import Mbuf

Row = npt.NDArray[np.int64]

_FEW_HELD = 256  # Mbufs; far fewer than a direction may hold before it is demoted for that


def fits(direction: Direction) -> bool:
    """Whether a direction is in its steady state: kTLS under keys that stream, and nothing has ended or gone wrong."""
    session, reassembly, sockbuf = direction.session, direction.reassembly, direction.sockbuf
    return (
        session is not None
        and session.keys.stream
        and session.number < state.MOST_NUMBER
        and not (session.fatal or direction.fate() or direction.held or direction.waiting or direction.end_seen)
        and direction.recovery is None
        and not (session.unjudged and direction.assume_received)  # who else has to look at each record
        and reassembly.begun
        and not (reassembly.stopped or reassembly.reset or reassembly.due)
        and reassembly.fin_at is None
        and sockbuf.tls
        and not (sockbuf.acc or sockbuf.tlsdcc)
        and len(reassembly.held) <= _FEW_HELD
        and _reach(reassembly) <= state.FAR
        and len(session.epochs) <= 1  # old marks may be about; they are gone soon
        and all(
            epoch.keys == session.keys and epoch.shift == session.number - session.ordinal and not epoch.slips
            for epoch in session.epochs.values()
        )
    )


def _reach(reassembly: Reassembly) -> int:
    """How far ahead of `next` the last held byte lies."""
    if not reassembly.held:
        return 0
    return reassembly._starts[-1] + len(reassembly.held[-1].data) - reassembly.next


def take(direction: Direction, arena: Arena, own: Row) -> None:
    """Move reassembly, socket buffer and session into a row of zeros. What is left of them is empty."""
    reassembly, sockbuf, session = direction.reassembly, direction.sockbuf, direction.session
    assert session is not None
    own[[state.HELD_HEAD, state.HELD_TAIL, state.CHAIN_HEAD, state.CHAIN_TAIL, state.PENDING, state.NEW_LEAF]] = -1
    for column, value in (
        (state.NEXT_SEQ, reassembly._next_seq),
        (state.NEXT, reassembly.next),
        (state.ACKED, reassembly._acked),
        (state.ADVERTISED, reassembly._advertised),
        (state.WINDOW, reassembly._window),
        (state.TIME, reassembly._time),
        (state.ADVANCED, reassembly._advanced),
        (state.WAITING_SINCE, reassembly._waiting_since),
        (state.HOLD, reassembly._hold),
        (state.HELD_BYTES, reassembly.held_bytes),
        (state.HELD_PACKETS, reassembly.held_packets),
        (state.TOLD, reassembly._told),
        (state.TLSCC, sockbuf.tlscc),
        (state.END_SEQ, sockbuf.end_seq),
        (state.LEAF, sockbuf.leaf),
        (state.NUMBER, session.number),
        (state.RESYNC, session._resync),
        (state.LAST_LENGTH, session.length),
        (state.EXPLICIT, session.explicit if session.explicit < 1 << 63 else session.explicit - (1 << 64)),
        (state.UNJUDGED, session.unjudged),
    ):
        own[column] = value
    own[state.HELD_COUNT] = _pour(arena, own[state.HELD_HEAD : state.HELD_TAIL + 1], reassembly.held)
    _pour(arena, own[state.CHAIN_HEAD : state.CHAIN_TAIL + 1], sockbuf._chain)
    reassembly.held.clear()
    reassembly._starts.clear()
    reassembly._edges.clear()
    reassembly.held_bytes = reassembly.held_packets = reassembly._told = 0
    sockbuf.flush()


def give_back(direction: Direction, arena: Arena, own: Row, shift: int) -> None:
    """The way back. `shift` is record number - ordinal."""
    reassembly, sockbuf, session = direction.reassembly, direction.sockbuf, direction.session
    assert session is not None
    row: list[int] = own.tolist()
    reassembly._next_seq = row[state.NEXT_SEQ]
    reassembly.next = row[state.NEXT]
    reassembly._acked = row[state.ACKED]
    reassembly._advertised = row[state.ADVERTISED]
    reassembly._window = row[state.WINDOW]
    reassembly._time = row[state.TIME]
    reassembly._advanced = bool(row[state.ADVANCED])
    reassembly._waiting_since = row[state.WAITING_SINCE]
    reassembly.held = arena.mbufs(row[state.HELD_HEAD])
    reassembly._starts = [reassembly.next + (mbuf.seq - reassembly._next_seq & 0xFFFF_FFFF) for mbuf in reassembly.held]
    for start, mbuf in zip(reassembly._starts, reassembly.held, strict=True):
        reassembly._cover(start, start + len(mbuf.data))
    reassembly.held_bytes, reassembly.held_packets = row[state.HELD_BYTES], row[state.HELD_PACKETS]
    reassembly._told = row[state.TOLD]
    sockbuf._chain.extend(arena.mbufs(row[state.CHAIN_HEAD]))
    sockbuf.tlscc = sockbuf.ccc = row[state.TLSCC]
    sockbuf.end_seq = row[state.END_SEQ]
    sockbuf.leaf = row[state.LEAF]
    reassembly.due = bool(row[state.DUE])
    session.number = row[state.NUMBER]
    session.ordinal = row[state.NUMBER] - shift
    session._resync = bool(row[state.RESYNC])
    session.length = row[state.LAST_LENGTH]
    session.explicit = row[state.EXPLICIT] & (1 << 64) - 1
    session.unjudged = bool(row[state.UNJUDGED])


def _pour(arena: Arena, ends: Row, mbufs: Collection[Mbuf]) -> int:
    """Copy Mbufs in as the list `ends`, packed into few chunks; how many extents they have become."""
    left = sum(len(mbuf.data) for mbuf in mbufs)
    count = 0
    chunk, room, used, filled, frame = -1, 0, 0, 0, 0
    for mbuf in mbufs:
        # In a chunk, the last byte of any stretch is the latest. Where that would not hold, a byte is left out, so that
        # nobody takes what stands there for one stretch.
        if mbuf.arrivals[0][1] < frame:
            used += 1
        rest = mbuf
        while rest.data:
            arena.grow(extents=1, large=1, small=1)
            chunks = arena.chunks
            if chunk < 0 or used >= room or filled == at.MOST_ARRIVALS:
                chunk = int(take_chunk(arena.control, chunks, at.LARGE if left > at.SMALL else at.SMALL))
                room, used, filled = int(chunks[chunk, at.SIZE]), 0, 0
            else:
                chunks[chunk, at.REFS] += 1
            fitting = rest.arrivals[: at.MOST_ARRIVALS - filled]
            piece = rest.cut(0, min(fitting[-1][0], room - used))
            rest = rest.cut(len(piece.data), len(rest.data))
            node = int(take_extent(arena.control, arena.extents))
            length, frame = len(piece.data), piece.arrivals[-1][1]
            whose = piece.mark, piece.leaf, piece.flags, piece.acked, piece.edge
            arena.extents[node] = (piece.seq, chunk, used, length, *whose, *piece.arrivals[-1][1:], -1, -1)
            append(arena.extents, ends, node)
            arena.bytes(chunk, used, length)[:] = piece.data
            for n, (end, *moment) in enumerate(piece.arrivals, filled):
                arena.arrivals[chunk, n] = (used + end, *moment)
            used += length
            filled += len(piece.arrivals)
            left -= length
            chunks[chunk, at.USED] = used
            chunks[chunk, at.ARRIVALS] = filled
            count += 1
    return count
