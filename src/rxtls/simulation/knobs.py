"""The knobs of a simulation: values only, and what they may be. simulate.py turns them into traffic."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from rxtls.crypto.suites import SUITES, Suite
from rxtls.errors import UsageError

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

    suite: str = "TLS_AES_128_GCM_SHA256"
    flows: int = 1
    records: int = 200
    record: int = MAX_FRAGMENT
    mtu: int = 1500
    window: int = 64
    loss: float = 0.0
    reorder: float = 0.0
    duplicate: float = 0.0
    corrupt: float = 0.0
    unit: int = 1
    jump: int = 3
    reordering: int = 3
    delay: int = 100
    gap: int = 1000
    payload: str = "random"
    chain: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        suite_named(self.suite)
        for name in ("loss", "reorder", "duplicate", "corrupt"):
            rate = getattr(self, name)
            if not (math.isfinite(rate) and 0 <= rate <= 100):
                raise UsageError(f"{name} is a percentage, not {rate}")
        for name, least, most in (
            ("flows", 1, 1 << 20),
            ("records", 1, 1 << 24),
            ("record", 1, MAX_FRAGMENT),
            ("mtu", HEADERS + 1, 65_000),
            ("window", 1, 1 << 16),
            ("unit", 1, 1 << 16),
            ("jump", -(1 << 16), 1 << 16),
            ("reordering", 1, 1 << 16),
            ("delay", 0, 10_000_000),
            ("gap", 0, 1_000_000_000),
            ("chain", 30, MAX_FRAGMENT),
            ("seed", 0, (1 << 63) - 1),
        ):
            if not least <= getattr(self, name) <= most:
                raise UsageError(f"{name} is a whole number from {least} to {most}, not {getattr(self, name)}")
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
    raise UsageError(f"no suite {name!r} in the table; for example {Knobs.__dataclass_fields__['suite'].default}")
