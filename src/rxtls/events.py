"""What comes out of the path: one `Record` per TLS record, in stream order for each direction.

The names here are the ones every report uses. `By` says who decrypted a record, which is the question this project
exists to answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple


class By(StrEnum):
    """Who turned a record into plaintext."""

    DEVICE = "device"  # the NIC, in full: record class "decrypted"
    RECRYPT = "recrypt"  # the NIC in part; the host re-encrypted that part and opened the whole: "mixed"
    HOST = "host"  # the host, in software: "encrypted"
    LIBRARY = "library"  # the TLS library, before receive was enabled on the socket
    NOBODY = "nobody"  # it did not authenticate: "failed"; it is not all there: "unknown"; the library passed it over


class RecordClass(StrEnum):
    """The disjoint classes of records, as in JSON's `records` and in the fates `record.*`."""

    DECRYPTED = "decrypted"
    MIXED = "mixed"
    ENCRYPTED = "encrypted"
    UNJUDGED = "unjudged"
    FAILED = "failed"
    UNKNOWN = "unknown"
    LIBRARY = "library"

    @property
    def by(self) -> By:
        """Who turns a record of this class into plaintext, if anybody does."""
        return _OPENER[self]


_OPENER = {
    RecordClass.DECRYPTED: By.DEVICE,
    RecordClass.MIXED: By.RECRYPT,
    RecordClass.ENCRYPTED: By.HOST,
    RecordClass.UNJUDGED: By.HOST,
    RecordClass.FAILED: By.NOBODY,
    RecordClass.UNKNOWN: By.NOBODY,
    RecordClass.LIBRARY: By.LIBRARY,
}


@dataclass(slots=True)
class Record:
    """One TLS record as its receiver got it.

    `flow` is the id of its connection, as in the JSON of a run. `type` is the inner content type in TLS 1.3 (20
    change_cipher_spec, 21 alert, 22 handshake, 23 application_data), and 0 of a record that nobody opened. `number` is
    the TLS record sequence number under the key in force, None where no key was (plaintext handshake). `tcp_seq` is the
    TCP sequence number of the first header byte; `wire_length` counts header, payload and trailer.
    `frame` is the global index of the frame that completed the record, `time_ns` its capture time.
    `recrypted` bytes of it the NIC had decrypted, and the host turned back.
    `composition` spells which stretches of the record the NIC had decrypted ("D", "E", "DE", "EDE", ...; "?" where
    that cannot be known).
    `data` is the authenticated plaintext, empty for records nobody authenticated; it stays out of repr on purpose.
    """

    flow: int
    receiver: str  # "server" or "client": the host at which this record arrived
    type: int
    data: bytes = field(repr=False)
    number: int | None
    record_class: RecordClass
    tcp_seq: int
    wire_length: int
    frame: int
    time_ns: int
    composition: str = "E"
    early_data: bool = False
    recrypted: int = 0

    @property
    def by(self) -> By:
        """Who turned it into plaintext. A record has a type once somebody has."""
        return self.record_class.by if self.type else By.NOBODY


@dataclass(slots=True)
class Gap(Record):
    """Where the capture lacks bytes of a direction: one event for all records that are not whole, in their place.

    `number` is the first of them, `records` how many there are. `tcp_seq` is where the first one begins, `wire_length`
    counts from there to where the stream goes on, of which `missing` bytes are not in the capture. `payload` is how
    many bytes of plaintext records of that size hold, if none is padded. `frame` is the first frame behind.
    """

    records: int = 0
    missing: int = 0
    payload: int = 0


class PathChange(NamedTuple):
    """Packets of a direction came by another interface than its receive tag was on, or had been asked for on.

    `frame` is the global index of the frame at whose host point the driver acted, `time_ns` its capture time. `was` and
    `now` are names of interfaces. `cause` is a key of PATH_CHANGES; `result` is "done", or why there could be no
    receive tag on `now`, as a code of JSON's why.
    """

    frame: int
    time_ns: int
    was: str
    now: str
    cause: str
    result: str


PATH_CHANGES: dict[str, str] = {
    "moved": "packets came by another interface than before",
    "route": "packets came by another interface than the route back to the peer names",
    "detached": "the interface before was detached",
}
DONE = "done"
