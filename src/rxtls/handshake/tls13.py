"""The TLS 1.3 handshake of one side, from its first encrypted record to its application keys, and those that follow.

Records of the outer type application_data are all there is to see, so the stage says which key is tried:

    stage       key tried                        goes on when
    BEGIN       -                                the other side has said enough (client: the server's hello; with early
                                                 data, whether it was accepted)
    EARLY       client early traffic secret      EndOfEarlyData, or a record that the handshake secret opens: early data
                                                 that the server rejected are records that it skips in just this way
                                                 (RFC 8446, RFC 9846 section 4.2.10)
    HANDSHAKE   handshake traffic secret         Finished: receive is enabled with the application secret at number 0
    CHOOSE      each application secret there    the first record opens: receive is enabled with the one that opened it.
                is, number 0                     Where a log has but one, which is usual, nobody need wait for a record
    SEARCH      application secret, number 0     a record opens: receive is enabled at that record. For key logs without
                                                 handshake secrets, and behind a damaged record; what comes before is
                                                 the library's, unread
    DONE        -                                -

Not good: whether early data was accepted stands in EncryptedExtensions. With a key log that cannot open that, but has
the early secret, early data under a pre-shared key that the server took is believed to be accepted.
"""

from __future__ import annotations

from enum import Enum, auto

from rxtls.crypto.keys import Keys
from rxtls.crypto.records import Opened, Opener
from rxtls.crypto.schedule import tls13_keys, tls13_next_secret
from rxtls.crypto.suites import Suite
from rxtls.errors import RecordError
from rxtls.handshake.exchange import CLIENT, HELLO, SERVER, Role
from rxtls.handshake.library import generation
from rxtls.handshake.session import APPLICATION_LABEL, EARLY, HANDSHAKE_LABEL, Session, Side
from rxtls.handshake.steps import BLOCKED, Action, Enable, LibraryRecord, Refuse, Rekey, Taken, refuse
from rxtls.wire import tls
from rxtls.wire.tls import MalformedError

# Early data are skipped or read, never held. Servers take 16 KiB (OpenSSL, nginx) to a few MiB; a stream that goes on
# for longer without a record that opens has the wrong keys.
EARLY_LIMIT = 16 * 1024 * 1024

_LAST = (tls.FINISHED, tls.END_OF_EARLY_DATA)  # the keys change behind them


class Stage(Enum):
    """Which key the next record is tried with."""

    BEGIN = auto()
    EARLY = auto()
    HANDSHAKE = auto()
    CHOOSE = auto()
    SEARCH = auto()
    DONE = auto()


_BEGIN, _EARLY, _HANDSHAKE, _CHOOSE, _SEARCH, _DONE = Stage


class Reader13:
    """Reads one side's encrypted records until receive is enabled."""

    encrypted = False  # plaintext records may stand between: ChangeCipherSpec, alerts, a second hello

    __slots__ = (
        "_application",
        "_handshake",
        "_number",
        "_opener",
        "_role",
        "_secret",
        "_session",
        "_side",
        "_skipped",
        "_stage",
    )

    def __init__(self, session: Session, side: Side, role: Role) -> None:
        self._session = session
        self._side = side
        self._role = role
        self._handshake = HANDSHAKE_LABEL[role]
        self._application = APPLICATION_LABEL[role]
        self._stage = _BEGIN
        self._opener: Opener | None = None  # of the stage's key, once a record has been opened with it
        self._number = 0
        self._skipped = 0
        self._secret: bytes | None = None  # the application traffic secret in force

    def take(self, kind: int, record: bytes, alone: bool) -> Taken:
        """Take the next encrypted record. `alone`: the other side will say no more than it has.

        Raises MalformedError for what the protocol forbids.
        """
        if kind != tls.APPLICATION_DATA:
            raise MalformedError(f"a record of type {kind} in a TLS 1.3 handshake")
        exchange = self._session.exchange
        if self._role is CLIENT and exchange.retried and exchange.places[CLIENT] == HELLO:
            return self._skip(len(record), early_data=True)  # sent before the HelloRetryRequest came
        if self._stage is _BEGIN:
            if self._role is CLIENT and not alone and self._undecided():
                return BLOCKED
            if self._session.secret(self._handshake) is None and self._session.secret(self._application) is None:
                return None, self._session.missing(self._side)
            offered = self._role is CLIENT and exchange.client is not None and exchange.client.early_data
            self._stage = _EARLY if offered and not exchange.retried else _HANDSHAKE
        if self._stage is _EARLY:
            return self._early(record)
        if self._stage is _HANDSHAKE:
            return self._in_handshake(record)
        if self._stage is _CHOOSE:
            return self._choose(record)
        return self._search(record)

    def fruitless(self, *, ended: bool) -> Refuse | None:
        """The blame on the keys, if records are only being tried and none has opened.

        When it `ended` so, a side of which only the application secret is known may just never have sent application
        data; then there is nothing to blame.
        """
        if self._stage is _CHOOSE and ended:
            return refuse("no_data")  # it had nothing to say behind its Finished
        if self._stage is not _SEARCH:
            return None
        if ended and self._session.known and self._session.secret(self._handshake) is None:
            return None
        return self._session.wrong()

    def pending(self) -> Action | None:
        """Once Finished was read: Enable, or what to do for want of the application secret."""
        if self._stage is not _DONE:
            return None
        self._secret = self._session.secret(self._application)
        if self._secret is None:
            return self._session.missing(self._side)
        if self._session.several(self._application):
            self._stage = _CHOOSE
            return None
        return Enable(tls13_keys(self._suite, self._secret), 0)

    def post_handshake(self, type: int, payload: bytes) -> Rekey | None:  # noqa: A002
        """Take a record that was opened after receive was enabled; a KeyUpdate gives the keys that follow it.

        Raises MalformedError when a KeyUpdate is not the last thing in its record: the keys change with it (RFC 8446,
        RFC 9846 section 5.1).
        """
        if type != tls.HANDSHAKE:
            return None
        messages = self._side.messages.feed(payload)
        for message in messages:
            if message.type != tls.KEY_UPDATE:
                continue  # NewSessionTicket, or authentication after the handshake: no keys change
            tls.key_update(message.body)
            if message is not messages[-1] or self._side.messages.unfinished:
                raise MalformedError("a KeyUpdate that does not end its record")
            return self.updated()
        return None

    def begin_late(self, secret: bytes) -> None:
        """The application traffic secret in force was found; nothing of the handshake is going to be read."""
        self._secret = secret
        self._stage = _DONE

    def following(self, updates: int) -> Keys | None:
        """The keys so many KeyUpdates on."""
        if self._secret is None:
            return None
        return tls13_keys(self._suite, generation(self._suite, self._secret, updates))

    def updated(self) -> Rekey:
        """There was a KeyUpdate that nobody saw."""
        assert self._secret is not None
        self._secret = tls13_next_secret(self._suite, self._secret)
        return Rekey(tls13_keys(self._suite, self._secret))

    @property
    def _suite(self) -> Suite:
        assert self._session.suite is not None
        return self._session.suite

    def _undecided(self) -> bool:
        """The client's records cannot be placed yet: no ServerHello, or unknown whether early data was accepted."""
        exchange = self._session.exchange
        if exchange.server is None:
            return True
        offered = exchange.client is not None and exchange.client.early_data
        return offered and exchange.early_accepted is None and not self._session.server_searches

    def _early(self, record: bytes) -> Taken:
        exchange = self._session.exchange
        if exchange.early_accepted is not False:
            opened = self._open(EARLY, record)
            if opened is not None:
                return self._early_record(opened, len(record))
        opened = self._begin(self._handshake, record)
        if opened is not None:
            self._stage = _HANDSHAKE
            return self._handshake_record(opened, len(record))
        if self._session.secret(self._handshake) is None:
            return self._search(record)
        if exchange.early_accepted and self._opener is not None:
            self._number += 1  # it counts although it failed
        return self._skip(len(record), early_data=True, failed=exchange.early_accepted is True)

    def _early_record(self, opened: Opened, length: int) -> Taken:
        number = self._number
        self._number += 1
        if opened.type == tls.HANDSHAKE:
            self._messages(opened.payload)
        elif opened.type == tls.ALERT:
            self._session.note(tls.alert(opened.payload))
        elif opened.type not in (tls.APPLICATION_DATA, tls.HEARTBEAT):
            raise MalformedError(f"a record of type {opened.type} among early data")
        if self._session.exchange.places[CLIENT] != HELLO:  # EndOfEarlyData: the last under these keys
            self._stage = _HANDSHAKE
            self._opener = None
        taken = LibraryRecord(opened.type, opened.payload, number, length, opened.type == tls.APPLICATION_DATA)
        return taken, self._bounded(length)

    def _in_handshake(self, record: bytes) -> Taken:
        opened = self._open(self._handshake, record)
        if opened is not None:
            return self._handshake_record(opened, len(record))
        if self._session.secret(self._application) is None:
            return None, self._session.wrong()
        self._stage = _SEARCH
        if self._role is SERVER:
            self._session.server_searches = True
        if self._opener is None:
            return self._search(record)
        # These keys have opened a record before, so this one is damaged. What is behind it is the library's, unread.
        return LibraryRecord(0, b"", self._number, len(record), failed=True), None

    def _handshake_record(self, opened: Opened, length: int) -> Taken:
        kind, payload = opened
        number = self._number
        self._number += 1
        if kind == tls.HANDSHAKE:
            self._messages(payload)
        elif kind == tls.ALERT:
            self._session.note(tls.alert(payload))
        elif kind != tls.HEARTBEAT:
            raise MalformedError(f"a record of type {kind} before Finished")
        taken = LibraryRecord(kind, payload, number, length)
        if not self._session.exchange.finished(self._role):
            return taken, None
        self._stage = _DONE
        self._opener = None
        return taken, self.pending()

    def _messages(self, payload: bytes) -> None:
        messages = self._side.messages.feed(payload)
        for message in messages:
            self._session.exchange.message(self._role, message)
            if message.type in _LAST and (message is not messages[-1] or self._side.messages.unfinished):
                raise MalformedError(f"{tls.message_name(message.type)} does not end its record")

    def _search(self, record: bytes) -> Taken:
        unlocked = self._session.unlock13(self._application, record)
        if unlocked is None:
            return LibraryRecord(0, b"", None, len(record)), None
        self._stage = _DONE
        return None, self.pending()

    def _choose(self, record: bytes) -> Taken:
        if self._session.unlock13(self._application, record) is None:
            return None, self._session.wrong()
        self._stage = _DONE
        return None, self.pending()

    def _skip(self, length: int, *, early_data: bool, failed: bool = False) -> Taken:
        record = LibraryRecord(0, b"", None, length, early_data, failed)
        return record, self._bounded(length)

    def _bounded(self, length: int) -> Refuse | None:
        self._skipped += length
        return None if self._skipped <= EARLY_LIMIT else refuse("wrong_keys", f"{EARLY_LIMIT} bytes of early data")

    def _open(self, label: str, record: bytes) -> Opened | None:
        """Open the next record of a stage, which `label`'s secret may never have opened yet."""
        if self._opener is None:
            return self._begin(label, record)
        try:
            return self._opener.open(self._number, record)
        except RecordError:
            return None

    def _begin(self, label: str, record: bytes) -> Opened | None:
        unlocked = self._session.unlock13(label, record)
        if unlocked is None:
            return None
        self._opener, self._number = unlocked.opener, 0
        return unlocked.opened
