"""What a kernel did for a direction, told to it in the words of the plain host."""

from __future__ import annotations

import numpy as np

from rxtls.events import RecordClass
from rxtls.host.compiled import columns as record
from rxtls.host.compiled import state
from rxtls.host.compiled.columns import NUMBER, REPORT, REPORTED, SYNC_BACK, TCP_SEQ, WIRE_LENGTH
from rxtls.host.compiled.moves import Row
from rxtls.host.direction import Direction
from rxtls.host.flow import count_regained
from rxtls.host.worker import APPLICATION_DATA
from rxtls.native.shapes import Array
from rxtls.offload.commands import Report
from rxtls.offload.compiled.arena import Arena
from rxtls.seq import MASK

# By the classes of columns.py.
_CLASSES = (
    RecordClass.DECRYPTED,
    RecordClass.MIXED,
    RecordClass.ENCRYPTED,
    RecordClass.FAILED,
    RecordClass.UNJUDGED,
)


def fold(direction: Direction, own: Row) -> None:
    """Enter the counts on the row since the last time into tally and ledger."""
    counts = own[state.DUPLICATE :].tolist()
    own[state.DUPLICATE :] = 0
    tally, ledger = direction.tally, direction.ledger
    counted = dict(enumerate(counts, state.DUPLICATE))
    ledger.fate("byte.duplicate", counted[state.DUPLICATE])
    ledger.fate("byte.out_of_window", counted[state.OUT_OF_WINDOW])
    tally.recrypted += counted[state.RECRYPTED]
    tally.decrypts += counted[state.DECRYPTS]
    tally.recrypts += counted[state.RECRYPTS]
    tally.discarded += counted[state.RECORDS + record.FAILED]
    tally.app_bytes += counted[state.APP_BYTES]
    if direction.gaps:
        opened = counts[state.RECORDS - state.DUPLICATE : state.BYTES - state.DUPLICATE]
        tally.recovered_records += sum(opened) - opened[record.FAILED]
        tally.recovered_bytes += counted[state.APP_BYTES]
    for code, record_class in enumerate(_CLASSES):
        records, octets = counted[state.RECORDS + code], counted[state.BYTES + code]
        if records:
            ledger.enter("record", records)
            ledger.fate(f"record.{record_class}", records)
            ledger.fate("byte.record", octets)
            tally.records[record_class] += records
            tally.bytes[record_class] += octets
    for composition in range(state.MOST_COMPOSITIONS):
        if counted[state.COMPOSITIONS + composition]:
            tally.compositions[record.spelt(composition)] += counted[state.COMPOSITIONS + composition]


def note(direction: Direction, own: Row, noted: int, rows: Array, arena: Arena) -> None:
    """What a kernel said when it served the direction (state.py), and the records that came of it."""
    if noted & state.LEAF_CHANGED:
        direction.leaf = int(own[state.NEW_LEAF])
        own[state.NEW_LEAF] = -1
    if noted & state.REPORTS and direction.receive_tag is not None:
        direction.reports += _reports(rows)
    if direction.losses or direction.ahead:
        for record_class, tcp_seq in rows[:, record.CLASS : TCP_SEQ + 1].tolist():
            if record_class == record.DECRYPTED:
                count_regained(direction, tcp_seq)
    if direction.tally.digest is not None:
        for n in np.flatnonzero(rows[:, record.TYPE] == APPLICATION_DATA).tolist():
            where = rows[n, record.CHUNK : record.LENGTH + 1].tolist()
            direction.tally.digest.update(arena.bytes(*where))
    if noted & state.LONG:
        for composition in rows[:, record.COMPOSITION].tolist():
            if composition >= state.MOST_COMPOSITIONS:
                direction.tally.compositions[record.spelt(composition)] += 1


def _reports(rows: Array) -> list[Report]:
    """What these records have to tell the policy."""
    reports = []
    for row in rows.tolist():
        if row[REPORT] == REPORTED:
            reports.append(Report(row[TCP_SEQ], row[WIRE_LENGTH], row[NUMBER], row[record.CLASS] == record.MIXED))
        elif row[REPORT] == SYNC_BACK:
            reports.append(Report((row[TCP_SEQ] + row[WIRE_LENGTH]) & MASK, 0, row[NUMBER]))
    return reports
