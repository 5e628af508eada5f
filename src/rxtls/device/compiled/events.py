"""What the device says, as rows of the events table: lines for the log, and answers (offload/commands.py)."""

from __future__ import annotations

from rxtls.device.compiled.columns import Context, Entry, NicTables, Walk
from rxtls.device.compiled.tracker import bound
from rxtls.native import inner
from rxtls.offload.commands import Happening

_HAPPENINGS = list(Happening)
(
    HAS_INSTALLED,
    HAS_LOST,
    HAS_ANCHORED,
    HAS_FALSE_ANCHOR,
    HAS_CONFIRMED,
    HAS_STALE_CONFIRM,
    HAS_RESUMED,
    HAS_AUTH_FAILED,
    HAS_STOPPED,
) = (
    _HAPPENINGS.index(happening)
    for happening in (
        Happening.INSTALLED,
        Happening.LOST,
        Happening.ANCHORED,
        Happening.FALSE_ANCHOR,
        Happening.CONFIRMED,
        Happening.STALE_CONFIRM,
        Happening.RESUMED,
        Happening.AUTH_FAILED,
        Happening.STOPPED,
    )
)
HAS_PROGRESS = len(_HAPPENINGS)
HAS_GUESS = HAS_PROGRESS + 1


@inner
def log(nic: NicTables, flow: int, happening: int, frame: int, time: int, tcp_sn: int) -> int:
    """One more event with the fields of a DeviceEvent; the number of its row."""
    n = min(nic.control[Walk.EVENTS], len(nic.events) - 1)
    nic.events[n, Entry.FLOW] = flow
    nic.events[n, Entry.HAPPENING] = happening
    nic.events[n, Entry.FIRST_VALUE] = frame
    nic.events[n, Entry.FIRST_VALUE + 1] = time
    nic.events[n, Entry.FIRST_VALUE + 2] = tcp_sn
    nic.control[Walk.EVENTS] = n + 1
    return n


@inner
def note(nic: NicTables, c: Context, happening: int, frame: int, time: int, tcp_sn: int) -> None:
    """The same of a context's flow."""
    log(nic, nic.contexts[c, Context.FLOW], happening, frame, time, tcp_sn)


@inner
def guess(nic: NicTables, c: Context, tcp_sn: int, packet_sn: int, packet_length: int) -> None:
    """A Guess, to go with a packet."""
    flow, epoch = nic.contexts[c, Context.FLOW], nic.contexts[c, Context.EPOCH]
    n = log(nic, flow, HAS_GUESS, epoch, tcp_sn, packet_sn)
    nic.events[n, Entry.FIRST_VALUE + 3] = packet_length


@inner
def answer(nic: NicTables, c: Context) -> None:
    """The snapshot that a Query gets (Context.progress), its state as the index in tracker.STATES."""
    walked = 0 if bound(nic.contexts, c) else nic.contexts[c, Context.NUMBER]
    flow, epoch = nic.contexts[c, Context.FLOW], nic.contexts[c, Context.EPOCH]
    n = log(nic, flow, HAS_PROGRESS, epoch, nic.contexts[c, Context.NEXT_HEADER], nic.contexts[c, Context.ANCHOR])
    nic.events[n, Entry.FIRST_VALUE + 3] = nic.contexts[c, Context.STATE]
    nic.events[n, Entry.FIRST_VALUE + 4] = walked
