"""TLS 1.2 and 1.1 renegotiation: handshakes inside the connection, under the keys that are to be replaced.

The kTLS worker opens their records and the observer hands the messages on. Each direction is served at its own host
points, so one side may be read several handshakes ahead of the other. So each side has its own place in one list of
handshakes, and a ChangeCipherSpec that comes before the other side's half has been read leads to a Hold:

    handshakes   [0: over] [1: client finished, server not read yet] [2: client's hello]
    server is in            ^
    client is in                                                      ^

What a side reads is thereby the same whatever order the sides are served in (RFC 5246 sections 7.2.2, 7.4.1).
"""

from __future__ import annotations

from rxtls.crypto.suite_names import suite_name
from rxtls.crypto.suites import Version, suite
from rxtls.handshake.exchange import Exchange, Role
from rxtls.handshake.session import Session, Side
from rxtls.handshake.steps import Hold, Refuse, Rekey, refuse
from rxtls.handshake.tls12 import Missing, change_cipher_spec, masters, write_keys
from rxtls.wire import tls
from rxtls.wire.tls import MalformedError, Message

# Handshakes that one side is ahead. Its ChangeCipherSpec holds it in the first that is unanswered, so only hellos and
# alerts that decline them can pile up at all, and between two host points but a few.
MAX_AHEAD = 64


class Renegotiations:
    """All renegotiations of one connection, of which those that both sides are done with are forgotten."""

    __slots__ = ("_handshakes", "_reached", "_session")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._handshakes: list[Renegotiation] = []
        self._reached = {Role.CLIENT: 0, Role.SERVER: 0}

    @property
    def going_on(self) -> bool:
        """True while a side is in a handshake that the other has not finished."""
        return bool(self._handshakes)

    def messages(self, role: Role, messages: list[Message]) -> None:
        """Take in a side's next handshake messages. Raises MalformedError."""
        for message in messages:
            if message.type == tls.HELLO_REQUEST:
                continue  # an invitation, which the client may decline in silence
            handshake = self._handshake(role)
            handshake.message(role, message)
            if handshake.done(role):
                self._leave(role)

    def change_cipher_spec(self, role: Role, side: Side, payload: bytes, alone: bool) -> Rekey | Hold | Refuse:
        """Take in a side's ChangeCipherSpec: the keys it puts in force. Raises MalformedError."""
        change_cipher_spec(side, payload)
        if self._reached[role] == len(self._handshakes):
            raise MalformedError("ChangeCipherSpec outside a handshake")
        self._handshake(role).change_cipher_spec(role)
        return self.rekey(role, side, alone)

    def rekey(self, role: Role, side: Side, alone: bool) -> Rekey | Hold | Refuse:
        """After a ChangeCipherSpec: the keys, or a Hold while messages or secrets are still to come."""
        return self._handshake(role).rekey(role, side, alone)

    def decline(self, role: Role) -> None:
        """A side's no_renegotiation alert. A client's answers a HelloRequest, a server's the ClientHello."""
        if role is Role.SERVER:
            handshake = self._handshake(role)
            handshake.declined = True
            self._leave(role)
            if handshake.done(Role.CLIENT):
                self._leave(Role.CLIENT)

    def _handshake(self, role: Role) -> Renegotiation:
        reached = self._reached[role]
        if reached == len(self._handshakes):
            if reached == MAX_AHEAD:
                raise MalformedError(f"{MAX_AHEAD} handshakes that the other side knows nothing of")
            self._handshakes.append(Renegotiation(self._session))
        return self._handshakes[reached]

    def _leave(self, role: Role) -> None:
        self._reached[role] += 1
        while min(self._reached.values()):
            del self._handshakes[0]
            for each in Role:
                self._reached[each] -= 1


class Renegotiation:
    """One handshake inside the connection."""

    __slots__ = ("_exchange", "_session", "_version", "declined")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._exchange = Exchange()
        self._version = Version(session.exchange.version or 0)
        self._exchange.version = self._version
        self.declined = False

    def done(self, role: Role) -> bool:
        """True when a side has sent all it will: its Finished, or a ClientHello that was declined."""
        return self._exchange.finished(role) or (self.declined and self._exchange.client is not None)

    def message(self, role: Role, message: Message) -> None:
        """Take in the next handshake message of a side. Raises MalformedError."""
        self._exchange.message(role, message)

    def change_cipher_spec(self, role: Role) -> None:
        """Take in a side's ChangeCipherSpec; `rekey` says what it leads to. Raises MalformedError."""
        self._exchange.change_cipher_spec(role)

    def rekey(self, role: Role, side: Side, alone: bool) -> Rekey | Hold | Refuse:
        """The keys that a side's ChangeCipherSpec put in force; Hold while messages or keys are still to come."""
        server = self._exchange.server
        chosen = suite(server.suite) if server is not None else None
        if server is not None and (chosen is None or self._version not in chosen.versions or server.compression):
            return refuse("suite_unsupported", f"{suite_name(server.suite)} in a renegotiation")
        found: list[bytes] | Missing = Missing.MESSAGES
        if chosen is not None:
            found = masters(self._session.keys, self._exchange, self._version, chosen, role)
            if not isinstance(found, Missing):
                return Rekey(write_keys(self._exchange, self._version, chosen, found[0])[role])
        if found is Missing.MESSAGES and not alone:
            return Hold()
        if found is Missing.MESSAGES and server is None:
            return refuse("needs_server_hello", "in a renegotiation")
        missing = self._session.missing(side)
        return missing if isinstance(missing, Refuse) else Hold()
