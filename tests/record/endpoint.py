"""The two ends of a recorded connection, as Python ssl programs that know exactly what they sent and received.

Run as `endpoint.py serve PLAN` or `endpoint.py connect PLAN`, PLAN being JSON. Both ends walk the same
steps in lockstep, so a recording is the same shape every time:

    ["up", [1, 100, 16384]]    the client writes three records of these sizes, the server reads them all
    ["down", [...]]            the other way
    ["pause", seconds]         both wait (keep-alives show)
    ["lag", seconds]           the server waits while the client goes on (zero-window probes show)
    ["authenticate"]           the server asks for the client's certificate after the handshake (RFC 8446 4.6.2)

and then one of ENDINGS. The last line printed is a JSON report: version, suite, port, byte counts and SHA-256 of what
was sent and received.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import signal
import socket
import ssl
import struct
import sys
import threading
import time
import warnings
from typing import Any

Plan = dict[str, Any]

PATIENCE = 15.0
TCP_FASTOPEN_CONNECT = 30  # linux/tcp.h; Python 3.11 has no name for it
VERSIONS = {
    "1.0": ssl.TLSVersion.TLSv1,
    "1.1": ssl.TLSVersion.TLSv1_1,
    "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3": ssl.TLSVersion.TLSv1_3,
}
# Names of SSL_OP_ bits that the ssl module does not export (openssl/ssl.h, 3.0).
OPTIONS = {
    "no_extended_master_secret": 1 << 0,
    "ignore_unexpected_eof": 1 << 7,
    "no_ticket": 1 << 14,
    "no_encrypt_then_mac": 1 << 19,
}
# How a connection ends. "close": the client's close_notify is answered by the server's. "server": the server's comes
# first. "fin": the client's FIN alone. "rst": the client's reset. "kill": the client process dies. "half-fin" and
# "half-notify": the client ends its direction (FIN alone; close_notify alone) and the server still sends `last`.
ENDINGS = ("close", "server", "fin", "rst", "kill", "half-fin", "half-notify")


class End:
    """One end: the socket, what it will send, and what it has sent and received."""

    def __init__(self, tls: ssl.SSLSocket, plan: Plan, client: bool, session: int) -> None:
        self.tls = tls
        self.plan = plan
        self.client = client
        # Asked now: a socket that was reset has no peer any more.
        self.port = (tls.getsockname() if client else tls.getpeername())[1]
        self.noise = random.Random(f"{plan['name']}/{session}/{'up' if client else 'down'}")
        self.sent, self.received = hashlib.sha256(), hashlib.sha256()
        self.sent_bytes = self.received_bytes = 0

    def send(self, sizes: list[int]) -> None:
        for size in sizes:
            data = self.noise.randbytes(size)
            self.tls.sendall(data)
            self.sent.update(data)
            self.sent_bytes += size

    def receive(self, size: int) -> None:
        while size:
            data = self.tls.recv(min(size, 65536))
            if not data:
                raise EOFError(f"{size} bytes short")
            self.received.update(data)
            self.received_bytes += len(data)
            size -= len(data)

    def walk(self) -> None:
        for step in self.plan["steps"]:
            if step[0] == "pause" or (step[0] == "lag" and not self.client):
                time.sleep(step[1])
            elif step[0] == "lag":
                continue
            elif step[0] == "authenticate":
                if not self.client:
                    self.tls.verify_client_post_handshake()
            elif (step[0] == "up") == self.client:
                self.send(step[1])
            else:
                self.receive(sum(step[1]))

    def report(self) -> Plan:
        cipher = self.tls.cipher()
        return {
            "port": self.port,
            "openssl_suite": cipher[0] if cipher else None,
            "tls": (self.tls.version() or "").removeprefix("TLSv"),
            "resumed": bool(self.tls.session_reused),
            "sent": [self.sent_bytes, self.sent.hexdigest()],
            "received": [self.received_bytes, self.received.hexdigest()],
        }

    def finish(self) -> Plan:
        """Take the ending's part of this end; returns the report (made before the socket goes)."""
        ending = self.plan.get("end", "close")
        last = self.plan.get("last", [])
        if ending in ("half-fin", "half-notify"):
            self._finish_half(ending, last)
            report = self.report()
            self.tls.close()
            return report
        report = self.report()
        if ending == "kill" and self.client:
            print(json.dumps(report), flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        speaks_first = self.client == (ending != "server")
        if ending == "rst" and speaks_first:
            self.tls.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if not speaks_first:
            with contextlib.suppress(OSError):
                self.tls.recv(1)
        if ending in ("close", "server"):
            with contextlib.suppress(OSError):
                self.tls.unwrap()
        self.tls.close()
        return report

    def _finish_half(self, ending: str, last: list[int]) -> None:
        if not self.client:
            assert self.tls.recv(1) == b""
            time.sleep(0.3)  # the client's ssl module takes data that arrives during its unwrap() for an error
            self.send(last)
            with contextlib.suppress(OSError):
                self.tls.unwrap()
            return
        if ending == "half-fin":
            # A second descriptor: SSLSocket.shutdown() would throw the TLS state away with the sending direction.
            with socket.socket(fileno=os.dup(self.tls.fileno())) as raw:
                raw.shutdown(socket.SHUT_WR)
        else:
            self.tls.setblocking(False)
            with contextlib.suppress(ssl.SSLWantReadError):
                self.tls.unwrap()  # sends our close_notify; the peer's has not come yet
            self.tls.settimeout(PATIENCE)
        self.receive(sum(last))
        with contextlib.suppress(OSError):
            self.tls.recv(1)


def context(plan: Plan, client: bool) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT if client else ssl.PROTOCOL_TLS_SERVER)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the deprecated versions are what some recordings are for
        made.minimum_version = VERSIONS[plan.get("min", "1.2")]
        made.maximum_version = VERSIONS[plan.get("max", "1.3")]
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.set_ciphers(plan.get("ciphers", "DEFAULT"))
    for name in plan.get("options", []):
        made.options |= OPTIONS[name]
    if plan.get("alpn"):
        made.set_alpn_protocols(plan["alpn"])
    for cert, key in plan.get("certificates", []):
        made.load_cert_chain(cert, key)
    if client:
        made.keylog_filename = plan["keylog"]
        made.post_handshake_auth = bool(plan.get("post_handshake"))
        return made
    if plan.get("dh"):
        made.load_dh_params(plan["dh"])
    if plan.get("trust"):
        made.load_verify_locations(plan["trust"])
        made.post_handshake_auth = bool(plan.get("post_handshake"))
        made.verify_mode = ssl.CERT_OPTIONAL if plan.get("post_handshake") else ssl.CERT_REQUIRED
    return made


def connect(plan: Plan) -> None:
    """One connection; more of them resume the first one's session if the plan says `sessions`: N."""
    made = context(plan, client=True)
    session: ssl.SSLSession | None = None
    for number in range(plan.get("sessions", 1)):
        family = socket.AF_INET6 if ":" in plan["address"] else socket.AF_INET
        raw = socket.socket(family, socket.SOCK_STREAM)
        raw.settimeout(PATIENCE)
        tune(raw, plan.get("client_socket", {}))
        if plan.get("bind"):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            raw.bind(("", plan["bind"]))
        # Wrapped before it is connected, for the sake of TCP Fast Open: the ClientHello is what sends the SYN.
        tls = made.wrap_socket(raw, server_hostname=plan.get("sni", "example.test"), session=session)
        tls.connect((plan["address"], plan["port"]))
        end = End(tls, plan, True, number)
        end.walk()
        session = tls.session
        print(json.dumps(end.finish()), flush=True)


def serve(plan: Plan) -> None:
    """As many connections as there are plans in `connections`, in order."""
    family = socket.AF_INET6 if ":" in plan["address"] else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tune(listener, plan.get("server_socket", {}))
        listener.bind((plan["address"], plan["port"]))
        listener.listen(16)
        listener.settimeout(PATIENCE)
        made = context(plan, client=False)
        print("ready", flush=True)
        threads = []
        for connection in plan["connections"]:
            for number in range(connection.get("sessions", 1)):
                raw, _ = listener.accept()
                threads.append(threading.Thread(target=answer, args=(raw, made, connection, number)))
                threads[-1].start()
                if not plan.get("together"):
                    threads[-1].join()
        for thread in threads:
            thread.join()


def answer(raw: socket.socket, made: ssl.SSLContext, plan: Plan, number: int) -> None:
    raw.settimeout(PATIENCE)
    preamble(raw, plan.get("preamble", ""))
    end = End(made.wrap_socket(raw, server_side=True), plan, False, number)
    end.walk()
    sys.stdout.write(json.dumps(end.finish()) + "\n")  # one write: threads share the stream
    sys.stdout.flush()


def tune(raw: socket.socket, wanted: Plan) -> None:
    """Socket options by name: receive_buffer (bytes), keepalive (seconds), fastopen, mss."""
    if "receive_buffer" in wanted:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, wanted["receive_buffer"])
    if "mss" in wanted:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, wanted["mss"])
    if "keepalive" in wanted:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, wanted["keepalive"])
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, wanted["keepalive"])
    if wanted.get("fastopen") == "connect":
        raw.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
    if wanted.get("fastopen") == "listen":
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 16)


def preamble(raw: socket.socket, kind: str) -> None:
    """The server's part of a plaintext protocol that turns to TLS: smtp (RFC 3207), imap (RFC 9051), postgres."""
    if kind == "smtp":
        raw.sendall(b"220 example.test ESMTP\r\n")
        line_from(raw)
        raw.sendall(b"250-example.test\r\n250-SIZE 1000000\r\n250 STARTTLS\r\n")
        line_from(raw)
        raw.sendall(b"220 Ready to start TLS\r\n")
    elif kind == "imap":
        raw.sendall(b"* OK example.test IMAP4rev2\r\n")
        name = line_from(raw).split()[0]
        raw.sendall(b"* CAPABILITY IMAP4rev2 STARTTLS\r\n" + name + b" OK done\r\n")
        name = line_from(raw).split()[0]
        raw.sendall(name + b" OK begin TLS\r\n")
    elif kind == "postgres":
        assert raw.recv(8, socket.MSG_WAITALL) == struct.pack(">II", 8, 80877103)  # SSLRequest
        raw.sendall(b"S")


def line_from(raw: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        piece = raw.recv(1)
        if not piece:
            raise EOFError(line)
        line += piece
    return line


if __name__ == "__main__":
    {"serve": serve, "connect": connect}[sys.argv[1]](json.loads(sys.argv[2]))
