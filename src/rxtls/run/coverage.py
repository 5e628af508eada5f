"""What became of every byte of TCP payload that was captured: opened, or not, and why. The sum closes.

    tcp_bytes = opened + modelled + the sum of rest

`tcp_bytes` is the captured payload of every frame in which a TCP header was read, but for text in resets, which is no
stream data (RFC 9293 section 3.5.2). All of it is in the run's ledger, each byte with one fate; the bytes of records
are told apart by what their directions counted. A cause is a byte's fate without "byte.", or a class of records.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from rxtls.events import RecordClass
from rxtls.host.flow import Flow

_OPENED = (
    RecordClass.DECRYPTED,
    RecordClass.MIXED,
    RecordClass.ENCRYPTED,
    RecordClass.UNJUDGED,
    RecordClass.LIBRARY,
)
# Causes that are classes of records, or bytes of records that nobody asked for.
RECORDS: dict[str, str] = {
    "failed": "In records that did not authenticate.",
    "unknown": "In records beside a gap, whose number or beginning is unknown.",
    "unread": "In records that the TLS library passed over: handshake without its secrets, early data not accepted.",
    "receiver": "In records of directions that --receiver leaves out.",
}
# Causes of bytes of which it is not known that they are TLS, or known that they are not, or which are there twice.
NOT_TLS = frozenset(
    {
        "after_end", "after_hole", "bad_checksum", "duplicate", "filtered", "flushed", "hold_overflow",
        "interface_gone", "mid_connection", "mirrored", "not_tls", "out_of_window", "preamble",
    }
)  # fmt: skip


def coverage(tcp_bytes: int, fates: Mapping[str, int], flows: Iterable[Flow], models: Any) -> dict[str, Any]:
    """The JSON's `coverage` of a run: `tcp_bytes` that the ledger has seen, its fates, and the flows it tells of."""
    opened = 0
    rest: Counter[str] = Counter()
    for flow in flows:
        for side, direction in enumerate(flow.directions):
            counted = direction.tally.bytes
            if not models(flow, side):
                rest["receiver"] += sum(counted.values())
                continue
            opened += sum(counted[each] for each in _OPENED) - direction.tally.unread
            rest["unread"] += direction.tally.unread
            rest["failed"] += counted[RecordClass.FAILED]
            rest["unknown"] += counted[RecordClass.UNKNOWN]
    for name, n in fates.items():
        kind, _, cause = name.partition(".")
        if kind == "byte" and cause != "record":
            rest[cause] += n
    return _summary(tcp_bytes, opened, 0, rest)


def together(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """One `coverage` of several jobs'."""
    sums: Counter[str] = Counter()
    rest: Counter[str] = Counter()
    for part in parts:
        sums.update({name: part[name] for name in ("tcp_bytes", "opened", "modelled")})
        rest.update(part["rest"])
    return _summary(sums["tcp_bytes"], sums["opened"], sums["modelled"], rest)


def _summary(tcp_bytes: int, opened: int, modelled: int, rest: Mapping[str, int]) -> dict[str, Any]:
    return {
        "tcp_bytes": tcp_bytes,
        "tls_bytes": opened + modelled + sum(n for cause, n in rest.items() if cause not in NOT_TLS),
        "opened": opened,
        "modelled": modelled,
        "rest": {cause: n for cause, n in sorted(rest.items()) if n},
    }
