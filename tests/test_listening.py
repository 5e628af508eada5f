"""rxtls live on the loopback interface, with TLS by Python's own library: what was sent is what comes out, and the
capture that it saved comes to the same again. Needs CAP_NET_RAW."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from rxtls.path.engines import why_not_compiled


def why_not() -> str | None:
    if not hasattr(socket, "AF_PACKET"):
        return "no packet sockets (Linux has them)"
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except OSError as error:
        return f"no packet socket: {error.strerror}"
    if shutil.which("openssl") is None:
        return "no openssl to make a certificate"
    return why_not_compiled()


pytestmark = pytest.mark.skipif(why_not() is not None, reason=f"{why_not()}")
DATA = Random(1).randbytes(3 << 20)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("certificate")
    names = str(folder / "cert.pem"), str(folder / "key.pem")
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    subprocess.run([*made, "-out", names[0], "-keyout", names[1]], check=True, capture_output=True)
    return names


def download(certificate: tuple[str, str], keys: Path, server: socket.socket, times: int = 1) -> None:
    """A client on the loopback interface gets DATA, so many times, its secrets written to `keys`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)

    def serve() -> None:
        for _ in range(times):
            taken, _ = server.accept()
            with context.wrap_socket(taken, server_side=True) as stream:
                stream.recv(10)
                stream.sendall(DATA)

    thread = threading.Thread(target=serve)
    thread.start()
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    client.keylog_filename = str(keys)
    for _ in range(times):
        with client.wrap_socket(socket.create_connection(server.getsockname())) as stream:
            stream.sendall(b"please")
            got = b""
            while len(got) < len(DATA):
                got += stream.recv(1 << 16)
        assert got == DATA
    thread.join()


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "rxtls", *words]


def listening(folder: Path, port: int, *more: str) -> subprocess.Popen[str]:
    """rxtls live, once it listens: it has written the head of its capture."""
    words = ["live", "lo", "--keys", "keys.log", "--save", "seen.pcapng", "--filter", f"port {port}", "--digest"]
    process = subprocess.Popen(
        command(*words, "--json", "live.json", "--quiet", *more),
        cwd=folder, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until = time.monotonic() + 60
    while not any(each.name.endswith(".part") for each in folder.iterdir()) and time.monotonic() < until:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    time.sleep(0.5)
    return process


def told(summary: dict[str, Any]) -> dict[str, Any]:
    """All but how often and how fast the file was read, and what it is called."""
    left = {"captures", "wall_seconds", "keys", "order"}
    found = {key: value for key, value in summary.items() if key not in left}
    for flow in found["flows"]:
        for frame in ("start_frame", "end_frame"):
            flow[frame] = flow[frame]["frame"]
    for interface in found["interfaces"]:
        del interface["file"]
    return found


@pytest.fixture
def server() -> Any:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


def test_what_is_downloaded_is_read_and_the_saved_capture_says_the_same(
    tmp_path: Path, certificate: tuple[str, str], server: socket.socket
) -> None:
    process = listening(tmp_path, server.getsockname()[1], "--save-keys")
    download(certificate, tmp_path / "keys.log", server, times=2)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert ", 0 dropped" in said
    live = json.loads((tmp_path / "live.json").read_text())
    digests = [flow["receive"]["client"]["sha256"] for flow in live["flows"]]
    assert digests == [hashlib.sha256(DATA).hexdigest()] * 2
    words = ["replay", "-", "--filter", f"port {server.getsockname()[1]}", "--digest", "--json", "-"]
    with (tmp_path / "seen.pcapng").open("rb") as saved:  # as a pipe: secrets at their places
        done = subprocess.run(
            command(*words), stdin=saved, capture_output=True, text=True, check=False, cwd=tmp_path,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert told(json.loads(done.stdout)) == told(live)
    assert (tmp_path / "seen.pcapng").stat().st_mode & 0o077 == 0  # it has secrets


def test_keys_that_come_late_open_what_waits(
    tmp_path: Path, certificate: tuple[str, str], server: socket.socket
) -> None:
    process = listening(tmp_path, server.getsockname()[1], "--seconds", "6", "--set", "keys_wait=8000000")
    download(certificate, tmp_path / "elsewhere.log", server)
    time.sleep(1)
    with (tmp_path / "keys.log").open("wb") as keys:
        for line in (tmp_path / "elsewhere.log").read_bytes().splitlines(keepends=True):
            keys.write(line[:20])
            keys.flush()
            time.sleep(0.03)
            keys.write(line[20:])
            keys.flush()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    live = json.loads((tmp_path / "live.json").read_text())
    assert live["flows"][0]["receive"]["client"]["sha256"] == hashlib.sha256(DATA).hexdigest()
    assert b"CLIENT" not in (tmp_path / "seen.pcapng").read_bytes()  # nobody asked for secrets in it


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nosuch0"], "no interface nosuch0; there are"),
        (["lo", "lo"], "an interface is listened on once"),
        (["lo", "--save-keys"], "--save-keys is about the capture that --save FILE writes"),
        (["lo", "--user", "nobody-of-that-name"], "there is no user nobody-of-that-name"),
        (["lo", "--keys", "a", "--save", "a"], "a would overwrite an input"),
        (["lo", "--save", "b", "--json", "b"], "b and b are one file, for two outputs"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path: Path, words: list[str], said: str) -> None:
    (tmp_path / "a").write_text("")
    done = subprocess.run(command("live", *words), capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert said in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_it_goes_on_as_another_user(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    done = subprocess.run(
        command("live", "lo", "--user", "nobody", "--seconds", "0.2", "--quiet"),
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
@pytest.mark.parametrize("output", ["--json", "--out"])
def test_what_that_user_could_not_write_is_told_at_once(tmp_path: Path, output: str) -> None:
    tmp_path.chmod(0o700)
    words = ("live", "lo", "--user", "nobody", "--seconds", "30", output)
    done = subprocess.run(command(*words, "there"), capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"there: nobody may not write to {tmp_path}" in done.stderr


@pytest.fixture
def pair() -> Iterator[tuple[str, str]]:
    """Two interfaces of this host that are each other's other end."""
    names = f"rxtls{os.getpid() % 100000}a", f"rxtls{os.getpid() % 100000}b"
    made = ["ip", "link", "add", names[0], "type", "veth", "peer", "name", names[1]]
    if shutil.which("ip") is None or subprocess.run(made, capture_output=True, check=False).returncode:
        pytest.skip("no veth interfaces can be made here: it needs root and iproute2")
    for name in names:
        subprocess.run(["ip", "link", "set", name, "up"], check=True)
    yield names
    subprocess.run(["ip", "link", "del", names[0]], check=False, capture_output=True)


def test_an_interface_that_goes_away_ends_it_with_an_error(tmp_path: Path, pair: tuple[str, str]) -> None:
    words = command("live", pair[0], "--save", "seen.pcapng", "--quiet", "--seconds", "60")
    process = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not any(each.name.endswith(".part") for each in tmp_path.iterdir()) and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(0.5)
    subprocess.run(["ip", "link", "del", pair[0]], check=True)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 2, said
    assert f"{pair[0]}: Network is down" in said
    assert (tmp_path / "seen.pcapng").exists()  # what came before is kept
