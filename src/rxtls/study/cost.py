"""What receiving costs the host's processor, with receive offload and without: a model of four lines.

    crypto     open a record in software          per record and per byte
    recrypt    turn a mixed record back            one more pass of the cipher over all of it, as Linux does
    copy       to the application
    rest       everything else that receives: driver, TCP, socket, system calls

    software = crypto + copy + rest          over all records
    offload  = copy + rest over all, crypto over the encrypted and mixed ones, recrypt over the mixed

ASPLOS21 is fitted to the paper's Figure 11 (docs/paper.md), where copy is a part of the rest. `calibrate` measures
crypto, recrypt and copy on this machine; the rest is a kernel's, and stays the paper's.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

GHZ = 2.0  # of the paper's Xeon E5-2660 v4

# Figure 11, receiving on one core: record size in KiB, cycles for crypto, cycles for everything else.
FIGURE_11 = ((2, 4274, 3651), (4, 6353, 5139), (8, 11481, 8214), (16, 21922, 14392))


Measured = tuple[float, float]  # bytes, nanoseconds


class Line(NamedTuple):
    """So many nanoseconds a record and a byte."""

    record: float
    byte: float

    def over(self, records: int, octets: int) -> float:
        """Nanoseconds for that much."""
        return self.record * records + self.byte * octets


@dataclass(frozen=True, slots=True)
class Costs:
    """A machine's four lines."""

    name: str
    crypto: Line
    recrypt: Line
    copy: Line
    rest: Line


def fitted(points: list[Measured]) -> Line:
    """The line through (bytes, nanoseconds) with the least squares."""
    count = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / count, sum(y for _, y in points) / count
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)
    return Line(mean_y - slope * mean_x, slope)


_CRYPTO = fitted([(1024 * size, crypto / GHZ) for size, crypto, _ in FIGURE_11])
ASPLOS21 = Costs(
    "asplos21", _CRYPTO, _CRYPTO, Line(0, 0), fitted([(1024 * size, rest / GHZ) for size, _, rest in FIGURE_11])
)


class Predicted(NamedTuple):
    """Nanoseconds of the host's processor for the same records."""

    software: float
    offload: float

    @property
    def ratio(self) -> float:
        """Throughput of a host that is bound by its processor: with offload against software."""
        return self.software / self.offload if self.offload else 1.0

    @property
    def saved(self) -> float:
        """Share of the processor's time that offload saves at the same throughput; negative if it costs."""
        return 1 - self.offload / self.software if self.software else 0.0


def predict(sums: Counter[str], costs: Costs = ASPLOS21) -> Predicted:
    """From records and bytes by class, as in the totals of a run (run/summary.py)."""
    kinds = {kind: (sums[f"records.{kind}"], sums[f"bytes.{kind}"]) for kind in ("decrypted", "mixed", "encrypted")}
    records, octets = (sum(pair[n] for pair in kinds.values()) for n in (0, 1))
    base = costs.rest.over(records, octets) + costs.copy.over(records, octets)
    opened = costs.crypto.over(*kinds["encrypted"]) + costs.crypto.over(*kinds["mixed"])
    return Predicted(base + costs.crypto.over(records, octets), base + opened + costs.recrypt.over(*kinds["mixed"]))


def by_shares(crypto_share: float, partially: float, not_at_all: float) -> float:
    """Throughput with offload against software, where crypto is `crypto_share` of software's time and these shares of
    records (0 to 1) were decrypted in part and not at all."""
    return 1 / (1 - crypto_share * (1 - not_at_all - 2 * partially))


def crypto_share(ratio: float, partially: float, not_at_all: float) -> float:
    """The one number that a table is fitted by: the share that gives this ratio."""
    return (1 - 1 / ratio) / (1 - not_at_all - 2 * partially)


class Row(NamedTuple):
    """A row of the paper's table: measured and predicted throughput with offload, against software."""

    impairment: str
    percent: float
    measured: float
    predicted: float

    @property
    def off(self) -> float:
        """Predicted against measured, less one."""
        return self.predicted / self.measured - 1


def against_paper(rows: list[dict[str, str]]) -> tuple[dict[str, float], list[Row]]:
    """The crypto share of each table, fitted at 0 %, and what follows from it for the other rows."""
    shares: dict[str, float] = {}
    out = []
    for row in rows:
        part, none = float(row["partially"]) / 100, float(row["not"]) / 100
        measured = float(row["offload_gbps"]) / float(row["software_gbps"])
        kind, percent = row["impairment"], float(row["percent"])
        if percent == 0:
            shares[kind] = crypto_share(measured, part, none)
        else:
            out.append(Row(kind, percent, measured, by_shares(shares[kind], part, none)))
    return shares, out


def calibrate(repeats: int = 200) -> Costs:
    """Measure this machine: the least time of many, for records of 2 to 16 KiB."""
    key, nonce = os.urandom(16), os.urandom(12)
    aead = AESGCM(key)
    crypto, recrypt, copies = list[Measured](), list[Measured](), list[Measured]()
    for size in (2048, 4096, 8192, 16384):
        sealed = aead.encrypt(nonce, bytes(size), b"header")
        out = bytearray(size + 16)

        def stream(out: bytearray = out, data: bytes = sealed) -> None:
            Cipher(AES(key), CTR(nonce + b"\0\0\0\2")).encryptor().update_into(data, out)

        def copy(out: bytearray = out, data: bytes = sealed) -> None:
            out[:] = data

        def unseal(data: bytes = sealed) -> None:
            aead.decrypt(nonce, data, b"header")

        for found, work in ((crypto, unseal), (recrypt, stream), (copies, copy)):
            found.append((float(size), _least(work, repeats)))
    return replace(ASPLOS21, name="this machine", crypto=fitted(crypto), recrypt=fitted(recrypt), copy=fitted(copies))


def _least(work: Callable[[], None], repeats: int) -> float:
    best = float("inf")
    for _ in range(repeats):
        begun = time.perf_counter_ns()
        work()
        best = min(best, time.perf_counter_ns() - begun)
    return best


def as_json(costs: Costs) -> dict[str, Any]:
    """For a file that `from_json` reads."""
    return asdict(costs)


def from_json(read: Any) -> Costs:
    """Raises ValueError, KeyError or TypeError for anything else."""
    lines = {name: Line(float(read[name][0]), float(read[name][1])) for name in ("crypto", "recrypt", "copy", "rest")}
    return Costs(str(read["name"]), **lines)
