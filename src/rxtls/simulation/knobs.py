"""The knobs of a simulation: values only, and what they may be. simulate.py turns them into traffic."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from rxtls.crypto.suites import SUITES, Suite
from rxtls.errors import UsageError
from rxtls.option import check, option

MAX_FRAGMENT = 16384  # bytes of plaintext in a record (RFC 8446, RFC 9846 section 5.1)
HEADERS = 20 + 20 + 12  # IPv4, TCP, and the timestamps option
MOST_BYTES = 2 << 30  # of payload in one simulation: all of it is in memory
PAYLOADS = ("random", "headers")


@dataclass(frozen=True, slots=True)
class Knobs:
    """Everything about a simulation. Rates are percent of units. Raises UsageError for what cannot be.

    Each flow is one connection, whose client asks once and gets `records` records of `record` bytes. `window` is how
    many segments the sender keeps in flight. Impairments meet what the server sends, by `unit` consecutive segments at
    a time; a reordered unit arrives `jump` units early (late, if negative). `reordering` is how many later segments
    must have come before one counts as lost and is sent again. `delay` is one way in microseconds, `gap` the time that
    a segment takes on the wire in nanoseconds. `payload` "headers" makes ciphertext that looks like chained record
    headers, `chain` bytes from one to the next.
    """

    suite: str = option("TLS_AES_128_GCM_SHA256", "Any suite of the table, by IANA's name.", "suites")
    flows: int = option(1, "Connections.", within=(1, 1 << 20))
    records: int = option(200, "Records of each, from server to client.", within=(1, 1 << 24))
    record: int = option(MAX_FRAGMENT, "Bytes of plaintext of a record.", within=(1, MAX_FRAGMENT))
    mtu: int = option(1500, "Largest IP packet; segments carry 52 bytes less.", within=(HEADERS + 1, 65_000))
    window: int = option(64, "Segments that a sender keeps in flight.", within=(1, 1 << 16))
    loss: float = option(0.0, "Percent of units that are lost.")
    reorder: float = option(0.0, "Percent of units that arrive early.")
    duplicate: float = option(0.0, "Percent of units that arrive twice.")
    corrupt: float = option(0.0, "Percent of segments that arrive with a wrong checksum.")
    unit: int = option(1, "Segments that share a fate.", within=(1, 1 << 16))
    jump: int = option(3, "Units that a reordered one overtakes; below 0 it comes late.", within=(-(1 << 16), 1 << 16))
    reordering: int = option(3, "Later segments that must have come before one counts as lost.", within=(1, 1 << 16))
    delay: int = option(100, "One way, in microseconds.", within=(0, 10_000_000))
    gap: int = option(1000, "Time of a segment on the wire, in nanoseconds.", within=(0, 1_000_000_000))
    payload: str = option("random", "random, or headers: chained false ones on the wire.", "payloads")
    chain: int = option(64, "With --payload headers: bytes from one to the next.", within=(30, MAX_FRAGMENT))
    seed: int = option(0, "The same seed gives the same bytes.", within=(0, (1 << 63) - 1))

    def __post_init__(self) -> None:
        check(self)
        suite_named(self.suite)
        for name in ("loss", "reorder", "duplicate", "corrupt"):
            rate = getattr(self, name)
            if not (math.isfinite(rate) and 0 <= rate <= 100):
                raise UsageError(f"{name} is a percentage, not {rate}")
        if self.payload not in PAYLOADS:
            raise UsageError(f"payload is one of {', '.join(PAYLOADS)}, not {self.payload!r}")
        if self.flows * self.records * self.record > MOST_BYTES:
            raise UsageError(
                f"flows x records x record is more than {MOST_BYTES} bytes: a simulation is kept in memory"
            )


NAMES = tuple(field.name for field in fields(Knobs))


def suite_named(name: str) -> Suite:
    """A suite of the table by IANA's name. UsageError if there is none."""
    for suite in SUITES.values():
        if suite.name.upper() == name.upper():
            return suite
    raise UsageError(f"no suite {name!r} in the table; for example {Knobs().suite}")
