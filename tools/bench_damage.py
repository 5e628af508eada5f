"""Captures that lack something, for `make bench`: frames taken out of a generated one, and a key log made long."""

from __future__ import annotations

from pathlib import Path
from random import Random

LARGE = 1400  # bytes of a frame: those of the downloads
LABELS = ("CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0")


def frames(data: bytes) -> list[tuple[int, int]]:
    """(Offset, length) of each frame of a pcap in little endian, with its record header."""
    found, at = [], 24
    while at < len(data):
        length = 16 + int.from_bytes(data[at + 8 : at + 12], "little")
        found.append((at, length))
        at += length
    return found


def damage(capture: Path, damaged: Path, holes: int, late: bool, seed: int = 1) -> None:
    """Write the capture without `holes` of its large frames; if it is `late`, from the hundredth large frame on."""
    data = capture.read_bytes()
    every = frames(data)
    large = [n for n, (_, length) in enumerate(every) if length > LARGE]
    lost = set(Random(seed).sample(large, holes))
    if late:
        lost |= set(range(large[min(100, len(large) // 2)]))
    with damaged.open("wb") as out:
        out.write(data[:24])
        kept = [at for n, at in enumerate(every) if n not in lost]
        view = memoryview(data)
        for at, length in kept:
            out.write(view[at : at + length])


def crowd(keys: Path, crowded: Path, sessions: int, seed: int = 2) -> None:
    """Write the key log with so many sessions around its own, of both hash lengths."""
    dice = Random(seed)
    lines = [
        f"{label} {random} {dice.randbytes(32 if n % 2 else 48).hex()}\n"
        for n in range(sessions)
        for random in [dice.randbytes(32).hex()]
        for label in LABELS
    ]
    half = sessions // 2 * len(LABELS)
    crowded.write_text("".join([*lines[:half], keys.read_text(), *lines[half:]]))
