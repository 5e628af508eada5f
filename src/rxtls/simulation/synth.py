"""Whole simulated TLS connections, handshake included, with the key log that opens them.

The bytes have the form of the real thing and its encryption: hellos with their extensions, the encrypted flights,
Finished messages, tickets, renegotiation, early data; dissectors read them. What only the endpoints could check is
random: key shares, keys in certificates, signatures, verify_data. Secrets are random as well; record keys derive from
them, and from both randoms, as RFC 8446, RFC 9846 section 7.3 and RFC 5246 section 6.3 say, so whoever has the key log
can open every record.

`converse` writes a handshake into two TlsSenders and leaves them ready for application data; a Link carries them. Gates
keep the order: nobody answers what has not come. `write_capture` makes captures of any size, streaming them out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import BinaryIO, Literal

from rxtls.capture.write import write_pcap
from rxtls.crypto.schedule import HASH_LENGTH, tls12_keys
from rxtls.crypto.suites import Family, Suite, Version, suite
from rxtls.simulation import messages
from rxtls.simulation.link import Connection, Impairment, Link, LinkFrame, interleave
from rxtls.simulation.sender import APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE, TlsSender

MAX_FRAGMENT = 16384


@dataclass(frozen=True)
class Session:
    """What a handshake agrees on, and by which road.

    `preamble` is plaintext before TLS, (client's, server's), the server answering; both empty for none. Handshake
    messages are cut into records of at most `fragment` bytes, several joined into one record with `coalesce`.
    TLS 1.3 only: `hello_retry`; `early_data` and what became of it; `middlebox` ChangeCipherSpecs; `tickets` after the
    handshake. TLS 1.1 and 1.2 only: `extended_master`, `encrypt_then_mac` (CBC suites). `resumed` is by PSK or ticket.
    """

    suite: Suite
    version: Version = Version.TLS13
    sni: str | None = "example.test"
    alpn: str | None = "http/1.1"
    resumed: bool = False
    preamble: tuple[bytes, bytes] = (b"", b"")
    fragment: int = MAX_FRAGMENT
    coalesce: bool = False
    hello_retry: bool = False
    early_data: tuple[bytes, ...] = ()
    early: Literal["accepted", "rejected"] = "accepted"
    middlebox: bool = True
    tickets: int = 0
    extended_master: bool = True
    encrypt_then_mac: bool = False

    def __post_init__(self) -> None:
        if self.version not in self.suite.versions:
            raise ValueError(f"{self.suite.name} does not exist in {self.version.name}")
        if self.encrypt_then_mac and self.suite.family is not Family.AES_CBC:
            raise ValueError("encrypt-then-MAC is for CBC suites (RFC 7366)")
        if not 1 <= self.fragment <= MAX_FRAGMENT:
            raise ValueError(f"fragments are 1 to {MAX_FRAGMENT} bytes")


@dataclass
class Conversation:
    """Two senders that share a session. `keylog` is SSLKEYLOGFILE text (RFC 9850).

    `library` says of (client, server) how many of its records come before the socket gets keys at its peer: those that
    the receiver's TLS library reads, up to the sender's Finished.
    """

    session: Session
    client: TlsSender
    server: TlsSender
    keylog: str = field(repr=False)
    library: tuple[int, int]

    def request(self, payloads: Sequence[bytes], answers: Sequence[bytes], pause_ns: int = 0) -> None:
        """The client writes `payloads`, one record each; after the last has come the server writes `answers`."""
        self.client.wait(self.server, pause_ns)
        for payload in payloads:
            self.client.record(APPLICATION_DATA, payload)
        self.server.wait(self.client)
        for answer in answers:
            self.server.record(APPLICATION_DATA, answer)

    def close(self) -> None:
        """Each side says close_notify, the client after it has everything."""
        self.client.wait(self.server)
        self.client.close_notify()
        self.server.wait(self.client)
        self.server.close_notify()


def converse(session: Session, dice: Random) -> Conversation:
    """A session just after its handshake: what either sender writes now is sealed under application keys."""
    client, server = TlsSender(), TlsSender()
    if any(session.preamble):
        client.raw(session.preamble[0])
        server.wait(client)
        server.raw(session.preamble[1])
        client.wait(server)
    talk = Conversation(session, client, server, "", (0, 0))
    client.version = 0x0301  # RFC 8446, RFC 9846 section 5.1: the first ClientHello may say so, and usually does
    (_handshake13 if session.version is Version.TLS13 else _handshake12)(talk, dice)
    return talk


def renegotiate(talk: Conversation, dice: Random) -> None:
    """A second handshake inside the first's protection (RFC 5246 section 7.4.1.1, RFC 5746). TLS 1.1 and 1.2 only."""
    if talk.session.version is Version.TLS13:
        raise ValueError("TLS 1.3 has no renegotiation")
    library = talk.library
    talk.server.wait(talk.client)
    _write(talk, talk.server, [messages.message(messages.HELLO_REQUEST, b"")])
    talk.client.wait(talk.server)
    _handshake12(talk, dice)
    talk.library = library


def _write(talk: Conversation, sender: TlsSender, flight: Sequence[bytes]) -> None:
    """Handshake messages, in records as the session cuts them."""
    fragment = talk.session.fragment
    for piece in [b"".join(flight)] if talk.session.coalesce else flight:
        for at in range(0, len(piece), fragment):
            sender.record(HANDSHAKE, piece[at : at + fragment])


def _change_cipher_spec(talk: Conversation, sender: TlsSender) -> None:
    """In TLS 1.3 for middleboxes, never sealed (RFC 8446, RFC 9846 appendix D.4)."""
    if talk.session.version is not Version.TLS13:
        sender.record(CHANGE_CIPHER_SPEC, b"\x01")
    elif talk.session.middlebox:
        sender.plain(CHANGE_CIPHER_SPEC, b"\x01")


def _handshake13(talk: Conversation, dice: Random) -> None:
    session, client, server = talk.session, talk.client, talk.server
    chosen = session.suite
    client_random, session_id = dice.randbytes(32), dice.randbytes(32 if session.middlebox else 0)
    length = HASH_LENGTH[chosen.prf_hash]
    secrets = {
        label: dice.randbytes(length)
        for label in (
            "CLIENT_EARLY_TRAFFIC_SECRET",
            "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
            "SERVER_HANDSHAKE_TRAFFIC_SECRET",
            "CLIENT_TRAFFIC_SECRET_0",
            "SERVER_TRAFFIC_SECRET_0",
            "EXPORTER_SECRET",
        )
    }
    if not session.early_data:
        del secrets["CLIENT_EARLY_TRAFFIC_SECRET"]
    talk.keylog += "".join(f"{label} {client_random.hex()} {secret.hex()}\n" for label, secret in secrets.items())
    offer = messages.Offer(
        random=client_random,
        session_id=session_id,
        suite=chosen,
        version=session.version,
        sni=session.sni,
        alpn=session.alpn,
        psk=session.resumed or bool(session.early_data),
        early_data=bool(session.early_data),
    )
    _write(talk, client, [messages.client_hello(offer, dice)])
    client.version = 0x0303
    if session.early_data:
        _change_cipher_spec(talk, client)
        client.rekey13(chosen, secrets["CLIENT_EARLY_TRAFFIC_SECRET"])
        for payload in session.early_data:
            client.record(APPLICATION_DATA, payload)
    server.wait(client)
    if session.hello_retry:
        _write(talk, server, [messages.hello_retry_request(offer, dice)])
        _change_cipher_spec(talk, server)
        client.wait(server)
        if not session.early_data:
            _change_cipher_spec(talk, client)
        client.rekey(None)
        _write(talk, client, [messages.client_hello(replace(offer, early_data=False), dice)])
        server.wait(client)
    _write(talk, server, [messages.server_hello13(offer, dice)])
    if not session.hello_retry:
        _change_cipher_spec(talk, server)
    server.rekey13(chosen, secrets["SERVER_HANDSHAKE_TRAFFIC_SECRET"])
    accepted = bool(session.early_data) and session.early == "accepted" and not session.hello_retry
    flight = [messages.encrypted_extensions(session.alpn, accepted)]
    if not offer.psk:
        flight += [messages.certificate13(session.sni or "localhost", dice), messages.certificate_verify(dice)]
    _write(talk, server, [*flight, messages.finished(dice, length)])
    server.rekey13(chosen, secrets["SERVER_TRAFFIC_SECRET_0"])
    from_server = len(server.records)

    client.wait(server)
    if accepted:
        _write(talk, client, [messages.message(messages.END_OF_EARLY_DATA, b"")])
    elif not session.early_data and not session.hello_retry:
        _change_cipher_spec(talk, client)
    client.rekey13(chosen, secrets["CLIENT_HANDSHAKE_TRAFFIC_SECRET"])
    _write(talk, client, [messages.finished(dice, length)])
    client.rekey13(chosen, secrets["CLIENT_TRAFFIC_SECRET_0"])
    talk.library = len(client.records), from_server
    server.wait(client)
    for _ in range(session.tickets):
        _write(talk, server, [messages.ticket13(dice)])


def _handshake12(talk: Conversation, dice: Random) -> None:
    session, client, server = talk.session, talk.client, talk.server
    client_random, server_random, master = dice.randbytes(32), dice.randbytes(32), dice.randbytes(48)
    talk.keylog += f"CLIENT_RANDOM {client_random.hex()} {master.hex()}\n"
    keys = tls12_keys(session.suite, session.version, master, client_random, server_random, session.encrypt_then_mac)
    offer = messages.Offer(
        random=client_random,
        session_id=dice.randbytes(32) if session.resumed else b"",
        suite=session.suite,
        version=session.version,
        sni=session.sni,
        alpn=session.alpn,
        extended_master=session.extended_master,
        encrypt_then_mac=session.encrypt_then_mac,
        ticket=dice.randbytes(160) if session.resumed else b"",
    )
    _write(talk, client, [messages.client_hello(offer, dice)])
    client.version = server.version = session.version
    server.wait(client)
    hello = messages.server_hello12(offer, server_random, offer.session_id or dice.randbytes(32))

    def finish(sender: TlsSender, side: int) -> None:
        _change_cipher_spec(talk, sender)
        sender.rekey(keys[side])
        _write(talk, sender, [messages.finished(dice, 12)])

    if session.resumed:  # the abbreviated handshake: the server finishes first
        _write(talk, server, [hello])
        finish(server, 1)
        client.wait(server)
        finish(client, 0)
    else:
        chain = messages.certificate12(session.sni or "localhost", dice)
        exchange = messages.server_key_exchange(session.suite, session.version, dice)
        _write(talk, server, [hello, chain, exchange, messages.HELLO_DONE])
        client.wait(server)
        _write(talk, client, [messages.client_key_exchange(session.suite, dice)])
        finish(client, 0)
        server.wait(client)
        _write(talk, server, [messages.ticket12(dice)])
        finish(server, 1)
    talk.library = len(client.records), len(server.records)
    client.wait(server)
    server.wait(client)


BENCH_SUITES = (0x1301, 0x1302, 0xC02F, 0xC030)  # AES-GCM in TLS 1.3 and 1.2


@dataclass(frozen=True, slots=True)
class Bulk:
    """Connections that each ask by `request` for `flow_bytes`, which come in records of `record` bytes; `abreast` at a
    time. They take `suites` (IANA codes) in turn, agree on `alpn`, and `port` is the server's."""

    suites: Sequence[int] = BENCH_SUITES
    impairment: Impairment | None = None
    flow_bytes: int = 4 << 20
    abreast: int = 4
    record: int = MAX_FRAGMENT
    request: bytes = b"GET / HTTP/1.1\r\nHost: example.test\r\n\r\n"
    alpn: str | None = "http/1.1"
    port: int = 443


def write_capture(
    out: BinaryIO,
    bulk: Bulk,
    size: int,
    connections: int = 1,
    seed: int = 0,
    seen: Callable[[Conversation], None] | None = None,
) -> tuple[int, str]:
    """Write a pcap of at least `size` bytes and `connections` connections, captured at the client. Returns the bytes
    written and the key log.

    `seen` is told of each connection when it has said all. One round of connections is in memory at a time. Raises
    ValueError for a suite that is not in the table.
    """
    dice = Random(seed)
    noise = dice.randbytes(1 << 20)  # payloads are slices of it: making randomness would take longer than sealing it
    written, start_ns, flows, logs = 0, Connection().start_ns, 0, list[str]()
    while flows < connections or written < size:
        round_frames: list[list[LinkFrame]] = []
        for _ in range(bulk.abreast):
            chosen = suite(code := bulk.suites[flows % len(bulk.suites)])
            if chosen is None:
                raise ValueError(f"no such suite: {code:#06x}")
            talk = converse(Session(chosen, max(chosen.versions), alpn=bulk.alpn), dice)
            payloads = []
            for at in range(0, bulk.flow_bytes, bulk.record):
                begin = dice.randrange(len(noise) - bulk.record)
                payloads.append(noise[begin : begin + min(bulk.record, bulk.flow_bytes - at)])
            talk.request([bulk.request], payloads)
            talk.close()
            if seen:
                seen(talk)
            connection = _nth(flows, start_ns + 40_000 * len(round_frames), bulk.port, dice)
            run = Link(dice.getrandbits(32), to_client=bulk.impairment).run(connection, talk.client, talk.server)
            round_frames.append(run.frames)
            logs.append(talk.keylog)
            flows += 1
        frames = interleave(round_frames, flows)
        start_ns = frames[-1].time_ns + 1_000_000
        written += write_pcap(frames, out, header=written == 0)
    return written, "".join(logs)


def _nth(n: int, start_ns: int, port: int, dice: Random) -> Connection:
    """A connection with a 4-tuple of its own (for 2^24 of them)."""
    base = Connection()
    client = base.client._replace(ip=f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}", port=49152 + n % 16384)
    server = base.server._replace(port=port)
    sequences = dice.getrandbits(32), dice.getrandbits(32)
    return replace(base, client=client, server=server, start_ns=start_ns, sequences=sequences)
