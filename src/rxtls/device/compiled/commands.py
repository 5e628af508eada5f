"""Commands for kernels: what waits in a lane for its time, and what is done then (Nic._act, Nic._carry_out)."""

from __future__ import annotations

from rxtls.device.compiled.columns import CONFIRM, INSTALL, QUERY, Context, Lane, Waiting, Walk, as_context
from rxtls.device.compiled.engine import confirm, set_position
from rxtls.device.compiled.events import HAS_INSTALLED, answer, log
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
def act(
    control: Row,
    lanes: Table,
    lane: Lane,
    contexts: Table,
    commands: Table,
    events: Table,
    clock: int,
    frame: int,
    time: int,
) -> None:
    """Carry out what is due, in the order of posting: a command due at n acts before packet n."""
    before = -1
    node = lanes[lane, Lane.FIRST_COMMAND]
    while node >= 0:
        following = commands[node, Waiting.NEXT_COMMAND]
        if commands[node, Waiting.DUE_CLOCK] > clock and commands[node, Waiting.DUE_TIME] > time:
            before = node
        else:
            if before < 0:
                lanes[lane, Lane.FIRST_COMMAND] = following
            else:
                commands[before, Waiting.NEXT_COMMAND] = following
            if following < 0:
                lanes[lane, Lane.LAST_COMMAND] = before
            lanes[lane, Lane.PENDING] -= 1
            _carry_out(control, lanes, lane, contexts, commands, node, events, frame, time)
            _free(control, commands, node)
        node = following


@inner
def cancel(control: Row, lanes: Table, lane: Lane, contexts: Table, commands: Table) -> None:
    """Take the receive tag away, with all that waits to act on it."""
    if lanes[lane, Lane.CONTEXT] >= 0:
        bury(control, contexts, as_context(lanes[lane, Lane.CONTEXT]))
        lanes[lane, Lane.CONTEXT] = -1
    node = lanes[lane, Lane.FIRST_COMMAND]
    while node >= 0:
        following = commands[node, Waiting.NEXT_COMMAND]
        if commands[node, Waiting.KIND] == INSTALL:
            bury(control, contexts, as_context(commands[node, Waiting.CONTEXT]))
        _free(control, commands, node)
        node = following
    lanes[lane, Lane.FIRST_COMMAND] = lanes[lane, Lane.LAST_COMMAND] = -1
    lanes[lane, Lane.PENDING] = 0


@inner
def _free(control: Row, commands: Table, node: int) -> None:
    commands[node, Waiting.NEXT_COMMAND] = control[Walk.FREE_COMMAND]
    control[Walk.FREE_COMMAND] = node


@inner
def _carry_out(
    control: Row,
    lanes: Table,
    lane: Lane,
    contexts: Table,
    commands: Table,
    node: int,
    events: Table,
    frame: int,
    time: int,
) -> None:
    kind = commands[node, Waiting.KIND]
    tcp_sn = commands[node, Waiting.SN]
    c = as_context(lanes[lane, Lane.CONTEXT])
    if kind == INSTALL:
        if c >= 0:
            bury(control, contexts, c)
        c = as_context(commands[node, Waiting.CONTEXT])
        lanes[lane, Lane.CONTEXT] = c
        log(control, events, contexts[c, Context.FLOW], HAS_INSTALLED, frame, time, tcp_sn)
        return
    if c < 0 or contexts[c, Context.EPOCH] != commands[node, Waiting.EPOCH]:
        return
    if kind == QUERY:
        answer(control, contexts, c, events)
    elif kind == CONFIRM:
        confirm(control, contexts, c, events, tcp_sn, commands[node, Waiting.NUMBER], frame, time)
    else:
        set_position(contexts, c, tcp_sn, commands[node, Waiting.NUMBER])
