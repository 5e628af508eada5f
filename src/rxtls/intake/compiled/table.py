"""The table of flows: flows.FlowTable for kernels.

    tuple ─► bucket ─► flow ─► flow ─► -1           chained by FLOW_CHAIN; free rows are chained by it, too
    control[OLDEST] ─► flow ⇄ flow ⇄ ... ◄─ control[NEWEST]      all flows in order of use
    clocks[i, CLOCK_OLDEST] ─► flow ⇄ ...                        those whose latest packet came by interface i

Tuples are compared whole, in both orders. Which bucket one falls into depends on numbers that are drawn for each
process (as Python draws those of its own dicts), or a capture could be made in which all tuples share one.
"""

from __future__ import annotations

from rxtls.intake.compiled.columns import (
    CLOCK_NEWEST,
    CLOCK_OLDEST,
    FLOW_A_HIGH,
    FLOW_A_LOW,
    FLOW_B_HIGH,
    FLOW_B_LOW,
    FLOW_CHAIN,
    FLOW_CONNECTION,
    FLOW_HASH,
    FLOW_INTERFACE,
    FLOW_NEWER,
    FLOW_NEWER_HERE,
    FLOW_OLDER,
    FLOW_OLDER_HERE,
    FLOW_PORTS,
    FREE,
    LIVE,
    NEWEST,
    OLDEST,
    SECRETS,
)
from rxtls.native import inlined, inner, kernel

_LOW = 0xFFFF_FFFF


@inlined
def mixed(a, b, control):  # type: ignore[no-untyped-def]
    """Two words as one, every bit of which depends on all of theirs."""
    a = (a ^ control[SECRETS]) * control[SECRETS + 1] + b
    a = (a ^ (a >> 32)) * control[SECRETS + 2]
    return (a ^ (a >> 29)) * control[SECRETS + 3]


@inlined
def turned(ports):  # type: ignore[no-untyped-def]
    """FLOW_PORTS of the other direction."""
    return (ports & ~_LOW) | (ports & 0xFFFF) << 16 | (ports >> 16 & 0xFFFF)


@inlined
def hashed(control, src_high, src_low, dst_high, dst_low, ports):  # type: ignore[no-untyped-def]
    """The same for both directions."""
    src = mixed(src_high ^ (ports >> 16 & 0xFFFF), src_low, control)
    dst = mixed(dst_high ^ (ports & 0xFFFF), dst_low, control)
    both = src + dst
    return both ^ (both >> 32)


@inlined
def side_of(flows, f, src_high, src_low, dst_high, dst_low, ports):  # type: ignore[no-untyped-def]
    """The side of flow `f` that sends from this tuple, -1 if it is another flow's."""
    if (
        flows[f, FLOW_PORTS] == ports
        and flows[f, FLOW_A_LOW] == src_low
        and flows[f, FLOW_B_LOW] == dst_low
        and flows[f, FLOW_A_HIGH] == src_high
        and flows[f, FLOW_B_HIGH] == dst_high
    ):
        return 0
    if (
        flows[f, FLOW_PORTS] == turned(ports)
        and flows[f, FLOW_A_LOW] == dst_low
        and flows[f, FLOW_B_LOW] == src_low
        and flows[f, FLOW_A_HIGH] == dst_high
        and flows[f, FLOW_B_HIGH] == src_high
    ):
        return 1
    return -1


@inner
def find(control, flows, buckets, src_high, src_low, dst_high, dst_low, ports):  # type: ignore[no-untyped-def]
    """2 * flow + side of a tuple, -1 if there is none."""
    bucket = hashed(control, src_high, src_low, dst_high, dst_low, ports) & (buckets.shape[0] - 1)
    f = buckets[bucket]
    while f >= 0:
        side = side_of(flows, f, src_high, src_low, dst_high, dst_low, ports)
        if side >= 0:
            return 2 * f + side
        f = flows[f, FLOW_CHAIN]
    return -1


@inlined
def _enter_bucket(flows, f, buckets):  # type: ignore[no-untyped-def]
    bucket = flows[f, FLOW_HASH] & (buckets.shape[0] - 1)
    flows[f, FLOW_CHAIN] = buckets[bucket]
    buckets[bucket] = f


@inlined
def _leave_bucket(flows, f, buckets):  # type: ignore[no-untyped-def]
    bucket = flows[f, FLOW_HASH] & (buckets.shape[0] - 1)
    at = buckets[bucket]
    if at == f:
        buckets[bucket] = flows[f, FLOW_CHAIN]
        return
    while flows[at, FLOW_CHAIN] != f:
        at = flows[at, FLOW_CHAIN]
    flows[at, FLOW_CHAIN] = flows[f, FLOW_CHAIN]


@inlined
def _append(control, flows, f):  # type: ignore[no-untyped-def]
    newest = control[NEWEST]
    flows[f, FLOW_OLDER] = newest
    flows[f, FLOW_NEWER] = -1
    if newest >= 0:
        flows[newest, FLOW_NEWER] = f
    else:
        control[OLDEST] = f
    control[NEWEST] = f


@inlined
def _remove(control, flows, f):  # type: ignore[no-untyped-def]
    older, newer = flows[f, FLOW_OLDER], flows[f, FLOW_NEWER]
    if older >= 0:
        flows[older, FLOW_NEWER] = newer
    else:
        control[OLDEST] = newer
    if newer >= 0:
        flows[newer, FLOW_OLDER] = older
    else:
        control[NEWEST] = older


@inlined
def _append_here(clocks, interface, flows, f):  # type: ignore[no-untyped-def]
    newest = clocks[interface, CLOCK_NEWEST]
    flows[f, FLOW_OLDER_HERE] = newest
    flows[f, FLOW_NEWER_HERE] = -1
    flows[f, FLOW_INTERFACE] = interface
    if newest >= 0:
        flows[newest, FLOW_NEWER_HERE] = f
    else:
        clocks[interface, CLOCK_OLDEST] = f
    clocks[interface, CLOCK_NEWEST] = f


@inlined
def _remove_here(clocks, flows, f):  # type: ignore[no-untyped-def]
    interface = flows[f, FLOW_INTERFACE]
    older, newer = flows[f, FLOW_OLDER_HERE], flows[f, FLOW_NEWER_HERE]
    if older >= 0:
        flows[older, FLOW_NEWER_HERE] = newer
    else:
        clocks[interface, CLOCK_OLDEST] = newer
    if newer >= 0:
        flows[newer, FLOW_OLDER_HERE] = older
    else:
        clocks[interface, CLOCK_NEWEST] = older


@inner
def put(control, flows, f, buckets, clocks, interface):  # type: ignore[no-untyped-def]
    """Enter flow `f`, whose tuple and hash stand in its row."""
    _enter_bucket(flows, f, buckets)
    _append(control, flows, f)
    _append_here(clocks, interface, flows, f)
    control[LIVE] += 1


@inner
def use(control, flows, f, clocks, interface):  # type: ignore[no-untyped-def]
    """A packet of flow `f` came by `interface`, and it is not the newest there already."""
    if control[NEWEST] != f:
        _remove(control, flows, f)
        _append(control, flows, f)
    _remove_here(clocks, flows, f)
    _append_here(clocks, interface, flows, f)


@inner
def take_out(control, flows, f, buckets, clocks):  # type: ignore[no-untyped-def]
    """Free the row of flow `f`."""
    _leave_bucket(flows, f, buckets)
    _remove(control, flows, f)
    _remove_here(clocks, flows, f)
    flows[f, FLOW_CONNECTION] = -1
    flows[f, FLOW_CHAIN] = control[FREE]
    control[FREE] = f
    control[LIVE] -= 1


@kernel("void(int64[::1], int64[:, ::1], int64[::1])")
def rehash(control, flows, buckets):  # type: ignore[no-untyped-def]
    """Enter all flows in new buckets, all of them -1."""
    f = control[OLDEST]
    while f >= 0:
        _enter_bucket(flows, f, buckets)
        f = flows[f, FLOW_NEWER]
