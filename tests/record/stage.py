"""Where recordings happen: network namespaces made for one recording, the programs run in them, and the sniffers.

The rule of this file: nothing outlives its recording and nothing outside it is touched. Every namespace is made here
under a name with our process id in it, every program is ended by the process id we got when we started it, and every
wait has a limit. Addresses are the documentation ranges (RFC 5737, RFC 3849), so that no capture shows a real network.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

PATIENCE = 20.0  # seconds any one program may take to start, answer or end
SETTLE = 0.25  # seconds given to the last frames of a connection before a sniffer is stopped

_serial = itertools.count()


class StageError(Exception):
    """A program did not do what the recording needs; the text says which and how it ended."""


@dataclass
class Process:
    """A program we started; what it prints goes to files, so that no pipe of ours can block it."""

    name: str
    popen: subprocess.Popen[bytes]
    stdout: Path
    stderr: Path

    def say(self, data: bytes) -> None:
        """Write to its standard input at once."""
        assert self.popen.stdin is not None
        self.popen.stdin.write(data)
        self.popen.stdin.flush()

    def hush(self) -> None:
        """End its standard input."""
        assert self.popen.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.popen.stdin.close()

    def await_output(self, wanted: bytes, stream: str = "stdout") -> None:
        """Wait until `wanted` was printed; StageError if the program ends first or PATIENCE runs out."""
        path = self.stdout if stream == "stdout" else self.stderr
        limit = time.monotonic() + PATIENCE
        while wanted not in path.read_bytes():
            if time.monotonic() > limit or self.popen.poll() is not None:
                if wanted in path.read_bytes():
                    return
                raise StageError(f"{self.name}: never printed {wanted[:60]!r}; {self.last_words()}")
            time.sleep(0.01)

    def finish(self, check: bool = True) -> bytes:
        """Wait for its end; returns its standard output. StageError on PATIENCE or (with check) on a bad status."""
        try:
            status = self.popen.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.end()
            raise StageError(f"{self.name}: did not end; {self.last_words()}") from None
        if check and status != 0:
            raise StageError(f"{self.name}: status {status}; {self.last_words()}")
        return self.stdout.read_bytes()

    def end(self, how: int = signal.SIGTERM) -> None:
        """End it if it still runs: `how` first, SIGKILL after two seconds."""
        if self.popen.poll() is None:
            self.popen.send_signal(how)
            try:
                self.popen.wait(2)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait(2)
        if self.popen.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.popen.stdin.close()

    def last_words(self) -> str:
        return self.stderr.read_bytes()[-400:].decode("utf-8", "replace")


@dataclass
class Host:
    """One network namespace: where programs are started and sniffers listen."""

    stage: Stage
    namespace: str
    address: str = "127.0.0.1"
    interface: str = "lo"

    def start(self, argv: Sequence[str], env: dict[str, str] | None = None) -> Process:
        """Start a program in this namespace, its standard input a pipe (Process.say)."""
        return self.stage.start(["ip", "netns", "exec", self.namespace, *argv], env, argv[0])

    def run(self, argv: Sequence[str], env: dict[str, str] | None = None, check: bool = True) -> bytes:
        process = self.start(argv, env)
        process.hush()
        return process.finish(check)

    @contextlib.contextmanager
    def sniff(self, file: Path, *options: str, interface: str | None = None) -> Iterator[None]:
        """Record with tcpdump what this host's interface sees, nanosecond stamps, into `file` while the block runs.

        StageError if the kernel dropped a frame: a recording with holes nobody meant is of no use.
        """
        argv = ["tcpdump", "-n", "-i", interface or self.interface, "-w", str(file), "-U", "--immediate-mode"]
        argv += ["-B", "16384", "-Z", "root", "--time-stamp-precision=nano", *options]
        sniffer = self.start(argv)
        sniffer.await_output(b"listening on", "stderr")
        try:
            yield
            time.sleep(SETTLE)
        finally:
            sniffer.end(signal.SIGINT)
        if not re.search(rb"\b0 packets dropped by kernel", sniffer.stderr.read_bytes()):
            raise StageError(f"tcpdump: {sniffer.last_words()}")


@dataclass
class Stage:
    """One recording's working directory, namespaces, certificates and processes; a context manager."""

    directory: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="rxtls-record-")))
    namespaces: list[str] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self.processes):
            process.end()
        for namespace in self.namespaces:
            subprocess.run(["ip", "netns", "del", namespace], check=False, timeout=PATIENCE)
        shutil.rmtree(self.directory, ignore_errors=True)

    def start(self, argv: Sequence[str], env: dict[str, str] | None = None, name: str = "") -> Process:
        stem = self.directory / f"process-{len(self.processes)}"
        out, err = stem.with_suffix(".out"), stem.with_suffix(".err")
        with out.open("wb") as stdout, err.open("wb") as stderr:
            popen = _popen(argv, stdout, stderr, {**os.environ, **(env or {})})
        process = Process(name or argv[0], popen, out, err)
        self.processes.append(process)
        return process

    def namespace(self) -> str:
        """A new namespace with its loopback up and no IPv6 autoconfiguration chatter."""
        name = f"rxtls-record-{os.getpid()}-{next(_serial)}"
        _run("ip", "netns", "add", name)
        self.namespaces.append(name)
        _run("ip", "-n", name, "link", "set", "lo", "up")
        return name

    def loopback(self) -> Host:
        """A host of its own, for client and server over lo (MTU 65536, checksums never filled in)."""
        return Host(self, self.namespace())

    def pair(self, ipv6: bool = False, off: Sequence[str] = (), mtu: int = 1500) -> tuple[Host, Host]:
        """Client and server host joined by a veth; `off` are the ethtool features switched off at both ends."""
        client, server = self.namespace(), self.namespace()
        _run("ip", "link", "add", "eth0", "netns", client, "type", "veth", "peer", "name", "eth0", "netns", server)
        hosts = []
        for number, namespace in enumerate((client, server), 1):
            address = f"2001:db8::{number}" if ipv6 else f"192.0.2.{number}"
            extra = ["nodad"] if ipv6 else []
            prefix = 64 if ipv6 else 24
            _run("ip", "-n", namespace, "address", "add", f"{address}/{prefix}", "dev", "eth0", *extra)
            _run("ip", "-n", namespace, "link", "set", "eth0", "mtu", str(mtu), "up")
            for feature in off:
                _run("ip", "netns", "exec", namespace, "ethtool", "-K", "eth0", feature, "off")
            hosts.append(Host(self, namespace, address, "eth0"))
        return hosts[0], hosts[1]

    def certificate(self, kind: str = "rsa", name: str = "example.test") -> tuple[Path, Path]:
        """A self-signed certificate and its key (PEM files) for `name`; kind "rsa" or "ec"."""
        cert, key = self.directory / f"{kind}-{name}.pem", self.directory / f"{kind}-{name}.key"
        if cert.exists():
            return cert, key
        algorithm = ["rsa:2048"] if kind == "rsa" else ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        argv = ["openssl", "req", "-x509", "-newkey", *algorithm, "-nodes", "-days", "3650", "-subj", f"/CN={name}"]
        argv += ["-addext", f"subjectAltName=DNS:{name}", "-keyout", str(key), "-out", str(cert)]
        _run(*argv)
        return cert, key

    def dh_parameters(self) -> Path:
        """ffdhe2048 (RFC 7919) as a PEM file."""
        path = self.directory / "dh.pem"
        _run("openssl", "genpkey", "-genparam", "-algorithm", "DH", "-pkeyopt", "group:ffdhe2048", "-out", str(path))
        return path


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, timeout=PATIENCE, check=False)
    if done.returncode:
        raise StageError(f"{' '.join(argv[:6])}: {done.stderr[-400:].decode('utf-8', 'replace')}")


def _popen(argv: Sequence[str], stdout: IO[bytes], stderr: IO[bytes], env: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=stdout, stderr=stderr, env=env)
