"""Records as one call to the path delivered them: columns where they came in bulk, objects where not, one order.

    for record in records            each a Record with bytes of its own
    for record in records.views()    the same, but `data` is a view that is good only until the next call
    records.table()                  all of them as int64 columns (below), in order, without their bytes
    records.rows                     int64 columns (host/compiled/columns.py) of those that came in bulk, nothing made

Order is that of the host points which completed the records, whichever connection was served first; or, where that was
asked for (PathOptions.by_completion), that of completion.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from rxtls.driver.trace import Trace
from rxtls.events import Record, RecordClass
from rxtls.host.compiled.columns import CLASSES as BULK_CLASSES
from rxtls.host.compiled.columns import Delivered, coded, spelt
from rxtls.host.flow import Flow
from rxtls.path.completion import Held, by_completion

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from rxtls.offload.compiled.arena import Arena

    Rows = npt.NDArray[np.int64]

# Host point, and how many bulk records of this call came before the object did.
Place = tuple[int, int]

CLASSES = list(RecordClass)
RECEIVERS = ("server", "client")

# Columns of `Records.table`.
CONNECTION = 0
RECEIVER = 1  # place in RECEIVERS
TYPE = 2
NUMBER = 3  # 64 bits as int64 has them
NUMBERED = 4  # 0: the record has no number
CLASS = 5  # place in CLASSES
COMPOSITION = 6  # as in host/compiled/columns.py
TCP_SEQ = 7
WIRE_LENGTH = 8
LENGTH = 9  # of the plaintext
RECRYPTED = 10
EARLY_DATA = 11
FRAME = 12
TIME = 13
TABLE_COLUMNS = 14

_BULK = (  # what bulk rows have as it is
    (CONNECTION, Delivered.FLOW), (TYPE, Delivered.TYPE), (NUMBER, Delivered.NUMBER),
    (COMPOSITION, Delivered.COMPOSITION), (TCP_SEQ, Delivered.TCP_SEQ), (WIRE_LENGTH, Delivered.WIRE_LENGTH),
    (LENGTH, Delivered.LENGTH), (RECRYPTED, Delivered.RECRYPTED), (FRAME, Delivered.FRAME), (TIME, Delivered.TIME),
)  # fmt: skip
_BULK_CLASS = [CLASSES.index(each) for each in BULK_CLASSES]
_NUMBERS = 1 << 64


class Records:
    """The records of one call. `flows` are the path's; `rows` are in the order in which they were delivered; `trace` is
    what else was to be seen (driver/trace.py), if that was asked for. With `held` the order is that of completion."""

    __slots__ = ("_arena", "_flows", "_held", "_objects", "rows", "trace")

    def __init__(
        self,
        flows: Mapping[int, Flow],
        objects: list[tuple[Place, Record]],
        rows: Rows | None = None,
        arena: Arena | None = None,
        trace: Trace | None = None,
        held: Held | None = None,
    ) -> None:
        self._held = held
        self._flows = flows
        self._objects = objects
        self.rows = rows
        self._arena = arena
        self.trace = trace

    def __len__(self) -> int:
        return len(self._objects) + (0 if self.rows is None else len(self.rows))

    def __iter__(self) -> Iterator[Record]:
        return self._walk(bytes)

    def views(self) -> Iterator[Record]:
        """Records whose `data` may be a memoryview, good until the path is called again."""
        return self._walk(_as_it_is)

    def objects(self) -> list[Record]:
        """Those that did not come in bulk."""
        return [record for _, record in self._objects]

    def table(self) -> Rows:
        """All of them as int64, of shape (n, TABLE_COLUMNS), in order."""
        import numpy as np

        rows = np.zeros((0, Delivered.COLUMNS), np.int64) if self.rows is None else self.rows
        n, m = len(rows), len(self._objects)
        table = np.zeros((n + m, TABLE_COLUMNS), np.int64)
        if n:
            for to, source in _BULK:
                table[:n, to] = rows[:, source]
            table[:n, CONNECTION] >>= 1
            table[:n, CLASS] = np.take(_BULK_CLASS, rows[:, Delivered.CLASS])
            table[:n, NUMBERED] = 1
            receivers = {
                flow: RECEIVERS.index(self._flows[flow >> 1].receiver(flow & 1))
                for flow in set(rows[:, Delivered.FLOW].tolist())
            }
            table[:n, RECEIVER] = [receivers[flow] for flow in rows[:, Delivered.FLOW].tolist()]
        for at, (_, record) in enumerate(self._objects, n):
            table[at] = _row(record)
        return table[self._order()]

    def _order(self) -> Rows:
        """The records' places in their order: rows first, and behind them the objects."""
        import numpy as np

        rows = np.zeros((0, Delivered.COLUMNS), np.int64) if self.rows is None else self.rows
        delivered = np.array([*range(1, len(rows) + 1), *(place[1] for place, _ in self._objects)], np.int64)
        points = np.concatenate((rows[:, Delivered.POINT], [place[0] for place, _ in self._objects])).astype(np.int64)
        if self._held is None:
            return np.lexsort((delivered, points))
        if self._objects:  # of those that came between the same two rows, host points tell which came first
            delivered = np.argsort(np.lexsort((np.where(np.arange(len(points)) < len(rows), -2, points), delivered)))
        mine = [(2 * record.flow + self._side(record), record.frame) for _, record in self._objects]
        objects = np.array(mine, np.int64).reshape(-1, 2)
        return by_completion(
            np.concatenate((rows[:, Delivered.FLOW], objects[:, 0])),
            delivered,
            np.concatenate((rows[:, Delivered.FRAME], objects[:, 1])),
            np.concatenate((self._held[0], np.array(self._held[1], np.int64))),
        )

    def _side(self, record: Record) -> int:
        """Who sent it."""
        client = self._flows[record.flow].client_side
        return client if record.receiver == "server" else 1 - client

    def only(self, wanted: Callable[[Flow, int], bool]) -> Records:
        """Those of the directions, as (flow, sender's side), that are wanted."""
        these = [wanted(self._flows[record.flow], self._side(record)) for _, record in self._objects]
        objects = [each for each, kept in zip(self._objects, these, strict=True) if kept]
        rows, held = self.rows, self._held
        if held is not None:
            held = held[0], [each for each, kept in zip(held[1], these, strict=True) if kept]
        if rows is not None and len(rows):
            kept = {flow_id: wanted(self._flows[flow_id >> 1], flow_id & 1) for flow_id in set(rows[:, 0].tolist())}
            mask = [kept[flow_id] for flow_id in rows[:, 0].tolist()]
            # An object's place counts the rows before it: those that stay.
            before = [0, *accumulate(mask)]
            objects = [((point, before[min(n, len(mask))]), record) for (point, n), record in objects]
            rows = rows[mask]
            held = held and (held[0][mask], held[1])
        trace = self.trace and self.trace.only(lambda flow_id: wanted(self._flows[flow_id >> 1], flow_id & 1))
        return Records(self._flows, objects, rows, self._arena, trace, held)

    def _walk(self, give: Callable[[Any], Any]) -> Iterator[Record]:
        if not len(self):
            return
        if self._held is None and (self.rows is None or not len(self.rows)):
            for _, record in sorted(self._objects, key=itemgetter(0)):
                yield record
            return
        rows = [] if self.rows is None else self.rows.tolist()
        count = len(rows)
        for n in self._order().tolist():
            yield self._record(rows[n], give) if n < count else self._objects[n - count][1]

    def _record(self, row: list[int], give: Callable[[Any], Any]) -> Record:
        (
            flow_id, type_, number, class_code, tcp_seq, wire_length, frame, time_ns, composition, chunk, at, length,
            _, recrypted, *_,
        ) = row  # fmt: skip
        assert self._arena is not None
        data = give(self._arena.bytes(chunk, at, length)) if length else b""
        return Record(
            flow_id >> 1,
            self._flows[flow_id >> 1].receiver(flow_id & 1),
            type_,
            data,
            number,
            BULK_CLASSES[class_code],
            tcp_seq,
            wire_length,
            frame,
            time_ns,
            spelt(composition),
            recrypted=recrypted,
        )


def _row(record: Record) -> tuple[int, ...]:
    """One record as a row of `Records.table`."""
    number = ((record.number or 0) + _NUMBERS // 2) % _NUMBERS - _NUMBERS // 2
    return (
        record.flow, RECEIVERS.index(record.receiver), record.type, number, int(record.number is not None),
        CLASSES.index(record.record_class), coded(record.composition), record.tcp_seq, record.wire_length,
        len(record.data), record.recrypted, int(record.early_data), record.frame, record.time_ns,
    )  # fmt: skip


def _as_it_is(view: Any) -> Any:
    return view
