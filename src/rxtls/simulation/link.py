"""A simulated connection through a bad link, seen by a tap: what a capture at the receiving host would show.

    client  ──► impairments ──►  server        Everything happens in memory, on one heap of (time, order, event), and
            ◄── impairments ◄──                from one seed: the same arguments give the same frames, bit for bit.

Two full-duplex TCP endpoints (tcp.py) carry what two TlsSenders wrote. Each direction has its own
`Impairment`, drawn per unit of segments as they depart. The tap stands at the client, at the server or half way: at a
host it sees what arrives there when it arrives and what leaves there when it leaves, so a lost segment is missing from
the frames and its repair is in them. The SYNs and a last RST are never impaired; all else, pure acknowledgements
included, may be.

A corrupted segment comes in two kinds. With a bad checksum TCP refuses it and it is sent again. With a repaired
checksum TCP accepts it, the bytes are acknowledged, and only the record's authentication notices: `Side.damaged` tells
which records those are, from the bytes that the receiving half really accepted.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from random import Random

from rxtls.simulation.link_model import Connection, Impairment, LinkFrame, LinkRun, Reader, Side
from rxtls.simulation.link_run import Run
from rxtls.simulation.sender import TlsSender
from rxtls.wire.packets import Address

__all__ = [
    "Address",
    "Connection",
    "Impairment",
    "Link",
    "LinkFrame",
    "LinkRun",
    "Reader",
    "Side",
    "TlsSender",
    "interleave",
]


class Link:
    """A link with a seed. Every `run` is a function of seed, impairments and arguments alone."""

    def __init__(self, seed: int, to_client: Impairment | None = None, to_server: Impairment | None = None) -> None:
        self._seed = seed
        self._impairments = to_server or Impairment(), to_client or Impairment()

    def run(
        self,
        connection: Connection,
        client: TlsSender | None = None,
        server: TlsSender | None = None,
        reader: Reader | None = None,
    ) -> LinkRun:
        """Carry what the two sides wrote (None: nothing) until all is acknowledged, or a side has given up.

        With a `reader` the tapped host's window is what the reader has room for, and the sender keeps to it.
        """
        writers = client or TlsSender(), server or TlsSender()
        return Run(Random(self._seed), connection, self._impairments, writers, reader).run()


def interleave(flows: Sequence[Sequence[LinkFrame]], seed: int) -> list[LinkFrame]:
    """One list of several, by time. Each keeps its own order; `seed` settles who comes first at equal times."""
    order = list(flows)
    Random(seed).shuffle(order)
    return sorted(chain.from_iterable(order), key=lambda frame: frame.time_ns)
