"""The same packet seen twice: intake/mirror.py's Sights for kernels.

The latest BOUND accepted packets stand in a ring, each with all that is compared, in four words. They are entered in
buckets only from the moment on when a flow was seen on two places: most captures look once, and pay for the ring alone.
Sights have numbers that go on; a chain, newest first, ends where the numbers have left the ring.
"""

from __future__ import annotations

from rxtls.intake.compiled.columns import (
    CHAINS_AT,
    FLOW_HOME,
    INDEXED,
    SIGHT_BEFORE,
    SIGHT_COLUMNS,
    SIGHT_HOME,
    SIGHT_LEAF,
    SIGHT_LENGTH,
    SIGHT_NUMBERS,
    SIGHT_PLACE,
    SIGHT_PORTS,
    SIGHT_TIME,
    SIGHTS,
    SIGHTS_AT,
    WORD,
)
from rxtls.intake.compiled.evidence import below, elapsed
from rxtls.intake.compiled.table import mixed
from rxtls.intake.mirror import BOUND, WITHIN_NS
from rxtls.native import get, inlined, inner, put
from rxtls.wire.compiled.columns import (
    ACK,
    CAPTURED_LENGTH,
    FIELD,
    FLAGS,
    IP_ID,
    OPTION_LENGTH,
    PORTS,
    SEQ,
    SUM,
    WINDOW,
)

assert BOUND & (BOUND - 1) == 0
_IN_RING = BOUND - 1
BUCKETS = BOUND


@inlined
def _row(control: int, at: int) -> int:
    return get(control, SIGHTS_AT) + at * (SIGHT_COLUMNS * WORD)


@inlined
def _note(sight: int, flow: int, packet: int) -> None:
    """The identity of a packet of a flow, into a row: mirror.identity, exactly."""
    put(sight, SIGHT_NUMBERS, get(packet, SEQ) << 32 | get(packet, ACK))
    put(sight, SIGHT_PORTS, get(packet, PORTS) << 32 | get(packet, WINDOW) << 16 | get(packet, FIELD))
    put(sight, SIGHT_LENGTH, get(packet, CAPTURED_LENGTH) << 32 | get(packet, IP_ID) << 16 | get(packet, SUM))
    put(sight, SIGHT_HOME, get(flow, FLOW_HOME) << 16 | get(packet, OPTION_LENGTH) << 9 | get(packet, FLAGS))


@inner
def _chain(control: int, sight: int) -> int:
    """Where the number of the latest sight in its bucket stands. All that is compared is in it, or chains grow long."""
    mix = mixed(control, get(sight, SIGHT_NUMBERS), get(sight, SIGHT_PORTS))
    mix = mixed(control, mix, get(sight, SIGHT_LENGTH))
    mix = mixed(control, mix, get(sight, SIGHT_HOME))
    return get(control, CHAINS_AT) + (mix >> 20 & (BUCKETS - 1)) * WORD


@inner
def _index(control: int, sight: int, n: int) -> None:
    chain = _chain(control, sight)
    put(sight, SIGHT_BEFORE, get(chain, 0))
    put(chain, 0, n)


@inlined
def accept(control: int, flow: int, packet: int, time_ns: int, leaf: int, place: int) -> None:
    """Remember a packet that entered its flow."""
    n = get(control, SIGHTS)
    sight = _row(control, n & _IN_RING)
    _note(sight, flow, packet)
    put(sight, SIGHT_TIME, time_ns)
    put(sight, SIGHT_LEAF, leaf)
    put(sight, SIGHT_PLACE, place)
    if get(control, INDEXED):
        _index(control, sight, n)
    put(control, SIGHTS, n + 1)


@inlined
def _same(a: int, b: int) -> bool:
    """Whether two rows are sights of one packet."""
    return (
        get(a, SIGHT_NUMBERS) == get(b, SIGHT_NUMBERS)
        and get(a, SIGHT_PORTS) == get(b, SIGHT_PORTS)
        and get(a, SIGHT_LENGTH) == get(b, SIGHT_LENGTH)
        and get(a, SIGHT_HOME) == get(b, SIGHT_HOME)
    )


@inner
def mirrored(control: int, flow: int, packet: int, time_ns: int, leaf: int, place: int) -> bool:
    """True when the packet was accepted on another place within 10 ms."""
    count = get(control, SIGHTS)
    oldest = max(0, count - BOUND)
    if not get(control, INDEXED):
        put(control, INDEXED, 1)
        for n in range(oldest, count):
            _index(control, _row(control, n & _IN_RING), n)
    ours = _row(control, BOUND)
    _note(ours, flow, packet)
    n = get(_chain(control, ours), 0)
    while n >= oldest:
        sight = _row(control, n & _IN_RING)
        if _same(sight, ours):
            if get(sight, SIGHT_LEAF) == leaf and get(sight, SIGHT_PLACE) == place:
                return False
            then = get(sight, SIGHT_TIME)
            apart = elapsed(then, time_ns) if time_ns >= then else elapsed(time_ns, then)
            return not below(WITHIN_NS, apart)
        n = get(sight, SIGHT_BEFORE)
    return False
