"""What a recording holds, according to its own endpoints and to tshark; the manifest's entries.

Two witnesses for every direction of every flow. The endpoints' word (bytes and SHA-256 of what was sent, checked
against what was received) is the truth wherever the endpoints are ours; tshark's decryption (follow,tls,raw, with
tcp.reassemble_out_of_order) is the truth where they are not, and the check everywhere else. A recording on which
the two differ is refused, unless its scene says in words why tshark cannot follow it.
"""

from __future__ import annotations

import functools
import hashlib
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LIMIT = 60.0

Digest = tuple[int, str]  # bytes, SHA-256
NOTHING: Digest = (0, hashlib.sha256(b"").hexdigest())


class OracleError(Exception):
    """The witnesses disagree, or one of them cannot be heard."""


@dataclass
class Flow:
    """One connection as its endpoints saw it; None where they cannot tell (tshark is then asked)."""

    up: Digest | None = None
    down: Digest | None = None
    port: int | None = None
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass
class Stream:
    """One tcp.stream as tshark sees it."""

    number: int
    client: str = ""
    server: str = ""
    port: int = 0
    suite: int | None = None
    tls: str | None = None
    sni: str | None = None
    alpn: str | None = None
    up: Digest = NOTHING
    down: Digest = NOTHING


FIELDS = [
    "tcp.stream",
    "ip.src",
    "ipv6.src",
    "tcp.srcport",
    "ip.dst",
    "ipv6.dst",
    "tcp.dstport",
    "tcp.flags.syn",
    "tcp.flags.ack",
    "tls.handshake.type",
    "tls.handshake.version",
    "tls.handshake.ciphersuite",
    "tls.handshake.extensions.supported_version",
    "tls.handshake.extensions_server_name",
    "tls.handshake.extensions_alpn_str",
]
TLS_NAMES = {"0x0301": "1.0", "0x0302": "1.1", "0x0303": "1.2", "0x0304": "1.3"}


def digest(data: bytes) -> Digest:
    return len(data), hashlib.sha256(data).hexdigest()


def streams(capture: Path, keys: Path | None, server_ports: set[int]) -> list[Stream]:
    """Every TCP connection of a capture, in the order of its first frame."""
    base = ["tshark", "-n", "-r", str(capture), "-o", "tcp.reassemble_out_of_order:TRUE"]
    if keys is not None:
        base += ["-o", f"tls.keylog_file:{keys}"]
    for port in sorted(server_ports):
        # Application data is data: tshark's guesses at protocols in random bytes cost it records it had decrypted.
        base += ["-d", f"tls.port=={port},data"]
    fields = [*base, "-Y", "tcp && !icmp && !icmpv6", "-T", "fields", "-E", "separator=|", "-E", "occurrence=a"]
    for name in FIELDS:
        fields += ["-e", name]
    found: dict[int, Stream] = {}
    for line in _tshark(fields).decode().splitlines():
        _note(found, dict(zip(FIELDS, line.split("|"), strict=True)), server_ports)
    ordered = [found[number] for number in sorted(found)]
    follow = [*base, "-q"]
    for stream in ordered:
        follow += ["-z", f"follow,tls,raw,{stream.number}"]
    _read_followed(_tshark(follow).decode(), ordered)
    return ordered


def _note(found: dict[int, Stream], row: dict[str, str], server_ports: set[int]) -> None:
    number = int(row["tcp.stream"])
    source = (row["ip.src"] or row["ipv6.src"], int(row["tcp.srcport"]))
    target = (row["ip.dst"] or row["ipv6.dst"], int(row["tcp.dstport"]))
    from_client = target[1] in server_ports and source[1] not in server_ports
    client, server = (source, target) if from_client else (target, source)
    stream = found.setdefault(number, Stream(number, client[0], _endpoint(*server), client[1]))
    kinds = row["tls.handshake.type"].split(",")
    if from_client and "1" in kinds:
        stream.sni = stream.sni or row["tls.handshake.extensions_server_name"] or None
    if not from_client and row["tls.handshake.extensions_alpn_str"]:
        stream.alpn = row["tls.handshake.extensions_alpn_str"]
    if not from_client and "2" in kinds and stream.suite is None:
        stream.suite = int(row["tls.handshake.ciphersuite"].split(",")[0], 16)
        version = row["tls.handshake.extensions.supported_version"] or row["tls.handshake.version"]
        stream.tls = TLS_NAMES.get(version.split(",")[0])


def _read_followed(text: str, ordered: list[Stream]) -> None:
    """Parse the follow outputs: a tab before the hex means Node 1."""
    by_number = {stream.number: stream for stream in ordered}
    for part in text.split("Follow: tls,raw")[1:]:
        lines = part.splitlines()
        stream = by_number[int(lines[1].rsplit(" ", 1)[1])]
        data = {False: bytearray(), True: bytearray()}
        zero_is_client = lines[2].endswith(f":{stream.port}")
        for line in lines[4:]:
            if line.startswith("="):
                break
            data[line.startswith("\t")] += bytes.fromhex(line)
        stream.up = digest(bytes(data[not zero_is_client]))
        stream.down = digest(bytes(data[zero_is_client]))


def entry_flow(flow: Flow, stream: Stream, blind: str | None, oracle_needed: bool) -> dict[str, Any]:
    """One flow of a manifest entry. `blind` says why tshark cannot be asked; OracleError when the witnesses differ."""
    up, down = flow.up, flow.down
    if oracle_needed and blind is None:
        up, down = up or stream.up, down or stream.down
    agrees = blind is None and (up, down) == (stream.up, stream.down)
    if blind is None and not agrees:
        raise OracleError(f"port {stream.port}: endpoints {up} {down}, tshark {stream.up} {stream.down}")
    known = suites().get(stream.suite or -1, (None, None))
    made: dict[str, Any] = {
        "port": stream.port,
        "client": _endpoint(stream.client, stream.port),
        "server": stream.server,
        "tls": stream.tls,
        "suite": known[0],
        "openssl_suite": known[1],
        "sni": stream.sni,
        "alpn": stream.alpn,
        "up": up and up[0],
        "up_sha256": up and up[1],
        "down": down and down[0],
        "down_sha256": down and down[1],
        "tshark_followed": None if blind else {"up": stream.up[0], "down": stream.down[0]},
    }
    return made | flow.notes


@functools.cache
def suites() -> dict[int, tuple[str, str]]:
    """Suite number -> (IANA name, OpenSSL name), as this machine's OpenSSL lists them."""
    listed = subprocess.run(
        ["openssl", "ciphers", "-V", "-stdname", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=True,
    ).stdout
    table = {0x1304: ("TLS_AES_128_CCM_SHA256",) * 2, 0x1305: ("TLS_AES_128_CCM_8_SHA256",) * 2}
    for line in listed.splitlines():
        code, _, iana, _, name, *_ = line.split()
        table[int(code.replace("0x", "").replace(",", ""), 16)] = (iana, name)
    return table


def frame_count(capture: Path) -> int:
    return len(_tshark(["tshark", "-n", "-r", str(capture), "-T", "fields", "-e", "frame.number"]).split())


def _endpoint(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _tshark(argv: list[str]) -> bytes:
    # Not check=True: tshark ends with status 2 on a capture cut short, after printing all there is.
    return subprocess.run(argv, capture_output=True, timeout=LIMIT, check=False).stdout
