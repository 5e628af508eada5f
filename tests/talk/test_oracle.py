"""tshark as a judge: the same requests in the same connections, and bodies with the same bytes."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
import typer.testing

from rxtls.cli.app import app

REAL = Path(__file__).parents[1] / "data" / "real"
NAMES = [
    "curl-nginx-tls13",
    "curl-nginx-tls12",
    "curl-nginx-http2",
    "reused-4-tuple",
    "ipv6-tls13",
    "resumed-tls13-psk",
]
FIELDS = ["tcp.srcport", "http.request.method", "http.host", "http.request.uri"]
FIELDS += ["http2.headers.method", "http2.headers.authority", "http2.headers.path"]
needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")


def ours(name: str, *more: str) -> list[dict[str, object]]:
    arguments = ["http", str(REAL / f"{name}.pcap"), "--keys", str(REAL / f"{name}.keys"), "--json", "-", *more]
    output = typer.testing.CliRunner().invoke(app, arguments).output
    found: list[dict[str, object]] = json.loads(output[: output.rindex("]") + 1])
    return found


def tshark(name: str, *arguments: str) -> str:
    return subprocess.run(
        ["tshark", "-r", str(REAL / f"{name}.pcap"), "-o", f"tls.keylog_file:{REAL / name}.keys", *arguments],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip


@needs_tshark
@pytest.mark.parametrize("name", NAMES)
def test_the_same_requests(name: str) -> None:
    asked = [part for field in FIELDS for part in ("-e", field)]
    told = tshark(name, "-Y", "http.request or http2.headers.method", "-T", "fields", *asked).splitlines()
    theirs = Counter(tuple(filter(None, each.split("\t")))[:4] for each in told)
    rows = Counter(
        (str(row["client"]).rpartition(":")[2], row["method"], row["host"], row["path"]) for row in ours(name)
    )
    assert rows == theirs


@needs_tshark
@pytest.mark.parametrize("name", NAMES[:3])
def test_the_same_objects(name: str, tmp_path: Path) -> None:
    tshark(name, "-q", "--export-objects", f"http,{tmp_path / 'theirs'}")
    ours(name, "--objects", str(tmp_path / "ours"))
    index = json.loads((tmp_path / "ours" / "index.json").read_text())
    mine = Counter(each["sha256"] for each in index)
    theirs = Counter(
        hashlib.sha256(each.read_bytes()).hexdigest() for each in (tmp_path / "theirs").iterdir() if each.stat().st_size
    )
    assert theirs - mine == Counter()
    assert mine
