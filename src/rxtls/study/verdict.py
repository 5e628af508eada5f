"""The answer in a sentence: what the NIC did, what the host had to, and what it would have had to without.

The unit is bytes of AES (or ChaCha20) that the host had to do, which is what receive offload is to save. Software opens
every byte of every record once. With the NIC a decrypted record costs the host nothing, an encrypted one costs its
bytes, and a mixed one costs them and those that have to be re-encrypted before.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

from rxtls.edge.summary import totals

_KEYED = ("decrypted", "mixed", "encrypted", "failed")


class Cost(NamedTuple):
    """Bytes on the wire of records under known keys, and what the host had to decrypt or encrypt of them."""

    total: int  # what software alone opens
    by_nic: int  # in records that the NIC decrypted in full
    host: int  # what the host did: opened, and re-encrypted


def cost(sums: Counter[str]) -> Cost:
    """Of the sums that edge/summary.py's totals gives."""
    total = sum(sums[f"bytes.{name}"] for name in _KEYED)
    return Cost(total, sums["bytes.decrypted"], total - sums["bytes.decrypted"] + sums["bytes.recrypted"])


def vantage(summary: dict[str, Any]) -> tuple[bool, Counter[str]]:
    """The directions that an answer is about: those seen at the receiver; if there are none, the others.

    A capture at the sender shows no loss, and would make any NIC look perfect.
    """
    at_receiver = totals(summary, True)
    return (True, at_receiver) if cost(at_receiver).total else (False, totals(summary, False))


def answer(summary: dict[str, Any]) -> str:
    """One or two sentences."""
    at_receiver, sums = vantage(summary)
    costs = cost(sums)
    if not costs.total:
        return "Nothing was decrypted: no record came under keys that are known."
    lost, flows = sums["resync.lost"], _flows_that_lost(summary, at_receiver)
    parts = [f"{percent(costs.by_nic, costs.total)} of {size(costs.total)} in TLS records were decrypted by the NIC"]
    if lost:
        parts.append(f"{many(flows, 'direction')} lost sync {many(lost, 'time')}")
    share = percent(costs.host, costs.total)
    parts.append(f"the host had {size(costs.host)} of crypto to do, {share} of what software alone would")
    where = "" if at_receiver else " This was captured elsewhere than at the receiver, where loss may not show."
    return "; ".join(parts) + "." + where


def _flows_that_lost(summary: dict[str, Any], at_receiver: bool) -> int:
    return sum(
        received["resync"]["lost"] > 0
        for flow in summary["flows"]
        for received in flow["receive"].values()
        if received is not None and (received["vantage"] == "receiver") is at_receiver
    )


def percent(part: int, whole: int) -> str:
    """As text; what is not all, or not nothing, is never said to be."""
    if part in (0, whole):
        return "100 %" if part else "0 %"
    share = 100 * part / whole if whole else 0.0
    if share < 0.1:
        return "< 0.1 %"
    if 99.9 < share < 100:
        return "> 99.9 %"
    return f"{share:.1f} %" if share < 10 or share > 90 else f"{share:.0f} %"


def size(n: int) -> str:
    """Bytes for people, in powers of 1000."""
    value = float(n)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 99.95 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def many(n: int, what: str) -> str:
    """A number of things."""
    return f"{n:,} {what}" + ("" if n == 1 else "s")
