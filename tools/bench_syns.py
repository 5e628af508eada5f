"""What a SYN costs that nothing follows, for `make bench`: a capture of them, and its replay with the summary."""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from rxtls.capture.write import write_pcap
from rxtls.run.options import ReplayOptions
from rxtls.run.replay import Replay
from rxtls.simulation.link_model import LinkFrame
from rxtls.wire.packets import SYN, Address, Headers, syn_options


def frames(count: int, seed: int = 3) -> Iterator[LinkFrame]:
    """So many SYNs of as many clients to one server, a millisecond apart."""
    dice = Random(seed)
    server, options = Address("198.51.100.1", 443), syn_options(1460, 7)
    for n in range(count):
        source = Address(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", dice.randrange(1024, 65_536))
        frame = Headers(source, server).frame(dice.randrange(1 << 32), 0, SYN, 64_240, b"", options)
        yield LinkFrame(1_750_000_000_000_000_000 + 1_000_000 * n, frame)


def syns(count: int, options: dict[str, Any]) -> dict[str, Any]:
    """Processor seconds of a replay with its summary, and what the process had at most, in bytes."""
    with tempfile.TemporaryDirectory() as folder:
        capture = Path(folder) / "syns.pcap"
        with capture.open("wb") as out:
            write_pcap(frames(count), out)
        before = time.process_time()
        run = Replay([str(capture)], [], ReplayOptions(**options))
        for _ in run.batches():
            pass
        connections = len(run.summary()["flows"])
        seconds = time.process_time() - before
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "peak": peak, "connections": connections}
