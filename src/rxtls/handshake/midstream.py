"""A stream without its beginning: which keys may be its, and why it is not read if none are.

late_start.py tries them on the stream. Here is what is known of the connection all the same: the other side's hello, if
that was captured, and the sessions of the key logs.
"""

from __future__ import annotations

from collections.abc import Iterator

from rxtls.crypto.keys import Keys
from rxtls.crypto.schedule import tls12_keys
from rxtls.crypto.suites import Version
from rxtls.handshake import late_start
from rxtls.handshake.exchange import CLIENT, TLS13, Role
from rxtls.handshake.search_budget import Work
from rxtls.handshake.session import APPLICATION_LABEL, Session
from rxtls.handshake.steps import Refuse, refuse
from rxtls.handshake.tls12 import Missing, masters, write_keys
from rxtls.wire import keylog


def start(session: Session, role: Role | None, likely: Role, data: bytes, work: Work) -> late_start.Start | None:
    """Where a side's stream can be read from, and under which keys. `role` None: it is `likely` that one."""
    exchange = session.exchange
    if exchange.server is not None and exchange.version != TLS13:
        if role is None or session.judge() is not None:
            return None
        return late_start.find12(data, _keys12(session, role), work)
    if exchange.version != TLS13 and late_start.before_tls13(data, work):
        return None
    roles = (likely, Role(1 - likely)) if role is None else (role,)
    labels = [(each, APPLICATION_LABEL[each]) for each in roles]
    secrets = (
        late_start.Secret(random, each, secret)
        for each, label in labels
        for random, secret in session.candidates(label)
    )
    return late_start.find13(data, secrets, session.suite, work, session.keys.derived)


def why_not(session: Session, role: Role | None, data: bytes, work: Work) -> Refuse:
    """Why a side's stream is not read."""
    exchange = session.exchange
    if exchange.server is not None and exchange.version != TLS13:
        return session.judge() or refuse("handshake_unfinished", "a part of it is not in the capture")
    client = exchange.client
    if role is CLIENT and client is not None and exchange.server is None and TLS13 not in client.versions:
        return refuse("needs_server_hello")
    if client is not None and exchange.server is None and session.secret(keylog.CLIENT_RANDOM) is not None:
        return refuse("needs_server_hello")
    if exchange.version != TLS13 and (late_start.before_tls13(data, work) or late_start.in_blocks(data, work)):
        return refuse("mid_connection_tls12")
    if session.known and session.secret(keylog.CLIENT_RANDOM) is not None and exchange.version != TLS13:
        return refuse("mid_connection_tls12")
    if session.known and session.secret(APPLICATION_LABEL[CLIENT if role is None else role]) is None:
        return refuse("no_keys")
    return refuse("mid_connection", "the budget of work was spent before (--set search=N)" if work.left <= 0 else "")


def _keys12(session: Session, role: Role) -> Iterator[Keys]:
    """All keys that a side of a TLS 1.2 connection may have whose ServerHello was read."""
    server = session.exchange.server
    assert server is not None
    assert session.suite is not None
    version = Version(server.version)
    for each in (server, *session.doubts()):
        session.exchange.server = each  # the one whose keys fit stays
        if session.exchange.client is not None:
            found = masters(session.keys, session.exchange, version, session.suite, role, every=True)
            for master in [] if isinstance(found, Missing) else found:
                yield write_keys(session.exchange, version, session.suite, master)[role]
            continue
        for random, master in session.candidates(keylog.CLIENT_RANDOM):
            yield tls12_keys(session.suite, version, master, random, each.random, each.encrypt_then_mac)[role]
    session.exchange.server = server
