"""One handshake: which message may follow which, and what the messages agree on. It knows neither records nor keys.

Each side stands at a place; a message moves it to the next, as the tables say, or breaks the protocol. The tables are
RFC 8446, RFC 9846 sections 4 and appendix A, and RFC 5246 section 7.3, as seen from the wire: what a peer merely may
refuse is let pass, what would leave it unclear under which key the next record stands is not.

        TLS 1.3                                            TLS 1.2 and 1.1, full (resumed: hello, ccs, finished)
client  start hello [again] [early_end] [extensions]        start hello [certificate] key_exchange [verified]
        [certificate [verified]] finished                   ccs finished
server  start [retry] hello extensions [request]            start hello [certificate] [key_exchange] [request]
        [certificate verified] finished                     hello_done [ticket] ccs finished

The same exchange serves a TLS 1.2 renegotiation. The sides may be read in any order: a server's message may come here
before the client's that it answers.
"""

from __future__ import annotations

from enum import IntEnum

from rxtls.wire import hello, tls
from rxtls.wire.tls import MalformedError, Message

SSL30, TLS10, TLS11, TLS12, TLS13 = 0x0300, 0x0301, 0x0302, 0x0303, 0x0304
CCS = "ccs"  # ChangeCipherSpec as an event: a record of its own type, and in TLS 1.3 no event at all


class Role(IntEnum):
    """Who sends."""

    CLIENT = 0
    SERVER = 1


CLIENT, SERVER = Role  # for what is asked again and again: an Enum's attribute takes ten times as long

START, RETRY, HELLO, AGAIN, FINISHED = "start", "retry", "hello", "again", "finished"

Row = dict[int | str, str]
Table = dict[str, Row]

_CERTIFICATE13: Row = {tls.CERTIFICATE: "certificate", tls.COMPRESSED_CERTIFICATE: "certificate"}
_FINISHED: Row = {tls.FINISHED: FINISHED}
# The client's EncryptedExtensions is ALPS's (draft-vvv-tls-alps: application_settings, 17513 and 17613).
_CLIENT_FLIGHT13: Row = {tls.ENCRYPTED_EXTENSIONS: "extensions", **_CERTIFICATE13, **_FINISHED}
_NOWHERE: Row = {}

PLACES13: dict[Role, Table] = {
    CLIENT: {
        START: {tls.CLIENT_HELLO: HELLO},
        HELLO: {tls.CLIENT_HELLO: AGAIN, tls.END_OF_EARLY_DATA: "early_end", **_CLIENT_FLIGHT13},
        AGAIN: _CLIENT_FLIGHT13,
        "early_end": _CLIENT_FLIGHT13,
        "extensions": {**_CERTIFICATE13, **_FINISHED},
        "certificate": {tls.CERTIFICATE_VERIFY: "verified", **_FINISHED},  # an empty certificate verifies nothing
        "verified": _FINISHED,
        FINISHED: {},
    },
    SERVER: {
        START: {tls.SERVER_HELLO: HELLO},
        RETRY: {tls.SERVER_HELLO: HELLO},
        HELLO: {tls.ENCRYPTED_EXTENSIONS: "extensions"},
        "extensions": {tls.CERTIFICATE_REQUEST: "request", **_CERTIFICATE13, **_FINISHED},  # Finished at once: PSK
        "request": _CERTIFICATE13,
        "certificate": {tls.CERTIFICATE_VERIFY: "verified"},
        "verified": _FINISHED,
        FINISHED: {},
    },
}

# Extensions' own messages between ChangeCipherSpec and Finished, sent encrypted.
_AFTER_CCS: Row = {**_FINISHED, tls.NEXT_PROTOCOL: CCS, tls.CHANNEL_ID: CCS}
_SERVER_FLIGHT12: Row = {tls.CERTIFICATE_REQUEST: "request", tls.SERVER_HELLO_DONE: "hello_done"}

PLACES12: dict[Role, Table] = {
    CLIENT: {
        START: {tls.CLIENT_HELLO: HELLO},
        HELLO: {
            tls.SUPPLEMENTAL_DATA: HELLO,
            tls.CERTIFICATE: "certificate",
            tls.CLIENT_KEY_EXCHANGE: "key_exchange",
            CCS: CCS,  # resumption
        },
        "certificate": {tls.CLIENT_KEY_EXCHANGE: "key_exchange"},
        "key_exchange": {tls.CERTIFICATE_VERIFY: "verified", CCS: CCS},
        "verified": {CCS: CCS},
        CCS: _AFTER_CCS,
        FINISHED: {},
    },
    SERVER: {
        START: {tls.SERVER_HELLO: HELLO},
        HELLO: {
            tls.SUPPLEMENTAL_DATA: HELLO,
            tls.CERTIFICATE: "certificate",
            tls.SERVER_KEY_EXCHANGE: "key_exchange",
            **_SERVER_FLIGHT12,
            tls.NEW_SESSION_TICKET: "resumed_ticket",  # RFC 5077 section 3.3: the abbreviated handshake may renew it
            CCS: CCS,  # resumption
        },
        "certificate": {
            tls.CERTIFICATE_STATUS: "certificate",
            tls.SERVER_KEY_EXCHANGE: "key_exchange",
            **_SERVER_FLIGHT12,
        },
        "key_exchange": _SERVER_FLIGHT12,
        "request": {tls.SERVER_HELLO_DONE: "hello_done"},
        "hello_done": {tls.NEW_SESSION_TICKET: "ticket", CCS: CCS},
        "ticket": {CCS: CCS},
        "resumed_ticket": {CCS: CCS},
        CCS: _AFTER_CCS,
        FINISHED: {},
    },
}


class Exchange:
    """The state of one handshake. Methods raise MalformedError for what the protocol forbids.

    Attributes: `client` and `server`, the hellos, None until read; `version` as agreed on or assumed, any number that a
    ServerHello can name; `retried`, a HelloRetryRequest was sent; `early_accepted`, None while unknown; `resumed`;
    `alpn`; `places` by role; `encrypted_premaster`, the first 8 bytes of an RSA ClientKeyExchange's secret; `master`,
    the master secret that has opened a record.
    """

    __slots__ = (
        "_transcript",
        "alpn",
        "client",
        "early_accepted",
        "encrypted_premaster",
        "master",
        "places",
        "resumed",
        "retried",
        "server",
        "version",
    )

    def __init__(self) -> None:
        self.client: hello.ClientHello | None = None
        self.server: hello.ServerHello | None = None
        self.version: int | None = None
        self.retried = False
        self.early_accepted: bool | None = None
        self.resumed = False
        self.alpn: str | None = None
        self.encrypted_premaster: bytes | None = None
        self.master: bytes | None = None
        self.places = [START, START]
        # Per role, the messages that an extended master secret hashes; None once `forget` has let go of them.
        self._transcript: tuple[list[bytes], list[bytes]] | None = ([], [])

    def message(self, role: Role, message: Message) -> None:
        """Take in the next handshake message of a side."""
        kind, body = message
        if role is SERVER and kind == tls.HELLO_REQUEST:
            return  # RFC 5246 section 7.4.1.1: may come at any time, and is not part of the handshake
        place = self._next(role, kind)
        if kind == tls.CLIENT_HELLO:
            self._client_hello(place, hello.client_hello(body))
        elif kind == tls.SERVER_HELLO:
            place = self._server_hello(hello.server_hello(body))
        elif kind == tls.ENCRYPTED_EXTENSIONS:
            said = hello.encrypted_extensions(body)
            if role is SERVER:
                self.alpn, self.early_accepted = said
        elif kind == tls.CLIENT_KEY_EXCHANGE:
            # RFC 5246 section 7.4.7.1: the encrypted premaster secret behind its length. What another key exchange has
            # there is in no key log.
            self.encrypted_premaster = body[2:10]
        if self._transcript is not None:
            self._remember(self._transcript, role, place, message)
        self.places[role] = place

    def change_cipher_spec(self, role: Role) -> None:
        """Take in a side's ChangeCipherSpec, before TLS 1.3."""
        place = self._next(role, CCS)
        if role is SERVER:
            # A server that resumes says nothing between its hello and this but a renewed ticket. It is the one sign
            # that holds for session ids and for tickets alike (RFC 5077 section 3.4).
            self.resumed = self.places[role] in (HELLO, "resumed_ticket")
        self.places[role] = place

    def finished(self, role: Role) -> bool:
        """True when this side's Finished has been read."""
        return self.places[role] == FINISHED

    def session_messages(self) -> bytes | None:
        """The handshake up to and including ClientKeyExchange (RFC 7627 section 3), None when not all was read."""
        client, server = self._transcript or ([], [])
        if self.encrypted_premaster is None or not server:
            return None
        return client[0] + b"".join(server) + b"".join(client[1:])

    def forget(self) -> None:
        """Let go of what only a key schedule from a premaster secret needs."""
        self._transcript = None

    def _next(self, role: Role, event: int | str) -> str:
        table = PLACES13 if self.version == TLS13 else PLACES12
        here = self.places[role]
        place = table[role].get(here, _NOWHERE).get(event)
        if place is None:
            name = tls.message_name(event) if isinstance(event, int) else "ChangeCipherSpec"
            raise MalformedError(f"{name} from the {role.name.lower()} at {here}")
        return place

    def _client_hello(self, place: str, parsed: hello.ClientHello) -> None:
        if place == AGAIN:
            # Without the server's side nobody can tell that it asked for this one, so the hello itself is believed.
            if self.server is not None and not self.retried:
                raise MalformedError("a second ClientHello that no HelloRetryRequest asked for")
            self.retried = True
            self.early_accepted = False  # RFC 8446, RFC 9846 section 4.2.10: none after a retry
            return
        self.client = parsed

    def _server_hello(self, parsed: hello.ServerHello) -> str:
        if self.version is not None and parsed.version != self.version:
            raise MalformedError(f"a ServerHello of version 0x{parsed.version:04x} after 0x{self.version:04x}")
        self.version = parsed.version
        if parsed.retry and parsed.version == TLS13:
            if self.places[SERVER] == RETRY:
                raise MalformedError("a second HelloRetryRequest")  # RFC 8446, RFC 9846 section 4.1.4
            self.retried = True
            self.early_accepted = False
            return RETRY
        self.server = parsed
        self.alpn = parsed.alpn
        if parsed.version == TLS13:
            self.resumed = parsed.psk
            if not parsed.psk:
                self.early_accepted = False  # early data is bound to the PSK
        return HELLO

    def _remember(self, transcript: tuple[list[bytes], list[bytes]], role: Role, place: str, message: Message) -> None:
        """Keep what RFC 7627's session hash covers: of the server's messages those up to ServerHelloDone."""
        if self.version == TLS13:
            self.forget()
        elif (role is CLIENT and place in (HELLO, "certificate", "key_exchange")) or (
            role is SERVER and place not in ("ticket", "resumed_ticket", CCS, FINISHED)
        ):
            transcript[role].append(message.wire)
