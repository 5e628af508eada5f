"""Captures whose structure is hostile: blocks, interfaces, sections, windows, extents, floods, layers, key logs, bombs.

Where hostile_case.py damages bytes, here all is well formed, and there is too much of it, or too little at a time.
A shape is a function of dice and a size `n`, of which most are small and few large; a case depends on its seed and
number alone. What must be true: nothing but rxtls.errors comes out, the balance is 0, both engines and any number of
jobs say the same, within SECONDS of processor time and MEMORY bytes.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import lz4.frame
import zstandard

from capture_blocks import block, enhanced, interface, option, pcap_frame, pcap_header, secrets, section, simple
from hostile_child import Came, Cost, bounded, differing, replayed
from rxtls.crypto.suites import SUITES, Version
from rxtls.path.engines import why_not_compiled
from rxtls.simulation.link import Connection, Impairment, Link
from rxtls.simulation.sender import APPLICATION_DATA, HANDSHAKE, key_update
from rxtls.simulation.synth import Session, converse
from rxtls.wire.packets import ACK, FIN, PSH, RST, SYN, Address, Headers, syn_options

SECONDS = 20
MEMORY = 1 << 30
START = 1_700_000_000
CLIENT, SERVER = Address("10.0.0.1", 40_000), Address("10.0.0.2", 443)
UP, DOWN = Headers(CLIENT, SERVER), Headers(SERVER, CLIENT)
LARGEST = 60_000  # frames, blocks or lines of a case: what the plain engine reads in seconds


@dataclass
class Made:
    """A case's files and options."""

    captures: list[bytes] = field(repr=False)
    keys: list[bytes] = field(default_factory=list, repr=False)
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """One case."""

    seed: int
    number: int
    shape: str
    n: int
    jobs: int

    def __str__(self) -> str:
        return f"{self.shape} n={self.n} jobs={self.jobs} (--structures --seed {self.seed} --case {self.number})"


def make(seed: int, number: int, largest: int = LARGEST) -> Case:
    """Case `number` of `seed`: shapes in turn, sizes by chance, up to `largest`."""
    dice = Random(f"structures {seed} {number}")
    shape = list(SHAPES)[number % len(SHAPES)]
    n = min(largest, int(2 ** (4 + 13 * dice.random() ** 1.4)))
    return Case(seed, number, shape, n, dice.choice((1, 1, 2)))


def files(case: Case, folder: Path) -> tuple[list[Path], list[Path], dict[str, Any]]:
    """Write the case's files; captures, key logs, options."""
    made = SHAPES[case.shape](Random(f"made {case.seed} {case.number}"), case.n)
    captures = [folder / f"capture-{n}" for n in range(len(made.captures))]
    keys = [folder / f"keys-{n}" for n in range(len(made.keys))]
    for path, data in zip([*captures, *keys], [*made.captures, *made.keys], strict=True):
        path.write_bytes(data)
    return captures, keys, made.options


@dataclass
class Shown:
    """What a case cost by engine, what it came to, and what was found."""

    case: Case
    cost: dict[str, Cost] = field(default_factory=dict)
    found: list[str] = field(default_factory=list)


def attempt(case: Case, seconds: float = SECONDS, memory: int = MEMORY) -> Shown:
    """The case through both engines, and through several jobs where it says so."""
    shown = Shown(case)
    with tempfile.TemporaryDirectory(prefix="rxtls-structure-") as folder:
        written = bounded(files, case, Path(folder), seconds=10 * seconds)
        if written.fault:
            shown.found.append(f"cannot be made: {written.fault}")
            return shown
        captures, keys, options = written.value
        ways = [("plain", 1)] if why_not_compiled() else [("compiled", 1), ("plain", 1)]
        ways += [(ways[0][0], case.jobs)] if case.jobs > 1 else []
        came: dict[str, Came] = {}
        for engine, jobs in ways:
            name = engine if jobs == 1 else f"{engine}, {jobs} jobs"
            given = {**options, "engine": engine, "digest": True}
            cost = shown.cost[name] = bounded(replayed, captures, keys, given, jobs, seconds=seconds)
            if cost.fault:
                shown.found.append(f"{name}: {cost.fault}")
            else:
                came[name] = cost.value
                if cost.value.balance:
                    shown.found.append(f"{name}: balance {cost.value.balance}")
            if cost.seconds > seconds:
                shown.found.append(f"{name}: {cost.seconds:.1f} s")
            if cost.memory > memory:
                shown.found.append(f"{name}: {cost.memory >> 20} MiB")
        for (one, a), (other, b) in pairwise(came.items()):
            if names := differing(a, b):
                shown.found.append(f"{one} and {other} differ in {', '.join(names)}")
    return shown


# What is cut, flooded and wrapped: one connection, its handshake whole, and what the server says after it.


@dataclass
class Base:
    """`head` are the frames up to the request; then the server's bytes `bulk`, from sequence `start`."""

    head: list[bytes]
    bulk: bytes
    start: int
    ack: int
    keys: bytes

    def down(self, at: int, length: int) -> bytes:
        """The frame that carries some of the bulk."""
        return DOWN.frame(self.start + at, self.ack, ACK, 60_000, self.bulk[at : at + length])


def base(dice: Random, records: list[int], scale: int = 8, update: bool = False) -> Base:
    """A connection whose server answers with records of these sizes."""
    kind = dice.choice(((0x1301, Version.TLS13), (0x1303, Version.TLS13), (0xC02F, Version.TLS12)))
    talk = converse(Session(SUITES[kind[0]], kind[1]), dice)
    talk.request([b"GET / HTTP/1.1\r\n\r\n"], [])
    run = Link(0).run(Connection(client=CLIENT, server=SERVER, end="open"), talk.client, talk.server)
    frames = [frame.data for frame in run.frames]
    up = [_tcp(each) for each in frames if each[26:30] == _CLIENT]
    down = [_tcp(each) for each in frames if each[26:30] != _CLIENT]
    already = len(talk.server.data)
    for size in records:
        if update and kind[1] is Version.TLS13:
            talk.server.record(HANDSHAKE, key_update())
        talk.server.record(APPLICATION_DATA, bytes(size))
    syn = UP.frame(up[0][0], 0, SYN, 65_535, b"", syn_options(1460, scale))
    ack = DOWN.frame(down[0][0], up[0][0] + 1, SYN | ACK, 65_535, b"", syn_options(1460, scale))
    start, end = max(end for _, end in down), max(end for _, end in up)
    return Base([syn, ack, *frames[2:]], bytes(talk.server.data[already:]), start, end, talk.keylog.encode())


def records_of(octets: int) -> list[int]:
    """Records that hold so many bytes together."""
    return [min(16_384, octets - at) for at in range(0, max(1, octets), 16_384)]


_CLIENT = bytes((10, 0, 0, 1))


def _tcp(frame: bytes) -> tuple[int, int]:
    """Sequence number, and that after the payload."""
    seq = int.from_bytes(frame[38:42])
    payload = int.from_bytes(frame[16:18]) - 20 - (frame[46] >> 4) * 4
    return seq, seq + payload + (frame[47] & 1) + (frame[47] >> 1 & 1)


def timed(frames: list[bytes], step: int = 10) -> bytes:
    """A pcap of frames, `step` microseconds apart."""
    parts = [pcap_header(snap_length=262_144)]
    for n, frame in enumerate(frames):
        seconds, rest = divmod(n * step, 1_000_000)
        parts.append(pcap_frame(frame, START + seconds, rest))
    return b"".join(parts)


# Segments


def tiny_segments(dice: Random, n: int) -> Made:
    """One byte a segment, or a few."""
    made = base(dice, records_of(n // 2))
    step = dice.choice((1, 1, 2, 3, 5))
    frames = [made.down(at, step) for at in range(0, len(made.bulk), step)]
    return Made([timed([*made.head, *frames])], [made.keys])


def tiny_extents(dice: Random, n: int) -> Made:
    """Every other byte, then what covers them: with large segments, or one by one, from either end."""
    made = base(dice, records_of(n), scale=14)
    places = list(range(1, len(made.bulk), 2))
    dice.choice((places.reverse, places.sort, lambda: dice.shuffle(places)))()
    frames = [made.down(at, 1) for at in places]
    cover = dice.choice((1, 3, 100, 1448))
    frames += [made.down(at, cover) for at in range(0, len(made.bulk), cover)]
    return Made([timed([*made.head, *frames])], [made.keys])


def wide_window(dice: Random, n: int) -> Made:
    """Everything but the first segment, under a window of scale 14; the first comes last, or never."""
    made = base(dice, [16_384] * max(1, n // 40), scale=14)
    size = dice.choice((536, 1448, 8948, 60_000))
    places = list(range(size, len(made.bulk), size))
    if dice.random() < 0.5:
        dice.shuffle(places)
    frames = [made.down(at, size) for at in places]
    frames += [made.down(0, size)] if dice.random() < 0.7 else []
    options = {"settings": {"hold": str(dice.choice((1 << 16, 4 << 20)))}} if dice.random() < 0.3 else {}
    return Made([timed([*made.head, *frames])], [made.keys], options)


def far_ahead(dice: Random, n: int) -> Made:
    """Segments strewn over a gigabyte of window."""
    made = base(dice, [100], scale=14)
    frames = [
        DOWN.frame(made.start + dice.randrange(1 << 30), made.ack, ACK, 60_000, bytes(dice.choice((1, 60, 1448))))
        for _ in range(n)
    ]
    frames += [UP.frame(made.ack, made.start, ACK, 65_535, b"")] * 2
    return Made([timed([*made.head, *frames, made.down(0, len(made.bulk))])], [made.keys])


def overlaps(dice: Random, n: int) -> Made:
    """Each segment begins a byte or a few after the last one."""
    made = base(dice, records_of(max(1500, n)))
    step, size = dice.choice((1, 2, 7, 100)), dice.choice((100, 1448))
    places = list(range(0, min(len(made.bulk), n * step), step))
    if dice.random() < 0.3:
        places.reverse()
    return Made([timed([*made.head, *(made.down(at, size) for at in places)])], [made.keys])


def retransmissions(dice: Random, n: int) -> Made:
    """Few segments, again and again."""
    made = base(dice, [5000])
    places = [dice.randrange(0, len(made.bulk), 1448) if dice.random() < 0.5 else 0 for _ in range(n)]
    return Made([timed([*made.head, *(made.down(at - at % 1448, 1448) for at in places)])], [made.keys])


def acknowledgements(dice: Random, n: int) -> Made:
    """Acknowledgements, window updates, keep-alives and options of every length."""
    made = base(dice, [5000])
    frames = []
    for _ in range(n):
        options = (
            bytes([1]) * (4 * dice.randrange(11)) if dice.random() < 0.5 else dice.randbytes(4 * dice.randrange(11))
        )
        payload = b"\0" if dice.random() < 0.2 else b""
        frames.append(UP.frame(made.ack - len(payload), made.start, ACK, dice.randrange(65_536), payload, options))
    return Made([timed([*made.head, *frames, made.down(0, len(made.bulk))])], [made.keys])


# Records


def tiny_records(dice: Random, n: int) -> Made:
    """Records of no byte, or one, or a few."""
    made = base(dice, [dice.choice((0, 1, 1, 2, 17)) for _ in range(max(1, n // 2))])
    size = dice.choice((23, 100, 1448, 60_000))
    return Made([timed([*made.head, *(made.down(at, size) for at in range(0, len(made.bulk), size))])], [made.keys])


def key_updates(dice: Random, n: int) -> Made:
    """A KeyUpdate before each record."""
    made = base(dice, [dice.choice((1, 100, 2000)) for _ in range(max(1, n // 8))], update=True)
    return Made([timed([*made.head, *(made.down(at, 1448) for at in range(0, len(made.bulk), 1448))])], [made.keys])


def false_headers(dice: Random, n: int) -> Made:
    """A hole, and behind it nothing but what looks like record headers."""
    made = base(dice, [4000])
    fake = (bytes((23, 3, 3)) + dice.choice((26, 64, 512)).to_bytes(2) + dice.randbytes(dice.choice((0, 1, 59)))) * n
    frames = [
        DOWN.frame(made.start + 1448 + at, made.ack, ACK, 60_000, fake[at : at + 1448])
        for at in range(0, len(fake), 1448)
    ]
    frames += [made.down(0, 1448)] if dice.random() < 0.5 else []
    return Made([timed([*made.head, *frames])], [made.keys])


def lossy(dice: Random, n: int) -> Made:
    """Several connections through a bad link, with everything that it does."""
    frames, keylog = [], ""
    for each in range(max(1, min(n // 200, 40))):
        talk = converse(Session(SUITES[0x1301]), dice)
        size = dice.choice((40, 900, 16_384))
        talk.request([b"GET /"], [bytes(size)] * max(1, min(n // 20, 2_000_000 // (size + 1) // 4)))
        bad = Impairment(loss=dice.choice((0, 0.02, 0.3)), reorder=0.1, duplicate=0.1, jump=dice.choice((-40, 3)))
        connection = Connection(client=Address("10.0.0.1", 1024 + each), mss=dice.choice((60, 700, 1448)))
        frames += Link(each, to_client=bad).run(connection, talk.client, talk.server).frames
        keylog += talk.keylog
    frames.sort(key=lambda frame: frame.time_ns)
    return Made(
        [timed([frame.data for frame in frames])],
        [keylog.encode()],
        {"policy": dice.choice(("freebsd-table", "linux-sync"))},
    )


# Connections


def syn_flood(dice: Random, n: int) -> Made:
    """SYNs that nothing follows."""
    six = dice.random() < 0.3
    frames = []
    for _ in range(n):
        ip = f"2001:db8::{dice.randrange(65_536):x}" if six else f"10.{dice.randrange(256)}.{dice.randrange(256)}.1"
        source = Address(ip, dice.randrange(1, 65_536))
        target = Address("2001:db8::2", 443) if six else SERVER
        frames.append(Headers(source, target).frame(dice.randrange(1 << 32), 0, SYN, 1000, b"", syn_options(1460, 14)))
    options = {"settings": {"max_flows": str(dice.choice((1, 10, 1000)))}} if dice.random() < 0.4 else {}
    return Made([timed(frames)], [], options)


def flow_flood(dice: Random, n: int) -> Made:
    """Connections of a few packets each: a hello, rubbish, or half of either; closed, reset or left."""
    hello = b"".join(_of_client(dice))
    frames = []
    for each in range(max(1, n // 5)):
        source = Address(f"10.1.{each >> 8 & 255}.{each & 255}", 1024 + each % 60_000)
        up, down = Headers(source, SERVER), Headers(SERVER, source)
        said = dice.choice(
            (hello, hello[: dice.randrange(1, len(hello))], dice.randbytes(50), b"GET / HTTP/1.1\r\n\r\n")
        )
        frames += [
            up.frame(100, 0, SYN, 60_000, b"", syn_options(1460, 7)),
            down.frame(900, 101, SYN | ACK, 60_000, b"", syn_options(1460, 7)),
            up.frame(101, 901, ACK | PSH, 60_000, said),
            *([] if dice.random() < 0.5 else [down.frame(901, 101 + len(said), ACK | dice.choice((FIN, RST)), 9, b"")]),
        ]
    if dice.random() < 0.5:
        dice.shuffle(frames)
    options = {"settings": {"max_flows": "50"}} if dice.random() < 0.3 else {}
    return Made([timed(frames, dice.choice((1, 100_000)))], [], options)


def _of_client(dice: Random) -> Iterator[bytes]:
    talk = converse(Session(SUITES[0x1301]), dice)
    for frame in Link(0).run(Connection(client=CLIENT, server=SERVER), talk.client, talk.server).frames:
        if frame.data[26:30] == _CLIENT and len(frame.data) > 200:
            yield frame.data[14 + 20 + (frame.data[46] >> 4) * 4 :]
            return


def generations(dice: Random, n: int) -> Made:
    """The same two ends, anew and anew."""
    frames = []
    for each in range(max(1, n // 3)):
        at = each * 100_000 & 0xFFFF_FFFF
        frames += [
            UP.frame(at, 0, SYN, 60_000, b""),
            UP.frame(at + 1, 1, ACK, 60_000, dice.randbytes(dice.choice((0, 5, 500)))),
        ]
        frames += [DOWN.frame(7, at + 1, RST | ACK, 0, b"")] if dice.random() < 0.5 else []
    return Made([timed(frames)])


def late_frames(dice: Random, n: int) -> Made:
    """Frames that are not in order of time, some by years."""
    made = base(dice, records_of(max(1500, 4 * n)))
    frames = [*made.head, *(made.down(at, 300) for at in range(0, len(made.bulk), 300))]
    parts = [pcap_header()]
    for frame in frames:
        parts.append(
            pcap_frame(frame, dice.choice((START, START, START + 5, 1, 0xFFFF_FFFF)), dice.randrange(1_000_000))
        )
    return Made([b"".join(parts)], [made.keys], {"order": dice.choice(("time", "file"))})


# Layers


def vlans(dice: Random, n: int) -> Made:
    """VLAN headers by the hundred, and thousands of VLANs."""
    made = base(dice, [3000])
    frames = []
    for frame in [*made.head, *(made.down(at, 1448) for at in range(0, len(made.bulk), 1448))]:
        frames.append(frame)
        depth = dice.choice((1, 2, 8, 300))
        kinds = dice.choice((b"\x81\x00", b"\x88\xa8", b"\x91\x00"))
        for _ in range(max(1, n // len(made.head) // 2)):
            stack = b"".join(kinds + dice.randrange(4096).to_bytes(2) for _ in range(depth))
            frames.append(frame[:12] + stack + frame[12:])
    return Made([timed(frames)], [made.keys])


def _ip(protocol: int, payload: bytes) -> bytes:
    head = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload) & 0xFFFF, 0, 0, 64, protocol, 0, b"\x0a\x01\0\1", b"\x0a\x01\0\2"
    )
    words: int = sum(struct.unpack("!10H", head))
    words = (words & 0xFFFF) + (words >> 16)
    return head[:10] + (~((words & 0xFFFF) + (words >> 16)) & 0xFFFF).to_bytes(2) + head[12:] + payload


def _udp(port: int, payload: bytes) -> bytes:
    return _ip(17, struct.pack("!HHHH", 50_000, port, 8 + len(payload) & 0xFFFF, 0) + payload)


_WRAPPERS: tuple[Callable[[bytes], bytes], ...] = (  # of a frame of Ethernet, an IP packet
    lambda frame: _ip(4, frame[14:]),
    lambda frame: _ip(47, b"\0\0\x08\0" + frame[14:]),
    lambda frame: _ip(47, b"\0\0\x65\x58" + frame),
    lambda frame: _udp(4789, b"\x08\0\0\0\0\0\7\0" + frame),
    lambda frame: _udp(6081, b"\0\0\x65\x58\0\0\7\0" + frame),
    lambda frame: _ip(47, b"\x10\0\x88\xbe\0\0\0\1" + bytes((16, *bytes(7))) + frame),
)


def tunnels(dice: Random, n: int) -> Made:
    """Packets in packets in packets, each carrier another one."""
    made = base(dice, [3000])
    frames = []
    for frame in [*made.head, *(made.down(at, 1448) for at in range(0, len(made.bulk), 1448))]:
        frames.append(frame)
        for _ in range(max(1, n // len(made.head) // 4)):
            inner = frame
            for _ in range(dice.choice((1, 2, 5, 40))):
                inner = frame[:14] + dice.choice(_WRAPPERS)(inner)
            frames.append(inner)
    return Made([timed(frames)], [made.keys])


def extension_headers(dice: Random, n: int) -> Made:
    """IPv6 with chains of extension headers, IPv4 with options, and fragments of both."""
    frames = []
    ends = bytes(15) + b"\1" + bytes(15) + b"\2"
    tcp = UP.frame(1, 0, SYN, 1000, b"")[34:]
    for _ in range(n):
        kinds = [dice.choice((0, 43, 44, 60, 135)) for _ in range(dice.choice((1, 3, 100)))]
        chain = b"".join(bytes((following, 0)) + dice.randbytes(6) for _, following in pairwise([*kinds, 6]))
        frames.append(
            bytes(12)
            + b"\x86\xdd"
            + struct.pack("!IHBB", 6 << 28, len(chain) + len(tcp), kinds[0], 9)
            + ends
            + chain
            + tcp
        )
    return Made([timed(frames)])


# Files


def _packets(dice: Random, n: int) -> Iterator[tuple[int, bytes]]:
    """Some SYNs with their ticks in microseconds."""
    for each in range(n):
        yield START * 1_000_000 + each, UP.frame(dice.randrange(1 << 32), 0, SYN, 1000, b"")


def large_blocks(dice: Random, n: int) -> Made:
    """Blocks of up to 16 MiB, most of them of no known type, and secrets of as much."""
    size = min(16 << 20, n * dice.choice((1, 100, 1000)))
    made = base(dice, [3000])
    filler = (b"CLIENT_RANDOM %s %s\n" % (b"00" * 32, b"11" * 48)) * (size // 175 + 1)
    large = dice.choice(
        (secrets(filler[:size]), secrets(bytes(size)), block(0x0BAD, bytes(size)), block(4, bytes(size)))
    )
    frames = [*made.head, *(made.down(at, 1448) for at in range(0, len(made.bulk), 1448))]
    blocks = [enhanced(frame, START * 1_000_000 + at) for at, frame in enumerate(frames)]
    blocks.insert(dice.randrange(len(blocks)), large)
    return Made([b"".join([section(), interface(), secrets(made.keys), *blocks])])


def many_interfaces(dice: Random, n: int) -> Made:
    """Interfaces by the thousand, used or not, their names all the same or all different."""
    names = [option(2, b"eth0" if dice.random() < 0.5 else b"eth%d" % each) for each in range(n)]
    parts = [section(), *(interface(options=name + option(0, b"")) for name in names)]
    used = dice.choice((1, n))
    parts += [enhanced(frame, ticks, at % used) for at, (ticks, frame) in enumerate(_packets(dice, n))]
    return Made([b"".join(parts)])


def many_sections(dice: Random, n: int) -> Made:
    """A section for each few packets, in either byte order."""
    parts = []
    for ticks, frame in _packets(dice, max(1, n // 4)):
        order = dice.choice("<>")
        parts += [section(order), interface(order=order), enhanced(frame, ticks, order=order)]
        parts += [simple(frame, order=order)] if dice.random() < 0.3 else []
    return Made([b"".join(parts)])


def many_options(dice: Random, n: int) -> Made:
    """Comments of 64 kB, options by the hundred, on packets and interfaces; secrets blocks of one line."""
    options = dice.choice((option(1, bytes(65_535)), option(1, b"comment") * 200, option(2988, bytes(9)) * 50))
    count = max(1, min(n, (24 << 20) // len(options)))
    parts = [section(options=options), interface(options=options)]
    for ticks, frame in _packets(dice, count):
        parts.append(enhanced(frame, ticks, options=options))
        if dice.random() < 0.3:
            parts.append(secrets(b"CLIENT_RANDOM %s %s\n" % (dice.randbytes(32).hex().encode(), b"00" * 48)))
    return Made([b"".join(parts)])


def many_files(dice: Random, n: int) -> Made:
    """One capture in up to 200 pieces, in any order."""
    made = base(dice, records_of(max(1500, 4 * n)))
    frames = [*made.head, *(made.down(at, 700) for at in range(0, len(made.bulk), 700))]
    count = max(1, min(200, n // 4, len(frames)))
    step = -(-len(frames) // count)
    pieces = []
    for at in range(0, len(frames), step):
        records = (pcap_frame(frame, START, at + m) for m, frame in enumerate(frames[at : at + step]))
        pieces.append(pcap_header() + b"".join(records))
    dice.shuffle(pieces)
    return Made(pieces, [made.keys])


def key_logs(dice: Random, n: int) -> Made:
    """Lines by the ten thousand, a line of megabytes, the same random again and again, other programs' files."""
    made = base(dice, [3000])
    random = made.keys.split()[1]
    log = dice.choice(
        (
            b"".join(b"CLIENT_RANDOM %s %s\n" % (dice.randbytes(32).hex().encode(), b"00" * 48) for _ in range(n)),
            b"CLIENT_RANDOM " + b"0" * min(8 << 20, 500 * n) + b"\n",
            b"".join(
                b"CLIENT_TRAFFIC_SECRET_0 %s %s\n" % (random, dice.randbytes(32).hex().encode()) for _ in range(n)
            ),
            b"".join(
                b"SERVER_TRAFFIC_SECRET_0 %s %s\n" % (random, dice.randbytes(32).hex().encode()) for _ in range(n)
            ),
            b"\n\r" * n,
            bytes(min(8 << 20, 500 * n)),
            b"-----BEGIN RSA PRIVATE KEY-----\n" + b"A" * n + b"\n-----END RSA PRIVATE KEY-----\n",
            b"# comment\n" * n,
        )
    )
    keys = [log, made.keys] if dice.random() < 0.5 else [made.keys, log]
    return Made([timed([*made.head, *(made.down(at, 1448) for at in range(0, len(made.bulk), 1448))])], keys)


def bombs(dice: Random, n: int) -> Made:
    """What becomes a hundred or thousand times larger, some of it packed twice, or cut off."""
    size = min(32 << 20, n * 4000)
    data = dice.choice(
        (
            pcap_header() + bytes(size),
            section() + interface() + block(0x0BAD, bytes(min(size, 16 << 20))),
            section() + interface() + enhanced(bytes(200), START) * (size // 232 // 8 + 1),
            bytes(size),
        )
    )
    for _ in range(dice.choice((1, 1, 2, 3))):
        data = dice.choice((_gzip, bz2.compress, _xz, zstandard.ZstdCompressor(level=1).compress, lz4.frame.compress))(
            data
        )
    return Made([data[: dice.randrange(1, len(data))] if dice.random() < 0.2 else data])


def _gzip(data: bytes) -> bytes:
    packed: bytes = gzip.compress(data, 1)
    return packed


def _xz(data: bytes) -> bytes:
    return lzma.compress(data, preset=0)


SHAPES: dict[str, Callable[[Random, int], Made]] = {
    each.__name__: each
    for each in (
        tiny_segments, tiny_extents, wide_window, far_ahead, overlaps, retransmissions, acknowledgements, tiny_records,
        key_updates, false_headers, lossy, syn_flood, flow_flood, generations, late_frames, vlans, tunnels,
        extension_headers, large_blocks, many_interfaces, many_sections, many_options, many_files, key_logs, bombs,
    )
}  # fmt: skip
