"""Mutators of packets: what a network, an attacker on it, or a capturing host can do to a list of pieces.

Each takes the pieces and the dice and changes the list in place. Checksums and lengths are repaired afterwards, when
the pieces are assembled, except by those that say otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from hostile_frames import ACK, ETHERNET, FIN, MASK, PSH, RST, SYN, Piece

Pieces = list[Piece]
Mutator = Callable[[Pieces, Random], None]

EDGE_NUMBERS = (0, 1, -1, 2**31, 2**31 - 1, -(2**31), 2**30, 1 << 20, 65_535, 65_536, 1448, -1448)


def _tcp(pieces: Pieces, dice: Random, payload: bool = False) -> int | None:
    """The place of a random piece that is TCP (with payload), None when none was found."""
    for _ in range(20):
        at = dice.randrange(len(pieces))
        if not pieces[at].opaque and (pieces[at].payload or not payload):
            return at
    return None


def _near(dice: Random) -> int:
    return dice.choice((dice.choice(EDGE_NUMBERS), dice.randint(-3000, 3000), dice.getrandbits(32)))


def drop(pieces: Pieces, dice: Random) -> None:
    at = dice.randrange(len(pieces))
    del pieces[at : at + dice.choice((1, 1, 1, 2, 5))]


def duplicate(pieces: Pieces, dice: Random) -> None:
    piece = dice.choice(pieces)
    at = dice.randrange(len(pieces) + 1)
    pieces.insert(at, piece._replace(time_ns=pieces[min(at, len(pieces) - 1)].time_ns))


def reorder(pieces: Pieces, dice: Random) -> None:
    at = dice.randrange(len(pieces))
    window = pieces[at : at + dice.choice((2, 2, 4, 9))]
    times = [piece.time_ns for piece in window]
    dice.shuffle(window)
    pieces[at : at + len(window)] = [p._replace(time_ns=t) for p, t in zip(window, times, strict=True)]


def overlap(pieces: Pieces, dice: Random) -> None:
    """The same bytes of the stream again, with other content, before or after the right ones."""
    at = _tcp(pieces, dice, payload=True)
    if at is None:
        return
    piece = pieces[at]
    start = dice.randint(-50, len(piece.payload))
    size = dice.choice((1, 5, 17, 300, len(piece.payload)))
    forged = piece.moved(seq=piece.start + start)._replace(payload=dice.randbytes(size))
    pieces.insert(at + dice.choice((0, 1)), forged)


def retransmit(pieces: Pieces, dice: Random) -> None:
    """A part of a segment again, at another cut, anywhere later or earlier."""
    at = _tcp(pieces, dice, payload=True)
    if at is None:
        return
    piece = pieces[at]
    start = dice.randrange(len(piece.payload))
    end = dice.randint(start, len(piece.payload))
    again = piece.moved(seq=piece.start + start)._replace(payload=piece.payload[start:end])
    pieces.insert(max(0, min(len(pieces), at + dice.randint(-6, 6))), again)


def split(pieces: Pieces, dice: Random) -> None:
    at = _tcp(pieces, dice, payload=True)
    if at is None:
        return
    piece = pieces[at]
    cut = dice.randint(1, len(piece.payload))
    rest = piece.moved(seq=piece.start + cut, flags=piece.flags & ~SYN)._replace(payload=piece.payload[cut:])
    pieces[at : at + 1] = [piece._replace(payload=piece.payload[:cut]).moved(flags=piece.flags & ~FIN), rest]


def merge(pieces: Pieces, dice: Random) -> None:
    """Consecutive segments joined into one aggregate, as GRO and TSO do."""
    at = _tcp(pieces, dice, payload=True)
    if at is None:
        return
    piece, payload = pieces[at], bytearray(pieces[at].payload)
    for later in [*pieces[at + 1 : at + 1 + dice.choice((1, 3, 30))]]:
        if later.opaque or later.direction != piece.direction or not later.payload:
            continue
        if later.start != (piece.start + len(payload)) & MASK or len(payload) > 90_000:
            break
        payload += later.payload
        pieces.remove(later)
    pieces[at] = piece._replace(payload=bytes(payload))


def resize(pieces: Pieces, dice: Random) -> None:
    at = _tcp(pieces, dice, payload=True)
    if at is None:
        return
    payload = pieces[at].payload
    size = dice.choice((0, 1, len(payload) - 1, len(payload) + 1, len(payload) + 700, 66_000))
    pieces[at] = pieces[at]._replace(payload=payload[:size] + dice.randbytes(max(0, size - len(payload))))


def flags(pieces: Pieces, dice: Random) -> None:
    at = _tcp(pieces, dice)
    if at is not None:
        pieces[at] = pieces[at].moved(
            flags=dice.choice((dice.getrandbits(8), pieces[at].flags ^ 1 << dice.randrange(8)))
        )


def numbers(pieces: Pieces, dice: Random) -> None:
    at = _tcp(pieces, dice)
    if at is None:
        return
    piece = pieces[at]
    match dice.randrange(3):
        case 0:
            pieces[at] = piece.moved(seq=piece.seq + _near(dice))
        case 1:
            pieces[at] = piece.moved(ack=piece.ack + _near(dice))
        case _:
            pieces[at] = piece.header(14, dice.choice((b"\0\0", b"\xff\xff", b"\0\1", dice.randbytes(2))))


def rebase(pieces: Pieces, dice: Random) -> None:
    """A whole direction elsewhere in sequence space, its peer's acknowledgements along."""
    at = _tcp(pieces, dice)
    if at is None:
        return
    ours = pieces[at].direction
    size = (len(ours) - 4) // 2
    theirs = ours[size:-4] + ours[:size] + ours[-2:] + ours[-4:-2]
    shift = dice.choice((-pieces[at].seq, -pieces[at].seq - 300, 2**31 - pieces[at].seq, dice.getrandbits(32)))
    for i, piece in enumerate(pieces):
        if piece.opaque:
            continue
        if piece.direction == ours:
            pieces[i] = piece.moved(seq=piece.seq + shift)
        elif piece.direction == theirs:
            pieces[i] = piece.moved(ack=piece.ack + shift)


def inject(pieces: Pieces, dice: Random) -> None:
    """A forged RST, FIN, SYN, SYN-ACK, bare ACK or probe, with right or wrong numbers."""
    at = _tcp(pieces, dice)
    if at is None:
        return
    piece = pieces[at]
    kind = dice.choice((RST, RST | ACK, FIN | ACK, SYN, SYN | ACK, ACK, ACK | PSH, SYN | FIN, FIN, 0))
    seq = piece.start + len(piece.payload) + dice.choice((0, 0, 0, -1, 1, _near(dice)))
    payload = dice.choice((b"", b"", b"", b"\0", dice.randbytes(30)))
    forged = piece.moved(seq=seq, ack=piece.ack + dice.choice((0, 0, _near(dice))), flags=kind)
    pieces.insert(at + dice.choice((0, 1)), forged._replace(payload=payload))


def header_bytes(pieces: Pieces, dice: Random) -> None:
    """A byte of the link, IP or TCP header, ports and addresses included."""
    at = _tcp(pieces, dice)
    if at is None:
        return
    piece = pieces[at]
    name = dice.choice(("link", "ip", "ip", "tcp", "tcp"))
    old = bytearray(getattr(piece, name))
    if not old:
        return
    for _ in range(dice.choice((1, 1, 3))):
        old[dice.randrange(len(old))] = dice.choice((0, 1, 0x7F, 0x80, 0xFF, dice.getrandbits(8)))
    pieces[at] = piece._replace(
        link=bytes(old) if name == "link" else piece.link,
        ip=bytes(old) if name == "ip" else piece.ip,
        tcp=bytes(old) if name == "tcp" else piece.tcp,
    )


def protocol(pieces: Pieces, dice: Random) -> None:
    """What is carried is something else: another ethertype, another protocol over IP, or so the headers say."""
    at = _tcp(pieces, dice)
    if at is None:
        return
    piece = pieces[at]
    if dice.getrandbits(1) and len(piece.link) >= 2:
        ethertype = dice.choice((0x8847, 0x8864, 0x86DD, 0x0800, 0x0806, 0x8100, 0x88A8, 0x05DC, 40))
        pieces[at] = piece._replace(link=piece.link[:-2] + ethertype.to_bytes(2))
        return
    place = 6 if piece.ip[0] >> 4 == 6 else 9
    number = dice.choice((0, 4, 17, 41, 43, 44, 47, 50, 51, 60, 135, 255))
    ports = dice.choice((4789, 8472, 6081, 53)).to_bytes(2)  # as UDP has them, tunnels among them
    ip = piece.ip[:place] + bytes([number]) + piece.ip[place + 1 :]
    pieces[at] = piece._replace(ip=ip, tcp=piece.tcp[:2] + ports + piece.tcp[4:])


def options(pieces: Pieces, dice: Random) -> None:
    """Other TCP options, well formed or not; in a SYN they set MSS and window scale."""
    at = next((i for i, p in enumerate(pieces) if not p.opaque and p.flags & SYN), None)
    if at is None or dice.random() < 0.3:
        at = _tcp(pieces, dice)
    if at is None:
        return
    made = b"".join(
        dice.choice(
            (
                b"\x02\x04" + dice.choice((b"\0\0", b"\0\1", b"\xff\xff", b"\x02\xbc")),
                b"\x03\x03" + bytes([dice.choice((0, 7, 14, 15, 255))]),
                b"\x01",
                b"\x08\x0a" + dice.randbytes(8),
                b"\x04\x02",
                b"\x05\x00",
                b"\x00",
                dice.randbytes(3),
            )
        )
        for _ in range(dice.randrange(5))
    )[:40]
    pieces[at] = pieces[at]._replace(tcp=pieces[at].tcp[:20] + made + bytes(-len(made) % 4))


def damage(pieces: Pieces, dice: Random) -> None:
    """Flip payload bytes under a right checksum: only the record's authentication can notice."""
    at = _tcp(pieces, dice, payload=True)
    if at is None:
        return
    payload = bytearray(pieces[at].payload)
    for _ in range(dice.choice((1, 1, 4, 40))):
        payload[dice.randrange(len(payload))] ^= 1 << dice.randrange(8)
    pieces[at] = pieces[at]._replace(payload=bytes(payload))


def clock(pieces: Pieces, dice: Random) -> None:
    """Time jumps, for one frame or from there on."""
    at = dice.randrange(len(pieces))
    jump = dice.choice((-1, 1)) * dice.choice((1_000, 10**7, 11 * 10**9, 400 * 10**9, 10**15))
    for i in range(at, len(pieces) if dice.getrandbits(1) else at + 1):
        time_ns = pieces[i].time_ns + jump
        pieces[i] = pieces[i]._replace(time_ns=max(0, min(time_ns, (1 << 62))))


def interfaces(pieces: Pieces, dice: Random) -> None:
    """From here on, or now and then, packets arrive on another interface; some are seen on both."""
    at = dice.randrange(len(pieces))
    every = dice.choice((1, 1, 2, 7))
    other = dice.choice((1, 2, 5))
    pieces[at:] = [p._replace(interface=other) if i % every == 0 else p for i, p in enumerate(pieces[at:])]
    if dice.random() < 0.3:
        twice = dice.randrange(len(pieces))
        pieces.insert(twice + 1, pieces[twice]._replace(interface=other + 1))


def vlans(pieces: Pieces, dice: Random) -> None:
    """Some frames get a VLAN tag more; now and then there are mirrored copies without."""
    every = dice.choice((1, 1, 2, 5))
    mirrored = dice.random() < 0.3
    for i in range(len(pieces) - 1, -1, -1):
        piece = pieces[i]
        if piece.opaque or piece.link_type != ETHERNET or i % every or len(piece.link) < 14:
            continue
        tagged = piece.link[:12] + b"\x81\x00" + dice.randrange(4096).to_bytes(2) + piece.link[12:]
        pieces[i] = piece._replace(link=tagged)
        if mirrored:
            pieces.insert(i, piece)


def snap(pieces: Pieces, dice: Random) -> None:
    """The snap length cuts frames; their checksums stay what they were."""
    length = dice.choice((54, 60, 66, 96, 128, 400))
    for i in range(dice.randrange(len(pieces)), len(pieces)):
        frame = pieces[i].assemble()
        if len(frame.data) > length and dice.random() < 0.5:
            whole = len(frame.data)
            pieces[i] = Piece(frame.time_ns, frame.interface, frame.link_type, whole, frame.data[:length])


def reuse(pieces: Pieces, dice: Random) -> None:
    """The same connection once more on the same addresses and ports, perhaps before it has ended."""
    keep = dice.randint(1, len(pieces))
    last = pieces[keep - 1].time_ns
    shift = last - pieces[0].time_ns + dice.choice((0, 1_000_000, 400 * 10**9))
    move = dice.choice((0, dice.getrandbits(32)))
    again = [p._replace(time_ns=p.time_ns + shift) for p in pieces]
    if move:
        again = [p if p.opaque else p.moved(seq=p.seq + move, ack=p.ack + move) for p in again]
    pieces[keep:] = again


def one_sided(pieces: Pieces, dice: Random) -> None:
    """Only one direction was captured, from the start or from some point on."""
    at = _tcp(pieces, dice)
    if at is None:
        return
    ours, begin = pieces[at].direction, dice.choice((0, 0, dice.randrange(len(pieces))))
    kept = [p for i, p in enumerate(pieces) if i < begin or p.opaque or p.direction != ours]
    pieces[:] = kept or pieces[:1]


def late(pieces: Pieces, dice: Random) -> None:
    """The capture starts late, or stops early."""
    at = dice.randrange(len(pieces))
    if dice.getrandbits(1):
        pieces[:] = pieces[at:]
    else:
        del pieces[at + 1 :]


MUTATORS: tuple[Mutator, ...] = (
    drop,
    duplicate,
    reorder,
    overlap,
    retransmit,
    split,
    merge,
    resize,
    flags,
    numbers,
    rebase,
    inject,
    header_bytes,
    protocol,
    options,
    damage,
    clock,
    interfaces,
    vlans,
    snap,
    reuse,
    one_sided,
    late,
)
