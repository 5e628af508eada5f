"""Connections that are rarely met, made with what the simulator has: other extensions, other messages, other wrappers.

`Talk13` is a TLS 1.3 connection written message by message, so that each can be replaced; `wrapped` puts the streams of
a conversation into another protocol's frames. `UP` and `DOWN` are what the two applications send.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from random import Random

from replays import GCM12, begin, carry, pcap
from rxtls.crypto.schedule import HASH_LENGTH
from rxtls.crypto.suites import SUITES, Version
from rxtls.simulation import messages
from rxtls.simulation.sender import APPLICATION_DATA, HANDSHAKE, TlsSender
from rxtls.simulation.synth import Conversation, Session

_DICE = Random(11)
UP = [_DICE.randbytes(size) for size in (115, 3000, 4400)]
DOWN = [_DICE.randbytes(size) for size in (15, 1500, 6000)]
SENT = sum(map(len, UP)), sum(map(len, DOWN))  # 7,515 each
ALPS = 17613
CLIENT_EXTENSIONS = messages.message(8, messages.vector(2, ALPS.to_bytes(2) + messages.vector(2, b"settings")))

Wrap = Callable[[int, bytes], bytes]  # (which piece, its bytes) to what is on the wire


@dataclass
class Talk13:
    """How a TLS 1.3 connection differs: `hello` extensions are put first, `version` is the one that the ServerHello
    names; `client_flight` messages stand before the client's Finished, `server_flight` before the server's
    Certificate. The key log has `log_random` for the client random."""

    hello: tuple[tuple[int, bytes], ...] = ()
    version: bytes = b"\x03\x04"
    client_flight: tuple[bytes, ...] = ()
    server_flight: tuple[bytes, ...] = ()
    log_random: bytes | None = None
    suite: int = 0x1302
    seed: int = 5

    def talk(self) -> Conversation:
        dice = Random(self.seed)
        chosen = SUITES[self.suite]
        length = HASH_LENGTH[chosen.prf_hash]
        client, server = TlsSender(), TlsSender()
        offer = messages.Offer(dice.randbytes(32), dice.randbytes(32), chosen, Version.TLS13, "example.test", "h2")
        labels = [
            f"{side}_{kind}"
            for side in ("CLIENT", "SERVER")
            for kind in ("HANDSHAKE_TRAFFIC_SECRET", "TRAFFIC_SECRET_0")
        ]
        secrets = {label: dice.randbytes(length) for label in labels}
        random = (self.log_random or offer.random).hex()
        log = "".join(f"{label} {random} {secret.hex()}\n" for label, secret in secrets.items())
        client.record(HANDSHAKE, _with_extensions(messages.client_hello(offer, dice), self.hello))
        server.wait(client)
        server.record(
            HANDSHAKE, messages.server_hello13(offer, dice).replace(b"\0\x2b\0\2\3\4", b"\0\x2b\0\2" + self.version)
        )
        server.rekey13(chosen, secrets["SERVER_HANDSHAKE_TRAFFIC_SECRET"])
        flight = [messages.encrypted_extensions("h2", False), *self.server_flight]
        flight += [messages.certificate13("example.test", dice), messages.certificate_verify(dice)]
        for message in [*flight, messages.finished(dice, length)]:
            server.record(HANDSHAKE, message)
        server.rekey13(chosen, secrets["SERVER_TRAFFIC_SECRET_0"])
        client.wait(server)
        client.rekey13(chosen, secrets["CLIENT_HANDSHAKE_TRAFFIC_SECRET"])
        for message in [*self.client_flight, messages.finished(dice, length)]:
            client.record(HANDSHAKE, message)
        client.rekey13(chosen, secrets["CLIENT_TRAFFIC_SECRET_0"])
        talk = Conversation(Session(chosen), client, server, log, (0, 0))
        said(talk)
        return talk


def said(talk: Conversation) -> Conversation:
    """With UP and DOWN, and closed."""
    talk.request(UP, DOWN)
    talk.close()
    return talk


def talk12(session: Session = GCM12, seed: int = 5) -> Conversation:
    return said(begin(seed, session))


def files(folder: Path, talk: Conversation, keylog: str | bytes | None = None) -> tuple[str, str]:
    """The connection as a capture, and its key log (or another one)."""
    text = talk.keylog if keylog is None else keylog
    path = folder / "made.keys"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return pcap(folder, carry(talk).frames), str(path)


def wrapped(talk: Conversation, client: Wrap, server: Wrap) -> Conversation:
    """The same conversation with each flight given to `client` or `server`, whoever sends it."""
    pair = talk.client, talk.server
    cuts = [
        sorted({0, len(mine.data), *(gate.at for gate in mine.gates), *(gate.peer for gate in other.gates)})
        for mine, other in (pair, pair[::-1])
    ]
    out: list[TlsSender] = []
    places: list[dict[int, int]] = []
    for sender, cut, wrap in zip(pair, cuts, (client, server), strict=True):
        made, place = TlsSender(), {0: 0}
        for n, (start, end) in enumerate(pairwise(cut)):
            made.raw(wrap(n, bytes(sender.data[start:end])))
            place[end] = len(made.data)
        out.append(made)
        places.append(place)
    for n, sender in enumerate(pair):
        out[n].gates = [gate._replace(at=places[n][gate.at], peer=places[1 - n][gate.peer]) for gate in sender.gates]
    return replace(talk, client=out[0], server=out[1])


def application(talk: Conversation) -> tuple[bytes, bytes]:
    """What the two applications sent, client first."""
    up, down = (
        b"".join(data for kind, data in each.truth() if kind == APPLICATION_DATA) for each in (talk.client, talk.server)
    )
    return up, down


def _with_extensions(hello: bytes, more: tuple[tuple[int, bytes], ...]) -> bytes:
    """A ClientHello with these extensions before its own."""
    body = hello[4:]
    at = 34
    at += 1 + body[at]
    at += 2 + int.from_bytes(body[at : at + 2])
    at += 1 + body[at]
    block = b"".join(kind.to_bytes(2) + messages.vector(2, data) for kind, data in more) + body[at + 2 :]
    return messages.message(1, body[:at] + messages.vector(2, block))
