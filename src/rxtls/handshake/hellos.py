"""Records before any key: the hellos, and what of a handshake follows them in plaintext.

Which message may follow which, exchange.py knows; here is what they come in, and who reads on behind them.
"""

from __future__ import annotations

from rxtls.handshake.exchange import CLIENT, START, TLS13, Exchange, Role
from rxtls.handshake.session import APPLICATION_LABEL, HANDSHAKE_LABEL, Session, Side
from rxtls.handshake.steps import BLOCKED, LibraryRecord, Refuse, Taken, Wait, refuse
from rxtls.handshake.tls12 import Reader12, change_cipher_spec
from rxtls.handshake.tls13 import Reader13
from rxtls.wire import keylog, tls
from rxtls.wire.tls import MalformedError


def in_hello(session: Session, me: Side, role: Role, kind: int, record: bytes) -> Taken:
    """Take a record in a hello's place."""
    if kind == tls.HANDSHAKE:
        return handshake(session, me, role, record)
    if kind != tls.CHANGE_CIPHER_SPEC:
        raise MalformedError(f"a record of type {kind} before the hello")
    if session.exchange.places[role] == START:
        raise MalformedError("ChangeCipherSpec before the hello")
    change_cipher_spec(me, record[tls.RECORD_HEADER :])  # behind a HelloRetryRequest
    return consumed(kind, record)


def handshake(session: Session, me: Side, role: Role, record: bytes) -> Taken:
    """A handshake record before any key."""
    exchange = session.exchange
    messages = me.messages.feed(record[tls.RECORD_HEADER :])
    for message in messages:
        exchange.message(role, message)
        if message.type != tls.SERVER_HELLO:
            continue
        refusal = session.judge()
        if refusal is not None:
            return consumed(tls.HANDSHAKE, record)[0], refusal
        # RFC 8446, RFC 9846 section 5.1: no message may share the record in which the keys change.
        if exchange.version == TLS13 and (message is not messages[-1] or me.messages.unfinished):
            raise MalformedError("ServerHello does not end its record")
    return consumed(tls.HANDSHAKE, record)


def behind(session: Session, me: Side, role: Role, alone: bool) -> Reader12 | Reader13 | Taken:
    """The reader for what follows this side's hello, once the version is known. `alone`: the other side is silent."""
    exchange = session.exchange
    if exchange.version is None:
        if not alone:
            return BLOCKED
        action = _assume(session, me)
        if action is not None:
            return None, action
    refusal = session.judge()
    if refusal is not None:
        return None, refusal
    return (Reader13 if exchange.version == TLS13 else Reader12)(session, me, role)


def _assume(session: Session, me: Side) -> Refuse | Wait | None:
    """A client alone: the key log's labels tell the version, since the ServerHello cannot."""
    client = session.exchange.client
    assert client is not None
    if TLS13 in client.versions:
        labels = HANDSHAKE_LABEL[CLIENT], APPLICATION_LABEL[CLIENT]
        if any(session.secret(label) is not None for label in labels):
            session.exchange.version = TLS13
            return None
    log = session.keys
    older = log.lookup(client.random, keylog.CLIENT_RANDOM) or log.lookup(client.random, keylog.PMS_CLIENT_RANDOM)
    if older or log.has_premasters:
        return refuse("needs_server_hello")
    return session.missing(me)


def expects_again(exchange: Exchange, role: Role) -> bool:
    """A second ClientHello may come: one was asked for, or nobody can tell."""
    return role is CLIENT and exchange.places[role] == "hello" and (exchange.retried or exchange.server is None)


def consumed(kind: int, record: bytes) -> Taken:
    """A plaintext record, read."""
    return LibraryRecord(kind, record[tls.RECORD_HEADER :], None, len(record)), None
