"""A record's plaintext out of a chain of extents: the kernel's twin of Session._open and Session._undo.

    extents   | 7: header, payload .. | 7: .. payload, AEAD tag |      one stretch of chunk 7: opened where it stands
    extents   | 7: header, pay | 9: load .... | 7: .. AEAD tag  |      apart: its plaintext is joined in another chunk

Bytes in chunks are the host's own copy, so that opening, and re-encrypting what was marked, may write to them. Here no
mark is judged: the worker has seen to it that all are of the present keys and numbers.
"""

from __future__ import annotations

from rxtls.crypto.compiled.evp import Key, begin, open_record, recrypt, update, verify
from rxtls.host.compiled import columns as record
from rxtls.host.compiled.state import AEAD_TAG_AT, Desk, Own
from rxtls.native import Row, Table, copy, inlined, inner
from rxtls.offload.compiled.arena import LARGE, Chunk, Extent, Stock, hold_chunk, release_chunk, take_chunk_inner


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
def _recrypt(
    chunks: Table, extents: Table, keys: Table, slot: int, number: int, header: int, node: int, start: int, end: int
) -> None:
    """Make the record's bytes [start, end), where they are marked, again what they were on the wire."""
    at = 0
    while at < end:
        stop = at + extents[node, Extent.LENGTH]
        a, b = max(at, start), min(stop, end)
        if a < b and extents[node, Extent.MARK] != 0:
            recrypt(keys, slot, number, header, a - start, address(chunks, extents, node) + a - at, b - a)
        at = stop
        node = extents[node, Extent.NEXT]


@inlined
def open_chain(
    chunks: Table,
    extents: Table,
    keys: Table,
    own: Row,
    desk: Row,
    state: int,
    in_one: int,
    header: int,
    total: int,
    to: int,
) -> bool:
    """Put the record's plaintext, inner type and padding included, at the address `to`: in its own place, or joined.
    Whether it is authentic."""
    slot, head, number = own[Own.KEYS], own[Own.CHAIN_HEAD], own[Own.NUMBER]
    start = keys[slot, Key.HEADER_LENGTH]
    end = total - keys[slot, Key.AEAD_TAG_LENGTH]
    if state == record.DECRYPTED:
        if not in_one:
            gather(chunks, extents, head, start, end, to)
        return True
    if state == record.MIXED:
        _recrypt(chunks, extents, keys, slot, number, header, head, start, end)
    if in_one:
        return open_record(keys, slot, number, to - start, total, to) == 1
    begin(keys, slot, number, header)
    node, at = head, 0
    while at < end:
        stop = at + extents[node, Extent.LENGTH]
        a, b = max(at, start), min(stop, end)
        if a < b:
            update(keys, slot, to + a - start, address(chunks, extents, node) + a - at, b - a)
        at = stop
        node = extents[node, Extent.NEXT]
    gather(chunks, extents, head, end, total, desk[Desk.SCRATCH] + AEAD_TAG_AT)
    return verify(keys, slot, desk[Desk.SCRATCH] + AEAD_TAG_AT) == 1
