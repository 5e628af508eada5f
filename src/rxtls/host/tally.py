"""What one direction came to: records and bytes by class, resynchronisation, the digest of its plaintext."""

from __future__ import annotations

import hashlib
from collections import Counter

from rxtls.events import By, Record, RecordClass

_UNMARKED = (RecordClass.LIBRARY, RecordClass.UNJUDGED, RecordClass.UNKNOWN)  # nothing is known of their marks


class Tally:
    """Counts of one direction. `digest` is None unless asked for."""

    __slots__ = (
        "app_bytes",
        "bytes",
        "compositions",
        "confirmed",
        "confirms",
        "decrypts",
        "digest",
        "discarded",
        "errors",
        "false_anchors",
        "lost",
        "lost_in_gaps",
        "out_of_sync_bytes",
        "out_of_sync_ns",
        "polls",
        "polls_refused",
        "positions",
        "receive_tag_resets",
        "receive_tag_resets_failed",
        "records",
        "recovered_bytes",
        "recovered_records",
        "recrypted",
        "recrypts",
        "regained",
        "stale",
        "unread",
    )

    def __init__(self, digest: bool) -> None:
        self.records: Counter[RecordClass] = Counter()
        self.bytes: Counter[RecordClass] = Counter()  # on the wire: header, payload and trailer
        self.compositions: Counter[str] = Counter()  # of records on the kTLS socket
        self.unread = 0  # of `bytes`, those of records that the TLS library passed over
        self.recrypted = 0
        # What the kernel's crypto was asked for, and what came to nothing, as upstream counts it: whatever it ended in.
        self.decrypts = self.recrypts = self.discarded = 0
        self.recovered_records = 0  # opened behind a hole of the capture,
        self.recovered_bytes = 0  # and the application data in them
        self.app_bytes = 0
        self.digest = hashlib.sha256() if digest else None
        self.lost = 0
        self.lost_in_gaps = 0
        self.out_of_sync_ns = 0
        self.out_of_sync_bytes = 0  # of the stream, from the header that was lost to the one that was absorbed next
        self.polls = 0
        self.polls_refused = 0  # for want of room in the command queue
        self.errors = 0  # commands other than these that could not be carried out: mlx5's rx_error
        self.confirms = 0
        self.positions = 0
        self.confirmed = 0
        self.stale = 0
        self.regained = 0
        self.false_anchors = 0
        self.receive_tag_resets = 0  # done
        self.receive_tag_resets_failed = 0

    def count(self, record: Record) -> None:
        """Take one record in."""
        self.records[record.record_class] += 1
        self.bytes[record.record_class] += record.wire_length
        if record.record_class is RecordClass.LIBRARY and record.by is By.NOBODY:
            self.unread += record.wire_length
        if record.record_class not in _UNMARKED:
            self.compositions[record.composition] += 1
        if record.type == 23 and record.record_class is not RecordClass.FAILED:
            self.app_bytes += len(record.data)
            if self.digest is not None:
                self.digest.update(record.data)
