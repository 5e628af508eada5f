"""Promotion and demotion: a direction's state from objects into a row and extents, and back.

Neither can be observed: whichever host point they fall on, every later record, count and report is the same.
"""

from __future__ import annotations

from collections.abc import Collection

from rxtls.host.compiled import state
from rxtls.host.compiled.state import Own
from rxtls.host.direction import Direction
from rxtls.host.reassembly import Reassembly
from rxtls.native.shapes import Array
from rxtls.offload.compiled import arena as at
from rxtls.offload.compiled.arena import Arena, Chunk, append, take_chunk, take_extent
from rxtls.offload.mbuf import Mbuf

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


# What a direction without bytes has none of.
_NONE = [
    Own.HELD_HEAD, Own.HELD_TAIL, Own.CHAIN_HEAD, Own.CHAIN_TAIL,
    Own.PENDING, Own.NEW_LEAF,
]  # fmt: skip


def take(direction: Direction, arena: Arena, own: Array) -> None:
    """Move reassembly, socket buffer and session into a row of zeros. What is left of them is empty."""
    reassembly, sockbuf, session = direction.reassembly, direction.sockbuf, direction.session
    assert session is not None
    own[_NONE] = -1
    for column, value in (
        (Own.NEXT_SEQ, reassembly._next_seq),
        (Own.NEXT, reassembly.next),
        (Own.ACKED, reassembly._acked),
        (Own.ADVERTISED, reassembly._advertised),
        (Own.WINDOW, reassembly._window),
        (Own.TIME, reassembly._time),
        (Own.ADVANCED, reassembly._advanced),
        (Own.WAITING_SINCE, reassembly._waiting_since),
        (Own.HOLD, reassembly._hold),
        (Own.HELD_BYTES, reassembly.held_bytes),
        (Own.HELD_PACKETS, reassembly.held_packets),
        (Own.TOLD, reassembly._told),
        (Own.TLSCC, sockbuf.tlscc),
        (Own.END_SEQ, sockbuf.end_seq),
        (Own.LEAF, sockbuf.leaf),
        (Own.NUMBER, session.number),
        (Own.RESYNC, session._resync),
        (Own.LAST_LENGTH, session.length),
        (Own.EXPLICIT, session.explicit if session.explicit < 1 << 63 else session.explicit - (1 << 64)),
        (Own.UNJUDGED, session.unjudged),
    ):
        own[column] = value
    own[Own.HELD_COUNT] = _pour(arena, own[Own.HELD_HEAD : Own.HELD_TAIL + 1], reassembly.held)
    _pour(arena, own[Own.CHAIN_HEAD : Own.CHAIN_TAIL + 1], sockbuf._chain)
    reassembly.held.clear()
    reassembly._starts.clear()
    reassembly._edges.clear()
    reassembly.held_bytes = reassembly.held_packets = reassembly._told = 0
    sockbuf.flush()


def give_back(direction: Direction, arena: Arena, own: Array, shift: int) -> None:
    """The way back. `shift` is record number - ordinal."""
    reassembly, sockbuf, session = direction.reassembly, direction.sockbuf, direction.session
    assert session is not None
    row: list[int] = own.tolist()
    reassembly._next_seq = row[Own.NEXT_SEQ]
    reassembly.next = row[Own.NEXT]
    reassembly._acked = row[Own.ACKED]
    reassembly._advertised = row[Own.ADVERTISED]
    reassembly._window = row[Own.WINDOW]
    reassembly._time = row[Own.TIME]
    reassembly._advanced = bool(row[Own.ADVANCED])
    reassembly._waiting_since = row[Own.WAITING_SINCE]
    reassembly.held = arena.mbufs(row[Own.HELD_HEAD])
    reassembly._starts = [reassembly.next + (mbuf.seq - reassembly._next_seq & 0xFFFF_FFFF) for mbuf in reassembly.held]
    for start, mbuf in zip(reassembly._starts, reassembly.held, strict=True):
        reassembly._cover(start, start + len(mbuf.data))
    reassembly.held_bytes, reassembly.held_packets = row[Own.HELD_BYTES], row[Own.HELD_PACKETS]
    reassembly._told = row[Own.TOLD]
    sockbuf._chain.extend(arena.mbufs(row[Own.CHAIN_HEAD]))
    sockbuf.tlscc = sockbuf.ccc = row[Own.TLSCC]
    sockbuf.end_seq = row[Own.END_SEQ]
    sockbuf.leaf = row[Own.LEAF]
    reassembly.due = bool(row[Own.DUE])
    session.number = row[Own.NUMBER]
    session.ordinal = row[Own.NUMBER] - shift
    session._resync = bool(row[Own.RESYNC])
    session.length = row[Own.LAST_LENGTH]
    session.explicit = row[Own.EXPLICIT] & (1 << 64) - 1
    session.unjudged = bool(row[Own.UNJUDGED])


def _pour(arena: Arena, ends: Array, mbufs: Collection[Mbuf]) -> int:
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
                room, used, filled = int(chunks[chunk, Chunk.SIZE]), 0, 0
            else:
                chunks[chunk, Chunk.REFS] += 1
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
            chunks[chunk, Chunk.USED] = used
            chunks[chunk, Chunk.ARRIVALS] = filled
            count += 1
    return count
