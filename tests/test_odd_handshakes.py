"""Handshakes with extensions and messages that are rarely met: what they carry is read all the same."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from odd_talks import ALPS, CLIENT_EXTENSIONS, SENT, Talk13, files, said, talk12, wrapped
from replays import begin, replay
from rxtls.simulation import messages
from rxtls.simulation.sender import HANDSHAKE

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


@pytest.mark.parametrize("engine", ENGINES)
def test_trial_b8_compression_is_named(tmp_path: Path, engine: str) -> None:
    talk = talk12()
    record = talk.server.records[0]
    at = record.start + 5 + 4 + 34  # behind version and random: session id, suite, compression
    at += 1 + talk.server.data[at] + 2
    talk.server.data[at] = 1
    done = replay(*files(tmp_path, talk), engine=engine)
    for receiver in ("server", "client"):
        assert done.received(receiver)["app_bytes"] == 0
        assert "compression" in done.received(receiver)["why"]["text"]
        assert "suite" not in done.received(receiver)["why"]["text"]
    assert done.status() == 1


@pytest.mark.parametrize("draft", [25, 26, 28])
def test_trial_b8_drafts_with_the_final_record_protection(tmp_path: Path, draft: int) -> None:
    """draft-ietf-tls-tls13-25 made the record header additional data; nothing has changed since."""
    assert app_bytes(tmp_path, Talk13(version=bytes([0x7F, draft])).talk()) == SENT


@pytest.mark.parametrize(
    ("version", "name"), [(b"\x7f\x17", "draft 23"), (b"\xfb\x1a", "draft 26 as Facebook"), (b"\x7a\x7a", "0x7a7a")]
)
def test_trial_b8_other_drafts_are_named(tmp_path: Path, version: bytes, name: str) -> None:
    done = replay(*files(tmp_path, Talk13(version=version).talk()))
    assert done.received("client")["why"]["code"] == "version_unsupported"
    assert name in done.received("client")["why"]["text"]
    assert done.status() == 1


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (0x000A, "TLS_RSA_WITH_3DES_EDE_CBC_SHA"),
        (0xC050, "TLS_RSA_WITH_ARIA_128_GCM_SHA256"),
        (0x00C6, "TLS_SM4_GCM_SM3"),
    ],
)
def test_trial_b8_suites_are_named(tmp_path: Path, code: int, name: str) -> None:
    talk = talk12()
    data, start = talk.server.data, talk.server.records[0].start + 5 + 4 + 34
    at = start + 1 + data[start]
    data[at : at + 2] = code.to_bytes(2)
    assert name in replay(*files(tmp_path, talk)).received("client")["why"]["text"]


OPENVPN = b"\x00\x0e\x38" + bytes(range(8)) + bytes(5)


@pytest.mark.parametrize(
    ("first", "name"),
    [
        (OPENVPN, "OpenVPN"),
        (b"\x16\x03\0\0\0\6\1\3\0\0\0\x0a", "Modbus"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "SSH"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP"),
    ],
)
def test_trial_b8_other_protocols_are_named(tmp_path: Path, first: bytes, name: str) -> None:
    """An OpenVPN packet carries a ClientHello, and a Modbus transaction may look like a record's header."""
    inner = talk12()
    talk = wrapped(inner, lambda n, piece: first if n == 0 else first + piece, lambda _n, _piece: first)
    if name == "OpenVPN":
        talk = wrapped(
            inner,
            lambda _n, piece: OPENVPN + (len(piece) + 1).to_bytes(2) + b"\x20" + piece,
            lambda _n, piece: b"\x00\x0e\x40" + bytes(13) + (len(piece) + 1).to_bytes(2) + b"\x20" + piece,
        )
    done = replay(*files(tmp_path, talk))
    for receiver in ("server", "client"):
        assert done.received(receiver)["why"]["code"] == "not_tls"
        assert name in done.received(receiver)["why"]["text"]


@pytest.mark.parametrize("engine", ENGINES)
def test_trial_a14_a_direction_with_known_keys_that_is_lost(tmp_path: Path, engine: str) -> None:
    """Whatever the cause: here a client's message that no version has."""
    talk = Talk13(client_flight=(messages.message(99, b"what"),)).talk()
    done = replay(*files(tmp_path, talk), engine=engine)
    assert (done.received("server")["app_bytes"], done.received("client")["app_bytes"]) == (0, SENT[1])
    assert done.status() == 1
