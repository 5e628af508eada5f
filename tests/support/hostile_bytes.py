"""Mutators of bytes: files as they lie on a disk, wrappers around them, and key logs."""

from __future__ import annotations

import gzip
import lzma
import struct
from random import Random

import lz4.frame
import zstandard

NUMBERS = (0, 1, 3, 4, 16, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 1 << 20, (1 << 20) + 1, 16 << 20, 0x7FFFFFFF, 0xFFFFFFFF)


def damage(data: bytes, donor: bytes, dice: Random) -> bytes:
    """A few changes at random places of a file; `donor` is another one, for splices."""
    made = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 5))):
        if not made:
            break
        # Headers more often than payloads: most of a capture is ciphertext.
        at = dice.choice((dice.randrange(len(made)), dice.randrange(min(len(made), 200)), _frame_header(made, dice)))
        match dice.randrange(8):
            case 0:
                made[at] ^= 1 << dice.randrange(8)
            case 1:
                made[at] = dice.getrandbits(8)
            case 2:
                del made[at:]
            case 3:
                del made[at : at + dice.choice((1, 4, 16, 400))]
            case 4:
                made[at:at] = made[at : at + dice.choice((1, 4, 16, 400))]
            case 5:
                place = dice.randrange(max(1, len(donor)))
                made[at : at + dice.choice((0, 16, 400))] = donor[place : place + dice.choice((4, 24, 3000))]
            case 6:
                made[at : at + 4] = struct.pack(dice.choice("<>") + "I", dice.choice(NUMBERS))
            case _:
                made[at : at + 2] = struct.pack(dice.choice("<>") + "H", dice.choice(NUMBERS) & 0xFFFF)
    return bytes(made)


def _frame_header(data: bytearray, dice: Random) -> int:
    """A byte in a frame's or block's header, if this is a little-endian capture."""
    at, found = 24, [0]
    pcapng = data[:4] == b"\x0a\x0d\x0d\x0a"
    if pcapng:
        at = 0
    while at + 16 <= len(data) and len(found) < 300:
        found.append(at)
        length = struct.unpack_from("<I", data, at + 4 if pcapng else at + 8)[0]
        if length > 1 << 20 or (pcapng and length < 12):
            break
        at += length if pcapng else 16 + length
    return min(dice.choice(found) + dice.randrange(20), len(data) - 1)


def wrap(data: bytes, dice: Random) -> bytes:
    """The file compressed; then truncated, damaged, doubled or with something behind it, or just so."""
    match dice.randrange(4):
        case 0:
            packed = gzip.compress(data, mtime=0)
        case 1:
            packed = zstandard.ZstdCompressor(write_checksum=bool(dice.getrandbits(1))).compress(data)
        case 2:
            packed = lz4.frame.compress(data, content_checksum=bool(dice.getrandbits(1)))
        case _:
            packed = lzma.compress(data, preset=0)
    match dice.randrange(6):
        case 0:
            return packed[: dice.randrange(len(packed))]
        case 1:
            made = bytearray(packed)
            made[dice.choice((dice.randrange(len(made)), dice.randrange(min(30, len(made)))))] ^= 1 << dice.randrange(8)
            return bytes(made)
        case 2:
            return packed + packed
        case 3:
            return packed + dice.choice((bytes(600), b"junk", b"\x50\x2a\x4d\x18\xff\xff\xff\xff", b"\x1f\x8b"))
        case 4:
            return b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc" + packed
        case _:
            return packed


def key_log(text: bytes, donor: bytes, dice: Random) -> bytes:
    """A key log with something wrong."""
    for _ in range(dice.choice((1, 1, 2, 4))):
        lines = text.splitlines(keepends=True) or [b"\n"]
        at = dice.randrange(len(lines))
        other = dice.randrange(len(lines))
        match dice.randrange(17):
            case 0:
                del lines[at]
            case 1:
                lines[at], lines[other] = lines[other], lines[at]
            case 2:
                lines[at] = _flipped(lines[at], dice)
            case 3:
                lines.insert(at, dice.randbytes(dice.choice((1, 80, 5000))) + b"\n")
            case 4:
                lines.insert(at, dice.choice((b"CLIENT_RANDOM ", b"A", b"0")) * dice.choice((400, 30_000)) + b"\n")
            case 5:  # two sessions' or labels' secrets change places
                a, b = lines[at].split(), lines[other].split()
                if len(a) == len(b) == 3:
                    lines[at], lines[other] = (b" ".join((*x[:2], y[2])) + b"\n" for x, y in ((a, b), (b, a)))
            case 6:
                lines[at] = lines[at][: dice.randrange(len(lines[at]) + 1)]
            case 7:
                lines[at] = lines[at].replace(b"\n", b"\r\n")
            case 8:
                lines = [line.upper() for line in lines]
            case 9:
                lines = [b"\xef\xbb\xbf", *lines]
            case 10:
                return text.decode("latin-1").encode("utf-16")[: dice.choice((-1, len(text) * 2 + 2))]
            case 11:
                lines.insert(at, dice.choice((b"\n", b"# hello\n", b"\0\n", b"RSA 00 00\n", b"RSA Session-ID:0 x\n")))
            case 12:
                lines[at] = lines[at].replace(b"CLIENT", dice.choice((b"SERVER", b"EARLY", b"PMS_CLIENT", b"")))
            case 13:
                lines = [*lines, *donor.splitlines(keepends=True)]
            case 14:
                lines[at] = lines[at].replace(b"_0 ", b"_N ")
            case 15:
                lines = [] if dice.random() < 0.3 else [dice.randbytes(4000)]
            case _:
                lines[at] = lines[at].replace(b" ", dice.choice((b"  ", b"\t", b"", b" \0 ", b"\x0b")))
        text = b"".join(lines)
    return text


def _flipped(line: bytes, dice: Random) -> bytes:
    made = bytearray(line or b"\n")
    made[dice.randrange(len(made))] = dice.choice(b"0123456789abcdefgXZ \x00\xff")
    return bytes(made)
