"""Where the plain path stands: MB/s of replay beside one-shot AES-GCM over the same records, in one run.

    python tools/bench.py [--size MB] [--rounds N] [--json]

Each case is measured `rounds` times with the contenders in turn, and the best of each is kept: on a shared machine the
ratio is what travels. One-shot is `cryptography`'s AESGCM.decrypt over the same records of application keys, contiguous
in memory, with nonces and additional data made beforehand: nothing but the AES that any receiver has to do.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from rich.console import Console
from rich.table import Table

import rxtls
from rxtls.crypto.keys import Keys
from rxtls.crypto.records import Opened, Opener
from rxtls.crypto.suites import Family
from rxtls.edge.synth import write_capture
from rxtls.host import worker

EXAMPLES = Path(__file__).parents[1] / "examples"


class Case(NamedTuple):
    """A capture to replay."""

    name: str
    capture: Path
    keys: Path


class Sealed(NamedTuple):
    """One record, ready for a one-shot decryption."""

    aead: AESGCM
    nonce: bytes
    ciphertext: bytes
    additional_data: bytes


class Measured(NamedTuple):
    """Best seconds of each contender, and what they went through."""

    case: str
    frames: int
    records: int
    megabytes: float
    offloaded: float
    software: float
    one_shot: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size", type=int, default=200, help="MB of the generated capture")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        cases = [_example("clean-tls13-aes128gcm"), _example("loss-reorder-tls13-aes256gcm")]
        cases.append(_generated(Path(folder), options.size))
        measured = [_measure(case, options.rounds) for case in cases]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if options.json:
        json.dump({"peak_memory_mb": peak, "cases": [each._asdict() for each in measured]}, sys.stdout, indent=2)
        print()
        return
    Console(width=140).print(_table(measured))


def _example(name: str) -> Case:
    return Case(name, EXAMPLES / f"{name}.pcap", EXAMPLES / f"{name}.keys")


def _generated(folder: Path, megabytes: int) -> Case:
    capture, keys = folder / "generated.pcap", folder / "generated.keys"
    with capture.open("wb") as out:
        _, keylog = write_capture(out, megabytes * 1_000_000, seed=1)
    keys.write_text(keylog)
    return Case(f"generated, {megabytes} MB", capture, keys)


def _measure(case: Case, rounds: int) -> Measured:
    sealed = _records(case)
    frames, bytes_read = 0, 0

    def replay(profile: str) -> Callable[[], None]:
        def once() -> None:
            nonlocal frames, bytes_read
            run = rxtls.replay(case.capture, case.keys, profile=profile)
            opened = sum(record.number is not None for record in run)
            assert opened >= len(sealed), f"{case.name}: {opened} records, not {len(sealed)}"
            frames = run.frames
            bytes_read = run.captured_bytes

        return once

    def one_shot() -> None:
        for aead, nonce, ciphertext, additional_data in sealed:
            aead.decrypt(nonce, ciphertext, additional_data)

    contenders = (replay("connectx-6dx"), replay("none"), one_shot)
    best = [float("inf")] * len(contenders)
    for _ in range(rounds):
        for n, contender in enumerate(contenders):
            started = time.perf_counter()
            contender()
            best[n] = min(best[n], time.perf_counter() - started)
    return Measured(case.name, frames, len(sealed), bytes_read / 1e6, *best)


def _records(case: Case) -> list[Sealed]:
    """The records that the worker opens in software, as it gets them."""
    sealed: list[Sealed] = []

    class Recording(Opener):
        def __init__(self, keys: Keys) -> None:
            super().__init__(keys)
            assert keys.suite.family is Family.AES_GCM
            self.keys = keys
            self.aead = AESGCM(keys.key)

        def open(self, number: int, record: bytes | bytearray | memoryview) -> Opened:
            start = self.keys.header_length
            ciphertext = bytes(record[start:])
            nonce = self.keys.nonce(number, record[:start])
            length = len(ciphertext) - self.keys.aead_tag_length
            sealed.append(
                Sealed(self.aead, nonce, ciphertext, self.keys.additional_data(number, record[:start], length))
            )
            return super().open(number, record)

    with mock.patch.object(worker, "Opener", Recording):
        for _ in rxtls.replay(case.capture, case.keys, profile="none"):
            pass
    return sealed


def _table(measured: list[Measured]) -> Table:
    table = Table(title="the plain engine; best of each contender, measured in turn", title_justify="left", box=None)
    table.add_column("capture")
    columns = (
        "MB",
        "frames",
        "records",
        "replay MB/s",
        "us a frame",
        "software MB/s",
        "one-shot AES MB/s",
        "replay/AES",
    )
    for name in columns:
        table.add_column(name, justify="right")
    for each in measured:
        table.add_row(
            each.case,
            f"{each.megabytes:.1f}",
            str(each.frames),
            str(each.records),
            f"{each.megabytes / each.offloaded:.1f}",
            f"{each.offloaded / each.frames * 1e6:.1f}",
            f"{each.megabytes / each.software:.1f}",
            f"{each.megabytes / each.one_shot:.0f}",
            f"{each.one_shot / each.offloaded:.3f}",
        )
    return table


if __name__ == "__main__":
    main()
