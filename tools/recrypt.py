"""What each way to open a mixed record costs: docs/recrypt.md's table, measured on this machine.

    python tools/recrypt.py

Times are the best of many, as multiples of opening the same record in software alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from rxtls.crypto.records import Opener, Sealer
from rxtls.crypto.schedule import tls13_keys
from rxtls.crypto.strategies import STRATEGIES
from rxtls.crypto.stream import StreamOpener
from rxtls.crypto.suites import SUITES

KEYS = tls13_keys(SUITES[0x1301], bytes(range(32)))
SIZE, MSS = 16384, 1448
# Which of the record's segments a NIC had decrypted.
SHAPES = {"DE: the first half": range(6), "ED: the last segment": range(11, 12), "EDE: every other": range(1, 12, 2)}


def main() -> None:
    wire = Sealer(KEYS).seal(1, 23, bytes(SIZE))
    header, body, aead_tag = wire[:5], wire[5:-16], wire[-16:]
    plain = StreamOpener(KEYS, 1, header).update(body)
    opener = Opener(KEYS)
    software = best(lambda: opener.open(1, wire))
    print("| record | " + " | ".join(STRATEGIES) + " |\n| --- |" + " ---: |" * len(STRATEGIES))
    for name, decrypted in SHAPES.items():
        spans = [
            ((plain if n in decrypted else body)[n * MSS : (n + 1) * MSS], n in decrypted)
            for n in range(-(-len(body) // MSS))
        ]
        cells = []
        for strategy in STRATEGIES.values():
            found = strategy(KEYS, 1, header, spans, aead_tag)
            ratio = best(lambda strategy=strategy, spans=spans: strategy(KEYS, 1, header, spans, aead_tag)) / software  # type: ignore[misc]
            cells.append(f"{found.cost.aes / len(body):.2f} n, x{ratio:.2f}")
        print(f"| {name} | " + " | ".join(cells) + " |")


def best(work: Callable[[], object], times: int = 400) -> float:
    """Seconds, the least of many."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)


if __name__ == "__main__":
    main()
