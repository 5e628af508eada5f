"""Streams whose beginning was not captured, as the observer reads them: under which keys, from which record on, and
what is said where they are not read. tests/handshake/test_late_start.py has the search by itself."""

from __future__ import annotations

from random import Random

import pytest

from players import Player
from rxtls.crypto.suites import SUITES, Suite, Version
from rxtls.handshake import late_start
from rxtls.handshake.exchange import Role
from rxtls.handshake.midstream import start, why_not
from rxtls.handshake.observer import Observer
from rxtls.handshake.search_budget import Work
from rxtls.handshake.session import Session as Shared
from rxtls.handshake.steps import WHY, refuse
from rxtls.simulation.synth import Conversation, Session, converse
from rxtls.wire import hello
from rxtls.wire.keylog import KeyLog

V11, V12 = Version.TLS11, Version.TLS12
GCM12, CHACHA12, CBC, GCM13 = SUITES[0xC02F], SUITES[0xCCA8], SUITES[0xC013], SUITES[0x1301]
OLD = [(GCM12, V12), (CHACHA12, V12), (CBC, V12), (CBC, V11)]
UP, DOWN = [b"first", b"second" * 40, b"third"], [b"FIRST" * 9, b"SECOND"]
OTHERS = "".join(f"CLIENT_RANDOM {n:064x} {n:096x}\n" for n in range(1, 4))

old_suites = pytest.mark.parametrize(("suite", "version"), OLD, ids=lambda each: each.name)


def log_of(keylog: str) -> KeyLog:
    log = KeyLog()
    log.add(keylog.encode(), "made")
    return log


def talk_of(suite: Suite, version: Version, seed: int = 3) -> Conversation:
    talk = converse(Session(suite, version), Random(seed))
    talk.request(UP, DOWN)
    return talk


def streams(talk: Conversation) -> tuple[bytes, bytes]:
    return bytes(talk.client.data), bytes(talk.server.data)


def ends(talk: Conversation, side: int) -> list[int]:
    """Where each record of a side ends in its stream."""
    found, at = [], 0
    for record in (talk.client, talk.server)[side].records:
        at += record.length
        found.append(at)
    return found


def played(log: KeyLog, seen: tuple[bool, bool], client: bytes, server: bytes, client_side: int = 0) -> Player:
    """Both streams to their end; `seen` says whose SYN was captured. The server is decided on first."""
    player = Player(Observer(log, syn_seen=seen if client_side == 0 else seen[::-1]))
    player.feed(1 - client_side, server)
    if seen[1]:
        player.observer.one_sided(1 - client_side)
        player.run()
    player.feed(client_side, client)
    player.finish()
    return player


# Before TLS 1.3: the ServerHello and a master secret are what it takes.


@old_suites
@pytest.mark.parametrize("others", ["", OTHERS], ids=["one session", "many"])
def test_a_client_without_beginning_is_read_from_its_first_whole_record(
    suite: Suite, version: Version, others: str
) -> None:
    talk = talk_of(suite, version)
    client, server = streams(talk)
    last = ends(talk, 0)
    library = talk.library[0]
    for cut in (last[library - 1] + 1, last[library] - 3, last[library]):
        player = played(log_of(others + talk.keylog), (False, True), client[cut:], server)
        assert player.refused == [None, None]
        assert player.application(0) == b"".join(UP[1:])
        assert player.application(1) == b"".join(DOWN)
        enabled = player.enabled[0]
        assert enabled is not None
        assert (enabled.late, enabled.number) == (True, 2)  # record 0 is Finished, 1 the one that was cut
        assert player.consumed[0] - sum(r.wire_length for r in player.library[0]) == last[library] - cut


@old_suites
def test_finished_itself_is_nobody_s_to_read(suite: Suite, version: Version) -> None:
    """From within ClientKeyExchange on: record 0 is whole, but it is the TLS library's."""
    talk = talk_of(suite, version)
    client, server = streams(talk)
    finished = talk.library[0] - 1
    before = ends(talk, 0)[finished - 1]
    for cut in (before, before - 6, before - 10):  # right before Finished; with ChangeCipherSpec; with a piece more
        player = played(log_of(talk.keylog), (False, True), client[cut:], server)
        enabled = player.enabled[0]
        assert enabled is not None
        assert enabled.number == 1
        assert player.application(0) == b"".join(UP)


def test_the_same_behind_a_hole_in_the_handshake() -> None:
    """The client's hello is there and tells which session it is; what follows it in the handshake is missing."""
    talk = talk_of(GCM12, V12)
    client, server = streams(talk)
    hello = ends(talk, 0)[0]
    player = Player(Observer(log_of(OTHERS + talk.keylog)))
    player.feed(0, client[:hello])
    player.feed(1, server)
    assert player.observer.cut(0)
    player.feed(0, client[ends(talk, 0)[talk.library[0]] - 4 :])
    player.finish()
    assert player.refused == [None, None]
    assert player.application(0) == b"".join(UP[1:])
    assert player.application(1) == b"".join(DOWN)


def test_a_side_that_was_refused_is_not_read_behind_a_hole_either() -> None:
    observer = Observer(KeyLog())
    observer.read(0, b"\x16\3\3\0\4\1\0\0\0")
    assert not observer.cut(0)
    assert observer.cut(1)


def test_the_server_hello_without_its_secrets() -> None:
    talk = talk_of(GCM12, V12)
    client, server = streams(talk)
    player = played(log_of(OTHERS), (False, True), client[ends(talk, 0)[-2] - 3 :], server)
    assert player.code(0) == "handshake_unfinished"
    assert player.refused[0] is not None
    assert player.refused[0].text == WHY["handshake_unfinished"] + ": a part of it is not in the capture"
    assert player.application(0) == b""


def test_a_server_hello_that_cannot_be_read_is_the_reason() -> None:
    talk = talk_of(GCM12, V12)
    client, server = streams(talk)
    odd = server.replace(b"\xc0\x2f", b"\x00\x05", 1)  # RC4
    player = played(log_of(talk.keylog), (False, True), client[ends(talk, 0)[-2] - 3 :], odd)
    assert (player.code(0), player.code(1)) == ("suite_unsupported", "suite_unsupported")


def test_the_budget_bounds_the_search_before_tls_1_3() -> None:
    strangers = "".join(f"CLIENT_RANDOM {n:064x} {n:096x}\n" for n in range(1, 50))
    session = shared(0x0303, log=log_of(strangers))
    assert session.judge() is None
    whole, work = Work(), Work(300)
    assert start(session, Role.CLIENT, Role.CLIENT, TLS12_STREAM, whole) is None
    assert start(session, Role.CLIENT, Role.CLIENT, TLS12_STREAM, work) is None
    assert 250 < work.spent < 350 < whole.spent


# TLS 1.3: the application secret opens a stream by itself.


@pytest.mark.parametrize("client_side", [0, 1])
@pytest.mark.parametrize("which", ["client", "server", "both"])
def test_tls_1_3_is_read_from_the_first_whole_record(which: str, client_side: int) -> None:
    talk = talk_of(GCM13, Version.TLS13)
    client, server = streams(talk)
    cuts = [ends(talk, side)[talk.library[side]] - 3 if which in (name, "both") else 0
            for side, name in enumerate(("client", "server"))]  # fmt: skip
    seen = cuts[0] == 0, cuts[1] == 0
    player = played(log_of(talk.keylog), seen, client[cuts[0] :], server[cuts[1] :], client_side)
    assert player.refused == [None, None]
    assert player.observer.client_side == client_side
    assert player.observer.tls == "1.3"
    assert player.observer.suite == GCM13
    assert player.application(client_side) == b"".join(UP[1:] if cuts[0] else UP)
    assert player.application(1 - client_side) == b"".join(DOWN[1:] if cuts[1] else DOWN)
    assert not player.observer.handshaking


def test_tls_1_3_without_its_secrets_says_which_they_would_be() -> None:
    talk, stranger = talk_of(GCM13, Version.TLS13), talk_of(GCM13, Version.TLS13, seed=9)
    client, server = streams(talk)
    cut = ends(talk, 1)[talk.library[1]] - 3
    player = played(log_of(stranger.keylog), (False, False), client[ends(talk, 0)[-2] - 3 :], server[cut:])
    assert [player.code(0), player.code(1)] == ["mid_connection"] * 2
    hello = client[: ends(talk, 0)[0]]
    told = Player(Observer(log_of(stranger.keylog), syn_seen=(True, False)))
    told.feed(0, hello)
    told.feed(1, server[cut:])
    told.finish()
    assert told.code(1) == "no_keys"  # the hello says which session it is, and the log has it not


# What there is to say, by itself.


def shared(
    server: int | None = None,
    client: bool = False,
    versions: tuple[int, ...] = (0x0303,),
    log: KeyLog | None = None,
) -> Shared:
    """A session of which this much is known: the ServerHello's version, the ClientHello's."""
    made = Shared(log or KeyLog(), False)
    talk = talk_of(GCM12, V12)
    hellos = [sender.records[0].payload for sender in (talk.client, talk.server)]
    if client:
        made.exchange.client = hello.client_hello(hellos[0][4:])._replace(versions=versions)
    if server is not None:
        made.exchange.server = hello.server_hello(hellos[1][4:])._replace(version=server)
        made.exchange.version = server
    return made


TLS12_STREAM = b"\x17\3\3\0\x20" + (5).to_bytes(8) + bytes(24) + b"\x17\3\3\0\x20" + (6).to_bytes(8) + bytes(24)
TLS13_STREAM = b"\x17\3\3\0\x20" + b"q" * 32 + b"\x17\3\3\0\x20" + b"!" * 32


@pytest.mark.parametrize(
    ("session", "role", "data", "code", "detail"),
    [
        (shared(0x0303), Role.CLIENT, b"", "handshake_unfinished", "a part of it is not in the capture"),
        (shared(0x0301), Role.CLIENT, b"", "version_unsupported", "TLS 1.0"),
        (shared(client=True), Role.CLIENT, b"", "needs_server_hello", ""),
        (shared(client=True, versions=(0x0304, 0x0303)), Role.CLIENT, TLS12_STREAM, "mid_connection_tls12", ""),
        (shared(client=True, versions=(0x0304, 0x0303)), Role.CLIENT, TLS13_STREAM, "no_keys", ""),
        (shared(client=True), Role.SERVER, TLS12_STREAM, "mid_connection_tls12", ""),
        (shared(client=True), Role.SERVER, TLS13_STREAM, "no_keys", ""),
        (shared(), None, TLS12_STREAM, "mid_connection_tls12", ""),
        (shared(), None, TLS13_STREAM, "mid_connection", ""),
    ],
)
def test_why_it_is_not_read(session: Shared, role: Role | None, data: bytes, code: str, detail: str) -> None:
    refused = why_not(session, role, data, Work())
    assert (refused.code, refused.text) == (code, WHY[code] + (f": {detail}" if detail else ""))


def test_trial_b7_secrets_of_tls12_are_not_called_missing_where_a_hello_was_cut() -> None:
    talk = talk_of(GCM12, V12)
    session = Shared(log_of(talk.keylog), False)
    session.learn_cut(bytes(talk.client.data[:60]))
    assert session.known
    refused = why_not(session, Role.SERVER, TLS12_STREAM[:20], Work())
    assert refused == refuse("mid_connection_tls12")
    assert "begins after" not in refused.text


def test_each_side_has_its_own_secret() -> None:
    talk = talk_of(GCM13, Version.TLS13)
    lines = [line for line in talk.keylog.splitlines() if line.startswith("CLIENT_TRAFFIC")]
    session = Shared(log_of("\n".join(lines)), False)
    session.learn(bytes.fromhex(lines[0].split()[1]), GCM13)
    session.exchange.version = 0x0304
    codes = [why_not(session, role, TLS13_STREAM, Work()).code for role in (None, Role.CLIENT, Role.SERVER)]
    assert codes == ["mid_connection", "mid_connection", "no_keys"]


def test_when_the_session_is_known_one_whole_record_is_enough_and_a_part_of_one_is_waited_for() -> None:
    talk = talk_of(GCM13, Version.TLS13)
    client, server = streams(talk)
    start = ends(talk, 1)[talk.library[1]] - 3  # behind it: 3 bytes of a record, then a whole one
    player = Player(Observer(log_of(talk.keylog), syn_seen=(True, False)))
    player.feed(0, client[: ends(talk, 0)[0]])  # the hello, by which the key log's entry is known
    long = b"\x17\3\3\1\0" + bytes(60)
    waiting = Player(Observer(log_of(talk.keylog), syn_seen=(True, False)))
    waiting.feed(0, client[: ends(talk, 0)[0]])
    waiting.feed(1, long)
    assert waiting.code(1) is None
    waiting.finish()
    assert waiting.code(1) == "mid_connection"
    player.feed(1, server[start : start + 40])
    assert player.code(1) is None
    player.feed(1, server[start + 40 :])
    player.finish()
    assert player.application(1) == DOWN[1]


def test_with_enough_bytes_nobody_waits_for_the_end() -> None:
    """A stream without beginning is searched at its end, or as soon as there is enough of it to be sure."""
    talk = talk_of(GCM13, Version.TLS13)
    while len(talk.server.data) < 2 * late_start.ENOUGH:
        talk.server.record(23, b"more" * 1000)
    start = ends(talk, 1)[talk.library[1]] - 3
    player = Player(Observer(log_of(talk.keylog), syn_seen=(False, False)))
    for at in range(start, len(talk.server.data), 1400):
        player.feed(1, bytes(talk.server.data[at : at + 1400]))
        assert (player.enabled[1] is not None) == (at + 1400 - start >= late_start.ENOUGH)
        if player.enabled[1]:
            break
    assert player.enabled[1] is not None
    assert player.enabled[1].late


def test_a_spent_budget_is_the_reason_for_not_reading_on() -> None:
    spent = Work()
    spent.left = 0
    refused = why_not(shared(), None, TLS13_STREAM, spent)
    assert refused.text == WHY["mid_connection"] + ": the budget of work was spent before (--set search=N)"


def test_before_tls_1_3_a_role_is_needed_and_nothing_is_tried_without_it() -> None:
    work = Work()
    assert start(shared(0x0303), None, Role.CLIENT, TLS12_STREAM, work) is None
    assert start(shared(0x0301), Role.CLIENT, Role.CLIENT, TLS12_STREAM, work) is None
    assert work.spent == 0


def test_what_shows_that_it_is_older_is_not_tried_as_tls_1_3() -> None:
    talk = talk_of(GCM13, Version.TLS13)
    session = Shared(log_of(talk.keylog), False)
    alert = b"\x15\3\3\0\x20" + bytes(32)
    work = Work()
    assert start(session, None, Role.CLIENT, alert + bytes(talk.client.data)[ends(talk, 0)[-2] :], work) is None
    session.exchange.version = 0x0304
    assert start(session, None, Role.CLIENT, bytes(talk.client.data)[ends(talk, 0)[-2] :], work) is not None
