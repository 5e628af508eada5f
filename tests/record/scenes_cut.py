"""Captures that do not hold everything: one direction, no beginning, short frames, and what is not TLS at all.

Made from whole captures by tcpdump and editcap (or, the short frames, recorded beside the whole one), so that the truth
of the whole one holds for what is left. tshark decrypts none of them, or not all.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from oracle import Flow
from scene import Recorded, Scene, peers, rewritten
from stage import Host, Stage

STEPS: list[list[Any]] = [["up", [1, 1000]], ["down", [700]], ["up", [9000, 3]], ["down", [4000, 7]], ["up", [30]]]


def _whole(stage: Stage, name: str, versions: list[str], snapped: Path | None = None) -> Recorded:
    client, server = stage.pair(off=["tso", "gso", "gro", "tx"])
    keys, file = stage.directory / f"{name}.keys", stage.directory / f"{name}.pcap"
    plans = [{"steps": STEPS, "max": version} for version in versions]
    with server.sniff(file, "tcp"):
        if snapped is None:
            flows = peers(stage, client, server, plans, keys)
        else:
            with server.sniff(snapped, "-s", "96", "tcp"):
                flows = peers(stage, client, server, plans, keys)
    return Recorded(name, file, keys, flows, "", vantage="server's end of the veth")


def one_direction(stage: Stage) -> list[Recorded]:
    """Only the packets to the server, and only those to the client, of a TLS 1.3 and of a TLS 1.2 connection."""
    made = []
    for version, (side, expression) in itertools.product(("1.3", "1.2"), (("up", "dst"), ("down", "src"))):
        short = version.replace(".", "")
        whole = _whole(stage, f"whole-tls{short}-{side}", [version])
        (flow,) = whole.flows
        nothing = None if version == "1.3" or side == "down" else "byte.server_hello"
        kept = Flow(flow.up if side == "up" else None, flow.down if side == "down" else None, flow.port)
        kept.notes = {"tls": version, "only": side, "suite_of_the_whole": _suite(version)} | (
            {"expect": nothing} if nothing else {}
        )
        made.append(
            rewritten(
                whole,
                f"only-{side}-tls{short}",
                f"a whole capture of TLS {version}, filtered by tcpdump '{expression} port 443'",
                ["tcpdump", "-r", "IN", "-w", "OUT", "--time-stamp-precision=nano", expression, "port", "443"],
                flows=[kept],
                notes={},
                blind="it needs both directions' hellos",
            )
        )
    return made


def _whole_notes(flow: Flow) -> dict[str, Any]:
    """What the connection carried, where the capture holds some unknown part of it."""
    return {"whole_up": flow.up, "whole_down": flow.down}


def _suite(version: str) -> str:
    return "TLS_AES_128_GCM_SHA256" if version == "1.3" else "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"


def mid_connection(stage: Stage) -> list[Recorded]:
    """The beginning is missing: up to the middle of the handshake, up to its end, and up to the first data."""
    made = []
    for version in ("1.3", "1.2"):
        short = version.replace(".", "")
        whole = _whole(stage, f"whole-tls{short}", [version])
        for first, what in ((6, "the ClientHello and what came before"), (16, "the handshake")):
            notes = _whole_notes(whole.flows[0]) | ({"expect": "byte.mid_connection"} if first == 16 else {})
            flow = Flow(None, None, whole.flows[0].port, notes | {"tls": version})
            made.append(
                rewritten(
                    whole,
                    f"mid-connection-tls{short}-from-frame-{first}",
                    f"a whole capture of TLS {version}, frames before number {first} ({what}) taken away by editcap",
                    ["editcap", "-F", "nsecpcap", "-r", "IN", "OUT", f"{first}-100000"],
                    flows=[flow],
                    notes={},
                    blind="the handshake is not all there",
                )
            )
    return made


def snap_length(stage: Stage) -> list[Recorded]:
    """tcpdump -s 96: no payload is whole."""
    short = stage.directory / "snap-length-96.pcap"
    whole = _whole(stage, "whole", ["1.3", "1.2"], short)
    flows = [Flow(None, None, flow.port, _whole_notes(flow)) for flow in whole.flows]
    return [
        Recorded(
            "snap-length-96",
            short,
            whole.keys,
            flows,
            "tcpdump -s 96 at the server's end of a veth",
            vantage=whole.vantage,
            blind="frames are cut",
        )
    ]


def cut_file(stage: Stage) -> list[Recorded]:
    """A capture file that ends in the middle of a frame, as after a full disk."""
    whole = _whole(stage, "whole", ["1.3"])
    size = whole.capture.stat().st_size * 3 // 5
    flow = Flow(None, None, whole.flows[0].port, _whole_notes(whole.flows[0]))
    return [
        rewritten(
            whole,
            "cut-file",
            f"a whole capture cut after {size} bytes by head",
            ["sh", "-c", f'head -c {size} "$0" > "$1"', "IN", "OUT"],
            flows=[flow],
            notes={},
            blind="the capture is not whole",
        )
    ]


def plain_http(stage: Stage) -> list[Recorded]:
    """HTTP without TLS on port 443."""
    host, capture = stage.loopback(), stage.directory / "plain-http-443.pcap"
    site = stage.directory / "site"
    site.mkdir()
    (site / "page").write_text("a page\n" * 700)
    server = host.start([sys.executable, "-u", "-m", "http.server", "443", "-b", "127.0.0.1", "-d", str(site)])
    server.await_output(b"Serving")
    with host.sniff(capture):
        host.run(["curl", "-sS", "-o", "/dev/null", "http://127.0.0.1:443/page"])
    flow = Flow(notes={"expect": "byte.not_tls"})
    how = "curl http://127.0.0.1:443 and python -m http.server over loopback"
    return [Recorded("plain-http-443", capture, None, [flow], how, oracle="none", blind="there is no TLS")]


def pcapng_interfaces(stage: Stage) -> list[Recorded]:
    """dumpcap on two interfaces at once: one connection over loopback, one over the veth; pcapng."""
    client, server = stage.pair(off=["tso", "gso", "gro", "tx"])
    keys, file = stage.directory / "keys", stage.directory / "pcapng-two-interfaces.pcapng"
    local = Host(stage, server.namespace)
    sniffer = server.start(["dumpcap", "-q", "-i", "lo", "-i", "eth0", "-w", str(file), "-f", "tcp"])
    sniffer.await_output(b"File:", "stderr")
    flows = peers(stage, local, local, [{"steps": STEPS}], keys)
    flows += peers(stage, client, server, [{"steps": STEPS, "max": "1.2"}], keys)
    subprocess.run(["sleep", "1"], check=True)
    sniffer.end(2)
    whole = Recorded("pcapng-two-interfaces", _anonymous(file), keys, flows, "dumpcap -i lo -i eth0")
    whole.vantage = "loopback and server's end of the veth"
    secrets = rewritten(
        whole,
        "pcapng-secrets",
        "the same, key log put in by editcap --inject-secrets tls",
        ["editcap", "--inject-secrets", f"tls,{keys}", "IN", "OUT"],
    )
    # editcap 4.0 cannot read a file with secrets and write pcapng, so it cuts first.
    inject = f'editcap --inject-secrets "tls,{keys}"'
    halves = 'editcap -r "$0" "$1.a" 1-20 && editcap "$0" "$1.b" 1-20'
    halves += f' && {inject} "$1.a" "$1.c" && {inject} "$1.b" "$1.d"'
    twice = rewritten(
        whole,
        "pcapng-two-sections",
        "two sections, each with its secrets (editcap): the capture's frames to 20, and the rest, joined by cat",
        ["sh", "-c", halves + ' && cat "$1.c" "$1.d" > "$1"', "IN", "OUT"],
    )
    secrets.keys = twice.keys = None
    return [whole, secrets, twice]


def _anonymous(file: Path) -> Path:
    """Take the machine's description out of a pcapng: the section's options go, the kernel's release becomes dots."""
    data = file.read_bytes()
    options_end = int.from_bytes(data[4:8], "little")
    length = (28).to_bytes(4, "little")  # of a section header without options
    release = os.uname().release.encode()
    data = data[:4] + length + data[8:24] + length + data[options_end:]
    file.write_bytes(data.replace(release, b"." * len(release)))
    return file


SCENES: list[Scene] = [
    one_direction,
    mid_connection,
    snap_length,
    cut_file,
    plain_http,
    pcapng_interfaces,
]
