"""What the key logs have of a session that they do not open, and what they lack: for a person who holds the log.

CLIENT_RANDOM alone, and the session is of TLS 1.3      an old library, or a log of another layer
SERVER_TRAFFIC_SECRET_0 without the client's            a log that was cut, or filtered
a line of this client random that is torn or misspelt   a full disk, an editor, a copy out of a terminal
"""

from __future__ import annotations

from rxtls.crypto.schedule import HASH_LENGTH
from rxtls.crypto.suites import Suite
from rxtls.handshake.exchange import TLS13, Exchange, Role
from rxtls.wire import keylog
from rxtls.wire.keylog import KeyLog

_OF_TLS12 = frozenset({keylog.CLIENT_RANDOM, keylog.PMS_CLIENT_RANDOM})
_MOST_HINTS = 3
APPLICATION = {Role.CLIENT: keylog.CLIENT_APPLICATION, Role.SERVER: keylog.SERVER_APPLICATION}


def lacking(keys: KeyLog, exchange: Exchange, suite: Suite | None, role: Role | None) -> str:
    """In a few words what there is for the client random of this exchange; "" if there is nothing."""
    client = exchange.client
    if client is None:
        return ""
    parts = []
    labels = keys.labels(client.random)
    if labels:
        modern = exchange.version == TLS13 or (exchange.version is None and TLS13 in client.versions)
        wanted = APPLICATION[role or Role.CLIENT] if modern else keylog.CLIENT_RANDOM
        other = [label for label in labels if (label in _OF_TLS12) is modern]
        of = f" (of TLS {'1.2' if modern else '1.3'})" if other == labels else ""
        parts.append(f"for its client random there is {', '.join(labels)}{of}")
        lengths = {len(secret) for secret in keys.secrets(client.random, wanted)}
        if not lengths:
            parts.append(f"{wanted} is missing")
        elif modern and suite is not None and HASH_LENGTH[suite.prf_hash] not in lengths:
            said = " or ".join(str(each) for each in sorted(lengths))
            parts.append(f"{wanted} has {said} bytes, where {suite.name} takes {HASH_LENGTH[suite.prf_hash]}")
    parts += keys.hints(client.random)[:_MOST_HINTS]
    return "; ".join(parts)
