"""The TLS library behind its handshake, where nobody else can decrypt: TLS inside frames that only it takes apart.

kTLS reads records off the socket's stream. In frames there are none (wrapping.py), so receive is never enabled: the
library opens each record itself, with the keys that it would have handed over.
"""

from __future__ import annotations

from collections.abc import Callable

from rxtls.crypto.keys import Keys
from rxtls.crypto.records import Opener
from rxtls.errors import RecordError
from rxtls.handshake.steps import Hold, LibraryRecord, Refuse, Rekey, Step, refuse
from rxtls.wire import tls
from rxtls.wire.tls import MalformedError


class Inside:
    """One side's records, from `number` on."""

    __slots__ = ("_number", "_opener")

    def __init__(self, keys: Keys, number: int) -> None:
        self.rekey(keys, number)

    def rekey(self, keys: Keys, number: int) -> None:
        """The next record has this number under these keys."""
        self._opener, self._number = Opener(keys), number

    def read(self, data: bytes, hear: Callable[[int, bytes], Rekey | Hold | Refuse | None]) -> Step:
        """The whole records at hand. `hear` is told of each that is not application data, and may change the keys."""
        at, records, action = 0, [], None
        try:
            while action is None and (header := tls.record_header(data, at)) is not None:
                end = at + tls.RECORD_HEADER + header[2]
                if end > len(data):
                    break
                records.append(self.open(data[at:end]))
                at = end
                reply = None
                if records[-1].type != tls.APPLICATION_DATA:
                    reply = hear(records[-1].type, records[-1].payload)
                if isinstance(reply, Rekey):
                    self.rekey(reply.keys, reply.number)
                elif isinstance(reply, Hold):
                    break
                action = reply if isinstance(reply, Refuse) else None
        except MalformedError as error:
            action = refuse("handshake_malformed", str(error))
        return Step(at, tuple(records), action)

    def open(self, record: bytes) -> LibraryRecord:
        """The next record, whole; `failed` if it does not authenticate."""
        number = self._number
        self._number += 1
        try:
            opened = self._opener.open(number, record)
        except RecordError:
            return LibraryRecord(0, b"", number, len(record), failed=True)
        return LibraryRecord(opened.type, opened.payload, number, len(record))
