"""Handshakes with extensions and messages that are rarely met: what they carry is read all the same."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from odd_talks import ALPS, CLIENT_EXTENSIONS, SENT, Talk13, files, said, talk12
from replays import begin, replay
from rxtls.edge import messages
from rxtls.edge.sender import HANDSHAKE

ENGINES = ("compiled", "plain")
GREASE = ((0x0A0A, b""), (0xFAFA, b"\0"))


def app_bytes(folder: Path, talk: object, keylog: str | None = None, **options: object) -> tuple[int, int]:
    done = replay(*files(folder, talk, keylog), **options)  # type: ignore[arg-type]
    return done.received("server")["app_bytes"], done.received("client")["app_bytes"]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("code", [ALPS, 17513])
def test_trial_b4_a_clients_encrypted_extensions(tmp_path: Path, engine: str, code: int) -> None:
    """draft-vvv-tls-alps: with application_settings the client, too, has such a message, before its Finished."""
    body = messages.vector(2, code.to_bytes(2) + messages.vector(2, b"settings"))
    talk = Talk13(hello=((code, b"\0\3\2h2"),), client_flight=(messages.message(8, body),)).talk()
    done = replay(*files(tmp_path, talk), engine=engine)
    assert (done.received("server")["app_bytes"], done.received("client")["app_bytes"]) == SENT
    assert done.status() == 0
    assert done.flow()["alpn"] == "h2"  # what the server said stands


def test_trial_b4_siblings_a_client_certificate_behind_it(tmp_path: Path) -> None:
    certificate = messages.message(11, b"\0\0\0\0")
    request = messages.message(13, b"\0" + messages.vector(2, b""))
    talk = Talk13(client_flight=(CLIENT_EXTENSIONS, certificate), server_flight=(request,), hello=GREASE).talk()
    assert app_bytes(tmp_path, talk) == SENT


@pytest.mark.parametrize("engine", ENGINES)
def test_trial_b8_heartbeats_in_a_handshake_and_behind_it(tmp_path: Path, engine: str) -> None:
    """RFC 6520: a record type of its own. One that comes amid a handshake is passed over, as the peers do."""
    talk = begin(3, talk12().session)
    talk.client.record(24, b"\1\0\x10" + bytes(32))
    said(talk)
    beat = b"\x18\3\3\0\x13\1\0\x10" + bytes(16)
    hello = talk.client.records[0]
    data = talk.client.data
    data[hello.length : hello.length] = beat  # between the hello and the key exchange, in the clear
    talk.client.gates = [gate._replace(at=gate.at + len(beat)) for gate in talk.client.gates]
    talk.server.gates = [gate._replace(peer=gate.peer + len(beat)) for gate in talk.server.gates]
    done = replay(*files(tmp_path, talk), engine=engine)
    assert (done.received("server")["app_bytes"], done.received("client")["app_bytes"]) == SENT
    assert done.received("server")["records"]["failed"] == 0


def test_authentication_after_the_handshake_changes_no_keys(tmp_path: Path) -> None:
    more = begin(7)
    more.server.record(HANDSHAKE, messages.message(13, b"\x01x" + messages.vector(2, b"")))
    more.client.wait(more.server)
    for message in (messages.certificate13("client", Random(1)), messages.message(20, bytes(32))):
        more.client.record(HANDSHAKE, message)
    assert app_bytes(tmp_path, said(more)) == SENT
