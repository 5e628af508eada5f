"""A small capture to try things on, made on the spot: nobody needs traffic, keys or a network for a first look.

Three downloads over a simulated link, seen at the client: one clean, one that loses packets, one that also reorders
them and changes the interface it arrives on. Always the same, to the byte.
"""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

from rxtls.capture.write import write_pcapng
from rxtls.crypto.suites import SUITES, Version
from rxtls.simulation.link import Address, Connection, Impairment, Link, LinkFrame
from rxtls.simulation.synth import Session, converse
from rxtls.system.files import Output, make_directory, write_text, writing

_INTERFACES = ("eth0", "eth1")
_START_NS = 1_750_000_000_000_000_000
_APART_NS = 20_000_000  # between the starts of two connections
_BODY = 40 * 16384
_DOWNLOADS = (  # TLS version, suite, what the link does, server name
    (Version.TLS13, 0x1301, Impairment(), "clean.example"),
    (Version.TLS13, 0x1302, Impairment(loss=0.004), "lossy.example"),
    (Version.TLS12, 0xC02F, Impairment(loss=0.002, reorder=0.004, duplicate=0.001, move=0.003), "rough.example"),
)


def make_demo(directory: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Write the capture and its key log into `directory`; their names. UsageError if that cannot be."""
    folder = make_directory(directory)
    frames: list[LinkFrame] = []
    keylog = ""
    for n, (version, suite, impairment, name) in enumerate(_DOWNLOADS):
        dice = Random(n)
        talk = converse(Session(SUITES[suite], version, sni=name), dice)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n" % _BODY
        for part in range(3):
            body = dice.randbytes(_BODY)
            answer = [head, *(body[at : at + 16384] for at in range(0, _BODY, 16384))]
            talk.request([b"GET /%d HTTP/1.1\r\nHost: %s\r\n\r\n" % (part, name.encode())], answer)
        talk.close()
        client = Address("192.0.2.1", 40000 + n, b"\x02\x00\x00\x00\x00\x01")
        connection = Connection(client=client, interfaces=(0, 1), start_ns=_START_NS + n * _APART_NS)
        run = Link(n, to_client=impairment).run(connection, talk.client, talk.server)
        frames += run.frames
        keylog += talk.keylog
    capture, keys = folder / "demo.pcapng", folder / "demo.keys"
    with Output(capture) as output, writing(capture):
        write_pcapng(sorted(frames, key=lambda frame: frame.time_ns), output.file, _INTERFACES)
    write_text(keys, keylog, secret=True)
    return capture, keys
