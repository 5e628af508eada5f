"""Both steer stages over the same frames, and everything in which they must agree: what comes out, and what is kept.

pair = Pair(options)
pair.batch(numbered)      rows, payloads
pair.check()              ledgers, connections, and every flow in the tables, number by number
pair.finish()
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields

from rxtls.counters import Ledger
from rxtls.intake.batch import COLUMNS, LENGTH, OFFSET, Batch
from rxtls.intake.compiled import columns as c
from rxtls.intake.compiled.columns import ClockRow, FlowRow, LinkRow, SideRow, Steering
from rxtls.intake.compiled.steer import CompiledSteer
from rxtls.intake.compiled.verdict import read_judged
from rxtls.intake.evidence import DONE, Host
from rxtls.intake.flows import Connection, Direction, Flow
from rxtls.intake.steer import Steer, SteerOptions
from rxtls.intake.vantage import judge
from rxtls.wire.captured import CapturedFrame
from rxtls.wire.compiled.columns import frames_of

Numbered = Sequence[tuple[int, CapturedFrame]]
Row = tuple[list[int], bytes]
State = dict[str, object]

# Where bytes lie is each twin's own; which bytes they are, and all else of a row, is not.
_COMPARED = [column for column in range(COLUMNS) if column != OFFSET]

_DIRECTION = {name: getattr(c.SideRow, name.upper()) for name in Direction.__slots__}
_IN_MARKS = ("marks", "bad", "unbelieved")
_HOST = {name: getattr(c.SideRow, name.upper()) for name in Host.__slots__ if name not in (*_IN_MARKS, "mss")}
_HOST["mss"] = SideRow.HOST_MSS


def calls(frames: Numbered, sizes: Iterable[int]) -> Iterator[Numbered]:
    """The frames in calls of `sizes`, the rest in one."""
    at = 0
    for size in sizes:
        if at >= len(frames):
            return
        yield frames[at : at + size]
        at += size
    if at < len(frames):
        yield frames[at:]


def rows_of(batch: Batch) -> list[Row]:
    """Rows, each with its payload."""
    found = []
    for row in batch.rows.tolist():
        assert row[LENGTH] or not row[OFFSET]
        payload = bytes(batch.data[row[OFFSET] : row[OFFSET] + row[LENGTH]])
        assert len(payload) == row[LENGTH]
        found.append(([row[column] for column in _COMPARED], payload))
    return found


def state_of(connection: Connection) -> State:
    """All that is said of a connection."""
    state = {each.name: getattr(connection, each.name) for each in fields(connection)}
    del state["evidence"], state["last_word"]  # how it is known is each twin's own
    return state | {"judged": connection.judged(), "vantage": (connection.vantage(0), connection.vantage(1))}


def plain_flow(flow: Flow) -> State:
    """What the plain stage keeps of a flow."""
    evidence = flow.evidence
    state: State = {
        "over": flow.over,
        "time": flow.time,
        "interface": flow.interface,
        "connection": None if flow.connection is None else flow.connection.id,
        "home": flow.home.place,
        "single": flow.home.single,
        "networks": flow.networks,
        "judged": judge(evidence),
        "stage": evidence._stage,
        "round trip": evidence.round_trip if evidence._stage == DONE else None,
    }
    for side, (direction, host) in enumerate(zip(flow.directions, evidence.hosts, strict=True)):
        state |= {f"{side} {name}": getattr(direction, name) for name in Direction.__slots__}
        state |= {f"{side} host {name}": getattr(host, name) for name in Host.__slots__}
        reaction = host.reaction
        state[f"{side} host reaction"] = min(reaction, (1 << 64) - 2)
    return state


def compiled_flow(stage: CompiledSteer, f: int) -> tuple[bytes, State]:
    """The key and what the compiled stage keeps of flow number f."""
    row = stage._flows[f].tolist()
    connection = row[FlowRow.CONNECTION]
    leaf, rest = row[FlowRow.HOME_LEAF], row[FlowRow.HOME_REST]
    state: State = {
        "over": bool(row[FlowRow.STATE] & c.OVER),
        "time": row[FlowRow.TIME],
        "interface": row[FlowRow.INTERFACE],
        "connection": None if connection < 0 else connection,
        "home": (leaf, rest >> 16 & 0xF_FFFF, rest & 0xFFFF, rest >> 36),
        "single": bool(row[FlowRow.SINGLE]),
        "networks": tuple(n for n in row[FlowRow.NETWORKS : FlowRow.NETWORKS + FlowRow.NETWORK_IDS] if n >= 0),
        "judged": read_judged(stage._verdicts([f])[0]),
        "stage": row[FlowRow.STAGE],
        "round trip": row[FlowRow.ROUND_TRIP] % (1 << 64) if row[FlowRow.STAGE] == DONE else None,
    }
    for side in (0, 1):
        start = FlowRow.SIDES + side * SideRow.COLUMNS
        numbers = row[start : start + SideRow.COLUMNS]
        state |= {f"{side} {name}": numbers[column] for name, column in _DIRECTION.items()}
        state |= {f"{side} host {name}": numbers[column] for name, column in _HOST.items()}
        state |= {
            f"{side} host marks": numbers[SideRow.MARKS] & 0xFF,
            f"{side} host bad": (numbers[SideRow.MARKS] & ~c.UNBELIEVED) >> 8,
            f"{side} host unbelieved": bool(numbers[SideRow.MARKS] & c.UNBELIEVED),
        }
        reaction = numbers[SideRow.REACTION]
        state[f"{side} host reaction"] = reaction if reaction == -1 else reaction % (1 << 64)
    size = 4 if row[FlowRow.PORTS] >> 32 == 4 else 8
    words = [row[column] % (1 << 8 * size) for column in (FlowRow.A_HIGH, FlowRow.A_LOW, FlowRow.B_HIGH, FlowRow.B_LOW)]
    if size == 4:
        assert words[0] == words[2] == 0
        words = [words[1], words[3]]
    key = b"".join(word.to_bytes(size, "big") for word in words) + (row[FlowRow.PORTS] & 0xFFFF_FFFF).to_bytes(4, "big")
    return key, state


def order(stage: CompiledSteer, oldest: int, newest: int, older: int, newer: int) -> list[int]:
    """The flows of a list, oldest first; the list is the same in both directions."""
    found, f, before = [], oldest, -1
    while f >= 0:
        assert stage._links[f, older] == before
        found.append(f)
        f, before = int(stage._links[f, newer]), f
    assert newest == before
    return found


class Pair:
    """A plain and a compiled stage, which are given the same and asked for the same."""

    def __init__(self, options: SteerOptions | None = None) -> None:
        self.ledgers = Ledger(), Ledger()
        self.plain = Steer(self.ledgers[0], options)
        self.compiled = CompiledSteer(self.ledgers[1], options)
        self.rows: list[Row] = []

    def batch(self, frames: Numbered) -> None:
        expected = rows_of(self.plain.batch(frames))
        found = rows_of(self.compiled.batch(frames_of(frames)))
        assert found == expected
        self.rows += expected

    def tick(self, time_ns: int, interfaces: Sequence[int] | None = None) -> None:
        expected = rows_of(self.plain.tick(time_ns, interfaces))
        found = rows_of(self.compiled.tick(time_ns, interfaces))
        assert found == expected
        self.rows += expected

    def finish(self) -> None:
        expected = rows_of(self.plain.finish())
        assert rows_of(self.compiled.finish()) == expected
        self.rows += expected

    def check(self) -> None:
        """What must be equal between two calls."""
        assert self.ledgers[1].fates == self.ledgers[0].fates
        assert self.ledgers[1].entered == self.ledgers[0].entered
        assert self.compiled.most_flows == self.plain.most_flows
        self.compiled.refresh()
        plain, compiled = self.plain.connections, self.compiled.connections
        assert [state_of(connection) for connection in compiled] == [state_of(connection) for connection in plain]
        self._check_flows()

    def _check_flows(self) -> None:
        stage, control, table = self.compiled, self.compiled._control, self.plain._table
        used = order(stage, control[Steering.OLDEST], control[Steering.NEWEST], LinkRow.OLDER, LinkRow.NEWER)
        flows = [compiled_flow(stage, f) for f in used]  # several may have one key, in networks of their own
        assert flows == [(flow.key, plain_flow(flow)) for flow in table._by_use]
        assert control[Steering.LIVE] == len(used)
        key_of = {f: compiled_flow(stage, f)[0] for f in used}
        for interface, clock in enumerate(stage._clocks.tolist()):
            ends = clock[ClockRow.OLDEST], clock[ClockRow.NEWEST]
            here = order(stage, *ends, LinkRow.OLDER_HERE, LinkRow.NEWER_HERE)
            assert [key_of[f] for f in here] == [flow.key for flow in table._by_interface.get(interface, {})]
            known = self.plain._clocks.get(interface)
            if known is not None:
                assert clock[: ClockRow.SWEEP_AT] == [known.last, known.now]
                assert clock[ClockRow.SWEEP_AT] == min(known.sweep_at, c.LATEST)

    @property
    def fates(self) -> dict[str, int]:
        fates = self.ledgers[0].fates.items()
        return {name.removeprefix("frame."): n for name, n in fates if name.startswith("frame.")}


def compare(
    frames: Iterable[CapturedFrame], options: SteerOptions | None = None, sizes: Iterable[int] = (), often: bool = False
) -> Pair:
    """Run both over `frames`, in calls of `sizes` frames; `often` compares all that is kept after each call."""
    pair = Pair(options)
    for call in calls(list(enumerate(frames)), sizes):
        pair.batch(call)
        if often:
            pair.check()
    pair.check()
    pair.finish()
    pair.check()
    return pair
