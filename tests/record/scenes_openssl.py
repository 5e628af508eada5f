"""openssl s_client and s_server: what only they can be told to do (KeyUpdate, renegotiation, early data, padding)."""

from __future__ import annotations

import json
import random
import subprocess
from dataclasses import dataclass, field
from typing import Any

from oracle import Flow, digest
from scene import ENDPOINTS, Recorded, Scene, serve
from stage import Host, Process, Stage

SAID = "what was written to each program's standard input, seen on the other's standard output"
TYPED = "openssl s_client and s_server over loopback, "


@dataclass
class Talk:
    """An s_server and the s_clients that come to it; remembers what each side was given to send.

    Text of digits only: s_client and s_server take a line's first letter for a command (K, R, Q).
    """

    stage: Stage
    name: str
    server_options: list[str]
    host: Host = field(init=False)
    server: Process = field(init=False)
    flows: list[Flow] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.host = self.stage.loopback()
        self.noise = random.Random(self.name)
        self.keys = self.stage.directory / f"{self.name}.keys"
        self.capture = self.stage.directory / f"{self.name}.pcap"
        self.start_server(self.server_options)

    def start_server(self, options: list[str]) -> None:
        cert, key = self.stage.certificate("rsa")
        argv = ["openssl", "s_server", "-accept", "443"]
        argv += [] if "-cert" in options or "-nocert" in options else ["-cert", str(cert), "-key", str(key)]
        self.server = self.host.start([*argv, *options])
        self.server.await_output(b"ACCEPT")

    def connect(self, *options: str, early: bytes = b"") -> Connection:
        argv = ["openssl", "s_client", "-connect", "127.0.0.1:443", "-servername", "example.test"]
        argv += ["-keylogfile", str(self.keys)]
        if early:
            file = self.stage.directory / "early"
            file.write_bytes(early)
            argv += ["-early_data", str(file)]
        return Connection(self, self.host.start([*argv, *options]))

    def recorded(self, how: str, **more: Any) -> Recorded:
        return Recorded(self.name, self.capture, self.keys, self.flows, TYPED + how, oracle=SAID, **more)


@dataclass
class Connection:
    """One s_client's connection."""

    talk: Talk
    client: Process
    sent: dict[str, bytes] = field(default_factory=lambda: {"up": b"", "down": b""})

    def up(self, size: int) -> Connection:
        return self._say("up", size, self.client, self.talk.server)

    def down(self, size: int) -> Connection:
        return self._say("down", size, self.talk.server, self.client)

    def command(self, letters: str, server: bool = False) -> Connection:
        """Type command letters, each on its own line and in its own read: "K", "k", "R", "r"."""
        for letter in letters:
            (self.talk.server if server else self.client).say(letter.encode() + b"\n")
            subprocess.run(["sleep", "0.15"], check=True)
        return self

    def close(self, early: bytes = b"", accepted: bool = True, **notes: Any) -> None:
        """Q: close_notify from the client; the flow is then complete."""
        self.client.say(b"Q\n")
        self.client.finish(check=False)
        if "resumed" in notes:
            assert (b"\nReused, " in self.client.stdout.read_bytes()) == notes["resumed"]
        if early:
            assert b"Early data was " + (b"accepted" if accepted else b"rejected") in self.client.stdout.read_bytes()
            size, sha256 = digest(early)
            notes["early_data"] = {"bytes": size, "sha256": sha256, "accepted": accepted}
        up = (early if accepted else b"") + self.sent["up"]
        self.talk.flows.append(Flow(digest(up), digest(self.sent["down"]), None, notes))

    def _say(self, side: str, size: int, sender: Process, receiver: Process) -> Connection:
        data = "".join(self.talk.noise.choices("0123456789", k=size - 1)).encode() + b"\n"
        # Pieces as large as a pipe passes in one read, so that every read starts with a digit.
        for piece in _pieces(data):
            sender.say(piece)
            receiver.await_output(piece[-40:])
        self.sent[side] += data
        return self


def _pieces(data: bytes) -> list[bytes]:
    return [data[at : at + 4096] for at in range(0, len(data), 4096)]


def key_update(stage: Stage) -> list[Recorded]:
    """KeyUpdate in both directions, requested and not, several in a row, between application data."""
    talk = Talk(stage, "key-update", ["-tls1_3"])
    with talk.host.sniff(talk.capture):
        for suite in ("TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_256_GCM_SHA384"):
            one = talk.connect("-ciphersuites", suite).up(3000).down(500)
            one.command("K").up(2000).down(2000).command("k").up(900).command("K", server=True)
            one.down(3000).up(20).command("k", server=True).down(700).command("kkK").up(4000).down(4000)
            one.close(key_updates="client K k k k K, server K k")
    return [talk.recorded("commands K (update requested) and k typed at both")]


def record_padding(stage: Stage) -> list[Recorded]:
    """TLS 1.3 records padded to multiples of 512 and 4096 at both ends."""
    talk = Talk(stage, "record-padding", ["-tls1_3", "-record_padding", "512"])
    with talk.host.sniff(talk.capture):
        talk.connect("-record_padding", "4096").up(3000).down(500).up(2).down(4096).close()
    return [talk.recorded("-record_padding 512 at the server, 4096 at the client")]


def small_records(stage: Stage) -> list[Recorded]:
    """Records of at most 512 bytes: max_fragment_length (RFC 6066) and -max_send_frag, TLS 1.3 and 1.2."""
    talk = Talk(stage, "small-records", ["-max_send_frag", "600"])
    with talk.host.sniff(talk.capture):
        for version in ("-tls1_3", "-tls1_2"):
            talk.connect(version, "-maxfraglen", "512").up(6000).down(5000).close()
    return [talk.recorded("-maxfraglen 512 at the client, -max_send_frag 600 at the server")]


def resumed_by_openssl(stage: Stage) -> list[Recorded]:
    """TLS 1.3 PSK with (EC)DHE and without, TLS 1.2 by ticket: -sess_out, then -sess_in, one capture."""
    talk = Talk(stage, "resumed-openssl", ["-allow_no_dhe_kex"])
    with talk.host.sniff(talk.capture):
        for version, *options in (["-tls1_3"], ["-tls1_3", "-allow_no_dhe_kex"], ["-tls1_2"]):
            session = str(stage.directory / "session")
            talk.connect(version, "-sess_out", session).up(300).down(300).close(resumed=False)
            talk.connect(version, *options, "-sess_in", session).up(3000).down(900).close(resumed=True)
    return [talk.recorded("sessions kept in files; the second pair offers psk_ke too")]


def external_psk(stage: Stage) -> list[Recorded]:
    """TLS 1.3 with an external PSK: no certificate, no ticket before."""
    psk = ["-psk", "0123456789abcdef" * 2, "-psk_identity", "example"]
    talk = Talk(stage, "external-psk", ["-tls1_3", "-nocert", *psk, "-ciphersuites", "TLS_AES_128_GCM_SHA256"])
    with talk.host.sniff(talk.capture):
        talk.connect("-tls1_3", *psk, "-ciphersuites", "TLS_AES_128_GCM_SHA256").up(2000).down(900).close()
    return [talk.recorded("-psk at both")]


def hello_retry_request(stage: Stage) -> list[Recorded]:
    """HelloRetryRequest, in a full handshake and in a resumed one."""
    talk = Talk(stage, "hello-retry-request", ["-tls1_3", "-groups", "P-384"])
    groups, session = ["-groups", "X25519:P-384"], str(stage.directory / "session")
    with talk.host.sniff(talk.capture):
        talk.connect(*groups, "-sess_out", session).up(1000).down(900).close(resumed=False)
        talk.connect(*groups, "-sess_in", session).up(3000).down(900).close(resumed=True)
    return [talk.recorded("the client's key share is X25519, the server has only P-384")]


def early_data_accepted(stage: Stage) -> list[Recorded]:
    """0-RTT data accepted: one record, and several."""
    options = ["-tls1_3", "-early_data", "-max_early_data", "40000"]
    options += ["-recv_max_early_data", "40000"]
    talk = Talk(stage, "early-data-accepted", options)
    with talk.host.sniff(talk.capture):
        for size in (1200, 30000):
            session, early = str(stage.directory / "session"), talk.noise.randbytes(size)
            talk.connect("-sess_out", session).up(100).down(100).close(resumed=False)
            one = talk.connect("-sess_in", session, early=early)
            talk.server.await_output(early[-40:])
            one.up(3000).down(900).close(early, resumed=True)
    return [talk.recorded("s_client -sess_in -early_data, s_server -early_data")]


def early_data_rejected(stage: Stage) -> list[Recorded]:
    """0-RTT data rejected: PSK refused (ticket replayed), PSK accepted (ALPN changed), HelloRetryRequest."""
    options = ["-tls1_3", "-early_data", "-groups", "X25519:P-384", "-alpn", "b,a"]
    talk = Talk(stage, "early-data-rejected", options)
    session, early = str(stage.directory / "session"), talk.noise.randbytes(5000)
    used = ["-sess_in", session]
    with talk.host.sniff(talk.capture):
        talk.connect("-alpn", "a", "-sess_out", session).up(100).down(100).close(resumed=False)
        talk.connect("-alpn", "a", *used, early=early).up(200).down(200).close(early, resumed=True)
        why = "replayed: single-use ticket, so a full handshake"
        talk.connect("-alpn", "a", *used, early=early).up(3000).down(900).close(early, False, why=why, resumed=False)
        talk.connect("-alpn", "a", "-sess_out", session).up(100).down(100).close(resumed=False)
        one = talk.connect("-alpn", "a,b", *used, early=early).up(2000).down(800)
        one.close(early, False, why="ALPN differs; the PSK is accepted", resumed=True)
        talk.connect("-alpn", "a", "-sess_out", session).up(100).down(100).close(resumed=False)
        one = talk.connect("-alpn", "a", "-groups", "P-256:P-384", *used, early=early).up(2000).down(800)
        one.close(
            early, False, why="HelloRetryRequest, and the ticket was used up by the first ClientHello", resumed=False
        )
    how = "early data refused for three reasons; `up` is without it, `early_data` tells of it"
    return [talk.recorded(how, blind="it follows early data that the server refused as if it had been accepted")]


def renegotiation(stage: Stage) -> list[Recorded]:
    """TLS 1.2 renegotiation begun by the client (R) and by the server (r), between application data."""
    talk = Talk(stage, "renegotiation", ["-tls1_2", "-client_renegotiation"])
    with talk.host.sniff(talk.capture):
        for suite in ("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-CHACHA20-POLY1305", "ECDHE-RSA-AES256-SHA384"):
            one = talk.connect("-tls1_2", "-cipher", suite).up(3000).down(500)
            one.command("R").up(2000).down(2000).command("r", server=True).down(900).up(900)
            one.close(renegotiations=2)
    return [talk.recorded("commands R at the client and r at the server")]


def large_certificate(stage: Stage) -> list[Recorded]:
    """A certificate of 24 KB: its message is cut over records and segments, TLS 1.3 and 1.2."""
    cert, key = stage.directory / "large.pem", stage.directory / "large.key"
    names = ",".join(f"DNS:host-{number:04}.example.test" for number in range(900))
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=example.test"]
    argv += ["-days", "3650", "-addext", f"subjectAltName={names}", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(argv, check=True, capture_output=True, timeout=30)
    talk = Talk(stage, "large-certificate", ["-cert", str(cert), "-key", str(key)])
    with talk.host.sniff(talk.capture):
        for version in ("-tls1_3", "-tls1_2"):
            talk.connect(version).up(3000).down(900).close()
    return [talk.recorded("900 subject alternative names")]


def no_middlebox_mode(stage: Stage) -> list[Recorded]:
    """TLS 1.3 without the middlebox-compatible ChangeCipherSpec."""
    talk = Talk(stage, "no-middlebox-mode", ["-tls1_3", "-no_middlebox"])
    with talk.host.sniff(talk.capture):
        talk.connect("-no_middlebox").up(3000).down(900).close()
    return [talk.recorded("-no_middlebox at both")]


def starttls(stage: Stage) -> list[Recorded]:
    """TLS after a plaintext preamble: SMTP, IMAP, PostgreSQL."""
    made = []
    for kind, port, version in (("smtp", 25, "-tls1_3"), ("imap", 143, "-tls1_2"), ("postgres", 5432, "-tls1_3")):
        name = f"starttls-{kind}"
        host, keys, capture = stage.loopback(), stage.directory / f"{name}.keys", stage.directory / f"{name}.pcap"
        up = random.Random(name).randbytes(7000)
        plan = {"name": name, "steps": [["up", [7000]], ["down", [3000]]], "preamble": kind, "end": "server"}
        with host.sniff(capture):
            serving = serve(stage, host, [plan], port=port)
            argv = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-starttls", kind, version]
            client = host.start([*argv, "-quiet", "-nocommands", "-keylogfile", str(keys)])
            client.say(up)
            down = client.finish(check=False)
            report = json.loads(serving.finish().splitlines()[1])
        # s_client prints the server's last preamble line (IMAP, SMTP) before the decrypted data.
        down = down[len(down) - 3000 :]
        assert (tuple(report["received"]), tuple(report["sent"])) == (digest(up), digest(down))
        flow = Flow(digest(up), digest(down), report["port"], {"preamble": kind})
        how = f"s_client -starttls {kind} to endpoint.py over loopback"
        made.append(Recorded(name, capture, keys, [flow], how, oracle=ENDPOINTS, server_ports={port}))
    return made


SCENES: list[Scene] = [
    key_update,
    record_padding,
    small_records,
    resumed_by_openssl,
    external_psk,
    hello_retry_request,
    early_data_accepted,
    early_data_rejected,
    renegotiation,
    large_certificate,
    no_middlebox_mode,
    starttls,
]
