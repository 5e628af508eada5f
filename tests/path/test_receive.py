"""The path without files: what may be asked of it, what it holds on to, and that its books balance at any moment."""

from __future__ import annotations

from dataclasses import replace

import pytest

import replays
import runs
from replays import GCM12, GCM13, Talked, download
from rxtls.crypto.schedule import tls13_keys
from rxtls.crypto.suites import SUITES
from rxtls.device.profiles import profile
from rxtls.errors import UsageError
from rxtls.events import By, Record, RecordClass
from rxtls.handshake.library import Preset
from rxtls.path.receive import PathOptions, ReceivePath
from rxtls.simulation.link import Connection, Impairment, Link, TlsSender
from rxtls.simulation.sender import APPLICATION_DATA, HANDSHAKE, key_update
from rxtls.simulation.synth import Session
from rxtls.wire.keylog import KeyLog


def path_of(*talked: Talked, **options: object) -> ReceivePath:
    keys = KeyLog()
    for each in talked:
        keys.add(each.keylog.encode(), "simulated")
    return ReceivePath(keys, PathOptions(**options))  # type: ignore[arg-type]


def data(records: list[Record], receiver: str = "client") -> bytes:
    return b"".join(r.data for r in records if r.receiver == receiver and r.type == 23)


def test_a_policy_that_does_not_exist_or_fit_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no policy 'hope'"):
        ReceivePath(options=PathOptions(policy="hope"))
    mute = replace(profile("connectx-6dx"), commands=frozenset({"confirm"}))
    with pytest.raises(UsageError, match="query"):
        ReceivePath(options=PathOptions(profile=mute))
    ReceivePath(options=PathOptions(profile=mute, policy="none"))
    ReceivePath(options=PathOptions(profile=profile("none")))  # nothing to ask of a NIC that decrypts nothing


def test_nothing_in_is_nothing_out() -> None:
    path = path_of()
    assert path.receive([]) == []
    assert path.finish() == []
    assert path.keys_added() == []
    assert path.ledger.balance() == 0


@pytest.mark.parametrize("session", [GCM13, GCM12], ids=["1.3", "1.2"])
def test_a_call_gives_the_records_that_it_completed(session: Session) -> None:
    talked = download(1, session=session)
    path = path_of(talked, profile=profile("connectx-6dx", {"budget": "1"}))
    for n, frame in enumerate(talked.frames):
        for record in path.receive([(n, frame)]):
            assert (record.frame, record.time_ns) == (n, frame.time_ns)
    path.finish()
    assert path.ledger.balance() == 0


def test_records_say_everything_about_themselves() -> None:
    talked = download(2, (100, 16384, 1))
    path = path_of(talked)
    records = path.receive(enumerate(talked.frames)) + path.finish()
    theirs = [record for record in records if record.receiver == "client"]
    for record, sent in zip(theirs, talked.server.records, strict=True):
        assert (record.type, record.data, record.wire_length) == (sent.type, sent.payload, sent.length)
        assert record.tcp_seq == (talked.server.sequence + sent.start) & 0xFFFF_FFFF
        assert record.flow == 0
        assert record.early_data is False
        assert talked.frames[record.frame].time_ns == record.time_ns
        if record.record_class is RecordClass.LIBRARY:
            assert record.by is By.LIBRARY
        else:
            assert (record.by, record.record_class, record.composition) == (By.DEVICE, RecordClass.DECRYPTED, "D")
            assert record.number == sent.number


def test_no_payload_stands_in_a_repr() -> None:
    talk = replays.begin(3)
    talk.request([b"correct horse battery staple"], [b"tell nobody"])
    talked = replays.carry(talk)
    path = path_of(talked)
    records = path.receive(enumerate(talked.frames)) + path.finish()
    assert data(records) == b"tell nobody"
    shown = repr(records) + str(records) + repr(path.keys) + repr(path.flows) + repr(path.options)
    shown += "".join(f"{direction}{direction.tally}" for direction in path.flows[0].directions)
    assert "horse" not in shown
    assert "nobody" not in shown.replace("By.NOBODY", "").replace("'nobody'", "")
    for line in talked.keylog.splitlines():
        assert line.split()[2] not in shown
        assert repr(bytes.fromhex(line.split()[2]))[2:20] not in shown


def test_ended_connections_let_go_of_keys_and_receive_tags() -> None:
    talked = [download(4 + n, client=replays.client_at(40000 + n), start_ns=10**9 * (n + 1)) for n in range(3)]
    path = path_of(*talked)
    frames = [frame for each in talked for frame in each.frames]
    most = 0
    for n, frame in enumerate(frames):
        path.receive([(n, frame)])
        most = max(most, path.receive_tags)
    assert most == 2
    assert path.receive_tags == 0
    assert all(flow.ended for flow in path.flows.values())
    assert all(direction.session is None for flow in path.flows.values() for direction in flow.directions)
    assert path.finish() == []
    assert path.ledger.balance() == 0


def test_keys_that_come_late_open_what_has_waited() -> None:
    talked = download(7, (3000,) * 10, end="open")
    keys = KeyLog()
    path = ReceivePath(keys, PathOptions(wait_for_keys=True))
    half = len(talked.frames) // 2
    numbered = list(enumerate(talked.frames))
    early = path.receive(numbered[:half])
    assert data(early) == b""
    keys.add(talked.keylog.encode(), "late")
    waited = path.keys_added()
    assert data(waited)
    assert path.keys_added() == []
    later = path.receive(numbered[half:]) + path.finish()
    assert data(early + waited + later) == talked.wanted("client")
    assert {record.by for record in waited} <= {By.LIBRARY, By.HOST}
    assert By.DEVICE in {record.by for record in later}
    assert path.ledger.balance() == 0
    assert not path.keys_wait_met


def test_keys_that_are_not_the_ones_waited_for_change_nothing() -> None:
    talked, other = download(7, end="open"), download(8)
    keys = KeyLog()
    path = ReceivePath(keys, PathOptions(wait_for_keys=True))
    path.receive(enumerate(talked.frames))
    keys.add(other.keylog.encode(), "late")
    assert [record for record in path.keys_added() if record.data] == []
    assert data(path.finish()) == b""
    assert path.ledger.fates["byte.no_keys"] > 48_000
    assert path.ledger.balance() == 0


@pytest.mark.parametrize("records", [1, 8])  # 8: more than what a direction waits for the other one
def test_one_direction_alone_is_opened_by_its_own_handshake(records: int) -> None:
    talked = download(9, (16384,) * records)
    path = path_of(talked)
    down = [frame for frame in talked.frames if replays.from_server(frame)]
    assert data(path.receive(enumerate(down)) + path.finish()) == talked.wanted("client")
    assert path.ledger.balance() == 0


def test_preset_keys_need_no_handshake() -> None:
    suite, secret = SUITES[0x1301], bytes(range(32))
    sender = TlsSender.tls13(suite, secret, 41)
    for n in range(30):
        if n == 15:
            sender.record(HANDSHAKE, key_update())
        sender.record(APPLICATION_DATA, bytes([n]) * 3000)
    run = Link(1, to_client=Impairment(loss=0.02)).run(Connection(), None, sender)
    path = ReceivePath(library=lambda _: Preset({1: (tls13_keys(suite, secret), 41)}, {1: secret}))
    records = path.receive(enumerate(run.frames)) + path.finish()
    assert data(records) == b"".join(bytes([n]) * 3000 for n in range(30))
    assert [record.number for record in records] == [*range(41, 57), *range(15)]
    assert path.ledger.balance() == 0


@pytest.mark.parametrize("cut", [1, 30, 45])
def test_the_books_balance_wherever_the_input_ends(cut: int) -> None:
    talked = download(10, (16384,) * 5, down=Impairment(loss=0.1, duplicate=0.1, reorder=0.1))
    path = path_of(talked)
    path.receive(enumerate(talked.frames[:cut]))
    path.finish()
    assert path.ledger.balance() == 0
    assert path.receive_tags == 0


def test_who_gets_the_last_receive_tag_does_not_depend_on_the_calls() -> None:
    talked = [
        download(
            11 + n,
            (16384,) * 4,
            client=replays.client_at(40000 + n),
            start_ns=10**9 + n * 70_000,
            down=Impairment(loss=0.02),
        )
        for n in range(4)
    ]
    frames = sorted((frame for each in talked for frame in each.frames), key=lambda frame: frame.time_ns)
    keylog = "".join(each.keylog for each in talked)
    settings = {"max_receive_tags": "3"}
    wanted = runs.run(frames, keylog, settings=settings, call_size=1)
    assert wanted.path.receive_tags_refused > 0
    for call_size in (7, 63, None):
        ran = runs.run(frames, keylog, settings=settings, call_size=call_size)
        assert ran.verdicts() == wanted.verdicts()
        assert ran.path.receive_tags_refused == wanted.path.receive_tags_refused
    assert wanted.read() == runs.run(frames, keylog, "none").read()


def test_the_device_keeps_to_one_leaf_and_plaintext_does_not_change_with_it() -> None:
    for seed in range(3):
        talked = download(20 + seed, (16384,) * 12, down=Impairment(move=0.03, loss=0.01), interfaces=(0, 1, 2))
        moved = runs.run(talked.frames, talked.keylog)
        software = runs.run(talked.frames, talked.keylog, "none")
        assert moved.read() == software.read()
        tally = moved.path.flows[0].directions[1].tally
        assert tally.receive_tag_resets > 0
        assert moved.path.flows[0].directions[1].epoch == 1 + tally.receive_tag_resets
        assert software.path.flows[0].directions[1].tally.receive_tag_resets == 0
