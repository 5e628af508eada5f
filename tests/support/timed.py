"""Captures as frames with their times, to be changed and replayed, and what is read of them beside the whole ones."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import rxtls
from rxtls.capture.source import Source, SourceFrame
from rxtls.events import Record
from rxtls.run.replay import Replay

EXAMPLES = Path(__file__).parents[2] / "examples"
SECOND = 1_000_000_000

Timed = tuple[int, bytes]
Read = dict[tuple[str, int], tuple[int | None, bytes, int]]  # by receiver and place: number, data, bytes on the wire


def frames(name: str) -> list[Timed]:
    items = Source([EXAMPLES / f"{name}.pcap"])
    return [(each.time_ns, each.data) for each in items if isinstance(each, SourceFrame)]


def put(path: Path, kept: Sequence[Timed]) -> Path:
    head = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, 1)
    body = (struct.pack("<IIII", *divmod(ns, SECOND), len(data), len(data)) + data for ns, data in kept)
    path.write_bytes(head + b"".join(body))
    return path


def replayed(captures: Any, name: str, **options: Any) -> tuple[Replay, list[Record]]:
    run = rxtls.replay(captures, EXAMPLES / f"{name}.keys", **options)
    return run, list(run)


def read(records: Sequence[Record]) -> Read:
    """What was opened by a worker."""
    return {
        (each.receiver, each.tcp_seq): (each.number, bytes(each.data), each.wire_length)
        for each in records
        if each.by not in ("library", "nobody")
    }


def share(got: Read, whole: Read) -> float:
    """Bytes of records that came back; none is another than it was."""
    assert all(whole[key] == record for key, record in got.items())
    return sum(each[2] for each in got.values()) / sum(each[2] for each in whole.values())
