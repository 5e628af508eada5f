"""The table of flows: flows.FlowTable for kernels.

    tuple ─► bucket ─► flow ─► flow ─► -1           chained by LinkRow.CHAIN; free rows are chained by it, too
    control[OLDEST] ─► flow ⇄ flow ⇄ ... ◄─ control[NEWEST]      all flows in order of use
    clock[CLOCK_OLDEST] ─► flow ⇄ ...                            those whose latest packet came by its interface

Tuples are compared whole, in both orders. Which bucket one falls into depends on numbers that are drawn for each
process (as Python draws those of its own dicts), or a capture could be made in which all tuples share one.

A chain holds numbers, since tables move when they grow; `f` is a flow's number, `flow` its row, `link` that of its
links.
"""

from __future__ import annotations

from rxtls.intake.compiled.columns import FLOW_COLUMNS, WORD, ClockRow, FlowRow, LinkRow, Steering
from rxtls.native import Row, Table, address, get, inlined, inner, kernel, plus, put, times

_LOW = 0xFFFF_FFFF


@inlined
def flow_row(control: int, f: int) -> int:
    """The row of flow number f."""
    return get(control, Steering.FLOWS_AT) + f * (FLOW_COLUMNS * WORD)


@inlined
def link_row(control: int, f: int) -> int:
    """The links of flow number f."""
    return get(control, Steering.LINKS_AT) + f * (LinkRow.COLUMNS * WORD)


@inlined
def clock_row(control: int, interface: int) -> int:
    """The row of a capture interface."""
    return get(control, Steering.CLOCKS_AT) + interface * (ClockRow.COLUMNS * WORD)


@inlined
def mixed(control: int, a: int, b: int) -> int:
    """Two words as one, every bit of which depends on all of theirs."""
    a = plus(times(a ^ get(control, Steering.SECRETS), get(control, Steering.SECRETS + 1)), b)
    a = times(a ^ (a >> 32), get(control, Steering.SECRETS + 2))
    return times(a ^ (a >> 29), get(control, Steering.SECRETS + 3))


@inlined
def turned(ports: int) -> int:
    """FlowRow.PORTS of the other direction."""
    return (ports & ~_LOW) | (ports & 0xFFFF) << 16 | (ports >> 16 & 0xFFFF)


@inlined
def hashed(control: int, src_high: int, src_low: int, dst_high: int, dst_low: int, ports: int) -> int:
    """LinkRow.HASH of a tuple: the same for both directions."""
    src = mixed(control, src_high ^ (ports >> 16 & 0xFFFF), src_low)
    dst = mixed(control, dst_high ^ (ports & 0xFFFF), dst_low)
    both = plus(src, dst)
    return both ^ (both >> 32)


@inlined
def side_of(flow: int, src_high: int, src_low: int, dst_high: int, dst_low: int, ports: int) -> int:
    """The side of a flow that sends from this tuple, -1 if it is another flow's."""
    if (
        get(flow, FlowRow.PORTS) == ports
        and get(flow, FlowRow.A_LOW) == src_low
        and get(flow, FlowRow.B_LOW) == dst_low
        and get(flow, FlowRow.A_HIGH) == src_high
        and get(flow, FlowRow.B_HIGH) == dst_high
    ):
        return 0
    if (
        get(flow, FlowRow.PORTS) == turned(ports)
        and get(flow, FlowRow.A_LOW) == dst_low
        and get(flow, FlowRow.B_LOW) == src_low
        and get(flow, FlowRow.A_HIGH) == dst_high
        and get(flow, FlowRow.B_HIGH) == src_high
    ):
        return 1
    return -1


@inlined
def _bucket(control: int, flow_hash: int) -> int:
    """Where a bucket's first flow stands."""
    return get(control, Steering.BUCKETS_AT) + (flow_hash & get(control, Steering.BUCKETS_MASK)) * WORD


@inlined
def comes_by(flow: int, network: int) -> bool:
    """Whether a flow is known to come by a network."""
    return (
        get(flow, FlowRow.NETWORKS) == network
        or get(flow, FlowRow.NETWORKS + 1) == network
        or get(flow, FlowRow.NETWORKS + 2) == network
        or get(flow, FlowRow.NETWORKS + 3) == network
    )


@inlined
def first_of(control: int, flow_hash: int) -> int:
    """The first flow in the bucket of a hash, -1 if there is none."""
    return get(_bucket(control, flow_hash), 0)


@inner
def find(control: int, src_high: int, src_low: int, dst_high: int, dst_low: int, ports: int, network: int) -> int:
    """2 * flow + side of a tuple in a network, -1 if there is none."""
    f = get(_bucket(control, hashed(control, src_high, src_low, dst_high, dst_low, ports)), 0)
    while f >= 0:
        side = side_of(flow_row(control, f), src_high, src_low, dst_high, dst_low, ports)
        if side >= 0 and comes_by(flow_row(control, f), network):
            return 2 * f + side
        f = get(link_row(control, f), LinkRow.CHAIN)
    return -1


@inner
def _enter_bucket(control: int, f: int) -> None:
    link = link_row(control, f)
    bucket = _bucket(control, get(link, LinkRow.HASH))
    put(link, LinkRow.CHAIN, get(bucket, 0))
    put(bucket, 0, f)


@inner
def _leave_bucket(control: int, f: int) -> None:
    link = link_row(control, f)
    bucket = _bucket(control, get(link, LinkRow.HASH))
    at = get(bucket, 0)
    if at == f:
        put(bucket, 0, get(link, LinkRow.CHAIN))
        return
    before = link_row(control, at)
    while get(before, LinkRow.CHAIN) != f:
        before = link_row(control, get(before, LinkRow.CHAIN))
    put(before, LinkRow.CHAIN, get(link, LinkRow.CHAIN))


# A list is its two ends, columns `oldest` and oldest + 1 of the row `ends`, and the links of its flows, columns `older`
# and older + 1. So are all four pairs in columns.py.
assert Steering.NEWEST == Steering.OLDEST + 1
assert ClockRow.NEWEST == ClockRow.OLDEST + 1
assert LinkRow.NEWER == LinkRow.OLDER + 1
assert LinkRow.NEWER_HERE == LinkRow.OLDER_HERE + 1


@inlined
def _append(control: int, ends: int, oldest: int, f: int, older: int) -> None:
    link = link_row(control, f)
    newest = get(ends, oldest + 1)
    put(link, older, newest)
    put(link, older + 1, -1)
    if newest >= 0:
        put(link_row(control, newest), older + 1, f)
    else:
        put(ends, oldest, f)
    put(ends, oldest + 1, f)


@inlined
def _remove(control: int, ends: int, oldest: int, f: int, older: int) -> None:
    link = link_row(control, f)
    before, after = get(link, older), get(link, older + 1)
    if before >= 0:
        put(link_row(control, before), older + 1, after)
    else:
        put(ends, oldest, after)
    if after >= 0:
        put(link_row(control, after), older, before)
    else:
        put(ends, oldest + 1, before)


@inner
def enter(control: int, flow: int, f: int, flow_hash: int, interface: int) -> None:
    """Put a flow, whose tuple stands in its row, into the table."""
    put(link_row(control, f), LinkRow.HASH, flow_hash)
    _enter_bucket(control, f)
    _append(control, control, Steering.OLDEST, f, LinkRow.OLDER)
    _append(control, clock_row(control, interface), ClockRow.OLDEST, f, LinkRow.OLDER_HERE)
    put(flow, FlowRow.INTERFACE, interface)
    live = get(control, Steering.LIVE) + 1
    put(control, Steering.LIVE, live)
    put(control, Steering.MOST_LIVE, max(live, get(control, Steering.MOST_LIVE)))


@inner
def use(control: int, flow: int, f: int, interface: int) -> None:
    """A packet of a flow came by `interface`, and it is not the newest there already."""
    if get(control, Steering.NEWEST) != f:
        _remove(control, control, Steering.OLDEST, f, LinkRow.OLDER)
        _append(control, control, Steering.OLDEST, f, LinkRow.OLDER)
    _remove(control, clock_row(control, get(flow, FlowRow.INTERFACE)), ClockRow.OLDEST, f, LinkRow.OLDER_HERE)
    _append(control, clock_row(control, interface), ClockRow.OLDEST, f, LinkRow.OLDER_HERE)
    put(flow, FlowRow.INTERFACE, interface)


@inner
def take_out(control: int, flow: int, f: int) -> None:
    """Free the row of a flow."""
    _leave_bucket(control, f)
    _remove(control, control, Steering.OLDEST, f, LinkRow.OLDER)
    _remove(control, clock_row(control, get(flow, FlowRow.INTERFACE)), ClockRow.OLDEST, f, LinkRow.OLDER_HERE)
    put(flow, FlowRow.CONNECTION, -1)
    put(link_row(control, f), LinkRow.CHAIN, get(control, Steering.FREE))
    put(control, Steering.FREE, f)
    put(control, Steering.LIVE, get(control, Steering.LIVE) - 1)


@kernel
def rehash(control: Row, flows: Table, links: Table, buckets: Row) -> None:
    """Enter all flows in new buckets, all of which are -1."""
    row = address(control)
    put(row, Steering.FLOWS_AT, address(flows))
    put(row, Steering.LINKS_AT, address(links))
    put(row, Steering.BUCKETS_AT, address(buckets))
    put(row, Steering.BUCKETS_MASK, len(buckets) - 1)
    f = get(row, Steering.OLDEST)
    while f >= 0:
        _enter_bucket(row, f)
        f = get(link_row(row, f), LinkRow.NEWER)
