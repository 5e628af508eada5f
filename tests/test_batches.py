"""Records of one call, in bulk and as objects: one order, the same values, and views that copy nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import rxtls
from rxtls.events import Record, RecordClass
from rxtls.host.compiled import columns
from rxtls.host.compiled.columns import Delivered
from rxtls.offload.compiled.arena import Arena
from rxtls.offload.mbuf import Mbuf
from rxtls.path.engines import why_not_compiled
from rxtls.path.records import Records

EXAMPLES = Path(__file__).parents[1] / "examples"
LOSSY = "loss-reorder-tls13-aes256gcm"

pytestmark = pytest.mark.skipif(why_not_compiled() is not None, reason=f"no compiled engine: {why_not_compiled()}")


def run_of(name: str = LOSSY, **options: object) -> rxtls.Replay:
    return rxtls.replay(EXAMPLES / f"{name}.pcap", EXAMPLES / f"{name}.keys", **options)


def test_batches_hold_the_records_of_the_run_in_its_order() -> None:
    wanted = list(run_of(call_size=100))
    found: list[Record] = []
    for batch in run_of(call_size=100).batches():
        records = list(batch)
        assert len(batch) == len(records)
        found += records
    assert found == wanted


def test_views_are_the_same_bytes_until_the_next_call() -> None:
    copies, views = [], []
    for batch in run_of(call_size=100).batches():
        copies += [record.data for record in batch]
        for record in batch.views():
            assert isinstance(record.data, bytes | memoryview)
            views.append(bytes(record.data))
    assert copies == views
    assert any(copies)


def test_bulk_records_are_not_objects_until_asked_for() -> None:
    bulk = objects = 0
    for batch in run_of("clean-tls13-aes128gcm", call_size=100).batches():
        assert batch.rows is not None
        assert len(batch) == len(batch.rows) + len(batch.objects())
        bulk += len(batch.rows)
        objects += len(batch.objects())
    assert bulk > 100
    assert objects > 0  # the handshake


def test_only_the_directions_that_are_wanted() -> None:
    every = list(run_of())
    for receiver in ("server", "client"):
        assert list(run_of(receiver=receiver)) == [record for record in every if record.receiver == receiver]


def record(time_ns: int) -> Record:
    return Record(0, "server", 22, b"", None, RecordClass.LIBRARY, 0, 5, 0, time_ns)


def test_the_order_is_that_of_host_points_and_of_delivery_within_one() -> None:
    """Bulk rows were delivered out of order, as quiet flows' are; an object came after the first row of its point."""
    arena = Arena()
    ends = np.array([-1, -1])
    arena.push(ends, Mbuf(0, b"abcdef", 0, 0, 0x10, [(6, 0, 0)], -1, -1))
    chunk = int(arena.extents[ends[0], 1])

    class Connected:
        def receiver(self, side: int) -> str:
            return ("server", "client")[side]

    rows = np.zeros((3, Delivered.COLUMNS), np.int64)
    for row, (point, at) in zip(rows, ((9, 0), (4, 2), (9, 4)), strict=True):
        row[[Delivered.POINT, Delivered.CHUNK, Delivered.AT, Delivered.LENGTH, Delivered.CLASS]] = (
            point, chunk, at, 2, columns.ENCRYPTED,
        )  # fmt: skip
        row[[Delivered.FLOW, Delivered.COMPOSITION]] = 1, 2
    objects = [((4, 0), record(1)), ((9, 1), record(2)), ((9, 3), record(3))]
    batch = Records({0: Connected()}, objects, rows, arena)  # type: ignore[dict-item]
    assert [each.data or each.time_ns for each in batch] == [1, b"cd", b"ab", 2, b"ef", 3]
    assert {each.receiver for each in batch if each.data} == {"client"}


def test_compositions_are_spelt() -> None:
    spellings = {3: "D", 2: "E", 5: "DE", 4: "ED", 6: "EDE", 7: "DED", 9: "DEDE"}
    assert {code: columns.spelt(code) for code in spellings} == spellings
