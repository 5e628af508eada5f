"""What is mutated: small real captures, and simulated connections of every kind, losses and hostile peers included.

A simulated sample knows its truth, the records that each side sent. Of a real one the truth is what a run without a
device reads from it undamaged, and only where that run was complete; elsewhere there is none to hold a run against.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random
from typing import NamedTuple

import traffic
from hostile_frames import Piece, Seen, frames_of, pcap, take_apart
from rxtls.crypto.suites import SUITES, Version
from rxtls.run.options import ReplayOptions
from rxtls.run.replay import Replay
from rxtls.simulation.link import Connection, Impairment, Link, LinkFrame
from rxtls.simulation.sender import ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE, TlsSender, key_update
from rxtls.simulation.synth import Conversation, Session, converse, renegotiate

REAL = Path(__file__).parents[1] / "data" / "real"
LARGEST = 48_000  # bytes of a real capture: what one case may cost is milliseconds

# The simulated streams of many records, one of each suite that a device can take.
LONG = frozenset(f"{SUITES[kind[0]].name}-{kind[1].name}-3" for kind in traffic.STREAM_KINDS)

Truth = list[tuple[int, bytes]]


class Sample(NamedTuple):
    """A capture and its key log; `truth` has the records of each direction in order, None where it is not known."""

    name: str
    raw: bytes
    pieces: tuple[Piece, ...]
    keys: bytes
    truth: tuple[Truth, ...] | None


@cache
def samples() -> tuple[Sample, ...]:
    """All of them, in an order that does not change."""
    return (*_simulated(), *_real())


def _sample(name: str, raw: bytes, keys: bytes, truth: tuple[Truth, ...] | None) -> Sample:
    return Sample(name, raw, tuple(take_apart(frame) for frame in frames_of(raw)), keys, truth)


def _real() -> Iterator[Sample]:
    for path in sorted(REAL.glob("*.pcap*")):
        if path.stat().st_size > LARGEST:
            continue
        keys = path.with_suffix(".keys")
        run = Replay([path], [keys] if keys.exists() else [], ReplayOptions(profile="none"))
        truth: dict[tuple[int, str], Truth] = {}
        for record in run:
            if record.by != "nobody":
                truth.setdefault((record.flow, record.receiver), []).append((record.type, record.data))
        whole = all(d.complete() for flow in run.path.flows.values() for d in flow.directions)
        known = tuple(truth.values()) if whole and run.path.flows else None
        yield _sample(path.name, path.read_bytes(), keys.read_bytes() if keys.exists() else b"", known)


def _simulated() -> Iterator[Sample]:
    for kind in traffic.ALL_KINDS:
        name = f"{SUITES[kind[0]].name}-{kind[1].name}"
        small = Connection(mss=700, timestamps=kind[0] & 1 == 1)
        for n, flow in enumerate(_flows(kind, small)):
            whole = traffic.whole(flow)
            yield _of_talk(f"{name}-{n}", whole.talk, whole.run.frames)
    yield from _scenario()
    for name, talk in _talks():
        talk.close()
        run = Link(7).run(Connection(mss=700), talk.client, talk.server)
        yield _of_talk(name, talk, run.frames)
    for n in range(24):
        talk = _hostile_peers(Random(n))
        run = Link(n).run(Connection(mss=700), talk.client, talk.server)
        yield _of_talk(f"hostile-peer-{n}", talk, run.frames)


def _flows(kind: traffic.Kind, connection: Connection) -> Iterator[traffic.Flow]:
    few = replace(connection, flight=4)
    sizes = (1500, 40, 0, 2600, 1, 900, 3000, 16, 1300, 700)
    base = traffic.Flow(
        kind, tuple((size, 11 * (size & 4)) for size in sizes), frozenset({6}), seed=kind[0], connection=connection
    )
    yield base
    yield replace(base, impairment=Impairment(loss=0.12, reorder=0.1, duplicate=0.05), sequence=2**32 - 3_000)
    if kind in traffic.STREAM_KINDS:
        lossy = Impairment(loss=0.08, reorder=0.15, jump=-4, resegment=0.3, corrupt_unseen=0.05, spare_control=True)
        yield replace(base, upload=True, impairment=lossy, updates=frozenset({2, 3}), seed=kind[0] + 1)
        # Many small records in small flights: sync, once lost, has the time to come back.
        many = tuple((200 + 40 * n, 0) for n in range(32))
        yield replace(base, records=many, updates=frozenset(), impairment=Impairment(loss=0.05), connection=few)
    elif "CBC" in SUITES[kind[0]].name:
        yield replace(base, encrypt_then_mac=True)


def _scenario() -> Iterator[Sample]:
    flows = tuple(
        traffic.Flow(kind, ((1200, 0),) * 4, seed=n, impairment=Impairment(loss=0.1), connection=Connection(mss=700))
        for n, kind in enumerate(traffic.STREAM_KINDS[:3])
    )
    played = traffic.play(traffic.Scenario(flows))
    truth = tuple(side.truth for flow in played.flows for side in (flow.run.client, flow.run.server))
    yield _sample("three-flows", pcap(map(_seen, played.frames)), played.keylog.encode(), truth)


def _talks() -> Iterator[tuple[str, Conversation]]:
    gcm13, gcm12, cbc = SUITES[0x1301], SUITES[0xC02F], SUITES[0xC027]
    sessions = {
        "hello-retry": Session(gcm13, hello_retry=True, tickets=2),
        "early-data": Session(gcm13, resumed=True, early_data=(b"early" * 50, b"bird")),
        "early-data-rejected": Session(gcm13, resumed=True, early_data=(b"early" * 50, b"bird"), early="rejected"),
        "fragments": Session(gcm13, fragment=37, tickets=1),
        "coalesced": Session(gcm13, coalesce=True, middlebox=False),
        "resumed-12": Session(gcm12, Version.TLS12, resumed=True),
        "starttls": Session(gcm13, preamble=(b"EHLO me\r\nSTARTTLS\r\n", b"220 go ahead\r\n")),
    }
    for n, (name, session) in enumerate(sessions.items()):
        talk = converse(session, Random(n))
        talk.request([b"GET /"], [Random(n).randbytes(1800)] * 3)
        yield name, talk
    for name, session in (
        ("renegotiation", Session(gcm12, Version.TLS12)),
        ("renegotiation-cbc", Session(cbc, Version.TLS12, encrypt_then_mac=True)),
    ):
        dice = Random(name)
        talk = converse(session, dice)
        for _ in range(2):
            talk.request([b"GET /"], [dice.randbytes(900)] * 2)
            renegotiate(talk, dice)
        talk.request([b"GET /"], [dice.randbytes(900)])
        yield name, talk


def _hostile_peers(dice: Random) -> Conversation:
    """Two peers with good keys who then write whatever comes to their mind: all of it authenticates."""
    kind = dice.choice((*traffic.STREAM_KINDS, traffic.AES128_CBC_SHA_12))
    talk = converse(Session(SUITES[kind[0]], kind[1]), dice)
    moves: tuple[Callable[[TlsSender], None], ...] = (
        lambda s: s.record(APPLICATION_DATA, dice.randbytes(dice.choice((0, 1, 900, 2000)))),
        lambda s: s.record(APPLICATION_DATA, dice.randbytes(900)),
        lambda s: s.record(HANDSHAKE, dice.randbytes(dice.choice((1, 3, 4, 60)))),
        lambda s: s.record(HANDSHAKE, b""),
        lambda s: s.record(HANDSHAKE, key_update(bool(dice.getrandbits(1)))),
        lambda s: s.record(HANDSHAKE, key_update(True)[:4] + b"\x02"),
        lambda s: s.record(HANDSHAKE, key_update(False) + key_update(True)),
        lambda s: s.record(HANDSHAKE, key_update(False)[:2]),
        lambda s: s.record(HANDSHAKE, bytes([dice.choice((0, 1, 2, 4, 13, 20, 24)), 0xFF, 0xFF, 0xFF])),
        lambda s: s.record(HANDSHAKE, bytes([dice.randrange(32), 0, 0, 40]) + dice.randbytes(40)),
        lambda s: s.record(ALERT, dice.randbytes(dice.choice((0, 1, 2, 3, 50)))),
        lambda s: s.record(ALERT, b"\x01\x5a"),
        lambda s: s.record(CHANGE_CIPHER_SPEC, dice.choice((b"\1", b"", b"\2", bytes(40)))),
        lambda s: s.plain(dice.randrange(19, 26), dice.randbytes(dice.choice((0, 1, 2, 40)))),
        lambda s: s.record(dice.choice((1, 24, 255)), dice.randbytes(30)),
        lambda s: s.raw(dice.randbytes(dice.choice((1, 4, 5, 30)))),
        lambda s: s.raw(bytes([23, 3, 3, 0x40 | dice.randrange(64), dice.randrange(256)])),
        lambda s: s.wait(talk.client if s is talk.server else talk.server),
        lambda s: s.close_notify() if dice.random() < 0.2 else s.record(APPLICATION_DATA, b"more"),
    )
    for _ in range(dice.randrange(3, 14)):
        talk.server.record(APPLICATION_DATA, dice.randbytes(600))
        dice.choice(moves)(dice.choice((talk.client, talk.server)))
    return talk


def _of_talk(name: str, talk: Conversation, frames: list[LinkFrame]) -> Sample:
    truth = talk.client.truth(), talk.server.truth()
    return _sample(name, pcap(map(_seen, frames)), talk.keylog.encode(), truth)


def _seen(frame: LinkFrame) -> Seen:
    return Seen(frame.time_ns, frame.interface, frame.link_type, frame.wire_length, frame.data)
