"""The secrets of a pcapng, blocks passed over by compiled code: the fast twin of pcapng.scan_secrets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt

from rxtls.native import kernel, little32, load32
from rxtls.wire.captured import MAX_BLOCK, MAX_SECRETS, ByteOrder, Secrets
from rxtls.wire.pcapng import BYTE_ORDER, LAYOUTS, MAGIC, SECRETS, SECTION, SHORTEST, SHORTEST_BLOCK

_HEAD = 12  # type, length, and of a section the byte-order magic


class Bytes(Protocol):
    """A capture as a buffer that moves on (capture/window.py): data[at:end] is there, `more` brings at least `need`.

    `at` may be set beyond `end`: what lies between is passed over.
    """

    data: npt.NDArray[np.uint8]
    at: int
    end: int

    def more(self, need: int) -> bool: ...


@kernel
def _pass_over(base: int, at: int, end: int, little: bool) -> int:
    """The first block from `at` on that is a section, secrets, damaged, or has no header before `end`.

    `base` is the address of the bytes that places count from. The place may lie beyond `end`.
    """
    while end - at >= SHORTEST_BLOCK:
        kind = little32(base + at) if little else load32(base + at)
        length = little32(base + at + 4) if little else load32(base + at + 4)
        if kind in (SECTION, SECRETS) or length < SHORTEST_BLOCK or length & 3 or length > MAX_BLOCK:
            break
        at += length
    return at


def scan_secrets(window: Bytes) -> Iterator[Secrets]:
    """As pcapng.scan_secrets: secrets in file order, up to damage, of which nothing is said; none of what is no pcapng.

    What `window.more` raises passes through.
    """
    order: ByteOrder | None = None
    secret_bytes = 0
    while window.end - window.at >= _HEAD or window.more(_HEAD):
        data, at = window.data, window.at
        head = data[at : at + _HEAD].tobytes()
        if head.startswith(MAGIC):
            order = BYTE_ORDER.get(head[8:])
        if order is None:
            return
        kind, length = LAYOUTS[order].block(head)
        if length < SHORTEST_BLOCK or length & 3 or length > MAX_BLOCK:
            return
        if kind == SECRETS:
            if length < SHORTEST[SECRETS] or (window.end - at < length and not window.more(length)):
                return
            block = window.data[window.at : window.at + length].tobytes()
            secrets_kind, size = LAYOUTS[order].secrets(block, 8)
            secret_bytes += size
            if size > length - 20 or secret_bytes > MAX_SECRETS:
                return
            yield Secrets(secrets_kind, block[16 : 16 + size])
        window.at += length
        window.at = _pass_over(window.data.ctypes.data, window.at, window.end, order == "<")
