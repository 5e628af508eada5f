"""The same packet seen twice: intake/mirror.py's Sights for kernels.

The latest BOUND accepted packets stand in a ring, each with its TCP header as captured: so a comparison is exact. They
are entered in buckets only from the moment on when a flow was seen on two places: most captures look once, and pay for
the ring alone. Sights have numbers that go on; a chain, newest first, ends where the numbers have left the ring.
"""

from __future__ import annotations

from rxtls.intake.compiled.columns import (
    INDEXED,
    SIGHT_BEFORE,
    SIGHT_HEADER,
    SIGHT_HOME,
    SIGHT_LEAF,
    SIGHT_PLACE,
    SIGHT_REST,
    SIGHT_TIME,
    SIGHTS,
)
from rxtls.intake.compiled.evidence import below, elapsed
from rxtls.intake.compiled.table import mixed
from rxtls.intake.mirror import BOUND, WITHIN_NS
from rxtls.native import inlined, inner, load32, load64

assert BOUND & (BOUND - 1) == 0
_IN_RING = BOUND - 1
_WORD = 8
_LEAST_HEADER = 20


@inlined
def rest_of(captured_length, ip_id, total):  # type: ignore[no-untyped-def]
    """SIGHT_REST."""
    return captured_length << 32 | ip_id << 16 | total


@inlined
def _bucket(control, sights, at, chains):  # type: ignore[no-untyped-def]
    """Of the sight in row `at`. Two sights of one header differ in what is mixed here, or are of one length and sum."""
    first = mixed(sights[at, SIGHT_HOME], sights[at, SIGHT_REST], control)
    return (mixed(first ^ sights[at, SIGHT_HEADER], sights[at, SIGHT_HEADER + 1], control) >> 16) & (
        chains.shape[0] - 1
    )


@inner
def _index(control, sights, chains, n):  # type: ignore[no-untyped-def]
    at = n & _IN_RING
    bucket = _bucket(control, sights, at, chains)
    sights[at, SIGHT_BEFORE] = chains[bucket]
    chains[bucket] = n


@inlined
def _note(sights, at, home, rest, header, length):  # type: ignore[no-untyped-def]
    """Identity of the packet whose TCP header of `length` bytes is at the address `header`, into row `at`."""
    sights[at, SIGHT_HOME] = home
    sights[at, SIGHT_REST] = rest
    sights[at, SIGHT_HEADER] = load64(header)
    sights[at, SIGHT_HEADER + 1] = load64(header + 8)
    word = 2
    while (word + 1) * _WORD <= length:
        sights[at, SIGHT_HEADER + word] = load64(header + word * _WORD)
        word += 1
    if word * _WORD < length:
        sights[at, SIGHT_HEADER + word] = load32(header + word * _WORD)


@inlined
def accept(control, sights, chains, home, rest, header, length, time_ns, leaf, place):  # type: ignore[no-untyped-def]
    """Remember a packet that entered the flow."""
    n = control[SIGHTS]
    at = n & _IN_RING
    _note(sights, at, home, rest, header, length)
    sights[at, SIGHT_TIME] = time_ns
    sights[at, SIGHT_LEAF] = leaf
    sights[at, SIGHT_PLACE] = place
    if control[INDEXED]:
        _index(control, sights, chains, n)
    control[SIGHTS] = n + 1


@inlined
def _same(sights, a, b, length):  # type: ignore[no-untyped-def]
    """Whether two rows are sights of one packet. (The second word of a header holds its length.)"""
    if sights[a, SIGHT_HOME] != sights[b, SIGHT_HOME] or sights[a, SIGHT_REST] != sights[b, SIGHT_REST]:
        return False
    for word in range((length + _WORD - 1) // _WORD):
        if sights[a, SIGHT_HEADER + word] != sights[b, SIGHT_HEADER + word]:
            return False
    return True


@inner
def mirrored(control, sights, chains, home, rest, header, length, time_ns, leaf, place):  # type: ignore[no-untyped-def]
    """True when the packet was accepted on another place within 10 ms."""
    count = control[SIGHTS]
    oldest = max(0, count - BOUND)
    if not control[INDEXED]:
        control[INDEXED] = 1
        for n in range(oldest, count):
            _index(control, sights, chains, n)
    here = sights.shape[0] - 1  # a row of its own, for what is looked for
    _note(sights, here, home, rest, header, length)
    n = chains[_bucket(control, sights, here, chains)]
    while n >= oldest:
        at = n & _IN_RING
        if _same(sights, at, here, length):
            if sights[at, SIGHT_LEAF] == leaf and sights[at, SIGHT_PLACE] == place:
                return False
            then = sights[at, SIGHT_TIME]
            apart = elapsed(then, time_ns) if time_ns >= then else elapsed(time_ns, then)
            return not below(WITHIN_NS, apart)
        n = sights[at, SIGHT_BEFORE]
    return False
