"""Promotion and demotion: a direction's state from objects into a row and extents, and back.

Neither can be observed: whichever host point they fall on, every later record, count and report is the same.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

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

# Where the row's columns are while the direction is the plain host's: used both ways.
_REASSEMBLY = (
    (Own.NEXT_SEQ, "_next_seq"),
    (Own.NEXT, "next"),
    (Own.ACKED, "_acked"),
    (Own.ADVERTISED, "_advertised"),
    (Own.WINDOW, "_window"),
    (Own.TIME, "_time"),
    (Own.ADVANCED, "_advanced"),
    (Own.WAITING_SINCE, "_waiting_since"),
    (Own.HELD_BYTES, "held_bytes"),
    (Own.HELD_PACKETS, "held_packets"),
    (Own.TOLD, "_told"),
    (Own.DUE, "due"),
)
_SOCKBUF = (
    (Own.TLSCC, "tlscc"),
    (Own.END_SEQ, "end_seq"),
    (Own.LEAF, "leaf"),
)
_SESSION = (
    (Own.NUMBER, "number"),
    (Own.RESYNC, "_resync"),
    (Own.LAST_LENGTH, "length"),
    (Own.EXPLICIT, "explicit"),
    (Own.UNJUDGED, "unjudged"),
)


def _places(direction: Direction) -> list[tuple[Any, tuple[tuple[int, str], ...]]]:
    return [
        (direction.reassembly, _REASSEMBLY),
        (direction.sockbuf, _SOCKBUF),
        (direction.session, _SESSION),
    ]


def take(direction: Direction, arena: Arena, own: Array) -> None:
    """Move reassembly, socket buffer and session into a row of zeros. What is left of them is empty."""
    reassembly, sockbuf = direction.reassembly, direction.sockbuf
    own[_NONE] = -1
    own[Own.HOLD] = reassembly._hold
    for place, columns in _places(direction):
        for column, name in columns:
            value = int(getattr(place, name))
            own[column] = value if value < 1 << 63 else value - (1 << 64)  # an explicit nonce has 64 bits
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
    row[Own.EXPLICIT] &= (1 << 64) - 1
    for place, columns in _places(direction):
        for column, name in columns:
            setattr(place, name, type(getattr(place, name))(row[column]))
    reassembly.held = arena.mbufs(row[Own.HELD_HEAD])
    reassembly._starts = [reassembly.next + (mbuf.seq - reassembly._next_seq & 0xFFFF_FFFF) for mbuf in reassembly.held]
    for start, mbuf in zip(reassembly._starts, reassembly.held, strict=True):
        reassembly._cover(start, start + len(mbuf.data))
    sockbuf._chain.extend(arena.mbufs(row[Own.CHAIN_HEAD]))
    sockbuf.ccc = sockbuf.tlscc
    session.ordinal = session.number - shift


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
