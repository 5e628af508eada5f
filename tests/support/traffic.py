"""Traffic for tests: streams of real TLS records through the simulated link, and Hypothesis strategies for them.

A `Flow` says what one connection carries and what the link does to it. `bare` plays it without handshakes, from any
record number, for tests that hand keys over themselves; `whole` plays a complete connection with its key log. A
`Scenario` is several flows and everything else that results may depend on; `play` makes one capture of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from random import Random

from hypothesis import strategies as st

from rxtls.crypto.keys import Keys
from rxtls.crypto.records import Opener
from rxtls.crypto.schedule import HASH_LENGTH, tls12_keys, tls13_keys, tls13_next_secret
from rxtls.crypto.suites import SUITES, Suite, Version
from rxtls.simulation.link import Address, Connection, Impairment, Link, LinkFrame, LinkRun, Side, TlsSender, interleave
from rxtls.simulation.sender import APPLICATION_DATA, HANDSHAKE, key_update
from rxtls.simulation.synth import Conversation, Session, converse

# (code, version): one of each kind of record.
AES128_GCM_13 = (0x1301, Version.TLS13)
AES256_GCM_13 = (0x1302, Version.TLS13)
CHACHA20_13 = (0x1303, Version.TLS13)
AES128_CCM_13 = (0x1304, Version.TLS13)
AES128_CCM8_13 = (0x1305, Version.TLS13)
AES128_GCM_12 = (0xC02F, Version.TLS12)
AES256_GCM_12 = (0xC030, Version.TLS12)
CHACHA20_12 = (0xCCA8, Version.TLS12)
AES128_CCM_12 = (0xC09C, Version.TLS12)
AES128_CBC_SHA_12 = (0xC013, Version.TLS12)
AES128_CBC_SHA256_12 = (0xC027, Version.TLS12)
AES256_CBC_SHA384_12 = (0xC028, Version.TLS12)
AES256_CBC_SHA_11 = (0x0035, Version.TLS11)

DEVICE_KINDS = (AES128_GCM_13, AES256_GCM_13, AES128_GCM_12, AES256_GCM_12)  # what connectx-6dx takes
STREAM_KINDS = (*DEVICE_KINDS, CHACHA20_13, CHACHA20_12)  # what ideal takes
SOFTWARE_KINDS = (
    AES128_CCM_13,
    AES128_CCM8_13,
    AES128_CCM_12,
    AES128_CBC_SHA_12,
    AES128_CBC_SHA256_12,
    AES256_CBC_SHA384_12,
    AES256_CBC_SHA_11,
)
ALL_KINDS = STREAM_KINDS + SOFTWARE_KINDS

Kind = tuple[int, Version]

CLEAN = Impairment()
PLAIN = Connection()


@dataclass(frozen=True)
class Flow:
    """One connection that carries data one way, from the server to the client, or up if `upload`.

    `records` are (payload length, padding); before those with an index in `updates` goes a KeyUpdate (TLS 1.3 only).
    `impairment` is that of the data's direction, `back` the other's. `sequence` is that of the data's first byte.
    """

    kind: Kind = AES128_GCM_13
    records: tuple[tuple[int, int], ...] = ((16384, 0),) * 4
    updates: frozenset[int] = frozenset()
    upload: bool = False
    encrypt_then_mac: bool = False
    seed: int = 0
    impairment: Impairment = CLEAN
    back: Impairment = CLEAN
    sequence: int = 1_000
    connection: Connection = PLAIN

    @property
    def suite(self) -> Suite:
        return SUITES[self.kind[0]]

    @property
    def version(self) -> Version:
        return self.kind[1]


@dataclass
class Bare:
    """A flow without handshake. `keys`, `secret` (TLS 1.3) and `number` are those of its first record."""

    run: LinkRun
    keys: Keys
    secret: bytes
    number: int
    sent: Side


@dataclass
class Whole:
    """A complete connection. `sent` is the side that carries the flow's data, `receiver` who gets it."""

    run: LinkRun
    talk: Conversation
    sent: Side
    receiver: str


def bare(flow: Flow, number: int = 0) -> Bare:
    """Play `flow` without any handshake, from record `number` on, tapped at its receiver."""
    dice = Random(flow.seed)
    secret = b""
    if flow.version is Version.TLS13:
        secret = dice.randbytes(HASH_LENGTH[flow.suite.prf_hash])
        sender = TlsSender.tls13(flow.suite, secret, number)
        keys = tls13_keys(flow.suite, secret)
    else:
        randoms = dice.randbytes(32), dice.randbytes(32)
        keys = tls12_keys(flow.suite, flow.version, dice.randbytes(48), *randoms, flow.encrypt_then_mac)[
            flow.upload ^ 1
        ]
        sender = TlsSender(keys, number)
    write(flow, sender, dice)
    run = _carry(flow, replace(_connection(flow), handshake=False), sender)
    return Bare(run, keys, secret, number, run.client if flow.upload else run.server)


def whole(flow: Flow, session: Session | None = None) -> Whole:
    """Play `flow` as a complete connection, tapped at its receiver. `session` replaces the plain handshake."""
    dice = Random(flow.seed)
    talk = converse(session or Session(flow.suite, flow.version, encrypt_then_mac=flow.encrypt_then_mac), dice)
    sender, receiver = (talk.client, talk.server) if flow.upload else (talk.server, talk.client)
    receiver.record(APPLICATION_DATA, b"please")
    sender.wait(receiver)
    write(flow, sender, dice)
    talk.close()
    run = _carry(flow, _connection(flow), sender, receiver)
    return Whole(run, talk, run.client if flow.upload else run.server, "server" if flow.upload else "client")


def write(flow: Flow, sender: TlsSender, dice: Random) -> None:
    """Write the flow's records; every payload is different and depends on the dice alone."""
    for index, (size, padding) in enumerate(flow.records):
        if index in flow.updates and flow.version is Version.TLS13:
            sender.record(HANDSHAKE, key_update(bool(index & 1)))
        sender.record(APPLICATION_DATA, dice.randbytes(size), padding if flow.version is Version.TLS13 else 0)


def open_stream(bare: Bare, stream: bytes) -> list[tuple[int, bytes]]:
    """What a receiver with the keys reads from an undamaged `stream`: the slow, obvious way."""
    opener, number, secret, at, out = Opener(bare.keys), bare.number, bare.secret, 0, []
    while at < len(stream):
        length = 5 + int.from_bytes(stream[at + 3 : at + 5])
        opened = opener.open(number, stream[at : at + length])
        out.append((opened.type, opened.payload))
        at, number = at + length, number + 1
        if secret and opened.type == HANDSHAKE and opened.payload in (key_update(False), key_update(True)):
            secret = tls13_next_secret(bare.keys.suite, secret)
            opener, number = Opener(tls13_keys(bare.keys.suite, secret)), 0
    return out


@dataclass(frozen=True)
class Scenario:
    """Several flows at once, and what else results may depend on: `settings` are a profile's, as for `--set`."""

    flows: tuple[Flow, ...]
    profile: str = "connectx-6dx"
    settings: dict[str, str] = field(default_factory=dict)
    seed: int = 0


@dataclass
class Played:
    """A scenario's capture, with everything that was true of it; `flows` in the scenario's order."""

    frames: list[LinkFrame]
    keylog: str
    flows: list[Whole]


def play(scenario: Scenario) -> Played:
    """All flows as complete connections in one capture, each with a 4-tuple of its own."""
    flows = [whole(_apart(flow, n)) for n, flow in enumerate(scenario.flows)]
    frames = interleave([flow.run.frames for flow in flows], scenario.seed)
    return Played(frames, "".join(flow.talk.keylog for flow in flows), flows)


def payloads(played: Played) -> Iterator[tuple[Whole, list[tuple[int, bytes]]]]:
    """Each flow with the records that its receiver's application should get (after the handshake)."""
    for flow in played.flows:
        skip = flow.talk.library[0 if flow.receiver == "server" else 1]
        yield flow, flow.sent.truth[skip:]


def _apart(flow: Flow, n: int) -> Flow:
    client = flow.connection.client
    address = Address(client.ip, client.port + n, client.mac)
    start_ns = flow.connection.start_ns + 7_001 * n
    return replace(flow, connection=replace(flow.connection, client=address, start_ns=start_ns))


def _connection(flow: Flow) -> Connection:
    other = flow.connection.sequences[1 if flow.upload else 0]
    sequences = (flow.sequence, other) if flow.upload else (other, flow.sequence)
    return replace(flow.connection, sequences=sequences, tap="server" if flow.upload else "client")


def _carry(flow: Flow, connection: Connection, sender: TlsSender, receiver: TlsSender | None = None) -> LinkRun:
    if flow.upload:
        return Link(flow.seed, to_server=flow.impairment, to_client=flow.back).run(connection, sender, receiver)
    return Link(flow.seed, to_client=flow.impairment, to_server=flow.back).run(connection, receiver, sender)


# Strategies

EDGE_SIZES = (0, 1, 2, 15, 16, 17, 100, 1400, 1426, 1427, 1443, 1448, 2048, 4096, 16383, 16384)

sizes: st.SearchStrategy[int] = st.one_of(st.sampled_from(EDGE_SIZES), st.integers(0, 3000), st.integers(0, 16384))
seeds: st.SearchStrategy[int] = st.integers(0, 2**32 - 1)
sequences: st.SearchStrategy[int] = st.one_of(
    st.integers(1, 40_000).map(lambda n: 2**32 - n),  # the stream crosses 2^32
    st.sampled_from((0, 1, 2**31 - 5_000, 2**32 - 1)),
    st.integers(0, 2**32 - 1),
)
rates: st.SearchStrategy[float] = st.sampled_from((0.0, 0.0, 0.01, 0.03, 0.1, 0.3))


@st.composite
def impairments(draw: st.DrawFn, unseen: bool = False) -> Impairment:
    """Any mix; with `unseen` also damage that only the records' authentication notices (never to control records)."""
    return Impairment(
        loss=draw(rates),
        duplicate=draw(rates),
        reorder=draw(rates),
        jump=draw(st.integers(-6, 8)),
        unit=draw(st.sampled_from((1, 1, 2, 6))),
        corrupt=draw(rates),
        corrupt_unseen=draw(rates) if unseen else 0.0,
        spare_control=True,
        resegment=draw(rates),
    )


@st.composite
def record_lists(draw: st.DrawFn, most: int = 10, padded: bool = True) -> tuple[tuple[int, int], ...]:
    """(payload length, padding) of up to `most` records; together they keep to a record's 16384 bytes."""
    out = []
    for size in draw(st.lists(sizes, min_size=1, max_size=most)):
        room = 16384 - size
        out.append((size, draw(st.one_of(st.just(0), st.integers(0, min(room, 300)))) if padded else 0))
    return tuple(out)


@st.composite
def flows(draw: st.DrawFn, kinds: tuple[Kind, ...] = STREAM_KINDS, unseen: bool = False) -> Flow:
    """A flow of one of `kinds`."""
    kind = draw(st.sampled_from(kinds))
    records = draw(record_lists())
    return Flow(
        kind=kind,
        records=records,
        updates=frozenset(draw(st.sets(st.integers(0, len(records) - 1), max_size=2))),
        upload=draw(st.booleans()),
        encrypt_then_mac="CBC" in SUITES[kind[0]].name and draw(st.booleans()),
        seed=draw(seeds),
        impairment=draw(impairments(unseen)),
        back=Impairment(loss=draw(st.sampled_from((0.0, 0.0, 0.1)))),
        sequence=draw(sequences),
        connection=Connection(
            mss=draw(st.sampled_from((1448, 1448, 1460, 536, 9000, 211))),
            windows=draw(st.sampled_from(((262_144, 262_144), (65_535, 65_535), (20_000, 20_000)))),
            flight=draw(st.sampled_from((10, 64))),
            timestamps=draw(st.booleans()),
            keepalive=draw(st.sampled_from((0.0, 0.0, 0.05))),
            stall=draw(st.sampled_from((0.0, 0.0, 0.05))),
            end=draw(st.sampled_from(("fin", "fin", "rst", "open"))),
        ),
    )


@st.composite
def latencies(draw: st.DrawFn) -> str:
    """A latency as `--set` takes it: packets and microseconds, whichever comes first."""
    packets = draw(st.sampled_from((0, 0, 1, 3, 8, 24, 100)))
    microseconds = draw(st.sampled_from((0, 20, 50, 1_000, 10**9)))
    return f"{packets},{microseconds}us"


@st.composite
def scenarios(
    draw: st.DrawFn, kinds: tuple[Kind, ...] = STREAM_KINDS, most_flows: int = 3, unseen: bool = False
) -> Scenario:
    """Flows of one of `kinds`, a profile that offloads, and its settings."""
    return Scenario(
        flows=tuple(draw(st.lists(flows(kinds, unseen), min_size=1, max_size=most_flows))),
        profile=draw(st.sampled_from(("connectx-6dx", "ideal"))),
        settings={
            "budget": str(draw(st.sampled_from((1, 2, 3, 8, 64, 100)))),
            "start": draw(st.sampled_from(("programmed", "programmed", "search"))),
            "install": draw(st.sampled_from(("0,0us", "0,0us", "5,100us", "30,1000000us"))),
            "poll": draw(latencies()),
            "confirm": draw(latencies()),
            "auth_failures": str(draw(st.sampled_from((1, 3, 3, 10)))),
        },
        seed=draw(seeds),
    )
