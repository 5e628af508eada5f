"""Commands for kernels: what waits in a lane for its time, and what is done then (Nic._act, Nic._carry_out)."""

from __future__ import annotations

from rxtls.device.compiled.columns import (
    COMMAND_CONTEXT,
    COMMAND_EPOCH,
    COMMAND_NUMBER,
    COMMAND_SN,
    CONFIRM,
    CONTEXT,
    CONTEXT_FLOW,
    DUE_CLOCK,
    DUE_TIME,
    EPOCH,
    FIRST_COMMAND,
    FREE_COMMAND,
    INSTALL,
    KIND,
    LAST_COMMAND,
    NEXT_COMMAND,
    PENDING,
    QUERY,
    Context,
    Lane,
)
from rxtls.device.compiled.engine import confirm, set_position
from rxtls.device.compiled.events import HAS_INSTALLED, answer, log
from rxtls.device.compiled.lanes import bury
from rxtls.native import Row, Table, inner


@inner
def enqueue(lanes: Table, lane: Lane, commands: Table, node: int) -> None:
    """Behind those that were posted before."""
    commands[node, NEXT_COMMAND] = -1
    last = lanes[lane, LAST_COMMAND]
    if last < 0:
        lanes[lane, FIRST_COMMAND] = node
    else:
        commands[last, NEXT_COMMAND] = node
    lanes[lane, LAST_COMMAND] = node
    lanes[lane, PENDING] += 1


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
    node = lanes[lane, FIRST_COMMAND]
    while node >= 0:
        following = commands[node, NEXT_COMMAND]
        if commands[node, DUE_CLOCK] > clock and commands[node, DUE_TIME] > time:
            before = node
        else:
            if before < 0:
                lanes[lane, FIRST_COMMAND] = following
            else:
                commands[before, NEXT_COMMAND] = following
            if following < 0:
                lanes[lane, LAST_COMMAND] = before
            lanes[lane, PENDING] -= 1
            _carry_out(control, lanes, lane, contexts, commands, node, events, frame, time)
            _free(control, commands, node)
        node = following


@inner
def cancel(control: Row, lanes: Table, lane: Lane, contexts: Table, commands: Table) -> None:
    """Take the receive tag away, with all that waits to act on it."""
    if lanes[lane, CONTEXT] >= 0:
        bury(control, contexts, Context(lanes[lane, CONTEXT]))
        lanes[lane, CONTEXT] = -1
    node = lanes[lane, FIRST_COMMAND]
    while node >= 0:
        following = commands[node, NEXT_COMMAND]
        if commands[node, KIND] == INSTALL:
            bury(control, contexts, Context(commands[node, COMMAND_CONTEXT]))
        _free(control, commands, node)
        node = following
    lanes[lane, FIRST_COMMAND] = lanes[lane, LAST_COMMAND] = -1
    lanes[lane, PENDING] = 0


@inner
def _free(control: Row, commands: Table, node: int) -> None:
    commands[node, NEXT_COMMAND] = control[FREE_COMMAND]
    control[FREE_COMMAND] = node


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
    kind = commands[node, KIND]
    tcp_sn = commands[node, COMMAND_SN]
    c = Context(lanes[lane, CONTEXT])
    if kind == INSTALL:
        if c >= 0:
            bury(control, contexts, c)
        c = Context(commands[node, COMMAND_CONTEXT])
        lanes[lane, CONTEXT] = c
        log(control, events, contexts[c, CONTEXT_FLOW], HAS_INSTALLED, frame, time, tcp_sn)
        return
    if c < 0 or contexts[c, EPOCH] != commands[node, COMMAND_EPOCH]:
        return
    if kind == QUERY:
        answer(control, contexts, c, events)
    elif kind == CONFIRM:
        confirm(control, contexts, c, events, tcp_sn, commands[node, COMMAND_NUMBER], frame, time)
    else:
        set_position(contexts, c, tcp_sn, commands[node, COMMAND_NUMBER])
