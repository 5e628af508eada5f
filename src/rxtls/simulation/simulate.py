"""Simulated traffic by knobs: TLS senders through a bad link, as frames and the key log that opens them.

    Knobs ──► for each flow, from a seed of its own: converse (synth.py) ──► Link (link.py) ──► frames
              flows interleaved by time, as one tap at the clients sees them

The same knobs give the same bytes. A flow depends on its number and the seed, not on how many there are beside it, so a
study may share flows out over processes.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import BinaryIO

from rxtls.capture.write import write_pcapng
from rxtls.crypto.keys import RECORD_HEADER
from rxtls.crypto.suites import Version
from rxtls.errors import UsageError
from rxtls.intake.vantage import SAYS
from rxtls.simulation.knobs import HEADERS, Knobs, suite_named
from rxtls.simulation.link import Address, Connection, Impairment, Link, LinkFrame, interleave
from rxtls.simulation.link_model import MICROSECOND
from rxtls.simulation.sender import APPLICATION_DATA, TlsSender
from rxtls.simulation.synth import Session, converse

TAPPED_AT = "client"  # of vantage.SAID


def one_flow(knobs: Knobs, n: int) -> tuple[list[LinkFrame], str, Counter[str]]:
    """Flow `n`: its frames at the client, its key log, and what the link did (LinkRun.counts)."""
    dice = Random(f"{knobs.seed}/{n}")
    suite = suite_named(knobs.suite)
    talk = converse(Session(suite, Version.TLS13 if Version.TLS13 in suite.versions else Version.TLS12), dice)
    server = talk.server
    talk.client.record(APPLICATION_DATA, b"GET / HTTP/1.1\r\nHost: example.test\r\n\r\n")
    server.wait(talk.client)
    if knobs.payload == "headers":
        for _ in range(knobs.records):
            server.crafted(_chained(knobs, server))
    else:
        noise = dice.randbytes(min(1 << 20, knobs.records * knobs.record))
        for _ in range(knobs.records):
            begin = dice.randrange(len(noise) - knobs.record + 1)
            server.record(APPLICATION_DATA, noise[begin : begin + knobs.record])
    talk.close()
    base = Connection()
    client = Address(f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}", 49152 + n % 16384, base.client.mac)
    mss = knobs.mtu - HEADERS
    connection = Connection(
        client=client,
        sequences=(dice.getrandbits(32), dice.getrandbits(32)),
        windows=(2 * knobs.window * mss + 65_536,) * 2,
        mss=mss,
        flight=knobs.window,
        reordering=knobs.reordering,
        start_ns=base.start_ns + 40 * MICROSECOND * n,
        timestamps=True,
    )
    down = Impairment(
        loss=knobs.loss / 100,
        reorder=knobs.reorder / 100,
        duplicate=knobs.duplicate / 100,
        corrupt=knobs.corrupt / 100,
        unit=knobs.unit,
        jump=knobs.jump,
        delay_ns=knobs.delay * MICROSECOND,
        gap_ns=knobs.gap,
    )
    up = Impairment(delay_ns=knobs.delay * MICROSECOND, gap_ns=knobs.gap)
    run = Link(dice.getrandbits(32), to_client=down, to_server=up).run(connection, talk.client, server)
    return run.frames, talk.keylog, run.counts


def _chained(knobs: Knobs, sender: TlsSender) -> bytes:
    """False record headers, each where the one before says; the last one's length leads over the real header into the
    next record's, so that who follows them never meets what is none."""
    keys = sender.keys
    if keys is None or not keys.stream:
        raise UsageError(f"payload headers needs a suite that streams, and {knobs.suite} does not")
    links = max(1, knobs.record // knobs.chain)
    over = knobs.record - (links - 1) * knobs.chain + keys.tls13 + keys.aead_tag_length + keys.header_length
    totals = [knobs.chain] * (links - 1) + [over]
    return b"".join(
        b"\x17\x03\x03" + (total - RECORD_HEADER).to_bytes(2) + b"\xff" * (total - RECORD_HEADER) for total in totals
    )[: knobs.record]


def simulate(knobs: Knobs) -> tuple[list[LinkFrame], str, Counter[str]]:
    """All flows: their frames by time, their key log, and what the link did."""
    counts: Counter[str] = Counter()
    flows, logs = [], []
    for n in range(knobs.flows):
        frames, keylog, done = one_flow(knobs, n)
        flows.append(frames)
        logs.append(keylog)
        counts += done
    return interleave(flows, knobs.seed), "".join(logs), counts


def write_simulation(knobs: Knobs, capture: BinaryIO) -> tuple[int, str, Counter[str]]:
    """Write a simulation as pcapng with its secrets inside. Returns frames, key log, and what the link did."""
    frames, keylog, counts = simulate(knobs)
    write_pcapng(frames, capture, ("simulated",), keylog, f"{SAYS}{TAPPED_AT}")
    return len(frames), keylog, counts
