"""Real handshakes: Python's ssl at both ends of a pair of memory buffers, every byte and the key log kept."""

from __future__ import annotations

import contextlib
import datetime
import ssl
import tempfile
import warnings
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

# OpenSSL's, for what Python's ssl has no name for.
OP_NO_ENCRYPT_THEN_MAC = 1 << 19
OP_NO_EXTENDED_MASTER_SECRET = 1 << 0

V11, V12, V13 = ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


@dataclass
class Conversation:
    """(side, bytes) in order, side 0 the client; what each sent as application data; the key log's lines."""

    flights: list[tuple[int, bytes]] = field(default_factory=list)
    sent: list[bytes] = field(default_factory=lambda: [b"", b""])
    keylog: list[str] = field(default_factory=list)
    openssl_suite: str = ""
    resumed: bool = False
    session: ssl.SSLSession | None = None
    error: ssl.SSLError | None = None

    def labels(self, *prefixes: str) -> bytes:
        """The key log's lines that begin so."""
        return "".join(line for line in self.keylog if line.startswith(prefixes)).encode()


@cache
def directory() -> Path:
    """Where this run's certificates and key logs go; removed at the end."""
    made = tempfile.TemporaryDirectory()
    _directories.append(made)
    return Path(made.name)


_directories: list[tempfile.TemporaryDirectory[str]] = []


@cache
def certificate(kind: str) -> Path:
    """A self-signed certificate and its key in one file; `kind` is "ec" or "rsa"."""
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    key = ec.generate_private_key(ec.SECP256R1()) if kind == "ec" else rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "example.test")])
    start = datetime.datetime(2020, 1, 1)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=36500))
        .sign(key, hashes.SHA256())
    )
    path = directory() / f"{kind}.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


def contexts(
    version: ssl.TLSVersion = V13,
    ciphers: str | None = None,
    key: str = "ec",
    alpn: tuple[str, ...] = (),
    options: int = 0,
    curve: str | None = None,
) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """(client's, server's)."""
    client, server = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    server.load_cert_chain(certificate(key))
    for context in (client, server):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # TLS 1.1 is what is asked for
            context.minimum_version = context.maximum_version = version
        context.options |= options
        if ciphers:
            context.set_ciphers(ciphers)
        if alpn:
            context.set_alpn_protocols(list(alpn))
    if curve:
        server.set_ecdh_curve(curve)
    return client, server


def converse(
    pair: tuple[ssl.SSLContext, ssl.SSLContext],
    sizes: tuple[tuple[int, ...], tuple[int, ...]] = ((10, 5000), (3, 20000)),
    session: ssl.SSLSession | None = None,
    close: bool = True,
) -> Conversation:
    """A whole connection: handshake, the client writes `sizes[0]`, the server `sizes[1]`, both close."""
    client_context, server_context = pair
    log = directory() / f"keys-{id(pair)}"
    log.write_text("")
    client_context.keylog_filename = str(log)
    talk = Conversation()
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    from_client, from_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, from_client, server_hostname="example.test", session=session)
    server = server_context.wrap_bio(to_server, from_server, server_side=True)

    def carry() -> bool:
        moved = False
        for side, source, target in ((0, from_client, to_server), (1, from_server, to_client)):
            data = source.read()
            if data:
                talk.flights.append((side, data))
                target.write(data)
                moved = True
        return moved

    done = [False, False]
    try:
        while not all(done):
            for side, end in enumerate((client, server)):
                try:
                    if not done[side]:
                        end.do_handshake()
                        done[side] = True
                except ssl.SSLWantReadError:
                    pass
                finally:
                    carry()
    except ssl.SSLError as error:
        talk.error = error
    else:
        for side, end, other in ((0, client, server), (1, server, client)):
            for size in sizes[side]:
                data = bytes((size + i) & 0xFF for i in range(size))
                end.write(data)
                talk.sent[side] += data
                carry()
            _read(other)
        for end in (client, server) if close else ():
            with contextlib.suppress(ssl.SSLError):  # the other side has not closed yet
                end.unwrap()
            carry()
        cipher = client.cipher()
        talk.openssl_suite = cipher[0] if cipher else ""
        talk.resumed = bool(client.session_reused)
        talk.session = client.session
    talk.keylog = log.read_text().splitlines(keepends=True)
    return talk


def _read(end: ssl.SSLObject) -> None:
    """Take everything that has come, tickets included."""
    with contextlib.suppress(ssl.SSLError):
        while end.read(65536):
            pass
