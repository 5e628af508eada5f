"""OpenSSL as the judge: we open its records with keys derived from its key log, and it accepts records sealed here."""

from __future__ import annotations

import datetime
import ssl
import warnings
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from rxtls.crypto.keys import Keys
from rxtls.crypto.records import Opener, Sealer
from rxtls.crypto.schedule import tls12_keys, tls13_keys
from rxtls.crypto.stream import StreamOpener
from rxtls.crypto.suites import Suite, Version, suite

NO_ENCRYPT_THEN_MAC = 0x80000  # SSL_OP_NO_ENCRYPT_THEN_MAC, which the ssl module does not name


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    key = ec.derive_private_key(0x1234567890ABCDEF, ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    start = datetime.datetime(2020, 1, 1)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, start, start.replace(year=2099))
    path = tmp_path_factory.mktemp("openssl") / "certificate.pem"
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    pkcs8 = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(pem + pkcs8)
    return path


class Session(NamedTuple):
    client: ssl.SSLObject
    server: ssl.SSLObject
    to_server: ssl.MemoryBIO
    to_client: ssl.MemoryBIO
    client_hello: bytes
    server_hello: bytes
    secrets: dict[str, bytes]


def session(certificate: Path, log: Path, version: Version, cipher: str | None, etm: bool) -> Session:
    """A handshake in memory, or skip when this Python's OpenSSL does not do that version or cipher."""
    contexts = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    names = {Version.TLS11: "TLSv1_1", Version.TLS12: "TLSv1_2", Version.TLS13: "TLSv1_3"}
    try:
        for context in contexts:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # TLS 1.1 is deprecated, which is why it is tested
                context.minimum_version = context.maximum_version = ssl.TLSVersion[names[version]]
            if cipher:
                context.set_ciphers(f"{cipher}:@SECLEVEL=0")
            if not etm:
                context.options |= NO_ENCRYPT_THEN_MAC
        contexts[0].check_hostname, contexts[0].verify_mode = False, ssl.CERT_NONE
        contexts[0].keylog_filename = str(log)
        contexts[1].load_cert_chain(certificate)
        contexts[1].num_tickets = 0
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = contexts[0].wrap_bio(to_client, to_server)
        server = contexts[1].wrap_bio(to_server, to_client, server_side=True)
        flights: list[bytes] = []
        for end, sent in ((client, to_server), (server, to_client), (client, to_server), (server, to_client)) * 2:
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
            flights.append(sent.read())
            sent.write(flights[-1])
        client.do_handshake()
        server.do_handshake()
    except (ssl.SSLError, ValueError) as error:
        pytest.skip(f"this Python's OpenSSL does not do that: {error}")
    secrets = {}
    for line in log.read_text().splitlines():
        if not line.startswith("#"):
            label, _, secret = line.split()
            secrets[label] = bytes.fromhex(secret)
    return Session(client, server, to_server, to_client, flights[0][5:], flights[1][5:], secrets)


def has_extension(server_hello: bytes, wanted: int) -> bool:
    at = 38 + 1 + server_hello[38] + 3  # type, length, version, random; session id; suite, compression
    end = at + 2 + int.from_bytes(server_hello[at : at + 2])
    at += 2
    while at < end:
        if int.from_bytes(server_hello[at : at + 2]) == wanted:
            return True
        at += 4 + int.from_bytes(server_hello[at + 2 : at + 4])
    return False


def negotiated(made: Session) -> Suite:
    at = 39 + made.server_hello[38]
    found = suite(int.from_bytes(made.server_hello[at : at + 2]))
    assert found is not None
    return found


def records(stream: bytes) -> list[bytes]:
    out = []
    while stream:
        total = 5 + int.from_bytes(stream[3:5])
        out.append(stream[:total])
        stream = stream[total:]
    return out


def converse(made: Session, client_keys: Keys, server_keys: Keys, number: int) -> None:
    """Both ways, OpenSSL to us and us to OpenSSL; `number` is that of the next record in each direction."""
    ways = (
        (made.client, made.to_server, client_keys, made.server),
        (made.server, made.to_client, server_keys, made.client),
    )
    made.to_server.read(), made.to_client.read()
    for sender, wire, keys, receiver in ways:
        opener = Opener(keys)
        next_number = number
        for payload in (b"x", b"hello" * 100, bytes(16384)):
            sender.write(payload)
            sent = records(wire.read())
            assert b"".join(opener.open(next_number + i, record).payload for i, record in enumerate(sent)) == payload
            if keys.stream:
                stream = StreamOpener(keys, next_number, sent[0][: keys.header_length])
                stream.update(sent[0][keys.header_length : -16])
                assert stream.verify(sent[0][-16:])
            wire.write(b"".join(sent))
            assert receiver.read(20000) == payload
            next_number += len(sent)
        for padding in (0, 16, 240) if keys.suite.mac else (0, 1, 300) if keys.version is Version.TLS13 else (0,):
            payload = b"sealed here"
            wire.write(Sealer(keys).seal(next_number, 23, payload, padding))
            assert receiver.read(20000) == payload
            next_number += 1


TLS12_CIPHERS = [
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-CCM",
    "ECDHE-ECDSA-AES256-CCM",
    "ECDHE-ECDSA-AES128-CCM8",
    "ECDHE-ECDSA-AES256-CCM8",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-ECDSA-AES128-SHA256",
    "ECDHE-ECDSA-AES256-SHA384",
]
CASES = [(Version.TLS12, cipher, etm) for cipher in TLS12_CIPHERS for etm in (True, False)]
CASES += [(Version.TLS11, f"ECDHE-ECDSA-AES{bits}-SHA", etm) for bits in (128, 256) for etm in (True, False)]


@pytest.mark.parametrize(("version", "cipher", "etm"), CASES)
def test_tls12_and_before(certificate: Path, tmp_path: Path, version: Version, cipher: str, etm: bool) -> None:
    made = session(certificate, tmp_path / "keys", version, cipher, etm)
    agreed = has_extension(made.server_hello, 22)  # RFC 7366 section 2: encrypt_then_mac
    assert agreed == (etm and negotiated(made).mac is not None)
    randoms = made.client_hello[6:38], made.server_hello[6:38]
    client, server = tls12_keys(negotiated(made), version, made.secrets["CLIENT_RANDOM"], *randoms, agreed)
    converse(made, client, server, 1)  # each side's Finished was number 0


def test_tls13(certificate: Path, tmp_path: Path) -> None:
    made = session(certificate, tmp_path / "keys", Version.TLS13, None, True)
    agreed = negotiated(made)
    secrets = made.secrets["CLIENT_TRAFFIC_SECRET_0"], made.secrets["SERVER_TRAFFIC_SECRET_0"]
    converse(made, tls13_keys(agreed, secrets[0]), tls13_keys(agreed, secrets[1]), 0)
