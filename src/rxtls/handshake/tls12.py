"""TLS 1.2 and 1.1: from ChangeCipherSpec to Finished, and again in each renegotiation.

A side's ChangeCipherSpec puts the keys in force that hello and key exchange have made; its Finished is record 0 under
them, and receive is enabled behind it, at number 1 (RFC 5246 sections 7.1 and 6.1). In a renegotiation all of that is
sent under the old keys, and the kTLS worker opens it: ChangeCipherSpec gives a Rekey at number 0, or a Hold while the
other side's half of the exchange has not been read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from enum import Enum, auto

from rxtls.crypto.keys import Keys
from rxtls.crypto.records import Opened, Opener
from rxtls.crypto.schedule import master_from_premaster, tls12_keys
from rxtls.crypto.suites import Suite, Version
from rxtls.errors import RecordError
from rxtls.handshake.exchange import CCS, HELLO, Exchange, Role
from rxtls.handshake.session import Session, Side
from rxtls.handshake.steps import BLOCKED, Enable, LibraryRecord, Taken
from rxtls.wire import keylog, tls
from rxtls.wire.keylog import KeyLog
from rxtls.wire.tls import MalformedError


class Missing(Enum):
    """What stands between an exchange and its keys."""

    SECRET = auto()  # the key log has none for it
    MESSAGES = auto()  # the other side has more to say first


def masters(
    log: KeyLog, exchange: Exchange, version: Version, chosen: Suite, role: Role, every: bool = False
) -> list[bytes] | Missing:
    """The master secrets that an exchange may have of which both hellos have been read, as `role` changes to its keys.

    They are looked up by client random, and by session id. Where there is none, or `every` one is wanted, they are made
    from premaster secrets, too, for which ClientKeyExchange is needed.
    """
    client, server = exchange.client, exchange.server
    if client is None or server is None:
        return Missing.MESSAGES
    if exchange.master is not None:
        return [exchange.master]
    found = [*log.secrets(client.random, keylog.CLIENT_RANDOM), *log.masters_of(server.session_id)]
    if found and not every:
        return found
    premasters = list(log.secrets(client.random, keylog.PMS_CLIENT_RANDOM))
    if log.has_premasters and exchange.encrypted_premaster is not None:
        premasters += log.premasters_of(exchange.encrypted_premaster)
    messages = exchange.session_messages()
    if messages is not None:
        session_hash = _session_hash(version, chosen, messages) if server.extended_master_secret else None
        found += [
            master_from_premaster(chosen, version, each, client.random, server.random, session_hash)
            for each in premasters
        ]
    elif not found and (premasters or log.has_premasters) and not _resumes(exchange, role):
        # A resumed session has no ClientKeyExchange; its premaster secret was another connection's.
        return Missing.MESSAGES
    return found or Missing.SECRET


def write_keys(exchange: Exchange, version: Version, chosen: Suite, master: bytes) -> tuple[Keys, Keys]:
    """(client write, server write) of an exchange of which both hellos have been read."""
    client, server = exchange.client, exchange.server
    assert client is not None
    assert server is not None
    return tls12_keys(chosen, version, master, client.random, server.random, server.encrypt_then_mac)


class Reader12:
    """Reads one side's ChangeCipherSpec and what follows it, until receive is enabled."""

    __slots__ = ("_keys", "_master", "_number", "_opener", "_role", "_session", "_side")

    def __init__(self, session: Session, side: Side, role: Role) -> None:
        self._session = session
        self._side = side
        self._role = role
        self._keys: Keys | None = None
        self._master: bytes | None = None
        self._opener: Opener | None = None
        self._number = 0

    @property
    def encrypted(self) -> bool:
        """True behind ChangeCipherSpec."""
        return self._session.exchange.places[self._role] == CCS

    def take(self, kind: int, record: bytes, alone: bool) -> Taken:
        """Take a ChangeCipherSpec, or any record behind it. `alone`: the other side will say no more than it has.

        Raises MalformedError for what the protocol forbids.
        """
        if self.encrypted:
            return self._behind(record)
        if kind != tls.CHANGE_CIPHER_SPEC:
            raise MalformedError(f"a record of type {kind} before ChangeCipherSpec")
        change_cipher_spec(self._side, record[tls.RECORD_HEADER :])
        exchange = self._session.exchange
        if exchange.client is not None:
            assert self._session.suite is not None
            found = masters(self._session.keys, exchange, self._version, self._session.suite, self._role)
            if found is Missing.MESSAGES and not alone:
                return BLOCKED
            if isinstance(found, Missing):
                return None, self._session.missing(self._side)
            self._master = found[0]
            self._keys = write_keys(exchange, self._version, self._session.suite, found[0])[self._role]
        elif self._session.secret(keylog.CLIENT_RANDOM) is None:
            return None, self._session.missing(self._side)
        exchange.change_cipher_spec(self._role)
        return LibraryRecord(kind, b"\1", None, len(record)), None

    @property
    def _version(self) -> Version:
        return Version(self._session.exchange.version or 0)

    def _behind(self, record: bytes) -> Taken:
        number = self._number
        self._number += 1
        if self._opener is None and self._keys is not None:
            self._opener = Opener(self._keys)
        if self._opener is None:
            unlocked = self._session.unlock12(self._version, self._role, record)
            if unlocked is None:
                return None, self._session.wrong()
            self._keys, self._opener, opened = unlocked
        else:
            found = self._open(number, record)
            if found is None:
                return None, self._session.wrong()
            opened = found
        if opened.type == tls.HANDSHAKE:
            messages = self._side.messages.feed(opened.payload)
            for message in messages:
                self._session.exchange.message(self._role, message)
                if message.type == tls.FINISHED and (message is not messages[-1] or self._side.messages.unfinished):
                    raise MalformedError("Finished does not end its record")
        elif opened.type == tls.ALERT:
            self._session.note(tls.alert(opened.payload))
        elif opened.type != tls.HEARTBEAT:
            raise MalformedError(f"a record of type {opened.type} before Finished")
        taken = LibraryRecord(opened.type, opened.payload, number, len(record))
        if not self._session.exchange.finished(self._role):
            return taken, None
        assert self._keys is not None
        return taken, Enable(self._keys, self._number)

    def _open(self, number: int, record: bytes) -> Opened | None:
        assert self._opener is not None
        opened = _opened(self._opener, number, record)
        if number or self._master is None:
            return opened
        exchange, chosen = self._session.exchange, self._session.suite
        assert chosen is not None
        if opened is None:
            for keys, master in self._others(exchange, chosen):
                self._keys, self._opener, self._master = keys, Opener(keys), master
                opened = _opened(self._opener, number, record)
                if opened is not None:
                    break
        if opened is not None:
            exchange.master = self._master
        return opened

    def _others(self, exchange: Exchange, chosen: Suite) -> Iterator[tuple[Keys, bytes]]:
        """What else the keys may be: of another master secret, or of another ServerHello."""
        found = masters(self._session.keys, exchange, self._version, chosen, self._role, every=True)
        secrets = [] if isinstance(found, Missing) else list(dict.fromkeys(found))
        as_read = exchange.server
        for each in (as_read, *self._session.doubts()):
            exchange.server = each
            for master in secrets:
                if each is not as_read or master != secrets[0]:  # which was tried
                    yield write_keys(exchange, self._version, chosen, master)[self._role], master
        exchange.server = as_read


def _opened(opener: Opener, number: int, record: bytes) -> Opened | None:
    try:
        return opener.open(number, record)
    except RecordError:
        return None


def change_cipher_spec(side: Side, payload: bytes) -> None:
    """Raise MalformedError unless `payload` is a ChangeCipherSpec where it may stand (RFC 5246 section 7.1)."""
    if payload != b"\1":
        raise MalformedError("a ChangeCipherSpec that is not one byte of 1")
    if side.messages.unfinished:
        raise MalformedError("ChangeCipherSpec within a handshake message")


def _resumes(exchange: Exchange, role: Role) -> bool:
    """The exchange is an abbreviated one, as far as what `role` sent before its ChangeCipherSpec tells."""
    return exchange.resumed or exchange.places[role] in (HELLO, "resumed_ticket")


def _session_hash(version: Version, chosen: Suite, messages: bytes) -> bytes:
    """RFC 7627 section 3: the hash that Finished uses."""
    if version is Version.TLS11:
        return hashlib.md5(messages).digest() + hashlib.sha1(messages).digest()
    return hashlib.new(chosen.prf_hash, messages).digest()
