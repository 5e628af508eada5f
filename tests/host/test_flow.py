"""One connection at its hosts: what it tells of itself, when it stops hoping for more, and what its records say."""

from __future__ import annotations

from dataclasses import replace

import pytest

import replays
from replays import GCM12, GCM13, Talked, download
from rxtls.device.profiles import profile
from rxtls.events import By, Record, RecordClass
from rxtls.handshake.library import Facts
from rxtls.host.flow import ONE_SIDED, Flow, count_regained
from rxtls.path.receive import PathOptions, ReceivePath
from rxtls.seq import add
from rxtls.simulation.link import LinkFrame
from rxtls.simulation.synth import Session
from rxtls.wire.keylog import KeyLog

CLIENT, SERVER = 0, 1  # who sends; the simulated client is endpoint a


def path_of(keylog: str, wait: bool = False, name: str = "none", **settings: str) -> ReceivePath:
    keys = KeyLog()
    keys.add(keylog.encode(), "simulated")
    return ReceivePath(keys, PathOptions(profile=profile(name, settings), wait_for_keys=wait, engine="plain"))


def ran(talked: Talked, frames: list[LinkFrame] | None = None, name: str = "none") -> tuple[ReceivePath, list[Record]]:
    path = path_of(talked.keylog, name=name)
    records = path.receive(enumerate(talked.frames if frames is None else frames)) + path.finish()
    assert path.ledger.balance() == 0
    return path, records


def damaged(talked: Talked, index: int) -> list[LinkFrame]:
    """The frame that ends this record of the server's has another last byte, with a right checksum."""
    record = talked.server.records[index]
    last = add(talked.server.sequence, record.start + record.length - 1)
    out = []
    for frame in talked.frames:
        at = (last - replays.sequence(frame)) & 0xFFFF_FFFF
        body = replays.payload(frame)
        if replays.from_server(frame) and at < len(body):
            frame = replays.remade(frame, body=body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :])
        out.append(frame)
    return out


# What it tells of itself.


def test_facts_stay_when_the_connection_is_over() -> None:
    talked = download(1, session=replace(GCM13, alpn="h2", sni="a.test"))
    path = path_of(talked.keylog)
    facts = []
    for n, frame in enumerate(talked.frames):
        path.receive([(n, frame)])
        facts.append(path.flows[0].facts)
    flow = path.flows[0]
    assert flow.ended
    assert facts[0] == Facts(None, None, None, None, None, False, None)
    assert facts[-1] == Facts(0, "1.3", GCM13.suite, "a.test", "h2", False, bytes.fromhex(talked.keylog.split()[1]))
    assert (flow.over, flow.waiting, flow.client_side) == (True, False, 0)
    assert [flow.receiver(side) for side in (0, 1)] == ["server", "client"]


# Bounds.


@pytest.mark.parametrize("session", [GCM13, GCM12], ids=["1.3", "1.2"])
@pytest.mark.parametrize("beyond", [False, True])
def test_what_waits_for_keys_is_bounded(session: Session, beyond: bool) -> None:
    talked = download(3, (1000,) * 30, session=session, closed=False)
    path = path_of("", wait=True, keys_wait="20000" if beyond else "60000")
    path.receive(enumerate(talked.frames))
    flow = path.flows[0]
    refused = flow.directions[SERVER].refused
    assert (refused is not None and refused.code == "keys_wait") is beyond
    assert (flow.keys_wait_met, path.keys_wait_met) == (beyond, beyond)
    waiting = [flow.waiting]
    path.finish()
    waiting.append(flow.waiting)
    assert waiting == [True, False]
    found = flow.directions[SERVER].refused
    assert found is not None
    assert found.code == ("keys_wait" if beyond else "no_keys")
    assert path.ledger.balance() == 0


@pytest.mark.parametrize("count", [12, 20])
def test_a_direction_alone_hopes_for_the_other_one_for_so_many_bytes(count: int) -> None:
    """Twice the largest flight a client sends before the server has spoken; from then on records come out."""
    talked = download(4, (4000,) * count, closed=False)
    alone = [frame for frame in talked.frames if replays.from_server(frame)]
    path = path_of(talked.keylog)
    came, first = 0, None
    for n, frame in enumerate(alone):
        if path.receive([(n, frame)]) and first is None:
            first = came + len(replays.payload(frame))
        came += len(replays.payload(frame))
    if count * 4000 < ONE_SIDED:
        assert first is None
    else:
        assert first is not None
        assert 0 < first - ONE_SIDED <= 1448
    path.finish()
    assert path.flows[0].directions[SERVER].tally.app_bytes == 4000 * count


def test_the_bound_on_handshakes_bounds_that_hope_too() -> None:
    talked = download(4, (4000,) * 12, closed=False)
    alone = [frame for frame in talked.frames if replays.from_server(frame)]
    path = path_of(talked.keylog, handshake="10000")
    records = path.receive(enumerate(alone))
    assert records
    path.finish()
    assert path.flows[0].directions[SERVER].tally.app_bytes == 4000 * 12


# Records.


@pytest.mark.parametrize("name", ["none", "connectx-6dx"])
def test_a_record_that_does_not_authenticate_is_told_without_content(name: str) -> None:
    talked = download(5)
    index = len(talked.server.records) - 4
    sent = talked.server.records[index]
    path, records = ran(talked, damaged(talked, index), name=name)
    (failed,) = [record for record in records if record.record_class is RecordClass.FAILED]
    assert (failed.flow, failed.receiver, failed.type, failed.data) == (0, "client", 0, b"")
    assert (failed.by, failed.number) == (By.NOBODY, sent.number)
    assert (failed.tcp_seq, failed.wire_length) == (add(talked.server.sequence, sent.start), sent.length)
    assert path.ledger.fates["record.failed"] == 1
    later = [record for record in records if record.receiver == "client" and (record.number or 0) > (sent.number or 0)]
    assert later
    assert {record.by for record in later} <= {By.HOST, By.DEVICE, By.RECRYPT}
    assert path.flows[0].directions[SERVER].complete() is False
    # The record was lost for the NIC, too, but its headers were not: nothing has to be found again.
    assert path.flows[0].directions[SERVER].tally.lost == 0


def test_what_the_peer_sends_behind_its_close_notify_is_nobody_s() -> None:
    talk = replays.begin(6)
    talk.request([b"up"], [b"down"])
    talk.server.record(21, b"\x01\x00")
    talk.server.record(23, b"too late")
    talked = replays.carry(talk)
    path, records = ran(talked)
    last = talked.server.records[-1]
    assert path.ledger.fates["byte.after_close"] == last.length
    assert all(b"late" not in record.data for record in records)
    assert path.flows[0].directions[SERVER].closed
    assert not path.flows[0].directions[CLIENT].closed
    assert path.flows[0].directions[SERVER].complete()


def test_an_alert_that_is_no_close_notify_ends_nothing() -> None:
    talk = replays.begin(6)
    talk.request([b"up"], [b"down"])
    talk.server.record(21, b"\x01\x5a")  # user_canceled, a warning
    talk.server.record(23, b"and on")
    path, records = ran(replays.carry(talk))
    assert any(record.data == b"and on" for record in records)
    assert not path.flows[0].directions[SERVER].closed


def test_plaintext_before_tls_is_counted_and_read_by_nobody() -> None:
    before = b"EHLO me\r\nSTARTTLS\r\n", b"220 hello\r\n250 STARTTLS\r\n220 go ahead\r\n"
    talked = download(7, session=replace(GCM13, preamble=before))
    path, records = ran(talked)
    assert path.ledger.fates["byte.preamble"] == sum(map(len, before))
    assert b"".join(r.data for r in records if r.receiver == "client" and r.type == 23) == talked.wanted("client")
    assert next(record.tcp_seq for record in records if record.receiver == "server") == add(
        talked.client.sequence, len(before[0])
    )


def test_early_data_is_said_to_be() -> None:
    talked = download(8, session=replace(GCM13, early_data=(b"early", b"birds"), resumed=True))
    _, records = ran(talked)
    early = [record for record in records if record.early_data]
    assert [(record.data, record.receiver, record.by) for record in early] == [
        (b"early", "server", By.LIBRARY),
        (b"birds", "server", By.LIBRARY),
    ]


# Sync is regained by the first decrypted record at or after the loss.


@pytest.mark.parametrize(
    ("losses", "at", "regained", "left"),
    [
        ([], 100, 0, []),
        ([100], 99, 0, [100]),
        ([100], 100, 1, []),
        ([100, 150, 300], 200, 1, [300]),
        ([0xFFFF_FFF0, 20], 10, 1, [20]),
        ([20], 0xFFFF_FFF0, 0, [20]),
    ],
)
def test_one_record_may_end_several_losses_but_regains_once(
    losses: list[int], at: int, regained: int, left: list[int]
) -> None:
    direction = flow_of(download(9)).directions[SERVER]
    direction.losses = losses
    count_regained(direction, at)
    assert (direction.tally.regained, direction.losses) == (regained, left)


def flow_of(talked: Talked) -> Flow:
    return ran(talked)[0].flows[0]
