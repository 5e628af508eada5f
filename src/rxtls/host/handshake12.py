"""TLS 1.2 and 1.1: from ChangeCipherSpec to Finished, and again in each renegotiation.

A side's ChangeCipherSpec puts the keys in force that hello and key exchange have made; its Finished is record 0 under
them, and receive is enabled behind it, at number 1 (RFC 5246 sections 7.1 and 6.1). In a renegotiation all of that is
sent under the old keys, and the kTLS worker opens it: ChangeCipherSpec gives a Rekey at number 0, or a Hold while the
other side's half of the exchange has not been read.
"""

from __future__ import annotations

import hashlib
from enum import Enum, auto

from rxtls.crypto.keys import Keys
from rxtls.crypto.records import Opened, Opener
from rxtls.crypto.schedule import master_from_premaster, tls12_keys
from rxtls.crypto.suites import Suite, Version
from rxtls.errors import RecordError
from rxtls.host.exchange import CCS, HELLO, Exchange, Role
from rxtls.host.session import Session, Side
from rxtls.host.steps import BLOCKED, Enable, LibraryRecord, Taken
from rxtls.wire import keylog, tls
from rxtls.wire.keylog import KeyLog
from rxtls.wire.tls import MalformedError


class Missing(Enum):
    """What stands between an exchange and its keys."""

    SECRET = auto()  # the key log has none for it
    MESSAGES = auto()  # the other side has more to say first


def write_keys(
    log: KeyLog, exchange: Exchange, version: Version, chosen: Suite, role: Role
) -> tuple[Keys, Keys] | Missing:
    """(client write, server write) of an exchange of which both hellos have been read, as `role` changes to them.

    The master secret is looked up by client random, then by session id; else it is made from a premaster secret, for
    which ClientKeyExchange is needed.
    """
    client, server = exchange.client, exchange.server
    if client is None or server is None:
        return Missing.MESSAGES
    master = log.lookup(client.random, keylog.CLIENT_RANDOM) or log.master_of(server.session_id)
    if master is None:
        premaster = log.lookup(client.random, keylog.PMS_CLIENT_RANDOM)
        if premaster is None and log.has_premasters and exchange.encrypted_premaster is not None:
            premaster = log.premaster_of(exchange.encrypted_premaster)
        messages = exchange.session_messages()
        if messages is None:
            # A resumed session has no ClientKeyExchange; its premaster secret was another connection's.
            waits = premaster is not None or log.has_premasters
            return Missing.MESSAGES if waits and not _resumes(exchange, role) else Missing.SECRET
        if premaster is None:
            return Missing.SECRET
        session_hash = _session_hash(version, chosen, messages) if server.extended_master_secret else None
        master = master_from_premaster(chosen, version, premaster, client.random, server.random, session_hash)
    return tls12_keys(chosen, version, master, client.random, server.random, server.encrypt_then_mac)


class Reader12:
    """Reads one side's ChangeCipherSpec and what follows it, until receive is enabled."""

    __slots__ = ("_keys", "_number", "_opener", "_role", "_session", "_side")

    def __init__(self, session: Session, side: Side, role: Role) -> None:
        self._session = session
        self._side = side
        self._role = role
        self._keys: Keys | None = None
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
            keys = write_keys(self._session.keys, exchange, self._version, self._session.suite, self._role)
            if keys is Missing.MESSAGES and not alone:
                return BLOCKED
            if isinstance(keys, Missing):
                return None, self._session.missing(self._side)
            self._keys = keys[self._role]
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
        try:
            return self._opener.open(number, record)
        except RecordError:
            pass
        doubts = [] if number else self._session.doubts()
        for each in doubts:
            self._session.exchange.server = each
            assert self._session.suite is not None
            keys = write_keys(
                self._session.keys, self._session.exchange, self._version, self._session.suite, self._role
            )
            if not isinstance(keys, Missing):
                self._keys = keys[self._role]
                self._opener = Opener(self._keys)
                try:
                    return self._opener.open(number, record)
                except RecordError:
                    pass
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
