"""Commands for kernels: what waits in a lane for its time, and what is done then (Nic._act, Nic._carry_out)."""

from __future__ import annotations

from rxtls.device.compiled.columns import CONFIRM, INSTALL, QUERY, Context, Lane, NicTables, Waiting, Walk, as_context
from rxtls.device.compiled.engine import confirm, set_position
from rxtls.device.compiled.events import HAS_INSTALLED, answer, note
from rxtls.device.compiled.lanes import bury
from rxtls.native import Row, Table, inner


@inner
def enqueue(lanes: Table, lane: Lane, commands: Table, node: int) -> None:
    """Behind those that were posted before."""
    commands[node, Waiting.NEXT_COMMAND] = -1
    last = lanes[lane, Lane.LAST_COMMAND]
    if last < 0:
        lanes[lane, Lane.FIRST_COMMAND] = node
    else:
        commands[last, Waiting.NEXT_COMMAND] = node
    lanes[lane, Lane.LAST_COMMAND] = node
    lanes[lane, Lane.PENDING] += 1


@inner
def act(nic: NicTables, lane: Lane, clock: int, frame: int, time: int) -> None:
    """Carry out what is due, in the order of posting: a command due at n acts before packet n."""
    before = -1
    node = nic.lanes[lane, Lane.FIRST_COMMAND]
    while node >= 0:
        following = nic.commands[node, Waiting.NEXT_COMMAND]
        if nic.commands[node, Waiting.DUE_CLOCK] > clock and nic.commands[node, Waiting.DUE_TIME] > time:
            before = node
        else:
            if before < 0:
                nic.lanes[lane, Lane.FIRST_COMMAND] = following
            else:
                nic.commands[before, Waiting.NEXT_COMMAND] = following
            if following < 0:
                nic.lanes[lane, Lane.LAST_COMMAND] = before
            nic.lanes[lane, Lane.PENDING] -= 1
            _carry_out(nic, lane, node, frame, time)
            _free(nic.control, nic.commands, node)
        node = following


@inner
def cancel(nic: NicTables, lane: Lane) -> None:
    """Take the receive tag away, with all that waits to act on it."""
    if nic.lanes[lane, Lane.CONTEXT] >= 0:
        bury(nic.control, nic.contexts, as_context(nic.lanes[lane, Lane.CONTEXT]))
        nic.lanes[lane, Lane.CONTEXT] = -1
    node = nic.lanes[lane, Lane.FIRST_COMMAND]
    while node >= 0:
        following = nic.commands[node, Waiting.NEXT_COMMAND]
        if nic.commands[node, Waiting.KIND] == INSTALL:
            bury(nic.control, nic.contexts, as_context(nic.commands[node, Waiting.CONTEXT]))
        _free(nic.control, nic.commands, node)
        node = following
    nic.lanes[lane, Lane.FIRST_COMMAND] = nic.lanes[lane, Lane.LAST_COMMAND] = -1
    nic.lanes[lane, Lane.PENDING] = 0


@inner
def _free(control: Row, commands: Table, node: int) -> None:
    commands[node, Waiting.NEXT_COMMAND] = control[Walk.FREE_COMMAND]
    control[Walk.FREE_COMMAND] = node


@inner
def _carry_out(nic: NicTables, lane: Lane, node: int, frame: int, time: int) -> None:
    kind = nic.commands[node, Waiting.KIND]
    tcp_sn = nic.commands[node, Waiting.SN]
    c = as_context(nic.lanes[lane, Lane.CONTEXT])
    if kind == INSTALL:
        if c >= 0:
            bury(nic.control, nic.contexts, c)
        c = as_context(nic.commands[node, Waiting.CONTEXT])
        nic.lanes[lane, Lane.CONTEXT] = c
        note(nic, c, HAS_INSTALLED, frame, time, tcp_sn)
        return
    if c < 0 or nic.contexts[c, Context.EPOCH] != nic.commands[node, Waiting.EPOCH]:
        return
    if kind == QUERY:
        answer(nic, c)
    elif kind == CONFIRM:
        confirm(nic, c, tcp_sn, nic.commands[node, Waiting.NUMBER], frame, time)
    else:
        set_position(nic.contexts, c, tcp_sn, nic.commands[node, Waiting.NUMBER])
