"""Synthetic connections open with nothing but their key log and the randoms in their hellos."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from random import Random

import dpkt
import pytest

from rxtls.capture.write import write_pcap
from rxtls.crypto.records import Opener
from rxtls.crypto.schedule import tls12_keys, tls13_keys
from rxtls.crypto.suites import SUITES, Version
from rxtls.simulation.link import Address, Connection, Link, interleave
from rxtls.simulation.sender import TlsSender
from rxtls.simulation.synth import Bulk, Conversation, Session, converse, renegotiate, write_capture

HEX = re.compile("[0-9a-f]+")

AES = SUITES[0x1301]
TLS13 = Session(AES)
TLS12 = Session(SUITES[0xC030], Version.TLS12)

SESSIONS13 = {
    "full": TLS13,
    "sha384": Session(SUITES[0x1302]),
    "chacha": Session(SUITES[0x1303]),
    "psk": replace(TLS13, resumed=True),
    "retry": replace(TLS13, hello_retry=True),
    "early": replace(TLS13, early_data=(b"a" * 500, b"b")),
    "early-rejected": replace(TLS13, early_data=(b"a" * 500,), early="rejected"),
    "early-retry": replace(TLS13, early_data=(b"a" * 500,), hello_retry=True),
    "bare": replace(TLS13, middlebox=False, sni=None, alpn=None),
    "tickets": replace(TLS13, tickets=2),
    "fragments": replace(TLS13, fragment=50, coalesce=True),
    "preamble": replace(TLS13, preamble=(b"STARTTLS\r\n", b"220 go\r\n")),
}
SESSIONS12 = {
    "full": TLS12,
    "resumed": replace(TLS12, resumed=True),
    "plain-master": replace(TLS12, extended_master=False),
    "cbc": Session(SUITES[0xC013], Version.TLS12),
    "etm": Session(SUITES[0xC027], Version.TLS12, encrypt_then_mac=True),
    "tls11": Session(SUITES[0x0035], Version.TLS11),
    "fragments": replace(TLS12, fragment=33),
    "preamble": replace(TLS12, preamble=(b"", b"220 hello\r\n")),
}


def secrets(talk: Conversation) -> dict[str, tuple[bytes, bytes]]:
    """Label -> (client random, secret) of a key log."""
    lines = [line.split(" ") for line in talk.keylog.splitlines()]
    return {label: (bytes.fromhex(random), bytes.fromhex(secret)) for label, random, secret in lines}


def opened(sender: TlsSender, opener: Opener, generation: int) -> int:
    """Open every record of that generation; the number of records that were as they should be."""
    good = 0
    for record in sender.records:
        if record.generation == generation and record.number is not None:
            wire = bytes(sender.data[record.start : record.start + record.length])
            assert opener.open(record.number, wire) == (record.type, record.payload)
            good += 1
    return good


@pytest.mark.parametrize("name", SESSIONS13)
def test_tls13_opens_with_its_key_log(name: str) -> None:
    session = SESSIONS13[name]
    talk = converse(session, Random(1))
    talk.request([b"GET"], [b"x" * 16384, b""])
    talk.close()
    log = secrets(talk)
    hello = bytes(talk.client.data[len(session.preamble[0]) :])
    assert {random for random, _ in log.values()} == {hello[11:43]}
    last = talk.client.generation, talk.server.generation
    for label, sender, generation in (
        ("CLIENT_TRAFFIC_SECRET_0", talk.client, last[0]),
        ("SERVER_TRAFFIC_SECRET_0", talk.server, last[1]),
        ("CLIENT_HANDSHAKE_TRAFFIC_SECRET", talk.client, last[0] - 1),
        ("SERVER_HANDSHAKE_TRAFFIC_SECRET", talk.server, last[1] - 1),
    ):
        opener = Opener(tls13_keys(session.suite, log[label][1]))
        assert opened(sender, opener, generation) > 0
    if session.early_data:
        opener = Opener(tls13_keys(session.suite, log["CLIENT_EARLY_TRAFFIC_SECRET"][1]))
        accepted = session.early == "accepted" and not session.hello_retry
        assert opened(talk.client, opener, 1) == len(session.early_data) + accepted  # EndOfEarlyData
    else:
        assert "CLIENT_EARLY_TRAFFIC_SECRET" not in log


@pytest.mark.parametrize("name", SESSIONS12)
def test_tls12_opens_with_its_key_log_and_both_randoms(name: str) -> None:
    session = SESSIONS12[name]
    talk = converse(session, Random(2))
    talk.request([b"GET"], [b"x" * 16384, b""])
    talk.close()
    log = secrets(talk)
    client, server = (
        b"".join(record.payload for record in sender.records if record.number is None)
        for sender in (talk.client, talk.server)
    )
    client_random, server_random = client[6:38], server[6:38]
    assert log["CLIENT_RANDOM"][0] == client_random
    keys = tls12_keys(
        session.suite,
        session.version,
        log["CLIENT_RANDOM"][1],
        client_random,
        server_random,
        session.encrypt_then_mac,
    )
    assert opened(talk.client, Opener(keys[0]), 1) == 3  # Finished, request, close_notify
    assert opened(talk.server, Opener(keys[1]), 1) == 4


def test_the_library_reads_up_to_the_peers_finished() -> None:
    for session in (*SESSIONS13.values(), *SESSIONS12.values()):
        talk = converse(session, Random(3))
        finished = [talk.client.records[talk.library[0] - 1], talk.server.records[talk.library[1] - 1]]
        assert all(record.type == 22 and record.number is not None for record in finished)
        # What follows is under application keys: number 0 in TLS 1.3, the one after Finished in TLS 1.2.
        talk.client.record(23, b"")
        if session.version is Version.TLS13:
            assert talk.client.records[talk.library[0]].number == 0
        elif session.fragment > 16:
            assert talk.client.records[talk.library[0]].number == finished[0].number + 1  # type: ignore[operator]


def test_renegotiation_runs_inside_the_old_keys_and_ends_in_new_ones() -> None:
    talk = converse(TLS12, Random(4))
    talk.request([b"before"], [b"before"])
    before = talk.client.generation, talk.server.generation
    renegotiate(talk, Random(5))
    talk.request([b"after"], [b"after"])
    assert (talk.client.generation, talk.server.generation) == (before[0] + 1, before[1] + 1)
    assert all(record.number is not None for record in talk.client.records[talk.library[0] :])
    assert talk.keylog.count("CLIENT_RANDOM") == 2
    run = Link(0).run(Connection(), talk.client, talk.server)
    assert run.client.complete
    assert run.server.complete
    with pytest.raises(ValueError, match="no renegotiation"):
        renegotiate(converse(TLS13, Random(6)), Random(7))


def test_a_conversation_through_the_link_keeps_the_order_of_its_flights() -> None:
    for session in (*SESSIONS13.values(), *SESSIONS12.values()):
        talk = converse(session, Random(8))
        talk.request([b"ask"], [b"answer"])
        talk.close()
        run = Link(0).run(Connection(), talk.client, talk.server)
        assert run.client.complete
        assert run.server.complete


# tshark shows early data only when it follows one stream alone.
EARLY = [session for session in SESSIONS13.values() if session.early_data]
OTHERS = [session for session in (*SESSIONS13.values(), *SESSIONS12.values()) if not session.early_data]


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
@pytest.mark.parametrize("sessions", [OTHERS, *([session] for session in EARLY)])
def test_tshark_reads_the_same_application_data(sessions: list[Session], tmp_path: Path) -> None:
    flows, keylog, sent = [], "", []
    for port, session in enumerate(sessions, start=40_000):
        talk = converse(session, Random(port))
        talk.request([b"Q" * 100], [b"A" * 16384, b"B" * 300])
        talk.close()
        connection = replace(Connection(), client=Address("192.0.2.1", port), start_ns=port * 10_000_000_000)
        flows.append(Link(0).run(connection, talk.client, talk.server).frames)
        keylog += talk.keylog
        records = talk.client.records + talk.server.records
        sent.append(sum(len(record.payload) for record in records if record.type == 23))
    capture, keys = tmp_path / "all.pcap", tmp_path / "all.keys"
    keys.write_text(keylog)
    with capture.open("wb") as out:
        write_pcap(interleave(flows, 0), out)
    follow = [argument for n in range(len(flows)) for argument in ("-z", f"follow,tls,raw,{n}")]
    command = ["tshark", "-r", str(capture), "-o", f"tls.keylog_file:{keys}", "-q", *follow]
    environment = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    parts = [[line.strip() for line in part.splitlines()] for part in done.stdout.split("Follow: ")[1:]]
    assert [sum(len(line) // 2 for line in part if HEX.fullmatch(line)) for part in parts] == sent


def test_sessions_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="does not exist in TLS12"):
        Session(AES, Version.TLS12)
    with pytest.raises(ValueError, match="for CBC suites"):
        Session(AES, encrypt_then_mac=True)
    with pytest.raises(ValueError, match="fragments are 1 to"):
        Session(AES, fragment=0)


def test_a_capture_of_any_size_is_streamed_out_with_its_keys() -> None:
    out = io.BytesIO()
    written, keylog = write_capture(out, Bulk(flow_bytes=100_000), 900_000, seed=1)
    assert written == len(out.getvalue()) >= 900_000
    out.seek(0)
    times, connections = [], set()
    for time, frame in dpkt.pcap.Reader(out):
        times.append(time)
        packet = dpkt.ethernet.Ethernet(frame).data
        connections.add(frozenset(((packet.src, packet.data.sport), (packet.dst, packet.data.dport))))
    assert times == sorted(times)
    assert len(connections) == 12
    assert keylog.count("CLIENT_RANDOM ") == 6  # half of the suites are TLS 1.2's
    assert keylog.count("SERVER_TRAFFIC_SECRET_0 ") == 6
    again = io.BytesIO()
    write_capture(again, Bulk(flow_bytes=100_000), 900_000, seed=1)
    assert again.getvalue() == out.getvalue()


def test_a_capture_with_an_unknown_suite_is_refused() -> None:
    with pytest.raises(ValueError, match="no such suite: 0x1234"):
        write_capture(io.BytesIO(), Bulk(suites=(0x1234,)), 1)
