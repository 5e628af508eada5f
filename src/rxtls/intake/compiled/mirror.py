"""The same packet seen twice: intake/mirror.py's Sights for kernels.

The latest BOUND accepted packets stand in a ring, each with all that is compared, in four words. They are entered in
buckets only from the moment on when a flow was seen on two places: most captures look once, and pay for the ring alone.
Sights have numbers that go on; a chain, newest first, ends where the numbers have left the ring.
"""

from __future__ import annotations

from rxtls.intake.compiled.columns import WORD, FlowRow, SightRow, Steering
from rxtls.intake.compiled.evidence import below, elapsed
from rxtls.intake.compiled.table import mixed
from rxtls.intake.mirror import BOUND, WITHIN_NS
from rxtls.native import get, inlined, inner, put
from rxtls.wire.compiled.columns import PacketRow

assert BOUND & (BOUND - 1) == 0
_IN_RING = BOUND - 1
BUCKETS = BOUND


@inlined
def _row(control: int, at: int) -> int:
    return get(control, Steering.SIGHTS_AT) + at * (SightRow.COLUMNS * WORD)


@inlined
def _note(sight: int, flow: int, packet: int) -> None:
    """The identity of a packet of a flow, into a row: mirror.identity, exactly."""
    put(sight, SightRow.NUMBERS, get(packet, PacketRow.SEQ) << 32 | get(packet, PacketRow.ACK))
    put(
        sight,
        SightRow.PORTS,
        get(packet, PacketRow.PORTS) << 32 | get(packet, PacketRow.WINDOW) << 16 | get(packet, PacketRow.FIELD),
    )
    put(
        sight,
        SightRow.LENGTH,
        get(packet, PacketRow.CAPTURED_LENGTH) << 32 | get(packet, PacketRow.IP_ID) << 16 | get(packet, PacketRow.SUM),
    )
    put(
        sight,
        SightRow.HOME,
        get(flow, FlowRow.HOME) << 16 | get(packet, PacketRow.OPTION_LENGTH) << 9 | get(packet, PacketRow.FLAGS),
    )


@inner
def _chain(control: int, sight: int) -> int:
    """Where the number of the latest sight in its bucket stands. All that is compared is in it, or chains grow long."""
    mix = mixed(control, get(sight, SightRow.NUMBERS), get(sight, SightRow.PORTS))
    mix = mixed(control, mix, get(sight, SightRow.LENGTH))
    mix = mixed(control, mix, get(sight, SightRow.HOME))
    return get(control, Steering.CHAINS_AT) + (mix >> 20 & (BUCKETS - 1)) * WORD


@inner
def _index(control: int, sight: int, n: int) -> None:
    chain = _chain(control, sight)
    put(sight, SightRow.BEFORE, get(chain, 0))
    put(chain, 0, n)


@inlined
def accept(control: int, flow: int, packet: int, time_ns: int, leaf: int, place: int) -> None:
    """Remember a packet that entered its flow."""
    n = get(control, Steering.SIGHTS)
    sight = _row(control, n & _IN_RING)
    _note(sight, flow, packet)
    put(sight, SightRow.TIME, time_ns)
    put(sight, SightRow.LEAF, leaf)
    put(sight, SightRow.PLACE, place)
    if get(control, Steering.INDEXED):
        _index(control, sight, n)
    put(control, Steering.SIGHTS, n + 1)


@inlined
def _same(a: int, b: int) -> bool:
    """Whether two rows are sights of one packet."""
    return (
        get(a, SightRow.NUMBERS) == get(b, SightRow.NUMBERS)
        and get(a, SightRow.PORTS) == get(b, SightRow.PORTS)
        and get(a, SightRow.LENGTH) == get(b, SightRow.LENGTH)
        and get(a, SightRow.HOME) == get(b, SightRow.HOME)
    )


@inner
def mirrored(control: int, flow: int, packet: int, time_ns: int, leaf: int, place: int) -> bool:
    """True when the packet was accepted on another place within 10 ms."""
    count = get(control, Steering.SIGHTS)
    oldest = max(0, count - BOUND)
    if not get(control, Steering.INDEXED):
        put(control, Steering.INDEXED, 1)
        for n in range(oldest, count):
            _index(control, _row(control, n & _IN_RING), n)
    ours = _row(control, BOUND)
    _note(ours, flow, packet)
    n = get(_chain(control, ours), 0)
    while n >= oldest:
        sight = _row(control, n & _IN_RING)
        if _same(sight, ours):
            if get(sight, SightRow.LEAF) == leaf and get(sight, SightRow.PLACE) == place:
                return False
            then = get(sight, SightRow.TIME)
            apart = elapsed(then, time_ns) if time_ns >= then else elapsed(time_ns, then)
            return not below(WITHIN_NS, apart)
        n = get(sight, SightRow.BEFORE)
    return False
