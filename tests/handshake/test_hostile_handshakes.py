"""Hostile streams: whatever the bytes, nothing is raised, every byte accounted for, and nothing wrong delivered."""

from __future__ import annotations

from functools import cache
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from players import Player, flights
from rxtls.crypto.suites import SUITES, Version
from rxtls.handshake.observer import Observer
from rxtls.handshake.steps import WHY, Refuse, Rekey
from rxtls.simulation.synth import Session, converse, renegotiate
from rxtls.wire import tls
from rxtls.wire.keylog import KeyLog
from ssl_pairs import V12, contexts
from ssl_pairs import converse as real

Flights = list[tuple[int, bytes]]
Talk = tuple[Flights, bytes, tuple[bytes, bytes]]

SYNTHETIC = {
    "1.3": Session(SUITES[0x1301], tickets=1),
    "early data": Session(SUITES[0x1303], early_data=(b"early", b"data"), tickets=1),
    "rejected": Session(SUITES[0x1301], early_data=(b"early", b"data"), early="rejected"),
    "retry": Session(SUITES[0x1302], hello_retry=True, early_data=(b"early",), fragment=200),
    "1.2": Session(SUITES[0xC02F], Version.TLS12, preamble=(b"STARTTLS\r\n", b"220\r\n")),
    "1.2 resumed": Session(SUITES[0xC02F], Version.TLS12, resumed=True),
    "1.1": Session(SUITES[0xC013], Version.TLS11, coalesce=True),
}


@cache
def talk_of(name: str) -> Talk:
    """(flights, key log, application data of each side)."""
    if name.startswith("ssl"):
        made = real(contexts(V12) if name == "ssl 1.2" else contexts(), sizes=((10, 500), (300,)))
        return made.flights, "".join(made.keylog).encode(), (made.sent[0], made.sent[1])
    session, dice = SYNTHETIC[name], Random(1)
    talk = converse(session, dice)
    talk.request([b"up" * 50], [b"down" * 50])
    if session.version is not Version.TLS13:
        renegotiate(talk, dice)
        talk.request([b"and up"], [b"and down"])
    talk.close()
    up, down = (b"".join(p for kind, p in sender.truth() if kind == 23) for sender in (talk.client, talk.server))
    return flights(talk.client, talk.server), talk.keylog.encode(), (up, down)


TALKS = st.sampled_from([*SYNTHETIC, "ssl 1.2", "ssl 1.3"])


def mutate(data: st.DataObject, made: Flights) -> Flights:
    """Bytes changed, dropped, doubled, moved; headers and lengths more often than their share."""
    streams = [bytearray(part) for _, part in made]
    for _ in range(data.draw(st.integers(0, 4))):
        stream = streams[data.draw(st.integers(0, len(streams) - 1))]
        if not stream:
            continue
        places = [at for at in range(len(stream)) if stream[at : at + 2] == b"\x03\x03"] or [0]
        at = data.draw(st.integers(0, len(stream) - 1) | st.sampled_from(places).map(lambda p: max(0, p - 1)))
        match data.draw(st.sampled_from(["flip", "set", "cut", "double", "insert", "empty"])):
            case "flip":
                stream[at] ^= 1 << data.draw(st.integers(0, 7))
            case "set":
                stream[at : at + 5] = data.draw(st.binary(min_size=1, max_size=5))
            case "cut":
                del stream[at : at + data.draw(st.integers(1, 300))]
            case "double":
                stream[at:at] = stream[at : at + data.draw(st.integers(1, 300))]
            case "insert":
                stream[at:at] = data.draw(
                    st.binary(max_size=20) | st.just(b"\x14\3\3\0\1\1") | st.just(b"\x16\3\3\0\0")
                )
            case "empty":
                stream.clear()
    mutated = [(side, bytes(stream)) for (side, _), stream in zip(made, streams, strict=True)]
    return data.draw(st.permutations(mutated)) if data.draw(st.integers(0, 9)) == 0 else mutated


@settings(deadline=None, max_examples=200)
@given(TALKS, st.data())
def test_mutated_handshakes(name: str, data: st.DataObject) -> None:
    made, keys, sent = talk_of(name)
    log = KeyLog()
    log.add(keys, name)
    syn = data.draw(st.booleans())
    player = Player(Observer(log, data.draw(st.booleans()), (syn, syn)))
    fed = [0, 0]
    for side, stream in mutate(data, made):
        cut = data.draw(st.sampled_from([len(stream) or 1, 50, 1000]))
        for at in range(0, len(stream), cut):
            player.feed(side, stream[at : at + cut])
        fed[side] += len(stream)
    player.finish()
    for side in (0, 1):
        assert (player.enabled[side] is None) <= (player.refused[side] is not None)
        refused = player.refused[side]
        assert refused is None or refused.code in WHY
        assert player.consumed[side] <= fed[side]
        # Every record opened authenticated, so what was read is a part of what was sent.
        for record in player.opened[side]:
            if record.type == tls.APPLICATION_DATA:
                assert record.payload in sent[0] + b"|" + sent[1]


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 1), st.binary(max_size=60)), max_size=20), st.booleans(), st.booleans())
def test_junk(stream: Flights, syn: bool, wait: bool) -> None:
    player = Player(Observer(KeyLog(), wait, (syn, syn)))
    for side, data in stream:
        player.feed(side, data)
    player.finish()
    assert all(refused is not None for refused in player.refused)
    assert player.enabled == [None, None]


RECORDS = st.tuples(
    st.integers(0, 1),
    st.sampled_from([20, 21, 22, 24]) | st.integers(0, 255),
    st.binary(max_size=30)
    | st.sampled_from([b"\1", b"\2\x64", b"\x18\0\0\1\1", b"\x14\0\0\0", b"\1\0\0\0", b"\0\0\0\0"]),
)


@settings(deadline=None, max_examples=80)
@given(st.sampled_from(["1.3", "1.2"]), st.lists(RECORDS, max_size=12))
def test_hostile_records_after_the_handshake(name: str, records: list[tuple[int, int, bytes]]) -> None:
    """A peer that has the keys may send anything under them."""
    made, keys, _ = talk_of(name)
    log = KeyLog()
    log.add(keys, name)
    observer = Observer(log)
    player = Player(observer)
    for side, stream in made:
        if all(player.enabled):
            break
        player.feed(side, stream)
    assert all(player.enabled)
    for side, kind, payload in records:
        answer = observer.record(side, kind, payload)
        if isinstance(answer, Refuse):
            assert answer.fate == "byte.handshake" or answer.code in ("no_keys", "suite_unsupported")
            assert observer.resume(side) == answer
        elif isinstance(answer, Rekey):
            assert name == "1.3"
            assert payload.endswith(b"\x18\0\0\1\1")
        resumed = observer.resume(side)
        assert resumed is None or isinstance(resumed, (Refuse, Rekey))
