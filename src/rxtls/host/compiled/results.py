"""What a kernel did for a direction, told to it in the words of the plain host."""

from __future__ import annotations

import numpy as np

from rxtls.host.compiled import columns as record
from rxtls.host.compiled import state
from rxtls.host.compiled.columns import REPORTED, SYNC_BACK, Delivered
from rxtls.host.compiled.state import Own
from rxtls.host.direction import Direction
from rxtls.host.flow import count_regained
from rxtls.host.worker import APPLICATION_DATA
from rxtls.native.shapes import Array
from rxtls.offload.commands import Report
from rxtls.offload.compiled.arena import Arena
from rxtls.seq import MASK


def fold(direction: Direction, own: Array) -> None:
    """Enter the counts on the row since the last time into tally and ledger."""
    counts = own[Own.DUPLICATE :].tolist()
    own[Own.DUPLICATE :] = 0
    tally, ledger = direction.tally, direction.ledger
    counted = dict(enumerate(counts, Own.DUPLICATE))
    ledger.fate("byte.duplicate", counted[Own.DUPLICATE])
    ledger.fate("byte.out_of_window", counted[Own.OUT_OF_WINDOW])
    tally.recrypted += counted[Own.RECRYPTED]
    tally.decrypts += counted[Own.DECRYPTS]
    tally.recrypts += counted[Own.RECRYPTS]
    tally.discarded += counted[Own.RECORDS + record.FAILED]
    tally.app_bytes += counted[Own.APP_BYTES]
    if direction.gaps:
        opened = counts[Own.RECORDS - Own.DUPLICATE : Own.BYTES - Own.DUPLICATE]
        tally.recovered_records += sum(opened) - opened[record.FAILED]
        tally.recovered_bytes += counted[Own.APP_BYTES]
    for code, record_class in enumerate(record.CLASSES):
        records, octets = counted[Own.RECORDS + code], counted[Own.BYTES + code]
        if records:
            ledger.enter("record", records)
            ledger.fate(f"record.{record_class}", records)
            ledger.fate("byte.record", octets)
            tally.records[record_class] += records
            tally.bytes[record_class] += octets
    for composition in range(Own.MOST_COMPOSITIONS):
        if counted[Own.COMPOSITIONS + composition]:
            tally.compositions[record.spelt(composition)] += counted[Own.COMPOSITIONS + composition]


def note(direction: Direction, own: Array, noted: int, rows: Array, arena: Arena) -> None:
    """What a kernel said when it served the direction (state.py), and the records that came of it."""
    if noted & state.LEAF_CHANGED:
        direction.leaf = int(own[Own.NEW_LEAF])
        own[Own.NEW_LEAF] = -1
    if noted & state.REPORTS and direction.receive_tag is not None:
        direction.reports += _reports(rows)
    if direction.losses or direction.ahead:
        for record_class, tcp_seq in rows[:, Delivered.CLASS : Delivered.TCP_SEQ + 1].tolist():
            if record_class == record.DECRYPTED:
                count_regained(direction, tcp_seq)
    if direction.tally.digest is not None:
        for n in np.flatnonzero(rows[:, Delivered.TYPE] == APPLICATION_DATA).tolist():
            where = rows[n, Delivered.CHUNK : Delivered.LENGTH + 1].tolist()
            direction.tally.digest.update(arena.bytes(*where))
    if noted & state.LONG:
        for composition in rows[:, Delivered.COMPOSITION].tolist():
            if composition >= Own.MOST_COMPOSITIONS:
                direction.tally.compositions[record.spelt(composition)] += 1


def _reports(rows: Array) -> list[Report]:
    """What these records have to tell the policy."""
    reports = []
    for row in rows.tolist():
        if row[Delivered.REPORT] == REPORTED:
            reports.append(
                Report(
                    row[Delivered.TCP_SEQ],
                    row[Delivered.WIRE_LENGTH],
                    row[Delivered.NUMBER],
                    row[Delivered.CLASS] == record.MIXED,
                )
            )
        elif row[Delivered.REPORT] == SYNC_BACK:
            reports.append(
                Report((row[Delivered.TCP_SEQ] + row[Delivered.WIRE_LENGTH]) & MASK, 0, row[Delivered.NUMBER])
            )
    return reports
