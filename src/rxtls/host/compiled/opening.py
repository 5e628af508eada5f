"""A record's plaintext out of a chain of extents: the kernel's twin of Session._open and Session._undo.

    extents   | 7: header, payload .. | 7: .. payload, AEAD tag |      one stretch of chunk 7: opened where it stands
    extents   | 7: header, pay | 9: load .... | 7: .. AEAD tag  |      apart: its plaintext is joined in another chunk

Bytes in chunks are the host's own copy, so that opening, and re-encrypting what was marked, may write to them. Here no
mark is judged: the worker has seen to it that all are of the present keys and numbers.
"""

from __future__ import annotations

from typing import NamedTuple

from rxtls.crypto.compiled.evp import Key, begin, open_record, recrypt, update, verify
from rxtls.host.compiled import columns as record
from rxtls.host.compiled.state import AEAD_TAG_AT, Desk, Own
from rxtls.native import Row, Table, copy, inlined, inner
from rxtls.offload.compiled.arena import (
    LARGE,
    ArenaTables,
    Chunk,
    Extent,
    Stock,
    hold_chunk,
    release_chunk,
    take_chunk_inner,
)


@inner
def address(chunks: Table, extents: Table, node: int) -> int:
    return chunks[extents[node, Extent.CHUNK], Chunk.ADDRESS] + extents[node, Extent.AT]


@inner
def gather(chunks: Table, extents: Table, node: int, start: int, end: int, to: int) -> None:
    """Copy bytes [start, end) of the list that begins at `node` to an address."""
    at = 0
    while at < end:
        stop = at + extents[node, Extent.LENGTH]
        a, b = max(at, start), min(stop, end)
        if a < b:
            copy(to + a - start, address(chunks, extents, node) + a - at, b - a)
        at = stop
        node = extents[node, Extent.NEXT]


@inlined
def room_to_join(control: Row, chunks: Table, desk: Row, length: int) -> bool:
    """See to a chunk with room for `length` bytes more, which are fewer than LARGE; False when none is free."""
    chunk = desk[Desk.JOINS]
    if chunk >= 0 and chunks[chunk, Chunk.USED] + length <= chunks[chunk, Chunk.SIZE]:
        return True
    if control[Stock.LARGE_LEFT] < 1:
        return False
    if chunk >= 0:
        release_chunk(control, chunks, chunk)
    desk[Desk.JOINS] = take_chunk_inner(control, chunks, LARGE)
    hold_chunk(chunks, desk[Desk.JOINS])
    return True


@inner
def _recrypt(arena: ArenaTables, keys: Table, own: Row, header: int, start: int, end: int) -> None:
    """Make the record's bytes [start, end), where they are marked, again what they were on the wire."""
    node, at = own[Own.CHAIN_HEAD], 0
    while at < end:
        stop = at + arena.extents[node, Extent.LENGTH]
        a, b = max(at, start), min(stop, end)
        if a < b and arena.extents[node, Extent.MARK] != 0:
            to = address(arena.chunks, arena.extents, node) + a - at
            recrypt(keys, own[Own.KEYS], own[Own.NUMBER], header, a - start, to, b - a)
        at = stop
        node = arena.extents[node, Extent.NEXT]


class Whole(NamedTuple):
    """A record that has come whole."""

    header: int  # its address
    total: int
    to: int  # the address of its plaintext


@inlined
def open_chain(arena: ArenaTables, keys: Table, own: Row, desk: Row, state: int, in_one: bool, whole: Whole) -> bool:
    """Put the record's plaintext, inner type and padding included, where it is to be. Whether it is authentic."""
    slot, head, number = own[Own.KEYS], own[Own.CHAIN_HEAD], own[Own.NUMBER]
    start = keys[slot, Key.HEADER_LENGTH]
    end = whole.total - keys[slot, Key.AEAD_TAG_LENGTH]
    if state == record.DECRYPTED:
        if not in_one:
            gather(arena.chunks, arena.extents, head, start, end, whole.to)
        return True
    if state == record.MIXED:
        _recrypt(arena, keys, own, whole.header, start, end)
    if in_one:
        return open_record(keys, slot, number, whole.to - start, whole.total, whole.to) == 1
    begin(keys, slot, number, whole.header)
    node, at = head, 0
    while at < end:
        stop = at + arena.extents[node, Extent.LENGTH]
        a, b = max(at, start), min(stop, end)
        if a < b:
            update(keys, slot, whole.to + a - start, address(arena.chunks, arena.extents, node) + a - at, b - a)
        at = stop
        node = arena.extents[node, Extent.NEXT]
    gather(arena.chunks, arena.extents, head, end, whole.total, desk[Desk.SCRATCH] + AEAD_TAG_AT)
    return verify(keys, slot, desk[Desk.SCRATCH] + AEAD_TAG_AT) == 1
